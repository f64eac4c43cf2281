"""Calls that are alike are told apart by their order, also where a run has more of them than are remembered whole."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from perdure.core.execution import record_matching, step_claims
from perdure.core.execution.history import History
from perdure.core.execution.spec import Call, Spec


def work(n: int) -> int:
    return n


SPEC = Spec("step", work, "work")


def claimed(history: History, keys: list[bytes]) -> list[tuple[int, int | None]]:
    """Occurrence and record of a call with each key, one after the other."""
    calls = [Call(SPEC, (), {}, b"", key) for key in keys]
    found = [history.claim(call) for call in calls]
    return [(call.n, seq) for call, seq in zip(calls, found, strict=True)]


@pytest.mark.parametrize("digits", [2, 256])
def test_each_call_gets_the_number_of_those_before_it(monkeypatch: pytest.MonkeyPatch, digits: int) -> None:
    """In a new run, and with each record claimed by its own call in the one that resumes it."""
    monkeypatch.setattr(record_matching, "ONE_BY_ONE", 50)
    monkeypatch.setattr(step_claims, "ONE_BY_ONE", 50)
    draw = random.Random(digits)
    # Of two digits, keys are found in a bucket at places where none of them begins.
    keys = [bytes(draw.randrange(digits) for _ in range(9)) + bytes(7) for _ in range(600)]
    keys += draw.choices(keys, k=300)
    before: Counter[bytes] = Counter()
    expected = []
    for key in keys:
        expected.append(before[key])
        before[key] += 1
    assert [n for n, _ in claimed(History(1, "run-1"), keys)] == expected
    index = [(seq, "work", key, n, "done", "step") for seq, (key, n) in enumerate(zip(keys, expected, strict=True), 1)]
    resumed = History(1, "run-1", index)
    assert list(resumed.left()) == list(range(1, 901))
    assert claimed(resumed, keys) == [(n, seq) for seq, n in enumerate(expected, 1)]
    assert not list(resumed.left())
    assert not resumed.unsettled("work")
