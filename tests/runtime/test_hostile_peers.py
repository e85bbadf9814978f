"""Forgers on the path: what they send changes nothing, is counted, and nothing piles up.

The forger here can send from any address, its victim's peer's included, but cannot read what the
two say to each other. It knows ports and user fragments, and never the passwords.
"""

from __future__ import annotations

import gc
import random
import struct
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
import trio.testing

from rtcsctp.errors import DescriptionError
from rtcsctp.ice.agent import Agent
from rtcsctp.ice.events import IceState
from rtcsctp.ice.stun import (
    Attribute,
    Method,
    StunClass,
    build,
    encode_error,
    encode_uint32,
    encode_xor_address,
    short_term_key,
)
from rtcsctp.runtime.errors import ServerBusyError
from rtcsctp.runtime.peer import PeerConnection, open_peer
from rtcsctp.runtime.serve import Server
from rtcsctp.runtime.shared import MAX_FRAGMENTS
from rtcsctp.testing import Conditions, SimulatedHost

from .peers import World, connected_peers, exchange, make_world, open_channel, two_peers
from .test_serve import client_of, server_on

Address = tuple[str, int]

STRANGER: Address = ("203.0.113.66", 6666)


def stun_forgeries(rng: random.Random, ufrag: str, other: str) -> list[bytes]:
    """STUN of every class and method, with everything but the right integrity."""
    made = []
    key = short_term_key("a password that nobody has")
    name = (int(Attribute.USERNAME), f"{ufrag}:{other}".encode())
    base = [
        (int(Attribute.PRIORITY), encode_uint32(0x7FFFFFFF)),
        (int(Attribute.ICE_CONTROLLING), b"\xff" * 8),
    ]
    nominate = [*base, (int(Attribute.USE_CANDIDATE), b"")]
    conflict = [(int(Attribute.ERROR_CODE), encode_error(487, "Role Conflict"))]
    revoked = [(int(Attribute.ERROR_CODE), encode_error(403, "Forbidden"))]
    challenge = [
        (int(Attribute.ERROR_CODE), encode_error(401, "Unauthorized")),
        (int(Attribute.REALM), b"realm"),
        (int(Attribute.NONCE), b"nonce"),
    ]
    for method in Method:
        for message_class in StunClass:
            for attributes in ([], base, [name, *nominate], conflict, revoked, challenge):
                for use in (None, key):
                    identity = rng.randbytes(12)
                    made.append(build(method, message_class, identity, attributes, key=use))
    identity = rng.randbytes(12)
    mapped = [(int(Attribute.XOR_MAPPED_ADDRESS), encode_xor_address(STRANGER, identity))]
    made.append(build(Method.BINDING, StunClass.SUCCESS, identity, mapped, key=key))
    data = [
        (int(Attribute.XOR_PEER_ADDRESS), encode_xor_address(STRANGER, identity)),
        (int(Attribute.DATA), b"\x16\xfe\xfd" + bytes(60)),
    ]
    made.append(build(Method.DATA, StunClass.INDICATION, identity, data))
    made.append(build(Method.BINDING, StunClass.REQUEST, identity, [name, *nominate])[:-1])
    return made


def record(kind: int, epoch: int, body: bytes, sequence: int = 0) -> bytes:
    return struct.pack(">BHHHIH", kind, 0xFEFD, epoch, 0, sequence, len(body)) + body


def dtls_forgeries(rng: random.Random) -> list[bytes]:
    """Records that are well formed, and nobody's: all that one can send without the keys."""
    hello = b"\x01" + (60).to_bytes(3, "big") + bytes(8) + b"\xfe\xfd" + rng.randbytes(60)
    return [
        record(21, 0, b"\x02\x28"),  # fatal: handshake failure
        record(21, 0, b"\x01\x00"),  # close_notify
        record(21, 1, b"\x01\x00", 1 << 20),
        record(21, 1, rng.randbytes(26), 5),
        record(22, 0, hello),
        record(22, 0, b"\x02" + hello[1:]),
        record(22, 1, rng.randbytes(80), 9),
        record(20, 0, b"\x01"),
        record(23, 0, b"SCTP in the clear" * 4),
        record(23, 1, rng.randbytes(100), 1 << 30),
        record(23, 1, b"", 7),
        record(23, 65535, rng.randbytes(50)),
        record(24, 1, rng.randbytes(40)),
        record(22, 0, hello)[:20],
        record(23, 1, b"", 0) + record(21, 0, b"\x02\x00"),
        b"\x16",
        b"\x17\xfe\xfd",
        b"\x3f" + bytes(12),
    ]


def other_forgeries(rng: random.Random) -> list[bytes]:
    abort = b"\x06\x00\x00\x04"
    sctp = struct.pack(">HHII", 5000, 5000, rng.getrandbits(32), 0) + abort
    return [
        b"",
        b"\x00",
        sctp,
        b"\x40\x00\x00\x04" + bytes(4),  # ChannelData of TURN
        b"\x4f\xff\xff\xff",
        b"\x80" + bytes(40),  # RTP
        bytes(1500),
        *(rng.randbytes(rng.choice([1, 2, 12, 20, 100, 1500])) for _ in range(40)),
        *(bytes([first]) + rng.randbytes(65_506) for first in (0, 20, 22, 23, 63, 64, 128)),
    ]


def all_forgeries(seed: int, ufrag: str = "none", other: str = "none") -> list[bytes]:
    rng = random.Random(seed)
    found = stun_forgeries(rng, ufrag, other) + dtls_forgeries(rng) + other_forgeries(rng)
    rng.shuffle(found)
    return found


def ufrag_of(peer: PeerConnection) -> str:
    return peer.statistics().ice.local_ufrag


def sockets_of(peer: PeerConnection) -> list[Address]:
    description = peer.local_description
    assert description is not None
    found = []
    for line in description.sdp.splitlines():
        if line.startswith("a=candidate:"):
            words = line.split()
            found.append((words[4], int(words[5])))
    return found


def bombard(
    host: SimulatedHost, target: Address, sources: list[Address], datagrams: list[bytes]
) -> None:
    for datagram in datagrams:
        for source in sources:
            host.inject(datagram, source, target)


def held() -> int:
    """Bytes that are in use, while tracemalloc looks."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def counted(peer: PeerConnection) -> int:
    """All that was counted as dropped, anywhere."""
    statistics = peer.statistics()
    counters = statistics.ice.counters
    count = sum(
        counters[name]
        for name in (
            "malformed",
            "not_validated",
            "refused_requests",
            "forged_responses",
            "unknown_responses",
        )
    )
    if statistics.dtls is not None:
        dtls = statistics.dtls
        count += dtls.datagrams_dropped + dtls.records_dropped + dtls.alerts_ignored
    return count


# ----------------------------------------------------------------------------------- during set-up


@pytest.mark.parametrize("seed", range(3))
async def test_forgeries_at_every_moment_of_the_setup_change_nothing(
    autojump_clock: trio.testing.MockClock, seed: int
) -> None:
    """Every 5 ms from the first socket to the first message, from a stranger and in the name of
    each peer: before ICE, between ICE and DTLS, during DTLS, and during the SCTP handshake."""
    world = make_world(Conditions(delay=0.03), seed=seed + 1)
    bombs = 0

    async def forge() -> None:
        nonlocal bombs
        rng = random.Random(seed)
        pairs = ((world.left, left, right), (world.right, right, left))
        while True:
            for host, victim, peer in pairs:
                if victim.local_description is None or peer.local_description is None:
                    continue
                chosen = rng.sample(
                    all_forgeries(rng.getrandbits(32), ufrag_of(victim), ufrag_of(peer)), 25
                )
                for target in sockets_of(victim):
                    bombard(host, target, [STRANGER, *sockets_of(peer)], chosen)
                    bombs += 2 * len(chosen)
            await trio.sleep(0.005)

    async with two_peers(world) as (left, right), trio.open_nursery() as nursery:
        nursery.start_soon(forge)
        await trio.sleep(0.02)
        offer = await left.offer()
        await trio.sleep(0.02)
        answer = await right.answer(offer)
        await trio.sleep(0.02)
        left.set_remote_description(answer)
        with trio.fail_after(30):
            await left.wait_connected()
            await right.wait_connected()
            near, far = await open_channel(left, right)
            for number in range(20):
                await near.send(str(number))
                assert await far.receive() == str(number)
        nursery.cancel_scope.cancel()
    assert bombs > 1000


@pytest.mark.parametrize("direction", ["to the offerer", "to the answerer"])
async def test_forged_packets_change_nothing_once_connected(
    autojump_clock: trio.testing.MockClock, direction: str
) -> None:
    world = make_world()
    async with connected_peers(world) as (left, right):
        near, far = await open_channel(left, right)
        await trio.sleep(5)  # pairs settled
        host, victim, peer = (
            (world.left, left, right)
            if direction == "to the offerer"
            else (world.right, right, left)
        )
        (target,) = sockets_of(victim)
        sources = [STRANGER, *sockets_of(peer)]
        pair = victim.selected_pair
        controlling = victim.statistics().ice.controlling
        assert pair is not None
        events = victim.events()
        before, bombs = counted(victim), 0
        for seed in range(4):
            datagrams = all_forgeries(seed, ufrag_of(victim), ufrag_of(peer))
            bombard(host, target, sources, datagrams)
            bombs += len(sources) * len(datagrams)
            await near.send(str(seed))
            assert await far.receive() == str(seed)
            await far.send(str(seed))
            assert await near.receive() == str(seed)
        await trio.sleep(60)
        after = victim.selected_pair
        assert after is not None
        assert (after.local, after.remote) == (pair.local, pair.remote)
        assert victim.statistics().ice.controlling is controlling
        assert victim.ice_state is IceState.COMPLETED
        assert victim.connection_state.value == "connected"
        assert not events.statistics().current_buffer_used
        # Binding indications are keepalives, and nothing to count.
        assert counted(victim) - before >= bombs * 0.8
        await near.send("end")
        assert await far.receive() == "end"


async def test_replayed_datagrams_change_nothing(autojump_clock: trio.testing.MockClock) -> None:
    world = make_world()
    seen: list[tuple[bytes, Address, Address]] = []
    put = world.left.put

    def tap(datagram: bytes, source: Address, destination: Address) -> None:
        seen.append((datagram, source, destination))
        put(datagram, source, destination)

    world.left.put = tap  # type: ignore[method-assign]
    async with connected_peers(world) as (left, right):
        near, far = await open_channel(left, right)
        for number in range(50):
            await near.send(str(number))
            assert await far.receive() == str(number)
        before = far.statistics().messages_received
        pair = right.selected_pair
        for datagram, source, destination in seen.copy():  # the whole connection, once more
            world.right.inject(datagram, source, destination)
            world.right.inject(datagram, STRANGER, destination)
        await trio.sleep(2)
        for number in range(50):
            await near.send(f"again {number}")
            assert await far.receive() == f"again {number}"
        assert far.statistics().messages_received == before + 50
        after = right.selected_pair
        assert pair is not None
        assert after is not None
        assert after.remote == pair.remote
        with trio.move_on_after(1) as scope:
            await right.incoming.receive()
        assert scope.cancelled_caught


async def test_flood_does_not_pile_up(autojump_clock: trio.testing.MockClock) -> None:
    world = make_world()
    async with connected_peers(world) as (left, right):
        near, far = await open_channel(left, right)
        (target,) = sockets_of(right)
        (known,) = sockets_of(left)
        rng = random.Random(1)

        async def flood(count: int) -> None:
            for number in range(count):
                source = (f"203.0.{number % 256}.{number // 256 % 256}", 1 + number % 60_000)
                datagrams = all_forgeries(rng.getrandbits(32), ufrag_of(right), ufrag_of(left))
                bombard(world.right, target, [source, known], rng.sample(datagrams, 20))
                await trio.sleep(0.01)

        await flood(20)
        tracemalloc.start()
        try:
            await flood(10)
            first = held()
            await flood(40)
            grown = held() - first
        finally:
            tracemalloc.stop()
        assert grown < 500_000
        await near.send("x")
        assert await far.receive() == "x"


# --------------------------------------------------------------------------------------- at `serve`


@asynccontextmanager
async def clients_of(
    server: Server, world: World, count: int
) -> AsyncIterator[list[PeerConnection]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(client_of(server, world, number))
            for number in range(count)
        ]


@pytest.mark.parametrize("lite", [False, True])
async def test_forgeries_to_a_server_touch_none_of_its_peers(
    autojump_clock: trio.testing.MockClock, lite: bool
) -> None:
    world = make_world()
    async with server_on(world, ice_lite=lite) as server, clients_of(server, world, 8) as clients:
        (target,) = server.addresses
        channels = [client.create_channel() for client in clients]
        for number, channel in enumerate(channels):
            await channel.send(str(number))
            assert await channel.receive() == str(number)
        routes = server.routes
        names = [session.peer.statistics().ice.local_ufrag for session in server.sessions.values()]
        for seed, client in enumerate(clients):
            datagrams = all_forgeries(seed, names[seed % len(names)], ufrag_of(client))
            bombard(world.right, target, [STRANGER, *sockets_of(client)], datagrams)
            await trio.sleep(0.01)
        await trio.sleep(40)
        assert server.routes == routes
        assert len(server.sessions) == len(clients)
        for number, channel in enumerate(channels):
            await channel.send(f"after {number}")
            assert await channel.receive() == f"after {number}"
        strays = server.strays
        assert strays.malformed > 0
        assert strays.unknown_peer > 0
        assert strays.strays > 0


@pytest.mark.parametrize("lite", [False, True])
async def test_peer_of_a_server_cannot_take_the_datagrams_of_another(
    autojump_clock: trio.testing.MockClock, lite: bool
) -> None:
    """A peer knows the password of its own session, so it can authenticate requests that seem to
    come from the address of another peer."""
    world = make_world()
    async with server_on(world, ice_lite=lite) as server, clients_of(server, world, 2) as clients:
        victim, attacker = clients
        channel = victim.create_channel()
        await channel.send("before")
        assert await channel.receive() == "before"
        (target,) = server.addresses
        claim = forger_of(attacker, server)
        for _ in range(60):
            world.right.inject(claim(), sockets_of(victim)[0], target)
            await trio.sleep(0.5)
            with trio.fail_after(1):
                await channel.send("x")
                assert await channel.receive() == "x"
        assert victim.connection_state.value == "connected"


def forger_of(peer: PeerConnection, server: Server) -> Callable[[], bytes]:
    """Makes authenticated requests of a peer's own session at a server."""
    ours, theirs = peer.local_description, peer.remote_description
    assert ours is not None
    assert theirs is not None
    rng = random.Random(7)
    names = [description.sdp.split("a=ice-ufrag:")[1].split()[0] for description in (theirs, ours)]
    password = theirs.sdp.split("a=ice-pwd:")[1].split()[0]
    assert any(
        session.peer.statistics().ice.local_ufrag == names[0]
        for session in server.sessions.values()
    )

    def make() -> bytes:
        return build(
            Method.BINDING,
            StunClass.REQUEST,
            rng.randbytes(12),
            [
                (int(Attribute.USERNAME), ":".join(names).encode()),
                (int(Attribute.PRIORITY), encode_uint32(1)),
                (int(Attribute.ICE_CONTROLLING), b"\xff" * 8),
            ],
            key=short_term_key(password),
        )

    return make


async def test_addresses_that_a_peer_claims_are_bounded(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = make_world()
    async with server_on(world) as server, clients_of(server, world, 2) as clients:
        channel = clients[0].create_channel()
        await channel.send("before")
        assert await channel.receive() == "before"
        (target,) = server.addresses
        claim = forger_of(clients[1], server)
        most = 0
        for number in range(3000):
            source = (f"203.0.{number // 250}.{1 + number % 250}", 4000)
            world.right.inject(claim(), source, target)
            if number % 50 == 0:
                await trio.sleep(0.02)
                most = max(most, server.routes)
        assert most < 600
        await channel.send("after")
        assert await channel.receive() == "after"


async def test_client_that_begins_anew_on_its_old_port_is_heard_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its old connection is still there for the server, and so is the claim on the address."""
    world = make_world()
    async with server_on(world) as server:
        forwarded = world.network.a_to_b
        async with client_of(server, world, 1, port_range=(5000, 5000)) as old:
            channel = old.create_channel()
            await channel.send("old")
            assert await channel.receive() == "old"
            forwarded.conditions = Conditions(loss=1.0)  # it dies without a word
        forwarded.conditions = Conditions(delay=0.01)
        assert len(server.sessions) == 1
        with trio.fail_after(5):
            async with client_of(server, world, 2, port_range=(5000, 5000)) as new:
                channel = new.create_channel()
                await channel.send("new")
                assert await channel.receive() == "new"


async def test_many_restarts_leave_few_fragments(autojump_clock: trio.testing.MockClock) -> None:
    world = make_world()
    async with server_on(world) as server, client_of(server, world) as client:
        channel = client.create_channel()
        (session,) = server.sessions.values()
        before = server.routes
        for number in range(100):
            client.set_local_description(client.create_offer(ice_restart=True))
            assert client.local_description is not None
            session.peer.set_remote_description(client.local_description)
            session.peer.set_local_description()
            assert session.peer.local_description is not None
            client.set_remote_description(session.peer.local_description)
            await channel.send(str(number))
            assert await channel.receive() == str(number)
        assert server.routes <= before + MAX_FRAGMENTS


async def test_answers_nobody_asked_for_do_not_make_a_server_ask_every_peer(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    asked = 0
    owns = Agent.owns_transaction

    def count(self: Agent, transaction_id: bytes) -> bool:
        nonlocal asked
        asked += 1
        return owns(self, transaction_id)

    async with server_on(world) as server, clients_of(server, world, 20):
        await trio.sleep(5)
        (target,) = server.addresses
        monkeypatch.setattr(Agent, "owns_transaction", count)
        rng = random.Random(1)
        for _ in range(100):
            forged = build(Method.BINDING, StunClass.SUCCESS, rng.randbytes(12), [])
            world.right.inject(forged, STRANGER, target)
        await trio.sleep(0.1)
        assert asked <= 100  # the first one, perhaps, asks those of whom it is not known yet


# ---------------------------------------------------------------------------------- half-open peers


async def test_thousand_half_open_peers_cost_little_and_expire(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = make_world()
    limits = {"max_half_open": 1000, "setup_timeout": 30}
    async with (
        server_on(world, limits=limits) as server,
        open_peer(world.config(world.left)) as peer,
    ):
        offer = await peer.offer()
        world.network.a_to_b.conditions = Conditions(loss=1.0)
        world.network.b_to_a.conditions = Conditions(loss=1.0)
        await server.answer(offer)
        tracemalloc.start()
        try:
            for _ in range(99):
                await server.answer(offer)
            each = held() / 99
        finally:
            tracemalloc.stop()
        assert each < 120_000
        for _ in range(900):
            await server.answer(offer)
        assert server.half_open == 1000
        assert server.routes <= 1000
        await trio.sleep(35)
        assert (server.half_open, len(server.sessions), server.routes) == (0, 0, 0)
        assert server.expired == 1000


async def test_offers_that_all_come_at_once_are_bounded_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = make_world()
    limits = {"max_half_open": 10, "max_peers": 1000}
    async with (
        server_on(world, limits=limits) as server,
        open_peer(world.config(world.left)) as peer,
    ):
        offer = await peer.offer()
        taken = refused = 0

        async def ask() -> None:
            nonlocal taken, refused
            try:
                await server.answer(offer)
                taken += 1
            except ServerBusyError:
                refused += 1

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(ask)
        assert (taken, refused) == (10, 90)
        # Who gives up while it waits leaves no trace either.
        for session in list(server.sessions.values()):
            session.close()
        await trio.sleep(1)
        with trio.CancelScope() as scope:
            scope.cancel()
            await server.answer(offer)
        await trio.sleep(1)
        assert (server.half_open, len(server.sessions), server.routes) == (0, 0, 0)


async def test_slow_drip_of_half_open_peers_does_not_grow_anything(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = make_world()
    async with (
        server_on(world, limits={"setup_timeout": 5}) as server,
        open_peer(world.config(world.left)) as peer,
    ):
        offer = await peer.offer()
        world.network.a_to_b.conditions = Conditions(loss=1.0)

        async def drip(count: int) -> None:
            for _ in range(count):
                await server.answer(offer)
                await trio.sleep(0.5)

        await drip(30)
        tracemalloc.start()
        try:
            await drip(30)
            await trio.sleep(10)
            first = held()
            await drip(100)
            await trio.sleep(10)
            grown = held() - first
        finally:
            tracemalloc.stop()
        assert grown < 100_000
        assert (server.half_open, len(server.sessions), server.routes) == (0, 0, 0)
        assert server.expired == 160


async def test_peers_that_come_and_go_leave_nothing(autojump_clock: trio.testing.MockClock) -> None:
    world = make_world()
    async with server_on(world) as server:
        for number in range(30):
            async with client_of(server, world, number) as client:
                channel = client.create_channel()
                await channel.send("x")
                assert await channel.receive() == "x"
                if number % 3 == 0:
                    await client.abort()
                elif number % 3 == 1:
                    await client.aclose()
        await trio.sleep(90)
        assert (server.half_open, len(server.sessions), server.routes) == (0, 0, 0)


async def test_packets_of_an_unfinished_handshake_are_bounded(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The answerer can send as soon as ICE has a path, long before its answer is here."""
    world = make_world()
    async with two_peers(world) as (left, right):
        offer = await left.offer()
        answer = await right.answer(offer)
        await trio.sleep(1)
        (target,) = sockets_of(left)
        tracemalloc.start()
        try:
            first = held()
            for _ in range(50):
                for source in (STRANGER, *sockets_of(right)):
                    for _ in range(10):
                        world.left.inject(b"\x16" + bytes(65_506), source, target)
                await trio.sleep(0.1)
            grown = held() - first
        finally:
            tracemalloc.stop()
        assert grown < 4_000_000
        left.set_remote_description(answer)
        with trio.fail_after(60):
            await left.wait_connected()


async def test_exchange_with_oneself_comes_to_an_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A forger at the signalling gives a peer its own offer as an offer of another peer."""
    world = make_world()
    async with two_peers(world) as (left, right):
        offer = await left.offer()
        with pytest.raises(DescriptionError, match="setup"):
            left.set_remote_description({"type": "answer", "sdp": offer.sdp})
        await right.answer({"type": "offer", "sdp": offer.sdp})
        assert right.local_description is not None
        left.set_remote_description(right.local_description)
        await left.wait_connected()
    async with two_peers(world) as (left, right):
        await exchange(left, right)
        await left.wait_connected()


def test_forgeries_are_many() -> None:
    assert len(all_forgeries(1)) > 400
