"""`rtcsctp send` and `rtcsctp receive`, each in a process of its own."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest
import trio

from rtcsctp.cli.main import main
from rtcsctp.http import RendezvousApplication, serve_http

from .programs import Finished, Running, rtcsctp

CODE = "this code is only for tests"
LARGE = 60_000_000


@pytest.fixture(scope="module")
def via() -> Iterator[list[str]]:
    """The options for a rendezvous in this process."""
    ready: SimpleQueue[tuple[trio.lowlevel.TrioToken, trio.CancelScope, int]] = SimpleQueue()

    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            address = await nursery.start(serve_http, RendezvousApplication())
            ready.put((trio.lowlevel.current_trio_token(), nursery.cancel_scope, address[1]))

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    token, scope, port = ready.get(timeout=60)
    yield ["--via", f"http://127.0.0.1:{port}/"]
    token.run_sync_soon(scope.cancel)
    thread.join()


def good(finished: Finished) -> Finished:
    assert finished.code == 0, finished
    assert "Traceback" not in finished.stderr
    return finished


def failed(finished: Finished, code: int = 1) -> str:
    assert finished.code == code, finished
    assert "Traceback" not in finished.stderr
    return finished.complaint


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "empty").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"content")
    return folder


def test_from_pipe_to_pipe_with_a_code_that_is_made(via: list[str], tmp_path: Path) -> None:
    content = os.urandom(1_000_000)
    with (
        (tmp_path / "out").open("wb") as out,
        Running("receive", *via, "-", stdout=out) as receiver,
    ):
        words = r"--via \S+ --code (?:[a-z]+-){6}[a-z]+"
        command = receiver.expect(rf"^rtcsctp send ({words}) FILE…$", stream="stderr")[1]
        sender = good(rtcsctp("send", *command.split(), "--name", "a", "-", stdin=content))
        received = good(receiver.wait())
    assert (tmp_path / "out").read_bytes() == content
    assert "sent a, 1.00 MB, in " in sender.stdout
    assert re.search("received a, 1.00 MB, in .*; checksums match\n$", received.stderr)


def test_a_line_each_way_is_enough(source: Path, tmp_path: Path) -> None:
    lines = {"send": [source], "receive": [tmp_path / "new"]}
    ends = {name: socket.socketpair() for name in lines}
    with (
        Running("send", "--loopback", *lines["send"], stdin=ends["send"][0].fileno()) as sender,
        Running(
            "receive", "--loopback", *lines["receive"], stdin=ends["receive"][0].fileno()
        ) as receiver,
    ):
        offer = sender.expect(r"^RTC1\S+$")[0]
        ends["receive"][1].sendall(f"hello\n{offer}\n".encode())
        answer = receiver.expect(r"^RTC1\S+$")[0]
        ends["send"][1].sendall(f"{answer}\n".encode())
        good(sender.wait())
        result = good(receiver.wait())
    for pair in ends.values():
        for end in pair:
            end.close()
    assert (tmp_path / "new" / "source" / "a.txt").read_bytes() == b"content"
    assert "not a connection line" in result.stderr


def test_ctrl_c_keeps_what_has_arrived(via: list[str], tmp_path: Path) -> None:
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.write(os.urandom(1_000_000))
        file.truncate(LARGE)
    new = tmp_path / "new"
    with (
        Running("send", *via, "--code", CODE, big) as sender,
        Running("receive", *via, "--code", CODE, new) as receiver,
    ):
        receiver.expect(r"receiving +\d+ %", stream="stderr")
        receiver.interrupt()
        interrupted = receiver.wait()
        sender.interrupt()
        assert failed(sender.wait(), 130) == "rtcsctp: interrupted"
    assert failed(interrupted, 130) == "rtcsctp: interrupted"
    assert f"what has arrived is kept in {new}/big.part; the same commands" in interrupted.stderr
    assert sorted(os.listdir(new)) == ["big.part", "big.part.journal"]
    kept = (new / "big.part").stat().st_size
    assert 0 < kept < LARGE
    with Running("send", *via, "--code", CODE, big) as sender:
        received = good(rtcsctp("receive", *via, "--code", CODE, new))
        sent = good(sender.wait())
    assert os.listdir(new) == ["big"]
    subprocess.run(["cmp", big, new / "big"], check=True)
    assert re.search(
        r"received big, 60.0 MB, \d+(\.\d+)? MB of it were here before", received.stdout
    )
    assert re.search(r"sent big, 60.0 MB, \d+(\.\d+)? MB of it were there before", sent.stdout)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["send", "missing"], "cannot read missing: No such file or directory"),
        (["send", "/dev/null"], "cannot send /dev/null: it is neither a file nor a folder"),
        (["send", "."], "standard input ends before the other side's line"),
        (["receive"], "standard input ends before the other side's line"),
        (["receive", "--via", "http://127.0.0.1:9/"], "cannot reach http://127.0.0.1:9/"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(
    arguments: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with open(os.devnull, encoding="utf-8") as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        assert main(arguments) == 1
    assert complaint in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["send"], "the following arguments are required: FILE"),
        (["send", "a", "b", "--name", "c"], "argument --name: that is for a single FILE"),
        (["send", "-", "-"], "standard input (-) can be sent once"),
        (["send", "a", "--code", CODE], "argument --code: a code needs a server (--via URL)"),
        (["receive", "--code", CODE], "argument --code: a code needs a server (--via URL)"),
        (["receive", "--via", "http://h/", "--code", "short"], "the code has to be hard to guess"),
        (["receive", "--via", "here"], "argument --via: expected http://HOST:PORT/"),
        (["receive", "--rename", "--overwrite"], "not allowed with argument --rename"),
        (["receive", "a", "b"], "unrecognized arguments: b"),
        (["send", "a", "--wait", "-1"], "a time cannot be negative"),
    ],
)
def test_wrong_command_lines(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("command", ["send", "receive"])
def test_help_has_examples(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert f"examples:\n  rtcsctp {command} " in text
    assert max(map(len, text.splitlines())) <= 100
