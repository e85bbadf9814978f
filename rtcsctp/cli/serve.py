"""`rtcsctp serve`: a server for browsers and for `rtcsctp connect`, with a page."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import trio

from rtcsctp.cli.arguments import (
    AddParser,
    Address,
    add_command,
    add_settings,
    positive_size,
    whole_number,
)
from rtcsctp.cli.failure import CommandError, attempt
from rtcsctp.cli.files import Folder
from rtcsctp.cli.interrupt import until_interrupted
from rtcsctp.cli.network import refused
from rtcsctp.cli.output import note, say
from rtcsctp.cli.peers import (
    add_peer_options,
    is_loopback,
    need_http,
    peer_config,
    translation,
)
from rtcsctp.cli.services import Services
from rtcsctp.errors import ConfigError
from rtcsctp.runtime.peer_config import SCTP_OF_PEERS, PeerConfig
from rtcsctp.runtime.serve import Server
from rtcsctp.runtime.serve import serve as serve_peers

__all__ = ["add_parser", "run"]

_MAX_FILE = 1 << 30  # bytes
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")

_EXAMPLES = """\
examples:
  rtcsctp serve --http 127.0.0.1:8080
  rtcsctp serve --http 127.0.0.1:8080 --directory received
  rtcsctp serve --http 0.0.0.0:8080 --udp-port 9000 --token SECRET --stun stun:stun.example.org

Open the URL that it prints in a browser, or give it to rtcsctp connect. A page reads
the token from the end of its URL: http://HOST:PORT/#token=SECRET
"""


def add_parser(add: AddParser) -> None:
    """Add the command to those of `rtcsctp`."""
    parser = add_command(
        add,
        "serve",
        run,
        summary="a WebRTC server, with a page for browsers",
        description="Take WebRTC data channels from browsers and from rtcsctp connect, and echo, "
        "chat, and exchange files with them; HTTP is for signalling, and for a page to try it "
        "with. rtcsctp send and rtcsctp receive find each other here, too (--via). Serves until it "
        "is interrupted: then it takes leave of its peers, and exits with 0; "
        "a second Ctrl-C ends it at once.",
        defaults=SCTP_OF_PEERS,
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "--http",
        required=True,
        type=http_address,
        metavar="ADDR:PORT",
        help="where to listen for HTTP; without ADDR, all IPv4 addresses of this machine",
    )
    parser.add_argument(
        "--udp-port",
        type=whole_number(0, 65_535),
        default=0,
        metavar="N",
        help="the UDP port that all peers share (default: any)",
    )
    parser.add_argument(
        "--directory",
        type=Path,
        metavar="DIR",
        help="let peers put files there, and fetch them; made if it does not exist",
    )
    parser.add_argument(
        "--max-file",
        type=positive_size,
        default=_MAX_FILE,
        metavar="BYTES",
        help="largest file that is taken (default: 1GiB)",
    )
    parser.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="let pages of another origin in, like https://example.org; may be repeated",
    )
    parser.add_argument(
        "--public-address",
        action="append",
        default=[],
        type=translation,
        metavar="PRIVATE=PUBLIC",
        help="an own address, and what it is on the Internet (1:1 NAT); may be repeated",
    )
    parser.add_argument("--lite", action="store_true", help="be an ICE lite agent")
    add_peer_options(parser)
    add_settings(parser)


def http_address(text: str) -> Address:
    """A type for argparse: where to listen."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if port is None or "/" in text or "@" in text or "?" in text or "#" in text:
        raise argparse.ArgumentTypeError(
            f"expected ADDR:PORT, like 127.0.0.1:8080 or [::1]:8080, not {text!r}"
        )
    return Address(host, port)


def run(arguments: argparse.Namespace) -> None:
    """Serve until a signal comes.

    Raises:
        CommandError: an address cannot be listened on, or a folder or certificate not be used.
    """
    need_http()
    config = peer_config(arguments, loopback=is_loopback(arguments.http.host))
    folder = None
    if arguments.directory is not None:
        with attempt(f"use {arguments.directory}"):
            arguments.directory.mkdir(exist_ok=True)
        folder = Folder(arguments.directory, max_size=arguments.max_file)
    trio.run(_serve, arguments, config, Services(folder, say))


async def _serve(arguments: argparse.Namespace, config: PeerConfig, services: Services) -> None:
    async def work() -> None:
        async with trio.open_nursery() as nursery:
            with refused(f"listen on UDP port {arguments.udp_port}"):
                server: Server = await nursery.start(
                    partial(serve_peers, services.handle, config, port=arguments.udp_port)
                )
            await _serve_http(arguments, config, server, nursery)
            await services.ending.wait()
            await services.wait_idle()
            nursery.cancel_scope.cancel()

    await until_interrupted(work, end=services.ending)


async def _serve_http(
    arguments: argparse.Namespace, config: PeerConfig, server: Server, nursery: trio.Nursery
) -> None:
    # The other commands do without what the extra brings.
    from rtcsctp.http import RendezvousApplication, WhipApplication, serve_http  # noqa: PLC0415
    from rtcsctp.http.page import console_page  # noqa: PLC0415

    host, port = arguments.http
    try:
        app = WhipApplication(
            server,
            token=arguments.token,
            ice_servers=config.ice_servers,
            allow_origins=arguments.allow_origin,
            otherwise=RendezvousApplication(token=arguments.token, otherwise=console_page()),
        )
    except ConfigError as error:
        raise CommandError(str(error)) from error
    names = {*_LOCAL_NAMES, host} if is_loopback(host) else None
    with refused(f"listen on {arguments.http}"):
        address: tuple[str, int] = await nursery.start(
            partial(serve_http, app, host or "0.0.0.0", port, hosts=names)
        )
    say(f"listening on http://{Address(*address)}/, UDP port {server.addresses[0][1]}")
    if arguments.token is None and names is None:
        note("everybody who can reach this address can connect; --token asks for a secret")
