r"""Packets between two ends, drawn as a ladder::

              127.0.0.1:9899                        127.0.0.1:40312
    0.000000  │ INIT tag 1a2b3c4d, TSN 100 ──────────────────────▶ │
    0.010214  │ ◀──────────────────────── INIT ACK tag 99aabbcc    │

`Ladder` is the drawing alone. `LadderReader` tells associations in a capture apart, finds out who
sent what, and draws each packet: what `rtcsctp decode` shows. For a whole capture in one call::

    print("\n".join(draw_ladder(read_pcapng_untrusted("run.pcapng"))))
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Final

import attrs

from rtcsctp.errors import DecodeError
from rtcsctp.testing.dissect import DissectedPacket, dissect_untrusted
from rtcsctp.testing.pcapng import CapturedPacket
from rtcsctp.testing.unwrap import SCTP_UDP_PORT, NotSctp, Unwrapped, unwrap_untrusted

__all__ = ["Ladder", "LadderReader", "Rung", "draw_ladder"]

_TIME_WIDTH: Final = 10
_NARROWEST: Final = 30
_SHORTEST_ARROW: Final = 3
_MAX_CONVERSATIONS: Final = 1000  # that are told apart; the rest are one


class Ladder:
    """Draws rungs between two rails."""

    def __init__(
        self, left: str, right: str, *, width: int = 100, plain: bool = False, time_width: int = 0
    ) -> None:
        """
        Args:
            left: name of the left end.
            right: name of the right end.
            width: of all, in columns.
            plain: draw with ASCII characters only.
            time_width: columns for the time at least.
        """
        self._time_width: Final = max(time_width, _TIME_WIDTH)
        self._inner: Final = max(_NARROWEST, width - self._time_width - 4)
        self._left: Final = left
        self._right: Final = right
        self._rail, self._line, self._to_right, self._to_left = (
            ("|", "-", ">", "<") if plain else ("│", "─", "▶", "◀")
        )

    def head(self) -> str:
        """The names of both ends, above their rails."""
        room = self._inner + 2
        left, right = self._left, self._right
        if len(left) + len(right) + 1 > room:
            left, right = left[: room // 2 - 1], right[-(room // 2) :]
        return f"{'':{self._time_width}}  {left}{right:>{room - len(left)}}"

    def rung(self, time: str, words: Sequence[str], *, rightwards: bool) -> list[str]:
        """One packet: the first of `words` beside its arrow, each of the others in a line below.

        What is too long goes on in further lines.
        """
        room = self._inner - 2
        lines: list[str] = []
        for text in words:
            limit = room - (_SHORTEST_ARROW + 2 if not lines else 0)
            lines += textwrap.wrap(text, limit, subsequent_indent="  ") or [""]
        drawn = []
        for number, text in enumerate(lines):
            if number:
                body = f"{text:<{room}}" if rightwards else f"{text:>{room}}"
            elif rightwards:
                body = f"{text} {self._line * (room - len(text) - 2)}{self._to_right}"
            else:
                body = f"{self._to_left}{self._line * (room - len(text) - 2)} {text}"
            stamp = time if not number else ""
            drawn.append(f"{stamp:>{self._time_width}}  {self._rail} {body} {self._rail}")
        return drawn

    def remark(self, text: str) -> str:
        """A line between two rungs, about what is not a packet."""
        return f"{'':{self._time_width}}  {self._rail} {text:^{self._inner - 2}} {self._rail}"


# ---------------------------------------------------------------------------------- captures


@attrs.frozen
class Rung:
    """A packet of a capture, read and put into its place."""

    number: int
    """Among all frames of the capture, from 1."""
    time_ns: int
    """Since 1970; 0 if the capture does not say."""
    conversation: int
    """Which association it belongs to, from 1: ports and addresses tell them apart."""
    rightwards: bool
    """Whether the left end of the ladder sent it: the one that spoke first, or the capturing."""
    left: str
    """The ends of the ladder, as they are called."""
    right: str
    data: bytes
    packet: DissectedPacket | None
    problem: str | None
    """Why it could not be read to its end."""

    @property
    def words(self) -> list[str]:
        """What is said of it: its chunks, and what is wrong with it."""
        packet = self.packet
        said = [] if packet is None else [str(chunk) for chunk in packet.chunks]
        if self.problem is not None:
            said.append(f"[{self.problem}]")
        if packet is not None and packet.checksum == "wrong":
            said.append("[wrong checksum]")
        return said


@attrs.define
class _Conversation:
    """Two ends that exchange packets."""

    number: int
    left: str
    right: str
    left_key: object
    left_tag: int | None = None
    """What packets to the left end carry; where nothing else tells the direction."""
    right_tag: int | None = None


class LadderReader:
    """Reads frames of a capture, in order.

    Attributes:
        skipped: how many frames had no SCTP packet, by the reason.
        frames: how many there were.
        conversations: how many associations were seen.
    """

    def __init__(self, *, udp_ports: Collection[int] = (SCTP_UDP_PORT,)) -> None:
        """
        Args:
            udp_ports: UDP to or from one of these has SCTP in it.
        """
        self.skipped: Final[dict[str, int]] = {}
        self.frames = 0
        self._udp_ports: Final = frozenset(udp_ports)
        self._conversations: Final[dict[object, _Conversation]] = {}

    @property
    def conversations(self) -> int:
        """How many associations were seen."""
        return len(self._conversations)

    def read_untrusted(self, frame: CapturedPacket) -> Rung | None:
        """Read the next frame; None if there is no SCTP packet in it."""
        self.frames += 1
        found = unwrap_untrusted(frame.data, frame.link_type, self._udp_ports)
        if isinstance(found, NotSctp):
            self.skipped[found.reason] = self.skipped.get(found.reason, 0) + 1
            return None
        problem: str | None
        packet: DissectedPacket | None
        try:
            packet = dissect_untrusted(found.packet)
            problem = packet.problem
        except DecodeError as error:
            packet, problem = None, str(error)
        conversation, rightwards = self._place(frame, found, packet)
        return Rung(
            self.frames,
            frame.time_ns,
            conversation.number,
            rightwards,
            conversation.left,
            conversation.right,
            found.packet,
            packet,
            problem,
        )

    def _place(
        self, frame: CapturedPacket, found: Unwrapped, packet: DissectedPacket | None
    ) -> tuple[_Conversation, bool]:
        """The conversation of a packet, and whether it went to the right."""
        ports = (packet.source_port, packet.destination_port) if packet is not None else (0, 0)
        source, destination = (found.source, ports[0]), (found.destination, ports[1])
        key: object = frozenset((source, destination))
        if not found.source:
            key = (frame.interface, key)
        conversation = self._conversations.get(key)
        if conversation is None and len(self._conversations) >= _MAX_CONVERSATIONS:
            key = None
            conversation = self._conversations.get(key)
        if conversation is None:
            conversation = self._begin(frame, source, destination)
            self._conversations[key] = conversation
        return conversation, _goes_right(conversation, frame, source, destination, packet)

    def _begin(
        self, frame: CapturedPacket, source: tuple[str, int], destination: tuple[str, int]
    ) -> _Conversation:
        number = len(self._conversations) + 1
        if frame.outbound is not None and not source[0]:
            here, there = (source, destination) if frame.outbound else (destination, source)
            return _Conversation(number, f"here, port {here[1]}", f"peer, port {there[1]}", here)
        return _Conversation(number, _name(source), _name(destination), source)


def _name(end: tuple[str, int]) -> str:
    return f"{end[0]} port {end[1]}".strip()


def _goes_right(
    conversation: _Conversation,
    frame: CapturedPacket,
    source: tuple[str, int],
    destination: tuple[str, int],
    packet: DissectedPacket | None,
) -> bool:
    if frame.outbound is not None and not source[0]:
        return frame.outbound
    if source != destination:
        return source == conversation.left_key
    if packet is None or not packet.chunks:
        return True
    # Nothing but the tag tells: INIT has none, and each end announces its own.
    first = packet.chunks[0]
    if first.name == "INIT":
        if conversation.left_tag in (None, first.initiate_tag):
            conversation.left_tag = first.initiate_tag
            return True
        conversation.right_tag = first.initiate_tag
        return False
    if first.name == "INIT ACK" and packet.tag == conversation.left_tag:
        conversation.right_tag = first.initiate_tag
    if conversation.right_tag is None and packet.tag != conversation.left_tag:
        conversation.right_tag = packet.tag
    return packet.tag != conversation.left_tag


def draw_ladder(
    frames: Iterable[CapturedPacket],
    *,
    width: int = 100,
    plain: bool = False,
    udp_ports: Collection[int] = (SCTP_UDP_PORT,),
    chosen: Callable[[Rung], bool] = lambda _: True,
    reader: LadderReader | None = None,
    stamp: Callable[[int, int], str] | None = None,
) -> Iterator[str]:
    """The lines of a ladder, as frames come.

    Args:
        frames: of a capture, in order.
        width: in columns.
        plain: draw with ASCII characters only.
        udp_ports: as `LadderReader` has them.
        chosen: says of each packet whether it is shown.
        reader: to be asked afterwards for what was skipped; one of its own by default.
        stamp: how times are written: is given the time of a packet and that of the first frame, in
            nanoseconds; seconds since the first frame by default.
    """
    reader = reader if reader is not None else LadderReader(udp_ports=udp_ports)
    write = stamp if stamp is not None else _seconds_since
    first_ns: int | None = None
    ladder, shown = None, 0
    for frame in frames:
        first_ns = frame.time_ns if first_ns is None else first_ns
        rung = reader.read_untrusted(frame)
        if rung is None or not chosen(rung):
            continue
        time = write(rung.time_ns, first_ns)
        if ladder is None or shown != rung.conversation:
            if ladder is not None:
                yield ""
            shown = rung.conversation
            ladder = Ladder(rung.left, rung.right, width=width, plain=plain, time_width=len(time))
            yield ladder.head()
        yield from ladder.rung(time, rung.words, rightwards=rung.rightwards)


def _seconds_since(time_ns: int, first_ns: int) -> str:
    return f"{(time_ns - first_ns) / 1e9:.6f}"
