"""Which TSNs have arrived (RFC 9260 section 6.7).

Everything up to the cumulative TSN, and above it a sorted list of runs. In order, an arrival is one
comparison; behind a hole it is a comparison with the last run, or a binary search. The number of
runs is bounded by `MAX_AHEAD`, whatever a peer invents.
"""

from __future__ import annotations

from bisect import bisect_right

from rtcsctp.sctp.wire.serial import MASK32

__all__ = ["MAX_AHEAD", "ReceivedTsns"]

MAX_AHEAD = 65_535
"""How far a TSN may lie above the cumulative one: as far as a gap block can say."""

_MAX_DUPLICATES = 32  # remembered for one SACK


class ReceivedTsns:
    """The TSNs that arrived, as growing integers."""

    __slots__ = ("_duplicates", "_ends", "_starts", "cumulative")

    def __init__(self, cumulative: int) -> None:
        self.cumulative = cumulative
        """The highest TSN up to which nothing is missing."""
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._duplicates: list[int] = []

    @property
    def highest(self) -> int:
        """The highest TSN that arrived."""
        return self._ends[-1] if self._ends else self.cumulative

    @property
    def has_gap(self) -> bool:
        """Whether something is missing below `highest`."""
        return bool(self._starts)

    @property
    def has_duplicates(self) -> bool:
        """Whether duplicates arrived that no SACK has reported."""
        return bool(self._duplicates)

    def __contains__(self, tsn: int) -> bool:
        if tsn <= self.cumulative:
            return True
        i = bisect_right(self._starts, tsn) - 1
        return i >= 0 and tsn <= self._ends[i]

    def add(self, tsn: int) -> bool:
        """Note an arrival; False if it is a duplicate, which is remembered for the next SACK."""
        if tsn == self.cumulative + 1:
            if self._starts and self._starts[0] == tsn + 1:
                self.cumulative = self._ends[0]
                del self._starts[0], self._ends[0]
            else:
                self.cumulative = tsn
            return True
        starts, ends = self._starts, self._ends
        if starts and tsn == ends[-1] + 1:
            ends[-1] = tsn
            return True
        if tsn in self:
            if len(self._duplicates) < _MAX_DUPLICATES:
                self._duplicates.append(tsn)
            return False
        i = bisect_right(starts, tsn)
        after_left = i > 0 and ends[i - 1] + 1 == tsn
        before_right = i < len(starts) and starts[i] == tsn + 1
        if after_left and before_right:
            ends[i - 1] = ends[i]
            del starts[i], ends[i]
        elif after_left:
            ends[i - 1] = tsn
        elif before_right:
            starts[i] = tsn
        else:
            starts.insert(i, tsn)
            ends.insert(i, tsn)
        return True

    def add_next(self, tsn: int) -> bool:
        """Note an arrival, if it is the next TSN and nothing above it has come: the usual case."""
        if tsn == self.cumulative + 1 and not self._starts:
            self.cumulative = tsn
            return True
        return False

    def extend(self, highest: int) -> None:
        """Everything from the TSN behind the highest one up to this one has arrived."""
        if self._ends:
            self._ends[-1] = highest
        else:
            self.cumulative = highest

    def advance(self, tsn: int) -> None:
        """Count everything up to `tsn` as arrived, and what follows it directly (RFC 3758 3.6)."""
        if tsn <= self.cumulative:
            return
        self.cumulative = tsn
        starts, ends = self._starts, self._ends
        i = bisect_right(starts, tsn + 1)
        if i and ends[i - 1] > tsn:
            self.cumulative = ends[i - 1]
        del starts[:i], ends[:i]

    def gap_blocks(self, limit: int) -> list[tuple[int, int]]:
        """At most `limit` gap blocks, the lowest ones, as offsets from the cumulative TSN."""
        base = self.cumulative
        starts, ends = self._starts[:limit], self._ends[:limit]
        blocks = [(start - base, end - base) for start, end in zip(starts, ends, strict=True)]
        while blocks and blocks[-1][1] > MAX_AHEAD:
            start, _ = blocks.pop()
            if start <= MAX_AHEAD:
                blocks.append((start, MAX_AHEAD))
        return blocks

    def take_duplicates(self, limit: int) -> list[int]:
        """The duplicates since the last call, wrapped, at most `limit`; the rest are forgotten."""
        taken = [tsn & MASK32 for tsn in self._duplicates[:limit]]
        self._duplicates.clear()
        return taken
