"""Partial files: where they are, whose they are, and what of them is known.

For each item (what `send` was given: a file or a folder) there is, in the folder that receives:

``NAME.part``
    what has arrived: a file, or a folder with everything that is in it. Nothing has its own name
    before all of the item is there, and every checksum was the sender's.
``NAME.part.journal``
    one JSON object that says whose partial file that is: the mark of the item that the sender has
    given it, and whether the item has its name already. A partial file without it, or with
    another's, is not touched: the next free ``NAME.1.part`` is used.

How much has arrived is not written down: it is the size of the partial file. Before more is added,
the SHA-256 of all of it is compared with that of the sender's file, so nothing is believed of a
disk that lost power, or of a source that has changed.

Links are never followed, neither where partial files are nor where things get their names.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs

from rtcsctp.cli.transfer.errors import TransferError

__all__ = [
    "BINARY",
    "NO_LINK",
    "Checksums",
    "Item",
    "is_journal",
    "partial_for",
    "real_status",
    "steps",
]

BINARY: Final[int] = getattr(os, "O_BINARY", 0)  # Windows would translate line ends
NO_LINK: Final[int] = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)

_MARK: Final = "rtcsctp-transfer"
_VERSION: Final = 1
_MAX_JOURNAL: Final = 4096  # bytes
_TRIES: Final = 1000  # names with a number
_HASHED: Final = 1 << 20  # bytes read in one go


@attrs.define(eq=False)
class Item:
    """An item on its way.

    Attributes:
        mark: which the sender has given it.
        top: its name here, before anything that is in the way.
        sent: its name on the other side.
        is_folder: or else a file.
        target: where it is going to be.
        part: its partial file, there or not.
        saved: it has its name already, by its journal.
        entries: the way from its top to each of its entries, by their numbers in the list.
        missing: entries that have not arrived.
    """

    mark: str
    top: str
    sent: str
    is_folder: bool
    target: Path
    part: Path
    saved: bool = False
    entries: dict[int, tuple[str, ...]] = attrs.field(factory=dict)
    missing: int = 0
    _made: set[Path] = attrs.field(factory=set, init=False)
    """Folders of the partial file that are known to be folders."""

    @property
    def journal(self) -> Path:
        """Says whose the partial file is."""
        return _journal_of(self.part)

    def staged(self, index: int) -> Path:
        """Where an entry is while it arrives."""
        return self.part.joinpath(*self.entries[index])

    def placed(self, index: int) -> Path:
        """Where an entry is going to be."""
        return self.target.joinpath(*self.entries[index])

    def make_journal(self, saved: str | None = None) -> None:
        """Say whose the partial file is, before there is one; and under which name it was saved."""
        if saved is None and os.path.lexists(self.journal):
            return
        record: dict[str, object] = {
            _MARK: _VERSION,
            "item": self.mark,
            "name": self.sent,
            "folder": self.is_folder,
        }
        if saved is not None:
            record["saved"] = saved
            with suppress(FileNotFoundError):
                self.journal.unlink()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY | NO_LINK
        descriptor = os.open(self.journal, flags, 0o666)
        try:
            os.write(descriptor, json.dumps(record).encode() + b"\n")
        finally:
            os.close(descriptor)

    def make_folders(self, folder: Path) -> None:
        """Make the folders of the partial file; what is there must be a folder, and no link.

        Raises:
            TransferError: it is something else.
        """
        if not self.is_folder:
            return
        for step in [self.part, *steps(self.part, folder)]:
            if step in self._made:
                continue
            with suppress(FileExistsError):
                step.mkdir()
            if not stat.S_ISDIR(step.lstat().st_mode):
                raise TransferError(f"{step} is in the way: it is no folder")
            self._made.add(step)

    def drop(self) -> None:
        """Remove a partial file for which there is no use any more."""
        with suppress(OSError):
            if not self.is_folder and is_journal(self.journal):
                self.part.unlink()


def partial_for(
    folder: Path, mark: str, name: str, *, is_folder: bool, reserved: Collection[str]
) -> tuple[Path, str | None]:
    """The partial file of an item, there or not; and its name, if it has it already.

    Args:
        folder: that receives.
        mark: of the item.
        name: that it is going to have.
        is_folder: or else it is a file.
        reserved: names that items are going to have: no partial file may.

    Raises:
        TransferError: too many names are taken.
    """
    for number in range(_TRIES):
        middle = f".{number}" if number else ""
        part = folder / f"{name}{middle}.part"
        journal = _journal_of(part)
        if part.name in reserved or journal.name in reserved:
            continue
        record = _read_journal(journal)
        if record is None:
            if os.path.lexists(part) or os.path.lexists(journal):
                continue
            return part, None
        if record.get("item") == mark and record.get("folder") is is_folder:
            saved = record.get("saved")
            if isinstance(saved, str) and Path(saved).name == saved:
                return part, saved if os.path.lexists(folder / saved) else None
            wanted = stat.S_ISDIR if is_folder else stat.S_ISREG
            if not os.path.lexists(part) or wanted(part.lstat().st_mode):
                return part, None
    raise TransferError(f"too many partial files of the name {name} in {folder}")


def _journal_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.journal")


def is_journal(path: Path) -> bool:
    """Whether a file is a journal of ours."""
    return _read_journal(path) is not None


def _read_journal(path: Path) -> dict[str, Any] | None:
    """What a journal says; None if it is not there, or not one of ours."""
    try:
        descriptor = os.open(path, os.O_RDONLY | BINARY | NO_LINK)
        try:
            value = json.loads(os.read(descriptor, _MAX_JOURNAL))
        finally:
            os.close(descriptor)
    except (OSError, ValueError):
        return None
    if not isinstance(value, dict) or value.get(_MARK) != _VERSION:
        return None
    return value


def steps(root: Path, path: Path) -> list[Path]:
    """The folders from below `root` to `path`."""
    found, here = [], root
    for name in path.relative_to(root).parts:
        here /= name
        found.append(here)
    return found


def real_status(root: Path, path: Path) -> os.stat_result:
    """The status of a file, if the way from `root` to it has no links.

    Raises:
        OSError: there is none.
    """
    if path != root:
        for step in [root, *steps(root, path.parent)]:
            if not stat.S_ISDIR(step.lstat().st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(step))
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return status


# ------------------------------------------------------------------------------------- checksums


@attrs.frozen
class _Known:
    size: int
    mtime_ns: int
    digest: Any


class Checksums:
    """The SHA-256 of files that are there; computed once, as long as a file stays as it is."""

    def __init__(self, on_hash: Callable[[int], object]) -> None:
        """`on_hash` is told how many bytes were read."""
        self._on_hash = on_hash
        self._known: dict[Path, _Known] = {}

    def of(self, path: Path, status: os.stat_result) -> Any:
        """The SHA-256 object of all of a file with this status.

        Raises:
            TransferError: it cannot be read, or changes meanwhile.
        """
        size, mtime_ns = status.st_size, status.st_mtime_ns
        known = self._known.get(path)
        if known is None or (known.size, known.mtime_ns) != (size, mtime_ns):
            known = self._known[path] = _Known(size, mtime_ns, self._hash(path, size))
        return known.digest

    def remember(self, path: Path, size: int, mtime_ns: int, digest: Any) -> None:
        """It was computed while the file was written."""
        self._known[path] = _Known(size, mtime_ns, digest)

    def forget(self, path: Path) -> None:
        """The file is going to change."""
        self._known.pop(path, None)

    def _hash(self, path: Path, size: int) -> Any:
        digest, rest = hashlib.sha256(), size
        try:
            descriptor = os.open(path, os.O_RDONLY | BINARY | NO_LINK)
            try:
                while rest and (data := os.read(descriptor, min(rest, _HASHED))):
                    digest.update(data)
                    rest -= len(data)
                    self._on_hash(len(data))
            finally:
                os.close(descriptor)
        except OSError as error:
            raise TransferError(f"cannot read {path}: {error.strerror or error}") from error
        if rest:
            raise TransferError(f"{path} has become shorter while it was read")
        return digest
