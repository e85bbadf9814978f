"""How a command reaches its other end: over HTTP, or by two lines that people carry."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from urllib.parse import urlsplit

import attrs
import trio

from rtcsctp.cli.failure import CommandError, attempt
from rtcsctp.cli.lines import LineReader, Lines
from rtcsctp.cli.output import note
from rtcsctp.cli.peers import (
    is_loopback,
    need_http,
    peer_config,
    told_plainly,
    way_out,
    with_public_stun,
)
from rtcsctp.cli.services import Services, describe_pair
from rtcsctp.ice.config import IceConfig
from rtcsctp.runtime.errors import ConnectionLost
from rtcsctp.runtime.peer import PeerConnection, open_peer
from rtcsctp.runtime.peer_config import PeerConfig

__all__ = [
    "add_reach_options",
    "answer",
    "check_reach",
    "connected_by_http",
    "connected_here",
    "http_url",
    "input_lines",
    "reached",
]

_READ = 65_536
# Between the answer and the first check of the other end lies what people need to carry a line.
_CARRYING = IceConfig(patience=600, max_patience=600, checking_limit=900)


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


def add_reach_options(parser: argparse.ArgumentParser, command: str) -> None:
    """The options that say where the other end is."""
    parser.set_defaults(command=command)
    parser.add_argument(
        "url",
        nargs="?",
        type=http_url,
        metavar="URL",
        help="what rtcsctp serve prints; without it, two lines have to be carried from one end to "
        "the other, and back",
    )
    parser.add_argument(
        "--answer",
        action="store_true",
        help=f"be the other end of rtcsctp {command}: take its line, and print one for it",
    )
    parser.add_argument(
        "--server-offers",
        action="store_true",
        help="with URL: let the server make the offer (the roles of ICE and DTLS change places)",
    )


def check_reach(arguments: argparse.Namespace) -> PeerConfig:
    """The configuration of our end; ends the program where options contradict each other.

    Raises:
        CommandError: something that a URL needs is not installed.
    """
    if arguments.url is None:
        config = with_public_stun(arguments, peer_config(arguments, loopback=False))
        return attrs.evolve(config, ice=_CARRYING)
    if arguments.answer:
        arguments.parser.error("argument --answer: not allowed with argument URL")
    need_http()
    loopback = is_loopback(urlsplit(arguments.url).hostname or "")
    return peer_config(arguments, loopback=loopback)


@asynccontextmanager
async def reached(
    arguments: argparse.Namespace, config: PeerConfig
) -> AsyncIterator[PeerConnection]:
    """A connection to the other end for the length of the block.

    Raises:
        CommandError, RtcsctpError: there is none, or it has broken.
    """
    by_lines = arguments.url is None
    way = (
        _connected_by_lines(arguments.command, config)
        if by_lines
        else connected_by_http(arguments, config)
    )
    async with way as peer:
        yield peer


@asynccontextmanager
async def connected_by_http(
    arguments: argparse.Namespace, config: PeerConfig
) -> AsyncIterator[PeerConnection]:
    """A connection to a server for the length of the block.

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


@asynccontextmanager
async def _connected_by_lines(command: str, config: PeerConfig) -> AsyncIterator[PeerConnection]:
    lines = Lines(LineReader.of_user())
    with told_plainly():
        async with open_peer(config) as peer:
            with _hinting(config):
                await lines.offer(peer, f"rtcsctp {command} --answer")
            note(f"connected to {describe_pair(peer.selected_pair)}")
            yield peer


async def answer(command: str, config: PeerConfig) -> None:
    """Be the other end: take a line, print one, and do what `rtcsctp serve` would do.

    Raises:
        CommandError, RtcsctpError: there is no connection.
    """
    lines = Lines(LineReader.of_user())
    with told_plainly():
        async with open_peer(config) as peer:
            with _hinting(config):
                await lines.answer(peer, f"rtcsctp {command}")
            await Services(None, note).handle(peer)


@contextmanager
def _hinting(config: PeerConfig) -> Iterator[None]:
    """Say what may help where there is no way to the other end."""
    try:
        yield
    except ConnectionLost as error:
        raise CommandError(f"{error} ({way_out(config)})") from error


async def input_lines(limit: int) -> AsyncGenerator[str]:
    """The lines of standard input, as they come, cut after so many characters."""
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
            yield line.decode(errors="replace").rstrip("\r")[:limit]
        if not data:
            return


@asynccontextmanager
async def connected_here(
    config: PeerConfig, serve: Callable[[PeerConnection], Awaitable[None]]
) -> AsyncIterator[PeerConnection]:
    """Both ends in this process: one for the block, the other one is served by `serve`."""
    with told_plainly():
        async with (
            open_peer(config) as other,
            trio.open_nursery() as nursery,
            open_peer(config) as peer,
        ):
            await peer.accept(await other.answer(await peer.offer()))
            await other.wait_connected()
            nursery.start_soon(serve, other)
            yield peer
