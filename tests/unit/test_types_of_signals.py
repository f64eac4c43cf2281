"""What a wait declares of its signals is read once for a class, and for each class on its own."""

from __future__ import annotations

import enum
from dataclasses import dataclass, make_dataclass
from typing import Annotated, Any

import pytest

from perdure.api.wait_for import plan_of
from perdure.errors import NotDecodable


@dataclass
class Paid:
    amount: int


class Level(enum.Enum):
    LOW = 1


class Compared(type):
    """A metaclass of which all classes are equal."""

    def __eq__(cls, other: object) -> bool:
        return isinstance(other, Compared)

    def __hash__(cls) -> int:
        return 1


@pytest.mark.parametrize("declared", [float, Paid, Level])
def test_waits_of_one_type_share_what_was_read(declared: Any) -> None:
    """The second wait reads no annotation; a wait of another event names itself in its errors."""
    assert plan_of(declared, "wait_for('a')") is plan_of(declared, "wait_for('a')")
    assert plan_of(declared, "wait_for('b')").owner == "wait_for('b')"


def test_a_class_that_was_edited_is_another_one() -> None:
    """Of the same name, with other fields: what is sent becomes an instance of the class that the wait names."""
    edited = make_dataclass("Paid", [("amount", int), ("note", str, "")], namespace={"__module__": __name__})
    first, second = plan_of(Paid, "wait"), plan_of(edited, "wait")
    assert type(first.unpack(first.pack(Paid(1)))) is Paid
    assert type(second.unpack(second.pack(edited(1, "x")))) is edited


def test_what_cannot_be_told_apart_is_read_each_time() -> None:
    """Annotations that have no hash, and classes that their metaclass takes for equal."""
    plan = plan_of(Annotated[int, []], "wait")
    assert plan.unpack(plan.pack(1)) == 1
    one, two = Compared("One", (int,), {}), Compared("Two", (str,), {})
    assert one == two
    assert plan_of(one, "wait").annotation is one
    assert plan_of(two, "wait").annotation is two


def test_what_does_not_fit_is_refused_each_time() -> None:
    """A shared reading refuses the second value that does not fit as it did the first."""
    data = plan_of(str, "wait").pack("text")
    for _ in range(2):
        with pytest.raises(NotDecodable):
            plan_of(float, "wait").unpack(data)
