"""What crashtest takes for the same name in two runs, though a clock or chance is in it, and what it does not."""

from __future__ import annotations

import pytest

from perdure.crashtest.effects import Effect
from perdure.crashtest.file_contents import Content
from perdure.crashtest.judge import differences
from perdure.crashtest.lives import Life
from perdure.crashtest.outcome import Failure, Outcome
from perdure.crashtest.points import Point
from perdure.crashtest.reference import End, Other, Reference
from perdure.crashtest.varying_names import Names


@pytest.mark.parametrize(
    ("one", "other", "third", "shown"),
    [
        ("report-2026-11-27-22.13.txt", "report-2026-11-27-22.14.txt", "report-2027-01-01-00.00.txt", None),
        ("a/x-6ba7b810-9dad-41d1-80b4-00c04fd430c8.json", "a/x-aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee.json",
         "a/x-00000000-ffff-4fff-9fff-fffffffffff1.json", "a/x-*.json"),
        ("tmpabcdefgh", "tmpk3_x9abc", "tmpqqqqqqqq", "*"),
        ("out/quick-fox.csv", "out/lazy-dog.csv", "out/red-hen.csv", "out/*.csv"),
        ("run-17/all.csv", "run-18/all.csv", "run-204/all.csv", "run-*/all.csv"),
        ("PUT http://127.0.0.1:80/o/deadbeefdead/x", "PUT http://127.0.0.1:80/o/012345abcdef/x",
         "PUT http://127.0.0.1:80/o/feedfacefeed/x", "PUT http://127.0.0.1:80/o/*/x"),
    ],
)  # fmt: skip
def test_names_of_one_shape_are_one(one: str, other: str, third: str, shown: str | None) -> None:
    """Whatever the third run makes of it; what is the same in all of them is shown."""
    names = Names([{one, "same-1.txt", "a/b", "out/b"}, {other, "same-1.txt", "a/b", "out/b"}])
    assert names.common(one) == names.common(other) == names.common(third)
    assert names.is_shape(names.common(third))
    assert names.shown(names.common(third)) == (shown or "report-2026-11-27-22.*.txt")
    for name in ("same-1.txt", "a/b", "other/place.bin"):
        assert (names.common(name), names.is_shape(name)) == (name, False)


def test_names_that_are_the_same_have_no_shape() -> None:
    """And what only one of two runs has is no shape either."""
    names = Names([{"report-1.txt", "log-7.txt"}, {"report-1.txt"}])
    assert [names.common(name) for name in ("report-1.txt", "report-2.txt", "log-7.txt")] == [
        "report-1.txt", "report-2.txt", "log-7.txt"
    ]  # fmt: skip


def end(files: dict[str, str], effects: list[Effect] | None = None, **outcome: object) -> End:
    life = Life([], effects or [], [], Outcome("done", **outcome))  # type: ignore[arg-type]
    return End(life, {name: Content(*text.split("|")) for name, text in files.items()}, [])


def test_files_are_compared_as_closely_as_undisturbed_runs_agree() -> None:
    """By content, else by lines, else by being there; names of a shape by how many there are."""
    one = end({"a": "x|1 lines", "log": "p|2 lines", "odd": "p|2 lines", "r-1.txt": "x", "s-1.txt": "p"})
    other = end({"a": "x|1 lines", "log": "q|2 lines", "odd": "q|3 lines", "r-2.txt": "x", "s-2.txt": "q"})
    reference = Reference([one, other])
    same = {"a": "x|1 lines", "log": "z|2 lines", "odd": "z|9 lines", "r-3.txt": "x", "s-3.txt": "z"}
    assert reference.other_files(end(same).files) == []
    assert reference.unstable() == [
        "the content of log", "the lines or rows of odd", "the names of r-*.txt", "the names of s-*.txt",
        "the content of s-*.txt",
    ]  # fmt: skip
    for changed, shown in (
        ({"a": "y|1 lines"}, Other("a", 1, 1)),
        ({"log": "z|3 lines"}, Other("log", 1, 1)),
        ({"new": "z"}, Other("new", 1, 0)),
        ({"r-3.txt": "y"}, Other("r-*.txt", 1, 1)),
        ({"s-4.txt": "y"}, Other("s-*.txt", 2, 1)),
    ):
        assert reference.other_files(end({**same, **changed}).files) == [shown]
    assert reference.other_files(end({name: text for name, text in same.items() if name != "odd"}).files) == [
        Other("odd", 0, 1)
    ]


def test_a_call_with_another_input_in_each_run_has_as_many_effects_as_its_step() -> None:
    """Its key is another one each time, so it is counted by step and place; what is repeated is more than that."""

    def posts(call: str, *places: str) -> list[Effect]:
        return [Effect("http", f"POST http://x/{place}", "notify", call) for place in places]

    reference = Reference([end({}, posts("k1", "a", "o/1", "a")), end({}, posts("k2", "a", "o/2", "a"))])
    (first, order, _) = posts("k3", "a", "o/3", "a")
    assert (reference.usual(first), reference.usual(order)) == (2, 1)
    assert reference.identity(order) == reference.identity(posts("k4", "o/4")[0])
    assert reference.shown(posts("k3", "o/3", "o/5")) == "POST http://x/o/*"
    assert reference.shown(posts("k3", "a", "a")) == "POST http://x/a"


def test_another_undisturbed_run_shows_what_is_not_compared() -> None:
    """What two runs agree on by chance, a third does not."""
    reference = Reference([end({"a": "x"}, result="1"), end({"a": "x"}, result="1")])
    assert (reference.unstable(), reference.fits("result", "3")) == ([], False)
    reference = reference.and_one_more(end({"a": "y"}, result="2"))
    assert (reference.unstable(), reference.fits("result", "3")) == (["the content of a", "the result"], True)


@pytest.mark.parametrize(
    ("kind", "outcome", "step", "said", "fix"),
    [
        ("change", {"failures": [Failure("move", "k", "E: gone")]}, "move",
         "'move' fails when it is made again: E: gone; ", "whether its work is done"),
        ("after-save", {"failures": [Failure("read", "k", "E: gone")]}, "read",
         "'read' fails in the resumed run: E: gone; ", "let steps return"),
        ("change", {"over_budget": "step 'ask' is not called: $2 of $2 are spent"}, "move",
         "step 'ask' is not called: $2 of $2 are spent; ", "leave room"),
        ("change", {"failures": [Failure("usual", "k", "E: as ever")]}, "move", "", "let steps return"),
    ],
)  # fmt: skip
def test_why_a_run_ends_otherwise_is_said(
    kind: str, outcome: dict[str, object], step: str, said: str, fix: str
) -> None:
    """A call that fails now and not undisturbed, or a budget; and what is long is shown where it differs."""
    usual = end({}, result=f'"{"found so far: " * 9}all"', failures=[Failure("usual", "k", "E: as ever")])
    otherwise = end({}, result=f'"{"found so far: " * 9}but one"', **outcome)
    (finding,) = differences(Reference([usual, usual]), otherwise, Point(kind, "move", 1))  # type: ignore[arg-type]
    assert (finding.kind, finding.step) == ("other-end", step)
    assert finding.text.startswith(
        f"{said}the result is ... found so far: but one, undisturbed ... found so far: all; killed"
    )
    assert fix in finding.fix
