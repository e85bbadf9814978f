"""Whole associations over bad networks; see `harness` for what must hold.

Some seconds of it always run. ``RTCSCTP_CHAOS=500`` plays 500 random scenarios instead of a few,
and ``RTCSCTP_CHAOS=500 RTCSCTP_CHAOS_FROM=1000`` others; a failure names the seed, and
``random_scenario(seed)`` plays it again.
"""

from __future__ import annotations

import os

import attrs
import pytest

from rtcsctp.sctp.events import MessageAbandoned
from rtcsctp.testing import TraceEntry

from .harness import Scenario, run
from .scenarios import NAMED, random_scenario

pytestmark = pytest.mark.chaos

_COUNT = int(os.environ.get("RTCSCTP_CHAOS", "8"))
_FROM = int(os.environ.get("RTCSCTP_CHAOS_FROM", "0"))


@pytest.mark.parametrize("scenario", NAMED, ids=lambda scenario: scenario.name)
def test_named_scenarios(scenario: Scenario) -> None:
    result = run(scenario, trace=True)
    if not scenario.unreliable:
        total = len(result.a.sent) + len(result.b.sent)
        assert result.delivered == total
        given_up = [
            event
            for event in (*result.pair.events_a, *result.pair.events_b)
            if isinstance(event, MessageAbandoned)
        ]
        assert not given_up


@pytest.mark.parametrize("seed", range(_FROM, _FROM + _COUNT))
def test_random_scenarios(seed: int) -> None:
    run(random_scenario(seed), trace=True)


@pytest.mark.parametrize(
    "name", ["everything at once, and limited reliability", "resets", "loss 40 %"]
)
def test_the_same_seed_gives_the_same_packets(name: str) -> None:
    """Bytes, times and fates; and another seed gives others."""
    scenario = next(scenario for scenario in NAMED if scenario.name == name)
    scenario = attrs.evolve(scenario, messages=150)

    def trace(seed: int) -> list[TraceEntry]:
        return run(attrs.evolve(scenario, seed=seed), trace=True).pair.network.trace

    first = trace(7)
    assert first == trace(7)
    assert first != trace(8)
