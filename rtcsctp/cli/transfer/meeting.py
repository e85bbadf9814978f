"""How sender and receiver find each other: by two lines that people carry, or by a mailbox.

The sender makes the offer, and the channel.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import trio

from rtcsctp.cli.transfer.code import Secret
from rtcsctp.cli.transfer.errors import PathBroken, TransferError
from rtcsctp.errors import DescriptionError, SignallingStateError
from rtcsctp.runtime.errors import ConnectionLost
from rtcsctp.runtime.peer import PeerConnection
from rtcsctp.sdp.description import DescriptionType, SessionDescription

if TYPE_CHECKING:
    from rtcsctp.http.mailbox import Mailbox

__all__ = ["ByLines", "ByMailbox", "LineReader", "Meeting"]

_CONNECTING: Final = 25.0
"""Seconds that a connection may take once both sides know each other, before it is tried anew."""
_FAREWELL: Final = 2.0  # seconds that taking leave of a server may take
_READ: Final = 65_536
_MAX_LINE: Final = 1 << 20


class Meeting(Protocol):
    """Connects a new peer connection with the other side.

    Attributes:
        repeats: it can be done again, when a connection breaks.
    """

    repeats: bool

    async def meet(self, peer: PeerConnection, *, offers: bool) -> None:
        """Connect.

        Raises:
            TransferError: it cannot be done.
            PathBroken: it was tried, and may work the next time.
        """


class LineReader:
    """Lines of a descriptor, as they come: standard input, or the terminal."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor = descriptor
        self._name = name
        self._rest = b""

    @classmethod
    def of_user(cls, *, stdin_is_data: bool) -> LineReader:
        """Where the user types.

        Raises:
            TransferError: nowhere.
        """
        if not stdin_is_data:
            if sys.stdin is None:
                raise TransferError("cannot read the other side's line: standard input is closed")
            return cls(sys.stdin.fileno(), "standard input")
        try:
            terminal = "CON" if sys.platform == "win32" else os.ctermid()
            return cls(os.open(terminal, os.O_RDONLY), "the terminal")
        except OSError:
            raise TransferError(
                "standard input is what is sent, and there is no terminal to read the other "
                "side's line from; use --via"
            ) from None

    async def read(self) -> str:
        """The next line that is not empty.

        Raises:
            TransferError: there is none.
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
                raise TransferError(f"{self._name} ends before the other side's line")
            self._rest += data or b"\n"
            if len(self._rest) > _MAX_LINE:
                raise TransferError("that is much more than a line")

    async def _more(self) -> bytes:
        # Not a buffered reader: Python dies at exit if a thread still waits in one.
        read = partial(os.read, self._descriptor, _READ)
        try:
            return await trio.to_thread.run_sync(read, abandon_on_cancel=True)
        except OSError as error:
            reason = error.strerror or error
            raise TransferError(f"cannot read {self._name}: {reason}") from error


class ByLines:
    """By one line each way. Whoever can replace a line on its way can be the other side."""

    repeats = False

    def __init__(
        self,
        reader: LineReader,
        show: Callable[[str], object],
        note: Callable[[str], object],
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

    async def meet(self, peer: PeerConnection, *, offers: bool) -> None:
        """Connect. The lines may take their time: it is a matter of minutes.

        Raises:
            TransferError: there is no line, or no way to the other side.
        """
        try:
            if offers:
                await self._offer(peer)
            else:
                await self._answer(peer)
            await peer.wait_connected()
        except ConnectionLost as error:
            raise TransferError(_no_path(error)) from error

    async def _offer(self, peer: PeerConnection) -> None:
        offer = await peer.offer()
        self._note("On the other computer, run:  rtcsctp receive")
        self._note("and give it this line, by whatever way you trust:\n")
        self._show(offer.to_line())
        self._note("\nThen paste the line that it answers with:")
        await self._take(peer, DescriptionType.ANSWER)
        self._note("connecting …")

    async def _answer(self, peer: PeerConnection) -> None:
        self._note("Paste the line that rtcsctp send shows on the other computer:")
        await self._take(peer, DescriptionType.OFFER)
        peer.set_local_description(peer.create_answer())
        with trio.move_on_after(peer.config.gathering_timeout):
            await peer.gathering_complete()
        answer = peer.local_description
        assert answer is not None
        self._note("\nGive the sender this line, soon (within a minute if there are routers):\n")
        self._show(answer.to_line())
        self._note("")

    async def _take(self, peer: PeerConnection, kind: DescriptionType) -> None:
        """Put the other side's line in force; ask again while it is none.

        Some programs break a line where it is too long for them: what cannot be used is tried
        together with what follows.
        """
        before = ""
        while True:
            text = await self._reader.read()
            description, error = _read_line(before + text)
            if description is None and before:
                description, _ = _read_line(text)
            if description is not None and description.type is kind:
                try:
                    peer.set_remote_description(description)
                except (DescriptionError, SignallingStateError) as problem:
                    error = str(problem)
                else:
                    return
            elif description is not None:
                error = f"it is the {description.type.value}, and the {kind.value} is needed"
            before = "" if description is not None else before + text
            if len(before) > _MAX_LINE:
                raise TransferError("that is much more than a line")
            self._note(f"That cannot be used: {error}. Paste it again:")


class ByMailbox:
    """By a mailbox on a server; what is in it is sealed with the key of a code."""

    repeats = True

    def __init__(self, mailbox: Mailbox, secret: Secret) -> None:
        self._mailbox = mailbox
        self._secret = secret

    async def meet(self, peer: PeerConnection, *, offers: bool) -> None:
        """Connect; waits for the other side without limit.

        Raises:
            TransferError: another sender has the same code.
            SignallingError: the server cannot be reached, or refuses.
            PathBroken: the other side was found, but there is no way to it.
        """
        if offers:
            await self._offer(peer)
        else:
            await self._answer(peer)
        try:
            with trio.fail_after(_CONNECTING):
                await peer.wait_connected()
        except trio.TooSlowError:
            raise PathBroken(_no_path(f"nothing within {_CONNECTING:g} s")) from None
        except ConnectionLost as error:
            raise PathBroken(_no_path(error)) from error

    async def _offer(self, peer: PeerConnection) -> None:
        offer = (await peer.offer()).to_line()
        sealed = self._secret.seal(offer, "offer")
        place = await self._mailbox.leave_offer(sealed)
        try:
            answer = await self._take_answer(place)
        except BaseException:
            await self._withdraw(place)
            raise
        peer.set_remote_description(self._secret.open(answer, f"answer {offer}"))

    async def _take_answer(self, place: str) -> str:
        from rtcsctp.http import SignallingRefusedError  # noqa: PLC0415

        try:
            return await self._mailbox.take_answer(place)
        except SignallingRefusedError as error:
            if error.status == 410:
                raise TransferError("another sender uses the same code") from error
            if error.status == 404:
                raise PathBroken("the server has forgotten our offer") from error
            raise

    async def _withdraw(self, place: str) -> None:
        from rtcsctp.http import SignallingError  # noqa: PLC0415

        with trio.move_on_after(_FAREWELL, shield=True):
            with suppress(SignallingError):  # it forgets by itself
                await self._mailbox.withdraw(place)

    async def _answer(self, peer: PeerConnection) -> None:
        from rtcsctp.http import SignallingRefusedError  # noqa: PLC0415

        sealed, place = await self._mailbox.take_offer()
        offer = self._secret.open(sealed, "offer")
        try:
            answer = (await peer.answer(offer)).to_line()
        except DescriptionError as error:
            raise TransferError(f"the other side's offer cannot be used: {error}") from error
        try:
            await self._mailbox.leave_answer(place, self._secret.seal(answer, f"answer {offer}"))
        except SignallingRefusedError as error:
            if error.status in {404, 409, 410}:
                raise PathBroken("the offer was taken back") from error
            raise


def _read_line(text: str) -> tuple[SessionDescription | None, str]:
    """What a line says, or why it cannot be read."""
    try:
        return SessionDescription.from_line_untrusted(text), ""
    except DescriptionError as error:
        return None, str(error)


def _no_path(reason: object) -> str:
    return (
        f"no way to the other side was found: {reason} (between networks, --stun URL on both "
        "sides, or --turn URL on one, may help)"
    )
