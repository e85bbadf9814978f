"""The option `-v` and the variable RTCSCTP_LOG."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator

import pytest

from rtcsctp.cli import main as command
from rtcsctp.cli.logs import configure

QUICK = ("demo", "--size", "1k")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    logger = logging.getLogger("rtcsctp")
    handlers, level = logger.handlers.copy(), logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.mark.parametrize(
    ("arguments", "word", "levels"),
    [
        (QUICK, "", set[str]()),
        (("-v", *QUICK), "", {"INFO"}),
        ((*QUICK, "-v"), "", {"INFO"}),
        (("-v", *QUICK, "-v"), "", {"INFO", "DEBUG"}),
        ((*QUICK, "-vv"), "error", {"INFO", "DEBUG"}),
        (QUICK, "info", {"INFO"}),
        (QUICK, "DEBUG", {"INFO", "DEBUG"}),
        (QUICK, "warning", set[str]()),
    ],
)
def test_lines_go_to_standard_error(
    arguments: tuple[str, ...],
    word: str,
    levels: set[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RTCSCTP_LOG", word)
    assert command.main(arguments) == 0
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if " rtcsctp." in line]
    assert {line.split()[1] for line in lines} == levels
    assert " rtcsctp.sctp" not in out
    if levels:
        assert any("association established" in line for line in lines)


def test_wrong_word_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTCSCTP_LOG", "loud")
    with pytest.raises(SystemExit) as refused:
        command.main(QUICK)
    assert refused.value.code == 2
    line = "RTCSCTP_LOG is 'loud'; it can be debug, info, warning, error"
    assert line in capsys.readouterr().err


def test_there_is_one_handler_however_often_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RTCSCTP_LOG", raising=False)
    before = len(logging.getLogger("rtcsctp").handlers)
    parser = argparse.ArgumentParser()
    for _ in range(3):
        configure(argparse.Namespace(verbose=1), parser)
    assert len(logging.getLogger("rtcsctp").handlers) == before + 1
