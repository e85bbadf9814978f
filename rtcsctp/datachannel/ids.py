"""Which stream a new channel of ours takes (RFC 8832 section 6)."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from rtcsctp.errors import ChannelIdError

__all__ = ["MAX_ID", "IdPool"]

MAX_ID = 65_534
"""65,535 is no stream: "the number of streams" is a field of 16 bits (RFC 8831 6.2, RFC 8832)."""


class IdPool:
    """The even stream identifiers, or the odd ones; the lowest free one is taken.

    Low ones first, because a peer may have allowed only a few streams.
    """

    __slots__ = ("_freed", "_next", "parity")

    def __init__(self, *, even: bool) -> None:
        self.parity = 0 if even else 1
        self._next = self.parity
        self._freed: list[int] = []  # a heap of identifiers below `_next`

    def take(self, limit: int, is_used: Callable[[int], bool]) -> int:
        """An identifier below `limit` that is not used, for a channel of ours.

        Raises:
            ChannelIdError: there is none.
        """
        while self._freed:
            found = heapq.heappop(self._freed)
            if found < limit and not is_used(found):
                return found
        while self._next < limit and self._next <= MAX_ID:
            found = self._next
            self._next += 2
            if not is_used(found):
                return found
        kind = "odd" if self.parity else "even"
        raise ChannelIdError(f"no {kind} stream is free below {min(limit, MAX_ID + 1)}")

    def free(self, stream_id: int) -> None:
        """A stream is not used any more."""
        if stream_id % 2 == self.parity and stream_id < self._next:
            heapq.heappush(self._freed, stream_id)
