"""Permissions and channels of one allocation, as the client sees them (RFC 8656 sections 9, 12).

Times of expiry are counted from when a request was first sent, not from its answer: the server
may have counted from then. Both tables are bounded, for the addresses in them come from the peer.
"""

from __future__ import annotations

from math import inf

from rtcsctp.ice.candidate import Address

__all__ = [
    "MAX_CHANNELS",
    "MAX_HELD",
    "MAX_PERMISSIONS",
    "Channel",
    "PeerTable",
    "Permission",
]

MAX_PERMISSIONS = 256
"""Hosts that may send to us over one allocation."""

MAX_CHANNELS = 64
"""Peers with a channel; others are reached by Send indications."""

MAX_HELD = 8
"""Datagrams that wait for one permission to be granted; checks are repeated anyway."""

_PERMISSION_LIFETIME = 300.0  # "The Permission Lifetime MUST be 300 seconds"
_PERMISSION_REFRESH = 240.0  # a minute is left, more than the 39.5 s of a lost transaction
_CHANNEL_LIFETIME = 600.0  # "A channel binding lasts for 10 minutes unless refreshed"
_CHANNEL_REFRESH = 540.0
_CHANNEL_IDLE = 240.0  # who was not written to for so long can do with Send indications
_RETRY = 60.0  # after a refusal
_FIRST_CHANNEL = 0x4000
_CHANNEL_NUMBERS = 0x1000
# "the client MUST wait 5 minutes after the channel binding expires before attempting to bind the
# channel number to a different transport address or the transport address to a different channel"
_CHANNEL_WAIT = 300.0


class Permission:
    """What one host may send to us.

    Attributes:
        host: the peer's IP address.
        expires: until when the server has it; 0 before it is granted.
        refresh_at: when to ask for it again; never (infinity) before it is granted.
        refused_until: the server has said no, and will not be asked before.
        is_pending: a request is on its way.
        is_wanted: it is to be renewed.
        held: datagrams that wait for it, at most `MAX_HELD`.
    """

    __slots__ = (
        "expires",
        "held",
        "host",
        "is_pending",
        "is_wanted",
        "refresh_at",
        "refused_until",
    )

    def __init__(self, host: str) -> None:
        self.host = host
        self.expires = 0.0
        self.refresh_at = inf
        self.refused_until = 0.0
        self.is_pending = False
        self.is_wanted = True
        self.held: list[tuple[bytes, Address]] = []

    def needs_request(self, now: float) -> bool:
        """Whether it is to be asked for at once."""
        if self.is_pending or now < self.refused_until:
            return False
        return self.expires <= now or self.refresh_at <= now

    def is_due(self, now: float) -> bool:
        """Whether it is to be renewed now."""
        return self.is_wanted and self.refresh_at <= now

    def grant(self, since: float) -> None:
        """The server has granted or renewed it."""
        self.is_pending = False
        self.expires = since + _PERMISSION_LIFETIME
        self.refresh_at = since + _PERMISSION_REFRESH

    def refuse(self, now: float) -> None:
        """The server has refused it, or did not answer."""
        self.is_pending = False
        self.expires = 0.0
        self.refresh_at = inf
        self.refused_until = now + _RETRY
        self.held.clear()


class Channel:
    """A short name for one peer.

    Attributes:
        peer: its transport address.
        number: 0x4000 to 0x4FFF.
        expires: until when it is bound; 0 before.
        refresh_at: when to bind it again; never (infinity) before it is bound, and once idle.
        refused_until: the server has said no, and will not be asked before.
        is_pending: a request is on its way.
        used: when something was last sent over it.
    """

    __slots__ = (
        "expires",
        "is_pending",
        "number",
        "peer",
        "refresh_at",
        "refused_until",
        "used",
    )

    def __init__(self, peer: Address, number: int) -> None:
        self.peer = peer
        self.number = number
        self.expires = 0.0
        self.refresh_at = inf
        self.refused_until = 0.0
        self.is_pending = False
        self.used = 0.0

    def needs_refresh(self, now: float) -> bool:
        """Whether it is time to bind it again; an idle channel is left to expire."""
        if self.is_pending or now < self.refresh_at:
            return False
        if self.used + _CHANNEL_IDLE < now:
            self.refresh_at = inf
            return False
        return True

    def bind(self, since: float) -> None:
        """The server has bound or renewed it."""
        self.is_pending = False
        self.expires = since + _CHANNEL_LIFETIME
        self.refresh_at = since + _CHANNEL_REFRESH

    def refuse(self, now: float) -> None:
        """The server has not; what it bound before stays until it expires."""
        self.is_pending = False
        self.refresh_at = inf
        self.refused_until = now + _RETRY


class PeerTable:
    """All permissions and channels of an allocation.

    Attributes:
        permissions: by host.
        channels: by transport address, those that have lapsed too: their numbers are not free
            at once.
        peers: transport addresses by channel number.
    """

    __slots__ = ("_next_number", "channels", "peers", "permissions")

    def __init__(self) -> None:
        self.permissions: dict[str, Permission] = {}
        self.channels: dict[Address, Channel] = {}
        self.peers: dict[int, Address] = {}
        self._next_number = 0

    def permit(self, host: str, now: float) -> Permission | None:
        """The permission of a host, a new one if need be; None if there are too many."""
        permission = self.permissions.get(host)
        if permission is not None:
            permission.is_wanted = True
            return permission
        if len(self.permissions) >= MAX_PERMISSIONS:
            for old in list(self.permissions.values()):
                if not old.is_pending and old.expires <= now:
                    del self.permissions[old.host]
        if len(self.permissions) >= MAX_PERMISSIONS:
            return None
        permission = self.permissions[host] = Permission(host)
        return permission

    def is_permitted(self, host: str, now: float) -> bool:
        """Whether the server has a permission for that host."""
        permission = self.permissions.get(host)
        return permission is not None and permission.expires > now

    def channel(self, peer: Address, now: float) -> Channel | None:
        """The channel of a peer, a new one if need be; None if there are too many."""
        channel = self.channels.get(peer)
        if channel is not None:
            return channel
        if len(self.channels) >= MAX_CHANNELS:
            for old in list(self.channels.values()):
                if not old.is_pending and old.expires + _CHANNEL_WAIT < now:
                    del self.channels[old.peer]
                    del self.peers[old.number]
        if len(self.channels) >= MAX_CHANNELS:
            return None
        # Of 4,096 numbers 64 are in use, so the next is soon found, and was not used lately.
        while _FIRST_CHANNEL + self._next_number in self.peers:
            self._next_number = (self._next_number + 1) % _CHANNEL_NUMBERS
        channel = Channel(peer, _FIRST_CHANNEL + self._next_number)
        self._next_number = (self._next_number + 1) % _CHANNEL_NUMBERS
        self.channels[peer] = channel
        self.peers[channel.number] = peer
        return channel

    def deadline(self) -> float:
        """When the next of them is to be renewed; infinity if none is."""
        wanted = [p for p in self.permissions.values() if p.is_wanted and not p.is_pending]
        return min(
            min((p.refresh_at for p in wanted), default=inf),
            min((c.refresh_at for c in self.channels.values() if not c.is_pending), default=inf),
        )
