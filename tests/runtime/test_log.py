"""What is logged: one line for each event that matters, and never a secret."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import rtcsctp
from rtcsctp import IceServer, PeerConfig
from rtcsctp.runtime.log import association_journal
from rtcsctp.testing import Conditions

from .peers import connected_peers, exchange, make_world, open_channel, two_peers
from .support import pair

STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, logger="rtcsctp")
    return caplog


def fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in STANDARD}


def of_kind(log: pytest.LogCaptureFixture, kind: str) -> list[logging.LogRecord]:
    return [record for record in log.records if fields(record).get("kind") == kind]


async def test_connection_is_told_in_some_lines(
    autojump_clock: MockClock, log: pytest.LogCaptureFixture
) -> None:
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right, "chat")
        for _ in range(500):
            await near.send("a message")
            await far.receive()
        during = len(log.records)
        for _ in range(500):
            await near.send("a message")
            await far.receive()
        assert len(log.records) == during, "packets and messages are no events"

    for kind in ("selected-pair", "dtls-done", "established", "channel-opened", "channel-closed"):
        assert of_kind(log, kind), kind
    for record in log.records:
        assert record.name.split(".")[0] == "rtcsctp"
        text = record.getMessage()
        assert "\n" not in text
        peer = str(fields(record)["peer"])
        assert re.fullmatch(r"peer-\d+", peer)
        assert text.startswith(f"{peer}: ")
    assert len({fields(record)["peer"] for record in log.records}) == 2
    states = [fields(record)["state"] for record in of_kind(log, "state")]
    assert states.count("connected") >= 6, "connection, ICE or DTLS, and SCTP, on both sides"
    done = of_kind(log, "dtls-done")[0]
    assert fields(done)["cipher"]
    assert ":" in str(fields(done)["fingerprint"])
    assert not [record for record in log.records if record.levelno > logging.INFO]


async def test_info_is_a_handful_of_lines_for_a_connection(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="rtcsctp")
    async with connected_peers() as (left, right):
        for number in range(20):
            await open_channel(left, right, str(number))
    assert 5 <= len(caplog.records) <= 2 * 10


async def test_lost_connection_says_why(
    autojump_clock: MockClock, log: pytest.LogCaptureFixture
) -> None:
    world = make_world()
    async with connected_peers(world, offerer={"restart_grace": 1.0}) as (left, _):
        world.network.a_to_b.conditions = Conditions(loss=1.0)
        world.network.b_to_a.conditions = Conditions(loss=1.0)
        await left.wait_closed()
    (record,) = [
        record for record in of_kind(log, "lost") if "ICE has failed" in record.getMessage()
    ][:1]
    assert record.levelno == logging.WARNING
    assert fields(record)["reason"] == "ICE has failed: no path to the peer works, or none any more"


async def test_restart_of_ice_is_told(
    autojump_clock: MockClock, log: pytest.LogCaptureFixture
) -> None:
    async with connected_peers() as (left, right):
        assert not of_kind(log, "ice-restart")
        left.restart_ice()
        await exchange(left, right)
        await trio.sleep(1)
    assert {fields(record)["peer"] for record in of_kind(log, "ice-restart")} == {
        fields(record)["peer"] for record in of_kind(log, "ice-restart-peer")
    }


async def test_server_that_does_not_answer_is_told(
    autojump_clock: MockClock, log: pytest.LogCaptureFixture
) -> None:
    turn = IceServer("turn:10.9.9.9", username="user", password="geheim!")
    async with two_peers(offerer={"ice_servers": [turn]}) as (left, _):
        await left.offer()
        await left.gathering_complete()
    records = of_kind(log, "server-problem")
    assert records
    assert "turn:10.9.9.9" in records[0].getMessage()
    assert records[0].levelno == logging.WARNING
    assert not [record for record in log.records if "geheim!" in str(vars(record))]


async def test_association_tells_of_its_life(
    autojump_clock: MockClock, log: pytest.LogCaptureFixture
) -> None:
    async with pair() as (client, server):
        await client.stream(0).send(b"a" * 100_000)
        await server.stream(0).receive()
        client.abort("enough")
        await server.wait_closed()
    assert len(of_kind(log, "established")) == 2
    ends = of_kind(log, "closed")
    assert {record.levelno for record in ends} == {logging.INFO, logging.WARNING}
    assert any("enough" in record.getMessage() for record in ends)
    (found,) = of_kind(log, "path-mtu")[:1]
    assert int(str(fields(found)["mtu"])) > int(str(fields(found)["before"]))


async def test_nothing_secret_is_in_any_line(
    log: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real sockets and real DTLS, whose keys are known from SSLKEYLOGFILE."""
    keys = tmp_path / "keys.log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
    config = PeerConfig(include_loopback=True, ip_version=4)
    async with rtcsctp.open_peer(config) as left, rtcsctp.open_peer(config) as right:
        with trio.fail_after(60):
            near = left.create_channel("label\nwith a second line")
            offer = await left.offer()
            answer = await right.answer(offer)
            await left.accept(answer)
            await near.send("private words")
            far = await right.incoming.receive()
            await far.receive()
            left.restart_ice()
            again = await left.offer()
            await left.accept(await right.answer(again))
    passwords = re.findall(r"a=ice-pwd:(\S+)", offer.sdp + answer.sdp + again.sdp)
    assert len(set(passwords)) == 3
    secrets = [*passwords, "private words"]
    for line in keys.read_text().splitlines():
        secrets += line.split()[1:]
    assert len(secrets) >= 6
    assert of_kind(log, "dtls-done")
    for record in log.records:
        everything = record.getMessage() + str(fields(record))
        assert not [secret for secret in secrets if secret.lower() in everything.lower()]
        assert "\n" not in record.getMessage()


def test_lines_cannot_be_forged(log: pytest.LogCaptureFixture) -> None:
    text = "one\nERROR two\x1b[31m" + "x" * 10_000
    association_journal().note("sctp", "test", "{label}", label=text)
    (record,) = of_kind(log, "test")
    assert "\n" not in record.getMessage()
    assert "\x1b" not in record.getMessage()
    assert len(record.getMessage()) < 300
    assert fields(record)["label"] == text


def test_silent_unless_a_program_asks() -> None:
    program = """
import trio, rtcsctp
async def main():
    config = rtcsctp.PeerConfig(ice_servers=["stun:127.0.0.1:9"], gathering_timeout=0.1)
    async with rtcsctp.open_peer(config) as peer:
        await peer.offer()
        import logging
        logging.getLogger("rtcsctp.peer").warning("not shown")
trio.run(main)
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True
    )
    assert (result.stdout, result.stderr) == ("", "")
