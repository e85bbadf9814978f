"""What is counted and measured in a peer connection, layer by layer."""

from __future__ import annotations

import attrs

from rtcsctp.datachannel.statistics import ChannelStatistics
from rtcsctp.dtls.engine import DtlsStatistics
from rtcsctp.ice.statistics import IceStatistics
from rtcsctp.sctp.statistics import Statistics

__all__ = ["PeerStatistics"]


@attrs.frozen(kw_only=True)
class PeerStatistics:
    """A snapshot of one peer connection.

    Attributes:
        ice: candidate pairs, consent, what was dropped.
        dtls: records and handshake; None before the roles are known.
        sctp: the association.
        channels: how many data channels were opened and closed.
    """

    ice: IceStatistics
    dtls: DtlsStatistics | None
    sctp: Statistics
    channels: ChannelStatistics
