"""Codes: a few words that two people tell each other, so that their programs find each other.

A code that is made here is six words at random out of 512, 54 bits, and a seventh that checks them
(nine bits of their SHA-256), so that a slip is found before anything is asked. Any other text of
at least 16 characters is taken as a code too.

What it is good for: from the code, by scrypt, come the name of a mailbox on the server and a key
(`Secret`). The session descriptions, which hold the addresses and the DTLS fingerprints of both
sides, are sealed with that key (AES-GCM; the answer together with the offer that it belongs to).
So whoever does not know the code, the server included, can neither read nor replace them: the
connection is with the one who knows the code. The server sees when two programs talk to it, from
where, and how much they say; it can keep them apart. It can also try codes against what it has
seen: 54 bits, each with a scrypt of 32 MiB, is far more than that is worth. A code that somebody
has thought of himself is as good as it is hard to guess.

A code may be used again while a transfer lasts, and that is how a broken one goes on; for the next
transfer there should be a new one.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import hashlib
import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rtcsctp.cli.transfer.errors import TransferError
from rtcsctp.cli.transfer.words import WORDS

__all__ = ["Secret", "checked_code", "new_code"]

_RANDOM_WORDS: Final = 6
_SHORTEST: Final = 16  # characters of a code that was not made here
_LONGEST: Final = 256
_SALT: Final = b"rtcsctp transfer 1"
_NONCE: Final = 12  # bytes


def new_code() -> str:
    """A code that nobody can guess."""
    words = [secrets.choice(WORDS) for _ in range(_RANDOM_WORDS)]
    return "-".join([*words, _check_word(words)])


def _check_word(words: list[str]) -> str:
    digest = hashlib.sha256("-".join(words).encode()).digest()
    return WORDS[int.from_bytes(digest[:2], "big") % len(WORDS)]


def checked_code(text: str) -> str:
    """A code in the form in which it counts: small letters, words joined by hyphens.

    Raises:
        TransferError: it has a slip, or is too easy to guess.
    """
    words = text.lower().replace("-", " ").split()
    code = "-".join(words)
    if len(code) > _LONGEST:
        raise TransferError(f"a code has at most {_LONGEST} characters")
    unknown = [word for word in words if word not in WORDS]
    if len(words) == _RANDOM_WORDS + 1 and len(unknown) < _RANDOM_WORDS - 2:
        if unknown:
            near = difflib.get_close_matches(unknown[0], WORDS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise TransferError(f"there is a slip in the code: no code has {unknown[0]!r}{hint}")
        if _check_word(words[:-1]) != words[-1]:
            raise TransferError("there is a slip in the code: its words do not belong together")
        return code
    if words and not unknown and len(words) in {_RANDOM_WORDS, _RANDOM_WORDS - 1}:
        raise TransferError(f"a word of the code is missing: it has {_RANDOM_WORDS + 1}")
    if len(code) < _SHORTEST:
        raise TransferError(
            f"the code has to be hard to guess: at least {_SHORTEST} characters; without --code, "
            "a good one is made"
        )
    return code


class Secret:
    """What follows from a code.

    Attributes:
        mailbox: the name of a mailbox.
    """

    def __init__(self, code: str) -> None:
        """It takes a tenth of a second and 32 MiB, to make guessing dear.

        Args:
            code: as `checked_code` gives it.
        """
        keys = hashlib.scrypt(
            code.encode(), salt=_SALT, n=1 << 15, r=8, p=1, maxmem=64 << 20, dklen=48
        )
        self.mailbox = keys[32:].hex()
        self._cipher = AESGCM(keys[:32])

    def seal(self, text: str, context: str) -> str:
        """A text that only who knows the code can read, in ASCII."""
        nonce = secrets.token_bytes(_NONCE)
        sealed = nonce + self._cipher.encrypt(nonce, text.encode(), context.encode())
        return base64.urlsafe_b64encode(sealed).decode()

    def open(self, sealed: str, context: str) -> str:
        """The text that was sealed for this very purpose.

        Raises:
            TransferError: it was not, or not by who knows the code.
        """
        try:
            data = base64.b64decode(sealed.encode(), altchars=b"-_", validate=True)
            return self._cipher.decrypt(data[:_NONCE], data[_NONCE:], context.encode()).decode()
        except (InvalidTag, binascii.Error, ValueError):
            raise TransferError(
                "what came from the server was not written by somebody who knows the code"
            ) from None
