"""Peers on WebRTC stacks that are not written in Python: libdatachannel, werift, and pion.

Each is a program beside this file that speaks the vocabulary of `webrtc.py`. The first two run on
Node.js (npm installs the packages of `node/package.json`), pion on Go (`go build` in `pion/`).

What npm and go make lives in a folder of its own: the one that RTCSCTP_INTEROP_PEERS names, else
`rtcsctp-interop` in the user's cache. It is made when a test first needs it, and made anew when the
sources named above have changed; `python -m tests.interop.stacks` does the same beforehand, say on
a machine that has no network later. The versions are exact, in package.json and in go.mod.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from .namespaces import Host
from .peer_process import PeerProcess
from .requirements import meets, require

SOURCES = Path(__file__).parent
#: How long npm or go may take, in seconds: they load packages, and go compiles them.
PATIENCE = 280.0


class BuildError(Exception):
    """What a peer needs is not there, and could not be made."""


# --------------------------------------------------------------------------- for tests


@attrs.frozen(kw_only=True)
class Stack:
    """A WebRTC stack and the program that is a peer on it."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = attrs.field(factory=dict)


class StackPeer(PeerProcess):
    """Such a program, running, in a namespace if one is given."""

    def __init__(self, stack: Stack, host: Host | None = None) -> None:
        super().__init__(
            stack.command,
            name=stack.name if host is None else f"{stack.name} on {host.name}",
            host=host,
            environment=stack.environment,
        )

    async def _wait_ready(self) -> None:
        await self.expect("ready", within=60)


def require_stack(name: str) -> Stack:
    """The stack of this name; skips or fails the test where it cannot be had."""
    meets(name)
    found = _stack(name)
    if isinstance(found, Stack):
        return found
    require(found)
    raise AssertionError


@functools.cache
def _stack(name: str) -> Stack | str:
    """The stack, or why it cannot be had. Made once; also what failed is not tried again."""
    try:
        return STACKS[name]()
    except (BuildError, OSError) as error:
        return f"{name}: {error}"


# --------------------------------------------------------------------------- making them


def _folder() -> Path:
    named = os.environ.get("RTCSCTP_INTEROP_PEERS")
    if named:
        return Path(named).absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "rtcsctp-interop")


def _program(name: str) -> str:
    # Beside this Python first: wheels bring node and go too.
    found = shutil.which(name, path=Path(sys.executable).parent) or shutil.which(name)
    if found is None:
        raise BuildError(f"{name} is not installed")
    return found


def _run(*words: str, folder: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(words[0]).parent}:{os.environ.get('PATH', '')}"}
    try:
        done = subprocess.run(
            words,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"`{' '.join(words)}` took more than {PATIENCE} s") from error
    if done.returncode != 0:
        raise BuildError(f"`{' '.join(words)}` failed: {done.stdout[-2000:].strip()}")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Test runs that go on at the same time take turns."""
    folder.mkdir(parents=True, exist_ok=True)
    with Path(folder, "lock").open("w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _made(name: str, sources: list[Path], make: Callable[[Path], None]) -> Path:
    """The folder of this name, with what `make` puts there; anew if the sources have changed."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    folder = _folder() / name
    stamp = folder / "sources.sha256"
    with _locked(_folder()):
        if not stamp.exists() or stamp.read_text(encoding="ascii") != digest:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            stamp.write_text(digest, encoding="ascii")
    return folder


@functools.cache
def _node_packages() -> Path | str:
    """The folder with both packages for Node.js, or why there is none; what failed stays so."""
    manifest = SOURCES / "node" / "package.json"

    def install(folder: Path) -> None:
        shutil.copy(manifest, folder)
        what = ("--omit=dev", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund")
        # With its defaults, npm takes minutes to find out that there is no network.
        where = ("--prefer-offline", "--fetch-retries=1", "--fetch-retry-mintimeout=2000")
        _run(_program("npm"), "install", *what, *where, folder=folder)

    try:
        return _made("node", [manifest], install)
    except BuildError as error:
        return str(error)


def _node_stack(name: str) -> Stack:
    node, folder = _program("node"), _node_packages()
    if isinstance(folder, str):
        raise BuildError(folder)
    return Stack(
        name=name,
        command=(node, str(SOURCES / f"{name}_peer.mjs")),
        environment={"RTCSCTP_INTEROP_NODE": str(folder)},
    )


def _pion() -> Stack:
    go = _program("go")
    source = SOURCES / "pion"

    def build(folder: Path) -> None:
        _run(go, "build", "-trimpath", "-o", str(folder / "peer"), ".", folder=source)

    folder = _made("pion", sorted(source.iterdir()), build)
    return Stack(name="pion", command=(str(folder / "peer"),))


STACKS: dict[str, Callable[[], Stack]] = {
    "libdatachannel": functools.partial(_node_stack, "libdatachannel"),
    "pion": _pion,
    "werift": functools.partial(_node_stack, "werift"),
}


def main() -> None:
    """Make all peers; fails if one cannot be made."""
    failed = [found for name in STACKS if isinstance(found := _stack(name), str)]
    sys.exit("\n".join(failed) if failed else 0)


if __name__ == "__main__":
    main()
