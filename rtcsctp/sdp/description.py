"""A description as it travels between two peers, in the three forms that programs use.

``sdp`` is the text that RFC 8829 is about. Browsers wrap it into a small JSON object. And for
people who carry it from one terminal or chat window to another there is one short line.
"""

from __future__ import annotations

import json

import attrs

from rtcsctp.errors import DescriptionError
from rtcsctp.sdp.compact import pack, unpack_untrusted
from rtcsctp.sdp.model import DescriptionType
from rtcsctp.sdp.parse import MAX_DESCRIPTION, parse_untrusted
from rtcsctp.sdp.write import write

__all__ = ["DescriptionType", "SessionDescription"]


@attrs.frozen
class SessionDescription:
    """A description and the part that it plays (W3C ``RTCSessionDescription``).

    Attributes:
        type: offer, answer, pranswer or rollback.
        sdp: the text; empty for a rollback.
    """

    type: DescriptionType = attrs.field(converter=DescriptionType)
    sdp: str = ""

    @classmethod
    def rollback(cls) -> SessionDescription:
        """What cancels the offer that is pending (RFC 8829 4.1.10.2)."""
        return cls(DescriptionType.ROLLBACK)

    # ---- JSON

    def to_json(self) -> str:
        """As browsers do it: ``{"type": "offer", "sdp": "v=0…"}``."""
        return json.dumps({"type": self.type.value, "sdp": self.sdp})

    @classmethod
    def from_json(cls, text: str) -> SessionDescription:
        """Read what a browser's ``JSON.stringify(pc.localDescription)`` gave.

        The text may come from the network. Whether its `sdp` can be used is not looked at here.

        Raises:
            DescriptionError: not JSON, or not of that form.
        """
        if len(text) > 2 * MAX_DESCRIPTION:
            raise DescriptionError(f"a description in JSON of {len(text)} characters")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DescriptionError(f"not JSON: {text[:80]!r}") from error
        if not isinstance(value, dict):
            raise DescriptionError(f"not a JSON object with type and sdp: {text[:80]!r}")
        kind, sdp = value.get("type"), value.get("sdp", "")
        if not isinstance(kind, str) or kind not in _TYPES:
            raise DescriptionError(f"a description of type {str(kind)[:80]!r}")
        if not isinstance(sdp, str):
            raise DescriptionError(f"the sdp is not a text but a {type(sdp).__name__}")
        return cls(DescriptionType(kind), sdp)

    # ---- one line

    def to_line(self) -> str:
        """One line without blanks that can be pasted into a chat or a URL.

        For the usual description with three candidates it has less than 250 characters. It carries
        what `ParsedDescription` holds, except the numbers of the o= line; reading it again gives an
        equal description in our own words.

        Raises:
            DescriptionError: the text of this description cannot be read.
        """
        parsed = None
        if self.type is not DescriptionType.ROLLBACK:
            parsed = parse_untrusted(self.sdp)
        return pack(self.type, parsed)

    @classmethod
    def from_line_untrusted(cls, text: str) -> SessionDescription:
        """Read what `to_line` gave; blanks and line breaks, as mail programs add, are skipped.

        Raises:
            DescriptionError: it is no such line, damaged, cut, or of another version.
        """
        kind, parsed = unpack_untrusted(text)
        return cls(kind, "" if parsed is None else write(parsed))


_TYPES = frozenset(kind.value for kind in DescriptionType)
