"""What a settled agent does for hours: consent checks and their answers, the short way (RFC 7675).

Every five seconds each side asks the other whether it may go on, and that is all that most agents
do. These messages are alike but for their transaction, so a `Pattern` recognises and makes them
without taking them apart. What differs from it in a single byte, or would change anything but the
time of the last consent, is for the long way, which knows all cases.
"""

from __future__ import annotations

from rtcsctp.ice.candidate import Address
from rtcsctp.ice.consent import Consent
from rtcsctp.ice.context import Context
from rtcsctp.ice.incoming import Accepted
from rtcsctp.ice.local import Base
from rtcsctp.ice.pairs import Pair
from rtcsctp.ice.session import Session
from rtcsctp.ice.stun_pattern import Pattern

__all__ = ["Routine"]

_TRANSACTION = slice(8, 20)  # of a STUN message


class Routine:
    """The consent checks of the pair in use, in both directions, while nothing else happens.

    Only over IPv4: in an answer over IPv6, the transaction hides the address (RFC 8489 14.2), so
    that answers are not alike. Only without a relay.
    """

    __slots__ = (
        "_answer",
        "_base",
        "_check",
        "_consent",
        "_context",
        "_pair",
        "_remote",
        "_reply",
        "_request",
        "_role",
        "_session",
    )

    def __init__(self, context: Context, session: Session, consent: Consent) -> None:
        """The routine of a calm agent.

        Args:
            context: the agent's.
            session: its only session.
            consent: the clock of the pair that it has selected.
        """
        self._context = context
        self._session = session
        self._consent = consent
        self._pair: Pair = consent.pair
        self._base: Base = consent.pair.base
        self._remote: Address = consent.pair.remote.address
        self._role = self._present_role()
        self._request: Pattern | None = None  # of the peer
        self._reply: Pattern | None = None  # our answer to it
        self._check: Pattern | None = None  # our request
        self._answer: Pattern | None = None  # the peer's to it

    @staticmethod
    def is_possible(pair: Pair) -> bool:
        """Whether there is a routine for such a pair."""
        return pair.base.relay is None and ":" not in pair.remote.address[0]

    def _present_role(self) -> tuple[bool, int]:
        role = self._context.role
        return role.controlling, role.tie_breaker

    @property
    def is_outdated(self) -> bool:
        """Whether our role has changed, and with it what requests say."""
        return self._role != self._present_role()

    def learn(self, accepted: Accepted) -> None:
        """A message of the peer went the long way and was accepted: more like it may come."""
        if accepted.base is not self._base or accepted.source != self._remote:
            return
        if not Pattern.is_possible(accepted.message):
            return
        if accepted.reply is None:
            if accepted.pair is self._pair:
                self._answer = Pattern(accepted.message, accepted.key)
        elif Pattern.is_possible(accepted.reply):
            self._request = Pattern(accepted.message, accepted.key)
            self._reply = Pattern(accepted.reply, accepted.key)

    # -------------------------------------------------------------------------- from outside

    def take_untrusted(self, base: Base, data: bytes, source: Address, now: float) -> float | None:
        """Take a message that is like those before it; None if it is for the long way.

        Gives the time until which nothing is due.
        """
        if base is not self._base or source != self._remote or self.is_outdated:
            return None
        request, reply = self._request, self._reply
        if request is not None and reply is not None and request.matches_untrusted(data):
            answer = reply.make(data[_TRANSACTION])
            self._context.send(base, [answer], source, now)
            self._pair.requests_received += 1
        elif self._answer is None or not self._take_answer_untrusted(self._answer, data, now):
            return None
        base.heard(source, now, limit=self._context.config.max_sources)
        return min(self._consent.calm_until, self._context.checks.deadline)

    def _take_answer_untrusted(self, pattern: Pattern, data: bytes, now: float) -> bool:
        checks = self._context.checks
        check = checks.get(data[_TRANSACTION])
        if check is None or check.pair is not self._pair or not check.is_consent:
            return False
        if not pattern.matches_untrusted(data):
            return False
        checks.remove(check)
        transaction = check.transaction
        self._pair.succeed(now, now - transaction.started if transaction.sent == 1 else None)
        self._consent.answered(now)
        return True

    def handle_timer(self, now: float) -> float | None:
        """Send a consent check if one is due; None if anything else is.

        Gives the time until which nothing is due.
        """
        consent, checks = self._consent, self._context.checks
        if consent.has_other_due(now) or checks.deadline <= now or self.is_outdated:
            return None
        if consent.take_check_due(now):
            check = self._session.send_consent_check(consent.pair, now, pattern=self._check)
            if self._check is None and self._session.remote is not None:
                self._check = Pattern(check.transaction.request, self._session.remote.key)
        return min(consent.next_deadline(now), checks.deadline)
