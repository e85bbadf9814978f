"""A port on which anybody may connect remembers nobody (RFC 9260 5.1, 5.1.3); pitfalls S48, S58."""

from __future__ import annotations

import random

import pytest

from rtcsctp.sctp.association import Association
from rtcsctp.sctp.config import Config
from rtcsctp.sctp.events import CloseReason, Connected
from rtcsctp.sctp.responder import Responder
from rtcsctp.sctp.state import State
from rtcsctp.sctp.statistics import Drop
from rtcsctp.sctp.wire.causes import Cause
from rtcsctp.sctp.wire.chunks import Init
from rtcsctp.sctp.wire.packet import build
from rtcsctp.sctp.wire.params import Param

from .ladder import (
    PEER_PORT,
    PEER_TAG,
    PEER_TSN,
    PORT,
    Packet,
    abort,
    cookie_ack,
    cookie_echo,
    data,
    decode,
    extensions,
    heartbeat,
    init,
    shutdown_ack,
)
from .measure import weigh


class Client:
    """A scripted client of a responder."""

    def __init__(
        self, responder: Responder, *, port: int = PEER_PORT, tag: int = PEER_TAG, now: float = 50.0
    ) -> None:
        self.responder = responder
        self.port = port
        self.tag = tag
        self.now = now
        self.answer: Init | None = None

    def send(self, *parts: bytes, tag: int) -> tuple[list[Packet], Association | None]:
        packet = build(self.port, PORT, tag, b"".join(parts))
        answers, association = self.responder.handle_datagram_untrusted(packet, self.now)
        return [decode(raw) for raw in answers], association

    def get_cookie(self) -> bytes:
        [packet], association = self.send(init(self.tag, params=extensions()), tag=0)
        assert association is None
        assert (packet.names, packet.destination, packet.tag) == ("INIT_ACK", self.port, self.tag)
        self.answer = packet["INIT_ACK"].as_init()
        cookie = self.answer.find(Param.STATE_COOKIE)
        assert cookie is not None
        return cookie

    def echo(
        self, cookie: bytes, *behind: bytes, tag: int | None = None
    ) -> tuple[list[Packet], Association | None]:
        assert self.answer is not None
        tag = tag if tag is not None else self.answer.initiate_tag
        return self.send(cookie_echo(cookie), *behind, tag=tag)


def make(config: Config | None = None) -> Responder:
    return Responder(config or Config(), local_port=PORT, rng=random.Random(1))


def connect(responder: Responder, port: int = PEER_PORT) -> Association:
    client = Client(responder, port=port)
    answers, association = client.echo(client.get_cookie())
    assert answers == []
    assert association is not None
    return association


def test_handshake() -> None:
    responder = make()
    client = Client(responder)
    cookie = client.get_cookie()
    client.now += 1.0
    answers, association = client.echo(cookie)
    assert answers == []
    assert association is not None
    assert association.state is State.ESTABLISHED
    assert association.poll_event() == Connected()
    assert association.remote_port == PEER_PORT
    [raw] = association.poll_transmit(client.now)  # its own packets are still in it
    packet = decode(raw)
    assert (packet.names, packet.tag) == ("COOKIE_ACK", PEER_TAG)
    association.abort(b"", now=client.now)
    closed = association.closed
    assert closed is not None
    assert closed.elapsed == pytest.approx(1.0)  # from the INIT on, as the cookie says


def test_data_behind_the_cookie_is_in_the_association() -> None:
    client = Client(make())
    _, association = client.echo(client.get_cookie(), data(PEER_TSN, b"early"))
    assert association is not None
    [raw] = association.poll_transmit(client.now)
    assert decode(raw).names == "COOKIE_ACK SACK"
    assert [m.data for m in association.receive(0, now=client.now)] == [b"early"]


def test_many_clients() -> None:
    responder = make()
    clients = [Client(responder, port=1000 + i, tag=i + 1) for i in range(20)]
    cookies = [client.get_cookie() for client in clients]
    tags = set()
    for client, cookie in reversed(list(zip(clients, cookies, strict=True))):
        _, association = client.echo(cookie)
        assert association is not None
        assert association.remote_port == client.port
        assert association.remote_tag == client.tag
        tags.add(association.local_tag)
    assert len(tags) == 20


def test_each_association_is_a_new_one() -> None:
    responder = make()
    first, second = connect(responder, 1), connect(responder, 2)
    assert first is not second
    assert first.local_tag != second.local_tag
    first.abort(b"", now=60.0)
    assert second.state is State.ESTABLISHED


def test_no_state_before_cookie_echo() -> None:
    """Pitfall S48, RFC 9260 5.1 B: "MUST NOT allocate any resources or keep any states"."""
    responder = make()
    client = Client(responder)
    client.get_cookie()
    client.send(data(1), tag=5)
    client.send(heartbeat(bytes(200)), tag=5)
    before = weigh(responder)
    for number in range(3000):
        Client(responder, port=1 + number, tag=1 + number, now=50.0 + number / 100).get_cookie()
        client.send(data(number), tag=5 + number)
    objects, size = weigh(responder)
    # Counters are numbers that grow, and a number may be another object than the one before.
    assert objects - before[0] <= 8
    assert size - before[1] <= 512


def test_an_association_gone_leaves_nothing_in_the_responder() -> None:
    responder = make()
    connect(responder, 1)
    before, _ = weigh(responder)
    for port in range(2, 102):
        connect(responder, port)
    after, _ = weigh(responder)
    assert after - before <= 8


def test_cookie_echo_with_abort_behind_it_leaves_the_port_open() -> None:
    """Everything is valid, and the association is over before it was handed out."""
    responder = make()
    for port in range(1, 5):
        client = Client(responder, port=port)
        answers, association = client.echo(client.get_cookie(), abort())
        assert answers == []  # "MUST NOT respond to any received packet that contains an ABORT"
        assert association is None
    assert connect(responder).state is State.ESTABLISHED


def test_violation_behind_the_cookie_leaves_the_port_open() -> None:
    responder = make()
    client = Client(responder)
    answers, association = client.echo(client.get_cookie(), data(PEER_TSN, b""))
    assert association is None
    assert [packet.names for packet in answers] == ["ABORT"]
    assert answers[0].tag == PEER_TAG
    assert connect(responder).state is State.ESTABLISHED


def test_stale_cookie() -> None:
    client = Client(make(Config(valid_cookie_life=10.0)))
    cookie = client.get_cookie()
    client.now += 10.1
    [packet], association = client.echo(cookie)
    assert association is None
    assert packet.names == "ERROR"
    assert packet.tag == PEER_TAG
    assert packet["ERROR"].as_tlvs()[0][0] == Cause.STALE_COOKIE


def test_forged_cookies_are_silently_discarded() -> None:
    """Pitfall S58, RFC 9260 5.1.5, 2) and 3)."""
    responder = make()
    client = Client(responder)
    cookie = client.get_cookie()
    assert client.answer is not None
    forged = bytearray(cookie)
    forged[20] ^= 1
    for attempt in (bytes(forged), cookie[:-1], cookie + b"\0", b"", bytes(len(cookie))):
        assert client.echo(attempt) == ([], None)
    assert client.echo(cookie, tag=client.answer.initiate_tag ^ 1) == ([], None)
    other = Client(responder, port=PEER_PORT + 1)
    other.answer = client.answer
    assert other.echo(cookie) == ([], None)
    stranger = Client(Responder(Config(), local_port=PORT, rng=random.Random(2)))
    stranger.get_cookie()
    stranger.answer = client.answer
    assert stranger.echo(cookie) == ([], None)
    assert responder.counters.drops[Drop.BAD_COOKIE] == 7
    assert client.echo(cookie)[1] is not None


def test_a_cookie_that_is_replayed_gives_the_same_association_and_not_more() -> None:
    """Whoever keeps the associations gives a repetition to the one that exists: case D there."""
    responder = make()
    client = Client(responder)
    cookie = client.get_cookie()
    _, association = client.echo(cookie)
    assert association is not None
    association.poll_transmit(client.now)
    assert client.answer is not None
    replay = build(PEER_PORT, PORT, client.answer.initiate_tag, cookie_echo(cookie))
    for _ in range(5):
        association.handle_datagrams([replay], client.now)
        [raw] = association.poll_transmit(client.now)
        assert decode(raw).names == "COOKIE_ACK"
    events = []
    while (event := association.poll_event()) is not None:
        events.append(event)
    assert events == [Connected()]


def test_restart_is_known_by_the_association_and_not_by_the_responder() -> None:
    """They share the secret, not the tie-tags: a cookie of the responder restarts nothing."""
    responder = make()
    association = connect(responder)
    client = Client(responder, tag=0x99)
    cookie = client.get_cookie()
    assert client.answer is not None
    packet = build(PEER_PORT, PORT, client.answer.initiate_tag, cookie_echo(cookie))
    tag = association.local_tag
    association.handle_datagrams([packet], 50.0)
    assert association.local_tag == tag
    assert association.remote_tag == PEER_TAG


def test_out_of_the_blue() -> None:
    """RFC 9260 8.4; the table is in test_packets.py."""
    client = Client(make())
    [packet], _ = client.send(data(1), tag=0x1234)
    assert (packet.names, packet.tag, packet["ABORT"].flags) == ("ABORT", 0x1234, 1)
    [packet], _ = client.send(shutdown_ack(), tag=0x1234)
    assert (packet.names, packet["SHUTDOWN_COMPLETE"].flags) == ("SHUTDOWN_COMPLETE", 1)
    for part in (abort(), cookie_ack()):
        assert client.send(part, tag=0x1234) == ([], None)


def test_garbage() -> None:
    responder = make()
    rng = random.Random(5)
    for size in range(200):
        assert responder.handle_datagram_untrusted(rng.randbytes(size), 0.0) == ([], None)
    assert sum(responder.counters.drops.values()) == 200


def test_impossible_init_is_refused() -> None:
    client = Client(make())
    [packet], association = client.send(init(7, a_rwnd=0), tag=0)
    assert association is None
    assert (packet.names, packet.tag) == ("ABORT", 7)


def test_port_out_of_range() -> None:
    for port in (0, 65_536):
        with pytest.raises(ValueError, match="port"):
            Responder(Config(), local_port=port, rng=random.Random(1))


def test_init_ack_is_of_bounded_size() -> None:
    """RFC 9260 12.2.4.1: the answer to an INIT is larger than it; by how much is fixed here."""
    client = Client(make())
    sizes = {}
    for name, params in (
        ("smallest", []),
        ("usual", extensions()),
        ("worst", [(0xC100 + i, b"") for i in range(300)]),
    ):
        initiation = init(params=params)
        [packet], _ = client.send(initiation, tag=0)
        sizes[name] = (12 + len(initiation), len(packet.raw))
    assert sizes["smallest"][0] == 32
    assert sizes["smallest"][1] <= 4.5 * sizes["smallest"][0]
    assert sizes["usual"][1] <= 3.5 * sizes["usual"][0]
    assert sizes["worst"][1] <= 420


def test_abort_is_the_only_answer_that_a_closed_port_gives_to_a_cookie_of_its_past() -> None:
    """An association that has ended is no responder: its cookie is nobody's any more."""
    responder = make()
    client = Client(responder)
    cookie = client.get_cookie()
    _, association = client.echo(cookie)
    assert association is not None
    association.abort(b"", now=client.now)
    association.poll_transmit(client.now)
    assert client.answer is not None
    replay = build(PEER_PORT, PORT, client.answer.initiate_tag, cookie_echo(cookie))
    association.handle_datagrams([replay, build(PEER_PORT, PORT, 0, init())], client.now)
    [raw] = association.poll_transmit(client.now)
    assert decode(raw).names == "ABORT"
    assert association.state is State.CLOSED
    assert association.closed is not None
    assert association.closed.reason is CloseReason.ABORTED_LOCALLY
