"""A sending half of its own, its packets decoded, and the SACKs that it is told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rtcsctp.sctp.config import Config
from rtcsctp.sctp.tx.outstanding import AckInfo, Outstanding
from rtcsctp.sctp.tx.records import Outgoing, Sent
from rtcsctp.sctp.tx.sender import Sender
from rtcsctp.sctp.wire.chunks import (
    Data,
    ForwardTsn,
    decode_data_untrusted,
    decode_forward_tsn_untrusted,
    decode_i_data_untrusted,
    decode_i_forward_tsn_untrusted,
)

__all__ = [
    "FIRST_TSN",
    "PMDCS",
    "Wire",
    "blocks_above",
    "message",
    "record",
]

FIRST_TSN = 1000
PMDCS = 1188
"""What DATA may fill of a packet of 1,200 bytes."""


def message(
    stream: int = 0,
    data: bytes = b"x",
    *,
    arrival: int = 0,
    unordered: bool = False,
    max_retransmits: int | None = None,
) -> Outgoing:
    """A message as the queue has it."""
    return Outgoing(
        stream,
        data,
        51,
        unordered,
        expires=None,
        max_retransmits=max_retransmits,
        priority=None,
        arrival=arrival,
    )


def record(
    outstanding: Outstanding, size: int = 100, *, max_retransmits: int | None = None
) -> Sent:
    """Send one more chunk of `size` bytes, in 16 more on the wire."""
    owner = message(data=b"x" * size, max_retransmits=max_retransmits)
    sent = Sent(outstanding.next_tsn, owner, 0, size, size + 16, 3, 0)
    outstanding.add(sent)
    return sent


def blocks_above(cumulative: int, tsns: Iterable[int]) -> list[tuple[int, int]]:
    """Gap blocks that report these TSNs."""
    blocks: list[tuple[int, int]] = []
    for tsn in sorted(set(tsns)):
        offset = tsn - cumulative
        if offset <= 0:
            continue
        if blocks and blocks[-1][1] == offset - 1:
            blocks[-1] = (blocks[-1][0], offset)
        else:
            blocks.append((offset, offset))
    return blocks


class Wire:
    """A sender, the time, and what it put on the wire."""

    def __init__(
        self,
        *,
        interleaved: bool = False,
        partially_reliable: bool = True,
        first_tsn: int = FIRST_TSN,
        peer_rwnd: int = 1 << 24,
        **settings: Any,
    ) -> None:
        self.now = 0.0
        self.interleaved = interleaved
        self.sender = Sender(Config(**settings))
        self.sender.establish(
            first_tsn, peer_rwnd, interleaved=interleaved, partially_reliable=partially_reliable
        )
        self.a_rwnd = peer_rwnd

    def send(
        self,
        data: bytes = b"x",
        *,
        stream: int = 0,
        ppid: int = 51,
        unordered: bool = False,
        lifetime: float | None = None,
        max_retransmits: int | None = None,
        priority: int | None = None,
    ) -> None:
        expires = None if lifetime is None else self.now + lifetime
        self.sender.send(stream, data, ppid, unordered, expires, max_retransmits, priority)

    def decode(self, chunk: bytes) -> Data:
        length = int.from_bytes(chunk[2:4], "big")
        assert len(chunk) == length + -length % 4
        assert chunk[0] == (0x40 if self.interleaved else 0)
        decode = decode_i_data_untrusted if self.interleaved else decode_data_untrusted
        return decode(chunk, 4, length, chunk[1])

    def packet(self, room: int = PMDCS) -> list[Data]:
        """The chunks of the next packet; empty if nothing may be sent."""
        chunks = self.sender.fill(room, self.now)
        assert sum(map(len, chunks)) <= room
        self.check_books()
        return [self.decode(chunk) for chunk in chunks]

    def packets(self, limit: int = 10_000) -> list[list[Data]]:
        """All packets that may be sent now."""
        found: list[list[Data]] = []
        while len(found) < limit and (packet := self.packet()):
            found.append(packet)
        return found

    def chunks(self) -> list[Data]:
        """The chunks of all packets that may be sent now."""
        return [chunk for packet in self.packets() for chunk in packet]

    def tsns(self) -> list[int]:
        """The TSNs of all chunks that may be sent now."""
        return [chunk.tsn for chunk in self.chunks()]

    def sack(
        self, cumulative: int, above: Sequence[int] = (), *, a_rwnd: int | None = None
    ) -> AckInfo | None:
        """A SACK: everything up to `cumulative` arrived, and the TSNs in `above`."""
        if a_rwnd is not None:
            self.a_rwnd = a_rwnd
        blocks = blocks_above(cumulative, above)
        info = self.sender.handle_sack(cumulative & 0xFFFF_FFFF, self.a_rwnd, blocks, self.now)
        self.check_books()
        return info

    def forward_tsn(self, room: int = PMDCS) -> ForwardTsn:
        """The FORWARD-TSN that is due."""
        at = self.sender.forward_tsn_at(self.now)
        assert at is not None
        assert at <= self.now
        chunk = self.sender.make_forward_tsn(room, self.now)
        assert len(chunk) <= room
        assert chunk[0] == (0xC2 if self.interleaved else 0xC0)
        if self.interleaved:
            return decode_i_forward_tsn_untrusted(chunk, 4, len(chunk))
        return decode_forward_tsn_untrusted(chunk, 4, len(chunk))

    def time_out(self) -> None:
        """T3-rtx expires."""
        self.now += self.sender.rto.value
        self.sender.timed_out(0.0)
        self.check_books()

    def check_books(self) -> None:
        """What is in flight is what the records say, and what is queued what the streams say."""
        outstanding, queue = self.sender.outstanding, self.sender.queue
        in_flight = outstanding.in_flight()
        assert outstanding.flight == sum(sent.wire_size for sent in in_flight)
        assert outstanding.payload == sum(sent.size for sent in in_flight)
        tsns = range(outstanding.cumulative + 1, outstanding.next_tsn)
        assert list(outstanding.records) == list(tsns)
        assert queue.buffered == sum(stream.buffered for stream in queue.streams())
        for stream in queue.streams():
            waiting = [*stream.queue, *(stream.behind_barrier or ())]
            assert stream.buffered == sum(len(m.data) - m.offset for m in waiting)
