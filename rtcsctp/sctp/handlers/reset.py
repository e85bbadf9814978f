"""Stream re-configuration (RFC 6525): resets of streams and of everything, and more streams.

One request is outstanding at a time (5.1.1); the others wait here in order, and resets of single
streams that wait go together (pitfall S44). A request is sent when what must come before it has
been sent: a reset of streams waits until their queues are empty up to the reset, a reset of
everything until nothing is outstanding.

A request of the peer is answered once, and the answer kept: a repetition gets the same answer,
except that "in progress" is looked at again (pitfall S42).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from rtcsctp.sctp.events import (
    AssociationReset,
    IncomingStreamsReset,
    OutgoingStreamsReset,
    ReconfigFailed,
    StreamResetFailed,
    StreamsAdded,
)
from rtcsctp.sctp.handlers import path
from rtcsctp.sctp.state import State
from rtcsctp.sctp.statistics import Drop
from rtcsctp.sctp.timers import Timer
from rtcsctp.sctp.wire import chunks, tlv
from rtcsctp.sctp.wire.chunks import ChunkType
from rtcsctp.sctp.wire.params import (
    AddStreamsRequest,
    IncomingResetRequest,
    OutgoingResetRequest,
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
_MAX_LISTED = 1000  # stream numbers in one request: they must fit a packet; the rest waits
_MAX_QUEUED = 64  # operations that a peer can make us queue

Request = OutgoingResetRequest | IncomingResetRequest | ResetAssociationRequest | AddStreamsRequest


@attrs.define
class _ResetOutgoing:
    """Reset streams that we send on; all of them if `everything`."""

    streams: tuple[int, ...]
    everything: bool = False
    answers: int | None = None
    """The peer's incoming reset request that this one answers, as on the wire."""


@attrs.define
class _ResetIncoming:
    streams: tuple[int, ...]


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
        "answer",
        "answer_kind",
        "associations_reset_at",
        "current",
        "deferred_answer",
        "in_progress",
        "last_reset",
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
        self.waiting: deque[_Operation] = deque()
        self.current: _Operation | None = None
        self.request: Request | None = None
        """`current`, as it was sent."""
        self.in_progress = False
        """The peer is working on our request: its silence is no error (pitfall S43)."""
        self.answer: ReconfigResponse | None = None
        """What we answered to the peer's last request."""
        self.answer_kind: type | None = None
        self.deferred_answer: int | None = None
        """Number of the peer's request that waits for TSNs, as on the wire."""
        self.last_reset: tuple[int, frozenset[int]] | None = None
        """Last TSN and streams of the peer's last reset that was carried out."""
        self.associations_reset_at = float("-inf")
        self.suspended_by_peer = False
        """We assign no TSN, because the peer wants to reset the association."""

    def cancel(self) -> list[tuple[int, ...]]:
        """Forget everything (a restart); the streams whose reset will not happen."""
        operations = [self.current, *self.waiting]
        self.waiting.clear()
        self.current = self.request = None
        return [op.streams for op in operations if isinstance(op, _ResetOutgoing)]


# ----------------------------------------------------------------------------------- commands


def reset_streams(a: Association, streams: Sequence[int], now: float) -> None:
    """Reset streams that we send on (5.1.2), after what is queued on them now; () is all."""
    reconfiguration = a.reconfiguration
    if streams:
        pending = _pending_streams(reconfiguration)
        new = [s for s in dict.fromkeys(streams) if s not in pending]
        for stream_id in new:
            a.sender.queue.put_barrier(a.sender.queue.stream(stream_id))
        if new:
            reconfiguration.waiting.append(_ResetOutgoing(tuple(new)))
    else:
        for stream in a.sender.queue.streams():
            a.sender.queue.put_barrier(stream)
        reconfiguration.waiting.append(_ResetOutgoing((), everything=True))
    progress(a, now)


def _pending_streams(reconfiguration: Reconfiguration) -> set[int]:
    """Streams with a reset under way: asking for it again changes nothing."""
    operations = [reconfiguration.current, *reconfiguration.waiting]
    return {s for op in operations if isinstance(op, _ResetOutgoing) for s in op.streams}


def request_peer_reset(a: Association, streams: Sequence[int], now: float) -> None:
    """Ask the peer to reset streams that it sends on (5.1.3); () is all."""
    a.reconfiguration.waiting.append(_ResetIncoming(tuple(dict.fromkeys(streams))))
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
    operation = _next_operation(a)
    if operation is None:
        return
    number = reconfiguration.next_request & MASK32
    request: Request
    match operation:
        case _ResetOutgoing():
            request = _request_reset(a, operation, number)
        case _ResetIncoming():
            request = IncomingResetRequest(number, operation.streams)
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
        if isinstance(operation, _ResetOutgoing):
            ready = _take_drained(a, operation)
            if ready is not None:
                return ready
        elif isinstance(operation, _ResetAssociation):
            a.sender.suspended = True
            if a.sender.is_between_messages:
                waiting.remove(operation)
                return operation
            return None  # nothing may overtake it
        else:
            waiting.remove(operation)
            return operation
    return None


def _take_drained(a: Association, operation: _ResetOutgoing) -> _ResetOutgoing | None:
    """The reset of those streams that are drained up to it, together with others that wait."""
    waiting, queue = a.reconfiguration.waiting, a.sender.queue

    def drained(stream_id: int) -> bool:
        stream = queue.find(stream_id)
        return stream is None or not stream.queue

    if operation.everything:
        if any(stream.queue for stream in queue.streams()):
            return None
        waiting.remove(operation)
        return operation
    if operation.answers is not None:
        if not all(drained(s) for s in operation.streams):
            return None
        waiting.remove(operation)
        return operation
    resets = [op for op in waiting if isinstance(op, _ResetOutgoing) and op.answers is None]
    ready = [s for op in resets if not op.everything for s in op.streams if drained(s)][
        :_MAX_LISTED
    ]
    if not ready:
        return None
    taken = set(ready)
    for op in resets:
        if not op.everything:
            op.streams = tuple(s for s in op.streams if s not in taken)
            if not op.streams:
                waiting.remove(op)
    return _ResetOutgoing(tuple(ready))


def _request_reset(a: Association, operation: _ResetOutgoing, number: int) -> OutgoingResetRequest:
    reconfiguration, sender = a.reconfiguration, a.sender
    for stream_id in operation.streams:
        sender.queue.put_barrier(sender.queue.stream(stream_id))
    if operation.everything:
        for stream in sender.queue.streams():
            sender.queue.put_barrier(stream)
    sender.break_at_last_tsn()
    answers = operation.answers
    if answers is None:
        answers = (reconfiguration.peer_next - 1) & MASK32
    last_tsn = (sender.outstanding.next_tsn - 1) & MASK32
    return OutgoingResetRequest(number, answers, last_tsn, operation.streams)


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
    if reconfiguration.request is None or a.state not in _ACTIVE:
        return
    if not reconfiguration.in_progress:
        a.sender.rto.back_off()
        if path.count_error(a, now):
            return
    _send_request(a, now)


# --------------------------------------------------------------------------------- RE-CONFIG


def handle_reconfig(
    a: Association, packet: bytes, start: int, end: int, flags: int, now: float
) -> None:
    """RE-CONFIG: one or two parameters, requests or answers."""
    del flags
    if a.tcb is None or not a.tcb.reconfiguration or a.state not in (*_ACTIVE, State.SHUTDOWN_SENT):
        a.counters.drops[Drop.UNEXPECTED] += 1
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
        answer = _answer(a, param, now)
        if answer is not None:
            answers.append(answer.encode())
            # "a selective acknowledgment (SACK) chunk SHOULD be sent back" (5.2.1)
            a.receiver.policy.immediately()
    if answers:
        a.outbox.answer(chunks.encode_tlvs(ChunkType.RE_CONFIG, answers))
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
            for stream_id in _streams_of(a, operation):
                a.sender.queue.lift_barrier(a.sender.queue.stream(stream_id), from_zero=True)
            a.emit(OutgoingStreamsReset(operation.streams))
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
    match operation:
        case _ResetOutgoing():
            for stream_id in _streams_of(a, operation):
                a.sender.queue.lift_barrier(a.sender.queue.stream(stream_id), from_zero=False)
            a.emit(StreamResetFailed(operation.streams, reason))
        case _ResetIncoming():
            a.emit(ReconfigFailed("reset of the peer's streams", reason))
        case _ResetAssociation():
            a.sender.suspended = False
            a.emit(ReconfigFailed("association reset", reason))
        case _AddStreams():
            a.emit(ReconfigFailed("more streams", reason))


def _streams_of(a: Association, operation: _ResetOutgoing) -> Sequence[int]:
    if not operation.everything:
        return operation.streams
    return [stream.stream_id for stream in a.sender.queue.streams()]


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


def _answer(a: Association, request: Request, now: float) -> ReconfigResponse | None:
    """Judge the number of a request, carry it out if it is new, and give the answer.

    None where another request of ours will be the answer.
    """
    reconfiguration = a.reconfiguration
    number = unwrap32(request.request_number, reconfiguration.peer_next)
    if number == reconfiguration.peer_next - 1 and reconfiguration.answer is not None:
        same = type(request) is reconfiguration.answer_kind
        if not same or reconfiguration.answer.result != ReconfigResult.IN_PROGRESS:
            return reconfiguration.answer  # a repetition: "the same RE-CONFIG chunk" (5.2.1)
    elif number != reconfiguration.peer_next:
        return ReconfigResponse(request.request_number, ReconfigResult.BAD_SEQUENCE_NUMBER)
    else:
        reconfiguration.peer_next += 1
    result: ReconfigResult | ReconfigResponse
    match request:
        case OutgoingResetRequest():
            result = _peer_resets(a, request)
        case IncomingResetRequest():
            result = _peer_wants_reset(a, request)
        case ResetAssociationRequest():
            result = _peer_resets_association(a, request)
        case AddStreamsRequest(outgoing=True):
            result = _peer_adds(a, request)
        case AddStreamsRequest():
            result = _peer_wants_more(a, request)
    del now
    if not isinstance(result, ReconfigResponse):
        result = ReconfigResponse(request.request_number, result)
    reconfiguration.answer = result
    reconfiguration.answer_kind = type(request)
    return result


def _peer_resets(a: Association, request: OutgoingResetRequest) -> ReconfigResult:
    reconfiguration, receiver = a.reconfiguration, a.receiver
    if any(s >= receiver.stream_count for s in request.streams):
        return ReconfigResult.WRONG_SSN
    last_tsn = unwrap32(request.last_tsn, receiver.tsns.cumulative)
    key = (last_tsn, frozenset(request.streams))
    if reconfiguration.last_reset == key:
        return ReconfigResult.PERFORMED  # the same one under a new number, after "in progress"
    deferred = receiver.deferred
    if deferred is not None and deferred.last_tsn != last_tsn:
        return ReconfigResult.IN_PROGRESS_ALREADY
    streams = frozenset(request.streams) or None
    if not receiver.reset_streams(last_tsn, streams):
        reconfiguration.deferred_answer = request.request_number
        return ReconfigResult.IN_PROGRESS
    reconfiguration.last_reset = key
    a.emit(IncomingStreamsReset(request.streams, receiver.unread_at_reset))
    return ReconfigResult.PERFORMED


def finish_deferred(a: Association) -> None:
    """Carry out a reset that waited for TSNs, and answer it without being asked again."""
    receiver, reconfiguration = a.receiver, a.reconfiguration
    deferred = receiver.deferred
    if deferred is None or not receiver.finish_deferred_reset():
        return
    streams = tuple(sorted(deferred.streams or ()))
    reconfiguration.last_reset = (deferred.last_tsn, frozenset(streams))
    a.emit(IncomingStreamsReset(streams, receiver.unread_at_reset))
    number, reconfiguration.deferred_answer = reconfiguration.deferred_answer, None
    if number is not None:
        answer = ReconfigResponse(number, ReconfigResult.PERFORMED)
        reconfiguration.answer = answer
        a.outbox.answer(chunks.encode_tlvs(ChunkType.RE_CONFIG, [answer.encode()]))


def _peer_wants_reset(a: Association, request: IncomingResetRequest) -> ReconfigResult:
    """The peer asks us to reset streams that we send on (5.2.3)."""
    reconfiguration = a.reconfiguration
    assert a.tcb is not None
    if any(s >= a.tcb.outbound_streams for s in request.streams):
        return ReconfigResult.WRONG_SSN
    current = reconfiguration.current
    if isinstance(current, _ResetOutgoing):
        wanted = set(request.streams)
        if current.everything or (wanted and wanted <= set(current.streams)):
            return ReconfigResult.NOTHING_TO_DO  # ours "completely overlaps" it
    number = request.request_number
    under_way = [current, *reconfiguration.waiting]
    if any(isinstance(op, _ResetOutgoing) and op.answers == number for op in under_way):
        return ReconfigResult.IN_PROGRESS
    if len(reconfiguration.waiting) >= _MAX_QUEUED or len(request.streams) > _MAX_LISTED:
        return ReconfigResult.DENIED
    for stream_id in request.streams:
        a.sender.queue.put_barrier(a.sender.queue.stream(stream_id))
    reconfiguration.waiting.append(
        _ResetOutgoing(request.streams, everything=not request.streams, answers=number)
    )
    return ReconfigResult.IN_PROGRESS


def _peer_resets_association(
    a: Association, request: ResetAssociationRequest
) -> ReconfigResult | ReconfigResponse:
    """5.2.4, once what we sent is acknowledged: nothing reliable is dropped for it."""
    sender, receiver, reconfiguration = a.sender, a.receiver, a.reconfiguration
    if reconfiguration.current is not None or receiver.deferred is not None:
        return ReconfigResult.IN_PROGRESS_ALREADY
    if not sender.is_between_messages:
        sender.suspended = reconfiguration.suspended_by_peer = True
        return ReconfigResult.IN_PROGRESS
    reconfiguration.suspended_by_peer = False
    ours = sender.outstanding.next_tsn & MASK32  # G2
    theirs = (receiver.tsns.cumulative + 1 + (1 << 31)) & MASK32  # G1
    receiver.reset_association(theirs)
    sender.reset_association(ours)
    a.emit(AssociationReset())
    return ReconfigResponse(request.request_number, ReconfigResult.PERFORMED, ours, theirs)


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
