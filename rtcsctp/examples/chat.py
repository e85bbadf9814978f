"""Two people, two terminals, and two lines to copy from one to the other. No server.

python -m rtcsctp.examples.chat                  (the first; prints a line)
python -m rtcsctp.examples.chat 'THAT LINE'      (the second; prints a line for the first)
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Awaitable, Callable

import trio

import rtcsctp

Ask = Callable[[str], Awaitable[str]]


async def ask(prompt: str) -> str:
    """A line from the terminal, while everything else goes on."""
    return await trio.to_thread.run_sync(input, prompt, abandon_on_cancel=True)


async def talk(channel: rtcsctp.DataChannel, ask: Ask = ask) -> None:
    """Lines both ways, until one side ends its input or leaves."""
    async with trio.open_nursery() as nursery:

        async def listen() -> None:
            async for message in channel:
                print(f"{channel.label}> {message!r}" if isinstance(message, bytes) else message)
            print("the other side has left")
            nursery.cancel_scope.cancel()

        nursery.start_soon(listen)
        with contextlib.suppress(EOFError):
            while True:
                await channel.send(await ask(""))
        nursery.cancel_scope.cancel()
    await channel.aclose()  # delivers what was sent


async def begin(peer: rtcsctp.PeerConnection, ask: Ask = ask) -> rtcsctp.DataChannel:
    """The side that begins: shows a line, and wants one back."""
    channel = peer.create_channel("chat")
    print("Give this line to the other side:", (await peer.offer()).to_line(), sep="\n")
    await peer.accept((await ask("The line that comes back: ")).strip())
    return channel


async def join(peer: rtcsctp.PeerConnection, line: str) -> rtcsctp.DataChannel:
    """The other side: takes a line, and shows one."""
    print("Give this line back:", (await peer.answer(line)).to_line(), sep="\n")
    return await peer.incoming.receive()


async def main(line: str | None = None) -> None:
    """Connect, and talk."""
    async with rtcsctp.open_peer(rtcsctp.PeerConfig(include_loopback=True)) as peer:
        channel = await (begin(peer) if line is None else join(peer, line))
        print("Connected; Ctrl-D ends it.")
        await talk(channel)


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else None)
