"""Bytes, rates and durations, as written and read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.cli import units
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


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("10Mbit/s", 10e6),
        ("10M", 10e6),
        ("64 kbit", 64e3),
        ("1.5Gbps", 1.5e9),
        ("9600", 9600),
        ("1.25 MB/s", 10e6),
        ("100kB/s", 800e3),
    ],
)
def test_bit_rates(text: str, rate: float) -> None:
    assert units.parse_bit_rate(text) == pytest.approx(rate)


@pytest.mark.parametrize("text", ["", "0", "-1M", "10MB", "ten", "1" * 100, "10Mbit/h", "nan"])
def test_what_is_no_bit_rate(text: str) -> None:
    with pytest.raises(ValueError, match="is not a rate above 0"):
        units.parse_bit_rate(text)


@pytest.mark.parametrize(
    ("text", "time"), [("50ms", 0.05), ("1.5 s", 1.5), ("2min", 120), ("200us", 2e-4), ("0s", 0)]
)
def test_durations_with_units(text: str, time: float) -> None:
    assert units.parse_duration(text) == pytest.approx(time)


@pytest.mark.parametrize("text", ["50", "", "-1s", "1 day", "1" * 100 + "s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time with its unit"):
        units.parse_duration(text)


@pytest.mark.parametrize(
    ("text", "share"), [("1%", 0.01), ("0.5 %", 0.005), ("0.01", 0.01), ("0", 0), ("100%", 1)]
)
def test_shares(text: str, share: float) -> None:
    assert units.parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["1", "2", "101%", "-1%", "", "half", "1" * 100])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(ValueError, match="is not a share"):
        units.parse_share(text)


def test_bit_rates_are_shown() -> None:
    assert units.format_bit_rate(12_345_678) == "12.3 Mbit/s"
    assert units.format_bit_rate(999) == "999 bit/s"
