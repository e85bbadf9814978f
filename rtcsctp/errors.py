"""The exceptions of the pure parts of rtcsctp.

::

    RtcsctpError
    ├── LocalProtocolError          our caller asked for what the protocol or its state forbids
    │   ├── AssociationStateError   … in this state of the association
    │   ├── InvalidStreamError      … on a stream that was not negotiated
    │   ├── MessageTooLargeError    … with a message that the peer would refuse
    │   ├── ReliabilityError        … with reliability limits that contradict each other
    │   └── ConfigError             a configuration value that cannot work (also a ValueError)
    └── RemoteProtocolError         bytes from the network that break the protocol
        └── DecodeError             … that are not even well formed

A `LocalProtocolError` is raised before anything changed. A `RemoteProtocolError` never leaves an
`Association`: it is counted, and answered as the RFC says. The exceptions that Trio programs meet
when a connection ends (`trio.BrokenResourceError` and its kin) are in `rtcsctp.runtime.errors`.
"""

from __future__ import annotations

__all__ = [
    "AssociationStateError",
    "ConfigError",
    "DecodeError",
    "InvalidStreamError",
    "LocalProtocolError",
    "MessageTooLargeError",
    "ReliabilityError",
    "RemoteProtocolError",
    "RtcsctpError",
]


class RtcsctpError(Exception):
    """The root of the tree above."""


class LocalProtocolError(RtcsctpError):
    """Our caller asked for something that the protocol forbids; nothing was changed."""


class AssociationStateError(LocalProtocolError):
    """The command is not possible in the present state of the association."""


class InvalidStreamError(LocalProtocolError):
    """A stream identifier that is outside what both sides negotiated."""


class MessageTooLargeError(LocalProtocolError):
    """A message larger than the peer is known to accept."""


class ReliabilityError(LocalProtocolError):
    """Reliability limits that exclude each other, or are negative."""


class ConfigError(LocalProtocolError, ValueError):
    """A configuration value, or the name of one, that does not exist or cannot work."""


class RemoteProtocolError(RtcsctpError):
    """The peer, or somebody who pretends to be the peer, broke the protocol."""


class DecodeError(RemoteProtocolError):
    """Bytes from the network that cannot be decoded; the only exception of the decoders."""
