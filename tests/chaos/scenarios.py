"""The scenarios: a list of named ones, and a generator of as many others as one likes."""

from __future__ import annotations

import random
from typing import Any

import attrs

from rtcsctp.sctp.config import SCHEDULERS, Config
from rtcsctp.testing import BurstLoss, Conditions

from .harness import Scenario

__all__ = ["NAMED", "random_scenario"]

PATIENT = Config(max_retransmits=500, max_init_retransmits=500, valid_cookie_life=3600)
"""For networks on which eleven timeouts in a row are no sign of anything."""


def patient(**changes: Any) -> Config:
    return attrs.evolve(PATIENT, **changes)


def line(**changes: Any) -> Conditions:
    return attrs.evolve(Conditions(delay=0.02), **changes)


NOT_INTERLEAVED = patient(interleaving=False)
DIRTY = line(
    loss=0.1,
    duplicate=0.1,
    duplicate_delay=0.05,
    reorder=0.1,
    reorder_delay=0.03,
    corrupt=0.03,
    jitter=0.01,
)
"""A little of everything."""


def _named() -> list[Scenario]:
    found = [
        Scenario(name="a perfect network"),
        Scenario(name="a perfect network, DATA", config=NOT_INTERLEAVED),
        Scenario(name="both connect", both_connect=True, conditions=line(loss=0.2), config=PATIENT),
        Scenario(name="loss 1 %", conditions=line(loss=0.01), config=PATIENT, messages=1500),
        Scenario(name="loss 10 %", conditions=line(loss=0.1), config=PATIENT),
        Scenario(name="loss 10 %, DATA", conditions=line(loss=0.1), config=NOT_INTERLEAVED),
        Scenario(name="loss 40 %", conditions=line(loss=0.4), config=PATIENT, messages=300),
        Scenario(
            name="loss 40 %, DATA", conditions=line(loss=0.4), config=NOT_INTERLEAVED, messages=300
        ),
        Scenario(
            name="loss in bursts",
            conditions=line(burst_loss=BurstLoss.averaging(0.15, length=12)),
            config=PATIENT,
        ),
        Scenario(
            name="only acknowledgements are lost",
            back=line(loss=0.5),
            config=PATIENT,
            messages_b=0,
        ),
        Scenario(
            name="duplicates, late ones too",
            conditions=line(duplicate=0.4, duplicate_delay=0.3, loss=0.02),
            config=PATIENT,
        ),
        Scenario(
            name="reordering",
            conditions=line(reorder=0.3, reorder_delay=0.04, jitter=0.02),
            config=NOT_INTERLEAVED,
        ),
        Scenario(name="corruption", conditions=line(corrupt=0.1), config=PATIENT),
        Scenario(name="everything at once", conditions=DIRTY, config=PATIENT),
        Scenario(
            name="everything at once, and limited reliability",
            conditions=DIRTY,
            config=NOT_INTERLEAVED,
            unreliable=0.6,
        ),
        Scenario(
            name="a narrow line with a short queue",
            conditions=line(rate=200_000, queue=20_000, overhead=28),
            config=PATIENT,
            messages=400,
        ),
        Scenario(
            name="a network that stalls",
            conditions=line(loss=0.02),
            config=PATIENT,
            pauses=0.02,
            messages=500,
        ),
        Scenario(
            name="small windows and late readers",
            conditions=line(loss=0.05),
            config=patient(rwnd=12_000, max_message_size=30_000),
            reading="late",
            messages=120,
        ),
        Scenario(
            name="small windows and readers in bursts, DATA",
            conditions=line(loss=0.05),
            config=patient(rwnd=12_000, max_message_size=30_000, interleaving=False),
            reading="in bursts",
            messages=200,
        ),
        Scenario(
            name="large messages",
            conditions=line(loss=0.01),
            config=patient(rwnd=400_000),
            sizes=(200_000, 262_144),
            window=2_000_000,
            messages=40,
            unreliable=0.2,
        ),
        Scenario(
            name="thousands of small messages",
            conditions=line(loss=0.02),
            config=PATIENT,
            sizes=(1, 4, 60),
            exact_sizes=True,
            messages=4000,
            streams=200,
            burst=300,
        ),
        Scenario(
            name="a small and a large MTU",
            conditions=line(loss=0.03),
            config=patient(mtu=512),
            config_b=patient(mtu=1400),
        ),
        Scenario(
            name="zero checksums",
            conditions=line(loss=0.05),
            config=patient(zero_checksum=True),
        ),
        Scenario(
            name="the peer knows no partial reliability",
            conditions=line(loss=0.1),
            config=PATIENT,
            config_b=patient(partial_reliability=False),
            unreliable=0.5,
        ),
        Scenario(
            name="limited reliability",
            conditions=line(loss=0.1),
            config=patient(send_buffer=30_000),
            unreliable=0.9,
        ),
        Scenario(
            name="resets",
            conditions=DIRTY,
            config=PATIENT,
            resets=0.2,
            streams=8,
            messages=500,
            unreliable=0.3,
        ),
        Scenario(
            name="resets, DATA",
            conditions=DIRTY,
            config=NOT_INTERLEAVED,
            resets=0.2,
            streams=8,
            messages=500,
            unreliable=0.3,
            reading="in bursts",
        ),
        Scenario(
            name="each side asks the other for resets",
            conditions=DIRTY,
            config=PATIENT,
            resets=0.1,
            peer_resets=0.2,
            messages=400,
            unreliable=0.3,
        ),
        Scenario(
            name="resets of the association",
            conditions=DIRTY,
            config=PATIENT,
            association_resets=3,
            resets=0.05,
            messages=400,
            unreliable=0.2,
        ),
        Scenario(
            name="more and more streams",
            conditions=line(loss=0.1),
            config=patient(outbound_streams=16, inbound_streams=16),
            adding_streams=8,
            messages=400,
        ),
    ]
    for i, scheduler in enumerate(SCHEDULERS):
        interleaving = bool(i % 2)
        found.append(
            Scenario(
                name=f"scheduler {scheduler}, {'I-DATA' if interleaving else 'DATA'}",
                conditions=line(loss=0.05),
                config=patient(scheduler=scheduler, interleaving=interleaving),
                unreliable=0.3,
                messages=500,
            )
        )
    return found


NAMED = _named()


def random_scenario(seed: int) -> Scenario:
    """Any scenario; the same seed gives the same one."""
    rng = random.Random(f"scenario {seed}")

    def sometimes(probability: float, low: float, high: float) -> float:
        return rng.uniform(low, high) if rng.random() < probability else 0.0

    checked = rng.random() < 0.8
    """Without checksums nothing may be damaged: the layer below would have to notice it."""

    def conditions() -> Conditions:
        return Conditions(
            delay=rng.choice((0.001, 0.02, 0.1)),
            jitter=sometimes(0.3, 0.0, 0.03),
            rate=rng.choice((None, None, 150_000, 1_000_000)),
            queue=rng.choice((10_000, 60_000)),
            loss=sometimes(0.7, 0.0, 0.4),
            burst_loss=rng.choice((None, None, BurstLoss.averaging(0.1, length=8))),
            duplicate=sometimes(0.3, 0.0, 0.3),
            duplicate_delay=rng.choice((0.0, 0.2)),
            reorder=sometimes(0.3, 0.0, 0.3),
            reorder_delay=rng.choice((0.01, 0.1)),
            corrupt=sometimes(0.3, 0.0, 0.05) if checked else 0.0,
        )

    def config() -> Config:
        rwnd = rng.choice((1500, 8000, 50_000, 5 << 20))
        return patient(
            interleaving=rng.random() < 0.6,
            partial_reliability=rng.random() < 0.9,
            scheduler=rng.choice(SCHEDULERS),
            rwnd=rwnd,
            max_message_size=rng.choice((20_000, 262_144)),
            mtu=rng.choice((512, 1200, 1200, 1400)),
            sack_delay=rng.choice((0.0, 0.02, 0.2)),
            sack_frequency=rng.choice((1, 2, 2, 4)),
            initial_cwnd=rng.choice((2, 4, 10)),
            max_burst=rng.choice((1, 4)),
            send_buffer=rng.choice((5000, 1 << 20)),
            zero_checksum=not checked,
            outbound_streams=60_000,
            inbound_streams=60_000,
            heartbeat_interval=rng.choice((0, 5, 30)),
        )

    a, b = config(), config()
    tight = min(a.rwnd, b.rwnd) < 10_000
    resets = sometimes(0.5, 0.0, 0.3)
    return Scenario(
        name=f"random {seed}",
        seed=seed,
        conditions=conditions(),
        back=conditions(),
        config=a,
        config_b=rng.choice((a, b)),
        messages=rng.choice((50, 200)) if tight else rng.choice((50, 200, 500)),
        streams=rng.choice((1, 3, 16, 100)),
        sizes=rng.choice(((1, 100), (1, 1000, 5000), (1, 30, 1172, 20_000))),
        unordered=rng.choice((0.0, 0.3, 1.0)),
        unreliable=rng.choice((0.0, 0.3, 0.9)),
        window=rng.choice((5000, 200_000)),
        burst=rng.choice((3, 40)),
        reading=rng.choice(("at once", "late", "in bursts")),
        resets=resets,
        peer_resets=sometimes(0.2, 0.0, 0.2),
        association_resets=rng.choice((0, 0, 0, 1, 2)),
        adding_streams=rng.choice((0, 0, 2)),
        both_connect=rng.random() < 0.3,
        pauses=sometimes(0.2, 0.0, 0.02),
        limit=40_000.0,
    )
