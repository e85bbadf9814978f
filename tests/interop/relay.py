"""A UDP relay between one client and one server that loses, copies, delays and reorders.

The client sends to `Relay.address` and takes the relay for the server; the server sees one UDP
address of the relay's for as long as the relay lives. What happens to the n-th datagram of a
direction depends on the seed alone, not on timing.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Callable
from typing import Self

import attrs
import trio


class Direction(enum.Enum):
    TO_SERVER = "to server"
    TO_CLIENT = "to client"


@attrs.frozen(kw_only=True)
class Impairment:
    """What one direction does. Rates are probabilities per datagram, times are seconds."""

    loss: float = 0.0
    duplicate: float = 0.0
    #: How many datagrams are held back by `hold`, so that later ones overtake them.
    reorder: float = 0.0
    hold: float = 0.02
    delay: float = 0.0


@attrs.define
class Counts:
    """Datagrams of one direction."""

    received: int = 0
    lost: int = 0
    duplicated: int = 0
    held: int = 0


Observer = Callable[[Direction, bytes, bool], None]


class Relay:
    """Started by `start_relay`; ends when the nursery is cancelled."""

    def __init__(
        self,
        server: tuple[str, int],
        *,
        seed: int,
        impairments: dict[Direction, Impairment],
        observer: Observer | None,
    ) -> None:
        self.server = server
        self.address: tuple[str, int] = ("", 0)
        self.impairments = impairments
        #: Called for each datagram that came in, with False for one that is about to be lost.
        self.observer = observer
        self.counts = {direction: Counts() for direction in Direction}
        #: While False, every datagram of the direction is lost.
        self.open = dict.fromkeys(Direction, True)
        self._random = {
            direction: random.Random(f"{seed} {direction.value}") for direction in Direction
        }
        self._front, self._back = (
            trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) for _ in range(2)
        )
        self._client: tuple[str, int] | None = None

    def cut(self) -> None:
        """Lose everything, both ways."""
        self.open = dict.fromkeys(Direction, False)

    def mend(self) -> None:
        """Undo `cut`."""
        self.open = dict.fromkeys(Direction, True)

    async def run(self, *, task_status: trio.TaskStatus[Self]) -> None:
        with self._front, self._back:
            for socket in (self._front, self._back):
                # A burst of a whole window must not be lost here: losses are ours to decide.
                socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 1 << 22)
                await socket.bind(("127.0.0.1", 0))
            self.address = self._front.getsockname()
            async with trio.open_nursery() as nursery:
                for direction in Direction:
                    nursery.start_soon(self._relay, direction, nursery)
                task_status.started(self)

    async def _relay(self, direction: Direction, nursery: trio.Nursery) -> None:
        source = self._front if direction is Direction.TO_SERVER else self._back
        while True:
            try:
                data, sender = await source.recvfrom(65535)
            except ConnectionRefusedError:
                # ICMP told that nobody listens behind us; a network says nothing either.
                continue
            if direction is Direction.TO_SERVER:
                self._client = sender[:2]
            copies, delay = self._decide(direction, data)
            for _ in range(copies):
                if delay > 0:
                    nursery.start_soon(self._send, direction, data, delay)
                else:
                    await self._send(direction, data, 0.0)

    def _decide(self, direction: Direction, data: bytes) -> tuple[int, float]:
        """How many copies of a datagram go on, and after how many seconds."""
        impairment, counts = self.impairments[direction], self.counts[direction]
        dice = self._random[direction]
        # Always the same number of draws, so that one rate does not shift another's luck.
        lost, copied, held = (dice.random() for _ in range(3))
        counts.received += 1
        passes = lost >= impairment.loss and self.open[direction]
        if self.observer is not None:
            self.observer(direction, data, passes)
        if not passes:
            counts.lost += 1
            return 0, 0.0
        copies, delay = 1, impairment.delay
        if copied < impairment.duplicate:
            counts.duplicated += 1
            copies = 2
        if held < impairment.reorder:
            counts.held += 1
            delay += impairment.hold
        return copies, delay

    async def _send(self, direction: Direction, data: bytes, delay: float) -> None:
        if delay > 0:
            await trio.sleep(delay)
        try:
            if direction is Direction.TO_SERVER:
                await self._back.sendto(data, self.server)
            elif self._client is not None:
                await self._front.sendto(data, self._client)
        except ConnectionRefusedError:
            pass


async def start_relay(
    nursery: trio.Nursery,
    server: tuple[str, int],
    *,
    seed: int = 0,
    to_server: Impairment | None = None,
    to_client: Impairment | None = None,
    observer: Observer | None = None,
) -> Relay:
    """Start a relay to an IPv4 UDP address, by default without any impairment."""
    impairments = {
        Direction.TO_SERVER: to_server or Impairment(),
        Direction.TO_CLIENT: to_client or Impairment(),
    }
    relay = Relay(server, seed=seed, impairments=impairments, observer=observer)
    await nursery.start(relay.run)
    return relay
