"""Snowflake's question: which kind of data channel should carry KCP? In virtual time.

    python benchmarks/datagrams.py [--quick] [--rates 1,10] [--losses 0,5] [--output FOLDER] ...

A circumvention proxy that runs its own retransmission (KCP) inside a data channel can give it

- *reliable*: a reliable ordered channel, as Snowflake does today;
- *unordered*: an unordered one without retransmission, each KCP packet a packet of SCTP;
- *lifetime*: an unordered one that repeats what was lost for at most half a second.

Two cores with their data channels and KCP on top stand at the ends of the simulated network of
`rtcsctp.testing`. KCP's clock is the virtual one: the same seed gives the same figures everywhere.

What is simulated:

- rate, delay, queue and loss are the same in both directions; the queue has room for one
  bandwidth-delay product, and 16 packets at least. Loss is random, each packet by itself;
- SCTP packets have 1,200 bytes at most (no path MTU discovery), and 65 bytes more on the wire:
  IPv4, UDP, and a DTLS record with AES-GCM (20 + 8 + 37). SCTP's congestion control is that of RFC
  9260, which takes each loss for congestion, and BBR, which does not;
- KCP as Snowflake sets it (`--kcp snowflake`): nodelay 0, interval 10 ms (0 means the least), no
  fast resend, nc 1, windows of 65,535; written data leaves at once, acknowledgements at the next
  interval, as in kcp-go. Its timeout is 200 ms at first and 100 ms at least. `--kcp fast` has
  nodelay 1 and fast resend after 2 instead. Its MTU is what fits into one packet of the channel;
  and its packets have the one or two bytes of Snowflake's encapsulation before them;
- between KCP and the channel: at most 512 KiB wait in the channel (the limit of Snowflake's proxy),
  and at most 2,048 packets before it; more are dropped. `--buffer` sets the former;
- the user above KCP keeps two bandwidth-delay products under way, 32 KiB at least, as one would
  that knows the path. `--in-flight 1024` is the limit of Snowflake's smux instead.

What is measured, in each cell (rate x RTT x loss x kind of channel):

- *goodput*: bytes of KCP's user that came to the other host for the first time, as a share of the
  link, after 2 s or 15 RTTs, and *wire*: bytes on the wire of both directions for each of them;
- *KCP again* and *SCTP again*: what each sent a second time, as a share of what is new;
- *loaded*: latency of messages of 200 bytes that share that KCP session;
- *alone*: latency of an interactive flow, a message of 200 bytes every 40 ms with nothing else on
  the link: from `enqueue` to delivery;
- *blocked*: head-of-line blocking of that flow: the longest time from the first arrival of a
  message at the other host, to its delivery. What it waited for was missing.

What follows from 10 Mbit/s, RTTs of 20 to 300 ms and losses of 0 to 10 %, with seed 1: unordered
channels without retransmission are not, by themselves, better for KCP as Snowflake sets it. An
interactive flow alone is repaired by KCP's timer, which is slower than SCTP's repair: at 10 %
loss its 99 % latency is 490 instead of 151 ms at an RTT of 20 ms, and the blocking moves from
SCTP into KCP, which orders, too. A transfer is bound by SCTP's congestion control, which every
kind of channel has: with that of RFC 9260, 1 % of loss at an RTT of 100 ms leaves 4 to 10 % of
the link to all of them. With BBR it is 63 to 71 %, and unordered channels carry more than
reliable ones up to an RTT of 100 ms and 1 % of loss, with a longer tail beside the transfer; at
300 ms and 1 % they carry much less (14 against 73 %). A lifetime of half a second is the better
compromise up to 100 ms. Limits: one seed, seconds and not minutes, random loss only, our SCTP and
not pion's, KCP's original and not kcp-go, and neither smux nor Tor above it, whose windows would
bound what is under way.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import importlib
import itertools
import json
import math
import os
import random
import re
import struct
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import attrs

from network import Link, Table, percentile, show
from rtcsctp.datachannel.channel import Channel
from rtcsctp.datachannel.channels import Channels
from rtcsctp.datachannel.events import Incoming, Opened, Readable
from rtcsctp.examples.datagrams import data_chunk, largest_in, largest_message, unpack_untrusted
from rtcsctp.runtime.peer_config import SCTP_OF_PEERS
from rtcsctp.sctp.association import Association
from rtcsctp.sctp.config import CONTROLLERS, Config
from rtcsctp.sctp.events import Event
from rtcsctp.sctp.timers import Timer
from rtcsctp.testing import Conditions, CorePair, Network

RATES = (1.0, 10.0, 50.0)  # Mbit/s
RTTS = (20.0, 100.0, 300.0)  # ms
LOSSES = (0.0, 1.0, 3.0, 10.0)  # percent
KINDS: Mapping[str, Mapping[str, Any]] = {
    "reliable": {"ordered": True},
    "unordered": {"ordered": False, "max_retransmits": 0},
    "lifetime": {"ordered": False, "max_packet_lifetime": 0.5},
}
PROFILES: Mapping[str, Mapping[str, int | bool]] = {
    "snowflake": {"no_delay": False, "resend_count": 0},
    "fast": {"no_delay": True, "resend_count": 2},
}

PACKET = 1200
LOWER_HEADERS = 20 + 8 + 37  # IPv4, UDP; DTLS: 13 of the record, 8 explicit nonce, 16 tag
INTERVAL = 10  # of KCP, ms
WINDOW = 65_535  # of KCP, segments
KCP_HEADER = 24
QUEUE = 2048  # packets between KCP and the channel
LEAST_IN_FLIGHT = 32 << 10  # bytes
SMALL = 200
ALONE_EVERY, ALONE_COUNT = 0.04, 1000
LOADED_EVERY = 0.1

MARK: Final = b"\x9e\x37\x79\xb9\x7f\x4a\x7c\x15"  # no header looks like this
FIND: Final = re.compile(re.escape(MARK) + b"(.)(....)", re.DOTALL)
BULK, INTERACTIVE = b"B", b"I"


class Kcp(Protocol):
    """What is used of the package `kcp`."""

    def include_outbound_handler(self, handler: Any) -> None: ...
    def enqueue(self, data: bytes) -> None: ...
    def receive(self, data: bytes) -> None: ...
    def get_all_received(self) -> Any: ...
    def update(self, ts_ms: int) -> None: ...
    def flush(self) -> None: ...
    def get_outbound_packets(self) -> int: ...


def make_kcp(profile: str, mtu: int) -> Kcp:
    """A new KCP; the windows are Snowflake's."""
    try:
        module: Any = importlib.import_module("kcp")
    except ImportError:
        sys.exit("this benchmark needs the package kcp: pip install kcp")
    kcp: Kcp = module.KCP(
        1,
        max_transmission=mtu,
        update_interval=INTERVAL,
        no_congestion_control=True,
        send_window_size=WINDOW,
        receive_window_size=WINDOW,
        **PROFILES[profile],
    )
    return kcp


@attrs.frozen
class Job:
    """One simulation."""

    link: Link
    kind: str
    profile: str
    measure: str
    """``bulk`` or ``alone``."""
    controller: str = "rfc9260"
    buffer: int = 512 << 10
    in_flight: int | None = None
    """Bytes that the user of KCP keeps under way; None: two bandwidth-delay products."""
    seed: int = 1
    scale: float = 1.0
    """Of the time that is measured."""

    @property
    def cost(self) -> float:
        return 1.0 if self.measure == "alone" else self.link.rate / (1 + self.link.loss)


# ------------------------------------------------------------------------------------- an end

TimerName = Timer | Literal["kcp"]


class End:
    """An association, its channels, and KCP on one of them: the core that is stepped."""

    def __init__(self, job: Job, name: str, *, is_client: bool) -> None:
        config = attrs.evolve(
            SCTP_OF_PEERS,
            mtu=PACKET,
            path_mtu_discovery=False,
            congestion_control=job.controller,
            heartbeat_interval=0,
        )
        self.core: Final = make_association(config, f"{job.seed}/{name}")
        self.channels: Final = Channels(self.core, max_message_size_remote=None)
        self.channels.set_role(is_client, 0.0)
        mtu = largest_in(largest_message(PACKET, interleaving=config.interleaving))
        self.segment: Final = mtu - KCP_HEADER
        """Bytes of the user in a full packet."""
        self.kcp: Final = make_kcp(job.profile, mtu)
        self.kcp.include_outbound_handler(self._kcp_gives)
        self._kcp_at = 0.0
        self._buffer: Final = job.buffer
        self._queue: Final = deque[bytes]()
        self._now = 0.0
        self.channel: Channel | None = None
        self.arrived: Final[dict[tuple[bytes, int], float]] = {}
        """When each message first came to this host."""
        self.delivered: Final[dict[tuple[bytes, int], float]] = {}
        """When KCP gave each to its user."""
        self.small_delivered = 0
        self.useful = 0
        """Bytes that came for the first time; KCP delivers them all in the end."""
        self.pushed = 0
        """Segments with data that KCP sent, again or not."""
        self._pushed_once: Final[set[tuple[bytes, bytes]]] = set()
        self.dropped = 0
        self.backlog = 0
        """Bytes that the bulk user keeps under way; 0: there is none."""
        self._number = 0

    # ---- the surface of a core

    @property
    def timers(self) -> Mapping[TimerName, float]:
        found = dict[TimerName, float](self.core.timers.items())
        found["kcp"] = self._kcp_at
        return found

    def handle_datagrams(self, batch: Sequence[bytes], now: float) -> None:
        self._now = now
        for packet in batch:
            for kind, number in FIND.findall(packet):
                message = (kind, int.from_bytes(number, "big"))
                if message not in self.arrived:
                    self.arrived[message] = now
                    self.useful += self.segment if kind == BULK else SMALL
        self.core.handle_datagrams(batch, now)
        self._settle()

    def handle_timer(self, timer: TimerName, now: float) -> None:
        self._now = now
        if timer == "kcp":
            self._tell_time()
            self._kcp_at = now + INTERVAL / 1000
            self._pump()
        else:
            self.core.handle_timer(timer, now)
        self._settle()

    def poll_event(self) -> Event | None:
        return None  # all have been taken

    def poll_transmit(self, now: float, max_packets: int = 64) -> list[bytes]:
        self._now = now
        self._top_up()
        self._pump()
        packets = self.core.poll_transmit(now, max_packets)
        self._settle()
        return packets

    @property
    def pushed_once(self) -> int:
        """Segments with data that KCP sent, each counted once."""
        return len(self._pushed_once)

    # ---- from KCP to the channel and back

    def _tell_time(self) -> None:
        """KCP's clock: milliseconds of virtual time. It may send what is due."""
        self.kcp.update(int(self._now * 1000 + 1e-6))

    def _kcp_gives(self, _kcp: object, packet: bytes) -> None:
        found = FIND.findall(packet)
        self.pushed += len(found)
        self._pushed_once.update(found)
        if len(self._queue) < QUEUE:
            self._queue.append(packet)
        else:
            self.dropped += 1

    def _pump(self) -> None:
        channel, channels, queue = self.channel, self.channels, self._queue
        if channel is None:
            return
        while queue and channels.buffered_amount(channel) < self._buffer:
            channels.send(channel, data_chunk(queue.popleft()), self._now)

    def _settle(self) -> None:
        while True:
            if (event := self.core.poll_event()) is not None:
                self.channels.handle_event(event, self._now)
            elif (found := self.channels.poll_event()) is None:
                break
            elif isinstance(found, (Incoming, Opened)):
                self.channel = found.channel
            elif isinstance(found, Readable):
                self._read(found.channel)

    def _read(self, channel: Channel) -> None:
        self._tell_time()
        while messages := self.channels.receive(channel, 1000, self._now):
            for message in messages:
                assert isinstance(message, bytes)
                for datagram in unpack_untrusted(message):
                    self.kcp.receive(datagram)
        for message in self.kcp.get_all_received():
            kind, number = bytes(message[8:9]), int.from_bytes(message[9:13], "big")
            self.delivered[kind, number] = self._now
            self.small_delivered += kind == INTERACTIVE
        self._top_up()

    # ---- the user

    def say(self, kind: bytes, number: int, size: int, now: float) -> None:
        """Give KCP a message; it leaves at once, as far as the channel takes it."""
        self._now = now
        self._tell_time()
        self.kcp.enqueue((MARK + kind + struct.pack("!I", number)).ljust(size, b"\0"))
        self.kcp.flush()
        self._pump()

    def _top_up(self) -> None:
        missing = self.backlog // self.segment - self.kcp.get_outbound_packets()
        if missing <= 0 or not self.backlog:
            return
        self._tell_time()
        for _ in range(missing):
            head = MARK + BULK + struct.pack("!I", self._number)
            self.kcp.enqueue(head.ljust(self.segment, b"\0"))
            self._number += 1
        self.kcp.flush()


def make_association(config: Config, seed: str) -> Association:
    return Association(config, local_port=5000, remote_port=5000, rng=random.Random(seed))


class Ends(CorePair[TimerName, Event]):
    """Two ends with an open channel of the kind that the job names."""

    def __init__(self, job: Job) -> None:
        link = job.link
        conditions = Conditions(
            delay=link.seconds / 2,
            rate=link.speed,
            queue=max(16 * PACKET, int(link.speed * link.seconds * link.queue)),
            overhead=LOWER_HEADERS,
            mtu=PACKET,
        )
        self.a: Final = End(job, "a", is_client=True)
        self.b: Final = End(job, "b", is_client=False)
        network = Network(conditions, seed=f"{job.seed}/{link}/{job.measure}")
        super().__init__(self.a, self.b, network)
        self.a.core.connect(self.now)
        self.a.channels.create("kcp", now=self.now, **KINDS[job.kind])
        self.run_until(lambda: self.a.channel is not None and self.b.channel is not None)
        # The same packets are lost from here on, whatever the set-up was.
        network.set_conditions(attrs.evolve(conditions, loss=link.loss / 100))

    @property
    def wire_bytes(self) -> int:
        """Sent by both ends, with all headers."""
        counters = (self.network.a_to_b.counters, self.network.b_to_a.counters)
        return sum(each.sent_bytes + each.sent * LOWER_HEADERS for each in counters)

    def latencies(self, sent: Mapping[int, float]) -> list[float]:
        """Of the interactive messages, milliseconds; infinite for what never came."""
        came = self.b.delivered
        return [1000 * (came.get((INTERACTIVE, n), math.inf) - at) for n, at in sent.items()]

    def waits(self) -> list[float]:
        """How long each delivered message was at its host already, milliseconds."""
        arrived = self.b.arrived
        return [1000 * (at - arrived[message]) for message, at in self.b.delivered.items()]


# -------------------------------------------------------------------------------- measurement


def measure_alone(job: Job) -> dict[str, float]:
    """A small message every 40 ms, and nothing else."""
    ends = Ends(job)
    count = int(ALONE_COUNT * job.scale)
    sent: dict[int, float] = {}
    began, before = ends.now + 0.1, ends.wire_bytes
    for number in range(count):
        ends.run_for(began + number * ALONE_EVERY - ends.now)
        sent[number] = ends.now
        ends.a.say(INTERACTIVE, number, SMALL, ends.now)
    ends.run_until(lambda: ends.b.small_delivered >= count, timeout=120)
    latencies = ends.latencies(sent)
    waits = ends.waits()
    return {
        "p50": percentile(latencies, 0.5),
        "p95": percentile(latencies, 0.95),
        "p99": percentile(latencies, 0.99),
        "blocked": max(waits),
        "blocked_share": sum(wait > 1 for wait in waits) / len(waits),
        "wire_alone": (ends.wire_bytes - before) / (count * SMALL),
    }


def measure_bulk(job: Job) -> dict[str, float]:
    """An endless transfer, and an interactive flow in the same KCP session."""
    ends = Ends(job)
    link = job.link
    ends.a.backlog = job.in_flight or max(LEAST_IN_FLIGHT, int(2 * link.speed * link.seconds))
    ends.run_for(max(2.0, 15 * link.seconds))
    useful, wire = ends.b.useful, ends.wire_bytes
    pushed, once = ends.a.pushed, ends.a.pushed_once
    statistics = ends.a.core.statistics()
    again = statistics.fast_retransmits + statistics.timeout_retransmits
    chunks = statistics.data_chunks_sent
    began = ends.now
    window = job.scale * max(6.0, 30 * link.seconds)
    sent: dict[int, float] = {}
    for number in range(int(window / LOADED_EVERY)):
        ends.run_for(began + number * LOADED_EVERY - ends.now)
        sent[number] = ends.now
        ends.a.say(INTERACTIVE, number, SMALL, ends.now)
    ends.run_for(began + window - ends.now)
    gained, took = ends.b.useful - useful, ends.wire_bytes - wire
    pushed, once = ends.a.pushed - pushed, ends.a.pushed_once - once
    statistics = ends.a.core.statistics()
    again = statistics.fast_retransmits + statistics.timeout_retransmits - again
    chunks = statistics.data_chunks_sent - chunks
    ends.a.backlog = 0
    with contextlib.suppress(TimeoutError):
        ends.run_until(lambda: ends.b.small_delivered >= len(sent), timeout=30)
    latencies = ends.latencies(sent)
    return {
        "goodput": gained / window / link.speed,
        "wire": took / max(1, gained),
        "kcp_again": pushed / max(1, once) - 1,
        "sctp_again": again / max(1, chunks - again),
        "dropped": ends.a.dropped,
        "loaded_p50": percentile(latencies, 0.5),
        "loaded_p95": percentile(latencies, 0.95),
        "loaded_p99": percentile(latencies, 0.99),
        "loaded_blocked": max(ends.waits(), default=0.0),
    }


def run_job(job: Job) -> tuple[Job, dict[str, float]]:
    return job, measure_alone(job) if job.measure == "alone" else measure_bulk(job)


@attrs.frozen
class Row:
    """Both measurements of one cell."""

    profile: str
    controller: str
    rate: float
    rtt: float
    loss: float
    kind: str
    values: Mapping[str, float]


def run_all(jobs: Sequence[Job], processes: int) -> list[Row]:
    results: dict[Job, dict[str, float]] = {}
    ordered = sorted(jobs, key=lambda job: job.cost, reverse=True)
    with concurrent.futures.ProcessPoolExecutor(processes) as pool:
        futures = [pool.submit(run_job, job) for job in ordered]
        for future in concurrent.futures.as_completed(futures):
            job, result = future.result()
            results[job] = result
            if sys.stderr.isatty() or not len(results) % 20:
                print(f"\r{len(results)}/{len(jobs)} ", end="", file=sys.stderr, flush=True)
    cells: dict[tuple[str, str, float, float, float, str], dict[str, float]] = {}
    for job in jobs:
        link = job.link
        key = (job.profile, job.controller, link.rate, link.rtt, link.loss, job.kind)
        cell = cells.setdefault(key, {})
        cell.update({name: round(value, 6) for name, value in results[job].items()})
    return [Row(*key, values=values) for key, values in cells.items()]


# ---------------------------------------------------------------------------- tables and plots

Setting = tuple[str, str]
"""Of KCP, and SCTP's controller."""


def make_table(setting: Setting, rows: Sequence[Row]) -> Table:
    names = ["rate", "RTT", "loss", "channel", "goodput", "wire", "KCP again", "SCTP again"]
    names += ["loaded 50", "95", "99 %", "alone 50", "95", "99 %", "blocked"]
    lines = []
    for row in rows:
        if (row.profile, row.controller) != setting:
            continue
        value = row.values
        lines.append(
            [
                f"{row.rate:g}",
                f"{row.rtt:g} ms",
                f"{row.loss:g} %",
                row.kind,
                f"{value['goodput']:.1%}",
                f"{value['wire']:.2f}",
                f"{value['kcp_again']:.1%}",
                f"{value['sctp_again']:.1%}",
                *(f"{value[f'loaded_p{share}']:.0f}" for share in (50, 95, 99)),
                *(f"{value[f'p{share}']:.0f}" for share in (50, 95, 99)),
                f"{value['blocked']:.0f}",
            ]
        )
    title = f"KCP: {setting[0]}, SCTP: {setting[1]}; rates in Mbit/s, latencies in ms"
    return title, names, lines


PLOTS: Mapping[str, str] = {
    "goodput": "goodput, share of the link",
    "wire": "bytes on the wire per useful byte",
    "p99": "interactive flow alone: 99 % latency, ms",
    "blocked": "interactive flow alone: longest head-of-line blocking, ms",
    "loaded_p95": "interactive flow beside a transfer: 95 % latency, ms",
}


STYLES: Mapping[str, str] = {"reliable": "o-", "unordered": "s--", "lifetime": "^:"}
TOP: Mapping[str, float] = {"wire": 10.0, "loaded_p95": 20_000.0}
"""What is larger is drawn there: it says only that next to nothing arrived."""


def plot(rows: Sequence[Row], folder: Path) -> list[Path]:
    """One figure for each profile and measure: a panel for each rate and RTT, loss along x."""
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    rates = sorted({row.rate for row in rows})
    rtts = sorted({row.rtt for row in rows})
    settings = sorted({(row.profile, row.controller) for row in rows})
    for setting, (name, title) in itertools.product(settings, PLOTS.items()):
        figure, all_axes = plt.subplots(
            len(rates),
            len(rtts),
            figsize=(max(6.0, 1 + 3.2 * len(rtts)), 1.2 + 2.4 * len(rates)),
            sharex=True,
            squeeze=False,
        )
        for (y, rate), (x, rtt) in itertools.product(enumerate(rates), enumerate(rtts)):
            axes = all_axes[y][x]
            for kind, style in STYLES.items():
                cells = sorted(
                    (row.loss, min(row.values[name], TOP.get(name, math.inf)))
                    for row in rows
                    if (row.profile, row.controller) == setting
                    and (row.rate, row.rtt, row.kind) == (rate, rtt, kind)
                )
                if cells:
                    losses, values = zip(*cells, strict=True)
                    axes.plot(losses, values, style, label=kind, markersize=4)
            axes.set_title(f"{rate:g} Mbit/s, {rtt:g} ms", fontsize=9)
            axes.set_ylim(bottom=0)
            axes.grid(alpha=0.3)
            # Room for the legend, and none lost at the top where a curve is flat.
            axes.set_ylim(top=1.15 * axes.dataLim.intervaly[1] or None)
        all_axes[0][0].legend(fontsize=8)
        for axes in all_axes[-1]:
            axes.set_xlabel("loss, %")
        figure.suptitle(f"{title}\nKCP: {setting[0]}, SCTP: {setting[1]}", fontsize=11)
        figure.tight_layout()
        path = folder / f"datagrams-{'-'.join(setting)}-{name}.png"
        figure.savefig(path, dpi=100)
        plt.close(figure)
        written.append(path)
    return written


# --------------------------------------------------------------------------------------- main


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    def numbers(text: str) -> tuple[float, ...]:
        return tuple(float(word) for word in text.split(","))

    def words(text: str) -> tuple[str, ...]:
        return tuple(text.split(","))

    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--quick", action="store_true", help="few cells: less than a minute")
    add("--rates", type=numbers, help="Mbit/s, with commas")
    add("--rtts", type=numbers, help="ms, with commas")
    add("--losses", type=numbers, help="percent, with commas")
    add("--kcp", type=words, help="settings of KCP: snowflake,fast")
    add("--channels", type=words, default=tuple(KINDS), help="kinds of channels, with commas")
    add("--controllers", type=words, default=("rfc9260", "bbr"), help="of SCTP, with commas")
    add("--buffer", type=int, default=512, metavar="KIB", help="in the channel; default 512")
    add("--in-flight", type=int, metavar="KIB", help="of KCP's user; default: 2 BDP")
    add("--scale", type=float, default=1.0, help="of the time that each cell is measured")
    add("--seed", type=int, default=1)
    add("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once")
    add("--json", type=Path, metavar="FILE", help="write all figures there")
    add("--markdown", action="store_true", help="tables in Markdown")
    add("--output", type=Path, metavar="FOLDER", help="draw plots there (needs matplotlib)")
    options = parser.parse_args(arguments)
    quick = options.quick
    options.rates = options.rates or ((10.0,) if quick else RATES)
    options.rtts = options.rtts or ((100.0,) if quick else RTTS)
    options.losses = options.losses or ((0.0, 2.0) if quick else LOSSES)
    options.kcp = options.kcp or (("snowflake",) if quick else tuple(PROFILES))
    options.scale *= 0.3 if quick else 1.0
    for name in options.kcp:
        if name not in PROFILES:
            parser.error(f"no settings {name!r} of KCP; there are {', '.join(PROFILES)}")
    for name in options.channels:
        if name not in KINDS:
            parser.error(f"no kind of channel {name!r}; there are {', '.join(KINDS)}")
    for name in options.controllers:
        if name not in CONTROLLERS:
            parser.error(f"no controller {name!r}; there are {', '.join(CONTROLLERS)}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    began = time.monotonic()
    settings = list(itertools.product(options.kcp, options.controllers))
    links = list(itertools.product(options.rates, options.rtts, options.losses))
    jobs = [
        Job(
            Link(*link),
            kind,
            profile,
            measure,
            controller,
            options.buffer << 10,
            options.in_flight and options.in_flight << 10,
            options.seed,
            options.scale,
        )
        for profile, controller in settings
        for link, kind, measure in itertools.product(links, options.channels, ("bulk", "alone"))
    ]
    rows = run_all(jobs, options.jobs)
    for setting in settings:
        show(make_table(setting, rows), markdown=options.markdown)
    if options.json is not None:
        text = json.dumps([attrs.asdict(row) for row in rows], indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")
    if options.output is not None:
        for path in plot(rows, options.output):
            print(path)
    print(f"{len(jobs)} simulations in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
