"""No name from the other side leads anywhere else, or does anything to a terminal."""

from __future__ import annotations

import sys
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.cli.transfer.errors import TransferError
from rtcsctp.cli.transfer.names import (
    MAX_DEPTH,
    MAX_NAME,
    collision_key,
    safe_name,
    safe_path,
)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "/",
        "/etc/passwd",
        "a/b",
        "../a",
        "a/..",
        "//server/share",
        "a\0b",
        "\0",
        "\ud800",
        "a\udcff.txt",
        "x" * (MAX_NAME + 1),
        "ä" * (MAX_NAME // 2 + 1),
    ],
)
@pytest.mark.parametrize("is_top", [False, True])
def test_impossible_names_are_refused(name: str, is_top: bool) -> None:
    with pytest.raises(TransferError):
        safe_name(name, is_top=is_top)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a.txt", "a.txt"),
        ("ä ö ü 日本語.txt", "ä ö ü 日本語.txt"),
        ("-rf", "-rf"),
        ("a..b", "a..b"),
        ("..a", "..a"),
        (".hidden", ".hidden"),
        ("..\\..\\a", ".._.._a"),
        ("\\\\server\\share", "__server_share"),
        ("C:", "C_"),
        ("C:\\Windows", "C__Windows"),
        ("c:evil.exe", "c_evil.exe"),
        ("a.txt:stream", "a.txt_stream"),
        ('a*?"<>|b', "a______b"),
        ("a\nb\r\tc\x1b[2Jd\x7fe", "a_b__c_[2Jd_e"),
        ("photo\u202egpj.exe", "photo_gpj.exe"),
        ("a\u200bb\ufeffc\u2028d", "a_b_c_d"),
        ("a\u00a0b", "a_b"),
        ("a.", "a_"),
        ("a. . ", "a____"),
        ("...", "___"),
        ("  a", "__a"),
        (" ", "_"),
        ("con", "_con"),
        ("CON", "_CON"),
        ("nul.txt", "_nul.txt"),
        ("Aux.tar.gz", "_Aux.tar.gz"),
        ("prn .txt", "_prn .txt"),
        ("com1", "_com1"),
        ("LPT9.log", "_LPT9.log"),
        ("com¹", "_com¹"),
        ("CONIN$", "_CONIN$"),
        ("conout$.x", "_conout$.x"),
        ("console", "console"),
        ("com10", "com10"),
        ("null", "null"),
    ],
)
def test_names_that_mean_something_elsewhere_are_changed(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@pytest.mark.parametrize(
    ("name", "safe"), [(".bashrc", "_.bashrc"), (".ssh", "_.ssh"), ("..a", "_..a"), ("a", "a")]
)
def test_items_do_not_begin_with_a_dot(name: str, safe: str) -> None:
    assert safe_name(name, is_top=True) == safe


@given(st.text(max_size=300), st.booleans())
def test_any_name_is_refused_or_stays_in_its_folder(name: str, is_top: bool) -> None:
    try:
        safe = safe_name(name, is_top=is_top)
    except TransferError:
        return
    assert safe.isprintable()
    assert 0 < len(safe.encode()) <= MAX_NAME
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind("folder") / safe
        assert path.parts == ("folder", safe)
        assert ".." not in path.parts
        assert not path.is_absolute()
    assert not safe.startswith(" ")
    assert safe[-1] not in ". "
    assert safe_name(safe, is_top=is_top) == safe  # nothing is left to do


@pytest.mark.parametrize("path", [(), ("a",) * (MAX_DEPTH + 1), ("a", ".."), ("a", "", "b")])
def test_impossible_paths_are_refused(path: tuple[str, ...]) -> None:
    with pytest.raises(TransferError):
        safe_path(path)


def test_dots_are_kept_inside_a_folder_that_is_sent() -> None:
    assert safe_path((".git", ".git", "a")) == ("_.git", ".git", "a")


@pytest.mark.parametrize(
    ("platform", "same"), [("linux", False), ("darwin", True), ("win32", True)]
)
def test_case_counts_where_it_does(
    platform: str, same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    keys = {collision_key((name,)) for name in ("Makefile", "makefile")}
    assert (len(keys) == 1) is same
    keys = {collision_key((name,)) for name in ("\u00e4", "a\u0308")}
    assert (len(keys) == 1) is same


def test_a_safe_name_can_be_written(tmp_path: Path) -> None:
    name = safe_name("x" * MAX_NAME)
    (tmp_path / f"{name}.part.journal").write_bytes(b"")
