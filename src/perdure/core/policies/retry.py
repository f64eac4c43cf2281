"""The retry policy that users write, and the verdict on one failed attempt."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import msgspec

from perdure.core import durations
from perdure.core.durations import Duration, show
from perdure.errors import OptionError

if TYPE_CHECKING:
    from perdure.core.policies.classify import Assessment
    from perdure.core.policies.failure_rules import Kind

Matcher = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]
Reason = Literal["permanent", "attempts", "total"]


class Again(msgspec.Struct, frozen=True):
    """Wait `delay` seconds and try again. `counts`: the failed attempt used up one of the policy's attempts."""

    delay: float
    counts: bool


class GiveUp(msgspec.Struct, frozen=True):
    """The step has failed for good.

    `reason` is "permanent" (trying again cannot help), "attempts" (all used up) or "total" (the time is over, or would
    be over at the end of the next wait).
    """

    reason: Reason


Verdict = Again | GiveUp


class Retry:
    """A retry policy: `@step(retry=Retry(attempts=5))`. Immutable; policies of equal values are equal.

    An attempt that is answered by HTTP 429, or with a delay that the server names (Retry-After; RFC 9110, section
    10.2.3), does not use up `attempts`; only `total` bounds those. With `attempts=1` there is one try in any case.

    Durations are seconds, a timedelta, or text such as "250ms", "30s" or "5m"; as attributes they are seconds.

    Args:
        attempts: tries in all, the first included: a whole number from 1.
        delay: the wait before the second try.
        factor: each further wait is multiplied by it; at least 1.
        cap: the longest wait, before jitter.
        jitter: a random time up to this is added to each wait, so that callers do not return at the same moment. "full"
            replaces each wait by a random part of it (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015:
            "Full Jitter" does the least work of the variants compared).
        total: no try begins later than this after the first one began. If a server names a longer delay than what is
            left, the step fails at once (a request before that time would get the same answer), so no Retry-After can
            hang a run.
        on: what is retried: an exception class, a tuple of classes, or a function from the exception to True or False.
            Nothing else is retried then. Default: transient errors (`core/policies/classify.py` has the rules).
        never: what is not retried, in the same forms. It wins over `on`.

    Raises:
        OptionError: an option is not valid.
    """

    __slots__ = ("attempts", "cap", "delay", "factor", "jitter", "never", "on", "total")

    attempts: int
    delay: float
    factor: float
    cap: float
    jitter: float | Literal["full"]
    total: float
    on: Matcher | None
    never: Matcher | None

    def __init__(
        self,
        attempts: int = 4,
        delay: Duration = "1s",
        factor: float = 2,
        cap: Duration = "60s",
        jitter: Duration | Literal["full"] = "500ms",
        total: Duration = "15m",
        on: Matcher | None = None,
        never: Matcher | None = None,
    ) -> None:
        values = {
            "attempts": _attempts(attempts),
            "delay": durations.seconds(delay, option="delay"),
            "factor": _factor(factor),
            "cap": durations.seconds(cap, option="cap"),
            "jitter": _jitter(jitter),
            "total": durations.seconds(total, option="total"),
            "on": _matcher(on, "on"),
            "never": _matcher(never, "never"),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if self.attempts > 1:
            self._check_bounds()

    def _check_bounds(self) -> None:
        if self.delay > self.cap:
            raise OptionError(
                f"delay is {show(self.delay)}, longer than cap, which is {show(self.cap)}",
                "give a cap that is at least as long as delay",
            )
        if self.delay > self.total:
            raise OptionError(
                f"delay is {show(self.delay)}, longer than total, which is {show(self.total)}: "
                "there is never a second try",
                "give a longer total, or attempts=1 for one try",
            )

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in _ORDER)

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, Retry) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        """The call that makes this policy, without the default values."""
        default = DEFAULT._values()
        given = (
            f"{name}={_shown(value)}"
            for name, value, usual in zip(_ORDER, self._values(), default, strict=True)
            if value != usual
        )
        return f"Retry({', '.join(given)})"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Retry does not change: make a new one instead of setting {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a Retry does not change: {name} cannot be deleted")

    def __reduce__(self) -> tuple[type[Retry], tuple[object, ...]]:
        """Copied by making it again (copy and multiprocessing would set attributes)."""
        return type(self), self._values()


_ORDER = ("attempts", "delay", "factor", "cap", "jitter", "total", "on", "never")


def policy_of(value: object) -> Retry:
    """The policy that the option `retry` stands for: `None` is one try.

    Raises:
        OptionError: the value is neither a policy nor None.
    """
    if value is None:
        return ONCE
    if isinstance(value, Retry):
        return value
    number = isinstance(value, int) and not isinstance(value, bool) and value > 0
    meant = f"did you mean retry=Retry(attempts={value})? Otherwise " if number else ""
    raise OptionError(
        f"retry={value!r} is not a retry policy",
        f"{meant}give Retry(...), or None for one try",
    )


def reassess(policy: Retry, exc: BaseException, assessment: Assessment) -> Assessment:
    """The assessment of an exception, changed by the policy's `never` and `on`.

    Args:
        policy: of the step.
        exc: what the attempt raised.
        assessment: what `classify.assess` says of it.
    """
    if not isinstance(exc, Exception):
        return assessment
    if policy.never is not None and _matches(policy.never, exc, "never", failed=True):
        return _by_policy(assessment, "permanent", "never")
    if policy.on is None:
        return assessment
    if not _matches(policy.on, exc, "on", failed=False):
        return _by_policy(assessment, "permanent", "on")
    return _by_policy(assessment, "transient", "on") if assessment.kind == "permanent" else assessment


def _by_policy(assessment: Assessment, kind: Kind, option: str) -> Assessment:
    if assessment.kind == kind:
        return assessment
    rule = f"Retry({option}=...)"
    return msgspec.structs.replace(
        assessment, kind=kind, rule=f"{assessment.rule}, then {rule}" if assessment.rule else rule
    )


def backoff(policy: Retry, attempt: int) -> float:
    """Seconds to wait after the failed attempt number `attempt` (from 1), before jitter."""
    if policy.delay == 0:
        return 0.0
    try:
        return min(policy.cap, policy.delay * policy.factor ** (attempt - 1))
    except OverflowError:
        return policy.cap


def verdict(
    policy: Retry,
    fault: Assessment,
    attempt: int,
    counted: int,
    elapsed: float,
    uniform: Callable[[], float],
) -> Verdict:
    """Whether to try again after a failed attempt, and when.

    Args:
        policy: the step's policy.
        fault: the assessment of the exception, by `classify.assess` and then `reassess`.
        attempt: the number of the attempt that failed, from 1.
        counted: how many attempts before this one used up attempts (their verdict was `Again(counts=True)`).
        elapsed: seconds since the first attempt began.
        uniform: a random number in [0, 1), for the jitter.
    """
    if fault.kind == "permanent":
        return GiveUp("permanent")
    counts = fault.kind != "throttled"
    if policy.attempts == 1 or (counts and counted + 1 >= policy.attempts):
        return GiveUp("attempts")
    wait = backoff(policy, attempt)
    if fault.retry_after is not None:
        # Never sooner than asked, and a Retry-After of 0 does not make a busy loop.
        spread = wait if policy.jitter == "full" else policy.jitter
        delay = max(fault.retry_after, policy.delay) + spread * uniform()
    elif policy.jitter == "full":
        delay = wait * uniform()
    else:
        delay = wait + policy.jitter * uniform()
    if not elapsed + delay <= policy.total:
        return GiveUp("total")
    return Again(delay, counts)


def _attempts(value: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise OptionError(
        f"attempts={value!r} is not a number of tries",
        "give attempts as a whole number from 1 (the first try included); retry=None is one try",
    )


def _jitter(value: Duration) -> float | Literal["full"]:
    if value == "full":
        return "full"
    try:
        return durations.seconds(value, option="jitter")
    except OptionError as refused:
        raise OptionError(refused.what, f'{refused.hint}, or as "full"') from None


def _factor(value: float) -> float:
    try:
        factor = math.nan if isinstance(value, bool) or not isinstance(value, (int, float)) else float(value)
    except OverflowError:
        factor = math.inf
    if 1 <= factor < math.inf:
        return factor
    raise OptionError(
        f"factor={value!r} is not a factor for growing waits",
        "give factor as a number from 1 (1: every wait is the same; 2: each is twice the one before)",
    )


def _matcher(value: Any, option: str) -> Any:
    """`value`, a `Matcher` or None, once it is checked that it can be asked about an exception."""
    classes = value if isinstance(value, tuple) else (value,)
    if all(isinstance(each, type) for each in classes):
        for each in classes:
            if not issubclass(each, Exception):
                _refuse_class(each, option)
        return value
    if value is None or (callable(value) and not isinstance(value, tuple)):
        return value
    forms = f"give {option} as an exception class, a tuple of them, or a function from the exception to True or False"
    meant = f"did you mean the class, {option}={type(value).__name__}? Otherwise {forms}"
    hint = meant if isinstance(value, Exception) else forms
    raise OptionError(f"{option}={value!r} does not say which exceptions are meant", hint)


def _refuse_class(given: type, option: str) -> NoReturn:
    name = given.__name__
    if issubclass(given, BaseException):
        raise OptionError(
            f"{option}={name} is never retried: it stops the program or the task, and is not a failure of the step",
            f"give {option} classes that derive from Exception",
        )
    raise OptionError(f"{option}={name} is not an exception class", f"give {option} exception classes")


def _matches(matcher: Matcher, exc: Exception, option: str, *, failed: bool) -> bool:
    """What the matcher says about `exc`; `failed` if it raises: a broken predicate retries nothing."""
    if isinstance(matcher, (type, tuple)):
        return isinstance(exc, matcher)
    try:
        return bool(matcher(exc))
    except Exception as broken:  # noqa: BLE001  the step's own error matters more, so this one becomes a note on it
        from perdure.core.exceptions import notes

        notes.add(exc, f"perdure: not retried, since the function given as {option}= raised {broken!r}")
        return failed


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_shown, value))}{',' if len(value) == 1 else ''})"
    return str(getattr(value, "__qualname__", None) or repr(value))


DEFAULT = Retry()
"""What a step does that names no policy."""

ONCE = Retry(attempts=1)
"""One try and no more: what `retry=None` means."""
