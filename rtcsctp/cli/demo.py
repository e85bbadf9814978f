"""`rtcsctp demo`: the whole stack in one process: two peers, all kinds of channels, a transfer."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from typing import Any

import trio

from rtcsctp.cli.arguments import AddParser, add_command, add_settings, positive_size
from rtcsctp.cli.failure import CommandError
from rtcsctp.cli.interrupt import until_interrupted
from rtcsctp.cli.output import note, say
from rtcsctp.cli.peers import told_plainly
from rtcsctp.cli.progress import Progress, show_progress
from rtcsctp.cli.services import message_size
from rtcsctp.cli.source import generated
from rtcsctp.cli.summary import Tally, statistics_table
from rtcsctp.cli.units import format_count, format_duration
from rtcsctp.dtls.engine import DtlsState
from rtcsctp.ice.candidate import Candidate
from rtcsctp.ice.events import IceState
from rtcsctp.runtime.channel import DataChannel
from rtcsctp.runtime.peer import PeerConnection, open_peer
from rtcsctp.runtime.peer_config import SCTP_OF_PEERS, PeerConfig
from rtcsctp.runtime.peer_states import PeerEvent, StateChange
from rtcsctp.sctp.config import Config

__all__ = ["add_parser", "run"]

_SIZE = 32_000_000
_MESSAGE_SIZE = 16_384
_HOST = "127.0.0.1"
_BULK = "bulk"

_KINDS: Sequence[tuple[str, dict[str, Any]]] = tuple(
    (f"{order}, {limit}", {"ordered": order == "ordered", **reliability})
    for order in ("ordered", "unordered")
    for limit, reliability in (
        ("reliable", {}),
        ("2 retransmissions", {"max_retransmits": 2}),
        ("lifetime 500 ms", {"max_packet_lifetime": 0.5}),
    )
)
"""The kinds of data channels (RFC 8832 section 5.1), and how they are asked for."""

_STAGES: dict[object, str] = {
    IceState.CONNECTED: "ICE has a path",
    IceState.COMPLETED: "ICE has a path",
    DtlsState.CONNECTED: "DTLS is up",
}

_EXAMPLES = """\
examples:
  rtcsctp demo
  rtcsctp demo --size 1GB --set interleaving=false
"""


def add_parser(add: AddParser) -> None:
    """Add the command to those of `rtcsctp`."""
    parser = add_command(
        add,
        "demo",
        run,
        summary="two peers on this machine, all kinds of channels, a transfer of 32 MB",
        description="Two peers in one process find each other by ICE over loopback, shake hands by "
        "DTLS and SCTP, open data channels of all six kinds, and move bytes from one to the other. "
        "At the end, checksums of what was sent and of what was received are compared, and what "
        "was negotiated and measured is shown; the exit code is 0 only if all went well.",
        defaults=SCTP_OF_PEERS,
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "--size",
        type=positive_size,
        default=_SIZE,
        metavar="BYTES",
        help="how much is moved (default: 32MB)",
    )
    add_settings(parser)


def run(arguments: argparse.Namespace) -> None:
    """Show it.

    Raises:
        CommandError: the checksums differ, or the connection broke.
        LocalProtocolError: the configuration does not allow the transfer.
    """
    trio.run(until_interrupted, _Demo(arguments.size, arguments.config).run)


class _Demo:
    """Both ends: Alice offers and sends, Bob answers and receives."""

    def __init__(self, size: int, config: Config) -> None:
        self._size = size
        self._config = PeerConfig(sctp=config, include_loopback=True, addresses=[_HOST])
        self._sent = Tally()
        self._received = Tally()
        self._received_all = trio.Event()

    async def run(self) -> None:
        """Connect, try all kinds of channels, move the bytes, and say how it went."""
        with told_plainly():
            async with (
                open_peer(self._config) as alice,
                open_peer(self._config) as bob,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(self._serve, bob)
                await self._connect(alice, bob)
                await self._try_kinds(alice)
                await self._transfer(alice)
                self._report(alice, bob)
                nursery.cancel_scope.cancel()

    # ------------------------------------------------------------------------------- connecting

    async def _connect(self, alice: PeerConnection, bob: PeerConnection) -> None:
        began = trio.current_time()
        with alice.events() as events:
            async with trio.open_nursery() as nursery:
                stages: list[tuple[str, float]] = []
                nursery.start_soon(_note_stages, events, stages)
                # What signalling would carry from one machine to the other: one line each way.
                offer = (await alice.offer()).to_line()
                answer = (await bob.answer(offer)).to_line()
                lines = f"offer and answer, lines of {len(offer)} and {len(answer)}"
                stages.append((lines, trio.current_time()))
                await alice.accept(answer)
                await trio.lowlevel.checkpoint()  # so that the last event is noted
                stages.append(("SCTP is up", trio.current_time()))
                nursery.cancel_scope.cancel()
        note(f"connected over {_HOST}")
        for name, moment in stages:
            say(f"{name:<40}  after {1000 * (moment - began):6.1f} ms")

    # --------------------------------------------------------------------------------- channels

    async def _try_kinds(self, alice: PeerConnection) -> None:
        say("")
        for name, options in _KINDS:
            began = trio.current_time()
            async with alice.create_channel(name, **options) as channel:
                await channel.send("hello")
                reply = await channel.receive()
            if reply != "hello":
                raise CommandError(f"a channel ({name}) did not give back what was sent")
            elapsed = trio.current_time() - began
            say(f"channel: {name:<31}  opened, answered, closed in {1000 * elapsed:.1f} ms")

    async def _serve(self, bob: PeerConnection) -> None:
        async with trio.open_nursery() as nursery:
            async for channel in bob.incoming:
                is_bulk = channel.protocol == _BULK
                nursery.start_soon(self._receive if is_bulk else _echo, channel)

    # --------------------------------------------------------------------------------- transfer

    async def _transfer(self, alice: PeerConnection) -> None:
        say("")
        channel = alice.create_channel(_BULK, protocol=_BULK)
        await channel.wait_open()
        largest = min(_MESSAGE_SIZE, message_size(channel))
        began = trio.current_time()
        progress = Progress("moving", self._size)
        async with show_progress(progress, lambda: self._received.bytes):
            async with aclosing(generated(self._size, largest).messages()) as messages:
                async for message in messages:
                    self._sent.add([message])
                    await channel.send(message)
            await channel.aclose()
            await self._received_all.wait()
        elapsed = trio.current_time() - began
        is_same = self._sent.sha256 == self._received.sha256
        say(f"moved {self._received.describe(elapsed)}")
        say(f"sha256 sent {self._sent.sha256}")
        say(f"  received  {self._received.sha256}")
        say("the checksums are the same" if is_same else "THE CHECKSUMS DIFFER")
        if not is_same:
            raise CommandError("what was received is not what was sent")

    async def _receive(self, channel: DataChannel) -> None:
        try:
            while True:
                messages = await channel.receive_many()
                self._received.add(part for part in messages if isinstance(part, bytes))
        except trio.EndOfChannel:
            self._received_all.set()
            await channel.aclose()

    # ----------------------------------------------------------------------------------- report

    def _report(self, alice: PeerConnection, bob: PeerConnection) -> None:
        say("")
        rows = list(_negotiated(alice))
        width = max(len(label) for label, _ in rows)
        for label, text in rows:
            say(f"{label:<{width}}  {text}")
        say("")
        say(statistics_table({"Alice": alice.statistics().sctp, "Bob": bob.statistics().sctp}))


async def _note_stages(
    events: trio.MemoryReceiveChannel[PeerEvent], stages: list[tuple[str, float]]
) -> None:
    """When each layer came up."""
    async for event in events:
        name = _STAGES.get(event.state) if isinstance(event, StateChange) else None
        if name is not None and name not in (known for known, _ in stages):
            stages.append((name, trio.current_time()))


async def _echo(channel: DataChannel) -> None:
    async with channel:
        async for message in channel:
            await channel.send(message)


def _negotiated(peer: PeerConnection) -> Iterator[tuple[str, str]]:
    """What the layers have agreed upon, as one of the peers has it."""
    statistics = peer.statistics()
    pair = peer.selected_pair
    if pair is not None:
        role = "controlling" if statistics.ice.controlling else "controlled"
        checks = sum(one.requests_sent for one in statistics.ice.pairs)
        yield "ICE", f"{_candidate(pair.local)} to {_candidate(pair.remote)}"
        yield "  role", f"{role}; {format_count(checks, 'check')} sent"
        if pair.rtt is not None:
            yield "  round trip", format_duration(pair.rtt)
    yield "DTLS", f"{statistics.tls_version} as {statistics.dtls_role}"
    yield "  cipher", f"{statistics.dtls_cipher}"
    for whose, fingerprint in (
        ("own", statistics.local_fingerprint),
        ("peer's", statistics.remote_fingerprint),
    ):
        if fingerprint is not None:
            short = f"{fingerprint.algorithm} {fingerprint.value[:23]}…"
            yield f"  {whose} certificate", short
    if statistics.dtls is not None:
        yield (
            "  records",
            f"{statistics.dtls.records_sent:,} sent, {statistics.dtls.records_received:,} received",
        )
    sctp, channels = statistics.sctp, statistics.channels
    yield "SCTP", f"{sctp.outbound_streams:,} streams out, {sctp.inbound_streams:,} in"
    yield (
        "data channels",
        f"{channels.data_channels_opened} opened, {channels.data_channels_closed} closed",
    )


def _candidate(candidate: Candidate) -> str:
    return f"{candidate.host}:{candidate.port} ({candidate.type.value})"
