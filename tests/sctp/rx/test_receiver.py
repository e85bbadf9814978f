"""The receiving half: what becomes of chunks, what is advertised, and what a SACK says."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.errors import RemoteProtocolError
from rtcsctp.sctp.events import Message
from rtcsctp.sctp.rx.reassembly import FRAGMENT_OVERHEAD
from rtcsctp.sctp.rx.receiver import Arrival, Receiver
from rtcsctp.sctp.wire.chunks import (
    BEGIN,
    IMMEDIATE,
    UNORDERED,
    Data,
    ForwardTsn,
    Sack,
    decode_sack_untrusted,
)

from .builders import WHOLE, cut, data, make_receiver, parts

MASK32 = 0xFFFF_FFFF


def on_the_wire(chunks: list[Data], *, sequence_bits: int = 16) -> list[Data]:
    """The chunks with their numbers wrapped, as they are decoded."""
    for chunk in chunks:
        chunk.tsn &= MASK32
        chunk.sequence &= (1 << sequence_bits) - 1
    return chunks


def sack_of(receiver: Receiver, room: int = 1188) -> Sack:
    chunk = receiver.make_sack(room)
    assert len(chunk) <= room
    assert len(chunk) % 4 == 0
    return decode_sack_untrusted(chunk, 4, len(chunk))


def feed(receiver: Receiver, *chunks: Data) -> None:
    for chunk in chunks:
        assert receiver.handle_data(chunk) is Arrival.ACCEPTED


def payloads(messages: list[Message]) -> list[bytes]:
    return [message.data for message in messages]


def after_first_data() -> Receiver:
    """A receiver that has acknowledged TSN 1, on a stream of its own."""
    receiver = make_receiver()
    feed(receiver, data(1, stream=99))
    receiver.receive(99, 1)
    sack_of(receiver)
    return receiver


# ----------------------------------------------------------------------------------- arrivals


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("first", [0, 1, 2**31 - 2, 2**32 - 3])
def test_tsns_go_on_over_every_wrap(first: int, interleaved: bool) -> None:
    """Pitfall S1."""
    receiver = make_receiver(first_tsn=first, interleaved=interleaved)
    order = [0, 4, 2, 3, 1, 5, 6]
    chunks = [data(first + i, bytes([i]), stream=i) for i in range(7)]
    feed(receiver, *on_the_wire([chunks[i] for i in order]))
    assert sack_of(receiver).cumulative_tsn == (first + 6) & MASK32
    assert [payloads(receiver.receive(i, 1)) for i in range(7)] == [[bytes([i])] for i in range(7)]


def near_wrap(receiver: Receiver, bits: int) -> int:
    """Let the peer give up all ordered messages of stream 0 until three before the wrap."""
    skipped, target = -1, (1 << bits) - 4
    tsn = receiver.tsns.cumulative
    while skipped < target:
        skipped = min(skipped + (1 << bits - 1) - 1, target)
        tsn += 1
        receiver.handle_forward_tsn(ForwardTsn(tsn, ((0, False, skipped),)))
    return tsn


@pytest.mark.parametrize(("interleaved", "bits"), [(False, 16), (True, 32)])
def test_ordered_messages_stay_in_order_over_the_wrap_of_their_number(
    interleaved: bool, bits: int
) -> None:
    """Pitfall S1: SSN and MID."""
    for order in itertools.permutations(range(5)):
        receiver = make_receiver(interleaved=interleaved)
        tsn = near_wrap(receiver, bits) + 1
        chunks = [data(tsn + i, bytes([i]), sequence=(1 << bits) - 3 + i) for i in range(5)]
        feed(receiver, *on_the_wire([chunks[i] for i in order], sequence_bits=bits))
        assert payloads(receiver.receive(0, 9)) == [bytes([i]) for i in range(5)]


def test_duplicate_is_reported_at_once() -> None:
    """Pitfall S15: at once; RFC 9260 6.2: "SHOULD be reported in the SACK chunk as duplicate"."""
    receiver = after_first_data()
    assert receiver.handle_data(data(1)) is Arrival.DUPLICATE
    assert receiver.policy.now
    assert sack_of(receiver).duplicates == 1
    assert not receiver.policy.owed
    feed(receiver, data(3))
    sack_of(receiver)
    assert receiver.handle_data(data(3)) is Arrival.DUPLICATE
    assert receiver.policy.now
    assert sack_of(receiver).duplicates == 1
    assert sack_of(receiver).duplicates == 0


def test_gap_is_reported_at_once_until_it_is_filled() -> None:
    """Pitfall S15: also the chunk that fills it, and every one between."""
    receiver = after_first_data()
    for tsn, blocks in (
        (3, [(2, 2)]),
        (4, [(2, 3)]),
        (6, [(2, 3), (5, 5)]),
        (2, [(2, 2)]),
        (5, []),
    ):
        feed(receiver, data(tsn, stream=tsn))
        assert receiver.policy.now
        assert list(sack_of(receiver).blocks) == blocks
    feed(receiver, data(7, stream=7))
    assert not receiver.policy.now


def test_i_bit_asks_for_a_sack_at_once() -> None:
    """Pitfall S16."""
    receiver = after_first_data()
    feed(receiver, data(2))
    assert not receiver.policy.now
    feed(receiver, data(3, sequence=1, flags=WHOLE | IMMEDIATE))
    assert receiver.policy.now


def test_tsn_beyond_the_reach_of_a_gap_block_is_ignored() -> None:
    """Pitfall S18: memory does not depend on what a peer invents."""
    receiver = after_first_data()
    cumulative = receiver.tsns.cumulative
    for far in (65_536, 65_537, 1 << 20, (1 << 31) - 1):
        assert receiver.handle_data(data(cumulative + far)) is Arrival.TOO_FAR
    assert receiver.held == 0
    assert not receiver.tsns.has_gap
    assert receiver.handle_data(data(cumulative + 65_535)) is Arrival.ACCEPTED
    assert list(sack_of(receiver).blocks) == [(65_535, 65_535)]


def test_data_without_user_data_is_named_and_not_acknowledged() -> None:
    """Pitfall S22; RFC 9260 6.2: the association ends with its TSN as the reason."""
    for interleaved in (False, True):
        receiver = make_receiver(interleaved=interleaved)
        assert receiver.handle_data(data(1, b"")) is Arrival.NO_USER_DATA
        assert receiver.handle_data(data(2, b"")) is Arrival.NO_USER_DATA
        assert receiver.tsns.highest == 0


def test_invalid_stream_counts_its_tsn_and_holds_nothing() -> None:
    """Pitfall S22; RFC 9260 6.5: the chunk is acknowledged and discarded."""
    receiver = make_receiver(streams=3)
    assert receiver.handle_data(data(1, stream=3)) is Arrival.INVALID_STREAM
    assert receiver.handle_data(data(3, stream=65_535)) is Arrival.INVALID_STREAM
    assert receiver.handle_data(data(2, stream=2)) is Arrival.ACCEPTED
    assert receiver.tsns.cumulative == 3
    receiver.receive(2, 1)
    assert receiver.held == 0


def test_stale_ordered_message_is_dropped_and_acknowledged() -> None:
    """Pitfall S22: dropped, not queued until the numbers come round again."""
    receiver = make_receiver()
    feed(receiver, *(data(1 + i, bytes([i]), sequence=i) for i in range(3)))
    feed(receiver, data(4, b"stale", sequence=1), data(5, b"part", sequence=0, flags=BEGIN))
    assert receiver.tsns.cumulative == 5
    assert payloads(receiver.receive(0, 9)) == [b"\0", b"\1", b"\2"]
    assert receiver.held == 0


@pytest.mark.parametrize("interleaved", [False, True])
def test_message_above_the_limit_is_refused_in_one_chunk_and_in_many(interleaved: bool) -> None:
    for chunks in (cut(1, [b"x" * 101]), cut(1, [b"x" * 60] * 2)):
        receiver = make_receiver(interleaved=interleaved, max_message_size=100)
        with pytest.raises(RemoteProtocolError):
            feed(receiver, *chunks)
    feed(make_receiver(interleaved=interleaved, max_message_size=100), *cut(1, [b"x" * 50] * 2))


def test_i_data_fragment_under_a_second_tsn_is_counted_once() -> None:
    """Pitfall S35."""
    receiver = make_receiver(interleaved=True)
    first, last = cut(1, [b"ab", b"cd"])
    again = data(2, b"AB", flags=BEGIN)
    last.tsn = 3
    feed(receiver, first)
    held = receiver.held
    feed(receiver, again)
    assert receiver.held == held
    feed(receiver, last)
    assert payloads(receiver.receive(0, 1)) == [b"abcd"]
    assert receiver.held == 0


def test_unordered_mids_may_lie_arbitrarily_far_apart() -> None:
    """Pitfall S35: fragments of one message meet, whatever other MIDs came between them."""
    receiver = make_receiver(interleaved=True)
    begin, end = cut(1, [b"ab", b"cd"], unordered=True, sequence=5)
    far = [0x6000_0000, 0xC000_0000, 0xFFFF_FFFF, 0x8000_0005]
    feed(receiver, begin)
    for tsn, mid in enumerate(far, 2):
        feed(receiver, data(tsn, b"far", sequence=mid, flags=WHOLE | UNORDERED))
    end.tsn = 2 + len(far)
    feed(receiver, end)
    assert payloads(receiver.receive(0, 9)) == [b"far"] * len(far) + [b"abcd"]
    assert receiver.held == 0


# ------------------------------------------------------------------------------------- window


def test_everything_that_is_held_closes_the_window() -> None:
    """Pitfall S23: what is incomplete, what waits for its turn, what is unread, and deferred."""
    receiver = make_receiver(rwnd=100_000)
    assert receiver.window == 100_000
    held = 0
    for chunk in (
        data(1, b"x" * 1000),  # unread
        data(2, b"x" * 1000, stream=1, sequence=1),  # waits for SSN 0
        data(3, b"x" * 1000, stream=2, flags=BEGIN),  # incomplete
    ):
        feed(receiver, chunk)
        held += 1000 + FRAGMENT_OVERHEAD
        assert receiver.held == held
        assert receiver.window == 100_000 - held
        assert sack_of(receiver).a_rwnd == 100_000 - held
    assert not receiver.reset_streams(5, frozenset({4}))
    feed(receiver, data(6, b"x" * 1000, stream=4))  # deferred: sent after the reset
    held += 1000 + FRAGMENT_OVERHEAD
    assert receiver.window == 100_000 - held


def test_window_opens_only_when_the_user_takes_messages() -> None:
    receiver = make_receiver(rwnd=10_000)
    feed(receiver, *(data(1 + i, b"x" * 936, sequence=i) for i in range(5)))
    assert receiver.window == 5000
    receiver.receive(0, 2)
    assert receiver.window == 7000
    receiver.receive(0, 9)
    assert receiver.window == 10_000


def test_tiny_chunks_cannot_hold_more_memory_than_the_window() -> None:
    """Each chunk is charged with what it costs to keep."""
    receiver = make_receiver(rwnd=65_000)
    for i in range(2000):
        if receiver.handle_data(data(1 + i, sequence=i)) is not Arrival.ACCEPTED:
            break
    # An eighth more than the window is taken, as the peer counts his bytes only.
    assert receiver.inbox.unread == math.ceil(65_000 * 9 / 8 / (1 + FRAGMENT_OVERHEAD))


def test_window_smaller_than_a_packet_is_advertised_as_closed() -> None:
    """Pitfall S19: no silly window (RFC 1122 4.2.3.3)."""
    receiver = make_receiver(rwnd=10_000, mtu=1200)
    feed(receiver, data(1, b"x" * (10_000 - 1200 - FRAGMENT_OVERHEAD)))
    assert sack_of(receiver).a_rwnd == 1200
    feed(receiver, data(2, stream=1))
    assert sack_of(receiver).a_rwnd == 0


def test_small_buffer_does_not_close_for_ever() -> None:
    """Half the buffer is enough to open, where a packet is more than that."""
    receiver = make_receiver(rwnd=1500, mtu=1200)
    feed(receiver, data(1, b"x" * (750 - FRAGMENT_OVERHEAD)))
    assert sack_of(receiver).a_rwnd == 750


def full() -> Receiver:
    """A receiver whose window is closed by unread messages of stream 0, up to TSN 10."""
    receiver = make_receiver(rwnd=8_800)
    feed(receiver, *(data(1 + i, b"x" * 936, sequence=i) for i in range(10)))
    assert receiver.window == 0
    sack_of(receiver)
    return receiver


def test_full_receiver_refuses_what_is_new_and_says_so_at_once() -> None:
    """Pitfall S19; RFC 9260 6.2: dropped, not in the SACK, which goes out at once."""
    receiver = full()
    assert receiver.handle_data(data(11, sequence=10)) is Arrival.NO_ROOM
    assert receiver.policy.now  # this answers a window probe
    sack = sack_of(receiver)
    assert (sack.cumulative_tsn, sack.a_rwnd, list(sack.blocks)) == (10, 0, [])
    assert receiver.handle_data(data(13, sequence=12)) is Arrival.NO_ROOM
    assert list(sack_of(receiver).blocks) == []
    receiver.receive(0, 9)
    assert receiver.handle_data(data(11, sequence=10)) is Arrival.ACCEPTED


def test_full_receiver_takes_the_chunk_that_fills_a_gap() -> None:
    """Pitfall S19: only TSN 1 can make what is held readable."""
    receiver = make_receiver(rwnd=10_000)
    feed(receiver, *(data(2 + i, b"x" * 936, sequence=1 + i) for i in range(10)))
    assert receiver.window == 0
    assert receiver.inbox.unread == 0
    feed(receiver, data(1, b"x" * 936))
    assert receiver.inbox.unread == 11


def test_full_receiver_takes_the_next_chunk_if_nothing_is_readable() -> None:
    """Pitfall S19: an incomplete message fills the window, and only its rest can empty it."""
    receiver = make_receiver(rwnd=5000, max_message_size=6000)
    chunks = cut(1, [b"x" * 936] * 6)
    feed(receiver, *chunks)
    assert len(receiver.receive(0, 1)[0].data) == 6 * 936
    assert receiver.window == 5000


def test_full_receiver_refuses_the_next_chunk_while_something_is_readable() -> None:
    """The user can make room himself, by reading."""
    receiver = make_receiver(rwnd=5000, max_message_size=6000)
    feed(receiver, data(1, b"x" * 936, stream=1))
    chunks = cut(2, [b"x" * 936] * 6)
    feed(receiver, *chunks[:5])
    assert receiver.handle_data(chunks[5]) is Arrival.NO_ROOM
    receiver.receive(1, 1)
    feed(receiver, *chunks[5:])


def test_incomplete_messages_end_at_a_hard_limit() -> None:
    """Pitfall S18: "nothing is readable" is no way to make us hold without end."""
    receiver = make_receiver(rwnd=10_000, max_message_size=10_000, streams=1000)
    limit = 10_000 + 2 * 10_000
    for i in range(1000):
        arrival = receiver.handle_data(data(1 + i, b"x" * 936, stream=i, flags=BEGIN))
        if arrival is not Arrival.ACCEPTED:
            break
    assert arrival is Arrival.OUT_OF_RESOURCE
    assert receiver.held <= limit + 1000
    # The same with something to read: the peer has to wait, that is all.
    receiver = make_receiver(rwnd=10_000, max_message_size=10_000, streams=1000)
    feed(receiver, data(100, flags=WHOLE | UNORDERED))
    for i in range(99, 1, -1):
        arrival = receiver.handle_data(data(i, b"x" * 936, stream=i, flags=BEGIN))
        assert arrival in (Arrival.ACCEPTED, Arrival.NO_ROOM)
    assert arrival is Arrival.NO_ROOM


def test_peer_is_told_when_the_window_opens_by_a_quarter() -> None:
    """Pitfall S19; RFC 9260 6.2: "by at least a quarter of the receive buffer size"."""
    receiver = make_receiver(rwnd=100_000)
    feed(receiver, *(data(1 + i, b"x" * 936, sequence=i) for i in range(60)))
    sack_of(receiver)
    for _ in range(24):
        receiver.receive(0, 1)
        assert not receiver.policy.now
    receiver.receive(0, 1)
    assert receiver.policy.now
    assert sack_of(receiver).a_rwnd == 100_000 - 35_000
    receiver.receive(0, 1)
    assert not receiver.policy.now  # counted anew from what was said last


def test_peer_that_may_be_stopped_is_told_as_soon_as_two_packets_fit() -> None:
    """Pitfall S19: with a large buffer, a quarter of it would be a long wait."""
    receiver = make_receiver(rwnd=100_000, mtu=1200)
    feed(receiver, *(data(1 + i, b"x" * 936, sequence=i) for i in range(100)))
    assert sack_of(receiver).a_rwnd == 0
    receiver.receive(0, 2)
    assert not receiver.policy.now
    receiver.receive(0, 1)
    assert receiver.policy.now


@given(
    rwnd=st.integers(1500, 20_000),
    mtu=st.integers(512, 1500),
    sizes=st.lists(st.integers(1, 1400), min_size=1, max_size=60),
)
def test_no_window_stays_closed_when_everything_was_read(
    rwnd: int, mtu: int, sizes: list[int]
) -> None:
    """Pitfall S19: whatever the sizes, a peer that was told 0 hears of it when we have read."""
    receiver = make_receiver(rwnd=rwnd, mtu=mtu)
    for i, size in enumerate(sizes):
        if receiver.handle_data(data(1 + i, b"x" * size, sequence=i)) is not Arrival.ACCEPTED:
            break
    told = sack_of(receiver).a_rwnd
    while receiver.receive(0, 1):
        pass
    assert receiver.window == rwnd
    assert told > 0 or receiver.policy.now


# --------------------------------------------------------------------------------------- SACK


@pytest.mark.parametrize("room", [16, 19, 20, 24, 100, 1188])
def test_sack_fits_the_room_however_much_there_is_to_report(room: int) -> None:
    """Pitfall S17."""
    receiver = make_receiver(rwnd=1 << 20)
    for tsn in range(2, 2000, 2):
        receiver.handle_data(data(tsn, sequence=tsn))
    for _ in range(100):
        receiver.handle_data(data(2))
    sack = sack_of(receiver, room)
    assert len(sack.blocks) == min(999, (room - 16) // 4)
    assert list(sack.blocks) == [(tsn, tsn) for tsn in range(2, 2000, 2)][: len(sack.blocks)]


def test_room_behind_the_blocks_goes_to_duplicates() -> None:
    """Pitfall S17."""
    receiver = after_first_data()
    for tsn in (3, 3, 1, 5, 5):
        receiver.handle_data(data(tsn, stream=tsn))
    sack = sack_of(receiver, 16 + 4 * 4)
    assert list(sack.blocks) == [(2, 2), (4, 4)]
    assert sack.duplicates == 2


# -------------------------------------------------------------------------------- FORWARD-TSN


def forward(receiver: Receiver, tsn: int, *skipped: tuple[int, bool, int]) -> Arrival:
    return receiver.handle_forward_tsn(ForwardTsn(tsn & MASK32, skipped))


@pytest.mark.parametrize("interleaved", [False, True])
def test_forward_tsn_lets_later_messages_through(interleaved: bool) -> None:
    """Pitfall S34."""
    receiver = make_receiver(interleaved=interleaved)
    lost = cut(1, parts(3, tag="a"))
    feed(receiver, lost[0], lost[2], data(4, b"next", sequence=1))
    assert receiver.inbox.unread == 0
    assert forward(receiver, 3, (0, False, 0)) is Arrival.ACCEPTED
    assert receiver.policy.now
    assert receiver.tsns.cumulative == 4
    assert payloads(receiver.receive(0, 9)) == [b"next"]
    assert receiver.held == 0


def test_duplicate_forward_tsn_is_answered_at_once() -> None:
    """Pitfall S32: the SACK before was lost."""
    receiver = after_first_data()
    for _ in range(2):
        assert forward(receiver, 1, (0, False, 9)) is Arrival.DUPLICATE
        assert receiver.policy.now
        assert sack_of(receiver).cumulative_tsn == 1
    assert forward(receiver, 0) is Arrival.DUPLICATE
    feed(receiver, data(2, b"SSN 0 was not skipped"))
    assert receiver.inbox.unread == 1


def test_forward_tsn_may_run_over_blocks_that_arrived() -> None:
    """Pitfall S33."""
    receiver = after_first_data()
    for tsn in (3, 4, 7, 9, 10, 12):
        feed(receiver, data(tsn, stream=tsn))
    assert forward(receiver, 8) is Arrival.ACCEPTED
    assert receiver.tsns.cumulative == 10
    assert list(sack_of(receiver).blocks) == [(2, 2)]


def test_far_forward_tsn_is_refused_or_quick() -> None:
    """Pitfall S33: bounded time for what is in the window, nothing for what is beyond."""
    rwnd = 1 << 24
    receiver = make_receiver(rwnd=rwnd)
    for far in (rwnd + 1, 1 << 30, (1 << 31) - 1):
        assert forward(receiver, far, (0, False, 7)) is Arrival.TOO_FAR
    assert receiver.tsns.cumulative == 0
    assert not receiver.policy.owed
    for step in range(1, 100):
        assert forward(receiver, step * rwnd) is Arrival.ACCEPTED
    assert receiver.tsns.cumulative == 99 * rwnd


def test_forward_tsn_that_names_one_stream_many_times_costs_one_look() -> None:
    """Pitfall S33: a packet of 16,000 entries over 30,000 waiting messages."""
    receiver = make_receiver(rwnd=1 << 24)
    for i in range(30_000):
        receiver.handle_data(data(2 + i, sequence=2000 + i))
    entries = tuple((0, False, i % 1999) for i in range(16_000))
    assert forward(receiver, 1, *entries) is Arrival.ACCEPTED
    assert receiver.inbox.stream(0).next_sequence == 1999


def test_forward_tsn_of_a_stream_that_does_not_exist_is_ignored() -> None:
    receiver = make_receiver(streams=2)
    assert (
        forward(receiver, 1, (2, False, 5), (65_535, False, 5), (1, False, 5)) is Arrival.ACCEPTED
    )
    assert receiver.inbox.stream(1).next_sequence == 6
    assert set(receiver.inbox.unread_of(None)) == {1}


def test_old_number_in_a_forward_tsn_takes_nothing_back() -> None:
    """Pitfall S1: RFC 1982 order, here over the wrap of the SSN."""
    receiver = make_receiver()
    tsn = near_wrap(receiver, 16) + 1
    feed(receiver, *on_the_wire([data(tsn + i, sequence=65_533 + i) for i in range(5)]))
    assert forward(receiver, tsn + 5, (0, False, 65_530)) is Arrival.ACCEPTED
    feed(receiver, data(tsn + 6, b"goes on", sequence=2))
    assert payloads(receiver.receive(0, 9))[-1] == b"goes on"


@pytest.mark.parametrize("mids", [(4, 5), (2**32 - 1, 0)])
def test_i_forward_tsn_drops_unordered_fragments(mids: tuple[int, int]) -> None:
    """RFC 8260 2.3.1; pitfall S1."""
    receiver = make_receiver(interleaved=True)
    for i, mid in enumerate(mids):
        feed(receiver, *cut(1 + 3 * i, parts(3), sequence=mid, unordered=True)[:2])
    feed(receiver, *cut(7, parts(3), sequence=6, unordered=True)[:2])
    each = receiver.held // 3
    assert forward(receiver, 6, (0, True, mids[0]), (0, True, mids[1])) is Arrival.ACCEPTED
    assert receiver.held == each
    feed(receiver, *cut(7, parts(3), sequence=6, unordered=True)[2:])
    assert payloads(receiver.receive(0, 1)) == [b"<0><1><2>"]
    assert receiver.held == 0


def test_skipped_tsn_that_arrives_late_is_a_duplicate() -> None:
    """RFC 3758 3.6, last paragraph."""
    receiver = after_first_data()
    forward(receiver, 3, (0, False, 0))
    assert receiver.handle_data(data(2)) is Arrival.DUPLICATE
    assert receiver.held == 0


# ------------------------------------------------------------------------------- stream reset


def test_reset_whose_tsns_have_all_arrived_is_done_at_once() -> None:
    receiver = make_receiver()
    feed(receiver, data(1, b"old"))
    assert receiver.reset_streams(1, frozenset({0}))
    feed(receiver, data(2, b"new"))
    assert payloads(receiver.receive(0, 9)) == [b"old", b"new"]


def test_reset_waits_for_its_tsns_and_holds_later_data_of_its_streams_only() -> None:
    """Pitfall S41."""
    receiver = make_receiver()
    late, new, other = data(1, b"old"), data(3, b"new"), data(4, b"other", stream=1)
    assert not receiver.reset_streams(2, frozenset({0}))
    feed(receiver, new, other)
    assert receiver.inbox.newly_readable() == [1]
    assert receiver.held == len(b"newother") + 2 * FRAGMENT_OVERHEAD
    assert not receiver.finish_deferred_reset()
    feed(receiver, late, data(2, stream=2))
    assert receiver.finish_deferred_reset()
    assert payloads(receiver.receive(0, 9)) == [b"old", b"new"]
    assert not receiver.finish_deferred_reset()
    receiver.receive(1, 9)
    receiver.receive(2, 9)
    assert receiver.held == 0


def test_reset_holds_back_forward_tsn_for_its_streams() -> None:
    """Pitfall S41: the SSN that is skipped is one of after the reset."""
    receiver = make_receiver()
    feed(receiver, data(2, b"o2", sequence=1))
    assert not receiver.reset_streams(2, frozenset({0}))
    feed(receiver, data(4, b"n1", sequence=1))
    assert forward(receiver, 3, (0, False, 0), (1, False, 3)) is Arrival.ACCEPTED
    assert receiver.inbox.stream(1).next_sequence == 4
    assert receiver.finish_deferred_reset()
    assert payloads(receiver.receive(0, 9)) == [b"o2", b"n1"]
    assert receiver.held == 0


@pytest.mark.parametrize("interleaved", [False, True])
def test_reset_of_all_streams_waits_with_all(interleaved: bool) -> None:
    """Pitfall S46."""
    receiver = make_receiver(interleaved=interleaved)
    feed(receiver, data(2, b"old", stream=1))
    assert not receiver.reset_streams(2, None)
    feed(receiver, data(3, b"new", stream=1), data(4, b"new", stream=2))
    assert receiver.inbox.unread == 1
    feed(receiver, data(1, stream=3))
    assert receiver.finish_deferred_reset()
    assert payloads(receiver.receive(1, 9)) == [b"old", b"new"]
    assert payloads(receiver.receive(2, 9)) == [b"new"]


def test_reset_drops_fragments_that_will_never_be_completed() -> None:
    receiver = make_receiver()
    feed(receiver, data(1, flags=BEGIN), data(2, stream=1, flags=BEGIN))
    assert receiver.reset_streams(2, frozenset({0}))
    assert receiver.held == 1 + FRAGMENT_OVERHEAD


def test_unread_messages_of_before_the_reset_are_counted() -> None:
    receiver = make_receiver()
    feed(receiver, data(1), data(2, sequence=1), data(3, stream=1))
    receiver.receive(0, 1)
    assert receiver.reset_streams(3, frozenset({0, 1, 5}))
    assert receiver.unread_at_reset == {0: 1, 1: 1}


def test_association_reset_begins_at_the_tsn_agreed_on() -> None:
    """RFC 6525 5.2.4."""
    receiver = make_receiver()
    feed(receiver, data(1, b"old"), data(2, sequence=1, flags=BEGIN), data(4, stream=1))
    receiver.reset_association(2**31 + 5)
    assert receiver.tsns.cumulative == 2**31 + 4
    assert not receiver.tsns.has_gap
    feed(receiver, data(2**31 + 5, b"new"))
    assert payloads(receiver.receive(0, 9)) == [b"old", b"new"]


# --------------------------------------------------------------------------------- everything

messages = st.lists(
    st.tuples(
        st.integers(0, 2),  # stream
        st.booleans(),  # unordered
        st.integers(1, 4),  # fragments
        st.booleans(),  # given up
    ),
    max_size=15,
)


@pytest.mark.parametrize("interleaved", [False, True])
@given(messages=messages, chance=st.randoms(use_true_random=False))
def test_any_order_of_arrival_gives_every_message_once_and_in_order(
    interleaved: bool, messages: list[tuple[int, bool, int, bool]], chance: random.Random
) -> None:
    """Pitfalls S21 and S34: shuffled, repeated, partly given up; TSN and SSN or MID wrap."""
    bits = 32 if interleaved else 16
    receiver = make_receiver(first_tsn=2**32 - 12, interleaved=interleaved, rwnd=1 << 20)
    tsn = near_wrap(receiver, bits) + 1
    following = {(s, u): 0 for s in range(3) for u in (False, True)}
    following[0, False] = (1 << bits) - 3
    wire: list[Data] = []
    gone: list[tuple[int, bool, int]] = []
    expected: dict[tuple[int, bool], list[bytes]] = {key: [] for key in following}
    for stream, unordered, count, given_up in messages:
        sequence = following[stream, unordered]
        following[stream, unordered] += 1
        chunks = cut(
            tsn,
            parts(count, tag=f"{tsn}:"),
            stream=stream,
            sequence=sequence,
            unordered=unordered,
        )
        tsn += count
        if given_up:
            del chunks[chance.randrange(count)]
            if interleaved or not unordered:
                gone.append((stream, unordered, sequence & (1 << bits) - 1))
        else:
            expected[stream, unordered].append(b"".join(chunk.payload for chunk in chunks))
        wire += chunks
    chance.shuffle(wire)
    for chunk in on_the_wire(wire, sequence_bits=bits):
        again = data(
            chunk.tsn,
            chunk.payload,
            stream=chunk.stream_id,
            sequence=chunk.sequence,
            fsn=chunk.fsn,
            flags=chunk.flags,
        )
        assert receiver.handle_data(chunk) is Arrival.ACCEPTED
        if chance.random() < 0.2:
            assert receiver.handle_data(again) is Arrival.DUPLICATE
    forward(receiver, tsn - 1, *gone)
    assert sack_of(receiver).cumulative_tsn == (tsn - 1) & MASK32
    for stream in range(3):
        taken = receiver.receive(stream, 100)
        ordered = [message.data for message in taken if not message.unordered]
        assert ordered == expected[stream, False]
        unordered_ones = [message.data for message in taken if message.unordered]
        assert sorted(unordered_ones) == sorted(expected[stream, True])
    assert receiver.held == 0


@pytest.mark.parametrize("interleaved", [False, True])
@given(
    chunks=st.lists(
        st.tuples(
            st.integers(-3, 12),
            st.integers(0, 3),
            st.integers(0, 5),
            st.integers(0, 15),
            st.integers(0, 3),
            st.integers(0, 400),
        ),
        max_size=60,
    ),
    forwards=st.lists(st.tuples(st.integers(0, 59), st.integers(-2, 9), st.integers(0, 5))),
)
def test_whatever_a_peer_sends_the_books_stay_right(
    interleaved: bool,
    chunks: list[tuple[int, int, int, int, int, int]],
    forwards: list[tuple[int, int, int]],
) -> None:
    """Pitfalls S18 and S23: held is never negative, never above the hard limit."""
    receiver = make_receiver(interleaved=interleaved, rwnd=1500, max_message_size=1000, streams=3)
    for i, (ahead, stream, sequence, flags, fsn, size) in enumerate(chunks):
        for _, step, skipped in (f for f in forwards if f[0] == i):
            forward(receiver, receiver.tsns.cumulative + step, (stream, False, skipped))
        tsn = receiver.tsns.cumulative + ahead
        fragment = 0 if flags & BEGIN else fsn
        chunk = data(tsn, b"x" * size, stream=stream, sequence=sequence, flags=flags, fsn=fragment)
        try:
            arrival = receiver.handle_data(on_the_wire([chunk])[0])
        except RemoteProtocolError:
            return
        assert 0 <= receiver.held <= 1500 + 2 * 1000 + 400 + FRAGMENT_OVERHEAD
        assert receiver.window == 0 or 750 <= receiver.window <= 1500
        if arrival in (Arrival.ACCEPTED, Arrival.INVALID_STREAM):
            assert tsn in receiver.tsns
        sack_of(receiver)
    for stream in range(3):
        receiver.receive(stream, 100)
    receiver.reset_streams(receiver.tsns.cumulative, None)
    for stream in range(3):
        receiver.receive(stream, 100)
    last = receiver.tsns.highest
    if last > receiver.tsns.cumulative:
        forward(receiver, last)
    receiver.reset_streams(last, None)
    for stream in range(3):
        receiver.receive(stream, 100)
    assert receiver.held == 0
