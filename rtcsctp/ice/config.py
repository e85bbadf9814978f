"""Every number that steers an ICE agent, with its default and the reason for it.

Names are those of RFC 8445 where it has one. All times are in seconds.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from rtcsctp.errors import ConfigError

__all__ = ["POLICIES", "IceConfig"]

POLICIES = ("all", "relay")
"""Which local candidates are used (W3C RTCIceTransportPolicy)."""


def _number(minimum: float, maximum: float) -> Callable[[Any, Any, Any], None]:
    def check(_config: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigError(f"{attribute.name} must be a number, not {value!r}")
        if "float" not in str(attribute.type) and not isinstance(value, int):
            raise ConfigError(f"{attribute.name} must be a whole number, not {value!r}")
        if not minimum <= value <= maximum:
            raise ConfigError(
                f"{attribute.name} must be from {minimum:g} to {maximum:g}, not {value!r}"
            )

    return check


def _policy(_config: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value not in POLICIES:
        raise ConfigError(f"{attribute.name} must be one of {', '.join(POLICIES)}, not {value!r}")


def _flag(_config: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, bool):
        raise ConfigError(f"{attribute.name} must be true or false, not {value!r}")


def _canonical_addresses(addresses: Mapping[str, str]) -> Mapping[str, str]:
    canonical: dict[str, str] = {}
    for private, public in addresses.items():
        try:
            inside, outside = ipaddress.ip_address(private), ipaddress.ip_address(public)
        except ValueError as error:
            raise ConfigError(f"public_addresses: {error}") from None
        if inside.version != outside.version:
            raise ConfigError(f"public_addresses: {private} and {public} are of different families")
        canonical[str(inside)] = str(outside)
    return canonical


@attrs.frozen(kw_only=True)
class IceConfig:
    """The parameters of one agent.

    Raises:
        ConfigError: a value that cannot work; the message names the field and its limits.
    """

    # ---- what is used

    policy: str = attrs.field(default="all", validator=_policy)
    """``"all"``, or ``"relay"``: nothing but TURN relays is announced, checked from or answered on,
    so that the peer never learns an address of ours."""

    lite: bool = attrs.field(default=False, validator=_flag)
    """Be a lite agent (RFC 8445 5.2): for servers with public addresses. It answers checks and
    never sends any, announces host candidates only, and cannot use STUN or TURN servers."""

    public_addresses: Mapping[str, str] = attrs.field(factory=dict, converter=_canonical_addresses)
    """Private host to public host, for machines behind a one-to-one NAT (cloud servers): the host
    candidate is announced with the public address in place of the private one."""

    # ---- pace (RFC 8445 14)

    ta: float = attrs.field(default=0.05, validator=_number(0.005, 10))
    """Ta: so much time passes between two new ordinary checks, and between two new transactions of
    gathering. The first of each goes at once. Another value than 50 ms would have to be agreed
    upon with the peer (`ice-pacing`)."""

    triggered_ta: float = attrs.field(default=0.005, validator=_number(0.005, 10))
    """Least distance of a triggered check (and of a nomination) from the check before it. RFC 8445
    6.1.4.2 lets Ta govern these too; but each answers a request that the peer has paced itself and
    authenticated, so it cannot be used to flood anybody, and waiting 50 ms for it is most of what
    it takes to connect inside one network. 5 ms is the RFC's floor for all transactions (14.2)."""

    rto: float = attrs.field(default=0.5, validator=_number(0.5, 60))
    """Least RTO of a connectivity check: "Agents MUST NOT use an RTO value smaller than 500 ms"
    (14.3). It grows to Ta times the checks that are waiting or in progress, so that each pair is
    tried once before any is tried again, which is the purpose that 14.1 gives for its formula
    (the formula itself is quadratic in the number of pairs, and a MAY)."""

    max_attempts: int = attrs.field(default=7, validator=_number(1, 20))
    """Rc of RFC 8489 6.2.1: how often the request of a check is sent."""

    last_wait: int = attrs.field(default=16, validator=_number(1, 64))
    """Rm of RFC 8489 6.2.1: multiple of the RTO to wait for an answer after the last request."""

    # ---- nomination (RFC 8445 8.1.1 leaves the criteria to us)

    nomination_wait: float = attrs.field(default=0.1, validator=_number(0, 60))
    """How long a controlling agent lets better pairs try after the first pair has worked; two
    round trips of that pair if these take longer. There is no wait where nothing better is left."""

    relay_wait: float = attrs.field(default=2.0, validator=_number(0, 60))
    """The same where only a relayed pair works: a direct path is worth waiting for, and data flows
    over the relay meanwhile. pion waits as long."""

    # ---- consent and liveness (RFC 7675, RFC 8445 11)

    consent_interval: float = attrs.field(default=5.0, validator=_number(5, 25))
    """Mean time between two consent checks; each is drawn from 0.8 to 1.2 times this. "MUST NOT
    set the period between checks to less than 4 seconds" (RFC 7675 5.1)."""

    consent_timeout: float = attrs.field(default=30.0, validator=_number(1, 30))
    """So long without a valid answer, and nothing is sent any more: the agent has failed, and only
    a restart helps (RFC 7675 5.1)."""

    disconnected_after: float = attrs.field(default=10.0, validator=_number(5, 30))
    """So long with nothing heard from the peer (STUN or data), and the state is "disconnected"
    until something is. Where the peer is heard but our own checks are not answered, after 1.6 times
    this time. 3.75 s before either the pair is probed. The arithmetic is in `rtcsctp.ice.consent`,
    and counts on living peers being heard every 6 s: shorter times cost idle pairs probes."""

    keepalive: float = attrs.field(default=15.0, validator=_number(15, 300))
    """Tr: the bindings at STUN servers are refreshed so often until ICE has concluded (RFC 8445
    5.1.1.4, 11). A selected pair needs no keepalives beside its consent checks."""

    # ---- giving up (RFC 8863)

    patience: float = attrs.field(default=39.5, validator=_number(1, 600))
    """The PAC timer: no failure before so much time with both sides' credentials, however many
    pairs have failed. 39.5 s is how long a check of the peer can last."""

    max_patience: float = attrs.field(default=60.0, validator=_number(1, 600))
    """The same where the peer has not said that its candidates are complete; Chrome never does."""

    checking_limit: float = attrs.field(default=180.0, validator=_number(1, 3600))
    """No longer than this is hoped, whatever comes. Between the PAC timer and this limit hope is: a
    pair whose first check is not over (39.5 s each; more with many pairs). A peer whose checks
    arrive, while none of ours is answered, triggers ours without end, and would otherwise keep the
    agent in "checking" for ever. It is still answered after that, and a pair may still work."""

    gathering_timeout: float = attrs.field(default=10.0, validator=_number(0.5, 60))
    """A STUN or TURN server that has not answered by then is reported and given up. Checks never
    wait for it; programs without trickle do wait, for the end of gathering."""

    # ---- what the peer, or the network, can make us hold

    max_remote_candidates: int = attrs.field(default=100, validator=_number(1, 10_000))
    """Candidates of the peer that are kept, per ICE session; names count too."""

    max_peer_reflexive: int = attrs.field(default=50, validator=_number(1, 10_000))
    """Peer-reflexive candidates that are kept, per ICE session and side, besides those above."""

    max_pairs: int = attrs.field(default=100, validator=_number(1, 10_000))
    """Candidate pairs in the checklist (RFC 8445 6.1.2.5)."""

    max_early_checks: int = attrs.field(default=50, validator=_number(1, 10_000))
    """Sources of authenticated checks that are remembered until the peer's credentials arrive."""

    max_sources: int = attrs.field(default=200, validator=_number(1, 10_000))
    """Addresses per socket from which data is accepted, because a check from there or to there has
    succeeded. One more makes the agent forget the one that was silent for longest."""

    max_local: int = attrs.field(default=64, validator=_number(1, 1_000))
    """Sockets and relays that take part; our own side sets them, and more are refused."""
