"""What a client of signalling over HTTP can meet.

::

    rtcsctp.RtcsctpError
    └── SignallingError             the server cannot be reached, or does not speak this
        └── SignallingRefusedError  it has answered, but other than hoped for; has `status`
"""

from __future__ import annotations

from rtcsctp.errors import RtcsctpError

__all__ = ["SignallingError", "SignallingRefusedError"]


class SignallingError(RtcsctpError):
    """The server cannot be reached, or what it answers is no signalling; the message says which."""


class SignallingRefusedError(SignallingError):
    """The server refused a request.

    Attributes:
        status: of the HTTP response.
        detail: what the server says about it; may be empty.
        retry_after: in how many seconds to try again, if the server says so.
    """

    def __init__(
        self, message: str, *, status: int, detail: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail
        self.retry_after = retry_after
