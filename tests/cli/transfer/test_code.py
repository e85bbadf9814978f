"""Codes: made, checked, and what follows from them."""

from __future__ import annotations

import pytest

from rtcsctp.cli.transfer.code import Secret, checked_code, new_code
from rtcsctp.cli.transfer.errors import TransferError
from rtcsctp.cli.transfer.words import WORDS

CODE = "this is no good code"


def test_there_are_as_many_words_as_the_arithmetic_says() -> None:
    assert len(set(WORDS)) == len(WORDS) == 512
    assert all(word.isascii() and word.isalpha() and word.islower() for word in WORDS)


def test_new_codes_are_accepted_however_they_are_typed() -> None:
    codes = {new_code() for _ in range(50)}
    assert len(codes) == 50
    for code in codes:
        assert len(code.split("-")) == 7
        assert checked_code(code) == code
        assert checked_code(f"  {code.replace('-', ' ').upper()} ") == code


def test_a_slip_is_found() -> None:
    words = new_code().split("-")
    with pytest.raises(TransferError, match="there is a slip in the code: no code has 'zinkk'"):
        checked_code("-".join([*words[:2], "zinkk", *words[3:]]))
    with pytest.raises(TransferError, match="a word of the code is missing: it has 7"):
        checked_code("-".join(words[1:]))
    last = WORDS[(WORDS.index(words[-1]) + 1) % len(WORDS)]
    with pytest.raises(TransferError, match="its words do not belong together"):
        checked_code("-".join([*words[:-1], last]))


def test_the_nearest_word_is_named() -> None:
    words = new_code().split("-")
    words[0] = "dolphinn"
    with pytest.raises(TransferError, match="did you mean 'dolphin'"):
        checked_code(" ".join(words))


@pytest.mark.parametrize("code", ["", "-", "abc", "secret", "a-b-c-d", "x" * 300])
def test_codes_of_ones_own_are_long_enough(code: str) -> None:
    with pytest.raises(TransferError, match=r"hard to guess|at most 256"):
        checked_code(code)


def test_only_who_knows_the_code_reads_what_was_sealed() -> None:
    one, same, other = Secret(CODE), Secret(CODE), Secret(CODE + "s")
    assert one.mailbox == same.mailbox != other.mailbox
    assert len(one.mailbox) == 32
    sealed = one.seal("text ä", "offer")
    assert sealed.isascii()
    assert sealed != one.seal("text ä", "offer")
    assert same.open(sealed, "offer") == "text ä"
    bad = [sealed[:-6], "", "!", "ä", sealed[::-1], "A" * 100]
    for secret, text, context in [
        (other, sealed, "offer"),
        (same, sealed, "answer"),
        *((same, text, "offer") for text in bad),
    ]:
        with pytest.raises(TransferError, match="not written by somebody who knows the code"):
            secret.open(text, context)
