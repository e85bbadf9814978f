"""A small HTTP/1.1 server for ASGI applications, on Trio, with h11 as its parser.

`WhipApplication` runs in any ASGI server for Trio; this is the one that needs no other. It has
what signalling needs: HTTP/1.1 with keep-alive and TLS; no HTTP/2, no WebSockets, no lifespan.
Whatever a client sends can end nothing but its own connection.

What a client can make us hold: a connection holds a head of at most 16 KiB or one piece of a body,
and there are at most `max_connections`. It has 15 s for each head, 30 s for each piece of a body
and for taking in each piece of the response.
"""

from __future__ import annotations

import contextlib
import email.utils
import logging
import socket
import ssl
from collections.abc import Collection, MutableMapping
from functools import partial
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import h11
import trio

from rtcsctp.http.messages import Application

__all__ = ["serve_http"]

_BACKLOG = 128
_HEAD_TIME = 15.0  # seconds for a request's head, from when the connection could take one
_PIECE_TIME = 30.0  # seconds for a piece of a body, in either direction
_LINGER_TIME = 1.0  # seconds and …
_LINGER_SIZE = 1 << 22  # … bytes of a body that nobody wanted, so that its sender hears the answer
_MAX_HEAD = 16 * 1024  # bytes
_RECEIVE = 65_536

_log = logging.getLogger("rtcsctp.http")

Message = MutableMapping[str, Any]
_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)


async def serve_http(
    app: Application,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    tls: ssl.SSLContext | None = None,
    hosts: Collection[str] | None = None,
    max_connections: int = 256,
    task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an ASGI application until cancelled; for ``nursery.start``, which gives the address.

    Exceptions of the application are answered with 500, and logged by the logger ``rtcsctp.http``.

    Args:
        app: the application.
        host: the name or address to listen on.
        port: the TCP port; 0 is any free one.
        tls: serve HTTPS, with what this context has.
        hosts: names, without a port, by which clients may call us; None: all. On a loopback
            address, this keeps out pages whose owners let their own name point to it ("DNS
            rebinding").
        max_connections: further ones are closed at once.
        task_status: for ``nursery.start``.

    Raises:
        OSError: the address cannot be listened on.
    """
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(await _listen(host, port)))
    address: tuple[str, int] = listener.socket.getsockname()[:2]
    names = None if hosts is None else frozenset(name.lower() for name in hosts)
    open_now = 0

    async def handle(stream: trio.abc.Stream) -> None:
        nonlocal open_now
        open_now += 1
        try:
            if open_now <= max_connections:
                await _Connection(stream, app, address, names, is_tls=tls is not None).run()
        finally:
            open_now -= 1
            await trio.aclose_forcefully(stream)

    listeners: list[trio.abc.Listener[Any]] = [listener]
    if tls is not None:
        listeners = [trio.SSLListener(listener, tls, https_compatible=True)]
    serve: Any = partial(trio.serve_listeners, handle, listeners)
    task_status.started(address)
    await serve()


async def _listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        OSError: it cannot be had.
    """
    found = await trio.socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


class _Connection:
    """One client: requests, one after another."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        app: Application,
        server: tuple[str, int],
        hosts: frozenset[str] | None,
        *,
        is_tls: bool,
    ) -> None:
        self._stream = stream
        self._app = app
        self._server = server
        self._hosts = hosts
        self._scheme = "https" if is_tls else "http"
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD)

    async def run(self) -> None:
        """Until either side closes, or it takes too long."""
        http = self._http
        try:
            while True:
                request: Any = None
                with trio.move_on_after(_HEAD_TIME):
                    request = await self.next_event()
                if not isinstance(request, h11.Request):
                    return
                await self._answer(request)
                if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                    break
                http.start_next_cycle()
            await self._linger()
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint)
            await self._linger()
        except _BROKEN:
            pass

    async def next_event(self) -> Any:
        """What comes next of a request.

        Raises:
            h11.RemoteProtocolError: it is no HTTP.
            trio.BrokenResourceError, trio.TooSlowError: nothing will come.
        """
        http = self._http
        while True:
            event = http.next_event()
            if event is not h11.NEED_DATA:
                return event
            if http.they_are_waiting_for_100_continue:
                await self.send(h11.InformationalResponse(status_code=100, headers=[]))
            with trio.fail_after(_PIECE_TIME):
                http.receive_data(bytes(await self._stream.receive_some(_RECEIVE)))

    async def closed(self) -> None:
        """Wait, after a whole request, until the client has closed its side, or is gone.

        What it sends ahead, its next request, is kept; after 16 KiB of it, nobody looks any more.
        """
        ahead = 0
        while ahead < _MAX_HEAD:
            try:
                data = bytes(await self._stream.receive_some(_RECEIVE))
            except _BROKEN:
                return
            self._http.receive_data(data)
            if not data:
                return
            ahead += len(data)
        await trio.sleep_forever()

    async def send(self, *events: Any) -> None:
        """Send parts of a response, together.

        Raises:
            h11.LocalProtocolError: the application breaks the rules.
            trio.BrokenResourceError, trio.TooSlowError: nobody takes it.
        """
        data = b"".join(self._http.send(event) or b"" for event in events)
        if data:
            with trio.fail_after(_PIECE_TIME):
                await self._stream.send_all(data)

    async def _answer(self, request: h11.Request) -> None:
        headers = [(bytes(name), bytes(value)) for name, value in request.headers]
        target = _read_target(request.target)
        if target is None:
            await self._refuse(400)
        elif not self._is_for_us(headers):
            await self._refuse(421)
        else:
            path, query = target
            exchange = _Exchange(self, is_head=request.method == b"HEAD")
            await exchange.run(
                self._app,
                {
                    "type": "http",
                    "asgi": {"version": "3.0", "spec_version": "2.3"},
                    "http_version": request.http_version.decode("ascii"),
                    "method": request.method.decode("ascii").upper(),
                    "scheme": self._scheme,
                    "path": unquote_to_bytes(path).decode("utf-8", "replace"),
                    "raw_path": path,
                    "query_string": query,
                    "root_path": "",
                    "headers": headers,
                    "client": None,
                    "server": self._server,
                },
            )

    def _is_for_us(self, headers: list[tuple[bytes, bytes]]) -> bool:
        """Whether the client means one of our names (h11 has seen to it that there is one)."""
        if self._hosts is None:
            return True
        host = next((value for name, value in headers if name == b"host"), b"")
        try:
            return urlsplit(f"//{host.decode('ascii')}").hostname in self._hosts
        except ValueError:
            return False

    async def _refuse(self, status: int) -> None:
        """Answer without asking the application, and then close."""
        if self._http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        headers = [("Content-Length", "0"), ("Connection", "close")]
        with contextlib.suppress(*_BROKEN):
            await self.send(h11.Response(status_code=status, headers=headers), h11.EndOfMessage())

    async def _linger(self) -> None:
        """Close our side, and let the rest of a request come.

        Bytes that nobody has read would turn the close into a reset, which can take the answer away
        from the client before it has read it (RFC 9112 9.6).
        """
        stream, rest = self._stream, _LINGER_SIZE
        with trio.move_on_after(_LINGER_TIME):
            try:
                if isinstance(stream, trio.SocketStream):
                    await stream.send_eof()
                while rest > 0 and (data := await stream.receive_some(_RECEIVE)):
                    rest -= len(data)
            except _BROKEN:
                pass


class _Exchange:
    """One request and its response, as the application sees them."""

    def __init__(self, connection: _Connection, *, is_head: bool) -> None:
        self._connection = connection
        self._is_head = is_head
        self._head: h11.Response | None = None
        """Is sent together with the first piece of the body."""
        self._begun = False
        self._complete = False
        self._error: Exception | None = None
        """Why no more can come of the request; what the client is told, if it still hears us."""
        self._over = trio.Event()
        self._is_alone = False
        """The application knows that the client has gone: it need not answer."""

    async def run(self, app: Application, scope: Message) -> None:
        """Let the application answer.

        Raises:
            trio.BrokenResourceError, trio.TooSlowError: the connection is of no use any more.
            h11.RemoteProtocolError: what came of the body is no HTTP.
        """
        try:
            await app(scope, self.receive, self.send)
        except Exception as error:
            if _is_lost(error):
                raise trio.BrokenResourceError from error
            _log.exception("%s %s", scope["method"], scope["path"])
        if self._error is not None:
            raise self._error
        if not self._begun and self._is_alone:
            raise trio.BrokenResourceError("the client has gone")
        if not self._begun:
            headers = [("Content-Length", "0"), ("Connection", "close")]
            await self._connection.send(
                h11.Response(status_code=500, headers=headers), h11.EndOfMessage()
            )
        elif not self._over.is_set():
            raise trio.BrokenResourceError("the application has left its response incomplete")

    async def receive(self) -> Message:
        """ASGI's receive."""
        if self._complete:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._wait_over, nursery.cancel_scope)
                await self._connection.closed()
                self._is_alone = True
                nursery.cancel_scope.cancel()
            return {"type": "http.disconnect"}
        try:
            event = await self._connection.next_event()
        except (*_BROKEN, h11.RemoteProtocolError) as error:
            event, self._error = None, error
        if isinstance(event, h11.Data):
            return {"type": "http.request", "body": bytes(event.data), "more_body": True}
        self._complete = True
        if isinstance(event, h11.EndOfMessage):
            return {"type": "http.request", "body": b"", "more_body": False}
        self._over.set()
        return {"type": "http.disconnect"}

    async def _wait_over(self, scope: trio.CancelScope) -> None:
        await self._over.wait()
        scope.cancel()

    async def send(self, message: Message) -> None:
        """ASGI's send."""
        if message["type"] == "http.response.start":
            date = email.utils.formatdate(usegmt=True).encode()
            headers = [*message.get("headers", ()), (b"date", date)]
            self._head = h11.Response(status_code=message["status"], headers=headers)
            return
        events: list[Any] = [] if self._head is None else [self._head]
        self._head = None
        self._begun = True
        if message.get("body") and not self._is_head:
            events.append(h11.Data(data=message["body"]))
        more = message.get("more_body", False)
        if not more:
            events.append(h11.EndOfMessage())
        await self._connection.send(*events)
        if not more:
            self._over.set()


def _is_lost(error: BaseException) -> bool:
    """Whether an application has met nothing but the end of the connection."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_lost, error.exceptions))
    return isinstance(error, _BROKEN)


def _read_target(target: bytes) -> tuple[bytes, bytes] | None:
    """Path and query of a request's target; None if it has none (RFC 9112 3.2)."""
    if not target.startswith(b"/"):
        scheme, sign, rest = target.partition(b"://")
        if not sign or scheme.lower() not in {b"http", b"https"}:
            return None
        _, slash, rest = rest.partition(b"/")
        target = b"/" + rest if slash else b"/"
    path, _, query = target.partition(b"?")
    return path, query
