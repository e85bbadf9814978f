"""What is counted and measured in a peer connection, and the same as W3C's getStats has it."""

from __future__ import annotations

import attrs

from rtcsctp.datachannel.statistics import ChannelStatistics, DataChannelStatistics
from rtcsctp.dtls.engine import DtlsStatistics
from rtcsctp.dtls.fingerprint import Fingerprint
from rtcsctp.ice.candidate import Candidate
from rtcsctp.ice.statistics import IceStatistics, PairStatistics, candidate_report, pair_report
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
        dtls_cipher: the cipher suite, by OpenSSL's name; None before the handshake is done.
        tls_version: the version, ``DTLSv1.2``; None before the handshake is done.
        local_fingerprint: of our certificate.
        remote_fingerprint: of the peer's; None before the handshake is done.
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
        "local-candidate", "remote-candidate", "certificate", "sctp-transport", "data-channel" and,
        of our own, "socket".
        """
        objects: list[Report] = [self.channels.to_dict(self.timestamp), self._transport()]
        objects += self._pairs()
        objects += self._certificates()
        objects.append(self.sctp.to_dict() | {"transportId": "transport"})
        for number, channel in enumerate(self.data_channels):
            entry = channel.to_dict()
            if channel.data_channel_identifier is None:
                entry["id"] = f"data-channel-unnumbered-{number}"
            objects.append(entry)
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
        for number, pair in enumerate(ice.pairs):
            if pair.selected:
                result["selectedCandidatePairId"] = f"pair-{number}"
        if self.local_fingerprint is not None:
            result["localCertificateId"] = "local-certificate"
        if self.remote_fingerprint is not None:
            result["remoteCertificateId"] = "remote-certificate"
        return result

    def _pairs(self) -> list[Report]:
        """The pairs, and each of their candidates once."""
        names: dict[tuple[bool, Candidate], str] = {}
        objects: list[Report] = []
        for number, pair in enumerate(self.ice.pairs):
            ends = []
            for remote, candidate in ((False, pair.local), (True, pair.remote)):
                key = (remote, candidate)
                if key not in names:
                    names[key] = f"{'remote' if remote else 'local'}-candidate-{len(names)}"
                    objects.append(
                        candidate_report(
                            candidate, id=names[key], remote=remote, timestamp=self.timestamp
                        )
                    )
                ends.append(names[key])
            entry = pair_report(
                pair,
                id=f"pair-{number}",
                local=ends[0],
                remote=ends[1],
                timestamp=self.timestamp,
                epoch=self.clock,
            )
            objects.append(entry | self._bitrate(pair))
        return objects

    def _bitrate(self, pair: PairStatistics) -> Report:
        """What the congestion controller would let out on the pair in use, bits per second."""
        sctp = self.sctp
        rate = sctp.pacing_rate
        if rate is None and sctp.smoothed_round_trip_time:
            rate = sctp.congestion_window / sctp.smoothed_round_trip_time
        return {"availableOutgoingBitrate": 8 * rate} if pair.selected and rate else {}

    def _certificates(self) -> list[Report]:
        """W3C RTCCertificateStats."""
        ends = (("local", self.local_fingerprint), ("remote", self.remote_fingerprint))
        return [
            {
                "id": f"{end}-certificate",
                "type": "certificate",
                "timestamp": round(self.timestamp * 1000, 3),
                "fingerprint": fingerprint.value,
                "fingerprintAlgorithm": fingerprint.algorithm,
            }
            for end, fingerprint in ends
            if fingerprint is not None
        ]
