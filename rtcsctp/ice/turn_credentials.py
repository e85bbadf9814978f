"""The client's half of the long-term credential mechanism (RFC 8489 9.2)."""

from __future__ import annotations

import base64
import binascii
import hashlib

from rtcsctp.ice.stun import (
    Attribute,
    PasswordAlgorithm,
    StunMessage,
    long_term_key,
    opaque_string,
)

__all__ = ["LongTermCredentials"]

_NONCE_COOKIE = b"obMatJos2"
_COOKIE_SIZE = len(_NONCE_COOKIE) + 4  # and the security features in base64
_PASSWORD_ALGORITHMS_BIT = 1 << 23  # bit 0 "is the leftmost bit" (18.1)
_USERNAME_ANONYMITY_BIT = 1 << 22
_MAX_NONCE = 763  # 14.10; also of a realm (14.9)


class LongTermCredentials:
    """What the server has told of itself, and what follows from it for our requests.

    Attributes:
        key: signs requests and proves answers; None until the server has asked for it.
        uses_sha256: requests carry MESSAGE-INTEGRITY-SHA256, as the server knows RFC 8489.
    """

    __slots__ = (
        "_algorithms",
        "_identity",
        "_nonce",
        "_password",
        "_realm",
        "_username",
        "algorithm",
        "key",
        "uses_sha256",
    )

    def __init__(self, username: str, password: str) -> None:
        self._username = opaque_string(username)
        self._password = password
        self._realm: bytes | None = None
        self._nonce: bytes = b""
        self._algorithms: bytes | None = None
        self._identity: tuple[int, bytes] = (Attribute.USERNAME, self._username.encode())
        self.algorithm: int = PasswordAlgorithm.MD5
        self.key: bytes | None = None
        self.uses_sha256 = False

    def attributes(self) -> list[tuple[int, bytes]]:
        """What a signed request carries before its integrity; empty before the first challenge."""
        if self._realm is None:
            return []
        found = [
            self._identity,
            (int(Attribute.REALM), self._realm),
            (int(Attribute.NONCE), self._nonce),
        ]
        if self._algorithms is not None:
            algorithm = self.algorithm.to_bytes(2, "big") + b"\0\0"
            found.append((Attribute.PASSWORD_ALGORITHMS, self._algorithms))
            found.append((Attribute.PASSWORD_ALGORITHM, algorithm))
        return found

    def take_challenge(self, message: StunMessage) -> str | None:
        """Learn realm, nonce and algorithms from a 401.

        Returns:
            None if the request is worth repeating with them, or why it is not (9.2.5).
        """
        realm = message.get(Attribute.REALM)
        realm_text = message.realm
        nonce = message.nonce
        if realm is None or realm_text is None or nonce is None:
            return "it asks for credentials and gives no realm or nonce"
        if len(realm) > _MAX_NONCE or len(nonce) > _MAX_NONCE:
            return "it asks for credentials with a realm or nonce of more than 763 bytes"
        if self.key is not None and realm == self._realm:
            return "it does not accept the username or the password"
        why = self._choose_algorithm(message, nonce)
        if why is not None:
            return why
        self._realm = realm
        self._nonce = nonce
        self.key = long_term_key(self._username, realm_text, self._password, self.algorithm)
        if _security_features(nonce) & _USERNAME_ANONYMITY_BIT:
            text = f"{self._username}:{opaque_string(realm_text)}"
            self._identity = (Attribute.USERHASH, hashlib.sha256(text.encode()).digest())
        else:
            self._identity = (Attribute.USERNAME, self._username.encode())
        return None

    def take_nonce(self, message: StunMessage) -> bool:
        """Learn the new nonce of a 438; whether there is one."""
        nonce = message.nonce
        if nonce is None or len(nonce) > _MAX_NONCE or self.key is None:
            return False
        if is_bid_down(message):
            return False
        self._nonce = nonce
        return True

    def _choose_algorithm(self, message: StunMessage, nonce: bytes) -> str | None:
        offered = message.get(Attribute.PASSWORD_ALGORITHMS)
        if offered is None:
            if _security_features(nonce) & _PASSWORD_ALGORITHMS_BIT:
                return "somebody has removed its list of password algorithms"
            self._algorithms = None
            self.algorithm = PasswordAlgorithm.MD5
            self.uses_sha256 = False
            return None
        numbers = message.password_algorithms
        # RFC 8656 section 6 (SHA-256 wherever both know it) is stricter than "the first
        # algorithm supported on the list" of RFC 8489.
        for algorithm in (PasswordAlgorithm.SHA256, PasswordAlgorithm.MD5):
            if algorithm in numbers:
                self._algorithms = offered
                self.algorithm = algorithm
                self.uses_sha256 = True
                return None
        return "it knows no password algorithm that we know"


def is_bid_down(message: StunMessage) -> bool:
    """Whether the nonce speaks of password algorithms and their list is not there (9.2.5)."""
    nonce = message.nonce
    return (
        nonce is not None
        and bool(_security_features(nonce) & _PASSWORD_ALGORITHMS_BIT)
        and message.get(Attribute.PASSWORD_ALGORITHMS) is None
    )


def _security_features(nonce: bytes) -> int:
    """The 24 bits in a nonce of a server that knows RFC 8489; 0 of an older one."""
    if not nonce.startswith(_NONCE_COOKIE) or len(nonce) < _COOKIE_SIZE:
        return 0
    try:
        features = base64.b64decode(nonce[len(_NONCE_COOKIE) : _COOKIE_SIZE], validate=True)
    except binascii.Error:
        return 0
    return int.from_bytes(features, "big") if len(features) == 3 else 0
