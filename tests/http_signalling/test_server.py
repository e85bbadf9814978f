"""The application in Hypercorn, over real TCP: clients that are slow, large, or somebody else."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx2
import pytest
import trio

from rtcsctp.dtls.certificate import Certificate
from rtcsctp.http import WhipApplication, serve_http
from rtcsctp.http.page import console_page
from rtcsctp.runtime.serve import Server

from .support import peers

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
    assert b" 413 " in answer or not answer
    assert not server.sessions


async def test_unannounced_large_body_is_refused(address: Address, server: Server) -> None:
    request = head("POST", "/", content_type="application/sdp", transfer_encoding="chunked")
    chunk = b"4000\r\n" + bytes(0x4000) + b"\r\n"
    with trio.fail_after(5):
        answer = await converse(address, request, *[chunk] * 200)
    assert b" 413 " in answer or not answer
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
                ("rebound.example", 404),
                (f"127.0.0.1:{address[1]}", 404),
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
