"""Which exception is which failure of a run."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

from perdure.core.exceptions import capture
from perdure.core.execution.failures import Failure, Failures


class Custom(Exception):
    """One with a look of its own at its attributes."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code

    def __setattr__(self, name: str, value: object) -> None:
        if name != "code":
            raise TypeError(name)
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> object:
        raise KeyError(name)


def test_an_exception_is_the_failures_of_its_run() -> None:
    """It may be several, of the run and of one that the run called; another exception that is equal is none."""
    inner, outer, error = Failures(), Failures(), Custom(7)
    first, again, above = Failure(3), Failure(5, replayed=True), Failure(9)
    inner.add(error, first)
    inner.add(error, again)
    outer.add(error, above)
    assert list(inner.of(error)) == [first, again]
    assert list(outer.of(error)) == [above]
    assert not inner.of(Custom(7))
    assert not Failures().of(error)
    assert inner.numbers == [3, 5]


def test_an_exception_is_not_kept_for_being_a_failure() -> None:
    """Neither do runs that are over stay with an exception that goes on (that of a module, raised again and again)."""
    run, error, fleeting = Failures(), ValueError(), Custom(7)
    run.add(error, Failure(3))
    run.add(fleeting, Failure(4))
    gone, failures = weakref.ref(fleeting), weakref.ref(run)
    gc.disable()
    try:
        del fleeting
        assert gone() is None
        del run
        assert failures() is None
        assert len(vars(error)["__perdure_failures__"]) == 0
    finally:
        gc.enable()


def test_what_a_failure_is_does_not_go_with_its_exception_as_data() -> None:
    """It is pickled and copied as before, and what is kept of it in the state file says nothing of it."""
    run, error = Failures(), ValueError("no")
    before = capture.encode(capture.to_fault(error))
    run.add(error, Failure(3))
    assert capture.encode(capture.to_fault(error)) == before
    for copied in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert copied.args == error.args
        assert not run.of(copied)
        run.add(copied, Failure(4))
        assert [failure.seq for failure in run.of(copied)] == [4]
