"""What happens where a program that a test needs is missing."""

from __future__ import annotations

import os

import pytest


def require(missing: str | None) -> None:
    """Skip the test if `missing` names a reason; fail it if RTCSCTP_REQUIRE_INTEROP=1 is set."""
    if missing is None:
        return
    if os.environ.get("RTCSCTP_REQUIRE_INTEROP") == "1":
        pytest.fail(f"interop tests are required here, but: {missing}")
    pytest.skip(missing)
