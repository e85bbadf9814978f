"""Username fragments and passwords (RFC 8445 5.3, RFC 8839 5.4)."""

from __future__ import annotations

import random
import re

import attrs

from rtcsctp.errors import ConfigError, DescriptionError
from rtcsctp.ice.stun_keys import PreparedKey, short_term_key

__all__ = ["Credentials", "local_credentials", "remote_credentials"]

_ICE_CHARS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_ONLY_ICE_CHARS = re.compile(r"[A-Za-z0-9+/]*")

_MIN_UFRAG, _MIN_PWD, _MAX = 4, 22, 256

# The RFC wants 24 random bits in a ufrag. Ours has 48: behind one socket, requests find their
# agent among thousands by it. The password has 144 bits where 128 are wanted.
_OUR_UFRAG, _OUR_PWD = 8, 24


@attrs.frozen
class Credentials:
    """One side's credentials in one ICE session.

    Attributes:
        ufrag: the username fragment.
        pwd: the password.
        key: of MESSAGE-INTEGRITY.
    """

    ufrag: str
    pwd: str = attrs.field(repr=False)
    key: bytes = attrs.field(init=False, eq=False, repr=False)

    @key.default
    def _make_key(self) -> bytes:
        return PreparedKey(short_term_key(self.pwd))


def _fault(ufrag: str, pwd: str) -> str | None:
    for name, value, least in (("ufrag", ufrag, _MIN_UFRAG), ("pwd", pwd, _MIN_PWD)):
        if not least <= len(value) <= _MAX:
            return f"an ICE {name} has {least} to {_MAX} characters, not {len(value)}"
        if not _ONLY_ICE_CHARS.fullmatch(value):
            return f"an ICE {name} consists of letters, digits, + and /"
    return None


def remote_credentials(ufrag: str, pwd: str) -> Credentials:
    """The credentials that the peer has signalled.

    Raises:
        DescriptionError: too short, too long, or with other characters (pitfall W21).
    """
    fault = _fault(ufrag, pwd)
    if fault is not None:
        raise DescriptionError(fault)
    return Credentials(ufrag, pwd)


def local_credentials(
    rng: random.Random, ufrag: str | None = None, pwd: str | None = None
) -> Credentials:
    """New credentials of our own; what is not given is drawn at random.

    Raises:
        ConfigError: what is given is too short, too long, or has other characters.
    """
    ufrag = "".join(rng.choices(_ICE_CHARS, k=_OUR_UFRAG)) if ufrag is None else ufrag
    pwd = "".join(rng.choices(_ICE_CHARS, k=_OUR_PWD)) if pwd is None else pwd
    fault = _fault(ufrag, pwd)
    if fault is not None:
        raise ConfigError(fault)
    return Credentials(ufrag, pwd)
