"""What an annotation says about values that are already saved, and about those that can never be."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import inspect
import pathlib
import sqlite3
import typing
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, NewType, NotRequired, Required, TypedDict

import pydantic
import pytest

from perdure.core.values import codec
from perdure.errors import NotDecodable, NotStorable, UnstorableType


def plan(annotation: Any) -> codec.Plan:
    return codec.plan(annotation, owner="step 'f'", names=globals())


@dataclasses.dataclass
class Cents:
    amount: int


@dataclasses.dataclass
class Euros:
    amount: decimal.Decimal


Euros.__qualname__ = "Cents"  # the same class after an edit


class Row(TypedDict):
    id: int


class WiderRow(TypedDict):
    id: int
    name: str


class NamedRow(TypedDict):
    id: int
    name: NotRequired[Annotated[str, "of the bank"]]
    note: Annotated[NotRequired[str], "for people"]


class LooseRow(TypedDict, total=False):
    id: Required[int]
    name: str


Id = NewType("Id", str)
CHANGED: list[tuple[Any, Any, Any]] = [
    (int, 1250, decimal.Decimal),
    (int, 1250, str),
    (int, 1250, bool),
    (int, 1250, None),
    (float, 1.5, int),
    (str, "x", bytes),
    (str, "x", pathlib.Path),
    (None, None, int),
    (str, "2026-01-01", datetime.date),
    (int | None, 5, str | None),
    (list[int], [1], list[str]),
    (list[int], [1], tuple[int, ...]),
    (list, [1], dict),
    (dict[str, int], {"a": 1}, dict[str, decimal.Decimal]),
    (dict[str, list[int]], {"a": [1]}, dict[str, list[str]]),
    (dict[str, int], {"a": 1}, dict[int, int]),
    (tuple[int, str], (1, "a"), tuple[int, int]),
    (tuple[int, str], (1, "a"), tuple[int, str, int]),
    (set[int], {1}, set[str]),
    (Literal["a", "b"], "a", Literal["b", "c"]),
    (Annotated[int, "cents"], 5, Annotated[str, "cents"]),
    (int, 5, Id),
    (Cents, Cents(5), Euros),
    (list[Cents], [Cents(5)], list[Euros]),
    (Row, {"id": 1}, WiderRow),
    (dict[str, str], {"name": "x"}, LooseRow),
    (dict[str, str], {"name": "x"}, NamedRow),
    (dict[str, int], {"id": 1, "name": 2}, NamedRow),
    (Sequence[int], [1], Sequence[str]),
    (Mapping[str, int], {"a": 1}, Mapping[str, str]),
    (collections.Counter[str], collections.Counter("a"), collections.Counter[int]),
]


@pytest.mark.parametrize(("before", "value", "after"), CHANGED, ids=[str(i) for i in range(len(CHANGED))])
def test_a_changed_annotation_is_a_changed_schema(before: Any, value: Any, after: Any) -> None:
    """A value of the old type is never handed out under the new one; under its own it is."""
    data, _ = plan(before).round_trip(value)
    assert plan(before).unpack(data) == value
    with pytest.raises(NotDecodable, match="schema-change"):
        plan(after).unpack(data)


FITTING: list[tuple[Any, Any, Any]] = [
    (int, 5, float),
    (int, 5, int | str),
    (int, 5, Any),
    (int, 5, object),
    (int, 5, typing.Hashable),
    (bool, True, int),
    (str, "x", Id),
    (list[int], [1], Sequence[int]),
    (list[int], [1], Iterable[int | str]),
    (dict[str, int], {"a": 1}, Mapping[str, float]),
    (Row, {"id": 1}, dict[str, Any]),
    (Row, {"id": 1}, NamedRow),
    (NamedRow, {"id": 1}, NamedRow),
    (Row, {"id": 1}, LooseRow),
    (datetime.datetime, datetime.datetime(2026, 1, 1), datetime.date),
    (list[int], [], list[str]),
    (int, 5, "NotYetDefined"),
    (int, 5, typing.SupportsFloat),
]


@pytest.mark.parametrize(("before", "value", "after"), FITTING, ids=[str(i) for i in range(len(FITTING))])
def test_a_wider_annotation_still_admits_what_was_saved(before: Any, value: Any, after: Any) -> None:
    """What fits the new annotation is handed out as it was."""
    data, _ = plan(before).round_trip(value)
    again = plan(after).unpack(data)
    assert (type(again), again) == (type(value), value)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [(int, "x"), (None, 5), (list[int], ["a"]), (dict[str, int], {1: "b"}), (Cents, Cents("x")), (Row, {"id": "x"}),
     (tuple[int, int], (1, 2, 3)), (list[Cents], [Cents("x")])],
)  # fmt: skip
def test_a_value_that_never_fitted_comes_back_on_resume_as_on_the_first_run(annotation: Any, value: Any) -> None:
    """Annotations of builtins are not enforced: an unedited script goes on, whatever it returns."""
    data, first = plan(annotation).round_trip(value)
    again = plan(annotation).unpack(data)
    assert (type(again), again) == (type(value), value) == (type(first), first)
    assert "unreadable" not in codec.describe(data)
    assert plan(annotation).pack(value) == data


def test_metadata_that_differs_in_each_process_is_no_change_of_the_annotation() -> None:
    """The address of a validator in `Annotated` says nothing."""
    data, _ = plan(Annotated[int, object()]).round_trip("x")
    assert plan(Annotated[int, object()]).unpack(data) == "x"


class Connection:
    pass


class Login(pydantic.BaseModel):
    password: pydantic.SecretStr


@dataclasses.dataclass
class Holder:
    connection: sqlite3.Connection


@dataclasses.dataclass
class Tree:
    children: list[Tree]
    value: int | Connection


class Colour(enum.Flag):
    RED = 1
    BLUE = 2


class Point(NamedTuple):
    x: int


NEVER: list[Any] = [
    sqlite3.Connection, Connection, list[Connection], dict[str, Connection], tuple[int, Connection],
    tuple[Connection, ...], Holder, Iterator[int], typing.Generator[int, None, None], AsyncIterator[int],
    Callable[[], int], type[int], type, pydantic.SecretStr, Login, list[Login], Connection | sqlite3.Connection,
    typing.IO[str], BaseException,
]  # fmt: skip
SOMETIMES: list[Any] = [
    int, None, tuple[int, ...], Any, object, Connection | None, list[int | Connection], Iterable[int], Sequence[str],
    Tree, Colour, Point,
    typing.Hashable, typing.SupportsFloat, "Unknown", Row, dict, Literal["a"], Id, pathlib.PurePath, Annotated[int, 1],
    typing.Awaitable[int], datetime.tzinfo, collections.deque[int], typing.TypeVar("T"),
]  # fmt: skip


@pytest.mark.parametrize("annotation", NEVER, ids=str)
def test_what_can_never_be_stored_is_refused_before_the_work_is_done(annotation: Any) -> None:
    """The error names the step and the declared type."""
    with pytest.raises(UnstorableType, match=r"step 'f' is declared to return .* it was not called") as caught:
        plan(annotation).refuse_unstorable()
    assert isinstance(caught.value, NotStorable)
    assert caught.value.hint


@pytest.mark.parametrize("annotation", SOMETIMES, ids=str)
def test_what_may_be_storable_is_given_a_try(annotation: Any) -> None:
    """An annotation that cannot be judged is not refused."""
    plan(annotation).refuse_unstorable()


class Celsius(float):
    pass


class Tagged(str):
    def __new__(cls, text: str, tag: int) -> Tagged:
        value = super().__new__(cls, text)
        value.tag = tag
        return value

    tag: int


class Many(list[int]):
    pass


class Moment(datetime.datetime):
    pass


SUBCLASSES: list[tuple[Any, Any]] = [
    (float, Celsius(21.5)), (Celsius, Celsius(21.5)), (list[float], [Celsius(1), 2.0]), (str, Tagged("x", 3)),
    (Many, Many([1, 2])), (list[int], Many([1])), (Moment, Moment(2026, 1, 1)), (datetime.datetime, Moment(2026, 1, 1)),
    (dict[str, float], {"a": Celsius(1)}), (Colour, Colour.RED | Colour.BLUE),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "value"), SUBCLASSES, ids=[str(i) for i in range(len(SUBCLASSES))])
def test_a_subclass_of_a_builtin_comes_back_as_its_class(annotation: Any, value: Any) -> None:
    """Where it is named, or where its base is and the module knows it; with its attributes, without its constructor."""
    data, first = plan(annotation).round_trip(value)
    again = plan(annotation).unpack(data)
    for each in (first, again):
        assert (type(each), each) == (type(value), value)
        assert getattr(each, "__dict__", None) == getattr(value, "__dict__", None)
        if isinstance(value, (list, dict)):
            assert list(map(type, each)) == list(map(type, value))
            assert [type(x) for x in getattr(each, "values", list)()] == [
                type(x) for x in getattr(value, "values", list)()
            ]


def test_a_subclass_that_nothing_names_is_refused_and_never_narrowed() -> None:
    """Bytes that name one are refused too, where the module does not know it."""
    with pytest.raises(NotStorable, match="subclass of float"):
        codec.plan(float, owner="step 'f'").round_trip(Celsius(1))
    data = plan(float).pack(Celsius(1))
    with pytest.raises(NotDecodable, match="Celsius"):
        codec.plan(float, owner="step 'f'").unpack(data)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (Cents(1), "as -> Cents"),
        ([Cents(1), Cents(2)], "as -> list[Cents]"),
        ((Cents(1), Id("x"), 3, 4), "as -> tuple[Cents, str, int, int]"),
        ((Cents(1),) * 5, "as -> tuple[Cents, ...]"),
        ((Cents(1), 2, 3, 4, 5), "so that it names Cents"),
        ([1, Cents(1)], "so that it names Cents"),
        ({"a": Cents(1)}, "so that it names Cents"),
    ],
    ids=repr,
)
def test_the_annotation_that_is_missing_is_spelled_out(value: Any, named: str) -> None:
    """By what was returned, if that tells; else the class is named."""
    with pytest.raises(NotStorable) as caught:
        codec.plan(inspect.Parameter.empty, owner="step 'f'").round_trip(value)
    assert caught.value.hint == f"annotate the return type of step 'f' {named}"
