"""SCTP associations for Python programs, on Trio.

The map of the package::

    errors.py    the exceptions of the pure parts, drawn as a tree
    sctp/        SCTP (RFC 9260 and its extensions) without I/O: bytes, times and commands go in,
                 packets, events and deadlines come out
    runtime/     the folder that does I/O: an association is a nursery of Trio tasks around a core,
                 and a link carries its datagrams
    testing/     for your own tests: a seeded simulated network, two cores stepped in virtual time,
                 links in memory, packet captures
    cli/         the `rtcsctp` command

Imports point downwards only: `cli` may use everything, `runtime` uses `sctp`, `sctp` uses nothing
but `errors`. What lies in `sctp` is pure: it reads no clock, draws no randomness of its own and
knows neither Trio nor sockets.
"""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
