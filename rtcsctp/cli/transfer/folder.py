"""A folder that receives.

What arrives is put into partial files (`partial.py`), which get their names when all of an item is
there (`placing.py`). A file that is there already with the very content that is offered counts as
received, so that a transfer can be repeated after it ended between two items. Anything else that is
in the way is refused, replaced or avoided, as `Conflict` says. No link is followed below the
folder; the folder itself may be one.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from rtcsctp.cli.transfer.errors import TransferError
from rtcsctp.cli.transfer.messages import Entry, Have
from rtcsctp.cli.transfer.names import collision_key, safe_path
from rtcsctp.cli.transfer.partial import (
    BINARY,
    NO_LINK,
    Checksums,
    Item,
    is_journal,
    partial_for,
    real_status,
)
from rtcsctp.cli.transfer.placing import Conflict, complete_folder, give_name, in_the_way, replace
from rtcsctp.cli.transfer.storage import Saved, check_content, unwritable
from rtcsctp.cli.units import format_size

__all__ = ["Folder"]

_SYNCED: Final = 1 << 20  # bytes of a file that is worth an fsync() of its own


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
        self._entries: list[Entry] = []
        self._paths: list[tuple[str, ...]] = []
        self._items: dict[str, Item] = {}
        self._of: list[Item] = []
        self._existing: set[int] = set()
        """Entries whose content is where it belongs already, if the sender agrees."""
        self._checksums = Checksums(on_hash)
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

    def check(self) -> None:
        """Look whether something could be received here at all; nothing is made yet.

        Raises:
            TransferError: it could not.
        """
        try:
            if not stat.S_ISDIR(self.path.stat().st_mode):
                raise TransferError(f"cannot receive into {self.path}: it is no folder")
            where = self.path
        except FileNotFoundError:
            where = self.path.parent
        except OSError as error:
            raise unwritable(self.path, error) from error
        if not where.is_dir():
            raise TransferError(
                f"cannot receive into {self.path}: there is no folder {where} to make it in"
            )
        if not os.access(where, os.W_OK | os.X_OK):
            raise unwritable(self.path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))

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
        self.check()
        try:
            self.path.mkdir(exist_ok=True)
        except OSError as error:
            raise unwritable(self.path, error) from error
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
        top, *below = self._paths[index]
        if item is None:
            item = self._items[entry.item] = self._new_item(entry, top)
        elif item.top != top:
            raise TransferError("the other side gives two items the same mark")
        item.entries[index] = tuple(below)
        item.missing += 1
        self._of.append(item)

    def _new_item(self, entry: Entry, name: str) -> Item:
        target = self.path / name
        part, saved = partial_for(
            self.path, entry.item, name, is_folder=entry.is_folder, reserved=self._reserved
        )
        item = Item(entry.item, name, entry.path[0], entry.is_folder, target, part)
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
            if is_journal(target.with_name(f"{target.name}.journal")):
                raise TransferError(f"{target} is what has arrived of something else")
            if not wanted(mode) and (stat.S_ISDIR(mode) or entry.is_folder):
                what = "a folder" if stat.S_ISDIR(mode) else "no folder"
                raise TransferError(f"{target} is {what}, and cannot be replaced")
            return item
        if not entry.is_folder and stat.S_ISREG(mode) and target.lstat().st_size == entry.size:
            return item  # perhaps the same; see `_find`
        raise in_the_way(target)

    def _find(self, index: int) -> Have | None:
        """What of a file is here: under its name, or of its partial file."""
        item = self._of[index]
        if item.saved or self._conflict is Conflict.REFUSE:
            return self._find_saved(index) or self._find_staged(index)
        found = self._find_staged(index)
        if found is None and not (self._conflict is Conflict.RENAME and item.is_folder):
            found = self._find_saved(index)
        return found

    def _find_saved(self, index: int) -> Have | None:
        item, entry = self._of[index], self._entries[index]
        own = item.placed(index)
        try:
            status = real_status(item.target, own)
        except OSError:
            status = None
        if status is not None and status.st_size == entry.size:
            self._existing.add(index)
            return Have(status.st_size, self._checksums.of(own, status).hexdigest())
        if item.saved:
            raise TransferError(
                f"{item.target} was received before, and has changed since; move it away"
            )
        return None

    def _find_staged(self, index: int) -> Have | None:
        item, size = self._of[index], self._entries[index].size
        staged = item.staged(index)
        try:
            status = real_status(item.part, staged)
        except OSError:
            return None
        if not status.st_size or (size is not None and status.st_size > size):
            return None
        return Have(status.st_size, self._checksums.of(staged, status).hexdigest())

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
                raise in_the_way(item.placed(index))
        staged = item.staged(index)
        try:
            item.make_journal()
            item.make_folders(staged.parent)
            if offset:
                status = real_status(item.part, staged)
                if status.st_size != offset:
                    raise TransferError(
                        f"the other side goes on at an impossible place of {staged}"
                    )
                self._digest = self._checksums.of(staged, status).copy()
            else:
                self._digest = hashlib.sha256()
            self._checksums.forget(staged)
            flags = os.O_WRONLY | os.O_CREAT | BINARY | NO_LINK
            self._descriptor = os.open(staged, flags, 0o666)
            if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                raise TransferError(f"{staged} is no file")
            os.ftruncate(self._descriptor, offset)
            os.lseek(self._descriptor, offset, os.SEEK_SET)
        except OSError as error:
            raise unwritable(staged, error) from error

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
            raise unwritable(self._shown(self._index), error) from error
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
        staged = item.staged(index)
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
            raise unwritable(shown, error) from error
        ours = self._digest.hexdigest()
        if ours != sha256:
            with suppress(OSError):
                staged.unlink()
        check_content(size, sha256, self._at, ours, shown)
        self._checksums.remember(staged, size, status.st_mtime_ns, self._digest)
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
                staged = self._of[self._index].staged(self._index)
                self._checksums.remember(staged, self._at, mtime_ns, self._digest)
            self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

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

    def _finish(self, item: Item) -> Saved:
        files = [index for index in item.entries if not self._entries[index].is_folder]
        is_there = item.saved or (files and self._existing.issuperset(files))
        if is_there and not (item.is_folder and not item.saved):
            item.drop()
            return Saved(item.sent, item.target, is_old=True)
        item.make_journal()
        if item.is_folder:
            complete_folder(item, self._entries)
        if self._conflict is Conflict.OVERWRITE and os.path.lexists(item.target):
            replace(item, self._entries, self._existing)
            target = item.target
        else:
            target = give_name(item, may_number=self._conflict is Conflict.RENAME)
        self._saved[item.mark] = target
        if len(self._items) > 1:
            item.make_journal(saved=target.name)
        return Saved(item.sent, target)

    def kept(self) -> list[Path]:
        """The partial files that are there now."""
        return [item.part for item in self._items.values() if os.path.lexists(item.part)]
