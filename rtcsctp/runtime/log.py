"""What is logged: one line for each event that matters, and none for packets and messages.

The loggers are those of the standard library, below ``rtcsctp``, and silent until a program asks::

    import logging

    logging.basicConfig(level=logging.INFO)

==================  ===============================================================================
logger              says
==================  ===============================================================================
rtcsctp.peer        states, descriptions, restarts, why a connection was lost
rtcsctp.ice         the pair that data takes; servers that gave no candidate
rtcsctp.dtls        the handshake: version, cipher, fingerprints; why it failed
rtcsctp.sctp        associations: established, restarted, ended and why; the path's MTU
rtcsctp.channel     data channels: opened, closed
rtcsctp.capture     captures and key logs that the environment asks for
rtcsctp.http        signalling over HTTP
==================  ===============================================================================

INFO is what an operator wants to know of each connection, WARNING what went wrong, DEBUG the steps
between. Records have fields (``extra``) for programs that write them as data: ``peer`` (the name in
front of the line, unique in this process) and ``kind`` (what happened, one word), and what belongs
to that: see the calls. There are no passwords, keys or cookies in them, nor what users send: only
labels of channels.
"""

from __future__ import annotations

import itertools
import logging

__all__ = ["Journal", "association_journal", "peer_journal"]

_ROOT = logging.getLogger("rtcsctp")
_ROOT.addHandler(logging.NullHandler())
_LOGGERS = {
    name: logging.getLogger(f"rtcsctp.{name}")
    for name in ("peer", "ice", "dtls", "sctp", "channel")
}
_MAX_TEXT = 200
"""Characters of a text of the other side's in a line."""

_peers = itertools.count(1)
_associations = itertools.count(1)


class Journal:
    """Logs the events of one connection.

    Attributes:
        name: what its lines begin with.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def detail(self, where: str, kind: str, text: str, **fields: object) -> None:
        """A step between."""
        self._say(logging.DEBUG, where, kind, text, fields)

    def note(self, where: str, kind: str, text: str, **fields: object) -> None:
        """What an operator wants to know."""
        self._say(logging.INFO, where, kind, text, fields)

    def problem(self, where: str, kind: str, text: str, **fields: object) -> None:
        """What went wrong."""
        self._say(logging.WARNING, where, kind, text, fields)

    def _say(self, level: int, where: str, kind: str, text: str, fields: dict[str, object]) -> None:
        """`text` is a format for `fields`, which are shown in it by their names."""
        logger = _LOGGERS[where]
        if not logger.isEnabledFor(level):
            return
        shown = {name: _shown(value) for name, value in fields.items()}
        extra = fields | {"peer": self.name, "kind": kind}
        logger.log(level, "%s: %s", self.name, text.format_map(shown), extra=extra)


def _shown(value: object) -> object:
    """As it stands in a line: what others have written cannot begin another one."""
    if isinstance(value, str):
        text = value if len(value) <= _MAX_TEXT else value[:_MAX_TEXT] + "…"
        return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return value


def peer_journal() -> Journal:
    """For a new peer connection."""
    return Journal(f"peer-{next(_peers)}")


def association_journal() -> Journal:
    """For a new association that belongs to no peer connection."""
    return Journal(f"association-{next(_associations)}")
