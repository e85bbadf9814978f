"""The package as a user meets it: what is installed, under which names, with which documents."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Sequence
from importlib import metadata, resources
from pathlib import Path

import pytest

import rtcsctp

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def run(arguments: Sequence[str | Path], cwd: Path) -> subprocess.CompletedProcess[str]:
    # Under the warnings filter of a user, not that of this test run.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    return subprocess.run(
        [str(argument) for argument in arguments],
        cwd=cwd,
        env=environment | {"PYTHONIOENCODING": "utf-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def readme_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)


def test_version_is_that_of_the_installed_distribution() -> None:
    assert metadata.version("rtcsctp") == rtcsctp.__version__


def test_type_annotations_are_announced() -> None:
    assert resources.files("rtcsctp").joinpath("py.typed").is_file()


def test_every_public_name_exists_once() -> None:
    assert len(rtcsctp.__all__) == len(set(rtcsctp.__all__))
    for name in rtcsctp.__all__:
        assert hasattr(rtcsctp, name), name


def test_map_in_the_docstring_names_every_folder() -> None:
    package = Path(rtcsctp.__file__).parent
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    mapped = re.findall(r"^    (\w+)/ ", rtcsctp.__doc__ or "", flags=re.MULTILINE)
    assert sorted(mapped) == sorted(folders)


@pytest.mark.parametrize(
    "folder",
    [
        "cli/transfer",
        "datachannel",
        "dtls",
        "examples",
        "http",
        "ice",
        "runtime",
        "sdp",
        "sync",
        "testing",
    ],
)
def test_map_of_a_folder_names_every_file(folder: str) -> None:
    path = Path(rtcsctp.__file__).parent / folder
    files = {file.name for file in path.glob("*.py")} - {"__init__.py"}
    mapped = re.findall(r"\b(\w+\.py)\b", (path / "__init__.py").read_text(encoding="utf-8"))
    assert sorted(mapped) == sorted(files)


def test_run_time_dependencies_are_few() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {re.split(r"[<>=!~ ;\[]", requirement)[0] for requirement in project["dependencies"]}
    assert names == {"attrs", "dnspython", "google-crc32c", "ifaddr", "pyopenssl", "trio"}


def test_python_m_rtcsctp_is_the_command(tmp_path: Path) -> None:
    result = run([sys.executable, "-m", "rtcsctp", "--help"], tmp_path)
    assert result.returncode == 0, result.stderr
    assert "usage: rtcsctp" in result.stdout
    assert "demo" in result.stdout
    assert "sctp" in result.stdout


def test_console_script_is_installed(tmp_path: Path) -> None:
    (entry,) = metadata.entry_points(group="console_scripts", name="rtcsctp")
    assert entry.value == "rtcsctp.cli.main:main"
    script = Path(sysconfig.get_path("scripts"), "rtcsctp")
    result = run([script, "--version"], tmp_path)
    assert result.returncode == 0, result.stderr
    assert rtcsctp.__version__ in result.stdout


@pytest.mark.parametrize("arguments", [["no-such-command"], ["sctp", "send", "--no-such-option"]])
def test_wrong_command_line_is_refused_without_a_traceback(
    arguments: list[str], tmp_path: Path
) -> None:
    result = run([sys.executable, "-m", "rtcsctp", *arguments], tmp_path)
    assert result.returncode == 2
    assert "usage:" in result.stderr
    assert "Traceback" not in result.stderr


def test_readme_opens_with_the_two_commands() -> None:
    commands = [line for block in readme_blocks("sh")[:2] for line in block.splitlines()]
    assert commands == ["pip install . && rtcsctp demo", "pip install nox && nox -s tests"]


def test_readme_examples_of_programs_run(tmp_path: Path) -> None:
    printed = []
    whole = ("trio.run(", "import PeerConfig, sync")
    blocks = [block for block in readme_blocks("python") if any(text in block for text in whole)]
    for program in blocks:
        path = tmp_path / "program.py"
        path.write_text(program, encoding="utf-8")
        result = run([sys.executable, "-W", "error", path], tmp_path)
        assert result.returncode == 0, result.stderr
        printed.append(result.stdout)
    assert printed == ["HELLO\n", "chat hello\n", "chat hello\n", "b'HELLO'\n"]


def test_readme_example_of_a_test_passes(tmp_path: Path) -> None:
    (example,) = [block for block in readme_blocks("python") if "def test_" in block]
    # It and the programs of the test above are all that there are.
    assert len(readme_blocks("python")) == 5
    path = tmp_path / "test_example.py"
    path.write_text(example, encoding="utf-8")
    config = tmp_path / "pytest.ini"
    config.write_text("[pytest]\ntrio_mode = true\n", encoding="utf-8")
    result = run([sys.executable, "-m", "pytest", "-c", config, path], tmp_path)
    assert result.returncode == 0, result.stdout


def test_what_the_readme_says_of_other_stacks_has_sources() -> None:
    section = README.partition("## Beside other stacks\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    table = [line.strip("|").split("|") for line in lines[2:]]
    assert len(table) > 20
    cited = set()
    for feature, _, *others in table:
        for stack, cell in zip("ALP", others, strict=True):
            sources = re.findall(r"\[([A-Z]\d+)\]", cell)
            assert sources or cell.strip() == "not found", (feature, cell)
            assert {source[0] for source in sources} <= {stack, "U"}, (feature, cell)
            cited |= set(sources)
    defined = re.findall(r"^\[([A-Z]\d+)\]: https://\S+$", README, flags=re.MULTILINE)
    assert sorted(defined) == sorted(cited)


#: RFCs that the code cites for a word or a reason, and whose matter it does not implement.
ONLY_CITED = {"1122", "2104", "3465", "4122", "5245", "5246", "5766", "6458"}


def test_the_readme_says_where_each_rfc_lives_and_it_is_there() -> None:
    section = README.partition("| RFC | what | where |\n|---|---|---|\n")[2].partition("\n\n")[0]
    listed: set[str] = set()
    for line in section.splitlines():
        rfcs, _, where = line.strip("|").split("|")
        files: list[Path] = []
        for path in re.findall(r"`([\w/.]+)`", where):
            files += (ROOT / path).rglob("*.py") if path.endswith("/") else [ROOT / path]
        text = " ".join(" ".join(file.read_text(encoding="utf-8").split()) for file in files)
        numbers = set(re.findall(r"\b(\d{4})\b", rfcs))
        assert numbers, line
        missing = {number for number in numbers if f"RFC {number}" not in text}
        assert not missing, line
        listed |= numbers
    cited = {
        number
        for file in (ROOT / "rtcsctp").rglob("*.py")
        for number in re.findall(r"RFC (\d{4})", file.read_text(encoding="utf-8"))
    }
    assert cited - listed == ONLY_CITED


def test_paths_in_the_readme_exist() -> None:
    paths = re.findall(r"`((?:rtcsctp|tests|benchmarks)/[\w/.-]*)`", README)
    assert paths
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert missing == []
