"""`rtcsctp perf`: throughput over data channels."""

from __future__ import annotations

import argparse
import json
import math
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import attrs
import trio

import rtcsctp
from rtcsctp.cli.arguments import (
    AddParser,
    add_command,
    add_settings,
    duration,
    positive_size,
    size,
    whole_number,
)
from rtcsctp.cli.failure import Interrupted
from rtcsctp.cli.interrupt import until_interrupted
from rtcsctp.cli.output import note, say
from rtcsctp.cli.peers import add_peer_options, peer_config
from rtcsctp.cli.reach import add_reach_options, answer, check_reach, connected_here, reached
from rtcsctp.cli.services import Services, describe_pair
from rtcsctp.cli.throughput import DIRECTIONS, Plan, ThroughputTest
from rtcsctp.cli.units import format_bit_rate, format_duration, format_size
from rtcsctp.runtime.peer import PeerConnection
from rtcsctp.runtime.peer_config import SCTP_OF_PEERS, PeerConfig

__all__ = ["add_parser", "run"]

_TIME = 5.0
_MESSAGE = 16_384
_SMALLEST = 8  # bytes: each message has its number
_INTERVAL = 1.0

_EXAMPLES = """\
examples:
  rtcsctp perf --loopback
  rtcsctp perf http://127.0.0.1:8080/ --time 10s --parallel 4
  rtcsctp perf http://127.0.0.1:8080/ --direction both --json
  rtcsctp perf http://127.0.0.1:8080/ --unordered --max-retransmits 0 --message 1000
  rtcsctp perf             (and on the other machine: rtcsctp perf --answer)

The other end is rtcsctp serve, or this command with --answer. The exit code is 0 if
the test came to its end, also where messages that may get lost were lost.
"""


def add_parser(add: AddParser) -> None:
    """Add the command to those of `rtcsctp`."""
    parser = add_command(
        add,
        "perf",
        run,
        summary="measure throughput to another end",
        description="Send messages over data channels as fast as they go, and tell how much "
        "arrived, and what got lost where channels may lose it. Ctrl-C ends the test early.",
        defaults=SCTP_OF_PEERS,
        epilog=_EXAMPLES,
    )
    add_reach_options(parser, "perf")
    parser.add_argument(
        "--loopback",
        dest="in_process",
        action="store_true",
        help="have both ends in this process",
    )
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument(
        "--time",
        type=duration,
        default=_TIME,
        metavar="TIME",
        help="send for so long, like 10s (default: 5s)",
    )
    amount.add_argument(
        "--size", type=positive_size, metavar="BYTES", help="send so much in each direction instead"
    )
    parser.add_argument(
        "--message",
        type=size,
        default=_MESSAGE,
        metavar="BYTES",
        help="size of a message, at least 8 (default: 16KiB)",
    )
    parser.add_argument(
        "--parallel",
        type=whole_number(1, 64),
        default=1,
        metavar="N",
        help="channels in each direction (default: 1)",
    )
    parser.add_argument(
        "--direction",
        choices=(*DIRECTIONS, "both"),
        default="up",
        help="up is from here to the other end (the default)",
    )
    parser.add_argument("--unordered", action="store_true", help="let messages overtake each other")
    limits = parser.add_mutually_exclusive_group()
    limits.add_argument(
        "--max-retransmits",
        type=whole_number(0, 65_535),
        metavar="N",
        help="send no message again more often than that, and count what got lost",
    )
    limits.add_argument(
        "--lifetime",
        type=duration,
        metavar="TIME",
        help="give messages up after so long, like 100ms, and count what got lost",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_peer_options(parser, loopback="--same-machine", public_stun=" without URL")
    add_settings(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure, or be the other end.

    Raises:
        CommandError, RtcsctpError: there is no connection, or it broke.
    """
    error = arguments.parser.error
    if not _SMALLEST <= arguments.message <= 1 << 18:
        error(f"argument --message: a message has from {_SMALLEST} to {1 << 18} bytes")
    if not 0 < arguments.time <= 86_400:
        error("argument --time: more than nothing, and a day at most")
    if arguments.lifetime is not None and not 0 < arguments.lifetime <= 65.535:
        error("argument --lifetime: more than nothing, and 65.535 s at most")
    if arguments.in_process:
        if arguments.url is not None or arguments.answer:
            error("argument --loopback: not allowed with URL or --answer")
        config = attrs.evolve(peer_config(arguments, loopback=True), addresses=["127.0.0.1"])
        trio.run(_Perf(arguments, config).run)
        return
    config = check_reach(arguments)
    if arguments.answer:
        trio.run(until_interrupted, partial(answer, "perf", config))
    else:
        trio.run(_Perf(arguments, config).run)


class _Perf:
    """One measurement."""

    def __init__(self, arguments: argparse.Namespace, config: PeerConfig) -> None:
        self._arguments = arguments
        self._config = config
        self._ending = trio.Event()
        self._test: ThroughputTest | None = None
        self._result: dict[str, Any] = {}

    async def run(self) -> None:
        """Measure, until it is over or the first signal comes; then say how it was.

        Raises:
            Interrupted: a signal came before it began.
        """
        number = await until_interrupted(self._work, end=self._ending)
        if not self._result:
            assert number is not None
            raise Interrupted(number)
        if self._arguments.json:
            say(json.dumps(self._result, indent=2))
        else:
            for way in DIRECTIONS:
                if self._result[way] is not None:
                    say(self._line(way, self._result[way]))

    async def _work(self) -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stop, scope)
                async with self._reach() as peer:
                    await self._measure(peer)
                nursery.cancel_scope.cancel()

    async def _stop(self, scope: trio.CancelScope) -> None:
        await self._ending.wait()
        if self._test is None:
            scope.cancel()
        else:
            self._test.stop.set()

    def _reach(self) -> AbstractAsyncContextManager[PeerConnection]:
        if self._arguments.in_process:
            return connected_here(self._config, Services(None, lambda _line: None).handle)
        return reached(self._arguments, self._config)

    async def _measure(self, peer: PeerConnection) -> None:
        arguments = self._arguments
        plan = self._plan()
        self._test = test = ThroughputTest(plan)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            if not arguments.json:
                nursery.start_soon(self._tell, test)
            await test.run(
                peer,
                ordered=not arguments.unordered,
                max_retransmits=arguments.max_retransmits,
                max_packet_lifetime=arguments.lifetime,
            )
            nursery.cancel_scope.cancel()
        elapsed = trio.current_time() - began
        sctp = peer.statistics().sctp
        self._result = {
            "version": rtcsctp.__version__,
            "path": describe_pair(peer.selected_pair),
            "channels": arguments.parallel,
            "message_size": plan.size,
            "ordered": not arguments.unordered,
            "max_retransmits": arguments.max_retransmits,
            "max_packet_lifetime": arguments.lifetime,
            "elapsed": round(elapsed, 6),
            **{way: _summary(way, test, elapsed) for way in DIRECTIONS},
            "sctp": {
                "round_trip_time": sctp.srtt,
                "packets_sent": sctp.packets_sent,
                "packets_received": sctp.packets_received,
                "fast_retransmits": sctp.fast_retransmits,
                "timeout_retransmits": sctp.timeout_retransmits,
                "timeouts": sctp.timeouts,
                "messages_abandoned": sctp.messages_abandoned,
                "mtu": sctp.mtu,
            },
        }

    def _plan(self) -> Plan:
        arguments = self._arguments
        counts = {
            way: arguments.parallel if arguments.direction in (way, "both") else 0
            for way in DIRECTIONS
        }
        if arguments.size is None:
            return Plan(**counts, size=arguments.message, seconds=arguments.time)
        each = max(_SMALLEST, math.ceil(arguments.size / arguments.parallel))
        return Plan(**counts, size=arguments.message, amount=each)

    async def _tell(self, test: ThroughputTest) -> None:
        """Every second, what went over in it."""
        before, began = 0, trio.current_time()
        while True:
            await trio.sleep(_INTERVAL)
            now, moved = trio.current_time() - began, test.moved
            rate = format_bit_rate(8 * (moved - before) / _INTERVAL)
            note(f"{now - _INTERVAL:5.1f}-{now:<5.1f} s  {format_size(moved - before)}  {rate}")
            before = moved

    def _line(self, way: str, summary: dict[str, Any]) -> str:
        where = "to the other end" if way == "up" else "from the other end"
        moved = f"{format_size(summary['bytes'])} {where}"
        rate = format_bit_rate(summary["bits_per_second"])
        words = []
        if (
            summary["lost"]
            or self._arguments.max_retransmits is not None
            or (self._arguments.lifetime is not None)
        ):
            words.append(
                f"lost {summary['lost']:,} of {summary['messages_sent']:,} messages "
                f"({summary['lost_percent']:.3g} %)"
            )
        if self._arguments.unordered:
            words.append(f"{summary['reordered']:,} came out of order")
        line = (
            f"{moved} in {format_duration(summary['seconds'])}: {rate}, "
            f"{summary['messages_per_second']:,.0f} messages/s"
        )
        return f"{line}\n  {'; '.join(words)}" if words else line


def _summary(way: str, test: ThroughputTest, elapsed: float) -> dict[str, Any] | None:
    """What went over the channels of one direction; None if there were none."""
    names = [name for name in test.counts if name.startswith(f"{way}/")]
    if not names:
        return None
    here = [test.counts[name].to_report() for name in names]
    there = [test.reports[name] for name in names]
    sent, received = (here, there) if way == "up" else (there, here)
    sent_messages, messages, amount, reordered = (
        int(sum(count[field] for count in counts))
        for counts, field in (
            (sent, "messages"),
            (received, "messages"),
            (received, "bytes"),
            (received, "reordered"),
        )
    )
    seconds = max(count["seconds"] for count in received) or elapsed
    lost = max(0, sent_messages - messages)
    return {
        "messages_sent": sent_messages,
        "messages_received": messages,
        "lost": lost,
        "lost_percent": round(100 * lost / max(1, sent_messages), 4),
        "reordered": reordered,
        "bytes": amount,
        "seconds": round(seconds, 6),
        "bits_per_second": round(8 * amount / seconds, 1),
        "messages_per_second": round(messages / seconds, 1),
    }
