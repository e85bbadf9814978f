"""DTLS 1.2 by OpenSSL, through pyOpenSSL's memory BIOs.

What is in a memory BIO is a stream of bytes: datagrams that go in or come out are joined, and only
the headers of their records part them (W7). That makes batches cheap: `_BATCH` bytes of packets are
one `bio_read`, and `_BATCH` bytes of records one `bio_write`. OpenSSL reads its BIO into a buffer
of 16 kB and throws away what does not fit. A record whose header is impossible spoils the rest of
that buffer, so such ones are kept out.

After the handshake nothing that lacks the keys has any effect: OpenSSL drops damaged, repeated and
forged records without a word (W12), and so do we with what is not even a record.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Final

from OpenSSL import SSL

from rtcsctp.dtls.certificate import Certificate
from rtcsctp.dtls.engine import (
    MAX_PACKET_SIZE,
    DtlsEvent,
    DtlsState,
    DtlsStatistics,
    HandshakeDone,
    HandshakeFailed,
    PeerClosed,
)
from rtcsctp.dtls.fingerprint import Fingerprint
from rtcsctp.dtls.handshake import Handshake, flush, reason_of
from rtcsctp.dtls.records import (
    DATA_PREFIX,
    HEADER_SIZE,
    MAX_RECORD_SIZE,
    ContentType,
    split_untrusted,
)

__all__ = ["CIPHERS", "SRTP_PROFILES", "OpenSslEngine", "OpenSslIdentity"]

_DTLS_1_2: Final = 0xFEFD

CIPHERS: Final = {
    "ECDHE-ECDSA-AES128-GCM-SHA256": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "ECDHE-RSA-CHACHA20-POLY1305": "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384": "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384": "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
}
"""Forward secrecy and AEAD only, for both kinds of certificates (W11). All stacks have the first,
which RFC 8827 6.5 demands. By OpenSSL's names: IANA's (registry "TLS Cipher Suites")."""

SRTP_PROFILES: Final = b"SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80"
"""There is no media here, but some peers refuse a handshake without ``use_srtp`` (RFC 5764; W1)."""

_OPTIONS: Final = (
    SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION | SSL.OP_NO_QUERY_MTU
)

_MIN_MTU: Final = 256
"""OpenSSL refuses a handshake in smaller datagrams."""

_MAX_OVERHEAD: Final = 37
"""AES-GCM: header 13, explicit nonce 8, tag 16. (ChaCha20-Poly1305: 29.)"""

_BATCH: Final = 8_192
"""Bytes of whole records for one `bio_write` or `bio_read`, unless it is a single one. 16,384 would
be the most, but a BIO keeps for ever the room that it once needed, four of them for each pair of
peers; six packets have nearly all of the gain."""

_READ_SIZE: Final = MAX_PACKET_SIZE
"""For `recv`; with less, a large record would come in pieces."""

_SAME_IN_RUN: Final = (0, 1, 2, 3, 4, 11, 12)
"""Bytes of the header that records of one size have in common: all but the sequence number's."""

_CONNECTED: Final = DtlsState.CONNECTED  # a plain name: members of an enum are looked up slowly

_EPOCH: Final = b"\0\1"
"""In the header of every record after the handshake."""


class OpenSslIdentity:
    """A certificate, and what makes OpenSSL show it.

    Most identities are for one peer only. A context of OpenSSL is a sixth of what a connection
    costs in memory (14 KiB), so the first engine uses the one that is there for all, and tells its
    OpenSSL object of the certificate; a second engine is a sign that there will be many, and from
    it on they share a context that has the certificate. Contexts keep nothing of a connection:
    there are neither sessions nor tickets.

    Attributes:
        certificate: the certificate.
        fingerprints: what a description has to announce.
    """

    __slots__ = ("_context", "_was_used", "certificate", "fingerprints")

    def __init__(
        self, certificate: Certificate, *, key_log: Callable[[bytes], None] | None = None
    ) -> None:
        """Make the context.

        Args:
            certificate: the certificate, with its key.
            key_log: is called with each line of key material in NSS's format, which lays bare all
                that is sent. It must not raise.
        """
        self.certificate = certificate
        self.fingerprints: tuple[Fingerprint, ...] = certificate.fingerprints
        self._context: SSL.Context | None = (
            None if key_log is None else _make_context(certificate, key_log)
        )
        self._was_used = False

    @property
    def der(self) -> bytes:
        """The certificate in DER."""
        return self.certificate.der

    def engine(
        self, *, client: bool, remote_fingerprints: Sequence[Fingerprint], mtu: int = 1200
    ) -> OpenSslEngine:
        """A new engine for one peer; see `rtcsctp.dtls.engine.DtlsIdentity`.

        Raises:
            ValueError: the mtu is below 256.
        """
        if mtu < _MIN_MTU:
            raise ValueError(f"a handshake needs datagrams of {_MIN_MTU} bytes, not {mtu}")
        if self._was_used and self._context is None:
            self._context = _make_context(self.certificate)
        self._was_used = True
        handshake = Handshake(self._connection, remote_fingerprints, client=client, mtu=mtu)
        return OpenSslEngine(handshake, client=client, mtu=mtu)

    def _connection(self) -> SSL.Connection:
        """An OpenSSL object that shows the certificate."""
        if self._context is not None:
            return SSL.Connection(self._context)
        connection = SSL.Connection(_common_context())
        connection.use_certificate(self.certificate.certificate)
        connection.use_privatekey(self.certificate.key)
        return connection


@functools.cache
def _common_context() -> SSL.Context:
    """The context of all identities that have one engine."""
    return _make_context(None)


def _make_context(
    certificate: Certificate | None, key_log: Callable[[bytes], None] | None = None
) -> SSL.Context:
    """All that can be set is set here: a context must not change after its first use (W9)."""
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_min_proto_version(_DTLS_1_2)
    context.set_max_proto_version(_DTLS_1_2)  # a later OpenSSL would offer 1.3 by itself (W8)
    context.set_options(_OPTIONS)
    context.set_cipher_list(":".join(CIPHERS).encode())
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    # Buffers of 16 kB are given back while nothing is in them: most connections are idle.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_tlsext_use_srtp(SRTP_PROFILES)
    if certificate is not None:
        context.use_certificate(certificate.certificate)
        context.use_privatekey(certificate.key)
    if key_log is not None:
        context.set_keylog_callback(lambda _connection, line: key_log(line))
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _accept)
    return context


def _accept(*_arguments: object) -> bool:
    """Let OpenSSL accept any certificate: what decides is the fingerprint, checked later."""
    return True


class OpenSslEngine:
    """One DTLS connection; see `rtcsctp.dtls.engine.DtlsEngine`, whose methods these are.

    What the peer can make it hold: while it shakes hands, `MAX_ATTEMPTS` OpenSSL objects with 32
    records of 16 kB and ten messages of 32 kB each, at worst; afterwards one record.

    Attributes:
        is_client: whether this side sends the ClientHello.
        state: where the connection is in its life.
        overhead: bytes that `send` adds to a packet.
    """

    __slots__ = (
        "_bytes_received",
        "_bytes_sent",
        "_connection",
        "_datagrams_dropped",
        "_events",
        "_handshake",
        "_mtu",
        "_outgoing",
        "_packets_refused",
        "_records_dropped",
        "_records_received",
        "_records_sent",
        "is_client",
        "overhead",
        "state",
    )

    def __init__(self, handshake: Handshake, *, client: bool, mtu: int) -> None:
        """Made by `OpenSslIdentity.engine`."""
        self.is_client = client
        self.state = DtlsState.NEW
        self.overhead = _MAX_OVERHEAD
        self._handshake = handshake
        self._mtu = mtu
        self._connection: SSL.Connection | None = None  # only in CONNECTED
        self._events: list[DtlsEvent] = []  # three at most
        self._outgoing: list[bytes] = []
        self._records_sent = 0
        self._records_received = 0
        self._bytes_sent = 0
        self._bytes_received = 0
        self._datagrams_dropped = 0
        self._records_dropped = 0
        self._packets_refused = 0

    # --------------------------------------------------------------------------------- getters

    @property
    def is_settled(self) -> bool:
        """Whether it is connected, and there is nothing to poll."""
        return self.state is _CONNECTED and not self._events and not self._outgoing

    @property
    def deadline(self) -> float | None:
        """When `handle_timer` wants to be called, or None."""
        return self._handshake.deadline if self.state is DtlsState.CONNECTING else None

    def poll_event(self) -> DtlsEvent | None:
        """The next thing that happened, or None."""
        return self._events.pop(0) if self._events else None

    def poll_transmit(self, now: float) -> list[bytes]:  # noqa: ARG002 - as all cores have it
        """Flights of the handshake and alerts, one datagram each."""
        outgoing = self._outgoing
        if outgoing:
            self._outgoing = []
        return outgoing

    def statistics(self) -> DtlsStatistics:
        """A snapshot of the counters."""
        handshake = self._handshake
        return DtlsStatistics(
            dtls_state=self.state,
            records_sent=self._records_sent,
            records_received=self._records_received,
            bytes_sent=self._bytes_sent,
            bytes_received=self._bytes_received,
            datagrams_dropped=self._datagrams_dropped,
            records_dropped=self._records_dropped + handshake.dropped,
            alerts_ignored=handshake.alerts,
            packets_refused=self._packets_refused,
            handshakes=handshake.attempts,
            handshake_timeouts=handshake.timeouts,
        )

    # ------------------------------------------------------------------------- life of the engine

    def start(self, now: float) -> None:
        """Begin; without effect if it has begun."""
        if self.state is DtlsState.NEW:
            self.state = DtlsState.CONNECTING
            self._handshake.start(now)
            self._settle()

    def handle_timer(self, now: float) -> None:
        """Repeat a flight of the handshake, or give up, if it is time for that."""
        if self.state is DtlsState.CONNECTING:
            self._handshake.handle_timer(now)
            self._settle()

    def close(self, now: float) -> None:  # noqa: ARG002 - as all cores have it
        """End the connection, and tell the peer if it may have heard of us."""
        connection = self._connection
        if connection is not None:
            self._say_goodbye(connection)
        elif self.state is DtlsState.CONNECTING:
            self._outgoing += self._handshake.farewell()
        self._end(DtlsState.CLOSED)

    def _settle(self) -> None:
        """Take what the handshake has for us."""
        handshake = self._handshake
        if handshake.outgoing:
            self._outgoing += handshake.outgoing
            handshake.outgoing = []
        if handshake.error is not None:
            self._end(DtlsState.FAILED)
            self._events.append(HandshakeFailed(handshake.error))
        elif handshake.connection is not None:
            self._connect(handshake.connection)

    def _connect(self, connection: SSL.Connection) -> None:
        certificate = self._handshake.certificate
        cipher = connection.get_cipher_name() or ""
        self._connection = connection
        self.state = DtlsState.CONNECTED
        self.overhead = self._mtu - connection.get_cleartext_mtu()
        self._events.append(
            HandshakeDone(
                remote_fingerprint=Fingerprint.of(certificate),
                remote_certificate=certificate,
                cipher=CIPHERS.get(cipher, cipher),
                srtp_profile=connection.get_selected_srtp_profile().decode("ascii") or None,
                version=connection.get_protocol_version_name(),
            )
        )

    def _end(self, state: DtlsState) -> None:
        self.state = state
        self._connection = None
        self._handshake.forget()

    def _say_goodbye(self, connection: SSL.Connection) -> None:
        try:
            connection.shutdown()
        except SSL.Error:
            return  # it is dead already, and has nothing to say
        self._flush(connection)

    def _flush(self, connection: SSL.Connection) -> None:
        data = flush(connection)
        if data:
            self._outgoing += self._handshake.datagrams(data)

    # --------------------------------------------------------------------------------- datagrams

    def handle_datagrams(self, batch: Sequence[bytes], now: float) -> list[bytes]:
        """Take datagrams in the order of arrival; gives the packets that were in them."""
        packets: list[bytes] = []
        connection = self._connection
        if connection is None:
            batch = self._shake_hands(batch, packets, now)
        elif len(batch) == 1 and _is_data(batch[0]):
            self._open(connection, batch[0], 1, packets)
            return packets
        group: list[bytes] = []
        size = 0
        for datagram in batch:
            length = len(datagram)
            if not _is_data(datagram):
                # Something else than one record of data. Order matters: alerts end the connection.
                if group:
                    self._open_group(group, packets)
                    group = []
                    size = 0
                self._handle_unusual(datagram, packets, now)
                continue
            if size + length > _BATCH and group:
                self._open_group(group, packets)
                group = []
                size = 0
            group.append(datagram)
            size += length
        if group:
            self._open_group(group, packets)
        return packets

    def _shake_hands(
        self, batch: Sequence[bytes], packets: list[bytes], now: float
    ) -> Sequence[bytes]:
        """Feed the handshake as long as it lasts; gives the datagrams that are left over."""
        if self.state is DtlsState.NEW and not self.is_client:
            self.start(now)
        for position, datagram in enumerate(batch):
            if self.state is not DtlsState.CONNECTING:
                self._datagrams_dropped += len(batch) - position
                break
            self._handshake.handle_datagram_untrusted(datagram, now)
            self._settle()
            if self._connection is not None:
                # OpenSSL has kept what came before its time.
                self._read(self._connection, packets)
                return batch[position + 1 :]
        return ()

    def handle_run(self, data: bytes, size: int, now: float) -> list[bytes]:
        """The same for joined datagrams: each has `size` bytes, or the last fewer."""
        if self._connection is None or not _are_data(data, size):
            return self.handle_datagrams(
                [data[at : at + size] for at in range(0, len(data), size)], now
            )
        packets: list[bytes] = []
        view = memoryview(data)
        at, count, length = 0, max(1, _BATCH // size), len(data)
        while at < length and self._connection is not None:
            end = at + count * size
            part = view[at:end]
            self._open(self._connection, part, -(-len(part) // size), packets)
            at = end
        self._datagrams_dropped += max(0, -(-(length - at) // size))
        return packets

    def _open_group(self, records: list[bytes], packets: list[bytes]) -> None:
        """Decrypt records with data, `_BATCH` bytes at most unless it is one."""
        connection = self._connection
        if connection is None:
            self._datagrams_dropped += len(records)
            return
        data = records[0] if len(records) == 1 else b"".join(records)
        self._open(connection, data, len(records), packets)

    def _open(
        self,
        connection: SSL.Connection,
        data: bytes | memoryview,
        count: int,
        packets: list[bytes],
    ) -> None:
        """Decrypt joined records with data."""
        connection.bio_write(data)
        before = len(packets)
        recv, append = connection.recv, packets.append
        try:
            # Once for each record, and not once more: when all of them were good then OpenSSL has
            # nothing left, and to ask would cost an exception and bring back its buffer.
            for _ in range(count):
                append(recv(_READ_SIZE))
        except SSL.WantReadError:
            self._records_dropped += count - (len(packets) - before)
        except SSL.Error as error:
            self._handle_end(connection, error)
        received = packets[before:] if before else packets
        self._records_received += len(received)
        self._bytes_received += sum(map(len, received))

    def _handle_unusual(self, datagram: bytes, packets: list[bytes], now: float) -> None:
        """Take a datagram with several records, with alerts, or with nothing that we know.

        A peer that missed our last flight sends its own again (RFC 6347 4.2.4). OpenSSL answers
        where the Finished in it is a new record; where it is the old one, we do (see `Handshake`).
        """
        connection = self._connection
        records = split_untrusted(datagram)
        if connection is None or not records:
            self._datagrams_dropped += 1
            return
        calls = False
        for record in records:
            if self.state is DtlsState.CONNECTED and record[3:5] == _EPOCH:
                before = len(packets)
                connection.bio_write(record)
                self._read(connection, packets)
                if len(packets) == before and self.state is DtlsState.CONNECTED:
                    self._records_dropped += 1
            else:
                self._records_dropped += 1
                calls = calls or record[0] == ContentType.HANDSHAKE
        if calls and self.state is DtlsState.CONNECTED:
            self._outgoing += self._handshake.final_flight(now)

    def _read(self, connection: SSL.Connection, packets: list[bytes]) -> None:
        """Read until there is no more, and take what OpenSSL has to say to that."""
        before = len(packets)
        try:
            while True:
                packets.append(connection.recv(_READ_SIZE))
        except SSL.WantReadError:
            self._flush(connection)
        except SSL.Error as error:
            self._handle_end(connection, error)
        self._records_received += len(packets) - before
        self._bytes_received += sum(map(len, packets[before:]))

    def _handle_end(self, connection: SSL.Connection, error: SSL.Error) -> None:
        """The peer said close_notify, or a fatal alert; OpenSSL has verified either."""
        if isinstance(error, SSL.ZeroReturnError):
            # "The other party MUST respond with a close_notify alert of its own" (RFC 5246 7.2.1).
            self._say_goodbye(connection)
            self._end(DtlsState.CLOSED)
            self._events.append(PeerClosed())
        else:
            self._flush(connection)
            self._end(DtlsState.FAILED)
            self._events.append(PeerClosed(reason_of(error)))

    # ----------------------------------------------------------------------------------- packets

    def send(self, packets: Sequence[bytes]) -> list[bytes]:
        """Protect packets: one record in one datagram for each, in order."""
        connection = self._connection
        if connection is None:
            self._packets_refused += len(packets)
            return []
        overhead = self.overhead
        write = connection.send
        if len(packets) == 1 and 0 < len(packets[0]) <= MAX_PACKET_SIZE:
            packet = packets[0]
            write(packet)
            self._records_sent += 1
            self._bytes_sent += len(packet)
            return [connection.bio_read(len(packet) + overhead)]
        datagrams: list[bytes] = []
        ends: list[int] = []
        end = 0
        for packet in packets:
            length = len(packet)
            if not 0 < length <= MAX_PACKET_SIZE:  # OpenSSL raises for these
                self._packets_refused += 1
                continue
            if end + length > _BATCH and ends:
                self._take(connection, ends, datagrams)
                ends.clear()
                end = 0
            write(packet)
            end += length + overhead
            ends.append(end)
        if ends:
            self._take(connection, ends, datagrams)
        return datagrams

    def _take(
        self, connection: SSL.Connection, ends: Sequence[int], datagrams: list[bytes]
    ) -> None:
        """Take the records that OpenSSL made, parted where we know that they end."""
        size = ends[-1]
        count = len(ends)
        data = connection.bio_read(size)
        self._records_sent += count
        self._bytes_sent += size - count * self.overhead
        if count == 1:
            datagrams.append(data)
            return
        start = 0
        for end in ends:
            datagrams.append(data[start:end])
            start = end


def _is_data(datagram: bytes) -> bool:
    """Whether a datagram is one record with data, and no larger than there can be."""
    length = len(datagram)
    return (
        datagram.startswith(DATA_PREFIX)
        and HEADER_SIZE < length <= MAX_RECORD_SIZE
        and (datagram[11] << 8 | datagram[12]) == length - HEADER_SIZE
    )


def _are_data(data: bytes, size: int) -> bool:
    """Whether all datagrams of a run are such records.

    They are looked at column by column, as each step of Python costs more than a pass over all.
    """
    if size <= HEADER_SIZE:
        return False
    count, rest = divmod(len(data), size)
    end = count * size
    first = data[:HEADER_SIZE]
    return (
        _is_data(data[:size])
        and all(
            data[column:end:size].count(first[column : column + 1]) == count
            for column in _SAME_IN_RUN
        )
        and (not rest or _is_data(data[end:]))
    )
