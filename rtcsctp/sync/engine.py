"""Trio in one background thread, and calls into it from any other.

The thread exists while anything of `rtcsctp.sync` is open, once for the whole program. It is closed
for certain: with the last block that is left; and where a program ends without leaving its blocks,
when its main thread has ended, so that other threads which still wait in a call are told, and the
program does not hang.

A call is a task in Trio. Whoever made it waits on a `threading.Event`, which Ctrl-C interrupts and
a timeout ends; then the task is cancelled, and waited for, so that it is known whether it has done
its work or nothing.

A process that forks leaves the thread behind, and what is open in it: in the child, that raises
`trio.ClosedResourceError`, and what the child opens itself gets a thread of its own.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Generic, TypeVar

import trio

__all__ = ["Block", "Caller", "Runner", "check_timeout", "give_back", "lease"]

A = TypeVar("A")
T = TypeVar("T")

_AT_EXIT = 5.0
"""Seconds that the end of the program waits for connections that were left open."""


def check_timeout(timeout: float | None) -> None:
    """Raise ValueError if it is not 0 or more seconds, or None."""
    if timeout is not None and not timeout >= 0:
        raise ValueError(f"a timeout is 0 or more seconds, not {timeout!r}")


class _Signal:
    """Is set once, and waited for by one thread.

    Ctrl-C may come at any moment of the waiting. It can leave a `threading.Event` in a state in
    which setting it fails, in a thread that has nothing to do with it; a bare lock knows no such
    state.
    """

    __slots__ = ("_is_set", "_lock")

    def __init__(self) -> None:
        self._is_set = False
        self._lock = threading.Lock()
        self._lock.acquire()  # `set` releases it

    def set(self) -> None:
        """Let the waiting end; doing it again does nothing."""
        if not self._is_set:
            self._is_set = True
            self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; False if that takes more than so many seconds."""
        if self._is_set:
            return True
        seconds = -1 if timeout is None else min(timeout, threading.TIMEOUT_MAX)
        return self._lock.acquire(timeout=seconds) or self._is_set


class _Job(Generic[T]):
    """One call of one thread."""

    __slots__ = ("cancelled", "done", "error", "scope", "value")

    def __init__(self) -> None:
        self.done = _Signal()
        self.scope = trio.CancelScope()
        self.cancelled = False
        """It was cancelled before it was done."""
        self.error: BaseException | None = None
        self.value: list[T] = []
        """What it gave; empty if it gave nothing."""

    async def run(self, function: Callable[..., Awaitable[T]], args: tuple[object, ...]) -> None:
        """The task; nothing but its own cancellation comes out."""
        try:
            with self.scope:
                self.value.append(await function(*args))
            self.cancelled = not self.value
        except trio.Cancelled:
            self.error = trio.ClosedResourceError("the background thread of rtcsctp is closing")
            raise
        except BaseException as error:  # it belongs to the thread that called
            self.error = error
        finally:
            self.done.set()

    def fail(self, error: BaseException) -> None:
        self.error = error
        self.done.set()


class Runner:
    """One background thread with Trio in it."""

    def __init__(self) -> None:
        self._ready = _Signal()
        self._stop: trio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="rtcsctp", daemon=True)
        self._token: trio.lowlevel.TrioToken | None = None
        self._process = os.getpid()
        self.ending = False
        """It takes no new users."""
        self.nursery: trio.Nursery | None = None

    def start(self) -> None:
        """Start the thread, and wait until it takes calls."""
        try:
            self._thread.start()
            self._ready.wait()
        except BaseException:  # Ctrl-C, at this very moment
            self.end()
            raise

    def _run(self) -> None:
        trio.run(self._main)

    async def _main(self) -> None:
        async with trio.open_nursery() as nursery:
            self._token = trio.lowlevel.current_trio_token()
            self._stop = trio.Event()
            self.nursery = nursery
            if self.ending:
                self._stop.set()
            self._ready.set()
            await self._stop.wait()
            nursery.cancel_scope.cancel()

    def end(self) -> None:
        """Have everything cancelled that still runs, and then the thread end."""
        self.ending = True
        if self._stop is not None:
            self.soon(self._stop.set)

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end of the thread."""
        self._thread.join(timeout)

    def soon(self, function: Callable[..., object], *args: object) -> bool:
        """Have a function called in Trio's thread; False if that has ended, or is elsewhere."""
        assert self._token is not None
        if os.getpid() != self._process:
            return False
        try:
            self._token.run_sync_soon(function, *args)
        except trio.RunFinishedError:
            return False
        return True

    def check_thread(self) -> None:
        """A call from Trio's own thread would wait for itself.

        Raises:
            RuntimeError: this is that thread.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError(
                "rtcsctp.sync was called from its own background thread, which would wait for"
                " itself; use the names of rtcsctp there, with await"
            )


_lock = threading.Lock()
_runner: Runner | None = None
_users: set[object] = set()
_watched = False


def lease(user: object) -> Runner:
    """The background thread, for one more user; see `give_back`."""
    global _runner, _watched  # noqa: PLW0603  # there is one for the whole program
    with _lock:
        if not _watched:
            _watched = True
            atexit.register(_close_at_exit)
            threading.Thread(target=_watch_main_thread, name="rtcsctp exit", daemon=True).start()
        _users.add(user)
        if _runner is None or _runner.ending:
            runner = Runner()
            runner.start()
            _runner = runner
        return _runner


def give_back(user: object, runner: Runner | None) -> None:
    """One user less; the last one ends the thread, and waits for that.

    Args:
        user: as for `lease`; may be gone already.
        runner: what that gave; None: it was interrupted before.
    """
    global _runner  # noqa: PLW0603
    with _lock:
        _users.discard(user)
        if runner is None:
            runner = _runner
        # Where it is another one, the program ends, or this is a child of its process.
        if runner is None or runner is not _runner or _users:
            return
        runner.end()
        _runner = None
    runner.join()


def _forget_after_fork() -> None:
    """In a child, there is no thread, and nobody holds the lock."""
    global _lock, _runner, _watched
    _lock, _runner, _watched = threading.Lock(), None, False
    _users.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)


def _watch_main_thread() -> None:
    """Other threads may wait in a call, and the interpreter would wait for them, for ever."""
    threading.main_thread().join()
    _close_at_exit()


def _close_at_exit() -> None:
    global _runner
    with _lock:
        runner, _runner = _runner, None
        _users.clear()
    if runner is not None:
        runner.end()
        runner.join(_AT_EXIT)


class Caller:
    """The calls of the objects of one block."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._pending: set[_Job[object]] = set()  # touched in Trio's thread only
        self._interrupted = False

    def call(
        self,
        function: Callable[..., Awaitable[T]],
        *args: object,
        timeout: float | None = None,
        undelivered: Callable[[T], object] | None = None,
    ) -> T:
        """Await ``function(*args)`` in Trio, and give what it gives.

        Args:
            function: an async function; it has done nothing if it is cancelled.
            args: its arguments.
            timeout: seconds to wait at most; None is as long as it takes.
            undelivered: takes what it gave, if the waiting was interrupted at that very moment.

        Raises:
            TimeoutError: it took longer, and was cancelled.
            Whatever the function raises.
        """
        check_timeout(timeout)
        self._runner.check_thread()
        job: _Job[T] = _Job()
        if not self._runner.soon(self._start, job, function, args):
            raise trio.ClosedResourceError("this was closed here, or opened in another process")
        try:
            in_time = job.done.wait(timeout)
        except BaseException:
            # Ctrl-C, most likely. What was begun is ended before it goes on.
            self._cancel(job)
            if job.value and undelivered is not None:
                undelivered(job.value[0])
            raise
        if not in_time:
            self._cancel(job)
        if job.error is not None:
            try:
                raise job.error
            finally:
                del job  # the traceback of the error refers to this frame
        if not job.value:
            if in_time:  # not by us
                raise trio.ClosedResourceError("this was closed here")
            assert timeout is not None
            raise TimeoutError(f"not done within {round(timeout, 3):g} s")
        return job.value[0]

    def do(self, function: Callable[..., T], *args: object) -> T:
        """Call a plain function in Trio's thread, where nothing else runs meanwhile."""

        async def run() -> T:
            return function(*args)

        return self.call(run)

    def _start(
        self, job: _Job[T], function: Callable[..., Awaitable[T]], args: tuple[object, ...]
    ) -> None:
        nursery = self._runner.nursery
        if self._interrupted or nursery is None:
            job.fail(trio.ClosedResourceError("this was closed here"))
            return
        try:
            nursery.start_soon(self._run, job, function, args)
        except RuntimeError:  # the nursery has ended
            job.fail(trio.ClosedResourceError("the background thread of rtcsctp has ended"))

    async def _run(
        self, job: _Job[T], function: Callable[..., Awaitable[T]], args: tuple[object, ...]
    ) -> None:
        pending: set[_Job[T]] = self._pending  # type: ignore[assignment]
        pending.add(job)
        try:
            await job.run(function, args)
        finally:
            pending.discard(job)

    def _cancel(self, job: _Job[T]) -> None:
        """Cancel a call, and wait until it has ended; that takes no time of the network."""
        if self._runner.soon(job.scope.cancel):
            job.done.wait()

    @property
    def interrupted(self) -> bool:
        """Whether `interrupt` was called."""
        return self._interrupted

    def interrupt(self) -> None:
        """In Trio's thread: all calls that wait, and all that come, raise ClosedResourceError."""
        self._interrupted = True
        for job in self._pending:
            job.scope.cancel()


class _AbandonedError(Exception):
    """The block was left by an exception, so what is within ends at once, too."""


class Block(Generic[A, T]):
    """A context manager for threads, which holds one of Trio open meanwhile."""

    def __init__(
        self,
        factory: Callable[[], AbstractAsyncContextManager[A]],
        wrap: Callable[[Caller, A], T],
        *,
        timeout: float | None = None,
    ) -> None:
        """
        Args:
            factory: makes the context manager of Trio.
            wrap: makes the object for code that blocks out of what that gives.
            timeout: seconds that entering may take.
        """
        self._factory = factory
        self._wrap = wrap
        self._timeout = timeout
        self._runner: Runner | None = None
        self._caller: Caller | None = None
        self._entered: trio.Event | None = None
        self._leaving: trio.Event | None = None
        self._left: trio.Event | None = None
        self._abandoned = False
        self._scope = trio.CancelScope()
        self._value: list[A] = []
        self._error: BaseException | None = None

    def __enter__(self) -> T:
        """Raises what entering it raises, and TimeoutError."""
        if self._runner is not None:
            raise RuntimeError("this block has been entered before; make a new one")
        try:
            self._runner = lease(self)
            self._caller = Caller(self._runner)
            self._caller.call(self._begin, timeout=self._timeout)
            if self._error is not None:
                raise self._error
        except BaseException:
            try:
                self._close(abandoned=True)
            finally:
                give_back(self, self._runner)
            raise
        return self._wrap(self._caller, self._value[0])

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave it, in order or as by an exception; raises what leaving it raises."""
        try:
            self._close(abandoned=error is not None)
        finally:
            give_back(self, self._runner)
        if self._error is not None and error is None:
            raise self._error

    @property
    def _held_by(self) -> Runner:
        """The thread that it lives in, once it was entered."""
        assert self._runner is not None
        return self._runner

    async def _begin(self) -> None:
        self._entered, self._leaving, self._left = trio.Event(), trio.Event(), trio.Event()
        assert self._runner is not None
        assert self._runner.nursery is not None
        self._runner.nursery.start_soon(self._hold)
        await self._entered.wait()

    async def _hold(self) -> None:
        assert self._entered is not None
        assert self._leaving is not None
        assert self._left is not None
        try:
            with self._scope:
                async with self._factory() as value:
                    self._value.append(value)
                    self._entered.set()
                    await self._leaving.wait()
                    if self._abandoned:
                        raise _AbandonedError
        except _AbandonedError:
            pass
        except trio.Cancelled:
            raise
        except BaseException as error:  # it belongs to the thread that holds it
            self._error = error
        finally:
            self._entered.set()
            self._left.set()

    def _close(self, *, abandoned: bool) -> None:
        if self._caller is None or self._leaving is None:
            return  # it never began
        try:
            self._caller.call(self._end, abandoned)
        except trio.ClosedResourceError:
            pass  # the thread has ended, and this with it
        except BaseException:
            self._caller.call(self._end_now)  # Ctrl-C while it closed in order
            raise

    async def _end(self, abandoned: bool) -> None:
        assert self._leaving is not None
        assert self._left is not None
        if abandoned and not self._value:
            self._scope.cancel()
        self._abandoned = abandoned
        self._leaving.set()
        await self._left.wait()

    async def _end_now(self) -> None:
        assert self._left is not None
        self._scope.cancel()
        await self._left.wait()
