"""Which stacks there are, with what they are told, and why one cannot be measured here."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import attrs

import rtcsctp
from stacks.node import MANIFEST, MissingError, packages, program
from stacks.program import Command

FOLDER = Path(__file__).parent
OURS = "rtcsctp"
PURE = "RTCSCTP_BENCHMARK_PURE"
"""Environment variable: a folder with a package rtcsctp that was not compiled."""


@attrs.frozen(kw_only=True)
class Stack:
    """A column of a table.

    Attributes:
        name: how it is called on the command line and in tables.
        version: what was measured.
        command: the program.
        options: what its peers are told.
    """

    name: str
    version: str
    command: Command
    options: dict[str, Any] = attrs.field(factory=dict)


def has_setting(field: str) -> bool:
    """Whether this version of ours can be told so."""
    return field in attrs.fields_dict(rtcsctp.Config)


def ours(name: str = OURS, **sctp: Any) -> Stack:
    """Ours, with fields of `rtcsctp.Config`; raises MissingError for one that is not there."""
    for field in sctp:
        if not has_setting(field):
            raise MissingError(f"this version of rtcsctp has no Config.{field}")
    return Stack(
        name=name,
        version=rtcsctp.__version__,
        command=Command(words=[sys.executable, str(FOLDER / "on_rtcsctp.py")]),
        options={"sctp": sctp} if sctp else {},
    )


def pure() -> Stack:
    """Ours without compiled modules, where that is not the one installed (`nox -s compiled`)."""
    sources = os.environ.get(PURE)
    if not sources:
        raise MissingError(f"{PURE} does not say where its sources are")
    found = ours("rtcsctp-pure")
    command = attrs.evolve(found.command, environment={"PYTHONPATH": sources})
    return attrs.evolve(found, command=command)


def aiortc() -> Stack:
    if importlib.util.find_spec("aiortc") is None:
        raise MissingError("it is not installed (dependency group benchmarks)")
    return Stack(
        name="aiortc",
        version=importlib.metadata.version("aiortc"),
        command=Command(words=[sys.executable, str(FOLDER / "on_aiortc.py")]),
    )


def libdatachannel() -> Stack:
    node, folder = program("node"), packages()
    versions = json.loads(MANIFEST.read_text(encoding="utf-8"))["dependencies"]
    return Stack(
        name="libdatachannel",
        version=f"node-datachannel {versions['node-datachannel']}",
        command=Command(
            words=[node, "--expose-gc", str(FOLDER / "on_libdatachannel.mjs")],
            environment={"RTCSCTP_BENCHMARK_NODE": str(folder)},
        ),
    )


def interpreter() -> str:
    """One line about what runs here."""
    machine = f"{sys.platform} {platform.machine()}"
    return f"{platform.python_implementation()} {platform.python_version()}, {machine}"
