"""A peer that is a script: it makes the STUN messages that a test wants, right or wrong."""

from __future__ import annotations

import random

from rtcsctp.ice.agent import Agent
from rtcsctp.ice.candidate import Address, Candidate, CandidateType
from rtcsctp.ice.config import IceConfig
from rtcsctp.ice.events import IceEvent, IceState
from rtcsctp.ice.stun import (
    Attribute,
    Method,
    StunClass,
    StunMessage,
    build,
    encode_error,
    encode_uint32,
    encode_uint64,
    encode_xor_address,
    parse_untrusted,
    short_term_key,
)

OWN: Address = ("192.0.2.1", 5000)  # the agent's socket, number 1
PEER: Address = ("198.51.100.1", 6000)
UFRAG, PWD = "peer", "a" * 22


def candidate(
    address: Address = PEER,
    kind: CandidateType = CandidateType.HOST,
    *,
    priority: int = 2_130_706_431,
    transport: str = "udp",
    ufrag: str | None = None,
    foundation: str = "1",
) -> Candidate:
    return Candidate(
        foundation=foundation,
        transport=transport,
        priority=priority,
        host=address[0],
        port=address[1],
        type=kind,
        ufrag=ufrag,
        tcp_type="active" if transport == "tcp" else None,
    )


class Probe:
    """An agent with one socket, and what a peer can do to it."""

    def __init__(
        self,
        config: IceConfig | None = None,
        *,
        controlling: bool = True,
        tie_breaker: int = 1000,
        remote: bool = True,
        remote_lite: bool = False,
    ) -> None:
        self.now = 50.0
        self.agent = Agent(
            config or IceConfig(),
            controlling=controlling,
            rng=random.Random(7),
            tie_breaker=tie_breaker,
        )
        self.rng = random.Random(8)
        self.pwd = PWD
        self.ufrag = UFRAG
        self.events: list[IceEvent] = []
        self.agent.add_socket(1, OWN, self.now)
        if remote:
            self.agent.set_remote(UFRAG, PWD, lite=remote_lite, now=self.now)

    # ------------------------------------------------------------------------- what it sends

    def take(self) -> list[tuple[StunMessage, Address]]:
        """STUN that the agent sends now."""
        while (event := self.agent.poll_event()) is not None:
            self.events.append(event)
        found = []
        while transmits := self.agent.poll_transmit(self.now):
            for transmit in transmits:
                assert transmit.socket == 1
                found += [(parse_untrusted(data), transmit.address) for data in transmit.datagrams]
        return found

    def take_request(self) -> StunMessage:
        """The only check that it sends now (answers aside)."""
        (request,) = self.take_requests()
        return request

    def take_requests(self) -> list[StunMessage]:
        return [m for m, _ in self.take() if m.message_class is StunClass.REQUEST]

    def pass_time(self, seconds: float) -> list[StunMessage]:
        """Let time pass, from deadline to deadline; gives the checks that were sent."""
        end = self.now + seconds
        found = self.take_requests()
        while (at := self.agent.deadline) is not None and at <= end:
            self.now = max(self.now, at)
            self.agent.handle_timer(self.now)
            found += self.take_requests()
        self.now = end
        return found

    # ------------------------------------------------------------------- what the peer sends

    def deliver(self, data: bytes, source: Address = PEER) -> list[bytes]:
        return self.agent.handle_datagrams(1, [(data, source)], self.now)

    def request(
        self,
        *,
        username: str | None = None,
        key: bytes | None = None,
        use_candidate: bool = False,
        controlling: bool | None = None,
        tie_breaker: int = 1,
        priority: int = 1_845_501_695,
        more: tuple[tuple[int, bytes], ...] = (),
        fingerprint: bool = True,
        signed: bool = True,
    ) -> bytes:
        """A check of the peer, of the other role than the agent's if not said otherwise."""
        agent = self.agent
        controls = (not agent.controlling) if controlling is None else controlling
        role = Attribute.ICE_CONTROLLING if controls else Attribute.ICE_CONTROLLED
        attributes: list[tuple[int, bytes]] = [
            (Attribute.USERNAME, (username or f"{agent.local_ufrag}:{self.ufrag}").encode()),
            (Attribute.PRIORITY, encode_uint32(priority)),
            (role, encode_uint64(tie_breaker)),
            *more,
        ]
        if use_candidate:
            attributes.append((Attribute.USE_CANDIDATE, b""))
        return build(
            Method.BINDING,
            StunClass.REQUEST,
            self.rng.getrandbits(96).to_bytes(12, "big"),
            attributes,
            key=(key or short_term_key(agent.local_pwd)) if signed else None,
            fingerprint=fingerprint,
        )

    def ask(self, data: bytes, source: Address = PEER) -> StunMessage | None:
        """Deliver a request; gives the agent's answer and leaves out what else it sends."""
        self.deliver(data, source)
        answers = [
            m for m, to in self.take() if m.message_class >= StunClass.SUCCESS and to == source
        ]
        assert len(answers) <= 1
        return answers[0] if answers else None

    def success(
        self,
        request: StunMessage,
        *,
        mapped: Address = OWN,
        key: bytes | None = None,
        signed: bool = True,
    ) -> bytes:
        value = encode_xor_address(mapped, request.transaction_id)
        return build(
            Method.BINDING,
            StunClass.SUCCESS,
            request.transaction_id,
            [(Attribute.XOR_MAPPED_ADDRESS, value)],
            key=(key or short_term_key(self.pwd)) if signed else None,
        )

    def error(self, request: StunMessage, code: int, *, signed: bool = True) -> bytes:
        return build(
            Method.BINDING,
            StunClass.ERROR,
            request.transaction_id,
            [(Attribute.ERROR_CODE, encode_error(code, ""))],
            key=short_term_key(self.pwd) if signed else None,
        )

    # ---------------------------------------------------------------------------- shortcuts

    def is_in(self, state: IceState) -> bool:
        return self.agent.state is state

    def pair_states(self) -> list[str]:
        return [pair.state for pair in self.agent.statistics().pairs]

    def count(self, name: str) -> int:
        return self.agent.statistics().counters[name]

    def connect(self) -> None:
        """Make the agent complete with the peer at PEER, whichever its role."""
        if self.agent.statistics().remote_candidates == 0:
            self.agent.add_remote_candidate(candidate(), self.now)
        self.deliver(self.success(self.take_request()))
        if self.agent.controlling:
            for request in self.pass_time(0.2):
                if request.use_candidate:
                    self.deliver(self.success(request))
        else:
            self.deliver(self.request(use_candidate=True))
        self.take()
        assert self.is_in(IceState.COMPLETED)

    def connect_by_peer(self) -> None:
        """Make a valid pair by a check of the peer from PEER."""
        self.deliver(self.request())
        self.deliver(self.success(self.take_request()))

    def connect_by_peer_again(self) -> None:
        """The same where other checks may be under way."""
        self.deliver(self.request())
        self.deliver(self.success(self.pass_time(0.1)[-1]))
