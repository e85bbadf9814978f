"""Candidates as text (RFC 8839 5.1) and their priorities; pitfalls W16, W17."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.errors import DescriptionError
from rtcsctp.ice.candidate import (
    MAX_CANDIDATE_LENGTH,
    Candidate,
    CandidateType,
    candidate_priority,
)

parse = Candidate.parse_untrusted

CHROME = (
    "candidate:3756437634 1 udp 2113937151 4c5b1ae3-8b4f-4b5c-8a4f-0f6e2f1f5a11.local 51372 typ"
    " host generation 0 ufrag 7hL+ network-cost 999"
)
REFLEXIVE = (
    "a=candidate:842163049 1 udp 1677729535 203.0.113.5 51372 typ srflx raddr 0.0.0.0 rport 0"
    " generation 0 ufrag 7hL+"
)
FIREFOX = "candidate:1 1 TCP 2105458943 2001:DB8::1 9 typ host tcptype active"


def test_mdns_candidate_of_chrome() -> None:
    candidate = parse(CHROME)
    assert candidate.type is CandidateType.HOST
    assert candidate.transport == "udp"
    assert candidate.priority == 2113937151
    assert candidate.is_name
    assert candidate.is_mdns
    assert candidate.ufrag == "7hL+"
    assert candidate.to_sdp() == CHROME.replace(" generation 0", "").replace(
        " network-cost 999", ""
    )


def test_reflexive_candidate() -> None:
    candidate = parse(REFLEXIVE)
    assert candidate.address == ("203.0.113.5", 51372)
    assert (candidate.related_host, candidate.related_port) == ("0.0.0.0", 0)
    assert not candidate.is_name
    assert not candidate.is_mdns


def test_tcp_candidate_of_firefox_in_capitals() -> None:  # pitfall W16
    candidate = parse(FIREFOX)
    assert candidate.transport == "tcp"
    assert candidate.tcp_type == "active"
    assert candidate.address == ("2001:db8::1", 9)
    assert parse(FIREFOX.replace(" 9 ", " 0 ")).port == 0
    assert parse(FIREFOX.replace("TCP", "UDP")).transport == "udp"
    assert parse(FIREFOX.replace("TCP", "UDP")).tcp_type is None


def test_dns_names_are_names_but_not_of_mdns() -> None:
    candidate = parse("candidate:1 1 udp 1 turn.example.org. 9 typ relay")
    assert candidate.is_name
    assert not candidate.is_mdns


def test_unknown_extensions_are_skipped_and_never_kept() -> None:  # pitfall W23
    candidate = parse("candidate:1 1 udp 1 192.0.2.1 9 typ host evil <script> generation 0 odd")
    assert candidate.to_sdp() == "candidate:1 1 udp 1 192.0.2.1 9 typ host"


@pytest.mark.parametrize(
    "text",
    [
        "",  # the end of candidates is not a candidate: pitfall W17
        "candidate:",
        "candidate",
        "1 1 udp 1 192.0.2.1 9 typ host",
        "candidate:1 1 udp 1 192.0.2.1 9 typ",
        "candidate:1 1 udp 1 192.0.2.1 9 host typ",
        "candidate:! 1 udp 1 192.0.2.1 9 typ host",
        f"candidate:{'1' * 33} 1 udp 1 192.0.2.1 9 typ host",
        "candidate:1 0 udp 1 192.0.2.1 9 typ host",
        "candidate:1 257 udp 1 192.0.2.1 9 typ host",
        "candidate:1 x udp 1 192.0.2.1 9 typ host",
        "candidate:1 1 sctp 1 192.0.2.1 9 typ host",
        "candidate:1 1 udp 0 192.0.2.1 9 typ host",
        "candidate:1 1 udp -1 192.0.2.1 9 typ host",
        "candidate:1 1 udp 4294967296 192.0.2.1 9 typ host",
        f"candidate:1 1 udp {'9' * 900} 192.0.2.1 9 typ host",
        "candidate:1 1 udp 1 192.0.2.1 0 typ host",
        "candidate:1 1 udp 1 192.0.2.1 65536 typ host",
        "candidate:1 1 udp 1 192.0.2.1 9 typ token",
        "candidate:1 1 udp 1 192.0.2 9 typ host",
        "candidate:1 1 udp 1 192.0.2.256 9 typ host",
        "candidate:1 1 udp 1 fe80::1%eth0 9 typ host",
        "candidate:1 1 udp 1 :: 9 typ host",
        "candidate:1 1 udp 1 0.0.0.0 9 typ host",
        "candidate:1 1 udp 1 255.255.255.255 9 typ host",
        "candidate:1 1 udp 1 224.0.0.251 9 typ host",
        "candidate:1 1 udp 1 ff02::fb 9 typ host",
        "candidate:1 1 udp 1 ::ffff:192.0.2.1 9 typ host",
        "candidate:1 1 udp 1 -x.local 9 typ host",
        f"candidate:1 1 udp 1 {'x' * 254} 9 typ host",
        "candidate:1 1 udp 1 192.0.2.1 9 typ host raddr 192.0.2.2 rport 65536",
        "candidate:1 1 udp 1 192.0.2.1 9 typ host ufrag a:b",
        f"candidate:1 1 udp 1 192.0.2.1 9 typ host ufrag {'a' * 257}",
        "candidate:1 1 udp 1 192.0.2.\N{ARABIC-INDIC DIGIT ONE} 9 typ host",
        "candidate:1 1 udp 1 192.0.2.1 9 typ host x " + "y" * MAX_CANDIDATE_LENGTH,
    ],
)
def test_what_is_no_candidate_or_none_for_us_is_refused(text: str) -> None:
    with pytest.raises(DescriptionError) as found:
        parse(text)
    assert len(str(found.value)) < 300


def test_a_related_address_that_is_none_is_left_out() -> None:
    candidate = parse("candidate:1 1 udp 1 192.0.2.1 9 typ srflx raddr <b> rport 1")
    assert candidate.related_host is None


def test_priorities_of_rfc_8445() -> None:
    assert candidate_priority(CandidateType.HOST) == 2130706431
    assert candidate_priority(CandidateType.SERVER_REFLEXIVE) == 1694498815
    assert candidate_priority(CandidateType.PEER_REFLEXIVE) == 1862270975
    assert candidate_priority(CandidateType.RELAYED) == 16777215
    assert candidate_priority(CandidateType.RELAYED, local_preference=0, component=256) == 0
    assert candidate_priority(CandidateType.HOST, local_preference=1, component=2) == (
        (126 << 24) + (1 << 8) + 254
    )
    with pytest.raises(ValueError, match="local preference"):
        candidate_priority(CandidateType.HOST, local_preference=65536)
    with pytest.raises(ValueError, match="component"):
        candidate_priority(CandidateType.HOST, component=0)


ICE_CHARS = st.text("abcXYZ019+/", min_size=1, max_size=32)
PORTS = st.integers(1, 65535)
HOSTS = (
    st.ip_addresses(v=4)
    .filter(lambda ip: not ip.is_multicast and not ip.is_unspecified and int(ip) < 2**32 - 1)
    .map(str)
)


@given(
    st.builds(
        Candidate,
        foundation=ICE_CHARS,
        component=st.integers(1, 256),
        transport=st.just("udp"),
        priority=st.integers(1, 2**31 - 1),
        host=HOSTS | st.just("2001:db8::7") | st.just("a-b.local"),
        port=PORTS,
        type=st.sampled_from(CandidateType),
        related_host=st.just("192.0.2.9"),
        related_port=PORTS,
        ufrag=st.none() | ICE_CHARS,
    )
)
def test_candidates_come_back_from_their_text(candidate: Candidate) -> None:
    assert parse(candidate.to_sdp()) == candidate
    assert parse("a=" + candidate.to_sdp() + "\r\n") == candidate


WORDS = st.sampled_from([*CHROME.split(), *FIREFOX.split(), *REFLEXIVE.split(), "%", "", "-1"])


@pytest.mark.fuzz
@given(st.text(max_size=100) | st.lists(WORDS, max_size=20).map(" ".join))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for one in (text, "candidate:" + text, CHROME[:70] + text):
        try:
            candidate = parse(one)
        except DescriptionError:
            continue
        assert parse(candidate.to_sdp()) == candidate
