"""`rtcsctp demo`: two associations in one process, over loopback UDP."""

from __future__ import annotations

import argparse
from contextlib import AsyncExitStack, aclosing
from functools import partial

import trio

from rtcsctp import Association, Config, Message, Statistics, Stream, connect, listen
from rtcsctp.cli.arguments import AddParser, Address, add_command, add_settings, positive_size
from rtcsctp.cli.failure import CommandError
from rtcsctp.cli.interrupt import until_interrupted
from rtcsctp.cli.network import receive_all, refused
from rtcsctp.cli.output import note, say
from rtcsctp.cli.progress import Progress, show_progress
from rtcsctp.cli.source import generated
from rtcsctp.cli.summary import Tally, statistics_table

__all__ = ["add_parser", "run"]

_SIZE = 32_000_000
_MESSAGE_SIZE = 16_384
_HOST = "127.0.0.1"
_PORT = 5000

_EXAMPLES = """\
examples:
  rtcsctp demo
  rtcsctp demo --size 1GB --set interleaving=false
"""


def add_parser(add: AddParser) -> None:
    """Add the command to those of `rtcsctp`."""
    parser = add_command(
        add,
        "demo",
        run,
        summary="move 32 MB between two associations on this machine",
        description="Two associations in one process talk over loopback UDP: one sends, the other "
        "receives. At the end, checksums of what was sent and of what was received are compared; "
        "the exit code is 0 only if they are the same.",
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "--size",
        type=positive_size,
        default=_SIZE,
        metavar="BYTES",
        help="how much is moved (default: 32MB)",
    )
    add_settings(parser)


def run(arguments: argparse.Namespace) -> None:
    """Move the bytes, and compare the checksums.

    Raises:
        CommandError: they differ.
        AssociationLost, LocalProtocolError: the configuration does not allow the transfer.
    """
    trio.run(until_interrupted, _Demo(arguments.size, arguments.config).run)


class _Demo:
    """Both ends."""

    def __init__(self, size: int, config: Config) -> None:
        self._size = size
        self._config = config
        self._sent = Tally()
        self._received = Tally()
        self._receiver: Statistics | None = None
        self._receiver_done = trio.Event()

    async def run(self) -> None:
        """Move the bytes from one end to the other, and say how it went."""
        config = self._config
        async with AsyncExitStack() as stack:
            nursery = await stack.enter_async_context(trio.open_nursery())
            listener = partial(listen, self._receive, port=_PORT, udp=(_HOST, 0), config=config)
            with refused("open a UDP socket"):
                address: tuple[str, int] = await nursery.start(listener)
                association = await stack.enter_async_context(
                    connect(address, port=_PORT, config=config)
                )
            note(f"SCTP over UDP {Address(*address)}")
            began = trio.current_time()
            progress = Progress("moving", self._size)
            async with show_progress(progress, lambda: self._received.bytes):
                await self._send(association.stream(0))
                await association.shutdown()
                await self._receiver_done.wait()
            self._report(association.statistics(), trio.current_time() - began)
            nursery.cancel_scope.cancel()

    async def _send(self, stream: Stream) -> None:
        config = self._config
        limits = (_MESSAGE_SIZE, config.max_message_size, config.peer_max_message_size)
        largest = min(limit for limit in limits if limit is not None)
        async with aclosing(generated(self._size, largest).messages()) as messages:
            async for message in messages:
                self._sent.add([message])
                await stream.send(message)

    async def _receive(self, association: Association) -> None:
        try:
            await receive_all(association, self._take)
            await association.wait_closed()
        finally:
            self._receiver = association.statistics()
            self._receiver_done.set()

    async def _take(self, messages: list[Message]) -> None:
        self._received.add(message.data for message in messages)

    def _report(self, sender: Statistics, elapsed: float) -> None:
        assert self._receiver is not None
        is_same = self._sent.sha256 == self._received.sha256
        say(f"moved {self._received.describe(elapsed)}")
        say(f"sha256 sent      {self._sent.sha256}")
        say(f"sha256 received  {self._received.sha256}  {'the same' if is_same else 'DIFFERENT'}\n")
        say(statistics_table({"sender": sender, "receiver": self._receiver}))
        if not is_same:
            raise CommandError("what was received is not what was sent")
