"""When to send a SACK (RFC 9260 section 6.2).

One decision is made per batch of datagrams that the lower layer gave at once, not per packet: a
SACK per packet of a batch would say sixteen times what the last one says. This is where the rule of
every second packet is bent: a batch of sixteen is answered once. The delay of 200 ms and the
immediate cases (first DATA, a gap, a duplicate, the I bit) hold as they stand.
"""

from __future__ import annotations

__all__ = ["SackPolicy"]


class SackPolicy:
    """Whether a SACK is owed, and whether now."""

    __slots__ = ("_frequency", "_packets", "_seen_data", "now", "owed")

    def __init__(self, frequency: int) -> None:
        self._frequency = frequency
        self._packets = 0
        self._seen_data = False
        self.now = False
        """A SACK is to be sent with the next opportunity."""
        self.owed = False
        """Something arrived that no SACK has reported."""

    def packets_with_data(self, count: int) -> None:
        """So many packets that carried DATA, or a FORWARD-TSN, were processed."""
        self.owed = True
        self._packets += count
        if self._packets >= self._frequency or not self._seen_data:
            self._seen_data = True
            self.now = True

    def immediately(self) -> None:
        """A gap, a duplicate, the I bit, or a window that opened: answer at once."""
        self.owed = True
        self.now = True

    def sent(self) -> None:
        """A SACK went out."""
        self.now = False
        self.owed = False
        self._packets = 0
