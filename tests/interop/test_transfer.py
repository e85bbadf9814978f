"""`rtcsctp send` and `rtcsctp receive` between two hosts whose cable is pulled in the middle.

No other implementation is needed, but what these tests need is here: hosts of their own.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from .namespaces import Host, open_hosts, require_namespaces

pytestmark = pytest.mark.interop

SIZE = 60_000_000
CODE = "a code for two hosts on a wire"


@pytest.fixture(autouse=True)
def with_namespaces() -> None:
    require_namespaces()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "empty").mkdir(parents=True)
    with (folder / "big").open("wb") as file:
        file.write(os.urandom(1_000_000))
        file.truncate(SIZE)
    (folder / "small").write_bytes(b"content")
    return folder


class Command:
    """The command on a host, while it runs."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._buffer = b""
        self._read = b""

    @property
    def said(self) -> str:
        """Everything that it has said so far, and was read."""
        return self._read.decode(errors="replace")

    def kill(self) -> None:
        """End it so that it cannot do anything about it."""
        self._process.kill()

    async def line(self, text: str) -> None:
        """Give it a line."""
        assert self._process.stdin is not None
        await self._process.stdin.send_all(f"{text}\n".encode())

    async def expect(self, pattern: str) -> re.Match[str]:
        """Read lines until one matches."""
        while True:
            line, newline, rest = self._buffer.partition(b"\n")
            if not newline:
                await self._more(pattern)
                continue
            self._buffer = rest
            if found := re.search(pattern, line.decode()):
                return found

    async def _more(self, pattern: str) -> None:
        assert self._process.stdout is not None
        data = await self._process.stdout.receive_some()
        if not data:
            raise AssertionError(f"no line like {pattern!r}:\n{self.said}")
        self._buffer += data
        self._read += data

    async def wait(self) -> int:
        """Read to the end; its exit code."""
        assert self._process.stdout is not None
        async for data in self._process.stdout:
            self._read += data
        return await self._process.wait()


@contextlib.asynccontextmanager
async def running(host: Host, *arguments: str | Path) -> AsyncIterator[Command]:
    """The command on a host, for the length of the block; both its outputs are one."""
    words = host.command(sys.executable, "-m", "rtcsctp", *map(str, arguments))
    process = await trio.lowlevel.open_process(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONWARNINGS": "error", "PYTHONIOENCODING": "utf-8"},
    )
    try:
        yield Command(process)
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()


def same(one: Path, other: Path) -> bool:
    return subprocess.run(["diff", "--recursive", one, other], check=False).returncode == 0


async def test_a_pulled_cable_is_survived_by_both_sides(source: Path, tmp_path: Path) -> None:
    """For so long that the connection is given up: another one has to go on."""
    with trio.fail_after(240):
        async with (
            open_hosts(3) as hosts,
            running(hosts[2], "serve", "--http", f"{hosts[2].ipv4}:8080") as server,
        ):
            url = (await server.expect(r"listening on (http://\S+), "))[1]
            via = ["--via", url, "--code", CODE]
            async with (
                running(hosts[0], "send", *via, source) as sender,
                running(hosts[1], "receive", *via, tmp_path / "new") as receiver,
            ):
                await receiver.expect(r"^receiving +\d+ %")
                await hosts[0].set_connected(False)
                await receiver.expect("looking for the other side again")
                await sender.expect("looking for the other side again")
                assert (tmp_path / "new" / "source.part" / "big").stat().st_size < SIZE
                await hosts[0].set_connected(True)
                assert await receiver.wait() == 0, receiver.said
                assert await sender.wait() == 0, sender.said
            assert re.search(r"MB of it were here before", receiver.said), receiver.said
            assert same(source, tmp_path / "new" / "source")


async def test_a_shorter_break_is_survived_by_the_connection(source: Path, tmp_path: Path) -> None:
    with trio.fail_after(240):
        async with (
            open_hosts(2) as hosts,
            running(hosts[0], "send", source) as sender,
            running(hosts[1], "receive", tmp_path / "new") as receiver,
        ):
            await receiver.line((await sender.expect(r"^RTC1\S+$"))[0])
            await sender.line((await receiver.expect(r"^RTC1\S+$"))[0])
            await receiver.expect(r"^receiving +\d+ %")
            await hosts[0].set_connected(False)
            await trio.sleep(10)  # less than the peers' consent lasts
            await hosts[0].set_connected(True)
            assert await receiver.wait() == 0, receiver.said
            assert await sender.wait() == 0, sender.said
            assert same(source, tmp_path / "new" / "source")


async def test_both_programs_may_be_killed(source: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    with trio.fail_after(240):
        async with open_hosts(2) as hosts:
            for is_last in (False, True):
                async with (
                    running(hosts[0], "send", source) as sender,
                    running(hosts[1], "receive", new) as receiver,
                ):
                    await receiver.line((await sender.expect(r"^RTC1\S+$"))[0])
                    await sender.line((await receiver.expect(r"^RTC1\S+$"))[0])
                    if not is_last:
                        await receiver.expect(r"^receiving +\d+ %")
                        receiver.kill()
                        sender.kill()
                        continue
                    assert await receiver.wait() == 0, receiver.said
                    assert await sender.wait() == 0, sender.said
                    assert "MB of it were here before" in receiver.said
        assert os.listdir(new) == ["source"]
        assert same(source, new / "source")
