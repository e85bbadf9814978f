"""Reading descriptions: what stacks in use write, and what hostile peers may write."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcsctp.errors import DescriptionError
from rtcsctp.ice.candidate import CandidateType
from rtcsctp.sdp.attributes import MAX_CANDIDATES, MAX_DESCRIPTION, MAX_LINES, MAX_SECTIONS
from rtcsctp.sdp.parse import parse_untrusted
from rtcsctp.sdp.write import write

from .descriptions import (
    AIORTC,
    CHROMIUM,
    FIREFOX,
    HEAD,
    LEGACY,
    LIBDATACHANNEL,
    PION,
    PRINT_A,
    PRINT_B,
    STACKS,
    TRANSPORT,
    data,
    media,
    text,
)


@pytest.mark.parametrize("name", STACKS)
def test_the_descriptions_of_real_stacks_have_a_complete_data_section(name: str) -> None:
    section = parse_untrusted(STACKS[name]).data
    assert section is not None
    assert section.is_data_channel
    assert not section.rejected
    assert section.setup == "actpass"
    assert str(section.fingerprints[0]) == PRINT_A
    assert section.ufrag is not None
    assert section.pwd is not None
    assert section.sctp_port == 5000


def test_a_description_by_chromium() -> None:
    description = parse_untrusted(CHROMIUM)
    assert (description.session_id, description.session_version) == (4611731400430051336, 2)
    assert description.bundle == ("0",)
    section = description.sections[0]
    assert section is description.data
    assert (section.kind, section.port, section.mid) == ("application", 9, "0")
    assert (section.ufrag, section.pwd) == ("L49B", "VSqkwgaXn5wiJLyan3xl3+NN")
    assert section.max_message_size == 262_144
    assert section.trickle
    assert not section.end_of_candidates  # pitfall W16: Chrome never says it
    assert [candidate.type for candidate in section.candidates] == [
        CandidateType.HOST,
        CandidateType.SERVER_REFLEXIVE,
        CandidateType.HOST,
    ]
    assert section.candidates[0].is_mdns
    assert section.transport_mids == ("0",)


def test_fingerprint_credentials_and_setup_may_be_at_session_level_pitfall_w24() -> None:
    assert str(parse_untrusted(FIREFOX).sections[0].fingerprints[0]) == PRINT_A
    everything = parse_untrusted(text(*HEAD, "a=ice-options:trickle", *TRANSPORT, *data()))
    section = everything.sections[0]
    assert (section.ufrag, section.pwd) == ("fNv6", "3dTAGkhJC4mGBcOOHEIiDz7s")
    assert section.setup == "actpass"
    assert section.ice_options == ("trickle",)
    assert str(section.fingerprints[0]) == PRINT_A


def test_the_section_has_precedence_over_the_session_pitfall_w24() -> None:
    own = ("a=ice-ufrag:mine", f"a=ice-pwd:{'m' * 22}", f"a=fingerprint:{PRINT_B}")
    section = parse_untrusted(text(*HEAD, *TRANSPORT, *data("0", *own, "a=setup:passive")))
    assert section.data is not None
    assert (section.data.ufrag, section.data.pwd) == ("mine", "m" * 22)
    assert [str(print_) for print_ in section.data.fingerprints] == [PRINT_B]
    assert section.data.setup == "passive"


def test_half_a_pair_of_credentials_is_not_completed_from_session_level() -> None:
    section = parse_untrusted(text(*HEAD, *TRANSPORT, *data("0", "a=ice-ufrag:mine"))).sections[0]
    assert (section.ufrag, section.pwd) == ("mine", None)


@pytest.mark.parametrize(
    ("line", "size"),
    [
        ("a=x:y", 65_536),
        ("a=max-message-size:0", None),
        ("a=max-message-size:1", 1),
        ("a=max-message-size:1073741823", 1_073_741_823),
    ],
)
def test_the_maximum_message_size_is_64_k_if_absent_and_none_if_zero_pitfall_w25(
    line: str, size: int | None
) -> None:
    assert parse_untrusted(text(*HEAD, *data("0", line))).sections[0].max_message_size == size


def test_the_sctp_port_of_old_descriptions_is_in_the_m_line_pitfall_w26() -> None:
    section = parse_untrusted(LEGACY).sections[0]
    assert section.is_data_channel
    assert section.is_legacy
    assert (section.protocol, section.sctp_port) == ("DTLS/SCTP", 5000)
    other = LEGACY.replace("5000", "6001").replace("webrtc-datachannel", "bfcp")
    assert not parse_untrusted(other).sections[0].is_data_channel


@pytest.mark.parametrize(
    "protocol", ["UDP/DTLS/SCTP", "TCP/DTLS/SCTP", "DTLS/SCTP", "udp/dtls/sctp"]
)
def test_all_protocols_of_data_channels_are_known_pitfall_w26(protocol: str) -> None:
    sdp = text(*HEAD, *data()).replace("UDP/DTLS/SCTP", protocol)
    assert parse_untrusted(sdp).sections[0].is_data_channel


def test_other_applications_are_no_data_channels() -> None:
    for line in (
        "m=application 9 UDP/DTLS/SCTP bfcp",
        "m=application 9 UDP/BFCP *",
        "m=audio 9 UDP/DTLS/SCTP webrtc-datachannel",
    ):
        assert parse_untrusted(text(*HEAD, line)).data is None


def test_port_zero_is_a_rejection_but_not_with_bundle_only_pitfall_w28() -> None:
    rejected = parse_untrusted(text(*HEAD, *data(port=0)))
    assert rejected.sections[0].rejected
    assert rejected.data is None
    bundled = parse_untrusted(text(*HEAD, "a=group:BUNDLE 0", *data("0", "a=bundle-only", port=0)))
    assert not bundled.sections[0].rejected
    assert bundled.data is bundled.sections[0]


def test_sctp_port_zero_is_a_rejection_too() -> None:
    sdp = text(*HEAD, *data()).replace("sctp-port:5000", "sctp-port:0")
    assert parse_untrusted(sdp).sections[0].rejected


def test_a_bundle_only_section_inherits_the_transport_of_its_bundle_pitfall_w28() -> None:
    sdp = text(
        *HEAD,
        "a=group:BUNDLE a v d",
        *media("audio", "a", *TRANSPORT, "a=candidate:1 1 udp 1 192.0.2.1 1000 typ host"),
        *media("video", "v"),
        *data("d", "a=bundle-only", port=0),
    )
    description = parse_untrusted(sdp)
    section = description.data
    assert section is not None
    assert section.ufrag == "fNv6"
    assert section.setup == "actpass"
    assert [candidate.host for candidate in section.candidates] == ["192.0.2.1"]
    assert section.transport_mids == ("d", "a", "v")
    assert description.bundle == ("a", "v", "d")


def test_sections_with_the_same_credentials_share_what_is_trickled() -> None:
    # Chromium with max-bundle: all sections have the credentials, the first has the candidates.
    sdp = text(
        *HEAD,
        "a=group:BUNDLE a d",
        *media("audio", "a", *TRANSPORT, "a=candidate:1 1 udp 1 192.0.2.1 1000 typ host"),
        *data("d", *TRANSPORT),
    )
    section = parse_untrusted(sdp).data
    assert section is not None
    assert section.transport_mids == ("d", "a")
    assert len(section.candidates) == 1


def test_sections_with_other_credentials_share_nothing() -> None:
    other = ("a=ice-ufrag:else", f"a=ice-pwd:{'e' * 22}")
    sdp = text(*HEAD, "a=group:BUNDLE a d", *media("audio", "a", *other), *data("d", *TRANSPORT))
    section = parse_untrusted(sdp).data
    assert section is not None
    assert section.transport_mids == ("d",)


def test_commas_among_the_ice_options_are_understood_pitfall_w16() -> None:
    section = parse_untrusted(LIBDATACHANNEL).data
    assert section is not None
    assert section.ice_options == ("ice2", "trickle")


def test_candidates_of_a_second_component_or_of_unknown_kinds_are_skipped() -> None:
    assert len(parse_untrusted(PION).sections[0].candidates) == 1
    strange = (
        "a=candidate:1 1 quic 1 192.0.2.1 1000 typ host",
        "a=candidate:1 1 udp 1 192.0.2.1 1000 typ teleport",
        "a=candidate:1 1 udp 1 fe80::1%eth0 1000 typ host",
        "a=candidate:1 1 UDP 1 192.0.2.1 1000 typ host what is this",
    )
    assert len(parse_untrusted(text(*HEAD, *data("0", *strange))).sections[0].candidates) == 1


def test_line_ends_may_be_lf_and_blank_lines_do_no_harm() -> None:
    assert parse_untrusted(AIORTC.replace("\r\n", "\n")) == parse_untrusted(AIORTC)
    assert parse_untrusted(AIORTC.replace("\r\n", " \r\n\r\n")) == parse_untrusted(AIORTC)


def test_a_description_without_sections_can_be_read() -> None:
    description = parse_untrusted(text(*HEAD))
    assert description.sections == ()
    assert description.data is None


@pytest.mark.parametrize("name", STACKS)
def test_what_is_written_again_says_the_same(name: str) -> None:
    description = parse_untrusted(STACKS[name])
    again = parse_untrusted(write(description))
    assert len(again.sections) == 1
    theirs, ours = description.sections[0], again.sections[0]
    assert (theirs.ufrag, theirs.pwd, theirs.candidates) == (ours.ufrag, ours.pwd, ours.candidates)
    assert (theirs.fingerprints, theirs.setup) == (ours.fingerprints, ours.setup)
    assert (theirs.sctp_port, theirs.max_message_size) == (ours.sctp_port, ours.max_message_size)
    assert again == parse_untrusted(write(again))


# ------------------------------------------------------------------------------------------ refused


@pytest.mark.parametrize(
    ("sdp", "message"),
    [
        ("", "empty"),
        ("hello", "line 1 .*not of the form"),
        (text("v=1", *HEAD[1:]), "line 1 .*begins with v=0"),
        (text("o=- 1 1 IN IP4 0.0.0.0"), "begins with v=0"),
        (text("v=0"), "o= line"),
        (text("v=0", "s=-"), "line 2 .*o= line"),
        (text("v=0", "o=- x 1 IN IP4 0.0.0.0"), "line 2 .*six words"),
        (text("v=0", "o=- 1 1 IN IP4"), "six words"),
        (text(*HEAD, "q=1"), "session level"),
        (text(*HEAD, "m=application 9 UDP/DTLS/SCTP"), "line 5 .*m= line"),
        (text(*HEAD, "m=application 65536 UDP/DTLS/SCTP webrtc-datachannel"), "port"),
        (text(*HEAD, "m=application -1 UDP/DTLS/SCTP webrtc-datachannel"), "port"),
        (text(*HEAD, "m=application 9 UDP/DTLS/SCTP 70000"), "SCTP port"),
        (text(*HEAD, 'm=app"lication 9 UDP/DTLS/SCTP x'), "plain"),
        (text(*HEAD, *data(), "v=0"), "section"),
        (text(*HEAD, *data("0"), *data("0")), "same mid"),
        (text(*HEAD, *data("a b")), "mid"),
        (text(*HEAD, *data("0", "a=ice-ufrag:abc")), "ice-ufrag is 4 to 256"),
        (text(*HEAD, *data("0", "a=ice-ufrag:ab cd")), "ice-ufrag"),
        (text(*HEAD, *data("0", "a=ice-ufrag:" + "a" * 257)), "ice-ufrag"),
        (text(*HEAD, *data("0", "a=ice-pwd:" + "a" * 21)), "ice-pwd is 22 to 256"),
        (text(*HEAD, *data("0", "a=ice-ufrag:abcd", "a=ice-ufrag:abce")), "second ice-ufrag"),
        (text(*HEAD, *data("0", "a=fingerprint:sha-256 AB")), "32 bytes"),
        (text(*HEAD, *data("0", "a=fingerprint:sha-256")), "fingerprint"),
        (text(*HEAD, *data("0", "a=setup:maybe")), "setup"),
        (text(*HEAD, *data("0", "a=setup:active", "a=setup:passive")), "second setup"),
        (text(*HEAD, *data("0", "a=sctp-port:65536")), "SCTP port"),
        (text(*HEAD, *data("0", "a=sctp-port:x")), "SCTP port"),
        (text(*HEAD, *data("0", "a=max-message-size:-1")), "max-message-size"),
        (text(*HEAD, *data("0", "a=max-message-size:" + "9" * 21)), "max-message-size"),
        (text(*HEAD, *data("0", "a=tls-id:short")), "tls-id"),
        (text(*HEAD, *data("0", "a=candidate:1 1 udp")), "candidate"),
        (text(*HEAD, *data("0", "a=ice-options:" + "x " * 17)), "ice-options"),
        (text(*HEAD, "a=group:BUNDLE " + "0 " * 65), "group"),
    ],
)
def test_a_damaged_description_is_refused_with_the_reason(sdp: str, message: str) -> None:
    with pytest.raises(DescriptionError, match=message) as caught:
        parse_untrusted(sdp)
    assert len(str(caught.value)) < 400


def test_the_message_has_the_line_cut_to_80_characters_and_never_the_password() -> None:
    with pytest.raises(DescriptionError) as caught:
        parse_untrusted(text(*HEAD, "m=" + "x" * 5000))
    assert "line 5" in str(caught.value)
    assert len(str(caught.value)) < 200
    with pytest.raises(DescriptionError) as caught:
        parse_untrusted(text(*HEAD, *data("0", "a=ice-pwd:secret secret secret")))
    assert "secret" not in str(caught.value)


def test_control_characters_come_out_of_error_messages_escaped() -> None:
    with pytest.raises(DescriptionError) as caught:
        parse_untrusted("v=0\nevil \x1b[2J\x00")
    assert str(caught.value).isprintable()


# ------------------------------------------------------------------------------------------ bounded


def test_the_length_the_lines_and_the_sections_are_bounded() -> None:
    with pytest.raises(DescriptionError, match="characters"):
        parse_untrusted(text(*HEAD) + "a=x\n" * (MAX_DESCRIPTION // 4))
    with pytest.raises(DescriptionError, match="lines"):
        parse_untrusted(text(*HEAD) + "a=x\n" * MAX_LINES)
    with pytest.raises(DescriptionError, match="sections"):
        parse_untrusted(text(*HEAD) + "m=audio 9 RTP/AVP 0\n" * (MAX_SECTIONS + 1))
    prints = [f"a=fingerprint:x 00:{number:02x}" for number in range(99)]
    with pytest.raises(DescriptionError, match="fingerprints"):
        parse_untrusted(text(*HEAD, *data("0", *prints)))


def test_only_so_many_candidates_are_kept() -> None:
    lines = (f"a=candidate:1 1 udp 1 192.0.2.1 {port} typ host" for port in range(1, 2000))
    section = parse_untrusted(text(*HEAD, *data("0", *lines))).sections[0]
    assert len(section.candidates) == MAX_CANDIDATES


@pytest.mark.parametrize(
    "line",
    [
        "a=candidate:" + " " * 40,
        "a=candidate:1 1 udp 1 192.0.2.1 1000 typ host" + " x" * 40,
        "a=group:BUNDLE " + "x " * 60,
        "a=ice-options:" + "x " * 15,
        f"a=fingerprint:{PRINT_A}",
    ],
)
def test_the_time_is_linear(line: str) -> None:
    """Doubled length takes about doubled time: an eighth of the limit against a half of it."""

    def seconds(share: int) -> float:
        sdp = text(*HEAD) + text(*data("0")) + f"{line}\n" * (MAX_DESCRIPTION // share // len(line))
        best = 1e9
        for _ in range(3):
            begin = time.perf_counter()
            with suppress(DescriptionError):
                parse_untrusted(sdp)
            best = min(best, time.perf_counter() - begin)
        return best

    assert seconds(2) < 16 * seconds(16) + 0.05


# --------------------------------------------------------------------------------------------- fuzz

_WORDS = st.sampled_from(
    [line for sdp in STACKS.values() for line in sdp.split("\r\n")]
    + ["a=bundle-only", "a=ice-lite", "a=", "m=", "a=group:BUNDLE", "m=audio 0 RTP/AVP 0"]
)


@pytest.mark.fuzz
@given(st.text(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_text_gives_a_description_or_the_one_error(sdp: str) -> None:
    with suppress(DescriptionError):
        parse_untrusted(sdp)


@pytest.mark.fuzz
@given(st.lists(st.one_of(_WORDS, st.text(max_size=40)), max_size=25), st.integers(0, 2**31))
@settings(max_examples=300, deadline=None)
def test_lines_in_any_order_give_a_description_or_the_one_error(
    lines: list[str], damage: int
) -> None:
    sdp = text(*HEAD, *lines)
    cut = damage % (len(sdp) + 1)
    for variant in (sdp, sdp[:cut] + chr(damage % 256) + sdp[cut + 1 :]):
        try:
            description = parse_untrusted(variant)
        except DescriptionError:
            continue
        again = write(description)
        assert all(line.isprintable() for line in again.split("\r\n"))
        parse_untrusted(again)
