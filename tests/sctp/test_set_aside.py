"""Messages that a layer above takes, but that still count against the receive window."""

from __future__ import annotations

import random

import pytest

from rtcsctp.errors import InvalidStreamError
from rtcsctp.sctp.association import Association
from rtcsctp.sctp.config import Config
from rtcsctp.sctp.events import Restarted, StreamReadable
from rtcsctp.sctp.state import State
from rtcsctp.testing import CorePair, Pair

from .ladder import established, sack


def test_what_is_set_aside_keeps_the_window_closed_until_it_is_given_back() -> None:
    #  peer                                a
    #   --- DATA 2 x 4,000 bytes -------->    set aside
    #   <-- SACK, window without them ---
    #                                        given back
    #   <-- SACK, whole window ----------
    peer = established(Config(rwnd=10_000))
    for ssn in (0, 1):
        peer.deliver(peer.data(bytes(4000), ssn=ssn))
    association = peer.association
    peer.wait(0.5)
    peer.take()
    before = association.receiver.window
    messages = association.set_aside(0, 5, now=peer.now)
    assert [len(message.data) for message in messages] == [4000, 4000]
    assert association.receiver.window == before < 2000
    assert association.statistics().unread_messages == 2
    peer.expect_silence()
    association.give_back(messages[:1])
    peer.expect("SACK")
    association.give_back(messages[1:])
    assert association.receiver.window == 10_000
    assert association.statistics().unread_messages == 0


def test_a_stream_becomes_readable_again_when_its_messages_are_set_aside() -> None:
    peer = established()
    for ssn in range(2):
        peer.deliver(peer.data(b"x", ssn=ssn))
        assert StreamReadable(0) in peer.take_events()
        [message] = peer.association.set_aside(0, 5, now=peer.now)
        assert not peer.association.is_readable(0)
        peer.association.give_back([message])


def test_a_full_window_of_messages_aside_is_no_reason_to_abort() -> None:
    """Nothing is readable; but the user has something to read, and more must wait."""
    peer = established(Config(rwnd=5000, max_message_size=1000))
    aside = []
    for ssn in range(20):
        peer.deliver(peer.data(bytes(900), ssn=ssn))
        aside += peer.association.set_aside(0, 5, now=peer.now)
    assert peer.association.state is State.ESTABLISHED
    assert peer.association.receiver.held <= 5000 + 2000
    assert len(aside) < 8
    peer.association.give_back(aside)
    assert peer.association.receiver.held == 0


def test_a_restart_says_what_had_come_before_it() -> None:
    """DATA travels with the COOKIE ECHO that restarts; both kinds of messages wait together."""
    pair = Pair(Config(heartbeat_interval=0))
    pair.connect()
    pair.a.send(1, b"before", now=pair.now)
    pair.flush()
    anew = Association(pair.a.config, local_port=5000, remote_port=5000, rng=random.Random(9))
    again = CorePair(anew, pair.b)
    again.run_for(pair.now)
    anew.send(1, b"after", now=again.now)
    anew.connect(again.now)
    again.run_for(1)
    [restarted] = [event for event in again.events_b if isinstance(event, Restarted)]
    assert restarted == Restarted()
    assert restarted.unread == {1: 1}
    found = pair.b.receive(1, 5, now=again.now)
    assert [message.data for message in found] == [b"before", b"after"]


def test_what_is_expedited_goes_first() -> None:
    peer = established(Config(heartbeat_interval=0), a_rwnd=1500)
    association = peer.association
    association.send(0, bytes(1500), now=peer.now)
    peer.drain()
    for stream in (1, 2, 3):
        association.send(stream, bytes(400), now=peer.now)
    association.expedite(3)
    with pytest.raises(InvalidStreamError):
        association.expedite(100)
    peer.take()
    peer.deliver(sack(peer.cumulative, a_rwnd=100_000))
    [packet, *_] = [packet for packet in peer.take() if packet.all("DATA")]
    assert packet.all("DATA")[0].as_data().stream_id == 3
