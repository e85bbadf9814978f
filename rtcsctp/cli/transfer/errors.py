"""How a transfer can end other than well.

::

    Exception
    ├── TransferError     it cannot be done; trying again as it is would not help
    │   └── RefusedError  the other side says so
    └── PathBroken        the connection ended in the middle; another one can go on
"""

from __future__ import annotations

__all__ = ["PathBroken", "RefusedError", "TransferError"]


class TransferError(Exception):
    """It cannot be done; the message is one line for the user, and for the other side's user."""


class RefusedError(TransferError):
    """The other side cannot, or does not want to; the message says why in its words."""


class PathBroken(Exception):  # noqa: N818 (not the end of the transfer)
    """The connection ended in the middle; what has arrived is kept, and another one can go on."""
