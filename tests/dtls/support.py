"""Two DTLS engines stepped by hand, peers of another make, and forged records."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL

from rtcsctp.dtls.certificate import Certificate
from rtcsctp.dtls.engine import DtlsEngine, DtlsEvent, DtlsIdentity
from rtcsctp.dtls.fingerprint import Fingerprint
from rtcsctp.dtls.openssl import OpenSslEngine, OpenSslIdentity
from rtcsctp.dtls.records import split_untrusted

ALICE = OpenSslIdentity(Certificate.generate())
BOB = OpenSslIdentity(Certificate.generate())

DELAY = 0.01


def client_and_server(
    client: OpenSslIdentity = ALICE, server: OpenSslIdentity = BOB, *, mtu: int = 1200
) -> tuple[OpenSslEngine, OpenSslEngine]:
    """Two engines that know each other, not started."""
    return (
        client.engine(client=True, remote_fingerprints=server.fingerprints, mtu=mtu),
        server.engine(client=False, remote_fingerprints=client.fingerprints, mtu=mtu),
    )


def events_of(engine: DtlsEngine) -> list[DtlsEvent]:
    events = []
    while (event := engine.poll_event()) is not None:
        events.append(event)
    return events


Rule = Callable[[str, int, bytes], bool]
"""Whether the n-th datagram from "a" or "b" gets lost."""


def deliver_all(_sender: str, _number: int, _datagram: bytes) -> bool:
    return False


class Stepper:
    """Two engines over a path of 10 ms, in virtual time, from one wake-up to the next."""

    def __init__(self, a: DtlsEngine, b: DtlsEngine, lost: Rule = deliver_all) -> None:
        self.a = a
        self.b = b
        self.now = 0.0
        self.lost = lost
        self.sent: dict[str, list[bytes]] = {"a": [], "b": []}
        self.packets: dict[str, list[bytes]] = {"a": [], "b": []}
        self._air: list[tuple[float, str, bytes]] = []

    def put(self, sender: str, datagrams: Sequence[bytes]) -> None:
        for datagram in datagrams:
            number = len(self.sent[sender])
            self.sent[sender].append(datagram)
            if not self.lost(sender, number, datagram):
                self._air.append((self.now + DELAY, sender, datagram))

    def settle(self) -> None:
        self.put("a", self.a.poll_transmit(self.now))
        self.put("b", self.b.poll_transmit(self.now))

    def step(self) -> bool:
        """Go to what happens next; False if nothing ever will."""
        self.settle()
        times = [when for when, _sender, _datagram in self._air]
        times += [engine.deadline for engine in (self.a, self.b) if engine.deadline is not None]
        if not times:
            return False
        self.now = max(self.now, min(times))
        arrived = [item for item in self._air if item[0] <= self.now]
        self._air = [item for item in self._air if item[0] > self.now]
        for sender, engine, end in (("b", self.a, "a"), ("a", self.b, "b")):
            batch = [datagram for _when, source, datagram in arrived if source == sender]
            if batch:
                self.packets[end] += engine.handle_datagrams(batch, self.now)
            if engine.deadline is not None and engine.deadline <= self.now:
                engine.handle_timer(self.now)
        self.settle()
        return True

    def run(self, until: float) -> None:
        """Step until nothing happens any more, or the clock says so."""
        while self.step():
            if self.now >= until:
                return


def connect(a: DtlsEngine, b: DtlsEngine) -> None:
    """Shake hands over a path that is perfect; events are left to be polled."""
    a.start(0.0)
    b.start(0.0)
    exchange(a, b)


def exchange(a: DtlsEngine, b: DtlsEngine, now: float = 0.0) -> None:
    """Carry datagrams to and fro until both are silent."""
    while (from_a := a.poll_transmit(now)) or (from_b := b.poll_transmit(now)):
        if from_a:
            assert b.handle_datagrams(from_a, now) == []
        else:
            assert a.handle_datagrams(from_b, now) == []


def connected_pair(mtu: int = 1200) -> tuple[OpenSslEngine, OpenSslEngine]:
    """A client and a server that have shaken hands, with no events left."""
    a, b = client_and_server(mtu=mtu)
    connect(a, b)
    events_of(a)
    events_of(b)
    return a, b


def stand_in_pair(a: DtlsIdentity, b: DtlsIdentity) -> tuple[DtlsEngine, DtlsEngine]:
    return (
        a.engine(client=True, remote_fingerprints=b.fingerprints),
        b.engine(client=False, remote_fingerprints=a.fingerprints),
    )


# -------------------------------------------------------------------- peers that are not our engine


class RawPeer:
    """OpenSSL without our care, as other programs use it."""

    def __init__(
        self,
        *,
        client: bool,
        certificate: Certificate | None = BOB.certificate,
        ciphers: bytes = b"ECDHE+AESGCM",
        srtp: bytes | None = b"SRTP_AES128_CM_SHA1_80",
        options: int = SSL.OP_NO_QUERY_MTU,
        alpn: Sequence[bytes] = (),
        mtu: int = 1200,
    ) -> None:
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_cipher_list(ciphers)
        context.set_options(options)
        context.set_max_proto_version(0xFEFD)
        context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        if srtp is not None:
            context.set_tlsext_use_srtp(srtp)
        if certificate is not None:
            context.use_certificate(certificate.certificate)
            context.use_privatekey(certificate.key)
        if alpn:
            context.set_alpn_protos(list(alpn))
        self.connection = SSL.Connection(context)
        self.connection.set_ciphertext_mtu(mtu)
        if client:
            self.connection.set_connect_state()
        else:
            self.connection.set_accept_state()
        self.is_done = False

    def step(self) -> list[bytes]:
        """Go on with the handshake; the records that come out, one by one."""
        try:
            self.connection.do_handshake()
            self.is_done = True
        except SSL.WantReadError:
            pass
        return self.flush()

    def flush(self) -> list[bytes]:
        try:
            return split_untrusted(self.connection.bio_read(1 << 16))
        except SSL.WantReadError:
            return []

    def feed(self, datagrams: Sequence[bytes]) -> list[bytes]:
        for datagram in datagrams:
            self.connection.bio_write(datagram)
        return self.step()

    def receive(self) -> list[bytes]:
        packets = []
        try:
            while True:
                packets.append(self.connection.recv(1 << 14))
        except SSL.WantReadError:
            return packets


def shake_hands_with(engine: OpenSslEngine, peer: RawPeer) -> None:
    engine.start(0.0)
    records = peer.step()
    for _ in range(6):
        engine.handle_datagrams(records, 0.0)
        records = peer.feed(engine.poll_transmit(0.0))


def rsa_certificate(bits: int = 2048) -> Certificate:
    key = rsa.generate_private_key(65537, bits)
    template = ALICE.certificate.certificate
    certificate = (
        x509.CertificateBuilder()
        .subject_name(template.subject)
        .issuer_name(template.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(template.not_valid_before_utc)
        .not_valid_after(template.not_valid_after_utc)
        .sign(key, hashes.SHA256())
    )
    return Certificate(certificate, key)


# ------------------------------------------------------------------------------------------ forgery


def record(kind: int, body: bytes, *, epoch: int = 0, sequence: int = 1000) -> bytes:
    """A record such as anybody can write."""
    header = bytes((kind, 0xFE, 0xFD)) + epoch.to_bytes(2, "big") + sequence.to_bytes(6, "big")
    return header + len(body).to_bytes(2, "big") + body


def message(kind: int, body: bytes, *, sequence: int = 0) -> bytes:
    """A record with a whole message of the handshake."""
    size = len(body).to_bytes(3, "big")
    return record(22, bytes((kind,)) + size + sequence.to_bytes(2, "big") + bytes(3) + size + body)


def forged_alert(description: int = 40) -> bytes:
    return record(21, bytes((2, description)))


def forged_hello(rng: random.Random, cipher: bytes = b"\x00\x2f") -> bytes:
    """A ClientHello; by default with no cipher that anybody still wants."""
    body = b"\xfe\xfd" + rng.randbytes(32) + b"\0\0" + b"\0\x02" + cipher + b"\1\0" + b"\0\0"
    return message(1, body)


def forged_server_hello(rng: random.Random, cipher: bytes = b"\xc0\x2b") -> bytes:
    extensions = b"\xff\x01\0\x01\0" + b"\0\x17\0\0"  # renegotiation info, extended master secret
    body = b"\xfe\xfd" + rng.randbytes(32) + b"\0" + cipher + b"\0"
    return message(2, body + len(extensions).to_bytes(2, "big") + extensions)


def hello_extensions(hello: bytes) -> dict[int, bytes]:
    """The extensions of a ClientHello that is in one record."""
    start = 13 + 12 + 2 + 32
    start += 1 + hello[start]  # session id
    start += 1 + hello[start]  # cookie
    start += 2 + int.from_bytes(hello[start : start + 2], "big")  # cipher suites
    assert hello[start : start + 2] == b"\1\0"  # no compression
    start += 4
    extensions = {}
    while start < len(hello):
        kind = int.from_bytes(hello[start : start + 2], "big")
        size = int.from_bytes(hello[start + 2 : start + 4], "big")
        extensions[kind] = hello[start + 4 : start + 4 + size]
        start += 4 + size
    return extensions


STRANGER = Fingerprint.of(b"somebody else's certificate")
