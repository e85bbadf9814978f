from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import httpx2
import pytest
import trio

import rtcsctp
from rtcsctp.examples import (
    blocking,
    chat,
    echo,
    file_transfer,
    game_state,
    sctp_server,
    simulated_network,
)
from rtcsctp.http import connect_http

LOCAL = rtcsctp.PeerConfig(include_loopback=True, addresses=["127.0.0.1"])
WITHIN = 60.0
"""Seconds that something may take on a busy machine, where it takes milliseconds."""


async def test_browsers_get_a_page_and_an_echo(capsys: pytest.CaptureFixture[str]) -> None:
    with trio.fail_after(WITHIN):
        async with trio.open_nursery() as nursery:
            url = await nursery.start(partial(echo.serve, 0, LOCAL))
            async with httpx2.AsyncClient() as client:
                assert "<script" in (await client.get(url)).text
                assert "createDataChannel" in (await client.get(url + "app.js")).text
            async with rtcsctp.open_peer(LOCAL) as peer:
                channel = peer.create_channel("echo")
                await connect_http(url, peer)
                await channel.send("hello")
                await channel.send(b"bytes")
                assert await channel.receive() == "hello"
                assert await channel.receive() == b"bytes"
            nursery.cancel_scope.cancel()
    assert url in capsys.readouterr().out


def asking(*lines: str) -> Callable[[str], Awaitable[str]]:
    """A terminal at which these lines are typed, and then its input ends."""
    typed = iter(lines)

    async def ask(_prompt: str) -> str:
        await trio.lowlevel.checkpoint()
        line = next(typed, None)
        if line is None:
            raise EOFError
        return line

    return ask


async def silent(_prompt: str) -> str:
    await trio.sleep_forever()
    raise AssertionError


async def test_two_people_chat(capsys: pytest.CaptureFixture[str]) -> None:
    lines: dict[str, str] = {}
    asked = trio.Event()

    async def give_back(_prompt: str) -> str:
        lines["offer"] = capsys.readouterr().out.splitlines()[-1]
        asked.set()
        while "answer" not in lines:
            lines["answer"] = (capsys.readouterr().out.splitlines() or [""])[-1]
            if not lines["answer"]:
                del lines["answer"]
            await trio.sleep(0.01)
        return lines["answer"]

    async def first() -> None:
        async with rtcsctp.open_peer(LOCAL) as peer:
            channel = await chat.begin(peer, give_back)
            await chat.talk(channel, asking("hello", "bye"))

    async def second() -> None:
        await asked.wait()
        async with rtcsctp.open_peer(LOCAL) as peer:
            channel = await chat.join(peer, lines["offer"])
            await chat.talk(channel, silent)

    with trio.fail_after(WITHIN):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            nursery.start_soon(second)
    assert capsys.readouterr().out.splitlines()[-3:] == ["hello", "bye", "the other side has left"]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_file_arrives_whole_and_overwrites_nothing(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(range(256)) * 500)
    with trio.fail_after(WITHIN):
        await file_transfer.main(str(source), str(target))
    assert target.read_bytes() == source.read_bytes()
    assert names_in(tmp_path) == ["source", "target"]
    target.write_bytes(b"other")
    with pytest.raises(ExceptionGroup) as caught:
        await file_transfer.main(str(source), str(target))
    assert caught.group_contains(FileExistsError, match="is there already")
    assert target.read_bytes() == b"other"


@pytest.mark.parametrize(
    ("messages", "error"),
    [
        (['{"size": 2000}'], "at most 1000"),
        (['{"size": 3}', b"abcd"], "more bytes"),
        (['{"size": 4}', b"abc", hashlib.sha256(b"abc").hexdigest()], "did not arrive"),
        (['{"size": 3}', b"abc", "0" * 64], "did not arrive"),
    ],
)
async def test_a_bad_file_leaves_nothing(
    messages: list[str | bytes], error: str, tmp_path: Path
) -> None:
    target = trio.Path(tmp_path) / "target"
    with trio.fail_after(WITHIN):
        async with rtcsctp.open_peer(LOCAL) as here, rtcsctp.open_peer(LOCAL) as there:
            channel = here.create_channel("file")
            await here.accept(await there.answer(await here.offer()))
            for message in messages:
                await channel.send(message)
            incoming = await there.incoming.receive()
            with pytest.raises(ValueError, match=error):
                await file_transfer.receive_file(incoming, target, limit=1000)
    assert names_in(tmp_path) == []


async def test_the_newest_state_wins(autojump_clock: trio.testing.MockClock) -> None:
    player = await game_state.main(100)
    assert player.number > 90
    assert player.position == (player.number * 0.5, 7.0)
    assert player.stale > 0


def test_words_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    trio.run(sctp_server.main)
    assert capsys.readouterr().out.split() == ["a", "to", "hm"]


def test_a_server_in_threads_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    blocking.main()
    assert capsys.readouterr().out == "1 21 321\n"


def test_the_test_of_an_example_passes(capsys: pytest.CaptureFixture[str]) -> None:
    simulated_network.main()
    assert capsys.readouterr().out == "passed\n"
