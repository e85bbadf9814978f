"""Messages on channels: RFC 8831 6.6."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcsctp.datachannel.channel import ChannelState
from rtcsctp.datachannel.dcep import ACK, Ppid
from rtcsctp.datachannel.events import Closing, Low, Readable
from rtcsctp.datachannel.statistics import Fault
from rtcsctp.errors import MessageTooLargeError, RemoteProtocolError
from rtcsctp.sctp.config import Config
from rtcsctp.testing import Conditions, Network

from .support import EndPair, connected, connected_to_bare, open_message, open_pair


def with_bare_channel(config: Config | None = None) -> EndPair:
    """A bare peer that has opened channel 1."""
    pair = connected_to_bare(config or Config(heartbeat_interval=0))
    pair.bare_sends(1, open_message("from the peer"), Ppid.DCEP)
    pair.run()
    assert pair.bare_receives(1) == [(Ppid.DCEP, ACK)]
    return pair


def test_text_and_bytes_keep_their_type_pitfall_w38() -> None:
    pair = connected()
    channel, other = open_pair(pair)
    sent: list[str | bytes] = ["text", b"bytes", "é\U0001f600", "", b"", "\0", b"\0", "\ufeffbom"]
    pair.a.send(channel, *sent)
    pair.run()
    received = pair.b.receive(other)
    assert received == sent
    assert [type(message) for message in received] == [type(message) for message in sent]


def test_empty_messages_are_one_byte_under_a_name_of_their_own_pitfall_w38() -> None:
    pair = with_bare_channel()
    channel = pair.a.incoming()
    pair.a.send(channel, "", b"")
    pair.run()
    assert pair.bare_receives(1) == [(56, b"\0"), (57, b"\0")]
    for ppid in (56, 57):
        pair.bare_sends(1, b"to be ignored", ppid)
    pair.run()
    assert pair.a.receive(channel) == ["", b""]
    assert (channel.messages_received, channel.bytes_received) == (2, 0)
    assert (channel.messages_sent, channel.bytes_sent) == (2, 0)


def test_other_kinds_of_bytes_are_copied_and_other_things_refused() -> None:
    pair = connected()
    channel, other = open_pair(pair)
    changing = bytearray(b"before")

    class Text(str):
        __slots__ = ()

    for message in (changing, memoryview(b"view"), Text("text")):
        pair.a.send(channel, message)  # type: ignore[arg-type]
    changing[:] = b"after!"
    with pytest.raises(TypeError, match="int"):
        pair.a.send(channel, 5)  # type: ignore[arg-type]
    with pytest.raises(UnicodeEncodeError):
        pair.a.send(channel, "\ud800")
    pair.run()
    assert pair.b.receive(other) == [b"before", b"view", "text"]
    assert channel.messages_sent == 3


def test_text_that_is_not_utf8_does_not_crash_pitfall_w38() -> None:
    pair = with_bare_channel()
    channel = pair.a.incoming()
    pair.bare_sends(1, b"a\xffb", Ppid.STRING)
    pair.bare_sends(1, b"good", Ppid.STRING)
    pair.run()
    assert pair.a.receive(channel) == ["a\ufffdb", "good"]
    assert channel.state is ChannelState.OPEN
    assert pair.a.channels.statistics().faults == {Fault.INVALID_TEXT: 1}
    assert (channel.messages_received, channel.bytes_received) == (2, 7)


def test_the_deprecated_fragmentation_is_understood_pitfall_w38() -> None:
    pair = with_bare_channel()
    channel = pair.a.incoming()
    for data, ppid in [
        (b"plain", 51),
        ("é".encode()[:1], 54),
        ("é".encode()[1:] + b" and", 54),
        (b" more", 51),
        (b"1", 52),
        (b"2", 53),
        (b"plain", 53),
    ]:
        pair.bare_sends(1, data, ppid)
    pair.run()
    assert pair.a.receive(channel, 1) == ["plain"]
    assert pair.a.receive(channel, 1) == ["é and more"]
    assert pair.a.receive(channel) == [b"12", b"plain"]
    assert channel.reads_core
    assert (channel.messages_received, channel.bytes_received) == (4, 5 + 11 + 2 + 5)


def test_pieces_that_come_alone_wait_for_the_rest_pitfall_w38() -> None:
    pair = with_bare_channel()
    channel = pair.a.incoming()
    for data, ppid in [(b"a", 54), (b"b", 54), (b"c", 51)]:
        pair.bare_sends(1, data, ppid)
        assert pair.a.receive(channel) == []
        pair.run()
    assert pair.a.receive(channel) == ["abc"]


def test_pieces_are_bounded_pitfall_w38() -> None:
    pair = with_bare_channel(Config(heartbeat_interval=0, max_message_size=10_000))
    channel = pair.a.incoming()
    for _ in range(3):
        pair.bare_sends(1, bytes(4000), Ppid.BINARY_PARTIAL)
    pair.run()
    assert pair.a.receive(channel) == []
    assert channel.state is ChannelState.CLOSING
    assert pair.a.channels.statistics().faults == {Fault.PARTIAL_TOO_LARGE: 1}
    assert channel.partial is None


def test_pieces_on_all_channels_together_are_bounded() -> None:
    pair = connected_to_bare(Config(heartbeat_interval=0, max_message_size=1 << 20))
    for number in range(10):
        pair.bare_sends(2 * number + 1, open_message(), Ppid.DCEP)
        pair.bare_sends(2 * number + 1, bytes(900_000), Ppid.BINARY_PARTIAL)
        pair.run(20)
        pair.a.receive(pair.a.incoming())
    assert pair.a.channels.statistics().faults == {Fault.PARTIAL_TOO_LARGE: 1}
    assert pair.a.channels.open_count == 9
    # What a channel held, others may hold when it is gone.
    pair.a.close(pair.a.incoming(0))
    pair.bare_sends(21, open_message(), Ppid.DCEP)
    pair.bare_sends(21, bytes(900_000), Ppid.BINARY_PARTIAL)
    pair.bare_sends(21, b"end", Ppid.BINARY)
    pair.run(20)
    assert [len(message) for message in pair.a.receive(pair.a.incoming())] == [900_003]


def test_an_unfinished_message_of_a_closed_channel_is_nothing() -> None:
    pair = with_bare_channel()
    channel = pair.a.incoming()
    pair.bare_sends(1, b"whole", Ppid.BINARY)
    pair.bare_sends(1, b"half", Ppid.BINARY_PARTIAL)
    pair.bare.reset_streams([1], pair.now)
    pair.run()
    assert pair.a.receive(channel) == [b"whole"]
    assert channel.partial is None
    assert channel.error is None


def test_an_unknown_ppid_closes_the_channel_only_pitfall_w37() -> None:
    pair = with_bare_channel()
    channel = pair.a.incoming()
    kept = pair.a.create("kept", negotiated=True, id=8)
    for data, ppid in [(b"good", 53), (b"bad", 99), (b"lost", 53)]:
        pair.bare_sends(1, data, ppid)
    pair.run()
    assert pair.a.receive(channel) == [b"good"]
    assert channel.state.value == "closing"
    assert isinstance(channel.error, RemoteProtocolError)
    assert pair.a.events[-1] == Closing(channel)
    assert pair.a.receive(channel) == []
    pair.run()
    assert pair.resets_seen() == [1]
    pair.bare.reset_streams([1], pair.now)
    pair.run()
    assert channel.state is ChannelState.CLOSED
    assert pair.a.channels.statistics().faults == {Fault.UNKNOWN_PPID: 1}
    pair.bare_sends(8, b"x", Ppid.BINARY)
    pair.run()
    assert pair.a.receive(kept) == [b"x"]


def test_a_fault_behind_a_reset_closes_nothing_more() -> None:
    pair = with_bare_channel()
    channel = pair.a.incoming()
    pair.bare_sends(1, b"good", Ppid.BINARY)
    pair.bare_sends(1, b"bad", 99)
    pair.bare_sends(1, b"lost", Ppid.BINARY)
    pair.bare.reset_streams([1], pair.now)
    pair.run()
    pair.bare_sends(1, open_message("next"), Ppid.DCEP)
    pair.bare_sends(1, b"for the next", Ppid.BINARY)
    pair.run()
    assert pair.a.receive(channel) == [b"good"]
    assert pair.a.receive(pair.a.incoming()) == [b"for the next"]
    assert pair.a.incoming().state is ChannelState.OPEN
    assert pair.resets_seen() == [1]
    pair.a.receive(channel)
    assert pair.a.core.receiver.held == 0


def test_a_message_above_the_peers_limit_is_refused_here_pitfall_w39() -> None:
    pair = connected(max_message_size=1000)
    channel, other = open_pair(pair, label="x" * 2000)  # it does not bind DCEP
    pair.a.send(channel, bytes(1000), "é" * 500)
    for message in (bytes(1001), "é" * 501):
        with pytest.raises(MessageTooLargeError, match="peer takes 1000"):
            pair.a.send(channel, message)
    pair.run()
    assert pair.b.receive(other) == [bytes(1000), "é" * 500]
    assert (channel.messages_sent, channel.bytes_sent) == (2, 2000)
    pair.a.channels.max_message_size_remote = None
    pair.a.send(channel, bytes(200_000))
    pair.run()
    assert [len(message) for message in pair.b.receive(other)] == [200_000]


def test_receive_takes_at_most_so_many_and_opens_the_window() -> None:
    pair = connected(Config(heartbeat_interval=0, rwnd=20_000))
    channel, other = open_pair(pair)
    sent: list[str | bytes] = [f"{number:01000}" for number in range(100)]
    pair.a.send(channel, *sent)
    received: list[str | bytes] = []
    for _ in range(100):
        pair.run()
        some = pair.b.receive(other, 7)
        assert len(some) <= 7
        received += some
    assert received == sent


def test_readable_comes_when_nothing_was_waiting() -> None:
    pair = connected()
    channel, other = open_pair(pair)
    for _ in range(3):
        pair.a.send(channel, "x")
        pair.run()
    assert pair.b.of(Readable) == [Readable(other)]
    assert pair.b.channels.is_readable(other)
    pair.b.receive(other)
    assert not pair.b.channels.is_readable(other)
    pair.a.send(channel, "x")
    pair.run()
    assert pair.b.of(Readable) == [Readable(other)] * 2


def test_the_buffered_amount_and_its_threshold() -> None:
    network = Network(Conditions(delay=0.01, rate=100_000), seed=1)
    pair = connected(network=network)
    channel, other = open_pair(pair)
    assert pair.a.of(Low) == []  # DCEP counts for nothing
    assert pair.b.of(Low) == []
    pair.a.channels.set_low_threshold(channel, 30_000)
    with pytest.raises(ValueError, match="-1"):
        pair.a.channels.set_low_threshold(channel, -1)
    pair.a.send(channel, bytes(100_000))
    assert pair.a.channels.buffered_amount(channel) == 100_000
    pair.run_until(lambda: bool(pair.a.of(Low)))
    assert pair.a.of(Low) == [Low(channel)]
    assert 20_000 < pair.a.channels.buffered_amount(channel) <= 30_000
    pair.run(5)
    assert pair.a.channels.buffered_amount(channel) == 0
    assert pair.a.of(Low) == [Low(channel)]
    assert [len(message) for message in pair.b.receive(other)] == [100_000]
    # The next channel of the number begins with a threshold of its own.
    pair.a.close(channel)
    pair.run()
    again = pair.a.create()
    assert again.id == channel.id
    pair.a.send(again, bytes(40_000))
    pair.run(0.1)
    pair.run_until(lambda: len(pair.a.of(Low)) == 2)
    assert pair.a.channels.buffered_amount(again) == 0


def test_a_threshold_counts_messages_and_not_dcep() -> None:
    pair = connected()
    channel = pair.a.create()
    pair.a.channels.set_low_threshold(channel, 500)
    pair.a.settle()
    pair.a.send(channel, bytes(600))
    pair.run()
    assert pair.a.of(Low) == [Low(channel)]


@settings(max_examples=40, deadline=None)
@pytest.mark.fuzz
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from([50, 51, 52, 53, 54, 55, 56, 57, 0, 1 << 31]),
            st.binary(min_size=1, max_size=20)
            | st.sampled_from([ACK, open_message("l", "p"), open_message(ordered=False)]),
            st.booleans(),
        )
        | st.integers(0, 3),
        max_size=30,
    ),
    st.booleans(),
)
def test_no_messages_do_more_than_close_channels(
    steps: list[tuple[int, int, bytes, bool] | int], patient: bool
) -> None:
    pair = connected_to_bare()
    pair.a.create("ours")
    for step in steps:
        if isinstance(step, int):
            pair.bare.reset_streams([step], pair.now)
        else:
            stream, ppid, data, unordered = step
            pair.bare_sends(stream, data, ppid, unordered=unordered)
        if patient:
            pair.run(0.05)
            for channel in {event.channel for event in pair.a.of(Readable)}:
                pair.a.receive(channel)
    pair.run(5)
    for event in list(pair.a.events):
        pair.a.receive(event.channel)
        pair.a.close(event.channel)
    pair.run(5)
    assert pair.a.core.closed is None
    assert pair.a.channels.open_count == 0
    assert pair.a.core.inbox.unread >= 0
    assert pair.a.core.receiver.held >= 0
    pair.bare.reset_streams([0, 1, 2, 3], pair.now)
    pair.run(5)
    for event in list(pair.a.events):
        pair.a.close(event.channel)
    pair.run(5)
    pair.bare.reset_streams([0, 1, 2, 3], pair.now)
    pair.run(5)
    assert pair.a.core.receiver.held == 0
    assert pair.a.core.inbox.unread == 0
