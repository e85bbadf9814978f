"""How much waits to be sent, and the events about it: pitfall S63."""

from __future__ import annotations

import pytest

from rtcsctp.errors import InvalidStreamError
from rtcsctp.sctp.config import Config
from rtcsctp.sctp.events import BufferedAmountLow, Event, MessageAbandoned, SendBufferLow
from rtcsctp.testing import Conditions, Network, Pair

from .ladder import FakePeer, established, sack

FULL = 1200 - 12 - 16


def stuck(config: Config | None = None) -> FakePeer:
    """A peer whose window is full of one packet; what is sent now waits."""
    peer = established(config or Config(heartbeat_interval=0), a_rwnd=1500)
    peer.association.send(0, bytes(1500), now=peer.now)
    peer.drain()
    assert peer.association.buffered_amount == 0
    peer.take_events()
    return peer


def events(peer: FakePeer) -> list[Event]:
    return [e for e in peer.take_events() if isinstance(e, (BufferedAmountLow, SendBufferLow))]


def open_window(peer: FakePeer, room: int) -> None:
    """The peer acknowledges all, and has so much room."""
    peer.deliver(sack(peer.cumulative, a_rwnd=room))


def test_the_amounts_count_what_was_not_sent_yet() -> None:
    peer = stuck()
    association = peer.association
    association.send(1, bytes(500), now=peer.now)
    association.send(2, bytes(700), now=peer.now)
    association.send(1, bytes(1), now=peer.now)
    peer.drain()
    assert association.buffered_amount == 1201
    assert [association.stream_buffered_amount(s) for s in (0, 1, 2, 99)] == [0, 501, 700, 0]
    assert association.unacknowledged == 1500
    open_window(peer, 10_000)
    assert association.buffered_amount == 0
    assert association.unacknowledged == 1201


def test_a_message_that_is_half_sent_counts_for_its_rest() -> None:
    peer = stuck()
    peer.association.send(1, bytes(5000), now=peer.now)
    open_window(peer, 1500)
    assert peer.association.stream_buffered_amount(1) == 5000 - peer.association.unacknowledged


def test_low_comes_once_when_the_amount_falls_to_the_threshold_pitfall_s63() -> None:
    peer = stuck()
    peer.association.set_buffered_amount_low_threshold(1, 1000)
    for _ in range(4):
        peer.association.send(1, bytes(1000), now=peer.now)
    assert events(peer) == []
    open_window(peer, 2500)  # two messages go: 2,000 bytes wait
    assert peer.association.stream_buffered_amount(1) == 2000
    assert events(peer) == []
    open_window(peer, 1500)  # one more: 1,000 bytes wait, which is not above the threshold
    assert peer.association.stream_buffered_amount(1) == 1000
    assert events(peer) == [BufferedAmountLow(1)]
    open_window(peer, 1500)  # below, and it was below before
    assert peer.association.stream_buffered_amount(1) == 0
    assert events(peer) == []


def test_low_comes_again_only_after_the_amount_was_high_again_pitfall_s63() -> None:
    peer = stuck()
    peer.association.set_buffered_amount_low_threshold(1, 100)
    found: list[bool] = []
    for size in (50, 90, 500, 60, 2000):
        peer.association.send(1, bytes(size), now=peer.now)
        open_window(peer, 0)
        open_window(peer, 100_000)
        found.append(bool(events(peer)))
    assert found == [False, False, True, False, True]


def test_raising_the_threshold_over_the_amount_fires_pitfall_s63() -> None:
    peer = stuck()
    peer.association.send(1, bytes(1000), now=peer.now)
    peer.association.set_buffered_amount_low_threshold(1, 999)
    assert events(peer) == []
    peer.association.set_buffered_amount_low_threshold(1, 1000)
    assert events(peer) == [BufferedAmountLow(1)]
    peer.association.set_buffered_amount_low_threshold(1, 5000)  # it was low already
    assert events(peer) == []
    peer.association.set_buffered_amount_low_threshold(2, 5000)  # and nothing waits here
    assert events(peer) == []


def test_the_default_threshold_is_zero() -> None:
    peer = stuck()
    peer.association.send(1, bytes(100), now=peer.now)
    peer.association.send(1, bytes(1400), now=peer.now)
    open_window(peer, 200)
    open_window(peer, 1500)
    assert events(peer) == [BufferedAmountLow(1)]


@pytest.mark.parametrize("how", ["expired", "evicted"])
def test_what_is_given_up_counts_as_gone_pitfall_s63(how: str) -> None:
    config = Config(send_buffer=6000, heartbeat_interval=0)
    peer = stuck(config)
    association = peer.association
    if how == "expired":
        for _ in range(5):
            association.send(1, bytes(1000), lifetime=0.5, now=peer.now)
        peer.now += 1
        open_window(peer, 0)
    else:
        for _ in range(5):
            association.send(1, bytes(1000), priority=9, now=peer.now)
        association.send(2, bytes(6000), priority=1, now=peer.now)
        peer.drain()
    found = peer.take_events()
    assert [e for e in found if isinstance(e, MessageAbandoned)] == [
        MessageAbandoned(1, 1000, sent=False)
    ] * 5
    assert BufferedAmountLow(1) in found
    assert association.stream_buffered_amount(1) == 0


def test_the_send_buffer_has_an_event_of_its_own() -> None:
    peer = stuck(Config(send_buffer=3000, heartbeat_interval=0))
    for stream in (1, 2, 3, 4):
        peer.association.send(stream, bytes(1000), now=peer.now)
    assert events(peer) == []
    open_window(peer, 1100)  # 3,000 bytes wait: not below
    assert SendBufferLow() not in events(peer)
    open_window(peer, 1100)
    assert SendBufferLow() in events(peer)
    open_window(peer, 1100)
    assert SendBufferLow() not in events(peer)


def test_a_user_may_send_from_the_event_pitfall_s63() -> None:
    """Each time the buffer runs low it is filled again, until everything has been sent."""
    pair = Pair(Config(send_buffer=20_000), network=Network(Conditions(delay=0.01, loss=0.02)))
    pair.connect()
    pair.a.set_buffered_amount_low_threshold(1, 4000)
    sent = 0
    for _ in range(10):
        pair.a.send(1, bytes(1000), now=pair.now)
        sent += 1
    seen = 0

    def refill() -> bool:
        nonlocal sent, seen
        while seen < len(pair.events_a):
            event = pair.events_a[seen]
            seen += 1
            if event == BufferedAmountLow(1):
                for _ in range(10):
                    pair.a.send(1, bytes(1000), now=pair.now)
                    sent += 1
        return sent >= 500

    pair.run_until(refill, 60)
    pair.run_until(lambda: pair.a.sender.is_drained, 60)
    assert len(pair.b.receive(1, 1000, now=pair.now)) == sent


def test_bad_arguments_are_refused() -> None:
    peer = established(inbound=10)
    with pytest.raises(InvalidStreamError):
        peer.association.set_buffered_amount_low_threshold(10, 1)
    with pytest.raises(ValueError, match="-1"):
        peer.association.set_buffered_amount_low_threshold(1, -1)


def test_nothing_is_buffered_when_it_is_over() -> None:
    peer = stuck()
    peer.association.send(1, bytes(5000), now=peer.now)
    peer.association.abort(now=peer.now)
    peer.drain()
    assert peer.association.buffered_amount == 0
    assert peer.association.stream_buffered_amount(1) == 0
