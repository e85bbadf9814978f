"""For tests: a simulated network, cores stepped in virtual time, links in memory, captures.

The map of the package::

    conditions.py   what a direction of a network does to packets: delay, rate, loss, …  (pure)
    network.py      the seeded network itself, in virtual time                           (pure)
    stepping.py     any two sans-IO cores over a network, stepped in virtual time        (pure)
    pair.py         … two SCTP associations                                              (pure)
    flows.py        several SCTP associations that share a network, in virtual time      (pure)
    dtls.py         a stand-in for DTLS, in virtual time and without cryptography        (pure)
    link.py         links for the runtime: simulated, in memory                          (Trio)
    host.py         computers on a simulated network, for whole peers                    (Trio)
    pcapng.py       capture files, read; `rtcsctp.runtime.capture` writes them
    unwrap.py       the SCTP packets in captured frames: Ethernet, IP, UDP
    hex_text.py     packets that were written as hexadecimal text
    dissect.py      what is in a packet, in words                                        (pure)
    ladder.py       captures drawn as ladders
    diagrams.py     the drawings in README: the states of an association, and a short one

A test of the runtime over a bad network, which takes no real time and always meets the same luck::

    async def serve(link):
        config = rtcsctp.Config()
        async with rtcsctp.open_association(link, config, initiate=False) as association:
            message = await association.stream(0).receive()
            assert message.data == b"abc"

    async def test_transfer(autojump_clock):
        conditions = Conditions(delay=0.05, jitter=0.01, rate=1_000_000, queue=100_000, loss=0.05)
        a, b = simulated_links(Network(conditions, seed=1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, b)
            async with rtcsctp.open_association(a, rtcsctp.Config()) as association:
                await association.stream(0).send(b"abc")
"""

from __future__ import annotations

from rtcsctp.runtime.link import CapturingLink
from rtcsctp.testing.conditions import BurstLoss, Conditions
from rtcsctp.testing.dtls import StandInEngine, StandInIdentity
from rtcsctp.testing.flows import Flow, FlowEnd, Flows
from rtcsctp.testing.host import SimulatedHost, SimulatedSocket, simulated_hosts
from rtcsctp.testing.ladder import draw_ladder
from rtcsctp.testing.link import (
    MemoryLink,
    SimulatedLink,
    memory_links,
    simulated_links,
)
from rtcsctp.testing.network import Counters, Direction, Fate, Network, TraceEntry
from rtcsctp.testing.pair import Pair
from rtcsctp.testing.pcapng import (
    LINKTYPE_SCTP,
    Capture,
    CapturedPacket,
    CaptureError,
    read_pcapng_untrusted,
)
from rtcsctp.testing.stepping import Core, CorePair, LivelockError

__all__ = [
    "LINKTYPE_SCTP",
    "BurstLoss",
    "Capture",
    "CaptureError",
    "CapturedPacket",
    "CapturingLink",
    "Conditions",
    "Core",
    "CorePair",
    "Counters",
    "Direction",
    "Fate",
    "Flow",
    "FlowEnd",
    "Flows",
    "LivelockError",
    "MemoryLink",
    "Network",
    "Pair",
    "SimulatedHost",
    "SimulatedLink",
    "SimulatedSocket",
    "StandInEngine",
    "StandInIdentity",
    "TraceEntry",
    "draw_ladder",
    "memory_links",
    "read_pcapng_untrusted",
    "simulated_hosts",
    "simulated_links",
]
