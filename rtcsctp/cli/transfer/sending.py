"""The sender's half of a transfer, over one connection after another."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any

import trio

from rtcsctp.cli.transfer.errors import PathBroken, RefusedError, TransferError
from rtcsctp.cli.transfer.items import FileContent, Items, PipeContent
from rtcsctp.cli.transfer.messages import (
    MAX_TEXT,
    PIECE,
    Have,
    agreed_version,
    digest_of,
    hello,
    index_of,
    kind_of,
    number_of,
    parse_untrusted,
    texts_of,
    write,
)
from rtcsctp.runtime.background import background_tasks
from rtcsctp.runtime.channel import DataChannel
from rtcsctp.runtime.errors import ChannelBroken, ConnectionLost, PeerAborted

__all__ = ["Sender", "breaking", "last_words", "say_why"]

_FAREWELL = 2.0  # seconds that telling the other side why it ends may take


class Sender:
    """Sends items; `run` is called with a channel, and again with another if that one breaks.

    Attributes:
        arrived: bytes that the other side has, of all entries together.
        skipped: bytes of them that it had before.
        current: the entry that is sent now; None before and after.
        saved: under which names it has saved the items; None before it has said that all is well.
        seconds: for which it has run.
    """

    def __init__(self, items: Items) -> None:
        self.arrived = 0
        self.skipped = 0
        self.current: int | None = None
        self.saved: list[str] | None = None
        self.seconds = 0.0
        self._items = items
        self._have: dict[int, Have] = {}
        self._before = 0
        """Bytes of the entries before the one that is arriving."""
        self._arriving = -1
        self._content: dict[int, FileContent | PipeContent] = {}

    async def run(self, channel: DataChannel) -> None:
        """Send what has not arrived yet, and wait for the word that all of it has.

        Raises:
            TransferError: it cannot be done.
            PathBroken: the connection ended before.
        """
        began = trio.current_time()
        try:
            await self._run(channel)
        finally:
            self.seconds += trio.current_time() - began

    async def _run(self, channel: DataChannel) -> None:
        with breaking():
            await channel.wait_open()
            try:
                await self._agree(channel)
                await self._send_all(channel)
            except RefusedError:
                raise
            except TransferError as error:
                await say_why(channel, error)
                raise

    async def _agree(self, channel: DataChannel) -> None:
        """Say what there is, and hear what of it the other side has already."""
        await channel.send(hello("sender"))
        agreed_version(parse_untrusted(await channel.receive()), "receiver")
        entries = self._items.entries
        limit = min(MAX_TEXT, channel.max_message_size or MAX_TEXT)
        for text in texts_of("list", (entry.row() for entry in entries), limit):
            await channel.send(text)
        await channel.send(write("listed", count=len(entries)))
        self._have = {}
        while True:
            value = parse_untrusted(await channel.receive())
            if kind_of(value, "have", "start") == "start":
                break
            rows = value.get("rows")
            for row in rows if isinstance(rows, list) else ():
                if not isinstance(row, list) or len(row) != 3:
                    raise TransferError("the other side does not say what it has")
                named = {"index": row[0], "size": row[1]}
                index, size = index_of(named, len(entries)), number_of(named, "size")
                self._have[index] = Have(size, digest_of(row[2]))

    async def _send_all(self, channel: DataChannel) -> None:
        self.arrived = self.skipped = self._before = 0
        self._arriving = -1
        finished = trio.Event()
        failure: Exception | None = None
        work = trio.CancelScope()

        async def listen() -> None:
            nonlocal failure
            try:
                await self._listen(channel)
            except Exception as error:  # raised below, in the block that waits for it
                failure = error
                work.cancel()
            finished.set()

        async with background_tasks() as nursery:
            nursery.start_soon(listen)
            try:
                with work:
                    for index in self._items.files:
                        await self._send_file(channel, index)
                    self.current = None
                    await channel.send(write("end"))
                    await finished.wait()
            except (trio.BrokenResourceError, trio.EndOfChannel):
                with trio.move_on_after(_FAREWELL):
                    await finished.wait()  # perhaps the other side has said why
                if failure is None:
                    raise
            finally:
                for content in self._content.values():
                    content.close()
                self._content.clear()
        if failure is not None:
            raise failure

    async def _send_file(self, channel: DataChannel, index: int) -> None:
        self.current = index
        content = self._content[index] = self._items.open(index)
        try:
            start = await content.resume(self._have.get(index))
            self.skipped += start
            await channel.send(write("file", index=index, offset=start))
            size = start
            piece = max(1, min(PIECE, channel.max_message_size or PIECE))
            async with aclosing(_pieces(content, piece)) as pieces:
                async for data in pieces:
                    await channel.send(data)
                    size += len(data)
            await channel.send(write("end", index=index, size=size, sha256=content.sha256))
        finally:
            if isinstance(content, FileContent) and self._content.pop(index, None) is not None:
                content.close()

    async def _listen(self, channel: DataChannel) -> None:
        """What the receiver says meanwhile, until it has everything."""
        while True:
            value = parse_untrusted(await channel.receive())
            if kind_of(value, "got", "done") == "done":
                names = value.get("saved")
                self.saved = [
                    name for name in (names if isinstance(names, list) else ()) if _is_name(name)
                ]
                return
            index = index_of(value, len(self._items.entries))
            self._take_confirmation(index, number_of(value, "size"))

    def _take_confirmation(self, index: int, size: int) -> None:
        if index < self._arriving:
            raise TransferError("the other side confirms what it had confirmed before")
        if index > self._arriving:
            self._before = self.arrived
            self._arriving = index
        self.arrived = max(self.arrived, self._before + size)
        content = self._content.get(index)
        if content is not None:
            content.confirm(size)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()


async def _pieces(content: FileContent | PipeContent, size: int) -> AsyncGenerator[bytes]:
    while data := await content.read():
        for start in range(0, len(data), size):
            yield data[start : start + size]


@contextmanager
def breaking() -> Iterator[None]:
    """What ends connections and channels, as PathBroken."""
    try:
        yield
    except (ConnectionLost, ChannelBroken) as error:
        if isinstance(error.__cause__, PeerAborted):
            raise PathBroken("the other side has ended it") from error
        raise PathBroken(str(error)) from error
    except trio.EndOfChannel as error:
        raise PathBroken("the other side has closed the connection") from error


async def say_why(channel: DataChannel, error: TransferError) -> None:
    """Tell the other side why it ends here, if it can still hear it."""
    with trio.move_on_after(_FAREWELL, shield=True):
        try:
            await channel.send(write("error", reason=str(error)))
            await channel.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass


async def last_words(channel: DataChannel, received: Sequence[str | bytes] = ()) -> None:
    """Look whether the other side has said why it has closed the channel.

    Args:
        channel: that is closed, or closing.
        received: messages of it that nobody has looked at yet.

    Raises:
        RefusedError: it has.
    """
    for message in received:
        if isinstance(message, str):
            parse_untrusted(message)
    with trio.move_on_after(_FAREWELL):
        try:
            while True:
                if isinstance(message := await channel.receive(), str):
                    parse_untrusted(message)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel):
            pass
