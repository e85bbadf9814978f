"""Both halves of a transfer in one program, over the simulated network."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import trio

from rtcsctp.cli.transfer.errors import PathBroken, TransferError
from rtcsctp.cli.transfer.folder import Folder
from rtcsctp.cli.transfer.items import Items
from rtcsctp.cli.transfer.messages import CHANNEL_PROTOCOL
from rtcsctp.cli.transfer.receiving import Receiver
from rtcsctp.cli.transfer.sending import Sender, breaking
from rtcsctp.runtime.channel import DataChannel
from rtcsctp.runtime.peer import PeerConnection, open_peer
from rtcsctp.runtime.peer_config import PeerConfig
from rtcsctp.testing import Conditions, Network, StandInIdentity, simulated_hosts

Half = Callable[[DataChannel], Awaitable[None]]


@attrs.define
class Outcome:
    """How the two halves ended; None: well."""

    sender: Exception | None = None
    receiver: Exception | None = None

    def check(self) -> None:
        for error in (self.sender, self.receiver):
            if error is not None:
                raise error


def configs(**receiver: Any) -> tuple[PeerConfig, PeerConfig]:
    """Two peers, the sender's first, on hosts of a simulated network.

    Time is real: files are read and written by threads, which virtual time would not wait for.
    """
    hosts = simulated_hosts(Network(Conditions(delay=0.002), seed=1))
    sides: list[dict[str, Any]] = [
        {"host": host, "identity": StandInIdentity(random.Random(seed)), "rng": random.Random(seed)}
        for seed, host in enumerate(hosts)
    ]
    return PeerConfig(**sides[0]), PeerConfig(**sides[1], **receiver)


@contextlib.asynccontextmanager
async def connected_peers(**receiver: Any) -> AsyncIterator[tuple[PeerConnection, PeerConnection]]:
    """Two of them that are connected."""
    one, other = configs(**receiver)
    async with open_peer(one) as left, open_peer(other) as right:
        left.set_remote_description(await right.answer(await left.offer()))
        await left.wait_connected()
        await right.wait_connected()
        yield left, right


async def _end(work: Callable[[], Awaitable[None]]) -> Exception | None:
    try:
        with breaking():
            await work()
    except (TransferError, PathBroken, trio.ClosedResourceError) as error:
        return error
    return None


async def connection(
    sender: Half,
    receiver: Half,
    *,
    until: Callable[[PeerConnection], Awaitable[None]] | None = None,
    **options: Any,
) -> Outcome:
    """One connection, with these halves at its ends.

    Args:
        sender: is called with the channel.
        receiver: likewise.
        until: runs beside them with the sender's peer connection, to break it.
        options: of the receiver's configuration.
    """
    outcome = Outcome()
    with trio.fail_after(60):
        async with connected_peers(**options) as (left, right):
            near = left.create_channel("transfer", protocol=CHANNEL_PROTOCOL)

            async def send() -> None:
                outcome.sender = await _end(lambda: sender(near))
                await near.aclose()

            async def receive() -> None:
                far = await right.incoming.receive()
                outcome.receiver = await _end(lambda: receiver(far))

            async with trio.open_nursery() as nursery:
                if until is not None:
                    nursery.start_soon(until, left)
                async with trio.open_nursery() as halves:
                    halves.start_soon(send)
                    halves.start_soon(receive)
                nursery.cancel_scope.cancel()
    return outcome


async def move(
    words: Sequence[str | Path], folder: Folder, **options: Any
) -> tuple[Sender, Receiver]:
    """Send these, receive them there; gives both halves."""
    sender, receiver = Sender(Items.of([str(word) for word in words])), Receiver(folder)
    (await connection(sender.run, receiver.run, **options)).check()
    return sender, receiver


class Cutter:
    """A write function that sets `reached` after so many bytes, or fails like a full disk."""

    def __init__(self, after: int, error: OSError | None = None) -> None:
        self.reached = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        self._rest = after
        self._error = error

    def __call__(self, descriptor: int, data: memoryview) -> int:
        self._rest -= len(data)
        if self._rest < 0:
            if self._error is not None:
                raise self._error
            self._token.run_sync_soon(self.reached.set)
        return os.write(descriptor, data)

    async def cut(self, peer: PeerConnection) -> None:
        """End the connection when it is reached."""
        await self.reached.wait()
        await peer.abort()


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything in a folder: files with their content, folders with None."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }
