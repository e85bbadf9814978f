"""ICE, DTLS, SCTP and data channels of one peer, put together; below its signalling.

One nursery per peer holds all its tasks: a receiver for each socket, the timers of ICE and of DTLS,
gathering, and the tasks of the association. What they touch is sans-IO, and is touched only between
two awaits; `Transport.settle` and `Driver.settle` take out what comes of it.
"""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable
from enum import Enum

import attrs
import trio

from rtcsctp.datachannel.channel import Channel
from rtcsctp.datachannel.channels import Channels
from rtcsctp.dtls.certificate import Certificate
from rtcsctp.dtls.engine import (
    DtlsEvent,
    DtlsIdentity,
    DtlsState,
    HandshakeDone,
    HandshakeFailed,
    PeerClosed,
)
from rtcsctp.ice.agent import Agent
from rtcsctp.ice.candidate import Candidate
from rtcsctp.ice.events import (
    GatheringDone,
    GatheringProblem,
    IceEvent,
    IceState,
    LocalCandidate,
    ResolveName,
    SelectedPairChanged,
    StateChanged,
)
from rtcsctp.runtime.channel import DataChannel
from rtcsctp.runtime.channel_driver import ChannelDriver
from rtcsctp.runtime.environment import captured, flush_capture, make_openssl_identity
from rtcsctp.runtime.errors import ConnectionLost
from rtcsctp.runtime.gathering import ask_servers, gather
from rtcsctp.runtime.host import THIS_HOST, Host
from rtcsctp.runtime.log import peer_journal
from rtcsctp.runtime.names import Names
from rtcsctp.runtime.peer_config import PeerConfig
from rtcsctp.runtime.peer_lists import IncomingChannels, LocalCandidates
from rtcsctp.runtime.peer_states import (
    ConnectionState,
    PeerEvent,
    SctpState,
    StateChange,
    connection_state,
)
from rtcsctp.runtime.peer_statistics import PeerStatistics
from rtcsctp.runtime.shared import SharedSockets
from rtcsctp.runtime.transport import MAX_DATAGRAM, Transport
from rtcsctp.runtime.waiting import Lot
from rtcsctp.sctp.association import Association as Core
from rtcsctp.sctp.config import Config
from rtcsctp.sctp.events import CloseReason
from rtcsctp.sctp.state import State
from rtcsctp.sdp.model import Section

__all__ = ["SCTP_PORT", "Connection", "make_identity"]

SCTP_PORT = 5000
"""Ours; all WebRTC stacks use it."""

_DTLS_OVERHEAD = 37  # bytes, of AES-GCM: header 13, explicit nonce 8, tag 16
_TURN_OVERHEAD = 36  # bytes, of a Send indication with an IPv4 peer
_MAX_RETRANSMITS = 20
"""The peer is there as long as ICE says so (RFC 7675). With 5 s between retransmissions at most,
SCTP gives up after 85 s at the earliest, when a connection without consent is over in any case."""

_STATES = ("signalling", "gathering", "ice", "dtls", "sctp", "connection")
_CLOSING_TIME = 0.2  # seconds that closing connections to TURN servers may take


class Connection:
    """What the signalling of one peer steers.

    Attributes:
        agent, transport, core, channels, driver: the parts; those of SCTP are replaced when the
            peer begins anew (`abandon_association`).
        identity: who we are.
        journal: says what happens to it.
        incoming, local_candidates: see `PeerConnection`.
        failure: why the connection was lost, if it was.
        ended: the peer has ended it, or it was lost.
        left: it was ended here.
        changed: tasks that wait for another state.
    """

    def __init__(
        self,
        config: PeerConfig,
        nursery: trio.Nursery,
        credentials: tuple[str, str],
        signalling_state: Callable[[], Enum],
        *,
        rng: random.Random,
        shared: SharedSockets | None,
        identity: DtlsIdentity | None,
        names: Names | None,
    ) -> None:
        self.config = config
        self.journal = peer_journal()
        self.identity = identity if identity is not None else make_identity(config)
        self.failure: ConnectionLost | None = None
        self.ended = False
        self.left = False
        self.changed = Lot()
        self.incoming = IncomingChannels(self.why_no_more)
        self.local_candidates = LocalCandidates()
        self._nursery = nursery
        self._rng = rng
        self._shared = shared
        self._host: Host = config.host if config.host is not None else THIS_HOST
        if names is None:
            names = Names(self._host, rng, nursery, config.interfaces)
        self._names = names
        self._signalling_state = signalling_state
        self._gathering = False
        self._handshake: HandshakeDone | None = None
        self._subscribers: list[trio.MemorySendChannel[PeerEvent]] = []
        self._states: tuple[Enum | None, ...] = (None,) * len(_STATES)
        ufrag, pwd = credentials
        self.agent = Agent(config.agent_config, controlling=True, rng=rng, ufrag=ufrag, pwd=pwd)
        self.transport = Transport(
            self.agent, on_ice_event=self._on_ice_event, on_dtls_event=self._on_dtls_event
        )
        self._begin_association()
        self.register()
        self.transport.start(nursery)
        self.notice()

    # ------------------------------------------------------------------------------- states

    @property
    def connection_state(self) -> ConnectionState:
        """The state of the whole."""
        closed = self.left or self.ended
        return connection_state(self.agent.state, self.dtls_state, closed=closed)

    @property
    def dtls_state(self) -> DtlsState:
        """That of the engine; NEW before there is one."""
        engine = self.transport.engine
        return engine.state if engine is not None else DtlsState.NEW

    @property
    def sctp_state(self) -> SctpState:
        """That of the association."""
        core = self.core
        if core.closed is not None or self.driver.end is not None:
            return SctpState.CLOSED
        if core.state is State.ESTABLISHED:
            return SctpState.CONNECTED
        return SctpState.NEW if core.state is State.CLOSED else SctpState.CONNECTING

    def statistics(self) -> PeerStatistics:
        """A snapshot."""
        engine, done = self.transport.engine, self._handshake
        now = time.time()
        ours = self.identity.fingerprints
        role = "unknown"
        if engine is not None:
            role = "client" if engine.is_client else "server"
        return PeerStatistics(
            timestamp=now,
            clock=now - trio.current_time(),
            ice=self.agent.statistics(),
            dtls=engine.statistics() if engine is not None else None,
            dtls_role=role,
            dtls_cipher=done.cipher if done is not None else None,
            tls_version=done.version if done is not None else None,
            local_fingerprint=ours[0] if ours else None,
            remote_fingerprint=done.remote_fingerprint if done is not None else None,
            local_certificate=self.identity.der,
            remote_certificate=done.remote_certificate if done is not None else None,
            sctp=attrs.evolve(self.core.statistics(), timestamp=now),
            channels=self.channels.statistics(),
            data_channels=tuple(
                DataChannel(self.driver, channel).statistics() for channel in self.channels
            ),
            sockets=self.transport.sockets(),
        )

    def subscribe(self, capacity: int) -> trio.MemoryReceiveChannel[PeerEvent]:
        """What happens from now on."""
        send, receive = trio.open_memory_channel[PeerEvent](capacity)
        self._subscribers.append(send)
        return receive

    def check_alive(self) -> None:
        """Raise if the connection has ended.

        Raises:
            trio.ClosedResourceError: it was closed here.
            ConnectionLost: it was lost, or the peer has ended it.
        """
        if self.left:
            raise trio.ClosedResourceError("this peer connection was closed here")
        if self.failure is not None:
            raise self.loss()
        if self.ended:
            raise ConnectionLost("the peer has ended the connection")

    def why_no_more(self) -> BaseException | None:
        """Why no channel will come any more: an exception to raise; None while some may."""
        if self.left:
            return trio.ClosedResourceError("this peer connection was closed here")
        if self.failure is not None:
            return self.loss()
        return trio.EndOfChannel() if self.ended else None

    def loss(self) -> ConnectionLost:
        """Why it was lost. A new exception each time: tracebacks grow."""
        assert self.failure is not None
        error = ConnectionLost(*self.failure.args)
        error.__cause__ = self.failure.__cause__
        return error

    def notice(self) -> None:
        """Tell of states that have changed, and wake who waits for one."""
        agent = self.agent
        now = (
            self._signalling_state(),
            agent.gathering_state,
            agent.state,
            self.dtls_state,
            self.sctp_state,
            self.connection_state,
        )
        before = self._states
        if now == before:
            return
        self._states = now
        for what, old, new in zip(_STATES, before, now, strict=True):
            if old is not new:
                self._log_state(what, new)
                self._publish(StateChange(what, new))
        self.changed.unpark_all()
        self.incoming.look()

    def _log_state(self, what: str, state: Enum | None) -> None:
        say = self.journal.detail
        if state is ConnectionState.FAILED or state is ConnectionState.DISCONNECTED:
            say = self.journal.problem
        elif what == "connection":
            say = self.journal.note
        value = state.value if state is not None else ""
        say("peer", "state", "{what} is {state}", what=what, state=value)

    def _log_pair(self, event: SelectedPairChanged) -> None:
        pair = event.pair
        say = self.journal.note if event.path_changed else self.journal.detail
        say(
            "ice",
            "selected-pair",
            "data takes {local} to {remote}{rtt}{nominated}",
            local=_described(pair.local),
            remote=_described(pair.remote),
            rtt="" if pair.rtt is None else f", round trip {pair.rtt * 1000:.2f} ms",
            nominated=", nominated" if pair.nominated else "",
        )

    def _log_handshake(self, done: HandshakeDone) -> None:
        engine = self.transport.engine
        self.journal.note(
            "dtls",
            "dtls-done",
            "{version} as {role}, {cipher}; the peer's certificate: {algorithm} {fingerprint}",
            version=done.version,
            role="client" if engine is not None and engine.is_client else "server",
            cipher=done.cipher,
            algorithm=done.remote_fingerprint.algorithm,
            fingerprint=done.remote_fingerprint.value,
        )

    def _publish(self, event: PeerEvent) -> None:
        for channel in self._subscribers.copy():
            try:
                channel.send_nowait(event)
            except trio.WouldBlock:
                pass  # this reader was told that it must keep up
            except trio.BrokenResourceError:
                self._subscribers.remove(channel)
                channel.close()

    def settle(self) -> None:
        """Take out what has come of touching any part."""
        self.transport.settle()
        self.driver.settle()
        self.notice()

    # ---------------------------------------------------------------------------- gathering

    def gather(self) -> None:
        """Begin to gather candidates; once for all ICE sessions."""
        if not self._gathering:
            self._gathering = True
            self._nursery.start_soon(self._run_gathering, name="gathering")

    async def _run_gathering(self) -> None:
        config, host, report = self.config, self._host, self._report_problem
        if self._shared is None:
            await gather(
                config,
                self.transport,
                self._names,
                self._nursery,
                host=host,
                rng=self._rng,
                report=report,
            )
            return
        for number, sock in enumerate(self._shared.sockets):
            self.transport.add_shared_socket(number, sock)
        self.transport.settle()
        await ask_servers(config, self.transport, self._nursery, host=host, report=report)

    def register(self) -> None:
        """What comes on a shared port for our user fragment is for us."""
        if self._shared is not None:
            self._shared.register(self.transport)

    # ------------------------------------------------------------------------------- events

    def _on_ice_event(self, event: IceEvent) -> None:
        if isinstance(event, LocalCandidate):
            self.local_candidates.add(event.candidate)
        elif isinstance(event, GatheringDone):
            self.local_candidates.end()
        elif isinstance(event, ResolveName):
            self._nursery.start_soon(self._resolve, event.name, name=f"resolving {event.name}")
        elif isinstance(event, SelectedPairChanged):
            self._log_pair(event)
            if event.path_changed:
                self.core.handle_path_change()
                if self._runs:
                    self.driver.tell_mtu()
            self._publish(event)
        elif isinstance(event, GatheringProblem):
            self._report_problem(event)
        elif isinstance(event, StateChanged) and event.state is IceState.FAILED:
            self._nursery.start_soon(self._give_up, name="giving up")
        self.notice()

    def _report_problem(self, event: GatheringProblem) -> None:
        self.journal.problem(
            "ice",
            "server-problem",
            "{url}: {reason} (code {code})",
            url=event.url or "gathering",
            reason=event.reason,
            code=event.code,
        )
        self._publish(event)

    async def _resolve(self, name: str) -> None:
        addresses = await self._names.resolve(name)
        self.agent.add_resolved(name, addresses, trio.current_time())
        self.transport.settle()

    async def _give_up(self) -> None:
        """ICE has failed: without a restart in time, so has the connection."""
        with trio.move_on_after(self.config.restart_grace):
            while self.agent.state is IceState.FAILED:
                await self.changed.park()
            return
        if self.agent.state is IceState.FAILED:
            self.fail("ICE has failed: no path to the peer works, or none any more")

    def _on_dtls_event(self, event: DtlsEvent) -> None:
        if isinstance(event, HandshakeDone):
            self._handshake = event
            self._log_handshake(event)
            self._start_association()
        elif isinstance(event, HandshakeFailed):
            self.fail(f"the DTLS handshake failed: {event.error}", event.error)
        elif self.driver.end is None:
            assert isinstance(event, PeerClosed)
            self._nursery.start_soon(self._part, name="parting")
        self.notice()

    async def _part(self) -> None:
        """The peer has sent close_notify. What came before it, most likely an ABORT, goes first."""
        while self._runs and self.driver.end is None and not self.transport.link.is_empty:
            await trio.lowlevel.checkpoint()
        if not self.ended and not self.channels.open_count:
            self.ended = True
            self.driver.abort(b"")
        self.fail("the peer has ended the connection (close_notify)")
        self.notice()

    def fail(self, message: str, cause: Exception | None = None) -> None:
        """The connection is over, other than in order."""
        if self.failure is None and not self.left and not self.ended:
            self._lose(message, cause)
            self.driver.lose(message)
            self.notice()

    def _lose(self, message: str, cause: Exception | None) -> None:
        self.failure = ConnectionLost(message)
        self.journal.problem("peer", "lost", "{reason}", reason=message)
        self.failure.__cause__ = cause
        self.driver.loss = self.loss
        self.ended = True

    def _on_association_end(self) -> None:
        if self.left or self.ended:
            return
        end = self.driver.end
        assert end is not None
        parted = end.reason is CloseReason.ABORTED_BY_PEER and not self.channels.open_count
        if self.driver.is_orderly or parted:
            self.ended = True  # nobody misses anything
        else:
            error = self.driver.lost()
            self._lose(f"the connection was lost: {error}", error)
        self.notice()

    # ------------------------------------------------------------------ DTLS and association

    def start_dtls(self, remote: Section, *, client: bool) -> None:
        """Begin the handshake as soon as ICE has a path."""
        self.channels.set_role(is_client=client, now=trio.current_time())
        self.transport.start_dtls(self.identity, client=client, announced=remote.fingerprints)

    def describe_peer(self, remote: Section) -> None:
        """What the peer's description says of SCTP."""
        self.channels.max_message_size_remote = remote.max_message_size
        if self.core.remote_port is None:
            self.core.remote_port = remote.sctp_port

    def _begin_association(self) -> None:
        config = self.config
        sctp = _over_dtls(config.sctp, through_turn=bool(config.ice_servers))
        self.core = Core(sctp, local_port=SCTP_PORT, remote_port=None, rng=self._rng)
        self.channels = Channels(self.core, max_message_size_remote=None)
        self.driver = ChannelDriver(
            self.core,
            captured(self.transport.link, self.journal.name, config.capture),
            self.channels,
            send_buffer=config.send_buffer,
            on_incoming=self._on_incoming_channel,
            on_change=self.notice,
            on_end=self._on_association_end,
            journal=self.journal,
        )
        self._runs = False

    def _on_incoming_channel(self, channel: Channel) -> None:
        self.incoming.add(DataChannel(self.driver, channel))

    def _start_association(self) -> None:
        """DTLS is there. Both sides send INIT: who does not hear the peer's asks itself."""
        if not self._runs and self.driver.end is None:
            self._runs = True
            self.driver.start(self._nursery)
            self.driver.connect()

    def abandon_association(self) -> None:
        """The peer is another one behind the same signalling: all begins anew (RFC 8842 5.5)."""
        self.left, left = True, self.left  # so that its end is not taken for the connection's
        self.driver.lose("the peer has begun anew, with another certificate")
        self.left = left
        if self._runs:
            self.driver.dismiss()
        self.journal.note("peer", "begins-anew", "the peer begins anew, with another certificate")
        self._handshake = None
        self.transport.renew_link()
        self._begin_association()

    # ---------------------------------------------------------------------------------- end

    async def close_channels(self) -> None:
        """Close all channels in order, as far as there is time."""
        if self.left or self.sctp_state is not SctpState.CONNECTED:
            return
        with trio.move_on_after(self.config.linger):
            async with trio.open_nursery() as nursery:
                for channel in self.channels:
                    nursery.start_soon(DataChannel(self.driver, channel).aclose)

    async def abort(self) -> None:
        """Tell the peer, release what others hold for us, close the sockets."""
        if self.left:
            return
        self.left = self.driver.closed_here = True
        self.driver.abort(b"")
        if self._runs:
            await self.driver.last_words()
        self.transport.close()
        if self._shared is not None:
            self._shared.forget(self.transport)
        if self.config.capture is not None:
            self.config.capture.flush()
        flush_capture()
        self.notice()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSING_TIME):
            await self.transport.aclose()
        for channel in self._subscribers:
            channel.close()
        self._subscribers.clear()


def _described(candidate: Candidate) -> str:
    """A candidate, for people."""
    host = f"[{candidate.host}]" if ":" in candidate.host else candidate.host
    return f"{host}:{candidate.port} ({candidate.type.value}, {candidate.transport})"


@functools.lru_cache(maxsize=64)
def _over_dtls(sctp: Config, *, through_turn: bool) -> Config:
    """Parameters of an association over DTLS; the peers of a server share them."""
    overhead = _DTLS_OVERHEAD + (_TURN_OVERHEAD if through_turn else 0)
    return attrs.evolve(
        sctp,
        zero_checksum=True,
        mtu=min(sctp.mtu, MAX_DATAGRAM - overhead),
        max_retransmits=max(sctp.max_retransmits, _MAX_RETRANSMITS),
    )


def make_identity(config: PeerConfig) -> DtlsIdentity:
    """Who we are: what the configuration says, or a new certificate."""
    if config.identity is not None:
        return config.identity
    return make_openssl_identity(Certificate.generate())
