"""Network namespaces as hosts on a wire, for peers that must not share one network stack.

`open_hosts(2)` gives two hosts joined by a veth pair; with more of them there is a switch (a bridge
in a namespace of its own). Each host has loopback, one interface `eth0` with an IPv4 and an IPv6
unique local address, and a default route through its neighbour: Chromium takes its addresses from
the interface of the default route, and gathers nothing without one. Nothing is forwarded, and the
machine's own network cannot be reached. Multicast passes, so mDNS names resolve across.

The namespaces have no names, hence none that could clash or be left behind: an open file
descriptor of this process and the processes inside keep one alive, and the kernel removes it, with
its interfaces, after the last of them, however that ended. All hosts of all test runs therefore
use the same addresses.

Three ways into a host:

- `host.command("turnserver", …)` is an argument list that runs a program in it;
- `await inside(host, function)` calls a function on a thread of its own that has moved there;
  sockets stay in the namespace in which they were made, also when used elsewhere;
- `await run_inside(host, async_function)` is `trio.run` on such a thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import attrs
import trio

from .requirements import require

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
OWN_NAMESPACE = "/proc/thread-self/ns/net"

#: Duplicate address detection keeps an IPv6 address unusable for a second or two; nobody else is on
#: these wires.
ACCEPT_DAD = (
    "/proc/sys/net/ipv6/conf/all/accept_dad",
    "/proc/sys/net/ipv6/conf/default/accept_dad",
)


class NamespaceError(Exception):
    """A namespace could not be made or set up."""


@attrs.frozen(kw_only=True)
class Host:
    """A network namespace that looks like a host, with its addresses."""

    name: str
    ipv4: str
    ipv6: str
    descriptor: int = attrs.field(repr=False)
    #: Where the switch is, if there is one.
    switch: str | None = attrs.field(default=None, repr=False)

    @property
    def path(self) -> str:
        """Where other processes find the namespace, as long as it is open here."""
        return _path(self.descriptor)

    def command(self, *words: str) -> list[str]:
        """The argument list that runs this program in the namespace."""
        return ["nsenter", f"--net={self.path}", "--", *words]

    async def run(self, *words: str) -> str:
        """Run a program in the namespace to its end; what it printed.

        Raises NamespaceError if it fails.
        """
        return await _run(self.command(*words))

    async def set_connected(self, connected: bool) -> None:
        """Plug the host's cable in or out. Its addresses stay; the default routes come back."""
        await self.run("ip", "link", "set", "eth0", "up" if connected else "down")
        if connected:
            await _batch(self.path, _addresses(self))
            await _wait_ready(self)


def _path(descriptor: int) -> str:
    return f"/proc/{os.getpid()}/fd/{descriptor}"


def _addresses(host: Host) -> str:
    """Commands for `ip -batch`: what a link loses when it goes down, and how it is made."""
    gateway = "1" if host.name != "host1" else "2"
    return (
        f"address replace {host.ipv4}/24 dev eth0\n"
        f"address replace {host.ipv6}/64 dev eth0 nodad\n"
        f"route replace default via 10.77.0.{gateway} dev eth0\n"
        f"route replace default via fd77:7e57::{gateway} dev eth0\n"
    )


async def _run(words: list[str], stdin: str = "") -> str:
    done = await trio.run_process(
        words, stdin=stdin.encode(), capture_stdout=True, capture_stderr=True, check=False
    )
    if done.returncode != 0:
        raise NamespaceError(
            f"{' '.join(words)} failed:\n{done.stderr.decode(errors='replace')}\n{stdin}"
        )
    return done.stdout.decode(errors="replace")


# --------------------------------------------------------------------------- threads


def _libc(function: str, *arguments: int) -> None:
    # os.unshare and os.setns came with Python 3.12.
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{function}: {os.strerror(error)}")


async def _on_fresh_thread(function: Callable[[], T]) -> T:
    """Like `trio.to_thread.run_sync`, but the thread is used by nobody else before or after."""
    token = trio.lowlevel.current_trio_token()
    done = trio.Event()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="namespace") as executor:
        future = executor.submit(function)
        future.add_done_callback(lambda _: token.run_sync_soon(done.set))
        with trio.CancelScope(shield=True):
            await done.wait()
        return future.result()


async def inside(host: Host, function: Callable[[], T]) -> T:
    """What the function returns, called on a fresh thread in this namespace.

    It cannot be cancelled: the function has to end by itself.
    """

    def enter_and_call() -> T:
        _libc("setns", host.descriptor, CLONE_NEWNET)
        return function()

    return await _on_fresh_thread(enter_and_call)


async def run_inside(host: Host, program: Callable[[], Awaitable[T]]) -> T:
    """Run a Trio program of its own in this namespace; cancelling this call cancels it."""
    scope = trio.CancelScope()
    tokens: list[trio.lowlevel.TrioToken] = []
    outcomes: list[T] = []
    cancelled = threading.Event()

    async def main() -> None:
        tokens.append(trio.lowlevel.current_trio_token())
        if cancelled.is_set():
            return
        with scope:
            outcomes.append(await program())

    async def pass_cancellation_on() -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()
            if tokens:
                with contextlib.suppress(trio.RunFinishedError):
                    tokens[0].run_sync_soon(scope.cancel)

    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pass_cancellation_on)
        try:
            await inside(host, functools.partial(trio.run, main))
        except Exception as error:  # raised below, without the nursery's group
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    await trio.lowlevel.checkpoint_if_cancelled()
    return outcomes[0]


# --------------------------------------------------------------------------- hosts


def _new_namespace() -> int:
    _libc("unshare", CLONE_NEWNET)
    for path in ACCEPT_DAD:
        try:
            Path(path).write_text("0", encoding="ascii")
        except OSError:  # read-only in some containers, absent without IPv6: then it takes longer
            continue
    return os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)


@functools.cache
def missing() -> str | None:
    """Why there can be no namespaces here, or None."""
    if sys.platform != "linux":
        return "network namespaces are a thing of Linux"
    for program in ("ip", "nsenter"):
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian: iproute2, util-linux)"
    test = subprocess.run(
        ["unshare", "--net", "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1"],
        capture_output=True,
        text=True,
        check=False,
    )
    if test.returncode != 0:
        return f"network namespaces need root and veth interfaces: {test.stderr.strip()}"
    return None


def require_namespaces() -> None:
    """Skip or fail the test where namespaces cannot be made."""
    require(missing())


@contextlib.asynccontextmanager
async def open_hosts(count: int = 2) -> AsyncIterator[list[Host]]:
    """So many hosts on one wire, named host1, host2, … Raises NamespaceError.

    Processes in them should have ended before this context does; if one has not, its host lives
    on until it does.
    """
    descriptors: list[int] = []

    async def new() -> int:
        descriptors.append(await _on_fresh_thread(_new_namespace))
        return descriptors[-1]

    try:
        switch = _path(await new()) if count > 2 else None
        hosts = [
            Host(
                name=f"host{number}",
                ipv4=f"10.77.0.{number}",
                ipv6=f"fd77:7e57::{number}",
                descriptor=await new(),
                switch=switch,
            )
            for number in range(1, count + 1)
        ]
        if count == 2:
            peer = f"peer name eth0 netns {hosts[1].path}"
            await _batch(hosts[0].path, f"link add eth0 type veth {peer}\n")
        elif switch is not None:
            await _plug_into_switch(hosts, switch)
        for host in hosts:
            own = "link set lo up\n" + ("link set eth0 up\n" if count > 1 else "")
            await _batch(host.path, own)
        if count > 1:
            for host in hosts:
                await _batch(host.path, _addresses(host))
            for host in hosts:
                await _wait_ready(host)
        yield hosts
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


async def _plug_into_switch(hosts: list[Host], switch: str) -> None:
    # A new port of a bridge passes nothing for `forward_delay`, also without spanning tree.
    lines = ["link add br0 type bridge forward_delay 0 mcast_snooping 0", "link set br0 up"]
    for host in hosts:
        lines += [
            f"link add {host.name} type veth peer name eth0 netns {host.path}",
            f"link set {host.name} master br0 up",
        ]
    await _batch(switch, "\n".join(lines) + "\n")


async def _wait_ready(host: Host) -> None:
    """Wait until the kernel has noticed that both ends of the cable are up.

    It does so in its own time, and drops what is sent before.
    """
    links = ""
    with trio.move_on_after(10):
        while True:
            paths = [host.path] if host.switch is None else [host.path, host.switch]
            show = ("--", "ip", "-details", "-oneline", "link", "show", "up")
            links = "".join([await _run(["nsenter", f"--net={path}", *show]) for path in paths])
            if all(_passes_packets(link) for link in links.splitlines()):
                return
            await trio.sleep(0.02)
    raise NamespaceError(f"the network of {host.name} does not come up:\n{links}")


def _passes_packets(link: str) -> bool:
    if " lo: " in link or "LOWER_UP" not in link:  # the latter: its other end was unplugged
        return True
    is_blocked_port = "bridge_slave " in link and "bridge_slave state forwarding" not in link
    return " state UP " in link and " qdisc noop " not in link and not is_blocked_port


async def _batch(path: str, commands: str) -> None:
    await _run(["nsenter", f"--net={path}", "--", "ip", "-batch", "-"], commands)
