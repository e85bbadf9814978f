"""Child processes that tests talk to in lines of JSON.

A request is `{"id": 1, "method": "offer", "params": {…}}`, its answer `{"id": 1, "result": …}` or
`{"id": 1, "error": {"message": "…"}}`, in any order; a message without an id, `{"method": "…",
"params": {…}}`, is an event that nobody asked for. That is the shape of the DevTools protocol too,
so one class speaks with our peer programs and with Chromium; only what ends a message differs.

As in `usrsctp.py`, there is no background task: whoever waits for an answer reads, and keeps what
is for others. Requests of several tasks may be under way at once.

Nothing outlives a test: leaving `async with` kills the program and waits until it is gone. Should
the test process itself be killed, the program's stdin ends, and with it the program: our peers and
Chromium look at it, and `end_with_stdin` sees to it for programs that do not.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import trio

from .namespaces import Host
from .usrsctp import PeerError

#: An unasked message: "method" and "params", and of Chromium also "sessionId".
Event = dict[str, Any]

_WATCHER = 'exec 3<&0; (cat <&3 >/dev/null; kill -9 $$) & exec 3<&-; exec "$@" </dev/null'


def end_with_stdin(words: Sequence[str]) -> list[str]:
    """The command that runs this one until stdin ends; it cannot read from stdin itself."""
    return ["sh", "-c", _WATCHER, "sh", *words]


def module_command(module: str) -> tuple[list[str], Path]:
    """The command that runs a module of this package as a program, and the folder to run it in."""
    package = __name__.rpartition(".")[0]
    folder = Path(__file__).parents[package.count(".") + 1]
    return [sys.executable, "-m", f"{package}.{module}"], folder


class Child:
    """A child process with pipes for stdin and stdout; its stderr is kept for error messages.

    With `host`, it runs in that namespace. With `log_output`, stdout is kept with stderr instead of
    being a pipe. `environment` is added to the environment; `folder` is where it runs.
    """

    def __init__(
        self,
        words: Sequence[str],
        *,
        name: str,
        host: Host | None = None,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        log_output: bool = False,
    ) -> None:
        self.name = name
        self.host = host
        self.arguments = list(words) if host is None else host.command(*words)
        self._environment = {**os.environ, **(environment or {})}
        self._folder = folder
        self._log_output = log_output
        self._process: trio.Process | None = None
        self._log: int | None = None

    async def __aenter__(self) -> Self:
        await self._start()
        try:
            await self._wait_ready()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is None:
            return
        with trio.CancelScope(shield=True):
            try:
                await self.kill()
            finally:
                for stream in (self._process.stdin, self._process.stdout):
                    if stream is not None:
                        await stream.aclose()
                if self._log is not None:
                    os.close(self._log)
                    self._log = None

    async def _start(self) -> None:
        # A file and not a pipe: it never fills up, and nobody has to read it.
        self._log, path = tempfile.mkstemp()
        os.unlink(path)
        try:
            self._process = await trio.lowlevel.open_process(
                self.arguments,
                stdin=subprocess.PIPE,
                stdout=self._log if self._log_output else subprocess.PIPE,
                stderr=self._log,
                env=self._environment,
                cwd=self._folder,
                # Its own group: Control-C at the terminal is for the test run to handle.
                start_new_session=True,
            )
        except BaseException:
            os.close(self._log)
            self._log = None
            raise

    async def _wait_ready(self) -> None:
        """Wait until the program can be used; for subclasses."""

    @property
    def process(self) -> trio.Process:
        assert self._process is not None, "use the program in `async with`"
        return self._process

    def log(self, limit: int = 8_000) -> str:
        """The end of what the program wrote to stderr, so many bytes at most."""
        if self._log is None:
            return "(closed)"
        size = os.fstat(self._log).st_size
        # The child writes at an offset that we share with it, so read without moving that.
        start = max(size - limit, 0)
        return os.pread(self._log, size - start, start).decode(errors="replace")

    def failure(self, what: str) -> PeerError:
        """An error that tells all that is known about the program."""
        return PeerError(
            f"{self.name} {what}\ncommand: {' '.join(self.arguments)}\n"
            f"exit code: {self.process.poll()}\nlog: {self.log() or '(empty)'}"
        )

    async def wait(self, within: float = 5.0) -> int:
        """The exit code, once the program has ended; PeerError if it has not in time (seconds)."""
        with trio.move_on_after(within):
            return await self.process.wait()
        raise self.failure(f"still runs after {within} s")

    async def end_input(self) -> None:
        """Close its stdin: our peers end then, in order, as far as they know how to."""
        assert self.process.stdin is not None
        await self.process.stdin.aclose()

    async def kill(self) -> None:
        """End the program and its children at once: to the other end, it falls silent."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()

    def pause(self) -> None:
        """Stop the program: it answers nothing, yet its addresses are still there."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.killpg(self.process.pid, signal.SIGCONT)


class PeerProcess(Child):
    """A program that answers requests in JSON on stdin and stdout."""

    #: What ends a message.
    delimiter: ClassVar[bytes] = b"\n"

    def __init__(self, words: Sequence[str], **options: Any) -> None:
        super().__init__(words, **options)
        self._numbers = itertools.count(1)
        self._answers: dict[int, dict[str, Any] | None] = {}
        self._events: deque[Event] = deque()
        self._rest = bytearray()
        self._reading, self._writing = trio.Lock(), trio.Lock()
        self._ended = False

    async def call(self, method: str, *, within: float = 10.0, **params: Any) -> Any:
        """The result of a method; raises PeerError if that is an error, or late (seconds)."""
        return await self.request({"method": method, "params": params}, within)

    async def request(self, message: dict[str, Any], within: float) -> Any:
        """Send a message under a new id; the result that comes under that id."""
        number = next(self._numbers)
        self._answers[number] = None
        answer: dict[str, Any] | None = None
        try:
            with trio.move_on_after(within):
                await self._write({"id": number, **message})
                answer = await self._until(lambda: self._answers[number], str(message["method"]))
        finally:
            del self._answers[number]
        if answer is None:
            raise self.failure(f"did not answer {_shorten(message)} in {within} s")
        if "error" in answer:
            raise PeerError(f"{self.name}: {_shorten(message)}: {answer['error']['message']}")
        return answer["result"]

    async def post(self, message: dict[str, Any]) -> None:
        """Send a message whose answer, if there ever is one, nobody wants."""
        await self._write({"id": next(self._numbers), **message})

    async def expect(
        self,
        method: str,
        good: Callable[[Event], bool] = lambda _: True,
        *,
        within: float = 10.0,
    ) -> Event:
        """The first unread event of this kind that is `good`; waits for it, up to `within` s.

        Other events stay unread, in their order.
        """
        with trio.move_on_after(within):
            return await self._until(lambda: self._take(method, good), method)
        unread = "".join(f"\n  {_shorten(event)}" for event in self._events) or " none"
        raise self.failure(f"sent no {method!r} in {within} s; unread events:{unread}")

    def take_events(self, method: str) -> list[Event]:
        """All unread events of this kind that were read from the program; they are read now."""
        found = [event for event in self._events if event["method"] == method]
        self._events = deque(event for event in self._events if event["method"] != method)
        return found

    def _take(self, method: str, good: Callable[[Event], bool]) -> Event | None:
        for index, event in enumerate(self._events):
            if event["method"] == method and good(event):
                del self._events[index]
                return event
        return None

    async def _write(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        try:
            async with self._writing:
                await self.process.stdin.send_all(json.dumps(message).encode() + self.delimiter)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise self.failure("does not read its stdin any more") from error

    async def _until(self, look: Callable[[], Event | None], awaited: str) -> Event:
        while True:
            found = look()
            if found is not None:
                await trio.lowlevel.checkpoint()
                return found
            async with self._reading:
                # Someone else may have read what we want while we waited for our turn.
                if look() is None:
                    await self._read_more(awaited)

    async def _read_more(self, awaited: str) -> None:
        assert self.process.stdout is not None
        data = b"" if self._ended else await self.process.stdout.receive_some(1 << 18)
        if not data:
            self._ended = True
            with trio.move_on_after(1):
                await self.process.wait()
            raise self.failure(f"ended while {awaited!r} was awaited")
        self._rest += data
        if self.delimiter not in data:
            return
        *lines, rest = bytes(self._rest).split(self.delimiter)
        self._rest = bytearray(rest)
        for line in lines:
            self._dispatch(line)

    def _dispatch(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            raise self.failure(f"wrote what is not JSON: {line[:200]!r}") from None
        number = message.get("id")
        if number is None:
            self._events.append(message)
        elif number in self._answers:  # else nobody waits for it any more
            self._answers[number] = message


def _shorten(message: dict[str, Any]) -> str:
    text = f"{message['method']} {json.dumps(message.get('params', {}), ensure_ascii=False)}"
    return text if len(text) < 300 else f"{text[:300]} … ({len(text)} characters)"
