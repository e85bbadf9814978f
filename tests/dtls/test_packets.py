"""Packets over a connection, and its end; pitfalls W7 and W12."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from rtcsctp.dtls.engine import MAX_PACKET_SIZE, DtlsState, HandshakeDone, PeerClosed
from rtcsctp.dtls.openssl import OpenSslEngine
from rtcsctp.dtls.records import (
    alert_name,
    early_records_untrusted,
    pack,
    renumber,
    split_untrusted,
)

from .support import (
    ALICE,
    BOB,
    RawPeer,
    client_and_server,
    connected_pair,
    events_of,
    record,
    shake_hands_with,
)

# ------------------------------------------------------------------------------------ batches


@pytest.mark.parametrize("count", [1, 2, 8, 16, 40])
def test_each_packet_is_one_record_in_one_datagram(count: int) -> None:  # pitfall W7
    a, b = connected_pair()
    rng = random.Random(count)
    packets = [rng.randbytes(rng.randrange(1, 1400)) for _ in range(count)]
    datagrams = a.send(packets)
    assert len(datagrams) == count
    for packet, datagram in zip(packets, datagrams, strict=True):
        assert split_untrusted(datagram) == [datagram]
        assert len(datagram) == len(packet) + a.overhead
    assert b.handle_datagrams(datagrams, 0.0) == packets  # 16 kB of whole records at a time
    assert b.statistics().records_dropped == 0


def test_packets_of_many_sizes_keep_order_and_bounds() -> None:  # pitfall W7
    a, b = connected_pair()
    packets = [bytes([size % 251]) * size for size in (1, 16_384, 1, 8_000, 8_300, 3, 16_383, 2)]
    assert b.handle_datagrams(a.send(packets), 0.0) == packets


def test_datagram_with_several_records() -> None:  # pitfall W7
    a, b = connected_pair()
    packets = [b"%d" % number * 100 for number in range(10)]
    assert b.handle_datagrams([b"".join(a.send(packets))], 0.0) == packets


@pytest.mark.parametrize("size", [1, 1192, 8_000, 9_000, 16_000])
@pytest.mark.parametrize("count", [1, 2, 6, 7, 30])
def test_a_run_is_opened_like_its_datagrams(size: int, count: int) -> None:
    a, b = connected_pair()
    packets = [bytes([number]) * size for number in range(count)]
    if size > 1:
        packets.append(b"shorter")
    run = b"".join(a.send(packets))
    assert b.handle_run(run, size + a.overhead, 0.0) == packets
    assert b.statistics().records_received == len(packets)
    assert b.statistics().bytes_received == sum(map(len, packets))


@given(st.integers(0, 9), st.integers(0, 60), st.integers(1, 255))
def test_a_bad_record_in_a_run_costs_no_other(place: int, at: int, flip: int) -> None:
    a, b = connected_pair()
    packets = [bytes([number]) * 40 for number in range(10)]
    datagrams = a.send(packets)
    datagrams[place] = (
        datagrams[place][:at] + bytes([datagrams[place][at] ^ flip]) + datagrams[place][at + 1 :]
    )
    run = b"".join(datagrams)
    assert b.handle_run(run, len(datagrams[0]), 0.0) == packets[:place] + packets[place + 1 :]
    assert b.state is DtlsState.CONNECTED
    assert b.handle_datagrams(a.send([b"more"]), 0.0) == [b"more"]


def test_an_alert_in_a_run_ends_it() -> None:
    a, b = connected_pair()
    before = a.send([b"12", b"34"])  # records of the size of an alert's
    a.close(0.0)
    run = b"".join([*before, *a.poll_transmit(0.0)])
    assert b.handle_run(run, len(before[0]), 0.0) == [b"12", b"34"]
    assert b.state is DtlsState.CLOSED
    assert b.handle_run(b"".join(before), len(before[0]), 0.0) == []


def test_a_run_before_the_handshake_is_none() -> None:
    _a, b = client_and_server()
    assert b.handle_run(record(23, bytes(40), epoch=1) * 3, 53, 0.0) == []


def test_empty_and_oversized_packets_are_left_out() -> None:  # pitfall W7
    a, b = connected_pair()
    packets = [b"", b"one", b"x" * (MAX_PACKET_SIZE + 1), b"two", b""]
    datagrams = a.send(packets)
    assert b.handle_datagrams(datagrams, 0.0) == [b"one", b"two"]
    assert a.statistics().packets_refused == 3
    assert a.send([b""]) == []
    assert a.send([]) == []


def test_nothing_is_sent_before_the_handshake_or_after_the_end() -> None:
    a, _b = client_and_server()
    assert a.send([b"x", b"y"]) == []
    a.start(0.0)
    assert a.send([b"x"]) == []
    c, d = connected_pair()
    c.close(0.0)
    assert c.send([b"x"]) == []
    assert (a.statistics().packets_refused, c.statistics().packets_refused) == (3, 1)
    assert d.send([b"x"]) != []


def test_packets_may_get_lost_and_change_places() -> None:
    a, b = connected_pair()
    packets = [b"%d" % number for number in range(30)]
    datagrams = a.send(packets)
    assert b.handle_datagrams(datagrams[20:] + datagrams[:10], 0.0) == packets[20:] + packets[:10]


def test_statistics_count_packets() -> None:
    a, b = connected_pair()
    b.handle_datagrams(a.send([b"x" * 10, b"y" * 20]), 0.0)
    sent, received = a.statistics(), b.statistics()
    assert (sent.records_sent, sent.bytes_sent) == (2, 30)
    assert (received.records_received, received.bytes_received) == (2, 30)
    assert received.dtls_state is DtlsState.CONNECTED


# ------------------------------------------------------------------------------- what is dropped


def flip(datagram: bytes, position: int) -> bytes:
    damaged = bytearray(datagram)
    damaged[position] ^= 1
    return bytes(damaged)


BAD: dict[str, Callable[[bytes], bytes]] = {  # pitfall W12
    "empty": lambda _: b"",
    "one byte": lambda _: b"\x17",
    "garbage": lambda _: b"\x17hello, hello, hello",
    "header only": lambda good: good[:13],
    "cut short": lambda good: good[:-1],
    "cut in the header": lambda good: good[:10],
    "too long": lambda good: good + b"x",
    "damaged tag": lambda good: flip(good, -1),
    "damaged nonce": lambda good: flip(good, 14),
    "other sequence number": lambda good: flip(good, 10),
    "other epoch": lambda good: flip(good, 4),
    "later epoch": lambda good: flip(good, 3),
    "other version": lambda good: good[:1] + b"\x03\x03" + good[3:],
    "version of DTLS 1.0": lambda good: good[:2] + b"\xff" + good[3:],
    "other type": lambda good: b"\x15" + good[1:],
    "unknown type": lambda good: b"\x63" + good[1:],
    "empty record": lambda good: good[:11] + b"\0\0",
    "record of 24 bytes": lambda good: good[:11] + b"\0\x18" + bytes(24),
    "record of 65 kB": lambda good: good[:11] + b"\xff\xf0" + bytes(0xFFF0),
    "record of 17 kB": lambda good: good[:11] + b"\x44\0" + bytes(0x4400),
    "STUN": lambda _: b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_datagram_is_dropped_and_its_neighbours_are_not(name: str) -> None:  # pitfall W12
    a, b = connected_pair()
    packets = [b"%d" % number * 100 for number in range(5)]
    datagrams = a.send(packets)
    bad = BAD[name](datagrams[2])
    received = b.handle_datagrams([*datagrams[:2], bad, *datagrams[3:]], 0.0)
    if name == "too long":  # a whole record, and something behind it
        assert received == packets
    else:
        assert received == packets[:2] + packets[3:]
        statistics = b.statistics()
        assert statistics.datagrams_dropped + statistics.records_dropped >= 1
    assert b.state is DtlsState.CONNECTED
    assert b.poll_event() is None
    assert b.handle_datagrams(a.send([b"again"]), 0.0) == [b"again"]


def test_replays_are_dropped() -> None:  # pitfall W12
    a, b = connected_pair()
    datagrams = a.send([b"1", b"2", b"3"])
    assert b.handle_datagrams([*datagrams, *datagrams], 0.0) == [b"1", b"2", b"3"]
    assert b.handle_datagrams(datagrams, 0.0) == []
    assert b.statistics().records_dropped == 6


def test_packets_of_another_connection_are_dropped() -> None:
    a, b = connected_pair()
    c, d = connected_pair()
    assert b.handle_datagrams(c.send([b"x"]), 0.0) == []
    assert d.handle_datagrams(a.send([b"x"]), 0.0) == []


def test_own_packets_that_come_back_are_dropped() -> None:
    a, _b = connected_pair()
    assert a.handle_datagrams(a.send([b"x"] * 3), 0.0) == []


def test_flight_in_the_midst_of_packets() -> None:  # pitfall W5
    # The client missed the last flight, which tells on the server's packets only.
    peer = RawPeer(client=True)
    engine = ALICE.engine(client=False, remote_fingerprints=BOB.fingerprints)
    engine.handle_datagrams(peer.step(), 0.0)
    flight = b"".join(peer.feed(engine.poll_transmit(0.0)))
    engine.handle_datagrams([flight], 0.0)
    peer.feed(engine.poll_transmit(0.0))
    datagrams = []
    for packet in (b"1", b"2", b"3"):
        peer.connection.send(packet)
        datagrams += peer.flush()
    batch = [datagrams[0], flight, datagrams[1], flight + datagrams[2]]
    assert engine.handle_datagrams(batch, 1.0) == [b"1", b"2", b"3"]


@pytest.mark.parametrize("client", [True, False])
def test_renegotiation_is_refused(client: bool) -> None:  # pitfall W11
    # OpenSSL as a client gives up when it is refused, with a fatal alert that is protected.
    peer = RawPeer(client=client)
    engine = ALICE.engine(client=not client, remote_fingerprints=BOB.fingerprints)
    shake_hands_with(engine, peer)
    events_of(engine)
    assert peer.connection.renegotiate()
    for _ in range(3):
        assert engine.handle_datagrams(peer.step(), 0.0) == []
        answer = engine.poll_transmit(0.0)
        assert all(datagram[:5] == b"\x15\xfe\xfd\0\1" for datagram in answer)
        if not answer:
            break
        try:
            peer.feed(answer)
        except SSL.Error:
            engine.handle_datagrams(peer.flush(), 0.0)
            break
    if client:
        (event,) = events_of(engine)
        assert isinstance(event, PeerClosed)
        assert event.alert is not None
        assert "handshake failure" in event.alert
        assert engine.state is DtlsState.FAILED
    else:
        assert engine.state is DtlsState.CONNECTED


# --------------------------------------------------------------------------------------- the end


def test_orderly_end() -> None:
    #  a -> close_notify
    #  a <- close_notify
    a, b = connected_pair()
    last = a.send([b"last"])
    a.close(0.0)
    assert a.state is DtlsState.CLOSED
    (goodbye,) = a.poll_transmit(0.0)
    assert b.handle_datagrams([*last, goodbye, *last], 0.0) == [b"last"]
    assert events_of(b) == [PeerClosed()]
    assert b.state is DtlsState.CLOSED
    assert b.send([b"x"]) == []
    assert len(b.poll_transmit(0.0)) == 1
    assert events_of(a) == []
    assert (a.deadline, b.deadline) == (None, None)


def test_end_as_other_programs_see_it() -> None:
    peer = RawPeer(client=True)
    engine = ALICE.engine(client=False, remote_fingerprints=BOB.fingerprints)
    shake_hands_with(engine, peer)
    engine.close(0.0)
    (goodbye,) = engine.poll_transmit(0.0)
    peer.connection.bio_write(goodbye)
    with pytest.raises(SSL.ZeroReturnError):
        peer.receive()


def test_end_that_other_programs_make() -> None:
    peer = RawPeer(client=False)
    engine = ALICE.engine(client=True, remote_fingerprints=BOB.fingerprints)
    shake_hands_with(engine, peer)
    peer.connection.shutdown()
    engine.handle_datagrams(peer.flush(), 0.0)
    assert [type(event) for event in events_of(engine)] == [HandshakeDone, PeerClosed]


def test_close_twice_is_once() -> None:
    a, _b = connected_pair()
    a.close(0.0)
    a.close(0.0)
    assert len(a.poll_transmit(0.0)) == 1
    assert events_of(a) == []


def test_close_before_the_start_says_nothing() -> None:
    a, b = client_and_server()
    for engine in (a, b):
        engine.close(0.0)
        engine.start(1.0)
        assert engine.state is DtlsState.CLOSED
        assert engine.poll_transmit(1.0) == []
        assert engine.deadline is None
        assert engine.handle_datagrams([b"\x16hello"], 1.0) == []


def test_close_in_the_handshake_tells_the_peer() -> None:
    engine = ALICE.engine(client=False, remote_fingerprints=BOB.fingerprints)
    peer = RawPeer(client=True)
    engine.handle_datagrams(peer.step(), 0.0)
    flight = engine.poll_transmit(0.0)
    engine.close(0.0)
    assert engine.deadline is None
    goodbye = engine.poll_transmit(0.0)
    peer.feed(flight)
    with pytest.raises(SSL.ZeroReturnError):
        peer.feed(goodbye)


def test_datagrams_after_the_end_are_dropped() -> None:
    a, b = connected_pair()
    late = b.send([b"late"])
    a.close(0.0)
    assert a.handle_datagrams(late, 0.0) == []
    assert a.statistics().datagrams_dropped == 1


# --------------------------------------------------------------------------------------- records


def test_joined_datagrams_are_split_at_the_headers() -> None:  # pitfall W7
    records = [record(22, b"x" * size) for size in (1, 100, 16_384)]
    assert split_untrusted(b"".join(records)) == records


def test_split_ends_at_the_first_impossible_record() -> None:  # pitfall W7
    good = record(23, b"x" * 10)
    for bad in (b"\x17" * 20, b"\x16\x03\x03" + good[3:], record(23, b"x" * 16_409)):
        assert split_untrusted(good + bad + good) == [good]
    for size in range(len(good)):
        assert split_untrusted(good + good[:size]) == [good]


def test_records_are_packed_into_few_datagrams() -> None:
    records = [record(22, b"x" * size) for size in (87, 387, 487, 200, 1200)]
    datagrams = pack(records, 600)
    assert [len(datagram) for datagram in datagrams] == [500, 500, 213, 1213]
    assert b"".join(datagrams) == b"".join(records)


def test_renumbered_record_differs_in_its_number_only() -> None:
    old = record(22, b"x" * 10, sequence=3)
    assert renumber(old, 77) == record(22, b"x" * 10, sequence=77)


def test_alerts_have_names() -> None:
    assert (alert_name(0), alert_name(42), alert_name(250)) == (
        "close_notify",
        "bad_certificate",
        "250",
    )


@pytest.mark.fuzz
@given(
    st.binary(max_size=200)
    | st.lists(st.binary(max_size=40)).map(lambda x: record(22, b"".join(x)))
)
def test_any_bytes_are_split_into_what_they_have(data: bytes) -> None:
    records = split_untrusted(data)
    assert data.startswith(b"".join(records))
    for from_client in (True, False):
        kept, dropped = early_records_untrusted(data, from_client=from_client)
        assert len(kept) + dropped in {len(records), len(records) + 1}


PAIR: list[OpenSslEngine] = list(connected_pair())


@pytest.mark.fuzz
@given(st.data())
def test_damaged_batches_give_sent_packets_or_nothing(data: st.DataObject) -> None:
    a, b = PAIR
    packets = data.draw(st.lists(st.binary(min_size=1, max_size=50), max_size=8))
    datagrams = a.send(packets)
    batch = []
    for datagram in datagrams:
        match data.draw(st.integers(0, 4)):
            case 0:
                position = data.draw(st.integers(0, len(datagram) - 1))
                batch.append(flip(datagram, position))
            case 1:
                batch.append(datagram[: data.draw(st.integers(0, len(datagram)))])
            case 2:
                batch += [datagram, data.draw(st.binary(max_size=30))]
            case _:
                batch.append(datagram)
    received = b.handle_datagrams(batch, 0.0)
    rest = iter(packets)
    assert all(packet in rest for packet in received)  # a subsequence
    assert b.state is DtlsState.CONNECTED
