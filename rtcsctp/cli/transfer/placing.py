"""Items that have arrived get their names: a new one, another one, or that of what is replaced."""

from __future__ import annotations

import enum
import os
import shutil
import stat
from collections.abc import Container, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from rtcsctp.cli.transfer.errors import TransferError
from rtcsctp.cli.transfer.messages import Entry
from rtcsctp.cli.transfer.partial import Item, steps

__all__ = ["Conflict", "complete_folder", "give_name", "in_the_way", "replace"]

_TRIES: Final = 1000  # names with a number


class Conflict(enum.Enum):
    """What to do where something has the name already."""

    REFUSE = "refuse"
    OVERWRITE = "overwrite"
    """Files are replaced; a folder gets what is new, and keeps what else is in it."""
    RENAME = "rename"
    """The new one gets a number."""


def complete_folder(item: Item, entries: Sequence[Entry]) -> None:
    """Make the empty folders of a partial folder, remove what the sender has no more, set times.

    Raises:
        OSError: the system does not let us.
        TransferError: something else is where a folder belongs.
    """
    wanted = {item.part}
    folders: list[tuple[Path, float | None]] = []
    for index in item.entries:
        path = item.staged(index)
        wanted.add(path)
        if entries[index].is_folder:
            item.make_folders(path)
            folders.append((path, entries[index].mtime))
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


def give_name(item: Item, *, may_number: bool) -> Path:
    """Rename a partial file, but do not replace what has appeared under the name meanwhile.

    Raises:
        OSError: the system does not let us.
        TransferError: the name is taken.
    """
    for number in range(_TRIES):
        target = item.target if not number else _numbered(item.target, number, item.is_folder)
        if not os.path.lexists(target):
            try:
                _name_new(item.part, target, item.is_folder)
            except FileExistsError:
                pass
            else:
                return target
        if not may_number:
            raise TransferError(f"{in_the_way(target)}; what was received is in {item.part}")
    raise TransferError(f"no free name for {item.target}; it is in {item.part}")


def replace(item: Item, entries: Sequence[Entry], existing: Container[int]) -> None:
    """Put an item in the place of what is there.

    Args:
        item: that has arrived.
        entries: all that were listed.
        existing: those whose content is there already.

    Raises:
        OSError: the system does not let us.
        TransferError: something else is where a folder belongs.
    """
    if not item.is_folder:
        item.part.replace(item.target)
        return
    for index in item.entries:
        own = item.placed(index)
        above = own if own == item.target else own.parent
        for step in [item.target, *steps(item.target, above)]:
            if not stat.S_ISDIR(step.lstat().st_mode):
                raise TransferError(
                    f"{step} is in the way: it is no folder; what was received is in {item.part}"
                )
        if entries[index].is_folder:
            if not os.path.lexists(own):
                own.mkdir()
        elif index not in existing:
            item.staged(index).replace(own)
    shutil.rmtree(item.part, ignore_errors=True)


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


def in_the_way(target: Path) -> TransferError:
    """What to raise where something has the name already."""
    return TransferError(
        f"{target} exists already; the receiver's option --overwrite replaces it, --rename keeps "
        "both"
    )
