"""What is counted and measured in a peer connection, and the same as W3C's getStats has it."""

from __future__ import annotations

import base64

import attrs

from rtcsctp.datachannel.statistics import ChannelStatistics, DataChannelStatistics
from rtcsctp.dtls.engine import DtlsStatistics
from rtcsctp.dtls.fingerprint import Fingerprint
from rtcsctp.ice.statistics import (
    IceStatistics,
    PairStatistics,
    candidate_id,
    candidate_report,
    pair_report,
)
from rtcsctp.report import Report, report
from rtcsctp.sctp.statistics import Statistics

__all__ = ["PeerStatistics", "SocketStatistics"]


@attrs.frozen(kw_only=True)
class SocketStatistics:
    """A UDP socket of the operating system (not W3C's).

    Attributes:
        address: host and port that it is bound to.
        segments: the kernel cuts what is sent in runs (GSO), as far as is known.
        joins: the kernel joins what arrives into runs (GRO).
        lost: datagrams that the kernel did not take.
        errors: errors instead of datagrams: what ICMP reported.
    """

    address: tuple[str, int]
    segments: bool
    joins: bool
    lost: int
    errors: int


@attrs.frozen(kw_only=True)
class PeerStatistics:
    """A snapshot of one peer connection; `to_dict` gives it as W3C's getStats does.

    Attributes:
        timestamp: when it was taken, seconds since 1970.
        ice: candidate pairs, consent, what was dropped.
        dtls: records and handshake; None before the roles are known.
        dtls_role: "client" or "server"; "unknown" before that.
        dtls_cipher: the cipher suite, by IANA's name; None before the handshake is done.
        tls_version: the version, ``DTLSv1.2``; None before the handshake is done.
        local_fingerprint: of our certificate.
        remote_fingerprint: of the peer's; None before the handshake is done.
        local_certificate: our certificate, in DER.
        remote_certificate: the peer's; None before the handshake is done.
        sctp: the association.
        channels: how many data channels were opened and closed.
        data_channels: those that there are now.
        sockets: those of the operating system that are in use.
    """

    timestamp: float = attrs.field(default=0.0, eq=False)
    ice: IceStatistics
    dtls: DtlsStatistics | None
    dtls_role: str = "unknown"
    dtls_cipher: str | None = None
    tls_version: str | None = None
    local_fingerprint: Fingerprint | None = None
    remote_fingerprint: Fingerprint | None = None
    local_certificate: bytes = attrs.field(default=b"", repr=False)
    remote_certificate: bytes | None = attrs.field(default=None, repr=False)
    sctp: Statistics
    channels: ChannelStatistics
    data_channels: tuple[DataChannelStatistics, ...] = ()
    sockets: tuple[SocketStatistics, ...] = ()
    clock: float = attrs.field(default=0.0, repr=False, eq=False)
    """Time 0.0 of the times of `ice`, seconds since 1970."""

    def to_dict(self) -> dict[str, Report]:
        """A report as W3C's getStats gives it: objects by their ids; `json.dumps` takes it.

        Each object has ``id``, ``type`` and ``timestamp`` (milliseconds since 1970), and members
        with W3C's names. The types are "peer-connection", "transport", "candidate-pair",
        "local-candidate", "remote-candidate", "certificate" and "data-channel" of W3C's standard;
        "sctp-transport", which was in its drafts; and, of our own, "socket". An ``id`` names the
        same thing in all reports of a connection. Members that W3C does not have are marked so at
        the attributes that they come from: `faults` of the peer, `selected`, `priority` and
        `consented_at` of pairs, `buffered_amount` of data channels, most of the association's, and
        all of sockets'.
        """
        objects: list[Report] = [self.channels.to_dict(self.timestamp), self._transport()]
        objects += self._pairs()
        objects += self._certificates()
        objects.append(self.sctp.to_dict() | {"transportId": "transport"})
        objects += [channel.to_dict() for channel in self.data_channels]
        for number, socket in enumerate(self.sockets):
            name = f"socket-{number}"
            objects.append(report(socket, id=name, type="socket", timestamp=self.timestamp))
        return {str(entry["id"]): entry for entry in objects}

    def _transport(self) -> Report:
        """W3C RTCTransportStats."""
        ice = self.ice
        result: Report = {
            "id": "transport",
            "type": "transport",
            "timestamp": round(self.timestamp * 1000, 3),
            "iceRole": ice.ice_role,
            "iceLocalUsernameFragment": ice.ice_local_username_fragment,
            "iceState": ice.ice_state.value,
            "selectedCandidatePairChanges": ice.selected_candidate_pair_changes,
            "dtlsState": "new",
            "dtlsRole": self.dtls_role,
        }
        if self.dtls is not None:
            result |= {
                "dtlsState": self.dtls.dtls_state.value,
                "packetsSent": self.dtls.records_sent,
                "packetsReceived": self.dtls.records_received,
                "bytesSent": self.dtls.bytes_sent,
                "bytesReceived": self.dtls.bytes_received,
            }
        if self.dtls_cipher is not None:
            result["dtlsCipher"] = self.dtls_cipher
        if self.tls_version == "DTLSv1.2":
            result["tlsVersion"] = "FEFD"  # "four upper case hexadecimal digits"
        if ice.selected is not None:
            result["selectedCandidatePairId"] = ice.selected.id
        if self.local_fingerprint is not None:
            result["localCertificateId"] = "local-certificate"
        if self.remote_fingerprint is not None:
            result["remoteCertificateId"] = "remote-certificate"
        return result

    def _pairs(self) -> list[Report]:
        """The pairs, and each of their candidates once."""
        objects: dict[str, Report] = {}
        for pair in self.ice.pairs:
            ends = []
            for remote, candidate in ((False, pair.local), (True, pair.remote)):
                name = candidate_id(candidate, remote=remote)
                ends.append(name)
                objects[name] = candidate_report(
                    candidate, id=name, remote=remote, timestamp=self.timestamp
                )
            local, other = ends
            entry = pair_report(
                pair, local=local, remote=other, timestamp=self.timestamp, epoch=self.clock
            )
            objects[pair.id] = entry | self._bitrate(pair)
        return list(objects.values())

    def _bitrate(self, pair: PairStatistics) -> Report:
        """What the congestion controller would let out on the pair in use, bits per second."""
        sctp = self.sctp
        rate = sctp.pacing_rate
        if rate is None and sctp.smoothed_round_trip_time:
            rate = sctp.congestion_window / sctp.smoothed_round_trip_time
        return {"availableOutgoingBitrate": 8 * rate} if pair.selected and rate else {}

    def _certificates(self) -> list[Report]:
        """W3C RTCCertificateStats."""
        ends = (
            ("local", self.local_fingerprint, self.local_certificate),
            ("remote", self.remote_fingerprint, self.remote_certificate),
        )
        return [
            {
                "id": f"{end}-certificate",
                "type": "certificate",
                "timestamp": round(self.timestamp * 1000, 3),
                "fingerprint": fingerprint.value,
                "fingerprintAlgorithm": fingerprint.algorithm,
                "base64Certificate": base64.b64encode(der).decode("ascii"),
            }
            for end, fingerprint, der in ends
            if fingerprint is not None and der is not None
        ]
