"""What a peer needs of the computer it runs on: addresses, UDP sockets, names, streams.

`SystemHost` is the real one. Tests put another in its place, with addresses on a simulated network
(`rtcsctp.testing.SimulatedHost`).

Errors that the network reports on a UDP socket (ICMP, by way of the kernel) are counted and
otherwise ignored: anybody can forge them, and ICE finds out for itself which paths work. A datagram
that the kernel refuses is a datagram lost.
"""

from __future__ import annotations

import ipaddress
import math
import socket
import ssl
import time
from collections.abc import Sequence
from typing import Protocol

import attrs
import ifaddr
import trio

from rtcsctp.runtime.batches import BatchSocket, Run, set_buffers, split
from rtcsctp.runtime.dont_fragment import FragmentationSwitch

__all__ = [
    "THIS_HOST",
    "Address",
    "DatagramSocket",
    "Host",
    "InterfaceAddress",
    "SystemHost",
    "UdpSocket",
]

Address = tuple[str, int]
"""An IP address in its canonical text form, and a port."""

Datagram = tuple[bytes, Address]
"""A datagram that arrived, and where it came from."""

_ADDRESSES_KEPT = 0.5  # seconds


@attrs.frozen
class InterfaceAddress:
    """An IP address of this computer: the interface's name, and the address in canonical text."""

    interface: str
    address: str

    @property
    def is_loopback(self) -> bool:
        """Whether it reaches this computer only."""
        return ipaddress.ip_address(self.address).is_loopback

    @property
    def is_link_local(self) -> bool:
        """Whether it means nothing without the interface."""
        return ipaddress.ip_address(self.address).is_link_local


class DatagramSocket(Protocol):
    """A UDP socket, bound to one address."""

    @property
    def address(self) -> Address:
        """Where it is bound."""
        ...

    async def receive(self) -> list[Datagram]:
        """Wait for datagrams; all that are there, at least one.

        Raises:
            trio.ClosedResourceError: it was closed, perhaps meanwhile.
        """
        ...

    async def send(self, datagrams: Sequence[bytes], destination: Address) -> None:
        """Send datagrams, in order; waits while the socket takes no more.

        Raises:
            trio.ClosedResourceError: it was closed.
        """
        ...

    def try_send(self, datagrams: Sequence[bytes], destination: Address) -> int:
        """Send what can be sent now, in order; gives how many were taken.

        Raises:
            trio.ClosedResourceError: it was closed.
        """
        ...

    def send_nowait(self, datagrams: Sequence[bytes], destination: Address) -> None:
        """Send what can be sent now; the rest is lost. Does nothing on a closed socket."""
        ...

    def allow_fragments(self, allowed: bool) -> None:
        """One more user needs IP to fragment datagrams from now on, or one fewer."""
        ...

    def close(self) -> None:
        """Close it; pending calls raise `trio.ClosedResourceError`."""
        ...


class Host(Protocol):
    """The computer that a peer runs on."""

    def addresses(self) -> Sequence[InterfaceAddress]:
        """The addresses of its interfaces that are up."""
        ...

    def open_udp(self, address: str, port: int) -> DatagramSocket:
        """A UDP socket bound to an address of ours; port 0 is any free one.

        Raises:
            OSError: the port is taken, or the address is not ours.
        """
        ...

    async def resolve(self, name: str) -> Sequence[str]:
        """The IP addresses of a host, IPv4 first.

        Raises:
            OSError: there are none.
        """
        ...

    async def connect(
        self, address: Address, *, tls_name: str | None = None, ca_file: str | None = None
    ) -> trio.abc.Stream:
        """A TCP connection; with `tls_name`, TLS over it, whose certificate has that name.

        Raises:
            OSError, trio.BrokenResourceError: it cannot be had; the message says why.
        """
        ...


class UdpSocket:
    """A UDP socket of the operating system.

    Attributes:
        batches: the socket itself, how it sends and receives, and what it counts.
    """

    def __init__(self, address: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            set_buffers(sock)
            self._fragmentation = FragmentationSwitch(sock)
            sock.bind((address, port))
        except OSError:
            sock.close()
            raise
        self.batches = BatchSocket(sock)
        self._address: Address = sock.getsockname()[:2]
        self._writing = trio.Lock()
        self._closed = False
        self._is_ipv6 = family == socket.AF_INET6

    @property
    def address(self) -> Address:
        """Where it is bound."""
        return self._address

    @property
    def lost(self) -> int:
        """Datagrams that the kernel did not take."""
        return self.batches.lost

    @property
    def errors(self) -> int:
        """Errors instead of datagrams: what ICMP reported."""
        return self.batches.errors

    async def receive(self) -> list[Datagram]:
        """See `DatagramSocket.receive`."""
        batch: list[Datagram] = []
        for data, source, size in await self.receive_runs():
            if size:
                batch += [(datagram, source) for datagram in split(data, size)]
            else:
                batch.append((data, source))
        return batch

    async def receive_runs(self) -> list[Run]:
        """The same, with those that the kernel has joined still joined.

        Raises:
            trio.ClosedResourceError: it was closed, perhaps meanwhile.
        """
        batch: list[Run] = []
        while not batch:
            if self._closed:
                raise trio.ClosedResourceError("this UDP socket was closed")
            await trio.lowlevel.wait_readable(self._socket)
            if not self._closed:  # else it became readable and was closed in one turn of the loop
                batch = self.batches.receive_runs()
        if self._is_ipv6:
            return [(data, (source[0], source[1]), size) for data, source, size in batch]
        return batch

    async def send(self, datagrams: Sequence[bytes], destination: Address) -> None:
        """See `DatagramSocket.send`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        waited = False
        sent = self.try_send(datagrams, destination)
        while sent < len(datagrams):
            waited = True
            async with self._writing:  # Trio lets one task wait for a socket
                await trio.lowlevel.wait_writable(self._socket)
            sent += self.try_send(datagrams[sent:], destination)
        if not waited:
            await trio.lowlevel.cancel_shielded_checkpoint()

    def try_send(self, datagrams: Sequence[bytes], destination: Address) -> int:
        """See `DatagramSocket.try_send`."""
        if self._closed:
            raise trio.ClosedResourceError("this UDP socket was closed")
        return self.batches.send(datagrams, 0, destination)

    def send_nowait(self, datagrams: Sequence[bytes], destination: Address) -> None:
        """See `DatagramSocket.send_nowait`."""
        if not self._closed:
            sent = self.batches.send(datagrams, 0, destination)
            self.batches.lost += len(datagrams) - sent

    def allow_fragments(self, allowed: bool) -> None:
        """See `DatagramSocket.allow_fragments`."""
        if not self._closed:
            self._fragmentation.set(allowed)

    def close(self) -> None:
        """See `DatagramSocket.close`."""
        if not self._closed:
            self._closed = True
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


class SystemHost:
    """This computer."""

    def __init__(self) -> None:
        self._known: list[InterfaceAddress] = []
        self._known_until = -math.inf

    def addresses(self) -> Sequence[InterfaceAddress]:
        """The addresses of the interfaces that are up, as they were in the last half second."""
        # Asking takes a millisecond, which is much where peers come by the hundred.
        now = time.monotonic()
        if now >= self._known_until:
            self._known = self._ask()
            self._known_until = now + _ADDRESSES_KEPT
        return self._known

    def _ask(self) -> list[InterfaceAddress]:
        found = []
        for adapter in ifaddr.get_adapters():
            for entry in adapter.ips:
                text = entry.ip if isinstance(entry.ip, str) else entry.ip[0]
                address = str(ipaddress.ip_address(text.partition("%")[0]))
                found.append(InterfaceAddress(adapter.name, address))
        return found

    def open_udp(self, address: str, port: int) -> DatagramSocket:
        """A socket of the operating system; see `Host.open_udp`."""
        return UdpSocket(address, port)

    async def resolve(self, name: str) -> Sequence[str]:
        """Ask the operating system; see `Host.resolve`."""
        try:
            return [str(ipaddress.ip_address(name))]
        except ValueError:
            pass
        found = await trio.socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
        found.sort(key=lambda info: info[0] != socket.AF_INET)
        addresses = (str(info[4][0]).partition("%")[0] for info in found)
        return list(dict.fromkeys(str(ipaddress.ip_address(text)) for text in addresses))

    async def connect(
        self, address: Address, *, tls_name: str | None = None, ca_file: str | None = None
    ) -> trio.abc.Stream:
        """Connect by TCP, without Nagle's delay; see `Host.connect`."""
        stream = await trio.open_tcp_stream(*address)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls_name is None:
            return stream
        context = ssl.create_default_context(cafile=ca_file)
        secure = trio.SSLStream(stream, context, server_hostname=tls_name, https_compatible=True)
        try:
            await secure.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(secure)
            raise
        return secure


THIS_HOST = SystemHost()
"""The computer that this program runs on."""
