"""Requests to a TURN server and their answers: retransmission, credentials, proof of origin.

What a request was for is not known here; its end is handed back as an `Outcome`.
"""

from __future__ import annotations

import random
from collections import deque
from math import inf

from rtcsctp.ice.servers import IceServer
from rtcsctp.ice.stun import StunClass, StunMessage, build, new_transaction_id
from rtcsctp.ice.transactions import Transaction
from rtcsctp.ice.turn_credentials import LongTermCredentials, is_bid_down
from rtcsctp.ice.turn_events import NO_ANSWER
from rtcsctp.ice.turn_requests import Request

__all__ = ["Exchange", "Outcome"]

_MAX_OUTSTANDING = 10  # "a client SHOULD limit itself to ten outstanding transactions"
_MAX_RETRIES = 3  # of one request, for new nonces or realms


class Outcome:
    """The end of a request.

    Attributes:
        request: which one.
        message: the answer that decided; None if there was none to be believed.
        code: 0 for success, or the error code.
        reason: what to tell the user.
    """

    __slots__ = ("code", "message", "reason", "request")

    def __init__(
        self, request: Request, message: StunMessage | None, code: int = 0, reason: str = ""
    ) -> None:
        self.request = request
        self.message = message
        self.code = code
        self.reason = reason


class Exchange:
    """All requests to one server that are not answered yet.

    Attributes:
        outbox: messages to be sent, in order.
        dropped: answers that nobody waits for, or that do not prove who made them.
    """

    __slots__ = (
        "_credentials",
        "_is_stream",
        "_requests",
        "_rng",
        "_server",
        "_software",
        "_waiting",
        "dropped",
        "outbox",
    )

    def __init__(
        self,
        server: IceServer,
        *,
        stream: bool,
        rng: random.Random,
        software: str,
    ) -> None:
        self._server = server
        self._is_stream = stream
        self._rng = rng
        self._software = software.encode()
        self._credentials = LongTermCredentials(server.username, server.password)
        self._requests: dict[bytes, Request] = {}
        self._waiting: deque[Request] = deque()
        self.outbox: list[bytes] = []
        self.dropped = 0

    @property
    def is_signing(self) -> bool:
        """Whether the server has asked for credentials."""
        return self._credentials.key is not None

    def deadline(self) -> float:
        """When to call `handle_timer`; infinity if nothing is on its way."""
        return min((r.deadline for r in self._requests.values()), default=inf)

    def owns_transaction(self, transaction_id: bytes) -> bool:
        """Whether an answer with this transaction id is waited for."""
        return transaction_id in self._requests

    def change_server(self) -> None:
        """Another server: realm and nonce were the first one's, username and password stay."""
        self._credentials = LongTermCredentials(self._server.username, self._server.password)

    def abandon(self) -> None:
        """Forget all requests; their answers will be dropped."""
        self._requests.clear()
        self._waiting.clear()

    def take_output(self) -> list[bytes]:
        """What is to be sent."""
        out = self.outbox
        if out:
            self.outbox = []
        return out

    def ask(self, request: Request, now: float) -> None:
        """Start a transaction for it, or let it wait while there are too many."""
        if len(self._requests) >= _MAX_OUTSTANDING:
            self._waiting.append(request)  # bounded by the permissions and channels there are
            return
        transaction_id = new_transaction_id(self._rng)
        credentials = self._credentials
        message = build(
            request.method,
            StunClass.REQUEST,
            transaction_id,
            request.attributes(transaction_id, software=self._software) + credentials.attributes(),
            key=credentials.key,
            fingerprint=False,
            sha256=credentials.uses_sha256,
        )
        transaction = Transaction(message, transaction_id, now, stream=self._is_stream)
        request.begin(transaction, credentials.key)
        self._requests[transaction_id] = request
        first = transaction.next(now)
        assert first is not None
        self.outbox.append(first)

    def start_waiting(self, now: float) -> None:
        """Start requests that had to wait, as far as there is room."""
        while self._waiting and len(self._requests) < _MAX_OUTSTANDING:
            self.ask(self._waiting.popleft(), now)

    def handle_timer(self, now: float) -> list[Outcome]:
        """Retransmit what is due; gives the requests that nobody has answered."""
        found = []
        for request in list(self._requests.values()):
            transaction = request.transaction
            assert transaction is not None
            again = transaction.next(now)
            if again is not None:
                self.outbox.append(again)
            elif transaction.has_failed:
                del self._requests[transaction.transaction_id]
                code, reason = request.unproven or (NO_ANSWER, "it does not answer")
                found.append(Outcome(request, None, code, reason))
        return found

    def handle_answer(self, message: StunMessage, now: float) -> Outcome | None:
        """Take a response; gives the end of its request, if it is the end."""
        request = self._requests.get(message.transaction_id)
        if request is None or message.method != request.method:
            self.dropped += 1
            return None
        code, reason = 0, ""
        if message.message_class is StunClass.ERROR:
            code, reason = message.error or (500, "an error without a code")
        if code in {401, 438}:
            # These cannot prove their origin: the server does not know whom to prove it to.
            del self._requests[message.transaction_id]
            return self._answer_challenge(request, message, now)
        if is_bid_down(message):  # "the response MUST be ignored"
            self.dropped += 1
            return None
        if request.key is not None and not message.check_integrity(request.key):
            return self._handle_unproven(request, message, code, reason)
        del self._requests[message.transaction_id]
        if code == 0 and message.unknown_required:
            # RFC 8489 6.3.3: "the transaction is considered to have failed"
            return Outcome(request, None, 420, "its answer has attributes that we do not know")
        return Outcome(request, message, code, reason)

    def _handle_unproven(
        self, request: Request, message: StunMessage, code: int, reason: str
    ) -> Outcome | None:
        """RFC 8489 9.2.5: over UDP it "MUST be discarded, as if it had never been received",
        over a stream it ends the transaction.

        Some servers sign no errors. If nothing better comes, theirs is what the user hears of.
        """
        self.dropped += 1
        problem = (
            code or NO_ANSWER,
            f"{reason or 'an answer'} (it does not prove to know the password)",
        )
        if self._is_stream:
            del self._requests[message.transaction_id]
            return Outcome(request, None, *problem)
        request.unproven = problem
        assert request.transaction is not None
        request.transaction.hasten()
        return None

    def _answer_challenge(
        self, request: Request, message: StunMessage, now: float
    ) -> Outcome | None:
        """401 and 438: ask again with what they have told us, if that can help."""
        code, phrase = message.error or (401, "")
        request.retries += 1
        if request.retries > _MAX_RETRIES:
            return Outcome(request, None, code, f"{phrase} (again and again)")
        if code == 401:
            why = self._credentials.take_challenge(message)
            if why is not None:
                return Outcome(request, None, code, why)
        elif not self._credentials.take_nonce(message):
            return Outcome(request, None, code, f"{phrase} (and no new nonce)")
        self.ask(request, now)
        return None
