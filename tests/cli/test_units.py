"""Bytes, rates and durations, as written and read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.cli.units import format_count, format_duration, format_rate, format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1200", 1200),
        ("1200B", 1200),
        ("16k", 16_000),
        ("16kB", 16_000),
        ("16KiB", 16_384),
        ("16ki", 16_384),
        (" 32 MB ", 32_000_000),
        ("1.5G", 1_500_000_000),
        ("0.5KiB", 512),
        ("2TiB", 2 << 40),
    ],
)
def test_sizes_are_read_with_and_without_units(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "B", "-1", "1.5", "0.0001k", "1e6", "ten", "1 Mbit", "0x10", "1_000", "9" * 1000]
)
def test_what_is_not_a_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="bytes"):
        parse_size(text)


@given(st.text(max_size=12))
def test_no_text_makes_reading_fail_otherwise(text: str) -> None:
    try:
        assert parse_size(text) >= 0
    except ValueError as error:
        assert str(error)  # noqa: PT017 (one of two outcomes)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (9_994, "9.99 kB"),
        (9_996, "10.0 kB"),
        (99_960, "100 kB"),
        (999_600, "1.00 MB"),
        (32_000_000, "32.0 MB"),
        (5_242_880, "5.24 MB"),
        (2.5e9, "2.50 GB"),
    ],
)
def test_sizes_have_three_digits(size: float, text: str) -> None:
    assert format_size(size) == text


def test_rates_are_sizes_per_second() -> None:
    assert format_rate(45_100_000.4) == "45.1 MB/s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 ms"),
        (0.0123, "12.3 ms"),
        (0.9999, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1:00"),
        (75.2, "1:15"),
        (3_675, "1:01:15"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_one_thing_is_not_many() -> None:
    assert format_count(1, "message") == "1 message"
    assert format_count(0, "message") == "0 messages"
    assert format_count(12345, "message") == "12,345 messages"
