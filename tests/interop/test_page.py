"""The page of `rtcsctp serve`, used by a real browser as a person would: forms and buttons."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from .chromium import Chromium, Page, require_chromium
from .namespaces import open_hosts, require_namespaces
from .peer_process import Child, end_with_stdin
from .requirements import require
from .usrsctp import pattern

pytestmark = pytest.mark.interop

#: Waits in the page until a function gives something that is true, and gives it.
UNTIL = """
const until = async (look, what) => {
  for (let turn = 0; turn < 600; turn++) {
    const found = look();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`no ${what}; the log says: ${document.querySelector("#log").textContent}`);
};
const $ = (selector) => document.querySelector(selector);
"""

KINDS = (
    "reliable",
    "reliable-unordered",
    "retransmits",
    "retransmits-unordered",
    "lifetime",
    "lifetime-unordered",
)


def with_helpers(body: str) -> str:
    return f"async (argument) => {{ {UNTIL} {body} }}"


async def do(page: Page, body: str, argument: Any = None, *, within: float = 40.0) -> Any:
    return await page.evaluate(with_helpers(body), argument, within=within)


@asynccontextmanager
async def page_of_server(folder: Path, offerer: str, *options: str) -> AsyncIterator[Page]:
    """The page of a server on another host, connected by its buttons."""
    require_namespaces()
    require_chromium()
    if any(importlib.util.find_spec(name) is None for name in ("h11", "httpx2")):
        require("the extra rtcsctp[http] is not installed")
    async with open_hosts() as hosts:
        url = f"{hosts[0].ipv4}:8080"
        words = [
            sys.executable,
            "-m",
            "rtcsctp",
            "serve",
            "--http",
            url,
            "--directory",
            str(folder),
        ]
        server = Child(
            end_with_stdin([*words, *options]), name="rtcsctp serve", host=hosts[0], log_output=True
        )
        async with server, Chromium(hosts[1]) as browser:
            with trio.fail_after(30):
                while "listening" not in server.log():
                    assert server.process.poll() is None, server.log()
                    await trio.sleep(0.1)
            page = await browser.new_page(f"http://{url}/")
            await do(
                page,
                """
                $(`[name=offerer][value=${argument}]`).click();
                $("#connect").click();
                await until(() => $("#state").textContent === "connected", "connection");
                await until(() => !$("#opener button").disabled, "channels");
                """,
                offerer,
            )
            yield page
            # Chromium grumbles at downloads from a page that came by plain HTTP, and at refusals
            # that the page knows of: candidates that came late for their session, or its ICE.
            known = re.compile(r"over HTTPS|status of (404|409|412) .*/sessions/")
            errors = [line for line in await page.console() if not known.search(line)]
            assert errors == [], server.log()


@pytest.mark.parametrize(
    ("offerer", "options"),
    [("browser", []), ("server", []), ("browser", ["--lite"]), ("server", ["--lite"])],
)
async def test_console_echoes_over_all_kinds_of_channels(
    tmp_path: Path, offerer: str, options: list[str]
) -> None:
    with trio.fail_after(120):
        async with page_of_server(tmp_path, offerer, *options) as page:
            for kind in KINDS:
                log = await do(
                    page,
                    """
                    $("#opener [name=label]").value = `grüße ${argument}`;
                    $("#opener [name=protocol]").value = "echo";
                    const kind = $("#opener [name=kind]");
                    kind.value = argument;
                    kind.dispatchEvent(new Event("change", {bubbles: true}));
                    const limit = $("#opener [name=limit]");
                    if (!limit.disabled) limit.value = "1000";
                    $("#opener").requestSubmit();
                    const open = `channel “grüße ${argument}” is open`;
                    await until(() => $("#log").textContent.includes(open), "channel");
                    for (const binary of [false, true]) {
                      $("#sender [name=binary]").checked = binary;
                      $("#sender [name=text]").value = `世界 ${argument} ${binary}`;
                      const before = $("#log").children.length;
                      $("#sender").requestSubmit();  // which writes a line, and the echo another
                      await until(() => $("#log").children.length >= before + 2, "echo");
                    }
                    return $("#log").textContent;
                    """,
                    kind,
                )
                assert kind in log
            # ICE restart by its button, and the channel still echoes.
            await do(
                page,
                """
                $("#restart").click();
                await until(() => !$("#restart").disabled, "end of the restart");
                await until(() => $("#state").textContent === "connected", "connection");
                $("#sender [name=binary]").checked = false;
                $("#sender [name=text]").value = "after the restart";
                $("#sender").requestSubmit();
                const told = () => $("#log").textContent.split("after the restart").length;
                await until(() => told() >= 3, "echo");
                $("#disconnect").click();
                await until(() => $("#state").textContent !== "connected", "end");
                """,
            )


async def test_files_and_bulk_cross_both_ways_with_checksums(tmp_path: Path) -> None:
    served = pattern(5, 3_000_000)
    (tmp_path / "served.bin").write_bytes(served)
    with trio.fail_after(180):
        async with page_of_server(tmp_path, "browser") as page:
            await do(
                page,
                """
                const bytes = new Uint8Array(argument);
                for (let index = 0; index < argument; index++) bytes[index] = (index * 7) & 255;
                const box = new DataTransfer();
                box.items.add(new File([bytes], "from the browser.bin"));
                $("#files").files = box.files;
                $("#files").dispatchEvent(new Event("change", {bubbles: true}));
                await until(() => /same at both ends/.test($("#transfers").textContent), "upload");
                """,
                5_000_000,
            )
            expected = bytes(index * 7 & 255 for index in range(256)) * (5_000_000 // 256 + 1)
            stored = (tmp_path / "from the browser.bin").read_bytes()
            assert hashlib.sha256(stored).digest() == hashlib.sha256(expected[:5_000_000]).digest()
            told = await do(
                page,
                """
                $("#refresh").click();
                const find = () => [...document.querySelectorAll("#remote li")]
                  .find((item) => item.textContent.includes("served.bin"));
                (await until(find, "file")).querySelector("button, a").click();
                const told = () => $("#transfers").textContent;
                await until(() => /served.bin.*same at both ends/s.test(told()), "download");
                return told();
                """,
            )
            assert "served.bin" in told
            for way in ("up", "down"):
                done = await do(
                    page,
                    """
                    const known = $("#measurements").children.length;
                    $(`#measure [name=${argument}]`).click();
                    await until(() => $("#measurements").children.length > known, "measurement");
                    const news = () => $("#measurements").textContent.split("same at both").length;
                    await until(() => news() > known + 1, "same checksums");
                    return $("#measurements").textContent;
                    """,
                    way,
                )
                assert re.search(r"10\.0 MB", done)


async def test_page_of_the_example_echoes() -> None:
    require_namespaces()
    require_chromium()
    if any(importlib.util.find_spec(name) is None for name in ("h11", "httpx2")):
        require("the extra rtcsctp[http] is not installed")
    with trio.fail_after(120):
        async with open_hosts() as hosts:
            words = [sys.executable, "-u", "-m", "rtcsctp.examples.echo"]
            server = Child(end_with_stdin(words), name="echo", host=hosts[0], log_output=True)
            async with server, Chromium(hosts[0]) as browser:
                while not (found := re.search(r"open (http://\S+) in", server.log())):
                    assert server.process.poll() is None, server.log()
                    await trio.sleep(0.1)
                page = await browser.new_page(found[1])
                log = await do(
                    page,
                    """
                    const line = $("#line");
                    await until(() => !line.disabled, "connection");
                    line.value = argument;
                    $("#form").requestSubmit();
                    return await until(() => $("#log").textContent, "echo");
                    """,
                    "grüße",
                )
                assert log == "grüße\n"
