"""The peers of the interop tests, and how each is asked for its version.

What is asked is what the tests run: the program on PATH, the built binary, the installed package.
"""

from __future__ import annotations

import functools
import json
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from .firefox import PROGRAMS
from .stacks import STACKS, Stack


class VersionError(Exception):
    """A peer does not tell its version."""


def _say(*words: str, folder: Path | None = None) -> str:
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=60, check=True, cwd=folder
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise VersionError(f"`{' '.join(words)}`: {error}") from error
    return done.stdout


def _number(text: str, pattern: str = r"(\d+(?:\.\d+)+\w*)") -> str:
    found = re.search(pattern, text, flags=re.MULTILINE)
    if found is None:
        raise VersionError(f"no version in {text[:200]!r}")
    return found[1]


@functools.cache
def _distribution() -> str:
    """Whose packages these are, " (Debian 12)"; nothing where the system does not say."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return ""
    name = release["NAME"].removesuffix(" GNU/Linux")
    return f" ({name} {release.get('VERSION_ID', '')})".replace(" )", ")")


def _chromium() -> str:
    return _number(_say("chromium", "--version")) + _distribution()


def _firefox() -> str:
    program = next(filter(shutil.which, PROGRAMS), PROGRAMS[0])
    number = _number(_say(program, "--version"))
    long_lived = number.endswith("esr")
    return ("ESR " if long_lived else "") + number.removesuffix("esr") + _distribution()


def _coturn() -> str:
    return _number(_say("turnserver", "--version")) + _distribution()


def _usrsctp() -> str:
    return _number(_say("pkg-config", "--modversion", "usrsctp")) + _distribution()


def _aiortc() -> str:
    return _number(_say(sys.executable, "-c", "import aiortc; print(aiortc.__version__)"))


def _package(stack: Stack, name: str) -> tuple[str, Path]:
    """The version of a package that a stack on Node.js runs, and the folder that it is in."""
    folder = Path(stack.environment["RTCSCTP_INTEROP_NODE"])
    manifest = folder / "node_modules" / name / "package.json"
    return str(json.loads(manifest.read_text(encoding="utf-8"))["version"]), folder


def _libdatachannel() -> str:
    stack = STACKS["libdatachannel"]()
    version, folder = _package(stack, "node-datachannel")
    ask = 'console.log(require("node-datachannel").getLibraryVersion())'
    library = _number(_say(stack.command[0], "-e", ask, folder=folder))
    return f"{library} (node-datachannel {version})"


def _werift() -> str:
    return _package(STACKS["werift"](), "werift")[0]


def _pion() -> str:
    built = _say("go", "version", "-m", STACKS["pion"]().command[0])
    webrtc, sctp = (
        _number(built, rf"^\s+dep\s+github\.com/pion/{name}\s+v(\S+)")
        for name in ("webrtc/v\\d+", "sctp")
    )
    return f"{webrtc} (sctp {sctp})"


#: How each peer is asked, by the name under which tests meet it.
VERSIONS: dict[str, Callable[[], str]] = {
    "Chromium": _chromium,
    "Firefox": _firefox,
    "aiortc": _aiortc,
    "libdatachannel": _libdatachannel,
    "pion": _pion,
    "werift": _werift,
    "coturn": _coturn,
    "usrsctp": _usrsctp,
}


@functools.cache
def version(peer: str) -> str:
    """The version of a peer of this computer; "" where it is not there, or does not say."""
    try:
        return VERSIONS[peer]()
    except Exception as error:
        print(f"the version of {peer} is not known: {error}", file=sys.stderr)  # noqa: T201
        return ""
