"""`rtcsctp decode`: captures and hexadecimal text as readable ladders."""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import BinaryIO

from rtcsctp.cli.arguments import MAX_STREAM, AddParser, add_plain_command, seconds, whole_number
from rtcsctp.cli.failure import CommandError, attempt
from rtcsctp.cli.output import note, say
from rtcsctp.cli.units import format_count
from rtcsctp.testing.dissect import chunk_name, hex_dump
from rtcsctp.testing.hex_text import parse_hex_untrusted
from rtcsctp.testing.ladder import LadderReader, Rung, draw_ladder
from rtcsctp.testing.pcapng import CapturedPacket, CaptureError, read_pcapng_untrusted
from rtcsctp.testing.unwrap import LINK_TYPES, SCTP_UDP_PORT

__all__ = ["add_parser", "run"]

_MAGICS = (
    b"\x0a\x0d\x0d\x0a",
    b"\xd4\xc3\xb2\xa1",
    b"\xa1\xb2\xc3\xd4",
    b"\x4d\x3c\xb2\xa1",
    b"\xa1\xb2\x3c\x4d",
)
_TEXT = frozenset(b"\t\r\n" + bytes(range(32, 127)))
_LOOK = 512  # bytes by which text is told from what is none
_WIDTH = 100  # columns where there is no terminal

_EXAMPLES = """\
examples:
  rtcsctp decode trace.pcapng
  rtcsctp decode trace.pcapng --chunk INIT,INIT-ACK,ABORT --utc
  rtcsctp decode trace.pcapng --packet 17
  tcpdump -i any -w - udp port 9899 | rtcsctp decode -
  echo '13881388 00000001 00000000 0b000004' | rtcsctp decode -

FILE is a capture (pcapng or pcap: of rtcsctp, tcpdump, Wireshark) or hexadecimal text,
bare or as hexdump -C, xxd and tcpdump -x write it. What travels in DTLS cannot be read;
rtcsctp records its own packets decrypted (--pcap, RTCSCTP_CAPTURE, PeerConfig.capture).
"""


def add_parser(add: AddParser) -> None:
    """Add the command to those of `rtcsctp`."""
    parser = add_plain_command(
        add,
        "decode",
        run,
        summary="show the SCTP packets of a capture, or of hexadecimal text",
        description="Draw the SCTP packets of a capture as a ladder: who sent what, and when. "
        "Where the file is damaged, what comes before is shown, and the place is named.",
        epilog=_EXAMPLES,
    )
    parser.add_argument("file", metavar="FILE", help="what to read; - is standard input")
    parser.add_argument(
        "--packet",
        type=whole_number(1),
        metavar="N",
        help="show this one alone, with all its fields (its number is that of Wireshark)",
    )
    parser.add_argument(
        "--chunk",
        type=_chunk_names,
        action="extend",
        metavar="NAME",
        help="only packets with such a chunk, like SACK or INIT-ACK; several with commas",
    )
    parser.add_argument(
        "--stream",
        type=whole_number(0, MAX_STREAM),
        metavar="ID",
        help="only packets with user data of this stream",
    )
    parser.add_argument(
        "--association",
        type=whole_number(1),
        metavar="N",
        help="only the Nth association of the capture",
    )
    parser.add_argument(
        "--start", type=seconds, metavar="SECONDS", help="only from then on, after the first packet"
    )
    parser.add_argument(
        "--end", type=seconds, metavar="SECONDS", help="only until then, after the first packet"
    )
    parser.add_argument("--limit", type=whole_number(1), metavar="N", help="show so many at most")
    parser.add_argument(
        "--udp-port",
        type=whole_number(1, 65_535),
        action="append",
        default=[],
        metavar="N",
        help=f"UDP to or from this port has SCTP in it, as {SCTP_UDP_PORT} has; may be repeated",
    )
    parser.add_argument(
        "--link-type",
        choices=sorted(LINK_TYPES),
        metavar="TYPE",
        help="what packets of hexadecimal text begin with (default: it is guessed): "
        + ", ".join(sorted(LINK_TYPES)),
    )
    parser.add_argument(
        "--numbers", action="store_true", help="show the number of each packet, not its time"
    )
    parser.add_argument("--utc", action="store_true", help="show times of day, in UTC")
    parser.add_argument("--ascii", action="store_true", help="draw with ASCII characters only")
    parser.add_argument(
        "--width",
        type=whole_number(48, 1000),
        metavar="N",
        help="columns of the drawing (default: those of the terminal)",
    )


def _chunk_names(text: str) -> list[str]:
    known = {chunk_name(kind).replace(" ", "-"): chunk_name(kind) for kind in range(256)}
    names = []
    for word in text.split(","):
        name = known.get(word.strip().upper().replace(" ", "-").replace("_", "-"))
        if name is None or name.startswith("type"):
            listed = ", ".join(sorted(n for n in known if not n.startswith("type")))
            raise argparse.ArgumentTypeError(f"{word!r} is no chunk; there are: {listed}")
        names.append(name)
    return names


def run(arguments: argparse.Namespace) -> None:
    """Show what the options ask for.

    Raises:
        CommandError: the file cannot be read to its end, or has no SCTP in it.
    """
    ports = {SCTP_UDP_PORT, *arguments.udp_port}
    reader = LadderReader(udp_ports=ports)
    with _opened(arguments.file) as (file, name):
        frames = _read(file, name, arguments.link_type)
        if arguments.packet is not None:
            _show_packet(arguments.packet, frames, reader, name)
            return
        chosen = _Choice(arguments)
        try:
            for line in draw_ladder(
                _watched(frames, chosen),
                width=arguments.width or shutil.get_terminal_size((_WIDTH, 24)).columns,
                plain=arguments.ascii or not _can_draw(),
                chosen=chosen,
                reader=reader,
                stamp=_stamps(arguments, reader),
            ):
                say(line)
        finally:
            _tell_skipped(reader, chosen)
    if not chosen.seen:
        raise CommandError(f"no SCTP in {name}{_hint(reader)}")


@contextmanager
def _opened(path: str) -> Iterator[tuple[io.BufferedReader, str]]:
    """A file, or standard input, and what it is called.

    Raises:
        CommandError: it cannot be opened or read.
    """
    name = "standard input" if path == "-" else path
    with attempt(f"read {name}"):
        if path != "-":
            with open(path, "rb") as file:
                yield file, name
        elif sys.stdin is None:
            raise CommandError("cannot read standard input: it is closed")
        else:
            # Not closed at the end: it is not ours.
            yield io.BufferedReader(_Unclosed(sys.stdin.buffer)), name


class _Unclosed(io.RawIOBase):
    """A binary file that stays open."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        read = getattr(self._file, "read1", self._file.read)
        data = read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _read(file: io.BufferedReader, name: str, link_type: str | None) -> Iterator[CapturedPacket]:
    """The frames of a file of either kind.

    Raises:
        CommandError: while iterating, where it is damaged.
    """
    count = 0
    try:
        for frame in _frames(file, link_type):
            count += 1
            yield frame
    except CaptureError as error:
        after = f", after {format_count(count, 'packet')}" if count else ""
        raise CommandError(f"{name}: {error}{after}") from error


def _frames(file: io.BufferedReader, link_type: str | None) -> Iterator[CapturedPacket]:
    start = file.peek(_LOOK)[:_LOOK]
    if not start:
        raise CaptureError("there is nothing in it", 0)
    is_text = not start.startswith(_MAGICS) and _TEXT.issuperset(start)
    if is_text:
        # readline() with a limit: a file without line ends must not fill the memory.
        lines: Iterable[bytes] = iter(lambda: file.readline(1 << 19), b"")
        return parse_hex_untrusted(lines, None if link_type is None else LINK_TYPES[link_type])
    return read_pcapng_untrusted(file)


class _Choice:
    """Which packets are shown.

    Attributes:
        seen: packets with SCTP in them.
        shown: of these, the ones that were chosen.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.seen = 0
        self.shown = 0
        self.first_ns: int | None = None
        self._limit: int | None = arguments.limit
        self._chunks = frozenset(arguments.chunk or ())
        self._stream: int | None = arguments.stream
        self._association: int | None = arguments.association
        self._start: float | None = arguments.start
        self._end: float | None = arguments.end

    @property
    def is_full(self) -> bool:
        """Whether as many have been shown as were asked for."""
        return self._limit is not None and self.shown >= self._limit

    def __call__(self, rung: Rung) -> bool:
        self.seen += 1
        is_chosen = not self.is_full and self._fits(rung)
        self.shown += is_chosen
        return is_chosen

    def _fits(self, rung: Rung) -> bool:
        since = (rung.time_ns - (self.first_ns or 0)) / 1e9
        if self._start is not None and since < self._start:
            return False
        if self._end is not None and since > self._end:
            return False
        if self._association is not None and rung.conversation != self._association:
            return False
        chunks = () if rung.packet is None else rung.packet.chunks
        if self._chunks and not any(chunk.name in self._chunks for chunk in chunks):
            return False
        return self._stream is None or any(chunk.stream_id == self._stream for chunk in chunks)


def _watched(frames: Iterable[CapturedPacket], chosen: _Choice) -> Iterator[CapturedPacket]:
    """The frames, until no more are wanted."""
    for frame in frames:
        if chosen.first_ns is None:
            chosen.first_ns = frame.time_ns
        yield frame
        if chosen.is_full:
            return


def _stamps(
    arguments: argparse.Namespace, reader: LadderReader
) -> Callable[[int, int], str] | None:
    if arguments.numbers:
        return lambda _time, _first: str(reader.frames)
    if arguments.utc:
        return lambda time, _first: _time_of_day(time)
    return None


def _time_of_day(time_ns: int) -> str:
    seconds_, rest = divmod(time_ns, 1_000_000_000)
    try:
        moment = datetime.fromtimestamp(seconds_, UTC)
    except (OverflowError, ValueError, OSError):  # of a damaged file
        return f"{time_ns} ns"
    return f"{moment:%H:%M:%S}.{rest // 1000:06}"


def _can_draw() -> bool:
    """Whether standard output has the characters of a ladder."""
    try:
        "│─▶◀".encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _tell_skipped(reader: LadderReader, chosen: _Choice) -> None:
    words = []
    if chosen.shown != chosen.seen:
        words.append(f"{chosen.shown:,} of {format_count(chosen.seen, 'packet')} shown")
    words += [f"{count:,} {reason}" for reason, count in reader.skipped.items()]
    if words:
        note(f"left out: {', '.join(words)}" if len(words) > 1 or reader.skipped else words[0])


def _hint(reader: LadderReader) -> str:
    if any("DTLS" in reason for reason in reader.skipped):
        return ": WebRTC's is encrypted on its way; record it at one end (--pcap)"
    if any("other ports" in reason for reason in reader.skipped):
        return "; --udp-port names the port if it is in UDP"
    return ""


# -------------------------------------------------------------------------------- one in full


def _show_packet(
    number: int, frames: Iterable[CapturedPacket], reader: LadderReader, name: str
) -> None:
    for frame in frames:
        rung = reader.read_untrusted(frame)
        if reader.frames == number:
            if rung is None:
                raise CommandError(
                    f"packet {number} of {name} has no SCTP: {[*reader.skipped][-1]}"
                )
            for line in _in_full(rung):
                say(line)
            return
    raise CommandError(f"there is no packet {number} in {name}, which has {reader.frames}")


def _in_full(rung: Rung) -> Iterator[str]:
    ends = (rung.left, rung.right) if rung.rightwards else (rung.right, rung.left)
    yield f"packet {rung.number}: {len(rung.data)} bytes, from {ends[0]} to {ends[1]}"
    if rung.time_ns:
        yield f"time: {rung.time_ns / 1e9:.9f} s since 1970, {_time_of_day(rung.time_ns)} UTC"
    packet = rung.packet
    position = 0
    if packet is not None:
        yield f"ports: {packet.source_port} to {packet.destination_port}"
        yield f"verification tag: {packet.tag:08x}"
        yield f"checksum: {packet.checksum} ({rung.data[8:12].hex()})"
        position = 12
        for chunk in packet.chunks:
            yield ""
            yield (
                f"{chunk.name} at byte {chunk.offset}: {chunk.length} bytes, "
                f"flags 0x{chunk.flags:02x}"
            )
            for detail in chunk.details:
                yield f"  {detail}"
            position = (chunk.offset + chunk.length + 3) & ~3
    if rung.problem is not None:
        yield ""
        yield f"cannot be read further: {rung.problem}"
        for line in hex_dump(rung.data[position:], position):
            yield f"  {line}"
