"""Messages that may be given up: RFC 3758, the policies of RFC 7496, and RFC 8260 section 2.3.1.

In the ladders `a` is the association that is tested, and the peer is the script.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from rtcsctp.errors import ReliabilityError
from rtcsctp.sctp.config import Config
from rtcsctp.sctp.events import CloseReason, MessageAbandoned, SendBufferLow
from rtcsctp.sctp.state import State
from rtcsctp.sctp.statistics import Drop
from rtcsctp.sctp.timers import Timer
from rtcsctp.sctp.wire.chunks import BEGIN, END, UNORDERED, ChunkType, Data, ForwardTsn
from rtcsctp.sctp.wire.params import OutgoingResetRequest, ReconfigResponse, ReconfigResult
from rtcsctp.testing import Conditions, Network, Pair

from .ladder import (
    PEER_TSN,
    FakePeer,
    Packet,
    chunk,
    data,
    established,
    extensions,
    forward_tsn,
    i_data,
    i_forward_tsn,
    interleaved,
    reconfig,
    sack,
)

FULL = 1200 - 12 - 16
FORWARDS = ("FORWARD_TSN", "I_FORWARD_TSN")


def sent(peer: FakePeer) -> list[Data]:
    return [part.as_data() for packet in peer.take() for part in packet.all("DATA", "I_DATA")]


def forwards_in(packets: list[Packet]) -> list[ForwardTsn]:
    return [part.as_forward_tsn() for packet in packets for part in packet.all(*FORWARDS)]


def forwards(peer: FakePeer) -> list[ForwardTsn]:
    return forwards_in(peer.take())


def first_tsn(peer: FakePeer) -> int:
    return (peer.cumulative + 1) & 0xFFFF_FFFF


def abandoned(peer: FakePeer) -> list[MessageAbandoned]:
    return [event for event in peer.take_events() if isinstance(event, MessageAbandoned)]


def send(peer: FakePeer, *sizes: int, stream: int = 0, **options: Any) -> list[Data]:
    for size in sizes:
        peer.association.send(stream, bytes(size), now=peer.now, **options)
    return sent(peer)


# ---------------------------------------------------------------------- number of retransmissions


def test_without_retransmissions_a_message_is_sent_once_pitfall_s26() -> None:
    peer = established(Config(heartbeat_interval=0))
    [one] = send(peer, 100, max_retransmits=0)  # a -> DATA
    assert abandoned(peer) == [], "it may still arrive: giving up at sending would be too early"
    peer.fire(Timer.T3_RTX)
    [forward] = forwards(peer)  # a -> FORWARD-TSN
    assert forward.new_cumulative_tsn == one.tsn
    assert forward.skipped == ((0, False, 0),)
    assert abandoned(peer) == [MessageAbandoned(0, 100, sent=True)]
    peer.deliver(sack(one.tsn))
    assert not peer.association.timers
    assert peer.association.statistics().timeout_retransmits == 0


def test_without_retransmissions_it_may_still_be_acknowledged_pitfall_s26() -> None:
    peer = established()
    [one] = send(peer, 100, max_retransmits=0)
    peer.deliver(sack(one.tsn))
    assert abandoned(peer) == []
    assert forwards(peer) == []


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_it_is_sent_again_as_often_as_allowed(limit: int) -> None:
    peer = established()
    send(peer, 100, max_retransmits=limit)
    for _ in range(limit):
        peer.fire(Timer.T3_RTX)
        assert len(sent(peer)) == 1
    peer.fire(Timer.T3_RTX)
    packets = peer.take()
    assert len(forwards_in(packets)) == 1
    assert not any(packet.all("DATA") for packet in packets)


def test_fast_retransmissions_count_too() -> None:
    """RFC 7496 3.1: "includes both fast and timer-based retransmissions"."""
    peer = established()
    chunks = send(peer, FULL, max_retransmits=0) + send(peer, *[FULL] * 4)
    for gap in (2, 3, 4):
        peer.deliver(sack(chunks[0].tsn - 1, gaps=[(2, gap)]))
    packets = peer.take()
    [forward] = forwards_in(packets)
    assert forward.new_cumulative_tsn == chunks[0].tsn
    statistics = peer.association.statistics()
    assert statistics.in_fast_recovery, "F5: the congestion window is cut all the same"
    assert statistics.ssthresh is not None
    assert statistics.fast_retransmits == 0


def test_the_error_counter_counts_although_nothing_is_sent_again() -> None:
    """RFC 7496 3.1: it "does not affect the handling of the thresholds"."""
    peer = established(Config(max_retransmits=2, heartbeat_interval=0))
    send(peer, 100, max_retransmits=0)
    for _ in range(2):
        peer.fire(Timer.T3_RTX)
    assert peer.association.statistics().path_errors == 2
    peer.fire(Timer.T3_RTX)
    assert peer.closed.reason is CloseReason.UNREACHABLE


def test_one_lost_fragment_gives_up_the_whole_message() -> None:
    """RFC 3758 3.5, A3: all other TSNs "MUST be abandoned at the same time"."""
    peer = established()
    chunks = send(peer, 5 * FULL, max_retransmits=0) + send(peer, 10)
    first = chunks[0].tsn
    # The third of five is lost; those around it have arrived.
    for gap in (2, 3, 4):
        peer.deliver(sack(first + 1, gaps=[(2, gap)]))
    [forward] = forwards(peer)
    assert forward.new_cumulative_tsn == first + 4
    assert forward.skipped == ((0, False, 0),)
    assert peer.association.statistics().flight == 0
    peer.deliver(sack(first + 5))
    assert abandoned(peer) == [MessageAbandoned(0, 5 * FULL, sent=True)]


# --------------------------------------------------------------------------------------- lifetime


def test_an_expired_message_that_was_never_sent_takes_no_tsn_pitfall_s27() -> None:
    peer = established(a_rwnd=1500)
    [one] = send(peer, FULL)
    send(peer, FULL, lifetime=1.0)
    send(peer, 10)
    peer.now += 1.5  # in the queue all the time
    peer.deliver(sack(one.tsn))
    [other] = sent(peer)
    assert (other.tsn, other.sequence, len(other.payload)) == (one.tsn + 1, 1, 10)
    assert abandoned(peer) == [MessageAbandoned(0, FULL, sent=False)]
    assert forwards(peer) == []


def test_a_lifetime_counts_from_send_pitfall_s27() -> None:
    peer = established(a_rwnd=1500)
    [one] = send(peer, FULL)
    peer.association.send(0, bytes(FULL), lifetime=1.0, now=peer.now)
    peer.now += 0.9
    peer.deliver(sack(one.tsn))
    assert len(sent(peer)) == 1  # just in time


def test_what_is_in_flight_may_still_be_acknowledged_pitfall_s27() -> None:
    peer = established()
    [one] = send(peer, 100, lifetime=0.05)
    peer.wait(0.2)  # expired, and not reported missing
    assert abandoned(peer) == []
    assert forwards(peer) == []
    peer.deliver(sack(one.tsn))
    assert abandoned(peer) == []
    peer.wait(10)
    assert forwards(peer) == []


def test_an_expired_message_is_not_sent_again() -> None:
    """RFC 3758 4.1, TR4."""
    peer = established()
    [one] = send(peer, 100, lifetime=0.1)
    peer.fire(Timer.T3_RTX)
    packets = peer.take()
    [forward] = forwards_in(packets)
    assert forward.new_cumulative_tsn == one.tsn
    assert not any(packet.all("DATA") for packet in packets)


def test_a_message_that_lives_is_sent_again() -> None:
    """RFC 3758 4.1, TR2."""
    peer = established()
    [one] = send(peer, 100, lifetime=10.0)
    for _ in range(3):
        peer.fire(Timer.T3_RTX)
        assert [c.tsn for c in sent(peer)] == [one.tsn]


def test_a_lifetime_of_zero_is_sent_if_it_can_be_sent_now() -> None:
    peer = established()
    assert len(send(peer, 100, lifetime=0)) == 1
    assert abandoned(peer) == []


def test_a_lifetime_of_zero_does_not_wait() -> None:
    peer = established(a_rwnd=1500)
    [one] = send(peer, FULL)
    peer.association.send(0, bytes(FULL), lifetime=0, now=peer.now)
    peer.now += 0.001
    peer.deliver(sack(one.tsn))
    assert sent(peer) == []
    assert abandoned(peer) == [MessageAbandoned(0, FULL, sent=False)]


# --------------------------------------------------------------------------------------- priority


def small_buffer() -> FakePeer:
    """A peer whose window is full; 10,000 bytes may wait."""
    peer = established(Config(send_buffer=10_000), a_rwnd=1500)
    send(peer, 1500)
    assert peer.association.buffered_amount == 0
    return peer


def test_an_important_message_takes_the_place_of_others() -> None:
    """RFC 7496 3.2; a larger number is less important."""
    peer = small_buffer()
    for priority in (3, 1, 2):
        peer.association.send(priority, bytes(3000), priority=priority, now=peer.now)
    assert abandoned(peer) == []
    peer.association.send(5, bytes(3000), priority=0, now=peer.now)
    assert abandoned(peer) == [MessageAbandoned(3, 3000, sent=False)]
    assert peer.association.buffered_amount == 9000


def test_a_message_of_the_same_priority_takes_nobodys_place() -> None:
    peer = small_buffer()
    for _ in range(4):
        peer.association.send(1, bytes(3000), priority=2, now=peer.now)
    assert abandoned(peer) == []
    assert peer.association.buffered_amount == 12_000  # nothing is refused because of it


def test_reliable_messages_are_more_important_than_any() -> None:
    """RFC 7496 3.2: "considered to have a priority higher than all"."""
    peer = small_buffer()
    peer.association.send(1, bytes(9000), now=peer.now)
    peer.association.send(2, bytes(3000), priority=0, now=peer.now)
    assert abandoned(peer) == []


def test_a_half_sent_message_may_lose_its_place_pitfall_s24() -> None:
    peer = established(Config(send_buffer=10_000), a_rwnd=3000)
    chunks = send(peer, 12_000, priority=5)
    assert len(chunks) == 2
    peer.association.send(1, bytes(8000), priority=0, now=peer.now)
    assert abandoned(peer) == [MessageAbandoned(0, 12_000, sent=True)]
    [forward] = forwards(peer)
    # Two were sent; the third was not, and stands for the end of the message.
    assert forward.new_cumulative_tsn == chunks[0].tsn + 2


# -------------------------------------------------------------------------- giving up in the middle


@pytest.mark.parametrize("unordered", [False, True])
@pytest.mark.parametrize("interleaving", [False, True])
def test_a_half_sent_message_is_given_an_end_pitfall_s24_s25(
    interleaving: bool, unordered: bool
) -> None:
    make = interleaved if interleaving else established
    peer = make(a_rwnd=3000)
    chunks = send(peer, 20_000, lifetime=0.1, unordered=unordered)
    assert [c.flags & (BEGIN | END) for c in chunks] == [BEGIN, 0]
    before = peer.association.buffered_amount
    assert before > 17_000
    peer.now += 0.2
    peer.deliver(sack(chunks[-1].tsn, a_rwnd=100_000))  # all that was sent has arrived
    packets = peer.take()
    [forward] = forwards_in(packets)
    end = chunks[-1].tsn + 1
    assert forward.new_cumulative_tsn == end, "a TSN that was never sent is given up"
    assert peer.association.buffered_amount == 0  # S25
    assert not any(packet.all("DATA", "I_DATA") for packet in packets)
    # What comes next has a TSN behind it, and begins.
    [other] = send(peer, 10)
    assert (other.tsn, other.flags & (BEGIN | END)) == (end + 1, BEGIN | END)
    assert other.sequence == (0 if unordered else 1)
    peer.deliver(sack(other.tsn))
    assert peer.association.statistics().flight == 0
    assert Timer.T3_RTX not in peer.association.timers


def test_the_placeholder_is_told_even_shortly_after_another_forward_tsn_pitfall_s8() -> None:
    """The FORWARD-TSN has to wait; then some timer must run, for nothing else will come."""
    peer = established(Config(heartbeat_interval=0), a_rwnd=3000)
    [one] = send(peer, 100, max_retransmits=0)
    peer.wait(0.15)
    peer.deliver(sack(one.tsn))  # a round trip takes 0.15 s
    [two] = send(peer, 100, max_retransmits=0)
    peer.fire(Timer.T3_RTX)
    assert len(forwards(peer)) == 1  # the next one may go in about a round trip
    peer.deliver(sack(two.tsn, a_rwnd=3000))
    chunks = send(peer, 20_000, lifetime=0.01)
    peer.now += 0.02
    peer.deliver(sack(chunks[-1].tsn, a_rwnd=0))  # it is given up in the middle
    assert Timer.FORWARD_TSN in peer.association.timers or Timer.T3_RTX in peer.association.timers
    peer.wait(1)
    assert forwards(peer)[-1].new_cumulative_tsn == chunks[-1].tsn + 1


@pytest.mark.parametrize("interleaving", [False, True])
def test_the_receiver_forgets_a_half_sent_message_pitfall_s24(interleaving: bool) -> None:
    config = Config(interleaving=interleaving, rwnd=5000, max_message_size=100_000)
    pair = Pair(config)
    pair.connect()
    pair.a.send(1, bytes(50_000), lifetime=0.05, now=pair.now)
    pair.a.send(1, b"next", now=pair.now)
    pair.run_until(lambda: pair.b.is_readable(1))
    assert [m.data for m in pair.b.receive(1, 10, now=pair.now)] == [b"next"]
    assert pair.b.statistics().held == 0
    pair.run_until(lambda: pair.a.sender.is_drained)


def test_an_abandoned_tail_leaves_the_way_free_for_other_streams_pitfall_s25_s38() -> None:
    """Without interleaving nobody else may send while a message is half sent."""
    peer = established(a_rwnd=3000)
    chunks = send(peer, 20_000, stream=1, lifetime=0.1)
    peer.association.send(2, b"other", now=peer.now)
    peer.now += 0.2
    peer.deliver(sack(chunks[-1].tsn))
    [other] = sent(peer)
    assert (other.stream_id, other.payload) == (2, b"other")


# ---------------------------------------------------------------------------- what FORWARD-TSN says


def test_the_largest_ssn_per_ordered_stream_is_named_pitfall_s29() -> None:
    peer = established()
    for stream in (1, 2, 1, 1):
        send(peer, 10, stream=stream, max_retransmits=0)
    send(peer, 10, stream=3, max_retransmits=0, unordered=True)
    peer.fire(Timer.T3_RTX)
    [forward] = forwards(peer)
    assert sorted(forward.skipped) == [(1, False, 2), (2, False, 0)]


def test_i_forward_tsn_names_unordered_messages_too_pitfall_s29() -> None:
    peer = interleaved()
    for stream, unordered in ((1, False), (1, True), (1, True), (2, True)):
        send(peer, 10, stream=stream, max_retransmits=0, unordered=unordered)
    peer.fire(Timer.T3_RTX)
    packets = peer.take()
    assert packets[0].all("I_FORWARD_TSN")
    [forward] = forwards_in(packets)
    assert sorted(forward.skipped) == [(1, False, 0), (1, True, 1), (2, True, 0)]


def test_forward_tsn_stops_before_what_is_still_wanted() -> None:
    """RFC 3758 3.5, C2: "as long as the chunk next in the out-queue space is … abandoned"."""
    peer = established()
    one = send(peer, 10, max_retransmits=0)[0]
    reliable = send(peer, 10)[0]
    send(peer, 10, max_retransmits=0)
    peer.fire(Timer.T3_RTX)
    packets = peer.take()
    [forward] = forwards_in(packets)
    assert forward.new_cumulative_tsn == one.tsn
    resent = [part.as_data().tsn for packet in packets for part in packet.all("DATA")]
    assert resent == [reliable.tsn]
    peer.deliver(sack(reliable.tsn))
    peer.wait(0.3)
    assert forwards(peer)[0].new_cumulative_tsn == reliable.tsn + 1


@pytest.mark.parametrize("interleaving", [False, True])
def test_many_gaps_in_one_flight_do_not_take_a_round_trip_each(interleaving: bool) -> None:
    config = Config(interleaving=interleaving, initial_cwnd=200, max_burst=200)
    pair = Pair(config, network=Network(Conditions(delay=0.05), seed=1))
    pair.connect()
    pair.network.a_to_b.conditions = Conditions(delay=0.05, loss=0.3)
    began = pair.now
    for _ in range(200):
        pair.a.send(0, bytes(1000), unordered=True, max_retransmits=0, now=began)
    pair.settle()
    assert pair.network.a_to_b.counters.lost > 40
    pair.network.a_to_b.conditions = Conditions(delay=0.05)
    pair.run_until(lambda: pair.a.sender.is_drained)
    assert pair.now - began < 1  # ten round trips


def test_forward_tsn_fits_its_packet_and_the_rest_follows() -> None:
    """RFC 3758 3.5, C4."""
    peer = established(Config(initial_cwnd=100), outbound=1000, inbound=1000)
    for stream in range(600):
        peer.association.send(stream, b"x", max_retransmits=0, now=peer.now)
    chunks = sent(peer)
    assert len(chunks) == 600
    peer.fire(Timer.T3_RTX)
    told: set[int] = set()
    for _ in range(20):
        for packet in peer.take():
            assert len(packet.raw) <= 1200
            for forward in forwards_in([packet]):
                told.update(stream for stream, _, _ in forward.skipped)
                peer.deliver(sack(forward.new_cumulative_tsn))
        peer.wait(0.3)
        if peer.association.sender.is_drained:
            break
    assert told == set(range(600))
    assert peer.association.sender.is_drained


def test_forward_tsn_is_not_sent_with_every_sack_pitfall_s30() -> None:
    peer = established()
    [zero] = send(peer, 10)
    peer.wait(0.1)
    peer.deliver(sack(zero.tsn))  # a round trip takes 0.1 s
    one = send(peer, 10, max_retransmits=0)[0]
    send(peer, *[FULL] * 8)
    count = 0
    for gap in range(2, 9):  # a <- one SACK per packet: TSN 0 is missing
        peer.deliver(sack(one.tsn - 1, gaps=[(2, gap)]))
        count += len(forwards(peer))
    assert count == 1
    peer.wait(0.2)  # a round trip later it may go again
    assert 1 <= len(forwards(peer)) <= 2


def test_a_lost_forward_tsn_goes_again_by_t3_pitfall_s30() -> None:
    peer = established(Config(heartbeat_interval=0))
    [one] = send(peer, 10, max_retransmits=0)
    peer.fire(Timer.T3_RTX)
    assert len(forwards(peer)) == 1
    assert Timer.T3_RTX in peer.association.timers  # C5
    for _ in range(3):
        peer.fire(Timer.T3_RTX)
        assert [f.new_cumulative_tsn for f in forwards(peer)] == [one.tsn]
    peer.deliver(sack(one.tsn))
    assert not peer.association.timers


def test_a_delayed_forward_tsn_waits_200_ms_at_most_pitfall_s30() -> None:
    """RFC 3758 3.5, F3, also where a round trip takes longer."""
    peer = established(Config(rto_initial=4, rto_min=4))
    [one] = send(peer, 10)
    peer.now += 3  # nobody looks at the timers, so there is no tail-loss probe
    peer.deliver(sack(one.tsn))
    first = send(peer, 10, max_retransmits=0)[0]
    more = [send(peer, FULL)[0] for _ in range(4)]
    second = send(peer, 10, max_retransmits=0)[0]
    rest = [send(peer, FULL)[0] for _ in range(4)]
    for gap in (2, 3, 4):
        peer.deliver(sack(first.tsn - 1, gaps=[(2, gap)]))
    assert len(forwards(peer)) == 1
    start = peer.now
    for chunk_ in rest[1:]:
        peer.deliver(
            sack(more[-1].tsn, gaps=[(second.tsn - more[-1].tsn + 1, chunk_.tsn - more[-1].tsn)])
        )
    while not (found := forwards(peer)):
        peer.wait(0.01)
        assert peer.now < start + 0.22
    assert found[0].new_cumulative_tsn == second.tsn


def test_an_abandoned_chunk_that_arrives_late_is_fine() -> None:
    peer = established()
    chunks = send(peer, 10, 10, max_retransmits=0)
    peer.fire(Timer.T3_RTX)
    assert len(forwards(peer)) == 1
    peer.deliver(sack(chunks[0].tsn - 1, gaps=[(2, 2)]))  # S12: it was taken off the flight once
    assert peer.association.statistics().flight == 0
    peer.deliver(sack(chunks[1].tsn))
    assert peer.association.statistics().flight == 0
    assert peer.association.sender.is_drained


def test_out_of_order_sacks_are_told_by_the_cumulative_tsn_not_by_the_advanced_point() -> None:
    """RFC 3758 3.5, F4."""
    peer = established()
    chunks = send(peer, 10, max_retransmits=0) + send(peer, 10, 10)
    peer.fire(Timer.T3_RTX)
    peer.take()
    before = peer.association.statistics().sacks_received
    peer.deliver(sack(chunks[0].tsn - 1, a_rwnd=4321))  # from before the FORWARD-TSN
    statistics = peer.association.statistics()
    assert statistics.sacks_received == before + 1
    assert statistics.drops.get(Drop.OLD_SACK, 0) == 0


# -------------------------------------------------------------------------------- without the peer


@pytest.mark.parametrize("limits", [{"max_retransmits": 0}, {"lifetime": 0.01}, {"priority": 9}])
def test_without_the_peers_support_everything_is_reliable_pitfall_s28(
    limits: dict[str, Any],
) -> None:
    config = Config(send_buffer=2000, heartbeat_interval=0)
    peer = established(config, params=extensions(partial_reliability=False), a_rwnd=3000)
    chunks = send(peer, 2000, **limits)
    send(peer, 5000, **limits)
    send(peer, 5000, priority=0)
    peer.now += 1
    for _ in range(4):
        peer.fire(Timer.T3_RTX)
        assert chunks[0].tsn in [c.tsn for c in sent(peer)]
    assert abandoned(peer) == []
    assert peer.association.statistics().partial_reliability is False
    assert peer.association.buffered_amount > 0


def test_without_our_offer_everything_is_reliable_pitfall_s28() -> None:
    peer = established(Config(partial_reliability=False))
    [one] = send(peer, 100, max_retransmits=0)
    peer.fire(Timer.T3_RTX)
    assert [c.tsn for c in sent(peer)] == [one.tsn]


def test_i_data_needs_i_forward_tsn_for_partial_reliability() -> None:
    """RFC 8260 2.3.1: FORWARD-TSN alone does not do."""
    params = [(0xC000, b""), (0x8008, bytes([ChunkType.FORWARD_TSN, ChunkType.I_DATA]))]
    peer = established(params=params)
    assert peer.association.statistics().interleaving
    assert not peer.association.statistics().partial_reliability
    [one] = send(peer, 100, max_retransmits=0)
    peer.fire(Timer.T3_RTX)
    assert [c.tsn for c in sent(peer)] == [one.tsn]


def test_two_limits_at_once_are_refused() -> None:
    peer = established()
    names = ("max_retransmits", "lifetime", "priority")
    both: list[dict[str, Any]] = [dict.fromkeys(two, 1) for two in itertools.combinations(names, 2)]
    negative: list[dict[str, Any]] = [{name: -1} for name in names]
    for limits in both + negative:
        with pytest.raises(ReliabilityError):
            peer.association.send(0, b"x", now=peer.now, **limits)
    assert peer.association.buffered_amount == 0


# -------------------------------------------------------------------------------------- receiving


def test_forward_tsn_moves_the_cumulative_tsn_over_what_follows() -> None:
    """The example of RFC 3758 3.6: 103 is missing, 104 and 105 are there, 106 is missing."""
    peer = established()
    for number, ssn in ((0, 0), (2, 1), (3, 2), (5, 4)):
        peer.deliver(data(PEER_TSN + number, b"%d" % number, stream=1, ssn=ssn))
    peer.take()
    peer.deliver(forward_tsn(PEER_TSN + 1))
    found = peer.take()[-1]["SACK"].as_sack()
    assert (found.cumulative_tsn, list(found.blocks)) == (PEER_TSN + 3, [(2, 2)])


def test_what_waited_for_a_skipped_message_is_delivered_pitfall_s34() -> None:
    peer = established()
    for number in (1, 2, 4):
        peer.deliver(data(PEER_TSN + number, b"%d" % number, ssn=number))
    assert peer.take_messages() == []
    peer.deliver(forward_tsn(PEER_TSN, [(0, 0)]))
    assert peer.take_messages() == [b"1", b"2"]
    peer.deliver(forward_tsn(PEER_TSN + 3, [(0, 3)]))
    assert peer.take_messages() == [b"4"]


def test_complete_messages_below_the_skipped_one_are_delivered() -> None:
    """RFC 3758 3.6: "earlier than or equal to"."""
    peer = established()
    peer.deliver(data(PEER_TSN + 1, b"one", ssn=1))
    peer.deliver(data(PEER_TSN + 3, b"three", ssn=3))
    peer.deliver(forward_tsn(PEER_TSN + 2, [(0, 2)]))
    assert peer.take_messages() == [b"one", b"three"]


def test_only_the_streams_that_are_named_skip() -> None:
    peer = established()
    peer.deliver(data(PEER_TSN + 2, b"a", stream=1, ssn=1))
    peer.deliver(data(PEER_TSN + 3, b"b", stream=2, ssn=1))
    peer.deliver(forward_tsn(PEER_TSN + 1, [(2, 0)]))
    assert peer.take_messages(1) == []
    assert peer.take_messages(2) == [b"b"]


def test_a_duplicate_forward_tsn_is_answered_at_once_pitfall_s32() -> None:
    peer = established()
    peer.deliver(peer.data())
    peer.take()
    peer.deliver(forward_tsn(PEER_TSN))
    assert peer.expect("SACK")["SACK"].as_sack().cumulative_tsn == PEER_TSN
    peer.deliver(forward_tsn(PEER_TSN - 5))
    assert peer.expect("SACK")["SACK"].as_sack().cumulative_tsn == PEER_TSN


def test_forward_tsn_may_run_over_blocks_that_have_arrived_pitfall_s33() -> None:
    peer = established()
    for number in (2, 3, 6, 9, 10):
        peer.deliver(data(PEER_TSN + number, stream=1, ssn=number))
    peer.take()
    peer.deliver(forward_tsn(PEER_TSN + 7, [(1, 7)]))
    found = peer.take()[-1]["SACK"].as_sack()
    assert (found.cumulative_tsn, list(found.blocks)) == (PEER_TSN + 7, [(2, 3)])
    peer.deliver(forward_tsn(PEER_TSN + 8, [(1, 8)]))
    assert peer.take()[-1]["SACK"].as_sack().cumulative_tsn == PEER_TSN + 10
    assert len(peer.take_messages(1)) == 5


def test_a_far_forward_tsn_is_refused_and_costs_nothing_pitfall_s33() -> None:
    peer = established(Config(rwnd=100_000))
    peer.deliver(peer.data())
    peer.take()
    peer.deliver(forward_tsn(PEER_TSN + 0x7000_0000, [(s, 5) for s in range(200)]))
    peer.wait(1)
    for packet in peer.take():
        assert packet["SACK"].as_sack().cumulative_tsn == PEER_TSN
    assert peer.association.statistics().drops[Drop.TSN_TOO_FAR] == 1


def test_a_message_that_misses_something_skipped_is_dropped_pitfall_s34() -> None:
    peer = established()
    peer.deliver(data(PEER_TSN + 1, b"b", flags=0))
    peer.deliver(data(PEER_TSN + 2, b"c", flags=END))
    assert peer.association.statistics().held > 0
    peer.deliver(forward_tsn(PEER_TSN + 2, [(0, 0)]))
    assert peer.association.statistics().held == 0
    peer.deliver(data(PEER_TSN, b"a", flags=BEGIN))  # late: a duplicate now
    assert peer.take()[-1]["SACK"].as_sack().duplicates == 1
    assert peer.take_messages() == []


def test_a_message_that_has_all_below_and_goes_on_above_lives_pitfall_s34() -> None:
    peer = established()
    peer.deliver(data(PEER_TSN + 1, b"a", flags=BEGIN))
    peer.deliver(forward_tsn(PEER_TSN, []))  # something else was given up before it
    peer.deliver(data(PEER_TSN + 2, b"b", flags=END))
    assert peer.take_messages() == [b"ab"]


def test_what_begins_above_is_alive_also_on_a_stream_that_is_named_pitfall_s34() -> None:
    peer = established()
    peer.deliver(data(PEER_TSN + 2, b"a", ssn=1, flags=BEGIN))
    peer.deliver(forward_tsn(PEER_TSN + 1, [(0, 0)]))
    peer.deliver(data(PEER_TSN + 3, b"b", ssn=1, flags=END))
    assert peer.take_messages() == [b"ab"]


def test_an_abandoned_message_without_an_end_is_forgotten_when_its_ssn_is_named() -> None:
    """A sender that does not know pitfall S24: its beginning would be held for ever."""
    peer = established()
    peer.deliver(data(PEER_TSN + 1, b"a", ssn=1, flags=BEGIN))
    peer.deliver(data(PEER_TSN + 2, b"b", ssn=1, flags=0))
    peer.deliver(forward_tsn(PEER_TSN + 2, [(0, 1)]))
    peer.deliver(data(PEER_TSN + 3, b"next", ssn=2))
    assert peer.take_messages() == [b"next"]
    assert peer.association.statistics().held == 0


def test_i_forward_tsn_drops_partial_messages_up_to_its_mid_pitfall_s34() -> None:
    peer = interleaved()
    peer.deliver(i_data(PEER_TSN + 1, b"b", mid=0, fsn=1, flags=0))
    peer.deliver(i_data(PEER_TSN + 3, b"d", mid=1, fsn=1, flags=END))
    peer.deliver(i_data(PEER_TSN + 4, b"u", mid=0, fsn=1, flags=END | UNORDERED))
    peer.deliver(i_forward_tsn(PEER_TSN, [(0, False, 0)]))
    assert peer.take_messages() == []
    peer.deliver(i_data(PEER_TSN + 2, b"c", mid=1, flags=BEGIN))  # MID 1 is alive
    assert peer.take_messages() == [b"cd"]
    peer.deliver(i_data(PEER_TSN + 5, b"t", mid=0, flags=BEGIN | UNORDERED))
    assert peer.take_messages() == [b"tu"]
    assert peer.association.statistics().held == 0


def test_a_later_fragment_of_a_skipped_message_is_dropped_pitfall_s35() -> None:
    peer = interleaved()
    peer.deliver(i_data(PEER_TSN, b"a", mid=0, flags=BEGIN))
    peer.deliver(i_forward_tsn(PEER_TSN + 1, [(0, False, 0)]))
    peer.deliver(i_data(PEER_TSN + 2, b"c", mid=0, fsn=2, flags=END))
    peer.deliver(i_data(PEER_TSN + 3, b"next", mid=1))
    assert peer.take_messages() == [b"next"]
    assert peer.association.statistics().held == 0


def test_i_forward_tsn_skips_unordered_messages_alone() -> None:
    peer = interleaved()
    peer.deliver(i_data(PEER_TSN + 1, b"part", mid=0, flags=BEGIN | UNORDERED))
    peer.deliver(i_data(PEER_TSN + 3, b"waits", mid=1))
    peer.deliver(i_forward_tsn(PEER_TSN + 2, [(0, True, 0)]))
    assert peer.association.statistics().held > 0
    assert peer.take_messages() == []  # MID 0, ordered, was not skipped
    peer.deliver(i_forward_tsn(PEER_TSN + 2, [(0, False, 0)]))
    peer.deliver(i_forward_tsn(PEER_TSN + 4, [(0, False, 0)]))
    assert peer.take_messages() == [b"waits"]
    assert peer.association.statistics().held == 0


@pytest.mark.parametrize(
    ("make", "bad"),
    [(interleaved, forward_tsn(PEER_TSN)), (established, i_forward_tsn(PEER_TSN))],
)
def test_the_wrong_kind_of_forward_tsn_is_a_violation(make: type, bad: bytes) -> None:
    """RFC 8260 2.3.1: the receiver "MUST abort the association"."""
    peer = make()
    peer.deliver(bad)
    peer.expect("ABORT")
    assert peer.closed.reason is CloseReason.PROTOCOL_VIOLATION


@pytest.mark.parametrize("length", [4, 6, 9, 10])
def test_a_malformed_forward_tsn_changes_nothing(length: int) -> None:
    peer = established()
    peer.deliver(
        chunk(ChunkType.FORWARD_TSN, (PEER_TSN + 3).to_bytes(4, "big") + bytes(length))[
            : 4 + 4 + length
        ]
    )
    assert peer.state is State.ESTABLISHED


def test_a_forward_tsn_with_streams_that_do_not_exist_is_harmless() -> None:
    peer = established(Config(inbound_streams=4))
    peer.deliver(forward_tsn(PEER_TSN + 1, [(60_000, 3), (3, 0)]))
    assert peer.take()[-1]["SACK"].as_sack().cumulative_tsn == PEER_TSN + 1
    peer.deliver(data(PEER_TSN + 2, b"x", stream=3, ssn=1))
    assert peer.take_messages(3) == [b"x"]


# -------------------------------------------------------------------------------------- and resets


def test_no_forward_tsn_reaches_across_a_reset_pitfall_s31() -> None:
    """Behind the reset SSN 0 is a new message, which the old FORWARD-TSN must not skip."""
    peer = established()
    [old] = send(peer, 10, stream=1, max_retransmits=0)
    peer.association.reset_streams([1], peer.now)
    request = peer.expect("RE_CONFIG")["RE_CONFIG"].as_reconfig()[0]
    assert isinstance(request, OutgoingResetRequest)
    assert request.last_tsn == old.tsn
    # The peer performs it at once (it may have got the TSN), but its SACK is lost.
    done = ReconfigResponse(request.request_number, ReconfigResult.PERFORMED)
    peer.deliver(reconfig(done))
    [new] = send(peer, 10, stream=1, max_retransmits=0)
    assert (new.sequence, new.tsn) == (0, old.tsn + 1)
    peer.fire(Timer.T3_RTX)  # both are given up
    [forward] = forwards(peer)
    assert forward.new_cumulative_tsn == old.tsn
    peer.deliver(sack(old.tsn))
    peer.wait(0.3)
    assert forwards(peer)[0].new_cumulative_tsn == new.tsn


# --------------------------------------------------------------------------------------- at the end


@pytest.mark.parametrize("size", [1, 64])
def test_a_shutdown_follows_when_the_last_message_is_given_up(size: int) -> None:
    """Whatever it is that finds out that nothing is left, and however packets are polled."""
    peer = established(Config(heartbeat_interval=0), a_rwnd=1500)
    [one] = send(peer, FULL)
    peer.association.send(0, bytes(FULL), lifetime=0.1, now=peer.now)
    peer.association.shutdown(peer.now)
    association = peer.association
    peer.now += 1
    association.handle_datagrams([peer.packet(data(PEER_TSN), sack(one.tsn, a_rwnd=0))], peer.now)
    packets: list[bytes] = []
    for _ in range(100):
        got = association.poll_transmit(peer.now, size)
        packets += got
        if not got:
            break
    assert association.state is State.SHUTDOWN_SENT
    kinds = [packet[12] for packet in packets]
    assert ChunkType.SHUTDOWN in kinds or packets[-1].find(b"\x07\x00\x00\x08") > 0


def test_giving_up_makes_room_in_the_buffer_pitfall_s63() -> None:
    peer = established(Config(send_buffer=5000), a_rwnd=1500)
    [one] = send(peer, FULL)
    for _ in range(6):
        peer.association.send(0, bytes(1000), lifetime=0.1, now=peer.now)
    peer.take_events()
    peer.now += 1
    peer.deliver(sack(one.tsn, a_rwnd=0))
    assert SendBufferLow() in peer.take_events()
    assert peer.association.buffered_amount == 0


# ------------------------------------------------------------------------------------ both together


@pytest.mark.parametrize("interleaving", [False, True])
@pytest.mark.parametrize("loss", [0.05, 0.3])
def test_what_arrives_is_in_order_and_nothing_is_held_for_ever(
    interleaving: bool, loss: float
) -> None:
    config = Config(interleaving=interleaving, max_retransmits=100, max_init_retransmits=50)
    pair = Pair(config, network=Network(Conditions(delay=0.02, loss=loss), seed=6))
    pair.connect(600)
    got: list[int] = []
    for number in range(400):
        size = (100, 3000, 8000)[number % 3]
        pair.a.send(
            1,
            number.to_bytes(4, "big") + bytes(size),
            max_retransmits=number % 2 if number % 5 else None,
            now=pair.now,
        )
        if not number % 20:
            pair.run_for(0.05)
    pair.run_until(lambda: pair.a.sender.is_drained, 2000)
    got = [int.from_bytes(m.data[:4], "big") for m in pair.b.receive(1, 1000, now=pair.now)]
    assert got == sorted(set(got))
    assert {n for n in range(400) if not n % 5} <= set(got)
    assert len(got) < 400
    assert pair.b.statistics().held == 0
    given_up = [e for e in pair.events_a if isinstance(e, MessageAbandoned)]
    assert len(got) + len(given_up) >= 400
