"""When a SACK is due (RFC 9260 6.2)."""

from __future__ import annotations

import pytest

from rtcsctp.sctp.rx.acknowledge import SackPolicy


def after_first_data(frequency: int = 2) -> SackPolicy:
    policy = SackPolicy(frequency)
    policy.packets_with_data(1)
    policy.sent()
    return policy


def test_nothing_is_owed_before_data_came() -> None:
    policy = SackPolicy(2)
    assert not policy.owed
    assert not policy.now


def test_very_first_data_is_acknowledged_at_once() -> None:
    """Pitfall S15."""
    policy = SackPolicy(2)
    policy.packets_with_data(1)
    assert policy.owed
    assert policy.now


def test_every_second_packet_is_acknowledged_at_once() -> None:
    """Pitfall S15: "at least every second packet (not every second DATA chunk)"."""
    policy = after_first_data()
    for _ in range(3):
        policy.packets_with_data(1)
        assert policy.owed
        assert not policy.now  # the delay timer runs, 200 ms at most
        policy.packets_with_data(1)
        assert policy.now
        policy.sent()
        assert not policy.owed
        assert not policy.now


def test_sack_that_went_along_with_something_else_counts() -> None:
    policy = after_first_data()
    policy.packets_with_data(1)
    policy.sent()
    policy.packets_with_data(1)
    assert not policy.now


@pytest.mark.parametrize("frequency", [1, 3, 10])
def test_frequency_is_a_matter_of_configuration(frequency: int) -> None:
    policy = after_first_data(frequency)
    for _ in range(frequency - 1):
        policy.packets_with_data(1)
        assert not policy.now
    policy.packets_with_data(1)
    assert policy.now


def test_request_for_an_immediate_sack_holds_until_it_is_sent() -> None:
    """Pitfalls S15 and S16: a gap, a duplicate, the I bit."""
    policy = after_first_data()
    policy.immediately()
    policy.packets_with_data(1)
    assert policy.owed
    assert policy.now
    policy.sent()
    assert not policy.owed
    assert not policy.now
