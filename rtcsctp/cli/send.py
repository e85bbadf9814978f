"""`rtcsctp sctp send`: a file or made-up messages, over one association."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import AsyncExitStack, aclosing, contextmanager

import trio

from rtcsctp import Association, AssociationLost, CloseReason, Message, Stream, connect
from rtcsctp.cli.capture import open_capture
from rtcsctp.cli.failure import CommandError
from rtcsctp.cli.interrupt import until_interrupted
from rtcsctp.cli.network import bind_address, first_loss, receive_all, refused
from rtcsctp.cli.output import note, say
from rtcsctp.cli.progress import Progress, show_progress
from rtcsctp.cli.source import Source, generated, open_source
from rtcsctp.cli.summary import Tally, statistics_table
from rtcsctp.cli.units import format_count
from rtcsctp.runtime.link import PacketRecorder

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> None:
    """Send all there is to send.

    Raises:
        CommandError, AssociationLost, LocalProtocolError: not all of it was acknowledged.
    """
    with _source(arguments) as source, open_capture(arguments.pcap) as capture:
        trio.run(until_interrupted, _Sending(arguments, source, capture).run)


@contextmanager
def _source(arguments: argparse.Namespace) -> Iterator[Source]:
    if arguments.messages is not None:
        yield generated(arguments.messages * arguments.size, arguments.size)
    else:
        with open_source(arguments.file, arguments.size) as source:
            yield source


class _Sending:
    """One association and what has gone over it."""

    def __init__(
        self, arguments: argparse.Namespace, source: Source, capture: PacketRecorder | None
    ) -> None:
        self._arguments = arguments
        self._source = source
        self._capture = capture
        self._tally = Tally()
        self._back = Tally()

    async def run(self) -> None:
        """Send everything, and wait until the peer has acknowledged it."""
        arguments = self._arguments
        where = f"{arguments.peer}" + (f" from {arguments.udp}" if arguments.udp else "")
        note(f"connecting to UDP {where}, SCTP port {arguments.port}")
        async with AsyncExitStack() as stack:
            with refused(f"connect to UDP {where}"):
                association = await stack.enter_async_context(
                    connect(
                        arguments.peer,
                        port=arguments.port,
                        config=arguments.config,
                        udp=bind_address(arguments.udp) if arguments.udp else None,
                        capture=self._capture,
                    )
                )
            began = trio.current_time()
            await self._send_all(association)
            self._report(association, trio.current_time() - began)

    async def _send_all(self, association: Association) -> None:
        limited = (
            self._arguments.max_retransmits is not None or self._arguments.lifetime is not None
        )
        if limited and not association.statistics().partial_reliability:
            note("the peer knows no partial reliability: no message is given up")

        def acknowledged() -> int:
            return self._tally.bytes - association.buffered_amount - association.unacknowledged

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive_all, association, self._take_back)
                progress = Progress("sending", self._source.total)
                async with show_progress(progress, acknowledged):
                    await self._send_messages(association.stream(self._arguments.stream))
                    await association.shutdown()
                nursery.cancel_scope.cancel()
        except* AssociationLost as group:
            lost = first_loss(group)
            if lost is not None and lost.reason is CloseReason.SHUTDOWN:
                raise CommandError(
                    "the peer shut the association down before everything was sent"
                ) from None
            raise

    async def _send_messages(self, stream: Stream) -> None:
        arguments = self._arguments
        async with aclosing(self._source.messages()) as messages:
            async for message in messages:
                await stream.send(
                    message,
                    ppid=arguments.ppid,
                    unordered=arguments.unordered,
                    max_retransmits=arguments.max_retransmits,
                    lifetime=arguments.lifetime,
                )
                self._tally.add([message])

    async def _take_back(self, messages: list[Message]) -> None:
        """Take what the peer sends, as an echo server does: unread, it would block the peer."""
        self._back.add(message.data for message in messages)

    def _report(self, association: Association, elapsed: float) -> None:
        """Say what was sent.

        Raises:
            CommandError: messages were given up.
        """
        statistics = association.statistics()
        abandoned = statistics.messages_abandoned
        if abandoned:
            say(f"had {self._tally} to send, and gave {abandoned:,} of them up")
        else:
            say(f"sent {self._tally.describe(elapsed)}, all acknowledged")
        if self._back.messages:
            say(f"received {self._back} from the peer")
        say(f"sha256 {self._tally.sha256}\n")
        say(statistics_table({"": statistics}))
        if abandoned:
            count = format_count(self._tally.messages, "message")
            raise CommandError(
                f"{abandoned:,} of {count} were given up, as their limit of reliability demanded"
            )
