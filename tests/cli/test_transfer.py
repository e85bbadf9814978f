"""Commands that talk to each other over loopback UDP, each in a process of its own."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
import trio

from rtcsctp import Association, StreamReset, connect
from rtcsctp.cli.main import main
from rtcsctp.testing import LINKTYPE_SCTP, read_pcapng_untrusted

from .programs import Finished, Running, occupied_udp_port, rtcsctp

LOOPBACK = "127.0.0.1:0"
INIT, SHUTDOWN_COMPLETE = 1, 14


def has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(("::1", 0))
        except OSError:
            return False
        return True


@contextlib.contextmanager
def echo(*options: str | Path, udp: str = LOOPBACK) -> Iterator[tuple[Running, str]]:
    with Running("sctp", "echo", "--udp", udp, "--port", "7", *options) as server:
        yield server, server.address()


@contextlib.contextmanager
def receiver(path: Path, *options: str | Path) -> Iterator[tuple[Running, list[str]]]:
    """A running `receive`, and the beginning of the command that sends to it."""
    words = ["sctp", "receive", "--udp", LOOPBACK, "--port", "5001", "--out", path, *options]
    with Running(*words) as server:
        yield server, ["sctp", "send", "--peer", server.address(), "--port", "5001"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "original"
    path.write_bytes(os.urandom(2_000_001))
    return path


class Here(Protocol):
    def __call__(self, *arguments: str | Path) -> Finished: ...


@pytest.fixture
def here(capfd: pytest.CaptureFixture[str]) -> Here:
    """Runs the command within this process, which is faster."""

    def run(*arguments: str | Path) -> Finished:
        code = main([str(word) for word in arguments])
        captured = capfd.readouterr()
        return Finished(code, captured.out.encode(), captured.err.encode())

    return run


def silent_peer() -> tuple[socket.socket, list[str]]:
    """A UDP socket that answers nothing, and the beginning of a command that sends to it."""
    sock, port = occupied_udp_port()
    return sock, ["sctp", "send", "--peer", f"127.0.0.1:{port}", "--port", "7"]


# ------------------------------------------------------------------------------------------ demo


def test_demo_moves_data_and_compares_checksums() -> None:
    result = rtcsctp("demo", "--size", "1MB")
    assert result.code == 0, result
    assert "moved 1.00 MB in 62 messages" in result.stdout
    sent, received = re.findall(r" (?:sent|received) +([0-9a-f]{64})$", result.stdout, re.MULTILINE)
    assert sent == received
    assert "the checksums are the same" in result.stdout
    assert max(map(len, result.stdout.splitlines())) < 80
    assert re.search(r"^user data sent +1.00 MB +\d+ B$", result.stdout, re.MULTILINE)
    assert re.search(r"^user data received +\d+ B +1.00 MB$", result.stdout, re.MULTILINE)
    kinds = re.findall(r"^channel: (\w+), (.*?) {2,}opened, ans", result.stdout, re.MULTILINE)
    limits = ["reliable", "2 retransmissions", "lifetime 500 ms"]
    assert kinds == [(order, limit) for order in ("ordered", "unordered") for limit in limits]
    for stage in ("offer and answer", "ICE has a path", "DTLS is up", "SCTP is up"):
        assert re.search(rf"^{stage}.* after +[\d.]+ ms$", result.stdout, re.MULTILINE)
    assert re.search(r"^ICE  .*\(host\) to .*\(host\)$", result.stdout, re.MULTILINE)
    assert re.search(r"^  role  .*controlling; \d+ checks sent$", result.stdout, re.MULTILINE)
    assert re.search(r"^data channels +7 opened, 7 closed$", result.stdout, re.MULTILINE)
    assert "100 %" in result.stderr
    assert len(result.stderr.splitlines()) <= 5


def test_demo_keeps_to_the_settings() -> None:
    settings = ["interleaving=no", "max_message_size=1000", "partial_reliability=no"]
    words = [word for setting in settings for word in ("--set", setting)]
    result = rtcsctp("demo", "--size", "100kB", *words)
    assert result.code == 0, result
    assert "in 100 messages" in result.stdout
    assert re.search(r"^interleaving +no +no$", result.stdout, re.MULTILINE)
    assert re.search(r"^partial reliability +no +no$", result.stdout, re.MULTILINE)


# ------------------------------------------------------------------------------ send and receive


def test_file_arrives(tmp_path: Path, data: Path) -> None:
    copy = tmp_path / "copy"
    with receiver(copy) as (server, send):
        sent = rtcsctp(*send, data)
        received = server.wait()
    assert sent.code == 0, sent
    assert received.code == 0, received
    assert copy.read_bytes() == data.read_bytes()
    checksum = hashlib.sha256(data.read_bytes()).hexdigest()
    assert f"sha256 {checksum}" in sent.stdout
    assert f"sha256 {checksum}" in received.stdout
    assert "sent 2.00 MB in 123 messages" in sent.stdout
    assert ", all acknowledged" in sent.stdout
    assert "received 2.00 MB in 123 messages" in received.stdout
    assert "100 %" in sent.stderr


@pytest.mark.parametrize("content", [b"", b"x"])
def test_small_files_arrive(tmp_path: Path, content: bytes) -> None:
    original, copy = tmp_path / "original", tmp_path / "copy"
    original.write_bytes(content)
    with receiver(copy) as (server, send):
        assert rtcsctp(*send, original).code == 0
        assert server.wait().code == 0
    assert copy.read_bytes() == content


def test_pipes_work_on_both_sides() -> None:
    content = os.urandom(300_000)
    with Running("sctp", "receive", "--udp", LOOPBACK, "--port", "1") as server:
        address = server.address(stream="stderr")
        sent = rtcsctp("sctp", "send", "--peer", address, "--port", "1", "-", stdin=content)
        received = server.wait()
    assert sent.code == 0, sent
    assert received.code == 0
    assert received.raw == content
    assert "received 300 kB" in received.stderr


def test_receiver_does_not_overwrite(here: Here, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_bytes(b"precious")
    result = here("sctp", "receive", "--udp", LOOPBACK, "--port", "1", "--out", path)
    assert result.code == 1
    assert result.stderr == f"rtcsctp: {path} exists already; --force replaces it\n"
    assert path.read_bytes() == b"precious"


def test_receiver_overwrites_with_force(tmp_path: Path, data: Path) -> None:
    path = tmp_path / "old"
    path.write_bytes(b"old")
    with receiver(path, "--force") as (server, send):
        assert rtcsctp(*send, data).code == 0
        assert server.wait().code == 0
    assert path.read_bytes() == data.read_bytes()


def test_lost_sender_fails_the_receiver_and_leaves_nothing(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with receiver(copy) as (server, send):
        with Running(*send, "--messages", "1000000", "--size", "1000") as sender:
            server.expect("connected to UDP 127.0.0.1:")
            sender.interrupt()
            assert sender.wait().code == 130
        received = server.wait()
    assert received.code == 1
    assert received.complaint.startswith("rtcsctp: the peer aborted the association")
    assert "Traceback" not in received.stderr
    assert list(tmp_path.iterdir()) == []


def test_lost_receiver_fails_the_sender(tmp_path: Path) -> None:
    with (
        receiver(tmp_path / "copy") as (server, send),
        Running(*send, "--messages", "1000000", "--size", "1000") as sender,
    ):
        server.expect("connected to UDP 127.0.0.1:")
        server.interrupt(signal.SIGTERM)
        received, sent = server.wait(), sender.wait()
    assert received.code == 143
    assert received.complaint == "rtcsctp: interrupted"
    assert sent.code == 1
    assert sent.complaint.startswith("rtcsctp: the peer aborted the association")
    assert "acknowledged" not in sent.stdout
    assert list(tmp_path.iterdir()) == []


def test_receiver_takes_one_association_only(tmp_path: Path, data: Path) -> None:
    copy = tmp_path / "copy"
    with receiver(copy) as (server, send):
        with Running(*send, "--messages", "1000000", "--size", "1000") as first:
            server.expect("connected to UDP 127.0.0.1:")
            second = rtcsctp(*send, data)
            first.interrupt()
            first_code = first.wait().code
        server.wait()
    assert second.code == 1
    assert second.complaint.startswith("rtcsctp: the peer aborted the association")
    assert first_code == 130


RESTARTING = """
import sys, rtcsctp, trio

async def main():
    host, port = sys.argv[1].split(":")
    here = ("127.0.0.1", int(sys.argv[2]))
    async with rtcsctp.connect((host, int(port)), port=5001, local_port=1, udp=here) as association:
        await association.stream(0).send(b"data")
        print("sent", flush=True)
        if sys.argv[3:] == ["stay"]:
            await trio.sleep_forever()

trio.run(main)
"""


def test_sender_that_restarts_fails_the_receiver(tmp_path: Path) -> None:
    free, port = occupied_udp_port()
    free.close()
    with receiver(tmp_path / "copy") as (server, send):
        sender = [sys.executable, "-c", RESTARTING, send[send.index("--peer") + 1], str(port)]
        with subprocess.Popen([*sender, "stay"], stdout=subprocess.PIPE) as first:
            assert first.stdout is not None
            assert first.stdout.readline() == b"sent\n"
            first.kill()
        subprocess.run(sender, check=True, timeout=60, stdout=subprocess.DEVNULL)
        received = server.wait()
    assert received.code == 1
    assert received.complaint.startswith("rtcsctp: the peer restarted in between")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_full_disk_fails_both(data: Path) -> None:
    words = ["sctp", "receive", "--udp", LOOPBACK, "--port", "1", "--out", "/dev/full"]
    with Running(*words) as server:
        address = server.address(stream="stderr")
        sent = rtcsctp("sctp", "send", "--peer", address, "--port", "1", data)
        received = server.wait()
    assert received.code == 1
    assert received.complaint == "rtcsctp: cannot write /dev/full: No space left on device"
    assert sent.code == 1
    assert sent.complaint.startswith("rtcsctp: the peer aborted")


# ------------------------------------------------------------------------------------------ send


def test_unreachable_peer_is_given_up_and_said_for_how_long(here: Here) -> None:
    peer, send = silent_peer()
    with peer:
        quick = ["--set", "rto_initial=0.1", "--set", "max_init_retransmits=1"]
        result = here(*send, "--messages", "1", *quick)
    assert result.code == 1
    assert re.fullmatch(r"rtcsctp: the peer cannot be reached: .* in \d\.\d s", result.complaint)


def test_port_that_nobody_serves_is_refused() -> None:
    with echo() as (_, address):
        result = rtcsctp("sctp", "send", "--peer", address, "--port", "8", "--messages", "1")
    assert result.code == 1
    assert result.complaint.startswith("rtcsctp: the peer aborted the association")


def test_file_that_is_missing_is_named_before_anything_is_sent(here: Here) -> None:
    peer, send = silent_peer()
    with peer:
        result = here(*send, "no/such/file")
    assert result.code == 1
    assert result.stderr == "rtcsctp: cannot read no/such/file: No such file or directory\n"


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 300])
def test_host_that_does_not_exist_is_named(here: Here, host: str) -> None:
    result = here("sctp", "send", "--peer", f"{host}:9", "--port", "7", "--messages", "1")
    assert result.code == 1
    assert result.complaint.startswith(f"rtcsctp: cannot connect to UDP {host}:9: ")


def test_local_port_that_is_taken_is_named(here: Here) -> None:
    taken, port = occupied_udp_port()
    with taken:
        mine = f"127.0.0.1:{port}"
        for command in ("echo", "receive"):
            result = here("sctp", command, "--udp", mine, "--port", "7")
            assert result.code == 1
            assert result.stderr.startswith(f"rtcsctp: cannot listen on UDP {mine}: Address alrea")
            assert result.stderr.count("\n") == 1
        result = here(
            "sctp", "send", "--peer", mine, "--udp", mine, "--port", "7", "--messages", "1"
        )
        assert result.code == 1
        assert result.complaint.startswith(
            f"rtcsctp: cannot connect to UDP {mine} from {mine}: Address already in use"
        )


def test_stream_that_was_not_negotiated_is_refused() -> None:
    with echo("--set", "inbound_streams=10") as (_, address):
        send = ["sctp", "send", "--peer", address, "--port", "7", "--messages", "1"]
        assert rtcsctp(*send, "--stream", "9").code == 0
        result = rtcsctp(*send, "--stream", "10")
    assert result.code == 1
    assert result.complaint.startswith("rtcsctp: no stream 10")


def test_message_that_the_peer_refuses_fails() -> None:
    with echo("--set", "max_message_size=1000") as (_, address):
        send = ["sctp", "send", "--peer", address, "--port", "7", "--messages", "1"]
        result = rtcsctp(*send, "--size", "1001")
        known = rtcsctp(*send, "--size", "1001", "--set", "peer_max_message_size=1000")
    assert result.code == 1
    assert result.complaint.startswith("rtcsctp: the peer aborted the association")
    assert known.code == 1
    assert known.complaint.startswith("rtcsctp: a message of 1001 bytes")


def test_abandoned_messages_fail() -> None:
    with echo() as (_, address):
        send = ["sctp", "send", "--peer", address, "--port", "7"]
        result = rtcsctp(*send, "--messages", "50", "--lifetime", "0")
    assert result.code == 1
    found = re.fullmatch(r"rtcsctp: (\d+) of 50 messages were given up, .*", result.complaint)
    assert found is not None
    assert int(found[1]) > 0
    assert "all acknowledged" not in result.stdout
    assert f"gave {found[1]} of them up" in result.stdout


def test_limits_that_are_not_reached_do_not_fail() -> None:
    with echo() as (_, address):
        send = ["sctp", "send", "--peer", address, "--port", "7", "--messages", "50"]
        assert rtcsctp(*send, "--max-retransmits", "10", "--unordered").code == 0
        assert rtcsctp(*send, "--lifetime", "60").code == 0


def test_limits_that_the_peer_does_not_know_are_not_kept() -> None:
    with echo("--set", "partial_reliability=false") as (_, address):
        send = ["sctp", "send", "--peer", address, "--port", "7"]
        result = rtcsctp(*send, "--messages", "50", "--lifetime", "0")
    assert result.code == 0
    assert "the peer knows no partial reliability" in result.stderr


def test_ctrl_c_ends_a_sender_that_waits_for_its_input() -> None:
    reader, writer = os.pipe()
    with echo() as (server, address), open(reader, "rb") as pipe, open(writer, "wb"):
        words = ["sctp", "send", "--peer", address, "--port", "7", "-"]
        with Running(*words, stdin=pipe) as sender:
            server.expect("^up ")
            sender.interrupt()
            result = sender.wait()
        server.expect("^down .* aborted")
    assert result.code == 130
    assert result.complaint == "rtcsctp: interrupted"
    assert "Traceback" not in result.stderr


def test_ctrl_c_ends_a_sender_that_gets_no_answer() -> None:
    peer, send = silent_peer()
    with peer, Running(*send, "--messages", "1") as sender:
        sender.expect("connecting", stream="stderr")
        peer.settimeout(60)
        peer.recv(2000)  # its INIT
        sender.interrupt()
        assert sender.wait().code == 130


# ------------------------------------------------------------------------------------------ echo


async def exchange(address: str, port: int = 7) -> None:
    """Everything that an echo server promises."""
    host, _, udp_port = address.rpartition(":")
    with trio.fail_after(30):
        async with connect((host.strip("[]"), int(udp_port)), port=port) as association:
            await exchange_messages(association)
            await exchange_resets(association)


async def exchange_messages(association: Association) -> None:
    for stream_id, size, ppid, unordered in [
        (0, 1, 51, False),
        (1, 100_000, 53, True),
        (65_534, 200_000, 0xFFFF_FFFF, False),
    ]:
        stream = association.stream(stream_id)
        message = os.urandom(size)
        await stream.send(message, ppid=ppid, unordered=unordered)
        answer = await stream.receive()
        assert answer.data == message
        assert answer.ppid == ppid
        assert answer.unordered == unordered
        assert answer.stream_id == stream_id


async def exchange_resets(association: Association) -> None:
    stream = association.stream(3)
    for _ in range(3):
        for i in range(20):
            await stream.send(b"message %d" % i)
        await stream.reset()
        for i in range(20):
            assert (await stream.receive()).data == b"message %d" % i
        with pytest.raises(StreamReset):
            await stream.receive()


def test_echo_keeps_streams_and_follows_resets() -> None:
    with echo() as (server, address):
        trio.run(exchange, address)
        server.expect("^up ")
        down = server.expect("^down .*")
    assert ": shut down; 63 messages (301 kB) echoed; " in down[0]


def test_echo_serves_many_at_once() -> None:
    async def many(address: str) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(exchange, address)

    with echo() as (server, address):
        trio.run(many, address)
        for _ in range(10):
            server.expect("^down .* 63 messages")
        server.interrupt()
        assert server.wait().code == 0


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")
def test_echo_and_send_over_ipv6() -> None:
    with echo(udp="[::1]:0") as (_, address):
        assert address.startswith("[::1]:")
        result = rtcsctp("sctp", "send", "--peer", address, "--port", "7", "--messages", "10")
    assert result.code == 0, result


def test_address_without_a_host_is_every_address() -> None:
    with echo(udp=":0") as (_, address):
        assert address.startswith("0.0.0.0:")
        peer = address.replace("0.0.0.0", "localhost")
        result = rtcsctp("sctp", "send", "--peer", peer, "--port", "7", "--messages", "10")
    assert result.code == 0, result


def test_what_an_echo_server_sends_back_is_counted() -> None:
    with echo() as (_, address):
        send = ["sctp", "send", "--peer", address, "--port", "7"]
        # Much more than the windows of both sides: who does not read would block the other.
        windows = ["--set", "rwnd=20000", "--set", "send_buffer=20000"]
        result = rtcsctp(*send, "--messages", "100", "--size", "10kB", *windows)
    assert result.code == 0, result
    assert "sent 1.00 MB in 100 messages" in result.stdout
    assert re.search("received .* from the peer", result.stdout)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.skipif(sys.platform == "win32", reason="signals are another thing there")
def test_interrupted_server_shuts_its_associations_down(number: int) -> None:
    reader, writer = os.pipe()
    with echo() as (server, address), open(reader, "rb") as pipe, open(writer, "wb") as entry:
        words = ["sctp", "send", "--peer", address, "--port", "7", "-"]
        with Running(*words, stdin=pipe) as sender:
            server.expect("^up ")
            server.interrupt(number)
            served = server.wait()
            # More input, which finds nobody any more.
            entry.write(b"data")
            entry.flush()
            sent = sender.wait()
    assert served.code == 0, served
    assert ": shut down; 0 messages (0 B) echoed; " in served.stdout
    assert sent.code == 1
    assert sent.complaint == (
        "rtcsctp: the peer shut the association down before everything was sent"
    )


def test_idle_server_ends_at_once_when_interrupted() -> None:
    with echo() as (server, _):
        server.interrupt()
        result = server.wait()
    assert result.code == 0
    assert result.stderr == ""


def test_second_ctrl_c_does_not_wait_for_peers() -> None:
    peer_gone = ["--set", "rto_min=5", "--set", "rto_initial=5", "--set", "rto_max=5"]
    reader, writer = os.pipe()
    with echo(*peer_gone) as (server, address), open(reader, "rb") as pipe, open(writer, "wb"):
        words = ["sctp", "send", "--peer", address, "--port", "7", "-"]
        with Running(*words, stdin=pipe) as sender:
            server.expect("^up ")
            sender.kill()
            server.interrupt()
            server.expect("^shutting down")
            server.interrupt()
            result = server.wait()
    assert result.code == 130
    assert ": aborted; " in result.stdout
    assert result.complaint == "rtcsctp: interrupted"


# ---------------------------------------------------------------------------------------- --pcap


def test_captures_have_all_packets(tmp_path: Path, data: Path) -> None:
    here, there, copy = tmp_path / "send.pcapng", tmp_path / "receive.pcapng", tmp_path / "copy"
    with receiver(copy, "--pcap", there) as (server, send):
        assert rtcsctp(*send, data, "--pcap", here).code == 0
        assert server.wait().code == 0
    ours, theirs = list(read_pcapng_untrusted(here)), list(read_pcapng_untrusted(there))
    assert {packet.link_type for packet in ours + theirs} == {LINKTYPE_SCTP}
    assert ours[0].data[12] == INIT
    assert ours[0].outbound
    assert ours[-1].data[12] == SHUTDOWN_COMPLETE
    sent = [packet.data for packet in ours if packet.outbound]
    received = [packet.data for packet in theirs if not packet.outbound]
    assert sum(map(len, sent)) > 2_000_001
    assert sent[2:] == received[-len(sent[2:]) :]  # all after INIT and COOKIE ECHO
    assert all(a.time_ns <= b.time_ns for a, b in itertools.pairwise(ours))


def test_echo_captures_all_associations(tmp_path: Path) -> None:
    path = tmp_path / "echo.pcapng"
    with echo("--pcap", path) as (server, address):
        for _ in range(2):
            send = ["sctp", "send", "--peer", address, "--port", "7"]
            assert rtcsctp(*send, "--messages", "5", "--size", "10").code == 0
            server.expect("^down ")
        server.interrupt()
        assert server.wait().code == 0
    packets = list(read_pcapng_untrusted(path))
    tags = {packet.data[4:8] for packet in packets if packet.outbound}
    assert len(tags) == 2
    assert any(len(packet.data) > 50 for packet in packets if not packet.outbound)


@pytest.mark.parametrize("path", ["/no/such/folder/x", "/dev/full"])
def test_capture_that_cannot_be_written_fails(path: str) -> None:
    if path == "/dev/full" and not Path(path).exists():
        pytest.skip("no device that is always full")
    with echo() as (_, address):
        send = ["sctp", "send", "--peer", address, "--port", "7"]
        result = rtcsctp(*send, "--messages", "50", "--pcap", path)
    assert result.code == 1
    assert result.complaint.startswith(f"rtcsctp: cannot write {path}: No s")
    assert "Traceback" not in result.stderr


# ---------------------------------------------------------------------------------------- output


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_summary_that_cannot_be_written_fails() -> None:
    with open("/dev/full", "wb") as full, Running("demo", "--size", "1kB", stdout=full) as demo:
        result = demo.wait()
    assert result.code == 1
    assert result.complaint == "rtcsctp: cannot write standard output: No space left on device"
    assert "Traceback" not in result.stderr
