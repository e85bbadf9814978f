"""Whole peers over a network that loses a fifth of all packets, and worse; in virtual time.

ICE, a stand-in for DTLS, SCTP and data channels, from the offer to the end. What must hold: they
connect; reliable channels deliver everything once, in order or not as was asked for; what is not
reliable delivers nothing twice and nothing that was not sent; all ends in order.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

from rtcsctp.ice.events import IceState
from rtcsctp.runtime.channel import DataChannel
from rtcsctp.runtime.peer import PeerConnection, open_peer
from rtcsctp.runtime.peer_config import PeerConfig
from rtcsctp.runtime.peer_states import StateChange
from rtcsctp.sdp.negotiation import SignallingState
from rtcsctp.testing import Conditions, Network, StandInIdentity, simulated_hosts

pytestmark = pytest.mark.chaos

NETWORKS = {
    "20 % loss": Conditions(delay=0.02, loss=0.2),
    "20 % loss, jitter, reordering": Conditions(
        delay=0.05, jitter=0.03, loss=0.2, reorder=0.1, reorder_delay=0.05, duplicate=0.1
    ),
    "damage": Conditions(delay=0.02, corrupt=0.1, loss=0.05),
    "slow": Conditions(delay=0.1, rate=50_000, queue=30_000, loss=0.05),
}

KINDS: dict[str, dict[str, Any]] = {
    "reliable": {},
    "reliable unordered": {"ordered": False},
    "retransmits": {"max_retransmits": 1},
    "retransmits unordered": {"max_retransmits": 0, "ordered": False},
    "timed": {"max_packet_lifetime": 0.2},
    "timed unordered": {"max_packet_lifetime": 0.1, "ordered": False},
}

MESSAGES = 20


@contextlib.asynccontextmanager
async def connected(
    conditions: Conditions, seed: int
) -> AsyncIterator[tuple[PeerConnection, PeerConnection]]:
    left, right = simulated_hosts(Network(conditions, seed=seed))

    def config(host: Any, number: int) -> PeerConfig:
        rng = random.Random(f"{seed}-{number}")
        return PeerConfig(host=host, identity=StandInIdentity(rng), rng=rng, linger=120)

    async with open_peer(config(left, 1)) as one, open_peer(config(right, 2)) as two:
        answer = await two.answer(await one.offer())
        await one.accept(answer)
        await two.wait_connected()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(heal, one, two)
            nursery.start_soon(heal, two, one)
            yield one, two
            nursery.cancel_scope.cancel()


async def heal(peer: PeerConnection, other: PeerConnection) -> None:
    """Restart ICE when it has failed, as a program would whose signalling still works.

    Consent is asked for every five seconds and only once each time (RFC 7675 5.1), and lost when
    six in a row are unanswered; with every third round trip lost that happens every few minutes.
    """
    async for event in peer.events():
        if isinstance(event, StateChange) and event.state is IceState.FAILED:
            if other.signalling_state is not SignallingState.STABLE:
                continue
            offer = peer.create_offer(ice_restart=True)
            peer.set_local_description(offer)
            other.set_remote_description(peer.local_description or offer)
            other.set_local_description()
            assert other.local_description is not None
            peer.set_remote_description(other.local_description)


def messages_of(name: str, seed: int) -> list[str | bytes]:
    rng = random.Random(f"{name}-{seed}")
    made: list[str | bytes] = []
    for number in range(MESSAGES):
        size = rng.choice([1, 10, 500, 1200, 5000, 20_000])
        text = f"{name} {number} " + "x" * size
        made.append(text if rng.random() < 0.5 else text.encode())
    return made


async def collect(channel: DataChannel, into: list[str | bytes]) -> None:
    async for message in channel:
        into.append(message)  # noqa: PERF401 - what has come is looked at also after an error


def check(name: str, got: list[str | bytes], sent: list[str | bytes]) -> None:
    options = KINDS[name]
    if len(options) == 0:
        assert got == sent
    elif options == {"ordered": False}:
        assert sorted(map(repr, got)) == sorted(map(repr, sent))
    else:
        assert len(set(got)) == len(got)
        assert set(got) <= set(sent)
        if options.get("ordered", True):
            places = [sent.index(message) for message in got]
            assert places == sorted(places)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("network", NETWORKS)
async def test_peers_do_what_they_promise(
    autojump_clock: trio.testing.MockClock, network: str, seed: int
) -> None:
    with trio.fail_after(3600):
        async with connected(NETWORKS[network], seed) as (one, two):
            received: dict[str, list[str | bytes]] = {}
            back: dict[str, list[str | bytes]] = {}

            async def answer(channel: DataChannel) -> None:
                into = received[channel.label] = []
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(collect, channel, into)
                    for message in messages_of(channel.label, -seed):
                        await channel.send(message)

            async def serve() -> None:
                async with trio.open_nursery() as nursery:
                    for _ in KINDS:
                        nursery.start_soon(answer, await two.incoming.receive())

            async def use(name: str) -> None:
                channel = one.create_channel(name, **KINDS[name])
                into = back[name] = []
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(collect_until_idle, channel, into)
                    for message in messages_of(name, seed):
                        await channel.send(message)
                await channel.aclose()

            async def collect_until_idle(channel: DataChannel, into: list[str | bytes]) -> None:
                reliable = len(KINDS[channel.label]) == 0 or KINDS[channel.label] == {
                    "ordered": False
                }
                while not reliable or len(into) < MESSAGES:
                    with trio.move_on_after(1000 if reliable else 30) as scope:
                        into.append(await channel.receive())
                    if scope.cancelled_caught:
                        break

            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve)
                for name in KINDS:
                    nursery.start_soon(use, name)
            for name in KINDS:
                check(name, received[name], messages_of(name, seed))
                check(name, back[name], messages_of(name, -seed))
