"""Signalling over HTTP, in the shape of WHIP (RFC 9725), for data channels both ways.

It needs what ``pip install 'rtcsctp[http]'`` brings; ``import rtcsctp`` does not import it.

The map of the folder::

    application.py   `WhipApplication`: the server side, for any ASGI server that runs on Trio …
    server.py        … and `serve_http`, a small HTTP server that is enough for it
    client.py        `connect_http`: the client side
    access.py        requests to a server, and why it did not do as asked
    rendezvous.py    `RendezvousApplication`: mailboxes in which two peers find each other …
    mailbox.py       … and `Mailbox`, the client side of it
    restart.py       descriptions into fragments and back, for ICE restarts
    messages.py      one HTTP request and its response, as ASGI has them
    page.py          `PageApplication`: the files of a page, and page/, the one of `rtcsctp serve`
    errors.py        what a client can meet

What goes over the wire, all of it relative to the endpoint's URL:

=======  ==============  ==================================  =====================================
method   where           request                             answer
=======  ==============  ==================================  =====================================
POST     endpoint        offer, ``application/sdp``          201, our answer; ``Location``, ``ETag``
POST     endpoint        no body, no type                    201, *our offer*, ``SDP-Type: offer``
PATCH    its Location    answer, ``application/sdp``         204: the answer to our offer
PATCH    its Location    candidates, ``If-Match: "etag"``    204
PATCH    its Location    new ufrag and pwd, ``If-Match: *``  200, ours; a new ``ETag``: ICE restart
DELETE   its Location                                        200: the connection is ended
OPTIONS  both                                                204, what may be sent; CORS
=======  ==============  ==================================  =====================================

Candidates and restarts are of type ``application/trickle-ice-sdpfrag`` (RFC 8840 9). The form in
which the server offers is that of the drafts of WHEP, WHIP's sibling for viewers: a POST without a
body asks for an offer, and a PATCH brings the answer. As both directions give 201 with a
description, ``SDP-Type`` says which one it is: ``offer`` or ``answer``.
"""

from __future__ import annotations

from rtcsctp.http.application import WhipApplication
from rtcsctp.http.client import HttpSession, connect_http
from rtcsctp.http.errors import SignallingError, SignallingRefusedError
from rtcsctp.http.mailbox import Mailbox
from rtcsctp.http.page import PageApplication
from rtcsctp.http.rendezvous import RendezvousApplication
from rtcsctp.http.server import serve_http

__all__ = [
    "HttpSession",
    "Mailbox",
    "PageApplication",
    "RendezvousApplication",
    "SignallingError",
    "SignallingRefusedError",
    "WhipApplication",
    "connect_http",
    "serve_http",
]
