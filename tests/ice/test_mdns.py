"""Messages of multicast DNS about candidates' names."""

from __future__ import annotations

import contextlib
import random
import struct
import uuid

import dns.flags
import dns.message
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.errors import DecodeError
from rtcsctp.ice.mdns import (
    Answer,
    MdnsMessage,
    Question,
    is_candidate_name,
    make_answer,
    make_name,
    make_query,
    parse_untrusted,
)

NAME = "4c5b1ae3-8b4f-4b5c-8a4f-0f6e2f1f5a11.local"


def test_names_are_random_uuids_of_version_4() -> None:
    rng = random.Random(1)
    names = {make_name(rng) for _ in range(200)}
    assert len(names) == 200
    for name in names:
        assert is_candidate_name(name)
        parsed = uuid.UUID(name.removesuffix(".local"))
        assert parsed.version == 4
        assert parsed.variant == uuid.RFC_4122


def test_only_uuids_in_one_label_are_names_of_candidates() -> None:
    for name in (NAME, NAME.upper(), NAME + "."):
        assert is_candidate_name(name)
    for name in ("printer.local", "x." + NAME, NAME + ".local", NAME[:-6], "", NAME + ".."):
        assert not is_candidate_name(name)


def test_queries_ask_for_both_versions() -> None:
    assert parse_untrusted(make_query(NAME)) == MdnsMessage(
        0, False, questions=(Question(NAME, (4,)), Question(NAME, (6,)))
    )
    message = dns.message.from_wire(make_query(NAME))
    assert [(q.name.to_text(), q.rdtype) for q in message.question] == [
        (NAME + ".", dns.rdatatype.A),
        (NAME + ".", dns.rdatatype.AAAA),
    ]


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_answers_come_back(address: str) -> None:
    assert parse_untrusted(make_answer(NAME, address)) == MdnsMessage(
        0, True, answers=(Answer(NAME, address, 120),)
    )
    assert parse_untrusted(make_answer(NAME, address, ttl=0)).answers[0].ttl == 0


def test_an_answer_to_a_conventional_resolver_has_its_id_and_question() -> None:
    data = make_answer(NAME, "192.0.2.1", legacy_id=4711)
    message = dns.message.from_wire(data)
    assert message.id == 4711
    assert message.flags & dns.flags.QR
    assert message.question[0].rdtype == dns.rdatatype.A
    assert message.answer[0].ttl == 10
    assert message.answer[0][0].to_text() == "192.0.2.1"


def test_questions_in_other_forms_are_understood() -> None:
    for kind, versions in (("A", (4,)), ("AAAA", (6,)), ("ANY", (4, 6))):
        query = dns.message.make_query(NAME.upper(), kind)
        assert parse_untrusted(query.to_wire()).questions == (Question(NAME, versions),)
    wire = bytearray(make_query(NAME))
    wire[-2] |= 0x80  # a unicast answer would be welcome: RFC 6762 5.4
    assert len(parse_untrusted(bytes(wire)).questions) == 2


def test_compressed_answers_among_other_records_are_found() -> None:
    message = dns.message.Message(0)
    message.flags = dns.flags.QR | dns.flags.AA
    message.answer = [
        dns.rrset.from_text("printer.local.", 120, "IN", "A", "192.0.2.9"),
        dns.rrset.from_text(NAME + ".", 120, "IN", "TXT", "x"),
    ]
    message.additional = [dns.rrset.from_text(NAME + ".", 120, "IN", "A", "192.0.2.1")]
    assert parse_untrusted(message.to_wire()).answers == (Answer(NAME, "192.0.2.1", 120),)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="hidden candidate"):
        make_query("printer.local")
    with pytest.raises(ValueError, match="hidden candidate"):
        make_answer("printer.local", "192.0.2.1")
    with pytest.raises(ValueError, match="IP"):
        make_answer(NAME, "printer")


def test_records_of_the_wrong_size_are_skipped() -> None:
    whole = make_answer(NAME, "192.0.2.1")
    short = whole[:-6] + b"\0\3abc"
    assert parse_untrusted(short).answers == ()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        make_query(NAME)[:11],
        make_query(NAME)[:30],
        make_query(NAME) + b"\0" * 9000,
        struct.pack(">6H", 0, 0x2800, 0, 0, 0, 0),  # opcode UPDATE
        struct.pack(">6H", 0, 0x8003, 0, 0, 0, 0),  # NXDOMAIN
        struct.pack(">6H", 0, 0, 0xFFFF, 0, 0, 0),
        struct.pack(">6H", 0, 0, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1",  # points at itself
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        parse_untrusted(data)


@pytest.mark.fuzz
@given(st.binary(max_size=120), st.sampled_from([0, 12, 60]), st.sampled_from([0, 0x8400]))
def test_any_bytes_are_parsed_or_refused(data: bytes, kept: int, flags: int) -> None:
    header = struct.pack(">6H", 0, flags, 1, 1, 0, 1)
    for start in (b"", header, make_query(NAME)[:kept], make_answer(NAME, "192.0.2.1")[:kept]):
        try:
            parse_untrusted(start + data)
        except DecodeError:
            continue


@pytest.mark.fuzz
@given(st.integers(0, 69), st.integers(0, 255), st.booleans())
def test_changed_messages_are_parsed_or_refused(at: int, value: int, answer: bool) -> None:
    data = bytearray(make_answer(NAME, "192.0.2.1") if answer else make_query(NAME))
    data[at % len(data)] = value
    with contextlib.suppress(DecodeError):
        parse_untrusted(bytes(data))
