"""What Wireshark makes of our captures, where its command-line form is installed (tshark)."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from rtcsctp.sctp.config import Config
from rtcsctp.testing import Capture, Conditions, Network, Pair

TSHARK = shutil.which("tshark")


@pytest.mark.skipif(TSHARK is None, reason="tshark is not installed (Debian: tshark)")
@pytest.mark.parametrize("interleaving", [False, True])
def test_every_packet_is_understood(tmp_path: Path, interleaving: bool) -> None:
    path = tmp_path / "run.pcapng"
    network = Network(Conditions(delay=0.02, loss=0.05), seed=1)
    config = Config(interleaving=interleaving, zero_checksum=False)
    rng = random.Random(1)
    with Capture(path, interfaces=("here", "there")) as capture:
        pair = Pair(config, config, network=network, capture=capture)
        pair.connect()
        for number in range(40):
            size = rng.choice([1, 100, 5000])
            pair.a.send(number % 3, bytes(size), now=pair.now, max_retransmits=number % 2)
        pair.flush()
        pair.a.reset_streams([1], pair.now)
        pair.run_for(2)
        pair.a.shutdown(pair.now)
        pair.run_for(5)
    fields = ("_ws.malformed", "sctp.chunk_type", "sctp.checksum.status")
    done = subprocess.run(
        [str(TSHARK), "-n", "-r", str(path), "-o", "sctp.checksum:CRC 32c", "-T", "fields"]
        + [word for field in fields for word in ("-e", field)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    packets = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(packets) > 60
    chunks = {chunk for packet in packets for chunk in packet[1].split(",")}
    data = "64" if interleaving else "0"
    assert {"1", "2", "3", "7", "8", "10", "11", "14", "130", data} <= chunks
    for packet in packets:
        assert packet[0] == "", "malformed"
        assert set(packet[2].split(",")) == {"1"}, "the checksum is right"
