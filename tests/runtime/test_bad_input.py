"""Wrong input of users and of signalling: each a clear error that names the value, nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from rtcsctp.dtls.certificate import Certificate
from rtcsctp.dtls.openssl import OpenSslIdentity
from rtcsctp.errors import (
    CertificateError,
    ChannelIdError,
    ConfigError,
    DescriptionError,
    FingerprintMismatchError,
    ReliabilityError,
    RtcsctpError,
)
from rtcsctp.ice.config import IceConfig
from rtcsctp.ice.events import GatheringProblem, GatheringState
from rtcsctp.ice.servers import IceServer
from rtcsctp.runtime.descriptions import EndOfCandidates, read_candidate, read_description
from rtcsctp.runtime.errors import ConnectionLost
from rtcsctp.runtime.names import Names
from rtcsctp.runtime.peer import PeerConnection, open_peer
from rtcsctp.runtime.peer_config import PeerConfig
from rtcsctp.sdp.description import SessionDescription
from rtcsctp.sdp.negotiation import SignallingState

from .peers import exchange, make_world, two_peers

CANDIDATE = "candidate:1 1 udp 2130706431 192.0.2.7 5000 typ host"


async def refused_and_usable(
    left: PeerConnection, right: PeerConnection, use: Callable[[], object]
) -> DescriptionError:
    """What `use` does to `right` is refused, and the two can connect afterwards."""
    with pytest.raises(DescriptionError) as caught:
        use()
    assert right.signalling_state is SignallingState.STABLE
    assert right.remote_description is None
    assert len(str(caught.value)) < 500
    await exchange(left, right)
    with trio.fail_after(30):
        await left.wait_connected()
    return caught.value


# ------------------------------------------------------------------------------------- descriptions


def damaged(sdp: str) -> dict[str, str]:
    """One fault each."""
    lines = sdp.split("\r\n")

    def without(start: str) -> str:
        return "\r\n".join(line for line in lines if not line.startswith(start))

    def with_line(start: str, other: str) -> str:
        return "\r\n".join(other if line.startswith(start) else line for line in lines)

    return {
        "empty": "",
        "no SDP": "hello",
        "only v": "v=0\r\n",
        "cut": sdp[: len(sdp) // 4],
        "HTML": "<!DOCTYPE html><html></html>",
        "no ufrag": without("a=ice-ufrag"),
        "no pwd": without("a=ice-pwd"),
        "no fingerprint": without("a=fingerprint"),
        "short ufrag": with_line("a=ice-ufrag", "a=ice-ufrag:abc"),  # pitfall W21
        "short pwd": with_line("a=ice-pwd", "a=ice-pwd:" + "x" * 21),
        "wild ufrag": with_line("a=ice-ufrag", "a=ice-ufrag:a b{c}d"),
        "md5": with_line("a=fingerprint", "a=fingerprint:md5 " + ":".join(["AB"] * 16)),
        "short fingerprint": with_line("a=fingerprint", "a=fingerprint:sha-256 AB:CD"),
        "setup": with_line("a=setup", "a=setup:sideways"),
        "sctp port": with_line("a=sctp-port", "a=sctp-port:70000"),
        "no data": sdp.split("m=", maxsplit=1)[0],
        "large": sdp + "a=x:" + "x" * 1_000_000 + "\r\n",
        "lines": sdp + "a=x\r\n" * 300_000,
        "candidates": sdp + f"a={CANDIDATE}\r\n" * 10_000,
        "sections": sdp + "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n" * 1000,
        "null": "\0" * 100,
    }


FAULTS = tuple(damaged(""))


@pytest.mark.parametrize("fault", FAULTS)
async def test_damaged_offer_is_refused_and_changes_nothing(
    autojump_clock: trio.testing.MockClock, fault: str
) -> None:
    async with two_peers() as (left, right):
        sdp = damaged((await left.offer()).sdp)[fault]
        began = time.perf_counter()
        error = await refused_and_usable(
            left, right, lambda: right.set_remote_description({"type": "offer", "sdp": sdp})
        )
        assert time.perf_counter() - began < 20
        assert str(error)


@pytest.mark.parametrize(
    "description",
    [
        "",
        "   ",
        "hello",
        "{",
        "{}",
        '{"type": "offer"',
        '{"type": "offer", "sdp": 5}',
        '{"type": "offer", "sdp": null}',
        '{"type": 5, "sdp": ""}',
        '{"type": ["offer"], "sdp": ""}',
        '{"type": "' + "x" * 100_000 + '", "sdp": ""}',
        "{" * 100_000,
        '{"a":' * 100_000 + "1",
        '{"type": ' + "[" * 50_000 + "]" * 50_000 + "}",
        '{"type": ' + "9" * 100_000 + "}",
        '{"type": "offer", "sdp": "' + "x" * 1_000_000 + '"}',
        "x" * 1_000_000,
        "r1:" + "A" * 1_000_000,
        {},
        {"type": "offer", "sdp": 5},
        {"type": "offer", "sdp": None},
        {"type": None, "sdp": ""},
        {"type": ["offer"], "sdp": ""},
        {"type": "offers", "sdp": ""},
        {"sdp": "v=0"},
        None,
        5,
        b"v=0\r\n",
        ["v=0"],
    ],
    ids=lambda value: f"{type(value).__name__} {str(value)[:20]!r} {len(str(value))}",
)
async def test_what_is_no_description_is_refused(
    autojump_clock: trio.testing.MockClock, description: Any
) -> None:
    async with two_peers() as (left, right):
        await refused_and_usable(left, right, lambda: right.set_remote_description(description))


@pytest.mark.parametrize(
    "candidate",
    [
        "x",
        "candidate:",
        CANDIDATE[:-4],
        CANDIDATE.replace("5000", "70000"),
        CANDIDATE.replace("udp", "sctp"),
        CANDIDATE.replace("host", "guest"),
        CANDIDATE.replace("192.0.2.7", "fe80::1%eth0"),
        CANDIDATE.replace("192.0.2.7", "a" * 300 + ".local"),
        CANDIDATE + " x" * 100_000,
        {"candidate": 5},
        {"candidate": None},
        {"candidate": ["x"], "sdpMid": {}, "sdpMLineIndex": "0"},
        5,
        b"candidate:",
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_is_no_candidate_is_refused(
    autojump_clock: trio.testing.MockClock, candidate: Any
) -> None:
    async with two_peers() as (left, right):
        right.set_remote_description(await left.offer())
        with pytest.raises(DescriptionError) as caught:
            right.add_ice_candidate(candidate)
        assert len(str(caught.value)) < 500
        right.set_local_description()
        left.set_remote_description(right.local_description or "")
        with trio.fail_after(30):
            await left.wait_connected()


async def test_labels_of_candidates_may_be_anything(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with two_peers() as (left, right):
        labels: tuple[Any, ...] = (
            None,
            "",
            "x" * 100_000,
            -1,
            2**70,
            0.5,
            [],
            {},
            True,
            "0\r\na=evil:1",
        )
        for mid in labels:
            for index in labels:
                init = {"candidate": CANDIDATE, "sdpMid": mid, "sdpMLineIndex": index}
                left.add_ice_candidate(init)
        await exchange(left, right)
        for mid in labels:
            for index in labels:
                init = {"candidate": CANDIDATE, "sdpMid": mid, "sdpMLineIndex": index}
                left.add_ice_candidate(init)
        assert "evil" not in (left.local_description or left.create_offer()).sdp
        with trio.fail_after(30):
            await left.wait_connected()


async def test_ten_thousand_trickled_candidates_are_bounded(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with two_peers() as (left, right):
        offer = await left.offer()

        def flood(offset: int) -> float:
            began = time.perf_counter()
            for number in range(10_000):
                host = f"10.{offset}.{number // 250}.{1 + number % 250}"
                right.add_ice_candidate(CANDIDATE.replace("192.0.2.7", host))
            return time.perf_counter() - began

        times = [flood(1)]  # before the description
        right.set_remote_description(offer)
        times.append(flood(2))  # while the offer is open
        right.set_local_description()
        times.append(flood(3))  # after it
        assert max(times) < 20
        limit = IceConfig().max_remote_candidates
        assert right.statistics().ice.remote_candidates <= limit + IceConfig().max_peer_reflexive
        left.set_remote_description(right.local_description or "")
        with trio.fail_after(60):
            await left.wait_connected()
            await right.wait_connected()


async def test_names_in_thousands_of_candidates_are_bounded_lookups(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = make_world()
    asked: list[str] = []
    at_once = most = 0

    async def resolve(name: str) -> list[str]:
        nonlocal at_once, most
        asked.append(name)
        at_once += 1
        most = max(most, at_once)
        try:
            await trio.sleep_forever()
        finally:
            at_once -= 1

    world.right.resolve = resolve  # type: ignore[method-assign]
    async with two_peers(world) as (left, right):
        offer = await left.offer()
        right.set_remote_description(offer)
        right.set_local_description()
        for number in range(5000):
            name = f"host{number}.example.org"
            right.add_ice_candidate(CANDIDATE.replace("192.0.2.7", name))
        left.set_remote_description(right.local_description or "")
        with trio.fail_after(30):
            await left.wait_connected()
        await trio.sleep(15)
        assert at_once == 0
        assert most <= 20
        assert len(asked) <= IceConfig().max_remote_candidates


async def test_names_that_lead_nowhere_do_not_hold_up_others_for_long(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """All peers of a server share the lookups."""
    world = make_world(names={"good.example.org": ["192.0.2.9"]})
    resolve = world.right.resolve

    async def slow(name: str) -> Any:
        if name != "good.example.org":
            await trio.sleep_forever()
        return await resolve(name)

    world.right.resolve = slow  # type: ignore[method-assign]
    config = world.config(world.right)
    assert config.rng is not None
    done: list[str] = []

    async def look(names: Names, name: str) -> None:
        await names.resolve(name)
        done.append(name)

    async with trio.open_nursery() as nursery:
        names = Names(world.right, config.rng, nursery)
        for number in range(5000):
            nursery.start_soon(look, names, f"bad{number}.example.org")
        await trio.sleep(10.5)
        assert len(done) == 5000
        assert list(await names.resolve("good.example.org")) == ["192.0.2.9"]


def test_forms_of_descriptions_and_candidates() -> None:
    assert read_candidate("") == EndOfCandidates()
    assert read_candidate({"candidate": "", "usernameFragment": "abcd"}) == EndOfCandidates("abcd")
    assert read_candidate({}) == EndOfCandidates()
    init = {"candidate": CANDIDATE, "usernameFragment": "abcd"}
    assert read_candidate(init).ufrag == "abcd"
    assert read_candidate(f"a={CANDIDATE}") == read_candidate(CANDIDATE)
    rollback = SessionDescription.rollback()
    for form in (rollback, {"type": "rollback"}, json.dumps({"type": "rollback"})):
        assert read_description(form) == rollback


# --------------------------------------------------------------------------------------- identities


async def test_wrong_fingerprint_names_both_with_real_dtls() -> None:
    config = PeerConfig(include_loopback=True, addresses=["127.0.0.1"])
    other = Certificate.generate().fingerprint()
    async with open_peer(config) as left, open_peer(config) as right:
        mine = left.identity.fingerprints[0]
        offer = await left.offer()
        forged = offer.sdp.replace(mine.value, other.value)
        left.set_remote_description(await right.answer({"type": "offer", "sdp": forged}))
        with trio.fail_after(20):
            with pytest.raises(ConnectionLost) as caught:
                await right.wait_connected()
            cause = caught.value.__cause__
            assert isinstance(cause, FingerprintMismatchError)
            for text in (str(caught.value), str(cause)):
                assert mine.value in text
                assert other.value in text


def test_certificate_and_key_that_do_not_belong_together() -> None:
    def parts(certificate: Certificate) -> tuple[bytes, bytes]:
        pem = certificate.to_pem()
        start = b"-----BEGIN "
        found = [start + part for part in pem.split(start)[1:]]
        key = next(part for part in found if b"PRIVATE KEY" in part.split(b"\n")[0])
        return next(part for part in found if part is not key), key

    one, two = parts(Certificate.generate()), parts(Certificate.generate())
    Certificate.from_pem(*one)
    with pytest.raises(CertificateError, match="belong"):
        Certificate.from_pem(one[0], two[1])
    with pytest.raises(CertificateError):
        Certificate.from_pem(one[0])
    with pytest.raises(CertificateError):
        Certificate.from_pem(b"hello")


# ------------------------------------------------------------------------------------ configuration


REFUSED: list[tuple[str, Any]] = [
    ("ice_servers", "stun:stun.example.org"),
    ("ice_transport_policy", "relays"),
    ("ice_transport_policy", None),
    ("addresses", "192.0.2.1"),
    ("addresses", ["host.example.org"]),
    ("addresses", [None]),
    ("port_range", (0, 5)),
    ("port_range", (5, 4)),
    ("port_range", (1, 70_000)),
    ("public_addresses", {"x": "192.0.2.1"}),
    ("public_addresses", {"10.0.0.1": "2001:db8::1"}),
    ("gathering_timeout", 0),
    ("gathering_timeout", float("nan")),
    ("send_buffer", 0),
    ("ice_servers", [5]),
    ("ice_servers", None),
    ("ice_servers", 5),
    ("ice", None),
    ("ice", {}),
    ("ice_lite", "yes"),
    ("hide_addresses", 5),
    ("include_loopback", "no"),
    ("interfaces", "eth0"),
    ("interfaces", 5),
    ("interfaces", [5]),
    ("addresses", 5),
    ("ip_version", 5),
    ("ip_version", "4"),
    ("port_range", 5000),
    ("port_range", ("1", "2")),
    ("port_range", (1, 2, 3)),
    ("public_addresses", ["192.0.2.1"]),
    ("gathering_timeout", "5"),
    ("restart_grace", -1),
    ("restart_grace", None),
    ("turn_ca_file", 5),
    ("certificate", "cert.pem"),
    ("identity", "me"),
    ("sctp", None),
    ("send_buffer", 1.5),
    ("send_buffer", "1"),
    ("linger", -1),
    ("linger", "5"),
    ("host", "localhost"),
    ("rng", 5),
    ("capture", "file.pcapng"),
    ("address_filter", "192.0.2.1"),
]


@pytest.mark.parametrize(("field", "value"), REFUSED, ids=str)
def test_configuration_that_cannot_work_is_refused_by_its_name(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=field) as caught:
        PeerConfig(**{field: value})
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, RtcsctpError)


def test_bad_server_is_named() -> None:
    for url in (
        "http://stun.example.org",
        "stun:",
        "turn:host:99999",
        "stuns:host?transport=udp",
        "turn://host",
        "",
        "turns:[::1",
    ):
        with pytest.raises(ConfigError) as caught:
            IceServer(url, "user", "secret")
        assert repr(url) in str(caught.value)
        assert "secret" not in str(caught.value)


# ----------------------------------------------------------------------------------------- channels


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"id": 5}, ValueError, "negotiated"),
        ({"negotiated": True}, ValueError, "id"),
        ({"negotiated": True, "id": 65_535}, ChannelIdError, "65535"),
        ({"negotiated": True, "id": -1}, ChannelIdError, "-1"),
        ({"negotiated": True, "id": 7}, ChannelIdError, "7"),
        ({"max_retransmits": 1, "max_packet_lifetime": 1}, ReliabilityError, "exclude"),
        ({"max_retransmits": -1}, ReliabilityError, "-1"),
        ({"max_packet_lifetime": -0.5}, ReliabilityError, "-0.5"),
        ({"max_packet_lifetime": float("nan")}, ReliabilityError, "nan"),
        ({"label": "x" * 65_536}, ValueError, "65,?535"),
        ({"label": "ü" * 32_768}, ValueError, "65,?535"),
        ({"label": 5}, TypeError, "label"),
        ({"label": None}, TypeError, "label"),
        ({"protocol": "x" * 65_536}, ValueError, "65,?535"),
        ({"protocol": b"x"}, TypeError, "protocol"),
        ({"priority": 65_536}, ValueError, "65536"),
        ({"priority": -1}, ValueError, "-1"),
        ({"label": "\ud800"}, ValueError, "surrogates"),
    ],
    ids=str,
)
@pytest.mark.parametrize("connected", [False, True])
async def test_channel_that_cannot_be_is_refused_and_nothing_else_disturbed(
    autojump_clock: trio.testing.MockClock,
    options: dict[str, Any],
    kind: type[Exception],
    words: str,
    connected: bool,
) -> None:
    async with two_peers() as (left, right):
        if connected:
            await exchange(left, right)
            await left.wait_connected()
        here = left.create_channel("mine", negotiated=True, id=7)
        there = right.create_channel("mine", negotiated=True, id=7)
        with pytest.raises(kind, match=words):
            left.create_channel(**options)
        if not connected:
            await exchange(left, right)
        with trio.fail_after(30):
            await here.send("x")
            assert await there.receive() == "x"
            left.create_channel("next")
            assert (await right.incoming.receive()).label == "next"


# ---------------------------------------------------------------------------------------- gathering


def problems_in(events: trio.MemoryReceiveChannel[Any]) -> list[GatheringProblem]:
    found = []
    while events.statistics().current_buffer_used:
        event = events.receive_nowait()
        if isinstance(event, GatheringProblem):
            found.append(event)
    return found


@pytest.mark.parametrize(
    "url",
    ["turn:192.0.2.200:3478", "stun:192.0.2.200", "turn:192.0.2.200?transport=tcp", "stun:no.such"],
)
async def test_unreachable_server_is_a_problem_with_its_url(
    autojump_clock: trio.testing.MockClock, url: str
) -> None:
    # pitfall W20: and nothing waits for it.
    server = IceServer(url, "user", "secret")
    async with two_peers(offerer={"ice_servers": [server]}) as (left, right):
        events = left.events()
        left.set_local_description()
        await trio.lowlevel.checkpoint()
        right.set_remote_description(left.local_description or "")
        right.set_local_description()
        left.set_remote_description(right.local_description or "")
        for candidate in [c async for c in right.local_candidates]:
            left.add_ice_candidate(candidate)
        with trio.fail_after(2):
            await left.wait_connected()
        await trio.sleep(60)
        assert left.gathering_state is GatheringState.COMPLETE
        (problem,) = problems_in(events)
        assert (problem.url, problem.code) == (url, 701)
        assert "secret" not in str(problem)


async def test_exhausted_port_range_is_a_problem_that_names_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = make_world()
    for port in range(6000, 6003):
        world.left.open_udp("192.0.2.1", port)
    async with two_peers(world, offerer={"port_range": (6000, 6002)}) as (left, _):
        events = left.events()
        await left.offer()
        (problem,) = problems_in(events)
        assert "6000 to 6002" in problem.reason
        assert "192.0.2.1" in problem.reason
        assert "a=candidate" not in (left.local_description or left.create_offer()).sdp


async def test_identity_of_a_configuration_is_used(autojump_clock: trio.testing.MockClock) -> None:
    identity = OpenSslIdentity(Certificate.generate())
    async with two_peers(offerer={"identity": identity}) as (left, _):
        assert left.identity is identity
