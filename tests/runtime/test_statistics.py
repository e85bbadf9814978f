"""Statistics of peers, channels and associations, and their form as W3C's getStats has it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from enum import Enum
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

import rtcsctp
from rtcsctp.report import camel_case, plain, report
from rtcsctp.testing import Conditions, Network, simulated_links

from .peers import connected_peers, make_world, open_channel
from .support import pair, simulated

SIMPLE = {bool, int, float, str}


def members(entry: Mapping[str, Any], kind: str) -> None:
    """What W3C's RTCStats demands of each object."""
    assert entry["type"] == kind
    assert isinstance(entry["id"], str)
    assert isinstance(entry["timestamp"], float)


async def test_report_of_a_peer_has_the_shape_of_getstats(autojump_clock: MockClock) -> None:
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right, "label", protocol="proto")
        await near.send("abc")
        await far.receive()
        before = time.time()
        statistics = left.statistics()
        report = statistics.to_dict()
        far_report = right.statistics().to_dict()

    assert json.loads(json.dumps(report)) == report, "what JSON has no form for"
    assert all(entry["id"] == name for name, entry in report.items())
    kinds = {entry["type"] for entry in report.values()}
    assert kinds == {
        "candidate-pair",
        "certificate",
        "data-channel",
        "local-candidate",
        "peer-connection",
        "remote-candidate",
        "sctp-transport",
        "transport",
    }
    for entry in report.values():
        members(entry, str(entry["type"]))
        assert entry["timestamp"] == pytest.approx(statistics.timestamp * 1000, abs=1000)
        assert all(name.isalnum() for name in entry), "names are in camel case"
        assert None not in entry.values()
    assert statistics.timestamp >= before

    transport = report["transport"]
    assert transport["iceRole"] == "controlling"
    assert far_report["transport"]["iceRole"] == "controlled"
    assert {transport["dtlsRole"], far_report["transport"]["dtlsRole"]} == {"client", "server"}
    assert transport["iceState"] in {"connected", "completed"}
    assert transport["dtlsState"] == "connected"
    assert transport["selectedCandidatePairChanges"] == 1
    selected = report[str(transport["selectedCandidatePairId"])]
    assert selected["type"] == "candidate-pair"
    assert selected["state"] == "succeeded"
    assert report[str(selected["localCandidateId"])]["type"] == "local-candidate"
    remote = report[str(selected["remoteCandidateId"])]
    assert (remote["type"], remote["protocol"]) == ("remote-candidate", "udp")
    assert selected["currentRoundTripTime"] == pytest.approx(0.02)
    rate: Any = selected["availableOutgoingBitrate"]
    assert rate > 0

    channel = report["data-channel-0"]
    assert channel["dataChannelIdentifier"] == near.id
    assert (channel["label"], channel["protocol"], channel["state"]) == ("label", "proto", "open")
    assert (channel["messagesSent"], channel["bytesSent"]) == (1, 3)
    assert report["peer"]["dataChannelsOpened"] == 1
    assert report["sctp"]["congestionControl"] == "bbr"
    assert report["sctp"]["unackData"] in {0, 1}
    ours, theirs = report["local-certificate"], far_report["remote-certificate"]
    assert ours["fingerprint"] == theirs["fingerprint"]


async def test_peer_that_knows_nobody_has_a_report_too(autojump_clock: MockClock) -> None:
    world = make_world()
    async with rtcsctp.open_peer(world.config(world.left)) as peer:
        peer.create_channel("not open yet")
        report = peer.statistics().to_dict()
    assert json.loads(json.dumps(report)) == report
    assert report["transport"]["dtlsState"] == "new"
    assert report["transport"]["dtlsRole"] == "unknown"
    assert "selectedCandidatePairId" not in report["transport"]
    assert "smoothedRoundTripTime" not in report["sctp"], "it is not known"
    (channel,) = (entry for entry in report.values() if entry["type"] == "data-channel")
    assert (channel["state"], "dataChannelIdentifier" in channel) == ("connecting", False)


async def test_sockets_of_the_system_say_how_they_send(autojump_clock: MockClock) -> None:
    config = rtcsctp.PeerConfig(include_loopback=True, ip_version=4)
    async with rtcsctp.open_peer(config) as peer:
        await peer.offer()
        statistics = peer.statistics()
        sockets = [entry for entry in statistics.to_dict().values() if entry["type"] == "socket"]
    assert len(sockets) == len(statistics.sockets) >= 1
    for socket in sockets:
        assert {type(socket[name]) for name in ("segments", "joins")} == {bool}


async def test_association_measures_its_path(autojump_clock: MockClock) -> None:
    conditions = Conditions(delay=0.05, loss=0.05)
    config = rtcsctp.Config(congestion_control="bbr")
    async with pair(config, links=simulated(conditions, seed=3)) as (client, server):
        for _ in range(300):
            await client.stream(0).send(bytes(4000))
        for _ in range(300):
            await server.stream(0).receive()
        statistics = client.statistics()
        entry = statistics.to_dict()
    assert json.loads(json.dumps(entry)) == entry
    members(entry, "sctp-transport")
    assert statistics.congestion_control == "bbr"
    assert statistics.cwnd == statistics.congestion_window == entry["congestionWindow"]
    assert statistics.srtt == statistics.smoothed_round_trip_time
    assert statistics.min_round_trip_time is not None
    assert statistics.min_round_trip_time == pytest.approx(0.1)
    assert statistics.smoothed_round_trip_time is not None
    assert statistics.smoothed_round_trip_time >= statistics.min_round_trip_time
    assert statistics.pacing_rate is not None
    assert math.isfinite(statistics.pacing_rate)
    assert statistics.fast_recoveries > 0
    assert statistics.spurious_recoveries <= statistics.fast_recoveries
    assert statistics.path_mtu_state in {"base", "searching", "search complete"}


async def test_lost_tail_is_probed_for(autojump_clock: MockClock) -> None:
    perfect = Conditions(delay=0.02)
    network = Network(perfect, seed=1)
    config = rtcsctp.Config(path_mtu_discovery=False)
    async with pair(config, links=simulated_links(network)) as (client, server):
        stream = client.stream(0)
        for _ in range(50):  # the round trip is known well
            await stream.send(bytes(4000))
            await server.stream(0).receive()
        await trio.sleep(1)
        assert client.statistics().tail_loss_probes == 0
        network.a_to_b.conditions = Conditions(delay=0.02, loss=1.0)
        for _ in range(3):  # three packets: of a single one, the SACK might be late
            await stream.send(bytes(1000))
        await trio.sleep(0.01)
        network.a_to_b.conditions = perfect
        for _ in range(3):
            assert len((await server.stream(0).receive()).data) == 1000
        await trio.sleep(0.2)
        statistics = client.statistics()
    assert (statistics.tail_loss_probes, statistics.timeouts) == (1, 0)
    assert statistics.fast_recoveries > 0, "cwnd answers what the probe has repaired"


class Colour(Enum):
    RED_ONE = "red, in words"


@attrs.frozen(kw_only=True)
class Sample:
    id: int = 7
    bytes_sent: int = 1
    state: Colour = Colour.RED_ONE
    counts: Mapping[Colour, int] = attrs.field(factory=lambda: {Colour.RED_ONE: 2})
    unknown: float | None = None
    endless: float = math.inf
    several: tuple[float, ...] = (1.5, 2.0)


def test_values_take_the_form_of_json() -> None:
    assert report(Sample(), id="name", type="kind", timestamp=1.5) == {
        "id": "name",
        "type": "kind",
        "timestamp": 1500.0,
        "bytesSent": 1,
        "state": "red, in words",
        "counts": {"redOne": 2},
        "several": [1.5, 2.0],
    }
    assert camel_case("total_round_trip_time") == "totalRoundTripTime"
    assert plain(object) == str(object)
