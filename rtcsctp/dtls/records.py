r"""Records of DTLS 1.2 (RFC 6347 4.1), and what can be read of the handshake before it is fed.

::

    struct {                                   struct {
      ContentType type;          1 byte          HandshakeType msg_type;     1 byte
      ProtocolVersion version;   2               uint24 length;              3
      uint16 epoch;              2               uint16 message_seq;         2
      uint48 sequence_number;    6               uint24 fragment_offset;     3
      uint16 length;             2               uint24 fragment_length;     3
      opaque fragment[length];                   … the fragment
    } DTLSPlaintext;                           } Handshake;

In epoch 0 nothing is protected: anybody who can send from the peer's address can write such a
record, and an OpenSSL object dies of most that it does not like (W6). So what no peer ever sends at
this stage is sorted out here, before OpenSSL sees it.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

__all__ = [
    "CLIENT_HELLO",
    "DATA_PREFIX",
    "HEADER_SIZE",
    "MAX_RECORD_SIZE",
    "ContentType",
    "EarlyRecord",
    "alert_name",
    "early_records_untrusted",
    "pack",
    "plaintext_alert",
    "renumber",
    "split_untrusted",
]

HEADER_SIZE: Final = 13

MAX_RECORD_SIZE: Final = HEADER_SIZE + 16_384 + 24
"""With the explicit nonce and the tag of AES-GCM."""

DATA_PREFIX: Final = b"\x17\xfe\xfd\x00\x01"
"""How a record with application data begins: DTLS 1.2, epoch 1. There is no renegotiation, so the
epoch never grows."""


class ContentType(IntEnum):
    """What a record has in it (RFC 5246 6.2.1)."""

    CHANGE_CIPHER_SPEC = 20
    ALERT = 21
    HANDSHAKE = 22
    APPLICATION_DATA = 23


# RFC 5246 7.4. HelloRequest and NewSessionTicket are missing, as we ask for neither; Finished is
# missing, as it always comes in epoch 1.
CLIENT_HELLO: Final = 1
_FROM_CLIENT: Final = frozenset({CLIENT_HELLO, 11, 15, 16})
"""ClientHello, Certificate, CertificateVerify, ClientKeyExchange."""
_FROM_SERVER: Final = frozenset({2, 3, 11, 12, 13, 14, 22})
"""ServerHello, HelloVerifyRequest (pion asks for a cookie), Certificate, ServerKeyExchange,
CertificateRequest, ServerHelloDone, CertificateStatus."""

_MAX_MESSAGE: Final = 32_768
"""No handshake message is larger: a certificate with a chain has a few kB. OpenSSL would make
room for 100 kB, for each of ten messages that are ahead of their turn."""
_MAX_MESSAGE_SEQUENCE: Final = 31
"""A handshake has seven messages from either side."""

_RANDOM_OFFSET: Final = HEADER_SIZE + 12 + 2
_RANDOM_END: Final = _RANDOM_OFFSET + 32
"""In a record that begins with a ClientHello: after client_version (RFC 5246 7.4.1.2)."""

_ALERTS: Final = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    22: "record_overflow",
    40: "handshake_failure",
    41: "no_certificate",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    100: "no_renegotiation",
    109: "missing_extension",
    110: "unsupported_extension",
    112: "unrecognized_name",
    116: "certificate_required",
    120: "no_application_protocol",
}


def alert_name(description: int) -> str:
    """The name of an alert (RFC 5246 7.2), or its number if it has none."""
    return _ALERTS.get(description, str(description))


def plaintext_alert(description: int, *, fatal: bool, sequence: int = 0) -> bytes:
    """An alert that nothing protects.

    Args:
        description: which (RFC 5246 7.2).
        fatal: its level.
        sequence: sequence number of the record.
    """
    header = bytes((ContentType.ALERT, 0xFE, 0xFD, 0, 0)) + sequence.to_bytes(6, "big")
    return header + bytes((0, 2, 2 if fatal else 1, description))


def split_untrusted(data: bytes) -> list[bytes]:
    """Cut into records at their headers, up to the first that is not whole, or of no known kind.

    OpenSSL drops the rest of what it was given when one header is impossible, whatever good
    records follow; so those are never joined with others (W7).
    """
    records = []
    start = 0
    size = len(data)
    while size - start >= HEADER_SIZE:
        end = start + HEADER_SIZE + int.from_bytes(data[start + 11 : start + 13], "big")
        if (
            end > size
            or end - start > MAX_RECORD_SIZE
            or not ContentType.CHANGE_CIPHER_SPEC <= data[start] <= ContentType.APPLICATION_DATA
            or data[start + 1] != 0xFE
            or data[start + 2] not in {0xFD, 0xFF}
        ):
            break
        records.append(data[start:end])
        start = end
    return records


def renumber(record: bytes, sequence: int) -> bytes:
    """The same record with another sequence number; only of epoch 0, where nothing vouches for it.

    What has the number of an earlier record is dropped as a replay (RFC 6347 4.1.2.6).
    """
    return record[:5] + sequence.to_bytes(6, "big") + record[11:]


def pack(records: Iterable[bytes], mtu: int) -> list[bytes]:
    """Put records into as few datagrams as hold them, without changing their order."""
    datagrams = []
    current = b""
    for record in records:
        if current and len(current) + len(record) > mtu:
            datagrams.append(current)
            current = b""
        current += record
    if current:
        datagrams.append(current)
    return datagrams


class EarlyRecord:
    """A record that came before the handshake was done.

    Attributes:
        data: all of it.
        protected: it is of epoch 1; OpenSSL will check it once it has the keys.
        alert: its alert description, if it is an alert that nothing protects.
        is_client_hello: it is, or begins with, a piece of a ClientHello …
        client_random: … and that piece is the first, and has this random.
    """

    __slots__ = ("alert", "client_random", "data", "is_client_hello", "protected")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.protected = False
        self.alert: int | None = None
        self.is_client_hello = False
        self.client_random: bytes | None = None


def early_records_untrusted(datagram: bytes, *, from_client: bool) -> tuple[list[EarlyRecord], int]:
    """Read a datagram of the handshake.

    Args:
        datagram: as received.
        from_client: the peer is the client.

    Returns:
        The records that a peer could have sent now, and how many were left out; what cannot even
        be parted into records counts as one.
    """
    records = split_untrusted(datagram)
    kept = []
    for data in records:
        record = EarlyRecord(data)
        if _classify_untrusted(record, from_client=from_client):
            kept.append(record)
    rest = len(datagram) - sum(map(len, records))
    return kept, len(records) - len(kept) + (rest > 0)


def _classify_untrusted(record: EarlyRecord, *, from_client: bool) -> bool:
    """Fill in what kind of record it is; whether it has a use."""
    data = record.data
    epoch = data[3] << 8 | data[4]
    if epoch:
        record.protected = True
        return epoch == 1
    kind = data[0]
    if kind == ContentType.ALERT:
        if len(data) == HEADER_SIZE + 2:
            record.alert = data[14]
        return record.alert is not None
    if kind == ContentType.CHANGE_CIPHER_SPEC:
        return data[HEADER_SIZE:] == b"\x01"
    if kind != ContentType.HANDSHAKE or not _is_handshake_untrusted(data, from_client=from_client):
        return False
    if data[HEADER_SIZE] == CLIENT_HELLO:
        record.is_client_hello = True
        if data[19:22] == b"\0\0\0":  # fragment_offset
            record.client_random = data[_RANDOM_OFFSET:_RANDOM_END]
            # Nobody cuts a hello that early; and whose it is could not be told.
            return len(record.client_random) == 32
    return True


def _is_handshake_untrusted(data: bytes, *, from_client: bool) -> bool:
    """Whether a record has whole pieces of messages of the handshake, and nothing else.

    BoringSSL puts several pieces into one record.
    """
    kinds = _FROM_CLIENT if from_client else _FROM_SERVER
    start = HEADER_SIZE
    size = len(data)
    while start < size:
        if size - start < 12 or data[start] not in kinds:
            return False
        length = int.from_bytes(data[start + 1 : start + 4], "big")
        sequence = data[start + 4] << 8 | data[start + 5]
        offset = int.from_bytes(data[start + 6 : start + 9], "big")
        piece = int.from_bytes(data[start + 9 : start + 12], "big")
        start += 12 + piece
        if (
            start > size
            or offset + piece > length
            or length > _MAX_MESSAGE
            or sequence > _MAX_MESSAGE_SEQUENCE
            or (piece == 0 and length > 0)
        ):
            return False
    return size > HEADER_SIZE
