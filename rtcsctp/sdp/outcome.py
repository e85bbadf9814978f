"""What goes into a negotiation and what comes out of it."""

from __future__ import annotations

import attrs

from rtcsctp.dtls.fingerprint import Fingerprint
from rtcsctp.errors import ConfigError
from rtcsctp.ice.candidate import Candidate
from rtcsctp.sdp.attributes import check_credentials
from rtcsctp.sdp.model import DEFAULT_SCTP_PORT, Section

__all__ = ["LocalParameters", "Outcome"]


@attrs.frozen(kw_only=True)
class LocalParameters:
    """What the runtime knows when it makes a description.

    Attributes:
        ufrag, pwd: of our ICE agent, in its present generation.
        ice_lite: ours is a lite agent.
        fingerprints: of our certificate.
        candidates: gathered so far.
        end_of_candidates: no more will come.
        sctp_port: ours.
        max_message_size: largest message that we receive, in bytes; None for no limit.
        trickle: candidates may follow, from us and from the peer (RFC 8838).

    Raises:
        ConfigError: credentials that RFC 8839 5.4 does not allow, or no fingerprint.
    """

    ufrag: str
    pwd: str = attrs.field(repr=False)
    fingerprints: tuple[Fingerprint, ...]
    ice_lite: bool = False
    candidates: tuple[Candidate, ...] = ()
    end_of_candidates: bool = False
    sctp_port: int = DEFAULT_SCTP_PORT
    max_message_size: int | None = 262_144
    trickle: bool = True

    def __attrs_post_init__(self) -> None:
        problem = check_credentials(self.ufrag, self.pwd)
        if problem is not None:
            raise ConfigError(problem)
        if not self.fingerprints:
            raise ConfigError("a description needs the fingerprint of a certificate")


@attrs.frozen(kw_only=True)
class Outcome:
    """What a step means to the transports.

    Attributes:
        remote: the peer's data section that holds now: of its pending description, or else of the
            current one; None before there is any, and where it is rejected (`no_data`).
        ice_restart_local: our credentials differ from those before this step.
        ice_restart_remote: the peer's credentials differ from those before this step, be it by a
            restart, a newer offer or a rollback; those of `remote` count. After an offer that
            restarts, the answer needs new credentials of ours.
        undo_ice_restart: our offer with new credentials was rolled back; the old ones count again.
        new_dtls: a new DTLS and SCTP association replaces the present one. It is told with the
            answer (ours or the peer's): until then the old association goes on. Not set for the
            first one.
        dtls_client: whether we are the DTLS client of the association in force; None before the
            first answer or pranswer.
        rolled_back: an offer was given up: by a rollback, or because the peer's came at the same
            time (glare).
        ignored: the peer's offer collided with ours and is not ours to follow (``polite=False``);
            nothing was changed.
        controlling: whether our ICE agent controls: that of the first offerer does, unless just one
            of both is lite (RFC 8445 6.1.1). None before the first description.
        no_data: the peer does not want data channels (any more).
    """

    remote: Section | None = None
    ice_restart_local: bool = False
    ice_restart_remote: bool = False
    undo_ice_restart: bool = False
    new_dtls: bool = False
    dtls_client: bool | None = None
    rolled_back: bool = False
    ignored: bool = False
    controlling: bool | None = None
    no_data: bool = False

    @property
    def remote_lite(self) -> bool:
        """Whether the peer's agent is lite."""
        return self.remote is not None and self.remote.ice_lite

    @property
    def remote_candidates(self) -> tuple[Candidate, ...]:
        """The candidates in the peer's description."""
        return () if self.remote is None else self.remote.candidates

    @property
    def remote_end_of_candidates(self) -> bool:
        """Whether the peer said that these are all."""
        return self.remote is not None and self.remote.end_of_candidates
