"""Two cores in virtual time; here the cores speak a small stop-and-wait protocol."""

from __future__ import annotations

import io
from collections import deque
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.testing import (
    BurstLoss,
    Capture,
    Conditions,
    CorePair,
    LivelockError,
    Network,
    read_pcapng_untrusted,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RETRANSMIT = 0.5


class StopAndWait:
    """Sends numbered messages, one at a time, again every half second until acknowledged."""

    def __init__(self) -> None:
        self.timers: dict[str, float] = {}
        self.batches: list[list[bytes]] = []
        self.fired: list[tuple[float, str]] = []
        self._queue: deque[bytes] = deque()
        self._number = 0
        self._expected = 0
        self._events: deque[bytes] = deque()
        self._packets: deque[bytes] = deque()

    @property
    def idle(self) -> bool:
        return not self._queue

    def send(self, message: bytes, now: float) -> None:
        self._queue.append(message)
        if len(self._queue) == 1:
            self._send_first(now)

    def _send_first(self, now: float) -> None:
        self._packets.append(b"D%c" % (self._number % 256) + self._queue[0])
        self.timers["retransmit"] = now + RETRANSMIT

    def handle_datagrams(self, batch: Sequence[bytes], now: float) -> None:
        self.batches.append(list(batch))
        for packet in batch:
            if packet[:1] == b"D":
                if packet[1] == self._expected % 256:
                    self._expected += 1
                    self._events.append(packet[2:])
                self._packets.append(b"A%c" % packet[1])
            elif self._queue and packet[1] == self._number % 256:
                self._queue.popleft()
                self._number += 1
                del self.timers["retransmit"]
                if self._queue:
                    self._send_first(now)

    def handle_timer(self, timer: str, now: float) -> None:
        self.fired.append((now, timer))
        self._send_first(now)

    def poll_event(self) -> bytes | None:
        return self._events.popleft() if self._events else None

    def poll_transmit(self, now: float, max_packets: int = 64) -> list[bytes]:
        assert now >= 0.0
        count = min(max_packets, len(self._packets))
        return [self._packets.popleft() for _ in range(count)]


class Scripted:
    """A core that does only what a test puts into it."""

    def __init__(self, timers: Mapping[str, float] | None = None) -> None:
        self.timers: dict[str, float] = dict(timers or {})
        self.log: list[object] = []
        self.packets: list[bytes] = []
        self.endless_events = False
        self.endless_packets = False

    def handle_datagrams(self, batch: Sequence[bytes], now: float) -> None:
        self.log.append((now, list(batch)))

    def handle_timer(self, timer: str, now: float) -> None:
        self.log.append((now, timer))
        self.timers.pop(timer)

    def poll_event(self) -> bytes | None:
        return b"again" if self.endless_events else None

    def poll_transmit(self, now: float, max_packets: int = 64) -> list[bytes]:
        del now, max_packets
        if self.endless_packets:
            return [b"again"]
        packets, self.packets = self.packets, []
        return packets


def test_time_jumps_from_wakeup_to_wakeup() -> None:
    # a                      b
    #   --- D0 hello -------->   50 ms
    #   <------------- A0 ----   100 ms
    a, b = StopAndWait(), StopAndWait()
    pair = CorePair(a, b, Network(Conditions(delay=0.05)))
    a.send(b"hello", pair.now)
    assert pair.next_wakeup() == 0.05
    assert pair.step()
    assert pair.now == 0.05
    assert pair.events_b == [b"hello"]
    assert pair.step()
    assert pair.now == 0.1
    assert a.idle
    assert pair.next_wakeup() is None
    assert not pair.step()
    assert pair.now == 0.1


def test_commands_between_steps_are_not_forgotten() -> None:
    a, b = StopAndWait(), StopAndWait()
    pair = CorePair(a, b)
    pair.run_for(3.0)
    assert pair.now == 3.0
    a.send(b"one", pair.now)
    assert pair.in_flight == 0
    pair.settle()
    assert pair.in_flight == 1
    assert pair.now == 3.0
    pair.run_for(0.01)
    assert pair.events_b == [b"one"]


def test_run_for_stops_exactly_and_handles_what_is_due_at_the_end() -> None:
    a = Scripted({"early": 0.5, "at the end": 1.0, "later": 1.0001})
    pair = CorePair(a, Scripted())
    pair.run_for(1.0)
    assert a.log == [(0.5, "early"), (1.0, "at the end")]
    assert pair.now == 1.0


def test_packets_of_one_instant_come_in_one_batch_and_before_timers() -> None:
    a, b = Scripted({"due": 0.25}), Scripted()
    pair = CorePair(a, b, Network(Conditions(delay=0.25)))
    b.packets = [b"one", b"two"]
    pair.settle()
    b.packets = [b"three"]
    pair.step()
    assert a.log == [(0.25, [b"one", b"two", b"three"]), (0.25, "due")]


def test_a_timer_stopped_by_another_does_not_fire() -> None:
    class Stops(Scripted):
        def handle_timer(self, timer: str, now: float) -> None:
            super().handle_timer(timer, now)
            self.timers.clear()

    a = Stops({"second": 0.25, "first": 0.2, "third": 0.3})
    pair = CorePair(a, Scripted())
    pair.run_for(0.1)
    pair.now = 0.4  # both are overdue at once
    pair.step()
    assert a.log == [(0.4, "first")]


@given(seed=st.integers(), loss=st.sampled_from([0.0, 0.1, 0.4]))
def test_a_reliable_protocol_gets_through_a_bad_network(seed: int, loss: float) -> None:
    conditions = Conditions(
        delay=0.02,
        jitter=0.05,
        rate=10_000,
        queue=1000,
        loss=loss,
        burst_loss=BurstLoss.averaging(0.1, length=2),
        duplicate=0.1,
    )

    def run() -> tuple[float, list[bytes], object]:
        a, b = StopAndWait(), StopAndWait()
        network = Network(conditions, seed=seed, trace=True)
        pair = CorePair(a, b, network)
        for number in range(5):
            a.send(b"from a %d" % number, pair.now)
            b.send(b"from b %d" % number, pair.now)
        pair.run_until(lambda: a.idle and b.idle, timeout=1000)
        assert pair.events_a == [b"from b %d" % number for number in range(5)]
        assert pair.events_b == [b"from a %d" % number for number in range(5)]
        pair.drain()
        assert pair.in_flight == 0
        return pair.now, pair.events_a + pair.events_b, network.trace

    assert run() == run()


def test_run_until_says_what_is_going_on_when_it_gives_up() -> None:
    a, b = StopAndWait(), StopAndWait()
    pair = CorePair(a, b, Network(Conditions(loss=1.0)))
    a.send(b"hello", pair.now)
    with pytest.raises(TimeoutError, match=r"not within 2\.1 s.*2\.1.*a: timers \[retransmit"):
        pair.run_until(lambda: bool(pair.events_b), timeout=2.1)
    assert pair.now == 2.1
    assert a.fired == [(time, "retransmit") for time in (0.5, 1.0, 1.5, 2.0)]


def test_run_until_notices_that_nothing_will_happen() -> None:
    pair = CorePair(Scripted(), Scripted())
    with pytest.raises(TimeoutError, match="nothing will happen any more"):
        pair.run_until(lambda: False, timeout=10)


def test_run_until_may_be_true_at_once_and_take_no_time() -> None:
    pair = CorePair(Scripted({"due": 0.0}), Scripted())
    pair.run_until(lambda: True)
    assert pair.now == 0.0
    pair.drain()
    assert pair.now == 0.0


def test_an_endless_conversation_without_time_is_an_error() -> None:
    class Echo(Scripted):
        def handle_datagrams(self, batch: Sequence[bytes], now: float) -> None:
            del now
            self.packets += batch

    a, b = Echo(), Echo()
    pair = CorePair(a, b, Network(Conditions()), max_instant_steps=50)
    a.packets.append(b"ping")
    with pytest.raises(LivelockError, match="50 steps without time passing, at 0"):
        pair.run_for(1.0)


def test_a_timer_that_does_not_move_is_an_error() -> None:
    class Stuck(Scripted):
        def handle_timer(self, timer: str, now: float) -> None:
            pass

    pair = CorePair(Scripted(), Stuck({"stuck": 0.25}), max_instant_steps=50)
    with pytest.raises(LivelockError, match=r"b: timers \[stuck in 0 s"):
        pair.run_for(1.0)


def test_passing_time_is_no_livelock() -> None:
    class Ticking(Scripted):
        def handle_timer(self, timer: str, now: float) -> None:
            self.timers[timer] = now + 0.001

    pair = CorePair(Ticking({"tick": 0.0}), Scripted(), max_instant_steps=3)
    pair.run_for(1.0)


@pytest.mark.parametrize("what", ["endless_events", "endless_packets"])
def test_a_core_that_never_stops_giving_is_an_error(what: str) -> None:
    a = Scripted()
    setattr(a, what, True)
    pair = CorePair(a, Scripted(), max_instant_steps=50)
    with pytest.raises(LivelockError, match="a gave"):
        pair.settle()


@pytest.mark.parametrize("interfaces", [("a",), ("a", "b")])
def test_a_capture_sees_what_the_ends_see(interfaces: tuple[str, ...]) -> None:
    file = io.BytesIO()
    with Capture(file, interfaces=interfaces) as capture:
        a, b = StopAndWait(), StopAndWait()
        pair = CorePair(a, b, Network(Conditions(delay=0.05)), capture=capture)
        a.send(b"hello", pair.now)
        pair.drain()
        pair.run_until(lambda: a.idle)
    file.seek(0)
    seen = [
        (packet.interface, packet.time, packet.outbound, packet.data)
        for packet in read_pcapng_untrusted(file)
    ]
    assert [packet for packet in seen if packet[0] == 0] == [
        (0, 0.0, True, b"D\0hello"),
        (0, 0.1, False, b"A\0"),
    ]
    assert [packet for packet in seen if packet[0] == 1] == (
        [(1, 0.05, False, b"D\0hello"), (1, 0.05, True, b"A\0")] if len(interfaces) == 2 else []
    )
