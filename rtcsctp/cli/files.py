"""Files over a data channel: what goes over the wire, and a folder that strangers may use.

On a channel of the protocol "file", which must be ordered and reliable, text messages are JSON
objects and binary ones are the content of a file. A client asks, the server answers; when that is
done, the client may ask again.

::

    to the server                                   from the server
    {"name": "a.txt", "size": 5, "sha256": "…"}     (sha256 may be left out)
    binary messages, 5 bytes in all
                                                    {"ok": true, "name": "a.txt", "size": 5,
                                                     "sha256": "…"}
    {"get": "a.txt"}
                                                    {"name": "a.txt", "size": 5}
                                                    binary messages, 5 bytes in all
                                                    {"ok": true, "sha256": "…"}
    {"list": true}
                                                    {"files": [{"name": "a.txt", "size": 5}, …]}

In place of any answer, ``{"ok": false, "error": "…"}`` says why not; what is still sent of a file
that was refused is dropped. A text in the middle of a file cancels it, like ``{"cancel": true}``.

No path is ever made of what the other side says: a name is one that could be a file's anywhere, and
only regular files that lie in the folder itself are seen. Nothing is overwritten. A file appears
under its name when it is complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import attrs
import trio

__all__ = [
    "CHUNK",
    "MAX_TEXT",
    "FileError",
    "Folder",
    "Incoming",
    "Offer",
    "checked_name",
    "open_for_reading",
    "read_object_untrusted",
    "read_parts",
    "refusal",
]

CHUNK: Final = 65_536
"""Bytes of a binary message; every stack takes as much (RFC 8841 6.1), if it does not say less."""

MAX_TEXT: Final = 4096  # characters of a request
_MAX_LISTED: Final = 1000
_READ_AHEAD: Final = 1 << 20  # bytes read in one go: a hop to a thread costs several packets
_BINARY: Final[int] = getattr(os, "O_BINARY", 0)  # Windows would translate line ends
_SAFE_OPEN: Final[int] = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_MAX_NAME: Final = 255  # bytes; what file systems take
_FORBIDDEN: Final = set('/\\:*?"<>|')
_DEVICES: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class FileError(Exception):
    """A file is refused, or cannot be had; the message is one line for the other side."""


def refusal(error: FileError) -> str:
    """The message that says it."""
    return json.dumps({"ok": False, "error": str(error)})


def read_object_untrusted(text: str, limit: int = MAX_TEXT) -> dict[str, Any]:
    """A JSON object that the other side has sent.

    Raises:
        FileError: it is none, or too long.
    """
    if len(text) > limit:
        raise FileError(f"a message of {len(text)} characters; the most is {limit}")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise FileError("a message that is not JSON") from None
    if not isinstance(value, dict):
        raise FileError("a message that is not a JSON object")
    return value


def checked_name(name: object) -> str:
    """A file's name from the other side, if it is one that cannot lead anywhere.

    Raises:
        FileError: it could mean something other than a file in a folder, here or on another system.
    """
    if not isinstance(name, str) or not name:
        raise FileError("a file needs a name")
    if not name.isprintable() or _FORBIDDEN & set(name):
        raise FileError("a file's name must not have slashes or other special characters")
    if name.startswith(".") or name.endswith((".", " ")) or name != name.strip():
        raise FileError("a file's name must neither begin with a dot nor end with one, or a blank")
    if len(name.encode()) > _MAX_NAME:
        raise FileError(f"a file's name must not have more than {_MAX_NAME} bytes")
    if _DEVICES.fullmatch(name):
        raise FileError("a file must not have the name of a device")
    return name


@attrs.frozen(kw_only=True)
class Offer:
    """A file that is going to be sent.

    Attributes:
        name: a safe one.
        size: bytes.
        sha256: of all of it, in hexadecimal; None if the sender does not say.
    """

    name: str
    size: int
    sha256: str | None = None

    @classmethod
    def from_untrusted(cls, value: dict[str, Any]) -> Offer:
        """What a message says.

        Raises:
            FileError: it lacks something, or it cannot be.
        """
        size, checksum = value.get("size"), value.get("sha256")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise FileError("a file's size is a number of bytes")
        if checksum is not None and not (isinstance(checksum, str) and _SHA256.fullmatch(checksum)):
            raise FileError("sha256 is 64 hexadecimal digits in small letters")
        return cls(name=checked_name(value.get("name")), size=size, sha256=checksum)

    def to_json(self) -> str:
        """The message that says it."""
        return json.dumps(attrs.asdict(self, filter=lambda _, value: value is not None))


class Folder:
    """A folder whose files others may fetch, and put new ones in."""

    def __init__(self, path: Path, *, max_size: int) -> None:
        """
        Args:
            path: the folder; exists.
            max_size: bytes that a new file may have.
        """
        self.path = path
        self._max_size = max_size

    def list(self) -> list[dict[str, str | int]]:
        """Names and sizes of the files, by name; the first thousand."""
        found: list[dict[str, str | int]] = []
        with suppress(OSError), os.scandir(self.path) as entries:
            for entry in entries:
                with suppress(OSError, FileError):
                    if entry.is_file(follow_symlinks=False):
                        name = checked_name(entry.name)
                        found.append({"name": name, "size": entry.stat().st_size})
        return sorted(found, key=lambda file: str(file["name"]))[:_MAX_LISTED]

    def fetch(self, name: object) -> tuple[int, Offer]:
        """An open file, to be closed by the caller, and what it is.

        Raises:
            FileError: there is no such file.
        """
        safe = checked_name(name)
        try:
            descriptor, size = open_for_reading(self.path / safe, _SAFE_OPEN)
        except OSError:
            raise FileError("there is no such file") from None
        return descriptor, Offer(name=safe, size=size)

    def accept(self, offer: Offer) -> Incoming:
        """Begin to take a file.

        Raises:
            FileError: it is too large, exists, or cannot be written.
        """
        if offer.size > self._max_size:
            raise FileError(f"{offer.size} bytes; the most is {self._max_size}")
        if os.path.lexists(self.path / offer.name):
            raise FileError("there is a file of that name already")
        return Incoming(self.path, offer)


class Incoming:
    """A file on its way: a context, at whose end it is there, or nothing is."""

    def __init__(self, folder: Path, offer: Offer) -> None:
        """
        Raises:
            FileError: the folder cannot be written.
        """
        self._offer = offer
        self._target = folder / offer.name
        self._passing = folder / f".rtcsctp-{secrets.token_hex(8)}.part"
        self._digest = hashlib.sha256()
        self._rest = offer.size
        self._done = False
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY
        try:
            self._descriptor = os.open(self._passing, flags, 0o666)
        except OSError as error:
            raise _unwritable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)
        if not self._done:
            with suppress(OSError):
                self._passing.unlink()

    @property
    def is_complete(self) -> bool:
        """Whether all bytes are there."""
        return not self._rest

    async def write(self, parts: Sequence[bytes]) -> None:
        """Write what has come.

        Raises:
            FileError: that is more than was announced, or it cannot be written.
        """
        size = sum(map(len, parts))
        if size > self._rest:
            raise FileError("more bytes than were announced")
        self._rest -= size
        try:
            await trio.to_thread.run_sync(self._write, b"".join(parts))
        except OSError as error:
            raise _unwritable(error) from error

    def _write(self, data: bytes) -> None:
        self._digest.update(data)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    async def finish(self) -> str:
        """Give it its name, if it is what was announced; gives its checksum.

        Raises:
            FileError: it is not, or a file of that name has appeared, or cannot be made.
        """
        checksum = self._digest.hexdigest()
        if self._offer.sha256 not in {None, checksum}:
            raise FileError(f"the checksum of what arrived is {checksum}")
        try:
            await trio.to_thread.run_sync(self._name)
        except FileExistsError:
            raise FileError("there is a file of that name already") from None
        except OSError as error:
            raise _unwritable(error) from error
        self._done = True
        return checksum

    def _name(self) -> None:
        os.fsync(self._descriptor)
        try:
            self._target.hardlink_to(self._passing)  # rename() would replace, on POSIX
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            if os.path.lexists(self._target):
                raise FileExistsError from None
            self._passing.rename(self._target)
        else:
            self._passing.unlink()


def _unwritable(error: OSError) -> FileError:
    return FileError(f"the file cannot be written: {error.strerror or 'error'}")


def open_for_reading(path: Path, flags: int = 0) -> tuple[int, int]:
    """A regular file's descriptor and size.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | _BINARY | flags)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise IsADirectoryError(21, "it is no regular file")
    return descriptor, status.st_size


async def read_parts(descriptor: int, size: int, part: int) -> AsyncGenerator[bytes]:
    """The first `size` bytes of a file in pieces of `part` bytes; to be used with `aclosing`.

    Raises:
        FileError: it has become shorter.
        OSError: it cannot be read.
    """
    at_once = max(part, _READ_AHEAD // part * part)
    rest = size
    while rest:
        data = await trio.to_thread.run_sync(os.read, descriptor, min(at_once, rest))
        if not data:
            raise FileError("the file has become shorter meanwhile")
        rest -= len(data)
        for start in range(0, len(data), part):
            yield data[start : start + part]
