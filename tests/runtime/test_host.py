"""The real computer: UDP sockets, addresses, names and TCP."""

from __future__ import annotations

import errno
import ipaddress
import socket

import pytest
import trio
import trio.testing

from rtcsctp.runtime.alarm import Alarm
from rtcsctp.runtime.host import InterfaceAddress, SystemHost, UdpSocket

LOCALHOST = "127.0.0.1"


def test_addresses_are_canonical_and_have_no_zone() -> None:
    found = SystemHost().addresses()
    assert any(entry.is_loopback for entry in found)
    for entry in found:
        assert str(ipaddress.ip_address(entry.address)) == entry.address
        assert entry.interface


def test_kinds_of_addresses() -> None:
    assert InterfaceAddress("lo", "127.0.0.1").is_loopback
    assert InterfaceAddress("lo", "::1").is_loopback
    assert InterfaceAddress("eth0", "fe80::1").is_link_local
    assert InterfaceAddress("eth0", "169.254.1.1").is_link_local
    assert not InterfaceAddress("eth0", "192.0.2.1").is_link_local


async def test_datagrams_cross_in_order_and_whole() -> None:
    host = SystemHost()
    one, two = host.open_udp(LOCALHOST, 0), host.open_udp(LOCALHOST, 0)
    try:
        sent = [b"", b"x", bytes(1200), bytes(65_507)]
        await one.send(sent, two.address)
        got: list[tuple[bytes, tuple[str, int]]] = []
        with trio.fail_after(5):
            while len(got) < len(sent):
                got += await two.receive()
        assert got == [(datagram, one.address) for datagram in sent]
    finally:
        one.close()
        two.close()


async def test_port_that_is_taken_and_address_that_is_not_ours() -> None:
    host = SystemHost()
    sock = host.open_udp(LOCALHOST, 0)
    try:
        with pytest.raises(OSError, match="in use") as caught:
            host.open_udp(*sock.address)
        assert caught.value.errno == errno.EADDRINUSE
        with pytest.raises(OSError, match="ssign"):
            host.open_udp("192.0.2.1", 0)
    finally:
        sock.close()


async def test_what_cannot_be_sent_is_lost_and_counted() -> None:
    sock = UdpSocket(LOCALHOST, 0)
    target = (LOCALHOST, 9)
    await sock.send([bytes(65_536), b"x"], target)  # larger than UDP can carry
    assert sock.lost == 1
    sock.send_nowait([bytes(65_536), b"x"], target)
    assert sock.lost == 2
    await sock.send([b"x"], ("192.0.2.1", 0))
    assert sock.lost == 3
    sock.close()
    sock.send_nowait([b"x"], target)  # does nothing, and does not raise
    with pytest.raises(trio.ClosedResourceError):
        await sock.send([b"x"], target)
    sock.close()


async def test_closed_ports_of_others_do_not_disturb() -> None:
    """The kernel reports ICMP errors on the socket; anybody can forge them."""
    one, two = UdpSocket(LOCALHOST, 0), UdpSocket(LOCALHOST, 0)
    nobody = UdpSocket(LOCALHOST, 0)
    gone = nobody.address
    nobody.close()
    try:
        for _ in range(5):
            await one.send([b"x"], gone)
        await trio.sleep(0.05)
        await two.send([b"still"], one.address)
        with trio.fail_after(5):
            assert await one.receive() == [(b"still", two.address)]
    finally:
        one.close()
        two.close()


async def test_closing_wakes_the_receiver() -> None:
    sock = UdpSocket(LOCALHOST, 0)

    async def receive() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await sock.receive()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            sock.close()
    with pytest.raises(trio.ClosedResourceError):
        await sock.receive()


async def test_cancelled_receive_takes_nothing() -> None:
    one, two = UdpSocket(LOCALHOST, 0), UdpSocket(LOCALHOST, 0)
    try:
        await one.send([b"x"], two.address)
        with trio.CancelScope() as scope:
            scope.cancel()
            await two.receive()
        assert scope.cancelled_caught
        with trio.fail_after(5):
            assert await two.receive() == [(b"x", one.address)]
    finally:
        one.close()
        two.close()


async def test_names_and_addresses_are_resolved() -> None:
    host = SystemHost()
    assert await host.resolve("192.0.2.1") == ["192.0.2.1"]
    assert await host.resolve("2001:DB8:0::1") == ["2001:db8::1"]
    found = await host.resolve("localhost")
    assert found
    assert all(ipaddress.ip_address(address).is_loopback for address in found)
    with pytest.raises(OSError, match=r"."):
        await host.resolve("no-such-host.invalid")


async def test_tcp_connections_and_their_failures() -> None:
    host = SystemHost()
    with socket.socket() as free:
        free.bind((LOCALHOST, 0))
        closed = free.getsockname()
    with pytest.raises(OSError, match=r"."):
        await host.connect(closed)

    async def plain(stream: trio.SocketStream) -> None:
        await stream.send_all(b"no TLS here" * 10)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, plain, 0)
        port = listeners[0].socket.getsockname()[1]
        stream = await host.connect((LOCALHOST, port))
        assert await stream.receive_some(2) == b"no"
        await stream.aclose()
        with trio.fail_after(5), pytest.raises((OSError, trio.BrokenResourceError)):
            await host.connect((LOCALHOST, port), tls_name="localhost")
        nursery.cancel_scope.cancel()


# ------------------------------------------------------------------------------------------- alarms


async def test_alarm_follows_its_deadline(autojump_clock: trio.testing.MockClock) -> None:
    deadline: float | None = None
    rung: list[float] = []

    def act(now: float) -> None:
        nonlocal deadline
        rung.append(now)
        deadline = None

    alarm = Alarm("timer of a test", lambda: deadline, act)
    async with trio.open_nursery() as nursery:
        alarm.start(nursery)
        await trio.sleep(5)
        assert rung == []
        for wanted in (20.0, 10.0, 7.0, 9.0):  # earlier, earlier, later again
            deadline = wanted
            alarm.check()
            alarm.check()
        await trio.sleep(100)
        assert rung == [9.0]
        deadline = trio.current_time() - 1
        alarm.check()
        await trio.testing.wait_all_tasks_blocked()
        assert len(rung) == 2
        deadline = trio.current_time() + 1
        alarm.check()
        deadline = None
        await trio.sleep(10)
        assert len(rung) == 2
        nursery.cancel_scope.cancel()
