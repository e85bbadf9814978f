"""Two bare associations over a simulated network, in virtual time.

No Trio and no clock: a test says what should happen and lets time pass. ::

    pair = Pair(network=Network(Conditions(delay=0.05, loss=0.1), seed=3))
    pair.connect()
    pair.a.send(1, b"hello", now=pair.now)
    pair.flush()
    [message] = pair.b.receive(1, now=pair.now)
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from rtcsctp.sctp.association import Association
from rtcsctp.sctp.config import Config
from rtcsctp.sctp.events import Closed, Event
from rtcsctp.sctp.state import State
from rtcsctp.sctp.timers import Timer
from rtcsctp.testing.network import Network
from rtcsctp.testing.stepping import DEFAULT_CONDITIONS, CorePair

if TYPE_CHECKING:
    from rtcsctp.testing.pcapng import Capture

_PORT: Final = 5000  # what WebRTC stacks use (RFC 8841 section 5 and its examples)


class Pair(CorePair[Timer, Event]):
    """Two associations, `a` and `b`, not yet connected.

    The same arguments and the same calls give the same packets.
    """

    def __init__(
        self,
        config_a: Config | None = None,
        config_b: Config | None = None,
        network: Network | None = None,
        *,
        seed: int | str = 0,
        capture: Capture | None = None,
        max_instant_steps: int = 100_000,
    ) -> None:
        """Make two associations and put them at the ends of a network.

        Args:
            config_a: Of a; None: the defaults.
            config_b: Of b; None: the same as `config_a`.
            network: None: 10 ms each way and nothing else. It has a seed of its own.
            seed: Decides what the associations draw: tags, first TSNs, cookies.
            capture: See `CorePair`.
            max_instant_steps: See `CorePair`.
        """
        config_a = config_a if config_a is not None else Config()
        config_b = config_b if config_b is not None else config_a
        self.a: Final = _association(config_a, f"{seed}/a")
        self.b: Final = _association(config_b, f"{seed}/b")
        super().__init__(
            self.a,
            self.b,
            network if network is not None else Network(DEFAULT_CONDITIONS, seed=seed),
            capture=capture,
            max_instant_steps=max_instant_steps,
        )

    def connect(self, timeout: float = 60.0, *, both: bool = False) -> None:
        """Let a connect to b, and step until both are established.

        With `both`, b connects to a at the same instant (RFC 9260 section 5.2.1).

        Raises:
            ConnectionError: One of them gave up or was aborted; the message says which and why.
            TimeoutError: As in `CorePair.run_until`.
        """
        self.a.connect(self.now)
        if both:
            self.b.connect(self.now)
        seen_a, seen_b = len(self.events_a), len(self.events_b)

        def closed() -> list[str]:
            new = (("a", self.events_a[seen_a:]), ("b", self.events_b[seen_b:]))
            return [
                f"{name}: {event}"
                for name, events in new
                for event in events
                if isinstance(event, Closed)
            ]

        self.run_until(lambda: self.established or bool(closed()), timeout)
        if not self.established:
            message = f"not connected: {', '.join(closed())}"
            raise ConnectionError(message)

    @property
    def established(self) -> bool:
        """Whether both ends are established."""
        return self.a.state is State.ESTABLISHED and self.b.state is State.ESTABLISHED

    def flush(self, timeout: float = 60.0) -> None:
        """Step until all that both sent is acknowledged or abandoned, and no packet is under way.

        A receiver whose window is full must be read meanwhile, or this ends with a timeout.

        Raises:
            TimeoutError: As in `CorePair.run_until`.
        """
        self.run_until(
            lambda: self.a.is_drained and self.b.is_drained and not self.in_flight,
            timeout,
        )


def _association(config: Config, seed: str) -> Association:
    rng = random.Random(seed)
    return Association(config, local_port=_PORT, remote_port=_PORT, rng=rng)
