"""Stream re-configuration (RFC 6525): resets of streams and of everything, and more streams.

One request is outstanding at a time (5.1.1); the others wait here in order, and resets of single
streams that wait go together (pitfall S44). A request is sent when what must come before it has
been sent: a reset of streams waits until their queues are empty up to the reset, a reset of
everything until nothing is outstanding.

A request of the peer is answered once, and the answer kept: a repetition gets the same answer,
except that "in progress" is looked at again (pitfall S42). Two are kept, for the chunk that has two
requests.

What a peer asks us to do by a request of our own (5.2.3, 5.2.6) is answered as performed once it
is queued: if it were answered by our request alone, two peers that ask each other at once would
wait for ever, as neither may have two requests outstanding.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

import attrs

from rtcsctp.errors import RemoteProtocolError
from rtcsctp.sctp.events import (
    AssociationReset,
    IncomingStreamsReset,
    OutgoingStreamsReset,
    ReconfigFailed,
    StreamResetFailed,
    StreamsAdded,
)
from rtcsctp.sctp.handlers import path, teardown
from rtcsctp.sctp.state import State
from rtcsctp.sctp.statistics import Drop
from rtcsctp.sctp.timers import Timer
from rtcsctp.sctp.wire import chunks, tlv
from rtcsctp.sctp.wire.chunks import ChunkType
from rtcsctp.sctp.wire.packet import COMMON_HEADER_SIZE
from rtcsctp.sctp.wire.params import (
    AddStreamsRequest,
    IncomingResetRequest,
    OutgoingResetRequest,
    Param,
    ReconfigResponse,
    ReconfigResult,
    ResetAssociationRequest,
    decode_reconfig_untrusted,
)
from rtcsctp.sctp.wire.serial import MASK32, unwrap32
from rtcsctp.sctp.wire.tlv import Tlv

if TYPE_CHECKING:
    from rtcsctp.sctp.association import Association

__all__ = [
    "RESET_SPACING",
    "Reconfiguration",
    "add_streams",
    "confirm",
    "finish_deferred",
    "handle_reconfig",
    "handle_reconfig_timer",
    "progress",
    "request_peer_reset",
    "reset_association",
    "reset_streams",
]

RESET_SPACING = 30.0
"""Seconds between two association resets (RFC 6525 5.1.4: once within a maximum segment lifetime).
"""

_ACTIVE = frozenset({State.ESTABLISHED, State.SHUTDOWN_PENDING, State.SHUTDOWN_RECEIVED})
_MAX_QUEUED = 16  # operations that a peer can make us queue
_REQUEST_SIZE = 20  # header of the chunk, and an outgoing reset request without its list
_NONCE_SIZE = 8

Request = OutgoingResetRequest | IncomingResetRequest | ResetAssociationRequest | AddStreamsRequest


@attrs.define
class _ResetOutgoing:
    """Reset streams that we send on; all of them if `everything`.

    The keys of `streams` are a set that keeps its order.
    """

    streams: dict[int, None]
    everything: bool = False
    answers: int | None = None
    """The peer's incoming reset request that this one answers, as on the wire."""


@attrs.define
class _ResetIncoming:
    """Ask the peer to reset streams that it sends on; all of them if there are none here."""

    streams: dict[int, None]


@attrs.define
class _ResetAssociation:
    pass


@attrs.define
class _AddStreams:
    count: int
    outgoing: bool


_Operation = _ResetOutgoing | _ResetIncoming | _ResetAssociation | _AddStreams


class Reconfiguration:
    """Requests of ours that wait or are outstanding, and the peer's last one."""

    __slots__ = (
        "answers",
        "associations_reset_at",
        "confirmation",
        "current",
        "deferred_number",
        "in_progress",
        "last_deferred",
        "next_request",
        "peer_next",
        "request",
        "suspended_by_peer",
        "waiting",
    )

    def __init__(self, next_request: int, peer_next: int) -> None:
        self.next_request = next_request
        """Our next request sequence number."""
        self.peer_next = peer_next
        """The request sequence number that the peer uses next."""
        self.waiting: list[_Operation] = []
        self.current: _Operation | None = None
        self.request: Request | None = None
        """`current`, as it was sent."""
        self.in_progress = False
        """The peer is working on our request: its silence is no error (pitfall S43)."""
        self.answers: dict[int, tuple[type, ReconfigResponse]] = {}
        """What we answered to the peer's last two requests, by number, with the kind of request."""
        self.deferred_number: int | None = None
        """Number of the peer's request that waits for TSNs."""
        self.last_deferred: tuple[int, frozenset[int]] | None = None
        """Last TSN and streams of the peer's last reset, if it had to wait: the peer may have asked
        for it again under a new number."""
        self.associations_reset_at = float("-inf")
        self.suspended_by_peer = False
        """We assign no TSN, because the peer wants to reset the association."""
        self.confirmation: tuple[bytes, bytes] | None = None
        """After the peer's reset of the association, until it is known that the peer knows: the
        nonce that will say so, and the chunks that carry our answer and the nonce."""

    def record(self, number: int, kind: type, answer: ReconfigResponse) -> None:
        """Remember what a request was answered."""
        self.answers[number] = (kind, answer)
        for old in [n for n in self.answers if n < self.peer_next - 2]:
            del self.answers[old]

    def cancel(self, reason: str) -> list[StreamResetFailed | ReconfigFailed]:
        """Forget everything (a restart); what to tell the user of what will not happen."""
        operations = [self.current, *self.waiting]
        self.waiting.clear()
        self.current = self.request = None
        return [_failure(operation, reason) for operation in operations if operation is not None]


def _failure(operation: _Operation, reason: str) -> StreamResetFailed | ReconfigFailed:
    """What the user is told when an operation fails."""
    match operation:
        case _ResetOutgoing():
            return StreamResetFailed(tuple(operation.streams), reason)
        case _ResetIncoming():
            return ReconfigFailed("reset of the peer's streams", reason)
        case _ResetAssociation():
            return ReconfigFailed("association reset", reason)
        case _AddStreams():
            return ReconfigFailed("more streams", reason)


# ----------------------------------------------------------------------------------- commands


def reset_streams(a: Association, streams: Sequence[int]) -> None:
    """Reset streams that we send on (5.1.2), after what is queued on them now; () is all.

    The packet maker sends the request: the user may have more streams to name.
    """
    reconfiguration = a.reconfiguration
    pending = [
        op
        for op in (reconfiguration.current, *reconfiguration.waiting)
        if isinstance(op, _ResetOutgoing)
    ]
    if any(op.everything for op in pending):
        return  # under way: asking for it again changes nothing
    if not streams:
        everything = _ResetOutgoing({}, everything=True)
        _put_barriers(a, everything)
        reconfiguration.waiting.append(everything)
    new = {s: None for s in streams if not any(s in op.streams for op in pending)}
    if new:
        _put_barriers(a, _ResetOutgoing(new))
        for op in reconfiguration.waiting:
            if isinstance(op, _ResetOutgoing) and op.answers is None:
                op.streams.update(new)  # they go together (pitfall S44)
                break
        else:
            reconfiguration.waiting.append(_ResetOutgoing(new))


def _put_barriers(a: Association, operation: _ResetOutgoing) -> None:
    """What is queued from now on, on the streams that will be reset, waits for the answer (A1)."""
    queue = a.sender.queue
    if operation.everything:
        queue.put_barriers()
    for stream_id in operation.streams:
        queue.put_barrier(queue.stream(stream_id))


def _lift_barriers(a: Association, operation: _ResetOutgoing, *, from_zero: bool) -> None:
    """A reset was answered; what waited for it goes on, unless another reset comes first."""
    queue = a.sender.queue
    if operation.everything:
        queue.lift_barriers(from_zero=from_zero)
    for stream_id in operation.streams:
        queue.lift_barrier(queue.stream(stream_id), from_zero=from_zero)
    for other in a.reconfiguration.waiting:
        if isinstance(other, _ResetOutgoing):
            _put_barriers(a, other)


def _max_listed(a: Association) -> int:
    """Stream numbers that fit a request."""
    return (a.config.mtu - COMMON_HEADER_SIZE - _REQUEST_SIZE) // 2 - 1


def request_peer_reset(a: Association, streams: Sequence[int], now: float) -> None:
    """Ask the peer to reset streams that it sends on (5.1.3); () is all."""
    waiting = a.reconfiguration.waiting
    last = waiting[-1] if waiting else None
    if streams and isinstance(last, _ResetIncoming) and last.streams:
        last.streams.update(dict.fromkeys(streams))
    else:
        waiting.append(_ResetIncoming(dict.fromkeys(streams)))
    progress(a, now)


def reset_association(a: Association, now: float) -> None:
    """Reset all stream numbers and TSNs (5.1.4), when nothing is outstanding."""
    a.reconfiguration.associations_reset_at = now
    a.reconfiguration.waiting.append(_ResetAssociation())
    progress(a, now)


def add_streams(a: Association, outgoing: int, incoming: int, now: float) -> None:
    """Ask for more streams (5.1.5, 5.1.6)."""
    if outgoing:
        a.reconfiguration.waiting.append(_AddStreams(outgoing, outgoing=True))
    if incoming:
        a.reconfiguration.waiting.append(_AddStreams(incoming, outgoing=False))
    progress(a, now)


# ---------------------------------------------------------------------------- our next request


def progress(a: Association, now: float) -> None:
    """Send the next request, if none is outstanding and its time has come."""
    reconfiguration = a.reconfiguration
    if reconfiguration.current is not None or not reconfiguration.waiting or a.state not in _ACTIVE:
        return
    if reconfiguration.suspended_by_peer or reconfiguration.confirmation is not None:
        return  # the peer resets the association: first this, then ours
    operation = _next_operation(a)
    if operation is None:
        return
    number = reconfiguration.next_request & MASK32
    request: Request
    match operation:
        case _ResetOutgoing():
            request = _request_reset(a, operation, number)
        case _ResetIncoming():
            request = IncomingResetRequest(number, tuple(operation.streams))
        case _ResetAssociation():
            request = ResetAssociationRequest(number)
        case _AddStreams():
            request = AddStreamsRequest(number, operation.count, operation.outgoing)
    reconfiguration.next_request += 1
    reconfiguration.current = operation
    reconfiguration.request = request
    reconfiguration.in_progress = False
    _send_request(a, now)


def _next_operation(a: Association) -> _Operation | None:
    """Take the first operation that is ready out of the waiting ones."""
    waiting = a.reconfiguration.waiting
    for operation in waiting:
        match operation:
            case _ResetOutgoing():
                ready = _drained(a, operation)
                if not ready and (operation.streams or len(a.sender.queue.active)):
                    continue  # something else may go meanwhile
                if len(ready) < len(operation.streams):
                    return _ResetOutgoing(_take(operation.streams, ready))
            case _ResetIncoming():
                limit = _max_listed(a)
                if len(operation.streams) > limit:
                    first = list(islice(operation.streams, limit))
                    return _ResetIncoming(_take(operation.streams, first))
            case _ResetAssociation():
                a.sender.suspended = True
                if not a.sender.is_between_messages:
                    return None  # nothing may overtake it
            case _AddStreams():
                pass
        waiting.remove(operation)
        return operation
    return None


def _drained(a: Association, operation: _ResetOutgoing) -> list[int]:
    """Those of its streams on which nothing waits that must go before the reset.

    As many as fit a request; all or none of them, where they answer a request of the peer.
    """
    find = a.sender.queue.find

    def is_drained(stream_id: int) -> bool:
        stream = find(stream_id)
        return stream is None or not stream.queue

    if operation.answers is not None and not all(map(is_drained, operation.streams)):
        return []
    return list(islice(filter(is_drained, operation.streams), _max_listed(a)))


def _take(streams: dict[int, None], some: Sequence[int]) -> dict[int, None]:
    """Take `some` out of `streams`."""
    for stream_id in some:
        del streams[stream_id]
    return dict.fromkeys(some)


def _request_reset(a: Association, operation: _ResetOutgoing, number: int) -> OutgoingResetRequest:
    reconfiguration, sender = a.reconfiguration, a.sender
    sender.break_at_last_tsn()
    answers = operation.answers
    if answers is None:
        answers = (reconfiguration.peer_next - 1) & MASK32
    last_tsn = (sender.outstanding.next_tsn - 1) & MASK32
    return OutgoingResetRequest(number, answers, last_tsn, tuple(operation.streams))


def _send_request(a: Association, now: float) -> None:
    request = a.reconfiguration.request
    assert request is not None
    a.outbox.queue(chunks.encode_tlvs(ChunkType.RE_CONFIG, [request.encode()]))
    a.timers.start(Timer.RECONFIG, now + a.sender.rto.value)


def handle_reconfig_timer(a: Association, now: float) -> None:
    """Our request was not answered, or the peer needed time (pitfalls S43, W45)."""
    reconfiguration = a.reconfiguration
    if a.timers.expire(Timer.RECONFIG, now, a.sender.rto.value) is None:
        return
    if a.state not in _ACTIVE:
        return
    is_ours = reconfiguration.request is not None
    if not is_ours and reconfiguration.confirmation is None:
        return
    if not (is_ours and reconfiguration.in_progress):
        a.sender.rto.back_off()
        if path.count_error(a, now):
            return
    if is_ours:
        _send_request(a, now)
    else:
        _ask_for_confirmation(a, now)


# --------------------------------------------------------------------------------- RE-CONFIG


def handle_reconfig(
    a: Association, packet: bytes, start: int, end: int, flags: int, now: float
) -> None:
    """RE-CONFIG: one or two parameters, requests or answers."""
    del flags
    if a.tcb is None or not a.tcb.reconfiguration or a.state not in (*_ACTIVE, State.SHUTDOWN_SENT):
        a.counters.drops[Drop.UNEXPECTED] += 1
        return
    if a.is_one_too_many():
        return
    finish_deferred(a, now)  # a repetition may come in one batch with what the reset waited for
    if a.closed is not None:
        return
    answers: list[Tlv] = []
    for kind, value in tlv.parse_untrusted(packet[start:end])[:2]:
        param = decode_reconfig_untrusted(kind, value)
        if param is None:
            continue
        if isinstance(param, ReconfigResponse):
            _handle_response(a, param, now)
            continue
        if isinstance(param, OutgoingResetRequest):
            _acknowledged_by_request(a, param)
        answers.append(_answer(a, param, now).encode())
        # "a selective acknowledgment (SACK) chunk SHOULD be sent back" (5.2.1)
        a.receiver.policy.immediately()
    if answers:
        chunk = chunks.encode_tlvs(ChunkType.RE_CONFIG, answers)
        if a.reconfiguration.confirmation is not None:
            chunk = a.reconfiguration.confirmation[1]
        a.outbox.answer(chunk)
    progress(a, now)


def _acknowledged_by_request(a: Association, request: OutgoingResetRequest) -> None:
    """An outgoing reset may be the answer to our incoming one (5.2.2 E1)."""
    ours = a.reconfiguration.request
    if isinstance(ours, IncomingResetRequest) and ours.request_number == request.response_number:
        _done(a)


def _done(a: Association) -> None:
    a.timers.stop(Timer.RECONFIG)
    a.reconfiguration.current = a.reconfiguration.request = None


def _handle_response(a: Association, response: ReconfigResponse, now: float) -> None:
    reconfiguration = a.reconfiguration
    request, operation = reconfiguration.request, reconfiguration.current
    if request is None or operation is None or request.request_number != response.response_number:
        return  # H1: not what we wait for
    path.clear_errors(a)
    if response.result == ReconfigResult.IN_PROGRESS:
        reconfiguration.in_progress = True
        a.timers.start(Timer.RECONFIG, now + a.sender.rto.value)  # H2
        return
    _done(a)
    if response.result in (ReconfigResult.PERFORMED, ReconfigResult.NOTHING_TO_DO):
        _performed(a, operation, response)
    else:
        _refused(a, operation, response.result)


def _performed(a: Association, operation: _Operation, response: ReconfigResponse) -> None:
    match operation:
        case _ResetOutgoing():
            _lift_barriers(a, operation, from_zero=True)
            a.emit(OutgoingStreamsReset(tuple(operation.streams)))
        case _ResetAssociation():
            if response.sender_next_tsn is None or response.receiver_next_tsn is None:
                a.sender.suspended = False
                a.emit(ReconfigFailed("association reset", "the answer has no TSNs"))
                return
            a.receiver.reset_association(response.sender_next_tsn)
            a.sender.reset_association(response.receiver_next_tsn)
            a.emit(AssociationReset())
        case _AddStreams(count, outgoing=True):
            _more_streams(a, outbound=count)
        case _AddStreams() | _ResetIncoming():
            pass  # the peer's own request carries it out


def _refused(a: Association, operation: _Operation, result: int) -> None:
    """Roll back: sequence numbers go on where they were (pitfall S45)."""
    try:
        reason = ReconfigResult(result).name.replace("_", " ").lower()
    except ValueError:
        reason = f"result {result}"
    if isinstance(operation, _ResetOutgoing):
        _lift_barriers(a, operation, from_zero=False)
    elif isinstance(operation, _ResetAssociation):
        a.sender.suspended = False
    a.emit(_failure(operation, reason))


def _more_streams(a: Association, outbound: int = 0, inbound: int = 0) -> None:
    assert a.tcb is not None
    a.tcb = attrs.evolve(
        a.tcb,
        outbound_streams=a.tcb.outbound_streams + outbound,
        inbound_streams=a.tcb.inbound_streams + inbound,
    )
    a.receiver.stream_count = a.tcb.inbound_streams
    a.emit(StreamsAdded(a.tcb.outbound_streams, a.tcb.inbound_streams))


# ---------------------------------------------------------------------- requests of the peer


def _answer(a: Association, request: Request, now: float) -> ReconfigResponse:
    """Judge the number of a request, carry it out if it is new, and give the answer."""
    reconfiguration = a.reconfiguration
    number = unwrap32(request.request_number, reconfiguration.peer_next)
    recorded = reconfiguration.answers.get(number)
    if recorded is not None:
        kind, answer = recorded
        if type(request) is not kind or answer.result != ReconfigResult.IN_PROGRESS:
            return answer  # a repetition: "the same RE-CONFIG chunk" (5.2.1)
    elif number != reconfiguration.peer_next:
        return ReconfigResponse(request.request_number, ReconfigResult.BAD_SEQUENCE_NUMBER)
    else:
        reconfiguration.peer_next += 1
    result: ReconfigResult | ReconfigResponse
    match request:
        case OutgoingResetRequest():
            result = _peer_resets(a, request, number)
        case IncomingResetRequest():
            result = _peer_wants_reset(a, request)
        case ResetAssociationRequest():
            result = _peer_resets_association(a, request, now)
        case AddStreamsRequest(outgoing=True):
            result = _peer_adds(a, request)
        case AddStreamsRequest():
            result = _peer_wants_more(a, request)
    if not isinstance(result, ReconfigResponse):
        result = ReconfigResponse(request.request_number, result)
    reconfiguration.record(number, type(request), result)
    return result


def _peer_resets(a: Association, request: OutgoingResetRequest, number: int) -> ReconfigResult:
    """The peer resets streams that it sends on (5.2.2)."""
    reconfiguration, receiver = a.reconfiguration, a.receiver
    if any(s >= receiver.stream_count for s in request.streams):
        return ReconfigResult.WRONG_SSN
    last_tsn = unwrap32(request.last_tsn, receiver.tsns.cumulative)
    key = (last_tsn, frozenset(request.streams))
    if reconfiguration.last_deferred == key:
        return ReconfigResult.PERFORMED  # the same one under a new number, after "in progress"
    deferred = receiver.deferred
    if deferred is not None and deferred.last_tsn != last_tsn:
        return ReconfigResult.IN_PROGRESS_ALREADY
    streams = frozenset(request.streams) or None
    if not receiver.reset_streams(last_tsn, streams):
        reconfiguration.deferred_number = number
        return ReconfigResult.IN_PROGRESS
    reconfiguration.last_deferred = None
    a.emit(IncomingStreamsReset(request.streams, receiver.unread_at_reset))
    return ReconfigResult.PERFORMED


def finish_deferred(a: Association, now: float) -> None:
    """Carry out a reset that waited for TSNs, and answer it without being asked again."""
    receiver, reconfiguration = a.receiver, a.reconfiguration
    deferred = receiver.deferred
    if deferred is None:
        return
    try:
        if not receiver.finish_deferred_reset():
            return
    except RemoteProtocolError as error:  # by a chunk that was deferred
        teardown.abort_for_violation(a, str(error), now)
        return
    streams = tuple(sorted(deferred.streams or ()))
    reconfiguration.last_deferred = (deferred.last_tsn, frozenset(streams))
    a.emit(IncomingStreamsReset(streams, receiver.unread_at_reset))
    number, reconfiguration.deferred_number = reconfiguration.deferred_number, None
    if number is not None:
        answer = ReconfigResponse(number & MASK32, ReconfigResult.PERFORMED)
        reconfiguration.record(number, OutgoingResetRequest, answer)
        a.outbox.answer(chunks.encode_tlvs(ChunkType.RE_CONFIG, [answer.encode()]))


def _peer_wants_reset(a: Association, request: IncomingResetRequest) -> ReconfigResult:
    """The peer asks us to reset streams that we send on (5.2.3)."""
    reconfiguration = a.reconfiguration
    assert a.tcb is not None
    if any(s >= a.tcb.outbound_streams for s in request.streams):
        return ReconfigResult.WRONG_SSN
    current, wanted = reconfiguration.current, set(request.streams)

    def covers(op: _Operation | None) -> bool:
        return isinstance(op, _ResetOutgoing) and (
            op.everything or (bool(wanted) and wanted <= op.streams.keys())
        )

    if covers(current):
        return ReconfigResult.NOTHING_TO_DO  # ours "completely overlaps" it
    if any(map(covers, reconfiguration.waiting)):
        return ReconfigResult.PERFORMED  # it will be, when what is queued has been sent
    if len(reconfiguration.waiting) >= _MAX_QUEUED or len(request.streams) > _max_listed(a):
        return ReconfigResult.DENIED
    operation = _ResetOutgoing(
        dict.fromkeys(request.streams),
        everything=not request.streams,
        answers=request.request_number,
    )
    _put_barriers(a, operation)
    reconfiguration.waiting.append(operation)
    return ReconfigResult.PERFORMED


def _peer_resets_association(
    a: Association, request: ResetAssociationRequest, now: float
) -> ReconfigResult | ReconfigResponse:
    """5.2.4, once what we sent is acknowledged: nothing reliable is dropped for it.

    Before the peer knows our answer, it would take the new stream numbers for old ones, and drop
    what bears them. So new data waits for the proof that it knows: the acknowledgement of a
    HEARTBEAT that travels in one packet with the answer.
    """
    sender, receiver, reconfiguration = a.sender, a.receiver, a.reconfiguration
    if isinstance(reconfiguration.current, _ResetAssociation):
        return ReconfigResult.IN_PROGRESS_ALREADY
    if (
        reconfiguration.current is not None
        or receiver.deferred is not None
        or not sender.is_between_messages
    ):
        sender.suspended = reconfiguration.suspended_by_peer = True
        return ReconfigResult.IN_PROGRESS
    reconfiguration.suspended_by_peer = False
    ours = sender.outstanding.next_tsn & MASK32  # G2
    theirs = (receiver.tsns.cumulative + 1 + (1 << 31)) & MASK32  # G1
    receiver.reset_association(theirs)
    sender.reset_association(ours)
    sender.suspended = True
    a.emit(AssociationReset())
    answer = ReconfigResponse(request.request_number, ReconfigResult.PERFORMED, ours, theirs)
    nonce = a.rng.randbytes(_NONCE_SIZE)
    proof = chunks.encode_tlvs(ChunkType.RE_CONFIG, [answer.encode()])
    proof += chunks.encode_tlvs(ChunkType.HEARTBEAT, [(Param.HEARTBEAT_INFO, nonce)])
    reconfiguration.confirmation = (nonce, proof)
    a.timers.start(Timer.RECONFIG, now + sender.rto.value)
    return answer


def _ask_for_confirmation(a: Association, now: float) -> None:
    """Send the answer to an association reset again, and the HEARTBEAT that proves its arrival."""
    confirmation = a.reconfiguration.confirmation
    assert confirmation is not None
    if a.state is State.SHUTDOWN_RECEIVED:
        _confirmed(a)  # the peer answers no HEARTBEAT any more, and has had time to ask again
        return
    a.outbox.queue(confirmation[1])
    a.timers.start(Timer.RECONFIG, now + a.sender.rto.value)


def confirm(a: Association, nonce: bytes) -> bool:
    """A HEARTBEAT ACK came; whether it proves that the peer has our answer."""
    confirmation = a.reconfiguration.confirmation
    if confirmation is None or confirmation[0] != nonce:
        return False
    _confirmed(a)
    return True


def _confirmed(a: Association) -> None:
    a.reconfiguration.confirmation = None
    a.timers.stop(Timer.RECONFIG)
    a.sender.suspended = False


def _peer_adds(a: Association, request: AddStreamsRequest) -> ReconfigResult:
    """5.2.5: more streams that the peer sends on."""
    assert a.tcb is not None
    if not request.count or a.tcb.inbound_streams + request.count > a.config.max_streams:
        return ReconfigResult.DENIED
    _more_streams(a, inbound=request.count)
    return ReconfigResult.PERFORMED


def _peer_wants_more(a: Association, request: AddStreamsRequest) -> ReconfigResult:
    """5.2.6: the peer wants us to have more streams; our own request follows."""
    assert a.tcb is not None
    waiting = a.reconfiguration.waiting
    total = a.tcb.outbound_streams + request.count
    if not request.count or total > a.config.max_streams or len(waiting) >= _MAX_QUEUED:
        return ReconfigResult.DENIED
    waiting.append(_AddStreams(request.count, outgoing=True))
    return ReconfigResult.PERFORMED
