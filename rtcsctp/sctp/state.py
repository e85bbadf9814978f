"""The state machine of an association, as a table (RFC 9260 section 4).

A step that is not in the table is impossible, and a bug if it happens: handlers look at the state
before they take a step. The diagram in the documentation is drawn from this table.
"""

from __future__ import annotations

from enum import Enum

__all__ = ["TABLE", "State", "Step", "next_state"]


class State(Enum):
    """The states of an association, as RFC 9260 section 4 names and draws them."""

    __hash__ = object.__hash__  # by identity, in C: these are keys on hot paths

    CLOSED = "CLOSED"
    COOKIE_WAIT = "COOKIE-WAIT"
    COOKIE_ECHOED = "COOKIE-ECHOED"
    ESTABLISHED = "ESTABLISHED"
    SHUTDOWN_PENDING = "SHUTDOWN-PENDING"
    SHUTDOWN_SENT = "SHUTDOWN-SENT"
    SHUTDOWN_RECEIVED = "SHUTDOWN-RECEIVED"
    SHUTDOWN_ACK_SENT = "SHUTDOWN-ACK-SENT"


class Step(Enum):
    """What moves an association from state to state."""

    __hash__ = object.__hash__  # by identity, in C: these are keys on hot paths

    CONNECT = "our user connects"
    INIT_ACK = "INIT ACK arrives"
    COOKIE_ECHO = "a valid COOKIE ECHO arrives"
    COOKIE_ACK = "COOKIE ACK arrives"
    STALE_COOKIE = "a Stale Cookie error arrives"
    RESTART = "the peer restarts"
    SHUTDOWN = "our user shuts down"
    DRAINED = "all we sent is acknowledged"
    SHUTDOWN_CHUNK = "SHUTDOWN arrives"
    SHUTDOWN_ACK = "SHUTDOWN ACK arrives"
    SHUTDOWN_COMPLETE = "SHUTDOWN COMPLETE arrives"
    ABORT = "ABORT is sent or arrives, or the peer is given up"


_S = State

TABLE: dict[tuple[State, Step], State] = {
    (_S.CLOSED, Step.CONNECT): _S.COOKIE_WAIT,
    (_S.CLOSED, Step.COOKIE_ECHO): _S.ESTABLISHED,
    (_S.COOKIE_WAIT, Step.INIT_ACK): _S.COOKIE_ECHOED,
    (_S.COOKIE_WAIT, Step.COOKIE_ECHO): _S.ESTABLISHED,  # both connect at once
    (_S.COOKIE_ECHOED, Step.COOKIE_ACK): _S.ESTABLISHED,
    (_S.COOKIE_ECHOED, Step.COOKIE_ECHO): _S.ESTABLISHED,  # both connect at once
    (_S.COOKIE_ECHOED, Step.STALE_COOKIE): _S.COOKIE_WAIT,
    (_S.ESTABLISHED, Step.RESTART): _S.ESTABLISHED,
    (_S.ESTABLISHED, Step.SHUTDOWN): _S.SHUTDOWN_PENDING,
    (_S.ESTABLISHED, Step.SHUTDOWN_CHUNK): _S.SHUTDOWN_RECEIVED,
    (_S.SHUTDOWN_PENDING, Step.RESTART): _S.SHUTDOWN_PENDING,
    (_S.SHUTDOWN_PENDING, Step.DRAINED): _S.SHUTDOWN_SENT,
    (_S.SHUTDOWN_PENDING, Step.SHUTDOWN_CHUNK): _S.SHUTDOWN_RECEIVED,
    (_S.SHUTDOWN_SENT, Step.RESTART): _S.SHUTDOWN_PENDING,  # our user still wants it to end
    (_S.SHUTDOWN_SENT, Step.SHUTDOWN_CHUNK): _S.SHUTDOWN_ACK_SENT,  # both shut down at once
    (_S.SHUTDOWN_SENT, Step.SHUTDOWN_ACK): _S.CLOSED,
    (_S.SHUTDOWN_RECEIVED, Step.RESTART): _S.ESTABLISHED,
    (_S.SHUTDOWN_RECEIVED, Step.DRAINED): _S.SHUTDOWN_ACK_SENT,
    (_S.SHUTDOWN_ACK_SENT, Step.SHUTDOWN_ACK): _S.CLOSED,
    (_S.SHUTDOWN_ACK_SENT, Step.SHUTDOWN_COMPLETE): _S.CLOSED,
    **{(state, Step.ABORT): _S.CLOSED for state in State if state is not _S.CLOSED},
}


def next_state(state: State, step: Step) -> State:
    """The state after `step`; KeyError for a step that is impossible there, which is a bug."""
    return TABLE[state, step]
