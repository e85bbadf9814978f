"""The drawings in README, made from what they show.

- `state_diagram`: the states of an association (RFC 9260 section 4), from the table that the
  library runs by, in the language of Mermaid, which code hosts and editors draw;
- `example_ladder`: all packets of a short association on the simulated network, one of them lost,
  from a capture, as `rtcsctp decode` draws it.

``python -m rtcsctp.testing.diagrams README.md`` puts both between their marks in a file::

    <!-- states: begin -->
    <!-- states: end -->
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from rtcsctp.sctp.config import Config
from rtcsctp.sctp.state import TABLE, State, Step
from rtcsctp.testing.conditions import Conditions
from rtcsctp.testing.ladder import draw_ladder
from rtcsctp.testing.network import Network
from rtcsctp.testing.pair import Pair
from rtcsctp.testing.pcapng import Capture, read_pcapng_untrusted

__all__ = ["draw_into", "drawings", "example_ladder", "state_diagram"]


def state_diagram(table: Mapping[tuple[State, Step], State] = TABLE) -> str:
    """The table of states as a Mermaid diagram.

    What every state but CLOSED does at the same step is drawn once, for all of them: ABORT.
    """
    lines = ["stateDiagram-v2", "    [*] --> CLOSED"]
    lines += [f'    state "{state.value}" as {state.name}' for state in State if "-" in state.value]
    shared = _shared_steps(table)
    edges: dict[tuple[State, State], list[Step]] = {}
    for (state, step), target in table.items():
        if step not in shared:
            edges.setdefault((state, target), []).append(step)
    for (state, target), steps in edges.items():
        words = "<br>or ".join(step.value for step in steps)
        lines.append(f"    {state.name} --> {target.name}: {words}")
    for step, target in shared.items():
        lines += [
            f"    note right of {target.name}",
            f"        from every other state: {step.value}",
            "    end note",
        ]
    return "\n".join(lines)


def _shared_steps(table: Mapping[tuple[State, Step], State]) -> dict[Step, State]:
    """Steps that lead from all states but one to that one."""
    shared = {}
    for step in Step:
        targets = {target for (_, other), target in table.items() if other is step}
        sources = {state for state, other in table if other is step}
        if len(targets) == 1 and sources == set(State) - targets:
            shared[step] = targets.pop()
    return shared


def example_ladder(width: int = 96) -> str:
    """A short association as its initiator sees it: three messages, one packet lost, and the end.

    Times, tags and TSNs are those of a seeded network in virtual time: the same in every run.
    """
    file = io.BytesIO()
    network = Network(Conditions(delay=0.02), seed=1)
    capture = Capture(file, interfaces=["initiator"])
    pair = Pair(Config(path_mtu_discovery=False), network=network, capture=capture, seed=7)
    pair.connect()
    pair.a.send(0, b"to be, or not to be", ppid=51, now=pair.now)
    pair.flush()
    network.a_to_b.conditions = Conditions(delay=0.02, loss=1.0)
    pair.a.send(0, bytes(1000), ppid=53, now=pair.now)
    pair.run_for(0.001)
    network.a_to_b.conditions = Conditions(delay=0.02)
    pair.a.send(0, bytes(1000), ppid=53, now=pair.now)
    pair.flush()
    pair.a.shutdown(pair.now)
    pair.run_until(lambda: pair.a.closed is not None and pair.b.closed is not None, 10.0)
    capture.close()
    file.seek(0)
    return "\n".join(draw_ladder(read_pcapng_untrusted(file), width=width))


def drawings() -> dict[str, str]:
    """What stands between marks of these names, as Markdown."""
    return {
        "states": f"```mermaid\n{state_diagram()}\n```",
        "ladder": f"```text\n{example_ladder()}\n```",
    }


def draw_into(text: str) -> str:
    """A text with the drawings between their marks."""
    for name, drawing in drawings().items():
        begin, end = f"<!-- {name}: begin -->\n", f"\n<!-- {name}: end -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        parts = pattern.split(text)
        text = (begin + drawing + end).join(parts)
    return text


def main(paths: list[str]) -> None:
    """Put the drawings into files, or say them."""
    for name in paths:
        path = Path(name)
        path.write_text(draw_into(path.read_text(encoding="utf-8")), encoding="utf-8")
    if not paths:
        sys.stdout.write("\n\n".join(drawings().values()) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
