"""Mailboxes: what is left, who gets it, and what strangers cannot do."""

from __future__ import annotations

import httpx2
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from rtcsctp.http import (
    Mailbox,
    RendezvousApplication,
    SignallingError,
    SignallingRefusedError,
    serve_http,
)
from rtcsctp.http.rendezvous import SEALED_TYPE

from .support import Answer, request

BOX = "/rendezvous/" + "b" * 16
SEALED = {"content_type": SEALED_TYPE}
URL = "http://example.org/"


@pytest.fixture
def app() -> RendezvousApplication:
    return RendezvousApplication()


async def offer(app: RendezvousApplication, text: str = "offer") -> str:
    answer = await request(app, "POST", BOX, text, **SEALED)
    assert answer.status == 201, answer
    return answer["location"]


async def get(app: RendezvousApplication, path: str, wait: int = 0) -> Answer:
    return await request(app, "GET", path, prefer=f"wait={wait}")


async def test_offer_and_answer_reach_each_other(app: RendezvousApplication) -> None:
    place = await offer(app)
    assert place.startswith(f"{BOX}/")
    taken = await get(app, BOX)
    assert (taken.status, taken.text, taken["location"]) == (200, "offer", place)
    assert taken["cache-control"] == "no-store"
    assert (await get(app, place)).status == 204
    assert (await request(app, "POST", place, "answer", **SEALED)).status == 204
    assert (await request(app, "POST", place, "another", **SEALED)).status == 409
    answer = await get(app, place)
    assert (answer.status, answer.text, answer["content-type"]) == (200, "answer", SEALED_TYPE)
    assert (await request(app, "DELETE", place)).status == 204
    assert (await get(app, place)).status == 404
    assert app.mailboxes == 0


async def test_who_comes_first_waits(app: RendezvousApplication, autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            taken = await get(app, BOX, 20)
            assert (taken.status, trio.current_time()) == (200, began + 5)
            await trio.sleep(5)
            await request(app, "POST", taken["location"], "answer", **SEALED)

        began = trio.current_time()
        nursery.start_soon(wait)
        await trio.sleep(5)
        place = await offer(app)
        assert (await get(app, place, 20)).text == "answer"
        assert trio.current_time() == began + 10
    assert (await get(app, BOX, 1000)).status == 204
    assert trio.current_time() == began + 10 + 25


async def test_an_offer_is_given_again_if_nobody_answers(
    app: RendezvousApplication, autojump_clock: MockClock
) -> None:
    place = await offer(app)
    assert (await get(app, BOX)).status == 200
    assert (await get(app, BOX)).status == 204
    assert (await get(app, BOX, 20)).status == 200
    await request(app, "POST", place, "answer", **SEALED)
    assert (await get(app, BOX, 20)).status == 204


async def test_a_new_offer_takes_the_place_of_the_old_one(app: RendezvousApplication) -> None:
    old = await offer(app, "old")
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            assert (await get(app, old, 20)).status == 410

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        new = await offer(app, "new")
    assert (await request(app, "POST", old, "answer", **SEALED)).status == 410
    assert (await get(app, BOX)).text == "new"
    assert (await get(app, new)).status == 204


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("POST", BOX, "x", {}, 415),
        ("POST", BOX, "x", {"content_type": "text/plain"}, 415),
        ("POST", BOX, "x" * 20_000, SEALED, 413),
        ("POST", BOX, "", SEALED, 400),
        ("POST", BOX, "a b", SEALED, 400),
        ("POST", BOX, "ä", SEALED, 400),
        ("POST", "/rendezvous/short", "x", SEALED, 404),
        ("POST", "/rendezvous/" + "x" * 65, "x", SEALED, 404),
        ("POST", f"{BOX}/no", "x", SEALED, 404),
        ("POST", f"{BOX}/{'c' * 16}", "x", SEALED, 404),
        ("GET", f"{BOX}/{'c' * 16}", "", {}, 404),
        ("DELETE", f"{BOX}/{'c' * 16}", "", {}, 404),
        ("DELETE", BOX, "", {}, 405),
        ("PUT", BOX, "", {}, 405),
        ("PUT", f"{BOX}/{'c' * 16}", "", {}, 405),
        ("POST", BOX, "x", {**SEALED, "origin": "http://evil.example"}, 403),
        ("POST", BOX, "x", {**SEALED, "origin": "http://example.org"}, 201),
        ("GET", "/elsewhere", "", {}, 404),
    ],
)
async def test_what_is_refused(
    app: RendezvousApplication,
    method: str,
    path: str,
    body: str,
    headers: dict[str, str],
    status: int,
) -> None:
    assert (await request(app, method, path, body, **headers)).status == status


async def test_a_token_is_asked_for() -> None:
    app = RendezvousApplication(token="secret")
    answer = await request(app, "POST", BOX, "x", **SEALED)
    assert answer.status == 401
    assert "token is needed" in answer.text
    answer = await request(app, "POST", BOX, "x", authorization="Bearer wrong", **SEALED)
    assert "token is wrong" in answer.text
    answer = await request(app, "POST", BOX, "x", authorization="Bearer secret", **SEALED)
    assert answer.status == 201


async def test_there_are_so_many_mailboxes_and_no_more(autojump_clock: MockClock) -> None:
    app = RendezvousApplication(max_mailboxes=3, lifetime=60)
    for number in range(5):
        answer = await request(app, "POST", BOX + str(number), "x", **SEALED)
        assert answer.status == (201 if number < 3 else 503)
    assert "retry-after" in dict(answer.headers)
    await trio.sleep(40)
    assert (await get(app, BOX + "1")).status == 200
    await trio.sleep(40)
    assert app.mailboxes == 1
    await trio.sleep(40)
    assert app.mailboxes == 0


async def test_who_waits_keeps_a_mailbox_and_only_so_many_wait(autojump_clock: MockClock) -> None:
    app = RendezvousApplication(max_waiting=1, lifetime=5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(get, app, BOX, 20)
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        assert (await get(app, BOX + "other", 20)).status == 204
        assert trio.current_time() == began
        await trio.sleep(10)
        assert app.mailboxes == 1
        await offer(app)
    assert app.mailboxes == 1


async def test_who_has_gone_is_given_nothing(app: RendezvousApplication) -> None:
    """A receiver that was interrupted while it waited does not take the next sender's offer."""
    async with trio.open_nursery() as nursery:
        address = await nursery.start(serve_http, app)
        waiting = await trio.open_tcp_stream(*address)
        head = f"GET {BOX} HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=20\r\n\r\n"
        await waiting.send_all(head.encode())
        with trio.fail_after(60):
            while not app.mailboxes:
                await trio.lowlevel.checkpoint()
            await waiting.send_eof()
            assert await waiting.receive_some() == b""  # the server has seen that nobody waits
        await waiting.aclose()
        await offer(app)
        assert (await get(app, BOX)).status == 200
        nursery.cancel_scope.cancel()


# ---------------------------------------------------------------------------------- client


def mailbox(app: RendezvousApplication, token: str | None = None) -> Mailbox:
    return Mailbox(URL, "b" * 16, token=token, transport=httpx2.ASGITransport(app))


async def test_two_clients_find_each_other(app: RendezvousApplication) -> None:
    async with trio.open_nursery() as nursery:

        async def take() -> None:
            text, place = await mailbox(app).take_offer()
            await mailbox(app).leave_answer(place, f"answer-to-{text}")

        nursery.start_soon(take)
        place = await mailbox(app).leave_offer("offer")
        assert await mailbox(app).take_answer(place) == "answer-to-offer"
        await mailbox(app).withdraw(place)
    assert app.mailboxes == 0
    with pytest.raises(SignallingRefusedError) as caught:
        await mailbox(app).take_answer(place)
    assert caught.value.status == 404


async def test_a_client_is_told_what_is_wrong() -> None:
    app = RendezvousApplication(token="secret")
    with pytest.raises(SignallingRefusedError, match=r"answers 401 \(a token is needed"):
        await mailbox(app).take_offer()
    assert await mailbox(app, token="secret").leave_offer("offer")
    with pytest.raises(SignallingError, match=r"^cannot reach http://127.0.0.1:9/: .*refused"):
        await Mailbox("http://127.0.0.1:9/", "b" * 16).take_offer()
    async with trio.open_nursery() as nursery:
        _, port = await nursery.start(serve_http, app)
        url = f"https://127.0.0.1:{port}/"
        with pytest.raises(SignallingError, match=r"(?i)^cannot reach https://\S+: .*(ssl|tls)"):
            await Mailbox(url, "b" * 16).take_offer()
        nursery.cancel_scope.cancel()
