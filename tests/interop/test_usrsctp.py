"""rtcsctp and usrsctp, each as initiator and as responder."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

import rtcsctp
from rtcsctp.sctp.events import MessageAbandoned
from rtcsctp.testing import Capture, read_pcapng_untrusted

from .relay import Impairment, Relay, start_relay
from .usrsctp import (
    TSCTP_RESULT,
    Peer,
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

LOCALHOST = "127.0.0.1"
FAST = rtcsctp.Config(rto_initial=0.1, rto_min=0.1)
PEER_OPTIONS: dict[str, str | int | bool] = {
    "rto_initial": 100,
    "rto_min": 100,
    "rcvbuf": 1_000_000,
    "sndbuf": 1_000_000,
}
LOSSY = Impairment(loss=0.05, duplicate=0.02, reorder=0.02, hold=0.005)


@asynccontextmanager
async def pair(
    program: Path,
    *,
    we_initiate: bool,
    config: rtcsctp.Config = FAST,
    loss: Impairment | None = None,
    capture: Capture | None = None,
    **options: str | int | bool,
) -> AsyncIterator[tuple[rtcsctp.Association, Peer, Relay | None]]:
    """An association between us and our program on usrsctp, either side as the initiator."""
    options = {**PEER_OPTIONS, **options}
    async with trio.open_nursery() as nursery:
        if we_initiate:
            async with Peer(program, listen=True, **options) as peer:
                port = peer.udp_port
                relay = None
                if loss is not None:
                    relay = await relay_to(nursery, port, loss)
                    port = relay.address[1]
                async with rtcsctp.connect(
                    (LOCALHOST, port), port=5000, config=config, capture=capture
                ) as association:
                    await peer.expect("up")
                    yield association, peer, relay
        else:
            accepted = trio.Event()
            done = trio.Event()
            found: list[rtcsctp.Association] = []

            async def handler(association: rtcsctp.Association) -> None:
                found.append(association)
                accepted.set()
                await done.wait()

            serve = partial(rtcsctp.listen, handler, port=5000, udp=(LOCALHOST, 0), config=config)
            address = await nursery.start(serve)
            port = address[1]
            relay = None
            if loss is not None:
                relay = await relay_to(nursery, port, loss)
                port = relay.address[1]
            async with Peer(program, connect=True, remote_udp_port=port, **options) as peer:
                await peer.expect("up")
                await accepted.wait()
                try:
                    yield found[0], peer, relay
                finally:
                    done.set()
                    with trio.move_on_after(5):
                        await found[0].wait_closed()
        nursery.cancel_scope.cancel()


async def relay_to(nursery: trio.Nursery, port: int, loss: Impairment) -> Relay:
    return await start_relay(nursery, (LOCALHOST, port), seed=1, to_server=loss, to_client=loss)


both_initiators = pytest.mark.parametrize(
    "we_initiate", [True, False], ids=["we connect", "usrsctp connects"]
)
with_and_without_interleaving = pytest.mark.parametrize(
    "interleaving", [False, True], ids=["DATA", "I-DATA"]
)


# --------------------------------------------------------------------------------- our program


@both_initiators
@with_and_without_interleaving
async def test_messages_both_ways(
    peer_program: Path, we_initiate: bool, interleaving: bool
) -> None:
    with trio.fail_after(20):
        async with pair(peer_program, we_initiate=we_initiate, interleaving=interleaving) as (
            association,
            peer,
            _,
        ):
            statistics = association.statistics()
            assert statistics.interleaving is interleaving
            assert statistics.partial_reliability
            assert statistics.reconfiguration
            assert not statistics.zero_checksum_sent
            await association.stream(0).send(pattern(1, 1), ppid=51)
            await association.stream(1).send(pattern(2, 200_000), ppid=4_000_000_000)
            await association.stream(9).send(pattern(3, 100_000), unordered=True)
            for index in range(20):
                await association.stream(2).send(pattern(10 + index, 1000))
            small = await peer.expect("message", stream=0)
            assert (small["size"], small["ppid"], small["unordered"]) == (1, 51, False)
            large = await peer.expect("message", stream=1)
            assert (large["ppid"], large["crc"]) == (
                4_000_000_000,
                checksum(pattern(2, 200_000)),
            )
            unordered = await peer.expect("message", stream=9)
            assert unordered["unordered"] is True
            assert unordered["crc"] == checksum(pattern(3, 100_000))
            for index in range(20):
                message = await peer.expect("message", stream=2)
                assert (message["ssn"], message["crc"]) == (
                    index,
                    checksum(pattern(10 + index, 1000)),
                )

            await peer.send(3, 150_000, 4, ppid=77)
            await peer.send(4, 2000, 5, unordered=True)
            await peer.send(5, 300, 20, count=50)
            received = await association.stream(3).receive()
            assert (received.data, received.ppid) == (pattern(4, 150_000), 77)
            received = await association.stream(4).receive()
            assert (received.data, received.unordered) == (pattern(5, 2000), True)
            for index in range(50):
                assert (await association.stream(5).receive()).data == pattern(20 + index, 300)


@both_initiators
async def test_packets_grow_to_what_loopback_carries(peer_program: Path, we_initiate: bool) -> None:
    """usrsctp answers our probes: a PAD chunk, and a HEARTBEAT behind it."""
    with trio.fail_after(20):
        async with pair(peer_program, we_initiate=we_initiate) as (association, peer, _):
            await peer.ask("report off")
            for _ in range(100):
                await association.stream(1).send(pattern(1, 200_000))
                await trio.sleep(0.01)
                if association.statistics().mtu > 60_000:
                    break
            assert association.statistics().mtu > 60_000
            await peer.ask("report on")
            await association.stream(2).send(pattern(2, 250_000))
            message = await peer.expect("message", stream=2)
            assert message["crc"] == checksum(pattern(2, 250_000))
            assert association.statistics().timeouts == 0


@both_initiators
@with_and_without_interleaving
async def test_megabytes_survive_a_lossy_path(
    peer_program: Path, we_initiate: bool, interleaving: bool
) -> None:
    with trio.fail_after(30):
        async with pair(
            peer_program, we_initiate=we_initiate, interleaving=interleaving, loss=LOSSY
        ) as (association, peer, _):
            await peer.ask("report off")
            await peer.ask("echo on")
            sent, count = 60_000, 30
            messages = [pattern(seed, sent) for seed in range(count)]

            async def send() -> None:
                for message in messages:
                    await association.stream(1).send(message)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                for message in messages:
                    assert (await association.stream(1).receive()).data == message
            totals = await peer.ask("totals")
            assert (totals["messages"], totals["bytes"]) == (count, count * sent)
            assert totals["crc"] == checksum(*messages)
            statistics = association.statistics()
            assert statistics.fast_retransmits + statistics.timeout_retransmits > 0
            assert statistics.checksum_errors == 0
            assert statistics.drops.keys() <= {
                drop for drop in statistics.drops if "SACK" in drop.name
            }


@both_initiators
async def test_many_small_messages_on_many_streams(peer_program: Path, we_initiate: bool) -> None:
    with trio.fail_after(20):
        async with pair(peer_program, we_initiate=we_initiate) as (association, peer, _):
            await peer.ask("report off")
            await peer.ask("echo on")
            streams, count = min(10, association.outbound_streams), 300

            async def one(stream_id: int) -> None:
                stream = association.stream(stream_id)
                for number in range(count):
                    await stream.send(b"%d %d" % (stream_id, number))
                for number in range(count):
                    assert (await stream.receive()).data == b"%d %d" % (stream_id, number)

            async with trio.open_nursery() as nursery:
                for stream_id in range(streams):
                    nursery.start_soon(one, stream_id)


@both_initiators
async def test_a_slow_reader_on_either_side_loses_nothing(
    peer_program: Path, we_initiate: bool
) -> None:
    config = rtcsctp.Config(rto_initial=0.1, rto_min=0.1, rwnd=20_000, send_buffer=20_000)
    with trio.fail_after(20):
        async with pair(peer_program, we_initiate=we_initiate, config=config, rcvbuf=50_000) as (
            association,
            peer,
            _,
        ):
            await peer.ask("pause")
            stream = association.stream(0)
            with trio.move_on_after(0.5) as scope:
                for seed in range(200):
                    await stream.send(pattern(seed, 1000))
                    sent = seed + 1
            assert scope.cancelled_caught  # the window of the peer, and our buffer, are full
            await peer.ask("resume")
            for seed in range(sent):
                assert (await peer.expect("message"))["crc"] == checksum(pattern(seed, 1000))

            await peer.send(1, 1000, 0, count=200)
            await peer.ask_until("status", lambda status: status["rwnd"] < 2000)
            for seed in range(200):
                assert (await association.stream(1).receive()).data == pattern(seed, 1000)


@both_initiators
async def test_streams_are_reset_from_either_side(peer_program: Path, we_initiate: bool) -> None:
    with trio.fail_after(20):
        async with pair(peer_program, we_initiate=we_initiate, reset="streams,assoc,change") as (
            association,
            peer,
            _,
        ):
            stream = association.stream(1)
            for _ in range(3):
                await stream.send(b"before")
            await stream.reset()
            reset = await peer.expect("stream-reset", incoming=True)
            assert (reset["streams"], reset["denied"], reset["failed"]) == ([1], False, False)
            await stream.send(b"after")
            assert [(await peer.expect("message"))["ssn"] for _ in range(4)] == [0, 1, 2, 0]

            await peer.send(1, 10, 1, count=2)
            await peer.command("reset-out 1")
            assert (await peer.expect("stream-reset", outgoing=True))["denied"] is False
            for _ in range(2):
                await stream.receive()
            with pytest.raises(rtcsctp.StreamReset):
                await stream.receive()
            await peer.send(1, 10, 7)
            assert (await stream.receive()).data == pattern(7, 10)

            # The peer asks us to reset a stream that we send on.
            await peer.command("reset-in 1")
            assert (await peer.expect("stream-reset", incoming=True))["streams"] == [1]
            await stream.send(b"again")
            assert (await peer.expect("message"))["ssn"] == 0

            # We ask the peer.
            association.request_peer_reset([2])
            assert (await peer.expect("stream-reset", outgoing=True))["streams"] == [2]


@both_initiators
async def test_streams_are_added_from_either_side(peer_program: Path, we_initiate: bool) -> None:
    with trio.fail_after(20):
        config = rtcsctp.Config(rto_initial=0.1, rto_min=0.1, outbound_streams=5, inbound_streams=5)
        async with pair(
            peer_program, we_initiate=we_initiate, config=config, reset="streams,assoc,change"
        ) as (association, peer, _):
            assert (association.outbound_streams, association.inbound_streams) == (5, 5)
            await association.add_streams(outgoing=2)
            assert association.outbound_streams == 7
            assert (await peer.expect("stream-change"))["in_streams"] == 7
            await association.stream(6).send(b"new")
            assert (await peer.expect("message"))["stream"] == 6
            await peer.command("add 1 0")
            assert (await peer.expect("stream-change"))["out_streams"] == 6
            assert association.inbound_streams == 6
            await association.add_streams(incoming=1)
            assert association.inbound_streams == 7


@both_initiators
async def test_the_association_is_reset(peer_program: Path, we_initiate: bool) -> None:
    with trio.fail_after(20):
        async with pair(peer_program, we_initiate=we_initiate, reset="streams,assoc,change") as (
            association,
            peer,
            _,
        ):
            for ssn in range(3):
                await association.stream(1).send(b"before")
                assert (await peer.expect("message"))["ssn"] == ssn
            if we_initiate:
                await association.reset_association()
                answer = await peer.expect("association-reset")
                assert (answer["denied"], answer["failed"]) == (False, False)
            else:
                await peer.command("wait-dry")
                await peer.command("reset-tsn")
                answer = await peer.expect("association-reset")
                assert (answer["denied"], answer["failed"]) == (False, False)
            await association.stream(1).send(b"after")
            assert (await peer.expect("message"))["ssn"] == 0
            await peer.send(1, 10, 3)
            assert (await association.stream(1).receive()).data == pattern(3, 10)
            # usrsctp 0.9.5 often hangs in its own shutdown after this: end it another way.
            association.abort("enough")


@both_initiators
async def test_a_refused_reset_is_rolled_back(peer_program: Path, we_initiate: bool) -> None:
    with trio.fail_after(20):
        async with pair(peer_program, we_initiate=we_initiate) as (association, peer, _):
            stream = association.stream(1)
            await stream.send(b"one")
            with pytest.raises(rtcsctp.RequestRefusedError, match=r"stream 1.*denied"):
                await stream.reset()
            await stream.send(b"two")
            assert [(await peer.expect("message"))["ssn"] for _ in range(2)] == [0, 1]


@both_initiators
@with_and_without_interleaving
@pytest.mark.parametrize(
    "limit", [{"max_retransmits": 0}, {"lifetime": 0.1}], ids=["max_retransmits", "lifetime"]
)
async def test_messages_of_ours_are_given_up(
    peer_program: Path, we_initiate: bool, interleaving: bool, limit: dict[str, float]
) -> None:
    """What is lost while the path is cut is given up, and does not hold up what follows."""
    with trio.fail_after(20):
        async with pair(
            peer_program,
            we_initiate=we_initiate,
            interleaving=interleaving,
            loss=Impairment(),
        ) as (association, peer, relay):
            assert relay is not None
            await association.stream(0).send(b"first")
            await peer.expect("message")
            events = association.events()
            relay.cut()
            for _ in range(3):
                await association.stream(0).send(bytes(3000), **limit)  # type: ignore[arg-type]
                await association.stream(1).send(bytes(300), unordered=True, **limit)  # type: ignore[arg-type]
            abandoned = 0
            async for event in events:
                abandoned += isinstance(event, MessageAbandoned)
                if abandoned == 6:
                    break
            relay.mend()
            await association.stream(0).send(pattern(9, 100))
            await peer.expect("message", crc=checksum(pattern(9, 100)))
            assert association.statistics().messages_abandoned == 6


@both_initiators
@with_and_without_interleaving
@pytest.mark.parametrize("policy", ["rtx:0", "ttl:100"])
async def test_messages_of_usrsctp_are_given_up(
    peer_program: Path, we_initiate: bool, interleaving: bool, policy: str
) -> None:
    """We go on where FORWARD-TSN says so."""
    with trio.fail_after(20):
        async with pair(
            peer_program,
            we_initiate=we_initiate,
            interleaving=interleaving,
            loss=Impairment(),
            sndbuf=20_000,
        ) as (association, peer, relay):
            assert relay is not None
            await peer.send(0, 100, 1)
            assert (await association.stream(0).receive()).data == pattern(1, 100)
            relay.cut()
            await peer.send(0, 3000, 2, policy=policy, count=3)
            await peer.expect("send-failed")
            relay.mend()
            await peer.send(0, 100, 9)
            while (await association.stream(0).receive()).data != pattern(9, 100):
                pass


@both_initiators
async def test_we_shut_down_after_everything_was_delivered(
    peer_program: Path, we_initiate: bool
) -> None:
    with trio.fail_after(20):
        async with pair(peer_program, we_initiate=we_initiate, loss=LOSSY) as (
            association,
            peer,
            _,
        ):
            for seed in range(100):
                await association.stream(0).send(pattern(seed, 1000))
            await association.shutdown()
            await peer.expect("shutdown-complete")
            assert len(peer.unread("message")) == 100


@both_initiators
async def test_usrsctp_shuts_down_after_everything_was_delivered(
    peer_program: Path, we_initiate: bool
) -> None:
    with trio.fail_after(20):
        async with pair(peer_program, we_initiate=we_initiate, loss=LOSSY) as (
            association,
            peer,
            _,
        ):
            await peer.send(0, 1000, 0, count=100)
            await peer.command("shutdown")
            received = [message.data async for message in association.stream(0)]
            assert received == [pattern(seed, 1000) for seed in range(100)]
            assert await association.wait_closed() is rtcsctp.CloseReason.SHUTDOWN


@both_initiators
async def test_aborts_carry_their_reason(peer_program: Path, we_initiate: bool) -> None:
    with trio.fail_after(20):
        async with pair(peer_program, we_initiate=we_initiate) as (association, peer, _):
            association.abort("enough")
            lost = await peer.expect("lost")
            assert bytes.fromhex(lost["chunk"])[8:] == b"enough"
        async with pair(peer_program, we_initiate=we_initiate) as (association, peer, _):
            await peer.command("abort bye")
            with pytest.raises(rtcsctp.PeerAborted, match="bye"):
                await association.stream(0).receive()


async def test_a_killed_peer_comes_back(peer_program: Path) -> None:
    """The same ports, new tags: a restart, which the handler's association survives."""
    udp_port = free_udp_port()
    restarts: list[int] = []
    echoed = trio.Event()

    async def handler(association: rtcsctp.Association) -> None:
        async for message in association.stream(0):
            await association.stream(0).send(message.data)
            restarts.append(association.restarts)
        echoed.set()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            address = await nursery.start(
                partial(rtcsctp.listen, handler, port=5000, udp=(LOCALHOST, 0), config=FAST)
            )
            for end in ("quit", "close"):
                async with Peer(
                    peer_program,
                    connect=True,
                    udp_port=udp_port,
                    port=7000,
                    remote_udp_port=address[1],
                ) as peer:
                    await peer.expect("up")
                    await peer.send(0, 500, 1)
                    assert (await peer.expect("message"))["crc"] == checksum(pattern(1, 500))
                    await peer.command(end)
                    await peer.wait()
            await echoed.wait()
            assert restarts == [0, 1]
            nursery.cancel_scope.cancel()


async def test_one_socket_serves_usrsctp_as_client_and_as_server(peer_program: Path) -> None:
    async def echo(association: rtcsctp.Association) -> None:
        async for message in association.stream(0):
            await association.stream(0).send(message.data)

    with trio.fail_after(20):
        async with rtcsctp.open_udp(LOCALHOST, 0) as udp, trio.open_nursery() as nursery:
            await nursery.start(partial(udp.serve, echo, port=5000, config=FAST))
            async with (
                Peer(peer_program, listen=True) as listener,
                Peer(
                    peer_program, connect=True, port=6001, remote_udp_port=udp.address[1]
                ) as first,
                Peer(
                    peer_program, connect=True, port=6001, remote_udp_port=udp.address[1]
                ) as second,
                udp.connect((LOCALHOST, listener.udp_port), port=5000, config=FAST) as association,
            ):
                for peer in (first, second, listener):
                    await peer.expect("up")
                await association.stream(0).send(b"ours")
                await listener.expect("message", size=4)
                for seed, peer in enumerate((first, second)):
                    await peer.send(0, 2000, seed)
                    assert (await peer.expect("message"))["crc"] == checksum(pattern(seed, 2000))
            nursery.cancel_scope.cancel()


async def test_a_capture_has_what_both_sides_sent(peer_program: Path, tmp_path: Path) -> None:
    file = io.BytesIO()
    with trio.fail_after(20):
        with Capture(file) as capture:
            async with pair(peer_program, we_initiate=True, capture=capture) as (
                association,
                peer,
                _,
            ):
                await association.stream(0).send(b"hello")
                await peer.expect("message")
        packets = list(read_pcapng_untrusted(io.BytesIO(file.getvalue())))
        assert {packet.outbound for packet in packets} == {True, False}
        assert packets[0].data[12] == 1  # INIT
        assert any(b"hello" in packet.data for packet in packets)


# ------------------------------------------------------------------------- usrsctp's own programs


@pytest.mark.usefixtures("usrsctp_programs")
async def test_we_talk_to_the_echo_server() -> None:
    port = free_udp_port()
    with trio.fail_after(20):
        async with echo_server(port):
            await wait_udp_bound(port)
            async with rtcsctp.connect((LOCALHOST, port), port=7, config=FAST) as association:
                sizes = [1, 3, 100, 1177, 5000, 10_240]
                for stream_id in range(3):
                    stream = association.stream(stream_id)
                    for seed, size in enumerate(sizes):
                        unordered = seed % 2 == 1
                        await stream.send(pattern(seed, size), ppid=seed, unordered=unordered)
                        echoed = await stream.receive()
                        assert (echoed.data, echoed.ppid) == (pattern(seed, size), seed)
                        assert echoed.unordered is unordered


@pytest.mark.usefixtures("usrsctp_programs")
async def test_we_talk_to_the_discard_server() -> None:
    port = free_udp_port()
    with trio.fail_after(20):
        async with discard_server(port) as server:
            await wait_udp_bound(port)
            async with rtcsctp.connect((LOCALHOST, port), port=9, config=FAST) as association:
                await association.stream(2).send(bytes(900), ppid=99)
            await server.wait_output("of length 900 .*stream 2 with SSN 0 .* PPID 99")


@pytest.mark.usefixtures("usrsctp_programs")
async def test_the_client_talks_to_us() -> None:
    received: list[bytes] = []
    orderly = trio.Event()

    async def handler(association: rtcsctp.Association) -> None:
        async for message in association.stream(0):
            received.append(message.data)
            await association.stream(0).send(b"you said " + message.data)
        orderly.set()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            address = await nursery.start(
                partial(rtcsctp.listen, handler, port=7, udp=(LOCALHOST, 0), config=FAST)
            )
            async with client(LOCALHOST, 7, free_udp_port(), address[1]) as program:
                await program.write("hello\n")
                await program.wait_output("you said hello")
                await program.end_input()
                await orderly.wait()
                assert await program.wait(8) == 0
            nursery.cancel_scope.cancel()
    assert received == [b"hello\n"]


@pytest.mark.usefixtures("usrsctp_programs")
@pytest.mark.parametrize(
    "options", [{}, {"unordered": True}, {"max_retransmits": 0}], ids=["plain", "-u", "-P"]
)
async def test_we_send_to_tsctp(options: dict[str, bool]) -> None:
    port, count, size = free_udp_port(), 3000, 1000
    with trio.fail_after(30):
        async with tsctp_server(port, "-L", LOCALHOST) as server:
            await wait_udp_bound(port)
            async with rtcsctp.connect((LOCALHOST, port), port=5001, config=FAST) as association:
                for _ in range(count):
                    await association.stream(0).send(bytes(size), **options)
            result = await server.wait_output(TSCTP_RESULT)
            received = int(result["messages"])
            if "max_retransmits" in options:
                assert 0 < received <= count
            else:
                assert (received, int(result["bytes"])) == (count, count * size)


@pytest.mark.usefixtures("usrsctp_programs")
@pytest.mark.parametrize("options", [(), ("-u",), ("-P", 2, "-t", 1)], ids=["plain", "-u", "-P"])
async def test_tsctp_sends_to_us(options: tuple[str | int, ...]) -> None:
    count, size = 3000, 1000
    received: list[int] = []
    orderly = trio.Event()

    async def handler(association: rtcsctp.Association) -> None:
        received.extend([len(message.data) async for message in association.stream(0)])
        orderly.set()

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            address = await nursery.start(
                partial(rtcsctp.listen, handler, port=5001, udp=(LOCALHOST, 0), config=FAST)
            )
            arguments = ("-L", LOCALHOST, "-n", count, "-l", size, *options)
            async with tsctp_client(LOCALHOST, free_udp_port(), address[1], *arguments) as program:
                await orderly.wait()
                await program.wait()
                assert re.search(f"Sending of {count} messages", program.output())
            nursery.cancel_scope.cancel()
    assert set(received) == {size}
    assert len(received) == count if "-P" not in options else 0 < len(received) <= count
