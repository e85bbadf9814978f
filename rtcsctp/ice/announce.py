"""How our own candidates are written (RFC 8445 5.1.1.3, 5.1.2; RFC 8839 5.1)."""

from __future__ import annotations

from rtcsctp.ice.candidate import Address, Candidate, CandidateType, candidate_priority
from rtcsctp.ice.local import Base

__all__ = ["MAX_PREFERENCE", "Announcer", "relay_preference"]

MAX_PREFERENCE = 65535

_HIDDEN_IPV4: Address = ("0.0.0.0", 9)
_HIDDEN_IPV6: Address = ("::", 9)

_NEXT_SERVER = 256  # distance in local preference; there are fewer bases (`max_local`) than that
_NEXT_STREAM = 4096  # a relay over TCP or TLS comes after all those over UDP


def relay_preference(rank: int, *, stream: bool) -> int:
    """The local preference of the relayed address that came as number `rank`."""
    return MAX_PREFERENCE - rank - (_NEXT_STREAM if stream else 0)


def _hidden(host: str) -> Address:
    """What raddr and rport say for a candidate with that host if there is something to hide.

    RFC 8839 5.1: "the address MUST be set to "0.0.0.0" (for IPv4 candidates) or "::" (for IPv6
    candidates) and the port to "9"". Chromium writes port 0 there; who reads it does not care.
    """
    return _HIDDEN_IPV6 if ":" in host else _HIDDEN_IPV4


class Announcer:
    """Makes candidates, and gives equal foundations to what RFC 8445 5.1.1.3 calls equal."""

    __slots__ = ("_foundations",)

    def __init__(self) -> None:
        self._foundations: dict[tuple[str, ...], str] = {}

    def _foundation(self, kind: CandidateType, host: str, server: str = "") -> str:
        """Numbers in the order of appearance, which tell nothing of the addresses."""
        key = (kind.value, host, server)
        return self._foundations.setdefault(key, str(len(self._foundations) + 1))

    def host(self, address: Address, shown_as: str, preference: int) -> Candidate:
        """A socket, with its address or what is shown in place of it."""
        kind = CandidateType.HOST
        return Candidate(
            foundation=self._foundation(kind, address[0]),
            transport="udp",
            priority=candidate_priority(kind, local_preference=preference),
            host=shown_as,
            port=address[1],
            type=kind,
        )

    def reflexive(self, base: Base, mapped: Address, server_host: str, index: int) -> Candidate:
        """A socket as server number `index` sees it."""
        kind = CandidateType.SERVER_REFLEXIVE
        preference = max(0, base.preference - _NEXT_SERVER * index)
        related = _hidden(mapped[0]) if base.hidden else base.address
        return Candidate(
            foundation=self._foundation(kind, base.address[0], server_host),
            transport="udp",
            priority=candidate_priority(kind, local_preference=preference),
            host=mapped[0],
            port=mapped[1],
            type=kind,
            related_host=related[0],
            related_port=related[1],
        )

    def relayed(
        self, relayed: Address, mapped: Address, server: str, preference: int, *, hidden: bool
    ) -> Candidate:
        """A relayed address; `hidden` says that the mapped address must not be told."""
        kind = CandidateType.RELAYED
        related = _hidden(relayed[0]) if hidden else mapped
        return Candidate(
            foundation=self._foundation(kind, relayed[0], server),
            transport="udp",
            priority=candidate_priority(kind, local_preference=preference),
            host=relayed[0],
            port=relayed[1],
            type=kind,
            related_host=related[0],
            related_port=related[1],
        )
