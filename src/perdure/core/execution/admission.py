"""How a guarded call waits for its breaker and its rate, and what its end reports to them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import msgspec

from perdure.core.exceptions.capture import Fault
from perdure.core.execution.effects import Admit, Effect, Report
from perdure.core.execution.spec import Call
from perdure.core.policies.retry import Again, Verdict, backoff
from perdure.errors import BreakerOpen

if TYPE_CHECKING:
    from perdure.core.policies.breaker import Ticket
    from perdure.core.policies.classify import Assessment
    from perdure.core.policies.guard import Guard, Hold, Pass


LONGEST_LINE = 300
"""Characters of an error that the breaker keeps."""


class Patience(msgspec.Struct):
    """How long a call has been at it, in seconds: `spent` counts toward its total bound, `queued` (for a turn) not.

    Summed up rather than looked up on a clock, which may jump during a wait. `waits`: the same since it was last taken
    from there, by reason.
    """

    spent: float = 0.0
    queued: float = 0.0
    waits: dict[str, float] = {}


def admission(
    guard: Guard, total: float, patience: Patience, uniform: Callable[[], float], wait: Callable[[float, str], Any]
) -> Generator[Any, Any, Ticket | BreakerOpen]:
    """Wait until a call may go; no attempt is used by that.

    A slot of the rate limit is waited for however long the queue is: it is the caller who made it long, and nothing
    has failed. What is wrong with the service is waited for within the bound.

    Args:
        guard: what the call has to come past.
        total: seconds that it may take, all in all, counted from when it first asked.
        patience: how long it has been at it.
        uniform: a random number in [0, 1).
        wait: makes the effect that lets seconds pass, for a reason in words.

    Returns:
        The ticket to report with, or why the call is not to be made.
    """
    from perdure.core.policies.guard import Pass, refusal, waiting_for

    turn = None
    while True:
        answer: Pass | Hold = yield Admit(guard, turn)
        if isinstance(answer, Pass):
            return answer.ticket
        turn = answer.turn
        delay = answer.seconds + answer.spread * uniform()
        if answer.why == "rate":
            patience.queued += delay
        else:
            left = total - patience.spent
            if (guard.when_open == "fail" and answer.why != "paused") or answer.seconds > left:
                return refusal(guard, answer)
            delay = min(delay, left)
            patience.spent += delay
        reason = answer.why if answer.why in ("rate", "paused") else "breaker"
        patience.waits[reason] = patience.waits.get(reason, 0.0) + delay
        yield wait(delay, waiting_for(guard, answer))


def report_failure(
    call: Call, ticket: Ticket | None, error: Exception, fault: Fault, decision: Verdict, assessment: Assessment
) -> Generator[Effect, Any, None]:
    """An attempt has failed: report it to the breaker; after HTTP 429 all callers of the service pause.

    A step that nothing guards pays nothing until it meets its first 429. From then on its callers pause together.
    """
    from perdure.core.policies.breaker import Ticket
    from perdure.core.policies.guard import Guard

    spec = call.spec
    delay = decision.delay if isinstance(decision, Again) else backoff(spec.retry, 1)
    guard, total = spec.guard or Guard(spec.name), spec.retry.total
    report = failure_report(guard, ticket or Ticket(), error, fault, assessment, delay, total)
    if spec.guard is None and report.pause is not None:
        spec.guard = report.guard
    if ticket is not None or report.pause is not None:
        yield report


def failure_report(
    guard: Guard, ticket: Ticket, error: Exception, fault: Fault, assessment: Assessment, delay: float, total: float
) -> Report:
    """The report of a call that failed.

    Args:
        guard: what it had come past.
        ticket: what it was let through with.
        error: what it raised.
        fault: the same as data.
        assessment: what is known about it.
        delay: the pause after a 429 that names none, in seconds.
        total: the longest pause, whatever the server says.
    """
    from perdure.core.policies.guard import grade

    pause = None
    if assessment.kind == "throttled" and not isinstance(error, BreakerOpen):
        pause = min(max(delay, assessment.retry_after or 0.0), total)
    line = f"{fault.name}: {fault.message}".partition("\n")[0][:LONGEST_LINE]
    return Report(guard, ticket, grade(error, assessment), line, pause)
