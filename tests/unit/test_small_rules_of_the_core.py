"""Rules of the core that fit on a line: crash loops, checks of results, branches and their places."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import Died, Machine
from perdure import workflow
from perdure.api.step import step
from perdure.core.execution import crash_loop
from perdure.core.execution.branch import NO_INPUTS, Branch, busy
from perdure.core.execution.crash_loop import MARGIN, WIDTH, CrashLine, fitted, stuck
from perdure.core.execution.history import History
from perdure.core.execution.result_check import ensure
from perdure.core.execution.spec import Call, Spec, spec_of
from perdure.errors import CrashLoop, EnsureFailed, TooLarge


class Carrier:
    """What carries a branch."""

    def __init__(self) -> None:
        self.over = False

    def done(self) -> bool:
        return self.over


def a_spec(ensure: Any = None) -> Spec:
    @step(name="ruled", ensure=ensure)
    def ruled(x: int = 0) -> int:
        return x

    spec = spec_of(ruled)
    assert spec is not None
    return spec


def test_a_run_is_stuck_after_so_many_deaths_that_no_call_explains() -> None:
    """Each death is a note; where one call was in flight at all of them, that one is given up instead."""
    deaths = ("killed at 10:00", "killed at 10:01", "killed at 10:02")
    assert stuck("r-1", deaths[:2], {}, 3) is None
    assert stuck("r-1", deaths, {("one", b"", 0): deaths}, 3) is None
    found = stuck("r-1", deaths, {("one", b"", 0): deaths[:2]}, 3)
    assert isinstance(found, CrashLoop)
    assert "run r-1 died 3 times" in found.what
    assert found.__notes__ == [f"perdure: {death}" for death in deaths]


def test_crashes_are_found_by_call() -> None:
    """Name, key and occurrence; how many lives a call has cut short likewise."""
    spec = a_spec()
    call, again = Call(spec, (), {}, b"", b"k"), Call(spec, (), {}, b"", b"k")
    call.n, again.n = 0, 1
    lines = (CrashLine("a", 1.0), CrashLine("b", 9.0))
    assert crash_loop.against({("ruled", b"k", 0): lines}, call) == lines
    assert crash_loop.against({("ruled", b"k", 0): lines}, again) == ()
    assert crash_loop.alone_for(lines) == 9.0 + MARGIN, "longer than at any of its crashes"
    assert crash_loop.alone_for(()) == 0
    assert crash_loop.against({}, call) == ()
    assert crash_loop.lives_cut({("ruled", b"k", 0): 4}, call) == 4
    assert crash_loop.lives_cut({("ruled", b"k", 0): 4}, again) == 0


def test_long_names_that_begin_alike_stay_two() -> None:
    """What is too long for a flight record is cut and digested, within its bytes; what fits is kept."""
    assert fitted("x" * WIDTH) == "x" * WIDTH
    one, two = fitted("ä" * WIDTH + "1"), fitted("ä" * WIDTH + "2")
    assert one != two
    assert one.startswith("ä" * 70)
    assert max(len(text.encode()) for text in (one, two, fitted("x" * (WIDTH + 1)))) <= WIDTH


@pytest.mark.parametrize(
    ("says", "refused"),
    [(None, None), (True, None), (1, None), ("", None), (False, ""), (0, ""), ([], ""), ("too small", ": too small")],
    ids=repr,
)
def test_what_a_check_of_a_result_says(says: Any, refused: str | None) -> None:
    """A text says what is wrong, an empty one that nothing is; anything else is true or not; None says nothing."""
    spec = a_spec(lambda value: says)
    if refused is None:
        ensure(spec, 3)
        return
    with pytest.raises(EnsureFailed) as caught:
        ensure(spec, 3)
    assert caught.value.what == f"step 'ruled' returned 3, which its ensure= refuses{refused}"


def test_a_refused_result_that_cannot_be_shown_is_named_by_its_type() -> None:
    """The check comes first; that it could not have been stored is not what is wrong."""
    with pytest.raises(EnsureFailed, match="returned a value of type Carrier, which"):
        ensure(a_spec(lambda value: False), Carrier())
    ensure(a_spec(), Carrier())


def test_calls_without_inputs_are_told_apart_by_their_branch() -> None:
    """Their order between branches is not fixed; calls with inputs or a name are the same in any branch."""
    root = Branch(Carrier())
    first, second = Branch(Carrier(), root), Branch(Carrier(), root)
    inner = Branch(Carrier(), first)
    assert [branch.path for branch in (root, first, second, inner)] == [b"", b".0", b".1", b".0.0"]
    spec = a_spec()

    def key(branch: Branch, data: bytes = NO_INPUTS, named: bool = False) -> bytes:
        call = Call(spec, (), {}, data, b"key")
        call.named = named
        return branch.place(call).key

    assert key(root) == b"key"
    assert len({key(branch) for branch in (root, first, second, inner)}) == 4
    assert key(first) == key(first)
    assert key(first, b"inputs") == key(first, named=True) == b"key"


def test_a_branch_that_waits_for_another_is_not_busy() -> None:
    """Those that rest, and all that they are below of; one that has ended is not, either."""
    root = Branch(Carrier())
    first, second = Branch(Carrier(), root), Branch(Carrier(), root)
    inner = Branch(Carrier(), first)
    assert root.living == [root, first, second, inner]
    assert busy(root.living, [inner])
    second.task.over = True  # type: ignore[attr-defined]
    assert not busy(root.living, [inner])
    assert busy(root.living, [])


def test_branches_that_have_ended_are_not_kept() -> None:
    """A loop of a million short branches holds a few hundred of them."""
    root = Branch(Carrier())
    for _ in range(1000):
        Branch(Carrier(), root).task.over = True  # type: ignore[attr-defined]
    assert len(root.living) < 300
    assert root in root.living


def test_a_call_that_goes_by_another_key_now_has_the_record_of_its_inputs(machine: Machine) -> None:
    """The key of a step was edited: what was completed is not executed again, and nothing is left over."""
    done: list[str] = []
    place = ["first"]

    @step(name="keyed anew", key=lambda n: (n, place[0]), retry=None)
    def keyed(n: int) -> int:
        done.append(f"keyed {n}")
        return n

    @step(name="after it", retry=None)
    def after(n: int) -> int:
        done.append(f"after {n}")
        if place == ["first"]:
            raise Died
        return n

    @workflow(name="keyed_anew")
    def job() -> int:
        return after(keyed(1) + keyed(2)) + keyed(3)

    with pytest.raises(Died):
        job()
    machine.boot()
    place[0] = "second"
    assert job() == 6
    assert done == ["keyed 1", "keyed 2", "after 3", "after 3", "keyed 3"]


def test_a_record_may_be_as_large_as_is_said() -> None:
    """Inputs and result together; what is too much of the two is named."""
    history = History(1, "run")
    history.largest = 10
    history.refuse_oversized("step 'x'", b"12345", b"12345")
    with pytest.raises(TooLarge, match="step 'x' returned 6 bytes; a record holds at most 10 bytes"):
        history.refuse_oversized("step 'x'", b"12345", b"123456")
    for output in (None, b"12345"):
        with pytest.raises(TooLarge, match="step 'x' is called with 11 bytes of arguments"):
            history.refuse_oversized("step 'x'", b"12345678901", output)
