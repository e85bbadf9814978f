"""Flow control: the window that we advertise, and the one that the peer does (RFC 9260 6.1, 6.2).

In the ladders `a` is the association that is tested, and the peer is the script.
"""

from __future__ import annotations

import random

import pytest

from rtcsctp.sctp.config import Config
from rtcsctp.sctp.events import CloseReason
from rtcsctp.sctp.state import State
from rtcsctp.sctp.statistics import Drop
from rtcsctp.sctp.timers import Timer
from rtcsctp.sctp.wire.causes import Cause
from rtcsctp.sctp.wire.chunks import BEGIN, END, Data, Sack
from rtcsctp.testing import Conditions, Network, Pair

from .ladder import PEER_TSN, FakePeer, data, established, i_data, interleaved, rfc9260, sack

FULL = 1200 - 12 - 16
"""User data that fills a packet with one DATA chunk."""


def last_sack(peer: FakePeer) -> Sack:
    packets = [packet for packet in peer.take() if packet.all("SACK")]
    assert packets, "no SACK was sent"
    return packets[-1]["SACK"].as_sack()


def sent(peer: FakePeer) -> list[Data]:
    return [part.as_data() for packet in peer.take() for part in packet.all("DATA", "I_DATA")]


def send(peer: FakePeer, count: int, size: int = FULL) -> list[Data]:
    for _ in range(count):
        peer.association.send(0, bytes(size), now=peer.now)
    return sent(peer)


def fill_window(peer: FakePeer, size: int = 1000) -> int:
    """Messages of `size` bytes on stream 0 until nothing more is taken; how many were."""
    for number in range(10_000):
        before = peer.association.statistics().unread_messages
        peer.deliver(peer.data(bytes(size), ssn=number))
        if peer.association.statistics().unread_messages == before:
            peer.tsn -= 1  # not taken
            return number
    raise AssertionError("the window never closes")


# ------------------------------------------------------------------------------ what we advertise


def test_the_window_is_announced_and_shrinks_by_what_is_held_pitfall_s23() -> None:
    peer = established(Config(rwnd=100_000))
    peer.deliver(peer.data(bytes(1000)))
    first = last_sack(peer).a_rwnd
    assert 98_000 < first <= 99_000
    peer.take_messages()
    peer.deliver(peer.data(bytes(10), ssn=1))
    peer.wait(0.3)
    assert last_sack(peer).a_rwnd > 99_000


@pytest.mark.parametrize("what", ["unread", "waiting", "incomplete", "deferred"])
def test_whatever_is_held_counts_pitfall_s23(what: str) -> None:
    peer = established(Config(rwnd=100_000))
    match what:
        case "unread":
            chunks = [data(PEER_TSN + n, bytes(1000), ssn=n) for n in range(50)]
        case "waiting":  # complete, but not their turn
            chunks = [data(PEER_TSN + n, bytes(1000), ssn=n + 1) for n in range(50)]
        case "incomplete":
            chunks = [data(PEER_TSN, bytes(1000), flags=BEGIN)]
            chunks += [data(PEER_TSN + n, bytes(1000), flags=0) for n in range(1, 50)]
        case _:
            request = bytes.fromhex("000d0010 00001000 00000000 00001003".replace(" ", ""))
            peer.deliver(b"\x82\0" + (4 + len(request)).to_bytes(2, "big") + request)
            # The reset of all streams waits for PEER_TSN + 3; everything behind that waits for it.
            chunks = [data(PEER_TSN + 10 + n, bytes(1000), ssn=n) for n in range(50)]
    peer.take()
    for chunk in chunks:
        peer.deliver(chunk)
    assert 40_000 < last_sack(peer).a_rwnd <= 50_000
    if what == "deferred":
        assert peer.take_messages() == []


def test_the_overhead_of_small_messages_counts_pitfall_s23() -> None:
    """Or a flood of messages of one byte would take fifty times the window of memory."""
    peer = established(Config(rwnd=10_000))
    taken = fill_window(peer, 1)
    assert taken < 1000


def test_a_window_below_a_packet_is_advertised_as_closed() -> None:
    """Silly-window avoidance (RFC 1122 4.2.3.3)."""
    peer = established(Config(rwnd=20_000))
    windows: set[int] = set()
    for number in range(40):
        peer.deliver(peer.data(bytes(700), ssn=number))
        windows.update(p["SACK"].as_sack().a_rwnd for p in peer.take() if p.all("SACK"))
    assert 0 in windows
    assert all(window == 0 or window >= 1200 for window in windows)


def test_reading_opens_the_window_and_the_peer_is_told_pitfall_s19() -> None:
    peer = established(Config(rwnd=20_000))
    fill_window(peer)
    assert last_sack(peer).a_rwnd == 0
    peer.take_messages(limit=100)
    assert last_sack(peer).a_rwnd == 20_000


def test_window_updates_are_few_pitfall_s19() -> None:
    """ "The receiver MUST avoid sending a large number of window updates" (6.2)."""
    peer = established(Config(rwnd=200_000))
    taken = fill_window(peer)
    peer.take()
    updates = 0
    for _ in range(taken):
        peer.association.receive(0, 1, now=peer.now)
        updates += len(peer.take())
    assert 1 <= updates <= 6


def test_no_update_where_the_window_was_never_tight() -> None:
    peer = established()
    peer.deliver(peer.data(bytes(100)))
    peer.take()
    peer.take_messages()
    peer.expect_silence()


# -------------------------------------------------------------------------- when the window is full


def test_a_full_receiver_drops_what_is_new_and_says_so_at_once() -> None:
    """RFC 9260 6.2: it MUST drop what is above the largest TSN, and MUST send a SACK at once."""
    peer = established(Config(rwnd=20_000))
    fill_window(peer)
    peer.take()
    next_tsn = peer.tsn
    peer.deliver(data(next_tsn, bytes(1000), ssn=99))
    found = last_sack(peer)
    assert (found.cumulative_tsn, found.a_rwnd) == (next_tsn - 1, 0)
    assert list(found.blocks) == []  # "MUST NOT be included in the SACK chunk"
    assert peer.association.statistics().drops[Drop.NO_ROOM] >= 1


def test_a_full_receiver_takes_what_fills_a_gap_pitfall_s19() -> None:
    peer = established(Config(rwnd=20_000))
    # PEER_TSN is missing; what follows waits for it, and fills the window.
    for number in range(1, 21):
        peer.deliver(data(PEER_TSN + number, bytes(1000), ssn=number))
    assert last_sack(peer).a_rwnd == 0
    assert peer.take_messages() == []
    peer.deliver(data(PEER_TSN, bytes(1000), ssn=0))
    assert len(peer.take_messages()) >= 18
    assert last_sack(peer).a_rwnd > 0


def test_a_full_receiver_takes_what_completes_a_message_pitfall_s19() -> None:
    """The window is full of an incomplete message: nothing but its rest can help."""
    peer = established(Config(rwnd=10_000, max_message_size=50_000))
    count = 40
    for number in range(count):
        flags = BEGIN * (number == 0) | END * (number == count - 1)
        peer.deliver(data(PEER_TSN + number, bytes(1000), flags=flags))
    assert [len(m) for m in peer.take_messages()] == [count * 1000]
    assert last_sack(peer).a_rwnd > 8000


def test_a_full_receiver_that_could_be_read_takes_nothing_more_pitfall_s19() -> None:
    peer = established(Config(rwnd=10_000))
    taken = fill_window(peer)
    for number in range(20):
        peer.deliver(data(peer.tsn + number, bytes(1000), ssn=taken + number))
    assert peer.association.statistics().unread_messages == taken
    assert peer.association.closed is None


def test_what_a_peer_can_make_us_hold_ends_somewhere_pitfall_s18() -> None:
    """A peer that ignores the window, with gaps and beginnings only."""
    config = Config(rwnd=50_000, max_message_size=20_000, inbound_streams=65_535)
    peer = interleaved(config, outbound=65_535)
    held = 0
    for number in range(400):
        if peer.association.closed is not None:
            break
        peer.deliver(i_data(PEER_TSN + number, bytes(1000), stream=number, flags=BEGIN))
        held = max(held, peer.association.statistics().held)
    assert held <= 50_000 + 2 * 20_000 + 2000
    assert peer.closed.reason is CloseReason.PROTOCOL_VIOLATION
    abort = next(packet["ABORT"] for packet in peer.take() if packet.all("ABORT"))
    assert abort.as_tlvs()[0][0] == Cause.OUT_OF_RESOURCE


def test_a_gap_bomb_is_bounded_pitfall_s18() -> None:
    config = Config(rwnd=50_000, max_message_size=20_000)
    peer = established(config)
    held = 0
    for number in range(400, 0, -1):  # all above the cumulative TSN, from the far end
        peer.deliver(data(PEER_TSN + number, bytes(1000), ssn=number))
        held = max(held, peer.association.statistics().held)
    assert held <= 50_000 + 2 * 20_000 + 2000


# ------------------------------------------------------------------------- what the peer advertises


def test_no_more_is_sent_than_the_peers_window_allows() -> None:
    peer = established(a_rwnd=5000)
    chunks = send(peer, 10)
    assert sum(len(c.payload) for c in chunks) <= 5000
    assert len(chunks) == 4


def test_the_window_counts_user_data_only_pitfall_s13() -> None:
    peer = established(a_rwnd=1500)
    # 15 messages of 100 bytes are 1500 bytes of user data, and 1740 with headers.
    assert len(send(peer, 20, 100)) == 15


@pytest.mark.parametrize("passive", [False, True])
def test_the_peers_window_is_known_on_both_sides_pitfall_s13(passive: bool) -> None:
    peer = established(passive=passive, a_rwnd=3000)
    assert peer.association.statistics().peer_window == 3000
    assert len(send(peer, 10)) == 2


def test_what_is_in_flight_comes_off_the_window_that_a_sack_tells() -> None:
    """RFC 9260 6.2.1, D ii."""
    peer = established(a_rwnd=100_000)
    chunks = send(peer, 4)
    peer.deliver(sack(chunks[0].tsn, a_rwnd=50_000))
    assert peer.association.statistics().peer_window == 50_000 - 3 * FULL


def test_a_silly_window_is_not_filled() -> None:
    peer = established(a_rwnd=2 * FULL + 300)
    assert len(send(peer, 10)) == 2  # 300 bytes of the third would have fitted


def test_a_window_smaller_than_a_packet_is_used_where_there_is_no_other() -> None:
    """It is no probe: "rwnd is smaller than the size of the next DATA chunk" decides (6.1 A)."""
    peer = established()
    [first] = send(peer, 1)
    peer.deliver(sack(first.tsn, a_rwnd=700))
    [part] = send(peer, 1)
    assert len(part.payload) == 700
    peer.deliver(sack(part.tsn, a_rwnd=700))
    [rest] = sent(peer)
    assert len(rest.payload) == FULL - 700


def test_a_window_update_lets_the_rest_go_pitfall_s19() -> None:
    peer = established(a_rwnd=2 * FULL)
    chunks = send(peer, 6)
    assert len(chunks) == 2
    peer.deliver(sack(chunks[-1].tsn, a_rwnd=0))
    assert sent(peer) == []
    peer.deliver(sack(chunks[-1].tsn, a_rwnd=100_000))
    assert len(sent(peer)) == 4


# --------------------------------------------------------------------------------- window probes


def closed_window(config: Config | None = None, queued: int = 5) -> FakePeer:
    """The peer has acknowledged all, and closed its window; messages wait."""
    peer = established(config, a_rwnd=1500)
    [chunk] = send(peer, 1)
    peer.deliver(sack(chunk.tsn, a_rwnd=0))
    for _ in range(queued):
        peer.association.send(0, bytes(FULL), now=peer.now)
    peer.take()
    return peer


def test_the_first_probe_waits_for_one_rto_pitfall_s20() -> None:
    """ "SHOULD send the first zero window probe after 1 RTO" (RFC 9260 6.1 A)."""
    peer = closed_window()
    rto = peer.association.statistics().rto
    assert sent(peer) == []
    peer.wait(rto - 0.01)
    assert sent(peer) == []
    peer.wait(0.02)
    assert len(sent(peer)) == 1


def test_a_probe_is_one_chunk_with_nothing_else_in_flight_pitfall_s20() -> None:
    peer = closed_window()
    peer.fire(Timer.T3_RTX)
    [packet] = peer.take()
    assert packet.names == "DATA"
    assert peer.association.statistics().flight == len(packet["DATA"].value) + 4


def test_probes_come_at_growing_intervals_pitfall_s20() -> None:
    peer = closed_window(Config(backoff_max=4.0, max_retransmits=50))
    waits: list[float] = []
    for _ in range(7):
        waits.append(peer.fire(Timer.T3_RTX))
        assert len(sent(peer)) == 1
        peer.deliver(sack(peer.cumulative - 1, a_rwnd=0))  # it was dropped
    assert waits == sorted(waits)
    assert waits[-1] == 4.0


def test_probes_do_not_kill_the_association_while_sacks_arrive_pitfall_s20() -> None:
    peer = closed_window(Config(max_retransmits=3, heartbeat_interval=0))
    for _ in range(30):
        peer.fire(Timer.T3_RTX)
        [probe] = sent(peer)
        peer.deliver(sack(probe.tsn - 1, a_rwnd=0))
        assert peer.association.statistics().path_errors == 0
    assert peer.state is State.ESTABLISHED


def test_probes_without_answer_kill_it_pitfall_s20() -> None:
    peer = closed_window(Config(max_retransmits=3, heartbeat_interval=0))
    for _ in range(5):
        peer.fire(Timer.T3_RTX)
    assert peer.closed.reason is CloseReason.UNREACHABLE


def test_probing_does_not_touch_cwnd_pitfall_s20() -> None:
    """ "Zero window probing does not affect the calculation of cwnd" (6.1 A)."""
    peer = closed_window(Config(heartbeat_interval=0))
    before = peer.association.statistics()
    for _ in range(4):
        peer.fire(Timer.T3_RTX)
        [probe] = sent(peer)
        peer.deliver(sack(probe.tsn - 1, a_rwnd=0))
    after = peer.association.statistics()
    assert after.ssthresh == before.ssthresh
    # Idle decay goes on, as the window keeps us from sending; but nothing is taken for congestion.
    assert after.cwnd >= 4 * 1188


def test_a_dropped_probe_goes_again_when_the_window_opens_pitfall_s20() -> None:
    """Or it would be found missing by three SACKs, as if the network had lost it."""
    peer = closed_window()
    peer.fire(Timer.T3_RTX)
    [probe] = sent(peer)
    peer.deliver(sack(probe.tsn - 1, a_rwnd=0))  # dropped
    peer.deliver(sack(probe.tsn - 1, a_rwnd=100_000))  # the user has read
    again = sent(peer)
    assert again[0].tsn == probe.tsn
    assert len(again) == 5
    peer.deliver(sack(again[-1].tsn, a_rwnd=100_000))
    statistics = peer.association.statistics()
    assert statistics.flight == 0
    assert not statistics.in_fast_recovery


def test_probes_that_are_taken_follow_each_other_at_once_pitfall_s19() -> None:
    """The receiver's window is full of the message that we send: its rest is taken bit by bit."""
    peer = closed_window(queued=10)
    peer.fire(Timer.T3_RTX)
    for _ in range(5):
        [probe] = sent(peer)
        peer.deliver(sack(probe.tsn, a_rwnd=0))
    assert len(sent(peer)) == 1


def test_nothing_to_send_is_nothing_to_probe() -> None:
    peer = established(Config(heartbeat_interval=0), a_rwnd=1500)
    [chunk] = send(peer, 1)
    peer.deliver(sack(chunk.tsn, a_rwnd=0))
    assert not peer.association.timers
    peer.wait(100)
    assert peer.take() == []


def test_what_expires_behind_a_closed_window_is_given_up_without_a_tsn_pitfall_s27() -> None:
    peer = established(Config(heartbeat_interval=0), a_rwnd=1500)
    [chunk] = send(peer, 1)
    peer.deliver(sack(chunk.tsn, a_rwnd=0))
    for _ in range(3):
        peer.association.send(0, bytes(FULL), lifetime=0.1, now=peer.now)
    peer.wait(30)
    assert peer.take() == []
    assert peer.association.buffered_amount == 0
    peer.association.send(0, b"later", now=peer.now)
    peer.deliver(sack(chunk.tsn, a_rwnd=1000))
    [later] = sent(peer)
    assert later.tsn == chunk.tsn + 1
    assert later.sequence == chunk.sequence + 1


# ----------------------------------------------------------------------------------- both together


def test_a_peer_that_does_not_read_for_long_is_not_given_up_pitfall_s20() -> None:
    """It counts more than user data, so many of the chunks in flight do not fit, and must wait."""
    config = Config(max_retransmits=3, heartbeat_interval=0)
    pair = Pair(config, Config(rwnd=20_000, heartbeat_interval=0))
    pair.connect()
    for number in range(3000):
        pair.a.send(0, b"%04d" % number, now=pair.now)
    pair.run_for(600)
    assert pair.established, pair.events_a
    got: list[bytes] = []

    def read() -> bool:
        got.extend(m.data for m in pair.b.receive(0, 10_000, now=pair.now))
        return len(got) == 3000

    pair.run_until(read, 600)
    assert got == [b"%04d" % n for n in range(3000)]


@pytest.mark.parametrize("interleaving", [False, True])
def test_a_slow_reader_costs_no_spurious_congestion(interleaving: bool) -> None:
    config = rfc9260(interleaving=interleaving, heartbeat_interval=0)
    pair = Pair(config, Config(interleaving=interleaving, rwnd=30_000))
    pair.connect()
    for _ in range(100):
        pair.a.send(0, bytes(5000), now=pair.now)
    got = 0
    while got < 100:
        pair.run_for(0.5)
        got += len(pair.b.receive(0, 100, now=pair.now))
        assert pair.now < 200
    statistics = pair.a.statistics()
    assert statistics.fast_retransmits == 0
    assert statistics.ssthresh is None or not statistics.timeouts
    assert pair.now < 15


def receive_for(pair: Pair, seconds: float, every: float) -> int:
    """Let `a` send all the time, and the user of `b` read now and then; the bytes he got."""
    end = pair.now + seconds
    got = 0
    while pair.now < end:
        while pair.a.buffered_amount < 500_000:
            pair.a.send(0, bytes(5000), now=pair.now)
        pair.run_for(every)
        got += sum(len(m.data) for m in pair.b.receive(0, 1000, now=pair.now))
    return got


@pytest.mark.parametrize("cap", [1500, 200_000, 10_000_000])
def test_the_window_grows_with_what_the_path_carries_up_to_a_cap(cap: int) -> None:
    network = Network(Conditions(delay=0.05), seed=1)
    pair = Pair(Config(), Config(rwnd=50_000, rwnd_max=cap), network)
    pair.connect()
    got = receive_for(pair, 2.0, 0.005)
    own_window = pair.b.statistics().own_window
    if cap < 50_000:
        assert own_window <= 50_000
        assert got < 2.0 / 0.1 * 50_000
    elif cap == 200_000:
        assert 150_000 < own_window <= 200_000
    else:
        assert got > 2.0 / 0.1 * 50_000
        assert own_window > 400_000


def test_the_window_does_not_grow_for_a_user_who_is_slow() -> None:
    network = Network(Conditions(delay=0.05), seed=1)
    pair = Pair(Config(), Config(rwnd=50_000), network)
    pair.connect()
    receive_for(pair, 10.0, 0.5)
    pair.run_for(1.0)
    assert pair.b.statistics().held < 50_000 * 9 // 8 + 5000
    pair.b.receive(0, 1000, now=pair.now)
    assert pair.b.statistics().own_window <= 50_000


@pytest.mark.parametrize("seed", range(3))
def test_window_updates_may_be_lost_pitfall_s20(seed: int) -> None:
    network = Network(Conditions(delay=0.01, loss=0.3), seed=seed)
    pair = Pair(Config(max_retransmits=50, max_init_retransmits=50), Config(rwnd=5000), network)
    pair.connect(600)
    for number in range(60):
        pair.a.send(0, bytes([number]) * 1000, now=pair.now)
    got: list[int] = []
    while len(got) < 60:
        pair.run_for(1)
        got += [m.data[0] for m in pair.b.receive(0, 1000, now=pair.now)]
        assert pair.now < 1000
    assert got == list(range(60))


@pytest.mark.parametrize("scheduler", ["weighted_fair", "round_robin", "fcfs"])
def test_many_large_messages_at_once_do_not_choke_the_receiver_pitfall_s19(scheduler: str) -> None:
    """Interleaved, they fill the window without any being complete: one must be finished first."""
    config = Config(scheduler=scheduler, max_message_size=50_000, rwnd=60_000)
    pair = Pair(config)
    pair.connect()
    total = 30
    for stream in range(total):
        pair.a.send(stream, bytes([stream]) * 50_000, now=pair.now)
    got: dict[int, bytes] = {}

    def read() -> bool:
        for stream in range(total):
            for message in pair.b.receive(stream, now=pair.now):
                got[stream] = message.data
        return len(got) == total

    pair.run_until(read, 600)
    assert got == {stream: bytes([stream]) * 50_000 for stream in range(total)}


def test_the_default_window_stands_many_interleaved_messages_pitfall_s19() -> None:
    pair = Pair()
    pair.connect()
    total, size = 48, 262_144  # 12 MiB, and the window is 5 MiB
    for stream in range(total):
        pair.a.send(stream, bytes(size), now=pair.now)
    got: set[int] = set()

    def read() -> bool:
        got.update(s for s in range(total) if pair.b.receive(s, now=pair.now))
        return len(got) == total

    pair.run_until(read, 600)


def test_a_random_reader_gets_everything() -> None:
    rng = random.Random(3)
    pair = Pair(Config(), Config(rwnd=8000))
    pair.connect()
    for number in range(300):
        pair.a.send(number % 5, b"%d" % number * rng.randint(1, 500), now=pair.now)
    got: list[int] = []
    while len(got) < 300:
        pair.run_for(rng.uniform(0.001, 0.3))
        messages = pair.b.receive(rng.randrange(5), rng.randint(1, 20), now=pair.now)
        got += [message.stream_id for message in messages]
        assert pair.now < 600
    assert pair.b.statistics().held == 0
