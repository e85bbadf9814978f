"""A data channel as a stream of bytes."""

from __future__ import annotations

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
        self._sending = trio.Lock()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes; raises what `DataChannel.send` raises, and BusyResourceError."""
        try:
            self._sending.acquire_nowait()
        except trio.WouldBlock:
            raise trio.BusyResourceError("another task is sending on this stream") from None
        try:
            limit = self._channel.max_message_size
            piece = _PIECE if limit is None else min(_PIECE, limit)
            with memoryview(data) as view:
                if not view:
                    await trio.lowlevel.checkpoint()
                for start in range(0, len(view), piece):
                    await self._channel.send(bytes(view[start : start + piece]))
        finally:
            self._sending.release()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the channel is open and has room."""
        await self._channel.wait_open()
        while self._channel.is_full:
            await self._channel.wait_room()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Some bytes; b"" when the peer has closed the channel in order.

        Raises:
            ValueError: `max_bytes` below 1.
            Otherwise see `DataChannel.receive`.
        """
        if max_bytes is not None and max_bytes < 1:
            raise ValueError(f"at least one byte must be asked for, not {max_bytes}")
        if self._rest:
            await trio.lowlevel.checkpoint()
        while not self._rest:
            try:
                message = await self._channel.receive()
            except trio.EndOfChannel:
                return b""
            self._rest = memoryview(message.encode() if isinstance(message, str) else message)
        count = len(self._rest) if max_bytes is None else max_bytes
        taken, self._rest = bytes(self._rest[:count]), self._rest[count:]
        return taken

    async def aclose(self) -> None:
        """Close the channel, after what was sent."""
        await self._channel.aclose()
