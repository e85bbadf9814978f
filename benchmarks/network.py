"""What a sender makes of a network: goodput, queues, fairness and latency, in virtual time.

    python benchmarks/network.py [--quick] [--controllers cubic,bbr] [--rates 10,100] [--jobs 2] ...
    python benchmarks/network.py --parts cells --markdown --json figures.json --output plots
    python benchmarks/network.py --load figures.json --markdown

Two cores at the ends of the simulated network of `rtcsctp.testing`; no socket, no DTLS, no clock:
the same seed gives the same figures on every machine. What is simulated:

- rate, delay, queue and loss are the same in both directions; SACKs are lost and queued as well;
- the rate is that of SCTP packets of at most 1,200 bytes, without lower headers, of which 97.3 %
  are the user's; that is the largest share of the link that can be shown;
- a queue has room for 16 packets at least, however small the bandwidth-delay product is;
- arrivals are coalesced for 150 µs, or a twentieth of the RTT, and timers are noticed at whole
  milliseconds or with the next packet, as on a real machine with Trio;
- no window limits but the congestion window: the receive window is 128 MiB, and the user of the
  receiver takes everything at once.

Measured in each cell (rate x RTT x loss x queue x controller):

- *goodput*: user bytes that arrived, as a share of the link, after the first second, or 15 RTTs if
  those are longer (at 300 ms and 1 Gbit/s slow start cannot be shorter);
- *1 MB*: how long a new association takes for 1,000,000 bytes, from sending to the last byte's
  arrival, and how often the ideal (half an RTT and the bytes at the rate) fits into that;
- *queue*: delay at the bottleneck, mean and 99 % of the time, milliseconds;
- *again*: chunks sent again, as a share of all sent, from the beginning; *needless*: those that had
  arrived already; *T3*: expiries of T3-rtx.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import itertools
import json
import os
import resource
import statistics
import struct
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

from rtcsctp.sctp.association import Association
from rtcsctp.sctp.config import CONTROLLERS, Config
from rtcsctp.testing import Conditions, Flows, Network

RATES = (10.0, 100.0, 1000.0)  # Mbit/s
RTTS = (2.0, 20.0, 100.0, 300.0)  # ms
LOSSES = (0.0, 0.1, 1.0, 5.0)  # percent
QUEUES = (0.5, 2.0)  # bandwidth-delay products

PACKET = 1200
MIN_QUEUE = 16 * PACKET
WINDOW = 128 << 20
MESSAGE = bytes(64 << 10)
BACKLOG = 4 << 20  # bytes that always wait at a bulk sender
TRANSFER = 1_000_000
TICK = 0.001
SAMPLES = 1000


@attrs.frozen
class Link:
    """A network between two ends."""

    rate: float
    """Mbit/s."""
    rtt: float
    """Without queues, ms."""
    loss: float = 0.0
    """Of the packets of each direction, percent."""
    queue: float = 1.0
    """Room at the bottleneck, bandwidth-delay products."""

    @property
    def speed(self) -> float:
        """Bytes per second."""
        return self.rate * 1e6 / 8

    @property
    def seconds(self) -> float:
        """The round-trip time."""
        return self.rtt / 1000

    def network(self, seed: str) -> Network:
        conditions = Conditions(
            delay=self.seconds / 2,
            rate=self.speed,
            queue=max(MIN_QUEUE, int(self.speed * self.seconds * self.queue)),
            loss=self.loss / 100,
            mtu=PACKET,
        )
        return Network(conditions, seed=seed)


SHARED = tuple(
    Link(rate, rtt, 0.0, queue)
    for rate, rtt in ((10.0, 20.0), (10.0, 100.0), (100.0, 20.0))
    for queue in QUEUES
)
DRAWN = (Link(100, 20, 0, 2), Link(100, 100, 0, 0.5), Link(100, 100, 1, 0.5))


@attrs.frozen
class Job:
    """One simulation, for a process of the pool."""

    kind: str
    """A key of `KINDS`."""
    link: Link
    controllers: tuple[str, ...]
    """One for each flow."""
    seed: int
    interleaving: bool = True
    seconds: float | None = None
    """How long to measure goodput; None: as the link needs it."""

    @property
    def cost(self) -> float:
        """Roughly in proportion to the time it takes."""
        return self.link.rate * (1 + self.link.seconds) * len(self.controllers)


# ----------------------------------------------------------------------------- simulation


def make_flows(job: Job) -> Flows:
    seed = f"{job.seed}/{job.kind}/{job.link}"
    configs = [make_config(name, interleaving=job.interleaving) for name in job.controllers]
    return Flows(
        configs,
        job.link.network(seed),
        seed=seed,
        coalescing=min(150e-6, job.link.seconds / 20),
        tick=TICK,
    )


def make_config(controller: str, *, interleaving: bool) -> Config:
    return Config(rwnd=WINDOW, interleaving=interleaving, congestion_control=controller)


def send_without_end(association: Association, now: float) -> None:
    while association.buffered_amount < BACKLOG:
        association.send(0, MESSAGE, now=now)


def receive_all(association: Association, now: float) -> None:
    while association.is_readable(0):
        association.receive(0, 1 << 20, now=now)


def start_bulk(flows: Flows, number: int) -> None:
    flow = flows[number]
    flow.b.user = receive_all
    flow.a.user = send_without_end
    flows.wake(flow.a)


def arrived(flows: Flows, number: int) -> int:
    """User bytes that have arrived, each counted once."""
    return flows[number].b.association.counters.user_bytes_received


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def measure_cell(job: Job) -> dict[str, float]:
    """Goodput of one endless transfer, what it does to the queue, and a short one beside it."""
    link = job.link
    flows = make_flows(job)
    flows.connect()
    start_bulk(flows, 0)
    flows.run_for(max(1.0, 15 * link.seconds))
    before = arrived(flows, 0)
    window = job.seconds or max(1.0 if link.rate > 100 else 3.0, 20 * link.seconds)
    delays = []
    for _ in range(SAMPLES):
        flows.run_for(window / SAMPLES)
        delays.append(flows.network.a_to_b.backlog(flows.now) / link.speed * 1000)
    sender = flows[0].a.association.statistics()
    receiver = flows[0].b.association.statistics()
    transfers = 1 if not link.loss else 3
    times = [measure_transfer(attrs.evolve(job, seed=job.seed + i)) for i in range(transfers)]
    took = statistics.median(times)
    return {
        "goodput": (arrived(flows, 0) - before) / window / link.speed,
        "transfer": took,
        "transfer_ratio": took / (link.seconds / 2 + TRANSFER / link.speed),
        "queue_mean": statistics.fmean(delays),
        "queue_99": percentile(delays, 0.99),
        "again": (sender.fast_retransmits + sender.timeout_retransmits)
        / max(1, sender.data_chunks_sent),
        "needless": receiver.duplicates_received / max(1, sender.data_chunks_sent),
        "timeouts": sender.timeouts,
        "queue_drops": flows.network.a_to_b.counters.dropped_queue,
    }


def measure_transfer(job: Job) -> float:
    """Seconds from sending 1 MB over a new association to the arrival of its last byte."""
    flows = make_flows(job)
    flows.connect()
    began = flows.now
    flow = flows[0]
    flow.b.user = receive_all
    part = TRANSFER // 16
    for _ in range(16):
        flow.a.association.send(0, MESSAGE[:part], now=began)
    flows.wake(flow.a)
    counters = flow.b.association.counters
    if not flows.run_until(lambda: counters.user_bytes_received >= TRANSFER, 600.0):
        return 600.0
    return flows.now - began


def measure_shares(job: Job) -> dict[str, Any]:
    """What each flow gets of a bottleneck, when all are there; each begins while the last runs."""
    link = job.link
    flows = make_flows(job)
    for number in range(len(flows)):
        flows.connect(number)
        start_bulk(flows, number)
        flows.run_for(max(2.0, 20 * link.seconds))
    # The rest of a large difference at the beginning is part of the matter, but not all of it.
    settle = max(10.0, 150 * link.seconds)
    flows.run_for(settle)
    before = [arrived(flows, number) for number in range(len(flows))]
    delays = []
    for _ in range(SAMPLES):
        flows.run_for(settle / SAMPLES)
        delays.append(flows.network.a_to_b.backlog(flows.now) / link.speed * 1000)
    rates = [(arrived(flows, n) - before[n]) / settle / link.speed for n in range(len(flows))]
    return {
        "shares": rates,
        "jain": sum(rates) ** 2 / max(1e-9, len(rates) * sum(rate * rate for rate in rates)),
        "queue_mean": statistics.fmean(delays),
        "queue_99": percentile(delays, 0.99),
        "timeouts": sum(
            flows[number].a.association.statistics().timeouts for number in range(len(flows))
        ),
    }


def measure_latency(job: Job) -> dict[str, float]:
    """A message of 1 kB every 20 ms, in order: how late do they come?"""
    count, size, every = 3000, 1000, 0.02
    link = job.link
    flows = make_flows(job)
    flows.connect()
    flow = flows[0]
    began = flows.now
    latencies: list[float] = []

    def note(association: Association, now: float) -> None:
        while association.is_readable(0):
            for message in association.receive(0, 1 << 20, now=now):
                (number,) = struct.unpack_from("!I", message.data)
                latencies.append(now - (began + number * every))

    flow.b.user = note
    for number in range(count):
        flows.run_for(began + number * every - flows.now)
        data = struct.pack("!I", number).ljust(size, b"\0")
        flow.a.association.send(0, data, now=flows.now)
        flows.wake(flow.a)
    flows.run_until(lambda: len(latencies) == count, 60.0)
    statistic = flow.a.association.statistics()
    return {
        "median": statistics.median(latencies) / link.seconds,
        "latency_99": percentile(latencies, 0.99) / link.seconds,
        "worst": max(latencies) / link.seconds,
        "again": (statistic.fast_retransmits + statistic.timeout_retransmits) / count,
        "timeouts": statistic.timeouts,
    }


def measure_series(job: Job) -> dict[str, list[float]]:
    """How the windows and the queue move in the first time of a transfer."""
    link = job.link
    flows = make_flows(job)
    flows.connect()
    start_bulk(flows, 0)
    began = flows.now
    duration = max(3.0, 60 * link.seconds)
    names = ("time", "goodput", "cwnd", "flight", "srtt", "queue", "timeouts")
    series: dict[str, list[float]] = {name: [] for name in names}
    steps = 600
    before = 0
    for _ in range(steps):
        flows.run_for(duration / steps)
        now = arrived(flows, 0)
        sender = flows[0].a.association.statistics()
        point = (
            flows.now - began,
            (now - before) / (duration / steps) / link.speed,
            sender.cwnd / 1e3,
            sender.flight / 1e3,
            (sender.srtt or 0.0) * 1000,
            flows.network.a_to_b.backlog(flows.now) / link.speed * 1000,
            sender.timeouts,
        )
        before = now
        for name, value in zip(names, point, strict=True):
            series[name].append(round(value, 6))
    return series


KINDS: dict[str, Callable[[Job], dict[str, Any]]] = {
    "cell": measure_cell,
    "shares": measure_shares,
    "latency": measure_latency,
    "series": measure_series,
}


def run_job(job: Job) -> tuple[Job, dict[str, Any]]:
    return job, KINDS[job.kind](job)


def run_all(jobs: Sequence[Job], processes: int) -> dict[Job, dict[str, Any]]:
    """What each job gives; the order in which they run decides nothing but how long it takes."""
    ordered = sorted(jobs, key=lambda job: job.cost, reverse=True)
    results: dict[Job, dict[str, Any]] = {}
    began = time.monotonic()

    def note(done: Iterable[tuple[Job, dict[str, Any]]]) -> None:
        for job, result in done:
            results[job] = result
            if sys.stderr.isatty():
                spent = time.monotonic() - began
                print(f"\r{len(results)}/{len(jobs)} {spent:.0f} s ", end="", file=sys.stderr)

    if processes == 1:
        note(map(run_job, ordered))
    else:
        with concurrent.futures.ProcessPoolExecutor(processes) as pool:
            futures = [pool.submit(run_job, job) for job in ordered]
            note(future.result() for future in concurrent.futures.as_completed(futures))
    if sys.stderr.isatty():
        print("\r" + " " * 20 + "\r", end="", file=sys.stderr)
    return {job: results[job] for job in jobs}


def load(files: Iterable[Path]) -> dict[Job, dict[str, Any]]:
    """The figures that `--json` wrote there."""
    results: dict[Job, dict[str, Any]] = {}
    for file in files:
        for row in json.loads(file.read_text(encoding="utf-8")):
            fields = {field.name: row.pop(field.name) for field in attrs.fields(Job)}
            fields["link"] = Link(**fields["link"])
            fields["controllers"] = tuple(fields["controllers"])
            results[Job(**fields)] = row
    return results


# --------------------------------------------------------------------------------- tables

Table = tuple[str, list[str], list[list[str]]]
"""Title, names of the columns, and rows."""


def show(table: Table, *, markdown: bool) -> None:
    title, names, rows = table
    if markdown:
        print(f"**{title}**\n\n| {' | '.join(names)} |\n|{'---:|' * len(names)}")
        for row in rows:
            print(f"| {' | '.join(row)} |")
    else:
        widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
        print(title)
        for row in (names, *rows):
            print("  ".join(word.rjust(width) for word, width in zip(row, widths, strict=True)))
    print(flush=True)


def cell_table(rate: float, results: Results) -> Table:
    """Everything that was measured in the cells of one rate."""
    names = ["RTT", "queue", "loss", "controller", "goodput", "1 MB", "x ideal", "queue mean"]
    names += ["99 %", "again", "needless", "T3"]
    rows = []
    for job, result in results.items():
        if job.kind != "cell" or job.link.rate != rate:
            continue
        link = job.link
        rows.append(
            [
                f"{link.rtt:g} ms",
                f"{link.queue:g}",
                f"{link.loss:g} %",
                job.controllers[0],
                f"{result['goodput']:.1%}",
                f"{result['transfer']:.3f} s",
                f"{result['transfer_ratio']:.1f}",
                f"{result['queue_mean']:.1f} ms",
                f"{result['queue_99']:.1f}",
                f"{result['again']:.2%}",
                f"{result['needless']:.2%}",
                f"{result['timeouts']}",
            ]
        )
    return f"{rate:g} Mbit/s", names, rows


def goodput_table(results: Results) -> Table:
    """Goodput alone: one row for each rate, RTT and queue, one column for each loss; in each cell
    one figure for each controller, the default one first.
    """
    cells = {
        (job.link, job.controllers[0]): result
        for job, result in results.items()
        if job.kind == "cell"
    }
    links = list(dict.fromkeys(link for link, _controller in cells))
    controllers = list(dict.fromkeys(controller for _link, controller in cells))
    controllers.sort(key=lambda name: name != Config().congestion_control)
    losses = sorted({link.loss for link in links})
    ways = list(dict.fromkeys((link.rate, link.rtt, link.queue) for link in links))
    names = ["Mbit/s", "RTT", "queue", *(f"{loss:g} % loss" for loss in losses)]
    rows = []
    for rate, rtt, queue in ways:
        row = [f"{rate:,g}", f"{rtt:g} ms", f"{queue:g} BDP"]
        for loss in losses:
            link = Link(rate, rtt, loss, queue)
            found = [cells.get((link, name)) for name in controllers]
            words = ["-" if cell is None else f"{100 * cell['goodput']:.0f}" for cell in found]
            row.append(" / ".join(words))
        rows.append(row)
    return f"Goodput, percent of the link: {' / '.join(controllers)}", names, rows


def shares_table(results: Results) -> Table:
    names = ["rate", "RTT", "queue", "flows", "shares", "sum", "Jain", "queue mean", "99 %", "T3"]
    rows = []
    for job, result in results.items():
        if job.kind != "shares":
            continue
        link, shares = job.link, result["shares"]
        rows.append(
            [
                f"{link.rate:g}",
                f"{link.rtt:g} ms",
                f"{link.queue:g}",
                ", ".join(job.controllers),
                ", ".join(f"{share:.1%}" for share in shares),
                f"{sum(shares):.1%}",
                f"{result['jain']:.3f}",
                f"{result['queue_mean']:.1f} ms",
                f"{result['queue_99']:.1f}",
                f"{result['timeouts']}",
            ]
        )
    return "Flows that share a bottleneck, in the order in which they began", names, rows


def latency_table(results: Results) -> Table:
    names = ["RTT", "loss", "controller", "median", "99 %", "worst", "again", "T3"]
    rows = [
        [
            f"{job.link.rtt:g} ms",
            f"{job.link.loss:g} %",
            job.controllers[0],
            f"{result['median']:.2f}",
            f"{result['latency_99']:.2f}",
            f"{result['worst']:.2f}",
            f"{result['again']:.2%}",
            f"{result['timeouts']}",
        ]
        for job, result in results.items()
        if job.kind == "latency"
    ]
    return "A message of 1 kB every 20 ms, in order: latency in RTTs", names, rows


Results = dict[Job, dict[str, Any]]


# ---------------------------------------------------------------------------------- plots


def plot(results: Results, folder: Path) -> None:
    """Heat maps of goodput, and the course of some transfers."""
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    cells = {job: result for job, result in results.items() if job.kind == "cell"}
    for controller in dict.fromkeys(job.controllers[0] for job in cells):
        mine = {
            job.link: cell["goodput"]
            for job, cell in cells.items()
            if job.controllers[0] == controller
        }
        rows = list(dict.fromkeys((link.rate, link.rtt) for link in mine))
        columns = sorted({(link.queue, link.loss) for link in mine})
        values = [
            [mine.get(Link(rate, rtt, loss, queue), float("nan")) for queue, loss in columns]
            for rate, rtt in rows
        ]
        figure, axes = plt.subplots(figsize=(1.2 + 0.8 * len(columns), 1.5 + 0.4 * len(rows)))
        axes.imshow(values, vmin=0, vmax=1, cmap="RdYlGn", aspect="auto")
        axes.set_xticks(range(len(columns)), [f"{loss:g} %\n{q:g} BDP" for q, loss in columns])
        axes.set_yticks(range(len(rows)), [f"{rate:g} Mbit/s, {rtt:g} ms" for rate, rtt in rows])
        for (y, row), x in itertools.product(enumerate(values), range(len(columns))):
            axes.text(x, y, f"{row[x]:.0%}", ha="center", va="center", fontsize=8)
        axes.set_title(f"{controller}: goodput by loss and queue")
        figure.savefig(folder / f"goodput-{controller}.png", dpi=120, bbox_inches="tight")
        plt.close(figure)
    for job, series in results.items():
        if job.kind != "series":
            continue
        link = job.link
        figure, axes_all = plt.subplots(3, 1, sharex=True, figsize=(9, 7))
        when = series["time"]
        axes_all[0].plot(when, series["goodput"], label="goodput, share of the link")
        axes_all[1].plot(when, series["cwnd"], label="cwnd, kB")
        axes_all[1].plot(when, series["flight"], label="flight, kB")
        axes_all[2].plot(when, series["srtt"], label="SRTT, ms")
        axes_all[2].plot(when, series["queue"], label="queue, ms")
        for axes in axes_all:
            # Above the drawing, where no curve can be.
            axes.legend(
                loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize=8, frameon=False
            )
            axes.set_ylim(bottom=0, top=1.1 * axes.dataLim.intervaly[1] or None)
        axes_all[2].set_xlabel("seconds")
        name = f"{job.controllers[0]}-{link.rate:g}-{link.rtt:g}ms-{link.loss:g}-{link.queue:g}bdp"
        axes_all[0].set_title(
            f"{job.controllers[0]}: {link.rate:g} Mbit/s, {link.rtt:g} ms, {link.loss:g} % loss, "
            f"queue {link.queue:g} BDP",
            loc="left",
        )
        figure.savefig(folder / f"course-{name}.png", dpi=120, bbox_inches="tight")
        plt.close(figure)


# ----------------------------------------------------------------------------------- main


def make_jobs(options: argparse.Namespace) -> list[Job]:
    """All simulations that were asked for, in the order of the tables."""
    seed, interleaving = options.seed, not options.data
    controllers: tuple[str, ...] = options.controllers
    jobs: list[Job] = []

    def add(kind: str, link: Link, *names: str) -> None:
        jobs.append(Job(kind, link, names, seed, interleaving, options.seconds))

    if "cells" in options.parts:
        matrix = itertools.product(options.rates, options.rtts, options.queues, options.losses)
        for rate, rtt, queue, loss in matrix:
            for name in controllers:
                add("cell", Link(rate, rtt, loss, queue), name)
    if "shares" in options.parts:
        for link in [Link(10, 20)] if options.quick else SHARED:
            for name in controllers:
                add("shares", link, name, name)
                if name != "rfc9260":
                    add("shares", link, "rfc9260", name)
                    if not options.quick:
                        add("shares", link, name, "rfc9260")
                if not options.quick and link.rate == 10:
                    add("shares", link, name, name, name, name)
    if "latency" in options.parts:
        for rtt in (100.0,) if options.quick else (20.0, 100.0, 300.0):
            for name in controllers:
                add("latency", Link(10, rtt, 2.0), name)
    if options.output is not None:
        for link in DRAWN:
            for name in controllers:
                add("series", link, name)
    return list(dict.fromkeys(jobs))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    def numbers(text: str) -> tuple[float, ...]:
        return tuple(float(word) for word in text.split(","))

    def words(text: str) -> tuple[str, ...]:
        return tuple(text.split(","))

    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--quick", action="store_true", help="few cells: less than a minute")
    add("--controllers", type=words, default=CONTROLLERS, help="names, with commas")
    add("--rates", type=numbers, help="Mbit/s, with commas")
    add("--rtts", type=numbers, help="ms, with commas")
    add("--losses", type=numbers, help="percent, with commas")
    add("--queues", type=numbers, help="bandwidth-delay products, with commas")
    add("--parts", type=words, default=("cells", "shares", "latency"), help="default: all three")
    add("--data", action="store_true", help="DATA instead of I-DATA, as most browsers speak it")
    add("--seconds", type=float, help="how long to measure goodput in each cell")
    add("--seed", type=int, default=1)
    add("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once")
    add("--json", type=Path, metavar="FILE", help="write all figures there")
    add("--load", type=Path, nargs="+", metavar="FILE", help="figures of --json; run nothing")
    add("--markdown", action="store_true", help="tables in Markdown")
    add("--output", type=Path, metavar="FOLDER", help="draw plots there (needs matplotlib)")
    options = parser.parse_args(arguments)
    for name in options.controllers:
        if name not in CONTROLLERS:
            parser.error(f"no controller {name!r}; there are {', '.join(CONTROLLERS)}")
    quick = options.quick
    options.rates = options.rates or ((10.0, 100.0) if quick else RATES)
    options.rtts = options.rtts or ((20.0, 100.0) if quick else RTTS)
    options.losses = options.losses or ((0.0, 1.0) if quick else LOSSES)
    options.queues = options.queues or ((0.5,) if quick else QUEUES)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    began = time.monotonic()
    if options.load is None:
        results = run_all(make_jobs(options), options.jobs)
    else:
        results = load(options.load)
        kinds = {job.kind for job in results}
        options.parts = [
            part for part in ("cells", "shares", "latency") if {part, part[:-1]} & kinds
        ]
    if "cells" in options.parts:
        if options.markdown:
            show(goodput_table(results), markdown=True)
        else:
            for rate in dict.fromkeys(job.link.rate for job in results if job.kind == "cell"):
                show(cell_table(rate, results), markdown=False)
    if "shares" in options.parts:
        show(shares_table(results), markdown=options.markdown)
    if "latency" in options.parts:
        show(latency_table(results), markdown=options.markdown)
    if options.json is not None:
        rows = [{**attrs.asdict(job), **result} for job, result in results.items()]
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if options.output is not None:
        plot(results, options.output)
        print(f"plots are in {options.output}")
    if options.load is not None:
        return
    took = f"{len(results)} simulations in {time.monotonic() - began:.0f} s"
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(each.ru_utime + each.ru_stime for each in usage)
    print(f"{took} by {options.jobs} processes, {cpu:.0f} s of CPU time")


if __name__ == "__main__":
    main()
