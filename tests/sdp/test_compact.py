"""Descriptions as one line."""

from __future__ import annotations

import base64
import re
import zlib
from contextlib import suppress

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcsctp.errors import DescriptionError
from rtcsctp.sdp.attributes import MAX_DESCRIPTION
from rtcsctp.sdp.description import SessionDescription
from rtcsctp.sdp.model import DescriptionType
from rtcsctp.sdp.parse import parse_untrusted

from .descriptions import (
    CHROMIUM,
    HEAD,
    LEGACY,
    STACKS,
    TRANSPORT,
    answer,
    candidate,
    data,
    local,
    media,
    negotiation,
    offer,
    text,
)

CANDIDATES = (
    candidate(
        "candidate:842163049 1 udp 2113937151 4f3c1a2b-1111-4222-8333-944455566677.local 51234 "
        "typ host"
    ),
    candidate("candidate:1 1 udp 1677729535 203.0.113.7 51234 typ srflx raddr 0.0.0.0 rport 0"),
    candidate("candidate:2 1 udp 2113939711 2001:db8::5 51235 typ host"),
)


def our_offer(*candidates: object) -> SessionDescription:
    return negotiation().create_offer(
        local("alice", ufrag="aB+/", candidates=candidates, end_of_candidates=True)
    )


def read(line: str) -> SessionDescription:
    return SessionDescription.from_line_untrusted(line)


def line_of(payload: bytes) -> str:
    checksum = zlib.crc32(payload).to_bytes(4, "big")
    return "RTC1" + base64.urlsafe_b64encode(payload + checksum).decode().rstrip("=")


def test_three_candidates_fit_into_250_characters() -> None:
    line = our_offer(*CANDIDATES).to_line()
    assert len(line) < 250
    assert re.fullmatch(r"[A-Za-z0-9_-]+", line)  # nothing that a URL or a shell would touch


def test_a_line_read_again_is_the_same_description() -> None:
    description = our_offer(*CANDIDATES)
    again = read(description.to_line())
    assert again.type is DescriptionType.OFFER
    # All but the numbers of the o= line.
    assert again.sdp.split("\r\n")[2:] == description.sdp.split("\r\n")[2:]
    assert again.to_line() == description.to_line()


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("kind", [DescriptionType.OFFER, DescriptionType.PRANSWER])
def test_descriptions_of_other_stacks_survive(name: str, kind: DescriptionType) -> None:
    description = SessionDescription(kind, STACKS[name])
    again = read(description.to_line())
    assert again.type is kind
    before, after = parse_untrusted(description.sdp).data, parse_untrusted(again.sdp).data
    assert before is not None
    assert after is not None
    plain = tuple(attrs.evolve(known, ufrag=None) for known in before.candidates)
    assert after.candidates == plain
    for name_ in ("ufrag", "pwd", "fingerprints", "setup", "mid", "max_message_size", "sctp_port"):
        assert getattr(after, name_) == getattr(before, name_)
    assert after.trickle == before.trickle


@pytest.mark.parametrize(
    "sdp",
    [
        "candidate:relay 1 udp 0000001 198.51.100.3 65535 typ relay raddr 203.0.113.7 rport 4000",
        "candidate:007 1 udp 4294967295 a.example 1 typ prflx raddr 2001:db8::1 rport 1",
        "candidate:99999999999999999999999999999999 1 tcp 1 192.0.2.1 9 typ host tcptype active",
        "candidate:+/ 1 tcp 1 192.0.2.1 0 typ host tcptype so",
        "candidate:1 1 udp 1 4F3C1A2B-1111-4222-8333-944455566677.local 9 typ host",
        "candidate:1 1 udp 1 192.0.2.1 9 typ srflx raddr hidden.local rport 7",
        "candidate:1 1 udp 1 192.0.2.1 9 typ srflx raddr 0.0.0.0 rport 9",
        "candidate:1 1 udp 1 192.0.2.1 9 typ srflx raddr :: rport 0",
    ],
)
def test_every_form_of_candidate_survives(sdp: str) -> None:
    section = parse_untrusted(read(our_offer(candidate(sdp)).to_line()).sdp).data
    assert section is not None
    assert section.candidates == (candidate(sdp),)


def test_what_does_not_fit_the_packed_form_goes_as_text() -> None:
    for sdp in (
        LEGACY,
        CHROMIUM.replace("UDP/DTLS", "TCP/DTLS"),
        CHROMIUM + "a=tls-id:" + "x" * 20 + "\r\n",
        CHROMIUM.replace("a=setup:actpass", "a=setup:holdconn"),
        CHROMIUM.replace("sha-256", "sha-999"),
        text(*HEAD, *data("0")),
        text(*HEAD, *data("0", *TRANSPORT, port=0)),
        text(*HEAD, "a=group:BUNDLE a d", *media("audio", "a"), *data("d", *TRANSPORT)),
        text(*HEAD),
    ):
        first = read(offer(sdp).to_line())
        assert read(first.to_line()) == first
        theirs, ours = parse_untrusted(sdp), parse_untrusted(first.sdp)
        assert len(ours.sections) == len(theirs.sections)
        assert (ours.data is None) == (theirs.data is None)


def test_other_sections_arrive_as_rejected() -> None:
    sdp = text(
        *HEAD,
        "a=group:BUNDLE a d",
        *media("audio", "a", *TRANSPORT),
        *data("d", "a=bundle-only", port=0),
    )
    description = parse_untrusted(read(offer(sdp).to_line()).sdp)
    assert description.sections[0].rejected
    assert description.bundle == ("d",)
    assert description.data is not None
    assert description.data.ufrag == "fNv6"


def test_a_rollback_is_a_line_too() -> None:
    assert read(SessionDescription.rollback().to_line()) == SessionDescription.rollback()


def test_a_description_that_cannot_be_read_cannot_become_a_line() -> None:
    with pytest.raises(DescriptionError):
        answer("nonsense").to_line()


def test_what_mail_programs_and_shells_add_is_skipped() -> None:
    line = our_offer(*CANDIDATES).to_line()
    wrapped = "\r\n  ".join(line[at : at + 40] for at in range(0, len(line), 40))
    for variant in (f"  {line}\n", wrapped, f'"{line}"', f"<{line}>", f"`{line}`"):
        assert read(variant).to_line() == line


def test_damaged_cut_and_foreign_lines_are_told_apart() -> None:
    line = our_offer(*CANDIDATES).to_line()
    for wrong, message in (
        ("", "not a connection line"),
        ("hello world", "not a connection line"),
        ("RTC2" + line[4:], "version 2, this program reads 1"),
        ("RTC", "not a connection line"),
        ("RTC1", "damaged or cut"),
        (line[:-5], "damaged or cut"),
        (line + "AAAA", "damaged or cut"),
        (line[:20] + "%" + line[21:], "damaged or cut"),
        (line[:20] + "é" + line[21:], "damaged or cut"),
        ("x" * 10_000_000, "characters"),
    ):
        with pytest.raises(DescriptionError, match=message) as caught:
            read(wrong)
        assert len(str(caught.value)) < 250


def test_every_single_wrong_character_is_noticed() -> None:
    line = our_offer(*CANDIDATES).to_line()
    for at in range(4, len(line)):
        for other in "Aa0_":
            if line[at] != other:
                with pytest.raises(DescriptionError):
                    read(line[:at] + other + line[at + 1 :])


def test_a_line_that_inflates_without_bound_is_refused() -> None:
    bomb = bytes([0x10]) + zlib.compress(b"a=x\n" * MAX_DESCRIPTION)
    with pytest.raises(DescriptionError, match="more than"):
        read(line_of(bomb))
    with pytest.raises(DescriptionError, match="inflated"):
        read(line_of(b"\x10not deflated"))


def test_a_crafted_line_cannot_smuggle_lines_into_the_description() -> None:
    # A host in text form, whose text would begin another attribute.
    line = our_offer(candidate("candidate:1 1 udp 1 evil.example.xx 9 typ host")).to_line()
    payload = base64.urlsafe_b64decode(line[4:] + "=" * (-len(line[4:]) % 4))[:-4]
    assert b"evil.example.xx" in payload
    crafted = payload.replace(b"evil.example.xx", b"x\r\na=setup:acti")
    with pytest.raises(DescriptionError):
        read(line_of(crafted))


@pytest.mark.fuzz
@given(st.binary(max_size=200), st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_any_payload_gives_a_description_or_the_one_error(payload: bytes, head: int) -> None:
    try:
        description = read(line_of(bytes([head]) + payload))
    except DescriptionError:
        return
    if description.type is not DescriptionType.ROLLBACK:
        parse_untrusted(description.sdp)


@pytest.mark.fuzz
@given(st.integers(0, 2**32), st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_any_change_of_a_payload_gives_a_description_or_the_one_error(at: int, byte: int) -> None:
    line = our_offer(*CANDIDATES).to_line()
    payload = bytearray(base64.urlsafe_b64decode(line[4:] + "=" * (-len(line[4:]) % 4))[:-4])
    payload[at % len(payload)] = byte
    for crafted in (bytes(payload), bytes(payload[: at % len(payload)])):
        with suppress(DescriptionError):
            read(line_of(crafted) if crafted else "RTC1")


@pytest.mark.fuzz
@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_text_gives_a_description_or_the_one_error(line: str) -> None:
    for variant in (line, "RTC1" + line):
        with suppress(DescriptionError):
            read(variant)
