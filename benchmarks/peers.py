"""rtcsctp beside aiortc and libdatachannel: the same work, in the same run, on the same computer.

    python benchmarks/peers.py [--quick | --full] [--rows bulk,ping] [--stacks rtcsctp,aiortc]
                               [--idle-pairs N] [--runs N] [--json FILE] [--markdown]

DTLS on, over the addresses of this computer, whose packets pass its loopback interface. In rows
with one process both ends share it, in rows with two each end has its own. Every measurement has
new processes; stacks take turns, run by run. What is measured:

- *bulk*, *small*: from the first message sent to the last one received, after a warm-up of an
  eighth of the work. All senders queue at most 1 MiB (`stacks/vocabulary.py`).
- *ping*: round-trip times of one message after the other.
- *task*: how much longer than the 1 ms that it wants another task of the same process sleeps while
  the bulk of the first row flows.
- *setup*: from making the offer to the first message at the other side, without trickle delay: each
  description has all candidates, or, with libdatachannel, they follow at once. The median of
  several pairs in one process, one after another, the first left out; and the fastest of them.
  With a certificate for each peer, and with one for all (ours only).
- *idle*: growth of the resident set by a pair that is connected and idle, and the share of a core
  that so many idle pairs take.
- *udp*: 16 KiB messages over SCTP in UDP without DTLS, beside usrsctp's tsctp, two processes.

`rtcsctp-1200` is ours without path MTU discovery. All else is measured as it is by default.
`rtcsctp-pure`, only where it is asked for, is the one without compiled modules beside one with them
(`nox -s compiled`).
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

from stacks import encapsulated
from stacks.catalogue import OURS, Stack, aiortc, interpreter, libdatachannel, ours, pure
from stacks.node import MissingError
from stacks.program import Program, ProgramError, join, run_program
from table import Row, Table, progress, show, write

BULK_SIZE = 16_384
SMALL_SIZE = 100
PING_SIZE = 64


@attrs.frozen(kw_only=True)
class Scale:
    """How much is done. Times are in seconds."""

    runs: int
    bulk_bytes: int
    small_messages: int
    pings: int
    setups: int
    idle_pairs: int
    idle_time: float
    udp_bytes: int


QUICK = Scale(
    runs=3,
    bulk_bytes=8 << 20,
    small_messages=10_000,
    pings=500,
    setups=10,
    idle_pairs=20,
    idle_time=5.0,
    udp_bytes=16 << 20,
)
USUAL = Scale(
    runs=5,
    bulk_bytes=32 << 20,
    small_messages=40_000,
    pings=3_000,
    setups=20,
    idle_pairs=50,
    idle_time=20.0,
    udp_bytes=64 << 20,
)
FULL = attrs.evolve(USUAL, runs=7, idle_pairs=1_000, idle_time=60.0)

SHARED = "setup-shared"

# --------------------------------------------------------------------------- what is measured

Values = dict[str, float]


@attrs.frozen(kw_only=True)
class Ends:
    """Two connected ends, each with the program that it is in."""

    left: Program
    right: Program
    left_name: str
    right_name: str

    async def transfer(self, size: int, count: int) -> float:
        """Seconds for so many messages one way."""
        answers: dict[str, dict[str, Any]] = {}

        async def ask(program: Program, do: str, **fields: Any) -> None:
            answers[do] = await program.call(do, count=count, **fields)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(ask, self.right, "receive", peer=self.right_name))
            nursery.start_soon(partial(ask, self.left, "send", peer=self.left_name, size=size))
        seconds: float = answers["receive"]["ended"] - answers["send"]["began"]
        return seconds

    async def ping(self, size: int, count: int) -> list[float]:
        """Round-trip times in seconds."""
        async with trio.open_nursery() as nursery:
            echo = partial(self.right.call, "echo", peer=self.right_name, count=count)
            nursery.start_soon(echo)
            answer = await self.left.call("ping", peer=self.left_name, size=size, count=count)
        times: list[float] = answer["seconds"]
        return times


@contextlib.asynccontextmanager
async def one_process(stack: Stack) -> AsyncIterator[Ends]:
    async with run_program(stack.command) as program:
        await program.call("pairs", count=1, options=stack.options)
        yield Ends(left=program, right=program, left_name="l0", right_name="r0")


@contextlib.asynccontextmanager
async def two_processes(stack: Stack) -> AsyncIterator[Ends]:
    async with run_program(stack.command) as left, run_program(stack.command) as right:
        await join(left, right, "p", stack.options)
        yield Ends(left=left, right=right, left_name="p", right_name="p")


OpenEnds = Callable[[Stack], contextlib.AbstractAsyncContextManager[Ends]]


async def bulk(open_ends: OpenEnds, key: str, stack: Stack, scale: Scale) -> Values:
    count = scale.bulk_bytes // BULK_SIZE
    async with open_ends(stack) as ends:
        await ends.transfer(BULK_SIZE, count // 8)
        seconds = await ends.transfer(BULK_SIZE, count)
    return {key: count * BULK_SIZE / seconds / 1e6}


async def small(open_ends: OpenEnds, key: str, stack: Stack, scale: Scale) -> Values:
    async with open_ends(stack) as ends:
        await ends.transfer(SMALL_SIZE, scale.small_messages // 8)
        seconds = await ends.transfer(SMALL_SIZE, scale.small_messages)
    return {key: scale.small_messages / seconds}


async def ping(open_ends: OpenEnds, key: str, stack: Stack, scale: Scale) -> Values:
    async with open_ends(stack) as ends:
        await ends.ping(PING_SIZE, scale.pings // 8)
        times = await ends.ping(PING_SIZE, scale.pings)
    return {
        f"{key}-median": statistics.median(times) * 1e3,
        f"{key}-99": statistics.quantiles(times, n=100)[98] * 1e3,
    }


async def other_task(stack: Stack, scale: Scale) -> Values:
    count = scale.bulk_bytes // BULK_SIZE
    async with one_process(stack) as ends:
        await ends.transfer(BULK_SIZE, count // 8)
        await ends.left.call("watch")
        await ends.transfer(BULK_SIZE, count)
        late = (await ends.left.call("watched"))["seconds"]
    return {
        "task-median": statistics.median(late) * 1e3,
        "task-99": statistics.quantiles(late, n=100)[98] * 1e3,
    }


async def set_up(stack: Stack, scale: Scale) -> Values:
    times = await _set_up(stack, scale, stack.options)
    values = {"setup": statistics.median(times), "setup-fastest": min(times)}
    if stack.name == OURS:
        options = {**stack.options, "certificate": True}
        values[SHARED] = statistics.median(await _set_up(stack, scale, options))
    return values


async def _set_up(stack: Stack, scale: Scale, options: dict[str, Any]) -> list[float]:
    """Milliseconds for each pair."""
    async with run_program(stack.command) as program:
        answer = await program.call("pairs", count=1 + scale.setups, options=options)
    return [seconds * 1e3 for seconds in answer["seconds"][1:]]


async def idle(stack: Stack, scale: Scale) -> Values:
    pairs = scale.idle_pairs
    async with run_program(stack.command) as program:
        # In steps: one answer has its time. The first pair brings imports and caches with it.
        await program.call("pairs", count=1, options=stack.options)
        await program.call("settle")
        before = program.resident
        for first in range(0, pairs, 50):
            await program.call("pairs", count=min(50, pairs - first), options=stack.options)
        await program.call("settle")
        memory = (program.resident - before) / pairs
        await trio.sleep(1.0)  # what follows a set-up is not idleness
        cpu = program.cpu
        await trio.sleep(scale.idle_time)
        cpu = program.cpu - cpu
    return {"memory": memory / 1024, "cpu": cpu / scale.idle_time * 100}


async def udp(stack: Stack, scale: Scale) -> Values:
    if stack.name not in ENCAPSULATED:
        return {}
    count = scale.udp_bytes // BULK_SIZE
    transfer = ENCAPSULATED[stack.name]
    seconds = await trio.to_thread.run_sync(transfer, count, BULK_SIZE)
    return {"udp": count * BULK_SIZE / seconds / 1e6}


ENCAPSULATED = {OURS: encapsulated.ours, "tsctp": encapsulated.tsctp}

# --------------------------------------------------------------------------- tables


@attrs.frozen(kw_only=True)
class Group:
    """Rows that one measurement gives."""

    key: str
    rows: Sequence[Row]
    measure: Callable[[Stack, Scale], Awaitable[Values]]


def _transport(open_ends: OpenEnds, suffix: str, where: str) -> list[Group]:
    def key(name: str) -> str:
        return name + suffix

    return [
        Group(
            key=key("bulk"),
            rows=[
                Row(
                    key=key("bulk"),
                    title=f"one way, 16 KiB messages, {where}",
                    unit="MB/s",
                    digits=1,
                    more_is_better=True,
                )
            ],
            measure=partial(bulk, open_ends, key("bulk")),
        ),
        Group(
            key=key("small"),
            rows=[
                Row(
                    key=key("small"),
                    title=f"one way, 100-byte messages, {where}",
                    unit="per second",
                    more_is_better=True,
                )
            ],
            measure=partial(small, open_ends, key("small")),
        ),
        Group(
            key=key("ping"),
            rows=[
                Row(
                    key=f"{key('ping')}-{what}",
                    title=f"ping-pong 64 B, {title}, {where}",
                    unit="ms",
                    digits=3,
                )
                for what, title in (("median", "median"), ("99", "99 %"))
            ],
            measure=partial(ping, open_ends, key("ping")),
        ),
    ]


def groups(scale: Scale) -> list[Group]:
    pairs = scale.idle_pairs
    return [
        *_transport(one_process, "", "one process"),
        *_transport(two_processes, "-2", "two processes"),
        Group(
            key="task",
            rows=[
                Row(
                    key=f"task-{what}",
                    title=f"delay of another task beside bulk, {title}",
                    unit="ms",
                    digits=2,
                )
                for what, title in (("median", "median"), ("99", "99 %"))
            ],
            measure=other_task,
        ),
        Group(
            key="setup",
            rows=[
                Row(key="setup", title="set-up of a pair", unit="ms", digits=1),
                Row(key="setup-fastest", title="the fastest of them", unit="ms", digits=1),
                Row(key=SHARED, title="set-up, one certificate for all", unit="ms", digits=1),
            ],
            measure=set_up,
        ),
        Group(
            key="idle",
            rows=[
                Row(key="memory", title=f"memory per idle pair (of {pairs:,})", unit="KiB"),
                Row(key="cpu", title=f"CPU of {pairs:,} idle pairs", unit="% of a core", digits=2),
            ],
            measure=idle,
        ),
    ]


UDP = Group(
    key="udp",
    rows=[
        Row(
            key="udp",
            title="16 KiB messages in UDP without DTLS, two processes",
            unit="MB/s",
            digits=1,
            more_is_better=True,
        )
    ],
    measure=udp,
)

MAKERS: dict[str, Callable[[], Stack]] = {
    OURS: ours,
    "rtcsctp-1200": partial(ours, "rtcsctp-1200", path_mtu_discovery=False),
    "aiortc": aiortc,
    "libdatachannel": libdatachannel,
    "rtcsctp-pure": pure,
}
USUAL_STACKS = [name for name in MAKERS if name != "rtcsctp-pure"]
KEYS = [group.key for group in [*groups(USUAL), UDP]]


async def measure(
    table: Table, stacks: Sequence[Stack], chosen: Sequence[Group], scale: Scale
) -> None:
    """Fill the table: each group in so many runs, stacks in turn within each run."""
    for group in chosen:
        for run in range(scale.runs):
            # Whoever comes first in one run comes last in the next.
            for stack in [*stacks[run % len(stacks) :], *stacks[: run % len(stacks)]]:
                if any(table.failed(row.key, stack.name) for row in group.rows):
                    continue
                progress(f"{group.key}, run {run + 1}: {stack.name}")
                try:
                    values = await group.measure(stack, scale)
                except* (ProgramError, encapsulated.TransferError) as errors:
                    for row in group.rows:
                        table.fail(row.key, stack.name, _first(errors))
                else:
                    for key, value in values.items():
                        table.add(key, stack.name, value)
    progress()


def _first(errors: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)


def webrtc_table(names: Sequence[str], chosen: Sequence[Group], scale: Scale) -> Table:
    stacks, missing = [], {}
    for name in names:
        try:
            stacks.append(MAKERS[name]())
        except MissingError as error:
            missing[name] = str(error)
    versions = ", ".join(f"{stack.name} {stack.version}" for stack in stacks)
    table = Table(
        title=f"WebRTC data channels: {versions}; {interpreter()}; {scale.runs} runs",
        rows=[row for group in chosen for row in group.rows],
        columns=[stack.name for stack in stacks],
        reference=OURS,
        missing=missing,
    )
    if stacks and chosen:
        trio.run(measure, table, stacks, chosen, scale)
    return table


def udp_table(scale: Scale) -> Table:
    stacks, missing = [ours()], {}
    reason = encapsulated.missing()
    if reason is None:
        stacks.append(attrs.evolve(stacks[0], name="tsctp"))
    else:
        missing["tsctp"] = reason
    table = Table(
        title=f"SCTP in UDP: usrsctp's tsctp logs every packet to /dev/null; {scale.runs} runs",
        rows=UDP.rows,
        columns=[stack.name for stack in stacks],
        reference=OURS,
        missing=missing,
    )
    trio.run(measure, table, stacks, [UDP], scale)
    return table


def _names(known: Sequence[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return names

    return parse


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    much = parser.add_mutually_exclusive_group()
    much.add_argument("--quick", action="store_true", help="less, for a first impression")
    much.add_argument("--full", action="store_true", help="more runs, and 1,000 idle pairs")
    parser.add_argument(
        "--rows", type=_names(KEYS), default=KEYS, help=f"some of {', '.join(KEYS)}"
    )
    parser.add_argument(
        "--stacks",
        type=_names(list(MAKERS)),
        default=USUAL_STACKS,
        help=f"some of {', '.join(MAKERS)}",
    )
    parser.add_argument("--idle-pairs", type=int, help="how many to hold")
    parser.add_argument("--runs", type=int, help="how often everything is measured")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--markdown", action="store_true", help="print the table for a README")
    options = parser.parse_args()
    scale = QUICK if options.quick else FULL if options.full else USUAL
    if options.idle_pairs:
        scale = attrs.evolve(scale, idle_pairs=options.idle_pairs)
    if options.runs:
        scale = attrs.evolve(scale, runs=options.runs)
    chosen = [group for group in groups(scale) if group.key in options.rows]
    tables = []
    if chosen:
        tables.append(webrtc_table(options.stacks, chosen, scale))
    if UDP.key in options.rows:
        tables.append(udp_table(scale))
    show(tables, markdown=options.markdown)
    write(tables, options.json)


if __name__ == "__main__":
    main()
