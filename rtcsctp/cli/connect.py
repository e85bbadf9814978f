"""`rtcsctp connect`: a peer of `rtcsctp serve`: chat, ping, or a file to send."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import struct
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import trio

from rtcsctp.cli.arguments import (
    AddParser,
    add_command,
    add_settings,
    seconds,
    size,
    whole_number,
)
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
from rtcsctp.cli.output import note, say
from rtcsctp.cli.peers import add_peer_options, is_loopback, need_http, peer_config, told_plainly
from rtcsctp.cli.progress import Progress, show_progress
from rtcsctp.cli.services import describe_pair, message_size, printable
from rtcsctp.cli.summary import statistics_table
from rtcsctp.cli.units import format_duration, format_rate, format_size
from rtcsctp.runtime.channel import DataChannel
from rtcsctp.runtime.peer import PeerConnection, open_peer
from rtcsctp.runtime.peer_config import SCTP_OF_PEERS, PeerConfig

__all__ = ["add_parser", "run"]

_PING_SIZE = 56
_MAX_PING = 65_536
_PATIENCE = 2.0  # seconds for the answers to the last pings
_MAX_LINE = 2000  # characters of a line of the chat
_READ = 65_536

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
    parser.add_argument(
        "-c",
        "--count",
        type=whole_number(1),
        metavar="N",
        help="pings to send (default: until it is interrupted)",
    )
    parser.add_argument(
        "--interval",
        type=seconds,
        default=1.0,
        metavar="SECONDS",
        help="from one ping to the next (default: 1)",
    )
    parser.add_argument(
        "--size",
        type=size,
        default=_PING_SIZE,
        metavar="BYTES",
        help="bytes of a ping, at least 8 (default: 56)",
    )
    parser.add_argument(
        "--server-offers",
        action="store_true",
        help="let the server make the offer (the roles of ICE and DTLS change places)",
    )
    add_peer_options(parser)
    add_settings(parser)


def http_url(text: str) -> str:
    """A type for argparse."""
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise argparse.ArgumentTypeError(f"expected http://HOST:PORT/ or https://…, not {text!r}")
    return parts._replace(fragment="", path=parts.path or "/").geturl()


def run(arguments: argparse.Namespace) -> None:
    """Do what the options ask for.

    Raises:
        CommandError, RtcsctpError: it could not be done.
    """
    need_http()
    if not 8 <= arguments.size <= _MAX_PING:
        arguments.parser.error(f"argument --size: a ping has from 8 to {_MAX_PING} bytes")
    loopback = is_loopback(urlsplit(arguments.url).hostname or "")
    config = peer_config(arguments, loopback=loopback)
    if arguments.ping:
        trio.run(_Ping(arguments, config).run)
    elif arguments.file is not None:
        trio.run(until_interrupted, partial(_upload, arguments, config))
    else:
        trio.run(until_interrupted, partial(_chat, arguments, config))


@asynccontextmanager
async def _connected(
    arguments: argparse.Namespace, config: PeerConfig
) -> AsyncIterator[PeerConnection]:
    """A connection to the server for the length of the block.

    Raises:
        CommandError, SignallingError: there is none, or it has broken.
    """
    # The other commands do without what the extra brings.
    from rtcsctp.http import connect_http  # noqa: PLC0415

    note(f"connecting to {arguments.url}")
    with told_plainly():
        async with open_peer(config) as peer:
            await connect_http(
                arguments.url,
                peer,
                token=arguments.token,
                server_offers=arguments.server_offers,
            )
            note(f"connected to {describe_pair(peer.selected_pair)}")
            yield peer


# ------------------------------------------------------------------------------------------ chat


async def _chat(arguments: argparse.Namespace, config: PeerConfig) -> None:
    async with _connected(arguments, config) as peer:
        channel = peer.create_channel("chat", protocol="chat")
        await channel.wait_open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_print_lines, channel)
            lines = _input_lines()
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


async def _input_lines() -> AsyncGenerator[str]:
    """The lines of standard input, as they come."""
    if sys.stdin is None:
        raise CommandError("cannot read standard input: it is closed")
    # Not a buffered reader: Python dies at exit if a thread still waits in one.
    read = partial(os.read, sys.stdin.fileno(), _READ)
    rest = b""
    while True:
        with attempt("read standard input"):
            data = await trio.to_thread.run_sync(read, abandon_on_cancel=True)
        *lines, rest = (rest + data).split(b"\n")
        if (not data and rest) or len(rest) > _READ:
            lines.append(rest)
            rest = b""
        for line in lines:
            yield line.decode(errors="replace").rstrip("\r")[:_MAX_LINE]
        if not data:
            return


# ------------------------------------------------------------------------------------------ ping


class _Ping:
    """Round-trip times over an echo channel, as ping(8) tells them."""

    def __init__(self, arguments: argparse.Namespace, config: PeerConfig) -> None:
        self._arguments = arguments
        self._config = config
        self._ending = trio.Event()
        self._sent: list[float] = []
        self._answered: dict[int, float] = {}
        self._all_back = trio.Event()

    async def run(self) -> None:
        """Ping until all are sent, or the first signal comes; then say how it was.

        Raises:
            CommandError: nothing came back.
        """
        await until_interrupted(self._work, end=self._ending)
        if not self._sent:
            raise CommandError("interrupted before anything was sent")
        self._report()

    async def _work(self) -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stop_connecting, scope)
                async with _connected(self._arguments, self._config) as peer:
                    await self._ping(peer)
                nursery.cancel_scope.cancel()

    async def _stop_connecting(self, scope: trio.CancelScope) -> None:
        await self._ending.wait()
        if not self._sent:
            scope.cancel()

    async def _ping(self, peer: PeerConnection) -> None:
        channel = peer.create_channel("ping", protocol="echo", ordered=False, max_retransmits=0)
        await channel.wait_open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._receive, channel)
            await self._send(channel)
            with trio.move_on_after(_PATIENCE):
                await self._all_back.wait()
            nursery.cancel_scope.cancel()

    async def _send(self, channel: DataChannel) -> None:
        arguments = self._arguments
        filling = bytes(arguments.size - 8)
        while True:
            number = len(self._sent)
            self._sent.append(trio.current_time())
            await channel.send(struct.pack(">Q", number) + filling)
            if number + 1 == arguments.count or self._ending.is_set():
                break
            with trio.move_on_after(arguments.interval):
                await self._ending.wait()
            if self._ending.is_set():
                break
        self._check_all_back()

    def _check_all_back(self) -> None:
        done = len(self._sent) == self._arguments.count or self._ending.is_set()
        if done and len(self._answered) == len(self._sent):
            self._all_back.set()

    async def _receive(self, channel: DataChannel) -> None:
        async for message in channel:
            now = trio.current_time()
            if isinstance(message, str) or len(message) < 8:
                continue
            (number,) = struct.unpack_from(">Q", message)
            if number >= len(self._sent) or number in self._answered:
                continue
            self._answered[number] = round_trip = now - self._sent[number]
            say(f"{len(message)} bytes: seq={number + 1} time={round_trip * 1000:.2f} ms")
            self._check_all_back()
        raise CommandError("the server has closed the channel")

    def _report(self) -> None:
        sent, times = len(self._sent), list(self._answered.values())
        lost = 100 * (sent - len(times)) / sent
        say(f"\n{sent} sent, {len(times)} received, {lost:.3g} % lost")
        if not times:
            raise CommandError("no ping came back")
        mean = sum(times) / len(times)
        deviation = math.sqrt(sum((time - mean) ** 2 for time in times) / len(times))
        values = "/".join(
            f"{1000 * value:.3f}" for value in (min(times), mean, max(times), deviation)
        )
        say(f"round trip min/avg/max/mdev = {values} ms")


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
        async with _connected(arguments, config) as peer:
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
