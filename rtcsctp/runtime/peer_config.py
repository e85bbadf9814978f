"""What a peer connection can be told."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from rtcsctp.dtls.certificate import Certificate
from rtcsctp.dtls.engine import DtlsIdentity
from rtcsctp.errors import ConfigError
from rtcsctp.ice.config import IceConfig
from rtcsctp.ice.servers import IceServer
from rtcsctp.runtime.environment import make_openssl_identity
from rtcsctp.runtime.host import Host
from rtcsctp.runtime.link import PacketRecorder
from rtcsctp.sctp.config import Config

__all__ = ["SCTP_OF_PEERS", "PeerConfig"]

POLICIES = ("all", "relay")


SCTP_OF_PEERS = Config(sack_delay=0.02)
"""Where the SCTP of data channels begins. SACKs are held back for 20 ms at most, as libdatachannel
does it: peers whose windows grow slowly stop for that long whenever an odd number of packets is on
its way. (aiortc 1.16 sent six times as fast as with 200 ms.)"""


def _texts(values: object, name: str) -> tuple[Any, ...]:
    """A list that was given; one text is a list of letters to Python, and a mistake here."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise ConfigError(f"{name} is a list, not {values!r}")
    return tuple(values)


def _servers(values: Sequence[IceServer | str]) -> tuple[IceServer, ...]:
    servers = []
    for value in _texts(values, "ice_servers"):
        if not isinstance(value, (str, IceServer)):
            raise ConfigError(f"ice_servers: {value!r} is neither a URL nor an IceServer")
        servers.append(IceServer(value) if isinstance(value, str) else value)
    return tuple(servers)


def _interfaces(values: Sequence[str] | None) -> tuple[str, ...] | None:
    if values is None:
        return None
    names = _texts(values, "interfaces")
    for name in names:
        if not isinstance(name, str):
            raise ConfigError(f"interfaces: {name!r} is not the name of one")
    return names


def _addresses(values: Sequence[str] | None) -> tuple[str, ...] | None:
    if values is None:
        return None
    return tuple(_canonical(value, "addresses") for value in _texts(values, "addresses"))


def _translation(values: Mapping[str, str]) -> dict[str, str]:
    name = "public_addresses"
    if not isinstance(values, Mapping):
        raise ConfigError(f"{name} is a mapping of own addresses to public ones, not {values!r}")
    found = {_canonical(own, name): _canonical(seen, name) for own, seen in values.items()}
    for own, seen in found.items():
        if (":" in own) != (":" in seen):
            raise ConfigError(f"{name}: {own} and {seen} are of different families")
    return found


def _canonical(value: str, name: str) -> str:
    try:
        if isinstance(value, str):
            return str(ipaddress.ip_address(value))
    except ValueError:
        pass
    raise ConfigError(f"{name}: {value!r} is not an IP address")


def _policy(_config: object, _attribute: attrs.Attribute[Any], value: object) -> None:
    if value not in POLICIES:
        raise ConfigError(f"ice_transport_policy must be one of {POLICIES}, not {value!r}")


def _version(_config: object, _attribute: attrs.Attribute[Any], value: object) -> None:
    if value not in (None, 4, 6):
        raise ConfigError(f"ip_version must be 4, 6 or None, not {value!r}")


def _ports(_config: object, _attribute: attrs.Attribute[Any], value: Any) -> None:
    match value:
        case None:
            return
        case (int(first), int(last)) if 1 <= first <= last <= 65_535:
            return
    raise ConfigError(
        f"port_range must be a first and a last port, from 1 to 65535 and ascending, not {value!r}"
    )


def _number(minimum: float, *, above: bool = False) -> Callable[[Any, Any, Any], None]:
    def check(_config: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        # As written, a NaN is refused too.
        if not is_number or not (value > minimum if above else value >= minimum):
            limit = "above" if above else "at least"
            raise ConfigError(f"{attribute.name} must be a number, {limit} {minimum:g}: {value!r}")

    return check


def _bytes(_config: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{attribute.name} must be a whole number above 0, not {value!r}")


def _is(*kinds: type | None) -> Callable[[Any, Any, Any], None]:
    types = tuple(type(None) if kind is None else kind for kind in kinds)
    words = " or ".join("None" if kind is None else kind.__name__ for kind in kinds)

    def check(_config: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not isinstance(value, types):
            raise ConfigError(f"{attribute.name} must be {words}, not {value!r}")

    return check


def _can(*methods: str) -> Callable[[Any, Any, Any], None]:
    """Nothing, or an object with these methods, of whatever class."""

    def check(_config: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is not None and not all(callable(getattr(value, name, None)) for name in methods):
            raise ConfigError(
                f"{attribute.name} must have the methods {', '.join(methods)}; {value!r} has not"
            )

    return check


@attrs.frozen(kw_only=True)
class PeerConfig:
    """The parameters of a peer connection. Times are in seconds, sizes in bytes.

    Raises:
        ConfigError: a value that cannot work; the message names the field.
    """

    # ---- ICE

    ice_servers: Sequence[IceServer | str] = attrs.field(default=(), converter=_servers)
    """STUN and TURN servers, as `IceServer` or as a URL (RFC 7064, RFC 7065)."""

    ice_transport_policy: str = attrs.field(default="all", validator=_policy)
    """W3C's iceTransportPolicy: "all", or "relay" for relayed candidates only."""

    ice: IceConfig = attrs.field(factory=IceConfig, validator=_is(IceConfig))
    """The timing and the limits of the ICE agent; the fields of this class go before its own."""

    ice_lite: bool = attrs.field(default=False, validator=_is(bool))
    """Be an ICE lite agent (RFC 8445 2.5): for servers that everybody can reach."""

    hide_addresses: bool = attrs.field(default=False, validator=_is(bool))
    """Announce own addresses as multicast DNS names, as browsers do."""

    include_loopback: bool = attrs.field(default=False, validator=_is(bool))
    """Gather candidates of the loopback interface: both peers are on this computer."""

    interfaces: Sequence[str] | None = attrs.field(default=None, converter=_interfaces)
    """Names of the network interfaces to use; None: all."""

    addresses: Sequence[str] | None = attrs.field(default=None, converter=_addresses)
    """Own IP addresses to use; None: all."""

    ip_version: int | None = attrs.field(default=None, validator=_version)
    """Use only IPv4 or only IPv6 addresses of our own."""

    port_range: tuple[int, int] | None = attrs.field(default=None, validator=_ports)
    """First and last UDP port to use; None: whatever the operating system gives."""

    public_addresses: Mapping[str, str] = attrs.field(factory=dict, converter=_translation)
    """Own addresses and what they are on the Internet, where a NAT translates 1:1 (cloud hosts)."""

    gathering_timeout: float = attrs.field(default=5.0, validator=_number(0, above=True))
    """How long `PeerConnection.offer` and `.answer` wait for STUN and TURN servers."""

    restart_grace: float = attrs.field(default=10.0, validator=_number(0))
    """How long an ICE restart may take to come when ICE has failed, before the connection is given
    up. (ICE itself fails 30 s after the last sign of the
    peer's consent, RFC 7675, or 35 s where other pairs of candidates had worked once.)"""

    turn_ca_file: str | None = attrs.field(default=None, validator=_is(str, None))
    """Certificates (PEM) that TURN servers over TLS may be signed by, instead of the system's."""

    # ---- DTLS

    certificate: Certificate | None = attrs.field(default=None, validator=_is(Certificate, None))
    """Who we are; by default a new one for each peer connection."""

    identity: DtlsIdentity | None = attrs.field(default=None, validator=_can("engine"))
    """Another DTLS engine in place of OpenSSL's; `certificate` then means nothing."""

    # ---- SCTP and data channels

    sctp: Config = attrs.field(default=SCTP_OF_PEERS, validator=_is(Config))
    """Parameters of the association. ``max_message_size`` is what our description announces;
    ``zero_checksum`` is on, and ``mtu`` and ``max_retransmits`` are set to what suits DTLS and
    ICE."""

    send_buffer: int = attrs.field(default=1 << 20, validator=_bytes)
    """Bytes queued on one data channel above which `DataChannel.send` waits. Where the congestion
    window is larger than half of that, twice the window instead, up to 16 MiB: so a long fast path
    is not left idle."""

    linger: float = attrs.field(default=5.0, validator=_number(0))
    """How long leaving a peer connection in order may take: closing its channels, which delivers
    what was sent on them."""

    # ---- surroundings, mostly for tests

    host: Host | None = attrs.field(default=None, validator=_can("addresses", "open_udp"))
    """The computer to run on; by default the real one."""

    rng: random.Random | None = attrs.field(default=None, validator=_is(random.Random, None))
    """Source of everything random that is not DTLS's; by default `random.SystemRandom()`."""

    capture: PacketRecorder | None = attrs.field(default=None, validator=_can("record_ns"))
    """Records all SCTP packets, decrypted, like a `rtcsctp.testing.Capture`."""

    address_filter: Callable[[str], bool] | None = attrs.field(
        default=None, validator=_can("__call__")
    )
    """Says of each own IP address whether it may be used; in addition to the fields above."""

    agent_config: IceConfig = attrs.field(init=False, repr=False, eq=False)
    """What the ICE agent is told: `ice`, and the fields above that go before its own."""

    def __attrs_post_init__(self) -> None:
        agent_config = attrs.evolve(
            self.ice,
            policy=self.ice_transport_policy,
            lite=self.ice_lite or self.ice.lite,
            public_addresses={**self.ice.public_addresses, **self.public_addresses},
        )
        object.__setattr__(self, "agent_config", agent_config)
        if self.identity is None and self.certificate is not None:
            # One OpenSSL context for all peers of this configuration.
            object.__setattr__(self, "identity", make_openssl_identity(self.certificate))
