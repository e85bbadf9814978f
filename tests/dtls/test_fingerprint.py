"""Fingerprints of certificates (RFC 8122 section 5); pitfall W10."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.dtls.fingerprint import STRENGTH, Fingerprint, check_fingerprint
from rtcsctp.errors import DescriptionError, FingerprintMismatchError

DER = b"a certificate"
OTHER = b"another certificate"


def test_fingerprint_is_the_hash_in_upper_case_with_colons() -> None:
    digest = hashlib.sha256(DER).digest()
    fingerprint = Fingerprint.of(DER)
    assert fingerprint.algorithm == "sha-256"
    assert fingerprint.value == ":".join(f"{byte:02X}" for byte in digest)
    assert str(fingerprint) == f"sha-256 {fingerprint.value}"


@pytest.mark.parametrize("algorithm", STRENGTH)
def test_what_was_written_is_read_back(algorithm: str) -> None:
    fingerprint = Fingerprint.of(DER, algorithm)
    assert Fingerprint.parse(str(fingerprint)) == fingerprint


def test_upper_and_lower_case_are_the_same() -> None:  # pitfall W10
    fingerprint = Fingerprint.of(DER)
    assert Fingerprint.parse(str(fingerprint).lower()) == fingerprint
    assert Fingerprint.parse(f"SHA-256 {fingerprint.value}") == fingerprint
    assert Fingerprint("SHA-256", fingerprint.value.lower()) == fingerprint


@pytest.mark.parametrize("algorithm", ["md5", "md2", "sha-3", ""])
def test_hashes_that_we_do_not_compute(algorithm: str) -> None:
    with pytest.raises(ValueError, match="no fingerprints by"):
        Fingerprint.of(DER, algorithm)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha-256",
        "sha-256 ",
        "AB:CD",
        "sha-256 AB:CD",  # 32 bytes wanted
        "sha-256 " + "ABCD" * 16,
        "sha-256 " + ":".join(["AG"] * 32),
        "sha-256 " + ":".join(["AB"] * 33),
        "sha-1 " + ":".join(["AB"] * 32),
        "sha-256 " + ":".join(["AB"] * 32) + " more",
        "unknown " + ":".join(["AB"] * 200),
        "un known AB",
        "x" * 40 + " AB",
        "sha-256 " + ":".join(["\u0661\u0662"] * 32),  # digits, but not these
    ],
)
def test_what_is_no_fingerprint_is_refused(text: str) -> None:
    with pytest.raises(DescriptionError):
        Fingerprint.parse(text)


def test_unknown_hashes_can_be_read() -> None:
    assert Fingerprint.parse("blake3 ab:cd") == Fingerprint("blake3", "AB:CD")


@pytest.mark.parametrize("algorithm", STRENGTH)
def test_the_announced_certificate_passes(algorithm: str) -> None:
    check_fingerprint(DER, [Fingerprint.of(DER, algorithm)])


def test_strongest_hash_that_we_know_decides() -> None:  # pitfall W10
    weak = Fingerprint.of(DER, "sha-1")
    check_fingerprint(DER, [weak, Fingerprint.of(DER, "sha-512")])
    with pytest.raises(FingerprintMismatchError):
        check_fingerprint(DER, [weak, Fingerprint.of(OTHER, "sha-512")])


def test_any_one_of_the_strongest_hash_is_enough() -> None:  # pitfall W10
    check_fingerprint(DER, [Fingerprint.of(OTHER), Fingerprint.of(DER)])


def test_unknown_hashes_are_skipped() -> None:  # pitfall W10
    check_fingerprint(DER, [Fingerprint("sha3-512", "AB:CD"), Fingerprint.of(DER)])


@pytest.mark.parametrize(("name", "size"), [("md5", 16), ("md2", 16), ("sha3-512", 64)])
def test_nothing_but_refused_or_unknown_hashes_is_a_mismatch(name: str, size: int) -> None:
    # pitfall W10: an MD5 that fits counts for nothing
    digest = hashlib.md5(DER).digest() if name == "md5" else bytes(size)
    with pytest.raises(FingerprintMismatchError):
        check_fingerprint(DER, [Fingerprint(name, digest.hex(":"))])


def test_mismatch_tells_both_sides() -> None:
    announced = [Fingerprint.of(OTHER), Fingerprint.of(OTHER, "sha-1")]
    with pytest.raises(FingerprintMismatchError) as caught:
        check_fingerprint(DER, announced)
    assert caught.value.announced == f"{announced[0]}\n{announced[1]}"
    assert caught.value.actual == str(Fingerprint.of(DER))


def test_no_fingerprint_at_all_is_a_mismatch() -> None:
    with pytest.raises(FingerprintMismatchError, match="none"):
        check_fingerprint(DER, [])


@pytest.mark.fuzz
@given(st.text() | st.from_regex(r"[a-z0-9-]{1,8} [0-9A-Fa-f:]{0,100}"))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        fingerprint = Fingerprint.parse(text)
    except DescriptionError:
        return
    assert Fingerprint.parse(str(fingerprint)) == fingerprint
