"""Ours, aiortc and libdatachannel over emulated links: real sockets, two processes, DTLS.

    python benchmarks/links.py [--quick] [--links dsl,lossy] [--stacks aiortc] [--parts one,bulk]
                               [--runs N] [--json FILE] [--markdown]

The links are those of `emulator.py`, which see; each has a queue of one bandwidth-delay product in
each direction. It needs root; without, nothing is measured, and that is said. Ours is measured with
each congestion controller. Shares are those of the link's whole rate, of which IP, UDP, DTLS and
SCTP headers need some 6 % in packets of 1,200 bytes. The parts:

- *one*: how long the first megabyte of a new connection takes, in multiples of the ideal: half of
  the round-trip time, and the megabyte at the link's rate.
- *bulk*: 16 KiB messages for some seconds over a new connection: the share of the link that arrives
  as messages, from the first message on, and from a second later; the time that packets waited in
  the link's queue; the bytes that the link carried beyond those of the messages, in percent; and
  what ours counted as sent again, in percent of chunks.
- *fairness*: two such flows at once, each end in a process of its own, over the first link. Jain's
  index of what both have got in the second half of the time, 1 being fair and 0.5 one that has all.
  And beside a flow of ours with "rfc9260": how much of what both got was not that flow's; 0.5 is
  fair.
- *delay*: 99 % of the times that a 1 kB message takes one way, one being sent every 20 ms, in
  round-trip times, with 2 % loss on the first link.

Beside the tables stands how late the emulator was: it must be small against the round-trip times.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

import rtcsctp
from emulator import EmulatorError, Link, missing, open_link
from stacks.catalogue import (
    OURS,
    Stack,
    aiortc,
    has_setting,
    interpreter,
    libdatachannel,
    ours,
)
from stacks.node import MissingError
from stacks.program import Program, ProgramError, join, run_program
from table import Row, Table, progress, show, write

CONTROLLERS = ("rfc9260", "cubic", "bbr", "ledbat")
MEGABYTE = 1_000_000
ONE_SIZE = 15_625  # a 64th of it
BULK_SIZE = 16_384
DELAY_SIZE = 1_000
DELAY_INTERVAL = 0.02
STEP = 0.1  # seconds in which what arrives is added up


@attrs.frozen(kw_only=True)
class Profile:
    """A link. Bits per second, seconds, and a share of packets."""

    key: str
    rate: float
    rtt: float
    loss: float = 0.0

    @property
    def name(self) -> str:
        loss = f", {self.loss * 100:g} % loss" if self.loss else ""
        return f"{self.rate / 1e6:g} Mbit/s, {self.rtt * 1e3:g} ms{loss}"

    @property
    def queue(self) -> int:
        """Bytes: one bandwidth-delay product, and no less than 16 packets."""
        return max(16 * 1500, round(self.rate / 8 * self.rtt))

    @property
    def ideal(self) -> float:
        """Seconds for a megabyte."""
        return self.rtt / 2 + MEGABYTE * 8 / self.rate


PROFILES = [
    Profile(key="usual", rate=50e6, rtt=0.050),
    Profile(key="lossy", rate=50e6, rtt=0.050, loss=0.01),
    Profile(key="fat", rate=100e6, rtt=0.100),
    Profile(key="fat-lossy", rate=100e6, rtt=0.100, loss=0.01),
    Profile(key="dsl", rate=10e6, rtt=0.020),
    Profile(key="far", rate=20e6, rtt=0.200, loss=0.001),
]
USUAL = PROFILES[0]
LOSSY = attrs.evolve(USUAL, key="delay", loss=0.02)
PARTS = ("one", "bulk", "fairness", "delay")


@attrs.frozen(kw_only=True)
class Scale:
    """How often, and for how many seconds."""

    runs: int
    bulk: float
    fairness: float
    delay: float


QUICK = Scale(runs=1, bulk=5.0, fairness=8.0, delay=6.0)
THOROUGH = Scale(runs=3, bulk=8.0, fairness=12.0, delay=12.0)

Values = dict[str, float]

# --------------------------------------------------------------------------- measuring


@attrs.define
class Flow:
    """One way of bulk, between programs at both ends of a link."""

    left: Program
    right: Program
    peer: str
    amounts: list[int] = attrs.field(factory=list)

    async def run(self, seconds: float) -> None:
        """Send for so long, from the first message that arrives; `amounts` per STEP."""
        async with trio.open_nursery() as nursery:
            sending = {"peer": self.peer, "size": BULK_SIZE, "seconds": seconds + 30}
            nursery.start_soon(partial(self.left.call, "send_for", **sending))
            answer = await self.right.call(
                "receive_for", peer=self.peer, seconds=seconds, step=STEP
            )
            nursery.cancel_scope.cancel()
        self.amounts = answer["bytes"]

    def rate(self, first: float = 0.0) -> float:
        """Bits per second that arrived, after so many seconds."""
        counted = self.amounts[round(first / STEP) :]
        return sum(counted) * 8 / (len(counted) * STEP)


@attrs.define
class Lateness:
    """How late the emulator was, over all runs, in seconds."""

    mean: float = 0.0
    worst: float = 0.0

    def note(self, report: Sequence[dict[str, float]]) -> None:
        self.mean = max(self.mean, *(way["late_mean"] for way in report))
        self.worst = max(self.worst, *(way["late_worst"] for way in report))


def start(stack: Stack, link: Link, end: int) -> Any:
    return run_program(stack.command.inside(link.prefixes[end]))


def link_of(profile: Profile, seed: int) -> Any:
    return open_link(
        rate=profile.rate, rtt=profile.rtt, queue=profile.queue, loss=profile.loss, seed=seed
    )


async def one_and_bulk(
    stack: Stack, profile: Profile, scale: Scale, parts: Sequence[str], seed: int, late: Lateness
) -> Values:
    values = {}
    with link_of(profile, seed) as link:
        async with start(stack, link, 0) as left, start(stack, link, 1) as right:
            if "one" in parts:
                seconds = await megabyte(left, right, stack)
                values[f"one-{profile.key}"] = seconds / profile.ideal
            if "bulk" in parts:
                await join(left, right, "bulk", stack.options)
                late.note(link.report())
                flow = Flow(left, right, "bulk")
                await flow.run(scale.bulk)
                report = link.report()
                late.note(report)
                counted = await left.call("statistics", peer="bulk")
                values |= bulk_values(flow, report[0], counted, profile)
    return values


async def megabyte(left: Program, right: Program, stack: Stack) -> float:
    """Seconds for the first one of a connection."""
    await join(left, right, "one", stack.options)
    began = 0.0

    async def send() -> None:
        nonlocal began
        answer = await left.call("send", peer="one", size=ONE_SIZE, count=MEGABYTE // ONE_SIZE)
        began = answer["began"]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        answer = await right.call("receive", peer="one", count=MEGABYTE // ONE_SIZE)
    ended: float = answer["ended"]
    return ended - began


def bulk_values(
    flow: Flow, way: dict[str, float], counted: dict[str, Any], profile: Profile
) -> Values:
    values = {
        "share": flow.rate(1.0) / profile.rate,
        "share-start": flow.rate() / profile.rate,
        "queue-mean": way["waited_mean"] * 1e3,
        "queue-worst": way["waited_worst"] * 1e3,
        "overhead": (way["bytes"] / max(1, sum(flow.amounts)) - 1) * 100,
    }
    if chunks := counted.get("data_chunks_sent"):
        again = counted["fast_retransmits"] + counted["timeout_retransmits"]
        values["again"] = again / chunks * 100
    return {f"{key}-{profile.key}": value for key, value in values.items()}


async def two_flows(
    stack: Stack, other: Stack, scale: Scale, seed: int, late: Lateness
) -> list[float]:
    """What each got in the second half, bits per second."""
    with link_of(USUAL, seed) as link:
        async with (
            start(stack, link, 0) as left,
            start(stack, link, 1) as right,
            start(other, link, 0) as other_left,
            start(other, link, 1) as other_right,
        ):
            await join(left, right, "flow", stack.options)
            await join(other_left, other_right, "flow", other.options)
            flows = [Flow(left, right, "flow"), Flow(other_left, other_right, "flow")]
            async with trio.open_nursery() as nursery:
                for flow in flows:
                    nursery.start_soon(flow.run, scale.fairness)
            late.note(link.report())
    return [flow.rate(scale.fairness / 2) for flow in flows]


def jain(rates: Sequence[float]) -> float:
    squares = sum(rate * rate for rate in rates)
    return sum(rates) ** 2 / (len(rates) * squares) if squares else 0.0


async def fairness(
    stack: Stack, reference: Stack, scale: Scale, seed: int, late: Lateness
) -> Values:
    own, theirs = await two_flows(stack, reference, scale, seed, late)
    return {
        "jain": jain(await two_flows(stack, stack, scale, seed, late)),
        "towards": own / max(1.0, own + theirs),
    }


async def delay(stack: Stack, scale: Scale, seed: int, late: Lateness) -> Values:
    count = round(scale.delay / DELAY_INTERVAL)
    with link_of(LOSSY, seed) as link:
        async with start(stack, link, 0) as left, start(stack, link, 1) as right:
            await join(left, right, "paced", stack.options)
            async with trio.open_nursery() as nursery:
                sending = {"size": DELAY_SIZE, "count": count, "interval": DELAY_INTERVAL}
                nursery.start_soon(partial(left.call, "paced", peer="paced", **sending))
                answer = await right.call("delays", peer="paced", count=count)
            late.note(link.report())
    times = statistics.quantiles(answer["seconds"], n=100)
    return {"delay-50": times[49] / LOSSY.rtt, "delay-99": times[98] / LOSSY.rtt}


# --------------------------------------------------------------------------- the table


def rows(profiles: Sequence[Profile], parts: Sequence[str]) -> list[Row]:
    found: list[Row] = []

    def add(key: str, title: str, unit: str, digits: int, *, more: bool = False) -> None:
        found.append(Row(key=key, title=title, unit=unit, digits=digits, more_is_better=more))

    for profile in profiles:
        key, name = profile.key, profile.name
        if "one" in parts:
            add(f"one-{key}", f"{name}: 1 MB", "ideals", 2)
        if "bulk" in parts:
            add(f"share-{key}", f"{name}: share after 1 s", "", 3, more=True)
            add(f"share-start-{key}", f"{name}: share from the start", "", 3, more=True)
            add(f"queue-mean-{key}", f"{name}: queue, mean", "ms", 1)
            add(f"queue-worst-{key}", f"{name}: queue, worst", "ms", 1)
            add(f"overhead-{key}", f"{name}: overhead", "%", 1)
            add(f"again-{key}", f"{name}: sent again", "%", 2)
    if "fairness" in parts:
        add("jain", f"{USUAL.name}: two flows, Jain's index", "", 3, more=True)
        add("towards", f"{USUAL.name}: share beside rfc9260", "", 2, more=True)
    if "delay" in parts:
        add("delay-50", f"{LOSSY.name}: 1 kB one way, median", "RTT", 2)
        add("delay-99", f"{LOSSY.name}: 1 kB one way, 99 %", "RTT", 2)
    return found


def our_stacks() -> dict[str, Callable[[], Stack]]:
    """Ours, once for each congestion controller that it has."""
    if not has_setting("congestion_control"):
        return {OURS: ours}
    return {name: partial(ours, name, congestion_control=name) for name in CONTROLLERS}


def default_name() -> str:
    """The column of ours as it is by default."""
    if not has_setting("congestion_control"):
        return OURS
    return str(attrs.fields_dict(rtcsctp.Config)["congestion_control"].default)


MAKERS: dict[str, Callable[[], Stack]] = {
    **our_stacks(),
    "aiortc": aiortc,
    "libdatachannel": libdatachannel,
}


async def measure(
    table: Table,
    stacks: Sequence[Stack],
    profiles: Sequence[Profile],
    parts: Sequence[str],
    scale: Scale,
) -> Lateness:
    late = Lateness()
    reference = next(iter(our_stacks().values()))()  # "rfc9260", where there is a choice

    async def attempt(what: str, stack: Stack, doing: Callable[[], Any]) -> None:
        progress(f"run {run + 1}: {what}, {stack.name}")
        try:
            values = await doing()
        except* (ProgramError, EmulatorError) as errors:
            failures.append(f"{what}, {stack.name}: {errors.exceptions[0]}")
        else:
            for key, value in values.items():
                table.add(key, stack.name, value)

    failures: list[str] = []
    for run in range(scale.runs):
        for profile in profiles:
            for stack in stacks:
                doing = partial(one_and_bulk, stack, profile, scale, parts, run, late)
                if "one" in parts or "bulk" in parts:
                    await attempt(profile.name, stack, doing)
        for stack in stacks:
            if "fairness" in parts:
                doing = partial(fairness, stack, reference, scale, run, late)
                await attempt("fairness", stack, doing)
            if "delay" in parts:
                await attempt("delay", stack, partial(delay, stack, scale, run, late))
    progress()
    for failure in failures:
        print(f"failed: {failure}")
    return late


def _names(known: Sequence[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return names

    return parse


def main() -> None:
    keys, stacks = [profile.key for profile in PROFILES], list(MAKERS)
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short run of everything")
    for option, known in (("--links", keys), ("--stacks", stacks), ("--parts", list(PARTS))):
        what = f"some of {', '.join(known)}"
        parser.add_argument(option, type=_names(known), default=known, help=what)
    parser.add_argument("--runs", type=int, help="how often everything is measured")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--markdown", action="store_true", help="print the table for a README")
    options = parser.parse_args()
    if reason := missing():
        print(f"emulated links: missing: {reason}")
        return
    scale = QUICK if options.quick else THOROUGH
    if options.runs:
        scale = attrs.evolve(scale, runs=options.runs)
    present, absent = [], {}
    for name in options.stacks:
        try:
            present.append(MAKERS[name]())
        except MissingError as error:
            absent[name] = str(error)
    profiles = [profile for profile in PROFILES if profile.key in options.links]
    versions = ", ".join(f"{stack.name} {stack.version}" for stack in present)
    table = Table(
        title=f"Emulated links: {versions}; {interpreter()}; {scale.runs} runs",
        rows=rows(profiles, options.parts),
        columns=[stack.name for stack in present],
        reference=default_name(),
        missing=absent,
    )
    late = trio.run(measure, table, present, profiles, options.parts, scale)
    show([table], markdown=options.markdown)
    write([table], options.json)
    print(
        f"The emulator delivered packets late by {late.mean * 1e3:.2f} ms on average in its worst "
        f"run, by {late.worst * 1e3:.1f} ms at worst."
    )


if __name__ == "__main__":
    main()
