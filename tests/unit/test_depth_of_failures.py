"""How much of a failure is kept: as deep as it is said, as many as it is said, and what lies beyond is left out."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import pytest

from perdure.core.exceptions import capture
from perdure.core.exceptions.fault import Fault


class Level(enum.Enum):
    LOW = 1


class Carrier(Exception):
    def __init__(self, value: Any) -> None:
        super().__init__("carries")
        self.value = value


class Bag:
    def __init__(self, content: Any) -> None:
        self.content = content


def again(exc: Exception) -> Any:
    """The exception after a resume."""
    return capture.restore(capture.decode(capture.encode(capture.to_fault(exc))))


def nested(wrap: Callable[[Any], Any], depth: int) -> Any:
    value: Any = Level.LOW
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: (x,), lambda x: {"in": x}], ids=["list", "tuple", "dict"])
def test_values_are_kept_so_deep(wrap: Callable[[Any], Any]) -> None:
    """What is deeper is lost, and says so; nothing else is."""
    kept = nested(wrap, 20)
    assert again(Carrier(kept)).value == kept
    lost = again(Carrier(nested(wrap, 21)))
    assert str(lost) == "carries"
    with pytest.raises(AttributeError, match="could not be stored"):
        lost.value  # noqa: B018


def test_an_attribute_under_the_name_of_a_secret_is_hidden() -> None:
    """In a dict, in a list of a dict, and in an object; what stands under other names, and other keys, stays."""
    given = {"password": "tulip", "level": Level.LOW, 3: "three", "notes": ["one"], "secrets": {"a": "bulb-22"}}
    back = again(Carrier(given)).value
    assert (back["password"], back["level"], back[3], back["notes"]) == ("***", Level.LOW, "three", ["one"])
    assert "bulb" not in str(back)
    bag = again(Carrier([Bag({"token": "tulip-1", "level": Level.LOW, "other": "rose"})])).value[0]
    assert bag.content == {"token": "***", "level": Level.LOW, "other": "rose"}


def chain(fault: Fault | None, way: str) -> int:
    depth = 0
    while fault is not None:
        fault, depth = getattr(fault, way), depth + 1
    return depth


@pytest.mark.parametrize("way", ["cause", "context"])
def test_causes_are_kept_so_deep(way: str) -> None:
    """Each with its own message; the last one of a longer chain has none."""
    first = last = ValueError("0")
    for number in range(1, 50):
        setattr(last, f"__{way}__", ValueError(str(number)))
        last = getattr(last, f"__{way}__")
        if number in (31, 32, 33):
            assert chain(capture.to_fault(first), way) == min(number + 1, 33)
    back: Any = again(first)
    for number in range(33):
        assert str(back) == str(number)
        back = getattr(back, f"__{way}__")
    assert back is None


def test_so_many_causes_are_kept_of_a_group() -> None:
    """Of all of its members together; the members themselves are all there."""
    members = []
    for number in range(70):
        member = ValueError(number)
        member.__cause__ = KeyError(number)
        members.append(member)
    back = again(ExceptionGroup("many", members))
    assert [member.args for member in back.exceptions] == [(number,) for number in range(70)]
    assert [member.__cause__ is not None for member in back.exceptions] == [True] * 64 + [False] * 6


def test_groups_are_kept_so_deep() -> None:
    """A deeper one is an error of its class and its message."""
    group: Exception = ValueError("bottom")
    for number in range(40):
        group = ExceptionGroup(f"level {number}", [group])
    back: Any = again(group)
    depth = 0
    while isinstance(back, ExceptionGroup):
        assert back.message == f"level {39 - depth}"
        back, depth = back.exceptions[0], depth + 1
    assert depth in (32, 33)


def test_an_exception_in_two_places_is_kept_once() -> None:
    """As an attribute and as an argument: it is one object again."""
    inner = KeyError("inner")
    outer = ValueError("outer", inner)
    outer.first = outer.second = inner  # type: ignore[attr-defined]
    outer.other = LookupError("other")  # type: ignore[attr-defined]
    back = again(outer)
    assert back.first is back.second is back.args[1]
    assert (type(back.first), type(back.other)) == (KeyError, LookupError)
    assert str(back.other) == "other"


@pytest.mark.parametrize(("size", "kept"), [(40_000, True), (99_000, True), (100_100, False)])
def test_so_many_bytes_of_an_object_are_kept(size: int, kept: bool) -> None:
    """An attribute that is too long is left out; a shorter one behind it is not."""
    bag = Bag("x" * size)
    bag.behind = "short"  # type: ignore[attr-defined]
    back = again(Carrier([bag])).value[0]
    assert back.behind == "short"
    assert hasattr(back, "content") is kept
