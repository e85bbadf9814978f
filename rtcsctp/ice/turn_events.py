"""What a TURN client has to tell, in words that help whoever set it up."""

from __future__ import annotations

from enum import Enum

import attrs

from rtcsctp.ice.candidate import Address
from rtcsctp.ice.servers import IceServer

__all__ = [
    "NO_ANSWER",
    "Allocated",
    "AllocationFailed",
    "AllocationLost",
    "AlternateServer",
    "PermissionFailed",
    "TurnEvent",
    "TurnState",
    "explain",
]

NO_ANSWER = 701
"""The code for a server that does not answer (W3C RTCPeerConnectionIceErrorEvent)."""


class TurnState(Enum):
    """How far the allocation is."""

    NEW = "new"
    ALLOCATING = "allocating"
    ALLOCATED = "allocated"
    CLOSING = "closing"
    CLOSED = "closed"
    FAILED = "failed"


@attrs.frozen
class Allocated:
    """There is a relayed address.

    Attributes:
        relayed: the address at which the server receives for us.
        mapped: our address as the server sees it.
        lifetime: seconds for which the server has granted it; it is renewed.
    """

    relayed: Address
    mapped: Address
    lifetime: float


@attrs.frozen
class AllocationFailed:
    """There is none and will be none; the code of the server, or `NO_ANSWER`."""

    code: int
    reason: str


@attrs.frozen
class AllocationLost:
    """The relayed address that there was is gone."""

    reason: str


@attrs.frozen
class PermissionFailed:
    """A host cannot be reached over this allocation."""

    peer_host: str
    code: int
    reason: str


@attrs.frozen
class AlternateServer:
    """The server has sent us to another one (RFC 8489 section 10).

    Over UDP the client has turned to it already: what comes from there is for it. Over a stream
    this client has failed. Who follows it there takes a new connection and a new client, with the
    same transport and the same name in the certificate: from TLS never to anything else.
    """

    address: Address


TurnEvent = Allocated | AllocationFailed | AllocationLost | PermissionFailed | AlternateServer


_ADVICE = {
    401: "check username and password (and, if they are made for a time, the clock)",
    403: "the server forbids it to this user",
    437: "the server still has an allocation for our port; try another local port",
    440: "the server has no relayed addresses of this family",
    441: "the allocation belongs to another username",
    442: "the server does not relay UDP",
    486: "this username has too many allocations; close some, or wait a minute",
    508: "the server has no capacity left; wait a minute or use another one",
}


def explain(server: IceServer, address: Address, code: int, reason: str, *, stream: bool) -> str:
    """A sentence for people: which server, what happened, what to do about it."""
    host, port = address
    text = f"{server.url} ({host} port {port}): {reason}"
    if code == NO_ANSWER:
        way = "TCP" if stream else "UDP"
        return f"{text}; check the address and whether a firewall lets {way} through"
    advice = _ADVICE.get(code)
    return f"{text} [{code}]" if advice is None else f"{text} [{code}]; {advice}"
