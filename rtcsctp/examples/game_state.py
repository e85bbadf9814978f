"""Positions of players: unreliable, unordered, and the newest state wins.

    python -m rtcsctp.examples.game_state

A position that comes late is of no use, and must not hold up those behind it. So the channel
neither repeats nor orders, and each message has the number by which the receiver throws old ones
away. The network of this example loses one packet in five, and takes from 50 to 150 ms.
"""

from __future__ import annotations

import contextlib
import random
import struct

import trio

import rtcsctp
from rtcsctp.testing import Conditions, Network, StandInIdentity, simulated_hosts

STATE = struct.Struct("!Iff")  # number, x, y
TICK = 0.05
"""Seconds between two states."""


def game_channel(peer: rtcsctp.PeerConnection) -> rtcsctp.DataChannel:
    """The right kind of channel."""
    return peer.create_channel("state", ordered=False, max_retransmits=0)


async def play(channel: rtcsctp.DataChannel, steps: int) -> None:
    """Walk along a line, and tell where we are."""
    for number in range(steps):
        with contextlib.suppress(trio.WouldBlock):  # then the path is full, and the next one goes
            channel.send_nowait(STATE.pack(number, number * 0.5, 7.0))
        await trio.sleep(TICK)


class Player:
    """What is known of somebody else."""

    def __init__(self) -> None:
        self.number = -1
        self.position = (0.0, 0.0)
        self.stale = 0

    async def follow(self, channel: rtcsctp.DataChannel) -> None:
        """Take states until the channel ends."""
        async for message in channel:
            if not isinstance(message, bytes) or len(message) != STATE.size:
                continue  # not one of ours
            number, x, y = STATE.unpack(message)
            if number > self.number:
                self.number, self.position = number, (x, y)
            else:
                self.stale += 1


async def main(steps: int = 200) -> Player:
    """Play over a bad network; gives what the other side knows in the end."""
    conditions = Conditions(delay=0.05, loss=0.2, reorder=0.3, reorder_delay=0.1)
    hosts = simulated_hosts(Network(conditions, seed=1))
    one, two = (
        rtcsctp.PeerConfig(
            host=host, identity=StandInIdentity(random.Random(seed)), rng=random.Random(seed)
        )
        for seed, host in enumerate(hosts)
    )
    player = Player()
    async with rtcsctp.open_peer(one) as here, rtcsctp.open_peer(two) as there:
        channel = game_channel(here)
        await here.accept(await there.answer(await here.offer()))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(player.follow, await there.incoming.receive())
            await play(channel, steps)
            await channel.aclose()
    print(f"state {player.number} of {steps}, {player.stale} came too late")
    return player


if __name__ == "__main__":
    trio.run(main)
