"""Every number that steers an association, with its default and the reason for it.

The names of RFC 9260 chapter 16 are given at each field. Where the default differs from the RFC's
suggestion, it is what WebRTC stacks use, and the comment says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from rtcsctp.errors import ConfigError

__all__ = ["CONTROLLERS", "DEFAULT_MTU", "SCHEDULERS", "Config"]

CONTROLLERS = ("rfc9260", "cubic", "bbr", "ledbat")
"""The congestion controllers of `rtcsctp.sctp.tx.congestion`, by name."""

SCHEDULERS = (
    "fcfs",
    "round_robin",
    "round_robin_packet",
    "priority",
    "fair_capacity",
    "weighted_fair",
)
"""The stream schedulers of RFC 8260 section 3, by name."""

DEFAULT_MTU = 1200
"""Largest SCTP packet, in bytes, that is sent before a path is known to carry more.

1,200 bytes of UDP payload pass every path that carries IPv6 (1,280) with room for the tunnels that
exist; QUIC and WebRTC stacks start there too.
"""

_MIN_MTU = 512  # RFC 9260 7.3 wants no less; a COOKIE ECHO and a FORWARD-TSN must fit
_MAX_MTU = 65_532
_MIN_RWND = 1500  # RFC 9260 3.3.2: an a_rwnd below this is refused by the peer


def _number(minimum: float, maximum: float | None = None) -> Callable[[Any, Any, Any], None]:
    def check(_config: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:  # noqa: PLR0124
            raise ConfigError(f"{attribute.name} must be a number, not {value!r}")
        if "float" not in str(attribute.type) and not isinstance(value, int):
            raise ConfigError(f"{attribute.name} must be a whole number, not {value!r}")
        if value < minimum or (maximum is not None and value > maximum):
            limit = (
                f"at least {minimum:,}" if maximum is None else f"from {minimum:,} to {maximum:,}"
            )
            raise ConfigError(f"{attribute.name} must be {limit}, not {value!r}")

    return check


def _flag(_config: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, bool):
        raise ConfigError(f"{attribute.name} must be true or false, not {value!r}")


def _scheduler(_config: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value not in SCHEDULERS:
        raise ConfigError(f"{attribute.name} must be one of {', '.join(SCHEDULERS)}, not {value!r}")


def _controller(_config: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value not in CONTROLLERS:
        raise ConfigError(
            f"{attribute.name} must be one of {', '.join(CONTROLLERS)}, not {value!r}"
        )


def _optional(check: Callable[[Any, Any, Any], None]) -> Callable[[Any, Any, Any], None]:
    def optional(config: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is not None:
            check(config, attribute, value)

    return optional


@attrs.frozen(kw_only=True)
class Config:
    """The parameters of one association. Times are in seconds, sizes in bytes.

    Raises:
        ConfigError: a value that cannot work; the message names the field and its limits.
    """

    # ---- retransmission timeout (RFC 9260 6.3.1)

    rto_initial: float = attrs.field(default=0.5, validator=_number(0.001, 60))
    """RTO.Initial. The RFC's 1 s is for paths of unknown length; ICE has just crossed this one in
    milliseconds, and WebRTC stacks use 0.5 s, so that one lost INIT does not cost a second."""

    rto_min: float = attrs.field(default=0.25, validator=_number(0.001, 60))
    """RTO.Min. It must exceed the longest time that a peer holds back a SACK (200 ms by the RFC,
    `sack_delay`), or every held SACK looks like a loss: 200 ms and 50 ms for a busy machine. The
    RFC suggests 1 s; WebRTC stacks use 0.2 s to 0.4 s."""

    rto_max: float = attrs.field(default=60.0, validator=_number(0.001, 600))
    """RTO.Max."""

    rto_alpha: float = attrs.field(default=0.125, validator=_number(0.001, 1))
    """RTO.Alpha, the weight of a new sample in the smoothed round-trip time."""

    rto_beta: float = attrs.field(default=0.25, validator=_number(0.001, 1))
    """RTO.Beta, the weight of a new sample in its variation."""

    backoff_max: float = attrs.field(default=5.0, validator=_number(0.001, 600))
    """Where the doubling of a timeout stops (never below the RTO itself). With `max_retransmits` 10
    a silent peer is given up after 0.25 + 0.5 + 1 + 2 + 4 + 6 * 5 = 37.75 s at the earliest, which
    is later than ICE consent (30 s, RFC 7675): SCTP is not the first to give up, and a path that
    comes back is noticed within 5 s."""

    # ---- giving up (RFC 9260 8.1, 8.2, 5.1)

    max_retransmits: int = attrs.field(default=10, validator=_number(0))
    """Association.Max.Retrans: the peer is unreachable when consecutive errors *exceed* this."""

    path_max_retransmits: int = attrs.field(default=5, validator=_number(0))
    """Path.Max.Retrans: the path counts as inactive (in the statistics) above this. There is only
    one path, so nothing else follows from it."""

    max_init_retransmits: int = attrs.field(default=8, validator=_number(0))
    """Max.Init.Retransmits, of INIT and of COOKIE ECHO each."""

    # ---- handshake

    valid_cookie_life: float = attrs.field(default=60.0, validator=_number(0.1, 3600))
    """Valid.Cookie.Life. The secret behind the cookies changes as often."""

    # ---- sending

    max_burst: int = attrs.field(default=4, validator=_number(1))
    """Max.Burst: packets sent at one opportunity beyond what has just been acknowledged (RFC 9260
    6.1 D), or twice that in slow start. A peer that acknowledges sixteen packets with one SACK
    thereby gets sixteen and four, not four; and as it may acknowledge a whole window at once, only
    thirty-two and four let a window that has just grown by sixteen be filled. RFC 9260 has four in
    all, and SACKs for two packets. Without meaning for a congestion controller that sets a pace."""

    initial_cwnd: int = attrs.field(default=10, validator=_number(1, 1000))
    """Packets in the first congestion window. RFC 9260 7.2.1 says three or four; ten is RFC 6928's
    value for TCP, and dcSCTP's."""

    slow_start_limit: int = attrs.field(default=256, validator=_number(1, 1000))
    """L of RFC 9260 7.2.1: packets by which cwnd grows per SACK in slow start at most (and never by
    more than was acknowledged). One SACK answers a whole batch of packets where the network layer
    delivers them as one, 64 and more; so this is far above the 1 or 2 of RFC 3465, which fit an
    acknowledgement for every second packet, and bounds only what one stray SACK can do."""

    congestion_control: str = attrs.field(default="bbr", validator=_controller)
    """What decides how much may be in flight, and how fast it leaves: one of `CONTROLLERS`.

    "bbr" goes by what the path delivers, and not by single losses: over 50 Mbit/s and 50 ms, where
    one packet in a hundred was lost, 94 % of the link arrived as messages, and 5 % with "cubic".
    Beside a flow with "rfc9260" over a path of 100 ms it took three quarters; where that is too
    much, choose another."""

    mtu: int = attrs.field(default=DEFAULT_MTU, validator=_number(_MIN_MTU, _MAX_MTU))
    """Largest SCTP packet sent before the path is known to carry more, in bytes, without any header
    below SCTP (BASE_PLPMTU of RFC 8899)."""

    path_mtu_discovery: bool = attrs.field(default=True, validator=_flag)
    """Find out whether the path carries larger packets (RFC 8899), while there is enough to send;
    otherwise `mtu` is the largest for ever."""

    max_mtu: int = attrs.field(default=_MAX_MTU, validator=_number(_MIN_MTU, _MAX_MTU))
    """Largest SCTP packet sent in any case (MAX_PLPMTU); the link may take less."""

    send_buffer: int = attrs.field(default=1 << 20, validator=_number(1))
    """High-water mark for bytes queued and not yet sent. A sender that waits, waits above it; the
    priority policy of RFC 7496 makes room above it; nothing is refused because of it."""

    scheduler: str = attrs.field(default="weighted_fair", validator=_scheduler)
    """How streams share the association (RFC 8260 section 3). Weighted fair queueing is the one
    that RFC 8831 asks WebRTC stacks for; with equal weights it is plain fairness in bytes."""

    peer_max_message_size: int | None = attrs.field(default=None, validator=_optional(_number(1)))
    """Largest message that the peer accepts, where signalling said so (RFC 8841); a larger one is
    refused at `send`. None: no limit."""

    # ---- receiving

    rwnd: int = attrs.field(default=5 << 20, validator=_number(_MIN_RWND, 1 << 31))
    """Receive window at first. What is held for the user, incomplete messages included, is charged
    against it; 5 MiB is what Chromium announces."""

    rwnd_max: int = attrs.field(default=64 << 20, validator=_number(_MIN_RWND, 1 << 31))
    """Up to where the receive window grows. It doubles when more than half of it is taken by the
    user within one round trip, so that it does not hold up a long and fast path, and never while
    much of it is unread. A value not above `rwnd` keeps it as it is. 64 MiB is what 1 Gbit/s
    fills in half a second; in packets of 1,200 bytes, nearly all the TSNs that gap blocks can name
    (65,535). It bounds what one peer can make us hold, so whoever serves many may want less."""

    max_message_size: int = attrs.field(default=262_144, validator=_number(1, 1 << 31))
    """Largest message accepted; a peer that sends a larger one is aborted. 256 KiB is what browsers
    announce."""

    sack_delay: float = attrs.field(default=0.2, validator=_number(0, 0.5))
    """SACK.Delay: how long a SACK may be held back. The RFC forbids more than 0.5 s."""

    sack_frequency: int = attrs.field(default=2, validator=_number(1, 1000))
    """A SACK is sent at the latest with every this-many-th packet that carries data."""

    # ---- heartbeats

    heartbeat_interval: float = attrs.field(default=30.0, validator=_number(0))
    """HB.Interval; 0 turns heartbeats off."""

    hb_max_burst: int = attrs.field(default=1, validator=_number(1))
    """HB.Max.Burst: heartbeats that may be sent at once."""

    # ---- streams and extensions

    outbound_streams: int = attrs.field(default=65_535, validator=_number(1, 65_535))
    """Streams we ask to send on; the peer may allow fewer."""

    inbound_streams: int = attrs.field(default=65_535, validator=_number(1, 65_535))
    """Streams we let the peer send on."""

    max_streams: int = attrs.field(default=65_535, validator=_number(1, 65_535))
    """Streams per direction up to which the peer may add some (RFC 6525 5.2.5)."""

    interleaving: bool = attrs.field(default=True, validator=_flag)
    """Offer I-DATA (RFC 8260)."""

    partial_reliability: bool = attrs.field(default=True, validator=_flag)
    """Offer FORWARD-TSN (RFC 3758), and I-FORWARD-TSN beside I-DATA."""

    reconfiguration: bool = attrs.field(default=True, validator=_flag)
    """Offer RE-CONFIG (RFC 6525)."""

    zero_checksum: bool = attrs.field(default=False, validator=_flag)
    """The lower layer is DTLS: accept packets whose checksum is zero and say so (RFC 9653), and
    send them where the peer said so. Never over plain UDP."""

    def __attrs_post_init__(self) -> None:
        if self.rto_min > self.rto_max:
            raise ConfigError(f"rto_min {self.rto_min:g} is above rto_max {self.rto_max:g}")
        mtu = min(self.mtu, self.max_mtu) & ~3  # packets are whole 32-bit words
        if mtu != self.mtu:
            object.__setattr__(self, "mtu", mtu)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of all fields."""
        return tuple(field.name for field in attrs.fields(cls))

    @classmethod
    def from_strings(cls, values: Mapping[str, str], *, defaults: Config | None = None) -> Config:
        """A configuration from words, as on a command line: ``{"rto_min": "0.2"}``.

        What is not named is as in `defaults`, or as by default. Booleans are true/false, yes/no,
        on/off or 1/0; ``none`` unsets an optional number.

        Raises:
            ConfigError: a name that does not exist (the message lists those that do), or a value
                that does not fit its field.
        """
        fields = attrs.fields_dict(cls)
        parsed: dict[str, Any] = {}
        for name, text in values.items():
            if name not in fields:
                raise ConfigError(
                    f"there is no setting {name!r}; there are: {', '.join(sorted(fields))}"
                )
            parsed[name] = _parse(name, str(fields[name].type), text)
        return cls(**parsed) if defaults is None else attrs.evolve(defaults, **parsed)


_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")


def _parse(name: str, kind: str, text: str) -> object:
    word = text.strip().lower()
    if kind == "str":
        return word
    if kind == "bool":
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
        raise ConfigError(f"{name} must be true or false, not {text!r}")
    if word == "none" and "None" in kind:
        return None
    try:
        return float(word) if kind == "float" else int(word, 0)
    except ValueError:
        sort = "a number" if kind == "float" else "a whole number"
        raise ConfigError(f"{name} must be {sort}, not {text!r}") from None
