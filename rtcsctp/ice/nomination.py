"""When a controlling agent settles for a pair (RFC 8445 8.1.1 leaves the criteria to us).

Data flows on the best valid pair anyway, so nothing is lost by waiting a little for a better one,
and nothing may be changed after nominating. A pair is nominated

- at once, if no better pair is left that may still work;
- for a relayed pair only if moreover no candidates can come any more; else a direct way is given
  `relay_wait`;
- otherwise `nomination_wait` after the first pair has worked, or two of its round trips.
"""

from __future__ import annotations

from math import inf

from rtcsctp.ice.config import IceConfig
from rtcsctp.ice.pairs import Pair
from rtcsctp.ice.session import Session

__all__ = ["pair_to_nominate"]


def pair_to_nominate(
    session: Session, config: IceConfig, *, gathered: bool, now: float
) -> tuple[Pair | None, float]:
    """The pair to nominate now, if any; else when to ask again (inf: when something happens).

    Args:
        session: of a controlling, full agent.
        config: the parameters.
        gathered: whether our own candidates are complete.
        now: the present time.
    """
    if session.selected is not None or session.nominating is not None or not session.is_running:
        return None, inf
    best = session.checklist.best_valid
    since = session.first_valid_at
    if best is None or since is None:
        return None, inf
    better_may_come = session.checklist.has_better(best)
    if best.is_relayed and config.policy != "relay":
        wait = config.relay_wait
        better_may_come = better_may_come or not (gathered and session.ended)
    else:
        wait = max(config.nomination_wait, 2 * (best.rtt or 0.0))
    at = since + wait
    if not better_may_come or now >= at:
        return best, inf
    return None, at
