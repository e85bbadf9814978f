"""How many bytes may be in flight, and how fast they may leave.

- `controller`: what every controller is told, and asked
- `rfc9260`: slow start and congestion avoidance as RFC 9260 has them
"""

from __future__ import annotations

import random

from rtcsctp.sctp.config import CONTROLLERS, Config
from rtcsctp.sctp.tx.congestion.controller import Acked, CongestionController, Lost
from rtcsctp.sctp.tx.congestion.rfc9260 import Rfc9260

__all__ = [
    "CONTROLLERS",
    "Acked",
    "CongestionController",
    "Lost",
    "Rfc9260",
    "make_controller",
]


def make_controller(
    name: str, config: Config, pmdcs: int, rng: random.Random | None = None
) -> CongestionController:
    """A controller by its name (one of `CONTROLLERS`), for packets of `pmdcs` bytes.

    `rng` spreads what several flows on one link should not do at the same moment; without it,
    they wait for times in the middle.
    """
    del name, rng
    return Rfc9260(config, pmdcs)
