"""The benchmarks in virtual time give the same figures every time; others measure real time."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = Path(__file__).parent.parent / "benchmarks"
SMALLEST = ["--rates", "10", "--rtts", "20", "--losses", "2", "--queues", "0.5", "--parts", "cells"]


def run(program: str, *options: str, file: Path) -> tuple[list[dict[str, Any]], str]:
    command = [sys.executable, str(PROGRAMS / program), *options, "--json", str(file)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    return json.loads(file.read_text(encoding="utf-8")), result.stdout


def figures(folder: Path, name: str) -> tuple[list[dict[str, Any]], str]:
    options = [*SMALLEST, "--seconds", "0.5", "--jobs", "1", "--controllers", "rfc9260"]
    return run("network.py", *options, file=folder / name)


def test_smallest_cell_is_the_same_in_every_process(tmp_path: Path) -> None:
    first, table = figures(tmp_path, "first")
    second, _ = figures(tmp_path, "second")
    assert first == second
    (cell,) = first
    assert cell["controllers"] == ["rfc9260"]
    assert 0.1 < cell["goodput"] < 0.974  # the rest of the link carries headers
    assert 0.01 < cell["again"] < 0.2  # of 2 % loss
    assert "10 Mbit/s" in table


def test_figures_that_were_written_are_shown_as_a_table(tmp_path: Path) -> None:
    (cell,), _ = figures(tmp_path, "first")
    again, table = run(
        "network.py", "--load", str(tmp_path / "first"), "--markdown", file=tmp_path / "again"
    )
    assert again == [cell]
    share = f"{100 * cell['goodput']:.0f}"
    assert "| Mbit/s | RTT | queue | 2 % loss |" in table
    assert f"| 10 | 20 ms | 0.5 BDP | {share} |" in table


@pytest.mark.skipif(not importlib.util.find_spec("kcp"), reason="needs the package kcp")
def test_kcp_over_channels_is_the_same_in_every_process(tmp_path: Path) -> None:
    options = ["--rates", "1", "--rtts", "20", "--losses", "3", "--scale", "0.1"]
    options += ["--kcp", "snowflake", "--controllers", "bbr", "--channels", "unordered"]
    first, table = run("datagrams.py", *options, "--jobs", "1", file=tmp_path / "first")
    second, _ = run("datagrams.py", *options, "--jobs", "2", file=tmp_path / "second")
    assert first == second
    values = first[0]["values"]
    assert 0.1 < values["goodput"] < 1
    assert 10 < values["p50"] <= values["p99"] < 2000
    assert values["wire"] > 1
    assert values["sctp_again"] == 0
    assert "unordered" in table
