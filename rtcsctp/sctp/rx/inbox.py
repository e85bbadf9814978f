"""Messages in order per stream, until the user takes them (RFC 9260 section 6.6).

A message that came ordered waits here for those before it; one that came unordered, or whose turn
it is, is readable. Everything is charged until the user takes it, and so closes the window of a
peer whose messages nobody reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from rtcsctp.sctp.events import Message
from rtcsctp.sctp.rx.reassembly import Whole
from rtcsctp.sctp.wire.chunks import UNORDERED, Data

__all__ = ["InStream", "Inbox"]


class InStream:
    """One stream that the peer sends on.

    A peer may name each of 65,535 streams, so one that holds nothing is small: some 200 bytes.
    """

    __slots__ = ("next_sequence", "ready", "waiting")

    def __init__(self) -> None:
        self.next_sequence = 0
        """The SSN or MID that is next in order, as a growing integer."""
        self.waiting: dict[int, Whole] = {}
        self.ready: deque[Message] | tuple[()] = ()
        """What the user may take; a deque only while there is something."""

    def add(self, message: Message) -> None:
        """One more message for the user."""
        if not isinstance(self.ready, deque):
            self.ready = deque()
        self.ready.append(message)


class Inbox:
    """All streams that the peer sends on."""

    __slots__ = ("_readable", "_streams", "held", "messages", "unread")

    def __init__(self) -> None:
        self._streams: dict[int, InStream] = {}
        self._readable: list[int] = []
        self.held = 0
        """Bytes held, overhead included: waiting for their turn, or unread."""
        self.unread = 0
        """Messages that the user could take now, those that were set aside included."""
        self.messages = 0
        """Messages that ever became readable."""

    def stream(self, stream_id: int) -> InStream:
        """The stream, made when it is first named."""
        stream = self._streams.get(stream_id)
        if stream is None:
            stream = self._streams[stream_id] = InStream()
        return stream

    def put_simple(self, stream: InStream, chunk: Data, charge: int) -> bool:
        """A message of one chunk, if it is readable at once and releases nothing; else False."""
        unordered = bool(chunk.flags & UNORDERED)
        if not unordered:
            if chunk.sequence != stream.next_sequence or stream.waiting:
                return False
            stream.next_sequence += 1
        if not stream.ready:
            self._readable.append(chunk.stream_id)
        stream.add(Message(chunk.stream_id, chunk.payload, chunk.ppid, unordered, charge))
        self.held += charge
        self.unread += 1
        self.messages += 1
        return True

    def begin_readable(self, stream: InStream, stream_id: int) -> deque[Message]:
        """Where to append messages of a stream that had none for the user."""
        self._readable.append(stream_id)
        ready: deque[Message] = deque()
        stream.ready = ready
        return ready

    def put(self, whole: Whole) -> None:
        """A complete message; makes readable what can be. A stale one is dropped (S22)."""
        stream = self._streams.get(whole.stream_id) or self.stream(whole.stream_id)
        if whole.unordered:
            self.held += whole.charge
            self._ready(stream, whole)
        elif whole.sequence == stream.next_sequence:
            self.held += whole.charge
            stream.next_sequence += 1
            self._ready(stream, whole)
            if stream.waiting:
                self._release(stream)
        elif whole.sequence > stream.next_sequence and whole.sequence not in stream.waiting:
            self.held += whole.charge
            stream.waiting[whole.sequence] = whole

    def skip(self, stream_id: int, sequence: int) -> None:
        """The peer gave up ordered messages up to `sequence`; those we have of them become
        readable.
        """
        stream = self.stream(stream_id)
        if sequence < stream.next_sequence:
            return
        for held in sorted(s for s in stream.waiting if s <= sequence):
            self._ready(stream, stream.waiting.pop(held))
        stream.next_sequence = sequence + 1
        self._release(stream)

    def reset(self, stream_ids: Iterable[int] | None) -> None:
        """Sequence numbers of these streams (None: of all) begin at 0 again.

        A stream that holds nothing is forgotten, so that the next reset need not look at it.
        """
        streams = self._streams
        for stream_id in list(streams if stream_ids is None else stream_ids):
            stream = streams.get(stream_id)
            if stream is None:
                continue
            for held in sorted(stream.waiting):
                self._ready(stream, stream.waiting.pop(held))
            if stream.ready:
                stream.next_sequence = 0
            else:
                del streams[stream_id]

    def forget_waiting(self) -> None:
        """Drop what waits for messages that will never come; what is readable stays (a restart)."""
        for stream in self._streams.values():
            self.held -= sum(whole.charge for whole in stream.waiting.values())
            stream.waiting.clear()
            stream.next_sequence = 0

    def take(self, stream_id: int, limit: int) -> list[Message]:
        """At most `limit` readable messages of a stream, which the user owns from now on."""
        taken = self.set_aside(stream_id, limit)
        self.held -= sum([message.charge for message in taken])
        self.unread -= len(taken)
        return taken

    def set_aside(self, stream_id: int, limit: int) -> list[Message]:
        """The same, but they count as held and unread until they are given back."""
        stream = self._streams.get(stream_id)
        if stream is None or not stream.ready:
            return []
        ready = stream.ready
        if len(ready) <= limit or not isinstance(ready, deque):
            stream.ready = ()
            return list(ready)
        return [ready.popleft() for _ in range(limit)]

    def give_back(self, messages: Sequence[Message]) -> None:
        """Messages that were set aside, each once, take no room any more."""
        self.held -= sum([message.charge for message in messages])
        self.unread -= len(messages)

    def unread_of(self, stream_ids: Iterable[int] | None) -> dict[int, int]:
        """How many messages of each of these streams (None: of all) the user has not taken."""
        streams = self._streams
        chosen = streams if stream_ids is None else stream_ids
        return {s: len(streams[s].ready) for s in chosen if s in streams}

    def is_readable(self, stream_id: int) -> bool:
        """Whether a message of the stream waits for the user."""
        stream = self._streams.get(stream_id)
        return stream is not None and bool(stream.ready)

    @property
    def has_news(self) -> bool:
        """Whether `newly_readable` would give something."""
        return bool(self._readable)

    def newly_readable(self) -> list[int]:
        """The streams that became readable since the last call."""
        found, self._readable = self._readable, []
        return found

    def _ready(self, stream: InStream, whole: Whole) -> None:
        if not stream.ready:
            self._readable.append(whole.stream_id)
        stream.add(Message(whole.stream_id, whole.data, whole.ppid, whole.unordered, whole.charge))
        self.unread += 1
        self.messages += 1

    def _release(self, stream: InStream) -> None:
        while (whole := stream.waiting.pop(stream.next_sequence, None)) is not None:
            stream.next_sequence += 1
            self._ready(stream, whole)
