"""DATA, SACK and FORWARD-TSN: the transfer of user data (RFC 9260 chapters 6 and 7, RFC 3758)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtcsctp.errors import RemoteProtocolError
from rtcsctp.sctp.handlers import path, reset, teardown
from rtcsctp.sctp.rx.receiver import Arrival
from rtcsctp.sctp.state import State
from rtcsctp.sctp.statistics import Drop
from rtcsctp.sctp.timers import Timer
from rtcsctp.sctp.tx.outstanding import AckInfo
from rtcsctp.sctp.wire import causes, chunks
from rtcsctp.sctp.wire.chunks import ChunkType, Data, ForwardTsn
from rtcsctp.sctp.wire.serial import MASK32

if TYPE_CHECKING:
    from rtcsctp.sctp.association import Association

__all__ = [
    "after_batch",
    "after_transmission",
    "apply_acknowledgement",
    "handle_data",
    "handle_forward_tsn",
    "handle_forward_tsn_timer",
    "handle_i_data",
    "handle_i_forward_tsn",
    "handle_loss_timer",
    "handle_pacing",
    "handle_sack",
    "handle_sack_delay",
    "handle_t3",
    "update_forward_tsn_timer",
    "watch_losses",
    "watch_pacing",
]

_RECEIVING = frozenset({State.ESTABLISHED, State.SHUTDOWN_PENDING, State.SHUTDOWN_SENT})
_SENDING = frozenset(
    {
        State.ESTABLISHED,
        State.SHUTDOWN_PENDING,
        State.SHUTDOWN_RECEIVED,
        State.SHUTDOWN_SENT,
        State.SHUTDOWN_ACK_SENT,
    }
)
_HAS_NO_T3 = frozenset({State.CLOSED, State.COOKIE_WAIT, State.COOKIE_ECHOED})
"""T1-cookie covers the DATA behind COOKIE ECHO."""


# ------------------------------------------------------------------------------------ arrival


def handle_data(
    a: Association, packet: bytes, start: int, end: int, flags: int, now: float
) -> None:
    """DATA; a violation where I-DATA was negotiated (RFC 8260 2.2.3, pitfall S37)."""
    if a.tcb is not None and a.tcb.interleaving:
        teardown.abort_for_violation(a, "DATA although I-DATA was negotiated", now)
        return
    _take(a, chunks.decode_data_untrusted(packet, start, end, flags), now)


def handle_i_data(
    a: Association, packet: bytes, start: int, end: int, flags: int, now: float
) -> None:
    """I-DATA; a violation where it was not negotiated."""
    if a.tcb is not None and not a.tcb.interleaving:
        teardown.abort_for_violation(a, "I-DATA although it was not negotiated", now)
        return
    _take(a, chunks.decode_i_data_untrusted(packet, start, end, flags), now)


def _take(a: Association, chunk: Data, now: float) -> None:
    if a.state not in _RECEIVING:
        a.counters.drops[Drop.UNEXPECTED] += 1
        return
    counters = a.counters
    counters.chunks_received += 1
    a.packet_had_data = True
    try:
        arrival = a.receiver.handle_data(chunk)
    except RemoteProtocolError as error:
        teardown.abort_for_violation(a, str(error), now)
        return
    if arrival is Arrival.ACCEPTED:
        counters.user_bytes_received += len(chunk.payload)
    else:
        _refuse(a, chunk, arrival, now)


def _refuse(a: Association, chunk: Data, arrival: Arrival, now: float) -> None:
    counters = a.counters
    if arrival is Arrival.DUPLICATE:
        counters.duplicates += 1
    elif arrival is Arrival.TOO_FAR:
        counters.drops[Drop.TSN_TOO_FAR] += 1
    elif arrival is Arrival.NO_ROOM:
        counters.drops[Drop.NO_ROOM] += 1
    elif arrival is Arrival.INVALID_STREAM:
        counters.drops[Drop.INVALID_STREAM] += 1
        cause = causes.invalid_stream(chunk.stream_id)
        a.outbox.answer(chunks.encode_tlvs(ChunkType.ERROR, [cause]))
    elif arrival is Arrival.NO_USER_DATA:
        # RFC 9260 6.2: such an endpoint is aborted.
        teardown.abort_with(
            a, causes.no_user_data(chunk.tsn & MASK32), "DATA without user data", now
        )
    else:
        out = (causes.Cause.OUT_OF_RESOURCE, b"")
        teardown.abort_with(a, out, "incomplete messages above all limits", now)


def handle_forward_tsn(
    a: Association, packet: bytes, start: int, end: int, flags: int, now: float
) -> None:
    """FORWARD-TSN; a violation beside I-DATA (RFC 8260 2.3.1)."""
    del flags
    if a.tcb is not None and a.tcb.interleaving:
        teardown.abort_for_violation(a, "FORWARD-TSN although I-DATA was negotiated", now)
        return
    _forward(a, chunks.decode_forward_tsn_untrusted(packet, start, end))


def handle_i_forward_tsn(
    a: Association, packet: bytes, start: int, end: int, flags: int, now: float
) -> None:
    """I-FORWARD-TSN; a violation beside DATA."""
    del flags
    if a.tcb is not None and not a.tcb.interleaving:
        teardown.abort_for_violation(a, "I-FORWARD-TSN although I-DATA was not negotiated", now)
        return
    _forward(a, chunks.decode_i_forward_tsn_untrusted(packet, start, end))


def _forward(a: Association, chunk: ForwardTsn) -> None:
    if a.state not in _RECEIVING:
        a.counters.drops[Drop.UNEXPECTED] += 1
        return
    a.packet_had_data = True
    if a.is_one_too_many():
        return
    if a.receiver.handle_forward_tsn(chunk) is Arrival.TOO_FAR:
        a.counters.drops[Drop.TSN_TOO_FAR] += 1


def after_batch(a: Association, now: float) -> None:
    """Everything that came at once is processed: what became readable, and is a SACK due?"""
    receiver = a.receiver
    if receiver.deferred is not None:
        reset.finish_deferred(a, now)
    if a.closed is not None:
        return
    policy = receiver.policy
    if policy.owed and not policy.now:
        a.timers.start_if_stopped(Timer.SACK_DELAY, now + a.config.sack_delay)


def handle_sack_delay(a: Association, now: float) -> None:
    """A SACK has been held back for long enough."""
    if a.timers.expire(Timer.SACK_DELAY, now, a.config.sack_delay) is not None:
        a.receiver.policy.immediately()


# ---------------------------------------------------------------------------- acknowledgement


def handle_sack(
    a: Association, packet: bytes, start: int, end: int, flags: int, now: float
) -> None:
    """SACK (RFC 9260 6.2.1). One that acknowledges what was never sent changes nothing."""
    del flags
    if a.state not in _SENDING:
        a.counters.drops[Drop.UNEXPECTED] += 1
        return
    a.counters.sacks_received += 1
    sack = chunks.decode_sack_untrusted(packet, start, end)
    try:
        info = a.sender.handle_sack(
            sack.cumulative_tsn, sack.a_rwnd, sack.blocks, now, sack.duplicates
        )
    except RemoteProtocolError:
        a.counters.drops[Drop.BAD_SACK] += 1
        return
    if info is None:
        a.counters.drops[Drop.OLD_SACK] += 1
        return
    apply_acknowledgement(a, info, now)


def apply_acknowledgement(a: Association, info: AckInfo, now: float) -> None:
    """Share out what a SACK, or a SHUTDOWN, acknowledged."""
    if info.rtt_acked:
        a.path.measured_at = now
    # A receiver with a closed window is alive as long as it answers (pitfall S20).
    if info.newly_acked or info.cumulative_moved or a.sender.window_is_closed:
        path.clear_errors(a)
    path_mtu = a.path_mtu
    if path_mtu.is_unsure and 2 * info.newly_acked > path_mtu.base:
        path_mtu.data_acked(now)
    if a.sender.large_losses:
        path.look_for_black_hole(a, now, timeout=False)
    if not a.sender.outstanding.records:
        a.timers.stop(Timer.T3_RTX)  # R2
    elif info.cumulative_moved:
        a.timers.start(Timer.T3_RTX, now + a.sender.rto.value)  # R3
    else:
        a.timers.start_if_stopped(Timer.T3_RTX, now + a.sender.rto.value)  # R4
    watch_losses(a)
    update_forward_tsn_timer(a, now)
    teardown.progress(a, now)


def watch_losses(a: Association) -> None:
    """RACK's reordering timer, or that of the tail-loss probe: one of them runs (RFC 8985 8).

    Not beyond T3-rtx; what is due together with that goes instead of it (7.2).
    """
    at, t3 = a.sender.loss_deadline(), a.timers.get(Timer.T3_RTX)
    if at is None or t3 is None:
        a.timers.stop(Timer.RACK_TLP)
    else:
        a.timers.start(Timer.RACK_TLP, min(at, t3))


def handle_loss_timer(a: Association, now: float) -> None:
    """Something is lost by now, or nothing has come back for too long."""
    if a.timers.expire(Timer.RACK_TLP, now, 1.0) is None:
        return
    if a.sender.check_losses(now):
        # RFC 8985 7.3: the probe "re-arms the RTO timer", or that would expire before the answer
        # comes. RFC 9260 6.3.2 has no such rule; a path that is gone is noticed later by this.
        a.timers.start(Timer.T3_RTX, now + a.sender.rto.value)
    watch_losses(a)
    update_forward_tsn_timer(a, now)
    teardown.progress(a, now)


def watch_pacing(a: Association) -> None:
    """Wake up when what waits may leave."""
    at, a.sender.paced_until = a.sender.paced_until, None
    if at is not None and a.closed is None:
        a.timers.start(Timer.PACING, at)
    elif Timer.PACING in a.timers:
        a.timers.stop(Timer.PACING)


def handle_pacing(a: Association, now: float) -> None:
    """Packets may leave again; the packet maker makes them."""
    a.timers.expire(Timer.PACING, now, 1.0)


def after_transmission(a: Association, now: float) -> None:
    """Packets were made: T3-rtx runs while anything is unacknowledged (pitfall S8).

    It also measures how long to wait before the peer's closed window is probed.
    """
    sender = a.sender
    if a.state in _HAS_NO_T3:
        return
    if sender.restarts_t3:
        sender.restarts_t3 = False
        a.timers.start(Timer.T3_RTX, now + sender.rto.value)
    elif sender.outstanding.records or sender.waits_for_window:
        a.timers.start_if_stopped(Timer.T3_RTX, now + sender.rto.value)
    watch_losses(a)


def handle_t3(a: Association, now: float) -> None:
    """T3-rtx expired (RFC 9260 6.3.3)."""
    sender = a.sender
    if a.timers.get(Timer.RACK_TLP) == a.timers.get(Timer.T3_RTX):
        handle_loss_timer(a, now)
    since = a.timers.expire(Timer.T3_RTX, now, sender.rto.value)
    if since is None:
        return
    if not sender.outstanding.records:
        sender.may_probe()
        return
    a.counters.timeouts += 1
    sender.timed_out(now)
    # A window probe counts too; an answer, though the window stays closed, clears the count.
    if path.count_error(a, now):
        return
    path.look_for_black_hole(a, now, timeout=True)
    if sender.outstanding.records:
        a.timers.start(Timer.T3_RTX, since + sender.rto.value)
    watch_losses(a)
    update_forward_tsn_timer(a, now)
    teardown.progress(a, now)


def update_forward_tsn_timer(a: Association, now: float) -> None:
    """Wake up when the next FORWARD-TSN may be sent, if one is wanted."""
    at = a.sender.forward_tsn_at(now) if a.sender.forwarding.wanted else None
    if at is not None:
        a.timers.start(Timer.FORWARD_TSN, at)
    elif Timer.FORWARD_TSN in a.timers:
        a.timers.stop(Timer.FORWARD_TSN)


def handle_forward_tsn_timer(a: Association, now: float) -> None:
    """A FORWARD-TSN may be sent again; the packet maker sends it."""
    a.timers.expire(Timer.FORWARD_TSN, now, 1.0)
