"""Two cores in memory, pure CPython: what a packet costs, and how that grows.

    python benchmarks/core.py [--quick]

Both ends run in one process and one thread, without a network between them: packets go from one
core's ``poll_transmit`` to the other's ``handle_datagrams`` in batches, as a socket would give
them. The figures of the first table are both ends together.

The second table is about small messages on a data channel, from ``Channels.send`` to what
``Channels.receive`` gives, and about what of that is spent where: giving messages to the sending
end; making packets of them; and taking messages out of packets at the receiving end.
"""

from __future__ import annotations

import argparse
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable

from rtcsctp.datachannel.channels import Channels
from rtcsctp.sctp.association import Association
from rtcsctp.sctp.config import Config
from rtcsctp.sctp.events import Connected
from rtcsctp.sctp.state import State

BATCH = 16  # datagrams handed over at once, as UDP_GRO gives them
RTT = 0.001  # virtual seconds that one exchange takes


def drain_events(association: Association) -> None:
    while association.poll_event() is not None:
        pass


class Loop:
    """Two established associations, and packets carried between them in batches."""

    def __init__(self, config: Config, *, loss: float = 0.0) -> None:
        self.rng = random.Random(1)
        self.loss = loss
        self.now = 0.0
        self.packets = 0
        self.a = Association(config, local_port=5000, remote_port=5000, rng=self.rng)
        self.b = Association(config, local_port=5000, remote_port=5000, rng=self.rng)
        self.a.connect(self.now)
        while self.a.state is not State.ESTABLISHED:
            self.exchange()

    def exchange(self) -> int:
        """Carry everything both ends have to say, once; the number of packets a sent."""
        self.now += RTT
        sent = self._carry(self.a, self.b)
        back = self._carry(self.b, self.a)
        if not sent and not back:
            self._sleep()
        return sent

    def _carry(self, source: Association, target: Association) -> int:
        total = 0
        while packets := source.poll_transmit(self.now, BATCH):
            total += len(packets)
            if self.loss:
                draw = self.rng.random
                packets = [packet for packet in packets if draw() >= self.loss]
            target.handle_datagrams(packets, self.now)
            drain_events(target)
        drain_events(source)
        self.packets += total
        return total

    def _sleep(self) -> None:
        """Nothing moves: go on at the next timer."""
        deadlines = [d for end in (self.a, self.b) for d in end.timers.values()]
        self.now = max(self.now, min(deadlines, default=self.now))
        for end in (self.a, self.b):
            for timer, deadline in list(end.timers.items()):
                if deadline <= self.now:
                    end.handle_timer(timer, self.now)


def transfer(config: Config, size: int, total: int, *, loss: float = 0.0) -> tuple[float, int, int]:
    """Send `total` bytes in messages of `size`; seconds, DATA packets and messages."""
    loop = Loop(config, loss=loss)
    a, b = loop.a, loop.b
    message = bytes(size)
    count = total // size
    queued = received = packets = 0
    high_water = config.rwnd
    start = time.process_time()
    while received < count:
        while queued < count and a.buffered_amount < high_water:
            a.send(0, message, now=loop.now)
            queued += 1
        packets += loop.exchange()
        received += len(b.receive(0, 1 << 30, now=loop.now))
    return time.process_time() - start, packets, count


class ChannelLoop(Loop):
    """The same with a data channel between them, and a clock for each step of a message."""

    def __init__(self, config: Config, *, ordered: bool) -> None:
        super().__init__(config)
        self.channels = [Channels(end, max_message_size_remote=None) for end in (self.a, self.b)]
        for number, (end, channels) in enumerate(zip((self.a, self.b), self.channels, strict=True)):
            channels.set_role(number == 0, self.now)
            channels.handle_event(Connected(), self.now)
            self._tell(end, channels)
        self.source, self.target = (
            channels.create(negotiated=True, id=0, ordered=ordered, now=self.now)
            for channels in self.channels
        )

    def _tell(self, end: Association, channels: Channels) -> None:
        while (event := end.poll_event()) is not None:
            channels.handle_event(event, self.now)
        while channels.poll_event() is not None:
            pass

    def carry(self, message: str | bytes, count: int) -> tuple[float, float, float]:
        """Send so many messages; the seconds spent on sending, on packets and on receiving."""
        clock = time.process_time
        sending, receiving = self.channels
        giving = making = taking = 0.0
        given = taken = 0
        while taken < count:
            start = clock()
            while given < count and self.a.buffered_amount < 1 << 20:
                sending.send(self.source, message, self.now)
                given += 1
            giving += clock() - start
            self.now += RTT
            idle = True
            while True:
                start = clock()
                packets = self.a.poll_transmit(self.now, BATCH)
                self._tell(self.a, sending)
                making += clock() - start
                if not packets:
                    break
                idle = False
                start = clock()
                self.b.handle_datagrams(packets, self.now)
                self._tell(self.b, receiving)
                taken += len(receiving.receive(self.target, 1 << 30, self.now))
                back = self.b.poll_transmit(self.now)
                taking += clock() - start
                start = clock()
                if back:
                    self.a.handle_datagrams(back, self.now)
                making += clock() - start
            if idle:
                self._sleep()
        return giving, making, taking


def median(runs: int, measure: Callable[[], float]) -> float:
    return statistics.median(measure() for _ in range(runs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    options = parser.parse_args()
    scale = 1 if options.quick else 10
    runs = 3 if options.quick else 5
    print(f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}")
    print(f"median of {runs} runs; both ends together; batches of {BATCH} datagrams\n")

    def per_packet(rwnd: int, loss: float, interleaving: bool) -> float:
        config = Config(rwnd=rwnd, interleaving=interleaving)

        def once() -> float:
            seconds, packets, _ = transfer(config, 16_384, scale * 2_000_000, loss=loss)
            return seconds / packets * 1e6

        return median(runs, once)

    def per_second(rwnd: int, loss: float) -> float:
        config = Config(rwnd=rwnd)

        def once() -> float:
            seconds, _, count = transfer(config, 100, scale * 300_000, loss=loss)
            return count / seconds

        return median(runs, once)

    print(
        f"{'window':>10} {'loss':>6} {'µs/packet DATA':>16} {'I-DATA':>8} {'100 B messages/s':>18}"
    )
    for rwnd in (64 << 10, 1 << 20, 16 << 20):
        for loss in (0.0, 0.01):
            plain, interleaved = per_packet(rwnd, loss, False), per_packet(rwnd, loss, True)
            rate = per_second(rwnd, loss)
            name = f"{rwnd >> 10} KiB"
            print(f"{name:>10} {loss:>6.0%} {plain:>16.2f} {interleaved:>8.2f} {rate:>18,.0f}")
            sys.stdout.flush()

    def small(message: str | bytes, ordered: bool, interleaving: bool) -> list[float]:
        """Microseconds per message: given, made into packets, taken."""
        count = scale * 2_000_000 // max(1000, 10 * len(message))
        parts: list[tuple[float, float, float]] = []
        for _ in range(runs):
            loop = ChannelLoop(Config(interleaving=interleaving), ordered=ordered)
            parts.append(loop.carry(message, count))
        return [statistics.median(part) / count * 1e6 for part in zip(*parts, strict=True)]

    print(
        f"\n{'message':>14} {'order':>10} {'chunks':>7}"
        f" {'µs to send':>11} {'to packets':>11} {'to receive':>11} {'messages/s':>12}"
    )
    for name, message in (
        ("10 B", bytes(10)),
        ("100 B", bytes(100)),
        ("100 B of text", "x" * 100),
        ("1,000 B", bytes(1000)),
    ):
        for ordered in (True, False):
            for interleaving in (False, True):
                costs = small(message, ordered, interleaving)
                kind = "I-DATA" if interleaving else "DATA"
                order = "ordered" if ordered else "unordered"
                figures = " ".join(f"{cost:>11.2f}" for cost in costs)
                print(f"{name:>14} {order:>10} {kind:>7} {figures} {1e6 / sum(costs):>12,.0f}")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
