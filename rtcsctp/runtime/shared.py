"""One UDP port, many peers: which datagram is whose (RFC 8445, RFC 7983).

A STUN request names our ICE user fragment, which is the peer's name here. A STUN response belongs
to whoever sent the request with its transaction id. All else belongs to the peer whose ICE agent
has validated its source address. What is nobody's is counted and dropped; nothing that was not
authenticated by an agent changes where datagrams go.

A peer can authenticate a request that has the address of another peer in it as its source: UDP
proves nothing. So an address may lead to several peers, and what comes from there is given to all
of them; DTLS knows what it is for. That way nobody can take another's datagrams away, and a program
that begins anew on its old port is heard at once, before the old connection has timed out.

What is kept for one peer is bounded: `MAX_FRAGMENTS` user fragments, and as many addresses as its
agent has validated, which has a bound for them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import attrs
import trio

from rtcsctp.errors import DecodeError
from rtcsctp.ice import stun
from rtcsctp.ice.events import GatheringState, IceState
from rtcsctp.runtime.host import Address, Datagram, DatagramSocket
from rtcsctp.runtime.transport import Transport

__all__ = ["MAX_CLAIMS", "MAX_FRAGMENTS", "SharedCounters", "SharedSockets"]

MAX_CLAIMS = 16
"""Peers that one address leads to; of more, the one whose claim is the oldest makes room."""

MAX_FRAGMENTS = 16
"""User fragments of one peer that lead to it: of an ICE session, and of restarts (RFC 8445 9) that
may not be known to the other side yet. Of more, the oldest is forgotten."""

_MAX_SOURCES = 256  # of one peer, before it is looked which of them its agent has forgotten
_LAST_STUN_BYTE = 3  # RFC 7983: the first byte of STUN is 0 to 3
_ANSWERS = (stun.StunClass.SUCCESS, stun.StunClass.ERROR)


@attrs.define
class SharedCounters:
    """What arrives for nobody."""

    malformed: int = 0
    """What looked like STUN and is not."""
    unknown_peer: int = 0
    """STUN for no peer that there is."""
    strays: int = 0
    """Datagrams from addresses that no peer's agent has validated."""


class _Routes:
    """What leads to one peer.

    Attributes:
        fragments: its agent's user fragments, the oldest first.
        sources: addresses of the peer, by socket.
        look_at: with so many sources it is time to look which are of use.
    """

    __slots__ = ("fragments", "look_at", "sources")

    def __init__(self) -> None:
        self.fragments: list[str] = []
        self.sources: set[tuple[int, Address]] = set()
        self.look_at = _MAX_SOURCES


class SharedSockets:
    """UDP sockets, one for each address of this host, that many transports use.

    Attributes:
        sockets: the sockets; their places in the list are their numbers.
        counters: what arrived for nobody.
    """

    def __init__(self, sockets: Sequence[DatagramSocket]) -> None:
        self.sockets = list(sockets)
        self.counters = SharedCounters()
        self._routes: dict[Transport, _Routes] = {}
        self._by_ufrag: dict[str, Transport] = {}
        self._by_source: list[dict[Address, tuple[Transport, ...]]] = [{} for _ in self.sockets]
        self._asking: dict[Transport, None] = {}
        """Those whose questions may be answered from where nobody was heard yet."""

    @property
    def route_count(self) -> int:
        """How many user fragments and addresses lead to peers."""
        return len(self._by_ufrag) + sum(map(len, self._by_source))

    def register(self, transport: Transport) -> None:
        """Its agent's user fragment leads to it from now on; call again after an ICE restart."""
        routes = self._routes.setdefault(transport, _Routes())
        ufrag = transport.agent.local_ufrag
        if ufrag in routes.fragments:
            routes.fragments.remove(ufrag)  # a rollback: it is the newest again
        routes.fragments.append(ufrag)
        self._by_ufrag[ufrag] = transport
        if len(routes.fragments) > MAX_FRAGMENTS:
            self._forget_fragment(transport, routes.fragments.pop(0))
        self._asking[transport] = None

    def forget(self, transport: Transport) -> None:
        """Nothing leads to it any more."""
        self._asking.pop(transport, None)
        routes = self._routes.pop(transport, None)
        if routes is not None:
            for ufrag in routes.fragments:
                self._forget_fragment(transport, ufrag)
            for number, source in routes.sources:
                self._forget_claim(transport, number, source)

    def _forget_fragment(self, transport: Transport, ufrag: str) -> None:
        if self._by_ufrag.get(ufrag) is transport:
            del self._by_ufrag[ufrag]

    def _forget_claim(self, transport: Transport, number: int, source: Address) -> None:
        by_source = self._by_source[number]
        left = tuple(other for other in by_source.get(source, ()) if other is not transport)
        if left:
            by_source[source] = left
        else:
            by_source.pop(source, None)

    async def run(self, number: int) -> None:
        """Receive from one of the sockets until it is closed."""
        sock = self.sockets[number]
        while True:
            try:
                batch = await sock.receive()
            except trio.ClosedResourceError:
                return
            for transport, part in self._share_out(number, batch):
                transport.handle_datagrams(number, part)
                self._learn(transport, number, part)

    def _share_out(
        self, number: int, batch: Sequence[Datagram]
    ) -> list[tuple[Transport, list[Datagram]]]:
        """The batch by owners; each one's datagrams stay in order."""
        parts: dict[Transport, list[Datagram]] = {}
        by_source = self._by_source[number]
        for item in batch:
            datagram, source = item
            owners: tuple[Transport, ...]
            if datagram and datagram[0] > _LAST_STUN_BYTE:
                owners = by_source.get(source, ())
                if not owners:
                    self.counters.strays += 1
            else:
                owners = self._owners_of_stun_untrusted(number, datagram, source)
            for transport in owners:
                part = parts.get(transport)
                if part is None:
                    parts[transport] = [item]
                else:
                    part.append(item)
        return list(parts.items())

    def _owners_of_stun_untrusted(
        self, number: int, datagram: bytes, source: Address
    ) -> tuple[Transport, ...]:
        try:
            message = stun.parse_untrusted(datagram)
        except DecodeError:
            self.counters.malformed += 1
            return ()
        known = self._by_source[number].get(source, ())
        if message.message_class in _ANSWERS:
            owner = self._asker(message.transaction_id, known)
        else:
            username = message.username
            if username is None:
                owner = None
                if message.message_class is stun.StunClass.INDICATION and known:
                    return known  # of a TURN server, or to keep a NAT's binding
            else:
                owner = self._by_ufrag.get(username.partition(":")[0])
        if owner is None:
            self.counters.unknown_peer += 1
            return ()
        return (owner,)

    def _asker(self, transaction_id: bytes, known: Sequence[Transport]) -> Transport | None:
        """Who has asked what this answers.

        Once ICE has settled for a pair, all answers come from addresses that are known. So a flood
        of forged answers does not make us ask every peer that is connected.
        """
        for transport in known:
            if transport.agent.owns_transaction(transaction_id):
                return transport
        settled = []
        try:
            for transport in self._asking:
                agent = transport.agent
                if agent.owns_transaction(transaction_id):
                    return transport
                if (
                    agent.state is IceState.COMPLETED
                    and agent.gathering_state is GatheringState.COMPLETE
                ):
                    settled.append(transport)
        finally:
            for transport in settled:
                del self._asking[transport]
        return known[0] if known else None  # too late, perhaps; its agent counts it

    def _learn(self, transport: Transport, number: int, part: Sequence[Datagram]) -> None:
        """Sources that its agent has validated lead to it."""
        by_source = self._by_source[number]
        for datagram, source in part:
            if (
                datagram
                and datagram[0] <= _LAST_STUN_BYTE
                and transport not in (claims := by_source.get(source, ()))
                and transport.agent.is_validated(number, source)
                and (routes := self._routes.get(transport)) is not None
            ):
                by_source[source] = (*claims[1 - MAX_CLAIMS :], transport)
                routes.sources.add((number, source))
                if len(routes.sources) >= routes.look_at:
                    self._prune(transport, routes)

    def _prune(self, transport: Transport, routes: _Routes) -> None:
        """Forget the sources that its agent has forgotten."""
        is_validated = transport.agent.is_validated
        for number, source in [key for key in routes.sources if not is_validated(*key)]:
            routes.sources.discard((number, source))
            self._forget_claim(transport, number, source)
        routes.look_at = max(_MAX_SOURCES, 2 * len(routes.sources))

    def close(self) -> None:
        """Close the sockets."""
        for sock in self.sockets:
            with contextlib.suppress(OSError):
                sock.close()
