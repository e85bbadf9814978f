"""What happens where a program that a test needs is missing, and which peers a test has met."""

from __future__ import annotations

import os

import pytest

#: The peers that the test at hand has asked for or started, by their names in `versions.py`.
met: set[str] = set()


def meets(peer: str) -> None:
    """Note that the test at hand has to do with this peer; the table in README.md counts by it."""
    met.add(peer)


def require(missing: str | None) -> None:
    """Skip the test if `missing` names a reason; fail it if RTCSCTP_REQUIRE_INTEROP=1 is set."""
    if missing is None:
        return
    if os.environ.get("RTCSCTP_REQUIRE_INTEROP") == "1":
        pytest.fail(f"interop tests are required here, but: {missing}")
    pytest.skip(missing)
