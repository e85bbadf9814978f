"""One run of two associations over a bad network, and the ledger that judges it.

Both sides send as their users would: many messages on many streams, ordered and unordered, reliable
and not, while streams are reset and added in between; they read at once, late, or in bursts. The
ledger knows every message by its PPID, which is its number, and can make its bytes again.

What must hold:

- a reliable message arrives exactly once, one with limited reliability at most once;
- what arrives is what was sent: bytes, stream, and whether it was ordered;
- ordered messages of a stream arrive in the order of sending, also across a reset;
- a reset separates what was sent before it from what was sent behind it;
- in the end nothing is queued, in flight, or held, and an orderly shutdown completes;
- meanwhile the rules of `check_end` and `check_packets` hold.

Everything is decided by the seed of the scenario.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import attrs

from rtcsctp.sctp.association import Association
from rtcsctp.sctp.config import Config
from rtcsctp.sctp.events import (
    AssociationReset,
    Closed,
    CloseReason,
    Event,
    IncomingStreamsReset,
    Message,
    MessageAbandoned,
    OutgoingStreamsReset,
    ReconfigFailed,
    StreamReadable,
    StreamResetFailed,
    StreamsAdded,
)
from rtcsctp.sctp.state import State
from rtcsctp.sctp.timers import Timer
from rtcsctp.sctp.tx.records import SentState
from rtcsctp.sctp.wire.chunks import ChunkType, decode_data_untrusted, decode_i_data_untrusted
from rtcsctp.sctp.wire.packet import split_untrusted
from rtcsctp.testing import Conditions, Network, Pair, TraceEntry

__all__ = ["Scenario", "check_packets", "run"]

_PATTERN = random.Random("bytes").randbytes(1 << 20)
_DATA = frozenset({ChunkType.DATA, ChunkType.I_DATA})


@attrs.frozen(kw_only=True)
class Scenario:
    """What happens in one run; the same scenario gives the same packets."""

    name: str
    seed: int = 0
    conditions: Conditions = attrs.field(factory=lambda: Conditions(delay=0.02))
    """Of both directions, except where `back` says otherwise for b to a."""
    back: Conditions | None = None
    config: Config = attrs.field(factory=Config)
    config_b: Config | None = None
    messages: int = 800
    """Messages that each side sends in all."""
    messages_b: int | None = None
    streams: int = 16
    sizes: tuple[int, ...] = (1, 30, 400, 1172, 3000, 20_000)
    """A message has at most one of these many bytes, chosen at random."""
    exact_sizes: bool = False
    unordered: float = 0.3
    """Share of messages that are unordered."""
    unreliable: float = 0.0
    """Share of messages with one of the three limits of reliability."""
    window: int = 200_000
    """Bytes that a side lets queue before it waits."""
    burst: int = 40
    """Messages that a side sends at one opportunity, at most."""
    reading: str = "at once"
    """Or "late": a second after it came, or "in bursts": all every 0.4 s."""
    resets: float = 0.0
    """Probability, per opportunity to send, that some stream is reset."""
    peer_resets: float = 0.0
    """... that the peer is asked to reset some."""
    association_resets: int = 0
    """How often a resets the association, at most every 31 s."""
    adding_streams: int = 0
    """How often streams are added."""
    both_connect: bool = False
    pauses: float = 0.0
    """Probability, per opportunity, that the network stalls for a while."""
    limit: float = 3600.0
    """Virtual seconds until the run counts as stuck."""


@attrs.define
class Sent:
    """What the ledger knows of a message."""

    stream_id: int
    size: int
    unordered: bool
    reliable: bool
    epoch: int
    """How often its stream had been reset by then."""
    received: int = 0


def content(number: int, size: int) -> bytes:
    """The bytes of message `number`; different numbers begin at different places."""
    start = number * 7919 % (len(_PATTERN) - 4096)
    data = _PATTERN[start : start + size]
    while len(data) < size:
        data += _PATTERN[: size - len(data)]
    return data


class User:
    """The user of one association: what it sends, and what it got from the other one."""

    def __init__(
        self, name: str, association: Association, scenario: Scenario, messages: int
    ) -> None:
        self.name = name
        self.association = association
        self.scenario = scenario
        self.remaining = messages
        self.peer: User = self
        self.rng = random.Random(f"{scenario.seed}/{name}")
        self.sent: list[Sent] = []
        self.epochs: Counter[int] = Counter()
        """How often each stream that we send on was reset, requests under way included."""
        self.last_ordered: dict[int, int] = {}
        """The number of the last ordered message that came on each stream."""
        self.resets_seen: Counter[int] = Counter()
        self.unread_before_reset: dict[int, deque[int]] = {}
        """For each stream that was reset while messages were unread: how many are older."""
        self.readable: dict[int, float] = {}
        self.pending: set[int] = set()
        """Streams whose reset was asked for and not answered."""
        self.seen = 0
        self.abandoned = 0
        self.association_resets = scenario.association_resets if name == "a" else 0
        self.adding = scenario.adding_streams
        self.next_association_reset = 1.0
        self.closed: Closed | None = None
        self.next_burst = 0.0

    # ------------------------------------------------------------------------------- sending

    def act(self, now: float) -> None:
        """An opportunity: send, and sometimes do something else."""
        association, scenario, rng = self.association, self.scenario, self.rng
        if association.state is not State.ESTABLISHED:
            return
        if self.remaining and association.buffered_amount < scenario.window:
            for _ in range(rng.randint(1, scenario.burst)):
                if not self.remaining or association.buffered_amount >= scenario.window:
                    break
                self.send_one(now)
            if scenario.resets and rng.random() < scenario.resets:
                self.reset_some(now)
            if scenario.peer_resets and rng.random() < scenario.peer_resets:
                streams = [rng.randrange(scenario.streams) for _ in range(rng.randint(1, 3))]
                association.request_peer_reset(streams, now)
        if self.association_resets and now >= self.next_association_reset and self.sent:
            self.association_resets -= 1
            self.next_association_reset = now + 31
            association.reset_association(now)
        if self.adding and rng.random() < 0.05:
            self.adding -= 1
            association.add_streams(outgoing=rng.randint(0, 3), incoming=rng.randint(0, 3), now=now)

    def send_one(self, now: float) -> None:
        scenario, rng = self.scenario, self.rng
        stream_id = rng.randrange(scenario.streams)
        size = rng.choice(scenario.sizes)
        if not scenario.exact_sizes:
            size = rng.randint(1, size)
        unordered = rng.random() < scenario.unordered
        limits: dict[str, Any] = {}
        if rng.random() < scenario.unreliable:
            kind = rng.choice(("max_retransmits", "lifetime", "priority"))
            limits[kind] = {
                "max_retransmits": rng.choice((0, 0, 1, 2, 5)),
                "lifetime": rng.choice((0.01, 0.1, 0.3, 1.0)),
                "priority": rng.randrange(4),
            }[kind]
        number = len(self.sent)
        self.remaining -= 1
        self.sent.append(Sent(stream_id, size, unordered, not limits, self.epochs[stream_id]))
        self.association.send(
            stream_id,
            content(number, size),
            ppid=number,
            unordered=unordered,
            now=now,
            **limits,
        )

    def reset_some(self, now: float) -> None:
        rng = self.rng
        if rng.random() < 0.1:
            streams: list[int] = []
            concerned = set(range(self.scenario.streams))
        else:
            streams = sorted({rng.randrange(self.scenario.streams) for _ in range(3)})
            concerned = set(streams)
        if concerned & self.pending:
            return  # asking twice changes nothing
        self.pending |= concerned
        for stream_id in concerned:
            self.epochs[stream_id] += 1
        self.association.reset_streams(streams, now)

    # ------------------------------------------------------------------------------- reading

    def look(self, events: list[Event], now: float) -> None:
        """Take note of what the association told."""
        while self.seen < len(events):
            event = events[self.seen]
            self.seen += 1
            match event:
                case StreamReadable(stream_id):
                    self.readable.setdefault(stream_id, now)
                case OutgoingStreamsReset(stream_ids):
                    self.pending -= set(stream_ids or range(self.scenario.streams))
                case IncomingStreamsReset():
                    self.incoming_reset(event)
                case MessageAbandoned():
                    self.abandoned += 1
                case Closed():
                    self.closed = event
                case StreamResetFailed() | ReconfigFailed():
                    self.failed(event)
                case AssociationReset() | StreamsAdded() | _:
                    pass
        if self.scenario.reading == "at once":
            self.read_all(now)
        elif self.scenario.reading == "late":
            self.read([s for s, since in self.readable.items() if now >= since + 1], now)
        elif now >= self.next_burst:
            self.next_burst = now + 0.4
            self.read_all(now)

    def failed(self, event: Event) -> None:
        # A peer may refuse more streams, or to reset everything while it wants to do so itself.
        scenario = self.scenario
        asked = scenario.association_resets or scenario.adding_streams or scenario.peer_resets
        assert isinstance(event, ReconfigFailed), event
        assert asked, event

    def incoming_reset(self, event: IncomingStreamsReset) -> None:
        for stream_id, unread in event.unread.items():
            self.unread_before_reset.setdefault(stream_id, deque()).append(unread)
        for stream_id in event.stream_ids or range(self.scenario.streams):
            if stream_id not in event.unread:
                self.resets_seen[stream_id] += 1

    def next_wakeup(self) -> float | None:
        """When the user wants to read again, though nothing happens."""
        if not self.readable:
            return None
        if self.scenario.reading == "late":
            return min(self.readable.values()) + 1
        return self.next_burst

    def read_all(self, now: float) -> None:
        self.read(list(self.readable), now)

    def read(self, stream_ids: list[int], now: float) -> None:
        for stream_id in stream_ids:
            del self.readable[stream_id]
            while messages := self.association.receive(stream_id, self.rng.randint(1, 50), now=now):
                for message in messages:
                    self.received(message)
            self.reset_was_read(stream_id)

    def reset_was_read(self, stream_id: int) -> None:
        marks = self.unread_before_reset.get(stream_id)
        while marks and marks[0] <= 0:
            marks.popleft()
            self.resets_seen[stream_id] += 1

    def received(self, message: Message) -> None:
        """Judge a message by what the peer's ledger says of it."""
        number, stream_id = message.ppid, message.stream_id
        where = f"message {number} at {self.name}"
        assert number < len(self.peer.sent), f"{where} was never sent"
        entry = self.peer.sent[number]
        entry.received += 1
        assert entry.received == 1, f"{where} came twice: {entry}"
        assert stream_id == entry.stream_id, where
        assert message.unordered == entry.unordered, where
        assert message.data == content(number, entry.size), f"{where} is not intact: {entry}"
        self.reset_was_read(stream_id)
        marks = self.unread_before_reset.get(stream_id)
        if marks:
            for i in range(len(marks)):
                marks[i] -= 1
        if not self.scenario.peer_resets:
            # (A reset that the receiver asked for itself is not in the sender's count.)
            assert entry.epoch == self.resets_seen[stream_id], f"{where}: {entry} across a reset"
        if not entry.unordered:
            last = self.last_ordered.get(stream_id, -1)
            assert number > last, f"{where} came behind {last} on stream {stream_id}"
            self.last_ordered[stream_id] = number


# -------------------------------------------------------------------------------- invariants


def check_end(association: Association, config: Config) -> None:
    """What must be true of an association at any time."""
    outstanding = association.sender.outstanding
    flight = payload = 0
    for record in outstanding.records.values():
        if record.state == SentState.IN_FLIGHT:
            flight += record.wire_size
            payload += record.size
    assert outstanding.flight == flight, "flight bytes are miscounted"
    assert outstanding.payload == payload, "payload bytes are miscounted"
    if association.closed is None and association.state is not State.COOKIE_ECHOED:
        # Pitfall S8: whatever is outstanding, there is a timer that will do something about it.
        assert not outstanding.records or Timer.T3_RTX in association.timers, "T3 does not run"
    queued = sum(stream.buffered for stream in association.sender.queue.streams())
    assert association.buffered_amount == queued
    assert queued >= 0
    assert 0 <= association.receiver.held <= association.receiver.limits.hard_limit + 70_000
    reconfiguration = association.reconfiguration
    if association.state is State.ESTABLISHED and reconfiguration.request is not None:
        assert Timer.RECONFIG in association.timers, "an unanswered request without a timer"


def check_packets(trace: list[TraceEntry], mtu_a: int, mtu_b: int) -> None:
    """What must be true of every packet (RFC 9260 6.10, 6.7, 8.3; pitfalls S17, S60)."""
    for entry in trace:
        packet = entry.packet
        assert len(packet) <= (mtu_a if entry.direction == "a->b" else mtu_b), len(packet)
        assert len(packet) % 4 == 0
        found, truncated = split_untrusted(packet)
        assert not truncated
        kinds = [kind for kind, *_ in found]
        assert kinds.count(ChunkType.SACK) <= 1, kinds
        behind_data = kinds[kinds.index(min(_DATA & set(kinds))) :] if _DATA & set(kinds) else []
        assert set(behind_data) <= _DATA, f"control chunks behind DATA: {kinds}"
        tsns = [_tsn(packet, *chunk) for chunk in found if chunk[0] in _DATA]
        near = tsns[0] if tsns else 0
        ordered = [(tsn - near + (1 << 31)) % (1 << 32) for tsn in tsns]
        assert ordered == sorted(set(ordered)), f"TSNs do not grow: {tsns}"


def _tsn(packet: bytes, kind: int, flags: int, start: int, end: int) -> int:
    decode = decode_data_untrusted if kind == ChunkType.DATA else decode_i_data_untrusted
    chunk = decode(packet, start, end, flags)
    assert chunk.payload, "DATA without user data"
    return chunk.tsn


# --------------------------------------------------------------------------------------- a run


@attrs.define
class Result:
    """What a run came to."""

    pair: Pair
    a: User
    b: User

    @property
    def delivered(self) -> int:
        return sum(entry.received for user in (self.a, self.b) for entry in user.sent)


def run(
    scenario: Scenario, *, trace: bool = False, watch: Callable[[Pair], None] | None = None
) -> Result:
    """Play a scenario to its end; AssertionError where a rule is broken."""
    network = Network(scenario.conditions, b_to_a=scenario.back, seed=scenario.seed, trace=trace)
    config_b = scenario.config_b or scenario.config
    pair = Pair(scenario.config, config_b, network, seed=scenario.seed)
    back = scenario.messages if scenario.messages_b is None else scenario.messages_b
    a = User("a", pair.a, scenario, scenario.messages)
    b = User("b", pair.b, scenario, back)
    a.peer, b.peer = b, a
    result = Result(pair, a, b)
    rng = random.Random(f"{scenario.seed}/run")
    pair.connect(scenario.limit, both=scenario.both_connect)

    def step(seconds: float) -> None:
        """One step, or to where somebody wants to read, but not further than `seconds`."""
        wakeups = [pair.next_wakeup(), a.next_wakeup(), b.next_wakeup(), pair.now + seconds]
        when = min(w for w in wakeups if w is not None)
        if wakeups[0] is not None and wakeups[0] <= when:
            pair.step()
        else:
            pair.run_for(max(0.0, when - pair.now))
        a.look(pair.events_a, pair.now)
        b.look(pair.events_b, pair.now)
        if watch is not None:
            watch(pair)

    def check() -> None:
        check_end(pair.a, scenario.config)
        check_end(pair.b, config_b)

    def stuck() -> str:
        return f"{scenario.name}, seed {scenario.seed}: stuck; {describe(result)}"

    resume_at = 0.0
    steps = 0
    while a.remaining or b.remaining or a.association_resets:
        assert pair.now < scenario.limit, stuck()
        assert a.closed is None, a.closed
        assert b.closed is None, b.closed
        a.act(pair.now)
        b.act(pair.now)
        if resume_at and pair.now >= resume_at:
            network.resume(pair.now)
            resume_at = 0.0
        elif scenario.pauses and not resume_at and rng.random() < scenario.pauses:
            network.pause(drop=rng.random() < 0.5)
            resume_at = pair.now + rng.uniform(0.05, 2.0)
        step(0.05)
        steps += 1
        if steps % 50 == 0:
            check()
    network.resume(pair.now)
    while not _is_quiet(pair):
        assert pair.now < scenario.limit, stuck()
        assert a.closed is None, a.closed
        assert b.closed is None, b.closed
        step(1.0)
        steps += 1
        if steps % 50 == 0:
            check()
    check()
    pair.drain(scenario.limit)
    for user, events in ((a, pair.events_a), (b, pair.events_b)):
        user.look(events, pair.now)
        user.read_all(pair.now)
    _judge_end(result)
    _shut_down(result, step)
    if trace:
        check_packets(network.trace, scenario.config.mtu, config_b.mtu)
    return result


def _is_quiet(pair: Pair) -> bool:
    return all(
        side.sender.is_drained
        and side.reconfiguration.current is None
        and not side.reconfiguration.waiting
        for side in (pair.a, pair.b)
    )


def _judge_end(result: Result) -> None:
    for user in (result.a, result.b):
        assert user.association.state is State.ESTABLISHED, user.association.state
        for number, entry in enumerate(user.sent):
            if entry.reliable:
                assert entry.received == 1, f"message {number} of {user.name} is lost: {entry}"
        lost = sum(not entry.received for entry in user.sent)
        # What was given up may have come all the same, but what is lost was given up.
        assert lost <= user.abandoned, f"{lost} lost, {user.abandoned} abandoned"
        assert user.association.buffered_amount == 0
        assert user.association.unacknowledged == 0
        assert user.association.receiver.held == 0, "bytes are held for ever"
        assert not user.readable


def _shut_down(result: Result, step: Callable[[float], None]) -> None:
    """A shuts down, or b, or both at once; it completes on both sides."""
    pair = result.pair
    which = result.a.scenario.seed % 3
    if which != 1:
        pair.a.shutdown(pair.now)
    if which != 0:
        pair.b.shutdown(pair.now)
    deadline = pair.now + 600
    while pair.a.closed is None or pair.b.closed is None:
        assert pair.now < deadline, f"the shutdown is stuck; {describe(result)}"
        step(1.0)
    reasons = [pair.a.closed.reason, pair.b.closed.reason]
    if CloseReason.ABORTED_BY_PEER in reasons and _reorders(result.a.scenario):
        # A SHUTDOWN that comes late, to a side that is through, is answered with ABORT (8.4, 8).
        reasons.remove(CloseReason.ABORTED_BY_PEER)
    assert set(reasons) == {CloseReason.SHUTDOWN}, (pair.a.closed, pair.b.closed)


def _reorders(scenario: Scenario) -> bool:
    lines = (scenario.conditions, scenario.back or scenario.conditions)
    return any(line.reorder or (line.duplicate and line.duplicate_delay) for line in lines)


def describe(result: Result) -> str:
    """Where a run has come to, for messages."""
    pair = result.pair
    lines = [pair.describe()]
    for user in (result.a, result.b):
        association = user.association
        sender = association.sender
        lines.append(
            f"{user.name}: {association.state.value}, {user.remaining} to send,"
            f" {association.buffered_amount} queued, {sender.outstanding.flight} in flight,"
            f" {len(sender.outstanding.records)} records, cwnd {sender.congestion.cwnd},"
            f" peer window {sender.peer_window}, held {association.receiver.held},"
            f" unread {association.inbox.unread}, request {association.reconfiguration.request},"
            f" waiting {list(association.reconfiguration.waiting)},"
            f" suspended {sender.suspended}, {user.closed}"
        )
    return "\n".join(lines)
