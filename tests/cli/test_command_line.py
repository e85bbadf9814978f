"""What is refused before anything is sent: exit code 2, and a sentence that says why."""

from __future__ import annotations

import argparse
import os
import re
import shlex

import attrs
import pytest

import rtcsctp
from rtcsctp import Config
from rtcsctp.cli import main as command
from rtcsctp.cli.main import main
from rtcsctp.runtime.peer_config import SCTP_OF_PEERS

from .programs import Running

SEND = ["sctp", "send", "--peer", "127.0.0.1:9", "--port", "7"]
ECHO = ["sctp", "echo", "--udp", "127.0.0.1:0", "--port", "7"]
RECEIVE = ["sctp", "receive", "--udp", "127.0.0.1:0", "--port", "7"]


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The last line that the command says when it refuses its arguments."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[0].startswith("usage: rtcsctp")
    assert len(lines) < 6
    return lines[-1]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "COMMAND"),
        (["sctp"], "COMMAND"),
        (["sctp", "listen"], "invalid choice: 'listen'"),
        (["demo", "--size", "-1"], "argument --size: -1: a size cannot be negative"),
        (["demo", "--size", "big"], "argument --size: 'big' is not a size in bytes"),
        (["demo", "32MB"], "unrecognized arguments: 32MB"),
        (["demo", "--siz", "1"], "unrecognized arguments: --siz 1"),
        (SEND, "one of the arguments FILE --messages is required"),
        ([*SEND, "file", "--messages", "1"], "argument --messages: not allowed with argument FILE"),
        ([*SEND, "--messages", "0"], "argument --messages: 0 is out of range: it is 1 or more"),
        ([*SEND, "--messages", "many"], "argument --messages: 'many' is not a whole number"),
        ([*SEND, "--messages", "1", "--size", "-5"], "argument --size: -5: a size cannot be negat"),
        ([*SEND, "--messages", "1", "--size", "0"], "an SCTP message has at least one byte"),
        (
            [*SEND, "file", "--stream", "65535"],
            "argument --stream: 65535 is out of range: it is fr",
        ),
        ([*SEND, "file", "--stream", "-1"], "argument --stream: -1 is out of range"),
        ([*SEND, "file", "--ppid", "0x100000000"], "argument --ppid: 4294967296 is out of range"),
        ([*SEND, "file", "--max-retransmits", "-1"], "argument --max-retransmits: -1 is out of"),
        ([*SEND, "file", "--lifetime", "-1"], "argument --lifetime: -1 seconds: a time cannot be"),
        ([*SEND, "file", "--lifetime", "nan"], "argument --lifetime: 'nan' is not a number of sec"),
        (
            [*SEND, "file", "--lifetime", "1", "--max-retransmits", "1"],
            "argument --max-retransmits: not allowed with argument --lifetime",
        ),
        ([*SEND, "file", "--udp", "here"], "argument --udp: 'here' has no port: expected HOST:UDP"),
        (["sctp", "send", "--port", "7", "file"], "required: --peer"),
        (["sctp", "send", "--peer", ":9", "--port", "7", "file"], "--peer: ':9' has no host"),
        (["sctp", "send", "--peer", "a:9", "--port", "0", "file"], "--port: 0 is out of range: it"),
        (["sctp", "echo", "--port", "7"], "required: --udp"),
        (["sctp", "echo", "--udp", ":9899"], "required: --port"),
        (["sctp", "echo", "--udp", "::1:9", "--port", "7"], "an IPv6 address goes into brackets"),
        ([*ECHO, "--port", "70000"], "argument --port: 70000 is out of range: it is from 1 to 655"),
        ([*RECEIVE, "--out"], "argument --out: expected one argument"),
    ],
)
def test_wrong_arguments_are_refused(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert complaint in refusal(arguments, capsys)


@pytest.mark.parametrize("command", [["demo"], [*SEND, "file"], ECHO, RECEIVE])
@pytest.mark.parametrize("setting", ["rto_minimum=1", "rto_min", "=1"])
def test_unknown_settings_are_answered_with_the_names_of_all(
    command: list[str], setting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal([*command, "--set", setting], capsys)
    assert "argument --set: " in line
    for name in Config.names():
        assert name in line


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (["rto_min=fast"], "argument --set: rto_min must be a number, not 'fast'"),
        (["mtu=1"], "argument --set: mtu must be from 512 to"),
        (["interleaving=maybe"], "argument --set: interleaving must be true or false, not 'maybe'"),
        (["scheduler=mine"], "argument --set: scheduler must be one of fcfs, "),
        (["rto_min=2", "rto_max=1"], "argument --set: rto_min 2 is above rto_max 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    settings: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for setting in settings for word in ("--set", setting)]
    assert complaint in refusal(["demo", *words], capsys)


def test_settings_reach_the_command_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Config] = []

    def run(arguments: argparse.Namespace) -> None:
        seen.append(arguments.config)

    monkeypatch.setattr("rtcsctp.cli.demo.run", run)
    words = ["rto-min=2", "rto_max=3", "mtu=1400", "mtu=1300", "interleaving=off"]
    assert main(["demo", *(word for setting in words for word in ("--set", setting))]) == 0
    assert seen == [attrs.evolve(SCTP_OF_PEERS, rto_min=2, rto_max=3, mtu=1300, interleaving=False)]


PLAIN = (["decode"], ["completion"])


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["demo"],
        ["ping"],
        ["perf"],
        ["sim"],
        ["sctp"],
        SEND[:2],
        ECHO[:2],
        RECEIVE[:2],
        *PLAIN,
    ],
)
def test_help_fits_and_has_examples(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    if command != ["sctp"]:
        assert "examples:\n  rtcsctp " in text
    if command and command != ["sctp"] and command not in PLAIN:
        for name in Config.names():
            assert f"{name}=" in text


def test_every_example_of_every_help_is_a_command_line_that_works() -> None:
    """As far as the options go; what the commands do is tested elsewhere."""
    parser = command._build_parser()  # noqa: SLF001  # nobody else needs it
    parsers = [parser]
    examples: list[str] = []
    while parsers:
        one = parsers.pop()
        for action in one._actions:  # noqa: SLF001  # argparse has no other way in
            if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
                parsers += action.choices.values()
        _, _, text = (one.epilog or "").partition("examples:\n")
        for line in text.partition("\n\n")[0].splitlines():
            plain = re.sub(r"\s{2,}\(.*", "", line).replace("…", "-attic-canal")
            examples += re.findall(r"\brtcsctp [^|;)>\"]*", plain)
    assert len(examples) > 40
    for example in examples:
        parsed = parser.parse_args(shlex.split(example)[1:])
        assert callable(parsed.run), example


@pytest.mark.parametrize("words", [["completion", "bash"], ["demo", "--size", "1kB"]])
def test_what_nobody_reads_ends_without_a_word(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as pipe, Running(*words, stdout=pipe) as command:
        result = command.wait()
    assert result.code == 141, result
    assert "rtcsctp: " not in result.stderr
    assert "Traceback" not in result.stderr


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"rtcsctp {rtcsctp.__version__}\n"
