"""Offers and answers in every order, and what becomes of the connection (RFC 8829, RFC 8838)."""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from rtcsctp.errors import DescriptionError, SignallingStateError
from rtcsctp.ice.events import IceState
from rtcsctp.runtime.channel import DataChannel
from rtcsctp.runtime.errors import ChannelBroken, ConnectionLost
from rtcsctp.runtime.peer import PeerConnection, open_peer
from rtcsctp.sdp.description import SessionDescription
from rtcsctp.sdp.negotiation import SignallingState
from rtcsctp.testing import Conditions, SimulatedHost, SimulatedSocket, StandInIdentity

from .peers import World, connected_peers, exchange, make_world, open_channel, two_peers

ROLLBACK = SessionDescription.rollback()


def local(peer: PeerConnection) -> SessionDescription:
    description = peer.local_description
    assert description is not None
    return description


def value(description: SessionDescription, name: str) -> str:
    return description.sdp.split(f"a={name}:")[1].split("\r\n")[0]


def without_candidates(description: SessionDescription) -> dict[str, str]:
    sdp = re.sub(r"a=(candidate:.*|end-of-candidates)\r\n", "", description.sdp)
    return {"type": description.type.value, "sdp": sdp}


def state_of(peer: PeerConnection) -> SignallingState:
    return peer.signalling_state


async def check(near: DataChannel, far: DataChannel, text: str) -> None:
    with trio.fail_after(10):
        await near.send(text)
        assert await far.receive() == text
        await far.send(text)
        assert await near.receive() == text


def negotiate(offerer: PeerConnection, answerer: PeerConnection, *, restart: bool = False) -> None:
    offerer.set_local_description(offerer.create_offer(ice_restart=restart))
    answerer.set_remote_description(local(offerer))
    answerer.set_local_description()
    offerer.set_remote_description(local(answerer))


# ----------------------------------------------------------------------------------------- rollback


async def test_rollback_of_either_offer_and_a_fresh_start(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with two_peers() as (left, right):
        offer = await left.offer()
        right.set_remote_description(offer)
        right.set_remote_description(ROLLBACK)
        left.set_local_description(ROLLBACK)
        assert state_of(left) is state_of(right) is SignallingState.STABLE
        for peer in (left, right):
            with pytest.raises(SignallingStateError):
                peer.set_local_description(ROLLBACK)
        await exchange(right, left)  # the other way round now
        await left.wait_connected()
        near, far = await open_channel(left, right)
        await check(near, far, "x")


async def test_rolled_back_restart_leaves_the_old_session(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right)
        before = value(local(left), "ice-ufrag")
        left.set_local_description(left.create_offer(ice_restart=True))
        assert value(local(left), "ice-ufrag") != before
        right.set_remote_description(local(left))
        await check(near, far, "while it is open")
        left.set_local_description(ROLLBACK)
        right.set_remote_description(ROLLBACK)
        assert value(local(left), "ice-ufrag") == before
        await trio.sleep(60)
        await check(near, far, "after a minute")
        negotiate(left, right, restart=True)
        await trio.sleep(60)
        assert value(local(left), "ice-ufrag") != before
        await check(near, far, "restarted")


async def test_wish_for_a_restart_outlives_a_rollback(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right)
        before = value(local(left), "ice-ufrag")
        left.restart_ice()
        left.set_local_description()
        left.set_local_description(ROLLBACK)
        negotiate(left, right)  # still wanted: W3C's restartIce
        restarted = value(local(left), "ice-ufrag")
        assert restarted != before
        negotiate(left, right)  # and only once
        assert value(local(left), "ice-ufrag") == restarted
        await check(near, far, "x")


# -------------------------------------------------------------------------------------------- glare


@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("restart", [False, True])
async def test_glare_is_settled_by_the_polite_peer(
    autojump_clock: trio.testing.MockClock, connected: bool, restart: bool
) -> None:
    async with two_peers() as (polite, impolite):
        channels = None
        if connected:
            await exchange(polite, impolite)
            await polite.wait_connected()
            channels = await open_channel(polite, impolite, "before")
        first, second = (peer.create_offer(ice_restart=restart) for peer in (polite, impolite))
        polite.set_local_description(first)
        impolite.set_local_description(second)
        assert state_of(impolite) is SignallingState.HAVE_LOCAL_OFFER  # it ignores the first
        polite.set_remote_description(local(impolite))
        assert state_of(polite) is SignallingState.HAVE_REMOTE_OFFER
        for candidate in [c async for c in impolite.local_candidates]:
            polite.add_ice_candidate(impolite.candidate_init(candidate))
        polite.add_ice_candidate(None)
        polite.set_local_description()
        impolite.set_remote_description(local(polite))
        for candidate in [c async for c in polite.local_candidates]:
            impolite.add_ice_candidate(polite.candidate_init(candidate))
        impolite.add_ice_candidate(None)
        assert state_of(polite) is state_of(impolite) is SignallingState.STABLE
        with trio.fail_after(30):
            await polite.wait_connected()
            await impolite.wait_connected()
        if channels is not None:
            await check(*channels, "glare")
        near, far = await open_channel(impolite, polite)
        await trio.sleep(60)
        await check(near, far, "after")
        negotiate(polite, impolite)
        await check(near, far, "and again")


# ------------------------------------------------------------------------------------ renegotiation


async def test_renegotiation_without_changes_changes_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right)
        ufrag, pair = value(local(left), "ice-ufrag"), left.selected_pair
        events = left.events()
        for number in range(10):
            negotiate(*((left, right) if number % 2 else (right, left)))
            await check(near, far, str(number))
        assert value(local(left), "ice-ufrag") == ufrag
        after = left.selected_pair
        assert pair is not None
        assert after is not None
        assert (pair.local, pair.remote) == (after.local, after.remote)
        seen = set()
        while events.statistics().current_buffer_used:
            seen.add(getattr(events.receive_nowait(), "what", "pair"))
        assert seen == {"signalling"}


@pytest.mark.parametrize("who", ["offerer", "answerer"])
async def test_restart_from_either_side_while_data_flows(
    autojump_clock: trio.testing.MockClock, who: str
) -> None:
    # pitfall W22
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right)
        sent = received = 0

        async def send() -> None:
            nonlocal sent
            while sent < 500:
                await near.send(str(sent))
                sent += 1
                await trio.sleep(0.01)

        async def receive() -> None:
            nonlocal received
            while received < 500:
                assert await far.receive() == str(received)
                received += 1

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                nursery.start_soon(receive)
                for _ in range(4):
                    await trio.sleep(0.7)
                    one, two = (left, right) if who == "offerer" else (right, left)
                    one.set_local_description(one.create_offer(ice_restart=True))
                    await trio.sleep(0.1)
                    two.set_remote_description(local(one))
                    await trio.sleep(0.1)
                    two.set_local_description()
                    await trio.sleep(0.1)
                    one.set_remote_description(local(two))
        await trio.sleep(40)
        assert left.ice_state is IceState.COMPLETED
        await check(near, far, "end")


async def test_offers_in_each_state(autojump_clock: trio.testing.MockClock) -> None:
    async with two_peers() as (left, right):
        with pytest.raises(SignallingStateError):
            left.create_answer()
        with pytest.raises(SignallingStateError):
            left.set_remote_description({"type": "answer", "sdp": (await right.offer()).sdp})
        offer = left.create_offer()
        left.set_local_description(offer)
        assert left.create_offer().type.value == "offer"  # have-local-offer: again
        left.set_local_description()
        offer = local(left)
        with pytest.raises(SignallingStateError):
            left.create_answer()
        right.set_local_description(ROLLBACK)
        right.set_remote_description(offer)
        with pytest.raises(SignallingStateError):
            right.create_offer()
        right.set_remote_description(offer)  # have-remote-offer: a newer one
        stale = right.create_answer()
        right.set_local_description(right.create_answer())
        with pytest.raises(SignallingStateError):
            right.set_local_description(stale)
        with pytest.raises(SignallingStateError):
            right.set_remote_description({"type": "answer", "sdp": offer.sdp})
        left.set_remote_description(local(right))
        await left.wait_connected()


async def test_provisional_answer_is_enough_to_connect(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with two_peers() as (left, right):
        offer = await left.offer()
        right.set_remote_description(offer)
        answer = right.create_answer()
        right.set_local_description(SessionDescription("pranswer", answer.sdp))
        left.set_remote_description({**without_candidates(answer), "type": "pranswer"})
        assert state_of(left) is SignallingState.HAVE_REMOTE_PRANSWER
        for candidate in [c async for c in right.local_candidates]:
            left.add_ice_candidate(right.candidate_init(candidate))
        with trio.fail_after(30):
            await left.wait_connected()
        right.set_local_description(right.create_answer())
        left.set_remote_description(local(right))
        near, far = await open_channel(left, right)
        await check(near, far, "x")


# --------------------------------------------------------------------------------------- candidates


async def trickle(source: PeerConnection, sink: PeerConnection) -> None:
    for candidate in [c async for c in source.local_candidates]:
        sink.add_ice_candidate(source.candidate_init(candidate))
    sink.add_ice_candidate(None)


@pytest.mark.parametrize("when", ["before", "between", "after"])
async def test_candidates_count_whenever_they_come(
    autojump_clock: trio.testing.MockClock, when: str
) -> None:
    # pitfall W17. Neither description has candidates.
    async with two_peers() as (left, right):
        await left.offer()
        if when == "before":
            await trickle(left, right)
        right.set_remote_description(without_candidates(local(left)))
        if when == "between":
            await trickle(left, right)
        right.set_local_description()
        if when in ("before", "between"):
            await trickle(right, left)
        left.set_remote_description(without_candidates(local(right)))
        if when == "after":
            assert left.ice_state is IceState.CHECKING or left.ice_state is IceState.NEW
            await trio.sleep(5)
            await trickle(left, right)
            await trickle(right, left)
        with trio.fail_after(30):
            await left.wait_connected()
            await right.wait_connected()


async def test_end_of_candidates_before_the_description_does_not_shut_out_its_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with two_peers() as (left, right):
        offer = await left.offer()
        right.add_ice_candidate(None)
        answer = await right.answer(offer)
        left.add_ice_candidate({"candidate": "", "sdpMid": "0"})
        left.set_remote_description(answer)
        for peer in (left, right):
            assert peer.statistics().ice.counters["ignored_candidates"] == 0
            assert peer.statistics().ice.remote_candidates == 1
        with trio.fail_after(30):
            await left.wait_connected()


async def test_candidates_of_an_old_session_are_of_no_account(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # pitfall W17: neither they nor their end.
    world = make_world()
    async with connected_peers(world) as (left, right):
        near, far = await open_channel(left, right)
        old = [left.candidate_init(c) async for c in left.local_candidates]
        end = {"candidate": "", "usernameFragment": old[0]["usernameFragment"]}
        left.set_local_description(left.create_offer(ice_restart=True))
        right.set_remote_description(without_candidates(local(left)))
        for init in [*old, end]:
            right.add_ice_candidate(init)
        right.set_local_description()
        for init in [*old, end]:
            right.add_ice_candidate(init)
        left.set_remote_description(without_candidates(local(right)))
        await trickle(right, left)
        ignored = right.statistics().ice.counters["ignored_candidates"]
        assert ignored >= len(old)
        await trickle(left, right)
        await trio.sleep(60)
        # The new candidate was not shut out by the old session's end.
        assert right.statistics().ice.remote_candidates >= 1
        assert right.ice_state is left.ice_state is IceState.COMPLETED
        await check(near, far, "x")


async def test_candidates_can_be_iterated_often_and_left_anywhere(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with two_peers(make_world(a=["192.0.2.1", "192.0.2.2"])) as (left, _):
        seen = []

        async def first() -> None:
            async for candidate in left.local_candidates:
                seen.append(candidate)
                break

        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            nursery.start_soon(first)
            await trio.testing.wait_all_tasks_blocked()
            assert not seen
            await left.offer()
        every = [c async for c in left.local_candidates]
        assert len(every) == 2
        assert seen == [every[0]] * 2


async def test_candidates_of_rejected_sections_are_skipped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with two_peers() as (left, right):
        offer = await left.offer()
        right.set_remote_description(without_candidates(offer))
        candidate = left.candidate_init(await anext(aiter(left.local_candidates)))
        for label in ({"sdpMid": "audio"}, {"sdpMid": None, "sdpMLineIndex": 3}):
            right.add_ice_candidate({**candidate, **label})
        right.set_local_description()
        assert right.statistics().ice.remote_candidates == 0
        right.add_ice_candidate(candidate)
        assert right.statistics().ice.remote_candidates == 1


# -------------------------------------------------------------------- another certificate, no data


@asynccontextmanager
async def replaced(
    world: World, left: PeerConnection, seed: int = 77
) -> AsyncIterator[tuple[PeerConnection, Callable[[], Awaitable[None]]]]:
    """Another computer takes the place of the peer behind the same signalling, as when a call is
    handed over. Its offer has another fingerprint, and other ICE credentials."""
    identity, rng = StandInIdentity(random.Random(seed)), random.Random(seed)
    async with open_peer(world.config(world.right, identity=identity, rng=rng)) as other:

        async def connect() -> None:
            answer = local(left)
            mid = value(answer, "mid")
            await other.offer()
            # Its m-line is the one that was agreed on; the mid may be another one.
            sdp = re.sub(r"a=mid:\S+", f"a=mid:{mid}", local(other).sdp)
            sdp = re.sub(r"a=group:BUNDLE \S+", f"a=group:BUNDLE {mid}", sdp)
            left.set_remote_description({"type": "offer", "sdp": sdp})
            left.set_local_description()
            own = value(local(other), "mid")
            sdp = re.sub(r"a=mid:\S+", f"a=mid:{own}", local(left).sdp)
            sdp = re.sub(r"a=group:BUNDLE \S+", f"a=group:BUNDLE {own}", sdp)
            other.set_remote_description({"type": "answer", "sdp": sdp})

        yield other, connect


async def test_new_fingerprint_with_a_restart_is_a_new_association(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # pitfall W29
    world = make_world()
    async with connected_peers(world) as (left, right):
        near, _ = await open_channel(left, right, "old")
        async with replaced(world, left) as (other, connect):
            await connect()
            with trio.fail_after(60):
                await other.wait_connected()
                await left.wait_connected()
                fresh, there = await open_channel(left, other, "new")
                await check(fresh, there, "x")
        with pytest.raises((ChannelBroken, ConnectionLost, trio.ClosedResourceError)):
            await near.send("x")


async def test_channels_of_a_replaced_association_end_with_an_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # pitfall W29, W42: nobody closed them, and what was sent may be lost.
    world = make_world()
    async with connected_peers(world) as (left, right):
        near, _ = await open_channel(left, right, "old")
        async with replaced(world, left) as (other, connect):
            await connect()
            with trio.fail_after(60):
                await other.wait_connected()
            with pytest.raises((ChannelBroken, ConnectionLost)):
                await near.receive()


async def test_replaced_associations_leave_no_tasks_behind(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = make_world()
    async with connected_peers(world) as (left, _):
        counts = []
        for number in range(4):
            async with replaced(world, left, seed=100 + number) as (other, connect):
                await connect()
                with trio.fail_after(60):
                    await other.wait_connected()
                    await left.wait_connected()
                await trio.sleep(60)
                counts.append(tasks())
                # Its end must not end the connection: the next one comes before it is told.
                world.network.b_to_a.conditions = Conditions(loss=1.0)
            world.network.b_to_a.conditions = Conditions(delay=0.01)
        assert max(counts[1:]) <= counts[0], counts


async def test_fingerprint_changed_without_a_restart_is_refused(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # pitfall W29
    async with connected_peers() as (left, right):
        near, far = await open_channel(left, right)
        left.set_local_description()
        offer = local(left)
        other = StandInIdentity(random.Random(5)).fingerprints[0].value
        forged = re.sub(r"a=fingerprint:sha-256 \S+", f"a=fingerprint:sha-256 {other}", offer.sdp)
        with pytest.raises(DescriptionError, match="fingerprint"):
            right.set_remote_description({"type": "offer", "sdp": forged})
        assert state_of(right) is SignallingState.STABLE
        left.set_local_description(ROLLBACK)
        await check(near, far, "x")


async def test_answer_that_rejects_the_data_channels_is_told_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with two_peers() as (left, right):
        channel = left.create_channel()
        answer = await right.answer(await left.offer())
        rejected = answer.sdp.replace("m=application 9 ", "m=application 0 ")
        rejected = re.sub(r"m=application \d+ ", "m=application 0 ", rejected)
        with trio.fail_after(1):
            with pytest.raises(ConnectionLost, match="rejected the data channels"):
                await left.accept({"type": "answer", "sdp": rejected})
            with pytest.raises(ConnectionLost):
                await channel.send("x")
        assert left.connection_state.value == "closed"


async def test_offer_without_data_channels_is_refused_and_a_better_one_taken(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with two_peers() as (left, right):
        offer = await left.offer()
        empty = offer.sdp.split("m=application")[0]
        audio = empty + (
            "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendrecv\r\n"
        )
        for sdp in (empty, audio):
            with pytest.raises(DescriptionError, match="data channels"):
                await right.answer({"type": "offer", "sdp": sdp})
            assert state_of(right) is SignallingState.STABLE
        left.set_remote_description(await right.answer(offer))
        with trio.fail_after(30):
            await left.wait_connected()


async def test_offer_that_takes_the_data_channels_back_ends_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected_peers() as (left, right):
        _, far = await open_channel(left, right)
        left.set_local_description()
        sdp = re.sub(r"m=application \d+ ", "m=application 0 ", local(left).sdp)
        right.set_remote_description({"type": "offer", "sdp": sdp})
        right.set_local_description()
        with trio.fail_after(5), pytest.raises(ConnectionLost, match="data channels"):
            await far.receive()


# ------------------------------------------------------------------------------- ends in each stage


STAGES = ["new", "offer", "remote offer", "answer", "ice", "dtls", "sctp", "connected", "restart"]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("how", ["abort", "aclose"])
async def test_end_in_each_stage(
    autojump_clock: trio.testing.MockClock, stage: str, how: str
) -> None:
    async with two_peers(make_world(Conditions(delay=0.05))) as (left, right):
        channel = left.create_channel()
        await reach(stage, left, right)
        with trio.fail_after(20):
            await (left.abort() if how == "abort" else left.aclose())
        assert state_of(left) is SignallingState.CLOSED
        assert left.connection_state.value == "closed"
        with pytest.raises(trio.ClosedResourceError):
            await channel.receive()
        with pytest.raises(trio.ClosedResourceError):
            await left.wait_connected()
        for use in (
            left.create_offer,
            left.create_answer,
            left.set_local_description,
            left.create_channel,
            lambda: left.set_remote_description(ROLLBACK),
            lambda: left.add_ice_candidate(None),
        ):
            with pytest.raises(trio.ClosedResourceError):
                use()
        await left.abort()
        await left.aclose()
        assert await left.wait_closed() is None
        if stage in ("connected", "restart", "sctp"):
            with trio.fail_after(20):
                await right.wait_closed()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - states of peers are no events
        await trio.sleep(0.005)


async def reach(stage: str, left: PeerConnection, right: PeerConnection) -> None:
    order = STAGES.index(stage)
    if order >= STAGES.index("offer"):
        offer = await left.offer()
    if order == STAGES.index("remote offer"):
        left.set_local_description(ROLLBACK)
        left.set_remote_description(await right.offer())
    if order >= STAGES.index("answer"):
        answer = await right.answer(offer)
        left.set_remote_description(answer)
    if order >= STAGES.index("ice"):
        await until(lambda: left.ice_state is not IceState.NEW)
    if order >= STAGES.index("dtls"):
        await until(lambda: left.dtls_state.value == "connecting")
    if order >= STAGES.index("sctp"):
        await until(lambda: left.sctp_state.value != "new")
    if order >= STAGES.index("connected"):
        await left.wait_connected()
    if stage == "restart":
        left.set_local_description(left.create_offer(ice_restart=True))


# -------------------------------------------------------------------- cancellation and exceptions


async def setup_and_talk(world: World) -> None:
    async with connected_peers(world) as (left, right):
        near, far = await open_channel(left, right)
        await near.send("x")
        await far.receive()
        await near.aclose()


def watch_ports(host: SimulatedHost) -> set[tuple[str, int]]:
    """The ports that are open, from now on."""
    ports: set[tuple[str, int]] = set()
    open_udp, forget = host.open_udp, host.forget

    def opened(address: str, port: int) -> SimulatedSocket:
        sock = open_udp(address, port)
        ports.add(sock.address)
        return sock

    def closed(sock: SimulatedSocket) -> None:
        forget(sock)
        ports.discard(sock.address)

    host.open_udp = opened  # type: ignore[method-assign]
    host.forget = closed  # type: ignore[method-assign]
    return ports


def tasks() -> int:
    root = trio.lowlevel.current_root_task()
    assert root is not None
    count, nurseries = 0, list(root.child_nurseries)
    while nurseries:
        for task in nurseries.pop().child_tasks:
            count += 1
            nurseries += task.child_nurseries
    return count


async def test_cancellation_at_every_moment_leaves_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    before = tasks()
    points = 0
    for step in range(130):
        world = make_world(seed=step + 1)
        ports = [watch_ports(host) for host in (world.left, world.right)]
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel_after, step, scope)
                await setup_and_talk(world)
                nursery.cancel_scope.cancel()
        assert tasks() == before
        assert ports == [set(), set()]
        points += scope.cancelled_caught
    assert points > 100


async def cancel_after(turns: int, scope: trio.CancelScope) -> None:
    """After so many turns of the loop, of which those are skipped in which nothing happens."""
    for _ in range(turns):
        await trio.lowlevel.checkpoint()
        if trio.lowlevel.current_statistics().tasks_runnable == 0:
            await trio.sleep(0.001)
    scope.cancel()


async def test_exception_of_the_block_comes_out_bare_at_every_stage(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for stage in STAGES:
        with pytest.raises(KeyError, match=stage):
            await raise_in(stage)


async def raise_in(stage: str) -> None:
    async with two_peers(make_world(Conditions(delay=0.05))) as (left, right):
        await reach(stage, left, right)
        raise KeyError(stage)


async def test_interrupt_in_a_block_comes_out_bare(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(KeyboardInterrupt):
        async with connected_peers():
            raise KeyboardInterrupt
