"""What `rtcsctp sctp send` sends: a file, standard input, or messages made up on the way."""

from __future__ import annotations

import os
import random
import stat
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import trio

from rtcsctp.cli.failure import CommandError, attempt

__all__ = ["Source", "generated", "open_source"]

_STANDARD_INPUT: Final = "-"
_READ_AHEAD: Final = 1 << 20  # bytes read in one go: a hop to a thread costs several packets
_BINARY: Final[int] = getattr(os, "O_BINARY", 0)  # Windows would translate line ends


class Source:
    """Messages to send.

    Attributes:
        total: bytes in all; None if nobody knows before the end.
        messages: gives the messages, once; to be closed with `contextlib.aclosing`.
    """

    __slots__ = ("messages", "total")

    def __init__(self, total: int | None, messages: Callable[[], AsyncGenerator[bytes]]) -> None:
        self.total = total
        self.messages = messages


def generated(total: int, size: int) -> Source:
    """`total` bytes in messages of `size` bytes, the last of which may be shorter.

    Each has other bytes; they are the same in every run.
    """

    async def messages() -> AsyncGenerator[bytes]:
        generator = random.Random(1)
        for start in range(0, total, size):
            yield generator.randbytes(min(size, total - start))

    return Source(total, messages)


@contextmanager
def open_source(path: str, size: int) -> Iterator[Source]:
    """A file, or standard input for "-", cut into messages of `size` bytes.

    The last message may be shorter. What comes through a pipe is sent as soon as it is there, so
    any of its messages may be shorter.

    Raises:
        CommandError: it cannot be opened, or is a folder; in `messages`, it cannot be read.
    """
    if path == _STANDARD_INPUT:
        if sys.stdin is None:
            raise CommandError("cannot read standard input: it is closed")
        yield _from_descriptor(sys.stdin.fileno(), "standard input", size)
        return
    with attempt(f"read {path}"):
        descriptor = os.open(path, os.O_RDONLY | _BINARY)
    try:
        yield _from_descriptor(descriptor, path, size)
    finally:
        os.close(descriptor)


def _from_descriptor(descriptor: int, name: str, size: int) -> Source:
    status = os.fstat(descriptor)
    if stat.S_ISDIR(status.st_mode):
        raise CommandError(f"cannot read {name}: it is a folder")
    is_file = stat.S_ISREG(status.st_mode)
    at_once = max(size, _READ_AHEAD // size * size)
    # Not a buffered reader: Python dies at exit if a thread still waits in one. Only what is not a
    # file may wait, for a keyboard or another program, and is left behind when Ctrl-C comes.
    read = partial(os.read, descriptor, at_once)

    async def messages() -> AsyncGenerator[bytes]:
        while True:
            with attempt(f"read {name}"):
                data = await trio.to_thread.run_sync(read, abandon_on_cancel=not is_file)
            if not data:
                return
            for start in range(0, len(data), size):
                yield data[start : start + size]

    total = None
    if is_file:  # standard input may be a file that somebody has read a part of
        total = max(0, status.st_size - os.lseek(descriptor, 0, os.SEEK_CUR))
    return Source(total, messages)
