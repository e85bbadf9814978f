"""Bytes, rates and durations as people write and read them.

Prefixes mean what they mean by SI and IEC: a kB has 1,000 bytes, a KiB 1,024. What is shown is
decimal, as network speeds are.
"""

from __future__ import annotations

import re

__all__ = ["format_count", "format_duration", "format_rate", "format_size", "parse_size"]

_PREFIXES = "kmgt"
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?:(?P<prefix>[kmgt])(?P<binary>i)?)?b?")
_DIGITS = 64  # no size that anybody means is longer; a longer one is not worth a bignum


def parse_size(text: str) -> int:
    """Bytes from "1200", "16KiB", "32 MB", "1.5G".

    Raises:
        ValueError: it is not a size, or not a whole number of bytes. The message says so.
    """
    match = _SIZE.fullmatch(text.strip().lower()) if len(text) <= _DIGITS else None
    if match is None:
        raise ValueError(f"{text!r} is not a size in bytes, such as 1200, 16KiB or 32MB")
    prefix = match["prefix"]
    base = 1024 if match["binary"] else 1000
    unit: int = base ** (_PREFIXES.index(prefix) + 1) if prefix else 1
    whole, _, fraction = match["number"].partition(".")
    scale: int = 10 ** len(fraction)
    size, rest = divmod(int(whole + fraction) * unit, scale)
    if rest:
        raise ValueError(f"{text!r} is not a whole number of bytes")
    return size


def format_size(size: float) -> str:
    """1234 as "1.23 kB": three digits, which is what one can compare at a glance."""
    value, prefix = float(size), ""
    for larger in _PREFIXES:
        if value < 999.5:
            break
        value, prefix = value / 1000, larger
    if not prefix:
        return f"{value:.0f} B"
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{decimals}f} {prefix if prefix == 'k' else prefix.upper()}B"


def format_rate(rate: float) -> str:
    """Bytes per second as "45.1 MB/s"."""
    return f"{format_size(rate)}/s"


def format_duration(seconds: float) -> str:
    """0.0123 as "12.3 ms", 12.3 as "12.3 s", 75 as "1:15"."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_count(number: int, thing: str) -> str:
    """1 as "1 message", 1000 as "1,000 messages"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
