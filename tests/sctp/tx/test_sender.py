"""The sending half, joined: what goes into a packet, what is lost, and what is given up."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.errors import RemoteProtocolError
from rtcsctp.sctp.config import SCHEDULERS, Config
from rtcsctp.sctp.events import Message
from rtcsctp.sctp.rx.inbox import Inbox
from rtcsctp.sctp.rx.receiver import Receiver
from rtcsctp.sctp.wire.chunks import BEGIN, END, IMMEDIATE, UNORDERED, decode_sack_untrusted

from .builders import FIRST_TSN, PMDCS, Wire

MASK32 = 0xFFFF_FFFF
FULL = PMDCS - 16
"""User data of a DATA chunk that fills a packet."""
I_FULL = PMDCS - 20
"""The same for I-DATA."""

BOTH = pytest.mark.parametrize("interleaved", [False, True])


def in_flight(wire: Wire, count: int) -> list[int]:
    """Send `count` messages that fill a packet each; their TSNs."""
    for _ in range(count):
        wire.send(b"x" * (I_FULL if wire.interleaved else FULL))
    tsns = wire.tsns()
    assert len(tsns) == count
    return tsns


# ------------------------------------------------------------------------------- what is sent


@BOTH
def test_large_message_is_cut_into_chunks_that_fill_packets(interleaved: bool) -> None:
    """Pitfall S36: the header of I-DATA is 4 bytes longer."""
    wire = Wire(interleaved=interleaved)
    full = I_FULL if interleaved else FULL
    wire.send(b"x" * (2 * full + 5), stream=3, ppid=53)
    packets = wire.packets()
    assert [[len(chunk.payload) for chunk in packet] for packet in packets] == [[full], [full], [5]]
    chunks = [packet[0] for packet in packets]
    assert [chunk.flags & ~IMMEDIATE for chunk in chunks] == [BEGIN, 0, END]
    assert [chunk.tsn for chunk in chunks] == [FIRST_TSN, FIRST_TSN + 1, FIRST_TSN + 2]
    assert [chunk.stream_id for chunk in chunks] == [3] * 3
    assert [chunk.fsn for chunk in chunks] == ([0, 1, 2] if interleaved else [0, 0, 0])
    assert chunks[0].ppid == 53


def test_messages_that_were_queued_before_the_handshake_are_cut_as_it_was_agreed() -> None:
    """Pitfall S36: negotiated later than queued."""
    wire = Wire(interleaved=False)
    wire.send(b"x" * 5000)
    wire.sender.establish(FIRST_TSN, 1 << 20, interleaved=True, partially_reliable=True)
    wire.interleaved = True
    assert [len(chunk.payload) for chunk in wire.chunks()] == [I_FULL] * 4 + [5000 - 4 * I_FULL]


@BOTH
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 100, 587, 588])
def test_small_messages_share_a_packet_and_never_pass_its_size(
    interleaved: bool, size: int
) -> None:
    """Pitfall S60."""
    wire = Wire(interleaved=interleaved, initial_cwnd=100, max_burst=100)
    for _ in range(50):
        wire.send(b"x" * size)
    packets = wire.packets()
    on_wire = (20 if interleaved else 16) + size + -size % 4
    assert len(packets[0]) == min(50, PMDCS // on_wire)
    assert sum(map(len, packets)) == 50


@given(
    sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=20),
    rooms=st.lists(st.integers(5, 297).map(lambda words: 4 * words), min_size=1, max_size=40),
    interleaved=st.booleans(),
)
def test_no_room_is_ever_exceeded(sizes: list[int], rooms: list[int], interleaved: bool) -> None:
    """Pitfall S60: `packet` checks it; and a full packet always takes something."""
    wire = Wire(interleaved=interleaved, initial_cwnd=1000, max_burst=1000)
    for size in sizes:
        wire.send(b"x" * size)
    for room in rooms:
        wire.packet(room)
    while wire.sender.queue.buffered:
        assert wire.packet()


@BOTH
@pytest.mark.parametrize("first_tsn", [0, 2**31 - 2, 2**32 - 2])
def test_tsns_wrap_on_the_wire_and_not_inside(interleaved: bool, first_tsn: int) -> None:
    """Pitfall S1."""
    wire = Wire(first_tsn=first_tsn, interleaved=interleaved)
    tsns = in_flight(wire, 5)
    assert tsns == [(first_tsn + i) & MASK32 for i in range(5)]
    wire.sack(first_tsn + 2, [first_tsn + 4])
    assert wire.sender.outstanding.cumulative == first_tsn + 2
    wire.sack(first_tsn + 4)
    assert wire.sender.is_drained


@pytest.mark.parametrize(("interleaved", "bits"), [(False, 16), (True, 32)])
def test_numbers_of_ordered_messages_wrap_on_the_wire(interleaved: bool, bits: int) -> None:
    """Pitfall S1: SSN and MID."""
    wire = Wire(interleaved=interleaved)
    wire.sender.queue.stream(0).next_sequence = (1 << bits) - 2
    for _ in range(4):
        wire.send()
    assert [c.sequence for c in wire.chunks()] == [(1 << bits) - 2, (1 << bits) - 1, 0, 1]


def test_ordered_and_unordered_messages_are_numbered_apart_in_i_data() -> None:
    """RFC 8260 2.1: "two counters for each outgoing stream"."""
    wire = Wire(interleaved=True)
    for unordered in (False, True, True, False, True):
        wire.send(unordered=unordered)
    found = [(bool(c.flags & UNORDERED), c.sequence) for c in wire.chunks()]
    assert found == [(False, 0), (True, 0), (True, 1), (False, 1), (True, 2)]


def test_message_is_not_interleaved_with_others_without_i_data() -> None:
    """Pitfall S38: whatever the scheduler would like."""
    for scheduler in SCHEDULERS:
        wire = Wire(scheduler=scheduler, initial_cwnd=100, max_burst=100)
        for stream in (1, 2, 3):
            wire.send(b"x" * 4000, stream=stream)
            wire.send(b"x" * 10, stream=stream)
        open_stream: int | None = None
        for chunk in wire.chunks():
            assert open_stream in (None, chunk.stream_id)
            assert bool(chunk.flags & BEGIN) == (open_stream is None)
            open_stream = None if chunk.flags & END else chunk.stream_id


def test_large_messages_take_turns_with_i_data() -> None:
    wire = Wire(interleaved=True)
    for stream in (1, 2):
        wire.send(b"x" * 3 * I_FULL, stream=stream)
    assert [chunk.stream_id for chunk in wire.chunks()] == [1, 2, 1, 2, 1, 2]


@BOTH
def test_packet_has_chunks_of_one_stream_with_round_robin_per_packet(interleaved: bool) -> None:
    """RFC 8260 3.3."""
    wire = Wire(interleaved=interleaved, scheduler="round_robin_packet")
    for stream in (1, 2, 3):
        for _ in range(4):
            wire.send(b"x" * 500, stream=stream)
    packets = [[chunk.stream_id for chunk in packet] for packet in wire.packets()]
    assert packets == [[1, 1], [2, 2], [3, 3], [1, 1], [2, 2], [3, 3]]


def test_i_bit_is_on_the_last_chunk_of_a_burst() -> None:
    """Pitfall S16: where the queue, cwnd or the peer's window ends it."""
    for wire, sizes in (
        (Wire(), [100] * 5),
        (Wire(initial_cwnd=3), [FULL] * 10),
        (Wire(peer_rwnd=2 * FULL), [FULL] * 10),
        (Wire(initial_cwnd=3), [50 * FULL]),
    ):
        for size in sizes:
            wire.send(b"x" * size)
        flags = [chunk.flags & IMMEDIATE for chunk in wire.chunks()]
        assert flags == [0] * (len(flags) - 1) + [IMMEDIATE]


# ----------------------------------------------------------------------------------- how much


def test_cwnd_counts_headers_and_padding_and_the_peers_window_counts_user_data() -> None:
    """Pitfall S13."""
    wire = Wire(initial_cwnd=2, max_burst=100)
    for _ in range(1000):
        wire.send(b"x")
    assert len(wire.chunks()) == -(-2 * PMDCS // 20)
    wire = Wire(peer_rwnd=100)
    for _ in range(1000):
        wire.send(b"x")
    assert len(wire.chunks()) == 100


def test_burst_is_limited_beyond_what_was_acknowledged() -> None:
    """RFC 9260 6.1 D."""
    wire = Wire(initial_cwnd=40, max_burst=4)
    wire.sender.congestion.ssthresh = 1  # not in slow start
    wire.send(b"x" * 200 * FULL)
    tsns = wire.tsns()
    wire.sack(tsns[-1] - 1)
    assert len(wire.tsns()) <= len(tsns) - 1 + 4
    wire.sack(tsns[-1])
    assert len(wire.tsns()) <= 1 + 4


def test_window_doubles_in_slow_start_though_one_sack_answers_all() -> None:
    """RFC 9260 7.2.1: it grows only if it is used, so a burst may be twice what arrived."""
    wire = Wire(initial_cwnd=40, max_burst=4)
    wire.send(b"x" * 1000 * FULL)
    count = 40
    for _ in range(3):
        tsns = wire.tsns()
        assert count <= len(tsns) <= count + 1
        wire.sack(tsns[-1])
        count *= 2


def test_window_that_is_smaller_than_a_packet_is_not_nibbled_at() -> None:
    """Pitfall S19: silly windows; what is in flight will bring a larger one."""
    wire = Wire(peer_rwnd=FULL + 300)
    wire.send(b"x" * 10 * FULL)
    assert [len(chunk.payload) for chunk in wire.chunks()] == [FULL]
    wire.sack(FIRST_TSN, a_rwnd=FULL + 300)
    assert [len(chunk.payload) for chunk in wire.chunks()] == [FULL]


@BOTH
def test_window_that_is_worth_a_packet_is_used_where_there_will_be_no_larger(
    interleaved: bool,
) -> None:
    """Pitfall S19: nothing is in flight, so nothing will bring another one; and not a byte more."""
    wire = Wire(peer_rwnd=700, interleaved=interleaved)
    wire.send(b"x" * 10 * FULL)
    assert [len(chunk.payload) for chunk in wire.chunks()] == [700]
    wire.sack(FIRST_TSN, a_rwnd=400)
    assert [len(chunk.payload) for chunk in wire.chunks()] == [400]


def test_closed_window_is_tested_with_one_chunk_when_its_time_has_come() -> None:
    """Pitfall S20; RFC 9260 6.1 A."""
    wire = Wire(peer_rwnd=0)
    wire.send(b"x" * 10 * FULL)
    assert wire.packets() == []
    assert wire.sender.waits_for_window
    cwnd = wire.sender.congestion.cwnd
    wire.sender.may_probe()
    assert [len(chunk.payload) for chunk in wire.chunks()] == [FULL]
    wire.sack(FIRST_TSN - 1)  # dropped by the peer
    assert wire.packets() == []
    wire.time_out()
    assert wire.tsns() == [FIRST_TSN]
    assert wire.sender.congestion.cwnd == cwnd  # "does not affect the calculation of cwnd"
    wire.sack(FIRST_TSN, a_rwnd=5 * FULL)
    assert len(wire.chunks()) == 5


def test_idle_sender_begins_with_a_smaller_window() -> None:
    """Pitfall S14."""
    wire = Wire(initial_cwnd=40, rto_initial=0.5)
    tsns = in_flight(wire, 1)
    wire.now += 0.1
    wire.sack(tsns[-1])
    cwnd = wire.sender.congestion.cwnd
    wire.now += 2.5 * wire.sender.rto.value
    in_flight(wire, 1)
    assert wire.sender.congestion.cwnd == cwnd // 4


# ---------------------------------------------------------------------------------------- loss


def test_fast_retransmit_sends_one_packet_at_once_and_ignores_cwnd() -> None:
    """Pitfall S5: what did not fit waits for cwnd."""
    wire = Wire(initial_cwnd=20, max_burst=20)
    tsns = in_flight(wire, 20)
    for arrived in range(4, 7):
        wire.sack(tsns[0] - 1, tsns[3:arrived])
    assert wire.sender.in_fast_recovery
    assert wire.sender.outstanding.flight >= wire.sender.congestion.cwnd
    assert [[chunk.tsn for chunk in packet] for packet in wire.packets()] == [[tsns[0]]]
    assert wire.sender.fast_retransmits == 1
    wire.sack(tsns[0] - 1, tsns[3:])
    assert wire.tsns() == tsns[1:3]


def test_fast_recovery_ends_at_what_was_outstanding_when_it_began() -> None:
    """Pitfall S6: the window is halved once, however many chunks are found lost meanwhile."""
    wire = Wire(initial_cwnd=20, max_burst=20)
    tsns = in_flight(wire, 20)
    for arrived in range(2, 5):
        wire.sack(tsns[0] - 1, tsns[1:arrived])
    half = wire.sender.congestion.cwnd
    assert half == 10 * PMDCS
    wire.chunks()
    for arrived in range(7, 12):
        wire.sack(tsns[4], tsns[6:arrived])
    assert wire.sender.in_fast_recovery
    assert wire.sender.congestion.cwnd == half
    assert wire.sender.outstanding.next_lost() is not None
    wire.sack(tsns[-2])
    assert wire.sender.in_fast_recovery
    wire.sack(tsns[-1])
    assert not wire.sender.in_fast_recovery


def test_sack_that_ends_recovery_may_begin_the_next() -> None:
    """Pitfall S6: left before looking for new loss, so it is halved again."""
    wire = Wire(initial_cwnd=40, max_burst=100)
    tsns = in_flight(wire, 10)
    for arrived in range(2, 5):
        wire.sack(tsns[0] - 1, tsns[1:arrived])
    wire.chunks()
    more = in_flight(wire, 5)
    wire.sack(tsns[0] - 1, [*tsns[1:], *more[1:2]])
    wire.sack(tsns[0] - 1, [*tsns[1:], *more[1:3]])
    before = wire.sender.congestion.cwnd
    wire.sack(tsns[-1], more[1:4])
    assert wire.sender.in_fast_recovery
    assert wire.sender.congestion.cwnd == before // 2


def test_timeout_leaves_recovery_and_sends_everything_again() -> None:
    """Pitfall S7: no stale fast retransmit; one packet first (RFC 9260 7.2.3)."""
    wire = Wire(initial_cwnd=20, max_burst=20)
    tsns = in_flight(wire, 6)
    for arrived in range(2, 5):
        wire.sack(tsns[0] - 1, tsns[1:arrived])
    assert wire.sender.in_fast_recovery
    wire.time_out()
    assert not wire.sender.in_fast_recovery
    assert wire.sender.congestion.partial_bytes_acked == 0
    assert wire.sender.congestion.cwnd == PMDCS
    assert wire.sender.outstanding.flight == 0
    assert wire.tsns() == [tsns[0]]
    assert wire.packets() == []
    wire.sack(tsns[3])
    assert wire.tsns() == tsns[4:]
    assert wire.sender.timeout_retransmits + wire.sender.fast_retransmits == 3


def test_no_round_trip_is_measured_with_what_was_sent_again() -> None:
    """Pitfall S9."""
    wire = Wire()
    tsns = in_flight(wire, 2)
    wire.time_out()
    wire.tsns()
    wire.now += 0.1
    wire.sack(tsns[0])
    assert wire.sender.rto.srtt is None
    wire.tsns()
    wire.sack(tsns[1])
    assert wire.sender.rto.srtt is None
    tsns = in_flight(wire, 1)
    wire.now += 0.1
    wire.sack(tsns[0])
    assert wire.sender.rto.srtt == pytest.approx(0.1)


def test_one_round_trip_is_measured_at_a_time() -> None:
    """Pitfall S9; RFC 9260 6.3.1 C4."""
    wire = Wire()
    first = in_flight(wire, 3)
    wire.now += 0.1
    second = in_flight(wire, 3)
    wire.now += 0.1
    wire.sack(first[-1])
    assert wire.sender.rto.srtt == pytest.approx(0.2)
    rttvar = wire.sender.rto.rttvar
    wire.now += 5
    wire.sack(second[-1])
    assert wire.sender.rto.srtt == pytest.approx(0.2)
    assert wire.sender.rto.rttvar == rttvar


def test_impossible_sack_changes_nothing() -> None:
    """Pitfall S11."""
    wire = Wire(peer_rwnd=50_000)
    tsns = in_flight(wire, 3)
    for cumulative, blocks in ((tsns[-1] + 1, []), (tsns[0], [(2, 3)]), (tsns[0], [(2, 1)])):
        with pytest.raises(RemoteProtocolError):
            wire.sender.handle_sack(cumulative, 7, blocks, wire.now)
        assert wire.sender.peer_window == 50_000
        assert wire.sender.outstanding.flight == 3 * PMDCS


def test_older_sack_does_not_touch_the_window() -> None:
    """Pitfall S10."""
    wire = Wire()
    tsns = in_flight(wire, 3)
    wire.sack(tsns[1], a_rwnd=9000)
    assert wire.sack(tsns[0], a_rwnd=1) is None
    assert wire.sender.peer_window == 9000
    assert wire.sack(tsns[1], a_rwnd=8000) is not None
    assert wire.sender.peer_window == 8000


# ------------------------------------------------------------------------- partial reliability


def test_half_sent_message_that_is_given_up_gets_an_end() -> None:
    """Pitfalls S24, S25: a TSN that is never sent stands for it; the tail leaves the queue."""
    wire = Wire(initial_cwnd=2)
    wire.send(b"x" * 10 * FULL, max_retransmits=0)
    wire.send(b"next")
    assert wire.tsns() == [FIRST_TSN, FIRST_TSN + 1]
    wire.time_out()
    assert wire.sender.queue.buffered == 4
    assert [chunk.tsn for chunk in wire.chunks()] == [FIRST_TSN + 3]
    forward = wire.forward_tsn()
    assert forward.new_cumulative_tsn == FIRST_TSN + 2
    assert forward.skipped == ((0, False, 0),)
    wire.sack(FIRST_TSN + 3)
    assert wire.sender.is_drained
    assert wire.sender.abandoned_messages == [(0, 10 * FULL, True)]


def test_wholly_sent_message_that_is_given_up_needs_no_end() -> None:
    wire = Wire()
    wire.send(b"x" * 2 * FULL, max_retransmits=0)
    assert len(wire.tsns()) == 2
    wire.time_out()
    assert wire.forward_tsn().new_cumulative_tsn == FIRST_TSN + 1
    assert wire.sender.outstanding.next_tsn == FIRST_TSN + 2


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_number_of_retransmissions_is_what_was_asked_for(limit: int) -> None:
    """Pitfall S26: given up when the next one would be due, not when the last one is sent."""
    wire = Wire()
    wire.send(max_retransmits=limit)
    for _ in range(limit + 1):
        assert wire.tsns() == [FIRST_TSN]
        assert wire.sender.abandoned_messages == []
        wire.time_out()
    assert wire.tsns() == []
    assert wire.sender.abandoned_messages == [(0, 1, True)]


def test_message_that_expired_before_it_was_sent_takes_no_tsn() -> None:
    """Pitfall S27: and no SSN; its lifetime counts from `send`, queueing included."""
    wire = Wire(initial_cwnd=1)
    first = in_flight(wire, 1)
    wire.send(b"dies", lifetime=1.0)
    wire.send(b"lives", lifetime=9.0)
    wire.now += 1.5
    wire.sack(first[0])
    (chunk,) = wire.chunks()
    assert (chunk.payload, chunk.tsn, chunk.sequence) == (b"lives", first[0] + 1, 1)
    assert wire.sender.abandoned_messages == [(0, 4, False)]
    assert wire.sender.forward_tsn_at(wire.now) is None


def test_what_is_in_flight_may_be_acknowledged_after_its_lifetime() -> None:
    """Pitfall S27."""
    wire = Wire()
    wire.send(lifetime=0.1)
    (tsn,) = wire.tsns()
    wire.now += 5
    wire.sack(tsn)
    assert wire.sender.abandoned_messages == []
    assert wire.sender.is_drained


def test_policies_are_ignored_without_the_peers_support() -> None:
    """Pitfall S28."""
    wire = Wire(partially_reliable=False, initial_cwnd=3)
    wire.send(b"a", max_retransmits=0)
    wire.send(b"b", lifetime=0.0)
    wire.send(b"c", priority=9)
    for _ in range(4):
        assert [chunk.payload for chunk in wire.chunks()] == [b"a", b"b", b"c"]
        wire.time_out()
    assert wire.sender.abandoned_messages == []
    assert wire.sender.forward_tsn_at(wire.now) is None


@BOTH
def test_forward_tsn_names_the_largest_number_per_stream(interleaved: bool) -> None:
    """Pitfall S29: ordered streams only; with I-DATA, each order for itself."""
    wire = Wire(interleaved=interleaved)
    for stream, unordered in ((1, False), (2, False), (1, False), (1, True), (1, True), (3, True)):
        wire.send(stream=stream, unordered=unordered, max_retransmits=0)
    assert len(wire.tsns()) == 6
    wire.time_out()
    forward = wire.forward_tsn()
    assert forward.new_cumulative_tsn == FIRST_TSN + 5
    expected = {(1, False, 1), (2, False, 0)}
    if interleaved:
        expected |= {(1, True, 1), (3, True, 0)}
    assert set(forward.skipped) == expected


def test_forward_tsn_stops_at_what_is_still_wanted() -> None:
    """RFC 3758 3.5 C2."""
    wire = Wire()
    for limit in (0, 0, None, 0):
        wire.send(max_retransmits=limit)
    wire.tsns()
    wire.time_out()
    assert wire.forward_tsn().new_cumulative_tsn == FIRST_TSN + 1


@BOTH
def test_forward_tsn_that_does_not_fit_says_less(interleaved: bool) -> None:
    """RFC 3758 3.5 C4: "limit the number"; the rest follows when this is acknowledged."""
    wire = Wire(interleaved=interleaved, initial_cwnd=100, max_burst=100)
    for stream in range(300):
        wire.send(stream=stream, max_retransmits=0)
    wire.tsns()
    wire.time_out()
    reached = FIRST_TSN - 1
    while reached < FIRST_TSN + 299:
        wire.now += 1
        forward = wire.forward_tsn(room=100)
        assert len(forward.skipped) == (11 if interleaved else 23) or (
            forward.new_cumulative_tsn == FIRST_TSN + 299
        )
        assert forward.new_cumulative_tsn == reached + len(forward.skipped)
        reached = forward.new_cumulative_tsn
        wire.sack(reached)
    assert wire.sender.is_drained


def test_forward_tsn_is_sent_once_in_a_round_trip_and_again_after_a_timeout() -> None:
    """Pitfall S30: not per SACK; protected by T3 (RFC 3758 3.5 F1, A5)."""
    wire = Wire()
    first = in_flight(wire, 1)
    wire.now += 0.1
    wire.sack(first[0])
    wire.send(max_retransmits=0)
    wire.tsns()
    wire.time_out()
    wire.forward_tsn()
    assert wire.sender.forward_tsn_at(wire.now) is None
    wire.sack(first[0])
    at = wire.sender.forward_tsn_at(wire.now)
    assert at == pytest.approx(wire.now + 0.1)
    wire.time_out()
    assert wire.forward_tsn().new_cumulative_tsn == first[0] + 1


def test_forward_tsn_never_crosses_a_reset() -> None:
    """Pitfall S31: two messages are given up, one on each side of the reset."""
    wire = Wire()
    wire.send(max_retransmits=0)
    wire.tsns()
    wire.sender.break_at_last_tsn()
    wire.send(max_retransmits=0)
    wire.tsns()
    wire.time_out()
    forward = wire.forward_tsn()
    assert (forward.new_cumulative_tsn, forward.skipped) == (FIRST_TSN, ((0, False, 0),))
    wire.now += 1
    wire.sack(FIRST_TSN)
    forward = wire.forward_tsn()
    assert (forward.new_cumulative_tsn, forward.skipped) == (FIRST_TSN + 1, ((0, False, 1),))


def test_acknowledgement_after_giving_up_is_not_counted() -> None:
    """Pitfall S12: neither for the flight nor for cwnd."""
    wire = Wire(initial_cwnd=3)
    wire.send(b"x" * FULL, max_retransmits=0)
    tsns = [*wire.tsns(), *in_flight(wire, 2)]
    wire.time_out()
    wire.tsns()
    cwnd = wire.sender.congestion.cwnd
    info = wire.sack(tsns[0])
    assert info is not None
    assert info.newly_acked == 0
    assert wire.sender.congestion.cwnd == cwnd


def test_full_buffer_makes_room_for_what_is_more_important() -> None:
    """RFC 7496 4.3, priority policy; pitfall S63: what is discarded counts as gone."""
    wire = Wire(send_buffer=1000, initial_cwnd=1)
    in_flight(wire, 1)
    wire.send(b"a" * 400, priority=5)
    wire.send(b"b" * 400, priority=2)
    wire.send(b"c" * 400, priority=5)
    assert [gone[1] for gone in wire.sender.abandoned_messages] == []
    assert not wire.sender.can_make_room(5)
    wire.send(b"d" * 400, priority=3)
    assert wire.sender.abandoned_messages == [(0, 400, False)] * 2
    assert wire.sender.queue.buffered == 800
    assert [m.data[:1] for m in wire.sender.queue.stream(0).queue] == [b"b", b"d"]


def test_message_on_a_stream_that_was_not_granted_is_not_given_up_a_second_time() -> None:
    wire = Wire(send_buffer=1000, initial_cwnd=1)
    wire.send(b"a" * 900, stream=900, priority=5)
    assert len(wire.sender.queue.drop_streams(10)) == 1
    in_flight(wire, 1)
    wire.send(b"b" * 900, priority=9)
    assert wire.sender.can_make_room(1)
    wire.send(b"c" * 900, priority=1)
    assert wire.sender.abandoned_messages == [(0, 900, False)]
    assert wire.sender.queue.buffered == 900
    assert not wire.sender.can_make_room(1)
    wire.sender.queue.drop_streams(0)
    assert not wire.sender.can_make_room(0)


# ------------------------------------------------------------------------------ the short way


@given(
    sizes=st.lists(st.integers(1, 40_000), min_size=1, max_size=4),
    acks=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3), st.integers(0, 60_000))),
    interleaved=st.booleans(),
    limit=st.integers(1, 20),
    max_retransmits=st.none() | st.integers(0, 1),
)
def test_bulk_gives_what_packet_by_packet_would_give(
    sizes: list[int],
    acks: list[tuple[int, int, int]],
    interleaved: bool,
    limit: int,
    max_retransmits: int | None,
) -> None:
    """The same bytes, flags and books, whatever was acknowledged or lost before."""
    short, long = (Wire(interleaved=interleaved) for _ in range(2))
    for wire in (short, long):
        for i, size in enumerate(sizes):
            wire.send(bytes(size), stream=i % 2, max_retransmits=max_retransmits)

    def drain(wire: Wire, *, bulk: bool) -> list[bytes]:
        found: list[bytes] = []
        while True:
            more = wire.sender.fill_bulk(limit, wire.now) if bulk else []
            assert len(more) <= limit
            more = more or wire.sender.fill(PMDCS, wire.now)
            wire.check_books()
            if not more:
                return found
            found += more

    assert drain(short, bulk=True) == drain(long, bulk=False)
    for ahead, hole, a_rwnd in acks:
        outstanding = short.sender.outstanding
        last = outstanding.next_tsn - 1
        cumulative = min(outstanding.cumulative + ahead, last)
        above = range(cumulative + 1 + hole, min(cumulative + 5, last + 1)) if hole else ()
        for wire in (short, long):
            wire.now += 0.05
            if hole == 3:
                wire.time_out()
            wire.sack(cumulative, above, a_rwnd=a_rwnd)
        assert drain(short, bulk=True) == drain(long, bulk=False)
        assert short.sender.outstanding.flight == long.sender.outstanding.flight
        assert short.sender.queue.buffered == long.sender.queue.buffered


# ---------------------------------------------------------------------- against a real receiver


class Path:
    """A sender and a receiver in lockstep; packets and SACKs between them may get lost."""

    def __init__(self, wire: Wire, rwnd: int, chance: random.Random, loss: float) -> None:
        self.wire = wire
        self.chance = chance
        self.loss = loss
        self.receiver = Receiver(
            Config(rwnd=rwnd, max_message_size=20_000),
            peer_initial_tsn=wire.sender.outstanding.next_tsn,
            stream_count=10,
            interleaved=wire.interleaved,
            inbox=Inbox(),
        )
        self.read: list[Message] = []

    def arrives(self) -> bool:
        return self.chance.random() >= self.loss

    def step(self) -> None:
        """One round: packets go, messages are read, a SACK comes back; or a timer expires."""
        wire, receiver, sender = self.wire, self.receiver, self.wire.sender
        sent = False
        wire.now += 0.05
        at = sender.forward_tsn_at(wire.now)
        if at is not None and at <= wire.now:
            sent = True
            forward = wire.forward_tsn()
            if self.arrives():
                receiver.handle_forward_tsn(forward)
        for packet in wire.packets(limit=6):
            sent = True
            if self.arrives():
                for chunk in packet:
                    receiver.handle_data(chunk)
                receiver.policy.packets_with_data(1)
        for stream in range(10):
            if self.chance.random() < 0.7:
                self.read += receiver.receive(stream, 3)
        if receiver.policy.owed:
            encoded = receiver.make_sack(PMDCS)
            if self.arrives():
                sent = True
                sack = decode_sack_untrusted(encoded, 4, len(encoded))
                sender.handle_sack(sack.cumulative_tsn, sack.a_rwnd, sack.blocks, wire.now)
                wire.check_books()
        if not sent:
            self.nothing_happens()

    def nothing_happens(self) -> None:
        if self.wire.sender.outstanding.records:
            self.wire.time_out()
        elif self.wire.sender.waits_for_window:
            self.wire.now += self.wire.sender.rto.value
            self.wire.sender.may_probe()


@given(
    messages=st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(1, 60) | st.integers(1000, 9000),
            st.booleans(),
            st.sampled_from([None, None, 0, 2]),
        ),
        min_size=1,
        max_size=25,
    ),
    scheduler=st.sampled_from(SCHEDULERS),
    interleaved=st.booleans(),
    rwnd=st.sampled_from([3000, 20_000, 1 << 20]),
    loss=st.sampled_from([0.0, 0.1, 0.4]),
    chance=st.randoms(use_true_random=False),
)
def test_whatever_is_lost_everything_reliable_arrives_once_and_in_order(
    messages: list[tuple[int, int, bool, int | None]],
    scheduler: str,
    interleaved: bool,
    rwnd: int,
    loss: float,
    chance: random.Random,
) -> None:
    """Pitfalls S8, S19, S20, S24, S34: nothing wedges, nothing is held at the end."""
    wire = Wire(interleaved=interleaved, scheduler=scheduler, first_tsn=2**32 - 20, peer_rwnd=rwnd)
    path = Path(wire, rwnd, chance, loss)
    sent: dict[bytes, tuple[int, bool, int | None]] = {}
    for number, (stream, size, unordered, limit) in enumerate(messages):
        payload = b"%d:" % number + b"x" * size
        sent[payload] = (stream, unordered, limit)
        wire.send(payload, stream=stream, unordered=unordered, max_retransmits=limit)
    for step in range(3000):
        if wire.sender.is_drained:
            break
        if step == 400:
            path.loss = 0.0
        path.step()
    assert wire.sender.is_drained
    for stream in range(10):
        path.read += path.receiver.receive(stream, 1000)
    received = [message.data for message in path.read]
    assert len(received) == len(set(received))
    assert set(received) <= set(sent)
    missing = set(sent) - set(received)
    assert all(sent[payload][2] is not None for payload in missing)
    for stream in range(4):
        expected = [p for p, (s, u, _) in sent.items() if s == stream and not u and p in received]
        assert [p for p in received if p in expected] == expected
    for message in path.read:
        stream, unordered, _ = sent[message.data]
        assert (message.stream_id, message.unordered, message.ppid) == (stream, unordered, 51)
    assert path.receiver.held == 0
    assert wire.sender.queue.buffered == 0


# ------------------------------------------------------------------------------ begun anew


def test_restart_sends_everything_again_that_was_not_acknowledged() -> None:
    """Pitfall S51: half-sent messages from their start, numbers from 0."""
    wire = Wire(initial_cwnd=4)
    wire.send(b"acked")
    wire.send(b"unacked")
    wire.send(b"h" * 10 * FULL)
    wire.tsns()
    wire.sack(FIRST_TSN)
    wire.sender.restart(77, 1 << 20, interleaved=False, partially_reliable=True)
    wire.check_books()
    chunks = wire.chunks()
    assert [chunk.tsn for chunk in chunks] == list(range(77, 77 + len(chunks)))
    assert chunks[0].payload == b"unacked"
    assert [chunk.sequence for chunk in chunks[:2]] == [0, 1]
    assert chunks[1].flags & BEGIN
    assert wire.sender.queue.buffered + wire.sender.outstanding.payload == 7 + 10 * FULL


def test_association_reset_begins_all_numbers_anew_and_keeps_the_window() -> None:
    """RFC 6525 5.2.7 H5."""
    wire = Wire()
    tsns = in_flight(wire, 10)
    wire.now += 0.1
    wire.sack(tsns[-1])
    cwnd = wire.sender.congestion.cwnd
    wire.sender.reset_association(123)
    assert wire.sender.congestion.cwnd == cwnd
    wire.send()
    (chunk,) = wire.chunks()
    assert (chunk.tsn, chunk.sequence) == (123, 0)


def test_suspended_sender_finishes_what_it_has_begun_and_begins_nothing() -> None:
    """RFC 6525 5.1.4 C2."""
    wire = Wire(initial_cwnd=2)
    wire.send(b"x" * 3 * FULL)
    wire.send(b"next")
    tsns = wire.tsns()
    wire.sender.suspended = True
    assert not wire.sender.is_between_messages
    wire.sack(tsns[-1])
    assert [len(chunk.payload) for chunk in wire.chunks()] == [FULL]
    wire.sack(tsns[-1] + 1)
    assert wire.packets() == []
    assert wire.sender.is_between_messages
    wire.sender.suspended = False
    assert [chunk.payload for chunk in wire.chunks()] == [b"next"]
