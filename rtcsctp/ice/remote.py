"""The peer's candidates in one ICE session: signalled, named, and discovered.

What the peer can make us keep is bounded: so many that it signals (a name counts, and the address
that it turns out to have counts again), and so many that its checks reveal. One more of either is
ignored; a candidate that is signalled after its address was discovered takes the place of the
discovered one and costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from rtcsctp.ice.candidate import Address, Candidate, CandidateType, canonical_ip
from rtcsctp.ice.local import is_usable_host

__all__ = ["Remote", "RemoteTable"]

_MAX_ADDRESSES_PER_NAME = 4


class Remote:
    """One transport address of the peer.

    Attributes:
        address: where to send to.
        candidate: what is known of it; replaced when it is signalled after it was discovered.
        signalled: whether the peer named it; if not, its checks revealed it.
        private: known by a name of multicast DNS only, and to be told to no TURN server.
    """

    __slots__ = ("address", "candidate", "private", "signalled")

    def __init__(self, address: Address, candidate: Candidate, *, signalled: bool) -> None:
        self.address = address
        self.candidate = candidate
        self.signalled = signalled
        self.private = False

    def __repr__(self) -> str:
        return f"<Remote {self.candidate.type.value} {self.address}>"


class RemoteTable:
    """All of them, by address."""

    __slots__ = (
        "_by_address",
        "_discovered",
        "_max_discovered",
        "_max_signalled",
        "_names",
        "_resolved",
        "_signalled",
    )

    def __init__(self, max_signalled: int, max_discovered: int) -> None:
        self._max_signalled = max_signalled
        self._max_discovered = max_discovered
        self._by_address: dict[Address, Remote] = {}
        self._names: dict[str, list[Candidate]] = {}
        self._resolved: dict[str, tuple[str, ...]] = {}
        self._signalled = 0
        self._discovered = 0

    def __len__(self) -> int:
        return len(self._by_address)

    def find(self, address: Address) -> Remote | None:
        """The one with that address."""
        return self._by_address.get(address)

    @property
    def signalled(self) -> list[Remote]:
        """Those that are to be paired with every base of ours; discovered ones are not."""
        return [remote for remote in self._by_address.values() if remote.signalled]

    def add(self, candidate: Candidate, *, private: bool = False) -> tuple[Remote | None, bool]:
        """Take a signalled candidate with a numeric host; whether its address is new, too.

        None for one that is of no use, too many, or known already and no better than what is.
        """
        if not is_usable_host(candidate.host) or not 1 <= candidate.port <= 0xFFFF:
            return None, False
        known = self._by_address.get(candidate.address)
        if known is not None:
            if known.signalled:
                # A host candidate behind a name, and the same address as a reflexive one.
                is_better = candidate.priority > known.candidate.priority
                if is_better:
                    known.candidate = candidate
                opened = known.private and not private
                known.private = known.private and private
                return (known if is_better or opened else None), False
            # RFC 8445 7.3.1.3: "If any subsequent candidate exchanges contain this peer-reflexive
            # candidate, it will signal the actual foundation for the candidate."
            known.candidate = candidate
            known.signalled = True
            known.private = private
            self._discovered -= 1
            self._signalled += 1
            return known, False
        if self._signalled >= self._max_signalled:
            return None, False
        self._signalled += 1
        remote = Remote(candidate.address, candidate, signalled=True)
        remote.private = private
        self._by_address[remote.address] = remote
        return remote, True

    def keep_session(self, ufrag: str) -> None:
        """Forget candidates that came early and belong to another ICE session (pitfall W17)."""
        for remote in self.signalled:
            if remote.candidate.ufrag not in {None, ufrag}:
                del self._by_address[remote.address]
                self._signalled -= 1
        for name, waiting in list(self._names.items()):
            kept = [candidate for candidate in waiting if candidate.ufrag in {None, ufrag}]
            self._signalled -= len(waiting) - len(kept)
            if kept:
                self._names[name] = kept
            else:
                del self._names[name]

    def discover(self, address: Address, priority: int) -> Remote | None:
        """The one at `address`, peer-reflexive if new (RFC 8445 7.3.1.3); None if too many."""
        known = self._by_address.get(address)
        if known is not None:
            return known
        if self._discovered >= self._max_discovered or not is_usable_host(address[0]):
            return None
        self._discovered += 1
        candidate = Candidate(
            # "an arbitrary value, different from the foundations of all other remote candidates":
            # no peer's can have the colon.
            foundation=f"prflx:{address[0]}:{address[1]}",
            transport="udp",
            priority=priority,
            host=address[0],
            port=address[1],
            type=CandidateType.PEER_REFLEXIVE,
        )
        remote = self._by_address[address] = Remote(address, candidate, signalled=False)
        return remote

    # -------------------------------------------------------------------------------- names

    def add_name(self, candidate: Candidate) -> tuple[bool, list[Candidate]]:
        """Take a signalled candidate with a name.

        Gives whether the name is to be resolved now, and what it is if that is known already.
        """
        name = candidate.host.lower()
        if name in self._resolved:
            return False, self._named(candidate, self._resolved[name])
        if self._signalled >= self._max_signalled:
            return False, []
        self._signalled += 1
        waiting = self._names.setdefault(name, [])
        waiting.append(candidate)
        return len(waiting) == 1, []

    def resolve(self, name: str, addresses: Sequence[str]) -> list[Candidate]:
        """The candidates that waited for `name`, with the addresses in its place."""
        waiting = self._names.pop(name.lower(), None)
        if waiting is None:
            return []
        hosts = tuple(
            host
            for address in addresses[:_MAX_ADDRESSES_PER_NAME]
            if (host := canonical_ip(address)) is not None
        )
        self._resolved[name.lower()] = hosts
        return [found for candidate in waiting for found in self._named(candidate, hosts)]

    @staticmethod
    def _named(candidate: Candidate, hosts: tuple[str, ...]) -> list[Candidate]:
        return [attrs.evolve(candidate, host=host) for host in hosts]
