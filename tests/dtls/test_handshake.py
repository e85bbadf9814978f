"""The handshake between our engines, and with peers of another make; pitfalls W1 to W5, W8 to W11.

In the ladders, `a` is the client and `b` is the server.
"""

from __future__ import annotations

import random
import time

import pytest
from OpenSSL import SSL

from rtcsctp.dtls.certificate import Certificate
from rtcsctp.dtls.engine import (
    PATIENCE,
    DtlsEngine,
    DtlsIdentity,
    DtlsState,
    HandshakeDone,
    HandshakeFailed,
)
from rtcsctp.dtls.fingerprint import Fingerprint
from rtcsctp.dtls.handshake import FIRST_RESEND
from rtcsctp.dtls.openssl import CIPHERS, OpenSslEngine, OpenSslIdentity
from rtcsctp.errors import DtlsError, FingerprintMismatchError

from .support import (
    ALICE,
    BOB,
    DELAY,
    STRANGER,
    RawPeer,
    Stepper,
    client_and_server,
    connect,
    connected_pair,
    events_of,
    exchange,
    hello_extensions,
    rsa_certificate,
    shake_hands_with,
)

RSA = OpenSslIdentity(rsa_certificate())


def the_handshake_done(engine: DtlsEngine) -> HandshakeDone:
    (event,) = events_of(engine)
    assert isinstance(event, HandshakeDone)
    assert engine.state is DtlsState.CONNECTED
    return event


def the_failure(engine: DtlsEngine) -> DtlsError:
    (event,) = events_of(engine)
    assert isinstance(event, HandshakeFailed)
    assert engine.state is DtlsState.FAILED
    assert engine.deadline is None
    return event.error


def test_engines_are_what_the_interface_says() -> None:
    identity: DtlsIdentity = ALICE
    engine: DtlsEngine = identity.engine(client=True, remote_fingerprints=BOB.fingerprints)
    assert (engine.state, engine.is_client, engine.deadline) == (DtlsState.NEW, True, None)
    assert engine.overhead == 37
    assert engine.poll_event() is None
    assert engine.poll_transmit(0.0) == []


def test_two_engines_shake_hands() -> None:
    a, b = client_and_server()
    connect(a, b)
    for engine, peer in ((a, BOB), (b, ALICE)):
        event = the_handshake_done(engine)
        assert event.remote_certificate == peer.certificate.der
        assert event.remote_fingerprint == peer.certificate.fingerprint()
        assert event.cipher == "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
        assert engine.deadline is None
        assert engine.statistics().handshakes == 1
    assert b.handle_datagrams(a.send([b"hello"]), 0.0) == [b"hello"]
    assert a.handle_datagrams(b.send([b"hello"]), 0.0) == [b"hello"]


def test_handshake_takes_two_round_trips() -> None:
    stepper = Stepper(*client_and_server())
    stepper.a.start(0.0)
    stepper.b.start(0.0)
    stepper.run(until=1.0)
    assert stepper.now == pytest.approx(4 * DELAY)
    assert (len(stepper.sent["a"]), len(stepper.sent["b"])) == (2, 2)


def test_peer_may_be_quicker_than_we_are() -> None:  # pitfall W3
    a, b = client_and_server()
    a.start(0.0)  # b has not been started
    exchange(a, b)
    the_handshake_done(a)
    the_handshake_done(b)


def test_datagrams_for_a_client_that_was_not_started_are_dropped() -> None:
    a, _b = client_and_server()
    assert a.handle_datagrams([b"\x16hello", b""], 0.0) == []
    assert a.state is DtlsState.NEW
    assert a.statistics().datagrams_dropped == 2


def test_first_packets_may_come_with_the_last_flight() -> None:  # pitfall W10
    # Chromium's INIT comes in the same burst as its Finished; here in one batch.
    a, b = client_and_server()
    a.start(0.0)
    assert b.handle_datagrams(a.poll_transmit(0.0), 0.0) == []
    assert a.handle_datagrams(b.poll_transmit(0.0), 0.0) == []
    assert b.handle_datagrams(a.poll_transmit(0.0), 0.0) == []
    last_flight = b.poll_transmit(0.0)
    first_packets = b.send([b"INIT", b"more"])
    assert a.handle_datagrams(last_flight + first_packets, 0.0) == [b"INIT", b"more"]
    the_handshake_done(a)


def test_packets_that_overtake_the_last_flight_are_kept_until_it_comes() -> None:
    a, b = client_and_server()
    a.start(0.0)
    b.handle_datagrams(a.poll_transmit(0.0), 0.0)
    a.handle_datagrams(b.poll_transmit(0.0), 0.0)
    b.handle_datagrams(a.poll_transmit(0.0), 0.0)
    last_flight = b.poll_transmit(0.0)
    assert a.handle_datagrams(b.send([b"INIT"]), 0.0) == []
    assert a.handle_datagrams(last_flight, 0.0) == [b"INIT"]


def test_start_twice_is_once() -> None:
    a, b = client_and_server()
    a.start(0.0)
    a.start(0.0)
    assert len(a.poll_transmit(0.0)) == 1
    connect(a, b)
    a.start(1.0)
    assert a.poll_transmit(1.0) == []


# --------------------------------------------------------------------------- what is negotiated


def client_hello() -> bytes:
    a, _b = client_and_server()
    a.start(0.0)
    (hello,) = a.poll_transmit(0.0)
    return hello


def test_srtp_is_offered_although_there_is_no_media() -> None:  # pitfall W1
    assert hello_extensions(client_hello())[14] == bytes.fromhex("0004 0007 0001 00")


@pytest.mark.parametrize("client", [True, False])
@pytest.mark.parametrize("profile", ["SRTP_AES128_CM_SHA1_80", None])
def test_peers_with_and_without_srtp_are_met(client: bool, profile: str | None) -> None:
    # pitfall W1
    peer = RawPeer(client=not client, srtp=profile.encode() if profile else None)
    engine = ALICE.engine(client=client, remote_fingerprints=BOB.fingerprints)
    shake_hands_with(engine, peer)
    assert peer.is_done
    assert the_handshake_done(engine).srtp_profile == profile


def test_only_dtls_1_2_is_spoken() -> None:  # pitfall W8
    hello = client_hello()
    assert hello[13 + 12 :][:2] == b"\xfe\xfd"
    assert 43 not in hello_extensions(hello)  # supported_versions, of DTLS 1.3
    a, b = client_and_server()
    connect(a, b)
    assert the_handshake_done(a).version == "DTLSv1.2"


def test_one_identity_serves_many_peers_at_once() -> None:  # pitfall W9
    pairs = [client_and_server() for _ in range(5)] + [client_and_server(BOB, ALICE)]
    for a, b in pairs:
        a.start(0.0)
        b.start(0.0)
    for _ in range(4):
        for a, b in pairs:
            b.handle_datagrams(a.poll_transmit(0.0), 0.0)
            a.handle_datagrams(b.poll_transmit(0.0), 0.0)
    for a, b in pairs:
        the_handshake_done(a)
        the_handshake_done(b)


def test_no_tickets_and_no_compression_are_offered() -> None:  # pitfall W11
    extensions = hello_extensions(client_hello())  # asserts that there is no compression
    assert 35 not in extensions
    groups = extensions[10][2:]
    assert {groups[i : i + 2] for i in range(0, len(groups), 2)} >= {b"\0\x1d", b"\0\x17"}


@pytest.mark.parametrize(
    ("client", "server", "cipher"),
    [
        (RSA, BOB, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
        (ALICE, RSA, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
        (RSA, RSA, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    ],
)
def test_rsa_certificates_are_met(  # pitfall W11
    client: OpenSslIdentity, server: OpenSslIdentity, cipher: str
) -> None:
    a, b = client_and_server(client, server)
    connect(a, b)
    assert the_handshake_done(a).cipher == cipher
    assert the_handshake_done(b).cipher == cipher


@pytest.mark.parametrize(
    ("cipher", "overhead"),
    [
        (b"ECDHE-ECDSA-CHACHA20-POLY1305", 29),
        (b"ECDHE-ECDSA-AES256-GCM-SHA384", 37),
        (b"ECDHE-ECDSA-AES128-GCM-SHA256", 37),
    ],
)
def test_overhead_is_that_of_the_cipher(cipher: bytes, overhead: int) -> None:
    peer = RawPeer(client=False, ciphers=cipher)
    engine = ALICE.engine(client=True, remote_fingerprints=BOB.fingerprints)
    shake_hands_with(engine, peer)
    assert the_handshake_done(engine).cipher == CIPHERS[cipher.decode()]
    assert engine.overhead == overhead
    datagrams = engine.send([b"x" * 100, b"y" * 7, b"z" * 100])
    sizes = [len(datagram) - overhead for datagram in datagrams]
    assert sizes == [100, 7, 100]
    peer.connection.bio_write(b"".join(datagrams))
    assert peer.receive() == [b"x" * 100, b"y" * 7, b"z" * 100]


def test_peer_without_a_common_cipher_is_refused() -> None:
    # It goes on saying hello; once could be a forgery, twice is not.
    engine = ALICE.engine(client=False, remote_fingerprints=BOB.fingerprints)
    hello = RawPeer(client=True, ciphers=b"ECDHE-ECDSA-AES128-SHA256").step()
    for now in (0.0, 1.0, 3.0):
        engine.handle_datagrams(hello, now)
        assert engine.poll_transmit(now) == []
        assert engine.poll_event() is None
    assert engine.deadline == PATIENCE
    engine.handle_timer(PATIENCE)
    assert "no shared cipher" in str(the_failure(engine))
    (alert,) = engine.poll_transmit(PATIENCE)
    assert alert[0] == 21
    assert alert[13:] == b"\2\x28"  # fatal, handshake_failure


def test_client_without_a_certificate_is_refused() -> None:
    peer = RawPeer(client=True, certificate=None)
    engine = ALICE.engine(client=False, remote_fingerprints=BOB.fingerprints)
    shake_hands_with(engine, peer)
    assert engine.state is DtlsState.CONNECTING
    assert engine.deadline == PATIENCE
    engine.handle_timer(PATIENCE)
    assert "did not return a certificate" in str(the_failure(engine))


# ------------------------------------------------------------------------------- fingerprints


def test_stranger_is_refused_by_the_client() -> None:  # pitfall W10
    #  a -> ClientHello
    #  a <- ServerHello, Certificate, …
    #  a -> alert bad_certificate: its own flight is not sent, and b never establishes
    peer = RawPeer(client=False)
    engine = ALICE.engine(client=True, remote_fingerprints=[STRANGER])
    engine.start(0.0)
    engine.handle_datagrams(peer.feed(engine.poll_transmit(0.0)), 0.0)
    error = the_failure(engine)
    assert isinstance(error, FingerprintMismatchError)
    assert error.announced == str(STRANGER)
    assert error.actual == str(BOB.certificate.fingerprint())
    (alert,) = engine.poll_transmit(0.0)
    with pytest.raises(SSL.Error, match="bad certificate"):
        peer.feed([alert])
    assert not peer.is_done


def test_stranger_is_refused_by_the_server() -> None:  # pitfall W10
    #  b <- …, Finished
    #  b -> alert bad_certificate instead of its Finished: a never establishes
    peer = RawPeer(client=True)
    engine = ALICE.engine(client=False, remote_fingerprints=[STRANGER])
    engine.handle_datagrams(peer.step(), 0.0)
    engine.handle_datagrams(peer.feed(engine.poll_transmit(0.0)), 0.0)
    assert isinstance(the_failure(engine), FingerprintMismatchError)
    (alert,) = engine.poll_transmit(0.0)
    with pytest.raises(SSL.Error, match="bad certificate"):
        peer.feed([alert])
    assert not peer.is_done


def test_packets_of_a_stranger_never_come_out() -> None:  # pitfall W10
    a, b = client_and_server()
    stranger = BOB.engine(client=False, remote_fingerprints=[STRANGER])
    a.start(0.0)
    stranger.handle_datagrams(a.poll_transmit(0.0), 0.0)
    a.handle_datagrams(stranger.poll_transmit(0.0), 0.0)
    flight = a.poll_transmit(0.0)
    assert stranger.handle_datagrams([*flight, *connected_pair()[0].send([b"INIT"])], 0.0) == []
    assert isinstance(the_failure(stranger), FingerprintMismatchError)
    assert stranger.send([b"x"]) == []
    del b


def test_strongest_announced_hash_decides() -> None:  # pitfall W10
    der = BOB.certificate.der
    sha1 = Fingerprint.of(der, "sha-1")
    for announced, passes in (
        ([sha1], True),
        ([sha1, Fingerprint.of(der, "sha-512"), STRANGER], True),
        ([sha1, Fingerprint.of(b"other", "sha-512")], False),
        ([Fingerprint("md5", bytes(16).hex(":"))], False),
        ([], False),
    ):
        a = ALICE.engine(client=True, remote_fingerprints=announced)
        b = BOB.engine(client=False, remote_fingerprints=ALICE.fingerprints)
        connect(a, b)
        assert (a.state is DtlsState.CONNECTED) is passes


def test_certificate_that_only_openssl_can_read_is_judged_like_any_other() -> None:
    # A peer damages its own certificate: the month of its end is 0x3x of the wrong kind.
    peer = RawPeer(client=False)
    engine = ALICE.engine(client=True, remote_fingerprints=BOB.fingerprints)
    engine.start(0.0)
    flight = b"".join(peer.feed(engine.poll_transmit(0.0)))
    end = f"{BOB.certificate.not_after:%y%m%d%H%M%SZ}".encode()
    assert flight.count(end) == 1
    flight = flight.replace(end, end[:2] + b"99" + end[4:])
    assert engine.handle_datagrams([flight], 0.0) == []
    assert isinstance(the_failure(engine), FingerprintMismatchError)


# ------------------------------------------------------------------------------------ datagrams


def big_hello() -> tuple[RawPeer, list[bytes]]:
    """A client whose hello takes two datagrams, as a post-quantum key share makes it."""
    peer = RawPeer(client=True, alpn=[b"x" * 200] * 6)
    pieces = peer.step()
    assert len(pieces) == 2
    return peer, pieces


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1, 1, 0, 0)])
def test_hello_in_two_datagrams_is_put_together_in_any_order(  # pitfall W2
    order: tuple[int, ...],
) -> None:
    peer, pieces = big_hello()
    engine = ALICE.engine(client=False, remote_fingerprints=BOB.fingerprints)
    for index in order:
        engine.handle_datagrams([pieces[index]], 0.0)
    for _ in range(3):
        engine.handle_datagrams(peer.feed(engine.poll_transmit(0.0)), 0.0)
    assert peer.is_done
    the_handshake_done(engine)
    assert engine.statistics().handshakes == 1


@pytest.mark.parametrize("mtu", [256, 300, 600, 1200, 1400])
@pytest.mark.parametrize("identity", [BOB, RSA])
def test_datagrams_of_the_handshake_keep_to_the_mtu(  # pitfall W4
    mtu: int, identity: OpenSslIdentity
) -> None:
    stepper = Stepper(*client_and_server(ALICE, identity, mtu=mtu))
    stepper.a.start(0.0)
    stepper.run(until=1.0)
    the_handshake_done(stepper.a)
    the_handshake_done(stepper.b)
    for end in "ab":
        assert max(map(len, stepper.sent[end])) <= mtu
    if mtu >= 1200 and identity is BOB:  # not in pieces of 256 bytes
        assert (len(stepper.sent["a"]), len(stepper.sent["b"])) == (2, 2)


def test_mtu_below_what_openssl_can_do_is_refused() -> None:
    with pytest.raises(ValueError, match="256"):
        ALICE.engine(client=True, remote_fingerprints=BOB.fingerprints, mtu=255)


# ----------------------------------------------------------------------------------------- losses


@pytest.mark.parametrize("end", ["a", "b"])
@pytest.mark.parametrize("number", [0, 1])
def test_each_flight_may_get_lost(end: str, number: int) -> None:  # pitfall W5
    stepper = Stepper(*client_and_server(), lambda *where: where[:2] == (end, number))
    stepper.a.start(0.0)
    stepper.b.start(0.0)
    stepper.run(until=30.0)
    the_handshake_done(stepper.a)
    the_handshake_done(stepper.b)
    assert stepper.now < 2 * FIRST_RESEND  # OpenSSL alone would need a second


@pytest.mark.parametrize("seed", range(10))
def test_handshake_over_a_lossy_path(seed: int) -> None:  # pitfall W5
    rng = random.Random(seed)
    stepper = Stepper(*client_and_server(mtu=400), lambda *_: rng.random() < 0.3)
    stepper.a.start(0.0)
    stepper.b.start(0.0)
    stepper.run(until=60.0)
    the_handshake_done(stepper.a)
    the_handshake_done(stepper.b)


def test_lost_last_flight_is_sent_again_by_openssl_when_the_peer_asks() -> None:  # pitfall W5
    # The peer has only OpenSSL's timer, which needs a second of the wall clock.
    peer = RawPeer(client=True)
    engine = ALICE.engine(client=False, remote_fingerprints=BOB.fingerprints)
    engine.handle_datagrams(peer.step(), 0.0)
    engine.handle_datagrams(peer.feed(engine.poll_transmit(0.0)), 0.0)
    assert engine.poll_transmit(0.0)  # lost
    the_handshake_done(engine)
    deadline = peer.connection.DTLSv1_get_timeout()
    assert deadline is not None
    time.sleep(deadline)
    assert peer.connection.DTLSv1_handle_timeout()
    assert engine.handle_datagrams(peer.flush(), 1.0) == []
    peer.feed(engine.poll_transmit(1.0))
    assert peer.is_done
    assert peer.connection.send(b"x") == 1
    assert engine.handle_datagrams(peer.flush(), 1.0) == [b"x"]


def test_last_flight_is_not_sent_for_ever_to_who_repeats_an_old_one() -> None:
    a, b = client_and_server()
    a.start(0.0)
    b.handle_datagrams(a.poll_transmit(0.0), 0.0)
    a.handle_datagrams(b.poll_transmit(0.0), 0.0)
    flight = a.poll_transmit(0.0)
    b.handle_datagrams(flight, 0.0)
    (last_flight,) = b.poll_transmit(0.0)
    b.handle_datagrams(flight * 5, 0.0)
    assert b.poll_transmit(0.0) == []  # the same burst
    b.handle_datagrams(flight * 5, 0.15)
    (again,) = b.poll_transmit(0.15)
    assert (again[:5], again[11:]) == (last_flight[:5], last_flight[11:])  # but for its number
    for now in range(1, 100):
        b.handle_datagrams(flight, float(now))
    assert len(b.poll_transmit(100.0)) == 9


def test_hello_is_repeated_until_the_peer_comes() -> None:
    # Whoever carries descriptions by hand may need minutes.
    a, b = client_and_server()
    stepper = Stepper(a, BOB.engine(client=True, remote_fingerprints=()))  # says nothing
    a.start(0.0)
    stepper.run(until=100.0)
    times = len(stepper.sent["a"])
    assert 20 < times < 30
    late = Stepper(a, b)
    late.now = stepper.now
    late.run(until=stepper.now + 6.0)
    the_handshake_done(a)
    the_handshake_done(b)


def test_timer_that_fires_early_does_nothing() -> None:
    a, _b = client_and_server()
    a.start(0.0)
    a.poll_transmit(0.0)
    assert a.deadline == FIRST_RESEND
    for _ in range(10):
        a.handle_timer(0.1)
    assert a.poll_transmit(0.1) == []
    assert a.deadline == FIRST_RESEND
    a.handle_timer(FIRST_RESEND)
    assert len(a.poll_transmit(FIRST_RESEND)) == 1


def test_deadline_is_openssl_s_when_that_is_sooner() -> None:
    a, _b = client_and_server()
    a.start(0.0)
    for now in (0.15, 0.45):
        a.handle_timer(now)
    assert a.deadline is not None
    assert a.deadline == pytest.approx(1.05)  # 0.45 + 0.6; OpenSSL's clock has hardly moved


def test_engines_that_were_never_started_need_no_timer() -> None:
    for engine in client_and_server():
        engine.handle_timer(5.0)
        assert engine.deadline is None
        assert engine.state is DtlsState.NEW


def test_identity_announces_its_certificate() -> None:
    certificate = Certificate.generate()
    identity = OpenSslIdentity(certificate)
    assert identity.fingerprints == (certificate.fingerprint(),)
    engine = identity.engine(client=False, remote_fingerprints=BOB.fingerprints)
    assert isinstance(engine, OpenSslEngine)


def test_keys_are_told_to_whoever_was_named_for_them() -> None:
    lines: list[bytes] = []
    alice = OpenSslIdentity(Certificate.generate(), key_log=lines.append)
    a, b = client_and_server(alice, BOB)
    connect(a, b)
    assert a.state is b.state is DtlsState.CONNECTED
    [line] = lines
    label, client_random, secret = line.split()
    assert (label, len(client_random), len(secret)) == (b"CLIENT_RANDOM", 64, 96)
