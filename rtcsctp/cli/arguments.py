"""Words of the command line into values.

Each function of the first part is a `type` of argparse: it raises `argparse.ArgumentTypeError` with
a sentence, which argparse shows together with the name of the option.
"""

from __future__ import annotations

import argparse
import math
import textwrap
from collections.abc import Callable, Sequence
from typing import NamedTuple

import attrs

from rtcsctp.cli.logs import add_option
from rtcsctp.cli.units import parse_bit_rate, parse_duration, parse_share, parse_size
from rtcsctp.sctp.config import Config

__all__ = [
    "MAX_STREAM",
    "AddParser",
    "Address",
    "Run",
    "add_command",
    "add_plain_command",
    "add_settings",
    "bit_rate",
    "config_from",
    "duration",
    "listening_address",
    "peer_address",
    "positive_size",
    "seconds",
    "share",
    "size",
    "whole_number",
]

MAX_STREAM = 65_534  # an association has at most 65,535 streams, numbered from 0
_MAX_UDP_PORT = 65_535


class Address(NamedTuple):
    """Where a UDP socket is. An empty host means every address of this machine."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def listening_address(text: str) -> Address:
    """An address to bind to: the host may be missing, and port 0 lets the system choose."""
    return _address(text)


def peer_address(text: str) -> Address:
    """An address to send to."""
    address = _address(text)
    if not address.host:
        raise argparse.ArgumentTypeError(f"{text!r} has no host: expected HOST:UDPPORT")
    if not address.port:
        raise argparse.ArgumentTypeError(f"{text!r}: a peer cannot have port 0")
    return address


def _address(text: str) -> Address:
    host, colon, port_text = text.rpartition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"{text!r} has no port: expected HOST:UDPPORT")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise argparse.ArgumentTypeError(f"{text!r}: only IPv6 addresses go into brackets")
    elif "[" in text or "]" in text:
        raise argparse.ArgumentTypeError(f"{text!r}: expected [IPV6-ADDRESS]:UDPPORT")
    elif ":" in host:
        raise argparse.ArgumentTypeError(
            f"{text!r}: an IPv6 address goes into brackets, as in [::1]:9899"
        )
    if host != host.strip() or any(character.isspace() for character in host):
        raise argparse.ArgumentTypeError(f"{text!r}: there are spaces in the host")
    if not (port_text.isascii() and port_text.isdigit()) or int(port_text[:9]) > _MAX_UDP_PORT:
        raise argparse.ArgumentTypeError(
            f"{text!r}: a UDP port is a number up to {_MAX_UDP_PORT}, not {port_text!r}"
        )
    return Address(host, int(port_text))


def whole_number(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """A type for whole numbers within limits, both included; also in hexadecimal, as 0x2a."""
    limits = f"{minimum} or more" if maximum is None else f"from {minimum} to {maximum}"

    def parse(text: str) -> int:
        try:
            number = int(text, 0)
        except ValueError:
            message = f"{text!r} is not a whole number ({limits})"
            raise argparse.ArgumentTypeError(message) from None
        if number < minimum or (maximum is not None and number > maximum):
            raise argparse.ArgumentTypeError(f"{number} is out of range: it is {limits}")
        return number

    return parse


def seconds(text: str) -> float:
    """A time span."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} seconds: a time cannot be negative")
    return value


def size(text: str) -> int:
    """A number of bytes, perhaps with a unit."""
    if text.strip().startswith("-"):
        raise argparse.ArgumentTypeError(f"{text}: a size cannot be negative")
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def bit_rate(text: str) -> float:
    """A rate in bits per second."""
    return _parsed(parse_bit_rate, text)


def duration(text: str) -> float:
    """A time span with its unit, in seconds."""
    return _parsed(parse_duration, text)


def share(text: str) -> float:
    """A part of all, as 1% or 0.01."""
    return _parsed(parse_share, text)


def _parsed(parse: Callable[[str], float], text: str) -> float:
    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def positive_size(text: str) -> int:
    """A size of a message: SCTP has none without a byte."""
    value = size(text)
    if not value:
        raise argparse.ArgumentTypeError("an SCTP message has at least one byte")
    return value


def _setting(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise argparse.ArgumentTypeError(
            f"expected NAME=VALUE, not {text!r}; the names are: {', '.join(sorted(Config.names()))}"
        )
    return name.strip().replace("-", "_"), value


# ------------------------------------------------------------------------------------- commands

AddParser = Callable[..., argparse.ArgumentParser]
"""The method `add_parser` of what `ArgumentParser.add_subparsers` gives."""

Run = Callable[[argparse.Namespace], None]
"""Does what a command is for; in the namespace, `config` is the `Config` of the options `--set`."""


_DEFAULTS = Config()


def add_command(
    add: AddParser,
    name: str,
    run: Run,
    *,
    summary: str,
    description: str,
    epilog: str,
    usage: str | None = None,
    defaults: Config = _DEFAULTS,
) -> argparse.ArgumentParser:
    """A parser for a command that `main` can run; give it its options, the last by `add_settings`.

    Args:
        add: adds it to the other commands.
        name: the command.
        run: does what it is for.
        summary: is in the list of commands.
        description: is at the top of its help.
        epilog: is at the end of its help.
        usage: in place of the generated line.
        defaults: of the configuration, without `--set`.
    """
    parser = add(
        name,
        usage=usage,
        help=summary,
        description=description,
        epilog=f"{epilog}\n{_settings_help(defaults)}",
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, parser=parser, defaults=defaults)
    add_option(parser, again=True)
    return parser


def add_plain_command(
    add: AddParser,
    name: str,
    run: Run,
    *,
    summary: str,
    description: str,
    epilog: str,
    usage: str | None = None,
) -> argparse.ArgumentParser:
    """A parser for a command without settings of SCTP; otherwise like `add_command`."""
    parser = add(
        name,
        usage=usage,
        help=summary,
        description=description,
        epilog=epilog,
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, parser=parser, defaults=_DEFAULTS, settings=[])
    add_option(parser, again=True)
    return parser


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Give a command the option `--set`; `main` makes a `Config` of it."""
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        type=_setting,
        metavar="NAME=VALUE",
        help="set a field of the configuration; may be repeated (the names are below)",
    )


class _Formatter(argparse.HelpFormatter):
    """Fills paragraphs, as the default does, but not those that have lines of their own."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return "\n".join(indent + line for line in text.splitlines())
        return super()._fill_text(text, width, indent)


def config_from(settings: Sequence[tuple[str, str]], defaults: Config) -> Config:
    """The configuration that the options `--set` describe; the last one of a name counts.

    Raises:
        ConfigError: a name that does not exist, or a value that does not fit.
    """
    return Config.from_strings(dict(settings), defaults=defaults)


def _settings_help(defaults: Config) -> str:
    """The names for `--set`, with their defaults."""
    words = []
    for field in attrs.fields(Config):
        value = getattr(defaults, field.name)
        text = str(value).lower() if isinstance(value, bool) or value is None else str(value)
        words.append(f"{field.name}={text}")
    listed = textwrap.fill(
        " ".join(words), 78, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
    )
    return f"settings, with their defaults (times in seconds, sizes in bytes):\n{listed}"
