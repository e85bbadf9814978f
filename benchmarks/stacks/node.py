"""Packages for Node.js, in a folder of the user's cache.

The folder is the one that RTCSCTP_BENCHMARK_PEERS names, else `rtcsctp-benchmarks` in the user's
cache. npm fills it when it is first needed, and anew when `package.json` beside this file has
changed; versions in there are exact.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

MANIFEST = Path(__file__).with_name("package.json")
PATIENCE = 280.0  # seconds for npm

NPM_OPTIONS = (
    "--omit=dev",
    "--ignore-scripts",
    "--no-package-lock",
    "--no-audit",
    "--no-fund",
    "--prefer-offline",
    "--fetch-retries=1",  # with more, it takes minutes to find out that there is no network
    "--fetch-retry-mintimeout=2000",
)


class MissingError(Exception):
    """A stack cannot be had here; the message says why."""


def program(name: str) -> str:
    """The path of node or npm; wheels put them beside Python."""
    found = shutil.which(name, path=Path(sys.executable).parent) or shutil.which(name)
    if found is None:
        raise MissingError(f"{name} is not installed")
    return found


@functools.cache
def packages() -> Path:
    """The folder with `node_modules`; raises MissingError."""
    folder = _folder()
    manifest = MANIFEST.read_bytes()
    digest = hashlib.sha256(manifest).hexdigest()
    stamp = folder / "installed"
    if not stamp.exists() or stamp.read_text(encoding="ascii") != digest:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / MANIFEST.name).write_bytes(manifest)
        _install(folder)
        stamp.write_text(digest, encoding="ascii")
    return folder


def _folder() -> Path:
    if named := os.environ.get("RTCSCTP_BENCHMARK_PEERS"):
        return Path(named).absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "rtcsctp-benchmarks")


def _install(folder: Path) -> None:
    npm = program("npm")
    path = f"{Path(npm).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    print("npm installs node-datachannel …", file=sys.stderr)
    try:
        done = subprocess.run(
            (npm, "install", *NPM_OPTIONS),
            cwd=folder,
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise MissingError(f"npm took more than {PATIENCE:.0f} s") from error
    if done.returncode:
        raise MissingError(f"npm failed: {(done.stderr or done.stdout).strip()[-500:]}")
