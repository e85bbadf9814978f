"""The client side of signalling over HTTP."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator
from urllib.parse import urljoin

import httpx2
import trio

from rtcsctp.errors import DescriptionError
from rtcsctp.http.access import Access, Answer, refused
from rtcsctp.http.application import FRAGMENT_TYPE, SDP_TYPE
from rtcsctp.http.errors import SignallingError
from rtcsctp.http.restart import data_section, describe_restart, fragment_of
from rtcsctp.ice.candidate import Candidate
from rtcsctp.runtime.background import background_tasks
from rtcsctp.runtime.peer import PeerConnection
from rtcsctp.sdp.description import DescriptionType, SessionDescription
from rtcsctp.sdp.fragment import (
    Fragment,
    FragmentSection,
    parse_fragment_untrusted,
    write_fragment,
)

__all__ = ["HttpSession", "connect_http"]

_QUICK = 0.05  # seconds for host candidates, which then need no message of their own
_FAREWELL = 2.0  # seconds that taking leave of a server may take


class HttpSession:
    """What `connect_http` has agreed on with a server.

    Attributes:
        url: the session's; None before the server has made one.
        etag: of the present ICE session; None if the server gave none.
    """

    def __init__(self, peer: PeerConnection, access: Access) -> None:
        """Use `connect_http`."""
        self.url: str | None = None
        self.etag: str | None = None
        self._peer = peer
        self._access = access

    async def restart_ice(self) -> None:
        """Look for a new path, after the network has changed (RFC 9725 4.3.3); data goes on.

        Returns when both sides know each other's candidates.

        Raises:
            SignallingError: the server cannot be asked, or refuses; the old path stays in use.
            SignallingStateError: another exchange is under way.
            trio.ClosedResourceError, ConnectionLost: there is no connection any more.
        """
        peer = self._peer
        remote, local = peer.remote_description, peer.local_description
        assert remote is not None
        assert local is not None
        role = data_section(remote).setup
        if role == "actpass":  # the server had offered: its role is what our answer left it
            role = "passive" if data_section(local).setup == "active" else "active"
        peer.set_local_description(peer.create_offer(ice_restart=True))
        try:
            with trio.move_on_after(peer.config.gathering_timeout):
                await peer.gathering_complete()
            offer = peer.local_description
            assert offer is not None
            answer = await self._patch(write_fragment(fragment_of(offer)), FRAGMENT_TYPE, "*")
            if answer.status != 200 or not answer.is_of(FRAGMENT_TYPE):
                raise refused("restart ICE", answer)
            fragment = parse_fragment_untrusted(answer.text)
            peer.set_remote_description(
                describe_restart(remote, fragment, DescriptionType.ANSWER, setup=role or "active")
            )
        except BaseException as error:
            with contextlib.suppress(trio.ClosedResourceError, trio.BrokenResourceError):
                peer.set_local_description(SessionDescription.rollback())
            if isinstance(error, DescriptionError):
                raise SignallingError(f"cannot restart ICE: {error}") from error
            raise
        self.etag = answer.headers.get("etag", self.etag)

    async def close(self) -> None:
        """Ask the server to forget the session; that it has forgotten it already is fine.

        Raises:
            SignallingError: the server cannot be asked, or refuses.
        """
        if self.url is None:
            return
        answer = await self._access.request("DELETE", self.url)
        if answer.status not in {200, 202, 204, 404, 410}:
            raise refused("end the session", answer)
        self.url = None

    async def _patch(self, body: str, kind: str, tag: str | None) -> Answer:
        assert self.url is not None
        return await self._access.request("PATCH", self.url, body, content_type=kind, if_match=tag)

    def _begun(self, answer: Answer) -> None:
        """A POST was answered.

        Raises:
            SignallingError: other than with a description.
        """
        if answer.status != 201:
            raise refused("connect", answer)
        location = answer.headers.get("location")
        if not location:
            raise SignallingError(f"{answer.url} names no session (Location)")
        self.url = urljoin(answer.url, location)
        self.etag = answer.headers.get("etag")
        if not answer.is_of(SDP_TYPE):
            raise SignallingError(f"{answer.url} answers with no session description")

    async def _offer(self, url: str) -> None:
        """Exchange our offer for an answer, and send what candidates come later."""
        peer = self._peer
        peer.set_local_description(peer.create_offer())
        with trio.move_on_after(_QUICK):
            await peer.gathering_complete()
        offer = peer.local_description
        assert offer is not None
        answer = await self._access.request("POST", url, offer.sdp, content_type=SDP_TYPE)
        self._begun(answer)
        if answer.headers.get("sdp-type", "answer") != "answer":
            raise SignallingError(f"{url} answers our offer with another one")
        peer.set_remote_description(SessionDescription(DescriptionType.ANSWER, answer.text))
        async with background_tasks() as nursery:
            nursery.start_soon(self._trickle, offer)
            await peer.wait_connected()

    async def _trickle(self, offer: SessionDescription) -> None:
        """Send the candidates that the offer does not have (RFC 8838).

        It is an improvement only: a server that takes none, or is gone, is left in peace.
        """
        section = data_section(offer)
        if section.end_of_candidates:
            return
        sent = len(section.candidates)
        number = 0
        with contextlib.suppress(SignallingError):
            async for candidate in self._peer.local_candidates:
                number += 1
                if number > sent and not await self._send_candidates(offer, (candidate,)):
                    return
            await self._send_candidates(offer, (), last=True)

    async def _send_candidates(
        self, offer: SessionDescription, candidates: tuple[Candidate, ...], *, last: bool = False
    ) -> bool:
        """Whether the server takes more."""
        section = data_section(offer)
        part = FragmentSection(
            kind=section.kind, mid=section.mid, candidates=candidates, end_of_candidates=last
        )
        fragment = Fragment(ufrag=section.ufrag, pwd=section.pwd, sections=(part,))
        answer = await self._patch(write_fragment(fragment), FRAGMENT_TYPE, self.etag)
        return 200 <= answer.status < 300

    async def _answer(self, url: str) -> None:
        """Ask for an offer, and answer it."""
        asked = await self._access.request("POST", url)
        self._begun(asked)
        if asked.headers.get("sdp-type") != "offer":
            raise SignallingError(f"{url} makes no offers")
        ours = await self._peer.answer(SessionDescription(DescriptionType.OFFER, asked.text))
        answer = await self._patch(ours.sdp, SDP_TYPE, self.etag)
        if not 200 <= answer.status < 300:
            raise refused("answer", answer)
        self.etag = answer.headers.get("etag", self.etag)
        await self._peer.wait_connected()


async def connect_http(
    url: str,
    peer: PeerConnection,
    *,
    token: str | None = None,
    server_offers: bool = False,
    timeout: float = 15.0,  # noqa: ASYNC109 (of each request, not of the whole)
    tls: ssl.SSLContext | None = None,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> HttpSession:
    """Connect a new peer connection with a server that speaks what `rtcsctp.http` describes.

    Returns when the connection is there. From then on the connection does not need the session,
    other than for `HttpSession.restart_ice`. If it fails or is cancelled, the server is told.

    Args:
        url: of the endpoint.
        peer: a connection that was not used yet.
        token: the bearer token that the server wants.
        server_offers: let the server make the offer, rather than the peer.
        timeout: seconds that the server may take for each answer.
        tls: which certificates are trusted; by default, those that the system trusts.
        transport: carries the requests instead of TCP, as `httpx2.ASGITransport` does in tests.

    Raises:
        SignallingError: the server cannot be reached, refuses (`SignallingRefusedError`), or
            answers with something else.
        ConnectionLost: there is no path to the peer, or DTLS failed.
        trio.ClosedResourceError: the peer connection was closed here.
    """
    access = Access(token=token, timeout=timeout, tls=tls, transport=transport)
    session = HttpSession(peer, access)
    async with _told(session):
        try:
            await (session._answer(url) if server_offers else session._offer(url))  # noqa: SLF001
        except DescriptionError as error:
            raise SignallingError(f"{url} sent a description that is no use: {error}") from error
    return session


@contextlib.asynccontextmanager
async def _told(session: HttpSession) -> AsyncIterator[None]:
    """If the block fails, the server need not wait for us."""
    try:
        yield
    except BaseException:
        with (
            trio.CancelScope(shield=True, deadline=trio.current_time() + _FAREWELL),
            contextlib.suppress(SignallingError),
        ):
            await session.close()
        raise
