"""Parameters of INIT and of RE-CONFIG (RFC 9260 3.2.1, RFC 6525 chapter 4, RFC 9653)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.errors import DecodeError
from rtcsctp.sctp.wire import tlv
from rtcsctp.sctp.wire.params import (
    DTLS_ERROR_DETECTION,
    AddStreamsRequest,
    IncomingResetRequest,
    OutgoingResetRequest,
    Param,
    ReconfigParam,
    ReconfigResponse,
    ReconfigResult,
    ResetAssociationRequest,
    decode_reconfig_untrusted,
    decode_zero_checksum_untrusted,
    must_report,
    must_stop,
)

from .builders import octets

u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFF_FFFF)
streams = st.lists(u16, max_size=6).map(tuple)


def decode(encoded: bytes) -> ReconfigParam | None:
    ((kind, value),) = tlv.parse_untrusted(encoded)
    return decode_reconfig_untrusted(kind, value)


def test_type_numbers_are_those_of_the_rfcs() -> None:
    assert {param.name: int(param) for param in Param} == {
        # RFC 9260 3.3.2.1, 3.3.3.1, 3.3.5
        "HEARTBEAT_INFO": 1,
        "IPV4_ADDRESS": 5,
        "IPV6_ADDRESS": 6,
        "STATE_COOKIE": 7,
        "UNRECOGNIZED": 8,
        "COOKIE_PRESERVATIVE": 9,
        "HOST_NAME_ADDRESS": 11,
        "SUPPORTED_ADDRESS_TYPES": 12,
        "ECN_CAPABLE": 0x8000,
        # RFC 6525 4.1 to 4.6
        "OUTGOING_RESET_REQUEST": 13,
        "INCOMING_RESET_REQUEST": 14,
        "SSN_TSN_RESET_REQUEST": 15,
        "RECONFIG_RESPONSE": 16,
        "ADD_OUTGOING_STREAMS": 17,
        "ADD_INCOMING_STREAMS": 18,
        "ZERO_CHECKSUM": 0x8001,  # RFC 9653
        # RFC 4895 3
        "RANDOM": 0x8002,
        "CHUNK_LIST": 0x8003,
        "HMAC_ALGORITHM": 0x8004,
        "PADDING": 0x8005,  # RFC 4820 4
        # RFC 5061 4.2
        "SUPPORTED_EXTENSIONS": 0x8008,
        "ADAPTATION_LAYER": 0xC006,
        "FORWARD_TSN": 0xC000,  # RFC 3758 3.1
    }


@pytest.mark.parametrize(
    ("kind", "stop", "report"),
    [
        (0x0FFF, True, False),  # 00: stop, and say nothing
        (0x4FFF, True, True),  # 01: stop, and report it
        (0x8FFF, False, False),  # 10: skip it
        (0xCFFF, False, True),  # 11: skip it, and report it
    ],
)
def test_high_bits_say_what_to_do_with_an_unknown_one(kind: int, stop: bool, report: bool) -> None:
    """RFC 9260 3.2.1; pitfall S53."""
    assert must_stop(kind) is stop
    assert must_report(kind) is report


def test_zero_checksum_acceptable() -> None:
    """RFC 9653: one method, 32 bits; pitfall S61."""
    encoded = tlv.encode(Param.ZERO_CHECKSUM, DTLS_ERROR_DETECTION.to_bytes(4, "big"))
    assert encoded == octets("80 01 00 08", "00 00 00 01")
    assert decode_zero_checksum_untrusted(encoded[4:]) == DTLS_ERROR_DETECTION


@pytest.mark.parametrize("size", [0, 1, 3, 5, 8])
def test_zero_checksum_acceptable_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(DecodeError):
        decode_zero_checksum_untrusted(bytes(size))


RECONFIG = [
    pytest.param(
        OutgoingResetRequest(0xF000_0001, 2, 0xFFFF_FFFF, (1, 0xFFFE)),
        octets("00 0d 00 14", "f0 00 00 01", "00 00 00 02", "ff ff ff ff", "00 01 ff fe"),
        id="outgoing reset (4.1)",
    ),
    pytest.param(
        OutgoingResetRequest(1, 2, 3, (7,)),
        octets("00 0d 00 12", "00 00 00 01", "00 00 00 02", "00 00 00 03", "00 07 00 00"),
        id="outgoing reset of one stream: padded",
    ),
    pytest.param(
        OutgoingResetRequest(1, 2, 3, ()),
        octets("00 0d 00 10", "00 00 00 01", "00 00 00 02", "00 00 00 03"),
        id="outgoing reset of all streams (pitfall S46)",
    ),
    pytest.param(
        IncomingResetRequest(0x0102_0304, (5, 6, 7)),
        octets("00 0e 00 0e", "01 02 03 04", "00 05 00 06", "00 07 00 00"),
        id="incoming reset (4.2)",
    ),
    pytest.param(
        IncomingResetRequest(0x0102_0304, ()),
        octets("00 0e 00 08", "01 02 03 04"),
        id="incoming reset of all streams (pitfall S46)",
    ),
    pytest.param(
        ResetAssociationRequest(9), octets("00 0f 00 08", "00 00 00 09"), id="SSN/TSN reset (4.3)"
    ),
    pytest.param(
        ReconfigResponse(9, ReconfigResult.IN_PROGRESS),
        octets("00 10 00 0c", "00 00 00 09", "00 00 00 06"),
        id="response (4.4)",
    ),
    pytest.param(
        ReconfigResponse(9, ReconfigResult.PERFORMED, 0x1111_1111, 0x2222_2222),
        octets("00 10 00 14", "00 00 00 09", "00 00 00 01", "11 11 11 11", "22 22 22 22"),
        id="response with TSNs (4.4)",
    ),
    pytest.param(
        AddStreamsRequest(9, 0x1234, outgoing=True),
        octets("00 11 00 0c", "00 00 00 09", "12 34 00 00"),
        id="add outgoing streams (4.5)",
    ),
    pytest.param(
        AddStreamsRequest(9, 1, outgoing=False),
        octets("00 12 00 0c", "00 00 00 09", "00 01 00 00"),
        id="add incoming streams (4.6)",
    ),
]


@pytest.mark.parametrize(("param", "encoded"), RECONFIG)
def test_reconfiguration_parameter_as_in_its_picture(param: ReconfigParam, encoded: bytes) -> None:
    assert tlv.encode(*param.encode()) == encoded
    assert decode(encoded) == param


def test_results_are_numbered_as_in_the_rfc() -> None:
    assert {result.name: int(result) for result in ReconfigResult} == {
        "NOTHING_TO_DO": 0,
        "PERFORMED": 1,
        "DENIED": 2,
        "WRONG_SSN": 3,
        "IN_PROGRESS_ALREADY": 4,
        "BAD_SEQUENCE_NUMBER": 5,
        "IN_PROGRESS": 6,
    }


def test_unknown_result_is_not_an_error() -> None:
    assert decode(octets("00 10 00 0c", "00 00 00 09", "00 00 00 63")) == ReconfigResponse(9, 99)


@given(
    st.builds(OutgoingResetRequest, u32, u32, u32, streams)
    | st.builds(IncomingResetRequest, u32, streams)
    | st.builds(ResetAssociationRequest, u32)
    | st.builds(ReconfigResponse, u32, u32)
    | st.builds(ReconfigResponse, u32, u32, u32, u32)
    | st.builds(AddStreamsRequest, u32, u16, st.booleans())
)
def test_reconfiguration_parameter_comes_back(param: ReconfigParam) -> None:
    assert decode(tlv.encode(*param.encode())) == param


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        (Param.OUTGOING_RESET_REQUEST, (0, 4, 11, 13, 15)),
        (Param.INCOMING_RESET_REQUEST, (0, 3, 5)),
        (Param.SSN_TSN_RESET_REQUEST, (0, 3, 5, 8)),
        (Param.RECONFIG_RESPONSE, (0, 4, 7, 9, 12, 15, 17, 20)),
        (Param.ADD_OUTGOING_STREAMS, (0, 4, 6, 7, 9, 12)),
        (Param.ADD_INCOMING_STREAMS, (0, 4, 6, 7, 9, 12)),
    ],
)
def test_reconfiguration_parameter_of_a_wrong_length_is_refused(
    kind: Param, sizes: tuple[int, ...]
) -> None:
    """Pitfall S54."""
    for size in sizes:
        with pytest.raises(DecodeError):
            decode_reconfig_untrusted(kind, bytes(size))


@pytest.mark.parametrize("kind", [0, Param.STATE_COOKIE, 12, 19, 0xC000, 0xFFFF])
def test_parameter_that_does_not_belong_into_reconfig_is_not_decoded(kind: int) -> None:
    assert decode_reconfig_untrusted(kind, bytes(12)) is None


@given(st.integers(12, 19), st.binary(max_size=40))
def test_arbitrary_value_is_decoded_or_refused(kind: int, value: bytes) -> None:
    try:
        param = decode_reconfig_untrusted(kind, value)
    except DecodeError:
        return
    if param is not None and not isinstance(param, AddStreamsRequest):  # that has a reserved field
        assert param.encode() == (kind, value)
