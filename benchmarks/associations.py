"""Speed of the runtime: two associations in one process, over loopback UDP and over memory.

``python benchmarks/associations.py [--quick] [--link udp|memory]``. Both ends share one thread, so
a program that is only one end has about twice the time per packet. Each figure is the median of
several runs, with the lowest and the highest of them.
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import attrs
import trio

import rtcsctp
from rtcsctp.testing import memory_links

PORT = 5001
BULK_SIZE = 16_384
SMALL_SIZE = 100
PING_SIZE = 64


@attrs.frozen
class Scale:
    """How much is done per run, and how many runs there are."""

    runs: int
    bulk_bytes: int
    small_messages: int
    pings: int


FULL = Scale(runs=7, bulk_bytes=64 << 20, small_messages=100_000, pings=5_000)
QUICK = Scale(runs=3, bulk_bytes=8 << 20, small_messages=20_000, pings=1_000)

Pair = tuple[rtcsctp.Association, rtcsctp.Association]
OpenPair = Callable[[], contextlib.AbstractAsyncContextManager[Pair]]


@contextlib.asynccontextmanager
async def memory_pair() -> AsyncIterator[Pair]:
    """Two associations over a pipe in memory."""
    here, there = memory_links()
    send, receive = trio.open_memory_channel[rtcsctp.Association](1)

    async def server() -> None:
        async with rtcsctp.open_association(there, initiate=False) as association:
            send.send_nowait(association)
            await association.wait_closed()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server)
        async with rtcsctp.open_association(here) as client:
            yield client, await receive.receive()


@contextlib.asynccontextmanager
async def udp_pair() -> AsyncIterator[Pair]:
    """Two associations over two UDP sockets of 127.0.0.1."""
    send, receive = trio.open_memory_channel[rtcsctp.Association](1)

    async def handler(association: rtcsctp.Association) -> None:
        send.send_nowait(association)
        await association.wait_closed()

    async with trio.open_nursery() as nursery:
        address = await nursery.start(
            partial(rtcsctp.listen, handler, port=PORT, udp=("127.0.0.1", 0))
        )
        async with rtcsctp.connect(address, port=PORT) as client:
            yield client, await receive.receive()
        nursery.cancel_scope.cancel()


async def transfer(open_pair: OpenPair, count: int, size: int) -> float:
    """Seconds for `count` messages of `size` bytes, one way, all received."""
    data = bytes(size)

    async def send(stream: rtcsctp.Stream) -> None:
        for _ in range(count):
            await stream.send(data)

    async with open_pair() as (client, server), trio.open_nursery() as nursery:
        begin = time.perf_counter()
        nursery.start_soon(send, client.stream(0))
        stream, received = server.stream(0), 0
        while received < count:
            received += len(await stream.receive_many())
        return time.perf_counter() - begin


async def flood(open_pair: OpenPair, count: int, size: int) -> float:
    """Like `transfer`, but by `send_nowait`, which lets messages share packets."""
    data = bytes(size)

    async def send(stream: rtcsctp.Stream) -> None:
        left = count
        while left:
            with contextlib.suppress(trio.WouldBlock):
                for _ in range(left):
                    stream.send_nowait(data)
                    left -= 1
            await stream.wait_buffered_low()

    async with open_pair() as (client, server), trio.open_nursery() as nursery:
        begin = time.perf_counter()
        sender = client.stream(0)
        sender.buffered_amount_low_threshold = 1 << 18
        nursery.start_soon(send, sender)
        stream, received = server.stream(0), 0
        while received < count:
            received += len(await stream.receive_many())
        return time.perf_counter() - begin


async def ping_pong(open_pair: OpenPair, count: int) -> list[float]:
    """Round-trip times, in seconds, of one message after the other."""
    data, times = bytes(PING_SIZE), []

    async def echo(stream: rtcsctp.Stream) -> None:
        async for message in stream:
            await stream.send(message.data)

    async with open_pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(echo, server.stream(0))
        stream = client.stream(0)
        for _ in range(count):
            begin = time.perf_counter()
            await stream.send(data)
            await stream.receive()
            times.append(time.perf_counter() - begin)
        nursery.cancel_scope.cancel()
    return times


async def set_up(open_pair: OpenPair) -> float:
    """Seconds until both ends of an association are there."""
    begin = time.perf_counter()
    async with open_pair():
        return time.perf_counter() - begin


def run(measure: Callable[[], Awaitable[float]], runs: int) -> list[float]:
    async def main() -> float:
        return await measure()

    return [trio.run(main) for _ in range(runs)]


def row(name: str, values: list[float], unit: str, digits: int = 0) -> None:
    middle, lowest, highest = statistics.median(values), min(values), max(values)
    spread = f"({lowest:,.{digits}f} … {highest:,.{digits}f})"
    print(f"  {name:<44} {middle:>10,.{digits}f} {unit:<10} {spread}")


def measure_link(open_pair: OpenPair, scale: Scale) -> None:
    bulk = scale.bulk_bytes // BULK_SIZE
    seconds = run(partial(transfer, open_pair, bulk, BULK_SIZE), scale.runs)
    row("16 KiB messages", [bulk * BULK_SIZE / s / 1e6 for s in seconds], "MB/s", 1)
    for name, how in (("send", transfer), ("send_nowait", flood)):
        seconds = run(partial(how, open_pair, scale.small_messages, SMALL_SIZE), scale.runs)
        row(
            f"100-byte messages, {name}",
            [scale.small_messages / s for s in seconds],
            "per second",
        )
    pings = [trio.run(ping_pong, open_pair, scale.pings) for _ in range(scale.runs)]
    row("64-byte ping-pong, median", [statistics.median(times) * 1e6 for times in pings], "µs")
    row("64-byte ping-pong, 99 %", [statistics.quantiles(t, n=100)[98] * 1e6 for t in pings], "µs")
    row(
        "set-up of a pair",
        [s * 1e3 for s in run(partial(set_up, open_pair), 3 * scale.runs)],
        "ms",
        2,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="less, for a first impression")
    parser.add_argument("--link", choices=("udp", "memory"), help="only this one")
    arguments = parser.parse_args()
    scale = QUICK if arguments.quick else FULL
    print(
        f"{platform.python_implementation()} {platform.python_version()}, Trio {trio.__version__},",
        end=" ",
    )
    print(f"{sys.platform} {platform.machine()}; median of {scale.runs} runs (lowest … highest)")
    pairs: dict[str, OpenPair] = {"udp": udp_pair, "memory": memory_pair}
    for name, open_pair in pairs.items():
        if arguments.link in (None, name):
            print(f"\n{name} link, both ends in one process")
            measure_link(open_pair, scale)


if __name__ == "__main__":
    main()
