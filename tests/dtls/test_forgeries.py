"""Messages of others in the handshake, which anybody can write; pitfall W6.

In the ladders, `a` is the client, `b` is the server, and `!` is what was forged.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from rtcsctp.dtls.engine import PATIENCE, DtlsState, HandshakeDone, HandshakeFailed
from rtcsctp.dtls.openssl import OpenSslEngine

from .support import (
    ALICE,
    BOB,
    RawPeer,
    Stepper,
    client_and_server,
    connected_pair,
    events_of,
    forged_alert,
    forged_hello,
    forged_server_hello,
    message,
    record,
)

RNG = random.Random(6)

HARMLESS = {
    "fatal alert": forged_alert(),
    "close_notify": record(21, b"\1\0"),
    "alert that is too long": record(21, b"\2\x28" + bytes(20)),
    "change cipher spec": record(20, b"\1"),
    "wrong change cipher spec": record(20, b"\2"),
    "data of epoch 0": record(23, b"x" * 40),
    "data of epoch 1": record(23, b"x" * 40, epoch=1),
    "data of epoch 2": record(23, b"x" * 40, epoch=2),
    "empty handshake record": record(22, b""),
    "empty records together": record(20, b"") + record(22, b"") + record(23, b"") + record(21, b""),
    "too short for a message": record(22, b"\1\0\0"),
    "piece that is longer than its message": record(
        22, b"\2" + b"\0\0\5" + b"\0\0" + b"\0\0\0" + b"\0\0\x20" + bytes(32)
    ),
    "piece that is longer than its record": record(
        22, b"\2" + b"\0\0\x50" + b"\0\0" + b"\0\0\0" + b"\0\0\x50" + bytes(8)
    ),
    "huge message": record(
        22, b"\2" + b"\xff\xff\xff" + b"\0\0" + b"\0\0\0" + b"\0\0\x08" + bytes(8)
    ),
    "message far ahead": message(11, b"x", sequence=2000),
    "plaintext Finished": message(20, bytes(12), sequence=4),
    "hello request": message(0, b""),
    "hello that is too short": message(1, b"\xfe\xfd" + bytes(8)),
    "unknown message": message(99, b"x"),
    "heartbeat": record(24, b"\1\0\x40" + bytes(16)),
    "record of TLS": b"\x16\x03\x03" + record(22, b"hello")[3:],
    "cut short": forged_alert()[:-1],
    "header only": forged_alert()[:13],
    "one byte": b"\x16",
    "nothing": b"",
}


def run_with_forgery(forgery: bytes, victim: str, time: float) -> Stepper:
    """A handshake during which somebody sends a forgery to one end, at a time between flights."""
    a, b = client_and_server()
    stepper = Stepper(a, b)
    a.start(0.0)
    b.start(0.0)
    while stepper.now < time and stepper.step():
        pass
    engine = a if victim == "a" else b
    assert engine.handle_datagrams([forgery], stepper.now) == []
    stepper.run(until=PATIENCE - 1.0)
    return stepper


def assert_connected(stepper: Stepper) -> None:
    for engine in (stepper.a, stepper.b):
        assert [type(event) for event in events_of(engine)] == [HandshakeDone]
        assert engine.state is DtlsState.CONNECTED
    assert stepper.b.handle_datagrams(stepper.a.send([b"x"]), stepper.now) == [b"x"]
    assert stepper.a.handle_datagrams(stepper.b.send([b"x"]), stepper.now) == [b"x"]


@pytest.mark.parametrize("victim", ["a", "b"])
@pytest.mark.parametrize("time", [0.0, 0.01, 0.02, 0.03])
@pytest.mark.parametrize("name", HARMLESS)
def test_forgeries_that_are_never_fed(name: str, time: float, victim: str) -> None:  # pitfall W6
    # Most of these are the end of a bare OpenSSL object.
    stepper = run_with_forgery(HARMLESS[name], victim, time)
    assert_connected(stepper)
    assert stepper.now < 0.1
    for engine in (stepper.a, stepper.b):
        assert engine.statistics().handshakes == 1


@pytest.mark.parametrize("forgery", [forged_alert(), message(99, b"x"), record(23, b"x" * 40)])
def test_bare_openssl_dies_of_these(forgery: bytes) -> None:
    # What the tests above rest on.
    peer = RawPeer(client=True)
    peer.step()
    with pytest.raises(SSL.Error):
        peer.feed([forgery])


@pytest.mark.parametrize(
    "forgery",
    [
        forged_hello(RNG),  # no common cipher: the attempt dies
        forged_hello(RNG, b"\xc0\x2b"),  # an attempt that never completes
        message(1, b"\xfe\xfd" + bytes(60)),  # nonsense
    ],
)
@pytest.mark.parametrize("time", [0.0, 0.02])
def test_forged_client_hello_does_not_stop_the_server(forgery: bytes, time: float) -> None:
    #  b <-! ClientHello
    #  b <-  ClientHello, of somebody else by its random
    #  …                                                                    pitfall W6
    stepper = run_with_forgery(forgery, "b", time)
    assert_connected(stepper)
    assert stepper.b.statistics().handshakes == 2


@pytest.mark.parametrize(
    "forgery",
    [
        forged_server_hello(RNG),
        forged_server_hello(RNG, b"\x00\x2f"),  # a cipher that was not offered
        message(2, b"nonsense"),
        message(11, b"nonsense", sequence=1),
        message(14, b"", sequence=1),
        message(3, b"\xfe\xff\x05hello"),  # a cookie, with which the client says hello again
    ],
)
def test_forged_message_of_the_server_makes_the_client_begin_anew(forgery: bytes) -> None:
    #  a  -> ClientHello
    #  a <-! ServerHello, or what comes after it
    #  a <-  ServerHello, …: does not fit; a's attempt dies
    #  a  -> ClientHello, a second later, with another random; b makes another attempt
    #                                                                       pitfall W6
    stepper = run_with_forgery(forgery, "a", 0.0)
    assert_connected(stepper)
    assert stepper.a.statistics().handshakes == 2


@pytest.mark.parametrize("kind", [11, 16])
def test_forged_message_of_the_client_kills_one_attempt_of_the_server(kind: int) -> None:
    # The rest of the flight is lost on the dead attempt; the client is not told, as its own is not
    # broken: it fails by its own clock, or the peer connection by ICE.
    a, b = client_and_server()
    stepper = Stepper(a, b)
    a.start(0.0)
    stepper.step()
    b.handle_datagrams([message(kind, b"\xff" * 8, sequence=1)], stepper.now)
    stepper.run(until=5.0)
    assert events_of(b) == []
    assert b.deadline is not None
    stepper.run(until=30.0)
    assert b.state is DtlsState.FAILED


def test_refusal_that_may_be_forged_is_believed_after_a_while() -> None:
    a, _b = client_and_server()
    stepper = Stepper(a, ALICE.engine(client=True, remote_fingerprints=()))  # says nothing
    a.start(0.0)
    a.handle_datagrams([forged_alert(80)], 1.0)
    stepper.run(until=PATIENCE)
    assert a.state is DtlsState.CONNECTING
    stepper.run(until=60.0)
    assert stepper.now == pytest.approx(1.0 + PATIENCE)
    (event,) = events_of(a)
    assert isinstance(event, HandshakeFailed)
    assert str(event.error) == "the peer refused the DTLS handshake: internal_error"
    assert a.statistics().alerts_ignored == 1


def test_alert_before_anything_began_is_no_refusal() -> None:
    _a, b = client_and_server()
    b.handle_datagrams([forged_alert()] * 3, 0.0)
    assert b.deadline is None


def test_one_impossible_hello_is_not_the_peer_s_last_word() -> None:
    #  b <-! ClientHello without a common cipher, long before the peer begins
    a, b = client_and_server()
    b.handle_datagrams([forged_hello(random.Random(1))], 0.0)
    assert b.deadline == PATIENCE
    b.handle_timer(PATIENCE)
    assert b.state is DtlsState.CONNECTING
    assert b.deadline is None
    stepper = Stepper(a, b)
    a.start(0.0)
    stepper.run(until=1.0)
    assert_connected(stepper)


def test_flood_of_forged_hellos_makes_few_attempts() -> None:
    rng = random.Random(7)
    _a, b = client_and_server()
    b.handle_datagrams([forged_hello(rng, b"\xc0\x2b") for _ in range(1000)], 0.0)
    assert b.statistics().handshakes == 8
    b.poll_transmit(0.0)
    # … and the peer gets its turn as soon as it repeats itself.
    a = BOB.engine(client=True, remote_fingerprints=ALICE.fingerprints)
    b = ALICE.engine(client=False, remote_fingerprints=BOB.fingerprints)
    b.handle_datagrams([forged_hello(rng, b"\xc0\x2b") for _ in range(1000)], 0.0)
    b.poll_transmit(0.0)
    stepper = Stepper(a, b)
    a.start(0.0)
    stepper.run(until=PATIENCE)
    assert_connected(stepper)


def test_datagram_with_many_hellos_is_survived() -> None:
    rng = random.Random(8)
    _a, b = client_and_server()
    b.handle_datagrams([b"".join(forged_hello(rng) for _ in range(20))], 0.0)
    assert b.state is DtlsState.CONNECTING


def test_dying_attempt_does_not_kill_the_handshake_of_the_peer() -> None:
    # What OpenSSL has to say when it dies is held back.
    _a, b = client_and_server()
    b.handle_datagrams([forged_hello(random.Random(2))], 0.0)
    assert b.poll_transmit(0.0) == []


def test_early_records_with_data_are_bounded() -> None:
    a, _b = client_and_server()
    a.start(0.0)
    junk = [record(23, bytes(1000), epoch=1, sequence=number) for number in range(1000)]
    a.handle_datagrams(junk, 0.0)
    assert a.statistics().records_dropped == 1000 - 32


def test_nothing_without_the_keys_ends_a_connection() -> None:
    a, b = connected_pair()
    for forgery in [
        *HARMLESS.values(),
        forged_hello(RNG),
        forged_server_hello(RNG),
        record(21, b"\2\x28" + bytes(24), epoch=1),
    ]:
        assert a.handle_datagrams([forgery], 0.0) == []
        assert b.handle_datagrams([forgery], 0.0) == []
    assert a.poll_event() is None
    assert b.poll_event() is None
    assert a.handle_datagrams(b.send([b"x"]), 0.0) == [b"x"]
    assert b.handle_datagrams(a.send([b"x"]), 0.0) == [b"x"]


# ------------------------------------------------------------------------------------------- fuzz


def handshakes_in_all_stages() -> list[OpenSslEngine]:
    a, b = client_and_server()
    engines = [b]
    a.start(0.0)
    engines.append(a)
    c, d = client_and_server()
    c.start(0.0)
    d.handle_datagrams(c.poll_transmit(0.0), 0.0)
    engines.append(d)
    c.handle_datagrams(d.poll_transmit(0.0), 0.0)
    engines += [c, *connected_pair()]
    return engines


ENGINES = handshakes_in_all_stages()

headers = st.builds(
    lambda kind, version, epoch, sequence: (
        bytes((kind,)) + version + epoch.to_bytes(2, "big") + sequence.to_bytes(6, "big")
    ),
    st.sampled_from([20, 21, 22, 23, 24]),
    st.sampled_from([b"\xfe\xfd", b"\xfe\xff", b"\x03\x03"]),
    st.integers(0, 3),
    st.integers(0, (1 << 48) - 1),
)
bodies = st.binary(max_size=100) | st.builds(
    lambda kind, sequence, body: message(kind, body, sequence=sequence)[13:],
    st.sampled_from([0, 1, 2, 3, 11, 12, 13, 14, 15, 16, 20]),
    st.integers(0, 8),
    st.binary(max_size=80),
)
records = st.builds(
    lambda header, body: header + len(body).to_bytes(2, "big") + body, headers, bodies
)
datagrams = st.binary(max_size=100) | st.lists(records, max_size=3).map(b"".join)


@pytest.mark.fuzz
@given(st.lists(datagrams, max_size=4), st.floats(0.0, 100.0))
def test_no_datagram_raises_or_gives_a_packet(batch: list[bytes], now: float) -> None:
    for engine in ENGINES:
        assert engine.handle_datagrams(batch, now) == []
        engine.handle_timer(now)
        engine.poll_transmit(now)


@pytest.mark.fuzz
@given(
    st.lists(
        st.none() | st.tuples(st.integers(0, 1200), st.integers(1, 255)), min_size=8, max_size=8
    )
)
def test_damage_of_real_flights_never_raises(damages: list[tuple[int, int] | None]) -> None:
    a, b = client_and_server()
    a.start(0.0)
    for engine, peer in ((b, a), (a, b), (b, a), (a, b)):
        batch = [bytearray(datagram) for datagram in peer.poll_transmit(0.0)]
        for datagram in batch:
            damage = damages.pop()
            if damage is not None:
                datagram[damage[0] % len(datagram)] ^= damage[1]
        engine.handle_datagrams([bytes(datagram) for datagram in batch], 0.0)
        assert engine.state is not DtlsState.CLOSED
