"""Words of the command line into values, or into sentences that say what is wrong with them."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.cli.arguments import (
    Address,
    listening_address,
    peer_address,
    positive_size,
    seconds,
    size,
    whole_number,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9899", ("127.0.0.1", 9899)),
        ("[::1]:9899", ("::1", 9899)),
        ("[fe80::1%eth0]:9899", ("fe80::1%eth0", 9899)),
        ("localhost:9899", ("localhost", 9899)),
        (":9899", ("", 9899)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
    ],
)
def test_listening_addresses(text: str, address: tuple[str, int]) -> None:
    assert listening_address(text) == address


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no port"),
        ("9899", "no port"),
        ("127.0.0.1", "no port"),
        ("127.0.0.1:", "a UDP port is a number"),
        ("127.0.0.1:65536", "up to 65535"),
        ("127.0.0.1:99999999999999999999", "up to 65535"),
        ("127.0.0.1:-1", "a UDP port is a number"),
        ("127.0.0.1:http", "a UDP port is a number"),
        ("127.0.0.1:1_0", "a UDP port is a number"),
        ("::1:9899", "brackets"),
        ("[::1]", "expected"),
        ("[::1:9899", "expected"),
        ("[::1]9899", "expected"),
        ("[127.0.0.1]:9899", "only IPv6"),
        ("[]:9899", "only IPv6"),
        ("a b:9899", "spaces"),
    ],
)
def test_bad_addresses_are_refused_with_a_reason(text: str, complaint: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=complaint):
        listening_address(text)


@pytest.mark.parametrize(("text", "complaint"), [(":9899", "no host"), ("127.0.0.1:0", "port 0")])
def test_peer_needs_host_and_port(text: str, complaint: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=complaint):
        peer_address(text)


def test_addresses_are_written_as_they_are_read() -> None:
    for text in ("127.0.0.1:9899", "[::1]:9899", ":9899"):
        assert str(listening_address(text)) == text
    assert str(Address("fe80::1%eth0", 1)) == "[fe80::1%eth0]:1"


def test_whole_numbers_have_limits() -> None:
    port = whole_number(1, 65_535)
    assert port("1") == 1
    assert port("0xffff") == 65_535
    for text in ("0", "65536", "-1"):
        with pytest.raises(argparse.ArgumentTypeError, match="from 1 to 65535"):
            port(text)
    with pytest.raises(argparse.ArgumentTypeError, match="not a whole number"):
        port("1.5")
    with pytest.raises(argparse.ArgumentTypeError, match="0 or more"):
        whole_number(0)("-7")


def test_time_spans() -> None:
    assert seconds("0.25") == 0.25
    for text in ("nan", "inf", "soon", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="not a number of seconds"):
            seconds(text)
    with pytest.raises(argparse.ArgumentTypeError, match="cannot be negative"):
        seconds("-1")


def test_sizes() -> None:
    assert size("0") == 0
    assert positive_size("16KiB") == 16_384
    with pytest.raises(argparse.ArgumentTypeError, match="cannot be negative"):
        size("-1")
    with pytest.raises(argparse.ArgumentTypeError, match="at least one byte"):
        positive_size("0")
    with pytest.raises(argparse.ArgumentTypeError, match="not a size"):
        size("many")


@pytest.mark.parametrize("parse", [listening_address, peer_address, seconds, size, whole_number(0)])
@given(text=st.text(max_size=20))
def test_any_text_is_read_or_refused(parse: Callable[[str], object], text: str) -> None:
    try:
        parse(text)
    except argparse.ArgumentTypeError as error:
        assert str(error)  # noqa: PT017 (one of two outcomes)
