"""A peer that does what RFC 8831 and 8832 forbid: it costs it the stream, and nothing else."""

from __future__ import annotations

import pytest

from rtcsctp.datachannel.channel import ChannelState
from rtcsctp.datachannel.dcep import ACK, Ppid
from rtcsctp.datachannel.events import Incoming
from rtcsctp.datachannel.statistics import Fault
from rtcsctp.errors import ChannelIdError, RemoteProtocolError
from rtcsctp.sctp.config import Config
from rtcsctp.sctp.state import State

from .support import EndPair, connected_to_bare, open_message


def check_refused(pair: EndPair, stream: int, fault: Fault) -> None:
    """The stream is reset, and can be used when the peer has done the same."""
    pair.run()
    assert pair.a.core.state is State.ESTABLISHED
    assert pair.resets_seen() == [stream]
    assert pair.a.channels.statistics().faults == {fault: 1}
    assert pair.bare_receives(stream) == []  # no DATA_CHANNEL_ACK
    assert pair.a.of(Incoming) == []
    with pytest.raises(ChannelIdError, match="still being reset"):
        pair.a.create(negotiated=True, id=stream)
    pair.bare_sends(stream, b"more", Ppid.BINARY)
    pair.run()
    assert pair.a.core.receiver.held == 0
    assert pair.a.channels.statistics().protocol_errors == 1
    pair.bare.reset_streams([stream], pair.now)
    pair.run()
    pair.bare_sends(stream | 1, open_message("good"), Ppid.DCEP)
    pair.run()
    assert pair.a.incoming().label == "good"
    assert pair.resets_seen() == [stream]


def test_an_open_of_our_parity_is_refused_pitfall_w36() -> None:
    pair = connected_to_bare()
    pair.bare_sends(2, open_message(), Ppid.DCEP)
    check_refused(pair, 2, Fault.WRONG_PARITY)
    assert [pair.a.create().id for _ in range(2)] == [0, 2]


@pytest.mark.parametrize(
    "message", [b"\x03", b"\x07", b"\x00", open_message("x")[:-1], b"\x03\x7f" + bytes(10)]
)
def test_a_malformed_open_is_refused_pitfall_w36(message: bytes) -> None:
    pair = connected_to_bare()
    pair.bare_sends(1, message, Ppid.DCEP)
    check_refused(pair, 1, Fault.MALFORMED)


@pytest.mark.parametrize("ppid", [51, 52, 53, 54, 56, 57, 0, 99])
def test_user_data_on_an_unused_stream_is_refused_pitfall_w37(ppid: int) -> None:
    pair = connected_to_bare()
    pair.bare_sends(5, b"hello", ppid)
    pair.bare_sends(5, b"hello", ppid)
    check_refused(pair, 5, Fault.DATA_ON_UNUSED_STREAM)


def test_an_acknowledgement_of_nothing_is_refused() -> None:
    pair = connected_to_bare()
    pair.bare_sends(1, ACK, Ppid.DCEP)
    check_refused(pair, 1, Fault.DATA_ON_UNUSED_STREAM)


def test_a_stream_that_is_misused_and_reset_at_once_is_free_after_our_reset() -> None:
    pair = connected_to_bare()
    pair.bare_sends(1, b"hello", Ppid.BINARY)
    pair.bare.reset_streams([1], pair.now)
    pair.bare_sends(1, open_message("next"), Ppid.DCEP)
    pair.run()
    assert pair.resets_seen() == [1]
    assert pair.a.incoming().label == "next"
    assert pair.a.core.receiver.held == 0


def test_an_open_on_a_used_stream_closes_the_channel_pitfall_w36() -> None:
    pair = connected_to_bare()
    pair.bare_sends(1, open_message("first"), Ppid.DCEP)
    pair.run()
    channel, mine = pair.a.incoming(), pair.a.create("mine")
    pair.bare_sends(1, b"unread", Ppid.BINARY)
    pair.bare_sends(1, open_message("again"), Ppid.DCEP)
    pair.bare_sends(0, open_message("yours"), Ppid.DCEP)  # ours is not even acknowledged
    pair.run()
    assert pair.a.receive(channel) == [b"unread"]
    assert pair.a.receive(mine) == []
    pair.run()
    for one in (channel, mine):
        assert one.state is ChannelState.CLOSING
        assert isinstance(one.error, RemoteProtocolError)
    assert sorted(pair.resets_seen()) == [0, 1]
    assert pair.a.channels.statistics().faults == {Fault.OPEN_ON_USED_STREAM: 2}
    assert len(pair.a.of(Incoming)) == 1
    assert pair.a.core.state is State.ESTABLISHED


def test_more_acknowledgements_than_needed_do_not_matter() -> None:
    pair = connected_to_bare()
    channel = pair.a.create()
    for _ in range(3):
        pair.bare_sends(0, ACK, Ppid.DCEP)
    pair.bare_sends(0, b"x", Ppid.BINARY)
    pair.bare_sends(0, ACK, Ppid.DCEP)
    pair.run()
    assert pair.a.receive(channel, 1) == [b"x"]
    assert pair.a.receive(channel, 1) == []
    assert channel.state is ChannelState.OPEN
    assert pair.a.channels.statistics().protocol_errors == 0


def test_channels_above_the_limit_are_refused() -> None:
    pair = connected_to_bare(max_channels=2)
    for stream in (1, 3, 5):
        pair.bare_sends(stream, open_message(str(stream)), Ppid.DCEP)
    pair.run()
    assert [event.channel.id for event in pair.a.of(Incoming)] == [1, 3]
    assert pair.resets_seen() == [5]
    assert pair.a.channels.statistics().faults == {Fault.TOO_MANY: 1}


def test_a_channel_on_a_stream_that_we_cannot_send_on_is_ignored_pitfall_w44() -> None:
    few = Config(heartbeat_interval=0, inbound_streams=10)
    pair = connected_to_bare(Config(heartbeat_interval=0), few)
    assert (pair.a.core.inbound_streams, pair.a.core.outbound_streams) == (65_535, 10)
    pair.bare_sends(11, open_message(), Ppid.DCEP)
    pair.bare_sends(11, b"x", Ppid.BINARY)
    pair.bare_sends(9, open_message(), Ppid.DCEP)
    pair.run()
    assert [event.channel.id for event in pair.a.of(Incoming)] == [9]
    assert pair.a.channels.statistics().faults == {Fault.NO_SUCH_STREAM: 1}
    assert pair.a.core.receiver.held == 0
    assert pair.resets_seen() == []


def test_a_misused_stream_that_cannot_be_reset_stays_unused() -> None:
    pair = connected_to_bare(Config(heartbeat_interval=0, reconfiguration=False))
    for _ in range(3):
        pair.bare_sends(0, b"x", Ppid.BINARY)
        pair.run()
    assert pair.a.channels.statistics().protocol_errors == 1
    assert pair.a.core.receiver.held == 0
    assert pair.a.create().id == 2


def test_a_stream_used_again_before_we_have_reset_ours_is_read_when_that_is_done() -> None:
    # The peer's second reset comes before it has answered ours: what lies between is lost.
    pair = connected_to_bare()
    channel = pair.a.create(negotiated=True, id=1)
    for text in ("one", "two"):
        pair.bare_sends(1, text.encode(), Ppid.STRING)
        pair.bare.reset_streams([1], pair.now)
        pair.run_for(0.0101)
    pair.run()
    assert pair.a.receive(channel) == ["one"]
    assert channel.state is ChannelState.CLOSED
    assert pair.a.core.state is State.ESTABLISHED
    pair.bare_sends(1, open_message("next"), Ppid.DCEP)
    pair.run()
    if pair.a.channels.statistics().protocol_errors:
        pair.bare.reset_streams([1], pair.now)
        pair.run()
        pair.bare_sends(1, open_message("next"), Ppid.DCEP)
        pair.run()
    assert pair.a.incoming().label == "next"


def test_unread_messages_close_the_window_whatever_became_of_their_channels() -> None:
    """What is set aside with closed channels is held within the receive window, too."""
    pair = connected_to_bare(Config(heartbeat_interval=0, rwnd=50_000, max_message_size=10_000))
    for number in range(100):
        stream = 2 * number + 1
        pair.bare_sends(stream, open_message(), Ppid.DCEP)
        pair.bare_sends(stream, bytes(1000), Ppid.BINARY)
        pair.bare.reset_streams([stream], pair.now)
    pair.run(30)
    held = pair.a.core.receiver.held
    assert 45_000 < held <= 50_000 + 2 * 10_000
    for _ in range(20):
        channels = [event.channel for event in pair.a.of(Incoming)]
        for channel in channels:
            assert pair.a.receive(channel) in ([bytes(1000)], [])
        pair.run(10)
    assert [channel.messages_received for channel in channels] == [1] * 100
    assert pair.a.core.receiver.held == 0
    assert pair.a.core.state is State.ESTABLISHED
