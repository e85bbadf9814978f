"""The exceptions of the pure parts of rtcsctp.

::

    RtcsctpError
    ├── LocalProtocolError          our caller asked for what the protocol or its state forbids
    │   ├── AssociationStateError   … in this state of the association
    │   ├── InvalidStreamError      … on a stream that was not negotiated
    │   ├── MessageTooLargeError    … with a message that the peer would refuse
    │   ├── ReliabilityError        … with reliability limits that contradict each other
    │   ├── ConfigError             a configuration value that cannot work (also a ValueError)
    │   ├── CertificateError        a certificate or key that cannot be used (also a ValueError)
    │   ├── ChannelStateError       … in this state of the data channel
    │   ├── ChannelIdError          a channel id that is taken, or cannot be (also a ValueError)
    │   └── SignallingStateError    … in this state of the offer/answer exchange
    └── RemoteProtocolError         what came from the peer breaks the protocol
        ├── DecodeError             bytes that are not even well formed
        ├── DescriptionError        a description or candidate that is no use (also a ValueError)
        └── DtlsError               the DTLS handshake failed
            └── FingerprintMismatchError    the peer's certificate is not the one that was announced

A `LocalProtocolError` is raised before anything changed. A `RemoteProtocolError` never leaves an
`Association`: it is counted, and answered as the RFC says. The exceptions that Trio programs meet
when a connection ends (`trio.BrokenResourceError` and its kin) are in `rtcsctp.runtime.errors`.
"""

from __future__ import annotations

__all__ = [
    "AssociationStateError",
    "CertificateError",
    "ChannelIdError",
    "ChannelStateError",
    "ConfigError",
    "DecodeError",
    "DescriptionError",
    "DtlsError",
    "FingerprintMismatchError",
    "InvalidStreamError",
    "LocalProtocolError",
    "MessageTooLargeError",
    "ReliabilityError",
    "RemoteProtocolError",
    "RtcsctpError",
    "SignallingStateError",
]


class RtcsctpError(Exception):
    """The root of the errors in `rtcsctp.errors`: wrong use, and what a peer did wrong.

    That a connection or an association was lost is no such error: `rtcsctp.ConnectionLost`,
    `rtcsctp.AssociationLost` and `rtcsctp.ChannelBroken` are `trio.BrokenResourceError`.
    """


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


class CertificateError(LocalProtocolError, ValueError):
    """A certificate or private key that cannot be read, or that do not belong together."""


class ChannelStateError(LocalProtocolError):
    """The command is not possible in the present state of the data channel."""


class ChannelIdError(LocalProtocolError, ValueError):
    """A data channel id that is in use, or that cannot exist, or none is left."""


class SignallingStateError(LocalProtocolError):
    """A description was made or applied out of turn (W3C's InvalidStateError; RFC 8829 5.5)."""


class RemoteProtocolError(RtcsctpError):
    """The peer, or somebody who pretends to be the peer, broke the protocol."""


class DecodeError(RemoteProtocolError):
    """Bytes from the network that cannot be decoded; the only exception of the decoders."""


class DescriptionError(RemoteProtocolError, ValueError):
    """A session description or an ICE candidate that cannot be used; the message says why."""


class DtlsError(RemoteProtocolError):
    """The DTLS handshake with the peer failed."""


class FingerprintMismatchError(DtlsError):
    """The peer's certificate has none of the fingerprints that its description announced.

    Attributes:
        announced: what the description said, as in SDP: ``sha-256 AB:CD:…``, one per line.
        actual: the fingerprint of the certificate that the peer has shown, in the same form.
    """

    def __init__(self, announced: str, actual: str) -> None:
        super().__init__(
            f"the peer's certificate is not the one that its description announced; announced: "
            f"{announced}; the certificate's: {actual}"
        )
        self.announced = announced
        self.actual = actual
