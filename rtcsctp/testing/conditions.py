"""What a simulated direction of a network does to the packets that pass through it.

Theory. One direction is a pipeline, and the order of its stages decides what the numbers mean:

1. the entrance: packets larger than ``mtu`` are dropped; while the direction is paused, packets
   wait here or are dropped;
2. the bottleneck: a FIFO queue of at most ``queue`` bytes, served at ``rate`` bytes per second.
   A packet that finds the queue full is dropped (tail drop);
3. the line: ``loss`` and ``burst_loss`` lose packets that have already used their share of the
   rate, ``corrupt`` flips bits, ``duplicate`` makes copies;
4. the journey: ``delay`` plus a random share of ``jitter``, and ``reorder_delay`` more for the few
   that ``reorder`` picks.

Only ``reorder`` reorders. Jitter changes the spacing of packets, never their order: a packet that
drew a short delay arrives no earlier than the one before it, as in a queue, where nobody overtakes.

All times are in seconds and all sizes in bytes, of the packet as it was given to the network; only
``rate`` and ``queue`` count ``overhead`` bytes more for each packet.
"""

from __future__ import annotations

import math
from typing import Any, Self

import attrs


def _require_number(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        message = f"{name} must be a number, not {value!r}"
        raise TypeError(message)


def _probability(_instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    _require_number(attribute.name, value)
    if not 0.0 <= value <= 1.0:
        message = f"{attribute.name} is a probability, from 0 to 1, not {value!r}"
        raise ValueError(message)


def _seconds(_instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    _require_number(attribute.name, value)
    if not 0.0 <= value < math.inf:
        message = f"{attribute.name} is a finite time in seconds, 0 or more, not {value!r}"
        raise ValueError(message)


def _size(_instance: object, attribute: attrs.Attribute[Any], value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        message = f"{attribute.name} is a whole number of bytes, not {value!r}"
        raise TypeError(message)
    if value < 0:
        message = f"{attribute.name} is a number of bytes, 0 or more, not {value!r}"
        raise ValueError(message)


def _rate(_instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    _require_number(attribute.name, value)
    if not 0.0 < value < math.inf:
        message = (
            f"{attribute.name} is in bytes per second, more than 0 (None: unlimited), not {value!r}"
        )
        raise ValueError(message)


@attrs.frozen(kw_only=True)
class BurstLoss:
    """Loss in bursts: the two-state model of Gilbert and Elliott.

    The line is either good or in a burst. Before each packet it may change: from good into a burst
    with probability `enter`, out of a burst with probability `leave`. Within a burst each packet is
    lost with probability `loss`. (While the line is good, only `Conditions.loss` loses packets.)

    So a burst lasts ``1 / leave`` packets on average, the line is in a burst for
    ``enter / (enter + leave)`` of the packets, and `average_loss` of all packets are lost.

    Raises:
        ValueError: A value is not a probability, or `leave` is 0 (a burst without end; drop
            everything with ``loss=1`` or ``pause(drop=True)`` instead).
    """

    enter: float = attrs.field(validator=_probability)
    """Probability, per packet, that a burst begins."""

    leave: float = attrs.field(validator=_probability)
    """Probability, per packet, that the burst ends."""

    loss: float = attrs.field(default=1.0, validator=_probability)
    """Probability that a packet within a burst is lost."""

    @leave.validator
    def _burst_ends(self, _attribute: attrs.Attribute[float], value: float) -> None:
        if value == 0.0:
            message = "leave must be more than 0: a burst must end some time"
            raise ValueError(message)

    @classmethod
    def averaging(cls, share: float, *, length: float) -> Self:
        """Bursts that lose `share` of all packets, `length` packets in a row on average.

        Raises:
            ValueError: `share` is not in 0..1 (1 excluded), `length` is below 1, or bursts so
                short cannot lose so much (``share`` may be at most ``length / (length + 1)``).
        """
        if not 0.0 <= share < 1.0:
            message = f"share is the part of packets lost, from 0 to below 1, not {share!r}"
            raise ValueError(message)
        if not 1.0 <= length < math.inf:
            message = f"length is the mean length of a burst in packets, 1 or more, not {length!r}"
            raise ValueError(message)
        # In the long run the line enters bursts as often as it leaves them:
        # (1 - share) * enter == share * leave.
        leave = 1.0 / length
        enter = leave * share / (1.0 - share)
        if enter > 1.0:
            message = (
                f"bursts of {length:g} packets lose at most {length / (length + 1.0):.3f} of all "
                f"packets, not {share:g}; ask for longer bursts"
            )
            raise ValueError(message)
        return cls(enter=enter, leave=leave)

    @property
    def average_loss(self) -> float:
        """The part of all packets that is lost in the long run."""
        return self.loss * self.enter / (self.enter + self.leave)


@attrs.frozen(kw_only=True)
class Conditions:
    """One direction of a simulated network; the default is a perfect one.

    Immutable: to change one value of a running direction, assign a new object,
    ``direction.conditions = attrs.evolve(direction.conditions, loss=0.1)``. What is already on its
    way keeps the times it was given; packets that follow obey the new conditions and still do not
    overtake it.

    Raises:
        TypeError, ValueError: A value makes no sense; the message names it.
    """

    delay: float = attrs.field(default=0.0, validator=_seconds)
    """Seconds that every packet travels."""

    jitter: float = attrs.field(default=0.0, validator=_seconds)
    """Up to so many seconds more, drawn uniformly for each packet; never reorders."""

    rate: float | None = attrs.field(default=None, validator=attrs.validators.optional(_rate))
    """Bytes per second at the bottleneck; None: unlimited. (1 Gbit/s is 125_000_000.)"""

    queue: int | None = attrs.field(default=None, validator=attrs.validators.optional(_size))
    """Bytes that may be at the bottleneck at once, the packet being sent included; None: any.

    An idle bottleneck takes a packet of any size, so a queue of 0 means that no packet waits.
    Without a rate nothing waits, and the limit counts only for packets held by a pause.
    """

    overhead: int = attrs.field(default=0, validator=_size)
    """Bytes that each packet is larger at the bottleneck: lower headers (UDP over IPv4: 28)."""

    mtu: int | None = attrs.field(default=None, validator=attrs.validators.optional(_size))
    """Bytes of the largest packet that passes; larger ones vanish without notice. None: any."""

    loss: float = attrs.field(default=0.0, validator=_probability)
    """Probability that a packet is lost, independently of the others."""

    burst_loss: BurstLoss | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.instance_of(BurstLoss))
    )
    """Losses in bursts, in addition to `loss`; None: no bursts."""

    duplicate: float = attrs.field(default=0.0, validator=_probability)
    """Probability that a packet arrives twice."""

    duplicate_delay: float = attrs.field(default=0.0, validator=_seconds)
    """Seconds by which the copy arrives after the original; 0: right behind it."""

    reorder: float = attrs.field(default=0.0, validator=_probability)
    """Probability that a packet is held back, so that later ones may overtake it."""

    reorder_delay: float = attrs.field(default=0.0, validator=_seconds)
    """Seconds by which a packet picked by `reorder` is held back; must be more than 0 then."""

    corrupt: float = attrs.field(default=0.0, validator=_probability)
    """Probability that 1 to 8 bits of a packet are flipped."""

    @reorder_delay.validator
    def _reordering_has_effect(self, _attribute: attrs.Attribute[float], value: float) -> None:
        if self.reorder > 0.0 and value == 0.0:
            message = "reorder needs a reorder_delay of more than 0 s, else nothing is overtaken"
            raise ValueError(message)
