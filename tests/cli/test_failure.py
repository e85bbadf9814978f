"""What becomes of exceptions: a line and an exit code, or a traceback for bugs."""

from __future__ import annotations

import signal

import pytest
import trio

from rtcsctp import AssociationLost, CloseReason, InvalidStreamError
from rtcsctp.cli import demo
from rtcsctp.cli.failure import CommandError, Interrupted, NobodyReads, attempt, explain
from rtcsctp.cli.interrupt import until_interrupted
from rtcsctp.cli.main import main


def lost(message: str) -> AssociationLost:
    return AssociationLost(message, reason=CloseReason.UNREACHABLE, detail="", elapsed=1.0)


def test_expected_failures_are_one_line() -> None:
    assert explain(CommandError("no\nway")) == ("no way", 1)
    assert explain(lost("gone")) == ("gone", 1)
    assert explain(InvalidStreamError("no stream 9")) == ("no stream 9", 1)
    assert explain(KeyboardInterrupt()) == ("interrupted", 130)
    assert explain(Interrupted(signal.SIGTERM)) == ("interrupted", 143)
    assert explain(NobodyReads()) == ("", 141)


def test_groups_are_explained_by_what_says_most() -> None:
    inner = ExceptionGroup("", [lost("gone"), InvalidStreamError("no stream 9")])
    assert explain(ExceptionGroup("", [inner])) == ("gone", 1)
    assert explain(ExceptionGroup("", [inner, CommandError("disk full")])) == ("disk full", 1)
    interrupted = BaseExceptionGroup("", [inner, KeyboardInterrupt()])
    assert explain(interrupted) == ("interrupted", 130)


def test_bugs_are_not_explained_away() -> None:
    assert explain(ValueError("bug")) is None
    assert explain(OSError("unexpected")) is None
    assert explain(ExceptionGroup("", [CommandError("disk full"), KeyError("bug")])) is None


def test_refusals_of_the_system_become_sentences() -> None:
    with pytest.raises(CommandError, match=r"^cannot open it: No such file or directory$"):  # noqa: SIM117
        with attempt("open it"):
            raise FileNotFoundError(2, "No such file or directory", "it")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (CommandError("no way"), 1, "rtcsctp: no way\n"),
        (KeyboardInterrupt(), 130, "rtcsctp: interrupted\n"),
        (BaseExceptionGroup("", [KeyboardInterrupt()]), 130, "rtcsctp: interrupted\n"),
    ],
)
def test_the_command_ends_with_a_line_and_a_code(
    error: BaseException,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(arguments: object) -> None:
        raise error

    monkeypatch.setattr(demo, "run", fail)
    assert main(["demo"]) == code
    assert capsys.readouterr().err == line


def test_a_bug_comes_out_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(arguments: object) -> None:
        raise KeyError("bug")

    monkeypatch.setattr(demo, "run", fail)
    with pytest.raises(KeyError):
        main(["demo"])


# ------------------------------------------------------------------------------------- signals


def test_work_that_ends_is_not_interrupted() -> None:
    async def work() -> None:
        await trio.lowlevel.checkpoint()

    trio.run(until_interrupted, work)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_work(number: signal.Signals) -> None:
    cleaned_up = False

    async def work() -> None:
        nonlocal cleaned_up
        signal.raise_signal(number)
        try:
            await trio.sleep_forever()
        finally:
            cleaned_up = True

    with pytest.raises(Interrupted) as caught:
        trio.run(until_interrupted, work)
    assert caught.value.exit_code == 128 + number
    assert cleaned_up


def test_the_first_signal_may_be_a_request_only() -> None:
    async def main() -> None:
        end = trio.Event()

        async def work() -> None:
            signal.raise_signal(signal.SIGINT)
            await end.wait()

        await until_interrupted(work, end=end)

    trio.run(main)


def test_the_second_signal_cancels_in_any_case() -> None:
    async def main() -> None:
        end = trio.Event()

        async def work() -> None:
            signal.raise_signal(signal.SIGINT)
            await end.wait()
            signal.raise_signal(signal.SIGTERM)
            await trio.sleep_forever()

        await until_interrupted(work, end=end)

    with pytest.raises(Interrupted) as caught:
        trio.run(main)
    assert caught.value.exit_code == 143


def test_failures_come_out_of_the_work() -> None:
    async def work() -> None:
        raise CommandError("no way")

    with pytest.raises(ExceptionGroup) as caught:
        trio.run(until_interrupted, work)
    assert explain(caught.value) == ("no way", 1)
