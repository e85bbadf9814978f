"""The nursery of tasks around one sans-IO association.

- *receiver* takes batches of datagrams from the link and gives them to the core;
- *sender* waits on a doorbell, a memory channel of size 1, pulls packets from the core when the
  link is ready, and sends them in batches; made so late, packets carry the newest SACK;
- one task per named *timer*, while its deadline is near, sleeps until the deadline that it last
  heard of. Only earlier deadlines are told to it, over its memory channel; that a deadline has
  moved later it finds on waking (see `Alarm`).

`Driver.settle` is the one synchronous funnel after anything has touched the core: events out,
doorbell rung, timers told. The core is touched only between two awaits, so there are no locks and
no half states.

Over a link that can do without waiting (`DirectLink`), two short cuts leave out a turn of Trio's
loop each, and change nothing else:

- packets that arrive are given to the core by the task that reads them, in the same turn, and what
  they call for or let go is sent by it, as it is by a timer's task; the receiver attaches that, and
  waits for the end of the link;
- a message that finds nobody at work, so that nothing could be gained by waiting for company, is
  sent by whoever sends it (`send_soon`). As soon as something is on its way the sender does it,
  once for all that was queued in this turn: no message waits for an acknowledgement (Nagle), and
  those that come together share packets.

Either link has a third: a SACK that is due is not sent at once where what arrived has woken a
reader, for his answer can take it along. It goes with the answer, or when he waits for more, or
after `_HOLD`. A reader who made it wait for so long is not trusted for the next `_DISTRUST` times.

What users wait for is awaited in their own tasks, on parking lots that events unpark. Who they are
differs: `StreamDriver` serves the streams of a bare association, `ChannelDriver` data channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import trio

from rtcsctp.runtime.alarm import Alarm
from rtcsctp.runtime.errors import AssociationLost, LinkBroken, lost_by
from rtcsctp.runtime.link import DirectLink, Link, allow_fragments, overhead_of
from rtcsctp.runtime.log import Journal, association_journal
from rtcsctp.sctp.association import Association as Core
from rtcsctp.sctp.events import Closed, CloseReason, Connected, Event, Restarted
from rtcsctp.sctp.state import State
from rtcsctp.sctp.timers import Timer

__all__ = ["Driver"]

_BATCH = 64  # packets that are handed to the link at once, at most
_BATCH_BYTES = 1 << 16
"""Bytes that are handed to the link at once, unless it is one packet: a run that the kernel cuts
into packets has no more, and it takes a millisecond at most before other tasks have their turn."""
_OVERHEAD = 64  # bytes that the link may add to a packet
_STINT_BYTES = 1 << 16
_STINT_COST = 1 << 8  # of a message, besides its bytes
_STINT = 0.001
"""What users do on one association without letting other tasks run: 64 KiB in messages, where each
counts as 256 bytes more than it has, and this many seconds."""
_MAX_GATHERING = 32  # turns of Trio's loop that the sender waits for a packet to fill
_HOLD = 0.005
"""Seconds that a SACK waits for the reader whom the data woke, at most. He has his turn at once;
what takes longer is his own work."""
_DISTRUST = 64
_HEARTBEAT_GRAIN = 0.5
"""Seconds from which on a tenth of one is not much."""
_LAST_WORDS = 0.2
"""Seconds that a block which is being left in a hurry may still spend on sending what is ready (an
ABORT, a SHUTDOWN COMPLETE). Nothing waits for an answer, so it takes them only where the link does
not take packets."""


def _whenever(seconds: float) -> bool:
    """The patience of heartbeats: nobody minds when exactly a path is tried, or tried again."""
    return seconds > _HEARTBEAT_GRAIN


class Driver:
    """Runs one core over one link. Everything but `run_*` is synchronous or awaited by users.

    Attributes:
        core: the sans-IO association.
        link: what carries its datagrams.
        journal: says what happens to it.
        end: how the association ended, if it has.
        ended: set together with `end`.
        established: set when the association was established, or has ended.
        leaving: the user is done with it: all is refused, and what arrives is dropped.
        told: the user has heard that and why it ended.
        woke_reader: what has just arrived was for a task that waited for it.
    """

    __slots__ = (
        "_alarms",
        "_bell",
        "_direct",
        "_distrust",
        "_doorbell",
        "_fragments",
        "_holds_sack",
        "_last_call",
        "_last_state",
        "_left_over",
        "_link_failed",
        "_mtu",
        "_nursery",
        "_rung",
        "_sender_done",
        "_sender_rests",
        "_sender_scope",
        "_started_at",
        "_stint",
        "_stint_ends",
        "core",
        "end",
        "ended",
        "established",
        "journal",
        "leaving",
        "link",
        "told",
        "woke_reader",
    )

    def __init__(self, core: Core, link: Link, journal: Journal | None = None) -> None:
        self.core = core
        self.link = link
        self.journal = journal if journal is not None else association_journal()
        self.end: Closed | None = None
        self.ended = trio.Event()
        self.established = trio.Event()
        self.leaving = False
        self.told = False
        self.woke_reader = False
        self._started_at = trio.current_time()
        self._link_failed = False
        self._last_state = core.state
        self._direct: DirectLink | None = link if isinstance(link, DirectLink) else None
        self._rung = False
        self._sender_rests = False
        self._left_over = False
        self._holds_sack = False
        self._distrust = 0
        self._stint = _STINT_BYTES
        self._stint_ends = math.inf
        self._fragments = False
        self._mtu = core.mtu
        self._last_call = False
        self._nursery: trio.Nursery | None = None
        self._sender_done = trio.Event()
        self._sender_scope = trio.CancelScope(shield=True)
        self._bell, self._doorbell = trio.open_memory_channel[None](1)
        self._alarms: dict[Timer, Alarm] = {}

    # -------------------------------------------------------------------------------- tasks

    def start(self, nursery: trio.Nursery) -> None:
        """Start the tasks."""
        nursery.start_soon(self._run_receiver, name="receiver")
        nursery.start_soon(self._run_sender, name="sender")
        self._nursery = nursery
        self.tell_mtu()
        self.settle()

    def tell_mtu(self) -> None:
        """Tell the core how large packets the link takes now."""
        link = self.link
        self.core.set_link_mtu(link.max_packet_size, overhead=overhead_of(link))

    async def _run_receiver(self) -> None:
        link, direct = self.link, self._direct
        if direct is not None:
            direct.deliver_to(self._handle_packets)
        try:
            while True:
                try:
                    batch = await link.receive()
                except (trio.ClosedResourceError, trio.BrokenResourceError) as error:
                    self._lose_link(error)
                    return
                self._handle_packets(batch)
        finally:
            if direct is not None:
                direct.deliver_to(None)

    def _handle_packets(self, batch: Sequence[bytes]) -> None:
        core, now = self.core, trio.current_time()
        core.handle_datagrams(batch, now)
        self.woke_reader = False
        self._take_events()
        if not core.owes_sack_only(now):
            self._respond(now)
        elif core.receiver.policy.now:
            if not self.woke_reader or self._distrust:
                self._distrust = max(0, self._distrust - 1)
                self._respond(now)
            elif core.hold_sack(now + _HOLD):
                self._holds_sack = True
            else:
                self._respond(now)
        self._watch_timers()

    async def _run_sender(self) -> None:
        # Shielded: when the block is cancelled, the ABORT still has to be sent. `last_words`
        # ends this task.
        core, link, doorbell = self.core, self.link, self._doorbell
        try:
            with self._sender_scope:
                finished = False
                while not finished:
                    if self._rung:
                        await self._gather()
                        doorbell.receive_nowait()
                    else:
                        self._sender_rests = True
                        await doorbell.receive()
                        self._sender_rests = False
                    self._rung = False
                    finished = self._last_call  # what is ready now is the last
                    if core.is_quiet(trio.current_time()) and not (finished or self._left_over):
                        continue  # it has gone with something else, by `send_at_once`
                    full = True
                    while full:
                        limit = self._batch_size()
                        packets = self._poll(trio.current_time(), limit)
                        full = len(packets) == limit  # fewer: there are no more
                        if packets or self._left_over:
                            self._left_over = False
                            await link.send(packets)
        except (trio.ClosedResourceError, trio.BrokenResourceError) as error:
            self._lose_link(error)
        finally:
            if self._fragments:
                self._allow_fragments(False)
            self._sender_rests = False
            self._sender_done.set()

    def _batch_size(self) -> int:
        """Packets that are handed to the link at once."""
        mtu = self.core.mtu
        if mtu != self._mtu:
            self._note_mtu(mtu)
        return min(_BATCH, max(1, _BATCH_BYTES // (mtu + _OVERHEAD)))

    def _note_state(self, state: State) -> None:
        self.journal.detail(
            "sctp",
            "sctp-state",
            "from {before} to {state}",
            before=self._last_state.value,
            state=state.value,
        )
        self._last_state = state

    def _note_mtu(self, mtu: int) -> None:
        text = "packets of {mtu} bytes pass; before, {before} was the most"
        if mtu < self._mtu:
            text = "packets have {mtu} bytes at most now; before, {before} was the most"
        self.journal.note("sctp", "path-mtu", text, mtu=mtu, before=self._mtu)
        self._mtu = mtu

    def send_soon(self, queued_before: int, now: float) -> None:
        """Something was queued: send it now if nothing is on its way, else have the sender do it.

        Args:
            queued_before: bytes that were queued already.
            now: the time.
        """
        if queued_before or self.core.unacknowledged:
            self.ring()
        else:
            self.send_at_once(now)

    def _respond(self, now: float) -> None:
        """Something has arrived, or a timer rung: send what that calls for, or lets go.

        At once, unless less than a packet waits, which others may be about to fill.
        """
        if 0 < self.core.buffered_amount < self.core.mtu:
            self.ring()
        else:
            self.send_at_once(now)

    def send_at_once(self, now: float) -> None:
        """Send what is ready, from the task that is running; where that cannot be, ring."""
        direct = self._direct
        if direct is None or self._left_over or not self._sender_rests:
            self.ring()
            return
        limit = self._batch_size()
        packets = self._poll(now, limit)
        if not packets:
            return
        try:
            self._left_over = not direct.send_now(packets)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            self.ring()  # the sender will see the same, and acts on it
        if self._left_over or len(packets) == limit:
            self.ring()

    def _poll(self, now: float, limit: int) -> list[bytes]:
        """What is to be sent now; a SACK that is due is among it."""
        core = self.core
        packets = core.poll_transmit(now, limit)
        if core.needs_fragments is not self._fragments:
            self._allow_fragments(core.needs_fragments)
        self._holds_sack = False
        self._take_events()
        self._watch_timers()
        return packets

    def look_after_sack(self, now: float, *, reader_waits: bool) -> None:
        """A reader has taken messages, or found none and waits: may a SACK that is due wait on?"""
        if not self.core.receiver.policy.now:
            return  # nearly always
        if reader_waits:
            self.send_at_once(now)  # he has no answer
        elif not self._holds_sack:
            self.ring()  # the window has opened so far that the peer must hear

    def ends_stint(self, size: int, now: float) -> bool:
        """Note that a message of so many bytes went in or out; whether it is others' turn now.

        An await that has something at hand always looks whether it was cancelled, but lets other
        tasks run only when this says so: a turn of the loop costs more than a small message.
        """
        self._stint -= size + _STINT_COST
        ends = self._stint_ends
        if self._stint > 0 and now < ends:
            if ends == math.inf:
                self._stint_ends = now + _STINT
            return False
        self._stint = _STINT_BYTES
        self._stint_ends = now + _STINT
        return True

    def begin_stint(self) -> None:
        """Others have had their turn, because a user has waited for something."""
        self._stint = _STINT_BYTES
        self._stint_ends = math.inf  # until the next message

    def _allow_fragments(self, allowed: bool) -> None:
        self._fragments = allowed
        allow_fragments(self.link, allowed)

    async def _gather(self) -> None:
        """Wait while messages that could share a packet come one by one, each from its own `send`.

        Only entered when the doorbell rang while the last packets were being sent; so a message
        that comes alone is sent at once, and no message waits longer than some turns of the loop.
        """
        core, enough = self.core, self.core.config.mtu
        before, turns_without = -1, 0
        for _ in range(_MAX_GATHERING):
            amount = core.buffered_amount
            # Trio shuffles the tasks of each turn, so one that sends all the time may seem to have
            # paused for a turn, when it was before us in one and behind us in the next.
            turns_without = turns_without + 1 if amount == before else 0
            if not 0 < amount < enough or turns_without == 2:
                return
            before = amount
            await trio.lowlevel.checkpoint()

    def _handle_timer(self, timer: Timer, now: float) -> None:
        if timer is Timer.SACK_DELAY and self._holds_sack and now >= self.core.timers[timer]:
            self._distrust = _DISTRUST
        self.core.handle_timer(timer, now)
        self.settle(ring=False)
        self._respond(now)

    def dismiss(self) -> None:
        """Let the sender send what is ready, and end; nobody waits for it."""
        self._last_call = True
        self.ring()

    async def last_words(self) -> None:
        """Let the sender send what is ready, and end it; takes `_LAST_WORDS` at most."""
        self.dismiss()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _LAST_WORDS):
            await self._sender_done.wait()
        self._sender_scope.cancel()

    def settle(self, *, ring: bool = True) -> None:
        """Take out of the core what has come of touching it: events, packets, deadlines."""
        self._take_events()
        if ring:
            self.ring()
        self._watch_timers()

    def _take_events(self) -> None:
        core = self.core
        if core.has_events:
            while (event := core.poll_event()) is not None:
                self.handle_event(event)
        if core.state is not self._last_state:
            self._note_state(core.state)
        self.after_settling()

    def _watch_timers(self) -> None:
        alarms = self._alarms
        for timer, deadline in self.core.timers.items():
            alarm = alarms.get(timer)
            if alarm is None or deadline < alarm.told:
                self._set_alarm(timer)

    def ring(self) -> None:
        """Have the sender look for packets."""
        if not self._rung:
            self._rung = True
            self._bell.send_nowait(None)

    def _set_alarm(self, timer: Timer) -> None:
        """A timer has an earlier deadline; the first time, it gets its alarm."""
        alarm = self._alarms.get(timer)
        if alarm is not None:
            alarm.check()
            return
        if self._nursery is None or self.end is not None:
            return
        alarm = self._alarms[timer] = Alarm(
            f"timer {timer.value}",
            partial(self.core.timers.get, timer),
            partial(self._handle_timer, timer),
            patient=_whenever if timer is Timer.HEARTBEAT else None,
        )
        alarm.start(self._nursery)

    def _end_timers(self) -> None:
        """The handshake is over: the tasks of timers that have stopped need not wait to see it."""
        for timer, alarm in list(self._alarms.items()):
            if timer not in self.core.timers:
                alarm.rest()
                del self._alarms[timer]

    def _lose_link(self, error: Exception) -> None:
        """The link is gone, and with it the association, unless that has ended."""
        self.settle()  # the link's owner may have aborted it
        if self.end is not None:
            return
        now = trio.current_time()
        self._link_failed = True
        detail = str(error) or type(error).__name__
        self.end = Closed(CloseReason.UNREACHABLE, detail, now - self._started_at)
        self.core.abort(now=now)
        self.finish()
        self.settle()

    # -------------------------------------------------------------- for the drivers of each user

    def handle_event(self, event: Event) -> None:
        """What the core says; a driver that adds to it hands on what is not its own."""
        kind = type(event)
        if kind is Connected:
            self.established.set()
            self._end_timers()
            self._log_connected()
        elif kind is Restarted:
            self.journal.note("sctp", "restarted", "the peer has restarted the association")
        elif kind is Closed:
            self._on_closed(event)  # type: ignore[arg-type]

    def _log_connected(self) -> None:
        core = self.core
        self.journal.note(
            "sctp",
            "established",
            "association established: {outbound} streams out, {inbound} in, {extensions}",
            outbound=core.outbound_streams,
            inbound=core.inbound_streams,
            extensions=_extensions(core),
        )

    def _log_end(self) -> None:
        end = self.end
        if end is None:
            return
        say = self.journal.problem if self.is_trouble else self.journal.note
        say(
            "sctp",
            "closed",
            "association ended after {elapsed:.3f} s: {reason}{detail}",
            elapsed=end.elapsed,
            reason=end.reason.value,
            detail=f" ({end.detail})" if end.detail else "",
        )

    @property
    def is_trouble(self) -> bool:
        """Whether our user must take its end for a misfortune."""
        return not (self.is_orderly or self.leaving)

    def after_settling(self) -> None:
        """All events are out: room in buffers may have come, too."""

    def wake_everybody(self) -> None:
        """What they wait for may never come now; they look for themselves."""

    def _on_closed(self, event: Closed) -> None:
        if self.end is not None:
            return  # the link failed, and we have said so
        if event.reason is CloseReason.UNREACHABLE and self._last_state is State.SHUTDOWN_ACK_SENT:
            # All that either side sent is acknowledged, and both know it; what is missing is
            # SHUTDOWN COMPLETE, whose sender has gone home.
            event = Closed(CloseReason.SHUTDOWN, event.detail, event.elapsed)
        elif event.reason is CloseReason.ABORTED_LOCALLY:
            self.leaving = True
        self.end = event
        self.finish()

    def finish(self) -> None:
        """It has ended; `end` says how."""
        for alarm in self._alarms.values():
            alarm.stop()
        self._log_end()
        self.ended.set()
        self.established.set()
        self.wake_everybody()

    @property
    def is_orderly(self) -> bool:
        """Whether it ended as both sides, or our user, wanted."""
        return self.end is not None and self.end.reason in (
            CloseReason.SHUTDOWN,
            CloseReason.ABORTED_LOCALLY,
        )

    def lost(self) -> AssociationLost:
        """The exception to raise for an end that was not ours, or for a peer that shuts down."""
        end = self.end
        self.told = self.told or end is not None
        if end is None:
            elapsed = trio.current_time() - self._started_at
            return lost_by(Closed(CloseReason.SHUTDOWN, "", elapsed))
        if self._link_failed:
            return LinkBroken(
                f"the link failed: {end.detail}",
                reason=end.reason,
                detail=end.detail,
                elapsed=end.elapsed,
            )
        return lost_by(end)

    # ---------------------------------------------------------------------------------- end

    def connect(self) -> None:
        """Send INIT."""
        self.core.connect(trio.current_time())
        self.settle()

    async def wait_established(self) -> None:
        """Wait until the handshake is done.

        Raises:
            AssociationLost: it failed.
            trio.ClosedResourceError: it was aborted here.
        """
        await self.established.wait()
        if self.leaving:
            raise trio.ClosedResourceError("this association was closed here")
        if self.end is not None and not self.is_orderly:
            raise self.lost()

    def abort(self, reason: bytes) -> None:
        """End at once; the ABORT is ready to be sent."""
        self.leaving = True
        now = trio.current_time()
        self.core.abort(reason, now=now)
        self.settle()
        if self.end is None:  # there was no association yet, so the core had nothing to end
            self.end = Closed(CloseReason.ABORTED_LOCALLY, "", now - self._started_at)
            self.finish()
        self.wake_everybody()


def _extensions(core: Core) -> str:
    """What was negotiated, in words."""
    tcb = core.tcb
    names = {
        "interleaving": tcb is not None and tcb.interleaving,
        "partial reliability": tcb is not None and tcb.partial_reliability,
        "reconfiguration": tcb is not None and tcb.reconfiguration,
        "zero checksum": core.sends_zero_checksum,
    }
    return ", ".join(name for name, used in names.items() if used) or "no extensions"
