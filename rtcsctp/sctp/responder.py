"""Answers for a port on which anybody may connect, with no memory of anybody (RFC 9260 5.1, 8.4).

It is an association in state CLOSED, which answers INIT from what the cookie will say and stays
CLOSED. When a good COOKIE ECHO makes it an association, that is handed out, and a new one takes its
place with the same secrets.
"""

from __future__ import annotations

import random

from rtcsctp.sctp.association import Association
from rtcsctp.sctp.config import Config
from rtcsctp.sctp.cookie import CookieJar
from rtcsctp.sctp.state import State
from rtcsctp.sctp.statistics import Counters

__all__ = ["Responder"]


class Responder:
    """What a server does with packets that belong to none of its associations."""

    def __init__(self, config: Config, *, local_port: int, rng: random.Random) -> None:
        """Answer on SCTP port `local_port`; arguments as for `Association`.

        Raises:
            ValueError: a port out of range.
        """
        self._config = config
        self._port = local_port
        self._rng = rng
        self._cookies = CookieJar(rng, config.valid_cookie_life)
        self._waiting = self._make()

    def _make(self) -> Association:
        return Association(
            self._config,
            local_port=self._port,
            remote_port=None,
            rng=self._rng,
            cookies=self._cookies,
        )

    @property
    def counters(self) -> Counters:
        """What arrived since the last association was made, and why it was dropped."""
        return self._waiting.counters

    def handle_datagram_untrusted(
        self, packet: bytes, now: float
    ) -> tuple[list[bytes], Association | None]:
        """Answers to one packet, and the association that it made, if it did.

        The association's own packets, its COOKIE ACK first, are still in it.
        """
        waiting = self._waiting
        waiting.handle_datagrams([packet], now)
        if waiting.state is not State.CLOSED:
            self._waiting = self._make()
            return [], waiting
        if waiting.closed is not None:
            # What came behind the COOKIE ECHO, an ABORT perhaps, ended it at once.
            self._waiting = self._make()
        return waiting.poll_transmit(now), None
