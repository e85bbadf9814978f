"""A small internet in virtual time: hosts, NATs of four kinds, STUN servers, loss and delay.

Addresses decide where packets go. A `Host` is behind a `Nat` or directly on the internet; hosts
behind the same NAT reach each other by their private addresses, all others through it. Like real
ones, the NATs here have no hairpinning.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from enum import Enum

from rtcsctp.ice.agent import Agent
from rtcsctp.ice.candidate import Address
from rtcsctp.ice.config import IceConfig
from rtcsctp.ice.events import (
    GatheringDone,
    IceEvent,
    IceState,
    LocalCandidate,
    ResolveName,
    Transmit,
)
from rtcsctp.ice.stun import (
    Attribute,
    Method,
    StunClass,
    build,
    encode_xor_address,
    parse_untrusted,
)

DTLS = bytes([22])  # the first byte of a DTLS record


class NatKind(Enum):
    """How a NAT maps and filters (RFC 4787 in the old words of RFC 3489)."""

    FULL_CONE = "full cone"
    RESTRICTED = "address restricted"
    PORT_RESTRICTED = "port restricted"
    SYMMETRIC = "symmetric"


class Nat:
    """One NAT with one public address."""

    def __init__(self, kind: NatKind, host: str) -> None:
        self.kind = kind
        self.host = host
        self._ports = itertools.count(40_000)
        self._out: dict[tuple[Address, Address | None], int] = {}
        self._in: dict[int, Address] = {}
        self._sent: dict[int, set[Address]] = {}

    def outward(self, source: Address, destination: Address) -> Address:
        key = (source, destination if self.kind is NatKind.SYMMETRIC else None)
        port = self._out.get(key)
        if port is None:
            port = self._out[key] = next(self._ports)
            self._in[port] = source
        self._sent.setdefault(port, set()).add(destination)
        return self.host, port

    def inward(self, source: Address, port: int) -> Address | None:
        inside = self._in.get(port)
        sent = self._sent.get(port, set())
        if self.kind is NatKind.RESTRICTED:
            allowed = any(host == source[0] for host, _ in sent)
        elif self.kind is NatKind.FULL_CONE:
            allowed = True
        else:
            allowed = source in sent
        return inside if allowed else None


class Server:
    """Something on the internet that answers datagrams."""

    address: Address

    def handle(
        self, data: bytes, source: Address, to: Address
    ) -> list[tuple[Address, bytes, Address]]:
        """Give packets to send: from, what, to."""
        raise NotImplementedError


class StunServer(Server):
    """Answers Binding requests with the address that they come from."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.silent = False
        self.requests = 0

    def handle(
        self, data: bytes, source: Address, to: Address
    ) -> list[tuple[Address, bytes, Address]]:
        self.requests += 1
        if self.silent:
            return []
        request = parse_untrusted(data)
        mapped = encode_xor_address(source, request.transaction_id)
        answer = build(
            Method.BINDING,
            StunClass.SUCCESS,
            request.transaction_id,
            [(Attribute.XOR_MAPPED_ADDRESS, mapped)],
        )
        return [(self.address, answer, source)]


class Host:
    """An agent with its sockets."""

    def __init__(self, world: World, agent: Agent, nat: Nat | None) -> None:
        self.world = world
        self.agent = agent
        self.nat = nat
        self.sockets: dict[int, Address] = {}
        self.events: list[IceEvent] = []
        self.candidates: list[LocalCandidate] = []
        self.received: list[bytes] = []
        self.states: list[IceState] = []
        self.sent: list[tuple[float, Address, bytes]] = []
        self.peer: Host | None = None
        self.trickles = True
        self.resolves: dict[str, str] = {}
        self.resolving_takes = 0.0
        self.down = False

    def add_socket(self, host: str, port: int = 5000, *, hidden_as: str | None = None) -> int:
        number = len(self.sockets) + 1
        self.sockets[number] = (host, port)
        self.world.hosts[host, port] = (self, number)
        self.agent.add_socket(number, (host, port), self.world.now, hidden_as=hidden_as)
        return number

    def send(self, *datagrams: bytes) -> None:
        for transmit in self.agent.send(list(datagrams), self.world.now):
            self._transmit(transmit)
        self.settle()

    def settle(self) -> None:
        agent = self.agent
        while True:
            while (event := agent.poll_event()) is not None:
                self.note(event)
            transmits = agent.poll_transmit(self.world.now)
            if not transmits:
                break
            for transmit in transmits:
                self._transmit(transmit)

    def _transmit(self, transmit: Transmit) -> None:
        for datagram in transmit.datagrams:
            self.sent.append((self.world.now, transmit.address, bytes(datagram)))
            if not self.down and transmit.socket in self.sockets:
                source = self.sockets[transmit.socket]
                self.world.send(self, source, bytes(datagram), transmit.address)

    def note(self, event: IceEvent) -> None:
        self.events.append(event)
        if isinstance(event, LocalCandidate):
            self.candidates.append(event)
        if isinstance(event, ResolveName) and event.name in self.resolves:
            found = self.resolves[event.name]
            self.world.later(
                self.resolving_takes,
                lambda: self.agent.add_resolved(event.name, [found], self.world.now),
            )
        peer = self.peer
        if peer is None or not self.trickles:
            return
        if isinstance(event, LocalCandidate):
            candidate = event.candidate
            self.world.later(
                self.world.signalling,
                lambda: peer.agent.add_remote_candidate(candidate, self.world.now),
            )
        elif isinstance(event, GatheringDone):
            self.world.later(
                self.world.signalling, lambda: peer.agent.end_of_candidates(self.world.now)
            )

    def saw(self, kind: type) -> list[IceEvent]:
        return [event for event in self.events if isinstance(event, kind)]


class World:
    """Everything there is, and the time."""

    def __init__(self, *, delay: float = 0.02, loss: float = 0.0, seed: int = 1) -> None:
        self.now = 100.0  # not 0: nothing may depend on where the clock begins
        self.delay = delay
        self.loss = loss
        self.signalling = 0.03
        self.rng = random.Random(seed)
        self.hosts: dict[Address, tuple[Host, int]] = {}
        self.all_hosts: list[Host] = []
        self.nats: dict[str, Nat] = {}
        self.servers: dict[str, Server] = {}
        self.drops: Callable[[Address, Address, bytes], bool] = lambda *_: False
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def nat(self, kind: NatKind, host: str) -> Nat:
        nat = self.nats[host] = Nat(kind, host)
        return nat

    def server(self, server: Server) -> None:
        self.servers[server.address[0]] = server

    def host(
        self,
        config: IceConfig | None = None,
        *,
        controlling: bool,
        nat: Nat | None = None,
        tie_breaker: int | None = None,
    ) -> Host:
        agent = Agent(
            config or IceConfig(),
            controlling=controlling,
            rng=random.Random(self.rng.getrandbits(64)),
            tie_breaker=tie_breaker,
        )
        host = Host(self, agent, nat)
        self.all_hosts.append(host)
        return host

    def later(self, delay: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now + delay, next(self._order), action))

    # ----------------------------------------------------------------------------- packets

    def send(self, host: Host, source: Address, data: bytes, to: Address) -> None:
        nat = host.nat
        if to in self.hosts and self.hosts[to][0].nat is nat:
            self.carry(source, data, to)
        elif nat is not None:
            self.carry(nat.outward(source, to), data, to)
        else:
            self.carry(source, data, to)

    def carry(self, source: Address, data: bytes, to: Address) -> None:
        if self.drops(source, to, data) or self.rng.random() < self.loss:
            return
        self.later(self.delay, lambda: self._arrive(source, data, to))

    def _arrive(self, source: Address, data: bytes, to: Address) -> None:
        server = self.servers.get(to[0])
        if server is not None:
            for own, answer, target in server.handle(data, source, to):
                self.carry(own, answer, target)
            return
        nat = self.nats.get(to[0])
        if nat is not None:
            inside = nat.inward(source, to[1])
            if inside is None:
                return
            to = inside
        found = self.hosts.get(to)
        if found is None or found[0].down or (nat is None and self._is_private(found[0], source)):
            return
        host, number = found
        host.received += host.agent.handle_datagrams(number, [(data, source)], self.now)

    def _is_private(self, host: Host, source: Address) -> bool:
        """A private address is not reached from outside of its NAT."""
        if host.nat is None:
            return False
        sender = self.hosts.get(source)
        return sender is None or sender[0].nat is not host.nat

    # -------------------------------------------------------------------------------- time

    def settle(self) -> None:
        for host in self.all_hosts:
            host.settle()

    def _next(self) -> float | None:
        times = [host.agent.deadline for host in self.all_hosts]
        if self._queue:
            times.append(self._queue[0][0])
        return min((time for time in times if time is not None), default=None)

    def step(self) -> bool:
        self.settle()
        at = self._next()
        if at is None:
            return False
        before = self.now
        self.now = max(self.now, at)
        worked = False
        while self._queue and self._queue[0][0] <= self.now:
            heapq.heappop(self._queue)[2]()
            self.settle()
            worked = True
        for host in self.all_hosts:
            deadline = host.agent.deadline
            if deadline is not None and deadline <= self.now:
                host.agent.handle_timer(self.now)
                host.settle()
                after = host.agent.deadline
                assert after is None or after > self.now, f"{host.agent!r} keeps busy"
                worked = True
        assert worked or self.now > before
        return True

    def run_for(self, seconds: float) -> None:
        end = self.now + seconds
        self.settle()
        while (at := self._next()) is not None and at <= end:
            self.step()
        self.now = end
        self.settle()

    def run_until(self, predicate: Callable[[], bool], timeout: float = 60.0) -> float:
        """Step until it holds; gives how long that took."""
        start = self.now
        self.settle()
        while not predicate():
            at = self._next()
            if at is None or at > start + timeout:
                raise TimeoutError(f"not within {timeout} s: {[h.agent for h in self.all_hosts]}")
            self.step()
        return self.now - start


def introduce(a: Host, b: Host, *, exchange: bool = True) -> None:
    """Connect the signalling of two hosts, and give each the other's credentials."""
    a.peer, b.peer = b, a
    if exchange:
        exchange_credentials(a, b)


def exchange_credentials(a: Host, b: Host) -> None:
    now = a.world.now
    for host, peer in ((a, b), (b, a)):
        host.agent.set_remote(
            peer.agent.local_ufrag, peer.agent.local_pwd, lite=peer.agent.config.lite, now=now
        )


def are_completed(*hosts: Host) -> Callable[[], bool]:
    return lambda: all(host.agent.state is IceState.COMPLETED for host in hosts)


def connected_pair(
    world: World,
    *,
    config_a: IceConfig | None = None,
    config_b: IceConfig | None = None,
    hosts: tuple[str, str] = ("192.0.2.1", "198.51.100.1"),
) -> tuple[Host, Host]:
    """Two hosts on the open internet that have completed."""
    a = world.host(config_a, controlling=True)
    b = world.host(config_b, controlling=False)
    introduce(a, b)
    for host, address in zip((a, b), hosts, strict=True):
        host.add_socket(address)
    for host in (a, b):
        host.agent.end_gathering(world.now)
    world.run_until(are_completed(a, b))
    return a, b


def exchange_data(world: World, a: Host, b: Host, count: int = 3) -> None:
    """Data goes both ways, complete and in order."""
    for source, target in ((a, b), (b, a)):
        target.received.clear()
        sent = [DTLS + bytes([number]) for number in range(count)]
        for datagram in sent:
            source.send(datagram)
        world.run_for(10 * world.delay + 1)
        assert target.received == sent


def checks_of(host: Host, kind: int = StunClass.REQUEST) -> list[tuple[float, Address, bytes]]:
    """The Binding messages of that class that a host has sent itself."""
    return [
        entry
        for entry in host.sent
        if entry[2][0] < 4
        and parse_untrusted(entry[2]).message_class == kind
        and parse_untrusted(entry[2]).method == Method.BINDING
        and entry[1][0] not in host.world.servers
    ]


def batch(*datagrams: bytes, source: Address) -> Sequence[tuple[bytes, Address]]:
    return [(datagram, source) for datagram in datagrams]
