"""Where a peer's candidates come from: interfaces, STUN and TURN servers (RFC 8445 5.1.1).

Nothing here holds up the first check: sockets are bound at once, each server is asked in a task of
its own, and what does not answer is a `GatheringProblem` (pitfall W20).
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import random
from collections.abc import Callable, Iterator, Sequence

import trio

from rtcsctp.ice.agent import Agent
from rtcsctp.ice.events import GatheringProblem
from rtcsctp.ice.mdns import make_name
from rtcsctp.ice.servers import IceServer
from rtcsctp.runtime.host import DatagramSocket, Host, InterfaceAddress
from rtcsctp.runtime.names import Names
from rtcsctp.runtime.peer_config import PeerConfig
from rtcsctp.runtime.transport import StreamCarrier, Transport

__all__ = ["gather", "open_sockets", "usable_addresses"]

_UNREACHABLE = 701  # W3C: the server could not be reached
_CONNECT_TIMEOUT = 10.0  # seconds for TCP and TLS to a TURN server
_RESOLVE_TIMEOUT = 10.0


def usable_addresses(config: PeerConfig, host: Host) -> list[InterfaceAddress]:
    """Own addresses that candidates may be made of, as the configuration says."""
    chosen = []
    for entry in host.addresses():
        wanted = (
            (config.include_loopback or not entry.is_loopback)
            and not entry.is_link_local
            and (config.interfaces is None or entry.interface in config.interfaces)
            and (config.addresses is None or entry.address in config.addresses)
            and config.ip_version in (None, 6 if ":" in entry.address else 4)
            and (config.address_filter is None or config.address_filter(entry.address))
        )
        if wanted and entry not in chosen:
            chosen.append(entry)
    return chosen


def open_sockets(
    config: PeerConfig, host: Host, rng: random.Random
) -> tuple[list[DatagramSocket], list[str]]:
    """A UDP socket for each usable address; and what could not be had, in words."""
    sockets, problems = [], []
    for entry in usable_addresses(config, host):
        try:
            sockets.append(_open_one(config, host, entry.address, rng))
        except OSError as error:
            problems.append(f"{entry.address} ({entry.interface}): {error}")
    return sockets, problems


def _open_one(config: PeerConfig, host: Host, address: str, rng: random.Random) -> DatagramSocket:
    if config.port_range is None:
        return host.open_udp(address, 0)
    for port in _shuffled(*config.port_range, rng):
        try:
            return host.open_udp(address, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    first, last = config.port_range
    raise OSError(errno.EADDRINUSE, f"no UDP port from {first} to {last} is free")


def _shuffled(first: int, last: int, rng: random.Random) -> Iterator[int]:
    """All ports, from a random one on: so that peers do not try the same taken ones."""
    start = rng.randint(first, last)
    return itertools.chain(range(start, last + 1), range(first, start))


async def gather(
    config: PeerConfig,
    transport: Transport,
    names: Names,
    nursery: trio.Nursery,
    *,
    host: Host,
    rng: random.Random,
    report: Callable[[GatheringProblem], None],
) -> None:
    """Bind the sockets, then ask all servers; returns when the agent knows of all."""
    sockets, problems = open_sockets(config, host, rng)
    for problem in problems:
        report(GatheringProblem(url="", address="", code=_UNREACHABLE, reason=problem))
    hidden_as: list[str | None] = [None] * len(sockets)
    if config.hide_addresses:
        with _closed_if_cancelled(sockets):
            hidden_as = [await _hide(sock.address[0], names, rng, report) for sock in sockets]
    for number, (sock, name) in enumerate(zip(sockets, hidden_as, strict=True)):
        transport.add_socket(number, sock, nursery, hidden_as=name)
    transport.settle()
    await ask_servers(config, transport, nursery, host=host, report=report)


@contextlib.contextmanager
def _closed_if_cancelled(sockets: Sequence[DatagramSocket]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for sock in sockets:
            sock.close()
        raise


async def _hide(
    address: str,
    names: Names,
    rng: random.Random,
    report: Callable[[GatheringProblem], None],
) -> str:
    """A name for an address. Where it cannot be published, it hides the address all the same."""
    try:
        return await names.publish(address)
    except OSError as error:
        report(GatheringProblem(url="", address="", code=_UNREACHABLE, reason=str(error)))
        return make_name(rng)


async def ask_servers(
    config: PeerConfig,
    transport: Transport,
    nursery: trio.Nursery,
    *,
    host: Host,
    report: Callable[[GatheringProblem], None],
) -> None:
    """Tell the agent of all STUN and TURN servers that can be found, then that these are all."""
    search = _Search(config, transport, nursery, host=host, report=report)
    async with trio.open_nursery() as asking:
        for server in config.ice_servers:
            assert isinstance(server, IceServer)  # the configuration has made it one
            asking.start_soon(search.ask, server)
    transport.agent.end_gathering(trio.current_time())
    transport.settle()


class _Search:
    """Finds the addresses of servers, and connects to those that are reached over TCP."""

    def __init__(
        self,
        config: PeerConfig,
        transport: Transport,
        nursery: trio.Nursery,
        *,
        host: Host,
        report: Callable[[GatheringProblem], None],
    ) -> None:
        self._config = config
        self._transport = transport
        self._nursery = nursery
        self._host = host
        self._report = report
        self._numbers = itertools.count(1000)  # of streams; those of sockets count from 0

    async def ask(self, server: IceServer) -> None:
        """One server."""
        try:
            with trio.fail_after(_RESOLVE_TIMEOUT):
                found = await self._host.resolve(server.host)
        except (OSError, trio.TooSlowError) as error:
            why = f"the name of the server cannot be resolved: {error}"
            self._report(_problem(server, why))
            return
        if server.transport == "udp":
            _ask_by_udp(self._transport.agent, server, found)
        elif server.scheme in ("turn", "turns"):
            await self._ask_by_stream(server, found)
        else:
            self._report(_problem(server, "STUN over TCP is of no use"))
        self._transport.settle()

    async def _ask_by_stream(self, server: IceServer, found: Sequence[str]) -> None:
        """The first of its addresses that takes a connection."""
        for host in found:
            address = (host, server.port)
            try:
                with trio.fail_after(_CONNECT_TIMEOUT):
                    stream = await self._host.connect(
                        address,
                        tls_name=server.host if server.transport == "tls" else None,
                        ca_file=self._config.turn_ca_file,
                    )
            except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
                why = str(error.__cause__ or error) or type(error).__name__
                where = f"{host}:{server.port}"
                self._report(_problem(server, f"cannot connect to {where}: {why}"))
                continue
            number = next(self._numbers)
            self._transport.add_stream(number, StreamCarrier(stream), self._nursery)
            now = trio.current_time()
            self._transport.agent.add_turn_server(server, address, now, stream=number)
            return


def _ask_by_udp(agent: Agent, server: IceServer, found: Sequence[str]) -> None:
    """One address of each family: sockets can only ask a server of their own family."""
    now = trio.current_time()
    for version in (4, 6):
        address = next((a for a in found if (":" in a) == (version == 6)), None)
        if address is None:
            continue
        if server.scheme == "turn":
            agent.add_turn_server(server, (address, server.port), now)
        else:
            agent.add_stun_server((address, server.port), server.url, now)


def _problem(server: IceServer, reason: str) -> GatheringProblem:
    return GatheringProblem(url=server.url, address="", code=_UNREACHABLE, reason=reason)
