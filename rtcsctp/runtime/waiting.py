"""What users' tasks wait for: on one stream, for the answers of the peer, and for anything."""

from __future__ import annotations

from collections import deque

import trio
from trio.lowlevel import ParkingLot

__all__ = ["Lot", "Request", "StreamState"]


class Lot:
    """A parking lot that takes hardly any memory while nobody waits; Trio's has 350 bytes."""

    __slots__ = ("_lot",)

    def __init__(self) -> None:
        self._lot: ParkingLot | None = None

    def __bool__(self) -> bool:
        """Whether somebody waits."""
        return bool(self._lot)

    async def park(self) -> None:
        """Wait until `unpark` or `unpark_all`; those who came first are woken first."""
        lot = self._lot
        if lot is None:
            lot = self._lot = ParkingLot()
        try:
            await lot.park()
        finally:
            if not lot and self._lot is lot:
                self._lot = None

    def unpark(self) -> None:
        """Wake the first of those who wait."""
        if self._lot is not None:
            self._lot.unpark()

    def unpark_all(self) -> None:
        """Wake all who wait."""
        if self._lot is not None:
            self._lot.unpark_all()


class StreamState:
    """What the runtime remembers of one stream. A peer can name all 65,535, so it is kept small."""

    __slots__ = ("_arrival", "_low", "announced", "ends", "receiving", "stream_id", "taken", "used")

    def __init__(self, stream_id: int) -> None:
        self.stream_id = stream_id
        self._arrival: ParkingLot | None = None
        self._low: ParkingLot | None = None
        self.taken = 0
        """Messages that the user has taken."""
        self.ends: deque[int] | None = None
        """Resets by the peer: as many messages as `taken` will be when it is each one's turn."""
        self.announced = False
        """It is in `StreamDriver.incoming`, or was taken from there, and has not ended since."""
        self.receiving = False
        """A task is receiving."""
        self.used = False
        """Something was sent on it since the last reset was asked for."""

    async def wait_arrival(self) -> None:
        """Wait for messages, for a reset, or for the end of it all."""
        if self._arrival is None:
            self._arrival = ParkingLot()
        await self._arrival.park()

    async def wait_low(self) -> None:
        """Wait for the buffered amount to fall, or for the end of it all."""
        if self._low is None:
            self._low = ParkingLot()
        await self._low.park()

    def wake_receiver(self) -> None:
        """Something has arrived."""
        if self._arrival is not None:
            self._arrival.unpark_all()

    def wake_low(self) -> None:
        """The buffered amount has fallen."""
        if self._low is not None:
            self._low.unpark_all()


class Request:
    """A re-configuration request that tasks wait for."""

    __slots__ = ("answered", "name", "performed", "refusal", "target")

    def __init__(self, name: str) -> None:
        self.name = name
        self.answered = trio.Event()
        """Set when it was performed or refused, or when the association has ended."""
        self.performed = False
        self.refusal: str | None = None
        self.target = (0, 0)
        """Of `MORE_STREAMS`: how many there should be, outbound and inbound."""
