"""Fingerprints of certificates (RFC 8122 section 5), by which WebRTC peers know each other.

There are no certificate authorities here. Each side hashes its self-signed certificate, and the
hash goes through signalling; whoever shows that certificate in the DTLS handshake, and proves to
have its key, is whom the description was about.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final

import attrs

from rtcsctp.errors import DescriptionError, FingerprintMismatchError

__all__ = ["STRENGTH", "Fingerprint", "check_fingerprint"]

STRENGTH: Final = ("sha-512", "sha-384", "sha-256", "sha-224", "sha-1")
"""The hashes that we compute, strongest first. "Implementations compliant with this specification
MUST NOT use the MD2 and MD5 hash functions to calculate fingerprints or to verify received
fingerprints" (RFC 8122 5); they are treated as hashes that we do not know."""

_HASHLIB: Final = {name: name.replace("-", "") for name in STRENGTH}
_DIGEST_SIZE: Final = {name: hashlib.new(_HASHLIB[name]).digest_size for name in STRENGTH}

# RFC 8866 9: token. The longest registered name has seven characters; 32 leave room for a hash of
# the future and none for a novel.
_ALGORITHM: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`{|}~-]{1,32}", re.ASCII)
_VALUE: Final = re.compile(r"[0-9A-F]{2}(?::[0-9A-F]{2}){0,127}", re.ASCII)


def _lower(text: str) -> str:
    return text.lower()


def _upper(text: str) -> str:
    return text.upper()


@attrs.frozen
class Fingerprint:
    """A hash of a certificate in DER.

    Two fingerprints are equal where they differ in upper and lower case only.

    Attributes:
        algorithm: the hash, as SDP names it and in lower case: ``sha-256``.
        value: bytes in upper-case hexadecimal with colons between them: ``AB:CD:…``.

    Raises:
        DescriptionError: an algorithm that is not a token, a value that is not hexadecimal bytes,
            or not as many as the algorithm gives.
    """

    algorithm: str = attrs.field(converter=_lower)
    value: str = attrs.field(converter=_upper)

    def __attrs_post_init__(self) -> None:
        if _ALGORITHM.fullmatch(self.algorithm) is None:
            raise DescriptionError(f"not the name of a hash: {self.algorithm[:40]!r}")
        if _VALUE.fullmatch(self.value) is None:
            raise DescriptionError(
                f"a fingerprint is pairs of hexadecimal digits with colons between them, not "
                f"{self.value[:40]!r}"
            )
        size = (len(self.value) + 1) // 3
        expected = _DIGEST_SIZE.get(self.algorithm, size)
        if size != expected:
            raise DescriptionError(
                f"a {self.algorithm} fingerprint has {expected} bytes, this one has {size}"
            )

    @classmethod
    def of(cls, der: bytes, algorithm: str = "sha-256") -> Fingerprint:
        """The fingerprint of a certificate.

        Args:
            der: the certificate in DER.
            algorithm: one of `STRENGTH`.

        Raises:
            ValueError: a hash that we do not compute; MD5 and MD2 are among them.
        """
        name = algorithm.lower()
        if name not in _HASHLIB:
            raise ValueError(f"no fingerprints by {algorithm!r}; possible: {', '.join(STRENGTH)}")
        return cls(name, hashlib.new(_HASHLIB[name], der).digest().hex(":"))

    @classmethod
    def parse(cls, text: str) -> Fingerprint:
        """Read what follows ``a=fingerprint:`` in SDP; letters may be of either case.

        A hash that we do not know is read all the same: `check_fingerprint` will skip it.

        Raises:
            DescriptionError: not of that form.
        """
        parts = text.split()
        if len(parts) != 2:
            raise DescriptionError(
                f"a fingerprint is the name of a hash and its value, not {text[:80]!r}"
            )
        return cls(parts[0], parts[1])

    def __str__(self) -> str:
        return f"{self.algorithm} {self.value}"


def check_fingerprint(der: bytes, announced: Sequence[Fingerprint]) -> None:
    """Check that a certificate is among those that were announced (RFC 8122 section 5.1).

    "An endpoint MUST select the set of fingerprints that use its most preferred hash function (out
    of those offered by the peer) and verify that each certificate used matches one fingerprint out
    of that set." A weaker hash that matches does not help where a stronger one does not.

    Args:
        der: the certificate that the peer has shown, in DER.
        announced: the fingerprints of its description.

    Raises:
        FingerprintMismatchError: it is none of them, or all are of hashes that we do not compute.
    """
    offered = {fingerprint.algorithm for fingerprint in announced}
    strongest = next((name for name in STRENGTH if name in offered), None)
    actual = Fingerprint.of(der, strongest or "sha-256")
    if strongest is None or actual not in announced:
        raise FingerprintMismatchError(
            "\n".join(str(fingerprint) for fingerprint in announced) or "none", str(actual)
        )
