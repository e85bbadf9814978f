"""A bounded run of the fuzz targets; longer: ``HYPOTHESIS_PROFILE=thorough``, or atheris."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .targets import decode_anything, drive_association, drive_responder

pytestmark = pytest.mark.fuzz


@given(st.binary(max_size=200))
def test_decoders_raise_nothing_but_their_error(data: bytes) -> None:
    decode_anything(data)


@given(st.binary(min_size=40, max_size=700))
def test_association_survives_any_script(data: bytes) -> None:
    drive_association(data)


@settings(max_examples=30)
@given(st.binary(min_size=40, max_size=400))
def test_packets_cost_bounded_work(data: bytes) -> None:
    drive_association(data, measure=True)


@given(st.binary(max_size=600))
def test_responder_survives_any_packets(data: bytes) -> None:
    drive_responder(data)


def test_random_scripts_reach_every_kind_of_end() -> None:
    """Fixed scripts, longer than Hypothesis makes them; and they get somewhere."""
    rng = random.Random(2026)
    ends = Counter(drive_association(rng.randbytes(1200)) for _ in range(150))
    assert ends["aborted by the peer"] or ends["the peer broke the protocol"]
    assert ends["ESTABLISHED"] >= 5, ends
    assert len(ends) >= 4, ends


def test_random_packets() -> None:
    rng = random.Random(7)
    for size in range(0, 400, 2):
        decode_anything(rng.randbytes(size))
        drive_responder(rng.randbytes(size))
