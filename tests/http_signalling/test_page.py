"""The parts of the page that can be tried without a browser, in Node.js where it is installed."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from importlib import resources

import pytest

PAGE = resources.files("rtcsctp.http").joinpath("page")

_SHA256 = """
import { Sha256 } from "%s";
const digest = new Sha256();
const results = [];
for (let length = 0; length < 200; length++) {
  const bytes = new Uint8Array(length).map((_, i) => (i * 7 + length) & 255);
  digest.update(bytes.buffer);
  results.push(new Sha256().update(bytes.subarray(0, 3)).update(bytes.subarray(3)).hex());
}
results.push(digest.hex());
console.log(JSON.stringify(results));
"""


@pytest.fixture
def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("node is not installed")
    return found


def test_checksums_of_the_page_are_those_of_python(node: str) -> None:
    script = _SHA256 % f"file://{PAGE.joinpath('sha256.js')}"
    result = subprocess.run(
        [node, "--input-type=module", "-"],
        input=script,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    pieces = [bytes((i * 7 + length) & 255 for i in range(length)) for length in range(200)]
    expected = [hashlib.sha256(piece).hexdigest() for piece in pieces]
    expected.append(hashlib.sha256(b"".join(pieces)).hexdigest())
    assert json.loads(result.stdout) == expected


@pytest.mark.parametrize("name", ["app.js", "session.js", "sha256.js", "transfers.js"])
def test_scripts_can_be_read(node: str, name: str) -> None:
    subprocess.run(
        [node, "--input-type=module", "--check", "-"],
        input=PAGE.joinpath(name).read_text(),
        text=True,
        timeout=60,
        check=True,
    )
