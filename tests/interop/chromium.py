"""Headless Chromium as a peer, driven through the DevTools protocol on a pipe.

No driver program and no port: `--remote-debugging-pipe` reads messages from file descriptor 3 and
writes them to 4, and so works from another network namespace, and Chromium ends with the pipe.
https://chromedevtools.github.io/devtools-protocol/ describes the messages.

It runs as delivered, as far as WebRTC goes: candidates of its own addresses carry mDNS names,
because no page was ever allowed to use a camera. All its processes live in a process namespace of
their own, whose end is the end of them all and of their files.

`Page.call` speaks the vocabulary of `webrtc.py`, which `browser_peer.js` implements in the page.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any, ClassVar

import attrs
import trio

from . import namespaces
from .namespaces import Host
from .peer_process import Event, PeerProcess
from .requirements import meets, require
from .usrsctp import PeerError

PEER_SCRIPT = Path(__file__).with_name("browser_peer.js")

FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",  # its sandbox refuses to be root
    "--no-first-run",
    "--no-default-browser-check",
    "--no-service-autorun",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",  # shared memory into its own folder, so that none is left behind
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    "--metrics-recording-only",
    "--mute-audio",
    "--password-store=basic",
    "--use-mock-keychain",
)

#: Chromium's files are in memory, in a file system that only its own processes see: it goes with
#: the last of them, and the path is short enough for the socket that Chromium makes there.
FOLDER = "/mnt"

#: A page for peers: unlike about:blank, a file is a secure context and so has crypto.subtle.
BLANK_URL = f"file://{FOLDER}/blank.html"
BLANK_PAGE = "<!doctype html><meta charset=utf-8><title>peer</title>"

_OWN_PROCESSES = ("unshare", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "--")
_START = f"""
mount -t tmpfs chromium {FOLDER} && printf %s "$PAGE" >{FOLDER}/blank.html || exit
exec "$@" --user-data-dir={FOLDER}/profile 3<&0 4>&1 </dev/null >/dev/null
"""


@functools.cache
def missing() -> str | None:
    """Why Chromium cannot be run here, or None."""
    reason = namespaces.missing()
    if reason is not None:
        return reason
    if shutil.which("chromium") is None:
        return "chromium is not installed (Debian: chromium)"
    return None


def require_chromium() -> None:
    """Skip or fail the test where Chromium cannot be run."""
    meets("Chromium")
    require(missing())


class Chromium(PeerProcess):
    """A browser in a namespace, with a new profile and no page.

    Of the flags that can be added, `--ignore-certificate-errors` lets it use a TURN server over TLS
    whose certificate nobody signed.
    """

    delimiter: ClassVar[bytes] = b"\0"

    def __init__(self, host: Host, *flags: str) -> None:
        super().__init__(
            [*_OWN_PROCESSES, "sh", "-c", _START, "sh", "chromium", *FLAGS, *flags],
            name=f"chromium on {host.name}",
            host=host,
            environment={"HOME": FOLDER, "TMPDIR": FOLDER, "PAGE": BLANK_PAGE},
        )
        #: What Chromium calls itself, with its version.
        self.version = ""

    async def _wait_ready(self) -> None:
        # It takes a second; on a machine that is busy with other things, much longer.
        answer = await self.call("Browser.getVersion", within=60)
        self.version = answer["product"]

    def log(self, limit: int = 8_000) -> str:
        # Without what it has to say about a desktop that is not there.
        lines = super().log(limit).splitlines()
        return "\n".join(line for line in lines if "ERROR:dbus/" not in line)

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

    async def new_page(self, url: str | None = None) -> Page:
        """A new tab with our peer functions, showing a blank page or this one."""
        target = (await self.call("Target.createTarget", url="about:blank"))["targetId"]
        attached = await self.call("Target.attachToTarget", targetId=target, flatten=True)
        page = Page(self, target, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Inspector"):
            await page.command(f"{domain}.enable")
        script = PEER_SCRIPT.read_text(encoding="utf-8")
        await page.command("Page.addScriptToEvaluateOnNewDocument", source=script)
        await page.goto(url or BLANK_URL)
        return page


@attrs.frozen(eq=False)
class Page:
    """A tab of a browser."""

    browser: Chromium
    target: str
    session: str

    @property
    def name(self) -> str:
        return self.browser.name

    async def command(self, method: str, *, within: float = 10.0, **params: Any) -> Any:
        """The result of a DevTools method for this tab."""
        message = {"method": method, "params": params, "sessionId": self.session}
        return await self.browser.request(message, within)

    async def goto(self, url: str, within: float = 20.0) -> None:
        """Open an address in the tab, and wait until the page is loaded."""
        self.browser.take_events("Page.loadEventFired")
        answer = await self.command("Page.navigate", url=url, within=within)
        if "errorText" in answer:
            raise PeerError(f"{self.name} cannot open {url}: {answer['errorText']}")
        await self.browser.expect("Page.loadEventFired", self._is_mine, within=within)

    async def evaluate(self, function: str, *arguments: Any, within: float = 10.0) -> Any:
        """What a JavaScript function gives for arguments that JSON can express.

        The function may be async: `await page.evaluate("async (x) => x + 1", 2)`. Raises PeerError
        with what the function threw.
        """
        given = ", ".join(json.dumps(argument) for argument in arguments)
        answer = await self.command(
            "Runtime.evaluate",
            expression=f"({function})({given})",
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
            within=within,
        )
        if "exceptionDetails" in answer:
            raise PeerError(f"{self.name}: {_exception_text(answer['exceptionDetails'])}")
        return answer["result"].get("value")

    async def call(self, method: str, *, within: float = 10.0, **params: Any) -> Any:
        """The result of a function of `browser_peer.js`."""
        function = f"async (params) => await rtcPeer[{json.dumps(method)}](params)"
        return await self.evaluate(function, params, within=within)

    async def screenshot(self, path: Path | None = None) -> bytes:
        """The page as a PNG picture, written to a file if a path is given."""
        answer = await self.command("Page.captureScreenshot", format="png", within=20)
        picture = base64.b64decode(answer["data"])
        if path is not None:
            await trio.Path(path).write_bytes(picture)
        return picture

    async def console(self) -> list[str]:
        """What the page wrote to the console as warnings and errors since this was last asked.

        That includes exceptions that nobody caught, and what the browser itself complains about.
        """
        await self.command("Runtime.evaluate", expression="0")  # reads what came before the answer
        lines = []
        for method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            for event in self.browser.take_events(method):
                if self._is_mine(event):
                    lines += _complaint(event)
        return lines

    async def crash(self) -> None:
        """End the tab's process at once. Sockets close, and nothing is said to other peers."""
        # Not Page.crash: that also wants a crash report, and then takes seconds, now and then.
        params = {"url": "chrome://kill"}
        await self.browser.post(
            {"method": "Page.navigate", "params": params, "sessionId": self.session}
        )
        await self.browser.expect("Inspector.targetCrashed", self._is_mine)

    async def close(self) -> None:
        """Close the tab, as a user does."""
        await self.browser.call("Target.closeTarget", targetId=self.target)

    def _is_mine(self, event: Event) -> bool:
        return event.get("sessionId") == self.session


def _exception_text(details: dict[str, Any]) -> str:
    exception = details.get("exception", {})
    return str(exception.get("description") or exception.get("value") or details["text"])


def _complaint(event: Event) -> list[str]:
    params = event["params"]
    if event["method"] == "Runtime.exceptionThrown":
        return [_exception_text(params["exceptionDetails"])]
    if event["method"] == "Log.entryAdded":
        entry = params["entry"]
        where = [entry["url"]] if "url" in entry else []
        complains = entry["level"] in {"warning", "error"}
        return [" ".join([entry["text"], *where])] if complains else []
    if params["type"] not in {"warning", "error", "assert"}:
        return []
    return [
        " ".join(str(item.get("value", item.get("description", ""))) for item in params["args"])
    ]
