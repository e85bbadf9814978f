"""What `rtcsctp serve` and `rtcsctp connect` have in common: options, and how a connection ends."""

from __future__ import annotations

import argparse
import importlib
import ipaddress
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rtcsctp.cli.failure import CommandError, attempt
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
]

_EXTRA = ("h11", "httpx2")
_CERTIFICATE_DAYS = 365


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
            f"this command needs {error.name}; install it with: pip install rtcsctp[http]"
        ) from error


def add_peer_options(parser: argparse.ArgumentParser, *, loopback: str = "--loopback") -> None:
    """The options about ICE and the certificate; `peer_config` reads them.

    Args:
        parser: of the command.
        loopback: the option for the loopback interface, where its usual name is taken.
    """
    parser.add_argument(
        "--token",
        type=secret,
        default=os.environ.get("RTCSCTP_TOKEN"),
        metavar="T",
        help="the secret that clients show to the server; by default, the value of RTCSCTP_TOKEN, "
        "which other users of this machine cannot see in the list of processes",
    )
    parser.add_argument(
        "--stun",
        action="append",
        default=[],
        metavar="URL",
        help="a STUN server, like stun:stun.example.org; may be repeated",
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
