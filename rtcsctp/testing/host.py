"""Computers on a simulated network, for whole peers in virtual time.

`simulated_hosts` gives two of them, joined by a `Network`. A `PeerConfig` with one as its `host`,
and with a `StandInIdentity` in place of OpenSSL, whose timer follows the real clock, makes a peer
connection whose every packet passes the simulated network::

    left, right = simulated_hosts(Network(Conditions(delay=0.02, loss=0.2), seed=1))
    config = PeerConfig(host=left, identity=StandInIdentity(random.Random(1)))

No background tasks: a receiver sleeps until the next datagram is due.
"""

from __future__ import annotations

import errno
import ipaddress
import math
import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import trio

from rtcsctp.runtime.host import Address, Datagram, InterfaceAddress

if TYPE_CHECKING:
    from rtcsctp.testing.network import Direction, Network

__all__ = ["SimulatedHost", "SimulatedSocket", "simulated_hosts"]

_PORTS: Final = struct.Struct("!HH")
_FIRST_FREE_PORT: Final = 49_152
_LAST_PORT: Final = 65_535
_MAX_QUEUED: Final = 4096  # datagrams that wait for one socket's reader


class SimulatedHost:
    """A computer with its own addresses, UDP ports and names; see `rtcsctp.runtime.host.Host`.

    Attributes:
        names: what `resolve` knows.
        strays: datagrams for ports that nobody has opened.
        may_fragment: what is put next passes also if it is larger than the network's MTU.
    """

    def __init__(self, addresses: Sequence[str], outgoing: Direction, incoming: Direction) -> None:
        """Use `simulated_hosts`."""
        self._addresses = [
            InterfaceAddress(f"sim{index}", str(ipaddress.ip_address(address)))
            for index, address in enumerate(addresses)
        ]
        self.names: dict[str, Sequence[str]] = {}
        self.strays = 0
        self.may_fragment = False
        self._outgoing = outgoing
        self._incoming = incoming
        self._sockets: dict[Address, SimulatedSocket] = {}
        self._next_port = _FIRST_FREE_PORT
        self._arrival = trio.lowlevel.ParkingLot()
        incoming.on_earlier = self.wake

    def addresses(self) -> Sequence[InterfaceAddress]:
        """Its addresses, each on an interface of its own."""
        return self._addresses

    def open_udp(self, address: str, port: int) -> SimulatedSocket:
        """A socket; raises OSError as the operating system would."""
        if all(entry.address != address for entry in self._addresses):
            raise OSError(errno.EADDRNOTAVAIL, f"{address} is not an address of this host")
        if port == 0:
            port = self._free_port(address)
        elif (address, port) in self._sockets:
            raise OSError(errno.EADDRINUSE, f"UDP port {port} of {address} is in use")
        sock = self._sockets[address, port] = SimulatedSocket(self, (address, port))
        return sock

    def _free_port(self, address: str) -> int:
        for _ in range(_FIRST_FREE_PORT, _LAST_PORT + 1):
            port, self._next_port = self._next_port, self._next_port + 1
            if self._next_port > _LAST_PORT:
                self._next_port = _FIRST_FREE_PORT
            if (address, port) not in self._sockets:
                return port
        raise OSError(errno.EADDRINUSE, f"no UDP port of {address} is free")

    async def resolve(self, name: str) -> Sequence[str]:
        """What `names` says; an address is its own name."""
        await trio.lowlevel.checkpoint()
        try:
            return [str(ipaddress.ip_address(name))]
        except ValueError:
            if name in self.names:
                return self.names[name]
            raise OSError(f"there is no host {name!r} on this network") from None

    async def connect(
        self, address: Address, *, tls_name: str | None = None, ca_file: str | None = None
    ) -> trio.abc.Stream:
        """There is no TCP on this network."""
        del tls_name, ca_file
        await trio.lowlevel.checkpoint()
        raise OSError(errno.ECONNREFUSED, f"nobody listens at {address[0]} port {address[1]}")

    # --------------------------------------------------------------------------- for sockets

    def put(self, datagram: bytes, source: Address, destination: Address) -> None:
        """Send a datagram into the network, or back to a socket of this host."""
        packet = _wrap(datagram, source, destination)
        if any(entry.address == destination[0] for entry in self._addresses):
            self._deliver(packet)
            self._arrival.unpark_all()
        else:
            self._outgoing.may_fragment = self.may_fragment
            self._outgoing.put(packet, trio.current_time())

    def inject(self, datagram: bytes, source: Address, destination: Address) -> None:
        """Let a datagram arrive at once that claims to be from `source`: a forger's."""
        self._deliver(_wrap(datagram, source, destination))
        self._arrival.unpark_all()

    def collect(self) -> None:
        """Share out what has arrived by now."""
        for packet in self._incoming.take(trio.current_time()):
            self._deliver(packet)

    async def wait_arrival(self) -> None:
        """Sleep until something may have arrived."""
        delivery = self._incoming.next_delivery()
        with trio.move_on_at(math.inf if delivery is None else delivery):
            await self._arrival.park()

    def wake(self) -> None:
        """Receivers look again: something came sooner than they knew, or a socket was closed."""
        self._arrival.unpark_all()

    def forget(self, sock: SimulatedSocket) -> None:
        """The port is free again."""
        self._sockets.pop(sock.address, None)

    def _deliver(self, packet: bytes) -> None:
        unwrapped = _unwrap(packet)
        sock = self._sockets.get(unwrapped[2]) if unwrapped is not None else None
        if unwrapped is None or sock is None:
            self.strays += 1
        else:
            sock.put(unwrapped[0], unwrapped[1])


class SimulatedSocket:
    """A UDP socket of a simulated host; see `rtcsctp.runtime.host.DatagramSocket`."""

    def __init__(self, host: SimulatedHost, address: Address) -> None:
        """Use `SimulatedHost.open_udp`."""
        self._host = host
        self._address = address
        self._queue: list[Datagram] = []
        self._closed = False
        self._fragment_users = 0
        self.lost = 0
        """Datagrams that found the queue full, or that cannot be sent to where they should."""

    @property
    def address(self) -> Address:
        """Where it is bound."""
        return self._address

    def put(self, datagram: bytes, source: Address) -> None:
        """A datagram has arrived."""
        if len(self._queue) < _MAX_QUEUED:
            self._queue.append((datagram, source))
        else:
            self.lost += 1

    async def receive(self) -> list[Datagram]:
        """All datagrams that have arrived; waits for the first one."""
        await trio.lowlevel.checkpoint()
        while True:
            if self._closed:
                raise trio.ClosedResourceError("this simulated socket was closed")
            self._host.collect()
            if self._queue:
                batch, self._queue = self._queue, []
                return batch
            await self._host.wait_arrival()

    async def send(self, datagrams: Sequence[bytes], destination: Address) -> None:
        """Put datagrams into the network, all at this instant."""
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise trio.ClosedResourceError("this simulated socket was closed")
        self.send_nowait(datagrams, destination)

    def try_send(self, datagrams: Sequence[bytes], destination: Address) -> int:
        """Put datagrams into the network, all at this instant: it is never full."""
        if self._closed:
            raise trio.ClosedResourceError("this simulated socket was closed")
        self.send_nowait(datagrams, destination)
        return len(datagrams)

    def send_nowait(self, datagrams: Sequence[bytes], destination: Address) -> None:
        """Put datagrams into the network, all at this instant."""
        if not self._closed:
            self._host.may_fragment = self._fragment_users > 0
            for datagram in datagrams:
                try:
                    self._host.put(datagram, self._address, destination)
                except OSError:
                    self.lost += 1

    def allow_fragments(self, allowed: bool) -> None:
        """One more user needs datagrams to pass that are larger than the network's MTU, or one
        fewer.
        """
        self._fragment_users += 1 if allowed else -1

    def close(self) -> None:
        """Close it."""
        if not self._closed:
            self._closed = True
            self._host.forget(self)
            self._host.wake()


def simulated_hosts(
    network: Network,
    a: Sequence[str] = ("192.0.2.1",),
    b: Sequence[str] = ("198.51.100.1",),
    *,
    names: Mapping[str, Sequence[str]] | None = None,
) -> tuple[SimulatedHost, SimulatedHost]:
    """Two hosts, with a network between them.

    Args:
        network: what lies between; its MTU and rate count the headers of IP and UDP, 28 bytes with
            IPv4 addresses and 48 with IPv6 addresses.
        a: the first one's IP addresses.
        b: the second one's.
        names: host names that both know.
    """
    left = SimulatedHost(a, network.a_to_b, network.b_to_a)
    right = SimulatedHost(b, network.b_to_a, network.a_to_b)
    for host in (left, right):
        host.names.update(names or {})
    return left, right


def _wrap(datagram: bytes, source: Address, destination: Address) -> bytes:
    """A packet: version, both addresses, both ports, as large as IP and UDP headers are."""
    from_host = ipaddress.ip_address(source[0]).packed
    to_host = ipaddress.ip_address(destination[0]).packed
    if len(from_host) != len(to_host):
        raise OSError(errno.EAFNOSUPPORT, f"{source[0]} cannot send to {destination[0]}")
    addresses = from_host + to_host
    header = (b"\x04" if len(from_host) == 4 else b"\x06") + addresses
    header += _PORTS.pack(source[1], destination[1])
    return header.ljust(28 if len(from_host) == 4 else 48, b"\0") + datagram


def _unwrap(packet: bytes) -> tuple[bytes, Address, Address] | None:
    """Payload, source and destination; None if the network has damaged the header."""
    version = packet[0] if packet else 0
    size, length = {4: (4, 28), 6: (16, 48)}.get(version, (0, 0))
    if not size or len(packet) < length:
        return None
    from_port, to_port = _PORTS.unpack_from(packet, 1 + 2 * size)
    source = str(ipaddress.ip_address(packet[1 : 1 + size]))
    destination = str(ipaddress.ip_address(packet[1 + size : 1 + 2 * size]))
    return packet[length:], (source, from_port), (destination, to_port)
