"""From offers and answers to what ICE, DTLS and SCTP have to do (RFC 8829).

`Negotiation` judges descriptions; this file knows what follows. What an offer says of ICE and DTLS
holds when it is answered: before, its sender could not follow. Candidates that come meanwhile are
held, for they may belong to the ICE session that the offer begins.
"""

from __future__ import annotations

import random
import string

import trio

from rtcsctp.errors import DescriptionError
from rtcsctp.ice.candidate import Candidate
from rtcsctp.ice.events import GatheringState
from rtcsctp.runtime.connection import SCTP_PORT, Connection
from rtcsctp.runtime.descriptions import EndOfCandidates
from rtcsctp.sdp.description import DescriptionType, SessionDescription
from rtcsctp.sdp.model import Section
from rtcsctp.sdp.negotiation import LocalParameters, Negotiation, Outcome, SignallingState
from rtcsctp.sdp.parse import parse_untrusted

__all__ = ["Signalling", "make_credentials"]

_ICE_CHARS = string.ascii_letters + string.digits + "+/"
_MAX_HELD_CANDIDATES = 256

_OPEN_OFFER = (SignallingState.HAVE_LOCAL_OFFER, SignallingState.HAVE_REMOTE_OFFER)
_ANSWERING = (SignallingState.HAVE_REMOTE_OFFER, SignallingState.HAVE_LOCAL_PRANSWER)


def make_credentials(rng: random.Random) -> tuple[str, str]:
    """A user fragment and a password for an ICE session (RFC 8445 5.3).

    The RFC asks for 24 and 128 random bits. The fragment has 48, as a server tells its peers apart
    by it; the password 144.
    """
    choose = rng.choices
    return "".join(choose(_ICE_CHARS, k=8)), "".join(choose(_ICE_CHARS, k=24))


class Signalling:
    """The offer/answer exchanges of one peer, and what they bring about.

    Attributes:
        restart_wanted: the next offer restarts ICE.
    """

    def __init__(
        self, negotiation: Negotiation, connection: Connection, rng: random.Random
    ) -> None:
        self.restart_wanted = False
        self._negotiation = negotiation
        self._connection = connection
        self._rng = rng
        self._own: tuple[str, str] | None = None
        """Credentials of the ICE session that our next description begins."""
        self._known: tuple[str, str] | None = None
        """The peer's credentials that hold."""
        self._held: list[Candidate | EndOfCandidates] = []
        """Candidates that came while an offer is open, or before the first description."""
        self._has_role = False
        self._restarting = False
        """An offer or answer of ours that restarts ICE is set, and not agreed yet."""

    @property
    def state(self) -> SignallingState:
        """W3C's signalingState."""
        return self._negotiation.state

    @property
    def local_description(self) -> SessionDescription | None:
        """Ours, with the candidates that are known by now."""
        return self._negotiation.describe_local(self._parameters())

    @property
    def remote_description(self) -> SessionDescription | None:
        """The peer's."""
        return self._negotiation.remote_description

    @property
    def label(self) -> tuple[str | None, int]:
        """Mid and index of our data section, which trickled candidates are labelled with."""
        return self._negotiation.local_mid() or (None, 0)

    def is_for_data(self, mid: str | None, index: int | None) -> bool:
        """Whether a candidate with this label is for our data section."""
        negotiation = self._negotiation
        return negotiation.remote_data is None or negotiation.is_for_data(mid, index)

    # ------------------------------------------------------------------------- descriptions

    def create_offer(self, *, ice_restart: bool) -> SessionDescription:
        """An offer; it changes nothing until it is set."""
        wanted = ice_restart or (self.restart_wanted and not self._restarting)
        restart = wanted and self._known is not None
        if restart:
            self._own = make_credentials(self._rng)
        return self._negotiation.create_offer(
            self._parameters(renewed=restart), ice_restart=restart
        )

    def create_answer(self) -> SessionDescription:
        """An answer; it changes nothing until it is set."""
        # RFC 8445 9: a restart changes the credentials of both sides.
        offered = self._negotiation.remote_data
        renewed = offered is not None and self._known not in (None, (offered.ufrag, offered.pwd))
        if renewed:
            self._own = make_credentials(self._rng)
        return self._negotiation.create_answer(self._parameters(renewed=renewed))

    def _parameters(self, *, renewed: bool = False) -> LocalParameters:
        """What our descriptions say; with `renewed`, of the ICE session that they will begin."""
        agent, config = self._connection.agent, self._connection.config
        ufrag, pwd = agent.local_ufrag, agent.local_pwd
        if renewed:
            assert self._own is not None
            ufrag, pwd = self._own
        complete = agent.gathering_state is GatheringState.COMPLETE
        return LocalParameters(
            ufrag=ufrag,
            pwd=pwd,
            ice_lite=config.agent_config.lite,
            fingerprints=self._connection.identity.fingerprints,
            candidates=() if renewed else agent.local_candidates,
            end_of_candidates=complete and not renewed,
            sctp_port=SCTP_PORT,
            max_message_size=config.sctp.max_message_size,
        )

    def set_local(self, description: SessionDescription | None) -> None:
        """Put our description in force; None makes the one that fits."""
        if description is None:
            answers = self.state in _ANSWERING
            description = self.create_answer() if answers else self.create_offer(ice_restart=False)
        outcome = self._negotiation.set_local(description)
        self._apply(outcome)
        if description.type is DescriptionType.ANSWER and outcome.no_data:
            self._connection.fail("the peer's offer has taken back the data channels")
        if description.type is not DescriptionType.ROLLBACK:
            self._connection.gather()
        self._connection.settle()

    def set_remote(self, description: SessionDescription) -> None:
        """Put the peer's description in force."""
        kind = description.type
        if kind is DescriptionType.OFFER and not self._has_role:
            self._check_has_data(description)
        outcome = self._negotiation.set_remote(description)
        self._apply(outcome)
        if kind is DescriptionType.ANSWER and outcome.no_data:
            # We have nothing but data, and the peer does not want them.
            self._connection.fail("the peer's answer has rejected the data channels")
        self._connection.settle()

    @staticmethod
    def _check_has_data(offer: SessionDescription) -> None:
        """An answer that rejects everything would leave both sides waiting for ever."""
        if parse_untrusted(offer.sdp).data is None:
            raise DescriptionError(
                "the offer has no section for data channels; a browser's has one if "
                "createDataChannel() was called before createOffer()"
            )

    def add_candidate(self, candidate: Candidate | EndOfCandidates | None) -> None:
        """A candidate that came by itself; None is the end of them."""
        if candidate is None:
            candidate = EndOfCandidates()
        known = self._known
        if known is not None and (self.state not in _OPEN_OFFER or candidate.ufrag == known[0]):
            self._take_candidate(candidate)
            self._connection.transport.settle()
        elif len(self._held) < _MAX_HELD_CANDIDATES:
            self._held.append(candidate)

    def close(self) -> None:
        """The connection has ended."""
        if self.state is not SignallingState.CLOSED:
            self._negotiation.close()

    # ------------------------------------------------------------------ what they bring about

    def _apply(self, outcome: Outcome) -> None:
        now = trio.current_time()
        connection, agent = self._connection, self._connection.agent
        if outcome.undo_ice_restart:
            self._restarting = False
            agent.cancel_restart(now)
            connection.local_candidates.begin_anew(agent.local_candidates)
            connection.register()
        if outcome.rolled_back:
            self._own = None
            # The end of the candidates of a session that will not be must not end another's.
            self._held = [late for late in self._held if late.ufrag or isinstance(late, Candidate)]
        if outcome.ice_restart_local and self._own is not None:
            ufrag, pwd = self._own
            self._own = None
            self._restarting = True
            connection.local_candidates.begin_anew()
            agent.restart(now, ufrag=ufrag, pwd=pwd)
            connection.journal.note("ice", "ice-restart", "ICE restarts")
            connection.register()
        if self.state is SignallingState.STABLE and self._restarting:
            # Not before: an offer that is rolled back leaves the wish for a restart (W3C
            # restartIce).
            self._restarting = self.restart_wanted = False
        remote = outcome.remote
        if remote is None or outcome.dtls_client is None or self.state in _OPEN_OFFER:
            return
        if not self._has_role and outcome.controlling is not None:
            agent.set_controlling(outcome.controlling, now)
        self._apply_candidates(remote, now)
        if outcome.new_dtls:
            connection.abandon_association()
        connection.describe_peer(remote)
        if not self._has_role or outcome.new_dtls:
            self._has_role = True
            connection.start_dtls(remote, client=outcome.dtls_client)

    def _apply_candidates(self, remote: Section, now: float) -> None:
        """The peer's side of ICE, as its description and what was trickled say."""
        connection, agent = self._connection, self._connection.agent
        assert remote.ufrag is not None
        assert remote.pwd is not None
        credentials = (remote.ufrag, remote.pwd)
        if credentials != self._known:
            if self._known is not None:
                connection.journal.note("ice", "ice-restart-peer", "ICE restarts at the peer's end")
            self._known = credentials
            agent.set_remote(*credentials, lite=remote.ice_lite, now=now)
        for candidate in remote.candidates:
            agent.add_remote_candidate(candidate, now)
        if remote.end_of_candidates:
            agent.end_of_candidates(now)
        held, self._held = self._held, []
        for late in held:
            self._take_candidate(late)

    def _take_candidate(self, candidate: Candidate | EndOfCandidates) -> None:
        agent, now = self._connection.agent, trio.current_time()
        if isinstance(candidate, Candidate):
            agent.add_remote_candidate(candidate, now)
        elif self._known is None or candidate.ufrag in (None, self._known[0]):
            agent.end_of_candidates(now)  # of another session: pitfall W17
