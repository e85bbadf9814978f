"""What was sent before something that has arrived, and long enough ago, is lost (RFC 8985, RACK).

Bursts are kept in the order in which they were sent. Once a chunk is acknowledged, whatever was
sent before it, and is not acknowledged within a round trip and a *reordering window* after it was
sent, is taken for lost. That holds for chunks sent again, too: the oldest burst is looked at first,
and one that is done with leaves, so each transmission of a chunk is looked at once.

New chunks leave in the order of their TSNs. Where a SACK may be cut to what a packet holds
(`Outstanding.spoken`), those that it does not speak of may well have arrived. When their time is
over they are set aside: no longer in flight, or nothing might be sent that brings the SACK that
will tell, and not sent again before that tells. So chunks that were sent again have a queue of
their own. Nothing that such SACKs speak of may have been sent later, until the gaps below are
filled, so where packets are paced, each SACK that comes is taken for a sign that later ones arrive,
too. Without a pace, what leaves flight in this way would be followed by a burst of the same size.

The reordering window is a quarter of the shortest round trip, times a factor that grows by one per
round trip in which the peer reports duplicates (what was taken for lost had arrived), and falls
back to one when sixteen recoveries have passed without; never more than the smoothed round trip
(6.2, step 4). Before any reordering has been seen, losses that are being repaired need none, nor
does what has been reported missing three times (`misses`: the DupThresh of RFC 9260 7.2.4).
"""

from __future__ import annotations

import math
from collections import deque

from rtcsctp.sctp.tx.delivery import Transmission
from rtcsctp.sctp.tx.outstanding import AckInfo, Outstanding
from rtcsctp.sctp.tx.records import UNTOLD, Sent

__all__ = ["Rack"]

_GRANULARITY = 0.001
"""Seconds. The reordering window is not below it, also where RFC 8985's bound by the smoothed round
trip would have it so: what was sent in one turn of a program's loop may arrive in another order
just because of threads and queues, and no timer divides it."""
_TICK = 1e-6  # seconds that are no difference
_RECOVERIES = 16
_MIN_RTT_WINDOW = 10.0
"""Seconds that a shortest round trip is believed for, at least; twice as long at most."""


class Rack:
    """The bursts that may have chunks in flight, and the newest that has arrived."""

    __slots__ = (
        "_factor",
        "_min_now",
        "_min_older",
        "_min_since",
        "_newest",
        "_newest_tsn",
        "_patience",
        "_round",
        "_rtt",
        "_sent",
        "_sent_again",
        "_untold",
        "due",
        "reordering_seen",
    )

    def __init__(self) -> None:
        self._sent: deque[Transmission] = deque()
        # Most associations never need these, and an empty deque takes 760 bytes.
        self._sent_again: deque[Transmission] | None = None
        self._untold: deque[Sent] | None = None
        self.reordering_seen = False
        """Something arrived after what was sent later, without having been sent again."""
        self.path_changed()

    def path_changed(self) -> None:
        """Nothing is known of how long packets travel."""
        self._min_now: float | None = None
        self._min_older: float | None = None
        self._min_since = 0.0
        self._newest: Transmission | None = None
        self._newest_tsn = 0
        self._rtt = 0.0
        self._factor = 1
        self._patience = 0
        self._round: int | None = None
        self.due: float | None = None
        """When to look again, if nothing arrives until then; None: there is no need."""

    @property
    def min_rtt(self) -> float | None:
        """The shortest round trip of the last ten seconds or more; None before the first."""
        if self._min_now is None or self._min_older is None:
            return self._min_now
        return min(self._min_now, self._min_older)

    @property
    def soonest(self) -> float:
        """Seconds: what is acknowledged sooner after it was sent had been sent before; 0 while no
        round trip is known.
        """
        shortest = self.min_rtt
        return shortest - _TICK if shortest is not None else 0.0

    def sent(self, burst: Transmission) -> None:
        """A burst was sent."""
        self._sent.append(burst)

    def sent_again(self, burst: Transmission, record: Sent) -> None:
        """`record`, which had been sent before, was sent in `burst`."""
        if not burst.resent:
            again = self._sent_again
            if again is None:
                again = self._sent_again = deque()
            again.append(burst)
        burst.resent.append(record)

    @property
    def has_untold(self) -> bool:
        """Whether something may have arrived that SACKs have no room for."""
        return bool(self._untold)

    def forget_sent(self) -> None:
        """Nothing is in flight any more: T3-rtx expired, or all begins anew."""
        self._sent.clear()
        self._sent_again = self._untold = None
        self.due = None

    def delivered(self, info: AckInfo, now: float) -> None:
        """What a SACK acknowledged for the first time (6.2, steps 1 to 3)."""
        if info.once is not None:
            self._measured(max(0.0, now - info.once.sent_at), now)
        if info.reordered:
            self.reordering_seen = True
        newest = info.newest
        if newest is None:
            return
        rtt = max(0.0, now - newest.sent_at)
        if info.newest_again and (self.min_rtt is None or rtt < self.soonest):
            return  # an earlier transmission of it arrived
        if not info.heap:  # else it may have arrived long ago
            self._rtt = rtt
        latest = self._newest
        if latest is None or (newest.number, info.newest_tsn) > (latest.number, self._newest_tsn):
            self._newest, self._newest_tsn = newest, info.newest_tsn

    def _measured(self, rtt: float, now: float) -> None:
        if self._min_now is None:
            self._min_now, self._min_since = rtt, now
        elif now - self._min_since > _MIN_RTT_WINDOW:
            self._min_older, self._min_now, self._min_since = self._min_now, rtt, now
        elif rtt < self._min_now:
            self._min_now = rtt

    def duplicates(self, count: int, outstanding: Outstanding) -> None:
        """A SACK reported so many duplicates: what was sent again need not have been (step 4)."""
        if self._round is not None and outstanding.cumulative >= self._round:
            self._round = None
        if count and self._round is None:
            self._round = outstanding.next_tsn
            self._factor += 1
            self._patience = _RECOVERIES

    def recovered(self) -> None:
        """A recovery is over."""
        self._patience -= 1
        if self._patience <= 0:
            self._factor = 1

    def window(self, srtt: float, *, recovering: bool) -> float:
        """The reordering window, seconds."""
        if recovering and not self.reordering_seen:
            return 0.0
        shortest = self.min_rtt
        return max(min(self._factor * (shortest or 0.0) / 4, srtt), _GRANULARITY)

    def find_lost(
        self,
        outstanding: Outstanding,
        srtt: float | None,
        now: float,
        *,
        recovering: bool,
        heard: float = math.inf,
    ) -> list[Sent]:
        """Chunks in flight that are lost by now (step 5); sets `due`.

        `heard`: a SACK has come, and round trips take so many seconds; infinite if none has, or it
        is to be no sign of what it does not speak of.
        """
        self.due = None
        newest = self._newest
        found: list[Sent] = []
        if newest is None or srtt is None:
            return found
        before = now - self._rtt - self.window(srtt, recovering=recovering) + _TICK
        unheard = before - max(0.0, heard - self._rtt)
        again, new = self._sent_again, self._sent
        while again:
            burst = again[0]
            record = _next_resent(burst, outstanding)
            if record is None:
                again.popleft()
            elif self._is_lost(burst, record, newest, before, now):
                found.append(record)
                burst.resent.pop()
            else:
                break
        spoken, untold = outstanding.spoken, self._untold
        while untold and untold[0].tsn < spoken:
            record = untold.popleft()
            if record.state is UNTOLD and record.tsn > outstanding.cumulative:
                found.append(record)
        while new:
            burst = new[0]
            record = _next_new(burst, outstanding)
            if record is None:
                new.popleft()
            elif (by_order := self._is_lost(burst, record, newest, before, now)) or (
                burst.sent_at <= unheard and record.tsn >= spoken
            ):
                burst.next = record.tsn + 1
                if by_order and record.tsn <= spoken:
                    found.append(record)
                else:
                    outstanding.set_aside(record)
                    if untold is None:
                        untold = self._untold = deque()
                    untold.append(record)
            else:
                break
        return found

    def _is_lost(
        self, burst: Transmission, record: Sent, newest: Transmission, before: float, now: float
    ) -> bool:
        """Whether what was sent in `burst` is lost, for being sent `before`; sets `due`."""
        if burst.number > newest.number:
            return False
        if burst is newest and record.tsn >= self._newest_tsn:
            return False
        if burst.sent_at <= before:
            return True
        due = now + (burst.sent_at - before) + _TICK
        if self.due is None or due < self.due:
            self.due = due
        return False


def _next_resent(burst: Transmission, outstanding: Outstanding) -> Sent | None:
    """The next chunk that was sent again in `burst`, and is in flight since."""
    resent, cumulative = burst.resent, outstanding.cumulative
    while resent:
        record = resent[-1]
        if record.tsn > cumulative and record.is_in_flight_since(burst):
            return record
        resent.pop()
    return None


def _next_new(burst: Transmission, outstanding: Outstanding) -> Sent | None:
    """The next chunk that was sent first in `burst`, and is in flight since; what comes before it
    is not looked at again.
    """
    tsn = max(burst.next, outstanding.cumulative + 1)
    records, end = outstanding.records, burst.end
    while tsn < end:
        record = records[tsn]
        if record.is_in_flight_since(burst):
            burst.next = tsn
            return record
        tsn += 1
    burst.next = tsn
    return None
