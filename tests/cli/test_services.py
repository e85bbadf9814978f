"""What a server does with channels, by real peers over loopback."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from rtcsctp.cli.files import Folder
from rtcsctp.cli.services import Services, printable
from rtcsctp.runtime.channel import DataChannel
from rtcsctp.runtime.errors import ChannelBroken
from rtcsctp.runtime.peer import PeerConnection, open_peer
from rtcsctp.runtime.peer_config import PeerConfig
from rtcsctp.runtime.serve import Server, serve

LOCAL = PeerConfig(include_loopback=True, addresses=["127.0.0.1"])
Connect = Callable[[], Awaitable[PeerConnection]]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path, max_size=10_000_000)


@pytest.fixture
def services(said: list[str], folder: Folder) -> Services:
    return Services(folder, said.append)


@pytest.fixture
async def connect(services: Services) -> AsyncIterator[Connect]:
    """Gives new peers, which are connected to one server."""

    async def live(*, task_status: trio.TaskStatus[PeerConnection]) -> None:
        async with open_peer(LOCAL) as peer:
            session = await server.answer(await peer.offer())
            with trio.fail_after(10):
                await peer.accept(session.description)
            task_status.started(peer)
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(serve, services.handle, LOCAL)

        async def one() -> PeerConnection:
            peer = await nursery.start(live)
            assert isinstance(peer, PeerConnection)
            return peer

        yield one
        nursery.cancel_scope.cancel()


@pytest.fixture
async def peer(connect: Connect) -> PeerConnection:
    return await connect()


async def ask(channel: DataChannel, message: str | dict[str, Any]) -> dict[str, Any]:
    """A request, and its answer."""
    await channel.send(message if isinstance(message, str) else json.dumps(message))
    return await answer_of(channel)


async def answer_of(channel: DataChannel) -> dict[str, Any]:
    with trio.fail_after(20):
        answer = await channel.receive()
    assert isinstance(answer, str)
    value = json.loads(answer)
    assert isinstance(value, dict)
    return value


async def until(condition: Callable[[], bool]) -> None:
    """For what tells nobody when it happens."""
    with trio.fail_after(10):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.01)


async def receive_bytes(channel: DataChannel, size: int) -> bytes:
    data = b""
    with trio.fail_after(30):
        while len(data) < size:
            part = await channel.receive()
            assert isinstance(part, bytes)
            data += part
    return data


# ------------------------------------------------------------------------------------- echo, chat


@pytest.mark.parametrize("protocol", ["echo", ""])
async def test_echo_keeps_the_type(peer: PeerConnection, protocol: str) -> None:
    channel = peer.create_channel("x", protocol=protocol)
    for message in ("text", b"bytes", "", b"", "ü" * 10_000):
        await channel.send(message)
        assert await channel.receive() == message


async def test_unknown_protocols_are_closed(peer: PeerConnection) -> None:
    channel = peer.create_channel("x", protocol="nonsense")
    with trio.fail_after(5), pytest.raises((trio.EndOfChannel, ChannelBroken)):
        await channel.receive()


async def test_more_channels_than_are_served_are_closed(peer: PeerConnection) -> None:
    channels = [peer.create_channel(str(number), protocol="echo") for number in range(260)]
    with trio.fail_after(20):
        for channel in channels[:256]:
            await channel.send("x")
            assert await channel.receive() == "x"
        for channel in channels[256:]:
            with pytest.raises((trio.EndOfChannel, ChannelBroken)):
                await channel.receive()
        await channels[0].aclose()
        again = peer.create_channel("again", protocol="echo")
        await again.send("x")
        assert await again.receive() == "x"


async def test_chat_goes_to_all_others(connect: Connect, said: list[str]) -> None:
    channels: list[DataChannel] = []
    for number in range(1, 4):
        channel = (await connect()).create_channel("chat", protocol="chat")
        others = ", ".join(f"peer {n}" for n in range(1, number)) or "nobody"
        assert await channel.receive() == f"* you are peer {number}; others here: {others}"
        for other in channels:
            assert await other.receive() == f"* peer {number} has come"
        channels.append(channel)
    await channels[1].send("hel\x1b]0;lo")
    await channels[1].send(b"bytes are no lines")
    for listener in (channels[0], channels[2]):
        assert await listener.receive() == "peer 2: hel�]0;lo"
    await channels[1].aclose()
    for listener in (channels[0], channels[2]):
        assert await listener.receive() == "* peer 2 has left"
    assert "chat  peer 2: hel�]0;lo" in said


async def test_peer_that_does_not_read_misses_lines(connect: Connect) -> None:
    quick, slow = [(await connect()).create_channel("c", protocol="chat") for _ in range(2)]
    await quick.receive()
    await slow.receive()
    with trio.fail_after(30):
        for _ in range(3000):  # 6 MB, of which the slow one reads nothing
            await quick.send("x" * 2000)
        echo = (await connect()).create_channel("x", protocol="echo")
        await echo.send("the server is well")
        assert await echo.receive() == "the server is well"


def test_what_strangers_write_cannot_do_anything() -> None:
    assert printable("ab\r\n\x1b[2J\x00\u202e") == "ab��" + "�[2J��"
    assert printable("x" * 5000, 10) == "x" * 10


# ------------------------------------------------------------------------------------------ files


async def test_file_is_put_and_fetched(peer: PeerConnection, folder: Folder) -> None:
    data = os.urandom(200_001)
    checksum = hashlib.sha256(data).hexdigest()
    channel = peer.create_channel("f", protocol="file")
    await channel.send(json.dumps({"name": "a.bin", "size": len(data), "sha256": checksum}))
    for start in range(0, len(data), 16_384):
        await channel.send(data[start : start + 16_384])
    expected = {"ok": True, "name": "a.bin", "size": len(data), "sha256": checksum}
    assert await answer_of(channel) == expected
    assert (folder.path / "a.bin").read_bytes() == data
    files = [{"name": "a.bin", "size": len(data)}]
    assert await ask(channel, {"list": True}) == {"files": files}
    assert await ask(channel, {"get": "a.bin"}) == files[0]
    assert await receive_bytes(channel, len(data)) == data
    assert await answer_of(channel) == {"ok": True, "sha256": checksum}


async def test_several_files_go_over_one_channel(peer: PeerConnection, folder: Folder) -> None:
    channel = peer.create_channel("f", protocol="file")
    for number in range(3):
        await channel.send(json.dumps({"name": f"f{number}", "size": number}))
        for _ in range(number):
            await channel.send(b"x")
    for _ in range(3):
        assert (await answer_of(channel))["ok"] is True
    assert [file["size"] for file in folder.list()] == [0, 1, 2]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ("nonsense", "not JSON"),
        ({}, "a request has name and size, get, or list"),
        ({"name": "../x", "size": 1}, "slashes"),
        ({"name": "x", "size": 10_000_001}, "the most is 10000000"),
        ({"get": "../../etc/passwd"}, "slashes"),
        ({"get": "missing"}, "there is no such file"),
        ({"get": None}, "needs a name"),
    ],
)
async def test_bad_requests_are_refused_and_the_next_one_is_heard(
    peer: PeerConnection, folder: Folder, request_: str | dict[str, Any], reason: str
) -> None:
    channel = peer.create_channel("f", protocol="file")
    answer = await ask(channel, request_)
    assert answer["ok"] is False
    assert reason in answer["error"]
    await channel.send(b"what came of a file that was refused")
    assert await ask(channel, {"list": True}) == {"files": []}
    assert os.listdir(folder.path) == []


async def test_upload_can_be_cancelled(peer: PeerConnection, folder: Folder) -> None:
    channel = peer.create_channel("f", protocol="file")
    await channel.send(json.dumps({"name": "a", "size": 100}))
    await channel.send(bytes(50))
    assert await ask(channel, {"cancel": True}) == {"ok": False, "error": "cancelled"}
    assert await ask(channel, {"list": True}) == {"files": []}
    assert os.listdir(folder.path) == []


async def test_more_bytes_than_announced_are_refused(peer: PeerConnection, folder: Folder) -> None:
    channel = peer.create_channel("f", protocol="file")
    await channel.send(json.dumps({"name": "a", "size": 1}))
    await channel.send(bytes(50))
    assert await answer_of(channel) == {"ok": False, "error": "more bytes than were announced"}
    assert os.listdir(folder.path) == []


async def test_wrong_checksum_is_refused(peer: PeerConnection, folder: Folder) -> None:
    channel = peer.create_channel("f", protocol="file")
    await channel.send(json.dumps({"name": "a", "size": 1, "sha256": "0" * 64}))
    await channel.send(b"x")
    answer = await answer_of(channel)
    assert answer["error"].startswith("the checksum of what arrived is 2d711642b726b04401627ca9")
    assert os.listdir(folder.path) == []


async def test_files_need_a_channel_that_keeps_them_whole(peer: PeerConnection) -> None:
    channels = [
        peer.create_channel("f", protocol="file", ordered=False),
        peer.create_channel("f", protocol="file", max_retransmits=3),
        peer.create_channel("f", protocol="file", max_packet_lifetime=1.0),
    ]
    for channel in channels:
        answer = await ask(channel, {"list": True})
        assert answer["error"] == "files need a channel that is ordered and reliable"


async def test_peer_that_leaves_leaves_no_half_file(
    connect: Connect, folder: Folder, said: list[str]
) -> None:
    peer = await connect()
    channel = peer.create_channel("f", protocol="file")
    await channel.send(json.dumps({"name": "a", "size": 100}))
    await channel.send(bytes(50))
    await until(lambda: bool(os.listdir(folder.path)))
    await peer.abort()
    await until(lambda: not os.listdir(folder.path))
    await until(lambda: any(line.startswith("down  peer 1: closed by the peer; ") for line in said))


# ------------------------------------------------------------------------------- sink and source


async def test_sink_counts_and_begins_anew(peer: PeerConnection) -> None:
    channel = peer.create_channel("s", protocol="sink")
    empty = await ask(channel, "report")
    assert (empty["messages"], empty["bytes"], empty["seconds"]) == (0, 0, 0)
    for part in (b"he", b"", b"llo"):
        await channel.send(part)
    report = await ask(channel, "report")
    assert (report["messages"], report["bytes"]) == (3, 5)
    assert report["sha256"] == hashlib.sha256(b"hello").hexdigest()
    assert (await ask(channel, "report"))["bytes"] == 0


async def test_source_gives_what_it_is_asked_for(peer: PeerConnection) -> None:
    channel = peer.create_channel("s", protocol="source")
    await channel.send('{"bytes": 100001, "size": 1000}')
    data = await receive_bytes(channel, 100_001)
    report = await answer_of(channel)
    assert (report["messages"], report["bytes"]) == (101, 100_001)
    assert report["sha256"] == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    "message",
    [
        *("", "{}", '{"bytes": 0}', '{"bytes": 1e9}', '{"bytes": 1, "size": 0}', b"7"),
        *('{"bytes": 1, "size": 65537}', '{"bytes": true}', '{"bytes": 2000000000000}'),
    ],
)
async def test_source_is_asked_for_the_impossible(
    peer: PeerConnection, message: str | bytes
) -> None:
    channel = peer.create_channel("s", protocol="source")
    await channel.send(message)
    assert (await answer_of(channel))["ok"] is False


# -------------------------------------------------------------------------------------------- end


async def test_leave_is_taken_of_all_peers_in_order(
    connect: Connect, services: Services, said: list[str]
) -> None:
    peers = [await connect() for _ in range(2)]
    channel = peers[0].create_channel("x", protocol="source")
    await channel.send('{"bytes": 300000, "size": 16384}')
    await channel.receive()
    services.ending.set()
    with trio.fail_after(15):
        await services.wait_idle()
        for peer in peers:
            await peer.wait_closed()
    assert said.count("taking leave of 2 peers; another signal aborts") == 1
    assert sum(line.startswith("down  ") for line in said) == 2
