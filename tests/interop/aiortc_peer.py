"""A peer on aiortc: the vocabulary of `webrtc.py`, in lines of JSON on stdin and stdout.

Run as a program, by `AiortcPeer` in a test. What aiortc 1.16 does not do, as found by running it:

- It gathers before it gives a description, so all candidates are in there, and `next_candidates`
  has nothing to tell. It takes trickled ones, also with mDNS names; its own carry plain addresses.
- No ICE restart: asking for one is an error here. To one that the other end offers, aiortc answers
  with its old credentials. A remote description of type "rollback" has no effect, and there is no
  local one.
- `max_packet_lifetime=0` is announced as such, but sets no limit to what aiortc sends.
- Before a channel is open, `send` raises. There are no "closing" and "error" events of channels.
- One STUN and one TURN server, the first of each; `relay_only` works over UDP, TCP and TLS, and
  the TLS server's certificate is verified. Statistics know neither the pair in use nor channels.
- Its certificates are ECDSA P-256, not to be chosen, and it speaks DTLS 1.2 only.
- It notices a peer that vanished by ICE consent: after 30 s it closes the whole connection.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import importlib
import importlib.util
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from .namespaces import Host
from .payload import Bulk, bulk_messages, pattern_text, record
from .peer_process import PeerProcess, module_command
from .requirements import meets, require
from .usrsctp import pattern

# --------------------------------------------------------------------------- for tests


def missing() -> str | None:
    """Why aiortc cannot be run here, or None."""
    if importlib.util.find_spec("aiortc") is None:
        return "aiortc is not installed (dependency group interop)"
    return None


def require_aiortc() -> None:
    """Skip or fail the test where aiortc is missing."""
    meets("aiortc")
    require(missing())


class AiortcPeer(PeerProcess):
    """This program, running, in a namespace if one is given.

    `trusted` is a file with a certificate that a TLS server may have.
    """

    def __init__(self, host: Host | None = None, *, trusted: Path | None = None) -> None:
        words, folder = module_command("aiortc_peer")
        super().__init__(
            words,
            name="aiortc" if host is None else f"aiortc on {host.name}",
            host=host,
            environment={} if trusted is None else {"SSL_CERT_FILE": str(trusted)},
            folder=folder,
        )

    async def _wait_ready(self) -> None:
        await self.expect("ready", within=60)


# --------------------------------------------------------------------------- the program


def _aiortc(name: str = "aiortc") -> Any:
    # Tests import this module too, and the type check, where aiortc need not be installed.
    return importlib.import_module(name)


class Notice:
    """Wakes all who wait for a condition whenever something has happened."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def happened(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._event.wait()


class Channel:
    """A data channel and what came from it."""

    def __init__(self, key: str, channel: Any, notice: Notice) -> None:
        self.key, self.channel, self.notice = key, channel, notice
        self.messages: list[dict[str, Any]] = []
        self.bulk: Bulk | None = None
        # A channel that the other end opened is open when it appears, and no event says so.
        self.opens = int(channel.readyState == "open")
        self.closes = 0
        channel.on("open", functools.partial(self._count, "opens"))
        channel.on("close", functools.partial(self._count, "closes"))
        channel.on("message", self._take)

    def _count(self, what: str) -> None:
        setattr(self, what, getattr(self, what) + 1)
        self.notice.happened()

    def _take(self, message: str | bytes) -> None:
        if self.bulk is not None:
            self.bulk.take(message)
        else:
            self.messages.append(record(message))
        self.notice.happened()

    def describe(self) -> dict[str, Any]:
        channel = self.channel
        return {
            "channel": self.key,
            "id": channel.id,
            "label": channel.label,
            "protocol": channel.protocol,
            "ordered": channel.ordered,
            "max_retransmits": channel.maxRetransmits,
            "max_packet_lifetime": channel.maxPacketLifeTime,
            "negotiated": channel.negotiated,
            "state": channel.readyState,
            "buffered": channel.bufferedAmount,
            "received": len(self.messages),
            "opens": self.opens,
            "closings": 0,
            "closes": self.closes,
            "errors": [],
        }

    async def drained(self, threshold: int) -> None:
        channel = self.channel
        channel.bufferedAmountLowThreshold = threshold
        low = functools.partial(Notice.happened, self.notice)
        channel.on("bufferedamountlow", low)
        try:
            await self.notice.until(
                lambda: channel.bufferedAmount <= threshold or channel.readyState == "closed"
            )
        finally:
            if low in channel.listeners("bufferedamountlow"):
                channel.remove_listener("bufferedamountlow", low)


class Connection:
    """A peer connection with its channels and a log of its states."""

    STATES = {  # noqa: RUF012 - never changed
        "connection": "connectionState",
        "ice": "iceConnectionState",
        "gathering": "iceGatheringState",
        "signaling": "signalingState",
    }

    def __init__(self, ice_servers: list[dict[str, Any]], *, relay_only: bool) -> None:
        aiortc = _aiortc()
        self.pc = aiortc.RTCPeerConnection(
            aiortc.RTCConfiguration(
                iceServers=[aiortc.RTCIceServer(**server) for server in ice_servers],
                iceTransportPolicy=aiortc.RTCIceTransportPolicy("relay" if relay_only else "all"),
            )
        )
        self.notice = Notice()
        self.began = time.monotonic()
        self.states: list[tuple[int, str, str]] = []
        self.channels: dict[str, Channel] = {}
        self.incoming: list[str] = []
        for kind, name in self.STATES.items():
            self.pc.on(f"{name.lower()}change", functools.partial(self._log, kind))
        self.pc.on("datachannel", self._appeared)

    def _log(self, kind: str) -> None:
        passed = round((time.monotonic() - self.began) * 1000)
        self.states.append((passed, kind, self.state(kind)))
        self.notice.happened()

    def _appeared(self, channel: Any) -> None:
        key = f"incoming-{len(self.incoming)}"
        self.incoming.append(key)
        self.add(key, channel)

    def add(self, key: str, channel: Any) -> Channel:
        self.channels[key] = Channel(key, channel, self.notice)
        self.notice.happened()
        return self.channels[key]

    def state(self, kind: str) -> str:
        return str(getattr(self.pc, self.STATES[kind]))


class Program:
    """The methods, by their names in requests."""

    def __init__(self) -> None:
        self._connections: dict[str, Connection] = {}

    def _channel(self, pc: str, channel: str) -> Channel:
        channels = self._connections[pc].channels
        if channel not in channels:
            raise ValueError(f"no channel {channel}, but {list(channels)}")
        return channels[channel]

    # ---- connections

    async def open(
        self, pc: str, ice_servers: list[dict[str, Any]] | None = None, relay_only: bool = False
    ) -> None:
        if pc in self._connections:
            raise ValueError(f"there is a connection {pc} already")
        self._connections[pc] = Connection(ice_servers or [], relay_only=relay_only)

    async def close(self, pc: str) -> None:
        await self._connections[pc].pc.close()

    async def close_all(self) -> None:
        for connection in self._connections.values():
            await connection.pc.close()

    async def offer(self, pc: str, gather: bool = False, ice_restart: bool = False) -> Any:
        if ice_restart:
            raise NotImplementedError("aiortc cannot restart ICE")
        connection = self._connections[pc].pc
        await connection.setLocalDescription(await connection.createOffer())
        return _plain(connection.localDescription)

    async def answer(self, pc: str, gather: bool = False) -> Any:
        connection = self._connections[pc].pc
        await connection.setLocalDescription(await connection.createAnswer())
        return _plain(connection.localDescription)

    async def accept(self, pc: str, description: dict[str, str]) -> None:
        parsed = _aiortc().RTCSessionDescription(**description)
        await self._connections[pc].pc.setRemoteDescription(parsed)

    async def descriptions(self, pc: str) -> Any:
        connection = self._connections[pc].pc
        return {
            "local": _plain(connection.localDescription),
            "remote": _plain(connection.remoteDescription),
        }

    async def next_candidates(self, pc: str) -> Any:
        connection = self._connections[pc]
        await connection.notice.until(lambda: connection.state("gathering") == "complete")
        return {"candidates": [], "complete": True}

    async def add_candidate(self, pc: str, candidate: dict[str, Any] | None) -> None:
        parsed = None
        if candidate is not None and candidate["candidate"]:
            parsed = _aiortc("aiortc.sdp").candidate_from_sdp(
                candidate["candidate"].partition(":")[2]
            )
            parsed.sdpMid = candidate.get("sdpMid")
            parsed.sdpMLineIndex = candidate.get("sdpMLineIndex")
        await self._connections[pc].pc.addIceCandidate(parsed)

    async def wait_state(self, pc: str, kind: str, states: list[str]) -> str:
        connection = self._connections[pc]
        await connection.notice.until(lambda: connection.state(kind) in states)
        return connection.state(kind)

    async def states(self, pc: str) -> Any:
        return self._connections[pc].states

    async def stats(self, pc: str) -> Any:
        connection = self._connections[pc].pc
        transport = connection.sctp and connection.sctp.transport
        return {
            "dtls_state": transport and transport.state,
            "ice_role": transport and transport.transport.role,
            "max_message_size": connection.sctp
            and connection.sctp.getCapabilities().maxMessageSize,
        } | dict.fromkeys(
            (
                "channels_opened",
                "channels_closed",
                "bytes_sent",
                "bytes_received",
                "dtls_role",
                "dtls_cipher",
                "tls_version",
                "local",
                "remote",
                "round_trip_time",
            )
        )

    # ---- channels

    async def create_channel(
        self,
        pc: str,
        channel: str,
        label: str | None = None,
        ordered: bool = True,
        max_retransmits: int | None = None,
        max_packet_lifetime: int | None = None,
        protocol: str = "",
        negotiated: bool = False,
        id: int | None = None,  # noqa: A002 - the vocabulary's name, as in W3C's interface
    ) -> Any:
        connection = self._connections[pc]
        if channel in connection.channels:
            raise ValueError(f"there is a channel {channel} already")
        created = connection.pc.createDataChannel(
            channel if label is None else label,
            maxPacketLifeTime=max_packet_lifetime,
            maxRetransmits=max_retransmits,
            ordered=ordered,
            protocol=protocol,
            negotiated=negotiated,
            id=id,
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
        await found.notice.until(lambda: found.channel.readyState in states)
        return found.describe()

    async def close_channel(self, pc: str, channel: str) -> None:
        self._channel(pc, channel).channel.close()

    # ---- messages

    async def send_text(self, pc: str, channel: str, text: str) -> None:
        self._channel(pc, channel).channel.send(text)

    async def send_binary(self, pc: str, channel: str, base64: str) -> None:
        self._channel(pc, channel).channel.send(_from_base64(base64))

    async def send_pattern(
        self, pc: str, channel: str, size: int, seed: int, count: int = 1, text: bool = False
    ) -> None:
        found = self._channel(pc, channel)
        make: Callable[[int, int], str | bytes] = pattern_text if text else pattern
        for index in range(count):
            found.channel.send(make(seed + index, size))
            await found.drained(4 << 20)

    async def drained(self, pc: str, channel: str, threshold: int = 0) -> None:
        await self._channel(pc, channel).drained(threshold)

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
            found.channel.send(message)
            sent.take(message)
            if found.channel.bufferedAmount > high_water:
                await found.drained(high_water // 2)
        await found.drained(0)
        return sent.result()

    async def bulk_result(self, pc: str, channel: str, bytes: int) -> Any:  # noqa: A002 - as above
        found = self._channel(pc, channel)
        bulk = found.bulk
        assert bulk is not None
        await found.notice.until(lambda: bulk.bytes >= bytes)
        found.bulk = None
        return bulk.result()

    async def bulk_progress(self, pc: str, channel: str) -> Any:
        bulk = self._channel(pc, channel).bulk
        return bulk and bulk.result()


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text)


def _plain(description: Any) -> dict[str, str] | None:
    return description and {"type": description.type, "sdp": description.sdp}


def _write(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


async def _answer(program: Program, request: dict[str, Any]) -> None:
    name = request["method"]
    method: Callable[..., Awaitable[Any]] | None = None
    if not name.startswith("_"):
        method = getattr(program, name, None)
    try:
        if method is None:
            raise NotImplementedError(f"aiortc cannot {name}")
        result = await method(**request["params"])
    except Exception as error:  # whatever it is, the test is told
        answer = {"error": {"message": f"{type(error).__name__}: {error}"}}
    else:
        answer = {"result": result}
    _write({"id": request["id"], **answer})


async def main() -> None:
    """Answer requests until stdin ends."""
    program = Program()
    reader = asyncio.StreamReader(limit=1 << 26)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    _write({"method": "ready", "params": {}})
    tasks: set[asyncio.Task[None]] = set()
    while line := await reader.readline():
        task = asyncio.create_task(_answer(program, json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    for task in tasks:
        task.cancel()
    await program.close_all()


if __name__ == "__main__":
    asyncio.run(main())
