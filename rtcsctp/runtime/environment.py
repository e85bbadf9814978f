"""What the environment can ask of any program that uses this library, without a change to it.

``RTCSCTP_CAPTURE=FILE``
    All SCTP packets of the process, decrypted, go to a pcapng file that Wireshark opens: one
    interface for each association, named as in the log (`rtcsctp.runtime.log`); and one for each
    SCTP port that is served, with what arrives there before it belongs to an association. ``%p`` in
    the name is the number of the process; a folder gets a file for each process. What was there is
    overwritten.

``SSLKEYLOGFILE=FILE``
    The keys of all DTLS connections are appended to this file, in NSS's format, as browsers and
    Python's `ssl` do it; with it, Wireshark decrypts what it captured on the wire.

Both lay bare what was sent, to whoever can read the file; new ones are readable by their owner
only. Neither ever breaks the program: what cannot be written is said once, on standard error and in
the log, and not tried again.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rtcsctp.dtls.certificate import Certificate
from rtcsctp.dtls.openssl import OpenSslIdentity
from rtcsctp.runtime.capture import Capture
from rtcsctp.runtime.link import CapturingLink, Link, PacketRecorder

__all__ = [
    "capture_from_environment",
    "captured",
    "flush_capture",
    "key_log",
    "make_openssl_identity",
]

CAPTURE = "RTCSCTP_CAPTURE"
KEY_LOG = "SSLKEYLOGFILE"

_BUFFER = 1 << 16  # bytes
_FLUSH_EVERY = 1.0  # seconds of the capture's time that may be in a buffer
_log = logging.getLogger("rtcsctp.capture")
_lock = threading.Lock()  # Trio may run in several threads


def _open_private(path: str, flags: int) -> int:
    """For writing; a new file is for its owner only."""
    return os.open(path, flags | os.O_WRONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)


def _complain(text: str) -> None:
    """Say it, wherever somebody may hear it."""
    _log.warning("%s", text, extra={"kind": "environment"})
    with contextlib.suppress(Exception):  # there may be no standard error
        sys.stderr.write(f"rtcsctp: {text}\n")


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


# ---------------------------------------------------------------------------------------- captures


class _Buffered:
    """A file that is written by the piece, whose errors come out of `write` and `flush` only."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> int:
        self._parts.append(data)
        self._size += len(data)
        if self._size >= _BUFFER:
            self.flush()
        return len(data)

    def flush(self) -> None:
        data = memoryview(b"".join(self._parts))
        self._parts.clear()
        self._size = 0
        while data:
            data = data[os.write(self._descriptor, data) :]

    def close(self) -> None:
        """Close it; what was not flushed is lost."""
        os.close(self._descriptor)


class _File:
    """The capture file of this process for one value of the variable."""

    def __init__(self, wanted: str) -> None:
        self.pid = os.getpid()
        self.path = wanted.replace("%p", str(self.pid))
        if os.path.isdir(self.path) or self.path.endswith(os.sep):
            self.path = os.path.join(self.path, f"rtcsctp-{self.pid}.pcapng")
        self._capture: Capture | None = None
        self._buffered: _Buffered | None = None
        self._flush_at = 0
        self._was_told = False

    def open(self) -> None:
        """Begin the file; nothing is recorded if that cannot be done."""
        try:
            self._buffered = _Buffered(_open_private(self.path, os.O_TRUNC))
            self._capture = Capture(self._buffered, interfaces=(), epoch_ns=time.time_ns())
            self._capture.flush()
        except OSError as error:
            self.give_up(_reason(error))

    def give_up(self, why: str) -> None:
        """It cannot be written, or no more."""
        self._capture = None
        if self._buffered is not None:
            with contextlib.suppress(OSError):
                self._buffered.close()
            self._buffered = None
        if not self._was_told:
            self._was_told = True
            _complain(f"{CAPTURE}: nothing is captured to {self.path} any more: {why}")

    @property
    def is_open(self) -> bool:
        return self._capture is not None and self.pid == os.getpid()

    def add_interface(self, name: str) -> int:
        if self._capture is None:
            return -1
        try:
            return self._capture.add_interface(name)
        except OSError as error:
            self.give_up(_reason(error))
            return -1

    def record(self, packet: bytes, time_ns: int, *, outbound: bool, interface: int) -> None:
        if self._capture is None or interface < 0:
            return
        try:
            self._capture.record_ns(packet, time_ns, outbound=outbound, interface=interface)
            if time_ns > self._flush_at:
                self._flush_at = time_ns + round(_FLUSH_EVERY * 1e9)
                self._capture.flush()
        except OSError as error:
            self.give_up(_reason(error))
        except ValueError:
            pass  # a time before 1970: somebody plays with clocks

    def flush(self) -> None:
        if self._capture is not None:
            try:
                self._capture.flush()
            except OSError as error:
                self.give_up(_reason(error))


_files: dict[str, _File] = {}


class _Interface:
    """What records one association; a `rtcsctp.runtime.link.PacketRecorder` that never raises."""

    def __init__(self, file: _File, name: str) -> None:
        self._file = file
        self._number = file.add_interface(name)

    @property
    def closed(self) -> bool:
        """Whether it records no more."""
        return not self._file.is_open

    def record_ns(self, packet: bytes, time_ns: int, *, outbound: bool, interface: int = 0) -> None:
        """Record a packet; `interface` means nothing here."""
        del interface
        with _lock:
            self._file.record(packet, time_ns, outbound=outbound, interface=self._number)

    def flush(self) -> None:
        """Write out what is buffered."""
        with _lock:
            self._file.flush()


def capture_from_environment(name: str) -> PacketRecorder | None:
    """A recorder for one association, if the environment asks for captures.

    Args:
        name: of its interface in the file.
    """
    wanted = os.environ.get(CAPTURE)
    if not wanted:
        return None
    with _lock:
        file = _files.get(wanted)
        if file is None:
            if not _files:
                atexit.register(flush_capture)
            file = _files[wanted] = _File(wanted)
            file.open()
        elif file.pid != os.getpid():
            # We were forked. The old file is our parent's, whose buffer must not be written twice.
            before, file = file, _File(wanted)
            _files[wanted] = file
            if file.path == before.path:
                file.give_up("another process writes it; %p in the name makes one file for each")
            else:
                file.open()
        return _Interface(file, name) if file.is_open else None


def flush_capture() -> None:
    """Write out what is buffered, for those who read the file already."""
    with _lock:
        for file in _files.values():
            if file.is_open:
                file.flush()


def captured(link: Link, name: str, capture: PacketRecorder | None) -> Link:
    """A link, wrapped to be recorded as a program and the environment want it."""
    for recorder in (capture, capture_from_environment(name)):
        if recorder is not None:
            link = CapturingLink(link, recorder)
    return link


# -------------------------------------------------------------------------------------------- keys


class _KeyLog:
    """Appends to the file of one value of the variable."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._is_given_up = False

    def write(self, line: bytes) -> None:
        """One line, by one call: so those of several processes do not mix."""
        with _lock:
            if self._is_given_up:
                return
            try:
                descriptor = _open_private(self._path, os.O_APPEND)
                try:
                    os.write(descriptor, line + b"\n")
                finally:
                    os.close(descriptor)
            except OSError as error:
                self._is_given_up = True
                _complain(f"{KEY_LOG}: no keys are written to {self._path}: {_reason(error)}")


_key_logs: dict[str, _KeyLog] = {}


def key_log() -> Callable[[bytes], None] | None:
    """What is to be called with each line of key material, if the environment asks for it."""
    path = os.environ.get(KEY_LOG)
    if not path:
        return None
    path = str(Path(path).absolute())  # the program may go elsewhere
    with _lock:
        return _key_logs.setdefault(path, _KeyLog(path)).write


def make_openssl_identity(certificate: Certificate) -> OpenSslIdentity:
    """Who we are, with its keys logged if the environment asks for that."""
    return OpenSslIdentity(certificate, key_log=key_log())
