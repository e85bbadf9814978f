"""I-DATA, and which stream sends next: RFC 8260, seen from outside the association.

In the ladders `a` is the association that is tested, and the peer is the script.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest

from rtcsctp.sctp.config import SCHEDULERS, Config
from rtcsctp.sctp.events import CloseReason
from rtcsctp.sctp.wire.causes import Cause
from rtcsctp.sctp.wire.chunks import BEGIN, END, UNORDERED, ChunkType, Data
from rtcsctp.testing import Conditions, Network, Pair

from .ladder import (
    PEER_TSN,
    WHOLE,
    FakePeer,
    cookie_ack,
    data,
    established,
    extensions,
    i_data,
    interleaved,
    sack,
)

MTU = 1200
FULL_DATA = MTU - 12 - 16
FULL_I_DATA = MTU - 12 - 20


def made(interleaving: bool, config: Config | None = None, **options: Any) -> FakePeer:
    make = interleaved if interleaving else established
    return make(config, **options)


def sent(peer: FakePeer) -> list[Data]:
    return [part.as_data() for packet in peer.take() for part in packet.all("DATA", "I_DATA")]


def run_dry(peer: FakePeer) -> list[Data]:
    """All that the association has to send, each packet acknowledged at once."""
    found = sent(peer)
    while True:
        peer.deliver(peer.sack())
        more = sent(peer)
        if not more:
            return found
        found += more


def order(chunks: list[Data]) -> list[int]:
    """The streams in the order in which they sent, repetitions left out."""
    return [stream for stream, _ in itertools.groupby(chunk.stream_id for chunk in chunks)]


# ------------------------------------------------------------------------------------- negotiation


@pytest.mark.parametrize("ours", [False, True])
@pytest.mark.parametrize("theirs", [False, True])
def test_i_data_is_used_where_both_offer_it(ours: bool, theirs: bool) -> None:
    """RFC 8260 2.2.1: then for all user messages, and otherwise for none."""
    peer = established(Config(interleaving=ours), params=extensions(interleaving=theirs))
    peer.association.send(0, b"x", now=peer.now)
    peer.expect("I_DATA" if ours and theirs else "DATA")
    assert peer.association.statistics().interleaving == (ours and theirs)


@pytest.mark.parametrize(
    ("interleaving", "bad"), [(True, data(PEER_TSN)), (False, i_data(PEER_TSN))]
)
def test_the_other_kind_is_a_violation_pitfall_s37(interleaving: bool, bad: bytes) -> None:
    """RFC 8260 2.2.3: the receiver "MUST abort the association"."""
    peer = made(interleaving)
    peer.deliver(bad)
    packet = peer.expect("ABORT")
    assert packet["ABORT"].as_tlvs()[0][0] == Cause.PROTOCOL_VIOLATION
    assert peer.closed.reason is CloseReason.PROTOCOL_VIOLATION


@pytest.mark.parametrize("interleaving", [False, True])
def test_packets_are_full_whatever_the_header_pitfall_s36(interleaving: bool) -> None:
    """Also for what was queued before it was known which header there will be."""
    peer = FakePeer(Config(), params=extensions(interleaving=interleaving))
    peer.association.connect(peer.now)
    peer.association.send(0, bytes(10_000), now=peer.now)
    peer.learn(peer.expect("INIT")["INIT"].as_init())
    peer.deliver(peer.init_ack())
    first = peer.take()
    peer.deliver(cookie_ack())
    packets = [*first, *peer.take()]
    assert all(len(packet.raw) <= MTU for packet in packets)
    full = [packet for packet in packets if packet.names in ("DATA", "I_DATA")]
    assert len(full[0].raw) == MTU
    payload = FULL_I_DATA if interleaving else FULL_DATA
    assert len(full[0].chunks[0].as_data().payload) == payload
    peer.deliver(peer.sack())
    total = sum(len(c.payload) for c in peer.received) + sum(len(c.payload) for c in sent(peer)) * 0
    assert total == 10_000


def test_the_ppid_travels_in_the_first_fragment_and_the_fsn_in_all_others_pitfall_s35() -> None:
    peer = interleaved()
    peer.association.send(3, bytes(4000), ppid=51, now=peer.now)
    chunks = sent(peer)
    assert [c.flags & WHOLE for c in chunks] == [BEGIN, 0, 0, END]
    assert [c.ppid for c in chunks] == [51, 0, 0, 0]
    assert [c.fsn for c in chunks] == [0, 1, 2, 3]
    assert {c.sequence for c in chunks} == {0}


def test_ordered_and_unordered_messages_count_their_mids_apart() -> None:
    """RFC 8260 2.1: the MID space of unordered messages is another one."""
    peer = interleaved()
    for unordered in (False, True, True, False, True):
        peer.association.send(0, b"x", unordered=unordered, now=peer.now)
    found = [(bool(c.flags & UNORDERED), c.sequence) for c in sent(peer)]
    assert found == [(False, 0), (True, 0), (True, 1), (False, 1), (True, 2)]


def test_the_ssn_does_not_move_for_unordered_messages() -> None:
    """RFC 9260 6.5."""
    peer = established()
    for unordered in (False, True, True, False):
        peer.association.send(0, b"x", unordered=unordered, now=peer.now)
    found = [c.sequence for c in sent(peer) if not c.flags & UNORDERED]
    assert found == [0, 1]


# --------------------------------------------------------------------------------------- receiving


def test_fragments_of_several_messages_may_alternate_pitfall_s35() -> None:
    peer = interleaved()
    tsn = PEER_TSN
    for fsn in range(3):
        flags = (BEGIN, 0, END)[fsn]
        for stream in range(4):
            part = b"%d%d" % (stream, fsn)
            peer.deliver(i_data(tsn, part, stream=stream, fsn=fsn, ppid=stream, flags=flags))
            tsn += 1
    for stream in range(4):
        [message] = peer.association.receive(stream, 10, now=peer.now)
        assert message.data == b"%d0%d1%d2" % (stream, stream, stream)
        assert message.ppid == stream


def test_an_ordered_and_an_unordered_message_with_one_mid_are_two_pitfall_s35() -> None:
    peer = interleaved()
    peer.deliver(i_data(PEER_TSN, b"o", flags=BEGIN))
    peer.deliver(i_data(PEER_TSN + 1, b"u", flags=BEGIN | UNORDERED))
    peer.deliver(i_data(PEER_TSN + 2, b"U", fsn=1, flags=END | UNORDERED))
    assert peer.take_messages() == [b"uU"]
    peer.deliver(i_data(PEER_TSN + 3, b"O", fsn=1, flags=END))
    assert peer.take_messages() == [b"oO"]


def test_a_duplicate_fsn_under_a_new_tsn_is_ignored_pitfall_s35() -> None:
    peer = interleaved()
    peer.deliver(i_data(PEER_TSN, b"a", flags=BEGIN))
    peer.deliver(i_data(PEER_TSN + 1, b"XX", fsn=0, flags=BEGIN))
    peer.deliver(i_data(PEER_TSN + 2, b"b", fsn=1, flags=0))
    peer.deliver(i_data(PEER_TSN + 3, b"YY", fsn=1, flags=0))
    peer.deliver(i_data(PEER_TSN + 4, b"c", fsn=2, flags=END))
    assert peer.take_messages() == [b"abc"]
    assert peer.association.statistics().held == 0


@pytest.mark.parametrize(
    "mids",
    [(0, 0x8000_0005, 0x4000_0000), (0xFFFF_FFFF, 0, 0x7FFF_FFFF), (0, 0x6000_0000, 0xC000_0000)],
)
def test_unordered_mids_may_lie_anywhere_pitfall_s35(mids: tuple[int, ...]) -> None:
    peer = interleaved()
    tsn = PEER_TSN
    for flags, part in ((BEGIN, b"a"), (0, b"b"), (END, b"c")):
        for mid in mids:
            fsn = b"abc".index(part)
            chunk = i_data(tsn, part, mid=mid, fsn=fsn, flags=flags | UNORDERED)
            peer.deliver(chunk)
            tsn += 1
    assert peer.take_messages() == [b"abc"] * 3
    assert peer.association.statistics().held == 0


def test_ordered_mids_wrap_around_pitfall_s1() -> None:
    pair = Pair()
    pair.connect()
    pair.a.sender.queue.stream(1).next_sequence = 0xFFFF_FFFD
    pair.b.inbox.stream(1).next_sequence = 0xFFFF_FFFD
    for number in range(6):
        pair.a.send(1, b"%d" % number * 3000, now=pair.now)
    pair.run_until(lambda: pair.a.sender.is_drained)
    found = pair.b.receive(1, 10, now=pair.now)
    assert [m.data[:1] for m in found] == [b"%d" % n for n in range(6)]


@pytest.mark.parametrize("flags", [[BEGIN, END, 0], [BEGIN, END, END]])
def test_fragments_behind_the_end_end_the_association(flags: list[int]) -> None:
    peer = interleaved()
    for number, flag in enumerate(flags):
        # FSN 1 is missing, so the message is not complete when the third one comes.
        fsn = number + (number > 0)
        peer.deliver(i_data(PEER_TSN + number, b"x", fsn=fsn, flags=flag))
    assert peer.closed.reason is CloseReason.PROTOCOL_VIOLATION


# ----------------------------------------------------------------------------- without interleaving


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_message_that_has_begun_is_finished_first_pitfall_s38(scheduler: str) -> None:
    peer = established(Config(scheduler=scheduler))
    peer.association.send(1, bytes(20_000), now=peer.now)
    chunks = sent(peer)
    assert peer.association.buffered_amount > 0
    for stream in (0, 2, 1):
        peer.association.send(stream, b"small", now=peer.now)
        peer.association.set_stream_schedule(stream, priority=5 - stream, weight=stream + 1)
    chunks += run_dry(peer)
    ends = [i for i, chunk in enumerate(chunks) if chunk.flags & END]
    assert {chunk.stream_id for chunk in chunks[: ends[0] + 1]} == {1}
    assert sorted(order(chunks[ends[0] + 1 :])) == [0, 1, 2]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_fragmented_message_has_adjacent_tsns_pitfall_s38(scheduler: str) -> None:
    """RFC 9260 6.9: "assign, in sequence, a separate TSN to each of the DATA chunks"."""
    peer = established(Config(scheduler=scheduler))
    for number in range(12):
        size = (5000, 300, 2500)[number % 3]
        unordered = number % 4 == 1
        peer.association.send(number % 5, bytes(size), unordered=unordered, now=peer.now)
    chunks = run_dry(peer)
    open_stream: int | None = None
    for chunk in chunks:
        assert (open_stream is None) == bool(chunk.flags & BEGIN)
        assert open_stream in (None, chunk.stream_id)
        open_stream = None if chunk.flags & END else chunk.stream_id
    assert [c.tsn for c in chunks] == list(range(chunks[0].tsn, chunks[0].tsn + len(chunks)))


# -------------------------------------------------------------------------------- with interleaving


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_messages_of_one_stream_do_not_interleave_pitfall_s38(scheduler: str) -> None:
    """RFC 8260 2.2.2: "not possible to interleave … user messages from the same stream"."""
    peer = interleaved(Config(scheduler=scheduler))
    for number in range(9):
        unordered = number % 2 == 1
        peer.association.send(number % 3, bytes(4000), unordered=unordered, now=peer.now)
    under_way: dict[int, tuple[bool, int]] = {}
    for chunk in run_dry(peer):
        key = (bool(chunk.flags & UNORDERED), chunk.sequence)
        if chunk.flags & BEGIN:
            assert chunk.stream_id not in under_way
            under_way[chunk.stream_id] = key
        assert under_way[chunk.stream_id] == key
        if chunk.flags & END:
            del under_way[chunk.stream_id]
    assert not under_way


@pytest.mark.parametrize("scheduler", ["round_robin", "fair_capacity", "weighted_fair"])
def test_a_small_message_does_not_wait_for_a_large_one_in_progress(scheduler: str) -> None:
    peer = interleaved(Config(scheduler=scheduler))
    peer.association.send(1, bytes(100_000), now=peer.now)
    sent(peer)
    peer.association.send(2, b"small", now=peer.now)
    peer.deliver(peer.sack())
    chunks = sent(peer)
    assert 2 in [c.stream_id for c in chunks[:3]]
    assert peer.association.buffered_amount > 50_000


def test_a_higher_priority_overtakes_a_message_in_progress() -> None:
    """RFC 8260 3.4: "will not delay the sending of higher-priority user messages"."""
    peer = interleaved(Config(scheduler="priority"))
    peer.association.set_stream_schedule(1, priority=1)
    peer.association.set_stream_schedule(2, priority=2)
    peer.association.send(1, bytes(100_000), now=peer.now)
    sent(peer)
    for _ in range(3):
        peer.association.send(2, bytes(1000), now=peer.now)
    peer.deliver(peer.sack())
    chunks = sent(peer)
    assert [c.stream_id for c in chunks[:3]] == [2, 2, 2]
    assert chunks[3].stream_id == 1


def test_without_interleaving_a_higher_priority_waits_for_the_message_in_progress() -> None:
    peer = established(Config(scheduler="priority"))
    peer.association.set_stream_schedule(2, priority=2)
    peer.association.send(1, bytes(30_000), now=peer.now)
    peer.association.send(1, bytes(1000), now=peer.now)
    first = sent(peer)
    peer.association.send(2, b"urgent", now=peer.now)
    chunks = first + run_dry(peer)
    assert order(chunks) == [1, 2, 1]


# ----------------------------------------------------------------------------------- the schedulers


@pytest.mark.parametrize("interleaving", [False, True])
def test_first_come_first_served(interleaving: bool) -> None:
    peer = made(interleaving, Config(scheduler="fcfs"))
    streams = [5, 1, 5, 2, 2, 1, 0]
    for number, stream in enumerate(streams):
        peer.association.send(stream, bytes(500 + 1000 * (number % 3)), now=peer.now)
    chunks = run_dry(peer)
    assert [c.stream_id for c in chunks if c.flags & BEGIN] == streams
    assert order(chunks) == [5, 1, 5, 2, 1, 0]


def test_round_robin_takes_turns_by_message() -> None:
    """RFC 8260 3.2."""
    peer = established(Config(scheduler="round_robin"))
    for stream, count in ((1, 5), (2, 3), (3, 1)):
        for _ in range(count):
            peer.association.send(stream, bytes(100 * stream), now=peer.now)
    found = [c.stream_id for c in run_dry(peer)]
    assert found == [1, 2, 3, 1, 2, 1, 2, 1, 1]


def test_round_robin_takes_turns_by_chunk_when_interleaving() -> None:
    peer = interleaved(Config(scheduler="round_robin"))
    for stream in (1, 2, 3):
        peer.association.send(stream, bytes(5 * FULL_I_DATA), now=peer.now)
    found = [c.stream_id for c in run_dry(peer)]
    assert found == [1, 2, 3] * 5


@pytest.mark.parametrize("interleaving", [False, True])
def test_round_robin_per_packet_bundles_one_stream_only(interleaving: bool) -> None:
    """RFC 8260 3.3: "bundles only DATA or I-DATA chunks referring to the same stream"."""
    peer = made(interleaving, Config(scheduler="round_robin_packet"))
    for _ in range(12):
        for stream in (1, 2, 3):
            peer.association.send(stream, bytes(200), now=peer.now)
    packets = peer.take()
    found: list[int] = []
    for packet in packets:
        streams = {part.as_data().stream_id for part in packet.all("DATA", "I_DATA")}
        assert len(streams) == 1
        found += streams
    assert found[:3] == [1, 2, 3]
    assert found == [1, 2, 3] * (len(found) // 3)
    assert all(len(packet.chunks) >= 2 for packet in packets)


@pytest.mark.parametrize("interleaving", [False, True])
def test_priorities_are_strict(interleaving: bool) -> None:
    peer = made(interleaving, Config(scheduler="priority"))
    for stream, priority in ((1, 1), (2, 7), (3, 7), (4, 3)):
        peer.association.set_stream_schedule(stream, priority=priority)
    for _ in range(3):
        for stream in (1, 2, 3, 4):
            peer.association.send(stream, bytes(800), now=peer.now)
    found = [c.stream_id for c in run_dry(peer)]
    assert found == [2, 3, 2, 3, 2, 3, 4, 4, 4, 1, 1, 1]


def shares(
    scheduler: str, *, interleaving: bool, sizes: dict[int, int], **weights: int
) -> Counter[int]:
    """The user bytes that each stream got in the first part of a long backlog."""
    peer = made(interleaving, Config(scheduler=scheduler, initial_cwnd=20))
    for name, weight in weights.items():
        peer.association.set_stream_schedule(int(name[1:]), weight=weight)
    for stream, size in sizes.items():
        for _ in range(600_000 // size):
            peer.association.send(stream, bytes(size), now=peer.now)
    got: Counter[int] = Counter()
    while sum(got.values()) < 300_000:
        for chunk in sent(peer):
            got[chunk.stream_id] += len(chunk.payload)
        peer.deliver(peer.sack())
    return got


@pytest.mark.parametrize("interleaving", [False, True])
@pytest.mark.parametrize("scheduler", ["fair_capacity", "weighted_fair"])
def test_capacity_is_shared_in_bytes_whatever_the_messages(
    scheduler: str, interleaving: bool
) -> None:
    """RFC 8260 3.5."""
    got = shares(scheduler, interleaving=interleaving, sizes={1: 100, 2: 1000, 3: 6000})
    assert max(got.values()) < 1.15 * min(got.values())


@pytest.mark.parametrize("interleaving", [False, True])
def test_capacity_is_shared_by_weight(interleaving: bool) -> None:
    """RFC 8260 3.6."""
    sizes = {1: 700, 2: 1500, 3: 300}
    got = shares("weighted_fair", interleaving=interleaving, sizes=sizes, s1=1, s2=2, s3=5)
    assert got[2] / got[1] == pytest.approx(2, rel=0.15)
    assert got[3] / got[1] == pytest.approx(5, rel=0.15)


@pytest.mark.parametrize("scheduler", ["fair_capacity", "weighted_fair"])
def test_a_stream_that_was_idle_has_saved_nothing_up_pitfall_s39(scheduler: str) -> None:
    peer = interleaved(Config(scheduler=scheduler))
    for _ in range(300):
        peer.association.send(1, bytes(1000), now=peer.now)
    for _ in range(3):  # only stream 1 has something to send
        sent(peer)
        acked = peer.cumulative
        peer.deliver(sack(acked))
    sent(peer)
    for _ in range(100):
        peer.association.send(2, bytes(1000), now=peer.now)
    got: Counter[int] = Counter()
    while sum(got.values()) < 60:
        acked += 1
        assert acked <= peer.cumulative
        peer.deliver(sack(acked))
        got.update(chunk.stream_id for chunk in sent(peer))
    assert abs(got[1] - got[2]) <= 4, got


@pytest.mark.parametrize("scheduler", ["fair_capacity", "weighted_fair"])
def test_a_stream_that_sends_one_message_at_a_time_gets_its_share_and_no_more(
    scheduler: str,
) -> None:
    """What it sent counts, although its queue was empty for a moment behind each message."""
    peer = interleaved(Config(scheduler=scheduler))
    for _ in range(300):
        peer.association.send(1, bytes(1000), now=peer.now)
    peer.association.send(2, bytes(1000), now=peer.now)
    acked = peer.cumulative
    sent(peer)
    got: Counter[int] = Counter()
    while sum(got.values()) < 60:
        acked += 1
        assert acked <= peer.cumulative
        peer.deliver(sack(acked))
        chunks = sent(peer)
        got.update(chunk.stream_id for chunk in chunks)
        if peer.association.stream_buffered_amount(2) == 0:
            peer.association.send(2, bytes(1000), now=peer.now)
    assert abs(got[1] - got[2]) <= 6, got


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("interleaving", [False, True])
def test_every_scheduler_delivers_everything_and_starves_nobody_in_the_end(
    scheduler: str, interleaving: bool
) -> None:
    config = Config(scheduler=scheduler, interleaving=interleaving)
    network = Network(Conditions(delay=0.01, loss=0.03), seed=2)
    pair = Pair(config, network=network)
    pair.connect()
    count = 0
    for number in range(300):
        stream = number * 7 % 11
        pair.a.send(stream, bytes(number * 41 % 6000 + 1), ppid=number, now=pair.now)
        count += 1
        if number % 50 == 25:
            pair.a.set_stream_schedule(stream, priority=number, weight=number)
            pair.run_for(0.05)
    pair.run_until(lambda: pair.a.sender.is_drained, 600)
    found: list[int] = []
    for stream in range(11):
        numbers = [m.ppid for m in pair.b.receive(stream, 1000, now=pair.now)]
        assert numbers == sorted(numbers)
        found += numbers
    assert sorted(found) == list(range(count))


def test_the_schedule_of_a_stream_in_progress_may_change() -> None:
    for scheduler in SCHEDULERS:
        for interleaving in (False, True):
            peer = made(interleaving, Config(scheduler=scheduler))
            for stream in (1, 2):
                peer.association.send(stream, bytes(20_000), now=peer.now)
            chunks = sent(peer)
            peer.association.set_stream_schedule(1, priority=3, weight=9)
            peer.association.set_stream_schedule(2, priority=-3, weight=1)
            chunks += run_dry(peer)
            assert sum(len(c.payload) for c in chunks) == 40_000
            assert peer.association.buffered_amount == 0


def test_i_data_chunk_types_are_all_that_is_sent_once_negotiated() -> None:
    peer = interleaved()
    for number in range(5):
        peer.association.send(number, bytes(3000), unordered=bool(number % 2), now=peer.now)
    peer.deliver(peer.sack())
    kinds = {part.kind for packet in peer.take() for part in packet.chunks}
    assert ChunkType.DATA not in kinds
    peer.deliver(sack(peer.cumulative))
