"""ICE (RFC 8445), STUN (RFC 8489) and TURN (RFC 8656) without I/O.

The map of the package::

    the agent
        agent.py                                Agent: what its owner calls; begins with the theory
        config.py  events.py  statistics.py     numbers, what is told, what is counted
        sessions.py  session.py                 an ICE session, and the one before a restart
        checklist.py  pairs.py  checks.py       pairs, their states, checks under way and their pace
        nomination.py  role.py                  who decides, and when
        requests.py  credentials.py             Binding requests: made, judged, proved
        remote.py                               the peer's candidates
        path.py  consent.py                     which pair carries data, and whether it still may
        routine.py                              consent checks while nothing else happens
        incoming.py                             what sockets receive, taken apart (RFC 7983)
        context.py                              what these parts share
    our own candidates
        gathering.py  announce.py  local.py     bases, and what is made of them
        question.py  relay.py                   a STUN server asked; an allocation as a way out
    STUN and TURN
        stun.py  stun_attributes.py  stun_keys.py  stun_pattern.py  transactions.py
        turn.py  turn_exchange.py  turn_requests.py  turn_credentials.py  turn_peers.py
        turn_redirect.py  turn_stream.py  turn_events.py
    values
        candidate.py  servers.py  mdns.py
"""
