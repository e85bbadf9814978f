"""The table of peers in README.md: how it is written, and that it names all whom we test with."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .requirements import meets, met
from .stacks import STACKS
from .table import (
    BEGIN,
    END,
    OPTION,
    OUTCOMES,
    PROPERTY,
    Row,
    TableError,
    Tally,
    peer_of,
    split,
    with_rows,
)
from .versions import VERSIONS, version

ROOT = Path(__file__).resolve().parents[2]
TEXT = f"before\n\n{BEGIN}\n{END}\n\nafter\n"


def report(
    test: str, outcome: str = "passed", when: str = "call", peers: dict[str, str] | None = None
) -> pytest.TestReport:
    return pytest.TestReport(
        nodeid=test,
        location=("", 0, ""),
        keywords={},
        outcome=outcome,  # type: ignore[arg-type]
        longrepr=None,
        when=when,  # type: ignore[arg-type]
        user_properties=[(PROPERTY + peer, version) for peer, version in (peers or {}).items()],
    )


def tally(*reports: pytest.TestReport) -> list[str]:
    counted = Tally()
    for one in reports:
        counted.pytest_runtest_logreport(one)
    return sorted(row.line() for row in counted.rows("2026-01-02"))


def test_readme_names_every_peer_with_version_date_and_result() -> None:
    _, rows, _ = split((ROOT / "README.md").read_text(encoding="utf-8"))
    assert sorted(map(peer_of, rows)) == sorted(VERSIONS)
    for row in rows:
        _, _, version, date, tests, files, _ = (cell.strip() for cell in row.split("|"))
        assert version[-1].isdigit() or version.endswith(")"), row
        assert len(date.split("-")) == 3, row
        assert tests.endswith(OUTCOMES), row
        for file in files.split(", "):
            assert (ROOT / file.strip("`")).is_file(), row


def test_every_peer_of_the_harness_can_be_asked_for_its_version() -> None:
    sources = " ".join(
        path.read_text(encoding="utf-8")
        for path in Path(__file__).parent.glob("*.py")
        if not path.name.startswith("test_")
    )
    named = set(re.findall(r'\bmeets\("(\w+)"\)', sources))
    assert named | set(STACKS) == set(VERSIONS)


def test_a_peer_that_does_not_say_its_version_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(VERSIONS, "pion", lambda: str(1 / 0))
    version.cache_clear()
    try:
        assert version("pion") == ""
        assert version("nobody") == ""
    finally:
        version.cache_clear()
    assert "the version of pion is not known: division" in capsys.readouterr().err


def test_a_test_counts_for_each_peer_that_it_has_met_and_once() -> None:
    both = {"Chromium": "1.2", "coturn": "3.4 (Debian 12)"}
    lines = tally(
        report("tests/interop/test_b.py::test_1", when="setup", peers=both),
        report("tests/interop/test_b.py::test_1", peers=both),
        report("tests/interop/test_b.py::test_1", when="teardown", peers=both),
        report("tests/interop/test_a.py::test_2[x::y]", peers={"Chromium": "1.2"}),
        report("tests/sctp/test_c.py::test_3"),
    )
    assert lines == [
        (
            "| Chromium | 1.2 | 2026-01-02 | 2 passed "
            "| `tests/interop/test_a.py`, `tests/interop/test_b.py` |"
        ),
        "| coturn | 3.4 (Debian 12) | 2026-01-02 | 1 passed | `tests/interop/test_b.py` |",
    ]


def test_failures_and_skips_are_told() -> None:
    peer = {"pion": "4"}
    lines = tally(
        report("tests/interop/test_a.py::test_1", peers=peer),
        report("tests/interop/test_a.py::test_1", "failed", "teardown", peers=peer),
        report("tests/interop/test_a.py::test_2", "skipped", "setup", peers=peer),
        report("tests/interop/test_a.py::test_2", when="teardown", peers=peer),
        report("tests/interop/test_a.py::test_3", peers=peer),
        report("tests/interop/test_a.py::test_4", peers={"werift": ""}),
    )
    assert [line.split(" | ")[1:4] for line in lines] == [
        ["4", "2026-01-02", "1 passed, 1 failed, 1 skipped"],
        ["unknown", "2026-01-02", "1 passed"],
    ]


def test_a_peer_that_is_not_installed_has_no_row() -> None:
    skipped = report("tests/interop/test_a.py::test_1", "skipped", "setup", {"pion": ""})
    assert tally(skipped) == []


def test_rows_replace_those_of_the_same_peer_and_leave_all_else() -> None:
    once = with_rows(
        TEXT,
        [
            Row("werift", "1", "2026-01-01", {"passed": 3}, ("tests/a.py",)),
            Row("aiortc", "1", "2026-01-01", {"passed": 3}, ("tests/a.py",)),
        ],
    )
    twice = with_rows(once, [Row("werift", "2", "2026-02-02", {"failed": 1}, ())])
    before, rows, after = split(twice)
    assert (before, after) == ("before\n\n", "\n\nafter\n")
    assert rows == [
        "| aiortc | 1 | 2026-01-01 | 3 passed | `tests/a.py` |",
        "| werift | 2 | 2026-02-02 | 1 failed |  |",
    ]
    assert with_rows(twice, []) == twice


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}\n{BEGIN}\n", f"{BEGIN}\n{BEGIN}\n{END}\n"])
def test_a_file_without_a_place_for_the_table_is_refused(text: str) -> None:
    with pytest.raises(TableError, match="begin"):
        with_rows(text, [])


def test_what_a_test_meets_is_noted() -> None:
    before = met.copy()
    meets("nobody")
    assert met - before == {"nobody"}
    met.discard("nobody")


CONFTEST = """
import pytest
from interop import table
from interop.table import PROPERTY

pytest_addoption, pytest_configure = table.add_option, table.configure
"""

TESTS = """
import pytest
from interop.table import PROPERTY

@pytest.mark.parametrize("number", range(4))
def test_peer(request, number):
    request.node.user_properties.append((PROPERTY + "pion", "9.9"))
    assert number != 3
"""


def test_the_run_that_is_asked_to_writes(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (tmp_path / "test_it.py").write_text(TESTS, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    table = tmp_path / "table.md"
    table.write_text(TEXT, encoding="utf-8")

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parents[1]),
                "PYTEST_ADDOPTS": "",
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    assert "3 passed" in run().stdout
    assert table.read_text(encoding="utf-8") == TEXT, "nobody has asked"
    # Side by side: the tests run in one process, and another one counts.
    done = run("-p", "xdist", "-n", "1", OPTION, table.name)
    assert f"{OPTION} {table}: pion" in done.stdout
    _, (row,), _ = split(table.read_text(encoding="utf-8"))
    assert row.startswith("| pion | 9.9 | 20")
    assert row.endswith(" | 3 passed, 1 failed | `tests/test_it.py` |")
    refused = run(OPTION, "missing.md")
    assert refused.returncode == 4
    assert "missing.md" in refused.stderr
    assert "Traceback" not in refused.stderr
