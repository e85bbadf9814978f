"""What the command says, to whom, and what happens if nobody can hear it.

Results go to standard output, for people and programs. How it is going, and what went wrong, goes
to standard error.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO

from rtcsctp.cli.failure import CommandError, NobodyReads

__all__ = ["complain", "note", "say"]


def say(text: str, *, stream: TextIO | None = None) -> None:
    """Write a line, by default to standard output, at once.

    Raises:
        CommandError: it cannot be written: the disk is full, ….
        NobodyReads: the program at the other end of a pipe has gone.
    """
    stream = stream if stream is not None else sys.stdout
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError as error:
        _give_up(stream)
        raise NobodyReads from error
    except OSError as error:
        _give_up(stream)
        raise CommandError(f"cannot write standard output: {error.strerror}") from error


def _give_up(stream: TextIO) -> None:
    """Python writes what is left in the buffer once more at exit; let that go nowhere."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def note(text: str) -> None:
    """Write a line to standard error; if nobody can hear it, nothing is lost."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def complain(text: str) -> None:
    """Write why the command ends."""
    note(f"rtcsctp: {text}")
