"""URLs of STUN and TURN servers (RFC 7064, RFC 7065)."""

from __future__ import annotations

import pytest

from rtcsctp.errors import ConfigError
from rtcsctp.ice.servers import IceServer


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("stun:stun.example.org", ("stun", "stun.example.org", 3478, "udp")),
        ("STUN:stun.example.org:19302", ("stun", "stun.example.org", 19302, "udp")),
        ("stuns:stun.example.org", ("stuns", "stun.example.org", 5349, "tls")),
        ("stun:192.0.2.1", ("stun", "192.0.2.1", 3478, "udp")),
        ("stun:[2001:DB8::1]:99", ("stun", "2001:db8::1", 99, "udp")),
        ("turn:example.org", ("turn", "example.org", 3478, "udp")),
        ("turn:example.org?transport=udp", ("turn", "example.org", 3478, "udp")),
        ("turn:example.org:80?transport=TCP", ("turn", "example.org", 80, "tcp")),
        ("turns:example.org", ("turns", "example.org", 5349, "tls")),
        ("turns:[::1]:443?transport=tcp", ("turns", "::1", 443, "tls")),
    ],
)
def test_urls_of_the_rfcs(url: str, expected: tuple[str, str, int, str]) -> None:
    server = IceServer(url, "user", "secret")
    assert (server.scheme, server.host, server.port, server.transport) == expected
    assert server.url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "stun",
        "stun:",
        "stun://example.org",
        "http:example.org",
        "stun:example.org:0",
        "stun:example.org:65536",
        "stun:example.org:x",
        "stun:user@example.org",
        "stun:example.org?transport=udp",
        "stun:2001:db8::1",
        "stun:[192.0.2.1]",
        "stun:[1.2:3]",
        "stun:192.0.2.256",
        "stun:-x-",
        "stun:exa mple.org",
        "turn:example.org?transport=sctp",
        "turn:example.org?transport=",
        "turn:example.org?x=y",
        "turns:example.org?transport=udp",
    ],
)
def test_other_urls_are_refused_by_name(url: str) -> None:
    with pytest.raises(ConfigError) as found:
        IceServer(url, "user", "secret")
    assert repr(url) in str(found.value)


def test_turn_needs_credentials_that_stun_does_without() -> None:
    for username, password in (("", ""), ("user", ""), ("", "secret")):
        with pytest.raises(ConfigError, match="turn:example"):
            IceServer("turn:example.org", username, password)
    with pytest.raises(ConfigError, match="508 bytes"):
        IceServer("turn:example.org", "\N{SNOWMAN}" * 170, "secret")


def test_the_password_is_not_shown() -> None:
    assert "secret" not in repr(IceServer("turn:example.org", "user", "secret"))
