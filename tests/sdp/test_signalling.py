"""The table of signalling states (RFC 8829 3.2)."""

from __future__ import annotations

import pytest

from rtcsctp.errors import SignallingStateError
from rtcsctp.sdp.signalling import TABLE, SignallingState, Step, next_state


def test_the_states_have_the_names_of_w3c() -> None:
    assert {state.value for state in SignallingState} == {
        "stable",
        "have-local-offer",
        "have-remote-offer",
        "have-local-pranswer",
        "have-remote-pranswer",
        "closed",
    }


@pytest.mark.parametrize("state", SignallingState)
def test_every_state_can_be_reached_and_left(state: SignallingState) -> None:
    assert state in TABLE.values()
    assert any(before is state for before, _ in TABLE)


@pytest.mark.parametrize("state", SignallingState)
@pytest.mark.parametrize("step", Step)
def test_a_step_is_in_the_table_or_refused(state: SignallingState, step: Step) -> None:
    if (state, step) in TABLE:
        assert next_state(state, step) is TABLE[state, step]
    else:
        with pytest.raises(SignallingStateError, match=state.value) as caught:
            next_state(state, step)
        assert "possible: " in str(caught.value)


def test_a_rollback_leads_to_stable_from_everywhere_else() -> None:
    ends = {before: after for (before, step), after in TABLE.items() if step is Step.ROLLBACK}
    assert set(ends) == set(SignallingState) - {SignallingState.STABLE, SignallingState.CLOSED}
    assert set(ends.values()) == {SignallingState.STABLE}


def test_the_two_sides_mirror_each_other() -> None:
    def mirror(name: str) -> str:
        return name.replace("LOCAL", "?").replace("REMOTE", "LOCAL").replace("?", "REMOTE")

    for (before, step), after in TABLE.items():
        mirrored = (SignallingState[mirror(before.name)], Step[mirror(step.name)])
        assert TABLE[mirrored] is SignallingState[mirror(after.name)]
