"""SCTP in UDP (RFC 6951): a socket for many associations, or for one side of one."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import AsyncIterator

import trio

from rtcsctp.runtime.association import Association
from rtcsctp.runtime.background import background_tasks
from rtcsctp.runtime.batches import set_buffers
from rtcsctp.runtime.link import PacketRecorder
from rtcsctp.runtime.udp_endpoint import Handler, UdpEndpoint, resolve
from rtcsctp.runtime.udp_link import Address, family_of
from rtcsctp.sctp.config import Config

__all__ = ["ENCAPSULATION_PORT", "connect", "listen", "open_udp"]

ENCAPSULATION_PORT = 9899
"""The UDP port that IANA has registered for SCTP in UDP."""


def _bind(address: Address, host: str, port: int) -> socket.socket:
    sock = socket.socket(family_of(address), socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        set_buffers(sock)
        try:
            sock.bind(address)
        except OSError as error:
            reason = f"cannot bind UDP port {port} of {host}: {error.strerror}"
            raise OSError(error.errno, reason) from error
    except BaseException:
        sock.close()
        raise
    return sock


@contextlib.asynccontextmanager
async def open_udp(
    host: str = "0.0.0.0", port: int = 0, *, rng: random.Random | None = None
) -> AsyncIterator[UdpEndpoint]:
    """A UDP socket for associations. Leaving the block aborts those that are left.

    Args:
        host: address to bind to, which decides between IPv4 and IPv6: "0.0.0.0" is every IPv4
            address of the machine, "::" is every IPv6 address, and no IPv4 one.
        port: UDP port; 0 lets the system choose one.
        rng: source of tags, TSNs and secrets; by default `random.SystemRandom()`. For tests.

    Raises:
        OSError: the port is in use, or the address is not one of this machine; the message names
            them.
    """
    sock = _bind(await resolve((host, port)), host, port)
    endpoint = UdpEndpoint(sock, rng if rng is not None else random.SystemRandom())
    try:
        async with background_tasks() as nursery:
            nursery.start_soon(endpoint.run, name=f"UDP socket {endpoint.address}")
            yield endpoint
    finally:
        endpoint.close()


@contextlib.asynccontextmanager
async def connect(
    address: tuple[str, int],
    *,
    port: int,
    local_port: int | None = None,
    config: Config | None = None,
    udp: tuple[str, int] | None = None,
    rng: random.Random | None = None,
    capture: PacketRecorder | None = None,
) -> AsyncIterator[Association]:
    """An association on a UDP socket of its own; see `UdpEndpoint.connect`.

    Args:
        address: host and UDP port of the peer.
        port: the peer's SCTP port.
        local_port: our SCTP port; by default a random one from 49152 to 65535.
        config: its parameters.
        udp: host and UDP port to bind to; by default any of them, of the peer's family.
        rng: source of tags, TSNs and secrets; by default `random.SystemRandom()`. For tests.
        capture: records all its packets, like a `rtcsctp.testing.Capture`.

    Raises:
        OSError: the name is not known, or the local UDP port is in use.
        For others see `UdpEndpoint.connect`.
    """
    if udp is None:
        remote = await resolve(address)
        udp = ("::" if len(remote) > 2 else "0.0.0.0", 0)
    async with (
        open_udp(*udp, rng=rng) as endpoint,
        endpoint.connect(
            address, port=port, local_port=local_port, config=config, capture=capture
        ) as association,
    ):
        yield association


async def listen(
    handler: Handler,
    *,
    port: int,
    udp: tuple[str, int] = ("0.0.0.0", ENCAPSULATION_PORT),
    config: Config | None = None,
    rng: random.Random | None = None,
    capture: PacketRecorder | None = None,
    task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an SCTP port on a UDP socket of its own, for ever; see `UdpEndpoint.serve`.

    ``await nursery.start(partial(listen, handler, port=7, udp=("127.0.0.1", 0)))`` gives the host
    and UDP port that it is bound to.

    Raises:
        OSError: the UDP port is in use.
        For others see `UdpEndpoint.serve`.
    """
    async with open_udp(*udp, rng=rng) as endpoint:
        await endpoint.serve(
            handler, port=port, config=config, capture=capture, task_status=task_status
        )
