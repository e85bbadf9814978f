"""How an association ends that does not end in order: aborts, losses, cancellation, exceptions."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import rtcsctp
from rtcsctp import CloseReason, Config, State

from .support import Links, in_memory, pair, simulated

both_links = pytest.mark.parametrize("make", [simulated, in_memory])


def tasks() -> int:
    """How many tasks Trio runs."""
    return trio.lowlevel.current_statistics().tasks_living


async def test_an_abort_tells_the_peer_why(autojump_clock: MockClock) -> None:
    async with pair() as (client, server):
        failures: list[rtcsctp.PeerAborted] = []

        async def fails(operation: Callable[[], object]) -> None:
            with pytest.raises(rtcsctp.PeerAborted, match="no bananas") as info:
                await operation()  # type: ignore[misc]
            failures.append(info.value)

        await server.stream(0).send(b"unread")
        await client.stream(0).receive()
        config = server.config
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails, server.stream(0).receive)
            nursery.start_soon(fails, server.stream(1).receive_many)
            nursery.start_soon(fails, server.incoming.__anext__)
            nursery.start_soon(fails, server.heartbeat)
            await trio.testing.wait_all_tasks_blocked()
            client.abort("no bananas")
        assert len(failures) == 4
        assert all(failure.reason is CloseReason.ABORTED_BY_PEER for failure in failures)
        await fails(lambda: server.stream(0).send(b"x"))
        await fails(server.stream(0).reset)
        assert await server.wait_closed() is CloseReason.ABORTED_BY_PEER
        assert await client.wait_closed() is CloseReason.ABORTED_LOCALLY
        assert config.mtu == 1200


async def test_an_abort_wakes_those_who_wait_to_send(autojump_clock: MockClock) -> None:
    config = Config(rwnd=10_000, send_buffer=20_000)
    async with pair(config) as (client, server):

        async def send() -> None:
            while True:
                await server.stream(0).send(bytes(5000))

        async def fails() -> None:
            with pytest.raises(rtcsctp.PeerAborted):
                await send()

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(fails)
            await trio.sleep(5)
            client.abort()


async def test_after_an_abort_of_ours_everything_is_closed(autojump_clock: MockClock) -> None:
    async with pair() as (client, _server):
        client.abort()
        stream = client.stream(0)
        with pytest.raises(trio.ClosedResourceError):
            await stream.send(b"x")
        with pytest.raises(trio.ClosedResourceError):
            stream.send_nowait(b"x")
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive()
        with pytest.raises(trio.ClosedResourceError):
            await client.heartbeat()
        with pytest.raises(trio.ClosedResourceError):
            await client.incoming.__anext__()
        client.abort()


async def test_after_the_block_everything_is_closed(autojump_clock: MockClock) -> None:
    async with pair() as (client, _server):
        pass
    stream = client.stream(0)
    for operation in (
        lambda: stream.send(b"x"),
        stream.receive,
        stream.reset,
        client.heartbeat,
        client.reset_streams,
        client.incoming.__anext__,
    ):
        with pytest.raises(trio.ClosedResourceError):
            await operation()
    assert client.statistics().state is State.CLOSED


async def test_messages_that_arrived_can_be_read_after_an_abort(autojump_clock: MockClock) -> None:
    async with pair() as (client, server):
        await client.stream(0).send(b"one")
        await client.stream(0).send(b"two")
        await trio.sleep(1)
        client.abort()
        await server.wait_closed()
        assert (await server.stream(0).receive()).data == b"one"
        assert (await server.stream(0).receive()).data == b"two"
        with pytest.raises(rtcsctp.PeerAborted):
            await server.stream(0).receive()


async def test_a_user_exception_comes_out_bare_and_aborts(autojump_clock: MockClock) -> None:
    here, there = simulated()
    before = tasks()

    async def server() -> None:
        async with rtcsctp.open_association(there, initiate=False) as association:
            with pytest.raises(rtcsctp.PeerAborted):
                await association.stream(0).receive()

    error = KeyError("mine")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server)
        with pytest.raises(KeyError) as info:
            async with rtcsctp.open_association(here):
                raise error
        assert info.value is error
        assert trio.current_time() < 1
    assert tasks() == before


async def test_a_cancelled_close_aborts(autojump_clock: MockClock) -> None:
    # The server never reads, so what the client sent cannot all be delivered.
    here, there = simulated()
    reasons = []

    async def serve() -> None:
        config = Config(rwnd=5000)
        async with rtcsctp.open_association(there, config, initiate=False) as association:
            reasons.append(await association.wait_closed())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        with trio.move_on_after(5) as scope:
            async with rtcsctp.open_association(here) as association:
                for _ in range(20):
                    await association.stream(0).send(bytes(5000))
        assert scope.cancelled_caught
        assert trio.current_time() < 6
    assert reasons == [CloseReason.ABORTED_BY_PEER]


async def _chat(link: rtcsctp.Link) -> None:
    """A bit of everything that can be cancelled."""
    async with rtcsctp.open_association(link) as association:
        stream = association.stream(0)
        await stream.send(bytes(5000))
        await stream.receive()
        await association.heartbeat()
        await stream.reset()
        with pytest.raises(rtcsctp.StreamReset):
            await stream.receive()


async def _answer(link: rtcsctp.Link, established: trio.Event, over: trio.Event) -> None:
    with contextlib.suppress(rtcsctp.AssociationLost):
        async with rtcsctp.open_association(link, initiate=False) as association:
            established.set()
            stream = association.stream(0)
            async for message in stream:
                await stream.send(message.data)
            if association.state is State.ESTABLISHED:
                await stream.reset()
                await association.wait_closed()
    over.set()


async def _run_and_cancel(
    links: Links, cancel: Callable[[trio.CancelScope], Awaitable[object]]
) -> bool:
    """Whether the chat was finished before it was cancelled. Nothing may be left of it."""
    here, there = links
    before = tasks()
    finished = False
    established, over = trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery, trio.open_nursery() as servers:
        servers.start_soon(_answer, there, established, over)
        with trio.CancelScope() as scope:
            nursery.start_soon(cancel, scope)
            await _chat(here)
            finished = True
        if established.is_set():
            with trio.fail_after(10):  # it got an ABORT, or was shut down
                await over.wait()
        servers.cancel_scope.cancel()
        nursery.cancel_scope.cancel()
    assert tasks() == before
    with pytest.raises(trio.ClosedResourceError):
        await here.receive()
    return finished


async def test_cancellation_at_any_time_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    finished, runs = False, 0
    while not finished:

        async def cancel(scope: trio.CancelScope, at: float = runs * 0.003) -> None:
            await trio.sleep(at)
            scope.cancel()

        finished = await _run_and_cancel(simulated(), cancel)
        runs += 1
    assert runs > 20


async def test_cancellation_at_any_checkpoint_leaves_nothing_behind(
    autojump_clock: MockClock,
) -> None:
    finished, runs = False, 0
    while not finished:

        async def cancel(scope: trio.CancelScope, checkpoints: int = runs) -> None:
            for _ in range(checkpoints):
                await trio.lowlevel.checkpoint()
            scope.cancel()

        finished = await _run_and_cancel(in_memory(), cancel)
        runs += 1
    assert runs > 20


async def test_a_broken_link_ends_the_association(autojump_clock: MockClock) -> None:
    here, there = in_memory()
    async with pair(links=(here, there)) as (client, _server):
        await there.aclose()
        with pytest.raises(rtcsctp.LinkBroken, match="other end of the link was closed") as info:
            await client.stream(0).receive()
    assert info.value.reason is CloseReason.UNREACHABLE


async def test_a_link_that_breaks_before_the_handshake(autojump_clock: MockClock) -> None:
    here, there = in_memory()
    await there.aclose()
    for initiate in (True, False):
        with pytest.raises(rtcsctp.LinkBroken):
            async with rtcsctp.open_association(here, initiate=initiate):
                pytest.fail("entered")
        here, there = in_memory()
        await there.aclose()


async def test_garbage_is_counted_and_otherwise_ignored(autojump_clock: MockClock) -> None:
    here, there = simulated()
    rng = random.Random(5)
    async with pair(links=(here, there)) as (client, server):
        for size in (0, 1, 11, 12, 16, 50, 1200):
            await there.send([rng.randbytes(size)])
        await server.stream(0).send(b"fine")
        assert (await client.stream(0).receive()).data == b"fine"
        assert sum(client.statistics().drops.values()) == 7
