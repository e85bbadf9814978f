"""Our peers against Firefox, each side as offerer; see test_webrtc.py for Chromium and aiortc.

Firefox hides its addresses behind multicast DNS names, as it does for people. It takes seconds to
start, so a test does all that it can with one browser, in a page for each connection.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

from .checks import (
    ROLES,
    SIX_TYPES,
    SMALL,
    check_messages,
    check_sizes,
    open_channel,
)
from .firefox import BLANK_URL, Firefox, Page, require_firefox
from .namespaces import open_hosts
from .own_peer import OwnPeer
from .payload import pattern_text, record
from .usrsctp import PeerError, pattern
from .webrtc import PC, Peer, connect, send, transfer, trickling

pytestmark = pytest.mark.interop


@attrs.frozen(kw_only=True)
class Two:
    """Our peer and Firefox's."""

    ours: OwnPeer
    theirs: Page
    offerer: Peer
    answerer: Peer


@attrs.frozen
class Place:
    """Where peers meet: ours on one host, a browser on the other."""

    ours: OwnPeer
    browser: Firefox

    @asynccontextmanager
    async def connected(self, role: str) -> AsyncIterator[Two]:
        """Both, connected, with a channel "first" of the offerer's, the answerer's "incoming-0".

        One after the other: they all have the same name.
        """
        ours, theirs = self.ours, await self.browser.new_page()
        offerer, answerer = (ours, theirs) if role == "we offer" else (theirs, ours)
        for peer in (ours, theirs):
            await peer.call("open", pc=PC)
        await offerer.call("create_channel", pc=PC, channel="first")
        await connect(offerer, answerer)
        await answerer.call("incoming", pc=PC, count=1)
        await offerer.call("wait_channel", pc=PC, channel="first", states=["open"])
        yield Two(ours=ours, theirs=theirs, offerer=offerer, answerer=answerer)
        await ours.call("close", pc=PC)


@asynccontextmanager
async def open_place(preferences: Mapping[str, bool] | None = None) -> AsyncIterator[Place]:
    require_firefox()
    async with (
        open_hosts() as hosts,
        OwnPeer(hosts[0]) as ours,
        Firefox(hosts[1], preferences) as browser,
    ):
        yield Place(ours, browser)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with open_place() as opened:
        yield opened


async def check_large(two: Two, at_ours: str, at_theirs: str) -> None:
    """Messages as large as announced: by us 256 KiB, by Firefox 1 GiB."""
    known = (await two.theirs.call("channel", pc=PC, channel=at_theirs))["received"]
    await two.ours.call("send_pattern", pc=PC, channel=at_ours, size=2_000_000, seed=3, within=20)
    there = await two.theirs.call(
        "received", pc=PC, channel=at_theirs, start=known, count=known + 1, within=20
    )
    assert there == [record(pattern(3, 2_000_000))]

    known = (await two.ours.call("channel", pc=PC, channel=at_ours))["received"]
    too_large: dict[str, Any] = {"channel": at_theirs, "size": 262_145, "seed": 1}
    with pytest.raises(PeerError, match="TypeError"):
        await two.theirs.call("send_pattern", pc=PC, **too_large)
    await two.theirs.call("send_pattern", pc=PC, channel=at_theirs, size=262_144, seed=5, text=True)
    back = await two.ours.call("received", pc=PC, channel=at_ours, start=known, count=known + 1)
    assert back == [record(pattern_text(5, 262_144))]


async def check_closing(two: Two, turns: int) -> None:
    """Three channels in each turn, opened and closed by either side; ids are reused."""
    ids: set[int] = set()
    for turn in range(turns):
        opener, other = (two.ours, two.theirs) if turn % 2 else (two.theirs, two.ours)
        closer, follower = (opener, other) if turn % 4 < 2 else (other, opener)
        names = [await open_channel(opener, other, f"{turn}-{number}") for number in range(3)]
        for near, far in names:
            at_closer, at_follower = (near, far) if closer is opener else (far, near)
            ids.add((await opener.call("channel", pc=PC, channel=near))["id"])
            await send(closer, at_closer, "last words")
            await closer.call("close_channel", pc=PC, channel=at_closer)
            told = await follower.call("received", pc=PC, channel=at_follower, count=1)
            assert told[0]["text"] == "last words"
        for peer, at_peer in ((opener, 0), (other, 1)):
            for pair in names:
                end = await peer.call(
                    "wait_channel", pc=PC, channel=pair[at_peer], states=["closed"]
                )
                assert end["errors"] == []
    assert len(ids) <= 12, sorted(ids)


async def check_bulk(two: Two, names: tuple[str, str], total: int) -> None:
    """So many bytes from the offerer to the answerer, and back."""
    for sender, receiver, channels in (
        (two.offerer, two.answerer, names),
        (two.answerer, two.offerer, names[::-1]),
    ):
        result = await transfer(sender, receiver, channels, total=total, within=50)
        assert result.bytes >= total
        assert result.out_of_order == 0


NAMES = ("first", "incoming-0")


async def test_messages_of_all_sizes_cross_both_ways(place: Place) -> None:
    with trio.fail_after(120):
        for role in ROLES:
            async with place.connected(role) as two:
                assert (await two.ours.call("stats", pc=PC))["interleaving"] is True
                sdp = (await two.theirs.call("descriptions", pc=PC))["local"]["sdp"]
                candidates = [line for line in sdp.splitlines() if line.startswith("a=candidate:")]
                assert candidates
                assert all(".local " in line for line in candidates)

                await check_messages(two.offerer, two.answerer, NAMES, SMALL)
                await check_messages(two.answerer, two.offerer, NAMES[::-1], SMALL)
                await check_sizes(two.offerer, two.answerer, NAMES)
                await check_sizes(two.answerer, two.offerer, NAMES[::-1])
                await check_large(two, *(NAMES if role == "we offer" else NAMES[::-1]))


async def test_channels_of_six_types_from_either_side(place: Place) -> None:
    with trio.fail_after(120):
        for role in ROLES:
            async with place.connected(role) as two:
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
                        await check_messages(other, opener, names[::-1], ["back", b"\x02"])


async def test_negotiated_channels_and_closing_with_ids_reused(place: Place) -> None:
    with trio.fail_after(120):
        for role in ROLES:
            async with place.connected(role) as two:
                agreed: dict[str, Any] = {"channel": "agreed", "negotiated": True, "id": 500}
                for peer in (two.ours, two.theirs):
                    await peer.call("create_channel", pc=PC, **agreed)
                for peer in (two.ours, two.theirs):
                    await peer.call("wait_channel", pc=PC, channel="agreed", states=["open"])
                names = ("agreed", "agreed")
                await check_messages(two.ours, two.theirs, names, SMALL)
                await check_messages(two.theirs, two.ours, names, SMALL)
                await check_closing(two, turns=10 if role == "they offer" else 4)
                await check_messages(two.ours, two.theirs, names, ["still there"])


async def test_bulk_both_ways_with_checksums(place: Place) -> None:
    with trio.fail_after(120):
        async with place.connected("we offer") as two:
            await check_bulk(two, NAMES, total=20_000_000)


async def test_the_older_sctp_of_firefox() -> None:
    """Firefox had usrsctp before dcSCTP, and can still use it; both know I-DATA."""
    with trio.fail_after(120):
        async with open_place({"media.peerconnection.sctp.use_dcsctp": False}) as place:
            for role in ROLES:
                async with place.connected(role) as two:
                    assert (await two.ours.call("stats", pc=PC))["interleaving"] is True
                    await check_messages(two.offerer, two.answerer, NAMES, SMALL)
                    await check_messages(two.answerer, two.offerer, NAMES[::-1], SMALL)
                    await check_sizes(two.offerer, two.answerer, NAMES)
                    await check_sizes(two.answerer, two.offerer, NAMES[::-1])
                    await check_large(two, *(NAMES if role == "we offer" else NAMES[::-1]))
                    await check_closing(two, turns=4)
                    await check_bulk(two, NAMES, total=2_000_000)


# --------------------------------------------------------------------------- restarts


RESTARTERS = ("we restart", "they restart")


async def test_ice_restart_from_either_side_keeps_the_channels(place: Place) -> None:
    with trio.fail_after(120):
        for role in ROLES:
            for restarter in RESTARTERS:
                async with place.connected(role) as two:
                    await check_messages(two.offerer, two.answerer, NAMES, ["before"])
                    before = await two.ours.call("descriptions", pc=PC)
                    one: Peer = two.ours if restarter == "we restart" else two.theirs
                    other: Peer = two.theirs if restarter == "we restart" else two.ours
                    offer = await one.call("offer", pc=PC, ice_restart=True)
                    await other.call("accept", pc=PC, description=offer)
                    answer = await other.call("answer", pc=PC)
                    await one.call("accept", pc=PC, description=answer)
                    await check_restarted(two, before)


async def check_restarted(two: Two, before: dict[str, Any]) -> None:
    """A negotiation has restarted ICE; the channels do not notice."""
    await check_messages(two.offerer, two.answerer, NAMES, ["between"])
    async with trickling(two.offerer, two.answerer):
        for peer in (two.offerer, two.answerer):
            await peer.call("wait_state", pc=PC, kind="ice", states=["connected", "completed"])
        await check_messages(two.offerer, two.answerer, NAMES, ["after"])
        await check_messages(two.answerer, two.offerer, NAMES[::-1], ["and back"])
    after = await two.ours.call("descriptions", pc=PC)
    for side in ("local", "remote"):
        fragments = {
            line
            for description in (before, after)
            for line in description[side]["sdp"].splitlines()
            if line.startswith("a=ice-ufrag:")
        }
        assert len(fragments) == 2


# --------------------------------------------------------------------------- leaving


async def test_leaving_is_noticed_at_once(place: Place) -> None:
    with trio.fail_after(120):
        for way in ("close", "abort"):
            async with place.connected("they offer") as two:
                await check_messages(two.offerer, two.answerer, NAMES, ["hello"])
                await two.ours.call(way, pc=PC)
                await two.theirs.call("wait_channel", pc=PC, channel="first", states=["closed"])

        for way in ("connection closed", "another page", "tab closed"):
            async with place.connected("they offer") as two:
                await check_messages(two.offerer, two.answerer, NAMES, ["hello"])
                if way == "connection closed":
                    await two.theirs.call("close", pc=PC)
                elif way == "another page":
                    await two.theirs.goto(BLANK_URL)
                else:
                    await two.theirs.close()
                await two.ours.call("wait_lost", pc=PC, within=5)
                await two.ours.call(
                    "wait_channel", pc=PC, channel="incoming-0", states=["closed"], within=5
                )
                await two.ours.call("wait_state", pc=PC, kind="connection", states=["closed"])
