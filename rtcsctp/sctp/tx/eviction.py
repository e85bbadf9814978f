"""Messages that may be given up for more important ones (RFC 7496, priority policy)."""

from __future__ import annotations

import heapq

from rtcsctp.sctp.tx.records import Outgoing

__all__ = ["Evictable"]

_SMALL = 64


class Evictable:
    """Messages with a priority, the least important first; a larger number is less important.

    Most have been sent by the time somebody looks, so entries are outdated until then; the heap is
    cleared of them whenever it has doubled.
    """

    __slots__ = ("_heap", "_limit")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Outgoing]] = []
        self._limit = _SMALL

    def add(self, priority: int, message: Outgoing) -> None:
        """Remember a message."""
        heap = self._heap
        if len(heap) >= self._limit:
            heap[:] = [entry for entry in heap if _is_pending(entry[2])]
            heapq.heapify(heap)
            self._limit = max(_SMALL, 2 * len(heap))
        heapq.heappush(heap, (-priority, -message.arrival, message))

    def find_below(self, priority: int) -> Outgoing | None:
        """The least important message that still waits, if it is less important than `priority`."""
        heap = self._heap
        while heap:
            lowest, _, message = heap[0]
            if _is_pending(message):
                return message if -lowest > priority else None
            heapq.heappop(heap)
        return None


def _is_pending(message: Outgoing) -> bool:
    """Whether some of a message waits to be sent."""
    return not message.abandoned and message.offset < len(message.data)
