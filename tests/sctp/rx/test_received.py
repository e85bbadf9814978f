"""Which TSNs arrived: the runs against a plain set of numbers."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rtcsctp.sctp.rx.received import MAX_AHEAD, ReceivedTsns
from rtcsctp.sctp.wire.serial import MASK32


class ReceivedAgainstSet(RuleBasedStateMachine):
    """The model keeps every TSN above the first cumulative one in a set."""

    def __init__(self) -> None:
        super().__init__()
        self.first = 0
        self.real = ReceivedTsns(0)
        self.model: set[int] = set()
        self.duplicates: list[int] = []

    @initialize(
        first=st.sampled_from([0, 1, 7, 2**31 - 20, 2**32 - 20, 2**32 - 1, 2**32, 3 * 2**32 - 5])
    )
    def begin(self, first: int) -> None:
        self.first = first
        self.real = ReceivedTsns(first)

    @property
    def cumulative(self) -> int:
        tsn = self.first
        while tsn + 1 in self.model:
            tsn += 1
        return tsn

    @property
    def highest(self) -> int:
        return max(self.model, default=self.first)

    def arrives(self, tsn: int) -> None:
        is_new = tsn > self.first and tsn not in self.model
        assert (tsn in self.real) is not is_new
        assert self.real.add(tsn) is is_new
        if is_new:
            self.model.add(tsn)
        else:
            self.duplicates.append(tsn)

    @rule(ahead=st.integers(1, 12))
    def near(self, ahead: int) -> None:
        self.arrives(self.cumulative + ahead)

    @rule(ahead=st.integers(-1, 2))
    def next_in_order(self, ahead: int) -> None:
        """The short way takes the next TSN, if nothing above it has come, and nothing else."""
        tsn = self.cumulative + ahead
        is_usual = ahead == 1 and self.highest == self.cumulative
        assert self.real.add_next(tsn) is is_usual
        if is_usual:
            self.model.add(tsn)

    @rule(ahead=st.integers(0, 3))
    def behind_the_highest(self, ahead: int) -> None:
        tsn = self.highest + ahead
        if tsn <= self.cumulative + MAX_AHEAD:
            self.arrives(tsn)

    @rule(ahead=st.integers(MAX_AHEAD - 2, MAX_AHEAD))
    def as_far_as_a_gap_block_can_say(self, ahead: int) -> None:
        self.arrives(self.cumulative + ahead)

    @rule(back=st.integers(0, 20))
    def again(self, back: int) -> None:
        self.arrives(self.cumulative - back)

    @rule(ahead=st.integers(-3, 15))
    def forward(self, ahead: int) -> None:
        """RFC 3758 3.6: everything up to there counts as arrived, and what follows it directly."""
        tsn = self.cumulative + ahead
        self.real.advance(tsn)
        self.model.update(range(self.first + 1, tsn + 1))

    @rule(limit=st.integers(0, 40))
    def report_duplicates(self, limit: int) -> None:
        """Pitfall S17: bounded, as the wire has them, and reported once."""
        assert self.real.has_duplicates == bool(self.duplicates)
        taken = self.real.take_duplicates(limit)
        assert len(taken) <= limit
        expected = [tsn & MASK32 for tsn in self.duplicates]
        assert taken == expected[: len(taken)]
        assert len(taken) >= min(limit, len(expected), 8)
        self.duplicates.clear()

    @invariant()
    def cumulative_and_highest_agree(self) -> None:
        assert self.real.cumulative == self.cumulative
        assert self.real.highest == self.highest
        assert self.real.has_gap == (self.highest > self.cumulative)

    @invariant()
    def blocks_agree(self) -> None:
        cumulative = self.cumulative
        expected: list[tuple[int, int]] = []
        for tsn in sorted(t for t in self.model if t > cumulative):
            offset = tsn - cumulative
            if expected and expected[-1][1] == offset - 1:
                expected[-1] = (expected[-1][0], offset)
            else:
                expected.append((offset, offset))
        blocks = self.real.gap_blocks(1000)
        assert blocks == expected
        for limit in (0, 1, 2):
            assert self.real.gap_blocks(limit) == expected[:limit]

    @invariant()
    def membership_agrees(self) -> None:
        for tsn in range(self.cumulative - 2, self.cumulative + 14):
            assert (tsn in self.real) == (tsn <= self.first or tsn in self.model)


TestReceivedAgainstSet = ReceivedAgainstSet.TestCase
TestReceivedAgainstSet.settings = settings(stateful_step_count=30)


@pytest.mark.parametrize("first", [0, 2**32 - 3, 2**33 - 2])
def test_in_order_arrivals_move_only_the_cumulative_tsn(first: int) -> None:
    """Pitfall S1: as growing integers the numbers pass 2**32 like any other."""
    received = ReceivedTsns(first)
    for tsn in range(first + 1, first + 10):
        assert received.add(tsn)
        assert (received.cumulative, received.highest) == (tsn, tsn)
    assert not received.has_gap
    assert received.gap_blocks(10) == []


def test_example_of_rfc_3758() -> None:
    """RFC 3758 3.6: FORWARD-TSN 103 where 104, 105 and 107 are there."""
    received = ReceivedTsns(102)
    for tsn in (104, 105, 107):
        received.add(tsn)
    received.advance(103)
    assert received.cumulative == 105
    assert received.gap_blocks(10) == [(2, 2)]


def test_duplicates_kept_for_one_sack_are_bounded() -> None:
    """Pitfall S17: a flood of duplicates takes no memory."""
    received = ReceivedTsns(1000)
    for _ in range(10_000):
        assert not received.add(1000)
    assert len(received.take_duplicates(10_000)) <= 300  # what fits a SACK of one packet


def test_every_other_tsn_costs_one_run_each_and_merges() -> None:
    """Pitfall S18: the worst case within reach of a gap block."""
    received = ReceivedTsns(0)
    for tsn in range(2, MAX_AHEAD + 1, 2):
        received.add(tsn)
    assert len(received.gap_blocks(MAX_AHEAD)) == MAX_AHEAD // 2
    for tsn in range(1, MAX_AHEAD + 1, 2):
        received.add(tsn)
    assert received.cumulative == MAX_AHEAD
    assert not received.has_gap
