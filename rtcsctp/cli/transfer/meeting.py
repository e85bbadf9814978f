"""How sender and receiver find each other: by two lines that people carry, or by a mailbox.

The sender makes the offer, and the channel.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

import trio

from rtcsctp.cli.lines import Lines
from rtcsctp.cli.peers import way_out
from rtcsctp.cli.transfer.code import Secret
from rtcsctp.cli.transfer.errors import PathBroken, TransferError
from rtcsctp.errors import DescriptionError
from rtcsctp.runtime.errors import ConnectionLost
from rtcsctp.runtime.peer import PeerConnection

if TYPE_CHECKING:
    from rtcsctp.http.mailbox import Mailbox

__all__ = ["ByLines", "ByMailbox", "Meeting"]

_CONNECTING: Final = 25.0
"""Seconds that a connection may take once both sides know each other, before it is tried anew."""
_FAREWELL: Final = 2.0  # seconds that taking leave of a server may take


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


class ByLines:
    """By one line each way, which people carry."""

    repeats = False

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    async def meet(self, peer: PeerConnection, *, offers: bool) -> None:
        """Connect. The lines may take their time: it is a matter of minutes.

        Raises:
            CommandError: there is no line.
            TransferError: there is no way to the other side.
        """
        try:
            if offers:
                await self._lines.offer(peer, "rtcsctp receive")
            else:
                await self._lines.answer(peer, "rtcsctp send")
        except ConnectionLost as error:
            raise TransferError(_no_path(error, peer)) from error


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
            raise PathBroken(_no_path(f"nothing within {_CONNECTING:g} s", peer)) from None
        except ConnectionLost as error:
            raise PathBroken(_no_path(error, peer)) from error

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


def _no_path(reason: object, peer: PeerConnection) -> str:
    return f"no way to the other side was found: {reason} ({way_out(peer.config)})"
