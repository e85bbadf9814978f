"""Pitfall S1: numbers that wrap are unwrapped once, and compared as ordinary integers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.sctp.wire.serial import MASK16, MASK32, unwrap16, unwrap32

Unwrap = Callable[[int, int], int]

BOTH = pytest.mark.parametrize(("unwrap", "bits"), [(unwrap16, 16), (unwrap32, 32)])

numbers = st.integers(-(1 << 40), 1 << 40) | st.integers(-3, 3).flatmap(
    lambda off: st.sampled_from([0, 1 << 15, 1 << 16, 1 << 31, 1 << 32, 3 << 31, 1 << 33]).map(
        lambda edge: edge + off
    )
)


@BOTH
def test_next_number_after_each_wrap_is_one_more(unwrap: Unwrap, bits: int) -> None:
    size = 1 << bits
    for wraps in range(4):
        last = wraps * size + size - 1
        assert unwrap(0, last) == last + 1
        assert unwrap(1, last) == last + 2
        assert unwrap(size - 1, last + 1) == last  # one late, from before the wrap


@BOTH
def test_half_the_circle_ahead_counts_as_behind(unwrap: Unwrap, bits: int) -> None:
    """RFC 1982 leaves this comparison undefined; here it has one answer."""
    half = 1 << (bits - 1)
    for near in (0, 1, half - 1, half, 2 * half - 1, 2 * half, 5 * half + 7):
        mask = 2 * half - 1
        assert unwrap((near + half - 1) & mask, near) == near + half - 1
        assert unwrap((near + half) & mask, near) == near - half
        assert unwrap((near - half) & mask, near) == near - half


@BOTH
@given(data=st.data())
def test_unwrapped_number_is_the_nearest_of_its_class(
    unwrap: Unwrap, bits: int, data: st.DataObject
) -> None:
    size = 1 << bits
    near = data.draw(numbers)
    value = data.draw(st.integers(0, size - 1))
    result = unwrap(value, near)
    assert result % size == value
    assert -size // 2 <= result - near < size // 2


@BOTH
@given(data=st.data())
def test_wrapping_and_unwrapping_gives_the_number_back(
    unwrap: Unwrap, bits: int, data: st.DataObject
) -> None:
    near = data.draw(numbers)
    half = 1 << (bits - 1)
    number = near + data.draw(st.integers(-half, half - 1))
    assert unwrap(number & ((1 << bits) - 1), near) == number


def test_order_of_unwrapped_numbers_is_transitive() -> None:
    """By serial comparison each of these is below the next, and the last below the first."""
    wire = [0, 0x6000_0000, 0xC000_0000]
    seen = 0
    unwrapped = []
    for value in wire:
        seen = unwrap32(value, seen)
        unwrapped.append(seen)
    assert unwrapped == sorted(unwrapped)
    assert unwrapped[0] < unwrapped[2]


def test_masks_are_those_of_the_fields() -> None:
    assert MASK16 == 2**16 - 1
    assert MASK32 == 2**32 - 1
