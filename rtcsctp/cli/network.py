"""What the commands have in common in dealing with the network."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial

import trio

from rtcsctp import Association, AssociationLost, Message, Stream, UdpEndpoint, open_udp
from rtcsctp.cli.arguments import Address
from rtcsctp.cli.failure import CommandError
from rtcsctp.runtime.link import PacketRecorder
from rtcsctp.runtime.udp_link import UdpLink

__all__ = ["bind_address", "first_loss", "listening", "peer_name", "receive_all", "refused"]


def bind_address(address: Address) -> tuple[str, int]:
    """Where to bind: no host means all IPv4 addresses of this machine."""
    return (address.host or "0.0.0.0", address.port)


@contextmanager
def refused(what: str) -> Iterator[None]:
    """Where a socket is opened.

    Raises:
        CommandError: "cannot `what`", as the host's name is not known, the port is in use, or the
            like.
    """
    try:
        yield
    except (OSError, UnicodeError) as error:  # UnicodeError: no host can have such a name
        inner = error.__cause__ if isinstance(error.__cause__, OSError) else error
        reason = inner.strerror if isinstance(inner, OSError) else None
        raise CommandError(f"cannot {what}: {reason or inner}") from error


@asynccontextmanager
async def listening(
    arguments: argparse.Namespace,
    handler: Callable[[Association], Awaitable[object]],
    capture: PacketRecorder | None,
    say: Callable[[str], object],
) -> AsyncIterator[None]:
    """Serve an SCTP port for the length of the block; what is left at its end is aborted.

    Args:
        arguments: `udp`, `port` and `config`.
        handler: what is done with an association.
        capture: records all packets.
        say: is told where it listens, as soon as it does.

    Raises:
        CommandError: the address cannot be listened on.
    """
    async with AsyncExitStack() as stack:
        with refused(f"listen on UDP {arguments.udp}"):
            udp: UdpEndpoint = await stack.enter_async_context(
                open_udp(*bind_address(arguments.udp))
            )
        nursery = await stack.enter_async_context(trio.open_nursery())
        serve = partial(
            udp.serve, handler, port=arguments.port, config=arguments.config, capture=capture
        )
        await nursery.start(serve)
        say(f"listening on UDP {Address(*udp.address)}, SCTP port {arguments.port}")
        yield
        nursery.cancel_scope.cancel()


async def receive_all(
    association: Association, take: Callable[[list[Message]], Awaitable[None]]
) -> None:
    """Receive on all streams, until the association is shut down in order.

    Messages of one stream come in their order. What is not taken stays unread, so that the peer has
    to wait.

    Args:
        association: is only received from.
        take: is awaited with what has come on a stream, by several tasks at a time if several
            streams are used.

    Raises:
        AssociationLost: perhaps in a group.
    """

    async def receive(stream: Stream) -> None:
        try:
            while True:
                await take(await stream.receive_many())
        except trio.EndOfChannel:
            pass  # if it was a reset, what follows is announced again, for another task

    async with trio.open_nursery() as nursery:
        async for stream_id in association.incoming:
            nursery.start_soon(receive, association.stream(stream_id))


def peer_name(association: Association) -> str:
    """Where the peer is, as people write it."""
    port = f"SCTP port {association.remote_port}"
    link = association.link
    if isinstance(link, UdpLink):
        host, udp_port = link.remote_address[:2]
        return f"UDP {Address(host, udp_port)}, {port}"
    return port


def first_loss(error: BaseException) -> AssociationLost | None:
    """The loss of an association in an exception, which may be a group."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(first_loss, error.exceptions)), None)
    return error if isinstance(error, AssociationLost) else None
