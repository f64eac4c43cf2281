"""What was known of a failure when it happened, and why a run was left, as they are stored."""

from __future__ import annotations

import msgspec

from perdure.core.policies.classify import Assessment
from perdure.core.policies.failure_rules import CODES, Confidence, Kind


class _Verdict(msgspec.Struct, frozen=True, array_like=True):
    kind: Kind
    code: str | None
    status: int | None
    retry_after: float | None
    rule: str
    confidence: Confidence


class Stop(msgspec.Struct, frozen=True, array_like=True):
    """Why a run was left.

    Attributes:
        at: when, in seconds since the epoch.
        error: what it was, a packed fault; empty if it is the output of the run, which has failed.
        verdict: what was known of it, packed.
    """

    at: float
    error: bytes
    verdict: bytes


_encode = msgspec.msgpack.Encoder().encode
_verdict = msgspec.msgpack.Decoder(_Verdict)
_stop = msgspec.msgpack.Decoder(Stop)


def pack_verdict(seen: Assessment) -> bytes:
    """A verdict as it is stored."""
    return _encode(_Verdict(seen.kind, seen.code, seen.status, seen.retry_after, seen.rule, seen.confidence))


def unpack_verdict(data: bytes | None) -> Assessment | None:
    """The verdict that was stored; None if there is none, or it is of a version that says something else."""
    if not data:
        return None
    try:
        one = _verdict.decode(data)
    except msgspec.MsgspecError:
        return None
    return Assessment(
        kind=one.kind,
        code=one.code if one.code in CODES else None,
        status=one.status,
        retry_after=one.retry_after,
        rule=one.rule,
        confidence=one.confidence,
    )


def pack_stop(stop: Stop) -> bytes:
    """The reason as it is stored."""
    return _encode(stop)


def unpack_stop(data: bytes | None) -> Stop | None:
    """The reason that was stored; None if there is none."""
    if not data:
        return None
    try:
        return _stop.decode(data)
    except msgspec.MsgspecError:
        return None
