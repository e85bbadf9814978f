"""Each request that there is, and each way in which one can be refused."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, MutableMapping
from typing import Any, cast

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcsctp.errors import ConfigError
from rtcsctp.http import WhipApplication
from rtcsctp.http.restart import data_section, fragment_of
from rtcsctp.ice.servers import IceServer
from rtcsctp.runtime.peer import PeerConnection, open_peer
from rtcsctp.runtime.serve import Server
from rtcsctp.sdp.description import SessionDescription
from rtcsctp.sdp.fragment import parse_fragment_untrusted, write_fragment

from .support import FRAGMENT, LOCAL, SDP, Answer, all_gone, peers, request

AUDIO_ONLY = (
    "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
    "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n"
)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with peers() as server:
        yield server


@pytest.fixture
async def app(server: Server) -> WhipApplication:
    return WhipApplication(server)


@pytest.fixture
async def peer() -> AsyncIterator[PeerConnection]:
    async with open_peer(LOCAL) as peer:
        yield peer


async def post_offer(app: WhipApplication, peer: PeerConnection, **headers: str) -> Answer:
    offer = await peer.offer()
    return await request(app, "POST", body=offer.sdp, **SDP, **headers)


async def begin(app: WhipApplication, peer: PeerConnection) -> tuple[str, str]:
    """A session: its path, and the entity tag of its ICE session."""
    answer = await post_offer(app, peer)
    assert answer.status == 201, answer
    peer.set_remote_description({"type": "answer", "sdp": answer.text})
    return answer["location"], answer["etag"]


def own_fragment(peer: PeerConnection, *lines: str) -> str:
    """Candidates of ours, as a PATCH brings them."""
    assert peer.local_description is not None
    section = data_section(peer.local_description)
    head = [f"a=ice-ufrag:{section.ufrag}", f"a=ice-pwd:{section.pwd}", f"a=mid:{section.mid}"]
    return "\r\n".join([*head[:2], "m=application 9 UDP/DTLS/SCTP x", head[2], *lines, ""])


# ------------------------------------------------------------------------------ browser offers


async def test_offer_is_answered(
    app: WhipApplication, server: Server, peer: PeerConnection
) -> None:
    answer = await post_offer(app, peer)
    assert answer.status == 201
    assert answer["content-type"] == "application/sdp"
    assert answer["sdp-type"] == "answer"
    assert answer["location"].removeprefix("/sessions/") in server.sessions
    assert answer["etag"] == f'"{data_section(SessionDescription("answer", answer.text)).ufrag}"'
    assert answer["cache-control"] == "no-store"
    await peer.accept({"type": "answer", "sdp": answer.text})


async def test_session_ids_are_long_and_differ(app: WhipApplication) -> None:
    locations = set()
    for _ in range(5):
        async with open_peer(LOCAL) as peer:
            locations.add((await post_offer(app, peer))["location"])
    assert len(locations) == 5
    assert all(len(location) == len("/sessions/") + 32 for location in locations)


async def test_location_includes_where_the_application_is_mounted(
    app: WhipApplication, peer: PeerConnection
) -> None:
    offer = await peer.offer()
    answer = await request(app, "POST", "/", offer.sdp, root="/rtc", **SDP)
    assert answer["location"].startswith("/rtc/sessions/")
    path = answer["location"].removeprefix("/rtc")
    assert (await request(app, "DELETE", path, root="/rtc")).status == 200


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("", "description"),
        ("hello", "line 1"),
        ("v=0\r\n" + "x" * 5000, "line 2"),
        (AUDIO_ONLY, "no section for data channels"),
        (b"v=0\r\n\xff\xfe", "not UTF-8"),
    ],
)
async def test_offers_that_cannot_be_used_are_refused_with_the_reason(
    app: WhipApplication, server: Server, body: str | bytes, complaint: str
) -> None:
    answer = await request(app, "POST", body=body, **SDP)
    assert answer.status == 400
    assert answer["content-type"] == "text/plain; charset=utf-8"
    assert answer["x-content-type-options"] == "nosniff"
    assert complaint in answer.text or not complaint
    assert len(answer.text) < 500
    assert not server.sessions
    assert not server.half_open


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "application/sdpx", ""])
async def test_offers_of_another_type_are_refused(app: WhipApplication, kind: str) -> None:
    answer = await request(app, "POST", body="v=0", content_type=kind)
    assert answer.status == 415
    assert answer["accept-post"] == "application/sdp"


async def test_offer_without_a_type_is_refused(app: WhipApplication) -> None:
    assert (await request(app, "POST", body="v=0")).status == 415


async def test_parameters_and_capitals_of_the_type_do_not_matter(
    app: WhipApplication, peer: PeerConnection
) -> None:
    offer = await peer.offer()
    kind = "Application/SDP; charset=utf-8"
    assert (await request(app, "POST", body=offer.sdp, content_type=kind)).status == 201


async def test_body_may_come_in_pieces(app: WhipApplication, peer: PeerConnection) -> None:
    data = (await peer.offer()).sdp.encode()
    pieces = [data[start : start + 7] for start in range(0, len(data), 7)]
    assert (await request(app, "POST", body=pieces, **SDP)).status == 201


# -------------------------------------------------------------------------------- server offers


async def test_post_without_a_body_asks_for_an_offer(
    app: WhipApplication, server: Server, peer: PeerConnection
) -> None:
    offered = await request(app, "POST")
    assert offered.status == 201
    assert offered["sdp-type"] == "offer"
    assert offered["content-type"] == "application/sdp"
    answer = await peer.answer({"type": "offer", "sdp": offered.text})
    taken = await request(app, "PATCH", offered["location"], answer.sdp, **SDP)
    assert taken.status == 204
    assert taken["etag"] == offered["etag"]
    await peer.wait_connected()


async def test_answer_is_wanted_once(
    app: WhipApplication, server: Server, peer: PeerConnection
) -> None:
    offered = await request(app, "POST")
    answer = await peer.answer({"type": "offer", "sdp": offered.text})
    assert (await request(app, "PATCH", offered["location"], answer.sdp, **SDP)).status == 204
    again = await request(app, "PATCH", offered["location"], answer.sdp, **SDP)
    assert again.status == 409
    assert "no offer of ours" in again.text


async def test_answer_to_an_answer_is_a_conflict(
    app: WhipApplication, peer: PeerConnection
) -> None:
    location, _ = await begin(app, peer)
    assert (await request(app, "PATCH", location, "v=0\r\n", **SDP)).status == 409


async def test_bad_answer_can_be_followed_by_a_good_one(
    app: WhipApplication, peer: PeerConnection
) -> None:
    offered = await request(app, "POST")
    assert (await request(app, "PATCH", offered["location"], "v=1", **SDP)).status == 400
    bad = await request(app, "PATCH", offered["location"], AUDIO_ONLY, **SDP)
    assert bad.status == 400
    answer = await peer.answer({"type": "offer", "sdp": offered.text})
    stale = await request(app, "PATCH", offered["location"], answer.sdp, **SDP, if_match='"stale"')
    assert stale.status == 412
    tag = offered["etag"]
    good = await request(app, "PATCH", offered["location"], answer.sdp, **SDP, if_match=tag)
    assert good.status == 204


async def test_candidates_before_the_answer_are_a_conflict(
    app: WhipApplication, peer: PeerConnection
) -> None:
    offered = await request(app, "POST")
    answer = await request(
        app,
        "PATCH",
        offered["location"],
        "a=ice-ufrag:abcd\r\n",
        **FRAGMENT,
        if_match=offered["etag"],
    )
    assert answer.status == 409


# ------------------------------------------------------------------------------------ candidates


async def test_candidates_are_taken(
    app: WhipApplication, server: Server, peer: PeerConnection
) -> None:
    location, tag = await begin(app, peer)
    body = own_fragment(peer, "a=candidate:9 1 udp 1 192.0.2.9 9 typ host", "a=end-of-candidates")
    answer = await request(app, "PATCH", location, body, **FRAGMENT, if_match=tag)
    assert answer.status == 204
    assert answer["etag"] == tag
    assert not answer.body
    (session,) = server.sessions.values()
    assert session.peer.statistics().ice is not None


async def test_star_is_taken_for_candidates_too(app: WhipApplication, peer: PeerConnection) -> None:
    location, _ = await begin(app, peer)
    body = own_fragment(peer, "a=candidate:9 1 udp 1 192.0.2.9 9 typ host")
    assert (await request(app, "PATCH", location, body, **FRAGMENT, if_match="*")).status == 204


async def test_candidates_need_the_tag(app: WhipApplication, peer: PeerConnection) -> None:
    location, tag = await begin(app, peer)
    body = own_fragment(peer)
    assert (await request(app, "PATCH", location, body, **FRAGMENT)).status == 428
    wrong = await request(app, "PATCH", location, body, **FRAGMENT, if_match='"other"')
    assert wrong.status == 412
    assert wrong["etag"] == tag
    weak = await request(app, "PATCH", location, body, **FRAGMENT, if_match=f"W/{tag}")
    assert weak.status == 412
    listed = await request(app, "PATCH", location, body, **FRAGMENT, if_match=f'"a", {tag}')
    assert listed.status == 204


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("a=candidate:nonsense\r\n", 400),
        ("hello", 400),
        ("a=ice-ufrag:other\r\na=ice-pwd:0123456789012345678901\r\n", 409),
    ],
)
async def test_fragments_that_cannot_be_used_are_refused(
    app: WhipApplication, peer: PeerConnection, body: str, status: int
) -> None:
    location, tag = await begin(app, peer)
    answer = await request(app, "PATCH", location, body, **FRAGMENT, if_match=tag)
    assert answer.status == status, answer


async def test_fragment_of_another_type_is_refused(
    app: WhipApplication, peer: PeerConnection
) -> None:
    location, tag = await begin(app, peer)
    answer = await request(app, "PATCH", location, "a=mid:0", content_type="text/plain")
    assert answer.status == 415
    assert "application/trickle-ice-sdpfrag" in answer["accept-patch"]
    assert (await request(app, "PATCH", location, if_match=tag)).status == 415


# ----------------------------------------------------------------------------------- ICE restart


async def test_new_credentials_restart_ice(
    app: WhipApplication, server: Server, peer: PeerConnection
) -> None:
    location, tag = await begin(app, peer)
    await peer.wait_connected()
    peer.set_local_description(peer.create_offer(ice_restart=True))
    await peer.gathering_complete()
    assert peer.local_description is not None
    body = write_fragment(fragment_of(peer.local_description))
    late = await request(app, "PATCH", location, body, **FRAGMENT, if_match=tag)
    assert late.status == 409
    answer = await request(app, "PATCH", location, body, **FRAGMENT, if_match="*")
    assert answer.status == 200
    assert answer["content-type"] == "application/trickle-ice-sdpfrag"
    fragment = parse_fragment_untrusted(answer.text)
    assert answer["etag"] == f'"{fragment.ufrag}"' != tag
    assert fragment.pwd
    assert any(section.candidates for section in fragment.sections)
    assert (await request(app, "PATCH", location, body, **FRAGMENT, if_match=tag)).status == 412


async def test_restart_without_a_password_is_refused(
    app: WhipApplication, peer: PeerConnection
) -> None:
    location, _ = await begin(app, peer)
    answer = await request(
        app, "PATCH", location, "a=ice-ufrag:fresh\r\n", **FRAGMENT, if_match="*"
    )
    assert answer.status == 400
    assert "a=ice-pwd" in answer.text


# ------------------------------------------------------------------------------------------- end


async def test_delete_ends_the_session(
    app: WhipApplication, server: Server, peer: PeerConnection
) -> None:
    location, _ = await begin(app, peer)
    await peer.wait_connected()
    assert (await request(app, "DELETE", location)).status == 200
    await peer.wait_closed()
    await all_gone(server)
    for method in ("DELETE", "PATCH", "GET"):
        assert (await request(app, method, location)).status == 404


async def test_sessions_disappear_when_the_peer_ends(
    app: WhipApplication, server: Server, peer: PeerConnection
) -> None:
    location, tag = await begin(app, peer)
    await peer.wait_connected()
    await peer.aclose()
    await all_gone(server)
    assert (await request(app, "PATCH", location, **FRAGMENT, if_match=tag)).status == 404


async def test_unknown_paths_and_sessions_are_not_found(app: WhipApplication) -> None:
    for path in ("/x", "/sessions", "/sessions/", "/sessions/0", "/sessions/../", "//"):
        assert (await request(app, "POST", path)).status == 404
        assert (await request(app, "DELETE", path)).status == 404


async def test_other_methods_are_refused(app: WhipApplication, peer: PeerConnection) -> None:
    location, _ = await begin(app, peer)
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "BREW"):
        answer = await request(app, method)
        assert answer.status == 405
        assert answer["allow"] == "OPTIONS, POST"
    for method in ("GET", "POST", "PUT"):
        answer = await request(app, method, location)
        assert answer.status == 405
        assert answer["allow"] == "DELETE, OPTIONS, PATCH"
    assert not (await request(app, "HEAD")).body


# ---------------------------------------------------------------------------------- who may come


@pytest.mark.parametrize(
    ("shown", "error"),
    [
        ({}, None),
        ({"authorization": "Bearer wrong"}, "invalid_token"),
        ({"authorization": "Basic c2VjcmV0"}, "invalid_token"),
        ({"authorization": "Bearer"}, None),
        ({"authorization": "Bearer sécret"}, "invalid_token"),
    ],
)
async def test_token_is_demanded_everywhere(
    server: Server, shown: dict[str, str], error: str | None
) -> None:
    app = WhipApplication(server, token="secret")
    for method, path in (("POST", "/"), ("PATCH", "/sessions/x"), ("DELETE", "/sessions/x")):
        answer = await request(app, method, path, **shown)
        assert answer.status == 401
        assert answer["www-authenticate"].startswith("Bearer ")
        assert (error is not None) == ("invalid_token" in answer["www-authenticate"])
    assert not server.sessions


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_right_token_opens(server: Server, scheme: str) -> None:
    app = WhipApplication(server, token="secret")
    assert (await request(app, "POST", authorization=f"{scheme} secret")).status == 201


@pytest.mark.parametrize("token", ["", "a\r\nb", "ä"])
def test_tokens_that_no_header_can_have_are_refused(token: str) -> None:
    with pytest.raises(ConfigError, match="token"):
        WhipApplication(cast("Server", None), token=token)


async def test_options_tell_what_can_be_sent(app: WhipApplication, peer: PeerConnection) -> None:
    location, _ = await begin(app, peer)
    endpoint = await request(app, "OPTIONS")
    assert endpoint.status == 204
    assert endpoint["accept-post"] == "application/sdp"
    assert endpoint["allow"] == "OPTIONS, POST"
    session = await request(app, "OPTIONS", location)
    assert session.status == 204
    assert session["accept-patch"] == "application/trickle-ice-sdpfrag, application/sdp"


async def test_pages_of_other_origins_are_kept_out(app: WhipApplication, server: Server) -> None:
    for method in ("POST", "OPTIONS"):
        answer = await request(app, method, origin="https://evil.example")
        assert answer.status == 403
        assert not answer["access-control-allow-origin"]
    assert not server.sessions
    own = await request(app, "POST", origin="http://example.org")
    assert own.status == 201


@pytest.mark.parametrize("allowed", ["https://good.example", "*"])
async def test_origins_can_be_allowed(server: Server, allowed: str) -> None:
    app = WhipApplication(server, token="secret", allow_origins=[allowed])
    origin = "https://good.example"
    preflight = await request(app, "OPTIONS", origin=origin, access_control_request_method="POST")
    assert preflight.status == 204  # without a token: browsers send none
    assert preflight["access-control-allow-origin"] == origin
    assert preflight["access-control-allow-methods"] == "OPTIONS, POST"
    assert "If-Match" in preflight["access-control-allow-headers"]
    answer = await request(app, "POST", origin=origin, authorization="Bearer secret")
    assert answer.status == 201
    assert "Location" in answer["access-control-expose-headers"]
    refused = await request(app, "POST", origin=origin)
    assert refused.status == 401
    assert refused["access-control-allow-origin"] == origin  # so that the page can tell


async def test_ice_servers_are_recommended_to_who_may_know(server: Server) -> None:
    turn = IceServer("turn:turn.example.net?transport=udp", 'us"er', "pass\\word")
    app = WhipApplication(server, token="secret", ice_servers=["stun:stun.example.net", turn])
    assert not (await request(app, "OPTIONS"))["link"]
    answer = await request(app, "POST", authorization="Bearer secret")
    assert [value for name, value in answer.headers if name == "link"] == [
        '<stun:stun.example.net>; rel="ice-server"',
        (
            '<turn:turn.example.net?transport=udp>; rel="ice-server"; username="us\\"er"; '
            'credential="pass\\\\word"; credential-type="password"'
        ),
    ]


def test_credentials_that_no_header_can_have_are_refused() -> None:
    server = IceServer("turn:turn.example.net", "user", "a\r\nb")
    with pytest.raises(ConfigError, match=r"turn:turn\.example\.net"):
        WhipApplication(cast("Server", None), ice_servers=[server])


# ---------------------------------------------------------------------------------------- limits


async def test_full_server_says_when_to_come_back() -> None:
    async with peers(max_half_open=2) as server:
        app = WhipApplication(server, retry_after=7)
        for _ in range(2):
            assert (await request(app, "POST")).status == 201
        answer = await request(app, "POST")
        assert answer.status == 503
        assert answer["retry-after"] == "7"
        assert "2 peers are connecting" in answer.text


async def test_large_bodies_are_refused(app: WhipApplication) -> None:
    announced = await request(app, "POST", body="v=0", **SDP, content_length="1" * 30)
    assert announced.status == 413
    pieces = [bytes(50_000)] * 5
    assert (await request(app, "POST", body=pieces, **SDP)).status == 413
    nonsense = await request(app, "POST", body="v=0", **SDP, content_length="-1")
    assert nonsense.status == 400


async def test_slow_bodies_are_not_waited_for(
    server: Server, autojump_clock: trio.testing.MockClock
) -> None:
    app = WhipApplication(server, body_timeout=3)
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        await trio.sleep(1)
        return {"type": "http.request", "body": b"v", "more_body": True}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/sdp")]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    began = trio.current_time()
    await app(scope, receive, send)
    assert sent[0]["status"] == 408
    assert trio.current_time() - began < 4


async def test_client_that_goes_gets_no_answer(app: WhipApplication, server: Server) -> None:
    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.disconnect"}

    async def send(_message: MutableMapping[str, Any]) -> None:
        raise AssertionError("nobody is there")

    scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    await app(scope, receive, send)
    assert not server.sessions


async def test_ten_thousand_candidates_are_bounded(server: Server, peer: PeerConnection) -> None:
    app = WhipApplication(server, max_body=1_000_000)
    location, tag = await begin(app, peer)
    lines = [
        f"a=candidate:{n} 1 udp {n + 1} 192.0.2.{n % 250} {n % 60000 + 1} typ host"
        for n in range(10_000)
    ]
    body = own_fragment(peer, *lines)
    with trio.fail_after(5):
        answer = await request(app, "PATCH", location, body, **FRAGMENT, if_match=tag)
        assert answer.status in {204, 400}
        for start in range(0, 10_000, 200):  # and in pieces, each of which is fine
            body = own_fragment(peer, *lines[start : start + 200])
            answer = await request(app, "PATCH", location, body, **FRAGMENT, if_match=tag)
            assert answer.status == 204, answer
    (session,) = server.sessions.values()
    statistics = session.peer.statistics().ice
    assert len(statistics.pairs) <= 200


@pytest.mark.fuzz
@given(seed=st.integers(0, 2**32), data=st.binary(max_size=300))
@settings(max_examples=60)
async def test_no_body_breaks_it(seed: int, data: bytes) -> None:
    rng = random.Random(seed)
    async with peers() as server:
        app = WhipApplication(server)
        offered = await request(app, "POST")
        method = rng.choice(["POST", "PATCH", "DELETE", "OPTIONS"])
        path = rng.choice(["/", offered["location"]])
        kind = rng.choice([SDP, FRAGMENT, {}])
        good = bytearray(offered.body)
        for _ in range(rng.randrange(5)):
            good[rng.randrange(len(good))] = rng.randrange(256)
        body = rng.choice([data, bytes(good), bytes(good[: rng.randrange(len(good))])])
        tag = rng.choice(["*", offered["etag"], data.hex() or "-"])
        answer = await request(app, method, path, body, **kind, if_match=tag)
        assert answer.status != 500
        assert answer.status < 504


# ------------------------------------------------------------------------------------- as ASGI


async def test_lifespan_is_answered(app: WhipApplication) -> None:
    inbox = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[str] = []

    async def receive() -> MutableMapping[str, Any]:
        return inbox.pop(0)

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_websockets_are_turned_away(app: WhipApplication) -> None:
    sent: list[str] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message["type"])

    await app({"type": "websocket", "path": "/"}, receive, send)
    assert sent == ["websocket.close"]
