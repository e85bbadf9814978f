"""Names of hidden candidates on the local network: asking for them and answering (RFC 6762).

On each interface and for each IP version there is one socket in the multicast group, bound to port
5353 beside those of other programs (a browser, Avahi). Where that is impossible, an ephemeral port
can still ask (RFC 6762 6.7), but nobody's questions arrive, so nothing can be published.

Names are random, which is why neither probing nor conflicts matter here, and why only those who
were told a name can ask for it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import math
import random
import socket
import struct
import sys
from collections.abc import AsyncIterator, Iterable

import ifaddr
import trio

from rtcsctp.errors import DecodeError
from rtcsctp.ice.mdns import (
    GROUPS,
    PORT,
    MdnsMessage,
    is_candidate_name,
    make_answer,
    make_name,
    make_query,
    parse_untrusted,
)
from rtcsctp.runtime.background import background_tasks

__all__ = ["Mdns", "open_mdns"]

_FIRST_INTERVALS = (1.0, 2.0)  # queries go at 0, 1 and 3 s; RFC 6762 5.2: at least doubling
_LAST_INTERVAL = 60.0  # browsers publish a candidate before they tell it: patience helps little
# RFC 6762 section 6: "MUST NOT multicast a record […] until at least one second has elapsed since
# the last time that record was multicast on that particular interface."
_ANSWER_INTERVAL = 1.0
_MAX_DATAGRAM = 9000
_HOP_LIMIT = 255  # RFC 6762 section 11
# Linux: only what comes from groups that this very socket has joined, on its interface.
_IP_MULTICAST_ALL = 49
_IPV6_MULTICAST_ALL = 29


class _Link:
    """One interface with one IP version.

    Attributes:
        socket: what arrives, comes from here.
        version: 4 or 6.
        interface: its name.
        is_member: it hears other people's questions.
        answered: when each of our names was last told here, and the names that wait for their
            turn, with infinity.
    """

    __slots__ = ("_plain", "answered", "group", "interface", "is_member", "socket", "version")

    def __init__(
        self, plain: socket.socket, version: int, index: int, interface: str, *, is_member: bool
    ) -> None:
        self._plain = plain
        self.socket = trio.socket.from_stdlib_socket(plain)
        self.version = version
        self.interface = interface
        self.is_member = is_member
        self.group: tuple[object, ...] = (
            (GROUPS[4], PORT) if version == 4 else (GROUPS[6], PORT, 0, index)
        )
        self.answered: dict[str, float] = {}

    def send(self, data: bytes, address: tuple[object, ...] | None = None) -> None:
        """Send to the group or to somebody; what the kernel refuses is lost, like any datagram."""
        with contextlib.suppress(OSError):
            self._plain.sendto(data, self.group if address is None else address)

    def close(self) -> None:
        """Leave the group."""
        self.socket.close()


class Mdns:
    """Finds the addresses of hidden candidates, and tells those of our own; see `open_mdns`.

    Attributes:
        can_publish: whether questions of others arrive here.
    """

    def __init__(self, links: list[_Link], nursery: trio.Nursery, rng: random.Random) -> None:
        self._links = links
        self._nursery = nursery
        self._rng = rng
        self._published: dict[str, str] = {}
        self._waiters: dict[str, set[_Waiter]] = {}
        self.can_publish = any(link.is_member for link in links)

    async def resolve(self, name: str) -> str:
        """The address of a hidden candidate; asks again and again until somebody answers.

        Use a cancel scope to limit the time.

        Raises:
            ValueError: it is not the name of a hidden candidate, and so is not asked for.
        """
        if not is_candidate_name(name):
            raise ValueError(f"not the name of a hidden candidate: {name!r}")
        name = name.lower().removesuffix(".")
        own = self._published.get(name)
        if own is not None:
            await trio.lowlevel.checkpoint()
            return own
        waiter = _Waiter()
        waiters = self._waiters.setdefault(name, set())
        waiters.add(waiter)
        try:
            query = make_query(name)
            intervals = iter(_FIRST_INTERVALS)
            interval = 0.0
            while waiter.address is None:
                for link in self._links:
                    link.send(query)
                interval = next(intervals, min(interval * 2, _LAST_INTERVAL))
                with trio.move_on_after(interval):
                    await waiter.answered.wait()
            return waiter.address
        finally:
            waiters.discard(waiter)
            if not waiters:
                self._waiters.pop(name, None)

    def publish(self, address: str) -> str:
        """A new name for one of our addresses, known on the local network until `withdraw`.

        Raises:
            OSError: port 5353 cannot be bound here.
            ValueError: not an IP address.
        """
        canonical = str(ipaddress.ip_address(address))
        if not self.can_publish:
            raise OSError(f"multicast DNS needs UDP port {PORT}, which could not be bound")
        name = make_name(self._rng)
        self._published[name] = canonical
        return name

    def withdraw(self, name: str) -> None:
        """Do not answer for a name any more, and say so (RFC 6762 10.1)."""
        address = self._published.pop(name, None)
        if address is None:
            return
        for link in self._links:
            if link.answered.pop(name, None) is not None:
                link.send(make_answer(name, address, ttl=0))

    async def receive(self, link: _Link) -> None:
        """Take what arrives on one link, for ever."""
        while True:
            try:
                data, source = await link.socket.recvfrom(_MAX_DATAGRAM)
            except OSError:
                # An ICMP error for something that was sent; or the interface is gone, and then
                # this must not become a loop without a pause.
                await trio.sleep(1)
                continue
            with contextlib.suppress(DecodeError):
                message = parse_untrusted(data)
                if message.is_response:
                    self._handle_response(message, source)
                else:
                    self._handle_query(message, source, link)

    def _handle_response(self, message: MdnsMessage, source: tuple[object, ...]) -> None:
        # "All Multicast DNS responses […] MUST be sent from UDP port 5353", and others "MUST be
        # silently ignored" (RFC 6762 sections 6 and 11).
        if source[1] != PORT:
            return
        for answer in message.answers:
            # A link-local address is of no use without its interface, which a candidate lacks.
            if answer.ttl == 0 or ipaddress.ip_address(answer.address).is_link_local:
                continue
            for waiter in self._waiters.get(answer.name, ()):
                waiter.settle(answer.address)

    def _handle_query(self, message: MdnsMessage, source: tuple[object, ...], link: _Link) -> None:
        for question in message.questions:
            address = self._published.get(question.name)
            if address is None or (6 if ":" in address else 4) not in question.versions:
                continue
            if source[1] != PORT:
                link.send(make_answer(question.name, address, legacy_id=message.id), source)
                continue
            now = trio.current_time()
            wait = link.answered.get(question.name, -math.inf) + _ANSWER_INTERVAL - now
            if wait <= 0:
                link.answered[question.name] = now
                link.send(make_answer(question.name, address))
            elif wait < math.inf:
                link.answered[question.name] = math.inf
                self._nursery.start_soon(self._answer_later, question.name, link, wait)

    async def _answer_later(self, name: str, link: _Link, wait: float) -> None:
        await trio.sleep(wait)
        address = self._published.get(name)
        if address is not None:
            link.answered[name] = trio.current_time()
            link.send(make_answer(name, address))


class _Waiter:
    """Somebody who waits for an address; the first answer counts."""

    __slots__ = ("address", "answered")

    def __init__(self) -> None:
        self.address: str | None = None
        self.answered = trio.Event()

    def settle(self, address: str) -> None:
        if self.address is None:
            self.address = address
            self.answered.set()


@contextlib.asynccontextmanager
async def open_mdns(
    interfaces: Iterable[str] | None = None, *, rng: random.Random | None = None
) -> AsyncIterator[Mdns]:
    """Multicast DNS for the names of candidates, as long as the block lasts.

    Never fails: where there is no multicast, nothing is found and nothing can be published.

    Args:
        interfaces: names of the interfaces to use; by default all but the loopback interface, or
            that one if there is no other.
        rng: source of the names; by default the system's.
    """
    links = _open_links(None if interfaces is None else set(interfaces))
    try:
        async with background_tasks() as nursery:
            mdns = Mdns(links, nursery, rng if rng is not None else random.SystemRandom())
            for link in links:
                nursery.start_soon(mdns.receive, link)
            yield mdns
    finally:
        for link in links:
            link.close()


def _open_links(wanted: set[str] | None) -> list[_Link]:
    adapters = list(ifaddr.get_adapters())
    if wanted is None:
        inside = {a.name for a in adapters if any(_is_loopback(ip) for ip in a.ips)}
        wanted = {a.name for a in adapters} - inside or inside
    links = []
    for adapter in adapters:
        if adapter.name not in wanted or not adapter.ips:
            continue
        ipv4 = next((ip.ip for ip in adapter.ips if isinstance(ip.ip, str)), None)
        index = adapter.index or 0
        if ipv4 is not None:
            links += _open_link(4, index, ipv4, adapter.name)
        if any(not isinstance(ip.ip, str) for ip in adapter.ips):
            links += _open_link(6, index, "::", adapter.name)
    return links


def _is_loopback(ip: ifaddr.IP) -> bool:
    text = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
    return ipaddress.ip_address(text).is_loopback


def _open_link(version: int, index: int, ipv4: str, interface: str) -> list[_Link]:
    """One link or none: on port 5353, or else on any port."""
    for is_member in (True, False):
        with contextlib.suppress(OSError):
            plain = _open_socket(version, index, ipv4, is_member=is_member)
            return [_Link(plain, version, index, interface, is_member=is_member)]
    return []


def _open_socket(version: int, index: int, ipv4: str, *, is_member: bool) -> socket.socket:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        plain.setblocking(False)
        if is_member:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if hasattr(socket, "SO_REUSEPORT"):
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if version == 4:
            _set_up_ipv4(plain, ipv4, is_member=is_member)
        else:
            _set_up_ipv6(plain, index, is_member=is_member)
        stack.pop_all()
    return plain


def _set_up_ipv4(plain: socket.socket, host: str, *, is_member: bool) -> None:
    plain.bind(("", PORT if is_member else 0))
    own = socket.inet_aton(host)
    plain.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
    plain.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, _HOP_LIMIT)
    plain.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)  # peers on one computer
    if is_member:
        if sys.platform == "linux":
            plain.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
        member = socket.inet_aton(GROUPS[4]) + own
        plain.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)


def _set_up_ipv6(plain: socket.socket, index: int, *, is_member: bool) -> None:
    plain.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    plain.bind(("::", PORT if is_member else 0))
    plain.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    plain.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, _HOP_LIMIT)
    plain.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1)
    if is_member:
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # since Linux 4.20
                plain.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)
        member = socket.inet_pton(socket.AF_INET6, GROUPS[6]) + struct.pack("@I", index)
        plain.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)
