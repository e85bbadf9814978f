"""The states of a peer connection, as the W3C defines them, and what tells of their changes."""

from __future__ import annotations

from enum import Enum

import attrs

from rtcsctp.dtls.engine import DtlsState
from rtcsctp.ice.events import GatheringProblem, IceState, SelectedPairChanged

__all__ = ["ConnectionState", "PeerEvent", "SctpState", "StateChange", "connection_state"]


class ConnectionState(Enum):
    """ICE and DTLS together (W3C RTCPeerConnectionState); the values are W3C's words."""

    NEW = "new"
    """Nothing has begun."""
    CONNECTING = "connecting"
    """One of them is under way, and none has failed."""
    CONNECTED = "connected"
    """Both are done. Data channels can be used when the association is there, too."""
    DISCONNECTED = "disconnected"
    """The peer does not answer at present; it may come back by itself."""
    FAILED = "failed"
    """ICE or DTLS has failed; of ICE, a restart may help."""
    CLOSED = "closed"
    """It was closed, here or by the peer."""


class SctpState(Enum):
    """The association below the data channels (W3C RTCSctpTransportState).

    "new" until DTLS is done, "connecting" during SCTP's handshake.
    """

    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"


@attrs.frozen
class StateChange:
    """A state of a peer connection is another one now.

    Attributes:
        what: "connection", "ice", "gathering", "dtls", "sctp" or "signalling".
        state: the new state.
    """

    what: str
    state: Enum


PeerEvent = StateChange | SelectedPairChanged | GatheringProblem
"""What `PeerConnection.events` gives."""


_CONNECTED = (DtlsState.CONNECTED, DtlsState.CLOSED)  # once connected, as the W3C has it


def connection_state(ice: IceState, dtls: DtlsState, *, closed: bool) -> ConnectionState:
    """The state of the whole (W3C WebRTC, RTCPeerConnectionState enum)."""
    if closed:
        return ConnectionState.CLOSED
    if ice is IceState.FAILED or dtls is DtlsState.FAILED:
        return ConnectionState.FAILED
    if ice is IceState.DISCONNECTED:
        return ConnectionState.DISCONNECTED
    if ice is IceState.NEW and dtls in (DtlsState.NEW, DtlsState.CLOSED):
        return ConnectionState.NEW
    if ice in (IceState.CONNECTED, IceState.COMPLETED) and dtls in _CONNECTED:
        return ConnectionState.CONNECTED
    return ConnectionState.CONNECTING
