"""What an ICE agent tells its owner, and the values that it tells it with."""

from __future__ import annotations

import enum
from collections.abc import Sequence

import attrs

from rtcsctp.ice.candidate import Address, Candidate

__all__ = [
    "GatheringDone",
    "GatheringProblem",
    "GatheringState",
    "IceEvent",
    "IceState",
    "LocalCandidate",
    "PairInfo",
    "ResolveName",
    "RoleChanged",
    "SelectedPairChanged",
    "StateChanged",
    "Transmit",
]


class IceState(enum.Enum):
    """How the way to the peer is (W3C RTCIceTransportState and RTCIceConnectionState)."""

    NEW = "new"
    """The peer's credentials are not known yet."""
    CHECKING = "checking"
    """Both sides' credentials are known; no pair has worked yet."""
    CONNECTED = "connected"
    """A pair works and carries data; which one it will be in the end is not settled."""
    COMPLETED = "completed"
    """A pair was nominated (RFC 8445 8.1.2). W3C also waits for the peer's end of candidates here;
    Chrome does not send one."""
    DISCONNECTED = "disconnected"
    """The pair in use does not answer; it may recover by itself."""
    FAILED = "failed"
    """No pair has worked, or consent was lost; only a restart helps."""
    CLOSED = "closed"


class GatheringState(enum.Enum):
    """How far the search for our own candidates is (W3C RTCIceGatheringState)."""

    NEW = "new"
    """It has not begun; the first local description begins it."""
    GATHERING = "gathering"
    """STUN or TURN servers are still being asked."""
    COMPLETE = "complete"
    """All candidates are known."""


class Transmit:
    """Datagrams for one destination, in order.

    Attributes:
        socket: the number by which the socket (or stream) was added.
        address: where to; for a stream, the server that it is connected to.
        datagrams: one or more; over a stream, their bytes are simply written one after another.
    """

    __slots__ = ("address", "datagrams", "socket")

    def __init__(self, socket: int, address: Address, datagrams: Sequence[bytes]) -> None:
        self.socket = socket
        self.address = address
        self.datagrams = datagrams

    def __repr__(self) -> str:
        return f"<Transmit {len(self.datagrams)} by {self.socket} to {self.address}>"


@attrs.frozen(kw_only=True)
class PairInfo:
    """The pair of candidates that carries data.

    Attributes:
        local: ours, as the peer sees it; peer-reflexive if the peer sees one that we never named.
        remote: the peer's.
        socket: the socket or stream by which it is reached.
        rtt: the last measured round-trip time in seconds.
        nominated: whether it is the final choice (RFC 8445 8.1.1).
        relayed: whether our datagrams go through a TURN server.
    """

    local: Candidate
    remote: Candidate
    socket: int
    rtt: float | None = None
    nominated: bool = False
    relayed: bool = False


@attrs.frozen
class LocalCandidate:
    """A candidate to signal to the peer; its `ufrag` says for which ICE session (RFC 8838 9)."""

    candidate: Candidate


@attrs.frozen
class GatheringDone:
    """No more candidates will come in this ICE session: signal the end of candidates."""


@attrs.frozen
class GatheringProblem:
    """A server gave no candidate; W3C RTCPeerConnectionIceErrorEvent, with its meanings.

    Attributes:
        url: of the server.
        address: our own address from which it was asked; empty where that is hidden.
        code: the STUN error code; 701 where nothing answered.
        reason: in words.
    """

    url: str
    address: str
    code: int
    reason: str


@attrs.frozen
class StateChanged:
    """`Agent.state` is another one now."""

    state: IceState


@attrs.frozen
class SelectedPairChanged:
    """Data takes this pair from now on, or the pair that it takes is known better.

    Attributes:
        pair: as `Agent.selected` says now.
        path_changed: datagrams go another way than before (also true for the first pair): start
            congestion control anew and probe the MTU again. False where the same way was
            nominated, or a peer-reflexive candidate got its proper description.
    """

    pair: PairInfo
    path_changed: bool


@attrs.frozen
class ResolveName:
    """A candidate with a name in place of an address: resolve it, and call `add_resolved`.

    Nothing waits for it; meanwhile the peer's own checks may already make the pair.
    """

    name: str
    candidate: Candidate


@attrs.frozen
class RoleChanged:
    """A role conflict was settled, or a lite peer made us controlling (RFC 8445 6.1.1, 7.3.1.1)."""

    controlling: bool


IceEvent = (
    LocalCandidate
    | GatheringDone
    | GatheringProblem
    | StateChanged
    | SelectedPairChanged
    | ResolveName
    | RoleChanged
)
