"""The option `--pcap`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rtcsctp.cli.failure import attempt
from rtcsctp.runtime.link import PacketRecorder
from rtcsctp.testing.pcapng import Capture

__all__ = ["open_capture"]


class _Recorder:
    """A capture whose errors are sentences for the user."""

    def __init__(self, capture: Capture, what: str) -> None:
        self._capture = capture
        self._what = what

    @property
    def closed(self) -> bool:
        return self._capture.closed

    def record_ns(self, packet: bytes, time_ns: int, *, outbound: bool, interface: int = 0) -> None:
        with attempt(self._what):
            self._capture.record_ns(packet, time_ns, outbound=outbound, interface=interface)

    def flush(self) -> None:
        with attempt(self._what):
            self._capture.flush()


@contextmanager
def open_capture(path: str | None) -> Iterator[PacketRecorder | None]:
    """A capture file for the length of the block; None if there is no path.

    Raises:
        CommandError: it cannot be made, or not be written in full.
    """
    if path is None:
        yield None
        return
    what = f"write {path}"
    with attempt(what):
        capture = Capture(path, epoch_ns=time.time_ns())
    try:
        yield _Recorder(capture, what)
    except BaseException:
        with attempt(what):
            capture.close()
        raise
    with attempt(what):
        capture.close()
