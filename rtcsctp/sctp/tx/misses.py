"""Which chunks have been reported missing three times (RFC 9260 section 7.2.4), without counting.

A SACK that newly acknowledges TSN h is a miss indication for every missing TSN below h. Counting
them one by one costs a walk over all that is missing per SACK. But the counts never increase with
the TSN: a SACK that counts for a TSN counts for all below it. So three frontiers say it all: TSNs
below the first have one indication or more, below the second two, below the third three. A SACK
moves them:

    third  := max(third,  min(h, second))
    second := max(second, min(h, first))
    first  := max(first,  h)

and each TSN passes the third frontier once. A chunk that was sent again counts as the TSN that was
sent last before it was (`Sent.miss_key`): what was acknowledged of older packets says nothing about
it (pitfall S4).
"""

from __future__ import annotations

__all__ = ["MissFrontiers"]


class MissFrontiers:
    """The three frontiers, as TSNs."""

    __slots__ = ("first", "second", "third")

    def __init__(self, tsn: int) -> None:
        self.first = self.second = self.third = tsn

    def indicate(self, h: int) -> None:
        """One SACK reported everything missing below `h`."""
        self.third = max(self.third, min(h, self.second))
        self.second = max(self.second, min(h, self.first))
        self.first = max(self.first, h)
