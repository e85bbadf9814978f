"""What all tests share: how Hypothesis looks for counterexamples, a log that each finds unused,
and an option that lets the interop tests write their table into README.md.

Where `CI` is set, it draws the same examples in every run, so that a run fails because of a change
and not because of luck. On a developer's machine it draws new ones and remembers those that failed.
`HYPOTHESIS_PROFILE` chooses another profile by name (`thorough` is for an evening's search).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings
from interop import table

# No deadlines: how long an example takes says more about the machine than about the code.
settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
settings.register_profile("thorough", deadline=None, max_examples=10_000)

settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev")
)


def pytest_addoption(parser: pytest.Parser) -> None:
    # Here and not in interop/: of folders that nobody named, pytest reads their conftest.py later.
    table.add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    table.configure(config)


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """The command sets handlers up, which later tests of the same process would hear."""
    logger = logging.getLogger("rtcsctp")
    handlers, level = logger.handlers.copy(), logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)
