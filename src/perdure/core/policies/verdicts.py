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


class Verdict(msgspec.Struct, frozen=True):
    """What was known of a failure, for people and programs.

    Attributes:
        kind: "transient", "permanent" or "throttled".
        code: the entry of the failure catalogue; None if none is known.
        confidence: "certain", "likely" or "possible".
        rule: what it goes by, in words; empty if no rule knows it.
        status: the HTTP status that the server answered with.
        retry_after: seconds from then that the server asked to wait.
    """

    kind: Kind
    code: str | None
    confidence: Confidence
    rule: str
    status: int | None = None
    retry_after: float | None = None

    @property
    def named(self) -> str:
        """The entry, or the kind if there is none that is more than possible."""
        return self.code if self.code is not None and self.confidence != "possible" else self.kind

    def __str__(self) -> str:
        entry = f", {self.code} ({self.confidence})" if self.code is not None else ""
        return f"{self.kind}{entry}" + (f", by {self.rule}" if self.rule else "")


def verdict_on(seen: Assessment) -> Verdict:
    """What was known of a failure, as it is shown."""
    return Verdict(seen.kind, seen.code, seen.confidence, seen.rule, seen.status, seen.retry_after)


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
