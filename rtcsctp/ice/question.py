"""A question to a STUN server: how does this socket look from outside? (RFC 8445 5.1.1.2)"""

from __future__ import annotations

import random
from math import inf

from rtcsctp.ice.candidate import Address
from rtcsctp.ice.local import Base
from rtcsctp.ice.stun import Method, StunClass, build, new_transaction_id
from rtcsctp.ice.transactions import Transaction

__all__ = ["Question"]


class Question:
    """Asked once to get a candidate, and again to keep the binding behind it alive (5.1.1.4).

    Attributes:
        base, address: from where to where.
        url: of the server, as the user named it.
        index: which of the servers it is.
        answered: whether it ever was.
        refresh_at: when to ask again; inf for never.
        is_pending: gathering waits for it.
    """

    __slots__ = (
        "_give_up_at",
        "_transaction",
        "address",
        "answered",
        "base",
        "index",
        "is_pending",
        "refresh_at",
        "url",
    )

    def __init__(self, base: Base, address: Address, url: str, index: int) -> None:
        self.base = base
        self.address = address
        self.url = url
        self.index = index
        self.answered = False
        self.refresh_at = inf
        self.is_pending = True
        self._transaction: Transaction | None = None
        self._give_up_at = inf

    def begin(self) -> None:
        """Have gathering wait for it again."""
        self.is_pending = True
        self.refresh_at = inf

    def start(self, now: float, patience: float, rng: random.Random) -> None:
        """Ask now, and for so many seconds at most."""
        transaction_id = new_transaction_id(rng)
        request = build(Method.BINDING, StunClass.REQUEST, transaction_id, fingerprint=False)
        self._transaction = Transaction(request, transaction_id, now)
        self._give_up_at = now + patience

    def finish(self, now: float, again_in: float) -> None:
        """It was answered, or given up; ask again in so many seconds."""
        self._transaction = None
        self.is_pending = False
        self.refresh_at = now + again_in

    @property
    def is_idle(self) -> bool:
        """Whether it is not being asked."""
        return self._transaction is None

    @property
    def deadline(self) -> float:
        """When there is something to do; inf for never."""
        if self._transaction is None:
            return self.refresh_at
        return min(self._transaction.deadline, self._give_up_at)

    def owns_transaction(self, transaction_id: bytes) -> bool:
        """Whether the answer with this transaction is to this question."""
        return self._transaction is not None and self._transaction.transaction_id == transaction_id

    def next_request(self, now: float) -> bytes | None:
        """The request if it is to be sent now."""
        return None if self._transaction is None else self._transaction.next(now)

    def has_failed(self, now: float) -> bool:
        """Whether it was asked long enough."""
        return self._transaction is not None and (
            self._transaction.has_failed or now >= self._give_up_at
        )
