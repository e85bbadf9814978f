"""When a FORWARD-TSN is due, and what it says (RFC 3758 section 3.5, RFC 8260 section 2.3.1)."""

from __future__ import annotations

from rtcsctp.sctp.tx.outstanding import Outstanding
from rtcsctp.sctp.wire.chunks import encode_forward_tsn, encode_i_forward_tsn
from rtcsctp.sctp.wire.serial import MASK16, MASK32

__all__ = ["Forwarding"]

_SPACING = 0.2  # longest time between two FORWARD-TSN, seconds (RFC 3758 3.5 F3)


class Forwarding:
    """The peer is told to go on without what was given up, about once per round trip."""

    __slots__ = ("_after", "_breakpoints", "wanted")

    def __init__(self) -> None:
        self._after = float("-inf")
        self.wanted = False
        """One is due, now or later."""
        self._breakpoints: list[int] = []

    def update(self, outstanding: Outstanding) -> None:
        """Move the advanced ack point; one is due if it is above the peer's (3.5 C2, C3)."""
        outstanding.advance_ack_point()
        self.wanted = outstanding.advanced_ack_point > outstanding.cumulative

    def hurry(self, outstanding: Outstanding) -> None:
        """T3-rtx expired: the last one may be lost, so the next one need not wait (A5)."""
        self.update(outstanding)
        self._after = float("-inf")

    def at(self, now: float) -> float | None:
        """When the next one may be sent, `now` at the earliest; None if none is due."""
        return max(self._after, now) if self.wanted else None

    def break_at(self, tsn: int) -> None:
        """A stream reset is requested after `tsn`: none may reach across it (pitfall S31).

        Behind it the streams count from 0 again, and an old number would skip what is new.
        """
        self._breakpoints.append(tsn)

    def make(
        self,
        outstanding: Outstanding,
        *,
        interleaved: bool,
        room: int,
        now: float,
        wait: float | None,
    ) -> bytes:
        """A FORWARD-TSN or I-FORWARD-TSN chunk of at most `room` bytes.

        It names the largest SSN per ordered stream (pitfall S29), or MID per stream and order. If
        that does not fit, it says less (C4). The next one waits for a round trip, `wait` (S30).
        """
        cumulative = outstanding.cumulative
        breakpoints = self._breakpoints
        while breakpoints and breakpoints[0] <= cumulative:
            breakpoints.pop(0)
        limit = breakpoints[0] if breakpoints else outstanding.advanced_ack_point
        entries = (room - 8) // (8 if interleaved else 4)
        skipped: dict[tuple[int, bool], int] = {}
        tsn = cumulative
        for record in outstanding.abandoned():
            if record.tsn > limit:
                break
            message = record.message
            if interleaved or not message.unordered:
                key = (message.stream_id, message.unordered)
                if key not in skipped and len(skipped) >= entries:
                    break
                skipped[key] = max(message.sequence, skipped.get(key, 0))
            tsn = record.tsn
        self.wanted = False
        self._after = now + (_SPACING if wait is None else min(wait, _SPACING))
        mask = MASK32 if interleaved else MASK16
        named = [(stream, unordered, n & mask) for (stream, unordered), n in skipped.items()]
        encode = encode_i_forward_tsn if interleaved else encode_forward_tsn
        return encode(tsn & MASK32, named)
