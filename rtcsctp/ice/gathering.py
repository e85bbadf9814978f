"""Gathering our own candidates (RFC 8445 5.1.1, RFC 8838 9).

Sockets give host candidates at once; STUN servers tell how a socket looks from outside, TURN
servers lend an address. Questions to servers leave one per Ta and are in nobody's way: checks go on
with what there is (pitfall W20). A server that does not answer only delays the end of gathering,
and not for long.
"""

from __future__ import annotations

from collections.abc import Collection
from math import inf

import attrs

from rtcsctp.ice.announce import MAX_PREFERENCE, Announcer, relay_preference
from rtcsctp.ice.candidate import Address, Candidate, CandidateType
from rtcsctp.ice.context import Context
from rtcsctp.ice.events import GatheringDone, GatheringProblem, GatheringState, LocalCandidate
from rtcsctp.ice.local import Base, can_ask
from rtcsctp.ice.question import Question
from rtcsctp.ice.relay import Relay
from rtcsctp.ice.servers import IceServer
from rtcsctp.ice.stun import StunMessage
from rtcsctp.ice.turn import (
    NO_ANSWER,
    Allocated,
    AllocationFailed,
    AllocationLost,
    AlternateServer,
    PermissionFailed,
    TurnEvent,
)

__all__ = ["Gatherer"]


class Gatherer:
    """Our bases and candidates, and the servers that are asked for more.

    Attributes:
        ufrag: of the present ICE session, put into each candidate.
        bases: of the UDP sockets, by number.
        relays: allocations, wanted or had.
        state: W3C RTCIceGatheringState.
        candidates: what was announced in this ICE session.
        concluded: no bindings at STUN servers need to be kept any more (RFC 8445 5.1.1.4).
        new_bases, lost_bases, forbidden: what the agent has not yet taken note of: relays that
            came and went, and hosts that a relay may not reach.
    """

    __slots__ = (
        "_announcer",
        "_by_source",
        "_context",
        "_ended",
        "_jobs",
        "_next_job_at",
        "_questions",
        "_stun_servers",
        "_turn_servers",
        "bases",
        "candidates",
        "concluded",
        "forbidden",
        "lost_bases",
        "new_bases",
        "relays",
        "state",
        "ufrag",
    )

    def __init__(self, context: Context, ufrag: str) -> None:
        self._context = context
        self.ufrag = ufrag
        self.bases: dict[int, Base] = {}
        self.relays: list[Relay] = []
        self.state = GatheringState.NEW
        self.candidates: list[Candidate] = []
        self.concluded = False
        self.new_bases: list[Base] = []
        self.lost_bases: list[Base] = []
        self.forbidden: list[tuple[Base, str]] = []
        self._ended = False
        self._jobs: list[Question | Relay] = []
        self._next_job_at = -inf
        self._questions: list[Question] = []
        self._by_source: dict[tuple[int, Address], Relay] = {}
        self._announcer = Announcer()
        self._stun_servers: list[tuple[Address, str]] = []
        self._turn_servers: list[tuple[IceServer, Address]] = []

    # ---------------------------------------------------------------------------- commands

    def add_socket(self, socket: int, address: Address, now: float, hidden_as: str | None) -> Base:
        """A bound UDP socket: a base, and usually a host candidate.

        Raises:
            ValueError: the number is taken, or there are `max_local` already.
        """
        if socket in self.bases or any(relay.socket == socket for relay in self.relays):
            raise ValueError(f"socket {socket} takes part already")
        self._check_room()
        config = self._context.config
        preference = max(0, MAX_PREFERENCE - len(self.bases))
        host = config.public_addresses.get(address[0], address[0])
        candidate = self._announcer.host(address, hidden_as or host, preference)
        base = Base(
            socket,
            address,
            candidate,
            preference,
            usable=config.policy == "all",
            hidden=hidden_as is not None,
        )
        self.bases[socket] = base
        self._begin()
        if base.usable:
            self._announce(candidate)
        for index, (server, url) in enumerate(self._stun_servers):
            self._ask(base, server, url, index)
        for index, (turn, server) in enumerate(self._turn_servers):
            self._allocate(turn, server, base, index)
        self.run_jobs(now)
        return base

    def _check_room(self) -> None:
        if len(self.bases) + len(self.relays) >= self._context.config.max_local:
            limit = self._context.config.max_local
            raise ValueError(f"more than {limit} sockets and relays (IceConfig.max_local)")

    def remove_socket(self, socket: int) -> None:
        """A UDP socket is gone, and what was reached by it."""
        base = self.bases.pop(socket, None)
        if base is None:
            return
        self._questions = [question for question in self._questions if question.base is not base]
        gone = {id(base)}
        for relay in [relay for relay in self.relays if relay.host_base is base]:
            gone.add(id(relay))
            self.relays.remove(relay)
            self._lose(relay)
        self._jobs = [
            job
            for job in self._jobs
            if id(job) not in gone and not (isinstance(job, Question) and job.base is base)
        ]
        self._by_source = {key: relay for key, relay in self._by_source.items() if key[0] != socket}
        self.lost_bases.append(base)
        self._withdraw(base)

    def add_stun_server(self, address: Address, url: str, now: float) -> None:
        """Ask a STUN server from each socket of its family."""
        self._stun_servers.append((address, url))
        self._begin()
        for base in self.bases.values():
            self._ask(base, address, url, len(self._stun_servers) - 1)
        self.run_jobs(now)

    def add_turn_server(
        self, server: IceServer, address: Address, stream: int | None, now: float
    ) -> None:
        """Allocate from each socket of the server's family, or over a connected stream.

        Raises:
            ValueError: the number of the stream is taken, or there are `max_local` already.
        """
        self._begin()
        if stream is not None:
            if stream in self.bases or any(relay.socket == stream for relay in self.relays):
                raise ValueError(f"stream {stream} takes part already")
            self._check_room()
            self._allocate_by(server, address, stream, None, len(self.relays))
        else:
            self._turn_servers.append((server, address))
            for base in self.bases.values():
                self._allocate(server, address, base, len(self._turn_servers) - 1)
        self.run_jobs(now)

    def end(self) -> None:
        """Nothing more will be added."""
        self._ended = True
        if self.state is GatheringState.NEW:
            self._begin()

    def restart(self, ufrag: str, now: float) -> None:
        """Announce everything again for a new ICE session, and ask the servers again."""
        self.ufrag = ufrag
        self.candidates = []
        self.concluded = False
        self._begin()
        for base in self.bases.values():
            if base.usable:
                self._announce(base.candidate)
            base.reflexive = [
                candidate
                for candidate in base.reflexive
                if candidate.type is CandidateType.SERVER_REFLEXIVE
            ]
            for candidate in base.reflexive:
                self._announce(candidate)
        for relay in list(self.relays):
            if relay.base is not None:
                self._announce(relay.base.candidate)
            elif relay.has_failed and relay.host_base is not None:
                self.relays.remove(relay)
                self._allocate(
                    relay.server, relay.first_address, relay.host_base, relay.index, again=True
                )
        for question in self._questions:
            if question.is_idle and question not in self._jobs:
                question.begin()
                self._jobs.append(question)
        self.run_jobs(now)

    def rename(self, ufrag: str) -> None:
        """The restart was taken back: the candidates are those of the ICE session before it."""
        self.ufrag = ufrag
        self.candidates = [attrs.evolve(found, ufrag=ufrag) for found in self.candidates]

    def forget_stream(self, relay: Relay) -> None:
        """The connection to a TURN server has ended."""
        self.relays.remove(relay)
        self._by_source = {
            key: other for key, other in self._by_source.items() if other is not relay
        }
        if relay in self._jobs:
            self._jobs.remove(relay)
        self._lose(relay)

    def keep_permissions(self, used: Collection[tuple[Base, str]]) -> None:
        """ICE has concluded: let permissions lapse at relays for all but these hosts.

        The allocations themselves are kept, although RFC 8445 8.3 would let us free what no
        selected pair uses 3 s after the end: a restart can then go by the relay at once (pitfall
        W22), also where the server would not give another (486), and the peer keeps the candidate
        that it knows. It costs one Refresh in nine minutes; permissions would cost one request
        in four, for each address of the peer.
        """
        for relay in self.relays:
            relay.client.keep_only([host for base, host in used if base is relay.base])

    def close(self, now: float) -> None:
        """Give allocations back, and forget everything else."""
        for relay in self.relays:
            relay.client.close(now)
            relay.drain(now, self._context.transmits)
        self.relays = []
        self._questions = []
        self._jobs.clear()
        self._by_source = {}
        self.bases = {}

    # ----------------------------------------------------------------------------- getters

    @property
    def is_complete(self) -> bool:
        """Whether our candidates are complete."""
        return self.state is GatheringState.COMPLETE

    @property
    def deadline(self) -> float:
        """When `handle_timer` is to be called; inf for never."""
        deadline = self._next_job_at if self._jobs else inf
        for question in self._questions:
            deadline = min(deadline, question.deadline)
        for relay in self.relays:
            deadline = min(deadline, relay.deadline)
        return deadline

    @property
    def has_news(self) -> bool:
        """Whether there is something that the agent has not yet taken note of."""
        return bool(self.new_bases or self.lost_bases or self.forbidden)

    def relay_at(self, socket: int, address: Address) -> Relay | None:
        """The allocation whose server is at that address, seen from that socket."""
        return self._by_source.get((socket, address))

    def relay_by_stream(self, stream: int) -> Relay | None:
        """The allocation over that stream."""
        for relay in self.relays:
            if relay.is_stream and relay.socket == stream:
                return relay
        return None

    def question(self, transaction_id: bytes) -> Question | None:
        """The question to a STUN server with that transaction."""
        for question in self._questions:
            if question.owns_transaction(transaction_id):
                return question
        return None

    def owns_transaction(self, transaction_id: bytes) -> bool:
        """Whether an answer with that transaction is for us."""
        return self.question(transaction_id) is not None or any(
            relay.client.owns_transaction(transaction_id) for relay in self.relays
        )

    # ------------------------------------------------------------------------ what happens

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        self.run_jobs(now)
        for question in self._questions:
            if now >= question.deadline:
                self._handle_question_timer(question, now)
        for relay in list(self.relays):
            if now < relay.deadline:
                continue
            if relay.give_up_at is not None and now >= relay.give_up_at:
                relay.give_up(now)
                reason = f"{relay.server.url}: it does not answer"
                self._problem(relay.server.url, relay.host_base, NO_ANSWER, reason)
            relay.client.handle_timer(now)
            self.drain(relay, now)

    def run_jobs(self, now: float) -> None:
        """Start the next transaction if Ta has passed since the one before (RFC 8445 5.1.1.2)."""
        while self._jobs and now >= self._next_job_at:
            self._next_job_at = now + self._context.config.ta
            job = self._jobs.pop(0)
            job.start(now, self._context.config.gathering_timeout, self._context.rng)
            if isinstance(job, Relay):
                self.drain(job, now)
            else:
                self._repeat(job, now)

    def settle(self) -> None:
        """Note the end of gathering."""
        if (
            self._ended
            and self.state is GatheringState.GATHERING
            and not self._jobs
            and not any(question.is_pending for question in self._questions)
            and not any(relay.give_up_at is not None for relay in self.relays)
        ):
            self.state = GatheringState.COMPLETE
            self._context.events.append(GatheringDone())

    def handle_answer(
        self, question: Question, message: StunMessage, source: Address, now: float
    ) -> None:
        """A STUN server has answered."""
        if source != question.address:
            return
        error = message.error
        mapped = message.xor_mapped_address if error is None else None
        first = not question.answered
        question.finish(now, inf if self.concluded else self._context.config.keepalive)
        if mapped is not None:
            question.answered = True
            self._reflexive(question.base, mapped, question.address[0], question.index)
        elif first:
            code, reason = error or (500, "it did not say our address")
            self._problem(question.url, question.base, code, f"{question.url}: {reason}")

    def drain(self, relay: Relay, now: float) -> None:
        """Take from a TURN client what it tells and wants to send."""
        for event in relay.drain(now, self._context.transmits):
            self._handle_turn_event(relay, event, now)

    # ---------------------------------------------------------------------------- internal

    def _begin(self) -> None:
        self.state = GatheringState.GATHERING

    def _announce(self, candidate: Candidate) -> None:
        candidate = attrs.evolve(candidate, ufrag=self.ufrag)
        self.candidates.append(candidate)
        self._context.events.append(LocalCandidate(candidate))

    def _withdraw(self, base: Base) -> None:
        gone = {base.candidate.address, *(candidate.address for candidate in base.reflexive)}
        self.candidates = [found for found in self.candidates if found.address not in gone]

    def _problem(self, url: str, base: Base | None, code: int, reason: str) -> None:
        hidden = base is None or base.hidden or not base.usable
        address = "" if hidden or base is None else base.address[0]
        self._context.events.append(GatheringProblem(url, address, code, reason))

    def _ask(self, base: Base, server: Address, url: str, index: int) -> None:
        """Plan a question to a STUN server; none if its answer would not be announced."""
        if base.usable and can_ask(base.address[0], server[0]):
            question = Question(base, server, url, index)
            self._questions.append(question)
            self._jobs.append(question)

    def _allocate(
        self, server: IceServer, address: Address, base: Base, index: int, *, again: bool = False
    ) -> None:
        """Plan an allocation from a socket: one per socket and server (RFC 8656 2.2)."""
        if not can_ask(base.address[0], address[0]):
            return
        if not again and (base.socket, address) in self._by_source:
            return
        if len(self.bases) + len(self.relays) < self._context.config.max_local:
            self._allocate_by(server, address, base.socket, base, index)

    def _allocate_by(
        self, server: IceServer, address: Address, socket: int, base: Base | None, index: int
    ) -> None:
        relay = Relay(
            server,
            address,
            socket,
            base,
            index=index,
            families=self._relayed_families(server, address),
            rng=self._context.rng,
        )
        self.relays.append(relay)
        self._by_source[socket, address] = relay
        self._jobs.append(relay)
        # Gathering waits for it, even before it was its turn.
        relay.give_up_at = inf

    def _relayed_families(self, server: IceServer, address: Address) -> tuple[int, int]:
        """Which kind of relayed address to ask for, and which where the server has none of that.

        IPv4 first: so do browsers, whatever family they reach the server by, and a peer without
        IPv6 can be reached in no other way from where there is only IPv6. Where the same server
        is asked over IPv4 too, what is asked over IPv6 brings an IPv6 address: with both, peers
        of either family can be reached.
        """
        also_by_ipv4 = any(
            relay.server == server and ":" not in relay.first_address[0] and not relay.has_failed
            for relay in self.relays
        )
        return (6, 4) if ":" in address[0] and also_by_ipv4 else (4, 6)

    def _handle_question_timer(self, question: Question, now: float) -> None:
        if question.refresh_at <= now:
            question.refresh_at = inf
            if self.concluded:
                return
            question.start(now, self._context.config.gathering_timeout, self._context.rng)
        if not self._repeat(question, now):
            first = not question.answered
            question.finish(now, self._context.config.keepalive if question.answered else inf)
            if first:
                reason = f"{question.url}: it does not answer"
                self._problem(question.url, question.base, NO_ANSWER, reason)

    def _repeat(self, question: Question, now: float) -> bool:
        request = question.next_request(now)
        if request is not None:
            self._context.send(question.base, [request], question.address, now)
        return not question.has_failed(now)

    def _reflexive(self, base: Base, mapped: Address, server: str, index: int) -> None:
        """A socket looks like that from outside: a candidate, unless it is known already."""
        if not base.usable or mapped == base.candidate.address:
            return  # RFC 8838 9: redundant, whatever its priority
        if mapped == base.address and not base.hidden:
            return
        # Behind a name of multicast DNS it "MUST NOT be considered redundant" (draft-ietf-mmusic-
        # mdns-ice-candidates 3.1.2.2): no peer outside the local network can use the name.
        known = next((found for found in base.reflexive if found.address == mapped), None)
        if known is not None and known.type is CandidateType.SERVER_REFLEXIVE:
            return
        candidate = self._announcer.reflexive(base, mapped, server, index)
        base.reflexive = [found for found in base.reflexive if found is not known]
        base.reflexive.append(candidate)
        self._announce(candidate)

    # --------------------------------------------------------------------------------- TURN

    def _handle_turn_event(self, relay: Relay, event: TurnEvent, now: float) -> None:
        match event:
            case Allocated(relayed, mapped):
                self._allocated(relay, relayed, mapped, now)
            case AllocationFailed(code, reason):
                if relay.give_up_at is not None:
                    relay.give_up_at = None
                    relay.has_failed = True
                    self._problem(relay.server.url, relay.host_base, code, reason)
                    self._ask_instead(relay, code)
            case AllocationLost(reason):
                relay.has_failed = True
                self._problem(relay.server.url, relay.host_base, NO_ANSWER, reason)
                self._lose(relay)
            case PermissionFailed(host):
                if relay.base is not None:
                    self.forbidden.append((relay.base, host))
            case AlternateServer(address):
                if not relay.is_stream:
                    self._by_source[relay.socket, address] = relay

    def _ask_instead(self, relay: Relay, code: int) -> None:
        """An allocation was refused: "the agent SHOULD instead send a Binding request"."""
        base = relay.host_base
        if base is not None and code != NO_ANSWER:
            self._ask(base, relay.first_address, relay.server.url, relay.index)

    def _allocated(self, relay: Relay, relayed: Address, mapped: Address, now: float) -> None:
        if relay.give_up_at is None or any(b.address == relayed for b in self.bases.values()):
            relay.client.close(now)  # too late; or, 5.1.1.2: "MUST be discarded"
            relay.drain(now, self._context.transmits)
            relay.give_up_at = None
            return
        relay.give_up_at = None
        rank = sum(1 for other in self.relays if other.base is not None)
        preference = relay_preference(rank, stream=relay.is_stream)
        server = relay.client.address[0] + ("/stream" if relay.is_stream else "")
        candidate = self._announcer.relayed(
            relayed, mapped, server, preference, hidden=self._is_hidden(mapped[0])
        )
        relay.base = Base(relay.socket, relayed, candidate, preference, relay=relay)
        self.new_bases.append(relay.base)
        if relay.host_base is not None:
            self._reflexive(relay.host_base, mapped, relay.client.address[0], relay.index)
        self._announce(candidate)

    def _is_hidden(self, mapped_host: str) -> bool:
        """Whether telling this mapped address would give away what is to be hidden."""
        return self._context.config.policy == "relay" or any(
            base.hidden and base.address[0] == mapped_host for base in self.bases.values()
        )

    def _lose(self, relay: Relay) -> None:
        relay.give_up_at = None
        if relay.base is not None:
            self.lost_bases.append(relay.base)
            self._withdraw(relay.base)
            relay.base = None
