"""Where an exchange of descriptions stands: all that a step may change, as one value."""

from __future__ import annotations

import attrs

from rtcsctp.sdp import rules
from rtcsctp.sdp.description import SessionDescription
from rtcsctp.sdp.model import ParsedDescription, Section
from rtcsctp.sdp.signalling import SignallingState

__all__ = ["Dtls", "Side", "Situation", "data_of", "differ"]


@attrs.frozen
class Side:
    """A description of one side, read."""

    description: SessionDescription
    parsed: ParsedDescription
    index: int | None  # of the data section, rejected or not

    @property
    def data(self) -> Section | None:
        """The data section, if it is not rejected."""
        if self.index is None or self.parsed.sections[self.index].rejected:
            return None
        return self.parsed.sections[self.index]


@attrs.frozen
class Dtls:
    """The DTLS association that was agreed on: the sections that describe it, and our role."""

    local: Section
    remote: Section
    client: bool


@attrs.frozen(kw_only=True)
class Situation:
    """All that a step may change.

    Attributes:
        state: of the signalling.
        current_local, current_remote: the last exchange that was completed.
        pending_local, pending_remote: the one that is under way.
        dtls: the association of the last answer or pranswer.
        offered_first: whether the first offer that was answered was ours.
    """

    state: SignallingState = SignallingState.STABLE
    current_local: Side | None = None
    current_remote: Side | None = None
    pending_local: Side | None = None
    pending_remote: Side | None = None
    dtls: Dtls | None = None
    offered_first: bool | None = None

    @property
    def local(self) -> Side | None:
        """Our description: pending, or else current."""
        return self.pending_local or self.current_local

    @property
    def remote(self) -> Side | None:
        """The peer's description: pending, or else current."""
        return self.pending_remote or self.current_remote

    @property
    def agreed_index(self) -> int | None:
        """Where the data section stands that both sides have accepted."""
        local, remote = self.current_local, self.current_remote
        if local is None or remote is None or local.data is None or remote.data is None:
            return None
        return local.index

    @property
    def we_offer(self) -> bool | None:
        """Whether the first offer is ours, be it answered or not."""
        if self.offered_first is not None:
            return self.offered_first
        if self.state is SignallingState.STABLE:
            return None
        return self.state in {
            SignallingState.HAVE_LOCAL_OFFER,
            SignallingState.HAVE_REMOTE_PRANSWER,
        }

    def controlling(self) -> bool | None:
        """The ICE role: "The full agent MUST take the controlling role" (RFC 8445 6.1.1)."""
        local, remote = data_of(self.local), data_of(self.remote)
        if local is not None and remote is not None and local.ice_lite != remote.ice_lite:
            return remote.ice_lite
        return self.we_offer


def data_of(side: Side | None) -> Section | None:
    """The data section of a side that may not be there yet."""
    return None if side is None else side.data


def differ(old: Section | None, new: Section | None) -> bool:
    """Whether both are there, with different ICE credentials."""
    return old is not None and new is not None and rules.is_restart(old, new)
