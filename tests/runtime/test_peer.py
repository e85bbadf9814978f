"""Two whole peers: what a program sees of the connection."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import trio

from rtcsctp.errors import DescriptionError, MessageTooLargeError, SignallingStateError
from rtcsctp.ice.events import GatheringState, IceState
from rtcsctp.runtime.errors import ChannelBroken, ConnectionLost
from rtcsctp.runtime.peer import PeerConnection
from rtcsctp.runtime.peer_states import ConnectionState, PeerEvent, SctpState, StateChange
from rtcsctp.sctp.config import Config
from rtcsctp.sdp.negotiation import SignallingState
from rtcsctp.testing import Capture, Conditions, StandInIdentity, read_pcapng_untrusted

from .peers import connected_peers, exchange, make_world, open_channel, two_peers


def state_of(peer: PeerConnection) -> str:
    return str(peer.connection_state.value)


def states_in(events: trio.MemoryReceiveChannel[PeerEvent], what: str) -> list[str]:
    """The changes of one state that have been told by now."""
    told = []
    while events.statistics().current_buffer_used:
        event = events.receive_nowait()
        if isinstance(event, StateChange) and event.what == what:
            told.append(str(event.state.value))
    return told


async def test_text_and_bytes_cross_in_both_directions(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right, "chat", protocol="p")
        assert (far.label, far.protocol, far.id) == ("chat", "p", near.id)
        await near.send("grüße")
        await near.send(b"\x00\x01")
        await near.send("")
        await near.send(b"")
        assert [await far.receive() for _ in range(4)] == ["grüße", b"\x00\x01", "", b""]
        await far.send("back")
        assert await near.receive() == "back"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ordered": False},
        {"max_retransmits": 0},
        {"max_retransmits": 3, "ordered": False},
        {"max_packet_lifetime": 0.5},
        {"max_packet_lifetime": 0.0, "ordered": False},
    ],
    ids=str,
)
async def test_six_kinds_of_channels(
    autojump_clock: trio.testing.MockClock, options: dict[str, Any]
) -> None:
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right, "kind", **options)
        for channel in (near, far):
            assert channel.ordered is options.get("ordered", True)
            assert channel.max_retransmits == options.get("max_retransmits")
            assert channel.max_packet_lifetime == options.get("max_packet_lifetime")
        await near.send("there")
        assert await far.receive() == "there"
        await far.send("and back")
        assert await near.receive() == "and back"


async def test_states_follow_the_w3c(autojump_clock: trio.testing.MockClock) -> None:
    async with two_peers() as (left, right):
        events = left.events()
        assert state_of(left) == "new"
        assert left.signalling_state is SignallingState.STABLE
        assert left.gathering_state is GatheringState.NEW
        await exchange(left, right)
        await left.wait_connected()
        assert state_of(left) == "connected"
        assert left.sctp_state is SctpState.CONNECTED
        assert left.ice_state in (IceState.CONNECTED, IceState.COMPLETED)
        seen = states_in(events, "connection")
        assert seen == ["connecting", "connected"]
    assert state_of(left) == "closed"


async def test_leaving_in_order_delivers_what_was_sent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = make_world(Conditions(delay=0.02, loss=0.1), seed=3)
    received: list[str | bytes] = []
    async with connected_peers(world) as (left, right):
        near, far = await open_channel(left, right)

        async def collect() -> None:
            received.extend([message async for message in far])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect)
            for number in range(50):
                await near.send(f"{number}" * 100)
            await left.aclose()
    assert len(received) == 50


async def test_abrupt_end_is_an_error_for_the_peers_channels(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # pitfall W42
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right)
        await near.send("last")
        await trio.sleep(1)
        await left.abort()
        assert await far.receive() == "last"
        with pytest.raises(ConnectionLost):
            await far.receive()
        with pytest.raises(ConnectionLost):
            await far.send("x")
        assert right.connection_state is ConnectionState.CLOSED
        with pytest.raises(ConnectionLost):
            await right.incoming.receive()
        with pytest.raises(trio.ClosedResourceError):
            await near.send("x")


async def test_orderly_close_of_a_channel_is_none(autojump_clock: trio.testing.MockClock) -> None:
    # pitfall W42
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right)
        await near.send("last")
        await near.aclose()
        assert await far.receive() == "last"
        with pytest.raises(trio.EndOfChannel):
            await far.receive()
        with pytest.raises(ChannelBroken):
            await far.send("x")
        again, other = await open_channel(left, right, "again")
        await again.send("on")
        assert await other.receive() == "on"


async def test_user_exceptions_come_out_bare(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with connected_peers():
            raise KeyError("mine")


async def test_cancelling_leaves_nothing_behind(autojump_clock: trio.testing.MockClock) -> None:
    before = len(trio.lowlevel.current_root_task().child_nurseries)  # type: ignore[union-attr]
    with trio.move_on_after(5) as scope:
        async with connected_peers():
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert len(trio.lowlevel.current_root_task().child_nurseries) == before  # type: ignore[union-attr]


async def test_wrong_fingerprint_refuses_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = make_world()
    other = StandInIdentity(random.Random(99))
    async with two_peers(world) as (left, right):
        offer = await left.offer()
        mine = str(left.identity.fingerprints[0].value)
        forged = offer.sdp.replace(mine, other.fingerprints[0].value)
        answer = await right.answer({"type": "offer", "sdp": forged})
        left.set_remote_description(answer)
        with pytest.raises(ConnectionLost) as caught:
            await right.wait_connected()
        assert mine in str(caught.value)
        assert other.fingerprints[0].value in str(caught.value)


async def test_message_above_the_peers_limit_is_refused(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # pitfall W39
    limits = {"sctp": Config(max_message_size=1000)}
    async with connected_peers(answerer=limits) as (left, right):
        near, far = await open_channel(left, right)
        with pytest.raises(MessageTooLargeError, match=r"1001.*1000"):
            await near.send(b"x" * 1001)
        await near.send(b"x" * 1000)
        assert await far.receive() == b"x" * 1000


async def test_hostile_description_changes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with two_peers() as (left, right):
        with pytest.raises(DescriptionError):
            right.set_remote_description({"type": "offer", "sdp": "v=0\r\n" + "x" * 1_000_000})
        with pytest.raises(SignallingStateError):
            right.create_answer()
        await exchange(left, right)
        await right.wait_connected()


async def test_sender_waits_while_nobody_receives_and_nothing_is_lost(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right)
        sent = 0

        async def send() -> None:
            nonlocal sent
            for number in range(1000):
                await near.send(number.to_bytes(2) * 8192)
                sent += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await trio.sleep(30)
            assert sent < 600  # window and buffer are 5 MiB and 1 MiB
            for number in range(1000):
                assert await far.receive() == number.to_bytes(2) * 8192
        assert sent == 1000


async def test_ice_restart_keeps_the_channels(autojump_clock: trio.testing.MockClock) -> None:
    # pitfall W22
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right)
        received = []

        async def talk() -> None:
            for number in range(100):
                await near.send(str(number))
                received.append(await far.receive())
                await trio.sleep(0.02)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            await trio.sleep(0.5)
            ufrag = left.local_description.sdp.split("ice-ufrag:")[1][:8]  # type: ignore[union-attr]
            offer = left.create_offer(ice_restart=True)
            left.set_local_description(offer)
            await trio.sleep(0.1)
            right.set_remote_description(offer)
            right.set_local_description()
            for candidate in [c async for c in right.local_candidates]:
                left.add_ice_candidate(right.candidate_init(candidate))
            answer = right.local_description
            assert answer is not None
            left.set_remote_description(answer)
            for candidate in [c async for c in left.local_candidates]:
                right.add_ice_candidate(left.candidate_init(candidate))
            assert ufrag not in left.local_description.sdp  # type: ignore[union-attr]
        assert received == [str(number) for number in range(100)]
        assert left.ice_state in (IceState.CONNECTED, IceState.COMPLETED)


@pytest.mark.parametrize(
    "addresses",
    [
        {},
        {"a": ("192.0.2.1", "2001:db8::1"), "b": ("198.51.100.1", "2001:db8::2")},
    ],
    ids=["one pair", "two pairs"],
)
async def test_silence_is_detected(
    autojump_clock: trio.testing.MockClock, addresses: dict[str, Any]
) -> None:
    world = make_world(**addresses)
    async with connected_peers(world) as (left, right):
        near, _ = await open_channel(left, right)
        events = left.events()
        world.network.a_to_b.conditions = Conditions(loss=1.0)
        world.network.b_to_a.conditions = Conditions(loss=1.0)
        began = trio.current_time()
        failure = await left.wait_closed()
        assert failure is not None
        assert "ICE" in str(failure)
        assert 35 <= trio.current_time() - began <= 50  # and 10 s of them for an ICE restart
        with pytest.raises(ConnectionLost):
            await near.receive()
        states = states_in(events, "connection")
        assert states == ["disconnected", "failed", "closed"]


async def test_capture_has_decrypted_sctp_and_zero_checksums(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    path = tmp_path / "trace.pcapng"
    with Capture(path) as capture:
        async with connected_peers(offerer={"capture": capture}) as (left, right):
            near, far = await open_channel(left, right)
            await near.send("in the clear")
            assert await far.receive() == "in the clear"
            statistics = left.statistics().sctp
            assert statistics.interleaving
            assert statistics.partial_reliability
            assert statistics.zero_checksum_sent
    packets = [entry.data for entry in read_pcapng_untrusted(path)]
    (carrier,) = [packet for packet in packets if b"in the clear" in packet]
    assert carrier[8:12] == bytes(4)  # RFC 9653: DTLS has checked it already
