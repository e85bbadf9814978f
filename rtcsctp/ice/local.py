"""Our own side of the pairs: bases, from which datagrams leave (RFC 8445 section 4).

A base is a UDP socket, or a relayed address at a TURN server. Reflexive candidates are no bases:
they are how the peer sees one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from rtcsctp.ice.candidate import Address, Candidate, CandidateType, candidate_priority
from rtcsctp.ice.events import Transmit

if TYPE_CHECKING:
    from rtcsctp.ice.relay import Relay

__all__ = ["Base", "Source", "can_ask", "can_reach", "is_usable_host"]


class Source:
    """An address that has proved to be the peer's: only data from such is taken (pitfall W13).

    Attributes:
        last_heard: when anything came from there.
        last_packet: when application data came from there; None before that.
        packets_received, bytes_received: application data.
    """

    __slots__ = ("bytes_received", "last_heard", "last_packet", "packets_received")

    def __init__(self, now: float) -> None:
        self.last_heard = now
        self.last_packet: float | None = None
        self.packets_received = 0
        self.bytes_received = 0

    def credit(self, found: Sequence[bytes], start: int, now: float) -> None:
        """Count the datagrams of `found` from `start` on as received from here."""
        self.last_heard = self.last_packet = now
        run = found[start:]
        self.packets_received += len(run)
        self.bytes_received += sum(map(len, run))


class Base:
    """One base.

    Attributes:
        socket: the number of the UDP socket, or of the stream to the TURN server.
        address: its transport address; of a relay, the relayed address.
        candidate: how it is announced: the host candidate, perhaps with another host in it (a
            name of multicast DNS, the outside of a one-to-one NAT), or the relayed candidate.
        preference: the local preference of its candidates.
        relay: the allocation, if datagrams go through one.
        usable: whether pairs may be made with it (not so for sockets under the policy "relay").
        hidden: whether its address must not be told to the peer.
        reflexive: other candidates with this base, announced or discovered by checks.
        sources: the peer's addresses that were heard here and proved to be the peer's.
    """

    __slots__ = (
        "address",
        "candidate",
        "hidden",
        "preference",
        "reflexive",
        "relay",
        "socket",
        "sources",
        "usable",
    )

    def __init__(
        self,
        socket: int,
        address: Address,
        candidate: Candidate,
        preference: int,
        *,
        relay: Relay | None = None,
        usable: bool = True,
        hidden: bool = False,
    ) -> None:
        self.socket = socket
        self.address = address
        self.candidate = candidate
        self.preference = preference
        self.relay = relay
        self.usable = usable
        self.hidden = hidden
        self.reflexive: list[Candidate] = []
        self.sources: dict[Address, Source] = {}

    def __repr__(self) -> str:
        return f"<Base {self.candidate.type.value} {self.address}>"

    @property
    def check_priority(self) -> int:
        """PRIORITY in checks from here (RFC 8445 7.1.1)."""
        return candidate_priority(CandidateType.PEER_REFLEXIVE, local_preference=self.preference)

    def local_candidate(self, mapped: Address, *, limit: int) -> Candidate:
        """The candidate that the peer sees, by the mapped address of its answer (7.2.5.3.1).

        An unknown one becomes a peer-reflexive candidate; at most `limit` of those are kept.
        """
        if mapped in (self.address, self.candidate.address):
            return self.candidate
        for candidate in self.reflexive:
            if candidate.address == mapped:
                return candidate
        found = Candidate(
            foundation=f"p{self.candidate.foundation}",
            transport="udp",
            priority=self.check_priority,
            host=mapped[0],
            port=mapped[1],
            type=CandidateType.PEER_REFLEXIVE,
            related_host=None if self.hidden else self.address[0],
            related_port=None if self.hidden else self.address[1],
        )
        if len(self.reflexive) < limit:
            self.reflexive.append(found)
        return found

    def heard(self, address: Address, now: float, *, limit: int) -> None:
        """Note that the peer proved to be at `address`; of too many the quietest is forgotten."""
        sources = self.sources
        source = sources.get(address)
        if source is not None:
            source.last_heard = now
            return
        if len(sources) >= limit:
            del sources[min(sources, key=lambda known: sources[known].last_heard)]
        sources[address] = Source(now)

    def transmit(self, datagrams: Sequence[bytes], remote: Address, now: float) -> Transmit | None:
        """How `datagrams` get from here to `remote`; None if the relay cannot now."""
        if self.relay is None:
            return Transmit(self.socket, remote, datagrams)
        return self.relay.transmit(datagrams, remote, now)


@lru_cache(maxsize=1024)
def _scope(host: str) -> tuple[int, str] | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if address.is_loopback:
        return address.version, "loopback"
    if address.version == 6 and address.is_link_local:
        return 6, "link"
    return address.version, "wide"


def can_reach(local: str, remote: str) -> bool:
    """Whether a pair of these hosts makes sense: one family, one scope.

    "IPv6 link-local addresses MUST NOT be paired with other than link-local addresses" (RFC 8445
    6.1.2.2); and what is a loopback address to the peer is another machine to us, unless both are.
    """
    scope = _scope(local)
    return scope is not None and scope == _scope(remote)


def can_ask(local: str, server: str) -> bool:
    """Whether a socket with that host can send to that server: loopback stays, link-local too."""
    ours, theirs = _scope(local), _scope(server)
    if ours is None or theirs is None or ours[0] != theirs[0]:
        return False
    return ours == theirs or ours[1] == "wide"


@lru_cache(maxsize=1024)
def is_usable_host(host: str) -> bool:
    """Whether a check may be sent to this address: it is one host's (RFC 8445 5.1.1.1, 19.5.1)."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return False
    return not (address.is_multicast or address.is_unspecified or host == "255.255.255.255")
