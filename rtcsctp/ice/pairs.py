"""Candidate pairs, their states and priorities (RFC 8445 6.1.2)."""

from __future__ import annotations

import enum
from math import inf

from rtcsctp.ice.candidate import CandidateType
from rtcsctp.ice.events import PairInfo
from rtcsctp.ice.local import Base
from rtcsctp.ice.remote import Remote

__all__ = ["OPEN_STATES", "Pair", "PairState", "pair_priority"]


class PairState(enum.Enum):
    """RFC 8445 6.1.2.6; the values are those of W3C RTCStatsIceCandidatePairState."""

    FROZEN = "frozen"
    WAITING = "waiting"
    IN_PROGRESS = "in-progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


OPEN_STATES = frozenset({PairState.FROZEN, PairState.WAITING, PairState.IN_PROGRESS})
"""A check of such a pair may still succeed."""


def pair_priority(local: int, remote: int, *, controlling: bool) -> int:
    """The priority of a pair from those of its candidates (RFC 8445 6.1.2.3)."""
    g, d = (local, remote) if controlling else (remote, local)
    return (min(g, d) << 32) + 2 * max(g, d) + (1 if g > d else 0)


class Pair:
    """One pair. The RFC's *valid pair* is the pair that was checked, with `valid` set.

    The RFC makes a second pair out of a success, with the mapped address as local candidate. Both
    have the same base, so the same way for datagrams; here it is one pair, and `local` says what
    the peer sees.

    Attributes:
        base, remote: from where to where.
        priority, foundation: for the checklist.
        state: of the check.
        local: our candidate as the peer sees it.
        valid: whether a check has succeeded, and nothing took that back.
        nominated: whether it is the controlling agent's choice.
        nominate_on_success: the peer has chosen it, and our own check is yet to succeed.
        consented_at: when the last valid answer came (RFC 7675).
        revoked: consent was lost: with these credentials this way is closed (RFC 7675 5.1).
        hope_until: when the first check of it ends; what the peer triggers later, on a pair that
            did not answer, is no reason to go on hoping. Infinity before there was one.
        conflicts: how many checks were answered with 487.
        rtt: the last round-trip time in seconds.
        rtt_total, rtt_samples: sum and number of all measured round trips.
    """

    __slots__ = (
        "base",
        "bytes_sent",
        "conflicts",
        "consent_requests_sent",
        "consented_at",
        "foundation",
        "hope_until",
        "local",
        "nominate_on_success",
        "nominated",
        "packets_sent",
        "priority",
        "remote",
        "requests_received",
        "requests_sent",
        "responses_received",
        "revoked",
        "rtt",
        "rtt_samples",
        "rtt_total",
        "state",
        "valid",
    )

    def __init__(self, base: Base, remote: Remote, *, controlling: bool) -> None:
        self.base = base
        self.remote = remote
        self.state = PairState.FROZEN
        self.local = base.candidate
        self.valid = False
        self.nominated = False
        self.nominate_on_success = False
        self.consented_at = 0.0
        self.revoked = False
        self.hope_until = inf
        self.conflicts = 0
        self.rtt: float | None = None
        self.rtt_total = 0.0
        self.rtt_samples = 0
        self.requests_sent = 0
        self.requests_received = 0
        self.responses_received = 0
        self.consent_requests_sent = 0
        self.packets_sent = 0
        self.bytes_sent = 0
        self.priority = 0
        self.foundation = ("", "")
        self.refresh(controlling=controlling)

    def __repr__(self) -> str:
        return f"<Pair {self.state.value} {self.base!r} {self.remote!r}>"

    @property
    def is_open(self) -> bool:
        """Whether it may still become valid without anything new from outside."""
        return self.state in OPEN_STATES

    @property
    def is_relayed(self) -> bool:
        """Whether either side uses a relay, as far as we know."""
        return self.base.relay is not None or self.remote.candidate.type is CandidateType.RELAYED

    def refresh(self, *, controlling: bool) -> None:
        """Compute what follows from the candidates and our role."""
        local, remote = self.base.candidate, self.remote.candidate
        self.priority = pair_priority(local.priority, remote.priority, controlling=controlling)
        self.foundation = (local.foundation, remote.foundation)

    def succeed(self, now: float, rtt: float | None) -> None:
        """A valid answer came; `rtt` if it was measured without doubt."""
        self.consented_at = now
        self.responses_received += 1
        if rtt is not None:
            self.rtt = rtt
            self.rtt_total += rtt
            self.rtt_samples += 1

    def info(self) -> PairInfo:
        """The pair in a form for others."""
        return PairInfo(
            local=self.local,
            remote=self.remote.candidate,
            socket=self.base.socket,
            rtt=self.rtt,
            nominated=self.nominated,
            relayed=self.base.relay is not None,
        )
