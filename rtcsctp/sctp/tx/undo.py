"""Was the last recovery for nothing (RFC 4015, and RFC 9260's reports of duplicates)?

What was taken for lost and sent again may have arrived all the same, late. Two signs tell: the peer
reports as many duplicates as were sent again, or so many of these chunks are acknowledged sooner
after they were sent again than any packet makes the round trip. The one or the other must hold for
all of them; a loss among them was a loss.
"""

from __future__ import annotations

from collections.abc import Iterable

from rtcsctp.sctp.tx.delivery import Transmission

__all__ = ["Undo"]


class Undo:
    """Counts since the recovery that began last."""

    __slots__ = ("_duplicates", "_early", "_resent", "watches_recovery")

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """A recovery begins; or T3-rtx expired, and nothing can be told."""
        self.watches_recovery = False
        """A recovery has begun since, and was not shown to be for nothing yet."""
        self._forget()

    def _forget(self) -> None:
        self._resent = 0
        self._duplicates = 0
        self._early = 0

    def resent(self) -> None:
        """One more chunk was sent again."""
        self._resent += 1

    def is_due(
        self,
        resent: Iterable[Transmission],
        duplicates: int,
        soonest: float,
        now: float,
    ) -> bool:
        """Whether a SACK shows that nothing was lost.

        Args:
            resent: when chunks that it acknowledges were sent again.
            duplicates: how many it reports.
            soonest: how many seconds after a chunk was sent it can be acknowledged.
            now: when it came.
        """
        if not self._resent:
            return False
        self._duplicates += duplicates
        self._early += sum(now - burst.sent_at < soonest for burst in resent)
        if max(self._duplicates, self._early) < self._resent:
            return False
        self._forget()
        return True
