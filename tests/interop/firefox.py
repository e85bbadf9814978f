"""Headless Firefox as a peer, driven through WebDriver BiDi.

No driver program: Firefox has a WebSocket server for that, on the loopback of its namespace, and
says on stderr where. https://www.w3.org/TR/webdriver-bidi/ describes the messages.

It runs as delivered, as far as WebRTC goes: candidates of its own addresses carry mDNS names,
because no page was ever allowed to use a camera. As with Chromium, all its processes live in a
process namespace of their own, whose end is the end of them all and of their files.

`Page.call` speaks the vocabulary of `webrtc.py`, which `browser_peer.js` implements in the page.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import os
import re
import shutil
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import attrs
import trio
import wsproto
from wsproto.events import AcceptConnection, Ping, RejectConnection, Request, TextMessage

from . import namespaces
from .namespaces import Host, inside
from .peer_process import Event, PeerProcess
from .requirements import meets, require
from .usrsctp import PeerError

PEER_SCRIPT = Path(__file__).with_name("browser_peer.js")

#: Debian's name for the extended support release, which its stable distributions have, and the name
#: of the others.
PROGRAMS = ("firefox-esr", "firefox")

#: Firefox's files are in memory, in a file system that only its own processes see: it goes with
#: the last of them.
FOLDER = "/mnt"

#: A page for peers: unlike about:blank, a file is a secure context and so has crypto.subtle.
BLANK_URL = f"file://{FOLDER}/blank.html"
BLANK_PAGE = "<!doctype html><meta charset=utf-8><title>peer</title>"

#: On top of those that Firefox sets itself when it is driven: start with less.
PREFERENCES: dict[str, bool | int | str] = {
    "browser.newtabpage.enabled": False,
    "browser.startup.page": 0,
    "dom.ipc.processPrelaunch.enabled": False,
    "media.gmp-manager.updateEnabled": False,
}

_OWN_PROCESSES = ("unshare", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "--")

#: The first of the processes ends with Firefox, or with its own stdin, and all others with it.
_START = f"""
mount -t tmpfs firefox {FOLDER} || exit
mkdir {FOLDER}/profile && printf %s "$PAGE" >{FOLDER}/blank.html || exit
printf %s "$PREFERENCES" >{FOLDER}/profile/user.js || exit
exec 3<&0
"$@" --profile {FOLDER}/profile 3<&- </dev/null &
firefox=$!
(cat <&3 >/dev/null; kill -9 $firefox) &
wait $firefox
"""

_LISTENING = re.compile(r"^WebDriver BiDi listening on ws://127\.0\.0\.1:(\d+)$", re.MULTILINE)


def _program() -> str | None:
    return next(filter(shutil.which, PROGRAMS), None)


@functools.cache
def missing() -> str | None:
    """Why Firefox cannot be run here, or None."""
    reason = namespaces.missing()
    if reason is not None:
        return reason
    if _program() is None:
        return "firefox is not installed (Debian: firefox-esr)"
    return None


def require_firefox() -> None:
    """Skip or fail the test where Firefox cannot be run."""
    meets("Firefox")
    require(missing())


class Firefox(PeerProcess):
    """A browser in a namespace, with a new profile and a tab that nobody uses.

    `preferences` are those of about:config.
    """

    def __init__(
        self, host: Host, preferences: Mapping[str, bool | int | str] | None = None
    ) -> None:
        lines = (
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
            for name, value in {**PREFERENCES, **(preferences or {})}.items()
        )
        command = [_program() or PROGRAMS[0], "--headless", "--remote-debugging-port=0"]
        super().__init__(
            [*_OWN_PROCESSES, "sh", "-c", _START, "sh", *command],
            name=f"firefox on {host.name}",
            host=host,
            environment={
                "HOME": FOLDER,
                "TMPDIR": FOLDER,
                "MOZ_CRASHREPORTER_DISABLE": "1",
                "PAGE": BLANK_PAGE,
                "PREFERENCES": "".join(lines),
            },
            log_output=True,
        )
        #: What Firefox calls itself, with its version.
        self.version = ""
        self._stream: trio.SocketStream | None = None
        self._websocket = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        self._accepted = False
        self._text: list[str] = []

    async def _wait_ready(self) -> None:
        # It takes two seconds; on a machine that is busy with other things, much longer.
        with trio.move_on_after(60):
            port = await self._wait_listening()
            await self._connect(port)
            answer = (await self.call("session.new", capabilities={}, within=60))["capabilities"]
            self.version = f"Firefox/{answer['browserVersion']}"
            await self.call("session.subscribe", events=["log.entryAdded"])
            return
        raise self.failure("cannot be driven after 60 s")

    async def _wait_listening(self) -> int:
        while True:
            said = _LISTENING.search(self.log())
            if said is not None:
                return int(said[1])
            if self.process.poll() is not None:
                raise self.failure("does not start")
            await trio.sleep(0.02)

    async def _connect(self, port: int) -> None:
        assert self.host is not None
        address = ("127.0.0.1", port)
        connected = await inside(self.host, lambda: socket.create_connection(address, 10))
        connected.setblocking(False)
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(connected))
        request = Request(host=f"127.0.0.1:{port}", target="/session")
        await self._stream.send_all(self._websocket.send(request))
        while not self._accepted:
            await self._read_more("the WebSocket")

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await super().__aexit__(exc_type, exc, traceback)
        finally:
            if self._stream is not None:
                await trio.aclose_forcefully(self._stream)

    async def kill(self) -> None:
        # The end of the first process in a process namespace comes after that of all others, and
        # `unshare` waits for it: so kill that one, and be sure that none is left.
        if self.process.poll() is None:
            children = trio.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                for child in (await children.read_text(encoding="ascii")).split():
                    os.kill(int(child), signal.SIGKILL)
                    os.kill(self.process.pid, signal.SIGCONT)  # it may have been paused
                    with trio.move_on_after(10):
                        await self.process.wait()
        await super().kill()

    async def _write(self, message: dict[str, Any]) -> None:
        assert self._stream is not None
        data = self._websocket.send(TextMessage(json.dumps(message)))
        try:
            async with self._writing:
                await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise self.failure("does not read from its WebSocket any more") from error

    async def _read_more(self, awaited: str) -> None:
        assert self._stream is not None
        data = b""
        if not self._ended:
            with contextlib.suppress(trio.BrokenResourceError):
                data = await self._stream.receive_some(1 << 18)
        if not data:
            self._ended = True
            with trio.move_on_after(1):
                await self.process.wait()
            raise self.failure(f"ended while {awaited!r} was awaited")
        self._websocket.receive_data(data)
        for event in self._websocket.events():
            if isinstance(event, TextMessage):
                self._text.append(event.data)
                if event.message_finished:
                    text, self._text = "".join(self._text), []
                    self._dispatch(text.encode())
            elif isinstance(event, AcceptConnection):
                self._accepted = True
            elif isinstance(event, RejectConnection):
                raise self.failure(f"refuses the WebSocket: {event.status_code}")
            elif isinstance(event, Ping):
                async with self._writing:
                    await self._stream.send_all(self._websocket.send(event.response()))

    def _dispatch(self, line: bytes) -> None:
        message = json.loads(line)
        if message["type"] == "error":  # {id, error: a kind, message}; else {id, result}
            message["error"] = {"message": f"{message['error']}: {message['message']}"}
            line = json.dumps(message).encode()
        super()._dispatch(line)

    async def new_page(self, url: str | None = None) -> Page:
        """A new tab with our peer functions, showing a blank page or this one."""
        context = (await self.call("browsingContext.create", type="tab", within=30))["context"]
        page = Page(self, context)
        script = PEER_SCRIPT.read_text(encoding="utf-8")
        await self.call(
            "script.addPreloadScript",
            functionDeclaration=f"() => {{\n{script}\nglobalThis.rtcPeer = rtcPeer;\n}}",
            contexts=[context],
        )
        await page.goto(url or BLANK_URL)
        return page


@attrs.frozen(eq=False)
class Page:
    """A tab of a browser."""

    browser: Firefox
    context: str

    @property
    def name(self) -> str:
        return self.browser.name

    async def goto(self, url: str, within: float = 20.0) -> None:
        """Open an address in the tab, and wait until the page is loaded."""
        await self.browser.call(
            "browsingContext.navigate",
            context=self.context,
            url=url,
            wait="complete",
            within=within,
        )

    async def evaluate(self, function: str, *arguments: Any, within: float = 10.0) -> Any:
        """What a JavaScript function gives for arguments that JSON can express.

        The function may be async: `await page.evaluate("async (x) => x + 1", 2)`. Raises PeerError
        with what the function threw.
        """
        given = ", ".join(json.dumps(argument) for argument in arguments)
        answer = await self.browser.call(
            "script.callFunction",
            functionDeclaration=f"async () => JSON.stringify(await ({function})({given}))",
            target={"context": self.context},
            awaitPromise=True,
            userActivation=True,
            within=within,
        )
        if answer["type"] == "exception":
            raise PeerError(f"{self.name}: {answer['exceptionDetails']['text']}")
        text = answer["result"].get("value")
        return None if text is None else json.loads(text)

    async def call(self, method: str, *, within: float = 10.0, **params: Any) -> Any:
        """The result of a function of `browser_peer.js`."""
        function = f"async (params) => await rtcPeer[{json.dumps(method)}](params)"
        return await self.evaluate(function, params, within=within)

    async def screenshot(self, path: Path | None = None) -> bytes:
        """The page as a PNG picture, written to a file if a path is given."""
        answer = await self.browser.call(
            "browsingContext.captureScreenshot", context=self.context, within=20
        )
        picture = base64.b64decode(answer["data"])
        if path is not None:
            await trio.Path(path).write_bytes(picture)
        return picture

    async def console(self) -> list[str]:
        """What the page wrote to the console as warnings and errors since this was last asked.

        That includes exceptions that nobody caught.
        """
        await self.evaluate("() => 0")  # reads what came before the answer
        return [
            str(event["params"]["text"])
            for event in self.browser.take_events("log.entryAdded")
            if self._is_mine(event) and event["params"]["level"] in {"warn", "error"}
        ]

    async def close(self) -> None:
        """Close the tab, as a user does."""
        await self.browser.call("browsingContext.close", context=self.context)

    def _is_mine(self, event: Event) -> bool:
        return bool(event["params"]["source"].get("context") == self.context)
