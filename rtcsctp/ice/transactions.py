"""Retransmission of a STUN request until it is answered or given up (RFC 8489 6.2)."""

from __future__ import annotations

__all__ = ["INITIAL_RTO", "LAST_WAIT", "MAX_REQUESTS", "STREAM_TIMEOUT", "Transaction"]

INITIAL_RTO = 0.5
"""Seconds before the first retransmission: "a value of 500 ms is RECOMMENDED"."""

MAX_REQUESTS = 7
"""Rc: how often a request is sent, at 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s."""

LAST_WAIT = 16
"""Rm: how many initial RTOs to wait after the last request; all in all 39.5 s."""

STREAM_TIMEOUT = 39.5
"""Ti: over a stream a request is sent once, and this many seconds are waited (6.2.2)."""

_HASTY_REQUESTS = 3
_HASTY_WAIT = 4


class Transaction:
    """One request on its way.

    Call `next` at once and again whenever `deadline` has passed: it gives the request each time
    that it is to be sent. Once it `has_failed`, nobody answers.

    Attributes:
        request: the message, the same for each sending.
        transaction_id: by which the answer is recognised.
        started: when it was made.
        deadline: when to call `next` again.
        sent: how often it was sent; a round trip may be measured if once (Karn's algorithm).
        has_failed: it was sent often enough, and the last wait is over.
    """

    __slots__ = (
        "_last_wait",
        "_max_requests",
        "_rto",
        "deadline",
        "has_failed",
        "request",
        "sent",
        "started",
        "transaction_id",
    )

    def __init__(
        self,
        request: bytes,
        transaction_id: bytes,
        now: float,
        *,
        stream: bool = False,
        rto: float = INITIAL_RTO,
        max_requests: int = MAX_REQUESTS,
        last_wait: float = LAST_WAIT,
    ) -> None:
        """Args:
        request: the message.
        transaction_id: its transaction.
        now: the present time.
        stream: it goes over a reliable transport, and is sent only once.
        rto: seconds before the first retransmission; they double.
        max_requests: Rc.
        last_wait: Rm.
        """
        self.request = request
        self.transaction_id = transaction_id
        self.started = now
        self.deadline = now
        self.sent = 0
        self.has_failed = False
        self._rto = rto
        self._max_requests = 1 if stream else max_requests
        self._last_wait = STREAM_TIMEOUT if stream else last_wait * rto

    def next(self, now: float) -> bytes | None:
        """The request if it is to be sent now; early calls do nothing."""
        if self.has_failed or now < self.deadline:
            return None
        if self.sent >= self._max_requests:
            self.has_failed = True
            return None
        self.sent += 1
        if self.sent == self._max_requests:
            self.deadline = now + self._last_wait
        else:
            self.deadline = now + self._rto * (1 << (self.sent - 1))
        return self.request

    def hasten(self) -> None:
        """Give up sooner: after three requests and two seconds (with an RTO of 500 ms).

        For when an answer came that must not be believed: a better one may still follow it, but
        the server is there, and 39.5 s would be long.
        """
        self._max_requests = min(self._max_requests, max(self.sent, _HASTY_REQUESTS))
        self._last_wait = min(self._last_wait, _HASTY_WAIT * self._rto)
