"""Offer and answer between two negotiations, and against descriptions made by hand.

In the ladders, ``A -- offer --> B`` is: A creates and sets it, B sets it.
"""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcsctp.errors import ConfigError, DescriptionError, SignallingStateError
from rtcsctp.sdp.description import SessionDescription
from rtcsctp.sdp.model import DescriptionType
from rtcsctp.sdp.negotiation import LocalParameters, Negotiation, Outcome
from rtcsctp.sdp.parse import parse_untrusted
from rtcsctp.sdp.signalling import SignallingState

from .descriptions import (
    CHROMIUM,
    HEAD,
    LEGACY,
    PRINT_B,
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

ALICE, BOB = local("alice"), local("bob")
ROLLBACK = SessionDescription.rollback()


def sends_offer(
    a: Negotiation, b: Negotiation, parameters: LocalParameters = ALICE, *, restart: bool = False
) -> tuple[Outcome, Outcome]:
    description = a.create_offer(parameters, ice_restart=restart)
    return a.set_local(description), b.set_remote(description)


def sends_answer(
    b: Negotiation,
    a: Negotiation,
    parameters: LocalParameters = BOB,
    kind: DescriptionType = DescriptionType.ANSWER,
) -> tuple[Outcome, Outcome]:
    description = attrs.evolve(b.create_answer(parameters), type=kind)
    return b.set_local(description), a.set_remote(description)


def connected() -> tuple[Negotiation, Negotiation]:
    a, b = negotiation(1), negotiation(2)
    sends_offer(a, b)
    sends_answer(b, a)
    return a, b


def states(*sides: Negotiation) -> list[str]:
    return [side.state.value for side in sides]


def answered(b: Negotiation, parameters: LocalParameters = BOB) -> str:
    """Answers the offer that `b` has, and gives the text."""
    description = b.create_answer(parameters)
    b.set_local(description)
    return description.sdp


# ----------------------------------------------------------------------------------- first exchange


def test_an_offer_and_an_answer() -> None:
    """A -- offer --> B, B -- answer --> A."""
    a, b = negotiation(1), negotiation(2)
    at_a, at_b = sends_offer(a, b)
    assert states(a, b) == ["have-local-offer", "have-remote-offer"]
    assert at_a == Outcome(controlling=True)
    assert at_b.remote is not None
    assert (at_b.remote.ufrag, at_b.controlling, at_b.dtls_client) == ("alice0", False, None)

    at_b, at_a = sends_answer(b, a)
    assert states(a, b) == ["stable", "stable"]
    assert at_a.remote is not None
    assert (at_a.remote.ufrag, at_a.controlling, at_a.dtls_client) == ("bob0", True, False)
    assert (at_b.controlling, at_b.dtls_client) == (False, True)
    for outcome in (at_a, at_b):
        assert not outcome.ice_restart_local
        assert not outcome.ice_restart_remote
        assert not outcome.new_dtls
        assert not outcome.no_data


def test_the_text_of_an_offer_is_in_the_order_of_the_rfc() -> None:
    sdp = negotiation().create_offer(ALICE).sdp
    assert sdp.endswith("\r\n")
    assert [line.partition(":")[0] for line in sdp.split("\r\n")][:-1] == [
        "v=0",
        sdp.split("\r\n")[1],
        "s=-",
        "t=0 0",
        "a=group",
        "a=ice-options",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        "a=mid",
        "a=ice-ufrag",
        "a=ice-pwd",
        "a=fingerprint",
        "a=setup",
        "a=sctp-port",
        "a=max-message-size",
    ]
    assert "a=ice-options:trickle ice2\r\n" in sdp
    assert "a=setup:actpass\r\n" in sdp  # pitfall W27


def test_the_default_destination_is_the_candidate_most_likely_to_work() -> None:
    found = (
        candidate("candidate:1 1 udp 1 192.168.1.5 1000 typ host"),
        candidate("candidate:2 1 udp 1 2001:db8::7 1001 typ host ufrag alice0"),
        candidate("candidate:3 1 udp 1 203.0.113.5 1002 typ srflx raddr 192.168.1.5 rport 1000"),
    )
    sdp = negotiation().create_offer(local("alice", candidates=found, end_of_candidates=True)).sdp
    assert "m=application 1002 " in sdp
    assert "c=IN IP4 203.0.113.5\r\n" in sdp
    assert "a=candidate:2 1 udp 1 2001:db8::7 1001 typ host\r\n" in sdp
    assert "a=end-of-candidates\r\n" in sdp
    sdp = negotiation().create_offer(local("alice", candidates=found[1:2])).sdp
    assert "c=IN IP6 2001:db8::7\r\n" in sdp


@pytest.mark.parametrize("name", STACKS)
def test_offers_of_real_stacks_are_answered(name: str) -> None:
    b = negotiation()
    outcome = b.set_remote(offer(STACKS[name]))
    theirs = parse_untrusted(STACKS[name])
    assert outcome.remote == theirs.data
    ours = parse_untrusted(answered(b))
    assert ours.data is not None
    assert ours.data.setup == "active"
    assert (ours.data.mid, ours.data.protocol) == (
        theirs.sections[0].mid,
        theirs.sections[0].protocol,
    )
    assert ours.bundle == theirs.bundle


@pytest.mark.parametrize("name", STACKS)
def test_answers_of_real_stacks_are_taken(name: str) -> None:
    a = negotiation()
    sdp = a.create_offer(ALICE).sdp
    a.set_local(offer(sdp))
    theirs = STACKS[name].replace("setup:actpass", "setup:active")
    theirs = theirs.replace("mid:data", "mid:0").replace("DTLS/SCTP 5000", "UDP/DTLS/SCTP 5000")
    outcome = a.set_remote(answer(theirs))
    assert outcome.dtls_client is False
    assert outcome.remote is not None
    assert outcome.remote_candidates == outcome.remote.candidates


def test_an_old_description_gets_an_old_answer_pitfall_w26() -> None:
    b = negotiation()
    b.set_remote(offer(LEGACY))
    sdp = answered(b, local("bob", sctp_port=5001))
    assert "m=application 9 DTLS/SCTP 5001\r\n" in sdp
    assert "a=sctpmap:5001 webrtc-datachannel 65535\r\n" in sdp
    assert "sctp-port" not in sdp


def test_the_maximum_message_size_is_said_and_zero_is_no_limit_pitfall_w25() -> None:
    sdp = negotiation().create_offer(local("alice", max_message_size=None)).sdp
    assert "a=max-message-size:0\r\n" in sdp
    sdp = negotiation().create_offer(local("alice", max_message_size=1000)).sdp
    assert "a=max-message-size:1000\r\n" in sdp


def test_nothing_that_we_do_not_understand_is_copied_pitfall_w23() -> None:
    b = negotiation()
    strange = ("a=sctp-init:AQAAH", "a=dcmap:0", "a=rtcp-mux", "i=evil", "b=AS:30", "a=sendrecv")
    b.set_remote(
        offer(
            text(*HEAD, "a=extmap-allow-mixed", *data("0", *TRANSPORT, *strange), *media("x", "1"))
        )
    )
    sdp = answered(b)
    for word in ("sctp-init", "dcmap", "rtcp-mux", "evil", "b=AS", "sendrecv", "rtpmap", "extmap"):
        assert word not in sdp


def test_options_of_the_answer_are_those_of_the_offer() -> None:
    for options, expected in (("trickle", ("trickle",)), ("ice2", ("ice2",)), ("rtp+ecn", ())):
        b = negotiation()
        b.set_remote(offer(text(*HEAD, f"a=ice-options:{options}", *data("0", *TRANSPORT))))
        section = parse_untrusted(answered(b)).data
        assert section is not None
        assert section.ice_options == expected


def test_a_section_without_mid_is_answered_without_mid() -> None:
    b = negotiation()
    b.set_remote(offer(text(*HEAD, *data(None, *TRANSPORT))))
    sdp = answered(b)
    assert "a=mid" not in sdp
    assert "a=group" not in sdp
    assert b.local_mid() == (None, 0)
    assert b.is_for_data("anything", None)
    assert b.is_for_data(None, 0)
    assert not b.is_for_data(None, 1)


# ------------------------------------------------------------------------------------------- setup


@pytest.mark.parametrize(
    ("offered", "ours"), [("actpass", "active"), ("active", "passive"), ("passive", "active")]
)
def test_the_answerer_takes_active_if_it_may_pitfall_w27(offered: str, ours: str) -> None:
    b = negotiation()
    b.set_remote(offer(CHROMIUM.replace("actpass", offered)))
    sdp = b.create_answer(BOB)
    assert f"a=setup:{ours}\r\n" in sdp.sdp
    assert b.set_local(sdp).dtls_client is (ours == "active")


def test_an_offer_without_setup_counts_as_actpass_and_holdconn_is_refused_pitfall_w27() -> None:
    b = negotiation()
    b.set_remote(offer(CHROMIUM.replace("a=setup:actpass\r\n", "")))
    assert "a=setup:active\r\n" in answered(b)
    with pytest.raises(DescriptionError, match="holdconn"):
        negotiation().set_remote(offer(CHROMIUM.replace("actpass", "holdconn")))


@pytest.mark.parametrize(
    ("setup", "client"), [("a=setup:active", False), ("a=setup:passive", True), ("a=x", False)]
)
def test_the_answer_decides_the_role_pitfall_w27(setup: str, client: bool) -> None:
    a = negotiation()
    a.set_local(a.create_offer(ALICE))
    sdp = CHROMIUM.replace("a=setup:actpass", setup)
    assert a.set_remote(answer(sdp)).dtls_client is client


@pytest.mark.parametrize("setup", ["actpass", "holdconn"])
def test_an_answer_that_leaves_the_role_open_is_an_error_pitfall_w27(setup: str) -> None:
    a = negotiation()
    a.set_local(a.create_offer(ALICE))
    with pytest.raises(DescriptionError, match=setup):
        a.set_remote(answer(CHROMIUM.replace("actpass", setup)))
    assert a.state is SignallingState.HAVE_LOCAL_OFFER  # nothing changed
    assert a.set_remote(answer(CHROMIUM.replace("actpass", "active"))).dtls_client is False


# ---------------------------------------------------------------------------------- other sections

# As Chromium's with the bundle policy balanced: one ufrag, but each section has its own transport.
AV_OFFER = text(
    *HEAD,
    "a=group:BUNDLE a v d",
    *media("audio", "a", *TRANSPORT),
    *media("video", "v", *TRANSPORT),
    *data("d", *TRANSPORT, "a=candidate:1 1 udp 1 192.0.2.1 1000 typ host"),
)
# With max-bundle: the transport of all is that of the audio.
MAX_BUNDLE = text(
    *HEAD,
    "a=group:BUNDLE a v d",
    *media("audio", "a", *TRANSPORT, "a=candidate:1 1 udp 1 192.0.2.1 1000 typ host"),
    *media("video", "v", *TRANSPORT),
    *data("d", *TRANSPORT),
)


def test_other_sections_are_rejected_in_place_pitfall_w28() -> None:
    b = negotiation()
    outcome = b.set_remote(offer(AV_OFFER))
    assert outcome.remote is not None
    assert outcome.remote.mid == "d"
    sdp = answered(b)
    assert "m=audio 0 UDP/TLS/RTP/SAVPF 111\r\n" in sdp
    assert "m=video 0 UDP/TLS/RTP/SAVPF 111\r\n" in sdp
    assert "a=group:BUNDLE d\r\n" in sdp
    assert [section.mid for section in parse_untrusted(sdp).sections] == ["a", "v", "d"]
    assert b.local_mid() == ("d", 2)
    assert b.is_for_data("d", None)
    assert b.is_for_data("a", 0)  # the same credentials: perhaps the same transport
    assert not b.is_for_data("x", 2)


def test_a_section_that_carries_the_transport_is_accepted_inactive_pitfall_w28() -> None:
    b = negotiation()
    outcome = b.set_remote(offer(MAX_BUNDLE))
    assert len(outcome.remote_candidates) == 1
    description = b.create_answer(BOB)
    b.set_local(description)
    audio, video, channels = parse_untrusted(description.sdp).sections
    assert not audio.rejected
    assert video.rejected
    assert (audio.ufrag, audio.setup) == (channels.ufrag, channels.setup) == ("bob0", "active")
    lines = description.sdp.split("\r\n")
    assert "a=group:BUNDLE a d" in lines
    assert "a=rtpmap:111 opus/48000/2" in lines
    assert lines.count("a=inactive") == lines.count("a=rtcp-mux") == 1
    assert b.local_mid() == ("d", 2)
    # It shows our candidates, stays so in later offers, and follows ICE restarts.
    found = candidate("candidate:1 1 udp 1 192.0.2.9 1000 typ host")
    described = b.describe_local(local("bob", candidates=(found,)))
    assert described is not None
    assert described.sdp.count("a=candidate") == 2
    again = b.create_offer(local("bob", generation=1), ice_restart=True)
    assert again.sdp.count("a=ice-ufrag:bob1") == 2
    assert "a=group:BUNDLE a d" in again.sdp
    assert again.sdp.count("a=inactive") == 1


def test_a_section_that_carries_the_transport_goes_on_to_pitfall_w28() -> None:
    b = negotiation()
    b.set_remote(offer(MAX_BUNDLE))
    answered(b)
    # Candidates in the data section say nothing new once the sections are bundled.
    b.set_remote(offer(MAX_BUNDLE + "a=candidate:1 1 udp 1 192.0.2.1 1000 typ host\r\n"))
    assert "a=group:BUNDLE a d\r\n" in answered(b)
    # Unless the peer rejects it.
    b.set_remote(offer(MAX_BUNDLE.replace("m=audio 9", "m=audio 0").replace("a v d", "v d")))
    assert "m=audio 0 " in answered(b)


def test_a_bundle_only_section_is_answered_with_its_carrier_pitfall_w28() -> None:
    b = negotiation()
    sections = (*media("audio", "a", *TRANSPORT), *data("d", "a=bundle-only", port=0))
    b.set_remote(offer(text(*HEAD, "a=group:BUNDLE a d", *sections)))
    assert "a=group:BUNDLE a d\r\n" in answered(b)


def test_a_second_data_section_is_rejected_pitfall_w28() -> None:
    b = negotiation()
    b.set_remote(offer(text(*HEAD, *TRANSPORT, *data("0"), *data("1"))))
    first, second = parse_untrusted(answered(b)).sections
    assert not first.rejected
    assert second.rejected


def test_bundle_only_data_with_port_zero_is_accepted_pitfall_w28() -> None:
    b = negotiation()
    sdp = text(
        *HEAD,
        "a=group:BUNDLE a d",
        *media("audio", "a", *TRANSPORT),
        *data("d", "a=bundle-only", port=0),
    )
    outcome = b.set_remote(offer(sdp))
    assert outcome.remote is not None
    assert outcome.remote.ufrag == "fNv6"
    ours = parse_untrusted(answered(b)).data
    assert ours is not None
    assert ours.port == 9
    assert not ours.bundle_only


def test_an_offer_without_data_is_answered_too_pitfall_w28() -> None:
    for sections in ((), media("audio", "0", *TRANSPORT), data("0", *TRANSPORT, port=0)):
        b = negotiation()
        outcome = b.set_remote(offer(text(*HEAD, *sections)))
        assert outcome.no_data
        assert outcome.remote is None
        description = b.create_answer(BOB)
        assert all(section.rejected for section in parse_untrusted(description.sdp).sections)
        outcome = b.set_local(description)
        assert outcome.no_data
        assert outcome.dtls_client is None
        assert b.state is SignallingState.STABLE
        assert b.local_mid() is None
        assert not b.is_for_data("0", 0)


def test_our_data_may_be_rejected_and_offered_again_pitfall_w28() -> None:
    a = negotiation()
    a.set_local(a.create_offer(ALICE))
    outcome = a.set_remote(answer(text(*HEAD, *data("0", port=0))))
    assert outcome.no_data
    assert outcome.dtls_client is None
    # The rejected section is recycled, under another mid.
    again = parse_untrusted(a.create_offer(ALICE).sdp)
    assert len(again.sections) == 1
    assert again.data is not None
    assert again.data.mid == "1"


def test_the_order_of_the_sections_is_kept_in_later_offers_pitfall_w28() -> None:
    b = negotiation()
    b.set_remote(offer(AV_OFFER))
    answered(b)
    again = parse_untrusted(b.create_offer(BOB).sdp)
    assert [(section.kind, section.mid) for section in again.sections] == [
        ("audio", "a"),
        ("video", "v"),
        ("application", "d"),
    ]
    assert [section.rejected for section in again.sections] == [True, True, False]
    assert again.bundle == ("d",)


def test_data_can_be_added_to_a_connection_without() -> None:
    b = negotiation()
    b.set_remote(offer(text(*HEAD, *media("audio", "0", *TRANSPORT))))
    answered(b)
    again = parse_untrusted(b.create_offer(BOB).sdp)
    assert [section.mid for section in again.sections] == ["0", "1"]
    assert again.data is again.sections[1]


def test_the_peer_may_close_the_data_section_pitfall_w28() -> None:
    b = negotiation()
    b.set_remote(offer(CHROMIUM))
    answered(b)
    outcome = b.set_remote(offer(CHROMIUM.replace("m=application 9", "m=application 0")))
    assert outcome.no_data
    assert outcome.dtls_client is True  # until it is answered
    assert parse_untrusted(answered(b)).data is None


@pytest.mark.parametrize(
    ("sdp", "message"),
    [
        (text(*HEAD), "0 sections"),
        (text(*HEAD, *data("0", *TRANSPORT), *data("1", *TRANSPORT)), "2 sections"),
        (text(*HEAD, *media("audio", "0", *TRANSPORT)), "audio"),
        (text(*HEAD, *data("7", *TRANSPORT)), "mid '7'"),
        (text(*HEAD, *data("0", *TRANSPORT)).replace("UDP/", "TCP/"), "TCP/DTLS/SCTP"),
        (text(*HEAD, *data("0", *TRANSPORT[:1])), "lacks ice-ufrag or ice-pwd"),
        (text(*HEAD, *data("0", *TRANSPORT[:2])), "no fingerprint"),
        (text(*HEAD, *data("0", *TRANSPORT[:2], "a=fingerprint:md5 " + "AB:" * 15 + "AB")), "md5"),
    ],
)
def test_an_answer_that_does_not_fit_the_offer_is_refused(sdp: str, message: str) -> None:
    a = negotiation()
    a.set_local(a.create_offer(ALICE))
    with pytest.raises(DescriptionError, match=message):
        a.set_remote(answer(sdp.replace("actpass", "active")))
    assert a.state is SignallingState.HAVE_LOCAL_OFFER
    assert a.remote_description is None


def test_a_later_offer_cannot_drop_or_move_sections() -> None:
    b = negotiation()
    b.set_remote(offer(AV_OFFER))
    answered(b)
    for sdp, message in (
        (text(*HEAD, *data("d", *TRANSPORT)), "fewer"),
        (AV_OFFER.replace("a=mid:d", "a=mid:e").replace("a v d", "a v e"), "in place of 'd'"),
        (AV_OFFER.replace("UDP/DTLS/SCTP webrtc-datachannel", "UDP/BFCP *"), "carries"),
    ):
        with pytest.raises(DescriptionError, match=message):
            b.set_remote(offer(sdp))
    assert b.state is SignallingState.STABLE


# ---------------------------------------------------------------------------------- later exchanges


def test_a_second_exchange_without_change_keeps_everything() -> None:
    a, b = connected()
    at_b, at_a = sends_offer(b, a, BOB)  # the other way round
    assert not at_a.ice_restart_remote
    at_a, at_b = sends_answer(a, b, ALICE)
    assert (at_a.dtls_client, at_b.dtls_client) == (False, True)  # as before
    assert (at_a.controlling, at_b.controlling) == (True, False)  # by the first exchange
    assert not at_a.new_dtls
    section = parse_untrusted(str(a.local_description and a.local_description.sdp)).data
    assert section is not None
    assert section.setup == "passive"  # the server answers


def test_the_session_id_stays_and_the_version_grows() -> None:
    a, _ = connected()
    first = parse_untrusted(a.create_offer(ALICE).sdp)
    second = parse_untrusted(a.create_offer(ALICE).sdp)
    assert first.session_id == second.session_id < 2**63 - 1
    assert second.session_version == first.session_version + 1


def test_an_ice_restart_of_ours() -> None:
    """A -- offer with new credentials --> B, B -- answer with new credentials --> A."""
    a, b = connected()
    at_a, at_b = sends_offer(a, b, local("alice", generation=1), restart=True)
    assert (at_a.ice_restart_local, at_a.ice_restart_remote) == (True, False)
    assert (at_b.ice_restart_local, at_b.ice_restart_remote) == (False, True)
    at_b, at_a = sends_answer(b, a, local("bob", generation=1))
    assert (at_b.ice_restart_local, at_b.ice_restart_remote) == (True, False)
    assert (at_a.ice_restart_local, at_a.ice_restart_remote) == (False, True)
    assert not at_a.new_dtls
    assert not at_b.new_dtls
    assert at_a.dtls_client is False


def test_credentials_change_with_a_restart_and_only_then() -> None:
    a, b = connected()
    with pytest.raises(SignallingStateError, match="no ICE restart"):
        a.create_offer(local("alice", generation=1))
    with pytest.raises(SignallingStateError, match="needs a new"):
        a.create_offer(ALICE, ice_restart=True)
    sends_offer(a, b)
    with pytest.raises(SignallingStateError, match="no ICE restart"):
        b.create_answer(local("bob", generation=1))
    sends_answer(b, a)
    sends_offer(a, b, local("alice", generation=1), restart=True)
    with pytest.raises(SignallingStateError, match="needs a new"):
        b.create_answer(BOB)


def test_a_restarting_offer_may_be_made_again_before_the_answer() -> None:
    a, b = connected()
    sends_offer(a, b, local("alice", generation=1), restart=True)
    at_a, at_b = sends_offer(a, b, local("alice", generation=1))
    assert not at_a.ice_restart_local
    assert not at_b.ice_restart_remote
    _, at_a = sends_answer(b, a, local("bob", generation=1))
    assert at_a.ice_restart_remote


def test_an_answer_must_restart_with_the_offer_and_only_then() -> None:
    a, b = connected()
    sends_offer(a, b)
    sdp = b.create_answer(BOB).sdp
    with pytest.raises(DescriptionError, match="restarts nothing"):
        a.set_remote(answer(sdp.replace("ufrag:bob0", "ufrag:bob9")))
    sends_answer(b, a)
    a.set_local(a.create_offer(local("alice", generation=1), ice_restart=True))
    with pytest.raises(DescriptionError, match="old ufrag"):
        a.set_remote(answer(sdp))


def test_a_new_fingerprint_needs_an_ice_restart_pitfall_w29() -> None:
    b = negotiation()
    b.set_remote(offer(CHROMIUM))
    answered(b)
    renewed = text(*HEAD, "a=group:BUNDLE 0", *data("0", *TRANSPORT[:2]))
    same = renewed.replace("fNv6", "L49B").replace(TRANSPORT[1][10:], "VSqkwgaXn5wiJLyan3xl3+NN")
    fingerprint = f"a=fingerprint:{PRINT_B}\r\na=setup:actpass\r\n"
    with pytest.raises(DescriptionError, match="without an ICE restart"):
        b.set_remote(offer(same + fingerprint))
    outcome = b.set_remote(offer(renewed + fingerprint))
    assert outcome.ice_restart_remote
    assert not outcome.new_dtls  # not before it is answered
    outcome = b.set_local(b.create_answer(local("bob", generation=1)))
    assert outcome.new_dtls
    assert outcome.dtls_client is True
    assert outcome.remote is not None
    assert str(outcome.remote.fingerprints[0]) == PRINT_B


def test_an_answer_with_a_new_fingerprint_needs_an_ice_restart_pitfall_w29() -> None:
    a, b = connected()
    sends_offer(a, b)
    sdp = b.create_answer(BOB).sdp
    old = str(BOB.fingerprints[0])
    with pytest.raises(DescriptionError, match="without an ICE restart"):
        a.set_remote(answer(sdp.replace(old, PRINT_B)))
    sends_answer(b, a)
    sends_offer(a, b, local("alice", generation=1), restart=True)
    sdp = b.create_answer(local("bob", generation=1)).sdp.replace("active", "passive")
    outcome = a.set_remote(answer(sdp.replace(old, PRINT_B)))
    assert outcome.new_dtls
    assert outcome.dtls_client is True  # roles begin anew


def test_our_new_certificate_needs_an_ice_restart_pitfall_w29() -> None:
    a, b = connected()
    with pytest.raises(SignallingStateError, match="fingerprint"):
        a.create_offer(local("alice", certificate=b"new"))
    renewed = local("alice", generation=1, certificate=b"new")
    sends_offer(a, b, renewed, restart=True)
    at_b, at_a = sends_answer(b, a, local("bob", generation=1))
    assert at_a.new_dtls
    assert at_b.new_dtls


def test_another_tls_id_is_another_dtls_association_pitfall_w29() -> None:
    b = negotiation()
    b.set_remote(offer(CHROMIUM + "a=tls-id:" + "a" * 20 + "\r\n"))
    answered(b)
    b.set_remote(offer(CHROMIUM))  # its absence says nothing
    b.set_local(ROLLBACK)
    with pytest.raises(DescriptionError, match="tls-id"):
        b.set_remote(offer(CHROMIUM + "a=tls-id:" + "b" * 20 + "\r\n"))


def test_a_changed_sctp_port_or_role_is_refused() -> None:
    b = negotiation()
    b.set_remote(offer(CHROMIUM))
    answered(b)
    with pytest.raises(DescriptionError, match="SCTP port from 5000 to 5001"):
        b.set_remote(offer(CHROMIUM.replace("5000", "5001")))
    with pytest.raises(DescriptionError, match="DTLS server"):
        b.set_remote(offer(CHROMIUM.replace("actpass", "active")))
    b.set_remote(offer(CHROMIUM.replace("actpass", "passive")))


@pytest.mark.parametrize("restart", [False, True])
def test_a_role_turned_round_in_an_answer_is_let_pass(restart: bool) -> None:
    """Firefox 153 says "active" to every ICE restart, pion 4.2 to every offer, also as server."""
    a, b = connected()
    client = a.set_remote(answer(_exchange(a, b).sdp)).dtls_client
    sends_offer(a, b, local("alice", generation=int(restart)), restart=restart)
    sdp = b.create_answer(local("bob", generation=int(restart))).sdp
    turned = {"active": "passive", "passive": "active"}
    said = "active" if "a=setup:active" in sdp else "passive"
    outcome = a.set_remote(answer(sdp.replace(f"setup:{said}", f"setup:{turned[said]}")))
    assert outcome.dtls_client is client
    assert not outcome.new_dtls


def _exchange(a: Negotiation, b: Negotiation) -> SessionDescription:
    """A renegotiation that changes nothing, up to the answer."""
    sends_offer(a, b)
    return b.create_answer(BOB)


# ------------------------------------------------------------------------------- rollback and glare


def test_a_rolled_back_offer_leaves_no_trace() -> None:
    a, b = connected()
    agreed = (a.current_local_description, a.current_remote_description)
    sends_offer(a, b, local("alice", generation=1), restart=True)
    for side in (a, b):
        outcome = side.set_local(ROLLBACK) if side is a else side.set_remote(ROLLBACK)
        assert outcome.rolled_back
        assert outcome.undo_ice_restart is (side is a)
        assert outcome.ice_restart_remote is (side is b)  # back to the old ones
        assert not outcome.ice_restart_local
        assert outcome.dtls_client is (side is b)
        assert side.state is SignallingState.STABLE
        assert side.pending_local_description is side.pending_remote_description is None
    assert (a.current_local_description, a.current_remote_description) == agreed
    sends_offer(a, b)
    sends_answer(b, a)


def test_a_polite_peer_gives_up_its_offer_when_offers_collide() -> None:
    """A -- offer --> <-- offer -- B: A is polite, B is not."""
    a, b = negotiation(1, polite=True), negotiation(2, polite=False)
    from_a, from_b = a.create_offer(ALICE), b.create_offer(BOB)
    a.set_local(from_a)
    b.set_local(from_b)
    ignored = b.set_remote(from_a)
    assert ignored.ignored
    assert b.ignoring_offer
    assert b.state is SignallingState.HAVE_LOCAL_OFFER
    outcome = a.set_remote(from_b)
    assert outcome.rolled_back
    assert not outcome.undo_ice_restart
    assert outcome.controlling is False
    assert a.state is SignallingState.HAVE_REMOTE_OFFER
    assert a.pending_local_description is None
    _, at_b = sends_answer(a, b, ALICE)
    assert at_b.controlling is True
    assert not b.ignoring_offer


def test_glare_during_an_ice_restart_undoes_it() -> None:
    a, b = connected()
    a.set_local(a.create_offer(local("alice", generation=1), ice_restart=True))
    outcome = a.set_remote(b.create_offer(BOB))
    assert outcome.rolled_back
    assert outcome.undo_ice_restart
    assert not outcome.ice_restart_remote
    a.create_answer(ALICE)


def test_an_offer_that_cannot_be_used_does_not_roll_ours_back() -> None:
    a = negotiation()
    a.set_local(a.create_offer(ALICE))
    with pytest.raises(DescriptionError):
        a.set_remote(offer(text(*HEAD, *data("0"))))
    assert a.state is SignallingState.HAVE_LOCAL_OFFER


def test_nothing_can_be_rolled_back_when_stable() -> None:
    for step in (negotiation().set_local, negotiation().set_remote):
        with pytest.raises(SignallingStateError, match=r"stable.*cannot roll back"):
            step(ROLLBACK)


# ------------------------------------------------------------------------------ provisional answers


def test_a_provisional_answer_connects_and_the_final_one_completes() -> None:
    """A -- offer --> B, B -- pranswer --> A, B -- answer --> A."""
    a, b = negotiation(1), negotiation(2)
    sends_offer(a, b)
    at_b, at_a = sends_answer(b, a, BOB, DescriptionType.PRANSWER)
    assert states(a, b) == ["have-remote-pranswer", "have-local-pranswer"]
    assert (at_a.dtls_client, at_b.dtls_client) == (False, True)
    assert a.current_remote_description is None
    at_b, at_a = sends_answer(b, a)
    assert states(a, b) == ["stable", "stable"]
    assert not at_a.new_dtls
    assert (at_a.dtls_client, at_b.dtls_client) == (False, True)
    assert (at_a.controlling, at_b.controlling) == (True, False)


def test_the_final_answer_may_come_from_another_device() -> None:
    a, b, c = negotiation(1), negotiation(2), negotiation(3)
    description = a.create_offer(ALICE)
    a.set_local(description)
    b.set_remote(description)
    c.set_remote(description)
    sends_answer(b, a, BOB, DescriptionType.PRANSWER)
    _, at_a = sends_answer(c, a, local("carol"))
    assert at_a.new_dtls
    assert at_a.ice_restart_remote
    assert at_a.remote is not None
    assert at_a.remote.ufrag == "carol0"


def test_a_provisional_answer_can_be_rolled_back() -> None:
    a, b = negotiation(1), negotiation(2)
    sends_offer(a, b)
    sends_answer(b, a, BOB, DescriptionType.PRANSWER)
    outcome = a.set_local(ROLLBACK)
    assert outcome == Outcome(rolled_back=True)
    assert a.local_description is None


# ----------------------------------------------------------------------------------- lite, describe


@pytest.mark.parametrize(
    ("offerer", "answerer", "offerer_controls"),
    [(False, False, True), (True, False, False), (False, True, True), (True, True, True)],
)
def test_a_full_agent_controls_a_lite_one(
    offerer: bool, answerer: bool, offerer_controls: bool
) -> None:
    a, b = negotiation(1), negotiation(2)
    sends_offer(a, b, local("alice", ice_lite=offerer))
    at_b, at_a = sends_answer(b, a, local("bob", ice_lite=answerer))
    assert (at_a.controlling, at_b.controlling) == (offerer_controls, not offerer_controls)
    assert (at_a.remote_lite, at_b.remote_lite) == (answerer, offerer)


def test_the_local_description_shows_what_was_gathered_since() -> None:
    a, b = negotiation(1), negotiation(2)
    found = candidate("candidate:1 1 udp 2130706431 192.0.2.1 1000 typ host ufrag alice0")
    assert a.describe_local(ALICE) is None
    sends_offer(a, b)
    later = local("alice", candidates=(found,), end_of_candidates=True)
    described = a.describe_local(later)
    assert described is not None
    assert described.type is DescriptionType.OFFER
    section = parse_untrusted(described.sdp).data
    assert section is not None
    assert [known.address for known in section.candidates] == [("192.0.2.1", 1000)]
    assert section.end_of_candidates
    assert a.local_description != described  # what was set stays what was set
    # Candidates of another generation do not belong there.
    assert (
        a.describe_local(local("alice", generation=1, candidates=(found,))) == a.local_description
    )
    # What a peer makes of it is the same session.
    c = negotiation(3)
    assert c.set_remote(described).remote_candidates == section.candidates


# ------------------------------------------------------------------------------------- wrong steps


def test_wrong_steps_are_refused_with_what_is_possible() -> None:
    a = negotiation()
    with pytest.raises(SignallingStateError, match="no offer to answer"):
        a.create_answer(ALICE)
    with pytest.raises(SignallingStateError, match=r"stable .*possible: set a local offer, set a"):
        a.set_remote(answer(CHROMIUM))
    a.set_remote(offer(CHROMIUM))
    with pytest.raises(SignallingStateError, match="cannot create an offer"):
        a.create_offer(ALICE)
    with pytest.raises(SignallingStateError, match="cannot set a local offer"):
        a.set_local(offer(CHROMIUM))


def test_only_what_was_created_last_can_be_set() -> None:
    a = negotiation()
    first = a.create_offer(ALICE)
    second = a.create_offer(ALICE)
    with pytest.raises(SignallingStateError, match="created last"):
        a.set_local(first)
    with pytest.raises(SignallingStateError, match="created last"):
        a.set_local(offer(second.sdp + "a=x\r\n"))
    assert a.state is SignallingState.STABLE
    a.set_local(second)
    with pytest.raises(SignallingStateError, match="created last"):
        a.set_local(second)
    b = negotiation()
    b.set_remote(offer(CHROMIUM))
    with pytest.raises(SignallingStateError, match="created last"):
        b.set_local(answer(CHROMIUM))


def test_after_close_nothing_is_possible() -> None:
    a, _ = connected()
    description = a.create_offer(ALICE)
    a.close()
    a.close()
    assert a.state is SignallingState.CLOSED
    for step in (a.set_local, a.set_remote):
        with pytest.raises(SignallingStateError, match="closed"):
            step(description)
    with pytest.raises(SignallingStateError, match="closed"):
        a.create_offer(ALICE)
    assert a.local_description is not None


def test_parameters_that_no_peer_would_take_are_refused() -> None:
    for wrong in ({"ufrag": "abc"}, {"pwd": "short"}, {"ufrag": "a b c"}, {"fingerprints": ()}):
        with pytest.raises(ConfigError):
            local("alice", **wrong)
    assert "alice0xxx" not in repr(ALICE)


# ------------------------------------------------------------------------------------------- random


@pytest.mark.fuzz
@given(st.lists(st.integers(0, 11), max_size=30), st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_any_order_of_steps_is_taken_or_refused_without_damage(steps: list[int], seed: int) -> None:
    """Two peers that do anything: all that can go wrong is one of the two errors, and then a
    refused step has changed nothing."""
    sides = (negotiation(seed), negotiation(seed + 1))
    generations = [0, 0]
    names = ("alice", "bob")
    for step in steps:
        which, action = step % 2, step // 2
        side, other = sides[which], sides[1 - which]
        before = (side.state, side.local_description, side.remote_description)
        parameters = local(names[which], generation=generations[which])
        try:
            if action == 0:
                side.set_local(side.create_offer(parameters))
            elif action == 1:
                generations[which] += 1
                parameters = local(names[which], generation=generations[which])
                side.set_local(side.create_offer(parameters, ice_restart=True))
            elif action == 2:
                side.set_local(side.create_answer(parameters))
            elif action == 3 and other.local_description is not None:
                side.set_remote(other.local_description)
            elif action == 4:
                side.set_local(ROLLBACK)
            elif action == 5 and other.local_description is not None:
                kind = DescriptionType.PRANSWER
                side.set_remote(attrs.evolve(other.local_description, type=kind))
        except (SignallingStateError, DescriptionError):
            assert (side.state, side.local_description, side.remote_description) == before
