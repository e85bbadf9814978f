"""Programs that are built on usrsctp, as peers for tests.

`Peer` drives `usrsctp_peer.c`, our scriptable program: one-line commands in, JSON events out. Its
commands and options are listed in that file. `Program` runs one of the example programs that
Debian ships (package libusrsctp-examples); the functions below know their argument order.

No background task: `Peer` reads the program's output when a test asks for it, and the program
queues its output without limit, so a test that does not ask slows nothing down.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import trio

from .requirements import meets, require

#: Where Debian's package puts the example programs.
PROGRAM_FOLDERS = (Path("/usr/lib/usrsctp"), Path("/usr/libexec/usrsctp"))
PEER_SOURCE = Path(__file__).with_name("usrsctp_peer.c")

#: Event of a `Peer`: the field "event" tells its kind.
Event = dict[str, Any]


class PeerError(AssertionError):
    """A peer program did not do what the test expected of it."""


# --------------------------------------------------------------------------- payload


@functools.lru_cache(maxsize=256)
def _pattern_block(seed: int, size: int) -> bytes:
    x = seed & 0xFFFFFFFF or 0x9E3779B9
    words = []
    for _ in range((size + 3) // 4):
        x ^= (x << 13) & 0xFFFFFFFF
        x ^= x >> 17
        x ^= (x << 5) & 0xFFFFFFFF
        words.append(x)
    return struct.pack(f"<{len(words)}I", *words)[:size]


def pattern(seed: int, size: int) -> bytes:
    """The payload that `usrsctp_peer` sends for this seed and size (bytes): see fill_pattern()."""
    period = 4093
    block = _pattern_block(seed, min(size, period))
    return block if size <= period else (block * (size // period + 1))[:size]


def checksum(*payloads: bytes) -> int:
    """The "crc" that `usrsctp_peer` reports for a message, or in "totals" for several in order."""
    return functools.reduce(lambda crc, payload: zlib.crc32(payload, crc), payloads, 0)


# --------------------------------------------------------------------------- what is there


def find_program(name: str) -> Path | None:
    """The path of an example program of usrsctp, or None where it is not installed."""
    for folder in PROGRAM_FOLDERS:
        path = folder / name
        if os.access(path, os.X_OK):
            return path
    return None


@functools.cache
def _missing() -> str | None:
    if sys.platform == "win32":
        return "the usrsctp programs are run on Unix only"
    if shutil.which("cc") is None:
        return "no C compiler (cc)"
    if find_program("tsctp") is None:
        return "usrsctp's example programs are not installed (Debian: libusrsctp-examples)"
    test = subprocess.run(
        ["cc", "-E", "-include", "usrsctp.h", "-x", "c", os.devnull],
        capture_output=True,
        check=False,
    )
    if test.returncode != 0:
        return "usrsctp.h is not installed (Debian: libusrsctp-dev)"
    return None


def require_usrsctp() -> None:
    """Skip or fail the test where usrsctp is missing."""
    meets("usrsctp")
    require(_missing())


def build_peer(folder: Path) -> Path:
    """Compile `usrsctp_peer.c` into the folder; the path of the program."""
    flags = ["-lusrsctp"]
    if shutil.which("pkg-config") is not None:
        asked = subprocess.run(
            ["pkg-config", "--cflags", "--libs", "usrsctp"],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.returncode == 0:
            flags = asked.stdout.split()
    program = folder / "usrsctp_peer"
    command = ["cc", "-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-o", str(program)]
    built = subprocess.run(
        [*command, str(PEER_SOURCE), *flags, "-lpthread"],
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode != 0:
        raise PeerError(f"usrsctp_peer.c does not compile:\n{built.stderr}")
    return program


def free_udp_port() -> int:
    """A UDP port that was free a moment ago, on IPv4 and IPv6 alike."""
    while True:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first,
            socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as second,
        ):
            first.bind(("", 0))
            port: int = first.getsockname()[1]
            second.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                second.bind(("::", port))
            except OSError:
                continue
            return port


# --------------------------------------------------------------------------- processes


class _Sink:
    """A file without a name that a child writes to, and that never fills up as a pipe does."""

    def __init__(self) -> None:
        self.descriptor, name = tempfile.mkstemp()
        os.unlink(name)

    def read(self, start: int = 0) -> bytes:
        """What the child wrote so far, from this position on."""
        # The child writes at an offset that we share with it, so read without moving that.
        size = os.fstat(self.descriptor).st_size
        return os.pread(self.descriptor, max(size - start, 0), start)

    def close(self) -> None:
        os.close(self.descriptor)


class _Process:
    """A child process with a pipe for stdin, and files for what tests read at the end only."""

    def __init__(self, arguments: Sequence[str | Path]) -> None:
        self.arguments = [str(word) for word in arguments]
        self.name = Path(self.arguments[0]).name
        self._process: trio.Process | None = None
        self._errors: _Sink | None = None
        self._output: _Sink | None = None

    async def _start(self, *, output: _Sink | None) -> None:
        self._errors, self._output = _Sink(), output
        try:
            self._process = await trio.lowlevel.open_process(
                self.arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if output is None else output.descriptor,
                stderr=self._errors.descriptor,
            )
        except BaseException:
            self._close_sinks()
            raise

    def _close_sinks(self) -> None:
        for sink in (self._errors, self._output):
            if sink is not None:
                sink.close()

    @property
    def process(self) -> trio.Process:
        assert self._process is not None, "use the program in `async with`"
        return self._process

    def stderr(self) -> str:
        """What the program wrote to stderr so far."""
        assert self._errors is not None, "use the program in `async with`"
        return self._errors.read().decode(errors="replace")

    async def _write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        try:
            await self.process.stdin.send_all(data)
        except trio.BrokenResourceError as error:
            raise self._error("does not read its stdin any more") from error

    def _error(self, what: str) -> PeerError:
        return PeerError(
            f"{self.name} {what}\ncommand: {' '.join(self.arguments)}\n"
            f"exit code: {self.process.poll()}\nstderr: {self.stderr() or '(nothing)'}"
        )

    async def wait(self, within: float = 5.0) -> int:
        """The exit code, once the program has ended; PeerError if it has not in time (seconds)."""
        with trio.move_on_after(within):
            return await self.process.wait()
        raise self._error(f"still runs after {within} s")

    async def kill(self) -> None:
        """End the program at once: to the other end, it falls silent."""
        self.process.kill()
        await self.process.wait()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with trio.CancelScope(shield=True):
            try:
                await self.kill()
            finally:
                for stream in (self.process.stdin, self.process.stdout):
                    if stream is not None:
                        await stream.aclose()
                self._close_sinks()


class Peer(_Process):
    """The program `usrsctp_peer`, running.

    Options are written as keywords: `Peer(program, listen=True, udp_port=9899, rto_min=100)` runs
    `usrsctp_peer --listen --udp-port 9899 --rto-min 100`. Where `udp_port` is not given, a free one
    is taken. False and None leave an option out.
    """

    def __init__(self, program: Path, **options: str | int | bool | None) -> None:
        self.udp_port = int(options.pop("udp_port", None) or free_udp_port())
        words: list[str | Path] = [program, "--udp-port", str(self.udp_port)]
        for name, value in options.items():
            if value is None or value is False:
                continue
            words.append("--" + name.replace("_", "-"))
            if value is not True:
                words.append(str(value))
        super().__init__(words)
        self.capabilities: Event = {}
        self._pending: deque[Event] = deque()
        self._rest = b""
        self._reading = trio.Lock()

    async def __aenter__(self) -> Self:
        await self._start(output=None)
        try:
            self.capabilities = await self.expect("capabilities")
            if "--listen" in self.arguments:
                await self.expect("listening")
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def command(self, line: str) -> None:
        """Give one command. The program answers what it cannot do with an "error" event."""
        await self._write(line.encode() + b"\n")

    async def send(
        self,
        stream: int,
        size: int,
        seed: int,
        *,
        ppid: int = 53,
        unordered: bool = False,
        policy: str = "reliable",
        count: int = 1,
        connection: int | None = None,
    ) -> None:
        """Let it send `count` messages of `size` bytes: pattern(seed), pattern(seed + 1), …"""
        target = "" if connection is None else f"@{connection} "
        order = "unordered" if unordered else "ordered"
        await self.command(f"{target}send {stream} {ppid} {order} {policy} {size} {seed} {count}")

    async def ask(self, line: str, within: float = 5.0) -> Event:
        """Give a command that is answered with an event of its own name, and wait for that.

        These are status, stats, totals, echo, report, pause and resume.
        """
        await self.command(line)
        name = next(word for word in line.split() if not word.startswith("@"))
        return await self.expect(name, within)

    async def ask_until(
        self, line: str, good: Callable[[Event], bool], within: float = 5.0
    ) -> Event:
        """Ask again and again, until the answer is as wanted."""
        answer: Event = {}
        with trio.move_on_after(within):
            while True:
                answer = await self.ask(line)
                if good(answer):
                    return answer
                await trio.sleep(0.02)
        raise self._error(f"still answers {line!r} with {answer} after {within} s")

    async def expect(self, event: str, within: float = 5.0, **fields: object) -> Event:
        """The first unread event of this kind with these fields; waits for it.

        Other events stay unread, in their order. Raises PeerError after `within` seconds, if the
        program ends, or if it reports an "error" while another kind of event is awaited.
        """
        with trio.move_on_after(within):
            while True:
                found = self._take(event, fields)
                if found is not None:
                    return found
                async with self._reading:
                    # Someone else may have read our event while we waited for our turn.
                    found = self._take(event, fields)
                    if found is not None:
                        return found
                    await self._read_more(event)
        unread = "".join(f"\n  {line}" for line in self._pending) or " none"
        raise self._error(f"sent no {event!r} {fields or ''} in {within} s; unread events:{unread}")

    def unread(self, event: str) -> list[Event]:
        """Events of this kind that were read from the program, but not yet taken by `expect`."""
        return [line for line in self._pending if line["event"] == event]

    def _take(self, event: str, fields: dict[str, object]) -> Event | None:
        for index, line in enumerate(self._pending):
            if line["event"] == event and all(line.get(k) == v for k, v in fields.items()):
                del self._pending[index]
                return line
        return None

    async def _read_more(self, awaited: str) -> None:
        assert self.process.stdout is not None
        data = await self.process.stdout.receive_some(65536)
        if not data:
            with trio.move_on_after(1):
                await self.process.wait()
            raise self._error(f"ended while {awaited!r} was awaited")
        *lines, self._rest = (self._rest + data).split(b"\n")
        for raw in lines:
            line = json.loads(raw)
            if line["event"] == "error" and awaited != "error":
                raise self._error(f"refused {line['command']!r}: {line['message']}")
            self._pending.append(line)


class Program(_Process):
    """An example program of usrsctp, running; its stdout goes to a file that can be read."""

    def __init__(self, name: str, *arguments: str | int) -> None:
        path = find_program(name)
        if path is None:
            raise PeerError(f"{name} is not installed")
        # printf into a file is buffered in blocks; stdbuf makes that lines.
        prefix = ["stdbuf", "-oL"] if shutil.which("stdbuf") is not None else []
        super().__init__([*prefix, path, *(str(argument) for argument in arguments)])
        self.name = name

    async def __aenter__(self) -> Self:
        await self._start(output=_Sink())
        return self

    def output(self) -> str:
        """All that it printed so far."""
        assert self._output is not None, "use the program in `async with`"
        return self._output.read().decode(errors="replace")

    async def write(self, text: str) -> None:
        """Write to its stdin."""
        await self._write(text.encode())

    async def end_input(self) -> None:
        """Close its stdin."""
        assert self.process.stdin is not None
        await self.process.stdin.aclose()

    async def wait_output(self, wanted: str, within: float = 5.0) -> re.Match[str]:
        """Wait until its output matches a regular expression; PeerError after `within` seconds.

        The match may be at most 4,000 bytes long: tsctp prints megabytes of debug output, so what
        was searched once is not searched again.
        """
        assert self._output is not None, "use the program in `async with`"
        window, position = b"", 0
        with trio.move_on_after(within):
            while True:
                ended = self.process.poll() is not None
                new = self._output.read(position)
                position += len(new)
                window = window[-4000:] + new
                match = re.search(wanted, window.decode(errors="replace"))
                if match is not None:
                    return match
                if ended:
                    raise self._error(f"ended without {wanted!r}; output ends:\n{self._tail()}")
                await trio.sleep(0.01)
        raise self._error(f"did not print {wanted!r} in {within} s; output ends:\n{self._tail()}")

    def _tail(self) -> str:
        return self.output()[-2000:]


async def wait_udp_bound(port: int, within: float = 5.0) -> None:
    """Wait until somebody has bound this UDP port: the programs do not say when they are ready.

    usrsctp binds the port in its initialization, and the programs listen at once after it.
    """
    with trio.fail_after(within):
        while True:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                try:
                    probe.bind(("", port))
                except OSError:
                    break
            await trio.sleep(0.01)
    # From the bind to usrsctp_listen() it is a few system calls; a lost INIT would cost a second.
    await trio.sleep(0.05)


def echo_server(udp_port: int) -> Program:
    """Echoes whole messages up to 10,240 bytes on SCTP port 7: same stream, PPID and order."""
    return Program("echo_server", udp_port)


def discard_server(udp_port: int) -> Program:
    """Prints a line for each piece of a message that comes to SCTP port 9."""
    return Program("discard_server", udp_port)


def client(address: str, port: int, udp_port: int, remote_udp_port: int) -> Program:
    """Sends the lines of its stdin as messages, prints what comes; shuts down at end of input."""
    return Program("client", address, port, 0, udp_port, remote_udp_port)


def tsctp_server(udp_port: int, *arguments: str | int, port: int = 5001) -> Program:
    """Receives; prints one line of figures per association that ended (see `TSCTP_RESULT`)."""
    return Program("tsctp", "-E", udp_port, "-p", port, *arguments)


def tsctp_client(
    address: str, udp_port: int, remote_udp_port: int, *arguments: str | int, port: int = 5001
) -> Program:
    """Sends `-n` messages of `-l` bytes, shuts down and ends."""
    where: tuple[str | int, ...] = ("-E", udp_port, "-U", remote_udp_port, "-p", port)
    return Program("tsctp", *where, *arguments, address)


#: The line that a receiving tsctp prints for an association that ended.
TSCTP_RESULT = (
    r"(?m)^(?P<size>\d+), (?P<messages>\d+), (?P<reads>\d+), (?P<bytes>\d+), "
    r"(?P<seconds>[\d.]+), (?P<rate>[-\w.]+), (?P<notifications>\d+)$"
)
