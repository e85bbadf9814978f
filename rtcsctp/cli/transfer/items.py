"""What is sent: files, folders and standard input, as a list of entries and their bytes.

A folder is listed with everything in it, empty folders too. In it, links to files are sent as
files; links to folders are left out (they may lead in circles), and so is what is neither a file
nor a folder: `Items.skipped` says what.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

import trio

from rtcsctp.cli.transfer.errors import TransferError
from rtcsctp.cli.transfer.messages import MAX_PATH, Entry, Have
from rtcsctp.cli.transfer.names import MAX_DEPTH, MAX_NAME

__all__ = ["MAX_ENTRIES", "STANDARD_INPUT", "FileContent", "Items", "PipeContent"]

STANDARD_INPUT: Final = "-"
MAX_ENTRIES: Final = 250_000  # of a transfer

_READ: Final = 1 << 20  # bytes read in one go: a hop to a thread costs several packets
_PIPE_KEEPS: Final = 16 << 20
"""Bytes of a pipe that are kept until the other side has them; then it is read no further. More
than is ever on its way at 100 ms and 100 MB/s."""
_BINARY: Final[int] = getattr(os, "O_BINARY", 0)  # Windows would translate line ends
_NO_WAIT: Final[int] = getattr(os, "O_NONBLOCK", 0)  # a named pipe that has come meanwhile


class Content(Protocol):
    """The bytes of an entry, in order, from where the other side already has them."""

    async def resume(self, have: Have | None) -> int:
        """Where to begin: after what the other side has, if these are the bytes of this."""

    async def read(self) -> bytes:
        """The next bytes; none at the end."""

    def confirm(self, size: int) -> None:
        """So many bytes have arrived."""

    @property
    def sha256(self) -> str:
        """Of everything up to where it was read."""

    def close(self) -> None:
        """It is not needed any more for now."""


class FileContent:
    """The bytes of a file."""

    def __init__(self, path: Path, size: int) -> None:
        """
        Raises:
            TransferError: it cannot be read, or is no file any more.
        """
        self._name = path
        self._size = size
        self._at = 0
        self._digest = hashlib.sha256()
        try:
            self._descriptor = os.open(path, os.O_RDONLY | _BINARY | _NO_WAIT)
        except OSError as error:
            raise _unreadable(path, error) from error
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            self.close()
            raise TransferError(f"cannot read {path}: it is no file any more")

    async def resume(self, have: Have | None) -> int:
        """Where to begin: at 0, if what the other side has is not the beginning of this file."""
        if have is None or not 0 < have.size <= self._size:
            return 0
        while self._at < have.size and await self._advance(have.size):
            pass
        if self._at == have.size and self._digest.hexdigest() == have.sha256:
            return have.size
        self._at, self._digest = 0, hashlib.sha256()
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        return 0

    async def read(self) -> bytes:
        """The next bytes; none at the end.

        Raises:
            TransferError: it cannot be read, or has become shorter.
        """
        data = await self._advance(self._size)
        if not data and self._at < self._size:
            raise TransferError(f"{self._name} has become shorter while it was sent")
        return data

    def confirm(self, size: int) -> None:
        """Means nothing here: a file can be read again."""

    async def _advance(self, end: int) -> bytes:
        return await trio.to_thread.run_sync(self._read, min(_READ, end - self._at))

    def _read(self, size: int) -> bytes:
        try:
            data = os.read(self._descriptor, size) if size else b""
        except OSError as error:
            raise _unreadable(self._name, error) from error
        self._digest.update(data)
        self._at += len(data)
        return data

    @property
    def sha256(self) -> str:
        """Of everything up to where it was read."""
        return self._digest.hexdigest()

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class PipeContent:
    """The bytes of standard input, which can be read once.

    What has not been confirmed is kept, so that another connection can go on.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._kept: deque[bytes] = deque()
        self._base = 0
        """Where the kept bytes begin."""
        self._base_digest = hashlib.sha256()
        self._digest = hashlib.sha256()
        self._read_to = 0
        self._next = 0
        """How many kept pieces have been sent on this connection."""
        self._room = trio.Event()

    async def resume(self, have: Have | None) -> int:
        """Where to begin: where the other side's bytes end.

        Raises:
            TransferError: that is nowhere in what is kept.
        """
        await trio.lowlevel.checkpoint()
        size = 0 if have is None else have.size
        self.confirm(size)
        if self._base != size or (
            have is not None and size and self._base_digest.hexdigest() != have.sha256
        ):
            raise TransferError(
                "standard input cannot be read again, and the other side lacks its beginning; "
                "start both sides again"
            )
        self._next = 0
        return size

    async def read(self) -> bytes:
        """The next bytes; none at the end.

        Raises:
            TransferError: standard input cannot be read.
        """
        if self._next < len(self._kept):
            self._next += 1
            await trio.lowlevel.checkpoint()
            return self._kept[self._next - 1]
        while self._read_to - self._base >= _PIPE_KEEPS:
            self._room = trio.Event()
            await self._room.wait()
        try:
            # Who writes into the pipe may take his time: the thread is left behind at Ctrl-C.
            data = await trio.to_thread.run_sync(
                os.read, self._descriptor, _READ, abandon_on_cancel=True
            )
        except OSError as error:
            raise _unreadable("standard input", error) from error
        if data:
            self._digest.update(data)
            self._read_to += len(data)
            self._kept.append(data)
            self._next += 1
        return data

    def confirm(self, size: int) -> None:
        """So many bytes have arrived: they need not be kept."""
        while self._kept and size > self._base:
            piece = self._kept.popleft()
            done = min(len(piece), size - self._base)
            self._base_digest.update(piece[:done])
            self._base += done
            if done < len(piece):
                self._kept.appendleft(piece[done:])
                break
            self._next = max(0, self._next - 1)
        self._room.set()

    @property
    def sha256(self) -> str:
        """Of everything that was read."""
        return self._digest.hexdigest()

    def close(self) -> None:
        """Means nothing here: another connection goes on with it."""


class Items:
    """What is sent.

    Attributes:
        entries: all of it, folders before what is in them.
        total: bytes in all; None if nobody knows before the end.
        skipped: lines about what is left out.
    """

    def __init__(self) -> None:
        """Use `Items.of`."""
        self.entries: list[Entry] = []
        self.total: int | None = 0
        self.skipped: list[str] = []
        self._paths: list[Path | None] = []
        self._pipe: PipeContent | None = None

    @classmethod
    def of(cls, words: Sequence[str], *, name: str | None = None, stdin: int | None = 0) -> Items:
        """What the arguments of `send` mean.

        Args:
            words: files and folders, or "-".
            name: what it is called on the other side, in place of its own name; for one item.
            stdin: the descriptor for "-"; None: there is none.

        Raises:
            TransferError: something is missing, cannot be read, or cannot be sent.
        """
        items = cls()
        taken: dict[str, str] = {}
        for word in words:
            own = name if name is not None else items.name_of(word)
            if own in taken:
                raise TransferError(
                    f"{taken[own]} and {word} would have the same name on the other side: {own!r}"
                )
            taken[own] = word
            if word == STANDARD_INPUT:
                items.add_pipe(own, stdin)
            else:
                items.add_path(own, Path(word))
        return items

    @staticmethod
    def name_of(word: str) -> str:
        """The name of an item by itself."""
        if word == STANDARD_INPUT:
            return "stdin"
        name = Path(word).name
        return (
            name
            if name not in {"", "."} and ".." not in Path(word).parts[-1:]
            else Path(os.path.realpath(word)).name
        )

    def add_pipe(self, name: str, descriptor: int | None) -> None:
        """Standard input.

        Raises:
            TransferError: it is closed, or a folder.
        """
        if descriptor is None:
            raise TransferError("cannot read standard input: it is closed")
        try:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise TransferError("cannot read standard input: it is a folder")
        except OSError as error:
            raise _unreadable("standard input", error) from error
        self._pipe = PipeContent(descriptor)
        self._add(Entry(item=secrets.token_hex(16), path=(name,)), None)
        self.total = None

    def add_path(self, name: str, path: Path) -> None:
        """A file, or a folder with everything in it.

        Raises:
            TransferError: it is missing or cannot be read.
        """
        try:
            status = path.stat()
            item = _identity(path, status)
        except OSError as error:
            raise _unreadable(path, error) from error
        if stat.S_ISREG(status.st_mode):
            self._add_file(item, (name,), path, status)
        elif stat.S_ISDIR(status.st_mode):
            self._add_folder(item, (name,), path, status)
        else:
            raise TransferError(f"cannot send {path}: it is neither a file nor a folder")

    def _add_folder(
        self, item: str, names: tuple[str, ...], path: Path, status: os.stat_result
    ) -> None:
        self._add(Entry(item=item, path=names, is_folder=True, mtime=status.st_mtime), None)
        try:
            with os.scandir(path) as found:
                inside = sorted(found, key=lambda entry: entry.name)
            for entry in inside:
                self._add_inner(item, (*names, entry.name), entry)
        except OSError as error:
            where = error.filename if isinstance(error.filename, str) else path
            raise _unreadable(where, error) from error

    def _add_inner(self, item: str, names: tuple[str, ...], entry: os.DirEntry[str]) -> None:
        path = Path(entry.path)
        try:
            status = entry.stat()
        except FileNotFoundError:
            if not entry.is_symlink():
                raise
            self.skipped.append(f"{path}: a link to nothing")
            return
        if stat.S_ISREG(status.st_mode):
            self._add_file(item, names, path, status)
        elif not stat.S_ISDIR(status.st_mode):
            self.skipped.append(f"{path}: neither a file nor a folder")
        elif entry.is_symlink():
            self.skipped.append(f"{path}: a link to a folder")
        else:
            self._add_folder(item, names, path, status)

    def _add_file(
        self, item: str, names: tuple[str, ...], path: Path, status: os.stat_result
    ) -> None:
        if not os.access(path, os.R_OK):
            raise TransferError(f"cannot read {path}: Permission denied")
        entry = Entry(
            item=item,
            path=names,
            size=status.st_size,
            mtime=status.st_mtime,
            executable=bool(status.st_mode & stat.S_IXUSR),
        )
        self._add(entry, path)
        if self.total is not None:
            self.total += status.st_size

    def _add(self, entry: Entry, path: Path | None) -> None:
        name = entry.path[-1]
        try:
            length = len(name.encode())
        except UnicodeEncodeError:
            raise TransferError(f"cannot send {path}: its name is no text in UTF-8") from None
        if length > MAX_NAME:
            raise TransferError(f"cannot send {path}: its name has more than {MAX_NAME} bytes")
        if len(entry.path) > MAX_DEPTH or sum(map(len, entry.path)) > MAX_PATH:
            raise TransferError(f"cannot send {path}: more than {MAX_DEPTH} folders deep")
        if len(self.entries) >= MAX_ENTRIES:
            raise TransferError(
                f"more than {MAX_ENTRIES:,} files and folders; pack them first, "
                "as in: tar c FOLDER | rtcsctp send -"
            )
        self.entries.append(entry)
        self._paths.append(path)

    def open(self, index: int) -> FileContent | PipeContent:
        """The content of an entry that is a file.

        Raises:
            TransferError: it cannot be read.
        """
        path, size = self._paths[index], self.entries[index].size
        if path is None:
            assert self._pipe is not None
            return self._pipe
        assert size is not None
        return FileContent(path, size)

    @property
    def files(self) -> Iterator[int]:
        """The entries that have content."""
        return (i for i, entry in enumerate(self.entries) if not entry.is_folder)


def _identity(path: Path, status: os.stat_result) -> str:
    """What makes an item the same when it is sent again: where it is, and on which computer."""
    where = f"{socket.gethostname()}\0{os.path.realpath(path)}\0{status.st_dev}\0{status.st_ino}"
    return hashlib.sha256(where.encode(errors="surrogateescape")).hexdigest()[:32]


def _unreadable(name: object, error: OSError) -> TransferError:
    return TransferError(f"cannot read {name}: {error.strerror or error}")
