"""Where a TURN server may send us: 300 (Try Alternate), RFC 8489 section 10.

A redirection that answers an unsigned request cannot be signed, and those of coturn are such. RFC
8489 14.8 wants receivers to "validate the MESSAGE-INTEGRITY […] of this response before
redirecting"; section 10 says that it "MAY be authenticated", as "there are use cases […] where
authentication of the response is not possible". An attacker on the path can so draw us to a server
of his; but he sees and alters what goes over UDP to the true one as well, the password is sent to
neither, and DTLS and ICE protect what is relayed. What is followed is bounded all the same:

- only before there is an allocation, by the same transport (UDP) and the same address family, with
  the same credentials; and the answer to a signed request must be signed;
- at most `MAX_REDIRECTIONS` addresses, each once;
- never from a server on the network to one on our own machine.

Over a stream nothing is followed, neither from TLS nor from TCP: what has authenticated a server by
its certificate must authenticate the other in the same way (under ALTERNATE-DOMAIN or the same
name), which is for the owner of connections to do or to leave. Our agent leaves it.
"""

from __future__ import annotations

import ipaddress

from rtcsctp.ice.candidate import Address

__all__ = ["MAX_REDIRECTIONS", "Redirections"]

MAX_REDIRECTIONS = 5
"""Servers after the first one."""


class Redirections:
    """The addresses that one client was sent to."""

    __slots__ = ("_tried",)

    def __init__(self, first: Address) -> None:
        self._tried = {first}

    def objection(self, source: Address, target: Address | None) -> str | None:
        """Why a server at one address may not send us to the other; None if it may."""
        if target is None or not _is_possible(source, target):
            return "and not to a possible one"
        if target in self._tried or len(self._tried) > MAX_REDIRECTIONS:
            return "round in circles"
        return None

    def follow(self, target: Address) -> None:
        """Note that we turn to that server."""
        self._tried.add(target)


def _is_possible(source: Address, target: Address) -> bool:
    host = ipaddress.ip_address(target[0])
    if host.is_multicast or host.is_unspecified or not target[1]:
        return False
    return not host.is_loopback or ipaddress.ip_address(source[0]).is_loopback
