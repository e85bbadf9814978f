"""Path MTU discovery of an association (RFC 8899): simulated paths, and a scripted peer."""

from __future__ import annotations

import attrs
import pytest

from rtcsctp.sctp.config import Config
from rtcsctp.sctp.state import State
from rtcsctp.sctp.timers import Timer
from rtcsctp.sctp.tx.path_mtu import PathMtuState
from rtcsctp.sctp.wire.chunks import ChunkType
from rtcsctp.testing.conditions import Conditions
from rtcsctp.testing.network import Network
from rtcsctp.testing.pair import Pair

from .ladder import FakePeer, Packet, established, extensions, heartbeat, heartbeat_ack

UDP = 65_504  # what UDP takes, in whole words
RTT = 0.02


def connected(
    mtu: int | None = None,
    config: Config | None = None,
    *,
    link: int = UDP,
    conditions: Conditions | None = None,
) -> Pair:
    conditions = conditions if conditions is not None else Conditions(delay=RTT / 2)
    network = Network(attrs.evolve(conditions, mtu=mtu), seed=1, trace=True)
    pair = Pair(config, network=network)
    for end in (pair.a, pair.b):
        end.set_link_mtu(link)
    pair.connect()
    return pair


def flow(pair: Pair, seconds: float) -> list[int]:
    """a sends more than fits a packet, again and again; the sizes that packets had in turn."""
    sizes = [pair.a.mtu]
    end = pair.now + seconds
    while pair.now < end:
        if pair.a.is_drained:
            pair.a.send(1, bytes(max(6000, pair.a.mtu + 3000)), now=pair.now)
        pair.run_for(RTT / 2)
        pair.b.receive(1, 1000, now=pair.now)
        if pair.a.mtu != sizes[-1]:
            sizes.append(pair.a.mtu)
    return sizes


def shrink(pair: Pair, mtu: int | None) -> None:
    for direction in (pair.network.a_to_b, pair.network.b_to_a):
        direction.conditions = attrs.evolve(direction.conditions, mtu=mtu)


@pytest.mark.parametrize(
    ("mtu", "seconds", "worst"),
    [
        (1200, 15.0, 1200),
        (1280, 20.0, 1248),
        (1472, 0.2, 1472),
        (8972, 0.2, 8972),
        (65_000, 15.0, 64_000),
        (None, 0.2, UDP),
    ],
)
def test_packets_grow_to_what_the_path_carries(mtu: int | None, seconds: float, worst: int) -> None:
    """Common sizes within a few round trips of having something to send."""
    pair = connected(mtu)
    flow(pair, seconds)
    assert worst <= pair.a.mtu <= (mtu or UDP)
    assert pair.a.statistics().mtu == pair.a.mtu
    assert pair.b.mtu == 1200  # it has nothing to send
    largest = max(len(e.packet) for e in pair.network.trace if e.arrivals)
    assert largest == pair.a.mtu
    statistics = pair.a.statistics()
    assert statistics.timeouts == statistics.fast_retransmits == statistics.path_errors == 0


def test_the_search_on_a_loopback_takes_three_round_trips() -> None:
    pair = connected()
    begun = pair.now
    pair.a.send(1, bytes(1_000_000), now=pair.now)
    pair.run_until(lambda: pair.a.path_mtu.state is PathMtuState.SEARCH_COMPLETE)
    assert pair.now - begun <= 3 * RTT + 1e-6


def test_nothing_is_probed_for_what_fits_a_packet() -> None:
    """An idle association stays quiet, and so does one with little to say."""
    pair = connected()
    for _ in range(50):
        pair.a.send(1, bytes(1000), now=pair.now)
        pair.run_for(0.5)
        pair.b.receive(1, 10, now=pair.now)
    assert pair.a.path_mtu.probes_sent == 0
    assert pair.a.mtu == 1200


def test_the_search_rests_while_there_is_nothing_to_send() -> None:
    pair = connected(1300)
    flow(pair, 0.3)
    pair.flush()
    pair.run_for(2.0)
    sent = pair.a.path_mtu.probes_sent
    packets = pair.a.statistics().packets_sent
    pair.run_for(25.0)
    assert pair.a.path_mtu.probes_sent == sent
    assert pair.a.statistics().packets_sent == packets
    flow(pair, 20.0)
    assert 1260 <= pair.a.mtu <= 1300


def test_off_by_configuration_or_without_a_link() -> None:
    off = connected(config=Config(path_mtu_discovery=False))
    assert flow(off, 1.0) == [1200]
    assert off.a.path_mtu.probes_sent == 0
    silent = Pair(network=Network(Conditions(delay=0.01)))
    silent.connect()
    assert flow(silent, 1.0) == [1200]


def test_limits_of_configuration_and_link() -> None:
    pair = connected(config=Config(max_mtu=4000))
    flow(pair, 1.0)
    assert pair.a.mtu == 4000
    assert Config(max_mtu=1002).mtu == 1000
    small = connected(link=700)
    flow(small, 1.0)
    assert max(len(entry.packet) for entry in small.network.trace) == 700
    with pytest.raises(ValueError, match="512"):
        small.a.set_link_mtu(500)


def test_lost_probes_are_no_congestion() -> None:
    """RFC 8899 section 3: "Loss of a probe packet SHOULD NOT be treated as an indication of
    congestion"; nor is it an error of the path (6.2.1.2: "discounted").
    """
    pair = connected(1200)
    cwnd = 0
    for _ in range(40):
        flow(pair, 0.25)
        statistics = pair.a.statistics()
        assert statistics.cwnd >= cwnd
        cwnd = statistics.cwnd
        assert statistics.path_errors == statistics.timeouts == 0
        assert statistics.ssthresh is None
    assert pair.a.path_mtu.probes_lost >= 6


def test_probes_delay_no_data() -> None:
    """They leave behind what is sent at the same time, and take no room of the window."""
    plain = connected(1200, Config(path_mtu_discovery=False))
    probing = connected(1200)
    for pair in (plain, probing):
        flow(pair, 5.0)
    assert probing.a.path_mtu.probes_lost > 3
    assert probing.a.statistics().user_bytes_sent >= plain.a.statistics().user_bytes_sent


@pytest.mark.parametrize("limits", [{}, {"max_retransmits": 0, "unordered": True}])
def test_black_hole_in_the_middle_of_a_transfer(limits: dict[str, int]) -> None:
    """Reliable messages all arrive; unreliable ones do again, after a while."""
    pair = connected(8972)
    flow(pair, 1.0)
    assert pair.a.mtu == 8972
    pair.flush()
    pair.b.receive(1, 10_000, now=pair.now)
    shrink(pair, 1472)
    got: list[bytes] = []
    sent: list[bytes] = []
    for number in range(800):
        sent.append(number.to_bytes(4, "big") * 2_000)
        if limits:
            pair.a.send(1, sent[-1], max_retransmits=0, unordered=True, now=pair.now)
        else:
            pair.a.send(1, sent[-1], now=pair.now)
        pair.run_for(0.02)
        got += [message.data for message in pair.b.receive(1, 1000, now=pair.now)]
        if number == 300:
            missing_by_then = len(got)
    pair.flush()
    got += [message.data for message in pair.b.receive(1, 1000, now=pair.now)]
    assert pair.a.mtu == 1472
    if limits:
        assert got[-100:] == sent[-100:]
    else:
        assert missing_by_then > 100  # 6 s later
        assert got == sent
    assert not pair.a.needs_fragments


def test_chunks_that_were_cut_for_a_larger_path_go_alone_and_in_fragments() -> None:
    pair = connected(8972)
    flow(pair, 1.0)
    shrink(pair, 1300)
    pair.a.send(1, bytes(100_000), now=pair.now)
    allowed = 0
    for _ in range(400):
        pair.run_for(RTT / 4)
        pair.b.receive(1, 1000, now=pair.now)
        allowed += pair.a.needs_fragments
        if pair.a.is_drained:
            break
    assert allowed
    assert pair.a.is_drained
    assert not pair.a.needs_fragments
    flow(pair, 20.0)
    assert 1260 <= pair.a.mtu <= 1300


def test_an_outage_is_taken_for_what_it_is() -> None:
    """The path is the same behind it: packets become large again at once, and only then may not
    grow as large, when that happens twice.
    """
    pair = connected(8972)
    flow(pair, 1.0)
    pair.network.pause(drop=True)
    flow(pair, 6.0)
    assert pair.a.mtu == 1200
    pair.network.resume(pair.now)
    flow(pair, 6.0)
    assert pair.a.mtu == 8972
    assert pair.a.is_drained or pair.a.state is State.ESTABLISHED


def test_random_loss_is_no_black_hole() -> None:
    pair = connected(8972, conditions=Conditions(delay=RTT / 2, loss=0.03))
    flow(pair, 1.0)
    for _ in range(20):
        flow(pair, 1.0)
        assert pair.a.mtu == 8972


def test_path_change_begins_anew() -> None:
    pair = connected(8972)
    flow(pair, 1.0)
    pair.a.send(1, bytes(100_000), now=pair.now)
    pair.run_for(0.001)
    shrink(pair, 1472)
    pair.a.handle_path_change(UDP)
    statistics = pair.a.statistics()
    assert (statistics.mtu, statistics.ssthresh, statistics.srtt) == (1200, None, None)
    assert statistics.cwnd == 10 * 1188  # and not ten of the largest packets
    assert pair.a.needs_fragments
    assert flow(pair, 3.0)[-1] == 1472
    pair.a.handle_path_change()
    assert pair.a.mtu == 1200
    assert flow(pair, 1.0)[-1] == 1472


def test_path_that_does_not_carry_the_base_size() -> None:
    """ERROR: IP fragments; and where the path comes back, it is found."""
    pair = connected(1000)
    pair.a.send(1, bytes(100_000), now=pair.now)
    pair.run_until(lambda: pair.a.is_drained, timeout=60)
    assert pair.a.path_mtu.state is PathMtuState.ERROR
    shrink(pair, 1472)
    pair.run_for(600.0)
    flow(pair, 3.0)
    assert pair.a.mtu == 1472


# ------------------------------------------------------------------------------- on the wire


def probing() -> tuple[FakePeer, Packet]:
    peer = established(a_rwnd=1 << 24)
    peer.association.set_link_mtu(UDP)
    peer.association.send(1, bytes(100_000), now=peer.now)
    *data, probe = peer.take()
    assert all(packet.names == "DATA" for packet in data)
    return peer, probe


def test_a_probe_is_padding_and_a_heartbeat_behind_it() -> None:
    """RFC 8899 6.2.1.2, RFC 4820. If the datagram is cut, no HEARTBEAT is left to be answered."""
    _, probe = probing()
    assert probe.names == "PAD HEARTBEAT"
    assert len(probe.raw) == 1472
    assert len(probe["HEARTBEAT"].value) == 12


def test_only_the_heartbeat_of_a_probe_comes_back() -> None:
    peer = established()
    _, probe = probing()
    peer.deliver(bytes([ChunkType.PAD, 0, 0, 8]) + bytes(4), heartbeat(b"12345678"))
    answer = peer.expect("HEARTBEAT_ACK")
    assert len(answer.raw) < 40
    assert answer["HEARTBEAT_ACK"].value == probe["HEARTBEAT"].value[:4] + b"12345678"


def test_nonce_of_a_probe_is_checked_and_counts_once() -> None:
    peer, probe = probing()
    [(_, nonce)] = probe["HEARTBEAT"].as_tlvs()
    peer.deliver(heartbeat_ack(bytes(8)))
    assert peer.association.mtu == 1200
    peer.deliver(heartbeat_ack(nonce))
    assert peer.association.mtu == 1472
    following = peer.take()[-1]
    assert (following.names, len(following.raw)) == ("PAD HEARTBEAT", 8972)
    peer.deliver(heartbeat_ack(nonce))
    assert peer.association.mtu == 1472
    assert not [packet for packet in peer.take() if "PAD" in packet.names]


def test_peer_that_answers_no_probe_costs_nothing() -> None:
    """It drops packets with chunks that it does not know."""
    peer, _ = probing()
    for _ in range(300):
        peer.deliver(peer.sack())
        peer.wait(0.2)
        if peer.association.buffered_amount < 10_000:
            peer.association.send(1, bytes(50_000), now=peer.now)
    statistics = peer.association.statistics()
    assert (statistics.mtu, statistics.path_errors, statistics.timeouts) == (1200, 0, 0)
    assert peer.association.path_mtu.state is PathMtuState.SEARCH_COMPLETE
    assert peer.association.path_mtu.probes_sent < 25
    assert Timer.PATH_MTU not in peer.association.timers


def test_probe_timer_is_at_least_a_second() -> None:
    """RFC 8899 5.1.1: PROBE_TIMER "MUST NOT be smaller than 1 second"."""
    peer, _ = probing()
    assert peer.association.timers[Timer.PATH_MTU] >= peer.now + 1.0


@pytest.mark.parametrize("passive", [False, True])
def test_peers_that_a_strange_chunk_would_end_are_not_probed(passive: bool) -> None:
    """werift, known by what it offers: RFC 9653 is not part of it."""
    for zero_checksum in (False, True):
        params = extensions(zero_checksum=zero_checksum)
        config = Config(zero_checksum=True)
        peer = established(config, passive=passive, a_rwnd=1 << 24, params=params)
        peer.association.set_link_mtu(UDP)
        peer.association.send(1, bytes(100_000), now=peer.now)
        assert bool(peer.take()[-1].all("PAD")) is zero_checksum
