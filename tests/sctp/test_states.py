"""The table of states is the one of RFC 9260 chapter 4, and all of it is reached by packets."""

from __future__ import annotations

import pytest

from rtcsctp.sctp.association import Association
from rtcsctp.sctp.state import TABLE, State, Step, next_state

from . import test_collision, test_cookie, test_restart, test_setup, test_teardown
from .ladder import established, shutdown

_LADDERS = (
    test_setup.test_four_way_handshake_as_initiator,
    test_setup.test_four_way_handshake_as_responder,
    test_setup.test_abort_answers_our_init,
    test_collision.test_collision_case_b_in_cookie_wait,
    test_collision.test_collision_case_d_in_cookie_echoed,
    test_cookie.test_stale_cookie_error_begins_anew_with_what_was_sent,
    test_restart.test_restart_of_an_idle_association,
    test_restart.test_restart_in_shutdown_pending,
    test_restart.test_restart_in_shutdown_sent,
    test_restart.test_restart_in_shutdown_received,
    test_teardown.test_shutdown_of_an_idle_association,
    test_teardown.test_shutdown_by_the_peer,
    test_teardown.test_crossed_shutdowns,
    test_teardown.test_shutdown_received_goes_on_sending_what_is_queued,
    test_teardown.test_shutdown_that_crosses_our_data_and_acknowledges_nothing,
    test_teardown.test_abort_in_every_state,
)


def test_every_entry_of_the_table_is_reached_by_packets() -> None:
    reached: set[tuple[State, Step]] = set()
    original = Association.step

    def step(self: Association, what: Step) -> None:
        reached.add((self.state, what))
        original(self, what)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Association, "step", step)
        for ladder in _LADDERS:
            ladder()
        peer = established()
        peer.association.send(1, b"x", now=peer.now)
        peer.take()
        peer.deliver(shutdown(peer.received[0].tsn - 1))
        assert peer.is_in(State.SHUTDOWN_RECEIVED)
        peer.association.abort(b"", now=peer.now)
    assert reached == set(TABLE)


def test_every_state_but_closed_can_be_aborted_and_nothing_leaves_closed_but_setting_up() -> None:
    for state in State:
        if state is not State.CLOSED:
            assert next_state(state, Step.ABORT) is State.CLOSED
    assert {step for state, step in TABLE if state is State.CLOSED} == {
        Step.CONNECT,
        Step.COOKIE_ECHO,
    }
    with pytest.raises(KeyError):
        next_state(State.CLOSED, Step.SHUTDOWN)
