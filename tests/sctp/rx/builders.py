"""Messages cut into chunks, as they arrive."""

from __future__ import annotations

from collections.abc import Sequence

from rtcsctp.sctp.config import Config
from rtcsctp.sctp.rx.inbox import Inbox
from rtcsctp.sctp.rx.reassembly import Whole
from rtcsctp.sctp.rx.receiver import Receiver
from rtcsctp.sctp.wire.chunks import BEGIN, END, UNORDERED, Data

__all__ = ["WHOLE", "cut", "data", "make_receiver", "parts", "whole"]

WHOLE = BEGIN | END


def data(
    tsn: int,
    payload: bytes = b"x",
    *,
    stream: int = 0,
    sequence: int = 0,
    fsn: int = 0,
    ppid: int = 51,
    flags: int = WHOLE,
) -> Data:
    """One DATA or I-DATA chunk."""
    return Data(tsn, flags, stream, sequence, fsn, ppid, payload)


def cut(
    tsn: int,
    pieces: Sequence[bytes],
    *,
    stream: int = 0,
    sequence: int = 0,
    unordered: bool = False,
    ppid: int = 51,
) -> list[Data]:
    """A message in fragments with consecutive TSNs; good as DATA and as I-DATA."""
    last = len(pieces) - 1
    return [
        Data(
            tsn + i,
            UNORDERED * unordered | BEGIN * (i == 0) | END * (i == last),
            stream,
            sequence,
            i,
            ppid if i == 0 else 0,
            piece,
        )
        for i, piece in enumerate(pieces)
    ]


def parts(size: int, *, tag: str = "") -> list[bytes]:
    """Pieces that tell their place."""
    return [f"<{tag}{i}>".encode() for i in range(size)]


def whole(
    stream: int = 0,
    sequence: int = 0,
    payload: bytes = b"x",
    *,
    unordered: bool = False,
    charge: int = 100,
    ppid: int = 51,
) -> Whole:
    """A complete message on its way into the inbox."""
    return Whole(stream, unordered, sequence, ppid, payload, charge)


def make_receiver(
    *,
    first_tsn: int = 1,
    streams: int = 100,
    interleaved: bool = False,
    rwnd: int = 100_000,
    mtu: int = 1200,
    max_message_size: int = 10_000,
    sack_frequency: int = 2,
) -> Receiver:
    """A receiving half of its own."""
    config = Config(
        rwnd=rwnd, mtu=mtu, max_message_size=max_message_size, sack_frequency=sack_frequency
    )
    return Receiver(
        config,
        peer_initial_tsn=first_tsn,
        stream_count=streams,
        interleaved=interleaved,
        inbox=Inbox(),
    )
