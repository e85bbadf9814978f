"""`rtcsctp sim`: two peers on the simulated network, in virtual time."""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from rtcsctp.cli.arguments import (
    AddParser,
    add_command,
    add_settings,
    bit_rate,
    duration,
    positive_size,
    share,
    whole_number,
)
from rtcsctp.cli.failure import CommandError, attempt
from rtcsctp.cli.output import note, say
from rtcsctp.cli.plot import Sample, draw, need_matplotlib
from rtcsctp.cli.progress import Progress
from rtcsctp.cli.units import (
    format_bit_rate,
    format_duration,
    format_size,
    parse_size,
)
from rtcsctp.sctp.association import Association
from rtcsctp.sctp.config import CONTROLLERS, Config
from rtcsctp.testing import Capture, Conditions, Flows, Network

__all__ = ["add_parser", "run"]

_RATE, _RTT = 10e6, 0.05
_SIZE = 10_000_000
_MESSAGE = 16_384
_BACKLOG = 1 << 20  # bytes that wait at the sender, at least
_LIMIT = 600.0  # seconds of virtual time
_PACKET = 1200
_SMALLEST_QUEUE = 16 * _PACKET
_SAMPLES = 4000  # at most; with more, every other one is dropped
_TICK = 0.001  # timers of real programs are so coarse …
_COALESCING = 150e-6  # … and packets that arrive so close together are handed over at once

_EXAMPLES = """\
examples:
  rtcsctp sim
  rtcsctp sim --rate 100Mbit/s --rtt 20ms --loss 1% --controller cubic --size 50MB
  rtcsctp sim --rate 2Mbit/s --rtt 300ms --queue 4bdp --plot run.png
  rtcsctp sim --loss 5% --size 200kB --seed 7 --pcap run.pcapng; rtcsctp decode run.pcapng

The same options and the same seed give the same packets, on every machine. Times
are virtual: a minute is over as soon as its packets are computed.
"""


def add_parser(add: AddParser) -> None:
    """Add the command to those of `rtcsctp`."""
    parser = add_command(
        add,
        "sim",
        run,
        summary="a transfer over a simulated network, in virtual time",
        description="Two SCTP associations at the ends of a simulated network: one sends as fast "
        "as it may, the other reads at once. Rate, delay, queue and loss hold in both directions, "
        "for SACKs too. At the end, a summary of what the sender made of the network.",
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "--rate",
        type=bit_rate,
        default=_RATE,
        metavar="RATE",
        help="of the bottleneck, like 10Mbit/s (the default)",
    )
    parser.add_argument(
        "--rtt",
        type=duration,
        default=_RTT,
        metavar="TIME",
        help="round-trip time without queues, like 50ms (the default)",
    )
    parser.add_argument(
        "--loss",
        type=share,
        default=0.0,
        metavar="SHARE",
        help="of the packets, at random, like 1%% or 0.01 (default: none)",
    )
    parser.add_argument(
        "--queue",
        type=_queue,
        default=_Queue(products=1.0),
        metavar="SIZE",
        help="room at the bottleneck, like 64KiB or 2bdp, which is twice the bandwidth-delay "
        "product (default: 1bdp)",
    )
    parser.add_argument(
        "--controller",
        choices=CONTROLLERS,
        help=f"congestion control: {', '.join(CONTROLLERS)} (default: {_default_controller()})",
        metavar="NAME",
    )
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument(
        "--size",
        type=positive_size,
        metavar="BYTES",
        help="how much is sent (default: 10MB)",
    )
    amount.add_argument(
        "--time", type=duration, metavar="TIME", help="send for so long instead, like 30s"
    )
    parser.add_argument(
        "--limit",
        type=duration,
        default=_LIMIT,
        metavar="TIME",
        help="give up after so much virtual time (default: 10min)",
    )
    parser.add_argument(
        "--mtu",
        type=whole_number(512, 65_535),
        default=_PACKET,
        metavar="BYTES",
        help="largest SCTP packet that the network carries (default: 1200)",
    )
    parser.add_argument(
        "--seed",
        type=whole_number(0),
        default=1,
        metavar="N",
        help="decides which packets are lost (default: 1)",
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="draw windows, round-trip time, queue and goodput over time (.png, .svg or .pdf); "
        "needs the extra plot",
    )
    parser.add_argument(
        "--pcap", metavar="FILE", help="record what the sender sends and receives; replaces FILE"
    )
    add_settings(parser)


def _default_controller() -> str:
    return Config().congestion_control


@attrs.frozen(kw_only=True)
class _Queue:
    """Room at a bottleneck: bytes, or as a multiple of the bandwidth-delay product."""

    size: int = 0
    products: float | None = None

    def bytes(self, rate: float, rtt: float) -> int:
        """In bytes; a product is never below a few packets."""
        if self.products is None:
            return self.size
        return max(_SMALLEST_QUEUE, int(self.products * rate / 8 * rtt))


def _queue(text: str) -> _Queue:
    word = text.strip().lower()
    try:
        if not word.endswith("bdp"):
            return _Queue(size=parse_size(text))
        products = float(word.removesuffix("bdp") or "1")
        if 0 < products < math.inf:
            return _Queue(products=products)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not a queue, such as 64KiB or 2bdp")


def run(arguments: argparse.Namespace) -> None:
    """Simulate, and tell how it was.

    Raises:
        CommandError: it was not finished within the limit, or the association ended.
    """
    if arguments.plot is not None:
        need_matplotlib()
        if arguments.plot.suffix.lower() not in {".png", ".svg", ".pdf"}:
            arguments.parser.error("argument --plot: the name of a plot ends in .png, .svg or .pdf")
    if arguments.controller is not None:
        arguments.config = attrs.evolve(arguments.config, congestion_control=arguments.controller)
    with _capture(arguments.pcap) as capture:
        simulation = _Simulation(arguments, capture)
        simulation.run()
    simulation.report()
    if arguments.plot is not None:
        with attempt(f"write {arguments.plot}"):
            draw(arguments.plot, simulation.samples, simulation.title, simulation.rate)
        note(f"drawn into {arguments.plot}")
    if simulation.failure is not None:
        raise CommandError(simulation.failure)


@contextmanager
def _capture(path: str | None) -> Iterator[Capture | None]:
    """Record what the sender sees. Virtual time begins in 1970: the same run gives the same file.

    Raises:
        CommandError: it cannot be written in full.
    """
    if path is None:
        yield None
        return
    with attempt(f"write {path}"), Capture(path, interfaces=("sender",)) as capture:
        yield capture


class _Simulation:
    """A sender, a receiver, and what was seen of them.

    Attributes:
        rate: of the link, bits per second.
        samples: what was seen, at equal distances.
        failure: why it did not come to its end; None: it did.
    """

    def __init__(self, arguments: argparse.Namespace, capture: Capture | None) -> None:
        self.rate: float = arguments.rate
        self.samples: list[Sample] = []
        self.failure: str | None = None
        self._rtt: float = arguments.rtt
        self._loss: float = arguments.loss
        self._queue: int = arguments.queue.bytes(arguments.rate, arguments.rtt)
        self._limit: float = arguments.limit
        self._time: float | None = arguments.time
        self._size: int | None = arguments.size
        if self._size is None and self._time is None:
            self._size = _SIZE
        config: Config = arguments.config
        self._controller = config.congestion_control
        limits = (_MESSAGE, config.max_message_size, config.peer_max_message_size)
        self._message = bytes(min(limit for limit in limits if limit is not None))
        self._unsent = self._size
        conditions = Conditions(
            delay=self._rtt / 2,
            rate=self.rate / 8,
            queue=self._queue,
            loss=self._loss,
            mtu=arguments.mtu,
        )
        seed = f"{arguments.seed}"
        self._flows = Flows(
            [config],
            Network(conditions, seed=seed),
            seed=seed,
            coalescing=min(_COALESCING, self._rtt / 20),
            tick=_TICK,
            capture=capture,
        )
        self._sender = self._flows[0].a.association
        self._receiver = self._flows[0].b.association
        self._began = 0.0
        self._elapsed = 0.0

    @property
    def title(self) -> str:
        """What was simulated, in a line."""
        return (
            f"{format_bit_rate(self.rate)}, {self._rtt * 1000:g} ms, "
            f"loss {100 * self._loss:.3g} %, queue {format_size(self._queue)}, {self._controller}"
        )

    @property
    def _arrived(self) -> int:
        return self._receiver.counters.user_bytes_received

    def run(self) -> None:
        """Simulate to the end."""
        flows = self._flows
        try:
            flows.connect(timeout=self._limit)
        except TimeoutError:
            self.failure = f"no connection within {format_duration(self._limit)} of virtual time"
            return
        self._began = flows.now
        flows[0].b.user = _read
        flows[0].a.user = self._send
        flows.wake(flows[0].a)
        progress = Progress("simulating", self._size)
        step = max(0.002, self._rtt / 8)
        try:
            while not self._is_over() and flows.now - self._began < self._limit:
                left = self._limit if self._time is None else self._time
                flows.run_until(self._is_over, min(step, self._began + left - flows.now))
                self._look()
                if len(self.samples) >= _SAMPLES:
                    self.samples, step = self.samples[1::2], 2 * step
                progress.update(self._arrived)
        finally:
            progress.finish()
        self._elapsed = flows.now - self._began
        closed = self._sender.closed
        if closed is not None:
            self.failure = f"the association ended: {closed.reason.value}, {closed.detail}"
        elif not self._is_over():
            assert self._size is not None
            self.failure = (
                f"only {format_size(self._arrived)} of {format_size(self._size)} arrived in "
                f"{format_duration(self._elapsed)} of virtual time"
            )

    def _is_over(self) -> bool:
        if self._sender.closed is not None:
            return True
        if self._time is not None:
            # A whole number of steps may end a rounding error before the time is over.
            return self._flows.now - self._began >= self._time * (1 - 1e-12)
        assert self._size is not None
        return self._arrived >= self._size

    def _send(self, association: Association, now: float) -> None:
        """What the sending program does: there is always more to send, until all is."""
        backlog = max(_BACKLOG, 2 * association.sender.congestion.cwnd)
        while self._unsent != 0 and association.buffered_amount < backlog:
            message = self._message
            if self._unsent is not None:
                message = message[: self._unsent]
                self._unsent -= len(message)
            association.send(0, message, now=now)

    def _look(self) -> None:
        sender = self._sender.statistics()
        self.samples.append(
            Sample(
                time=self._flows.now - self._began,
                cwnd=sender.cwnd,
                flight=sender.flight,
                rtt=sender.srtt or 0.0,
                queue=self._flows.network.a_to_b.backlog(self._flows.now) * 8 / self.rate,
                arrived=self._arrived,
                timeouts=sender.timeouts,
            )
        )

    def report(self) -> None:
        """Say how it was."""
        sender, receiver = self._sender.statistics(), self._receiver.statistics()
        wire = self._flows.network.a_to_b.counters
        goodput = 8 * self._arrived / self._elapsed if self._elapsed else 0.0
        again = sender.fast_retransmits + sender.timeout_retransmits
        rows = [
            ("link", self.title),
            (
                "delivered",
                f"{format_size(self._arrived)} in {format_duration(self._elapsed)}",
            ),
            ("goodput", f"{format_bit_rate(goodput)}, {goodput / self.rate:.1%} of the link"),
            ("packets sent", f"{sender.packets_sent:,}"),
            ("  lost at random", f"{wire.lost:,}"),
            ("  dropped at the queue", f"{wire.dropped_queue:,}"),
            (
                "chunks sent again",
                (
                    f"{again:,} of {sender.data_chunks_sent:,} "
                    f"({again / max(1, sender.data_chunks_sent):.2%}), "
                    f"{receiver.duplicates_received:,} needlessly"
                ),
            ),
            ("timeouts", f"{sender.timeouts:,}"),
        ]
        if self.samples:
            rows += [
                ("queue", _spread([sample.queue for sample in self.samples])),
                ("round-trip time", _spread([sample.rtt for sample in self.samples])),
                (
                    "congestion window",
                    (
                        f"mean {format_size(statistics.fmean(s.cwnd for s in self.samples))}, "
                        f"max {format_size(max(s.cwnd for s in self.samples))}"
                    ),
                ),
            ]
        width = max(len(label) for label, _ in rows)
        for label, text in rows:
            say(f"{label:<{width}}  {text}")


def _spread(times: list[float]) -> str:
    """Durations in short."""
    ordered = sorted(times)
    high = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    mean = statistics.fmean(ordered)
    return f"mean {mean * 1000:.1f} ms, 99 % {high * 1000:.1f} ms, max {ordered[-1] * 1000:.1f} ms"


def _read(association: Association, now: float) -> None:
    """What the receiving program does: it takes everything at once."""
    while association.is_readable(0):
        association.receive(0, 1 << 20, now=now)
