"""The names that programs may use. A name that appears, or goes, changes this list on purpose."""

from __future__ import annotations

import pytest
import trio

import rtcsctp
import rtcsctp.sync

PUBLIC = [
    "Association",
    "AssociationLost",
    "AssociationStateError",
    "Candidate",
    "Certificate",
    "CertificateError",
    "ChannelBroken",
    "ChannelIdError",
    "ChannelState",
    "ChannelStateError",
    "ChannelStream",
    "CloseReason",
    "Config",
    "ConfigError",
    "ConnectionLost",
    "ConnectionState",
    "DataChannel",
    "DecodeError",
    "DescriptionError",
    "DescriptionType",
    "DtlsError",
    "DtlsState",
    "Fingerprint",
    "FingerprintMismatchError",
    "GatheringState",
    "IceConfig",
    "IceServer",
    "IceState",
    "InvalidStreamError",
    "Link",
    "LinkBroken",
    "LocalProtocolError",
    "Message",
    "MessageTooLargeError",
    "PeerAborted",
    "PeerConfig",
    "PeerConnection",
    "PeerStatistics",
    "PeerUnreachable",
    "ProtocolViolation",
    "ReliabilityError",
    "RemoteProtocolError",
    "RequestRefusedError",
    "RtcsctpError",
    "SctpState",
    "Server",
    "ServerBusyError",
    "Session",
    "SessionDescription",
    "SignallingState",
    "SignallingStateError",
    "State",
    "StateChange",
    "Statistics",
    "Stream",
    "StreamReset",
    "UdpEndpoint",
    "__version__",
    "connect",
    "listen",
    "open_association",
    "open_peer",
    "open_udp",
    "serve",
]

PUBLIC_METHODS = {
    rtcsctp.Association: [
        "abort",
        "add_streams",
        "buffered_amount",
        "config",
        "events",
        "heartbeat",
        "inbound_streams",
        "local_port",
        "outbound_streams",
        "remote_port",
        "request_peer_reset",
        "reset_association",
        "reset_streams",
        "restarts",
        "set_stream_schedule",
        "shutdown",
        "state",
        "statistics",
        "stream",
        "unacknowledged",
        "wait_closed",
    ],
    rtcsctp.PeerConnection: [
        "abort",
        "accept",
        "aclose",
        "add_ice_candidate",
        "answer",
        "candidate_init",
        "connection_state",
        "create_answer",
        "create_channel",
        "create_offer",
        "dtls_state",
        "events",
        "gathering_complete",
        "gathering_state",
        "ice_state",
        "identity",
        "local_description",
        "offer",
        "remote_description",
        "restart_ice",
        "sctp_state",
        "selected_pair",
        "set_local_description",
        "set_remote_description",
        "signalling_state",
        "statistics",
        "wait_closed",
        "wait_connected",
    ],
    rtcsctp.DataChannel: [
        "aclose",
        "as_stream",
        "buffered_amount",
        "buffered_amount_low_threshold",
        "discard",
        "id",
        "is_full",
        "label",
        "max_message_size",
        "max_packet_lifetime",
        "max_retransmits",
        "negotiated",
        "ordered",
        "priority",
        "protocol",
        "receive",
        "receive_many",
        "send",
        "send_nowait",
        "state",
        "statistics",
        "wait_buffered_low",
        "wait_open",
        "wait_room",
    ],
    rtcsctp.Server: [
        "answer",
        "offer",
        "routes",
        "strays",
    ],
    rtcsctp.Session: [
        "accept",
        "add_ice_candidate",
        "close",
    ],
    rtcsctp.Stream: [
        "buffered_amount",
        "buffered_amount_low_threshold",
        "id",
        "receive",
        "receive_many",
        "reset",
        "send",
        "send_nowait",
        "wait_buffered_low",
    ],
}


# Without await, `aclose` is `close`.
NOT_IN_SYNC = {
    rtcsctp.PeerConnection: {"aclose"},
    rtcsctp.DataChannel: {"aclose"},
    rtcsctp.Association: set[str](),
    rtcsctp.Stream: set[str](),
    rtcsctp.Server: set[str](),
    rtcsctp.Session: set[str](),
}
ONLY_IN_SYNC = {
    rtcsctp.PeerConnection: {"close"},
    rtcsctp.DataChannel: {"close"},
    rtcsctp.Association: {"incoming"},  # an attribute of the other
    rtcsctp.Server: {"wait_closed"},
    rtcsctp.Session: {"description", "id"},  # attributes of the other
}


@pytest.mark.parametrize("kind", NOT_IN_SYNC)
def test_the_blocking_api_has_the_same_names(kind: type) -> None:
    blocking = getattr(rtcsctp.sync, kind.__name__)
    names = {name for name in dir(blocking) if not name.startswith("_")}
    expected = {name for name in dir(kind) if not name.startswith("_")}
    attributes = {"config", "local_candidates"} if kind is rtcsctp.PeerConnection else set()
    expected = expected - NOT_IN_SYNC[kind] | ONLY_IN_SYNC.get(kind, set()) | attributes
    assert names == expected


def test_public_names() -> None:
    assert sorted(rtcsctp.__all__) == sorted(PUBLIC)


def test_public_methods() -> None:
    for kind, names in PUBLIC_METHODS.items():
        assert [name for name in dir(kind) if not name.startswith("_")] == names


def test_exceptions_are_what_trio_programs_expect() -> None:
    assert issubclass(rtcsctp.AssociationLost, trio.BrokenResourceError)
    for kind in (
        rtcsctp.LinkBroken,
        rtcsctp.PeerAborted,
        rtcsctp.PeerUnreachable,
        rtcsctp.ProtocolViolation,
    ):
        assert issubclass(kind, rtcsctp.AssociationLost)
    assert issubclass(rtcsctp.StreamReset, trio.EndOfChannel)
    assert issubclass(rtcsctp.RequestRefusedError, rtcsctp.RtcsctpError)
