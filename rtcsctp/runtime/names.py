"""Names in candidates: multicast DNS, opened when it is first needed, and other names."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence

import trio

from rtcsctp.runtime.host import Host
from rtcsctp.runtime.mdns import Mdns, open_mdns

__all__ = ["Names"]

_RESOLVE_TIMEOUT = 10.0  # seconds; a candidate that is not known by then is no use any more
_MAX_LOOKUPS = 16  # at once: a description may have many names
_MAX_LOCAL_LOOKUPS = 100  # at once; they share sockets, and a question is one small packet
_MAX_WAITING = 1000  # tasks for which the lookups of others are in the way


class Names:
    """The names of one peer, or of all peers of a server.

    A host name hides an address from everybody but the local network. Nothing waits for one: the
    peer's first check tells its address long before.
    """

    __slots__ = ("_host", "_interfaces", "_lookups", "_mdns", "_nursery", "_rng", "_there")

    def __init__(
        self,
        host: Host,
        rng: random.Random,
        nursery: trio.Nursery,
        interfaces: Sequence[str] | None = None,
    ) -> None:
        """Names on these interfaces; None: on all that have multicast.

        The nursery holds the multicast sockets, from when they are first wanted until it ends.
        """
        self._host = host
        self._rng = rng
        self._nursery = nursery
        self._interfaces = interfaces
        self._mdns: Mdns | None = None
        self._there: trio.Event | None = None
        self._lookups: tuple[trio.CapacityLimiter, trio.CapacityLimiter] | None = None

    async def _run(self, there: trio.Event) -> None:
        async with open_mdns(self._interfaces, rng=self._rng) as self._mdns:
            there.set()
            await trio.sleep_forever()

    async def _open(self) -> Mdns:
        if self._there is None:
            self._there = trio.Event()
            self._nursery.start_soon(self._run, self._there, name="multicast DNS")
        await self._there.wait()
        assert self._mdns is not None
        return self._mdns

    def _limiter(self, *, local: bool) -> trio.CapacityLimiter:
        if self._lookups is None:  # most peers look up nothing
            self._lookups = (
                trio.CapacityLimiter(_MAX_LOOKUPS),
                trio.CapacityLimiter(_MAX_LOCAL_LOOKUPS),
            )
        return self._lookups[local]

    async def publish(self, address: str) -> str:
        """A new name for one of our addresses.

        Raises:
            OSError: multicast DNS cannot be used here.
        """
        return (await self._open()).publish(address)

    async def resolve(self, name: str) -> Sequence[str]:
        """The addresses of a name; none if it cannot be found in time, or is no name.

        In time means 10 s, with what it has to wait for other lookups: names that lead nowhere,
        however many, hold up the others for no longer.
        """
        name = name.rstrip(".")
        local = name.lower().endswith(".local")
        lookups = self._limiter(local=local)
        if lookups.statistics().tasks_waiting >= _MAX_WAITING:
            await trio.lowlevel.checkpoint()
            return []
        with trio.move_on_after(_RESOLVE_TIMEOUT):
            async with lookups:
                with contextlib.suppress(OSError, ValueError):
                    if local:
                        return [await (await self._open()).resolve(name)]
                    return await self._host.resolve(name)
        return []
