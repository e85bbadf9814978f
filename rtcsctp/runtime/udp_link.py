"""The packets of one association among those of a UDP socket."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import trio

from rtcsctp.runtime.packet_queue import PacketQueue
from rtcsctp.sctp.association import Association as Core

if TYPE_CHECKING:
    from rtcsctp.runtime.udp_endpoint import UdpEndpoint

__all__ = ["MAX_PACKET", "Address", "UdpLink", "family_of"]

MAX_PACKET = 65_507
"""Bytes: 65,535 less the headers of UDP and IPv4."""

_HEADERS = {socket.AF_INET: 28, socket.AF_INET6: 48}  # of IP and UDP, bytes
_MAX_QUEUED = 1024  # packets that wait for one association's receiver

Address = tuple[Any, ...]
"""A socket address of Python: host and port; for IPv6, flow information and scope too."""


def family_of(address: Address) -> socket.AddressFamily:
    """IPv4 or IPv6."""
    return socket.AF_INET6 if len(address) > 2 else socket.AF_INET


class UdpLink(trio.abc.AsyncResource):
    """The packets of one association on a UDP endpoint's socket.

    Attributes:
        core: the association.
        remote_address: where its packets go: host, port, and for IPv6 flow information and scope.
    """

    def __init__(self, endpoint: UdpEndpoint, core: Core, remote_address: Address) -> None:
        """Use `UdpEndpoint.connect` or `UdpEndpoint.serve`."""
        self.core = core
        self.remote_address = remote_address
        self.tag = 0
        """Our verification tag, by which the endpoint finds this link."""
        self._endpoint = endpoint
        self._queue = PacketQueue(_MAX_QUEUED, "this UDP endpoint was closed")
        self._unsent: Sequence[bytes] = ()

    @property
    def max_packet_size(self) -> int:
        """Largest packet that UDP takes, bytes."""
        return MAX_PACKET

    @property
    def overhead(self) -> int:
        """Bytes of the headers of IP and UDP."""
        return _HEADERS[family_of(self.remote_address)]

    def allow_fragments(self, allowed: bool) -> None:
        """Let IP fragment packets, or no longer; others on the same socket may, too, meanwhile."""
        self._endpoint.fragmentation.set(allowed)

    def put(self, packet: bytes) -> bool:
        """Queue a packet that arrived; False if there is no room."""
        return not self._queue.put((packet,))

    @property
    def is_direct(self) -> bool:
        """Whether somebody wants what arrives as it arrives."""
        return self._queue.is_direct

    def deliver_to(self, take: Callable[[Sequence[bytes]], None] | None) -> None:
        """See `DirectLink.deliver_to`."""
        self._queue.deliver_to(take)

    def flush(self) -> None:
        """All packets of a batch are here: hand them over."""
        self._queue.flush()

    async def send(self, packets: Sequence[bytes]) -> None:
        """Send packets; waits while the socket takes no more.

        Raises:
            trio.ClosedResourceError: this link or its endpoint is closed.
        """
        if self._queue.is_closed:
            await trio.lowlevel.checkpoint()
        self._check_registered()
        if self._unsent:
            packets, self._unsent = [*self._unsent, *packets], ()
        await self._endpoint.send(packets, self.remote_address)

    def send_now(self, packets: Sequence[bytes]) -> bool:
        """See `DirectLink.send_now`."""
        self._check_registered()
        taken = self._endpoint.try_send(packets, self.remote_address)
        self._unsent = packets[taken:]
        return not self._unsent

    def _check_registered(self) -> None:
        self._queue.check_open()
        if self.core.local_tag != self.tag:  # the first INIT, or the peer has restarted
            self._endpoint.register(self)

    async def receive(self) -> Sequence[bytes]:
        """All packets that are there; waits for the first one.

        Raises:
            trio.ClosedResourceError: this link or its endpoint is closed.
        """
        return await self._queue.take()

    def close(self) -> None:
        """Close it: the endpoint forgets it, and pending calls are woken."""
        if not self._queue.is_closed:
            self._endpoint.forget(self)
            self._queue.close()

    async def aclose(self) -> None:
        """Close it; the socket stays open."""
        self.close()
        await trio.lowlevel.checkpoint()
