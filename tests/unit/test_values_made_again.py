"""Values as their annotations and classes make them again once they were edited: what changed, and what is refused."""

from __future__ import annotations

import datetime
import uuid
from collections import OrderedDict, deque
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any

import pytest
from test_dead_letter_edit import Colour, Range

from perdure.core.values.annotations import Closed
from perdure.core.values.constructing import ABSENT
from perdure.core.values.remaking import Remaking


@dataclass
class Span:
    low: int
    high: int


@dataclass
class Named:
    low: int
    name: str = ""


def remade(annotation: Any, value: Any, before: Any = ABSENT) -> tuple[Any, bool, str, set[Any]]:
    """What comes of a value of that annotation: made, changed, refused; and what was made of plain data."""
    remaking = Remaking(Closed(annotation, names=globals()))
    made, changed, refusal = remaking.remade(value, annotation, before, ("x",))
    return made, changed, "" if refusal is None else refusal.text, remaking.made


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (list[int], [1, 2]),
        (list[int], ["1"]),
        (tuple[int, str], (1, "a")),
        (dict[str, int], {"a": 1, "b": 2}),
        (deque[int], deque([1])),
        (Range, Range(1, 2)),
        (dict[str, list[Range]], {"a": [Range(1, 2)]}),
        (int, "1"),
        (Any, object()),
    ],
)
def test_what_is_as_it_was_stays_the_same_object(annotation: Any, value: Any) -> None:
    """Also where it does not fit what is declared: nobody has edited that."""
    made, changed, refused, found = remade(annotation, value, value)
    assert made is value
    assert (changed, refused, found) == (False, "", set())


@pytest.mark.parametrize(
    ("annotation", "value", "before", "made", "places"),
    [
        (list[int], [1, 2, 3], [1, 2], [1, 2, 3], []),
        (list[int], [1], [1, 2], [1], []),
        (list[int], [3, "a"], [1, "a"], [3, "a"], []),
        (list, [1, "a"], ABSENT, [1, "a"], []),
        (tuple[int, ...], (1, 2, 3), (1,), (1, 2, 3), []),
        (tuple[int, str], (2, "a"), (1, "a"), (2, "a"), []),
        (tuple[int, ...], [1, 2], (1,), (1, 2), ["x"]),
        (tuple[Range, str], ({"low": 1, "high": 2}, "a"), (Range(0, 2), "a"), (Range(1, 2), "a"), ["x[0]"]),
        (deque[int], deque([1, 2], 3), deque([1], 3), deque([1, 2], 3), []),
        (deque[Range], deque([{"low": 1, "high": 2}], 3), ABSENT, deque([Range(1, 2)], 3), ["x[0]"]),
        (set[int], [1, 2, 2], ABSENT, {1, 2}, ["x"]),
        (frozenset[int], [1], frozenset({2}), frozenset({1}), ["x"]),
        (dict[str, int], {"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 2}, []),
        (dict[str, Range], {"a": {"low": 1, "high": 2}}, {}, {"a": Range(1, 2)}, ["x.a"]),
        (dict, {"a": [1]}, {"a": [2]}, {"a": [1]}, []),
        (OrderedDict[str, int], OrderedDict(a=1), OrderedDict(a=2), OrderedDict(a=1), []),
        (Range | None, {"low": 1, "high": 2}, None, Range(1, 2), ["x"]),
        (Range | None, None, Range(1, 2), None, []),
        (list[Range | None], [None, {"low": 1, "high": 2}], [None], [None, Range(1, 2)], ["x[1]"]),
        (Range, Range(1, 3), Range(1, 2), Range(1, 3), []),
        (Span | Named, {"low": 1, "high": 2}, ABSENT, Span(1, 2), ["x"]),
        (tuple[Named, Span | None], (Span(3, 2), None), (Span(1, 2), None), (Named(3), None), ["x[0]"]),
        (Named | None, {"low": 1}, ABSENT, Named(1), ["x"]),
        (Colour, "BLUE", ABSENT, Colour.BLUE, ["x"]),
        (PurePosixPath, "a/b", ABSENT, PurePosixPath("a/b"), ["x"]),
        (Fraction, "1/3", ABSENT, Fraction(1, 3), ["x"]),
        (Decimal, "1.5", ABSENT, Decimal("1.5"), ["x"]),
        (datetime.date, "2026-01-02", ABSENT, datetime.date(2026, 1, 2), ["x"]),
        (uuid.UUID, str(uuid.UUID(int=5)), ABSENT, uuid.UUID(int=5), ["x"]),
        (int | str, "a", 1, "a", []),
        (Any, {"a": 1}, ABSENT, {"a": 1}, []),
    ],
)
def test_what_was_changed_is_made_as_it_is_declared(
    annotation: Any, value: Any, before: Any, made: Any, places: list[str]
) -> None:
    """Of plain data where that does not fit; what was wrong before may stay."""
    found, changed, refused, at = remade(annotation, value, before)
    assert (found, type(found), changed, refused) == (made, type(made), True, "")
    assert sorted("".join(f"[{one}]" if one.isdecimal() else f".{one}" for one in place)[1:] for place in at) == places
    assert getattr(found, "maxlen", None) == getattr(made, "maxlen", None)
    if isinstance(found, dict):
        assert list(found) == list(value)


@pytest.mark.parametrize(
    ("annotation", "value", "before", "says"),
    [
        (int, "5", ABSENT, "x is '5', and int is declared there"),
        (int, "5", 5, "x is '5', and int is declared there"),
        (list[int], [1, "a"], [1, 2], "x[1] is 'a', and int is declared there"),
        (list[int], ["b", "c"], ["a", 1], "x[0] is 'b', and int is declared there"),
        (dict[str, int], {"a": 1, "b": "c"}, {"a": 1}, "x.b is 'c', and int is declared there"),
        (dict[str, int], {"password": "c"}, {}, "x.password is ***, and int is declared there"),
        (frozenset[int], ["a"], ABSENT, "x[0] is 'a', and int is declared there"),
        (Range, 5, ABSENT, "x is no object"),
        (Span | Range, {"low": 1, "high": 2}, ABSENT, "x may be Span or Range: give what only one of them has"),
        (Named, {"low": 1, "more": 2}, ABSENT, "x: Named has no field 'more'"),
        (tuple[Named, Span | None], (Span(1, 3), None), (Span(1, 2), None), "x[0]: Named has no field 'high'"),
        (Decimal, "a", ABSENT, "x: Decimal refuses it: "),
        (int | list[int], "a", ABSENT, "x is 'a', and int | list[int] is declared there"),
    ],
)
def test_what_cannot_be_made_as_it_is_declared_is_refused(annotation: Any, value: Any, before: Any, says: str) -> None:
    """With its place, and what is declared there; a value under the name of a secret is not shown."""
    assert says in remade(annotation, value, before)[2]
