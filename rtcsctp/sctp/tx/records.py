"""The two records of the sending half: a message that the user gave, and a chunk of it in flight.

Plain classes with slots: there is one of the second kind per DATA chunk. They are *about* messages
and chunks; the bytes of a chunk are made when it is sent, and made again when it is sent again.
"""

from __future__ import annotations

from enum import IntEnum

from rtcsctp.sctp.tx.delivery import UNSENT, Transmission

__all__ = ["IN_FLIGHT", "UNTOLD", "Outgoing", "Sent", "SentState"]


class Outgoing:
    """A message to be sent, and how far it has come."""

    __slots__ = (
        "abandoned",
        "arrival",
        "chunks",
        "data",
        "expires",
        "max_retransmits",
        "next_fsn",
        "offset",
        "ppid",
        "priority",
        "sequence",
        "stream_id",
        "unordered",
    )

    def __init__(
        self,
        stream_id: int,
        data: bytes,
        ppid: int,
        unordered: bool,
        expires: float | None,
        max_retransmits: int | None,
        priority: int | None,
        arrival: int,
    ) -> None:
        self.stream_id = stream_id
        self.data = data
        self.ppid = ppid
        self.unordered = unordered
        self.expires = expires
        """When its lifetime ends, on the clock of ``now``; None without one."""
        self.max_retransmits = max_retransmits
        self.priority = priority
        self.arrival = arrival
        """Its place among all messages, for first come, first served."""
        self.offset = 0
        """Bytes that have been cut into chunks."""
        self.sequence = 0
        """SSN or MID, given when its first chunk is cut, so one that expires before takes none."""
        self.next_fsn = 0
        self.abandoned = False
        limited = expires is not None or max_retransmits is not None or priority is not None
        self.chunks: list[Sent] | None = [] if limited else None
        """Its chunks, if it may be abandoned; a reliable message has no use for the list."""


class SentState(IntEnum):
    """What is known of a chunk that has a TSN."""

    IN_FLIGHT = 0
    LOST = 1  # waits to be sent again
    ACKED = 2  # by a gap block; the receiver may still take that back
    ABANDONED = 3  # given up; waits for FORWARD-TSN to be acknowledged
    UNTOLD = 4  # arrived or lost by now, but SACKs are cut before they come to it


IN_FLIGHT = SentState.IN_FLIGHT
UNTOLD = SentState.UNTOLD


class Sent:
    """A chunk that has a TSN."""

    __slots__ = (
        "by_timeout",
        "fast_retransmitted",
        "flags",
        "fsn",
        "message",
        "miss_key",
        "offset",
        "size",
        "state",
        "transmission",
        "transmissions",
        "tsn",
        "wire_size",
    )

    def __init__(
        self,
        tsn: int,
        message: Outgoing,
        offset: int,
        size: int,
        wire_size: int,
        flags: int,
        fsn: int,
        transmission: Transmission = UNSENT,
    ) -> None:
        self.tsn = tsn
        self.message = message
        self.offset = offset
        self.size = size
        """Bytes of user data: what the peer's window counts."""
        self.wire_size = wire_size
        """Bytes with header and padding: what the network carries, and cwnd counts."""
        self.flags = flags
        self.fsn = fsn
        self.state = IN_FLIGHT
        self.transmission = transmission
        """The burst that it was last sent in."""
        self.transmissions = 1
        self.miss_key = tsn
        """A miss counts when a TSN above this one is acknowledged: its own, or, once it was sent
        again, the last one sent before that."""
        self.fast_retransmitted = False
        self.by_timeout = False
        """It was last taken for lost because T3-rtx expired."""

    def is_in_flight_since(self, burst: Transmission) -> bool:
        """Whether it was last sent in `burst`, and nothing is known of it since."""
        return self.state is IN_FLIGHT and self.transmission is burst
