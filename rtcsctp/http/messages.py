"""One HTTP request and its response, as ASGI has them.

A framework would bring these 150 lines, and several thousand others: five routes do not need one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import trio

__all__ = [
    "Application",
    "Disconnected",
    "HttpError",
    "Receive",
    "Request",
    "Response",
    "Scope",
    "Send",
]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Response:
    """What is sent back.

    Attributes:
        status: 200, ….
        headers: names and values, which have no line breaks.
        body: bytes.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(
        self, status: int, body: bytes | str = b"", headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """A text becomes a body of type ``text/plain``, if the headers name no other type."""
        self.status = status
        self.headers = list(headers)
        if isinstance(body, str):
            body = body.encode()
            if not any(name.lower() == "content-type" for name, _ in self.headers):
                self.headers.append(("Content-Type", "text/plain; charset=utf-8"))
        self.body = body

    async def send(self, send: Send, *, head: bool = False) -> None:
        """Send it; with `head`, without the body, as an answer to HEAD."""
        headers = list(self.headers)
        if self.status != 204:
            headers.append(("Content-Length", str(len(self.body))))
        # What the peer's description has brought into a text must not become anything else.
        headers.append(("X-Content-Type-Options", "nosniff"))
        await send(
            {
                "type": "http.response.start",
                "status": self.status,
                "headers": [
                    (name.lower().encode("ascii"), value.encode("latin-1"))
                    for name, value in headers
                ],
            }
        )
        await send({"type": "http.response.body", "body": b"" if head else self.body})


class HttpError(Exception):
    """A request cannot be done; it is answered with `response`."""

    def __init__(self, status: int, text: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(text)
        self.response = Response(status, f"{text}\n", headers)


class Disconnected(Exception):  # noqa: N818 (nothing went wrong)
    """The client has gone, before its request was complete or while it waited for the answer."""


class Request:
    """A request.

    Attributes:
        method: in capital letters.
        path: decoded, relative to where the application is mounted; begins with "/".
        root: where the application is mounted, without a slash at the end.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.root: str = scope.get("root_path", "").rstrip("/")
        self.path: str = scope["path"].removeprefix(self.root) or "/"
        self._receive = receive
        self._complete = False
        self._headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            self._headers.setdefault(name.decode("latin-1").lower(), []).append(
                value.decode("latin-1").strip()
            )

    def header(self, name: str) -> str | None:
        """The value of a header, several joined by commas (RFC 9110 5.3); None if there is none."""
        values = self._headers.get(name.lower())
        return None if values is None else ", ".join(values)

    @property
    def media_type(self) -> str | None:
        """That of the body, in small letters and without parameters."""
        value = self.header("content-type")
        return None if value is None else value.partition(";")[0].strip().lower()

    async def body(self, limit: int, patience: float) -> bytes:
        """All of the body.

        Args:
            limit: the most bytes that are taken.
            patience: seconds in which all must have come.

        Raises:
            HttpError: 400 for an impossible Content-Length, 413 for too much, 408 for too slow.
            Disconnected: the client has gone.
        """
        announced = self.header("content-length")
        if announced is not None:
            if not (announced.isascii() and announced.isdigit()):
                raise HttpError(400, "Content-Length is not a number")
            if len(announced) > 18 or int(announced) > limit:
                raise self._too_large(limit)
        body = bytearray()
        with trio.move_on_after(patience):
            while True:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                body += message.get("body", b"")
                if len(body) > limit:
                    raise self._too_large(limit)
                if not message.get("more_body", False):
                    self._complete = True
                    return bytes(body)
        raise HttpError(408, f"the body did not arrive within {patience:g} s")

    async def gone(self) -> None:
        """Wait until the client has gone; a body that nobody has read is dropped."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    @staticmethod
    def _too_large(limit: int) -> HttpError:
        return HttpError(413, f"the body has more than {limit} bytes")

    async def answer(self, response: Response, send: Send) -> None:
        """Send a response, while dropping what still comes of the body.

        If nobody took it, an ASGI server whose queue for the body is full (Hypercorn's has 10
        places) would wait for us while we wait for it.
        """
        async with trio.open_nursery() as nursery:
            if not self._complete:
                nursery.start_soon(self.gone)
            await response.send(send, head=self.method == "HEAD")
            nursery.cancel_scope.cancel()
