"""What became of what was sent: acknowledged, lost, or lost for want of any answer?

A SACK is booked (`outstanding`), measured (`rto`, `delivery`), and asked for losses (`rack`,
`misses`, `tail_loss`); then the congestion controller is told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rtcsctp.sctp.tx.congestion import Acked, Lost
from rtcsctp.sctp.tx.delivery import Transmission
from rtcsctp.sctp.tx.filling import Filling
from rtcsctp.sctp.tx.outstanding import UNCUT, AckInfo
from rtcsctp.sctp.tx.records import Sent, SentState
from rtcsctp.sctp.wire.serial import unwrap32

__all__ = ["Recovery"]

_FRESH = 1.25
"""What a SACK acknowledges that may have been cut before has just arrived if it was sent no longer
ago than a round trip and a quarter, by the last SACK of which there is no such doubt."""

_FLIGHT_GROWTH = 64
"""`most_flight` grows by a part in so many per round trip in which it limits."""


class Recovery(Filling):
    """The sending half, as far as it learns what became of chunks."""

    __slots__ = ()

    def handle_sack(
        self,
        cumulative_tsn: int,
        a_rwnd: int,
        blocks: Sequence[tuple[int, int]],
        now: float,
        duplicates: int = 0,
    ) -> AckInfo | None:
        """A SACK, in the numbers of the wire; None if it is out of date.

        `duplicates` is how many TSNs it reports as duplicates.

        Raises:
            RemoteProtocolError: it acknowledges what was never sent; nothing was changed.
        """
        outstanding = self.outstanding
        cumulative = unwrap32(cumulative_tsn, outstanding.cumulative)
        if self._burst is not None:
            self.end_burst(now)
        flight_before = outstanding.flight
        fresh_since = now - _FRESH * self._sure_rtt
        info = outstanding.handle_sack(cumulative, blocks, duplicates, fresh_since)
        if info is not None:
            self.peer_window = a_rwnd
            if flight_before >= self.most_flight:
                self.most_flight += info.newly_acked // _FLIGHT_GROWTH
            if self._probe is not None:
                self._judge_probe(self._probe)
            elif self._may_probe and not self.window_is_closed:
                self._may_probe = False
            self._learn(info, flight_before, now, duplicates)
        return info

    def handle_cumulative(self, cumulative_tsn: int, now: float) -> AckInfo | None:
        """The cumulative TSN of a SHUTDOWN; see `handle_sack`."""
        outstanding = self.outstanding
        if self._burst is not None:
            self.end_burst(now)
        flight_before = outstanding.flight
        info = outstanding.handle_cumulative(unwrap32(cumulative_tsn, outstanding.cumulative))
        if info is not None:
            self._learn(info, flight_before, now)
        return info

    def _judge_probe(self, probe: Sent) -> None:
        """What became of the window probe?"""
        if probe.tsn <= self.outstanding.cumulative:
            self._probe = None
            self._may_probe = self.window_is_closed  # taken all the same: the next need not wait
        elif self.peer_window >= probe.size:
            self._probe = None
            probe.by_timeout = True
            self._lose(probe)  # dropped when it came, but now there is room

    def may_probe(self) -> None:
        """The peer's window has been closed for long enough: one chunk may test it (6.1 A)."""
        self._may_probe = True
        self.rto.back_off()

    def _learn(self, info: AckInfo, flight_before: int, now: float, duplicates: int = 0) -> None:
        outstanding, congestion, rack = self.outstanding, self.congestion, self._rack
        if info.rtt_acked:
            self.rto.measured(max(0.0, now - self._rtt_sent_at))
        if self._recovery_exit is not None and outstanding.cumulative >= self._recovery_exit:
            self._recovery_exit = None  # before looking for new loss (pitfall S6)
            rack.recovered()
            congestion.recovered(now)
        if info.newly_acked:
            self._one_packet = False
            self.rto.reset_backoff()
            self._delivery.acknowledged(info.newly_acked, now, heap=info.heap)
            rack.delivered(info, now)
        if duplicates and not self._tail.is_repetition:
            rack.duplicates(duplicates, outstanding)
        lost = self._tail.has_repaired(outstanding.cumulative, duplicates, rack.soonest, now)
        if lost is not None:
            self._answer_loss(lost, now)
        if info.cumulative_moved:
            self._tail.restart(now)
        self._find_losses(info, now)
        if info.newly_acked:
            acked = Acked(now, info.newly_acked, flight_before, outstanding.flight)
            acked.cumulative = info.cumulative_moved
            acked.recovering = self._recovery_exit is not None
            if info.once is not None:
                acked.rtt = max(0.0, now - info.once.sent_at)
                if not info.resent:  # else it may have arrived long ago, and its SACKs were lost
                    self.rto.seen(acked.rtt)
                    if info.spoken == UNCUT:
                        self._sure_rtt = acked.rtt
            assert info.newest is not None
            acked.heaped = rack.has_untold
            self._delivery.sample(acked, info.newest, rack.soonest)
            congestion.acked(acked)
        if self._undo.is_due(info.resent, duplicates, rack.soonest, now):
            if self._undo.watches_recovery:  # else a probe was for nothing, and no recovery
                self._undo.watches_recovery = False
                self.spurious_recoveries += 1
            congestion.spurious(now)
        if not outstanding.flight:
            congestion.all_acked()
        self.forwarding.update(self.outstanding)
        self.allow_burst(info.newly_acked)

    # ------------------------------------------------------------------------------ losses

    def loss_deadline(self) -> float | None:
        """When to call `check_losses`, if nothing arrives until then; None: never."""
        if self._rack.due is not None:
            return self._rack.due
        outstanding, srtt = self.outstanding, self.rto.srtt
        if (
            srtt is None
            or not outstanding.flight
            or self._recovery_exit is not None
            or self._tail.under_way
            or self._one_packet
            or self._probe is not None
            or outstanding.payload > self.peer_window  # the rest may have found no room
            or outstanding.has_gaps
            or outstanding.lost_payload
        ):
            return None
        at = self._tail.deadline(srtt, one_packet=outstanding.flight <= self.pmdcs)
        return at if at < math.inf else None

    def check_losses(self, now: float) -> bool:
        """The time has come to look for losses again; whether a tail-loss probe is to go."""
        if self._rack.due is not None:
            recovering = self._recovery_exit is not None
            lost = self._rack.find_lost(self.outstanding, self.rto.srtt, now, recovering=recovering)
            self._take_for_lost(lost, now)
            self.forwarding.update(self.outstanding)
            return False
        if self.loss_deadline() is None:
            return False
        room = self.peer_window - self.outstanding.payload
        self._tail.wanted = (
            self.queue.buffered > 0 and room >= self._min_fragment
        ) or self._last_chunk(now) is not None
        if not self._tail.wanted:
            self._tail.give_up()
        return self._tail.wanted

    def _find_losses(self, info: AckInfo, now: float) -> None:
        """RACK says what is lost; three miss indications also do, until something was reordered
        (RFC 8985 6.2, step 4; pitfall S62), and are all there is while no round trip is known.
        """
        rack = self._rack
        recovering = self._recovery_exit is not None
        missing = self.outstanding.find_missing(info, recovering=recovering)
        if missing and not rack.reordering_seen:
            for record in missing:
                record.fast_retransmitted = True
            self._take_for_lost(missing, now, info)
        if info.newly_acked or self.outstanding.spoken < UNCUT:
            recovering = self._recovery_exit is not None
            lost = rack.find_lost(
                self.outstanding,
                self.rto.srtt,
                now,
                recovering=recovering,
                # What leaves flight by this lets as much be sent, which needs a rate.
                heard=self.rto.latest if self._is_paced else math.inf,
            )
            self._take_for_lost(lost, now, info)

    def _take_for_lost(
        self, found: Sequence[Sent], now: float, info: AckInfo | None = None
    ) -> None:
        """These are lost; `info`, if it is a SACK that shows it."""
        if not found:
            return
        size, late, latest = 0, 0, found[0].transmission
        begins = self._recovery_exit is None
        if begins:
            self._undo.begin()
            self.fast_recoveries += 1
            self._undo.watches_recovery = True
            self._recovery_exit = self.outstanding.next_tsn - 1
            self._fast_packet = True
            # RFC 8985 7.1: what a probe repairs now, this recovery answers for.
            self._tail.forget()
        for record in found:
            if record.state is not SentState.IN_FLIGHT and record.state is not SentState.UNTOLD:
                continue  # giving up its message came first
            size += record.wire_size
            if record.state is SentState.UNTOLD or (info is not None and info.is_old(record)):
                late += record.wire_size
            if record.transmission.number > latest.number:
                latest = record.transmission
            record.by_timeout = False
            self._lose(record)
        self._delivery.lost += size
        lost = Lost(now, size, self.outstanding.flight, begins=begins)
        lost.late = late
        lost.lost = self._delivery.lost
        lost.prior_delivered = latest.delivered
        lost.prior_lost = latest.lost
        lost.sent_flight = latest.flight
        self.congestion.lost(lost)

    def _answer_loss(self, first: Transmission, now: float) -> None:
        """A tail-loss probe has repaired a loss, which would go unnoticed otherwise (pitfall S62):
        of the last packet, sent in the burst `first`.

        RFC 8985 7.4.2: "a congestion control response equivalent to a fast recovery".
        """
        size = self.pmdcs
        self._delivery.lost += size
        begins = self._recovery_exit is None
        lost = Lost(now, size, self.outstanding.flight, begins=begins)
        lost.lost = self._delivery.lost
        lost.prior_delivered = first.delivered
        lost.prior_lost = first.lost
        lost.sent_flight = first.flight
        self.congestion.lost(lost)
        if begins:
            self.fast_recoveries += 1
            self._undo.watches_recovery = True
            self._recovery_exit = self.outstanding.next_tsn - 1

    def _lose(self, record: Sent) -> None:
        if record.state is not SentState.IN_FLIGHT and record.state is not SentState.UNTOLD:
            return  # giving up its message came first
        if record.wire_size > self._base_pmdcs:
            self.large_losses += 1
        if self._is_last_transmission(record):
            self._abandon(record.message)
        else:
            self.outstanding.mark_lost(record)

    # ----------------------------------------------------------------------------- timeout

    def timed_out(self, now: float) -> None:
        """T3-rtx expired: everything in flight counts as lost (RFC 9260 6.3.3)."""
        if self._probe is None:  # "Zero window probing does not affect the calculation of cwnd"
            self.congestion.timed_out(now)
            self._one_packet = True
        self.rto.back_off()
        self.lose_all()
        self.forwarding.hurry(self.outstanding)

    def lose_all(self) -> None:
        """Everything in flight is to be sent again."""
        if self._burst is not None:
            self.end_burst(self._last_sent or 0.0)
        self._recovery_exit = None
        self._fast_packet = False
        self._delivery.lost += self.outstanding.flight
        self._rack.forget_sent()
        self._tail.forget()
        self._undo.begin()
        for record in self.outstanding.in_flight() + self.outstanding.untold():
            record.by_timeout = True
            self._lose(record)
        self.forwarding.update(self.outstanding)
        self._burst_limit = self.outstanding.flight + self._config.max_burst * self.pmdcs
