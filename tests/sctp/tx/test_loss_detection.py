"""What is lost, by the time at which it was sent (RFC 8985; pitfall S62)."""

from __future__ import annotations

import pytest

from rtcsctp.sctp.tx.rack import Rack
from rtcsctp.sctp.wire.chunks import IMMEDIATE

from .builders import PMDCS, Wire
from .controllers import Witness

FULL = PMDCS - 16
RTT = 0.1


class Path(Wire):
    """A wire on which a round trip of 100 ms was measured, and a witness for a controller."""

    def __init__(self) -> None:
        super().__init__(initial_cwnd=100, max_burst=100)
        self.witness = Witness(self.sender.congestion)
        self.sender.congestion = self.witness
        [self.first] = self.full(1)
        self.pass_time(RTT)
        self.sack(self.first)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def full(self, count: int, **limits: int) -> list[int]:
        """Send so many full packets at once; their TSNs."""
        for _ in range(count):
            self.send(b"x" * FULL, **limits)  # type: ignore[arg-type]
        return self.burst()

    def burst(self) -> list[int]:
        """The TSNs of all that leaves now."""
        tsns = self.tsns()
        self.sender.end_burst(self.now)
        return tsns

    def deadline(self) -> float:
        """When losses are to be looked for again."""
        at = self.sender.loss_deadline()
        assert at is not None
        return at

    def look(self) -> bool:
        """That time comes."""
        self.now = self.deadline()
        return self.sender.check_losses(self.now)


# ------------------------------------------------------------------------------------ in time


def test_what_was_sent_before_what_arrived_is_lost_after_the_reordering_window() -> None:
    """6.2, step 5: one SACK is enough, and a quarter of a round trip."""
    path = Path()
    lost, *others = path.full(3)
    path.pass_time(RTT)
    path.sack(lost - 1, others)
    assert path.burst() == []
    assert path.deadline() == pytest.approx(path.now + RTT / 4)
    path.look()
    assert path.burst() == [lost]
    assert [note.begins for note in path.witness.losses] == [True]


def test_what_comes_within_the_reordering_window_is_no_loss() -> None:
    path = Path()
    late, *others = path.full(3)
    path.pass_time(RTT)
    path.sack(late - 1, others)
    path.pass_time(RTT / 5)
    path.sack(others[-1])
    assert path.sender.loss_deadline() is None
    assert path.witness.losses == []


def test_duplicates_are_not_counted_once_reordering_was_seen_pitfall_s62() -> None:
    path = Path()
    late, *others = path.full(2)
    path.pass_time(RTT)
    path.sack(late - 1, others)
    path.sack(others[-1])  # late, and sent once: reordering
    lost, *others = path.full(6)
    path.pass_time(RTT)
    for end in range(1, 6):
        path.sack(lost - 1, others[:end])
    assert path.witness.losses == []
    path.look()
    assert path.burst() == [lost]


def test_three_misses_are_enough_while_no_reordering_was_seen() -> None:
    """RFC 9260 7.2.4, the DupThresh of RFC 8985 6.2, step 4."""
    path = Path()
    lost, *others = path.full(4)
    path.pass_time(RTT)
    for end in (1, 2, 3):
        path.sack(lost - 1, others[:end])
    assert path.burst() == [lost]


def test_lost_retransmission_is_sent_again_without_t3_pitfall_s62() -> None:
    path = Path()
    lost, *others = path.full(4)
    path.pass_time(RTT)
    for end in (1, 2, 3):
        path.sack(lost - 1, others[:end])
    assert path.burst() == [lost]  # and this one is lost, too
    path.pass_time(0.01)
    more = path.full(2)
    path.pass_time(RTT)
    path.sack(lost - 1, [*others, *more])  # what was sent behind it has arrived
    assert path.burst() == [lost]
    assert [note.begins for note in path.witness.losses] == [True, False]
    assert path.sender.timeout_retransmits == 0


def test_chunk_of_the_same_burst_is_lost_only_if_it_lies_before() -> None:
    """6.2: of two that were sent at the same time, the lower TSN was sent first."""
    path = Path()
    tsns = path.full(5)
    path.pass_time(RTT)
    path.sack(tsns[0] - 1, [tsns[2]])
    path.look()
    assert path.burst() == tsns[:2]


def test_what_a_cut_sack_does_not_speak_of_is_not_lost() -> None:
    """A packet holds so many gap blocks; dcSCTP reports twenty."""
    path = Path()
    tsns = path.full(60)
    holes, behind = tsns[:40:2], tsns[43:]
    path.pass_time(RTT)
    path.sack(tsns[0] - 1, tsns[1:40:2])  # every chunk behind these has arrived, too
    path.look()
    assert path.burst() == holes
    path.pass_time(RTT)
    path.sack(tsns[2] - 1, tsns[3:42:2])  # the first is there now, and was sent after all others
    again = path.burst()
    assert not set(again) & set(behind)
    in_flight = [record.tsn for record in path.sender.outstanding.in_flight()]
    assert in_flight == [*holes[1:], *again]  # or nothing might be left to send
    # A SACK with fewer blocks is whole: what it does not report is missing.
    path.sack(tsns[4] - 1, [*tsns[5:40:2], *behind[1:]])
    assert behind[0] in path.burst()


def test_what_cut_sacks_do_not_come_to_leaves_flight_with_each_that_comes() -> None:
    """Nothing that they speak of was sent later, so time alone must tell, or all would stand still
    until the first hole is filled. Only where what leaves is paced.
    """
    path = Path()
    path.witness.pacing_rate = 1e9
    tsns = path.full(44)
    path.pass_time(RTT / 2)
    later = path.full(10)
    path.pass_time(RTT / 2)
    told = tsns[1:40:2]
    path.sack(tsns[0] - 1, told)
    path.pass_time(RTT / 4)
    path.sack(tsns[0] - 1, told)  # what is sent again is on its way; more has arrived
    path.pass_time(RTT / 2 + 0.01)
    untold = [record.tsn for record in path.sender.outstanding.untold()]
    assert untold == tsns[40:]
    assert path.sender.loss_deadline() is None  # if no SACK comes, T3-rtx is there
    path.sack(tsns[0] - 1, told)
    untold = [record.tsn for record in path.sender.outstanding.untold()]
    assert untold == [*tsns[40:], *later]


def test_what_a_cut_sack_left_out_measures_no_rate_and_its_losses_come_late() -> None:
    """The heap that shows when a hole is filled has arrived long before."""
    path = Path()
    tsns = path.full(60)
    path.pass_time(RTT)
    path.sack(tsns[0] - 1, tsns[1:40:2])
    assert not path.witness.acks[-1].heaped
    path.look()
    again = path.burst()
    path.pass_time(RTT)
    path.sack(tsns[2] - 1, tsns[3:42:2])  # the second is new, and was sent two round trips ago
    sample = path.witness.acks[-1]
    assert (sample.heaped, sample.interval) == (True, 0.0)
    path.sack(tsns[42] - 1, [*tsns[43:50], *tsns[51:]])
    assert path.burst() == [tsns[42], tsns[50]]
    assert {note.late for note in path.witness.losses if note.late} == {PMDCS}
    path.pass_time(RTT)
    more = path.full(2)
    path.pass_time(RTT)
    path.sack(more[-1])
    sample = path.witness.acks[-1]
    assert again
    assert not sample.heaped
    assert sample.interval > 0
    assert sample.rtt == pytest.approx(RTT)


def test_what_has_just_arrived_is_measured_though_sacks_may_be_cut() -> None:
    """Twenty gaps, and no more to report: what comes next was sent a round trip ago."""
    path = Path()
    tsns = path.full(41)
    path.pass_time(RTT / 10)
    fresh = path.full(5)
    path.pass_time(RTT * 9 / 10)
    path.sack(tsns[0] - 1, tsns[1:40:2])
    path.pass_time(RTT / 10)
    path.sack(tsns[0] - 1, [*tsns[1:38:2], *tsns[39:], *fresh])
    sample = path.witness.acks[-1]
    assert not sample.heaped
    assert sample.rtt == pytest.approx(RTT)


def test_timeout_and_acknowledgements_hold_for_what_a_cut_sack_set_aside() -> None:
    path = Path()
    tsns = path.full(60)
    path.pass_time(RTT)
    path.sack(tsns[0] - 1, tsns[1:40:2])
    path.look()
    path.burst()
    path.pass_time(RTT)
    path.sack(tsns[2] - 1, tsns[3:42:2])
    info = path.sack(tsns[49])
    assert info is not None
    assert info.newly_acked > 8 * PMDCS
    path.time_out()
    assert path.sender.outstanding.lost_payload == 10 * FULL
    path.sack(tsns[-1])
    assert path.sender.is_drained


def test_number_of_retransmissions_holds_for_losses_found_by_time() -> None:
    """RFC 7496 3.1; pitfall S26."""
    path = Path()
    lost, *others = path.full(1, max_retransmits=0) + path.full(1)
    path.pass_time(RTT)
    path.sack(lost - 1, others)
    path.look()
    assert path.burst() == []
    assert path.sender.abandoned_messages == [(0, FULL, True)]
    assert path.forward_tsn().new_cumulative_tsn == lost


def test_reordering_window_grows_with_reports_of_duplicates_and_is_bounded_by_srtt() -> None:
    """6.2, step 4; pitfall S62: once per round trip, back after 16 recoveries."""
    path = Path()
    rack = Rack()
    path.full(1)
    path.pass_time(RTT)
    info = path.sack(path.first + 1)
    assert info is not None
    rack.delivered(info, path.now)
    outstanding = path.sender.outstanding
    assert rack.window(1.0, recovering=False) == pytest.approx(RTT / 4)
    rack.duplicates(3, outstanding)
    rack.duplicates(1, outstanding)  # the same round trip
    assert rack.window(1.0, recovering=False) == pytest.approx(RTT / 2)
    for _ in range(20):
        path.full(1)
        path.sack(outstanding.next_tsn - 1)
        rack.duplicates(1, outstanding)
    assert rack.window(0.15, recovering=False) == 0.15
    for _ in range(15):
        rack.recovered()
    assert rack.window(0.15, recovering=False) == 0.15
    rack.recovered()
    assert rack.window(0.15, recovering=False) == pytest.approx(RTT / 4)


# ----------------------------------------------------------------------------- nothing comes


def test_tail_loss_is_repaired_by_a_probe_and_answered_pitfall_s62() -> None:
    """Section 7: two round trips; the last chunk again, and it asks for a SACK at once."""
    path = Path()
    tsns = path.full(3)
    path.pass_time(RTT)
    path.sack(tsns[1])
    assert path.deadline() == pytest.approx(path.now + 2 * RTT + 0.2)  # one packet in flight
    assert path.look()
    [chunk] = path.chunks()
    path.sender.end_burst(path.now)
    assert (chunk.tsn, chunk.flags & IMMEDIATE) == (tsns[2], IMMEDIATE)
    assert path.sender.loss_deadline() is None  # one probe at a time
    path.pass_time(RTT)
    path.sack(tsns[2])
    assert [note.begins for note in path.witness.losses] == [True]  # 7.4.2
    assert path.sender.is_drained


def test_probe_that_was_not_needed_costs_nothing() -> None:
    """7.4.2, case 1: the original had arrived, the peer reports a duplicate."""
    path = Path()
    tsns = path.full(3)
    assert path.look()
    assert path.burst() == [tsns[2]]
    path.pass_time(RTT)
    path.sender.handle_sack(tsns[2], 1 << 20, (), path.now, 1)
    assert path.witness.losses == []


def test_probe_shows_what_was_lost_before_it() -> None:
    """7.4.1: all three are lost; the probe brings the third, and by that the first two."""
    path = Path()
    tsns = path.full(3)
    assert path.deadline() == pytest.approx(path.now + 2 * RTT)
    assert path.look()
    assert path.burst() == [tsns[2]]
    path.pass_time(RTT)
    path.sack(tsns[0] - 1, [tsns[2]])
    assert path.burst() == tsns[:2]
    path.pass_time(RTT)
    path.sack(tsns[2])  # covers the probe, which repaired a loss; but that is answered for
    assert [note.begins for note in path.witness.losses] == [True]
    assert path.sender.fast_recoveries == 1


def test_answer_to_a_repaired_loss_says_what_was_in_flight_then() -> None:
    path = Path()
    tsns = path.full(3)
    path.pass_time(RTT)
    path.sack(tsns[1])
    path.look()
    path.burst()
    path.pass_time(RTT)
    path.sack(tsns[2])
    [note] = path.witness.losses
    assert (note.size, note.sent_flight) == (PMDCS, 3 * PMDCS)
    assert (note.prior_lost, note.lost) == (0, PMDCS)


def test_probe_is_something_new_if_there_is_anything() -> None:
    """7.3: beyond cwnd, by one chunk."""
    path = Path()
    path.sender.congestion.cwnd = 2 * PMDCS
    tsns = path.full(5)
    assert len(tsns) == 2
    assert path.look()
    assert path.burst() == [tsns[-1] + 1]
    assert path.burst() == []


def test_no_probe_while_no_round_trip_is_known() -> None:
    wire = Wire()
    wire.send()
    wire.tsns()
    wire.sender.end_burst(wire.now)
    assert wire.sender.loss_deadline() is None


def test_no_probe_breaks_the_number_of_retransmissions() -> None:
    """Pitfall S26."""
    path = Path()
    path.full(2, max_retransmits=0)
    assert not path.look()
    assert path.burst() == []
    assert path.sender.loss_deadline() is None  # T3-rtx will do it


# --------------------------------------------------------------------------- for nothing


def test_recovery_for_nothing_is_told_when_all_is_reported_as_duplicate() -> None:
    path = Path()
    tsns = path.full(6)
    path.pass_time(RTT)
    for end in (3, 4, 5):
        path.sack(tsns[0] - 1, tsns[2:end])
    assert path.burst() == tsns[:2]
    path.pass_time(RTT)
    path.sack(tsns[-1])
    path.sender.handle_sack(tsns[-1], 1 << 20, (), path.now, 1)
    assert path.witness.spurious_at == []
    path.sender.handle_sack(tsns[-1], 1 << 20, (), path.now, 1)
    assert path.witness.spurious_at == [path.now]


def test_recovery_for_nothing_is_told_when_the_answer_comes_too_early() -> None:
    """RFC 4015's idea: no packet makes the round trip in a tenth of it."""
    path = Path()
    late, *others = path.full(6)
    path.pass_time(RTT)
    for end in (1, 2, 3):
        path.sack(late - 1, others[:end])
    assert path.burst() == [late]
    path.pass_time(RTT / 10)
    path.sack(others[-1])
    assert path.witness.spurious_at == [path.now]


# ------------------------------------------------------------------------------------ samples


def test_delivery_rate_is_that_of_the_path_and_not_of_the_burst() -> None:
    """draft-ietf-ccwg-bbr 4.5.2: the longer of send and acknowledgement intervals."""
    path = Path()
    first = path.full(10)
    path.pass_time(0.02)
    second = path.full(10)
    path.pass_time(RTT - 0.02)
    path.sack(first[-1])
    sample = path.witness.acks[-1]
    assert sample.interval == pytest.approx(RTT)
    assert sample.delivered - sample.prior_delivered == 10 * PMDCS
    assert sample.rtt == pytest.approx(RTT)
    path.pass_time(0.02)
    path.sack(second[-1])
    sample = path.witness.acks[-1]
    assert sample.delivered - sample.prior_delivered == 20 * PMDCS
    assert sample.interval == pytest.approx(RTT + 0.02)
    assert sample.sent_flight == 20 * PMDCS


def test_samples_are_marked_while_there_is_not_enough_to_send() -> None:
    path = Path()
    path.full(2)
    tsns = path.full(2)  # nothing waited behind the first two, and cwnd was not full
    path.pass_time(RTT)
    path.sack(tsns[-1])
    assert path.witness.acks[-1].app_limited
    path.sender.congestion.cwnd = 4 * PMDCS
    path.full(200)
    path.pass_time(RTT)
    path.sack(path.sender.outstanding.next_tsn - 1)
    path.burst()
    path.pass_time(RTT)
    path.sack(path.sender.outstanding.next_tsn - 1)
    assert not path.witness.acks[-1].app_limited


def test_round_trip_of_what_was_sent_again_is_not_told() -> None:
    path = Path()
    lost, *others = path.full(4)
    path.pass_time(RTT)
    for end in (1, 2, 3):
        path.sack(lost - 1, others[:end])
    path.burst()
    path.pass_time(RTT)
    path.sack(others[-1])
    assert path.witness.acks[-1].rtt is None


# ------------------------------------------------------------------------------------- pacing


def test_a_large_window_grows_slowly_whatever_the_controller_says() -> None:
    """A SACK has room for some 290 gaps, and slow start would lose many more."""
    path = Path()
    sender = path.sender
    assert sender.most_flight == 32_768 * PMDCS
    sender.most_flight = 64 * PMDCS
    path.witness.cwnd = 1000 * PMDCS
    tsns = path.full(200)
    assert len(tsns) == 64
    path.pass_time(RTT)
    path.sack(tsns[-1])
    tsns = path.burst()
    assert len(tsns) == 65  # a 64th more
    path.pass_time(RTT)
    path.sack(tsns[31])
    path.sack(tsns[-1])
    more = path.burst()
    assert len(more) == 66  # half a packet more: what the second half acknowledged did not fill it
    sender.mtu_changed(PMDCS + 12 + 400)
    assert sender.most_flight == 65 * (PMDCS + 400)
    sender.path_changed()
    assert sender.most_flight == 32_768 * (PMDCS + 400)


def test_packets_leave_at_the_rate_that_the_controller_names() -> None:
    path = Path()
    path.witness.pacing_rate = 1_000_000.0
    sent = len(path.full(80))
    assert sent <= 17
    start = path.now
    while sent < 60:
        at = path.sender.paced_until
        assert at is not None
        assert at > path.now
        path.now = at
        sent += len(path.burst())
    assert (sent - 17) * PMDCS / (path.now - start) <= 1.05e6
    assert (sent + 1) * PMDCS / (path.now - start) >= 0.95e6


def test_short_round_trips_are_not_paced() -> None:
    """Timers of a millisecond do not divide them."""
    path = Path()
    path.sender.rto.path_changed()
    path.sender.rto.measured(0.001)
    path.witness.pacing_rate = 1000.0
    assert len(path.full(80)) == 80


# ------------------------------------------------------------------------------ size of packets


def test_packets_have_another_size_and_a_larger_chunk_goes_alone() -> None:
    """RFC 9260 6.9: it has its TSN, so it cannot be cut again."""
    path = Path()
    path.sender.mtu_changed(1400)
    path.send(b"x" * 1372)
    [large] = path.packet(1388)
    path.sender.end_burst(path.now)
    assert len(large.payload) == 1372
    path.sender.mtu_changed(600)
    path.now += path.sender.rto.value
    path.sender.timed_out(path.now)
    assert path.sender.fill(588 - 20, path.now) == []  # not behind a SACK
    [chunk] = path.sender.fill(588, path.now)
    assert len(chunk) == 1388
    path.send(b"z" * 3000)
    path.sack(large.tsn)
    assert [len(chunk.payload) for chunk in path.packet(588)] == [572]


def test_many_small_messages_are_sent_as_one_by_one() -> None:
    """The short way for many must not differ: numbers, bundling, the I bit, what is in flight."""
    together, apart = Path(), Path()
    sizes = [1, 2, 3, 4, 99, 100, 500, 7] * 12
    for number, size in enumerate(sizes):
        together.send(bytes(size), unordered=number % 3 == 0)
    for size in sizes:
        apart.send(bytes(size))
    found = together.chunks()
    assert [len(chunk.payload) for chunk in found] == sizes
    assert [bool(chunk.flags & IMMEDIATE) for chunk in found] == [False] * (len(sizes) - 1) + [True]
    ordered = [chunk.sequence for chunk in found if chunk.flags & 4 == 0]
    assert ordered == list(range(1, len(ordered) + 1))
    assert [c.payload for c in apart.chunks()] == [c.payload for c in found]
    assert together.sender.outstanding.flight == apart.sender.outstanding.flight
    assert together.sender.queue.buffered == 0
    together.pass_time(RTT)
    together.sack(found[-1].tsn)
    assert together.sender.is_drained


# ----------------------------------------------------------- what an outage must not teach


def test_sack_after_an_outage_says_nothing_of_the_round_trip() -> None:
    """RFC 9260 6.3.1, C5: the SACKs of what had arrived were lost, and it waited for the repair."""
    path = Path()
    rto = path.sender.rto.value
    tsns = path.full(10)
    for _ in range(4):
        path.pass_time(path.sender.rto.value)
        path.sender.timed_out(path.now)
        path.burst()
    path.pass_time(RTT)
    path.sack(tsns[-1])
    assert path.sender.rto.value == pytest.approx(rto)


def test_one_long_round_trip_is_forgotten_with_the_next_measurement() -> None:
    path = Path()
    [tsn] = path.full(1)
    path.pass_time(3.0)
    path.sack(tsn)
    assert path.sender.rto.value >= 3.0
    for _ in range(30):
        path.sender.rto.measured(RTT)  # by heartbeats
    assert path.sender.rto.value < 1.0


def test_duplicates_count_again_after_a_probe_that_was_answered() -> None:
    """RFC 8985 6.2, step 4: those of the probe itself say nothing, those of later ones do."""
    path = Path()
    tsns = path.full(2)
    path.look()
    path.burst()
    path.pass_time(RTT)
    path.sack(tsns[-1])
    for count in range(2):  # a round trip each, whose SACK reports a duplicate
        tsns = path.full(2)
        path.pass_time(RTT)
        path.sender.handle_sack(tsns[-1], path.a_rwnd, [], path.now, 1 - count)
    lost, *others = path.full(3)
    path.pass_time(RTT)
    path.sack(lost - 1, others)
    assert path.deadline() == pytest.approx(path.now + 2 * RTT / 4)
