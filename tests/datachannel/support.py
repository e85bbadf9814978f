"""Two ends with data channels over a simulated network, in virtual time; or one, and a bare core.

A bare core can send anything on any stream: it is the peer that misbehaves. ::

    pair = connected()                         # two `End`s: pair.a is the DTLS client
    channel = pair.a.create("chat")
    pair.run()
    other = pair.b.incoming()

    pair = connected_to_bare()                 # pair.a has channels, pair.bare is an association
    pair.bare.send(1, open_message(), ppid=50, now=pair.now)
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from rtcsctp.datachannel.channel import Channel
from rtcsctp.datachannel.channels import Channels
from rtcsctp.datachannel.dcep import Open
from rtcsctp.datachannel.events import ChannelEvent, Closed, Closing, Incoming, Opened
from rtcsctp.sctp import events as sctp
from rtcsctp.sctp.association import Association
from rtcsctp.sctp.config import Config
from rtcsctp.sctp.state import State
from rtcsctp.sctp.timers import Timer
from rtcsctp.testing import Conditions, CorePair, Network

DELAY = 0.01
QUIET = Config(heartbeat_interval=0)

EventT = TypeVar("EventT")


def association(config: Config, seed: str) -> Association:
    return Association(config, local_port=5000, remote_port=5000, rng=random.Random(seed))


class End:
    """An association and its channels, driven as a runtime would."""

    def __init__(
        self,
        config: Config,
        seed: str,
        *,
        is_client: bool | None,
        max_message_size: int | None = None,
        max_channels: int = 65_535,
    ) -> None:
        self.core = association(config, seed)
        self.channels = Channels(
            self.core, max_message_size_remote=max_message_size, max_channels=max_channels
        )
        self.now = 0.0
        self.events: list[ChannelEvent] = []
        self.core_events: list[sctp.Event] = []
        if is_client is not None:
            self.channels.set_role(is_client, 0.0)

    # ---- the surface of a core

    @property
    def timers(self) -> Mapping[Timer, float]:
        return self.core.timers

    def handle_datagrams(self, batch: Sequence[bytes], now: float) -> None:
        self.now = now
        self.core.handle_datagrams(batch, now)
        self.settle()

    def handle_timer(self, timer: Timer, now: float) -> None:
        self.now = now
        self.core.handle_timer(timer, now)
        self.settle()

    def poll_event(self) -> sctp.Event | None:
        self.settle()
        return None

    def poll_transmit(self, now: float, max_packets: int = 64) -> list[bytes]:
        self.now = now
        packets = self.core.poll_transmit(now, max_packets)
        self.settle()
        return packets

    def settle(self) -> None:
        while True:
            event = self.core.poll_event()
            if event is not None:
                self.core_events.append(event)
                self.channels.handle_event(event, self.now)
                continue
            found = self.channels.poll_event()
            if found is None:
                break
            self.events.append(found)

    # ---- what a user does

    def create(self, label: str = "", **options: Any) -> Channel:
        channel = self.channels.create(label, now=self.now, **options)
        self.settle()
        return channel

    def send(self, channel: Channel, *messages: str | bytes) -> None:
        for message in messages:
            self.channels.send(channel, message, self.now)
        self.settle()

    def receive(self, channel: Channel, limit: int = 1000) -> list[str | bytes]:
        found = self.channels.receive(channel, limit, self.now)
        self.settle()
        return found

    def close(self, channel: Channel) -> None:
        self.channels.close(channel, self.now)
        self.settle()

    # ---- what it was told

    def of(self, kind: type[EventT]) -> list[EventT]:
        """All events of this kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def incoming(self, place: int = -1) -> Channel:
        return self.of(Incoming)[place].channel

    def life_of(self, channel: Channel) -> str:
        """The names of a channel's events, without those about its messages."""
        kinds = (Incoming, Opened, Closing, Closed)
        return " ".join(
            type(event).__name__
            for event in self.events
            if isinstance(event, kinds) and event.channel is channel
        )


class EndPair(CorePair[Timer, sctp.Event]):
    """Two ends; either may be a bare association."""

    def __init__(self, a: End, b: End | Association, network: Network | None = None) -> None:
        self.a = a
        self._b = b
        self.core_b = b.core if isinstance(b, End) else b
        super().__init__(a, b, network or Network(Conditions(delay=DELAY), seed=1))

    @property
    def b(self) -> End:
        assert isinstance(self._b, End)
        return self._b

    @property
    def bare(self) -> Association:
        assert isinstance(self._b, Association)
        return self._b

    def connect(self) -> None:
        self.a.core.connect(self.now)
        established = State.ESTABLISHED
        self.run_until(
            lambda: self.a.core.state is established and self.core_b.state is established, 60
        )
        self.run()

    def run(self, seconds: float = 1.0) -> None:
        """Let time pass, also for the ends' own clocks."""
        self.run_for(seconds)
        self.a.now = self.now
        if isinstance(self._b, End):
            self._b.now = self.now

    # ---- with a bare peer

    def bare_sends(self, stream: int, data: bytes, ppid: int, **options: Any) -> None:
        self.bare.send(stream, data, ppid=ppid, now=self.now, **options)

    def bare_receives(self, stream: int) -> list[tuple[int, bytes]]:
        """PPID and bytes of all that came on a stream."""
        messages = self.bare.receive(stream, 10_000, now=self.now)
        return [(message.ppid, message.data) for message in messages]

    def resets_seen(self) -> list[int]:
        """The streams that `a` has reset, as the bare peer saw it."""
        return [
            stream
            for event in self.events_b
            if isinstance(event, sctp.IncomingStreamsReset)
            for stream in event.stream_ids
        ]


def ends(
    config: Config = QUIET,
    config_b: Config | None = None,
    network: Network | None = None,
    **options: Any,
) -> EndPair:
    """Two ends, not connected; a is the DTLS client. `options` are both ends'."""
    a = End(config, "a", is_client=True, **options)
    b = End(config_b or config, "b", is_client=False, **options)
    return EndPair(a, b, network)


def connected(
    config: Config = QUIET,
    config_b: Config | None = None,
    network: Network | None = None,
    **options: Any,
) -> EndPair:
    pair = ends(config, config_b, network, **options)
    pair.connect()
    return pair


def connected_to_bare(
    config: Config = QUIET, config_b: Config | None = None, **options: Any
) -> EndPair:
    """A DTLS client with channels, and a bare association."""
    a = End(config, "a", is_client=True, **options)
    pair = EndPair(a, association(config_b or config, "b"))
    pair.connect()
    return pair


def open_pair(pair: EndPair, label: str = "", **options: Any) -> tuple[Channel, Channel]:
    """A channel that `a` opened, and the same one at `b`."""
    channel = pair.a.create(label, **options)
    pair.run()
    return channel, pair.b.incoming()


def open_message(
    label: str = "",
    protocol: str = "",
    *,
    ordered: bool = True,
    max_retransmits: int | None = None,
    max_packet_lifetime: float | None = None,
    priority: int = 256,
) -> bytes:
    return Open.of(
        label,
        protocol,
        ordered=ordered,
        max_retransmits=max_retransmits,
        max_packet_lifetime=max_packet_lifetime,
        priority=priority,
    ).encode()
