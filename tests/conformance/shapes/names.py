"""Names are names: steps that are called like clean-ups, or like the steps of perdure's own, are none."""

from __future__ import annotations

from tests.conformance.bench import Bench, note, steps
from tests.conformance.shape import fail, fails_at_first, shape

from perdure import defer_every_end, step, workflow


@step(name="pay.back", retry=None)
def back(what: str) -> None:
    note("back", what)


@step(name="pay", retry=None, undo=back)
def pay(what: str) -> str:
    note("pay", what)
    return what


@step(name="undo:pay.back", retry=None)
def undo_alike(what: str) -> str:
    note("undo-alike", what)
    return what


@step(name="defer:pay.back", retry=None)
def defer_alike(what: str) -> str:
    note("defer-alike", what)
    return what


@step(name="perdure", retry=None)
def own_alike(what: str) -> str:
    note("own-alike", what)
    return what


@shape
def look_alikes_are_done_once(bench: Bench) -> None:
    fragile, broken = fails_at_first()

    @workflow
    def alike() -> str:
        defer_every_end(back, "d")
        for each in (undo_alike, defer_alike, own_alike, pay):
            each("a")
        return fragile()

    once = [("undo-alike", "a"), ("defer-alike", "a"), ("own-alike", "a")]
    ended = [("pay", "a"), "fragile", ("back", "a"), ("back", "d")]
    for _ in range(2):
        assert isinstance(bench.run(alike), ConnectionError)
    broken[0] = False
    assert bench.run(alike) == "up"
    assert steps() == [*once, *ended, *ended, ("pay", "a"), "fragile", ("back", "d")]


@shape
def a_look_alike_that_is_undone(bench: Bench) -> None:
    @step(name="undo:undo:pay.back", retry=None)
    def twice_alike(what: str) -> None:
        note("twice-alike", what)

    @step(name="defer:undo:pay.back", retry=None, undo=twice_alike)
    def undoable(what: str) -> str:
        note("undoable", what)
        return what

    @workflow
    def nested() -> None:
        undoable("a")
        undoable.map(["b", "c"])
        defer_every_end(undo_alike, "d")
        fail("no luck")

    assert isinstance(bench.run(nested), KeyError)
    away = [("undo-alike", "d"), *(("twice-alike", each) for each in "cba")]
    made = [("undoable", each) for each in "abc"]
    assert steps() == [*made, ("fail", "no luck"), *away]
