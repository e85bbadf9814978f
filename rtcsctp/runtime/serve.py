"""Many peers on one UDP port, with a handler for each."""

from __future__ import annotations

import errno
import random
from collections.abc import Awaitable, Callable

import trio

from rtcsctp.errors import ConfigError
from rtcsctp.runtime.background import background_tasks
from rtcsctp.runtime.connection import make_identity
from rtcsctp.runtime.descriptions import CandidateForm, DescriptionForm
from rtcsctp.runtime.errors import ServerBusyError
from rtcsctp.runtime.gathering import usable_addresses
from rtcsctp.runtime.host import THIS_HOST, Address, DatagramSocket, Host
from rtcsctp.runtime.names import Names
from rtcsctp.runtime.peer import PeerConnection
from rtcsctp.runtime.peer_config import PeerConfig
from rtcsctp.runtime.shared import SharedCounters, SharedSockets
from rtcsctp.sdp.description import SessionDescription

__all__ = ["PeerHandler", "Server", "Session", "serve"]

PeerHandler = Callable[[PeerConnection], Awaitable[object]]
_TRIES = 20  # ports to try for one that is free on all addresses
_ID_BITS = 128


class Session:
    """One peer of a server, from its offer or ours to its end.

    Attributes:
        id: a name that nobody can guess, for signalling.
        peer: its connection.
        description: ours: the answer, or the offer that `accept` wants the answer to.
    """

    def __init__(
        self,
        name: str,
        peer: PeerConnection,
        description: SessionDescription,
        scope: trio.CancelScope,
    ) -> None:
        """Use `Server.answer` or `Server.offer`."""
        self.id = name
        self.peer = peer
        self.description = description
        self._scope = scope

    def accept(self, answer: DescriptionForm) -> None:
        """The answer to our offer; raises as `PeerConnection.set_remote_description` does."""
        self.peer.set_remote_description(answer)

    def add_ice_candidate(self, candidate: CandidateForm | None) -> None:
        """A candidate of the peer; raises as `PeerConnection.add_ice_candidate` does."""
        self.peer.add_ice_candidate(candidate)

    def close(self) -> None:
        """End it at once; its handler is cancelled."""
        self._scope.cancel()


class _Place:
    """What one peer counts for, from when it is asked for.

    Attributes:
        is_half_open: it is not connected yet.
        has_task: its task has begun, and gives the place up at its end.
    """

    __slots__ = ("has_task", "is_half_open")

    def __init__(self) -> None:
        self.is_half_open = True
        self.has_task = False


class Server:
    """Takes peers on one UDP port; ``nursery.start(serve, …)`` gives it.

    Attributes:
        addresses: where its sockets are bound.
        sessions: all its peers, half-open ones included, by `Session.id`.
        half_open: how many are not connected yet.
        expired: how many never were, and were given up.
    """

    def __init__(
        self,
        handler: PeerHandler,
        config: PeerConfig,
        shared: SharedSockets,
        nursery: trio.Nursery,
        *,
        names: Names,
        rng: random.Random,
        max_peers: int,
        max_half_open: int,
        setup_timeout: float,
    ) -> None:
        """Use `serve`."""
        self.addresses: tuple[Address, ...] = tuple(sock.address for sock in shared.sockets)
        self.sessions: dict[str, Session] = {}
        self.half_open = 0
        self.expired = 0
        self.errors: list[Exception] = []
        self._handler = handler
        self._config = config
        self._shared = shared
        self._nursery = nursery
        self._names = names
        self._rng = rng
        self._identity = make_identity(config)
        self._max_peers = max_peers
        self._max_half_open = max_half_open
        self._setup_timeout = setup_timeout
        self._peers = 0

    @property
    def strays(self) -> SharedCounters:
        """What arrived for none of the peers."""
        return self._shared.counters

    @property
    def routes(self) -> int:
        """How many ICE user fragments and addresses of peers are known on the shared port."""
        return self._shared.route_count

    async def answer(self, offer: DescriptionForm) -> Session:
        """Take a peer's offer; `Session.description` is the answer.

        The handler is called when the connection is there. A peer that is not there in time is
        forgotten.

        Raises:
            ServerBusyError: there are as many peers as allowed; nothing was done.
            DescriptionError: the offer cannot be used.
        """
        return await self._begin(lambda peer: peer.answer(offer))

    async def offer(self) -> Session:
        """Make an offer to a peer; `Session.accept` takes its answer.

        Raises:
            ServerBusyError: there are as many peers as allowed; nothing was done.
        """
        return await self._begin(lambda peer: peer.offer())

    async def _begin(
        self, describe: Callable[[PeerConnection], Awaitable[SessionDescription]]
    ) -> Session:
        if self._peers >= self._max_peers:
            raise ServerBusyError(f"there are {self._peers} peers, as many as are allowed")
        if self.half_open >= self._max_half_open:
            raise ServerBusyError(
                f"{self.half_open} peers are connecting, as many as are allowed at once"
            )
        refusal: list[Exception] = []
        place = _Place()
        self._peers += 1  # now, and not in its task, for many may ask at once
        self.half_open += 1
        try:
            session = await self._nursery.start(self._run_one, describe, refusal, place)
        finally:
            if not place.has_task:
                self._leave(place)
        if session is None:
            raise refusal[0]
        assert isinstance(session, Session)
        return session

    async def _run_one(
        self,
        describe: Callable[[PeerConnection], Awaitable[SessionDescription]],
        refusal: list[Exception],
        place: _Place,
        *,
        task_status: trio.TaskStatus[Session | None],
    ) -> None:
        """One peer's life. An exception of its handler ends the server."""
        place.has_task = True
        try:
            try:
                with trio.CancelScope() as scope:
                    await self._live(describe, refusal, place, scope, task_status)
            except* (trio.BrokenResourceError, trio.EndOfChannel):
                pass  # its peer has gone, or has closed a channel: not the server's trouble
        except Exception as error:
            self.errors.append(error)
            self._nursery.cancel_scope.cancel()
        finally:
            self._leave(place)

    async def _live(
        self,
        describe: Callable[[PeerConnection], Awaitable[SessionDescription]],
        refusal: list[Exception],
        place: _Place,
        scope: trio.CancelScope,
        task_status: trio.TaskStatus[Session | None],
    ) -> None:
        name = f"{self._rng.getrandbits(_ID_BITS):032x}"
        async with background_tasks() as nursery:
            peer = PeerConnection(
                self._config,
                nursery,
                shared=self._shared,
                identity=self._identity,
                names=self._names,
            )
            try:
                try:
                    description = await describe(peer)
                except Exception as error:  # of the offer, or of how it was called
                    refusal.append(error)
                    self._leave_half_open(place)
                    task_status.started(None)
                    return
                self.sessions[name] = session = Session(name, peer, description, scope)
                task_status.started(session)
                if not await self._connected(peer):
                    return
                self._leave_half_open(place)
                await self._handler(peer)
                await peer.aclose()
            finally:
                self.sessions.pop(name, None)
                await peer.abort()

    def _leave_half_open(self, place: _Place) -> None:
        if place.is_half_open:
            place.is_half_open = False
            self.half_open -= 1

    def _leave(self, place: _Place) -> None:
        self._leave_half_open(place)
        self._peers -= 1

    async def _connected(self, peer: PeerConnection) -> bool:
        with trio.move_on_after(self._setup_timeout):
            await peer.wait_connected()
            return True
        self.expired += 1
        return False


async def serve(
    handler: PeerHandler,
    config: PeerConfig | None = None,
    *,
    port: int = 0,
    max_peers: int = 10_000,
    max_half_open: int = 256,
    setup_timeout: float = 30.0,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve peers on one UDP port: run ``handler(peer)`` in a task for each that has connected.

    A peer connection ends with its handler: in order if it returns, at once if it raises. What
    peers can cause ends a handler only: `ConnectionLost` and other `trio.BrokenResourceError`, and
    `trio.EndOfChannel`, also in groups. Any other exception of a handler ends the serving, and
    comes out. For ``nursery.start``, which gives the `Server`: how offers and answers travel is up
    to its caller.

    Args:
        handler: an async function of one `PeerConnection`.
        config: parameters of the connections; its ``port_range`` has no meaning here.
        port: the UDP port, the same on all addresses; 0 is any free one.
        max_peers: how many there may be.
        max_half_open: how many of them may be connecting at a time.
        setup_timeout: after so many seconds, a peer that has not connected is forgotten.
        task_status: for ``nursery.start``.

    Raises:
        OSError: the port cannot be had, or there is no address to be had it on.
        ConfigError: ``hide_addresses``, as a server's addresses have to be known.
    """
    config = config if config is not None else PeerConfig()
    if config.hide_addresses:
        raise ConfigError("hide_addresses is True, but the addresses of a server have to be known")
    host = config.host if config.host is not None else THIS_HOST
    rng = config.rng if config.rng is not None else random.SystemRandom()
    shared = SharedSockets(bind_all(config, host, port))
    server: Server | None = None
    try:
        async with trio.open_nursery() as nursery:
            for number in range(len(shared.sockets)):
                nursery.start_soon(shared.run, number, name=f"shared socket {number}")
            server = Server(
                handler,
                config,
                shared,
                nursery,
                names=Names(host, rng, nursery, config.interfaces),
                rng=rng,
                max_peers=max_peers,
                max_half_open=max_half_open,
                setup_timeout=setup_timeout,
            )
            task_status.started(server)
    finally:
        shared.close()
    assert server is not None
    if len(server.errors) > 1:
        raise ExceptionGroup("several handlers failed", server.errors)
    if server.errors:
        raise server.errors[0]


def bind_all(config: PeerConfig, host: Host, port: int) -> list[DatagramSocket]:
    """A socket for each usable address, all with the same port.

    One socket for all addresses would not know which of them a datagram was sent to, and could
    answer from another.

    Raises:
        OSError: it cannot be had.
    """
    addresses = [entry.address for entry in usable_addresses(config, host)]
    if not addresses:
        raise OSError(
            errno.EADDRNOTAVAIL,
            "there is no address to serve on; include_loopback=True allows those of this computer",
        )
    for attempt in range(_TRIES):
        sockets: list[DatagramSocket] = []
        try:
            for address in addresses:
                wanted = sockets[0].address[1] if sockets else port
                sockets.append(host.open_udp(address, wanted))
        except OSError:
            for sock in sockets:
                sock.close()
            # The port that the first address gave may be taken on another.
            if port or not sockets or attempt == _TRIES - 1:
                raise
        else:
            return sockets
    raise AssertionError("not reached")
