"""Recorded arguments are edited as JSON: each place stays of its kind, and what JSON cannot say is refused by name."""

from __future__ import annotations

import datetime
import enum
from collections import OrderedDict, deque
from dataclasses import dataclass
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest

from perdure import Secret
from perdure.core.execution.argument_paths import Arguments
from perdure.core.values import codec
from perdure.errors import OptionError

ONE, TWO = UUID(int=1), UUID(int=2)


class Level(enum.Enum):
    LOW = 1
    HIGH = 2


@dataclass
class Order:
    id: int
    notes: list[str]


def packed(*args: Any, **kwargs: Any) -> bytes:
    return codec.pack_inputs(list(args), kwargs, owner="it")


def edited(before: Any, path: str, value: Any) -> bytes:
    """The argument `x` after a change."""
    arguments = Arguments(packed(before), ["x"])
    arguments.set(path, value)
    return arguments.packed()


@pytest.mark.parametrize(
    ("before", "path", "value", "after"),
    [
        (1, "x", 2, 2),
        (1, "0", "two", "two"),
        (None, "x", [1], [1]),
        (1, "x", None, None),
        (1.0, "x", 2, 2.0),
        (float("inf"), "x", "-inf", float("-inf")),
        (float("inf"), "x", "no number", "no number"),
        (2**60, "x", "7", 7),
        (2**70, "x", "8", 8),
        ("a", "x", "7", "7"),
        ([1, 2], "x[1]", 3, [1, 3]),
        ([1, 2], "x.0", 3, [3, 2]),
        ([1.0], "x", [1, 2, 3], [1.0, 2.0, 3.0]),
        ([], "x", [1], [1]),
        ((1, 2), "x", [3, 4], (3, 4)),
        ((1, 2), "x[0]", 3, (3, 2)),
        ({1, 2}, "x", [3], {3}),
        (deque([1, 2]), "x[1]", 3, deque([1, 3])),
        ({"a": 1}, "x.a", 2, {"a": 2}),
        ({"a": 1}, "x.b", 2, {"a": 1, "b": 2}),
        ({"a.b": 1}, 'x["a.b"]', 2, {"a.b": 2}),
        ({"a": 1, "b": 2}, "x", {"a": 3}, {"a": 3}),
        ({1: "a"}, "x.1", "b", {1: "b"}),
        ({(1, 2): "a"}, 'x["(1, 2)"]', "b", {(1, 2): "b"}),
        (OrderedDict(a=1, b=2), "x.b", 3, OrderedDict(a=1, b=3)),
        (Order(1, ["a"]), "x.id", 2, Order(2, ["a"])),
        (Order(1, ["a"]), "x.notes[0]", "b", Order(1, ["b"])),
        (Order(1, ["a"]), "x", {"id": 3}, Order(3, ["a"])),
        ([Order(1, []), Order(2, [])], "x[1].id", 9, [Order(1, []), Order(9, [])]),
        (Level.LOW, "x", "HIGH", Level.HIGH),
        (Level.LOW, "x", "Level.HIGH", Level.HIGH),
        (ONE, "x", str(TWO), TWO),
        (Decimal("1.0"), "x", "2.50", Decimal("2.50")),
        (PurePosixPath("/a"), "x", "/b", PurePosixPath("/b")),
        (datetime.date(2026, 1, 2), "x", "2026-03-04", datetime.date(2026, 3, 4)),
        (datetime.timedelta(1), "x", 5, datetime.timedelta(seconds=5)),
        (datetime.timedelta(1), "x", 0.5, datetime.timedelta(seconds=0.5)),
    ],
)
def test_a_place_gets_another_value(before: Any, path: str, value: Any, after: Any) -> None:
    """Of the kind that stood there; what lies beside it stays."""
    assert edited(before, path, value) == packed(after)


def test_what_is_said_as_it_is_shown_changes_nothing() -> None:
    """Also what JSON has no kind for."""
    before = (b"bytes", Secret("hidden value"), 2**70, {(1, 2): Level.LOW}, Order(1, []), {1}, None, float("nan"))
    arguments = Arguments(packed(*before), ["a", "b"])
    arguments.replace(arguments.as_json())
    assert arguments.packed() == packed(*before)
    assert list(arguments.as_json()) == ["a", "b", "2", "3", "4", "5", "6", "7"]


@pytest.mark.parametrize(
    ("before", "path", "value", "said"),
    [
        (1, "", 2, "names no place"),
        (1, "x..y[", 2, "names no place"),
        (1, "y", 2, "there is no 'y' in the input"),
        (1, "1", 2, "there is no '1' in the input"),
        (1, "x.a", 2, "x has no parts; it is 1"),
        ([1], "x[1]", 2, "there is no '1' in the input (x.1)"),
        ([1], "x.a", 2, "there is no 'a' in the input (x.a)"),
        ({"a": 1}, "x.b.c", 2, "there is no 'b' in the input (x.b)"),
        (Order(1, []), "x.more", 2, "there is no 'more' in the input (x.more)"),
        (Order(1, []), "x", {"more": 2}, "there is no 'more' in the input (x.more)"),
        (Order(1, []), "x", [1], "x holds something else than [1] can say"),
        ((1, 2), "x", {"a": 1}, "x holds something else than"),
        (b"ab", "x", "cd", "x holds bytes, which JSON cannot say"),
        (Secret("hidden value"), "x", "other", "x holds a secret, which is never stored"),
        (Level.LOW, "x", True, "x holds a member of"),
        (Level.LOW, "x", [1], "x holds a member of"),
        (ONE, "x", "no uuid", 'and not "no uuid"'),
        (datetime.timedelta(1), "x", True, "a number of seconds"),
        (datetime.timedelta(1), "x", "long", "a number of seconds"),
        (range(3), "x", 1, "of a kind that JSON cannot say"),
        ({"token": ONE}, "x.token", "tulip", "x.token holds ***, and not ***"),
    ],
)
def test_what_cannot_be_put_there_is_named(before: Any, path: str, value: Any, said: str) -> None:
    """With its place; what stands under the name of a secret is not shown."""
    with pytest.raises(OptionError) as caught:
        edited(before, path, value)
    assert said in str(caught.value)


def test_arguments_by_name_and_with_their_defaults() -> None:
    """A parameter that had its default may be given; every argument is named when all are replaced."""
    arguments = Arguments(packed(1, b=2), ["a", "b", "c"])
    assert arguments.as_json() == {"a": 1, "b": 2}
    arguments.set("b", 3)
    arguments.set("c", [4])
    arguments.put("a", 5)
    assert arguments.packed() == packed(5, b=3, c=[4])
    with pytest.raises(OptionError, match="the input lacks a, c"):
        arguments.replace({"b": 1})
    arguments.replace({"a": 1, "b": 1, "c": [1]})
    assert arguments.packed() == packed(1, b=1, c=[1])
    with pytest.raises(OptionError, match=r"there is no 'c' in the input \(c.d\)"):
        Arguments(packed(1), ["a", "c"]).set("c.d", 1)


def test_doubts_are_kept_for_who_judges_them() -> None:
    """What cannot be of its kind is put in as it is; a secret is refused all the same."""
    arguments = Arguments(packed([ONE], Secret("hidden value")), ["x", "y"], judged=True)
    arguments.set("x[0]", "no uuid")
    assert list(arguments.doubts) == [("x", "0")]
    assert arguments.as_json()["x"] == ["no uuid"]
    with pytest.raises(OptionError, match="a secret"):
        arguments.set("y", "other")


@pytest.mark.parametrize(("length", "shown"), [(58, 60), (59, 60)])
def test_what_stands_there_is_shown_up_to_a_length(length: int, shown: int) -> None:
    """A longer one ends with dots."""
    with pytest.raises(OptionError) as caught:
        edited("x" * length, "x.a", 1)
    text = '"' + "x" * length + '"'
    assert caught.value.what == f"x has no parts; it is {text if length == 58 else text[:57] + '...'}"
    assert len(caught.value.what.removeprefix("x has no parts; it is ")) == shown
