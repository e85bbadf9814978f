"""Whether the pair that carries data still may, and still does (RFC 7675).

Consent is for each pair: the last valid answer to a check of ours. This is the clock beside it,
for the one pair that is in use. Two questions are kept apart: may we send (only an answer to our
own request counts), and is the peer there (whatever was heard of it counts)?

A lite agent makes no checks, so it has no consent to keep ("A full ICE implementation […]"). Its
peer does, and is heard every few seconds; after a long silence it is taken to be gone.
"""

from __future__ import annotations

import random
from math import inf

from rtcsctp.ice.config import IceConfig
from rtcsctp.ice.pairs import Pair

__all__ = ["Consent"]

_UNANSWERED = 2  # times `disconnected_after`, where the peer is heard but does not answer
_LITE_GIVES_UP = 2  # times `consent_timeout`: a peer that only sends keepalives does every 15 s


class Consent:
    """The clock of the pair in use."""

    __slots__ = ("_config", "_jitter", "_next_check_at", "_since", "pair")

    def __init__(self, config: IceConfig, rng: random.Random, pair: Pair, now: float) -> None:
        self._config = config
        self._jitter = rng
        self.pair = pair
        self._since = now
        self._next_check_at = inf
        if not config.lite:
            self._schedule(now)

    def _schedule(self, now: float) -> None:
        # "each interval MUST be randomized from between 0.8 and 1.2 times the basic period"
        self._next_check_at = now + self._config.consent_interval * self._jitter.uniform(0.8, 1.2)

    def take_check_due(self, now: float) -> bool:
        """Whether a consent check is to be sent now; the next one is scheduled then."""
        if now < self._next_check_at:
            return False
        self._schedule(now)
        return True

    def _last_heard(self) -> float:
        source = self.pair.base.sources.get(self.pair.remote.address)
        heard = self._since if source is None else source.last_heard
        return max(heard, self.pair.consented_at)

    @property
    def expires_at(self) -> float:
        """When nothing may be sent any more."""
        if self._config.lite:
            return self._last_heard() + _LITE_GIVES_UP * self._config.consent_timeout
        return self.pair.consented_at + self._config.consent_timeout

    @property
    def _quiet_at(self) -> float:
        """When the state turns to "disconnected"."""
        config = self._config
        if config.lite:
            return self._last_heard() + config.consent_timeout
        return min(
            self._last_heard() + config.disconnected_after,
            self.pair.consented_at + _UNANSWERED * config.disconnected_after,
        )

    def is_quiet(self, now: float) -> bool:
        """Whether the pair does not answer at present."""
        return now >= self._quiet_at

    def is_expired(self, now: float) -> bool:
        """Whether consent is lost."""
        return now >= self.expires_at

    def next_deadline(self, now: float) -> float:
        """When the next of these questions may have another answer."""
        quiet_at = self._quiet_at
        return min(self._next_check_at, self.expires_at, quiet_at if quiet_at > now else inf)
