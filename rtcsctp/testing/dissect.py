"""SCTP packets in words: what is in them, and where they stop making sense.

The decoders of `rtcsctp.sctp.wire` are for an association, which drops what is malformed. Here a
person wants to see it: every chunk is shown as far as it can be read, and the rest is named with
its place in the packet.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from rtcsctp.datachannel import dcep
from rtcsctp.errors import DecodeError
from rtcsctp.sctp.wire import causes, chunks, params, tlv
from rtcsctp.sctp.wire.checksum import has_valid_checksum
from rtcsctp.sctp.wire.chunks import ChunkType
from rtcsctp.sctp.wire.packet import COMMON_HEADER_SIZE
from rtcsctp.sctp.wire.params import Param

__all__ = ["DissectedChunk", "DissectedPacket", "chunk_name", "dissect_untrusted", "hex_dump"]

_COMMON: Final = struct.Struct(">HHII")
_SHORT: Final = 48  # characters of a label, a reason, or a list in one line
_PPIDS: Final = {
    dcep.Ppid.DCEP: "DCEP",
    dcep.Ppid.STRING: "text",
    dcep.Ppid.BINARY_PARTIAL: "part of binary",
    dcep.Ppid.BINARY: "binary",
    dcep.Ppid.STRING_PARTIAL: "part of text",
    dcep.Ppid.STRING_EMPTY: "empty text",
    dcep.Ppid.BINARY_EMPTY: "empty binary",
}
_WITH_DASH: Final = (ChunkType.I_DATA, ChunkType.RE_CONFIG, ChunkType.FORWARD_TSN)


@attrs.frozen
class DissectedChunk:
    """One chunk of a packet."""

    kind: int
    name: str
    """As the RFCs write it: "INIT ACK", "I-DATA"; "type 0x31" if it is not known."""
    flags: int
    offset: int
    """Where it begins, bytes from the start of the packet."""
    length: int
    """As it says itself, header included and padding not."""
    summary: str
    """Its important fields, in one line."""
    details: tuple[str, ...]
    """All its fields, one in a line."""
    stream_id: int | None = None
    """Of DATA and I-DATA."""
    initiate_tag: int | None = None
    """Of INIT and INIT ACK."""

    def __str__(self) -> str:
        return f"{self.name} {self.summary}".rstrip()


@attrs.frozen
class DissectedPacket:
    """A packet, as far as it can be read."""

    source_port: int
    destination_port: int
    tag: int
    """The verification tag."""
    checksum: str
    """"right", "wrong" or "zero"."""
    size: int
    chunks: tuple[DissectedChunk, ...]
    problem: str | None
    """Why it cannot be read to its end, and from which byte on; None: it can."""

    @property
    def is_whole(self) -> bool:
        """Whether there is a chunk, and nothing that cannot be read."""
        return bool(self.chunks) and self.problem is None


def chunk_name(kind: int) -> str:
    """A type of chunks, as the RFCs write it."""
    try:
        known = ChunkType(kind)
    except ValueError:
        return f"type 0x{kind:02x}"
    if known is ChunkType.I_FORWARD_TSN:
        return "I-FORWARD-TSN"
    return known.name.replace("_", "-" if known in _WITH_DASH else " ")


def dissect_untrusted(data: bytes) -> DissectedPacket:
    """What is in a packet.

    Raises:
        DecodeError: there is not even a common header.
    """
    size = len(data)
    if size < COMMON_HEADER_SIZE:
        raise DecodeError(f"{size} bytes; the header that all packets have takes 12")
    source, destination, tag, checksum = _COMMON.unpack_from(data)
    found: list[DissectedChunk] = []
    problem = None
    position = COMMON_HEADER_SIZE
    while position < size:
        if size - position < chunks.HEADER_SIZE:
            problem = f"at byte {position}: {size - position} bytes are too few for a chunk"
            break
        kind, flags, length = chunks.HEADER.unpack_from(data, position)
        end = position + length
        if length < chunks.HEADER_SIZE:
            problem = f"at byte {position}: {chunk_name(kind)} cannot have a length of {length}"
            break
        if end > size:
            problem = (
                f"at byte {position}: {chunk_name(kind)} has {length} bytes, and "
                f"{size - position} of them are there"
            )
            break
        found.append(_chunk(data, kind, flags, position, end))
        position = (end + 3) & ~3
    if not found and problem is None:
        problem = "there is no chunk in it"
    return DissectedPacket(
        source, destination, tag, _checksum(data, checksum), size, tuple(found), problem
    )


def _checksum(data: bytes, checksum: int) -> str:
    if not checksum:
        return "zero"
    return "right" if has_valid_checksum(data) else "wrong"


def hex_dump(data: bytes, offset: int = 0) -> Iterator[str]:
    """Bytes as people look at them: sixteen in a line, with what is text in it at its end."""
    for start in range(0, len(data), 16):
        line = data[start : start + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in line)
        yield f"{offset + start:06x}  {line[:8].hex(' '):23}  {line[8:].hex(' '):23}  {text}"


# ------------------------------------------------------------------------------------- chunks


@attrs.define
class _Words:
    """What is said of a chunk."""

    summary: list[str] = attrs.field(factory=list)
    details: list[str] = attrs.field(factory=list)
    stream_id: int | None = None
    initiate_tag: int | None = None

    def add(self, name: str, value: object, short: str | None = None) -> None:
        """A field for the details, and (if `short` is given) for the summary."""
        self.details.append(f"{name}: {value}")
        if short is not None:
            self.summary.append(short)


def _chunk(data: bytes, kind: int, flags: int, start: int, end: int) -> DissectedChunk:
    words = _Words()
    value = start + chunks.HEADER_SIZE
    try:
        _describe(words, data, kind, flags, value, end)
    except DecodeError as error:
        words.add("malformed", error, f"malformed: {error}")
    length = end - start
    return DissectedChunk(
        kind,
        chunk_name(kind),
        flags,
        start,
        length,
        ", ".join(words.summary),
        tuple(words.details),
        words.stream_id,
        words.initiate_tag,
    )


def _describe(words: _Words, data: bytes, kind: int, flags: int, start: int, end: int) -> None:
    match kind:
        case ChunkType.DATA:
            _data(words, chunks.decode_data_untrusted(data, start, end, flags), interleaved=False)
        case ChunkType.I_DATA:
            _data(words, chunks.decode_i_data_untrusted(data, start, end, flags), interleaved=True)
        case ChunkType.SACK:
            _sack(words, data, start, end)
        case ChunkType.INIT | ChunkType.INIT_ACK:
            _init(words, chunks.decode_init_untrusted(data, start, end))
        case ChunkType.SHUTDOWN:
            tsn = chunks.decode_shutdown_untrusted(data, start, end)
            words.add("cumulative TSN", tsn, f"cumulative TSN {tsn}")
        case ChunkType.ABORT | ChunkType.ERROR:
            if kind == ChunkType.ABORT and flags & 1:
                words.add("T bit", "the tag is the receiver's own", "T")
            found = tlv.parse_untrusted(data[start:end])
            for cause in found:
                words.details.append(f"cause: {_clean(causes.describe_untrusted([cause]), 600)}")
            words.summary.append(_clean(causes.describe_untrusted(found), 200))
        case ChunkType.HEARTBEAT | ChunkType.HEARTBEAT_ACK:
            found = tlv.parse_untrusted(data[start:end])
            _params(words, found)
            info = next((value for name, value in found if name == Param.HEARTBEAT_INFO), b"")
            words.summary.append(f"{len(info)} bytes of information")
        case ChunkType.RE_CONFIG:
            _reconfig(words, tlv.parse_untrusted(data[start:end]))
        case ChunkType.FORWARD_TSN:
            _forward(words, chunks.decode_forward_tsn_untrusted(data, start, end), "SSN")
        case ChunkType.I_FORWARD_TSN:
            _forward(words, chunks.decode_i_forward_tsn_untrusted(data, start, end), "MID")
        case ChunkType.SHUTDOWN_COMPLETE:
            if flags & 1:
                words.add("T bit", "the tag is the receiver's own", "T")
        case ChunkType.COOKIE_ACK | ChunkType.SHUTDOWN_ACK:
            pass
        case _:
            size = end - start
            words.add("value", _bytes(size), _bytes(size))
            words.details.extend(hex_dump(data[start:end], start))


def _data(words: _Words, data: chunks.Data, *, interleaved: bool) -> None:
    flags, size = data.flags, len(data.payload)
    words.stream_id = data.stream_id
    words.add("TSN", data.tsn, f"TSN {data.tsn}")
    words.add("stream", data.stream_id, f"stream {data.stream_id}")
    is_first, is_last = bool(flags & chunks.BEGIN), bool(flags & chunks.END)
    unordered = bool(flags & chunks.UNORDERED)
    if interleaved:
        words.add("MID", data.sequence, f"MID {data.sequence}")
        if not is_first:
            words.add("FSN", data.fsn, f"FSN {data.fsn}")
    elif unordered:
        words.add("SSN", f"{data.sequence} (without meaning)")
    else:
        words.add("SSN", data.sequence, f"SSN {data.sequence}")
    part = {
        (True, True): "",
        (True, False): "first part",
        (False, True): "last part",
        (False, False): "middle part",
    }[is_first, is_last]
    words.add("fragment", part or "the whole message", part or None)
    words.add("ordered", "no" if unordered else "yes", "unordered" if unordered else None)
    if flags & chunks.IMMEDIATE:
        words.add("I bit", "acknowledge at once", "immediate")
    if is_first or not interleaved:
        kind = _PPIDS.get(data.ppid)  # type: ignore[call-overload]
        name = f"{data.ppid} ({kind})" if kind else f"{data.ppid}"
        words.add("PPID", name)
        words.summary.append(f"{_bytes(size)} {kind or name}" if data.ppid else _bytes(size))
    else:
        words.summary.append(_bytes(size))
    if data.ppid == dcep.Ppid.DCEP and is_first and is_last:
        _dcep(words, data.payload)
    words.details.append(f"payload: {_bytes(size)}")
    words.details.extend(hex_dump(data.payload))


def _dcep(words: _Words, payload: bytes) -> None:
    try:
        message = dcep.decode_untrusted(payload)
    except DecodeError as error:
        words.add("DCEP", error, f"malformed: {error}")
        return
    if isinstance(message, dcep.Ack):
        words.add("DCEP", "acknowledgement of a channel", "ACK")
        return
    kind = message.channel_type
    limit = ""
    if kind & 0x7F == dcep.ChannelType.REXMIT:
        limit = f" {message.reliability}"
    elif kind & 0x7F == dcep.ChannelType.TIMED:
        limit = f" {message.reliability} ms"
    name = kind.name.lower().replace("_", " ") + limit
    label, protocol = _clean(message.label), _clean(message.protocol)
    text = f'OPEN "{label}"' + (f' protocol "{protocol}"' if protocol else "") + f" {name}"
    words.add("DCEP", text, text)
    words.details.append(f"priority: {message.priority}")


def _sack(words: _Words, data: bytes, start: int, end: int) -> None:
    sack = chunks.decode_sack_untrusted(data, start, end)
    base = sack.cumulative_tsn
    words.add("cumulative TSN", base, f"cumulative TSN {base}")
    words.add("a_rwnd", f"{sack.a_rwnd} bytes", f"window {sack.a_rwnd}")
    gaps = [
        f"{(base + first) & 0xFFFF_FFFF}"
        + (f"-{(base + last) & 0xFFFF_FFFF}" if last - first else "")
        for first, last in sack.blocks
    ]
    for gap in gaps:
        words.details.append(f"arrived beyond: {gap}")
    if gaps:
        more = f" and {len(gaps) - 3} more" if len(gaps) > 3 else ""
        words.summary.append(f"beyond: {' '.join(gaps[:3])}{more}")
    at = start + 12 + 4 * len(sack.blocks)
    repeated = struct.unpack_from(f">{sack.duplicates}I", data, at)
    if repeated:
        words.add("duplicates", " ".join(map(str, repeated)), f"{len(repeated)} duplicates")


def _init(words: _Words, init: chunks.Init) -> None:
    words.initiate_tag = init.initiate_tag
    words.add("initiate tag", f"{init.initiate_tag:08x}", f"tag {init.initiate_tag:08x}")
    words.add("a_rwnd", f"{init.a_rwnd} bytes", f"window {init.a_rwnd}")
    streams = f"{init.outbound_streams} out, {init.inbound_streams} in"
    words.add("streams", streams, f"streams {init.outbound_streams}/{init.inbound_streams}")
    words.add("initial TSN", init.initial_tsn, f"TSN {init.initial_tsn}")
    _params(words, init.params)
    extensions = init.find(Param.SUPPORTED_EXTENSIONS)
    if extensions:
        words.summary.append(f"knows {_listed([chunk_name(kind) for kind in extensions])}")
    if init.find(Param.ZERO_CHECKSUM) is not None:
        words.summary.append("zero checksum")


def _params(words: _Words, found: Sequence[tlv.Tlv]) -> None:
    for kind, value in found:
        name = _param_name(kind)
        if kind == Param.SUPPORTED_EXTENSIONS:
            text = " ".join(chunk_name(one) for one in value)
        elif value:
            text = f"{len(value)} bytes: {value[:32].hex(' ')}{' …' if len(value) > 32 else ''}"
        else:
            text = "present"
        words.details.append(f"{name}: {text}")


def _param_name(kind: int) -> str:
    try:
        return Param(kind).name.replace("_", " ").lower()
    except ValueError:
        return f"parameter 0x{kind:04x}"


def _reconfig(words: _Words, found: Sequence[tlv.Tlv]) -> None:
    for kind, value in found:
        request = params.decode_reconfig_untrusted(kind, value)
        text = _param_name(kind) if request is None else _request(request)
        words.summary.append(text)
        words.details.append(text)


def _request(request: params.ReconfigParam) -> str:
    match request:
        case params.OutgoingResetRequest():
            which = _numbers(request.streams)
            return f"request {request.request_number}: I reset {which} after TSN {request.last_tsn}"
        case params.IncomingResetRequest():
            return f"request {request.request_number}: reset your {_numbers(request.streams)}"
        case params.ResetAssociationRequest():
            return f"request {request.request_number}: reset the association"
        case params.AddStreamsRequest():
            whose = "I add" if request.outgoing else "add"
            return f"request {request.request_number}: {whose} {request.count} streams"
        case params.ReconfigResponse():
            try:
                result = params.ReconfigResult(request.result).name.replace("_", " ").lower()
            except ValueError:
                result = f"result {request.result}"
            return f"answer to {request.response_number}: {result}"


def _forward(words: _Words, forward: chunks.ForwardTsn, number: str) -> None:
    tsn = forward.new_cumulative_tsn
    words.add("new cumulative TSN", tsn, f"to TSN {tsn}")
    skipped = [
        f"stream {stream} {number} {sequence}{' unordered' if unordered else ''}"
        for stream, unordered, sequence in forward.skipped
    ]
    words.details.extend(f"skipped: {text}" for text in skipped)
    if skipped:
        more = f" and {len(skipped) - 2} more" if len(skipped) > 2 else ""
        words.summary.append(f"skips {', '.join(skipped[:2])}{more}")


def _numbers(streams: Sequence[int]) -> str:
    if not streams:
        return "all streams"
    more = f" and {len(streams) - 4} more" if len(streams) > 4 else ""
    return f"stream{'s' if len(streams) > 1 else ''} {' '.join(map(str, streams[:4]))}{more}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return " ".join(names[:8]) + more


def _bytes(size: int) -> str:
    return f"{size} byte{'' if size == 1 else 's'}"


def _clean(text: str, limit: int = _SHORT) -> str:
    """A stranger's words, so that they cannot do anything to a terminal."""
    cut = text[:limit] + ("…" if len(text) > limit else "")
    return "".join(character if character.isprintable() else "�" for character in cut)
