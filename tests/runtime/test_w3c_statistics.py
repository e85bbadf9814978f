"""Reports beside the text of W3C's *Identifiers for WebRTC's Statistics API*.

The member lists are those of the editor's draft (https://w3c.github.io/webrtc-stats/, as the web
platform tests have its IDL in ``interfaces/webrtc-stats.idl``); RTCSctpTransportStats is from
earlier drafts, as the present text has no such object. What we have besides is listed, too.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import rtcsctp
from rtcsctp.dtls.openssl import CIPHERS
from rtcsctp.ice.candidate import Candidate, CandidateType
from rtcsctp.ice.statistics import candidate_report

from .peers import connected_peers, open_channel

Report = dict[str, dict[str, Any]]

STATS = {"id", "type", "timestamp"}

W3C = {
    "peer-connection": {"dataChannelsOpened", "dataChannelsClosed"},
    "data-channel": {
        "label",
        "protocol",
        "dataChannelIdentifier",
        "state",
        "messagesSent",
        "bytesSent",
        "messagesReceived",
        "bytesReceived",
    },
    "transport": {
        "packetsSent",
        "packetsReceived",
        "bytesSent",
        "bytesReceived",
        "iceRole",
        "iceLocalUsernameFragment",
        "dtlsState",
        "iceState",
        "selectedCandidatePairId",
        "localCertificateId",
        "remoteCertificateId",
        "tlsVersion",
        "dtlsCipher",
        "dtlsRole",
        "srtpCipher",
        "selectedCandidatePairChanges",
        "ccfbMessagesSent",
        "ccfbMessagesReceived",
    },
    "candidate": {
        "transportId",
        "address",
        "port",
        "protocol",
        "candidateType",
        "priority",
        "url",
        "relayProtocol",
        "foundation",
        "relatedAddress",
        "relatedPort",
        "usernameFragment",
        "tcpType",
    },
    "candidate-pair": {
        "transportId",
        "localCandidateId",
        "remoteCandidateId",
        "state",
        "nominated",
        "packetsSent",
        "packetsReceived",
        "bytesSent",
        "bytesReceived",
        "lastPacketSentTimestamp",
        "lastPacketReceivedTimestamp",
        "totalRoundTripTime",
        "currentRoundTripTime",
        "availableOutgoingBitrate",
        "availableIncomingBitrate",
        "requestsReceived",
        "requestsSent",
        "responsesReceived",
        "responsesSent",
        "consentRequestsSent",
        "packetsDiscardedOnSend",
        "bytesDiscardedOnSend",
    },
    "certificate": {
        "fingerprint",
        "fingerprintAlgorithm",
        "base64Certificate",
        "issuerCertificateId",
    },
    "sctp-transport": {
        "transportId",
        "smoothedRoundTripTime",
        "congestionWindow",
        "receiverWindow",
        "mtu",
        "unackData",
    },
}
W3C["local-candidate"] = W3C["remote-candidate"] = W3C.pop("candidate")

REQUIRED = {
    "data-channel": {"state"},
    "transport": {"dtlsState"},
    "local-candidate": {"transportId", "candidateType"},
    "remote-candidate": {"transportId", "candidateType"},
    "candidate-pair": {"transportId", "localCandidateId", "remoteCandidateId", "state"},
    "certificate": {"fingerprint", "fingerprintAlgorithm", "base64Certificate"},
}

VALUES = {
    ("data-channel", "state"): {"connecting", "open", "closing", "closed"},
    ("transport", "iceRole"): {"unknown", "controlling", "controlled"},
    ("transport", "dtlsRole"): {"client", "server", "unknown"},
    ("transport", "dtlsState"): {"new", "connecting", "connected", "closed", "failed"},
    ("transport", "iceState"): {
        "closed",
        "failed",
        "disconnected",
        "new",
        "checking",
        "completed",
        "connected",
    },
    ("candidate-pair", "state"): {"frozen", "waiting", "in-progress", "failed", "succeeded"},
    ("local-candidate", "candidateType"): {"host", "srflx", "prflx", "relay"},
    ("remote-candidate", "candidateType"): {"host", "srflx", "prflx", "relay"},
    ("local-candidate", "protocol"): {"udp", "tcp"},
}

OURS = {
    "peer-connection": {"faults"},
    "data-channel": {"bufferedAmount"},
    "candidate-pair": {"selected", "priority", "consentedAt"},
}
#: Where nearly everything is ours, as the docstrings say.
ALL_OURS = {"sctp-transport", "socket"}


@asynccontextmanager
async def real_peers() -> AsyncIterator[tuple[rtcsctp.PeerConnection, rtcsctp.PeerConnection]]:
    """Two peers over loopback, with OpenSSL's DTLS."""
    config = rtcsctp.PeerConfig(include_loopback=True, ip_version=4)
    with trio.fail_after(60):
        async with rtcsctp.open_peer(config) as left, rtcsctp.open_peer(config) as right:
            channel = left.create_channel("label")
            await left.accept(await right.answer(await left.offer()))
            await channel.send(b"12345")
            await (await right.incoming.receive()).receive()
            yield left, right


async def test_members_are_those_of_the_standard_and_known_ones_of_ours() -> None:
    async with real_peers() as (left, right):
        reports = [peer.statistics().to_dict() for peer in (left, right)]
    seen: dict[str, set[str]] = {}
    for entry in (entry for report in reports for entry in report.values()):
        kind = str(entry["type"])
        members = set(entry) - STATS
        seen[kind] = seen.get(kind, set()) | members  # not every pair was asked, for one
        assert members >= REQUIRED.get(kind, set())
        for (where, name), values in VALUES.items():
            if where == kind:
                assert entry[name] in values, (kind, name)
    assert seen.keys() == W3C.keys() | {"socket"}
    for kind in seen.keys() - ALL_OURS:
        assert seen[kind] - W3C[kind] == OURS.get(kind, set()), kind
    sctp = reports[0]["sctp"]
    assert W3C["sctp-transport"] <= set(sctp)


async def test_references_lead_to_objects_of_the_report() -> None:
    async with real_peers() as (left, _):
        report = left.statistics().to_dict()
    for entry in report.values():
        for name, value in entry.items():
            if name.endswith("Id"):
                assert value in report, (entry["type"], name)


async def test_transport_and_certificates_say_what_was_agreed_on() -> None:
    async with real_peers() as (left, right):
        here, there = left.statistics().to_dict(), right.statistics().to_dict()
    transport = here["transport"]
    assert transport["tlsVersion"] == "FEFD"
    assert transport["dtlsCipher"] == CIPHERS["ECDHE-ECDSA-AES128-GCM-SHA256"]
    ours, theirs = here["local-certificate"], there["remote-certificate"]
    assert ours["base64Certificate"] == theirs["base64Certificate"]
    der = base64.b64decode(str(ours["base64Certificate"]), validate=True)
    digest = hashlib.new(str(ours["fingerprintAlgorithm"]).replace("-", ""), der).digest()
    assert ours["fingerprint"] == digest.hex(":").upper()


def test_names_of_cipher_suites_are_those_of_iana() -> None:
    for ours, theirs in CIPHERS.items():
        parts = ours.replace("AES128", "AES_128").replace("AES256", "AES_256").split("-")
        suite = "_".join(["TLS", *parts[:2], "WITH", *parts[2:]])
        assert theirs in {suite, suite + "_SHA256"}, ours


async def test_checks_and_consent_are_counted_apart(autojump_clock: MockClock) -> None:
    async with connected_peers() as (left, _):
        before = left.statistics().ice.selected
        await trio.sleep(60)
        after = left.statistics().ice.selected
    assert before is not None
    assert after is not None
    assert after.id == before.id
    assert after.requests_sent == before.requests_sent <= 3
    assert after.consent_requests_sent >= before.consent_requests_sent + 8
    assert after.last_packet_received_timestamp is not None


async def test_last_packet_is_not_a_check(autojump_clock: MockClock) -> None:
    # SCTP asks for a sign of life now and then; nothing of it here.
    options = {"sctp": rtcsctp.Config(heartbeat_interval=1000, path_mtu_discovery=False)}
    async with connected_peers(offerer=options, answerer=options) as (left, right):
        near, far = await open_channel(left, right, "label")
        await near.send("abc")
        await far.receive()
        await trio.sleep(5)
        before = right.statistics().ice.selected
        await trio.sleep(40)
        after = right.statistics().ice.selected
    assert before is not None
    assert after is not None
    assert after.consented_at is not None
    assert before.consented_at is not None
    assert after.consented_at > before.consented_at + 20, "checks went on"
    assert after.last_packet_received_timestamp == before.last_packet_received_timestamp


async def test_identifiers_are_not_used_again(autojump_clock: MockClock) -> None:
    async with connected_peers() as (left, right):
        names = []
        for _ in range(2):
            near, far = await open_channel(left, right, "same label")
            names += [
                (name, entry["dataChannelIdentifier"])
                for name, entry in left.statistics().to_dict().items()
                if entry["type"] == "data-channel"
            ]
            await near.aclose()
            await far.aclose()
            await trio.sleep(1)
    (first, number), (second, again) = names
    assert number == again
    assert first != second


@pytest.mark.parametrize("kind", list(CandidateType))
def test_related_address_is_there_where_w3c_wants_it(kind: CandidateType) -> None:
    candidate = Candidate(
        foundation="1",
        transport="udp",
        priority=1,
        host="192.0.2.1",
        port=1000,
        type=kind,
        related_host="10.0.0.1",
        related_port=2000,
    )
    entry = candidate_report(candidate, id="x", remote=False, timestamp=1.0)
    wanted = kind in {CandidateType.SERVER_REFLEXIVE, CandidateType.RELAYED}
    assert ("relatedAddress" in entry, "relatedPort" in entry) == (wanted, wanted)
