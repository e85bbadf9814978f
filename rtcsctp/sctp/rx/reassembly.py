"""Fragments to messages (RFC 9260 section 6.9, RFC 8260 section 2.2.3).

The fragments of DATA belong together because their TSNs are consecutive: runs of adjacent TSNs
grow, and join, until one has a beginning and an end. A run never grows over a beginning or an end,
or into another stream, so messages with adjacent TSNs stay apart. The fragments of I-DATA belong
together because they name the same message (stream, order, MID), wherever their TSNs lie.

Any order of arrival works, and costs the same: a run joins another by moving the shorter one.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Container
from typing import Protocol

from rtcsctp.errors import RemoteProtocolError
from rtcsctp.sctp.wire.chunks import BEGIN, END, UNORDERED, Data
from rtcsctp.sctp.wire.serial import unwrap32

__all__ = ["FRAGMENT_OVERHEAD", "DataReassembly", "IDataReassembly", "Reassembly", "Whole"]

FRAGMENT_OVERHEAD = 64
"""Bytes charged against the window for each chunk or message held, beside its payload.

Without it a flood of tiny chunks would be bounded only by its payload. It is not all that Python
spends on keeping one, which is some 200 bytes for a message and 500 for a lone fragment: a peer
that sends nothing but one-byte fragments can have us hold eight times the window. Charging all of
it would make the window lie to honest peers, who count payload only, and have their packets
refused.
"""


_BOTH_ENDS = BEGIN | END


class Whole:
    """A message that is complete: where it belongs, and its bytes."""

    __slots__ = ("charge", "data", "ppid", "sequence", "stream_id", "unordered")

    def __init__(
        self, stream_id: int, unordered: bool, sequence: int, ppid: int, data: bytes, charge: int
    ) -> None:
        self.stream_id = stream_id
        self.unordered = unordered
        self.sequence = sequence
        self.ppid = ppid
        self.data = data
        self.charge = charge


class Reassembly(Protocol):
    """What the two kinds have in common."""

    held: int
    """Bytes held in incomplete messages, overhead included."""

    @property
    def is_single(self) -> bool:
        """Whether all that is held, if anything is, belongs to one message."""

    def add(self, chunk: Data) -> Whole | None:
        """Take a fragment; give the message that it completes.

        Raises:
            RemoteProtocolError: fragments that contradict each other, or a message above the limit.
        """

    def forward(self, tsn: int, skipped: list[tuple[int, bool, int]]) -> None:
        """Drop incomplete messages that the peer has given up."""

    def drop_streams(self, stream_ids: Container[int] | None, last_tsn: int) -> None:
        """Drop incomplete messages of streams (None: all) that were reset after `last_tsn`."""


class _Run:
    """Fragments with consecutive TSNs of one message."""

    __slots__ = (
        "end",
        "has_begin",
        "has_end",
        "parts",
        "ppid",
        "sequence",
        "size",
        "start",
        "stream_id",
    )

    def __init__(self, chunk: Data, sequence: int) -> None:
        self.start = self.end = chunk.tsn
        self.stream_id = chunk.stream_id
        self.sequence = sequence
        self.ppid = chunk.ppid
        self.parts: list[bytes] | deque[bytes] = [chunk.payload]
        self.size = len(chunk.payload)
        self.has_begin = bool(chunk.flags & BEGIN)
        self.has_end = bool(chunk.flags & END)


_UNORDERED_SEQUENCE = -1
"""In place of the SSN of an unordered message, which means nothing (RFC 9260 6.6)."""


def _skipped(named: dict[int, int], run: _Run) -> int:
    """The largest SSN that was skipped on the stream of `run`."""
    return named.get(run.stream_id, _UNORDERED_SEQUENCE)


class DataReassembly:
    """For DATA: by runs of TSNs."""

    __slots__ = ("_by_end", "_by_start", "_limit", "_starts", "held")

    def __init__(self, max_message_size: int) -> None:
        self._starts: list[int] = []  # heap of keys of `_by_start`, past and present
        self._by_start: dict[int, _Run] = {}
        self._by_end: dict[int, _Run] = {}
        self._limit = max_message_size
        self.held = 0

    @property
    def is_single(self) -> bool:
        """See `Reassembly.is_single`."""
        return len(self._by_start) <= 1

    def add(self, chunk: Data) -> Whole | None:
        """See `Reassembly.add`."""
        tsn, flags, payload = chunk.tsn, chunk.flags, chunk.payload
        stream_id = chunk.stream_id
        if flags & _BOTH_ENDS == _BOTH_ENDS:
            charge = len(payload) + FRAGMENT_OVERHEAD
            return Whole(
                stream_id, bool(flags & UNORDERED), chunk.sequence, chunk.ppid, payload, charge
            )
        sequence = _UNORDERED_SEQUENCE if flags & UNORDERED else chunk.sequence
        self.held += len(payload) + FRAGMENT_OVERHEAD
        run = None if flags & BEGIN else self._by_end.get(tsn - 1)
        if run is not None and _same(run, stream_id, sequence) and not run.has_end:
            # What comes in order is appended to what is there: the usual case.
            del self._by_end[tsn - 1]
            run.parts.append(payload)
            run.size += len(payload)
            run.end = tsn
            run.has_end = bool(flags & END)
        else:
            run = _Run(chunk, sequence)
            self._remember(run)
        right = None if flags & END else self._by_start.get(tsn + 1)
        if right is not None and _same(right, stream_id, sequence) and not right.has_begin:
            del self._by_end[right.end], self._by_start[right.start], self._by_start[run.start]
            run = _join(run, right)
            self._by_start[run.start] = run
        self._by_end[run.end] = run
        if run.size > self._limit:
            raise RemoteProtocolError(
                f"a message of more than {self._limit} bytes on stream {stream_id}"
            )
        if not (run.has_begin and run.has_end):
            return None
        del self._by_start[run.start], self._by_end[run.end]
        charge = run.size + FRAGMENT_OVERHEAD * len(run.parts)
        self.held -= charge
        data = b"".join(run.parts)
        return Whole(stream_id, bool(flags & UNORDERED), chunk.sequence, run.ppid, data, charge)

    def forward(self, tsn: int, skipped: list[tuple[int, bool, int]]) -> None:
        """See `Reassembly.forward`: a run that misses something at or below the new TSN is lost.

        A run above it is alive, also where it belongs to a stream that is listed (pitfall S34), and
        so is one that has everything from its beginning up to it, unless its own SSN is skipped.
        One without its beginning that starts right behind the new TSN misses that TSN.
        """
        named = {stream_id: ssn for stream_id, _, ssn in skipped}
        starts = self._starts
        alive: list[int] = []
        while starts and starts[0] <= tsn + 1:
            run = self._by_start.get(heapq.heappop(starts))
            if run is None:
                continue  # complete, joined to another, or dropped long since
            if (
                run.end < tsn
                or not run.has_begin
                or (run.start <= tsn and _UNORDERED_SEQUENCE < run.sequence <= _skipped(named, run))
            ):
                self._drop(run)
            else:
                alive.append(run.start)
        for start in dict.fromkeys(alive):
            heapq.heappush(starts, start)

    def drop_streams(self, stream_ids: Container[int] | None, last_tsn: int) -> None:
        """See `Reassembly.drop_streams`."""
        for run in list(self._by_start.values()):
            if run.start <= last_tsn and (stream_ids is None or run.stream_id in stream_ids):
                self._drop(run)

    def _remember(self, run: _Run) -> None:
        """A run begins; the heap is cleared of outdated starts whenever it has doubled."""
        self._by_start[run.start] = run
        starts = self._starts
        if len(starts) > 64 and len(starts) > 2 * len(self._by_start):
            starts[:] = self._by_start
            heapq.heapify(starts)
        else:
            heapq.heappush(starts, run.start)

    def _drop(self, run: _Run) -> None:
        del self._by_start[run.start], self._by_end[run.end]
        self.held -= run.size + FRAGMENT_OVERHEAD * len(run.parts)


def _same(run: _Run, stream_id: int, sequence: int) -> bool:
    """Whether a fragment may belong to the message of `run`."""
    return run.stream_id == stream_id and run.sequence == sequence


def _join(left: _Run, right: _Run) -> _Run:
    """`left` and the run that follows it directly, as one; the shorter one moves."""
    if len(left.parts) >= len(right.parts):
        left.parts.extend(right.parts)
        left.end, left.has_end = right.end, right.has_end
        left.size += right.size
        return left
    if not isinstance(right.parts, deque):
        right.parts = deque(right.parts)
    right.parts.extendleft(reversed(left.parts))
    right.start, right.has_begin = left.start, left.has_begin
    right.ppid = left.ppid
    right.size += left.size
    return right


class _Partial:
    """The fragments of one I-DATA message, by FSN."""

    __slots__ = ("fragments", "last_fsn", "max_fsn", "ppid", "size")

    def __init__(self) -> None:
        self.fragments: dict[int, bytes] = {}
        self.ppid = 0
        self.size = 0
        self.last_fsn = -1
        self.max_fsn = -1


class IDataReassembly:
    """For I-DATA: by stream, order and MID."""

    __slots__ = ("_limit", "_partial", "held")

    def __init__(self, max_message_size: int) -> None:
        self._partial: dict[tuple[int, bool], dict[int, _Partial]] = {}
        self._limit = max_message_size
        self.held = 0

    @property
    def is_single(self) -> bool:
        """See `Reassembly.is_single`."""
        partial = self._partial
        return not partial or (len(partial) == 1 and len(next(iter(partial.values()))) == 1)

    def add(self, chunk: Data) -> Whole | None:
        """See `Reassembly.add`."""
        flags, payload = chunk.flags, chunk.payload
        stream_id, unordered, mid = chunk.stream_id, bool(flags & UNORDERED), chunk.sequence
        if flags & _BOTH_ENDS == _BOTH_ENDS:
            charge = len(payload) + FRAGMENT_OVERHEAD
            return Whole(stream_id, unordered, mid, chunk.ppid, payload, charge)
        messages = self._partial.setdefault((stream_id, unordered), {})
        partial = messages.get(mid)
        if partial is None:
            partial = messages[mid] = _Partial()
        fsn = chunk.fsn
        if not fsn and not flags & BEGIN:
            raise RemoteProtocolError(f"message {mid} of stream {stream_id} has no beginning")
        if fsn in partial.fragments:
            return None  # the same fragment under a new TSN (pitfall S35): we have it
        if flags & BEGIN:
            partial.ppid = chunk.ppid
        if flags & END:
            if partial.last_fsn >= 0 or fsn < partial.max_fsn:
                raise RemoteProtocolError(f"message {mid} of stream {stream_id} has two ends")
            partial.last_fsn = fsn
        elif 0 <= partial.last_fsn < fsn:
            raise RemoteProtocolError(f"message {mid} of stream {stream_id} goes on behind its end")
        partial.max_fsn = max(partial.max_fsn, fsn)
        partial.fragments[fsn] = payload
        partial.size += len(payload)
        self.held += len(payload) + FRAGMENT_OVERHEAD
        if partial.size > self._limit:
            raise RemoteProtocolError(
                f"a message of more than {self._limit} bytes on stream {stream_id}"
            )
        count = len(partial.fragments)
        if count != partial.last_fsn + 1:
            return None
        # All FSNs are distinct and none is above the last one, so none is missing.
        self._forget((stream_id, unordered), mid)
        data = b"".join([partial.fragments[i] for i in range(count)])
        charge = partial.size + FRAGMENT_OVERHEAD * count
        return Whole(stream_id, unordered, mid, partial.ppid, data, charge)

    def forward(self, tsn: int, skipped: list[tuple[int, bool, int]]) -> None:  # noqa: ARG002
        """See `Reassembly.forward`: what is named, and what is below it, is lost.

        `skipped` has the keys as this object was given them: MIDs unwrapped where they are ordered.
        Unordered ones may lie anywhere (pitfall S35), so they are compared where they are named.
        """
        for stream_id, unordered, mid in skipped:
            messages = self._partial.get((stream_id, unordered), {})
            lost = [m for m in messages if (unwrap32(m, mid) if unordered else m) <= mid]
            for m in lost:
                self._forget((stream_id, unordered), m)

    def drop_streams(
        self,
        stream_ids: Container[int] | None,
        last_tsn: int,  # noqa: ARG002
    ) -> None:
        """See `Reassembly.drop_streams`."""
        for key in list(self._partial):
            if stream_ids is None or key[0] in stream_ids:
                for mid in list(self._partial[key]):
                    self._forget(key, mid)

    def _forget(self, key: tuple[int, bool], mid: int) -> None:
        messages = self._partial[key]
        partial = messages.pop(mid)
        self.held -= partial.size + FRAGMENT_OVERHEAD * len(partial.fragments)
        if not messages:
            del self._partial[key]
