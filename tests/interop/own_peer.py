"""A peer of our own: the vocabulary of `webrtc.py`, in lines of JSON on stdin and stdout.

Run as a program, by `OwnPeer` in a test, so that it can live in a network namespace.
"""

from __future__ import annotations

import base64
import functools
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

import rtcsctp
from rtcsctp.ice.events import GatheringProblem, GatheringState
from rtcsctp.runtime.channel import DataChannel
from rtcsctp.runtime.peer import PeerConnection, open_peer
from rtcsctp.runtime.peer_config import PeerConfig
from rtcsctp.runtime.peer_states import StateChange

from .namespaces import Host
from .payload import Bulk, bulk_messages, pattern_text, record
from .peer_process import PeerProcess
from .usrsctp import pattern


class OwnPeer(PeerProcess):
    """This program, running, in a namespace if one is given."""

    def __init__(self, host: Host | None = None) -> None:
        package = __name__.rpartition(".")[0]
        super().__init__(
            [sys.executable, "-m", f"{package}.own_peer"],
            name="rtcsctp" if host is None else f"rtcsctp on {host.name}",
            host=host,
            folder=Path(__file__).parents[package.count(".") + 1],
        )

    async def _wait_ready(self) -> None:
        await self.expect("ready", within=60)


# --------------------------------------------------------------------------- the program


class Notice:
    """Wakes all who wait for a condition whenever something has happened."""

    def __init__(self) -> None:
        self._lot = trio.lowlevel.ParkingLot()

    def happened(self) -> None:
        self._lot.unpark_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        await trio.lowlevel.checkpoint()
        while not condition():
            await self._lot.park()


class Channel:
    """A data channel, and a task that takes what comes from it."""

    def __init__(self, key: str, channel: DataChannel, notice: Notice) -> None:
        self.key, self.channel, self.notice = key, channel, notice
        self.messages: list[dict[str, Any]] = []
        self.bulk: Bulk | None = None
        self.opens = self.closings = self.closes = 0
        self.errors: list[str] = []

    async def run(self) -> None:
        try:
            await self.channel.wait_open()
            self.opens += 1
            self.notice.happened()
            while True:
                for message in await self.channel.receive_many():
                    self._take(message)
                self.notice.happened()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            await self.channel.aclose()  # until both directions are reset
        except trio.BrokenResourceError as error:
            self.errors.append(str(error))
        self.closes += 1
        self.notice.happened()

    def _take(self, message: str | bytes) -> None:
        if self.bulk is not None:
            self.bulk.take(message)
        else:
            self.messages.append(record(message))

    def describe(self) -> dict[str, Any]:
        channel = self.channel
        lifetime = channel.max_packet_lifetime
        return {
            "channel": self.key,
            "id": channel.id,
            "label": channel.label,
            "protocol": channel.protocol,
            "ordered": channel.ordered,
            "max_retransmits": channel.max_retransmits,
            "max_packet_lifetime": None if lifetime is None else round(lifetime * 1000),
            "negotiated": channel.negotiated,
            "state": channel.state.value,
            "buffered": channel.buffered_amount,
            "received": len(self.messages),
            "opens": self.opens,
            "closings": self.closings,
            "closes": self.closes,
            "errors": self.errors,
        }


class Connection:
    """A peer connection with its channels and a log of its states."""

    def __init__(self, peer: PeerConnection, nursery: trio.Nursery) -> None:
        self.peer, self.nursery = peer, nursery
        self.notice = Notice()
        self.began = time.monotonic()
        self.states: list[tuple[int, str, str]] = []
        self.problems: list[dict[str, Any]] = []
        self.channels: dict[str, Channel] = {}
        self.incoming: list[str] = []
        self.told = 0
        self.events = peer.events(10_000)

    async def watch(self) -> None:
        async for event in self.events:
            if isinstance(event, StateChange):
                passed = round((time.monotonic() - self.began) * 1000)
                kind = "signaling" if event.what == "signalling" else event.what
                self.states.append((passed, kind, event.state.value))
            elif isinstance(event, GatheringProblem):
                self.problems.append({"url": event.url, "code": event.code, "text": event.reason})
            self.notice.happened()

    async def take_channels(self) -> None:
        try:
            async for channel in self.peer.incoming:
                key = f"incoming-{len(self.incoming)}"
                self.incoming.append(key)
                self.add(key, channel)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self.notice.happened()

    def add(self, key: str, channel: DataChannel) -> Channel:
        added = self.channels[key] = Channel(key, channel, self.notice)
        self.nursery.start_soon(added.run)
        self.notice.happened()
        return added

    def state(self, kind: str) -> str:
        peer = self.peer
        states = {
            "connection": peer.connection_state,
            "ice": peer.ice_state,
            "gathering": peer.gathering_state,
            "signaling": peer.signalling_state,
            "sctp": peer.sctp_state,
        }
        return str(states[kind].value)


class Program:
    """The methods, by their names in requests."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._connections: dict[str, Connection] = {}
        self._closing: dict[str, trio.Event] = {}

    def _channel(self, pc: str, channel: str) -> Channel:
        channels = self._connections[pc].channels
        if channel not in channels:
            raise ValueError(f"no channel {channel}, but {list(channels)}")
        return channels[channel]

    # ---- connections

    async def open(
        self,
        pc: str,
        ice_servers: list[dict[str, Any]] | None = None,
        relay_only: bool = False,
        **options: Any,
    ) -> None:
        servers = [
            rtcsctp.IceServer(url, server.get("username", ""), server.get("credential", ""))
            for server in ice_servers or []
            for url in (server["urls"] if isinstance(server["urls"], list) else [server["urls"]])
        ]
        config = PeerConfig(
            ice_servers=servers, ice_transport_policy="relay" if relay_only else "all", **options
        )
        await self._nursery.start(self._hold, pc, config)

    async def _hold(
        self, pc: str, config: PeerConfig, *, task_status: trio.TaskStatus[None]
    ) -> None:
        self._closing[pc] = trio.Event()
        async with open_peer(config) as peer, trio.open_nursery() as nursery:
            connection = self._connections[pc] = Connection(peer, nursery)
            nursery.start_soon(connection.watch)
            nursery.start_soon(connection.take_channels)
            task_status.started()
            await self._closing[pc].wait()
            await peer.aclose()

    async def close(self, pc: str) -> None:
        self._closing[pc].set()
        await trio.lowlevel.checkpoint()

    async def abort(self, pc: str) -> None:
        await self._connections[pc].peer.abort()

    async def offer(self, pc: str, gather: bool = False, ice_restart: bool = False) -> Any:
        peer = self._connections[pc].peer
        peer.set_local_description(peer.create_offer(ice_restart=ice_restart))
        self._connections[pc].told = 0
        return await self._described(peer, gather)

    async def answer(self, pc: str, gather: bool = False) -> Any:
        peer = self._connections[pc].peer
        peer.set_local_description(peer.create_answer())
        self._connections[pc].told = 0
        return await self._described(peer, gather)

    async def _described(self, peer: PeerConnection, gather: bool) -> Any:
        if gather:
            await peer.gathering_complete()
        description = peer.local_description
        assert description is not None
        return json.loads(description.to_json())

    async def accept(self, pc: str, description: dict[str, str]) -> None:
        self._connections[pc].peer.set_remote_description(description)

    async def rollback(self, pc: str) -> None:
        from rtcsctp.sdp.description import SessionDescription  # noqa: PLC0415 - used once

        self._connections[pc].peer.set_local_description(SessionDescription.rollback())

    async def restart_ice(self, pc: str) -> None:
        self._connections[pc].peer.restart_ice()

    async def descriptions(self, pc: str) -> Any:
        peer = self._connections[pc].peer
        local, remote = peer.local_description, peer.remote_description
        return {
            "local": local and json.loads(local.to_json()),
            "remote": remote and json.loads(remote.to_json()),
        }

    async def next_candidates(self, pc: str) -> Any:
        connection = self._connections[pc]
        peer = connection.peer
        while True:
            known = peer.local_candidates.known
            complete = peer.gathering_state is GatheringState.COMPLETE
            if len(known) > connection.told or complete:
                news = known[connection.told :]
                connection.told = len(known)
                found = [peer.candidate_init(candidate) for candidate in news]
                return {"candidates": found, "complete": complete}
            await trio.sleep(0.005)

    async def add_candidate(self, pc: str, candidate: dict[str, Any] | None) -> None:
        self._connections[pc].peer.add_ice_candidate(candidate)

    async def candidate_errors(self, pc: str) -> Any:
        return self._connections[pc].problems

    async def wait_state(self, pc: str, kind: str, states: list[str]) -> str:
        connection = self._connections[pc]
        await connection.notice.until(lambda: connection.state(kind) in states)
        return connection.state(kind)

    async def states(self, pc: str) -> Any:
        return self._connections[pc].states

    async def wait_lost(self, pc: str) -> str | None:
        """Waits for the end of the connection; why, or null if it was in order."""
        failure = await self._connections[pc].peer.wait_closed()
        return None if failure is None else str(failure)

    async def stats(self, pc: str) -> Any:
        peer = self._connections[pc].peer
        statistics, pair = peer.statistics(), peer.selected_pair
        return {
            "channels_opened": statistics.channels.data_channels_opened,
            "channels_closed": statistics.channels.data_channels_closed,
            "interleaving": statistics.sctp.interleaving,
            "zero_checksum": statistics.sctp.zero_checksum_sent,
            "local": pair and {"type": pair.local.type.value, "address": pair.local.host},
            "remote": pair and {"type": pair.remote.type.value, "address": pair.remote.host},
            "round_trip_time": pair and pair.rtt,
            "relayed": pair and pair.relayed,
        }

    # ---- channels

    async def create_channel(
        self,
        pc: str,
        channel: str,
        label: str | None = None,
        max_packet_lifetime: int | None = None,
        **options: Any,
    ) -> Any:
        connection = self._connections[pc]
        created = connection.peer.create_channel(
            channel if label is None else label,
            max_packet_lifetime=None if max_packet_lifetime is None else max_packet_lifetime / 1000,
            **options,
        )
        return connection.add(channel, created).describe()

    async def incoming(self, pc: str, count: int) -> Any:
        connection = self._connections[pc]
        await connection.notice.until(lambda: len(connection.incoming) >= count)
        return [connection.channels[key].describe() for key in connection.incoming]

    async def channel(self, pc: str, channel: str) -> Any:
        return self._channel(pc, channel).describe()

    async def wait_channel(self, pc: str, channel: str, states: list[str]) -> Any:
        found = self._channel(pc, channel)

        def reached() -> bool:
            state = found.channel.state.value
            told = {"open": found.opens, "closed": found.closes}.get(state, 1)
            return state in states and bool(told)

        await found.notice.until(reached)
        return found.describe()

    async def close_channel(self, pc: str, channel: str) -> None:
        # As in a browser, it only begins.
        self._connections[pc].nursery.start_soon(self._channel(pc, channel).channel.aclose)
        await trio.lowlevel.checkpoint()

    # ---- messages

    async def send_text(self, pc: str, channel: str, text: str) -> None:
        await self._channel(pc, channel).channel.send(text)

    async def send_binary(self, pc: str, channel: str, base64: str) -> None:
        await self._channel(pc, channel).channel.send(_from_base64(base64))

    async def send_pattern(
        self, pc: str, channel: str, size: int, seed: int, count: int = 1, text: bool = False
    ) -> None:
        found = self._channel(pc, channel)
        make: Callable[[int, int], str | bytes] = pattern_text if text else pattern
        for index in range(count):
            await found.channel.send(make(seed + index, size))

    async def drained(self, pc: str, channel: str, threshold: int = 0) -> None:
        found = self._channel(pc, channel)
        found.channel.buffered_amount_low_threshold = threshold
        await found.channel.wait_buffered_low()

    async def received(self, pc: str, channel: str, count: int, start: int = 0) -> Any:
        found = self._channel(pc, channel)
        await found.notice.until(lambda: len(found.messages) >= count)
        return found.messages[start:]

    async def bulk_receive(self, pc: str, channel: str) -> None:
        self._channel(pc, channel).bulk = Bulk()

    async def bulk_send(
        self, pc: str, channel: str, total: int, size: int, seed: int, high_water: int = 1 << 20
    ) -> Any:
        found = self._channel(pc, channel)
        sent = Bulk()
        for message in bulk_messages(total, size, seed):
            await found.channel.send(message)
            sent.take(message)
        await found.channel.wait_buffered_low()
        return sent.result()

    async def bulk_result(self, pc: str, channel: str, bytes: int) -> Any:  # noqa: A002
        found = self._channel(pc, channel)
        bulk = found.bulk
        assert bulk is not None
        await found.notice.until(lambda: bulk.bytes >= bytes)
        return bulk.result()

    async def bulk_progress(self, pc: str, channel: str) -> Any:
        bulk = self._channel(pc, channel).bulk
        return bulk and bulk.result()


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text)


async def _answer(
    program: Program, request: dict[str, Any], write: Callable[[dict[str, Any]], Awaitable[None]]
) -> None:
    name = request["method"]
    method: Callable[..., Awaitable[Any]] | None = None
    if not name.startswith("_"):
        method = getattr(program, name, None)
    try:
        if method is None:
            raise NotImplementedError(f"this peer cannot {name}")
        result = await method(**request["params"])
    except Exception as error:
        answer: dict[str, Any] = {"error": {"message": f"{type(error).__name__}: {error}"}}
    else:
        answer = {"result": result}
    await write({"id": request["id"], **answer})


async def main() -> None:
    """Answer requests until stdin ends."""
    source, sink = trio.lowlevel.FdStream(0), trio.lowlevel.FdStream(1)
    turn = trio.Lock()

    async def write(message: dict[str, Any]) -> None:
        async with turn:
            await sink.send_all(json.dumps(message).encode() + b"\n")

    async with trio.open_nursery() as nursery:
        program = Program(nursery)
        await write({"method": "ready", "params": {}})
        rest = b""
        async for data in source:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                nursery.start_soon(functools.partial(_answer, program, json.loads(line), write))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
