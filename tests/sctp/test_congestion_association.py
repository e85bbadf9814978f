"""What is sent, sent again, and how much: acknowledgement, loss, timers (RFC 9260 6.1, 6.3, 7.2).

In the ladders `a` is the association that is tested, and the peer is the script.
"""

from __future__ import annotations

import itertools
import struct
from typing import Any

import pytest

from rtcsctp.sctp.config import Config
from rtcsctp.sctp.events import Closed, CloseReason
from rtcsctp.sctp.state import State
from rtcsctp.sctp.statistics import Drop, Statistics
from rtcsctp.sctp.timers import Timer
from rtcsctp.sctp.wire.chunks import IMMEDIATE, Data
from rtcsctp.testing import Conditions, Network, Pair

from .ladder import FakePeer, chunk, data, established, extensions, sack, shutdown

FULL = 1200 - 12 - 16
"""User data that fills a packet with one DATA chunk."""
PMDCS = 1200 - 12
RTO_MIN = Config().rto_min


def sent(peer: FakePeer) -> list[Data]:
    """The DATA that was sent since the last call."""
    return [part.as_data() for packet in peer.take() for part in packet.all("DATA", "I_DATA")]


def tsns(peer: FakePeer) -> list[int]:
    """Their TSNs, counted from the first one that the association ever sent."""
    first = peer.received[0].tsn if peer.received else 0
    return [(chunk.tsn - first) & 0xFFFF_FFFF for chunk in sent(peer)]


def stats(peer: FakePeer) -> Statistics:
    return peer.association.statistics()


def send(peer: FakePeer, count: int, size: int = FULL, stream: int = 0) -> None:
    for _ in range(count):
        peer.association.send(stream, bytes(size), now=peer.now)
    peer.drain()


class Ladder:
    """A peer that acknowledges by offsets from the first TSN of the association.

    `ack(2, (4, 6))` acknowledges TSNs 0 to 2 and, by a gap block, 4 to 6.
    """

    def __init__(self, config: Config | None = None, **options: Any) -> None:
        self.peer = established(config, **options)
        self.first = (self.peer.cumulative + 1) & 0xFFFF_FFFF

    def send(self, count: int, size: int = FULL) -> list[int]:
        send(self.peer, count, size)
        return self.tsns()

    def tsns(self) -> list[int]:
        return [(c.tsn - self.first) & 0xFFFF_FFFF for c in sent(self.peer)]

    def ack(self, cumulative: int, *blocks: tuple[int, int], a_rwnd: int = 1 << 20) -> list[int]:
        """Deliver that SACK, and give the TSNs that were sent because of it."""
        gaps = [(start - cumulative, end - cumulative) for start, end in blocks]
        self.peer.deliver(sack(self.first + cumulative, a_rwnd=a_rwnd, gaps=gaps))
        return self.tsns()

    def packets(self) -> list[list[int]]:
        """The TSNs of each packet."""
        return [
            [(c.as_data().tsn - self.first) & 0xFFFF_FFFF for c in packet.all("DATA", "I_DATA")]
            for packet in self.peer.take()
        ]

    @property
    def stats(self) -> Statistics:
        return stats(self.peer)


# --------------------------------------------------------------------- sending for the first time


def test_the_i_bit_is_on_the_last_chunk_of_a_burst_only_pitfall_s16() -> None:
    peer = established()
    peer.association.send(0, bytes(3 * FULL), now=peer.now)
    flags = [bool(c.flags & IMMEDIATE) for c in sent(peer)]
    assert flags == [False, False, True]


def test_the_i_bit_is_on_what_fills_the_congestion_window_pitfall_s16() -> None:
    peer = established(Config(initial_cwnd=4))
    peer.association.send(0, bytes(50 * FULL), now=peer.now)
    flags = [bool(c.flags & IMMEDIATE) for c in sent(peer)]
    assert flags[-1]
    assert not any(flags[:-1])


def test_the_i_bit_is_on_what_fills_the_peers_window_pitfall_s16() -> None:
    peer = established(a_rwnd=3 * FULL)
    peer.association.send(0, bytes(50 * FULL), now=peer.now)
    chunks = sent(peer)
    assert len(chunks) == 3
    assert chunks[-1].flags & IMMEDIATE


def test_the_initial_window_is_full_of_packets_and_no_more() -> None:
    ladder = Ladder(Config(initial_cwnd=4))
    assert ladder.send(10) == [0, 1, 2, 3]
    ladder.peer.wait(0.005)  # later, a tail-loss probe may exceed it by a packet (RFC 8985 7.3)
    assert ladder.tsns() == []


def test_cwnd_is_exceeded_by_less_than_a_packet() -> None:
    """RFC 9260 6.1 B: up to PMDCS - 1 bytes above cwnd, in one packet."""
    ladder = Ladder(Config(initial_cwnd=4))
    ladder.send(20, 900)
    # 916 bytes of chunk each: five are below 4 * 1188 = 4752 bytes, the sixth breaks through.
    assert ladder.stats.flight == 6 * 916
    assert ladder.stats.flight < 4 * PMDCS + PMDCS


def test_max_burst_limits_what_one_opportunity_sends() -> None:
    """RFC 9260 6.1 D. Twice what a SACK acknowledges in slow start, and four packets more."""
    ladder = Ladder(Config(initial_cwnd=100, max_burst=4))
    assert len(ladder.send(60)) <= 60
    ladder.ack(59)
    ladder.send(1)
    ladder.ack(60)  # all is acknowledged, cwnd is large, and then a large message comes
    ladder.peer.association.send(0, bytes(90 * FULL), now=ladder.peer.now)
    assert len(ladder.tsns()) <= 2 + 4


def test_small_messages_are_bundled_and_large_ones_fill_packets() -> None:
    ladder = Ladder()
    ladder.peer.association.send(0, b"a" * 100, now=ladder.peer.now)
    ladder.peer.association.send(1, b"b" * 100, now=ladder.peer.now)
    ladder.peer.association.send(0, b"c" * 100, now=ladder.peer.now)
    assert sorted(ladder.packets()[0]) == [0, 1, 2]
    ladder.peer.association.send(0, bytes(5000), now=ladder.peer.now)
    packets = ladder.peer.take()
    assert [len(p.raw) for p in packets[:4]] == [1200] * 4


# ------------------------------------------------------------------------------- fast retransmit


def test_the_third_miss_indication_sends_again_pitfall_s2() -> None:
    ladder = Ladder()
    assert ladder.send(6) == [0, 1, 2, 3, 4, 5]
    cwnd = ladder.stats.cwnd
    assert ladder.ack(0, (2, 2)) == []  # a <- SACK: 1 is missing
    assert ladder.ack(0, (2, 3)) == []  # a <- SACK, for the second time
    assert ladder.ack(0, (2, 4)) == [1]  # a <- SACK, for the third; a -> 1
    assert ladder.stats.fast_retransmits == 1
    assert ladder.stats.in_fast_recovery
    assert ladder.stats.ssthresh == max(cwnd // 2, 4 * PMDCS)
    assert ladder.stats.cwnd == ladder.stats.ssthresh


def test_misses_are_not_counted_any_more_once_reordering_is_seen_pitfall_s62() -> None:
    """RFC 8985 6.2, step 4; that they count below what is newly acknowledged only (pitfall S2) is
    tested where they are counted, in test_outstanding.
    """
    ladder = Ladder()
    ladder.send(10)
    ladder.ack(0, (9, 9))  # 1 to 8 are missing …
    for last in (2, 3, 4, 5):  # … and come after it, one by one, but for 1
        assert ladder.ack(0, (2, last), (9, 9)) == []
    assert ladder.stats.fast_retransmits == 0
    ladder.peer.wait(0.002)  # the reordering window
    assert ladder.tsns()[0] == 1


def test_a_sack_that_acknowledges_nothing_new_indicates_nothing_pitfall_s2() -> None:
    ladder = Ladder()
    ladder.send(5)
    for _ in range(10):
        assert ladder.ack(0, (2, 4)) == []
    assert ladder.stats.fast_retransmits == 0


def test_in_fast_recovery_what_was_sent_before_what_arrived_is_lost_pitfall_s3() -> None:
    ladder = Ladder()
    ladder.send(10)
    # 0 and 5 are lost; the peer reports 1, 2, 3, and then 4 and 6 to 9.
    for end in (1, 2, 3):
        packets = ladder.ack(-1, (1, end))
    assert packets == [0]
    assert ladder.stats.in_fast_recovery
    # a <- SACK: 0 has arrived, and 6 to 9. This is the first that is heard of 5, but it was sent
    # before the second 0, and losses are being repaired: RFC 8985 6.2 has no reason to wait.
    assert ladder.ack(4, (6, 9)) == [5]
    assert ladder.stats.cwnd == ladder.stats.ssthresh, "cwnd is cut once per recovery"


def test_partial_acknowledgements_in_recovery_indicate_for_all_that_is_missing_pitfall_s3() -> None:
    ladder = Ladder(Config(initial_cwnd=20))
    ladder.send(14)
    # 0, 2, 4 and 12 are lost. Everything else arrives, so HTNA is 13 from the beginning.
    ladder.ack(-1, (1, 1), (3, 3), (5, 9))
    ladder.ack(-1, (1, 1), (3, 3), (5, 10))
    resent = ladder.ack(-1, (1, 1), (3, 3), (5, 11))
    assert resent[0] == 0
    assert set(resent) <= {0, 2, 4}
    # 12 was sent before 13: it is lost at once, as losses are being repaired (RFC 8985 6.2), and
    # goes when the window lets it. The retransmissions arrive one by one.
    more = ladder.ack(-1, (1, 1), (3, 3), (5, 11), (13, 13))
    more += ladder.ack(1, (3, 3), (5, 11), (13, 13))
    more += ladder.ack(3, (5, 11), (13, 13))
    assert 12 in more


def lose_two() -> Ladder:
    """0 and 1 are lost of 20; 0 is sent again at once, and 1 waits for cwnd."""
    ladder = Ladder(Config(initial_cwnd=20))
    ladder.send(20)
    for end in (2, 3):
        assert ladder.ack(-1, (2, end)) == []
    # 15 packets are in flight now, cwnd is ten: but one packet may go (pitfall S5).
    assert ladder.ack(-1, (2, 4)) == [0]
    return ladder


def test_what_waits_to_be_sent_again_cannot_be_missing_again_pitfall_s4() -> None:
    ladder = lose_two()
    resent: list[int] = []
    for end in range(5, 20):  # every SACK reports 1 as missing
        resent += ladder.ack(-1, (2, end))
    assert resent == [1]
    assert ladder.stats.cwnd == 10 * PMDCS, "cwnd was cut twice"
    ladder.ack(19)
    assert ladder.stats.flight == 0


def test_a_late_acknowledgement_takes_a_chunk_off_the_queue_for_retransmission_pitfall_s4() -> None:
    ladder = lose_two()
    assert ladder.ack(1, (2, 4)) == []  # they were only late
    for end in range(5, 20):
        assert ladder.ack(end) == []
    assert ladder.stats.flight == 0
    assert Timer.T3_RTX not in ladder.peer.association.timers


def test_fast_retransmit_sends_one_packet_whatever_cwnd_says_pitfall_s5() -> None:
    ladder = Ladder(Config(initial_cwnd=40))
    ladder.send(40, 200)  # five or six in a packet
    ladder.peer.take()
    # The first twelve are lost; flight is far above the cwnd that is to come.
    for end in (13, 14):
        ladder.peer.deliver(sack(ladder.first - 1, gaps=[(13, end + 1)]))
        ladder.peer.take()
    ladder.peer.deliver(sack(ladder.first - 1, gaps=[(13, 16)]))
    packets = ladder.packets()
    assert packets[0] == [0, 1, 2, 3, 4]  # as many of the earliest as fit one packet


def test_one_packet_only_is_sent_above_cwnd_pitfall_s5() -> None:
    ladder = lose_two()
    assert ladder.stats.flight == 16 * PMDCS
    assert ladder.stats.cwnd == 10 * PMDCS
    ladder.send(1)
    assert ladder.tsns() == []


def test_fast_recovery_ends_at_what_was_outstanding_when_it_began_pitfall_s6() -> None:
    ladder = Ladder()
    ladder.send(8)  # 0 to 7
    for end in (2, 3, 4):
        ladder.ack(0, (2, end))
    assert ladder.stats.in_fast_recovery
    ladder.ack(5)
    ladder.send(8)  # 8 and more; they do not prolong it
    assert ladder.stats.in_fast_recovery
    ladder.ack(6)
    assert ladder.stats.in_fast_recovery
    ladder.ack(7)
    assert not ladder.stats.in_fast_recovery


def test_a_new_loss_behind_the_exit_is_a_new_recovery_pitfall_s6() -> None:
    ladder = Ladder(Config(initial_cwnd=30))
    ladder.send(12)
    for end in (2, 3, 4):
        ladder.ack(0, (2, end))
    first = ladder.stats.cwnd
    ladder.send(12)
    ladder.ack(11)  # the exit is reached
    assert not ladder.stats.in_fast_recovery
    for end in (14, 15, 16):
        ladder.ack(12, (14, end))
    assert ladder.stats.in_fast_recovery
    assert ladder.stats.cwnd < first


def test_a_chunk_is_fast_retransmitted_once_only() -> None:
    """RFC 9260 7.2.4, 5): "ineligible for a subsequent Fast Retransmit"."""
    ladder = Ladder(Config(initial_cwnd=30))
    ladder.send(30)
    for end in (2, 3, 4):
        ladder.ack(0, (2, end))
    assert ladder.stats.fast_retransmits == 1
    for end in range(5, 25):
        assert 1 not in ladder.ack(0, (2, end))
    assert ladder.peer.fire(Timer.T3_RTX) > 0  # the timer it is that helps
    assert ladder.tsns()[0] == 1


def test_a_lost_retransmission_is_repaired_and_answered_pitfall_s62() -> None:
    """By T3-rtx, as RFC 9260 has it: a chunk is fast retransmitted once, whatever is reported."""
    ladder = Ladder()
    ladder.send(8)
    for end in (2, 3, 4):
        resent = ladder.ack(0, (2, end))
    assert resent == [1]  # and this is lost, too
    recovering = ladder.stats.cwnd
    for end in (5, 6, 7):
        assert ladder.ack(0, (2, end)) == []
    ladder.peer.fire(Timer.T3_RTX)
    assert ladder.tsns() == [1]
    assert ladder.stats.cwnd == PMDCS < recovering


def test_a_lost_tail_is_repaired_and_answered_pitfall_s62() -> None:
    """Nothing follows it that could be acknowledged: T3-rtx finds it, and cwnd answers."""
    ladder = Ladder()
    ladder.send(4)
    assert ladder.ack(1) == []
    before = ladder.stats.cwnd
    ladder.peer.fire(Timer.T3_RTX)
    assert ladder.tsns() == [2]
    assert ladder.stats.cwnd == PMDCS
    assert ladder.stats.ssthresh == max(before // 2, 4 * PMDCS)


def test_reordering_of_two_packets_is_not_taken_for_loss_pitfall_s62() -> None:
    ladder = Ladder()
    ladder.send(8)
    assert ladder.ack(0, (2, 2)) == []
    assert ladder.ack(0, (2, 3)) == []  # 1 is late behind two others
    ladder.ack(3)
    assert ladder.stats.fast_retransmits == ladder.stats.timeout_retransmits == 0
    assert not ladder.stats.in_fast_recovery


def test_a_timed_out_chunk_may_be_fast_retransmitted_when_newer_ones_arrive_pitfall_s4() -> None:
    ladder = Ladder()
    ladder.send(2)
    ladder.peer.fire(Timer.T3_RTX)
    assert ladder.tsns() == [0]
    assert ladder.ack(0) == [1]  # 1 is sent again, and lost again
    ladder.send(6)  # 2 to 7 are sent after that
    fast = [ladder.ack(0, (2, end)) for end in (2, 3, 4)]
    assert 1 in fast[-1]


# --------------------------------------------------------------------------------------- T3-rtx


def test_t3_expiry_leaves_a_consistent_state_pitfall_s7() -> None:
    ladder = Ladder()
    ladder.send(10)
    for end in (2, 3, 4):
        ladder.ack(0, (2, end))
    assert ladder.stats.in_fast_recovery
    ladder.peer.fire(Timer.T3_RTX)
    assert not ladder.stats.in_fast_recovery
    assert ladder.stats.cwnd == PMDCS
    assert ladder.peer.association.sender.congestion.partial_bytes_acked == 0
    assert ladder.tsns() == [1]  # one packet, the earliest, and not because of a stale mark
    assert ladder.stats.flight == PMDCS


@pytest.mark.parametrize("size", [10, 300, 700, 1000, FULL])
def test_after_t3_there_is_one_packet_in_flight_until_it_is_acknowledged(size: int) -> None:
    """RFC 9260 7.2.3: "ensure that no more than one SCTP packet will be in flight"."""
    ladder = Ladder()
    ladder.send(8, size)
    ladder.peer.fire(Timer.T3_RTX)
    packets = ladder.packets()
    assert len(packets) == 1, packets
    assert packets[0][0] == 0
    ladder.peer.association.send(0, b"new", now=ladder.peer.now)
    assert ladder.packets() == []


def test_t3_runs_while_anything_is_unacknowledged_pitfall_s8() -> None:
    ladder = Ladder()
    timers = ladder.peer.association.timers
    ladder.send(3)
    assert Timer.T3_RTX in timers
    ladder.ack(1)
    assert Timer.T3_RTX in timers
    ladder.ack(1, (2, 2))  # acknowledged by a gap block only: not yet
    ladder.ack(2)
    assert Timer.T3_RTX not in timers


def test_t3_runs_for_what_waits_to_be_sent_again_pitfall_s8() -> None:
    ladder = Ladder(Config(initial_cwnd=20))
    ladder.send(20)
    for end in (11, 12, 13):
        ladder.ack(-1, (10, end))  # 0 is sent again, 1 to 9 wait for cwnd
    ladder.peer.take()
    ladder.ack(0, (10, 19))
    while Timer.T3_RTX in ladder.peer.association.timers:
        assert ladder.stats.timeouts < 40
        ladder.peer.fire(Timer.T3_RTX)
        resent = ladder.tsns()
        assert resent
        ladder.ack(max(resent[-1], 9) if resent[-1] >= 9 else resent[-1], (10, 19))
        if resent[-1] == 9:
            ladder.ack(19)
    assert ladder.stats.flight == 0


def test_t3_restarts_when_the_first_outstanding_tsn_is_sent_again_pitfall_s8() -> None:
    ladder = Ladder()
    ladder.send(5)
    before = ladder.peer.association.timers[Timer.T3_RTX]
    ladder.peer.wait(0.1)
    for end in (2, 3, 4):
        ladder.ack(-1, (1, end))
    assert ladder.peer.association.timers[Timer.T3_RTX] > before


def test_t3_does_not_restart_when_something_else_is_sent_pitfall_s8() -> None:
    ladder = Ladder()
    ladder.send(2)
    before = ladder.peer.association.timers[Timer.T3_RTX]
    ladder.peer.wait(0.005)  # later, a tail-loss probe would start it anew (RFC 8985 7.3)
    ladder.send(2)
    ladder.ack(-1, (1, 1))  # the earliest is still outstanding
    assert ladder.peer.association.timers[Timer.T3_RTX] == before


def test_t3_restarts_when_the_earliest_outstanding_is_acknowledged() -> None:
    """RFC 9260 6.3.2, R3."""
    ladder = Ladder()
    ladder.send(3)
    ladder.peer.wait(0.1)
    ladder.ack(0)
    rto = ladder.stats.rto
    assert ladder.peer.association.timers[Timer.T3_RTX] == pytest.approx(ladder.peer.now + rto)


def test_the_timeout_doubles_up_to_its_cap_pitfall_s59() -> None:
    config = Config(rto_initial=0.5, rto_min=0.25, backoff_max=3.0, max_retransmits=100)
    peer = established(config)
    send(peer, 1)
    waits = [peer.fire(Timer.T3_RTX) for _ in range(8)]
    assert waits == pytest.approx([0.25, 0.5, 1.0, 2.0, 3.0, 3.0, 3.0, 3.0])


def test_a_timer_that_fires_early_does_nothing() -> None:
    peer = established()
    peer.association.send(0, b"x", now=peer.now)
    peer.take()
    for timer in Timer:
        peer.association.handle_timer(timer, peer.now)
    assert peer.take() == []
    assert stats(peer).timeouts == 0


def test_an_unreachable_peer_is_given_up_when_the_count_exceeds_its_limit_pitfall_s56() -> None:
    peer = established(Config(max_retransmits=3, heartbeat_interval=0))
    send(peer, 1)
    for _ in range(3):
        peer.fire(Timer.T3_RTX)
        assert peer.association.closed is None
    peer.fire(Timer.T3_RTX)
    assert peer.closed.reason is CloseReason.UNREACHABLE


def test_acknowledged_data_clears_the_count_pitfall_s56() -> None:
    peer = established(Config(max_retransmits=3, heartbeat_interval=0))
    for _ in range(5):
        send(peer, 1)
        for _ in range(3):
            peer.fire(Timer.T3_RTX)
        peer.deliver(peer.sack())
        assert stats(peer).path_errors == 0
    assert peer.association.closed is None


# ---------------------------------------------------------------------------------- round trips


def test_a_sample_is_smoothed_into_the_others() -> None:
    """RFC 9260 6.3.1, C3."""
    ladder = Ladder()
    start = ladder.stats.srtt
    ladder.send(1)
    ladder.peer.wait(0.2)
    ladder.ack(0)
    assert start == pytest.approx(0.0)  # of the handshake, which took no time here
    assert ladder.stats.srtt == pytest.approx(0.2 * 0.125)
    assert ladder.stats.rttvar == pytest.approx(0.2 * 0.25)


def test_a_retransmitted_chunk_gives_no_sample_pitfall_s9() -> None:
    ladder = Ladder()
    ladder.send(1)
    srtt = ladder.stats.srtt
    ladder.peer.fire(Timer.T3_RTX)
    ladder.peer.wait(3)
    ladder.ack(0)
    assert ladder.stats.srtt == srtt


def test_one_sample_is_taken_in_a_round_trip_pitfall_s9() -> None:
    ladder = Ladder()
    ladder.send(1)
    ladder.peer.wait(0.1)
    ladder.send(1)  # while the first is under way
    ladder.peer.wait(0.1)
    ladder.ack(0)
    srtt = ladder.stats.srtt
    assert srtt == pytest.approx(0.2 * 0.125)
    ladder.ack(1)
    assert ladder.stats.srtt == srtt


def test_no_sample_if_something_older_was_sent_again_meanwhile_pitfall_s9() -> None:
    """RFC 9260 6.3.1, C5: "if no DATA chunk with TSN less than or equal to r was retransmitted".

    The acknowledgement of the younger chunk was held up by the loss of the older one's.
    """
    ladder = Ladder()
    ladder.send(1)
    ladder.peer.wait(0.01)
    ladder.ack(0)
    ladder.send(1, 100)  # 1 measures
    ladder.ack(1)
    srtt = ladder.stats.srtt
    ladder.send(1)  # 2 measures nothing: it is lost, and sent again …
    ladder.send(1)
    ladder.peer.fire(Timer.T3_RTX)
    ladder.peer.wait(2)
    ladder.ack(3)  # … and the SACK that reports 3 comes late because of it
    assert ladder.stats.srtt == srtt


def test_a_chunk_younger_than_a_retransmission_still_measures_pitfall_s9() -> None:
    ladder = Ladder()
    ladder.send(1)
    ladder.peer.fire(Timer.T3_RTX)
    ladder.ack(0)
    srtt = ladder.stats.srtt
    ladder.send(1)
    ladder.peer.wait(0.1)
    ladder.ack(1)
    assert ladder.stats.srtt != srtt


def test_loss_of_acknowledgements_does_not_inflate_the_timeout_pitfall_s9() -> None:
    """What waits for a timeout measures the timeout, and would make the next one longer."""
    network = Network(Conditions(delay=0.02, loss=0.3), seed=11)
    pair = Pair(Config(max_retransmits=200, max_init_retransmits=50), network=network)
    pair.connect()
    for _ in range(400):
        pair.a.send(0, bytes(900), now=pair.now)
        pair.b.send(0, bytes(900), now=pair.now)
    pair.run_until(lambda: pair.a.sender.is_drained and pair.b.sender.is_drained, 2000)
    for side in (pair.a, pair.b):
        srtt = side.statistics().srtt
        assert srtt is not None
        assert srtt < 0.4  # a round trip takes 0.04 s, and a SACK may be held for 0.2 s


# ---------------------------------------------------------------------------- SACKs as they come


def test_an_older_sack_is_dropped_pitfall_s10() -> None:
    ladder = Ladder()
    ladder.send(4)
    ladder.ack(2)
    before = ladder.stats
    ladder.ack(1, a_rwnd=5)
    after = ladder.stats
    assert after.drops[Drop.OLD_SACK] == 1
    assert (after.peer_window, after.flight) == (before.peer_window, before.flight)


def test_a_sack_with_the_same_cumulative_tsn_counts_pitfall_s10() -> None:
    ladder = Ladder()
    ladder.send(4)
    ladder.ack(1)
    ladder.ack(1, (3, 3), a_rwnd=77_000)
    assert ladder.stats.flight == PMDCS
    assert ladder.stats.peer_window == 77_000 - FULL


@pytest.mark.parametrize(
    ("cumulative", "blocks"),
    [
        (1, [(3, 2)]),  # inverted
        (1, [(0, 1)]),  # below the first possible
        (1, [(2, 9)]),  # beyond what was sent
        (4, []),
        (0x7000_0000, []),
        (1, [(2, 2), (65_535, 65_535)]),
        (1, [(2, 2)] * 200 + [(60_000, 60_001)]),
    ],
)
def test_a_sack_for_what_was_never_sent_changes_nothing_pitfall_s11(
    cumulative: int, blocks: list[tuple[int, int]]
) -> None:
    ladder = Ladder()
    ladder.send(4)
    ladder.ack(0)
    before = (ladder.stats.flight, ladder.stats.peer_window, ladder.stats.cwnd)
    ladder.peer.deliver(sack(ladder.first + cumulative, a_rwnd=3, gaps=blocks))
    assert ladder.stats.drops[Drop.BAD_SACK] == 1
    assert (ladder.stats.flight, ladder.stats.peer_window, ladder.stats.cwnd) == before
    ladder.ack(3)
    assert ladder.stats.flight == 0


@pytest.mark.parametrize("order", ["overlapping", "unsorted", "repeated"])
def test_odd_but_true_gap_blocks_are_understood_pitfall_s11(order: str) -> None:
    ladder = Ladder()
    ladder.send(8)
    blocks = {
        "overlapping": [(2, 4), (3, 5)],
        "unsorted": [(4, 5), (2, 3)],
        "repeated": [(2, 5), (2, 5)],
    }[order]
    ladder.ack(0, *blocks)
    assert ladder.stats.flight == 3 * PMDCS  # 1, 6, 7
    ladder.ack(7)
    assert ladder.stats.flight == 0


def test_a_sack_whose_counts_do_not_fit_is_dropped_pitfall_s11() -> None:
    ladder = Ladder()
    ladder.send(2)
    value = struct.pack(">IIHH", ladder.first, 1000, 65_535, 65_535)
    ladder.peer.deliver(chunk(3, value))
    assert ladder.stats.flight == 2 * PMDCS
    assert ladder.stats.drops[Drop.MALFORMED] == 1


def test_reneging_is_one_miss_indication_and_t3_runs() -> None:
    """RFC 9260 6.2.1, D iii, and 6.3.2, R4."""
    ladder = Ladder()
    ladder.send(6)
    ladder.ack(0, (2, 5))
    assert ladder.stats.flight == PMDCS
    ladder.ack(0)  # the receiver has dropped 2 to 5
    assert ladder.stats.flight == 5 * PMDCS
    assert Timer.T3_RTX in ladder.peer.association.timers
    ladder.peer.fire(Timer.T3_RTX)
    resent = ladder.tsns()
    for _ in range(20):
        if not resent:
            break
        resent = ladder.ack(resent[-1])
    ladder.peer.wait(0.01)
    assert ladder.stats.flight == 0


# ----------------------------------------------------------------------------------------- cwnd


def test_slow_start_grows_by_what_was_acknowledged() -> None:
    ladder = Ladder(Config(initial_cwnd=4))
    ladder.send(20)
    ladder.ack(1)
    assert ladder.stats.cwnd == 6 * PMDCS


def test_cwnd_does_not_grow_while_it_is_not_used_pitfall_s14() -> None:
    ladder = Ladder()
    cwnd = ladder.stats.cwnd
    for number in range(20):
        ladder.send(1)
        ladder.ack(number)
    assert ladder.stats.cwnd == cwnd


def test_ack_splitting_gains_nothing() -> None:
    """RFC 9260 7.2.1: at most the bytes acknowledged."""
    ladder = Ladder(Config(initial_cwnd=4))
    ladder.send(40, 100)
    cwnd = ladder.stats.cwnd
    for number in range(20):
        ladder.ack(number)
    assert ladder.stats.cwnd <= cwnd + 20 * 116


def test_congestion_avoidance_adds_one_packet_per_round_trip() -> None:
    ladder = Ladder(Config(initial_cwnd=12))
    next_tsn = len(ladder.send(12))
    for end in (2, 3, 4):
        next_tsn += len(set(ladder.ack(0, (2, end))) - {1})
    cwnd = ladder.stats.cwnd  # 6 packets: ssthresh
    assert cwnd == ladder.stats.ssthresh
    ladder.peer.association.send(0, bytes(200 * FULL), now=ladder.peer.now)
    acked = 11
    highest = max([acked, *ladder.ack(acked)])
    grown = [ladder.stats.cwnd]
    for _ in range(5):  # five round trips
        ladder.peer.wait(0.05)
        while acked < highest:
            acked += 1
            latest = ladder.ack(acked)
            if acked == highest:
                break
        highest = max([highest, *latest])
        grown.append(ladder.stats.cwnd)
    steps = [b - a for a, b in itertools.pairwise(grown)]
    assert all(step in (0, PMDCS) for step in steps), steps
    assert sum(steps) > 0


def test_cwnd_decays_once_per_rto_while_idle_pitfall_s14() -> None:
    ladder = Ladder(Config(initial_cwnd=64, heartbeat_interval=0))
    cwnd = ladder.stats.cwnd
    ladder.send(1)
    ladder.ack(0)
    rto = ladder.stats.rto
    ladder.peer.wait(2.5 * rto)
    ladder.send(1)
    assert ladder.stats.cwnd == cwnd // 4
    assert ladder.stats.ssthresh == cwnd  # "Before the first cwnd adjustment" (7.2.1)
    ladder.ack(1)
    ladder.peer.wait(1000)
    ladder.send(1)
    assert ladder.stats.cwnd == 4 * PMDCS


def test_cwnd_decays_also_where_a_large_message_stops_in_its_middle_pitfall_s14() -> None:
    ladder = Ladder(Config(initial_cwnd=64, heartbeat_interval=0), a_rwnd=3 * FULL)
    cwnd = ladder.stats.cwnd
    ladder.send(1, 20 * FULL)
    ladder.ack(2, a_rwnd=3 * FULL)
    ladder.ack(5, a_rwnd=0)
    ladder.peer.now += 2.5 * ladder.stats.rto  # nobody looks at the timers
    ladder.ack(5, a_rwnd=3 * FULL)
    assert ladder.stats.cwnd < cwnd


def test_cwnd_decays_also_while_we_are_asked_again_and_again_pitfall_s14() -> None:
    """The window is closed, and every packet that comes makes us look whether we may send."""
    ladder = Ladder(Config(initial_cwnd=64, heartbeat_interval=0), a_rwnd=1500)
    peer = ladder.peer
    cwnd = ladder.stats.cwnd
    ladder.send(1)
    ladder.ack(0, a_rwnd=0)
    ladder.send(1)
    rto = ladder.stats.rto
    for _ in range(25):
        peer.now += rto / 10
        peer.deliver(sack(ladder.first, a_rwnd=0))
    ladder.ack(0)
    assert cwnd // 8 <= ladder.stats.cwnd <= cwnd // 4


def test_abandoned_chunks_do_not_open_the_window_pitfall_s12() -> None:
    """RFC 3758 3.5, A2: no credit for what was abandoned."""
    ladder = Ladder(Config(initial_cwnd=4))
    for _ in range(4):
        ladder.peer.association.send(0, bytes(FULL), max_retransmits=0, now=ladder.peer.now)
    ladder.peer.take()
    ladder.peer.fire(Timer.T3_RTX)
    cwnd = ladder.stats.cwnd
    assert ladder.stats.flight == 0
    ladder.ack(3)  # the acknowledgement comes late
    assert ladder.stats.cwnd == cwnd
    assert ladder.stats.flight == 0


def test_ordered_messages_in_flight_stay_comparable_by_their_ssn_pitfall_s1() -> None:
    """RFC 9260 6.1 allows 65,535; but SSNs that lie more than 32,767 apart look old (RFC 1982)."""
    config = Config(initial_cwnd=1000, max_burst=1000)
    for interleaving, streams in ((False, 1), (False, 2), (True, 1)):
        peer = established(config, a_rwnd=1 << 24, params=extensions(interleaving=interleaving))
        for number in range(70_000):
            peer.association.send(number % streams, b"x", now=peer.now)
        for _ in range(20):
            peer.drain()
            peer.association.sender.allow_burst(0)
        found = len(peer.received)
        if streams == 1 and not interleaving:
            assert found == 32_767
        else:
            assert 32_767 < found <= 65_535


def test_packets_come_in_the_same_order_however_they_are_polled_pitfall_s64() -> None:
    def play(limit: int) -> list[bytes]:
        """So many packets are taken at a time."""
        peer = FakePeer(seed=9)
        peer.connect()
        packets: list[bytes] = []

        def poll() -> None:
            while got := peer.association.poll_transmit(peer.now, limit):
                assert len(got) <= limit
                packets.extend(got)

        for number in range(40):
            size = (10, 400, 3000)[number % 3]
            peer.association.send(number % 4, bytes(size), now=peer.now)
        poll()
        peer.association.handle_datagrams([peer.packet(peer.data())], peer.now)
        peer.association.handle_timer(Timer.T3_RTX, peer.now + 5)
        peer.now += 5
        poll()
        return packets

    whole = play(64)
    assert len(whole) > 10
    for limit in (1, 2, 7):
        assert play(limit) == whole


# -------------------------------------------------------------------- what is sent again, and when


def test_what_was_lost_goes_before_what_is_new() -> None:
    """RFC 9260 6.1, C."""
    ladder = Ladder()
    ladder.send(4)
    ladder.peer.fire(Timer.T3_RTX)
    ladder.peer.association.send(0, bytes(FULL), now=ladder.peer.now)
    order = ladder.tsns()
    while ladder.stats.flight:
        order += ladder.ack(order[-1])
    assert order == [0, 1, 2, 3, 4]


def test_a_retransmission_has_the_same_content_and_boundaries() -> None:
    peer = established()
    content = bytes(range(256)) * 20
    peer.association.send(3, content, ppid=9, now=peer.now)
    first = {c.tsn: c for c in sent(peer)}
    again: dict[int, Data] = {}
    for _ in range(20):
        if len(again) == len(first):
            break
        peer.fire(Timer.T3_RTX)
        for c in sent(peer):
            again[c.tsn] = c
        done = max(again)
        peer.deliver(sack(done))
    for tsn, one in again.items():
        other = first[tsn]
        assert (one.payload, one.stream_id, one.sequence, one.ppid) == (
            other.payload,
            other.stream_id,
            other.sequence,
            other.ppid,
        )
        assert one.flags & ~IMMEDIATE == other.flags & ~IMMEDIATE


def test_a_retransmission_that_fills_the_window_asks_for_a_sack_now_pitfall_s16() -> None:
    """After a timeout one packet is in flight: were its SACK held back, each would cost 200 ms."""
    ladder = Ladder()
    ladder.send(6)
    ladder.peer.fire(Timer.T3_RTX)
    [resent] = sent(ladder.peer)
    assert resent.flags & IMMEDIATE


# ------------------------------------------------------------------------------------ SHUTDOWN


def test_the_cumulative_tsn_of_shutdown_acknowledges_data() -> None:
    ladder = Ladder()
    ladder.send(3)
    ladder.peer.deliver(shutdown(ladder.first + 1))
    assert ladder.stats.flight == PMDCS
    assert ladder.peer.state is State.SHUTDOWN_RECEIVED
    ladder.peer.deliver(shutdown(ladder.first + 2))
    ladder.peer.expect("SHUTDOWN_ACK")


def test_a_shutdown_for_what_was_never_sent_is_dropped_pitfall_s11() -> None:
    ladder = Ladder()
    ladder.send(3)
    ladder.peer.deliver(shutdown(ladder.first + 3))
    assert ladder.peer.state is State.ESTABLISHED
    assert ladder.stats.flight == 3 * PMDCS


def test_a_shutdown_ack_always_has_a_checksum_pitfall_s61() -> None:
    """The peer may have forgotten the association, and that it accepts zero (RFC 9653)."""
    config = Config(zero_checksum=True)
    peer = established(config, params=extensions(zero_checksum=True))
    peer.association.send(0, b"x", now=peer.now)
    assert peer.expect("DATA").checksum_is_zero
    peer.deliver(shutdown(peer.cumulative))
    assert not peer.expect("SHUTDOWN_ACK").checksum_is_zero
    peer.fire(Timer.T2_SHUTDOWN)
    assert not peer.expect("SHUTDOWN_ACK").checksum_is_zero


def test_what_waits_to_be_sent_again_is_sent_before_shutdown_pitfall_s57() -> None:
    ladder = Ladder()
    ladder.send(3)
    ladder.peer.fire(Timer.T3_RTX)
    ladder.peer.association.shutdown(ladder.peer.now)
    assert ladder.tsns() == [0]
    assert ladder.ack(0) == [1, 2]
    ladder.peer.deliver(sack(ladder.first + 2))
    assert ladder.peer.take()[-1].names == "SHUTDOWN"


def test_data_is_not_taken_while_the_handshake_runs() -> None:
    peer = FakePeer()
    peer.association.connect(peer.now)
    peer.expect("INIT")
    peer.deliver(data(peer.tsn), tag=peer.their_tag)
    peer.expect_silence()
    assert not any(isinstance(event, Closed) for event in peer.take_events())
