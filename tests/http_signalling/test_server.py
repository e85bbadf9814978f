"""The HTTP server over real TCP: clients that are slow, large, wrong, or somebody else."""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcsctp.dtls.certificate import Certificate
from rtcsctp.http import WhipApplication, connect_http, serve_http
from rtcsctp.http.page import console_page
from rtcsctp.runtime.peer import open_peer
from rtcsctp.runtime.serve import Server

from .support import LOCAL, peers

Address = tuple[str, int]


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with peers() as server:
        yield server


@pytest.fixture
async def address(server: Server) -> AsyncIterator[Address]:
    app = WhipApplication(server, body_timeout=0.5, otherwise=console_page())
    async with trio.open_nursery() as nursery:
        yield await nursery.start(serve_http, app)
        nursery.cancel_scope.cancel()


async def converse(address: Address, *pieces: bytes) -> bytes:
    """Send pieces, and receive until the server closes or has answered."""
    stream = await trio.open_tcp_stream(*address)
    received = b""
    async with stream:
        try:
            for piece in pieces:
                await stream.send_all(piece)
            await stream.send_eof()
        except trio.BrokenResourceError:
            pass  # it has closed; its answer may be there all the same
        try:
            async for data in stream:
                received += data
        except trio.BrokenResourceError:
            pass
    return received


def head(method: str, path: str, **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


async def test_page_is_served(address: Address) -> None:
    async with httpx2.AsyncClient(base_url=f"http://{address[0]}:{address[1]}") as client:
        page = await client.get("/")
        assert page.status_code == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'self'" in page.headers["content-security-policy"]
        names = re.findall(r'(?:src|href)="([\w.]+)"', page.text)
        assert {"app.js", "page.css", "icon.svg"} <= set(names)
        for name in names:
            found = await client.get(f"/{name}")
            assert found.status_code == 200
            for imported in re.findall(r'from "\./([\w.]+)"', found.text):
                assert (await client.get(f"/{imported}")).status_code == 200
        empty = await client.head("/")
        assert (empty.status_code, empty.content) == (200, b"")
        assert (await client.get("/../../etc/passwd")).status_code == 404
        assert (await client.get("/%2e%2e/application.py")).status_code == 404
        assert (await client.put("/app.js", content=b"x")).status_code == 405


async def test_page_needs_nothing_from_elsewhere(address: Address) -> None:
    async with httpx2.AsyncClient(base_url=f"http://{address[0]}:{address[1]}") as client:
        for name in ("index.html", "page.css", "app.js", "session.js", "transfers.js"):
            text = (await client.get(f"/{name}")).text
            assert not re.search(r"https?://(?!HOST)|//cdn|@import", text), name


async def test_announced_large_body_is_refused_at_once(address: Address, server: Server) -> None:
    request = head("POST", "/", content_type="application/sdp", content_length="1000000000")
    with trio.fail_after(5):
        answer = await converse(address, request, *[bytes(65_536)] * 40)
    assert b" 413 " in answer
    assert not server.sessions


async def test_unannounced_large_body_is_refused(address: Address, server: Server) -> None:
    request = head("POST", "/", content_type="application/sdp", transfer_encoding="chunked")
    chunk = b"4000\r\n" + bytes(0x4000) + b"\r\n"
    with trio.fail_after(5):
        answer = await converse(address, request, *[chunk] * 200)
    assert b" 413 " in answer
    assert not server.sessions


async def test_large_body_to_where_none_is_read_does_no_harm(address: Address) -> None:
    request = head("DELETE", "/sessions/0", content_length="1000000000")
    with trio.fail_after(5):
        await converse(address, request, *[bytes(65_536)] * 40)
        assert b" 404 " in await converse(address, head("DELETE", "/sessions/0"))


async def test_slow_body_is_given_up(address: Address, server: Server) -> None:
    with trio.fail_after(5):
        stream = await trio.open_tcp_stream(*address)
        async with stream:
            request = head("POST", "/", content_type="application/sdp", content_length="100")
            await stream.send_all(request + b"v=0")
            assert b" 408 " in await stream.receive_some()
    assert not server.sessions


async def test_rubbish_is_answered(address: Address) -> None:
    with trio.fail_after(5):
        assert b" 400 " in await converse(address, b"\x16\x03\x01 rubbish\r\n\r\n")
        assert b" 431 " in await converse(address, head("POST", "/", x="y" * 100_000))
        assert b" 404 " in await converse(address, head("DELETE", "/sessions/0"))


STRANGE = [
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    (
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP_\r\n"
        b"Connection: Upgrade, HTTP2-Settings\r\n\r\n"
    ),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(100),
    (
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\xff"
    ),
    b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\xc3\xa4 / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/3.9\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: \xff[\r\nX: \x80\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 50,
    b"",
]


async def is_well(address: Address) -> bool:
    return b" 200 " in await converse(address, head("HEAD", "/"))


@pytest.mark.parametrize("request_", STRANGE)
async def test_nothing_strange_takes_it_down(
    address: Address, request_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with trio.fail_after(5):
        await converse(address, request_)
        assert await is_well(address)
    assert not caplog.records


@pytest.mark.fuzz
@given(data=st.binary(max_size=200), cut=st.integers(0, 200))
@settings(max_examples=40)
async def test_no_bytes_take_it_down(data: bytes, cut: int) -> None:
    async with trio.open_nursery() as nursery:
        address = await nursery.start(serve_http, console_page())
        for request in (data, head("POST", "/")[:cut] + data, head("GET", "/x", y="z") + data):
            await converse(address, request)
        assert await is_well(address)
        nursery.cancel_scope.cancel()


async def test_several_requests_over_one_connection(address: Address) -> None:
    answer = await converse(address, head("HEAD", "/") * 3 + head("DELETE", "/sessions/0"))
    assert answer.count(b" 200 ") == 3
    assert answer.count(b" 404 ") == 1


async def test_absolute_targets_are_understood(address: Address) -> None:
    assert b" 200 " in await converse(address, head("HEAD", "http://x/app.js?a=b"))
    assert b" 200 " in await converse(address, head("HEAD", "http://x"))


async def test_slow_heads_are_given_up(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        address = await nursery.start(serve_http, console_page())
        stream = await trio.open_tcp_stream(*address)
        async with stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost:")
            began = trio.current_time()
            assert await stream.receive_some() == b""
            assert 14 < trio.current_time() - began < 16
        nursery.cancel_scope.cancel()


async def test_connections_are_counted() -> None:
    async with trio.open_nursery() as nursery:
        serve = partial(serve_http, console_page(), max_connections=2)
        address = await nursery.start(serve)
        first, second, third = [await trio.open_tcp_stream(*address) for _ in range(3)]
        with trio.fail_after(5):
            assert await third.receive_some() == b""
            await first.send_all(head("HEAD", "/"))
            assert b" 200 " in await first.receive_some()
            for stream in (first, second, third):
                await stream.aclose()
            while not await is_well(address):
                pass
        nursery.cancel_scope.cancel()


async def test_a_client_that_leaves_is_noticed_and_one_that_sends_ahead_is_not_lost() -> None:
    noticed: list[str] = []
    left = trio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        assert not (await receive())["more_body"]
        if scope["path"] == "/waits":
            noticed.append((await receive())["type"])
            left.set()
            return
        with trio.move_on_after(0.2):
            noticed.append((await receive())["type"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})
        assert (await receive())["type"] == "http.disconnect"

    async with trio.open_nursery() as nursery:
        address = await nursery.start(serve_http, slow)
        stream = await trio.open_tcp_stream(*address)
        with trio.fail_after(60):
            # More than the server looks at while it works on the first request.
            ahead = head("GET", "/second", x="y" * 9_000) * 3
            await stream.send_all(head("GET", "/first") + ahead)
            received = b""
            while received.count(b" 204 ") < 4:
                received += await stream.receive_some()
            assert noticed == []
            await stream.send_all(head("GET", "/waits"))
            await stream.aclose()
            await left.wait()
        assert noticed == ["http.disconnect"]
        nursery.cancel_scope.cancel()


async def test_bugs_of_the_application_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(scope: Any, _receive: Any, send: Any) -> None:
        if scope["path"] == "/late":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        if scope["path"] != "/silent":
            raise KeyError("bug")

    async with trio.open_nursery() as nursery:
        address = await nursery.start(serve_http, broken)
        assert b" 500 " in await converse(address, head("GET", "/"))
        assert b" 500 " in await converse(address, head("GET", "/silent"))
        assert b" 200 " in await converse(address, head("GET", "/late"))
        nursery.cancel_scope.cancel()
    assert [record.getMessage() for record in caplog.records] == ["GET /", "GET /late"]


async def test_other_names_are_turned_away(server: Server) -> None:
    app = WhipApplication(server)
    async with trio.open_nursery() as nursery:
        serve = partial(serve_http, app, hosts=["localhost", "::1"])
        address = await nursery.start(serve)
        async with httpx2.AsyncClient() as client:
            url = f"http://127.0.0.1:{address[1]}/"
            for name, status in (
                (f"localhost:{address[1]}", 204),
                ("localhost", 204),
                (f"[::1]:{address[1]}", 204),
                ("rebound.example", 421),
                (f"127.0.0.1:{address[1]}", 421),
            ):
                response = await client.options(url, headers={"host": name})
                assert response.status_code == status, name
        nursery.cancel_scope.cancel()


async def test_taken_port_is_told(address: Address) -> None:
    async with trio.open_nursery() as nursery:
        with pytest.raises(OSError, match="in use"):
            await nursery.start(partial(serve_http, console_page(), port=address[1]))


async def test_https(server: Server, tmp_path: Path) -> None:
    certificate = tmp_path / "certificate.pem"
    certificate.write_bytes(Certificate.generate(common_name="localhost").to_pem())
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=certificate)
    trusting.check_hostname = False
    async with trio.open_nursery() as nursery:
        address = await nursery.start(partial(serve_http, WhipApplication(server), tls=tls))
        async with httpx2.AsyncClient(verify=trusting) as client:
            response = await client.options(f"https://127.0.0.1:{address[1]}/")
            assert response.status_code == 204
        nursery.cancel_scope.cancel()


async def test_application_runs_in_another_server(server: Server) -> None:
    """Hypercorn, which queues a body until the application takes it."""
    hypercorn = pytest.importorskip("hypercorn.trio")
    config = pytest.importorskip("hypercorn.config").Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = logging.getLogger("hypercorn")
    async with trio.open_nursery() as nursery:
        (url,) = await nursery.start(hypercorn.serve, WhipApplication(server), config)
        host, _, port = url.removeprefix("http://").partition(":")
        where = (host, int(port))
        with trio.fail_after(10):
            request = head("DELETE", "/sessions/0", content_length="1000000000")
            await converse(where, request, *[bytes(65_536)] * 40)
            async with open_peer(LOCAL) as peer:
                await connect_http(f"{url}/", peer)
        nursery.cancel_scope.cancel()
