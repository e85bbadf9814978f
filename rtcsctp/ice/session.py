"""One ICE session: what a pair of credentials is good for, until a restart (RFC 8445 2, 9).

A restart begins a new session; the old one lives beside it for a while, so that its pair carries
data until the new one has a better (pitfall W22). Everything that belongs to one and not to the
other is here: credentials, the peer's candidates, the checklist and what became of it.

What is here answers four questions: which pairs are there, which check is next, what does an answer
or a request of the peer change, and which pair is the one. When anything happens is the agent's
business.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from rtcsctp.ice.candidate import Address, Candidate, is_mdns_name
from rtcsctp.ice.checklist import Checklist
from rtcsctp.ice.checks import Check
from rtcsctp.ice.context import Context
from rtcsctp.ice.credentials import Credentials
from rtcsctp.ice.events import ResolveName
from rtcsctp.ice.local import Base, can_reach
from rtcsctp.ice.pairs import Pair, PairState
from rtcsctp.ice.remote import Remote, RemoteTable
from rtcsctp.ice.requests import Inbound, make_check
from rtcsctp.ice.stun import StunMessage, new_transaction_id
from rtcsctp.ice.stun_pattern import Pattern
from rtcsctp.ice.transactions import Transaction

__all__ = ["Session"]

_MAX_CONFLICTS = 8  # one 487 per pair settles a conflict; who sends more is not following the RFC


class Session:
    """One ICE session.

    Attributes:
        local: our credentials.
        remote: the peer's, once they are known; with them the session runs.
        remote_lite: whether the peer is a lite agent.
        remotes: its candidates.
        checklist: the pairs.
        selected: the nominated pair.
        nominating: the pair that is being nominated by us.
        first_valid_at: when the first pair worked; nomination waits from here.
        started_at: when both sides' credentials were known: the start of the PAC timer (RFC 8863).
        ended: the peer has said that its candidates are complete.
        lost: consent was lost; nothing helps but a restart (RFC 7675 5.1).
        stopped: no new checks; a newer session has begun.
        selected_is_quiet: the selected pair does not answer; another may be nominated in its place.
    """

    __slots__ = (
        "_bases",
        "_context",
        "_early",
        "checklist",
        "ended",
        "first_valid_at",
        "local",
        "lost",
        "nominating",
        "remote",
        "remote_lite",
        "remotes",
        "selected",
        "selected_is_quiet",
        "started_at",
        "stopped",
    )

    def __init__(self, context: Context, local: Credentials, bases: Iterable[Base]) -> None:
        config = context.config
        self._context = context
        self._bases = list(bases)
        self._early: dict[tuple[Base, Address], Inbound] = {}
        self.local = local
        self.remote: Credentials | None = None
        self.remote_lite = False
        self.remotes = RemoteTable(config.max_remote_candidates, config.max_peer_reflexive)
        self.checklist = Checklist(config.max_pairs, controlling=context.role.controlling)
        self.selected: Pair | None = None
        self.nominating: Pair | None = None
        self.first_valid_at: float | None = None
        self.started_at = 0.0
        self.ended = False
        self.lost = False
        self.stopped = False
        self.selected_is_quiet = False

    @property
    def is_running(self) -> bool:
        """Whether it makes pairs and checks."""
        return self.remote is not None and not self.stopped and not self.lost

    # ----------------------------------------------------------- candidates, pairs (RFC 8445 6.1)

    def start(self, remote: Credentials, *, lite: bool, now: float) -> None:
        """The peer's credentials are known: make pairs, and take up the checks that came early."""
        self.remote = remote
        self.remote_lite = lite
        self.remotes.keep_session(remote.ufrag)
        self.started_at = now
        for base in self._bases:
            self._pair_base(base, now)
        self.checklist.set_initial_states()
        early, self._early = self._early, {}
        for inbound in early.values():
            self.handle_inbound(inbound, now)

    def is_of(self, ufrag: str | None) -> bool:
        """Whether a candidate with that ufrag belongs here for sure."""
        return ufrag is not None and self.remote is not None and ufrag == self.remote.ufrag

    def may_be_of(self, ufrag: str | None) -> bool:
        """Whether it may belong here: it does not say, or we do not know yet (RFC 8838 9)."""
        return ufrag is None or self.remote is None or ufrag == self.remote.ufrag

    def take_early(self, other: Session) -> None:
        """Take over the checks that came early for a session with the same local credentials."""
        self._early = dict(other._early)

    def add_base(self, base: Base, now: float) -> None:
        """One more base of ours."""
        self._bases.append(base)
        self._pair_base(base, now)

    def remove_base(self, base: Base) -> None:
        """A base has gone, and its pairs with it."""
        if base in self._bases:
            self._bases.remove(base)
        self._early = {key: value for key, value in self._early.items() if key[0] is not base}
        for pair in self.checklist.remove_base(base):
            self._drop(pair)

    def fail_host(self, base: Base, host: str) -> None:
        """A relay may not reach that host."""
        for pair in list(self.checklist):
            if pair.base is base and pair.remote.address[0] == host:
                self._context.checks.forget_pair(pair)
                self.fail(pair)

    def _pair_base(self, base: Base, now: float) -> None:
        for remote in self.remotes.signalled:
            self._pair(base, remote, now)

    def _pair(self, base: Base, remote: Remote, now: float) -> None:
        """Form a pair if it makes sense (6.1.2.2).

        "The ICE agent MUST NOT form candidate pairs between its own relay candidates and remote
        mDNS candidates": the TURN server would learn what the name hides (draft-ietf-mmusic-mdns-
        ice-candidates 3.3.2).
        """
        context = self._context
        host = remote.address[0]
        if (
            not self.is_running
            or self.selected is not None
            or context.config.lite
            or not base.usable
            or not can_reach(base.address[0], host)
            or (base.relay is not None and remote.private)
        ):
            return
        pair, dropped = self.checklist.add(base, remote)
        if dropped is not None:
            self._drop(dropped)
        if pair is not None and base.relay is not None:
            # Now, so that the permission is there when the peer's checks come (7.2.1).
            base.relay.client.permit(host, now)

    def add_remote(self, candidate: Candidate, now: float) -> None:
        """Take a candidate that was signalled; one with a name has to be resolved first."""
        context = self._context
        if candidate.transport != "udp" or candidate.component != 1:
            context.counters.ignored_candidates += 1  # TCP is not spoken (pitfall W16)
            return
        if not candidate.is_name:
            self._add_numeric(candidate, now)
            return
        if candidate.is_mdns and context.config.policy == "relay":
            # No relay can reach it, and the question would tell the local network about us.
            context.counters.ignored_candidates += 1
            return
        ask, known = self.remotes.add_name(candidate)
        if ask:
            context.events.append(ResolveName(candidate.host, candidate))
        for found in known:
            self._add_numeric(found, now, private=candidate.is_mdns)

    def resolve(self, name: str, addresses: Sequence[str], now: float) -> None:
        """A name was resolved, or could not be."""
        private = is_mdns_name(name)
        for found in self.remotes.resolve(name, addresses):
            self._add_numeric(found, now, private=private)

    def _add_numeric(self, candidate: Candidate, now: float, *, private: bool = False) -> None:
        remote, is_new = self.remotes.add(candidate, private=private)
        if remote is None:
            self._context.counters.ignored_candidates += 1
            return
        if not is_new:
            # It was peer-reflexive; its pairs get the priorities that the peer gives them too.
            self.checklist.refresh(remote)
        for base in self._bases:
            self._pair(base, remote, now)

    def set_controlling(self, *, controlling: bool) -> None:
        """The role has changed."""
        self.checklist.set_controlling(controlling=controlling)
        self.nominating = None
        for pair in self.checklist:
            pair.nominate_on_success = False

    # ------------------------------------------------------------------------ our checks: 7.2

    def next_check_at(self) -> float | None:
        """When the next check may be sent, if there is one to be sent."""
        pacer = self._context.pacer
        if not self.is_running:
            return None
        if self.checklist.has_triggered:
            return pacer.next_at(triggered=True)
        if self.selected is None and self.checklist.has_waiting:
            return pacer.next_at(triggered=False)
        return None

    def send_next_check(self, now: float) -> bool:
        """Send one check if it is time for one (6.1.4.2)."""
        at = self.next_check_at()
        if at is None or now < at:
            return False
        checklist = self.checklist
        pair = checklist.next_triggered() or checklist.next_ordinary()
        if pair is None:
            return False
        self._start_check(pair, now)
        return True

    def _start_check(self, pair: Pair, now: float) -> None:
        context = self._context
        config = context.config
        nominating = pair is self.nominating and context.role.controlling
        pair.state = PairState.IN_PROGRESS
        rto = max(config.rto, config.ta * self.checklist.active)
        lasts = rto * ((1 << (config.max_attempts - 1)) - 1 + config.last_wait)
        if pair.hope_until == inf:
            pair.hope_until = now + lasts
        self._send_check(
            Check(
                self,
                pair,
                self._make_transaction(pair, now, nominating=nominating, rto=rto),
                controlling=context.role.controlling,
                nominating=nominating,
                is_consent=False,
                expires=now + lasts,
            ),
            now,
        )
        context.pacer.note_sent(now)

    def send_consent_check(
        self, pair: Pair, now: float, *, pattern: Pattern | None = None
    ) -> Check:
        """Ask the peer whether it still wants our data: one request, sent once (RFC 7675 5.1).

        `pattern` is that of such requests, if it is known.
        """
        return self._send_watch(pair, now, repeated=False, pattern=pattern)

    def send_probe(self, pair: Pair, now: float) -> None:
        """Ask the peer of a silent pair whether it is there, again and again (see `Consent`)."""
        self._context.checks.cancel_consent(pair)  # of an earlier silence
        self._send_watch(pair, now, repeated=True)

    def _send_watch(
        self, pair: Pair, now: float, *, repeated: bool, pattern: Pattern | None = None
    ) -> Check:
        context = self._context
        rto = context.config.rto
        check = Check(
            self,
            pair,
            self._make_transaction(pair, now, nominating=False, rto=rto, pattern=pattern),
            controlling=context.role.controlling,
            nominating=False,
            is_consent=True,
            expires=now + context.config.consent_timeout,
        )
        check.lingers = not repeated
        self._send_check(check, now)
        return check

    def _make_transaction(
        self,
        pair: Pair,
        now: float,
        *,
        nominating: bool,
        rto: float,
        pattern: Pattern | None = None,
    ) -> Transaction:
        assert self.remote is not None
        context = self._context
        transaction_id = new_transaction_id(context.rng)
        if pattern is not None:
            request = pattern.make(transaction_id)
        else:
            request = make_check(
                self.local,
                self.remote,
                context.role,
                transaction_id,
                priority=pair.base.check_priority,
                nominating=nominating,
            )
        return Transaction(
            request,
            transaction_id,
            now,
            rto=rto,
            max_requests=context.config.max_attempts,
            last_wait=context.config.last_wait,
        )

    def _send_check(self, check: Check, now: float) -> None:
        if check.is_consent:
            check.pair.consent_requests_sent += 1
        else:
            check.pair.requests_sent += 1
        self._context.checks.add(check)
        self.repeat(check, now)

    def repeat(self, check: Check, now: float) -> bool:
        """Send the request if it is due; False if it was sent often enough, and has failed."""
        request = check.transaction.next(now)
        if request is not None:
            pair = check.pair
            self._context.send(pair.base, [request], pair.remote.address, now)
        return not check.transaction.has_failed

    def handle_timeout(self, check: Check) -> None:
        """Nobody has answered (7.2.5.2.3)."""
        self._context.checks.remove(check)
        if check.pair.state is PairState.IN_PROGRESS and not check.is_consent:
            self.fail(check.pair)

    # ------------------------------------------------------------------------ answers (7.2.5)

    def handle_success(
        self, check: Check, response: StunMessage, base: Base, source: Address, now: float
    ) -> bool:
        """A success response whose integrity is right; whether it renews the pair's consent."""
        context = self._context
        pair = check.pair
        context.checks.remove(check)
        mapped = response.xor_mapped_address
        if base is not pair.base or source != pair.remote.address or mapped is None:
            # 7.2.5.2.1: "If the addresses are not symmetric, the agent MUST set the candidate
            # pair state to Failed."
            context.counters.forged_responses += 1
            if not check.lingers and not check.is_consent:
                self.fail(pair)
            return False
        if pair not in self.checklist or pair.state is PairState.FAILED:
            # Dropped meanwhile; or consent was lost, which late answers do not bring back.
            return False
        rtt = now - check.transaction.started if check.transaction.sent == 1 else None
        pair.succeed(now, rtt)
        base.heard(source, now, limit=context.config.max_sources)
        pair.local = base.local_candidate(mapped, limit=context.config.max_peer_reflexive)
        if check.is_consent:
            return True
        if pair.state is PairState.IN_PROGRESS and not check.lingers:
            pair.state = PairState.SUCCEEDED
        elif not pair.valid:
            pair.state = PairState.SUCCEEDED
            self.checklist.untrigger(pair)
            context.checks.cancel(pair)
        pair.valid = True
        if self.first_valid_at is None:
            self.first_valid_at = now
        self.checklist.unfreeze(pair.foundation)
        controlling = context.role.controlling
        if controlling and check.nominating and pair is self.nominating:
            self.select(pair)
        elif not controlling and pair.nominate_on_success:
            self.nominated_by_peer(pair)
        return True

    def handle_error(self, check: Check, code: int) -> bool:
        """An error response whose integrity is right; whether we take the other role (7.2.5.1)."""
        context = self._context
        pair = check.pair
        context.checks.remove(check)
        if code == 403 and check.is_consent:
            self.lose(pair)  # RFC 7675 5.2: consent is revoked at once
            return False
        if code == 487:
            pair.conflicts += 1
            switch = check.controlling == context.role.controlling and not self.remote_lite
            if pair.conflicts <= _MAX_CONFLICTS:
                if not check.is_consent and pair in self.checklist:
                    self.checklist.trigger(pair)
                return switch
        if not check.is_consent and not check.lingers:
            self.fail(pair)
        return False

    def fail(self, pair: Pair) -> None:
        """A check of this pair has failed (7.2.5.2)."""
        pair.state = PairState.FAILED
        pair.valid = False
        pair.nominate_on_success = False
        if pair is self.nominating:
            self.nominating = None
        self.checklist.untrigger(pair)

    def lose(self, pair: Pair) -> None:
        """There is no consent for this pair any more (RFC 7675 5.1)."""
        self._context.checks.forget_pair(pair)
        self.fail(pair)
        pair.revoked = True
        if self.checklist.best_valid is None and (
            self.selected is pair or self.checklist.is_exhausted
        ):
            self.lost = True

    def _drop(self, pair: Pair) -> None:
        """A pair was taken out of the checklist."""
        self._context.checks.forget_pair(pair)
        pair.valid = False
        if pair is self.nominating:
            self.nominating = None

    # ------------------------------------------------------------- the peer's checks (7.3.1)

    def handle_inbound(self, inbound: Inbound, now: float) -> None:
        """An authenticated check of the peer, which was answered already."""
        remote = self.remote
        if remote is None or inbound.remote_ufrag != remote.ufrag:
            # "Once the answer is received, it MUST proceed with the remaining steps" (7.3).
            key = (inbound.base, inbound.source)
            known = self._early.get(key)
            if known is not None:
                inbound.use_candidate = inbound.use_candidate or known.use_candidate
            if known is not None or len(self._early) < self._context.config.max_early_checks:
                self._early[key] = inbound
                self._context.counters.early_checks += 1
            return
        if self._context.config.lite:
            self._handle_lite(inbound, now)
        elif self.is_running:
            self._trigger(inbound, now)
        else:
            pair = self.checklist.get(inbound.base, inbound.source)
            if pair is not None:
                pair.requests_received += 1

    def _find_pair(self, inbound: Inbound) -> Pair | None:
        """The pair that a check came by, made if need be (7.3.1.3, 7.3.1.4); None if too many."""
        pair = self.checklist.get(inbound.base, inbound.source)
        if pair is None:
            remote = self.remotes.discover(inbound.source, inbound.priority)
            if remote is None:
                return None
            pair, dropped = self.checklist.add_triggered(inbound.base, remote)
            if dropped is not None:
                self._drop(dropped)
        if pair is not None:
            pair.requests_received += 1
        return pair

    def _trigger(self, inbound: Inbound, now: float) -> None:
        """Triggered checks (7.3.1.4) and the peer's nomination (7.3.1.5)."""
        context = self._context
        nominated = inbound.use_candidate and not context.role.controlling
        if self.selected is not None:
            # Concluded: other pairs are only answered, unless the peer nominates one of them.
            known = self.checklist.get(inbound.base, inbound.source)
            if known is not None and (known is self.selected or not nominated):
                known.requests_received += 1
                return
            if not nominated:
                return
        pair = self._find_pair(inbound)
        if pair is None or pair.revoked:
            return
        if inbound.base.relay is not None:
            inbound.base.relay.client.permit(inbound.source[0], now)
        if nominated:
            if pair.valid:
                self.nominated_by_peer(pair)
                return
            pair.nominate_on_success = True
        if pair.state is not PairState.SUCCEEDED:
            if pair.state is PairState.IN_PROGRESS:
                context.checks.cancel(pair)
            self.checklist.trigger(pair)

    def _handle_lite(self, inbound: Inbound, now: float) -> None:
        """A lite agent makes a pair of a nomination, and of nothing else (7.3.2)."""
        if not inbound.use_candidate:
            return
        pair = self._find_pair(inbound)
        if pair is None:
            return
        pair.state = PairState.SUCCEEDED
        pair.valid = True
        pair.consented_at = now
        self.nominated_by_peer(pair)

    def pair_lite_with_lite(self, now: float) -> None:
        """Both sides are lite: nobody checks; the best pair is the one (RFC 8445 8.2)."""
        if self.selected is not None or not self.is_running:
            return
        for base in self._bases:
            for remote in self.remotes.signalled:
                if can_reach(base.address[0], remote.address[0]):
                    self.checklist.add(base, remote)
        best = max(self.checklist, key=lambda pair: pair.priority, default=None)
        if best is not None:
            best.state = PairState.SUCCEEDED
            best.valid = True
            best.consented_at = now
            best.base.heard(best.remote.address, now, limit=self._context.config.max_sources)
            self.select(best)

    # ------------------------------------------------------------------ conclusion: 8.1

    def nominate(self, pair: Pair) -> None:
        """Repeat the check of a valid pair, this time with USE-CANDIDATE (8.1.1)."""
        self.nominating = pair
        if pair.state is PairState.IN_PROGRESS:
            self._context.checks.cancel(pair)
        self.checklist.trigger(pair)

    def nominated_by_peer(self, pair: Pair) -> None:
        """The controlling peer has chosen a valid pair.

        One that chooses several (RFC 5245 allowed it, and Chrome moves its choice): "the agents
        MUST […] use the pairs with the highest priority" (8.1.1), among those that answer.
        """
        pair.nominate_on_success = False
        selected = self.selected
        if (
            selected is None
            or not selected.valid
            or self.selected_is_quiet
            or selected.priority < pair.priority
        ):
            self.select(pair)

    def select(self, pair: Pair) -> None:
        """The pair is the nominated one; everything else is let go (8.1.2)."""
        if self.selected is not None:
            self.selected.nominated = False
        pair.nominated = True
        self.selected = pair
        self.selected_is_quiet = False
        self.nominating = None
        for other in self.checklist.conclude(pair):
            self._context.checks.cancel(other)
            other.valid = False
        self._context.checks.cancel(pair)

    def stop(self) -> None:
        """A newer session has begun: only the pair that carries data lives on."""
        self.stopped = True
        self.nominating = None
        self._context.checks.cancel_session(self)

    def best_pair(self, now: float) -> Pair | None:
        """The pair for data: the selected one, before that the best valid one (12.1)."""
        if self.lost:
            return None
        selected = self.selected
        if selected is not None:
            return selected if selected.valid else None
        timeout = self._context.config.consent_timeout
        fresh = [
            pair for pair in self.checklist if pair.valid and now < pair.consented_at + timeout
        ]
        return max(fresh, key=lambda pair: pair.priority, default=None)
