"""The DTLS handshake with OpenSSL, and how it outlives forged messages (W6).

One OpenSSL object serves one attempt. It cannot be copied or wound back, and until the keys are
known one message that it does not like is the end of it, whoever sent that message. Therefore:

- Records that no peer sends at this stage never reach it, alerts among them. An alert that nothing
  protects is only a hint: if the handshake is not done within `PATIENCE`, it is the reason.
- Records of epoch 0 are numbered as they come: one forged record with a high number would push the
  real ones out of the window for replays. (The messages have numbers of their own.)
- A server makes one attempt for each ClientHello (they differ in their randoms), at most
  `MAX_ATTEMPTS`, and gives everything else to all of them. A forged ClientHello makes an attempt
  that never completes, and does not stand in the way of the one that does. Likewise a client that
  begins anew is answered at once.
- A client whose attempt died begins a new one after a second, when answers to the old one are no
  longer on their way; then after two, and so on.
- What a dying object has to say is held back: as a forged message may have been the cause, its
  alert would kill the handshake at the peer, too. It is sent when the handshake has failed for
  good.

What this cannot heal: a peer other than us may have only one attempt, and be beyond its beginning.
"Feed only sources that passed an ICE check" keeps strangers out; this file is for those who can
send from the peer's own address.

OpenSSL's retransmission timer follows the wall clock, starts at one second and doubles (RFC 6347
4.2.4.1). It is asked for the time that is left, which is added to `now`; too early is harmless. A
second is long where connections are set up in milliseconds, and a minute is long for a peer that
comes late. So between OpenSSL's repetitions the last flight is sent again: after `FIRST_RESEND`,
then after twice that, and so on up to `LONGEST_RESEND`. Its records of epoch 0 get new sequence
numbers: a ChangeCipherSpec that came too early was dropped, and would be a replay now. For that,
all records of epoch 0 are numbered here, those that OpenSSL repeats as well. This does not make an
OpenSSL peer send its own flight again (W5); but it is waiting, too, and if it does the same, then
each flight heals by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from OpenSSL import SSL, crypto

from rtcsctp.dtls.engine import PATIENCE
from rtcsctp.dtls.fingerprint import Fingerprint, check_fingerprint
from rtcsctp.dtls.records import (
    ContentType,
    EarlyRecord,
    alert_name,
    early_records_untrusted,
    pack,
    plaintext_alert,
    renumber,
    split_untrusted,
)
from rtcsctp.errors import DtlsError, FingerprintMismatchError

__all__ = [
    "FIRST_RESEND",
    "LONGEST_RESEND",
    "MAX_ATTEMPTS",
    "Handshake",
    "flush",
    "reason_of",
]

FIRST_RESEND: Final = 0.15
LONGEST_RESEND: Final = 5.0
"""Seconds. Chromium begins with 50 ms; ICE's own checks on the same path come every 5 s."""

_FINAL_RESENDS: Final = 10
_FINAL_INTERVAL: Final = 0.1
"""How often the last flight of a server is sent again when it looks as if it got lost, and after
how many seconds at the soonest. No timer guards that flight (RFC 6347 4.2.4), and what calls for it
may be forged; the flight of the peer that does is one datagram or several."""

MAX_ATTEMPTS: Final = 4
"""Of a server, at one time: one for the peer, and three for whoever disturbs."""

_ATTEMPT_RATE: Final = 4.0
_ATTEMPT_BURST: Final = 8.0
"""New attempts per second, and at once. Each costs about a millisecond: a key and a signature."""

_MAX_EARLY_RECORDS: Final = 32
"""Protected records that one attempt is given before it has keys. OpenSSL puts them by in buffers
of 16 kB each; Chromium sends Finished and the first SCTP packets."""

_RESTART_DELAY: Final = 1.0
_CLOSE_NOTIFY: Final = 0
_BAD_CERTIFICATE: Final = 42


def flush(connection: SSL.Connection) -> bytes:
    """What OpenSSL wants to send."""
    try:
        return connection.bio_read(1 << 16)
    except SSL.WantReadError:
        return b""


def reason_of(error: SSL.Error) -> str:
    """The reason in an error of OpenSSL, in its own words."""
    if isinstance(error, SSL.ZeroReturnError):
        return "closed by the peer"
    entries = error.args[0] if error.args else ()
    if isinstance(entries, list | tuple) and entries:
        return str(entries[-1][-1])
    return str(error) or type(error).__name__


class _Attempt:
    """One OpenSSL object.

    Attributes:
        connection: the object.
        client_random: of the ClientHello that it is about, if it is a server's and that is known.
        early: how many protected records it was given.
        has_answered: it liked what came first, and a flight of the handshake came out.
    """

    __slots__ = ("client_random", "connection", "early", "has_answered")

    def __init__(self, connection: SSL.Connection, client_random: bytes | None) -> None:
        self.connection = connection
        self.client_random = client_random
        self.early = 0
        self.has_answered = False


class Handshake:
    """A handshake, from the first message to a connection that is proved to be with the peer.

    Attributes:
        outgoing: datagrams to send; whoever takes them clears the list.
        connection: the result, once there is one: its certificate has been checked.
        certificate: the peer's certificate then, in DER.
        error: why there will be none, once that is so.
        deadline: when `handle_timer` wants to be called.
        dropped, alerts, attempts, timeouts: counters, as in `DtlsStatistics`.
    """

    __slots__ = (
        "_allowance",
        "_allowance_time",
        "_announced",
        "_attempts",
        "_client",
        "_final_resends",
        "_final_time",
        "_flight",
        "_is_credible",
        "_last_words",
        "_make_connection",
        "_mtu",
        "_received",
        "_resend_at",
        "_resend_delay",
        "_restart_at",
        "_restart_delay",
        "_sequence",
        "_trouble",
        "_trouble_time",
        "alerts",
        "attempts",
        "certificate",
        "connection",
        "deadline",
        "dropped",
        "error",
        "outgoing",
        "timeouts",
    )

    def __init__(
        self,
        make_connection: Callable[[], SSL.Connection],
        announced: Sequence[Fingerprint],
        *,
        client: bool,
        mtu: int,
    ) -> None:
        self.outgoing: list[bytes] = []
        self.connection: SSL.Connection | None = None
        self.certificate = b""
        self.error: DtlsError | None = None
        self.deadline: float | None = None
        self.dropped = 0
        self.alerts = 0
        self.attempts = 0
        self.timeouts = 0
        self._make_connection = make_connection
        self._announced = tuple(announced)
        self._client = client
        self._mtu = mtu
        self._attempts: list[_Attempt] = []  # the one that was heard of last is last
        self._flight = b""
        self._sequence = 0
        self._received = 0
        self._resend_at: float | None = None
        self._resend_delay = FIRST_RESEND
        self._final_resends = _FINAL_RESENDS
        self._final_time = 0.0
        self._trouble: DtlsError | None = None
        self._trouble_time = 0.0
        self._is_credible = False
        self._last_words = b""
        self._restart_at: float | None = None
        self._restart_delay = _RESTART_DELAY
        self._allowance = _ATTEMPT_BURST
        self._allowance_time = 0.0

    @property
    def is_over(self) -> bool:
        """Whether there is a result."""
        return self.connection is not None or self.error is not None

    def start(self, now: float) -> None:
        """A client says hello; a server has nothing to do."""
        self._allowance_time = now
        if self._client:
            self._begin(now, None)
        self._set_deadline(now)

    def handle_datagram_untrusted(self, datagram: bytes, now: float) -> None:
        """Take a datagram; see `connection`, `error` and `outgoing` afterwards."""
        if self.is_over:
            return
        records, dropped = early_records_untrusted(datagram, from_client=not self._client)
        self.dropped += dropped
        touched: dict[_Attempt, None] = {}
        for record in records:
            if record.alert is not None:
                self._note_alert(record.alert, now)
                continue
            targets = self._targets(record, now)
            self.dropped += not targets
            data = record.data
            if not record.protected:
                data = renumber(data, self._received)
                self._received += 1
            for attempt in targets:
                attempt.connection.bio_write(data)
                touched[attempt] = None
        for attempt in touched:
            if attempt in self._attempts:  # not crowded out by later ones, and nothing is over
                self._step(attempt, now)
        self._set_deadline(now)

    def handle_timer(self, now: float) -> None:
        """Send a flight again, begin anew, or give up, whichever is due."""
        if self.is_over:
            return
        if self._trouble is not None and now >= self._trouble_time + PATIENCE:
            if self._is_credible:
                self._fail(self._trouble, self._last_words)
                return
            self._trouble = None
        if self._restart_at is not None and now >= self._restart_at:
            self._restart_at = None
            self._begin(now, None)
        elif self._attempts:
            self._resend(now)
            self._retransmit(self._attempts[-1], now)
        self._set_deadline(now)

    def final_flight(self, now: float) -> list[bytes]:
        """Of a server that is done: its last flight again, as the peer seems to miss it."""
        if self._client or self._final_resends == 0 or now < self._final_time + _FINAL_INTERVAL:
            return []
        self._final_resends -= 1
        self._final_time = now
        return self.datagrams(self._flight)

    def datagrams(self, records: bytes) -> list[bytes]:
        """Datagrams with records, those of epoch 0 with sequence numbers that were never used."""
        numbered = []
        for record in split_untrusted(records):
            if record[3] or record[4]:
                numbered.append(record)
            else:
                numbered.append(renumber(record, self._sequence))
                self._sequence += 1
        return pack(numbered, self._mtu)

    def farewell(self) -> list[bytes]:
        """A word for the peer when we do not want to go on, if it may have heard of us."""
        if self.attempts == 0:
            return []
        return self.datagrams(plaintext_alert(_CLOSE_NOTIFY, fatal=False))

    def forget(self) -> None:
        """Let go of what OpenSSL holds; the counters stay."""
        self.connection = None
        self.deadline = None
        self._attempts.clear()
        self._flight = b""

    # ------------------------------------------------------------------------------- attempts

    def _begin(self, now: float, client_random: bytes | None) -> _Attempt:
        connection = self._make_connection()
        connection.set_ciphertext_mtu(self._mtu)  # with OP_NO_QUERY_MTU, or it fails (W4)
        if self._client:
            connection.set_connect_state()
        else:
            connection.set_accept_state()
        attempt = _Attempt(connection, client_random)
        self.certificate = b""
        self.attempts += 1
        self._attempts.append(attempt)
        del self._attempts[:-MAX_ATTEMPTS]
        if self._client:
            self._step(attempt, now)
        return attempt

    def _targets(self, record: EarlyRecord, now: float) -> list[_Attempt]:
        """The attempts that a record is for."""
        if record.is_client_hello:
            attempt = self._attempt_for_hello(record.client_random, now)
            return [] if attempt is None else [attempt]
        if not record.protected:
            return list(self._attempts)
        targets = [item for item in self._attempts if item.early < _MAX_EARLY_RECORDS]
        for attempt in targets:
            attempt.early += 1
        return targets

    def _attempt_for_hello(self, client_random: bytes | None, now: float) -> _Attempt | None:
        """The attempt of a ClientHello, or of a further piece of one; None if we have had enough.

        Only the first piece of a hello tells whose it is. Another piece goes to the attempt that
        was heard of last, or makes one, which the first piece finds and claims: a browser's hello
        spans two datagrams, and they may change places (W2).
        """
        newest = self._attempts[-1] if self._attempts else None
        if client_random is None:
            return newest or self._new_for_hello(None, now)
        for attempt in self._attempts:
            if attempt.client_random == client_random:
                self._attempts.remove(attempt)
                self._attempts.append(attempt)
                return attempt
        if newest is not None and newest.client_random is None:
            newest.client_random = client_random
            return newest
        return self._new_for_hello(client_random, now)

    def _new_for_hello(self, client_random: bytes | None, now: float) -> _Attempt | None:
        elapsed = max(0.0, now - self._allowance_time)
        self._allowance = min(_ATTEMPT_BURST, self._allowance + elapsed * _ATTEMPT_RATE)
        self._allowance_time = now
        if self._allowance < 1.0:
            return None
        self._allowance -= 1.0
        return self._begin(now, client_random)

    def _step(self, attempt: _Attempt, now: float) -> None:
        """Let OpenSSL go on as far as it can."""
        connection = attempt.connection
        done = False
        try:
            connection.do_handshake()
            done = True
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            self._bury(attempt, error, now)
            return
        flight = flush(connection)
        # A client that answers has verified the signature over its own random and the server's
        # key: whoever shows this certificate has its key, and is here. It is time to look at the
        # fingerprint, before that answer goes out: "the endpoint MUST NOT establish the TLS
        # connection" (RFC 8122 5.1). A server knows as much when all is done.
        if done or (self._client and flight):
            # As bytes: `cryptography` is stricter than OpenSSL, and refuses some with ValueError.
            certificate = connection.get_peer_certificate()
            if certificate is not None:
                self.certificate = crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)
            if (done or self.certificate) and not self._is_announced():
                return
        if flight:
            self._put_flight(attempt, flight, now)
        if done:
            self.connection = connection
            self._final_time = now
            self._attempts.clear()

    def _is_announced(self) -> bool:
        """Check the certificate, if there is one yet; False if that was the end."""
        try:
            check_fingerprint(self.certificate, self._announced)
        except FingerprintMismatchError as error:
            self._fail(error, plaintext_alert(_BAD_CERTIFICATE, fatal=True))
            return False
        return True

    def _put_flight(self, attempt: _Attempt, flight: bytes, now: float) -> None:
        self._flight = flight
        self._resend_delay = FIRST_RESEND
        self._resend_at = now + FIRST_RESEND
        self.outgoing += self.datagrams(flight)
        if self.certificate or not self._client:  # more than a hello of our own
            attempt.has_answered = True
            self._trouble = None

    def _resend(self, now: float) -> None:
        """Send the bytes of the last flight once more, if it is time for that."""
        if self._resend_at is not None and now >= self._resend_at:
            self._resend_delay = min(2 * self._resend_delay, LONGEST_RESEND)
            self._resend_at = now + self._resend_delay
            self.outgoing += self.datagrams(self._flight)

    def _retransmit(self, attempt: _Attempt, now: float) -> None:
        """Let OpenSSL send its last flight again, if it thinks that it is time for that."""
        connection = attempt.connection
        try:
            self.timeouts += connection.DTLSv1_handle_timeout()
        except SSL.Error as error:  # after a dozen times
            self._bury(attempt, error, now)
            return
        flight = flush(connection)
        if flight:
            self._flight = flight
            self.outgoing += self.datagrams(flight)

    # ---------------------------------------------------------------------------------- trouble

    def _bury(self, attempt: _Attempt, error: SSL.Error, now: float) -> None:
        """An OpenSSL object died; perhaps of a forgery."""
        self._attempts.remove(attempt)
        words = split_untrusted(flush(attempt.connection))
        self._last_words = b"".join(record for record in words if record[0] == ContentType.ALERT)
        error_of_ours = DtlsError(f"the DTLS handshake failed: {reason_of(error)}")
        self._note_trouble(error_of_ours, now, is_credible=attempt.has_answered)
        if self._client:
            self._restart_at = now + self._restart_delay
            self._restart_delay *= 2

    def _note_alert(self, description: int, now: float) -> None:
        """An alert that nothing protects: perhaps the peer's last word, perhaps not the peer's."""
        self.alerts += 1
        if self._attempts:  # otherwise there is nothing that the peer could have refused
            error = DtlsError(f"the peer refused the DTLS handshake: {alert_name(description)}")
            self._note_trouble(error, now, is_credible=True)

    def _note_trouble(self, error: DtlsError, now: float, *, is_credible: bool) -> None:
        """Remember what may become the reason of failure.

        A first message that kills the attempt that it began may be a stranger's; if it was the
        peer's, it will come again.
        """
        if self._trouble is None:
            self._trouble_time = now
            self._is_credible = is_credible
        else:
            self._is_credible = True
        self._trouble = error

    def _fail(self, error: DtlsError, alerts: bytes) -> None:
        self.error = error
        self._attempts.clear()
        self.outgoing += self.datagrams(alerts)

    def _set_deadline(self, now: float) -> None:
        self.deadline = None
        if self.is_over:
            return
        times = []
        if self._trouble is not None:
            times.append(self._trouble_time + PATIENCE)
        if self._restart_at is not None:
            times.append(self._restart_at)
        if self._attempts:
            if self._resend_at is not None:
                times.append(self._resend_at)
            left = self._attempts[-1].connection.DTLSv1_get_timeout()
            if left is not None:
                times.append(now + left)
        self.deadline = min(times, default=None)
