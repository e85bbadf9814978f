"""The table of states by itself: what is in it, what is not, and where it leads (RFC 9260 4)."""

from __future__ import annotations

from itertools import product

import pytest

from rtcsctp.sctp.state import TABLE, State, Step, next_state


def reachable(start: State, *, without: frozenset[Step] = frozenset()) -> set[State]:
    found = {start}
    while True:
        more = {
            after
            for (before, step), after in TABLE.items()
            if before in found and step not in without
        }
        if more <= found:
            return found
        found |= more


@pytest.mark.parametrize(("state", "step"), list(product(State, Step)))
def test_step_is_in_the_table_or_impossible(state: State, step: Step) -> None:
    if (state, step) in TABLE:
        assert isinstance(next_state(state, step), State)
    else:
        with pytest.raises(KeyError):
            next_state(state, step)


def test_states_are_those_of_the_rfc() -> None:
    assert {state.value for state in State} == {
        "CLOSED",
        "COOKIE-WAIT",
        "COOKIE-ECHOED",
        "ESTABLISHED",
        "SHUTDOWN-PENDING",
        "SHUTDOWN-SENT",
        "SHUTDOWN-RECEIVED",
        "SHUTDOWN-ACK-SENT",
    }


def test_every_state_is_reached_and_every_step_taken() -> None:
    assert reachable(State.CLOSED) == set(State)
    assert {step for _, step in TABLE} == set(Step)


@pytest.mark.parametrize("state", State)
def test_every_association_can_end_in_order(state: State) -> None:
    """Without an ABORT, too."""
    assert State.CLOSED in reachable(state, without=frozenset({Step.ABORT}))


def path(*steps: Step) -> list[State]:
    state, found = State.CLOSED, []
    for step in steps:
        state = next_state(state, step)
        found.append(state)
    return found


@pytest.mark.parametrize(
    ("steps", "states"),
    [
        (
            [Step.CONNECT, Step.INIT_ACK, Step.COOKIE_ACK],
            [State.COOKIE_WAIT, State.COOKIE_ECHOED, State.ESTABLISHED],
        ),
        ([Step.COOKIE_ECHO], [State.ESTABLISHED]),
        (
            [Step.COOKIE_ECHO, Step.SHUTDOWN, Step.DRAINED, Step.SHUTDOWN_ACK],
            [State.ESTABLISHED, State.SHUTDOWN_PENDING, State.SHUTDOWN_SENT, State.CLOSED],
        ),
        (
            [Step.COOKIE_ECHO, Step.SHUTDOWN_CHUNK, Step.DRAINED, Step.SHUTDOWN_COMPLETE],
            [State.ESTABLISHED, State.SHUTDOWN_RECEIVED, State.SHUTDOWN_ACK_SENT, State.CLOSED],
        ),
        (
            [Step.COOKIE_ECHO, Step.SHUTDOWN, Step.DRAINED, Step.SHUTDOWN_CHUNK, Step.SHUTDOWN_ACK],
            [
                State.ESTABLISHED,
                State.SHUTDOWN_PENDING,
                State.SHUTDOWN_SENT,
                State.SHUTDOWN_ACK_SENT,
                State.CLOSED,
            ],
        ),
    ],
    ids=["we connect", "the peer connects", "we shut down", "the peer shuts down", "both do"],
)
def test_ways_that_the_rfc_draws(steps: list[Step], states: list[State]) -> None:
    assert path(*steps) == states


def test_nothing_but_setting_up_leaves_closed() -> None:
    steps = {step for state, step in TABLE if state is State.CLOSED}
    assert steps == {Step.CONNECT, Step.COOKIE_ECHO}
