"""Connecting by two lines that people carry: one of ours, one of the other side's."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from rtcsctp.cli.failure import CommandError
from rtcsctp.cli.output import note, say
from rtcsctp.errors import DescriptionError, SignallingStateError
from rtcsctp.runtime.peer import PeerConnection
from rtcsctp.sdp.description import DescriptionType, SessionDescription

__all__ = ["LineReader", "Lines"]

_READ: Final = 65_536
_MAX_LINE: Final = 1 << 18  # characters
_MARK: Final = "RTC"  # what every line begins with
_QUICK: Final = 15.0  # seconds in which connections come about, where both sides are there


class LineReader:
    """Lines of a descriptor, as they come: standard input, or the terminal."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor = descriptor
        self._name = name
        self._rest = b""

    @classmethod
    def of_user(cls, *, stdin_is_data: bool = False) -> LineReader:
        """Where the user types.

        Raises:
            CommandError: nowhere.
        """
        if not stdin_is_data:
            if sys.stdin is None:
                raise CommandError("cannot read the other side's line: standard input is closed")
            return cls(sys.stdin.fileno(), "standard input")
        try:
            terminal = "CON" if sys.platform == "win32" else os.ctermid()
            return cls(os.open(terminal, os.O_RDONLY), "the terminal")
        except OSError:
            raise CommandError(
                "standard input is what is sent, and there is no terminal to read the other "
                "side's line from; use --via"
            ) from None

    async def read(self) -> str:
        """The next line that is not empty.

        Raises:
            CommandError: there is none.
        """
        while True:
            line, newline, rest = self._rest.partition(b"\n")
            if newline:
                self._rest = rest
                if text := line.decode(errors="replace").strip():
                    return text
                continue
            data = await self._more()
            if not data and not self._rest.strip():
                raise CommandError(f"{self._name} ends before the other side's line")
            self._rest += data or b"\n"
            if len(self._rest) > _MAX_LINE:
                raise CommandError("that is much more than a line")

    async def _more(self) -> bytes:
        # Not a buffered reader: Python dies at exit if a thread still waits in one.
        read = partial(os.read, self._descriptor, _READ)
        try:
            return await trio.to_thread.run_sync(read, abandon_on_cancel=True)
        except OSError as error:
            reason = error.strerror or error
            raise CommandError(f"cannot read {self._name}: {reason}") from error


class Lines:
    """One line each way. Whoever can replace a line on its way can be the other side."""

    def __init__(
        self,
        reader: LineReader,
        show: Callable[[str], object] = say,
        note: Callable[[str], object] = note,
    ) -> None:
        """
        Args:
            reader: where the other side's line comes from.
            show: shows our own line, alone.
            note: says what to do with it.
        """
        self._reader = reader
        self._show = show
        self._note = note

    async def offer(self, peer: PeerConnection, counterpart: str) -> None:
        """Show an offer, and connect by the answer that comes for it.

        Args:
            peer: a new connection.
            counterpart: the command that answers.

        Raises:
            CommandError: there is no answer.
            ConnectionLost: there is no way to the other side.
        """
        offer = await peer.offer()
        self._note(f"On the other computer, run:  {counterpart}")
        self._note("and give it this line, by whatever way you trust:\n")
        self._show(offer.to_line())
        self._note("\nThen paste the line that it answers with:")
        await self._take(peer, DescriptionType.ANSWER)
        self._note("connecting …")
        with trio.move_on_after(_QUICK):
            await peer.wait_connected()
            return
        self._note(
            f"no connection within {_QUICK:g} s, and still trying; is the other command running, "
            "and has it shown the line that was pasted here? (Ctrl-C gives up)"
        )
        await peer.wait_connected()

    async def answer(self, peer: PeerConnection, counterpart: str) -> None:
        """Take an offer, show the answer, and connect.

        Args:
            peer: a new connection.
            counterpart: the command that offers.

        Raises:
            CommandError: there is no offer.
            ConnectionLost: there is no way to the other side.
        """
        self._note(f"Paste the line that {counterpart} shows on the other computer:")
        await self._take(peer, DescriptionType.OFFER)
        peer.set_local_description(peer.create_answer())
        with trio.move_on_after(peer.config.gathering_timeout):
            await peer.gathering_complete()
        answer = peer.local_description
        assert answer is not None
        self._note(
            f"\nGive {counterpart} this line, soon (within a minute if there are routers):\n"
        )
        self._show(answer.to_line())
        self._note("")
        await peer.wait_connected()

    async def _take(self, peer: PeerConnection, kind: DescriptionType) -> None:
        """Put the other side's line in force; ask again while it is none.

        Some programs break a line where it is too long for them: what cannot be used is tried
        together with what follows.
        """
        before = ""
        while True:
            text = await self._reader.read()
            whole = text if text.startswith(_MARK) else before + text
            description, error = _read_line(whole)
            if description is not None and description.type is kind:
                try:
                    peer.set_remote_description(description)
                except (DescriptionError, SignallingStateError) as problem:
                    error = str(problem)
                else:
                    return
            elif description is not None:
                error = f"it is the {description.type.value}, and the {kind.value} is needed"
            is_cut = description is None and whole.startswith(_MARK)
            before = whole if is_cut and len(whole) < _MAX_LINE else ""
            self._note(f"That cannot be used: {error}. Paste it again:")


def _read_line(text: str) -> tuple[SessionDescription | None, str]:
    """What a line says, or why it cannot be read."""
    try:
        return SessionDescription.from_line_untrusted(text), ""
    except DescriptionError as error:
        return None, str(error)
