"""Several SCTP associations through one network, stepped in virtual time.

All share both directions of it, so that they compete for its rate and its queue. Packets find
their association by its port. What real machines do to packets and timers can be had, too:

- `coalescing`: a packet that arrives waits a little for those behind it, and all are handed over
  as one batch, as interrupt moderation and the kernel's GRO do it. At high rates this is also what
  makes a simulation fast.
- `tick`: a timer is noticed at the next whole tick, or when a packet arrives, whichever is first.
  Trio's timers are 1 ms coarse.
- `pauses`: after each step, both ends wait for their turn on a computer that is busy, up to so
  long; packets and timers that come meanwhile are noticed behind it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from rtcsctp.sctp.association import Association
from rtcsctp.sctp.config import Config
from rtcsctp.sctp.state import State
from rtcsctp.testing.network import Direction, Network
from rtcsctp.testing.stepping import LivelockError

if TYPE_CHECKING:
    from rtcsctp.testing.pcapng import Capture

__all__ = ["Flow", "FlowEnd", "Flows"]

_FIRST_PORT: Final = 5000
_LIMIT: Final = 100_000  # steps, or polls of one end, at one instant

User = Callable[[Association, float], None]


class FlowEnd:
    """One end of one flow."""

    __slots__ = ("_capture", "_interface", "_outgoing", "association", "name", "user")

    def __init__(
        self,
        name: str,
        association: Association,
        outgoing: Direction,
        capture: Capture | None = None,
        interface: int = 0,
    ) -> None:
        self.name: Final = name
        self.association: Final = association
        self.user: User | None = None
        """The program that uses this end: is called with the association and the time whenever
        something happened there, before its packets leave. It may send and receive."""
        self._outgoing: Final = outgoing
        is_there = capture is not None and interface < len(capture.interfaces)
        self._capture: Final = capture if is_there else None
        self._interface: Final = interface

    def handle_datagrams(self, batch: Sequence[bytes], now: float) -> None:
        """Take what has arrived; `settle` is next."""
        self._record(batch, now, outbound=False)
        self.association.handle_datagrams(batch, now)

    def _record(self, packets: Sequence[bytes], now: float, *, outbound: bool) -> None:
        capture, interface = self._capture, self._interface
        if capture is not None:
            for packet in packets:
                capture.record(packet, now, outbound=outbound, interface=interface)

    def settle(self, now: float) -> None:
        """Let the user do what it wants, drop the events, and send the packets."""
        association, user = self.association, self.user
        put_all, poll_event = self._outgoing.put_all, association.poll_event
        if user is not None:
            user(association, now)
        polls = 0
        while True:
            while poll_event() is not None:
                pass
            packets = association.poll_transmit(now)
            if not packets:
                break
            self._record(packets, now, outbound=True)
            put_all(packets, now)
            if user is not None:
                user(association, now)
            polls += 1
            if polls > _LIMIT:
                message = f"{self.name} gave packets {_LIMIT} times at once, at {now:.6f} s"
                raise LivelockError(message)
        while poll_event() is not None:
            pass


class Flow:
    """One association: `a` at the left end of the network connects to `b` at its right end."""

    __slots__ = ("a", "b")

    def __init__(self, a: FlowEnd, b: FlowEnd) -> None:
        self.a: Final = a
        self.b: Final = b

    @property
    def established(self) -> bool:
        """Whether both ends are established."""
        established = State.ESTABLISHED
        return self.a.association.state is established is self.b.association.state


class Flows:
    """Flows over one network, in virtual time that starts at 0. ::

        def send(association, now):
            while association.buffered_amount < 100_000:
                association.send(0, bytes(1000), now=now)

        def receive(association, now):
            association.receive(0, 1000, now=now)

        flows = Flows([Config(), Config()], Network(Conditions(delay=0.05, rate=1e6), seed=1))
        flows.connect()
        for flow in (flows[0], flows[1]):
            flow.a.user, flow.b.user = send, receive
            flows.wake(flow.a)
        flows.run_for(10)
        assert flows[1].b.association.statistics().user_bytes_received > 1_000_000

    The same arguments and the same calls give the same packets.
    """

    def __init__(
        self,
        configs: Sequence[Config],
        network: Network,
        *,
        seed: int | str = 0,
        coalescing: float = 0.0,
        tick: float = 0.0,
        pauses: float = 0.0,
        capture: Capture | None = None,
    ) -> None:
        """Put associations at both ends of a network, not yet connected.

        Args:
            configs: One for each flow; both of its ends have the same.
            network: Has a seed of its own.
            seed: Decides what the associations draw.
            coalescing: Seconds for which a packet that arrives may wait for others.
            tick: Seconds between the instants at which timers are looked at; 0: exactly.
            pauses: Seconds for which both ends pause after each step, at most.
            capture: Records what the left ends send and receive; if it has two interfaces, the
                second one records the same of the right ends. It is not closed here.
        """
        self.network: Final = network
        self.now = 0.0
        """The virtual time, seconds."""
        self._coalescing: Final = coalescing
        self._tick: Final = tick
        self._pauses: Final = pauses
        self._rng: Final = random.Random(f"{seed}/pauses")
        self._busy_until = 0.0
        to_b, to_a = network.a_to_b, network.b_to_a
        self._flows: Final = [
            Flow(
                FlowEnd(f"a{number}", _association(config, number, f"{seed}/a"), to_b, capture, 0),
                FlowEnd(f"b{number}", _association(config, number, f"{seed}/b"), to_a, capture, 1),
            )
            for number, config in enumerate(configs)
        ]
        self._ends: Final = [end for flow in self._flows for end in (flow.a, flow.b)]
        by_port_a = {_port_bytes(number): flow.a for number, flow in enumerate(self._flows)}
        by_port_b = {_port_bytes(number): flow.b for number, flow in enumerate(self._flows)}
        self._sides: Final = ((to_b, by_port_b), (to_a, by_port_a))

    def __getitem__(self, number: int) -> Flow:
        return self._flows[number]

    def __len__(self) -> int:
        return len(self._flows)

    def connect(self, *numbers: int, timeout: float = 60.0) -> None:
        """Connect these flows, or all if none is named, and step until they are established.

        Raises:
            TimeoutError: They are not after `timeout` seconds of virtual time.
        """
        wanted = [self._flows[n] for n in numbers] or self._flows
        for flow in wanted:
            flow.a.association.connect(self.now)
            flow.a.settle(self.now)
        if not self.run_until(lambda: all(flow.established for flow in wanted), timeout):
            message = f"not connected within {timeout:g} s"
            raise TimeoutError(message)

    def run_for(self, seconds: float) -> None:
        """Let so much time pass, with everything that happens in it.

        Raises:
            LivelockError: A core keeps busy without time passing.
        """
        self._run(self.now + seconds, None)

    def run_until(self, predicate: Callable[[], bool], timeout: float) -> bool:
        """Step until `predicate` is true; False if it is not after `timeout` seconds."""
        return self._run(self.now + timeout, predicate)

    def wake(self, end: FlowEnd) -> None:
        """Call an end's user now, and send what it wants."""
        end.settle(self.now)

    def _run(self, deadline: float, predicate: Callable[[], bool] | None) -> bool:
        steps = 0
        while predicate is None or not predicate():
            wakeup = self._next_wakeup()
            if wakeup > deadline:
                self.now = deadline
                return False
            if wakeup > self.now:
                self.now = wakeup
                steps = 0
            steps += 1
            if steps > _LIMIT:
                timers = {end.name: dict(end.association.timers) for end in self._ends}
                message = f"{_LIMIT} steps without time passing, at {wakeup:.6f} s; {timers}"
                raise LivelockError(message)
            self._step(self.now)
            if self._pauses:
                self._busy_until = self.now + self._rng.uniform(0.0, self._pauses)
        return True

    def _next_wakeup(self) -> float:
        timer = math.inf
        for end in self._ends:
            for deadline in end.association.timers.values():
                timer = min(timer, deadline)
        if self._tick and timer != math.inf:
            # Not below the deadline, by a rounding error: it would not be due.
            timer = max(timer, math.ceil(timer / self._tick) * self._tick)
        for direction, _by_port in self._sides:
            delivery = direction.next_delivery()
            if delivery is not None and delivery + self._coalescing < timer:
                timer = delivery + self._coalescing
        return max(timer, self._busy_until)

    def _step(self, now: float) -> None:
        for direction, by_port in self._sides:
            batch = direction.take(now)
            if not batch:
                continue
            if len(by_port) == 1:
                (end,) = by_port.values()
                end.handle_datagrams(batch, now)
                end.settle(now)
                continue
            shares: dict[bytes, list[bytes]] = {}
            for packet in batch:
                shares.setdefault(packet[2:4], []).append(packet)
            for port, share in shares.items():
                # What was damaged on its way may have no port that anybody has.
                if (receiver := by_port.get(port)) is not None:
                    receiver.handle_datagrams(share, now)
                    receiver.settle(now)
        for end in self._ends:
            association = end.association
            due = [timer for timer, deadline in association.timers.items() if deadline <= now]
            if due:
                for timer in due:
                    association.handle_timer(timer, now)
                end.settle(now)


def _association(config: Config, number: int, seed: str) -> Association:
    port = _FIRST_PORT + number
    rng = random.Random(f"{seed}/{number}")
    return Association(config, local_port=port, remote_port=port, rng=rng)


def _port_bytes(number: int) -> bytes:
    return (_FIRST_PORT + number).to_bytes(2, "big")
