"""A data channel as a stream of bytes."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from rtcsctp.runtime.channel import DataChannel

__all__ = ["ChannelStream"]

_PIECE = 16_384
"""Bytes in a message: large enough to cost little, and small enough to interleave with other
channels where the peer cannot interleave messages (RFC 8831 6.6)."""


class ChannelStream(trio.abc.Stream):
    """An ordered and reliable data channel as a `trio.abc.Stream`; `DataChannel.as_stream`.

    Messages have no bounds here: what is sent is cut into messages, and what is received, text
    included (as UTF-8), is joined.
    """

    def __init__(self, channel: DataChannel) -> None:
        self._channel = channel
        self._rest = memoryview(b"")
        self._sending = False
        self._closed = False

    @contextlib.contextmanager
    def _only_sender(self) -> Iterator[None]:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            yield
        finally:
            self._sending = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes; raises what `DataChannel.send` raises, and BusyResourceError."""
        with self._only_sender(), memoryview(data).cast("B") as view:
            # Before it is open, the peer's limit may not be known yet; and it may be closed.
            await self._channel.wait_open()
            limit = self._channel.max_message_size
            piece = _PIECE if limit is None else min(_PIECE, limit)
            for start in range(0, len(view), piece):
                await self._channel.send(bytes(view[start : start + piece]))

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the channel is open and has room; raises as `send_all` does."""
        with self._only_sender():
            await self._channel.wait_open()
            while self._channel.is_full:
                await self._channel.wait_room()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Some bytes; b"" when the peer has closed the channel in order.

        Raises:
            ValueError: `max_bytes` below 1.
            Otherwise see `DataChannel.receive`.
        """
        if max_bytes is not None and operator.index(max_bytes) < 1:
            raise ValueError(f"at least one byte must be asked for, not {max_bytes}")
        if self._rest:
            await trio.lowlevel.checkpoint()
        while not self._rest:
            try:
                message = await self._channel.receive()
            except trio.EndOfChannel:
                await trio.lowlevel.checkpoint()
                return b""
            if self._closed:
                raise trio.ClosedResourceError("this stream was closed here")
            self._rest = memoryview(message.encode() if isinstance(message, str) else message)
        count = len(self._rest) if max_bytes is None else max_bytes
        taken, self._rest = bytes(self._rest[:count]), self._rest[count:]
        return taken

    async def aclose(self) -> None:
        """Close the channel, after what was sent."""
        self._closed = True
        self._rest = memoryview(b"")
        await self._channel.aclose()
