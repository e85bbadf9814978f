"""Names of hidden candidates over real multicast: on the loopback interface, and between two
network namespaces."""

from __future__ import annotations

import contextlib
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
import trio

from rtcsctp.ice.mdns import PORT, make_name, make_query, parse_untrusted
from rtcsctp.runtime.mdns import Mdns, open_mdns

LOOPBACK = ["lo", "lo0"]
PATIENCE = 20.0  # seconds of a busy machine; one that is not needs milliseconds


@pytest.fixture(autouse=True)
def needs_multicast() -> None:
    """Skips where the kernel lets nobody into the group on the loopback interface."""
    member = socket.inet_aton("224.0.0.251") + socket.inet_aton("127.0.0.1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
        try:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if hasattr(socket, "SO_REUSEPORT"):
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            trial.bind(("", PORT))
            trial.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        except OSError as problem:
            pytest.skip(f"no multicast on the loopback interface: {problem}")


async def resolve(mdns: Mdns, name: str) -> str:
    with trio.fail_after(PATIENCE):
        return await mdns.resolve(name)


async def test_peers_on_one_computer_find_each_other() -> None:
    async with (
        open_mdns(LOOPBACK, rng=random.Random(1)) as one,
        open_mdns(LOOPBACK, rng=random.Random(2)) as two,
    ):
        first = one.publish("192.0.2.1")
        second = two.publish("2001:DB8::2")
        assert first != second
        assert await resolve(two, first) == "192.0.2.1"
        assert await resolve(one, second) == "2001:db8::2"
        assert await resolve(one, first.upper()) == "192.0.2.1"  # its own, without asking


async def test_many_may_wait_for_one_name() -> None:
    async with open_mdns(LOOPBACK) as one, open_mdns(LOOPBACK) as two:
        name = one.publish("192.0.2.1")
        found: list[str] = []

        async def find() -> None:
            found.append(await resolve(two, name))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(find)
        assert found == ["192.0.2.1"] * 3


async def test_a_name_that_was_withdrawn_is_not_found() -> None:
    async with open_mdns(LOOPBACK) as one, open_mdns(LOOPBACK) as two:
        name, other = one.publish("192.0.2.1"), one.publish("192.0.2.2")
        one.withdraw(name)
        one.withdraw(name)
        async with trio.open_nursery() as nursery:

            async def never() -> None:
                await two.resolve(name)
                raise AssertionError("a withdrawn name was found")

            nursery.start_soon(never)
            # Questions are answered in their order: once this has an answer, that one has none.
            assert await resolve(two, other) == "192.0.2.2"
            nursery.cancel_scope.cancel()


async def test_a_question_from_another_port_is_answered_to_it_alone() -> None:
    # RFC 6762 6.7: "legacy" queriers.
    async with open_mdns(LOOPBACK) as mdns:
        name = mdns.publish("192.0.2.1")
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
            plain.setsockopt(
                socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1")
            )
            await plain.bind(("127.0.0.1", 0))
            await plain.sendto(b"\x12\x34" + make_query(name)[2:], ("224.0.0.251", PORT))
            with trio.fail_after(PATIENCE):
                data, source = await plain.recvfrom(9000)
    assert source[1] == PORT
    message = parse_untrusted(data)
    assert message.id == 0x1234
    assert message.answers[0].address == "192.0.2.1"


async def test_without_port_5353_names_are_found_but_not_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_mdns(LOOPBACK) as one:
        name = one.publish("192.0.2.1")
        real = socket.socket.bind

        def bind(self: socket.socket, address: tuple[str, int]) -> None:
            if address[1] == PORT:
                raise OSError("somebody has it for himself")
            real(self, address)

        monkeypatch.setattr("rtcsctp.runtime.mdns.socket.socket", make_socket_class(bind))
        async with open_mdns(LOOPBACK) as two:
            assert not two.can_publish
            with pytest.raises(OSError, match="5353"):
                two.publish("192.0.2.2")
            assert await resolve(two, name) == "192.0.2.1"


def make_socket_class(bind: object) -> type[socket.socket]:
    return type("Occupied", (socket.socket,), {"bind": bind, "__slots__": ()})


async def test_without_any_interface_there_is_nothing_to_find_or_publish() -> None:
    async with open_mdns([]) as mdns:
        with pytest.raises(OSError, match="5353"):
            mdns.publish("192.0.2.1")
        with trio.move_on_after(0):
            await mdns.resolve(make_name(random.Random(1)))
            raise AssertionError("found in the void")


async def test_only_names_of_candidates_are_asked_for_and_addresses_published() -> None:
    async with open_mdns(LOOPBACK) as mdns:
        for name in ("printer.local", "example.org", "", "a.b.local"):
            with pytest.raises(ValueError, match="hidden candidate"):
                await mdns.resolve(name)
        with pytest.raises(ValueError, match="IP"):
            mdns.publish("example.org")


async def test_garbage_does_no_harm() -> None:
    async with open_mdns(LOOPBACK) as one, open_mdns(LOOPBACK) as two:
        name = one.publish("192.0.2.1")
        rng = random.Random(7)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
            plain.setsockopt(
                socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1")
            )
            for size in (0, 1, 11, 12, 13, 100, 1400):
                plain.sendto(rng.randbytes(size), ("224.0.0.251", PORT))
        assert await resolve(two, name) == "192.0.2.1"


# ------------------------------------------------------------------------- between namespaces

PUBLISHER = """
import trio
from rtcsctp.runtime.mdns import open_mdns

async def main():
    async with open_mdns() as mdns:
        print(mdns.publish("10.99.0.1"), mdns.publish("fd99::1"), flush=True)
        await trio.sleep_forever()

trio.run(main)
"""

RESOLVER = """
import sys, trio
from rtcsctp.runtime.mdns import open_mdns

async def main():
    async with open_mdns() as mdns:
        for name in sys.argv[1:]:
            print(await mdns.resolve(name), flush=True)

trio.run(main)
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=10)


@pytest.fixture
def namespaces() -> Iterator[tuple[str, str]]:
    """Two namespaces with a cable between them."""
    if sys.platform != "linux" or shutil.which("ip") is None:
        pytest.skip("needs the network namespaces of Linux")
    number = random.SystemRandom().randrange(10**6)  # several runs may share the computer
    names = f"mdns-a-{number}", f"mdns-b-{number}"
    with contextlib.ExitStack() as stack:
        try:
            for name in names:
                ip("netns", "add", name)
                stack.callback(ip, "netns", "delete", name)
            cable = ["peer", "name", "eth0", "netns", names[1]]
            ip("link", "add", "eth0", "netns", names[0], "type", "veth", *cable)
        except (OSError, subprocess.SubprocessError) as problem:
            pytest.skip(f"no network namespaces may be made here: {problem}")
        for host, name in enumerate(names, 1):
            ip("-n", name, "address", "add", f"10.99.0.{host}/24", "dev", "eth0")
            ip("-n", name, "address", "add", f"fd99::{host}/64", "dev", "eth0", "nodad")
            ip("-n", name, "link", "set", "eth0", "up")
        yield names


def test_peers_in_two_network_namespaces_find_each_other(namespaces: tuple[str, str]) -> None:
    one, two = namespaces
    publisher = subprocess.Popen(
        ["ip", "netns", "exec", one, sys.executable, "-c", PUBLISHER],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert publisher.stdout is not None
        published = publisher.stdout.readline().split()
        resolver = subprocess.run(
            ["ip", "netns", "exec", two, sys.executable, "-c", RESOLVER, *published],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert resolver.stdout.split() == ["10.99.0.1", "fd99::1"]
    finally:
        publisher.kill()
        publisher.communicate()
