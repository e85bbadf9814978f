"""`rtcsctp sim`: the same options give the same figures, plots and captures."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from rtcsctp.cli.main import main
from rtcsctp.testing import read_pcapng_untrusted


def sim(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> tuple[str, str]:
    assert main(["sim", "--size", "300kB", *map(str, words)]) == code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.out, captured.err


def test_summary(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = sim(capsys, "--rate", "4Mbit/s", "--rtt", "20ms", "--loss", "2%", "--seed", "3")
    rows = dict(re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in out.splitlines())
    assert rows["link"] == "4.00 Mbit/s, 20 ms, loss 2 %, queue 19.2 kB, bbr"
    assert rows["delivered"].startswith("300 kB in ")
    assert re.fullmatch(r"[\d.]+ [kM]bit/s, [\d.]+% of the link", rows["goodput"])
    assert int(rows["lost at random"]) > 0
    assert re.fullmatch(r"\d+ of \d+ \([\d.]+%\), \d+ needlessly", rows["chunks sent again"])
    assert rows["queue"].startswith("mean ")
    assert float(rows["round-trip time"].split()[1]) >= 20
    assert "simulating  100 %" in err


def test_the_seed_decides(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--loss", "5%", "--rate", "8M", "--rtt", "10ms", "--size", "100kB"]
    first, again = (sim(capsys, *words, "--seed", "1")[0] for _ in range(2))
    assert first == again
    assert sim(capsys, *words, "--seed", "2")[0] != first


@pytest.mark.parametrize("controller", ["cubic", "bbr", "ledbat"])
def test_controllers_and_a_time(controller: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--time", "1s", "--controller", controller, "--queue", "0.5bdp", "--rate", "1Mbit"]
    assert main(["sim", *words]) == 0
    out = capsys.readouterr().out
    assert f", {controller}\n" in out
    assert " in 1.0 s\n" in out


def test_capture_is_the_same_each_time_and_can_be_decoded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / "one", tmp_path / "two"]
    for path in paths:
        sim(capsys, "--size", "20kB", "--pcap", path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert len(list(read_pcapng_untrusted(paths[0]))) > 20
    assert main(["decode", str(paths[0]), "--limit", "4"]) == 0
    assert "COOKIE ACK" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("suffix", "magic"), [(".png", b"\x89PNG\r\n\x1a\n"), (".pdf", b"%PDF"), (".SVG", b"<?xml")]
)
def test_plot(
    suffix: str, magic: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"plot{suffix}"
    _, err = sim(capsys, "--loss", "3%", "--rtt", "30ms", "--plot", path)
    assert path.read_bytes().startswith(magic)
    assert f"drawn into {path}" in err


def test_plot_without_matplotlib(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    path = tmp_path / "plot.png"
    out, err = sim(capsys, "--plot", path, code=1)
    assert out == ""
    assert err == "rtcsctp: a plot needs matplotlib; install it with: pip install 'rtcsctp[plot]'\n"
    assert not path.exists()


def test_files_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = tmp_path / "missing" / "x.png"
    _, err = sim(capsys, "--pcap", nowhere, code=1)
    assert err == f"rtcsctp: cannot write {nowhere}: No such file or directory\n"
    _, err = sim(capsys, "--plot", nowhere, "--size", "1kB", code=1)
    assert err.endswith(f"rtcsctp: cannot write {nowhere}: No such file or directory\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_full_disk(capsys: pytest.CaptureFixture[str]) -> None:
    _, err = sim(capsys, "--pcap", "/dev/full", code=1)
    assert err.endswith("rtcsctp: cannot write /dev/full: No space left on device\n")


def test_networks_that_carry_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    _, err = sim(capsys, "--loss", "100%", "--limit", "5s", code=1)
    assert err == "rtcsctp: no connection within 5.0 s of virtual time\n"
    out, err = sim(capsys, "--rate", "10kbit/s", "--limit", "5s", code=1)
    assert "goodput" in out
    assert re.search(r"rtcsctp: only \S+ k?B of 300 kB arrived in 5.0 s of virtual time\n", err)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--rate", "fast"], "argument --rate: 'fast' is not a rate above 0, such as 10Mbit/s"),
        (["--rate", "0"], "argument --rate: '0' is not a rate above 0"),
        (["--rtt", "50"], "argument --rtt: '50' is not a time with its unit, such as 50ms"),
        (["--loss", "2"], "argument --loss: '2' is not a share, such as 1% or 0.01"),
        (["--loss", "101%"], "argument --loss: '101%' is not a share"),
        (["--queue", "0bdp"], "argument --queue: '0bdp' is not a queue, such as 64KiB or 2bdp"),
        (["--queue", "nanbdp"], "argument --queue: 'nanbdp' is not a queue"),
        (["--controller", "reno"], "argument --controller: invalid choice: 'reno'"),
        (["--size", "1MB", "--time", "1s"], "argument --time: not allowed with argument --size"),
        (["--size", "0"], "an SCTP message has at least one byte"),
        (["--mtu", "100"], "argument --mtu: 100 is out of range"),
        (["--plot", "run.txt"], "argument --plot: the name of a plot ends in .png, .svg or .pdf"),
    ],
)
def test_wrong_words(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["sim", *words])
    assert caught.value.code == 2
    assert complaint in capsys.readouterr().err
