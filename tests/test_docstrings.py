"""Every example in a docstring of the package is run, and every command in a help text is one.

Examples are the literal blocks (below a ``::``), the fenced blocks and the ``>>>`` of docstrings,
wherever they stand: a new one is found. What is no Python (maps, drawings of packets, wire formats)
is told from what is meant to be by its looks; something that looks like Python has to be Python.

An example may use the names of the module that it stands in, those of `rtcsctp.testing`, and
`rtcsctp`, `trio` and `random`. Names that it leaves to its reader are in `GIVEN`. An example that
awaits something runs under Trio in virtual time; one that defines tests is a test.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import doctest
import importlib
import inspect
import io
import logging
import random
import re
import shlex
import textwrap
import types
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

import rtcsctp
import rtcsctp.testing
from rtcsctp.cli.main import _build_parser
from rtcsctp.sctp.association import Association
from rtcsctp.testing import Capture, Conditions, Network, StandInIdentity, simulated_hosts

PACKAGE = Path(rtcsctp.__file__).parent
README = Path(__file__).resolve().parents[1].joinpath("README.md").read_text(encoding="utf-8")


# --------------------------------------------------------------------------- finding them


@attrs.frozen
class Example:
    """One block of one docstring."""

    module: str
    owner: str
    number: int
    source: str

    @property
    def name(self) -> str:
        place = f"{self.module}:{self.owner}" if self.owner else self.module
        return place if self.number == 0 else f"{place}#{self.number}"


def literal_blocks(docstring: str) -> Iterator[str]:
    """What is indented below a paragraph that ends in ``::``, and what is fenced."""
    lines = docstring.splitlines()
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        margin = len(line) - len(line.lstrip())
        if line.rstrip().endswith("::"):
            block = []
            while at < len(lines) and (
                not lines[at].strip() or len(lines[at]) - len(lines[at].lstrip()) > margin
            ):
                block.append(lines[at])
                at += 1
        elif line.strip().startswith("```"):
            block = []
            while at < len(lines) and not lines[at].strip().startswith("```"):
                block.append(lines[at])
                at += 1
            at += 1
        else:
            continue
        yield textwrap.dedent("\n".join(block)).strip("\n")


def docstrings(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """All docstrings of a module, with the names of their owners: "" for the module itself."""

    def walk(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield name, text
        for child in ast.iter_child_nodes(node):
            inner = getattr(child, "name", "") if hasattr(child, "body") else ""
            yield from walk(child, f"{name}.{inner}".strip(".") if inner else name)

    yield from walk(tree, "")


def is_python(source: str) -> bool:
    """Whether a block is code: it can be compiled, and does more than name things."""
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return False
    return any(
        not isinstance(statement, ast.Expr)
        or isinstance(statement.value, ast.Call | ast.Await | ast.Yield)
        for statement in body
    )


LOOKS_LIKE_PYTHON = re.compile(
    r"""^\s*(
        (async\ \w+|def|class|with|for|while|if|try|import|return|assert|await)\b.*[\w:)]$
        | from\ [\w.]+\ import\b
        | [a-z_][\w.\[\]]*(,\ *[a-z_][\w.]*)*\ =\ \S
        | (await\ )?[a-z_]\w*(\.\w+)+\(
    )""",
    re.VERBOSE | re.MULTILINE,
)


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def find_blocks() -> Iterator[Example]:
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for owner, text in docstrings(tree):
            for number, block in enumerate(literal_blocks(text)):
                if ">>>" not in block:
                    yield Example(module_name(path), owner, number, block)


BLOCKS = list(find_blocks())
EXAMPLES = [block for block in BLOCKS if is_python(block.source)]


# --------------------------------------------------------------------------- running them


@contextlib.asynccontextmanager
async def peers() -> AsyncIterator[tuple[rtcsctp.PeerConnection, rtcsctp.PeerConnection]]:
    """Two peers that are connected over a simulated network."""
    configs = (
        rtcsctp.PeerConfig(
            host=host, identity=StandInIdentity(random.Random(seed)), rng=random.Random(seed)
        )
        for seed, host in enumerate(simulated_hosts(Network(Conditions(delay=0.02), seed=1)))
    )
    one, two = configs
    async with rtcsctp.open_peer(one) as here, rtcsctp.open_peer(two) as there:
        await here.accept(await there.answer(await here.offer()))
        yield here, there


def two_cores() -> dict[str, Any]:
    def core(seed: int) -> Association:
        return Association(
            rtcsctp.Config(), local_port=5000, remote_port=5000, rng=random.Random(seed)
        )

    return {"core_a": core(1), "core_b": core(2)}


def a_capture() -> dict[str, Any]:
    with Capture("run.pcapng") as capture:
        capture.record(bytes(12), 0.0, outbound=True)
    return {}


#: What examples leave to their readers, by the name of the example.
GIVEN: dict[str, Callable[[], dict[str, Any]]] = {
    "rtcsctp.runtime.capture:Capture": lambda: {"packet": bytes(12), "now": 0.0},
    "rtcsctp.testing.ladder#1": a_capture,
    "rtcsctp.testing.stepping:CorePair": two_cores,
}

#: Examples that are two halves of one, run at the same time, each with its own peer.
HALVES = {"rtcsctp.examples.datagrams", "rtcsctp.examples.datagrams#1"}


def namespace_of(example: Example) -> dict[str, Any]:
    module = importlib.import_module(example.module)
    names = {name: getattr(rtcsctp.testing, name) for name in rtcsctp.testing.__all__}
    names |= {"rtcsctp": rtcsctp, "trio": trio, "random": random, "Config": rtcsctp.Config}
    names |= {"PeerConfig": rtcsctp.PeerConfig} | vars(module)
    return names | {"__name__": "example"} | GIVEN.get(example.name, dict)()


async def run_python(example: Example, names: dict[str, Any]) -> None:
    """Run an example, and the tests that it defines."""
    code = compile(example.source, example.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & inspect.CO_COROUTINE:
        await types.FunctionType(code, names)()
    else:
        exec(code, names)
    for name, value in list(names.items()):
        if name.startswith("test_") and inspect.iscoroutinefunction(value):
            arguments = dict.fromkeys(inspect.signature(value).parameters)
            await value(**arguments)


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Files that an example writes are in a folder of its own; logging stays as it was."""
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = root.handlers.copy(), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize(
    "example",
    [example for example in EXAMPLES if example.name not in HALVES],
    ids=lambda example: example.name,
)
async def test_example_runs(example: Example, own_folder: None, autojump_clock: MockClock) -> None:
    with trio.fail_after(1000), contextlib.redirect_stdout(io.StringIO()):
        await run_python(example, namespace_of(example))


async def test_examples_of_two_sides_run(own_folder: None, autojump_clock: MockClock) -> None:
    halves = {example.name: example for example in EXAMPLES if example.name in HALVES}
    assert halves.keys() == HALVES
    with trio.fail_after(1000):
        async with peers() as both, trio.open_nursery() as nursery:
            spaces = []
            for peer, (_, example) in zip(both, sorted(halves.items()), strict=True):
                spaces.append(namespace_of(example) | {"peer": peer})
                nursery.start_soon(run_python, example, spaces[-1])
    assert spaces[0]["answer"] == b"answer to question"


def test_the_examples_that_there_are_were_found() -> None:
    names = {example.name for example in EXAMPLES}
    assert names >= GIVEN.keys() | HALVES
    assert {"rtcsctp.testing#1", "rtcsctp.testing.pair", "rtcsctp.testing.network:Network"} <= names


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block not in EXAMPLES], ids=lambda block: block.name
)
def test_what_is_not_run_is_no_code(block: Example) -> None:
    for found in LOOKS_LIKE_PYTHON.finditer(block.source):
        pytest.fail(f"this looks like Python, but is not: {found[0]!r}")


def test_sessions_of_the_interpreter_give_what_they_say() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner()
    for path in sorted(PACKAGE.rglob("*.py")):
        if re.search(r"^\s*>>> ", path.read_text(encoding="utf-8"), flags=re.MULTILINE):
            module = importlib.import_module(module_name(path))
            for test in finder.find(module):
                assert runner.run(test).failed == 0, test.name


@pytest.mark.parametrize(
    ("docstring", "code"),
    [
        ("Text::\n\n    x = 1\n    y = 2\n\nmore", ["x = 1\ny = 2"]),
        ("Text. ::\n\n    f(1)\n\n    f(2)", ["f(1)\n\nf(2)"]),
        ("Text\n```python\nimport os\n```\n", ["import os"]),
        ("A map::\n\n    file.py   what it is", []),
        ("A name::\n\n    name", []),
    ],
)
def test_examples_are_found_by_their_form(docstring: str, code: list[str]) -> None:
    assert [block for block in literal_blocks(docstring) if is_python(block)] == code


@pytest.mark.parametrize(
    "source",
    ["with f() as x:\n    …", "a, b = f(…", "await peer.send(b'', …)", "from x import …"],
)
def test_unfinished_examples_are_noticed(source: str) -> None:
    assert not is_python(source)
    assert LOOKS_LIKE_PYTHON.search(source)


# --------------------------------------------------------------------------- commands

COMMAND = re.compile(r"(?:^|(?<=[|;(] ))(?:\$ )?rtcsctp((?: +[^\s|;()#>]+)*)", re.MULTILINE)


def commands_in(text: str) -> list[list[str]]:
    text = textwrap.dedent(text).replace("-…", "-and-so-on-and-so-on")
    return [shlex.split(found[1]) for found in COMMAND.finditer(text)]


def help_texts(parser: argparse.ArgumentParser) -> Iterator[str]:
    examples = re.search(r"examples:\n((?:  .*\n)*)", (parser.epilog or "") + "\n")
    if examples is not None:
        yield examples[1]
    for action in parser._actions:  # noqa: SLF001 - there is no other way to its subcommands
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for child in action.choices.values():
                yield from help_texts(child)


def test_commands_in_help_texts_and_readme_are_understood(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parser = _build_parser()
    console = re.findall(r"^```console\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
    found = [words for text in [*help_texts(parser), *console] for words in commands_in(text)]
    assert len(found) > 40
    for words in found:
        try:
            parser.parse_args(words)
        except SystemExit:
            pytest.fail(f"rtcsctp {shlex.join(words)}: {capsys.readouterr().err}")


def test_programs_that_docstrings_name_are_there() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for name in re.findall(r"python -m (rtcsctp[\w.]*\w)", text):
            assert importlib.util.find_spec(name) is not None, f"{path.name}: {name}"
