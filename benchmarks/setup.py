"""What a peer connection costs: setting it up, holding it, leaving it idle; beside aiortc.

``python benchmarks/setup.py [--quick] [--pairs N]``. Both ends of each pair are in one process, on
the addresses of this computer (not the loopback interface, which aiortc leaves out; the packets
pass it all the same). Each stack is measured in processes of its own, in turn with the others.

- *set-up*: from asking for the offer to the first message at the other side, without trickle delay:
  each description has all candidates. The median of several pairs, one after another.
- *with certificates*: the same with a new certificate for each peer, as if it were the only one.
- *memory*: growth of the resident set by a pair that is connected and idle.
- *idle CPU*: share of one core that so many idle pairs take.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import importlib.util
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import trio

import rtcsctp

STACKS = ("rtcsctp", "aiortc")


def resident() -> int:
    """Bytes of this process in memory."""
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


# --------------------------------------------------------------------------- rtcsctp


class Ours:
    """Pairs of this project."""

    def __init__(self, stack: contextlib.AsyncExitStack, *, share_certificate: bool) -> None:
        self._stack = stack
        self._certificate = rtcsctp.Certificate.generate() if share_certificate else None

    async def pair(self) -> tuple[float, Any]:
        """A new pair; how long it took to its first message, in seconds."""
        config = rtcsctp.PeerConfig(certificate=self._certificate)
        left = await self._stack.enter_async_context(rtcsctp.open_peer(config))
        right = await self._stack.enter_async_context(rtcsctp.open_peer(config))
        channel = left.create_channel("first")
        began = time.perf_counter()
        offer = await left.offer()
        answer = await right.answer(offer)
        await left.accept(answer)
        await channel.send("first")
        other = await right.incoming.receive()
        await other.receive()
        return time.perf_counter() - began, (left, right)


async def measure_ours(pairs: int, idle: float, *, share_certificate: bool) -> dict[str, float]:
    async with contextlib.AsyncExitStack() as stack:
        ours = Ours(stack, share_certificate=share_certificate)
        await ours.pair()  # imports and caches
        before = resident()
        times = [(await ours.pair())[0] for _ in range(pairs)]
        memory = (resident() - before) / pairs
        cpu = time.process_time()
        await trio.sleep(idle)
        cpu = time.process_time() - cpu
        os.write(1, json.dumps(summary(times, memory, cpu / idle)).encode())
        os._exit(0)  # what it takes to close them is another question


# --------------------------------------------------------------------------- aiortc


async def aiortc_pair() -> tuple[float, Any]:
    from aiortc import RTCConfiguration, RTCPeerConnection  # noqa: PLC0415 - may be missing

    config = RTCConfiguration(iceServers=[])
    left, right = RTCPeerConnection(config), RTCPeerConnection(config)
    arrived = asyncio.Event()

    def take(channel: Any) -> None:
        channel.on("message", lambda _message: arrived.set())

    right.on("datachannel", take)
    channel = left.createDataChannel("first")
    channel.on("open", lambda: channel.send("first"))
    began = time.perf_counter()
    await left.setLocalDescription(await left.createOffer())
    await right.setRemoteDescription(left.localDescription)
    await right.setLocalDescription(await right.createAnswer())
    await left.setRemoteDescription(right.localDescription)
    await arrived.wait()
    return time.perf_counter() - began, (left, right)


async def measure_aiortc(pairs: int, idle: float) -> None:
    held = [(await aiortc_pair())[1]]
    before = resident()
    times = []
    for _ in range(pairs):
        seconds, pair = await aiortc_pair()
        times.append(seconds)
        held.append(pair)
    memory = (resident() - before) / pairs
    cpu = time.process_time()
    await asyncio.sleep(idle)
    cpu = time.process_time() - cpu
    os.write(1, json.dumps(summary(times, memory, cpu / idle)).encode())
    os._exit(0)


# --------------------------------------------------------------------------- all


def summary(times: list[float], memory: float, cpu: float) -> dict[str, float]:
    return {
        "median": statistics.median(times),
        "lowest": min(times),
        "highest": max(times),
        "memory": memory,
        "cpu": cpu,
    }


def run_child(stack: str, pairs: int, idle: float, *, share_certificate: bool) -> dict[str, float]:
    words = [sys.executable, __file__, "--child", stack, "--pairs", str(pairs), "--idle", str(idle)]
    if share_certificate:
        words.append("--share-certificate")
    output = subprocess.run(words, stdout=subprocess.PIPE, check=True, timeout=300).stdout
    result: dict[str, float] = json.loads(output)
    return result


def row(name: str, figures: list[str]) -> str:
    return f"{name:34}" + "".join(f"{figure:>26}" for figure in figures)


def milliseconds(result: dict[str, float]) -> str:
    low, middle, high = (result[key] * 1000 for key in ("lowest", "median", "highest"))
    return f"{middle:.1f} ms ({low:.1f}-{high:.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer pairs, less time")
    parser.add_argument("--pairs", type=int, default=None, help="pairs to hold (100)")
    parser.add_argument("--idle", type=float, default=None, help="seconds to watch them (20)")
    parser.add_argument("--child", choices=STACKS, help=argparse.SUPPRESS)
    parser.add_argument("--share-certificate", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    pairs = options.pairs or (20 if options.quick else 100)
    idle = options.idle or (5.0 if options.quick else 20.0)
    if options.child == "rtcsctp":
        trio.run(lambda: measure_ours(pairs, idle, share_certificate=options.share_certificate))
    elif options.child == "aiortc":
        asyncio.run(measure_aiortc(pairs, idle))
    else:
        compare(pairs, idle)


def compare(pairs: int, idle: float) -> None:
    present = [stack for stack in STACKS if importlib.util.find_spec(stack) is not None]
    print(f"{pairs} pairs; {platform.python_implementation()} {platform.python_version()}")
    for stack in STACKS:
        if stack not in present:
            print(f"{stack} is not installed: not measured")
    shared = {s: run_child(s, pairs, idle, share_certificate=s == "rtcsctp") for s in present}
    alone = {s: run_child(s, pairs, 0.1, share_certificate=False) for s in present}
    print(row("", present))
    table: list[tuple[str, Callable[[str], str]]] = [
        (
            "set-up, one certificate for all",
            lambda s: milliseconds(shared[s]) if s == "rtcsctp" else "-",
        ),
        ("set-up, a certificate each", lambda s: milliseconds(alone[s])),
        ("memory of an idle pair", lambda s: f"{shared[s]['memory'] / 1024:.0f} KiB"),
        (f"CPU of {pairs} idle pairs", lambda s: f"{shared[s]['cpu'] * 100:.2f} % of a core"),
    ]
    for name, figure in table:
        print(row(name, [figure(stack) for stack in present]))
    if len(present) == len(STACKS):
        ours, theirs = shared["rtcsctp"], shared["aiortc"]
        ratios = [f"{what} {ours[what] / theirs[what]:.2f}" for what in ("memory", "cpu")]
        ratios.insert(0, f"set-up {alone['rtcsctp']['median'] / alone['aiortc']['median']:.2f}")
        print("rtcsctp / aiortc: " + ", ".join(ratios))


if __name__ == "__main__":
    main()
