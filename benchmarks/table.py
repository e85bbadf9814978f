"""Tables of figures: medians with their range, a column for each stack, and ratios to ours."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class Row:
    """What is measured in a line of a table.

    Attributes:
        key: its name on the command line and in JSON.
        title: its name for readers.
        more_is_better: throughput, not time.
    """

    key: str
    title: str
    unit: str
    digits: int = 0
    more_is_better: bool = False

    def format(self, value: float) -> str:
        return f"{value:,.{self.digits}f}"


@attrs.frozen(kw_only=True)
class Figures:
    """The values of several runs; none where there is a reason."""

    values: Sequence[float] = ()
    reason: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def text(self, row: Row) -> str:
        if not self.values:
            return "-"
        if len(self.values) == 1:
            return row.format(self.median)
        low, high = min(self.values), max(self.values)
        return f"{row.format(self.median)} ({row.format(low)} - {row.format(high)})"


@attrs.define
class Table:
    """Rows, columns, and the figures at some of their crossings.

    Attributes:
        reference: the column that the others are compared with; empty: they are not.
        missing: columns that could not be measured at all, and why.
    """

    title: str
    rows: Sequence[Row]
    columns: Sequence[str]
    reference: str = ""
    figures: dict[tuple[str, str], Figures] = attrs.field(factory=dict)
    missing: Mapping[str, str] = attrs.field(factory=dict)

    def add(self, row: str, column: str, value: float) -> None:
        """One more run."""
        before = self.figures.get((row, column), Figures())
        self.figures[row, column] = Figures(values=[*before.values, value])

    def fail(self, row: str, column: str, reason: str) -> None:
        """It was tried in vain; what was measured before does not count."""
        self.figures[row, column] = Figures(reason=reason)

    def failed(self, row: str, column: str) -> bool:
        return bool(self.figures.get((row, column), Figures()).reason)

    def _at(self, row: Row, column: str) -> Figures:
        return self.figures.get((row.key, column), Figures())

    @property
    def _used(self) -> list[Row]:
        return [
            row for row in self.rows if any(self._at(row, column).values for column in self.columns)
        ]

    def ratio(self, row: Row, column: str) -> float | None:
        """How many times better the reference is; below 1: worse."""
        ours, theirs = self._at(row, self.reference), self._at(row, column)
        if column == self.reference or not ours.values or not theirs.values:
            return None
        over, under = ours.median, theirs.median
        if not row.more_is_better:
            over, under = under, over
        return over / under if under else None

    def _lines(self) -> list[list[str]]:
        lines = []
        for row in self._used:
            cells = [f"{row.title}, {row.unit}" if row.unit else row.title]
            for column in self.columns:
                ratio = self.ratio(row, column)
                beside = "" if ratio is None else f" [{ratio:.2f}]"
                cells.append(self._at(row, column).text(row) + beside)
            lines.append(cells)
        return lines

    def _notes(self) -> list[str]:
        notes = [f"{column}: missing: {reason}" for column, reason in self.missing.items()]
        notes += [
            f"{column}, {row.title}: missing: {figures.reason}"
            for row in self.rows
            for column in self.columns
            if (figures := self._at(row, column)).reason
        ]
        return notes

    @property
    def _legend(self) -> str:
        said = "median (lowest - highest) of the runs"
        if not self.reference:
            return said
        return f"{said}; [N]: {self.reference} is N times as good"

    def text(self) -> str:
        """For a terminal."""
        lines = [["", *self.columns], *self._lines()]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        out = [self.title, self._legend, ""]
        for first, *rest in lines:
            cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
            out.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
        return "\n".join([*out, *self._notes()])

    def markdown(self) -> str:
        """For a README."""
        lines = [["", *self.columns], ["---"] + ["---:"] * len(self.columns), *self._lines()]
        table = ["| " + " | ".join(line) + " |" for line in lines]
        return "\n".join([f"{self.title}; {self._legend}.", "", *table, *self._notes()])

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "title": self.title,
            "reference": self.reference,
            "missing": dict(self.missing),
            "rows": [
                {
                    "key": row.key,
                    "title": row.title,
                    "unit": row.unit,
                    "runs": {c: list(self._at(row, c).values) for c in self.columns},
                    "median": {
                        c: self._at(row, c).median for c in self.columns if self._at(row, c).values
                    },
                    "missing": {
                        c: self._at(row, c).reason for c in self.columns if self._at(row, c).reason
                    },
                }
                for row in self.rows
            ],
        }


def progress(text: str = "") -> None:
    """One line on a terminal, in place of the one before."""
    if sys.stderr.isatty():
        print(text, end="\033[K\r", file=sys.stderr, flush=True)


def show(tables: Sequence[Table], *, markdown: bool = False) -> None:
    """Print tables."""
    for table in tables:
        print(table.markdown() if markdown else table.text())
        print()


def write(tables: Sequence[Table], file: Path | None) -> None:
    """All figures as JSON, if a file is given."""
    if file is not None:
        content = json.dumps([table.plain() for table in tables], indent=2)
        file.write_text(content + "\n", encoding="utf-8")
