"""What is in flight, against a model that knows every TSN by itself and counts every miss."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rtcsctp.errors import RemoteProtocolError
from rtcsctp.sctp.tx.outstanding import UNCUT, AckInfo, Outstanding
from rtcsctp.sctp.tx.records import Sent, SentState

from .builders import FIRST_TSN, blocks_above, message, record

IN_FLIGHT, LOST, ACKED, ABANDONED, UNTOLD = SentState


def sent(count: int, *, first: int = FIRST_TSN) -> Outstanding:
    """Chunks 1 to `count`, counted from the first TSN, in flight."""
    outstanding = Outstanding(first)
    for _ in range(count):
        record(outstanding)
    return outstanding


def sack(
    outstanding: Outstanding, cumulative: int, *above: int, recovering: bool = False
) -> list[int]:
    """A SACK, with chunks counted from 1; gives those that are missing for the third time."""
    base = FIRST_TSN - 1
    blocks = blocks_above(cumulative, above)
    info = outstanding.handle_sack(base + cumulative, blocks)
    assert info is not None
    found = outstanding.find_missing(info, recovering=recovering)
    for missing in found:
        missing.fast_retransmitted = True
        outstanding.mark_lost(missing)
    return [missing.tsn - base for missing in found]


def snapshot(outstanding: Outstanding) -> object:
    records = [
        (r.tsn, r.state, r.transmissions, r.miss_key, r.fast_retransmitted)
        for r in outstanding.records.values()
    ]
    numbers = (
        outstanding.next_tsn,
        outstanding.cumulative,
        outstanding.advanced_ack_point,
        outstanding.flight,
        outstanding.payload,
        outstanding.lost_payload,
        outstanding.rtt_tsn,
    )
    return records, numbers


# ------------------------------------------------------------------------------------- sacks


def test_cumulative_acknowledgement_frees_what_was_in_flight() -> None:
    outstanding = sent(5)
    info = outstanding.handle_sack(FIRST_TSN + 2, ())
    assert info is not None
    assert info.cumulative_moved
    assert info.newly_acked == 3 * 116
    assert info.highest_new == FIRST_TSN + 2
    assert outstanding.flight == 2 * 116
    assert outstanding.payload == 2 * 100


def test_gap_block_frees_at_once_and_the_cumulative_tsn_not_again() -> None:
    """Pitfall S12."""
    outstanding = sent(5)
    info = outstanding.handle_sack(FIRST_TSN - 1, [(2, 3)])
    assert info is not None
    assert (info.newly_acked, info.highest_new, info.cumulative_moved) == (
        2 * 116,
        FIRST_TSN + 2,
        False,
    )
    again = outstanding.handle_sack(FIRST_TSN - 1, [(2, 3)])
    assert again is not None
    assert (again.newly_acked, again.highest_new) == (0, None)
    info = outstanding.handle_sack(FIRST_TSN + 3, ())
    assert info is not None
    assert info.newly_acked == 2 * 116
    assert outstanding.flight == 116


def test_older_sack_is_dropped_and_one_that_is_equal_is_not() -> None:
    """Pitfall S10."""
    outstanding = sent(5)
    outstanding.handle_sack(FIRST_TSN + 1, [(2, 2)])
    before = snapshot(outstanding)
    assert outstanding.handle_sack(FIRST_TSN, [(3, 4)]) is None
    assert snapshot(outstanding) == before
    info = outstanding.handle_sack(FIRST_TSN + 1, [(2, 3)])
    assert info is not None
    assert info.newly_acked == 116


@pytest.mark.parametrize(
    ("cumulative", "blocks"),
    [
        pytest.param(5, [], id="cumulative TSN never sent"),
        pytest.param(1 << 30, [], id="cumulative TSN far beyond"),
        pytest.param(1, [(3, 2)], id="inverted"),
        pytest.param(1, [(0, 2)], id="offset 0"),
        pytest.param(1, [(2, 4)], id="end beyond what was sent"),
        pytest.param(1, [(65_535, 65_535)], id="start beyond what was sent"),
        pytest.param(1, [(2, 2), (3, 65_535)], id="good one first"),
        pytest.param(4, [(1, 1)], id="nothing is above"),
        pytest.param(1, [(2, 2)] * 65_534 + [(3, 2)], id="65,535 of them, the last one inverted"),
    ],
)
def test_impossible_sack_changes_nothing(cumulative: int, blocks: list[tuple[int, int]]) -> None:
    """Pitfall S11: judged as a whole before anything is changed."""
    outstanding = sent(5)
    outstanding.handle_sack(FIRST_TSN, [(3, 3)])
    before = snapshot(outstanding)
    with pytest.raises(RemoteProtocolError):
        outstanding.handle_sack(FIRST_TSN + cumulative, blocks)
    assert snapshot(outstanding) == before


@pytest.mark.parametrize(
    "blocks",
    [
        [(2, 4)],
        [(2, 2), (3, 3), (4, 4)],
        [(4, 4), (2, 3)],
        [(2, 3), (3, 4)],
        [(2, 4), (3, 3)],
        [(2, 4)] * 65_535,
    ],
)
def test_blocks_in_any_order_and_overlapping_mean_what_they_cover(
    blocks: list[tuple[int, int]],
) -> None:
    """Pitfall S11: in bounded time, and nothing twice."""
    outstanding = sent(5)
    info = outstanding.handle_sack(FIRST_TSN - 1, blocks)
    assert info is not None
    assert info.newly_acked == 3 * 116
    states = [r.state for r in outstanding.records.values()]
    assert states == [IN_FLIGHT, ACKED, ACKED, ACKED, IN_FLIGHT]


def test_shutdown_acknowledges_like_a_sack_and_leaves_blocks_alone() -> None:
    """Pitfall S57: RFC 9260 9.2; a SHUTDOWN says nothing of gaps, so nothing is taken back."""
    outstanding = sent(6)
    outstanding.handle_sack(FIRST_TSN - 1, [(2, 2), (5, 5)])
    info = outstanding.handle_cumulative(FIRST_TSN + 1)
    assert info is not None
    assert info.newly_acked == 116
    assert outstanding.records[FIRST_TSN + 4].state is ACKED
    assert outstanding.handle_cumulative(FIRST_TSN) is None
    with pytest.raises(RemoteProtocolError):
        outstanding.handle_cumulative(FIRST_TSN + 6)


# ------------------------------------------------------------------------------------ misses


def test_third_miss_indication_counts_as_loss() -> None:
    """RFC 9260 7.2.4."""
    outstanding = sent(6)
    assert sack(outstanding, 0, 2) == []
    assert sack(outstanding, 0, 2, 3) == []
    assert sack(outstanding, 0, 2, 3, 4) == [1]
    assert sack(outstanding, 0, 2, 3, 4, 5) == []
    assert sack(outstanding, 0, 2, 3, 4, 5, 6) == []


def test_sack_that_acknowledges_nothing_new_is_no_indication() -> None:
    """Pitfall S2: window updates, repetitions."""
    outstanding = sent(6)
    for _ in range(5):
        assert sack(outstanding, 0, 2) == []


def test_indications_count_below_the_highest_newly_acknowledged_only() -> None:
    """Pitfall S2: TSN 5 is missing in all of these, but what is new lies below it."""
    outstanding = sent(8)
    sack(outstanding, 0, 6)
    assert sack(outstanding, 0, 2, 6) == []
    assert sack(outstanding, 0, 2, 3, 6) == [1]
    assert sack(outstanding, 0, 2, 3, 4, 6) == []
    assert sack(outstanding, 0, 2, 3, 4, 6, 7) == []
    assert sack(outstanding, 0, 2, 3, 4, 6, 7, 8) == [5]


def test_in_fast_recovery_a_moved_cumulative_tsn_counts_for_everything_missing() -> None:
    """Pitfall S3."""
    for recovering, expected in ((True, [5]), (False, [])):
        outstanding = sent(8)
        sack(outstanding, 0, 6, 7)
        sack(outstanding, 0, 6, 7, 8)
        assert sack(outstanding, 1, 6, 7, 8) == []
        assert sack(outstanding, 2, 6, 7, 8, recovering=recovering)[-1:] == expected


def test_chunk_that_waits_to_be_sent_again_is_not_missing_again() -> None:
    """Pitfall S4."""
    outstanding = sent(9)
    first = outstanding.records[FIRST_TSN]
    outstanding.mark_lost(first)
    for highest in range(3, 7):
        assert 1 not in sack(outstanding, 0, *range(2, highest))
    outstanding.resend(first)
    record(outstanding)
    # Chunks 6 to 9 were on their way before it was sent again; they say nothing of it.
    for highest in range(7, 11):
        assert 1 not in sack(outstanding, 0, *range(2, highest))
    for _ in range(3):
        record(outstanding)
    assert sack(outstanding, 0, *range(2, 11)) == []
    assert sack(outstanding, 0, *range(2, 12)) == []
    assert sack(outstanding, 0, *range(2, 13)) == [1]


def test_chunk_is_fast_retransmitted_once() -> None:
    """RFC 9260 7.2.4 rule 5: "ineligible for a subsequent Fast Retransmit"."""
    outstanding = sent(4)
    for highest in (3, 4, 5):
        sack(outstanding, 0, *range(2, highest))
    lost = outstanding.next_lost()
    assert lost is not None
    outstanding.resend(lost)
    for highest in range(5, 15):
        record(outstanding)
        assert sack(outstanding, 0, *range(2, highest)) == []


def test_late_acknowledgement_takes_a_chunk_off_the_queue() -> None:
    """Pitfall S4: and its bytes are not taken off the flight a second time (S12)."""
    outstanding = sent(3)
    for tsn in (FIRST_TSN, FIRST_TSN + 1, FIRST_TSN + 2):
        outstanding.mark_lost(outstanding.records[tsn])
    assert outstanding.flight == outstanding.payload == 0
    info = outstanding.handle_sack(FIRST_TSN, [(2, 2)])
    assert info is not None
    assert info.newly_acked == 2 * 116
    assert outstanding.flight == outstanding.payload == 0
    lost = outstanding.next_lost()
    assert lost is not None
    assert lost.tsn == FIRST_TSN + 1


def test_chunk_that_was_taken_back_is_in_flight_again_and_not_lost_at_once() -> None:
    """RFC 9260 6.2.1 D iii: one miss indication, so two more are needed at least."""
    outstanding = sent(12)
    for highest in range(3, 8):
        sack(outstanding, 0, *range(2, highest))
    flight = outstanding.flight
    assert 4 not in sack(outstanding, 0, 2, 3, 5, 6, 7)  # 4 is gone, 7 is new
    assert outstanding.records[FIRST_TSN + 3].state is IN_FLIGHT
    assert outstanding.flight == flight  # one more, one less
    found = [4 in sack(outstanding, 0, 2, 3, 5, *range(6, top)) for top in range(9, 14)]
    assert found[0] is False
    assert found.count(True) == 1


def cut(cumulative: int) -> list[int]:
    """Twenty chunks above `cumulative`, with a hole before each: as much as dcSCTP reports."""
    return list(range(cumulative + 2, cumulative + 42, 2))


def test_cut_sack_takes_nothing_back_behind_its_last_block() -> None:
    outstanding = sent(60)
    sack(outstanding, 0, *range(30, 36), *range(45, 61))
    sack(outstanding, 0, *cut(0))  # up to 40, and 41 would be in the block if it had arrived
    state = {tsn - FIRST_TSN + 1: r.state for tsn, r in outstanding.records.items()}
    assert state[31] is IN_FLIGHT  # reported missing
    assert state[34] is state[40] is ACKED
    assert {state[tsn] for tsn in range(45, 61)} == {ACKED}
    sack(outstanding, 0, *cut(0)[:19])  # this is all that the receiver has
    assert outstanding.records[FIRST_TSN + 49].state is IN_FLIGHT


def test_block_that_a_cut_sack_ends_in_is_split() -> None:
    outstanding = sent(60)
    sack(outstanding, 0, *range(30, 51))
    sack(outstanding, 0, *cut(0))
    tsns = [tsn - FIRST_TSN + 1 for tsn, r in outstanding.records.items() if r.state is ACKED]
    assert tsns == [*cut(0), *range(42, 51)]
    sack(outstanding, 50)
    assert [r.tsn - FIRST_TSN + 1 for r in outstanding.in_flight()] == list(range(51, 61))


def test_nothing_is_missing_behind_the_last_block_of_a_cut_sack() -> None:
    outstanding = sent(70)
    sack(outstanding, 0, 60)
    found = [
        *sack(outstanding, 0, 60, 61),
        *sack(outstanding, 1, *cut(1), recovering=True),
        *sack(outstanding, 2, *cut(2), recovering=True),
        *sack(outstanding, 3, *cut(3), recovering=True),
    ]
    assert found
    assert max(found) <= 44


def test_what_a_cut_sack_left_out_measures_nothing_and_did_not_come_late() -> None:
    outstanding = sent(70)
    outstanding.rtt_tsn = FIRST_TSN + 49
    sack(outstanding, 0, 60)
    sack(outstanding, 0, *cut(0))
    info = outstanding.handle_sack(FIRST_TSN - 1, blocks_above(0, range(40, 61)))
    assert info is not None
    assert info.newly_acked == (1 + 18) * 116  # 41, and what lies behind without 60
    assert not info.rtt_acked
    assert not info.reordered or info.spoken >= FIRST_TSN + 40


def holes(count: int) -> list[int]:
    """Chunks above 0 with a hole before each, so many."""
    return list(range(2, 2 + 2 * count, 2))


def test_how_many_blocks_a_peer_reports_shows_with_time() -> None:
    outstanding = sent(700)
    sack(outstanding, 0, *holes(20))
    assert outstanding.spoken == FIRST_TSN + 40  # dcSCTP has no more
    sack(outstanding, 0, *holes(60))
    assert outstanding.spoken == FIRST_TSN + 120  # never so many before
    sack(outstanding, 0, *holes(61))
    sack(outstanding, 0, *holes(43), 122)
    assert outstanding.spoken == UNCUT
    sack(outstanding, 0, *holes(50))
    assert outstanding.spoken == FIRST_TSN + 100  # in a packet that is a little smaller, perhaps
    blocks = [(tsn, tsn) for tsn in holes(30)]
    outstanding.handle_sack(FIRST_TSN - 1, blocks, 25)
    assert outstanding.spoken == FIRST_TSN + 60  # duplicates take room as well
    sack(outstanding, 0, *holes(300))
    sack(outstanding, 0, *holes(250))
    assert outstanding.spoken == FIRST_TSN + 500  # packets may have become smaller than they were
    sack(outstanding, 0, *holes(248), 600)
    assert outstanding.spoken == UNCUT


# ----------------------------------------------------------------------------------- round trip


@pytest.mark.parametrize(("cumulative", "blocks"), [(FIRST_TSN - 1, [(2, 2)]), (FIRST_TSN + 1, [])])
def test_round_trip_is_measured_with_a_chunk_sent_once(
    cumulative: int, blocks: list[tuple[int, int]]
) -> None:
    """Pitfall S9: and once."""
    outstanding = sent(3)
    outstanding.rtt_tsn = FIRST_TSN + 1
    info = outstanding.handle_sack(cumulative, blocks)
    assert info is not None
    assert info.rtt_acked
    info = outstanding.handle_sack(FIRST_TSN + 2, ())
    assert info is not None
    assert not info.rtt_acked


@pytest.mark.parametrize("how", ["sent again", "given up"])
def test_round_trip_is_not_measured_with_a_chunk_that_was(how: str) -> None:
    """Pitfall S9: Karn's algorithm."""
    outstanding = sent(3)
    outstanding.rtt_tsn = FIRST_TSN
    first = outstanding.records[FIRST_TSN]
    if how == "sent again":
        outstanding.mark_lost(first)
        outstanding.resend(first)
    else:
        outstanding.abandon(first)
    info = outstanding.handle_sack(FIRST_TSN + 2, ())
    assert info is not None
    assert not info.rtt_acked


# -------------------------------------------------------------------------------- abandonment


def test_abandoned_chunk_leaves_the_flight_once() -> None:
    """Pitfall S12: acknowledged after it was given up, by a block and by the cumulative TSN."""
    outstanding = sent(3)
    outstanding.abandon(outstanding.records[FIRST_TSN + 1])
    outstanding.abandon(outstanding.records[FIRST_TSN + 1])
    assert outstanding.flight == 2 * 116
    info = outstanding.handle_sack(FIRST_TSN - 1, [(2, 2)])
    assert info is not None
    assert (info.newly_acked, info.highest_new) == (0, None)
    info = outstanding.handle_sack(FIRST_TSN + 1, ())
    assert info is not None
    assert info.newly_acked == 116
    assert outstanding.flight == 116


def test_placeholder_takes_a_tsn_and_no_bytes() -> None:
    """Pitfalls S12 and S24: it is given up from the start, and never acknowledged bytes."""
    outstanding = sent(2)
    outstanding.add_placeholder(message(), 1, 2)
    assert record(outstanding).tsn == FIRST_TSN + 3
    assert outstanding.flight == 3 * 116
    assert outstanding.next_lost() is None
    info = outstanding.handle_sack(FIRST_TSN + 2, ())
    assert info is not None
    assert info.newly_acked == 2 * 116


def test_ack_point_runs_over_what_is_given_up_only() -> None:
    """RFC 3758 3.5 C2."""
    outstanding = sent(5)
    assert not outstanding.advance_ack_point()
    for i in (1, 2, 4):
        outstanding.abandon(outstanding.records[FIRST_TSN + i])
    assert not outstanding.advance_ack_point()
    outstanding.handle_sack(FIRST_TSN, ())
    assert outstanding.advance_ack_point()
    assert outstanding.advanced_ack_point == FIRST_TSN + 2
    assert [r.tsn for r in outstanding.abandoned()] == [FIRST_TSN + 1, FIRST_TSN + 2]
    assert not outstanding.advance_ack_point()


def limited(count: int) -> Outstanding:
    """Chunks in flight, each of a message that may be given up."""
    outstanding = Outstanding(FIRST_TSN)
    for _ in range(count):
        record(outstanding, max_retransmits=0)
    return outstanding


def test_ack_point_runs_over_what_arrived_between_if_that_could_be_given_up() -> None:
    """Else each FORWARD-TSN would skip one gap, and a round trip passes before the next."""
    outstanding = limited(8)
    outstanding.handle_sack(FIRST_TSN - 1, [(2, 3), (5, 5), (7, 7)])
    for i in (0, 3, 5):
        outstanding.abandon(outstanding.records[FIRST_TSN + i])
    assert outstanding.advance_ack_point()
    # To the last one that is given up: what is behind it needs no FORWARD-TSN.
    assert outstanding.advanced_ack_point == FIRST_TSN + 5
    assert [r.tsn - FIRST_TSN for r in outstanding.abandoned()] == [0, 3, 5]
    outstanding.abandon(outstanding.records[FIRST_TSN + 7])
    assert outstanding.advance_ack_point()
    assert outstanding.advanced_ack_point == FIRST_TSN + 7


def test_ack_point_stops_at_what_arrived_of_a_reliable_message() -> None:
    """The receiver may still take it back (RFC 9260 6.2.1), and then it must be sent again."""
    outstanding = sent(3)
    outstanding.handle_sack(FIRST_TSN - 1, [(2, 2)])
    for i in (0, 2):
        outstanding.abandon(outstanding.records[FIRST_TSN + i])
    assert outstanding.advance_ack_point()
    assert outstanding.advanced_ack_point == FIRST_TSN


def test_ack_point_stops_at_what_the_receiver_took_back() -> None:
    outstanding = limited(5)
    outstanding.handle_sack(FIRST_TSN - 1, [(2, 3)])
    outstanding.abandon(outstanding.records[FIRST_TSN])
    assert outstanding.advance_ack_point()
    outstanding.handle_sack(FIRST_TSN - 1, [(2, 2)])
    outstanding.abandon(outstanding.records[FIRST_TSN + 3])
    assert not outstanding.advance_ack_point()
    assert outstanding.advanced_ack_point == FIRST_TSN


def test_restart_gives_back_what_was_not_acknowledged_in_order() -> None:
    """Pitfall S51: and not what was given up."""
    outstanding = Outstanding(FIRST_TSN)
    messages = [message(data=b"x" * 10) for _ in range(4)]
    for owner in (messages[0], messages[0], messages[1], messages[2], messages[3]):
        outstanding.add(Sent(outstanding.next_tsn, owner, 0, 5, 21, 3, 0))
    outstanding.handle_sack(FIRST_TSN, ())
    outstanding.abandon(outstanding.records[FIRST_TSN + 3])
    assert outstanding.forget_all() == [messages[0], messages[1], messages[3]]
    assert (outstanding.flight, outstanding.payload, outstanding.records) == (0, 0, {})


# --------------------------------------------------------------------------------- the model


class Chunk:
    """What the model knows of a TSN."""

    def __init__(self, sent_record: Sent) -> None:
        self.record = sent_record
        self.state = IN_FLIGHT
        self.misses = 0
        self.counts_above = sent_record.tsn
        """A miss counts if what is newly acknowledged was sent after this TSN."""
        self.fast = False
        self.taken_back = False


class OutstandingAgainstNaive(RuleBasedStateMachine):
    """Every SACK is compared chunk by chunk; miss indications are counted one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.real = Outstanding(1)
        self.chunks: dict[int, Chunk] = {}
        self.cumulative = 0
        self.next = 1
        self.measured: int | None = None

    @initialize(first=st.sampled_from([1, 2**31 - 5, 2**32 - 5]))
    def begin(self, first: int) -> None:
        self.real = Outstanding(first)
        self.cumulative, self.next = first - 1, first

    # ---- sending

    @rule(
        sizes=st.lists(st.integers(1, 50), min_size=1, max_size=8),
        measure=st.booleans(),
        max_retransmits=st.sampled_from([None, 0]),
    )
    def send(self, sizes: list[int], measure: bool, max_retransmits: int | None) -> None:
        for size in sizes:
            added = record(self.real, size, max_retransmits=max_retransmits)
            assert added.tsn == self.next
            self.chunks[self.next] = Chunk(added)
            self.next += 1
        if measure and self.measured is None:
            self.measured = self.real.rtt_tsn = self.next - 1

    @rule()
    def send_placeholder(self) -> None:
        self.real.add_placeholder(message(), 1, 0)
        chunk = Chunk(self.real.records[self.next])
        chunk.state = ABANDONED
        self.chunks[self.next] = chunk
        self.next += 1

    @rule(count=st.integers(1, 4))
    def send_again(self, count: int) -> None:
        for _ in range(count):
            lost = [tsn for tsn, chunk in self.chunks.items() if chunk.state is LOST]
            found = self.real.next_lost()
            if not lost:
                assert found is None
                return
            assert found is not None
            assert found.tsn == min(lost)
            self.real.resend(found)
            chunk = self.chunks[found.tsn]
            chunk.state, chunk.misses, chunk.counts_above = IN_FLIGHT, 0, self.next - 1
            chunk.taken_back = False
            if self.measured == found.tsn:
                self.measured = None

    @rule()
    def time_out(self) -> None:
        in_flight = [tsn for tsn, chunk in self.chunks.items() if chunk.state is IN_FLIGHT]
        assert [r.tsn for r in self.real.in_flight()] == in_flight
        for tsn in in_flight:
            self.real.mark_lost(self.chunks[tsn].record)
            self.chunks[tsn].state = LOST

    @precondition(lambda self: self.chunks)
    @rule(choices=st.lists(st.integers(0, 1000), min_size=1, max_size=5))
    def give_up(self, choices: list[int]) -> None:
        for choice in choices:
            tsn = sorted(self.chunks)[choice % len(self.chunks)]
            self.real.abandon(self.chunks[tsn].record)
            self.chunks[tsn].state = ABANDONED
            if self.measured == tsn:
                self.measured = None

    # ---- acknowledgement

    @rule(
        ahead=st.integers(0, 3) | st.integers(0, 20),
        arrived=st.sets(st.integers(1, 20), max_size=12),
        order=st.permutations(range(6)),
        reneging=st.sampled_from([False, False, False, True]),
        recovering=st.booleans(),
    )
    def acknowledge(
        self,
        ahead: int,
        arrived: set[int],
        order: list[int],
        reneging: bool,
        recovering: bool,
    ) -> None:
        cumulative = min(self.cumulative + ahead, self.next - 1)
        above = {cumulative + offset for offset in arrived if cumulative + offset < self.next}
        if not reneging:
            known = {tsn for tsn, chunk in self.chunks.items() if chunk.state is ACKED}
            above |= {tsn for tsn in known if tsn > cumulative}
        blocks = blocks_above(cumulative, above)
        if len(blocks) == len(order):
            blocks = [blocks[i] for i in order]
        if blocks:
            blocks.append(blocks[0])  # overlapping
        info = self.real.handle_sack(cumulative, blocks)
        assert info is not None
        highest_new = self._expect(info, cumulative, above)
        missing = self.real.find_missing(info, recovering=recovering)
        if recovering and info.cumulative_moved and above:
            highest_new = max(highest_new or 0, *above)
        self._expect_missing({r.tsn for r in missing}, len(missing), highest_new, above)

    def _expect(self, info: AckInfo, cumulative: int, above: set[int]) -> int | None:
        acked, highest_new, measured, reneged = 0, None, False, False
        for tsn, chunk in list(self.chunks.items()):
            arrived = tsn <= cumulative or tsn in above
            if arrived and chunk.state in (IN_FLIGHT, LOST):
                acked += chunk.record.wire_size
                highest_new = tsn
                chunk.state = ACKED
                if tsn == self.measured:
                    measured, self.measured = True, None
            elif not arrived and chunk.state is ACKED:
                chunk.state, chunk.misses, chunk.taken_back = IN_FLIGHT, 0, True
                chunk.counts_above = 0
                reneged = True
            if tsn <= cumulative:
                del self.chunks[tsn]
        assert info.newly_acked == acked
        assert info.highest_new == highest_new
        assert info.cumulative_moved == (cumulative > self.cumulative)
        assert info.rtt_acked == measured
        assert info.reneged == reneged
        self.cumulative = cumulative
        return highest_new

    def _expect_missing(
        self, found: set[int], count: int, highest_new: int | None, above: set[int]
    ) -> None:
        assert len(found) == count
        expected: set[int] = set()
        for tsn, chunk in self.chunks.items():
            if highest_new is None or tsn in above or tsn >= highest_new:
                continue
            if chunk.counts_above < highest_new:
                chunk.misses += 1
            if chunk.state is IN_FLIGHT and chunk.misses >= 3 and not chunk.fast:
                expected.add(tsn)
        for tsn in found:
            assert tsn in expected
        for tsn in expected:
            if tsn in found:
                chunk = self.chunks[tsn]
                self.real.mark_lost(chunk.record)
                chunk.record.fast_retransmitted = chunk.fast = True
                chunk.state = LOST
            else:
                # What was taken back may be counted late, but never too early.
                assert self.chunks[tsn].taken_back

    @rule(back=st.integers(1, 5), offset=st.integers(1, 5))
    def acknowledge_late(self, back: int, offset: int) -> None:
        """Pitfall S10."""
        before = snapshot(self.real)
        assert self.real.handle_sack(self.cumulative - back, [(offset, offset)]) is None
        assert self.real.handle_cumulative(self.cumulative - back) is None
        assert snapshot(self.real) == before

    @rule(ahead=st.integers(0, 20))
    def shut_down(self, ahead: int) -> None:
        cumulative = min(self.cumulative + ahead, self.next - 1)
        above = {tsn for tsn, chunk in self.chunks.items() if chunk.state is ACKED}
        info = self.real.handle_cumulative(cumulative)
        assert info is not None
        self._expect(info, cumulative, above)

    @rule(
        ahead=st.integers(0, 8),
        blocks=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=4),
    )
    def acknowledge_nonsense(self, ahead: int, blocks: list[tuple[int, int]]) -> None:
        """Pitfall S11."""
        cumulative = self.cumulative + ahead
        good = cumulative < self.next and all(
            0 < start <= end and cumulative + end < self.next for start, end in blocks
        )
        if good:
            return
        before = snapshot(self.real)
        with pytest.raises(RemoteProtocolError):
            self.real.handle_sack(cumulative, blocks)
        assert snapshot(self.real) == before

    # ---- what must always hold

    @rule()
    def move_ack_point(self) -> None:
        before = self.real.advanced_ack_point
        moved = self.real.advance_ack_point()
        tsn = point = max(before, self.cumulative)
        while (chunk := self.chunks.get(tsn := tsn + 1)) is not None:
            if chunk.state is ABANDONED:
                point = tsn
            elif chunk.state is not ACKED or chunk.record.message.max_retransmits is None:
                break
        assert self.real.advanced_ack_point == point
        assert moved == (point > before)
        assert [r.tsn for r in self.real.abandoned()] == [
            tsn
            for tsn in range(self.cumulative + 1, point + 1)
            if self.chunks[tsn].state is not ACKED
        ]

    @invariant()
    def books_agree(self) -> None:
        real = self.real
        assert list(real.records) == list(self.chunks)
        assert (real.next_tsn, real.cumulative) == (self.next, self.cumulative)
        assert [r.state for r in real.records.values()] == [c.state for c in self.chunks.values()]
        in_flight = [c.record for c in self.chunks.values() if c.state is IN_FLIGHT]
        assert real.flight == sum(r.wire_size for r in in_flight)
        assert real.payload == sum(r.size for r in in_flight)
        lost = [c.record for c in self.chunks.values() if c.state is LOST]
        assert real.lost_payload == sum(r.size for r in lost)

    @invariant()
    def lowest_lost_is_next(self) -> None:
        lost = [tsn for tsn, chunk in self.chunks.items() if chunk.state is LOST]
        found = self.real.next_lost()
        assert (found.tsn if found is not None else None) == min(lost, default=None)


TestOutstandingAgainstNaive = OutstandingAgainstNaive.TestCase
TestOutstandingAgainstNaive.settings = settings(stateful_step_count=40)


def test_miss_indications_in_every_order_of_five_sacks() -> None:
    """The frontiers find the same chunks as counting, in all 120 orders of arrival."""
    for order in itertools.permutations(range(2, 7)):
        outstanding = sent(6)
        counts = dict.fromkeys(range(1, 7), 0)
        arrived: set[int] = set()
        found: set[int] = set()
        for tsn in order:
            arrived.add(tsn)
            found.update(sack(outstanding, 0, *arrived))
            for missing in range(1, tsn):
                counts[missing] += missing not in arrived
            assert found - arrived == {t for t, n in counts.items() if n >= 3} - arrived


def test_sack_that_shared_its_packet_is_cut_though_a_larger_one_came_before() -> None:
    """What it does not speak of is neither lost nor taken back."""
    outstanding = Outstanding(FIRST_TSN)
    for _ in range(3000):
        record(outstanding, 100)
    blocks = [(2 * i, 2 * i) for i in range(1, 291)]
    outstanding.handle_sack(FIRST_TSN - 1, blocks)
    flight = outstanding.flight
    info = outstanding.handle_sack(FIRST_TSN - 1, blocks[:200])
    assert info is not None
    assert not info.reneged
    assert outstanding.flight == flight
    assert outstanding.spoken == FIRST_TSN - 1 + blocks[199][1] + 1
