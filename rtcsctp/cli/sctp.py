"""`rtcsctp sctp …`: the options of its commands, and what is checked before anything is sent."""

from __future__ import annotations

import argparse

from rtcsctp.cli import echo, receive, send
from rtcsctp.cli.arguments import (
    MAX_STREAM,
    AddParser,
    add_command,
    add_settings,
    listening_address,
    peer_address,
    positive_size,
    seconds,
    whole_number,
)
from rtcsctp.cli.sink import STANDARD_OUTPUT

__all__ = ["add_parser"]

_MESSAGE_SIZE = 16_384
"""Bytes per message by default. What browsers and other stacks take in any case (RFC 8831 6.6)."""

_ECHO_EXAMPLES = """\
examples:
  rtcsctp sctp echo --udp 127.0.0.1:9899 --port 7
  rtcsctp sctp echo --udp '[::]:9899' --port 7 --pcap echo.pcapng
"""

_SEND_USAGE = (
    "rtcsctp sctp send --peer HOST:UDPPORT --port SCTPPORT [options] (FILE | --messages N)"
)

_SEND_EXAMPLES = """\
examples:
  rtcsctp sctp send --peer 127.0.0.1:9900 --port 5001 original.bin
  tar -c folder | rtcsctp sctp send --peer '[::1]:9900' --port 5001 -
  rtcsctp sctp send --peer 127.0.0.1:9899 --port 7 --messages 1000 --size 100
  rtcsctp sctp send --peer 127.0.0.1:9899 --port 7 --messages 1000 --lifetime 0.5

The exit code is 0 only if the peer acknowledged everything.
"""

_RECEIVE_EXAMPLES = """\
examples:
  rtcsctp sctp receive --udp 127.0.0.1:9900 --port 5001 --out copy.bin
  rtcsctp sctp receive --udp :9900 --port 5001 | tar -x

FILE appears when everything has arrived and the peer has shut down in order; the
exit code is 0 only then, and nothing is left behind otherwise.
"""


def add_parser(add: AddParser) -> None:
    """Add the command to those of `rtcsctp`."""
    parser = add(
        "sctp",
        help="talk SCTP over UDP (RFC 6951) to another program",
        description="Talk SCTP over UDP (RFC 6951) to another program. It is neither encrypted nor "
        "authenticated.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_echo(commands.add_parser)
    _add_send(commands.add_parser)
    _add_receive(commands.add_parser)


def _add_echo(add: AddParser) -> None:
    parser = add_command(
        add,
        "echo",
        echo.run,
        summary="a server that sends every message back",
        description="Send every message back on the same stream, with the same PPID, ordered or "
        "unordered as it came, and reset the streams that the peer resets. Serves any number of "
        "associations until it is interrupted: then it shuts them down in order, and exits with 0; "
        "a second Ctrl-C aborts them.",
        epilog=_ECHO_EXAMPLES,
    )
    _add_listening(parser)
    _add_common(parser)


def _add_receive(add: AddParser) -> None:
    parser = add_command(
        add,
        "receive",
        receive.run,
        summary="receive one association's messages into a file",
        description="Wait for one association, and write its messages one behind the other, as "
        "they arrive, until the peer shuts it down. Messages of one stream keep their order; "
        "streams have none among each other.",
        epilog=_RECEIVE_EXAMPLES,
    )
    _add_listening(parser)
    parser.add_argument(
        "--out",
        default=STANDARD_OUTPUT,
        metavar="FILE",
        help="where to write; - is standard output, the default",
    )
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")
    _add_common(parser)


def _add_send(add: AddParser) -> None:
    parser = add_command(
        add,
        "send",
        send.run,
        usage=_SEND_USAGE,
        summary="send a file, or made-up messages",
        description="Send a file or made-up messages over one association, and shut it down. What "
        "the peer sends is counted, and not kept.",
        epilog=_SEND_EXAMPLES,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("file", nargs="?", metavar="FILE", help="what to send; - is standard input")
    what.add_argument(
        "--messages",
        type=whole_number(1),
        metavar="N",
        help="send so many made-up messages; the same ones in every run",
    )
    parser.add_argument(
        "--size",
        type=positive_size,
        default=_MESSAGE_SIZE,
        metavar="BYTES",
        help="bytes per message (default: 16KiB)",
    )
    parser.add_argument(
        "--peer",
        required=True,
        type=peer_address,
        metavar="HOST:UDPPORT",
        help="the peer's UDP address",
    )
    _add_port(parser, "the peer's SCTP port")
    parser.add_argument(
        "--udp",
        type=listening_address,
        metavar="HOST:UDPPORT",
        help="send from this UDP address (default: any)",
    )
    parser.add_argument(
        "--stream",
        type=whole_number(0, MAX_STREAM),
        default=0,
        metavar="ID",
        help="the stream to send on (default: 0)",
    )
    parser.add_argument(
        "--ppid",
        type=whole_number(0, 0xFFFF_FFFF),
        default=0,
        metavar="N",
        help="payload protocol identifier (default: 0)",
    )
    parser.add_argument(
        "--unordered",
        action="store_true",
        help="let messages overtake each other; a file may arrive jumbled",
    )
    limits = parser.add_mutually_exclusive_group()
    limits.add_argument(
        "--max-retransmits",
        type=whole_number(0),
        metavar="N",
        help="give a message up rather than send any part of it again more often",
    )
    limits.add_argument(
        "--lifetime",
        type=seconds,
        metavar="SECONDS",
        help="give a message up that could not be sent for so long",
    )
    _add_common(parser)


def _add_listening(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--udp",
        required=True,
        type=listening_address,
        metavar="HOST:UDPPORT",
        help="the UDP address to listen on; without HOST, all IPv4 ones of this machine",
    )
    _add_port(parser, "the SCTP port to listen on")


def _add_port(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument(
        "--port", required=True, type=whole_number(1, 65_535), metavar="SCTPPORT", help=text
    )


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pcap",
        metavar="FILE",
        help="record all SCTP packets, for Wireshark; replaces FILE",
    )
    add_settings(parser)
