"""Heartbeats, when the peer counts as gone (RFC 9260 chapter 8), and how large packets pass.

A probe of the path's MTU (RFC 8899) is a packet with a PAD chunk and a HEARTBEAT, in that order:
some stacks cut a datagram that does not fit their buffer, and would answer a HEARTBEAT in front
though most of the packet was lost. Only the HEARTBEAT comes back, so the answer is small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtcsctp.sctp.events import Closed, CloseReason, HeartbeatAcked
from rtcsctp.sctp.handlers import reset
from rtcsctp.sctp.state import State
from rtcsctp.sctp.timers import Timer
from rtcsctp.sctp.tx.path_mtu import MIN_PROBE_TIMER
from rtcsctp.sctp.tx.records import SentState
from rtcsctp.sctp.wire import chunks, tlv
from rtcsctp.sctp.wire.chunks import ChunkType
from rtcsctp.sctp.wire.packet import COMMON_HEADER_SIZE
from rtcsctp.sctp.wire.params import Param

if TYPE_CHECKING:
    from rtcsctp.sctp.association import Association

__all__ = [
    "PathMonitor",
    "clear_errors",
    "count_error",
    "handle_heartbeat",
    "handle_heartbeat_ack",
    "handle_heartbeat_timer",
    "handle_path_mtu_timer",
    "look_for_black_hole",
    "make_probe",
    "request_heartbeat",
    "start_heartbeats",
]

_NONCE_SIZE = 8
_MAX_PENDING = 32  # nonces remembered
_MAX_PROBES = 4  # the same, of probes of the path's MTU
_BASE_FAILS = 3  # timeouts in a row from which on not even packets of the base size seem to pass
_AROUND_HEARTBEAT = COMMON_HEADER_SIZE + chunks.HEADER_SIZE  # bytes in its packet
_ANSWERING = frozenset(
    {
        State.COOKIE_ECHOED,
        State.ESTABLISHED,
        State.SHUTDOWN_PENDING,
        State.SHUTDOWN_RECEIVED,
    }
)


class PathMonitor:
    """Errors of the path, and heartbeats that have not come back."""

    __slots__ = (
        "awaited",
        "errors",
        "failing_since",
        "measured_at",
        "pending",
        "probes",
        "requested",
    )

    def __init__(self) -> None:
        self.errors = 0
        """Consecutive errors: the association's counter and the only path's are the same."""
        self.failing_since: float | None = None
        self.awaited = False
        """A heartbeat is on its way, and it is no error yet that it was not answered."""
        self.pending: dict[bytes, float] = {}
        """Nonces not answered yet, and when each was sent; what comes back is not believed
        otherwise. One that comes late tells as much of the path as one in time.
        """
        self.requested: dict[bytes, int | None] = {}
        """Nonces of heartbeats that the user asked for, and the sizes of their packets."""
        self.probes: dict[bytes, int] = {}
        """Nonces of probes that were not answered yet, and their sizes: the last few."""
        self.measured_at = float("-inf")
        """When data last measured a round trip, so that no heartbeat is needed."""

    def forget_heartbeats(self) -> None:
        """None of those on their way will be answered."""
        self.awaited = False
        self.pending.clear()
        self.requested.clear()
        self.probes.clear()


def count_error(a: Association, now: float) -> bool:
    """One more timeout in a row; True if it was one too many, and the association is gone.

    The counter must *exceed* its limit (RFC 9260 8.1, pitfall S56).
    """
    path = a.path
    path.errors += 1
    if path.failing_since is None:
        # The first transmission that was not answered was made one timeout ago, and the timer's
        # handler has doubled that already.
        path.failing_since = now - a.sender.rto.before_back_off
    if path.errors <= a.config.max_retransmits:
        return False
    elapsed = now - path.failing_since
    a.close(
        Closed(
            CloseReason.UNREACHABLE,
            f"no answer to {path.errors} transmissions in a row, in the last {elapsed:.1f} s",
            elapsed,
        )
    )
    return True


def clear_errors(a: Association) -> None:
    """The peer acknowledged something."""
    a.path.errors = 0
    a.path.failing_since = None


def start_heartbeats(a: Association, now: float) -> None:
    """The association is established: watch the path while it is idle."""
    if a.config.heartbeat_interval:
        a.timers.start(Timer.HEARTBEAT, now + _period(a))


def _period(a: Association) -> float:
    """HB.Interval, and the RTO with a jitter of half of it either way (RFC 9260 8.3)."""
    return a.config.heartbeat_interval + a.sender.rto.value * a.rng.uniform(0.5, 1.5)


def handle_heartbeat_timer(a: Association, now: float) -> None:
    """Send a heartbeat if the path was idle, or see that the last one was not answered."""
    interval = a.config.heartbeat_interval
    since = a.timers.expire(Timer.HEARTBEAT, now, interval)
    if since is None or a.state not in (
        State.ESTABLISHED,
        State.SHUTDOWN_PENDING,
        State.SHUTDOWN_RECEIVED,
    ):
        return
    path = a.path
    if path.awaited:
        # One RTO after it was sent, an unanswered heartbeat is an error, and the next one follows.
        # RFC 9260 8.3 recommends to let HB.Interval pass in between; a path that has failed would
        # then be noticed after minutes, and there is no other path to turn to meanwhile.
        a.sender.rto.back_off()
        path.requested.clear()
        if count_error(a, now):
            return
        _send(a, now)
    elif now - path.measured_at < interval:
        a.timers.start(Timer.HEARTBEAT, since + _period(a))
    else:
        _send(a, now)


def request_heartbeat(a: Association, now: float, packet_size: int | None) -> None:
    """REQUESTHEARTBEAT of RFC 9260 11.1.10; at most HB.Max.Burst are on their way at once."""
    if len(a.path.requested) < a.config.hb_max_burst:
        _send(a, now, packet_size, requested=True)


def _send(
    a: Association, now: float, packet_size: int | None = None, *, requested: bool = False
) -> None:
    path = a.path
    nonce = a.rng.randbytes(_NONCE_SIZE)
    if len(path.pending) >= _MAX_PENDING:
        del path.pending[next(iter(path.pending))]
    path.pending[nonce] = now
    path.awaited = True
    if requested:
        path.requested[nonce] = packet_size
    chunk = chunks.encode_tlvs(ChunkType.HEARTBEAT, [(Param.HEARTBEAT_INFO, nonce)])
    if packet_size is None:
        a.outbox.queue(chunk)
    else:
        room = packet_size - COMMON_HEADER_SIZE - len(chunk) - chunks.HEADER_SIZE
        a.send_alone(chunk + chunks.encode(ChunkType.PAD, bytes(room)))
    a.timers.start(Timer.HEARTBEAT, now + a.sender.rto.value)


def handle_heartbeat(
    a: Association, packet: bytes, start: int, end: int, flags: int, now: float
) -> None:
    """HEARTBEAT: send back what it carries, unchanged (pitfall S55).

    One that we could not send back in a packet of the path's size is ignored (RFC 9260 6.10).
    """
    del flags, now
    if a.state in _ANSWERING and end - start <= a.path_mtu.mtu - _AROUND_HEARTBEAT:
        a.outbox.answer(chunks.encode(ChunkType.HEARTBEAT_ACK, packet[start:end]))


def handle_heartbeat_ack(
    a: Association, packet: bytes, start: int, end: int, flags: int, now: float
) -> None:
    """HEARTBEAT ACK: believed only with a nonce of ours; measures the round trip."""
    del flags
    path = a.path
    for kind, nonce in tlv.parse_untrusted(packet[start:end]):
        if kind == Param.HEARTBEAT_INFO and reset.confirm(a, nonce):
            clear_errors(a)
        if kind == Param.HEARTBEAT_INFO and nonce in path.probes:
            _handle_probe_ack(a, path.probes.pop(nonce), now)
        sent = path.pending.pop(nonce, None) if kind == Param.HEARTBEAT_INFO else None
        if sent is None:
            continue
        clear_errors(a)
        a.sender.rto.measured(now - sent)
        path.measured_at = now
        if nonce in path.requested:
            a.emit(HeartbeatAcked(now - sent, path.requested.pop(nonce)))
        for older in [key for key, at in path.pending.items() if at < sent]:
            del path.pending[older]
        if not path.pending:
            path.awaited = False
            start_heartbeats(a, now)
            if not a.config.heartbeat_interval:
                a.timers.stop(Timer.HEARTBEAT)


# ----------------------------------------------------------------------------------- path MTU


def make_probe(a: Association, now: float) -> bytes | None:
    """A probe of the path's MTU, if one is due and more is to be sent than fits a packet."""
    path_mtu, sender = a.path_mtu, a.sender
    useful = path_mtu.base if path_mtu.is_doubted else path_mtu.mtu
    if (
        a.state is not State.ESTABLISHED
        or (a.tcb is not None and a.tcb.peer_fears_padding)
        or sender.queue.buffered + a.unacknowledged <= useful
        or sender.has_oversize  # IP may fragment at present, and a probe would prove nothing
    ):
        return None
    size = path_mtu.next_probe(now)
    if size is None:
        return None
    probes = a.path.probes
    if len(probes) >= _MAX_PROBES:
        del probes[next(iter(probes))]
    nonce = a.rng.randbytes(_NONCE_SIZE)
    probes[nonce] = size
    chunk = chunks.encode_tlvs(ChunkType.HEARTBEAT, [(Param.HEARTBEAT_INFO, nonce)])
    padding = size - COMMON_HEADER_SIZE - len(chunk) - chunks.HEADER_SIZE
    path_mtu.probe_sent(size)
    a.timers.start(Timer.PATH_MTU, now + max(MIN_PROBE_TIMER, sender.rto.value))
    return a.seal(chunks.encode(ChunkType.PAD, bytes(padding)) + chunk)


def _handle_probe_ack(a: Association, size: int, now: float) -> None:
    """A probe has passed. Others of the same size need no answer any more."""
    clear_errors(a)
    path, path_mtu = a.path, a.path_mtu
    for nonce in [nonce for nonce, other in path.probes.items() if other <= size]:
        del path.probes[nonce]
    changed = path_mtu.probe_acked(size, now)
    if not path.probes:
        a.timers.stop(Timer.PATH_MTU)
    if changed:
        a.sender.mtu_changed(path_mtu.mtu)


def handle_path_mtu_timer(a: Association, now: float) -> None:
    """PROBE_TIMER: a probe is lost. That is no error of the path, and no congestion."""
    if a.timers.expire(Timer.PATH_MTU, now, MIN_PROBE_TIMER) is not None:
        _leave_black_hole(a, changed=a.path_mtu.probe_lost(now))


def look_for_black_hole(a: Association, now: float, *, timeout: bool) -> None:
    """Chunks were lost; is that because the path no longer carries packets of their size?

    Where T3-rtx expires for a chunk that was sent twice, and the probe that was sent after the
    first time was not answered either, it is.
    """
    sender, path_mtu = a.sender, a.path_mtu
    path_mtu.losses += sender.large_losses
    sender.large_losses = 0
    if path_mtu.mtu <= path_mtu.base:
        if timeout and a.path.errors >= _BASE_FAILS:
            path_mtu.base_fails()
        return
    oldest = sender.outstanding.records.get(sender.outstanding.cumulative + 1)
    if (
        timeout
        and path_mtu.is_doubted
        and oldest is not None
        and oldest.state is SentState.LOST
        and oldest.transmissions > 1
        and oldest.wire_size > path_mtu.base
    ):
        _leave_black_hole(a, changed=path_mtu.black_hole(now))
    else:
        path_mtu.doubt(now, timeout=timeout)


def _leave_black_hole(a: Association, *, changed: bool) -> None:
    if changed:
        a.path.probes.clear()
        a.timers.stop(Timer.PATH_MTU)
        a.sender.mtu_changed(a.path_mtu.mtu)
