"""Whether IP may fragment the datagrams of a UDP socket.

Probes of the path MTU (RFC 8899) tell the truth only if nothing on the way cuts them, so sockets
ask for "don't fragment": in the header of IPv4, and of the own computer for IPv6, where routers
never fragment. What the kernel believes of a path because of ICMP messages is not used, as anybody
can forge them. A datagram that is larger than the interface carries is refused then (EMSGSIZE): a
loss like any other.

Each system has its own option; where there is none that is known here, or it is refused, datagrams
may be fragmented: the path then seems to carry more than it does in one piece, and still works.
"""

from __future__ import annotations

import contextlib
import socket
import sys

__all__ = ["FragmentationSwitch", "allow_fragments"]

_LINUX_IP_MTU_DISCOVER = 10
_LINUX_IPV6_MTU_DISCOVER = 23
_LINUX_IPV6_MTU = 24
_LINUX_FRAGMENT = 0  # IP_PMTUDISC_DONT
_LINUX_PROBE = 3  # IP_PMTUDISC_PROBE: set the bit, whatever the kernel knows of the path
_IPV6_MIN_MTU = 1280

_DONT_FRAGMENT = {
    ("darwin", socket.AF_INET): 28,
    ("darwin", socket.AF_INET6): 62,
    ("freebsd", socket.AF_INET): 67,
    ("freebsd", socket.AF_INET6): 62,
    ("win32", socket.AF_INET): 14,
    ("win32", socket.AF_INET6): 14,
}
"""IP_DONTFRAG, IP_DONTFRAGMENT or IPV6_DONTFRAG of other systems."""


def allow_fragments(sock: socket.socket, allowed: bool) -> None:
    """Let IP fragment what is sent by a UDP socket from now on, or forbid it."""
    is_ipv6 = sock.family == socket.AF_INET6
    level = socket.IPPROTO_IPV6 if is_ipv6 else socket.IPPROTO_IP
    with contextlib.suppress(OSError):
        if sys.platform.startswith("linux"):
            option = _LINUX_IPV6_MTU_DISCOVER if is_ipv6 else _LINUX_IP_MTU_DISCOVER
            sock.setsockopt(level, option, _LINUX_FRAGMENT if allowed else _LINUX_PROBE)
            if is_ipv6:
                # Fragments are cut here and nowhere else: to what every path carries.
                sock.setsockopt(level, _LINUX_IPV6_MTU, _IPV6_MIN_MTU if allowed else 0)
            return
        system = "freebsd" if sys.platform.startswith("freebsd") else sys.platform
        other = _DONT_FRAGMENT.get((system, sock.family))
        if other is not None:
            sock.setsockopt(level, other, not allowed)


class FragmentationSwitch:
    """The setting of one socket, which several users share: fragments while one needs them."""

    __slots__ = ("_socket", "_users")

    def __init__(self, sock: socket.socket) -> None:
        """Forbid fragments to begin with."""
        self._socket = sock
        self._users = 0
        allow_fragments(sock, False)

    def set(self, allowed: bool) -> None:
        """One user needs fragments from now on, or no longer."""
        before = self._users
        self._users += 1 if allowed else -1
        if not before or not self._users:
            allow_fragments(self._socket, self._users > 0)
