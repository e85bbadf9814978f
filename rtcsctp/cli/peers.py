"""What the commands for WebRTC have in common: options of ICE, and how a connection ends."""

from __future__ import annotations

import argparse
import importlib
import ipaddress
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

from rtcsctp.cli.failure import CommandError, attempt
from rtcsctp.cli.output import note
from rtcsctp.dtls.certificate import Certificate
from rtcsctp.errors import CertificateError, ConfigError
from rtcsctp.ice.servers import IceServer
from rtcsctp.runtime.errors import ChannelBroken, ConnectionLost
from rtcsctp.runtime.peer_config import PeerConfig

__all__ = [
    "add_peer_options",
    "is_loopback",
    "load_certificate",
    "need_http",
    "peer_config",
    "secret",
    "told_plainly",
    "translation",
    "way_out",
    "with_public_stun",
]

_EXTRA = ("h11", "httpx2")
_CERTIFICATE_DAYS = 365

_STUN_VARIABLE: Final = "RTCSCTP_STUN"
_PUBLIC_STUN: Final = "stun:stun.cloudflare.com:3478"
"""Run for anybody's use. Asking one is what other programs of this kind do; asking several would
tell more about networks that few have, to more people."""
_PUBLIC_STUN_TIME: Final = 3.0
"""Seconds that our line waits for it: where there is no Internet, it will not answer."""


def need_http() -> None:
    """Make sure that what the extra `http` brings is there.

    Raises:
        CommandError: it is not.
    """
    try:
        importlib.import_module("rtcsctp.http")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise CommandError(
            f"this command needs {error.name}; install it with: pip install 'rtcsctp[http]'"
        ) from error


def add_peer_options(
    parser: argparse.ArgumentParser, *, loopback: str = "--loopback", public_stun: str | None = None
) -> None:
    """The options about ICE and the certificate; `peer_config` reads them.

    Args:
        parser: of the command.
        loopback: the option for the loopback interface, where its usual name is taken.
        public_stun: when a public STUN server is asked without further options ("without --via"),
            if it ever is; see `with_public_stun`.
    """
    parser.add_argument(
        "--token",
        type=secret,
        default=os.environ.get("RTCSCTP_TOKEN"),
        metavar="T",
        help="the secret that clients show to the server; by default, the value of RTCSCTP_TOKEN, "
        "which other users of this machine cannot see in the list of processes",
    )
    stun = parser.add_mutually_exclusive_group()
    default = "" if public_stun is None else f" (default{public_stun}: {_PUBLIC_STUN})"
    stun.add_argument(
        "--stun",
        action="append",
        default=[],
        metavar="URL",
        help=f"a STUN server, like stun:stun.example.org; may be repeated{default}",
    )
    if public_stun is not None:
        stun.add_argument(
            "--no-stun",
            action="store_true",
            help="ask no STUN server; then only computers connect that reach each other directly. "
            "It is told nothing but the address that a question comes from, which it answers with. "
            f"{_STUN_VARIABLE} sets another default, which may be empty",
        )
    parser.add_argument(
        "--turn",
        action="append",
        default=[],
        metavar="URL",
        help="a TURN server, like turn:turn.example.org?transport=udp; may be repeated",
    )
    parser.add_argument("--turn-user", default="", metavar="U", help="user name for --turn")
    parser.add_argument("--turn-password", default="", metavar="P", help="password for --turn")
    parser.add_argument(
        loopback,
        dest="loopback",
        action="store_true",
        help="use the loopback interface too; done anyway where HTTP goes over it",
    )
    parser.add_argument(
        "--certificate",
        type=Path,
        metavar="FILE",
        help="certificate and key (PEM) to be known by; made if there is no such file "
        "(default: new ones each time)",
    )


def secret(text: str) -> str:
    """A type for argparse: what can be in an HTTP header."""
    if not (text and text.isascii() and text.isprintable() and " " not in text):
        raise argparse.ArgumentTypeError("a token has printable ASCII characters, and no blanks")
    return text


def translation(text: str) -> tuple[str, str]:
    """A type for argparse: an own address and what it is on the Internet."""
    own, _, seen = text.partition("=")
    try:
        return str(ipaddress.ip_address(own)), str(ipaddress.ip_address(seen))
    except ValueError:
        reason = f"expected PRIVATE=PUBLIC, two IP addresses, not {text!r}"
        raise argparse.ArgumentTypeError(reason) from None


def peer_config(arguments: argparse.Namespace, *, loopback: bool) -> PeerConfig:
    """The configuration that the options describe; ends the program if they cannot work.

    Args:
        arguments: of `add_peer_options`.
        loopback: whether the other side may be on this machine.

    Raises:
        SystemExit: a URL that is none, or the like.
        CommandError: the certificate cannot be used.
    """
    try:
        servers = [IceServer(url) for url in arguments.stun]
        servers += [
            IceServer(url, arguments.turn_user, arguments.turn_password) for url in arguments.turn
        ]
        certificate = None
        if arguments.certificate is not None:
            certificate = load_certificate(arguments.certificate)
        return PeerConfig(
            ice_servers=servers,
            include_loopback=arguments.loopback or loopback,
            ice_lite=getattr(arguments, "lite", False),
            public_addresses=dict(getattr(arguments, "public_address", ())),
            certificate=certificate,
            sctp=arguments.config,
        )
    except ConfigError as error:
        parser: argparse.ArgumentParser = arguments.parser
        parser.error(str(error))


def with_public_stun(arguments: argparse.Namespace, config: PeerConfig) -> PeerConfig:
    """The configuration, with a public STUN server where the options name none, and want one.

    Most computers are behind routers that translate addresses: without a server that tells them
    the address that they have outside, they find no way to each other.
    """
    url = os.environ.get(_STUN_VARIABLE, _PUBLIC_STUN).strip()
    if not url or arguments.no_stun or arguments.loopback or config.ice_servers:
        return config
    try:
        server = IceServer(url)
    except ConfigError as error:
        parser: argparse.ArgumentParser = arguments.parser
        parser.error(f"{_STUN_VARIABLE}: {error}")
    note(f"asking {server.host} for our address on the Internet (--no-stun: do not)")
    return attrs.evolve(config, ice_servers=[server], gathering_timeout=_PUBLIC_STUN_TIME)


def way_out(config: PeerConfig) -> str:
    """What may help where there is no way to the other side."""
    if not config.ice_servers:
        return (
            "between networks, a STUN server on both sides may help: "
            f"--stun {_PUBLIC_STUN}, or one of your own"
        )
    urls = [one if isinstance(one, str) else one.url for one in config.ice_servers]
    if any(url.lower().startswith("turn") for url in urls):
        return "is UDP let through on both sides?"
    return (
        "are both commands still running, and is UDP let through? Behind some routers, only a "
        "relay helps: --turn URL on one side"
    )


def load_certificate(path: Path) -> Certificate:
    """The certificate of a file, which is made if there is none.

    Raises:
        CommandError: the file cannot be read, written or used.
    """
    try:
        with attempt(f"read {path}"):
            if path.exists():
                return Certificate.from_pem(path.read_bytes())
    except CertificateError as error:
        raise CommandError(f"{path}: {error}") from error
    certificate = Certificate.generate(days=_CERTIFICATE_DAYS)
    with attempt(f"write {path}"):
        # Nobody else may read a private key, not even for the moment until a chmod().
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(certificate.to_pem())
    return certificate


def is_loopback(host: str) -> bool:
    """Whether only this machine can be meant."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def told_plainly() -> Iterator[None]:
    """What ends connections and channels, as a line for the user.

    Raises:
        CommandError: in place of a ConnectionLost or ChannelBroken from inside, grouped or not.
    """
    try:
        yield
    except* (ConnectionLost, ChannelBroken) as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise CommandError(str(error)) from error
