"""The harness for Firefox itself: driving it, and that nothing of it is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from . import firefox
from .checks import processes_inside, processes_with
from .firefox import BLANK_URL, Firefox, require_firefox
from .namespaces import Host, open_hosts, require_namespaces
from .peer_process import module_command
from .usrsctp import PeerError

pytestmark = pytest.mark.interop


@pytest.fixture
async def hosts() -> AsyncIterator[list[Host]]:
    require_firefox()
    async with open_hosts() as opened:
        yield opened


async def test_a_page_evaluates_and_tells_its_errors(hosts: list[Host], tmp_path: Path) -> None:
    with trio.fail_after(60):
        async with Firefox(hosts[0]) as browser:
            page = await browser.new_page()
            assert browser.version.startswith("Firefox/")
            function = "async (x, y) => ({sum: x + y.z})"
            assert await page.evaluate(function, 1, {"z": 2}) == {"sum": 3}
            assert await page.evaluate("() => {}") is None
            assert await page.evaluate("() => isSecureContext && location.protocol") == "file:"
            with pytest.raises(PeerError, match="TypeError: no"):
                await page.evaluate("async () => { throw new TypeError('no'); }")
            with pytest.raises(PeerError, match="no connection who, but"):
                await page.call("stats", pc="who")
            with pytest.raises(PeerError, match="ERROR_CONNECTION_REFUSED"):
                await page.goto("http://127.0.0.1:8/")
            await page.goto(BLANK_URL)

            await page.evaluate("() => { console.log('fine'); console.error('bad', 3); }")
            await page.evaluate("() => { setTimeout(() => { throw new Error('late'); }); }")
            await page.evaluate("() => new Promise((resolve) => setTimeout(resolve, 20))")
            assert await page.console() == ["bad 3", "Error: late"]
            assert await page.console() == []

            picture = await page.screenshot(tmp_path / "page.png")
            assert picture.startswith(b"\x89PNG")
            assert (tmp_path / "page.png").read_bytes() == picture


async def test_of_a_browser_nothing_is_left_after_a_failure(hosts: list[Host]) -> None:
    inode = os.fstat(hosts[0].descriptor).st_ino

    async def fail() -> None:
        async with Firefox(hosts[0]) as browser:
            page = await browser.new_page()
            browser.pause()
            with pytest.raises(PeerError, match="did not answer"):
                await page.evaluate("() => 1", within=0.2)
            browser.resume()
            assert await page.evaluate("() => 1") == 1
            assert len(processes_inside(inode)) > 3
            browser.pause()
            raise LookupError

    with trio.fail_after(60), pytest.raises(LookupError):
        await fail()
    # Its files were never visible outside of its own processes.
    assert processes_inside(inode) == [f"/proc/{os.getpid()}/fd/{hosts[0].descriptor}"]


_BROWSE = """
import trio
from {package}.firefox import Firefox
from {package}.namespaces import open_hosts

async def main():
    async with open_hosts(1) as hosts, Firefox(hosts[0]):
        print(flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


async def test_a_browser_does_not_outlive_a_test_process_that_is_killed(tmp_path: Path) -> None:
    require_firefox()
    mark = f"RTCSCTP_TEST={tmp_path}"
    _, folder = module_command("firefox")
    with trio.fail_after(60):
        process = await trio.lowlevel.open_process(
            [sys.executable, "-c", _BROWSE.format(package=__name__.rpartition(".")[0])],
            stdout=subprocess.PIPE,
            env={**os.environ, "RTCSCTP_TEST": str(tmp_path), "TMPDIR": str(tmp_path)},
            cwd=folder,
        )
        try:
            assert process.stdout is not None
            async with process.stdout:
                assert await process.stdout.receive_some(1) == b"\n"
                assert len(processes_with(mark)) > 5
        finally:
            process.kill()
            await process.wait()
        while processes_with(mark):  # noqa: ASYNC110 - it is not our children who end
            await trio.sleep(0.05)
    assert list(await trio.Path(tmp_path).iterdir()) == []


async def test_a_browser_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    require_namespaces()
    monkeypatch.setattr(firefox, "_OWN_PROCESSES", ("sh", "-c", "echo no screen >&2; exit 3"))
    with trio.fail_after(60):
        async with open_hosts(1) as hosts:
            with pytest.raises(PeerError, match=r"exit code: 3\nlog: no screen"):
                async with Firefox(hosts[0]):
                    pass
