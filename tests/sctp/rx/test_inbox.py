"""Messages in order per stream, against plain lists."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rtcsctp.sctp.events import Message
from rtcsctp.sctp.rx.inbox import Inbox
from rtcsctp.sctp.rx.reassembly import Whole
from rtcsctp.sctp.wire.chunks import UNORDERED

from .builders import WHOLE, data, whole


def payloads(messages: list[Message]) -> list[bytes]:
    return [message.data for message in messages]


def put(inbox: Inbox, *messages: Whole) -> None:
    for message in messages:
        inbox.put(message)


def test_ordered_messages_come_out_in_order_whatever_order_they_came_in() -> None:
    for order in itertools.permutations(range(4)):
        inbox = Inbox()
        put(inbox, *(whole(0, i, bytes([i])) for i in order))
        assert payloads(inbox.take(0, 10)) == [b"\0", b"\1", b"\2", b"\3"]
        assert (inbox.held, inbox.unread) == (0, 0)


def test_message_keeps_its_stream_ppid_and_order() -> None:
    inbox = Inbox()
    put(inbox, whole(7, 0, b"a", ppid=53), whole(7, 99, b"b", unordered=True, ppid=0))
    assert inbox.take(7, 10) == [Message(7, b"a", 53, False), Message(7, b"b", 0, True)]


def test_unordered_message_overtakes_those_that_wait() -> None:
    """RFC 9260 6.6: "delivered to the upper layer without any re-ordering"."""
    inbox = Inbox()
    put(inbox, whole(0, 1, b"later"), whole(0, 0, b"now", unordered=True))
    assert payloads(inbox.take(0, 10)) == [b"now"]
    put(inbox, whole(0, 0, b"first"))
    assert payloads(inbox.take(0, 10)) == [b"first", b"later"]


def test_streams_do_not_wait_for_each_other() -> None:
    inbox = Inbox()
    put(inbox, whole(0, 1, b"waits"), whole(1, 0, b"free"))
    assert inbox.newly_readable() == [1]
    assert inbox.take(0, 10) == []
    assert payloads(inbox.take(1, 10)) == [b"free"]


def test_stale_and_repeated_messages_are_dropped_and_not_charged() -> None:
    """Pitfall S22."""
    inbox = Inbox()
    put(inbox, whole(0, 0, b"0"), whole(0, 0, b"again"), whole(0, 2, b"2"), whole(0, 2, b"again"))
    assert inbox.held == 200
    put(inbox, whole(0, 1, b"1"), whole(0, 1, b"again"))
    assert inbox.held == 300
    assert payloads(inbox.take(0, 10)) == [b"0", b"1", b"2"]


def test_what_waits_and_what_is_unread_is_charged_until_it_is_taken() -> None:
    """Pitfall S23."""
    inbox = Inbox()
    put(inbox, whole(0, 0, charge=10), whole(0, 2, charge=20), whole(1, 0, charge=40))
    assert inbox.held == 70
    assert inbox.unread == 2
    inbox.take(0, 1)
    assert inbox.held == 60
    inbox.take(1, 1)
    assert inbox.held == 20


def test_take_gives_at_most_as_many_as_asked_for() -> None:
    inbox = Inbox()
    put(inbox, *(whole(0, i, bytes([i]), charge=1) for i in range(5)))
    assert payloads(inbox.take(0, 2)) == [b"\0", b"\1"]
    assert inbox.held == inbox.unread == 3
    assert inbox.is_readable(0)
    assert payloads(inbox.take(0, 3)) == [b"\2", b"\3", b"\4"]
    assert not inbox.is_readable(0)
    assert inbox.take(0, 3) == []
    assert inbox.take(9, 3) == []


def test_what_is_set_aside_is_charged_until_it_is_given_back() -> None:
    inbox = Inbox()
    put(inbox, *(whole(0, i, bytes([i]), charge=10) for i in range(4)))
    aside = inbox.set_aside(0, 3)
    assert payloads(aside) == [b"\0", b"\1", b"\2"]
    assert (inbox.held, inbox.unread) == (40, 4)
    assert payloads(inbox.take(0, 10)) == [b"\3"]
    inbox.give_back(aside[:2])
    assert (inbox.held, inbox.unread) == (10, 1)
    inbox.give_back(aside[2:])
    assert (inbox.held, inbox.unread) == (0, 0)
    inbox.give_back([])
    assert inbox.set_aside(0, 1) == inbox.set_aside(9, 1) == []


def test_stream_is_announced_when_it_becomes_readable_and_not_again() -> None:
    inbox = Inbox()
    put(inbox, whole(3, 0), whole(3, 1), whole(4, 1))
    assert inbox.newly_readable() == [3]
    assert inbox.newly_readable() == []
    put(inbox, whole(3, 2))
    assert inbox.newly_readable() == []
    inbox.take(3, 10)
    put(inbox, whole(3, 3))
    assert inbox.newly_readable() == [3]


def test_skipped_messages_make_room_for_those_behind_them() -> None:
    """Pitfall S34: and what was complete below is delivered, not dropped (RFC 3758 3.6)."""
    inbox = Inbox()
    put(inbox, whole(0, 1, b"1"), whole(0, 3, b"3"), whole(0, 5, b"5"))
    inbox.skip(0, 2)
    assert payloads(inbox.take(0, 10)) == [b"1", b"3"]
    inbox.skip(0, 2)
    inbox.skip(0, 0)
    assert inbox.take(0, 10) == []
    inbox.skip(0, 4)
    assert payloads(inbox.take(0, 10)) == [b"5"]
    assert inbox.held == 0


def test_message_that_was_skipped_is_stale_when_it_comes() -> None:
    """Pitfall S22."""
    inbox = Inbox()
    inbox.skip(0, 4)
    put(inbox, whole(0, 4, b"late"), whole(0, 5, b"next"))
    assert payloads(inbox.take(0, 10)) == [b"next"]


def test_reset_begins_at_zero_for_the_streams_named_only() -> None:
    """Pitfall S45."""
    inbox = Inbox()
    put(inbox, whole(0, 0), whole(1, 0))
    inbox.reset([0])
    put(inbox, whole(0, 0, b"anew"), whole(1, 1, b"goes on"), whole(1, 0, b"stale"))
    assert payloads(inbox.take(0, 10)) == [b"x", b"anew"]
    assert payloads(inbox.take(1, 10)) == [b"x", b"goes on"]


def test_reset_of_all_streams() -> None:
    """Pitfall S46."""
    inbox = Inbox()
    put(inbox, whole(0, 0), whole(1, 0))
    inbox.reset(None)
    inbox.reset([77])  # never used
    put(inbox, whole(0, 0, b"a"), whole(1, 0, b"b"))
    assert payloads(inbox.take(0, 10)) == [b"x", b"a"]
    assert payloads(inbox.take(1, 10)) == [b"x", b"b"]


def test_restart_drops_what_waits_and_keeps_what_is_readable() -> None:
    """Pitfall S51."""
    inbox = Inbox()
    put(inbox, whole(0, 0, b"kept", charge=1), whole(0, 2, b"lost", charge=2))
    inbox.forget_waiting()
    assert inbox.held == 1
    put(inbox, whole(0, 0, b"anew", charge=4))
    assert payloads(inbox.take(0, 10)) == [b"kept", b"anew"]
    assert inbox.held == 0


@pytest.mark.parametrize("flags", [WHOLE, WHOLE | UNORDERED])
def test_short_way_is_refused_only_where_order_forbids_it(flags: int) -> None:
    inbox = Inbox()
    stream = inbox.stream(0)
    ordered = not flags & UNORDERED
    assert inbox.put_simple(stream, data(1, b"0", sequence=0, flags=flags), 10)
    assert inbox.put_simple(stream, data(2, b"2", sequence=2, flags=flags), 10) is not ordered
    put(inbox, whole(0, 2, b"waits"))
    if ordered:
        assert not inbox.put_simple(stream, data(3, b"1", sequence=1), 10)  # releases another


def test_unread_messages_are_counted_per_stream() -> None:
    inbox = Inbox()
    put(inbox, whole(0, 0), whole(0, 1), whole(1, 1), whole(2, 0))
    assert inbox.unread_of((0, 1, 5)) == {0: 2, 1: 0}
    assert inbox.unread_of(None) == {0: 2, 1: 0, 2: 1}


class InboxAgainstLists(RuleBasedStateMachine):
    """The model keeps, per stream, a dict of what waits and a list of what is readable."""

    streams = (0, 1)

    def __init__(self) -> None:
        super().__init__()
        self.real = Inbox()
        self.next = dict.fromkeys(self.streams, 0)
        self.waiting: dict[int, dict[int, bytes]] = {s: {} for s in self.streams}
        self.readable: dict[int, list[bytes]] = {s: [] for s in self.streams}
        self.announced: list[int] = []
        self.charges: dict[bytes, int] = {}
        self.aside: list[Message] = []
        self.count = 0

    def _becomes_readable(self, stream: int, payload: bytes) -> None:
        if not self.readable[stream]:
            self.announced.append(stream)
        self.readable[stream].append(payload)

    def _release(self, stream: int) -> None:
        waiting = self.waiting[stream]
        while self.next[stream] in waiting:
            self._becomes_readable(stream, waiting.pop(self.next[stream]))
            self.next[stream] += 1

    def _payload(self, charge: int) -> bytes:
        self.count += 1
        payload = b"%d" % self.count
        self.charges[payload] = charge
        return payload

    @rule(stream=st.sampled_from(streams), ahead=st.integers(-2, 5), charge=st.integers(1, 9))
    def ordered(self, stream: int, ahead: int, charge: int) -> None:
        sequence = max(0, self.next[stream] + ahead)
        payload = self._payload(charge)
        self.real.put(whole(stream, sequence, payload, charge=charge))
        if sequence >= self.next[stream] and sequence not in self.waiting[stream]:
            self.waiting[stream][sequence] = payload
            self._release(stream)

    @rule(stream=st.sampled_from(streams), charge=st.integers(1, 9))
    def unordered(self, stream: int, charge: int) -> None:
        payload = self._payload(charge)
        self.real.put(whole(stream, 0, payload, charge=charge, unordered=True))
        self._becomes_readable(stream, payload)

    @rule(stream=st.sampled_from(streams), unordered=st.booleans(), ahead=st.integers(0, 1))
    def simple(self, stream: int, unordered: bool, ahead: int) -> None:
        payload = self._payload(5)
        flags = WHOLE | UNORDERED * unordered
        chunk = data(0, payload, stream=stream, sequence=self.next[stream] + ahead, flags=flags)
        taken = self.real.put_simple(self.real.stream(stream), chunk, 5)
        assert taken == (unordered or (not ahead and not self.waiting[stream]))
        if taken:
            self._becomes_readable(stream, payload)
            self.next[stream] += not unordered

    @rule(stream=st.sampled_from(streams), ahead=st.integers(-3, 6))
    def skip(self, stream: int, ahead: int) -> None:
        sequence = self.next[stream] + ahead
        self.real.skip(stream, sequence)
        if sequence >= self.next[stream]:
            for passed in range(self.next[stream], sequence + 1):
                if passed in self.waiting[stream]:
                    self._becomes_readable(stream, self.waiting[stream].pop(passed))
            self.next[stream] = sequence + 1
            self._release(stream)

    @rule(stream=st.sampled_from(streams), limit=st.integers(1, 4))
    def take(self, stream: int, limit: int) -> None:
        taken = payloads(self.real.take(stream, limit))
        assert taken == self.readable[stream][:limit]
        del self.readable[stream][:limit]

    @rule(stream=st.sampled_from(streams), limit=st.integers(1, 4))
    def set_aside(self, stream: int, limit: int) -> None:
        taken = self.real.set_aside(stream, limit)
        assert payloads(taken) == self.readable[stream][:limit]
        del self.readable[stream][:limit]
        self.aside += taken

    @rule(count=st.integers(1, 6))
    def give_back(self, count: int) -> None:
        self.real.give_back(self.aside[:count])
        del self.aside[:count]

    @rule(stream=st.sampled_from((*streams, None)))
    def reset(self, stream: int | None) -> None:
        self.real.reset(None if stream is None else [stream])
        for each in self.streams if stream is None else (stream,):
            for sequence in sorted(self.waiting[each]):
                self._becomes_readable(each, self.waiting[each].pop(sequence))
            self.next[each] = 0

    @rule()
    def restart(self) -> None:
        self.real.forget_waiting()
        for stream in self.streams:
            self.waiting[stream].clear()
            self.next[stream] = 0

    @rule()
    def look(self) -> None:
        assert self.real.newly_readable() == self.announced
        self.announced = []

    @invariant()
    def books_agree(self) -> None:
        kept = [p for messages in self.readable.values() for p in messages]
        kept += payloads(self.aside)
        assert self.real.unread == len(kept)
        kept += [p for waiting in self.waiting.values() for p in waiting.values()]
        assert self.real.held == sum(self.charges[p] for p in kept)
        for stream in self.streams:
            assert self.real.is_readable(stream) == bool(self.readable[stream])
            assert self.real.stream(stream).next_sequence == self.next[stream]


TestInboxAgainstLists = InboxAgainstLists.TestCase
TestInboxAgainstLists.settings = settings(stateful_step_count=30)
