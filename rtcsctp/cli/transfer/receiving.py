"""The receiver's half of a transfer, over one connection after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trio

from rtcsctp.cli.transfer.errors import PathBroken, RefusedError, TransferError
from rtcsctp.cli.transfer.items import MAX_ENTRIES
from rtcsctp.cli.transfer.messages import (
    MAX_TEXT,
    Entry,
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
from rtcsctp.cli.transfer.sending import breaking, last_words, say_why
from rtcsctp.cli.transfer.storage import Saved, Storage
from rtcsctp.runtime.channel import DataChannel

__all__ = ["Receiver"]

_MAX_LIST = 64 << 20  # bytes of the texts that list the entries
_CONFIRM_SIZE = 1 << 20  # bytes of a file, or …
_CONFIRM_TIME = 0.2  # … seconds, after which the sender hears how much has arrived
_PATIENCE = 10.0  # seconds for the sender to hear that all is well, and to leave


class Receiver:
    """Receives items; `run` is called with a channel, and again with another if that one breaks.

    Attributes:
        arrived: bytes that are here, of all entries together.
        skipped: bytes of them that were here before.
        total: bytes in all; None before that is known, and where nobody knows it.
        entries: what is sent; empty before that is known.
        current: the entry that arrives now; None before and after.
        saved: what was received; None before all of it was.
        seconds: for which it has run.
    """

    def __init__(self, storage: Storage) -> None:
        self.arrived = 0
        self.skipped = 0
        self.total: int | None = None
        self.entries: list[Entry] = []
        self.current: int | None = None
        self.saved: list[Saved] | None = None
        self.seconds = 0.0
        self._storage = storage
        self._open = False
        """Bytes may come, of the entry `current`."""
        self._before = 0
        self._farewell = 0.0
        """Seconds of waiting after everything was done."""
        self._confirmed = 0
        self._confirmed_at = 0.0
        self._batch: Sequence[str | bytes] = ()
        """Messages that were received together …"""
        self._looked_at = 0
        """… and how many of them were looked at."""

    async def run(self, channel: DataChannel) -> None:
        """Receive what is not here yet.

        Raises:
            TransferError: it cannot be done.
            PathBroken: the connection ended before all of it was here.
        """
        began = trio.current_time()
        try:
            with breaking():
                try:
                    await self._agree(channel)
                    await self._receive_all(channel)
                except RefusedError:
                    raise
                except TransferError as error:
                    await say_why(channel, error)
                    raise
        except PathBroken:
            if self.saved is None:
                await last_words(channel, self._batch[self._looked_at :])
                raise
        finally:
            self._storage.close()
            self.seconds += trio.current_time() - began - self._farewell

    async def _agree(self, channel: DataChannel) -> None:
        """Hear what there is, and say what of it is here already."""
        await channel.send(hello("receiver"))
        agreed_version(parse_untrusted(await channel.receive()), "sender")
        self.entries = await _listed(channel)
        sizes = [entry.size for entry in self.entries if not entry.is_folder]
        self.total = None if None in sizes else sum(size or 0 for size in sizes)
        found = await _in_thread(self._storage.begin, self.entries)
        rows = ([index, have.size, have.sha256] for index, have in sorted(found.items()))
        limit = min(MAX_TEXT, channel.max_message_size or MAX_TEXT)
        for text in texts_of("have", rows, limit):
            await channel.send(text)
        await channel.send(write("start"))

    async def _receive_all(self, channel: DataChannel) -> None:
        self.arrived = self.skipped = self._before = 0
        self.current, self._open = None, False
        while self.saved is None:
            messages = self._batch = await channel.receive_many()
            at = self._looked_at = 0
            while at < len(messages) and self.saved is None:
                end = at
                while end < len(messages) and isinstance(messages[end], bytes):
                    end += 1
                if end > at:
                    self._looked_at = end
                    await self._take_bytes(channel, messages[at:end])
                else:
                    end = self._looked_at = at + 1
                    await self._take_text(channel, messages[at])
                at = end
        began = trio.current_time()
        try:
            with trio.move_on_after(_PATIENCE):
                while True:
                    await channel.receive()  # until the sender leaves
        finally:
            self._farewell = trio.current_time() - began

    async def _take_bytes(self, channel: DataChannel, parts: Sequence[str | bytes]) -> None:
        if not self._open:
            raise TransferError("the other side sends bytes that belong to no file")
        data = b"".join(part for part in parts if isinstance(part, bytes))
        size = await _in_thread(self._storage.write, data)
        self.arrived = self._before + size
        now = trio.current_time()
        if size - self._confirmed >= _CONFIRM_SIZE or now - self._confirmed_at >= _CONFIRM_TIME:
            await self._confirm(channel, size)

    async def _confirm(self, channel: DataChannel, size: int) -> None:
        self._confirmed, self._confirmed_at = size, trio.current_time()
        await channel.send(write("got", index=self.current, size=size))

    async def _take_text(self, channel: DataChannel, message: str | bytes) -> None:
        value = parse_untrusted(message)
        if kind_of(value, "file", "end") == "file":
            await self._begin_file(value)
        elif "index" in value:
            await self._end_file(channel, value)
        else:
            await self._end(channel)

    async def _begin_file(self, value: dict[str, Any]) -> None:
        index = index_of(value, len(self.entries))
        if self._open or (self.current is not None and index <= self.current):
            raise TransferError("the other side sends its files in the wrong order")
        if self.entries[index].is_folder:
            raise TransferError("the other side sends the content of a folder as that of a file")
        offset = number_of(value, "offset")
        size = self.entries[index].size
        if size is not None and offset > size:
            raise TransferError("the other side goes on behind the end of a file")
        await _in_thread(self._storage.open, index, offset)
        self.current, self._open = index, True
        self._before = self.arrived
        self.skipped += offset
        self.arrived += offset
        self._confirmed, self._confirmed_at = offset, trio.current_time()

    async def _end_file(self, channel: DataChannel, value: dict[str, Any]) -> None:
        index = index_of(value, len(self.entries))
        if not self._open or index != self.current:
            raise TransferError("the other side ends a file that it has not begun")
        self._open = False
        size = number_of(value, "size")
        await _in_thread(self._storage.end, size, digest_of(value.get("sha256")))
        self.arrived = self._before + size
        await self._confirm(channel, size)

    async def _end(self, channel: DataChannel) -> None:
        if self._open:
            raise TransferError("the other side ends in the middle of a file")
        self.current = None
        saved = await _in_thread(self._storage.finish)
        names = [item.path.name if item.path is not None else item.sent for item in saved]
        self.saved = saved
        for text in _done_texts(names, min(MAX_TEXT, channel.max_message_size or MAX_TEXT)):
            await channel.send(text)


def _done_texts(names: list[str], limit: int) -> list[str]:
    """One text; without the names if they are too many."""
    text = write("done", saved=names)
    return [text if len(text.encode()) <= limit else write("done")]


async def _listed(channel: DataChannel) -> list[Entry]:
    """What the sender lists.

    Raises:
        TransferError: too much, or what is no list.
    """
    entries: list[Entry] = []
    size = 0
    while True:
        message = await channel.receive()
        size += len(message)
        value = parse_untrusted(message)
        if kind_of(value, "list", "listed") == "listed":
            if number_of(value, "count") != len(entries):
                raise TransferError("the other side's list is not complete")
            if not entries:
                raise TransferError("the other side sends nothing")
            return entries
        rows = value.get("rows")
        if not isinstance(rows, list):
            raise TransferError("the other side's list has no rows")
        entries += [Entry.from_untrusted(row) for row in rows]
        if len(entries) > MAX_ENTRIES or size > _MAX_LIST:
            raise TransferError(f"the other side sends more than {MAX_ENTRIES:,} files and folders")


async def _in_thread(function: Any, *arguments: object) -> Any:
    """What may be slow. It is waited for, also when cancelled: files stay in order."""
    return await trio.to_thread.run_sync(function, *arguments)
