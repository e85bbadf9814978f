"""An allocation on a TURN server, as one way for the agent's datagrams."""

from __future__ import annotations

import random
from collections.abc import Sequence
from math import inf

from rtcsctp.ice.candidate import Address
from rtcsctp.ice.events import Transmit
from rtcsctp.ice.local import Base
from rtcsctp.ice.servers import IceServer
from rtcsctp.ice.turn import TurnClient, TurnEvent

__all__ = ["Relay"]


class Relay:
    """Ties a `TurnClient` to the socket or stream by which its server is reached.

    Attributes:
        server: as the user named it.
        socket: number of the socket or stream.
        is_stream: which of the two.
        host_base: the base of that socket; None for a stream.
        client: the TURN client.
        base: the relayed address as a base, once there is one.
        first_address: of the server, before it sent us to another one.
        give_up_at: when gathering waits for it no longer; None once it has succeeded or failed.
        has_failed: there is no relayed address and will be none.
        index: which server it is, for preferences.
    """

    __slots__ = (
        "base",
        "client",
        "first_address",
        "give_up_at",
        "has_failed",
        "host_base",
        "index",
        "is_stream",
        "server",
        "socket",
    )

    def __init__(
        self,
        server: IceServer,
        address: Address,
        socket: int,
        host_base: Base | None,
        *,
        index: int,
        families: Sequence[int],
        rng: random.Random,
    ) -> None:
        self.server = server
        self.socket = socket
        self.host_base = host_base
        self.is_stream = host_base is None
        self.first_address = address
        self.has_failed = False
        self.index = index
        self.client = TurnClient(
            server, address, stream=self.is_stream, rng=rng, relayed_families=families
        )
        self.base: Base | None = None
        self.give_up_at: float | None = None

    def __repr__(self) -> str:
        return f"<Relay {self.server.url} by {self.socket}: {self.client.state.value}>"

    def start(self, now: float, patience: float, _rng: random.Random) -> None:
        """Ask for the allocation now, and for so many seconds at most."""
        self.give_up_at = now + patience
        self.client.start(now)

    def give_up(self, now: float) -> None:
        """It has taken too long."""
        self.give_up_at = None
        self.has_failed = True
        self.client.close(now)

    @property
    def deadline(self) -> float:
        """When there is something to do; inf for never."""
        deadline = inf if self.client.deadline is None else self.client.deadline
        return deadline if self.give_up_at is None else min(deadline, self.give_up_at)

    def transmit(self, datagrams: Sequence[bytes], peer: Address, now: float) -> Transmit | None:
        """Wrap datagrams for a peer; None if none goes now (some may wait for the permission)."""
        wrapped = self.client.send(datagrams, peer, now)
        return Transmit(self.socket, self.client.address, wrapped) if wrapped else None

    def drain(self, now: float, transmits: list[Transmit]) -> list[TurnEvent]:
        """Collect what the client wants to send, and give what it tells."""
        events: list[TurnEvent] = []
        while (event := self.client.poll_event()) is not None:
            events.append(event)
        while datagrams := self.client.poll_transmit(now):
            transmits.append(Transmit(self.socket, self.client.address, datagrams))
        return events
