"""Alarms whose task comes and goes, and the watch that peers share; in virtual time."""

from __future__ import annotations

import gc
import weakref

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from rtcsctp.runtime.alarm import Alarm
from rtcsctp.runtime.watch import FAR, GRAIN


def tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


class Bell:
    """An alarm, and when it rang."""

    def __init__(self, *, patient: bool) -> None:
        self.deadline: float | None = None
        self.rung: list[float] = []
        self.error: Exception | None = None
        self.period: float | None = None
        self.alarm = Alarm(
            "timer of a test",
            lambda: self.deadline,
            self.act,
            patient=(lambda seconds: seconds > FAR) if patient else None,
        )

    def set(self, deadline: float | None) -> None:
        self.deadline = deadline
        self.alarm.check()

    def act(self, now: float) -> None:
        self.rung.append(now)
        self.deadline = None if self.period is None else now + self.period
        if self.error is not None:
            raise self.error


async def test_a_task_is_there_while_there_is_a_deadline(autojump_clock: MockClock) -> None:
    bell = Bell(patient=False)
    async with trio.open_nursery() as nursery:
        bell.alarm.start(nursery)
        assert not nursery.child_tasks
        for deadline in (5.0, 20.0):  # it ends, and starts again
            bell.set(deadline)
            assert len(nursery.child_tasks) == 1
            await trio.sleep_until(deadline + 0.5)
            assert len(nursery.child_tasks) == 1  # there may be another deadline soon
            await trio.sleep_until(deadline + 5)
            assert not nursery.child_tasks
        assert bell.rung == [5.0, 20.0]


async def test_one_task_serves_deadlines_that_follow_closely(autojump_clock: MockClock) -> None:
    bell = Bell(patient=False)
    async with trio.open_nursery() as nursery:
        bell.alarm.start(nursery)
        bell.set(1.0)
        (task,) = nursery.child_tasks
        for time in (1.5, 2.0, 2.5):
            await trio.sleep_until(time)
            bell.set(time + 0.25)
            assert nursery.child_tasks == {task}
        await trio.sleep(5)
        assert bell.rung == [1.0, 1.75, 2.25, 2.75]


async def test_a_task_that_is_told_to_rest_ends_at_once(autojump_clock: MockClock) -> None:
    bell = Bell(patient=False)
    async with trio.open_nursery() as nursery:
        bell.alarm.start(nursery)
        bell.set(100.0)
        await wait_all_tasks_blocked()
        bell.alarm.rest()  # there is a deadline
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        bell.set(None)
        bell.alarm.rest()
        await wait_all_tasks_blocked()
        assert not nursery.child_tasks
        bell.set(50.0)
        await trio.sleep(60)
        assert bell.rung == [50.0]


async def test_far_deadlines_of_many_are_met_together(autojump_clock: MockClock) -> None:
    bells = [Bell(patient=True) for _ in range(100)]
    before = tasks()
    async with trio.open_nursery() as nursery:
        for number, bell in enumerate(bells):
            bell.alarm.start(nursery)
            bell.set(30.0 + number / 100)
        assert not nursery.child_tasks
        assert tasks() == before + 1  # the watch
        await trio.sleep(60)
        for number, bell in enumerate(bells):
            (rung,) = bell.rung
            assert 0 <= rung - (30.0 + number / 100) < GRAIN + 1e-6
        assert len({bell.rung[0] for bell in bells}) <= 11
        assert tasks() == before  # it has gone to bed


async def test_near_deadlines_are_met_to_the_point(autojump_clock: MockClock) -> None:
    bell = Bell(patient=True)
    async with trio.open_nursery() as nursery:
        bell.alarm.start(nursery)
        bell.set(30.0)
        await trio.sleep_until(3.0)
        bell.set(3.0 + FAR / 2 + 0.033)  # from the watch to a task
        await trio.sleep_until(20)
        assert bell.rung == [3.0 + FAR / 2 + 0.033]


async def test_deadlines_that_move_while_the_watch_has_them(autojump_clock: MockClock) -> None:
    earlier, later, never, stopped = (Bell(patient=True) for _ in range(4))
    async with trio.open_nursery() as nursery:
        for bell in (earlier, later, never, stopped):
            bell.alarm.start(nursery)
            bell.set(30.0)
        await wait_all_tasks_blocked()
        earlier.set(10.0)
        later.set(40.0)
        never.set(None)
        stopped.alarm.stop()
        await trio.sleep(100)
        assert earlier.rung == [10.0]
        assert later.rung == [40.0]
        assert never.rung == []
        assert stopped.rung == []


async def test_a_period_goes_on_by_the_watch(autojump_clock: MockClock) -> None:
    bell = Bell(patient=True)
    bell.period = 5.0
    async with trio.open_nursery() as nursery:
        bell.alarm.start(nursery)
        bell.set(5.0)
        await trio.sleep_until(26)
        assert bell.rung == pytest.approx([5.0, 10.0, 15.0, 20.0, 25.0], abs=0.5)
        bell.alarm.stop()


async def test_a_bug_comes_out_where_the_alarm_belongs(autojump_clock: MockClock) -> None:
    broken, whole = Bell(patient=True), Bell(patient=True)
    broken.error = RuntimeError("a bug")

    async def owner() -> None:
        async with trio.open_nursery() as nursery:
            broken.alarm.start(nursery)
            broken.set(10.0)
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        whole.alarm.start(nursery)
        whole.set(10.0)
        with pytest.raises(ExceptionGroup) as caught:
            await owner()
        assert caught.value.exceptions == (broken.error,)
        await trio.sleep(1)
        assert whole.rung == [10.0]


async def test_the_watch_keeps_nothing_of_who_has_left(autojump_clock: MockClock) -> None:
    before = tasks()
    bell = Bell(patient=True)
    async with trio.open_nursery() as nursery:
        bell.alarm.start(nursery)
        bell.set(1000.0)
        bell.alarm.stop()
    await wait_all_tasks_blocked()
    assert tasks() == before
    gone = weakref.ref(bell)
    del bell, nursery
    gc.collect()
    assert gone() is None
