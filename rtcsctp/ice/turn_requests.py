"""Requests of a TURN client: what each of them is for, and what it carries (RFC 8656)."""

from __future__ import annotations

from rtcsctp.ice.stun import Attribute, Method, encode_uint32, encode_xor_address
from rtcsctp.ice.transactions import Transaction
from rtcsctp.ice.turn_peers import Channel, Permission

__all__ = ["Request"]

_UDP = 17 << 24  # REQUESTED-TRANSPORT: protocol, and three reserved bytes
_FAMILIES = {4: 1 << 24, 6: 2 << 24}  # REQUESTED-ADDRESS-FAMILY likewise


class Request:
    """One request and what it is for; it may need several transactions.

    Attributes:
        method: Allocate, Refresh, CreatePermission or ChannelBind.
        permission, channel: what is asked for.
        lifetime: of a Refresh that deletes: 0.
        family: of an Allocate: 4 or 6, the kind of relayed address that is asked for.
        retries: transactions before this one.
        key: that the present transaction was signed with, if it was.
        transaction: the present one.
        unproven: code and reason of an answer that anybody could have made.
    """

    __slots__ = (
        "channel",
        "family",
        "key",
        "lifetime",
        "method",
        "permission",
        "retries",
        "transaction",
        "unproven",
    )

    def __init__(
        self,
        method: Method,
        *,
        permission: Permission | None = None,
        channel: Channel | None = None,
        lifetime: int | None = None,
        family: int = 4,
    ) -> None:
        self.method = method
        self.permission = permission
        self.channel = channel
        self.lifetime = lifetime
        self.family = family
        self.retries = 0
        self.key: bytes | None = None
        self.transaction: Transaction | None = None
        self.unproven: tuple[int, str] | None = None

    @property
    def started(self) -> float:
        """When the present transaction began."""
        assert self.transaction is not None
        return self.transaction.started

    @property
    def deadline(self) -> float:
        """When the present transaction needs attention."""
        assert self.transaction is not None
        return self.transaction.deadline

    def begin(self, transaction: Transaction, key: bytes | None) -> None:
        """A new transaction for it."""
        self.transaction = transaction
        self.key = key
        self.unproven = None

    def attributes(self, transaction_id: bytes, *, software: bytes) -> list[tuple[int, bytes]]:
        """What it carries beside credentials."""
        found: list[tuple[int, bytes]] = []
        if software and self.method in {Method.ALLOCATE, Method.REFRESH}:
            found.append((Attribute.SOFTWARE, software))
        if self.method is Method.ALLOCATE:
            found.append((Attribute.REQUESTED_TRANSPORT, encode_uint32(_UDP)))
            # IPv4 is what a server gives unasked, and one of RFC 5766 does not know to be asked.
            if self.family != 4:
                family = encode_uint32(_FAMILIES[self.family])
                found.append((Attribute.REQUESTED_ADDRESS_FAMILY, family))
        if self.lifetime is not None:
            found.append((Attribute.LIFETIME, encode_uint32(self.lifetime)))
        if self.channel is not None:
            number = encode_uint32(self.channel.number << 16)
            peer = encode_xor_address(self.channel.peer, transaction_id)
            found += [(Attribute.CHANNEL_NUMBER, number), (Attribute.XOR_PEER_ADDRESS, peer)]
        elif self.permission is not None:
            peer = encode_xor_address((self.permission.host, 0), transaction_id)
            found.append((Attribute.XOR_PEER_ADDRESS, peer))
        return found
