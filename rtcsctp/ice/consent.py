"""Whether the pair that carries data still may, and still does (RFC 7675).

Consent is for each pair: the last valid answer to a check of ours. This is the clock beside it,
for the one pair that is in use. Two questions are kept apart: may we send (only an answer to our
own request counts), and is the peer there (whatever was heard of it counts: checks, answers, and
the data and heartbeats of SCTP)?

The second is to be answered promptly and calmly, and consent checks alone cannot do that: one goes
each way every 4 to 6 s, so within 10 s there may be a single one, and with 5 % loss 10 s of silence
come by once in two hours; one period less, and they come four times an hour. So a pair that has
been silent for longer than a living one ever is without loss (6 s) is *probed*: by an ordinary
connectivity check, which RFC 8489 6.2.1 repeats after 0.5, 1.5 and 3.5 s. With the numbers of
`IceConfig` (all in seconds, counted from when the peer was last heard):

    0       6      6.25  6.75   7.75      9.75  10
    heard   its check    probe  probe     probe "disconnected"
            is late      and answer, four times

For a false alarm, at a loss of p each way, everything that went must have been lost: one or two of
the peer's checks, one or two of ours or their answers (1-(1-p)^2 each, 10 % at p = 5 %), and four
probes or their answers. At 5 % that is about 0.05 * 0.1 * 0.1^4 = 5e-7 for each of the 700 silences
an hour that may become one: once in some 3,000 hours. Simulation agrees: none in 3,000 hours at
5 %, one in 80 hours at 10 %, one an hour at 20 %. What remains is loss in bursts: whatever cuts the
way for 10 s is a disconnection. The price is ten probes an hour at 5 %, and none without loss.

Where the peer is heard but our checks are not answered the same holds 6 s later: two of our own
checks are over by then (12 s), then come four probes.

A lite agent makes no checks, so it has no consent to keep ("A full ICE implementation […]"). Its
peer does, and is heard every few seconds; after a long silence it is taken to be gone.
"""

from __future__ import annotations

import random
from math import inf

from rtcsctp.ice.config import IceConfig
from rtcsctp.ice.pairs import Pair

__all__ = ["Consent"]

_JITTER = (0.8, 1.18)
"""A little less than what is allowed, so that who drives the agent may be late by 0.1 s: alarms of
many peers are to ring together."""

_UNANSWERED = 1.6  # times `disconnected_after`, where the peer is heard but does not answer
_PROBE_LASTS = 3.75  # four requests at 0, 0.5, 1.5 and 3.5 s, and a quarter second for the answer
_LITE_GIVES_UP = 2  # times `consent_timeout`: a peer that only sends keepalives does every 15 s


class Consent:
    """The clock of the pair in use.

    Attributes:
        pair: that pair.
        calm_until: until then nothing is due, and the pair is not quiet. What was heard since it
            was found can only make it later: it saves looking at every datagram.
    """

    __slots__ = (
        "_config",
        "_jitter",
        "_next_check_at",
        "_probed_for",
        "_since",
        "calm_until",
        "pair",
    )

    def __init__(self, config: IceConfig, rng: random.Random, pair: Pair, now: float) -> None:
        self._config = config
        self._jitter = rng
        self.pair = pair
        self._since = now
        self._next_check_at = inf
        self.calm_until = -inf
        self._probed_for = inf  # which end of patience was probed for: one probe for each
        if not config.lite:
            self._schedule(now)

    def _schedule(self, now: float) -> None:
        # "each interval MUST be randomized from between 0.8 and 1.2 times the basic period"
        self._next_check_at = now + self._config.consent_interval * self._jitter.uniform(*_JITTER)

    def take_check_due(self, now: float) -> bool:
        """Whether a consent check is to be sent now; the next one is scheduled then."""
        if now < self._next_check_at:
            return False
        self._schedule(now)
        return True

    @property
    def _probe_at(self) -> float:
        quiet_at = self._quiet_at
        if self._config.lite or quiet_at == self._probed_for:
            return inf
        return quiet_at - _PROBE_LASTS

    def take_probe_due(self, now: float) -> bool:
        """Whether the pair is to be probed now, as it is close to being taken for dead."""
        if now < self._probe_at:
            return False
        self._probed_for = self._quiet_at
        return True

    def has_other_due(self, now: float) -> bool:
        """Whether anything but an ordinary check is due."""
        return now >= min(self._probe_at, self._quiet_at, self.expires_at)

    def answered(self, now: float) -> None:
        """The peer has consented once more: what is due next comes later than was thought."""
        self.calm_until = -inf
        self.next_deadline(now)

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
        if now < self.calm_until:
            return self.calm_until
        quiet_at = self._quiet_at
        deadline = min(
            self._next_check_at,
            self._probe_at,
            self.expires_at,
            quiet_at if quiet_at > now else inf,
        )
        self.calm_until = deadline if quiet_at > now else -inf
        return deadline
