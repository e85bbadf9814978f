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
        """Take a chunk; give the message that it completes, or is.

        Raises:
            RemoteProtocolError: fragments that contradict each other, or a message above the limit.
        """

    def add_fragment(
        self,
        tsn: int,
        flags: int,
        stream_id: int,
        sequence: int,
        last: int,
        payload: bytes,
    ) -> Whole | None:
        """The same for a fragment, which is not both beginning and end, in bare numbers.

        `last` is the last field of its header: the PPID, or the FSN of a later fragment of I-DATA.
        """

    def forward(self, tsn: int, skipped: list[tuple[int, bool, int]]) -> None:
        """Drop incomplete messages that the peer has given up."""

    def drop_streams(self, stream_ids: Container[int] | None, last_tsn: int) -> None:
        """Drop incomplete messages of streams (None: all) that were reset after `last_tsn`."""


def _whole(chunk: Data) -> Whole:
    """The message that a chunk is."""
    charge = len(chunk.payload) + FRAGMENT_OVERHEAD
    unordered = bool(chunk.flags & UNORDERED)
    return Whole(chunk.stream_id, unordered, chunk.sequence, chunk.ppid, chunk.payload, charge)


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

    def __init__(
        self, tsn: int, flags: int, stream_id: int, sequence: int, ppid: int, payload: bytes
    ) -> None:
        self.start = self.end = tsn
        self.stream_id = stream_id
        self.sequence = sequence
        self.ppid = ppid
        self.parts: list[bytes] | deque[bytes] = [payload]
        self.size = len(payload)
        self.has_begin = bool(flags & BEGIN)
        self.has_end = bool(flags & END)


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
        if chunk.flags & _BOTH_ENDS == _BOTH_ENDS:
            return _whole(chunk)
        return self.add_fragment(
            chunk.tsn,
            chunk.flags,
            chunk.stream_id,
            chunk.sequence,
            chunk.ppid,
            chunk.payload,
        )

    def add_fragment(
        self,
        tsn: int,
        flags: int,
        stream_id: int,
        sequence: int,
        last: int,
        payload: bytes,
    ) -> Whole | None:
        """See `Reassembly.add_fragment`."""
        size = len(payload)
        self.held += size + FRAGMENT_OVERHEAD
        number = _UNORDERED_SEQUENCE if flags & UNORDERED else sequence
        by_end = self._by_end
        run = by_end.pop(tsn - 1, None)
        if (
            run is not None
            and run.sequence == number
            and run.stream_id == stream_id
            and not run.has_end
            and not flags & BEGIN
        ):
            # What comes in order is appended to what is there: the usual case.
            run.parts.append(payload)
            run.size += size
            run.end = tsn
            if flags & END:
                run.has_end = True
        else:
            if run is not None:
                by_end[tsn - 1] = run  # another message
            run = _Run(tsn, flags, stream_id, number, last, payload)
            self._remember(run)
        right = None if flags & END else self._by_start.get(tsn + 1)
        if (
            right is not None
            and right.sequence == number
            and right.stream_id == stream_id
            and not right.has_begin
        ):
            del by_end[right.end], self._by_start[right.start], self._by_start[run.start]
            run = _join(run, right)
            self._by_start[run.start] = run
        by_end[run.end] = run
        if run.size > self._limit:
            raise RemoteProtocolError(
                f"a message of more than {self._limit} bytes on stream {stream_id}"
            )
        if not (run.has_begin and run.has_end):
            return None
        del self._by_start[run.start], by_end[run.end]
        charge = run.size + FRAGMENT_OVERHEAD * len(run.parts)
        self.held -= charge
        data = b"".join(run.parts)
        return Whole(stream_id, bool(flags & UNORDERED), sequence, run.ppid, data, charge)

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
    """The fragments of one I-DATA message: those in order from its beginning, and others by FSN."""

    __slots__ = ("last_fsn", "later", "max_fsn", "parts", "ppid", "size")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        """Fragments 0 to n - 1."""
        self.later: dict[int, bytes] = {}
        """Fragments behind one that is missing."""
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
        if chunk.flags & _BOTH_ENDS == _BOTH_ENDS:
            return _whole(chunk)
        return self.add_fragment(
            chunk.tsn,
            chunk.flags,
            chunk.stream_id,
            chunk.sequence,
            chunk.ppid if chunk.flags & BEGIN else chunk.fsn,
            chunk.payload,
        )

    def add_fragment(
        self,
        tsn: int,  # noqa: ARG002
        flags: int,
        stream_id: int,
        sequence: int,
        last: int,
        payload: bytes,
    ) -> Whole | None:
        """See `Reassembly.add_fragment`."""
        unordered = bool(flags & UNORDERED)
        fsn = 0 if flags & BEGIN else last
        messages = self._partial.get((stream_id, unordered))
        if messages is None:
            messages = self._partial[stream_id, unordered] = {}
        partial = messages.get(sequence)
        if partial is None:
            partial = messages[sequence] = _Partial()
        if not fsn and not flags & BEGIN:
            raise RemoteProtocolError(f"message {sequence} of stream {stream_id} has no beginning")
        parts = partial.parts
        if fsn == len(parts) and not partial.later:
            # It follows what is there, and nothing lies behind it, no end either: the usual case.
            parts.append(payload)
            partial.max_fsn = fsn
        elif fsn < len(parts) or fsn in partial.later:
            return None  # the same fragment under a new TSN (pitfall S35): we have it
        else:
            if flags & END and (partial.last_fsn >= 0 or fsn < partial.max_fsn):
                raise RemoteProtocolError(f"message {sequence} of stream {stream_id} has two ends")
            if 0 <= partial.last_fsn < fsn:
                raise RemoteProtocolError(
                    f"message {sequence} of stream {stream_id} goes on behind its end"
                )
            self._keep(partial, fsn, payload)
        if flags & BEGIN:
            partial.ppid = last
        elif flags & END:
            partial.last_fsn = fsn
        size = len(payload)
        partial.size += size
        self.held += size + FRAGMENT_OVERHEAD
        if partial.size > self._limit:
            raise RemoteProtocolError(
                f"a message of more than {self._limit} bytes on stream {stream_id}"
            )
        if partial.last_fsn < 0 or len(parts) <= partial.last_fsn:
            return None
        self._forget((stream_id, unordered), sequence)
        charge = partial.size + FRAGMENT_OVERHEAD * len(parts)
        return Whole(stream_id, unordered, sequence, partial.ppid, b"".join(parts), charge)

    @staticmethod
    def _keep(partial: _Partial, fsn: int, payload: bytes) -> None:
        """A fragment that does not come in order: with it, others may be in order now."""
        parts, later = partial.parts, partial.later
        partial.max_fsn = max(partial.max_fsn, fsn)
        later[fsn] = payload
        while (next_part := later.pop(len(parts), None)) is not None:
            parts.append(next_part)

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
        self.held -= partial.size + FRAGMENT_OVERHEAD * (len(partial.parts) + len(partial.later))
        if not messages:
            del self._partial[key]
