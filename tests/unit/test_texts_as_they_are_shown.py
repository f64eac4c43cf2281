"""Texts that are looked for in encoded bytes: what a view shows is not found, and what it does not show is."""

from __future__ import annotations

import dataclasses
import datetime
from collections import OrderedDict
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pytest
from listed_runs import Listed, given

from perdure.core.values import codec
from perdure.core.values.describe import TRANSLATED, may_show, part_of, word_of
from perdure.operations.ps import RunFilter, each_run, runs_page
from perdure.operations.searching import search
from perdure.operations.step_rows import StepFilter, step_rows
from perdure.store import run_pages, step_pages

SECRET = "ghp_" + "b7K2" * 9
INPUTS = {
    "number": 4711,
    "small": 65,
    "day": datetime.date(2026, 11, 23),
    "price": Decimal("12.50"),
    "flag": True,
    "long": "x" * 200 + "MARK",
    "secret": f"token={SECRET}",
}


@dataclasses.dataclass
class Order:
    id: int


@pytest.fixture
def listed(tmp_path: Path) -> Iterator[Listed]:
    made = Listed(tmp_path / "state.db")
    yield made
    made.store.close()


@pytest.fixture
def runs(listed: Listed) -> Listed:
    """A run of each of the inputs, named by it."""
    for name, value in INPUTS.items():
        run = msgspec.structs.replace(listed.run(f"of {name}"), rid=0, id=f"r-{name}", input=given(value))
        listed.store.journal.write((), lambda connection, run=run: listed.store.insert_run(connection, run))
    return listed


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("4711", ["number"]),
        ("date(2026, 11, 23)", ["day"]),
        ("('12.50", ["price"]),
        ("True", ["flag"]),
        ("(65)", ["small"]),
        ("A", ["long"]),  # the byte of 65 is an "A", that of MARK is one that is shown
        ("xMARK", ["long"]),
        ("%", []),  # lengths are bytes too
        ("***", ["secret"]),
        ("b7K2", []),
    ],
)
def test_runs_are_found_by_what_is_shown_of_them(
    runs: Listed, monkeypatch: pytest.MonkeyPatch, text: str, found: list[str]
) -> None:
    """As a person reads the inputs, whatever they are and however long; by no byte that is not shown, and by no
    credential, which would tell it a piece at a time. It is the same in portions and pages of any size."""
    monkeypatch.setattr(run_pages, "TEXTS", 3)
    wanted = [f"r-{name}" for name in found]
    assert [one.id for one in each_run(runs.store, RunFilter(text=text)) if one.id.startswith("r-")] == wanted
    paged, cursor = [], None
    while True:
        page = runs_page(runs.store, RunFilter(text=text), cursor=cursor, limit=1, seconds=0.0)
        paged += [one.id for one in page.runs]
        if (cursor := page.next) is None:
            break
    assert [id for id in paged if id.startswith("r-")] == wanted


@pytest.mark.parametrize("order", ["first", "last", "slowest"])
def test_steps_are_found_by_inputs_and_errors(listed: Listed, monkeypatch: pytest.MonkeyPatch, order: Any) -> None:
    """In each order, in portions of any size: a step is found by its number as it is shown, and by its error."""
    monkeypatch.setattr(step_pages, "TEXTS", 3)
    run = listed.run("run")
    listed.steps(run, *["load"] * 9)
    listed.steps(run, "charge", status="dead")
    every = step_rows(listed.store, run, order=order).steps
    for text in ("(7)", every[-1].inputs, next(one.error for one in every if one.error)):
        rows, cursor = [], None
        while True:
            page = step_rows(listed.store, run, StepFilter(text=text), order=order, cursor=cursor, limit=1)
            rows += page.steps
            if (cursor := page.next) is None:
                break
        assert rows == [one for one in every if text in one.inputs or text in (one.error or "")]
        assert rows


@pytest.mark.parametrize(
    "value",
    [
        *INPUTS.values(),
        "one\nnothing\ttab\\next \x00abc\u200badded 'quoted' \U000e0001face",
        ["word", {"key one": None, "b": [True, 1e300, float("nan")]}],
        b"raw\xffbytes\nnext",
        [-(10**300), OrderedDict(of={10**5000}), {"\x00é\u200b": Fraction(10**200, 3)}],
        {"tuple": ("inner", datetime.timedelta(hours=3)), "set": frozenset({"letters"})},
        "größer Straße",
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_piece_of_what_is_shown_is_left_out(value: Any) -> None:
    """Whatever is looked for, as inputs are shown: by a statement, or by what they are when many are printed."""
    packed = codec.pack_inputs([value], {"naïve\x00": value}, owner="send")
    shown = codec.describe_inputs(packed, 10_000)
    is_translated = not set(TRANSLATED).isdisjoint(packed)
    for first in range(len(shown)):
        for last in {first + 4, first + 9, first + 30, len(shown)}:
            word, part = word_of(shown[first:last]), part_of(shown[first:last])
            assert 1 in may_show(part, [given(None), packed, given("x")]), shown[first:last]
            assert word is None or word.encode() in packed or is_translated, shown[first:last]


def test_what_is_inside_of_other_values_is_shown_as_it_is_alone() -> None:
    """A number that takes too long to print, and an instance whose class is not there."""
    packed = codec.pack_value(OrderedDict(of=[10**5000, Order(7)]), owner="send")
    assert "[<int of 16610 bits>, Order(id=7)]" in codec.describe(packed)


def test_steps_are_found_by_every_word_that_is_shown(listed: Listed) -> None:
    """By their names, by their labels, and by their errors, which are stored in other columns than inputs."""
    run = listed.run("run")
    listed.steps(run, "load", "send", label="SO-order-7")
    listed.steps(run, "charge", status="dead")
    (error,) = (one.error for one in step_rows(listed.store, run).steps if one.error)
    for text, names in (
        ("load", ["load"]), ("order", ["load", "send"]), ("charge", ["charge"]), (error, ["charge"]), ("walrus", []),
    ):  # fmt: skip
        wanted = StepFilter(longer=0, text=text)  # and another filter beside it
        assert [one.name for one in step_rows(listed.store, run, wanted).steps] == names, text
    assert word_of("nothing of that") == "othing"
    assert list(may_show("17", [given(n) for n in range(20)])) == [17]  # the others are not looked at one by one


def test_the_search_finds_errors_and_letters(listed: Listed) -> None:
    """An error that an operator pastes leads to the failed run, to the step and to its letter; if time is over, the
    answer does not say that it is complete."""
    failed = listed.run("failed-one", "failed")
    run = listed.run("run")
    listed.steps(run, "load", "load")
    listed.steps(run, "charge", status="dead")
    (error,) = (one.error for one in step_rows(listed.store, run).steps if one.error)
    found = search(listed.store, error)
    assert [one.id for one in found.runs] == [failed.id]
    assert [one.step.name for one in found.steps] == ["charge"]
    assert [one.step for one in found.letters] == ["charge"]
    assert found.complete
    nothing = search(listed.store, "walrus")
    assert (nothing.runs, nothing.steps, nothing.letters, nothing.complete) == ([], [], [], True)
    assert not search(listed.store, "walrus", seconds=0.0).complete
