"""Both halves over the simulated network: all goes well, breaks, or is refused."""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from rtcsctp.cli.transfer.errors import PathBroken, RefusedError, TransferError
from rtcsctp.cli.transfer.folder import Folder
from rtcsctp.cli.transfer.items import Items
from rtcsctp.cli.transfer.messages import (
    MAX_TEXT,
    Entry,
    agreed_version,
    hello,
    parse_untrusted,
    texts_of,
    write,
)
from rtcsctp.cli.transfer.receiving import Receiver
from rtcsctp.cli.transfer.sending import Sender
from rtcsctp.cli.transfer.storage import StreamOut
from rtcsctp.runtime.channel import DataChannel
from rtcsctp.runtime.errors import ChannelBroken
from rtcsctp.sctp.config import Config

from .support import Cutter, connection, move, tree

BIG = 3_000_000


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder to be sent, in which there is some of everything."""
    folder = tmp_path / "source"
    (folder / "empty").mkdir(parents=True)
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "big").write_bytes(os.urandom(BIG))
    (folder / "nothing").write_bytes(b"")
    for number in range(40):
        (folder / "deep" / "er" / f"{number}").write_bytes(b"x" * number)
    return folder


# --------------------------------------------------------------------------------- it works


async def test_a_folder_arrives(source: Path, tmp_path: Path) -> None:
    sender, receiver = await move([source, source / "big"], Folder(tmp_path / "new"))
    assert tree(tmp_path / "new" / "source") == tree(source)
    assert (tmp_path / "new" / "big").read_bytes() == (source / "big").read_bytes()
    assert sorted(os.listdir(tmp_path / "new")) == ["big", "source"]
    total = 2 * BIG + sum(range(40))
    assert sender.arrived == receiver.arrived == receiver.total == total
    assert sender.skipped == receiver.skipped == 0
    assert sender.saved == ["source", "big"]
    assert receiver.saved is not None


async def test_messages_are_as_small_as_the_peer_wants_them(source: Path, tmp_path: Path) -> None:
    await move(
        [source], Folder(tmp_path / "new"), sctp=Config(sack_delay=0.02, max_message_size=1500)
    )
    assert tree(tmp_path / "new" / "source") == tree(source)


async def test_what_was_received_before_is_not_sent_again(source: Path, tmp_path: Path) -> None:
    for _ in range(2):
        sender, receiver = await move([source / "big"], Folder(tmp_path / "new"))
    assert sender.skipped == receiver.skipped == BIG
    assert receiver.saved is not None
    assert receiver.saved[0].is_old


async def test_from_pipe_to_pipe(tmp_path: Path) -> None:
    content = os.urandom(BIG)
    ours, theirs = socket.socketpair()

    def fill() -> None:
        theirs.sendall(content)
        theirs.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=fill)
    with ours, theirs, (tmp_path / "out").open("wb") as out:
        thread.start()
        sender = Sender(Items.of(["-"], stdin=ours.fileno()))
        receiver = Receiver(StreamOut(out.fileno()))
        (await connection(sender.run, receiver.run)).check()
        thread.join()
    assert (tmp_path / "out").read_bytes() == content
    assert receiver.total is None
    assert receiver.arrived == BIG


# -------------------------------------------------------------------------------- it breaks


@pytest.mark.parametrize("is_new", [False, True])
async def test_another_connection_goes_on(source: Path, tmp_path: Path, is_new: bool) -> None:
    cutter = Cutter(BIG // 2)
    receiver = Receiver(Folder(tmp_path / "new", write=cutter))
    sender = Sender(Items.of([str(source)]))
    outcome = await connection(sender.run, receiver.run, until=cutter.cut)
    assert isinstance(outcome.receiver, PathBroken)
    assert outcome.sender is not None  # it was closed under its hands
    kept = (tmp_path / "new" / "source.part" / "big").stat().st_size
    assert BIG // 2 <= kept < BIG
    if is_new:
        sender, receiver = Sender(Items.of([str(source)])), Receiver(Folder(tmp_path / "new"))
    (await connection(sender.run, receiver.run)).check()
    assert tree(tmp_path / "new" / "source") == tree(source)
    assert sender.skipped == receiver.skipped == kept
    assert sorted(os.listdir(tmp_path / "new")) == ["source"]


async def test_a_file_that_has_changed_meanwhile_is_sent_anew(source: Path, tmp_path: Path) -> None:
    cutter = Cutter(BIG // 2)
    receiver = Receiver(Folder(tmp_path / "new", write=cutter))
    big = source / "big"
    await connection(Sender(Items.of([str(big)])).run, receiver.run, until=cutter.cut)
    with big.open("r+b") as file:
        file.write(b"changed")
    sender, _ = await move([big], Folder(tmp_path / "new"))
    assert sender.skipped == 0
    assert (tmp_path / "new" / "big").read_bytes() == big.read_bytes()


async def test_a_pipe_goes_on_over_another_connection(tmp_path: Path) -> None:
    content = os.urandom(BIG)
    ours, theirs = socket.socketpair()

    def fill() -> None:
        theirs.sendall(content)
        theirs.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=fill)
    cutter = Cutter(BIG // 2)
    with ours, theirs, (tmp_path / "out").open("wb") as out:
        thread.start()
        sender = Sender(Items.of(["-"], stdin=ours.fileno()))
        receiver = Receiver(StreamOut(out.fileno(), write=cutter))
        outcome = await connection(sender.run, receiver.run, until=cutter.cut)
        assert isinstance(outcome.receiver, PathBroken)
        (await connection(sender.run, receiver.run)).check()
        thread.join()
    assert (tmp_path / "out").read_bytes() == content


async def test_a_full_disk_is_told_to_both_and_can_be_gone_on_from(
    source: Path, tmp_path: Path
) -> None:
    full = Cutter(BIG // 2, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    receiver = Receiver(Folder(tmp_path / "new", write=full))
    outcome = await connection(Sender(Items.of([str(source / "big")])).run, receiver.run)
    words = f"cannot write {tmp_path}/new/big: No space left on device"
    assert str(outcome.receiver) == words
    assert isinstance(outcome.sender, RefusedError)
    assert str(outcome.sender) == f"the other side says: {words}"
    sender, _ = await move([source / "big"], Folder(tmp_path / "new"))
    assert sender.skipped > 0
    assert (tmp_path / "new" / "big").read_bytes() == (source / "big").read_bytes()


async def test_what_is_in_the_way_is_told_to_both(source: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "big").write_bytes(b"other")
    outcome = await connection(
        Sender(Items.of([str(source / "big")])).run, Receiver(Folder(tmp_path / "new")).run
    )
    assert "exists already" in str(outcome.receiver)
    assert str(outcome.receiver) in str(outcome.sender)
    assert tree(tmp_path / "new") == {"big": b"other"}


async def test_a_sender_that_cannot_read_on_says_so(source: Path, tmp_path: Path) -> None:
    items = Items.of([str(source)])
    (source / "deep" / "er" / "7").unlink()
    outcome = await connection(Sender(items).run, Receiver(Folder(tmp_path / "new")).run)
    assert "er/7: No such file or directory" in str(outcome.sender)
    assert str(outcome.sender) in str(outcome.receiver)


async def test_why_a_sender_gives_up_is_read_also_if_there_is_no_answering_any_more(
    tmp_path: Path,
) -> None:
    """Its last words may come together with bytes, when it has closed the channel already."""
    entry = Entry(item="a" * 32, path=("a",), size=10_000_000)

    class Closed:
        max_message_size = None

        def __init__(self) -> None:
            self.texts = [
                hello("sender"),
                write("list", rows=[entry.row()]),
                write("listed", count=1),
                write("file", index=0, offset=0),
            ]

        async def send(self, message: str) -> None:
            if '"got"' in message:
                raise ChannelBroken("closed")

        async def receive(self) -> str:
            if not self.texts:
                raise trio.ClosedResourceError
            return self.texts.pop(0)

        async def receive_many(self) -> list[str | bytes]:
            last = write("error", reason="no disk")
            return [await self.receive(), *([b"x" * 65_536] * 100), last]

    channel: Any = Closed()
    with pytest.raises(RefusedError, match="the other side says: no disk"):
        await Receiver(Folder(tmp_path / "new")).run(channel)


# ------------------------------------------------------------------ others at the other end


async def test_two_senders_tell_each_other(source: Path) -> None:
    halves = [Sender(Items.of([str(source)])) for _ in range(2)]
    outcome = await connection(halves[0].run, halves[1].run)
    assert {type(outcome.sender), type(outcome.receiver)} <= {TransferError, RefusedError}
    assert "sender too; one has to be a receiver" in str(outcome.sender)


@pytest.mark.parametrize("versions", [[2], [2, 3], [], [True], ["1"], None])
async def test_another_version_is_told_to_both(
    versions: object, source: Path, tmp_path: Path
) -> None:
    async def newer(channel: DataChannel) -> None:
        await channel.send(
            write("hello", protocol="rtcsctp-transfer", versions=versions, role="receiver")
        )
        assert isinstance(first := await channel.receive(), str)
        assert json.loads(first)["versions"] == [1]
        parse_untrusted(await channel.receive())

    outcome = await connection(Sender(Items.of([str(source)])).run, newer)
    assert isinstance(outcome.sender, TransferError)
    expected = "no `rtcsctp send`" if versions is None else "speaks another version of the transfer"
    assert expected in str(outcome.sender)
    assert isinstance(outcome.receiver, RefusedError)


def test_the_newest_common_version_is_spoken() -> None:
    value = parse_untrusted(hello("sender")) | {"versions": [0, 1, 2]}
    assert agreed_version(value, "sender") == 1


Talk = Callable[[DataChannel], Any]


def script(*messages: str | bytes) -> Talk:
    """A sender that says this, whatever it hears."""

    async def talk(channel: DataChannel) -> None:
        await channel.wait_open()
        for message in messages:
            await channel.send(message)
        with trio.move_on_after(5):
            while True:
                if isinstance(message := await channel.receive(), str):
                    parse_untrusted(message)

    return talk


HELLO = hello("sender")
ROW = Entry(item="a" * 32, path=("a",), size=5).row()
LIST = [write("list", rows=[ROW]), write("listed", count=1)]
FILE = write("file", index=0, offset=0)


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (["no json"], "no message of this protocol"),
        (["[" * 10_000], "no message of this protocol"),
        (['{"kind": "unknown"}'], "no message of this protocol"),
        (['{"kind": ["hello"]}'], "no message of this protocol"),
        ([b"bytes"], "bytes where they mean nothing"),
        ([HELLO, "x" * (MAX_TEXT + 1)], "a text of more than"),
        ([FILE], "sends 'file' where hello should come"),
        ([HELLO, write("list", rows=1)], "has no rows"),
        ([HELLO, write("list", rows=[1])], "no file and no folder"),
        ([HELLO, write("list", rows=[["a", [], "f", 1, None]])], "no file and no folder"),
        ([HELLO, write("list", rows=[["a", ["a"], "l", 1, None]])], "no file and no folder"),
        ([HELLO, write("list", rows=[["a", ["a"], "f", -1, None]])], "no file and no folder"),
        ([HELLO, write("list", rows=[["a", [1], "f", 1, None]])], "no file and no folder"),
        ([HELLO, write("list", rows=[["../a", ["a"], "f", 1, None]])], "no file and no folder"),
        ([HELLO, write("listed", count=0)], "sends nothing"),
        ([HELLO, LIST[0], write("listed", count=2)], "is not complete"),
        ([HELLO, write("list", rows=[["a", [".."], "f", 1, None]]), LIST[1]], "impossible name"),
        ([HELLO, *LIST, b"xx"], "bytes that belong to no file"),
        ([HELLO, *LIST, FILE, b"123456"], "more bytes than it has announced"),
        ([HELLO, *LIST, FILE, FILE], "in the wrong order"),
        ([HELLO, *LIST, write("file", index=1, offset=0)], "entry 1 of a list of 1"),
        ([HELLO, *LIST, write("file", index=0, offset=3)], "cannot write"),
        ([HELLO, *LIST, write("file", index=0, offset=6)], "behind the end of a file"),
        ([HELLO, *LIST, write("file", index=True, offset=0)], "'index' is no number"),
        ([HELLO, *LIST, write("end", index=0, size=5, sha256="0" * 64)], "has not begun"),
        ([HELLO, *LIST, FILE, write("end", index=0, size=0, sha256="no")], "64 hexadecimal"),
        ([HELLO, *LIST, FILE, write("end", index=0, size=0, sha256="0" * 64)], "not what was sent"),
        ([HELLO, *LIST, FILE, write("end")], "ends in the middle of a file"),
        ([HELLO, *LIST, write("end")], "ends before all of 'a' is there"),
        ([HELLO, *LIST, write("got", index=0, size=1)], "sends 'got' where file or end"),
    ],
)
async def test_a_sender_that_breaks_the_rules_is_told(
    messages: list[str | bytes], reason: str, tmp_path: Path
) -> None:
    outcome = await connection(script(*messages), Receiver(Folder(tmp_path / "new")).run)
    assert isinstance(outcome.receiver, TransferError)
    assert reason in str(outcome.receiver)
    assert isinstance(outcome.sender, RefusedError)
    assert not (tmp_path / "new" / "a").exists()
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([write("have", rows=[[0, 1]]), write("start")], "does not say what it has"),
        ([write("have", rows=[[99, 1, "0" * 64]]), write("start")], "entry 99 of a list of"),
        ([write("have", rows=[[0, -1, "0" * 64]]), write("start")], "'size' is no number"),
        ([write("have", rows=[[0, 1, "x"]]), write("start")], "64 hexadecimal"),
        ([write("file", index=0, offset=0)], "sends 'file' where have or start"),
        ([write("start"), write("start")], "sends 'start' where got or done"),
        ([write("start"), write("got", index=99, size=1)], "entry 99 of a list of"),
        ([write("start"), b"bytes"], "bytes where they mean nothing"),
        ([write("error", reason="because\x1b[2J")], "the other side says: because\ufffd[2J"),
        ([write("start"), write("error")], "the other side says: no reason given"),
    ],
)
async def test_a_receiver_that_breaks_the_rules_is_told(
    messages: list[str | bytes], reason: str, source: Path
) -> None:
    async def talk(channel: DataChannel) -> None:
        for message in (hello("receiver"), *messages):
            await channel.send(message)
        with trio.move_on_after(5):
            while True:
                await channel.receive()

    outcome = await connection(Sender(Items.of([str(source)])).run, talk)
    assert isinstance(outcome.sender, TransferError)
    assert reason in str(outcome.sender)


def test_long_lists_are_cut_into_messages_that_fit() -> None:
    rows = [Entry(item="a", path=("ä" * 50, str(n)), size=n).row() for n in range(1000)]
    texts = list(texts_of("list", rows, 2000))
    assert max(len(text.encode()) for text in texts) <= 2000
    assert [row for text in texts for row in parse_untrusted(text)["rows"]] == rows
    entries = [Entry.from_untrusted(row) for row in rows]
    assert [entry.row() for entry in entries] == rows
