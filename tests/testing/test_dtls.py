"""The stand-in for DTLS in virtual time: it behaves as the real engine does."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.dtls.engine import (
    MAX_PACKET_SIZE,
    PATIENCE,
    DtlsEngine,
    DtlsEvent,
    DtlsIdentity,
    DtlsState,
    HandshakeDone,
    HandshakeFailed,
    PeerClosed,
)
from rtcsctp.dtls.fingerprint import Fingerprint
from rtcsctp.dtls.records import plaintext_alert
from rtcsctp.errors import FingerprintMismatchError
from rtcsctp.testing import StandInIdentity

STRANGER = Fingerprint.of(b"somebody else's certificate")


def events_of(engine: DtlsEngine) -> list[DtlsEvent]:
    events = []
    while (event := engine.poll_event()) is not None:
        events.append(event)
    return events


def identities(seed: int = 1) -> tuple[DtlsIdentity, DtlsIdentity]:
    rng = random.Random(seed)
    return StandInIdentity(rng), StandInIdentity(rng)


def client_and_server(seed: int = 1) -> tuple[DtlsEngine, DtlsEngine]:
    a, b = identities(seed)
    return (
        a.engine(client=True, remote_fingerprints=b.fingerprints),
        b.engine(client=False, remote_fingerprints=a.fingerprints),
    )


def connect(a: DtlsEngine, b: DtlsEngine, now: float = 0.0) -> None:
    a.start(now)
    b.start(now)
    for _ in range(3):
        assert b.handle_datagrams(a.poll_transmit(now), now) == []
        assert a.handle_datagrams(b.poll_transmit(now), now) == []


def connected_pair(seed: int = 1) -> tuple[DtlsEngine, DtlsEngine]:
    a, b = client_and_server(seed)
    connect(a, b)
    for engine in (a, b):
        assert [type(event) for event in events_of(engine)] == [HandshakeDone]
    return a, b


def test_engines_shake_hands_and_talk() -> None:
    a, b = connected_pair()
    for engine in (a, b):
        assert engine.state is DtlsState.CONNECTED
        assert engine.deadline is None
    packets = [b"%d" % number * 100 for number in range(40)]
    datagrams = a.send(packets)
    assert [len(datagram) for datagram in datagrams] == [100 + a.overhead] * 10 + [
        200 + a.overhead
    ] * 30
    assert b.handle_datagrams(datagrams, 0.0) == packets
    assert a.handle_datagrams(b.send(packets), 0.0) == packets
    assert (a.statistics().records_sent, a.statistics().records_received) == (40, 40)


def test_certificate_is_that_of_the_peer() -> None:
    alice, bob = identities()
    a = alice.engine(client=True, remote_fingerprints=bob.fingerprints)
    b = bob.engine(client=False, remote_fingerprints=alice.fingerprints)
    connect(a, b)
    for engine, peer in ((a, bob), (b, alice)):
        (event,) = events_of(engine)
        assert isinstance(event, HandshakeDone)
        assert (event.remote_fingerprint,) == peer.fingerprints
        assert Fingerprint.of(event.remote_certificate) == event.remote_fingerprint


def test_datagrams_can_be_told_from_stun_and_turn() -> None:  # RFC 7983
    a, b = client_and_server()
    a.start(0.0)
    datagrams = a.poll_transmit(0.0)
    for engine in (b, a, b, a):
        engine.handle_datagrams(datagrams, 0.0)
        datagrams = engine.poll_transmit(0.0) + engine.send([b"x"])
        assert all(20 <= datagram[0] <= 63 for datagram in datagrams)
        datagrams = [datagram for datagram in datagrams if datagram[0] == 22]
    assert a.state is DtlsState.CONNECTED


@pytest.mark.parametrize("lost", range(4))
def test_lost_flights_are_sent_again_after_a_second(lost: int) -> None:  # pitfall W5
    a, b = client_and_server()
    now = 0.0
    a.start(now)
    b.start(now)
    flights = 0
    for _ in range(20):
        for engine, peer in ((a, b), (b, a)) * 3:
            for datagram in engine.poll_transmit(now):
                if flights != lost:
                    peer.handle_datagrams([datagram], now)
                flights += 1
        deadlines = [engine.deadline for engine in (a, b) if engine.deadline is not None]
        if not deadlines:
            break
        now = min(deadlines)
        a.handle_timer(now)
        b.handle_timer(now)
    assert (a.state, b.state) == (DtlsState.CONNECTED, DtlsState.CONNECTED)
    assert now == 1.0


def test_timeouts_double() -> None:
    a, _b = client_and_server()
    a.start(0.0)
    times: list[float] = []
    while len(times) < 9:
        assert a.deadline is not None
        a.handle_timer(a.deadline - 0.01)  # too early is harmless
        times.append(a.deadline)
        a.handle_timer(a.deadline)
    assert times == [1, 3, 7, 15, 31, 63, 123, 183, 243]
    assert len(a.poll_transmit(243)) == 10
    assert a.statistics().handshake_timeouts == 9


@pytest.mark.parametrize("client", [True, False])
def test_stranger_is_refused(client: bool) -> None:
    alice, bob = identities()
    refuses = alice.engine(client=client, remote_fingerprints=[STRANGER])
    refused = bob.engine(client=not client, remote_fingerprints=alice.fingerprints)
    connect(*((refuses, refused) if client else (refused, refuses)))
    (event,) = events_of(refuses)
    assert isinstance(event, HandshakeFailed)
    assert isinstance(event.error, FingerprintMismatchError)
    assert refuses.state is DtlsState.FAILED
    # The other learns it from an alert, which may be forged, and believes it after a while.
    while refused.deadline is not None:
        now = refused.deadline
        refused.handle_timer(now)
    assert now == PATIENCE
    (event,) = events_of(refused)
    assert isinstance(event, HandshakeFailed)
    assert "bad_certificate" in str(event.error)


def test_forged_alerts_do_not_stop_the_handshake() -> None:  # pitfall W6
    a, b = client_and_server()
    alert = plaintext_alert(40, fatal=True)
    a.start(0.0)
    for engine, peer in ((a, b), (b, a), (a, b), (b, a)):
        batch = engine.poll_transmit(0.0)
        assert peer.handle_datagrams([alert, *batch, alert], 0.0) == []
    assert (a.state, b.state) == (DtlsState.CONNECTED, DtlsState.CONNECTED)
    assert a.deadline is None


def test_early_packets_are_kept_until_the_handshake_is_done() -> None:
    a, b = client_and_server()
    a.start(0.0)
    b.handle_datagrams(a.poll_transmit(0.0), 0.0)
    a.handle_datagrams(b.poll_transmit(0.0), 0.0)
    b.handle_datagrams(a.poll_transmit(0.0), 0.0)
    assert a.handle_datagrams(b.send([b"early"]), 0.0) == []
    assert a.handle_datagrams(b.poll_transmit(0.0), 0.0) == [b"early"]


def test_damaged_repeated_and_forged_datagrams_are_dropped() -> None:  # pitfall W12
    a, b = connected_pair()
    (datagram,) = a.send([b"hello"])
    for position in range(len(datagram)):
        damaged = bytearray(datagram)
        damaged[position] ^= 1
        assert b.handle_datagrams([bytes(damaged)], 0.0) == []
        assert b.handle_datagrams([datagram[:position]], 0.0) == []
    assert b.handle_datagrams([b"", datagram, datagram], 0.0) == [b"hello"]
    assert b.handle_datagrams([datagram], 0.0) == []
    assert a.handle_datagrams(a.send([b"mine"]), 0.0) == []
    other, _peer = connected_pair(seed=2)
    assert b.handle_datagrams(other.send([b"x"] * 2), 0.0) == []
    assert b.state is DtlsState.CONNECTED
    assert b.poll_event() is None


def test_order_does_not_matter_within_the_window() -> None:
    a, b = connected_pair()
    datagrams = a.send([b"%d" % number for number in range(100)])
    assert len(b.handle_datagrams(datagrams[50:80] + datagrams[20:50], 0.0)) == 60
    assert b.handle_datagrams(datagrams[:10], 0.0) == []  # too old to tell
    assert len(b.handle_datagrams(datagrams, 0.0)) == 24


def test_packets_that_cannot_be_sent_are_left_out() -> None:
    a, b = client_and_server()
    assert a.send([b"x"]) == []
    connect(a, b)
    datagrams = a.send([b"", b"x" * (MAX_PACKET_SIZE + 1), b"y" * MAX_PACKET_SIZE])
    assert b.handle_datagrams(datagrams, 0.0) == [b"y" * MAX_PACKET_SIZE]
    assert a.statistics().packets_refused == 3


def test_orderly_end() -> None:
    a, b = connected_pair()
    a.close(0.0)
    a.close(0.0)
    (goodbye,) = a.poll_transmit(0.0)
    assert b.handle_datagrams([goodbye], 0.0) == []
    assert events_of(b) == [PeerClosed()]
    assert (a.state, b.state) == (DtlsState.CLOSED, DtlsState.CLOSED)
    assert b.send([b"x"]) == []
    assert a.handle_datagrams(b.poll_transmit(0.0), 0.0) == []
    assert events_of(a) == []


def test_close_before_the_end_of_the_handshake() -> None:
    a, b = client_and_server()
    b.close(0.0)
    b.start(0.0)
    assert b.state is DtlsState.CLOSED
    assert b.poll_transmit(0.0) == []
    a.start(0.0)
    a.close(0.0)
    assert a.deadline is None
    assert len(a.poll_transmit(0.0)) == 2  # hello, and goodbye


def test_peer_that_begins_anew_is_answered() -> None:
    alice, bob = identities()
    b = bob.engine(client=False, remote_fingerprints=alice.fingerprints)
    for _ in range(2):
        a = alice.engine(client=True, remote_fingerprints=bob.fingerprints)
        a.start(0.0)
        b.handle_datagrams(a.poll_transmit(0.0), 0.0)
        assert len(b.poll_transmit(0.0)) == 1
    assert b.statistics().handshakes == 2


def test_same_seed_gives_the_same_bytes() -> None:
    def datagrams(seed: int) -> list[bytes]:
        a, b = client_and_server(seed)
        a.start(0.0)
        first = a.poll_transmit(0.0)
        b.handle_datagrams(first, 0.0)
        return first + b.poll_transmit(0.0)

    assert datagrams(5) == datagrams(5)
    assert datagrams(5) != datagrams(6)


def test_mtu_that_is_too_small_is_refused() -> None:
    alice, bob = identities()
    with pytest.raises(ValueError, match="512"):
        alice.engine(client=True, remote_fingerprints=bob.fingerprints, mtu=511)


@pytest.mark.fuzz
@given(
    st.lists(
        st.binary(max_size=80)
        | st.builds(
            lambda kind, epoch, body: (
                bytes((kind, 0xFE, 0xFD, 0, epoch)) + bytes(6) + len(body).to_bytes(2, "big") + body
            ),
            st.integers(20, 23),
            st.integers(0, 2),
            st.binary(max_size=80),
        )
    )
)
def test_no_datagram_raises_or_gives_a_packet(batch: list[bytes]) -> None:
    a, b = client_and_server()
    a.start(0.0)
    for engine in (a, b, *connected_pair()):
        assert engine.handle_datagrams(batch, 0.0) == []
        assert engine.state in {DtlsState.CONNECTING, DtlsState.CONNECTED}
