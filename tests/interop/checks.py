"""What several tests with real peers check, and look for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import attrs

from .namespaces import Host
from .own_peer import OwnPeer
from .payload import record
from .usrsctp import pattern
from .webrtc import PC, Peer, send

#: Who makes the offer.
ROLES = ("we offer", "they offer")

#: The six types of channels of RFC 8832 section 5.1.
SIX_TYPES: dict[str, dict[str, Any]] = {
    "reliable": {},
    "reliable unordered": {"ordered": False},
    "retransmits": {"max_retransmits": 0},
    "retransmits unordered": {"max_retransmits": 3, "ordered": False},
    "timed": {"max_packet_lifetime": 500},
    "timed unordered": {"max_packet_lifetime": 1000, "ordered": False},
}


#: Messages with something special about them.
SMALL: list[str | bytes] = ["text", "Grüße, 世界 🌍", b"\x00\xff", "", b"", "x", b"\n"]


@attrs.frozen(kw_only=True)
class Two:
    """Our peer and theirs, and the hosts that they are on."""

    ours: OwnPeer
    theirs: Peer
    hosts: list[Host]
    offerer: Peer
    answerer: Peer


async def open_channel(opener: Peer, other: Peer, name: str, **options: Any) -> tuple[str, str]:
    """A channel, by its names at the one who opens it and at the other."""
    known = len(await other.call("incoming", pc=PC, count=0))
    await opener.call("create_channel", pc=PC, channel=name, **options)
    channels = await other.call("incoming", pc=PC, count=known + 1)
    await opener.call("wait_channel", pc=PC, channel=name, states=["open"])
    return name, channels[-1]["channel"]


async def check_messages(
    sender: Peer, receiver: Peer, names: tuple[str, str], messages: list[str | bytes]
) -> None:
    """What one sends is what the other gets, in that order."""
    # The channel may be known to the other end before the answer to its DCEP OPEN is here.
    await sender.call("wait_channel", pc=PC, channel=names[0], states=["open"])
    known = (await receiver.call("channel", pc=PC, channel=names[1]))["received"]
    for message in messages:
        await send(sender, names[0], message)
    received = await receiver.call(
        "received", pc=PC, channel=names[1], start=known, count=known + len(messages)
    )
    assert received == [record(message) for message in messages]


async def check_sizes(sender: Peer, receiver: Peer, names: tuple[str, str]) -> None:
    sizes = [1, 2, 100, 1170, 1200, 16_383, 16_384, 65_535, 65_536, 200_001, 262_143, 262_144]
    known = (await receiver.call("channel", pc=PC, channel=names[1]))["received"]
    for size in sizes:
        await sender.call("send_pattern", pc=PC, channel=names[0], size=size, seed=size)
    received = await receiver.call(
        "received", pc=PC, channel=names[1], start=known, count=known + len(sizes), within=30
    )
    assert received == [record(pattern(size, size)) for size in sizes]


# --------------------------------------------------------------------------- what is left behind


def processes_with(text: str) -> list[int]:
    """The processes with this text in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if text.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:  # it has ended meanwhile
            continue
    return found


def processes_inside(namespace: int) -> list[str]:
    """Who still is in, or holds open, the namespace with this inode."""
    wanted = f"net:[{namespace}]"
    found = []
    for path in [*Path("/proc").glob("[0-9]*/ns/net"), *Path("/proc").glob("[0-9]*/fd/*")]:
        try:
            if os.readlink(path) == wanted:
                found.append(str(path))
        except OSError:
            continue
    return found
