"""What arrives: when it is acknowledged, and what the user gets (RFC 9260 sections 6.2 to 6.9).

In the ladders `a` is the association that is tested, and the peer is the script.
"""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from rtcsctp.sctp.config import Config
from rtcsctp.sctp.events import Closed, CloseReason, StreamReadable
from rtcsctp.sctp.statistics import Drop
from rtcsctp.sctp.timers import Timer
from rtcsctp.sctp.wire.causes import Cause
from rtcsctp.sctp.wire.chunks import BEGIN, END, IMMEDIATE, UNORDERED
from rtcsctp.testing import Conditions, Network, Pair

from .ladder import (
    PEER_TSN,
    WHOLE,
    FakePeer,
    Packet,
    data,
    established,
    i_data,
    interleaved,
)

MIDDLE = 0


def seasoned(config: Config | None = None, **options: Any) -> FakePeer:
    """A peer whose first DATA, which is acknowledged at once, is behind it; nothing is left."""
    peer = established(config, **options)
    peer.deliver(peer.data())
    peer.expect("SACK")
    peer.take_messages()
    peer.take_events()
    return peer


def acked(packet: Packet) -> int:
    return packet["SACK"].as_sack().cumulative_tsn


# ------------------------------------------------------------------------------ when to say so


def test_the_very_first_data_is_acknowledged_at_once_pitfall_s15() -> None:
    peer = established()
    peer.deliver(peer.data())  # a <- DATA
    assert acked(peer.expect("SACK")) == PEER_TSN  # a -> SACK
    peer.expect_silence()


@pytest.mark.parametrize("passive", [False, True])
def test_the_first_sack_does_not_depend_on_who_connected_pitfall_s13(passive: bool) -> None:
    peer = established(passive=passive)
    peer.deliver(peer.data())
    assert acked(peer.expect("SACK")) == PEER_TSN


def test_a_single_packet_is_acknowledged_after_200_ms_pitfall_s15() -> None:
    peer = seasoned()
    peer.deliver(peer.data(ssn=1))
    peer.expect_silence()
    assert peer.association.timers[Timer.SACK_DELAY] == pytest.approx(peer.now + 0.2)
    peer.wait(0.199)
    peer.expect_silence()
    peer.wait(0.002)
    assert acked(peer.expect("SACK")) == PEER_TSN + 1
    assert Timer.SACK_DELAY not in peer.association.timers


def test_the_delay_runs_from_the_first_unacknowledged_data_and_is_not_prolonged() -> None:
    peer = seasoned(Config(sack_frequency=10))
    peer.deliver(peer.data(ssn=1))
    peer.wait(0.15)
    peer.deliver(peer.data(ssn=2))
    peer.wait(0.06)
    assert acked(peer.expect("SACK")) == PEER_TSN + 2


def test_every_second_packet_is_acknowledged_at_once_pitfall_s15() -> None:
    peer = seasoned()
    for number in range(1, 7):
        peer.deliver(peer.data(ssn=number))
        if number % 2:
            peer.expect_silence()
        else:
            assert acked(peer.expect("SACK")) == PEER_TSN + number
    assert Timer.SACK_DELAY not in peer.association.timers


def test_packets_are_counted_and_not_chunks_pitfall_s15() -> None:
    peer = seasoned()
    peer.deliver(*(peer.data(ssn=n) for n in range(1, 6)))  # five chunks, one packet
    peer.expect_silence()
    peer.deliver(peer.data(ssn=6))
    assert acked(peer.expect("SACK")) == PEER_TSN + 6


def test_one_batch_gets_one_sack() -> None:
    """ "MUST NOT generate more than one SACK chunk for every incoming packet" (6.2)."""
    peer = seasoned()
    peer.deliver_raw(*(peer.packet(peer.data(ssn=n)) for n in range(1, 17)))
    assert acked(peer.expect("SACK")) == PEER_TSN + 16
    peer.expect_silence()


def test_the_i_bit_asks_for_a_sack_now_pitfall_s16() -> None:
    peer = seasoned()
    peer.deliver(peer.data(ssn=1, flags=WHOLE | IMMEDIATE))
    assert acked(peer.expect("SACK")) == PEER_TSN + 1


def test_the_i_bit_of_i_data_asks_for_a_sack_now_pitfall_s16() -> None:
    peer = interleaved()
    peer.deliver(peer.i_data())
    peer.expect("SACK")
    peer.deliver(peer.i_data(mid=1, flags=WHOLE | IMMEDIATE))
    assert acked(peer.expect("SACK")) == PEER_TSN + 1


def test_a_gap_is_reported_at_once_and_with_every_packet_until_it_is_filled_pitfall_s15() -> None:
    peer = seasoned()
    peer.tsn += 1  # PEER_TSN + 1 is late
    for number in range(2, 6):
        peer.deliver(peer.data(ssn=number))
        sack = peer.expect("SACK")["SACK"].as_sack()
        assert sack.cumulative_tsn == PEER_TSN
        assert list(sack.blocks) == [(2, number)]
    peer.deliver(data(PEER_TSN + 1, ssn=1))  # the one that filled it
    sack = peer.expect("SACK")["SACK"].as_sack()
    assert (sack.cumulative_tsn, list(sack.blocks)) == (PEER_TSN + 5, [])
    peer.deliver(peer.data(ssn=6))  # and then SACKs are delayed again
    peer.expect_silence()


def test_several_gaps_are_reported_from_the_lowest_on() -> None:
    peer = seasoned()
    for offset in (3, 4, 7, 9, 10):
        peer.deliver(data(PEER_TSN + offset, stream=1, ssn=offset))
    sack = peer.take()[-1]["SACK"].as_sack()
    assert list(sack.blocks) == [(3, 4), (7, 7), (9, 10)]


def test_a_duplicate_is_answered_at_once_and_reported_pitfall_s15() -> None:
    peer = seasoned()
    peer.deliver(data(PEER_TSN))
    chunk = peer.expect("SACK")["SACK"]
    assert chunk.as_sack().cumulative_tsn == PEER_TSN
    assert chunk.as_sack().duplicates == 1
    assert chunk.value[-4:] == PEER_TSN.to_bytes(4, "big")
    assert peer.take_messages() == []
    assert peer.association.statistics().duplicates_received == 1
    peer.deliver(peer.data(ssn=1))  # a duplicate is reported once
    peer.wait(0.3)
    assert peer.expect("SACK")["SACK"].as_sack().duplicates == 0


def test_a_duplicate_above_the_cumulative_tsn_is_reported_too() -> None:
    peer = seasoned()
    peer.deliver(data(PEER_TSN + 2, ssn=2))
    peer.take()
    peer.deliver(data(PEER_TSN + 2, ssn=2))
    sack = peer.expect("SACK")["SACK"].as_sack()
    assert (list(sack.blocks), sack.duplicates) == ([(2, 2)], 1)


def test_a_sack_fits_its_packet_whatever_the_gaps_pitfall_s17() -> None:
    peer = seasoned()
    packets = [peer.packet(data(PEER_TSN + n, stream=1, ssn=n)) for n in range(2, 3000, 2)]
    peer.deliver_raw(*packets)
    packet = peer.expect("SACK")
    sack = packet["SACK"].as_sack()
    # "MUST report as many Gap Ack Blocks as can fit", the lowest ones (6.2, 6.7)
    assert len(packet.raw) > peer.config.mtu - 4
    assert sack.blocks == [(n, n) for n in range(2, 2 + 2 * len(sack.blocks), 2)]
    peer.deliver_raw(*packets)  # and now there are as many duplicates
    packet = peer.expect("SACK")
    assert len(packet.raw) <= peer.config.mtu


def test_a_sack_travels_with_data_where_there_is_some() -> None:
    """ "the sender SHOULD create a SACK chunk and bundle it with the outbound DATA chunk" (6.1)."""
    peer = seasoned()
    peer.deliver(peer.data(ssn=1))
    peer.expect_silence()
    peer.association.send(0, b"answer", now=peer.now)
    packet = peer.expect("SACK DATA")
    assert acked(packet) == PEER_TSN + 1
    assert Timer.SACK_DELAY not in peer.association.timers


def test_a_message_that_leaves_no_room_for_the_sack_goes_all_the_same() -> None:
    peer = seasoned()
    peer.deliver(peer.data(ssn=1))
    peer.association.send(0, bytes(peer.config.mtu - 12 - 16), now=peer.now)
    peer.expect("DATA")  # a SACK would not have fitted
    peer.wait(0.3)
    assert acked(peer.take()[0]) == PEER_TSN + 1


# -------------------------------------------------------------------------- what is not taken


def test_a_tsn_far_ahead_is_dropped_and_costs_nothing_pitfall_s18() -> None:
    peer = seasoned()
    peer.deliver(data(PEER_TSN + 70_000, b"far"))
    peer.deliver(data(PEER_TSN + 0x7FFF_0000, b"farther"))
    peer.wait(1)
    for packet in peer.take():
        assert list(packet["SACK"].as_sack().blocks) == []
    assert peer.association.statistics().held == 0
    assert peer.association.statistics().drops[Drop.TSN_TOO_FAR] == 2


def test_the_farthest_tsn_that_a_gap_block_can_name_is_taken_pitfall_s17() -> None:
    peer = seasoned()
    peer.deliver(data(PEER_TSN + 65_535, b"far", stream=1, flags=WHOLE | UNORDERED))
    assert list(peer.expect("SACK")["SACK"].as_sack().blocks) == [(65_535, 65_535)]
    assert peer.take_messages(1) == [b"far"]


def test_data_without_user_data_is_answered_with_abort_pitfall_s22() -> None:
    peer = seasoned()
    peer.deliver(peer.data(b"", ssn=1))
    packet = peer.expect("ABORT")
    tsn = (PEER_TSN + 1).to_bytes(4, "big")
    assert packet["ABORT"].as_tlvs() == [(Cause.NO_USER_DATA, tsn)]
    assert peer.closed.reason is CloseReason.PROTOCOL_VIOLATION


def test_an_invalid_stream_is_reported_and_the_tsn_counts_pitfall_s22() -> None:
    peer = established(Config(inbound_streams=10))
    peer.deliver(peer.data(stream=10))
    packet = peer.expect("ERROR SACK")  # "MAY bundle the ERROR chunk and the SACK chunk" (6.5)
    assert packet["ERROR"].as_tlvs() == [(Cause.INVALID_STREAM_IDENTIFIER, b"\x00\x0a\x00\x00")]
    assert acked(packet) == PEER_TSN
    assert peer.take_messages(10) == []
    peer.deliver(peer.data(stream=9))
    assert peer.take_messages(9) == [b"x"]


def test_a_stale_ssn_is_dropped_and_not_queued_pitfall_s22() -> None:
    peer = seasoned()
    peer.deliver(peer.data(b"old", ssn=0))
    peer.deliver(peer.data(b"older", ssn=0xFFFF))
    peer.deliver(peer.data(b"next", ssn=1))
    assert peer.take_messages() == [b"next"]
    assert peer.association.statistics().held == 0


def test_a_stale_mid_is_dropped_and_not_queued_pitfall_s22() -> None:
    peer = interleaved()
    peer.deliver(peer.i_data(b"first", mid=0))
    peer.deliver(peer.i_data(b"again", mid=0))
    peer.deliver(peer.i_data(b"older", mid=0xFFFF_FFFF))
    peer.deliver(peer.i_data(b"second", mid=1))
    assert peer.take_messages() == [b"first", b"second"]
    assert peer.association.statistics().held == 0


def test_nothing_is_taken_behind_the_end_in_one_batch() -> None:
    peer = seasoned()
    good, bad = peer.packet(peer.data(b"good", ssn=1)), peer.packet(peer.data(b"", ssn=2))
    after = peer.packet(peer.data(b"after", ssn=3))
    peer.deliver_raw(good, bad, after)
    assert peer.take_messages() == [b"good"]
    assert isinstance(peer.take_events()[-1], Closed)


# ------------------------------------------------------------------------------ order, fragments


def test_messages_of_a_stream_wait_for_those_before_them() -> None:
    peer = established()
    peer.deliver(data(PEER_TSN + 1, b"two", ssn=1))
    assert peer.take_messages() == []
    peer.deliver(data(PEER_TSN + 2, b"other", stream=1))  # another stream does not wait
    assert peer.take_messages(1) == [b"other"]
    peer.deliver(data(PEER_TSN, b"one", ssn=0))
    assert peer.take_messages() == [b"one", b"two"]


def test_an_unordered_message_waits_for_nobody_and_its_ssn_means_nothing() -> None:
    peer = established()
    peer.deliver(data(PEER_TSN + 1, b"now", ssn=77, flags=WHOLE | UNORDERED))
    peer.deliver(data(PEER_TSN + 2, b"waits", ssn=1))
    assert peer.take_messages() == [b"now"]
    peer.deliver(data(PEER_TSN, b"first", ssn=0))
    assert peer.take_messages() == [b"first", b"waits"]


def test_a_stream_that_becomes_readable_is_told_once() -> None:
    peer = established()
    peer.deliver(peer.data(ssn=0), peer.data(ssn=1))
    peer.deliver(peer.data(ssn=2))
    assert peer.take_events() == [StreamReadable(0)]
    assert len(peer.take_messages()) == 3
    peer.deliver(peer.data(ssn=3))
    assert peer.take_events() == [StreamReadable(0)]


@pytest.mark.parametrize("unordered", [0, UNORDERED])
def test_fragments_of_data_make_a_message_in_any_order_pitfall_s21(unordered: int) -> None:
    parts = [b"a" * 10, b"b" * 3, b"c", b"d" * 7, b"e" * 2]
    flags = [BEGIN, MIDDLE, MIDDLE, MIDDLE, END]
    built = [
        data(PEER_TSN + n, part, ppid=7, flags=flag | unordered)
        for n, (part, flag) in enumerate(zip(parts, flags, strict=True))
    ]
    for order in itertools.permutations(built):
        peer = established()
        for number, chunk in enumerate(order):
            assert peer.take_messages() == [], f"complete after {number} of five"
            peer.deliver(chunk)
        [message] = peer.association.receive(0, 10, now=peer.now)
        assert message.data == b"".join(parts)
        assert (message.ppid, message.unordered) == (7, bool(unordered))
        assert peer.association.statistics().held == 0
        peer.wait(0.3)
        assert acked(peer.take()[-1]) == PEER_TSN + 4


@pytest.mark.parametrize("unordered", [0, UNORDERED])
def test_fragments_of_i_data_make_a_message_in_any_order_pitfall_s35(unordered: int) -> None:
    parts = [b"a" * 10, b"b" * 3, b"c", b"d" * 7, b"e" * 2]
    flags = [BEGIN, MIDDLE, MIDDLE, MIDDLE, END]
    # Not even the TSNs need be in the order of the fragments (RFC 8260 2.2.3).
    tsns = [3, 0, 4, 1, 2]
    built = [
        i_data(PEER_TSN + tsns[n], part, ppid=7, fsn=n, flags=flag | unordered)
        for n, (part, flag) in enumerate(zip(parts, flags, strict=True))
    ]
    for order in itertools.permutations(built):
        peer = interleaved()
        for number, chunk in enumerate(order):
            assert peer.take_messages() == [], f"complete after {number} of five"
            peer.deliver(chunk)
        [message] = peer.association.receive(0, 10, now=peer.now)
        assert message.data == b"".join(parts)
        assert (message.ppid, message.unordered) == (7, bool(unordered))
        assert peer.association.statistics().held == 0


def test_two_messages_with_adjacent_tsns_never_merge_pitfall_s21() -> None:
    """Every order of arrival of two fragmented messages: same stream, ordered and unordered."""
    for second in (0, UNORDERED):
        chunks = [
            data(PEER_TSN, b"1a", flags=BEGIN | second),
            data(PEER_TSN + 1, b"1b", flags=END | second),
            data(PEER_TSN + 2, b"2a", ssn=1, flags=BEGIN | second),
            data(PEER_TSN + 3, b"2b", ssn=1, flags=MIDDLE | second),
            data(PEER_TSN + 4, b"2c", ssn=1, flags=END | second),
        ]
        for order in itertools.permutations(chunks):
            peer = established()
            for chunk in order:
                peer.deliver(chunk)
            found = peer.take_messages()
            assert sorted(found) == [b"1a1b", b"2a2b2c"]
            if not second:
                assert found == [b"1a1b", b"2a2b2c"]
            assert peer.association.statistics().held == 0


def test_fragments_of_different_streams_and_orders_do_not_merge_pitfall_s21() -> None:
    # Wrong on purpose: neighbours by TSN that name another stream, or another order.
    peer = established()
    peer.deliver(data(PEER_TSN, b"begin", stream=1, flags=BEGIN))
    peer.deliver(data(PEER_TSN + 1, b"end", stream=2, flags=END))
    peer.deliver(data(PEER_TSN + 2, b"begin", stream=3, flags=BEGIN))
    peer.deliver(data(PEER_TSN + 3, b"end", stream=3, flags=END | UNORDERED))
    peer.deliver(data(PEER_TSN + 4, b"begin", stream=4, ssn=0, flags=BEGIN))
    peer.deliver(data(PEER_TSN + 5, b"end", stream=4, ssn=1, flags=END))
    for stream in range(1, 5):
        assert peer.take_messages(stream) == []


def test_a_message_above_the_limit_ends_the_association() -> None:
    peer = established(Config(max_message_size=2000))
    peer.deliver(data(PEER_TSN, bytes(1000), flags=BEGIN))
    peer.deliver(data(PEER_TSN + 1, bytes(1000), flags=MIDDLE))
    assert peer.association.closed is None
    peer.take()
    peer.deliver(data(PEER_TSN + 2, bytes(1), flags=END))
    peer.expect("ABORT")
    assert peer.closed.reason is CloseReason.PROTOCOL_VIOLATION


# ---------------------------------------------------------------------------------- wrap-around


@pytest.mark.parametrize("arrival", ["in order", "backwards", "shuffled"])
def test_tsns_of_the_peer_wrap_around_pitfall_s1(arrival: str) -> None:
    first = 0xFFFF_FFF0
    order = list(range(40))
    if arrival == "backwards":
        order.reverse()
    elif arrival == "shuffled":
        random.Random(1).shuffle(order)
    peer = established(tsn=first)
    for number in order:
        peer.deliver(data(first + number, b"%d" % number, ssn=number))
    assert peer.take_messages() == [b"%d" % n for n in range(40)]
    peer.wait(0.3)
    assert acked(peer.take()[-1]) == (first + 39) & 0xFFFF_FFFF
    peer.deliver(data(first + 3, b"again"))  # from before the wrap
    assert peer.expect("SACK")["SACK"].as_sack().duplicates == 1


def test_gap_blocks_reach_over_the_wrap_around_pitfall_s1() -> None:
    peer = established(tsn=0xFFFF_FFFF)
    for tsn in (1, 2, 4):  # 0xFFFFFFFF and 0 are missing
        peer.deliver(data(tsn, stream=1))
    sack = peer.take()[-1]["SACK"].as_sack()
    assert (sack.cumulative_tsn, list(sack.blocks)) == (0xFFFF_FFFE, [(3, 4), (6, 6)])


def test_ssns_wrap_around_also_where_they_come_out_of_order_pitfall_s1() -> None:
    pair = Pair(
        Config(interleaving=False, max_retransmits=50),
        network=Network(Conditions(delay=0.005, loss=0.02), seed=4),
    )
    pair.connect()
    total = 66_000
    sent = got = 0
    while got < total:
        while sent < total and pair.a.buffered_amount < 4000:
            pair.a.send(3, b"%d" % sent, now=pair.now)
            sent += 1
        pair.step()
        for message in pair.b.receive(3, 10_000, now=pair.now):
            assert message.data == b"%d" % got
            got += 1
    assert pair.b.statistics().held == 0


class _HighTsn(random.Random):
    """Draws an initial TSN, and request numbers, just below the wrap-around."""

    def getrandbits(self, k: int, /) -> int:
        return 0xFFFF_FFC0 if k == 32 else super().getrandbits(k)


@pytest.mark.parametrize("interleaving", [False, True])
@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_everything_goes_on_over_the_wrap_around_of_our_tsns_pitfall_s1(
    interleaving: bool, loss: float
) -> None:
    network = Network(Conditions(delay=0.01, loss=loss), seed=8)
    pair = Pair(Config(interleaving=interleaving, max_retransmits=50), network=network)
    pair.a.rng, pair.b.rng = _HighTsn(1), _HighTsn(2)
    pair.connect()
    messages = [bytes([n]) * (n * 37 % 5000 + 1) for n in range(200)]
    for number, message in enumerate(messages):
        limit = 0 if loss and number % 3 else None
        pair.a.send(1, message, now=pair.now, max_retransmits=limit)
    pair.a.reset_streams([2], pair.now)
    pair.b.reset_streams([2], pair.now)
    pair.run_until(lambda: pair.a.sender.is_drained, 600)
    got = [m.data for m in pair.b.receive(1, 1000, now=pair.now)]
    given_up = len(messages) - len(got)
    assert bool(given_up) == bool(loss)
    assert got == [m for m in messages if m in set(got)]
    assert set(messages[::3]) <= set(got)
    assert pair.a.reconfiguration.current is None


# ------------------------------------------------------------------------------------ any size


@pytest.mark.parametrize("interleaving", [False, True])
def test_messages_of_every_size_around_the_limits_of_packets(interleaving: bool) -> None:
    pair = Pair(Config(interleaving=interleaving))
    pair.connect()
    full = 1200 - 12 - (20 if interleaving else 16)
    sizes = [1, 2, 3, 4, 5, full - 1, full, full + 1, 2 * full - 1, 2 * full, 2 * full + 1]
    sizes += [*range(full - 40, full), 65_535, 65_536, 262_144]
    for number, size in enumerate(sizes):
        pair.a.send(0, bytes([number]) * size, ppid=size, now=pair.now)
    pair.run_until(lambda: pair.a.sender.is_drained)
    found = pair.b.receive(0, 1000, now=pair.now)
    assert [m.data for m in found] == [bytes([n]) * size for n, size in enumerate(sizes)]
    assert [m.ppid for m in found] == sizes


@pytest.mark.parametrize("loss", [0.0, 0.02])
def test_a_message_of_several_megabytes_arrives(loss: float) -> None:
    size = 6_000_000
    receiver = Config(max_message_size=8_000_000)
    network = Network(Conditions(delay=0.01, loss=loss), seed=5)
    pair = Pair(Config(max_retransmits=50), receiver, network)
    pair.connect()
    content = random.Random(1).randbytes(size)
    pair.a.send(1, content, now=pair.now)
    pair.run_until(lambda: pair.a.sender.is_drained, 600)
    [message] = pair.b.receive(1, now=pair.now)
    assert message.data == content
    assert pair.b.statistics().held == 0


def test_a_message_larger_than_the_window_arrives_pitfall_s19() -> None:
    """The window closes in the middle of it; what is next is taken all the same."""
    receiver = Config(rwnd=10_000, max_message_size=100_000)
    pair = Pair(Config(), receiver)
    pair.connect()
    pair.a.send(1, bytes(100_000), now=pair.now)
    pair.run_until(lambda: pair.b.is_readable(1), 60)
    [message] = pair.b.receive(1, now=pair.now)
    assert len(message.data) == 100_000


# ------------------------------------------------------------- the short way, and where it ends


def test_data_behind_other_chunks_of_its_packet_is_taken_and_counts_as_one_packet() -> None:
    """One packet with data, whatever lies around it: it is acknowledged late."""
    peer = seasoned()
    pad = b"\x84\0\0\4"
    peer.deliver(pad, peer.data(b"1", ssn=1), peer.data(b"2", ssn=2), pad, peer.data(b"3", ssn=3))
    peer.expect_silence()
    assert peer.take_messages() == [b"1", b"2", b"3"]
    peer.deliver(peer.data(b"4", ssn=4), pad, peer.data(b"5", ssn=5))
    peer.expect("SACK")
    assert peer.take_messages() == [b"4", b"5"]


def test_what_is_unusual_within_a_batch_does_not_disturb_what_is_around_it() -> None:
    peer = seasoned()
    again = data(PEER_TSN)
    batch = [
        peer.packet(peer.data(b"1", ssn=1), again, peer.data(b"2", ssn=2)),
        peer.packet(again),
        b"no packet at all",
        peer.packet(peer.data(b"3", ssn=3)),
        peer.packet(peer.data(b"4", ssn=4), tag=1),
        peer.packet(data(peer.tsn - 1, b"4", ssn=4), b"\0\3\0"),
    ]
    peer.deliver_raw(*batch)
    assert peer.take_messages() == [b"1", b"2", b"3", b"4"]
    statistics = peer.association.statistics()
    assert statistics.duplicates_received == 2
    assert statistics.data_chunks_received == 7
    assert statistics.drops[Drop.VERIFICATION_TAG] == 1


@pytest.mark.parametrize("place", range(3))
def test_a_violation_within_a_batch_ends_the_association_there(place: int) -> None:
    peer = seasoned(Config(max_message_size=1000))
    sizes = [10, 10, 10]
    sizes[place] = 1001
    peer.deliver_raw(
        *(peer.packet(peer.data(bytes(size), ssn=1 + n)) for n, size in enumerate(sizes))
    )
    peer.expect("ABORT")
    assert peer.closed.reason is CloseReason.PROTOCOL_VIOLATION
    assert len(peer.take_messages()) == place
