"""The drawings in README are those that the library gives."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rtcsctp.sctp.state import TABLE, State, Step, next_state
from rtcsctp.testing.diagrams import draw_into, drawings, example_ladder, main, state_diagram

README = Path(__file__).resolve().parent.parent.parent / "README.md"


def test_readme_has_the_drawings_of_this_version() -> None:
    text = README.read_text(encoding="utf-8")
    for name, drawing in drawings().items():
        assert f"<!-- {name}: begin -->\n{drawing}\n<!-- {name}: end -->" in text, (
            "python -m rtcsctp.testing.diagrams README.md"
        )


def test_every_step_of_the_table_is_in_the_diagram() -> None:
    words = {step.value: step for step in Step}
    drawn: set[tuple[State, Step, State]] = set()
    diagram = state_diagram()
    for source, target, label in re.findall(r"^    (\w+) --> (\w+): (.+)$", diagram, re.MULTILINE):
        for word in label.split("<br>or "):
            drawn.add((State[source], words[word], State[target]))
    note = re.search(r"note right of (\w+)\n +from every other state: (.+)\n", diagram)
    assert note is not None
    target = State[note[1]]
    drawn |= {(state, words[note[2]], target) for state in State if state is not target}
    assert drawn == {(state, step, target) for (state, step), target in TABLE.items()}
    assert all(next_state(state, step) is target for state, step, target in drawn)


def test_diagram_shows_a_table_that_has_changed() -> None:
    table = TABLE | {(State.CLOSED, Step.ABORT): State.CLOSED}
    assert state_diagram(table) != state_diagram()
    assert "CLOSED --> CLOSED: ABORT" in state_diagram(table)


def test_ladder_shows_a_whole_association() -> None:
    ladder = example_ladder()
    assert ladder == example_ladder(), "the same in every run"
    order = ["INIT tag", "INIT ACK", "COOKIE ECHO", "COOKIE ACK", "SACK", "beyond:", "SHUTDOWN"]
    assert [ladder.index(word) for word in order] == sorted(ladder.index(word) for word in order)
    (lost,) = re.findall(r"TSN (\d+), stream 0, MID 1, immediate", ladder)
    assert ladder.count(f"TSN {lost}, stream 0, MID 1") == 2, "it was sent again"
    assert max(map(len, ladder.splitlines())) <= 96


def test_drawings_go_between_their_marks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "text.md"
    path.write_text("before\n<!-- states: begin -->\nold\n<!-- states: end -->\nafter\n")
    main([str(path)])
    text = path.read_text()
    assert text == draw_into(text)
    assert text.startswith("before\n<!-- states: begin -->\n```mermaid\nstateDiagram-v2")
    assert text.endswith("```\n<!-- states: end -->\nafter\n")
    assert "old" not in text
    main([])
    assert "stateDiagram-v2" in capsys.readouterr().out
