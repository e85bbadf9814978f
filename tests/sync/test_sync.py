"""Peers and associations without ``await``: from scripts, from many threads, and at the end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import trio

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


def test_a_channel_as_a_file() -> None:
    with connected() as (one, other):
        near = one.create_channel("file").as_stream(timeout=WITHIN)
        far = other.incoming.receive(timeout=WITHIN).as_stream(timeout=WITHIN)
        lines = [f"line {number}\n" * 5_000 for number in range(5)]

        def send() -> None:
            with io.TextIOWrapper(io.BufferedWriter(near), encoding="utf-8", newline="\n") as text:
                text.writelines(lines)

        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(send)
            with io.TextIOWrapper(io.BufferedReader(far), encoding="utf-8") as text:
                assert text.read() == "".join(lines)
            sending.result(WITHIN)
        assert near.closed
        assert far.closed
        near.close()
        for use in (lambda: near.write(b"x"), lambda: far.read(1)):
            with pytest.raises(ValueError, match="closed"):
                use()
        unreliable = one.create_channel("x", max_retransmits=0)
        with pytest.raises(ValueError, match="ordered and reliable"):
            unreliable.as_stream()


def test_a_file_that_times_out_or_is_forgotten_closes_nothing() -> None:
    with connected() as (one, other):
        channel = one.create_channel("file")
        incoming = other.incoming.receive(timeout=WITHIN)
        file = channel.as_stream(timeout=0.05)
        assert file.readinto(bytearray()) == 0
        with pytest.raises(TimeoutError):
            file.read(1)
        written, times_out_when_full = 0, False
        while not times_out_when_full:  # nobody reads it
            try:
                written += file.write(bytes(100_000))
            except TimeoutError:
                times_out_when_full = channel.is_full
        del file
        gc.collect()
        assert channel.state is rtcsctp.ChannelState.OPEN
        received = sum(len(incoming.receive(timeout=WITHIN)) for _ in range(-(-written // 16_384)))
        assert received <= written
        channel.wait_room(timeout=WITHIN)
        channel.buffered_amount_low_threshold = 1000
        channel.wait_buffered_low(timeout=WITHIN)
        assert channel.buffered_amount <= 1000
        with pytest.raises(ValueError, match="-1"):
            channel.buffered_amount_low_threshold = -1


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
        assert server.routes == 0
        assert server.strays.strays == 0
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
        stream.send_nowait(b"now")
        assert stream.receive(timeout=WITHIN).data == b"NOW"
        with pytest.raises(ValueError, match="at least one"):
            stream.receive_many(0)
        stream.buffered_amount_low_threshold = 10
        assert stream.buffered_amount_low_threshold == 10
        stream.wait_buffered_low(timeout=WITHIN)
        association.set_stream_schedule(3, weight=2)
        with pytest.raises(rtcsctp.InvalidStreamError):
            association.set_stream_schedule(1 << 20, priority=1)
        assert association.restarts == 0
        association.shutdown(timeout=WITHIN)
        assert association.wait_closed(timeout=WITHIN) is rtcsctp.CloseReason.SHUTDOWN


def test_a_peer_that_does_not_answer_is_waited_for_no_longer_than_said() -> None:
    block = sync.connect(("127.0.0.1", 9), port=7, timeout=0.05)
    with pytest.raises(TimeoutError):
        block.__enter__()


# ----------------------------------------------------------------------------- whole programs


def run(
    program: str, *, interrupt: bool = False, within: float = 60
) -> subprocess.CompletedProcess[str]:
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
            out, errors = process.communicate(timeout=within)
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


BLOCKING = {
    "entering": "sync.connect(('127.0.0.1', 9), port=7).__enter__()",
    "connecting": "peer.wait_connected()",
    "closing": "peer.wait_closed()",
    "a channel": "next(iter(peer.incoming))",
    "an event": "list(peer.events())",
    "a file": "peer.create_channel('x').as_stream().read()",
    "opening": "peer.create_channel('x').wait_open()",
    "sending": "peer.create_channel('x').send('x' * 10)",
    "serving": "server.wait_closed()",
    "listening": "listener.wait_closed()",
    "a stream": "association.stream(0).receive()",
    "a new stream": "association.incoming()",
    "the end": "association.wait_closed()",
    "leaving": "leave(ready)",
}


def test_ctrl_c_in_each_kind_of_call() -> None:
    """One program for all of them: it presses Ctrl-C itself, a moment after each call began."""
    calls = ", ".join(f"{name!r}: lambda: {call}" for name, call in BLOCKING.items())
    program = f"""
        import contextlib, os, signal, threading, time
        from rtcsctp import sync


        def leave(ready):
            # A server whose handler still works when its block is left.
            go = threading.Event()
            began = threading.Event()
            def handler(served):
                began.set()
                go.wait()
            with sync.open_peer() as client:
                try:
                    with sync.serve(handler) as server:
                        session = server.answer(client.offer(timeout=20), timeout=20)
                        client.accept(session.description, timeout=20)
                        assert began.wait(20)
                        threading.Timer(1, go.set).start()
                        ready.set()
                finally:
                    go.set()

        def press(ready):
            ready.wait()
            time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGINT)

        with (
            sync.open_peer() as peer,
            sync.serve(lambda peer: None) as server,
            sync.listen(lambda one: one.wait_closed(), port=7, udp=("127.0.0.1", 0)) as listener,
            sync.connect(listener.address, port=7, timeout=20) as association,
        ):
            for name, call in {{{calls}}}.items():
                ready = threading.Event()
                thread = threading.Thread(target=press, args=(ready,))
                thread.start()
                try:
                    if name != "leaving":
                        ready.set()
                    call()
                except KeyboardInterrupt:
                    print(name, flush=True)
                thread.join()
        print([thread.name for thread in threading.enumerate() if thread.name == "rtcsctp"])
        """
    done = run(program, within=120)
    assert done.stdout.splitlines() == [*BLOCKING, "[]"], done
    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_at_any_moment_leaves_nothing_behind() -> None:
    """A hundred times: while threads begin, connections are made, messages wait, all is closed."""
    done = run(
        """
        import os, random, signal, threading, time
        from rtcsctp import PeerConfig, sync

        config = PeerConfig(include_loopback=True, addresses=["127.0.0.1"])
        rng = random.Random(1)
        pressed = 0
        is_armed = False

        def handler(number, frame):
            # Once for each try, so that none escapes from between two of them.
            global is_armed
            if is_armed:
                is_armed = False
                raise KeyboardInterrupt

        signal.signal(signal.SIGINT, handler)

        def press():
            global pressed
            while pressed < 100:
                time.sleep(rng.uniform(0.001, 0.04))
                pressed += 1
                os.kill(os.getpid(), signal.SIGINT)

        def talk():
            with sync.open_peer(config) as one, sync.open_peer(config) as other:
                one.accept(other.answer(one.offer(timeout=60), timeout=60), timeout=60)
                one.create_channel("x").send("hello", timeout=60)
                return other.incoming.receive(timeout=60).receive(timeout=60)

        thread = threading.Thread(target=press)
        thread.start()
        while pressed < 100:
            try:
                is_armed = True
                talk()
                is_armed = False
            except KeyboardInterrupt:
                pass
        thread.join()
        print(talk(), [one.name for one in threading.enumerate() if one.name == "rtcsctp"])
        """,
        within=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello []\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_has_nothing_of_its_parents_and_can_have_its_own() -> None:
    done = run(
        """
        import os, sys, warnings
        from rtcsctp import sync
        # Python 3.12 warns of what a child of a program with threads may do.
        warnings.simplefilter("ignore", DeprecationWarning)

        with sync.open_peer() as one, sync.open_peer() as other:
            one.accept(other.answer(one.offer()), timeout=20)
            child = os.fork()
            if not child:
                try:
                    one.create_channel("x")
                except sync.ClosedResourceError as error:
                    print(error, flush=True)
                with sync.open_peer() as third, sync.open_peer() as fourth:
                    third.accept(fourth.answer(third.offer()), timeout=20)
                    print("connected", flush=True)
                sys.exit(7)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
            channel = one.create_channel("x")
            channel.send("still here")
            print(other.incoming.receive(timeout=20).receive(timeout=20))
        """
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    first, *others = done.stdout.splitlines()
    assert "opened in another process" in first
    assert others == ["connected", "7", "still here"]


def test_beside_event_loops_of_other_kinds() -> None:
    """As in a notebook, whose cells run inside of asyncio; and within Trio of the user's own."""

    async def cell() -> str | bytes:
        with connected() as (one, other):
            channel = one.create_channel("x")
            channel.send("hello", timeout=WITHIN)
            return other.incoming.receive(timeout=WITHIN).receive(timeout=WITHIN)

    assert asyncio.run(cell()) == "hello"
    assert trio.run(cell) == "hello"
    with (
        pytest.raises(RuntimeError, match="from its own background thread"),
        connected() as (one, _),
    ):
        one._caller.do(one.statistics)  # noqa: SLF001  # what only callbacks of ours could do


def test_a_handler_that_fails_ends_the_others_and_the_server() -> None:
    first = threading.Event()
    ended: list[BaseException] = []

    def handler(peer: sync.PeerConnection) -> None:
        if first.is_set():
            raise KeyError("a bug")
        first.set()
        try:
            peer.wait_closed()
        except sync.ClosedResourceError as error:
            ended.append(error)
            raise

    def be_served() -> None:
        with sync.serve(handler) as server, contextlib.ExitStack() as stack:
            for _ in range(2):
                peer = stack.enter_context(sync.open_peer())
                session = server.answer(peer.offer(timeout=WITHIN), timeout=WITHIN)
                with contextlib.suppress(rtcsctp.ConnectionLost):
                    peer.accept(session.description, timeout=WITHIN)
            server.wait_closed(timeout=WITHIN)

    with pytest.raises(KeyError, match="a bug"):
        be_served()
    assert len(ended) == 1


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
