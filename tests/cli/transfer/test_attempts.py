"""Sender and receiver find each other by a code, and again when the connection breaks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio

from rtcsctp.cli.failure import CommandError
from rtcsctp.cli.lines import LineReader, Lines
from rtcsctp.cli.transfer.attempts import Patience, transfer
from rtcsctp.cli.transfer.code import Secret
from rtcsctp.cli.transfer.errors import PathBroken, TransferError
from rtcsctp.cli.transfer.folder import Folder
from rtcsctp.cli.transfer.items import Items
from rtcsctp.cli.transfer.meeting import ByLines, ByMailbox
from rtcsctp.cli.transfer.receiving import Receiver
from rtcsctp.cli.transfer.sending import Sender
from rtcsctp.http import Mailbox, RendezvousApplication, SignallingError
from rtcsctp.http.messages import Receive, Scope, Send
from rtcsctp.runtime.peer import PeerConnection

from .support import Cutter, configs, tree

URL = "http://example.org/"
SECRET = Secret("a code for all of these tests")
SIZE = 2_000_000


class Server:
    """A rendezvous that can be down."""

    def __init__(self) -> None:
        self.app = RendezvousApplication()
        self.is_down = False
        self.refused = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.is_down:
            self.refused += 1
            raise httpx2.ConnectError("down")
        await self.app(scope, receive, send)

    def meeting(self, secret: Secret = SECRET) -> ByMailbox:
        transport = httpx2.ASGITransport(self)
        return ByMailbox(Mailbox(URL, secret.mailbox, transport=transport), secret)


class Watched(ByMailbox):
    """Knows the connection that was made last."""

    peer: PeerConnection

    async def meet(self, peer: PeerConnection, *, offers: bool) -> None:
        self.peer = peer
        await super().meet(peer, offers=offers)


def halves(tmp_path: Path, **options: Any) -> tuple[Sender, Receiver]:
    source = tmp_path / "source"
    source.mkdir()
    (source / "big").write_bytes(os.urandom(SIZE))
    (source / "small").write_bytes(b"12345")
    folder = Folder(tmp_path / "new", **options)
    return Sender(Items.of([str(source)])), Receiver(folder)


@pytest.mark.parametrize("server_is_down", [False, True])
async def test_both_sides_try_again_by_themselves(tmp_path: Path, server_is_down: bool) -> None:
    server = Server()
    cutter = Cutter(SIZE // 2)
    sender, receiver = halves(tmp_path, write=cutter)
    left, right = configs()
    transport = httpx2.ASGITransport(server)
    watched = Watched(Mailbox(URL, SECRET.mailbox, transport=transport), SECRET)
    notes: list[str] = []

    async def cut() -> None:
        await cutter.reached.wait()
        server.is_down = server_is_down
        # As if the path had broken: neither side has closed it.
        await watched.peer.abort()
        while server.is_down:
            await trio.sleep(0.01)
            server.is_down = server.refused < 3

    async def receive() -> None:
        await transfer(receiver, server.meeting(), right, note=notes.append)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cut)
            nursery.start_soon(receive)
            await resilient(sender, watched, left)
    assert tree(tmp_path / "new" / "source") == tree(tmp_path / "source")
    assert sender.skipped == receiver.skipped > 0
    assert notes[0] == "connected"
    assert notes[-1] == "connected"
    assert "looking for the other side again" in notes[1]
    assert server.refused >= (3 if server_is_down else 0)


async def resilient(sender: Sender, meeting: ByMailbox, config: Any) -> None:
    """A sender whose connection was closed here by the test, which is no end for it."""
    while True:
        try:
            await transfer(sender, meeting, config)
        except (trio.ClosedResourceError, SignallingError):
            await trio.sleep(0.05)
        else:
            return


async def test_nobody_comes(tmp_path: Path) -> None:
    server = Server()
    sender, _ = halves(tmp_path)
    with pytest.raises(TransferError, match=r"nobody with this code came within 0\.05 s"):
        await transfer(sender, server.meeting(), configs()[0], patience=Patience(first=0.05))
    assert server.app.mailboxes == 0  # it was taken back


async def test_a_wrong_code_meets_nobody(tmp_path: Path) -> None:
    server = Server()
    sender, receiver = halves(tmp_path)
    left, right = configs()
    other = Secret("a code for none of these tests")
    ended: list[TransferError] = []

    async def attempt(half: Sender | Receiver, secret: Secret, config: Any) -> None:
        try:
            await transfer(half, server.meeting(secret), config, patience=Patience(first=0.3))
        except TransferError as error:
            ended.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt, sender, SECRET, left)
        nursery.start_soon(attempt, receiver, other, right)
    assert len(ended) == 2
    assert not (tmp_path / "new").exists()


async def test_what_was_not_sealed_with_the_code_is_refused(tmp_path: Path) -> None:
    server = Server()
    _, receiver = halves(tmp_path)
    mailbox = Mailbox(URL, SECRET.mailbox, transport=httpx2.ASGITransport(server))
    await mailbox.leave_offer(Secret("another code, of an attacker").seal("RTC1", "offer"))
    with pytest.raises(TransferError, match="not written by somebody who knows the code"):
        await transfer(receiver, server.meeting(), configs()[1])


async def test_two_senders_with_one_code_are_told(tmp_path: Path) -> None:
    server = Server()
    sender, _ = halves(tmp_path)
    left, right = configs()
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:

            async def second() -> None:
                while not server.app.mailboxes:  # noqa: ASYNC110 (there is no event for it)
                    await trio.sleep(0.01)
                with trio.move_on_after(1):
                    await transfer(Sender(Items.of([str(tmp_path)])), server.meeting(), right)

            nursery.start_soon(second)
            with pytest.raises(TransferError, match="another sender uses the same code"):
                await transfer(sender, server.meeting(), left)
            nursery.cancel_scope.cancel()


async def test_a_server_that_cannot_be_reached_at_first_is_an_error(tmp_path: Path) -> None:
    server = Server()
    server.is_down = True
    sender, _ = halves(tmp_path)
    with pytest.raises(SignallingError, match=r"cannot reach http://example\.org/"):
        await transfer(sender, server.meeting(), configs()[0])


# ----------------------------------------------------------------------------------- lines


class Wire:
    """Lines that a person carries from one window to the other."""

    def __init__(self) -> None:
        self.read_end, self._write_end = os.pipe()

    def put(self, text: str) -> None:
        os.write(self._write_end, f"{text}\n".encode())

    def end(self) -> None:
        os.close(self._write_end)
        self._write_end = -1

    def close(self) -> None:
        if self._write_end >= 0:
            self.end()
        os.close(self.read_end)


async def test_two_lines_are_enough(tmp_path: Path) -> None:
    sender, receiver = halves(tmp_path)
    left, right = configs()
    to_left, to_right = Wire(), Wire()
    notes: list[str] = []

    def carry(offer: str) -> None:
        to_right.put("hello?")
        to_right.put(f"  {offer[:40]}")  # as a mail program breaks it
        to_right.put(offer[40:])

    def carry_back(answer: str) -> None:
        to_left.put("")
        to_left.put(answer[:-5])
        to_left.put(answer)

    by_lines = [
        ByLines(Lines(LineReader(to_left.read_end, "a pipe"), carry, notes.append)),
        ByLines(Lines(LineReader(to_right.read_end, "a pipe"), carry_back, notes.append)),
    ]
    try:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(transfer, receiver, by_lines[1], right)
                await transfer(sender, by_lines[0], left)
    finally:
        to_left.close()
        to_right.close()
    assert tree(tmp_path / "new" / "source") == tree(tmp_path / "source")
    complaints = [note for note in notes if note.startswith("That cannot be used: ")]
    assert any("not a connection line" in note for note in complaints)
    assert any("damaged or cut" in note for note in complaints)


async def test_ones_own_line_is_refused(tmp_path: Path) -> None:
    sender, _ = halves(tmp_path)
    wire = Wire()
    notes: list[str] = []

    def carry(offer: str) -> None:
        wire.put(offer)
        wire.end()

    by_lines = ByLines(Lines(LineReader(wire.read_end, "a pipe"), carry, notes.append))
    try:
        with pytest.raises(CommandError, match="a pipe ends before the other side's line"):
            await transfer(sender, by_lines, configs()[0])
    finally:
        wire.close()
    assert "it is the offer, and the answer is needed" in notes[-1]


async def test_without_a_server_it_is_tried_once(tmp_path: Path) -> None:
    class Broken:
        repeats = False

        async def meet(self, peer: PeerConnection, *, offers: bool) -> None:
            raise PathBroken("broken")

    sender, _ = halves(tmp_path)
    with pytest.raises(PathBroken, match="broken"):
        await transfer(sender, Broken(), configs()[0])
