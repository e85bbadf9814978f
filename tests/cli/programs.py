"""The command as a process of its own, as a user runs it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

_PATIENCE = 60.0  # seconds after which a process is taken to hang


class Finished:
    """What a process left."""

    def __init__(self, code: int, stdout: bytes, stderr: bytes) -> None:
        self.code = code
        self.raw = stdout
        self.stdout = stdout.decode(errors="replace")
        self.stderr = stderr.decode(errors="replace")

    def __repr__(self) -> str:
        return f"exit code {self.code}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"

    @property
    def complaint(self) -> str:
        """The last line of stderr: why it failed."""
        return (self.stderr.splitlines() or [""])[-1]


def _command(arguments: Sequence[str | Path]) -> list[str]:
    return [sys.executable, "-m", "rtcsctp", *map(str, arguments)]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONWARNINGS": "error", "PYTHONIOENCODING": "utf-8"}


def rtcsctp(*arguments: str | Path, stdin: bytes | None = None) -> Finished:
    """Run the command to its end."""
    result = subprocess.run(
        _command(arguments),
        input=stdin if stdin is not None else b"",
        capture_output=True,
        timeout=_PATIENCE,
        check=False,
        env=_environment(),
    )
    return Finished(result.returncode, result.stdout, result.stderr)


class Running:
    """The command while it runs: a context, which kills what has not ended by itself."""

    def __init__(
        self,
        *arguments: str | Path,
        stdin: BinaryIO | int = subprocess.DEVNULL,
        stdout: BinaryIO | int = subprocess.PIPE,
    ) -> None:
        self._process = subprocess.Popen(
            _command(arguments),
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=_environment(),
        )
        self._watchdog = threading.Timer(_PATIENCE, self._process.kill)
        self._watchdog.daemon = True
        self._watchdog.start()
        self._read = {"stdout": b"", "stderr": b""}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._watchdog.cancel()
        self._process.kill()
        self._process.communicate()

    def expect(self, pattern: str, *, stream: str = "stdout") -> re.Match[str]:
        """Read lines until one matches."""
        pipe = getattr(self._process, stream)
        while line := pipe.readline():
            self._read[stream] += line
            found = re.search(pattern, line.decode())
            if found is not None:
                return found
        raise AssertionError(f"no line like {pattern!r}: {self.wait()!r}")

    def address(self, *, stream: str = "stdout") -> str:
        """Where it listens: the address of its line "listening on …"."""
        return self.expect(r"listening on UDP (\S+), ", stream=stream)[1]

    def interrupt(self, number: int = signal.SIGINT) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it so that it cannot do anything about it."""
        self._process.kill()
        self._process.wait()

    def wait(self) -> Finished:
        """Wait for its end; everything that it has written."""
        stdout, stderr = self._process.communicate(timeout=_PATIENCE)
        return Finished(
            self._process.returncode,
            self._read["stdout"] + (stdout or b""),
            self._read["stderr"] + stderr,
        )


def occupied_udp_port() -> tuple[socket.socket, int]:
    """A UDP port of 127.0.0.1 that is taken as long as the socket is not closed."""
    taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    taken.bind(("127.0.0.1", 0))
    return taken, taken.getsockname()[1]
