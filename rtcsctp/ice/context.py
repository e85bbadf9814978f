"""What the parts of one agent share: its parameters, its role, and where their output goes."""

from __future__ import annotations

import random
from collections.abc import Sequence

from rtcsctp.ice.candidate import Address
from rtcsctp.ice.checks import CheckTable, Pacer
from rtcsctp.ice.config import IceConfig
from rtcsctp.ice.events import IceEvent, Transmit
from rtcsctp.ice.local import Base
from rtcsctp.ice.role import Role
from rtcsctp.ice.statistics import Counters

__all__ = ["Context"]


class Context:
    """Owned by the agent; its parts get it as an argument and know nothing of each other.

    Attributes:
        config: the parameters.
        rng: source of transaction ids and credentials.
        role: controlling or controlled.
        checks: Binding requests to the peer that are under way.
        pacer: says when the next one may go.
        counters: for the statistics.
        events: to be polled.
        transmits: to be sent, in order.
    """

    __slots__ = ("checks", "config", "counters", "events", "pacer", "rng", "role", "transmits")

    def __init__(self, config: IceConfig, rng: random.Random, role: Role) -> None:
        self.config = config
        self.rng = rng
        self.role = role
        self.checks = CheckTable()
        self.pacer = Pacer(config.ta, config.triggered_ta)
        self.counters = Counters()
        self.events: list[IceEvent] = []  # few; a deque takes 0.7 KiB where this takes nothing
        self.transmits: list[Transmit] = []

    def send(self, base: Base, datagrams: Sequence[bytes], remote: Address, now: float) -> None:
        """Have datagrams sent from a base, by its relay if it has one."""
        transmit = base.transmit(datagrams, remote, now)
        if transmit is not None:
            self.transmits.append(transmit)
