"""A TURN server over UDP for the small internet of `topology`: enough of RFC 8656 for an agent."""

from __future__ import annotations

import itertools

from rtcsctp.ice.candidate import Address
from rtcsctp.ice.stun import (
    Attribute,
    Method,
    StunClass,
    StunMessage,
    build,
    encode_error,
    encode_uint32,
    encode_xor_address,
    long_term_key,
    parse_untrusted,
)

from .topology import Server

Packet = tuple[Address, bytes, Address]
REALM, NONCE = "example.org", b"nonce"


class Allocation:
    def __init__(self, client: Address, relayed: Address) -> None:
        self.client = client
        self.relayed = relayed
        self.permitted: set[str] = set()
        self.asked: set[str] = set()  # as permitted; for tests to clear
        self.channels: dict[int, Address] = {}


class TurnServer(Server):
    """Relays at its own host, ports from 50,000; one user."""

    def __init__(
        self, address: Address, username: str = "user", password: str = "secret", *, refuse: int = 0
    ) -> None:
        self.address = address
        self.key = long_term_key(username, REALM, password)
        self.refuse = refuse  # error code for every Allocate
        self.forbidden: set[str] = set()  # hosts that no permission is given for
        self.silent = False
        self.relay_hosts = [address[0]]  # one of each family that it relays from
        self.allocations: dict[Address, Allocation] = {}
        self.by_relayed: dict[Address, Allocation] = {}
        self.relayed_packets = 0
        self._ports = itertools.count(50_000)

    def handle(self, data: bytes, source: Address, to: Address) -> list[Packet]:
        if self.silent:
            return []
        if to != self.address:
            return self._from_peer(data, source, to)
        allocation = self.allocations.get(source)
        if data[0] >= 64:
            number, length = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
            if allocation is None or number not in allocation.channels:
                return []
            peer = allocation.channels[number]
            return self._to_peer(allocation, data[4 : 4 + length], peer)
        message = parse_untrusted(data)
        if message.message_class is StunClass.INDICATION:
            peer_address, payload = message.xor_peer_address, message.data
            if allocation is None or peer_address is None or payload is None:
                return []
            return self._to_peer(allocation, payload, peer_address)
        return [(self.address, self._answer(message, source), source)]

    def _to_peer(self, allocation: Allocation, data: bytes, peer: Address) -> list[Packet]:
        if peer[0] not in allocation.permitted:
            return []
        self.relayed_packets += 1
        target = self.by_relayed.get(peer)
        if target is not None:  # both ends are ours
            return self._from_peer(data, allocation.relayed, peer)
        return [(allocation.relayed, data, peer)]

    def _from_peer(self, data: bytes, source: Address, to: Address) -> list[Packet]:
        allocation = self.by_relayed.get(to)
        if allocation is None or source[0] not in allocation.permitted:
            return []
        for number, peer in allocation.channels.items():
            if peer == source:
                header = number.to_bytes(2, "big") + len(data).to_bytes(2, "big")
                return [(self.address, header + data, allocation.client)]
        transaction_id = bytes(12)
        wrapped = build(
            Method.DATA,
            StunClass.INDICATION,
            transaction_id,
            [
                (Attribute.XOR_PEER_ADDRESS, encode_xor_address(source, transaction_id)),
                (Attribute.DATA, data),
            ],
            fingerprint=False,
        )
        return [(self.address, wrapped, allocation.client)]

    def _answer(self, request: StunMessage, source: Address) -> bytes:
        if request.method == Method.BINDING:
            mapped = encode_xor_address(source, request.transaction_id)
            return self._success(request, [(Attribute.XOR_MAPPED_ADDRESS, mapped)], key=None)
        if not request.has_integrity:
            return self._error(
                request, 401, [(Attribute.REALM, REALM.encode()), (Attribute.NONCE, NONCE)]
            )
        if not request.check_integrity(self.key):
            return self._error(
                request, 401, [(Attribute.REALM, REALM.encode()), (Attribute.NONCE, NONCE)]
            )
        if request.method == Method.ALLOCATE:
            return self._allocate(request, source)
        allocation = self.allocations.get(source)
        if allocation is None:
            return self._error(request, 437)
        if request.method == Method.REFRESH:
            if request.lifetime == 0:
                del self.allocations[source]
                del self.by_relayed[allocation.relayed]
            granted = 600 if request.lifetime is None else request.lifetime
            return self._success(request, [(Attribute.LIFETIME, encode_uint32(granted))])
        peers = request.xor_peer_addresses
        if any(peer[0] in self.forbidden for peer in peers):
            return self._error(request, 403)
        allocation.permitted.update(peer[0] for peer in peers)
        allocation.asked.update(peer[0] for peer in peers)
        if request.method == Method.CHANNEL_BIND:
            assert request.channel_number is not None
            allocation.channels[request.channel_number] = peers[0]
        return self._success(request, [])

    def _allocate(self, request: StunMessage, source: Address) -> bytes:
        if self.refuse:
            return self._error(request, self.refuse)
        asked = request.get(Attribute.REQUESTED_ADDRESS_FAMILY) or b"\1"
        hosts = [host for host in self.relay_hosts if (":" in host) == (asked[0] == 2)]
        if not hosts:
            return self._error(request, 440)
        relayed = (hosts[0], next(self._ports))
        allocation = self.allocations[source] = Allocation(source, relayed)
        self.by_relayed[relayed] = allocation
        transaction_id = request.transaction_id
        return self._success(
            request,
            [
                (Attribute.XOR_RELAYED_ADDRESS, encode_xor_address(relayed, transaction_id)),
                (Attribute.XOR_MAPPED_ADDRESS, encode_xor_address(source, transaction_id)),
                (Attribute.LIFETIME, encode_uint32(600)),
            ],
        )

    def _success(
        self,
        request: StunMessage,
        attributes: list[tuple[int, bytes]],
        *,
        key: bytes | None = b"ours",
    ) -> bytes:
        signed = self.key if key is not None else None
        return build(
            request.method, StunClass.SUCCESS, request.transaction_id, attributes, key=signed
        )

    def _error(
        self, request: StunMessage, code: int, more: list[tuple[int, bytes]] | None = None
    ) -> bytes:
        attributes = [(int(Attribute.ERROR_CODE), encode_error(code, "")), *(more or [])]
        return build(
            request.method,
            StunClass.ERROR,
            request.transaction_id,
            attributes,
            key=None if code == 401 else self.key,
        )
