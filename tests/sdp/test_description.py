"""Descriptions in JSON, as browsers exchange them."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcsctp.errors import DescriptionError
from rtcsctp.sdp.attributes import MAX_DESCRIPTION
from rtcsctp.sdp.description import SessionDescription
from rtcsctp.sdp.model import DescriptionType

from .descriptions import CHROMIUM, offer


def test_json_is_that_of_browsers() -> None:
    description = offer(CHROMIUM)
    assert json.loads(description.to_json()) == {"type": "offer", "sdp": CHROMIUM}
    assert SessionDescription.from_json(description.to_json()) == description
    assert SessionDescription.from_json('{"type":"rollback"}') == SessionDescription.rollback()


def test_the_type_may_be_given_as_text() -> None:
    assert SessionDescription("answer", "x").type is DescriptionType.ANSWER


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("v=0", "not JSON"),
        ("[" * 100_000, "not JSON|characters"),
        ("[]", "not a JSON object"),
        ("{}", "type 'None'"),
        ('{"type":"bogus","sdp":"v=0"}', "type 'bogus'"),
        ('{"type":["offer"],"sdp":"v=0"}', "type"),
        ('{"type":"offer","sdp":7}', "not a text but a int"),
        (" " * (2 * MAX_DESCRIPTION + 1), "characters"),
    ],
)
def test_other_json_is_refused(text: str, message: str) -> None:
    with pytest.raises(DescriptionError, match=message) as caught:
        SessionDescription.from_json(text)
    assert len(str(caught.value)) < 200


@pytest.mark.fuzz
@given(
    st.one_of(
        st.text(max_size=100),
        st.builds(
            json.dumps,
            st.dictionaries(
                st.sampled_from(["type", "sdp", "x"]),
                st.one_of(
                    st.text(max_size=9), st.none(), st.integers(), st.lists(st.text(max_size=3))
                ),
            ),
        ),
    )
)
@settings(max_examples=200, deadline=None)
def test_any_text_gives_a_description_or_the_one_error(text: str) -> None:
    with suppress(DescriptionError):
        SessionDescription.from_json(text)
