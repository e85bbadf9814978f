"""Names from the other side, made safe to be used in a folder here.

A path comes as a list of names, so nothing is ever taken apart at slashes. Each name is one of:

- one that no honest sender has: empty, ".", "..", with a slash or a NUL, or no Unicode text. The
  transfer is refused.
- one that is good where it comes from, but would mean something else here or on another system, or
  to a terminal: backslashes, colons (drive letters, NTFS streams), ``* ? " < > |``, control and
  other unprintable characters (line breaks, those that reverse the writing), devices of Windows
  (``con``, ``nul.txt``, …), a dot or blank at the end, blanks at the beginning. What offends is
  replaced by "_".
- the name of a whole item that begins with a dot: these have a meaning to many programs in the
  folders where people receive files (``.bashrc``, ``.ssh``), and "_" is put before it. Inside a
  folder that is sent they keep their names: that folder is a new one.

Two names that become the same here are refused: one of them would be lost.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from typing import Final

from rtcsctp.cli.transfer.errors import TransferError

__all__ = ["MAX_DEPTH", "MAX_NAME", "collision_key", "safe_name", "safe_path"]

MAX_DEPTH: Final = 64  # names of a path
MAX_NAME: Final = 240
"""Bytes of a name; file systems take 255, and partial files have a suffix."""

_FOREIGN: Final = set('\\:*?"<>|')
_DEVICES: Final = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(\..*)?", re.IGNORECASE
)


def safe_name(name: str, *, is_top: bool = False) -> str:
    """One name.

    Args:
        name: as the other side has it.
        is_top: it is the name of an item, in a folder with other things.

    Raises:
        TransferError: no honest sender has such a name.
    """
    if not name or name in {".", ".."} or "/" in name or "\0" in name:
        raise TransferError(f"the other side sends a file with the impossible name {name[:80]!r}")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise TransferError("the other side sends a file whose name is no text") from None
    safe = "".join(
        "_" if character in _FOREIGN or not character.isprintable() else character
        for character in name
    )
    safe = re.sub(r"^\s+", lambda found: "_" * len(found[0]), safe)
    safe = re.sub(r"[.\s]+$", lambda found: "_" * len(found[0]), safe)
    if _DEVICES.fullmatch(safe) or (is_top and safe.startswith(".")):
        safe = f"_{safe}"
    if len(safe.encode()) > MAX_NAME:
        raise TransferError(
            f"the other side sends a file whose name has more than {MAX_NAME} bytes: {safe[:60]}…"
        )
    return safe


def safe_path(path: tuple[str, ...]) -> tuple[str, ...]:
    """All names of a path; the first is that of an item.

    Raises:
        TransferError: no honest sender has such a path.
    """
    if not 0 < len(path) <= MAX_DEPTH:
        raise TransferError(f"the other side sends folders in folders, {len(path)} deep")
    return tuple(safe_name(name, is_top=not depth) for depth, name in enumerate(path))


def collision_key(path: tuple[str, ...]) -> tuple[str, ...]:
    """Two paths are the same file, as far as is known, if their keys are the same."""
    if sys.platform in {"win32", "darwin"}:  # their file systems do not tell A from a
        return tuple(unicodedata.normalize("NFC", name).casefold() for name in path)
    return path
