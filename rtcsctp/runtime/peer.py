"""A peer connection, as users see it.

The methods that need not wait are plain functions: what they set in motion runs in the connection's
nursery.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Mapping

import trio

from rtcsctp.dtls.engine import DtlsIdentity, DtlsState
from rtcsctp.ice.candidate import Candidate
from rtcsctp.ice.events import GatheringState, IceState, PairInfo
from rtcsctp.runtime.background import background_tasks
from rtcsctp.runtime.channel import DataChannel
from rtcsctp.runtime.connection import Connection
from rtcsctp.runtime.descriptions import (
    CandidateForm,
    DescriptionForm,
    read_candidate,
    read_description,
)
from rtcsctp.runtime.errors import ConnectionLost
from rtcsctp.runtime.names import Names
from rtcsctp.runtime.peer_config import PeerConfig
from rtcsctp.runtime.peer_states import ConnectionState, PeerEvent, SctpState
from rtcsctp.runtime.peer_statistics import PeerStatistics
from rtcsctp.runtime.shared import SharedSockets
from rtcsctp.runtime.signalling import Signalling, make_credentials
from rtcsctp.sdp.description import SessionDescription
from rtcsctp.sdp.negotiation import Negotiation, SignallingState

__all__ = ["PeerConnection", "open_peer"]

_SYSTEM_RANDOM = random.SystemRandom()
"""One for all peers: it has no state of its own, and takes 2.5 KiB all the same."""


class PeerConnection:
    """One end of a WebRTC connection with data channels; `open_peer` and `serve` give it.

    It lives as long as the ``async with`` block (or the handler) that it came from. Leaving the
    block in order closes its channels first, which delivers what was sent on them, for at most
    ``PeerConfig.linger`` seconds; leaving it by an exception, a cancellation included, does not.
    Either way the peer is told, by SCTP's ABORT and DTLS's close_notify.

    What methods raise when there is no connection any more:

    - `trio.ClosedResourceError`: it was closed here;
    - `rtcsctp.ConnectionLost` (a `trio.BrokenResourceError`): it was lost, or the peer ended it.

    Attributes:
        config: its parameters.
        incoming: for ``async for``: the channels that the peer opens. It ends when the peer ends
            the connection in order, and raises `ConnectionLost` if it is lost.
        local_candidates: for ``async for``: our candidates, from the first to the last of the
            present ICE session, each as soon as it is known, for a peer that trickles (RFC 8838).
    """

    def __init__(
        self,
        config: PeerConfig,
        nursery: trio.Nursery,
        *,
        shared: SharedSockets | None = None,
        identity: DtlsIdentity | None = None,
        names: Names | None = None,
    ) -> None:
        """Use `open_peer` or `serve`."""
        rng = config.rng if config.rng is not None else _SYSTEM_RANDOM
        negotiation = Negotiation(rng=rng)
        self.config = config
        self._connection = Connection(
            config,
            nursery,
            make_credentials(rng),
            lambda: negotiation.state,
            rng=rng,
            shared=shared,
            identity=identity,
            names=names,
        )
        self._signalling = Signalling(negotiation, self._connection, rng)
        self.incoming = self._connection.incoming
        self.local_candidates = self._connection.local_candidates

    def __repr__(self) -> str:
        ufrag = self._connection.agent.local_ufrag
        return f"<PeerConnection {ufrag}, {self.connection_state.value}>"

    # ------------------------------------------------------------------------------- states

    @property
    def connection_state(self) -> ConnectionState:
        """W3C's connectionState; CLOSED also when the peer has ended the connection."""
        return self._connection.connection_state

    @property
    def ice_state(self) -> IceState:
        """How the way to the peer is (W3C's iceConnectionState)."""
        return self._connection.agent.state

    @property
    def gathering_state(self) -> GatheringState:
        """How far the search for our candidates is (W3C's iceGatheringState)."""
        return self._connection.agent.gathering_state

    @property
    def dtls_state(self) -> DtlsState:
        """That of DTLS (W3C's RTCDtlsTransport.state); NEW before there is a path for it."""
        return self._connection.dtls_state

    @property
    def sctp_state(self) -> SctpState:
        """That of the association below all channels (W3C's RTCSctpTransport.state)."""
        return self._connection.sctp_state

    @property
    def signalling_state(self) -> SignallingState:
        """Which descriptions are pending, and whose (W3C's signalingState)."""
        return self._signalling.state

    @property
    def selected_pair(self) -> PairInfo | None:
        """The candidates that the data takes; None before there is a path."""
        return self._connection.agent.selected

    @property
    def identity(self) -> DtlsIdentity:
        """Whose fingerprints our descriptions have."""
        return self._connection.identity

    def statistics(self) -> PeerStatistics:
        """A snapshot of everything that is counted and measured; also after the end."""
        return self._connection.statistics()

    def events(self, capacity: int = 64) -> trio.MemoryReceiveChannel[PeerEvent]:
        """Changes of states and of the path, and problems with servers, from now on.

        Close the channel when done. While `capacity` events are unread, others are dropped.
        """
        return self._connection.subscribe(capacity)

    async def wait_connected(self) -> None:
        """Wait until data channels can be used.

        Raises:
            ConnectionLost: that failed; the message says why.
            trio.ClosedResourceError: the connection was closed here.
        """
        await trio.lowlevel.checkpoint()
        connection = self._connection
        while connection.sctp_state is not SctpState.CONNECTED:
            connection.check_alive()
            await connection.changed.park()

    async def wait_closed(self) -> ConnectionLost | None:
        """Wait until the connection has ended; gives why, or None if it ended in order."""
        await trio.lowlevel.checkpoint()
        connection = self._connection
        while not (connection.left or connection.ended):
            await connection.changed.park()
        return connection.failure

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
        """A new data channel; also before there is a connection. See `DataChannel.wait_open`.

        Args:
            label: any text, up to 65,535 bytes of UTF-8.
            ordered: messages arrive in the order in which they were sent.
            max_retransmits: send a message again at most so often; 0 is never. Not together with
                `max_packet_lifetime`. Without either, the channel is reliable.
            max_packet_lifetime: give a message up after so many seconds, up to 65.535.
            protocol: subprotocol, like `label`.
            priority: 128, 256, 512 or 1024 (RFC 8831 6.4); a share in what is sent.
            negotiated: the peer makes a channel with the same id, and nothing is sent to open it.
            id: 0 to 65,534; needed if `negotiated`, and not allowed otherwise.

        Raises:
            ChannelIdError: the id is taken or cannot be, or none is left.
            ReliabilityError: both limits, or one that cannot be.
            ValueError: a label or protocol that is too long, a priority that is not 16 bits.
            trio.ClosedResourceError, ConnectionLost: there is no connection any more.
        """
        self._connection.check_alive()
        channel = self._connection.channels.create(
            label,
            ordered=ordered,
            max_retransmits=max_retransmits,
            max_packet_lifetime=max_packet_lifetime,
            protocol=protocol,
            priority=priority,
            negotiated=negotiated,
            id=id,
            now=trio.current_time(),
        )
        self._connection.channels.set_low_threshold(channel, None)  # nobody waits yet
        self._connection.driver.settle()
        return DataChannel(self._connection.driver, channel)

    # ------------------------------------------------------------------- offers and answers

    @property
    def local_description(self) -> SessionDescription | None:
        """Ours, pending or current, with the candidates that are known by now."""
        return self._signalling.local_description

    @property
    def remote_description(self) -> SessionDescription | None:
        """The peer's description, pending or current (W3C's remoteDescription); None before."""
        return self._signalling.remote_description

    def restart_ice(self) -> None:
        """The next offer restarts ICE (W3C's restartIce)."""
        self._signalling.restart_wanted = True

    def create_offer(self, *, ice_restart: bool = False) -> SessionDescription:
        """An offer (RFC 8829 5.2); `set_local_description` puts it in force.

        Raises:
            SignallingStateError: not now; the message says what is possible.
            trio.ClosedResourceError, ConnectionLost: see above.
        """
        self._connection.check_alive()
        return self._signalling.create_offer(ice_restart=ice_restart)

    def create_answer(self) -> SessionDescription:
        """An answer to the peer's offer (RFC 8829 5.3); `set_local_description` puts it in force.

        Raises:
            SignallingStateError: there is no offer to answer.
            trio.ClosedResourceError, ConnectionLost: see above.
        """
        self._connection.check_alive()
        return self._signalling.create_answer()

    def set_local_description(self, description: SessionDescription | None = None) -> None:
        """Put our description in force, and begin to gather candidates (RFC 8829 4.1.9).

        Args:
            description: what `create_offer` or `create_answer` gave, or a rollback; None makes the
                one that fits.

        Raises:
            SignallingStateError: not now, or not what was created last.
            trio.ClosedResourceError, ConnectionLost: see above.
        """
        self._connection.check_alive()
        self._signalling.set_local(description)

    def set_remote_description(self, description: DescriptionForm) -> None:
        """Put the peer's description in force (RFC 8829 4.1.10).

        An offer that comes while ours is pending rolls ours back (W3C's perfect negotiation; which
        side ignores the other's is for the application to decide).

        Args:
            description: a `SessionDescription`; a mapping with ``type`` and ``sdp`` as browsers
                have it, or the same in JSON; or the compact line.

        Raises:
            DescriptionError: it cannot be used; nothing has changed.
            SignallingStateError: not now; the message says what is possible.
            trio.ClosedResourceError, ConnectionLost: see above.
        """
        self._connection.check_alive()
        self._signalling.set_remote(read_description(description))

    def add_ice_candidate(self, candidate: CandidateForm | None) -> None:
        """A candidate of the peer that came by itself (RFC 8838).

        Args:
            candidate: a `Candidate`, its text (``candidate:…``), the JSON object of browsers as a
                mapping; None or an empty text is the end of candidates.

        Raises:
            DescriptionError: it cannot be understood.
            trio.ClosedResourceError, ConnectionLost: see above.
        """
        self._connection.check_alive()
        if isinstance(candidate, Mapping):
            mid, index = candidate.get("sdpMid"), candidate.get("sdpMLineIndex")
            if not self._signalling.is_for_data(
                mid if isinstance(mid, str) else None, index if isinstance(index, int) else None
            ):
                return  # of a section that we have rejected
        self._signalling.add_candidate(None if candidate is None else read_candidate(candidate))

    def candidate_init(self, candidate: Candidate) -> dict[str, str | int | None]:
        """One of `local_candidates` as the object that browsers' addIceCandidate takes."""
        mid, index = self._signalling.label
        return {
            "candidate": candidate.to_sdp(),
            "sdpMid": mid,
            "sdpMLineIndex": index,
            "usernameFragment": candidate.ufrag or self._connection.agent.local_ufrag,
        }

    async def gathering_complete(self) -> None:
        """Wait until all our candidates are known.

        Raises:
            trio.ClosedResourceError, ConnectionLost: see above.
        """
        await trio.lowlevel.checkpoint()
        while self.gathering_state is not GatheringState.COMPLETE:
            self._connection.check_alive()
            await self._connection.changed.park()

    async def offer(self) -> SessionDescription:
        """Make an offer and put it in force; gives it with our candidates, for one-shot exchange.

        Servers that have not answered after ``PeerConfig.gathering_timeout`` are left out.

        Raises:
            SignallingStateError: not now; the message says what is possible.
            trio.ClosedResourceError, ConnectionLost: see above.
        """
        self.set_local_description(self.create_offer())
        return await self._gathered()

    async def answer(self, offer: DescriptionForm) -> SessionDescription:
        """Take an offer; gives the answer with our candidates, for one-shot exchange.

        Raises what `set_remote_description` and `offer` raise.
        """
        self.set_remote_description(offer)
        self.set_local_description(self.create_answer())
        return await self._gathered()

    async def accept(self, answer: DescriptionForm) -> None:
        """Take the answer to our offer, and wait until the connection is there.

        Raises what `set_remote_description` and `wait_connected` raise.
        """
        self.set_remote_description(answer)
        await self.wait_connected()

    async def _gathered(self) -> SessionDescription:
        with trio.move_on_after(self.config.gathering_timeout):
            await self.gathering_complete()
        description = self.local_description
        assert description is not None
        return description

    # ---------------------------------------------------------------------------------- end

    async def aclose(self) -> None:
        """Close the channels in order, then the connection; what leaving the block does."""
        await self._connection.close_channels()
        await self.abort()

    async def abort(self) -> None:
        """Close the connection at once; the peer is told. Does nothing the second time.

        What was sent and has not arrived is lost.
        """
        self._signalling.close()
        await self._connection.abort()


@contextlib.asynccontextmanager
async def open_peer(config: PeerConfig | None = None) -> AsyncIterator[PeerConnection]:
    """A peer connection, for the length of a block; see `PeerConnection` for how it ends.

    Args:
        config: its parameters.
    """
    async with background_tasks() as nursery:
        peer = PeerConnection(config if config is not None else PeerConfig(), nursery)
        try:
            yield peer
            await peer.aclose()
        finally:
            await peer.abort()
