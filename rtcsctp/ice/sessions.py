"""The ICE sessions of one agent: the present one, and in a restart the one before (RFC 8445 9).

A restart goes through three steps. It begins: there is a new session without the peer's
credentials, and the older one goes on as if nothing had happened. It runs: the peer's credentials
have come, the new session checks, the older one only carries data. It is over: the new session has
nominated a pair; the older one answers requests for a while, for the peer may change over later.
"""

from __future__ import annotations

from math import inf

from rtcsctp.ice.context import Context
from rtcsctp.ice.credentials import Credentials
from rtcsctp.ice.events import RoleChanged
from rtcsctp.ice.local import Base
from rtcsctp.ice.pairs import Pair
from rtcsctp.ice.session import Session

__all__ = ["Sessions"]

_OLD_SESSION_LIFE = 30.0
"""Seconds for which requests with the old credentials are answered after a restart is over: as long
as the peer's consent lasts (RFC 7675)."""


class Sessions:
    """One or two sessions.

    Attributes:
        current: the present session.
        previous: the one before, if it is still of use.
    """

    __slots__ = ("_context", "_forget_at", "current", "previous")

    def __init__(self, context: Context, credentials: Credentials) -> None:
        self._context = context
        self._forget_at = inf  # when the older session has had its time
        self.current = Session(context, credentials, ())
        self.previous: Session | None = None

    def alive(self) -> list[Session]:
        """The newest first."""
        return [self.current] if self.previous is None else [self.current, self.previous]

    @property
    def in_force(self) -> Session:
        """The present session; while a restart has only begun, still the one before."""
        if self.previous is not None and self.current.remote is None:
            return self.previous
        return self.current

    def find(self, local_ufrag: str, remote_ufrag: str) -> Session:
        """The session of a request; the present one if only our own part fits."""
        previous = self.previous
        if previous is not None and previous.local.ufrag == local_ufrag:
            same = previous.remote is not None and previous.remote.ufrag == remote_ufrag
            if same or self.current.local.ufrag != local_ufrag:
                return previous
        return self.current

    def begin(self, credentials: Credentials, bases: list[Base], in_use: Pair | None) -> None:
        """Make a new session the present one, and keep of the older the one that is of use.

        Args:
            credentials: of our side.
            bases: all that we have.
            in_use: the pair that carries data.
        """
        current, previous = self.current, self.previous
        session = Session(self._context, credentials, bases)
        if current.local is credentials:
            session.take_early(current)
        if previous is not None and (
            current.remote is None or (in_use is not None and in_use in previous.checklist)
        ):
            # Two restarts, and the first is not over: its session is of no use to anybody.
            self._context.checks.forget_session(current)
        else:
            self._forget_previous()
            self.previous = current
        self._forget_at = inf
        self.current = session

    def cancel(self) -> bool:
        """Take back a restart that has not begun to run; whether there was one."""
        previous = self.previous
        if previous is None or self.current.remote is not None or self._forget_at != inf:
            return False
        self._context.checks.forget_session(self.current)
        self.current = previous
        self.previous = None
        return True

    def start(self, remote: Credentials, *, lite: bool, now: float) -> None:
        """The peer's credentials for the present session have come."""
        if self.previous is not None:
            self.previous.stop()
        self.current.start(remote, lite=lite, now=now)

    def settle(self, now: float) -> None:
        """Note that a restart is over, and forget what has had its time."""
        if self.previous is None or self.current.selected is None:
            return
        if self._forget_at == inf:
            self.previous.stop()
            self._forget_at = now + _OLD_SESSION_LIFE
        elif now >= self._forget_at:
            self._forget_previous()

    def relayed_hosts(self) -> set[tuple[Base, str]]:
        """The hosts that pairs reach by relays."""
        return {
            (pair.base, pair.remote.address[0])
            for session in self.alive()
            for pair in session.checklist
            if pair.base.relay is not None
        }

    def _forget_previous(self) -> None:
        previous, self.previous = self.previous, None
        if previous is not None:
            self._context.checks.forget_session(previous)

    def close(self) -> None:
        """Forget all checks."""
        for session in self.alive():
            self._context.checks.forget_session(session)

    # ------------------------------------------------------------------ what concerns them all

    def switch_role(self) -> None:
        """Take the other role: priorities change, and who nominates (RFC 8445 7.3.1.1)."""
        role = self._context.role
        role.controlling = not role.controlling
        for session in self.alive():
            session.set_controlling(controlling=role.controlling)
        self._context.events.append(RoleChanged(role.controlling))

    def add_base(self, base: Base, now: float) -> None:
        """One more base of ours."""
        for session in self.alive():
            session.add_base(base, now)

    def remove_base(self, base: Base) -> None:
        """A base has gone."""
        for session in self.alive():
            session.remove_base(base)

    def fail_host(self, base: Base, host: str) -> None:
        """A relay may not reach a host."""
        for session in self.alive():
            session.fail_host(base, host)
