"""The statistics of an association, taken from where each is counted."""

from __future__ import annotations

from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING

from rtcsctp.sctp.statistics import Drop, Statistics

if TYPE_CHECKING:
    from rtcsctp.sctp.association import Association

__all__ = ["snapshot"]


def snapshot(a: Association) -> Statistics:
    """Everything that an association has counted and measured."""
    counters, sender, receiver = a.counters, a.sender, a.receiver
    outstanding, congestion, tcb = sender.outstanding, sender.congestion, a.tcb
    return Statistics(
        state=a.state,
        congestion_control=a.config.congestion_control,
        congestion_window=congestion.cwnd,
        ssthresh=congestion.ssthresh if congestion.ssthresh < 1 << 40 else None,
        flight=outstanding.flight,
        unacknowledged=a.unacknowledged,
        unack_data=len(outstanding.records),
        in_fast_recovery=sender.in_fast_recovery,
        pacing_rate=congestion.pacing_rate if congestion.pacing_rate < inf else None,
        smoothed_round_trip_time=sender.rto.srtt,
        min_round_trip_time=sender.min_rtt,
        rttvar=sender.rto.rttvar,
        rto=sender.rto.value,
        mtu=a.mtu,
        path_mtu_state=a.path_mtu.state.value,
        path_mtu_probes_sent=a.path_mtu.probes_sent,
        path_mtu_probes_lost=a.path_mtu.probes_lost,
        path_errors=a.path.errors,
        path_is_active=a.path.errors <= a.config.path_max_retransmits,
        receiver_window=max(0, sender.peer_window - outstanding.payload),
        own_window=receiver.window,
        buffered_amount=sender.queue.buffered,
        held=receiver.held,
        unread_messages=a.inbox.unread,
        packets_sent=counters.packets_sent,
        packets_received=counters.packets_received,
        bytes_sent=counters.bytes_sent,
        bytes_received=counters.bytes_received,
        user_bytes_sent=sender.user_bytes_sent,
        user_bytes_received=counters.user_bytes_received,
        messages_sent=sender.messages_sent,
        messages_received=a.inbox.messages,
        data_chunks_sent=sender.chunks_sent,
        data_chunks_received=counters.chunks_received,
        fast_retransmits=sender.fast_retransmits,
        timeout_retransmits=sender.timeout_retransmits,
        timeouts=counters.timeouts,
        fast_recoveries=sender.fast_recoveries,
        spurious_recoveries=sender.spurious_recoveries,
        tail_loss_probes=sender.tail_loss_probes,
        messages_abandoned=a.messages_abandoned,
        duplicates_received=counters.duplicates,
        sacks_sent=counters.sacks_sent,
        sacks_received=counters.sacks_received,
        checksum_errors=counters.drops[Drop.CHECKSUM],
        drops=MappingProxyType({reason: n for reason, n in counters.drops.items() if n}),
        outbound_streams=a.outbound_streams,
        inbound_streams=a.inbound_streams,
        interleaving=tcb is not None and tcb.interleaving,
        partial_reliability=tcb is not None and tcb.partial_reliability,
        reconfiguration=tcb is not None and tcb.reconfiguration,
        zero_checksum_sent=a.sends_zero_checksum,
    )
