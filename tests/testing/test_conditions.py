"""What may and may not be asked of a simulated network."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest

from rtcsctp.testing import BurstLoss, Conditions


def test_the_default_is_a_perfect_network() -> None:
    conditions = Conditions()
    assert conditions == Conditions(
        delay=0.0, jitter=0.0, rate=None, queue=None, mtu=None, loss=0.0, burst_loss=None
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("delay", -0.1),
        ("delay", math.inf),
        ("delay", math.nan),
        ("jitter", -1),
        ("rate", 0),
        ("rate", -5.0),
        ("rate", math.nan),
        ("queue", -1),
        ("overhead", -1),
        ("mtu", -1),
        ("loss", 1.5),
        ("loss", -0.1),
        ("loss", math.nan),
        ("duplicate", 2),
        ("duplicate_delay", -1),
        ("reorder_delay", -1),
        ("corrupt", 1.01),
    ],
)
def test_impossible_values_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        Conditions(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("delay", "1"), ("loss", True), ("queue", 1.5), ("rate", "fast"), ("burst_loss", 0.1)],
)
def test_values_of_another_type_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=name):
        Conditions(**{name: value})


def test_reordering_without_a_delay_is_refused() -> None:
    with pytest.raises(ValueError, match="reorder_delay"):
        Conditions(reorder=0.1)
    assert Conditions(reorder=0.1, reorder_delay=0.01).reorder == 0.1


def test_conditions_are_changed_by_making_others() -> None:
    conditions = Conditions(delay=0.1)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        conditions.delay = 0.2  # type: ignore[misc]
    assert attrs.evolve(conditions, loss=0.5) == Conditions(delay=0.1, loss=0.5)


def test_burst_loss_from_average_and_length() -> None:
    bursts = BurstLoss.averaging(0.1, length=4)
    assert bursts.leave == 0.25
    assert bursts.average_loss == pytest.approx(0.1)
    assert BurstLoss.averaging(0.0, length=1).enter == 0.0


def test_impossible_bursts_are_refused() -> None:
    with pytest.raises(ValueError, match="leave"):
        BurstLoss(enter=0.1, leave=0.0)
    with pytest.raises(ValueError, match="enter"):
        BurstLoss(enter=1.1, leave=0.5)
    with pytest.raises(ValueError, match="share"):
        BurstLoss.averaging(1.0, length=4)
    with pytest.raises(ValueError, match="length"):
        BurstLoss.averaging(0.1, length=0.5)
    with pytest.raises(ValueError, match="longer bursts"):
        BurstLoss.averaging(0.9, length=2)
