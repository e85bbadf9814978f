"""What an association counts, and the snapshot that it shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import Enum

import attrs

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
    """A snapshot of an association. Times are in seconds, sizes in bytes."""

    state: State
    # the path
    cwnd: int
    ssthresh: int | None
    """None: not known yet, as no loss has been seen."""
    flight: int
    """Bytes in flight, with chunk headers and padding; what cwnd bounds."""
    unacknowledged: int
    """User bytes that were sent, and neither acknowledged nor given up."""
    in_fast_recovery: bool
    srtt: float | None
    rttvar: float
    rto: float
    mtu: int
    """Largest packet that is sent at present."""
    path_errors: int
    """Consecutive errors."""
    path_is_active: bool
    """The errors do not exceed ``Config.path_max_retransmits``."""
    # windows and buffers
    peer_window: int
    """What the peer last advertised, less what is in flight."""
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
