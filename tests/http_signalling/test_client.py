"""`connect_http`: against the application, and against servers that do it wrong."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import httpx2
import pytest
import trio

from rtcsctp.errors import SignallingStateError
from rtcsctp.http import (
    SignallingError,
    SignallingRefusedError,
    WhipApplication,
    connect_http,
    serve_http,
)
from rtcsctp.ice.events import IceState
from rtcsctp.runtime.errors import ConnectionLost
from rtcsctp.runtime.peer import PeerConnection, open_peer
from rtcsctp.runtime.serve import Server

from .support import LOCAL, all_gone, peers

URL = "http://server.example/"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with peers() as server:
        yield server


@pytest.fixture
async def peer() -> AsyncIterator[PeerConnection]:
    async with open_peer(LOCAL) as peer:
        yield peer


def inside(app: WhipApplication) -> httpx2.ASGITransport:
    """Requests go to the application without a network."""
    return httpx2.ASGITransport(app=app)


def saying(answer: Callable[[httpx2.Request], httpx2.Response]) -> httpx2.MockTransport:
    return httpx2.MockTransport(answer)


async def ping(peer: PeerConnection) -> None:
    channel = peer.create_channel("ping")
    await channel.send("hello")
    with trio.fail_after(10):
        assert await channel.receive() == "hello"


@pytest.mark.parametrize("server_offers", [False, True])
async def test_peers_meet_over_real_http(
    server: Server, peer: PeerConnection, server_offers: bool
) -> None:
    async with trio.open_nursery() as nursery:
        address = await nursery.start(partial(serve_http, WhipApplication(server, token="t")))
        url = f"http://{address[0]}:{address[1]}/"
        with trio.fail_after(10):
            session = await connect_http(url, peer, token="t", server_offers=server_offers)
        assert session.url is not None
        assert session.url.startswith(f"{url}sessions/")
        await ping(peer)
        await session.close()
        await session.close()
        with trio.fail_after(5):
            await peer.wait_closed()
        await all_gone(server)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("server_offers", [False, True])
async def test_ice_restarts_while_data_goes_on(
    server: Server, peer: PeerConnection, server_offers: bool
) -> None:
    transport = inside(WhipApplication(server))
    session = await connect_http(URL, peer, transport=transport, server_offers=server_offers)
    await ping(peer)
    tags = {session.etag}
    for _ in range(3):
        await session.restart_ice()
        tags.add(session.etag)
        await ping(peer)
    assert len(tags) == 4
    with trio.fail_after(10):
        while peer.ice_state is not IceState.COMPLETED:  # noqa: ASYNC110
            await trio.sleep(0.01)
    await ping(peer)


async def test_refused_restart_leaves_the_connection_as_it_was(
    server: Server, peer: PeerConnection
) -> None:
    app = WhipApplication(server)
    session = await connect_http(URL, peer, transport=inside(app))
    (running,) = server.sessions.values()
    taken, server.sessions = server.sessions, {}
    with pytest.raises(SignallingRefusedError, match="404"):
        await session.restart_ice()
    server.sessions = taken
    await ping(peer)
    await session.restart_ice()
    await ping(peer)
    assert running.peer.ice_state in {IceState.CONNECTED, IceState.COMPLETED}


async def test_candidates_that_come_late_are_sent(server: Server) -> None:
    """The first request goes out before a STUN server that never answers has been given up."""
    patches: list[str] = []
    app = WhipApplication(server)

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        patches.append(scope["method"])
        await app(scope, receive, send)

    config = type(LOCAL)(
        include_loopback=True, addresses=["127.0.0.1"], ice_servers=["stun:127.0.0.1:9"]
    )
    async with open_peer(config) as peer:
        with trio.fail_after(3):
            await connect_http(URL, peer, transport=httpx2.ASGITransport(app=watched))
        await ping(peer)
    assert patches[0] == "POST"


# -------------------------------------------------------------------------------- what goes wrong


async def test_wrong_token(server: Server, peer: PeerConnection) -> None:
    transport = inside(WhipApplication(server, token="right"))
    with pytest.raises(SignallingRefusedError, match=r"401 .the token is wrong") as caught:
        await connect_http(URL, peer, token="wrong", transport=transport)
    assert caught.value.status == 401


async def test_full_server(peer: PeerConnection) -> None:
    async with peers(max_peers=0) as server:
        with pytest.raises(SignallingRefusedError, match="503") as caught:
            await connect_http(URL, peer, transport=inside(WhipApplication(server, retry_after=3)))
    assert caught.value.retry_after == 3
    assert "as many as are allowed" in caught.value.detail


async def test_nobody_there(peer: PeerConnection) -> None:
    with pytest.raises(SignallingError, match=r"cannot reach http://127\.0\.0\.1:9/"):
        await connect_http("http://127.0.0.1:9/", peer)


@pytest.mark.parametrize("url", ["http://", "ftp://server/", "http://[::1", "nonsense"])
async def test_urls_that_are_none(peer: PeerConnection, url: str) -> None:
    with pytest.raises(SignallingError):
        await connect_http(url, peer)


SDP_TYPE = {"content-type": "application/sdp"}


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (httpx2.Response(200, html="<html>"), "answers 200 .this is no endpoint"),
        (httpx2.Response(404, html="<b>no"), "answers 404 .there is no such endpoint"),
        (httpx2.Response(500, text="a\x1b[31m\nb"), r"answers 500 .a\?\[31m b."),
        (httpx2.Response(201, text="v=0", headers=SDP_TYPE), "names no session"),
        (httpx2.Response(201, text="x", headers={"location": "/s"}), "no session description"),
        (
            httpx2.Response(201, text="nonsense", headers={**SDP_TYPE, "location": "/s"}),
            "a description that is no use: ",
        ),
        (
            httpx2.Response(
                201, text="v=0", headers={**SDP_TYPE, "location": "/s", "sdp-type": "offer"}
            ),
            "answers our offer with another one",
        ),
        (httpx2.Response(307, headers={"location": URL}), "cannot reach .*redirect"),
        (httpx2.Response(201, content=bytes(300_000)), "more than 262144 bytes"),
    ],
)
async def test_answers_that_are_no_use(
    peer: PeerConnection, answer: httpx2.Response, complaint: str
) -> None:
    deleted: list[str] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        if request.method == "DELETE":
            deleted.append(str(request.url))
            return httpx2.Response(200)
        return answer

    with pytest.raises(SignallingError, match=complaint):
        await connect_http(URL, peer, transport=saying(respond))
    # The server is told of every session that it had made.
    assert deleted == ([f"{URL}s"] if answer.headers.get("location") == "/s" else [])


async def test_server_that_makes_no_offers(peer: PeerConnection) -> None:
    def respond(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(201, text="v=0", headers={**SDP_TYPE, "location": "/s"})

    with pytest.raises(SignallingError, match="makes no offers"):
        await connect_http(URL, peer, server_offers=True, transport=saying(respond))


async def test_server_that_never_answers(
    peer: PeerConnection,
) -> None:
    async def silent(_scope: object, _receive: object, _send: object) -> None:
        await trio.sleep_forever()

    with pytest.raises(SignallingError, match=r"no answer from .* within 0.1 s"):
        await connect_http(URL, peer, timeout=0.1, transport=httpx2.ASGITransport(app=silent))


async def test_cancelled_connecting_frees_the_server(server: Server) -> None:
    async with open_peer(LOCAL) as peer:
        app = WhipApplication(server)
        # A server whose answer has no candidate that can be reached: nothing ever connects.
        with contextlib.suppress(ConnectionLost), trio.move_on_after(0.3) as scope:
            await connect_http(URL, peer, transport=_Unreachable(app))
        assert scope.cancelled_caught
        await all_gone(server)


class _Unreachable(httpx2.AsyncBaseTransport):
    """Removes the addresses from what both sides say."""

    def __init__(self, app: WhipApplication) -> None:
        self._inner = httpx2.ASGITransport(app=app)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        content = _blinded(await request.aread())
        headers = {k: v for k, v in request.headers.items() if k != "content-length"}
        request = httpx2.Request(request.method, request.url, content=content, headers=headers)
        response = await self._inner.handle_async_request(request)
        body = _blinded(await response.aread())
        kept = [(k, v) for k, v in response.headers.items() if k != "content-length"]
        return httpx2.Response(response.status_code, content=body, headers=kept)


def _blinded(text: bytes) -> bytes:
    return b"".join(
        line for line in text.splitlines(keepends=True) if not line.startswith(b"a=candidate")
    )


async def test_peer_that_is_busy_with_another_exchange(
    server: Server, peer: PeerConnection
) -> None:
    peer.set_remote_description((await server.offer()).description)
    with pytest.raises(SignallingStateError):
        await connect_http(URL, peer, transport=inside(WhipApplication(server)))
