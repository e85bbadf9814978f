"""Where received files can go, as `rtcsctp.cli.transfer.receiving` sees it, and standard output.

The other place, a folder, is in `folder.py`. All of this blocks: `receiving.py` calls it in
threads.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import attrs

from rtcsctp.cli.transfer.errors import TransferError
from rtcsctp.cli.transfer.messages import Entry, Have

__all__ = ["Saved", "Storage", "StreamOut", "check_content", "unwritable"]


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
            raise unwritable("standard output", error) from error
        return self._size

    def end(self, size: int, sha256: str) -> None:
        """That was all of it."""
        check_content(size, sha256, self._size, self._digest.hexdigest(), "standard output")

    def finish(self) -> list[Saved]:
        """That was everything."""
        assert self._item is not None
        return [Saved(self._item[1][0], None)]

    def close(self) -> None:
        """The connection ended; another can go on."""

    def kept(self) -> list[Path]:
        """There are no partial files."""
        return []


def check_content(size: int, sha256: str, our_size: int, ours: str, name: object) -> None:
    """Compare what arrived with what the sender says that it has sent.

    Raises:
        TransferError: it is something else.
    """
    if our_size != size or ours != sha256:
        raise TransferError(
            f"what arrived of {name} is not what was sent (sha256 {ours}, should be {sha256})"
        )


def unwritable(name: object, error: OSError) -> TransferError:
    """What to raise where the system does not let us write."""
    return TransferError(f"cannot write {name}: {error.strerror or error}")
