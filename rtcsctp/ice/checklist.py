"""The checklist of the one component, and its queue of triggered checks (RFC 8445 6.1, 8838 12)."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from rtcsctp.ice.candidate import Address
from rtcsctp.ice.local import Base
from rtcsctp.ice.pairs import Pair, PairState
from rtcsctp.ice.remote import Remote

__all__ = ["Checklist"]

_UNTRIED = (PairState.FROZEN, PairState.WAITING)


class Checklist:
    """Pairs by base and remote address: redundant pairs (RFC 8445 6.1.2.4) cannot even be put in.

    It is looked through once per check that is sent or has ended, never per datagram, and has at
    most `max_pairs` entries; so there is no sorted order to keep when priorities change.
    """

    __slots__ = ("_controlling", "_max_pairs", "_pairs", "_triggered")

    def __init__(self, max_pairs: int, *, controlling: bool) -> None:
        self._max_pairs = max_pairs
        self._controlling = controlling
        self._pairs: dict[tuple[Base, Address], Pair] = {}
        self._triggered: list[Pair] = []

    def __len__(self) -> int:
        return len(self._pairs)

    def __iter__(self) -> Iterator[Pair]:
        return iter(self._pairs.values())

    def __contains__(self, pair: Pair) -> bool:
        return self._pairs.get((pair.base, pair.remote.address)) is pair

    def get(self, base: Base, address: Address) -> Pair | None:
        """The pair of that base and that remote address."""
        return self._pairs.get((base, address))

    # ----------------------------------------------------------------------------- changing

    def add(self, base: Base, remote: Remote) -> tuple[Pair | None, Pair | None]:
        """Form a pair for ordinary checks. Gives it, and the pair that had to make room for it.

        (None, None) if there is such a pair, or the list is full of better ones.
        """
        if (base, remote.address) in self._pairs:
            return None, None
        pair = Pair(base, remote, controlling=self._controlling)
        dropped, fits = self._make_room(pair.priority)
        if not fits:
            return None, None
        if self._is_topmost(pair) or self._has_succeeded(pair.foundation):
            pair.state = PairState.WAITING  # RFC 8838 12, rules 1 and 2
        self._pairs[base, remote.address] = pair
        return pair, dropped

    def add_triggered(self, base: Base, remote: Remote) -> tuple[Pair | None, Pair | None]:
        """Form a pair because the peer's check came that way (RFC 8445 7.3.1.4).

        It takes the place of any pair that nobody has tried yet.
        """
        pair = Pair(base, remote, controlling=self._controlling)
        dropped, fits = self._make_room(None)
        if not fits:
            return None, None
        pair.state = PairState.WAITING
        self._pairs[base, remote.address] = pair
        return pair, dropped

    def _make_room(self, priority: int | None) -> tuple[Pair | None, bool]:
        """Drop a failed pair, or else one that is worse than `priority` (RFC 8838 10, 11)."""
        if len(self._pairs) < self._max_pairs:
            return None, True
        # One whose consent was lost must not come back as a new pair (RFC 7675 5.1).
        failed = [pair for pair in self if pair.state is PairState.FAILED and not pair.revoked]
        candidates = failed or [
            pair
            for pair in self
            if pair.state in _UNTRIED and not pair.valid and pair not in self._triggered
        ]
        worst = min(candidates, key=lambda pair: pair.priority, default=None)
        if worst is None:
            return None, False
        if not failed and priority is not None and worst.priority >= priority:
            return None, False
        self.discard(worst)
        return worst, True

    def set_initial_states(self) -> None:
        """Let one pair of each foundation wait, the one of the highest priority (6.1.2.6).

        For the start, when many pairs were added in no order. Pairs that have begun are left alone.
        """
        best: dict[tuple[str, str], Pair] = {}
        for pair in self:
            if pair.state is PairState.WAITING and pair not in self._triggered:
                pair.state = PairState.FROZEN
            known = best.get(pair.foundation)
            if known is None or known.priority < pair.priority:
                best[pair.foundation] = pair
        for pair in best.values():
            if pair.state is PairState.FROZEN:
                pair.state = PairState.WAITING

    def _is_topmost(self, pair: Pair) -> bool:
        return all(
            other.priority < pair.priority or other.foundation != pair.foundation for other in self
        )

    def _has_succeeded(self, foundation: tuple[str, str]) -> bool:
        return any(
            pair.foundation == foundation and pair.state is PairState.SUCCEEDED for pair in self
        )

    def discard(self, pair: Pair) -> None:
        """Take a pair out."""
        self._pairs.pop((pair.base, pair.remote.address), None)
        self.untrigger(pair)

    def remove_base(self, base: Base) -> list[Pair]:
        """Take out all pairs of a base that is gone."""
        gone = [pair for pair in self if pair.base is base]
        for pair in gone:
            self.discard(pair)
        return gone

    def conclude(self, nominated: Pair) -> list[Pair]:
        """Take out everything but the nominated pair (RFC 8445 8.1.2)."""
        gone = [pair for pair in self if pair is not nominated]
        for pair in gone:
            self.discard(pair)
        self.untrigger(nominated)
        nominated.state = PairState.SUCCEEDED
        return gone

    def set_controlling(self, *, controlling: bool) -> None:
        """Compute the priorities again for another role."""
        self._controlling = controlling
        for pair in self:
            pair.refresh(controlling=controlling)

    def refresh(self, remote: Remote) -> None:
        """Compute again what follows from a candidate that is known better now."""
        for pair in self:
            if pair.remote is remote:
                pair.refresh(controlling=self._controlling)

    def unfreeze(self, foundation: tuple[str, str]) -> None:
        """A pair of that foundation has succeeded (RFC 8445 7.2.5.3.3)."""
        for pair in self:
            if pair.state is PairState.FROZEN and pair.foundation == foundation:
                pair.state = PairState.WAITING

    # --------------------------------------------------------------------------- scheduling

    def trigger(self, pair: Pair) -> None:
        """Have the pair checked at the next opportunity (RFC 8445 6.1.4.1)."""
        pair.state = PairState.WAITING
        if pair not in self._triggered:
            self._triggered.append(pair)

    def untrigger(self, pair: Pair) -> None:
        """Take the pair out of the queue again."""
        if pair in self._triggered:
            self._triggered.remove(pair)

    @property
    def has_triggered(self) -> bool:
        """Whether a triggered check waits."""
        return bool(self._triggered)

    @property
    def has_waiting(self) -> bool:
        """Whether `next_ordinary` would give a pair."""
        busy = set()
        frozen = set()
        for pair in self:
            if pair.state is PairState.WAITING:
                return True
            if pair.state is PairState.IN_PROGRESS:
                busy.add(pair.foundation)
            elif pair.state is PairState.FROZEN:
                frozen.add(pair.foundation)
        return bool(frozen - busy)

    def next_triggered(self) -> Pair | None:
        """Take the first of the triggered checks from its queue."""
        return self._triggered.pop(0) if self._triggered else None

    def next_ordinary(self) -> Pair | None:
        """The pair for the next ordinary check (RFC 8445 6.1.4.2, steps 2 and 3)."""
        waiting = self._best_waiting()
        if waiting is None and self._unfreeze_idle():
            waiting = self._best_waiting()
        return waiting

    def _best_waiting(self) -> Pair | None:
        waiting = [pair for pair in self if pair.state is PairState.WAITING]
        return max(waiting, key=lambda pair: pair.priority, default=None)

    def _unfreeze_idle(self) -> bool:
        """One pair of each foundation that has none under way."""
        busy = {pair.foundation for pair in self if pair.state is PairState.IN_PROGRESS}
        idle: dict[tuple[str, str], Pair] = {}
        for pair in self:
            if pair.state is PairState.FROZEN and pair.foundation not in busy:
                best = idle.get(pair.foundation)
                if best is None or best.priority < pair.priority:
                    idle[pair.foundation] = pair
        for pair in idle.values():
            pair.state = PairState.WAITING
        return bool(idle)

    @property
    def active(self) -> int:
        """Num-Waiting plus Num-In-Progress (RFC 8445 14.3)."""
        active = (PairState.WAITING, PairState.IN_PROGRESS)
        return sum(1 for pair in self if pair.state in active)

    @property
    def is_exhausted(self) -> bool:
        """Whether no check is waiting or under way."""
        return not any(pair.is_open for pair in self)

    @property
    def hope_until(self) -> float:
        """Until when a check that has not been tried to its end may succeed; -inf if there is none.

        The peer's checks trigger ours again and again, so these can be under way for ever where
        its packets reach us and ours do not reach it; only the first try of each pair counts.
        """
        return max((pair.hope_until for pair in self if pair.is_open), default=-inf)

    @property
    def best_valid(self) -> Pair | None:
        """The valid pair of the highest priority."""
        return max(
            (pair for pair in self if pair.valid), key=lambda pair: pair.priority, default=None
        )

    def has_better(self, than: Pair) -> bool:
        """Whether a pair of higher priority may still become valid."""
        return any(pair.is_open and pair.priority > than.priority for pair in self)
