"""Taking apart what the sockets receive (RFC 7983), and STUN from the peer.

First bytes: 0 to 3 are STUN, 20 to 63 DTLS, 64 to 79 ChannelData of TURN. STUN acts only with the
right integrity (pitfall W14); DTLS is taken only from addresses that have proved to be the peer's
(pitfall W13), whether a pair was nominated or not (pitfall W3).
"""

from __future__ import annotations

from collections.abc import Sequence

from rtcsctp.errors import DecodeError
from rtcsctp.ice.candidate import Address
from rtcsctp.ice.context import Context
from rtcsctp.ice.gathering import Gatherer
from rtcsctp.ice.local import Base, Source
from rtcsctp.ice.pairs import Pair
from rtcsctp.ice.relay import Relay
from rtcsctp.ice.requests import Inbound, judge_request, make_success
from rtcsctp.ice.sessions import Sessions
from rtcsctp.ice.stun import Method, StunClass, StunMessage, is_stun, parse_untrusted

__all__ = ["Accepted", "Incoming"]


class Accepted:
    """A Binding request or a success of the peer whose integrity was right.

    Attributes:
        base, source: where it arrived, and where it came from.
        message: the whole of it.
        key: of its integrity.
        reply: our success response; None if it was one itself.
        pair: of the check that it answers; None if it was a request.
    """

    __slots__ = ("base", "key", "message", "pair", "reply", "source")

    def __init__(
        self,
        base: Base,
        source: Address,
        message: bytes,
        key: bytes,
        *,
        reply: bytes | None = None,
        pair: Pair | None = None,
    ) -> None:
        self.base = base
        self.source = source
        self.message = message
        self.key = key
        self.reply = reply
        self.pair = pair


class Incoming:
    """Where what arrives is shared out to.

    Attributes:
        accepted: the last message of the peer's that was; may be taken away.
    """

    __slots__ = ("_context", "_gatherer", "_sessions", "accepted")

    def __init__(self, context: Context, gatherer: Gatherer, sessions: Sessions) -> None:
        self._context = context
        self._gatherer = gatherer
        self._sessions = sessions
        self.accepted: Accepted | None = None

    def demultiplex_untrusted(
        self, base: Base, batch: Sequence[tuple[bytes, Address]], found: list[bytes], now: float
    ) -> bool:
        """Append application data to `found`, in order; whether there was anything else.

        For data this is one look into a table per datagram; it is credited to its source by runs.
        """
        sources = base.sources.get
        append = found.append
        others = False
        run_of: Source | None = None
        start = 0
        for datagram, address in batch:
            if datagram and 20 <= datagram[0] <= 63:
                source = sources(address)
                if source is not run_of:
                    if run_of is not None:
                        run_of.credit(found, start, now)
                    run_of = source
                    start = len(found)
                if source is not None:
                    append(datagram)
                else:
                    self._context.counters.not_validated += 1
                continue
            if run_of is not None:
                run_of.credit(found, start, now)
                run_of = None
            others = True
            self._handle_other(base, datagram, address, found, now)
        if run_of is not None:
            run_of.credit(found, start, now)
        return others

    def take_relayed(
        self,
        relay: Relay,
        relayed: Sequence[tuple[bytes, Address]],
        found: list[bytes],
        now: float,
    ) -> None:
        """What peers have sent to our relayed address, after the TURN client has unwrapped it."""
        self._gatherer.drain(relay, now)
        if relay.base is not None and relayed:
            self.demultiplex_untrusted(relay.base, relayed, found, now)

    def _handle_other(
        self, base: Base, datagram: bytes, address: Address, found: list[bytes], now: float
    ) -> None:
        """What is not application data: STUN, or something from our TURN server."""
        relay = None if base.relay is not None else self._gatherer.relay_at(base.socket, address)
        stun = is_stun(datagram)
        if relay is not None and self._is_for_relay(datagram, stun=stun):
            relayed = relay.client.handle_datagrams([datagram], now)
            self.take_relayed(relay, relayed, found, now)
        elif stun:
            self._handle_stun_untrusted(base, datagram, address, now)
        else:
            self._context.counters.malformed += 1

    def _is_for_relay(self, datagram: bytes, *, stun: bool) -> bool:
        """Whether something from the address of a TURN server is for the TURN client."""
        if not stun:
            return bool(datagram) and 64 <= datagram[0] <= 79
        transaction_id = datagram[8:20]
        ours = (
            transaction_id in self._context.checks
            or self._gatherer.question(transaction_id) is not None
        )
        return not ours

    def _handle_stun_untrusted(
        self, base: Base, datagram: bytes, source: Address, now: float
    ) -> None:
        try:
            message = parse_untrusted(datagram)
        except DecodeError:
            self._context.counters.malformed += 1
            return
        if message.method != Method.BINDING:
            self._context.counters.malformed += 1
        elif message.message_class is StunClass.REQUEST:
            self._handle_request(base, message, source, now)
        elif message.message_class is StunClass.INDICATION:
            known = base.sources.get(source)  # a keepalive (RFC 8445 11)
            if known is not None:
                known.last_heard = now
        else:
            self._handle_response(base, message, source, now)

    def _handle_request(
        self, base: Base, request: StunMessage, source: Address, now: float
    ) -> None:
        """A Binding request: answer it, and then see what it means (RFC 8445 7.3)."""
        context, sessions = self._context, self._sessions
        if not request.has_fingerprint or not base.usable:
            # "It MUST utilize the FINGERPRINT mechanism." And under the policy "relay" nobody is
            # to learn that we are here.
            context.counters.malformed += 1
            return
        ours = [session.local for session in sessions.alive()]
        verdict = judge_request(request, ours, context.role)
        if verdict.refusal is not None or verdict.local is None:
            context.counters.refused_requests += 1
            if verdict.refusal is not None:
                context.send(base, [verdict.refusal], source, now)
            return
        if verdict.we_yield and not context.config.lite:
            context.counters.role_switches += 1
            sessions.switch_role()
        response = make_success(request, source, verdict.local.key)
        context.send(base, [response], source, now)
        self.accepted = Accepted(base, source, request.raw, verdict.local.key, reply=response)
        base.heard(source, now, limit=context.config.max_sources)
        inbound = Inbound(
            base,
            source,
            verdict.remote_ufrag,
            request.priority or base.check_priority,
            use_candidate=request.use_candidate,
        )
        session = sessions.find(verdict.local.ufrag, verdict.remote_ufrag)
        session.handle_inbound(inbound, now)

    def _handle_response(
        self, base: Base, response: StunMessage, source: Address, now: float
    ) -> None:
        """An answer to one of our requests."""
        context = self._context
        counters = context.counters
        check = context.checks.get(response.transaction_id)
        if check is None:
            question = self._gatherer.question(response.transaction_id)
            if question is not None and question.base is base:
                self._gatherer.handle_answer(question, response, source, now)
            else:
                counters.unknown_responses += 1
            return
        session = check.session
        if session.remote is None or not response.check_integrity(session.remote.key):
            # RFC 8489 9.1.4: "the response MUST be discarded, as if it had never been received".
            counters.forged_responses += 1
        elif response.message_class is StunClass.SUCCESS and not response.unknown_required:
            if session.handle_success(check, response, base, source, now):
                self.accepted = Accepted(
                    base, source, response.raw, session.remote.key, pair=check.pair
                )
        else:
            error = response.error
            if session.handle_error(check, 0 if error is None else error[0]):
                counters.role_switches += 1
                self._sessions.switch_role()
                context.role.redraw()
