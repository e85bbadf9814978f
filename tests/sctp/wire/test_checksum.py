"""CRC32c: its values, which bytes it covers, and the order in which it is stored (RFC 9260 6.8)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.sctp.wire import checksum
from rtcsctp.sctp.wire.packet import build

BODY = bytes.fromhex("0e000004")  # SHUTDOWN COMPLETE


def crc32c_bit_by_bit(data: bytes) -> int:
    """By definition: polynomial 0x1EDC6F41, all bits reflected."""
    crc = 0xFFFF_FFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F6_3B78 if crc & 1 else 0)
    return crc ^ 0xFFFF_FFFF


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        # RFC 3720 appendix B.4
        (bytes(32), 0x8A91_36AA),
        (b"\xff" * 32, 0x62A8_AB43),
        (bytes(range(32)), 0x46DD_794E),
        (bytes(range(31, -1, -1)), 0x113F_DB5C),
        # the check value that catalogues of CRCs give
        (b"123456789", 0xE306_9283),
        (b"", 0),
    ],
)
def test_known_values(data: bytes, crc: int) -> None:
    assert crc32c_bit_by_bit(data) == crc
    assert checksum.crc32c(data) == crc


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_parts_give_the_same_as_the_whole(first: bytes, second: bytes) -> None:
    assert checksum.extend(checksum.crc32c(first), second) == crc32c_bit_by_bit(first + second)


def test_stored_least_significant_byte_first_over_a_zero_field() -> None:
    packet = build(0x1388, 0x1389, 0x0102_0304, BODY)
    crc = crc32c_bit_by_bit(bytes.fromhex("1388 1389 01020304 00000000") + BODY)
    assert packet[8:12] == crc.to_bytes(4, "little")
    assert packet[8:12] != crc.to_bytes(4, "big")
    assert checksum.has_valid_checksum(packet)


def test_every_single_bit_that_flips_is_noticed() -> None:
    packet = build(5000, 5001, 0x0102_0304, BODY)
    for bit in range(8 * len(packet)):
        damaged = bytearray(packet)
        damaged[bit // 8] ^= 1 << bit % 8
        assert not checksum.has_valid_checksum(bytes(damaged)), bit


def test_checksum_in_network_order_is_refused() -> None:
    packet = build(5000, 5001, 0x0102_0304, BODY)
    swapped = packet[:8] + packet[8:12][::-1] + packet[12:]
    assert not checksum.has_valid_checksum(swapped)


def test_zero_is_not_a_valid_checksum() -> None:
    """Pitfall S61: whether zero will do is decided elsewhere, never here."""
    packet = build(5000, 5001, 0x0102_0304, BODY, zero_checksum=True)
    assert packet[8:12] == checksum.ZERO
    assert not checksum.has_valid_checksum(packet)


@given(st.binary(min_size=12, max_size=100))
def test_arbitrary_bytes_are_judged_as_by_definition(data: bytes) -> None:
    stored = int.from_bytes(data[8:12], "little")
    crc = crc32c_bit_by_bit(data[:8] + bytes(4) + data[12:])
    assert checksum.has_valid_checksum(data) == (stored == crc)
