"""The lower layer of one association: whatever carries its datagrams.

A link may lose, repeat and delay packets, for that is what networks do; it may not join or split
them, and should not reorder them. Anything with these methods is a link: UDP encapsulation
(`rtcsctp.runtime.udp`), pipes in memory and simulated networks (`rtcsctp.testing`).

Two more members are of use to path MTU discovery, and need not be there:

- ``overhead``: bytes of all headers from the IP header on to SCTP's, 28 (IPv4 and UDP) without it;
- ``allow_fragments(allowed)``: whether IP may fragment packets from now on. It should not, unless
  this says so: while packets that were made for a larger path have to get through.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol, runtime_checkable

import trio

from rtcsctp.sctp.association import UDP_OVERHEAD

__all__ = [
    "CapturingLink",
    "DirectLink",
    "Link",
    "PacketRecorder",
    "Recorder",
    "allow_fragments",
    "overhead_of",
]


class Link(Protocol):
    """Carries the datagrams of one association."""

    @property
    def max_packet_size(self) -> int:
        """Largest packet that it takes, bytes; the path may carry less."""
        ...

    async def send(self, packets: Sequence[bytes]) -> None:
        """Send packets, in order; may wait until the lower layer takes them.

        Raises:
            trio.ClosedResourceError: the link was closed.
            trio.BrokenResourceError: it failed for good.
        """
        ...

    async def receive(self) -> Sequence[bytes]:
        """Wait for packets; all that are there, at least one.

        Raises:
            trio.ClosedResourceError: the link was closed, perhaps meanwhile.
            trio.BrokenResourceError: it failed for good.
        """
        ...

    async def aclose(self) -> None:
        """Close it; a pending `receive` raises `trio.ClosedResourceError`."""
        ...


@runtime_checkable
class DirectLink(Link, Protocol):
    """A link that can do without waiting; who uses it saves turns of Trio's loop, and a task each.

    A packet that arrives and its answer take one turn less in each direction than by `receive` and
    `send`. A link need not be able to do this, and whoever uses it can do without.
    """

    def send_now(self, packets: Sequence[bytes]) -> bool:
        """Send packets at once, as far as the lower layer takes them; whether it took them all.

        Those that it did not take are kept, and go before all others with the next `send`, which
        may be one of no packets. Not to be called before that, nor while `send` is under way.

        Raises:
            trio.ClosedResourceError: the link was closed.
        """
        ...

    def deliver_to(self, take: Callable[[Sequence[bytes]], None] | None) -> None:
        """Call `take` with packets that arrive from now on, from the task that reads them.

        `receive` gives what arrived earlier, and after that still tells of the end. None ends it.
        """
        ...


def overhead_of(link: Link) -> int:
    """Bytes of all headers from the IP header on to SCTP's."""
    overhead: int = getattr(link, "overhead", UDP_OVERHEAD)
    return overhead


def allow_fragments(link: Link, allowed: bool) -> None:
    """Tell a link whether IP may fragment packets, if it wants to know."""
    tell: Callable[[bool], None] | None = getattr(link, "allow_fragments", None)
    if tell is not None:
        tell(allowed)


class PacketRecorder(Protocol):
    """What packets can be recorded with; `rtcsctp.testing.Capture` is one."""

    @property
    def closed(self) -> bool:
        """Whether it records no more."""
        ...

    def record_ns(self, packet: bytes, time_ns: int, *, outbound: bool, interface: int = 0) -> None:
        """Record a packet; `time_ns` is in nanoseconds since 1970."""
        ...

    def flush(self) -> None:
        """Write out what is buffered."""
        ...


class Recorder:
    """Records packets with the time at which it is told of them; within Trio only.

    Times are those of the wall clock: Trio's clock, counted from the wall-clock time at which this
    object was made (or from `epoch_ns`), so they follow a `trio.testing.MockClock` too, and are not
    disturbed when somebody sets the computer's clock.
    """

    def __init__(
        self, capture: PacketRecorder, *, interface: int = 0, epoch_ns: int | None = None
    ) -> None:
        """Use `capture`; for the arguments see `CapturingLink`."""
        self._capture = capture
        self._interface = interface
        if epoch_ns is None:
            epoch_ns = time.time_ns() - _trio_time_ns()
        self._epoch_ns: Final = epoch_ns

    def record(self, packets: Sequence[bytes], *, outbound: bool) -> None:
        """Record packets; raises OSError of the file. Does nothing once the capture is closed."""
        if self._capture.closed:
            return
        now_ns = self._epoch_ns + _trio_time_ns()
        for packet in packets:
            self._capture.record_ns(packet, now_ns, outbound=outbound, interface=self._interface)


class CapturingLink(trio.abc.AsyncResource):
    """A link that records all that passes through another link, by a `Recorder`'s clock."""

    def __init__(
        self,
        link: Link,
        capture: PacketRecorder,
        *,
        interface: int = 0,
        epoch_ns: int | None = None,
    ) -> None:
        """Wrap `link`. Must be called within Trio.

        Args:
            link: Closed together with this object.
            capture: Not closed here; several links may share one.
            interface: Number of the interface of the capture to record for.
            epoch_ns: What Trio's time 0.0 means, in nanoseconds since 1970; with a fixed number and
                a `trio.testing.MockClock`, captures are the same in every run.
        """
        self._link = link
        self._capture = capture
        self._recorder = Recorder(capture, interface=interface, epoch_ns=epoch_ns)

    @property
    def max_packet_size(self) -> int:
        """That of the link within, bytes."""
        return self._link.max_packet_size

    @property
    def overhead(self) -> int:
        """That of the link within, bytes."""
        return overhead_of(self._link)

    def allow_fragments(self, allowed: bool) -> None:
        """Tell the link within."""
        allow_fragments(self._link, allowed)

    async def send(self, packets: Sequence[bytes]) -> None:
        """Record and send; raises what the link within raises, and OSError of the capture file.

        Packets are recorded before they are sent, else an answer could be recorded before them. If
        the sending is cancelled, the capture has packets that may not have left.
        """
        self._recorder.record(packets, outbound=True)
        await self._link.send(packets)

    async def receive(self) -> Sequence[bytes]:
        """Receive and record; raises what the link within raises, and OSError of the file."""
        packets = await self._link.receive()
        self._recorder.record(packets, outbound=False)
        return packets

    async def aclose(self) -> None:
        """Close the link within and flush the capture."""
        self._capture.flush()
        await self._link.aclose()


def _trio_time_ns() -> int:
    return round(trio.current_time() * 1_000_000_000)
