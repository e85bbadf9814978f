"""The server side of signalling over HTTP, as an ASGI application.

It has no state of its own. What a session is lies in the `rtcsctp.runtime.serve.Server`, and is
gone from here when it is gone from there; the entity tag of an ICE session is our user fragment,
which changes with each ICE restart and is no secret to who knows the session.

Who may talk to it: everybody who has the token, if there is one. Pages of other origins than our
own are refused unless they are allowed, so that a page somewhere on the Internet cannot talk to a
server on its visitor's computer.
"""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import Collection, Iterator, Sequence

import trio

from rtcsctp.errors import ConfigError, DescriptionError, SignallingStateError
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
from rtcsctp.http.restart import candidates_for, data_section, describe_restart, fragment_of
from rtcsctp.ice.servers import IceServer
from rtcsctp.runtime.errors import ConnectionLost, ServerBusyError
from rtcsctp.runtime.serve import Server, Session
from rtcsctp.sdp.description import DescriptionType, SessionDescription
from rtcsctp.sdp.fragment import Fragment, parse_fragment_untrusted, write_fragment
from rtcsctp.sdp.signalling import SignallingState

__all__ = ["FRAGMENT_TYPE", "SDP_TYPE", "WhipApplication"]

SDP_TYPE = "application/sdp"
FRAGMENT_TYPE = "application/trickle-ice-sdpfrag"

_SESSIONS = "/sessions/"
_ENDPOINT_METHODS = "OPTIONS, POST"
_SESSION_METHODS = "DELETE, OPTIONS, PATCH"
_ACCEPT_POST = ("Accept-Post", SDP_TYPE)
_ACCEPT_PATCH = ("Accept-Patch", f"{FRAGMENT_TYPE}, {SDP_TYPE}")
_EXPOSED = "Accept-Patch, ETag, Link, Location, Retry-After, SDP-Type"
_PREFLIGHT_AGE = "600"  # seconds for which a browser remembers what OPTIONS said


class WhipApplication:
    """Signalling for a `Server`, in the shape of WHIP (RFC 9725); see `rtcsctp.http`.

    An ASGI 3 application for servers that run on Trio, in the same Trio program as the `Server`.
    Requests for "/" (relative to where it is mounted) are for the endpoint; sessions live under
    "/sessions/".

    Refusals have a sentence as their body: 400 a description or fragment that cannot be used; 401
    no token, or a wrong one; 403 a page of another origin; 404 no such session (any more); 405;
    408 and 413 a body that comes too slowly or is too large; 409 not in this state of the session;
    412 and 428 an entity tag that is old or missing; 415 another type; 503 as many peers as
    allowed, with ``Retry-After``.
    """

    def __init__(
        self,
        server: Server,
        *,
        token: str | None = None,
        ice_servers: Sequence[IceServer | str] = (),
        allow_origins: Collection[str] = (),
        otherwise: Application | None = None,
        max_body: int = 128 * 1024,
        body_timeout: float = 10.0,
        retry_after: int = 5,
    ) -> None:
        """
        Args:
            server: takes the peers.
            token: what clients must show, as a bearer token (RFC 6750); None: nothing.
            ice_servers: are recommended to clients (RFC 9725 4.6), with their credentials.
            allow_origins: origins like "https://example.org" whose pages may use this, besides our
                own; "*" for all.
            otherwise: answers GET and HEAD, and what is not ours; like a `PageApplication`.
            max_body: bytes that a request's body may have.
            body_timeout: seconds that it may take.
            retry_after: after so many seconds, a client may try again when there is no room.

        Raises:
            ConfigError: a token that cannot be in a header, or a server that cannot be a link.
        """
        if token is not None and not (token and token.isascii() and token.isprintable()):
            raise ConfigError("a token has printable ASCII characters, at least one")
        self._server = server
        self._token = None if token is None else token.strip().encode()
        self._links = [("Link", _link(server)) for server in ice_servers]
        self._origins = frozenset(origin.rstrip("/") for origin in allow_origins)
        self._otherwise = otherwise
        self._max_body = max_body
        self._body_timeout = body_timeout
        self._retry_after = retry_after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What an ASGI server calls."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        elif scope["type"] == "http":
            await self._handle(scope, receive, send)
        else:
            raise ValueError(f"this application knows no {scope['type']!r}")

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        is_ours = request.path == "/" or request.path.startswith(_SESSIONS)
        if self._otherwise is not None and (request.method in {"GET", "HEAD"} or not is_ours):
            await self._otherwise(scope, receive, send)
            return
        try:
            response = await self._respond(request)
        except HttpError as error:
            response = error.response
        except Disconnected:
            return
        response.headers.append(("Cache-Control", "no-store"))
        response.headers += self._cors(request)
        await request.answer(response, send)

    async def _respond(self, request: Request) -> Response:
        self._check_origin(request)
        if request.path == "/":
            if request.method == "OPTIONS":
                return self._options(request, _ENDPOINT_METHODS, _ACCEPT_POST)
            self._check_token(request)
            if request.method != "POST":
                raise HttpError(405, "the endpoint takes POST", [("Allow", _ENDPOINT_METHODS)])
            return await self._post(request)
        if not request.path.startswith(_SESSIONS):
            raise HttpError(404, "there is nothing here")
        if request.method == "OPTIONS":
            return self._options(request, _SESSION_METHODS, _ACCEPT_PATCH)
        self._check_token(request)
        session = self._server.sessions.get(request.path.removeprefix(_SESSIONS))
        if session is None:
            raise HttpError(404, "there is no such session, or not any more")
        if request.method == "PATCH":
            return await self._patch(request, session)
        if request.method == "DELETE":
            session.close()
            return Response(200)
        raise HttpError(405, "a session takes PATCH and DELETE", [("Allow", _SESSION_METHODS)])

    # ---------------------------------------------------------------------- who may do it

    def _check_token(self, request: Request) -> None:
        if self._token is None:
            return
        scheme, _, shown = (request.header("authorization") or "").partition(" ")
        given = shown.strip().encode("latin-1", "replace")
        if scheme.lower() == "bearer" and hmac.compare_digest(given, self._token):
            return
        problem = ', error="invalid_token"' if shown else ""
        raise HttpError(
            401,
            "the token is wrong" if shown else "a token is needed (Authorization: Bearer …)",
            [("WWW-Authenticate", f'Bearer realm="rtcsctp"{problem}')],
        )

    def _is_allowed(self, origin: str, request: Request) -> bool:
        own = origin.partition("://")[2] == request.header("host")
        return own or "*" in self._origins or origin in self._origins

    def _check_origin(self, request: Request) -> None:
        origin = request.header("origin")
        if origin is not None and not self._is_allowed(origin, request):
            raise HttpError(403, "pages of this origin may not use this server")

    def _cors(self, request: Request) -> list[tuple[str, str]]:
        """What lets a page of another origin read the response (Fetch, 3.2)."""
        origin = request.header("origin")
        if origin is None or not self._is_allowed(origin, request):
            return []
        return [
            ("Access-Control-Allow-Origin", origin),
            ("Access-Control-Expose-Headers", _EXPOSED),
            ("Vary", "Origin"),
        ]

    def _options(self, request: Request, methods: str, accepts: tuple[str, str]) -> Response:
        """The answer to OPTIONS, which needs no token: browsers send none in a preflight."""
        headers = [("Allow", methods), accepts]
        if self._token is None:
            headers += self._links
        if request.header("access-control-request-method") is not None:
            headers += [
                ("Access-Control-Allow-Methods", methods),
                ("Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match"),
                ("Access-Control-Max-Age", _PREFLIGHT_AGE),
            ]
        return Response(204, headers=headers)

    # ------------------------------------------------------------------------- the requests

    async def _text(self, request: Request) -> str:
        body = await request.body(self._max_body, self._body_timeout)
        try:
            return body.decode()
        except UnicodeDecodeError:
            raise HttpError(400, "the body is not UTF-8") from None

    async def _post(self, request: Request) -> Response:
        kind = request.media_type
        if kind not in {None, SDP_TYPE}:
            raise HttpError(415, f"an offer is of type {SDP_TYPE}", [_ACCEPT_POST])
        text = await self._text(request)
        if text and kind is None:
            raise HttpError(415, f"an offer needs its type, {SDP_TYPE}", [_ACCEPT_POST])
        with self._refusals(gone=503):
            if kind is None:
                session = await self._server.offer()
            else:
                offer = SessionDescription(DescriptionType.OFFER, text)
                data_section(offer)  # with nothing to connect, a peer would wait for its end
                session = await self._server.answer(offer)
        description = session.description
        return Response(
            201,
            description.sdp,
            [
                ("Content-Type", SDP_TYPE),
                ("Location", f"{request.root}{_SESSIONS}{session.id}"),
                ("ETag", _entity_tag(description)),
                ("SDP-Type", description.type.value),
                _ACCEPT_PATCH,
                *self._links,
            ],
        )

    async def _patch(self, request: Request, session: Session) -> Response:
        kind = request.media_type
        if kind not in {SDP_TYPE, FRAGMENT_TYPE}:
            wanted = f"candidates are of type {FRAGMENT_TYPE}, an answer is {SDP_TYPE}"
            raise HttpError(415, wanted, [_ACCEPT_PATCH])
        text = await self._text(request)
        with self._refusals(gone=404):
            if kind == SDP_TYPE:
                return self._take_answer(request, session, text)
            return await self._take_fragment(request, session, parse_fragment_untrusted(text))

    def _take_answer(self, request: Request, session: Session, text: str) -> Response:
        if request.header("if-match") is not None:
            self._check_tag(request, session)
        if session.peer.signalling_state is not SignallingState.HAVE_LOCAL_OFFER:
            raise HttpError(409, "there is no offer of ours that waits for an answer")
        answer = SessionDescription(DescriptionType.ANSWER, text)
        data_section(answer)
        session.accept(answer)
        return Response(204, headers=[("ETag", _session_tag(session))])

    async def _take_fragment(
        self, request: Request, session: Session, fragment: Fragment
    ) -> Response:
        wanted = self._check_tag(request, session)
        remote = session.peer.remote_description
        if remote is None or session.peer.signalling_state is not SignallingState.STABLE:
            raise HttpError(409, "the offer has not been answered yet")
        section = data_section(remote)
        if fragment.ufrag not in {None, section.ufrag}:
            if wanted != "*":
                raise HttpError(
                    409, "these candidates are of another ICE session; a restart has If-Match: *"
                )
            return await self._restart(session, remote, fragment)
        candidates, ended = candidates_for(section, fragment)
        for candidate in candidates:
            session.add_ice_candidate(candidate)
        if ended:
            session.add_ice_candidate(None)
        return Response(204, headers=[("ETag", _session_tag(session))])

    @staticmethod
    async def _restart(
        session: Session, remote: SessionDescription, fragment: Fragment
    ) -> Response:
        """An ICE restart (RFC 9725 4.3.3), which the client's next offer would have been."""
        offer = describe_restart(remote, fragment, DescriptionType.OFFER, setup="actpass")
        answer = await session.peer.answer(offer)
        return Response(
            200,
            write_fragment(fragment_of(answer)),
            [("Content-Type", FRAGMENT_TYPE), ("ETag", _entity_tag(answer))],
        )

    def _check_tag(self, request: Request, session: Session) -> str:
        """Whether the request is about the present ICE session; gives its If-Match."""
        wanted = request.header("if-match")
        if wanted is None:
            raise HttpError(428, "If-Match is needed, with the ETag of the ICE session")
        present = _session_tag(session)
        # A strong comparison (RFC 9110 13.1.1); a weak tag, W/"…", matches nothing.
        if wanted != "*" and present not in {tag.strip() for tag in wanted.split(",")}:
            raise HttpError(412, "another ICE session has begun meanwhile", [("ETag", present)])
        return wanted

    @contextlib.contextmanager
    def _refusals(self, *, gone: int) -> Iterator[None]:
        """What the layers below raise, as statuses; `gone` is for a connection that has ended."""
        try:
            yield
        except ServerBusyError as error:
            raise HttpError(503, str(error), [("Retry-After", str(self._retry_after))]) from error
        except DescriptionError as error:
            raise HttpError(400, str(error)) from error
        except SignallingStateError as error:
            raise HttpError(409, str(error)) from error
        except (ConnectionLost, trio.ClosedResourceError) as error:
            raise HttpError(gone, "the connection has ended") from error


def _entity_tag(ours: SessionDescription) -> str:
    """That of an ICE session: characters of user fragments are fine in tags (RFC 9110 8.8.3)."""
    return f'"{data_section(ours).ufrag}"'


def _session_tag(session: Session) -> str:
    description = session.peer.local_description
    return _entity_tag(description if description is not None else session.description)


def _link(server: IceServer | str) -> str:
    """A header that recommends a server (RFC 9725 4.6).

    Raises:
        ConfigError: no server's URL, or credentials that cannot be in a header.
    """
    server = IceServer(server) if isinstance(server, str) else server
    link = f'<{server.url}>; rel="ice-server"'
    if not server.username:
        return link
    for value in (server.username, server.password):
        if not (value.isascii() and value.isprintable()):
            raise ConfigError(f"credentials for {server.url} that cannot be in an HTTP header")
    return (
        f"{link}; username={_quoted(server.username)}; credential={_quoted(server.password)}; "
        'credential-type="password"'
    )


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


async def _live(receive: Receive, send: Send) -> None:
    """ASGI's lifespan: there is nothing to prepare."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return
