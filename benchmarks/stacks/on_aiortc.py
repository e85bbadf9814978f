"""Peers of aiortc, doing what `vocabulary.py` says."""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import struct
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

Answer = dict[str, Any]

HIGH_WATER = 1 << 20
LOW_WATER = HIGH_WATER // 2
STAMP = struct.Struct("<d")
aiortc = importlib.import_module("aiortc")  # without its types: it need not be installed


class Peer:
    """A connection and its channel. Messages are kept until somebody wants them."""

    def __init__(self) -> None:
        self.connection = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))
        self.connection.on("datachannel", self.use)
        self.channel: Any = None
        self.opened = asyncio.Event()
        self.has_room = asyncio.Event()
        self.messages: deque[str | bytes] = deque()
        self.arrived = asyncio.Event()

    def make_channel(self) -> None:
        self.use(self.connection.createDataChannel("first"))

    def use(self, channel: Any) -> None:
        self.channel = channel
        channel.bufferedAmountLowThreshold = LOW_WATER
        channel.on("bufferedamountlow", self.has_room.set)
        channel.on("message", self._take)
        channel.on("open", self.opened.set)
        if channel.readyState == "open":
            self.opened.set()

    def _take(self, message: str | bytes) -> None:
        self.messages.append(message)
        self.arrived.set()

    async def receive(self) -> str | bytes:
        while not self.messages:
            self.arrived.clear()
            await self.arrived.wait()
        return self.messages.popleft()

    async def wait_room(self) -> None:
        self.has_room.clear()
        await self.has_room.wait()


class Peers:
    """All peers of this process, by name."""

    def __init__(self) -> None:
        self._peers: dict[str, Peer] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._late: list[float] = []

    # ------------------------------------------------------------------------------ set-up

    async def pairs(self, count: int, options: dict[str, Any]) -> Answer:
        assert not options
        first = len(self._peers) // 2
        return {"seconds": [await self._pair(index) for index in range(first, first + count)]}

    async def _pair(self, index: int) -> float:
        left = self._peers[f"l{index}"] = Peer()
        right = self._peers[f"r{index}"] = Peer()
        left.make_channel()
        began = time.monotonic()
        here, there = left.connection, right.connection
        await here.setLocalDescription(await here.createOffer())
        await there.setRemoteDescription(here.localDescription)
        await there.setLocalDescription(await there.createAnswer())
        await here.setRemoteDescription(there.localDescription)
        await left.opened.wait()
        left.channel.send("first")
        await right.receive()
        return time.monotonic() - began

    async def offer(self, peer: str, options: dict[str, Any]) -> Answer:
        assert not options
        made = self._peers[peer] = Peer()
        made.make_channel()
        await made.connection.setLocalDescription(await made.connection.createOffer())
        return _told(made.connection.localDescription)

    async def answer(self, peer: str, options: dict[str, Any], type: str, sdp: str) -> Answer:  # noqa: A002
        assert not options
        made = self._peers[peer] = Peer()
        offer = aiortc.RTCSessionDescription(type=type, sdp=sdp)
        await made.connection.setRemoteDescription(offer)
        await made.connection.setLocalDescription(await made.connection.createAnswer())
        return _told(made.connection.localDescription)

    async def accept(self, peer: str, type: str, sdp: str) -> None:  # noqa: A002
        answer = aiortc.RTCSessionDescription(type=type, sdp=sdp)
        await self._peers[peer].connection.setRemoteDescription(answer)

    async def opened(self, peer: str) -> None:
        await self._peers[peer].opened.wait()

    # ------------------------------------------------------------------------------ in bulk

    async def send(self, peer: str, size: int, count: int) -> Answer:
        return {"began": await self._send(self._peers[peer], bytes(size), count, None)}

    async def send_for(self, peer: str, size: int, seconds: float) -> Answer:
        end = time.monotonic() + seconds
        return {"began": await self._send(self._peers[peer], bytes(size), 1 << 62, end)}

    async def _send(self, peer: Peer, data: bytes, left: int, end: float | None) -> float:
        began = time.monotonic()
        channel = peer.channel
        while left and (end is None or time.monotonic() < end):
            while left and channel.bufferedAmount < HIGH_WATER:
                channel.send(data)
                left -= 1
            if left:
                await peer.wait_room()
        return began

    async def receive(self, peer: str, count: int) -> Answer:
        receiver, size = self._peers[peer], 0
        for _ in range(count):
            size += len(await receiver.receive())
        return {"ended": time.monotonic(), "bytes": size}

    async def receive_for(self, peer: str, seconds: float, step: float) -> Answer:
        receiver = self._peers[peer]
        message = await receiver.receive()
        began = time.monotonic()
        amounts = [0] * round(seconds / step)
        try:
            async with asyncio.timeout(seconds):
                while (index := int((time.monotonic() - began) / step)) < len(amounts):
                    amounts[index] += len(message)
                    message = await receiver.receive()
        except TimeoutError:
            pass
        return {"began": began, "bytes": amounts}

    # ---------------------------------------------------------------------------- latencies

    async def ping(self, peer: str, size: int, count: int) -> Answer:
        pinging, data, times = self._peers[peer], bytes(size), []
        for _ in range(count):
            began = time.monotonic()
            pinging.channel.send(data)
            await pinging.receive()
            times.append(time.monotonic() - began)
        return {"seconds": times}

    async def echo(self, peer: str, count: int) -> None:
        answering = self._peers[peer]
        for _ in range(count):
            answering.channel.send(await answering.receive())

    async def paced(self, peer: str, size: int, count: int, interval: float) -> None:
        channel, rest = self._peers[peer].channel, bytes(size - STAMP.size)
        begin = time.monotonic()
        for index in range(count):
            await asyncio.sleep(begin + index * interval - time.monotonic())
            channel.send(STAMP.pack(time.monotonic()) + rest)

    async def delays(self, peer: str, count: int) -> Answer:
        receiver, times = self._peers[peer], []
        for _ in range(count):
            message = await receiver.receive()
            assert isinstance(message, bytes)
            times.append(time.monotonic() - STAMP.unpack_from(message)[0])
        return {"seconds": times}

    async def watch(self) -> None:
        self._late = []
        self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.001)
            self._late.append(time.monotonic() - began - 0.001)

    async def watched(self) -> Answer:
        if self._watcher is not None:
            self._watcher.cancel()
        return {"seconds": self._late}

    # ------------------------------------------------------------------------------- others

    async def statistics(self, peer: str) -> Answer:
        del peer
        return {}

    async def settle(self) -> None:
        gc.collect()


def _told(description: Any) -> Answer:
    return {"type": description.type, "sdp": description.sdp}


IN_TURN = ("pairs", "offer", "answer")


async def perform(method: Callable[..., Awaitable[Answer | None]], request: dict[str, Any]) -> None:
    number = request.pop("id")
    try:
        answer = await method(**request) or {}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    os.write(1, json.dumps({"id": number, **answer}).encode() + b"\n")


async def main() -> None:
    reader = asyncio.StreamReader(limit=1 << 20)
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    peers = Peers()
    tasks = set()
    while line := await reader.readline():
        request = json.loads(line)
        do = request.pop("do")
        performing = perform(getattr(peers, do), request)
        if do in IN_TURN:
            await performing
        else:
            task = asyncio.create_task(performing)
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
