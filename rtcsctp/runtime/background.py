"""Tasks that serve an ``async with`` block, and live as long as it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import trio

__all__ = ["background_tasks"]


@contextlib.asynccontextmanager
async def background_tasks() -> AsyncIterator[trio.Nursery]:
    """A nursery whose tasks are cancelled when the block is left, in whatever way.

    Unlike with a bare nursery, an exception of the block comes out as it is, not in an
    `ExceptionGroup`. An exception of a task is a bug of this package; it cancels the block, and
    comes out in a group.
    """
    raised: BaseException | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield nursery
        except BaseException as error:
            raised = error
        # From here on only the tasks' end is waited for; a cancellation from outside, which could
        # take the place of the block's exception, has nothing left to hasten.
        nursery.cancel_scope.shield = True
        nursery.cancel_scope.cancel()
    if raised is not None:
        raise raised
