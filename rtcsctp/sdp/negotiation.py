"""The exchange of offer and answer (JSEP, RFC 8829), without I/O.

A `Negotiation` makes our descriptions, judges the peer's, and tells the caller with an `Outcome`
what the transports have to do. It holds two situations: the one that is agreed (of the last time
that the state was stable) and the present one. A step makes a new situation out of the present one
or raises; so a description that is refused has changed nothing, and a rollback is the return to
the agreed situation.

We want data channels and nothing else. Of a peer's description the first usable data section is
taken; all other sections are answered as rejected, and keep their places for ever. The exception
is a section that carries the transport of the data section in a bundle: see `carrier_section`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import attrs

from rtcsctp.errors import SignallingStateError
from rtcsctp.sdp import rules
from rtcsctp.sdp.description import SessionDescription
from rtcsctp.sdp.model import DescriptionType, ParsedDescription, Section
from rtcsctp.sdp.outcome import LocalParameters, Outcome
from rtcsctp.sdp.parse import parse_untrusted
from rtcsctp.sdp.sections import (
    carrier_section,
    data_section,
    ice_options,
    plain_candidates,
    rejected_section,
    unused_mid,
)
from rtcsctp.sdp.signalling import SignallingState, Step, next_state
from rtcsctp.sdp.situation import Dtls, Side, Situation, data_of, differ
from rtcsctp.sdp.write import write

__all__ = ["LocalParameters", "Negotiation", "Outcome", "SignallingState"]

_LOCAL_STEPS = {
    DescriptionType.OFFER: Step.LOCAL_OFFER,
    DescriptionType.ANSWER: Step.LOCAL_ANSWER,
    DescriptionType.PRANSWER: Step.LOCAL_PRANSWER,
}
_REMOTE_STEPS = {
    DescriptionType.OFFER: Step.REMOTE_OFFER,
    DescriptionType.ANSWER: Step.REMOTE_ANSWER,
    DescriptionType.PRANSWER: Step.REMOTE_PRANSWER,
}


class Negotiation:
    """The offer/answer exchanges of one peer connection.

    Args:
        rng: makes the session id.
        polite: what an offer of the peer does while ours is unanswered (glare). True, or None as in
            W3C's ``setRemoteDescription``: ours is rolled back. False: the peer's is ignored; the
            peer has to be polite then.
    """

    def __init__(self, *, rng: random.Random, polite: bool | None = None) -> None:
        self._polite = polite
        # RFC 8829 5.2.1: "the remaining 63 bits being cryptographically random"; and "the value
        # MUST be less than 2^(63)-1".
        self._session_id = rng.getrandbits(62)
        self._session_version = 0
        self._agreed = Situation()
        self._now = self._agreed
        self._made: Side | None = None  # by the last create_…; not valid after a step
        self._ignoring = False

    # ---- getters

    @property
    def state(self) -> SignallingState:
        """W3C ``signalingState``."""
        return self._now.state

    @property
    def local_description(self) -> SessionDescription | None:
        """Ours, as it was set: pending, or else current. `describe_local` adds candidates."""
        return _text(self._now.local)

    @property
    def remote_description(self) -> SessionDescription | None:
        """The peer's: pending, or else current."""
        return _text(self._now.remote)

    @property
    def current_local_description(self) -> SessionDescription | None:
        """Ours of the last exchange that was completed."""
        return _text(self._now.current_local)

    @property
    def current_remote_description(self) -> SessionDescription | None:
        """The peer's of the last exchange that was completed."""
        return _text(self._now.current_remote)

    @property
    def pending_local_description(self) -> SessionDescription | None:
        """Ours of the exchange that is under way."""
        return _text(self._now.pending_local)

    @property
    def pending_remote_description(self) -> SessionDescription | None:
        """The peer's of the exchange that is under way."""
        return _text(self._now.pending_remote)

    @property
    def ignoring_offer(self) -> bool:
        """Whether the peer's latest offer was ignored: its candidates are of no use either."""
        return self._ignoring

    @property
    def local_data(self) -> Section | None:
        """Our data section that holds now."""
        return data_of(self._now.local)

    @property
    def remote_data(self) -> Section | None:
        """The peer's data section that holds now."""
        return data_of(self._now.remote)

    def local_mid(self) -> tuple[str | None, int] | None:
        """Mid and index of our data section: what a trickled candidate is labelled with.

        None where there is none.
        """
        side = self._now.local
        if side is None or side.index is None or side.data is None:
            return None
        return side.data.mid, side.index

    def is_for_data(self, mid: str | None, index: int | None) -> bool:
        """Whether a candidate that the peer trickled is for the data transport.

        Args:
            mid: ``sdpMid`` of the candidate; an empty one counts as none.
            index: ``sdpMLineIndex``, which is looked at where there is no mid.
        """
        side = self._now.remote
        if side is None or side.data is None:
            return False
        if mid:
            # A peer without mids in its description cannot mean a certain one.
            return side.data.mid is None or mid in side.data.transport_mids
        return index is None or index == side.index

    # ---- making descriptions

    def create_offer(
        self, local: LocalParameters, *, ice_restart: bool = False
    ) -> SessionDescription:
        """Make an offer of data channels. It changes nothing until it is set.

        Args:
            local: what it says of us.
            ice_restart: `local` has a new ufrag and pwd. No matter before the first exchange.

        Raises:
            SignallingStateError: not in this state; or credentials or fingerprints that changed
                without `ice_restart`, or did not change with it.
        """
        if self.state not in {SignallingState.STABLE, SignallingState.HAVE_LOCAL_OFFER}:
            raise SignallingStateError(
                f"in the signalling state {self.state.value} one cannot create an offer"
            )
        pending = data_of(self._now.pending_local)
        again = pending is not None and (pending.ufrag, pending.pwd) == (local.ufrag, local.pwd)
        self._check_local(local, must=ice_restart, may=ice_restart or again)
        sections = [rejected_section(section) for section in self._agreed_sections()]
        index = self._agreed.agreed_index
        if index is None:
            # RFC 8829 5.2.2: a rejected section is put to use again, with a new mid.
            index = next(
                (number for number, old in enumerate(sections) if old.kind == "application"), None
            )
            mid = unused_mid(sections)
            template = Section(kind="application", mid=mid)
            if index is None:
                index = len(sections)
                sections.append(template)
        else:
            template = self._agreed_sections()[index]
        data = data_section(template, local, "actpass", options=ice_options(local))
        sections[index] = data
        for number, old in enumerate(self._agreed_sections()):
            if old.is_carrier and self._agreed.agreed_index is not None:
                sections[number] = carrier_section(old, data)
        return self._make(DescriptionType.OFFER, sections, index, bundle=True)

    def create_answer(self, local: LocalParameters) -> SessionDescription:
        """Make the answer to the peer's offer. It changes nothing until it is set.

        To set it as a provisional one, give `set_local` its text with the type pranswer.

        Raises:
            SignallingStateError: there is no offer to answer; or the offer restarts ICE and `local`
                has the old credentials, or the other way round.
        """
        offer = self._now.pending_remote
        if offer is None or self.state not in {
            SignallingState.HAVE_REMOTE_OFFER,
            SignallingState.HAVE_LOCAL_PRANSWER,
        }:
            raise SignallingStateError(
                f"in the signalling state {self.state.value} there is no offer to answer"
            )
        sections = [rejected_section(section) for section in offer.parsed.sections]
        data = offer.data
        if data is not None and offer.index is not None:
            restarts = differ(data_of(self._agreed.current_remote), data)
            self._check_local(local, must=restarts, may=restarts)
            # RFC 8829 5.3.1: options "only … if such an option was present in the offer".
            options = tuple(word for word in ice_options(local) if word in data.ice_options)
            ours = data_section(data, local, self._answer_setup(data, local), options=options)
            sections[offer.index] = ours
            for number, place in enumerate(offer.parsed.sections):
                if self._carries(number, place, offer.parsed.bundle, data):
                    sections[number] = carrier_section(place, ours)
        bundled = data is not None and data.mid in offer.parsed.bundle
        return self._make(DescriptionType.ANSWER, sections, offer.index, bundle=bundled)

    def describe_local(self, local: LocalParameters) -> SessionDescription | None:
        """Our description with the candidates gathered so far (W3C ``localDescription``).

        Candidates of another generation than that of the description are left out. None before
        there is a description.
        """
        side = self._now.local
        if side is None or side.index is None:
            return _text(side)
        data = side.data
        if data is None or (data.ufrag, data.pwd) != (local.ufrag, local.pwd):
            return side.description
        candidates, complete = plain_candidates(local.candidates), local.end_of_candidates
        sections = tuple(
            attrs.evolve(section, candidates=candidates, end_of_candidates=complete)
            if section is data or section.is_carrier
            else section
            for section in side.parsed.sections
        )
        parsed = attrs.evolve(side.parsed, sections=sections)
        return attrs.evolve(side.description, sdp=write(parsed))

    # ---- setting descriptions

    def set_local(self, description: SessionDescription) -> Outcome:
        """Apply a description that `create_offer` or `create_answer` made, or a rollback.

        Raises:
            SignallingStateError: not in this state, or not what was made last (RFC 8829 5.4).
        """
        if description.type is DescriptionType.ROLLBACK:
            return self._rollback()
        step = _LOCAL_STEPS[description.type]
        state = next_state(self.state, step)
        made = self._made
        is_offer = description.type is DescriptionType.OFFER
        if (
            made is None
            or made.description.sdp != description.sdp
            or (made.description.type is DescriptionType.OFFER) != is_offer
        ):
            raise SignallingStateError(
                f"this {description.type.value} is not the one that was created last, in this "
                f"state, and unchanged"
            )
        side = attrs.evolve(made, description=description)
        after = attrs.evolve(self._now, state=state, pending_local=side)
        if not is_offer:
            after = self._with_answer(after, client=_is_active(side.data), ours=False)
        return self._take(after)

    def set_remote(self, description: SessionDescription) -> Outcome:
        """Apply a description of the peer's, or a rollback.

        An offer while ours is unanswered rolls ours back, or is ignored, see `polite`.

        Raises:
            SignallingStateError: not in this state.
            DescriptionError: it cannot be read, lacks something, or contradicts what was agreed;
                nothing was changed.
        """
        if description.type is DescriptionType.ROLLBACK:
            return self._rollback()
        step = _REMOTE_STEPS[description.type]
        collision = step is Step.REMOTE_OFFER and self.state is SignallingState.HAVE_LOCAL_OFFER
        if collision and self._polite is False:
            self._ignoring = True
            return attrs.evolve(self._outcome(self._now, self._now), ignored=True)
        base = self._agreed if collision else self._now
        state = next_state(base.state, step)
        parsed = parse_untrusted(description.sdp)
        if step is Step.REMOTE_OFFER:
            side = self._judge_offer(description, parsed)
            after = attrs.evolve(base, state=state, pending_remote=side)
        else:
            side, client = self._judge_answer(description, parsed)
            after = attrs.evolve(base, state=state, pending_remote=side)
            after = self._with_answer(after, client=client, ours=True)
        return self._take(after, rolled_back=collision)

    def close(self) -> None:
        """End it; every further step raises `SignallingStateError`."""
        self._now = attrs.evolve(self._now, state=next_state(self.state, Step.CLOSE))
        self._made = None

    # ---- the parts of the above

    def _agreed_sections(self) -> tuple[Section, ...]:
        side = self._agreed.current_local
        return () if side is None else side.parsed.sections

    def _check_local(self, local: LocalParameters, *, must: bool, may: bool) -> None:
        """Our credentials change with an ICE restart, and only then (RFC 8829 5.2.2, 5.3.2).

        So does our certificate (pitfall W29).
        """
        index = self._agreed.agreed_index
        if index is None:
            return
        old = self._agreed_sections()[index]
        changed = (old.ufrag, old.pwd) != (local.ufrag, local.pwd)
        if must and not changed:
            raise SignallingStateError("an ICE restart needs a new ufrag and pwd of ours")
        if changed and not may:
            raise SignallingStateError("our ufrag or pwd changed, but this is no ICE restart")
        if not changed and set(old.fingerprints) != set(local.fingerprints):
            raise SignallingStateError("our fingerprint changed, but this is no ICE restart")

    def _carries(self, number: int, place: Section, bundle: Sequence[str], data: Section) -> bool:
        """Whether an offered section carries the transport of the data; once it does, it stays."""
        if place.mid is None or place.rejected:
            return False
        agreed = self._agreed_sections()
        stays = number < len(agreed) and agreed[number].is_carrier and place.mid in bundle
        return stays or place.mid == data.carrier_mid

    def _answer_setup(self, offer: Section, local: LocalParameters) -> str:
        """Our role as answerer: kept while the DTLS association is, else active if we may."""
        dtls = self._now.dtls
        if (
            dtls is not None
            and not rules.is_new_dtls(dtls.remote, offer)
            and set(dtls.local.fingerprints) == set(local.fingerprints)
        ):
            return "active" if dtls.client else "passive"
        return "passive" if offer.setup == "active" else "active"

    def _make(
        self, kind: DescriptionType, sections: Sequence[Section], index: int | None, *, bundle: bool
    ) -> SessionDescription:
        self._session_version += 1
        mids = (section.mid for section in sections if not section.rejected)
        parsed = ParsedDescription(
            session_id=self._session_id,
            session_version=self._session_version,
            bundle=tuple(mid for mid in mids if bundle and mid is not None),
            sections=tuple(sections),
        )
        description = SessionDescription(kind, write(parsed))
        self._made = Side(description, parsed, index)
        return description

    def _judge_offer(self, description: SessionDescription, parsed: ParsedDescription) -> Side:
        agreed = self._agreed
        old = agreed.current_remote
        rules.check_offer_shape(parsed, () if old is None else old.parsed.sections)
        side = Side(description, parsed, rules.choose_data(parsed, agreed.agreed_index))
        data = side.data
        if data is not None:
            rules.check_transport(data, "offer")
            dtls = agreed.dtls
            before = data_of(old)
            if before is not None:
                rules.check_change(before, data, "offer")
            goes_on = dtls is not None and not rules.is_new_dtls(dtls.remote, data)
            rules.check_offer_setup(data, dtls.client if dtls is not None and goes_on else None)
        return side

    def _judge_answer(
        self, description: SessionDescription, parsed: ParsedDescription
    ) -> tuple[Side, bool]:
        """The peer's answer to our offer, and whether it makes us the DTLS client."""
        offer = self._now.pending_local
        assert offer is not None
        rules.check_answer_shape(parsed, offer.parsed)
        side = Side(description, parsed, offer.index)
        data = side.data
        if data is None:
            return side, False
        rules.check_transport(data, "answer")
        before = self.remote_data
        if before is not None:
            self._check_answered_restart(before, data, offer)
            rules.check_change(before, data, "answer")
        dtls = self._now.dtls
        goes_on = dtls is not None and not self._is_new_dtls(dtls, offer.data, data)
        return side, rules.check_answer_setup(
            data,
            dtls.client if dtls is not None and goes_on else None,
        )

    def _check_answered_restart(self, before: Section, data: Section, offer: Side) -> None:
        """An answer restarts ICE if, and only if, the offer did (RFC 8829 5.10).

        After a provisional answer, credentials may always change: the final one may come from
        another device of the peer.
        """
        if self.state is SignallingState.HAVE_REMOTE_PRANSWER:
            return
        ours = differ(data_of(self._now.current_local), offer.data)
        rules.check_answered_restart(before, data, offered=ours)

    @staticmethod
    def _is_new_dtls(dtls: Dtls, local: Section | None, remote: Section) -> bool:
        return rules.is_new_dtls(dtls.remote, remote) or (
            local is not None and rules.is_new_dtls(dtls.local, local)
        )

    @staticmethod
    def _with_answer(after: Situation, *, client: bool, ours: bool) -> Situation:
        """What an answer or pranswer brings into force; `ours` says whose offer it answers."""
        local, remote = data_of(after.pending_local), data_of(after.pending_remote)
        dtls = None
        if local is not None and remote is not None:
            dtls = Dtls(local, remote, client)
        after = attrs.evolve(after, dtls=dtls)
        if after.state is not SignallingState.STABLE:
            return after
        return attrs.evolve(
            after,
            current_local=after.pending_local,
            current_remote=after.pending_remote,
            pending_local=None,
            pending_remote=None,
            offered_first=ours if after.offered_first is None else after.offered_first,
        )

    def _rollback(self) -> Outcome:
        next_state(self.state, Step.ROLLBACK)
        return self._take(self._agreed, rolled_back=True)

    def _take(self, after: Situation, *, rolled_back: bool = False) -> Outcome:
        """The one place where the situation changes."""
        outcome = self._outcome(self._now, after, rolled_back=rolled_back)
        self._now = after
        if after.state is SignallingState.STABLE:
            self._agreed = after
        self._made = None
        self._ignoring = False
        return outcome

    def _outcome(
        self, before: Situation, after: Situation, *, rolled_back: bool = False
    ) -> Outcome:
        remote = data_of(after.remote)
        local_changed = differ(data_of(before.local), data_of(after.local))
        return Outcome(
            remote=remote,
            ice_restart_local=local_changed and not rolled_back,
            ice_restart_remote=differ(data_of(before.remote), remote),
            undo_ice_restart=local_changed and rolled_back,
            new_dtls=(
                before.dtls is not None
                and after.dtls is not None
                and self._is_new_dtls(before.dtls, after.dtls.local, after.dtls.remote)
            ),
            dtls_client=None if after.dtls is None else after.dtls.client,
            rolled_back=rolled_back,
            controlling=after.controlling(),
            no_data=after.remote is not None and remote is None,
        )


def _text(side: Side | None) -> SessionDescription | None:
    return None if side is None else side.description


def _is_active(data: Section | None) -> bool:
    return data is not None and data.setup == "active"
