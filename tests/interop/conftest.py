"""Fixtures of the interop tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from .usrsctp import build_peer, require_usrsctp


@pytest.fixture(scope="session")
def peer_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our program on usrsctp, compiled; skips where usrsctp is missing."""
    require_usrsctp()
    return build_peer(tmp_path_factory.mktemp("usrsctp"))


@pytest.fixture(scope="session")
def usrsctp_programs() -> None:
    """For tests that run usrsctp's own programs; skips where they are missing."""
    require_usrsctp()
