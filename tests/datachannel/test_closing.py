"""Channels end: RFC 8831 6.7, and with their association."""

from __future__ import annotations

import random

import pytest

from rtcsctp.datachannel.channel import ChannelState
from rtcsctp.datachannel.dcep import ACK, Ppid
from rtcsctp.datachannel.errors import ChannelLostError, ChannelRefusedError
from rtcsctp.datachannel.events import Closed, Closing, Incoming, Readable
from rtcsctp.datachannel.statistics import Fault
from rtcsctp.errors import ChannelIdError, ChannelStateError, RemoteProtocolError
from rtcsctp.sctp import events as sctp
from rtcsctp.sctp.config import Config
from rtcsctp.sctp.events import CloseReason
from rtcsctp.testing import Conditions, Network

from .support import (
    QUIET,
    End,
    EndPair,
    association,
    connected,
    connected_to_bare,
    ends,
    open_message,
    open_pair,
)

NO_RESETS = Config(heartbeat_interval=0, reconfiguration=False)


def test_both_sides_reset_their_streams() -> None:
    # a                       b
    #   --- reset of 0 ------->   Closing
    #   <------- reset of 0 ---
    # Closed                      Closed
    pair = connected()
    channel, other = open_pair(pair)
    pair.a.close(channel)
    assert channel.state is ChannelState.CLOSING
    with pytest.raises(ChannelStateError, match="closing"):
        pair.a.send(channel, "x")  # pitfall W40
    pair.run()
    assert pair.a.life_of(channel) == "Opened Closed"
    assert pair.b.life_of(other) == "Incoming Closing Closed"
    for end, one in ((pair.a, channel), (pair.b, other)):
        assert (one.state, one.error) == (ChannelState.CLOSED, None)
        assert end.channels.statistics().data_channels_closed == 1
        assert end.channels.open_count == 0
        assert end.channels.buffered_amount(one) == 0
        with pytest.raises(ChannelStateError, match="closed"):
            end.send(one, "x")
        end.close(one)  # changes nothing
    assert pair.a.create("again").id == 0


def test_closing_delivers_what_was_sent_pitfall_w40() -> None:
    pair = connected(network=Network(Conditions(delay=0.01, loss=0.05, rate=1e6), seed=2))
    channel, other = open_pair(pair)
    sent: list[str | bytes] = [bytes([number]) * 50_000 for number in range(20)]
    pair.a.send(channel, *sent)
    pair.a.close(channel)
    assert pair.a.channels.buffered_amount(channel) == 1_000_000
    received: list[str | bytes] = []

    def over() -> bool:
        received.extend(pair.b.receive(other))
        return other.state is channel.state is ChannelState.CLOSED

    pair.run_until(over, 120)
    assert received + pair.b.receive(other) == sent


def test_both_close_at_once() -> None:
    pair = connected(network=Network(Conditions(delay=0.01, loss=0.1), seed=4))
    channel, other = open_pair(pair)
    pair.a.send(channel, "last of a")
    pair.a.close(channel)
    pair.b.close(other)
    pair.run(30)
    assert (pair.a.life_of(channel), pair.b.life_of(other)) == ("Opened Closed", "Incoming Closed")
    assert channel.error is other.error is None
    assert pair.a.create().id == 0


def test_what_came_before_the_reset_can_be_received_afterwards() -> None:
    pair = connected()
    channel, other = open_pair(pair)
    pair.a.send(channel, "one", "two", b"")
    pair.a.close(channel)
    pair.run()
    assert other.state is ChannelState.CLOSED
    assert pair.b.channels.is_readable(other)
    assert pair.b.core.receiver.held == 64 * 3 + 7  # it still takes room in the window
    assert pair.b.receive(other, 1) == ["one"]
    assert pair.b.receive(other) == ["two", b""]
    assert pair.b.receive(other) == []
    assert not pair.b.channels.is_readable(other)
    assert pair.b.core.receiver.held == 0


def test_the_next_channel_of_the_number_has_its_own_messages() -> None:
    """Two channels that were closed unread do not keep a third from using their number."""
    pair = connected()
    for round_number in range(3):
        channel = pair.a.create(f"round {round_number}")
        assert channel.id == 0
        pair.a.send(channel, f"message {round_number}")
        pair.run()
        if round_number < 2:
            pair.a.close(channel)
            pair.run()
    others = [event.channel for event in pair.b.of(Incoming)]
    assert [other.label for other in others] == ["round 0", "round 1", "round 2"]
    for number in (2, 0, 1):
        assert pair.b.receive(others[number]) == [f"message {number}"]


def test_a_closed_channel_that_is_closed_gives_its_room_back() -> None:
    pair = connected()
    channel, other = open_pair(pair)
    pair.a.send(channel, "unread")
    pair.a.close(channel)
    pair.run()
    pair.b.close(other)
    assert pair.b.receive(other) == []
    assert pair.b.core.receiver.held == 0
    assert pair.b.core.inbox.unread == 0


def test_a_message_and_the_reset_in_one_batch_are_told_in_this_order() -> None:
    pair = connected()
    channel, other = open_pair(pair)
    pair.a.send(channel, "x")
    pair.a.close(channel)
    pair.run()
    assert [event for event in pair.b.events if event.channel is other][-3:] == [
        Readable(other),
        Closing(other),
        Closed(other),
    ]


def test_a_channel_that_begins_and_ends_in_one_batch_is_seen() -> None:
    pair = connected()
    channel = pair.a.create("short")
    pair.a.send(channel, "life")
    pair.a.close(channel)
    pair.run()
    other = pair.b.incoming()
    assert pair.b.life_of(other) == "Incoming Closing Closed"
    assert pair.b.receive(other) == ["life"]
    # The peer's acknowledgement came before its reset, so nothing was refused.
    assert channel.error is None


def test_unread_messages_are_dropped_by_who_closes() -> None:
    pair = connected()
    channel, other = open_pair(pair)
    pair.b.send(other, "unread")
    pair.run()
    pair.a.close(channel)
    assert pair.a.receive(channel) == []
    assert pair.a.core.receiver.held == 0
    pair.b.core.send(0, b"late", ppid=51, now=pair.now)  # before the reset arrives
    pair.run()
    assert pair.a.receive(channel) == []
    assert pair.a.core.receiver.held == 0
    assert channel.state is ChannelState.CLOSED


def test_an_open_may_overtake_the_answer_to_the_reset() -> None:
    # The number is free at a, but at b the reset of its stream is not confirmed yet.
    # a                              b
    #   --- reset of 0 -------------->
    #   <-------------- reset of 0 ---
    #   --- answer ----------> lost
    #   --- DATA_CHANNEL_OPEN on 0 -->   waits
    #   <------ reset of 0, repeated --
    #   --- answer ------------------>   Closed, Incoming
    pair = connected()
    channel, other = open_pair(pair)
    pair.a.close(channel)
    pair.run_until(lambda: other.state is ChannelState.CLOSING)
    pair.network.a_to_b.conditions = Conditions(loss=1.0)
    pair.run_until(lambda: channel.state is ChannelState.CLOSED)
    pair.run(0.1)
    pair.network.a_to_b.conditions = Conditions(delay=0.01)
    again = pair.a.create("again")
    pair.a.send(again, "hello")
    assert again.id == 0
    pair.run(0.05)
    assert other.state.value == "closing"
    assert pair.b.receive(other) == []
    pair.run(10)
    assert other.state is ChannelState.CLOSED
    third = pair.b.incoming()
    assert third.label == "again"
    assert pair.b.receive(third) == ["hello"]
    assert again.state is third.state is ChannelState.OPEN
    assert pair.b.channels.statistics().protocol_errors == 0


@pytest.mark.parametrize("seed", range(4))
def test_no_channel_stays_half_closed_when_packets_are_lost_pitfall_w45(seed: int) -> None:
    pair = connected(network=Network(Conditions(delay=0.01, loss=0.3), seed=seed))
    mine = {end: [end.create() for _ in range(5)] for end in (pair.a, pair.b)}
    pair.run(30)
    for end in (pair.a, pair.b):
        mine[end] += [event.channel for event in end.of(Incoming)]
        assert len(mine[end]) == 10
    rng = random.Random(seed)
    for number in range(10):
        for end in rng.choice([(pair.a,), (pair.b,), (pair.a, pair.b)]):
            [channel] = [channel for channel in mine[end] if channel.id == number]
            end.close(channel)
        pair.run(rng.choice([0, 0.1]))
    pair.run(200)
    for end in (pair.a, pair.b):
        assert [channel.state for channel in mine[end]] == [ChannelState.CLOSED] * 10
        assert [channel.error for channel in mine[end]] == [None] * 10
        assert end.channels.open_count == 0
        assert end.channels.statistics().data_channels_closed == 10


def test_closing_before_there_is_a_stream_is_all_there_is_to_do() -> None:
    pair = EndPair(End(QUIET, "a", is_client=None), End(QUIET, "b", is_client=False))
    channel, kept = pair.a.create("gone"), pair.a.create("kept")
    pair.a.close(channel)
    assert pair.a.events == [Closed(channel)]
    pair.a.channels.set_role(True, 0.0)
    pair.connect()
    assert kept.id == 0
    assert [event.channel.label for event in pair.b.of(Incoming)] == ["kept"]
    assert pair.a.channels.statistics().data_channels_closed == 0


def test_closing_before_the_association_is_up_happens_when_it_is() -> None:
    pair = ends()
    channel = pair.a.create("short")
    pair.a.close(channel)
    assert channel.state is ChannelState.CLOSING
    pair.connect()
    assert pair.a.life_of(channel) == "Closed"
    assert pair.b.life_of(pair.b.incoming()) == "Incoming Closing Closed"
    assert pair.a.create().id == 0


def test_a_reset_without_acknowledgement_is_a_refusal() -> None:
    pair = connected_to_bare()
    channel = pair.a.create("unwanted")
    pair.run()
    pair.bare.reset_streams([0], pair.now)
    pair.run()
    assert isinstance(channel.error, ChannelRefusedError)
    assert pair.a.life_of(channel) == "Opened Closing Closed"
    assert pair.resets_seen() == [0]
    assert pair.a.create().id == 0


def test_a_reset_after_the_acknowledgement_is_orderly() -> None:
    pair = connected_to_bare()
    channel = pair.a.create()
    pair.run()
    pair.bare_sends(0, ACK, Ppid.DCEP)
    pair.bare.reset_streams([0], pair.now)
    pair.run()
    assert channel.error is None
    assert pair.a.life_of(channel) == "Opened Closing Closed"


def test_a_reset_of_all_streams_closes_all_channels() -> None:
    pair = connected_to_bare()
    channels = [pair.a.create(), pair.a.create(negotiated=True, id=9)]
    pair.run()
    pair.bare_sends(0, ACK, Ppid.DCEP)
    pair.bare_sends(3, open_message(), Ppid.DCEP)
    pair.bare_sends(9, b"last", Ppid.BINARY)
    pair.bare.reset_streams([], pair.now)
    pair.run()
    channels.append(pair.a.incoming())
    assert all(channel.state is ChannelState.CLOSED for channel in channels)
    assert all(channel.error is None for channel in channels)
    assert sorted(pair.resets_seen()) == [0, 3, 9]
    assert pair.a.receive(channels[1]) == [b"last"]


def test_a_peer_may_ask_for_our_reset() -> None:
    pair = connected_to_bare()
    channel = pair.a.create(negotiated=True, id=1)
    pair.bare.request_peer_reset([1], pair.now)
    pair.run()
    assert pair.a.life_of(channel) == "Opened Closing"
    pair.bare.reset_streams([1], pair.now)
    pair.run()
    assert pair.a.life_of(channel) == "Opened Closing Closed"
    assert channel.error is None


def test_without_resets_a_channel_ends_here_and_its_id_is_not_used_again() -> None:
    pair = connected(NO_RESETS)
    channel, other = open_pair(pair)
    pair.a.send(channel, "last")
    pair.a.close(channel)
    assert pair.a.life_of(channel) == "Opened Closed"
    assert channel.error is None
    pair.b.send(other, "for nobody")
    pair.run()
    assert pair.b.receive(other) == ["last"]
    assert pair.a.core.receiver.held == 0
    assert pair.a.create().id == 2
    with pytest.raises(ChannelIdError, match="cannot be"):
        pair.a.create(negotiated=True, id=0)


def test_a_refused_reset_ends_the_channel_in_error() -> None:
    pair = connected()
    channel, _ = open_pair(pair)
    pair.a.close(channel)
    pair.a.channels.handle_event(sctp.StreamResetFailed((0,), "denied"), pair.now)
    pair.a.settle()
    assert pair.a.life_of(channel) == "Opened Closed"
    assert isinstance(channel.error, RemoteProtocolError)
    assert pair.a.channels.statistics().faults == {Fault.RESET_REFUSED: 1}
    assert pair.a.create().id == 2


def test_a_reset_is_asked_for_again_while_another_is_under_way() -> None:
    pair = connected()
    channel, other = open_pair(pair)
    pair.a.close(channel)
    pair.run_until(lambda: other.state is ChannelState.CLOSING)
    pair.a.channels.handle_event(sctp.StreamResetFailed((0,), "in progress already"), pair.now)
    pair.run()
    assert channel.state is ChannelState.CLOSED
    assert channel.error is None
    for _ in range(8):
        pair.a.channels.handle_event(sctp.StreamResetFailed((4,), "in progress already"), pair.now)
    assert pair.a.channels.statistics().protocol_errors == 0


# ------------------------------------------------------------------- the end of the association


def test_an_orderly_end_is_no_error_pitfall_w42() -> None:
    pair = connected()
    channel, other = open_pair(pair)
    pair.a.send(channel, "last")
    pair.a.core.shutdown(pair.now)
    with pytest.raises(ChannelStateError, match="SHUTDOWN"):
        pair.a.send(channel, "too late")
    pair.run()
    assert pair.a.life_of(channel) == "Opened Closed"
    assert pair.b.life_of(other) == "Incoming Closing Closed"
    assert channel.error is other.error is None
    assert pair.b.receive(other) == ["last"]
    assert pair.a.channels.open_count == pair.b.channels.open_count == 0


def test_an_abrupt_end_is_an_error_pitfall_w42() -> None:
    pair = connected()
    channel, other = open_pair(pair)
    closing = pair.b.create()
    pair.run()
    pair.a.send(channel, "last")
    pair.run()
    pair.b.close(closing)
    pair.a.core.abort(b"bye", now=pair.now)
    pair.run()
    assert channel.error is None  # our own user did it
    for one in (other, closing):
        assert one.state is ChannelState.CLOSED
        assert isinstance(one.error, ChannelLostError)
        assert one.error.reason is CloseReason.ABORTED_BY_PEER
        assert "bye" in str(one.error)
    assert pair.b.receive(other) == ["last"]
    assert pair.b.receive(closing) == []
    with pytest.raises(ChannelStateError):
        pair.b.create()


def test_silence_is_an_error_pitfall_w42() -> None:
    pair = connected(Config())
    channel, other = open_pair(pair)
    waiting = EndPair(End(QUIET, "c", is_client=None), association(QUIET, "d"))
    pending = waiting.a.create()
    waiting.a.core.connect(0.0)
    for network in (pair.network, waiting.network):
        network.a_to_b.conditions = network.b_to_a.conditions = Conditions(loss=1.0)
    pair.run(3600)
    waiting.run(3600)
    for one in (channel, other, pending):
        assert one.state is ChannelState.CLOSED
        assert isinstance(one.error, ChannelLostError)


def test_a_peer_that_goes_before_the_last_packet_ended_in_order() -> None:
    pair = connected()
    channel, other = open_pair(pair)
    pair.a.core.shutdown(pair.now)
    pair.run_until(lambda: other.state is ChannelState.CLOSING)
    pair.network.a_to_b.conditions = pair.network.b_to_a.conditions = Conditions(loss=1.0)
    pair.run(3600)
    assert other.state is ChannelState.CLOSED
    assert other.error is None
    assert channel.state is ChannelState.CLOSED


@pytest.mark.parametrize("end", ["shutdown", "abort"])
def test_a_channel_that_comes_with_the_end_is_seen_pitfall_w41(end: str) -> None:
    pair = connected()
    pair.run()
    channel = pair.a.create("late")
    pair.a.send(channel, "word")
    packets = pair.a.core.poll_transmit(pair.now)
    if end == "abort":
        pair.a.core.abort(now=pair.now)
        packets += pair.a.core.poll_transmit(pair.now)
        pair.b.handle_datagrams(packets, pair.now)
    else:
        pair.a.core.shutdown(pair.now)
        pair.b.handle_datagrams(packets, pair.now)
    pair.run()
    other = pair.b.incoming()
    assert pair.b.receive(other) == ["word"]
    assert other.state is ChannelState.CLOSED
    assert pair.b.life_of(other).endswith("Closed")


def test_a_restart_ends_all_channels_in_error() -> None:
    """RFC 8831 is silent on it; the peer has forgotten all of them."""
    pair = connected()
    channel, other = open_pair(pair)
    mine = pair.b.create("of b")
    pair.run()
    pair.a.send(channel, "before")
    pair.run()
    anew = EndPair(End(QUIET, "another", is_client=True), pair.b)
    early = anew.a.create("after")
    anew.run(pair.now)
    pair.b.close(mine)
    anew.a.core.connect(anew.now)
    anew.run(10)
    assert pair.b.channels.open_count == 1
    for one in (other, mine):
        assert one.state is ChannelState.CLOSED
        assert isinstance(one.error, ChannelLostError)
    found = pair.b.incoming()
    assert found.label == "after"
    assert pair.b.receive(other) == ["before"]
    anew.a.send(early, "hello")
    anew.run()
    assert pair.b.receive(found) == ["hello"]
    assert pair.b.create().id == 3  # 1 may still be seen in what was sent again
