"""What `Channels` tells its user."""

from __future__ import annotations

import attrs

from rtcsctp.datachannel.channel import Channel

__all__ = ["ChannelEvent", "Closed", "Closing", "Incoming", "Low", "Opened", "Readable"]


@attrs.frozen
class Incoming:
    """The peer opened a channel; it is open. Nothing that arrives on it is lost meanwhile."""

    channel: Channel


@attrs.frozen
class Opened:
    """A channel of ours can be used; the peer need not have acknowledged it (RFC 8832 6)."""

    channel: Channel


@attrs.define  # not frozen, as these two come thousands of times a second
class Readable:
    """Something waits on a channel where nothing was waiting; `receive` until it gives nothing.

    It may turn out to be nothing for the user.
    """

    channel: Channel


@attrs.define
class Low:
    """The bytes queued on a channel fell to its threshold, or below."""

    channel: Channel


@attrs.frozen
class Closing:
    """The peer closes the channel, or ends the association: nothing can be sent any more.

    What it had sent before can still be received.
    """

    channel: Channel


@attrs.frozen
class Closed:
    """The channel is closed; `Channel.error` says why, unless it was in order.

    What the peer had sent before can still be received, also when it was not in order; but not if
    our user closed the channel.
    """

    channel: Channel


ChannelEvent = Closed | Closing | Incoming | Low | Opened | Readable
