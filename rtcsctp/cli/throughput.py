"""Measuring throughput between two peers: the protocol, and what both ends do.

A test has a control channel (protocol ``perf``, ordered and reliable) and data channels (protocol
``perf-data``), each for one direction. The client opens all of them, with the reliability that it
wants to know about:

1. client: ``{"up": 2, "down": 0, "size": 16384, "seconds": 10}`` on the control channel: how many
   data channels in which direction, the size of messages, and for how long, or instead of
   ``seconds`` how many ``bytes`` on each channel;
2. server: ``{"ok": true, "test": 5}``, or ``{"ok": false, "error": "…"}``;
3. client: opens the data channels, labelled ``5/up/0``, ``5/up/1``, …;
4. whose direction it is, sends, and closes the channel when done: so what was sent is delivered, or
   given up, before the other end sees the end. Each message begins with its number, in eight bytes;
5. server, when all channels have ended: ``{"ok": true, "channels": {"up/0": {"messages": …}}}``,
   what it has received in "up" and sent in "down".

``{"stop": true}`` of the client ends the sending of the server early.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any, Final, Self

import attrs
import trio

from rtcsctp.cli.failure import CommandError
from rtcsctp.cli.files import CHUNK, FileError, read_object_untrusted, refusal
from rtcsctp.runtime.channel import DataChannel
from rtcsctp.runtime.errors import ChannelBroken
from rtcsctp.runtime.peer import PeerConnection

__all__ = ["DIRECTIONS", "Count", "Plan", "ThroughputServer", "ThroughputTest"]

DIRECTIONS: Final = ("up", "down")
_NUMBER: Final = struct.Struct(">Q")
_MOST_CHANNELS: Final = 64
_LONGEST: Final = 86_400.0  # seconds
_LARGEST: Final = 1 << 40  # bytes


@attrs.frozen(kw_only=True)
class Plan:
    """What a test does: channels for each direction, and how long or how much on each."""

    up: int
    down: int
    size: int
    """Bytes of a message."""
    seconds: float | None = None
    amount: int | None = None
    """Bytes on each channel, instead of a time."""

    def to_json(self) -> str:
        """As the client sends it."""
        fields: dict[str, float] = {"up": self.up, "down": self.down, "size": self.size}
        if self.seconds is not None:
            fields["seconds"] = self.seconds
        if self.amount is not None:
            fields["bytes"] = self.amount
        return json.dumps(fields)

    @classmethod
    def from_untrusted(cls, message: str | bytes) -> Self:
        """What a client asks for.

        Raises:
            FileError: it makes no sense, or is more than a server does.
        """
        if isinstance(message, bytes):
            raise FileError("a test is asked for with a text")
        request = read_object_untrusted(message)
        up, down = (_whole(request, name, 0, _MOST_CHANNELS) for name in DIRECTIONS)
        if not up + down:
            raise FileError("a test has at least one channel")
        size = _whole(request, "size", _NUMBER.size, CHUNK)
        if "bytes" in request:
            return cls(up=up, down=down, size=size, amount=_whole(request, "bytes", 1, _LARGEST))
        seconds = request.get("seconds")
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
            raise FileError("a test has seconds, or bytes")
        if not 0 < seconds <= _LONGEST:
            raise FileError(f"seconds is above 0, and {_LONGEST:.0f} at most")
        return cls(up=up, down=down, size=size, seconds=seconds)

    def channels(self) -> list[str]:
        """The names of the data channels."""
        counts = {"up": self.up, "down": self.down}
        return [f"{way}/{number}" for way in DIRECTIONS for number in range(counts[way])]


def _whole(request: dict[str, Any], name: str, least: int, most: int) -> int:
    value = request.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise FileError(f"{name} is a whole number from {least} to {most}")
    return value


class Count:
    """What went over one data channel, at one end of it."""

    __slots__ = ("_first", "_highest", "_last", "bytes", "messages", "reordered")

    def __init__(self) -> None:
        self.messages = 0
        self.bytes = 0
        self.reordered = 0
        """Messages that came after one that was sent later."""
        self._highest = -1
        self._first: float | None = None
        self._last = 0.0

    def add(self, message: bytes, now: float) -> None:
        """Count a message that has come."""
        self.messages += 1
        self.bytes += len(message)
        self._first = now if self._first is None else self._first
        self._last = now
        if len(message) >= _NUMBER.size:
            (number,) = _NUMBER.unpack_from(message)
            if number < self._highest:
                self.reordered += 1
            else:
                self._highest = number

    @property
    def seconds(self) -> float:
        """From the first to the last message."""
        return 0.0 if self._first is None else self._last - self._first

    def to_report(self) -> dict[str, float]:
        """As the server sends it."""
        return {
            "messages": self.messages,
            "bytes": self.bytes,
            "reordered": self.reordered,
            "seconds": round(self.seconds, 6),
        }


async def _send(channel: DataChannel, plan: Plan, count: Count, stop: trio.Event) -> None:
    """Send what the plan wants, and close the channel."""
    filling = bytes(plan.size - _NUMBER.size)
    limit = plan.amount if plan.amount is not None else _LARGEST
    end = trio.current_time() + (plan.seconds if plan.seconds is not None else _LONGEST)
    with trio.CancelScope(deadline=end) as scope:
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                await stop.wait()
                scope.cancel()

            nursery.start_soon(watch)
            while count.bytes < limit:
                message = _NUMBER.pack(count.messages) + filling
                message = message[: max(_NUMBER.size, limit - count.bytes)]
                await channel.send(message)
                count.messages += 1
                count.bytes += len(message)
            nursery.cancel_scope.cancel()
    await channel.aclose()


async def _receive(channel: DataChannel, count: Count) -> None:
    """Count what comes until the other end closes the channel."""
    try:
        while True:
            messages = await channel.receive_many()
            now = trio.current_time()
            for message in messages:
                if isinstance(message, bytes):
                    count.add(message, now)
    except trio.EndOfChannel:
        await channel.aclose()


# ------------------------------------------------------------------------------------ server


class _Test:
    """A test at the server."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.counts: dict[str, Count] = {}
        self.stop = trio.Event()
        self.over = trio.Event()
        self._running = set(plan.channels())

    async def run(self, channel: DataChannel, name: str) -> None:
        """One data channel, to its end."""
        if name not in self._running or name in self.counts:
            return
        self.counts[name] = count = Count()
        try:
            if name.startswith("up/"):
                await _receive(channel, count)
            else:
                await _send(channel, self.plan, count, self.stop)
        finally:
            self._running.remove(name)
            if not self._running:
                self.over.set()


class ThroughputServer:
    """The server's side of all tests."""

    def __init__(self) -> None:
        self._tests: dict[tuple[str, str], _Test] = {}
        self._number = 0

    async def control(self, channel: DataChannel, peer: str) -> None:
        """A control channel, until its test is over."""
        try:
            plan = Plan.from_untrusted(await channel.receive())
        except FileError as error:
            await channel.send(refusal(error))
            return
        self._number += 1
        key = (peer, str(self._number))
        test = self._tests[key] = _Test(plan)
        try:
            await channel.send(json.dumps({"ok": True, "test": self._number}))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen, channel, test)
                await test.over.wait()
                nursery.cancel_scope.cancel()
            channels = {name: count.to_report() for name, count in test.counts.items()}
            await channel.send(json.dumps({"ok": True, "channels": channels}))
        finally:
            del self._tests[key]

    async def _listen(self, channel: DataChannel, test: _Test) -> None:
        """What the client says during a test; without a client, there is none."""
        try:
            while True:
                await channel.receive()
                test.stop.set()
        except (trio.EndOfChannel, ChannelBroken):
            test.stop.set()
            test.over.set()

    async def data(self, channel: DataChannel, peer: str) -> None:
        """A data channel, to its end; one of no test is closed at once."""
        number, _, name = channel.label.partition("/")
        test = self._tests.get((peer, number))
        if test is not None:
            await test.run(channel, name)


# ------------------------------------------------------------------------------------ client


class ThroughputTest:
    """The client's side of one test.

    Attributes:
        counts: what went over each data channel at this end.
        reports: the same at the other end, when it is over.
        stop: set it to end the sending early.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan: Final = plan
        self.counts: Final = {name: Count() for name in plan.channels()}
        self.reports: dict[str, dict[str, float]] = {}
        self.stop: Final = trio.Event()
        self._channels: Final[list[DataChannel]] = []

    @property
    def moved(self) -> int:
        """Bytes that went over all channels so far, as far as this end knows."""
        waiting = sum(channel.buffered_amount for channel in self._channels)
        return max(0, sum(count.bytes for count in self.counts.values()) - waiting)

    async def run(self, peer: PeerConnection, **reliability: Any) -> None:
        """Do it.

        Args:
            peer: leads to a `ThroughputServer`.
            reliability: `ordered`, `max_retransmits`, `max_packet_lifetime` of data channels.

        Raises:
            CommandError: the other end refuses, or does not know how.
        """
        control = peer.create_channel("perf", protocol="perf")
        await control.wait_open()
        await control.send(self.plan.to_json())
        number = (await self._answer(control)).get("test")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pass_stop_on, control)
            async with trio.open_nursery() as work:
                for name, count in self.counts.items():
                    channel = peer.create_channel(
                        f"{number}/{name}", protocol="perf-data", **reliability
                    )
                    self._channels.append(channel)
                    if name.startswith("up/"):
                        work.start_soon(_send, channel, self.plan, count, self.stop)
                    else:
                        work.start_soon(_receive, channel, count)
            nursery.cancel_scope.cancel()
        report = (await self._answer(control)).get("channels")
        self.reports = _checked_report(report, self.counts)
        await control.aclose()

    async def _pass_stop_on(self, control: DataChannel) -> None:
        await self.stop.wait()
        await control.send(json.dumps({"stop": True}))

    async def _answer(self, control: DataChannel) -> dict[str, Any]:
        try:
            message = await control.receive()
            if isinstance(message, bytes):
                raise FileError("an answer in bytes")
            answer = read_object_untrusted(message)
        except trio.EndOfChannel:
            raise CommandError("the other end has no service for measuring throughput") from None
        except FileError as error:
            raise CommandError(f"the other end does not speak this protocol: {error}") from error
        if answer.get("ok") is not True:
            reason = "".join(c for c in str(answer.get("error"))[:300] if c.isprintable())
            raise CommandError(f"the other end refuses: {reason}")
        return answer


def _checked_report(report: object, names: dict[str, Count]) -> dict[str, dict[str, float]]:
    """What the other end has counted.

    Raises:
        CommandError: it does not fit what was asked for.
    """
    fields = ("messages", "bytes", "reordered", "seconds")
    is_number: Callable[[object], bool] = lambda value: (  # noqa: E731
        isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e18
    )
    if not isinstance(report, dict) or not all(
        isinstance(report.get(name), dict)
        and all(is_number(report[name].get(field)) for field in fields)
        for name in names
    ):
        raise CommandError("the other end does not speak this protocol: a report without figures")
    return {name: {field: report[name][field] for field in fields} for name in names}
