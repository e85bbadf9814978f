"""Bytes, rates and durations as people write and read them.

Prefixes mean what they mean by SI and IEC: a kB has 1,000 bytes, a KiB 1,024. What is shown is
decimal, as network speeds are.
"""

from __future__ import annotations

import re

__all__ = [
    "format_bit_rate",
    "format_count",
    "format_duration",
    "format_rate",
    "format_size",
    "parse_bit_rate",
    "parse_duration",
    "parse_share",
    "parse_size",
]

_PREFIXES = "kmgt"
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?:(?P<prefix>[kmgt])(?P<binary>i)?)?b?")
_NUMBER = r"(?P<number>\d+(?:\.\d+)?)\s*"
_BIT_RATE = re.compile(_NUMBER + r"(?P<prefix>[kmgt]?)(?:bit/s|bits/s|bit|bps)?")
_BYTE_RATE = re.compile(_NUMBER + r"(?P<prefix>[kmgt]?)b/s")
_DURATION = re.compile(_NUMBER + r"(?P<unit>us|µs|ms|s|min|h)")
_SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_SHARE = re.compile(_NUMBER + r"(?P<percent>%?)")
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


def parse_bit_rate(text: str) -> float:
    """Bits per second from "10Mbit/s", "10M", "64kbit", or "1.25 MB/s", which are bytes.

    Raises:
        ValueError: it is not a rate above 0. The message says so.
    """
    is_short = len(text) <= _DIGITS
    # A capital B is a byte everywhere but in "bps".
    in_bytes = _BYTE_RATE.fullmatch(text.strip().lower()) if is_short and "B/s" in text else None
    match = in_bytes or (_BIT_RATE.fullmatch(text.strip().lower()) if is_short else None)
    if match is None or not float(match["number"]):
        raise ValueError(f"{text!r} is not a rate above 0, such as 10Mbit/s, 500kbit/s or 1.2MB/s")
    unit = 1000 ** (_PREFIXES.index(match["prefix"]) + 1) if match["prefix"] else 1
    return float(match["number"]) * unit * (8 if in_bytes else 1)


def parse_duration(text: str) -> float:
    """Seconds from "50ms", "1.5s", "2min".

    Raises:
        ValueError: it is not a duration, or has no unit. The message says so.
    """
    match = _DURATION.fullmatch(text.strip().lower()) if len(text) <= _DIGITS else None
    if match is None:
        raise ValueError(f"{text!r} is not a time with its unit, such as 50ms, 1.5s or 2min")
    return float(match["number"]) * _SECONDS[match["unit"]]


def parse_share(text: str) -> float:
    """A part of one from "1%", or from "0.01".

    Raises:
        ValueError: it is not from 0 to 1, or it is 1 or more without "%". The message says so.
    """
    match = _SHARE.fullmatch(text.strip()) if len(text) <= _DIGITS else None
    share = float(match["number"]) / (100 if match["percent"] else 1) if match else -1.0
    if match is None or share > 1 or (share == 1 and not match["percent"]):
        raise ValueError(f"{text!r} is not a share, such as 1% or 0.01")
    return share


def format_bit_rate(rate: float) -> str:
    """Bits per second as "45.1 Mbit/s"."""
    number, _, unit = format_size(rate).partition(" ")
    return f"{number} {unit.removesuffix('B')}bit/s"


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
