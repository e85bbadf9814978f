"""A stand-in for DTLS in virtual time, without cryptography.

OpenSSL's retransmission timer follows the wall clock (W5), so a test in virtual time cannot wait
for it. The engine here has the surface and the habits of the real one: four flights that are sent
again after one second, two, and so on (RFC 6347 4.2.4.1), records with DTLS's headers (RFC 7983
tells them by their first byte), certificates that must be those announced, packets that are dropped
when they are damaged, repeated or forged, and an alert at the end. It protects against accidents
and not against attackers: keys are made of what everybody can read.
"""

from __future__ import annotations

import hashlib
import struct
from collections import deque
from typing import TYPE_CHECKING, Final

from rtcsctp.dtls.engine import (
    MAX_PACKET_SIZE,
    PATIENCE,
    DtlsState,
    DtlsStatistics,
    HandshakeDone,
    HandshakeFailed,
    PeerClosed,
)
from rtcsctp.dtls.fingerprint import Fingerprint, check_fingerprint
from rtcsctp.dtls.records import ContentType, alert_name, plaintext_alert, split_untrusted
from rtcsctp.errors import DtlsError, FingerprintMismatchError

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from rtcsctp.dtls.engine import DtlsEvent

__all__ = ["StandInEngine", "StandInIdentity"]

_HEADER: Final = struct.Struct(">BHHHIH")
"""Type, version, epoch, sequence number (16 and 32 bits), length."""

_FLIGHT: Final = struct.Struct(">B16s16s")
"""Which flight, random of the client, random of the server; a certificate or a tag follows."""

_VERSION: Final = 0xFEFD
_NONCE_SIZE: Final = 8
_TAG_SIZE: Final = 16
_OVERHEAD: Final = _HEADER.size + _NONCE_SIZE + _TAG_SIZE
"""As with AES-GCM: 37."""

_FIRST_TIMEOUT: Final = 1.0
_LONGEST_TIMEOUT: Final = 60.0
_MAX_EARLY: Final = 32
"""Records with packets that are kept until the handshake is done."""

_REPLAY_WINDOW: Final = 64
_CERTIFICATE_SIZE: Final = 300
_MIN_MTU: Final = 512
"""Every flight is one datagram."""

_CLOSE_NOTIFY: Final = 0
_BAD_CERTIFICATE: Final = 42


def _checksum(data: bytes) -> bytes:
    """Against damage on the way: a flight has no key to protect it."""
    return hashlib.blake2b(data, digest_size=_TAG_SIZE).digest()


class StandInIdentity:
    """A certificate that is nothing but random bytes, and its engines.

    Attributes:
        certificate: those bytes.
        fingerprints: what a description has to announce.
    """

    def __init__(self, rng: random.Random) -> None:
        self.certificate: Final = rng.randbytes(_CERTIFICATE_SIZE)
        self.fingerprints: Final = (Fingerprint.of(self.certificate),)
        self._rng: Final = rng

    @property
    def der(self) -> bytes:
        """The same bytes, in place of a certificate in DER."""
        return self.certificate

    def engine(
        self, *, client: bool, remote_fingerprints: Sequence[Fingerprint], mtu: int = 1200
    ) -> StandInEngine:
        """A new engine for one peer; see `rtcsctp.dtls.engine.DtlsIdentity`.

        Raises:
            ValueError: the mtu is below 512.
        """
        if mtu < _MIN_MTU:
            raise ValueError(f"the stand-in needs datagrams of {_MIN_MTU} bytes, not {mtu}")
        return StandInEngine(
            self.certificate, remote_fingerprints, client=client, random=self._rng.randbytes(16)
        )


class StandInEngine:
    """One connection; see `rtcsctp.dtls.engine.DtlsEngine`, whose methods these are.

    ::

        client                              server
          1: random              ------->
                                 <-------    2: both randoms, certificate
          3: …, certificate, tag ------->
                                 <-------    4: …, tag
    """

    def __init__(
        self,
        certificate: bytes,
        announced: Sequence[Fingerprint],
        *,
        client: bool,
        random: bytes,
    ) -> None:
        """Made by `StandInIdentity.engine`."""
        self.is_client: Final = client
        self.overhead: Final = _OVERHEAD
        self.state = DtlsState.NEW
        self._certificate: Final = certificate
        self._announced: Final = tuple(announced)
        self._client_random = random if client else bytes(16)
        self._server_random = bytes(16) if client else random
        self._remote_certificate = b""
        self._key = b""
        self._flight: list[bytes] = []
        self._timeout = _FIRST_TIMEOUT
        self._resend_at: float | None = None
        self._refusal: tuple[float, DtlsError] | None = None
        self._early: list[bytes] = []
        self._sequence = 0
        self._highest = -1
        self._seen = 0
        self._outgoing: list[bytes] = []
        self._events: deque[DtlsEvent] = deque()
        self._records_sent = 0
        self._records_received = 0
        self._bytes_sent = 0
        self._bytes_received = 0
        self._datagrams_dropped = 0
        self._records_dropped = 0
        self._alerts_ignored = 0
        self._packets_refused = 0
        self._handshakes = 0
        self._handshake_timeouts = 0

    # --------------------------------------------------------------------------------- getters

    @property
    def is_settled(self) -> bool:
        """Whether it is connected, and there is nothing to poll."""
        return self.state is DtlsState.CONNECTED and not self._events and not self._outgoing

    @property
    def deadline(self) -> float | None:
        """When `handle_timer` wants to be called, or None."""
        if self.state is not DtlsState.CONNECTING:
            return None
        times = [] if self._resend_at is None else [self._resend_at]
        if self._refusal is not None:
            times.append(self._refusal[0])
        return min(times, default=None)

    def poll_event(self) -> DtlsEvent | None:
        """The next thing that happened, or None."""
        return self._events.popleft() if self._events else None

    def poll_transmit(self, now: float) -> list[bytes]:  # noqa: ARG002 - as all cores have it
        """Flights of the handshake and alerts, one datagram each."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def statistics(self) -> DtlsStatistics:
        """A snapshot of the counters."""
        return DtlsStatistics(
            dtls_state=self.state,
            records_sent=self._records_sent,
            records_received=self._records_received,
            bytes_sent=self._bytes_sent,
            bytes_received=self._bytes_received,
            datagrams_dropped=self._datagrams_dropped,
            records_dropped=self._records_dropped,
            alerts_ignored=self._alerts_ignored,
            packets_refused=self._packets_refused,
            handshakes=self._handshakes,
            handshake_timeouts=self._handshake_timeouts,
        )

    # ------------------------------------------------------------------------- life of the engine

    def start(self, now: float) -> None:
        """Begin; without effect if it has begun."""
        if self.state is not DtlsState.NEW:
            return
        self.state = DtlsState.CONNECTING
        if self.is_client:
            self._handshakes = 1
            self._put_flight(1, b"", now)

    def handle_run(self, data: bytes, size: int, now: float) -> list[bytes]:
        """The same for joined datagrams."""
        return self.handle_datagrams(
            [data[at : at + size] for at in range(0, len(data), size)], now
        )

    def handle_timer(self, now: float) -> None:
        """Repeat a flight of the handshake, or give up, if it is time for that."""
        if self.state is not DtlsState.CONNECTING:
            return
        if self._refusal is not None and now >= self._refusal[0]:
            self._fail(self._refusal[1])
        elif self._resend_at is not None and now >= self._resend_at:
            self._handshake_timeouts += 1
            self._timeout = min(2 * self._timeout, _LONGEST_TIMEOUT)
            self._resend_at = now + self._timeout
            self._outgoing += self._flight

    def close(self, now: float) -> None:  # noqa: ARG002 - as all cores have it
        """End the connection, and tell the peer if it may have heard of us."""
        if self.state is DtlsState.CONNECTED:
            self._outgoing.append(self._seal(ContentType.ALERT, bytes((1, _CLOSE_NOTIFY))))
        elif self.state is DtlsState.CONNECTING and self._flight:
            self._outgoing.append(plaintext_alert(_CLOSE_NOTIFY, fatal=False, sequence=1 << 32))
        self.state = DtlsState.CLOSED

    def _fail(self, error: DtlsError) -> None:
        self.state = DtlsState.FAILED
        self._events.append(HandshakeFailed(error))

    # ------------------------------------------------------------------------------ the handshake

    def _put_flight(self, number: int, rest: bytes, now: float) -> None:
        body = _FLIGHT.pack(number, self._client_random, self._server_random) + rest
        body += _checksum(body)
        header = _HEADER.pack(ContentType.HANDSHAKE, _VERSION, 0, 0, number, len(body))
        self._flight = [header + body]
        self._outgoing += self._flight
        self._timeout = _FIRST_TIMEOUT
        self._resend_at = None if number == 4 else now + _FIRST_TIMEOUT

    def _handle_handshake_untrusted(self, body: bytes, now: float) -> None:
        body, checksum = body[:-_TAG_SIZE], body[-_TAG_SIZE:]
        if len(body) < _FLIGHT.size or checksum != _checksum(body):
            self._records_dropped += 1
            return
        number, client_random, server_random = _FLIGHT.unpack_from(body)
        rest = body[_FLIGHT.size :]
        if not self.is_client and number == 1:
            self._handle_hello(client_random, now)
        elif client_random != self._client_random:
            self._records_dropped += 1
        elif self.is_client and number == 2 and self._flight[0][10] == 1:
            self._server_random = server_random
            if self._is_announced(rest):
                self._put_flight(3, self._certificate + self._tag(b"client"), now)
        elif server_random != self._server_random:
            self._records_dropped += 1
        elif not self.is_client and number == 3:
            self._handle_client_finished(rest, now)
        elif self.is_client and number == 4 and self._key and rest == self._tag(b"server"):
            self._connect()
        else:
            self._records_dropped += 1

    def _handle_hello(self, client_random: bytes, now: float) -> None:
        if self.state is not DtlsState.CONNECTING:
            return
        if client_random != self._client_random or not self._flight:
            self._handshakes += 1
            self._client_random = client_random
            self._put_flight(2, self._certificate, now)

    def _handle_client_finished(self, rest: bytes, now: float) -> None:
        if self.state is DtlsState.CONNECTED:  # it missed our last flight
            self._outgoing += self._flight
            return
        if not self._is_announced(rest[:-_TAG_SIZE]):
            return
        if rest[-_TAG_SIZE:] != self._tag(b"client"):
            self._records_dropped += 1
            return
        self._put_flight(4, self._tag(b"server"), now)
        self._connect()

    def _is_announced(self, certificate: bytes) -> bool:
        """Check a certificate; False if that was the end. What it was decides about the keys."""
        try:
            check_fingerprint(certificate, self._announced)
        except FingerprintMismatchError as error:
            self._outgoing.append(plaintext_alert(_BAD_CERTIFICATE, fatal=True, sequence=1 << 32))
            self._fail(error)
            return False
        self._remote_certificate = certificate
        both = (self._certificate, certificate)
        client, server = both if self.is_client else reversed(both)
        material = self._client_random + self._server_random + client + server
        self._key = hashlib.blake2b(material, digest_size=32).digest()
        return True

    def _connect(self) -> None:
        self.state = DtlsState.CONNECTED
        self._events.append(
            HandshakeDone(
                remote_fingerprint=Fingerprint.of(self._remote_certificate),
                remote_certificate=self._remote_certificate,
                cipher="stand-in",
                srtp_profile=None,
                version="DTLSv1.2",
            )
        )

    # --------------------------------------------------------------------------------- datagrams

    def handle_datagrams(self, batch: Sequence[bytes], now: float) -> list[bytes]:
        """Take datagrams in the order of arrival; gives the packets that were in them."""
        if self.state is DtlsState.NEW and not self.is_client:
            self.start(now)
        packets: list[bytes] = []
        for datagram in batch:
            records = split_untrusted(datagram)
            if not records or self.state not in {DtlsState.CONNECTING, DtlsState.CONNECTED}:
                self._datagrams_dropped += 1
                continue
            for record in records:
                self._handle_record_untrusted(record, packets, now)
                if self._early and self.state is DtlsState.CONNECTED:
                    early, self._early = self._early, []
                    for item in early:
                        self._handle_record_untrusted(item, packets, now)
        return packets

    def _handle_record_untrusted(self, record: bytes, packets: list[bytes], now: float) -> None:
        kind, _version, epoch, _high, sequence, _length = _HEADER.unpack_from(record)
        body = record[_HEADER.size :]
        if epoch == 0 and kind == ContentType.HANDSHAKE:
            if self.state in {DtlsState.CONNECTING, DtlsState.CONNECTED}:
                self._handle_handshake_untrusted(body, now)
        elif epoch == 0 and kind == ContentType.ALERT and len(body) == 2:
            self._note_alert(body[1], now)
        elif epoch != 1:
            self._records_dropped += 1
        elif self.state is DtlsState.CONNECTING:
            if len(self._early) < _MAX_EARLY:
                self._early.append(record)
        elif (packet := self._unseal_untrusted(record, sequence)) is None:
            self._records_dropped += 1
        elif kind == ContentType.APPLICATION_DATA:
            self._records_received += 1
            self._bytes_received += len(packet)
            packets.append(packet)
        elif kind == ContentType.ALERT and len(packet) == 2 and packet[1] == _CLOSE_NOTIFY:
            self.close(now)
            self._events.append(PeerClosed())

    def _note_alert(self, description: int, now: float) -> None:
        """Nothing protects it: perhaps the peer's last word, perhaps not the peer's."""
        self._alerts_ignored += 1
        if self._flight and self._refusal is None:
            name = alert_name(description)
            error = DtlsError(f"the peer refused the DTLS handshake: {name}")
            self._refusal = (now + PATIENCE, error)

    # ----------------------------------------------------------------------------------- packets

    def send(self, packets: Sequence[bytes]) -> list[bytes]:
        """Protect packets: one record in one datagram for each, in order."""
        if self.state is not DtlsState.CONNECTED:
            self._packets_refused += len(packets)
            return []
        datagrams = []
        for packet in packets:
            if 0 < len(packet) <= MAX_PACKET_SIZE:
                datagrams.append(self._seal(ContentType.APPLICATION_DATA, packet))
                self._records_sent += 1
                self._bytes_sent += len(packet)
            else:
                self._packets_refused += 1
        return datagrams

    def _tag(self, data: bytes) -> bytes:
        return hashlib.blake2b(data, key=self._key, digest_size=_TAG_SIZE).digest()

    def _protected(self, header: bytes, packet: bytes, *, from_client: bool) -> bytes:
        return self._tag((b"c" if from_client else b"s") + header + packet)

    def _seal(self, kind: int, packet: bytes) -> bytes:
        length = _NONCE_SIZE + len(packet) + _TAG_SIZE
        header = _HEADER.pack(kind, _VERSION, 1, 0, self._sequence, length)
        self._sequence += 1
        tag = self._protected(header, packet, from_client=self.is_client)
        return header + bytes(_NONCE_SIZE) + packet + tag

    def _unseal_untrusted(self, record: bytes, sequence: int) -> bytes | None:
        """The packet; None if the record is damaged, forged, or was there before."""
        header = record[: _HEADER.size]
        nonce = record[_HEADER.size : _HEADER.size + _NONCE_SIZE]
        packet = record[_HEADER.size + _NONCE_SIZE : -_TAG_SIZE]
        if len(record) < _OVERHEAD or any(nonce) or not self._is_new(sequence):
            return None
        if record[-_TAG_SIZE:] != self._protected(header, packet, from_client=not self.is_client):
            return None
        self._mark(sequence)
        return packet

    def _is_new(self, sequence: int) -> bool:
        behind = self._highest - sequence
        return behind < 0 or (behind < _REPLAY_WINDOW and not self._seen >> behind & 1)

    def _mark(self, sequence: int) -> None:
        """Remember a sequence number (RFC 6347 4.1.2.6)."""
        ahead = sequence - self._highest
        if ahead > 0:
            self._seen = (self._seen << ahead | 1) & ((1 << _REPLAY_WINDOW) - 1)
            self._highest = sequence
        else:
            self._seen |= 1 << -ahead
