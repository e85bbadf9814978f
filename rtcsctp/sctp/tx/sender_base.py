"""What the parts of the sending half share: its books, its bursts, and giving up.

How much may leave at once is asked here: as a rate where the congestion controller names one, else
as Max.Burst. Partial reliability (RFC 3758, RFC 7496) decides, where something would be sent again,
whether it is still worth it (pitfall S26).
"""

from __future__ import annotations

import math
import random

from rtcsctp.sctp.config import Config
from rtcsctp.sctp.tx.congestion import CongestionController, make_controller
from rtcsctp.sctp.tx.delivery import Delivery, Transmission
from rtcsctp.sctp.tx.eviction import Evictable
from rtcsctp.sctp.tx.forward import Forwarding
from rtcsctp.sctp.tx.outstanding import Outstanding
from rtcsctp.sctp.tx.pacing import Pacer
from rtcsctp.sctp.tx.rack import Rack
from rtcsctp.sctp.tx.records import Outgoing, Sent
from rtcsctp.sctp.tx.rto import RetransmissionTimeout
from rtcsctp.sctp.tx.send_queue import SendQueue
from rtcsctp.sctp.tx.tail_loss import TailLossProbe
from rtcsctp.sctp.tx.undo import Undo
from rtcsctp.sctp.wire.chunks import (
    DATA_HEADER_SIZE,
    END,
    I_DATA_HEADER_SIZE,
    UNORDERED,
)
from rtcsctp.sctp.wire.packet import COMMON_HEADER_SIZE

__all__ = ["LARGE_FLIGHT", "Abandoned", "SenderBase"]

_SHORTEST_PACED = 0.002
"""Seconds of round trip below which packets are not paced."""

LARGE_FLIGHT = 32_768
"""Full chunks in flight from which on the window grows by a 64th per round trip at most, whatever
the congestion controller says. SACKs report about 290 gaps, what fits into a packet, and the first
ones only, so no more are repaired in a round trip; and what is lost keeps its TSN until then, of
which there are 65,535. If slow start doubled so large a window, it would lose ten thousand packets
before it noticed, and nothing else could be sent for many round trips while they are repaired. With
a 64th, no larger share is lost when the queue overflows, which a few SACKs tell.
"""

Abandoned = tuple[int, int, bool]
"""Stream, size in bytes, and whether part of the message had been sent."""


class SenderBase:
    """State, and what filling packets and learning from SACKs have in common."""

    __slots__ = (
        "_arrivals",
        "_base_pmdcs",
        "_burst",
        "_burst_limit",
        "_burst_size",
        "_config",
        "_delivery",
        "_evictable",
        "_fast_packet",
        "_full_payload",
        "_header",
        "_is_opportunity",
        "_last_sent",
        "_may_probe",
        "_min_fragment",
        "_one_packet",
        "_oversize_until",
        "_pacer",
        "_probe",
        "_rack",
        "_recovery_exit",
        "_rng",
        "_rtt_sent_at",
        "_sure_rtt",
        "_tail",
        "_undo",
        "abandoned_messages",
        "chunks_sent",
        "congestion",
        "fast_recoveries",
        "fast_retransmits",
        "forwarding",
        "interleaved",
        "large_losses",
        "messages_sent",
        "most_flight",
        "outstanding",
        "paced_until",
        "partially_reliable",
        "peer_window",
        "pmdcs",
        "queue",
        "restarts_t3",
        "rto",
        "spurious_recoveries",
        "suspended",
        "tail_loss_probes",
        "timeout_retransmits",
        "user_bytes_sent",
        "waits_for_window",
    )

    def __init__(self, config: Config, rng: random.Random | None = None) -> None:
        """`rng` is for the congestion controller."""
        self._config = config
        self._rng = rng
        self.queue = SendQueue(config.scheduler, config.send_buffer)
        self.rto = RetransmissionTimeout(config)
        self._arrivals = 0
        self._evictable = Evictable()
        self.abandoned_messages: list[Abandoned] = []
        """What was given up since the caller last cleared this."""
        self.chunks_sent = 0
        self.messages_sent = 0
        self.user_bytes_sent = 0
        self.fast_retransmits = 0
        self.timeout_retransmits = 0
        self.fast_recoveries = 0
        self.spurious_recoveries = 0
        self.tail_loss_probes = 0
        self.suspended = False
        """An association reset is under way: no message may begin (RFC 6525 5.1.4 C2)."""
        self._base_pmdcs = self.pmdcs = config.mtu - COMMON_HEADER_SIZE
        """Path maximum DATA chunk size, bytes, header included."""
        self.large_losses = 0
        """Chunks taken for lost that packets of the base size cannot carry, since the caller last
        cleared this."""
        self.establish(0, 0, interleaved=False, partially_reliable=False)

    def establish(
        self, initial_tsn: int, peer_rwnd: int, *, interleaved: bool, partially_reliable: bool
    ) -> None:
        """What the handshake fixed. Messages that were queued before stay queued."""
        config = self._config
        self.interleaved = interleaved
        self.partially_reliable = partially_reliable
        self._header = I_DATA_HEADER_SIZE if interleaved else DATA_HEADER_SIZE
        self._full_payload = self.pmdcs - self._header
        self._min_fragment = (self._base_pmdcs - self._header) // 4
        self._oversize_until = initial_tsn  # chunks below may be larger than pmdcs
        self.outstanding = Outstanding(initial_tsn)
        self.most_flight = LARGE_FLIGHT * self.pmdcs
        """Bytes that may be in flight whatever the controller says; see `LARGE_FLIGHT`."""
        self.congestion: CongestionController = make_controller(
            config.congestion_control, config, self._base_pmdcs, self._rng
        )
        if self.pmdcs != self._base_pmdcs:
            self.congestion.mtu_changed(self.pmdcs)
        self._delivery = Delivery()
        self._rack = Rack()
        self._tail = TailLossProbe()
        self._undo = Undo()
        self._pacer = Pacer()
        self.paced_until: float | None = None
        """What could be sent waits until then, so as not to leave too fast."""
        self._burst: Transmission | None = None
        self._burst_size = 0
        self.peer_window = peer_rwnd
        """a_rwnd as last advertised, bytes."""
        self._recovery_exit: int | None = None
        self._fast_packet = False
        self._one_packet = False  # after T3-rtx: one packet in flight, until it is acknowledged
        self._probe: Sent | None = None
        self._may_probe = False
        self.waits_for_window = False
        """Nothing is outstanding, something waits, and the peer's window has no room for it."""
        self._burst_limit = self.congestion.cwnd
        self._is_opportunity = False
        self._rtt_sent_at = 0.0
        self._sure_rtt = 0.0
        """The last round trip, seconds, that followed a SACK which was not cut; 0 before it."""
        self._last_sent: float | None = None
        self.forwarding = Forwarding()
        """What the peer is to be told of messages that were given up."""
        self.restarts_t3 = False
        """The lowest outstanding TSN was sent again since the caller last cleared this."""

    # ----------------------------------------------------------------------------- getters

    @property
    def in_fast_recovery(self) -> bool:
        """Whether lost chunks were found, and not all that was in flight then is acknowledged."""
        return self._recovery_exit is not None

    @property
    def min_rtt(self) -> float | None:
        """The shortest round trip of the last ten seconds or more; None before the first."""
        return self._rack.min_rtt

    @property
    def wants_tail_probe(self) -> bool:
        """Nothing has come back for too long, and the next packet is a probe."""
        return self._tail.wanted

    @property
    def is_drained(self) -> bool:
        """Whether nothing waits, and nothing is in flight or unacknowledged."""
        return not self.queue.buffered and not self.outstanding.records

    @property
    def is_between_messages(self) -> bool:
        """Whether nothing is outstanding, and no message is half sent."""
        return not self.outstanding.records and self.queue.next_begun() is None

    @property
    def mtu(self) -> int:
        """Largest packet, bytes."""
        return self.pmdcs + COMMON_HEADER_SIZE

    @property
    def has_oversize(self) -> bool:
        """Whether chunks may be outstanding that are larger than a packet may be now."""
        return self.outstanding.cumulative + 1 < self._oversize_until

    @property
    def window_is_closed(self) -> bool:
        """The peer's window has no room for anything that is worth a packet."""
        return self.peer_window < self._min_fragment

    # ------------------------------------------------------------------------------ bursts

    def allow_burst(self, acked: int) -> None:
        """An opportunity to send: Max.Burst packets, and what was just acknowledged (6.1 D).

        In slow start what was acknowledged counts twice: cwnd has grown by it, and a window that
        is never full does not grow (7.2.1). RFC 9260 has Max.Burst alone; but where one SACK
        answers a batch of packets, four for each would be the rate at which all is sent.
        """
        congestion = self.congestion
        if (
            congestion.cwnd <= congestion.ssthresh
            and self._recovery_exit is None
            and self.peer_window > 2 * congestion.cwnd  # else it is the peer that limits
        ):
            acked *= 2
        limit = self.outstanding.flight + acked + self._config.max_burst * self.pmdcs
        self._burst_limit = max(self._burst_limit, limit) if not acked else limit

    def _begin_burst(self, now: float) -> Transmission:
        outstanding = self.outstanding
        burst = self._delivery.begin(now, outstanding.flight, outstanding.next_tsn)
        self._rack.sent(burst)
        self._burst = burst
        self._burst_size = 0
        return burst

    def end_burst(self, now: float) -> None:
        """All packets of this moment were made: what was sent, and was that all there is?"""
        outstanding, burst = self.outstanding, self._burst
        if burst is not None:
            self._burst = None
            burst.end = outstanding.next_tsn
            burst.flight = outstanding.flight
            if burst.resent:
                burst.resent.reverse()
            if burst.end > burst.next:
                self._tail.restart(now)
            self.congestion.sent(self._burst_size, outstanding.flight, now)
        waits = self.queue.buffered > 0 or outstanding.lost_payload > 0
        fits = outstanding.flight < min(self.congestion.cwnd, self.most_flight)
        if fits and not waits:
            self._delivery.ran_dry(outstanding.flight)
        window = self.peer_window - outstanding.payload
        self._pacer.is_behind = waits and fits and window >= self._full_payload

    def _packet_ends(self, size: int, now: float) -> None:
        self._burst_size += size
        self._last_sent = now
        if self._is_paced:
            self._pacer.spend(size)
        self.queue.active.packet_ends()

    def _after_idle(self, now: float) -> None:
        if self._last_sent is None:
            return
        rto = self.rto.value
        periods = int((now - self._last_sent) / rto)
        if periods:
            self.congestion.idle(periods)
            self._last_sent += periods * rto
            # What was acknowledged before the pause is no reason for a burst after it.
            self._burst_limit = min(self._burst_limit, self._config.max_burst * self.pmdcs)

    @property
    def _is_paced(self) -> bool:
        """Whether packets have to keep to a rate.

        Not where a round trip is so short that timers, of about a millisecond, do not divide it.
        """
        srtt = self.rto.srtt
        return 0 < self.congestion.pacing_rate < math.inf and (srtt or 0.0) >= _SHORTEST_PACED

    def _credit(self, now: float) -> float | None:
        """Bytes that the pacing rate allows now; None if there is none."""
        if not self._is_paced:
            return None
        return self._pacer.allowance(self.congestion.pacing_rate, self.pmdcs, now)

    def _is_held_up(self, now: float) -> bool:
        """Whether something could be sent if the pacing rate allowed it."""
        self.paced_until = None
        if self._credit(now) != 0:
            return False
        outstanding = self.outstanding
        if outstanding.flight < min(self.congestion.cwnd, self.most_flight) and (
            self.queue.buffered or outstanding.lost_payload
        ):
            self.paced_until = self._pacer.resume_at
        return True

    def _ceiling(self) -> int:
        """Bytes that may be in flight: Max.Burst limits what leaves at once (RFC 9260 6.1 D) where
        no rate does.
        """
        cwnd = min(self.congestion.cwnd, self.most_flight)
        return cwnd if self._is_paced else min(cwnd, self._burst_limit)

    # --------------------------------------------------------------------------- giving up

    def _is_expired(self, message: Outgoing, now: float) -> bool:
        return message.expires is not None and self.partially_reliable and now > message.expires

    def _is_last_transmission(self, record: Sent) -> bool:
        limit = record.message.max_retransmits
        return self.partially_reliable and limit is not None and record.transmissions > limit

    def _abandon(self, message: Outgoing) -> None:
        """Give a message up: what was sent of it, and what was not (pitfalls S24, S25, S27)."""
        outstanding = self.outstanding
        message.abandoned = True
        chunks = message.chunks or []
        for record in chunks:
            if record.tsn > outstanding.cumulative:
                outstanding.abandon(record)
        unsent = message.offset < len(message.data)
        if not unsent:
            pass
        elif chunks:
            flags = END | (UNORDERED if message.unordered else 0)
            outstanding.add_placeholder(message, flags, message.next_fsn)
            self.queue.drop_head(self.queue.stream(message.stream_id))
        else:
            self.queue.remove(message)
        self.abandoned_messages.append((message.stream_id, len(message.data), bool(chunks)))
        self.forwarding.update(self.outstanding)
