"""The certificate that a peer shows, and its private key.

A certificate says nothing about its owner here; its fingerprint, carried by signalling, says all
(RFC 8827 6.5). So it is signed by itself, and its names are what Chromium writes into its own.

Keys and serial numbers come from OpenSSL's random generator. The periods of validity are those of
the wall clock, which no other module of this folder reads: X.509 means dates, not our `now`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta  # noqa: TID251 - validity is a matter of dates

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from rtcsctp.dtls.fingerprint import STRENGTH, Fingerprint
from rtcsctp.errors import CertificateError

__all__ = ["Certificate", "PrivateKey"]

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_MIN_RSA_BITS = 2048
_MAX_DAYS = 36_500

_PEM_BLOCK = re.compile(
    rb"-----BEGIN (?P<label>[A-Z0-9 ]{1,40})-----(?P<body>.*?)-----END (?P=label)-----", re.DOTALL
)


class Certificate:
    """A certificate with the private key that belongs to it; immutable.

    Make one with `generate` or `from_pem`. One certificate may serve any number of connections;
    peers that see it again can tell that it is the same owner.
    """

    __slots__ = ("_certificate", "_der", "_key")

    def __init__(
        self, certificate: x509.Certificate, key: PrivateKey, *, now: datetime | None = None
    ) -> None:
        """Put the two together; `generate` and `from_pem` do it for most.

        Args:
            certificate: of `cryptography`.
            key: ECDSA with P-256, or RSA with 2,048 bits at least.
            now: the date by which validity is judged, with a time zone; by default the clock's.

        Raises:
            CertificateError: the key is not of these kinds, is not the certificate's, or the
                certificate has expired.
        """
        _check_key(key)
        if _public_bytes(certificate.public_key()) != _public_bytes(key.public_key()):
            raise CertificateError("the private key does not belong to the certificate")
        expiry = certificate.not_valid_after_utc
        if expiry <= (now or datetime.now(UTC)):
            raise CertificateError(f"the certificate expired on {expiry:%Y-%m-%d}")
        self._certificate = certificate
        self._key = key
        self._der = certificate.public_bytes(serialization.Encoding.DER)

    @classmethod
    def generate(
        cls, *, common_name: str = "WebRTC", days: int = 30, now: datetime | None = None
    ) -> Certificate:
        """A new certificate with a new ECDSA key on P-256 (RFC 8827 6.5), signed by itself.

        Args:
            common_name: its subject and issuer, which every peer sees; 1 to 64 characters. The
                default is Chromium's, so that nothing tells us from the crowd.
            days: how long it is valid, 1 to 36,500; it begins a day early, for peers whose clock
                is slow.
            now: the date of issue, with a time zone; by default the clock's.

        Raises:
            CertificateError: a name or period that cannot be.
        """
        if not 1 <= days <= _MAX_DAYS:
            raise CertificateError(f"a certificate is valid for 1 to {_MAX_DAYS} days, not {days}")
        issued = now or datetime.now(UTC)
        try:
            name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        except ValueError as error:
            raise CertificateError(f"not a common name: {common_name[:80]!r}") from error
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(issued - timedelta(days=1))
            .not_valid_after(issued + timedelta(days=days))
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key, now=issued)

    @classmethod
    def from_pem(
        cls,
        certificate: bytes | str,
        key: bytes | str | None = None,
        *,
        now: datetime | None = None,
    ) -> Certificate:
        """Read a certificate and its key from PEM; of a chain, the first certificate.

        Args:
            certificate: the text with the certificate.
            key: the text with the private key, unencrypted; None looks for it in the same text.
            now: the date by which validity is judged, with a time zone; by default the clock's.

        Raises:
            CertificateError: one of them is missing, damaged, encrypted, of a kind that cannot be
                used, or expired, or they do not belong together; the message says which.
        """
        text = _as_bytes(certificate)
        return cls(_read_certificate(text), _read_key(_as_bytes(key) if key else text), now=now)

    def to_pem(self) -> bytes:
        """The certificate and then its private key, unencrypted: keep it secret."""
        return self._certificate.public_bytes(serialization.Encoding.PEM) + self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate as `cryptography` has it."""
        return self._certificate

    @property
    def key(self) -> PrivateKey:
        """Its private key."""
        return self._key

    @property
    def der(self) -> bytes:
        """The certificate in DER."""
        return self._der

    @property
    def not_after(self) -> datetime:
        """When it expires, in UTC (W3C RTCCertificate.expires)."""
        return self._certificate.not_valid_after_utc

    def fingerprint(self, algorithm: str = "sha-256") -> Fingerprint:
        """Its fingerprint (RFC 8122 5).

        Raises:
            ValueError: not one of `rtcsctp.dtls.fingerprint.STRENGTH`.
        """
        return Fingerprint.of(self._der, algorithm)

    @property
    def fingerprints(self) -> tuple[Fingerprint, ...]:
        """What a description has to announce.

        "An endpoint MUST, as a minimum, calculate a fingerprint using both the 'SHA-256' hash
        function algorithm and the hash function used to generate the signature on the certificate"
        (RFC 8122 5.1); mostly they are the same.
        """
        names = {"sha-256"}
        signature_hash = self._certificate.signature_hash_algorithm
        if signature_hash is not None:
            names.add(signature_hash.name.replace("sha", "sha-"))
        return tuple(self.fingerprint(name) for name in reversed(STRENGTH) if name in names)

    def __repr__(self) -> str:
        return f"<Certificate {self.fingerprint()} until {self.not_after:%Y-%m-%d}>"


def _as_bytes(text: bytes | str) -> bytes:
    return text.encode("utf-8", "replace") if isinstance(text, str) else text


def _read_certificate(text: bytes) -> x509.Certificate:
    for block in _PEM_BLOCK.finditer(text):
        if block["label"] in {b"CERTIFICATE", b"X509 CERTIFICATE"}:
            try:
                return x509.load_pem_x509_certificate(block[0] + b"\n")
            except (ValueError, UnsupportedAlgorithm) as error:
                raise CertificateError(f"the certificate is damaged: {error}") from error
    raise CertificateError("no certificate: PEM with BEGIN CERTIFICATE and END CERTIFICATE wanted")


def _read_key(text: bytes) -> PrivateKey:
    for block in _PEM_BLOCK.finditer(text):
        if not block["label"].endswith(b"PRIVATE KEY"):
            continue
        if block["label"].startswith(b"ENCRYPTED") or b"ENCRYPTED" in block["body"][:200]:
            raise CertificateError("the private key is encrypted; give it without a password")
        try:
            key = serialization.load_pem_private_key(block[0] + b"\n", password=None)
        except UnsupportedAlgorithm as error:
            raise CertificateError(f"the private key is of an unknown kind: {error}") from error
        except (ValueError, TypeError) as error:
            raise CertificateError(f"the private key is damaged: {error}") from error
        return _check_key(key)
    raise CertificateError("no private key: PEM with BEGIN PRIVATE KEY and END PRIVATE KEY wanted")


def _check_key(key: object) -> PrivateKey:
    """Let pass what WebRTC peers can verify."""
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < _MIN_RSA_BITS:
            raise CertificateError(
                f"an RSA key of {key.key_size} bits; {_MIN_RSA_BITS} are the least"
            )
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey):
        if not isinstance(key.curve, ec.SECP256R1):
            raise CertificateError(f"an ECDSA key on {key.curve.name}; it must be on P-256")
        return key
    raise CertificateError("the private key must be ECDSA on P-256, or RSA")


def _public_bytes(key: object) -> bytes:
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise CertificateError("the certificate's key must be ECDSA on P-256, or RSA")
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
