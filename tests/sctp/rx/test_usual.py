"""The short way for usual data, against the careful one, which has to come to the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.errors import RemoteProtocolError
from rtcsctp.sctp.rx.receiver import Arrival, Receiver
from rtcsctp.sctp.rx.usual import take_usual_untrusted
from rtcsctp.sctp.statistics import Counters
from rtcsctp.sctp.wire import chunks
from rtcsctp.sctp.wire.chunks import BEGIN, END, IMMEDIATE, UNORDERED, ChunkType
from rtcsctp.sctp.wire.envelope import Envelope
from rtcsctp.sctp.wire.packet import split_untrusted
from rtcsctp.sctp.wire.serial import MASK16, MASK32

from .builders import WHOLE, make_receiver

ENVELOPE = Envelope(5000, 5001, 0x1234)
FIRST_TSN = 0xFFFF_FFF0  # wraps soon
PAD = chunks.encode(ChunkType.PAD, b"pad")


class Chunk:
    """What a DATA or I-DATA chunk says; TSN and sequence not yet wrapped."""

    def __init__(
        self,
        tsn: int,
        payload: bytes = b"x",
        *,
        flags: int = WHOLE,
        stream: int = 0,
        sequence: int = 0,
        fsn: int = 0,
    ) -> None:
        self.tsn = tsn
        self.payload = payload
        self.flags = flags
        self.stream = stream
        self.sequence = sequence
        self.fsn = fsn

    def encode(self, *, interleaved: bool) -> bytes:
        tsn = self.tsn & MASK32
        if interleaved:
            last = 51 if self.flags & BEGIN else self.fsn
            return chunks.encode_i_data(
                tsn, self.flags, self.stream, self.sequence & MASK32, last, self.payload
            )
        sequence = self.sequence & MASK16
        return chunks.encode_data(tsn, self.flags, self.stream, sequence, 51, self.payload)


def packet(*found: Chunk, interleaved: bool = False) -> bytes:
    return ENVELOPE.seal(b"".join(chunk.encode(interleaved=interleaved) for chunk in found))


def take(
    receiver: Receiver,
    batch: list[bytes],
    counters: Counters | None = None,
    *,
    index: int = 0,
    position: int = 0,
    accepts_zero: bool = False,
) -> tuple[int, int]:
    return take_usual_untrusted(
        receiver, batch, index, position, ENVELOPE, accepts_zero, counters or Counters()
    )


def carefully(receiver: Receiver, raw: bytes, start: int, end: int, flags: int) -> Arrival:
    decode = (
        chunks.decode_i_data_untrusted if receiver.interleaved else chunks.decode_data_untrusted
    )
    return receiver.handle_data(decode(raw, start, end, flags))


def feed_short(receiver: Receiver, batch: list[bytes], counters: Counters) -> int:
    """The short way as far as it goes, and one chunk carefully where it ends; how often it did."""
    index = position = stops = 0
    while index < len(batch):
        begun = index if position else -1
        index, position = take(receiver, batch, counters, index=index, position=position)
        if 0 <= begun < index:
            receiver.policy.packets_with_data(1)  # the caller has begun it, and so counts it
        if index == len(batch):
            break
        stops += 1
        raw = batch[index]
        found, _ = split_untrusted(raw)
        rest = [part for part in found if part[2] - 4 >= (position or 12)]
        kind, flags, start, end = rest[0]
        if kind in (ChunkType.DATA, ChunkType.I_DATA):
            carefully(receiver, raw, start, end, flags)
        position = (end + 3) & ~3
        if len(rest) == 1:
            receiver.policy.packets_with_data(1)
            index, position = index + 1, 0
    return stops


def feed_long(receiver: Receiver, batch: list[bytes]) -> None:
    for raw in batch:
        for kind, flags, start, end in split_untrusted(raw)[0]:
            if kind in (ChunkType.DATA, ChunkType.I_DATA):
                carefully(receiver, raw, start, end, flags)
        receiver.policy.packets_with_data(1)


def outcome(receiver: Receiver) -> list[object]:
    """Everything that can be seen of a receiving half."""
    tsns, inbox, policy = receiver.tsns, receiver.inbox, receiver.policy
    found: list[object] = [tsns.cumulative, tsns.highest, tsns.gap_blocks(100)]
    found += [receiver.held, receiver.reassembly.held, inbox.unread, inbox.messages]
    found += [receiver.window, policy.owed, policy.now, inbox.newly_readable()]
    found += [receiver.make_sack(1000)]
    for stream in range(4):
        found.append([(m.data, m.ppid, m.unordered, m.charge) for m in inbox.take(stream, 1000)])
        found.append(inbox.stream(stream).next_sequence)
    return found


@st.composite
def conversations(draw: st.DrawFn) -> list[list[Chunk]]:
    """Packets of chunks: mostly what comes next, and now and then something else."""
    tsn = FIRST_TSN
    sequences = [0, 0, 0, 0]
    packets: list[list[Chunk]] = []
    fsn, flags, stream = 0, WHOLE, 0
    for _ in range(draw(st.integers(1, 6))):
        content: list[Chunk] = []
        for _ in range(draw(st.integers(1, 6))):
            if flags & END:  # another message
                stream = draw(st.integers(0, 3))
                fsn, flags = 0, BEGIN | UNORDERED * draw(st.booleans())
            flags = flags & (UNORDERED | BEGIN) if not fsn else flags & UNORDERED
            flags |= END * draw(st.booleans()) | IMMEDIATE * draw(st.integers(0, 9)) // 9
            payload = bytes([tsn & 0xFF]) * draw(st.sampled_from((1, 2, 3, 4, 40)))
            sequence = sequences[stream]
            chunk = Chunk(tsn, payload, flags=flags, stream=stream, sequence=sequence, fsn=fsn)
            match draw(st.integers(0, 19)):
                case 0:
                    tsn += draw(st.integers(1, 3))  # lost
                    continue
                case 1:
                    chunk.tsn -= draw(st.integers(1, 4))  # comes late, or again
                    tsn -= 1
                case 2:
                    chunk.sequence += draw(st.sampled_from((-1, 1, 2)))
                case 3:
                    chunk.stream = 100  # does not exist
                case 4:
                    chunk.payload = bytes(200)
                case _:
                    pass
            content.append(chunk)
            tsn += 1
            fsn += 1
            if flags & END and not flags & UNORDERED:
                sequences[stream] += 1
        if content:
            packets.append(content)
    return packets


@given(packets=conversations(), interleaved=st.booleans(), with_pad=st.booleans())
def test_the_short_way_comes_to_the_same_as_the_careful_one(
    packets: list[list[Chunk]], interleaved: bool, with_pad: bool
) -> None:
    batch = [
        ENVELOPE.seal(
            b"".join(chunk.encode(interleaved=interleaved) for chunk in content)
            + PAD * (with_pad and not number % 3)
        )
        for number, content in enumerate(packets)
    ]
    results: list[object] = []
    for way in (feed_short, feed_long):
        receiver = make_receiver(
            first_tsn=FIRST_TSN, interleaved=interleaved, rwnd=1500, max_message_size=150
        )
        error = ""
        try:
            if way is feed_short:
                feed_short(receiver, batch, Counters())
            else:
                feed_long(receiver, batch)
        except RemoteProtocolError as problem:
            error = str(problem)  # the association ends, and only the reason counts
        results.append(error or outcome(receiver))
    assert results[0] == results[1]


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("behind_gap", [False, True])
@pytest.mark.parametrize("flags", [WHOLE, WHOLE | UNORDERED])
def test_usual_data_needs_no_careful_look(flags: int, behind_gap: bool, interleaved: bool) -> None:
    receiver = make_receiver(interleaved=interleaved)
    begin = 1
    if behind_gap:
        receiver.tsns.add(2)
        begin = 3
    batch = [
        packet(
            *(Chunk(begin + 5 * p + n, sequence=5 * p + n, flags=flags) for n in range(5)),
            interleaved=interleaved,
        )
        for p in range(4)
    ]
    counters = Counters()
    assert take(receiver, batch, counters) == (4, 0)
    assert (counters.chunks_received, counters.user_bytes_received) == (20, 20)
    assert receiver.inbox.unread == 20
    assert receiver.policy.now


@pytest.mark.parametrize("interleaved", [False, True])
def test_a_message_in_fragments_needs_no_careful_look(interleaved: bool) -> None:
    receiver = make_receiver(interleaved=interleaved)
    flags = [BEGIN] + [0] * 50 + [END]
    batch = [
        packet(Chunk(1 + n, bytes([n]), flags=f, fsn=n), interleaved=interleaved)
        for n, f in enumerate(flags)
    ]
    assert take(receiver, batch) == (52, 0)
    [message] = receiver.receive(0, 9)
    assert message.data == bytes(range(52))
    assert (message.ppid, receiver.held) == (51, 0)


def test_it_ends_before_what_is_not_usual_and_says_where() -> None:
    receiver = make_receiver()
    batch = [packet(Chunk(1)), packet(Chunk(2, sequence=1), Chunk(4, sequence=2))]
    counters = Counters()
    assert take(receiver, batch, counters) == (1, 12 + 20)
    assert counters.chunks_received == 2
    assert receiver.tsns.cumulative == 2


@pytest.mark.parametrize(
    "raw",
    [
        packet(Chunk(1))[:-1] + b"y",  # checksum
        packet(Chunk(1))[:8] + bytes(4) + packet(Chunk(1))[12:],  # zero, and not agreed
        Envelope(5000, 5001, 0x1235).seal(Chunk(1).encode(interleaved=False)),  # tag
        ENVELOPE.start,
        ENVELOPE.seal(b""),
        ENVELOPE.seal(PAD + Chunk(1).encode(interleaved=False)),  # begins with something else
    ],
)
def test_a_packet_whose_header_is_not_usual_is_left_alone(raw: bytes) -> None:
    receiver = make_receiver()
    assert take(receiver, [raw]) == (0, 0)
    assert receiver.tsns.cumulative == 0
    assert not receiver.policy.owed


def test_checksum_zero_is_taken_where_it_was_agreed_pitfall_s61() -> None:
    receiver = make_receiver()
    good = ENVELOPE.seal_unchecked(Chunk(1).encode(interleaved=False))
    wrong = packet(Chunk(2))[:8] + b"\0\0\0\1" + packet(Chunk(2))[12:]
    assert take(receiver, [good, wrong], accepts_zero=True) == (1, 0)


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 12, 15, 16, 17])
def test_a_chunk_that_is_cut_short_is_left_alone_pitfall_s54(cut: int) -> None:
    receiver = make_receiver()
    body = Chunk(1, bytes(4)).encode(interleaved=False)
    rest = Chunk(2, bytes(4)).encode(interleaved=False)[:-cut]
    index, position = take(receiver, [ENVELOPE.seal(body + rest)])
    assert receiver.tsns.cumulative == 1
    assert (index, position) == ((0, 32) if len(rest) >= 4 else (1, 0))


def test_padding_may_be_missing_at_the_end_pitfall_s54() -> None:
    receiver = make_receiver()
    body = Chunk(1, b"12345").encode(interleaved=False)
    assert take(receiver, [ENVELOPE.seal(body[:-3])]) == (1, 0)
    assert receiver.receive(0, 1)[0].data == b"12345"


def test_the_full_window_is_left_to_the_careful_way_pitfall_s19() -> None:
    receiver = make_receiver(rwnd=1500)
    batch = [packet(Chunk(1 + n, bytes(300), sequence=n)) for n in range(10)]
    index, _ = take(receiver, batch)
    assert index == 5
    assert 1500 <= receiver.held < 1500 + 364


def test_how_far_ahead_a_tsn_may_be_is_bounded_here_too_pitfall_s18() -> None:
    receiver = make_receiver()
    receiver.tsns.add(65_534)
    batch = [packet(Chunk(65_535 + n, flags=WHOLE | UNORDERED)) for n in range(3)]
    assert take(receiver, batch) == (1, 12)
    assert receiver.tsns.highest == 65_535


def test_what_contradicts_itself_is_refused_after_what_came_before_it_was_counted() -> None:
    receiver = make_receiver(max_message_size=100)
    batch = [
        packet(Chunk(1), Chunk(2, bytes(60), flags=BEGIN, sequence=1)),
        packet(Chunk(3, bytes(60), flags=0, sequence=1)),
    ]
    with pytest.raises(RemoteProtocolError, match="more than 100 bytes"):
        take(receiver, batch)
    assert receiver.tsns.cumulative == 2
    assert receiver.inbox.unread == 1
