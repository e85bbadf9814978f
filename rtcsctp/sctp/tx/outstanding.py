"""Which chunks are in flight, lost, acknowledged out of order or given up (RFC 9260 6.2.1, 7.2.4).

A dict from TSN to record, in TSN order, holds everything above the cumulative TSN. A SACK is
compared with the last one: only ranges that are newly acknowledged, or newly missing, are walked,
so a SACK costs what it changes and not what is in flight.

Nothing is changed before a SACK has been judged as a whole (pitfall S11).

A SACK may be *cut*: it has so many gap blocks that the receiver had no room, or no will, to report
more. Of what lies behind the last block it says nothing: that neither is missing, nor taken back,
nor came late when a later SACK reports it.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from rtcsctp.errors import RemoteProtocolError
from rtcsctp.sctp.tx.delivery import Transmission
from rtcsctp.sctp.tx.misses import MissFrontiers
from rtcsctp.sctp.tx.records import Outgoing, Sent, SentState

__all__ = ["UNCUT", "AckInfo", "Outstanding"]

Range = tuple[int, int]

UNCUT = 1 << 62
"""A TSN above all others."""

_MAY_BE_CUT = 20
"""Gap blocks from which on a SACK may be cut: dcSCTP reports so many at most; others what a packet
holds, which is more (about 290), and how much that is for a peer shows with time."""
_SPARE = 16
"""Blocks or duplicates by which a cut SACK may be smaller than the largest: it shares its packet
with something else, or the packet is smaller now."""
_FULL = 250
"""Blocks and duplicates that may fill a packet, whatever was seen before: one of 1 kB."""

_IN_FLIGHT = SentState.IN_FLIGHT
_LOST = SentState.LOST
_ACKED = SentState.ACKED
_ABANDONED = SentState.ABANDONED
_UNTOLD = SentState.UNTOLD


class AckInfo:
    """What a SACK changed."""

    __slots__ = (
        "cumulative_moved",
        "fresh_since",
        "heap",
        "highest_new",
        "newest",
        "newest_again",
        "newest_tsn",
        "newly_acked",
        "once",
        "reneged",
        "reordered",
        "resent",
        "rtt_acked",
        "spoken",
    )

    def __init__(self, spoken: int = UNCUT, fresh_since: float = math.inf) -> None:
        self.spoken = spoken
        """`Outstanding.spoken` before: what lies above may have arrived long ago."""
        self.fresh_since = fresh_since
        """Not so, if it was sent since then."""
        self.heap = False
        """Something that lies above was sent before that."""
        self.cumulative_moved = False
        self.newly_acked = 0
        """Bytes with headers and padding; without what was abandoned, or acknowledged before."""
        self.highest_new: int | None = None
        """The highest TSN newly acknowledged (HTNA)."""
        self.rtt_acked = False
        """The chunk that measures the round trip was acknowledged, and was sent only once."""
        self.reneged = False
        """Something acknowledged by a gap block is missing again."""
        self.newest: Transmission | None = None
        """The last burst that something newly acknowledged was sent in."""
        self.newest_tsn = 0
        """The highest of those TSNs."""
        self.newest_again = False
        """It had been sent before."""
        self.once: Transmission | None = None
        """The last burst that something newly acknowledged, and sent only once, was sent in: it has
        just arrived."""
        self.reordered = False
        """Something sent only once arrived after what has a higher TSN."""
        self.resent: list[Transmission] = []
        """When the newly acknowledged chunks were last sent that had been sent more than once."""

    def is_old(self, record: Sent) -> bool:
        """Whether what became of a chunk could have been told earlier, had there been room."""
        return record.tsn > self.spoken and record.transmission.sent_at < self.fresh_since

    def note(self, record: Sent) -> None:
        """`record` is newly acknowledged: when had it been sent?"""
        burst = record.transmission
        again = record.transmissions > 1
        old = record.tsn > self.spoken and self.is_old(record)
        if old:
            self.heap = True
        newest = self.newest
        if newest is None or burst.number >= newest.number:
            if burst is not newest or record.tsn > self.newest_tsn:
                self.newest_tsn = record.tsn
                self.newest_again = again
            self.newest = burst
        if again:
            self.resent.append(burst)
        elif (self.once is None or burst.number > self.once.number) and not old:
            self.once = burst


class Outstanding:
    """Everything that has a TSN above the cumulative one."""

    __slots__ = (
        "_blocks",
        "_highest_resent",
        "_lost",
        "_misses",
        "_most_blocks",
        "_most_words",
        "_resent",
        "_walked",
        "advanced_ack_point",
        "cumulative",
        "flight",
        "lost_payload",
        "next_tsn",
        "payload",
        "records",
        "rtt_tsn",
        "spoken",
    )

    def __init__(self, initial_tsn: int) -> None:
        self.records: dict[int, Sent] = {}
        self.next_tsn = initial_tsn
        self.cumulative = initial_tsn - 1
        """Cumulative TSN Ack Point."""
        self.advanced_ack_point = initial_tsn - 1
        """Advanced.Peer.Ack.Point of RFC 3758: up to here all is acknowledged or abandoned."""
        self._walked = initial_tsn - 1  # up to here it could move, if what follows is abandoned
        self.flight = 0
        """Bytes in flight, with headers and padding."""
        self.payload = 0
        """Bytes of user data in flight."""
        self.lost_payload = 0
        """Bytes of user data that wait to be sent again."""
        self.rtt_tsn: int | None = None
        """The TSN whose acknowledgement will measure a round trip."""
        self.spoken = UNCUT
        """The highest TSN that the last SACK speaks of, if it may be cut."""
        self._blocks: list[Range] = []  # acknowledged by gap blocks, absolute, sorted, disjoint
        self._lost: list[int] = []  # heap of TSNs to send again; entries may be outdated
        self._resent: list[tuple[int, int]] = []  # heap of (miss key, TSN) of what was sent again
        self._misses = MissFrontiers(initial_tsn)
        self._most_blocks = self._most_words = 0  # in one SACK
        self._highest_resent = initial_tsn - 1

    # ----------------------------------------------------------------------------- sending

    def add(self, record: Sent) -> None:
        """A new chunk was sent, with `next_tsn`."""
        self.records[record.tsn] = record
        self.next_tsn = record.tsn + 1
        self.flight += record.wire_size
        self.payload += record.size

    def added(self, next_tsn: int, flight: int, payload: int) -> None:
        """Records up to `next_tsn` were put in place: `flight` is in flight now, with `payload`
        new.
        """
        self.next_tsn = next_tsn
        self.flight = flight
        self.payload += payload

    def add_placeholder(self, message: Outgoing, flags: int, fsn: int) -> None:
        """A TSN that is never sent, given up from the start: the end of an abandoned message.

        Without an end, a receiver that has a beginning waits for the rest, and usrsctp aborts when
        the next message begins (pitfall S24).
        """
        record = Sent(self.next_tsn, message, message.offset, 0, 0, flags, fsn)
        record.state = _ABANDONED
        record.transmissions = 0
        self.records[record.tsn] = record
        self.next_tsn += 1

    @property
    def has_gaps(self) -> bool:
        """Whether something above the cumulative TSN is acknowledged."""
        return bool(self._blocks)

    def next_lost(self) -> Sent | None:
        """The lowest chunk that is to be sent again; it stays where it is."""
        lost = self._lost
        while lost:
            record = self.records.get(lost[0])
            if record is not None and record.state is _LOST:
                return record
            heapq.heappop(lost)
        return None

    def resend(self, record: Sent) -> None:
        """`record`, which `next_lost` gave, is sent again."""
        if self._lost and self._lost[0] == record.tsn:
            heapq.heappop(self._lost)
        record.state = _IN_FLIGHT
        record.transmissions += 1
        self._highest_resent = max(self._highest_resent, record.tsn)
        record.miss_key = self.next_tsn - 1
        self.flight += record.wire_size
        self.payload += record.size
        self.lost_payload -= record.size
        if record.tsn == self.rtt_tsn:
            self.rtt_tsn = None  # Karn (pitfall S9)
        if not record.fast_retransmitted:
            heapq.heappush(self._resent, (record.miss_key, record.tsn))

    def mark_lost(self, record: Sent) -> None:
        """A chunk in flight is taken for lost, and waits to be sent again."""
        if record.state is _IN_FLIGHT:
            self.flight -= record.wire_size
            self.payload -= record.size
        record.state = _LOST
        self.lost_payload += record.size
        heapq.heappush(self._lost, record.tsn)

    def set_aside(self, record: Sent) -> None:
        """A chunk is in flight no longer, but what became of it will be known later."""
        record.state = _UNTOLD
        self.flight -= record.wire_size
        self.payload -= record.size

    def untold(self) -> list[Sent]:
        """Every chunk that was set aside, in TSN order."""
        return [record for record in self.records.values() if record.state is _UNTOLD]

    def in_flight(self) -> list[Sent]:
        """Every chunk in flight, in TSN order."""
        return [record for record in self.records.values() if record.state is _IN_FLIGHT]

    def abandon(self, record: Sent) -> None:
        """Give a chunk up; what was in flight no longer is (pitfall S12: once only)."""
        if record.state is _IN_FLIGHT:
            self.flight -= record.wire_size
            self.payload -= record.size
        elif record.state is _LOST:
            self.lost_payload -= record.size
        if record.tsn == self.rtt_tsn:
            self.rtt_tsn = None
        record.state = _ABANDONED
        self._walked = min(self._walked, record.tsn - 1)  # it may have been acknowledged before

    # ------------------------------------------------------------------------ acknowledgement

    def handle_cumulative(self, cumulative: int) -> AckInfo | None:
        """The cumulative TSN of a SHUTDOWN, which says nothing of gaps; None if it is old.

        Raises:
            RemoteProtocolError: it acknowledges what was never sent.
        """
        if cumulative < self.cumulative:
            return None
        self._judge(cumulative, ())
        info = AckInfo()
        self._advance(cumulative, info)
        self._blocks = [block for block in self._blocks if block[1] > cumulative]
        return info

    def handle_sack(
        self,
        cumulative: int,
        offsets: Sequence[Range],
        duplicates: int = 0,
        fresh_since: float = math.inf,
    ) -> AckInfo | None:
        """A SACK; None if it is older than one that came before (pitfall S10).

        Args:
            cumulative: its cumulative TSN, unwrapped.
            offsets: its gap blocks as they came.
            duplicates: how many it reports.
            fresh_since: what was sent since then, and is acknowledged now, has just arrived.

        Raises:
            RemoteProtocolError: it acknowledges what was never sent, or a block is inverted.
                Nothing has been changed then.
        """
        if cumulative < self.cumulative:
            return None
        blocks = self._judge(cumulative, offsets)
        info = AckInfo(self.spoken, fresh_since)
        if cumulative > self.cumulative:
            self._advance(cumulative, info)
        # The TSN behind a block has not arrived, or it would be in the block.
        self.spoken = UNCUT
        if len(offsets) >= _MAY_BE_CUT and (
            self._may_be_cut(len(offsets), duplicates)
            # It ends below the one before it: it has shared its packet with something large.
            or (self._blocks and blocks[-1][1] < self._blocks[-1][1])
        ):
            self.spoken = blocks[-1][1] + 1
        if blocks or self._blocks:
            self._acknowledge_gaps(blocks, info)
        return info

    def _may_be_cut(self, blocks: int, duplicates: int) -> bool:
        """Whether a SACK with so many may have left blocks out for want of room."""
        words = blocks + duplicates  # of four bytes
        self._most_blocks = max(self._most_blocks, blocks)
        self._most_words = max(self._most_words, words)
        if self._most_blocks == _MAY_BE_CUT:
            return True
        return words >= min(max(self._most_words - _SPARE, _MAY_BE_CUT), _FULL)

    def _judge(self, cumulative: int, offsets: Sequence[Range]) -> list[Range]:
        highest = self.next_tsn - 1
        if cumulative > highest:
            raise RemoteProtocolError(
                f"a SACK for TSN {cumulative}, but {highest} is the last one sent"
            )
        blocks: list[Range] = []
        for start, end in sorted(offsets) if len(offsets) > 1 else offsets:
            if not 0 < start <= end or cumulative + end > highest:
                raise RemoteProtocolError(f"a gap block from {start} to {end} above {cumulative}")
            first, last = cumulative + start, cumulative + end
            if blocks and first <= blocks[-1][1] + 1:
                blocks[-1] = (blocks[-1][0], max(blocks[-1][1], last))
            else:
                blocks.append((first, last))
        return blocks

    def _advance(self, cumulative: int, info: AckInfo) -> None:
        if self._blocks or self._highest_resent > self.cumulative:
            self._advance_with_care(cumulative, info)
        else:
            self._advance_in_order(cumulative, info)
        if self.rtt_tsn is not None and self.rtt_tsn <= cumulative:
            info.rtt_acked = self.rtt_tsn <= info.spoken
            self.rtt_tsn = None
        info.cumulative_moved = cumulative > self.cumulative
        self.cumulative = cumulative
        self.advanced_ack_point = max(self.advanced_ack_point, cumulative)

    def _advance_in_order(self, cumulative: int, info: AckInfo) -> None:
        """Nothing above was acknowledged, or sent again: the usual case, in one loop."""
        pop = self.records.pop
        flight = payload = lost = lost_payload = 0
        latest: Sent | None = None
        for tsn in range(self.cumulative + 1, cumulative + 1):
            record = pop(tsn)
            state = record.state
            if state is _IN_FLIGHT:
                flight += record.wire_size
                payload += record.size
                latest = record
            elif state is _LOST:
                lost += record.wire_size
                lost_payload += record.size
                latest = record
            elif state is _UNTOLD:
                lost += record.wire_size
                latest = record
        self.flight -= flight
        self.payload -= payload
        self.lost_payload -= lost_payload
        info.newly_acked = flight + lost
        if latest is not None:
            info.highest_new = latest.tsn
            info.note(latest)

    def _advance_with_care(self, cumulative: int, info: AckInfo) -> None:
        pop = self.records.pop
        highest = min(self._blocks[-1][1], info.spoken) if self._blocks else 0
        acked = 0
        for tsn in range(self.cumulative + 1, cumulative + 1):
            record = pop(tsn)
            state = record.state
            if state is _IN_FLIGHT:
                self.flight -= record.wire_size
                self.payload -= record.size
            elif state is _LOST:
                self.lost_payload -= record.size
            elif state is not _UNTOLD:
                continue
            acked += record.wire_size
            info.highest_new = tsn
            info.note(record)
            if tsn < highest and record.transmissions == 1:
                info.reordered = True
        info.newly_acked = acked

    def _acknowledge_gaps(self, blocks: list[Range], info: AckInfo) -> None:
        records = self.records
        highest = min(self._blocks[-1][1], info.spoken) if self._blocks else 0
        before = self._blocks
        if self.spoken < UNCUT and before and before[-1][1] > self.spoken:
            before, beyond = _split(before, self.spoken)
            self._blocks = blocks + beyond
        else:
            self._blocks = blocks
        for start, end in _subtract(blocks, before):
            for tsn in range(start, end + 1):
                record = records.get(tsn)
                if record is None:
                    continue
                state = record.state
                if state is _IN_FLIGHT:
                    self.flight -= record.wire_size
                    self.payload -= record.size
                elif state is _LOST:
                    self.lost_payload -= record.size
                elif state is not _UNTOLD:
                    continue
                record.state = _ACKED
                info.note(record)
                if tsn < highest and record.transmissions == 1:
                    info.reordered = True
                info.newly_acked += record.wire_size
                info.highest_new = max(tsn, info.highest_new or tsn)
                if tsn == self.rtt_tsn:
                    info.rtt_acked = tsn <= info.spoken
                    self.rtt_tsn = None
        for start, end in _subtract(before, blocks):
            for tsn in range(max(start, self.cumulative + 1), end + 1):
                record = records.get(tsn)
                if record is not None and record.state is _ACKED:
                    self._renege(record)
                    info.reneged = True

    def _renege(self, record: Sent) -> None:
        """The receiver dropped what it had acknowledged (6.2.1 D iii).

        While it was acknowledged, no SACK reported it missing: the count begins with this one, if
        that acknowledges something new.
        """
        record.state = _IN_FLIGHT
        self._walked = min(self._walked, record.tsn - 1)
        self.flight += record.wire_size
        self.payload += record.size
        record.miss_key = max(record.tsn, self._misses.first)
        if not record.fast_retransmitted and not _counts_from_itself(record):
            heapq.heappush(self._resent, (record.miss_key, record.tsn))

    # --------------------------------------------------------------------------------- loss

    def find_missing(self, info: AckInfo, *, recovering: bool) -> list[Sent]:
        """Chunks that this SACK reported missing for the third time; they are still in flight.

        In fast recovery a SACK that moves the cumulative TSN counts for everything it reports
        missing; otherwise only for what is below the highest newly acknowledged TSN (pitfalls S2,
        S3).
        """
        if not self._blocks and not self._resent:
            return []
        h = info.highest_new
        if recovering and info.cumulative_moved and self._blocks:
            h = max(h or 0, min(self._blocks[-1][1], self.spoken))
        if h is None:
            return []
        misses = self._misses
        before = misses.third
        misses.indicate(h)
        found: list[Sent] = []
        for tsn in range(max(before, self.cumulative + 1), misses.third):
            record = self.records.get(tsn)
            if record is not None and record.state is _IN_FLIGHT and _counts_from_itself(record):
                found.append(record)
        resent = self._resent
        while resent and resent[0][0] < misses.third:
            key, tsn = heapq.heappop(resent)
            record = self.records.get(tsn)
            if (
                record is not None
                and record.state is _IN_FLIGHT
                and record.miss_key == key
                and not record.fast_retransmitted
            ):
                found.append(record)
        return found

    # -------------------------------------------------------------------------- abandonment

    def advance_ack_point(self) -> bool:
        """Move the advanced ack point over what is abandoned (RFC 3758 3.5 C2); did it move?

        Also over what lies between and has arrived, if it is of messages that may be abandoned.
        Else each round trip could skip one gap, and where more than one packet is lost in each, the
        cumulative TSN would fall behind without end. Should the receiver take one of those back,
        it is lost, as it may be.
        """
        before = point = self.advanced_ack_point
        tsn = max(point, self._walked)
        records = self.records
        while (record := records.get(tsn + 1)) is not None:
            if record.state is _ABANDONED:
                point = tsn + 1
            elif record.state is not _ACKED or record.message.chunks is None:
                break
            tsn += 1
        self._walked = tsn
        self.advanced_ack_point = point
        return point > before

    def abandoned(self) -> Iterator[Sent]:
        """What has not arrived of the chunks up to the advanced ack point."""
        for tsn in range(self.cumulative + 1, self.advanced_ack_point + 1):
            record = self.records[tsn]
            if record.state is not _ACKED:
                yield record

    # -------------------------------------------------------------------------------- reset

    def forget_all(self) -> list[Outgoing]:
        """Forget every chunk; give the messages that were not wholly acknowledged, in order."""
        messages: dict[int, Outgoing] = {}
        for record in self.records.values():
            if record.state != _ABANDONED:
                messages.setdefault(id(record.message), record.message)
        self.records.clear()
        self._blocks.clear()
        self._lost.clear()
        self._resent.clear()
        self.spoken = UNCUT
        self.flight = self.payload = self.lost_payload = 0
        self.rtt_tsn = None
        return list(messages.values())


def _counts_from_itself(record: Sent) -> bool:
    """Whether all that is above a chunk tells of it: it was sent once, and not reneged on."""
    return record.transmissions == 1 and record.miss_key == record.tsn


def _split(ranges: list[Range], last: int) -> tuple[list[Range], list[Range]]:
    """What `ranges` have up to `last`, and behind it; at most one is looked at."""
    i = bisect_left(ranges, (last + 1, 0))
    below, beyond = ranges[:i], ranges[i:]
    if below and below[-1][1] > last:
        start, end = below[-1]
        below[-1] = (start, last)
        beyond.insert(0, (last + 1, end))
    return below, beyond


def _subtract(ranges: Sequence[Range], others: Sequence[Range]) -> Iterator[Range]:
    """The parts of `ranges` that are in none of `others`; both sorted and disjoint."""
    i = 0
    for first, end in ranges:
        start = first
        while i < len(others) and others[i][1] < start:
            i += 1
        j = i
        while j < len(others) and others[j][0] <= end:
            other_start, other_end = others[j]
            if other_start > start:
                yield start, other_start - 1
            start = other_end + 1
            j += 1
        if start <= end:
            yield start, end
