"""One UDP port, many peers: which datagram is whose (RFC 8445, RFC 7983).

A STUN request names our ICE user fragment, which is the peer's name here. A STUN response belongs
to whoever sent the request with its transaction id. All else belongs to the peer whose ICE agent
has validated its source address. What is nobody's is counted and dropped; nothing that was not
authenticated by an agent changes where datagrams go.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import attrs
import trio

from rtcsctp.errors import DecodeError
from rtcsctp.ice import stun
from rtcsctp.runtime.host import Address, Datagram, DatagramSocket
from rtcsctp.runtime.transport import Transport

__all__ = ["SharedCounters", "SharedSockets"]

_LAST_STUN_BYTE = 3  # RFC 7983: the first byte of STUN is 0 to 3


@attrs.define
class SharedCounters:
    """What arrives for nobody."""

    malformed: int = 0
    """What looked like STUN and is not."""
    unknown_peer: int = 0
    """STUN for no peer that there is."""
    strays: int = 0
    """Datagrams from addresses that no peer's agent has validated."""


class SharedSockets:
    """UDP sockets, one for each address of this host, that many transports use.

    Attributes:
        sockets: the sockets; their places in the list are their numbers.
        counters: what arrived for nobody.
    """

    def __init__(self, sockets: Sequence[DatagramSocket]) -> None:
        self.sockets = list(sockets)
        self.counters = SharedCounters()
        self._by_ufrag: dict[str, Transport] = {}
        self._by_source: dict[tuple[int, Address], Transport] = {}
        self._sources: dict[Transport, set[tuple[int, Address]]] = {}

    def register(self, transport: Transport) -> None:
        """Its agent's user fragment leads to it from now on; call again after an ICE restart."""
        self._by_ufrag[transport.agent.local_ufrag] = transport
        self._sources.setdefault(transport, set())

    def forget(self, transport: Transport) -> None:
        """Nothing leads to it any more."""
        for ufrag in [u for u, t in self._by_ufrag.items() if t is transport]:
            del self._by_ufrag[ufrag]
        for source in self._sources.pop(transport, ()):
            if self._by_source.get(source) is transport:
                del self._by_source[source]

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
        for datagram, source in batch:
            transport = self._owner_untrusted(number, datagram, source)
            if transport is not None:
                parts.setdefault(transport, []).append((datagram, source))
        return list(parts.items())

    def _owner_untrusted(self, number: int, datagram: bytes, source: Address) -> Transport | None:
        if not datagram or datagram[0] > _LAST_STUN_BYTE:
            transport = self._by_source.get((number, source))
            if transport is None:
                self.counters.strays += 1
            return transport
        try:
            message = stun.parse_untrusted(datagram)
        except DecodeError:
            self.counters.malformed += 1
            return None
        username = message.username
        if username is not None:
            transport = self._by_ufrag.get(username.partition(":")[0])
        else:
            transport = self._by_transaction(message.transaction_id, (number, source))
        if transport is None:
            self.counters.unknown_peer += 1
        return transport

    def _by_transaction(
        self, transaction_id: bytes, source: tuple[int, Address]
    ) -> Transport | None:
        known = self._by_source.get(source)
        if known is not None and known.agent.owns_transaction(transaction_id):
            return known
        for transport in self._sources:
            if transport.agent.owns_transaction(transaction_id):
                return transport
        return known  # a TURN server's indication has an id of its own

    def _learn(self, transport: Transport, number: int, part: Sequence[Datagram]) -> None:
        """Sources that its agent has validated lead to it."""
        agent = transport.agent
        for datagram, source in part:
            key = (number, source)
            if (
                datagram
                and datagram[0] <= _LAST_STUN_BYTE
                and self._by_source.get(key) is not transport
                and agent.is_validated(number, source)
            ):
                self._by_source[key] = transport
                if transport in self._sources:
                    self._sources[transport].add(key)

    def close(self) -> None:
        """Close the sockets."""
        for sock in self.sockets:
            with contextlib.suppress(OSError):
                sock.close()
