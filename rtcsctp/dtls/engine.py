"""What the runtime asks of DTLS, whoever provides it; nothing here knows OpenSSL.

A `DtlsIdentity` is a certificate with its key; it makes one `DtlsEngine` for each peer. An engine
is sans-IO like the other cores: datagrams and times come in, datagrams and events come out. It has
one deadline instead of named timers, as nothing but the handshake ever waits for time.

`rtcsctp.dtls.openssl` is the real one. `rtcsctp.testing.dtls` is a stand-in that lives in virtual
time, for tests of what lies above.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Protocol

import attrs

from rtcsctp.dtls.fingerprint import Fingerprint
from rtcsctp.errors import DtlsError

__all__ = [
    "MAX_PACKET_SIZE",
    "PATIENCE",
    "DtlsEngine",
    "DtlsEvent",
    "DtlsIdentity",
    "DtlsState",
    "DtlsStatistics",
    "HandshakeDone",
    "HandshakeFailed",
    "PeerClosed",
]

MAX_PACKET_SIZE = 16_384
"""The largest packet that fits into one record, in bytes (RFC 6347 4.1.1, RFC 5246 6.2.1)."""

PATIENCE = 10.0
"""Seconds from the first sign of trouble in a handshake (an alert that may be forged, a message
that spoilt it) to the verdict that it has failed. Enough for three losses in a row: 1 + 2 + 4 s."""


class DtlsState(Enum):
    """States of a DTLS transport, with the names of W3C's RTCDtlsTransportState."""

    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"
    FAILED = "failed"


@attrs.frozen(kw_only=True)
class HandshakeDone:
    """The handshake is done and the certificate is one that was announced: packets may go.

    Attributes:
        remote_fingerprint: SHA-256 of the peer's certificate.
        remote_certificate: the certificate itself, in DER.
        cipher: the cipher suite, by IANA's name.
        srtp_profile: the protection profile that was negotiated for media, which this library
            never uses; None if the peer does without.
        version: the protocol version, ``DTLSv1.2``.
    """

    remote_fingerprint: Fingerprint
    remote_certificate: bytes
    cipher: str
    srtp_profile: str | None
    version: str


@attrs.frozen
class HandshakeFailed:
    """There is no connection and there will be none; the engine is in state FAILED.

    Attributes:
        error: why; `FingerprintMismatchError` if the peer is not who was announced.
    """

    error: DtlsError


@attrs.frozen
class PeerClosed:
    """The peer ended the connection; the engine is in state CLOSED, or FAILED after a fatal alert.

    It is the peer, and nobody else: it had the keys.

    Attributes:
        alert: None after an orderly close_notify, else what the fatal alert says.
    """

    alert: str | None = None


DtlsEvent = HandshakeDone | HandshakeFailed | PeerClosed


@attrs.frozen(kw_only=True)
class DtlsStatistics:
    """Counters of one engine, since it was made; W3C RTCTransportStats, as far as it is DTLS."""

    dtls_state: DtlsState
    records_sent: int
    """Records with packets."""
    records_received: int
    """Records that gave a packet."""
    bytes_sent: int
    """Of packets, without DTLS's headers."""
    bytes_received: int
    datagrams_dropped: int
    """Datagrams that are no DTLS, and those that came in a state that has no use for them."""
    records_dropped: int
    """Records cut short, damaged, repeated, or by somebody who does not have the keys."""
    alerts_ignored: int
    """Alerts that nothing protects (W6): anybody can send them."""
    packets_refused: int
    """Packets given to `send` in a wrong state, or empty, or too large for a record."""
    handshakes: int
    """Handshakes begun; more than one if forged or incompatible messages spoilt some."""
    handshake_timeouts: int
    """How often a flight of the handshake was sent again because no answer came."""


class DtlsEngine(Protocol):
    """One DTLS connection: bytes in, bytes out.

    After every call that changes something, drain `poll_event` until it gives None, send what
    `poll_transmit` gives, and look at `deadline`. Nothing that comes from the network raises.
    """

    @property
    def state(self) -> DtlsState:
        """Where the connection is in its life."""

    @property
    def is_client(self) -> bool:
        """Whether this side sends the ClientHello (``a=setup:active``)."""

    @property
    def is_settled(self) -> bool:
        """Whether it is connected, and `poll_event` and `poll_transmit` have nothing."""

    @property
    def overhead(self) -> int:
        """Bytes that `send` adds to a packet: of the worst suite until the handshake is done."""

    @property
    def deadline(self) -> float | None:
        """When `handle_timer` wants to be called, on the clock of `now`; None: it need not be."""

    def start(self, now: float) -> None:
        """Begin: a client makes its ClientHello; a server waits for one. Once is enough."""

    def handle_datagrams(self, batch: Sequence[bytes], now: float) -> list[bytes]:
        """Take datagrams in the order of arrival; gives the packets that were in them.

        A server takes them before `start`, too: the peer may be quicker than we are (W3). No
        packet is given before the handshake is done and the fingerprint is checked; those that
        came early follow then. Packets may come in one call with the event `HandshakeDone`.
        """

    def handle_run(self, data: bytes, size: int, now: float) -> list[bytes]:
        """The same for joined datagrams: each has `size` bytes, or the last fewer."""

    def handle_timer(self, now: float) -> None:
        """Take note of the time; harmless when it is too early."""

    def poll_transmit(self, now: float) -> list[bytes]:
        """Flights of the handshake and alerts, one datagram each; empty when there are no more."""

    def poll_event(self) -> DtlsEvent | None:
        """The next thing that happened, or None."""

    def send(self, packets: Sequence[bytes]) -> list[bytes]:
        """Protect packets: one record in one datagram for each, in order.

        Packets that cannot be sent are left out and counted: all of them unless the state is
        CONNECTED, and empty ones and those above `MAX_PACKET_SIZE`. SCTP sends again what gets
        lost while the transport is not there.
        """

    def close(self, now: float) -> None:
        """End the connection; close_notify is in the next `poll_transmit`. Idempotent."""

    def statistics(self) -> DtlsStatistics:
        """A snapshot of the counters."""


class DtlsIdentity(Protocol):
    """A certificate and its key, and what makes engines that show it."""

    @property
    def fingerprints(self) -> tuple[Fingerprint, ...]:
        """What a description has to announce."""

    @property
    def der(self) -> bytes:
        """The certificate in DER."""

    def engine(
        self, *, client: bool, remote_fingerprints: Sequence[Fingerprint], mtu: int = 1200
    ) -> DtlsEngine:
        """A new engine for one peer.

        Args:
            client: whether this side sends the ClientHello.
            remote_fingerprints: what the peer's description announced.
            mtu: the largest datagram of the handshake in bytes (W4), at least 256. Packets that
                are given to `send` may be of any size.

        Raises:
            ValueError: the mtu is too small for a handshake.
        """
