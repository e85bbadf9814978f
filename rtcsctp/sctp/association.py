"""An SCTP association without I/O (RFC 9260 and the extensions that WebRTC needs).

Bytes and times come in, packets and events go out. `Association` owns the parts and knows no
protocol number itself: `Tcb` has what the handshake fixed, `Receiver` what only arrivals change,
`Sender` what only acknowledgements change, and the handlers, one file per chapter of the RFC,
connect them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import attrs

from rtcsctp.errors import (
    AssociationStateError,
    InvalidStreamError,
    MessageTooLargeError,
    ReliabilityError,
)
from rtcsctp.sctp.bundle import make_packets
from rtcsctp.sctp.config import Config
from rtcsctp.sctp.cookie import CookieJar
from rtcsctp.sctp.dispatch import handle_batch_untrusted
from rtcsctp.sctp.events import (
    BufferedAmountLow,
    Closed,
    Event,
    Message,
    MessageAbandoned,
    SendBufferLow,
    StreamReadable,
)
from rtcsctp.sctp.handlers import data, path, reset, setup, teardown
from rtcsctp.sctp.outbox import Outbox
from rtcsctp.sctp.rx.inbox import Inbox
from rtcsctp.sctp.rx.receiver import Receiver
from rtcsctp.sctp.snapshot import snapshot
from rtcsctp.sctp.state import State, Step, next_state
from rtcsctp.sctp.statistics import Counters, Drop, Statistics
from rtcsctp.sctp.tcb import Tcb
from rtcsctp.sctp.timers import Timer, TimerTable
from rtcsctp.sctp.tx.path_mtu import PathMtu
from rtcsctp.sctp.tx.sender import Sender
from rtcsctp.sctp.wire.chunks import ChunkType
from rtcsctp.sctp.wire.envelope import Envelope

__all__ = ["UDP_OVERHEAD", "Association"]

_TIMER_HANDLERS: dict[Timer, Callable[[Association, float], None]] = {
    Timer.T1_INIT: setup.handle_t1_init,
    Timer.T1_COOKIE: setup.handle_t1_cookie,
    Timer.T2_SHUTDOWN: teardown.handle_t2,
    Timer.T3_RTX: data.handle_t3,
    Timer.RACK_TLP: data.handle_loss_timer,
    Timer.PACING: data.handle_pacing,
    Timer.T5_SHUTDOWN_GUARD: teardown.handle_t5,
    Timer.SACK_DELAY: data.handle_sack_delay,
    Timer.FORWARD_TSN: data.handle_forward_tsn_timer,
    Timer.HEARTBEAT: path.handle_heartbeat_timer,
    Timer.RECONFIG: reset.handle_reconfig_timer,
    Timer.PATH_MTU: path.handle_path_mtu_timer,
}

_ESTABLISHED = State.ESTABLISHED  # a plain name: members of an enum are looked up slowly

UDP_OVERHEAD = 28
"""Bytes of the headers of IPv4 and UDP."""

_MAX_COSTLY = 4  # usrsctp puts two RE-CONFIG into a packet; nobody needs more

_ACCEPTS_MESSAGES = frozenset(
    {State.CLOSED, State.COOKIE_WAIT, State.COOKIE_ECHOED, State.ESTABLISHED}
)


class Association:
    """One association: a state machine that is told what happens, and asked what to do.

    After every call that changes something, drain it in this order:

    1. `poll_event` until it gives None;
    2. `poll_transmit` until it gives an empty list (and send what it gave, in order);
    3. look at `timers`, and call `handle_timer` when one is due; too early is harmless.

    Times are seconds on any clock that never goes back, the same for all calls. Nothing that
    arrives from the network raises; a command raises before it changed anything.

    Attributes:
        config: the parameters.
        state: the state of RFC 9260 section 4.
        local_port, remote_port: SCTP ports; `remote_port` is None until an INIT said it.
        timers: deadlines of the running timers.
        closed: why the association ended, if it has.
    """

    __slots__ = (
        "_due_events",
        "_events",
        "_outgoing",
        "closed",
        "config",
        "cookies",
        "costly_chunks",
        "counters",
        "inbox",
        "incoming",
        "local_port",
        "messages_abandoned",
        "outbox",
        "packet_had_data",
        "path",
        "path_mtu",
        "receiver",
        "reconfiguration",
        "remote_port",
        "rng",
        "sender",
        "sends_zero_checksum",
        "setup",
        "shutdown_wanted",
        "state",
        "tcb",
        "timers",
    )

    def __init__(
        self,
        config: Config,
        *,
        local_port: int,
        remote_port: int | None,
        rng: random.Random,
        cookies: CookieJar | None = None,
    ) -> None:
        """An association in state CLOSED; it answers a peer's INIT, or connects when told to.

        Args:
            config: its parameters.
            local_port: our SCTP port, 1 to 65,535.
            remote_port: the peer's SCTP port; None takes the port of whoever connects.
            rng: source of tags, TSNs and secrets; `random.SystemRandom()` wherever it matters.
            cookies: shared by associations that answer for one port; by default one of its own.

        Raises:
            ValueError: a port out of range.
        """
        for port in (local_port, remote_port):
            if port is not None and not 1 <= port <= 0xFFFF:
                raise ValueError(f"an SCTP port is from 1 to 65535, not {port}")
        self.config = config
        self.local_port = local_port
        self.remote_port = remote_port
        self.rng = rng
        self.cookies = cookies if cookies is not None else CookieJar(rng, config.valid_cookie_life)
        self.state = State.CLOSED
        self.timers = TimerTable()
        self.tcb: Tcb | None = None
        self.counters = Counters()
        self.setup = setup.Setup()
        self.path = path.PathMonitor()
        self.path_mtu = PathMtu(config.mtu)
        self.inbox = Inbox()
        self.sender = Sender(config, rng)
        self.receiver = self._make_receiver(1, 0, interleaved=False)
        self.reconfiguration = reset.Reconfiguration(0, 0)
        self.outbox = Outbox(self.counters)
        self.shutdown_wanted = False
        self.packet_had_data = False
        self.costly_chunks = 0
        self.messages_abandoned = 0
        self._events: list[Event] = []
        self._due_events: list[Event] = []  # before those; the next one is last
        self.closed: Closed | None = None
        self.sends_zero_checksum = False
        self.incoming: Envelope | None = None
        self._outgoing: Envelope | None = None

    def _make_receiver(self, peer_initial_tsn: int, streams: int, *, interleaved: bool) -> Receiver:
        return Receiver(
            self.config,
            peer_initial_tsn=peer_initial_tsn,
            stream_count=streams,
            interleaved=interleaved,
            inbox=self.inbox,
        )

    # ------------------------------------------------------------------------------ getters

    @property
    def local_tag(self) -> int:
        """Our verification tag; 0 before there is one."""
        return self.setup.local_tag

    @property
    def remote_tag(self) -> int:
        """The peer's verification tag; 0 before it is known."""
        return self.tcb.remote_tag if self.tcb is not None else 0

    @property
    def mtu(self) -> int:
        """Largest packet that is sent at present, bytes; `Config.mtu` before more is known."""
        return self.path_mtu.mtu

    @property
    def needs_fragments(self) -> bool:
        """Whether the lower layer has to let IP fragment packets at present.

        A path that carried larger packets no longer does, and some that were cut for it are not
        acknowledged. At other times nothing may be fragmented, or probes of the path prove nothing.
        """
        return self.sender.has_oversize or self.path_mtu.may_fragment

    @property
    def outbound_streams(self) -> int:
        """How many streams we may send on; before the handshake, how many we ask for."""
        return self.tcb.outbound_streams if self.tcb is not None else self.config.outbound_streams

    @property
    def inbound_streams(self) -> int:
        """How many streams the peer may send on; before the handshake, how many we allow."""
        return self.tcb.inbound_streams if self.tcb is not None else self.config.inbound_streams

    @property
    def buffered_amount(self) -> int:
        """Bytes given to `send` that have not been sent yet, on all streams."""
        return self.sender.queue.buffered

    @property
    def unacknowledged(self) -> int:
        """User bytes that were sent, and neither acknowledged nor given up."""
        outstanding = self.sender.outstanding
        return outstanding.payload + outstanding.lost_payload

    @property
    def is_drained(self) -> bool:
        """Whether everything given to `send` has been acknowledged or given up."""
        return self.sender.is_drained

    @property
    def has_events(self) -> bool:
        """Whether `poll_event` would give something."""
        return bool(self._events or self._due_events)

    def is_quiet(self, now: float) -> bool:
        """Whether there is certainly nothing to send: `poll_transmit` need not be called now.

        False means nothing. A SACK that may wait for company is nothing to send.
        """
        return not self.receiver.policy.now and self.owes_sack_only(now)

    def owes_sack_only(self, now: float) -> bool:
        """Whether there is certainly nothing to send, but perhaps a SACK that is due."""
        sender, path_mtu = self.sender, self.path_mtu
        return (
            self.state is _ESTABLISHED
            and not sender.queue.buffered
            and not sender.outstanding.lost_payload
            and not sender.wants_tail_probe
            and self.outbox.is_empty
            and not self.reconfiguration.waiting
            and not sender.abandoned_messages
            # A path is probed only while more than a packet is on its way.
            and (sender.outstanding.payload <= path_mtu.base or now < path_mtu.due_at)
            and not sender.forwarding.wanted
        )

    def hold_sack(self, until: float) -> bool:
        """Let a SACK that is due wait until then, for something to go with; False if it must not.

        A SACK that reports a gap or a duplicate must not. RFC 9260 6.2 bounds the delay by 0.5 s,
        and the I bit only asks for none ("SHOULD NOT delay").
        """
        tsns = self.receiver.tsns
        if tsns.has_gap or tsns.has_duplicates:
            return False
        running = self.timers.get(Timer.SACK_DELAY)
        if running is None or until < running:
            self.timers.start(Timer.SACK_DELAY, until)
        return True

    def stream_buffered_amount(self, stream_id: int) -> int:
        """Bytes given to `send` for one stream that have not been sent yet."""
        stream = self.sender.queue.find(stream_id)
        return stream.buffered if stream is not None else 0

    def can_make_room(self, priority: int) -> bool:
        """Whether `send` with this priority would give up another message if the buffer is full."""
        return self.sender.can_make_room(priority)

    def is_readable(self, stream_id: int) -> bool:
        """Whether `receive` would give a message of this stream."""
        return self.inbox.is_readable(stream_id)

    # ----------------------------------------------------------------------------- commands

    def connect(self, now: float) -> None:
        """Send INIT (RFC 9260 11.1.2, ASSOCIATE).

        Raises:
            AssociationStateError: not in state CLOSED, or ended, or the remote port is not known.
        """
        if self.state is not State.CLOSED or self.closed is not None:
            raise AssociationStateError(f"connect() in state {self._state_name()}")
        if self.remote_port is None:
            raise AssociationStateError("connect() without a remote SCTP port")
        setup.connect(self, now)

    def send(
        self,
        stream_id: int,
        message: bytes,
        *,
        ppid: int = 0,
        unordered: bool = False,
        max_retransmits: int | None = None,
        lifetime: float | None = None,
        priority: int | None = None,
        now: float,
    ) -> None:
        """Queue a message (RFC 9260 11.1.5), also before the association is established.

        At most one limit of reliability may be given (RFC 7496); without the peer's support for
        partial reliability it has no effect.

        Args:
            stream_id: the stream.
            message: at least one byte.
            ppid: payload protocol identifier, for the peer's user.
            unordered: deliver it as soon as it is there.
            max_retransmits: give it up rather than send any part of it again more often than this.
            lifetime: give it up this many seconds from now, unless it was sent by then.
            priority: give it up for one with a smaller number, when the send buffer is full.
            now: the time.

        Raises:
            AssociationStateError: the association ends, or has ended.
            InvalidStreamError: no such stream.
            MessageTooLargeError: larger than the peer accepts.
            ReliabilityError: two limits, or a negative one.
            ValueError: an empty message, or a PPID that is not 32 bits.
        """
        tcb = self.tcb
        if self.closed is not None or (
            self.state is not _ESTABLISHED and self.state not in _ACCEPTS_MESSAGES
        ):
            raise AssociationStateError(f"send() in state {self._state_name()}")
        if tcb is None or not 0 <= stream_id < tcb.outbound_streams:
            self._check_stream(stream_id)
        if not message:
            raise ValueError("an SCTP message has at least one byte")
        limit = self.config.peer_max_message_size
        if limit is not None and len(message) > limit:
            raise MessageTooLargeError(
                f"a message of {len(message)} bytes, but the peer takes {limit}"
            )
        if not 0 <= ppid <= 0xFFFF_FFFF:
            raise ValueError(f"a PPID has 32 bits; {ppid} does not fit")
        expires: float | None = None
        if max_retransmits is not None or lifetime is not None or priority is not None:
            self._check_reliability(max_retransmits, lifetime, priority)
            expires = now + lifetime if lifetime is not None else None
        self.sender.send(stream_id, message, ppid, unordered, expires, max_retransmits, priority)
        if self.sender.abandoned_messages:
            self.report_abandoned()  # less important ones made room

    def _check_stream(self, stream_id: int) -> None:
        if not 0 <= stream_id < self.outbound_streams:
            raise InvalidStreamError(f"no stream {stream_id}; there are {self.outbound_streams}")

    @staticmethod
    def _check_reliability(
        max_retransmits: int | None, lifetime: float | None, priority: int | None
    ) -> None:
        limits = {"max_retransmits": max_retransmits, "lifetime": lifetime, "priority": priority}
        given = {name: value for name, value in limits.items() if value is not None}
        if len(given) > 1:
            raise ReliabilityError(f"{' and '.join(given)} exclude each other")
        for name, value in given.items():
            if not value >= 0:
                raise ReliabilityError(f"{name} is {value}; it cannot be negative")

    def receive(self, stream_id: int, limit: int = 1, *, now: float) -> list[Message]:
        """Take at most `limit` messages of a stream; this is what opens the window again.

        Works after the association has ended, too.
        """
        receiver, inbox = self.receiver, self.inbox
        if not inbox.is_readable(stream_id):
            return []
        before = inbox.held
        taken = receiver.receive(stream_id, limit)
        if taken:
            receiver.adapt_window(before - inbox.held, self.sender.rto.srtt, now)
        return taken

    def set_aside(self, stream_id: int, limit: int = 1, *, now: float) -> list[Message]:
        """Take messages like `receive`, but keep them charged to the window until `give_back`.

        For a layer above that has to look at messages before its own user does, or has to keep them
        for him while the stream is used for something else. The window bounds them together with
        what waits here: a peer cannot make both hold more than ``Config.rwnd_max`` and two messages
        of ``Config.max_message_size``, overhead included.
        """
        del now
        return self.inbox.set_aside(stream_id, limit)

    def give_back(self, messages: Sequence[Message]) -> None:
        """The user has taken messages that were set aside: opens the window as `receive` does.

        Each message is given back once; one that came by `receive` never.
        """
        self.receiver.give_back(messages)

    def expedite(self, stream_id: int) -> None:
        """Send what waits on a stream now before everything else that waits, by any scheduler.

        What is queued on it later takes its turn as ever. Without interleaving, another stream's
        message that has begun is finished first (RFC 8260 2.2). For control messages.

        Raises:
            InvalidStreamError: no such stream.
        """
        self._check_stream(stream_id)
        self.sender.queue.expedite(stream_id)

    def set_buffered_amount_low_threshold(self, stream_id: int, amount: int | None) -> None:
        """`BufferedAmountLow` comes when the buffered amount falls to `amount` bytes or below.

        That is 0 at first; with None it does not come.

        Raises:
            InvalidStreamError: no such stream.
            ValueError: a negative amount.
        """
        self._check_stream(stream_id)
        if amount is not None and amount < 0:
            raise ValueError(f"a threshold is 0 or more, not {amount}")
        self.sender.queue.set_low_threshold(stream_id, -1 if amount is None else amount)
        self._collect()

    def set_stream_schedule(
        self, stream_id: int, *, priority: int | None = None, weight: int | None = None
    ) -> None:
        """What the schedulers "priority" (higher first) and "weighted_fair" (from 1) go by.

        Raises:
            InvalidStreamError: no such stream.
            ValueError: a weight below 1.
        """
        self._check_stream(stream_id)
        if weight is not None and weight < 1:
            raise ValueError(f"a weight is 1 or more, not {weight}")
        stream = self.sender.queue.stream(stream_id)
        if priority is not None:
            stream.priority = priority
        if weight is not None:
            stream.weight = weight
        self.sender.queue.active.changed(stream)

    def reset_streams(self, stream_ids: Sequence[int], now: float) -> None:
        """Reset streams that we send on, after what is queued on them; () resets all (RFC 6525).

        Messages sent from now on wait for the answer: `OutgoingStreamsReset`, and they begin the
        stream anew, or `StreamResetFailed`, and they continue it.

        Raises:
            AssociationStateError: not established, or the peer does not support it.
            InvalidStreamError: no such stream.
        """
        del now
        self._check_reconfiguration("reset_streams()")
        for stream_id in stream_ids:
            self._check_stream(stream_id)
        reset.reset_streams(self, stream_ids)

    def request_peer_reset(self, stream_ids: Sequence[int], now: float) -> None:
        """Ask the peer to reset streams that it sends on; () asks for all (RFC 6525 5.1.3).

        `IncomingStreamsReset` comes when it did, `ReconfigFailed` if it refuses.

        Raises:
            AssociationStateError: not established, or the peer does not support it.
            InvalidStreamError: no such stream.
        """
        self._check_reconfiguration("request_peer_reset()")
        for stream_id in stream_ids:
            if not 0 <= stream_id < self.inbound_streams:
                raise InvalidStreamError(
                    f"no incoming stream {stream_id}; there are {self.inbound_streams}"
                )
        reset.request_peer_reset(self, stream_ids, now)

    def reset_association(self, now: float) -> None:
        """Let all stream numbers and TSNs begin anew, when nothing is outstanding (RFC 6525 5.1.4).

        Raises:
            AssociationStateError: not established, or the peer does not support it, or the last one
                was less than 30 s ago.
        """
        self._check_reconfiguration("reset_association()")
        if now - self.reconfiguration.associations_reset_at < reset.RESET_SPACING:
            raise AssociationStateError(
                "the association was reset less than 30 s ago (RFC 6525 5.1.4)"
            )
        reset.reset_association(self, now)

    def add_streams(self, *, outgoing: int = 0, incoming: int = 0, now: float) -> None:
        """Ask for more streams; `StreamsAdded` or `ReconfigFailed` tells what came of it (RFC
        6525).

        Raises:
            AssociationStateError: not established, or the peer does not support it.
            ValueError: negative counts, or more than 65,535 in all.
        """
        self._check_reconfiguration("add_streams()")
        for count, present in ((outgoing, self.outbound_streams), (incoming, self.inbound_streams)):
            if count < 0 or present + count > 0xFFFF:
                raise ValueError(f"{present} streams and {count} more: at most 65535 in all")
        reset.add_streams(self, outgoing, incoming, now)

    def _check_reconfiguration(self, what: str) -> None:
        if self.state is not State.ESTABLISHED or self.tcb is None:
            raise AssociationStateError(f"{what} in state {self._state_name()}")
        if not self.tcb.reconfiguration:
            raise AssociationStateError(f"{what}: the peer does not support RFC 6525")

    def heartbeat(self, now: float, *, packet_size: int | None = None) -> None:
        """Send a HEARTBEAT now (RFC 9260 11.1.10); `HeartbeatAcked` comes when it is answered.

        With `packet_size`, a PAD chunk makes the packet that large (RFC 4820), also beyond the MTU:
        a probe of what the path carries. At most ``Config.hb_max_burst`` are under way at once.

        Raises:
            AssociationStateError: not established.
            ValueError: a size that is no multiple of four, or not from 40 to 65,532 bytes.
        """
        if self.state is not State.ESTABLISHED:
            raise AssociationStateError(f"heartbeat() in state {self._state_name()}")
        if packet_size is not None and (packet_size % 4 or not 40 <= packet_size <= 65_532):
            raise ValueError(f"a probe has 40 to 65532 bytes in whole words, not {packet_size}")
        path.request_heartbeat(self, now, packet_size)

    def set_link_mtu(self, max_packet_size: int, *, overhead: int = UDP_OVERHEAD) -> None:
        """What the lower layer takes at most. Until it is known, no larger packets are tried.

        Args:
            max_packet_size: the largest packet that it takes, bytes; one below ``Config.mtu`` is
                obeyed, too.
            overhead: bytes of all headers from the IP header on to SCTP's; they tell what common
                paths leave for a packet.

        Raises:
            ValueError: less than 512 bytes.
        """
        if max_packet_size < 512:
            raise ValueError(f"SCTP needs packets of 512 bytes; this link takes {max_packet_size}")
        config = self.config
        limit = min(max_packet_size, config.max_mtu)
        self.path_mtu.start(
            config.mtu, limit if config.path_mtu_discovery else config.mtu, overhead
        )
        self.path.probes.clear()
        self.timers.stop(Timer.PATH_MTU)
        if self.path_mtu.mtu != self.sender.mtu:
            self.sender.mtu_changed(self.path_mtu.mtu)

    def handle_path_change(
        self, max_packet_size: int | None = None, *, overhead: int = UDP_OVERHEAD
    ) -> None:
        """The lower layer takes another path now: all that was measured begins anew.

        These are the congestion window and the timeout (RFC 9260 7.1, 7.2), and the size of packets
        (RFC 8899 5.2).

        Args:
            max_packet_size: as for `set_link_mtu`; None: as before.
            overhead: as there.

        Raises:
            ValueError: less than 512 bytes.
        """
        if max_packet_size is not None:
            self.set_link_mtu(max_packet_size, overhead=overhead)
        else:
            self.path_mtu.restart()
            self.path.probes.clear()
            self.timers.stop(Timer.PATH_MTU)
            if self.path_mtu.mtu != self.sender.mtu:
                self.sender.mtu_changed(self.path_mtu.mtu)
        self.sender.path_changed()
        self.receiver.limits.path_changed()

    def shutdown(self, now: float) -> None:
        """End in order (RFC 9260 9.2): what is queued is delivered, then both sides close.

        Has no effect when the end has already begun.

        Raises:
            AssociationStateError: the association is not established yet.
        """
        if self.state is State.ESTABLISHED:
            teardown.shutdown(self, now)
        elif self.closed is None and self.state in (
            State.CLOSED,
            State.COOKIE_WAIT,
            State.COOKIE_ECHOED,
        ):
            raise AssociationStateError(f"shutdown() in state {self._state_name()}; use abort()")

    def abort(self, reason: bytes = b"", *, now: float) -> None:
        """End at once (RFC 9260 9.1); what is queued is lost. `reason` is for the peer's user."""
        teardown.abort(self, reason, now)

    def _state_name(self) -> str:
        return self.state.value if self.closed is None else f"CLOSED ({self.closed.reason.value})"

    # ------------------------------------------------------------------------- from outside

    def handle_datagrams(self, batch: Sequence[bytes], now: float) -> None:
        """Packets that arrived together, in order. Nothing in them can make this raise."""
        counters = self.counters
        counters.packets_received += len(batch)
        counters.bytes_received += sum(map(len, batch))
        handle_batch_untrusted(self, batch, now)
        if self.tcb is not None and self.closed is None:
            data.after_batch(self, now)
        self._collect()

    def handle_timer(self, timer: Timer, now: float) -> None:
        """Act on a timer, if it is due; otherwise do nothing."""
        if timer in self.timers:
            _TIMER_HANDLERS[timer](self, now)
            self._collect()

    # ---------------------------------------------------------------------------------- out

    def poll_event(self) -> Event | None:
        """The next event; None when there is none."""
        due = self._due_events
        if not due:
            events = self._events
            if len(events) < 2:
                return events.pop() if events else None
            due.extend(reversed(events))
            events.clear()
        return due.pop()

    def poll_transmit(self, now: float, max_packets: int = 64) -> list[bytes]:
        """Packets to send now, in order, at most `max_packets`; empty when there are none left."""
        packets = make_packets(self, now, max_packets)
        if packets:
            counters = self.counters
            counters.packets_sent += len(packets)
            counters.bytes_sent += sum(map(len, packets))
        self._collect()
        return packets

    def _collect(self) -> None:
        """Turn what the parts have noted into events."""
        if self.closed is not None:
            return  # `Closed` was the last event
        events, queue = self._events, self.sender.queue
        if self.inbox.has_news:
            for stream_id in self.inbox.newly_readable():
                events.append(StreamReadable(stream_id))
        for stream_id in queue.newly_low():
            events.append(BufferedAmountLow(stream_id))
        if queue.buffer_low:
            queue.buffer_low = False
            events.append(SendBufferLow())
        if self.sender.abandoned_messages:
            self.report_abandoned()

    # ------------------------------------------------------------------------- for handlers

    def step(self, step: Step) -> None:
        """Change the state by the table; a step that is not in it is a bug."""
        self.state = next_state(self.state, step)

    def is_one_too_many(self) -> bool:
        """Count a chunk whose work grows with what is held; a packet has a few of them at most.

        Otherwise a packet of a hundred such chunks would cost a hundred times as much as its sender
        spends on it.
        """
        self.costly_chunks += 1
        if self.costly_chunks <= _MAX_COSTLY:
            return False
        self.counters.drops[Drop.TOO_MANY_CHUNKS] += 1
        return True

    def emit(self, event: Event) -> None:
        """Tell the user."""
        self._events.append(event)

    def report_abandoned(self) -> None:
        """Tell the user which messages were given up."""
        for stream_id, size, sent in self.sender.abandoned_messages:
            self.messages_abandoned += 1
            self._events.append(MessageAbandoned(stream_id, size, sent))
        self.sender.abandoned_messages.clear()

    def adopt(self, tcb: Tcb, *, restart: bool = False) -> None:
        """Take over what a handshake fixed; after a restart with everything that is not done."""
        self.tcb = tcb
        self.sends_zero_checksum = tcb.peer_accepts_zero_checksum
        self._address(tcb)
        # DATA behind a COOKIE ECHO that was refused, or was for another association of the peer's
        # (5.2.4 B), has been discarded with it: it begins anew as the new handshake says.
        sender = self.sender
        begin = sender.restart if restart or sender.outstanding.records else sender.establish
        begin(
            tcb.local_initial_tsn,
            tcb.remote_rwnd,
            interleaved=tcb.interleaving,
            partially_reliable=tcb.partial_reliability,
        )
        if restart:
            self.inbox.forget_waiting()
        for message in self.sender.queue.drop_streams(tcb.outbound_streams):
            self._events.append(MessageAbandoned(message.stream_id, len(message.data), False))
        self.receiver = self._make_receiver(
            tcb.remote_initial_tsn, tcb.inbound_streams, interleaved=tcb.interleaving
        )
        self.reconfiguration = reset.Reconfiguration(tcb.local_initial_tsn, tcb.remote_initial_tsn)

    def _address(self, tcb: Tcb) -> None:
        assert self.remote_port is not None
        self.incoming = Envelope(self.remote_port, self.local_port, tcb.local_tag)
        self._outgoing = Envelope(self.local_port, self.remote_port, tcb.remote_tag)

    def change_remote_tag(self, tag: int) -> None:
        """The peer has another tag than we thought (RFC 9260 5.2.4 action B)."""
        assert self.tcb is not None
        self.tcb = attrs.evolve(self.tcb, remote_tag=tag)
        self._address(self.tcb)

    def close(self, closed: Closed, *, step: Step = Step.ABORT) -> None:
        """End the association. What is readable stays readable."""
        self.step(step)
        self._collect()
        self.closed = closed
        self.timers.clear()
        self.outbox.control.clear()
        self.sender.queue.clear()
        self._events.append(closed)

    def send_alone(self, chunk: bytes) -> None:
        """A chunk that must not be bundled."""
        self.outbox.send_packet(self.seal(chunk), is_answer=False)

    def seal_data(self, bodies: Sequence[bytes]) -> list[bytes]:
        """Packets of this association around one DATA chunk each."""
        assert self._outgoing is not None
        zero = self.sends_zero_checksum
        seal = self._outgoing.seal_unchecked if zero else self._outgoing.seal
        return [seal(body) for body in bodies]

    def seal(self, body: bytes) -> bytes:
        """A packet of this association around whole chunks.

        SHUTDOWN ACK always carries a checksum: the peer may have forgotten the association, and
        with it that zero would do (RFC 9653).
        """
        assert self._outgoing is not None
        if (
            self.sends_zero_checksum
            and body[0] != ChunkType.COOKIE_ECHO
            and self.state is not State.SHUTDOWN_ACK_SENT
        ):
            return self._outgoing.seal_unchecked(body)
        return self._outgoing.seal(body)

    # --------------------------------------------------------------------------- statistics

    def statistics(self) -> Statistics:
        """A snapshot of everything that is counted and measured."""
        return snapshot(self)
