"""STUN and TURN against coturn, on three hosts: two peers, and the server between them."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from .chromium import Chromium, require_chromium
from .coturn import Coturn, require_coturn
from .namespaces import open_hosts, require_namespaces
from .own_peer import OwnPeer
from .payload import record
from .webrtc import PC, connect, negotiate, send, transfer

pytestmark = pytest.mark.interop


@pytest.fixture(autouse=True)
def with_coturn() -> None:
    require_namespaces()
    require_coturn()


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_relay_only_on_both_sides(transport: str) -> None:
    with trio.fail_after(90):
        async with (
            open_hosts(3) as hosts,
            Coturn(hosts[2].ipv4, host=hosts[2], stale_nonce=600) as turn,
            OwnPeer(hosts[0]) as one,
            OwnPeer(hosts[1]) as other,
        ):
            options: dict[str, Any] = {"ice_servers": [turn.ice_server(transport)]}
            if transport == "tls":
                options["turn_ca_file"] = str(turn.certificate)
            for peer in (one, other):
                await peer.call("open", pc=PC, relay_only=True, **options)
            await one.call("create_channel", pc=PC, channel="first")
            await connect(one, other)
            await other.call("incoming", pc=PC, count=1)
            for peer in (one, other):
                stats = await peer.call("stats", pc=PC)
                assert stats["relayed"]
                assert stats["local"]["type"] == "relay"
                sdp = (await peer.call("descriptions", pc=PC))["local"]["sdp"]
                types = {line.split()[7] for line in sdp.splitlines() if "candidate:" in line}
                assert types == {"relay"}
                for host in hosts[:2]:
                    assert host.ipv4 not in sdp
            await send(one, "first", "through the relay")
            got = await other.call("received", pc=PC, channel="incoming-0", count=1)
            assert got == [record("through the relay")]
            result = await transfer(one, other, ("first", "incoming-0"), total=5_000_000)
            assert result.out_of_order == 0


async def test_relayed_by_ipv6(with_coturn: None) -> None:
    with trio.fail_after(60):
        async with (
            open_hosts(3) as hosts,
            Coturn(hosts[2].ipv6, host=hosts[2]) as turn,
            OwnPeer(hosts[0]) as one,
            OwnPeer(hosts[1]) as other,
        ):
            for peer in (one, other):
                await peer.call(
                    "open", pc=PC, relay_only=True, ice_servers=[turn.ice_server("udp")]
                )
            await one.call("create_channel", pc=PC, channel="first")
            await connect(one, other)
            assert (await one.call("stats", pc=PC))["relayed"]


async def test_relay_only_towards_chromium() -> None:
    require_chromium()
    with trio.fail_after(90):
        async with (
            open_hosts(3) as hosts,
            Coturn(hosts[2].ipv4, host=hosts[2]) as turn,
            OwnPeer(hosts[0]) as ours,
            Chromium(hosts[1]) as browser,
        ):
            page = await browser.new_page()
            for peer in (ours, page):
                await peer.call(
                    "open", pc=PC, relay_only=True, ice_servers=[turn.ice_server("udp")]
                )
            await page.call("create_channel", pc=PC, channel="first")
            await connect(page, ours)
            await ours.call("incoming", pc=PC, count=1)
            assert (await ours.call("stats", pc=PC))["relayed"]
            result = await transfer(page, ours, ("first", "incoming-0"), total=2_000_000)
            assert result.out_of_order == 0


async def test_stun_finds_our_address() -> None:
    with trio.fail_after(60):
        async with (
            open_hosts() as hosts,
            Coturn(hosts[1].ipv4, host=hosts[1]) as stun,
            OwnPeer(hosts[0]) as ours,
        ):
            await ours.call(
                "open", pc=PC, ice_servers=[{"urls": stun.stun_url}], hide_addresses=True
            )
            offer = await ours.call("offer", pc=PC, gather=True, within=15)
            reflexive = [line for line in offer["sdp"].splitlines() if " typ srflx" in line]
            assert reflexive
            assert all(f" {hosts[0].ipv4} " in line for line in reflexive)
            # … of an address that is hidden otherwise: its base is not told either. Port 9 is what
            # RFC 8839 5.1 and draft-ietf-mmusic-mdns-ice-candidates 3.1.2.2 say (Chromium: 0).
            assert all("raddr 0.0.0.0 rport 9" in line for line in reflexive)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_wrong_password_is_told(transport: str) -> None:
    with trio.fail_after(60):
        async with (
            open_hosts() as hosts,
            Coturn(hosts[1].ipv4, host=hosts[1]) as turn,
            OwnPeer(hosts[0]) as ours,
        ):
            server = turn.ice_server(transport) | {"credential": "wrong"}
            await ours.call("open", pc=PC, ice_servers=[server])
            await ours.call("offer", pc=PC, gather=True, within=20)
            problems = await ours.call("candidate_errors", pc=PC)
            assert [p["code"] for p in problems] == [401]
            assert problems[0]["url"] == server["urls"]
            assert "password" in problems[0]["text"]


async def test_unreachable_servers_hold_nothing_up() -> None:
    # pitfall W20
    with trio.fail_after(60):
        async with open_hosts() as hosts, OwnPeer(hosts[0]) as one, OwnPeer(hosts[1]) as other:
            nobody = f"{hosts[1].ipv4}:9"
            servers = [
                {"urls": f"stun:{nobody}"},
                {"urls": f"turn:{nobody}", "username": "u", "credential": "p"},
                {"urls": f"turn:{nobody}?transport=tcp", "username": "u", "credential": "p"},
            ]
            for peer in (one, other):
                await peer.call("open", pc=PC, ice_servers=servers)
            await one.call("create_channel", pc=PC, channel="first")
            await negotiate(one, other)
            began = trio.current_time()
            for source, sink in ((one, other), (other, one)):
                news = await source.call("next_candidates", pc=PC)
                for candidate in news["candidates"]:
                    await sink.call("add_candidate", pc=PC, candidate=candidate)
            await one.call("wait_channel", pc=PC, channel="first", states=["open"])
            assert trio.current_time() - began < 5
            # TCP is refused at once, and says so.
            problems = await one.call("candidate_errors", pc=PC)
            assert any("tcp" in p["url"] and p["code"] == 701 for p in problems)
