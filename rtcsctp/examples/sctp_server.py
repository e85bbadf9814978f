"""SCTP without WebRTC: a server that counts words, and a client, over UDP (RFC 6951).

    python -m rtcsctp.examples.sctp_server

It is neither encrypted nor authenticated: for networks that you trust. Streams are cheap, and none
of them waits for another: the client asks on three at once.
"""

from __future__ import annotations

from collections import Counter
from functools import partial

import trio

import rtcsctp

PORT = 5001
"""The SCTP port; the UDP port below it is another matter."""


async def count_words(stream: rtcsctp.Stream) -> None:
    """Answer each text with its most frequent word."""
    async for message in stream:
        words = Counter(message.data.split())
        await stream.send(max(words, key=words.__getitem__, default=b""))


async def handle(association: rtcsctp.Association) -> None:
    """Serve one client, each stream in a task."""
    async with trio.open_nursery() as nursery:
        async for stream_id in association.incoming:
            nursery.start_soon(count_words, association.stream(stream_id))


async def ask(address: tuple[str, int], texts: list[bytes]) -> list[bytes]:
    """What the server makes of these texts, each on a stream of its own."""
    answers = [b""] * len(texts)

    async def ask_one(stream: rtcsctp.Stream, number: int) -> None:
        await stream.send(texts[number])
        answers[number] = (await stream.receive()).data

    async with rtcsctp.connect(address, port=PORT) as association, trio.open_nursery() as nursery:
        for number in range(len(texts)):
            nursery.start_soon(ask_one, association.stream(number), number)
    return answers


async def main() -> None:
    """A server, and a client that asks it."""
    async with trio.open_nursery() as nursery:
        listen = partial(rtcsctp.listen, handle, port=PORT, udp=("127.0.0.1", 0))
        address = await nursery.start(listen)
        for answer in await ask(address, [b"a rose is a rose", b"to be or not to be", b"hm"]):
            print(answer.decode())
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
