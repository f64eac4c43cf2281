"""Handlers decide by what hangs on an exception: after a resume it has to be equal to what it was."""

from __future__ import annotations

import enum
from collections import UserString
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NamedTuple

import pytest

from perdure.core.exceptions import capture, to_fault


class Colour(enum.Enum):
    RED = "red"
    GREEN = object()


class Level(enum.IntEnum):
    LOW = 1


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


@dataclass(frozen=True)
class Info:
    code: int
    colour: Colour = Colour.RED


@dataclass
class Login:
    user: str
    password: str


class Place(NamedTuple):
    row: int
    column: int


class Text(str):
    __slots__ = ()


class ValueOnError(Exception):
    def __init__(self, value: Any) -> None:
        super().__init__("has failed")
        self.value = value


class DeclaredOnError(Exception):
    place: Place

    def __init__(self, value: Info | None) -> None:
        super().__init__("has failed")
        self.value = value


def again(exc: Exception) -> Any:
    """The exception after a resume."""
    return capture.restore(capture.decode(capture.encode(capture.to_fault(exc))))


@pytest.mark.parametrize(
    "value",
    [
        HTTPStatus.NOT_FOUND,
        Colour.RED,
        Colour.GREEN,
        Level.LOW,
        Rights.READ | Rights.WRITE,
        [Colour.RED, {"level": (Level.LOW,)}],
        {Colour.RED: {Level.LOW}},
    ],
    ids=["status", "text", "object", "number", "flags", "in-containers", "as-key"],
)
def test_members_of_enumerations_are_the_same_members(value: Any):
    """In an attribute, in an argument, and within containers."""
    back = again(ValueOnError(value))
    assert back.value == value
    assert type(back.value) is type(value)
    back = again(ValueError("failed", value))
    assert back.args == ("failed", value)
    if isinstance(value, enum.Enum):
        assert back.args[1] is value


@pytest.mark.parametrize("value", [Info(1), Place(1, 2), Text("a"), [Info(1)], {"at": Place(1, 2)}], ids=repr)
def test_instances_are_equal_to_what_they_were(value: Any):
    """Whatever class the exception is of; and what is recorded once more stays so."""
    back = again(ValueOnError(value))
    assert back.value == value
    assert value == back.value
    assert again(back).value == value


def test_instances_have_their_fields_hash_and_items():
    """A dictionary finds them, a named tuple can be taken apart; another value is not equal."""
    back = again(ValueOnError([Info(1), Place(1, 2)]))
    info, place = back.value
    assert (info.code, info.colour, {Info(1): "found"}[info]) == (1, Colour.RED, "found")
    row, column = place
    assert (row, column, place.column, place == Place(1, 3)) == (1, 2, 2, False)
    assert info != Info(2)
    assert info != Login("a", "b")
    with pytest.raises(AttributeError, match="without 'other'"):
        info.other  # noqa: B018


def test_instances_of_classes_that_the_exception_names_are_of_these():
    """As everywhere, a class that an annotation names may come back; no other may."""
    exc = DeclaredOnError(Info(1))
    exc.place = Place(1, 2)
    back = again(exc)
    assert (back.value, type(back.value), type(back.place)) == (Info(1), Info, Place)
    assert type(again(ValueOnError(Info(1))).value) is not Info


def test_a_member_that_is_gone_is_its_value():
    """Of an enumeration that is not loaded any more, or has lost the member."""
    gone = enum.IntEnum("Gone", {"SOME": 7})
    lost = enum.StrEnum("Lost", {"SOME": "seven"})
    faults = [capture.encode(capture.to_fault(ValueOnError(each.SOME))) for each in (gone, lost)]  # type: ignore[attr-defined]
    for cls in (gone, lost):
        cls.__qualname__ = "Renamed"
    assert [capture.restore(capture.decode(each)).value for each in faults] == [7, "seven"]  # type: ignore[attr-defined]


def test_a_password_in_a_field_is_not_kept():
    """By its name, as in a dictionary; the other fields are."""
    fault = capture.encode(capture.to_fault(ValueOnError([Login("ada", "tulip-garden")])))
    assert b"tulip-garden" not in fault
    assert again(ValueOnError([Login("ada", "tulip-garden")])).value[0].user == "ada"


def test_objects_without_fields_keep_what_is_data():
    """Also within a list; an object that holds itself has no end, and is left out."""

    class Detail:
        def __init__(self) -> None:
            self.code, self.me, self.text = Level.LOW, self, UserString("x")

    back = again(ValueOnError([Detail()]))
    assert back.value[0].code is Level.LOW
    with pytest.raises(AttributeError):
        back.value[0].me  # noqa: B018


def test_every_member_of_a_group_comes_back():
    """`except*` and `len(group.exceptions)` decide as they did, however many there are and however deep."""
    many = [ValueError(n) if n % 2 else KeyError(n) for n in range(300)]
    back = again(ExceptionGroup("all", [ExceptionGroup("half", many), TypeError("one")]))
    inner, single = back.exceptions
    assert [(type(each), each.args) for each in inner.exceptions] == [(type(each), each.args) for each in many]
    assert type(single) is TypeError
    matched, rest = back.split(ValueError)
    assert (len(matched.exceptions[0].exceptions), len(rest.exceptions[0].exceptions)) == (150, 150)


def test_members_beyond_measure_keep_class_and_message(monkeypatch: pytest.MonkeyPatch):
    """What is kept of a failure is bounded, and its members are counted all the same."""
    monkeypatch.setattr(to_fault, "_MOST_WHOLE", 10)
    group = ExceptionGroup("all", [ValueOnError("v" * 10) if n % 2 else OSError(5, "gone") for n in range(20)])
    back = again(group)
    assert [type(each) for each in back.exceptions] == [type(each) for each in group.exceptions]
    assert str(back.exceptions[-1]) == "has failed"
    whole = [getattr(each, "value", None) or getattr(each, "errno", None) for each in back.exceptions]
    assert [bool(each) for each in whole] == [True] * 10 + [False] * 10


def test_so_many_attributes_of_an_object_are_kept():
    """The first ones, up to a number of them and of bytes; of a longer one the others."""

    class Detail:
        def __init__(self, count: int) -> None:
            vars(self).update({f"a{n:02}": n for n in range(count)})

    counts = [len(vars(again(ValueOnError([Detail(count)])).value[0])) - 1 for count in (1, 39, 40, 41)]
    assert counts == [1, 39, 40, 40]
    detail = Detail(2)
    detail.a00 = "x" * 100_000
    back = again(ValueOnError([detail])).value[0]
    assert back.a01 == 1
    with pytest.raises(AttributeError):
        back.a00  # noqa: B018
