"""Classifies exceptions: is the error transient, and did the server name a delay?

The rule: **try again unless it is certain not to help.** A try too many costs seconds; a try too few costs a person the
work of looking at it. So an unknown error is transient. What is known is data: `catalogue/rules.toml` lists it with its
reasons, and is handed in.

In this order:

1. rules about what the exception is (class, status, errno, attributes): of the exception, then of its explicit cause
   (`raise ... from cause`), or of what it wraps, and so on;
2. a group: all members have to pass before a new try can succeed;
3. rules about its message alone, in the same order;
4. of what was merely being handled when it was raised, only that it is throttled: to wait too long is harmless;
5. what holds if nothing else is known, of what is at the bottom: the same input gives the same ValueError.

No client library is imported: their exceptions are read by the attributes that they share (exception_facts.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from perdure.core.policies.failure_rules import Confidence, Kind, Rules
from perdure.errors import BreakerOpen

if TYPE_CHECKING:
    from perdure.core.policies.exception_facts import Facts


_DEEP = 5
_WIDE = 100


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about a failed attempt.

    Attributes:
        kind: "transient" may be gone at the next try, "permanent" stays, "throttled" passes when the caller has waited.
        status: the HTTP status that the server answered with.
        retry_after: seconds from now that the server asked to wait.
        code: the entry of the failure catalogue, where it is obvious.
        rule: what it goes by, in words; empty if no rule matches.
        confidence: how sure that is.
    """

    kind: Kind
    status: int | None = None
    retry_after: float | None = None
    code: str | None = None
    rule: str = ""
    confidence: Confidence = "possible"


UNKNOWN = Assessment(kind="transient")


def assess(exc: BaseException, now: float, rules: Rules) -> Assessment:
    """Whether `exc` is transient, read from the exception alone; never raises.

    Args:
        exc: what the attempt raised.
        now: the time of day, in seconds since the epoch; a delay that the server named as a date is counted from it.
        rules: what is known about failures.
    """
    try:
        return _assess(exc, now, rules, _DEEP)
    except Exception:  # noqa: BLE001  an exception that cannot be read is an unknown one
        return UNKNOWN


def _assess(exc: BaseException, now: float, rules: Rules, deep: int) -> Assessment:
    if not isinstance(exc, Exception):
        return Assessment(kind="permanent", confidence="certain")
    chain, group = _chain(exc, now, deep)
    for stage in range(3):
        for facts in chain if stage < 2 else chain[-1:]:
            if isinstance(facts.exc, BreakerOpen):
                return Assessment(kind="throttled", retry_after=facts.exc.retry_after, confidence="certain")
            rule = rules.find(facts, stage)
            if rule is not None:
                wait = facts.delay if rule.kind == "throttled" else None
                return Assessment(
                    kind=rule.kind,
                    status=facts.status,
                    retry_after=wait,
                    code=rule.code,
                    rule=rule.text(facts),
                    confidence=rule.confidence,
                )
        if stage == 0 and group is not None and deep > 0:
            return _group(group, now, rules, deep)
        if stage == 1 and deep > 0 and isinstance(exc.__context__, Exception) and not exc.__suppress_context__:
            before = _assess(exc.__context__, now, rules, deep - 1)
            if before.kind == "throttled":
                return msgspec.structs.replace(before, confidence="possible")
    return UNKNOWN


def _chain(exc: Exception, now: float, deep: int) -> tuple[list[Facts], ExceptionGroup[Exception] | None]:
    """The facts about an exception and what it is about, and the group that this leads to."""
    from perdure.core.policies.exception_facts import Facts, inner

    chain: list[Facts] = []
    seen: set[int] = set()
    one: Exception | None = exc
    while one is not None and id(one) not in seen and len(chain) <= deep:
        if isinstance(one, ExceptionGroup):
            return chain, one
        seen.add(id(one))
        chain.append(Facts(one, now))
        one = inner(one)
    return chain, None


def _group(exc: ExceptionGroup[Exception], now: float, rules: Rules, deep: int) -> Assessment:
    """The members' verdicts as one: all have to pass before a new try can succeed."""
    members = [_assess(member, now, rules, deep - 1) for member in exc.exceptions[:_WIDE]]
    for kind in ("permanent", "throttled"):
        for member in members:
            if member.kind == kind:
                waits = [each.retry_after for each in members if each.retry_after is not None]
                return msgspec.structs.replace(member, retry_after=max(waits, default=None))
    return members[0]
