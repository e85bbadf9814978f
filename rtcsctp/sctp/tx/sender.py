"""The sending half, joined: messages go in, and what was fixed once may be fixed anew.

Each class adds one question to the one before: `sender_base` (what may leave at all), `filling`
(what goes into the next packet), `recovery` (what became of it), and `Sender`.
"""

from __future__ import annotations

from rtcsctp.sctp.tx.records import Outgoing
from rtcsctp.sctp.tx.recovery import Recovery
from rtcsctp.sctp.tx.rto import RetransmissionTimeout
from rtcsctp.sctp.tx.sender_base import LARGE_FLIGHT, Abandoned
from rtcsctp.sctp.wire.packet import COMMON_HEADER_SIZE

__all__ = ["Abandoned", "Sender"]


class Sender(Recovery):
    """The sending half of an association."""

    __slots__ = ()

    # ---------------------------------------------------------------------------- commands

    def send(
        self,
        stream_id: int,
        data: bytes,
        ppid: int,
        unordered: bool,
        expires: float | None,
        max_retransmits: int | None,
        priority: int | None,
    ) -> None:
        """Queue a message whose arguments have been judged."""
        self._arrivals += 1
        message = Outgoing(
            stream_id, data, ppid, unordered, expires, max_retransmits, priority, self._arrivals
        )
        if priority is not None:
            self._make_room(priority, len(data))
            self._evictable.add(priority, message)
        self.queue.push(message)
        self._is_opportunity = True

    def _make_room(self, priority: int, size: int) -> None:
        """Give up less important messages if the buffer is full (RFC 7496)."""
        while self.partially_reliable and self.queue.buffered + size > self._config.send_buffer:
            message = self._evictable.find_below(priority)
            if message is None:
                return
            self._abandon(message)

    def can_make_room(self, priority: int) -> bool:
        """Whether a message waits that would be given up for one of this priority."""
        return self.partially_reliable and self._evictable.find_below(priority) is not None

    def break_at_last_tsn(self) -> None:
        """A stream reset is requested: no FORWARD-TSN may reach across it (pitfall S31)."""
        self.forwarding.break_at(self.outstanding.next_tsn - 1)

    def forward_tsn_at(self, now: float) -> float | None:
        """When the next FORWARD-TSN may be sent, `now` at the earliest; None if none is due."""
        return self.forwarding.at(now)

    def make_forward_tsn(self, room: int, now: float) -> bytes:
        """A FORWARD-TSN or I-FORWARD-TSN chunk of at most `room` bytes."""
        return self.forwarding.make(
            self.outstanding, interleaved=self.interleaved, room=room, now=now, wait=self.rto.srtt
        )

    # ----------------------------------------------------- another path, another beginning

    def path_changed(self) -> None:
        """Packets take another path: congestion window and timeout begin anew (RFC 9260 7.1, 7.2:
        both belong to a destination).
        """
        self.congestion.path_changed()
        self.rto.path_changed()
        self._rack.path_changed()
        self._pacer.reset()
        self._sure_rtt = 0.0
        self.most_flight = LARGE_FLIGHT * self.pmdcs
        self._burst_limit = max(self.outstanding.flight, self.congestion.cwnd)

    def mtu_changed(self, mtu: int) -> None:
        """Packets have at most `mtu` bytes from now on, SCTP's header included.

        Chunks that were cut before keep their size. One that is too large now is sent again alone,
        in a packet that IP may have to fragment: its bytes have their TSN.
        """
        pmdcs = (mtu & ~3) - COMMON_HEADER_SIZE
        if pmdcs < self.pmdcs:
            self._oversize_until = self.outstanding.next_tsn
        self.most_flight = self.most_flight // self.pmdcs * pmdcs
        self.pmdcs = pmdcs
        self._full_payload = pmdcs - self._header
        self.congestion.mtu_changed(pmdcs)

    def restart(
        self, initial_tsn: int, peer_rwnd: int, *, interleaved: bool, partially_reliable: bool
    ) -> None:
        """The peer lost its state: begin anew, with all that is not acknowledged (pitfall S51)."""
        self.queue.restart(self.outstanding.forget_all())
        self.rto = RetransmissionTimeout(self._config)
        self.suspended = False
        self.establish(
            initial_tsn, peer_rwnd, interleaved=interleaved, partially_reliable=partially_reliable
        )

    def reset_association(self, next_tsn: int) -> None:
        """All TSNs and stream numbers begin anew (RFC 6525 5.2.4, 5.2.7); nothing is in flight."""
        congestion, delivery, window = self.congestion, self._delivery, self.peer_window
        self.outstanding.forget_all()
        self.establish(
            next_tsn,
            window,
            interleaved=self.interleaved,
            partially_reliable=self.partially_reliable,
        )
        self.congestion, self._delivery = congestion, delivery
        self.suspended = False
        for stream in self.queue.streams():
            stream.renumber()
