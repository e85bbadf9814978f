"""ICE (RFC 8445), STUN (RFC 8489) and TURN (RFC 8656) without I/O."""
