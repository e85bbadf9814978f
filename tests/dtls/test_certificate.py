"""Certificates and their keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from rtcsctp.dtls.certificate import Certificate
from rtcsctp.dtls.fingerprint import Fingerprint
from rtcsctp.errors import CertificateError

from .support import ALICE, BOB, rsa_certificate

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def key_pem(key: serialization.PrivateFormat | object, password: bytes | None = None) -> bytes:
    assert isinstance(
        key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
    )
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()
        if password is None
        else serialization.BestAvailableEncryption(password),
    )


def certificate_pem(certificate: Certificate) -> bytes:
    return certificate.certificate.public_bytes(serialization.Encoding.PEM)


def self_signed(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=30))
        .sign(key, hashes.SHA384())
    )


def test_generated_certificate_is_what_browsers_make() -> None:
    certificate = Certificate.generate(now=NOW)
    assert isinstance(certificate.key, ec.EllipticCurvePrivateKey)
    assert isinstance(certificate.key.curve, ec.SECP256R1)
    assert certificate.certificate.subject.rfc4514_string() == "CN=WebRTC"
    assert certificate.certificate.issuer == certificate.certificate.subject
    assert certificate.not_after == NOW + timedelta(days=30)
    assert certificate.certificate.not_valid_before_utc == NOW - timedelta(days=1)
    assert certificate.certificate.version is x509.Version.v3


def test_no_two_generated_certificates_are_the_same() -> None:
    a, b = Certificate.generate(), Certificate.generate()
    assert a.fingerprint() != b.fingerprint()
    assert a.certificate.serial_number != b.certificate.serial_number


def test_name_and_period_can_be_chosen() -> None:
    certificate = Certificate.generate(common_name="peer 7", days=365, now=NOW)
    assert certificate.certificate.subject.rfc4514_string() == "CN=peer 7"
    assert certificate.not_after == NOW + timedelta(days=365)


@pytest.mark.parametrize("days", [0, -1, 40_000])
def test_impossible_period_is_refused(days: int) -> None:
    with pytest.raises(CertificateError, match="days"):
        Certificate.generate(days=days)


@pytest.mark.parametrize("name", ["", "x" * 65])
def test_impossible_name_is_refused(name: str) -> None:
    with pytest.raises(CertificateError, match="common name"):
        Certificate.generate(common_name=name)


def test_what_was_written_is_read_back() -> None:
    again = Certificate.from_pem(ALICE.certificate.to_pem())
    assert again.der == ALICE.certificate.der
    assert again.fingerprint() == ALICE.certificate.fingerprint()


def test_certificate_and_key_may_be_in_two_texts() -> None:
    pem = certificate_pem(ALICE.certificate).decode()
    again = Certificate.from_pem(pem, key_pem(ALICE.certificate.key).decode())
    assert again.der == ALICE.certificate.der


def test_key_may_come_before_the_certificate_with_words_around() -> None:
    text = (
        b"\xef\xbb\xbfBag Attributes\r\n"
        + key_pem(ALICE.certificate.key).replace(b"\n", b"\r\n")
        + b"some words\n"
        + certificate_pem(ALICE.certificate)
        + certificate_pem(BOB.certificate)
    )
    assert Certificate.from_pem(text).der == ALICE.certificate.der


def test_rsa_is_accepted() -> None:
    certificate = rsa_certificate()
    assert Certificate.from_pem(certificate.to_pem()).der == certificate.der


def test_fingerprint_of_the_certificate() -> None:
    der = ALICE.certificate.der
    assert ALICE.certificate.fingerprint() == Fingerprint.of(der)
    assert ALICE.certificate.fingerprint("sha-512") == Fingerprint.of(der, "sha-512")
    assert ALICE.certificate.fingerprints == (Fingerprint.of(der),)


def test_hash_of_the_signature_is_announced_too() -> None:
    # "both the 'SHA-256' hash function algorithm and the hash function used to generate the
    # signature" (RFC 8122 5.1)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = Certificate(self_signed(key), key, now=NOW)
    algorithms = [fingerprint.algorithm for fingerprint in certificate.fingerprints]
    assert algorithms == ["sha-256", "sha-384"]


def test_secret_does_not_show() -> None:
    assert "PRIVATE" not in repr(ALICE.certificate)
    assert str(ALICE.certificate.fingerprint()) in repr(ALICE.certificate)


def damaged(pem: bytes) -> bytes:
    lines = pem.splitlines(keepends=True)
    return b"".join([lines[0], *lines[2:]])


@pytest.mark.parametrize(
    ("certificate", "key", "complaint"),
    [
        (b"", None, "no certificate"),
        (b"hello", None, "no certificate"),
        (key_pem(ALICE.certificate.key), None, "no certificate"),
        (certificate_pem(ALICE.certificate), None, "no private key"),
        (certificate_pem(ALICE.certificate), b"hello", "no private key"),
        (ALICE.certificate.to_pem()[:-60], None, "no private key"),
        (certificate_pem(ALICE.certificate), key_pem(BOB.certificate.key), "does not belong"),
        (damaged(certificate_pem(ALICE.certificate)), None, "certificate is damaged"),
        (
            certificate_pem(ALICE.certificate),
            damaged(key_pem(ALICE.certificate.key)),
            "key is damaged",
        ),
        (
            certificate_pem(ALICE.certificate),
            key_pem(ALICE.certificate.key, b"secret"),
            "encrypted",
        ),
        (
            certificate_pem(ALICE.certificate),
            key_pem(ed25519.Ed25519PrivateKey.generate()),
            "ECDSA on P-256, or RSA",
        ),
        (
            certificate_pem(ALICE.certificate),
            key_pem(ec.generate_private_key(ec.SECP384R1())),
            "P-256",
        ),
        (
            certificate_pem(ALICE.certificate),
            key_pem(rsa.generate_private_key(65537, 1024)),
            "1024 bits",
        ),
        ("\ud800", None, "no certificate"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(
    certificate: bytes | str, key: bytes | None, complaint: str
) -> None:
    with pytest.raises(CertificateError, match=complaint):
        Certificate.from_pem(certificate, key)


def test_expired_certificate_is_refused() -> None:
    pem = Certificate.generate(days=30, now=NOW).to_pem()
    Certificate.from_pem(pem, now=NOW + timedelta(days=29))
    with pytest.raises(CertificateError, match="expired on 2026-12-01"):
        Certificate.from_pem(pem, now=NOW + timedelta(days=30))


def test_old_certificate_is_judged_by_the_clock() -> None:
    pem = Certificate.generate(now=datetime(2020, 1, 1, tzinfo=UTC)).to_pem()
    with pytest.raises(CertificateError, match="expired"):
        Certificate.from_pem(pem)
