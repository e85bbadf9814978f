"""The `rtcsctp` command: which commands there are, how they are run, what the exit code says.

::

    0      everything was done: what was sent was acknowledged, what was received is complete
    1      it was not; one line on stderr says why
    2      the command line is wrong
    128+n  a signal ended it: 130 for Ctrl-C, 143 for SIGTERM; 141: nobody reads its output any more
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import rtcsctp
from rtcsctp.cli import completion, connect, decode, demo, perf, ping, sctp, serve, sim
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
  rtcsctp ping http://127.0.0.1:8080/
  rtcsctp perf --loopback
  rtcsctp sim --rate 20Mbit/s --rtt 80ms --loss 1% --plot run.png
  rtcsctp decode trace.pcapng
  rtcsctp sctp receive --udp 127.0.0.1:9900 --port 5001 --out copy.bin
  rtcsctp sctp send --peer 127.0.0.1:9900 --port 5001 original.bin

exit codes:
  0      everything was done: what was sent was acknowledged, what was received is complete
  1      it was not; one line on stderr says why
  2      the command line is wrong
  128+n  a signal ended it: 130 for Ctrl-C, 143 for SIGTERM; 141: nobody reads its output

environment:
  RTCSCTP_LOG=info|debug   log what happens to connections on stderr, as -v and -vv do
  RTCSCTP_CAPTURE=FILE     all SCTP packets, decrypted, into a file for Wireshark (%p: process id)
  RTCSCTP_STUN=URL         STUN server to ask where no option names one; empty: none
  RTCSCTP_TOKEN=T          secret that is shown to a server, as by --token
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
    try:
        _run(argv)
    except BaseException as error:
        explained = explain(error)
        if explained is None:
            raise
        line, exit_code = explained
        if line:
            complain(line)
        return exit_code
    return OK


def _run(argv: Sequence[str] | None) -> None:
    arguments = _build_parser().parse_args(argv)
    configure(arguments, arguments.parser)
    try:
        arguments.config = config_from(arguments.settings, arguments.defaults)
    except ConfigError as error:
        arguments.parser.error(f"argument --set: {error}")
    run: Run = arguments.run
    run(arguments)


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rtcsctp",
        description="WebRTC data channels, and SCTP over UDP: servers, file transfer,\n"
        "measurements, a simulator, and a reader of captures.",
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
    ping.add_parser(commands.add_parser)
    perf.add_parser(commands.add_parser)
    sctp.add_parser(commands.add_parser)
    decode.add_parser(commands.add_parser)
    sim.add_parser(commands.add_parser)
    completion.add_parser(commands.add_parser, parser)
    return parser
