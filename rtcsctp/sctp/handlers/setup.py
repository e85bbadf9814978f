"""Setting an association up, twice at once, or again (RFC 9260 chapter 5).

The side that answers INIT remembers nothing: all it needs comes back in the cookie. A cookie that
arrives for an association that exists is one of the cases of RFC 9260 table 12; `CookieCase` names
it first, and what to do follows from the name.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

import attrs

from rtcsctp.sctp.cookie import Cookie, CookieFault
from rtcsctp.sctp.events import (
    PEER_RESTARTED,
    Closed,
    CloseReason,
    Connected,
    Restarted,
)
from rtcsctp.sctp.handlers import path, teardown
from rtcsctp.sctp.state import State, Step
from rtcsctp.sctp.statistics import Drop
from rtcsctp.sctp.tcb import Tcb, features_of_untrusted, make_init, negotiate
from rtcsctp.sctp.timers import Timer
from rtcsctp.sctp.wire import causes, chunks, tlv
from rtcsctp.sctp.wire.chunks import ChunkType, Init
from rtcsctp.sctp.wire.packet import COMMON_HEADER_SIZE, build
from rtcsctp.sctp.wire.params import Param, must_report, must_stop
from rtcsctp.sctp.wire.tlv import Tlv

if TYPE_CHECKING:
    from rtcsctp.sctp.association import Association

__all__ = [
    "CookieCase",
    "Setup",
    "connect",
    "handle_cookie_ack",
    "handle_cookie_echo",
    "handle_init",
    "handle_init_ack",
    "handle_stale_cookie",
    "handle_t1_cookie",
    "handle_t1_init",
]

_KNOWN_PARAMS = frozenset(Param)
_MIN_RWND = 1500  # RFC 9260 3.3.2
_MAX_STALE = 3  # cookies called stale before we give up
_REPORT_LIMIT = 256  # bytes of unknown parameters that we echo


class Setup:
    """What the handshake needs, until it is done."""

    __slots__ = (
        "attempts",
        "cookie_echo",
        "initial_tsn",
        "local_tag",
        "rtt_from",
        "stale",
        "started",
        "tie_tags",
    )

    def __init__(self) -> None:
        self.local_tag = 0
        self.initial_tsn = 0
        self.started = 0.0
        """When our user, or the peer, began."""
        self.attempts = 0
        """Transmissions of INIT or COOKIE ECHO, whichever is under way."""
        self.rtt_from: float | None = None
        """When what is under way was sent, if only once."""
        self.stale = 0
        self.cookie_echo: bytes | None = None
        """The chunk that is under way in COOKIE-ECHOED."""
        self.tie_tags = (0, 0)
        """Random; they prove that a cookie was made while this association existed."""


def random_tag(a: Association) -> int:
    """A verification tag: random, and not 0 (RFC 9260 5.3.1)."""
    return a.rng.randrange(1, 1 << 32)


# ---------------------------------------------------------------------------------- our INIT


def connect(a: Association, now: float) -> None:
    """Send INIT."""
    setup = a.setup
    setup.local_tag = random_tag(a)
    setup.initial_tsn = a.rng.getrandbits(32)
    setup.started = now
    a.step(Step.CONNECT)
    _send_init(a, now)


def _send_init(a: Association, now: float) -> None:
    """INIT; each repetition is identical (pitfall S48)."""
    setup = a.setup
    setup.attempts += 1
    setup.rtt_from = now if setup.attempts == 1 else None
    init = make_init(a.config, setup.local_tag, setup.initial_tsn)
    assert a.remote_port is not None
    packet = build(a.local_port, a.remote_port, 0, init.encode(ChunkType.INIT))
    a.outbox.send_packet(packet, is_answer=False)
    a.timers.start(Timer.T1_INIT, now + a.sender.rto.value)


def handle_t1_init(a: Association, now: float) -> None:
    """INIT was not answered."""
    if a.timers.expire(Timer.T1_INIT, now, a.sender.rto.value) is not None and not _give_up(a, now):
        a.sender.rto.back_off()
        _send_init(a, now)


def handle_t1_cookie(a: Association, now: float) -> None:
    """COOKIE ECHO was not answered; the DATA behind it goes with it again."""
    if a.timers.expire(Timer.T1_COOKIE, now, a.sender.rto.value) is not None and not _give_up(
        a, now
    ):
        a.sender.rto.back_off()
        a.sender.lose_all()
        _send_cookie_echo(a, now)


def _give_up(a: Association, now: float) -> bool:
    """Whether this was one repetition too many: then the association is closed."""
    setup = a.setup
    if setup.attempts <= a.config.max_init_retransmits:
        return False
    elapsed = now - setup.started
    what = "INIT" if a.state is State.COOKIE_WAIT else "COOKIE ECHO"
    text = f"no answer to {setup.attempts} transmissions of {what} in {elapsed:.1f} s"
    a.close(Closed(CloseReason.INIT_FAILED, text, elapsed))
    return True


# ------------------------------------------------------------------------------- their INIT


def handle_init(
    a: Association, packet: bytes, start: int, end: int, source_port: int, now: float
) -> None:
    """INIT, in any state; the state never changes (RFC 9260 5.1, 5.2.1, 5.2.2).

    Raises:
        DecodeError: it is malformed.
    """
    init = chunks.decode_init_untrusted(packet, start, end)
    if init.initiate_tag == 0:
        a.counters.drops[Drop.BAD_INIT] += 1  # "MUST silently discard the packet"
        return
    if a.state is State.SHUTDOWN_ACK_SENT:
        a.outbox.answer(chunks.encode(ChunkType.SHUTDOWN_ACK))  # 9.2, last but two
        return
    fault = _judge_init(init)
    if fault is not None:
        a.counters.drops[Drop.BAD_INIT] += 1
        body = chunks.encode_tlvs(ChunkType.ABORT, [fault])
        a.outbox.send_packet(build(a.local_port, source_port, init.initiate_tag, body))
        return
    init, unknown = _skip_unknown_params(a, init)
    outbound = a.config.outbound_streams
    if a.state in (State.COOKIE_WAIT, State.COOKIE_ECHOED):
        # Both connect at once: answer with "the same parameters it sent in its original INIT".
        tag, tsn = a.setup.local_tag, a.setup.initial_tsn
    else:
        tag, tsn = random_tag(a), a.rng.getrandbits(32)
        # In INIT ACK it "MUST NOT be greater than the MIS value sent in the INIT chunk" (3.3.3).
        outbound = min(outbound, init.inbound_streams)
    ties = (0, 0)
    if a.state not in (State.CLOSED, State.COOKIE_WAIT):
        if a.setup.tie_tags == (0, 0):
            a.setup.tie_tags = (random_tag(a), random_tag(a))
        ties = a.setup.tie_tags
    tcb = negotiate(a.config, tag, tsn, init, features_of_untrusted(init))
    cookie = a.cookies.make(Cookie(a.local_port, source_port, now, tcb, *ties), now)
    echoed = [(Param.UNRECOGNIZED, tlv.encode(*param)) for param in unknown]
    answer = make_init(a.config, tag, tsn, (Param.STATE_COOKIE, cookie), *echoed)
    body = attrs.evolve(answer, outbound_streams=outbound).encode(ChunkType.INIT_ACK)
    a.outbox.send_packet(build(a.local_port, source_port, init.initiate_tag, body))


def _judge_init(init: Init) -> Tlv | None:
    """The cause to abort for, if an INIT is impossible."""
    if not init.outbound_streams or not init.inbound_streams or init.a_rwnd < _MIN_RWND:
        return causes.invalid_mandatory_parameter()
    host_name = init.find(Param.HOST_NAME_ADDRESS)
    if host_name is not None:  # RFC 9260 3.3.2.1.4
        name = tlv.encode(Param.HOST_NAME_ADDRESS, host_name[:_REPORT_LIMIT])
        return causes.unresolvable_address(name)
    return None


def _skip_unknown_params(a: Association, init: Init) -> tuple[Init, list[Tlv]]:
    """What is to be processed of an INIT or INIT ACK, and what to report of it, within a limit.

    An unknown parameter may say that nothing behind it is to be processed (RFC 9260 3.2.1). So is
    Forward-TSN-Supported where partial reliability is switched off (RFC 3758 3.3.2).
    """
    report: list[Tlv] = []
    room = _REPORT_LIMIT
    for i, (kind, value) in enumerate(init.params):
        if kind in _KNOWN_PARAMS and (kind != Param.FORWARD_TSN or a.config.partial_reliability):
            continue
        if must_report(kind) and len(value) + 8 <= room:
            report.append((kind, value))
            room -= len(value) + 8
        if must_stop(kind):
            return attrs.evolve(init, params=init.params[:i]), report
    return init, report


# --------------------------------------------------------------------------------- INIT ACK


def handle_init_ack(
    a: Association, packet: bytes, start: int, end: int, flags: int, now: float
) -> None:
    """INIT ACK: echo the cookie (RFC 9260 5.1 C). Unexpected ones are discarded (5.2.3)."""
    del flags
    if a.state is not State.COOKIE_WAIT:
        a.counters.drops[Drop.UNEXPECTED] += 1
        return
    answer = chunks.decode_init_untrusted(packet, start, end)
    cookie = answer.find(Param.STATE_COOKIE)
    setup = a.setup
    fault: Tlv | None = None
    if answer.initiate_tag == 0:
        fault = causes.invalid_mandatory_parameter()
    elif cookie is None:
        fault = causes.missing_parameters([Param.STATE_COOKIE])
    else:
        fault = _judge_init(answer)
    if fault is not None or cookie is None:
        assert a.remote_port is not None
        a.counters.drops[Drop.BAD_INIT] += 1
        # Without a tag of the peer's, ours is reflected: "the T bit set" (3.3.3).
        tag, flags = answer.initiate_tag, 0
        if not tag:
            tag, flags = setup.local_tag, teardown.ABORT_T_BIT
        body = chunks.encode_tlvs(ChunkType.ABORT, [] if fault is None else [fault], flags)
        a.outbox.send_packet(build(a.local_port, a.remote_port, tag, body))
        if answer.initiate_tag and answer.a_rwnd < _MIN_RWND:
            return  # "MUST NOT change the state of any existing association" (3.3.3)
        text = "an INIT ACK that is impossible"
        a.close(Closed(CloseReason.PROTOCOL_VIOLATION, text, now - setup.started))
        return
    answer, unknown = _skip_unknown_params(a, answer)
    tcb = negotiate(
        a.config, setup.local_tag, setup.initial_tsn, answer, features_of_untrusted(answer)
    )
    a.timers.stop(Timer.T1_INIT)
    if setup.rtt_from is not None:
        a.sender.rto.measured(now - setup.rtt_from)
    a.sender.rto.reset_backoff()
    a.step(Step.INIT_ACK)
    a.adopt(tcb)
    setup.cookie_echo = chunks.encode(ChunkType.COOKIE_ECHO, cookie)
    setup.attempts = 0
    if unknown:
        cause = causes.unrecognized_parameters(tlv.encode_all(unknown))
        report = chunks.encode_tlvs(ChunkType.ERROR, [cause])
        # It goes with the cookie, or "not before the COOKIE ACK chunk has been received" (3.2.2).
        if COMMON_HEADER_SIZE + len(setup.cookie_echo) + len(report) <= a.config.mtu:
            a.outbox.queue(report)
    _send_cookie_echo(a, now)


def _send_cookie_echo(a: Association, now: float) -> None:
    setup = a.setup
    assert setup.cookie_echo is not None
    setup.attempts += 1
    setup.rtt_from = now if setup.attempts == 1 else None
    a.outbox.queue_first(setup.cookie_echo)
    a.timers.start(Timer.T1_COOKIE, now + a.sender.rto.value)


# ------------------------------------------------------------------------------ COOKIE ECHO


class CookieCase(Enum):
    """What a valid cookie means here (RFC 9260 5.2.4, table 12)."""

    NEW = "no association yet"
    RESTART = "A: the peer has restarted"
    COLLISION = "B: both sides connect, and the peer has a new tag"
    LATE = "C: a cookie of ours that arrives late"
    DUPLICATE = "D: this association's own cookie"
    UNKNOWN = "none of these"


def classify(a: Association, cookie: Cookie) -> CookieCase:
    """Compare the tags in a cookie with those of the association."""
    if a.state is State.CLOSED:
        return CookieCase.NEW
    local = cookie.tcb.local_tag == a.setup.local_tag
    remote = a.tcb is not None and cookie.tcb.remote_tag == a.tcb.remote_tag
    ties = (cookie.local_tie_tag, cookie.remote_tie_tag)
    if local:
        return CookieCase.DUPLICATE if remote else CookieCase.COLLISION
    if remote and ties == (0, 0):
        return CookieCase.LATE
    if not remote and ties != (0, 0) and ties == a.setup.tie_tags:
        return CookieCase.RESTART
    return CookieCase.UNKNOWN


def handle_cookie_echo(a: Association, data: bytes, tag: int, source_port: int, now: float) -> bool:
    """COOKIE ECHO with cookie `data`, in any state; whether the rest of its packet is good."""
    found = a.cookies.open_untrusted(
        data, local_port=a.local_port, remote_port=source_port, now=now
    )
    if isinstance(found, CookieFault) or found.tcb.local_tag != tag:
        a.counters.drops[Drop.BAD_COOKIE] += 1
        return False
    case = classify(a, found)
    stale = a.cookies.staleness(found, now)
    if stale > 0 and case is not CookieCase.DUPLICATE:
        a.counters.drops[Drop.STALE_COOKIE] += 1
        body = chunks.encode_tlvs(ChunkType.ERROR, [causes.stale_cookie(stale)])
        a.outbox.send_packet(build(a.local_port, source_port, found.tcb.remote_tag, body))
        return False
    match case:
        case CookieCase.NEW:
            a.remote_port = source_port
            a.setup.started = found.created
            a.setup.local_tag = found.tcb.local_tag
            a.setup.initial_tsn = found.tcb.local_initial_tsn
            a.adopt(found.tcb)
            _established(a, now, Step.COOKIE_ECHO)
        case CookieCase.RESTART:
            return _restart(a, found.tcb, now)
        case CookieCase.COLLISION:
            _collide(a, found.tcb, now)
        case CookieCase.DUPLICATE:
            if a.state is State.COOKIE_ECHOED:
                _established(a, now, Step.COOKIE_ECHO)
        case CookieCase.LATE | CookieCase.UNKNOWN:
            a.counters.drops[Drop.BAD_COOKIE] += 1
            return False
    a.outbox.queue_first(chunks.encode(ChunkType.COOKIE_ACK))
    return True


def _established(a: Association, now: float, step: Step) -> None:
    setup = a.setup
    for timer in (Timer.T1_INIT, Timer.T1_COOKIE):
        a.timers.stop(timer)
    if setup.cookie_echo is not None:
        a.outbox.unqueue(setup.cookie_echo)
        setup.cookie_echo = None
    a.step(step)
    a.sender.rto.reset_backoff()
    path.clear_errors(a)
    if a.sender.outstanding.records:
        a.timers.start_if_stopped(Timer.T3_RTX, now + a.sender.rto.value)
    path.start_heartbeats(a, now)
    a.emit(Connected())


def _collide(a: Association, tcb: Tcb, now: float) -> None:
    """Case B: the peer's INIT came after it had answered ours; its new tag counts."""
    if a.state in (State.COOKIE_WAIT, State.COOKIE_ECHOED):
        a.adopt(tcb)
        _established(a, now, Step.COOKIE_ECHO)
    elif a.tcb is not None:
        a.change_remote_tag(tcb.remote_tag)


def _restart(a: Association, tcb: Tcb, now: float) -> bool:
    """Case A (RFC 9260 5.2.4 action A, pitfall S51)."""
    if a.state is State.SHUTDOWN_ACK_SENT:
        a.outbox.answer(chunks.encode(ChunkType.SHUTDOWN_ACK))
        cause = causes.cookie_received_while_shutting_down()
        a.outbox.answer(chunks.encode_tlvs(ChunkType.ERROR, [cause]))
        return False
    a.timers.clear()
    a.outbox.control.clear()
    a.shutdown_wanted = False
    for event in a.reconfiguration.cancel(PEER_RESTARTED):
        a.emit(event)
    a.setup.local_tag = tcb.local_tag
    a.setup.initial_tsn = tcb.local_initial_tsn
    a.setup.tie_tags = (0, 0)
    a.adopt(tcb, restart=True)
    path.clear_errors(a)
    a.path.forget_heartbeats()
    a.step(Step.RESTART)
    path.start_heartbeats(a, now)
    a.emit(Restarted(a.inbox.unread_of(None)))
    a.outbox.queue_first(chunks.encode(ChunkType.COOKIE_ACK))
    teardown.progress(a, now)
    return True


# -------------------------------------------------------------------- COOKIE ACK, and errors


def handle_cookie_ack(
    a: Association, packet: bytes, start: int, end: int, flags: int, now: float
) -> None:
    """COOKIE ACK: the association is up; discarded in every state but one (5.2.5)."""
    del packet, start, end, flags
    if a.state is not State.COOKIE_ECHOED:
        a.counters.drops[Drop.UNEXPECTED] += 1
        return
    if a.setup.rtt_from is not None:
        a.sender.rto.measured(now - a.setup.rtt_from)
    _established(a, now, Step.COOKIE_ACK)


def handle_stale_cookie(a: Association, now: float) -> None:
    """The peer calls our cookie stale: ask for a new one (RFC 9260 5.2.6, alternative 1)."""
    if a.state is not State.COOKIE_ECHOED:
        return
    setup = a.setup
    setup.stale += 1
    if setup.stale > _MAX_STALE:
        text = f"the peer called {setup.stale} cookies stale"
        a.close(Closed(CloseReason.STALE_COOKIE, text, now - setup.started))
        return
    a.timers.stop(Timer.T1_COOKIE)
    if setup.cookie_echo is not None:
        a.outbox.unqueue(setup.cookie_echo)
        setup.cookie_echo = None
    a.step(Step.STALE_COOKIE)
    a.tcb = None
    a.sender.lose_all()
    setup.attempts = 0
    _send_init(a, now)
