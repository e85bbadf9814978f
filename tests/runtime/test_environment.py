"""What the environment asks for: captures and keys, and what if they cannot be written."""

from __future__ import annotations

import logging
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import rtcsctp
from rtcsctp.runtime.environment import capture_from_environment, key_log
from rtcsctp.testing import Capture, read_pcapng_untrusted

from .peers import connected_peers, open_channel
from .support import pair, simulated

LINUX_ONLY = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_peers_are_captured_decrypted(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTCSCTP_CAPTURE", str(tmp_path / "run-%p.pcapng"))
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right)
        await near.send("what travels encrypted")
        await far.receive()
    path = tmp_path / f"run-{os.getpid()}.pcapng"
    assert mode(path) == 0o600
    packets = list(read_pcapng_untrusted(path))
    assert {packet.interface for packet in packets} == {0, 1}, "one for each association"
    assert {packet.outbound for packet in packets} == {True, False}
    with_text = [packet for packet in packets if b"what travels encrypted" in packet.data]
    assert sorted(packet.interface for packet in with_text) == [0, 1]
    assert b"peer-" in path.read_bytes()


async def test_associations_are_captured_into_a_folder(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTCSCTP_CAPTURE", str(tmp_path))
    own = tmp_path / "own.pcapng"
    async with pair() as (client, server):
        await client.stream(0).send(b"abc")
        await server.stream(0).receive()
    path = tmp_path / f"rtcsctp-{os.getpid()}.pcapng"
    first = len(list(read_pcapng_untrusted(path)))
    assert first > 8
    with Capture(own) as capture:
        here, there = simulated()
        async with trio.open_nursery() as nursery:

            async def answer() -> None:
                async with rtcsctp.open_association(there, initiate=False) as association:
                    await association.wait_closed()

            nursery.start_soon(answer)
            async with rtcsctp.open_association(here, capture=capture):
                pass
    assert list(read_pcapng_untrusted(own)), "what the program asked for is there as well"
    assert len(list(read_pcapng_untrusted(path))) > first


async def test_server_over_udp_is_captured_from_the_first_packet_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "udp.pcapng"
    monkeypatch.setenv("RTCSCTP_CAPTURE", str(path))

    async def serve(association: rtcsctp.Association) -> None:
        await association.wait_closed()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:

            async def listen(*, task_status: trio.TaskStatus[tuple[str, int]]) -> None:
                await rtcsctp.listen(serve, port=7, udp=("127.0.0.1", 0), task_status=task_status)

            address = await nursery.start(listen)
            async with rtcsctp.connect(address, port=7):
                pass
            nursery.cancel_scope.cancel()
    kinds = [(packet.outbound, packet.data[12]) for packet in read_pcapng_untrusted(path)]
    assert (False, 1) in kinds, "INIT at the server"
    assert (True, 1) in kinds, "INIT at the client"


@LINUX_ONLY
@pytest.mark.parametrize("where", ["/dev/full", "/no/such/folder/file.pcapng"])
async def test_capture_that_cannot_be_written_is_said_once(
    where: str,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("RTCSCTP_CAPTURE", where)
    caplog.set_level(logging.WARNING, logger="rtcsctp")
    for _ in range(2):
        async with pair() as (client, server):
            await client.stream(0).send(bytes(100_000))
            await server.stream(0).receive()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"rtcsctp: RTCSCTP_CAPTURE: nothing is captured to {where} any more: ")
    assert len(caplog.records) == 1


def test_no_variable_no_recorder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTCSCTP_CAPTURE", "")
    monkeypatch.delenv("SSLKEYLOGFILE", raising=False)
    assert capture_from_environment("name") is None
    assert key_log() is None


def test_forked_process_leaves_the_file_of_its_parent_alone(tmp_path: Path) -> None:
    program = """
import os, sys
from rtcsctp.runtime.environment import capture_from_environment
recorder = capture_from_environment("parent")
recorder.record_ns(b"parent", 1, outbound=True)
child = os.fork()
if child == 0:
    assert capture_from_environment("child") is None
    assert recorder.closed
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
recorder.record_ns(b"again", 2, outbound=True)
recorder.flush()
"""
    path = tmp_path / "fork.pcapng"
    result = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"RTCSCTP_CAPTURE": str(path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "another process writes it; %p in the name" in result.stderr
    assert [packet.data for packet in read_pcapng_untrusted(path)] == [b"parent", b"again"]


async def connect_two(config: rtcsctp.PeerConfig) -> None:
    with trio.fail_after(60):
        async with rtcsctp.open_peer(config) as left, rtcsctp.open_peer(config) as right:
            left.create_channel()
            await left.accept(await right.answer(await left.offer()))


async def test_keys_of_dtls_are_appended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys.log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(path))
    await connect_two(rtcsctp.PeerConfig(include_loopback=True, ip_version=4))
    first = path.read_bytes()
    assert mode(path) == 0o600
    lines = first.splitlines()
    assert len(lines) == 2, "one of each side"
    assert len({bytes(line) for line in lines}) == 1, "and both have the same key"
    assert lines[0].startswith(b"CLIENT_RANDOM ")
    certificate = rtcsctp.Certificate.generate()
    config = rtcsctp.PeerConfig(include_loopback=True, ip_version=4, certificate=certificate)
    await connect_two(config)
    assert path.read_bytes().startswith(first)
    assert len(path.read_bytes().splitlines()) == 4


@LINUX_ONLY
async def test_keys_that_cannot_be_written_break_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", "/dev/full")
    await connect_two(rtcsctp.PeerConfig(include_loopback=True, ip_version=4))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("rtcsctp: SSLKEYLOGFILE: no keys are written to /dev/full: ")
