"""A program of yours on a bad network, in a test that takes no time and always goes the same way.

    python -m rtcsctp.examples.simulated_network

What is tested is `fetch`, which asks again when no answer came. Network and clock are simulated:
the time that a bad network costs passes at once, and the seed decides which packets are lost. With
pytest-trio, the fixture `autojump_clock` is the clock that `main` makes here.
"""

from __future__ import annotations

import random

import trio
import trio.testing

import rtcsctp
from rtcsctp.testing import Conditions, Network, StandInIdentity, simulated_hosts


async def fetch(channel: rtcsctp.DataChannel, key: str, *, patience: float = 1.0) -> str:
    """The program: asks on an unreliable channel until there is an answer."""
    while True:
        await channel.send(key)
        with trio.move_on_after(patience):
            async for reply in channel:
                name, _, value = str(reply).partition("=")
                if name == key:
                    return value  # others are late answers to what was asked before


async def answer(channel: rtcsctp.DataChannel) -> None:
    """The other side of it."""
    async for key in channel:
        await channel.send(f"{key!s}=value of {key!s}")


async def test_fetch_survives_heavy_loss() -> None:
    """The test: a third of all packets is lost, and for ten seconds all of them are."""
    network = Network(Conditions(delay=0.1, jitter=0.05, loss=0.33), seed=7)
    hosts = simulated_hosts(network)
    one, two = (
        rtcsctp.PeerConfig(
            host=host,
            identity=StandInIdentity(random.Random(seed)),  # OpenSSL's timer has its own clock
            rng=random.Random(seed),
        )
        for seed, host in enumerate(hosts)
    )
    async with rtcsctp.open_peer(one) as here, rtcsctp.open_peer(two) as there:
        channel = here.create_channel("fetch", ordered=False, max_retransmits=0)
        await here.accept(await there.answer(await here.offer()))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer, await there.incoming.receive())
            assert await fetch(channel, "a") == "value of a"
            network.pause(drop=True)
            nursery.start_soon(resume_later, network)
            began = trio.current_time()
            assert await fetch(channel, "b") == "value of b"
            assert trio.current_time() - began > 10
            nursery.cancel_scope.cancel()


async def resume_later(network: Network) -> None:
    """The network comes back after ten seconds."""
    await trio.sleep(10)
    network.resume(trio.current_time())


def main() -> None:
    """What pytest-trio does with such a test."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    trio.run(test_fetch_survives_heavy_loss, clock=clock)
    print("passed")


if __name__ == "__main__":
    main()
