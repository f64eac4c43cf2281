"""How a call waits until its guard lets it go, and what it says while it waits, and when it does not wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from perdure.core.execution.admission import Patience, admission, failure_report
from perdure.core.execution.effects import Admit
from perdure.core.policies.breaker import Ticket
from perdure.core.policies.classify import Assessment
from perdure.core.policies.guard import Guard, Hold, Pass, grade, refusal, waiting_for
from perdure.core.policies.rate import Rate, Turn
from perdure.errors import BreakerOpen

TICKET = Ticket(3, "lease")
GUARD = Guard("mail")
FAILING = Guard("mail", when_open="fail")


def asked(
    answers: Sequence[Pass | Hold], guard: Guard = GUARD, total: float = 60.0, chance: float = 0.0
) -> tuple[Any, list[float], Patience, list[Turn | None]]:
    """What comes of a call that gets these answers: the end, its waits in seconds, and the turns it brought along."""
    patience, waits, turns = Patience(), [], []
    steps = admission(guard, total, patience, lambda: chance, lambda seconds, why: ("wait", seconds, why))
    given, answer = iter(answers), None
    try:
        while True:
            effect = steps.send(answer)
            if isinstance(effect, Admit):
                turns.append(effect.turn)
                answer = next(given)
            else:
                waits.append(effect[1])
                answer = None
    except StopIteration as end:
        return end.value, waits, patience, turns


def test_a_call_waits_for_its_turn_however_long_and_keeps_its_place() -> None:
    """The rate limit's queue is nobody's failure, and takes nothing of the bound."""
    turn = Turn(5.0, 0.0)
    end, waits, patience, turns = asked([Hold("rate", 500.0, turn=turn), Pass(TICKET)], total=1.0)
    assert (end, waits, turns) == (TICKET, [500.0], [None, turn])
    assert (patience.queued, patience.spent, patience.waits) == (500.0, 0.0, {"rate": 500.0})


def test_what_is_wrong_with_a_service_is_waited_for_within_the_bound() -> None:
    """All waits together: the one that would exceed it is not begun."""
    end, waits, patience, _ = asked([Hold("open", 40.0), Hold("open", 20.0), Pass(TICKET)])
    assert (end, waits, patience.spent, patience.waits) == (TICKET, [40.0, 20.0], 60.0, {"breaker": 60.0})
    end, waits, _, _ = asked([Hold("open", 40.0), Hold("half-open", 21.0)])
    assert isinstance(end, BreakerOpen)
    assert waits == [40.0]


def test_callers_that_wait_for_the_same_spread_and_still_keep_to_the_bound() -> None:
    """By a random part of what is named; the bound cuts that short, and does not refuse."""
    assert asked([Hold("open", 40.0, spread=10.0), Pass(TICKET)], chance=0.5)[1] == [45.0]
    assert asked([Hold("open", 58.0, spread=10.0), Pass(TICKET)], chance=0.5)[1] == [60.0]


def test_a_step_that_is_to_fail_at_an_open_breaker_still_waits_after_429() -> None:
    """`when_open="fail"` is about the breaker."""
    end, waits, patience, _ = asked([Hold("paused", 3.0), Pass(TICKET)], FAILING)
    assert (end, waits, patience.waits) == (TICKET, [3.0], {"paused": 3.0})
    for why in ("open", "half-open", "isolated"):
        end, waits, _, _ = asked([Hold(why, 0.0)], FAILING)
        assert isinstance(end, BreakerOpen)
        assert waits == []


@pytest.mark.parametrize(
    ("hold", "says", "after"),
    [
        (Hold("open", 90.0, error="Timeout: x"), "breaker 'mail' is open for 1 min 30 s yet", 90.0),
        (Hold("open", 0.0), "breaker 'mail' is open at this moment", 0.0),
        (Hold("half-open", 5.0), "breaker 'mail' is half-open: another call is probing the service", None),
        (Hold("isolated", 5.0, error="Timeout: x"), "breaker 'mail' is isolated", None),
        (Hold("paused", 5.0), "'mail' has asked its callers to wait (HTTP 429 or Retry-After), for 5 s yet", 5.0),
    ],
)
def test_a_refusal_says_why_and_when(hold: Hold, says: str, after: float | None) -> None:
    """With the last failure that the breaker saw, unless a person has isolated it; a time only if it is known."""
    error = refusal(GUARD, hold)
    last = "; the last failure was Timeout: x" if hold.error and hold.why != "isolated" else ""
    assert error.what == f"{says}; the call was not made{last}"
    assert error.retry_after == after
    assert error.hint.startswith("reset it" if hold.why == "isolated" else "wait, or close it")


def test_a_name_that_is_no_word_is_quoted_in_the_command() -> None:
    """Names are the user's, and the hint is pasted into a shell."""
    assert refusal(Guard("a b"), Hold("open", 1.0)).hint.endswith("perdure breaker reset 'a b'")
    assert refusal(Guard("a b"), Hold("isolated", 1.0)).hint.endswith("perdure breaker reset 'a b'")


@pytest.mark.parametrize(
    ("why", "rate", "says"),
    [
        ("rate", Rate(5, 60.0, "5/min"), "its turn at 5/min"),
        ("rate", None, "its turn"),
        ("paused", None, "'mail', which has asked its callers to wait"),
        ("isolated", None, "breaker 'mail', which is isolated"),
        ("half-open", None, "breaker 'mail', which is half-open"),
    ],
)
def test_what_a_call_waits_for_in_words(why: Any, rate: Rate | None, says: str) -> None:
    """As `perdure ps` shows it."""
    assert waiting_for(Guard("mail", rate=rate), Hold(why, 1.0)) == says


def known(kind: Any, status: int | None = None, after: float | None = None) -> Assessment:
    return Assessment(kind=kind, status=status, retry_after=after)


@pytest.mark.parametrize(
    ("error", "assessment", "says"),
    [
        (None, None, "success"),
        (ValueError(), None, "success"),
        (BreakerOpen("inner", "wait"), known("transient"), "unknown"),
        (OSError(), known("transient", 500), "failure"),
        (OSError(), known("throttled", 503), "failure"),
        (OSError(), known("throttled", 429), "throttled"),
        (OSError(), known("transient", 499), "answered"),
        (OSError(), known("permanent", 404), "answered"),
        (OSError(), known("transient"), "failure"),
        (TypeError(), known("permanent"), "unknown"),
    ],
)
def test_what_a_failure_says_of_the_service(error: Exception | None, assessment: Any, says: str) -> None:
    """A breaker counts what the service has done wrong, and nothing else."""
    assert grade(error, assessment) == says


@pytest.mark.parametrize(
    ("assessment", "delay", "error", "pause"),
    [
        (known("throttled", 429, 9.0), 2.0, OSError(), 9.0),
        (known("throttled", 429, 1.0), 2.0, OSError(), 2.0),
        (known("throttled", 429), 2.0, OSError(), 2.0),
        (known("throttled", 429, 99.0), 2.0, OSError(), 30.0),
        (known("throttled", 429, 9.0), 2.0, BreakerOpen("inner", "wait"), None),
        (known("transient", 503, 9.0), 2.0, OSError(), None),
    ],
)
def test_a_service_is_paused_after_429_alone(
    assessment: Assessment, delay: float, error: Exception, pause: float | None
) -> None:
    """As long as the server says, at least the backoff, and never longer than the call may take in all."""
    fault: Any = type("Fault", (), {"name": "HTTPError", "message": "429\nsecond line"})
    report = failure_report(GUARD, TICKET, error, fault, assessment, delay, 30.0)
    assert report.pause == pause
    assert (report.ticket, report.error) == (TICKET, "HTTPError: 429")
