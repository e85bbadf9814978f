"""A scriptable peer for tests that read as a packet ladder.

The association under test is real; its peer is this script. Nothing is hidden: the peer sends
exactly the chunks that a test builds, and a test says exactly what it expects to come back. ::

    peer = FakePeer(Config())
    peer.association.connect(peer.now)
    peer.expect("INIT")                             # a -> INIT
    peer.deliver(peer.init_ack(b"cookie"))          # a <- INIT ACK
    peer.expect("COOKIE_ECHO")                      # a -> COOKIE ECHO
    peer.deliver(cookie_ack())                      # a <- COOKIE ACK
    assert peer.take_events() == [Connected()]

or, where the handshake is not the matter, ``peer = established(Config())``.

Whatever the association does, these rules are checked on every packet that it sends: it is not
larger than the MTU (unless it is a probe, or carries a cookie), a multiple of four bytes long,
carries a right checksum (or zero), and is made of whole chunks. After `Closed` there are no events
and no timers.
"""

from __future__ import annotations

import random
import struct
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs

from rtcsctp.sctp.association import Association
from rtcsctp.sctp.config import Config
from rtcsctp.sctp.cookie import CookieJar
from rtcsctp.sctp.events import (
    BufferedAmountLow,
    Closed,
    Connected,
    Event,
    Restarted,
    SendBufferLow,
    StreamReadable,
)
from rtcsctp.sctp.state import State
from rtcsctp.sctp.timers import Timer
from rtcsctp.sctp.wire import chunks, tlv
from rtcsctp.sctp.wire.checksum import has_valid_checksum
from rtcsctp.sctp.wire.chunks import ChunkType, Data, ForwardTsn, Init, Sack
from rtcsctp.sctp.wire.packet import build, peek_untrusted, split_untrusted
from rtcsctp.sctp.wire.params import Param, ReconfigParam, decode_reconfig_untrusted
from rtcsctp.sctp.wire.tlv import Tlv

PORT = 5000
"""The association's SCTP port."""
PEER_PORT = 6000
"""The fake peer's."""
PEER_TAG = 0x0A0B0C0D
"""The verification tag that the fake peer asks for; the association puts it into its packets."""
PEER_TSN = 0x1000
"""The fake peer's initial TSN."""
PEER_RWND = 1 << 20
COOKIE = b"a cookie, opaque"
"""What the fake peer's INIT ACK brings, and the association must echo."""
T_BIT = 1
WHOLE = chunks.BEGIN | chunks.END

# ----------------------------------------------------------------------------- building chunks


def rfc9260(**settings: Any) -> Config:
    """Parameters with RFC 9260's own congestion control, for tests that assert what it says."""
    return Config(congestion_control="rfc9260", **settings)


def chunk(kind: int, value: bytes = b"", flags: int = 0, *, length: int | None = None) -> bytes:
    """Any chunk, padded; `length` lies about its length."""
    built = chunks.encode(kind, value, flags)
    return built if length is None else built[:2] + struct.pack(">H", length) + built[4:]


def data(
    tsn: int,
    payload: bytes = b"x",
    *,
    stream: int = 0,
    ssn: int = 0,
    ppid: int = 0,
    flags: int = WHOLE,
) -> bytes:
    return chunks.encode_data(tsn & 0xFFFF_FFFF, flags, stream, ssn & 0xFFFF, ppid, payload)


def i_data(
    tsn: int,
    payload: bytes = b"x",
    *,
    stream: int = 0,
    mid: int = 0,
    ppid: int = 0,
    fsn: int = 0,
    flags: int = WHOLE,
) -> bytes:
    """I-DATA: the PPID travels in a first fragment, the FSN in all others."""
    last = ppid if flags & chunks.BEGIN else fsn
    return chunks.encode_i_data(tsn & 0xFFFF_FFFF, flags, stream, mid, last, payload)


def sack(
    cumulative_tsn: int,
    *,
    a_rwnd: int = PEER_RWND,
    gaps: Sequence[tuple[int, int]] = (),
    duplicates: Sequence[int] = (),
) -> bytes:
    """`gaps` are (start, end) offsets from the cumulative TSN."""
    return chunks.encode_sack(cumulative_tsn & 0xFFFF_FFFF, a_rwnd, gaps, duplicates)


def forward_tsn(tsn: int, skipped: Iterable[tuple[int, int]] = ()) -> bytes:
    """FORWARD-TSN; `skipped` are (stream, SSN)."""
    return chunks.encode_forward_tsn(tsn & 0xFFFF_FFFF, [(s, False, ssn) for s, ssn in skipped])


def i_forward_tsn(tsn: int, skipped: Sequence[tuple[int, bool, int]] = ()) -> bytes:
    """I-FORWARD-TSN; `skipped` are (stream, unordered, MID)."""
    return chunks.encode_i_forward_tsn(tsn & 0xFFFF_FFFF, skipped)


def cookie_echo(cookie: bytes) -> bytes:
    return chunks.encode(ChunkType.COOKIE_ECHO, cookie)


def cookie_ack() -> bytes:
    return chunks.encode(ChunkType.COOKIE_ACK)


def heartbeat(info: bytes) -> bytes:
    return chunks.encode_tlvs(ChunkType.HEARTBEAT, [(Param.HEARTBEAT_INFO, info)])


def heartbeat_ack(info: bytes) -> bytes:
    return chunks.encode_tlvs(ChunkType.HEARTBEAT_ACK, [(Param.HEARTBEAT_INFO, info)])


def shutdown(cumulative_tsn: int) -> bytes:
    return chunks.encode_shutdown(cumulative_tsn & 0xFFFF_FFFF)


def shutdown_ack() -> bytes:
    return chunks.encode(ChunkType.SHUTDOWN_ACK)


def shutdown_complete(*, t: bool = False) -> bytes:
    return chunks.encode(ChunkType.SHUTDOWN_COMPLETE, b"", T_BIT * t)


def abort(*causes: Tlv, t: bool = False) -> bytes:
    return chunks.encode_tlvs(ChunkType.ABORT, causes, T_BIT * t)


def error(*causes: Tlv) -> bytes:
    return chunks.encode_tlvs(ChunkType.ERROR, causes)


def reconfig(*params: ReconfigParam) -> bytes:
    return chunks.encode_tlvs(ChunkType.RE_CONFIG, [param.encode() for param in params])


def pad(size: int) -> bytes:
    """A PAD chunk of `size` bytes in all (RFC 4820)."""
    return chunks.encode(ChunkType.PAD, bytes(size - 4))


def init(
    tag: int = PEER_TAG,
    *,
    kind: int = ChunkType.INIT,
    a_rwnd: int = PEER_RWND,
    outbound: int = 100,
    inbound: int = 100,
    tsn: int = PEER_TSN,
    params: Sequence[Tlv] = (),
) -> bytes:
    """INIT (or INIT ACK) with exactly these parameters; see `extensions`."""
    return Init(tag, a_rwnd, outbound, inbound, tsn & 0xFFFF_FFFF, tuple(params)).encode(kind)


def extensions(
    *,
    interleaving: bool = False,
    partial_reliability: bool = True,
    reconfiguration: bool = True,
    zero_checksum: bool = False,
) -> list[Tlv]:
    """The parameters of an INIT that offer these."""
    kinds: list[int] = []
    params: list[Tlv] = []
    if partial_reliability:
        params.append((Param.FORWARD_TSN, b""))
        kinds.append(ChunkType.FORWARD_TSN)
    if reconfiguration:
        kinds.append(ChunkType.RE_CONFIG)
    if interleaving:
        kinds.append(ChunkType.I_DATA)
        if partial_reliability:
            kinds.append(ChunkType.I_FORWARD_TSN)
    if kinds:
        params.append((Param.SUPPORTED_EXTENSIONS, bytes(kinds)))
    if zero_checksum:
        params.append((Param.ZERO_CHECKSUM, struct.pack(">I", 1)))
    return params


# ----------------------------------------------------------------------------- reading packets


@attrs.frozen
class Chunk:
    """A chunk that the association sent."""

    kind: int
    flags: int
    value: bytes

    @property
    def name(self) -> str:
        """The name in `ChunkType`, or the number."""
        return ChunkType(self.kind).name if self.kind in set(ChunkType) else f"0x{self.kind:02x}"

    def as_data(self) -> Data:
        """DATA or I-DATA."""
        if self.kind == ChunkType.I_DATA:
            return chunks.decode_i_data_untrusted(self.value, 0, len(self.value), self.flags)
        assert self.kind == ChunkType.DATA, self
        return chunks.decode_data_untrusted(self.value, 0, len(self.value), self.flags)

    def as_sack(self) -> Sack:
        assert self.kind == ChunkType.SACK, self
        return chunks.decode_sack_untrusted(self.value, 0, len(self.value))

    def as_init(self) -> Init:
        """INIT or INIT ACK."""
        assert self.kind in (ChunkType.INIT, ChunkType.INIT_ACK), self
        return chunks.decode_init_untrusted(self.value, 0, len(self.value))

    def as_forward_tsn(self) -> ForwardTsn:
        """FORWARD-TSN or I-FORWARD-TSN."""
        if self.kind == ChunkType.I_FORWARD_TSN:
            return chunks.decode_i_forward_tsn_untrusted(self.value, 0, len(self.value))
        assert self.kind == ChunkType.FORWARD_TSN, self
        return chunks.decode_forward_tsn_untrusted(self.value, 0, len(self.value))

    def as_shutdown(self) -> int:
        """The cumulative TSN of SHUTDOWN."""
        assert self.kind == ChunkType.SHUTDOWN, self
        return chunks.decode_shutdown_untrusted(self.value, 0, len(self.value))

    def as_tlvs(self) -> list[Tlv]:
        """The causes of ABORT and ERROR, the parameters of HEARTBEAT and RE-CONFIG."""
        return tlv.parse_untrusted(self.value)

    def as_reconfig(self) -> list[ReconfigParam]:
        assert self.kind == ChunkType.RE_CONFIG, self
        found = [decode_reconfig_untrusted(kind, value) for kind, value in self.as_tlvs()]
        return [param for param in found if param is not None]


@attrs.frozen
class Packet:
    """A packet that the association sent, taken apart."""

    raw: bytes
    source: int
    destination: int
    tag: int
    chunks: tuple[Chunk, ...]

    @property
    def names(self) -> str:
        """The names of its chunks, parted by spaces: what `FakePeer.expect` compares."""
        return " ".join(chunk.name for chunk in self.chunks)

    @property
    def checksum_is_zero(self) -> bool:
        return self.raw[8:12] == bytes(4)

    def __getitem__(self, name: str) -> Chunk:
        """Its only chunk of this name."""
        [found] = [chunk for chunk in self.chunks if chunk.name == name]
        return found

    def all(self, *names: str) -> list[Chunk]:
        """Its chunks of these names."""
        return [chunk for chunk in self.chunks if chunk.name in names]


def decode(raw: bytes) -> Packet:
    """Take a packet apart, wholly."""
    head = peek_untrusted(raw)
    assert head is not None, raw
    found, truncated = split_untrusted(raw)
    assert not truncated, raw
    source, destination, tag, _ = head
    parts = tuple(Chunk(kind, flags, raw[start:end]) for kind, flags, start, end in found)
    return Packet(raw, source, destination, tag, parts)


# ------------------------------------------------------------------------------ the fake peer


class FakePeer:
    """The other end of `association`, under the control of a test, in virtual time.

    Attributes:
        association: what is tested.
        now: virtual time, seconds.
        tag: the tag that this peer asks for.
        their_tag: the association's tag, once it is known from INIT or INIT ACK.
        tsn: the next TSN that this peer sends.
        received: DATA and I-DATA of the association, as they came.
        sizes: counts (packets, bytes) both ways: `bytes_in` to the association, `bytes_out` of it.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        seed: int = 1,
        tag: int = PEER_TAG,
        tsn: int = PEER_TSN,
        a_rwnd: int = PEER_RWND,
        outbound: int = 100,
        inbound: int = 100,
        params: Sequence[Tlv] | None = None,
        remote_port: int | None = PEER_PORT,
        cookies: CookieJar | None = None,
        start: float = 100.0,
    ) -> None:
        """A peer of a new association that has not begun to connect.

        Args:
            config: of the association.
            seed: of the association's random source.
            tag, tsn, a_rwnd, outbound, inbound: what this peer says in INIT and INIT ACK.
            params: further parameters there; by default FORWARD-TSN and RE-CONFIG are offered, and
                I-DATA is not.
            remote_port: what the association believes the peer's port to be.
            cookies: of the association.
            start: the time at which it all begins.
        """
        self.config = config if config is not None else rfc9260()
        self.association = Association(
            self.config,
            local_port=PORT,
            remote_port=remote_port,
            rng=random.Random(seed),
            cookies=cookies,
        )
        self.now = start
        self.tag = tag
        self.their_tag = 0
        self.tsn = tsn
        self.initial_tsn = tsn
        self.a_rwnd = a_rwnd
        self.outbound = outbound
        self.inbound = inbound
        self.params = list(params) if params is not None else extensions()
        self.received: list[Data] = []
        self.bytes_in = self.bytes_out = self.packets_in = self.packets_out = 0
        self._seen: set[int] = set()
        self._cumulative: int | None = None
        self._sent: deque[Packet] = deque()
        self._events: list[Event] = []
        self._ended = False

    # ---- chunks that need what this peer knows

    def init(self, *more: Tlv) -> bytes:
        return self._init(ChunkType.INIT, *more)

    def init_ack(self, cookie: bytes = COOKIE, *more: Tlv) -> bytes:
        return self._init(ChunkType.INIT_ACK, (Param.STATE_COOKIE, cookie), *more)

    def _init(self, kind: int, *more: Tlv) -> bytes:
        return init(
            self.tag,
            kind=kind,
            a_rwnd=self.a_rwnd,
            outbound=self.outbound,
            inbound=self.inbound,
            tsn=self.initial_tsn,
            params=[*more, *self.params],
        )

    def data(self, payload: bytes = b"x", **fields: int) -> bytes:
        """DATA with this peer's next TSN; `fields` as for `ladder.data`."""
        self.tsn += 1
        return data(self.tsn - 1, payload, **fields)

    def i_data(self, payload: bytes = b"x", **fields: int) -> bytes:
        """I-DATA with this peer's next TSN; `fields` as for `ladder.i_data`."""
        self.tsn += 1
        return i_data(self.tsn - 1, payload, **fields)

    @property
    def cumulative(self) -> int:
        """The highest TSN of the association up to which everything has come (on the wire)."""
        assert self._cumulative is not None, "no INIT or INIT ACK was seen"
        while (self._cumulative + 1) & 0xFFFF_FFFF in self._seen:
            self._cumulative = (self._cumulative + 1) & 0xFFFF_FFFF
        return self._cumulative

    def sack(self, *, a_rwnd: int | None = None) -> bytes:
        """SACK for everything up to the first gap."""
        return sack(self.cumulative, a_rwnd=self.a_rwnd if a_rwnd is None else a_rwnd)

    # ---- what this peer does

    def packet(
        self,
        *parts: bytes,
        tag: int | None = None,
        source: int = PEER_PORT,
        destination: int = PORT,
        zero_checksum: bool = False,
    ) -> bytes:
        """A packet of this peer around whole chunks; its tag is the association's, by default.

        A packet with INIT alone has tag 0.
        """
        if tag is None:
            tag = 0 if parts and parts[0][0] == ChunkType.INIT else self.their_tag
        return build(source, destination, tag, b"".join(parts), zero_checksum=zero_checksum)

    def deliver(
        self,
        *parts: bytes,
        tag: int | None = None,
        source: int = PEER_PORT,
        destination: int = PORT,
        zero_checksum: bool = False,
    ) -> None:
        """The association receives one packet with these chunks."""
        self.deliver_raw(
            self.packet(
                *parts,
                tag=tag,
                source=source,
                destination=destination,
                zero_checksum=zero_checksum,
            )
        )

    def deliver_raw(self, *packets: bytes) -> None:
        """The association receives these datagrams, in one batch."""
        self.packets_in += len(packets)
        self.bytes_in += sum(map(len, packets))
        self.association.handle_datagrams(list(packets), self.now)
        self.drain()

    def wait(self, seconds: float) -> None:
        """So much time passes, with every timer that falls due in it."""
        self.drain()
        end = self.now + seconds
        for _ in range(100_000):
            due = min(self.association.timers.items(), key=lambda item: item[1], default=None)
            if due is None or due[1] > end:
                break
            self.now = max(self.now, due[1])
            self.association.handle_timer(due[0], self.now)
            self.drain()
        else:
            raise AssertionError("timers fire for ever")
        self.now = end
        self.drain()

    def fire(self, timer: Timer) -> float:
        """Time passes until `timer`, which must run, and it alone fires; how long that was."""
        assert timer in self.association.timers, (
            f"{timer} is not running: {self.association.timers}"
        )
        waited = max(0.0, self.association.timers[timer] - self.now)
        self.now += waited
        self.association.handle_timer(timer, self.now)
        self.drain()
        return waited

    def drain(self) -> None:
        """Take the association's events and packets, as its driver would."""
        association = self.association
        for _ in range(1000):
            self._take_events()
            packets = association.poll_transmit(self.now)
            if not packets:
                break
            for raw in packets:
                self._take(raw)
        else:
            raise AssertionError("the association sends for ever")
        self._take_events()  # poll_transmit may have caused some: an abandoned message, a threshold
        if association.closed is not None:
            assert association.state is State.CLOSED
            assert not association.timers, association.timers

    def _take_events(self) -> None:
        while (event := self.association.poll_event()) is not None:
            assert not self._ended, f"{event} after Closed"
            self._ended = isinstance(event, Closed)
            self._events.append(event)

    def _take(self, raw: bytes) -> None:
        packet = decode(raw)
        is_probe = bool(packet.all("PAD"))  # of the path, larger than what it is known to carry
        has_cookie = packet.chunks[0].name == "COOKIE_ECHO"  # as long as the peer made it
        assert len(raw) <= self.config.mtu or is_probe or has_cookie, len(raw)
        assert len(raw) % 4 == 0, len(raw)
        assert has_valid_checksum(raw) or packet.checksum_is_zero, raw
        self.packets_out += 1
        self.bytes_out += len(raw)
        for part in packet.chunks:
            if part.kind in (ChunkType.INIT, ChunkType.INIT_ACK):
                found = part.as_init()
                if self._cumulative is None:
                    self._cumulative = (found.initial_tsn - 1) & 0xFFFF_FFFF
                    self.their_tag = found.initiate_tag
            elif part.kind in (ChunkType.DATA, ChunkType.I_DATA):
                arrived = part.as_data()
                self.received.append(arrived)
                self._seen.add(arrived.tsn)
        self._sent.append(packet)

    def learn(self, found: Init) -> None:
        """From now on, the association is the one that said this in INIT or INIT ACK."""
        self.their_tag = found.initiate_tag
        self._cumulative = (found.initial_tsn - 1) & 0xFFFF_FFFF
        self._seen.clear()

    def learn_tag(self, tag: int) -> None:
        """From now on, this is the association's tag."""
        self.their_tag = tag

    # ---- what came of it

    def take(self) -> list[Packet]:
        """The packets that the association sent, and nobody took yet."""
        self.drain()
        packets = list(self._sent)
        self._sent.clear()
        return packets

    def expect(self, names: str) -> Packet:
        """The next packet, which must have exactly these chunks: ``expect("SACK DATA DATA")``."""
        self.drain()
        assert self._sent, f"{names} expected, and nothing was sent"
        packet = self._sent.popleft()
        assert packet.names == names, f"{names} expected, and {packet.names} was sent"
        return packet

    def expect_silence(self) -> None:
        """Nothing was sent."""
        self.drain()
        assert not self._sent, [packet.names for packet in self._sent]

    def take_events(self) -> list[Event]:
        """The events that nobody took yet."""
        self.drain()
        events = list(self._events)
        self._events.clear()
        return events

    def take_news(self) -> list[Event]:
        """As `take_events`, without those of buffers and messages."""
        dull = (BufferedAmountLow, SendBufferLow, StreamReadable)
        return [event for event in self.take_events() if not isinstance(event, dull)]

    def take_messages(self, stream: int = 0, limit: int = 1000) -> list[bytes]:
        """What the association's user reads from a stream."""
        found = [m.data for m in self.association.receive(stream, limit, now=self.now)]
        self.drain()
        return found

    @property
    def state(self) -> State:
        return self.association.state

    def is_in(self, state: State) -> bool:
        """Whether this is the state now, in a way that a type checker forgets at once."""
        return self.association.state is state

    @property
    def closed(self) -> Closed:
        """How the association ended, which it must have."""
        closed = self.association.closed
        assert closed is not None
        return closed

    # ---- whole handshakes

    def connect(self) -> None:
        """The association connects to this peer, and is established; nothing is left to take.

        DATA behind the COOKIE ECHO is acknowledged.
        """
        self.association.connect(self.now)
        self.learn(self.expect("INIT")["INIT"].as_init())
        self.connect_again()

    def connect_again(self) -> None:
        """The association's INIT, still unanswered, is answered now, and so on."""
        self.deliver(self.init_ack())
        assert self.take()[0].chunks[0].name == "COOKIE_ECHO"
        self.deliver(cookie_ack())
        self._finish()

    def accept(self) -> None:
        """This peer connects to the association, which is established; nothing is left to take."""
        self.deliver(cookie_echo(self.get_cookie()))
        self._finish()

    def get_cookie(self) -> bytes:
        """Send INIT and take the cookie from the INIT ACK, with `their_tag`."""
        self.deliver(self.init())
        answer = self.expect("INIT_ACK")["INIT_ACK"].as_init()
        self.learn(answer)
        cookie = answer.find(Param.STATE_COOKIE)
        assert cookie is not None
        return cookie

    def _finish(self) -> None:
        assert self.state is State.ESTABLISHED
        events = self.take_events()
        assert any(isinstance(event, (Connected, Restarted)) for event in events), events
        if self.received:
            self.deliver(self.sack())
        self.take()
        self._events = [event for event in self._events if not isinstance(event, StreamReadable)]


def established(config: Config | None = None, *, passive: bool = False, **options: Any) -> FakePeer:
    """A fake peer whose association is established, by its own INIT or (`passive`) by the peer's.

    `options` are those of `FakePeer`.
    """
    peer = FakePeer(config, **options)
    if passive:
        peer.accept()
    else:
        peer.connect()
    return peer


def interleaved(config: Config | None = None, *, passive: bool = False, **options: Any) -> FakePeer:
    """As `established`, and I-DATA was negotiated."""
    params = extensions(interleaving=True)
    return established(config, passive=passive, params=params, **options)


def waiting(config: Config | None = None, **options: Any) -> FakePeer:
    """A fake peer whose association has sent INIT, which has been taken."""
    peer = FakePeer(config, **options)
    peer.association.connect(peer.now)
    peer.learn(peer.expect("INIT")["INIT"].as_init())
    return peer


def echoed(config: Config | None = None, **options: Any) -> FakePeer:
    """A fake peer whose association has sent COOKIE ECHO, which has been taken."""
    peer = waiting(config, **options)
    peer.deliver(peer.init_ack(COOKIE))
    peer.expect("COOKIE_ECHO")
    return peer


def tag_in_cookie(cookie: bytes) -> int:
    """The local tag inside a cookie of ours; the layout is in cookie.py."""
    return int(struct.unpack_from(">BBHHdI", cookie)[5])


# ---------------------------------------------------------------------- two real associations


@attrs.define
class Log:
    """A packet on the wire between two associations."""

    sender: str
    packet: Packet
    time: float
    lost: bool


class Wire:
    """Two real associations, `a` and `b`, and a wire between them that a test may cut per packet.

    `lose` is asked for every packet: the name of its sender, its number among all packets (from 0),
    and the packet. ::

        wire = Wire(lose=lambda sender, number, packet: number == 2)
        wire.a.connect(wire.now)
        wire.run(until=lambda: wire.established)
    """

    def __init__(
        self,
        config_a: Config | None = None,
        config_b: Config | None = None,
        *,
        seed: int = 1,
        delay: float = 0.01,
        lose: Callable[[str, int, Packet], bool] = lambda *_: False,
    ) -> None:
        config_a = config_a if config_a is not None else rfc9260()
        self.now = 100.0
        self.a = self._make(config_a, PORT, PEER_PORT, seed)
        self.b = self._make(config_b or config_a, PEER_PORT, PORT, seed + 1)
        self.delay = delay
        self.lose = lose
        self.log: list[Log] = []
        self.events: dict[str, list[Event]] = {"a": [], "b": []}
        self._flying: deque[tuple[float, str, bytes]] = deque()

    @staticmethod
    def _make(config: Config, port: int, remote_port: int, seed: int) -> Association:
        rng = random.Random(seed)
        return Association(config, local_port=port, remote_port=remote_port, rng=rng)

    def _ends(self) -> list[tuple[str, Association]]:
        return [("a", self.a), ("b", self.b)]

    @property
    def established(self) -> bool:
        return self.a.state is State.ESTABLISHED and self.b.state is State.ESTABLISHED

    @property
    def closed(self) -> bool:
        """Whether both ends have ended."""
        return self.a.closed is not None and self.b.closed is not None

    def settle(self) -> None:
        """Both ends say what they have to say now."""
        for name, association in self._ends():
            for _ in range(1000):
                while (event := association.poll_event()) is not None:
                    assert not any(isinstance(old, Closed) for old in self.events[name]), event
                    self.events[name].append(event)
                packets = association.poll_transmit(self.now)
                for raw in packets:
                    packet = decode(raw)
                    lost = self.lose(name, len(self.log), packet)
                    self.log.append(Log(name, packet, self.now, lost))
                    if not lost:
                        self._flying.append((self.now + self.delay, name, raw))
                if not packets:
                    break
            else:
                raise AssertionError(f"{name} sends for ever")

    def step(self, latest: float) -> bool:
        """Go to the next packet or timer, if it comes until `latest`."""
        self.settle()
        times = [min(end.timers.values(), default=latest + 1) for _, end in self._ends()]
        if self._flying:
            times.append(self._flying[0][0])
        if min(times) > latest:
            return False
        self.now = max(self.now, min(times))
        while self._flying and self._flying[0][0] <= self.now:
            _, sender, raw = self._flying.popleft()
            (self.b if sender == "a" else self.a).handle_datagrams([raw], self.now)
            self.settle()
        for _, end in self._ends():
            for timer, deadline in list(end.timers.items()):
                if deadline <= self.now:
                    end.handle_timer(timer, self.now)
        self.settle()
        return True

    def run(self, *, until: Callable[[], bool] | None = None, seconds: float = 60.0) -> None:
        """Let time pass until something is true, or so much of it has passed."""
        end = self.now + seconds
        while until is None or not until():
            if not self.step(end):
                assert until is None, f"not within {seconds} s: {self.ladder}"
                self.now = end
                return

    def lose_next(self, pattern: Sequence[bool]) -> None:
        """Of the next packets, lose those that the pattern says."""
        first = len(self.log)

        def lose(_sender: str, number: int, _packet: Packet) -> bool:
            return 0 <= number - first < len(pattern) and pattern[number - first]

        self.lose = lose

    def restart_b(self, config: Config) -> None:
        """`b` is gone, without a word; another one, that knows nothing, has its port."""
        self.settle()
        self._flying = deque(packet for packet in self._flying if packet[1] == "a")
        self.b = self._make(config, PEER_PORT, PORT, len(self.log) + 99)
        self.events["b"].clear()

    @property
    def ladder(self) -> str:
        """What was sent: ``a INIT, b INIT_ACK, …``; what was lost is in parentheses."""
        lines = [f"{log.sender} {log.packet.names}" for log in self.log]
        return ", ".join(
            f"({line})" if log.lost else line for line, log in zip(lines, self.log, strict=True)
        )

    def sent(self, name: str, sender: str | None = None) -> list[Packet]:
        """Packets that have a chunk of this name."""
        return [
            log.packet
            for log in self.log
            if sender in (None, log.sender) and any(part.name == name for part in log.packet.chunks)
        ]
