"""Pairs and the checklist (RFC 8445 6.1, RFC 8838 12)."""

from __future__ import annotations

import pytest

from rtcsctp.ice.candidate import Candidate, CandidateType
from rtcsctp.ice.checklist import Checklist
from rtcsctp.ice.local import Base, can_ask, can_reach, is_usable_host
from rtcsctp.ice.pairs import Pair, PairState, pair_priority
from rtcsctp.ice.remote import Remote


def make(host: str, priority: int, foundation: str) -> Candidate:
    return Candidate(
        foundation=foundation,
        transport="udp",
        priority=priority,
        host=host,
        port=5000,
        type=CandidateType.HOST,
    )


BASE = Base(1, ("192.0.2.1", 5000), make("192.0.2.1", 500, "1"), 65535)


def remote(number: int, priority: int, foundation: str = "1") -> Remote:
    candidate = make(f"198.51.100.{number}", priority, foundation)
    return Remote(candidate.address, candidate, signalled=True)


def add(checklist: Checklist, number: int, priority: int, foundation: str = "1") -> Pair:
    pair, _ = checklist.add(BASE, remote(number, priority, foundation))
    assert pair is not None
    return pair


def test_priority_is_the_formula_and_depends_on_the_role() -> None:
    assert pair_priority(3, 5, controlling=True) == (3 << 32) + 10
    assert pair_priority(3, 5, controlling=False) == (3 << 32) + 11
    assert pair_priority(5, 3, controlling=True) == (3 << 32) + 11


def test_one_pair_of_each_foundation_begins() -> None:
    checklist = Checklist(100, controlling=True)
    first = add(checklist, 1, 100)
    second = add(checklist, 2, 50)
    other = add(checklist, 3, 10, "2")
    # RFC 8838 12: rule 1, rule 3, rule 1
    states = [pair.state for pair in (first, second, other)]
    assert states == [PairState.WAITING, PairState.FROZEN, PairState.WAITING]
    assert checklist.next_ordinary() is first


def test_in_the_beginning_the_best_of_each_foundation_waits_whatever_the_order() -> None:
    # RFC 8445 6.1.2.6
    checklist = Checklist(100, controlling=True)
    worse, better = add(checklist, 1, 50), add(checklist, 2, 100)
    other, begun = add(checklist, 3, 10, "2"), add(checklist, 4, 5, "3")
    begun.state = PairState.IN_PROGRESS
    checklist.set_initial_states()
    states = [pair.state for pair in (worse, better, other, begun)]
    assert states == [
        PairState.FROZEN,
        PairState.WAITING,
        PairState.WAITING,
        PairState.IN_PROGRESS,
    ]


def test_pair_that_lost_consent_does_not_make_room() -> None:
    # RFC 7675 5.1: as a new pair it could be used again with the same credentials.
    checklist = Checklist(1, controlling=True)
    pair = add(checklist, 1, 100)
    pair.state, pair.revoked = PairState.FAILED, True
    assert checklist.add_triggered(BASE, remote(2, 200)) == (None, None)
    assert pair in checklist


def test_success_unfreezes_the_foundation_now_and_for_later_pairs() -> None:
    checklist = Checklist(100, controlling=True)
    first, second = add(checklist, 1, 100), add(checklist, 2, 50)
    first.state = PairState.SUCCEEDED
    checklist.unfreeze(first.foundation)
    assert second.state is PairState.WAITING
    assert add(checklist, 3, 20).state is PairState.WAITING  # rule 2


def test_frozen_pairs_wait_until_their_foundation_is_idle() -> None:
    checklist = Checklist(100, controlling=True)
    first, second, third = (add(checklist, n, 100 - n) for n in range(3))
    first.state = PairState.IN_PROGRESS
    assert not checklist.has_waiting
    assert checklist.next_ordinary() is None
    first.state = PairState.FAILED
    assert checklist.has_waiting
    assert checklist.next_ordinary() is second
    assert third.state is PairState.FROZEN


def test_redundant_pair_is_not_formed() -> None:
    checklist = Checklist(100, controlling=True)
    add(checklist, 1, 100)
    assert checklist.add(BASE, remote(1, 100)) == (None, None)


def test_full_list_drops_failed_pairs_first_and_then_worse_ones() -> None:
    # RFC 8838 10, step 6
    checklist = Checklist(2, controlling=True)
    good, bad = add(checklist, 1, 100), add(checklist, 2, 50)
    assert checklist.add(BASE, remote(3, 20)) == (None, None)
    good.state = PairState.FAILED
    assert checklist.add(BASE, remote(4, 20))[1] is good
    newest, dropped = checklist.add(BASE, remote(5, 300))
    assert newest is not None
    assert dropped is not bad
    bad.state = PairState.IN_PROGRESS
    newest.state = PairState.IN_PROGRESS
    assert checklist.add_triggered(BASE, remote(6, 1)) == (None, None)


def test_triggered_checks_come_in_their_order_and_once() -> None:
    checklist = Checklist(100, controlling=True)
    first, second = add(checklist, 1, 100), add(checklist, 2, 50)
    for pair in (second, first, second):
        checklist.trigger(pair)
    assert [checklist.next_triggered() for _ in range(3)] == [second, first, None]


def test_conclusion_leaves_one_pair() -> None:
    checklist = Checklist(100, controlling=True)
    first, second = add(checklist, 1, 100), add(checklist, 2, 50)
    checklist.trigger(second)
    assert checklist.conclude(first) == [second]
    assert list(checklist) == [first]
    assert not checklist.has_triggered
    assert second not in checklist
    assert first in checklist


def test_change_of_role_changes_priorities() -> None:
    checklist = Checklist(100, controlling=True)
    pair = add(checklist, 1, 100)
    before = pair.priority
    checklist.set_controlling(controlling=False)
    assert pair.priority == before - 1


@pytest.mark.parametrize(
    ("local", "other", "expected"),
    [
        ("192.0.2.1", "198.51.100.1", True),
        ("10.0.0.1", "198.51.100.1", True),
        ("192.0.2.1", "2001:db8::1", False),
        ("fe80::1", "fe80::2", True),
        ("fe80::1", "2001:db8::1", False),
        ("2001:db8::1", "fe80::1", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "192.0.2.1", False),
        ("192.0.2.1", "127.0.0.1", False),
        ("192.0.2.1", "no.address", False),
    ],
)
def test_hosts_that_make_a_pair(local: str, other: str, expected: bool) -> None:
    assert can_reach(local, other) is expected


def test_servers_that_a_socket_can_ask() -> None:
    assert can_ask("192.0.2.1", "127.0.0.1")
    assert not can_ask("127.0.0.1", "192.0.2.1")
    assert can_ask("127.0.0.1", "127.0.0.1")
    assert not can_ask("192.0.2.1", "2001:db8::1")


@pytest.mark.parametrize(
    ("host", "usable"),
    [
        ("192.0.2.1", True),
        ("2001:db8::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("255.255.255.255", False),
        ("239.1.2.3", False),
        ("ff02::1", False),
        ("::ffff:192.0.2.1", False),
        ("name.local", False),
    ],
)
def test_hosts_that_a_check_may_go_to(host: str, usable: bool) -> None:
    assert is_usable_host(host) is usable
