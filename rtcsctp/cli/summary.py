"""What is said about a transfer when it is over: what went over it, and the statistics."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping

from rtcsctp.cli.units import format_count, format_duration, format_rate, format_size
from rtcsctp.sctp.statistics import Statistics

__all__ = ["Tally", "statistics_table"]


class Tally:
    """Messages that went one way.

    Attributes:
        messages: how many.
        bytes: how many in all.
    """

    def __init__(self) -> None:
        self.messages = 0
        self.bytes = 0
        self._digest = hashlib.sha256()

    def add(self, messages: Iterable[bytes]) -> None:
        """Count some."""
        for message in messages:
            self.messages += 1
            self.bytes += len(message)
            self._digest.update(message)

    @property
    def sha256(self) -> str:
        """The checksum of all bytes, in the order in which they were added."""
        return self._digest.hexdigest()

    def __str__(self) -> str:
        return f"{format_size(self.bytes)} in {format_count(self.messages, 'message')}"

    def describe(self, seconds: float) -> str:
        """All of it in one line, with the rate."""
        rate = self.bytes / max(seconds, 1e-6)
        return f"{self} in {format_duration(seconds)} ({format_rate(rate)})"


Row = tuple[str, Callable[[Statistics], str]]


def statistics_table(ends: Mapping[str, Statistics]) -> str:
    """A table of the statistics of one or several associations, by the names of their columns.

    A single column may have an empty name.

    Lines that say nothing anywhere (no time was measured, no drops for a reason) are left out.
    """
    lines = [("", list(ends))] if any(ends) else []
    for label, show in _ROWS + _drop_rows(ends):
        values = [show(statistics) for statistics in ends.values()]
        if any(values):
            lines.append((label, values))
    label_width = max(len(label) for label, _ in lines)
    widths = [max(len(values[i]) for _, values in lines) for i in range(len(ends))]
    return "\n".join(
        "  ".join(
            [label.ljust(label_width)]
            + [value.rjust(width) for value, width in zip(values, widths, strict=True)]
        ).rstrip()
        for label, values in lines
    )


def _drop_rows(ends: Mapping[str, Statistics]) -> tuple[Row, ...]:
    reasons = {reason: None for statistics in ends.values() for reason in statistics.drops}
    return tuple(
        (f"dropped: {reason.value}", lambda s, reason=reason: _count(s.drops.get(reason, 0)))
        for reason in reasons
    )


def _count(number: int) -> str:
    return f"{number:,}"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.2f} ms"


def _used(extension: bool) -> str:
    return "yes" if extension else "no"


_ROWS: tuple[Row, ...] = (
    ("user data sent", lambda s: format_size(s.user_bytes_sent)),
    ("user data received", lambda s: format_size(s.user_bytes_received)),
    ("messages sent", lambda s: _count(s.messages_sent)),
    ("messages received", lambda s: _count(s.messages_received)),
    ("messages abandoned", lambda s: _count(s.messages_abandoned)),
    ("packets sent", lambda s: _count(s.packets_sent)),
    ("packets received", lambda s: _count(s.packets_received)),
    ("SCTP bytes sent", lambda s: format_size(s.bytes_sent)),
    ("SCTP bytes received", lambda s: format_size(s.bytes_received)),
    ("DATA chunks sent", lambda s: _count(s.data_chunks_sent)),
    ("DATA chunks received", lambda s: _count(s.data_chunks_received)),
    ("  of them duplicates", lambda s: _count(s.duplicates_received)),
    ("fast retransmissions", lambda s: _count(s.fast_retransmits)),
    ("timed-out retransmissions", lambda s: _count(s.timeout_retransmits)),
    ("timeouts (T3-rtx)", lambda s: _count(s.timeouts)),
    ("losses found otherwise", lambda s: _count(s.fast_recoveries)),
    ("  of them for nothing", lambda s: _count(s.spurious_recoveries)),
    ("tail-loss probes", lambda s: _count(s.tail_loss_probes)),
    ("SACKs sent", lambda s: _count(s.sacks_sent)),
    ("SACKs received", lambda s: _count(s.sacks_received)),
    ("round-trip time", lambda s: "" if s.srtt is None else _milliseconds(s.srtt)),
    ("its variation", lambda s: "" if s.srtt is None else _milliseconds(s.rttvar)),
    (
        "shortest round-trip time",
        lambda s: "" if s.min_round_trip_time is None else _milliseconds(s.min_round_trip_time),
    ),
    ("retransmission timeout", lambda s: _milliseconds(s.rto)),
    ("congestion control", lambda s: s.congestion_control),
    ("congestion window", lambda s: format_size(s.cwnd)),
    (
        "slow-start threshold",
        lambda s: "" if s.ssthresh is None else format_size(s.ssthresh),
    ),
    ("pacing", lambda s: "" if s.pacing_rate is None else format_rate(s.pacing_rate)),
    ("largest packet", lambda s: format_size(s.mtu)),
    ("path MTU probes", lambda s: _count(s.path_mtu_probes_sent)),
    ("  of them lost", lambda s: _count(s.path_mtu_probes_lost)),
    ("interleaving", lambda s: _used(s.interleaving)),
    ("partial reliability", lambda s: _used(s.partial_reliability)),
    ("reconfiguration", lambda s: _used(s.reconfiguration)),
    ("zero checksum", lambda s: "yes" if s.zero_checksum_sent else ""),
)
