"""A file over a channel, with a checksum, into a place that the receiver chooses.

    python -m rtcsctp.examples.file_transfer FROM TO        (both ends in one process)

First a line of JSON that says how long it is, then the bytes, then their SHA-256. ``rtcsctp send``
does more: it resumes, shows progress and takes whole folders.
"""

from __future__ import annotations

import hashlib
import json
import sys

import trio

import rtcsctp

PIECE = 16_384
"""Bytes in a message. Large ones cost less, but peers that cannot interleave messages keep all
other channels waiting meanwhile (RFC 8831 6.6)."""


async def send_file(channel: rtcsctp.DataChannel, path: trio.Path) -> str:
    """Send a file; gives its SHA-256 when the other side says that it has it."""
    digest = hashlib.sha256()
    async with await path.open("rb") as file:
        await channel.send(json.dumps({"size": (await path.stat()).st_size}))
        while piece := await file.read(PIECE):
            digest.update(piece)
            await channel.send(piece)  # waits while too much is on its way
    await channel.send(digest.hexdigest())
    if await channel.receive() != "stored":
        raise OSError("the other side has not stored it")
    return digest.hexdigest()


async def receive_file(
    channel: rtcsctp.DataChannel, path: trio.Path, *, limit: int = 1 << 30
) -> str:
    """Receive a file of at most `limit` bytes to a path of ours; gives its SHA-256.

    Nothing is where it should be until all of it is, and nothing is overwritten.

    Raises:
        ValueError: it is too large, not as long as was said, or damaged.
        FileExistsError: there is something already, perhaps of another transfer.
    """
    size = int(json.loads(await channel.receive())["size"])
    if not 0 <= size <= limit:
        raise ValueError(f"a file of {size} bytes; at most {limit} are taken")
    if await path.exists():
        raise FileExistsError(f"{path} is there already")
    part = path.with_name(path.name + ".part")
    digest = hashlib.sha256()
    try:
        async with await part.open("xb") as file:
            while isinstance(piece := await channel.receive(), bytes):
                size -= len(piece)
                if size < 0:
                    raise ValueError("more bytes came than were announced")
                digest.update(piece)
                await file.write(piece)
        if size or piece != digest.hexdigest():
            raise ValueError("the file did not arrive as it was")
        await path.hardlink_to(part)  # unlike a rename, this overwrites nothing
    finally:
        await part.unlink(missing_ok=True)
    await channel.send("stored")
    return digest.hexdigest()


async def main(source: str, target: str) -> None:
    """Both ends on this computer."""
    config = rtcsctp.PeerConfig(include_loopback=True)
    async with rtcsctp.open_peer(config) as here, rtcsctp.open_peer(config) as there:
        channel = here.create_channel("file")
        await here.accept(await there.answer(await here.offer()))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_file, channel, trio.Path(source))
            print(await receive_file(await there.incoming.receive(), trio.Path(target)), target)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m rtcsctp.examples.file_transfer FROM TO")
    trio.run(main, sys.argv[1], sys.argv[2])
