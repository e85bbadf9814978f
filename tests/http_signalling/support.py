"""Requests to an ASGI application without a network, and servers of peers to try it with."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, MutableMapping
from typing import Any

import trio

from rtcsctp.http.messages import Application
from rtcsctp.runtime.peer import PeerConnection
from rtcsctp.runtime.peer_config import PeerConfig
from rtcsctp.runtime.serve import Server, serve

LOCAL = PeerConfig(include_loopback=True, addresses=["127.0.0.1"])
SDP = {"content-type": "application/sdp"}
FRAGMENT = {"content-type": "application/trickle-ice-sdpfrag"}


class Answer:
    """A response."""

    def __init__(self, messages: list[MutableMapping[str, Any]]) -> None:
        start, *rest = messages
        self.status: int = start["status"]
        self.headers: list[tuple[str, str]] = [
            (name.decode(), value.decode()) for name, value in start["headers"]
        ]
        self.body = b"".join(message["body"] for message in rest)
        self.text = self.body.decode()

    def __repr__(self) -> str:
        return f"{self.status} {self.headers} {self.text!r}"

    def __getitem__(self, name: str) -> str:
        """The values of a header."""
        return ", ".join(value for key, value in self.headers if key == name)


async def request(
    app: Application,
    method: str,
    path: str = "/",
    body: bytes | str | Iterable[bytes] = b"",
    *,
    root: str = "",
    **headers: str,
) -> Answer:
    """Send a request; a body that is no bytes or text comes in several pieces.

    In the names of headers, underscores stand for hyphens.
    """
    body = body.encode() if isinstance(body, str) else body
    pieces = [body] if isinstance(body, bytes) else list(body)
    inbox: list[MutableMapping[str, Any]] = [
        {"type": "http.request", "body": piece, "more_body": True} for piece in pieces[:-1]
    ]
    inbox.append({"type": "http.request", "body": pieces[-1], "more_body": False})
    scope = {
        "type": "http",
        "method": method,
        "path": root + path,
        "root_path": root,
        "query_string": b"",
        "headers": [
            (name.replace("_", "-").lower().encode(), value.encode())
            for name, value in {"host": "example.org", **headers}.items()
        ],
    }
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        await trio.lowlevel.checkpoint()
        if not inbox:
            await trio.sleep_forever()
        return inbox.pop(0)

    async def send(message: MutableMapping[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    await app(scope, receive, send)
    return Answer(sent)


async def echo(peer: PeerConnection) -> None:
    """A handler: every message of every channel comes back."""

    async def serve_channel(channel: Any) -> None:
        async for message in channel:
            await channel.send(message)

    with contextlib.suppress(BaseExceptionGroup):
        async with trio.open_nursery() as nursery:
            async for channel in peer.incoming:
                nursery.start_soon(serve_channel, channel)


@contextlib.asynccontextmanager
async def peers(config: PeerConfig = LOCAL, **limits: Any) -> AsyncIterator[Server]:
    """A server of peers for the length of the block."""
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(_serve, config, limits)
        yield server
        nursery.cancel_scope.cancel()


async def _serve(
    config: PeerConfig, limits: dict[str, Any], *, task_status: trio.TaskStatus[Server]
) -> None:
    await serve(echo, config, task_status=task_status, **limits)


async def all_gone(server: Server) -> None:
    """Wait until a server has no peer any more."""
    with trio.fail_after(10):
        while server.sessions or server.half_open:  # noqa: ASYNC110 (there is no event for it)
            await trio.sleep(0.01)
