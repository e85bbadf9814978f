"""The client side of `rtcsctp.http.rendezvous`: leaving and taking offers and answers."""

from __future__ import annotations

import ssl
from typing import Final
from urllib.parse import urljoin

import attrs
import httpx2
import trio

from rtcsctp.http.access import Access, Answer, refused
from rtcsctp.http.errors import SignallingError
from rtcsctp.http.rendezvous import RENDEZVOUS, SEALED_TYPE

__all__ = ["Mailbox"]

_WAIT: Final = 20  # seconds that a request may wait at the server
_PAUSE: Final = 1.0  # seconds between two questions where the server did not let us wait


class Mailbox:
    """A mailbox on a server, whose name two peers know. The texts are to be sealed by them."""

    def __init__(
        self,
        url: str,
        name: str,
        *,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        timeout: float = 10.0,
    ) -> None:
        """
        Args:
            url: of the server.
            name: 16 to 64 letters and digits.
            token: the bearer token that the server wants.
            tls: which certificates are trusted; by default, those that the system trusts.
            transport: carries the requests instead of TCP.
            timeout: seconds that the server may take for each answer, besides waiting.
        """
        self._url = urljoin(url, f".{RENDEZVOUS}{name}")
        self._timeout = timeout
        # Who knows the name of a mailbox can take what is in it: errors do not tell it.
        self._access = Access(token=token, timeout=timeout, tls=tls, transport=transport, shown=url)
        self._patient = attrs.evolve(self._access, timeout=timeout + _WAIT)

    async def leave_offer(self, text: str) -> str:
        """Leave an offer; gives where its answer will be.

        Raises:
            SignallingError: the server cannot be reached, or refuses.
        """
        answer = await self._access.request("POST", self._url, text, content_type=SEALED_TYPE)
        if answer.status != 201:
            raise refused("leave an offer", answer)
        return _located(answer)

    async def take_offer(self) -> tuple[str, str]:
        """Wait for an offer; gives it, and where to leave the answer.

        Raises:
            SignallingError: the server cannot be reached, or refuses.
        """
        answer = await self._get(self._url, "take an offer")
        return answer.text, _located(answer)

    async def leave_answer(self, place: str, text: str) -> None:
        """Leave the answer to an offer.

        Raises:
            SignallingError: the server cannot be reached, or the offer is not there any more.
        """
        answer = await self._access.request("POST", place, text, content_type=SEALED_TYPE)
        if answer.status != 204:
            raise refused("leave an answer", answer)

    async def take_answer(self, place: str) -> str:
        """Wait for the answer to our offer.

        Raises:
            SignallingError: the server cannot be reached, or the offer is not there any more.
        """
        return (await self._get(place, "take an answer")).text

    async def withdraw(self, place: str) -> None:
        """Our offer is not meant any more.

        Raises:
            SignallingError: the server cannot be reached.
        """
        await self._access.request("DELETE", place)

    async def _get(self, url: str, what: str) -> Answer:
        while True:
            began = trio.current_time()
            answer = await self._patient.request("GET", url, prefer=f"wait={_WAIT}")
            if answer.status == 200 and answer.is_of(SEALED_TYPE):
                return answer
            if answer.status != 204:
                raise refused(what, answer)
            await trio.sleep(max(0.0, _PAUSE - (trio.current_time() - began)))


def _located(answer: Answer) -> str:
    location = answer.headers.get("location")
    if not location:
        raise SignallingError(f"{answer.shown} is no rendezvous: it does not say where (Location)")
    return urljoin(answer.url, location)
