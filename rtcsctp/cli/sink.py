"""Where `rtcsctp sctp receive` writes: a file, which appears when it is complete, or stdout."""

from __future__ import annotations

import os
import secrets
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import trio

from rtcsctp.cli.failure import CommandError, attempt

__all__ = ["STANDARD_OUTPUT", "Sink", "open_sink"]

STANDARD_OUTPUT: Final = "-"
_BINARY: Final[int] = getattr(os, "O_BINARY", 0)  # Windows would translate line ends


class Sink:
    """Something that bytes are written to, in threads, as it may be slow.

    Attributes:
        is_new_file: it is a file of its own; not standard output under whatever name.
    """

    __slots__ = ("_descriptor", "_is_file", "_name", "is_new_file")

    def __init__(self, descriptor: int, name: str, *, is_new_file: bool = False) -> None:
        self._descriptor = descriptor
        self._name = name
        self._is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self.is_new_file = is_new_file

    async def write(self, parts: Sequence[bytes]) -> None:
        """Write all parts, in order.

        Raises:
            CommandError: they cannot be written; a part of them may have been.
        """
        data = b"".join(parts)
        # A pipe or a terminal may wait for ever: a thread that hangs in it is left behind when
        # Ctrl-C comes. A file is not to change any more after that.
        with attempt(f"write {self._name}"):
            await trio.to_thread.run_sync(self._write, data, abandon_on_cancel=not self._is_file)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]


@contextmanager
def open_sink(path: str, *, force: bool) -> Iterator[Sink]:
    """A file, or standard output for "-".

    A file has its name only once the block has ended without an exception: what is incomplete is
    not left behind, and a file that is replaced is there until it is replaced. Devices and named
    pipes are written as they are.

    Args:
        path: the file.
        force: replace a file that exists.

    Raises:
        CommandError: it exists and `force` is not given, or it cannot be written.
    """
    if path == STANDARD_OUTPUT:
        if sys.stdout is None:
            raise CommandError("cannot write standard output: it is closed")
        yield Sink(sys.stdout.fileno(), "standard output")
        return
    target = Path(os.path.realpath(path))  # what a link points to is replaced, not the link
    with attempt(f"write {path}"):
        previous = target.stat() if target.exists() else None
    mode = 0 if previous is None else previous.st_mode
    if stat.S_ISDIR(mode):
        raise CommandError(f"cannot write {path}: it is a folder")
    if stat.S_ISREG(mode) and not force:
        raise CommandError(f"{path} exists already; --force replaces it")
    if previous is None or stat.S_ISREG(mode):
        with _new_file(target, previous, path) as descriptor:
            yield Sink(descriptor, path, is_new_file=True)
        return
    with attempt(f"write {path}"):
        descriptor = os.open(target, os.O_WRONLY | _BINARY)
    try:
        yield Sink(descriptor, path)
    finally:
        os.close(descriptor)


@contextmanager
def _new_file(target: Path, previous: os.stat_result | None, name: str) -> Iterator[int]:
    """A file beside the target, which becomes the target at the end."""
    passing = target.with_name(f".rtcsctp-{secrets.token_hex(8)}.part")
    with attempt(f"write {name}"):
        descriptor = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
    try:
        try:
            yield descriptor
            with attempt(f"write {name}"):
                if previous is not None:
                    passing.chmod(stat.S_IMODE(previous.st_mode))
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        with suppress(OSError):
            passing.unlink()
        raise
    try:
        if previous is not None:
            passing.replace(target)
        else:
            _name_new(passing, target)
    except OSError as error:
        raise CommandError(
            f"cannot write {name}: {error.strerror or error}; what was received is in {passing}"
        ) from None


def _name_new(passing: Path, target: Path) -> None:
    """Rename, but do not replace what has appeared under the name meanwhile."""
    try:
        target.hardlink_to(passing)  # rename() would replace, on POSIX
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if target.exists():
            raise FileExistsError("it has appeared meanwhile") from None
        passing.rename(target)
    else:
        passing.unlink()
