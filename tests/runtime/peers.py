"""Two whole peers in one program, over a simulated network in virtual time."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any

import attrs
import trio

from rtcsctp.runtime.channel import DataChannel
from rtcsctp.runtime.peer import PeerConnection, open_peer
from rtcsctp.runtime.peer_config import PeerConfig
from rtcsctp.testing import Conditions, Network, SimulatedHost, StandInIdentity, simulated_hosts

PERFECT = Conditions(delay=0.01)


@attrs.define
class World:
    """A network with a host at each end."""

    network: Network
    left: SimulatedHost
    right: SimulatedHost
    seed: int

    def config(self, host: SimulatedHost, **changes: Any) -> PeerConfig:
        seed = self.seed * 2 + (host is self.right)
        defaults: dict[str, Any] = {
            "host": host,
            "identity": StandInIdentity(random.Random(seed)),
            "rng": random.Random(seed),
        }
        return PeerConfig(**(defaults | changes))


def make_world(conditions: Conditions = PERFECT, *, seed: int = 1, **addresses: Any) -> World:
    network = Network(conditions, seed=seed)
    left, right = simulated_hosts(network, **addresses)
    return World(network, left, right, seed)


async def exchange(offerer: PeerConnection, answerer: PeerConnection) -> None:
    """One-shot signalling, without loss of time."""
    offer = await offerer.offer()
    answer = await answerer.answer(offer)
    offerer.set_remote_description(answer)


@contextlib.asynccontextmanager
async def two_peers(
    world: World | None = None,
    *,
    offerer: dict[str, Any] | None = None,
    answerer: dict[str, Any] | None = None,
) -> AsyncIterator[tuple[PeerConnection, PeerConnection]]:
    """Two peers that know nothing of each other yet."""
    world = world if world is not None else make_world()
    async with (
        open_peer(world.config(world.left, **(offerer or {}))) as left,
        open_peer(world.config(world.right, **(answerer or {}))) as right,
    ):
        yield left, right


@contextlib.asynccontextmanager
async def connected_peers(
    world: World | None = None,
    *,
    offerer: dict[str, Any] | None = None,
    answerer: dict[str, Any] | None = None,
) -> AsyncIterator[tuple[PeerConnection, PeerConnection]]:
    """Two peers that are connected."""
    async with two_peers(world, offerer=offerer, answerer=answerer) as (left, right):
        await exchange(left, right)
        await left.wait_connected()
        await right.wait_connected()
        yield left, right


async def open_channel(
    left: PeerConnection, right: PeerConnection, label: str = "", **options: Any
) -> tuple[DataChannel, DataChannel]:
    """A channel that `left` opens, as both sides have it."""
    near = left.create_channel(label, **options)
    with trio.fail_after(60):
        far = await right.incoming.receive()
    return near, far
