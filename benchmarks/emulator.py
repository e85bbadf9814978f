"""A link between two network namespaces, with a rate, a delay, a queue and loss; in user space.

    python benchmarks/emulator.py [--rate MBIT] [--rtt MS] [--queue KIB] [--loss PERCENT]
    python benchmarks/emulator.py --limit

Needs root and /dev/net/tun, and nothing else of the kernel: no netem. The first form makes the
namespaces, prints how programs are started in them, and ends with its input; a line on its input
asks for what was counted since the last one. The second form floods a link without a limit, and
says what this computer's emulator can carry.

Each namespace has a TUN device, `link0`, with the address 10.91.0.1 or 10.91.0.2. What leaves by
the one device goes into the other, in order, when the link would have delivered it. Each direction
has a queue, a rate and loss of its own: bytes leave the queue at the rate, then take half of the
round-trip time. A packet that finds no room in the queue is dropped, and of all packets the given
share is lost at random, before they reach the queue. Lengths are those of IP packets.

The loop is as tight as Python allows: reads until both devices are empty, then writes all that is
due, then sleeps by select(), whose timeout has microseconds. How late packets were is counted too
(`late`, beyond the delay that they were to have), so that a run shows whether the emulator kept up:
a mean of more than a millisecond says that it did not. It runs before all programs that are not
real-time ones, as the hardware does that it stands for, where the system allows that.

A namespace has no name that could be left behind: it lives as long as this process, or another one
in it.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import gc
import json
import os
import random
import select
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

ADDRESSES = ("10.91.0.1", "10.91.0.2")
MTU = 1500

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
MAX_READS = (
    64  # packets read at once from one device, before the other and the clock have their turn
)


class EmulatorError(Exception):
    """There can be no emulated links here."""


def missing() -> str | None:
    """Why there can be no emulated links here, or None."""
    if sys.platform != "linux":
        return "network namespaces are a thing of Linux"
    if os.geteuid() != 0:
        return "it needs root"
    for program in ("ip", "nsenter"):
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian: iproute2, util-linux)"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "there is no /dev/net/tun"
    done = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    return f"no network namespaces: {done.stderr.strip()}" if done.returncode else None


# --------------------------------------------------------------------------- devices


def _libc(function: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*arguments):
        error = ctypes.get_errno()
        raise EmulatorError(f"{function}: {os.strerror(error)}")


def _make_end(number: int) -> tuple[int, int]:
    """A new namespace with its device; their file descriptors. This process stays inside."""
    _libc("unshare", CLONE_NEWNET)
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY)
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"link0", IFF_TUN | IFF_NO_PI))
    commands = (
        "link set lo up\n"
        f"address add {ADDRESSES[number]}/24 dev link0\n"
        f"link set link0 mtu {MTU} txqueuelen 2000 up\n"
        f"route add default via {ADDRESSES[1 - number]} dev link0\n"
    )
    done = subprocess.run(
        ["ip", "-batch", "-"], input=commands, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise EmulatorError(f"ip: {done.stderr.strip()}")
    return namespace, device


# --------------------------------------------------------------------------- one direction


class Direction:
    """What happens to packets one way. Times are in seconds, sizes in bytes.

    Attributes:
        due: packets on their way with the time at which they are delivered, in order.
    """

    __slots__ = (
        "_delay",
        "_free_at",
        "_loss",
        "_queue",
        "_rate",
        "_rng",
        "bytes",
        "due",
        "late_sum",
        "late_worst",
        "lost",
        "overflowed",
        "packets",
        "refused",
        "waited_sum",
        "waited_worst",
    )

    def __init__(
        self, *, rate: float, delay: float, queue: int, loss: float, rng: random.Random
    ) -> None:
        self._rate = rate
        self._delay = delay
        self._queue = queue
        self._loss = loss
        self._rng = rng
        self._free_at = 0.0
        self.due: deque[tuple[float, bytes]] = deque()
        self.forget()

    def forget(self) -> None:
        """Begin to count anew."""
        self.packets = self.bytes = self.lost = self.overflowed = self.refused = 0
        self.waited_sum = self.waited_worst = self.late_sum = self.late_worst = 0.0

    def take(self, packet: bytes, now: float) -> None:
        if self._loss and self._rng.random() < self._loss:
            self.lost += 1
            return
        wait = self._free_at - now  # until the last bit of what came before has left
        wait = max(wait, 0.0)
        if wait * self._rate + len(packet) > self._queue:
            self.overflowed += 1
            return
        self.waited_sum += wait
        self.waited_worst = max(self.waited_worst, wait)
        self._free_at = now + wait + len(packet) / self._rate
        self.due.append((self._free_at + self._delay, packet))

    def deliver(self, device: int, now: float) -> None:
        """Write all that is due."""
        due = self.due
        while due and due[0][0] <= now:
            at, packet = due.popleft()
            late = now - at
            self.late_sum += late
            self.late_worst = max(self.late_worst, late)
            try:
                os.write(device, packet)
            except OSError:  # the device is down
                self.refused += 1
                continue
            self.packets += 1
            self.bytes += len(packet)

    def report(self) -> dict[str, float]:
        """What was counted; times in seconds."""
        arrived = max(1, self.packets + self.refused)
        return {
            "packets": self.packets,
            "bytes": self.bytes,
            "lost": self.lost,
            "overflowed": self.overflowed,
            "refused": self.refused,
            "waited_mean": self.waited_sum / arrived,
            "waited_worst": self.waited_worst,
            "late_mean": self.late_sum / arrived,
            "late_worst": self.late_worst,
        }


# --------------------------------------------------------------------------- the loop


def forward(devices: tuple[int, int], directions: tuple[Direction, Direction]) -> None:
    """Carry packets until stdin ends."""
    read, clock, wait = os.read, time.monotonic, select.select
    sources = [0, *devices]
    pairs = (
        (devices[0], directions[0], devices[1]),
        (devices[1], directions[1], devices[0]),
    )
    while True:
        now = clock()
        upcoming = min(
            direction.due[0][0] if direction.due else now + 1.0 for direction in directions
        )
        ready = wait(sources, [], [], upcoming - now if upcoming > now else 0.0)[0]
        for source, direction, _ in pairs:
            if source not in ready:
                continue
            now = clock()
            take = direction.take
            try:
                for _ in range(MAX_READS):
                    take(read(source, MTU), now)
            except BlockingIOError:
                pass
        for _, direction, target in pairs:
            if direction.due:
                direction.deliver(target, clock())
        if 0 in ready:
            if not os.read(0, 4096):
                return
            _tell([direction.report() for direction in directions])
            for direction in directions:
                direction.forget()


def _tell(value: object) -> None:
    print(json.dumps(value), flush=True)


def serve(rate: float, rtt: float, queue: int, loss: float, seed: int) -> None:
    """Make the link, say where its ends are, and forward. Bytes per second, seconds, bytes."""
    ends = [_make_end(number) for number in (0, 1)]
    directions = [
        Direction(
            rate=rate, delay=rtt / 2, queue=queue, loss=loss, rng=random.Random(seed + number)
        )
        for number in (0, 1)
    ]
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    gc.disable()
    prefixes = [["nsenter", f"--net=/proc/{os.getpid()}/fd/{end[0]}", "--"] for end in ends]
    _tell({"prefixes": prefixes, "addresses": ADDRESSES})
    forward((ends[0][1], ends[1][1]), (directions[0], directions[1]))


# --------------------------------------------------------------------------- for programs


class Link:
    """An emulated link, running; `open_link` gives it.

    Attributes:
        prefixes: what comes before the words of a command that is to run at one end or the other.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.prefixes: list[list[str]] = self._read()["prefixes"]

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise EmulatorError("the emulator ended; it needs root and /dev/net/tun")
        return json.loads(line)

    def report(self) -> list[dict[str, float]]:
        """What each direction has counted since the last report; first the way from end 0 to 1."""
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)
        counted: list[dict[str, float]] = self._read()
        return counted


@contextlib.contextmanager
def open_link(
    *, rate: float, rtt: float, queue: int, loss: float = 0.0, seed: int = 1
) -> Iterator[Link]:
    """A link in a process of its own.

    Args:
        rate: bits per second, IP headers included.
        rtt: seconds there and back, without queues.
        queue: bytes that may wait in each direction.
        loss: share of packets, from 0 to 1, lost at random in each direction.
        seed: what decides about them.

    Raises:
        EmulatorError: it cannot be made.
    """
    words = [sys.executable, __file__, "--rate", str(rate / 1e6), "--rtt", str(rtt * 1e3)]
    words += ["--queue", str(queue / 1024), "--loss", str(loss * 100), "--seed", str(seed)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Link(process)
    finally:
        process.kill()
        process.communicate()


# --------------------------------------------------------------------------- its own limit

FLOOD_PORT = 9000
FLOOD_SIZE = 1200


def _flood(per_second: int, seconds: float) -> None:
    """Send so many datagrams per second; runs at one end."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((ADDRESSES[1], FLOOD_PORT))
        data = bytes(FLOOD_SIZE)
        begin, sent = time.monotonic(), 0
        while (elapsed := time.monotonic() - begin) < seconds:
            while sent < elapsed * per_second:
                with contextlib.suppress(OSError):
                    sock.send(data)
                sent += 1
            time.sleep(0.0005)
    print(sent)


def limit() -> None:
    """Find the highest rate of packets at which all arrive, and say how late."""
    print(f"datagrams of {FLOOD_SIZE} bytes one way, for a second each:")
    for per_second in (5_000, 10_000, 20_000, 40_000, 80_000):
        with open_link(rate=1e10, rtt=0.002, queue=1 << 30) as link:
            words = [*link.prefixes[0], sys.executable, __file__, "--flood", str(per_second)]
            done = subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True)
            time.sleep(0.1)
            counted = link.report()[0]
        sent = int(done.stdout)
        share, megabits = counted["packets"] / sent, sent * (FLOOD_SIZE + 28) * 8 / 1e6
        late, worst = counted["late_mean"] * 1e3, counted["late_worst"] * 1e3
        print(
            f"  {sent:>7,} sent ({megabits:>4.0f} Mbit/s): {share:7.2%} arrived, "
            f"late by {late:.2f} ms on average, {worst:.1f} ms at worst",
            flush=True,
        )
        if counted["packets"] < 0.98 * sent:
            break


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rate", type=float, default=100.0, help="Mbit/s, IP headers included")
    parser.add_argument("--rtt", type=float, default=20.0, help="ms, there and back")
    parser.add_argument("--queue", type=float, default=256.0, help="KiB in each direction")
    parser.add_argument("--loss", type=float, default=0.0, help="percent, in each direction")
    parser.add_argument("--seed", type=int, default=1, help="decides which packets are lost")
    parser.add_argument("--limit", action="store_true", help="find out what this computer can do")
    parser.add_argument("--flood", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.flood:
        _flood(options.flood, 1.0)
        return
    if reason := missing():
        print(f"emulated links: missing: {reason}")
    elif options.limit:
        limit()
    else:
        serve(
            options.rate * 1e6 / 8,
            options.rtt / 1e3,
            round(options.queue * 1024),
            options.loss / 100,
            options.seed,
        )


if __name__ == "__main__":
    main()
