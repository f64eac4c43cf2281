"""The retry policy: how long it waits, when it gives up, and what it refuses to be."""

from __future__ import annotations

import copy
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.core.policies.classify import Assessment
from perdure.core.policies.retry import DEFAULT, Again, GiveUp, Retry, policy_of, reassess, verdict
from perdure.errors import OptionError

TRANSIENT = Assessment(kind="transient")
PERMANENT = Assessment(kind="permanent")


def throttled(retry_after: float | None = None) -> Assessment:
    return Assessment(kind="throttled", status=429, retry_after=retry_after)


def decide(policy=DEFAULT, fault=TRANSIENT, attempt=1, counted=None, elapsed=0.0, random=0.0):
    return verdict(policy, fault, attempt, attempt - 1 if counted is None else counted, elapsed, lambda: random)


def test_waits_double_up_to_the_cap():
    """Without jitter the waits are 1, 2, 4, ... seconds, and never longer than the cap."""
    policy = Retry(attempts=99, jitter=0, cap="10s", total="1d")
    waits = [decide(policy, attempt=n).delay for n in range(1, 7)]
    assert waits == [1, 2, 4, 8, 10, 10]


def test_jitter_is_added():
    """The wait is the backoff plus a random part of the jitter."""
    assert decide(random=0.5) == Again(1.25, True)


def test_full_jitter_replaces_the_wait():
    """Full jitter is a random part of the capped backoff, so it may be next to nothing."""
    policy = Retry(attempts=9, jitter="full")
    assert decide(policy, attempt=3, random=0.0) == Again(0.0, True)
    assert decide(policy, attempt=3, random=0.5) == Again(2.0, True)


def test_attempts_are_used_up():
    """Four attempts are three second chances."""
    assert [type(decide(attempt=n)) for n in range(1, 5)] == [Again, Again, Again, GiveUp]
    assert decide(attempt=4) == GiveUp("attempts")


def test_permanent_errors_are_not_tried_again():
    """What cannot heal is given up at the first attempt."""
    assert decide(fault=PERMANENT) == GiveUp("permanent")


def test_throttling_does_not_use_up_attempts():
    """HTTP 429 may come a hundred times: only the total bound ends it."""
    answer = decide(fault=throttled(), attempt=100, counted=3, elapsed=10)
    assert isinstance(answer, Again)
    assert not answer.counts
    assert decide(fault=throttled(), attempt=100, counted=3, elapsed=15 * 60) == GiveUp("total")


def test_one_try_is_one_try():
    """retry=None never tries twice, not even when the server offers it."""
    assert decide(policy_of(None), fault=throttled(1)) == GiveUp("attempts")


def test_a_delay_that_the_server_names_is_kept():
    """Retry-After is waited for in full, with jitter on top so that not everybody comes back at the same moment."""
    assert decide(fault=throttled(30), random=0.5) == Again(30.25, False)


def test_a_named_delay_beyond_the_total_bound_ends_the_step():
    """A Retry-After of a year does not hang a run, and is not cut to a wait that the server refused."""
    assert decide(fault=throttled(365 * 86400.0)) == GiveUp("total")
    assert decide(fault=throttled(math.inf)) == GiveUp("total")
    assert decide(fault=throttled(math.nan)) == GiveUp("total")


def test_a_named_delay_of_zero_is_no_busy_loop():
    """Retry-After: 0 still waits the policy's own delay."""
    assert decide(fault=throttled(0)).delay == 1


def test_a_wait_that_would_end_past_the_total_bound_is_not_begun():
    """The total bound counts the wait that is due."""
    policy = Retry(total="10s", jitter=0)
    assert decide(policy, elapsed=9.0) == Again(1.0, True)
    assert decide(policy, elapsed=9.1) == GiveUp("total")


@given(
    st.integers(1, 10**9), st.integers(0, 10**9), st.floats(0, 1e12), st.floats(0, 1, exclude_max=True),
    st.sampled_from([TRANSIENT, throttled(), throttled(5.0)]), st.sampled_from([0, "500ms", "full"]),
    st.floats(1, 1e300), st.floats(0, 60),
)  # fmt: skip
def test_no_number_of_attempts_overflows(attempt, counted, elapsed, random, fault, jitter, factor, delay):
    """For any history the verdict is a finite wait inside the total bound, or the end."""
    policy = Retry(attempts=10**10, delay=delay, factor=factor, jitter=jitter, total="1h")
    answer = verdict(policy, fault, attempt, counted, elapsed, lambda: random)
    if isinstance(answer, Again):
        assert answer.delay >= 0
        assert elapsed + answer.delay <= 3600


class Teapot(Exception):
    pass


def judged(policy: Retry, exc: Exception, fault: Assessment) -> str:
    return reassess(policy, exc, fault).kind


def test_on_retries_what_cannot_heal_otherwise():
    """on= overrules the catalogue, even for a TypeError."""
    assert judged(Retry(on=TypeError), TypeError(), PERMANENT) == "transient"


def test_on_alone_says_what_is_retried():
    """With on= nothing else is retried."""
    assert judged(Retry(on=Teapot), ValueError(), TRANSIENT) == "permanent"
    assert judged(Retry(on=()), ValueError(), TRANSIENT) == "permanent"


def test_on_keeps_throttling():
    """What on= names is still throttled when the server says so."""
    assert reassess(Retry(on=Teapot), Teapot(), throttled(3)) == throttled(3)


def test_never_wins_over_on():
    """never= has the last word."""
    assert judged(Retry(on=Exception, never=Teapot), Teapot(), TRANSIENT) == "permanent"
    assert judged(Retry(on=Exception, never=Teapot), ValueError(), PERMANENT) == "transient"


def test_predicates():
    """A function of the exception may decide."""
    policy = Retry(on=lambda exc: "again" in str(exc), never=(Teapot, KeyError))
    assert judged(policy, ValueError("again"), PERMANENT) == "transient"
    assert judged(policy, ValueError("no"), TRANSIENT) == "permanent"
    assert judged(policy, KeyError("again"), TRANSIENT) == "permanent"


@pytest.mark.parametrize("option", ["on", "never"])
def test_a_broken_predicate_retries_nothing_and_leaves_the_first_error_first(option):
    """The step's own error stays the one that is raised; what broke the predicate is a note on it."""
    exc = Teapot("first")
    assert judged(Retry(**{option: lambda _: 1 / 0}), exc, TRANSIENT) == "permanent"
    assert f"{option}=" in exc.__notes__[0]
    assert "ZeroDivisionError" in exc.__notes__[0]


def test_interrupts_are_never_retried():
    """No predicate is even asked about a KeyboardInterrupt."""
    assert reassess(Retry(on=lambda _: True), KeyboardInterrupt(), PERMANENT) == PERMANENT


def test_defaults():
    """The documented defaults."""
    assert (DEFAULT.attempts, DEFAULT.delay, DEFAULT.factor, DEFAULT.cap) == (4, 1.0, 2.0, 60.0)
    assert (DEFAULT.jitter, DEFAULT.total, DEFAULT.on, DEFAULT.never) == (0.5, 900.0, None, None)


def test_equal_values_make_equal_policies():
    """A policy is its values: "1s" and 1 are the same delay."""
    assert Retry(delay="1s") == Retry(delay=1)
    assert hash(Retry(delay="1s")) == hash(Retry(delay=1))
    assert Retry() != Retry(attempts=5)
    assert Retry() != "Retry()"
    assert copy.deepcopy(Retry(attempts=7, on=Teapot)) == Retry(attempts=7, on=Teapot)


def test_policies_do_not_change():
    """No attribute can be set or deleted, so that one policy can serve many steps."""
    with pytest.raises(AttributeError, match="does not change"):
        DEFAULT.attempts = 5
    with pytest.raises(AttributeError, match="does not change"):
        del DEFAULT.attempts


def test_repr_makes_the_same_policy():
    """The repr is the call, without what is as by default."""
    assert repr(Retry()) == "Retry()"
    policy = Retry(attempts=2, jitter="full", on=(ValueError,), never=KeyError)
    assert repr(policy) == "Retry(attempts=2, jitter='full', on=(ValueError,), never=KeyError)"


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"attempts": 0}, "attempts=0"),
        ({"attempts": True}, "attempts=True"),
        ({"attempts": 2.0}, "attempts=2.0"),
        ({"delay": "1 sec"}, "delay='1 sec'"),
        ({"factor": 0.5}, "factor=0.5"),
        ({"factor": math.nan}, "factor=nan"),
        ({"factor": math.inf}, "factor=inf"),
        ({"factor": "2"}, "factor='2'"),
        ({"cap": -1}, "cap=-1"),
        ({"jitter": "ful"}, 'or as "full"'),
        ({"total": "soon"}, "total='soon'"),
        ({"delay": "2m"}, "longer than cap"),
        ({"attempts": 2, "delay": "2m"}, "longer than cap"),
        ({"delay": "30m", "cap": "1h"}, "longer than total"),
        ({"on": KeyboardInterrupt}, "never retried"),
        ({"on": int}, "not an exception class"),
        ({"on": [ValueError]}, "tuple"),
        ({"never": "ValueError"}, "never='ValueError'"),
        ({"on": ValueError("x")}, "on=ValueError?"),
        ({"on": (ValueError, lambda exc: True)}, "does not say"),
    ],
)
def test_what_is_not_valid_is_refused_when_the_policy_is_made(options, part):
    """A wrong option is an OptionError with the way out, long before the first failure."""
    with pytest.raises(OptionError) as refused:
        Retry(**options)
    assert part in str(refused.value)
    assert refused.value.hint


def test_a_number_for_a_policy_is_refused_with_the_policy_meant():
    """retry=3 is a near miss."""
    for number in (1, 3):
        with pytest.raises(OptionError, match=rf"did you mean retry=Retry\(attempts={number}\)"):
            policy_of(number)
    for no_number in (True, 0, -3, "3"):
        with pytest.raises(OptionError, match="is not a retry policy") as refused:
            policy_of(no_number)
        assert "did you mean" not in str(refused.value)
