"""Servers for the length of a block, and handlers that block, each in a thread."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, TypeVar

import trio

from rtcsctp.runtime.background import background_tasks
from rtcsctp.sync.engine import Caller, Runner

__all__ = ["Serving", "in_threads", "serving"]

A = TypeVar("A")
S = TypeVar("S")
V = TypeVar("V")


class Serving(Generic[V]):
    """A server that runs.

    Attributes:
        value: what it gave when it had begun.
        ended: set when it has ended by itself, which only a failure does.
    """

    def __init__(self, value: V, ended: trio.Event) -> None:
        self.value = value
        self.ended = ended


@contextlib.asynccontextmanager
async def serving(
    serve: Callable[..., Awaitable[None]], kind: type[V]
) -> AsyncIterator[Serving[V]]:
    """A server for the length of a block; what ends it early is raised when the block is left.

    Args:
        serve: for ``nursery.start``.
        kind: what that gives.
    """
    failures: list[Exception] = []
    ended = trio.Event()

    async def run(*, task_status: trio.TaskStatus[V]) -> None:
        began = False

        class Status:
            def started(self, value: V) -> None:
                nonlocal began
                began = True
                task_status.started(value)

        try:
            await serve(task_status=Status())
        except Exception as error:
            if not began:
                raise
            failures.append(error)
        finally:
            ended.set()

    async with background_tasks() as nursery:
        value = await nursery.start(run)
        assert isinstance(value, kind)
        yield Serving(value, ended)
    if failures:
        raise failures[0]


def in_threads(
    handler: Callable[[S], object], runner: Runner, wrap: Callable[[Caller, A], S], threads: int
) -> Callable[[A], Awaitable[None]]:
    """An async handler that runs a blocking one in a thread, at most `threads` at a time.

    Args:
        handler: takes what `wrap` makes.
        runner: where Trio runs.
        wrap: makes the object for code that blocks out of the one for Trio.
        threads: the others wait.
    """
    limiter = trio.CapacityLimiter(threads)

    async def run(served: A) -> None:
        caller = Caller(runner)
        async with background_tasks() as nursery:
            nursery.start_soon(_interrupt_when_cancelled, caller)
            try:
                await trio.to_thread.run_sync(handler, wrap(caller, served), limiter=limiter)
            except trio.ClosedResourceError:
                if not caller.interrupted:
                    raise  # its own mistake; the other ones are ours

    return run


async def _interrupt_when_cancelled(caller: Caller) -> None:
    """A thread cannot be cancelled, but what it waits in can."""
    try:
        await trio.sleep_forever()
    finally:
        caller.interrupt()
