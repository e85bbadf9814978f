"""Checks that are under way, and the pace at which new ones may be sent (RFC 8445 7.2, 14)."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import TYPE_CHECKING

from rtcsctp.ice.pairs import Pair
from rtcsctp.ice.transactions import Transaction

if TYPE_CHECKING:
    from rtcsctp.ice.session import Session

__all__ = ["Check", "CheckTable", "Pacer"]

_MAX_LINGERING = 4
"""Cancelled checks per pair that an answer is still accepted for. Each is cancelled by a request of
the peer, and without a bound a peer could pile up hundreds within the 39.5 s that they last."""

_MAX_CONSENT = 8
"""Consent checks per pair that an answer is still accepted for: 30 s have 7 of them."""


class Check:
    """One Binding request of ours to the peer.

    Attributes:
        session, pair: what it was for.
        transaction: the request and when it is repeated; its deadline when nothing is repeated.
        controlling: the role that the request claimed.
        nominating: whether it had USE-CANDIDATE.
        is_consent: to renew consent, or to see whether the peer is there; failing means nothing.
        lingers: not repeated, not failing, but may be answered: cancelled (RFC 8445 7.3.1.4), or
            meant so (RFC 7675 5.1).
        expires: when an answer comes too late.
    """

    __slots__ = (
        "controlling",
        "expires",
        "is_consent",
        "lingers",
        "nominating",
        "pair",
        "session",
        "transaction",
    )

    def __init__(
        self,
        session: Session,
        pair: Pair,
        transaction: Transaction,
        *,
        controlling: bool,
        nominating: bool,
        is_consent: bool,
        expires: float,
    ) -> None:
        self.session = session
        self.pair = pair
        self.transaction = transaction
        self.controlling = controlling
        self.nominating = nominating
        self.is_consent = is_consent
        self.lingers = is_consent
        self.expires = expires

    @property
    def deadline(self) -> float:
        """When there is something to do about it."""
        return self.expires if self.lingers else self.transaction.deadline


class CheckTable:
    """The checks of an agent by transaction id."""

    __slots__ = ("_checks",)

    def __init__(self) -> None:
        self._checks: dict[bytes, Check] = {}

    def __len__(self) -> int:
        return len(self._checks)

    def __contains__(self, transaction_id: bytes) -> bool:
        return transaction_id in self._checks

    def __iter__(self) -> Iterator[Check]:
        return iter(list(self._checks.values()))

    @property
    def deadline(self) -> float:
        """When the first of them wants something; inf for never."""
        return min((check.deadline for check in self._checks.values()), default=inf)

    def add(self, check: Check) -> None:
        """Remember a check; the oldest of too many for the same pair is forgotten."""
        same = [
            other
            for other in self._checks.values()
            if other.pair is check.pair and other.lingers and other.is_consent == check.is_consent
        ]
        if len(same) >= (_MAX_CONSENT if check.is_consent else _MAX_LINGERING):
            self.remove(same[0])
        self._checks[check.transaction.transaction_id] = check

    def get(self, transaction_id: bytes) -> Check | None:
        """The check with that transaction."""
        return self._checks.get(transaction_id)

    def remove(self, check: Check) -> None:
        """Forget a check."""
        self._checks.pop(check.transaction.transaction_id, None)

    def cancel(self, pair: Pair) -> None:
        """Repeat no check of this pair any more, but accept answers."""
        for check in self._checks.values():
            if check.pair is pair:
                check.lingers = True

    def cancel_consent(self, pair: Pair) -> None:
        """Repeat no consent check of this pair any more."""
        for check in self._checks.values():
            if check.pair is pair and check.is_consent:
                check.lingers = True

    def forget_pair(self, pair: Pair) -> None:
        """Accept no answers for this pair any more."""
        for check in self:
            if check.pair is pair:
                self.remove(check)

    def cancel_session(self, session: Session) -> None:
        """Repeat no check of a session any more; its consent checks go on."""
        for check in self._checks.values():
            if check.session is session:
                check.lingers = True

    def forget_session(self, session: Session) -> None:
        """Accept no answers for a session any more."""
        for check in self:
            if check.session is session:
                self.remove(check)

    def take_due(self, now: float) -> list[Check]:
        """Checks that are to be repeated or have failed; expired ones are forgotten."""
        due = [check for check in self._checks.values() if check.deadline <= now]
        for check in due:
            if check.lingers:
                self.remove(check)
        return [check for check in due if not check.lingers]


class Pacer:
    """When the next check may be sent (RFC 8445 6.1.4.2, 14.2)."""

    __slots__ = ("_last", "_ta", "_triggered_ta")

    def __init__(self, ta: float, triggered_ta: float) -> None:
        self._ta = ta
        self._triggered_ta = min(ta, triggered_ta)
        self._last = -inf

    def next_at(self, *, triggered: bool) -> float:
        """The earliest time for the next check of that kind."""
        return self._last + (self._triggered_ta if triggered else self._ta)

    def note_sent(self, now: float) -> None:
        """A check leaves now."""
        self._last = now
