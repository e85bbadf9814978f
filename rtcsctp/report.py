"""Statistics in the shape of W3C's getStats, for programs that know that, and for JSON.

An object of a report has ``id``, ``type`` and ``timestamp`` (milliseconds since 1970), and the
members of the statistics by W3C's spelling: ``bytes_sent`` is ``bytesSent``. As in browsers, what
is not known is not there. An enumeration is its value where that is a word of the protocol, and a
mapping by reasons has their names; times and sizes stay in seconds and bytes, as W3C's are. (Only
time stamps are in milliseconds there.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from typing import TypeAlias

import attrs

__all__ = ["Report", "camel_case", "report"]

Report: TypeAlias = dict[str, object]
"""One object of a report: what `json.dumps` takes."""


def camel_case(name: str) -> str:
    """A name as W3C spells it: ``bytes_sent`` is ``bytesSent``."""
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def report(
    statistics: attrs.AttrsInstance,
    *,
    id: str,  # noqa: A002  # W3C's names
    type: str,  # noqa: A002
    timestamp: float,
) -> Report:
    """One object of a report.

    Args:
        statistics: what has been counted.
        id: names it within the report.
        type: what it is, by W3C's RTCStatsType where there is one.
        timestamp: when it was taken, seconds since 1970.
    """
    result: Report = {"id": id, "type": type, "timestamp": round(timestamp * 1000, 3)}
    for field in attrs.fields(statistics.__class__):
        value = plain(getattr(statistics, field.name))
        name = camel_case(field.name)
        if value is not None and name not in result:
            result[name] = value
    return result


def plain(value: object) -> object:
    """A value as JSON has it; None for what is not known."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_key(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)


def _key(key: object) -> str:
    return camel_case(key.name.lower() if isinstance(key, Enum) else str(key))
