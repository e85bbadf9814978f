"""Hexadecimal text in the forms in which people have it."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.sctp.wire import chunks
from rtcsctp.sctp.wire.packet import build
from rtcsctp.testing import LINKTYPE_SCTP, CapturedPacket, CaptureError
from rtcsctp.testing.hex_text import parse_hex_untrusted

ONE = build(5000, 5001, 7, chunks.encode_data(1, 3, 0, 0, 51, b"some text, as long as it is"))
TWO = build(5001, 5000, 8, chunks.encode(chunks.ChunkType.COOKIE_ACK))


def parse(text: str) -> list[CapturedPacket]:
    return list(parse_hex_untrusted(io.BytesIO(text.encode())))


def dump(data: bytes, form: str) -> str:
    lines = []
    for start in range(0, len(data), 16):
        row = data[start : start + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        pairs = " ".join(row[i : i + 2].hex() for i in range(0, len(row), 2))
        lines.append(
            {
                "hexdump": f"{start:08x}  {row[:8].hex(' '):23}  {row[8:].hex(' '):23}  |{text}|",
                "xxd": f"{start:08x}: {pairs:39}  {text}",
                "tcpdump": f"\t0x{start:04x}:  {pairs}",
                "od": f"{start:06x} {row.hex(' ')}",
                "wireshark": f"{start:04x}  {row.hex(' ')}",
            }[form]
        )
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("form", ["hexdump", "xxd", "tcpdump", "od", "wireshark"])
def test_dumps(form: str) -> None:
    found = parse(dump(ONE, form) + dump(TWO, form) + "\n# a comment\n\n" + dump(ONE, form))
    assert [packet.data for packet in found] == [ONE, TWO, ONE]
    assert {packet.link_type for packet in found} == {LINKTYPE_SCTP}


@pytest.mark.parametrize("separator", ["", " ", ":", " 0x"])
def test_digits_one_packet_in_a_line(separator: str) -> None:
    lines = [separator.join(f"{byte:02X}" for byte in data) for data in (ONE, TWO)]
    assert [packet.data for packet in parse("\n".join(lines))] == [ONE, TWO]


def test_digits_in_several_lines_are_one_packet() -> None:
    digits = ONE.hex()
    text = "\n".join(digits[at : at + 60] for at in range(0, len(digits), 60))
    assert [packet.data for packet in parse(text)] == [ONE]


def test_marks_tell_the_direction() -> None:
    found = parse(f"> {ONE.hex(' ')}\n< {TWO.hex()}\nO {dump(ONE, 'wireshark')}I\n{TWO.hex()}\n")
    assert [(packet.outbound, packet.data) for packet in found] == [
        (True, ONE),
        (False, TWO),
        (True, ONE),
        (False, TWO),
    ]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("13881g", "line 3: 'g' is not a hexadecimal digit (at byte {at})"),
        ("138", "line 3 has an odd number of hexadecimal digits (at byte {at})"),
        ("00" * 200_000, "line 3 is too long for a packet (at byte {at})"),
        ("0000  00 01 02\n0020  03", "line 4 has the offset 0x0020 where 0x3 should be"),
        ("0000  00 01 02\nhello", "line 4 has no offset, unlike those before"),
    ],
)
def test_damage_is_named_with_its_place(line: str, complaint: str) -> None:
    start = f"{ONE.hex()}\n\n"
    with pytest.raises(CaptureError) as caught:
        parse(start + line)
    assert complaint.format(at=len(start)) in str(caught.value)


def test_what_comes_before_damage_is_given() -> None:
    packets = parse_hex_untrusted([ONE.hex().encode() + b"\n", b"?\n"])
    assert next(packets).data == ONE
    with pytest.raises(CaptureError):
        next(packets)


@given(text=st.lists(st.binary(max_size=60)))
def test_no_text_does_harm(text: list[bytes]) -> None:
    try:
        for packet in parse_hex_untrusted(text):
            assert isinstance(packet.data, bytes)
    except CaptureError:
        pass


def test_frames_are_guessed() -> None:
    ip = bytes.fromhex("45000000 00000000 40840000 0a000001 0a000002") + TWO
    ip = ip[:2] + len(ip).to_bytes(2, "big") + ip[4:]
    assert [packet.link_type for packet in parse(ip.hex())] == [101]
    assert [packet.link_type for packet in parse((bytes(12) + b"\x08\0" + ip).hex())] == [1]
