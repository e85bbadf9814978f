"""Fixtures of the interop tests, that they run one after another, and which peers they met.

They share the computer's network namespaces, its browsers, and what is left over of them is looked
for after each; where tests run side by side (pytest-xdist), these stay together.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from .requirements import met
from .table import OPTION, PROPERTY
from .usrsctp import build_peer, require_usrsctp
from .versions import version

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder are one group for `--dist loadgroup`."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("interop"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """The reports of a test tell which peers it has met, for the table in README.md; see table.py.

    Tests of the harness, where peers meet each other and not rtcsctp, do not.
    """
    if item.config.getoption(OPTION) is not None and not item.path.name.startswith("test_harness"):
        known = dict(item.user_properties)
        item.user_properties += [
            (PROPERTY + peer, version(peer)) for peer in sorted(met) if PROPERTY + peer not in known
        ]
    if call.when == "teardown":
        met.clear()
    return (yield)


@pytest.fixture(scope="session")
def built_peer_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_peer(tmp_path_factory.mktemp("usrsctp"))


@pytest.fixture
def peer_program(request: pytest.FixtureRequest) -> Path:
    """Our program on usrsctp, compiled once; skips where usrsctp is missing."""
    require_usrsctp()
    program: Path = request.getfixturevalue("built_peer_program")
    return program


@pytest.fixture
def usrsctp_programs() -> None:
    """For tests that run usrsctp's own programs; skips where they are missing."""
    require_usrsctp()
