"""The scripts for shells: made from the parsers, and understood by the shells that are there."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from rtcsctp.cli.main import main

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_know_commands_and_options(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = script(shell, capsys)
    for word in ("demo", "serve", "sctp", "echo", "decode", "plot", "max-retransmits", "rfc9260"):
        assert re.search(rf"\b{word}\b", text), word
    if shutil.which(shell) is not None:
        checked = subprocess.run(
            [shell, "-n"], input=text, text=True, capture_output=True, check=False
        )
        assert checked.returncode == 0, checked.stderr


@needs_bash
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["d"], {"demo", "decode"}),
        (["sctp", ""], {"echo", "send", "receive", "-h", "--help"}),
        (["sctp", "send", "--me"], {"--messages"}),
        (["sim", "--controller", ""], {"rfc9260", "cubic", "bbr", "ledbat"}),
        (["sim", "--rate", "1M", "--controller", "b"], {"bbr"}),
        (["sim", "--plot", ""], set()),
        (["completion", "z"], {"zsh"}),
        (["--vers"], {"--version"}),
    ],
)
def test_bash_completes(
    typed: list[str], expected: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = " ".join(f"'{word}'" for word in ["rtcsctp", *typed])
    program = (
        f"{script('bash', capsys)}\nCOMP_WORDS=({words}); COMP_CWORD={len(typed)}\n"
        '_rtcsctp; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    found = subprocess.run(["bash"], input=program, text=True, capture_output=True, check=True)
    assert found.stderr == ""
    assert set(found.stdout.split()) == expected


def test_unknown_shells(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["completion", "csh"])
    assert caught.value.code == 2
    assert "invalid choice: 'csh'" in capsys.readouterr().err
