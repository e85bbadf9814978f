"""How many bytes may be in flight, and how fast they may leave.

- `controller`: what every controller is told, and asked
- `rfc9260`: slow start and congestion avoidance as RFC 9260 has them
"""

from rtcsctp.sctp.tx.congestion.controller import Acked, CongestionController, Lost
from rtcsctp.sctp.tx.congestion.rfc9260 import Rfc9260

__all__ = ["Acked", "CongestionController", "Lost", "Rfc9260"]
