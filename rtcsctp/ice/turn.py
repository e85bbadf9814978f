r"""A client of a TURN server, without I/O (RFC 8656)::

    we ── Send indication, ChannelData ──▶ server ── UDP from the relayed address ──▶ peer
       ◀── Data indication, ChannelData ──        ◀── UDP to the relayed address ────

One `TurnClient` has one allocation, over UDP (from one of our sockets) or over a stream (TCP, TLS).
It asks for a permission before it sends anything to a host, keeps what it sends meanwhile, and
binds a channel to each peer that gets more than STUN. All that it asks for it renews in time.

Indications and ChannelData are not authenticated by TURN; DTLS and the integrity of ICE checks
protect what is inside them. Answers to our requests are believed only if their integrity is right
(RFC 8489 9.2.5), with the exceptions that the RFC makes for 401 and 438.
"""

from __future__ import annotations

import ipaddress
import random
import struct
from collections import deque
from collections.abc import Collection, Sequence
from math import inf

from rtcsctp.errors import DecodeError
from rtcsctp.ice.candidate import Address
from rtcsctp.ice.servers import IceServer
from rtcsctp.ice.stun import (
    Attribute,
    Method,
    StunClass,
    StunMessage,
    build,
    encode_xor_address,
    new_transaction_id,
    parse_untrusted,
)
from rtcsctp.ice.turn_events import (
    NO_ANSWER,
    Allocated,
    AllocationFailed,
    AllocationLost,
    AlternateServer,
    PermissionFailed,
    TurnEvent,
    TurnState,
    explain,
)
from rtcsctp.ice.turn_exchange import Exchange, Outcome
from rtcsctp.ice.turn_peers import MAX_HELD, Channel, PeerTable, Permission
from rtcsctp.ice.turn_redirect import Redirections
from rtcsctp.ice.turn_requests import Request
from rtcsctp.ice.turn_stream import StreamDeframer

__all__ = [
    "NO_ANSWER",
    "Allocated",
    "AllocationFailed",
    "AllocationLost",
    "AlternateServer",
    "PermissionFailed",
    "TurnClient",
    "TurnEvent",
    "TurnState",
]

_LIFETIME_MAX = 3600.0  # what a server says that means well; a greater one is renewed earlier
_CHANNEL_DATA = struct.Struct(">HH")  # number, length
_CHANNEL_HEADER = _CHANNEL_DATA.size
_SEND_OVERHEAD = {4: 20 + 12 + 4, 6: 20 + 24 + 4}  # header, XOR-PEER-ADDRESS, header of DATA
_MAX_DATAGRAM = 0xFFFF - 64  # what fits into DATA beside the rest
_STUN_ABOVE = 3  # first bytes of STUN are 0 to 3 (RFC 7983)
_STREAM_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")


def _family(host: str) -> int:
    return 6 if ":" in host else 4


class TurnClient:
    """One allocation on one TURN server.

    After every call that changes something, drain `poll_event` until None and `poll_transmit`
    until it gives an empty list, and call `handle_timer` when `deadline` has passed. What
    `poll_transmit` and `send` give goes to `address`, in order.

    Attributes:
        server: as the user named it.
        address: the server's transport address (another one after `AlternateServer`).
        state: how far the allocation is.
        relayed: the relayed address, once there is one.
        mapped: our address as the server sees it, likewise.
        deadline: when to call `handle_timer`; None for never.
    """

    __slots__ = (
        "_deframer",
        "_dropped",
        "_events",
        "_exchange",
        "_expires",
        "_families",
        "_has_cleared",
        "_is_stream",
        "_peers",
        "_redirections",
        "_refresh_at",
        "_rng",
        "_wanted_families",
        "address",
        "deadline",
        "mapped",
        "relayed",
        "server",
        "state",
    )

    def __init__(
        self,
        server: IceServer,
        address: Address,
        *,
        stream: bool,
        rng: random.Random,
        relayed_families: Sequence[int] = (4,),
        software: str = "rtcsctp",
    ) -> None:
        """A client that does nothing before `start`.

        Args:
            server: with its credentials.
            address: its transport address, a numeric one.
            stream: it is connected by TCP or TLS; give what arrives to `handle_stream_untrusted`.
            rng: source of transaction ids; `random.SystemRandom()` wherever it matters.
            relayed_families: 4 and 6, the kinds of relayed address that are of use, in the order in
                which they are asked for: the next where the server says that it has none (440).
                There will be one; a dual allocation (RFC 8656 7.1) coturn 4.6 does not give.
            software: for the server's log; empty says nothing.
        """
        self.server = server
        self.address = address
        self.state = TurnState.NEW
        self.relayed: Address | None = None
        self.mapped: Address | None = None
        self.deadline: float | None = None
        self._dropped = 0
        self._is_stream = stream
        self._rng = rng
        self._wanted_families = tuple(relayed_families)
        self._families = self._wanted_families  # without those that the server does not have
        self._exchange = Exchange(server, stream=stream, rng=rng, software=software)
        self._deframer = StreamDeframer()
        self._peers = PeerTable()
        self._redirections = Redirections(address)
        self._has_cleared = False
        self._events: deque[TurnEvent] = deque()
        self._refresh_at = inf
        self._expires = inf

    # ---------------------------------------------------------------------------- commands

    def start(self, now: float) -> None:
        """Ask for the allocation; a second call does nothing."""
        if self.state is TurnState.NEW:
            self.state = TurnState.ALLOCATING
            self._ask_allocation(now)
            self._reschedule()

    def permit(self, peer_host: str, now: float) -> None:
        """Let a host send to us, as long as the allocation lasts or until `keep_only`.

        Before there is an allocation it is remembered. Asking again is harmless.
        """
        if self.state in {TurnState.NEW, TurnState.ALLOCATING, TurnState.ALLOCATED}:
            if self._permission(peer_host, now) is None:
                self._events.append(self._impossible(peer_host))
            self._reschedule()

    def keep_only(self, peer_hosts: Collection[str]) -> None:
        """Let the permissions of all other hosts lapse: they are not renewed any more.

        What is sent to such a host, or `permit`, asks for it anew. Channels lapse by themselves.
        """
        for permission in self._peers.permissions.values():
            permission.is_wanted = permission.host in peer_hosts
        self._reschedule()

    def send(self, datagrams: Sequence[bytes], peer: Address, now: float) -> list[bytes]:
        """Wrap datagrams for a peer; the result is to be sent to the server.

        While the permission for the peer is asked for, some are kept (`MAX_HELD`) and come out of
        `poll_transmit` later. Without an allocation they are dropped.
        """
        channel = self._peers.channels.get(peer)
        if channel is None or channel.expires <= now or self.state is not TurnState.ALLOCATED:
            return self._send_indications(datagrams, peer, now)
        channel.used = now
        number = channel.number
        pack = _CHANNEL_DATA.pack
        if self._is_stream:
            return [
                b"%b%b%b" % (pack(number, len(d)), d, _STREAM_PADDING[len(d) & 3])
                for d in datagrams
            ]
        return [pack(number, len(d)) + d for d in datagrams]

    def close(self, now: float) -> None:
        """Give the allocation back: `poll_transmit` has the request for it."""
        was = self.state
        if was in {TurnState.CLOSING, TurnState.CLOSED, TurnState.FAILED}:
            return
        self._forget_plans()
        self._peers = PeerTable()
        self.state = TurnState.CLOSED
        # An Allocate that was signed and not answered may have succeeded all the same.
        if was is TurnState.ALLOCATED or self._exchange.is_signing:
            self.state = TurnState.CLOSING
            self._ask(Request(Method.REFRESH, lifetime=0), now)
        self._reschedule()

    # ------------------------------------------------------------------------ from outside

    def handle_datagrams(self, batch: Sequence[bytes], now: float) -> list[tuple[bytes, Address]]:
        """Take datagrams that came from `address`; gives what peers have sent."""
        found = []
        peers = self._peers.peers
        changed = False
        for data in batch:
            if len(data) >= _CHANNEL_HEADER and 0x40 <= data[0] <= 0x4F:
                number, length = _CHANNEL_DATA.unpack_from(data)
                end = _CHANNEL_HEADER + length
                peer = peers.get(number)
                if peer is None or end > len(data):
                    self._dropped += 1
                else:
                    found.append((data[_CHANNEL_HEADER:end], peer))
                continue
            try:
                message = parse_untrusted(data)
            except DecodeError:
                self._dropped += 1
                continue
            if message.message_class >= StunClass.SUCCESS:
                outcome = self._exchange.handle_answer(message, now)
                if outcome is not None:
                    self._settle(outcome, now)
                changed = True
            else:
                self._handle_indication(message, found, now)
        if changed:
            self._exchange.start_waiting(now)
            self._reschedule()
        return found

    def handle_stream_untrusted(self, data: bytes, now: float) -> list[tuple[bytes, Address]]:
        """Take bytes from the connection to the server; gives what peers have sent."""
        try:
            messages = self._deframer.feed_untrusted(data)
        except DecodeError as problem:
            self._lose(NO_ANSWER, f"it speaks no TURN: {problem}")
            return []
        return self.handle_datagrams(messages, now)

    def stream_closed(self, now: float) -> None:  # noqa: ARG002 - all handle_* have the time
        """The connection to the server has ended or failed."""
        if self.state in {TurnState.CLOSING, TurnState.CLOSED}:
            self._forget_plans()
            self.state = TurnState.CLOSED
            self._reschedule()
        else:
            self._lose(NO_ANSWER, "the connection was closed")

    def handle_timer(self, now: float) -> None:
        """Do what is due: retransmissions, renewals. Too early is harmless."""
        if self.deadline is None or now < self.deadline:
            return
        for outcome in self._exchange.handle_timer(now):
            self._settle(outcome, now)
        if self.state is TurnState.ALLOCATED:
            self._renew(now)
        self._exchange.start_waiting(now)
        self._reschedule()

    # ------------------------------------------------------------------------- what comes out

    def poll_event(self) -> TurnEvent | None:
        """The next event, or None."""
        return self._events.popleft() if self._events else None

    def poll_transmit(self, now: float) -> list[bytes]:  # noqa: ARG002 - as every poll_transmit
        """What is to be sent to the server, each a datagram (or a part of the stream)."""
        return self._exchange.take_output()

    def overhead(self, peer: Address) -> int:
        """Bytes that `send` adds to a datagram to that peer.

        The Send indications before a channel is bound are also padded to a multiple of four.
        """
        channel = self._peers.channels.get(peer)
        if channel is not None and channel.expires > 0:
            return _CHANNEL_HEADER
        return _SEND_OVERHEAD[_family(peer[0])]

    def owns_transaction(self, transaction_id: bytes) -> bool:
        """Whether an answer with this transaction id is for this client."""
        return self._exchange.owns_transaction(transaction_id)

    @property
    def dropped(self) -> int:
        """How many datagrams, in both directions, could not be used."""
        return self._dropped + self._exchange.dropped

    # ------------------------------------------------------------------------- times and plans

    def _ask(self, request: Request, now: float) -> None:
        self._exchange.ask(request, now)

    def _ask_allocation(self, now: float) -> None:
        self._ask(Request(Method.ALLOCATE, family=self._families[0]), now)

    def _forget_plans(self) -> None:
        self._exchange.abandon()
        self._refresh_at = self._expires = inf

    def _renew(self, now: float) -> None:
        if now >= self._expires:
            self._lose(NO_ANSWER, "it was not renewed in time")
            return
        if now >= self._refresh_at:
            self._refresh_at = inf
            self._ask(Request(Method.REFRESH), now)
        for permission in list(self._peers.permissions.values()):
            if permission.is_due(now) and permission.needs_request(now):
                self._ask_permission(permission, now)
        for channel in self._peers.channels.values():
            if channel.needs_refresh(now):
                self._bind(channel, now)

    def _reschedule(self) -> None:
        deadline = self._exchange.deadline()
        if self.state is TurnState.ALLOCATED:
            deadline = min(deadline, self._refresh_at, self._expires, self._peers.deadline())
        self.deadline = None if deadline == inf else deadline

    # -------------------------------------------------------------------------------- outcomes

    def _settle(self, outcome: Outcome, now: float) -> None:
        """A request is over; outcomes of requests that were abandoned meanwhile do not count."""
        request, message, code = outcome.request, outcome.message, outcome.code
        if self.state in {TurnState.CLOSED, TurnState.FAILED}:
            return
        if code == 0:
            assert message is not None
            self._succeeded(request, message, now)
        elif request.method is Method.ALLOCATE and code == 300 and message is not None:
            self._redirect(message, now)
        elif request.method is Method.ALLOCATE and code == 437 and not self._has_cleared:
            # Our own allocation, of an earlier run from the same port or by a request whose
            # answer was lost: delete it, then ask again. If it is another's, that fails.
            self._has_cleared = True
            self._ask(Request(Method.REFRESH, lifetime=0), now)
        elif request.method is Method.ALLOCATE and code == 440 and len(self._families) > 1:
            # "the client MUST NOT retry the request"; this is another one.
            self._families = self._families[1:]
            self._ask_allocation(now)
        else:
            self._failed(request, code, outcome.reason, now)

    def _redirect(self, message: StunMessage, now: float) -> None:
        """300 (Try Alternate): over UDP follow it, over a stream only tell of it."""
        target = message.alternate_server
        why_not = self._redirections.objection(self.address, target)
        if target is None or why_not is not None:
            self._lose(300, f"it sends us to another server, {why_not}")
        elif self._is_stream or _family(target[0]) != _family(self.address[0]):
            self._events.append(AlternateServer(target))
            self._lose(300, f"it sends us to {target[0]} port {target[1]}")
        else:
            self._redirections.follow(target)
            self.address = target
            self._families = self._wanted_families
            self._exchange.change_server()
            self._events.append(AlternateServer(target))
            self._ask_allocation(now)

    def _succeeded(self, request: Request, message: StunMessage, now: float) -> None:
        since = request.started
        if request.method is Method.ALLOCATE:
            self._allocated(message, since, now)
        elif request.method is Method.REFRESH:
            if request.lifetime is None:
                self._refreshed(message, since)
            else:
                self._deleted(now)
        elif request.channel is not None:
            request.channel.bind(since)
            permission = self._peers.permissions.get(request.channel.peer[0])
            if permission is not None:  # it "also creates or refreshes a permission"
                pending = permission.is_pending
                permission.grant(since)
                permission.is_pending = pending
        elif request.permission is not None:
            self._granted(request.permission, since, now)

    def _allocated(self, message: StunMessage, since: float, now: float) -> None:
        offered, mapped = message.xor_relayed_addresses, message.xor_mapped_address
        if not offered or mapped is None or not message.lifetime:
            self._lose(500, "its answer has no addresses or no lifetime")
            return
        # Which was asked for first does not matter, as long as it is of use: coturn has a setting
        # for what it gives unasked. After a refusal (440) coturn 4.6 adds an empty address of the
        # family that it does not have.
        relayed = next((found for found in offered if self._is_of_use(found)), None)
        if relayed is None:
            # 7.3: "the client MUST delete the allocation"
            self._lose(440, f"it gave {offered[0][0]}, which is of the wrong family")
            self.state = TurnState.CLOSING
            self._ask(Request(Method.REFRESH, lifetime=0), now)
            return
        self.state = TurnState.ALLOCATED
        self.relayed = relayed
        self.mapped = mapped
        self._refreshed(message, since)
        self._events.append(Allocated(relayed, mapped, float(message.lifetime)))
        for permission in list(self._peers.permissions.values()):
            if self._can_reach(permission.host):
                self._ask_permission(permission, now)
            else:
                del self._peers.permissions[permission.host]
                self._events.append(self._impossible(permission.host))

    def _is_of_use(self, relayed: Address) -> bool:
        host, port = relayed
        unspecified = ipaddress.ip_address(host).is_unspecified
        return _family(host) in self._families and port > 0 and not unspecified

    def _refreshed(self, message: StunMessage, since: float) -> None:
        lifetime = min(float(message.lifetime or 0), _LIFETIME_MAX)
        self._expires = since + lifetime
        # "refresh the allocation roughly 1 minute before it expires"
        self._refresh_at = since + max(lifetime - 60, lifetime / 2)

    def _deleted(self, now: float) -> None:
        """A Refresh with lifetime 0 is done: at the end, or to clear the way for another."""
        if self.state is TurnState.CLOSING:
            self.state = TurnState.CLOSED
        elif self.state is TurnState.ALLOCATING:
            self._ask_allocation(now)

    def _granted(self, permission: Permission, since: float, now: float) -> None:
        permission.grant(since)
        held, permission.held = permission.held, []
        for datagram, peer in held:
            self._exchange.outbox += self.send([datagram], peer, now)

    def _failed(self, request: Request, code: int, reason: str, now: float) -> None:
        """A request has failed for good."""
        method = request.method
        if method is Method.REFRESH and request.lifetime == 0:
            # 437: "it should consider its request as having effectively succeeded"; and otherwise
            # we cannot do more than ask.
            self._deleted(now)
        elif method in {Method.ALLOCATE, Method.REFRESH} or code == 437:
            # 437: "MUST assume the allocation no longer exists"
            self._lose(code, reason)
        elif request.channel is not None:
            # Send indications do as well. (12.3 recommends a new allocation if numbers are out of
            # step; but its relayed address would be another one, and the path be lost.)
            request.channel.refuse(now)
        elif request.permission is not None:
            request.permission.refuse(now)
            text = self._explain(code, f"no permission for {request.permission.host}: {reason}")
            self._events.append(PermissionFailed(request.permission.host, code, text))

    def _lose(self, code: int, reason: str) -> None:
        """The allocation is gone, or will never be."""
        if self.state in {TurnState.ALLOCATING, TurnState.NEW}:
            self._events.append(AllocationFailed(code, self._explain(code, reason)))
        elif self.state is TurnState.ALLOCATED:
            self._events.append(AllocationLost(self._explain(code, reason)))
        if self.state is TurnState.CLOSING:
            self.state = TurnState.CLOSED
        elif self.state is not TurnState.CLOSED:
            self.state = TurnState.FAILED
        self._forget_plans()
        self._peers = PeerTable()
        self._reschedule()

    def _explain(self, code: int, reason: str) -> str:
        return explain(self.server, self.address, code, reason, stream=self._is_stream)

    # ------------------------------------------------------------------------------------ peers

    def _can_reach(self, host: str) -> bool:
        """Whether the relayed address is of that host's family, or may still become so."""
        if self.relayed is None:
            return _family(host) in self._families
        return _family(host) == _family(self.relayed[0])

    def _permission(self, host: str, now: float) -> Permission | None:
        """The permission for a host, asked for if need be; None if it cannot be had."""
        if not self._can_reach(host):
            return None
        permission = self._peers.permit(host, now)
        if (
            permission is not None
            and self.state is TurnState.ALLOCATED
            and permission.needs_request(now)
        ):
            self._ask_permission(permission, now)
        return permission

    def _impossible(self, host: str) -> PermissionFailed:
        if not self._can_reach(host):
            code, reason = 443, "the relayed address is of another family"
        else:
            code, reason = 508, "there are too many"
        text = self._explain(code, f"no permission for {host}: {reason}")
        return PermissionFailed(host, code, text)

    def _ask_permission(self, permission: Permission, now: float) -> None:
        permission.is_pending = True
        self._ask(Request(Method.CREATE_PERMISSION, permission=permission), now)

    def _bind(self, channel: Channel, now: float) -> None:
        channel.is_pending = True
        self._ask(Request(Method.CHANNEL_BIND, channel=channel), now)

    def _send_indications(
        self, datagrams: Sequence[bytes], peer: Address, now: float
    ) -> list[bytes]:
        if self.state is not TurnState.ALLOCATED:
            self._dropped += len(datagrams)
            return []
        permission = self._permission(peer[0], now)
        if permission is None or permission.expires <= now:
            self._hold(permission, datagrams, peer, now)
            self._reschedule()
            return []
        found = []
        carries_data = False
        for datagram in datagrams:
            if not 0 < len(datagram) <= _MAX_DATAGRAM:
                self._dropped += 1
                continue
            carries_data = carries_data or datagram[0] > _STUN_ABOVE
            transaction_id = new_transaction_id(self._rng)
            attributes = [
                (Attribute.XOR_PEER_ADDRESS, encode_xor_address(peer, transaction_id)),
                (Attribute.DATA, datagram),
            ]
            found.append(
                build(
                    Method.SEND, StunClass.INDICATION, transaction_id, attributes, fingerprint=False
                )
            )
        if carries_data:
            self._want_channel(peer, now)
        return found

    def _hold(
        self, permission: Permission | None, datagrams: Sequence[bytes], peer: Address, now: float
    ) -> None:
        """Keep datagrams until the permission is there; the newest go if there are too many."""
        if permission is None or now < permission.refused_until:
            self._dropped += len(datagrams)
            return
        room = MAX_HELD - len(permission.held)
        permission.held += [(datagram, peer) for datagram in datagrams[:room]]
        self._dropped += max(0, len(datagrams) - room)

    def _want_channel(self, peer: Address, now: float) -> None:
        """Bind a channel: the peer gets more than checks, so it is the one that matters."""
        channel = self._peers.channel(peer, now)
        if channel is None or channel.is_pending or now < channel.refused_until:
            return
        channel.expires = 0.0
        channel.used = now
        self._bind(channel, now)
        self._reschedule()

    def _handle_indication(
        self, message: StunMessage, found: list[tuple[bytes, Address]], now: float
    ) -> None:
        """A Data indication: "discard the Data indication" without "an active permission"."""
        peer = message.xor_peer_address
        data = message.data
        if (
            message.method != Method.DATA
            or message.message_class is not StunClass.INDICATION
            or peer is None
            or data is None
            or not self._peers.is_permitted(peer[0], now)
        ):
            self._dropped += 1
        else:
            found.append((data, peer))
