"""How cost grows: with channels, with associations on one port, with messages, with the window.

    python benchmarks/growth.py [--quick] [--rows channels,associations,messages,windows]
                                [--runs N] [--json FILE] [--markdown]

Both ends in one process and one thread, over loopback UDP without DTLS, except where there are
channels: those are of a peer connection, with DTLS. Each figure is the median of several runs that
take turns, with the lowest and the highest; a row that is not flat has its reason below the table.
Throughput is by the clock, time per message is CPU time of both ends together.

- *channels*: messages of 1,000 bytes, sent on all channels of one connection in turn, 64 of them
  under way at a time; a task for each channel receives.
- *associations*: messages of 1,000 bytes, over all associations with one UDP port of a listener in
  turn, 64 under way at a time; all clients are on one UDP port too. Their set-up, one after
  another, beside it.
- *messages*: 10 bytes to 10 MB, over one association.
- *windows*: messages of 16 KiB with a receive window of 64 KiB to 64 MiB.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import attrs
import trio

import rtcsctp
from stacks.catalogue import interpreter
from table import Row, Table, progress, show, write

PORT = 5001
HOST = "127.0.0.1"
SIZE = 1_000
WINDOW_SIZE = 16_384
SEND_BUFFER = 1 << 20
MOST = 64
"""Messages under way at a time where many channels or associations send. Without a limit, thousands
of packets at once would overflow the socket's buffer, and the loss would be what is measured."""


@attrs.frozen(kw_only=True)
class Scale:
    """How much is done in a run, and how many runs there are."""

    runs: int
    messages: int
    bulk_bytes: int
    most_messages: int
    counts: Sequence[int]


QUICK = Scale(
    runs=3, messages=5_000, bulk_bytes=4 << 20, most_messages=5_000, counts=(1, 10, 100, 1_000)
)
THOROUGH = Scale(
    runs=5, messages=40_000, bulk_bytes=64 << 20, most_messages=40_000, counts=(1, 10, 100, 1_000)
)

# --------------------------------------------------------------------------- moving messages


@attrs.frozen(kw_only=True)
class Times:
    """What moving messages took, in seconds; `collecting` garbage is part of `cpu`."""

    elapsed: float
    cpu: float
    collecting: float


class Collecting:
    """CPU seconds that garbage collection has taken."""

    def __init__(self) -> None:
        self.total = 0.0
        self._began = 0.0

    def note(self, phase: str, _information: dict[str, int]) -> None:
        now = time.process_time()
        if phase == "start":
            self._began = now
        else:
            self.total += now - self._began


@contextlib.contextmanager
def collecting() -> Iterator[Collecting]:
    """Watch the garbage collection of a block."""
    watch = Collecting()
    gc.callbacks.append(watch.note)
    try:
        yield watch
    finally:
        gc.callbacks.remove(watch.note)


class Sender(Protocol):
    def send_nowait(self, data: bytes, /) -> None: ...


class Receiver(Protocol):
    async def receive_many(self) -> Sequence[object]: ...


async def move(
    senders: Sequence[Sender],
    receivers: Sequence[Receiver],
    wait_room: Callable[[int], Awaitable[None]],
    data: bytes,
    count: int,
    most: int,
) -> Times:
    """Until `count` messages, by all senders in turn, have been received.

    No more than `most` are under way at a time, whoever sent them.
    """
    received = 0
    progressed = trio.Event()

    async def receive(receiver: Receiver) -> None:
        nonlocal received
        while True:
            messages = await receiver.receive_many()
            received += len(messages)  # not in one line: others count while this waits
            progressed.set()

    async def wait_received(wanted: int) -> None:
        nonlocal progressed
        while received < wanted:
            progressed = trio.Event()
            await progressed.wait()

    with collecting() as garbage:
        async with trio.open_nursery() as nursery:
            for receiver in receivers:
                nursery.start_soon(receive, receiver)
            began, cpu = time.perf_counter(), time.process_time()
            for number in range(count):
                if number - received >= most:
                    await wait_received(number - most // 2)
                index = number % len(senders)
                try:
                    senders[index].send_nowait(data)
                except trio.WouldBlock:
                    await wait_room(index)
                    senders[index].send_nowait(data)
            await wait_received(count)
            elapsed, cpu = time.perf_counter() - began, time.process_time() - cpu
            nursery.cancel_scope.cancel()
    return Times(elapsed=elapsed, cpu=cpu, collecting=garbage.total)


@contextlib.asynccontextmanager
async def associations(
    count: int, config: rtcsctp.Config
) -> AsyncIterator[tuple[list[rtcsctp.Association], list[rtcsctp.Association], float]]:
    """So many, between two UDP ports: the clients' ends, the listener's, and seconds for each."""
    send, receive = trio.open_memory_channel[rtcsctp.Association](count)

    async def handler(association: rtcsctp.Association) -> None:
        send.send_nowait(association)
        await association.wait_closed()

    async with trio.open_nursery() as nursery, contextlib.AsyncExitStack() as stack:
        address = await nursery.start(
            partial(rtcsctp.listen, handler, port=PORT, udp=(HOST, 0), config=config)
        )
        endpoint = await stack.enter_async_context(rtcsctp.open_udp(HOST))
        clients, servers = [], []
        began = time.perf_counter()
        for _ in range(count):
            opening = endpoint.connect(address, port=PORT, config=config)
            clients.append(await stack.enter_async_context(opening))
            servers.append(await receive.receive())
        each = (time.perf_counter() - began) / count
        yield clients, servers, each
        for association in clients:
            association.abort()
        nursery.cancel_scope.cancel()


async def over_associations(
    count: int, config: rtcsctp.Config, data: bytes, messages: int, most: int
) -> tuple[Times, float]:
    """What so many messages over all of them take, and the set-up of each."""
    async with associations(count, config) as (clients, servers, each):
        streams = [client.stream(0) for client in clients]
        for stream in streams:
            stream.buffered_amount_low_threshold = SEND_BUFFER // 2
        receivers = [server.stream(0) for server in servers]

        async def wait_room(index: int) -> None:
            await streams[index].wait_buffered_low()

        await move(streams, receivers, wait_room, data, max(count, messages // 8), most)
        return await move(streams, receivers, wait_room, data, messages, most), each


async def over_channels(count: int, data: bytes, messages: int) -> Times:
    """What so many messages over all channels of a connection take."""
    async with rtcsctp.open_peer() as left, rtcsctp.open_peer() as right:
        senders = [left.create_channel(str(number)) for number in range(count)]
        await left.accept(await right.answer(await left.offer()))
        receivers = [await right.incoming.receive() for _ in range(count)]
        for sender in senders:
            await sender.wait_open()

        async def wait_room(index: int) -> None:
            await senders[index].wait_room()

        await move(senders, receivers, wait_room, data, max(count, messages // 8), MOST)
        times = await move(senders, receivers, wait_room, data, messages, MOST)
        await left.abort()
        await right.abort()
    return times


# --------------------------------------------------------------------------- tables

Values = dict[str, float]

RATE = Row(key="rate", title="throughput", unit="MB/s", digits=1, more_is_better=True)
COST = Row(key="cost", title="CPU per message", unit="µs", digits=1)
GARBAGE = Row(key="garbage", title="of it garbage collection", unit="µs", digits=1)
PER_BYTE = Row(key="per-kb", title="CPU per kB", unit="µs", digits=2)
SET_UP = Row(key="set-up", title="set-up of each", unit="ms", digits=2)


def values_of(times: Times, size: int, count: int) -> Values:
    total = size * count
    return {
        "rate": total / times.elapsed / 1e6,
        "cost": times.cpu / count * 1e6,
        "garbage": times.collecting / count * 1e6,
        "per-kb": times.cpu / total * 1e9,
    }


@attrs.frozen(kw_only=True)
class Growth:
    """A table: what grows, and why its rows are not flat where they are not."""

    key: str
    title: str
    rows: Sequence[Row]
    steps: Callable[[Scale], dict[str, Callable[[], Awaitable[Values]]]]
    why: str


def channel_steps(scale: Scale) -> dict[str, Callable[[], Awaitable[Values]]]:
    async def measure(count: int) -> Values:
        times = await over_channels(count, bytes(SIZE), scale.messages)
        return values_of(times, SIZE, scale.messages)

    return {f"{count:,}": partial(measure, count) for count in scale.counts}


def association_steps(scale: Scale) -> dict[str, Callable[[], Awaitable[Values]]]:
    async def measure(count: int) -> Values:
        config = rtcsctp.Config()
        times, each = await over_associations(count, config, bytes(SIZE), scale.messages, MOST)
        return {**values_of(times, SIZE, scale.messages), "set-up": each * 1e3}

    return {f"{count:,}": partial(measure, count) for count in scale.counts}


def message_steps(scale: Scale) -> dict[str, Callable[[], Awaitable[Values]]]:
    async def measure(size: int) -> Values:
        count = max(2, min(scale.most_messages, scale.bulk_bytes // size))
        config = rtcsctp.Config(max_message_size=16 << 20, rwnd=32 << 20)
        times, _ = await over_associations(1, config, bytes(size), count, count)
        return values_of(times, size, count)

    sizes = [10**power for power in range(1, 8)]
    return {_bytes(size): partial(measure, size) for size in sizes}


def window_steps(scale: Scale) -> dict[str, Callable[[], Awaitable[Values]]]:
    async def measure(window: int) -> Values:
        count = scale.bulk_bytes // WINDOW_SIZE
        config = rtcsctp.Config(rwnd=window)
        times, _ = await over_associations(1, config, bytes(WINDOW_SIZE), count, count)
        return values_of(times, WINDOW_SIZE, count)

    windows = [1 << shift for shift in (16, 18, 20, 22, 24, 26)]
    names = ["64 KiB", "256 KiB", "1 MiB", "4 MiB", "16 MiB", "64 MiB"]
    return {name: partial(measure, window) for name, window in zip(names, windows, strict=True)}


def _bytes(size: int) -> str:
    if size >= 1_000_000:
        return f"{size // 1_000_000} MB"
    return f"{size // 1_000} kB" if size >= 1_000 else f"{size} B"


GROWTHS = [
    Growth(
        key="channels",
        title="channels of one connection, 1,000-byte messages, DTLS",
        rows=[RATE, COST, GARBAGE],
        steps=channel_steps,
        why=(
            "Messages in turn on N channels wake N receiving tasks where one channel wakes one, "
            "with what a packet or a batch has brought for it: a switch of tasks for each message "
            "at worst. The core itself looks at no channel that has nothing to do."
        ),
    ),
    Growth(
        key="associations",
        title="associations between two UDP ports, 1,000-byte messages",
        rows=[RATE, COST, GARBAGE, SET_UP],
        steps=association_steps,
        why=(
            "Each association sends, acknowledges and wakes its tasks for itself: a batch of one "
            "association is shorter when many take turns, so there are more wake-ups and SACKs "
            "per message, until each message pays for its own packet, SACK and SACK timer. Nothing "
            "of ours looks at all associations; Python's garbage collector does, every time."
        ),
    ),
    Growth(
        key="messages",
        title="messages of growing size, one association",
        rows=[RATE, COST, PER_BYTE],
        steps=message_steps,
        why=(
            "Up to a packet a message costs what a message costs, however short it is; beyond, "
            "every packet costs the same, and time per byte is flat. A message of several "
            "megabytes is larger than what may be in flight, and is put together once more."
        ),
    ),
    Growth(
        key="windows",
        title="receive windows, 16 KiB messages, one association",
        rows=[RATE, COST],
        steps=window_steps,
        why=(
            "With a small window less is in flight: batches are shorter, and each has a SACK of "
            "its own, but what is under way stays in the processor's caches. From about 1 MiB on, "
            "the send buffer of 1 MiB bounds what is under way, and no cost depends on the window."
        ),
    ),
]


def fill(growth: Growth, scale: Scale) -> Table:
    steps = growth.steps(scale)
    table = Table(title=growth.title, rows=growth.rows, columns=list(steps))
    for run in range(scale.runs):
        for name, measure in steps.items():
            progress(f"{growth.key}, run {run + 1}: {name}")
            values = trio.run(measure)
            for row in growth.rows:
                table.add(row.key, name, values[row.key])
    progress()
    return table


def verdict(growth: Growth, table: Table) -> str:
    """Which rows are flat, and the reason for the others."""
    said, all_flat = [], True
    for row in growth.rows:
        if row is GARBAGE:
            continue
        medians = [statistics.median(table.figures[row.key, name].values) for name in table.columns]
        spread = max(medians) / min(medians)
        is_flat = spread < FLAT
        all_flat = all_flat and is_flat
        said.append(f"{row.title}: {'flat, ' if is_flat else ''}highest / lowest {spread:.2f}")
    return "; ".join(said) + ("." if all_flat else f". {growth.why}")


FLAT = 1.5
"""Highest by lowest median that counts as flat; the same work differs by a third between runs."""


def main() -> None:
    keys = [growth.key for growth in GROWTHS]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="less, for a first impression")
    parser.add_argument("--rows", default=",".join(keys), help=f"some of {', '.join(keys)}")
    parser.add_argument("--runs", type=int, help="how often everything is measured")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--markdown", action="store_true", help="print tables for a README")
    options = parser.parse_args()
    wanted = options.rows.split(",")
    for name in wanted:
        if name not in keys:
            parser.error(f"--rows: {name!r} is none of {', '.join(keys)}")
    scale = QUICK if options.quick else THOROUGH
    if options.runs:
        scale = attrs.evolve(scale, runs=options.runs)
    print(f"{interpreter()}, Trio {trio.__version__}; {scale.runs} runs\n")
    tables = []
    for growth in GROWTHS:
        if growth.key in wanted:
            tables.append(fill(growth, scale))
            show(tables[-1:], markdown=options.markdown)
            print(verdict(growth, tables[-1]), end="\n\n", flush=True)
    write(tables, options.json)


if __name__ == "__main__":
    main()
