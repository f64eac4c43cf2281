"""Where a value is unlike its annotation: the first place, as it is written in Python, and what stands there."""

from __future__ import annotations

import enum
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any, Generic, Literal, NotRequired, TypedDict, TypeVar

import pytest

from perdure.core.values.annotations import Closed

T = TypeVar("T")


class Level(enum.Enum):
    LOW = 1


class Celsius(float):
    pass


@dataclass
class Info:
    code: int
    level: Level | None = None


@dataclass
class Box(Generic[T]):
    content: T


@dataclass
class Boxes(Generic[T]):
    any: Box
    same: Box[T]


class Answer(TypedDict):
    name: str
    count: NotRequired[int]


def misfit(annotation: Any, value: Any, strict: bool = False) -> str | None:
    """The place at which it does not fit; None if it does."""
    position = Closed(annotation, names=globals()).position(annotation)
    if position is None:
        return None
    found = position.misfit(value, strict)
    assert found is None or found[2].misfit(found[1]) is not None
    return None if found is None else found[0]


@pytest.mark.parametrize(
    ("annotation", "value", "place"),
    [
        (Any, object(), None),
        (object, 1, None),
        (None, None, None),
        (None, 1, ""),
        (int, 1, None),
        (int, True, None),
        (int, 1.0, ""),
        (float, 1, None),
        (complex, 1, None),
        (float, 1j, ""),
        (float, Celsius(1), None),
        (str | None, None, None),
        (str | None, 1, ""),
        (Literal["a", 1], "a", None),
        (Literal["a", 1], 1, None),
        (Literal["a", 1], True, ""),
        (Literal["a", 1], "b", ""),
        (Literal[Level.LOW], Level.LOW, None),
        (list, [1, "a"], None),
        (list[Any], [1, "a"], None),
        (list[int], [], None),
        (list[int], [1, "a", "b"], "[1]"),
        (list[int], (1,), ""),
        (list[list[int]], [[1], [2, "a"]], "[1][1]"),
        (list[int] | list[str], ["a", "b"], None),
        (list[int] | list[str], ["a", 1], "[1]"),
        (tuple[int, str], (1, "a"), None),
        (tuple[int, str], (1, 2), "[1]"),
        (tuple[int, str], ("a", "a"), "[0]"),
        (tuple[int, str], (1,), ""),
        (tuple[int, str], (1, "a", 2), ""),
        (tuple[int, ...], (), None),
        (tuple[int, ...], (1, 2, 3), None),
        (tuple[int, ...], (1, 2, "a"), "[2]"),
        (tuple[Any, int], (1, "a"), "[1]"),
        (set[int], {1}, None),
        (set[int], {"a"}, "[0]"),
        (frozenset[str], frozenset({1}), "[0]"),
        (deque[int], deque([1, "a"]), "[1]"),
        (dict[str, int], {"a": 1}, None),
        (dict[str, int], {"a": 1, "b": "c"}, "['b']"),
        (dict[str, int], {1: 1}, "<key 1>"),
        (dict[str, Any], {"a": object}, None),
        (dict[str, Any], {1: object}, "<key 1>"),
        (dict[Any, int], {1: 1, 2: "a"}, "[2]"),
        (dict[str, list[int]], {"a": [1, "b"]}, "['a'][1]"),
        (Counter[str], Counter("aab"), None),
        (Counter[str], Counter([1]), "<key 1>"),
        (Answer, {"name": "a"}, None),
        (Answer, {"name": "a", "count": 1, "more": 2}, None),
        (Answer, {"name": "a", "count": "b"}, "['count']"),
        (Answer, {"count": 1}, ""),
        (Answer, [], ""),
        (Info, Info(1), None),
        (Info, Info(1, Level.LOW), None),
        (Info, Info("a"), ".code"),  # type: ignore[arg-type]
        (Info, Info(1, "low"), ".level"),  # type: ignore[arg-type]
        (Info, 1, ""),
        (list[Info | int], [1, Info(2), Info("a")], "[2].code"),  # type: ignore[arg-type]
        (Box[int], Box(1), None),
        (Box[int], Box("a"), ".content"),
        (Box[list[Info]], Box([Info(1), Info("a")]), ".content[1].code"),  # type: ignore[arg-type]
        (Box, Box("a"), None),
        (Boxes[int], Boxes(Box("a"), Box(1)), None),
        (Boxes[int], Boxes(Box("a"), Box("b")), ".same.content"),
    ],
)
def test_the_first_place_that_does_not_fit(annotation: Any, value: Any, place: str | None) -> None:
    """As deep as it lies, in the last of several alternatives."""
    assert misfit(annotation, value) == place
    assert misfit(list[annotation], [value]) == (None if place is None else f"[0]{place}")
    assert misfit(dict[int, annotation], {1: value}) == (None if place is None else f"[1]{place}")


@pytest.mark.parametrize(
    ("annotation", "value", "place"),
    [
        (list[int], ["a"], None),
        (dict[str, int], {1: "a"}, None),
        (list[Info], [Info(1)], None),
        (list[Info], [1], "[0]"),
        (dict[str, Info], {1: Info(1), "a": 2}, "['a']"),
        (tuple[int, Info], ("a", 1), "[1]"),
        (Box[Info], Box(1), ".content"),
        (Answer, {"count": "b"}, None),
    ],
)
def test_what_is_refused_is_unlike_a_class(annotation: Any, value: Any, place: str | None) -> None:
    """Elsewhere it is only noted."""
    assert misfit(annotation, value, strict=True) == place


def test_the_classes_of_an_annotation() -> None:
    """Those with fields, members included, however deep; with their names, which differ."""

    @dataclass
    class Level:  # of the same name
        inner: Info

    found = Closed(dict[str, list[Level | None]], tuple[Box[Info], ...], names=globals())
    assert set(found.records) == {Level, Box, Info, globals()["Level"]}
    assert found.labels[Info] == "Info"
    assert found.unread == []
    assert {label: found.names[label].cls for label in found.labels.values()} == {
        label: cls for cls, label in found.labels.items()
    }
    assert found.find("Info") is found.records[Info]
    assert found.find("Missing") is None
    assert found.admit(int) is None
    admitted = Closed(float, names=globals()).admit(Celsius)
    assert admitted is not None
    assert admitted[0] == "Celsius"
    assert Closed(str, names=globals()).admit(Celsius) is None
