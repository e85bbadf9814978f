"""Trickle fragments (RFC 8840 section 9)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcsctp.errors import DescriptionError
from rtcsctp.sdp.attributes import MAX_CANDIDATES, MAX_DESCRIPTION, MAX_SECTIONS
from rtcsctp.sdp.fragment import (
    Fragment,
    FragmentSection,
    parse_fragment_untrusted,
    write_fragment,
)

from .descriptions import CHROMIUM, candidate, text

FRAGMENT = text(
    "a=ice-options:trickle ice2",
    "a=ice-ufrag:EsAw",
    "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1",
    "m=audio 9 RTP/AVP 0",
    "a=mid:0",
    "a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw",
    "a=candidate:3471623853 1 udp 2122194687 198.51.100.2 61765 typ host generation 0 ufrag EsAw",
    "a=end-of-candidates",
)


def test_a_fragment_as_whip_clients_send_it() -> None:
    fragment = parse_fragment_untrusted(FRAGMENT)
    assert (fragment.ufrag, fragment.pwd) == ("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1")
    assert fragment.ice_options == ("trickle", "ice2")
    (section,) = fragment.sections
    assert (section.kind, section.mid, section.end_of_candidates) == ("audio", "0", True)
    assert [known.port for known in section.candidates] == [61764, 61765]


def test_what_is_written_can_be_read() -> None:
    for fragment in (
        Fragment(),
        Fragment(ufrag="abcd", pwd="x" * 22, ice_lite=True, end_of_candidates=True),
        parse_fragment_untrusted(FRAGMENT),
        Fragment(
            ufrag="abcd",
            pwd="x" * 22,
            sections=(
                FragmentSection(
                    mid="data", candidates=(candidate("candidate:1 1 udp 1 192.0.2.1 9 typ host"),)
                ),
            ),
        ),
    ):
        assert parse_fragment_untrusted(write_fragment(fragment)) == fragment


def test_credentials_in_the_sections_and_candidates_at_the_head_are_understood() -> None:
    fragment = parse_fragment_untrusted(CHROMIUM)  # whole descriptions are sent, too
    assert fragment.ufrag == "L49B"
    assert fragment.sections[0].mid == "0"
    assert len(fragment.sections[0].candidates) == 3
    head = parse_fragment_untrusted("a=candidate:1 1 udp 1 192.0.2.1 9 typ host\n")
    assert head.sections[0].mid is None
    assert len(head.sections[0].candidates) == 1


def test_an_empty_fragment_says_nothing() -> None:
    assert parse_fragment_untrusted("") == Fragment()


@pytest.mark.parametrize(
    ("fragment", "message"),
    [
        ("nonsense", "line 1"),
        ("m=audio", "m= line"),
        ("a=ice-ufrag:x", "ice-ufrag"),
        ("a=candidate:nonsense", "candidate"),
        ("a=ice-ufrag:abcd\nm=a 9 b c\na=ice-ufrag:abce", "differ"),
        ("m=a 9 b c\n" * (MAX_SECTIONS + 1), "sections"),
        ("a=x\n" * MAX_DESCRIPTION, "characters"),
    ],
)
def test_a_damaged_fragment_is_refused(fragment: str, message: str) -> None:
    with pytest.raises(DescriptionError, match=message) as caught:
        parse_fragment_untrusted(fragment)
    assert len(str(caught.value)) < 300


def test_candidates_are_bounded() -> None:
    lines = "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\n" * (MAX_CANDIDATES + 9)
    fragment = parse_fragment_untrusted(f"m=a 9 b c\n{lines}m=a 9 b c\n{lines}")
    assert sum(len(section.candidates) for section in fragment.sections) == MAX_CANDIDATES


@pytest.mark.fuzz
@given(st.lists(st.one_of(st.sampled_from(FRAGMENT.split("\r\n")), st.text(max_size=40))))
@settings(max_examples=200, deadline=None)
def test_any_text_gives_a_fragment_or_the_one_error(lines: list[str]) -> None:
    try:
        fragment = parse_fragment_untrusted("\n".join(lines))
    except DescriptionError:
        return
    assert parse_fragment_untrusted(write_fragment(fragment)) == fragment
