"""The names that programs may use. A name that appears, or goes, changes this list on purpose."""

from __future__ import annotations

import trio

import rtcsctp

PUBLIC = [
    "Association",
    "AssociationLost",
    "AssociationStateError",
    "CloseReason",
    "Config",
    "ConfigError",
    "DecodeError",
    "InvalidStreamError",
    "Link",
    "LinkBroken",
    "LocalProtocolError",
    "Message",
    "MessageTooLargeError",
    "PeerAborted",
    "PeerUnreachable",
    "ProtocolViolation",
    "ReliabilityError",
    "RemoteProtocolError",
    "RequestRefusedError",
    "RtcsctpError",
    "State",
    "Statistics",
    "Stream",
    "StreamReset",
    "UdpEndpoint",
    "__version__",
    "connect",
    "listen",
    "open_association",
    "open_udp",
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
