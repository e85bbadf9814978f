"""What an association counts, and the snapshot that it shows.

Where the W3C has had a name for a figure, it is that name, in Python's spelling; the RFCs' short
names for the same figures (`cwnd`, `srtt`, `peer_window`) can be used as well. The names are those
of RTCSctpTransportStats, which the drafts of *Identifiers for WebRTC's Statistics API* had, and
the present text has not; they mean what RFC 6458 calls spinfo_srtt, spinfo_cwnd, sstat_rwnd,
spinfo_mtu and sstat_unackdata.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import Enum

import attrs

from rtcsctp.report import Report, report
from rtcsctp.sctp.state import State

__all__ = ["Counters", "Drop", "Statistics"]


class Drop(Enum):
    """Why a packet, or a chunk of one, was dropped."""

    __hash__ = object.__hash__  # by identity, in C: these are keys on hot paths

    TOO_SHORT = "too short"
    CHECKSUM = "wrong checksum"
    PORTS = "other ports"
    VERIFICATION_TAG = "wrong verification tag"
    OUT_OF_THE_BLUE = "no association"
    MALFORMED = "malformed"
    TRUNCATED = "last chunk cut short"
    BAD_INIT = "INIT that is impossible, or not alone"
    BAD_COOKIE = "cookie that is not ours"
    STALE_COOKIE = "cookie too old"
    UNEXPECTED = "not expected in this state"
    BAD_SACK = "SACK for what was never sent"
    OLD_SACK = "SACK older than the last one"
    TSN_TOO_FAR = "TSN beyond the window"
    NO_ROOM = "receive window full"
    INVALID_STREAM = "stream that does not exist"
    UNKNOWN_CHUNK = "chunk of unknown type"
    TOO_MANY_CHUNKS = "more FORWARD-TSN or RE-CONFIG in a packet than anybody needs"
    TOO_MANY_ANSWERS = "answers beyond the cap"


class Counters:
    """Plain numbers, counted up where things happen."""

    __slots__ = (
        "bytes_received",
        "bytes_sent",
        "chunks_received",
        "drops",
        "duplicates",
        "packets_received",
        "packets_sent",
        "sacks_received",
        "sacks_sent",
        "timeouts",
        "user_bytes_received",
    )

    def __init__(self) -> None:
        self.packets_sent = 0
        self.packets_received = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self.chunks_received = 0
        self.user_bytes_received = 0
        self.duplicates = 0
        self.sacks_sent = 0
        self.sacks_received = 0
        self.timeouts = 0
        self.drops: Counter[Drop] = Counter()


@attrs.frozen(kw_only=True)
class Statistics:
    """A snapshot of an association. Times are in seconds, sizes in bytes.

    Of the members, `congestion_window`, `receiver_window`, `smoothed_round_trip_time`, `mtu` and
    `unack_data` are those of W3C's RTCSctpTransportStats; all others are ours.
    """

    timestamp: float = attrs.field(default=0.0, eq=False)
    """When it was taken, seconds since 1970; 0 from a core, which knows no such clock."""
    state: State
    # the path
    congestion_control: str
    """The name of the congestion controller, as in ``Config.congestion_control``."""
    congestion_window: int
    """cwnd: what may be in flight."""
    ssthresh: int | None
    """None: not known yet, as no loss has been seen."""
    flight: int
    """Bytes in flight, with chunk headers and padding; what cwnd bounds."""
    unacknowledged: int
    """User bytes that were sent, and neither acknowledged nor given up."""
    unack_data: int
    """DATA chunks that have a TSN and are not cumulatively acknowledged."""
    in_fast_recovery: bool
    pacing_rate: float | None
    """Bytes per second at which packets may leave; None: as cwnd allows."""
    smoothed_round_trip_time: float | None
    """SRTT (RFC 9260 6.3.1); None before the first measurement."""
    min_round_trip_time: float | None
    """The shortest of the last ten seconds or more; None before the first."""
    rttvar: float
    rto: float
    mtu: int
    """Largest packet that is sent at present, SCTP's header included."""
    path_mtu_state: str
    """Where the search for the path's MTU stands (RFC 8899 5.2): "disabled", "base", "searching",
    "search complete" or "error"."""
    path_mtu_probes_sent: int
    path_mtu_probes_lost: int
    path_errors: int
    """Consecutive errors."""
    path_is_active: bool
    """The errors do not exceed ``Config.path_max_retransmits``."""
    # windows and buffers
    receiver_window: int
    """What the peer last advertised (a_rwnd), less what is in flight."""
    own_window: int
    """What we would advertise now."""
    buffered_amount: int
    """User bytes queued and not yet sent."""
    held: int
    """Bytes charged against our window: unread, incomplete or waiting messages, with overhead."""
    unread_messages: int
    # traffic
    packets_sent: int
    packets_received: int
    bytes_sent: int
    """In packets, with all of SCTP's headers."""
    bytes_received: int
    user_bytes_sent: int
    user_bytes_received: int
    messages_sent: int
    messages_received: int
    data_chunks_sent: int
    """Retransmissions included."""
    data_chunks_received: int
    """Duplicates included."""
    fast_retransmits: int
    timeout_retransmits: int
    timeouts: int
    """How often T3-rtx expired."""
    fast_recoveries: int
    """How often a loss was found otherwise, and repaired (RFC 9260 7.2.4, RFC 8985)."""
    spurious_recoveries: int
    """Of these, those for nothing: all of it had arrived, and cwnd was given back."""
    tail_loss_probes: int
    """Chunks sent because nothing came back for two round trips (RFC 8985 7)."""
    messages_abandoned: int
    duplicates_received: int
    sacks_sent: int
    sacks_received: int
    checksum_errors: int
    drops: Mapping[Drop, int]
    """Packets and chunks dropped, by reason."""
    # what was negotiated
    outbound_streams: int
    inbound_streams: int
    interleaving: bool
    partial_reliability: bool
    reconfiguration: bool
    zero_checksum_sent: bool

    @property
    def cwnd(self) -> int:
        """`congestion_window`, as RFC 9260 calls it."""
        return self.congestion_window

    @property
    def srtt(self) -> float | None:
        """`smoothed_round_trip_time`, as RFC 9260 calls it."""
        return self.smoothed_round_trip_time

    @property
    def peer_window(self) -> int:
        """`receiver_window`, as seen from here."""
        return self.receiver_window

    def to_dict(self) -> Report:
        """As an object of W3C's getStats; see `rtcsctp.report`. It can be written as JSON."""
        return report(self, id="sctp", type="sctp-transport", timestamp=self.timestamp)
