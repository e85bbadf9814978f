"""coturn, the STUN and TURN server, for tests.

One server listens for UDP and TCP on `port`, and for TLS and DTLS on `tls_port` with a certificate
made for it. Debian: coturn.
"""

from __future__ import annotations

import datetime as dt
import functools
import ipaddress
import shutil
import socket
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .namespaces import Host, inside, run_inside
from .peer_process import Child, end_with_stdin
from .requirements import meets, require

#: A Binding request (RFC 8489 section 5) with a transaction id of its own.
_BINDING_REQUEST = bytes.fromhex("000100002112a442") + b"are you here"


def missing() -> str | None:
    """Why coturn cannot be run here, or None."""
    if shutil.which("turnserver") is None:
        return "coturn is not installed (Debian: coturn)"
    return None


def require_coturn() -> None:
    """Skip or fail the test where coturn is missing."""
    meets("coturn")
    require(missing())


def make_certificate(folder: Path, address: str) -> tuple[Path, Path]:
    """A self-signed certificate for an IP address, and its key, as files in the folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "turn.test")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


class Coturn(Child):
    """A TURN server on `address`, in a namespace if one is given; usable inside `async with`.

    Options: `relay_ports`, the first and last port for relayed addresses; `stale_nonce`, after how
    many seconds a nonce is stale (438); `allow_loopback`, whether peers may be on loopback (it
    relays to nobody there otherwise); `software`, whether it tells its name; `options`, any others
    of turnserver. Ports that are not given are free ones.
    """

    def __init__(
        self,
        address: str = "127.0.0.1",
        *,
        host: Host | None = None,
        port: int | None = None,
        tls_port: int | None = None,
        username: str = "user",
        password: str = "password",
        realm: str = "turn.test",
        relay_ports: tuple[int, int] = (49_152, 65_535),
        stale_nonce: int | None = None,
        allow_loopback: bool = True,
        options: tuple[str, ...] = (),
    ) -> None:
        self.address, self.port, self.tls_port = address, port or 0, tls_port or 0
        self.username, self.password, self.realm = username, password, realm
        self.certificate = Path()
        self._files = Path()
        self._options = [
            f"--listening-ip={address}",
            f"--relay-ip={address}",
            f"--min-port={relay_ports[0]}",
            f"--max-port={relay_ports[1]}",
            f"--realm={realm}",
            f"--user={username}:{password}",
            *([f"--stale-nonce={stale_nonce}"] if stale_nonce is not None else []),
            *(["--allow-loopback-peers"] if allow_loopback else []),
            *options,
        ]
        super().__init__([], name="coturn", host=host, log_output=True)

    @property
    def server(self) -> str:
        """The address as it is written in a URL."""
        return f"[{self.address}]" if ":" in self.address else self.address

    @property
    def stun_url(self) -> str:
        return f"stun:{self.server}:{self.port}"

    def turn_url(self, transport: str = "udp") -> str:
        """The URL for "udp", "tcp" or "tls" between client and server."""
        if transport == "tls":
            return f"turns:{self.server}:{self.tls_port}?transport=tcp"
        return f"turn:{self.server}:{self.port}?transport={transport}"

    def ice_server(self, transport: str = "udp") -> dict[str, Any]:
        """What `open(ice_servers=[…])` wants; see webrtc.py."""
        return {
            "urls": self.turn_url(transport),
            "username": self.username,
            "credential": self.password,
        }

    async def _start(self) -> None:
        self._files = Path(tempfile.mkdtemp(prefix="coturn-"))
        try:
            self.certificate, key = make_certificate(self._files, self.address)
            self.port = self.port or await self._free_port()
            self.tls_port = self.tls_port or await self._free_port()
            words = end_with_stdin(
                [
                    "turnserver",
                    "-n",  # no configuration file
                    "--lt-cred-mech",
                    "--fingerprint",
                    "--no-cli",
                    "--log-file=stdout",
                    "--verbose",
                    f"--pidfile={self._files / 'pid'}",
                    f"--userdb={self._files / 'users'}",
                    f"--cert={self.certificate}",
                    f"--pkey={key}",
                    f"--listening-port={self.port}",
                    f"--tls-listening-port={self.tls_port}",
                    *self._options,
                ]
            )
            self.arguments = words if self.host is None else self.host.command(*words)
            await super()._start()
        except BaseException:
            shutil.rmtree(self._files)
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await super().__aexit__(exc_type, exc, traceback)
        finally:
            shutil.rmtree(self._files)

    async def _free_port(self) -> int:
        find = functools.partial(_free_port, self.address)
        return find() if self.host is None else await inside(self.host, find)

    async def _wait_ready(self) -> None:
        try:
            with trio.fail_after(20):
                if self.host is None:
                    await self._wait_answer()
                else:
                    await run_inside(self.host, self._wait_answer)
        except (trio.TooSlowError, ConnectionError) as error:
            raise self.failure("does not answer") from error

    async def _wait_answer(self) -> None:
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        with trio.socket.socket(family, socket.SOCK_DGRAM) as probe:
            await probe.connect((self.address, self.port))
            while True:
                with trio.move_on_after(0.1):
                    try:
                        await probe.send(_BINDING_REQUEST)
                        if (await probe.recv(1500))[8:20] == _BINDING_REQUEST[8:20]:
                            break
                    except ConnectionRefusedError:
                        await trio.sleep(0.05)
                if self.process.returncode is not None:
                    raise ConnectionError("it has ended")
        for port in (self.port, self.tls_port):
            await (await trio.open_tcp_stream(self.address, port)).aclose()


def _free_port(address: str) -> int:
    """A port of this address that was free a moment ago, for UDP and TCP alike."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    while True:
        with (
            socket.socket(family, socket.SOCK_DGRAM) as first,
            socket.socket(family, socket.SOCK_STREAM) as second,
        ):
            first.bind((address, 0))
            port: int = first.getsockname()[1]
            try:
                second.bind((address, port))
            except OSError:
                continue
            return port
