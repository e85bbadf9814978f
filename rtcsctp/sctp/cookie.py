"""State cookies: the memory of a responder that has none (RFC 9260 sections 5.1.3 to 5.1.5).

A cookie holds everything that is needed to set the association up, authenticated with a secret that
only this endpoint knows::

    format 1 | features 1 | local port 2 | remote port 2 | created 8 (float seconds)
    local tag 4 | remote tag 4 | local tie-tag 4 | remote tie-tag 4
    local initial TSN 4 | remote initial TSN 4 | remote a_rwnd 4 | streams out 2 | streams in 2
    MAC 16 (HMAC-SHA256, cut)

The secret changes once per cookie lifetime; the one before is kept, so that a cookie made just
before the change can still be used.
"""

from __future__ import annotations

import hashlib
import hmac
import random
import struct
from enum import Enum

import attrs

from rtcsctp.sctp.tcb import Tcb

__all__ = ["Cookie", "CookieFault", "CookieJar"]

_FORMAT = 1
_BODY = struct.Struct(">BBHHdIIIIIIIHH")
_MAC_SIZE = 16
_SECRET_SIZE = 32


class CookieFault(Enum):
    """Why a cookie is refused."""

    FORGED = "not made by us, or damaged"
    WRONG_PORTS = "made for other ports"


@attrs.frozen
class Cookie:
    """What a cookie of ours says."""

    local_port: int
    remote_port: int
    created: float
    tcb: Tcb
    local_tie_tag: int
    remote_tie_tag: int


_INTERLEAVING, _PARTIAL, _RECONFIG, _ZERO, _FEARS = 1, 2, 4, 8, 16


class CookieJar:
    """Makes cookies, and knows its own."""

    __slots__ = ("_current", "_life", "_previous", "_rng", "_since")

    def __init__(self, rng: random.Random, life: float) -> None:
        """Cookies from secrets that `rng` draws, good for `life` seconds.

        `rng` is `random.SystemRandom` wherever security matters.
        """
        self._rng = rng
        self._life = life
        self._since: float | None = None
        self._current = b""
        self._previous = b""

    def _rotate(self, now: float) -> None:
        if self._since is None:
            self._current = self._previous = self._rng.randbytes(_SECRET_SIZE)
            self._since = now
        elif now - self._since >= self._life:
            # After two lifetimes without a cookie, nothing made with the old secret is good any
            # more.
            recent = now - self._since < 2 * self._life
            fresh = self._rng.randbytes(_SECRET_SIZE)
            self._previous = self._current if recent else fresh
            self._current = fresh
            self._since = now

    def make(self, cookie: Cookie, now: float) -> bytes:
        """The bytes of a State Cookie parameter."""
        self._rotate(now)
        tcb = cookie.tcb
        flags = (
            _INTERLEAVING * tcb.interleaving
            | _PARTIAL * tcb.partial_reliability
            | _RECONFIG * tcb.reconfiguration
            | _ZERO * tcb.peer_accepts_zero_checksum
            | _FEARS * tcb.peer_fears_padding
        )
        body = _BODY.pack(
            _FORMAT,
            flags,
            cookie.local_port,
            cookie.remote_port,
            cookie.created,
            tcb.local_tag,
            tcb.remote_tag,
            cookie.local_tie_tag,
            cookie.remote_tie_tag,
            tcb.local_initial_tsn,
            tcb.remote_initial_tsn,
            tcb.remote_rwnd,
            tcb.outbound_streams,
            tcb.inbound_streams,
        )
        return body + self._mac(self._current, body)

    def open_untrusted(
        self, data: bytes, *, local_port: int, remote_port: int, now: float
    ) -> Cookie | CookieFault:
        """The content of a cookie that we made for these ports; its age is not judged here."""
        if len(data) != _BODY.size + _MAC_SIZE:
            return CookieFault.FORGED
        self._rotate(now)
        body, mac = data[: _BODY.size], data[_BODY.size :]
        known = (self._mac(secret, body) for secret in (self._current, self._previous))
        if not any(hmac.compare_digest(mac, ours) for ours in known):
            return CookieFault.FORGED
        (
            form,
            flags,
            ours,
            theirs,
            created,
            tag,
            peer_tag,
            tie,
            peer_tie,
            tsn,
            peer_tsn,
            rwnd,
            out,
            inn,
        ) = _BODY.unpack(body)
        if form != _FORMAT or (ours, theirs) != (local_port, remote_port):
            return CookieFault.WRONG_PORTS
        tcb = Tcb(
            local_tag=tag,
            remote_tag=peer_tag,
            local_initial_tsn=tsn,
            remote_initial_tsn=peer_tsn,
            remote_rwnd=rwnd,
            outbound_streams=out,
            inbound_streams=inn,
            interleaving=bool(flags & _INTERLEAVING),
            partial_reliability=bool(flags & _PARTIAL),
            reconfiguration=bool(flags & _RECONFIG),
            peer_accepts_zero_checksum=bool(flags & _ZERO),
            peer_fears_padding=bool(flags & _FEARS),
        )
        return Cookie(ours, theirs, created, tcb, tie, peer_tie)

    def staleness(self, cookie: Cookie, now: float) -> float:
        """By how many seconds a cookie is too old; zero or less if it is not."""
        return now - cookie.created - self._life

    @staticmethod
    def _mac(secret: bytes, body: bytes) -> bytes:
        return hmac.digest(secret, body, hashlib.sha256)[:_MAC_SIZE]
