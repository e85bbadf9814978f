"""What is fuzzed: functions that take any bytes, and raise only if there is a bug.

`decode_anything` gives the bytes to every decoder. `drive_association` takes them for a script:
what an association's network, its peer, its timers and its user do, one after the other. The peer
is another association, whose packets the script delivers, loses, repeats, cuts, and changes behind
a right checksum; between them come packets of the script's own. Any bytes are a script, so the
mutations of a fuzzer stay meaningful.

After every step the rules of `_Driven.check` hold: what is held and queued is bounded, counts are
not negative, nothing comes after `Closed`.
"""

from __future__ import annotations

import contextlib
import random
import struct
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from rtcsctp.errors import DecodeError, LocalProtocolError
from rtcsctp.sctp.association import Association
from rtcsctp.sctp.config import SCHEDULERS, Config
from rtcsctp.sctp.cookie import CookieJar
from rtcsctp.sctp.events import Closed, Event
from rtcsctp.sctp.responder import Responder
from rtcsctp.sctp.state import State
from rtcsctp.sctp.tcb import features_of_untrusted
from rtcsctp.sctp.wire import causes, chunks, params, tlv
from rtcsctp.sctp.wire.checksum import has_valid_checksum
from rtcsctp.sctp.wire.chunks import ChunkType
from rtcsctp.sctp.wire.packet import build, peek_untrusted, split_untrusted
from rtcsctp.sctp.wire.params import (
    AddStreamsRequest,
    IncomingResetRequest,
    OutgoingResetRequest,
    ReconfigParam,
    ReconfigResponse,
    ResetAssociationRequest,
)

__all__ = ["MOST_LINES", "decode_anything", "drive_association", "drive_responder"]

_PORT, _PEER_PORT = 5000, 6000

MOST_LINES = 60_000
"""Lines of `rtcsctp.sctp` that one packet of at most 1,500 bytes may cause to run: the clock of
`drive_association`. The dearest ones known are FORWARD-TSN over thousands of fragments."""

_MOST_QUEUED = 128  # control chunks that wait at most


# ------------------------------------------------------------------------------------ decoders


def decode_anything(data: bytes) -> None:
    """Every decoder of network bytes: each gives a value, or raises `DecodeError`."""
    peek_untrusted(data)
    size = len(data)
    flags = data[0] if data else 0
    decoders: list[Callable[[], object]] = [
        lambda: _decode_packet(data),
        lambda: tlv.parse_untrusted(data),
        lambda: causes.describe_untrusted(tlv.parse_untrusted(data)),
        lambda: chunks.decode_data_untrusted(data, 0, size, flags),
        lambda: chunks.decode_i_data_untrusted(data, 0, size, flags),
        lambda: chunks.decode_sack_untrusted(data, 0, size),
        lambda: features_of_untrusted(chunks.decode_init_untrusted(data, 0, size)),
        lambda: chunks.decode_forward_tsn_untrusted(data, 0, size),
        lambda: chunks.decode_i_forward_tsn_untrusted(data, 0, size),
        lambda: chunks.decode_shutdown_untrusted(data, 0, size),
        lambda: params.decode_zero_checksum_untrusted(data),
        lambda: [params.decode_reconfig_untrusted(kind, data) for kind in range(13, 19)],
        lambda: CookieJar(random.Random(1), 60.0).open_untrusted(
            data, local_port=_PORT, remote_port=_PEER_PORT, now=0.0
        ),
    ]
    for decode in decoders:
        with contextlib.suppress(DecodeError):
            decode()


def _decode_packet(data: bytes) -> None:
    found, _ = split_untrusted(data)
    end = 12
    for _kind, _flags, start, stop in found:
        assert end <= start - 4 <= start <= stop <= len(data)
        end = stop


# ----------------------------------------------------------------------------------- the script


class _Script:
    """Bytes that are read as numbers; all zero behind the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def word(self) -> int:
        return self.byte() << 8 | self.byte()

    def near(self) -> int:
        """A small number, mostly; now and then a huge one."""
        value = self.byte()
        if value < 240:
            return value - 40
        return (1 << (value - 225) * 2) + self.byte() - 128

    def bytes(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken


class _Lines:
    """Counts lines of the core that run."""

    folder = str(Path("rtcsctp") / "sctp")

    def __init__(self) -> None:
        self.count = 0

    def run(self, action: Callable[[], object]) -> int:
        self.count = 0
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            action()
        finally:
            sys.settrace(before)
        return self.count

    def _enter(self, frame: FrameType, _event: str, _arg: Any) -> Any:
        return self._line if self.folder in frame.f_code.co_filename else None

    def _line(self, _frame: FrameType, event: str, _arg: Any) -> Any:
        self.count += event == "line"
        return self._line


def _config(script: _Script) -> Config:
    bits = script.byte()
    return Config(
        interleaving=bool(bits & 1),
        partial_reliability=bool(bits & 2),
        reconfiguration=bool(bits & 4),
        zero_checksum=bool(bits & 8),
        rwnd=3000 if bits & 16 else 30_000,
        mtu=512 if bits & 32 else 1200,
        max_message_size=4000,
        heartbeat_interval=1.0 if bits & 64 else 0.0,
        max_retransmits=3 if bits & 128 else 10,
        scheduler=SCHEDULERS[script.byte() % len(SCHEDULERS)],
        outbound_streams=20,
        inbound_streams=20,
        max_streams=40,
        send_buffer=5000,
    )


class _Driven:
    """An association `a` under fuzz, and the real one, `b`, at the other end."""

    def __init__(self, script: _Script, *, measure: bool) -> None:
        self.script = script
        self.lines = _Lines() if measure else None
        self.now = 10.0
        self.a = self._make(_config(script), _PORT, _PEER_PORT, 1)
        self.b = self._make(_config(script), _PEER_PORT, _PORT, 2)
        self.to_a: deque[bytes] = deque(maxlen=50)
        self.to_b: deque[bytes] = deque(maxlen=50)
        self.past: list[bytes] = []
        self.ended = False
        self.restarts = 0
        start = script.byte() % 3
        if start != 1:
            self.a.connect(self.now)
        if start != 0:
            self.b.connect(self.now)

    @staticmethod
    def _make(config: Config, port: int, remote_port: int, seed: int) -> Association:
        rng = random.Random(seed)
        return Association(config, local_port=port, remote_port=remote_port, rng=rng)

    # ---- one step

    def step(self) -> None:
        opcode = self.script.byte() % (2 * len(_STEPS))
        # Half of all steps let the conversation go on, or little would ever be established.
        (_STEPS[opcode] if opcode < len(_STEPS) else _Driven.pump)(self)
        self.settle()
        self.check()

    def receive(self, *packets: bytes) -> None:
        """The association receives a batch."""
        batch = [packet[:1500] for packet in packets]
        if self.lines is None:
            self.a.handle_datagrams(batch, self.now)
            return
        spent = self.lines.run(lambda: self.a.handle_datagrams(batch, self.now))
        assert spent <= MOST_LINES * len(batch), f"{spent} lines for {batch!r}"

    def settle(self) -> None:
        """Drain both ends, as their drivers would."""
        for end, line in ((self.a, self.to_b), (self.b, self.to_a)):
            for _ in range(200):
                self._take_events(end)
                packets = end.poll_transmit(self.now)
                self._take_events(end)
                if not packets:
                    break
                line.extend(packets)
                if end is self.a:
                    for packet in packets:
                        self._judge_packet(packet)
            else:
                raise AssertionError("it sends for ever")

    def _take_events(self, end: Association) -> None:
        while (event := end.poll_event()) is not None:
            if end is self.a:
                self._judge_event(event)

    def _judge_event(self, event: Event) -> None:
        assert not self.ended, f"{event} after Closed"
        self.ended = isinstance(event, Closed)

    def _judge_packet(self, packet: bytes) -> None:
        found, truncated = split_untrusted(packet)
        assert not truncated
        assert len(packet) % 4 == 0
        assert len(packet) <= self.a.config.mtu or found[0][0] == ChunkType.COOKIE_ECHO
        assert has_valid_checksum(packet) or (
            packet[8:12] == bytes(4) and self.a.config.zero_checksum
        )

    def check(self) -> None:
        """What holds after every step."""
        a, statistics = self.a, self.a.statistics()
        hard_limit = a.receiver.limits.hard_limit + 1500
        assert 0 <= statistics.held <= hard_limit + 64 * 1500, statistics.held
        assert statistics.flight >= 0
        assert statistics.unacknowledged >= 0
        assert a.buffered_amount >= 0
        assert a.buffered_amount == sum(map(a.stream_buffered_amount, range(65)))
        assert len(a.outbox.control) <= _MOST_QUEUED
        assert statistics.cwnd > 0
        if a.closed is not None:
            assert a.state is State.CLOSED
            assert not a.timers
            assert self.ended
        for deadline in a.timers.values():
            assert deadline <= self.now + 400

    # ---- what the network does

    def pump(self) -> None:
        """Everything that is under way arrives, a few times over."""
        for _ in range(3):
            self.settle()
            while self.to_b:
                self._deliver_to_b(self.to_b.popleft())
            self.settle()
            while self.to_a:
                self._remember(self.to_a[0])
                self.receive(self.to_a.popleft())

    def _deliver_to_b(self, packet: bytes) -> None:
        self.b.handle_datagrams([packet], self.now)

    def _remember(self, packet: bytes) -> None:
        self.past.append(packet)
        del self.past[:-50]

    def _next(self) -> bytes:
        """The next packet to the association, or an earlier one."""
        if self.to_a:
            packet = self.to_a.popleft()
            self._remember(packet)
            return packet
        return self.past[self.script.byte() % len(self.past)] if self.past else bytes(16)

    def intact(self) -> None:
        self.receive(self._next())

    def twice(self) -> None:
        packet = self._next()
        self.receive(packet, packet)

    def lost(self) -> None:
        if self.to_a:
            self.to_a.popleft()

    def lost_to_b(self) -> None:
        if self.to_b:
            self.to_b.popleft()

    def out_of_order(self) -> None:
        self.to_a.rotate(-1)

    def changed(self) -> None:
        """Some bytes are others, and the checksum is right again."""
        packet = bytearray(self._next())
        for _ in range(1 + self.script.byte() % 4):
            at = self.script.word() % len(packet)
            packet[at] = self.script.byte()
        self.receive(_with_checksum(bytes(packet)))

    def cut(self) -> None:
        packet = self._next()
        self.receive(_with_checksum(packet[: 12 + self.script.word() % len(packet)]))

    def replayed(self) -> None:
        if self.past:
            self.receive(self.past[self.script.byte() % len(self.past)])

    def garbage(self) -> None:
        self.receive(self.script.bytes(self.script.byte()))

    # ---- what a hostile peer says

    def _say(self, *parts: bytes) -> None:
        tag = self.a.local_tag
        self.receive(build(_PEER_PORT, _PORT, tag, b"".join(parts)))

    def any_chunk(self) -> None:
        """A chunk of any type, with anything in it."""
        script = self.script
        parts = []
        for _ in range(1 + script.byte() % 3):
            kind = script.byte()
            if kind < 200:
                kind = tuple(ChunkType)[kind % len(ChunkType)]
            flags = script.byte()
            parts.append(chunks.encode(kind, script.bytes(script.byte()), flags))
        self._say(*parts)

    def _expected_tsn(self) -> int:
        return self.a.receiver.tsns.cumulative + 1

    def some_data(self) -> None:
        """DATA or I-DATA with plausible numbers."""
        script = self.script
        parts = []
        interleaved = self.a.statistics().interleaving ^ (script.byte() > 250)
        for _ in range(1 + script.byte() % 20):
            tsn = (self._expected_tsn() + script.near()) & 0xFFFF_FFFF
            bits = script.byte()
            flags, stream = bits & 15, bits >> 4
            payload = b"p" * (script.byte() % 60 + (bits > 10))
            if interleaved:
                mid, fsn = script.near() & 0xFFFF_FFFF, script.near() & 0xFFFF_FFFF
                parts.append(chunks.encode_i_data(tsn, flags, stream, mid, fsn, payload))
            else:
                parts.append(
                    chunks.encode_data(tsn, flags, stream, script.near() & 0xFFFF, 0, payload)
                )
        self._say(*parts)

    def some_sack(self) -> None:
        script = self.script
        acked = (self.a.sender.outstanding.cumulative + script.near()) & 0xFFFF_FFFF
        blocks = []
        for _ in range(script.byte() % 5):
            first = script.byte()
            blocks.append((first & 15, (first & 15) + (first >> 5)) if first < 250 else (1, 65_535))
        a_rwnd = script.byte() * 100
        self._say(chunks.encode_sack(acked, a_rwnd, blocks, [acked] * (script.byte() % 3)))

    def some_shutdown(self) -> None:
        acked = (self.a.sender.outstanding.cumulative + self.script.near()) & 0xFFFF_FFFF
        self._say(chunks.encode_shutdown(acked))

    def some_forward_tsn(self) -> None:
        script = self.script
        tsn = (self._expected_tsn() + script.near()) & 0xFFFF_FFFF
        entries = [
            (script.byte() % 25, bool(script.byte() & 1), script.near() & 0xFFFF)
            for _ in range(script.byte() % 5)
        ]
        if self.a.statistics().interleaving:
            self._say(chunks.encode_i_forward_tsn(tsn, entries))
        else:
            self._say(chunks.encode_forward_tsn(tsn, entries))

    def some_reconfig(self) -> None:
        script = self.script
        found: list[ReconfigParam] = []
        for _ in range(1 + script.byte() % 2):
            number = (self.a.reconfiguration.peer_next + script.byte() % 3 - 1) & 0xFFFF_FFFF
            ours = (self.a.reconfiguration.next_request - 1) & 0xFFFF_FFFF
            streams = tuple(script.byte() % 22 for _ in range(script.byte() % 4))
            tsn = (self._expected_tsn() - 1 + script.near()) & 0xFFFF_FFFF
            found.append(
                (
                    OutgoingResetRequest(number, ours, tsn, streams),
                    IncomingResetRequest(number, streams),
                    ResetAssociationRequest(number),
                    AddStreamsRequest(number, script.byte(), outgoing=True),
                    AddStreamsRequest(number, script.byte(), outgoing=False),
                    ReconfigResponse(ours, script.byte() % 9),
                    ReconfigResponse(ours, script.byte() % 9, tsn, ours),
                )[script.byte() % 7]
            )
        self._say(chunks.encode_tlvs(ChunkType.RE_CONFIG, [param.encode() for param in found]))

    def some_setup(self) -> None:
        """INIT, INIT ACK, COOKIE ACK, Stale Cookie, with anything in them."""
        script = self.script
        bits = script.byte()
        found: list[tlv.Tlv] = []
        for _ in range(script.byte() % 4):
            kind = script.word()
            if kind & 3:
                kind = tuple(params.Param)[kind % len(params.Param)]
            found.append((kind, script.bytes(script.byte() % 40)))
        if bits & 16:
            found.append((params.Param.STATE_COOKIE, script.bytes(20)))
        init = chunks.Init(
            script.byte(), 1200 + 20 * script.byte(), bits & 15, bits >> 4, 77, tuple(found)
        )
        stale = chunks.encode_tlvs(ChunkType.ERROR, [causes.stale_cookie(1.0)])
        match script.byte() % 4:
            case 0:
                body = init.encode(ChunkType.INIT)
                self.receive(build(_PEER_PORT, _PORT, 0, body))
            case 1:
                self._say(init.encode(ChunkType.INIT_ACK))
            case 2:
                self._say(stale)
            case _:
                self._say(chunks.encode(ChunkType.COOKIE_ACK))

    def renewed(self) -> None:
        """The association under fuzz is another one, that begins."""
        self.restarts += 1
        self.ended = False
        self.a = self._make(_config(self.script), _PORT, _PEER_PORT, 1000 + self.restarts)
        if self.script.byte() & 1:
            self.a.connect(self.now)

    def restarted(self) -> None:
        """The peer has lost its memory and connects again."""
        self.restarts += 1
        self.b = self._make(_config(self.script), _PEER_PORT, _PORT, 100 + self.restarts)
        self.b.connect(self.now)

    # ---- what time brings

    def timer(self) -> None:
        """The association's next timer, when it is due."""
        if self.a.timers:
            timer, deadline = min(self.a.timers.items(), key=lambda item: item[1])
            self.now = max(self.now, deadline)
            self.a.handle_timer(timer, self.now)

    def time(self) -> None:
        """Time passes, with the timers of both ends."""
        end = self.now + self.script.byte() / 50
        for _ in range(100):
            due = [(d, t, x) for x in (self.a, self.b) for t, d in x.timers.items() if d <= end]
            if not due:
                break
            deadline, timer, core = min(due, key=lambda item: item[0])
            self.now = max(self.now, deadline)
            core.handle_timer(timer, self.now)
            self.settle()
        self.now = end

    # ---- what the users do

    def _send(self, end: Association) -> None:
        script = self.script
        bits = script.byte()
        limits: dict[str, Any] = (
            {},
            {"max_retransmits": bits & 3},
            {"lifetime": (bits & 7) / 10},
            {"priority": bits & 7},
        )[bits >> 3 & 3]
        with contextlib.suppress(LocalProtocolError):
            end.send(
                script.byte() % 22,
                bytes(1 + script.word() % 3000),
                ppid=bits,
                unordered=bool(bits & 32),
                now=self.now,
                **limits,
            )

    def send(self) -> None:
        self._send(self.a)

    def send_from_b(self) -> None:
        self._send(self.b)

    def read(self) -> None:
        for end in (self.a, self.b):
            for stream in range(22):
                end.receive(stream, 1 + self.script.byte() % 3, now=self.now)

    def command(self) -> None:
        """Anything else that a user may ask for, allowed at the moment or not."""
        script, a, now = self.script, self.a, self.now
        stream = script.byte() % 22
        commands: tuple[Callable[[], None], ...] = (
            lambda: a.reset_streams([stream], now),
            lambda: a.reset_streams([], now),
            lambda: a.request_peer_reset([stream], now),
            lambda: a.reset_association(now),
            lambda: a.add_streams(outgoing=stream, incoming=stream // 2, now=now),
            lambda: a.heartbeat(now),
            lambda: a.shutdown(now),
            lambda: a.set_stream_schedule(stream, priority=script.byte(), weight=1 + stream),
            lambda: a.set_buffered_amount_low_threshold(stream, script.byte() * 10),
            lambda: a.connect(now),
            lambda: a.abort(b"enough", now=now) if script.byte() > 200 else None,
        )
        with contextlib.suppress(LocalProtocolError, ValueError):
            commands[script.byte() % len(commands)]()


_STEPS: tuple[Callable[[_Driven], None], ...] = (
    _Driven.pump,
    _Driven.intact,
    _Driven.twice,
    _Driven.lost,
    _Driven.lost_to_b,
    _Driven.out_of_order,
    _Driven.changed,
    _Driven.changed,
    _Driven.cut,
    _Driven.replayed,
    _Driven.garbage,
    _Driven.any_chunk,
    _Driven.some_data,
    _Driven.some_data,
    _Driven.some_sack,
    _Driven.some_shutdown,
    _Driven.some_forward_tsn,
    _Driven.some_reconfig,
    _Driven.some_setup,
    _Driven.some_setup,
    _Driven.renewed,
    _Driven.restarted,
    _Driven.timer,
    _Driven.time,
    _Driven.send,
    _Driven.send,
    _Driven.send_from_b,
    _Driven.read,
    _Driven.command,
)


def _with_checksum(packet: bytes) -> bytes:
    """The packet with a right checksum; too short ones as they are."""
    if len(packet) < 12:
        return packet
    source, destination, tag = struct.unpack_from(">HHI", packet)
    return build(source, destination, tag, packet[12:])


def drive_association(data: bytes, *, measure: bool = False) -> str:
    """Run a script; how it ended, for those who want to know what the scripts reach.

    Args:
        data: the script.
        measure: count the lines that each packet costs; about ten times slower.
    """
    script = _Script(data)
    driven = _Driven(script, measure=measure)
    driven.settle()
    for _ in range(300):
        if not script:
            break
        driven.step()
    reached = driven.a.state.value
    if driven.a.closed is not None:
        return driven.a.closed.reason.value
    driven.a.abort(b"the script is over", now=driven.now)
    driven.settle()
    if driven.a.state is not State.CLOSED or driven.a.timers:
        raise AssertionError("abort() does not end it")
    return reached


def drive_responder(data: bytes) -> None:
    """Any packets to a port on which anybody may connect: few answers, and none that is larger.

    (INIT ACK is; `tests/sctp/test_responder.py` says by how much.)
    """
    script = _Script(data)
    responder = Responder(_config(script), local_port=_PORT, rng=random.Random(1))
    now = 0.0
    cookie, tag = b"", 1
    while script:
        now += script.byte() / 10
        kind = script.byte()
        body = script.bytes(script.byte())
        if kind < 60:
            packet = build(_PEER_PORT, _PORT, 0, chunks.encode(ChunkType.INIT, bytes(3) + body))
        elif kind < 120:
            echo = bytearray(cookie)
            if body and echo and kind & 1:
                echo[body[0] % len(echo)] ^= body[-1]
            behind = chunks.encode(body[0], body[1:]) if body else b""
            packet = build(
                _PEER_PORT, _PORT, tag, chunks.encode(ChunkType.COOKIE_ECHO, bytes(echo)) + behind
            )
        elif kind < 200:
            found = tuple(ChunkType)[kind % len(ChunkType)]
            packet = build(_PEER_PORT, _PORT, kind, chunks.encode(found, body))
        else:
            packet = body
        answers, association = responder.handle_datagram_untrusted(packet, now)
        assert len(answers) <= 1
        for answer in answers:
            [(first, _, start, end)], _ = split_untrusted(answer)
            if first == ChunkType.INIT_ACK:
                found_init = chunks.decode_init_untrusted(answer, start, end)
                tag = found_init.initiate_tag
                cookie = found_init.find(params.Param.STATE_COOKIE) or b""
                assert len(answer) <= 450
            else:
                assert len(answer) <= max(len(packet), 28)
        if association is not None:
            assert association.state is not State.CLOSED
            association.abort(b"", now=now)
