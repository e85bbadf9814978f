"""Options of ICE: which servers are asked, and what is said where there is no way."""

from __future__ import annotations

import argparse
import socket

import pytest

from rtcsctp import IceServer, PeerConfig
from rtcsctp.cli.peers import add_peer_options, peer_config, way_out, with_public_stun
from rtcsctp.runtime.peer_config import SCTP_OF_PEERS

from .programs import rtcsctp

PUBLIC = "stun:stun.cloudflare.com:3478"
OWN = "stun:stun.example.org"


def configured(*words: str) -> PeerConfig:
    parser = argparse.ArgumentParser(prog="rtcsctp")
    add_peer_options(parser, public_stun="")
    arguments = parser.parse_args(words)
    arguments.parser, arguments.config = parser, SCTP_OF_PEERS
    return with_public_stun(arguments, peer_config(arguments, loopback=False))


def urls(config: PeerConfig) -> list[str]:
    return [server.url for server in config.ice_servers if isinstance(server, IceServer)]


@pytest.mark.parametrize(
    ("words", "variable", "asked"),
    [
        ([], None, [PUBLIC]),
        ([], "", []),
        ([], f" {OWN} ", [OWN]),
        (["--no-stun"], None, []),
        (["--no-stun"], OWN, []),
        (["--stun", OWN], None, [OWN]),
        (["--turn", "turn:t.example.org", "--turn-user", "u", "--turn-password", "p"], OWN, None),
        (["--loopback"], None, []),
    ],
)
def test_which_servers_are_asked(
    words: list[str],
    variable: str | None,
    asked: list[str] | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("RTCSCTP_STUN")
    if variable is not None:
        monkeypatch.setenv("RTCSCTP_STUN", variable)
    found = urls(configured(*words))
    assert found == (["turn:t.example.org"] if asked is None else asked)
    by_itself = bool(asked) and "--stun" not in words
    said = capsys.readouterr().err
    assert (said.startswith("asking stun.") and "--no-stun" in said) is by_itself


@pytest.mark.parametrize(
    ("words", "variable", "complaint"),
    [
        (["--stun", OWN, "--no-stun"], "", "argument --no-stun: not allowed with argument --stun"),
        ([], "example.org", "RTCSCTP_STUN: not the URL of an ICE server: 'example.org'"),
    ],
)
def test_what_cannot_be(
    words: list[str],
    variable: str,
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RTCSCTP_STUN", variable)
    with pytest.raises(SystemExit):
        configured(*words)
    assert complaint in capsys.readouterr().err


def test_what_may_help() -> None:
    assert f"--stun {PUBLIC}" in way_out(PeerConfig())
    assert "--turn URL" in way_out(PeerConfig(ice_servers=[OWN]))
    turn = IceServer("turn:turn.example.org", "user", "password")
    assert way_out(PeerConfig(ice_servers=[OWN, turn])) == "is UDP let through on both sides?"


def _own_address() -> str | None:
    """An address of this machine that others could use; None if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return None
        address: str = sock.getsockname()[0]
    return None if address.startswith("127.") else address


def test_a_server_that_does_not_answer_holds_nothing_up_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = _own_address()
    if address is None:
        pytest.skip("this machine has no network")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, 0))
        server.settimeout(60)
        monkeypatch.setenv("RTCSCTP_STUN", f"stun:{address}:{server.getsockname()[1]}")
        result = rtcsctp("ping")
        question = server.recv(2000)
    assert question[4:8] == b"\x21\x12\xa4\x42"  # STUN's magic cookie
    assert f"asking {address} for our address" in result.stderr
    assert result.stdout.startswith("RTC1")
    assert result.complaint == "rtcsctp: standard input ends before the other side's line"
