"""What waits to be sent besides user data: control chunks, and packets that are ready.

There are caps, because a peer can provoke answers faster than we send them.
"""

from __future__ import annotations

from rtcsctp.sctp.statistics import Counters, Drop

__all__ = ["Outbox"]

_MAX_CONTROL = 128  # control chunks queued
_MAX_ANSWERS = 32  # of them, answers that a peer can provoke; and packets that are ready


class Outbox:
    """Control chunks and packets, in order."""

    __slots__ = ("_counters", "_ready", "control")

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        # Lists, as they are short: a deque takes 760 bytes even when it is empty.
        self._ready: list[bytes] = []
        self.control: list[bytes] = []
        """Control chunks to be bundled."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self.control and not self._ready

    def queue(self, chunk: bytes) -> None:
        """A control chunk for the next packet."""
        if len(self.control) < _MAX_CONTROL:
            self.control.append(chunk)

    def answer(self, chunk: bytes) -> None:
        """A control chunk that the peer has provoked."""
        if len(self.control) < _MAX_ANSWERS:
            self.control.append(chunk)
        else:
            self._counters.drops[Drop.TOO_MANY_ANSWERS] += 1

    def queue_first(self, chunk: bytes) -> None:
        """A control chunk that must be the first of its packet; queued once."""
        if chunk not in self.control:
            self.control.insert(0, chunk)

    def unqueue(self, chunk: bytes) -> None:
        """Take a control chunk back that has not been sent yet."""
        if chunk in self.control:
            self.control.remove(chunk)

    def send_packet(self, packet: bytes, *, is_answer: bool = True) -> None:
        """A packet that is ready: outside the association, or with tags of its own.

        An answer is one that anybody can provoke, who need not be the peer.
        """
        if len(self._ready) < _MAX_ANSWERS or not is_answer:
            self._ready.append(packet)
        else:
            self._counters.drops[Drop.TOO_MANY_ANSWERS] += 1

    def take_packets(self, limit: int) -> list[bytes]:
        """At most `limit` of the packets that are ready."""
        taken = self._ready[:limit]
        if taken:
            del self._ready[:limit]
        return taken
