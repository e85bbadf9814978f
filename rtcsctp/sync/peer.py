"""Peer connections, and servers for them, for code that blocks."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

import rtcsctp.runtime.peer as asynchronous
import rtcsctp.runtime.serve as servers
from rtcsctp.sync.channel import DataChannel
from rtcsctp.sync.engine import Block, Caller
from rtcsctp.sync.handlers import Serving, in_threads, serving

if TYPE_CHECKING:
    from rtcsctp.dtls.engine import DtlsIdentity, DtlsState
    from rtcsctp.ice.candidate import Candidate
    from rtcsctp.ice.events import GatheringState, IceState, PairInfo
    from rtcsctp.runtime.channel import DataChannel as AsyncDataChannel
    from rtcsctp.runtime.descriptions import CandidateForm, DescriptionForm
    from rtcsctp.runtime.errors import ConnectionLost
    from rtcsctp.runtime.host import Address
    from rtcsctp.runtime.peer_config import PeerConfig
    from rtcsctp.runtime.peer_states import ConnectionState, PeerEvent, SctpState
    from rtcsctp.runtime.peer_statistics import PeerStatistics
    from rtcsctp.sdp.description import SessionDescription
    from rtcsctp.sdp.negotiation import SignallingState

__all__ = [
    "Events",
    "IncomingChannels",
    "PeerConnection",
    "Server",
    "Session",
    "open_peer",
    "serve",
]

E = TypeVar("E")


class Events(Generic[E]):
    """What happens, as it happens: iterate over it, or `receive`; close it when done."""

    def __init__(self, caller: Caller, events: trio.MemoryReceiveChannel[E]) -> None:
        """Use `PeerConnection.events`."""
        self._caller = caller
        self._events = events

    def receive(self, *, timeout: float | None = None) -> E:
        """The next one. Raises `trio.EndOfChannel` when there will be none, and TimeoutError."""
        return self._caller.call(self._events.receive, timeout=timeout)

    def __iter__(self) -> Iterator[E]:
        while True:
            try:
                event = self.receive()
            except trio.EndOfChannel:
                return
            yield event

    def close(self) -> None:
        """No more of them."""
        self._caller.do(self._events.close)


class IncomingChannels:
    """The channels that the peer opens, each once: iterate over it, or `receive`."""

    def __init__(self, caller: Caller, peer: asynchronous.PeerConnection) -> None:
        """Use `PeerConnection.incoming`."""
        self._caller = caller
        self._peer = peer
        self._kept: deque[AsyncDataChannel] = deque()

    def receive(self, *, timeout: float | None = None) -> DataChannel:
        """The next channel.

        Raises:
            trio.EndOfChannel: the peer has ended the connection in order.
            TimeoutError: none came in time.
            trio.ClosedResourceError, ConnectionLost: the connection was closed here, or lost.
        """
        kept = self._kept
        if kept:
            return DataChannel(self._caller, kept.popleft())
        receive = self._peer.incoming.receive
        channel = self._caller.call(receive, timeout=timeout, undelivered=kept.append)
        return DataChannel(self._caller, channel)

    def __iter__(self) -> Iterator[DataChannel]:
        while True:
            try:
                channel = self.receive()
            except trio.EndOfChannel:
                return
            yield channel


class PeerConnection:
    """`rtcsctp.PeerConnection` without ``await``; any thread may use it.

    What methods raise is what those of `rtcsctp.PeerConnection` raise, and TimeoutError where a
    `timeout` (seconds; None: as long as it takes) is over.

    Attributes:
        incoming: the channels that the peer opens.
    """

    def __init__(self, caller: Caller, peer: asynchronous.PeerConnection) -> None:
        """Use `open_peer` or `serve`."""
        self._caller = caller
        self._peer = peer
        self.incoming = IncomingChannels(caller, peer)

    def __repr__(self) -> str:
        return repr(self._peer)

    # ------------------------------------------------------------------------------- states

    @property
    def config(self) -> PeerConfig:
        """Its parameters."""
        return self._peer.config

    @property
    def connection_state(self) -> ConnectionState:
        """W3C's connectionState."""
        return self._peer.connection_state

    @property
    def ice_state(self) -> IceState:
        """How the way to the peer is (W3C's iceConnectionState)."""
        return self._peer.ice_state

    @property
    def gathering_state(self) -> GatheringState:
        """How far the search for our candidates is (W3C's iceGatheringState)."""
        return self._peer.gathering_state

    @property
    def dtls_state(self) -> DtlsState:
        """That of DTLS (W3C's RTCDtlsTransport.state); NEW before there is a path for it."""
        return self._peer.dtls_state

    @property
    def sctp_state(self) -> SctpState:
        """That of the association below all channels (W3C's RTCSctpTransport.state)."""
        return self._peer.sctp_state

    @property
    def signalling_state(self) -> SignallingState:
        """Which descriptions are pending, and whose (W3C's signalingState)."""
        return self._peer.signalling_state

    @property
    def selected_pair(self) -> PairInfo | None:
        """The candidates that the data takes; None before there is a path."""
        return self._peer.selected_pair

    @property
    def identity(self) -> DtlsIdentity:
        """Whose fingerprints our descriptions have."""
        return self._peer.identity

    def statistics(self) -> PeerStatistics:
        """A snapshot of everything that is counted and measured."""
        return self._caller.do(self._peer.statistics)

    def events(self, capacity: int = 64) -> Events[PeerEvent]:
        """Changes of states and of the path, and problems with servers, from now on."""
        return Events(self._caller, self._caller.do(self._peer.events, capacity))

    def wait_connected(self, *, timeout: float | None = None) -> None:
        """Wait until data channels can be used."""
        self._caller.call(self._peer.wait_connected, timeout=timeout)

    def wait_closed(self, *, timeout: float | None = None) -> ConnectionLost | None:
        """Wait until the connection has ended; gives why, or None if it ended in order."""
        return self._caller.call(self._peer.wait_closed, timeout=timeout)

    # ----------------------------------------------------------------------------- channels

    def create_channel(
        self,
        label: str = "",
        *,
        ordered: bool = True,
        max_retransmits: int | None = None,
        max_packet_lifetime: float | None = None,
        protocol: str = "",
        priority: int = 256,
        negotiated: bool = False,
        id: int | None = None,  # noqa: A002  # W3C's name
    ) -> DataChannel:
        """A new data channel; for the arguments see `rtcsctp.PeerConnection.create_channel`."""
        create = partial(
            self._peer.create_channel,
            label,
            ordered=ordered,
            max_retransmits=max_retransmits,
            max_packet_lifetime=max_packet_lifetime,
            protocol=protocol,
            priority=priority,
            negotiated=negotiated,
            id=id,
        )
        return DataChannel(self._caller, self._caller.do(create))

    # ------------------------------------------------------------------- offers and answers

    @property
    def local_description(self) -> SessionDescription | None:
        """Ours, pending or current, with the candidates that are known by now."""
        return self._caller.do(lambda: self._peer.local_description)

    @property
    def remote_description(self) -> SessionDescription | None:
        """The peer's description, pending or current (W3C's remoteDescription); None before."""
        return self._caller.do(lambda: self._peer.remote_description)

    @property
    def local_candidates(self) -> Iterator[Candidate]:
        """Our candidates, from the first to the last, each as soon as it is known."""
        candidates = self._caller.do(self._peer.local_candidates.__aiter__)
        while True:
            try:
                candidate = self._caller.call(candidates.__anext__)
            except StopAsyncIteration:
                return
            yield candidate

    def restart_ice(self) -> None:
        """The next offer restarts ICE (W3C's restartIce)."""
        self._caller.do(self._peer.restart_ice)

    def create_offer(self, *, ice_restart: bool = False) -> SessionDescription:
        """An offer; `set_local_description` puts it in force."""
        return self._caller.do(partial(self._peer.create_offer, ice_restart=ice_restart))

    def create_answer(self) -> SessionDescription:
        """An answer to the peer's offer; `set_local_description` puts it in force."""
        return self._caller.do(self._peer.create_answer)

    def set_local_description(self, description: SessionDescription | None = None) -> None:
        """Put our description in force, and begin to gather candidates."""
        self._caller.do(self._peer.set_local_description, description)

    def set_remote_description(self, description: DescriptionForm) -> None:
        """Put the peer's description in force."""
        self._caller.do(self._peer.set_remote_description, description)

    def add_ice_candidate(self, candidate: CandidateForm | None) -> None:
        """A candidate of the peer that came by itself; None is the end of them."""
        self._caller.do(self._peer.add_ice_candidate, candidate)

    def candidate_init(self, candidate: Candidate) -> dict[str, str | int | None]:
        """One of `local_candidates` as the object that browsers' addIceCandidate takes."""
        return self._caller.do(self._peer.candidate_init, candidate)

    def gathering_complete(self, *, timeout: float | None = None) -> None:
        """Wait until all our candidates are known."""
        self._caller.call(self._peer.gathering_complete, timeout=timeout)

    def offer(self, *, timeout: float | None = None) -> SessionDescription:
        """Make an offer and put it in force; gives it with our candidates."""
        return self._caller.call(self._peer.offer, timeout=timeout)

    def answer(self, offer: DescriptionForm, *, timeout: float | None = None) -> SessionDescription:
        """Take an offer; gives the answer with our candidates."""
        return self._caller.call(self._peer.answer, offer, timeout=timeout)

    def accept(self, answer: DescriptionForm, *, timeout: float | None = None) -> None:
        """Take the answer to our offer, and wait until the connection is there."""
        self._caller.call(self._peer.accept, answer, timeout=timeout)

    # ---------------------------------------------------------------------------------- end

    def close(self, *, timeout: float | None = None) -> None:
        """Close the channels in order, then the connection; what leaving the block does."""
        self._caller.call(self._peer.aclose, timeout=timeout)

    def abort(self) -> None:
        """Close the connection at once; the peer is told."""
        self._caller.call(self._peer.abort)


class open_peer:  # noqa: N801  # used like the function that it stands for
    """``with rtcsctp.sync.open_peer(config) as peer``: a peer connection for a block.

    Leaving the block in order closes its channels first, for at most ``PeerConfig.linger`` seconds;
    leaving it by an exception, Ctrl-C included, closes the connection at once.
    """

    def __init__(self, config: PeerConfig | None = None) -> None:
        """Remember the parameters; entering the block makes the connection."""
        self._block = Block(lambda: asynchronous.open_peer(config))

    def __enter__(self) -> PeerConnection:
        return PeerConnection(*self._block.enter())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._block.leave(abandoned=error is not None)


# --------------------------------------------------------------------------------------- servers


class Session:
    """One peer of a server, from its offer or ours to its end: `rtcsctp.Session` without ``await``.

    What methods raise is what those of `rtcsctp.Session` raise.
    """

    def __init__(self, caller: Caller, session: servers.Session) -> None:
        """Use `Server.answer` or `Server.offer`."""
        self._caller = caller
        self._session = session

    @property
    def id(self) -> str:
        """Its name, which nobody can guess."""
        return self._session.id

    @property
    def description(self) -> SessionDescription:
        """Ours, for the peer."""
        return self._session.description

    def accept(self, answer: DescriptionForm) -> None:
        """Take the peer's answer to our offer."""
        self._caller.do(self._session.accept, answer)

    def add_ice_candidate(self, candidate: CandidateForm | None) -> None:
        """A candidate of the peer that came by itself; None is the end of them."""
        self._caller.do(self._session.add_ice_candidate, candidate)

    def close(self) -> None:
        """End it; its handler is interrupted."""
        self._caller.do(self._session.close)


class Server:
    """`rtcsctp.Server` without ``await``.

    Attributes:
        addresses: where its sockets are bound.
    """

    def __init__(self, caller: Caller, serving: Serving[servers.Server]) -> None:
        """Use `serve`."""
        self._caller = caller
        self._ended = serving.ended
        self._server = server = serving.value
        self.addresses: tuple[Address, ...] = server.addresses

    def wait_closed(self, *, timeout: float | None = None) -> None:
        """Serve on; waits until a handler has failed. What it raised comes out of the block."""
        self._caller.call(self._ended.wait, timeout=timeout)

    def answer(self, offer: DescriptionForm, *, timeout: float | None = None) -> Session:
        """Take a peer's offer; `Session.description` is the answer.

        The handler is called when the connection is there. Raises what `rtcsctp.Server.answer`
        raises, and TimeoutError.
        """
        session = self._caller.call(self._server.answer, offer, timeout=timeout)
        return Session(self._caller, session)

    def offer(self, *, timeout: float | None = None) -> Session:
        """Make an offer to a peer; `Session.accept` takes its answer."""
        return Session(self._caller, self._caller.call(self._server.offer, timeout=timeout))


class serve:  # noqa: N801  # used like the function that it stands for
    """``with rtcsctp.sync.serve(handler, config) as server``: peers on one UDP port.

    ``handler(peer)`` runs in a thread of its own for each peer that has connected, or in one of
    `threads` threads. A peer connection ends with its handler, in order if it returns. When the
    block is left, handlers that still run find their connections closed: what they wait in raises
    `trio.ClosedResourceError`. What a handler raises beyond what peers can cause comes out of the
    block.
    """

    def __init__(
        self,
        handler: Callable[[PeerConnection], object],
        config: PeerConfig | None = None,
        *,
        port: int = 0,
        threads: int | None = None,
        max_peers: int = 10_000,
    ) -> None:
        """Remember the parameters; entering the block begins to serve.

        Args:
            handler: a function of one `PeerConnection`.
            config: parameters of the connections.
            port: the UDP port; 0 is any free one.
            threads: how many handlers run at a time, while the others wait; None: all.
            max_peers: how many peers there may be.
        """
        if threads is not None and threads < 1:
            raise ValueError(f"at least one thread is needed, not {threads}")
        self._handler = handler
        self._serve = partial(servers.serve, config=config, port=port, max_peers=max_peers)
        self._threads = threads if threads is not None else max_peers
        self._block = Block(self._run)

    def __enter__(self) -> Server:
        return Server(*self._block.enter())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._block.leave(abandoned=error is not None)

    @contextlib.asynccontextmanager
    async def _run(self) -> AsyncIterator[Serving[servers.Server]]:
        handler = in_threads(self._handler, self._block.runner, PeerConnection, self._threads)
        async with serving(partial(self._serve, handler), servers.Server) as value:
            yield value
