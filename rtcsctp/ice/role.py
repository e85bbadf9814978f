"""Who decides: the two roles, and what happens when both have the same (RFC 8445 7.3.1.1)."""

from __future__ import annotations

import enum
import random

from rtcsctp.ice.stun import Attribute, StunMessage, encode_uint64

__all__ = ["Role", "RoleCase"]


class RoleCase(enum.Enum):
    """What the role in a request means to us."""

    AGREED = "the peer has the other role"
    WE_YIELD = "the same role; its tie-breaker wins, we take the other role"
    PEER_YIELDS = "the same role; our tie-breaker wins, it is answered with 487"


class Role:
    """Our role, and the number that decides a conflict."""

    __slots__ = ("_rng", "controlling", "tie_breaker")

    def __init__(self, rng: random.Random, *, controlling: bool, tie_breaker: int | None) -> None:
        self._rng = rng
        self.controlling = controlling
        self.tie_breaker = rng.getrandbits(64) if tie_breaker is None else tie_breaker

    def judge(self, request: StunMessage) -> RoleCase:
        """Compare a request, whose integrity was checked, with our own role."""
        if self.controlling:
            theirs = request.ice_controlling
            if theirs is None:
                return RoleCase.AGREED
            # "larger than or equal": the peer gets a 487.
            return RoleCase.PEER_YIELDS if self.tie_breaker >= theirs else RoleCase.WE_YIELD
        theirs = request.ice_controlled
        if theirs is None:
            return RoleCase.AGREED
        # In the controlled role the larger number switches to controlling.
        return RoleCase.WE_YIELD if self.tie_breaker >= theirs else RoleCase.PEER_YIELDS

    def redraw(self) -> None:
        """After a 487 "the agent MUST change the tiebreaker value" (7.2.5.1)."""
        self.tie_breaker = self._rng.getrandbits(64)

    def attribute(self) -> tuple[int, bytes]:
        """What says our role in a request."""
        kind = Attribute.ICE_CONTROLLING if self.controlling else Attribute.ICE_CONTROLLED
        return kind, encode_uint64(self.tie_breaker)
