"""What tests say to a peer, whatever it is: Chromium, aiortc, or our own.

A peer knows methods, called as `await peer.call("offer", pc="pc")`. Connections and channels go by
names that the test chooses; channels that the other end opened are called "incoming-0",
"incoming-1", … in the order in which they appeared. What waits does so until the caller's `within`
is over.

Connections
    open(pc, ice_servers=[{urls, username, credential}], relay_only, certificate_algorithm: "ecdsa"
        or "rsa"); close(pc)
    offer(pc, ice_restart, gather), answer(pc, gather): makes the description, applies it, gives
        {type, sdp}, with `gather` not before all candidates are in it
    accept(pc, description); rollback(pc); restart_ice(pc); descriptions(pc): {local, remote}
    next_candidates(pc): waits for news; {candidates: [{candidate, sdpMid, …}], complete}
    add_candidate(pc, candidate), null for the end; candidate_errors(pc): [{url, code, text}]
    wait_state(pc, kind, states): waits until the "connection", "ice", "gathering" or "signaling"
        state is among these, and gives it; states(pc): [[milliseconds, kind, state], …]
    stats(pc): a summary; null for what the peer does not tell

Channels
    create_channel(pc, channel, label, ordered, max_retransmits, max_packet_lifetime (ms), protocol,
        negotiated, id): describes it
    incoming(pc, count): waits for so many; describes all; channel(pc, channel): describes one:
        {channel, id, label, protocol, ordered, max_retransmits, max_packet_lifetime, negotiated,
        state, buffered, received, opens, closings, closes, errors}; the last but one are counts of
        events
    wait_channel(pc, channel, states): waits for a state, and for the event that tells it
    close_channel(pc, channel)

Messages
    send_text(pc, channel, text), send_binary(pc, channel, base64)
    send_pattern(pc, channel, size, seed, count, text): pattern(seed, size), pattern(seed + 1, …), …
    received(pc, channel, count, start): waits until `count` messages are there; all from `start` on
        as {kind: "text" or "binary", size in bytes, sha256, text if it is short}
    drained(pc, channel, threshold): waits until no more than that is buffered
    bulk_receive(pc, channel): count messages instead of keeping them, until bulk_result
    bulk_send(pc, channel, total, size, seed, high_water): see `transfer`
    bulk_result(pc, channel, bytes): waits for so many bytes; {messages, bytes, checksum,
        out_of_order, seconds}; bulk_progress(pc, channel): the same at once
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import attrs
import trio

from .usrsctp import PeerError

#: The name of a connection, where a test has only one on each peer.
PC = "pc"


class Peer(Protocol):
    """What can be told to do things: a page of a browser, or a program of ours."""

    @property
    def name(self) -> str: ...

    async def call(self, method: str, *, within: float = 10.0, **params: Any) -> Any: ...


async def send(peer: Peer, channel: str, message: str | bytes, *, pc: str = PC) -> None:
    """Let it send a message; long ones are better described, with `send_pattern`."""
    if isinstance(message, str):
        await peer.call("send_text", pc=pc, channel=channel, text=message)
    else:
        text = base64.b64encode(message).decode()
        await peer.call("send_binary", pc=pc, channel=channel, base64=text)


# --------------------------------------------------------------------------- signalling


async def negotiate(
    offerer: Peer, answerer: Peer, *, pc: str = PC, gather: bool = False, ice_restart: bool = False
) -> None:
    """One exchange of offer and answer; with `gather`, each with all its candidates."""
    offer = await offerer.call("offer", pc=pc, gather=gather, ice_restart=ice_restart)
    await answerer.call("accept", pc=pc, description=offer)
    answer = await answerer.call("answer", pc=pc, gather=gather)
    await offerer.call("accept", pc=pc, description=answer)


@asynccontextmanager
async def trickling(one: Peer, other: Peer, *, pc: str = PC) -> AsyncIterator[None]:
    """Carries candidates both ways as long as it is open; both need descriptions before."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_carry_candidates, one, other, pc)
        nursery.start_soon(_carry_candidates, other, one, pc)
        yield
        nursery.cancel_scope.cancel()


async def _carry_candidates(source: Peer, destination: Peer, pc: str) -> None:
    complete = False
    while not complete:
        news = await source.call("next_candidates", pc=pc, within=60)
        complete = news["complete"]
        for candidate in news["candidates"]:
            await destination.call("add_candidate", pc=pc, candidate=candidate)
    await destination.call("add_candidate", pc=pc, candidate=None)


async def wait_connected(*peers: Peer, pc: str = PC, within: float = 20.0) -> None:
    """Wait until all have a connection; PeerError with the log of states if one has not."""
    for peer in peers:
        wanted = ["connected", "failed", "closed"]
        try:
            state = await peer.call(
                "wait_state", pc=pc, kind="connection", states=wanted, within=within
            )
            if state != "connected":
                raise PeerError(f"{peer.name}: the connection is {state}")
        except PeerError as error:
            error.add_note(f"states: {await peer.call('states', pc=pc)}")
            raise


async def connect(
    offerer: Peer, answerer: Peer, *, pc: str = PC, trickle: bool = True, within: float = 20.0
) -> None:
    """Connect what both have opened; the offerer needs a channel before, or it offers nothing."""
    with _one_error():
        if not trickle:
            await negotiate(offerer, answerer, pc=pc, gather=True)
            await wait_connected(offerer, answerer, pc=pc, within=within)
            return
        await negotiate(offerer, answerer, pc=pc)
        async with trickling(offerer, answerer, pc=pc):
            await wait_connected(offerer, answerer, pc=pc, within=within)


class _one_error:  # noqa: N801 - used like a function
    """Lets an error out of the nursery's group, if it is the only one."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
            raise error.exceptions[0] from None


# --------------------------------------------------------------------------- bulk transfer


@attrs.frozen(kw_only=True)
class Transfer:
    """How a bulk transfer went. Times are in seconds."""

    bytes: int
    messages: int
    out_of_order: int
    seconds: float

    @property
    def rate(self) -> float:
        """Megabytes per second at the receiver."""
        return self.bytes / max(self.seconds, 1e-9) / 1e6


async def transfer(
    sender: Peer,
    receiver: Peer,
    channels: Sequence[str],
    *,
    pc: str = PC,
    total: int,
    size: int = 65_536,
    seed: int = 1,
    within: float = 60.0,
) -> Transfer:
    """Send so many bytes in messages of `size` bytes over a reliable channel, and check them.

    `channels` are its names at the sender and at the receiver. Every message begins with its number
    in four bytes, and is pattern(seed, size) after that. Both ends sum the Adler-32 checksums of
    all messages: cheap enough for any speed that a peer reaches, and fit for unordered channels.
    """
    at_sender, at_receiver = channels
    await receiver.call("bulk_receive", pc=pc, channel=at_receiver)
    with trio.move_on_after(within) as limit:
        sent = await sender.call(
            "bulk_send",
            pc=pc,
            channel=at_sender,
            total=total,
            size=size,
            seed=seed,
            within=within,
        )
        got = await receiver.call(
            "bulk_result", pc=pc, channel=at_receiver, bytes=sent["bytes"], within=within
        )
    if limit.cancelled_caught:
        progress = await receiver.call("bulk_progress", pc=pc, channel=at_receiver)
        raise PeerError(f"{receiver.name} had only {progress} of {total} bytes after {within} s")
    for what in ("bytes", "messages", "checksum"):
        if got[what] != sent[what]:
            raise PeerError(f"{sender.name} sent {sent}, {receiver.name} got {got}")
    return Transfer(
        bytes=got["bytes"],
        messages=got["messages"],
        out_of_order=got["out_of_order"],
        seconds=got["seconds"],
    )
