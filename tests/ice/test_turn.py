"""The TURN client against a scripted server (RFC 8656)."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.ice.candidate import Address
from rtcsctp.ice.stun import Attribute, Method, StunClass, build, encode_uint32, parse_untrusted
from rtcsctp.ice.turn import (
    Allocated,
    AllocationFailed,
    AllocationLost,
    AlternateServer,
    PermissionFailed,
    TurnState,
)
from rtcsctp.ice.turn_peers import MAX_CHANNELS, MAX_HELD, MAX_PERMISSIONS

from .turn_script import (
    MAPPED,
    PEER,
    PEER6,
    RELAYED,
    RELAYED6,
    SERVER,
    URL,
    Exchange,
    ScriptedServer,
    allocated,
)

DTLS = b"\x16hello"
CHECK = b"\0\1check"

# ---------------------------------------------------------------------------------- allocation


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("sha256", [False, True])
def test_allocation_after_a_challenge(stream: bool, sha256: bool) -> None:
    # client                server
    #   Allocate          ->
    #                     <- 401, realm, nonce
    #   Allocate, signed  ->
    #                     <- success
    exchange = Exchange(ScriptedServer(sha256=sha256), stream=stream)
    client, server = exchange.client, exchange.server
    client.start(exchange.now)
    client.start(exchange.now)
    exchange.settle()
    assert exchange.take_events() == [Allocated(RELAYED, MAPPED, 600.0)]
    assert client.state is TurnState.ALLOCATED
    assert (client.relayed, client.mapped) == (RELAYED, MAPPED)
    first, second = server.requests
    assert first.username is None
    assert not first.has_integrity
    assert first.get(Attribute.REQUESTED_TRANSPORT) == b"\x11\0\0\0"
    assert first.get(Attribute.REQUESTED_ADDRESS_FAMILY) is None
    assert first.software == "rtcsctp"
    assert second.transaction_id != first.transaction_id
    assert second.realm == "example.org"
    if sha256:  # RFC 8489 9.2.5; its nonce asks for a hidden user name too
        assert second.username is None
        assert second.get(Attribute.USERHASH) is not None
        assert second.get(Attribute.PASSWORD_ALGORITHM) == b"\0\2\0\0"
        assert second.get(Attribute.PASSWORD_ALGORITHMS) == b"\0\1\0\0\0\2\0\0"
    else:
        assert second.username == "user"


def test_an_ipv6_relayed_address_is_asked_for() -> None:
    server = ScriptedServer()
    server.relayed = RELAYED6
    exchange = allocated(server, relayed_families=(6,))
    assert server.requests[0].get(Attribute.REQUESTED_ADDRESS_FAMILY) == b"\2\0\0\0"
    assert exchange.client.relayed == RELAYED6


def test_the_other_family_is_asked_for_where_there_is_none_of_the_first() -> None:
    # client                              server
    #   Allocate, signed                ->
    #                                   <- 440
    #   Allocate, IPv6, signed          ->
    #                                   <- success
    server = ScriptedServer()
    server.errors = [(Method.ALLOCATE, 440)]
    server.relayed = RELAYED6
    server.also_relayed = [("0.0.0.0", 0)]  # as coturn 4.6 has it
    exchange = Exchange(server, relayed_families=(4, 6))
    exchange.client.permit(PEER[0], exchange.now)
    exchange.client.permit(PEER6[0], exchange.now)
    exchange.client.start(exchange.now)
    exchange.settle()
    asked = [request.get(Attribute.REQUESTED_ADDRESS_FAMILY) for request in server.requests[:3]]
    assert asked == [None, None, b"\2\0\0\0"]
    assert exchange.client.relayed == RELAYED6
    allocated_event, refused = exchange.take_events()
    assert isinstance(allocated_event, Allocated)
    assert isinstance(refused, PermissionFailed)  # known only now
    assert (refused.peer_host, refused.code) == (PEER[0], 443)
    (permission,) = [m for m in server.requests if m.method == Method.CREATE_PERMISSION]
    assert permission.xor_peer_address == (PEER6[0], 0)


def test_neither_family_is_a_failure() -> None:
    server = ScriptedServer()
    server.errors = [(Method.ALLOCATE, 440)] * 2
    exchange = Exchange(server, relayed_families=(6, 4))
    exchange.client.start(exchange.now)
    exchange.settle()
    (event,) = exchange.take_events()
    assert isinstance(event, AllocationFailed)
    assert event.code == 440
    assert server.seen() == ["ALLOCATE"] * 3


def test_a_family_that_is_of_use_is_taken_unasked() -> None:
    server = ScriptedServer()
    server.relayed = RELAYED6
    assert allocated(server, relayed_families=(4, 6)).client.relayed == RELAYED6


def test_transactions_are_known() -> None:
    exchange = Exchange()
    exchange.client.start(exchange.now)
    (request,) = exchange.client.poll_transmit(exchange.now)
    transaction_id = parse_untrusted(request).transaction_id
    assert exchange.client.owns_transaction(transaction_id)
    assert not exchange.client.owns_transaction(bytes(12))
    (answer,) = exchange.server.handle(request)
    exchange.deliver(answer)
    assert not exchange.client.owns_transaction(transaction_id)


def test_an_address_of_the_wrong_family_is_given_back() -> None:
    server = ScriptedServer()
    server.relayed = RELAYED6
    exchange = Exchange(server)
    exchange.client.start(exchange.now)
    exchange.settle()
    (event,) = exchange.take_events()
    assert isinstance(event, AllocationFailed)
    assert event.code == 440
    assert server.requests[-1].method == Method.REFRESH
    assert server.requests[-1].lifetime == 0


def test_a_wrong_password_is_said_so_at_once() -> None:
    exchange = Exchange(ScriptedServer("another"))
    exchange.client.start(exchange.now)
    exchange.settle()
    (event,) = exchange.take_events()
    assert isinstance(event, AllocationFailed)
    assert event.code == 401
    assert URL in event.reason
    assert "192.0.2.1" in event.reason
    assert "password" in event.reason
    assert exchange.server.seen() == ["ALLOCATE", "ALLOCATE"]
    assert exchange.client.state is TurnState.FAILED
    assert exchange.client.deadline is None


def test_silence_is_a_failure_after_seven_requests() -> None:
    server = ScriptedServer()
    server.silent = {Method.ALLOCATE}
    exchange = Exchange(server)
    exchange.client.start(exchange.now)
    exchange.run_until(exchange.now + 39.4)
    assert exchange.events == []
    assert len({m.transaction_id for m in server.requests}) == 1
    assert len(server.requests) == 7
    exchange.run_until(exchange.now + 0.2)
    (event,) = exchange.take_events()
    assert isinstance(event, AllocationFailed)
    assert event.code == 701
    assert "UDP" in event.reason


def test_silence_on_a_stream_is_one_request() -> None:
    server = ScriptedServer()
    server.silent = {Method.ALLOCATE}
    exchange = Exchange(server, stream=True)
    exchange.client.start(exchange.now)
    exchange.run_until(exchange.now + 40)
    assert len(server.requests) == 1
    assert [e.code for e in exchange.events if isinstance(e, AllocationFailed)] == [701]


@pytest.mark.parametrize("code", [400, 403, 442, 486, 508])
def test_refusals_are_final_and_explained(code: int) -> None:
    server = ScriptedServer()
    server.errors = [(Method.ALLOCATE, code)]
    exchange = Exchange(server)
    exchange.client.start(exchange.now)
    exchange.run_until(exchange.now + 60)
    (event,) = exchange.take_events()
    assert isinstance(event, AllocationFailed)
    assert event.code == code
    assert f"reason {code}" in event.reason
    assert server.seen() == ["ALLOCATE"] * 2


def test_an_unsigned_refusal_is_believed_only_when_nothing_better_comes() -> None:
    # RFC 8489 9.2.5: discarded "as if it had never been received", so retransmissions go on.
    server = ScriptedServer()
    server.signs_errors = False
    server.errors = [(Method.ALLOCATE, 508)]
    exchange = Exchange(server)
    exchange.client.start(exchange.now)
    exchange.settle()
    assert exchange.events == []
    exchange.run_until(exchange.now + 1)  # asked again, the server has a better answer
    assert exchange.take_events() == [Allocated(RELAYED, MAPPED, 600.0)]
    assert exchange.client.dropped == 1


def test_an_unsigned_refusal_again_and_again_is_reported_soon() -> None:
    server = ScriptedServer()
    server.signs_errors = False
    server.errors = [(Method.ALLOCATE, 400)] * 20
    exchange = Exchange(server)
    exchange.client.start(exchange.now)
    exchange.run_until(exchange.now + 4)
    (event,) = exchange.take_events()
    assert isinstance(event, AllocationFailed)
    assert event.code == 400
    assert "prove" in event.reason


def test_an_unsigned_refusal_on_a_stream_ends_the_request() -> None:
    server = ScriptedServer()
    server.signs_errors = False
    server.errors = [(Method.ALLOCATE, 508)]
    exchange = Exchange(server, stream=True)
    exchange.client.start(exchange.now)
    exchange.settle()
    assert [e.code for e in exchange.events if isinstance(e, AllocationFailed)] == [508]


def test_a_forged_success_is_not_believed() -> None:  # pitfall W14
    server = ScriptedServer()
    exchange = Exchange(server)
    client = exchange.client
    client.start(exchange.now)
    (first,) = client.poll_transmit(exchange.now)
    exchange.deliver(server.handle(first)[0])
    (second,) = client.poll_transmit(exchange.now)
    request = parse_untrusted(second)
    forger = ScriptedServer("guess")
    answer = build(
        Method.ALLOCATE, StunClass.SUCCESS, request.transaction_id,
        [(Attribute.LIFETIME, encode_uint32(600))], key=forger.key(),
    )  # fmt: skip
    exchange.deliver(answer)
    exchange.settle()
    assert exchange.events == []
    exchange.deliver(server.handle(second)[0])
    exchange.settle()
    assert exchange.take_events() == [Allocated(RELAYED, MAPPED, 600.0)]


def test_an_old_allocation_of_ours_is_cleared_away() -> None:
    # client                server
    #   Allocate, signed  ->
    #                     <- 437
    #   Refresh, 0        ->
    #                     <- success
    #   Allocate          ->
    #                     <- success
    server = ScriptedServer()
    server.errors = [(Method.ALLOCATE, 437)]
    exchange = allocated(server)
    assert server.seen() == ["ALLOCATE", "ALLOCATE", "REFRESH", "ALLOCATE"]
    assert server.requests[2].lifetime == 0
    assert exchange.client.state is TurnState.ALLOCATED


def test_an_old_allocation_that_the_server_clears_away_slowly() -> None:
    # coturn says 437 before it asks for credentials, never signs it, and takes a second to delete.
    # client                server
    #   Allocate          ->
    #                     <- 437
    #   Refresh, 0        ->
    #                     <- 401; success
    #   Allocate          ->
    #                     <- 437, not signed: not believed
    #   Allocate          -> (retransmission)
    #                     <- success
    server = ScriptedServer()
    server.signs_errors = False
    server.early = [437]
    server.errors = [(Method.ALLOCATE, 437)]
    exchange = Exchange(server)
    exchange.client.start(exchange.now)
    exchange.run_until(exchange.now + 1)
    assert exchange.take_events() == [Allocated(RELAYED, MAPPED, 600.0)]
    assert server.seen() == ["ALLOCATE", "REFRESH", "REFRESH", "ALLOCATE", "ALLOCATE"]


def test_an_old_allocation_of_somebody_else_is_a_failure() -> None:
    server = ScriptedServer()
    server.errors = [(Method.ALLOCATE, 437), (Method.REFRESH, 437), (Method.ALLOCATE, 437)]
    exchange = Exchange(server)
    exchange.client.start(exchange.now)
    exchange.settle()
    (event,) = exchange.take_events()
    assert isinstance(event, AllocationFailed)
    assert event.code == 437
    assert "port" in event.reason


def test_the_list_of_password_algorithms_must_not_vanish() -> None:
    # RFC 8489 9.2.5: the nonce says that there is one.
    server = ScriptedServer()
    server.nonce = b"obMatJos2gAAAnonce"
    exchange = Exchange(server)
    exchange.client.start(exchange.now)
    exchange.settle()
    (event,) = exchange.take_events()
    assert isinstance(event, AllocationFailed)
    assert "removed" in event.reason


# ------------------------------------------------------------------------------ another server


def test_another_server_is_followed_over_udp() -> None:
    other = ("192.0.2.2", 3479)
    exchange = Exchange()
    exchange.server.alternate = other
    exchange.others[other] = ScriptedServer()
    exchange.client.start(exchange.now)
    exchange.settle()
    assert exchange.take_events() == [AlternateServer(other), Allocated(RELAYED, MAPPED, 600.0)]
    assert exchange.client.address == other
    assert exchange.others[other].seen() == ["ALLOCATE", "ALLOCATE"]


def test_another_server_is_handed_on_over_a_stream() -> None:
    other = ("192.0.2.2", 3479)
    exchange = Exchange(stream=True)
    exchange.server.alternate = other
    exchange.client.start(exchange.now)
    exchange.settle()
    first, second = exchange.take_events()
    assert first == AlternateServer(other)
    assert isinstance(second, AllocationFailed)
    assert second.code == 300
    assert exchange.client.address == SERVER


def test_servers_that_send_us_round_in_circles_are_left() -> None:
    other = ("192.0.2.2", 3479)
    exchange = Exchange()
    exchange.server.alternate = other
    exchange.others[other] = ScriptedServer()
    exchange.others[other].alternate = SERVER
    exchange.client.start(exchange.now)
    exchange.settle()
    assert exchange.events[0] == AlternateServer(other)
    assert isinstance(exchange.events[1], AllocationFailed)
    assert "circles" in exchange.events[1].reason
    endless = Exchange()
    for number in range(20):
        address = ("192.0.2.3", 1000 + number)
        endless.others[address] = ScriptedServer()
        endless.others[address].alternate = ("192.0.2.3", 1001 + number)
    endless.server.alternate = ("192.0.2.3", 1000)
    endless.client.start(endless.now)
    endless.settle()
    assert len(endless.events) == 6
    assert endless.client.state is TurnState.FAILED


@pytest.mark.parametrize("target", ["127.0.0.1", "224.0.0.251", "0.0.0.0"])
def test_a_server_does_not_send_us_to_our_own_machine(target: str) -> None:
    exchange = Exchange()
    exchange.server.alternate = (target, 3478)
    exchange.client.start(exchange.now)
    exchange.settle()
    assert [type(e) for e in exchange.events] == [AllocationFailed]


# ---------------------------------------------------------------------------- permissions, data


def test_data_waits_for_the_permission_and_then_gets_a_channel() -> None:
    # client                server
    #   CreatePermission  ->
    #                     <- success
    #   Send(DTLS)        ->
    #   ChannelBind       ->
    #                     <- success
    #   ChannelData       ->
    exchange = allocated()
    server, client = exchange.server, exchange.client
    assert client.overhead(PEER) == 36
    assert client.overhead(PEER6) == 48
    assert exchange.send(DTLS) == []
    assert server.seen()[2:] == ["CREATE_PERMISSION", "CHANNEL_BIND"]
    (indication,) = server.indications
    assert indication.xor_peer_address == PEER
    assert indication.data == DTLS
    assert not indication.has_fingerprint
    assert len(indication.raw) == client_size(DTLS, 36)
    bound = server.requests[-1]
    assert bound.channel_number == 0x4000
    assert bound.xor_peer_address == PEER
    assert client.overhead(PEER) == 4
    assert exchange.send(DTLS, b"x" * 5) == [b"\x40\0\0\6" + DTLS, b"\x40\0\0\5xxxxx"]


def client_size(data: bytes, overhead: int) -> int:
    return overhead + (len(data) + 3 & ~3)


def test_channel_data_on_a_stream_is_padded() -> None:
    exchange = allocated(stream=True)
    exchange.send(DTLS)
    assert exchange.send(DTLS, b"12345678", b"") == [
        b"\x40\0\0\6" + DTLS + b"\0\0",
        b"\x40\0\0\x0812345678",
        b"\x40\0\0\0",
    ]


def test_checks_alone_bind_no_channel() -> None:
    exchange = allocated()
    exchange.send(CHECK)
    (second,) = exchange.send(CHECK)
    assert parse_untrusted(second).data == CHECK
    assert exchange.server.seen()[2:] == ["CREATE_PERMISSION"]


def test_permissions_asked_for_early_are_requested_with_the_allocation() -> None:
    exchange = Exchange()
    client = exchange.client
    client.permit(PEER[0], exchange.now)
    client.permit(PEER[0], exchange.now)
    client.start(exchange.now)
    client.permit("198.51.100.10", exchange.now)
    exchange.settle()
    assert exchange.server.seen()[2:] == ["CREATE_PERMISSION"] * 2
    exchange.deliver(exchange.server.data_indication(DTLS))
    assert exchange.received == [(DTLS, PEER)]


def test_data_of_hosts_without_permission_is_dropped() -> None:
    # RFC 8656 11.4: "discard the Data indication otherwise".
    exchange = allocated()
    exchange.deliver(exchange.server.data_indication(DTLS))
    assert exchange.received == []
    assert exchange.client.dropped == 1
    exchange.client.permit(PEER[0], exchange.now)
    exchange.settle()
    exchange.deliver(exchange.server.data_indication(b"", (PEER[0], 1)))  # ports do not count
    assert exchange.received == [(b"", (PEER[0], 1))]


def test_data_on_a_channel_comes_from_its_peer() -> None:
    exchange = allocated()
    exchange.send(DTLS)
    batch = [b"\x40\0\0\3abc", b"\x40\0\0\3abcd", b"\x40\0\0\0"]
    assert exchange.client.handle_datagrams(batch, exchange.now) == [
        (b"abc", PEER),
        (b"abc", PEER),
        (b"", PEER),
    ]
    dropped = exchange.client.dropped
    for data in (b"\x40\0\0\4abc", b"\x40\1\0\1a", b"\x40", b"", b"\x50\0\0\0", b"\x40\0\0"):
        assert exchange.client.handle_datagrams([data], exchange.now) == []
    assert exchange.client.dropped == dropped + 6


def test_a_forbidden_peer_is_told_once_and_not_asked_for_again_at_once() -> None:
    server = ScriptedServer()
    server.errors = [(Method.CREATE_PERMISSION, 403)]
    exchange = allocated(server)
    exchange.send(DTLS)
    (event,) = exchange.take_events()
    assert isinstance(event, PermissionFailed)
    assert (event.peer_host, event.code) == (PEER[0], 403)
    assert exchange.send(DTLS) == []
    assert server.seen().count("CREATE_PERMISSION") == 1
    exchange.run_until(exchange.now + 61)
    exchange.send(DTLS)
    assert server.seen().count("CREATE_PERMISSION") == 2
    assert len(server.indications) == 1


def test_peers_of_another_family_are_refused_without_asking() -> None:
    exchange = allocated()
    exchange.client.permit(PEER6[0], exchange.now)
    exchange.settle()
    (event,) = exchange.take_events()
    assert isinstance(event, PermissionFailed)
    assert event.code == 443
    assert exchange.send(DTLS, peer=PEER6) == []
    assert exchange.server.seen() == ["ALLOCATE"] * 2


def test_without_a_channel_data_goes_by_send_indications() -> None:
    server = ScriptedServer()
    server.errors = [(Method.CHANNEL_BIND, 508)]
    exchange = allocated(server)
    exchange.send(DTLS)
    for _ in range(3):
        (one,) = exchange.send(DTLS)
        assert parse_untrusted(one).data == DTLS
    assert server.seen().count("CHANNEL_BIND") == 1
    assert exchange.events == []
    exchange.run_until(exchange.now + 61)
    exchange.send(DTLS)
    assert exchange.send(DTLS) == [b"\x40\0\0\6" + DTLS]


def test_what_waits_for_a_permission_is_bounded() -> None:
    server = ScriptedServer()
    server.silent = {Method.CREATE_PERMISSION}
    exchange = allocated(server)
    exchange.send(*[DTLS] * 100)
    exchange.send(*[DTLS] * 100)
    assert exchange.client.dropped == 200 - MAX_HELD
    exchange.run_until(exchange.now + 40)
    (event,) = exchange.take_events()
    assert isinstance(event, PermissionFailed)
    assert event.code == 701
    assert server.indications == []


def test_permissions_and_outstanding_requests_are_bounded() -> None:
    server = ScriptedServer()
    server.silent = {Method.CREATE_PERMISSION}
    exchange = allocated(server)
    client = exchange.client
    for number in range(1000):
        client.permit(f"10.0.{number >> 8}.{number & 255}", exchange.now)
    exchange.settle()
    assert server.seen().count("CREATE_PERMISSION") == 10  # RFC 8489 6.2
    refused = [e for e in exchange.events if isinstance(e, PermissionFailed)]
    assert len(refused) == 1000 - MAX_PERMISSIONS
    server.silent = set()
    exchange.run_until(exchange.now + 1)
    assert len({m.xor_peer_address for m in server.requests} - {None}) == MAX_PERMISSIONS


def test_channels_are_bounded_and_their_numbers_reused_late() -> None:
    exchange = allocated()
    peers: list[Address] = [(PEER[0], 1000 + number) for number in range(MAX_CHANNELS + 5)]
    for peer in peers:
        exchange.send(DTLS, peer=peer)
        exchange.send(DTLS, peer=peer)
    numbers = [m.channel_number for m in exchange.server.requests if m.channel_number]
    assert numbers == [0x4000 + number for number in range(MAX_CHANNELS)]
    # Nobody uses them: unbound after 600 s, and free for others 300 s later.
    exchange.run_until(exchange.now + 899)
    exchange.send(DTLS, peer=peers[-1])
    assert len(exchange.server.channel_data) == MAX_CHANNELS
    exchange.run_until(exchange.now + 2)
    exchange.send(DTLS, peer=peers[-1])
    exchange.send(DTLS, peer=peers[-1])
    assert exchange.server.channel_data[-1][:2] == (0x4000 + MAX_CHANNELS).to_bytes(2, "big")


def test_oversized_and_empty_datagrams_are_dropped_before_a_channel() -> None:
    exchange = allocated()
    exchange.send(CHECK)
    assert exchange.send(b"", b"x" * 65_500) == []
    assert exchange.client.dropped == 2


# ---------------------------------------------------------------------------------- in the long


def test_everything_is_renewed_in_time() -> None:
    exchange = allocated()
    server, client = exchange.server, exchange.client
    exchange.send(DTLS)
    server.requests.clear()
    start = exchange.now
    for second in range(0, 1200, 5):
        exchange.run_until(start + second)
        exchange.send(DTLS)
    seen = server.seen()
    assert seen.count("REFRESH") == 2  # at 540, 1080
    assert seen.count("CHANNEL_BIND") == 2  # at 540, 1080
    # At 240, 480; the channel's at 540 renews it too; 780, 1020.
    assert seen.count("CREATE_PERMISSION") == 4
    assert client.state is TurnState.ALLOCATED
    assert len(server.indications) == 1


def test_an_idle_channel_lapses_and_comes_back() -> None:
    exchange = allocated()
    exchange.send(DTLS)
    exchange.run_until(exchange.now + 700)
    assert exchange.server.seen().count("CHANNEL_BIND") == 1
    (one,) = exchange.send(DTLS)
    assert parse_untrusted(one).data == DTLS
    assert exchange.server.requests[-1].channel_number == 0x4000
    assert exchange.send(DTLS) == [b"\x40\0\0\6" + DTLS]


def test_a_permission_that_is_not_wanted_is_not_renewed() -> None:
    exchange = allocated()
    for host in (PEER[0], "198.51.100.10"):
        exchange.client.permit(host, exchange.now)
    exchange.settle()
    exchange.client.keep_only(["198.51.100.10", "198.51.100.11"])
    # It lasts until it lapses …
    exchange.deliver(exchange.server.data_indication(b"last words"))
    assert exchange.received == [(b"last words", PEER)]
    exchange.run_until(exchange.now + 290)
    asked = [m.xor_peer_address for m in exchange.server.requests if m.method == 8]
    assert asked == [(PEER[0], 0), ("198.51.100.10", 0), ("198.51.100.10", 0)]
    exchange.run_until(exchange.now + 20)
    exchange.deliver(exchange.server.data_indication(b"too late"))
    assert len(exchange.received) == 1
    # … and is asked for again when it is of use again.
    exchange.send(CHECK)
    assert exchange.server.requests[-1].xor_peer_address == (PEER[0], 0)
    assert exchange.server.indications[-1].data == CHECK


def test_stale_nonces_are_replaced() -> None:
    # client                server
    #   CreatePermission  ->
    #                     <- 438, new nonce
    #   CreatePermission  ->
    #                     <- success
    exchange = allocated()
    exchange.server.nonce = b"nonce-2"
    exchange.send(CHECK)
    assert exchange.server.seen()[2:] == ["CREATE_PERMISSION"] * 2
    assert exchange.server.requests[-1].nonce == b"nonce-2"
    assert exchange.server.indications
    assert exchange.events == []


def test_nonces_that_are_always_stale_end_the_request() -> None:
    exchange = allocated()
    server = exchange.server
    server.errors = [(Method.REFRESH, 438)] * 10
    exchange.run_until(exchange.now + 560)
    (event,) = exchange.take_events()
    assert isinstance(event, AllocationLost)
    assert server.seen().count("REFRESH") == 4


def test_a_lost_allocation_is_reported() -> None:
    for method in (Method.REFRESH, Method.CREATE_PERMISSION):
        server = ScriptedServer()
        exchange = allocated(server)
        server.errors = [(method, 437)]
        exchange.client.permit(PEER[0], exchange.now)
        exchange.run_until(exchange.now + 560)
        (event,) = exchange.take_events()
        assert isinstance(event, AllocationLost)
        assert URL in event.reason
        assert exchange.client.state is TurnState.FAILED
        assert exchange.send(DTLS) == []
        assert exchange.client.deadline is None


def test_a_server_that_vanishes_is_noticed_at_the_next_renewal() -> None:
    exchange = allocated()
    exchange.server.silent = {Method.REFRESH}
    exchange.run_until(exchange.now + 600)
    (event,) = exchange.take_events()
    assert isinstance(event, AllocationLost)
    assert "does not answer" in event.reason


def test_short_lifetimes_are_renewed_half_way() -> None:
    server = ScriptedServer()
    server.lifetime = 20
    exchange = allocated(server)
    exchange.run_until(exchange.now + 101)
    assert server.seen().count("REFRESH") == 10


# ------------------------------------------------------------------------------------- the end


def test_closing_gives_the_allocation_back() -> None:
    exchange = allocated()
    exchange.client.close(exchange.now)
    exchange.client.close(exchange.now)
    exchange.settle()
    assert exchange.client.state is TurnState.CLOSED
    assert exchange.server.requests[-1].lifetime == 0
    assert exchange.client.deadline is None
    assert exchange.events == []
    assert exchange.client.send([DTLS], PEER, exchange.now) == []
    exchange.client.permit(PEER[0], exchange.now)
    exchange.client.start(exchange.now)
    assert exchange.client.poll_transmit(exchange.now) == []


def test_closing_is_repeated_until_answered_or_given_up() -> None:
    exchange = allocated()
    exchange.server.silent = {Method.REFRESH}
    exchange.client.close(exchange.now)
    exchange.run_until(exchange.now + 40)
    assert exchange.client.state is TurnState.CLOSED
    assert exchange.server.seen().count("REFRESH") == 7


def test_closing_before_the_answer_gives_back_what_may_be_there() -> None:
    server = ScriptedServer()
    exchange = Exchange(server)
    exchange.client.start(exchange.now)
    exchange.deliver(server.handle(exchange.client.poll_transmit(exchange.now)[0])[0])
    exchange.client.poll_transmit(exchange.now)  # the signed request; its answer is late
    exchange.client.close(exchange.now)
    exchange.settle()
    assert server.seen() == ["ALLOCATE", "REFRESH"]
    assert exchange.client.state is TurnState.CLOSED
    new = Exchange()
    new.client.close(new.now)
    assert new.client.state is TurnState.CLOSED


def test_a_stream_that_ends_is_a_failure_or_the_end() -> None:
    early = Exchange(stream=True)
    early.client.start(early.now)
    early.client.stream_closed(early.now)
    early.settle()
    assert isinstance(early.events[0], AllocationFailed)
    late = allocated(stream=True)
    late.client.stream_closed(late.now)
    late.settle()
    assert [type(e) for e in late.events] == [AllocationLost]
    closing = allocated(stream=True)
    closing.client.close(closing.now)
    closing.client.stream_closed(closing.now)
    assert closing.client.state is TurnState.CLOSED


def test_a_stream_of_something_else_is_a_failure() -> None:
    exchange = Exchange(stream=True)
    exchange.client.start(exchange.now)
    exchange.deliver(b"SSH-2.0-OpenSSH_9.2p1\r\n")
    exchange.settle()
    assert "speaks no TURN" in str(exchange.events[0])
    assert exchange.client.state is TurnState.FAILED


# ------------------------------------------------------------------------------------- hostile


@pytest.mark.fuzz
@given(st.lists(st.binary(max_size=60), max_size=8), st.booleans(), st.booleans())
def test_any_bytes_from_the_server_do_no_harm(
    parts: list[bytes], stream: bool, header: bool
) -> None:
    exchange = allocated(stream=stream)
    exchange.send(DTLS)
    exchange.server.silent = set(Method)
    exchange.send(DTLS, peer=(PEER[0], 1))
    waiting = exchange.server.requests[-1].transaction_id
    for part in parts:
        data = part
        if header:
            data = build(Method.CHANNEL_BIND, len(part) & 3, waiting, [(len(part), part)])
        exchange.deliver(data)
    exchange.run_until(exchange.now + 1300)


@pytest.mark.fuzz
@given(st.integers(0, 2**32), st.integers(1, 30))
def test_changed_answers_do_no_harm(seed: int, changes: int) -> None:
    rng = random.Random(seed)
    exchange = Exchange()
    honest = exchange.server.handle

    def spoiled(data: bytes) -> list[bytes]:
        answers = [bytearray(answer) for answer in honest(data)]
        if rng.randrange(2):
            for answer in answers:
                for _ in range(rng.randint(0, changes)):
                    answer[rng.randrange(len(answer))] = rng.randrange(256)
        return [bytes(answer) for answer in answers]

    exchange.server.handle = spoiled  # type: ignore[method-assign]
    exchange.client.start(exchange.now)
    exchange.run_until(exchange.now + 50)
    exchange.send(DTLS)
    exchange.run_until(exchange.now + 700)
