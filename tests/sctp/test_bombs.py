"""SACKs that lie, and DATA that bombs: what the numbers of a peer can make us believe, do and hold.

Bounds are in bytes and in lines of code that run (`measure.py`), not in seconds.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from rtcsctp.sctp.config import Config
from rtcsctp.sctp.events import CloseReason
from rtcsctp.sctp.state import State
from rtcsctp.sctp.statistics import Drop
from rtcsctp.sctp.timers import Timer
from rtcsctp.sctp.wire import chunks
from rtcsctp.sctp.wire.chunks import ChunkType
from rtcsctp.sctp.wire.params import OutgoingResetRequest

from .ladder import (
    PEER_TSN,
    FakePeer,
    chunk,
    data,
    established,
    forward_tsn,
    i_data,
    interleaved,
    reconfig,
    sack,
)
from .measure import PER_CHUNK, cost, lines_run, weight

QUIET = Config(heartbeat_interval=0)

# ------------------------------------------------------------------------------ SACKs that lie


def _with_data(count: int = 5, size: int = 1000) -> tuple[FakePeer, int]:
    """An association that has sent `count` chunks; the TSN of the first one."""
    peer = established(QUIET)
    for _ in range(count):
        peer.association.send(1, bytes(size), now=peer.now)
    peer.take()
    return peer, peer.received[0].tsn


def test_sacks_for_data_never_sent_change_nothing() -> None:
    """Pitfall S11: nothing is taken from a SACK that lies anywhere."""
    peer, first = _with_data()
    before = peer.association.statistics()
    last = peer.received[-1].tsn
    lies = [
        sack(last + 1),
        sack(last + 1000),
        sack(first - 1 + (1 << 31) - 1),
        sack(first - 1, gaps=[(2, 6)]),
        sack(first - 1, gaps=[(2, 2), (65_535, 65_535)]),
        sack(first, gaps=[(3, 2)]),
        sack(first, gaps=[(0, 0)]),
        sack(first, gaps=[(0, 2)]),
        sack(last, gaps=[(1, 1)]),
    ]
    for lie in lies:
        peer.deliver(lie)
    after = peer.association.statistics()
    assert after.drops == {Drop.BAD_SACK: len(lies)}
    assert (after.flight, after.cwnd, after.srtt) == (before.flight, before.cwnd, before.srtt)
    assert (after.peer_window, after.rto) == (before.peer_window, before.rto)
    peer.expect_silence()
    peer.deliver(peer.sack())
    assert peer.association.unacknowledged == 0


def test_old_sacks_change_nothing() -> None:
    """Pitfall S10, and numbers from the other half of the circle."""
    peer, first = _with_data()
    peer.deliver(sack(first + 1))
    before = peer.association.statistics()
    for old in (first, first - 1, first - 1000, first + 1 - (1 << 31)):
        peer.deliver(sack(old, a_rwnd=0))
    after = peer.association.statistics()
    assert after.drops == {Drop.OLD_SACK: 4}
    assert (after.flight, after.cwnd, after.peer_window) == (
        before.flight,
        before.cwnd,
        before.peer_window,
    )


def _fill_window(size: int) -> FakePeer:
    """An association in slow start whose window is full, out of a large message."""
    peer = established(Config(heartbeat_interval=0, mtu=1200))
    for _ in range(400_000 // size):
        peer.association.send(1, bytes(size), now=peer.now)
    peer.take()
    return peer


def test_ack_splitting_earns_nothing() -> None:
    """RFC 9260 7.2.1: cwnd grows by no more than what a SACK newly acknowledges."""
    grown: list[int] = []
    for split in (False, True):
        peer = _fill_window(100)
        before = peer.association.statistics()
        tsns = [part.tsn for part in peer.received]
        for tsn in tsns if split else tsns[-1:]:
            peer.association.handle_datagrams([peer.packet(sack(tsn))], peer.now)
        after = peer.association.statistics()
        grown.append(after.cwnd - before.cwnd)
        assert after.cwnd - before.cwnd <= before.flight
    assert grown[1] <= grown[0] + 1200


def test_repeated_sacks_earn_nothing() -> None:
    peer = _fill_window(1000)
    tsns = [part.tsn for part in peer.received]
    peer.deliver(sack(tsns[2]))
    peer.take()
    before = peer.association.statistics().cwnd
    for _ in range(100):
        peer.deliver(sack(tsns[2]))
    assert peer.association.statistics().cwnd == before
    peer.expect_silence()


def test_gap_acks_that_come_and_go_earn_nothing() -> None:
    """Reneging again and again acknowledges the same bytes only once (pitfall S12)."""
    peer, first = _with_data(5)
    flight = peer.association.statistics().flight
    for _ in range(50):
        peer.deliver(sack(first - 1, gaps=[(2, 3)]))
        peer.deliver(sack(first - 1))
        statistics = peer.association.statistics()
        assert 0 <= statistics.flight <= flight
        assert statistics.unacknowledged <= 5000
    peer.fire(Timer.T3_RTX)
    peer.take()
    peer.deliver(peer.sack())
    assert peer.association.statistics().flight == 0


@pytest.mark.parametrize(
    "blocks",
    [
        [(2, 2)] * 290,
        [(2 + 2 * i, 2 + 2 * i) for i in range(290)],
        [(1 + i, 65_535) for i in range(290)],
        [(65_535 - i, 65_535) for i in range(290)],
        [(i, i) for i in range(290, 0, -1)],
        [(2, 5), (3, 4)] * 145,
        [(5, 2)] * 290,
        [(1, 65_535)] * 16_000,
        [(2, 3)] * 16_000,
        [(1 + 4 * i, 2 + 4 * i) for i in range(16_000)],
    ],
)
def test_gap_bombs_cost_no_more_than_their_length(blocks: list[tuple[int, int]]) -> None:
    """Pitfalls S11 and S17: work is linear in the packet, never in what its numbers say."""
    peer, first = _with_data(8)
    packet = peer.packet(sack(first - 1, gaps=blocks))
    assert cost(peer, packet) <= 20 * len(blocks) + 600
    assert cost(peer, packet) <= 20 * len(blocks) + 600


def test_gap_bomb_of_65535_blocks_that_are_not_there() -> None:
    """Pitfall S11: announced, and cut off; a whole one does not fit a packet of IP's size."""
    peer, first = _with_data()
    for blocks, duplicates in ((65_535, 0), (0, 65_535), (65_535, 65_535)):
        body = struct.pack(">IIHH", first - 1, 9999, blocks, duplicates) + bytes(400)
        packet = peer.packet(chunk(ChunkType.SACK, body))
        assert cost(peer, packet) <= 300
    assert peer.association.statistics().drops == {Drop.MALFORMED: 3}


def test_cost_of_a_sack_does_not_grow_with_what_is_in_flight() -> None:
    costs: dict[int, int] = {}
    for rounds in (2, 8):
        peer = established(QUIET, a_rwnd=10_000_000)
        peer.association.send(1, bytes(20_000_000), now=peer.now)
        peer.take()
        for _ in range(rounds):
            peer.deliver(peer.sack(a_rwnd=10_000_000))
            peer.take()
        flight = peer.association.statistics().flight
        first = peer.received[-1].tsn - flight // 1200 + 2
        for gaps in ([(2, 3)], [(2, 4)]):
            packet = peer.packet(sack(first, a_rwnd=10_000_000, gaps=gaps))
            costs[flight] = cost(peer, packet)
    [(small, cheap), (large, dear)] = costs.items()
    assert large > 5 * small
    assert dear <= cheap + 50


def test_a_window_of_four_gigabytes_is_only_a_number() -> None:
    peer = established(QUIET, a_rwnd=0xFFFF_FFFF)
    peer.association.send(1, bytes(1_000_000), now=peer.now)
    assert len(peer.take()) <= 20  # what cwnd and the burst limit allow


# --------------------------------------------------------------------------- DATA that bombs


def test_far_tsns_are_dropped_without_a_trace() -> None:
    """Pitfall S18."""
    peer = established(QUIET)
    before = weight(peer)
    for ahead in (65_536, 100_000, 1 << 30, (1 << 31) - 30):
        for number in range(20):
            peer.deliver(data(PEER_TSN + ahead + number, bytes(1000)))
    assert peer.association.statistics().drops == {Drop.TSN_TOO_FAR: 80}
    assert peer.association.statistics().held == 0
    assert weight(peer) - before <= 2000
    assert peer.state is State.ESTABLISHED


def _deliver_all(peer: FakePeer, parts: list[bytes], per_packet: int = 40) -> None:
    """As packets, as far as the association lives."""
    for i in range(0, len(parts), per_packet):
        if peer.association.closed is not None:
            return
        packet = peer.packet(*parts[i : i + per_packet])
        peer.association.handle_datagrams([packet], peer.now)
        peer.drain()
        peer.take()


BOMBS: dict[str, Callable[[int], bytes]] = {
    "beginnings without an end": lambda i: data(PEER_TSN + i, b"x", flags=chunks.BEGIN, ssn=i),
    "middles with gaps": lambda i: data(PEER_TSN + 1 + 2 * i, b"x", flags=0),
    "ends, backwards": lambda i: data(PEER_TSN + 9000 - i, b"x", flags=chunks.END),
    "whole, but never in turn": lambda i: data(PEER_TSN + i, b"x", ssn=1 + i),
    "whole, behind a gap": lambda i: data(PEER_TSN + 1 + i, b"x", ssn=i),
    "whole, and unread": lambda i: data(PEER_TSN + i, b"x", ssn=i),
    "a message on each stream": lambda i: data(PEER_TSN + i, b"x", stream=i),
    "unordered pieces": lambda i: data(
        PEER_TSN + 1 + 2 * i, b"x", flags=chunks.UNORDERED | chunks.BEGIN
    ),
    "large pieces": lambda i: data(PEER_TSN + 1 + 2 * i, bytes(1000), flags=chunks.BEGIN),
}
I_BOMBS: dict[str, Callable[[int], bytes]] = {
    "beginnings without an end": lambda i: i_data(PEER_TSN + i, b"x", flags=chunks.BEGIN, mid=i),
    "far FSNs": lambda i: i_data(PEER_TSN + i, b"x", flags=0, fsn=1 + i * 100_000),
    "far MIDs, unordered": lambda i: i_data(
        PEER_TSN + i, b"x", flags=chunks.BEGIN | chunks.UNORDERED, mid=i * 700_000_001 & 0xFFFF_FFFF
    ),
    "never in turn": lambda i: i_data(PEER_TSN + i, b"x", mid=1 + i),
    "a piece on each stream": lambda i: i_data(PEER_TSN + i, b"x", stream=i, flags=chunks.BEGIN),
}


@pytest.mark.parametrize("interleaving", [False, True])
@pytest.mark.parametrize("rwnd", [16_000, 64_000])
def test_bombs_are_charged_and_bounded(interleaving: bool, rwnd: int) -> None:
    """Pitfalls S18 and S23: everything held closes the window, up to a hard limit."""
    bombs = I_BOMBS if interleaving else BOMBS
    for name, make in bombs.items():
        config = Config(heartbeat_interval=0, rwnd=rwnd, max_message_size=10_000)
        peer = (interleaved if interleaving else established)(config, outbound=65_535)
        before = weight(peer)
        _deliver_all(peer, [make(i) for i in range(3000)])
        held = peer.association.statistics().held
        limit = rwnd + 2 * 10_000
        assert held <= limit + 1100, name
        assert weight(peer) - before <= limit // 65 * PER_CHUNK + held, name


def test_window_closes_as_the_bomb_grows() -> None:
    """Pitfall S23."""
    peer = established(Config(heartbeat_interval=0, rwnd=20_000))
    windows = []
    for i in range(15):
        peer.deliver(data(PEER_TSN + 1 + 2 * i, bytes(1000), flags=chunks.BEGIN))
        windows.append(peer.expect("SACK")["SACK"].as_sack().a_rwnd)
    assert windows == sorted(windows, reverse=True)
    assert windows[0] < 20_000 - 1000
    assert windows[-1] < 20_000 - 15_000


def test_messages_above_the_limit_are_a_violation() -> None:
    """A message that is never finished is not collected for ever either."""
    for interleaving in (False, True):
        config = Config(heartbeat_interval=0, max_message_size=5000)
        peer = (interleaved if interleaving else established)(config)
        for number in range(20):
            flags = chunks.BEGIN if not number else 0
            if interleaving:
                peer.deliver(peer.i_data(bytes(1000), flags=flags, fsn=number))
            else:
                peer.deliver(peer.data(bytes(1000), flags=flags))
            if peer.association.closed is not None:
                break
        assert number == 5
        assert peer.closed.reason is CloseReason.PROTOCOL_VIOLATION
        assert peer.take()[-1].names == "ABORT"


def test_cost_of_a_chunk_does_not_grow_with_what_is_held() -> None:
    """A binary search, and a list that moves in C: lines that run, not time."""
    config = Config(heartbeat_interval=0, rwnd=10_000_000)
    peer = established(config)
    costs = []
    for i in range(4000):
        packet = peer.packet(data(PEER_TSN + 30_000 - 2 * i, b"x", flags=0))
        if i in (10, 3990):
            costs.append(cost(peer, packet))
        else:
            peer.association.handle_datagrams([packet], peer.now)
        if not i % 100:
            peer.take()
    assert costs[1] <= costs[0] + 20


def test_sack_for_thousands_of_gaps_costs_what_fits_a_packet() -> None:
    """Pitfall S17: as many gap blocks as the packet takes, whatever there are."""
    peer = established(Config(heartbeat_interval=0, rwnd=10_000_000))
    _deliver_all(peer, [data(PEER_TSN + 1 + 2 * i, b"x", flags=0) for i in range(3000)])
    peer.association.handle_datagrams([peer.packet(data(PEER_TSN + 9001, flags=0))], peer.now)
    lines = lines_run(lambda: peer.association.poll_transmit(peer.now))
    assert lines <= 3000
    peer.deliver(data(PEER_TSN + 9003, flags=0))
    packet = peer.expect("SACK")
    assert packet["SACK"].as_sack().blocks[0] == (2, 2)
    assert 1100 < len(packet.raw) <= 1200


def test_flood_of_duplicates_is_not_remembered() -> None:
    peer = established(QUIET)
    peer.deliver(peer.data())
    peer.take()
    packet = peer.packet(*[data(PEER_TSN) for _ in range(3000)])
    before = weight(peer)
    peer.association.handle_datagrams([packet] * 5, peer.now)
    assert weight(peer) - before <= 4000
    packets = peer.take()
    assert len(packets) == 1
    assert len(packets[0].raw) <= 1200


def test_forward_tsns_are_bounded() -> None:
    """Pitfall S33: far values are refused, near ones cost bounded time."""
    peer = established(QUIET)
    for ahead in (1 << 30, (1 << 31) - 2):
        peer.deliver(forward_tsn(PEER_TSN + ahead, [(1, 5)]))
    assert peer.association.statistics().drops == {Drop.TSN_TOO_FAR: 2}
    for i in range(50):
        peer.deliver(data(PEER_TSN + 1 + 2 * i, flags=0))
    packet = peer.packet(forward_tsn(PEER_TSN + 60_000, [(s % 100, 9) for s in range(280)]))
    assert cost(peer, packet) <= 20 * 280 + 1500
    assert peer.association.statistics().held == 0


def test_streams_named_by_forward_tsn_are_bounded_by_their_number() -> None:
    """Not charged to the window: it is the stream count that bounds them (PER_CHUNK for each)."""
    peer = established(QUIET, outbound=1000)
    before = weight(peer)
    for turn in range(5):
        peer.deliver(forward_tsn(PEER_TSN + turn, [(s, turn) for s in range(0, 65_000, 10)]))
    assert weight(peer) - before <= 100 * PER_CHUNK


def test_deferred_reset_holds_data_within_the_window() -> None:
    """Pitfall S41: what waits for a reset is charged like anything else."""
    peer = established(Config(heartbeat_interval=0, rwnd=20_000, max_message_size=2000))
    peer.deliver(
        reconfig(OutgoingResetRequest(PEER_TSN, 0, (PEER_TSN + 60_000) & 0xFFFF_FFFF, (1,)))
    )
    before = weight(peer)
    _deliver_all(peer, [data(PEER_TSN + i, b"x" * 10, stream=1, ssn=i) for i in range(2000)])
    _deliver_all(peer, [data(PEER_TSN + 60_001 + i, b"x", stream=1) for i in range(2000)])
    assert peer.association.statistics().held <= 25_000
    assert weight(peer) - before <= 25_000 // 65 * PER_CHUNK


def test_message_that_waited_for_a_reset_and_is_too_large() -> None:
    """It is judged when the reset is done: a violation like any other, and no exception."""
    config = Config(heartbeat_interval=0, max_message_size=1000)
    peer = established(config)
    last = PEER_TSN + 2
    peer.deliver(reconfig(OutgoingResetRequest(PEER_TSN, 0, last, (1,))))
    peer.deliver(data(last + 1, bytes(900), stream=1, flags=chunks.BEGIN))
    peer.deliver(data(last + 2, bytes(900), stream=1, flags=chunks.END))
    for tsn in range(PEER_TSN, last + 1):
        peer.deliver(data(tsn, stream=2, ssn=tsn - PEER_TSN))
    assert peer.closed.reason is CloseReason.PROTOCOL_VIOLATION
    assert peer.take()[-1].names == "ABORT"
