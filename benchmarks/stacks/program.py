"""A stack's program, running: requests go in, answers come out."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import attrs
import trio

PATIENCE = 120.0  # seconds for one answer


class ProgramError(Exception):
    """A program ended, did not answer, or could not do what it was asked for."""


@attrs.frozen(kw_only=True)
class Command:
    """How a program is started."""

    words: Sequence[str]
    environment: Mapping[str, str] = attrs.field(factory=dict)

    def inside(self, prefix: Sequence[str]) -> Command:
        """The same in the surroundings that a command makes, say `nsenter --net=…`."""
        return attrs.evolve(self, words=[*prefix, *self.words])


class Program:
    """Use `run_program`."""

    def __init__(self, process: trio.Process, log: BinaryIO) -> None:
        self._process = process
        self._log = log
        self._last = 0
        self._writing = trio.Lock()
        self._waiting: dict[int, trio.MemorySendChannel[dict[str, Any]]] = {}

    async def call(self, do: str, **fields: Any) -> dict[str, Any]:
        """Ask for something and wait for the answer; raises ProgramError."""
        assert self._process.stdin is not None
        self._last += 1
        request = self._last
        send, receive = trio.open_memory_channel[dict[str, Any]](1)
        self._waiting[request] = send
        line = json.dumps({"id": request, "do": do, **fields}) + "\n"
        try:
            with trio.fail_after(PATIENCE):
                async with self._writing:
                    await self._process.stdin.send_all(line.encode())
                answer = await receive.receive()
        except (trio.BrokenResourceError, trio.EndOfChannel):
            raise ProgramError(f"ended during {do!r}: {self._complaint()}") from None
        except trio.TooSlowError:
            raise ProgramError(f"{do!r} took more than {PATIENCE:.0f} s") from None
        finally:
            self._waiting.pop(request, None)
        if "error" in answer:
            raise ProgramError(f"{do!r}: {answer['error']}")
        return answer

    async def read_answers(self) -> None:
        """Hand out what it answers, until it ends."""
        assert self._process.stdout is not None
        rest = b""
        async for data in self._process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                answer = json.loads(line)
                if waiting := self._waiting.get(answer["id"]):  # nobody is, if it was cancelled
                    waiting.send_nowait(answer)
        for waiting in self._waiting.values():
            waiting.close()

    def _complaint(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace").strip()[-1000:] or "it said nothing"

    @property
    def resident(self) -> int:
        """Its bytes in memory."""
        pages = Path(f"/proc/{self._process.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * resource.getpagesize()

    @property
    def cpu(self) -> float:
        """Seconds of CPU time that all its threads have used."""
        # What clock_getcpuclockid(3) gives: the clock of a process is known by its number.
        return time.clock_gettime((~self._process.pid << 3) | 2)


@contextlib.asynccontextmanager
async def run_program(command: Command) -> AsyncIterator[Program]:
    """Start a program; it is killed at the end of the block."""
    with tempfile.TemporaryFile() as log:
        process = await trio.lowlevel.open_process(
            list(command.words),
            stdin=-1,
            stdout=-1,
            stderr=log,
            env={**os.environ, **command.environment},
        )
        assert process.stdin is not None
        program = Program(process, log)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(program.read_answers)
                yield program
                nursery.cancel_scope.cancel()
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


async def join(left: Program, right: Program, name: str, options: dict[str, Any]) -> None:
    """Connect peers of two programs, with one channel between them, both called `name`."""
    offer = await left.call("offer", peer=name, options=options)
    answer = await right.call("answer", peer=name, options=options, **_description(offer))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: left.call("accept", peer=name, **_description(answer)))
        nursery.start_soon(lambda: left.call("opened", peer=name))
        nursery.start_soon(lambda: right.call("opened", peer=name))


def _description(answer: dict[str, Any]) -> dict[str, str]:
    return {"type": answer["type"], "sdp": answer["sdp"]}
