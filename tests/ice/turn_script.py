"""A TURN server that does as a test tells it, and a client that is stepped against it."""

from __future__ import annotations

import random
from typing import Any

from rtcsctp.ice.candidate import Address
from rtcsctp.ice.servers import IceServer
from rtcsctp.ice.stun import (
    Attribute,
    Method,
    PasswordAlgorithm,
    StunClass,
    StunMessage,
    build,
    encode_address,
    encode_error,
    encode_uint32,
    encode_xor_address,
    long_term_key,
    parse_untrusted,
)
from rtcsctp.ice.turn import TurnClient, TurnEvent

URL = "turn:turn.example.org"
SERVER = ("192.0.2.1", 3478)
MAPPED = ("203.0.113.7", 40000)
RELAYED = ("192.0.2.1", 50000)
RELAYED6 = ("2001:db8::1", 50000)
PEER = ("198.51.100.9", 6000)
PEER6 = ("2001:db8::9", 6000)
Attributes = list[tuple[int, bytes]]


class ScriptedServer:
    """Answers requests as RFC 8656 says, unless told otherwise.

    Attributes:
        requests: all that it got.
        errors: codes to answer with, by method, each used up once.
        silent: methods that it does not answer.
        signs_errors: whether errors carry integrity.
        early: codes to answer with before it asks for credentials, each used up once.
        nonce: set another one and the next request meets 438.
        relayed, also_relayed: addresses that it lends; those of the second kind come first.
        lifetime: that it grants.
    """

    def __init__(self, password: str = "secret", *, sha256: bool = False) -> None:
        self.password = password
        self.sha256 = sha256
        self.realm = "example.org"
        self.nonce = b"obMatJos2wAAAnonce-1" if sha256 else b"nonce-1"
        self.requests: list[StunMessage] = []
        self.indications: list[StunMessage] = []
        self.channel_data: list[bytes] = []
        self.errors: list[tuple[Method, int]] = []
        self.silent: set[Method] = set()
        self.signs_errors = True
        self.early: list[int] = []
        self.alternate: Address | None = None
        self.relayed = RELAYED
        self.also_relayed: list[Address] = []
        self.lifetime = 600

    def key(self) -> bytes:
        algorithm = PasswordAlgorithm.SHA256 if self.sha256 else PasswordAlgorithm.MD5
        return long_term_key("user", self.realm, self.password, algorithm)

    def seen(self) -> list[str]:
        return [Method(message.method).name for message in self.requests]

    def handle(self, data: bytes) -> list[bytes]:
        """The answers to one message."""
        if data[0] >= 0x40:
            self.channel_data.append(data)
            return []
        message = parse_untrusted(data)
        if message.message_class is StunClass.INDICATION:
            self.indications.append(message)
            return []
        self.requests.append(message)
        if Method(message.method) in self.silent:
            return []
        return [self.answer(message)]

    def answer(self, message: StunMessage) -> bytes:
        method = Method(message.method)
        if self.early:
            return self.error(message, self.early.pop(0))
        if not message.has_integrity:
            if self.alternate is not None:
                return self.error(message, 300)
            return self.error(message, 401)
        if message.nonce != self.nonce:
            return self.error(message, 438)
        if not message.check_integrity(self.key()):
            return self.error(message, 401)
        for position, (wanted, code) in enumerate(self.errors):
            if wanted is method:
                del self.errors[position]
                return self.error(message, code, key=self.key() if self.signs_errors else None)
        attributes: Attributes = []
        if method is Method.ALLOCATE:
            identifier = message.transaction_id
            attributes = [
                *(
                    (Attribute.XOR_RELAYED_ADDRESS, encode_xor_address(relayed, identifier))
                    for relayed in (*self.also_relayed, self.relayed)
                ),
                (Attribute.XOR_MAPPED_ADDRESS, encode_xor_address(MAPPED, identifier)),
            ]
        if method in {Method.ALLOCATE, Method.REFRESH}:
            granted = 0 if message.lifetime == 0 else self.lifetime
            attributes.append((Attribute.LIFETIME, encode_uint32(granted)))
        return self.reply(message, StunClass.SUCCESS, attributes, self.key())

    def error(self, message: StunMessage, code: int, key: bytes | None = None) -> bytes:
        attributes: Attributes = [(Attribute.ERROR_CODE, encode_error(code, f"reason {code}"))]
        if code in {401, 438}:
            attributes += [
                (Attribute.REALM, self.realm.encode()),
                (Attribute.NONCE, self.nonce),
            ]
            if self.sha256:
                attributes.append((Attribute.PASSWORD_ALGORITHMS, b"\0\1\0\0\0\2\0\0"))
        if code == 300 and self.alternate is not None:
            attributes.append((Attribute.ALTERNATE_SERVER, encode_address(self.alternate)))
        return self.reply(message, StunClass.ERROR, attributes, key)

    def reply(
        self, message: StunMessage, kind: StunClass, attributes: Attributes, key: bytes | None
    ) -> bytes:
        return build(
            message.method,
            kind,
            message.transaction_id,
            attributes,
            key=key,
            sha256=self.sha256 and key is not None,
        )

    @staticmethod
    def data_indication(data: bytes, peer: Address = PEER) -> bytes:
        identifier = bytes(12)
        attributes: Attributes = [
            (Attribute.XOR_PEER_ADDRESS, encode_xor_address(peer, identifier)),
            (Attribute.DATA, data),
        ]
        return build(Method.DATA, StunClass.INDICATION, identifier, attributes)


class Exchange:
    """A client and its server in virtual time, with no time on the way."""

    def __init__(
        self, server: ScriptedServer | None = None, *, stream: bool = False, **options: Any
    ) -> None:
        self.server = server if server is not None else ScriptedServer()
        self.now = 100.0
        self.is_stream = stream
        self.others: dict[Address, ScriptedServer] = {}
        self.client = TurnClient(
            IceServer(URL, "user", "secret"),
            SERVER,
            stream=stream,
            rng=random.Random(1),
            **options,
        )
        self.events: list[TurnEvent] = []
        self.received: list[tuple[bytes, Address]] = []

    def settle(self) -> None:
        """Let both talk until they have nothing to say."""
        while True:
            while (event := self.client.poll_event()) is not None:
                self.events.append(event)
            batch = self.client.poll_transmit(self.now)
            if not batch:
                return
            server = self.others.get(self.client.address, self.server)
            for data in batch:
                for answer in server.handle(data):
                    self.deliver(answer)

    def deliver(self, data: bytes) -> None:
        if self.is_stream:
            self.received += self.client.handle_stream_untrusted(data, self.now)
        else:
            self.received += self.client.handle_datagrams([data], self.now)

    def run_until(self, end: float) -> None:
        """Fire the client's timers, up to that time."""
        self.settle()
        while self.client.deadline is not None and self.client.deadline <= end:
            self.now = max(self.now, self.client.deadline)
            before = self.client.deadline
            self.client.handle_timer(self.now)
            self.settle()
            assert self.client.deadline != before, "a timer that does nothing"
        self.now = end

    def send(self, *datagrams: bytes, peer: Address = PEER) -> list[bytes]:
        """Send to a peer; what comes out at once is also given to the server."""
        found = self.client.send(datagrams, peer, self.now)
        for data in found:
            self.server.handle(data)
        self.settle()
        return found

    def take_events(self) -> list[TurnEvent]:
        found, self.events = self.events, []
        return found


def allocated(server: ScriptedServer | None = None, **options: Any) -> Exchange:
    """A client with an allocation, whose events are taken."""
    exchange = Exchange(server, **options)
    exchange.client.start(exchange.now)
    exchange.settle()
    assert exchange.client.relayed is not None
    exchange.events.clear()
    return exchange
