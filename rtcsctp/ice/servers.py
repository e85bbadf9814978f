"""STUN and TURN servers as users name them: URLs (RFC 7064, RFC 7065) and credentials."""

from __future__ import annotations

import re

import attrs

from rtcsctp.errors import ConfigError
from rtcsctp.ice.candidate import canonical_ip

__all__ = ["IceServer"]

_URL = re.compile(
    r"(?P<scheme>stuns?|turns?):"
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<host>[^][:?#/@\s]+))"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?:\?transport=(?P<transport>[A-Za-z]+))?",
    re.IGNORECASE,
)
_HOST_NAME = re.compile(r"(?=.{1,253}\.?\Z)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")

_PORT = 3478
_TLS_PORT = 5349
_MAX_USERNAME = 508  # "fewer than 509 bytes", RFC 8489 14.3


@attrs.frozen
class IceServer:
    """One STUN or TURN server (W3C RTCIceServer with one URL).

    The forms of the URL are ``stun:host[:port]``, ``stuns:…``, and ``turn:host[:port]`` or
    ``turns:…``, which may end in ``?transport=udp`` or ``?transport=tcp``. An IPv6 address stands
    in brackets.

    Attributes:
        url: as given.
        username, password: the long-term credentials; TURN needs both.
        scheme: ``stun``, ``stuns``, ``turn`` or ``turns``.
        host: a name, or an IP address in canonical form and without brackets.
        port: 1 to 65,535; by default 3478, with TLS 5349.
        transport: how to reach the server: ``udp``, ``tcp`` or ``tls``.

    Raises:
        ConfigError: the URL is none of these forms, asks for DTLS, or credentials are missing.
    """

    url: str
    username: str = ""
    password: str = attrs.field(default="", repr=False)
    scheme: str = attrs.field(init=False, repr=False, eq=False)
    host: str = attrs.field(init=False, repr=False, eq=False)
    port: int = attrs.field(init=False, repr=False, eq=False)
    transport: str = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        found = _URL.fullmatch(self.url)
        if found is None:
            raise ConfigError(
                f"not the URL of an ICE server: {self.url!r}; it looks like "
                "stun:stun.example.org or turn:turn.example.org:3478?transport=udp"
            )
        scheme = found["scheme"].lower()
        secure = scheme.endswith("s")
        port = int(found["port"]) if found["port"] else (_TLS_PORT if secure else _PORT)
        if not 1 <= port <= 0xFFFF:
            raise ConfigError(f"the port of an ICE server is from 1 to 65535: {self.url!r}")
        # The only way to give an instance that is frozen what its own URL says.
        object.__setattr__(self, "scheme", scheme)
        object.__setattr__(self, "host", self._find_host(found["ipv6"], found["host"]))
        object.__setattr__(self, "port", port)
        object.__setattr__(self, "transport", self._find_transport(scheme, found["transport"]))
        self._check_credentials()

    def _find_host(self, ipv6: str | None, host: str | None) -> str:
        if ipv6 is not None:
            address = canonical_ip(ipv6)
            if address is None or ":" not in address:
                raise ConfigError(f"not an IPv6 address in the URL of an ICE server: {self.url!r}")
            return address
        assert host is not None
        address = canonical_ip(host)
        if address is not None:
            return address
        if host.rpartition(".")[2].isdigit() or not _HOST_NAME.fullmatch(host):
            raise ConfigError(f"neither a name nor an address in an ICE server's URL: {self.url!r}")
        return host

    def _find_transport(self, scheme: str, asked: str | None) -> str:
        if asked is not None and scheme.startswith("stun"):
            raise ConfigError(f"the URL of a STUN server has no transport (RFC 7064): {self.url!r}")
        transport = None if asked is None else asked.lower()
        if transport not in {None, "udp", "tcp"}:
            raise ConfigError(f"the transport of a TURN server is udp or tcp: {self.url!r}")
        if scheme in {"stuns", "turns"}:
            if transport == "udp":
                raise ConfigError(
                    f"TURN over DTLS is not supported: {self.url!r}; use transport=tcp for TLS"
                )
            return "tls"
        return transport or "udp"

    def _check_credentials(self) -> None:
        if self.scheme.startswith("turn") and not (self.username and self.password):
            raise ConfigError(f"a TURN server needs a username and a password: {self.url!r}")
        if len(self.username.encode()) > _MAX_USERNAME:
            raise ConfigError(f"the username for {self.url!r} has more than {_MAX_USERNAME} bytes")
