"""Requests to a server of ours, and why it did not do as asked."""

from __future__ import annotations

import contextlib
import math
import ssl
from collections.abc import AsyncGenerator, Mapping

import attrs
import httpx2
import trio

from rtcsctp.http.errors import SignallingError, SignallingRefusedError

__all__ = ["Access", "Answer", "refused"]

_MAX_BODY = 256 * 1024  # bytes of a response
_MAX_DETAIL = 300  # characters of a refusal that are repeated


class Answer:
    """A response of the server.

    Attributes:
        status: 200, ….
        url: where it came from, after redirections.
        headers: by their names in small letters.
        text: the body.
        shown: what errors call it.
    """

    __slots__ = ("headers", "shown", "status", "text", "url")

    def __init__(
        self, status: int, url: str, headers: Mapping[str, str], text: str, *, shown: str
    ) -> None:
        self.status = status
        self.url = url
        self.shown = shown
        self.headers = headers
        self.text = text

    def is_of(self, kind: str) -> bool:
        """Whether its body is of a media type."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower() == kind


@attrs.frozen(kw_only=True)
class Access:
    """How a server is talked to.

    Attributes:
        token: the bearer token that it wants.
        timeout: seconds that it may take for each answer.
        tls: which certificates are trusted; None: those that the system trusts.
        transport: carries the requests instead of TCP.
        shown: what errors name in place of URLs that are nobody's business.
    """

    token: str | None = attrs.field(repr=False)
    timeout: float
    tls: ssl.SSLContext | None
    transport: httpx2.AsyncBaseTransport | None
    shown: str | None = None

    async def request(self, method: str, url: str, body: str = "", **headers: str | None) -> Answer:
        """One request; `headers` have underscores for hyphens.

        Raises:
            SignallingError: there is no answer, or one that is too long.
        """
        wanted = {name.replace("_", "-"): value for name, value in headers.items() if value}
        if self.token is not None:
            wanted["authorization"] = f"Bearer {self.token}"
        answer = None
        try:
            with trio.move_on_after(self.timeout):
                answer = await self._exchange(method, url, body, wanted)
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise SignallingError(f"cannot reach {self.shown or url}: {_why(error)}") from error
        if answer is None:
            raise SignallingError(f"no answer from {self.shown or url} within {self.timeout:g} s")
        return answer

    async def _exchange(
        self, method: str, url: str, body: str, headers: Mapping[str, str]
    ) -> Answer:
        async with (
            httpx2.AsyncClient(
                verify=self.tls if self.tls is not None else True,
                transport=self.transport,
                timeout=self.timeout,
                follow_redirects=True,  # RFC 9725 4.5: 307 and 308, to another server of the same
            ) as client,
            client.stream(method, url, content=body.encode(), headers=headers) as response,
        ):
            body_read = bytearray()
            async with contextlib.aclosing(_parts(response)) as parts:
                async for part in parts:
                    body_read += part
                    if len(body_read) > _MAX_BODY:
                        raise SignallingError(
                            f"{self.shown or url} answers with more than {_MAX_BODY} bytes"
                        )
            text = body_read.decode(errors="replace")
            url = str(response.url)
            return Answer(
                response.status_code, url, response.headers, text, shown=self.shown or url
            )


def _why(error: BaseException) -> str:
    """The words of an error, or those of the system where they are behind it."""
    words = str(error) or type(error).__name__
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, OSError) and behind.strerror:
            words = behind.strerror
        if isinstance(behind, BaseExceptionGroup):
            behind = behind.exceptions[0]
        else:
            behind = behind.__cause__ or behind.__context__
    return words


def _parts(response: httpx2.Response) -> AsyncGenerator[bytes]:
    """The pieces of a body. It is annotated as an iterator, and is a generator."""
    parts = response.aiter_bytes()
    assert isinstance(parts, AsyncGenerator)
    return parts


def refused(what: str, answer: Answer) -> SignallingError:
    """Why the server did not do as asked; `what` is what that was, as in "cannot `what`"."""
    detail = " ".join(answer.text.split())[:_MAX_DETAIL] if answer.is_of("text/plain") else ""
    detail = "".join(character if character.isprintable() else "?" for character in detail)
    words = {
        200: "this is no endpoint for signalling",
        401: "the token is missing or wrong",
        404: "there is no such endpoint, or no such session any more",
        503: "the server has no room",
    }.get(answer.status, "")
    said = detail or words
    message = f"cannot {what}: {answer.shown} answers {answer.status}"
    return SignallingRefusedError(
        f"{message} ({said})" if said else message,
        status=answer.status,
        detail=detail,
        retry_after=_seconds(answer.headers.get("retry-after")),
    )


def _seconds(text: str | None) -> float | None:
    """A Retry-After in seconds; None for a date, or for nonsense."""
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
