"""What an agent counts; the names are those of W3C's RTCIceCandidatePairStats in our spelling."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from rtcsctp.ice.candidate import Candidate
from rtcsctp.ice.events import GatheringState, IceState
from rtcsctp.ice.pairs import Pair

__all__ = ["Counters", "IceStatistics", "PairStatistics", "pair_statistics"]


class Counters:
    """Counters of the whole agent.

    Attributes:
        not_validated: data from addresses that never passed a check (pitfall W13).
        malformed: STUN that cannot be decoded, and datagrams that are of no known kind.
        refused_requests: Binding requests that were answered with an error.
        forged_responses: answers without the right integrity, or from a wrong address.
        unknown_responses: answers to no transaction of ours.
        ignored_candidates: of the peer: TCP, of another generation, unusable, or too many.
        early_checks: checks of the peer that came before its credentials.
        role_switches: role conflicts that we gave way in.
        discarded_packets, discarded_bytes: application data that had nowhere to go.
        selected_pair_changes: how often data took another pair.
        restarts: ICE restarts of our side.
    """

    __slots__ = (
        "discarded_bytes",
        "discarded_packets",
        "early_checks",
        "forged_responses",
        "ignored_candidates",
        "malformed",
        "not_validated",
        "refused_requests",
        "restarts",
        "role_switches",
        "selected_pair_changes",
        "unknown_responses",
    )

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)

    discarded_bytes: int
    discarded_packets: int
    early_checks: int
    forged_responses: int
    ignored_candidates: int
    malformed: int
    not_validated: int
    refused_requests: int
    restarts: int
    role_switches: int
    selected_pair_changes: int
    unknown_responses: int

    def as_dict(self) -> dict[str, int]:
        """All of them by name."""
        return {name: getattr(self, name) for name in self.__slots__}


@attrs.frozen(kw_only=True)
class PairStatistics:
    """One pair (W3C RTCIceCandidatePairStats). Times are in seconds, on the clock of `now`."""

    local: Candidate
    remote: Candidate
    state: str
    nominated: bool
    selected: bool
    priority: int
    packets_sent: int
    packets_received: int
    bytes_sent: int
    bytes_received: int
    last_packet_received: float | None
    total_round_trip_time: float
    current_round_trip_time: float | None
    requests_received: int
    requests_sent: int
    responses_received: int
    consent_requests_sent: int
    consented_at: float | None


@attrs.frozen(kw_only=True)
class IceStatistics:
    """An agent as a whole (W3C RTCTransportStats, where it speaks of ICE)."""

    state: IceState
    gathering_state: GatheringState
    controlling: bool
    local_ufrag: str
    pairs: tuple[PairStatistics, ...]
    remote_candidates: int
    counters: Mapping[str, int]


def pair_statistics(pair: Pair, *, selected: bool) -> PairStatistics:
    """The figures of one pair."""
    source = pair.base.sources.get(pair.remote.address)
    return PairStatistics(
        local=pair.local,
        remote=pair.remote.candidate,
        state=pair.state.value,
        nominated=pair.nominated,
        selected=selected,
        priority=pair.priority,
        packets_sent=pair.packets_sent,
        packets_received=0 if source is None else source.packets_received,
        bytes_sent=pair.bytes_sent,
        bytes_received=0 if source is None else source.bytes_received,
        last_packet_received=None if source is None else source.last_heard,
        total_round_trip_time=pair.rtt_total,
        current_round_trip_time=pair.rtt,
        requests_received=pair.requests_received,
        requests_sent=pair.requests_sent,
        responses_received=pair.responses_received,
        consent_requests_sent=pair.consent_requests_sent,
        consented_at=pair.consented_at if pair.valid else None,
    )
