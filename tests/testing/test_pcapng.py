"""Capture files: what we write, and what a damaged one does to the reader."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.errors import RtcsctpError
from rtcsctp.testing import (
    LINKTYPE_SCTP,
    Capture,
    CapturedPacket,
    CaptureError,
    read_pcapng_untrusted,
)

if TYPE_CHECKING:
    from pathlib import Path


def read(data: bytes) -> list[CapturedPacket]:
    return list(read_pcapng_untrusted(io.BytesIO(data)))


def sample() -> bytes:
    file = io.BytesIO()
    with Capture(file, interfaces=["a", "b"]) as capture:
        capture.record(b"first", 1.0, outbound=True)
        capture.record(b"second packet", 1.5, outbound=False, interface=1)
        capture.record(b"", 2.0, outbound=True)
    return file.getvalue()


packets = st.lists(
    st.builds(
        CapturedPacket,
        time_ns=st.integers(0, 2**64 - 1),
        outbound=st.booleans(),
        data=st.binary(max_size=200),
        interface=st.integers(0, 2),
        link_type=st.just(LINKTYPE_SCTP),
    )
)


@given(packets=packets)
def test_what_is_recorded_is_read_back(packets: list[CapturedPacket]) -> None:
    file = io.BytesIO()
    with Capture(file, interfaces=["one", "two", "drei größer"]) as capture:
        for packet in packets:
            capture.record_ns(
                packet.data,
                packet.time_ns,
                outbound=packet.outbound is True,
                interface=packet.interface,
            )
    assert read(file.getvalue()) == packets


def test_the_bytes_of_a_file_are_as_the_format_says() -> None:
    file = io.BytesIO()
    with Capture(file, interfaces=["if0"]) as capture:
        capture.record(b"\1\2\3\4\5", 2.000000001, outbound=True)
    assert file.getvalue() == b"".join(
        [
            # section header: magic, version 1.0, length unknown, shb_userappl
            bytes.fromhex("0a0d0d0a 2c000000 4d3c2b1a 0100 0000 ffffffffffffffff"),
            bytes.fromhex("0400 0700") + b"rtcsctp\0" + bytes.fromhex("00000000 2c000000"),
            # interface: link type 248, snap length 0, if_name, if_tsresol
            bytes.fromhex("01000000 28000000 f800 0000 00000000"),
            bytes.fromhex("0200 0300") + b"if0\0",
            bytes.fromhex("0900 0100 09000000 00000000 28000000"),
            # packet: interface 0, time (high, low), lengths, data, epb_flags = outbound
            bytes.fromhex("06000000 34000000 00000000 00000000 01943577 05000000 05000000"),
            bytes.fromhex("0102030405 000000 0200 0400 02000000 00000000 34000000"),
        ]
    )


def test_times_count_from_the_given_epoch_without_losing_nanoseconds() -> None:
    epoch_ns = 1_800_000_000_123_456_789
    file = io.BytesIO()
    with Capture(file, epoch_ns=epoch_ns) as capture:
        capture.record(b"packet", 0.000000001, outbound=False)
    [packet] = read(file.getvalue())
    assert packet.time_ns == epoch_ns + 1
    assert packet.time == pytest.approx(1_800_000_000.123456)


def test_a_path_is_created_and_closed(tmp_path: Path) -> None:
    path = tmp_path / "run.pcapng"
    with Capture(path) as capture:
        capture.record(b"packet", 0.0, outbound=True)
        capture.flush()
        assert len(list(read_pcapng_untrusted(path))) == 1
    assert capture.closed
    capture.close()
    capture.flush()
    assert [packet.data for packet in read_pcapng_untrusted(str(path))] == [b"packet"]


def test_a_file_object_stays_open() -> None:
    file = io.BytesIO()
    Capture(file).close()
    assert not file.closed
    assert read(file.getvalue()) == []


def test_misuse_is_refused() -> None:
    capture = Capture(io.BytesIO())
    with pytest.raises(ValueError, match="interface 1 of a capture with 1"):
        capture.record(b"", 0.0, outbound=True, interface=1)
    for time in (-1.0, float("inf"), float("nan"), 1e30):
        with pytest.raises(ValueError):  # noqa: PT011 (four different messages)
            capture.record(b"", time, outbound=True)
    capture.close()
    with pytest.raises(ValueError, match="closed"):
        capture.record(b"", 0.0, outbound=True)


# Files of others


def block(order: str, block_type: int, body: bytes) -> bytes:
    length = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", block_type) + length + body + length


def section(order: str) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(order: str, options: bytes = b"", *, link_type: int = 248, snap: int = 0) -> bytes:
    return block(order, 1, struct.pack(order + "HHI", link_type, 0, snap) + options)


def enhanced(order: str, ticks: int, data: bytes, options: bytes = b"") -> bytes:
    head = struct.pack(order + "IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
    return block(order, 6, head + data + bytes(-len(data) & 3) + options)


def option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) & 3)


@pytest.mark.parametrize("order", ["<", ">"])
def test_files_of_either_byte_order_and_any_clock_are_read(order: str) -> None:
    second = 1_000_000_000
    data = b"".join(
        [
            section(order),
            block(order, 0x0BAD, b"not a packet"),
            interface(order),  # microseconds, when nothing is said
            enhanced(order, 5_000_001, b"one"),
            section(order),
            interface(order, option(order, 9, b"\x8a") + option(order, 0, b""), link_type=1),
            enhanced(order, 5 * 1024 + 512, b"five", option(order, 1, b"a comment")),
            section(order),
            interface(
                order, option(order, 9, b"\3") + option(order, 14, struct.pack(order + "q", 100))
            ),
            enhanced(order, 7, b"", option(order, 2, struct.pack(order + "I", 1))),
            enhanced(order, 7, b"", option(order, 2, struct.pack(order + "I", 0xFFFC))),
        ]
    )
    assert read(data) == [
        CapturedPacket(5 * second + 1000, None, b"one", 0, 248),
        CapturedPacket(5 * second + second // 2, None, b"five", 0, 1),
        CapturedPacket(
            100 * second + 7_000_000, outbound=False, data=b"", interface=0, link_type=248
        ),
        CapturedPacket(100 * second + 7_000_000, None, b"", 0, 248),
    ]


def test_simple_packets_have_no_time() -> None:
    data = section("<") + interface("<", snap=4) + block("<", 3, struct.pack("<I", 9) + b"abcd")
    assert read(data) == [CapturedPacket(0, None, b"abcd", 0, 248)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "unit"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_classic_pcap_is_read(order: str, magic: int, unit: int) -> None:
    data = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, 248)
    data += struct.pack(order + "IIII", 3, 14, 5, 5) + b"hello"
    assert read(data) == [CapturedPacket(3_000_000_000 + 14 * unit, None, b"hello", 0, 248)]
    with pytest.raises(CaptureError, match="3 of 5 bytes"):
        read(data[:-2])
    with pytest.raises(CaptureError, match="cannot be"):
        read(data + struct.pack(order + "IIII", 0, 0, 2**31, 0))


def test_a_file_that_gives_few_bytes_at_a_time_is_read() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(3, size or 0))

    assert list(read_pcapng_untrusted(Slow(sample()))) == read(sample())


# Damage


def test_every_cut_is_noticed_or_falls_between_blocks() -> None:
    data = sample()
    whole = read(data)
    boundaries = []
    for end in range(len(data)):
        try:
            read_so_far = read(data[:end])
        except CaptureError as error:
            assert 0 <= error.offset <= end  # noqa: PT017
        else:
            boundaries.append(end)
            assert read_so_far == whole[: len(read_so_far)]
    # After the section header, two interfaces, and the first two of three packets.
    assert len(boundaries) == 5


@given(data=st.binary(max_size=100))
def test_garbage_raises_one_error(data: bytes) -> None:
    with pytest.raises(CaptureError):
        read(data)
    with pytest.raises(CaptureError):
        read(section("<")[:-1] + data[:0])


@given(flips=st.lists(st.tuples(st.integers(0, len(sample()) - 1), st.integers(0, 255))))
def test_damage_raises_nothing_but_that_error(flips: list[tuple[int, int]]) -> None:
    data = bytearray(sample())
    for position, value in flips:
        data[position] = value
    try:
        read(bytes(data))
    except CaptureError as error:
        assert 0 <= error.offset <= len(data)  # noqa: PT017
        assert f"(at byte {error.offset})" in str(error)  # noqa: PT017


HEAD = section("<") + interface("<")


@pytest.mark.parametrize(
    ("data", "message", "offset"),
    [
        (b"", "the file ends where the file header", 0),
        (b"GIF89a", "neither a pcapng nor a pcap file", 0),
        (b"\x0a\x0d\x0d\x0a" + bytes(20), "byte-order magic", 8),
        (
            block("<", 0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 2, 0, -1)),
            "version 2",
            12,
        ),
        (section("<") + struct.pack("<II", 5, 8), "cannot be 8 bytes long", 32),
        (section("<") + struct.pack("<II", 5, 13), "cannot be 13 bytes long", 32),
        (section("<") + struct.pack("<II", 5, 1 << 31), "cannot be 2147483648 bytes", 32),
        (section("<") + struct.pack("<III", 5, 12, 16), "length 12 and ends with 16", 36),
        (section("<") + block("<", 1, b"abcd"), "interface description is too short", 28),
        (section("<") + interface("<", option("<", 9, b"12")), "if_tsresol has 2 bytes", 28),
        (section("<") + interface("<", option("<", 14, b"12")), "if_tsoffset has 2 bytes", 28),
        (section("<") + interface("<", b"\1\0\xff\0abcd"), "option 1 has 255 bytes", 28),
        (HEAD + block("<", 6, bytes(16)), "enhanced packet block is too short", 48),
        (section("<") + enhanced("<", 0, b"x"), "interface 0, of which there is no", 28),
        (HEAD + block("<", 6, struct.pack("<IIIII", 0, 0, 0, 9, 9)), "packet of 9 bytes in", 48),
        (HEAD + enhanced("<", 0, b"", option("<", 2, b"")), "epb_flags has 0 bytes", 48),
        (section("<") + block("<", 3, bytes(4)), "before any interface", 28),
        (HEAD + block("<", 3, b""), "simple packet block is too short", 48),
        (HEAD + block("<", 3, struct.pack("<I", 5) + b"1234"), "packet of 5 bytes in", 48),
        (HEAD + b"\1\0", "the file ends within a block type: 2 of 4", 48),
    ],
)
def test_an_error_says_what_is_wrong_and_where(data: bytes, message: str, offset: int) -> None:
    with pytest.raises(CaptureError, match=message) as caught:
        read(data)
    assert caught.value.offset == offset
    assert isinstance(caught.value, RtcsctpError)


def test_packets_before_the_damage_are_given() -> None:
    packets = read_pcapng_untrusted(io.BytesIO(sample()[:-6]))
    assert next(packets).data == b"first"
    assert next(packets).data == b"second packet"
    with pytest.raises(CaptureError, match="within a block: 30 of 32 bytes"):
        next(packets)


def test_interfaces_can_be_added_while_it_is_written() -> None:
    file = io.BytesIO()
    with Capture(file, interfaces=()) as capture:
        with pytest.raises(ValueError, match="0 interface"):
            capture.record(b"none", 0.0, outbound=True)
        assert capture.add_interface("first") == 0
        capture.record(b"one", 1.0, outbound=True)
        assert capture.add_interface("second") == 1
        capture.record(b"two", 2.0, outbound=False, interface=1)
        assert capture.interfaces == ("first", "second")
    file.seek(0)
    packets = list(read_pcapng_untrusted(file))
    assert [(packet.interface, packet.data) for packet in packets] == [(0, b"one"), (1, b"two")]
