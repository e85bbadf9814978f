"""The harness proven on itself: Chromium, aiortc and coturn against each other."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from . import chromium, namespaces
from .aiortc_peer import AiortcPeer, require_aiortc
from .checks import SIX_TYPES, processes_inside, processes_with
from .chromium import BLANK_URL, Chromium, Page, require_chromium
from .coturn import Coturn, require_coturn
from .namespaces import Host, NamespaceError, inside, open_hosts, require_namespaces, run_inside
from .payload import Bulk, bulk_messages, pattern_text, record
from .peer_process import module_command
from .usrsctp import PeerError, pattern
from .webrtc import PC, Peer, connect, negotiate, send, transfer, trickling, wait_connected

pytestmark = pytest.mark.interop

MDNS = ("224.0.0.251", 5353)


@pytest.fixture
async def hosts() -> AsyncIterator[list[Host]]:
    require_namespaces()
    async with open_hosts() as opened:
        yield opened


@pytest.fixture
def with_chromium() -> None:
    require_chromium()


@pytest.fixture
def with_aiortc() -> None:
    require_aiortc()


@pytest.fixture
def with_coturn() -> None:
    require_coturn()


async def open_connections(*peers: Peer, **options: Any) -> None:
    for peer in peers:
        await peer.call("open", pc=PC, **options)


@asynccontextmanager
async def browsers(hosts: list[Host]) -> AsyncIterator[tuple[Page, Page]]:
    """A page in a browser on each host."""
    async with Chromium(hosts[0]) as one, Chromium(hosts[1]) as other:
        yield await one.new_page(), await other.new_page()


async def check_messages(sender: Peer, receiver: Peer, names: tuple[str, str]) -> None:
    """Text and binary, empty, one byte, small and large arrive as they were sent, in order."""
    at_sender, at_receiver = names
    # The channel may be known to the other end before the answer to its DCEP OPEN is here.
    await sender.call("wait_channel", pc=PC, channel=at_sender, states=["open"])
    known = (await receiver.call("channel", pc=PC, channel=at_receiver))["received"]
    small: list[str | bytes] = ["text", "Grüße, 世界 🌍", b"\x00\xff", "", b"", "x", b"\n"]
    for message in small:
        await send(sender, at_sender, message)
    for text in (False, True):
        await sender.call(
            "send_pattern", pc=PC, channel=at_sender, size=200_001, seed=7, count=2, text=text
        )
    large = [pattern(seed, 200_001) for seed in (7, 8)]
    large_text = [pattern_text(seed, 200_001) for seed in (7, 8)]
    expected = [record(message) for message in [*small, *large, *large_text]]
    received = await receiver.call(
        "received", pc=PC, channel=at_receiver, start=known, count=known + len(expected)
    )
    assert received == expected


# --------------------------------------------------------------------------- payload


def test_bulk_is_checked_for_content_and_order() -> None:
    messages = list(bulk_messages(10_001, 4000, 5))
    assert [len(message) for message in messages] == [4000, 4000, 2001]
    assert messages[1][4:] == pattern(5, 4000)[4:]
    sums = []
    for order in ([0, 1, 2], [0, 2, 1], [0, 1, 1]):
        bulk = Bulk()
        for index in order:
            bulk.take(messages[index])
        sums.append(bulk.result())
    assert [result["out_of_order"] for result in sums] == [0, 2, 1]
    assert sums[0]["checksum"] == sums[1]["checksum"] != sums[2]["checksum"]


# --------------------------------------------------------------------------- namespaces


@pytest.mark.parametrize("count", [2, 3])
async def test_hosts_reach_each_other_and_nobody_else(count: int) -> None:
    require_namespaces()
    with trio.fail_after(20):
        async with open_hosts(count) as hosts:
            first, last = hosts[0], hosts[-1]
            for address, family in ((first.ipv4, socket.AF_INET), (first.ipv6, socket.AF_INET6)):
                server = await inside(
                    first,
                    lambda a=address, f=family: socket.create_server((a, 0), family=f),  # type: ignore[misc]
                )
                with server:
                    to: tuple[str, int] = server.getsockname()[:2]

                    async def visit(to: tuple[str, int] = to) -> str:
                        async with await trio.open_tcp_stream(*to) as stream:
                            return str(stream.socket.getpeername()[0])

                    assert await run_inside(last, visit) == address
            for host in hosts:
                routes = await host.run("ip", "route") + await host.run("ip", "-6", "route")
                assert routes.count("default via") == 2
                assert (await host.run("ip", "-br", "link")).count("\n") == 2  # lo and eth0


@pytest.mark.parametrize("count", [2, 3])
async def test_multicast_dns_passes_between_hosts(count: int) -> None:
    require_namespaces()

    def listen() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(MDNS)
        membership = struct.pack("=4s4s", socket.inet_aton(MDNS[0]), bytes(4))
        made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        return made

    with trio.fail_after(20):
        async with open_hosts(count) as hosts:
            with (
                trio.socket.from_stdlib_socket(await inside(hosts[-1], listen)) as listener,
                await inside(
                    hosts[0], lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                ) as sender,
            ):
                sender.sendto(b"who is there?", MDNS)
                data, (address, _) = await listener.recvfrom(100)
                assert (data, address) == (b"who is there?", hosts[0].ipv4)


async def test_a_cable_can_be_pulled_and_put_back(hosts: list[Host]) -> None:
    one, other = hosts

    async def visit() -> None:
        await (await trio.open_tcp_stream(other.ipv6, port)).aclose()

    async def visit_in_vain() -> None:
        with trio.fail_after(0.2):
            await visit()

    with trio.fail_after(20):
        server = await inside(
            other, lambda: socket.create_server((other.ipv6, 0), family=socket.AF_INET6)
        )
        with server:
            port = server.getsockname()[1]
            await run_inside(one, visit)
            await one.set_connected(False)
            with pytest.raises((trio.TooSlowError, OSError)):
                await run_inside(one, visit_in_vain)
            before = await other.run("ip", "route")
            await one.set_connected(True)
            await run_inside(one, visit)
            for host in (one, other, one, other):
                await host.set_connected(
                    not (await host.run("ip", "link", "show", "up")).count("eth0")
                )
            await run_inside(one, visit)
            assert "default via" in before
            assert "default via" in await one.run("ip", "route")


async def test_programs_run_inside_end_with_a_value_an_error_or_by_cancelling(
    hosts: list[Host],
) -> None:
    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise LookupError("inside")

    cleaned_up = []

    async def hang() -> None:
        try:
            await trio.sleep_forever()
        finally:
            cleaned_up.append(True)

    with trio.fail_after(20):
        names = await inside(hosts[0], socket.if_nameindex)
        assert [name for _, name in names] == ["lo", "eth0"]
        assert socket.if_nameindex() != names  # this thread did not move
        with pytest.raises(LookupError, match="inside"):
            await run_inside(hosts[0], fail)
        with trio.move_on_after(0.2) as scope:
            await run_inside(hosts[0], hang)
        assert scope.cancelled_caught
        assert cleaned_up == [True]
        with pytest.raises(NamespaceError, match="does not exist"):
            await hosts[0].run("ip", "link", "show", "eth7")


async def test_nothing_of_a_namespace_is_left_after_a_failure() -> None:
    require_namespaces()
    inodes = []

    async def fail() -> None:
        async with open_hosts() as hosts:
            inodes.append(os.fstat(hosts[0].descriptor).st_ino)
            assert processes_inside(inodes[0])
            raise LookupError

    with trio.fail_after(20), pytest.raises(LookupError):
        await fail()
    assert not processes_inside(inodes[0])


# --------------------------------------------------------------------------- processes


async def test_peer_processes_answer_out_of_order_and_say_what_is_wrong(with_aiortc: None) -> None:
    with trio.fail_after(60):
        async with AiortcPeer() as peer:
            await open_connections(peer)
            order = []

            async def ask(method: str, **params: Any) -> None:
                order.append((method, await peer.call(method, pc=PC, **params)))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: ask("incoming", count=0))
                nursery.start_soon(lambda: ask("wait_state", kind="connection", states=["closed"]))
                await trio.testing.wait_all_tasks_blocked(0.05)
                await ask("close")
            # The second was asked before the third, and answered because of it.
            assert order[0] == ("incoming", [])
            assert sorted(order[1:]) == [("close", None), ("wait_state", "closed")]

            with pytest.raises(PeerError, match=r"aiortc: juggle \{\}: .*cannot juggle"):
                await peer.call("juggle")
            with pytest.raises(PeerError, match="no channel x, but"):
                await peer.call("channel", pc=PC, channel="x")
            with pytest.raises(PeerError, match=r"did not answer wait_state (?s:.)*log: "):
                await peer.call("wait_state", pc=PC, kind="connection", states=["new"], within=0.05)
            with pytest.raises(PeerError, match=r"sent no 'birth'"):
                await peer.expect("birth", within=0.05)
            await peer.end_input()
            assert await peer.wait(within=10) == 0
            with pytest.raises(PeerError, match="does not read its stdin"):
                await peer.call("states", pc=PC)


async def test_a_peer_process_that_ends_is_reported_with_its_last_words(
    with_aiortc: None,
) -> None:
    with trio.fail_after(60):
        async with AiortcPeer() as peer:
            await open_connections(peer)
            peer.process.send_signal(signal.SIGINT)
            with pytest.raises(PeerError, match=r"ended while (?s:.)*KeyboardInterrupt"):
                await peer.call("wait_state", pc=PC, kind="connection", states=["closed"])


# A program that opens everything, says so, and waits for its end.
_ALL_OF_IT = """
import trio
from {package}.chromium import Chromium
from {package}.coturn import Coturn
from {package}.aiortc_peer import AiortcPeer
from {package}.namespaces import open_hosts

async def main():
    async with open_hosts() as (one, other):
        async with Chromium(one) as browser, Coturn(other.ipv4, host=other), AiortcPeer(other):
            await browser.new_page()
            print(flush=True)
            await trio.sleep_forever()

trio.run(main)
"""


async def test_nothing_outlives_a_test_process_that_is_killed(
    with_chromium: None, with_coturn: None, with_aiortc: None, tmp_path: Path
) -> None:
    package = __name__.rpartition(".")[0]
    _, folder = module_command("aiortc_peer")
    mark = f"RTCSCTP_TEST={tmp_path}"
    name, value = mark.split("=")
    with trio.fail_after(60):
        process = await trio.lowlevel.open_process(
            [sys.executable, "-c", _ALL_OF_IT.format(package=package)],
            stdout=subprocess.PIPE,
            env={**os.environ, name: value, "TMPDIR": str(tmp_path)},
            cwd=folder,
        )
        try:
            assert process.stdout is not None
            async with process.stdout:
                assert await process.stdout.receive_some(1) == b"\n"
                assert len(processes_with(mark)) > 5
        finally:
            process.kill()
            await process.wait()
        while processes_with(mark):  # noqa: ASYNC110 - it is not our children who end
            await trio.sleep(0.05)


# --------------------------------------------------------------------------- Chromium


async def test_a_page_evaluates_and_tells_its_errors(
    hosts: list[Host], with_chromium: None, tmp_path: Path
) -> None:
    with trio.fail_after(60):
        async with Chromium(hosts[0]) as browser:
            page = await browser.new_page()
            assert browser.version.startswith("Chrome/")
            assert await page.evaluate("async (x, y) => ({sum: x + y.z})", 1, {"z": 2}) == {
                "sum": 3
            }
            assert await page.evaluate("() => isSecureContext && location.protocol") == "file:"
            with pytest.raises(PeerError, match="TypeError: no"):
                await page.evaluate("async () => { throw new TypeError('no'); }")
            with pytest.raises(PeerError, match="no connection who, but"):
                await page.call("stats", pc="who")
            with pytest.raises(PeerError, match="ERR_CONNECTION_REFUSED"):
                await page.goto("http://127.0.0.1:8/")
            await page.goto(BLANK_URL)

            await page.evaluate("() => { console.log('fine'); console.error('bad', 3); }")
            await page.evaluate("() => { setTimeout(() => { throw new Error('late'); }); }")
            await page.evaluate("() => new Promise((resolve) => setTimeout(resolve, 20))")
            first, second = await page.console()
            assert first == "bad 3"
            assert "Error: late" in second
            assert await page.console() == []

            picture = await page.screenshot(tmp_path / "page.png")
            assert picture.startswith(b"\x89PNG")
            assert (tmp_path / "page.png").read_bytes() == picture


async def test_of_a_browser_nothing_is_left_after_a_failure(
    hosts: list[Host], with_chromium: None
) -> None:
    inode = os.fstat(hosts[0].descriptor).st_ino

    async def fail() -> None:
        async with Chromium(hosts[0]) as browser:
            page = await browser.new_page()
            await page.crash()  # the browser survives that
            page = await browser.new_page()
            browser.pause()
            with pytest.raises(PeerError, match="did not answer"):
                await page.evaluate("() => 1", within=0.2)
            browser.resume()
            assert await page.evaluate("() => 1") == 1
            assert len(processes_inside(inode)) > 3
            browser.pause()
            raise LookupError

    with trio.fail_after(60), pytest.raises(LookupError):
        await fail()
    # Its files were never visible outside of its own processes.
    assert processes_inside(inode) == [f"/proc/{os.getpid()}/fd/{hosts[0].descriptor}"]


async def test_a_browser_that_cannot_start_says_why(
    hosts: list[Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chromium, "_OWN_PROCESSES", ("sh", "-c", "echo no screen >&2; exit 3"))
    with trio.fail_after(60), pytest.raises(PeerError, match=r"exit code: 3\nlog: no screen"):
        async with Chromium(hosts[0]):
            pass


async def test_browsers_connect_by_mdns_names(hosts: list[Host], with_chromium: None) -> None:
    with trio.fail_after(90):
        async with browsers(hosts) as (one, other):
            await open_connections(one, other)
            await one.call("create_channel", pc=PC, channel="x", label="", protocol="chat")
            await connect(one, other)
            for page in (one, other):
                sdp = (await page.call("descriptions", pc=PC))["local"]["sdp"]
                candidates = [line for line in sdp.splitlines() if line.startswith("a=candidate:")]
                assert candidates
                assert all(line.split()[4].endswith(".local") for line in candidates), candidates

            mine = await one.call("wait_channel", pc=PC, channel="x", states=["open"])
            await other.call("incoming", pc=PC, count=1)
            theirs = await other.call("wait_channel", pc=PC, channel="incoming-0", states=["open"])
            assert theirs == mine | {"channel": "incoming-0"}
            assert (theirs["label"], theirs["protocol"], theirs["opens"]) == ("", "chat", 1)
            await check_messages(one, other, ("x", "incoming-0"))
            await check_messages(other, one, ("incoming-0", "x"))
            done = await transfer(one, other, ("x", "incoming-0"), total=10_000_000, size=262_144)
            assert (done.bytes, done.out_of_order) == (10_000_000, 0)

            # An ICE restart: new credentials on both sides, the channel goes on.
            before = (await other.call("descriptions", pc=PC))["local"]["sdp"]
            await one.call("restart_ice", pc=PC)
            await negotiate(one, other)
            async with trickling(one, other):
                await send(one, "x", "during")
                await other.call("received", pc=PC, channel="incoming-0", count=12)

                await wait_connected(one, other)
            after = (await other.call("descriptions", pc=PC))["local"]["sdp"]
            fragments = [sdp.partition("a=ice-ufrag:")[2].split()[0] for sdp in (before, after)]
            assert fragments[0] != fragments[1]

            await other.call("close_channel", pc=PC, channel="incoming-0")
            for page, channel in ((one, "x"), (other, "incoming-0")):
                closed = await page.call("wait_channel", pc=PC, channel=channel, states=["closed"])
                assert (closed["opens"], closed["closes"], closed["errors"]) == (1, 1, [])
            stats = await one.call("stats", pc=PC)
            assert stats["channels_opened"] == stats["channels_closed"] == 1
            assert stats["local"]["type"] == "host"
            assert stats["remote"] is not None
            for page in (one, other):
                kinds = {(kind, state) for _, kind, state in await page.call("states", pc=PC)}
                assert ("connection", "connected") in kinds
                assert await page.console() == []


# --------------------------------------------------------------------------- Chromium and aiortc


@pytest.mark.parametrize("trickle", [True, False], ids=["trickling", "gathered"])
@pytest.mark.parametrize("offerer", ["chromium", "aiortc"])
async def test_chromium_and_aiortc(
    hosts: list[Host], offerer: str, trickle: bool, with_chromium: None, with_aiortc: None
) -> None:
    with trio.fail_after(90):
        async with Chromium(hosts[0]) as browser, AiortcPeer(hosts[1]) as python:
            page = await browser.new_page()
            one: Peer = page if offerer == "chromium" else python
            other: Peer = python if offerer == "chromium" else page
            await open_connections(one, other)
            for name, options in SIX_TYPES.items():
                await one.call("create_channel", pc=PC, channel=name, **options)
            for peer in (one, other):
                await peer.call("create_channel", pc=PC, channel="fixed", negotiated=True, id=100)
            await connect(one, other, trickle=trickle)

            names = {}
            for appeared in await other.call("incoming", pc=PC, count=6):
                theirs = await other.call(
                    "wait_channel", pc=PC, channel=appeared["channel"], states=["open"]
                )
                label = theirs["label"]
                mine = await one.call("wait_channel", pc=PC, channel=label, states=["open"])
                same = {key: value for key, value in mine.items() if key != "channel"}
                assert theirs == same | {"channel": theirs["channel"]}
                assert {key: mine[key] for key in SIX_TYPES[label]} == SIX_TYPES[label]
                names[label] = theirs["channel"]
            await one.call("wait_channel", pc=PC, channel="fixed", states=["open"])

            for mine, theirs in (("reliable", names["reliable"]), ("fixed", "fixed")):
                await check_messages(one, other, (mine, theirs))
                await check_messages(other, one, (theirs, mine))
            unordered = ("reliable unordered", names["reliable unordered"])
            await transfer(one, other, unordered, total=1_000_000)

            await one.call("close_channel", pc=PC, channel="reliable")
            await other.call("close_channel", pc=PC, channel=names["timed"])
            for label in ("reliable", "timed"):
                for peer, channel in ((one, label), (other, names[label])):
                    closed = await peer.call(
                        "wait_channel", pc=PC, channel=channel, states=["closed"]
                    )
                    assert (closed["opens"], closed["closes"]) == (1, 1)
            assert await page.console() == []


# --------------------------------------------------------------------------- coturn


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_coturn_answers_on_loopback_and_is_gone_afterwards(
    address: str, with_coturn: None
) -> None:
    with trio.fail_after(60):
        async with Coturn(address) as turn:
            assert turn.stun_url == f"stun:{turn.server}:{turn.port}"
            process, certificate = turn.process, turn.certificate
            assert certificate.exists()
        assert process.returncode is not None
        assert not certificate.exists()
        with pytest.raises(OSError, match="all attempts to connect"):
            await trio.open_tcp_stream(address, turn.port)


async def test_coturn_that_cannot_start_says_why(with_coturn: None) -> None:
    with (
        trio.fail_after(60),
        pytest.raises(PeerError, match=r"coturn does not answer(?s:.)*exit code: 255"),
    ):
        async with Coturn(options=("--juggle",)):
            pass


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_aiortc_through_coturn(transport: str, with_coturn: None, with_aiortc: None) -> None:
    require_namespaces()
    with trio.fail_after(90):
        async with (
            open_hosts(3) as hosts,
            Coturn(hosts[2].ipv4, host=hosts[2], stale_nonce=600) as turn,
            AiortcPeer(hosts[0], trusted=turn.certificate) as one,
            AiortcPeer(hosts[1], trusted=turn.certificate) as other,
        ):
            servers = [turn.ice_server(transport)]
            await open_connections(one, other, ice_servers=servers, relay_only=True)
            await one.call("create_channel", pc=PC, channel="x")
            await connect(one, other)
            await other.call("incoming", pc=PC, count=1)
            await check_messages(one, other, ("x", "incoming-0"))
            for peer in (one, other):
                sdp = (await peer.call("descriptions", pc=PC))["local"]["sdp"]
                candidates = [line for line in sdp.splitlines() if line.startswith("a=candidate:")]
                assert candidates
                assert all(f" {hosts[2].ipv4} " in line for line in candidates), candidates


async def test_chromium_through_coturn(with_chromium: None, with_coturn: None) -> None:
    with trio.fail_after(90):
        async with (
            open_hosts(3) as hosts,
            Coturn(hosts[2].ipv4, host=hosts[2]) as turn,
            Chromium(hosts[0], "--ignore-certificate-errors") as one,
        ):
            pages = [await one.new_page() for _ in range(2)]
            for page, transport in zip(pages, ("udp", "tls"), strict=True):
                servers = [turn.ice_server(transport)]
                await open_connections(page, ice_servers=servers, relay_only=True)
            await pages[0].call("create_channel", pc=PC, channel="x")
            await connect(*pages)
            await pages[1].call("incoming", pc=PC, count=1)
            await check_messages(pages[0], pages[1], ("x", "incoming-0"))
            for page, transport in zip(pages, ("udp", "tls"), strict=True):
                stats = await page.call("stats", pc=PC)
                assert stats["local"]["type"] == "relay"
                assert stats["local"]["relay_protocol"] == transport

            # A wrong password is told as such; a STUN server shows the address.
            page = pages[0]
            wrong = turn.ice_server() | {"credential": "wrong"}
            await page.call("open", pc="second", ice_servers=[wrong, {"urls": turn.stun_url}])
            await page.call("create_channel", pc="second", channel="x")
            offer = await page.call("offer", pc="second", gather=True)
            assert f" {hosts[0].ipv4} " in offer["sdp"]
            assert " typ srflx " in offer["sdp"]
            errors = await page.call("candidate_errors", pc="second")
            assert 401 in {error["code"] for error in errors}


# --------------------------------------------------------------------------- what is missing


def test_missing_programs_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("RTCSCTP_REQUIRE_INTEROP", raising=False)
    namespaces.missing.cache_clear()
    try:
        for need in (require_coturn, require_namespaces):
            with pytest.raises(pytest.skip.Exception, match="Debian: "):
                need()
        monkeypatch.setenv("RTCSCTP_REQUIRE_INTEROP", "1")
        with pytest.raises(pytest.fail.Exception, match="required here, but: coturn is not"):
            require_coturn()
    finally:
        namespaces.missing.cache_clear()
