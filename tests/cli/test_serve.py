"""`rtcsctp serve` and `rtcsctp connect`, each in a process of its own, over loopback."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtcsctp.cli.main import main

from .programs import Finished, Running, occupied_udp_port, rtcsctp

LOCAL = "127.0.0.1:0"


class Serving(Running):
    """A running `serve`.

    Attributes:
        url: where.
        udp_port: of its peers.
    """

    def __init__(self, *options: str | Path) -> None:
        super().__init__("serve", "--http", LOCAL, *options)
        line = self.expect(r"listening on (http://\S+), UDP port (\d+)")
        self.url, self.udp_port = line[1], int(line[2])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    with Serving("--directory", tmp_path / "received") as server:
        yield server


def end(server: Serving) -> Finished:
    """Interrupt it, as Ctrl-C does."""
    server.interrupt()
    finished = server.wait()
    assert finished.code == 0, finished
    assert "Traceback" not in finished.stderr
    return finished


def test_server_ends_in_order(server: Serving) -> None:
    finished = end(server)
    assert finished.stderr == ""


# ------------------------------------------------------------------------------------------ ping


@pytest.mark.parametrize("option", [[], ["--server-offers"]])
def test_ping(server: Serving, option: list[str]) -> None:
    result = rtcsctp(
        "connect", server.url, "--ping", "-c", "3", "--interval", "0.05", "--size", "100", *option
    )
    assert result.code == 0, result
    lines = result.stdout.splitlines()
    assert sorted(re.findall(r"^100 bytes: seq=(\d) time=", result.stdout, re.MULTILINE)) == [
        "1",
        "2",
        "3",
    ]
    assert "3 sent, 3 received, 0 % lost" in lines
    times = re.fullmatch(r"round trip min/avg/max/mdev = (.*) ms", lines[-1])
    assert times is not None
    low, mean, high, _deviation = map(float, times[1].split("/"))
    assert 0 < low <= mean <= high
    assert f"connected to 127.0.0.1:{server.udp_port}, host to host" in result.stderr
    finished = end(server)
    assert re.search(r"^up    peer 1: .*:\d+, host to host$", finished.stdout, re.MULTILINE)
    assert re.search(r"^down  peer 1: closed by the peer; ", finished.stdout, re.MULTILINE)


def test_ping_goes_on_until_it_is_interrupted(server: Serving) -> None:
    with Running("connect", server.url, "--ping", "--interval", "0.05") as client:
        client.expect(r"seq=2 ")
        client.interrupt()
        result = client.wait()
    assert result.code == 0, result
    assert "0 % lost" in result.stdout


# ----------------------------------------------------------------------------------------- files


def test_file_is_sent(server: Serving, tmp_path: Path) -> None:
    original = tmp_path / "data.bin"
    original.write_bytes(os.urandom(3_000_001))
    checksum = hashlib.sha256(original.read_bytes()).hexdigest()
    result = rtcsctp("connect", server.url, "--file", original)
    assert result.code == 0, result
    assert "sent data.bin: 3.00 MB in " in result.stdout
    assert f"sha256 {checksum}  the server's is the same" in result.stdout
    assert "100 %" in result.stderr
    assert (tmp_path / "received" / "data.bin").read_bytes() == original.read_bytes()


@pytest.mark.parametrize("content", [b"", b"x"])
def test_small_files_are_sent(server: Serving, tmp_path: Path, content: bytes) -> None:
    original = tmp_path / "small"
    original.write_bytes(content)
    assert rtcsctp("connect", server.url, "--file", original).code == 0
    assert (tmp_path / "received" / "small").read_bytes() == content


def test_nothing_is_overwritten(server: Serving, tmp_path: Path) -> None:
    original = tmp_path / "data"
    original.write_bytes(bytes(1_000_000))
    kept = tmp_path / "received" / "data"
    kept.write_text("kept")
    result = rtcsctp("connect", server.url, "--file", original)
    assert result.code == 1
    assert (
        result.complaint == "rtcsctp: the server refuses data: there is a file of that name already"
    )
    assert kept.read_text() == "kept"
    assert os.listdir(tmp_path / "received") == ["data"]


def test_server_without_a_folder_takes_no_files(tmp_path: Path) -> None:
    original = tmp_path / "data"
    original.write_bytes(b"x")
    with Serving() as server:
        result = rtcsctp("connect", server.url, "--file", original)
    assert result.code == 1
    assert "this server has no folder for files" in result.complaint


def test_files_have_a_largest_size(tmp_path: Path) -> None:
    original = tmp_path / "data"
    original.write_bytes(bytes(2000))
    with Serving("--directory", tmp_path / "received", "--max-file", "1kB") as server:
        result = rtcsctp("connect", server.url, "--file", original)
    assert result.code == 1
    assert "2000 bytes; the most is 1000" in result.complaint
    assert os.listdir(tmp_path / "received") == []


@pytest.mark.parametrize("name", ["missing", "."])
def test_files_that_cannot_be_read(server: Serving, tmp_path: Path, name: str) -> None:
    result = rtcsctp("connect", server.url, "--file", tmp_path / name)
    assert result.code == 1
    assert result.complaint.startswith("rtcsctp: cannot read ")


def test_half_a_file_is_not_left_behind(server: Serving, tmp_path: Path) -> None:
    original = tmp_path / "large"
    with original.open("wb") as file:
        file.truncate(500_000_000)
    with Running("connect", server.url, "--file", original) as client:
        server.expect(r"^up    peer 1")
        while not os.listdir(tmp_path / "received"):
            time.sleep(0.01)
        client.interrupt()
        result = client.wait()
    assert result.code == 128 + signal.SIGINT
    assert result.complaint == "rtcsctp: interrupted"
    server.expect(r"^down  peer 1: closed by the peer")
    assert os.listdir(tmp_path / "received") == []


# ------------------------------------------------------------------------------------------ chat


def test_lines_go_to_all_others(server: Serving) -> None:
    with (
        Running("connect", server.url, stdin=subprocess.PIPE) as first,
        Running("connect", server.url, stdin=subprocess.PIPE) as second,
    ):
        first.expect(r"^\* you are peer ")
        second.expect(r"^\* you are peer ")
        said = rtcsctp("connect", server.url, stdin="grüß\x1b[31m euch\n\nlast".encode())
        assert said.code == 0, said
        for listener in (first, second):
            listener.expect(r"^peer 3: grüß�\[31m euch$")
            listener.expect(r"^peer 3: last$")
            listener.expect(r"^\* peer 3 has left$")
    finished = end(server)
    assert "chat  peer 3: grüß�[31m euch\n" in finished.stdout


def test_chat_ends_with_the_server() -> None:
    with Serving() as server, Running("connect", server.url, stdin=subprocess.PIPE) as client:
        client.expect(r"^\* you are peer 1")
        finished = end(server)
        assert "taking leave of 1 peer; another signal aborts" in finished.stdout
        result = client.wait()
    assert result.code == 1
    assert result.complaint.startswith("rtcsctp: ")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_chat_can_be_interrupted(server: Serving, number: signal.Signals) -> None:
    with Running("connect", server.url, stdin=subprocess.PIPE) as client:
        client.expect(r"^\* you are peer 1")
        client.interrupt(number)
        result = client.wait()
    assert result.code == 128 + number
    server.expect(r"^down  peer 1: closed by the peer; ")


# -------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("mode", [["--ping", "-c", "1"], []])
def test_nobody_there(mode: list[str]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        result = rtcsctp("connect", url, *mode)
    assert result.code == 1
    assert result.complaint.startswith(f"rtcsctp: cannot reach {url}: ")


def test_wrong_url_on_the_right_server(server: Serving) -> None:
    result = rtcsctp("connect", f"{server.url}elsewhere", "--ping", "-c", "1")
    assert result.code == 1
    assert "cannot connect: " in result.complaint
    assert "answers 40" in result.complaint


def test_token() -> None:
    with Serving("--token", "right") as server:
        ping = ["connect", server.url, "--ping", "-c", "1"]
        wrong = rtcsctp(*ping, "--token", "wrong")
        assert wrong.code == 1
        assert "answers 401 (the token is wrong): --token gives it" in wrong.complaint
        missing = rtcsctp(*ping)
        assert missing.code == 1
        assert "a token is needed" in missing.complaint
        assert rtcsctp(*ping, "--token", "right").code == 0


def test_taken_ports() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = rtcsctp("serve", "--http", f"127.0.0.1:{port}")
        assert result.code == 1
        assert (
            result.complaint
            == f"rtcsctp: cannot listen on 127.0.0.1:{port}: Address already in use"
        )
    sock, port = occupied_udp_port()
    with contextlib.closing(sock):
        result = rtcsctp("serve", "--http", LOCAL, "--udp-port", str(port))
        assert result.code == 1
        assert result.complaint.startswith(f"rtcsctp: cannot listen on UDP port {port}: ")


def test_names_of_others_for_this_machine_are_turned_away(server: Serving) -> None:
    address = server.url.removeprefix("http://").rstrip("/")
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: rebound.example\r\nConnection: close\r\n\r\n")
        assert b" 421 " in client.recv(100)


def test_certificate_is_made_once_and_kept_secret(tmp_path: Path) -> None:
    path = tmp_path / "certificate.pem"
    with Serving("--certificate", path) as server:
        end(server)
    content = path.read_bytes()
    assert b"PRIVATE KEY" in content
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with Serving("--certificate", path) as server:
        assert rtcsctp("connect", server.url, "--ping", "-c", "1").code == 0
    assert path.read_bytes() == content
    path.write_text("damaged")
    result = rtcsctp("serve", "--http", LOCAL, "--certificate", path)
    assert result.code == 1
    assert f"{path}: no certificate" in result.complaint


def test_missing_packages_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(_name: str) -> None:
        raise ModuleNotFoundError("No module named 'httpx2'", name="httpx2")

    monkeypatch.setattr("rtcsctp.cli.peers.importlib.import_module", missing)
    for command in (["serve", "--http", LOCAL], ["connect", "http://127.0.0.1:9/"]):
        assert main(command) == 1
        assert capsys.readouterr().err == (
            "rtcsctp: this command needs httpx2; install it with: pip install 'rtcsctp[http]'\n"
        )


SERVE = ["serve", "--http", LOCAL]
CONNECT = ["connect", "http://127.0.0.1:9/"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["serve"], "required: --http"),
        (["serve", "--http", "here"], "expected ADDR:PORT, like 127.0.0.1:8080"),
        (["serve", "--http", "h:99999"], "expected ADDR:PORT"),
        ([*SERVE, "--udp-port", "70000"], "--udp-port: 70000 is out of range"),
        ([*SERVE, "--public-address", "10.0.0.1"], "expected PRIVATE=PUBLIC, two IP addresses"),
        ([*SERVE, "--stun", "stun.example.org"], "not the URL of an ICE server"),
        ([*SERVE, "--turn", "turn:x.example"], "needs a username and a password"),
        ([*SERVE, "--token", "a b"], "--token: a token has printable ASCII"),
        ([*SERVE, "--set", "mtu=1"], "argument --set: mtu must be from 512"),
        (["connect"], "required: URL"),
        (["connect", "127.0.0.1:8080"], "expected http://HOST:PORT/ or https://"),
        ([*CONNECT, "--ping", "--file", "x"], "--file: not allowed with argument --ping"),
        ([*CONNECT, "--ping", "-c", "0"], "-c/--count: 0 is out of range"),
        ([*CONNECT, "--ping", "--size", "7"], "--size: a ping has from 8 to 65536 bytes"),
    ],
)
def test_wrong_arguments_are_refused(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert complaint in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("command", ["serve", "connect"])
def test_help_fits_and_has_examples(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    assert f"examples:\n  rtcsctp {command} " in text
