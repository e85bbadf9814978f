"""What a user may ask of a channel, judged before anything is done about it."""

from __future__ import annotations

from rtcsctp.datachannel.dcep import Open
from rtcsctp.datachannel.ids import MAX_ID
from rtcsctp.errors import ChannelIdError, ReliabilityError

__all__ = ["check_id", "checked_open"]

_MAX_RELIABILITY = 0xFFFF_FFFF  # a field of 32 bits


def check_id(negotiated: bool, stream_id: int | None) -> None:
    """A channel has an id from its user if both sides negotiated it, and only then.

    Raises:
        ValueError: one without the other.
        ChannelIdError: not from 0 to `MAX_ID` (pitfall W32).
    """
    if negotiated and stream_id is None:
        raise ValueError("a negotiated channel needs an id: both sides must know it")
    if stream_id is None:
        return
    if not negotiated:
        raise ValueError("an id is given to negotiated channels; others find theirs themselves")
    if not 0 <= stream_id <= MAX_ID:
        raise ChannelIdError(f"a channel's id is from 0 to {MAX_ID}, not {stream_id}")


def checked_open(
    label: str,
    protocol: str,
    *,
    ordered: bool,
    max_retransmits: int | None,
    max_packet_lifetime: float | None,
    priority: int,
) -> Open:
    """The DATA_CHANNEL_OPEN that asks for this; its lifetime in whole milliseconds.

    Raises:
        ReliabilityError: both limits, or one that does not fit (pitfall W35).
        ValueError: a priority that is not 16 bits, a label or protocol above 65,535 bytes.
        TypeError: a label or protocol that is no text.
    """
    for name, text in (("label", label), ("protocol", protocol)):
        if not isinstance(text, str):
            raise TypeError(f"a {name} is text, not {type(text).__name__}")
    if max_retransmits is not None and max_packet_lifetime is not None:
        raise ReliabilityError("max_retransmits and max_packet_lifetime exclude each other")
    if max_retransmits is not None and not 0 <= max_retransmits <= _MAX_RELIABILITY:
        raise ReliabilityError(
            f"max_retransmits is {max_retransmits}; it is from 0 to {_MAX_RELIABILITY}"
        )
    if max_packet_lifetime is not None:
        # As written, a NaN is refused too.
        if not 0 <= max_packet_lifetime * 1000 <= _MAX_RELIABILITY:
            raise ReliabilityError(
                f"max_packet_lifetime is {max_packet_lifetime} s; it is from 0 to"
                f" {_MAX_RELIABILITY / 1000} s"
            )
        if 0 < max_packet_lifetime < 0.001:
            max_packet_lifetime = 0.001  # 0 would say something else: send it now or never
    if not 0 <= priority <= 0xFFFF:
        raise ValueError(f"a priority is from 0 to 65535, not {priority}")
    opening = Open.of(
        label,
        protocol,
        ordered=ordered,
        max_retransmits=max_retransmits,
        max_packet_lifetime=max_packet_lifetime,
        priority=priority,
    )
    opening.encode()  # what cannot be encoded, is refused now
    return opening
