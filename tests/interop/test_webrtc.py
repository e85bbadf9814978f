"""Our peers against those that people meet: Chromium and aiortc, each side as offerer.

Every test runs on two hosts joined by a wire, our peer as a program of its own on one of them.
Chromium hides its addresses behind multicast DNS names, as it does for people.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from .aiortc_peer import AiortcPeer, require_aiortc
from .checks import ROLES, SIX_TYPES, SMALL, Two, check_messages, check_sizes, open_channel
from .chromium import Chromium, Page, require_chromium
from .namespaces import Host, open_hosts, require_namespaces
from .own_peer import OwnPeer
from .webrtc import PC, Peer, connect, negotiate, send, transfer, trickling

pytestmark = pytest.mark.interop

PEERS = ("chromium", "aiortc")


@asynccontextmanager
async def their_peer(kind: str, host: Host) -> AsyncIterator[Peer]:
    if kind == "chromium":
        async with Chromium(host) as browser:
            yield await browser.new_page()
    else:
        async with AiortcPeer(host) as peer:
            yield peer


@asynccontextmanager
async def two_peers(kind: str, role: str, **options: Any) -> AsyncIterator[Two]:
    """Our peer and theirs on two hosts, each with a connection that nobody has offered yet."""
    require_namespaces()
    {"chromium": require_chromium, "aiortc": require_aiortc}[kind]()
    async with (
        open_hosts() as hosts,
        OwnPeer(hosts[0]) as ours,
        their_peer(kind, hosts[1]) as theirs,
    ):
        await ours.call("open", pc=PC, **options)
        await theirs.call("open", pc=PC)
        offerer, answerer = (ours, theirs) if role == "we offer" else (theirs, ours)
        yield Two(ours=ours, theirs=theirs, hosts=hosts, offerer=offerer, answerer=answerer)


@asynccontextmanager
async def connected(kind: str, role: str, **options: Any) -> AsyncIterator[Two]:
    """… connected, with a channel "first" of the offerer's, "incoming-0" at the answerer."""
    async with two_peers(kind, role, **options) as two:
        await two.offerer.call("create_channel", pc=PC, channel="first")
        await connect(two.offerer, two.answerer)
        await two.answerer.call("incoming", pc=PC, count=1)
        await two.offerer.call("wait_channel", pc=PC, channel="first", states=["open"])
        yield two


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", PEERS)
async def test_messages_of_all_sizes_cross_both_ways(kind: str, role: str) -> None:
    with trio.fail_after(120):
        async with connected(kind, role) as two:
            names = ("first", "incoming-0")
            await check_messages(two.offerer, two.answerer, names, SMALL)
            await check_messages(two.answerer, two.offerer, (names[1], names[0]), SMALL)
            await check_sizes(two.offerer, two.answerer, names)
            await check_sizes(two.answerer, two.offerer, (names[1], names[0]))


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", PEERS)
async def test_channels_of_six_types_from_either_side(kind: str, role: str) -> None:
    with trio.fail_after(120):
        async with connected(kind, role) as two:
            for opener, other in ((two.ours, two.theirs), (two.theirs, two.ours)):
                for label, options in SIX_TYPES.items():
                    name = f"{opener.name} {label} ü世"
                    names = await open_channel(opener, other, name, protocol="pröto", **options)
                    seen = await other.call("channel", pc=PC, channel=names[1])
                    assert seen["label"] == name
                    assert seen["protocol"] == "pröto"
                    assert seen["ordered"] is options.get("ordered", True)
                    assert seen["max_retransmits"] == options.get("max_retransmits")
                    assert seen["max_packet_lifetime"] == options.get("max_packet_lifetime")
                    await check_messages(opener, other, names, ["one way", b"\x01"])
                    await check_messages(other, opener, (names[1], names[0]), ["back", b"\x02"])


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", PEERS)
async def test_negotiated_channels(kind: str, role: str) -> None:
    with trio.fail_after(120):
        async with connected(kind, role) as two:
            for peer in (two.ours, two.theirs):
                await peer.call("create_channel", pc=PC, channel="agreed", negotiated=True, id=500)
            for peer in (two.ours, two.theirs):
                await peer.call("wait_channel", pc=PC, channel="agreed", states=["open"])
            names = ("agreed", "agreed")
            await check_messages(two.ours, two.theirs, names, SMALL)
            await check_messages(two.theirs, two.ours, names, SMALL)


@pytest.mark.parametrize("kind", PEERS)
async def test_closing_from_each_side_and_ids_are_reused(kind: str) -> None:
    """200 channels, ten at a time, opened and closed by either side in turn."""
    with trio.fail_after(150):
        async with connected(kind, "they offer") as two:
            ids: set[int] = set()
            for turn in range(20):
                opener, other = (two.ours, two.theirs) if turn % 2 else (two.theirs, two.ours)
                closer, follower = (opener, other) if turn % 4 < 2 else (other, opener)
                names = [
                    await open_channel(opener, other, f"{turn}-{number}") for number in range(10)
                ]
                for near, far in names:
                    at_closer, at_follower = (near, far) if closer is opener else (far, near)
                    ids.add((await opener.call("channel", pc=PC, channel=near))["id"])
                    await send(closer, at_closer, "last words")
                    await closer.call("close_channel", pc=PC, channel=at_closer)
                    told = await follower.call("received", pc=PC, channel=at_follower, count=1)
                    assert told[0]["text"] == "last words"
                for near, far in names:
                    await opener.call("wait_channel", pc=PC, channel=near, states=["closed"])
                    end = await other.call("wait_channel", pc=PC, channel=far, states=["closed"])
                    assert end["errors"] == []
            assert len(ids) <= 60, sorted(ids)
            await check_messages(two.theirs, two.ours, ("first", "incoming-0"), ["still there"])


@pytest.mark.parametrize(
    ("kind", "role", "total"),
    [
        ("chromium", "we offer", 100_000_000),
        ("chromium", "they offer", 100_000_000),
        ("aiortc", "we offer", 20_000_000),
    ],
)
async def test_bulk_both_ways_with_checksums(kind: str, role: str, total: int) -> None:
    with trio.fail_after(240):
        async with connected(kind, role) as two:
            names = ("first", "incoming-0")
            there = await transfer(two.offerer, two.answerer, names, total=total, within=110)
            back = await transfer(two.answerer, two.offerer, names[::-1], total=total, within=110)
            for result in (there, back):
                assert result.bytes >= total
                assert result.out_of_order == 0


@pytest.mark.parametrize("kind", PEERS)
async def test_our_leaving_is_noticed_at_once(kind: str) -> None:
    # pitfall W42
    with trio.fail_after(60):
        async with connected(kind, "they offer") as two:
            await check_messages(two.theirs, two.ours, ("first", "incoming-0"), ["hello"])
            await two.ours.call("abort", pc=PC)
            await two.theirs.call("wait_channel", pc=PC, channel="first", states=["closed"])


@pytest.mark.parametrize("kind", PEERS)
async def test_their_leaving_is_noticed_at_once(kind: str) -> None:
    with trio.fail_after(60):
        async with connected(kind, "they offer") as two:
            await check_messages(two.theirs, two.ours, ("first", "incoming-0"), ["hello"])
            await two.theirs.call("close", pc=PC)
            await two.ours.call("wait_lost", pc=PC, within=20)
            state = await two.ours.call("wait_state", pc=PC, kind="connection", states=["closed"])
            assert state == "closed"


async def test_a_killed_tab_is_noticed_by_silence() -> None:
    with trio.fail_after(120):
        async with connected("chromium", "they offer", restart_grace=1) as two:
            await check_messages(two.theirs, two.ours, ("first", "incoming-0"), ["hello"])
            assert isinstance(two.theirs, Page)
            await two.theirs.crash()
            await two.ours.call(
                "wait_state", pc=PC, kind="connection", states=["disconnected"], within=30
            )
            why = await two.ours.call("wait_lost", pc=PC, within=70)
            assert "ICE has failed" in why


@pytest.mark.parametrize("restarter", ROLES)
async def test_ice_restart_with_chromium_keeps_the_channels(restarter: str) -> None:
    # pitfall W22
    with trio.fail_after(60):
        async with connected("chromium", "they offer") as two:
            names = ("first", "incoming-0")
            await check_messages(two.theirs, two.ours, names, ["before"])
            before = await two.ours.call("descriptions", pc=PC)
            one, other = (
                (two.ours, two.theirs) if restarter == "we offer" else (two.theirs, two.ours)
            )
            await negotiate(one, other, ice_restart=True)
            await check_messages(two.theirs, two.ours, names, ["between"])
            async with trickling(one, other):
                for peer in (one, other):
                    await peer.call(
                        "wait_state", pc=PC, kind="ice", states=["connected", "completed"]
                    )
                await check_messages(two.theirs, two.ours, names, ["after"])
                await check_messages(two.ours, two.theirs, names[::-1], ["and back"])
            after = await two.ours.call("descriptions", pc=PC)
            for side in ("local", "remote"):
                ufrags = [
                    line
                    for description in (before, after)
                    for line in description[side]["sdp"].splitlines()
                    if line.startswith("a=ice-ufrag:")
                ]
                assert len(set(ufrags)) == 2


async def test_chromium_hides_its_addresses_and_we_can_hide_ours() -> None:
    with trio.fail_after(60):
        async with connected("chromium", "they offer", hide_addresses=True) as two:
            for side in ("local", "remote"):
                sdp = (await two.ours.call("descriptions", pc=PC))[side]["sdp"]
                for line in sdp.splitlines():
                    if line.startswith("a=candidate:") and " typ host" in line:
                        assert ".local " in line
            await check_messages(two.theirs, two.ours, ("first", "incoming-0"), SMALL)


async def test_wrong_fingerprint_is_refused() -> None:
    with trio.fail_after(60):
        async with two_peers("chromium", "they offer") as two:
            await two.theirs.call("create_channel", pc=PC, channel="first")
            offer = await two.theirs.call("offer", pc=PC, gather=True)
            lines = offer["sdp"].splitlines()
            (index,) = [i for i, line in enumerate(lines) if line.startswith("a=fingerprint:")]
            real = lines[index].split()[1]
            forged = ("00" if real[:2] != "00" else "11") + real[2:]
            lines[index] = lines[index].replace(real, forged)
            changed = {"type": "offer", "sdp": "\r\n".join(lines) + "\r\n"}
            await two.ours.call("accept", pc=PC, description=changed)
            answer = await two.ours.call("answer", pc=PC, gather=True)
            await two.theirs.call("accept", pc=PC, description=answer)
            why = await two.ours.call("wait_lost", pc=PC, within=20)
            assert real in why
            assert forged in why
            assert (await two.theirs.call("channel", pc=PC, channel="first"))["state"] != "open"
