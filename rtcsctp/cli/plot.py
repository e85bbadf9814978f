"""A transfer over time, drawn: windows, round-trip time, queue, goodput."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import attrs

from rtcsctp.cli.failure import CommandError

__all__ = ["Sample", "draw", "need_matplotlib"]


@attrs.frozen(kw_only=True)
class Sample:
    """What was seen of a transfer at one moment. Times are in seconds, sizes in bytes."""

    time: float
    """Since it began."""
    cwnd: int
    flight: int
    rtt: float
    """Smoothed, as the sender has it."""
    queue: float
    """How long a packet waits at the bottleneck."""
    arrived: int
    """User data, so far."""
    timeouts: int
    """Expiries of T3-rtx, so far."""


def need_matplotlib() -> None:
    """Make sure that what the extra `plot` brings is there.

    Raises:
        CommandError: it is not.
    """
    try:
        importlib.import_module("matplotlib")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        raise CommandError(
            "a plot needs matplotlib; install it with: pip install 'rtcsctp[plot]'"
        ) from error


def draw(path: Path, samples: Sequence[Sample], title: str, rate: float) -> None:
    """Draw a transfer into a file; its name says of which kind.

    Args:
        path: is replaced if it exists.
        samples: of the transfer, in order.
        title: is above it.
        rate: of the link, bits per second.

    Raises:
        OSError: the file cannot be written.
    """
    # The other commands do without what the extra brings. No pyplot: it looks for a display.
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(10, 9), layout="constrained")
    windows, rtt, queue, goodput = figure.subplots(4, 1, sharex=True)
    figure.suptitle(title)
    times = [sample.time for sample in samples]

    windows.plot(
        times, [s.cwnd / 1e3 for s in samples], label="congestion window", linewidth=3, alpha=0.5
    )
    windows.plot(times, [s.flight / 1e3 for s in samples], label="in flight", linewidth=0.7)
    windows.set_ylabel("windows, kB")
    rtt.plot(times, [s.rtt * 1e3 for s in samples], color="C2", linewidth=1)
    rtt.set_ylabel("smoothed RTT, ms")
    queue.plot(times, [s.queue * 1e3 for s in samples], color="C4", linewidth=0.8)
    queue.set_ylabel("queue, ms")
    middles, rates = _goodput(samples)
    goodput.plot(middles, [value / 1e6 for value in rates], color="C0", linewidth=1)
    goodput.axhline(rate / 1e6, color="0.6", linestyle="--", linewidth=0.8, label="link")
    goodput.set_ylabel("goodput, Mbit/s")
    goodput.set_xlabel("virtual time, s")
    for number, (before, after) in enumerate(
        [pair for pair in pairwise(samples) if pair[1].timeouts > pair[0].timeouts]
    ):
        label = "timeout" if not number else None
        windows.axvline((before.time + after.time) / 2, color="C3", linewidth=0.8, label=label)
    for axes in (windows, goodput):
        # Above the drawing, where no curve can be.
        axes.legend(
            loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize="small", frameon=False
        )
    for axes in (windows, rtt, queue, goodput):
        # matplotlib's own margin is a share of the difference between the values, not of them.
        _, highest = axes.dataLim.intervaly
        axes.set_ylim(bottom=0, top=1.1 * highest if 0 < highest < math.inf else None)
        axes.grid(visible=True, alpha=0.3)
    figure.savefig(path)


def _goodput(samples: Sequence[Sample]) -> tuple[list[float], list[float]]:
    """Bits per second over a hundredth of the time each, and the middles of these."""
    stride = max(1, len(samples) // 100)
    marks = [Sample(time=0, cwnd=0, flight=0, rtt=0, queue=0, arrived=0, timeouts=0)]
    marks += samples[stride - 1 :: stride]
    middles, rates = [], []
    for before, after in pairwise(marks):
        if after.time > before.time:
            middles.append((before.time + after.time) / 2)
            rates.append(8 * (after.arrived - before.arrived) / (after.time - before.time))
    return middles, rates
