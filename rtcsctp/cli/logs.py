"""The option `-v`, and the variable RTCSCTP_LOG: what the library logs, on standard error."""

from __future__ import annotations

import argparse
import logging
import os
import sys

from rtcsctp.cli.output import note
from rtcsctp.cli.progress import has_cursor

__all__ = ["add_option", "configure"]

VARIABLE = "RTCSCTP_LOG"
_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_BY_COUNT = (logging.ERROR, logging.INFO, logging.DEBUG)


class _Handler(logging.Handler):
    """Writes lines as the command writes all of them: if nobody can hear them, nothing is lost."""

    def emit(self, record: logging.LogRecord) -> None:
        # Where there is a bar, it gives way, and is soon drawn again below.
        clear = "\r\x1b[K" if sys.stderr is not None and has_cursor(sys.stderr) else ""
        note(f"{clear}{self.format(record)}")


def add_option(parser: argparse.ArgumentParser, *, again: bool = False) -> None:
    """Give a parser the option; `again` for the parser of a command, below that of `rtcsctp`."""
    parser.add_argument(
        "-v",
        "--verbose",
        dest="verbose_too" if again else "verbose",
        action="count",
        default=0,
        help=f"log what happens to connections; -vv: in detail (also by {VARIABLE}=info or debug)",
    )


def configure(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Let the library's log be seen as the options say, else as the environment says."""
    count = arguments.verbose + getattr(arguments, "verbose_too", 0)
    level = _BY_COUNT[min(count, 2)]
    word = os.environ.get(VARIABLE, "")
    if word and not count:
        if word.lower() not in _LEVELS:
            parser.error(f"{VARIABLE} is {word!r}; it can be {', '.join(_LEVELS)}")
        level = _LEVELS[word.lower()]
    logger = logging.getLogger("rtcsctp")
    for old in [handler for handler in logger.handlers if isinstance(handler, _Handler)]:
        logger.removeHandler(old)
    handler = _Handler()
    handler.setFormatter(
        logging.Formatter(
            "%(asctime)s.%(msecs)03d %(levelname)s %(name)s %(message)s", datefmt="%H:%M:%S"
        )
    )
    logger.addHandler(handler)
    logger.setLevel(level)
