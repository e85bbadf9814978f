"""Channels come into being: RFC 8831 6.5, RFC 8832 section 6."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from rtcsctp.datachannel.channel import Channel, ChannelState
from rtcsctp.datachannel.dcep import ACK, Ppid
from rtcsctp.datachannel.events import Incoming, Opened, Readable
from rtcsctp.datachannel.ids import IdPool
from rtcsctp.datachannel.statistics import Fault
from rtcsctp.errors import (
    ChannelIdError,
    ChannelStateError,
    MessageTooLargeError,
    ReliabilityError,
)
from rtcsctp.sctp.config import Config
from rtcsctp.testing import Conditions, Network

from .support import (
    QUIET,
    End,
    EndPair,
    connected,
    connected_to_bare,
    ends,
    open_message,
    open_pair,
)


def test_a_channel_opens_at_both_ends() -> None:
    # a                                  b
    #   --- DATA_CHANNEL_OPEN --------->   Incoming
    #   <------------ DATA_CHANNEL_ACK --
    pair = connected()
    channel = pair.a.create("chat", protocol="raw", ordered=False, max_retransmits=3, priority=512)
    assert channel.state is ChannelState.OPEN
    assert pair.a.of(Opened) == [Opened(channel)]
    pair.run()
    other = pair.b.incoming()
    assert (other.id, other.label, other.protocol) == (channel.id, "chat", "raw")
    assert (other.ordered, other.max_retransmits, other.priority) == (False, 3, 512)
    assert other.state is ChannelState.OPEN
    assert not other.negotiated
    assert pair.b.of(Opened) == []  # Incoming says it
    assert not channel.awaits_ack
    for end in (pair.a, pair.b):
        assert end.channels.statistics().data_channels_opened == 1
        assert end.channels.statistics().protocol_errors == 0


def test_channels_of_before_the_connection_open_with_it() -> None:
    pair = ends()
    channels = [pair.a.create(str(number)) for number in range(3)]
    assert [channel.state for channel in channels] == [ChannelState.CONNECTING] * 3
    assert [channel.id for channel in channels] == [0, 2, 4]
    pair.connect()
    assert [event.channel for event in pair.a.of(Opened)] == channels
    assert [event.channel.label for event in pair.b.of(Incoming)] == ["0", "1", "2"]


def test_an_open_of_before_the_connection_travels_with_the_handshake() -> None:
    #   --- INIT ------>
    #   <-- INIT ACK ---
    #   --- COOKIE ECHO, DATA: DATA_CHANNEL_OPEN --->
    pair = ends()
    pair.a.create("early")
    pair.a.core.connect(0.0)
    pair.run_until(lambda: bool(pair.b.of(Incoming)), 10)
    assert pair.now == pytest.approx(0.03)


def test_a_channel_is_usable_without_the_acknowledgement_pitfall_w30() -> None:
    pair = connected_to_bare()
    channel = pair.a.create("silent")
    pair.a.send(channel, b"at once")
    pair.run()
    assert pair.bare_receives(0) == [
        (Ppid.DCEP, open_message("silent")),
        (Ppid.BINARY, b"at once"),
    ]
    assert channel.awaits_ack


def test_sending_before_the_association_is_up_is_refused() -> None:
    pair = ends()
    channel = pair.a.create()
    with pytest.raises(ChannelStateError, match="connecting"):
        pair.a.send(channel, "too early")
    assert pair.a.channels.buffered_amount(channel) == 0
    assert pair.a.receive(channel) == []
    assert not pair.a.channels.is_readable(channel)


def test_unordered_channels_go_ordered_until_the_peer_answers_pitfall_w31() -> None:
    pair = connected_to_bare()
    channel = pair.a.create("u", ordered=False)
    pair.a.send(channel, "first")
    pair.run()
    assert [m.unordered for m in pair.bare.receive(0, 9, now=pair.now)] == [False, False]
    pair.bare_sends(0, ACK, Ppid.DCEP)
    pair.run()
    pair.a.send(channel, "second")
    pair.run()
    assert [m.unordered for m in pair.bare.receive(0, 9, now=pair.now)] == [True]


def test_a_message_of_the_peer_answers_as_well_pitfall_w31() -> None:
    pair = connected_to_bare()
    channel = pair.a.create("u", ordered=False)
    pair.run()
    pair.bare_sends(0, b"overtakes the ACK", Ppid.BINARY, unordered=True)
    pair.run()
    assert pair.a.events[-1] == Readable(channel)
    pair.a.send(channel, "second")
    pair.run()
    assert [m.unordered for m in pair.bare.receive(0, 9, now=pair.now)] == [False, True]
    pair.bare_sends(0, ACK, Ppid.DCEP)
    pair.bare_sends(0, b"more", Ppid.BINARY)
    pair.run()
    assert pair.a.receive(channel) == [b"overtakes the ACK", b"more"]
    assert pair.a.channels.statistics().protocol_errors == 0
    assert channel.reads_core


def test_who_was_asked_may_send_unordered_at_once_pitfall_w31() -> None:
    pair = connected_to_bare()
    pair.bare_sends(1, open_message(ordered=False), Ppid.DCEP)
    pair.run()
    pair.a.send(pair.a.incoming(), "x")
    pair.run()
    found = pair.bare.receive(1, 9, now=pair.now)
    assert [(m.ppid, m.unordered) for m in found] == [(50, False), (51, True)]


def test_negotiated_channels_are_unordered_at_once_and_say_nothing() -> None:
    pair = connected_to_bare()
    channel = pair.a.create("n", negotiated=True, id=7, ordered=False)
    assert (channel.id, channel.state) == (7, ChannelState.OPEN)
    pair.a.send(channel, b"x")
    pair.run()
    assert [(m.ppid, m.unordered) for m in pair.bare.receive(7, 9, now=pair.now)] == [(53, True)]
    pair.bare_sends(7, b"y", Ppid.BINARY)
    pair.run()
    assert pair.a.receive(channel) == [b"y"]


def test_ids_follow_the_dtls_role_pitfall_w32() -> None:
    pair = connected()
    assert [pair.a.create().id for _ in range(3)] == [0, 2, 4]
    assert [pair.b.create().id for _ in range(3)] == [1, 3, 5]
    pair.run()
    assert pair.a.channels.open_count == pair.b.channels.open_count == 6


def test_ids_come_with_the_role_pitfall_w32() -> None:
    pair = EndPair(
        End(QUIET, "a", is_client=None),
        End(QUIET, "b", is_client=None),
    )
    early = [pair.a.create(), pair.a.create(negotiated=True, id=1), pair.a.create()]
    pair.b.create(negotiated=True, id=1)
    assert [channel.id for channel in early] == [None, 1, None]
    assert "without an id" in repr(early[0])
    pair.a.channels.set_role(False, 0.0)
    pair.b.channels.set_role(True, 0.0)
    assert [channel.id for channel in early] == [3, 1, 5]  # around the negotiated one
    pair.connect()
    assert len(pair.a.of(Opened)) == 3
    assert len(pair.b.of(Incoming)) == 2
    pair.a.channels.set_role(False, 0.0)
    with pytest.raises(ValueError, match="role"):
        pair.a.channels.set_role(True, 0.0)


def test_a_role_that_comes_after_the_association_opens_channels_then() -> None:
    pair = EndPair(End(QUIET, "a", is_client=None), End(QUIET, "b", is_client=False))
    channel = pair.a.create()
    pair.connect()
    assert channel.state.value == "connecting"
    pair.a.channels.set_role(True, pair.now)
    pair.a.settle()
    assert channel.state is ChannelState.OPEN
    pair.run()
    assert pair.b.incoming().id == 0


@pytest.mark.parametrize("number", [-1, 65_535, 70_000])
def test_65535_is_no_id_pitfall_w32(number: int) -> None:
    with pytest.raises(ChannelIdError, match="0 to 65534"):
        ends().a.create(negotiated=True, id=number)
    assert ends().a.create(negotiated=True, id=65_534).id == 65_534


def test_ids_in_use_are_refused_and_skipped() -> None:
    pair = connected()
    pair.a.create(negotiated=True, id=2)
    assert [pair.a.create().id for _ in range(2)] == [0, 4]
    with pytest.raises(ChannelIdError, match="in use"):
        pair.a.create(negotiated=True, id=4)


def test_the_limit_of_streams_is_what_was_negotiated_pitfall_w44() -> None:
    few = Config(heartbeat_interval=0, inbound_streams=5, outbound_streams=5)
    pair = ends(QUIET, few)
    early = [pair.a.create() for _ in range(4)]
    far = pair.a.create(negotiated=True, id=5)
    pair.connect()
    states = [channel.state for channel in early]
    assert states == [ChannelState.OPEN] * 3 + [ChannelState.CLOSED]
    assert isinstance(early[3].error, ChannelIdError)
    assert isinstance(far.error, ChannelIdError)
    assert len(pair.b.of(Incoming)) == 3
    with pytest.raises(ChannelIdError, match="no even stream is free below 5"):
        pair.a.create()
    with pytest.raises(ChannelIdError, match="there are 5"):
        pair.a.create(negotiated=True, id=5)
    assert [pair.b.create().id for _ in range(2)] == [1, 3]
    with pytest.raises(ChannelIdError, match="no odd stream"):
        pair.b.create()


def test_there_may_be_a_limit_of_channels() -> None:
    pair = connected(max_channels=2)
    pair.a.create()
    pair.a.create()
    with pytest.raises(ChannelIdError, match="2 data channels"):
        pair.a.create()
    pair.run()
    with pytest.raises(ChannelIdError, match="2 data channels"):
        pair.b.create()


def test_empty_and_equal_labels_are_legal_and_so_are_the_longest_pitfall_w34() -> None:
    pair = connected()
    label, protocol = "é" * 32_767 + "x", "p" * 65_535
    for text in ("", "same", "same"):
        pair.a.create(text)
    pair.a.create(label, protocol=protocol)
    pair.run(10)
    found = [event.channel for event in pair.b.of(Incoming)]
    assert [channel.label for channel in found] == ["", "same", "same", label]
    assert found[-1].protocol == protocol
    with pytest.raises(ValueError, match="at most 65535 bytes"):
        pair.a.create(label + "x")


@pytest.mark.parametrize(
    "options",
    [
        {"max_retransmits": 0, "max_packet_lifetime": 0},
        {"max_retransmits": 1, "max_packet_lifetime": 1.0},
        {"max_retransmits": -1},
        {"max_retransmits": 1 << 32},
        {"max_packet_lifetime": -0.001},
        {"max_packet_lifetime": math.nan},
        {"max_packet_lifetime": math.inf},
    ],
)
def test_limits_that_cannot_be_are_refused_pitfall_w35(options: dict[str, Any]) -> None:
    pair = connected()
    with pytest.raises(ReliabilityError):
        pair.a.create(**options)
    assert pair.a.create().id == 0  # nothing was changed


@pytest.mark.parametrize("options", [{"max_retransmits": 0}, {"max_packet_lifetime": 0}])
def test_zero_is_a_limit_in_both_directions_pitfall_w35(options: dict[str, Any]) -> None:
    """What is lost is not sent again, whoever sent it; what is not lost, arrives."""
    pair = connected(network=Network(Conditions(delay=0.01), seed=5))
    channel, other = open_pair(pair, ordered=False, **options)
    assert channel.is_reliable is other.is_reliable is False
    pair.a.send(channel, "there")
    pair.b.send(other, "back")
    pair.run()
    assert (pair.b.receive(other), pair.a.receive(channel)) == (["there"], ["back"])
    pair.network.a_to_b.conditions = pair.network.b_to_a.conditions = Conditions(loss=1.0)
    pair.a.send(channel, "lost")
    pair.b.send(other, "lost")
    pair.run(0.005)
    pair.network.a_to_b.conditions = pair.network.b_to_a.conditions = Conditions(delay=0.01)
    pair.run(10)
    assert (pair.b.receive(other), pair.a.receive(channel)) == ([], [])
    assert pair.a.core.is_drained
    assert pair.b.core.is_drained


def test_a_lifetime_is_kept_in_whole_milliseconds() -> None:
    pair = connected()
    assert pair.a.create(max_packet_lifetime=0.07).max_packet_lifetime == 0.07
    assert pair.a.create(max_packet_lifetime=0.0001).max_packet_lifetime == 0.001
    assert pair.a.create(max_packet_lifetime=1.23456).max_packet_lifetime == 1.235
    assert pair.a.create(max_packet_lifetime=0).max_packet_lifetime == 0
    pair.run()
    assert [e.channel.max_packet_lifetime for e in pair.b.of(Incoming)] == [0.07, 0.001, 1.235, 0]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"negotiated": True}, ValueError),
        ({"id": 4}, ValueError),
        ({"priority": -1}, ValueError),
        ({"priority": 65_536}, ValueError),
        ({"label": b"bytes"}, TypeError),
        ({"protocol": 5}, TypeError),
        ({"label": "\ud800"}, UnicodeEncodeError),
    ],
)
def test_other_arguments_that_cannot_be(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        connected().a.create(**options)


def test_an_open_that_the_association_would_refuse_is_refused_before_all_else() -> None:
    pair = connected(Config(heartbeat_interval=0, peer_max_message_size=100))
    with pytest.raises(MessageTooLargeError):
        pair.a.create("x" * 100)
    assert pair.a.create("x" * 80).id == 0


def test_no_channels_at_the_end() -> None:
    pair = connected()
    pair.a.core.shutdown(pair.now)
    with pytest.raises(ChannelStateError):
        pair.a.create()
    pair.run()
    with pytest.raises(ChannelStateError):
        pair.a.create()


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_lost_before_the_first_receive_pitfall_w41(seed: int) -> None:
    # OPEN and messages in one packet; nobody looks for a second.
    pair = connected(network=Network(Conditions(delay=0.01, loss=0.2, jitter=0.02), seed=seed))
    channel = pair.a.create("w", ordered=False)
    pair.a.send(channel, *[f"{number}" for number in range(50)])
    pair.run(20)
    other = pair.b.incoming()
    assert sorted(map(int, map(str, pair.b.receive(other)))) == list(range(50))
    assert pair.b.of(Readable)[0] == Readable(other)
    pair.b.send(other, *[bytes([number]) for number in range(50)])
    pair.run(20)
    assert sorted(pair.a.receive(channel)) == [bytes([n]) for n in range(50)]


def test_two_thousand_channels_open_at_once() -> None:
    pair = connected()
    for number in range(1000):
        pair.a.create(f"a{number}")
        pair.b.create(f"b{number}")
    pair.run(20)
    for end in (pair.a, pair.b):
        assert end.channels.open_count == 2000
        assert len(end.of(Incoming)) == 1000


def test_a_peers_labels_are_bounded_in_all() -> None:
    pair = connected_to_bare()
    opening = open_message("x" * 65_535, "y" * 65_535)
    for number in range(40):
        pair.bare_sends(2 * number + 1, opening, Ppid.DCEP)
    pair.run(60)
    assert len(pair.a.of(Incoming)) == (4 << 20) // (2 * 65_535)
    assert pair.a.channels.statistics().faults[Fault.TOO_MANY] == 8
    pair.a.close(pair.a.incoming())
    pair.run()


def test_the_pool_gives_the_lowest_free_id() -> None:
    rng = random.Random(3)
    pool, used = IdPool(even=False), set[int]()
    for _ in range(3000):
        if used and rng.random() < 0.4:
            gone = rng.choice(sorted(used))
            used.remove(gone)
            pool.free(gone)
            if rng.random() < 0.1:  # somebody else takes it
                used.add(gone)
        elif len(used) < 500:
            expected = next(n for n in range(1, 1001, 2) if n not in used)
            assert pool.take(1001, used.__contains__) == expected
            used.add(expected)


def test_memory_of_a_channel_is_small() -> None:
    channel = Channel(
        "",
        "",
        ordered=True,
        max_retransmits=None,
        max_packet_lifetime=None,
        priority=256,
        negotiated=False,
        number=0,
    )
    assert channel.__sizeof__() < 300
    assert not hasattr(channel, "__dict__")
