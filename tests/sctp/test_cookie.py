"""State cookies: stale, forged, replayed (RFC 9260 5.1.3 to 5.1.5, 5.2.6); pitfall S58."""

from __future__ import annotations

import random

import pytest

from rtcsctp.sctp.config import Config
from rtcsctp.sctp.cookie import Cookie, CookieFault, CookieJar
from rtcsctp.sctp.events import Closed, CloseReason, Connected
from rtcsctp.sctp.state import State
from rtcsctp.sctp.statistics import Drop
from rtcsctp.sctp.tcb import Tcb
from rtcsctp.sctp.timers import Timer
from rtcsctp.sctp.wire.causes import Cause, stale_cookie

from .ladder import (
    COOKIE,
    PEER_PORT,
    PEER_TAG,
    FakePeer,
    cookie_ack,
    cookie_echo,
    echoed,
    error,
    established,
    extensions,
    tag_in_cookie,
    waiting,
)

# ------------------------------------------------------------------------------ stale cookies


def test_stale_cookie_is_told_to_its_owner() -> None:
    """Pitfall S58, RFC 9260 5.1.5, 4)."""
    peer = FakePeer(Config(valid_cookie_life=10.0), remote_port=None)
    cookie = peer.get_cookie()
    peer.now += 10.5
    peer.deliver(cookie_echo(cookie), peer.data(b"lost with it"))
    packet = peer.expect("ERROR")
    assert packet.tag == PEER_TAG
    [(kind, value)] = packet["ERROR"].as_tlvs()
    assert kind == Cause.STALE_COOKIE
    assert int.from_bytes(value, "big") == pytest.approx(500_000, abs=2)
    assert peer.state is State.CLOSED
    assert peer.take_messages() == []
    assert peer.association.statistics().drops[Drop.STALE_COOKIE] == 1


def test_cookie_is_good_to_the_end_of_its_life_whenever_the_secret_changes() -> None:
    """Pitfall S58: a cookie made just before the secret changes lives as long as any other."""
    life = 10.0
    for age_of_secret in (0.0, 5.0, 9.99, 10.0, 15.0, 19.99, 25.0):
        peer = FakePeer(Config(valid_cookie_life=life), remote_port=None)
        peer.get_cookie()  # makes the first secret
        peer.now += age_of_secret
        cookie = peer.get_cookie()
        peer.now += life - 0.01
        peer.get_cookie()  # may change the secret
        peer.learn_tag(tag_in_cookie(cookie))
        peer.deliver(cookie_echo(cookie))
        peer.expect("COOKIE_ACK")


def test_old_cookie_of_this_association_is_good_for_ever() -> None:
    """RFC 9260 5.2.4, 3): if both tags match, "consider the State Cookie valid"."""
    peer = FakePeer(Config(valid_cookie_life=10.0), remote_port=None)
    cookie = peer.get_cookie()
    peer.deliver(cookie_echo(cookie))
    peer.expect("COOKIE_ACK")
    peer.now += 11.0
    peer.deliver(cookie_echo(cookie))
    peer.expect("COOKIE_ACK")


def test_stale_cookie_error_begins_anew_with_what_was_sent() -> None:
    """RFC 9260 5.2.6, alternative 1: a new INIT."""
    peer = waiting()
    peer.association.send(1, b"hello", now=peer.now)
    peer.deliver(peer.init_ack(COOKIE))
    peer.expect("COOKIE_ECHO DATA")
    peer.deliver(error(stale_cookie(1.0)))
    peer.expect("INIT")
    assert peer.state is State.COOKIE_WAIT
    assert list(peer.association.timers) == [Timer.T1_INIT]
    peer.deliver(peer.init_ack(b"fresh"))
    packet = peer.expect("COOKIE_ECHO DATA")
    assert packet.chunks[0].value == b"fresh"
    assert packet["DATA"].as_data().payload == b"hello"
    peer.deliver(cookie_ack(), peer.sack())
    assert peer.take_news() == [Connected()]
    assert peer.association.unacknowledged == 0


def test_new_answer_after_a_stale_cookie_may_offer_something_else() -> None:
    """What was sent behind the stale cookie is sent again as the new handshake says."""
    peer = FakePeer(params=extensions(interleaving=True))
    peer.association.send(1, b"hello", now=peer.now)
    peer.association.connect(peer.now)
    peer.learn(peer.expect("INIT")["INIT"].as_init())
    peer.deliver(peer.init_ack(COOKIE))
    peer.expect("COOKIE_ECHO I_DATA")
    peer.deliver(error(stale_cookie(1.0)))
    peer.expect("INIT")
    peer.params = extensions(interleaving=False)
    peer.deliver(peer.init_ack(b"fresh"))
    packet = peer.expect("COOKIE_ECHO DATA")
    assert packet["DATA"].as_data().payload == b"hello"
    assert packet["DATA"].as_data().flags & 3 == 3


def test_cookies_called_stale_for_ever() -> None:
    peer = echoed()
    begun = peer.now
    for _ in range(10):
        peer.deliver(error(stale_cookie(1.0)))
        if peer.state is State.CLOSED:
            break
        peer.expect("INIT")
        peer.now += 1.0
        peer.deliver(peer.init_ack(COOKIE))
        peer.expect("COOKIE_ECHO")
    [closed] = peer.take_news()
    assert isinstance(closed, Closed)
    assert closed.reason is CloseReason.STALE_COOKIE
    assert closed.elapsed == pytest.approx(peer.now - begun)


def test_stale_cookie_error_is_ignored_except_in_cookie_echoed() -> None:
    """RFC 9260 5.2.6: "SHOULD be silently discarded"."""
    for peer in (waiting(), established()):
        before = peer.state
        peer.deliver(error(stale_cookie(1.0)))
        peer.expect_silence()
        assert peer.state is before
        assert peer.take_news() == []


# -------------------------------------------------------------------------------- the cookie


def _tcb(**changes: int) -> Tcb:
    values = {
        "local_tag": 1,
        "remote_tag": 2,
        "local_initial_tsn": 3,
        "remote_initial_tsn": 4,
        "remote_rwnd": 1 << 31,
        "outbound_streams": 6,
        "inbound_streams": 65_535,
        **changes,
    }
    return Tcb(
        **values,
        interleaving=True,
        partial_reliability=False,
        reconfiguration=True,
        peer_accepts_zero_checksum=False,
        peer_fears_padding=False,
    )


def test_cookie_holds_all_that_is_needed() -> None:
    jar = CookieJar(random.Random(1), 60.0)
    cookie = Cookie(5000, 6000, 12.75, _tcb(), 0xAAAA, 0xBBBB)
    data = jar.make(cookie, 12.75)
    assert jar.open_untrusted(data, local_port=5000, remote_port=6000, now=13.0) == cookie
    assert len(data) <= 100  # "as small as possible" (5.1.3)


def test_cookie_is_bound_to_its_ports() -> None:
    """Pitfall S58, RFC 9260 5.1.5, 3)."""
    jar = CookieJar(random.Random(1), 60.0)
    data = jar.make(Cookie(5000, 6000, 0.0, _tcb(), 0, 0), 0.0)
    for ports in ((5001, 6000), (5000, 6001), (6000, 5000)):
        found = jar.open_untrusted(data, local_port=ports[0], remote_port=ports[1], now=0.0)
        assert found is CookieFault.WRONG_PORTS


def test_cookie_of_somebody_else_and_every_flipped_bit() -> None:
    """Pitfall S58: authenticated."""
    jar = CookieJar(random.Random(1), 60.0)
    other = CookieJar(random.Random(2), 60.0)
    cookie = Cookie(5000, 6000, 0.0, _tcb(), 0, 0)
    data = jar.make(cookie, 0.0)
    other.make(cookie, 0.0)
    assert other.open_untrusted(data, local_port=5000, remote_port=6000, now=0.0) is (
        CookieFault.FORGED
    )
    for bit in range(len(data) * 8):
        forged = bytearray(data)
        forged[bit // 8] ^= 1 << bit % 8
        found = jar.open_untrusted(bytes(forged), local_port=5000, remote_port=6000, now=0.0)
        assert found is CookieFault.FORGED
    for size in (*range(len(data)), len(data) + 1, 5000):
        cut = (data * 60)[:size]
        found = jar.open_untrusted(cut, local_port=5000, remote_port=6000, now=0.0)
        assert found is CookieFault.FORGED


def test_cookie_secret_rotates() -> None:
    """Pitfall S58: an old secret is forgotten, and the cookies made with it with it."""
    jar = CookieJar(random.Random(1), 10.0)
    cookie = Cookie(5000, 6000, 0.0, _tcb(), 0, 0)
    first = jar.make(cookie, 0.0)
    assert jar.make(cookie, 9.0) == first
    second = jar.make(cookie, 10.0)
    assert second != first
    for now, good in ((19.0, True), (20.0, False), (1000.0, False)):
        found = jar.open_untrusted(first, local_port=5000, remote_port=6000, now=now)
        assert isinstance(found, Cookie) is good, now


def test_cookie_echo_must_carry_the_tag_of_its_cookie() -> None:
    """RFC 9260 5.1.5, 3): ports and tag are compared with those in the packet."""
    peer = FakePeer(remote_port=None)
    cookie = peer.get_cookie()
    peer.deliver(cookie_echo(cookie), tag=peer.their_tag ^ 1)
    peer.expect_silence()
    peer.deliver(cookie_echo(cookie), source=PEER_PORT + 1)
    peer.expect_silence()
    assert peer.state is State.CLOSED
    assert peer.association.remote_port is None
    peer.deliver(cookie_echo(cookie))
    peer.expect("COOKIE_ACK")
