"""Stream re-configuration: RFC 6525.

In the ladders `a` is the association that is tested, and the peer is the script.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from rtcsctp.errors import AssociationStateError, InvalidStreamError
from rtcsctp.sctp.config import Config
from rtcsctp.sctp.events import (
    AssociationReset,
    BufferedAmountLow,
    Closed,
    CloseReason,
    Event,
    IncomingStreamsReset,
    OutgoingStreamsReset,
    ReconfigFailed,
    StreamReadable,
    StreamResetFailed,
    StreamsAdded,
)
from rtcsctp.sctp.state import State
from rtcsctp.sctp.timers import Timer
from rtcsctp.sctp.wire.chunks import BEGIN, END, Data
from rtcsctp.sctp.wire.params import (
    AddStreamsRequest,
    IncomingResetRequest,
    OutgoingResetRequest,
    Param,
    ReconfigParam,
    ReconfigResponse,
    ReconfigResult,
    ResetAssociationRequest,
)
from rtcsctp.testing import Conditions, Network, Pair

from .ladder import (
    PEER_TSN,
    FakePeer,
    Packet,
    data,
    established,
    extensions,
    forward_tsn,
    heartbeat_ack,
    i_data,
    interleaved,
    reconfig,
    sack,
    shutdown_ack,
)

FULL = 1200 - 12 - 16
PERFORMED = ReconfigResult.PERFORMED
IN_PROGRESS = ReconfigResult.IN_PROGRESS
DENIED = ReconfigResult.DENIED
NOTHING = ReconfigResult.NOTHING_TO_DO


def sent(peer: FakePeer) -> list[Data]:
    return [part.as_data() for packet in peer.take() for part in packet.all("DATA", "I_DATA")]


def params_in(packets: Sequence[Packet]) -> list[ReconfigParam]:
    return [
        param
        for packet in packets
        for part in packet.all("RE_CONFIG")
        for param in part.as_reconfig()
    ]


def params(peer: FakePeer) -> list[ReconfigParam]:
    return params_in(peer.take())


def events(peer: FakePeer) -> list[Event]:
    """Those that concern re-configuration."""
    others = (BufferedAmountLow, StreamReadable)
    return [event for event in peer.take_events() if not isinstance(event, others)]


def send(peer: FakePeer, stream: int, *messages: bytes, **options: Any) -> list[Data]:
    for message in messages:
        peer.association.send(stream, message, now=peer.now, **options)
    return sent(peer)


def answer(peer: FakePeer, request: ReconfigParam, result: int) -> None:
    assert not isinstance(request, ReconfigResponse)
    peer.deliver(reconfig(ReconfigResponse(request.request_number, result)))


def acknowledge(peer: FakePeer) -> None:
    """The peer acknowledges all that it got, until there is no more."""
    while True:
        peer.deliver(peer.sack())
        before = peer.packets_out
        peer.drain()
        if peer.packets_out == before and not peer.association.unacknowledged:
            return


def outgoing(number: int, streams: Sequence[int], last_tsn: int, response: int = 0) -> bytes:
    """The peer's request to reset streams that it sends on."""
    return reconfig(OutgoingResetRequest(number, response, last_tsn & 0xFFFF_FFFF, tuple(streams)))


FIRST = PEER_TSN
"""The peer's first request number is its initial TSN (RFC 6525 4.1)."""


# ---------------------------------------------------------------------------- resetting our streams


def test_a_reset_is_requested_and_the_stream_begins_anew() -> None:
    peer = established()
    first = send(peer, 1, b"a", b"b")
    peer.association.reset_streams([1], peer.now)  # a -> RE-CONFIG
    [request] = params(peer)
    assert request == OutgoingResetRequest(
        request_number=first[0].tsn,  # our initial TSN
        response_number=PEER_TSN - 1,  # "the next expected … of the peer minus 1" (A4)
        last_tsn=first[1].tsn,  # "the next TSN the sender assigns minus 1" (A3)
        streams=(1,),
    )
    assert events(peer) == []
    answer(peer, request, PERFORMED)  # a <- RE-CONFIG: performed
    assert events(peer) == [OutgoingStreamsReset((1,))]
    assert Timer.RECONFIG not in peer.association.timers
    [again] = send(peer, 1, b"c")
    assert (again.sequence, again.tsn) == (0, first[1].tsn + 1)


def test_only_the_streams_that_are_named_begin_anew_pitfall_s45() -> None:
    peer = established()
    for stream in (1, 2, 3):
        send(peer, stream, b"x", b"x")
    peer.association.reset_streams([1, 3], peer.now)
    [request] = params(peer)
    answer(peer, request, PERFORMED)
    assert [
        c.sequence for c in send(peer, 1, b"y") + send(peer, 2, b"y") + send(peer, 3, b"y")
    ] == [
        0,
        2,
        0,
    ]


def test_mids_of_both_kinds_begin_anew() -> None:
    """RFC 8260 2.3.2."""
    peer = interleaved()
    send(peer, 1, b"x", b"x")
    send(peer, 1, b"x", b"x", b"x", unordered=True)
    peer.association.reset_streams([1], peer.now)
    [request] = params(peer)
    answer(peer, request, PERFORMED)
    ordered = send(peer, 1, b"y")
    unordered = send(peer, 1, b"y", unordered=True)
    assert [c.sequence for c in ordered + unordered] == [0, 0]


def test_what_was_queued_before_goes_first_and_what_comes_later_waits_pitfall_s40() -> None:
    """RFC 6525 5.1.2, A1: "MUST stop assigning new SSNs to new user data … and queue it"."""
    peer = established(a_rwnd=2 * FULL)
    chunks = send(peer, 1, bytes(FULL), bytes(FULL), b"last before")
    peer.association.reset_streams([1], peer.now)
    send(peer, 1, b"first behind")
    assert params(peer) == [], "the request waits for what must come before it"
    peer.deliver(peer.sack())
    packets = peer.take()
    before = [part.as_data() for packet in packets for part in packet.all("DATA")]
    assert [c.payload for c in before] == [b"last before"]
    [request] = params_in(packets)
    assert isinstance(request, OutgoingResetRequest)
    assert request.last_tsn == before[-1].tsn
    acknowledge(peer)
    assert sent(peer) == []
    assert peer.association.buffered_amount == len(b"first behind")
    answer(peer, request, PERFORMED)
    [behind] = sent(peer)
    assert (behind.payload, behind.sequence, len(chunks)) == (b"first behind", 0, 2)


@pytest.mark.parametrize("interleaving", [False, True])
def test_a_half_sent_message_is_finished_before_the_reset_pitfall_s40(interleaving: bool) -> None:
    peer = (interleaved if interleaving else established)(a_rwnd=3000)
    send(peer, 1, bytes(10_000))
    peer.association.reset_streams([1], peer.now)
    assert params(peer) == []
    found: list[ReconfigParam] = []
    for _ in range(20):
        peer.deliver(peer.sack())
        found += params(peer)
        if found:
            break
    [request] = found
    assert isinstance(request, OutgoingResetRequest)
    assert peer.received[-1].flags & END
    assert request.last_tsn == peer.received[-1].tsn


def test_other_streams_go_on_while_one_is_being_reset() -> None:
    peer = established()
    send(peer, 1, b"x")
    peer.association.reset_streams([1], peer.now)
    params(peer)
    assert [c.stream_id for c in send(peer, 1, b"waits") + send(peer, 2, b"goes")] == [2]


def test_no_streams_means_all_streams_pitfall_s46() -> None:
    peer = established()
    for stream in (1, 2, 3):
        send(peer, stream, b"x")
    peer.association.reset_streams([], peer.now)
    [request] = params(peer)
    assert isinstance(request, OutgoingResetRequest)
    assert request.streams == ()  # "stream numbers SHOULD NOT be put into" it
    assert send(peer, 1, b"y") + send(peer, 3, b"y") == []
    answer(peer, request, PERFORMED)
    assert events(peer) == [OutgoingStreamsReset(())]
    assert sorted((c.stream_id, c.sequence) for c in sent(peer)) == [(1, 0), (3, 0)]


def test_a_stream_that_was_never_used_waits_for_the_reset_of_all_too_pitfall_s46() -> None:
    """Or its first message, and the next one behind the reset, would both have SSN 0."""
    peer = established()
    send(peer, 1, b"x")
    peer.association.reset_streams([], peer.now)
    [request] = params(peer)
    assert send(peer, 7, b"first") == []
    answer(peer, request, PERFORMED)
    assert [(c.stream_id, c.sequence) for c in sent(peer)] == [(7, 0)]
    assert [(c.stream_id, c.sequence) for c in send(peer, 7, b"second")] == [(7, 1)]


def test_all_messages_arrive_though_all_streams_are_reset_under_way_pitfall_s46() -> None:
    pair = Pair(network=Network(Conditions(delay=0.05)))
    pair.connect()
    for stream in range(4):
        pair.a.send(stream, b"before", now=pair.now)
    pair.run_for(0.01)
    pair.a.reset_streams([], pair.now)
    pair.run_for(0.01)
    for stream in range(8):
        pair.a.send(stream, b"between", now=pair.now)
    pair.run_for(0.5)
    for stream in range(8):
        pair.a.send(stream, b"after", now=pair.now)
    pair.run_for(1)
    for stream in range(8):
        found = [m.data for m in pair.b.receive(stream, 10, now=pair.now)]
        assert found == [b"before"] * (stream < 4) + [b"between", b"after"]


def test_a_reset_that_is_refused_is_rolled_back_pitfall_s45() -> None:
    for result in (DENIED, ReconfigResult.WRONG_SSN, ReconfigResult.IN_PROGRESS_ALREADY, 5, 77):
        peer = established()
        send(peer, 1, b"x", b"x")
        peer.association.reset_streams([1], peer.now)
        [request] = params(peer)
        assert send(peer, 1, b"waits") == []
        answer(peer, request, result)
        [failed] = events(peer)
        assert isinstance(failed, StreamResetFailed)
        assert failed.stream_ids == (1,)
        [chunk] = sent(peer)
        assert (chunk.payload, chunk.sequence) == (b"waits", 2)


def test_nothing_to_do_is_a_success() -> None:
    peer = established()
    peer.association.reset_streams([1], peer.now)
    [request] = params(peer)
    answer(peer, request, NOTHING)
    assert events(peer) == [OutgoingStreamsReset((1,))]


def test_a_request_is_repeated_until_it_is_answered() -> None:
    """RFC 6525 5.1.1: "MUST use exponential backoff", retransmit and count errors."""
    peer = established(Config(max_retransmits=5, heartbeat_interval=0))
    peer.association.reset_streams([1], peer.now)
    first = peer.expect("RE_CONFIG")
    waits: list[float] = []
    for number in range(1, 5):
        waits.append(peer.fire(Timer.RECONFIG))
        again = peer.expect("RE_CONFIG")
        assert again["RE_CONFIG"] == first["RE_CONFIG"], "the same chunk"
        assert peer.association.statistics().path_errors == number
    assert waits == pytest.approx([waits[0] * 2**n for n in range(4)])
    answer(peer, params_in([first])[0], PERFORMED)
    assert events(peer) == [OutgoingStreamsReset((1,))]
    assert peer.association.statistics().path_errors == 0


def test_a_peer_that_never_answers_is_unreachable() -> None:
    peer = established(Config(max_retransmits=2, heartbeat_interval=0))
    peer.association.reset_streams([1], peer.now)
    peer.drain()
    for _ in range(3):
        peer.fire(Timer.RECONFIG)
    assert peer.closed.reason is CloseReason.UNREACHABLE


def test_in_progress_is_no_error_and_the_request_is_repeated_pitfall_s43() -> None:
    """RFC 6525 5.2.7, H2."""
    peer = established(Config(max_retransmits=2, heartbeat_interval=0))
    peer.association.reset_streams([1], peer.now)
    first = peer.expect("RE_CONFIG")
    [request] = params_in([first])
    answer(peer, request, IN_PROGRESS)
    for _ in range(10):
        peer.fire(Timer.RECONFIG)
        assert peer.expect("RE_CONFIG")["RE_CONFIG"] == first["RE_CONFIG"]
        assert peer.association.statistics().path_errors == 0
        assert events(peer) == []
    answer(peer, request, PERFORMED)
    assert events(peer) == [OutgoingStreamsReset((1,))]


def test_an_answer_to_something_else_is_ignored() -> None:
    """RFC 6525 5.2.7, H1."""
    peer = established()
    peer.association.reset_streams([1], peer.now)
    [request] = params(peer)
    assert isinstance(request, OutgoingResetRequest)
    for number in (request.request_number - 1, request.request_number + 1, 0):
        peer.deliver(reconfig(ReconfigResponse(number & 0xFFFF_FFFF, PERFORMED)))
    assert events(peer) == []
    answer(peer, request, PERFORMED)
    assert events(peer) == [OutgoingStreamsReset((1,))]
    answer(peer, request, PERFORMED)  # once more, and too late
    answer(peer, request, DENIED)
    assert events(peer) == []


def test_one_request_is_in_flight_and_the_others_go_together_pitfall_s44() -> None:
    peer = established()
    peer.association.reset_streams([1], peer.now)
    peer.drain()
    peer.association.reset_streams([2], peer.now)
    peer.drain()
    peer.association.reset_streams([3, 4], peer.now)
    [first] = params(peer)
    assert isinstance(first, OutgoingResetRequest)
    assert first.streams == (1,)
    peer.wait(0.01)
    assert params(peer) == []
    answer(peer, first, PERFORMED)
    [second] = params(peer)
    assert isinstance(second, OutgoingResetRequest)
    assert second.streams == (2, 3, 4)
    assert second.request_number == first.request_number + 1
    answer(peer, second, PERFORMED)
    assert events(peer) == [OutgoingStreamsReset((1,)), OutgoingStreamsReset((2, 3, 4))]


def test_streams_that_are_ready_do_not_wait_for_one_that_is_not_pitfall_s44() -> None:
    peer = established(a_rwnd=3000)
    send(peer, 1, bytes(10_000))
    peer.association.reset_streams([1, 2, 3], peer.now)
    [request] = params(peer)
    assert isinstance(request, OutgoingResetRequest)
    assert request.streams == (2, 3)
    answer(peer, request, PERFORMED)
    found: list[ReconfigParam] = []
    while not found:
        peer.deliver(peer.sack())
        found = params(peer)
    assert isinstance(found[0], OutgoingResetRequest)
    assert found[0].streams == (1,)


def test_asking_twice_changes_nothing() -> None:
    peer = established()
    for streams in ([1], [1, 1], [1], [2, 1]):
        peer.association.reset_streams(streams, peer.now)
        peer.drain()
    [first] = params(peer)
    answer(peer, first, PERFORMED)
    [second] = params(peer)
    assert isinstance(second, OutgoingResetRequest)
    assert second.streams == (2,)


def test_thousands_of_resets_one_by_one_cost_little_and_go_together_pitfall_s44() -> None:
    """A user who closes all his channels; the messages on them have not been sent yet."""
    pair = Pair()
    pair.connect()
    count = 4000
    for stream in range(count):
        pair.a.send(stream, b"x", now=pair.now)
    for stream in range(count):
        pair.a.reset_streams([stream], pair.now)
    pair.run_for(5)
    found = [e for e in pair.events_a if isinstance(e, OutgoingStreamsReset)]
    assert sorted(s for event in found for s in event.stream_ids) == list(range(count))
    assert len(found) < 40


def test_a_stream_may_be_reset_again_and_again_pitfall_s47() -> None:
    peer = established()
    for _ in range(4):
        assert [c.sequence for c in send(peer, 1, b"x", b"y")] == [0, 1]
        peer.association.reset_streams([1], peer.now)
        [request] = params(peer)
        answer(peer, request, PERFORMED)
        assert events(peer) == [OutgoingStreamsReset((1,))]


def test_thousands_of_streams_go_in_several_packets_pitfall_s60() -> None:
    config = Config(max_streams=3000)
    peer = established(config, outbound=3000, inbound=3000)
    peer.association.reset_streams(range(3000), peer.now)
    told: list[int] = []
    for _ in range(20):
        found = params(peer)
        if not found:
            break
        [request] = found
        assert isinstance(request, OutgoingResetRequest)
        told += request.streams
        answer(peer, request, PERFORMED)
    assert sorted(told) == list(range(3000))


def test_invalid_streams_are_refused_before_anything_changes() -> None:
    peer = established(inbound=10)
    for streams in ([10], [0, 99], [-1]):
        with pytest.raises(InvalidStreamError):
            peer.association.reset_streams(streams, peer.now)
    assert params(peer) == []
    assert len(send(peer, 0, b"x")) == 1


def test_a_peer_without_support_is_told_to_the_user() -> None:
    """RFC 6525 5.1.1: "MUST NOT send any re-configuration request"."""
    peer = established(params=extensions(reconfiguration=False))
    with pytest.raises(AssociationStateError):
        peer.association.reset_streams([1], peer.now)
    with pytest.raises(AssociationStateError):
        peer.association.request_peer_reset([1], peer.now)
    with pytest.raises(AssociationStateError):
        peer.association.add_streams(outgoing=1, now=peer.now)
    with pytest.raises(AssociationStateError):
        peer.association.reset_association(peer.now)


# ---------------------------------------------------------------------- the peer resets its streams


def test_the_peers_reset_is_performed_and_answered_with_a_sack() -> None:
    peer = established()
    peer.deliver(peer.data(b"a", stream=1, ssn=0))
    peer.deliver(peer.data(b"b", stream=2, ssn=0))
    peer.take()
    peer.deliver(outgoing(FIRST, [1], peer.tsn - 1))  # a <- RE-CONFIG
    packet = peer.expect("RE_CONFIG SACK")  # "a SACK chunk SHOULD be sent back" (5.2.1)
    assert params_in([packet]) == [ReconfigResponse(FIRST, PERFORMED)]
    assert events(peer) == [IncomingStreamsReset((1,))]
    peer.deliver(peer.data(b"anew", stream=1, ssn=0))
    peer.deliver(peer.data(b"on", stream=2, ssn=1))
    assert peer.take_messages(1) == [b"a", b"anew"]
    assert peer.take_messages(2) == [b"b", b"on"]


def test_the_user_knows_what_came_before_the_reset_and_what_behind_it() -> None:
    peer = established()
    for number in range(3):
        peer.deliver(peer.data(b"old", stream=1, ssn=number))
    peer.deliver(outgoing(FIRST, [1, 5], peer.tsn - 1))
    peer.deliver(peer.data(b"new", stream=1, ssn=0))
    [reset] = events(peer)
    assert isinstance(reset, IncomingStreamsReset)
    assert dict(reset.unread).get(1) == 3
    assert peer.take_messages(1) == [b"old"] * 3 + [b"new"]


def test_all_streams_of_the_peer_pitfall_s46() -> None:
    peer = established()
    for stream in (1, 2, 3):
        peer.deliver(peer.data(b"a", stream=stream, ssn=0))
    peer.deliver(outgoing(FIRST, [], peer.tsn - 1))
    assert events(peer) == [IncomingStreamsReset(())]
    for stream in (1, 2, 3):
        peer.deliver(peer.data(b"b", stream=stream, ssn=0))
        assert peer.take_messages(stream) == [b"a", b"b"]


def test_a_stream_that_does_not_exist_cannot_be_reset() -> None:
    peer = established(Config(inbound_streams=8))
    peer.deliver(outgoing(FIRST, [1, 8], PEER_TSN - 1))
    assert params(peer) == [ReconfigResponse(FIRST, ReconfigResult.WRONG_SSN)]
    assert events(peer) == []


def test_a_repeated_request_gets_the_recorded_answer_pitfall_s42() -> None:
    """RFC 6525 5.2.1: "the same RE-CONFIG chunk MUST … be sent back in response"."""
    peer = established()
    peer.deliver(peer.data(b"old", stream=1, ssn=0))
    peer.deliver(outgoing(FIRST, [1], peer.tsn - 1))
    peer.take()
    peer.deliver(peer.data(b"new", stream=1, ssn=0))
    for _ in range(3):
        peer.deliver(outgoing(FIRST, [1], peer.tsn - 2))  # the answer was lost
        assert params(peer) == [ReconfigResponse(FIRST, PERFORMED)]
    peer.deliver(peer.data(b"newer", stream=1, ssn=1))
    assert peer.take_messages(1) == [b"old", b"new", b"newer"], "it was carried out once"
    assert events(peer).count(IncomingStreamsReset((1,))) == 1


@pytest.mark.parametrize("offset", [1, 2, -3, 0x7FFF_FFFF])
def test_other_numbers_are_refused_pitfall_s42(offset: int) -> None:
    peer = established()
    number = (FIRST + offset) & 0xFFFF_FFFF
    peer.deliver(outgoing(number, [1], PEER_TSN - 1))
    assert params(peer) == [ReconfigResponse(number, ReconfigResult.BAD_SEQUENCE_NUMBER)]
    assert events(peer) == []
    peer.deliver(outgoing(FIRST, [1], PEER_TSN - 1))
    assert params(peer) == [ReconfigResponse(FIRST, PERFORMED)]


def test_request_numbers_wrap_around_pitfall_s1() -> None:
    peer = established(tsn=0xFFFF_FFFF)
    for number in (0xFFFF_FFFF, 0, 1):
        peer.deliver(outgoing(number, [1], 0xFFFF_FFFE))
        assert params(peer) == [ReconfigResponse(number, PERFORMED)]


def test_every_reset_is_told_also_where_nothing_was_sent_between_them() -> None:
    """A channel that is closed, opened and closed without a message in between."""
    peer = established()
    for number in range(3):
        peer.deliver(outgoing(FIRST + number, [1], PEER_TSN - 1))
        assert events(peer) == [IncomingStreamsReset((1,))]


def test_two_requests_in_one_chunk_get_two_answers_in_one_chunk_pitfall_s42() -> None:
    """RFC 6525 3.1, combination 3; 5.2.1: "they MUST be put into one RE_CONFIG chunk"."""
    peer = established()
    both = reconfig(
        OutgoingResetRequest(FIRST, 0, PEER_TSN - 1, (1,)),
        IncomingResetRequest(FIRST + 1, (2,)),
    )
    peer.deliver(both)
    packets = peer.take()
    answers = [p for p in params_in(packets) if isinstance(p, ReconfigResponse)]
    assert answers == [ReconfigResponse(FIRST, PERFORMED), ReconfigResponse(FIRST + 1, PERFORMED)]
    first = next(c for p in packets for c in p.all("RE_CONFIG") if len(c.as_reconfig()) == 2)
    peer.deliver(both)  # the answer was lost
    again = next(c for p in peer.take() for c in p.all("RE_CONFIG") if len(c.as_reconfig()) == 2)
    assert again == first
    assert events(peer).count(IncomingStreamsReset((1,))) == 1


# ---------------------------------------------------------------------------------- deferred resets


def deferred(peer: FakePeer, streams: Sequence[int] = (1,)) -> int:
    """PEER_TSN + 2 is missing, and the peer resets streams behind it; the last TSN before it."""
    peer.deliver(data(PEER_TSN, b"0", stream=1, ssn=0), data(PEER_TSN + 1, b"0", stream=2, ssn=0))
    peer.take()
    peer.deliver(outgoing(FIRST, streams, PEER_TSN + 2))
    assert params(peer) == [ReconfigResponse(FIRST, IN_PROGRESS)]
    return PEER_TSN + 2


def test_a_reset_waits_for_what_was_sent_before_it_pitfall_s41() -> None:
    """RFC 6525 5.2.2, E2 to E6."""
    peer = established()
    last = deferred(peer)
    # What arrives behind it is held, where it is for the stream that is being reset …
    peer.deliver(data(last + 1, b"anew", stream=1, ssn=0))
    peer.deliver(data(last + 2, b"other", stream=2, ssn=1))
    assert peer.take_messages(1) == [b"0"]
    assert peer.take_messages(2) == [b"0", b"other"]
    assert peer.association.statistics().held >= len(b"anew")  # … and counted
    assert events(peer) == []
    peer.take()
    # The missing one comes: the reset is carried out, and answered without being asked again.
    peer.deliver(data(last, b"old", stream=1, ssn=1))
    assert params(peer) == [ReconfigResponse(FIRST, PERFORMED)]
    assert events(peer) == [IncomingStreamsReset((1,))]
    assert peer.take_messages(1) == [b"old", b"anew"]
    assert peer.association.statistics().held == 0


def test_a_deferred_reset_of_all_streams_holds_everything_pitfall_s41() -> None:
    peer = established()
    last = deferred(peer, ())
    peer.deliver(data(last + 1, b"1", stream=1, ssn=0))
    peer.deliver(data(last + 2, b"2", stream=2, ssn=0))
    assert peer.take_messages(1) == [b"0"]
    assert peer.take_messages(2) == [b"0"]
    peer.deliver(data(last, b"old", stream=2, ssn=1))
    assert peer.take_messages(1) == [b"1"]
    assert peer.take_messages(2) == [b"old", b"2"]


@pytest.mark.parametrize("seed", range(8))
def test_a_deferred_reset_with_everything_in_any_order_pitfall_s41(seed: int) -> None:
    peer = established()
    tsn = PEER_TSN
    before = [data(tsn + n, b"old %d" % n, stream=1, ssn=n) for n in range(6)]
    request = outgoing(FIRST, [1], tsn + 5)
    # (A sender that follows the RFC sends nothing behind the reset before it is answered, but the
    # answer may have been lost.)
    behind = [data(tsn + 6 + n, b"new %d" % n, stream=1, ssn=n) for n in range(4)]
    late = [request, *behind]
    early = list(before)
    rng = random.Random(seed)
    rng.shuffle(early)
    peer.deliver(early.pop())
    peer.deliver(request)
    rest = early + late
    rng.shuffle(rest)
    for chunk in rest:
        peer.deliver(chunk)
    assert peer.take_messages(1) == [b"old %d" % n for n in range(6)] + [
        b"new %d" % n for n in range(4)
    ]
    assert events(peer).count(IncomingStreamsReset((1,))) == 1
    assert peer.association.statistics().held == 0


def test_a_repetition_while_in_progress_is_answered_in_progress_pitfall_s42() -> None:
    peer = established()
    last = deferred(peer)
    for _ in range(3):
        peer.deliver(outgoing(FIRST, [1], last))
        assert params(peer) == [ReconfigResponse(FIRST, IN_PROGRESS)]
    peer.deliver(data(last, b"old", stream=1, ssn=1))
    peer.take()
    peer.deliver(outgoing(FIRST, [1], last))
    assert params(peer) == [ReconfigResponse(FIRST, PERFORMED)]
    assert events(peer) == [IncomingStreamsReset((1,))]


def test_after_in_progress_the_next_number_may_come_for_the_same_reset_pitfall_s42() -> None:
    peer = established()
    last = deferred(peer)
    peer.deliver(outgoing(FIRST + 1, [1], last))
    assert params(peer) == [ReconfigResponse(FIRST + 1, IN_PROGRESS)]
    peer.deliver(data(last, b"old", stream=1, ssn=1))
    assert params(peer) == [ReconfigResponse(FIRST + 1, PERFORMED)]
    # The answer crossed with a third attempt; data of the new epoch has arrived by now.
    peer.deliver(data(last + 1, b"new", stream=1, ssn=0))
    peer.deliver(outgoing(FIRST + 2, [1], last))
    assert ReconfigResponse(FIRST + 2, PERFORMED) in params(peer)
    peer.deliver(data(last + 2, b"newer", stream=1, ssn=1))
    assert peer.take_messages(1) == [b"0", b"old", b"new", b"newer"]
    assert events(peer) == [IncomingStreamsReset((1,))]


def test_a_repetition_in_one_batch_with_what_was_missing_resets_once_pitfall_s42() -> None:
    peer = established()
    last = deferred(peer)
    peer.deliver_raw(
        peer.packet(data(last, b"old", stream=1, ssn=1)),
        peer.packet(outgoing(FIRST, [1], last)),
        peer.packet(data(last + 1, b"new", stream=1, ssn=0)),
    )
    assert set(params(peer)) == {ReconfigResponse(FIRST, PERFORMED)}
    assert events(peer) == [IncomingStreamsReset((1,))]
    assert peer.take_messages(1) == [b"0", b"old", b"new"]


def test_forward_tsn_completes_a_deferred_reset_pitfall_s41() -> None:
    peer = established()
    last = deferred(peer)
    peer.deliver(data(last + 1, b"new", stream=1, ssn=0))
    peer.deliver(forward_tsn(last, [(1, 1)]))
    assert ReconfigResponse(FIRST, PERFORMED) in params(peer)
    assert peer.take_messages(1) == [b"0", b"new"]


def test_a_forward_tsn_behind_the_reset_is_held_pitfall_s41() -> None:
    """It says SSN 1 of the new epoch, whose SSN 0 has arrived, and is held too."""
    peer = established()
    last = deferred(peer)
    peer.deliver(data(last + 1, b"new 0", stream=1, ssn=0))
    peer.deliver(data(last + 3, b"new 2", stream=1, ssn=2))
    peer.deliver(data(last + 5, b"other", stream=2, ssn=2))
    peer.deliver(forward_tsn(last + 4, [(1, 1), (2, 1)]))  # gave up the missing one, too
    assert peer.take_messages(1) == [b"0", b"new 0", b"new 2"]
    assert peer.take_messages(2) == [b"0", b"other"]
    assert peer.association.statistics().held == 0


def test_a_violation_among_held_chunks_ends_the_association_and_nothing_else() -> None:
    """What a peer sends never raises: not where it is looked at late, either."""
    peer = interleaved()
    peer.deliver(outgoing(FIRST, [1], PEER_TSN))
    peer.deliver(i_data(PEER_TSN + 1, b"x", stream=1, flags=BEGIN))
    peer.deliver(i_data(PEER_TSN + 2, b"x", stream=1, fsn=2, flags=END))
    peer.deliver(i_data(PEER_TSN + 3, b"x", stream=1, fsn=3, flags=END))
    assert peer.association.closed is None
    peer.deliver(i_data(PEER_TSN, b"x", stream=0))
    assert peer.closed.reason is CloseReason.PROTOCOL_VIOLATION
    assert peer.take()[-1].names == "ABORT"


def test_what_is_held_for_a_reset_is_bounded() -> None:
    peer = established(Config(rwnd=20_000, max_message_size=10_000))
    last = deferred(peer)
    held = 0
    for number in range(100):
        peer.deliver(data(last + 1 + number, bytes(1000), stream=1, ssn=number))
        held = max(held, peer.association.statistics().held)
    assert held <= 20_000 + 2 * 10_000 + 2000


# -------------------------------------------------------------- one side asks the other for a reset


def test_we_reset_what_the_peer_asks_for() -> None:
    """RFC 6525 5.2.3, F1 and 5.1.2, A4."""
    peer = established()
    first = send(peer, 1, b"x", b"x")
    peer.deliver(reconfig(IncomingResetRequest(FIRST, (1,))))
    found = params(peer)
    assert found[0] == ReconfigResponse(FIRST, PERFORMED)
    assert found[1] == OutgoingResetRequest(
        request_number=first[0].tsn,
        response_number=FIRST,  # "the … Number of the Incoming SSN Reset Request Parameter"
        last_tsn=first[1].tsn,
        streams=(1,),
    )
    answer(peer, found[1], PERFORMED)
    assert events(peer) == [OutgoingStreamsReset((1,))]
    assert send(peer, 1, b"y")[0].sequence == 0


def test_what_is_queued_goes_before_a_reset_that_the_peer_asks_for_pitfall_s40() -> None:
    peer = established(a_rwnd=3000)
    send(peer, 1, bytes(5000))
    peer.deliver(reconfig(IncomingResetRequest(FIRST, (1,))))
    send(peer, 1, b"behind")
    assert not any(isinstance(p, OutgoingResetRequest) for p in params(peer))
    found: list[ReconfigParam] = []
    for _ in range(10):
        peer.deliver(peer.sack())
        found += params(peer)
    [request] = [p for p in found if isinstance(p, OutgoingResetRequest)]
    assert request.last_tsn == peer.received[-1].tsn
    assert peer.received[-1].flags & END
    answer(peer, request, PERFORMED)
    assert [(c.payload, c.sequence) for c in sent(peer)] == [(b"behind", 0)]


def test_the_peer_may_ask_for_all_streams_while_we_go_on_sending_pitfall_s46() -> None:
    """It need not wait until our user is silent: what he sends from now on waits behind it."""
    peer = established(a_rwnd=3000)
    send(peer, 1, bytes(5000))
    peer.deliver(reconfig(IncomingResetRequest(FIRST, ())))
    found: list[ReconfigParam] = []
    for number in range(20):
        peer.association.send(1, b"%d" % number, now=peer.now)
        peer.association.send(2, b"%d" % number, now=peer.now)
        peer.deliver(peer.sack())
        found += params(peer)
    [request] = [p for p in found if isinstance(p, OutgoingResetRequest)]
    assert request.streams == ()
    answer(peer, request, PERFORMED)
    chunks = sent(peer)
    assert {c.stream_id: c.sequence for c in reversed(chunks)} == {1: 0, 2: 0}


def test_a_repeated_incoming_request_does_not_reset_twice_pitfall_s42() -> None:
    """Else a copy that the network delayed would close a channel that has been opened since."""
    peer = established()
    ask = reconfig(IncomingResetRequest(FIRST, (1,)))
    peer.deliver(ask)
    [request] = [p for p in params(peer) if isinstance(p, OutgoingResetRequest)]
    peer.deliver(ask)
    assert params(peer) == [ReconfigResponse(FIRST, PERFORMED)]
    answer(peer, request, PERFORMED)
    peer.take()
    peer.deliver(ask)
    assert params(peer) == [ReconfigResponse(FIRST, PERFORMED)]
    assert [c.sequence for c in send(peer, 1, b"y", b"z")] == [0, 1]


def test_nothing_to_do_where_our_own_reset_is_under_way() -> None:
    """RFC 6525 5.2.3: "completely overlaps"."""
    peer = established()
    peer.association.reset_streams([1, 2, 3], peer.now)
    [request] = params(peer)
    peer.deliver(reconfig(IncomingResetRequest(FIRST, (3, 1))))
    assert params(peer) == [ReconfigResponse(FIRST, NOTHING)]
    peer.deliver(reconfig(IncomingResetRequest(FIRST + 1, (3, 4))))  # overlaps in part only
    assert params(peer) == [ReconfigResponse(FIRST + 1, PERFORMED)]
    answer(peer, request, PERFORMED)
    [second] = params(peer)
    assert isinstance(second, OutgoingResetRequest)
    assert set(second.streams) == {3, 4}  # "MUST be copied" (A4)


def test_streams_that_do_not_exist_are_refused() -> None:
    peer = established(inbound=10)
    peer.deliver(reconfig(IncomingResetRequest(FIRST, (10,))))
    assert params(peer) == [ReconfigResponse(FIRST, ReconfigResult.WRONG_SSN)]


def test_a_flood_of_requests_is_bounded() -> None:
    peer = established(a_rwnd=1500)
    send(peer, 1, bytes(100_000))
    for number in range(100):
        peer.deliver(reconfig(IncomingResetRequest(FIRST + number, (1,))))
    assert len(peer.association.reconfiguration.waiting) == 1, "they all ask for the same"
    assert ReconfigResponse(FIRST + 99, PERFORMED) in params(peer)
    for number in range(100, 200):
        peer.deliver(reconfig(IncomingResetRequest(FIRST + number, (1, number - 100))))
    assert len(peer.association.reconfiguration.waiting) <= 64
    assert ReconfigResponse(FIRST + 199, DENIED) in params(peer)


def test_we_ask_the_peer_and_its_own_request_is_the_answer() -> None:
    """RFC 6525 5.1.3 and 5.2.2, E1."""
    peer = established()
    peer.association.request_peer_reset([4, 5, 4], peer.now)
    [request] = params(peer)
    assert isinstance(request, IncomingResetRequest)
    assert request.streams == (4, 5)
    assert Timer.RECONFIG in peer.association.timers
    peer.deliver(outgoing(FIRST, [4, 5], PEER_TSN - 1, response=request.request_number))
    assert params(peer) == [ReconfigResponse(FIRST, PERFORMED)]
    assert events(peer) == [IncomingStreamsReset((4, 5))]
    assert Timer.RECONFIG not in peer.association.timers


@pytest.mark.parametrize("result", [PERFORMED, NOTHING, IN_PROGRESS])
def test_the_peer_may_answer_first_and_reset_later(result: ReconfigResult) -> None:
    peer = established()
    peer.association.request_peer_reset([4], peer.now)
    [request] = params(peer)
    assert isinstance(request, IncomingResetRequest)
    answer(peer, request, result)
    assert events(peer) == []
    peer.deliver(outgoing(FIRST, [4], PEER_TSN - 1, response=request.request_number))
    assert events(peer) == [IncomingStreamsReset((4,))]
    assert Timer.RECONFIG not in peer.association.timers
    peer.wait(5)
    assert not any(isinstance(p, IncomingResetRequest) for p in params(peer))


def test_the_peer_may_refuse() -> None:
    peer = established()
    peer.association.request_peer_reset([4], peer.now)
    [request] = params(peer)
    answer(peer, request, DENIED)
    [failed] = events(peer)
    assert isinstance(failed, ReconfigFailed)


def test_asking_for_thousands_of_streams_takes_several_packets_pitfall_s60() -> None:
    peer = established(outbound=3000)
    peer.association.request_peer_reset(range(3000), peer.now)
    told: list[int] = []
    for _ in range(20):
        found = params(peer)
        if not found:
            break
        [request] = found
        assert isinstance(request, IncomingResetRequest)
        told += request.streams
        answer(peer, request, PERFORMED)
    assert told == list(range(3000))


def test_both_may_ask_each_other_at_once() -> None:
    """Neither may have two requests in flight, so neither may wait for the other's."""
    pair = Pair()
    pair.connect()
    for side in (pair.a, pair.b):
        side.send(1, b"x", now=pair.now)
        side.request_peer_reset([1], pair.now)
        side.request_peer_reset([2], pair.now)
    pair.run_for(2)
    for found in (pair.events_a, pair.events_b):
        incoming = [s for e in found if isinstance(e, IncomingStreamsReset) for s in e.stream_ids]
        assert sorted(incoming) == [1, 2]
    assert pair.a.reconfiguration.current is None
    assert pair.b.reconfiguration.current is None


@pytest.mark.parametrize("interleaving", [False, True])
def test_both_may_reset_the_same_streams_at_once(interleaving: bool) -> None:
    pair = Pair(Config(interleaving=interleaving))
    pair.connect()
    for side in (pair.a, pair.b):
        for stream in range(4):
            side.send(stream, bytes(3000), now=pair.now)
        side.reset_streams([0, 2], pair.now)
        for stream in range(4):
            side.send(stream, b"behind", now=pair.now)
    pair.run_for(2)
    for side, found in ((pair.a, pair.events_a), (pair.b, pair.events_b)):
        incoming = [s for e in found if isinstance(e, IncomingStreamsReset) for s in e.stream_ids]
        out = [s for e in found if isinstance(e, OutgoingStreamsReset) for s in e.stream_ids]
        assert sorted(incoming) == sorted(out) == [0, 2]
        for stream in range(4):
            messages = [m.data for m in side.receive(stream, 10, now=pair.now)]
            assert messages == [bytes(3000), b"behind"]


# ---------------------------------------------------------------------------- the whole association


def proof(packets: Sequence[Packet]) -> bytes:
    """What is in the HEARTBEAT that travels with the answer to an association reset."""
    [packet] = [packet for packet in packets if packet.all("HEARTBEAT")]
    assert packet.all("RE_CONFIG"), "they must arrive together, or not at all"
    names = [part.name for part in packet.chunks]
    assert names.index("RE_CONFIG") < names.index("HEARTBEAT")
    [(kind, nonce)] = packet["HEARTBEAT"].as_tlvs()
    assert kind == Param.HEARTBEAT_INFO
    return nonce


def test_the_peer_resets_the_association() -> None:
    """RFC 6525 5.2.4."""
    peer = established()
    ours = send(peer, 1, b"x", b"x")
    peer.deliver(peer.data(b"a", stream=1, ssn=0), peer.sack())
    peer.take()
    peer.deliver(reconfig(ResetAssociationRequest(FIRST)))
    packets = peer.take()
    [response] = params_in(packets)
    assert response == ReconfigResponse(
        FIRST,
        PERFORMED,
        sender_next_tsn=ours[-1].tsn + 1,  # G2: the highest TSN sent plus 1
        receiver_next_tsn=(peer.tsn + (1 << 31)) & 0xFFFF_FFFF,  # G1
    )
    assert events(peer) == [AssociationReset()]
    assert isinstance(response, ReconfigResponse)
    assert response.receiver_next_tsn is not None
    # From now on its TSNs lie 2**31 further, and stream numbers begin at 0 in both directions.
    peer.deliver(data(response.receiver_next_tsn, b"b", stream=1, ssn=0))
    assert peer.take_messages(1) == [b"a", b"b"]
    peer.deliver(heartbeat_ack(proof(packets)))
    [chunk] = send(peer, 1, b"y")
    assert (chunk.tsn, chunk.sequence) == (ours[-1].tsn + 1, 0)


def test_new_data_waits_until_the_peer_knows_of_the_reset() -> None:
    """It would take SSN 0 for an old one, and drop the message; and it would acknowledge it."""
    peer = established(Config(heartbeat_interval=0))
    send(peer, 1, b"x")
    peer.deliver(peer.sack())
    peer.deliver(reconfig(ResetAssociationRequest(FIRST)))
    lost = peer.take()  # a -> RE-CONFIG HEARTBEAT, lost
    assert send(peer, 1, b"y") == []
    peer.deliver(reconfig(ResetAssociationRequest(FIRST)))  # so the peer asks again
    again = peer.take()
    assert params_in(again) == params_in(lost), "the same answer"
    assert sent(peer) == []
    peer.deliver(heartbeat_ack(proof(again)))
    assert [(c.payload, c.sequence) for c in sent(peer)] == [(b"y", 0)]
    assert Timer.RECONFIG not in peer.association.timers


def test_the_proof_is_asked_for_again_where_it_is_lost() -> None:
    peer = established(Config(heartbeat_interval=0))
    peer.deliver(reconfig(ResetAssociationRequest(FIRST)))
    first = peer.take()
    assert send(peer, 1, b"y") == []
    # a <- HEARTBEAT ACK, lost: the peer has no reason to ask again.
    peer.fire(Timer.RECONFIG)
    second = peer.take()
    assert params_in(second) == params_in(first)
    peer.deliver(heartbeat_ack(proof(second)))
    assert len(sent(peer)) == 1


def test_a_forged_proof_proves_nothing() -> None:
    peer = established()
    peer.deliver(reconfig(ResetAssociationRequest(FIRST)))
    peer.take()
    peer.deliver(heartbeat_ack(bytes(8)))
    assert send(peer, 1, b"y") == []


@pytest.mark.parametrize("interleaving", [False, True])
def test_a_reset_by_the_peer_waits_for_what_we_have_in_flight(interleaving: bool) -> None:
    """Nothing reliable is dropped for it, and no message begins meanwhile."""
    peer = (interleaved if interleaving else established)(a_rwnd=3000)
    send(peer, 1, bytes(10_000))  # half sent
    peer.association.send(2, b"later", now=peer.now)
    request = reconfig(ResetAssociationRequest(FIRST))
    peer.deliver(request)
    assert params(peer) == [ReconfigResponse(FIRST, IN_PROGRESS)]
    found: list[ReconfigParam] = []
    packets: list[Packet] = []
    for _ in range(30):
        peer.deliver(peer.sack())
        peer.deliver(request)
        packets = peer.take()
        found = params_in(packets)
        if found and found[0] != ReconfigResponse(FIRST, IN_PROGRESS):
            break
    [response] = found
    assert isinstance(response, ReconfigResponse)
    assert response.result == PERFORMED
    assert sum(len(c.payload) for c in peer.received) == 10_000
    assert {c.stream_id for c in peer.received} == {1}
    peer.deliver(heartbeat_ack(proof(packets)))
    [later] = sent(peer)
    assert (later.stream_id, later.tsn) == (2, response.sender_next_tsn)


def test_a_refused_reset_leaves_nothing_suspended() -> None:
    """Our own request is in flight when the peer's comes: it is refused, and data goes on."""
    peer = established(a_rwnd=3000)
    peer.association.reset_association(peer.now)
    [ours] = params(peer)
    assert isinstance(ours, ResetAssociationRequest)
    peer.deliver(reconfig(ResetAssociationRequest(FIRST)))
    assert params(peer) == [ReconfigResponse(FIRST, ReconfigResult.IN_PROGRESS_ALREADY)]
    answer(peer, ours, ReconfigResult.IN_PROGRESS_ALREADY)
    [failed] = events(peer)
    assert isinstance(failed, ReconfigFailed)
    assert len(send(peer, 1, b"y")) == 1


def test_a_reset_by_the_peer_waits_for_our_own_request() -> None:
    peer = established()
    peer.association.reset_streams([1], peer.now)
    [ours] = params(peer)
    peer.deliver(reconfig(ResetAssociationRequest(FIRST)))
    assert params(peer) == [ReconfigResponse(FIRST, IN_PROGRESS)]
    answer(peer, ours, PERFORMED)
    peer.deliver(reconfig(ResetAssociationRequest(FIRST)))
    packets = peer.take()
    [response] = params_in(packets)
    assert isinstance(response, ReconfigResponse)
    assert response.result == PERFORMED
    assert events(peer) == [OutgoingStreamsReset((1,)), AssociationReset()]
    peer.deliver(heartbeat_ack(proof(packets)))
    assert len(send(peer, 1, b"y")) == 1


def test_we_reset_the_association_when_nothing_is_outstanding() -> None:
    """RFC 6525 5.1.4."""
    peer = established(a_rwnd=3000)
    send(peer, 1, bytes(5000))
    peer.association.reset_association(peer.now)
    peer.association.send(2, b"later", now=peer.now)
    found: list[ReconfigParam] = []
    for _ in range(10):
        assert params(peer) == []
        peer.deliver(peer.sack())
        found = params(peer)
        if found:
            break
    [request] = found
    assert isinstance(request, ResetAssociationRequest)
    assert sum(len(c.payload) for c in peer.received) == 5000
    assert sent(peer) == [], "C2: no TSN is assigned before the answer"
    theirs, ours = 0x7000_0000, 0x9000_0000
    peer.deliver(reconfig(ReconfigResponse(request.request_number, PERFORMED, theirs, ours)))
    assert events(peer) == [AssociationReset()]
    [later] = sent(peer)
    assert (later.payload, later.tsn, later.sequence) == (b"later", ours, 0)  # H5
    peer.deliver(data(theirs, b"new", stream=5, ssn=0))
    assert peer.take_messages(5) == [b"new"]
    peer.deliver(sack(ours))
    assert peer.association.statistics().flight == 0
    assert peer.take()[0]["SACK"].as_sack().cumulative_tsn == theirs


def test_an_answer_without_tsns_is_no_reset() -> None:
    peer = established()
    peer.association.reset_association(peer.now)
    [request] = params(peer)
    answer(peer, request, PERFORMED)
    [failed] = events(peer)
    assert isinstance(failed, ReconfigFailed)
    assert len(send(peer, 1, b"x")) == 1


def test_a_denied_association_reset_is_rolled_back_pitfall_s45() -> None:
    peer = established()
    [before] = send(peer, 1, b"x")
    peer.deliver(peer.sack())
    peer.association.reset_association(peer.now)
    [request] = params(peer)
    assert send(peer, 1, b"waits") == []
    answer(peer, request, DENIED)
    [chunk] = sent(peer)
    assert (chunk.tsn, chunk.sequence) == (before.tsn + 1, 1)


def test_one_association_reset_in_thirty_seconds() -> None:
    """RFC 6525 5.1.4: "Only one SSN/TSN Reset Request SHOULD be sent within 30 seconds"."""
    peer = established()
    peer.association.reset_association(peer.now)
    [request] = params(peer)
    answer(peer, request, DENIED)
    peer.now += 29
    with pytest.raises(AssociationStateError):
        peer.association.reset_association(peer.now)
    peer.now += 2
    peer.association.reset_association(peer.now)


@pytest.mark.parametrize("interleaving", [False, True])
@pytest.mark.parametrize("loss", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("seed", range(4))
def test_association_resets_lose_nothing_though_both_sides_are_busy(
    interleaving: bool, loss: float, seed: int
) -> None:
    config = Config(
        interleaving=interleaving, max_retransmits=100, max_init_retransmits=50, mtu=600
    )
    pair = Pair(config, network=Network(Conditions(delay=0.02, loss=loss), seed=seed))
    pair.connect(600)
    total = 120
    got: dict[str, list[list[int]]] = {"a": [[], [], []], "b": [[], [], []]}

    def read() -> None:
        for name, side in (("a", pair.a), ("b", pair.b)):
            for stream in range(3):
                messages = side.receive(stream, 100, now=pair.now)
                got[name][stream] += [m.ppid for m in messages]

    for number in range(total):
        for side in (pair.a, pair.b):
            side.send(number % 3, bytes(number * 13 % 2000 + 1), ppid=number, now=pair.now)
        if number == 40:
            pair.a.reset_association(pair.now)
        pair.run_for(0.01)
        read()
    pair.run_until(lambda: pair.a.sender.is_drained and pair.b.sender.is_drained, 2000)
    pair.run_for(5)
    read()
    for name in ("a", "b"):
        assert got[name] == [list(range(stream, total, 3)) for stream in range(3)]
    assert AssociationReset() in pair.events_a
    assert pair.events_a.count(AssociationReset()) == pair.events_b.count(AssociationReset()) == 1


def test_both_may_reset_the_association_at_once() -> None:
    """Neither is done, both users are told, and everything goes on."""
    pair = Pair()
    pair.connect()
    for side in (pair.a, pair.b):
        side.send(1, b"before", now=pair.now)
    pair.run_for(1)
    for side in (pair.a, pair.b):
        side.reset_association(pair.now)
        side.send(1, b"after", now=pair.now)
    pair.run_for(5)
    done = [AssociationReset() in found for found in (pair.events_a, pair.events_b)]
    assert done[0] == done[1]
    for side in (pair.a, pair.b):
        assert [m.data for m in side.receive(1, 10, now=pair.now)] == [b"before", b"after"]


# ------------------------------------------------------------------------------------- more streams


def test_we_ask_for_more_outgoing_streams() -> None:
    """RFC 6525 5.1.5, H6."""
    peer = established(inbound=10)
    peer.association.add_streams(outgoing=5, now=peer.now)
    [request] = params(peer)
    assert isinstance(request, AddStreamsRequest)
    assert (request.count, request.outgoing) == (5, True)
    with pytest.raises(InvalidStreamError):
        peer.association.send(12, b"x", now=peer.now)  # not before it is granted
    answer(peer, request, PERFORMED)
    assert events(peer) == [StreamsAdded(15, 100)]
    [chunk] = send(peer, 14, b"x")
    assert (chunk.stream_id, chunk.sequence) == (14, 0)


def test_more_streams_may_be_refused() -> None:
    peer = established(inbound=10)
    peer.association.add_streams(outgoing=5, now=peer.now)
    [request] = params(peer)
    answer(peer, request, DENIED)
    [failed] = events(peer)
    assert isinstance(failed, ReconfigFailed)
    assert peer.association.outbound_streams == 10


def test_the_peer_adds_streams() -> None:
    """RFC 6525 5.2.5."""
    peer = established(Config(inbound_streams=10, max_streams=20))
    peer.deliver(reconfig(AddStreamsRequest(FIRST, 5, outgoing=True)))
    assert params(peer) == [ReconfigResponse(FIRST, PERFORMED)]
    assert events(peer) == [StreamsAdded(100, 15)]
    peer.deliver(peer.data(b"x", stream=14, ssn=0))
    assert peer.take_messages(14) == [b"x"]
    peer.deliver(reconfig(AddStreamsRequest(FIRST, 5, outgoing=True)))  # repeated
    assert ReconfigResponse(FIRST, PERFORMED) in params(peer)
    assert peer.association.inbound_streams == 15
    peer.deliver(reconfig(AddStreamsRequest(FIRST + 1, 6, outgoing=True)))
    assert params(peer) == [ReconfigResponse(FIRST + 1, DENIED)], "above the limit"


def test_the_peer_asks_us_to_add_streams() -> None:
    """RFC 6525 5.2.6."""
    peer = established(Config(max_streams=20), inbound=10)
    peer.deliver(reconfig(AddStreamsRequest(FIRST, 5, outgoing=False)))
    found = params(peer)
    assert found[0] == ReconfigResponse(FIRST, PERFORMED)
    assert isinstance(found[1], AddStreamsRequest)
    assert (found[1].count, found[1].outgoing) == (5, True)
    answer(peer, found[1], PERFORMED)
    assert peer.association.outbound_streams == 15
    peer.deliver(reconfig(AddStreamsRequest(FIRST + 1, 6, outgoing=False)))
    assert params(peer) == [ReconfigResponse(FIRST + 1, DENIED)]


def test_streams_are_added_in_both_directions() -> None:
    pair = Pair(Config(outbound_streams=4, inbound_streams=6))
    pair.connect()
    assert (pair.a.outbound_streams, pair.a.inbound_streams) == (4, 4)
    pair.a.add_streams(outgoing=2, incoming=3, now=pair.now)
    pair.b.add_streams(outgoing=1, now=pair.now)
    pair.run_for(2)
    assert (pair.a.outbound_streams, pair.a.inbound_streams) == (6, 8)
    assert (pair.b.outbound_streams, pair.b.inbound_streams) == (8, 6)
    pair.b.send(7, b"x", now=pair.now)
    pair.run_for(1)
    assert [m.data for m in pair.a.receive(7, now=pair.now)] == [b"x"]


def test_counts_that_cannot_be_are_refused_locally() -> None:
    peer = established()
    for counts in ({"outgoing": -1}, {"incoming": -1}, {"outgoing": 65_500}):
        with pytest.raises(ValueError, match="65535"):
            peer.association.add_streams(now=peer.now, **counts)
    assert params(peer) == []


# ---------------------------------------------------------------------------------------- the chunk


@pytest.mark.parametrize(
    "value",
    [
        b"",
        bytes.fromhex("000d0004"),
        bytes.fromhex("000d0010 00001000 00000000"),
        bytes.fromhex("000e0007 000010"),
        bytes.fromhex("0010000a 00001000 0000"),
        bytes.fromhex("00110008 00001000 01"),
        bytes.fromhex("00ff0008 00001000"),
        bytes(40),
    ],
)
def test_malformed_requests_change_nothing(value: bytes) -> None:
    peer = established()
    peer.deliver(b"\x82\0" + (4 + len(value)).to_bytes(2, "big") + value + bytes(-len(value) % 4))
    assert peer.state is State.ESTABLISHED
    assert events(peer) == []
    peer.deliver(outgoing(FIRST, [1], PEER_TSN - 1))
    assert ReconfigResponse(FIRST, PERFORMED) in params(peer)


def test_requests_are_ignored_where_the_extension_was_not_negotiated() -> None:
    peer = established(Config(reconfiguration=False))
    peer.deliver(outgoing(FIRST, [1], PEER_TSN - 1))
    assert params(peer) == []
    assert events(peer) == []


# ----------------------------------------------------------------------------- at the end of it all


def test_what_waits_for_a_reset_is_sent_before_the_shutdown_pitfall_s57() -> None:
    peer = established()
    send(peer, 1, b"before")
    peer.deliver(peer.sack())
    peer.association.reset_streams([1], peer.now)
    [request] = params(peer)
    send(peer, 1, b"behind")
    peer.association.shutdown(peer.now)
    assert peer.take() == []
    answer(peer, request, PERFORMED)
    [behind] = sent(peer)
    assert (behind.payload, behind.sequence) == (b"behind", 0)
    peer.deliver(peer.sack())
    peer.expect("SHUTDOWN")
    peer.deliver(shutdown_ack())
    assert peer.closed.reason is CloseReason.SHUTDOWN


def test_a_reset_without_answer_does_not_hold_up_the_shutdown() -> None:
    peer = established(Config(heartbeat_interval=0))
    peer.association.reset_streams([1], peer.now)
    params(peer)
    peer.association.shutdown(peer.now)
    peer.expect("SHUTDOWN")
    peer.deliver(shutdown_ack())
    assert peer.closed.reason is CloseReason.SHUTDOWN


def test_a_reset_is_answered_while_we_shut_down() -> None:
    peer = established()
    peer.association.shutdown(peer.now)
    peer.expect("SHUTDOWN")
    peer.deliver(outgoing(FIRST, [1], PEER_TSN - 1))
    assert ReconfigResponse(FIRST, PERFORMED) in params(peer)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("when", ["a", "b", "both"])
def test_resets_and_shutdowns_cross(seed: int, when: str) -> None:
    config = Config(max_retransmits=60, max_init_retransmits=60)
    pair = Pair(config, network=Network(Conditions(delay=0.02, loss=0.2), seed=seed))
    pair.connect(600)
    for side in (pair.a, pair.b):
        for number in range(30):
            side.send(number % 4, bytes(2000), ppid=number, now=pair.now)
        side.reset_streams([0, 1], pair.now)
        for number in range(30, 40):
            side.send(number % 4, bytes(2000), ppid=number, now=pair.now)
    pair.run_for(0.1)
    if when != "b":
        pair.a.shutdown(pair.now)
    if when != "a":
        pair.b.shutdown(pair.now)
    pair.run_until(lambda: pair.a.closed is not None and pair.b.closed is not None, 900)
    for side, found in ((pair.a, pair.events_a), (pair.b, pair.events_b)):
        assert isinstance(found[-1], Closed)
        assert found[-1].reason is CloseReason.SHUTDOWN
        for stream in range(4):
            numbers = [m.ppid for m in side.receive(stream, 100, now=pair.now)]
            assert numbers == list(range(stream, 40, 4))


# ------------------------------------------------------------------------------- over a bad network


@pytest.mark.parametrize("interleaving", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_requests_and_answers_may_be_lost_and_doubled(interleaving: bool, seed: int) -> None:
    """Numbers of the stream, reset by reset: each message is in the epoch in which it was sent."""
    conditions = Conditions(
        delay=0.02, loss=0.25, duplicate=0.2, duplicate_delay=0.3, reorder=0.1, reorder_delay=0.05
    )
    config = Config(interleaving=interleaving, max_retransmits=100, max_init_retransmits=50)
    pair = Pair(config, network=Network(conditions, seed=seed))
    pair.connect(600)
    epochs = 12
    for epoch in range(epochs):
        for number in range(6):
            ppid = epoch * 100 + number
            pair.a.send(1, bytes(number * 700 + 1), ppid=ppid, unordered=number == 3, now=pair.now)
        pair.a.reset_streams([1], pair.now)
        pair.run_until(lambda: pair.a.reconfiguration.current is not None, 300)
        pair.run_until(lambda: pair.a.reconfiguration.current is None, 300)
    assert pair.events_a.count(OutgoingStreamsReset((1,))) == epochs
    pair.run_until(lambda: pair.a.sender.is_drained, 300)
    pair.run_for(2)
    found = pair.b.receive(1, 1000, now=pair.now)
    assert len(found) == epochs * 6
    assert [m.ppid // 100 for m in found] == sorted(m.ppid // 100 for m in found)
    ordered = [m.ppid for m in found if not m.unordered]
    assert ordered == sorted(ordered)
    resets = [e for e in pair.events_b if isinstance(e, IncomingStreamsReset)]
    assert len(resets) == epochs


def test_statistics_show_nothing_left_behind() -> None:
    pair = Pair()
    pair.connect()
    pair.a.reset_streams([], pair.now)
    pair.b.request_peer_reset([3], pair.now)
    pair.run_for(3)
    for side in (pair.a, pair.b):
        assert side.statistics().held == 0
        assert side.reconfiguration.current is None
        assert Timer.RECONFIG not in side.timers
