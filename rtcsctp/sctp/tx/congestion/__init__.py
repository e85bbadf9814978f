"""How many bytes may be in flight, and how fast they may leave.

- `controller`: what every controller is told, and asked
- `rfc9260`: slow start and congestion avoidance as RFC 9260 has them
- `cubic`: RFC 9438, with HyStart++
- `bbr`: a model of the path, draft-ietf-ccwg-bbr
- `ledbat`: RFC 6817, for background transfers
- `rounds`: counts round trips
"""

from __future__ import annotations

import random

from rtcsctp.sctp.config import CONTROLLERS, Config
from rtcsctp.sctp.tx.congestion.bbr import Bbr
from rtcsctp.sctp.tx.congestion.controller import Acked, CongestionController, Lost
from rtcsctp.sctp.tx.congestion.cubic import Cubic
from rtcsctp.sctp.tx.congestion.ledbat import Ledbat
from rtcsctp.sctp.tx.congestion.rfc9260 import Rfc9260

__all__ = [
    "CONTROLLERS",
    "Acked",
    "Bbr",
    "CongestionController",
    "Cubic",
    "Ledbat",
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
    if name == "bbr":
        return Bbr(config, pmdcs, rng)
    if name == "cubic":
        return Cubic(config, pmdcs)
    if name == "ledbat":
        return Ledbat(config, pmdcs)
    return Rfc9260(config, pmdcs)
