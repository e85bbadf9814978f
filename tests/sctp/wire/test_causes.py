"""Error causes against the pictures of RFC 9260 3.3.10, and their description for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.sctp.wire import causes, tlv
from rtcsctp.sctp.wire.causes import Cause
from rtcsctp.sctp.wire.tlv import Tlv

from .builders import octets


def test_codes_are_those_of_the_rfc() -> None:
    assert [(cause.name, int(cause)) for cause in Cause] == [
        ("INVALID_STREAM_IDENTIFIER", 1),
        ("MISSING_MANDATORY_PARAMETER", 2),
        ("STALE_COOKIE", 3),
        ("OUT_OF_RESOURCE", 4),
        ("UNRESOLVABLE_ADDRESS", 5),
        ("UNRECOGNIZED_CHUNK_TYPE", 6),
        ("INVALID_MANDATORY_PARAMETER", 7),
        ("UNRECOGNIZED_PARAMETERS", 8),
        ("NO_USER_DATA", 9),
        ("COOKIE_RECEIVED_WHILE_SHUTTING_DOWN", 10),
        ("RESTART_WITH_NEW_ADDRESSES", 11),
        ("USER_INITIATED_ABORT", 12),
        ("PROTOCOL_VIOLATION", 13),
    ]


@pytest.mark.parametrize(
    ("cause", "encoded"),
    [
        (causes.invalid_stream(0x1234), octets("00 01 00 08", "12 34 00 00")),
        (
            causes.missing_parameters([7]),
            octets("00 02 00 0a", "00 00 00 01", "00 07 00 00"),
        ),
        (
            causes.missing_parameters([7, 0x8008]),
            octets("00 02 00 0c", "00 00 00 02", "00 07 80 08"),
        ),
        (causes.stale_cookie(1.5), octets("00 03 00 08", "00 16 e3 60")),
        (
            causes.unresolvable_address(octets("00 0b 00 06", "61 00")),
            octets("00 05 00 0a", "00 0b 00 06", "61 00 00 00"),
        ),
        (
            causes.unrecognized_chunk(octets("fe 00 00 05", "aa")),
            octets("00 06 00 09", "fe 00 00 05", "aa 00 00 00"),
        ),
        (causes.invalid_mandatory_parameter(), octets("00 07 00 04")),
        (
            causes.unrecognized_parameters(octets("c0 ff 00 04")),
            octets("00 08 00 08", "c0 ff 00 04"),
        ),
        (causes.no_user_data(0xFFFF_FFFF), octets("00 09 00 08", "ff ff ff ff")),
        (causes.cookie_received_while_shutting_down(), octets("00 0a 00 04")),
        (causes.user_initiated_abort(b"bye"), octets("00 0c 00 07", "62 79 65 00")),
        (causes.user_initiated_abort(b""), octets("00 0c 00 04")),
        (causes.protocol_violation("no"), octets("00 0d 00 06", "6e 6f 00 00")),
    ],
)
def test_cause_as_in_its_picture(cause: Tlv, encoded: bytes) -> None:
    assert tlv.encode(*cause) == encoded


@pytest.mark.parametrize(
    ("seconds", "microseconds"),
    [(0.0, 0), (1e-7, 1), (1e-6, 1), (0.5, 500_000), (1e9, 0xFFFF_FFFF)],
)
def test_staleness_is_rounded_up_to_microseconds_and_capped(
    seconds: float, microseconds: int
) -> None:
    """RFC 9260 3.3.10.3: "rounded up in microseconds"; the field has 32 bits."""
    assert causes.stale_cookie(seconds) == (Cause.STALE_COOKIE, microseconds.to_bytes(4, "big"))


def test_description_names_known_and_unknown_causes() -> None:
    text = causes.describe_untrusted([(4, b""), (99, b"\x01\x02"), (12, "Grüße".encode())])
    assert text == "out of resource, cause 99 (0x0102), user initiated abort ('Grüße')"


def test_description_of_nothing_says_so() -> None:
    assert causes.describe_untrusted([]) == "no cause given"


def test_description_of_a_long_reason_is_cut() -> None:
    """What a peer says must not flood a log."""
    text = causes.describe_untrusted([(Cause.PROTOCOL_VIOLATION, b"x" * 60_000)])
    assert len(text) < 1000


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=30)), max_size=6))
def test_description_never_raises_and_is_one_line(found: list[tuple[int, bytes]]) -> None:
    text = causes.describe_untrusted(found)
    assert text
    assert "\n" not in text
