"""What `rtcsctp serve` does with the channels that its peers open.

The protocol of a channel, a word that its opener chooses, says what it is for:

``echo``, or none
    Each message comes back, text as text and bytes as bytes.
``chat``
    Each text is a line for all other peers that have such a channel. Lines that begin with "*" are
    the server's own. Whoever cannot keep up misses some.
``file``
    See `rtcsctp.cli.files`.
``sink``
    Everything is counted and thrown away. The text ``report`` is answered with a JSON object, and
    begins a new count: ``{"messages": 2, "bytes": 10, "sha256": "…", "seconds": 0.01}``. The
    checksum is that of the binary messages, in the order of their arrival.
``source``
    The text ``{"bytes": 100000000, "size": 16384}`` is answered with as many bytes in messages of
    that size, the last of which may be shorter, and then with a JSON object like that of a sink.

``perf``, ``perf-data``
    Measures throughput: see `rtcsctp.cli.throughput`.

Anything else is closed at once.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress

import trio

from rtcsctp.cli.files import (
    CHUNK,
    FileError,
    Folder,
    Incoming,
    Offer,
    read_object_untrusted,
    read_parts,
    refusal,
)
from rtcsctp.cli.summary import Tally
from rtcsctp.cli.throughput import ThroughputServer
from rtcsctp.cli.units import format_count, format_duration, format_size
from rtcsctp.datachannel.channel import ChannelState
from rtcsctp.errors import MessageTooLargeError
from rtcsctp.ice.events import PairInfo
from rtcsctp.runtime.channel import DataChannel
from rtcsctp.runtime.errors import ChannelBroken, ConnectionLost, PeerAborted
from rtcsctp.runtime.peer import PeerConnection

__all__ = ["Services", "describe_pair", "message_size", "printable"]

_MAX_CHANNELS = 256  # of one peer at a time that are served
_MAX_LINE = 2000  # characters of a line of the chat
_MAX_SOURCE = 1 << 40  # bytes
_REFUSING = 1.0  # seconds that closing a channel may hold up the next one

Say = Callable[[str], object]


class Services:
    """What the peers of a server have in common: the chat, and the folder.

    Attributes:
        ending: set this to take leave of all peers in order.
    """

    def __init__(self, folder: Folder | None, say: Say) -> None:
        """
        Args:
            folder: for files; None: there are none.
            say: is told, in lines, who comes and goes and what is said in the chat.
        """
        self.ending = trio.Event()
        self._say = say
        self._folder = folder
        self._chat = _Chat(say)
        self._number = 0
        self._active = 0
        self._idle = trio.Event()
        throughput = ThroughputServer()
        self._by_protocol: dict[str, Callable[[DataChannel, str], Awaitable[None]]] = {
            "": _echo,
            "echo": _echo,
            "chat": self._chat.serve,
            "file": self._serve_files,
            "sink": _sink,
            "source": _source,
            "perf": throughput.control,
            "perf-data": throughput.data,
        }

    async def handle(self, peer: PeerConnection) -> None:
        """Serve one peer: a handler for `rtcsctp.runtime.serve.serve`."""
        self._number += 1
        self._active += 1
        name = f"peer {self._number}"
        began = trio.current_time()
        self._say(f"up    {name}: {describe_pair(peer.selected_pair)}")
        end = "closed here"
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._leave, nursery.cancel_scope)
                await self._serve_channels(peer, name)
                end = "closed by the peer"
                nursery.cancel_scope.cancel()
            if self.ending.is_set():
                await peer.aclose()  # what was sent is delivered
        except* ConnectionLost as group:
            end = _why(group)
        finally:
            self._active -= 1
            if not self._active and self.ending.is_set():
                self._idle.set()
            sctp = peer.statistics().sctp
            self._say(
                f"down  {name}: {end}; {format_size(sctp.user_bytes_received)} in, "
                f"{format_size(sctp.user_bytes_sent)} out; "
                f"{format_duration(trio.current_time() - began)}"
            )

    async def wait_idle(self) -> None:
        """Wait until no peer is left; `ending` must be set."""
        if self._active:
            count = format_count(self._active, "peer")
            self._say(f"taking leave of {count}; another signal aborts")
            await self._idle.wait()

    async def _leave(self, scope: trio.CancelScope) -> None:
        await self.ending.wait()
        scope.cancel()

    async def _serve_channels(self, peer: PeerConnection, name: str) -> None:
        async with trio.open_nursery() as nursery:
            async for channel in peer.incoming:
                service = self._by_protocol.get(channel.protocol)
                if service is None or len(nursery.child_tasks) >= _MAX_CHANNELS:
                    with trio.move_on_after(_REFUSING):
                        await channel.aclose()
                else:
                    nursery.start_soon(_serve_one, service, channel, name)

    async def _serve_files(self, channel: DataChannel, _name: str) -> None:
        await _Files(channel, self._folder).serve()


async def _serve_one(
    service: Callable[[DataChannel, str], Awaitable[None]], channel: DataChannel, name: str
) -> None:
    """One channel, until either side closes it."""
    try:
        await service(channel, name)
        await channel.aclose()
    except (trio.EndOfChannel, ChannelBroken):
        pass


def _why(group: BaseExceptionGroup[ConnectionLost]) -> str:
    """Why a connection ended. A peer that takes leave in order, as browsers do, sends ABORT."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return "closed by the peer" if isinstance(error.__cause__, PeerAborted) else str(error)


def describe_pair(pair: PairInfo | None) -> str:
    """Where a peer is, as people write it."""
    if pair is None:
        return "no path"
    host, port = pair.remote.host, pair.remote.port
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"{where}, {pair.local.type.value} to {pair.remote.type.value}"


def message_size(channel: DataChannel) -> int:
    """How large the pieces of a file can be."""
    largest = channel.max_message_size
    return CHUNK if largest is None else max(1, min(CHUNK, largest))


def printable(text: str, limit: int = _MAX_LINE) -> str:
    """What a stranger has written, so that it cannot do anything to a terminal."""
    return "".join(character if character.isprintable() else "�" for character in text[:limit])


async def _echo(channel: DataChannel, _name: str) -> None:
    while True:
        for message in await channel.receive_many():
            try:
                try:
                    channel.send_nowait(message)
                except trio.WouldBlock:
                    await channel.send(message)
            except MessageTooLargeError:
                pass  # the peer sends what it does not take itself


# ------------------------------------------------------------------------------------------ chat


class _Chat:
    """The peers that talk to each other."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._members: dict[DataChannel, str] = {}

    async def serve(self, channel: DataChannel, name: str) -> None:
        """One of them, until it leaves."""
        others = ", ".join(sorted(set(self._members.values()))) or "nobody"
        self._tell(f"* {name} has come", besides=None)
        self._members[channel] = name
        _try_to_send(channel, f"* you are {name}; others here: {others}")
        try:
            async for message in channel:
                if isinstance(message, str):
                    line = f"{name}: {printable(message)}"
                    self._say(f"chat  {line}")
                    self._tell(line, besides=channel)
        finally:
            del self._members[channel]
            self._tell(f"* {name} has left", besides=None)

    def _tell(self, line: str, *, besides: DataChannel | None) -> None:
        for member in self._members:
            if member is not besides:
                _try_to_send(member, line)


def _try_to_send(channel: DataChannel, line: str) -> None:
    """A line, unless there is no room for it, or nobody."""
    if channel.state is not ChannelState.OPEN:
        return
    ends = (trio.BrokenResourceError, trio.ClosedResourceError)
    with suppress(trio.WouldBlock, MessageTooLargeError, *ends):
        channel.send_nowait(line)


# ----------------------------------------------------------------------------------------- files


class _Files:
    """One channel for files."""

    def __init__(self, channel: DataChannel, folder: Folder | None) -> None:
        self._channel = channel
        self._folder = folder
        self._ahead: list[str | bytes] = []
        """Received and not looked at; the next one first."""

    async def serve(self) -> None:
        """Answer requests, one after another."""
        channel = self._channel
        is_lossy = channel.max_retransmits is not None or channel.max_packet_lifetime is not None
        while True:
            message = await self._next()
            if isinstance(message, bytes):
                continue  # the rest of what was refused
            try:
                if self._folder is None:
                    raise FileError("this server has no folder for files (option --directory)")
                if is_lossy or not channel.ordered:
                    raise FileError("files need a channel that is ordered and reliable")
                await self._answer(self._folder, read_object_untrusted(message))
            except FileError as error:
                await channel.send(refusal(error))

    async def _next(self) -> str | bytes:
        if not self._ahead:
            self._ahead = await self._channel.receive_many()
        return self._ahead.pop(0)

    async def _answer(self, folder: Folder, request: dict[str, object]) -> None:
        if "get" in request:
            await self._give(*folder.fetch(request["get"]))
        elif "list" in request:
            files = await trio.to_thread.run_sync(folder.list)
            await self._channel.send(json.dumps({"files": files}))
        elif "name" in request:
            await self._take(folder, Offer.from_untrusted(request))
        elif "cancel" not in request:
            raise FileError("a request has name and size, get, or list")

    async def _give(self, descriptor: int, offer: Offer) -> None:
        tally = Tally()
        try:
            await self._channel.send(offer.to_json())
            parts = read_parts(descriptor, offer.size, message_size(self._channel))
            async with aclosing(parts):
                async for part in parts:
                    tally.add([part])
                    await self._channel.send(part)
        except OSError:
            raise FileError("the file cannot be read") from None
        finally:
            os.close(descriptor)
        await self._channel.send(json.dumps({"ok": True, "sha256": tally.sha256}))

    async def _take(self, folder: Folder, offer: Offer) -> None:
        with folder.accept(offer) as incoming:
            while not incoming.is_complete:
                await self._take_some(incoming)
            checksum = await incoming.finish()
        answer = {"ok": True, "name": offer.name, "size": offer.size, "sha256": checksum}
        await self._channel.send(json.dumps(answer))

    async def _take_some(self, incoming: Incoming) -> None:
        """What has come of a file; as much at once as there is."""
        first = await self._next()
        if isinstance(first, str):
            self._ahead.insert(0, first)
            raise FileError("cancelled")
        parts = [first]
        while self._ahead and isinstance(self._ahead[0], bytes):
            part = self._ahead.pop(0)
            assert isinstance(part, bytes)
            parts.append(part)
        await incoming.write(parts)


# ------------------------------------------------------------------------------- sink and source


def _report(tally: Tally, seconds: float) -> str:
    return json.dumps(
        {
            "messages": tally.messages,
            "bytes": tally.bytes,
            "sha256": tally.sha256,
            "seconds": round(seconds, 6),
        }
    )


async def _sink(channel: DataChannel, _name: str) -> None:
    tally, began = Tally(), None
    while True:
        for message in await channel.receive_many():
            if isinstance(message, bytes):
                began = trio.current_time() if began is None else began
                tally.add([message])
            elif message.strip() == "report":
                await channel.send(
                    _report(tally, 0.0 if began is None else trio.current_time() - began)
                )
                tally, began = Tally(), None


async def _source(channel: DataChannel, _name: str) -> None:
    async for message in channel:
        try:
            total, size = _wanted(message)
        except FileError as error:
            await channel.send(refusal(error))
            continue
        generator, tally, began = random.Random(1), Tally(), trio.current_time()
        for start in range(0, total, size):
            part = generator.randbytes(min(size, total - start))
            tally.add([part])
            await channel.send(part)
        await channel.send(_report(tally, trio.current_time() - began))


def _wanted(message: str | bytes) -> tuple[int, int]:
    """How many bytes a source is asked for, and in messages of what size."""
    if isinstance(message, bytes):
        raise FileError("a source is asked with a text")
    request = read_object_untrusted(message)
    total, size = request.get("bytes"), request.get("size", 16_384)
    for value, limit in ((total, _MAX_SOURCE), (size, CHUNK)):
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= limit:
            raise FileError(f"bytes is from 1 to {_MAX_SOURCE}, size from 1 to {CHUNK}")
    assert isinstance(total, int)
    assert isinstance(size, int)
    return total, size
