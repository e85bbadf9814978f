"""Peers of this project, doing what `vocabulary.py` says.

`options` of `pairs`, `offer` and `answer`: `certificate` (true: one for all peers), and `sctp`,
fields of `rtcsctp.Config`.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import struct
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import trio

import rtcsctp
from rtcsctp.runtime.peer_config import SCTP_OF_PEERS

Answer = dict[str, Any]

SHARED = rtcsctp.Certificate.generate()
STAMP = struct.Struct("<d")


def configuration(options: dict[str, Any]) -> rtcsctp.PeerConfig:
    return rtcsctp.PeerConfig(
        certificate=SHARED if options.get("certificate") else None,
        sctp=attrs.evolve(SCTP_OF_PEERS, **options.get("sctp", {})),
    )


class Peers:
    """All peers of this process and their channels, by name."""

    def __init__(self, stack: contextlib.AsyncExitStack, nursery: trio.Nursery) -> None:
        self._stack = stack
        self._nursery = nursery
        self._peers: dict[str, rtcsctp.PeerConnection] = {}
        self._channels: dict[str, rtcsctp.DataChannel] = {}
        self._watching = trio.CancelScope()
        self._late: list[float] = []

    # ------------------------------------------------------------------------------ set-up

    async def _open(self, name: str, options: dict[str, Any]) -> rtcsctp.PeerConnection:
        opening = rtcsctp.open_peer(configuration(options))
        self._peers[name] = peer = await self._stack.enter_async_context(opening)
        return peer

    async def pairs(self, count: int, options: dict[str, Any]) -> Answer:
        first = len(self._peers) // 2
        indices = range(first, first + count)
        return {"seconds": [await self._pair(index, options) for index in indices]}

    async def _pair(self, index: int, options: dict[str, Any]) -> float:
        left = await self._open(f"l{index}", options)
        right = await self._open(f"r{index}", options)
        self._channels[f"l{index}"] = channel = left.create_channel("first")
        began = time.monotonic()
        answer = await right.answer(await left.offer())
        await left.accept(answer)
        await channel.send("first")
        self._channels[f"r{index}"] = other = await right.incoming.receive()
        await other.receive()
        return time.monotonic() - began

    async def offer(self, peer: str, options: dict[str, Any]) -> Answer:
        connection = await self._open(peer, options)
        self._channels[peer] = connection.create_channel("first")
        return _told(await connection.offer())

    async def answer(self, peer: str, options: dict[str, Any], type: str, sdp: str) -> Answer:  # noqa: A002
        connection = await self._open(peer, options)
        return _told(await connection.answer({"type": type, "sdp": sdp}))

    async def accept(self, peer: str, type: str, sdp: str) -> None:  # noqa: A002
        await self._peers[peer].accept({"type": type, "sdp": sdp})

    async def opened(self, peer: str) -> None:
        if peer not in self._channels:
            self._channels[peer] = await self._peers[peer].incoming.receive()
        await self._channels[peer].wait_open()

    # ------------------------------------------------------------------------------ in bulk

    async def send(self, peer: str, size: int, count: int) -> Answer:
        return {"began": await self._send(self._channels[peer], bytes(size), count, None)}

    async def send_for(self, peer: str, size: int, seconds: float) -> Answer:
        end = time.monotonic() + seconds
        return {"began": await self._send(self._channels[peer], bytes(size), 1 << 62, end)}

    async def _send(
        self, channel: rtcsctp.DataChannel, data: bytes, left: int, end: float | None
    ) -> float:
        began = time.monotonic()
        send = channel.send_nowait
        while left and (end is None or time.monotonic() < end):
            try:
                while left:
                    send(data)
                    left -= 1
            except trio.WouldBlock:
                await channel.wait_room()
        return began

    async def receive(self, peer: str, count: int) -> Answer:
        channel = self._channels[peer]
        received = size = 0
        while received < count:
            messages = await channel.receive_many()
            received += len(messages)
            size += sum(map(len, messages))
        return {"ended": time.monotonic(), "bytes": size}

    async def receive_for(self, peer: str, seconds: float, step: float) -> Answer:
        channel = self._channels[peer]
        messages = await channel.receive_many()
        began = time.monotonic()
        amounts = [0] * round(seconds / step)
        with trio.move_on_after(seconds):
            while True:
                index = int((time.monotonic() - began) / step)
                if index >= len(amounts):
                    break
                amounts[index] += sum(map(len, messages))
                messages = await channel.receive_many()
        return {"began": began, "bytes": amounts}

    # ---------------------------------------------------------------------------- latencies

    async def ping(self, peer: str, size: int, count: int) -> Answer:
        channel, data, times = self._channels[peer], bytes(size), []
        for _ in range(count):
            began = time.monotonic()
            await channel.send(data)
            await channel.receive()
            times.append(time.monotonic() - began)
        return {"seconds": times}

    async def echo(self, peer: str, count: int) -> None:
        channel = self._channels[peer]
        for _ in range(count):
            await channel.send(await channel.receive())

    async def paced(self, peer: str, size: int, count: int, interval: float) -> None:
        channel, rest = self._channels[peer], bytes(size - STAMP.size)
        begin = trio.current_time()
        for index in range(count):
            await trio.sleep_until(begin + index * interval)
            await channel.send(STAMP.pack(time.monotonic()) + rest)

    async def delays(self, peer: str, count: int) -> Answer:
        channel, times = self._channels[peer], []
        for _ in range(count):
            message = await channel.receive()
            assert isinstance(message, bytes)
            times.append(time.monotonic() - STAMP.unpack_from(message)[0])
        return {"seconds": times}

    async def watch(self) -> None:
        self._late = []
        self._watching = trio.CancelScope()
        self._nursery.start_soon(self._watch)

    async def _watch(self) -> None:
        with self._watching:
            while True:
                began = time.monotonic()
                await trio.sleep(0.001)
                self._late.append(time.monotonic() - began - 0.001)

    async def watched(self) -> Answer:
        self._watching.cancel()
        return {"seconds": self._late}

    # ------------------------------------------------------------------------------- others

    async def statistics(self, peer: str) -> Answer:
        counted = attrs.asdict(self._peers[peer].statistics().sctp, recurse=False)
        return {key: value for key, value in counted.items() if isinstance(value, (int, float))}

    async def settle(self) -> None:
        gc.collect()


def _told(description: rtcsctp.SessionDescription) -> Answer:
    return {"type": description.type.value, "sdp": description.sdp}


IN_TURN = ("pairs", "offer", "answer")


async def perform(method: Callable[..., Awaitable[Answer | None]], request: dict[str, Any]) -> None:
    number = request.pop("id")
    try:
        answer = await method(**request) or {}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    os.write(1, json.dumps({"id": number, **answer}).encode() + b"\n")


async def main() -> None:
    async with contextlib.AsyncExitStack() as stack, trio.open_nursery() as nursery:
        peers = Peers(stack, nursery)
        rest = b""
        async for data in trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                request = json.loads(line)
                do = request.pop("do")
                method = getattr(peers, do)
                if do in IN_TURN:
                    await perform(method, request)
                else:
                    nursery.start_soon(perform, method, request)
        os._exit(0)  # what it takes to close them all is another question


if __name__ == "__main__":
    trio.run(main)
