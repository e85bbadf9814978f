"""Where received files go: partial files with a journal, and their names at the end.

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

A file that is there already with the very content that is offered counts as received, so that a
transfer can be repeated after it ended between two items. Anything else that is in the way is
refused, replaced or avoided, as `Conflict` says. Links are never followed, neither where partial
files are nor where things get their names; the folder itself may be one.

All of this blocks; `rtcsctp.cli.transfer.receiving` calls it in threads.
"""

from __future__ import annotations

import enum
import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

import attrs

from rtcsctp.cli.transfer.errors import TransferError
from rtcsctp.cli.transfer.messages import Entry, Have
from rtcsctp.cli.transfer.names import collision_key, safe_path
from rtcsctp.cli.units import format_size

__all__ = ["Conflict", "Folder", "Saved", "Storage", "StreamOut"]

_MARK: Final = "rtcsctp-transfer"
_VERSION: Final = 1
_MAX_JOURNAL: Final = 4096  # bytes
_TRIES: Final = 1000  # names with a number
_HASHED: Final = 1 << 20  # bytes read in one go
_SYNCED: Final = 1 << 20  # bytes of a file that is worth an fsync() of its own
_BINARY: Final[int] = getattr(os, "O_BINARY", 0)  # Windows would translate line ends
_NO_LINK: Final[int] = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


class Conflict(enum.Enum):
    """What to do where something has the name already."""

    REFUSE = "refuse"
    OVERWRITE = "overwrite"
    """Files are replaced; a folder gets what is new, and keeps what else is in it."""
    RENAME = "rename"
    """The new one gets a number."""


@attrs.frozen
class Saved:
    """An item that has arrived.

    Attributes:
        sent: its name on the other side.
        path: where it is; None: it went to standard output.
        is_old: it was there already.
    """

    sent: str
    path: Path | None
    is_old: bool = False


class Storage(Protocol):
    """Takes what is received. The methods block, and raise `TransferError`."""

    def begin(self, entries: Sequence[Entry]) -> dict[int, Have]:
        """What is going to come; gives what of it is here already."""

    def open(self, index: int, offset: int) -> None:
        """The bytes of an entry from there on are next."""

    def write(self, data: bytes) -> int:
        """The next bytes; gives how many of the entry there are now."""

    def end(self, size: int, sha256: str) -> None:
        """That was all of it: check that it is what was sent."""

    def finish(self) -> list[Saved]:
        """That was everything."""

    def close(self) -> None:
        """The connection ended; what has arrived is kept."""

    def kept(self) -> list[Path]:
        """The partial files that are there now."""


class StreamOut:
    """Standard output, for one file."""

    def __init__(
        self, descriptor: int, *, write: Callable[[int, memoryview], int] = os.write
    ) -> None:
        self._descriptor = descriptor
        self._write = write
        self._digest = hashlib.sha256()
        self._size = 0
        self._item: tuple[str, tuple[str, ...]] | None = None

    def begin(self, entries: Sequence[Entry]) -> dict[int, Have]:
        """What is going to come: one file.

        Raises:
            TransferError: more than that.
        """
        if len(entries) != 1 or entries[0].is_folder:
            raise TransferError(
                "standard output takes a single file, and this is more; receive it into a folder"
            )
        item = (entries[0].item, entries[0].path)
        if self._item not in {None, item}:
            raise TransferError("another file is sent now than before; start both sides again")
        self._item = item
        return {0: Have(self._size, self._digest.hexdigest())} if self._size else {}

    def open(self, _index: int, offset: int) -> None:
        """The bytes from there on are next."""
        if offset != self._size:
            raise TransferError("the file has changed, and its beginning is already written")

    def write(self, data: bytes) -> int:
        """Write the next bytes."""
        rest = memoryview(data)
        try:
            while rest:
                done = self._write(self._descriptor, rest)
                self._digest.update(rest[:done])
                self._size += done
                rest = rest[done:]
        except OSError as error:
            raise _unwritable("standard output", error) from error
        return self._size

    def end(self, size: int, sha256: str) -> None:
        """That was all of it."""
        _check(size, sha256, self._size, self._digest.hexdigest(), "standard output")

    def finish(self) -> list[Saved]:
        """That was everything."""
        assert self._item is not None
        return [Saved(self._item[1][0], None)]

    def close(self) -> None:
        """The connection ended; another can go on."""

    def kept(self) -> list[Path]:
        """There are no partial files."""
        return []


@attrs.define(eq=False)
class _Item:
    """An item on its way."""

    mark: str
    name: str
    sent: str
    is_folder: bool
    target: Path
    part: Path
    journal: Path
    saved: bool = False
    """It has its name already, by its journal."""
    old: bool = False
    """It was there with the same content."""
    made: set[Path] = attrs.field(factory=set)
    """Folders below `part` that are known to be folders."""
    entries: list[int] = attrs.field(factory=list)
    missing: int = 0
    """Entries that have not arrived."""


@attrs.frozen
class _Known:
    """The checksum of all of a file, computed in this run."""

    size: int
    mtime_ns: int
    digest: Any


class Folder:
    """A folder that receives.

    Attributes:
        path: where.
    """

    def __init__(
        self,
        path: Path,
        conflict: Conflict = Conflict.REFUSE,
        *,
        write: Callable[[int, memoryview], int] = os.write,
        on_hash: Callable[[int], object] = lambda _size: None,
    ) -> None:
        """
        Args:
            path: the folder; it is made if it does not exist, but not its parents.
            conflict: what to do where something has a name already.
            write: writes to a descriptor, like `os.write`.
            on_hash: is told how many bytes of what is there were read.
        """
        self.path = path
        self._conflict = conflict
        self._write = write
        self._on_hash = on_hash
        self._entries: list[Entry] = []
        self._paths: list[tuple[str, ...]] = []
        self._items: dict[str, _Item] = {}
        self._of: list[_Item] = []
        self._existing: set[int] = set()
        """Entries whose content is where it belongs already, if the sender agrees."""
        self._known: dict[Path, _Known] = {}
        self._saved: dict[str, Path] = {}
        """Items that have got their names in this run."""
        self._reserved: set[str] = set()
        """Names that items are going to have: no partial file may."""
        self._complete: set[int] = set()
        self._descriptor: int | None = None
        self._index = 0
        self._at = 0
        self._digest = hashlib.sha256()

    # ---------------------------------------------------------------------------- the list

    def begin(self, entries: Sequence[Entry]) -> dict[int, Have]:
        """What is going to come; gives what of it is here already.

        Raises:
            TransferError: it cannot be taken: impossible names, something in the way, no room.
        """
        self.close()
        self._entries = list(entries)
        self._items, self._of = {}, []
        self._existing, self._complete = set(), set()
        self._paths = [safe_path(entry.path) for entry in entries]
        self._check_paths()
        try:
            self.path.mkdir(exist_ok=True)
            if not os.access(self.path, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self._reserved = {path[0] for path in self._paths}
        for index, entry in enumerate(self._entries):
            self._assign(index, entry)
        found: dict[int, Have] = {}
        for index, entry in enumerate(self._entries):
            if not entry.is_folder and (have := self._find(index)) is not None:
                found[index] = have
        self._check_room(found)
        return found

    def _check_paths(self) -> None:
        """Every folder comes before what is in it, and nothing comes twice."""
        folders: dict[tuple[str, ...], str] = {}
        seen: set[tuple[str, ...]] = set()
        for entry, path in zip(self._entries, self._paths, strict=True):
            key = collision_key(path)
            shown = "/".join(path)
            if key in seen:
                raise TransferError(f"two of the files would have the same name here: {shown}")
            seen.add(key)
            if len(path) > 1 and folders.get(key[:-1]) != entry.item:
                raise TransferError(f"the other side sends {shown} without its folder")
            if entry.is_folder:
                folders[key] = entry.item

    def _assign(self, index: int, entry: Entry) -> None:
        item = self._items.get(entry.item)
        name = self._paths[index][0]
        if item is None or item.name != name:
            if item is not None:
                raise TransferError("the other side gives two items the same mark")
            item = self._items[entry.item] = self._new_item(entry, name)
        item.entries.append(index)
        item.missing += 1
        self._of.append(item)

    def _new_item(self, entry: Entry, name: str) -> _Item:
        target = self.path / name
        part, saved = self._part_for(entry.item, name, entry.is_folder)
        item = _Item(
            entry.item, name, entry.path[0], entry.is_folder, target, part, _journal_of(part)
        )
        if entry.item in self._saved:
            item.target, item.saved = self._saved[entry.item], True
        elif saved is not None:
            item.target, item.saved = self.path / saved, True
        if item.saved or not os.path.lexists(target):
            return item
        mode = target.lstat().st_mode
        wanted = stat.S_ISDIR if entry.is_folder else stat.S_ISREG
        if self._conflict is Conflict.RENAME:
            return item
        if self._conflict is Conflict.OVERWRITE:
            if _read_journal(_journal_of(target)) is not None:
                raise TransferError(f"{target} is what has arrived of something else")
            if not wanted(mode) and (stat.S_ISDIR(mode) or entry.is_folder):
                what = "a folder" if stat.S_ISDIR(mode) else "no folder"
                raise TransferError(f"{target} is {what}, and cannot be replaced")
            return item
        if not entry.is_folder and stat.S_ISREG(mode) and target.lstat().st_size == entry.size:
            return item  # perhaps the same; see `_find`
        raise _in_the_way(target)

    def _part_for(self, mark: str, name: str, is_folder: bool) -> tuple[Path, str | None]:
        """The partial file of an item, there or not; and its name, if it has it already."""
        for number in range(_TRIES):
            middle = f".{number}" if number else ""
            part = self.path / f"{name}{middle}.part"
            journal = _journal_of(part)
            if self._reserved & {part.name, journal.name}:
                continue
            record = _read_journal(journal)
            if record is None:
                if os.path.lexists(part) or os.path.lexists(journal):
                    continue
                return part, None
            if record.get("item") == mark and record.get("folder") is is_folder:
                saved = record.get("saved")
                if isinstance(saved, str) and Path(saved).name == saved:
                    return part, saved if os.path.lexists(self.path / saved) else None
                wanted = stat.S_ISDIR if is_folder else stat.S_ISREG
                if not os.path.lexists(part) or wanted(part.lstat().st_mode):
                    return part, None
        raise TransferError(f"too many partial files of the name {name} in {self.path}")

    def _find(self, index: int) -> Have | None:
        """What of a file is here."""
        item, entry = self._of[index], self._entries[index]
        own = self._inside(item.target, index)
        if item.saved or self._conflict is not Conflict.RENAME or not item.is_folder:
            try:
                status = _real_status(item.target, own)
            except OSError:
                status = None
            if status is not None and status.st_size == entry.size:
                self._existing.add(index)
                return Have(status.st_size, self._hash(own, status).hexdigest())
            if item.saved:
                raise TransferError(
                    f"{item.target} was received before, and has changed since; move it away"
                )
        staged = self._inside(item.part, index)
        try:
            status = _real_status(item.part, staged)
        except OSError:
            return None
        if entry.size is not None and status.st_size > entry.size:
            return None
        if not status.st_size:
            return None
        return Have(status.st_size, self._hash(staged, status).hexdigest())

    def _hash(self, path: Path, status: os.stat_result) -> Any:
        """The SHA-256 object of all of a file."""
        size, mtime_ns = status.st_size, status.st_mtime_ns
        known = self._known.get(path)
        if known is None or (known.size, known.mtime_ns) != (size, mtime_ns):
            digest = _hash_file(path, size, self._on_hash)
            known = self._known[path] = _Known(size, mtime_ns, digest)
        return known.digest

    def _inside(self, root: Path, index: int) -> Path:
        return root.joinpath(*self._paths[index][1:])

    def _check_room(self, found: dict[int, Have]) -> None:
        needed = sum(
            (entry.size or 0) - (found[index].size if index in found else 0)
            for index, entry in enumerate(self._entries)
        )
        with suppress(OSError):
            free = shutil.disk_usage(self.path).free
            if needed > free:
                raise TransferError(
                    f"not enough room in {self.path}: {format_size(needed)} are to come, and "
                    f"{format_size(free)} are free"
                )

    # ----------------------------------------------------------------------------- content

    def open(self, index: int, offset: int) -> None:
        """The bytes of an entry from there on are next.

        Raises:
            TransferError: it is in the way of something, or cannot be written.
        """
        item, entry = self._of[index], self._entries[index]
        assert not entry.is_folder
        self._index, self._at = index, offset
        if index in self._existing:
            if offset == entry.size:
                self._digest = hashlib.sha256()
                return
            self._existing.discard(index)
            if item.saved or self._conflict is Conflict.REFUSE:
                raise _in_the_way(self._inside(item.target, index))
        staged = self._inside(item.part, index)
        try:
            self._make_journal(item)
            self._make_folders(item, staged.parent)
            if offset:
                status = _real_status(item.part, staged)
                if status.st_size != offset:
                    raise TransferError(
                        f"the other side goes on at an impossible place of {staged}"
                    )
                self._digest = self._hash(staged, status).copy()
            else:
                self._digest = hashlib.sha256()
            self._known.pop(staged, None)
            flags = os.O_WRONLY | os.O_CREAT | _BINARY | _NO_LINK
            self._descriptor = os.open(staged, flags, 0o666)
            if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                raise TransferError(f"{staged} is no file")
            os.ftruncate(self._descriptor, offset)
            os.lseek(self._descriptor, offset, os.SEEK_SET)
        except OSError as error:
            raise _unwritable(staged, error) from error

    def write(self, data: bytes) -> int:
        """Write the next bytes; gives how many there are now.

        Raises:
            TransferError: more than was announced; the disk is full, or the like.
        """
        size = self._entries[self._index].size
        if size is not None and self._at + len(data) > size:
            raise TransferError("the other side sends more bytes than it has announced")
        if self._descriptor is None:
            raise TransferError("the other side sends bytes that belong to no file")
        rest = memoryview(data)
        try:
            while rest:
                done = self._write(self._descriptor, rest)
                self._digest.update(rest[:done])
                self._at += done
                rest = rest[done:]
        except OSError as error:
            raise _unwritable(self._shown(self._index), error) from error
        return self._at

    def end(self, size: int, sha256: str) -> None:
        """That was all of a file.

        Raises:
            TransferError: it is not what was sent; nothing is kept of it.
        """
        index, entry = self._index, self._entries[self._index]
        item, shown = self._of[index], self._shown(index)
        if index in self._existing:
            self._arrived(index)
            return
        assert self._descriptor is not None
        staged = self._inside(item.part, index)
        try:
            if self._at == size and size >= _SYNCED:
                os.fsync(self._descriptor)
            mode = os.fstat(self._descriptor).st_mode
            if entry.executable and hasattr(os, "fchmod"):
                # As far as the files may be read: what the umask has left.
                os.fchmod(self._descriptor, mode | (mode & 0o444) >> 2)
            self._close()
            if entry.mtime is not None:
                os.utime(staged, (entry.mtime, entry.mtime))
            status = staged.lstat()
        except OSError as error:
            raise _unwritable(shown, error) from error
        ours = self._digest.hexdigest()
        if ours != sha256:
            with suppress(OSError):
                staged.unlink()
        _check(size, sha256, self._at, ours, shown)
        self._known[staged] = _Known(size, status.st_mtime_ns, self._digest)
        self._arrived(index)

    def _arrived(self, index: int) -> None:
        if index not in self._complete:
            self._complete.add(index)
            self._of[index].missing -= 1

    def _shown(self, index: int) -> Path:
        return self.path.joinpath(*self._paths[index])

    def close(self) -> None:
        """The connection ended; what has arrived is kept."""
        with suppress(OSError):
            if self._descriptor is not None:
                mtime_ns = os.fstat(self._descriptor).st_mtime_ns
                staged = self._inside(self._of[self._index].part, self._index)
                self._known[staged] = _Known(self._at, mtime_ns, self._digest)
            self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _make_journal(self, item: _Item, saved: str | None = None) -> None:
        """Say whose the partial file is, before there is one."""
        if saved is None and os.path.lexists(item.journal):
            return
        record: dict[str, object] = {
            _MARK: _VERSION,
            "item": item.mark,
            "name": item.sent,
            "folder": item.is_folder,
        }
        if saved is not None:
            record["saved"] = saved
            with suppress(FileNotFoundError):
                item.journal.unlink()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY | _NO_LINK
        descriptor = os.open(item.journal, flags, 0o666)
        try:
            os.write(descriptor, json.dumps(record).encode() + b"\n")
        finally:
            os.close(descriptor)

    def _make_folders(self, item: _Item, folder: Path) -> None:
        """Make the folders of a partial file; what is there must be a folder, and no link."""
        if not item.is_folder:
            return
        for step in [item.part, *_steps(item.part, folder)]:
            if step in item.made:
                continue
            with suppress(FileExistsError):
                step.mkdir()
            if not stat.S_ISDIR(step.lstat().st_mode):
                raise TransferError(f"{step} is in the way: it is no folder")
            item.made.add(step)

    # ----------------------------------------------------------------------------- the end

    def finish(self) -> list[Saved]:
        """Everything has arrived: give the items their names.

        Raises:
            TransferError: something is missing, or has come into the way; it is kept.
        """
        for index, entry in enumerate(self._entries):
            if entry.is_folder:
                self._arrived(index)
        saved: list[Saved] = []
        for item in self._items.values():
            if item.missing:
                raise TransferError(f"the other side ends before all of {item.sent!r} is there")
            try:
                saved.append(self._finish(item))
            except OSError as error:
                reason = error.strerror or error
                raise TransferError(
                    f"cannot write {item.target}: {reason}; what was received is in {item.part}"
                ) from error
        for item in self._items.values():
            with suppress(OSError):
                item.journal.unlink()
        return saved

    def _finish(self, item: _Item) -> Saved:
        files = [index for index in item.entries if not self._entries[index].is_folder]
        is_there = item.saved or (files and self._existing.issuperset(files))
        if is_there and not (item.is_folder and not item.saved):
            self._drop(item)
            return Saved(item.sent, item.target, is_old=True)
        self._make_journal(item)
        if item.is_folder:
            self._complete_folder(item)
        if self._conflict is Conflict.OVERWRITE and os.path.lexists(item.target):
            self._replace(item)
            target = item.target
        else:
            target = self._give_name(item)
        self._saved[item.mark] = target
        if len(self._items) > 1:
            self._make_journal(item, saved=target.name)
        return Saved(item.sent, target)

    def _drop(self, item: _Item) -> None:
        """Remove a partial file for which there is no use any more."""
        with suppress(OSError):
            if not item.is_folder and _read_journal(item.journal) is not None:
                item.part.unlink()

    def _complete_folder(self, item: _Item) -> None:
        """Make its empty folders, remove what the sender has no more, set times."""
        wanted = {item.part}
        folders: list[tuple[Path, float | None]] = []
        for index in item.entries:
            path = self._inside(item.part, index)
            wanted.add(path)
            if self._entries[index].is_folder:
                self._make_folders(item, path)
                folders.append((path, self._entries[index].mtime))
        for here, inner, files in os.walk(item.part, topdown=False):
            for name in files:
                if Path(here, name) not in wanted:
                    Path(here, name).unlink()
            for name in inner:
                path = Path(here, name)
                if path.is_symlink():
                    path.unlink()
                elif path not in wanted:
                    path.rmdir()
        for path, mtime in reversed(folders):
            if mtime is not None:
                with suppress(OSError):
                    os.utime(path, (mtime, mtime))

    def _give_name(self, item: _Item) -> Path:
        """Rename, but do not replace what has appeared under the name meanwhile."""
        for number in range(_TRIES):
            target = item.target if not number else _numbered(item.target, number, item.is_folder)
            if not os.path.lexists(target):
                try:
                    _name_new(item.part, target, item.is_folder)
                except FileExistsError:
                    pass
                else:
                    return target
            if self._conflict is not Conflict.RENAME:
                raise TransferError(f"{_in_the_way(target)}; what was received is in {item.part}")
        raise TransferError(f"no free name for {item.target}; it is in {item.part}")

    def _replace(self, item: _Item) -> None:
        """Put an item in the place of what is there."""
        if not item.is_folder:
            item.part.replace(item.target)
            return
        for index in item.entries:
            own = self._inside(item.target, index)
            for step in [item.target, *_steps(item.target, own.parent)]:
                if not stat.S_ISDIR(step.lstat().st_mode):
                    raise TransferError(
                        f"{step} is in the way: it is no folder; what was received is in "
                        f"{item.part}"
                    )
            if self._entries[index].is_folder:
                if not os.path.lexists(own):
                    own.mkdir()
            elif index not in self._existing:
                self._inside(item.part, index).replace(own)
        shutil.rmtree(item.part, ignore_errors=True)

    def kept(self) -> list[Path]:
        """The partial files that are there now."""
        return [item.part for item in self._items.values() if os.path.lexists(item.part)]


def _steps(root: Path, path: Path) -> list[Path]:
    """The folders from below `root` to `path`."""
    steps, here = [], root
    for name in path.relative_to(root).parts:
        here /= name
        steps.append(here)
    return steps


def _real_status(root: Path, path: Path) -> os.stat_result:
    """The status of a file, if the way from `root` to it has no links.

    Raises:
        OSError: there is none.
    """
    if path != root:
        for step in [root, *_steps(root, path.parent)]:
            if not stat.S_ISDIR(step.lstat().st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(step))
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return status


def _hash_file(path: Path, size: int, on_hash: Callable[[int], object]) -> Any:
    """The SHA-256 object of a file of this size."""
    digest, rest = hashlib.sha256(), size
    try:
        descriptor = os.open(path, os.O_RDONLY | _BINARY | _NO_LINK)
        try:
            while rest and (data := os.read(descriptor, min(rest, _HASHED))):
                digest.update(data)
                rest -= len(data)
                on_hash(len(data))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise TransferError(f"cannot read {path}: {error.strerror or error}") from error
    if rest:
        raise TransferError(f"{path} has become shorter while it was read")
    return digest


def _journal_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.journal")


def _read_journal(path: Path) -> dict[str, Any] | None:
    """What a journal says; None if it is not there, or not one of ours."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _BINARY | _NO_LINK)
        try:
            value = json.loads(os.read(descriptor, _MAX_JOURNAL))
        finally:
            os.close(descriptor)
    except (OSError, ValueError):
        return None
    if not isinstance(value, dict) or value.get(_MARK) != _VERSION:
        return None
    return value


def _name_new(part: Path, target: Path, is_folder: bool) -> None:
    """Rename to a name that is free.

    Raises:
        FileExistsError: it is not any more.
    """
    if is_folder:
        part.rename(target)  # a folder that has appeared is replaced only if it is empty
        return
    try:
        target.hardlink_to(part)  # rename() would replace, on POSIX
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError from None
        part.rename(target)
    else:
        part.unlink()


def _numbered(target: Path, number: int, is_folder: bool) -> Path:
    """Like a.txt as "a (1).txt"."""
    stem, suffix = (target.name, "") if is_folder else (target.stem, target.suffix)
    return target.with_name(f"{stem} ({number}){suffix}")


def _check(size: int, sha256: str, our_size: int, ours: str, name: object) -> None:
    if our_size != size or ours != sha256:
        raise TransferError(
            f"what arrived of {name} is not what was sent (sha256 {ours}, should be {sha256})"
        )


def _in_the_way(target: Path) -> TransferError:
    return TransferError(
        f"{target} exists already; the receiver's option --overwrite replaces it, --rename keeps "
        "both"
    )


def _unwritable(name: object, error: OSError) -> TransferError:
    return TransferError(f"cannot write {name}: {error.strerror or error}")
