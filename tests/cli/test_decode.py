"""`rtcsctp decode`: what it shows of good captures, and of damaged ones."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from rtcsctp import Config
from rtcsctp.cli.main import main
from rtcsctp.testing import Capture, Conditions, Network, Pair


@pytest.fixture(scope="module")
def capture() -> bytes:
    """A handshake, three messages on two streams, and their acknowledgements."""
    file = io.BytesIO()
    with Capture(file, epoch_ns=1_700_000_000_000_000_000) as writer:
        pair = Pair(Config(), network=Network(Conditions(delay=0.05), seed=1), capture=writer)
        pair.connect()
        for stream in (1, 2, 1):
            pair.a.send(stream, b"hello", now=pair.now, ppid=51)
            pair.flush()
    return file.getvalue()


@pytest.fixture
def path(tmp_path: Path, capture: bytes) -> Path:
    path = tmp_path / "trace.pcapng"
    path.write_bytes(capture)
    return path


def decode(
    capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0
) -> tuple[list[str], str]:
    assert main(["decode", *map(str, words)]) == code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.out.splitlines(), captured.err


def test_whole_capture(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines, err = decode(capsys, path, "--width", "140")
    assert err == ""
    assert "INIT tag" in lines[1]
    assert "COOKIE ACK" in lines[4] or "COOKIE ACK" in lines[5]
    assert sum("bytes text" in line for line in lines) == 3
    assert {len(line) for line in lines} == {140}


@pytest.mark.parametrize("columns", [48, 50, 60, 80])
def test_a_ladder_fits_the_terminal(
    path: Path,
    columns: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines, _ = decode(capsys, path)
    assert max(map(len, lines)) == columns


def test_filters(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines, err = decode(capsys, path, "--chunk", "init,Init_Ack", "--width", "200")
    assert len(lines) == 3
    assert "2 of 10 packets shown" in err
    lines, _ = decode(capsys, path, "--stream", "2", "--width", "200")
    assert len(lines) == 2
    lines, _ = decode(capsys, path, "--start", "0.15", "--end", "0.25", "--width", "200")
    assert all(line.split()[0].startswith("0.2") for line in lines[1:])
    lines, _ = decode(capsys, path, "--limit", "1", "--width", "200", "--ascii")
    assert len(lines) == 2
    assert "INIT" in lines[1]
    assert lines[1].isascii()
    lines, err = decode(capsys, path, "--association", "2")
    assert lines == []
    assert "0 of 10 packets shown" in err


def test_times_and_numbers(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines, _ = decode(capsys, path, "--utc", "--width", "200")
    assert lines[1].split()[0] == "22:13:20.000000"
    lines, _ = decode(capsys, path, "--numbers", "--width", "200")
    assert [line.split()[0] for line in lines[1:4]] == ["1", "2", "3"]


def test_one_packet_in_full(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines, _ = decode(capsys, path, "--packet", "1")
    assert lines[0].startswith("packet 1: ")
    assert "checksum: right" in "\n".join(lines)
    assert any(line.startswith("INIT at byte 12: ") for line in lines)
    assert any(line.startswith("  initial TSN: ") for line in lines)
    lines, _ = decode(capsys, path, "--packet", "5")
    assert any("hello" in line and "68 65 6c 6c 6f" in line for line in lines)
    _, err = decode(capsys, path, "--packet", "11", code=1)
    assert err == f"rtcsctp: there is no packet 11 in {path}, which has 10\n"


def test_cut_captures_say_where_and_show_what_was_before(
    path: Path, capture: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, _ = decode(capsys, path)
    for size in range(0, len(capture), 7):
        path.write_bytes(capture[:size])
        code = main(["decode", str(path)])
        captured = capsys.readouterr()
        lines = captured.out.splitlines()
        assert lines == whole[: len(lines)]
        assert "Traceback" not in captured.err
        if code:
            assert captured.err.startswith(f"rtcsctp: {path}: ") or "no SCTP" in captured.err
            assert captured.err.count("\n") == 1
        if lines and code:
            assert "(at byte " in captured.err
            assert ", after " in captured.err


def test_damage_in_the_middle(
    path: Path, capture: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    at = capture.index(b"hello") - 60
    block = capture.rindex(bytes([6, 0, 0, 0]), 0, at)
    path.write_bytes(capture[: block + 4] + b"\xff\xff\xff\x7f" + capture[block + 8 :])
    lines, err = decode(capsys, path, code=1)
    assert len(lines) > 3
    assert f"cannot be 2147483647 bytes long (at byte {block + 4}), after " in err


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "there is nothing in it (at byte 0)"),
        (b"\x7fELF\0\0\0", "neither a pcapng nor a pcap file: it begins with 7f 45 4c 46"),
        (b"hello\n", "line 1: 'h' is not a hexadecimal digit (at byte 0)"),
        (b"# nothing\n", "no SCTP in "),
    ],
)
def test_files_that_are_no_captures(
    path: Path, content: bytes, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_bytes(content)
    lines, err = decode(capsys, path, code=1)
    assert lines == []
    assert complaint in err


def test_files_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "missing"
    _, err = decode(capsys, missing, code=1)
    assert err == f"rtcsctp: cannot read {missing}: No such file or directory\n"
    _, err = decode(capsys, tmp_path, code=1)
    assert err == f"rtcsctp: cannot read {tmp_path}: Is a directory\n"


class _Stdin:
    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


def test_standard_input_and_hexadecimal_text(
    capture: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", _Stdin(capture))
    lines, _ = decode(capsys, "-", "--width", "200")
    assert len(lines) == 11
    text = b"> 1388 1388 00000001 00000000 0b000004\n< 1388 1388 00000001 12345678 0b000040\n"
    monkeypatch.setattr(sys, "stdin", _Stdin(text))
    lines, _ = decode(capsys, "-", "--width", "120")
    assert "COOKIE ACK ──" in lines[1]
    assert "◀" in lines[2]
    assert "COOKIE ACK has 64 bytes, and 4 of them are there" in lines[2]
    assert "wrong checksum" in "".join(lines[2:])
    monkeypatch.setattr(sys, "stdin", None)
    _, err = decode(capsys, "-", code=1)
    assert "cannot read standard input: it is closed" in err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["x", "--chunk", "DATTA"], "argument --chunk: 'DATTA' is no chunk; there are: ABORT, "),
        (["x", "--packet", "0"], "argument --packet: 0 is out of range"),
        (["x", "--udp-port", "70000"], "argument --udp-port: 70000 is out of range"),
        (["x", "--link-type", "token-ring"], "argument --link-type: invalid choice"),
        (["x", "--start", "-1"], "argument --start: -1 seconds: a time cannot be negative"),
        ([], "required: FILE"),
    ],
)
def test_wrong_words(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["decode", *words])
    assert caught.value.code == 2
    assert complaint in capsys.readouterr().err
