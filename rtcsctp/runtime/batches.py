"""Datagrams by the batch: as few system calls as the kernel allows.

Linux cuts a large buffer into equal datagrams itself (``UDP_SEGMENT``, "GSO"), and joins datagrams
of one sender and one size into one buffer (``UDP_GRO``). A datagram of a run costs a tenth of one
that goes alone. Whether it works is found out by trying, as it depends on kernel and device:

- a kernel that does not know the option says so when the socket is made;
- a device that cannot do it refuses the first run (EIO, EOPNOTSUPP); then it is not tried again;
- EINVAL and EMSGSIZE may mean that this run's datagrams are larger than the path takes in one
  piece, where the kernel may still send each of them in fragments. Runs of that size and above go
  one by one for a while.

Whatever a run was refused for, its datagrams are then sent one by one, so nothing gets lost by
joining. Datagrams of other sizes, empty ones, and all of them on other systems, take a call each.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Any

__all__ = ["MAX_DATAGRAM", "BatchSocket", "Run", "set_buffers", "split"]

MAX_DATAGRAM = 65_535
"""No datagram is larger, bytes."""

# From linux/udp.h and asm-generic/socket.h; the socket module has no names for them.
_SOL_UDP = 17
_UDP_SEGMENT = 103
_UDP_GRO = 104
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33

_IS_LINUX = sys.platform == "linux"
_MAX_SEGMENTS = 64  # UDP_MAX_SEGMENTS of Linux before 6.9; later ones take 128
_MAX_RUN = 65_507  # bytes of one send: 65,535 less the headers of UDP and IPv4
_RECEIVED_AT_ONCE = 48 << 10
"""Bytes, after which other tasks have their turn: one run, as large as they are sent, is enough."""
_CALLS_AT_ONCE = 64  # system calls before other tasks have their turn
_UNTRIED = 3
_SINGLES = 1000  # datagrams that go one by one before a size that was refused is tried again
_BUFFER = 4 << 20  # bytes of a socket buffer that we ask for
_SIZE = struct.Struct("=H")
_JOINED_SIZE = struct.Struct("=i")
_ANCILLARY = socket.CMSG_SPACE(_JOINED_SIZE.size) if _IS_LINUX else 0
_CANNOT = (errno.EIO, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOPROTOOPT)
_TOO_LARGE = (errno.EINVAL, errno.EMSGSIZE)
_FULL = (BlockingIOError, InterruptedError)


Run = tuple[bytes, Any, int]
"""Datagrams from one source, as the socket module has it, that were joined; and their size, which
only the last may fall short of. Size 0: it is a single datagram."""


def split(data: bytes, size: int) -> list[bytes]:
    """The datagrams of a run."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def set_buffers(sock: socket.socket) -> None:
    """Ask for socket buffers that hold what arrives while Python is busy.

    The limits of the system are passed where this process may do that (Linux, CAP_NET_ADMIN). What
    came of it is in `BatchSocket.receive_buffer` and `BatchSocket.send_buffer`.
    """
    options = [(socket.SO_RCVBUF, _SO_RCVBUFFORCE), (socket.SO_SNDBUF, _SO_SNDBUFFORCE)]
    for option, force in options:
        for name in (force, option) if _IS_LINUX else (option,):
            try:
                sock.setsockopt(socket.SOL_SOCKET, name, _BUFFER)
            except OSError:
                continue  # not allowed; or a system that refuses what is above its limit
            break


class BatchSocket:
    """A non-blocking UDP socket that is read and written by the batch.

    Attributes:
        socket: the socket itself.
        segments: whether the kernel cuts what is sent, as far as is known.
        joins: whether the kernel joins what arrives.
        lost: datagrams that the kernel did not take, other than for want of room.
        errors: errors instead of datagrams: what ICMP reported.
    """

    __slots__ = (
        "_refused_size",
        "_singles",
        "_untried",
        "errors",
        "joins",
        "lost",
        "segments",
        "socket",
    )

    def __init__(self, sock: socket.socket) -> None:
        """Use a socket that does not block."""
        self.socket = sock
        self.segments = _IS_LINUX and self._try_option(_UDP_SEGMENT, 0)
        self.joins = _IS_LINUX and self._try_option(_UDP_GRO, 1)
        self.lost = 0
        self.errors = 0
        self._refused_size = _MAX_RUN
        self._singles = 0
        self._untried = 0

    def _try_option(self, option: int, value: int) -> bool:
        try:
            self.socket.setsockopt(_SOL_UDP, option, value)
        except OSError:
            return False
        return True

    @property
    def receive_buffer(self) -> int:
        """What the kernel gives to datagrams that wait for us, its own bookkeeping included."""
        return self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    @property
    def send_buffer(self) -> int:
        """What the kernel gives to datagrams that wait for the device, in bytes."""
        return self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)

    # ------------------------------------------------------------------------------ sending

    def send(self, datagrams: Sequence[bytes], start: int, destination: Any) -> int:
        """Send datagrams from the one at `start` on; gives where to go on: the end, unless full.

        What the kernel refuses for other reasons is lost, and counted.

        Raises:
            OSError: the socket is closed (EBADF).
        """
        count = len(datagrams)
        if count == 1 and not start:
            return self._send_each(datagrams, 0, 1, destination)
        while start < count:
            end = self._end_of_run(datagrams, start) if self.segments else count
            if end - start > 1 and self.segments:
                try:
                    self._send_run(datagrams[start:end], destination)
                except _FULL:
                    return start
                except OSError as error:
                    if error.errno == errno.EBADF:
                        raise
                    self._note_refusal(error, len(datagrams[start]))
                else:
                    start = end
                    continue
            start, wanted = self._send_each(datagrams, start, end, destination), end
            if start < wanted:
                return start
        return start

    def _end_of_run(self, datagrams: Sequence[bytes], start: int) -> int:
        """Where a run of equal datagrams ends; a shorter one may be its last."""
        size = len(datagrams[start])
        if not size:
            return start + 1
        if size >= self._refused_size:
            self._singles += 1
            if self._singles > _SINGLES:
                self._refused_size = _MAX_RUN
            return start + 1
        limit = min(len(datagrams), start + min(_MAX_SEGMENTS, _MAX_RUN // size))
        end = start + 1
        while end < limit:
            length = len(datagrams[end])
            if length != size:
                return end + 1 if 0 < length < size else end
            end += 1
        return end

    def _send_run(self, run: Sequence[bytes], destination: Any) -> None:
        ancillary = [(_SOL_UDP, _UDP_SEGMENT, _SIZE.pack(len(run[0])))]
        self.socket.sendmsg(run, ancillary, 0, destination)

    def _note_refusal(self, error: OSError, size: int) -> None:
        if error.errno in _CANNOT:
            self.segments = False  # for good
        elif error.errno in _TOO_LARGE:
            self._refused_size = size
            self._singles = 0
        # Else it has nothing to do with runs: no way to that host, say.

    def _send_each(self, datagrams: Sequence[bytes], start: int, end: int, destination: Any) -> int:
        """Send with one call for each; gives where to go on."""
        sendto = self.socket.sendto
        for position in range(start, end):
            try:
                sendto(datagrams[position], destination)
            except _FULL:
                return position
            except OSError as error:
                if error.errno == errno.EBADF:
                    raise
                self.lost += 1
        return end

    # ---------------------------------------------------------------------------- receiving

    def receive(self) -> list[tuple[bytes, Any]]:
        """What has arrived, in order, with sources as the socket module has them; perhaps nothing.

        Raises:
            OSError: the socket is closed (EBADF).
        """
        batch: list[tuple[bytes, Any]] = []
        for data, source, size in self.receive_runs():
            if size:
                batch += [(datagram, source) for datagram in split(data, size)]
            else:
                batch.append((data, source))
        return batch

    def receive_runs(self) -> list[Run]:
        """The same, with those that the kernel has joined still joined.

        It stops at `_RECEIVED_AT_ONCE` bytes: the rest is there the next time. Where a second look
        found nothing more, the next `_UNTRIED` datagrams that come alone are taken without one: it
        costs as much as the first.

        Raises:
            OSError: the socket is closed (EBADF).
        """
        sock, joins = self.socket, self.joins
        batch: list[Run] = []
        received = reads = 0
        for _ in range(_CALLS_AT_ONCE):
            size = 0
            try:
                if joins:
                    data, ancillary, _, source = sock.recvmsg(MAX_DATAGRAM, _ANCILLARY)
                    if ancillary:
                        size = _joined_size(ancillary)
                else:
                    data, source = sock.recvfrom(MAX_DATAGRAM)
            except _FULL:
                self._untried = _UNTRIED if reads == 1 else 0
                break
            except OSError as error:
                if error.errno == errno.EBADF:
                    raise
                self.errors += 1
                continue
            reads += 1
            length = len(data)
            batch.append((data, source, size if size < length else 0))
            received += length
            if received >= _RECEIVED_AT_ONCE:
                break
            if self._untried and not size:
                self._untried -= 1
                break
        return batch


def _joined_size(ancillary: list[tuple[int, int, bytes]]) -> int:
    """The size of the datagrams that were joined; 0 if none were."""
    for level, kind, value in ancillary:
        if level == _SOL_UDP and kind == _UDP_GRO and len(value) >= _JOINED_SIZE.size:
            size: int = _JOINED_SIZE.unpack_from(value)[0]
            return size
    return 0
