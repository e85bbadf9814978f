"""The messages of the transfer protocol, out of and into texts; `rtcsctp.cli.transfer` lists them.

Each text is a JSON object with one key of its own kind, which `kind_of` finds. What comes from the
other side is looked at here, once: what comes out has the types that it should have.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from rtcsctp.cli.transfer.errors import RefusedError, TransferError

__all__ = [
    "CHANNEL_PROTOCOL",
    "MAX_PATH",
    "MAX_TEXT",
    "PIECE",
    "VERSIONS",
    "Entry",
    "Have",
    "agreed_version",
    "digest_of",
    "hello",
    "index_of",
    "kind_of",
    "number_of",
    "parse_untrusted",
    "texts_of",
    "write",
]

CHANNEL_PROTOCOL: Final = "rtcsctp-transfer"
"""The subprotocol of the data channel."""

VERSIONS: Final = (1,)
"""The versions of the protocol that this program speaks."""

PIECE: Final = 65_536
"""Bytes of a binary message, where the peer takes as much (RFC 8841 6.1: all of today do)."""

MAX_TEXT: Final = 65_536
"""Bytes of a text; more is refused."""

MAX_PATH: Final = 8192  # characters of all parts of a path
_MAX_SIZE: Final = 1 << 62  # bytes of a file
_MAX_REASON: Final = 500  # characters
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MARGIN: Final = 64  # bytes of a text besides its rows
_KINDS: Final = ("hello", "list", "listed", "have", "start", "file", "end", "got", "done", "error")


@attrs.frozen(kw_only=True)
class Entry:
    """A file or folder that is sent.

    Attributes:
        item: which of the arguments of `send` it belongs to: a short text that is the same when
            the same thing is sent again, so that what has arrived of it is found.
        path: names from the item's own to the entry's.
        is_folder: a folder; it has neither size nor content.
        size: bytes; None if nobody knows before the end (standard input).
        mtime: when it was changed last, seconds since 1970; None if that means nothing.
        executable: its owner may run it.
    """

    item: str
    path: tuple[str, ...]
    is_folder: bool = False
    size: int | None = None
    mtime: float | None = None
    executable: bool = False

    def row(self) -> list[object]:
        """As it is in a list."""
        kind = "d" if self.is_folder else "x" if self.executable else "f"
        return [self.item, list(self.path), kind, self.size, self.mtime]

    @classmethod
    def from_untrusted(cls, row: object) -> Entry:
        """What a list says; the names are not looked at here (`rtcsctp.cli.transfer.names`).

        Raises:
            TransferError: it is no entry.
        """
        match row:
            case [str(item), list(path), "d" | "f" | "x" as kind, size, mtime] if (
                0 < len(item) <= 64
                and item.isascii()
                and item.isalnum()
                and path
                and all(isinstance(name, str) for name in path)
                and sum(map(len, path)) <= MAX_PATH
                and (size is None or _is_number(size))
                and (mtime is None or _is_time(mtime))
                and (kind != "d" or size is None)
            ):
                return cls(
                    item=item,
                    path=tuple(path),
                    is_folder=kind == "d",
                    size=size if isinstance(size, int) else None,
                    mtime=mtime if isinstance(mtime, (int, float)) else None,
                    executable=kind == "x",
                )
        raise TransferError("the other side lists something that is no file and no folder")


@attrs.frozen
class Have:
    """What the receiver has of a file: its first `size` bytes, whose SHA-256 is `sha256`."""

    size: int
    sha256: str


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_SIZE


def _is_time(value: object) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and -1e11 < value < 1e11  # type: ignore[operator]


def write(kind: str, **values: object) -> str:
    """A message."""
    return json.dumps({"kind": kind, **values}, separators=(",", ":"), ensure_ascii=False)


def texts_of(kind: str, rows: Iterable[object], limit: int) -> Iterator[str]:
    """Messages with many rows, as few as fit into `limit` bytes each."""
    parts: list[str] = []
    size = _MARGIN
    for row in rows:
        part = json.dumps(row, separators=(",", ":"), ensure_ascii=False)
        length = len(part.encode()) + 1
        if parts and size + length > limit:
            yield _with_rows(kind, parts)
            parts, size = [], _MARGIN
        parts.append(part)
        size += length
    if parts:
        yield _with_rows(kind, parts)


def _with_rows(kind: str, parts: Sequence[str]) -> str:
    return f'{{"kind":"{kind}","rows":[{",".join(parts)}]}}'


def hello(role: str) -> str:
    """The first message of each side."""
    return write("hello", protocol=CHANNEL_PROTOCOL, versions=list(VERSIONS), role=role)


def parse_untrusted(message: str | bytes) -> dict[str, Any]:
    """A text of the other side, as an object that has a kind.

    Raises:
        TransferError: it is none that this protocol has.
        RefusedError: the other side gives up, and says why.
    """
    if isinstance(message, bytes):
        raise TransferError("the other side sends bytes where they mean nothing")
    if len(message.encode(errors="replace")) > MAX_TEXT:
        raise TransferError(f"the other side sends a text of more than {MAX_TEXT} bytes")
    try:
        value = json.loads(message)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or value.get("kind") not in _KINDS:
        raise TransferError("the other side sends what is no message of this protocol")
    if value["kind"] == "error":
        reason = value.get("reason")
        text = reason if isinstance(reason, str) and reason else "no reason given"
        safe = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
        raise RefusedError(f"the other side says: {safe[:_MAX_REASON]}")
    return value


def kind_of(value: Mapping[str, Any], *expected: str) -> str:
    """Its kind, which has to be one of those expected.

    Raises:
        TransferError: it is another.
    """
    kind = value["kind"]
    assert isinstance(kind, str)
    if kind not in expected:
        wanted = " or ".join(expected)
        raise TransferError(f"the other side sends {kind!r} where {wanted} should come")
    return kind


def agreed_version(value: Mapping[str, Any], role: str) -> int:
    """The newest version that both sides speak, from the hello of the other side.

    Args:
        value: its hello.
        role: what the other side has to be: "sender" or "receiver".

    Raises:
        TransferError: there is none, or it is not the other side of a transfer.
    """
    kind_of(value, "hello")
    versions = value.get("versions")
    if value.get("protocol") != CHANNEL_PROTOCOL or not isinstance(versions, list):
        raise TransferError("the other side is no `rtcsctp send` or `rtcsctp receive`")
    theirs = {v for v in versions if isinstance(v, int) and not isinstance(v, bool)}
    common = theirs & set(VERSIONS)
    if not common:
        listed = ", ".join(str(version)[:9] for version in sorted(theirs)[:8]) or "none"
        ours = ", ".join(map(str, VERSIONS))
        raise TransferError(
            f"the other side speaks another version of the transfer protocol ({listed}; here: "
            f"{ours}); install the same version of rtcsctp on both sides"
        )
    if value.get("role") != role:
        raise TransferError(f"the other side is a {_opposite(role)} too; one has to be a {role}")
    return max(common)


def _opposite(role: str) -> str:
    return "receiver" if role == "sender" else "sender"


def number_of(value: Mapping[str, Any], key: str) -> int:
    """A number of bytes or things.

    Raises:
        TransferError: it is none.
    """
    number = value.get(key)
    if not _is_number(number):
        raise TransferError(f"the other side's {key!r} is no number")
    assert isinstance(number, int)
    return number


def index_of(value: Mapping[str, Any], count: int) -> int:
    """Which entry of the list is meant.

    Raises:
        TransferError: none.
    """
    number = number_of(value, "index")
    if number >= count:
        raise TransferError(f"the other side means entry {number} of a list of {count}")
    return number


def digest_of(value: object) -> str:
    """A SHA-256 in hexadecimal.

    Raises:
        TransferError: it is none.
    """
    if not (isinstance(value, str) and _SHA256.fullmatch(value)):
        raise TransferError("the other side's sha256 is not 64 hexadecimal digits")
    return value
