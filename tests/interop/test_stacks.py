"""Our peers against other WebRTC stacks: libdatachannel, pion and werift, each side as offerer.

Every test runs on two hosts joined by a wire, our peer and theirs as programs on them. Where a
stack deviates from the standards, the test says so and shows what we make of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from .checks import ROLES, SIX_TYPES, SMALL, Two, check_messages, open_channel
from .namespaces import open_hosts, require_namespaces
from .own_peer import OwnPeer
from .payload import record
from .stacks import STACKS, Stack, StackPeer, require_stack
from .usrsctp import pattern
from .webrtc import PC, Peer, connect, negotiate, transfer, trickling

pytestmark = pytest.mark.interop


LIMITS = ("max_retransmits", "max_packet_lifetime")

#: Whether they interleave messages (RFC 8260), and take packets without a checksum (RFC 9653).
EXTENSIONS = {
    "libdatachannel": {"interleaving": False, "zero_checksum": True},
    "pion": {"interleaving": True, "zero_checksum": False},  # checksums: unless it is told to
    "werift": {"interleaving": False, "zero_checksum": False},
}
#: They tell nothing about the type of a channel that the other end has opened.
TELL_NO_TYPES = {"libdatachannel"}
#: They announce the lengths of label and protocol in UTF-16 units (RFC 8832 5.1: bytes), and an
#: unordered channel with limits as an ordered one (RFC 8832 5.1: 0x81 and 0x82).
ANNOUNCE_WRONGLY = {"werift"}
#: They send nothing in place of an empty message, but count it: what follows on an ordered channel
#: cannot be delivered (RFC 8831 6.6: one byte, under a PPID of its own).
SEND_NO_EMPTY_MESSAGES = {"werift"}
#: They close their sockets without a word in SCTP or DTLS before.
LEAVE_SILENTLY = {"werift"}


@pytest.fixture(params=sorted(STACKS))
def stack(request: pytest.FixtureRequest) -> Stack:
    """Each stack in turn; built once, before the test's clock runs."""
    require_namespaces()
    return require_stack(request.param)


@asynccontextmanager
async def connected(
    stack: Stack, role: str, *, trickle: bool = True, **options: Any
) -> AsyncIterator[Two]:
    """Our peer and theirs, connected, with a channel "first" of the offerer's, "incoming-0" at the
    answerer. The options are those of their connection.
    """
    async with (
        open_hosts() as hosts,
        OwnPeer(hosts[0]) as ours,
        StackPeer(stack, hosts[1]) as theirs,
    ):
        await ours.call("open", pc=PC)
        await theirs.call("open", pc=PC, **options)
        offerer, answerer = (ours, theirs) if role == "we offer" else (theirs, ours)
        await offerer.call("create_channel", pc=PC, channel="first")
        await connect(offerer, answerer, trickle=trickle)
        await answerer.call("incoming", pc=PC, count=1)
        await offerer.call("wait_channel", pc=PC, channel="first", states=["open"])
        yield Two(ours=ours, theirs=theirs, hosts=hosts, offerer=offerer, answerer=answerer)


async def check_sizes(sender: Peer, receiver: Peer, names: tuple[str, str], largest: int) -> None:
    sizes = [1, 2, 100, 1170, 1200, 16_383, 16_384, 65_535, 65_536, 200_001, 262_143, 262_144]
    sizes = [size for size in sizes if size <= largest]
    known = (await receiver.call("channel", pc=PC, channel=names[1]))["received"]
    for size in sizes:
        await sender.call("send_pattern", pc=PC, channel=names[0], size=size, seed=size)
    received = await receiver.call(
        "received", pc=PC, channel=names[1], start=known, count=known + len(sizes), within=20
    )
    assert received == [record(pattern(size, size)) for size in sizes]


def small(stack: Stack, sender: Peer) -> list[str | bytes]:
    """Small messages, as far as this peer can send them."""
    full = not isinstance(sender, StackPeer) or stack.name not in SEND_NO_EMPTY_MESSAGES
    return [message for message in SMALL if message or full]


async def credentials(peer: Peer) -> set[str]:
    """The user fragments of the descriptions that this peer has now."""
    descriptions = await peer.call("descriptions", pc=PC)
    lines = [line for side in descriptions.values() for line in side["sdp"].splitlines()]
    return {line for line in lines if line.startswith("a=ice-ufrag:")}


async def wait_closed(peer: Peer, channel: str) -> None:
    """Wait until the channel is closed, in order."""
    with trio.fail_after(10):
        told = await peer.call("channel", pc=PC, channel=channel)
        while told["state"] != "closed":
            await trio.sleep(0.01)
            told = await peer.call("channel", pc=PC, channel=channel)
    assert told["errors"] == []


async def announced_size(peer: Peer) -> int:
    """The largest message that this peer has announced to take, in bytes."""
    sdp = (await peer.call("descriptions", pc=PC))["local"]["sdp"]
    (line,) = [line for line in sdp.splitlines() if line.startswith("a=max-message-size:")]
    return int(line.partition(":")[2])


@pytest.mark.parametrize("role", ROLES)
async def test_messages_of_all_sizes_cross_both_ways(stack: Stack, role: str) -> None:
    with trio.fail_after(60):
        async with connected(stack, role, trickle=role == "we offer") as two:
            names = ("first", "incoming-0")
            for sender, receiver in ((two.offerer, two.answerer), (two.answerer, two.offerer)):
                await check_messages(sender, receiver, names, small(stack, sender))
                await check_sizes(sender, receiver, names, await announced_size(receiver))
                names = names[::-1]
            stats = await two.ours.call("stats", pc=PC)
            assert {name: stats[name] for name in EXTENSIONS[stack.name]} == EXTENSIONS[stack.name]


async def test_pion_takes_packets_without_checksums() -> None:
    require_namespaces()
    pion = require_stack("pion")
    with trio.fail_after(60):
        async with connected(pion, "they offer", zero_checksum=True) as two:
            assert (await two.ours.call("stats", pc=PC))["zero_checksum"]
            await check_messages(two.ours, two.theirs, ("incoming-0", "first"), SMALL)
            await check_messages(two.theirs, two.ours, ("first", "incoming-0"), SMALL)


@pytest.mark.parametrize("role", ROLES)
async def test_channels_of_six_types_from_either_side(stack: Stack, role: str) -> None:
    with trio.fail_after(60):
        async with connected(stack, role) as two:
            for opener, other in ((two.ours, two.theirs), (two.theirs, two.ours)):
                wrong = opener is two.theirs and stack.name in ANNOUNCE_WRONGLY
                suffix, protocol = ("", "proto") if wrong else (" ü世🌍", "pröto")
                for label, options in SIX_TYPES.items():
                    name = f"{opener.name} {label}{suffix}"
                    names = await open_channel(opener, other, name, protocol=protocol, **options)
                    seen = await other.call("channel", pc=PC, channel=names[1])
                    assert seen["label"] == name
                    assert seen["protocol"] == protocol
                    if other is two.ours or stack.name not in TELL_NO_TYPES:
                        limits = [options.get(limit) for limit in LIMITS]
                        assert [seen[limit] for limit in LIMITS] == limits
                        if not (wrong and any(limit is not None for limit in limits)):
                            assert seen["ordered"] is options.get("ordered", True)
                    await check_messages(opener, other, names, ["one way", b"\x01"])
                    await check_messages(other, opener, names[::-1], ["back", b"\x02"])


async def test_negotiated_channels(stack: Stack) -> None:
    with trio.fail_after(60):
        async with connected(stack, "they offer") as two:
            for peer in (two.ours, two.theirs):
                await peer.call("create_channel", pc=PC, channel="agreed", negotiated=True, id=500)
            for peer in (two.ours, two.theirs):
                await peer.call("wait_channel", pc=PC, channel="agreed", states=["open"])
            names = ("agreed", "agreed")
            await check_messages(two.ours, two.theirs, names, small(stack, two.ours))
            await check_messages(two.theirs, two.ours, names, small(stack, two.theirs))


async def test_closing_from_each_side_and_ids_are_reused(stack: Stack) -> None:
    """30 channels, five at a time, opened and closed by either side in turn."""
    with trio.fail_after(60):
        async with connected(stack, "they offer") as two:
            ids: set[int] = set()
            for turn in range(6):
                opener, other = (two.ours, two.theirs) if turn % 2 else (two.theirs, two.ours)
                closer, follower = (opener, other) if turn % 4 < 2 else (other, opener)
                names = [
                    await open_channel(opener, other, f"{turn}-{number}") for number in range(5)
                ]
                for near, far in names:
                    at_closer, at_follower = (near, far) if closer is opener else (far, near)
                    ids.add((await opener.call("channel", pc=PC, channel=near))["id"])
                    await check_messages(closer, follower, (at_closer, at_follower), ["last words"])
                    await closer.call("close_channel", pc=PC, channel=at_closer)
                for near, far in names:
                    await wait_closed(opener, near)
                    await wait_closed(other, far)
            assert len(ids) <= 20, sorted(ids)
            await check_messages(two.theirs, two.ours, ("first", "incoming-0"), ["still there"])


async def test_bulk_both_ways_with_checksums(stack: Stack) -> None:
    total = 10_000_000
    with trio.fail_after(60):
        async with connected(stack, "we offer") as two:
            names = ("first", "incoming-0")
            there = await transfer(two.ours, two.theirs, names, total=total)
            back = await transfer(two.theirs, two.ours, names[::-1], total=total)
            for result in (there, back):
                assert result.bytes >= total
                assert result.out_of_order == 0


async def test_our_leaving_is_noticed(stack: Stack) -> None:
    with trio.fail_after(60):
        async with connected(stack, "they offer") as two:
            await check_messages(two.theirs, two.ours, ("first", "incoming-0"), ["hello"])
            await two.ours.call("close", pc=PC)
            await two.theirs.call("wait_channel", pc=PC, channel="first", states=["closed"])


async def test_their_leaving_is_noticed(stack: Stack) -> None:
    with trio.fail_after(60):
        async with connected(stack, "they offer") as two:
            await check_messages(two.theirs, two.ours, ("first", "incoming-0"), ["hello"])
            await two.theirs.call("close", pc=PC)
            if stack.name in LEAVE_SILENTLY:
                await two.ours.call(
                    "wait_state", pc=PC, kind="connection", states=["disconnected"], within=20
                )
                return
            await two.ours.call("wait_lost", pc=PC, within=20)
            state = await two.ours.call("wait_state", pc=PC, kind="connection", states=["closed"])
            assert state == "closed"


@pytest.mark.parametrize("restarter", ROLES)
@pytest.mark.parametrize("stack", ["pion", "werift"], indirect=True)  # libdatachannel cannot
async def test_ice_restart_keeps_the_channels(stack: Stack, restarter: str) -> None:
    # Where we restart, pion turns the DTLS roles around in its answer; we know that of Firefox.
    with trio.fail_after(60):
        async with connected(stack, "they offer") as two:
            names = ("first", "incoming-0")
            one, other = (
                (two.ours, two.theirs) if restarter == "we offer" else (two.theirs, two.ours)
            )
            before = await credentials(two.ours)
            await negotiate(one, other, ice_restart=True)
            async with trickling(one, other):
                for peer in (one, other):
                    await peer.call(
                        "wait_state", pc=PC, kind="ice", states=["connected", "completed"]
                    )
                await check_messages(two.theirs, two.ours, names, ["after"])
                await check_messages(two.ours, two.theirs, names[::-1], ["and back"])
            assert not before & await credentials(two.ours)


async def test_an_answer_that_turns_the_dtls_roles_around_is_let_pass() -> None:
    """As the one who answers, pion 4.2.20 is always "active", also where it has offered before and
    is the server of the DTLS association that goes on (RFC 8829 5.3.2).
    """
    require_namespaces()
    pion = require_stack("pion")
    with trio.fail_after(60):
        async with connected(pion, "they offer") as two:
            await negotiate(two.ours, two.theirs)
            await check_messages(two.theirs, two.ours, ("first", "incoming-0"), ["still there"])
            await check_messages(two.ours, two.theirs, ("incoming-0", "first"), ["and back"])
