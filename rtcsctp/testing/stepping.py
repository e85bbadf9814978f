"""Two sans-IO cores over a simulated network, stepped in virtual time.

Nothing sleeps here. Time jumps from one wake-up to the next: to the next packet that arrives or to
the next timer that is due. A minute of idle association costs as much as its few heartbeats.

`CorePair` knows nothing of SCTP; any two objects with the surface of `Core` will do. `Pair` in
`rtcsctp.testing.pair` is the one with two associations.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from rtcsctp.testing.conditions import Conditions
from rtcsctp.testing.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rtcsctp.testing.network import Direction
    from rtcsctp.testing.pcapng import Capture

EventT = TypeVar("EventT")
EventT_co = TypeVar("EventT_co", covariant=True)
TimerT = TypeVar("TimerT")

DEFAULT_CONDITIONS: Final = Conditions(delay=0.01)
"""The network of a pair that was given none: a round trip takes 20 ms."""


class Core(Protocol[TimerT, EventT_co]):
    """The surface by which a sans-IO core is stepped; `rtcsctp.sctp.association` has it."""

    @property
    def timers(self) -> Mapping[TimerT, float]:
        """Named deadlines, in seconds of the same clock as `now`."""

    def handle_datagrams(self, batch: Sequence[bytes], now: float) -> None:
        """Take packets that arrived together."""

    def handle_timer(self, timer: TimerT, now: float) -> None:
        """Take note that a deadline has passed; without effect if it has not."""

    def poll_event(self) -> EventT_co | None:
        """The next thing that the application should know, or None."""

    def poll_transmit(self, now: float, max_packets: int = ...) -> list[bytes]:
        """Packets to send now, in order; empty if there are no more."""


class LivelockError(RuntimeError):
    """A core keeps busy without time passing: it would never have come to rest."""


class _End(Generic[TimerT, EventT]):
    """One core, what it told, and its two directions of the network."""

    def __init__(
        self,
        name: str,
        core: Core[TimerT, EventT],
        outgoing: Direction,
        incoming: Direction,
        capture: Capture | None,
        interface: int,
    ) -> None:
        self.name: Final = name
        self.core: Final = core
        self.outgoing: Final = outgoing
        self.incoming: Final = incoming
        self.events: Final[list[EventT]] = []
        self._capture = (
            capture if capture is not None and interface < len(capture.interfaces) else None
        )
        self._interface: Final = interface

    def settle(self, now: float, limit: int) -> None:
        """Drain the core as its surface asks: first the events, then the packets."""
        core = self.core
        polls = 0
        while (event := core.poll_event()) is not None:
            self.events.append(event)
            polls += 1
            if polls > limit:
                message = f"{self.name} gave {limit} events at once, at {now:.6f} s"
                raise LivelockError(message)
        polls = 0
        while packets := core.poll_transmit(now):
            self.outgoing.may_fragment = getattr(core, "needs_fragments", False)
            if self._capture is not None:
                for packet in packets:
                    self._capture.record(packet, now, outbound=True, interface=self._interface)
            self.outgoing.put_all(packets, now)
            polls += 1
            if polls > limit:
                message = f"{self.name} gave packets {limit} times at once, at {now:.6f} s"
                raise LivelockError(message)

    def deliver(self, now: float) -> bool:
        """Hand over what has arrived, in one batch; whether there was anything."""
        batch = self.incoming.take(now)
        if not batch:
            return False
        if self._capture is not None:
            for packet in batch:
                self._capture.record(packet, now, outbound=False, interface=self._interface)
        self.core.handle_datagrams(batch, now)
        return True

    def next_timer(self) -> float:
        return min(self.core.timers.values(), default=math.inf)

    def due_timers(self, now: float) -> list[TimerT]:
        """The timers that are due, earliest first."""
        due = [(deadline, timer) for timer, deadline in self.core.timers.items() if deadline <= now]
        due.sort(key=lambda item: item[0])
        return [timer for _deadline, timer in due]

    def describe(self, now: float) -> str:
        timers = ", ".join(
            f"{getattr(timer, 'name', timer)} in {deadline - now:.6g} s"
            for timer, deadline in sorted(self.core.timers.items(), key=lambda item: item[1])
        )
        return (
            f"{self.name}: timers [{timers}], {self.incoming.in_flight} packets on their way to it"
        )


class CorePair(Generic[TimerT, EventT]):
    """Two cores, a and b, over a network, in virtual time that starts at 0.

    Between two steps a test may call any command of the cores, with ``now=pair.now``; what that
    makes them want to send goes out at the beginning of the next step, still at the same instant
    (or at once, with `settle`). ::

        pair = CorePair(core_a, core_b, Network(Conditions(delay=0.05), seed=1))
        core_a.connect(pair.now)
        pair.run_until(lambda: bool(pair.events_b), timeout=10)

    Packets that arrive at the same instant are handed over in one batch.
    """

    def __init__(
        self,
        core_a: Core[TimerT, EventT],
        core_b: Core[TimerT, EventT],
        network: Network | None = None,
        *,
        capture: Capture | None = None,
        max_instant_steps: int = 100_000,
    ) -> None:
        """Put two cores at the two ends of a network.

        Args:
            core_a: Sends into ``network.a_to_b``.
            core_b: Sends into ``network.b_to_a``.
            network: Default: 10 ms each way and nothing else.
            capture: Records what a sends and receives; if it has two interfaces, the second one
                records what b sends and receives. It is not closed here.
            max_instant_steps: So many steps without time passing raise `LivelockError`. (Over a
                network without any delay a whole transfer happens in one instant.)
        """
        self.network: Final = network if network is not None else Network(DEFAULT_CONDITIONS)
        self.now = 0.0
        """The virtual time, seconds."""
        to_b, to_a = self.network.a_to_b, self.network.b_to_a
        self._end_a: Final = _End("a", core_a, to_b, to_a, capture, 0)
        self._end_b: Final = _End("b", core_b, to_a, to_b, capture, 1)
        self._max_instant_steps = max_instant_steps
        self._instant_steps = 0

    @property
    def events_a(self) -> list[EventT]:
        """All events of a so far, oldest first; clear it as you like."""
        return self._end_a.events

    @property
    def events_b(self) -> list[EventT]:
        """All events of b so far, oldest first; clear it as you like."""
        return self._end_b.events

    @property
    def in_flight(self) -> int:
        """Packets on their way, both directions together."""
        return self.network.in_flight

    def settle(self) -> None:
        """Drain both cores, without letting time pass: events are collected, packets leave."""
        self._end_a.settle(self.now, self._max_instant_steps)
        self._end_b.settle(self.now, self._max_instant_steps)

    def next_wakeup(self) -> float | None:
        """When the next packet arrives or the next timer is due (maybe now); None: never."""
        self.settle()
        delivery = self.network.next_delivery()
        wakeup = min(
            math.inf if delivery is None else delivery,
            self._end_a.next_timer(),
            self._end_b.next_timer(),
        )
        return None if wakeup == math.inf else max(wakeup, self.now)

    def step(self) -> bool:
        """Go to the next wake-up and handle all that is due there; False if there is none.

        Packets come before timers, and a before b: an acknowledgement that arrives at the very
        instant at which a retransmission is due prevents it.

        Raises:
            LivelockError: Too many steps have been made at this same instant.
        """
        wakeup = self.next_wakeup()
        if wakeup is None:
            return False
        self._step_to(wakeup)
        return True

    def run_for(self, seconds: float) -> None:
        """Let so much time pass, with everything that happens in it."""
        self._run(self.now + seconds, None)

    def run_until(self, predicate: Callable[[], bool], timeout: float = 60.0) -> None:
        """Step until `predicate` is true; it is asked before the first and after every step.

        Raises:
            TimeoutError: It was not true after `timeout` seconds of virtual time, or nothing is
                going to happen any more; the message says what is going on.
            LivelockError: As in `step`.
        """
        if not self._run(self.now + timeout, predicate):
            idle = self.next_wakeup() is None
            why = "nothing will happen any more" if idle else f"not within {timeout:g} s"
            message = f"{why}; {self.describe()}"
            raise TimeoutError(message)

    def drain(self, timeout: float = 60.0) -> None:
        """Step until no packet is on its way in either direction.

        Timers may still be pending, so this is the quiet of the wire, not the end of all work.

        Raises:
            TimeoutError: As in `run_until`.
        """
        self.run_until(lambda: not self.in_flight, timeout)

    def describe(self) -> str:
        """The state of the pair in a line, for messages."""
        return (
            f"at {self.now:.6f} s: "
            f"{self._end_a.describe(self.now)}; {self._end_b.describe(self.now)}"
        )

    def _run(self, deadline: float, predicate: Callable[[], bool] | None) -> bool:
        """Run to the deadline, or until the predicate is true; whether it was."""
        self.settle()
        while predicate is None or not predicate():
            # The predicate may have touched the cores; next_wakeup() settles them.
            wakeup = self.next_wakeup()
            if wakeup is None or wakeup > deadline:
                if deadline > self.now and deadline != math.inf:
                    self._advance(deadline)
                self.settle()
                return False
            self._step_to(wakeup)
        return True

    def _advance(self, now: float) -> None:
        if now > self.now:
            self.now = now
            self._instant_steps = 0

    def _step_to(self, now: float) -> None:
        self._advance(now)
        self._instant_steps += 1
        limit = self._max_instant_steps
        if self._instant_steps > limit:
            message = f"{limit} steps without time passing, {self.describe()}"
            raise LivelockError(message)
        ends = (self._end_a, self._end_b)
        for end in ends:
            if end.deliver(now):
                end.settle(now, limit)
        for end in ends:
            for timer in end.due_timers(now):
                # An earlier timer, or what it made the core send, may have stopped this one.
                if end.core.timers.get(timer, math.inf) <= now:
                    end.core.handle_timer(timer, now)
                    end.settle(now, limit)
