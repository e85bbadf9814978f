"""What can go wrong without being a bug: one line on stderr and an exit code, no traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rtcsctp.errors import RtcsctpError
from rtcsctp.runtime.errors import AssociationLost

__all__ = ["FAILED", "OK", "CommandError", "Interrupted", "NobodyReads", "attempt", "explain"]

OK = 0
FAILED = 1
_CTRL_C = 130
_BROKEN_PIPE = 141  # 128 + SIGPIPE, which ends programs that do not ignore it


class CommandError(Exception):
    """The command cannot do what it was asked for; the message is one line for its user."""


class Interrupted(Exception):  # noqa: N818 (nothing went wrong)
    """A signal has ended the command before its work was done."""

    def __init__(self, number: int) -> None:
        super().__init__("interrupted")
        self.exit_code = 128 + number  # as shells have it


class NobodyReads(Exception):  # noqa: N818 (it may have read all that it wanted)
    """The program that our standard output goes to has ended, like `head`: there is no more to do.

    Whoever has ended it needs no explanation.
    """


@contextmanager
def attempt(what: str) -> Iterator[None]:
    """Something that the operating system may refuse, for reasons that the user can do away with.

    Raises:
        CommandError: in place of an OSError from inside: "cannot `what`: …".
    """
    try:
        yield
    except OSError as error:
        raise CommandError(f"cannot {what}: {error.strerror or error}") from error


def explain(error: BaseException) -> tuple[str, int] | None:
    """The line that tells a user what happened, and the exit code; None if it is a bug.

    The line is empty where there is nothing to tell.

    Tasks that fail together come as a group. It is explained if all its parts can be, by the part
    that says most.
    """
    leaves = sorted(_leaves(error), key=_importance)
    if not all(isinstance(leaf, _EXPECTED) for leaf in leaves):
        return None
    match leaves[0]:
        case Interrupted(exit_code=exit_code):
            return "interrupted", exit_code
        case KeyboardInterrupt():
            return "interrupted", _CTRL_C
        case NobodyReads():
            return "", _BROKEN_PIPE
        case first:
            line = " ".join(str(first).split())
            if getattr(first, "status", None) == 401:  # of a `SignallingRefusedError`
                line += ": --token gives it, or the variable RTCSCTP_TOKEN"
            return line, FAILED


# The first ones say most.
_EXPECTED = (
    Interrupted,
    KeyboardInterrupt,
    NobodyReads,
    CommandError,
    AssociationLost,
    RtcsctpError,
)


def _importance(error: BaseException) -> int:
    return next((i for i, kind in enumerate(_EXPECTED) if isinstance(error, kind)), 0)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error
