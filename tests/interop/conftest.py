"""Fixtures of the interop tests, and that they run one after another.

They share the computer's network namespaces, its browsers, and what is left over of them is looked
for after each; where tests run side by side (pytest-xdist), these stay together.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from .usrsctp import build_peer, require_usrsctp

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder are one group for `--dist loadgroup`."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("interop"))


@pytest.fixture(scope="session")
def peer_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our program on usrsctp, compiled; skips where usrsctp is missing."""
    require_usrsctp()
    return build_peer(tmp_path_factory.mktemp("usrsctp"))


@pytest.fixture(scope="session")
def usrsctp_programs() -> None:
    """For tests that run usrsctp's own programs; skips where they are missing."""
    require_usrsctp()
