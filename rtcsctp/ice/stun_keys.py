"""Keys of the two credential mechanisms of STUN (RFC 8489 9.1.1, 9.2.2)."""

from __future__ import annotations

import hashlib
import unicodedata
from enum import IntEnum

__all__ = ["PasswordAlgorithm", "long_term_key", "opaque_string", "short_term_key"]


class PasswordAlgorithm(IntEnum):
    """What a long-term key is hashed with (RFC 8489 18.5)."""

    MD5 = 1
    SHA256 = 2


def opaque_string(text: str) -> str:
    """A user name, realm or password, prepared by the OpaqueString profile (RFC 8265 4.2).

    Spaces of other scripts become the plain one, and the text is composed (NFC). Characters that
    the profile forbids are left in: whether it takes them is for the server to decide.
    """
    if text.isascii():
        return text
    spaced = "".join(" " if unicodedata.category(c) == "Zs" else c for c in text)
    return unicodedata.normalize("NFC", spaced)


def short_term_key(password: str) -> bytes:
    """The key of the short-term credential mechanism: the password (RFC 8489 9.1.1)."""
    return opaque_string(password).encode()


def long_term_key(
    username: str,
    realm: str,
    password: str,
    algorithm: int = PasswordAlgorithm.MD5,
) -> bytes:
    """The key of the long-term credential mechanism (RFC 8489 9.2.2, 18.5.1).

    Username and realm count "with any quotes and trailing nulls removed", the password without
    trailing nulls.
    """
    parts = [opaque_string(part).rstrip("\0") for part in (username, realm, password)]
    parts[:2] = [part.replace('"', "") for part in parts[:2]]
    text = ":".join(parts).encode()
    if algorithm == PasswordAlgorithm.SHA256:
        return hashlib.sha256(text).digest()
    # What the RFC prescribes; it hides the password from nobody who knows the realm.
    return hashlib.md5(text, usedforsecurity=False).digest()
