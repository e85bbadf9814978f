"""What a peer connection can be told."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from rtcsctp.dtls.certificate import Certificate
from rtcsctp.dtls.engine import DtlsIdentity
from rtcsctp.dtls.openssl import OpenSslIdentity
from rtcsctp.errors import ConfigError
from rtcsctp.ice.config import IceConfig
from rtcsctp.ice.servers import IceServer
from rtcsctp.runtime.host import Host
from rtcsctp.runtime.link import PacketRecorder
from rtcsctp.sctp.config import Config

__all__ = ["SCTP_OF_PEERS", "PeerConfig"]

POLICIES = ("all", "relay")


SCTP_OF_PEERS = Config(sack_delay=0.02)
"""Where the SCTP of data channels begins. SACKs are held back for 20 ms at most, as libdatachannel
does it: peers whose windows grow slowly stop for that long whenever an odd number of packets is on
its way. (aiortc 1.16 sent six times as fast as with 200 ms.)"""


def _servers(values: Sequence[IceServer | str]) -> tuple[IceServer, ...]:
    if isinstance(values, (str, IceServer)):
        raise ConfigError("ice_servers is a list of servers, not one")
    return tuple(IceServer(value) if isinstance(value, str) else value for value in values)


def _addresses(values: Sequence[str] | None) -> tuple[str, ...] | None:
    if values is None:
        return None
    return tuple(_canonical(value, "addresses") for value in values)


def _translation(values: Mapping[str, str]) -> dict[str, str]:
    name = "public_addresses"
    return {_canonical(own, name): _canonical(seen, name) for own, seen in values.items()}


def _canonical(value: str, name: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ConfigError(f"{name}: {value!r} is not an IP address") from None


def _policy(_config: object, _attribute: attrs.Attribute[Any], value: object) -> None:
    if value not in POLICIES:
        raise ConfigError(f"ice_transport_policy must be one of {POLICIES}, not {value!r}")


def _ports(_config: object, _attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None:
        first, last = value
        if not 1 <= first <= last <= 65_535:
            raise ConfigError(f"port_range must be from 1 to 65535 and ascending, not {value!r}")


def _positive(_config: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value > 0:
        raise ConfigError(f"{attribute.name} must be above 0, not {value!r}")


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

    ice: IceConfig = attrs.field(factory=IceConfig)
    """The timing and the limits of the ICE agent; the fields of this class go before its own."""

    ice_lite: bool = False
    """Be an ICE lite agent (RFC 8445 2.5): for servers that everybody can reach."""

    hide_addresses: bool = False
    """Announce own addresses as multicast DNS names, as browsers do."""

    include_loopback: bool = False
    """Gather candidates of the loopback interface: both peers are on this computer."""

    interfaces: Sequence[str] | None = None
    """Names of the network interfaces to use; None: all."""

    addresses: Sequence[str] | None = attrs.field(default=None, converter=_addresses)
    """Own IP addresses to use; None: all."""

    ip_version: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.in_((4, 6)))
    )
    """Use only IPv4 or only IPv6 addresses of our own."""

    port_range: tuple[int, int] | None = attrs.field(default=None, validator=_ports)
    """First and last UDP port to use; None: whatever the operating system gives."""

    public_addresses: Mapping[str, str] = attrs.field(factory=dict, converter=_translation)
    """Own addresses and what they are on the Internet, where a NAT translates 1:1 (cloud hosts)."""

    gathering_timeout: float = attrs.field(default=5.0, validator=_positive)
    """How long `PeerConnection.offer` and `.answer` wait for STUN and TURN servers."""

    restart_grace: float = attrs.field(default=10.0, validator=attrs.validators.ge(0))
    """How long an ICE restart may take to come when ICE has failed, before the connection is given
    up. (ICE itself fails 30 s after the last sign of the peer's consent, RFC 7675.)"""

    turn_ca_file: str | None = None
    """Certificates (PEM) that TURN servers over TLS may be signed by, instead of the system's."""

    # ---- DTLS

    certificate: Certificate | None = None
    """Who we are; by default a new one for each peer connection."""

    identity: DtlsIdentity | None = None
    """Another DTLS engine in place of OpenSSL's; `certificate` then means nothing."""

    # ---- SCTP and data channels

    sctp: Config = SCTP_OF_PEERS
    """Parameters of the association. ``max_message_size`` is what our description announces;
    ``zero_checksum`` is on, and ``mtu`` and ``max_retransmits`` are set to what suits DTLS and
    ICE."""

    send_buffer: int = attrs.field(default=1 << 20, validator=_positive)
    """Bytes queued on one data channel above which `DataChannel.send` waits."""

    linger: float = attrs.field(default=5.0, validator=attrs.validators.ge(0))
    """How long leaving a peer connection in order may take: closing its channels, which delivers
    what was sent on them."""

    # ---- surroundings, mostly for tests

    host: Host | None = None
    """The computer to run on; by default the real one."""

    rng: random.Random | None = None
    """Source of everything random that is not DTLS's; by default `random.SystemRandom()`."""

    capture: PacketRecorder | None = None
    """Records all SCTP packets, decrypted, like a `rtcsctp.testing.Capture`."""

    address_filter: Callable[[str], bool] | None = None
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
            object.__setattr__(self, "identity", OpenSslIdentity(self.certificate))
