"""`rtcsctp ping` and `rtcsctp perf`: by HTTP, by copied lines, over SCTP, in one process."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from rtcsctp.cli.files import FileError
from rtcsctp.cli.main import main
from rtcsctp.cli.reach import connected_here
from rtcsctp.cli.services import Services
from rtcsctp.cli.throughput import Plan, ThroughputTest
from rtcsctp.runtime.peer import PeerConnection
from rtcsctp.runtime.peer_config import PeerConfig

from .programs import Finished, Running, rtcsctp

LOCAL = PeerConfig(include_loopback=True, addresses=["127.0.0.1"])


@pytest.fixture
def url() -> Iterator[str]:
    with Running("serve", "--http", "127.0.0.1:0") as server:
        yield server.expect(r"listening on (http://\S+), UDP port")[1]


def by_lines(first: list[str], second: list[str]) -> tuple[Finished, Finished]:
    """Two commands, and somebody who carries their lines from one to the other."""
    (first_in, to_first), (second_in, to_second) = os.pipe(), os.pipe()
    with (
        open(first_in, "rb") as stdin,
        open(second_in, "rb") as other_stdin,
        open(to_first, "wb", 0) as give_first,
        open(to_second, "wb", 0) as give_second,
        Running(*first, stdin=stdin) as one,
        Running(*second, stdin=other_stdin) as other,
    ):
        give_second.write(one.expect(r"^(\S{40,})$")[1].encode() + b"\r\n")
        give_first.write(b"\n" + other.expect(r"^(\S{40,})$")[1].encode() + b"\n")
        return one.wait(), other.wait()


# ------------------------------------------------------------------------------------------ ping


def test_ping_by_http(url: str) -> None:
    result = rtcsctp("ping", url, "-c", "3", "--interval", "0", "--size", "100")
    assert result.code == 0, result
    assert len(re.findall(r"^100 bytes: seq=\d time=[\d.]+ ms$", result.stdout, re.MULTILINE)) == 3
    assert "3 sent, 3 received, 0 % lost" in result.stdout
    assert re.search(r"^round trip min/avg/max/mdev = .* ms$", result.stdout, re.MULTILINE)


def test_ping_by_lines_to_copy() -> None:
    first = ["ping", "--loopback", "-c", "2", "--interval", "0", "--quiet"]
    here, there = by_lines(first, ["ping", "--answer", "--loopback"])
    assert here.code == 0, here
    assert "2 sent, 2 received, 0 % lost" in here.stdout
    assert "seq=" not in here.stdout
    assert there.code == 0, there
    assert re.search("^down  peer 1: closed by the peer", there.stderr, re.MULTILINE)


def test_ping_over_sctp_alone() -> None:
    with Running("sctp", "echo", "--udp", "127.0.0.1:0", "--port", "7") as server:
        words = ["ping", "--sctp", server.address(), "--port", "7", "-c", "3", "--interval", "0"]
        result = rtcsctp(*words)
    assert result.code == 0, result
    assert "3 sent, 3 received, 0 % lost" in result.stdout
    assert "SCTP port 7" in result.stderr


@pytest.mark.parametrize(
    ("stdin", "complaint"),
    [
        (b"", "paste"),
        (b"hello\n", "That cannot be used: not a connection line, which begins with RTC: 'hello'"),
    ],
)
@pytest.mark.parametrize("words", [[], ["--answer"]])
def test_lines_that_are_none(words: list[str], stdin: bytes, complaint: str) -> None:
    result = rtcsctp("ping", "--loopback", *words, stdin=stdin)
    assert result.code == 1
    assert result.complaint == "rtcsctp: standard input ends before the other side's line"
    assert complaint.lower() in result.stderr.lower()
    assert "Traceback" not in result.stderr


def test_ctrl_c_while_a_line_is_waited_for() -> None:
    reader, writer = os.pipe()
    with open(reader, "rb") as stdin, open(writer, "wb"):
        for words, number in (
            (["perf"], signal.SIGINT),
            (["ping"], signal.SIGTERM),
            (["ping", "--answer"], signal.SIGINT),
        ):
            with Running(*words, "--turn-user", "", stdin=stdin) as command:
                command.expect("paste the line |Paste the line ", stream="stderr")
                command.interrupt(number)
                result = command.wait()
            assert result.code == 128 + number, result
            assert result.complaint == "rtcsctp: interrupted"


# ------------------------------------------------------------------------------------------ perf


def perf(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["perf", "--loopback", "--json", *words]) == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_perf_in_one_process(capsys: pytest.CaptureFixture[str]) -> None:
    result = perf(capsys, "--size", "300kB", "--direction", "both", "--parallel", "3")
    for way in ("up", "down"):
        assert result[way]["bytes"] == 300_000
        assert result[way]["lost"] == 0
        assert result[way]["messages_sent"] == result[way]["messages_received"] == 21
        assert result[way]["bits_per_second"] > 0
    assert result["channels"] == 3
    assert result["path"].endswith("host to host")


def test_perf_for_a_time_without_retransmissions(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--unordered", "--max-retransmits", "0", "--message", "500", "--time", "200ms"]
    result = perf(capsys, *words, "--direction", "down")
    assert result["up"] is None
    down = result["down"]
    assert down["messages_sent"] == down["messages_received"] + down["lost"] > 0
    assert main(["perf", "--loopback", *words]) == 0
    out = capsys.readouterr().out
    assert re.fullmatch(
        r".* to the other end in .*: .*bit/s, [\d,]+ messages/s\n"
        r"  lost \d+ of [\d,]+ messages \(.* %\); \d+ came out of order\n",
        out,
    )


def test_perf_by_http(url: str) -> None:
    result = rtcsctp("perf", url, "--size", "100kB")
    assert result.code == 0, result
    assert result.stdout.startswith("100 kB to the other end in ")


def test_perf_by_lines_to_copy() -> None:
    first = ["perf", "--same-machine", "--size", "50kB", "--direction", "down", "--json"]
    here, there = by_lines(first, ["perf", "--answer", "--same-machine"])
    assert here.code == 0, here
    assert json.loads(here.stdout.partition("\n")[2])["down"]["bytes"] == 50_000
    assert there.code == 0, there


def test_ctrl_c_ends_a_test_early() -> None:
    with Running("perf", "--loopback", "--time", "100s", "--direction", "both") as command:
        command.expect("bit/s", stream="stderr")
        command.interrupt()
        result = command.wait()
    assert result.code == 0, result
    assert len(result.stdout.splitlines()) == 2


async def answers(peer: PeerConnection, *requests: str | bytes) -> list[Any]:
    """What comes back on a control channel, for each request."""
    found = []
    for request in requests:
        channel = peer.create_channel("perf", protocol="perf")
        await channel.send(request)
        found.append(json.loads(await channel.receive()))
    return found


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (b"x", "a test is asked for with a text"),
        ("x", "a message that is not JSON"),
        ("[]", "a message that is not a JSON object"),
        ('{"up": 1}', "down is a whole number from 0 to 64"),
        ('{"up": 0, "down": 0}', "a test has at least one channel"),
        ('{"up": 65, "down": 0}', "up is a whole number from 0 to 64"),
        ('{"up": true, "down": 0}', "up is a whole number from 0 to 64"),
        ('{"up": 1, "down": 0, "size": 7}', "size is a whole number from 8 to"),
        ('{"up": 1, "down": 0, "size": 8}', "a test has seconds, or bytes"),
        ('{"up": 1, "down": 0, "size": 8, "seconds": 1e9}', "seconds is above 0, and 86400 at"),
        ('{"up": 1, "down": 0, "size": 8, "seconds": NaN}', "seconds is above 0"),
        ('{"up": 1, "down": 0, "size": 8, "bytes": 0}', "bytes is a whole number from 1 to"),
    ],
)
def test_requests_that_make_no_sense(request_: str | bytes, error: str) -> None:
    with pytest.raises(FileError, match=error.replace("(", r"\(")):
        Plan.from_untrusted(request_)


async def test_server_answers_nonsense_and_goes_on() -> None:
    async with connected_here(LOCAL, Services(None, lambda _line: None).handle) as peer:
        refused, taken = await answers(
            peer, "{}", json.dumps({"up": 1, "down": 0, "size": 8, "bytes": 8})
        )
        assert refused["ok"] is False
        assert taken["ok"] is True
        # A channel of no test is closed; so is one with a name that the test does not have.
        for label in ("99/up/0", f"{taken['test']}/down/7", "x"):
            channel = peer.create_channel(label, protocol="perf-data")
            with pytest.raises(trio.EndOfChannel):
                await channel.receive()
        test = ThroughputTest(Plan(up=1, down=1, size=100, amount=1000))
        await test.run(peer)
        assert test.reports["up/0"]["bytes"] == test.counts["down/0"].bytes == 1000


# ----------------------------------------------------------------------------------- wrong words


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["ping", "ftp://x/"], "argument URL: expected http://HOST:PORT/"),
        (["ping", "--size", "7"], "argument --size: a ping has from 8 to 65536 bytes"),
        (["ping", "-c", "0"], "argument -c/--count: 0 is out of range"),
        (["ping", "--interval", "-1"], "argument --interval: -1 seconds: a time cannot be negat"),
        (["ping", "--sctp", "127.0.0.1:9"], "arguments --sctp and --port: one needs the other"),
        (["ping", "--port", "9"], "arguments --sctp and --port: one needs the other"),
        (["ping", "http://x/", "--answer"], "argument --answer: not allowed with argument URL"),
        (
            ["ping", "http://x/", "--sctp", "x:9", "--port", "9"],
            "argument --sctp: not allowed with URL or --answer",
        ),
        (["perf", "--time", "5"], "argument --time: '5' is not a time with its unit"),
        (["perf", "--time", "0s"], "argument --time: more than nothing"),
        (["perf", "--message", "1"], "argument --message: a message has from 8 to"),
        (["perf", "--parallel", "65"], "argument --parallel: 65 is out of range"),
        (["perf", "--lifetime", "2min"], "argument --lifetime: more than nothing, and 65.535 s"),
        (["perf", "--direction", "left"], "argument --direction: invalid choice"),
        (["perf", "--loopback", "--answer"], "argument --loopback: not allowed with URL or"),
        (["perf", "--lifetime", "1s", "--max-retransmits", "1"], "not allowed with argument"),
    ],
)
def test_wrong_words(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert complaint in capsys.readouterr().err
