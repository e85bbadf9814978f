"""A page that belongs to a signalling server: a handful of files, held in memory."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

from rtcsctp.http.messages import HttpError, Receive, Request, Response, Scope, Send

__all__ = ["PageApplication", "console_page"]

_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


class PageApplication:
    """Serves files by their names, and ``index.html`` for "/"; nothing is read while it serves.

    An ASGI application, as `WhipApplication` takes it for `otherwise`. The pages that it serves may
    load nothing from elsewhere (Content-Security-Policy).
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        """
        Args:
            files: by name; the type follows from its end: .css, .html, .js or .svg.
        """
        self._files = {f"/{name}": (_TYPES[name.rpartition(".")[2]], files[name]) for name in files}
        if "index.html" in files:
            self._files["/"] = self._files["/index.html"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What an ASGI server calls."""
        request = Request(scope, receive)
        await request.answer(self._respond(request), send)

    def _respond(self, request: Request) -> Response:
        found = self._files.get(request.path)
        if found is None:
            return HttpError(404, "there is nothing here").response
        if request.method not in {"GET", "HEAD"}:
            allowed = [("Allow", "GET, HEAD")]
            return HttpError(405, "this can be read, and nothing else", allowed).response
        kind, content = found
        headers = [
            ("Content-Type", kind),
            ("Content-Security-Policy", _POLICY),
            ("Cache-Control", "no-cache"),
            ("Referrer-Policy", "no-referrer"),
        ]
        return Response(200, content, headers)


def console_page() -> PageApplication:
    """The page of ``rtcsctp serve``."""
    folder = resources.files("rtcsctp.http").joinpath("page")
    return PageApplication(
        {
            entry.name: entry.read_bytes()
            for entry in folder.iterdir()
            if entry.name.rpartition(".")[2] in _TYPES
        }
    )
