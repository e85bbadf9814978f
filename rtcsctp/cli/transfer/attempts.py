"""One connection after another, until the transfer is done or nobody hopes any more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

import attrs
import trio

from rtcsctp.cli.transfer.errors import PathBroken, TransferError
from rtcsctp.cli.transfer.meeting import Meeting
from rtcsctp.cli.transfer.messages import CHANNEL_PROTOCOL
from rtcsctp.cli.transfer.receiving import Receiver
from rtcsctp.cli.transfer.sending import Sender, breaking
from rtcsctp.errors import RtcsctpError
from rtcsctp.runtime.channel import DataChannel
from rtcsctp.runtime.peer import PeerConnection, open_peer
from rtcsctp.runtime.peer_config import PeerConfig

__all__ = ["Patience", "transfer"]

_CHANNEL_TIME: Final = 20.0  # seconds from the connection to the sender's channel
_PAUSES: Final = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before the second, third, … attempt
_FRUITLESS: Final = 3  # attempts to connect to a side that was found

Watch = Callable[[], AbstractAsyncContextManager[None]]


@attrs.frozen(kw_only=True)
class Patience:
    """How long to hope; seconds.

    Attributes:
        first: for the other side to come for the first time.
        again: after a connection broke, for another one.
    """

    first: float = 600.0
    again: float = 600.0


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield


async def transfer(
    half: Sender | Receiver,
    meeting: Meeting,
    config: PeerConfig,
    *,
    patience: Patience | None = None,
    note: Callable[[str], object] = lambda _line: None,
    watch: Watch = _nothing,
) -> None:
    """Do one half of a transfer, with as many connections as it takes.

    Args:
        half: what is to be done.
        meeting: finds the other side.
        config: of the connections.
        patience: how long to hope.
        note: is told in lines what the user might want to know.
        watch: a context for the time in which something is transferred.

    Raises:
        TransferError: it cannot be done; the other side was told.
        PathBroken: the connection broke, and no other came about.
        SignallingError: the server cannot be reached, or refuses.
    """
    patience = patience if patience is not None else Patience()
    began = trio.current_time()
    deadline = began + patience.first
    has_met = False
    fruitless = tries = 0
    last: Exception | None = None
    while True:
        connected = False
        try:
            with trio.fail_at(deadline if meeting.repeats else float("inf")) as hope:
                async with open_peer(config) as peer:
                    channel = _new_channel(peer) if isinstance(half, Sender) else None
                    await meeting.meet(peer, offers=isinstance(half, Sender))
                    connected = has_met = True
                    hope.deadline = float("inf")
                    note("connected")
                    await _run(half, peer, channel, watch)
        except trio.TooSlowError:
            if last is not None:
                raise last from None
            raise TransferError(
                f"nobody with this code came within {patience.first:g} s: are the code and the "
                "server the same on both sides?"
            ) from None
        except PathBroken as error:
            last = error
        except RtcsctpError as error:  # of signalling: the network may be down here
            if not has_met:
                raise
            last = error
        else:
            return
        if not meeting.repeats:
            raise last
        if connected:
            deadline = trio.current_time() + patience.again
            fruitless = tries = 0
            note(f"the connection broke ({last}); looking for the other side again")
        elif isinstance(last, PathBroken):
            fruitless += 1
            if fruitless >= _FRUITLESS and not has_met:
                raise last
        await trio.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
        tries += 1


def _new_channel(peer: PeerConnection) -> DataChannel:
    return peer.create_channel("transfer", protocol=CHANNEL_PROTOCOL)


async def _run(
    half: Sender | Receiver, peer: PeerConnection, channel: DataChannel | None, watch: Watch
) -> None:
    if channel is None:
        try:
            with breaking(), trio.fail_after(_CHANNEL_TIME):
                channel = await peer.incoming.receive()
        except trio.TooSlowError:
            raise PathBroken("the other side does not begin") from None
    if channel.protocol != CHANNEL_PROTOCOL or not channel.ordered or _is_lossy(channel):
        raise TransferError("the other side is no `rtcsctp send` of a version that is known here")
    async with watch():
        await half.run(channel)


def _is_lossy(channel: DataChannel) -> bool:
    return channel.max_retransmits is not None or channel.max_packet_lifetime is not None
