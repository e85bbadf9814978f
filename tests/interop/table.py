"""The table of README.md that says with which peers rtcsctp was tested; an interop run writes it.

`pytest tests/interop --interop-table README.md` (or `nox -s tests -- --interop-table README.md`)
puts it between its two marks in that file. Without the option nothing is written.

Where tests run side by side (pytest-xdist), those that meet peers run in one of the workers, and
the reports that they send bring what is counted here, in the process that the user started: which
peers a test has met, and their versions. The tests of the harness itself are not counted.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import attrs
import pytest

BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"
OPTION = "--interop-table"
OUTCOMES = ("passed", "failed", "skipped")
#: Before the name of a peer, in the properties of a report; the value is the peer's version.
PROPERTY = "interop peer "

_HEAD = ("| peer | version | date | tests | in |", "|---|---|---|---|---|")


class TableError(Exception):
    """The file has no place for the table."""


@attrs.frozen
class Row:
    """What is known of one peer: how it did in the last run that met it."""

    peer: str
    version: str
    date: str
    counts: Mapping[str, int]
    files: tuple[str, ...]

    def line(self) -> str:
        tests = ", ".join(f"{self.counts[o]} {o}" for o in OUTCOMES if self.counts.get(o))
        files = ", ".join(f"`{file}`" for file in self.files)
        return f"| {self.peer} | {self.version} | {self.date} | {tests} | {files} |"


def split(text: str) -> tuple[str, list[str], str]:
    """A file's text before the table, the rows of the table, and the text after it."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise TableError(f"the table needs one line {BEGIN!r} and below it one {END!r}")
    before, _, rest = text.partition(BEGIN)
    table, _, after = rest.partition(END)
    lines = [line.strip() for line in table.splitlines()]
    return before, [line for line in lines if line.startswith("| ") and line != _HEAD[0]], after


def peer_of(line: str) -> str:
    """The peer that a row of the table is about."""
    return line.split("|")[1].strip()


def with_rows(text: str, rows: Iterable[Row]) -> str:
    """A file's text with these rows. Those of peers that were not met stay as they are."""
    before, old, after = split(text)
    lines = {peer_of(line): line for line in old} | {row.peer: row.line() for row in rows}
    table = [*_HEAD, *(lines[peer] for peer in sorted(lines, key=str.casefold))]
    return "\n".join([before + BEGIN, *table, END + after])


class Tally:
    """Counts the tests of a run by the peers that they have met; a plugin of pytest."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._outcomes: dict[str, str] = {}
        self._peers: dict[str, set[str]] = {}
        self._versions: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One of the three reports of a test: set-up, call, tear-down. The worst one counts."""
        rank = ("failed", "skipped", "passed")
        before = self._outcomes.get(report.nodeid, report.outcome)
        self._outcomes[report.nodeid] = min(before, report.outcome, key=rank.index)
        for key, value in report.user_properties:
            if key.startswith(PROPERTY):
                peer = key.removeprefix(PROPERTY)
                self._peers.setdefault(peer, set()).add(report.nodeid)
                self._versions[peer] = str(value)

    def rows(self, date: str) -> list[Row]:
        """What is known now. A peer of which no test has run, passed or failed, has no row."""
        result = []
        for peer, tests in self._peers.items():
            counts = Counter(self._outcomes[test] for test in tests)
            files = {re.split(r"::", test)[0].rpartition("tests/")[2] for test in tests}
            if counts["passed"] or counts["failed"]:
                paths = tuple(f"tests/{file}" for file in sorted(files))
                result.append(Row(peer, self._versions[peer] or "unknown", date, counts, paths))
        return result

    def pytest_sessionfinish(self) -> None:
        rows = self.rows(dt.datetime.now(dt.UTC).date().isoformat())
        if self.path is not None and rows:
            text = self.path.read_text(encoding="utf-8")
            self.path.write_text(with_rows(text, rows), encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        peers = ", ".join(row.peer for row in self.rows("")) or "no peers: nothing is changed"
        terminalreporter.write_line(f"{OPTION} {self.path}: {peers}")


def add_option(parser: pytest.Parser) -> None:
    parser.getgroup("rtcsctp").addoption(
        OPTION,
        metavar="FILE",
        help="write with which peers the tests have spoken, and how they did, between the marks"
        f" {BEGIN} and {END} in this file",
    )


def configure(config: pytest.Config) -> None:
    """Counts and writes if the option asks for it; not in the workers of pytest-xdist."""
    given = config.getoption(OPTION)
    if given is None or hasattr(config, "workerinput"):
        return
    path = config.invocation_params.dir / given
    try:
        split(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, TableError) as error:
        raise pytest.UsageError(f"{OPTION} {given}: {error}") from error
    config.pluginmanager.register(Tally(path), "interop-table")
