"""`rtcsctp sctp echo`: a server that sends back what it gets."""

from __future__ import annotations

import argparse

import trio

from rtcsctp import (
    Association,
    AssociationLost,
    CloseReason,
    LocalProtocolError,
    Message,
    RequestRefusedError,
    Stream,
    StreamReset,
)
from rtcsctp.cli.capture import open_capture
from rtcsctp.cli.interrupt import until_interrupted
from rtcsctp.cli.network import first_loss, listening, peer_name
from rtcsctp.cli.output import say
from rtcsctp.cli.units import format_count, format_duration, format_size
from rtcsctp.runtime.link import PacketRecorder

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> None:
    """Serve until a signal comes, then shut down what associations there are."""
    with open_capture(arguments.pcap) as capture:
        trio.run(_serve, arguments, capture)


async def _serve(arguments: argparse.Namespace, capture: PacketRecorder | None) -> None:
    server = _Server()

    async def work() -> None:
        async with listening(arguments, server.handle, capture, say=say):
            await server.ending.wait()
            await server.wait_idle()

    await until_interrupted(work, end=server.ending)


class _Server:
    """What the associations have in common.

    Attributes:
        ending: set this to let them shut down.
    """

    def __init__(self) -> None:
        self.ending = trio.Event()
        self._active = 0
        self._idle = trio.Event()

    async def wait_idle(self) -> None:
        """Wait until no association is left; `ending` must be set."""
        if self._active:
            count = format_count(self._active, "association")
            say(f"shutting down {count}; another signal aborts")
            await self._idle.wait()

    async def handle(self, association: Association) -> None:
        """Serve one association."""
        self._active += 1
        try:
            await _Echo(association).serve(self.ending)
        finally:
            self._active -= 1
            if not self._active and self.ending.is_set():
                self._idle.set()


class _Echo:
    """One association: a task per stream that the peer uses."""

    def __init__(self, association: Association) -> None:
        self._association = association
        self._messages = 0
        self._bytes = 0
        self._unanswered = 0

    async def serve(self, ending: trio.Event) -> None:
        """Echo until the association ends; shut it down when `ending` is set."""
        began = trio.current_time()
        name = peer_name(self._association)
        say(f"up    {name}")
        end = "aborted"
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._shutdown_at, ending)
                await self._echo()
                reason = await self._association.wait_closed()
                end = "shut down" if reason is CloseReason.SHUTDOWN else reason.value
                nursery.cancel_scope.cancel()
        except* AssociationLost as group:
            end = str(first_loss(group))
        finally:
            echoed = (
                f"{format_count(self._messages, 'message')} ({format_size(self._bytes)}) echoed"
            )
            if self._unanswered:
                echoed += f", {self._unanswered:,} not"
            duration = format_duration(trio.current_time() - began)
            say(f"down  {name}: {end}; {echoed}; {duration}")

    async def _shutdown_at(self, ending: trio.Event) -> None:
        await ending.wait()
        await self._association.shutdown()

    async def _echo(self) -> None:
        async with trio.open_nursery() as nursery:
            async for stream_id in self._association.incoming:
                nursery.start_soon(self._echo_stream, self._association.stream(stream_id))

    async def _echo_stream(self, stream: Stream) -> None:
        """Echo one stream until the peer resets it; if it uses it again, that is another task."""
        try:
            while True:
                for message in await stream.receive_many():
                    await self._answer(stream, message)
        except StreamReset:
            await self._reset(stream)
        except trio.EndOfChannel:
            pass

    async def _answer(self, stream: Stream, message: Message) -> None:
        ppid, unordered = message.ppid, message.unordered
        try:
            try:
                stream.send_nowait(message.data, ppid=ppid, unordered=unordered)
            except trio.WouldBlock:
                await stream.send(message.data, ppid=ppid, unordered=unordered)
        except (LocalProtocolError, trio.ClosedResourceError, AssociationLost):
            # There is no such stream in our direction, or the association ends. Go on receiving:
            # until it has ended, the peer needs room for what it had sent.
            self._unanswered += 1
        else:
            self._messages += 1
            self._bytes += len(message.data)

    async def _reset(self, stream: Stream) -> None:
        try:
            await stream.reset()
        except (LocalProtocolError, RequestRefusedError, trio.ClosedResourceError) as error:
            say(f"      {peer_name(self._association)}: stream {stream.id} was not reset: {error}")
