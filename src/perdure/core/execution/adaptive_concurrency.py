"""Adaptive concurrency: how many items of a batch run at a time with `concurrency="auto"`.

Additive increase, multiplicative decrease. Of the linear rules it is the one by which all callers of a service,
wherever they begin, converge to full use in equal parts: D.-M. Chiu and R. Jain, "Analysis of the Increase and
Decrease Algorithms for Congestion Avoidance in Computer Networks", Computer Networks and ISDN Systems 17 (1), 1989,
pages 1-14. The steps are those of V. Jacobson, "Congestion Avoidance and Control", SIGCOMM '88, pages 314-329: one more
for each full round that went well, half as many when it did not. An attempt that began before a cut saw the load
before it, so it causes no second cut: at most one cut a round trip, as RFC 3168, section 6.1.2, words it for TCP.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager
from typing import Any

from perdure.core.execution.effects import Execute, Guarded, Outcome
from perdure.core.policies.classify import assess
from perdure.core.policies.exception_facts import class_names
from perdure.core.policies.failure_rules import Rules

FIRST = 4
CEILING = 64


class AdaptiveConcurrency:
    """The limit of items that may run at a time. Not thread-safe.

    Args:
        most: the limit never exceeds it.

    `limit` is how many may run, `inside` how many do.
    """

    __slots__ = ("_begun", "_cut", "_peak", "_successes", "inside", "limit", "most")

    def __init__(self, most: int = CEILING) -> None:
        self.most = max(1, most)
        self.limit = min(FIRST, self.most)
        self.inside = 0
        self._begun = 0
        self._cut = 0  # attempts up to this number began before the last cut
        self._successes = 0
        self._peak = 0

    @property
    def full(self) -> bool:
        """Whether no other item may start now."""
        return self.inside >= self.limit

    def enter(self) -> None:
        """An item starts."""
        self.inside += 1
        self._peak = max(self._peak, self.inside)

    def leave(self) -> None:
        """An item has ended."""
        self.inside -= 1

    def began(self) -> int:
        """An attempt begins; the number that stands for it."""
        self._begun += 1
        return self._begun

    def succeeded(self, attempt: int) -> None:
        """An attempt went well: after a full round of them, there is room for one more.

        Not if there was room before that no item used: then the round says nothing about more.
        """
        if attempt <= self._cut:
            return
        self._successes += 1
        if self._successes >= self.limit and self._peak >= self.limit and self.limit < self.most:
            self._change(self.limit + 1)

    def congested(self, attempt: int) -> None:
        """An attempt met too much load: half as many, if it began since the last cut."""
        if attempt > self._cut:
            self._cut = self._begun
            self._change(max(1, self.limit // 2))

    def _change(self, limit: int) -> None:
        self.limit = limit
        self._successes = 0
        self._peak = self.inside


def is_congestion(outcome: Outcome, rules: Rules) -> bool:
    """Whether there was too much load for an attempt: throttled (HTTP 429, Retry-After), or not answered in time."""
    error = outcome.error
    if error is None:
        return False
    seen = assess(error, outcome.started + outcome.seconds, rules)
    return (
        seen.kind == "throttled" or seen.code == "cascading-timeout" or "Timeout" in " ".join(class_names(type(error)))
    )


def adapting(
    program: Generator[Any, Any, Any], adaptive: AdaptiveConcurrency, lock: AbstractContextManager[Any]
) -> Generator[Any, Any, Any]:
    """The decision on an item, with all its attempts reported to `adaptive`, also those that are retried.

    Args:
        program: the decision.
        adaptive: gets the reports.
        lock: held meanwhile, since several threads may carry decisions.
    """
    try:
        effect = next(program)
        while True:
            if type(effect) is not Execute and type(effect) is not Guarded:
                effect = program.send((yield effect))
                continue
            with lock:
                attempt = adaptive.began()
            outcome: Outcome = yield effect
            call = effect.call if isinstance(effect, Execute) else effect.execute.call
            if outcome.error is not None and is_congestion(outcome, call.spec.failures()):
                with lock:
                    adaptive.congested(attempt)
            elif outcome.error is None:
                with lock:
                    adaptive.succeeded(attempt)
            effect = program.send(outcome)
    except StopIteration as end:
        return end.value
