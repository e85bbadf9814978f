"""How long other tasks wait while data flows at full speed between two peers in one process.

``python benchmarks/fairness.py [--quick] [--size BYTES]``. Beside a sender that never pauses and
its receiver, one task sleeps for a millisecond again and again, and one does nothing but
checkpoints; how late the first wakes, and how long a checkpoint of the second takes, is what any
other task of the program would see. The same is measured without any data, for comparison: much of
it is the kernel's doing. 50, 99 % and the worst.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import platform
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import trio

import rtcsctp

SLEEP = 0.001
PAUSE = 0.0003  # seconds between two checkpoints that are measured, so as not to slow the rest

Channels = tuple[rtcsctp.DataChannel, rtcsctp.DataChannel]


@contextlib.asynccontextmanager
async def channel_pair() -> AsyncIterator[Channels]:
    """Both ends of a data channel, DTLS and all."""
    config = rtcsctp.PeerConfig(include_loopback=True, addresses=["127.0.0.1"])
    async with rtcsctp.open_peer(config) as left, rtcsctp.open_peer(config) as right:
        left.set_remote_description(await right.answer(await left.offer()))
        near = left.create_channel("flow")
        yield near, await right.incoming.receive()


async def watch_sleep(found: list[float]) -> None:
    """Note how late a task wakes."""
    while True:
        begin = time.perf_counter()
        await trio.sleep(SLEEP)
        found.append(time.perf_counter() - begin - SLEEP)


async def watch_checkpoints(found: list[float]) -> None:
    """Note how long a checkpoint takes."""
    while True:
        await trio.sleep(PAUSE)
        begin = time.perf_counter()
        await trio.lowlevel.checkpoint()
        found.append(time.perf_counter() - begin)


async def flow(channels: Channels, size: int, seconds: float) -> float:
    """Send messages of `size` bytes for a while; bytes per second."""
    near, far = channels
    data = bytes(size)
    received = 0

    async def send() -> None:
        while True:
            await near.send(data)

    async with trio.open_nursery() as nursery:
        begin = time.perf_counter()
        nursery.start_soon(send)
        while (elapsed := time.perf_counter() - begin) < seconds:
            received += size * len(await far.receive_many())
        nursery.cancel_scope.cancel()
    return received / elapsed


async def idle(channels: Channels, size: int, seconds: float) -> float:
    """Nothing flows."""
    del channels, size
    await trio.sleep(seconds)
    return 0.0


async def measure(
    work: Callable[[Channels, int, float], Awaitable[float]], size: int, seconds: float
) -> tuple[float, list[float], list[float]]:
    """Speed, how late sleepers woke, and how long checkpoints took."""
    late: list[float] = []
    turns: list[float] = []
    async with channel_pair() as channels, trio.open_nursery() as nursery:
        nursery.start_soon(watch_sleep, late)
        nursery.start_soon(watch_checkpoints, turns)
        speed = await work(channels, size, seconds)
        nursery.cancel_scope.cancel()
    return speed, late, turns


def row(name: str, values: list[float]) -> None:
    marks = statistics.quantiles(values, n=100) if len(values) > 1 else [math.nan] * 99
    figures = (marks[49], marks[98], max(values, default=math.nan))
    text = "".join(f"{figure * 1e3:>9.2f}" for figure in figures)
    print(f"  {name:<32}{text}  ms  ({len(values)} times)")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="less, for a first impression")
    parser.add_argument("--size", type=int, action="append", help="bytes per message")
    arguments = parser.parse_args()
    seconds = 1.0 if arguments.quick else 10.0
    print(
        f"{platform.python_implementation()} {platform.python_version()}, Trio {trio.__version__}"
    )
    print(f"  {'':<32}{'50 %':>9}{'99 %':>9}{'worst':>9}")
    for size in (0, *(arguments.size or (100, 16_384, 262_144))):
        speed, late, turns = trio.run(measure, flow if size else idle, size, seconds)
        what = f"messages of {size} B, {speed / 1e6:.1f} MB/s" if size else "nothing flows"
        print(f"\n{what}")
        row("late after a sleep of 1 ms", late)
        row("a checkpoint", turns)


if __name__ == "__main__":
    main()
