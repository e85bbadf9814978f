"""Peers and associations without ``await``: from scripts, from many threads, and at the end."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import rtcsctp
from rtcsctp import sync

WITHIN = 20.0
"""Seconds that something may take on a busy machine, where it takes milliseconds."""


@contextlib.contextmanager
def connected() -> Iterator[tuple[sync.PeerConnection, sync.PeerConnection]]:
    with sync.open_peer() as one, sync.open_peer() as other:
        answer = other.answer(one.offer(timeout=WITHIN), timeout=WITHIN)
        one.accept(answer, timeout=WITHIN)
        other.wait_connected(timeout=WITHIN)
        yield one, other


def background_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "rtcsctp"]


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    assert background_threads() == []


def test_two_peers_exchange_messages() -> None:
    with connected() as (one, other):
        channel = one.create_channel("chat", protocol="p", priority=512)
        incoming = other.incoming.receive(timeout=WITHIN)
        assert (incoming.label, incoming.protocol, incoming.priority) == ("chat", "p", 512)
        channel.wait_open(timeout=WITHIN)
        channel.send("text", timeout=WITHIN)
        channel.send_nowait(b"bytes")
        assert incoming.receive(timeout=WITHIN) == "text"
        assert incoming.receive(timeout=WITHIN) == b"bytes"
        for index in range(100):
            incoming.send(str(index))
        incoming.close(timeout=WITHIN)
        assert list(channel) == [str(index) for index in range(100)]
        assert incoming.state is rtcsctp.ChannelState.CLOSED
        assert one.statistics().sctp.messages_received >= 100
        assert one.connection_state is rtcsctp.ConnectionState.CONNECTED


def test_trickled_candidates() -> None:
    with sync.open_peer() as one, sync.open_peer() as other:
        one.set_local_description(one.create_offer())
        offer = one.local_description
        assert offer is not None
        other.set_remote_description(offer)
        other.set_local_description()
        answer = other.local_description
        assert answer is not None
        one.set_remote_description(answer)
        for candidate in one.local_candidates:
            other.add_ice_candidate(one.candidate_init(candidate))
        other.add_ice_candidate(None)
        for candidate in other.local_candidates:
            one.add_ice_candidate(candidate)
        one.wait_connected(timeout=WITHIN)
        one.gathering_complete(timeout=WITHIN)


def test_a_timeout_has_taken_nothing() -> None:
    with connected() as (one, other):
        channel = one.create_channel("chat")
        incoming = other.incoming.receive(timeout=WITHIN)
        with pytest.raises(TimeoutError, match=r"not done within 0\.\d+ s"):
            incoming.receive(timeout=0.2)
        with pytest.raises(TimeoutError):
            other.incoming.receive(timeout=0)
        channel.wait_open(timeout=WITHIN)
        channel.send("late")
        assert incoming.receive(timeout=WITHIN) == "late"
        with pytest.raises(ValueError, match="0 or more seconds, not -1"):
            incoming.receive(timeout=-1)


def test_sending_waits_for_room_and_times_out() -> None:
    with connected() as (one, other):
        channel = one.create_channel("bulk")
        channel.wait_open(timeout=WITHIN)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while True:  # nobody reads it
                channel.send(bytes(200_000), timeout=0.5)
                sent += 1
        assert sent
        incoming = other.incoming.receive(timeout=WITHIN)
        assert [len(incoming.receive(timeout=WITHIN)) for _ in range(sent)] == [200_000] * sent


def test_many_threads_use_one_peer() -> None:
    with connected() as (one, other), ThreadPoolExecutor(8) as pool:

        def client(number: int) -> int:
            with one.create_channel(str(number)) as channel:
                channel.wait_open(timeout=WITHIN)
                for index in range(50):
                    channel.send(f"{number}.{index}", timeout=WITHIN)
                    assert channel.receive(timeout=WITHIN) == f"{number}.{index}"
            return number

        def echo(channel: sync.DataChannel) -> None:
            for message in channel:
                channel.send(message, timeout=WITHIN)
            channel.close(timeout=WITHIN)

        clients = [pool.submit(client, number) for number in range(4)]
        echoes = [pool.submit(echo, other.incoming.receive(timeout=WITHIN)) for _ in clients]
        assert [future.result(WITHIN) for future in clients] == [0, 1, 2, 3]
        for future in echoes:
            future.result(WITHIN)


def test_threads_that_share_a_channel_take_turns() -> None:
    with connected() as (one, other), ThreadPoolExecutor(4) as pool:
        channel = one.create_channel("work")
        incoming = other.incoming.receive(timeout=WITHIN)

        def worker() -> list[str | bytes]:
            return [incoming.receive(timeout=WITHIN) for _ in range(25)]

        workers = [pool.submit(worker) for _ in range(4)]
        channel.wait_open(timeout=WITHIN)
        for index in range(100):
            channel.send(str(index))
        received = [message for future in workers for message in future.result(WITHIN)]
        assert sorted(received, key=int) == [str(index) for index in range(100)]


@pytest.mark.parametrize("in_order", [True, False])
def test_leaving_the_block_ends_what_others_wait_in(in_order: bool) -> None:
    errors: list[BaseException] = []

    def wait(channel: sync.DataChannel) -> None:
        try:
            channel.receive()
        except BaseException as error:
            errors.append(error)

    with contextlib.suppress(KeyError), connected() as (one, other):
        channel = one.create_channel("chat")
        waiting = threading.Thread(target=wait, args=[other.incoming.receive(timeout=WITHIN)])
        waiting.start()
        if not in_order:
            raise KeyError("leaves at once")
    waiting.join(WITHIN)
    # In order, both sides close the channel, and it depends on whose reset is seen first.
    ends = (sync.ClosedResourceError, sync.EndOfChannel) if in_order else sync.ClosedResourceError
    assert len(errors) == 1
    assert isinstance(errors[0], ends)
    with pytest.raises(sync.ClosedResourceError):
        channel.send("too late")
    with pytest.raises(sync.ClosedResourceError):
        one.statistics()


def test_an_exception_comes_out_as_it_is_and_closes_at_once() -> None:
    def fail() -> None:
        with connected() as (one, _other):
            one.create_channel("chat")
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fail()


def test_mistakes_raise_where_they_are_made() -> None:
    with sync.open_peer() as peer:
        with pytest.raises(rtcsctp.DescriptionError):
            peer.answer("nonsense")
        with pytest.raises(rtcsctp.SignallingStateError):
            peer.create_answer()
        with pytest.raises(rtcsctp.ReliabilityError):
            peer.create_channel("x", max_retransmits=1, max_packet_lifetime=1)
        block = sync.open_peer()
        with block, pytest.raises(RuntimeError, match="entered before"):
            block.__enter__()


def test_the_thread_begins_anew() -> None:
    for _ in range(3):
        with sync.open_peer() as peer:
            assert len(background_threads()) == 1
            peer.offer(timeout=WITHIN)
        assert background_threads() == []


def test_events() -> None:
    with sync.open_peer() as peer:
        events = peer.events()
        peer.offer(timeout=WITHIN)
        first = events.receive(timeout=WITHIN)
        assert isinstance(first, rtcsctp.StateChange)
        assert first.state is rtcsctp.SignallingState.HAVE_LOCAL_OFFER
        events.close()


# --------------------------------------------------------------------------------------- servers


def test_a_server_with_a_thread_for_each_peer() -> None:
    def handler(peer: sync.PeerConnection) -> None:
        channel = peer.incoming.receive(timeout=WITHIN)
        for message in channel:
            channel.send(f"you said {message!r}", timeout=WITHIN)

    with sync.serve(handler) as server:
        assert server.addresses
        for number in range(3):
            with sync.open_peer() as peer:
                session = server.answer(peer.offer(timeout=WITHIN), timeout=WITHIN)
                peer.accept(session.description, timeout=WITHIN)
                channel = peer.create_channel("chat")
                channel.wait_open(timeout=WITHIN)
                channel.send(str(number))
                assert channel.receive(timeout=WITHIN) == f"you said '{number}'"
                channel.close(timeout=WITHIN)


def test_a_server_that_is_left_interrupts_its_handlers() -> None:
    ended: list[BaseException] = []
    running = threading.Event()

    def handler(peer: sync.PeerConnection) -> None:
        running.set()
        try:
            peer.incoming.receive()
        except sync.ClosedResourceError as error:
            ended.append(error)

    with sync.open_peer() as peer:
        with sync.serve(handler, threads=1) as server:
            session = server.answer(peer.offer(timeout=WITHIN), timeout=WITHIN)
            peer.accept(session.description, timeout=WITHIN)
            assert running.wait(WITHIN)
        assert len(ended) == 1
        lost = peer.wait_closed(timeout=WITHIN)
        assert lost is None


def test_what_a_handler_raises_comes_out_of_the_block() -> None:
    def handler(peer: sync.PeerConnection) -> None:
        raise KeyError("a bug")

    def be_served() -> None:
        with sync.open_peer() as peer, sync.serve(handler) as server:
            session = server.answer(peer.offer(timeout=WITHIN), timeout=WITHIN)
            with contextlib.suppress(rtcsctp.ConnectionLost):  # it may fail before we are there
                peer.accept(session.description, timeout=WITHIN)
            server.wait_closed(timeout=WITHIN)

    with pytest.raises(KeyError, match="a bug"):
        be_served()


def test_a_server_that_cannot_be() -> None:
    with pytest.raises(rtcsctp.ConfigError, match="hide_addresses"):
        sync.serve(print, rtcsctp.PeerConfig(hide_addresses=True)).__enter__()
    with pytest.raises(ValueError, match="at least one thread"):
        sync.serve(print, threads=0)


# ---------------------------------------------------------------------------------- associations


def test_raw_sctp() -> None:
    def handler(association: sync.Association) -> None:
        stream = association.incoming(timeout=WITHIN)
        for message in stream:
            stream.send(message.data.upper(), ppid=message.ppid)

    with (
        sync.listen(handler, port=7, udp=("127.0.0.1", 0)) as listener,
        sync.connect(listener.address, port=7, timeout=WITHIN) as association,
    ):
        assert association.state is rtcsctp.State.ESTABLISHED
        stream = association.stream(3)
        stream.send(b"hello", ppid=9, timeout=WITHIN)
        message = stream.receive(timeout=WITHIN)
        assert (message.data, message.ppid) == (b"HELLO", 9)
        assert association.heartbeat(timeout=WITHIN) > 0
        with pytest.raises(TimeoutError):
            stream.receive(timeout=0.01)
        association.shutdown(timeout=WITHIN)
        assert association.wait_closed(timeout=WITHIN) is rtcsctp.CloseReason.SHUTDOWN


def test_a_peer_that_does_not_answer_is_waited_for_no_longer_than_said() -> None:
    block = sync.connect(("127.0.0.1", 9), port=7, timeout=0.05)
    with pytest.raises(TimeoutError):
        block.__enter__()


# ----------------------------------------------------------------------------- whole programs


def run(program: str, *, interrupt: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a program; with `interrupt`, press Ctrl-C when it says that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        said = ""
        if interrupt:
            said = process.stdout.readline()
            assert said == "ready\n", process.communicate()
            process.send_signal(signal.SIGINT)
        try:
            out, errors = process.communicate(timeout=WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            pytest.fail(f"the program hangs: {process.communicate()}")
    return subprocess.CompletedProcess(process.args, process.returncode, said + out, errors)


def test_ctrl_c_ends_a_call_and_the_program() -> None:
    done = run(
        """
        from rtcsctp import sync
        with sync.open_peer() as peer:
            channel = peer.create_channel("x")
            print("ready", flush=True)
            channel.receive()
        """,
        interrupt=True,
    )
    assert done.returncode == -signal.SIGINT, done.stderr
    assert done.stderr.rstrip().endswith("KeyboardInterrupt")


def test_after_ctrl_c_the_program_can_go_on() -> None:
    done = run(
        """
        import threading
        from rtcsctp import sync
        with sync.open_peer() as one, sync.open_peer() as other:
            one.accept(other.answer(one.offer()), timeout=20)
            channel = one.create_channel("x")
            incoming = other.incoming.receive(timeout=20)
            channel.wait_open(timeout=20)
            try:
                print("ready", flush=True)
                incoming.receive()
            except KeyboardInterrupt:
                channel.send("still here")
                print(incoming.receive(timeout=20))
        print([thread.name for thread in threading.enumerate() if thread.name == "rtcsctp"])
        """,
        interrupt=True,
    )
    assert (done.returncode, done.stdout) == (0, "ready\nstill here\n[]\n"), done.stderr


def test_a_thread_that_waits_does_not_hold_up_the_end_of_the_program() -> None:
    done = run(
        """
        import threading
        from rtcsctp import sync
        inside = threading.Event()

        def wait():
            with sync.open_peer() as peer:
                channel = peer.create_channel("x")
                inside.set()
                try:
                    channel.receive()
                except sync.ClosedResourceError:
                    print("told")

        threading.Thread(target=wait).start()
        inside.wait()
        """
    )
    assert (done.returncode, done.stdout) == (0, "told\n"), done.stderr


def test_a_block_that_is_never_left_is_closed_at_the_end() -> None:
    done = run(
        """
        from rtcsctp import sync
        peer = sync.open_peer().__enter__()
        peer.create_channel("x")
        print("end")
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")
