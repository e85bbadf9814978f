"""Datagrams by the batch, with the kernel's help and without it."""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from rtcsctp.runtime.batches import BatchSocket, set_buffers


def udp(family: int = socket.AF_INET) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        made.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
    made.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    return made


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[BatchSocket, BatchSocket]]:
    with udp(request.param) as one, udp(request.param) as other:
        yield BatchSocket(one), BatchSocket(other)


def receive_all(sock: BatchSocket) -> list[bytes]:
    found: list[bytes] = []
    while batch := sock.receive():
        found += [datagram for datagram, _ in batch]
    return found


def sizes_of(seed: int) -> list[int]:
    rng = random.Random(seed)
    sizes: list[int] = []
    while len(sizes) < 120:
        sizes += [rng.choice([0, 1, 100, 1200, 1232, 9000])] * rng.randint(1, 40)
    return sizes


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("segments", [True, False])
@pytest.mark.parametrize("joins", [True, False])
def test_what_is_sent_arrives_as_it_was(
    pair: tuple[BatchSocket, BatchSocket], segments: bool, joins: bool, seed: int
) -> None:
    sender, receiver = pair
    sender.segments = sender.segments and segments
    if receiver.joins and not joins:
        receiver.socket.setsockopt(17, 104, 0)  # SOL_UDP, UDP_GRO
        receiver.joins = False
    datagrams = [random.Random(n).randbytes(size) for n, size in enumerate(sizes_of(seed))]
    target = receiver.socket.getsockname()
    received: list[bytes] = []
    for start in range(0, len(datagrams), 50):  # a receive buffer's worth at a time
        part = datagrams[start : start + 50]
        assert sender.send(part, 0, target) == len(part)
        received += receive_all(receiver)
    assert received == datagrams
    assert sender.lost == 0


def test_datagrams_that_come_alone_do_not_hide_those_that_do_not(
    pair: tuple[BatchSocket, BatchSocket],
) -> None:
    sender, receiver = pair
    target = receiver.socket.getsockname()
    for number in range(10):
        sender.send([b"%d" % number], 0, target)
        assert [datagram for datagram, _ in receiver.receive()] == [b"%d" % number]
    several = [bytes(size) for size in range(100, 108)]  # each larger, so none are joined
    for calls in (8, 1):
        assert sender.send(several, 0, target) == 8
        found: list[bytes] = []
        for _ in range(calls):
            found += [datagram for datagram, _ in receiver.receive()]
        assert found == several
    assert receiver.receive() == []


def test_source_is_told(pair: tuple[BatchSocket, BatchSocket]) -> None:
    sender, receiver = pair
    sender.send([b"x" * 100] * 3, 0, receiver.socket.getsockname())
    sources = {source[:2] for _, source in receiver.receive()}
    assert sources == {sender.socket.getsockname()[:2]}


class Refusing:
    """A socket whose device refuses to cut buffers."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.sent: list[bytes] = []
        self.runs = 0

    def setsockopt(self, *_arguments: Any) -> None: ...

    def sendmsg(self, *_arguments: Any) -> int:
        self.runs += 1
        raise OSError(self.code, "refused")

    def sendto(self, datagram: bytes, _address: Any) -> int:
        if len(datagram) > 1400:
            raise OSError(errno.EMSGSIZE, "too long")
        self.sent.append(datagram)
        return len(datagram)


@pytest.mark.parametrize("code", [errno.EIO, errno.EOPNOTSUPP])
def test_refused_segmentation_is_not_tried_again(code: int) -> None:
    fake = Refusing(code)
    sock = BatchSocket(fake)  # type: ignore[arg-type]
    sock.segments = True
    datagrams = [bytes([n]) * 100 for n in range(20)]
    assert sock.send(datagrams, 0, ("192.0.2.1", 9)) == 20
    assert sock.send(datagrams, 0, ("192.0.2.1", 9)) == 20
    assert fake.sent == datagrams * 2
    assert fake.runs == 1
    assert not sock.segments
    assert sock.lost == 0


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EMSGSIZE])
def test_a_size_that_was_refused_goes_one_by_one_for_a_while(code: int) -> None:
    class TooLarge(Refusing):
        def sendmsg(self, run: Any, *_arguments: Any) -> int:
            self.runs += 1
            if len(run[0]) >= 1000:
                raise OSError(self.code, "refused")
            self.sent += run
            return sum(map(len, run))

    fake = TooLarge(code)
    sock = BatchSocket(fake)  # type: ignore[arg-type]
    sock.segments = True
    large = [bytes([n]) * 1000 for n in range(20)]
    small = [bytes([n]) * 999 for n in range(20)]
    for datagrams in (large, small, large):
        assert sock.send(datagrams, 0, ("192.0.2.1", 9)) == 20
    assert fake.sent == large + small + large
    assert fake.runs == 2  # the refused one, and the small ones
    for _ in range(60):
        sock.send(large, 0, ("192.0.2.1", 9))
    assert fake.runs == 3  # tried again: another path may take it
    assert sock.lost == 0
    assert sock.segments


def test_a_run_that_fails_for_another_reason_is_sent_one_by_one() -> None:
    """An ICMP error that waits on the socket is told once, by whatever comes first."""
    fake = Refusing(errno.ECONNREFUSED)
    sock = BatchSocket(fake)  # type: ignore[arg-type]
    sock.segments = True
    datagrams = [bytes([n]) * 100 for n in range(5)]
    assert sock.send(datagrams, 0, ("192.0.2.1", 9)) == 5
    assert fake.sent == datagrams
    assert sock.lost == 0
    assert sock.segments


def test_buffers_are_what_the_system_gives() -> None:
    with udp() as sock:
        before = BatchSocket(sock).receive_buffer
        set_buffers(sock)
        batches = BatchSocket(sock)
        assert batches.receive_buffer >= min(before, 4 << 20)
        assert batches.receive_buffer == sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        assert batches.send_buffer == sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)


def test_datagrams_that_are_too_long_are_lost_alone() -> None:
    fake = Refusing(errno.EMSGSIZE)
    sock = BatchSocket(fake)  # type: ignore[arg-type]
    sock.segments = True
    datagrams = [b"a" * 1500, b"b" * 1500, b"c" * 10]
    assert sock.send(datagrams, 0, ("192.0.2.1", 9)) == 3
    assert fake.sent == [b"c" * 10]
    assert sock.lost == 2
    assert sock.segments


def test_full_socket_says_where_to_go_on() -> None:
    class Full(Refusing):
        def sendto(self, datagram: bytes, _address: Any) -> int:
            if len(self.sent) == 3:
                raise BlockingIOError
            self.sent.append(datagram)
            return len(datagram)

    fake = Full(errno.EIO)
    sock = BatchSocket(fake)  # type: ignore[arg-type]
    sock.segments = False
    datagrams = [bytes([n]) for n in range(5)]
    assert sock.send(datagrams, 0, ("192.0.2.1", 9)) == 3
    fake.sent.clear()
    assert sock.send(datagrams, 3, ("192.0.2.1", 9)) == 5


def test_closed_socket_raises() -> None:
    sock = BatchSocket(udp())
    sock.socket.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        sock.receive()
    with pytest.raises(OSError, match="Bad file descriptor"):
        sock.send([b"x"], 0, ("127.0.0.1", 9))
