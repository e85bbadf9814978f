"""What an agent counts; the names are W3C's, where it has any, in our spelling."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import attrs

from rtcsctp.ice.candidate import Candidate, CandidateType
from rtcsctp.ice.events import GatheringState, IceState
from rtcsctp.ice.pairs import Pair
from rtcsctp.report import Report, report

__all__ = [
    "Counters",
    "IceStatistics",
    "PairStatistics",
    "candidate_id",
    "candidate_report",
    "pair_report",
    "pair_statistics",
]


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
    """One pair (W3C RTCIceCandidatePairStats). Times are in seconds, sizes in bytes.

    Packets and bytes are those of DTLS: checks have counters of their own. Packets that came from
    an address count for all pairs with it.
    """

    id: str
    """Names the pair in reports, as long as it exists (not a figure)."""
    local: Candidate
    remote: Candidate
    state: str
    """W3C RTCStatsIceCandidatePairState: "frozen", "waiting", "in-progress", "failed" or
    "succeeded"."""
    nominated: bool
    selected: bool
    """Whether it carries the data now (not W3C's)."""
    priority: int
    """As RFC 8445 6.1.2.3 has it (not W3C's)."""
    packets_sent: int
    packets_received: int
    bytes_sent: int
    bytes_received: int
    last_packet_received_timestamp: float | None
    """When data last came from there, on the clock of `now`; None before. STUN does not count."""
    total_round_trip_time: float
    """Sum of the round trips that were measured: those of requests that were sent once (a second
    one would leave open which was answered), so fewer than `responses_received`, by which W3C lets
    programs divide it."""
    current_round_trip_time: float | None
    """The last one that was measured; None before the first."""
    requests_received: int
    """Checks and requests for consent of the peer, repeated ones included: they look alike."""
    requests_sent: int
    """Checks, each once, however often it was repeated; without those for consent."""
    responses_received: int
    """Valid answers to both kinds."""
    consent_requests_sent: int
    """Requests for consent (RFC 7675), each once; also those by which a silent pair is probed."""
    consented_at: float | None
    """When the last valid answer came, on the clock of `now`; None if the pair does not work (not
    W3C's)."""


@attrs.frozen(kw_only=True)
class IceStatistics:
    """An agent as a whole (W3C RTCTransportStats, where it speaks of ICE)."""

    ice_state: IceState
    gathering_state: GatheringState
    ice_role: str
    """"controlling" or "controlled"."""
    ice_local_username_fragment: str
    selected_candidate_pair_changes: int
    packets_discarded_on_send: int
    """Packets that there was no pair for. (W3C counts them by pair.)"""
    bytes_discarded_on_send: int
    pairs: tuple[PairStatistics, ...]
    remote_candidates: int
    """How many the peer has named."""
    counters: Mapping[str, int]
    """What else is counted; see `Counters`."""

    @property
    def controlling(self) -> bool:
        """Whether this side chooses the pair."""
        return self.ice_role == "controlling"

    @property
    def local_ufrag(self) -> str:
        """`ice_local_username_fragment`, in short."""
        return self.ice_local_username_fragment

    @property
    def selected(self) -> PairStatistics | None:
        """The pair that carries the data; None before there is one."""
        return next((pair for pair in self.pairs if pair.selected), None)


def candidate_id(candidate: Candidate, *, remote: bool) -> str:
    """Names a candidate in reports: the same one always by the same name."""
    return f"{'remote' if remote else 'local'}-candidate-{_digest(candidate)}"


def _digest(value: object) -> str:
    return hashlib.blake2b(repr(value).encode(), digest_size=6).hexdigest()


def candidate_report(candidate: Candidate, *, id: str, remote: bool, timestamp: float) -> Report:  # noqa: A002
    """A candidate as W3C's RTCIceCandidateStats; `timestamp` is in seconds since 1970.

    W3C's `url` and `relayProtocol` are not there. A browser hides addresses from the page that it
    did not learn by signalling; a program that has the sockets may see them.
    """
    kind = "remote-candidate" if remote else "local-candidate"
    # "Only set for serverreflexive and relay candidates", says W3C.
    related = candidate.type in {CandidateType.SERVER_REFLEXIVE, CandidateType.RELAYED}
    members: Report = {
        "id": id,
        "type": kind,
        "timestamp": round(timestamp * 1000, 3),
        "transportId": "transport",
        "address": candidate.host,
        "port": candidate.port,
        "protocol": candidate.transport,
        "candidateType": candidate.type.value,
        "priority": candidate.priority,
        "foundation": candidate.foundation,
        "relatedAddress": candidate.related_host if related else None,
        "relatedPort": candidate.related_port if related else None,
        "usernameFragment": candidate.ufrag,
        "tcpType": candidate.tcp_type,
    }
    return {name: value for name, value in members.items() if value is not None}


def pair_report(
    pair: PairStatistics,
    *,
    local: str,
    remote: str,
    timestamp: float,
    epoch: float,
) -> Report:
    """A pair as W3C's RTCIceCandidatePairStats.

    Args:
        pair: its figures.
        local: `id` of its local candidate.
        remote: `id` of its remote candidate.
        timestamp: when they were taken, seconds since 1970.
        epoch: what time 0.0 on the clock of the agent means, seconds since 1970.
    """
    result = report(pair, id=pair.id, type="candidate-pair", timestamp=timestamp)
    del result["local"], result["remote"]
    for name, at in (
        ("lastPacketReceivedTimestamp", pair.last_packet_received_timestamp),
        ("consentedAt", pair.consented_at),
    ):
        if at is not None:
            result[name] = round((epoch + at) * 1000, 3)
    return result | {
        "transportId": "transport",
        "localCandidateId": local,
        "remoteCandidateId": remote,
    }


def pair_statistics(pair: Pair, *, session: str, selected: bool) -> PairStatistics:
    """The figures of one pair, of the ICE session with this ufrag of ours."""
    source = pair.base.sources.get(pair.remote.address)
    way = (session, pair.base.socket, pair.base.address, pair.remote.address)
    return PairStatistics(
        id=f"candidate-pair-{_digest(way)}",
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
        last_packet_received_timestamp=None if source is None else source.last_packet,
        total_round_trip_time=pair.rtt_total,
        current_round_trip_time=pair.rtt,
        requests_received=pair.requests_received,
        requests_sent=pair.requests_sent,
        responses_received=pair.responses_received,
        consent_requests_sent=pair.consent_requests_sent,
        consented_at=pair.consented_at if pair.valid else None,
    )
