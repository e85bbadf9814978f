"""How large a packet may be: packetization layer path MTU discovery (RFC 8899), for one path.

Probes of growing size are sent (a HEARTBEAT, padded by a PAD chunk, RFC 4820), and what is answered
has passed. That a probe is lost is no sign of congestion, delays no data, and is no error of the
path. No ICMP message is needed or believed.

The states are those of RFC 8899 section 5.2::

    DISABLED --> BASE --> SEARCHING <--> SEARCH_COMPLETE
                 | ^         | ^              |
                 | '---------+-|--------------'  black hole: large packets vanish
                 v             |
               ERROR ----------'                 not even the base size passes

With some differences, which save round trips and traffic:

- Acknowledged data confirm the base size as well as a probe of it: a peer that does not understand
  probes leaves us in SEARCHING without success, and not in ERROR. And the first probe in BASE is
  already one of the search; if it is answered, so would the smaller one have been.
- MIN_PLPMTU is the base size. In ERROR, packets of that size are sent, and IP may fragment them
  ("implementations are permitted to enable endpoint fragmentation").
- Probes are sent only while enough is sent for larger packets to be of use (5.1.1 allows that).

The search tries first what paths commonly carry, smallest first, so that each answer is of use at
once: what Ethernet leaves, jumbo frames, and the most that the link takes (the loopback interface).
Between the largest size that passed and the smallest that failed it tries the (geometric) middle,
until there is no more to win that would be worth a probe. A size has failed when `MAX_PROBES`
probes of it in a row are lost.

A path that shrinks without notice is a black hole. The sender suspects one when T3-rtx expires, or
when several large chunks are lost; then probes of the size in use tell. (RFC 8899 forbids such
probes as a routine, 5.2; not in this case, 4.3.) What was cut for larger packets cannot be cut
again, for it has its TSN: each chunk is sent alone in its packet, which IP has to fragment, until
all of them are acknowledged.
"""

from __future__ import annotations

from enum import Enum
from math import isqrt

__all__ = ["MAX_PROBES", "MIN_PROBE_TIMER", "PMTU_RAISE_TIMER", "PathMtu", "PathMtuState"]

MAX_PROBES = 3
"""Probes of one size that are lost in a row before it counts as too large (RFC 8899 5.1.2)."""

PMTU_RAISE_TIMER = 600.0
"""Seconds after which a finished search begins again (5.1.1)."""

MIN_PROBE_TIMER = 1.0
"""Seconds to wait for the answer to a probe, at least: it "MUST NOT be smaller than 1 second"
(5.1.1)."""

_COMMON_MTUS = (1500, 9000)
"""Sizes of IP packets that paths carry: Ethernet, and its jumbo frames."""

_MIN_GAIN = 32
_GAIN_SHIFT = 6
"""A larger packet is worth a search if it is larger by these bytes, and by a 64th part."""

_SUSPICIOUS = 3
"""Large chunks lost, since the size in use was last confirmed, that make us doubt it."""

_CONFIRMATION_SPACING = 5.0
"""Seconds between such doubts, unless T3-rtx expires: on a path that loses packets of all sizes
they come again and again."""

_NEVER = float("inf")


class PathMtuState(Enum):
    """The states of RFC 8899 section 5.2."""

    DISABLED = "disabled"
    BASE = "base"
    SEARCHING = "searching"
    SEARCH_COMPLETE = "search complete"
    ERROR = "error"


class PathMtu:
    """The size of packets on one path, in bytes of SCTP, without any header below it.

    Attributes:
        mtu: the largest packet that may be sent (PLPMTU).
        state: where the search stands.
        due_at: when `next_probe` may have something; infinity while a probe is on its way.
        losses: chunks larger than the base size that were lost since `mtu` was confirmed.
        probes_sent, probes_lost: counted over all paths.
    """

    __slots__ = (
        "_base",
        "_confirming",
        "_doubted_at",
        "_failed",
        "_hole",
        "_likely",
        "_limit",
        "_maximum",
        "_probe_count",
        "_probed",
        "_raise_at",
        "due_at",
        "losses",
        "mtu",
        "probes_lost",
        "probes_sent",
        "state",
    )

    def __init__(self, base: int) -> None:
        """A path of which nothing is known: it is not probed before `start`."""
        self._base = base
        self._limit = base
        self.probes_sent = 0
        self.probes_lost = 0
        self._likely: tuple[int, ...] = ()
        self._disable()

    def _disable(self) -> None:
        self.state = PathMtuState.DISABLED
        self.mtu = self._base
        self.due_at = _NEVER
        self.losses = 0
        self._maximum = self._limit
        self._failed = self._limit + 4  # the smallest size that does not pass
        self._probed = 0
        self._probe_count = 0
        self._confirming = False
        self._doubted_at = -_NEVER
        self._raise_at = _NEVER
        self._hole = False

    # ------------------------------------------------------------------------------ getters

    @property
    def base(self) -> int:
        """What every path should carry (BASE_PLPMTU)."""
        return self._base

    @property
    def maximum(self) -> int:
        """The largest size that is searched for (MAX_PLPMTU)."""
        return self._limit

    @property
    def is_unsure(self) -> bool:
        """Whether `data_acked` has something to say."""
        return self.state is PathMtuState.BASE or self.state is PathMtuState.ERROR

    @property
    def is_doubted(self) -> bool:
        """Whether the size in use may no longer pass, and no probe has shown yet that it does."""
        return self._confirming

    @property
    def may_fragment(self) -> bool:
        """Whether IP may fragment packets: not even the base size passes whole."""
        return self.state is PathMtuState.ERROR and not self._probed

    # ----------------------------------------------------------------------------- commands

    def start(self, base: int, limit: int, overhead: int) -> None:
        """The path works, as far as is known: begin at the base size.

        Args:
            base: what every path should carry.
            limit: what the link takes at most; not above the base size, there is no search.
            overhead: bytes of all headers between the IP packet's beginning and SCTP.
        """
        self._base = min(base, limit) & ~3
        self._limit = limit & ~3
        sizes = [(size - overhead) & ~3 for size in _COMMON_MTUS]
        self._likely = tuple(size for size in sizes if self._base < size < self._limit)
        self.restart()

    def restart(self) -> None:
        """Packets take another path, of which nothing is known, over the same link."""
        self._disable()
        if self._limit > self._base:
            self.state = PathMtuState.BASE
            self.due_at = -_NEVER

    # ------------------------------------------------------------------------------- probes

    def next_probe(self, now: float) -> int | None:
        """The size of a probe to be sent now; None if there is none. See `probe_sent`."""
        if now < self.due_at:
            return None
        if self._confirming:
            return self.mtu
        if self.state is PathMtuState.ERROR:
            return self._base
        if self.state is PathMtuState.SEARCH_COMPLETE:  # the raise timer
            self.state = PathMtuState.SEARCHING
            self._maximum = self._limit
            self._hole = False
            self._failed = self._limit + 4
            self._probe_count = 0
        size = self._next_size()
        if size is None:
            self._complete(now)
        return size

    def _next_size(self) -> int | None:
        low, high = self.mtu, min(self._failed - 4, self._maximum)
        if self._failed > self._maximum:  # nothing has failed yet: by leaps
            for size in (*self._likely, self._maximum):
                if low < size <= high:
                    return size
        if high - low < max(_MIN_GAIN, low >> _GAIN_SHIFT):
            return None
        for size in self._likely:
            if low < size <= high:
                return size
        return isqrt(low * high) & ~3

    def _complete(self, now: float) -> None:
        self.state = PathMtuState.SEARCH_COMPLETE
        self._probed = 0
        self.due_at = self._raise_at = now + PMTU_RAISE_TIMER

    def probe_sent(self, size: int) -> None:
        """A probe of `size` bytes, which `next_probe` gave, is on its way."""
        self._probed = size
        self.due_at = _NEVER
        self.probes_sent += 1

    def probe_acked(self, size: int, now: float) -> bool:
        """A probe was answered, perhaps late; whether `mtu` has changed."""
        if size == self._probed:
            self._probed = 0
            self._probe_count = 0
            self.due_at = now
        if self.state is PathMtuState.DISABLED:
            return False
        if size >= self.mtu and self._confirming:
            self._confirming = False
            self.losses = 0
            if self.state is PathMtuState.SEARCH_COMPLETE:
                self.due_at = self._raise_at
        if self.state in (PathMtuState.BASE, PathMtuState.ERROR):
            self.state = PathMtuState.SEARCHING
        if not self.mtu < size <= self._maximum:
            return False
        self.mtu = size
        if size >= self._failed:  # its probes were lost for another reason
            self._failed = self._maximum + 4
        if size == self._maximum:
            self._complete(now)
        return True

    def probe_lost(self, now: float) -> bool:
        """No answer to the probe on its way within PROBE_TIMER; whether `mtu` has changed."""
        size = self._probed
        if not size:
            return False
        self._probed = 0
        self.probes_lost += 1
        self._probe_count += 1
        self.due_at = now
        if self._probe_count < MAX_PROBES:
            return False
        self._probe_count = 0
        if self._confirming:
            return self.black_hole(now)
        if self.state is PathMtuState.ERROR:
            self.due_at = now + PMTU_RAISE_TIMER
        elif size > self.mtu:
            self._failed = min(self._failed, size)
        return False

    # ---------------------------------------------------------------------- what data tell

    def data_acked(self, now: float) -> None:
        """A packet of the base size has passed, perhaps in fragments where that is allowed."""
        if self.state is PathMtuState.BASE:
            self.state = PathMtuState.SEARCHING
        elif self.state is PathMtuState.ERROR and self.due_at == _NEVER:
            self.due_at = now  # was it only an outage? A probe of the base size will tell

    def base_fails(self) -> None:
        """Packets of the base size vanish, again and again."""
        if self.state is PathMtuState.BASE:
            self.state = PathMtuState.ERROR
            self._probed = 0
            self._probe_count = 0
            self.due_at = _NEVER

    def doubt(self, now: float, *, timeout: bool) -> None:
        """Chunks were lost: is the size in use still carried? A probe will tell."""
        if (
            self._confirming
            or self.mtu <= self._base
            or not (timeout or self.losses >= _SUSPICIOUS)
            or (not timeout and now < self._doubted_at + _CONFIRMATION_SPACING)
        ):
            return
        self.losses = 0
        self._doubted_at = now
        self._confirming = True
        self._probed = 0  # what comes of a probe of the search will still be heard
        self._probe_count = 0
        self.due_at = now

    def black_hole(self, now: float) -> bool:
        """Packets of the size in use vanish: back to BASE (4.3); whether `mtu` has changed.

        The search then begins anew, for that may have been an outage. If the same happens again
        before the raise timer has passed, what the path carries is inconsistent (5.3.3), and until
        then only smaller sizes are searched for.
        """
        size = self.mtu
        if size <= self._base:
            return False
        if self._hole:
            smaller = [likely for likely in self._likely if likely < size]
            self._maximum = smaller[-1] if smaller else self._base
        self._hole = True
        self._raise_at = now + PMTU_RAISE_TIMER
        self.state = PathMtuState.BASE
        self.mtu = self._base
        self._failed = self._maximum + 4
        self._confirming = False
        self._probed = 0
        self._probe_count = 0
        self.losses = 0
        self.due_at = now
        return True
