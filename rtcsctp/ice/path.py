"""Which pair carries data, and whether it still does (RFC 8445 12.1, RFC 7675)."""

from __future__ import annotations

from math import inf

from rtcsctp.ice.consent import Consent
from rtcsctp.ice.context import Context
from rtcsctp.ice.events import PairInfo, SelectedPairChanged
from rtcsctp.ice.pairs import Pair
from rtcsctp.ice.session import Session

__all__ = ["LAST_HOPE", "Path"]

LAST_HOPE = 5.0
"""Seconds without any pair to send on, where others had worked once, before the agent has failed: a
check of the peer's, who may see it differently, revives one of them within that time or not at
all."""


class Path:
    """The pair in use.

    Attributes:
        pair: what carries data; None if nothing may be sent.
        session: the ICE session that it belongs to.
        quiet: it does not answer at present.
        lost_at: since when the chosen pair is gone, because its socket is.
    """

    __slots__ = ("_consent", "_context", "_told", "lost_at", "pair", "quiet", "session")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._consent: Consent | None = None
        self._told: PairInfo | None = None
        self.pair: Pair | None = None
        self.session: Session | None = None
        self.quiet = False
        self.lost_at: float | None = None

    def clear(self) -> None:
        """Nothing is sent any more."""
        self.pair = self.session = self._consent = None
        self.quiet = False

    def update(self, current: Session, previous: Session | None, now: float) -> None:
        """Look after the pair in use, and use another one if there is reason to.

        Args:
            current: the present ICE session.
            previous: the one before it, during a restart.
            now: the present time.
        """
        self._watch_consent(now)
        session, pair = self._choose(current, previous, now)
        if pair is None:
            self.clear()
            in_force = current if current.remote is not None or previous is None else previous
            if in_force.selected is None or in_force.lost:
                self.lost_at = None
            elif self.lost_at is None:
                self.lost_at = now
            return
        self.lost_at = None
        old = self.pair
        self.pair, self.session = pair, session
        if pair is not old or self._consent is None:
            self._consent = Consent(self._context.config, self._context.rng, pair, now)
        self.quiet = now >= self._consent.calm_until and self._consent.is_quiet(now)
        if pair is session.selected:
            session.selected_is_quiet = self.quiet
        self._tell(old, pair)

    def is_calm(self, current: Session, now: float) -> bool:
        """Whether `update` would change nothing, where there is no older session."""
        consent, pair, told = self._consent, self.pair, self._told
        return (
            consent is not None
            and now < consent.calm_until
            and pair is not None
            and pair is current.selected
            and pair.valid
            and not current.lost
            and not self.quiet
            and told is not None
            and told.local is pair.local
            and told.remote is pair.remote.candidate
            and told.nominated == pair.nominated
        )

    def _watch_consent(self, now: float) -> None:
        """Renew the consent of the pair, or stop sending (RFC 7675 5.1)."""
        consent, session = self._consent, self.session
        if consent is None or session is None or now < consent.calm_until:
            return
        if consent.is_expired(now):
            session.lose(consent.pair)
            return
        if consent.take_check_due(now):
            session.send_consent_check(consent.pair, now)
        if consent.take_probe_due(now):
            session.send_probe(consent.pair, now)

    @staticmethod
    def _choose(
        current: Session, previous: Session | None, now: float
    ) -> tuple[Session, Pair | None]:
        """What the present session has nominated; else what was in use before a restart, as long
        as it works (12.1, pitfall W22); else whatever works.
        """
        pair = current.best_pair(now)
        if previous is None or (pair is not None and pair is current.selected):
            return current, pair
        older = previous.best_pair(now)
        return (current, pair) if older is None else (previous, older)

    def _tell(self, old: Pair | None, pair: Pair) -> None:
        told = self._told
        if (
            told is not None
            and old is pair
            and told.local is pair.local
            and told.remote is pair.remote.candidate
            and told.nominated == pair.nominated
        ):
            return  # as nearly always
        info = pair.info()
        if told is not None and old is not None and _is_same(told, info):
            return
        self._told = info
        same_way = (
            old is not None and old.base is pair.base and old.remote.address == pair.remote.address
        )
        if not same_way:
            self._context.counters.selected_pair_changes += 1
        self._context.events.append(SelectedPairChanged(info, path_changed=not same_way))

    @property
    def consent(self) -> Consent | None:
        """The clock of the pair in use."""
        return self._consent

    def next_deadline(self, now: float) -> float:
        """When `update` may have another result by itself; inf for never."""
        if self._consent is not None:
            return self._consent.next_deadline(now)
        if self.lost_at is not None:
            at = self.lost_at + LAST_HOPE
            return at if at > now else inf
        return inf

    def is_gone(self, now: float) -> bool:
        """Whether the chosen pair has been gone for too long."""
        return self.lost_at is not None and now >= self.lost_at + LAST_HOPE


def _is_same(told: PairInfo, info: PairInfo) -> bool:
    """Whether nothing but the round-trip time has changed."""
    return (
        told.socket == info.socket
        and told.nominated == info.nominated
        and told.remote == info.remote
        and told.local == info.local
    )
