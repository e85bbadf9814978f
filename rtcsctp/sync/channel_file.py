"""A data channel as a file of bytes."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from rtcsctp.sync.channel import DataChannel

__all__ = ["ChannelFile"]

_PIECE = 16_384  # bytes in a message, as `rtcsctp.ChannelStream` has them


class ChannelFile(io.RawIOBase):
    """An ordered and reliable data channel as an unbuffered file; `DataChannel.as_stream`.

    Messages have no bounds here: what is written is cut into messages, and what is read, text
    included (as UTF-8), is joined. One thread may read while another writes. What methods raise is
    what those of `DataChannel` raise, and ValueError after `close`.
    """

    def __init__(self, channel: DataChannel, timeout: float | None) -> None:
        """Use `DataChannel.as_stream`."""
        super().__init__()
        self._channel = channel
        self._timeout = timeout
        self._rest = memoryview(b"")

    def __del__(self) -> None:
        """Nothing: a file that is forgotten does not close the channel, which would wait."""

    def __repr__(self) -> str:
        return f"<ChannelFile {self._channel!r}>"

    def readable(self) -> bool:
        """It is."""
        return True

    def writable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes, at least one; 0 when the peer has closed the channel in order."""
        self._check_open()
        view = memoryview(buffer).cast("B")
        if not len(view):
            return 0
        while not self._rest:
            try:
                message = self._channel.receive(timeout=self._timeout)
            except trio.EndOfChannel:
                return 0
            self._rest = memoryview(message.encode() if isinstance(message, str) else message)
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def write(self, data: Any) -> int:
        """Write bytes; gives how many: all of them, if no timeout came between.

        Raises:
            TimeoutError: not one of them.
        """
        self._check_open()
        channel, written = self._channel, 0
        with memoryview(data).cast("B") as view:
            # Before it is open, the peer's limit may not be known yet; and it may be closed.
            channel.wait_open(timeout=self._timeout)
            limit = channel.max_message_size
            piece = _PIECE if limit is None else min(_PIECE, limit)
            while written < len(view):
                part = bytes(view[written : written + piece])
                try:
                    channel.send(part, timeout=self._timeout)
                except TimeoutError:
                    if not written:
                        raise
                    break
                written += len(part)
        return written

    def close(self) -> None:
        """Close the channel, after what was written; does nothing if that has happened."""
        if self.closed:
            return
        super().close()
        with suppress(trio.ClosedResourceError):
            self._channel.close(timeout=self._timeout)

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("this file was closed")
