"""`rtcsctp sctp receive`: one association's messages into a file, or to standard output."""

from __future__ import annotations

import argparse
import sys

import trio

from rtcsctp import Association, AssociationLost, CloseReason, Message, Statistics
from rtcsctp.cli.capture import open_capture
from rtcsctp.cli.failure import CommandError
from rtcsctp.cli.interrupt import until_interrupted
from rtcsctp.cli.network import first_loss, listening, peer_name, receive_all
from rtcsctp.cli.output import say
from rtcsctp.cli.progress import Progress, show_progress
from rtcsctp.cli.sink import Sink, open_sink
from rtcsctp.cli.summary import Tally, statistics_table
from rtcsctp.runtime.link import PacketRecorder

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> None:
    """Receive what one peer sends, until it shuts the association down.

    Raises:
        CommandError: it did not, or what it sent cannot be written.
    """
    with open_capture(arguments.pcap) as capture:
        with open_sink(arguments.out, force=arguments.force) as sink:
            receiving = _Receiving(arguments, sink, capture)
            trio.run(until_interrupted, receiving.run)
        receiving.report()


class _Receiving:
    """The one association, and what has come over it."""

    def __init__(
        self, arguments: argparse.Namespace, sink: Sink, capture: PacketRecorder | None
    ) -> None:
        self._arguments = arguments
        self._sink = sink
        self._capture = capture
        # What is said must not get into the data.
        self._output = sys.stdout if sink.is_new_file else sys.stderr
        self._tally = Tally()
        self._elapsed = 0.0
        self._writing = trio.Lock()
        self._taken = False
        self._statistics: Statistics | None = None
        self._done = trio.Event()

    async def run(self) -> None:
        """Wait for the association, and for its end."""
        async with listening(self._arguments, self._handle, self._capture, say=self._say):
            await self._done.wait()

    def report(self) -> None:
        """Say what was received; it has been written."""
        self._say(f"received {self._tally.describe(self._elapsed)}")
        self._say(f"sha256 {self._tally.sha256}\n")
        assert self._statistics is not None
        self._say(statistics_table({"": self._statistics}))

    def _say(self, text: str) -> None:
        say(text, stream=self._output)

    async def _handle(self, association: Association) -> None:
        if self._taken:
            association.abort("another association is being received")
            return
        self._taken = True
        began = trio.current_time()
        self._say(f"connected to {peer_name(association)}")
        try:
            async with show_progress(Progress("receiving", None), lambda: self._tally.bytes):
                await receive_all(association, self._take)
                reason = await association.wait_closed()
        except* AssociationLost as group:
            raise CommandError(str(first_loss(group))) from None
        if reason is not CloseReason.SHUTDOWN:
            raise CommandError(reason.value)
        if association.restarts:
            raise CommandError("the peer restarted in between: what it had sent before is in doubt")
        self._elapsed = trio.current_time() - began
        self._statistics = association.statistics()
        self._done.set()

    async def _take(self, messages: list[Message]) -> None:
        parts = [message.data for message in messages]
        async with self._writing:
            await self._sink.write(parts)
            self._tally.add(parts)
