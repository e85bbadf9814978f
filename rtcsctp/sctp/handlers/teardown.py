"""The end of an association: SHUTDOWN, ABORT, and ERROR on the way (RFC 9260 chapter 9, 3.3.10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtcsctp.errors import RemoteProtocolError
from rtcsctp.sctp.events import Closed, CloseReason, ErrorReported, PeerShutdown
from rtcsctp.sctp.handlers import data, path, setup
from rtcsctp.sctp.state import State, Step
from rtcsctp.sctp.statistics import Drop
from rtcsctp.sctp.timers import Timer
from rtcsctp.sctp.wire import causes, chunks, tlv
from rtcsctp.sctp.wire.causes import Cause
from rtcsctp.sctp.wire.chunks import ChunkType
from rtcsctp.sctp.wire.tlv import Tlv

if TYPE_CHECKING:
    from rtcsctp.sctp.association import Association

__all__ = [
    "ABORT_T_BIT",
    "abort",
    "abort_for_violation",
    "abort_with",
    "handle_abort",
    "handle_error",
    "handle_shutdown",
    "handle_shutdown_ack",
    "handle_shutdown_complete",
    "handle_t2",
    "handle_t5",
    "heard_in_shutdown_sent",
    "progress",
    "shutdown",
]

ABORT_T_BIT = 1
"""The T bit of ABORT and SHUTDOWN COMPLETE: the verification tag is the sender's, reflected."""


_SHUTDOWN_GUARD = 5
"""T5-shutdown-guard, in units of RTO.Max: "the RECOMMENDED value" of RFC 9260 9.2."""


def _has_right_tag(a: Association, packet: bytes, flags: int) -> bool:
    """Whether an ABORT or SHUTDOWN COMPLETE has the tag that its T bit promises (8.5.1 B, C)."""
    expected = a.remote_tag if flags & ABORT_T_BIT else a.setup.local_tag
    return int.from_bytes(packet[4:8], "big") == expected


# ----------------------------------------------------------------------------------- SHUTDOWN


def shutdown(a: Association, now: float) -> None:
    """The user wants an orderly end: everything queued is delivered first."""
    a.step(Step.SHUTDOWN)
    progress(a, now)


def progress(a: Association, now: float) -> None:
    """Take the step that waited for everything we sent to be acknowledged."""
    if a.state is State.SHUTDOWN_PENDING and a.sender.is_drained:
        a.step(Step.DRAINED)
        a.path.forget_heartbeats()
        a.timers.stop(Timer.HEARTBEAT)
        a.shutdown_wanted = True
        a.timers.start(Timer.T2_SHUTDOWN, now + a.sender.rto.value)
        guard = _SHUTDOWN_GUARD * a.config.rto_max
        a.timers.start_if_stopped(Timer.T5_SHUTDOWN_GUARD, now + guard)
    elif a.state is State.SHUTDOWN_RECEIVED and a.sender.is_drained:
        a.step(Step.DRAINED)
        _send_shutdown_ack(a, now)


def handle_shutdown(
    a: Association, packet: bytes, start: int, end: int, flags: int, now: float
) -> None:
    """SHUTDOWN: its cumulative TSN acknowledges data; then it is our turn to finish."""
    del flags
    cumulative_tsn = chunks.decode_shutdown_untrusted(packet, start, end)
    if a.state in (State.COOKIE_WAIT, State.COOKIE_ECHOED, State.CLOSED):
        a.counters.drops[Drop.UNEXPECTED] += 1
        return
    is_repeated = a.state is State.SHUTDOWN_ACK_SENT
    try:
        info = a.sender.handle_cumulative(cumulative_tsn, now)
    except RemoteProtocolError:
        a.counters.drops[Drop.BAD_SACK] += 1
        return
    if info is not None:
        data.apply_acknowledgement(a, info, now)
    if a.state is State.SHUTDOWN_SENT:
        a.step(Step.SHUTDOWN_CHUNK)  # both shut down at once
        _send_shutdown_ack(a, now)
    elif is_repeated:
        _send_shutdown_ack(a, now)
    elif a.state in (State.ESTABLISHED, State.SHUTDOWN_PENDING):
        a.step(Step.SHUTDOWN_CHUNK)
        a.emit(PeerShutdown())
        progress(a, now)


def _send_shutdown_ack(a: Association, now: float) -> None:
    a.shutdown_wanted = False
    a.timers.stop(Timer.HEARTBEAT)
    a.timers.stop(Timer.T3_RTX)
    a.outbox.queue(chunks.encode(ChunkType.SHUTDOWN_ACK))
    a.timers.start(Timer.T2_SHUTDOWN, now + a.sender.rto.value)


def handle_shutdown_ack(
    a: Association, packet: bytes, start: int, end: int, flags: int, now: float
) -> None:
    """SHUTDOWN ACK: answer SHUTDOWN COMPLETE and forget the association."""
    del packet, start, end, flags
    if a.state not in (State.SHUTDOWN_SENT, State.SHUTDOWN_ACK_SENT):
        a.counters.drops[Drop.UNEXPECTED] += 1
        return
    a.send_alone(chunks.encode(ChunkType.SHUTDOWN_COMPLETE))
    a.close(Closed(CloseReason.SHUTDOWN, "", now - a.setup.started), step=Step.SHUTDOWN_ACK)


def handle_shutdown_complete(
    a: Association, packet: bytes, start: int, end: int, flags: int, now: float
) -> None:
    """SHUTDOWN COMPLETE; ignored except in SHUTDOWN-ACK-SENT (RFC 9260 8.5.1 C)."""
    del start, end
    if a.state is not State.SHUTDOWN_ACK_SENT or not _has_right_tag(a, packet, flags):
        a.counters.drops[Drop.UNEXPECTED] += 1
        return
    a.close(Closed(CloseReason.SHUTDOWN, "", now - a.setup.started), step=Step.SHUTDOWN_COMPLETE)


def heard_in_shutdown_sent(a: Association, now: float) -> None:
    """A packet came although we sent SHUTDOWN: the peer lives, and may have data to send.

    "The reception of any packet from its peer ... SHOULD clear the endpoint's retransmission count"
    (9.2). DATA is answered at once with how far it came (pitfall S57); only that restarts
    T2-shutdown, so that a peer's heartbeats cannot put off the repetition of a lost SHUTDOWN.
    """
    path.clear_errors(a)
    if not a.packet_had_data:
        return
    a.shutdown_wanted = True
    a.timers.start(Timer.T2_SHUTDOWN, now + a.sender.rto.value)
    tsns = a.receiver.tsns
    if not tsns.has_gap and not tsns.has_duplicates:
        # SHUTDOWN acknowledges it all; but a SACK also carries the window, which the peer may need.
        a.receiver.policy.immediately()


def handle_t2(a: Association, now: float) -> None:
    """T2-shutdown: SHUTDOWN or SHUTDOWN ACK was not answered."""
    since = a.timers.expire(Timer.T2_SHUTDOWN, now, a.sender.rto.value)
    if since is None:
        return
    a.sender.rto.back_off()
    if path.count_error(a, now):
        return
    if a.state is State.SHUTDOWN_SENT:
        a.shutdown_wanted = True
    else:
        a.outbox.queue(chunks.encode(ChunkType.SHUTDOWN_ACK))
    a.timers.start(Timer.T2_SHUTDOWN, since + a.sender.rto.value)


def handle_t5(a: Association, now: float) -> None:
    """T5-shutdown-guard: a peer that keeps sending cannot keep us for ever."""
    if a.timers.expire(Timer.T5_SHUTDOWN_GUARD, now, 1.0) is not None:
        elapsed = _SHUTDOWN_GUARD * a.config.rto_max
        text = f"the shutdown was not over in {elapsed:.1f} s"
        cause = causes.user_initiated_abort(text.encode())
        _abort(a, [cause], Closed(CloseReason.UNREACHABLE, text, elapsed))


# -------------------------------------------------------------------------------------- ABORT


def _age(a: Association, now: float) -> float:
    return now - a.setup.started


def abort(a: Association, reason: bytes, now: float) -> None:
    """The user gives up; the peer's user may see `reason` (RFC 9260 9.1)."""
    closed = Closed(CloseReason.ABORTED_LOCALLY, "", _age(a, now))
    _abort(a, [causes.user_initiated_abort(reason)], closed)


def abort_for_violation(a: Association, text: str, now: float) -> None:
    """The peer broke the protocol in a way that cannot go on (RFC 9260 3.3.10.13)."""
    abort_with(a, causes.protocol_violation(text), text, now)


def abort_with(a: Association, cause: Tlv, text: str, now: float) -> None:
    """The peer broke the protocol; tell it by `cause`, and our user by `text`."""
    _abort(a, [cause], Closed(CloseReason.PROTOCOL_VIOLATION, text, _age(a, now)))


def _abort(a: Association, tlvs: list[Tlv], closed: Closed) -> None:
    if a.state is State.CLOSED:
        return
    if a.tcb is not None:
        limit = a.config.mtu - 64
        fitting = [(kind, value[:limit]) for kind, value in tlvs]
        a.send_alone(chunks.encode_tlvs(ChunkType.ABORT, fitting))
    a.close(closed)


def handle_abort(
    a: Association, packet: bytes, start: int, end: int, flags: int, now: float
) -> None:
    """ABORT: never answered; its reason goes to the user.

    Raises:
        DecodeError: "with a format error ... MUST silently discard it" (RFC 9260 3.3.7).
    """
    if not _has_right_tag(a, packet, flags):
        a.counters.drops[Drop.VERIFICATION_TAG] += 1
        return
    text = causes.describe_untrusted(tlv.parse_untrusted(packet[start:end]))
    reason = CloseReason.ABORTED_BY_PEER
    if a.state is State.SHUTDOWN_ACK_SENT and flags & ABORT_T_BIT and start == end:
        # The peer knows nothing of us any more: it has closed, and its SHUTDOWN COMPLETE is lost.
        reason = CloseReason.SHUTDOWN
    a.close(Closed(reason, text, _age(a, now)))


# -------------------------------------------------------------------------------------- ERROR


def handle_error(
    a: Association, packet: bytes, start: int, end: int, flags: int, now: float
) -> None:
    """ERROR: a stale cookie concerns the handshake, the rest is for the user to know."""
    del flags
    found = tlv.parse_untrusted(packet[start:end])
    others = tuple(cause for cause in found if cause[0] != Cause.STALE_COOKIE)
    if len(others) < len(found):
        setup.handle_stale_cookie(a, now)
    if others and a.state is not State.CLOSED:
        a.emit(ErrorReported(others))
