"""How large the receive window is, and when it grows.

A window smaller than the bandwidth-delay product holds the peer up: it has sent all that it may,
and waits a round trip for leave to send more. How much a path carries is seen by how much our user
takes in one round trip. When that exceeds half of the window, the window doubles, so that a peer
which doubles its congestion window each round trip does not run into it; up to a cap.

It never shrinks: what was advertised may be under way. And it does not grow where it was nearly
full before the user took from it, or much of it is still unread then: he is slow, not the window
small.

A round trip is what the sending half has measured. That may be missing, where we hardly send; or
too long, where the peer held its acknowledgement back. So it is measured here, too, from above:
what is sent in reply to an advertised window cannot have come sooner than a round trip after it,
so the shortest time in which the user took one whole window is not shorter than that.
"""

from __future__ import annotations

from rtcsctp.sctp.config import Config

__all__ = ["Window"]

_LONGEST = 1.0
"""Where a window takes longer to be taken, seconds, it is hardly what holds the peer up."""


class Window:
    """The size of the receive window, bytes, and what it goes by."""

    __slots__ = (
        "_cap",
        "_message_room",
        "_round",
        "_round_taken",
        "_whole",
        "_whole_taken",
        "_window_time",
        "hard_limit",
        "size",
    )

    def __init__(self, config: Config) -> None:
        self._cap = max(config.rwnd, config.rwnd_max)
        self._message_room = 2 * config.max_message_size
        self.size = config.rwnd
        """What may be held before the window is closed."""
        self.hard_limit = self.size + self._message_room
        """Above that, nothing is taken, whatever it would unblock."""
        self._round: float | None = None
        self._round_taken = 0
        self._whole = 0.0
        self._whole_taken = 0
        self._window_time: float | None = None

    def taken(self, charge: int, held: int, srtt: float | None, now: float) -> bool:
        """The user took what was charged as `charge`; `held` is still unread. Whether it has grown.

        `srtt` is the round trip that the sending half knows of, seconds, if it does.
        """
        if self._round is None:
            self._begin(now)  # what was taken now, came before
            self._begin_whole(now)
            return False
        if 4 * held > self.size or 4 * (held + charge) > 3 * self.size:
            self._begin(now)
            self._begin_whole(now)
            return False
        self._round_taken += charge
        self._whole_taken += charge
        if self._whole_taken >= self.size and now > self._whole:
            took = now - self._whole
            if took <= (_LONGEST if self._window_time is None else self._window_time):
                self._window_time = took
            self._begin_whole(now)
        round_trip = self._window_time
        if round_trip is None or (srtt is not None and srtt < round_trip):
            round_trip = srtt
        elapsed = now - self._round
        if round_trip is None or elapsed < round_trip or elapsed <= 0:
            return False
        in_round_trip = self._round_taken * round_trip / elapsed
        self._begin(now)
        grows = 2 * in_round_trip > self.size and self.size < self._cap
        if grows:
            self.size = min(2 * self.size, self._cap)
            self.hard_limit = self.size + self._message_room
            self._begin_whole(now)
        return grows

    def path_changed(self) -> None:
        """What was measured, was measured on another path."""
        self._window_time = None
        self._round = None

    def _begin(self, now: float) -> None:
        self._round = now
        self._round_taken = 0

    def _begin_whole(self, now: float) -> None:
        self._whole = now
        self._whole_taken = 0
