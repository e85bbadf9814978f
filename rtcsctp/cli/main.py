"""The `rtcsctp` command: which commands there are, how they are run, what the exit code says.

::

    0      everything was done: what was sent was acknowledged, what was received is complete
    1      it was not; one line on stderr says why
    2      the command line is wrong
    128+n  a signal ended it: 130 for Ctrl-C, 143 for SIGTERM
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import rtcsctp
from rtcsctp.cli import connect, decode, demo, sctp, serve, sim
from rtcsctp.cli.arguments import Run, config_from
from rtcsctp.cli.failure import OK, explain
from rtcsctp.cli.logs import add_option, configure
from rtcsctp.cli.output import complain
from rtcsctp.cli.transfer import commands as transfer
from rtcsctp.errors import ConfigError

__all__ = ["main"]

_EPILOG = """\
examples:
  rtcsctp demo
  rtcsctp send FILE
  rtcsctp receive
  rtcsctp serve --http 127.0.0.1:8080
  rtcsctp connect http://127.0.0.1:8080/ --ping
  rtcsctp sctp receive --udp 127.0.0.1:9900 --port 5001 --out copy.bin
  rtcsctp sctp send --peer 127.0.0.1:9900 --port 5001 original.bin

exit codes:
  0      everything was done: what was sent was acknowledged, what was received is complete
  1      it was not; one line on stderr says why
  2      the command line is wrong
  128+n  a signal ended it: 130 for Ctrl-C, 143 for SIGTERM

environment:
  RTCSCTP_LOG=info|debug   log what happens to connections on stderr, as -v and -vv do
  RTCSCTP_CAPTURE=FILE     all SCTP packets, decrypted, into a file for Wireshark (%p: process id)
  SSLKEYLOGFILE=FILE       append the keys of DTLS, which lay bare what was sent
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: its arguments, without the program's name; those of the process by default.

    Returns:
        The exit code.

    Raises:
        SystemExit: the command line is wrong (code 2), or asked for help (code 0).
    """
    if sys.stderr is None:  # whoever started us has closed it, and wants to hear nothing
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (until the end)
    arguments = _build_parser().parse_args(argv)
    configure(arguments, arguments.parser)
    try:
        arguments.config = config_from(arguments.settings, arguments.defaults)
    except ConfigError as error:
        arguments.parser.error(f"argument --set: {error}")
    run: Run = arguments.run
    try:
        run(arguments)
    except BaseException as error:
        explained = explain(error)
        if explained is None:
            raise
        line, exit_code = explained
        complain(line)
        return exit_code
    return OK


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rtcsctp",
        description="WebRTC data channels, and SCTP over UDP: servers, file transfer, a demo.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"rtcsctp {rtcsctp.__version__}")
    add_option(parser)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    demo.add_parser(commands.add_parser)
    transfer.add_send_parser(commands.add_parser)
    transfer.add_receive_parser(commands.add_parser)
    serve.add_parser(commands.add_parser)
    connect.add_parser(commands.add_parser)
    sctp.add_parser(commands.add_parser)
    decode.add_parser(commands.add_parser)
    sim.add_parser(commands.add_parser)
    return parser
