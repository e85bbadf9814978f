"""The benchmark in virtual time gives the same figures every time; others measure real time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).parent.parent / "benchmarks" / "network.py"
SMALLEST = ["--rates", "10", "--rtts", "20", "--losses", "2", "--queues", "0.5", "--parts", "cells"]


def figures(folder: Path, name: str) -> tuple[list[dict[str, Any]], str]:
    file = folder / name
    command = [sys.executable, str(PROGRAM), *SMALLEST, "--seconds", "0.5", "--jobs", "1"]
    command += ["--controllers", "rfc9260", "--json", str(file)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    return json.loads(file.read_text(encoding="utf-8")), result.stdout


def test_smallest_cell_is_the_same_in_every_process(tmp_path: Path) -> None:
    first, table = figures(tmp_path, "first")
    second, _ = figures(tmp_path, "second")
    assert first == second
    (cell,) = first
    assert cell["controllers"] == ["rfc9260"]
    assert 0.1 < cell["goodput"] < 0.974  # the rest of the link carries headers
    assert 0.01 < cell["again"] < 0.2  # of 2 % loss
    assert "10 Mbit/s" in table
