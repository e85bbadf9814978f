"""A bottleneck in virtual time, with flows of equal packets through it: what controllers do on it.

Deterministic: one link with a rate, a drop-tail queue and seeded random loss, and for each flow a
round-trip time without queue. Receivers answer every second packet, or after `SACK_DELAY`; what
fills the window is answered at once (the I bit, RFC 9260 6.1). A loss is found when three packets
sent later were acknowledged. Timers of the senders are whole
milliseconds, as the runtime's nearly are.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque

from rtcsctp.sctp.tx.congestion import Acked, CongestionController, Lost

__all__ = ["PACKET", "Bottleneck", "Flow", "jain"]

PACKET = 1188
"""Bytes of each packet."""

SACK_DELAY = 0.05
_REORDERING = 3
_BURST = 16  # packets that pacing lets go at once
_RTO_MIN = 0.25


class _Packet:
    def __init__(self, flow: Flow, now: float) -> None:
        self.number = flow.next_number
        self.sent_at = now
        self.delivered = flow.delivered
        self.delivered_at = flow.delivered_at
        self.first_sent = flow.first_sent
        self.lost = flow.lost
        self.flight = 0
        self.immediate = False
        self.limited = flow.limited_until > flow.delivered


class Flow:
    """A sender, and its receiver."""

    def __init__(self, controller: CongestionController, rtt: float, start: float = 0.0) -> None:
        self.controller = controller
        self.rtt = rtt
        self.start = start
        self.supply: float = math.inf
        """Bytes that wait to be sent."""
        self.flight = self.delivered = self.lost = self.sent = 0
        self.delivered_at = self.first_sent = start
        self.limited_until = 0
        self.next_number = 0
        self.timeouts = 0
        self.delays: list[tuple[float, float]] = []
        """When, and how long a packet waited in the queue."""
        self.progress: list[tuple[float, int]] = [(start, 0)]
        self._outstanding: deque[_Packet] = deque()
        self._received: list[_Packet] = []
        self._sack_due: float | None = None
        self._release = start
        self._wakes: float | None = None
        self._recovery: int | None = None
        self._srtt = self._rttvar = 0.0
        self._heard = start
        self._backoff = 1

    # -- sending

    def pump(self, link: Bottleneck, now: float) -> None:
        """Send what may go."""
        controller = self.controller
        before = self.sent
        idle = not self.flight
        if idle and self.supply > 0 and self.sent and now - self._heard > self._rto:
            controller.idle(int((now - self._heard) / self._rto))
        while self.supply > 0 and self.flight < controller.cwnd:
            rate = controller.pacing_rate
            if rate < math.inf:
                self._release = max(self._release, now - _BURST * PACKET / rate)
                if self._release > now + 1e-9:
                    if self._wakes is None or self._wakes <= now:
                        self._wakes = math.ceil(self._release * 1000) / 1000
                        link.call(max(self._wakes, now), self, "wake", None)
                    break
                self._release += PACKET / rate
            self._transmit(link, now)
        if self.sent > before:
            controller.sent(self.sent - before, self.flight, now)
        if self.supply <= 0 and self.flight < controller.cwnd:
            self.limited_until = self.delivered + self.flight

    def _transmit(self, link: Bottleneck, now: float) -> None:
        if not self.flight:
            self.first_sent = self.delivered_at = self._heard = now
            link.call(now + self._rto, self, "timeout", None)
        packet = _Packet(self, now)
        self.next_number += 1
        self.flight += PACKET
        self.sent += PACKET
        self.supply -= PACKET
        packet.flight = self.flight
        packet.immediate = self.flight >= self.controller.cwnd or self.supply <= 0
        self._outstanding.append(packet)
        link.carry(packet, self, now)

    @property
    def _rto(self) -> float:
        rto = max(_RTO_MIN, self._srtt + 4 * self._rttvar) if self._srtt else 0.5
        return min(rto * self._backoff, 5.0)

    # -- what comes in

    def happens(self, link: Bottleneck, what: str, packet: _Packet | None, now: float) -> None:
        if what == "arrives":
            assert packet is not None
            gap = bool(self._received) and packet.number != self._received[-1].number + 1
            self._received.append(packet)
            if len(self._received) >= 2 or gap or packet.immediate:
                self._sack(now)
            elif self._sack_due is None:
                self._sack_due = now + SACK_DELAY
                link.call(self._sack_due, self, "sack delay", None)
        elif what == "sack delay":
            if self._sack_due is not None and now >= self._sack_due:
                self._sack(now)
        elif what == "timeout":
            self._check_timeout(link, now)
        self.pump(link, now)

    def _check_timeout(self, link: Bottleneck, now: float) -> None:
        if not self.flight:
            return
        due = self._heard + self._rto
        if now + 1e-9 < due:
            link.call(due, self, "timeout", None)
            return
        self.timeouts += 1
        self._backoff *= 2
        self._heard = now
        self.lost += self.flight
        self.supply += self.flight
        self.flight = 0
        self._outstanding.clear()
        self._recovery = self.next_number
        self.controller.timed_out(now)

    def _sack(self, now: float) -> None:
        received, self._received = self._received, []
        self._sack_due = None
        numbers = {packet.number for packet in received}
        newest = received[-1]
        before = self.flight
        found: list[_Packet] = []
        known = 0
        while self._outstanding and self._outstanding[0].number <= newest.number:
            packet = self._outstanding[0]
            if packet.number in numbers:
                known += 1
            elif packet.number <= newest.number - _REORDERING:
                found.append(packet)
            else:
                break
            self._outstanding.popleft()
        rest = [packet for packet in self._outstanding if packet.number <= newest.number]
        for packet in rest:  # few: those not yet old enough to be lost
            if packet.number in numbers:
                known += 1
                self._outstanding.remove(packet)
        if not known:
            return  # after a timeout, what it had given up
        self._heard = now
        self._backoff = 1
        self.flight -= (known + len(found)) * PACKET
        self.delivered += known * PACKET
        self.progress.append((now, self.delivered))
        if self._recovery is not None and newest.number >= self._recovery:
            self._recovery = None
            self.controller.recovered(now)
        if found:
            size = len(found) * PACKET
            self.lost += size
            self.supply += size
            lost = Lost(now, size, self.flight, begins=self._recovery is None)
            lost.lost = self.lost
            lost.prior_lost, lost.sent_flight = found[-1].lost, found[-1].flight
            self.controller.lost(lost)
            if self._recovery is None:
                self._recovery = self.next_number
        self._measure(now - newest.sent_at)
        acked = Acked(now, known * PACKET, before, self.flight)
        acked.recovering = self._recovery is not None
        acked.cumulative = not rest
        acked.rtt = now - newest.sent_at
        acked.delivered, acked.lost = self.delivered, self.lost
        acked.prior_delivered, acked.prior_lost = newest.delivered, newest.lost
        acked.interval = max(newest.sent_at - newest.first_sent, now - newest.delivered_at)
        acked.sent_flight, acked.app_limited = newest.flight, newest.limited
        self.first_sent, self.delivered_at = newest.sent_at, now
        self.controller.acked(acked)
        if not self.flight:
            self.controller.all_acked()

    def _measure(self, rtt: float) -> None:
        if not self._srtt:
            self._srtt, self._rttvar = rtt, rtt / 2
        else:
            self._rttvar += (abs(self._srtt - rtt) - self._rttvar) / 4
            self._srtt += (rtt - self._srtt) / 8

    # -- what became of it

    def throughput(self, start: float, end: float) -> float:
        """Bytes per second that arrived and were acknowledged in that time."""
        return (self._delivered_by(end) - self._delivered_by(start)) / (end - start)

    def _delivered_by(self, when: float) -> int:
        low, high = 0, len(self.progress)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.progress[middle][0] <= when else (low, middle)
        return self.progress[low][1]

    def queueing(self, start: float, end: float) -> float:
        """Seconds that a packet of this flow waited in the queue, on average."""
        waits = [wait for when, wait in self.delays if start <= when < end]
        return sum(waits) / len(waits)


class Bottleneck:
    """The link that all flows share, and the clock."""

    def __init__(self, rate: float, queue: float, loss: float = 0.0, seed: int = 1) -> None:
        self.rate = rate
        """Bytes per second."""
        self.queue = queue
        """Bytes that wait at most."""
        self.loss = loss
        """Share of the packets that are lost whatever the queue holds."""
        self.now = 0.0
        self.dropped = 0
        self._rng = random.Random(seed)
        self._free_at = 0.0
        self._calls: list[tuple[float, int, Flow, str, _Packet | None]] = []
        self._count = 0

    def call(self, when: float, flow: Flow, what: str, packet: _Packet | None) -> None:
        self._count += 1
        heapq.heappush(self._calls, (when, self._count, flow, what, packet))

    def carry(self, packet: _Packet, flow: Flow, now: float) -> None:
        if self.loss and self._rng.random() < self.loss:
            return
        wait = max(0.0, self._free_at - now)
        if wait * self.rate > self.queue:
            self.dropped += 1
            return
        flow.delays.append((now, wait))
        self._free_at = now + wait + PACKET / self.rate
        self.call(self._free_at + flow.rtt, flow, "arrives", packet)

    def set_rate(self, rate: float) -> None:
        """From now on. What waits already leaves as it would have."""
        self.rate = rate

    def add(self, flow: Flow) -> Flow:
        self.call(flow.start, flow, "wake", None)
        return flow

    def run(self, until: float) -> None:
        while self._calls and self._calls[0][0] <= until:
            self.now, _, flow, what, packet = heapq.heappop(self._calls)
            flow.happens(self, what, packet, self.now)
        self.now = until


def jain(rates: list[float]) -> float:
    """Jain's index of fairness: 1 where all are equal, 1/n where one has everything."""
    return sum(rates) ** 2 / (len(rates) * sum(rate * rate for rate in rates))
