"""The state machine of offer and answer, as a table (RFC 8829 section 3.2).

A step that is not in the table is refused with `SignallingStateError`.
"""

from __future__ import annotations

from enum import Enum

from rtcsctp.errors import SignallingStateError

__all__ = ["TABLE", "SignallingState", "Step", "next_state"]


class SignallingState(Enum):
    """How far the present exchange is (W3C ``RTCSignalingState``)."""

    STABLE = "stable"
    HAVE_LOCAL_OFFER = "have-local-offer"
    HAVE_REMOTE_OFFER = "have-remote-offer"
    HAVE_LOCAL_PRANSWER = "have-local-pranswer"
    HAVE_REMOTE_PRANSWER = "have-remote-pranswer"
    CLOSED = "closed"


class Step(Enum):
    """What moves an exchange from state to state."""

    LOCAL_OFFER = "set a local offer"
    LOCAL_ANSWER = "set a local answer"
    LOCAL_PRANSWER = "set a local pranswer"
    REMOTE_OFFER = "set a remote offer"
    REMOTE_ANSWER = "set a remote answer"
    REMOTE_PRANSWER = "set a remote pranswer"
    ROLLBACK = "roll back"
    CLOSE = "close"


_S = SignallingState

TABLE: dict[tuple[SignallingState, Step], SignallingState] = {
    (_S.STABLE, Step.LOCAL_OFFER): _S.HAVE_LOCAL_OFFER,
    (_S.STABLE, Step.REMOTE_OFFER): _S.HAVE_REMOTE_OFFER,
    (_S.HAVE_LOCAL_OFFER, Step.LOCAL_OFFER): _S.HAVE_LOCAL_OFFER,  # a newer one
    (_S.HAVE_LOCAL_OFFER, Step.REMOTE_ANSWER): _S.STABLE,
    (_S.HAVE_LOCAL_OFFER, Step.REMOTE_PRANSWER): _S.HAVE_REMOTE_PRANSWER,
    (_S.HAVE_LOCAL_OFFER, Step.ROLLBACK): _S.STABLE,
    (_S.HAVE_REMOTE_OFFER, Step.REMOTE_OFFER): _S.HAVE_REMOTE_OFFER,  # a newer one
    (_S.HAVE_REMOTE_OFFER, Step.LOCAL_ANSWER): _S.STABLE,
    (_S.HAVE_REMOTE_OFFER, Step.LOCAL_PRANSWER): _S.HAVE_LOCAL_PRANSWER,
    (_S.HAVE_REMOTE_OFFER, Step.ROLLBACK): _S.STABLE,
    (_S.HAVE_LOCAL_PRANSWER, Step.LOCAL_PRANSWER): _S.HAVE_LOCAL_PRANSWER,
    (_S.HAVE_LOCAL_PRANSWER, Step.LOCAL_ANSWER): _S.STABLE,
    (_S.HAVE_LOCAL_PRANSWER, Step.ROLLBACK): _S.STABLE,
    (_S.HAVE_REMOTE_PRANSWER, Step.REMOTE_PRANSWER): _S.HAVE_REMOTE_PRANSWER,
    (_S.HAVE_REMOTE_PRANSWER, Step.REMOTE_ANSWER): _S.STABLE,
    (_S.HAVE_REMOTE_PRANSWER, Step.ROLLBACK): _S.STABLE,
    **{(state, Step.CLOSE): _S.CLOSED for state in SignallingState},
}


def next_state(state: SignallingState, step: Step) -> SignallingState:
    """The state after `step`.

    Raises:
        SignallingStateError: the step is not possible in `state`; the message says which are.
    """
    try:
        return TABLE[state, step]
    except KeyError:
        possible = [other.value for other in Step if (state, other) in TABLE]
        raise SignallingStateError(
            f"in the signalling state {state.value} one cannot {step.value}; possible: "
            f"{', '.join(possible)}"
        ) from None
