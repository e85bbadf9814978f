"""A place where two peers that know the same secret find each other, as an ASGI application.

One peer leaves an offer in a mailbox, the other takes it and leaves an answer for it:

=======  =====================  ============================================================
method   path                   what it does
=======  =====================  ============================================================
POST     /rendezvous/BOX        leave an offer, in place of the last one: 201, ``Location``
GET      /rendezvous/BOX        take the offer: 200 and ``Location``; 204: there is none yet
POST     …/BOX/OFFER            leave the answer to this offer: 204
GET      …/BOX/OFFER            the answer: 200; 204: there is none yet
DELETE   …/BOX/OFFER            the offer is not meant any more: 204
=======  =====================  ============================================================

An offer is given out once, so that a peer that begins again does not get an old one; and again if
nobody has answered it for 15 s, for whoever took it may be gone. GET waits for what is not there
yet, up to the seconds of ``Prefer: wait=`` (RFC 7240 4.3); a client that closes its connection
waits no longer, and is given nothing. 404: there is no such offer any more;
410: another has taken its place.

What is left here means nothing to this application: it is text that peers are expected to have
sealed. Who knows the name of a mailbox can take what is in it and leave something else; who does
not, cannot. So the name is to be a secret of the two, and what they write is to be sealed with
another one: then neither this server nor who listens to it can do more than keep them apart.

What strangers can make us hold: so many mailboxes, each with one offer and one answer of a limited
size, for so many seconds after it was used last; and so many requests that wait.
"""

from __future__ import annotations

import hmac
import math
import re
import secrets
from collections import OrderedDict
from typing import Final

import trio

from rtcsctp.http.messages import (
    Application,
    Disconnected,
    HttpError,
    Receive,
    Request,
    Response,
    Scope,
    Send,
)

__all__ = ["RENDEZVOUS", "SEALED_TYPE", "RendezvousApplication"]

RENDEZVOUS: Final = "/rendezvous/"
SEALED_TYPE: Final = "application/vnd.rtcsctp.sealed"
"""Not a type that a page of another origin may send without being asked (Fetch, CORS)."""

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")
_TEXT: Final = re.compile(rb"[\x21-\x7e]+")
_WAIT: Final = re.compile(r"\bwait=([0-9]{1,4})\b")
_BODY_TIME: Final = 10.0  # seconds
_ANSWER_TIME: Final = 15.0  # seconds for an answer before an offer is given to somebody else
_BOX_METHODS: Final = "GET, POST"
_OFFER_METHODS: Final = "DELETE, GET, POST"


class _Mailbox:
    """What two peers leave for each other."""

    __slots__ = ("answer", "changed", "free_at", "offer", "tag", "used", "waiting")

    def __init__(self, now: float) -> None:
        self.tag = ""
        self.offer = b""
        self.free_at = math.inf  # when the offer can be taken
        self.answer: bytes | None = None
        self.changed = trio.Event()
        self.used = now
        self.waiting = 0

    def wake(self) -> None:
        """Let those who wait look again."""
        self.changed.set()
        self.changed = trio.Event()


class RendezvousApplication:
    """Mailboxes under "/rendezvous/"; see `rtcsctp.http.rendezvous`.

    An ASGI 3 application for servers that run on Trio.
    """

    def __init__(
        self,
        *,
        token: str | None = None,
        otherwise: Application | None = None,
        max_mailboxes: int = 1000,
        max_waiting: int = 128,
        max_body: int = 16 * 1024,
        lifetime: float = 600.0,
        max_wait: float = 25.0,
    ) -> None:
        """
        Args:
            token: what clients must show, as a bearer token (RFC 6750); None: nothing.
            otherwise: answers what is not for us.
            max_mailboxes: so many at a time.
            max_waiting: so many requests may wait at a time; others are answered at once.
            max_body: bytes of an offer or answer.
            lifetime: seconds after its last use that a mailbox is forgotten.
            max_wait: seconds that a request may wait.
        """
        self._token = None if token is None else token.strip().encode()
        self._otherwise = otherwise
        self._max_mailboxes = max_mailboxes
        self._max_waiting = max_waiting
        self._max_body = max_body
        self._lifetime = lifetime
        self._max_wait = max_wait
        self._boxes: OrderedDict[str, _Mailbox] = OrderedDict()
        """The one that was used longest ago first."""
        self._waiting = 0

    @property
    def mailboxes(self) -> int:
        """How many there are."""
        self._forget_old()
        return len(self._boxes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What an ASGI server calls."""
        request = Request(scope, receive) if scope["type"] == "http" else None
        if request is None or not request.path.startswith(RENDEZVOUS):
            if self._otherwise is not None:
                await self._otherwise(scope, receive, send)
                return
            if request is None:
                raise ValueError(f"this application knows no {scope['type']!r}")
        try:
            response = await self._respond(request)
        except HttpError as error:
            response = error.response
        except Disconnected:
            return
        response.headers.append(("Cache-Control", "no-store"))
        await request.answer(response, send)

    async def _respond(self, request: Request) -> Response:
        if not request.path.startswith(RENDEZVOUS):
            raise HttpError(404, "there is nothing here")
        self._check_access(request)
        name, slash, tag = request.path.removeprefix(RENDEZVOUS).partition("/")
        if not _NAME.fullmatch(name) or (slash and not _NAME.fullmatch(tag)):
            raise HttpError(404, "a mailbox has a name of 16 to 64 letters and digits")
        self._forget_old()
        match request.method, bool(slash):
            case "POST", False:
                return await self._leave_offer(request, name)
            case "GET", False:
                return await self._take_offer(request, name)
            case "POST", True:
                return await self._leave_answer(request, name, tag)
            case "GET", True:
                return await self._give_answer(request, name, tag)
            case "DELETE", True:
                self._find(name, tag)
                del self._boxes[name]
                return Response(204)
        allowed = _OFFER_METHODS if slash else _BOX_METHODS
        raise HttpError(405, f"here it takes {allowed}", [("Allow", allowed)])

    def _check_access(self, request: Request) -> None:
        origin = request.header("origin")
        if origin is not None and origin.partition("://")[2] != request.header("host"):
            raise HttpError(403, "pages of this origin may not use this server")
        if self._token is None:
            return
        scheme, _, shown = (request.header("authorization") or "").partition(" ")
        given = shown.strip().encode("latin-1", "replace")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given, self._token):
            raise HttpError(
                401,
                "the token is wrong" if shown else "a token is needed (Authorization: Bearer …)",
                [("WWW-Authenticate", 'Bearer realm="rtcsctp"')],
            )

    # --------------------------------------------------------------------------- mailboxes

    def _forget_old(self) -> None:
        limit = trio.current_time() - self._lifetime
        for name, box in list(self._boxes.items()):
            if box.used > limit:
                break
            if not box.waiting:
                del self._boxes[name]

    def _use(self, name: str) -> _Mailbox:
        """A mailbox, new or not.

        Raises:
            HttpError: 503, there is no room for a new one.
        """
        now = trio.current_time()
        box = self._boxes.get(name)
        if box is None:
            if len(self._boxes) >= self._max_mailboxes:
                raise HttpError(503, "there are too many mailboxes", [("Retry-After", "30")])
            box = self._boxes[name] = _Mailbox(now)
        box.used = now
        self._boxes.move_to_end(name)
        return box

    def _find(self, name: str, tag: str) -> _Mailbox:
        """The mailbox with a certain offer.

        Raises:
            HttpError: 404, it is not there; 410, there is another.
        """
        box = self._boxes.get(name)
        if box is None or not box.tag:
            raise HttpError(404, "there is no such offer, or not any more")
        if box.tag != tag:
            raise HttpError(410, "another offer has taken its place")
        return self._use(name)

    async def _text(self, request: Request) -> bytes:
        if request.media_type != SEALED_TYPE:
            raise HttpError(415, f"offers and answers are of type {SEALED_TYPE}")
        body = await request.body(self._max_body, _BODY_TIME)
        if not _TEXT.fullmatch(body):
            raise HttpError(400, "offers and answers are texts in ASCII without blanks")
        return body

    async def _leave_offer(self, request: Request, name: str) -> Response:
        body = await self._text(request)
        box = self._use(name)
        box.tag = secrets.token_urlsafe(16)
        box.offer, box.free_at, box.answer = body, trio.current_time(), None
        box.wake()
        return Response(201, headers=[_location(request, name, box.tag)])

    async def _take_offer(self, request: Request, name: str) -> Response:
        box = self._use(name)
        deadline = trio.current_time() + self._patience(request)
        while (now := trio.current_time()) < min(box.free_at, deadline):
            with trio.move_on_at(min(box.free_at, deadline)):
                await self._wait(request, name, box)
        if now < box.free_at:
            return Response(204)
        box.free_at = now + _ANSWER_TIME
        headers = [("Content-Type", SEALED_TYPE), _location(request, name, box.tag)]
        return Response(200, box.offer, headers)

    async def _leave_answer(self, request: Request, name: str, tag: str) -> Response:
        body = await self._text(request)
        box = self._find(name, tag)
        if box.answer is not None:
            raise HttpError(409, "there is an answer to this offer already")
        box.answer, box.free_at = body, math.inf
        box.wake()
        return Response(204)

    async def _give_answer(self, request: Request, name: str, tag: str) -> Response:
        box = self._find(name, tag)
        with trio.move_on_after(self._patience(request)):
            while box.answer is None and box.tag == tag and self._boxes.get(name) is box:
                await self._wait(request, name, box)
        box = self._find(name, tag)
        if box.answer is None:
            return Response(204)
        return Response(200, box.answer, [("Content-Type", SEALED_TYPE)])

    def _patience(self, request: Request) -> float:
        wanted = _WAIT.search(request.header("prefer") or "")
        if wanted is None or self._waiting >= self._max_waiting:
            return 0.0
        return min(float(wanted[1]), self._max_wait)

    async def _wait(self, request: Request, name: str, box: _Mailbox) -> None:
        """Wait until something has changed in a mailbox.

        Raises:
            Disconnected: whoever asked has gone meanwhile.
        """
        self._waiting += 1
        box.waiting += 1
        is_gone = False
        changed = box.changed

        async def watch(scope: trio.CancelScope) -> None:
            nonlocal is_gone
            await request.gone()
            is_gone = True
            scope.cancel()

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch, nursery.cancel_scope)
                await changed.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._waiting -= 1
            box.waiting -= 1
            if self._boxes.get(name) is box:
                self._use(name)
        if is_gone:
            raise Disconnected


def _location(request: Request, name: str, tag: str) -> tuple[str, str]:
    return "Location", f"{request.root}{RENDEZVOUS}{name}/{tag}"
