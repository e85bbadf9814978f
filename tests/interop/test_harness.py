"""The harness proven on itself: usrsctp against usrsctp."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from .relay import Direction, Impairment, Relay, start_relay
from .usrsctp import (
    TSCTP_RESULT,
    Peer,
    PeerError,
    checksum,
    client,
    discard_server,
    echo_server,
    free_udp_port,
    pattern,
    tsctp_client,
    tsctp_server,
    wait_udp_bound,
)

pytestmark = pytest.mark.interop

ALL_RESETS = "streams,assoc,change"


@asynccontextmanager
async def connected(
    program: Path, relay: Relay | None = None, server: Peer | None = None, **options: str | int
) -> AsyncIterator[tuple[Peer, Peer]]:
    """A client and a server with the same options and an association between them."""
    async with server or Peer(program, listen=True, **options) as listener:
        udp_port = listener.udp_port if relay is None else relay.address[1]
        async with Peer(program, connect=True, remote_udp_port=udp_port, **options) as initiator:
            await initiator.expect("up")
            await listener.expect("up")
            yield initiator, listener


def test_pattern_is_a_function_of_seed_and_size() -> None:
    assert pattern(1, 8).hex() == "2120040001060804"  # 270369 and 67634689: xorshift32 from 1
    assert pattern(5, 10_000)[: 4093 * 2] == pattern(5, 4093) * 2
    assert pattern(5, 7) == pattern(5, 4000)[:7]
    assert pattern(0, 16) != pattern(1, 16)
    assert checksum(b"ab", b"c") == checksum(b"abc")


async def test_peer_names_its_capabilities(peer_program: Path) -> None:
    with trio.fail_after(10):
        async with Peer(peer_program, listen=True) as peer:
            assert peer.capabilities["interleaving"] is True
            assert peer.capabilities["zero_checksum"] is False


async def test_peer_errors_say_what_the_program_said(peer_program: Path) -> None:
    with trio.fail_after(10):
        with pytest.raises(PeerError, match="an option wants a number"):
            async with Peer(peer_program, listen=True, port="many"):
                pass
        async with Peer(peer_program, listen=True) as peer:
            with pytest.raises(PeerError, match=r"UDP port: Address already in use"):
                async with Peer(peer_program, listen=True, udp_port=peer.udp_port):
                    pass
            with pytest.raises(PeerError, match="sent no 'up'"):
                await peer.expect("up", 0.05)
            await peer.command("juggle 3")
            with pytest.raises(PeerError, match="refused 'juggle 3'"):
                await peer.expect("up")


@pytest.mark.parametrize("interleaving", [False, True])
async def test_messages_both_ways(peer_program: Path, interleaving: bool) -> None:
    with trio.fail_after(15):
        async with connected(
            peer_program, interleaving=interleaving, rcvbuf=1_000_000, sndbuf=1_000_000
        ) as (initiator, listener):
            for sender, receiver in ((initiator, listener), (listener, initiator)):
                await sender.send(0, 1, 11, ppid=51)
                await sender.send(1, 200_000, 12, ppid=4_000_000_000)
                await sender.send(9, 100_000, 13, unordered=True)
                await sender.send(2, 1000, 14, count=20)
                small = await receiver.expect("message", stream=0)
                assert (small["size"], small["ppid"], small["unordered"]) == (1, 51, False)
                assert small["crc"] == checksum(pattern(11, 1))
                large = await receiver.expect("message", stream=1)
                assert (large["size"], large["ppid"]) == (200_000, 4_000_000_000)
                assert large["crc"] == checksum(pattern(12, 200_000))
                unordered = await receiver.expect("message", stream=9)
                assert unordered["unordered"] is True
                assert unordered["crc"] == checksum(pattern(13, 100_000))
                for index in range(20):
                    message = await receiver.expect("message", stream=2)
                    assert message["ssn"] == index
                    assert message["crc"] == checksum(pattern(14 + index, 1000))


async def test_messages_of_two_streams_are_reassembled_while_they_interleave(
    peer_program: Path,
) -> None:
    with trio.fail_after(15):
        async with connected(
            peer_program,
            interleaving=True,
            rcvbuf=2_000_000,
            sndbuf=2_000_000,
            partial_delivery_point=2000,
            scheduler=2,
        ) as (initiator, listener):
            for stream in range(4):
                await initiator.send(stream, 150_000, stream)
            parts = 0
            for stream in range(4):
                message = await listener.expect("message", stream=stream)
                assert message["crc"] == checksum(pattern(stream, 150_000))
                parts += message["parts"]
            assert parts > 4


async def test_echo_and_totals(peer_program: Path) -> None:
    with trio.fail_after(15):
        async with connected(peer_program) as (initiator, listener):
            await listener.ask("echo on")
            await listener.ask("report off")
            await initiator.send(3, 3000, 1, ppid=77, unordered=True)
            message = await initiator.expect("message")
            assert (message["stream"], message["ppid"], message["unordered"]) == (3, 77, True)
            assert message["crc"] == checksum(pattern(1, 3000))
            await initiator.send(4, 500, 1, count=2000)
            await initiator.command("wait-dry")
            await initiator.expect("dry")
            # Acknowledged is not yet read.
            totals = await listener.ask_until("totals", lambda t: t["messages"] == 2001)
            assert totals["bytes"] == 1_003_000
            payloads = [pattern(seed, 500) for seed in range(1, 2001)]
            assert totals["crc"] == checksum(pattern(1, 3000), *payloads)
            assert listener.unread("message") == []


async def test_listener_keeps_associations_apart(peer_program: Path) -> None:
    with trio.fail_after(15):
        async with (
            connected(peer_program) as (first, listener),
            Peer(
                peer_program, connect=True, remote_udp_port=listener.udp_port, port=5001
            ) as second,
        ):
            await second.expect("up")
            assert (await listener.expect("up"))["id"] == 2
            await second.send(0, 10, 2)
            await first.send(0, 10, 1)
            for number in (1, 2):
                message = await listener.expect("message", id=number)
                assert message["crc"] == checksum(pattern(number, 10))
            await listener.send(0, 20, 3, connection=1)
            assert (await first.expect("message"))["size"] == 20
            await listener.command("@2 abort enough")
            lost = await second.expect("lost")
            assert bytes.fromhex(lost["chunk"])[8:] == b"enough"
            assert (await first.ask("status"))["state"] == "established"


async def test_simultaneous_open(peer_program: Path) -> None:
    ports = (free_udp_port(), free_udp_port())
    with trio.fail_after(15):
        async with (
            # Without the "black hole", an INIT that comes too early is answered with an ABORT.
            Peer(peer_program, udp_port=ports[0], port=6000, blackhole=2) as left,
            Peer(peer_program, udp_port=ports[1], port=6001, blackhole=2) as right,
        ):
            await left.command(f"connect 127.0.0.1 {ports[1]} 6001")
            await right.command(f"connect 127.0.0.1 {ports[0]} 6000")
            await left.expect("up")
            await right.expect("up")
            await left.send(0, 10, 1)
            assert (await right.expect("message"))["crc"] == checksum(pattern(1, 10))


async def test_streams_are_reset_and_added(peer_program: Path) -> None:
    with trio.fail_after(15):
        async with connected(peer_program, reset=ALL_RESETS) as (initiator, listener):
            await initiator.send(1, 10, 1, count=3)
            for ssn in range(3):
                assert (await listener.expect("message"))["ssn"] == ssn
            await initiator.command("reset-out 1,2")
            # One request for both, or first one for the stream that is drained already.
            for peer, direction in ((listener, "incoming"), (initiator, "outgoing")):
                streams: list[int] = []
                while len(streams) < 2:
                    reset = await peer.expect("stream-reset", **{direction: True})
                    assert (reset["denied"], reset["failed"]) == (False, False)
                    streams += reset["streams"]
                assert sorted(streams) == [1, 2]
            await initiator.send(1, 10, 1)
            assert (await listener.expect("message"))["ssn"] == 0

            await listener.command("reset-in 1")
            assert (await initiator.expect("stream-reset", outgoing=True))["streams"] == [1]
            assert (await listener.expect("stream-reset", incoming=True))["streams"] == [1]

            await initiator.command("add 2 0")
            changed = await initiator.expect("stream-change")
            assert (changed["out_streams"], changed["denied"]) == (12, False)
            assert (await listener.expect("stream-change"))["in_streams"] == 12
            await initiator.send(11, 10, 1)
            assert (await listener.expect("message"))["stream"] == 11


async def test_association_reset(peer_program: Path) -> None:
    with trio.fail_after(15):
        async with connected(peer_program, reset=ALL_RESETS) as (initiator, listener):
            await initiator.send(1, 10, 1, count=3)
            await initiator.command("wait-dry")
            await initiator.expect("dry")
            await initiator.command("reset-tsn")
            mine = await initiator.expect("association-reset")
            theirs = await listener.expect("association-reset")
            assert (mine["denied"], mine["failed"]) == (False, False)
            # One tells the next TSN, the other the last one it counts as received.
            assert mine["local_tsn"] - theirs["remote_tsn"] in (-1, 0, 1)
            for _ in range(3):
                await listener.expect("message")
            await initiator.send(1, 10, 1)
            assert (await listener.expect("message"))["ssn"] == 0


async def test_reset_requests_are_denied_where_not_enabled(peer_program: Path) -> None:
    with trio.fail_after(15):
        async with (
            Peer(peer_program, listen=True) as listener,
            Peer(
                peer_program, connect=True, remote_udp_port=listener.udp_port, reset=ALL_RESETS
            ) as initiator,
        ):
            await initiator.expect("up")
            await initiator.command("reset-out 1")
            reset = await initiator.expect("stream-reset", outgoing=True)
            assert reset["denied"] is True


@pytest.mark.parametrize("policy", ["rtx:0", "ttl:100"])
async def test_partial_reliability_abandons_what_is_lost(
    peer_program: Path, nursery: trio.Nursery, policy: str
) -> None:
    with trio.fail_after(15):
        async with Peer(peer_program, listen=True, port=5000) as listener:
            relay = await start_relay(nursery, ("127.0.0.1", listener.udp_port), seed=3)
            async with Peer(
                peer_program,
                connect=True,
                remote_udp_port=relay.address[1],
                rto_initial=200,
                rto_min=100,
                sndbuf=20_000,
            ) as initiator:
                await initiator.expect("up")
                await initiator.send(0, 100, 1)
                await listener.expect("message")
                relay.cut()
                await initiator.send(0, 1000, 2, policy=policy, count=5)
                failed = await initiator.expect("send-failed")
                assert failed["stream"] == 0
                relay.mend()
                await initiator.send(0, 100, 9)
                last = checksum(pattern(9, 100))
                await listener.expect("message", crc=last)


async def test_messages_survive_a_lossy_relay(peer_program: Path, nursery: trio.Nursery) -> None:
    bad = Impairment(loss=0.05, duplicate=0.02, reorder=0.02, hold=0.005)
    options = {"rto_initial": 100, "rto_min": 50, "rcvbuf": 1_000_000, "heartbeat": 0}
    with trio.fail_after(15):
        async with Peer(peer_program, listen=True, **options) as listener:
            relay = await start_relay(
                nursery, ("127.0.0.1", listener.udp_port), seed=1, to_server=bad, to_client=bad
            )
            async with Peer(
                peer_program, connect=True, remote_udp_port=relay.address[1], **options
            ) as initiator:
                await initiator.expect("up")
                await listener.expect("up")
                await listener.ask("echo on")
                await listener.ask("report off")
                await initiator.ask("report off")
                await initiator.send(1, 5000, 1, count=60)
                await initiator.send(2, 300, 1, count=300, unordered=True)
                sent = 60 * 5000 + 300 * 300
                totals = await initiator.ask_until("totals", lambda t: t["bytes"] == sent)
                assert totals["messages"] == 360
                for counts in relay.counts.values():
                    assert counts.lost > 0
                stats = await initiator.ask("stats")
                assert stats["retransmitted"] > 0
                assert stats["checksum_errors"] == 0


async def test_pause_shuts_the_window_and_resume_opens_it(peer_program: Path) -> None:
    with trio.fail_after(15):
        async with connected(peer_program, rcvbuf=50_000, rto_initial=100, rto_min=100) as (
            initiator,
            listener,
        ):
            await listener.ask("pause")
            await initiator.send(0, 1000, 1, count=200)
            await initiator.ask_until("status", lambda status: status["rwnd"] < 1500)
            await listener.ask("resume")
            for seed in range(1, 201):
                assert (await listener.expect("message"))["crc"] == checksum(pattern(seed, 1000))


async def test_abort_comes_through_while_a_sender_waits_for_space(peer_program: Path) -> None:
    with trio.fail_after(15):
        async with connected(peer_program, rcvbuf=20_000, sndbuf=20_000) as (initiator, listener):
            await listener.ask("pause")
            await initiator.send(0, 1000, 1, count=1000)
            await trio.sleep(0.1)
            await initiator.command("abort")
            await initiator.expect("send-error")
            await listener.ask("resume")
            await listener.expect("lost")


async def test_orderly_shutdown_delivers_everything_first(peer_program: Path) -> None:
    with trio.fail_after(15):
        async with connected(peer_program) as (initiator, listener):
            await initiator.send(0, 1000, 1, count=100)
            await initiator.command("close")
            await listener.expect("peer-shutdown")
            await listener.expect("shutdown-complete")
            assert len(listener.unread("message")) == 100
            assert await initiator.wait() == 0


async def test_restart_is_told_when_a_killed_peer_comes_back(peer_program: Path) -> None:
    port = free_udp_port()
    with trio.fail_after(15):
        async with Peer(peer_program, listen=True) as listener:
            for event in ("up", "restart"):
                async with Peer(
                    peer_program,
                    connect=True,
                    udp_port=port,
                    port=7000,
                    remote_udp_port=listener.udp_port,
                ) as initiator:
                    await initiator.expect("up")
                    await listener.expect(event, id=1)


async def test_peer_over_ipv6(peer_program: Path) -> None:
    with trio.fail_after(15):
        async with connected(peer_program, bind="::1", remote="::1") as (initiator, listener):
            await initiator.send(0, 5000, 1)
            assert (await listener.expect("message"))["crc"] == checksum(pattern(1, 5000))


@pytest.mark.usefixtures("usrsctp_programs")
async def test_client_and_echo_server() -> None:
    server_port, client_port = free_udp_port(), free_udp_port()
    with trio.fail_after(15):
        async with echo_server(server_port) as server:
            await wait_udp_bound(server_port)
            async with client("127.0.0.1", 7, client_port, server_port) as program:
                await program.write("hello\n")
                await program.wait_output("(?m)^hello$")
                await program.end_input()
                assert await program.wait(8) == 0
                assert "stream 0 with SSN 0" in server.output()


@pytest.mark.usefixtures("usrsctp_programs")
async def test_our_peer_and_the_example_servers(peer_program: Path) -> None:
    for start, port in ((echo_server, 7), (discard_server, 9)):
        server_port = free_udp_port()
        with trio.fail_after(15):
            async with start(server_port) as server:
                await wait_udp_bound(server_port)
                async with Peer(
                    peer_program, connect=True, remote_udp_port=server_port, remote_port=port
                ) as peer:
                    await peer.expect("up")
                    await peer.send(2, 10_000, 5, ppid=99)
                    await server.wait_output("stream 2 with SSN 0 .* PPID 99")
                    if port == 7:
                        echoed = await peer.expect("message", stream=2)
                        assert echoed["crc"] == checksum(pattern(5, 10_000))
                    await peer.command("close")
                    await peer.expect("shutdown-complete")


@pytest.mark.usefixtures("usrsctp_programs")
@pytest.mark.parametrize("options", [(), ("-u",), ("-P", 2, "-t", 1)])
async def test_tsctp_to_tsctp_through_a_relay(
    nursery: trio.Nursery, options: tuple[str | int, ...]
) -> None:
    server_port = free_udp_port()
    with trio.fail_after(15):
        async with tsctp_server(server_port, "-L", "127.0.0.1") as server:
            await wait_udp_bound(server_port)
            relay = await start_relay(nursery, ("127.0.0.1", server_port))
            arguments = ("-L", "127.0.0.1", "-n", 1000, "-l", 1000, *options)
            async with tsctp_client(
                "127.0.0.1", free_udp_port(), relay.address[1], *arguments
            ) as program:
                result = await server.wait_output(TSCTP_RESULT)
                assert (result["messages"], result["bytes"]) == ("1000", "1000000")
                await program.wait()
                assert re.search("Sending of 1000 messages", program.output())
                assert relay.counts[Direction.TO_SERVER].received > 700
