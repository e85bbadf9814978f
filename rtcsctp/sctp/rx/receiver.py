"""The receiving half, joined: what happens to a DATA chunk, and what the next SACK says.

The order of the questions asked of a chunk is that of RFC 9260 section 6.2; the answer is named by
`Arrival`, and the handler acts on it. The window (RFC 9260 6.2, 6.2.1): everything held is charged,
with an overhead per chunk; above the window only what unblocks something is taken (pitfall S19):

- a TSN below the highest one, which fills a gap;
- the next TSN, while the user has nothing to read, so that only more can give him something; and
  anything, if a single message is incomplete then: so do messages arrive that exceed the window.

Both end at a hard limit of the window and two messages of the largest size. The window itself grows
with what the path carries (`rtcsctp.sctp.rx.window`).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from rtcsctp.errors import RemoteProtocolError
from rtcsctp.sctp.config import Config
from rtcsctp.sctp.events import Message
from rtcsctp.sctp.rx.acknowledge import SackPolicy
from rtcsctp.sctp.rx.inbox import Inbox
from rtcsctp.sctp.rx.reassembly import (
    FRAGMENT_OVERHEAD,
    DataReassembly,
    IDataReassembly,
    Reassembly,
)
from rtcsctp.sctp.rx.received import MAX_AHEAD, ReceivedTsns
from rtcsctp.sctp.rx.window import Window
from rtcsctp.sctp.wire.chunks import (
    BEGIN,
    END,
    IMMEDIATE,
    SACK_HEADER_SIZE,
    UNORDERED,
    Data,
    ForwardTsn,
    encode_sack,
)
from rtcsctp.sctp.wire.serial import MASK32, unwrap16, unwrap32

__all__ = ["Arrival", "DeferredReset", "Receiver"]


class Arrival(Enum):
    """What became of a DATA chunk."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    TOO_FAR = "TSN beyond the window"
    NO_ROOM = "receive window full"
    OUT_OF_RESOURCE = "incomplete messages fill the receive buffer"
    NO_USER_DATA = "DATA without user data"
    INVALID_STREAM = "invalid stream"


_MARGIN = 3  # an eighth: FRAGMENT_OVERHEAD is a twentieth of a full packet


class DeferredReset:
    """A stream reset that waits for TSNs sent before it (RFC 6525 5.2.2 E2)."""

    __slots__ = ("charge", "chunks", "forwards", "last_tsn", "streams")

    def __init__(self, last_tsn: int, streams: frozenset[int] | None) -> None:
        self.last_tsn = last_tsn
        self.streams = streams
        self.chunks: list[Data] = []
        self.forwards: list[tuple[int, tuple[int, bool, int]]] = []
        self.charge = 0

    def concerns(self, stream_id: int) -> bool:
        """Whether the stream is being reset."""
        return self.streams is None or stream_id in self.streams


class Receiver:
    """The receiving half of an association."""

    __slots__ = (
        "_advertised",
        "_config",
        "deferred",
        "inbox",
        "interleaved",
        "limits",
        "max_message_size",
        "policy",
        "reassembly",
        "stream_count",
        "tsns",
        "unread_at_reset",
    )

    def __init__(
        self,
        config: Config,
        *,
        peer_initial_tsn: int,
        stream_count: int,
        interleaved: bool,
        inbox: Inbox,
    ) -> None:
        self._config = config
        self.interleaved = interleaved
        self.limits = Window(config)
        """What may be held."""
        self._advertised = config.rwnd
        self.max_message_size = config.max_message_size
        self.stream_count = stream_count
        """Streams that the peer may send on."""
        self.inbox = inbox
        self.tsns = ReceivedTsns(peer_initial_tsn - 1)
        self.policy = SackPolicy(config.sack_frequency)
        self.deferred: DeferredReset | None = None
        self.unread_at_reset: dict[int, int] = {}
        """Messages of each stream of the last reset that came before it and were not taken then."""
        self.reassembly: Reassembly = self._new_reassembly()

    def _new_reassembly(self) -> Reassembly:
        size = self._config.max_message_size
        return IDataReassembly(size) if self.interleaved else DataReassembly(size)

    # ------------------------------------------------------------------------------- window

    @property
    def held(self) -> int:
        """Bytes charged against the window."""
        deferred = self.deferred.charge if self.deferred is not None else 0
        return self.reassembly.held + self.inbox.held + deferred

    @property
    def window(self) -> int:
        """What to advertise as a_rwnd now, bytes.

        A window smaller than a packet (or half the buffer, if that is less) is advertised as
        closed: silly-window avoidance, RFC 1122 section 4.2.3.3. Where the user has nothing to
        read because a single message is incomplete, half the buffer is opened again.
        """
        rwnd, held = self.limits.size, self.held
        smallest = min(self._config.mtu, rwnd // 2)
        free = rwnd - held
        if free < smallest and self._needs_more:
            free = min(rwnd // 2, self.limits.hard_limit - held)
        return free if free >= smallest else 0

    def should_update_window(self) -> bool:
        """Whether the window has opened so far since the last SACK that the peer must be told.

        By a quarter of the buffer; or from less than two packets, which may have stopped the peer.
        """
        window = self.window
        grown = window - self._advertised
        two_packets = 2 * self._config.mtu
        return grown >= self.limits.size // 4 or (self._advertised < two_packets <= window)

    def _has_room(self, tsn: int) -> bool:
        held, size = self.held, self.limits.size
        # What was advertised counts the peer's bytes, and what is held our own on top of them. A
        # peer that keeps to the window finds room for all of it, unless its chunks are tiny.
        if held < size + min(size >> _MARGIN, self._config.max_message_size):
            return True
        if held >= self.limits.hard_limit:
            return False
        if tsn < self.tsns.highest or self._needs_more:
            return True
        return tsn == self.tsns.cumulative + 1 and not self.inbox.unread

    @property
    def _needs_more(self) -> bool:
        """Whether nothing but more data can give the user something to read.

        No TSN is missing, and one message is incomplete. Of several, the window stays closed, and
        the sender's probes finish one: more room would only let more of all of them in.
        """
        return not self.inbox.unread and not self.tsns.has_gap and self.reassembly.is_single

    # ----------------------------------------------------------------------------- arrivals

    def handle_data(self, chunk: Data) -> Arrival:
        """One DATA or I-DATA chunk; its TSN becomes a growing integer.

        Raises:
            RemoteProtocolError: its fragments contradict each other, or a message is too large.
        """
        tsns = self.tsns
        tsn = chunk.tsn = unwrap32(chunk.tsn, tsns.cumulative)
        if (
            chunk.payload
            and self.reassembly.held + self.inbox.held < self.limits.size
            and self.deferred is None
            and tsns.add_next(tsn)
        ):
            if chunk.flags & IMMEDIATE:
                self.policy.immediately()
            if chunk.stream_id >= self.stream_count:
                return Arrival.INVALID_STREAM  # the TSN counts all the same (RFC 9260 6.5)
            self._deliver(chunk)
            return Arrival.ACCEPTED
        return self._handle_unusual(chunk, tsn)

    def _handle_unusual(self, chunk: Data, tsn: int) -> Arrival:
        """A chunk that is not simply the next one, with room for it."""
        tsns = self.tsns
        if tsn > tsns.cumulative + MAX_AHEAD:
            return Arrival.TOO_FAR
        if not chunk.payload:
            return Arrival.NO_USER_DATA
        if tsn != tsns.cumulative + 1 and tsn in tsns:
            tsns.add(tsn)
            self.policy.immediately()
            return Arrival.DUPLICATE
        if not self._has_room(tsn):
            self.policy.immediately()
            if self.held >= self.limits.hard_limit and not self.inbox.unread:
                return Arrival.OUT_OF_RESOURCE
            return Arrival.NO_ROOM
        had_gap = tsns.has_gap
        tsns.add(tsn)
        if had_gap or tsns.has_gap or chunk.flags & IMMEDIATE:
            self.policy.immediately()
        if chunk.stream_id >= self.stream_count:
            return Arrival.INVALID_STREAM
        deferred = self.deferred
        if deferred is not None and tsn > deferred.last_tsn and deferred.concerns(chunk.stream_id):
            deferred.chunks.append(chunk)
            deferred.charge += len(chunk.payload) + FRAGMENT_OVERHEAD
        else:
            self._deliver(chunk)
        return Arrival.ACCEPTED

    def _deliver(self, chunk: Data) -> None:
        inbox, flags = self.inbox, chunk.flags
        stream = inbox.stream(chunk.stream_id)
        if not flags & UNORDERED:
            unwrap = unwrap32 if self.interleaved else unwrap16
            chunk.sequence = unwrap(chunk.sequence, stream.next_sequence)
            if chunk.sequence < stream.next_sequence:
                return  # stale (pitfall S22)
        if flags & BEGIN and flags & END:
            size = len(chunk.payload)
            self._check_size(size, chunk.stream_id)
            if inbox.put_simple(stream, chunk, size + FRAGMENT_OVERHEAD):
                return  # from the packet to the user without a detour
        whole = self.reassembly.add(chunk)
        if whole is not None:
            self._check_size(len(whole.data), chunk.stream_id)
            inbox.put(whole)

    def _check_size(self, size: int, stream_id: int) -> None:
        if size > self.max_message_size:
            raise RemoteProtocolError(
                f"a message of {size} bytes on stream {stream_id}, above the limit of"
                f" {self.max_message_size}"
            )

    def handle_forward_tsn(self, chunk: ForwardTsn) -> Arrival:
        """A FORWARD-TSN or I-FORWARD-TSN (RFC 3758 3.6, RFC 8260 2.3.1)."""
        tsn = unwrap32(chunk.new_cumulative_tsn, self.tsns.cumulative)
        if tsn <= self.tsns.cumulative:
            self.policy.immediately()  # our SACK was lost (pitfall S32)
            return Arrival.DUPLICATE
        if tsn > self.tsns.cumulative + max(MAX_AHEAD, self.limits.size):
            return Arrival.TOO_FAR
        self.tsns.advance(tsn)
        self.policy.immediately()  # the peer is blocked on this
        deferred = self.deferred
        now: list[tuple[int, bool, int]] = []
        for entry in chunk.skipped:
            if entry[0] >= self.stream_count:
                continue
            if deferred is not None and tsn > deferred.last_tsn and deferred.concerns(entry[0]):
                deferred.forwards.append((tsn, entry))
            else:
                now.append(entry)
        self._skip(tsn, now)
        return Arrival.ACCEPTED

    def _skip(self, tsn: int, skipped: list[tuple[int, bool, int]]) -> None:
        unwrap = unwrap32 if self.interleaved else unwrap16
        # Each entry costs a look at all that waits on its stream, so a stream that is named a
        # thousand times is looked at once (pitfall S33).
        largest: dict[tuple[int, bool], int] = {}
        for stream_id, unordered, sequence in skipped:
            key = (stream_id, unordered)
            if unordered:
                near = largest.get(key, sequence)
            else:
                near = self.inbox.stream(stream_id).next_sequence
            number = unwrap(sequence, near)
            largest[key] = max(number, largest.get(key, number))
        self.reassembly.forward(tsn, [(*key, number) for key, number in largest.items()])
        for (stream_id, unordered), number in largest.items():
            if not unordered:
                self.inbox.skip(stream_id, number)

    # ------------------------------------------------------------------------------- resets

    def reset_streams(self, last_tsn: int, streams: frozenset[int] | None) -> bool:
        """The peer resets streams (None: all) after `last_tsn`; False if that has to wait.

        If it waits, `finish_deferred_reset` tells when it is done.
        """
        if last_tsn > self.tsns.cumulative:
            if self.deferred is None:
                self.deferred = DeferredReset(last_tsn, streams)
            return False
        self._reset(streams, last_tsn)
        return True

    def finish_deferred_reset(self) -> bool:
        """Carry out the reset that waited, if everything before it has arrived now."""
        deferred = self.deferred
        if deferred is None or deferred.last_tsn > self.tsns.cumulative:
            return False
        self.deferred = None
        self._reset(deferred.streams, deferred.last_tsn)
        for chunk in deferred.chunks:
            self._deliver(chunk)
        for tsn, entry in deferred.forwards:
            self._skip(tsn, [entry])
        return True

    def _reset(self, streams: frozenset[int] | None, last_tsn: int) -> None:
        self.reassembly.drop_streams(streams, last_tsn)
        self.inbox.reset(streams)
        self.unread_at_reset = self.inbox.unread_of(streams)

    def reset_association(self, next_tsn: int) -> None:
        """Everything begins anew at `next_tsn`, all streams at 0 (RFC 6525 5.2.4 G4, 5.2.7 H5)."""
        self.reassembly.drop_streams(None, self.tsns.highest)
        self.inbox.reset(None)
        self.deferred = None
        self.tsns = ReceivedTsns(next_tsn - 1)

    # --------------------------------------------------------------------------------- SACK

    def receive(self, stream_id: int, limit: int) -> list[Message]:
        """Messages for the user; asks for a SACK if that opens the window far enough."""
        taken = self.inbox.take(stream_id, limit)
        if taken and self.should_update_window():
            self.policy.immediately()
        return taken

    def adapt_window(self, charge: int, srtt: float | None, now: float) -> None:
        """The user has taken what was charged as `charge`: the window may grow.

        `srtt` is the round trip that the sending half knows of, if it does, seconds.
        """
        if self.limits.taken(charge, self.inbox.held, srtt, now):
            self.policy.immediately()

    def give_back(self, messages: Sequence[Message]) -> None:
        """Messages that were set aside take no room any more; asks for a SACK like `receive`."""
        self.inbox.give_back(messages)
        if messages and self.should_update_window():
            self.policy.immediately()

    def make_sack(self, room: int) -> bytes:
        """A SACK chunk of at most `room` bytes (at least 16) on what arrived so far."""
        tsns = self.tsns
        self._advertised = window = self.window
        self.policy.sent()
        words = (room - SACK_HEADER_SIZE) // 4
        blocks = tsns.gap_blocks(words) if tsns.has_gap else ()
        duplicates = tsns.take_duplicates(words - len(blocks)) if tsns.has_duplicates else ()
        return encode_sack(tsns.cumulative & MASK32, min(window, MASK32), blocks, duplicates)
