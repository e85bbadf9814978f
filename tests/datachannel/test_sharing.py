"""How channels share the association: RFC 8831 6.4, RFC 8260."""

from __future__ import annotations

import pytest

from rtcsctp.datachannel.dcep import ACK, Ppid
from rtcsctp.datachannel.events import Incoming
from rtcsctp.sctp.config import SCHEDULERS, Config
from rtcsctp.sctp.events import Message
from rtcsctp.testing import Conditions, Network

from .support import EndPair, connected, connected_to_bare, open_message

CONFIGS = {
    "interleaving": Config(heartbeat_interval=0),
    "one message after the other": Config(heartbeat_interval=0, interleaving=False),
}
both = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def in_order_of_arrival(pair: EndPair, streams: int) -> list[Message]:
    """What the bare peer gets from now on."""
    found: list[Message] = []

    def look() -> bool:
        for stream in range(streams):
            found.extend(pair.bare.receive(stream, 1000, now=pair.now))
        return pair.a.core.is_drained

    pair.run_until(look, 600)
    return found


def slow_pair(config: Config) -> EndPair:
    pair = connected_to_bare(config)
    pair.network.a_to_b.conditions = Conditions(delay=0.01, rate=500_000)
    return pair


@both
def test_dcep_goes_ahead_of_bulk_data_pitfall_w33(config: Config) -> None:
    pair = slow_pair(config)
    bulk = [pair.a.create(negotiated=True, id=number) for number in range(1, 60, 2)]
    for _ in range(2):  # the second time, all begin at the same point of virtual time
        for channel in bulk:
            pair.a.send(channel, bytes(10_000), bytes(10_000))
        pair.a.create("urgent")
        pair.a.settle()
        found = in_order_of_arrival(pair, 64)
        place = [message.ppid for message in found].index(Ppid.DCEP)
        assert place <= 1, place
        assert len(found) == 61


@both
def test_an_acknowledgement_goes_ahead_of_bulk_data_pitfall_w33(config: Config) -> None:
    pair = slow_pair(config)
    bulk = [pair.a.create(negotiated=True, id=number) for number in range(0, 40, 2)]
    for channel in bulk:
        pair.a.send(channel, *[bytes(5000)] * 4)
    pair.bare_sends(1, open_message("x", ordered=False, max_retransmits=0), Ppid.DCEP)
    pair.run_until(lambda: bool(pair.a.of(Incoming)))
    before = pair.a.core.buffered_amount
    pair.run_until(lambda: pair.bare.is_readable(1))
    after = pair.a.core.buffered_amount
    [ack] = pair.bare.receive(1, 5, now=pair.now)
    assert (ack.data, ack.unordered) == (ACK, False)  # and reliable: pitfall W33
    assert before - after < 60_000  # what was on its way already, and a little


def test_dcep_is_reliable_whatever_the_channel_is_pitfall_w33() -> None:
    pair = connected(network=Network(Conditions(delay=0.01), seed=3))
    pair.network.a_to_b.conditions = Conditions(loss=1.0)
    channel = pair.a.create("r", ordered=False, max_retransmits=0)
    pair.a.send(channel, "lost")
    pair.run(0.1)
    pair.network.a_to_b.conditions = Conditions(delay=0.01)
    pair.network.b_to_a.conditions = Conditions(loss=1.0)
    pair.run(3)
    pair.network.b_to_a.conditions = Conditions(delay=0.01)
    pair.run(10)
    assert pair.b.incoming().label == "r"
    assert not channel.awaits_ack
    assert pair.b.receive(pair.b.incoming()) == []


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_dcep_goes_first_with_every_scheduler(scheduler: str) -> None:
    pair = slow_pair(Config(heartbeat_interval=0, scheduler=scheduler))
    for number in range(1, 20, 2):
        pair.a.send(pair.a.create(negotiated=True, id=number), *[bytes(3000)] * 3)
    late = [pair.a.create(str(number)) for number in range(3)]
    pair.a.send(late[0], "not urgent")
    found = in_order_of_arrival(pair, 20)
    bulk = [place for place, message in enumerate(found) if message.stream_id % 2]
    dcep = [message.stream_id for message in found[: bulk[0]] if message.ppid == Ppid.DCEP]
    assert dcep == [0, 2, 4]
    assert len(found) == 30 + 4


def test_channels_share_by_priority() -> None:
    pair = slow_pair(CONFIGS["interleaving"])
    channels = [
        pair.a.create(negotiated=True, id=number, priority=priority)
        for number, priority in enumerate([128, 256, 512, 1024, 0])
    ]
    for channel in channels:
        pair.a.send(channel, *[bytes(1000)] * 600)
    pair.run(1)
    sent = [600_000 - pair.a.channels.buffered_amount(channel) for channel in channels]
    for number in range(3):
        assert sent[number + 1] / sent[number] == pytest.approx(2, rel=0.1)
    assert sent[4] < sent[0] / 10


@both
def test_a_large_message_does_not_hold_up_others_for_longer_than_it_must_pitfall_w43(
    config: Config,
) -> None:
    pair = slow_pair(config)
    large = pair.a.create(negotiated=True, id=1)
    small = pair.a.create(negotiated=True, id=3)
    pair.a.send(large, *[bytes(100_000)] * 3)
    pair.run(0.05)
    pair.a.send(small, "small")
    order = [message.stream_id for message in in_order_of_arrival(pair, 4)]
    # With I-DATA it comes before the message that had begun ends; else right after that one.
    assert order == ([3, 1, 1, 1] if config.interleaving else [1, 3, 1, 1])


def test_an_unread_channel_slows_its_peer_down_and_loses_nothing() -> None:
    config = Config(heartbeat_interval=0, rwnd=100_000)
    pair = connected(config)
    channel = pair.a.create("unread")
    sent: list[str | bytes] = [f"{number:0999}" for number in range(500)]
    pair.a.send(channel, *sent)
    pair.run(10)
    assert pair.b.core.receiver.held <= 100_000 + 2 * config.max_message_size
    assert pair.a.channels.buffered_amount(channel) > 300_000
    received: list[str | bytes] = []
    while some := pair.b.receive(pair.b.incoming(), 50):
        received += some
        pair.run(2)
    assert received == sent
