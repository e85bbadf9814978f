"""Whole peers with real DTLS over real sockets, through a relay that does what networks do.

OpenSSL's timer follows the real clock, so these take real seconds: a lost flight of the handshake
costs one or more of them.
"""

from __future__ import annotations

import random
import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from rtcsctp.runtime.peer import PeerConnection, open_peer
from rtcsctp.runtime.peer_config import PeerConfig
from rtcsctp.sdp.description import SessionDescription

LOCALHOST = "127.0.0.1"


class Relay:
    """Two UDP ports: what arrives at one leaves from the other, to the peer that is behind it.

    Attributes:
        near, far: what the right and the left peer take for the other's address.
        forged: datagrams that were put in, in the name of a peer.
    """

    def __init__(self, seed: int, *, loss: float, forge: float) -> None:
        self._rng = random.Random(seed)
        self._loss = loss
        self._forge = forge
        self._sockets = [trio.socket.socket(type=socket.SOCK_DGRAM) for _ in range(2)]
        self._peers: list[tuple[str, int] | None] = [None, None]
        self.lost = self.passed = self.forged = 0

    async def open(self) -> None:
        for sock in self._sockets:
            await sock.bind((LOCALHOST, 0))

    def port(self, side: int) -> int:
        return int(self._sockets[side].getsockname()[1])

    def set_peer(self, side: int, port: int) -> None:
        """The peer that is reached from this side."""
        self._peers[side] = (LOCALHOST, port)

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()

    async def run(self, side: int, nursery: trio.Nursery) -> None:
        """Pass on what comes from the peer of this side."""
        out, rng = self._sockets[1 - side], self._rng
        while True:
            datagram, _ = await self._sockets[side].recvfrom(65_535)
            there = self._peers[1 - side]
            if there is None:
                continue
            if self._forge and rng.random() < self._forge:
                self.forged += 1
                await out.sendto(self._forgery(), there)
            luck = rng.random()
            if luck < self._loss:
                self.lost += 1
                continue
            self.passed += 1
            if luck < 1.5 * self._loss:  # late, and so out of order
                nursery.start_soon(self._late, out, datagram, there)
                continue
            await out.sendto(datagram, there)
            if luck < 2 * self._loss:
                await out.sendto(datagram, there)

    async def _late(
        self, out: trio.socket.SocketType, datagram: bytes, there: tuple[str, int]
    ) -> None:
        await trio.sleep(self._rng.uniform(0.002, 0.02))
        await out.sendto(datagram, there)

    def _forgery(self) -> bytes:
        """What anybody can make without keys (pitfall W6)."""
        rng = self._rng
        hello = rng.randbytes(40)
        made = [
            (21, 0, b"\x02\x28"),
            (21, 0, b"\x01\x00"),
            (21, 1, rng.randbytes(26)),
            (22, 0, b"\x01" + (40).to_bytes(3, "big") + bytes(5) + (40).to_bytes(3, "big") + hello),
            (22, 0, b"\x02" + (40).to_bytes(3, "big") + bytes(5) + (40).to_bytes(3, "big") + hello),
            (22, 0, rng.randbytes(30)),
            (20, 0, b"\x01"),
            (23, 1, rng.randbytes(60)),
            (23, 0, b"plain"),
        ]
        kind, epoch, body = rng.choice(made)
        header = struct.pack(">BHHHIH", kind, 0xFEFD, epoch, 0, rng.randrange(9), len(body))
        return header + body


def through(description: SessionDescription, port: int) -> tuple[dict[str, str], int]:
    """A description with one candidate at `port` in place of its own; and its own port."""
    found = re.search(r"a=candidate:\S+ 1 udp \d+ \S+ (\d+) .*\r\n", description.sdp)
    assert found is not None
    line = f"a=candidate:1 1 udp 2130706431 {LOCALHOST} {port} typ host\r\n"
    sdp = re.sub(r"(a=candidate:.*\r\n)+", line, description.sdp)
    return {"type": description.type.value, "sdp": sdp}, int(found[1])


@asynccontextmanager
async def peers_over(relay: Relay) -> AsyncIterator[tuple[PeerConnection, PeerConnection]]:
    config = PeerConfig(include_loopback=True, addresses=[LOCALHOST], linger=20)
    await relay.open()
    try:
        async with trio.open_nursery() as nursery:
            for side in range(2):
                nursery.start_soon(relay.run, side, nursery)
            async with open_peer(config) as left, open_peer(config) as right:
                offer, port = through(await left.offer(), relay.port(1))
                relay.set_peer(0, port)
                answer, port = through(await right.answer(offer), relay.port(0))
                relay.set_peer(1, port)
                left.set_remote_description(answer)
                yield left, right
            nursery.cancel_scope.cancel()
    finally:
        relay.close()


@pytest.mark.parametrize(("seed", "loss", "forge"), [(2, 0.2, 0.0), (3, 0.0, 0.3), (4, 0.1, 0.1)])
async def test_all_messages_arrive(seed: int, loss: float, forge: float) -> None:
    relay = Relay(seed, loss=loss, forge=forge)
    rng = random.Random(seed)
    messages: list[str | bytes] = [
        rng.randbytes(size) if size % 2 else "ü" * size
        for size in (rng.choice([1, 10, 500, 3001, 9000]) for _ in range(60))
    ]
    got: list[str | bytes] = []
    back: list[str | bytes] = []
    with trio.fail_after(60):
        async with peers_over(relay) as (left, right):
            await left.wait_connected()
            near = left.create_channel("there")
            far = await right.incoming.receive()

            async def echo() -> None:
                for _ in messages:
                    got.append(await far.receive())
                    await far.send(got[-1])

            async def read() -> None:
                for _ in messages:
                    back.append(await near.receive())  # noqa: PERF401

            async with trio.open_nursery() as nursery:
                nursery.start_soon(echo)
                nursery.start_soon(read)
                for message in messages:
                    await near.send(message)
            dtls = left.statistics().dtls
            assert dtls is not None
    assert got == back == messages
    assert relay.passed > 30
    assert relay.lost > 0 or not loss
    assert relay.forged > 0 or not forge
