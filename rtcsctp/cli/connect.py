"""`rtcsctp connect`: a peer of `rtcsctp serve`: chat, ping, or a file to send."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from contextlib import aclosing
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import trio

from rtcsctp.cli.arguments import AddParser, add_command, add_settings
from rtcsctp.cli.failure import CommandError, attempt
from rtcsctp.cli.files import (
    FileError,
    Offer,
    checked_name,
    open_for_reading,
    read_object_untrusted,
    read_parts,
)
from rtcsctp.cli.interrupt import until_interrupted
from rtcsctp.cli.output import say
from rtcsctp.cli.peers import add_peer_options, is_loopback, need_http, peer_config
from rtcsctp.cli.ping import Ping, add_ping_options, check_ping_options, over_channel
from rtcsctp.cli.progress import Progress, show_progress
from rtcsctp.cli.reach import connected_by_http, http_url, input_lines
from rtcsctp.cli.services import message_size, printable
from rtcsctp.cli.summary import statistics_table
from rtcsctp.cli.units import format_duration, format_rate, format_size
from rtcsctp.runtime.channel import DataChannel
from rtcsctp.runtime.peer_config import SCTP_OF_PEERS, PeerConfig

__all__ = ["add_parser", "run"]

_MAX_LINE = 2000  # characters of a line of the chat

_EXAMPLES = """\
examples:
  rtcsctp connect http://127.0.0.1:8080/
  rtcsctp connect http://127.0.0.1:8080/ --ping -c 5
  rtcsctp connect https://example.org/ --token SECRET --file original.bin
"""


def add_parser(add: AddParser) -> None:
    """Add the command to those of `rtcsctp`."""
    parser = add_command(
        add,
        "connect",
        run,
        summary="talk to rtcsctp serve",
        description="Connect to rtcsctp serve by WebRTC. Without further options, each line of "
        "standard input goes to all other peers, and theirs come to standard output, until the "
        "input ends.",
        defaults=SCTP_OF_PEERS,
        epilog=_EXAMPLES,
    )
    parser.add_argument("url", type=http_url, metavar="URL", help="what rtcsctp serve prints")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--ping",
        action="store_true",
        help="measure round-trip times, over a channel without retransmissions",
    )
    what.add_argument("--file", type=Path, metavar="FILE", help="send a file")
    add_ping_options(parser)
    parser.add_argument(
        "--server-offers",
        action="store_true",
        help="let the server make the offer (the roles of ICE and DTLS change places)",
    )
    add_peer_options(parser)
    add_settings(parser)


def run(arguments: argparse.Namespace) -> None:
    """Do what the options ask for.

    Raises:
        CommandError, RtcsctpError: it could not be done.
    """
    need_http()
    check_ping_options(arguments)
    loopback = is_loopback(urlsplit(arguments.url).hostname or "")
    config = peer_config(arguments, loopback=loopback)
    if arguments.ping:
        trio.run(Ping(arguments, partial(over_channel, connected_by_http, arguments, config)).run)
    elif arguments.file is not None:
        trio.run(until_interrupted, partial(_upload, arguments, config))
    else:
        trio.run(until_interrupted, partial(_chat, arguments, config))


# ------------------------------------------------------------------------------------------ chat


async def _chat(arguments: argparse.Namespace, config: PeerConfig) -> None:
    async with connected_by_http(arguments, config) as peer:
        channel = peer.create_channel("chat", protocol="chat")
        await channel.wait_open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_print_lines, channel)
            lines = input_lines(_MAX_LINE)
            async with aclosing(lines):
                async for line in lines:
                    if line:
                        await channel.send(line)
            nursery.cancel_scope.cancel()


async def _print_lines(channel: DataChannel) -> None:
    async for message in channel:
        if isinstance(message, str):
            say(printable(message))
    raise CommandError("the server has closed the channel")


# ------------------------------------------------------------------------------------------ file


async def _upload(arguments: argparse.Namespace, config: PeerConfig) -> None:
    path: Path = arguments.file
    with attempt(f"read {path}"):
        descriptor, length = open_for_reading(path)
    try:
        try:
            offer = await trio.to_thread.run_sync(_offer, path, descriptor, length)
        except FileError as error:
            raise CommandError(f"cannot send {path}: {error}") from error
        async with connected_by_http(arguments, config) as peer:
            began = trio.current_time()
            channel = peer.create_channel(offer.name, protocol="file")
            await channel.wait_open()
            await _send_file(channel, descriptor, offer)
            elapsed = trio.current_time() - began
            rate = format_rate(offer.size / max(elapsed, 1e-6))
            say(
                f"sent {printable(offer.name)}: {format_size(offer.size)} in "
                f"{format_duration(elapsed)} ({rate})"
            )
            say(f"sha256 {offer.sha256}  the server's is the same\n")
            say(statistics_table({"": peer.statistics().sctp}))
    finally:
        os.close(descriptor)


def _offer(path: Path, descriptor: int, length: int) -> Offer:
    """What is said of a file before it is sent."""
    with attempt(f"read {path}"), open(descriptor, "rb", closefd=False) as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
        os.lseek(descriptor, 0, os.SEEK_SET)
    return Offer(name=checked_name(path.resolve().name), size=length, sha256=checksum)


async def _send_file(channel: DataChannel, descriptor: int, offer: Offer) -> None:
    """Send a file, and wait for the server's word that it has it.

    Raises:
        CommandError: it has not.
    """
    sent = 0
    answer: str | bytes | None = None

    async def wait_for_answer() -> None:
        nonlocal answer
        try:
            answer = await channel.receive()
        except trio.EndOfChannel:
            raise CommandError("the server has closed the channel") from None
        nursery.cancel_scope.cancel()  # also when it does not want the rest

    progress = Progress("sending", offer.size)
    async with (
        show_progress(progress, lambda: max(0, sent - channel.buffered_amount)),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(wait_for_answer)
        await channel.send(offer.to_json())
        parts = read_parts(descriptor, offer.size, message_size(channel))
        with attempt(f"read {offer.name}"):
            async with aclosing(parts):
                async for part in parts:
                    await channel.send(part)
                    sent += len(part)
    assert answer is not None
    _check_answer(answer, offer)


def _check_answer(answer: str | bytes, offer: Offer) -> None:
    try:
        if isinstance(answer, bytes):
            raise FileError("an answer in bytes")
        result = read_object_untrusted(answer)
    except FileError as error:
        raise CommandError(f"the server does not speak this protocol: {error}") from error
    if result.get("ok") is not True:
        reason = printable(str(result.get("error", "no reason given")), 300)
        raise CommandError(f"the server refuses {printable(offer.name)}: {reason}")
    if result.get("sha256") != offer.sha256:
        theirs = printable(json.dumps(result.get("sha256")), 100)
        raise CommandError(f"what arrived is not what was sent: its sha256 is {theirs}")
