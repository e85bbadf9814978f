"""The blocking API: no ``async``; Trio runs in a background thread of its own.

    python -m rtcsctp.examples.blocking

The server runs its handler in a thread for each peer; here it adds up the numbers that it is sent.
"""

from __future__ import annotations

import rtcsctp
from rtcsctp import sync

LOCAL = rtcsctp.PeerConfig(include_loopback=True)
WITHIN = 30.0
"""Seconds after which something is wrong; `TimeoutError` says so."""


def add_up(peer: sync.PeerConnection) -> None:
    """The handler: may block as long as it likes."""
    for channel in peer.incoming:
        total = 0
        for message in channel:
            total += int(message)
            channel.send(f"{total}")


def ask(server: sync.Server, numbers: list[int]) -> list[str]:
    """A client: what the server answers to each number."""
    with sync.open_peer(LOCAL) as peer:
        channel = peer.create_channel("numbers")
        session = server.answer(peer.offer(timeout=WITHIN), timeout=WITHIN)
        peer.accept(session.description, timeout=WITHIN)
        answers = []
        for number in numbers:
            channel.send(str(number), timeout=WITHIN)
            answers.append(str(channel.receive(timeout=WITHIN)))
        return answers


def main() -> None:
    """A server and a client, both here."""
    with sync.serve(add_up, LOCAL) as server:
        print(*ask(server, [1, 20, 300]))


if __name__ == "__main__":
    main()
