"""A test sees the clean-ups that a run has made, as calls of their steps."""

from __future__ import annotations

import pytest

import perdure
from perdure import step, workflow
from perdure.testing import durable


@step(name="seen.refund")
def refund(amount: int) -> None: ...


@step(name="seen.close")
def close(order: str) -> None: ...


@step(name="seen.charge", undo=refund)
def charge(order: str) -> int:
    return 5


@step(name="undo:seen.refund")
def named_so() -> None: ...


@workflow
def fails_after_it(order: str) -> None:
    perdure.defer_every_end(close, order)
    charge(order)
    named_so()
    raise ValueError("no goods")


def test_an_undoing_and_a_deferred_call_are_calls_of_their_steps() -> None:
    """`calls("refund") == []` is true only if nothing was refunded; a step that is named like an undoing is none."""
    with durable() as run:
        with pytest.raises(ValueError, match="no goods"):
            fails_after_it("o-1")
        assert [(one.args, one.attempts) for one in run.calls(refund)] == [((5,), 1)]
        assert [(one.args, one.attempts) for one in run.calls(close)] == [(("o-1",), 1)]
        assert (run.attempts(refund), run.attempts(charge), run.attempts(named_so)) == (1, 1, 1)
