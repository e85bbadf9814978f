"""`rtcsctp ping`: round-trip times over a data channel, or over SCTP alone."""

from __future__ import annotations

import argparse
import math
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Protocol

import trio

from rtcsctp import Stream, connect
from rtcsctp.cli.arguments import (
    AddParser,
    add_command,
    add_settings,
    peer_address,
    seconds,
    size,
    whole_number,
)
from rtcsctp.cli.failure import CommandError, Interrupted
from rtcsctp.cli.interrupt import until_interrupted
from rtcsctp.cli.network import peer_name, refused
from rtcsctp.cli.output import note, say
from rtcsctp.cli.peers import add_peer_options
from rtcsctp.cli.reach import add_reach_options, answer, check_reach, reached
from rtcsctp.runtime.channel import DataChannel
from rtcsctp.runtime.peer import PeerConnection
from rtcsctp.runtime.peer_config import SCTP_OF_PEERS

__all__ = ["Ping", "add_parser", "add_ping_options", "check_ping_options", "over_channel", "run"]

_SIZE = 56
_LARGEST = 65_536
_PATIENCE = 2.0  # seconds for the answers to the last pings

_EXAMPLES = """\
examples:
  rtcsctp ping http://127.0.0.1:8080/ -c 5
  rtcsctp ping http://127.0.0.1:8080/ --interval 0.01 --size 1000 --quiet
  rtcsctp ping --sctp 127.0.0.1:9899 --port 7
  rtcsctp ping             (and on the other machine: rtcsctp ping --answer)

The other end is rtcsctp serve, rtcsctp sctp echo, or this command with --answer. Pings
are not sent again when they are lost. The exit code is 0 if at least one came back.
"""


def add_parser(add: AddParser) -> None:
    """Add the command to those of `rtcsctp`."""
    parser = add_command(
        add,
        "ping",
        run,
        summary="measure round-trip times to another end",
        description="Send messages that the other end sends back, over an unordered data channel "
        "without retransmissions, and tell how long they take. Ctrl-C ends it with a summary.",
        defaults=SCTP_OF_PEERS,
        epilog=_EXAMPLES,
    )
    add_reach_options(parser, "ping")
    parser.add_argument(
        "--sctp",
        type=peer_address,
        metavar="HOST:UDPPORT",
        help="ping rtcsctp sctp echo there: SCTP in UDP, without WebRTC",
    )
    parser.add_argument(
        "--port",
        type=whole_number(1, 65_535),
        metavar="SCTPPORT",
        help="with --sctp: the peer's SCTP port",
    )
    add_ping_options(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="show the summary only")
    add_peer_options(parser, public_stun=" without URL")
    add_settings(parser)


def add_ping_options(parser: argparse.ArgumentParser) -> None:
    """How many pings, how often, how large."""
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
        default=_SIZE,
        metavar="BYTES",
        help=f"bytes of a ping, at least 8 (default: {_SIZE})",
    )


def check_ping_options(arguments: argparse.Namespace) -> None:
    """End the program if they cannot work."""
    if not 8 <= arguments.size <= _LARGEST:
        arguments.parser.error(f"argument --size: a ping has from 8 to {_LARGEST} bytes")


def run(arguments: argparse.Namespace) -> None:
    """Ping, or answer pings.

    Raises:
        CommandError, RtcsctpError: there is no connection, or nothing came back.
    """
    check_ping_options(arguments)
    if (arguments.sctp is None) != (arguments.port is None):
        arguments.parser.error("arguments --sctp and --port: one needs the other")
    if arguments.sctp is not None:
        if arguments.url is not None or arguments.answer:
            arguments.parser.error("argument --sctp: not allowed with URL or --answer")
        trio.run(Ping(arguments, partial(_over_sctp, arguments)).run)
        return
    config = check_reach(arguments)
    if arguments.answer:
        trio.run(until_interrupted, partial(answer, "ping", config))
    else:
        trio.run(Ping(arguments, partial(over_channel, reached, arguments, config)).run)


class Way(Protocol):
    """Where pings go, and come back from."""

    async def send(self, data: bytes, /) -> None:
        """Send a ping."""

    def answers(self) -> AsyncIterator[str | bytes]:
        """What comes back, until the other end closes."""


class _ChannelWay:
    """A data channel to something that echoes."""

    def __init__(self, channel: DataChannel) -> None:
        self._channel = channel
        self.send = channel.send

    def answers(self) -> AsyncIterator[str | bytes]:
        return aiter(self._channel)


@asynccontextmanager
async def over_channel(
    reach: Callable[..., AbstractAsyncContextManager[PeerConnection]], *arguments: object
) -> AsyncIterator[Way]:
    """A data channel for pings over the connection that ``reach(*arguments)`` gives."""
    async with reach(*arguments) as peer:
        channel = peer.create_channel("ping", protocol="echo", ordered=False, max_retransmits=0)
        await channel.wait_open()
        yield _ChannelWay(channel)


class _StreamWay:
    """A stream of an association with an echo server."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def send(self, data: bytes) -> None:
        await self._stream.send(data, unordered=True, max_retransmits=0)

    async def answers(self) -> AsyncIterator[str | bytes]:
        async for message in self._stream:
            yield message.data


@asynccontextmanager
async def _over_sctp(arguments: argparse.Namespace) -> AsyncIterator[Way]:
    where = f"UDP {arguments.sctp}"
    note(f"connecting to {where}, SCTP port {arguments.port}")
    async with AsyncExitStack() as stack:
        with refused(f"connect to {where}"):
            association = await stack.enter_async_context(
                connect(arguments.sctp, port=arguments.port, config=arguments.config)
            )
        note(f"connected to {peer_name(association)}")
        if not association.statistics().partial_reliability:
            note("the peer knows no partial reliability: lost pings are sent again")
        yield _StreamWay(association.stream(0))


class Ping:
    """Round-trip times, as ping(8) tells them."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        way: Callable[[], AbstractAsyncContextManager[Way]],
    ) -> None:
        """
        Args:
            arguments: of `add_ping_options`, and `quiet`.
            way: gives where they go.
        """
        self._arguments = arguments
        self._way = way
        self._quiet = getattr(arguments, "quiet", False)
        self._ending = trio.Event()
        self._sent: list[float] = []
        self._answered: dict[int, float] = {}
        self._all_back = trio.Event()

    async def run(self) -> None:
        """Ping until all are sent, or the first signal comes; then say how it was.

        Raises:
            CommandError: nothing came back.
            Interrupted: a signal came before anything was sent.
        """
        number = await until_interrupted(self._work, end=self._ending)
        if not self._sent:
            assert number is not None
            raise Interrupted(number)
        self._report()

    async def _work(self) -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stop_connecting, scope)
                async with self._way() as way:
                    await self._ping(way)
                nursery.cancel_scope.cancel()

    async def _stop_connecting(self, scope: trio.CancelScope) -> None:
        await self._ending.wait()
        if not self._sent:
            scope.cancel()

    async def _ping(self, way: Way) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._receive, way)
            await self._send(way)
            with trio.move_on_after(_PATIENCE):
                await self._all_back.wait()
            nursery.cancel_scope.cancel()

    async def _send(self, way: Way) -> None:
        arguments = self._arguments
        filling = bytes(arguments.size - 8)
        while True:
            number = len(self._sent)
            self._sent.append(trio.current_time())
            await way.send(struct.pack(">Q", number) + filling)
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

    async def _receive(self, way: Way) -> None:
        async for message in way.answers():
            now = trio.current_time()
            if isinstance(message, str) or len(message) < 8:
                continue
            (number,) = struct.unpack_from(">Q", message)
            if number >= len(self._sent) or number in self._answered:
                continue
            self._answered[number] = round_trip = now - self._sent[number]
            if not self._quiet:
                say(f"{len(message)} bytes: seq={number + 1} time={round_trip * 1000:.2f} ms")
            self._check_all_back()
        raise CommandError("the other end has closed the channel")

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
