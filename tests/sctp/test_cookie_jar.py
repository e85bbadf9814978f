"""The jar of cookies by itself: what it makes, what it believes, and for how long (pitfall S58)."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.sctp.cookie import Cookie, CookieFault, CookieJar
from rtcsctp.sctp.tcb import Tcb

LIFE = 60.0

u16 = st.integers(1, 0xFFFF)
u32 = st.integers(0, 0xFFFF_FFFF)
tcbs = st.builds(
    Tcb,
    local_tag=u32,
    remote_tag=u32,
    local_initial_tsn=u32,
    remote_initial_tsn=u32,
    remote_rwnd=u32,
    outbound_streams=u16,
    inbound_streams=u16,
    interleaving=st.booleans(),
    partial_reliability=st.booleans(),
    reconfiguration=st.booleans(),
    peer_accepts_zero_checksum=st.booleans(),
    peer_fears_padding=st.booleans(),
)
cookies = st.builds(
    Cookie,
    local_port=u16,
    remote_port=u16,
    created=st.floats(0, 1e9),
    tcb=tcbs,
    local_tie_tag=u32,
    remote_tie_tag=u32,
)


def make_jar(seed: int = 1) -> CookieJar:
    return CookieJar(random.Random(seed), LIFE)


def cookie(created: float = 0.0) -> Cookie:
    tcb = Tcb(
        local_tag=1,
        remote_tag=2,
        local_initial_tsn=3,
        remote_initial_tsn=4,
        remote_rwnd=5,
        outbound_streams=6,
        inbound_streams=7,
        interleaving=True,
        partial_reliability=False,
        reconfiguration=True,
        peer_accepts_zero_checksum=False,
    )
    return Cookie(5000, 6000, created, tcb, 8, 9)


def opened(jar: CookieJar, data: bytes, now: float = 0.0) -> Cookie | CookieFault:
    return jar.open_untrusted(data, local_port=5000, remote_port=6000, now=now)


@given(cookies)
def test_cookie_comes_back_with_all_that_was_put_in(made: Cookie) -> None:
    jar = make_jar()
    data = jar.make(made, made.created)
    found = jar.open_untrusted(
        data, local_port=made.local_port, remote_port=made.remote_port, now=made.created
    )
    assert found == made


@given(data=st.data(), made=cookies)
def test_cookie_with_any_bytes_changed_is_refused(data: st.DataObject, made: Cookie) -> None:
    jar = make_jar()
    good = jar.make(made, made.created)
    at = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.binary(min_size=1, max_size=len(good) - at))
    forged = good[:at] + other + good[at + len(other) :]
    found = jar.open_untrusted(
        forged, local_port=made.local_port, remote_port=made.remote_port, now=made.created
    )
    assert found == made if forged == good else found is CookieFault.FORGED


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_no_cookie(data: bytes) -> None:
    assert opened(make_jar(), data) is CookieFault.FORGED


def test_jars_do_not_believe_each_other() -> None:
    data = make_jar(1).make(cookie(), 0.0)
    assert opened(make_jar(2), data) is CookieFault.FORGED


def test_cookie_is_bound_to_its_ports() -> None:
    jar = make_jar()
    data = jar.make(cookie(), 0.0)
    for local, remote in ((5000, 6001), (5001, 6000), (6000, 5000)):
        found = jar.open_untrusted(data, local_port=local, remote_port=remote, now=0.0)
        assert found is CookieFault.WRONG_PORTS


@pytest.mark.parametrize(
    ("age", "staleness"), [(0.0, -60.0), (59.5, -0.5), (60.0, 0.0), (60.5, 0.5), (90.0, 30.0)]
)
def test_staleness_is_what_lies_beyond_the_life_of_a_cookie(age: float, staleness: float) -> None:
    assert make_jar().staleness(cookie(created=100.0), 100.0 + age) == staleness


@given(waits=st.lists(st.floats(0, 150), min_size=1, max_size=20), age=st.floats(0, LIFE - 0.001))
def test_cookie_is_believed_as_long_as_it_lives_whenever_secrets_change(
    waits: list[float], age: float
) -> None:
    jar = make_jar()
    now = 0.0
    for wait in waits:
        now += wait
        made = cookie(created=now)
        data = jar.make(made, now)
        for part in (0.5, 1.0):  # looked at on the way, too, so that the secret may change
            assert opened(jar, data, now + part * age) == made
        now += age


@given(st.lists(st.floats(0, 100), min_size=1, max_size=20))
def test_old_cookie_is_not_believed_for_ever(waits: list[float]) -> None:
    """A secret that leaks is of no use for long: it signs nothing after two lives or three."""
    jar = make_jar()
    data = jar.make(cookie(), 0.0)
    now = 0.0
    for wait in waits:
        now += wait
        jar.make(cookie(now), now)
        if now >= 3 * LIFE:
            assert opened(jar, data, now) is CookieFault.FORGED


def test_stale_cookie_is_known_as_ours_for_a_while() -> None:
    """So that it can be answered with a Stale Cookie error (RFC 9260 5.1.5, 4)."""
    jar = make_jar()
    data = jar.make(cookie(), 0.0)
    found = opened(jar, data, LIFE + 10.0)
    assert isinstance(found, Cookie)
    assert jar.staleness(found, LIFE + 10.0) == 10.0


def test_same_random_source_makes_the_same_cookies() -> None:
    assert make_jar(7).make(cookie(), 0.0) == make_jar(7).make(cookie(), 0.0)
