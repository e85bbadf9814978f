"""How the project is tested, checked and measured: `nox -l` lists the sessions.

Every session uses the interpreter that runs nox (Python 3.11 or newer) and an environment of its
own, in which the project is installed as a user would have it, not imported from this folder.
"""

from __future__ import annotations

import shutil
from itertools import takewhile
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"  # nox.project.dependency_groups
nox.options.default_venv_backend = "venv"
nox.options.sessions = ["tests", "lint", "types"]

PYPROJECT = nox.project.load_toml("pyproject.toml")
SIDE_BY_SIDE = ["-n", "2", "--dist", "loadgroup"]
IS_COMPILED = """
import sys
from rtcsctp.sctp.tx import sender
sys.exit(sender.__file__.endswith(".py") and "the build was not compiled" or 0)
"""
CHECKED = ["rtcsctp", "tests", "benchmarks", "noxfile.py"]


def install(session: nox.Session, *groups: str, project: bool = True) -> None:
    """Installs dependency groups of pyproject.toml and, if wanted, the project itself."""
    # Not `pip install --group`: the pip that Python 3.11 brings into a new venv is too old for it.
    packages = nox.project.dependency_groups(PYPROJECT, *groups)
    session.install(*packages, *(["."] if project else []))


@nox.session
def tests(session: nox.Session) -> None:
    """All tests, in two processes: the interop tests, which mostly wait, and the others.

    Arguments after `--` go to pytest.
    """
    install(session, "test")
    session.run("pytest", *SIDE_BY_SIDE, *session.posargs)


@nox.session
def compiled(session: nox.Session) -> None:
    """Tests on the build with compiled modules, and its speed beside that of the pure one.

    Arguments after `--` go to pytest; without any, all tests but those with real peers run.
    """
    install(session, "test", "types", project=False)
    # The compiler puts its libraries beside the sources, so it gets a copy of them.
    copy = Path(session.create_tmp()).resolve() / "source"
    shutil.rmtree(copy, ignore_errors=True)
    tracked = session.run("git", "ls-files", external=True, silent=True)
    for name in str(tracked).splitlines():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, copy / name)
    shutil.copytree(copy / "rtcsctp", copy / "pure" / "rtcsctp")
    session.install(str(copy), env={"HATCH_BUILD_HOOK_ENABLE_MYPYC": "1"})
    session.run("python", "-P", "-c", IS_COMPILED)  # not from this folder
    chosen = session.posargs or ["--ignore=tests/interop", "-n", "2"]
    session.run("pytest", *chosen)
    pure = str(copy / "pure")
    for label, path in (("compiled", ""), ("pure", pure)):
        session.log(f"benchmarks/core.py, {label}")
        program = str(Path("benchmarks", "core.py"))
        session.run("python", program, "--quick", env={"PYTHONPATH": path})
    chosen = ["--stacks", "rtcsctp,rtcsctp-pure", "--rows", "bulk,small,ping,task,setup"]
    program = str(Path("benchmarks", "peers.py"))
    session.run("python", program, "--quick", *chosen, env={"RTCSCTP_BENCHMARK_PURE": pure})


@nox.session
def lint(session: nox.Session) -> None:
    """Style, and the direction of imports."""
    install(session, "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", "--no-cache")


@nox.session
def types(session: nox.Session) -> None:
    """The strict type check of everything."""
    install(session, "types")
    session.run("mypy", "--strict", *CHECKED)


@nox.session
def trio_typing(session: nox.Session) -> None:
    """A program that uses our public names type-checks where trio-typing is still installed.

    The stub files of trio-typing shadow Trio's own annotations, and its mypy plugin stopped with
    mypy 1.10: later ones crash with it. So there are two kinds of such users: those with a present
    mypy and without the plugin, and those who keep an old mypy for the plugin's sake.
    """
    session.install("trio-typing==0.10.0", ".")
    # Away from this folder: mypy must find the installed rtcsctp, and none of our settings.
    folder = Path(session.create_tmp()).resolve()
    shutil.copy(Path("tests", "typing", "consumer.py"), folder)
    for mypy, plugin in [("mypy>=2", ""), ("mypy<1.11", "plugins = trio_typing.plugin\n")]:
        (folder / "mypy.ini").write_text("[mypy]\nstrict = true\n" + plugin, encoding="utf-8")
        session.install(mypy)
        with session.chdir(folder):
            session.run("mypy", "--version")
            session.run("mypy", "--config-file", "mypy.ini", "consumer.py")


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Speed: beside other stacks, as work grows, and of the core alone; all of them quick.

    Arguments name programs of benchmarks/ to run instead, followed by options for each of them:
    `nox -s benchmarks -- peers associations --quick`. With arguments, only --quick makes it quick.
    """
    install(session, "benchmarks")
    names = list(takewhile(lambda word: not word.startswith("-"), session.posargs))
    options = session.posargs[len(names) :]
    if not session.posargs:
        options = ["--quick"]
    for name in names or ("peers", "growth", "core"):
        session.run("python", str(Path("benchmarks", f"{name}.py")), *options)
