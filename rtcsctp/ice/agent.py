"""An ICE agent without I/O (RFC 8445, 8838, 8863, 7675).

The agent finds a way for datagrams to the peer, and keeps watch over it. Its parts:

- `gathering.Gatherer` has our bases (sockets, relays) and finds out how they look from outside;
- `session.Session` is one pair of credentials: candidates, pairs, checks. There is one, and during
  a restart a second, older one whose pair still carries data;
- `requests` answers the peer's checks; `nomination` says when to settle for a pair; `consent` is
  the clock of the pair in use.

The agent joins them: it takes datagrams apart, gives each part its due, and after everything that
is not plain data asks the same questions (`_settle`): which pair carries data, is there one to
nominate, may a check be sent, in what state are we? Plain data passes by all of that: one look into
the table of validated sources on the way in, one into `_pair` on the way out.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from math import inf

from rtcsctp.ice.candidate import Address, Candidate
from rtcsctp.ice.config import IceConfig
from rtcsctp.ice.context import Context
from rtcsctp.ice.credentials import local_credentials, remote_credentials
from rtcsctp.ice.events import (
    GatheringState,
    IceEvent,
    IceState,
    PairInfo,
    StateChanged,
    Transmit,
)
from rtcsctp.ice.gathering import Gatherer
from rtcsctp.ice.incoming import Incoming
from rtcsctp.ice.local import Base
from rtcsctp.ice.nomination import pair_to_nominate
from rtcsctp.ice.pairs import Pair
from rtcsctp.ice.path import Path
from rtcsctp.ice.role import Role
from rtcsctp.ice.routine import Routine
from rtcsctp.ice.servers import IceServer
from rtcsctp.ice.session import Session
from rtcsctp.ice.sessions import Sessions
from rtcsctp.ice.statistics import IceStatistics, pair_statistics

__all__ = ["Agent"]

_DATA = b"\x14"
"""The lowest first byte of DTLS (RFC 7983); STUN is below."""


class Agent:
    """One ICE agent for one stream with one component, which is what data channels need.

    After every call that changes something, drain it in this order:

    1. `poll_event` until it gives None;
    2. `poll_transmit` until it gives an empty list (and send what it gave, in order);
    3. look at `deadline`, and call `handle_timer` when it has passed; too early is harmless.

    Times are seconds on any clock that never goes back, the same for all calls. Sockets and
    streams are known by numbers that the caller chooses. Nothing that arrives from the network
    raises; a command raises before it changed anything.

    Several agents may share a UDP socket: the caller gives each what is its own by
    `owns_transaction` (answers), the first part of USERNAME (requests, `local_ufrag`) and
    `is_validated` (everything else). Only one of them can have an allocation at the same TURN
    server from a shared socket.

    Attributes:
        config: the parameters.
    """

    __slots__ = (
        "_closed",
        "_concluded",
        "_context",
        "_deadline",
        "_gatherer",
        "_incoming",
        "_nominate_at",
        "_now",
        "_path",
        "_routine",
        "_sessions",
        "_stale",
        "_state",
        "config",
    )

    def __init__(
        self,
        config: IceConfig,
        *,
        controlling: bool,
        rng: random.Random,
        tie_breaker: int | None = None,
        ufrag: str | None = None,
        pwd: str | None = None,
    ) -> None:
        """An agent in state "new".

        Args:
            config: its parameters.
            controlling: our role; the side that makes the first offer is controlling (RFC 8445
                6.1.1).
            rng: source of credentials and transactions; `random.SystemRandom()` wherever it
                matters (RFC 7675 section 8).
            tie_breaker: 64 bits that settle a role conflict; random by default.
            ufrag: our username fragment; random by default.
            pwd: our password; random by default.

        Raises:
            ConfigError: credentials that RFC 8839 5.4 forbids.
        """
        self.config = config
        role = Role(rng, controlling=controlling, tie_breaker=tie_breaker)
        self._context = Context(config, rng, role)
        credentials = local_credentials(rng, ufrag, pwd)
        self._gatherer = Gatherer(self._context, credentials.ufrag)
        self._sessions = Sessions(self._context, credentials)
        self._incoming = Incoming(self._context, self._gatherer, self._sessions)
        self._path = Path(self._context)
        self._routine: Routine | None = None  # while nothing else happens
        self._nominate_at = inf
        self._concluded: tuple[Pair | None, Session | None] = (None, None)
        self._state = IceState.NEW
        self._closed = False
        self._now = 0.0
        self._deadline: float | None = None
        self._stale = True

    def __repr__(self) -> str:
        role = "controlling" if self.controlling else "controlled"
        return f"<Agent {self.local_ufrag} {role} {self._state.value} {self._path.pair!r}>"

    # ------------------------------------------------------------------------------ getters

    @property
    def local_ufrag(self) -> str:
        """Our username fragment in the present ICE session."""
        return self._sessions.current.local.ufrag

    @property
    def local_pwd(self) -> str:
        """Our password in the present ICE session."""
        return self._sessions.current.local.pwd

    @property
    def remote_ufrag(self) -> str | None:
        """The peer's username fragment in the present ICE session, once known."""
        remote = self._sessions.current.remote
        return None if remote is None else remote.ufrag

    @property
    def local_candidates(self) -> tuple[Candidate, ...]:
        """What was announced in the present ICE session, oldest first."""
        return tuple(self._gatherer.candidates)

    @property
    def state(self) -> IceState:
        """W3C RTCIceTransportState."""
        return self._state

    @property
    def gathering_state(self) -> GatheringState:
        """W3C RTCIceGatheringState."""
        return self._gatherer.state

    @property
    def controlling(self) -> bool:
        """Our role."""
        return self._context.role.controlling

    @property
    def selected(self) -> PairInfo | None:
        """The pair that carries data; before nomination the best that works."""
        pair = self._path.pair
        return None if pair is None else pair.info()

    @property
    def is_writable(self) -> bool:
        """Whether there is a pair that works, with the peer's consent."""
        return self._path.pair is not None

    @property
    def is_settled(self) -> bool:
        """Whether `poll_event` has nothing, and `deadline` is not earlier than it was."""
        return not (self._stale or self._context.events)

    @property
    def has_transmits(self) -> bool:
        """Whether `poll_transmit` has something to be sent at once."""
        return bool(self._context.transmits)

    @property
    def is_at_rest(self) -> bool:
        """Whether consent is all that is watched over: then `deadline` may be met 0.1 s late."""
        return self._routine is not None

    @property
    def overhead(self) -> int:
        """Bytes that the present path adds to each datagram: 0, or for TURN 4, 36 or 48."""
        pair = self._path.pair
        if pair is None or pair.base.relay is None:
            return 0
        return pair.base.relay.client.overhead(pair.remote.address)

    @property
    def deadline(self) -> float | None:
        """When `handle_timer` is to be called; None for never."""
        if self._stale:
            self._stale = False
            deadline = self._find_deadline()
            self._deadline = None if deadline == inf else deadline
        return self._deadline

    def owns_transaction(self, transaction_id: bytes) -> bool:
        """Whether an answer with this transaction id is for this agent."""
        return transaction_id in self._context.checks or self._gatherer.owns_transaction(
            transaction_id
        )

    def is_validated(self, socket: int, address: Address) -> bool:
        """Whether datagrams from there are for this agent.

        So they are from an address of the peer (one from which an authenticated request came, or
        to which a check succeeded), and from a TURN server at which we have an allocation.
        """
        base = self._gatherer.bases.get(socket)
        if base is not None and address in base.sources:
            return True
        return self._gatherer.relay_at(socket, address) is not None

    def statistics(self) -> IceStatistics:
        """Figures for people."""
        counters = self._context.counters
        return IceStatistics(
            ice_state=self._state,
            gathering_state=self.gathering_state,
            ice_role="controlling" if self.controlling else "controlled",
            ice_local_username_fragment=self.local_ufrag,
            selected_candidate_pair_changes=counters.selected_pair_changes,
            packets_discarded_on_send=counters.discarded_packets,
            bytes_discarded_on_send=counters.discarded_bytes,
            pairs=tuple(
                pair_statistics(pair, session=session.local.ufrag, selected=pair is self._path.pair)
                for session in self._sessions.alive()
                for pair in session.checklist
            ),
            remote_candidates=len(self._sessions.current.remotes),
            counters=counters.as_dict(),
        )

    # ------------------------------------------------------------------- commands: gathering

    def add_socket(
        self, socket: int, address: Address, now: float, *, hidden_as: str | None = None
    ) -> None:
        """Use a bound UDP socket. Add the preferred ones first: the order gives the priorities.

        Args:
            socket: the caller's number for it.
            address: its address, not a wildcard.
            now: the present time.
            hidden_as: a name of multicast DNS to announce in place of the address.

        Raises:
            ValueError: the number is taken, or there are `IceConfig.max_local` already.
        """
        if self._closed:
            return
        base = self._gatherer.add_socket(socket, address, now, hidden_as)
        self._sessions.add_base(base, now)
        self._settle(now)

    def remove_socket(self, socket: int, now: float) -> None:
        """A UDP socket is gone; unknown numbers are no error."""
        self._gatherer.remove_socket(socket)
        self._settle(now)

    def add_stun_server(self, address: Address, url: str, now: float) -> None:
        """Ask a STUN server how each socket of its family looks; a lite agent does not."""
        if not self.config.lite and not self._closed:
            self._gatherer.add_stun_server(address, url, now)
            self._settle(now)

    def add_turn_server(
        self, server: IceServer, address: Address, now: float, *, stream: int | None = None
    ) -> None:
        """Allocate relayed addresses; a lite agent does not.

        Args:
            server: with its credentials.
            address: its transport address.
            now: the present time.
            stream: the caller's number for a TCP or TLS connection to it; without, it is asked
                from each UDP socket of its family.

        Raises:
            ValueError: the number is taken, or there are `IceConfig.max_local` already.
        """
        if not self.config.lite and not self._closed:
            self._gatherer.add_turn_server(server, address, stream, now)
            self._settle(now)

    def end_gathering(self, now: float) -> None:
        """Nothing more will be added; `GatheringDone` follows when all servers have answered."""
        if not self._closed:
            self._gatherer.end()
            self._settle(now)

    # ---------------------------------------------------------------------- commands: the peer

    def set_remote(self, ufrag: str, pwd: str, *, lite: bool = False, now: float) -> None:
        """Set the peer's credentials, for a new ICE session or the first; then checks begin.

        The same credentials again change nothing. Others begin a new session although our side
        has not restarted.

        Raises:
            DescriptionError: credentials that RFC 8839 5.4 forbids (pitfall W21).
        """
        credentials = remote_credentials(ufrag, pwd)
        sessions = self._sessions
        known = sessions.current.remote
        if self._closed or credentials == known:
            return
        if known is not None:
            sessions.begin(sessions.current.local, self._all_bases(), self._path.pair)
        # A full agent controls a lite one (RFC 8445 6.1.1).
        if lite not in {self.config.lite, self.controlling}:
            sessions.switch_role()
        sessions.start(credentials, lite=lite, now=now)
        self._settle(now)

    def add_remote_candidate(self, candidate: Candidate, now: float) -> None:
        """Take a candidate of the peer; it may come before the peer's credentials.

        Ignored are those of another ICE session by their ufrag (pitfall W17), over TCP, after
        `end_of_candidates`, and those that are too many.
        """
        session, previous = self._sessions.current, self._sessions.previous
        if self._closed:
            return
        if session.remote is None and previous is not None and previous.is_of(candidate.ufrag):
            session = previous  # our restart is not known to the peer yet
        # RFC 8838 14: after the end "it MUST ignore any newly received candidates".
        if session.ended or not session.may_be_of(candidate.ufrag):
            self._context.counters.ignored_candidates += 1
            return
        session.add_remote(candidate, now)
        self._settle(now)

    def add_resolved(self, name: str, addresses: Sequence[str], now: float) -> None:
        """A name that `ResolveName` asked for was resolved; without addresses it could not be."""
        for session in self._sessions.alive():
            session.resolve(name, addresses, now)
        self._settle(now)

    def end_of_candidates(self, now: float) -> None:
        """The peer has no more candidates in this ICE session (RFC 8838 14)."""
        self._sessions.in_force.ended = True
        self._settle(now)

    def set_controlling(self, controlling: bool, now: float) -> None:
        """Take a role because the signalling says so."""
        if controlling != self.controlling:
            self._sessions.switch_role()
            self._settle(now)

    def restart(self, now: float, *, ufrag: str | None = None, pwd: str | None = None) -> None:
        """Begin a new ICE session (RFC 8445 9): new credentials, all candidates announced again.

        The pair in use carries data until the new session, which begins with `set_remote`, has
        nominated one (pitfall W22).

        Raises:
            ConfigError: credentials that RFC 8839 5.4 forbids.
        """
        if self._closed:
            return
        credentials = local_credentials(self._context.rng, ufrag, pwd)
        self._context.counters.restarts += 1
        self._sessions.begin(credentials, self._all_bases(), self._path.pair)
        self._gatherer.restart(credentials.ufrag, now)
        self._settle(now)

    def cancel_restart(self, now: float) -> None:
        """Take back a `restart` whose session has not begun: the older one goes on (JSEP rollback).

        Without one it does nothing.
        """
        if not self._closed and self._sessions.cancel():
            self._gatherer.rename(self.local_ufrag)
            self._settle(now)

    def close(self, now: float) -> None:
        """End. Allocations are given back: `poll_transmit` has the requests, and nothing else."""
        if self._closed:
            return
        self._closed = True
        self._context.transmits = []
        self._gatherer.close(now)
        self._sessions.close()
        self._path.clear()
        self._settle(now)

    # ------------------------------------------------------------------------ commands: data

    def send(self, datagrams: Sequence[bytes], now: float | None = None) -> list[Transmit]:
        """Send application data to the peer: gives what is to be sent, at most one `Transmit`.

        Without a path it gives nothing, and counts. `now` matters only to the channels of a
        relay; without it, the time of the last call is taken.
        """
        pair = self._path.pair
        if pair is None:
            counters = self._context.counters
            counters.discarded_packets += len(datagrams)
            counters.discarded_bytes += sum(map(len, datagrams))
            return []
        pair.packets_sent += len(datagrams)
        pair.bytes_sent += sum(map(len, datagrams))
        base = pair.base
        if base.relay is None:
            return [Transmit(base.socket, pair.remote.address, datagrams)]
        self._stale = True
        transmit = base.relay.transmit(
            datagrams, pair.remote.address, self._now if now is None else now
        )
        return [] if transmit is None else [transmit]

    # -------------------------------------------------------------------------- from outside

    def handle_datagrams(
        self, socket: int, batch: Sequence[tuple[bytes, Address]], now: float
    ) -> list[bytes]:
        """Take what a UDP socket has received; gives the application's datagrams, in order.

        STUN and TURN are eaten. Application data is what begins with a byte from 20 to 63 (DTLS,
        RFC 7983) and comes from an address that has proved to be the peer's, nominated or not
        (pitfalls W3, W13). Everything else is counted and dropped.
        """
        base = self._gatherer.bases.get(socket)
        if base is None or self._closed:
            return []
        if self._routine is not None and len(batch) == 1 and batch[0][0][:1] < _DATA:
            data, source = batch[0]
            until = self._routine.take_untrusted(base, data, source, now)
            if until is not None:
                self._deadline = until  # if it is known, it is that
                return []
        found: list[bytes] = []
        others = self._incoming.demultiplex_untrusted(base, batch, found, now)
        if others or self._path.quiet:
            self._settle(now)
            self._learn(now)
        return found

    def _learn(self, now: float) -> None:
        """If nothing else happens any more, messages like this one may go the short way."""
        accepted, self._incoming.accepted = self._incoming.accepted, None
        consent = self._path.consent
        if accepted is None or consent is None or not self._is_calm(now):
            return
        if self._routine is None or self._routine.is_outdated:
            if self.config.lite or self._gatherer.deadline < inf:
                return
            if not Routine.is_possible(consent.pair):
                return
            self._routine = Routine(self._context, self._sessions.current, consent)
        self._routine.learn(accepted)

    def handle_run(self, socket: int, source: Address, data: bytes, size: int, now: float) -> bool:
        """Take joined datagrams from one source, if all are application data.

        Each has `size` bytes, or the last fewer. It gives False where one is something else, comes
        from elsewhere, or matters to the path: then they are for `handle_datagrams`.
        """
        base = self._gatherer.bases.get(socket)
        known = base.sources.get(source) if base is not None else None
        first = data[::size]
        if (
            known is None
            or self._closed
            or self._path.quiet
            or not 20 <= first[0] <= 63
            or first.count(first[:1]) != len(first)
        ):
            return False
        known.last_heard = known.last_packet = now
        known.packets_received += len(first)
        known.bytes_received += len(data)
        return True

    def handle_stream(self, stream: int, data: bytes, now: float) -> list[bytes]:
        """Take what the connection to a TURN server has received; gives application data."""
        relay = self._gatherer.relay_by_stream(stream)
        if relay is None or self._closed:
            return []
        found: list[bytes] = []
        relayed = relay.client.handle_stream_untrusted(data, now)
        self._incoming.take_relayed(relay, relayed, found, now)
        self._settle(now)
        return found

    def stream_closed(self, stream: int, now: float) -> None:
        """The connection to a TURN server has ended: its relayed address is gone."""
        relay = self._gatherer.relay_by_stream(stream)
        if relay is not None:
            relay.client.stream_closed(now)
            self._gatherer.drain(relay, now)
            self._gatherer.forget_stream(relay)
            self._settle(now)

    def handle_timer(self, now: float) -> None:
        """Do what is due; too early is harmless."""
        if self._closed:
            self._stale = True
            return
        if self._routine is not None:
            until = self._routine.handle_timer(now)
            if until is not None:
                self._now = now
                self._deadline = until
                self._stale = False
                return
        self._gatherer.handle_timer(now)
        for check in self._context.checks.take_due(now):
            if not check.session.repeat(check, now):
                check.session.handle_timeout(check)
        self._settle(now)

    # ------------------------------------------------------------------------- the next step

    def _all_bases(self) -> list[Base]:
        relayed = [relay.base for relay in self._gatherer.relays if relay.base is not None]
        return [*self._gatherer.bases.values(), *relayed]

    def _settle(self, now: float) -> None:
        """After everything but plain data: draw the conclusions, in this order."""
        self._now = now
        self._stale = True
        if self._is_calm(now):
            return
        self._routine = None
        if not self._closed:
            sessions, gatherer = self._sessions, self._gatherer
            self._take_note_of_relays(now)
            if self.config.lite and sessions.current.remote_lite:
                sessions.current.pair_lite_with_lite(now)
            self._path.update(sessions.current, sessions.previous, now)
            self._nominate(now)
            sessions.settle(now)
            while any(session.send_next_check(now) for session in sessions.alive()):
                pass
            for relay in gatherer.relays:
                gatherer.drain(relay, now)
            self._note_conclusion()
            gatherer.settle()
        self._set_state(now)

    def _is_calm(self, now: float) -> bool:
        """Whether all conclusions have been drawn, and nothing has happened to change them."""
        sessions, gatherer = self._sessions, self._gatherer
        current, concluded = sessions.current, self._concluded
        return (
            self._state is IceState.COMPLETED
            and sessions.previous is None
            and concluded[0] is current.selected
            and concluded[1] is None
            and not current.checklist.has_triggered
            and self._path.is_calm(current, now)
            and gatherer.is_complete
            and not gatherer.relays
            and not gatherer.has_news
            and not self._closed
        )

    def _note_conclusion(self) -> None:
        """Once a pair is selected, and once a restart is over, less is kept alive (8445 8.3)."""
        selected = self._sessions.current.selected
        conclusion = (selected, self._sessions.previous)
        if conclusion != self._concluded:
            self._concluded = conclusion
            self._gatherer.concluded = selected is not None
            if selected is not None:
                self._gatherer.keep_permissions(self._sessions.relayed_hosts())

    def _take_note_of_relays(self, now: float) -> None:
        """Relays come and go by themselves, and refuse to reach some hosts."""
        gatherer = self._gatherer
        while gatherer.new_bases:
            self._sessions.add_base(gatherer.new_bases.pop(0), now)
        while gatherer.lost_bases:
            self._sessions.remove_base(gatherer.lost_bases.pop())
        while gatherer.forbidden:
            self._sessions.fail_host(*gatherer.forbidden.pop())

    def _nominate(self, now: float) -> None:
        """Settle for a pair, if we are to (RFC 8445 8.1.1)."""
        self._nominate_at = inf
        current = self._sessions.current
        if self.config.lite or not self.controlling or not current.is_running:
            return
        pair, self._nominate_at = pair_to_nominate(
            current, self.config, gathered=self._gatherer.is_complete, now=now
        )
        if pair is not None:
            current.nominate(pair)

    @property
    def _gives_up_at(self) -> float:
        """When the peer has had its time (RFC 8863).

        That is the PAC timer; after it, the end of the first check of any pair, as a new pair is a
        reason to hope; and a limit to that, for the peer can make new pairs as it likes.
        """
        session, config = self._sessions.in_force, self.config
        patience = config.patience
        if not (session.ended and self._gatherer.is_complete):
            patience = max(patience, config.max_patience)
        at = max(session.started_at + patience, session.checklist.hope_until)
        return min(at, session.started_at + max(patience, config.checking_limit))

    def _set_state(self, now: float) -> None:
        state = self._find_state(now)
        if state is not self._state:
            self._state = state
            self._context.events.append(StateChanged(state))

    def _find_state(self, now: float) -> IceState:
        session, path = self._sessions.in_force, self._path
        if self._closed:
            return IceState.CLOSED
        if path.pair is not None:
            if path.quiet:
                return IceState.DISCONNECTED
            settled = session.selected is path.pair
            return IceState.COMPLETED if settled else IceState.CONNECTED
        if session.remote is None:
            return IceState.NEW
        if session.lost or path.is_gone(now):
            return IceState.FAILED
        if path.lost_at is not None:
            return IceState.DISCONNECTED
        return IceState.FAILED if now >= self._gives_up_at else IceState.CHECKING

    def _find_deadline(self) -> float:
        gatherer = self._gatherer
        if self._closed:
            return inf
        now = self._now
        deadline = min(
            gatherer.deadline,
            self._context.checks.deadline,
            self._nominate_at,
            self._path.next_deadline(now),
        )
        for session in self._sessions.alive():
            at = session.next_check_at()
            if at is not None:
                deadline = min(deadline, at)
        if self._state is IceState.CHECKING:
            deadline = min(deadline, self._gives_up_at)
        return deadline

    # ------------------------------------------------------------------------- what comes out

    def poll_event(self) -> IceEvent | None:
        """The next event, or None."""
        events = self._context.events
        return events.pop(0) if events else None

    def poll_transmit(self, now: float) -> list[Transmit]:
        """What is to be sent, in order; empty if there is no more."""
        context = self._context
        if not self._closed:
            for relay in self._gatherer.relays:
                # `send` may have made the client want a channel.
                self._gatherer.drain(relay, now)
            if self._gatherer.has_news:
                self._settle(now)
        transmits = context.transmits
        if transmits:
            context.transmits = []
        return transmits
