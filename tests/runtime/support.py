"""Pairs of associations over links without a real network."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import trio

import rtcsctp
from rtcsctp.testing import (
    Conditions,
    MemoryLink,
    Network,
    SimulatedLink,
    memory_links,
    simulated_links,
)

if TYPE_CHECKING:
    from rtcsctp import Association, Config

AnyLink = SimulatedLink | MemoryLink
Links = tuple[AnyLink, AnyLink]

_FOR_EVER = 3600.0  # of virtual seconds: nothing here waits so long, except for what never comes

FAST = Conditions(delay=0.01)


def simulated(conditions: Conditions = FAST, seed: int = 1) -> Links:
    return simulated_links(Network(conditions, seed=seed))


def in_memory() -> Links:
    return memory_links()


@contextlib.asynccontextmanager
async def pair(
    config: Config | None = None,
    *,
    server_config: Config | None = None,
    links: Links | None = None,
    make: Callable[[], Links] = simulated,
) -> AsyncIterator[tuple[Association, Association]]:
    """Two associations; the server's block is left after the client's, which is the caller's.

    What the server's block raises at its end is of no interest here.
    """
    here, there = links if links is not None else make()
    send, receive = trio.open_memory_channel["Association"](1)
    over = trio.Event()

    async def server() -> None:
        with contextlib.suppress(rtcsctp.AssociationLost):
            async with rtcsctp.open_association(
                there, server_config or config, initiate=False, rng=random.Random(2)
            ) as association:
                send.send_nowait(association)
                await over.wait()

    # The nursery must not wrap what the block of a test raises.
    raised: BaseException | None = None
    with trio.fail_after(_FOR_EVER):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server)
            try:
                async with rtcsctp.open_association(here, config, rng=random.Random(1)) as client:
                    yield client, await receive.receive()
            except Exception as error:
                raised = error
            over.set()
    if raised is not None:
        raise raised
