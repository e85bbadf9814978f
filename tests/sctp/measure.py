"""What something costs, in numbers that do not depend on the machine: objects, bytes, lines run."""

from __future__ import annotations

import enum
import gc
import sys
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from .ladder import FakePeer

_SHARED = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, enum.Enum)
_PACKAGE = str(Path("rtcsctp") / "sctp")


def weigh(*roots: object, without: Iterable[object] = ()) -> tuple[int, int]:
    """Objects, and their bytes, that can be reached from `roots`, but not through `without`.

    Classes, functions, modules and enumerations are everybody's, and do not count.
    """
    seen = {id(thing) for thing in without}
    waiting: list[object] = [root for root in roots if id(root) not in seen]
    seen.update(id(root) for root in waiting)
    count = size = 0
    while waiting:
        thing = waiting.pop()
        if isinstance(thing, _SHARED):
            continue
        count += 1
        size += sys.getsizeof(thing)
        for child in gc.get_referents(thing):
            if id(child) not in seen:
                seen.add(id(child))
                waiting.append(child)
    return count, size


def lines_run(action: Callable[[], object]) -> int:
    """How many lines of `rtcsctp.sctp` run in `action`: a clock that every machine agrees on."""
    count = 0

    def local(_frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal count
        count += event == "line"
        return local

    def enter(frame: FrameType, _event: str, _arg: Any) -> Any:
        return local if _PACKAGE in frame.f_code.co_filename else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        action()
    finally:
        sys.settrace(before)
    return count


PER_CHUNK = 900
"""Bytes of real memory that a held chunk may take at most: objects, dictionaries, a stream."""


def weight(peer: FakePeer) -> int:
    """Bytes that the association holds."""
    return weigh(peer.association)[1]


def cost(peer: FakePeer, packet: bytes) -> int:
    """Lines of code that run when the association receives a packet."""
    return lines_run(lambda: peer.association.handle_datagrams([packet], peer.now))
