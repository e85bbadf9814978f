"""SCTP in UDP without DTLS (RFC 6951) over loopback, two processes: this project, and tsctp.

tsctp is a program of usrsctp, whose Debian build writes a line or more for every packet it handles.
That goes to /dev/null, and costs it time all the same: its figure is that of the program as it is
shipped, not of the library's best. When it began and ended is seen from how that output grows.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import AnyStr

import trio

import rtcsctp

PORT = 5001
PROGRAMS = (Path("/usr/lib/usrsctp/tsctp"), Path("/usr/libexec/usrsctp/tsctp"))
HOST = "127.0.0.1"
QUIET = 0.3  # seconds without output: the transfer is over
PATIENCE = 120.0


class TransferError(Exception):
    """A transfer did not come to its end."""


def missing() -> str | None:
    """Why tsctp cannot be run here, or None."""
    if any(os.access(path, os.X_OK) for path in PROGRAMS):
        return None
    return "tsctp is not installed (Debian: libusrsctp-examples)"


# --------------------------------------------------------------------------- ours


async def _serve(count: int) -> None:
    """Print the UDP port, take one association, print when its last message had come."""
    done = trio.Event()

    async def handler(association: rtcsctp.Association) -> None:
        stream, received = association.stream(0), 0
        while received < count:
            received += len(await stream.receive_many())
        print(time.monotonic(), flush=True)
        await association.wait_closed()
        done.set()

    async with trio.open_nursery() as nursery:
        address = await nursery.start(partial(rtcsctp.listen, handler, port=PORT, udp=(HOST, 0)))
        print(address[1], flush=True)
        await done.wait()
        nursery.cancel_scope.cancel()


async def _connect(udp_port: int, count: int, size: int) -> None:
    """Print when sending began."""
    data = bytes(size)
    async with rtcsctp.connect((HOST, udp_port), port=PORT) as association:
        stream = association.stream(0)
        print(time.monotonic(), flush=True)
        for _ in range(count):
            await stream.send(data)
        await association.shutdown()


def ours(count: int, size: int) -> float:
    """Seconds from the first message sent to the last one received."""
    words = [sys.executable, __file__]
    serve = [*words, "serve", str(count)]
    with _running(subprocess.Popen(serve, stdout=subprocess.PIPE, text=True)) as server:
        assert server.stdout is not None
        connect = [*words, "connect", server.stdout.readline().strip(), str(count), str(size)]
        client = subprocess.run(connect, stdout=subprocess.PIPE, check=True, timeout=PATIENCE)
        return float(server.stdout.readline()) - float(client.stdout)


# --------------------------------------------------------------------------- tsctp


def tsctp(count: int, size: int) -> float:
    """The same by two tsctp."""
    path = next(str(path) for path in PROGRAMS if os.access(path, os.X_OK))
    here, there = _free_ports()
    serve = [path, "-E", str(there), "-p", str(PORT), "-L", HOST]
    where = ["-E", str(here), "-U", str(there), "-p", str(PORT)]
    connect = [path, *where, "-n", str(count), "-l", str(size), HOST]
    with _running(_unheard(serve)) as server:
        _wait_bound(there)
        before = _written(server)
        with _running(_unheard(connect)):
            began = _wait_growth(server, before)
            ended = _wait_quiet(server)
    return ended - began


def _unheard(words: list[str]) -> subprocess.Popen[bytes]:
    nothing = subprocess.DEVNULL
    return subprocess.Popen(words, stdin=nothing, stdout=nothing, stderr=nothing)


def _written(process: subprocess.Popen[bytes]) -> int:
    text = Path(f"/proc/{process.pid}/io").read_text(encoding="ascii")
    return int(text.split("wchar: ")[1].split()[0])


def _wait_growth(process: subprocess.Popen[bytes], before: int) -> float:
    limit = time.monotonic() + PATIENCE
    while _written(process) == before:
        if time.monotonic() > limit:
            raise TransferError("tsctp did not begin")
        time.sleep(0.001)
    return time.monotonic()


def _wait_quiet(process: subprocess.Popen[bytes]) -> float:
    """When the output last grew."""
    limit = time.monotonic() + PATIENCE
    written, grew = 0, time.monotonic()
    while time.monotonic() - grew < QUIET:
        now = _written(process)
        if now != written:
            written, grew = now, time.monotonic()
        if grew > limit:
            raise TransferError(f"tsctp took more than {PATIENCE:.0f} s")
        time.sleep(0.005)
    return grew


def _free_ports() -> tuple[int, int]:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
    ):
        one.bind((HOST, 0))
        two.bind((HOST, 0))
        return one.getsockname()[1], two.getsockname()[1]


def _wait_bound(port: int) -> None:
    limit = time.monotonic() + 5
    while time.monotonic() < limit:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", port))
            except OSError:
                break
        time.sleep(0.01)
    time.sleep(0.1)  # from binding to listening it is a few calls; a lost INIT would cost a second


@contextlib.contextmanager
def _running(process: subprocess.Popen[AnyStr]) -> Iterator[subprocess.Popen[AnyStr]]:
    try:
        yield process
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[2:]]
    if sys.argv[1] == "serve":
        trio.run(partial(_serve, *numbers))
    else:
        trio.run(partial(_connect, *numbers))
