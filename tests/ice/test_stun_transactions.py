"""Retransmission of requests (RFC 8489 6.2)."""

from __future__ import annotations

import pytest

from rtcsctp.ice.transactions import Transaction


def run(transaction: Transaction) -> tuple[list[float], float]:
    """When it is sent, and when it fails."""
    sent = []
    while not transaction.has_failed:
        now = transaction.deadline
        if transaction.next(now) is not None:
            sent.append(now)
    return sent, transaction.deadline


def test_udp_requests_go_at_the_times_of_rfc_8489() -> None:
    transaction = Transaction(b"request", b"id", 10.0)
    sent, failed = run(transaction)
    assert sent == [10.0, 10.5, 11.5, 13.5, 17.5, 25.5, 41.5]
    assert failed == 49.5
    assert transaction.sent == 7
    assert transaction.started == 10.0


def test_stream_requests_go_once_and_wait_as_long() -> None:
    assert run(Transaction(b"request", b"id", 0.0, stream=True)) == ([0.0], 39.5)


def test_calls_before_the_deadline_do_nothing() -> None:
    transaction = Transaction(b"request", b"id", 0.0)
    assert transaction.next(0.0) == b"request"
    assert transaction.next(0.0) is None
    assert transaction.next(0.49) is None
    assert transaction.next(0.6) == b"request"  # late
    assert transaction.deadline == pytest.approx(1.6)


def test_hastened_requests_give_up_soon() -> None:
    transaction = Transaction(b"request", b"id", 0.0)
    transaction.next(0.0)
    transaction.hasten()
    assert run(transaction) == ([0.5, 1.5], 3.5)
    late = Transaction(b"request", b"id", 0.0)
    for now in (0.0, 0.5, 1.5, 3.5, 7.5):
        late.next(now)
    late.hasten()
    assert run(late) == ([], 15.5)


def test_other_numbers_may_be_chosen() -> None:
    transaction = Transaction(b"request", b"id", 0.0, rto=0.1, max_requests=2, last_wait=5)
    sent, failed = run(transaction)
    assert sent == [0.0, 0.1]
    assert failed == pytest.approx(0.6)
