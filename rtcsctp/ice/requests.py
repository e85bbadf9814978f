"""Binding requests: making ours (RFC 8445 7.2), judging the peer's (7.3, RFC 8489 9.1.3).

Nothing in a request acts before its integrity was checked (pitfall W14). For that only our own
password is needed, so requests that come before the peer's credentials are answered like others.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from rtcsctp.ice.candidate import Address
from rtcsctp.ice.credentials import Credentials
from rtcsctp.ice.local import Base
from rtcsctp.ice.role import Role, RoleCase
from rtcsctp.ice.stun import (
    Attribute,
    Method,
    StunClass,
    StunMessage,
    build,
    encode_error,
    encode_uint32,
    encode_unknown_attributes,
    encode_xor_address,
)

__all__ = ["Inbound", "Verdict", "judge_request", "make_check", "make_success"]


class Inbound:
    """An authenticated check of the peer.

    Attributes:
        base: where it arrived.
        source: where it came from.
        remote_ufrag: which ICE session of the peer it belongs to.
        priority: PRIORITY.
        use_candidate: whether the pair was nominated with it.
    """

    __slots__ = ("base", "priority", "remote_ufrag", "source", "use_candidate")

    def __init__(
        self, base: Base, source: Address, remote_ufrag: str, priority: int, *, use_candidate: bool
    ) -> None:
        self.base = base
        self.source = source
        self.remote_ufrag = remote_ufrag
        self.priority = priority
        self.use_candidate = use_candidate


@attrs.frozen(kw_only=True)
class Verdict:
    """What is to be done about a request.

    Attributes:
        refusal: the error response; None if the request is accepted.
        local: the credentials of ours that it was made with; None if with none.
        remote_ufrag: the peer's part of USERNAME.
        we_yield: a role conflict in which we take the other role.
    """

    refusal: bytes | None
    local: Credentials | None = None
    remote_ufrag: str = ""
    we_yield: bool = False


def judge_request(request: StunMessage, ours: Sequence[Credentials], role: Role) -> Verdict:
    """Check a Binding request in the order of RFC 8489 9.1.3, 6.3.1 and RFC 8445 7.3.1.1.

    Args:
        request: its class is REQUEST.
        ours: credentials of the ICE sessions that are alive, the newest first.
        role: ours.
    """
    username = request.username
    if not request.has_integrity or username is None:
        return _refuse(request, 400, "Bad Request")
    ours_said, colon, theirs_said = username.partition(":")
    local = next((own for own in ours if own.ufrag == ours_said), None)
    if local is None or not colon or not request.check_integrity(local.key):
        return _refuse(request, 401, "Unauthenticated")
    if request.unknown_required:
        types = encode_unknown_attributes(request.unknown_required)
        return _refuse(
            request,
            420,
            "Unknown Attribute",
            local=local,
            more=[(Attribute.UNKNOWN_ATTRIBUTES, types)],
        )
    case = role.judge(request)
    if case is RoleCase.PEER_YIELDS:
        return _refuse(request, 487, "Role Conflict", local=local)
    return Verdict(
        refusal=None,
        local=local,
        remote_ufrag=theirs_said,
        we_yield=case is RoleCase.WE_YIELD,
    )


def _refuse(
    request: StunMessage,
    code: int,
    reason: str,
    *,
    local: Credentials | None = None,
    more: Sequence[tuple[int, bytes]] = (),
) -> Verdict:
    """An error response; without integrity where the request had none that is right."""
    refusal = build(
        Method.BINDING,
        StunClass.ERROR,
        request.transaction_id,
        [(Attribute.ERROR_CODE, encode_error(code, reason)), *more],
        key=None if local is None else local.key,
        sha256=request.has_sha256,
    )
    return Verdict(refusal=refusal, local=local)


def make_check(
    local: Credentials,
    remote: Credentials,
    role: Role,
    transaction_id: bytes,
    *,
    priority: int,
    nominating: bool,
) -> bytes:
    """A check of ours (7.1, 7.2.2), with USE-CANDIDATE if it nominates."""
    attributes: list[tuple[int, bytes]] = [
        (Attribute.USERNAME, f"{remote.ufrag}:{local.ufrag}".encode()),
        (Attribute.PRIORITY, encode_uint32(priority)),
        role.attribute(),
    ]
    if nominating:
        attributes.append((Attribute.USE_CANDIDATE, b""))
    return build(Method.BINDING, StunClass.REQUEST, transaction_id, attributes, key=remote.key)


def make_success(request: StunMessage, source: Address, key: bytes) -> bytes:
    """The success response, with the address that the request came from.

    Its integrity is of the kind of the request's: one "that contains a MESSAGE-INTEGRITY-SHA256
    attribute MUST" be answered with that one (RFC 8489 9.1.3). Our own requests have the other, as
    all of ICE has.
    """
    mapped = encode_xor_address(source, request.transaction_id)
    return build(
        Method.BINDING,
        StunClass.SUCCESS,
        request.transaction_id,
        [(Attribute.XOR_MAPPED_ADDRESS, mapped)],
        key=key,
        sha256=request.has_sha256,
    )
