"""An instance that would not come back as what it was is refused on the first run."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any

import msgspec
import pytest
from value_classes import Box, Child, Color, Order, Point, Refund

from perdure.core.values import codec
from perdure.errors import NotStorable


class Base(abc.ABC):  # noqa: B024
    pass


@dataclasses.dataclass
class Derived(Base):
    a: int


class Strange:
    def __init__(self) -> None:
        self.a = 1


@dataclasses.dataclass
class Wild(Exception):
    a: int


@dataclasses.dataclass
class Unset:
    a: int = dataclasses.field(init=False)


class Twice(msgspec.Struct):
    held: list[int]

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("no")

    def __post_init__(self) -> None:
        if self.held == [13]:
            raise ValueError("thirteen")


def thirteen() -> Twice:
    value = Twice([1])
    value.held[0] = 13
    return value


NOT_KEPT: list[tuple[Any, Any, str, str]] = [
    (Order(1), Any, "`result`, of type .*Order", "annotate the return type of step 'charge' as -> Order"),
    ([Order(1)], Any, r"`result\[0\]`", "as -> list[Order]"),
    ((Order(1), 2), Any, r"`result\[0\]`", "as -> tuple[Order, int]"),
    ((Order(1),) * 5, Any, r"`result\[0\]`", "as -> tuple[Order, ...]"),
    ([Order(1), "x"], Any, r"`result\[0\]`", "so that it names Order"),
    ({"a": [1, Order(1)]}, dict, r"`result\['a'\]\[1\]`", "so that it names Order"),
    (Box(Order(1)), Box, r"`result\.item`.*does not name", "Order"),
    (Child(1), Order, "Child.*declared type Order does not name", "-> Order | Child"),
    (Derived(1), Base, "Derived", "-> Derived"),
    ([Order(1), "x"], list[Order], r"declared to return list\[Order\], but `result\[1\]` is 'x'", "Order | str"),
    (None, Order, "but `result` is None of type NoneType", "Order | None"),
    (Refund(order=Point(1)), Refund | Point, r"`result\.order` is Point", "Order"),  # type: ignore[arg-type]
    (Box("x"), Box[Order], r"`result\.item` is 'x'", "Order"),
    ((Order(1), 2), tuple[Order], "declared to return", ""),
    (Strange(), Strange, "Strange", "make it a dataclass"),
    (Order(1, tags=[object()]), Order, r"`result\.tags\[0\]`", ""),  # type: ignore[list-item]
    ([Wild(1)], list[Wild], r"cannot be loaded again.*`result\[0\]`", ""),
    (Unset(), Unset, "no value in its field 'a'", ""),
    ({"k": thirteen()}, dict[str, Twice], r"cannot be loaded again.*`result\['k'\]`, of type .*Twice", ""),
    (Color.RED, str, "Color", "annotate"),
]


@pytest.mark.parametrize(("value", "annotation", "what", "hint"), NOT_KEPT, ids=[str(i) for i in range(len(NOT_KEPT))])
def test_an_instance_that_would_not_come_back_is_refused(value: Any, annotation: Any, what: str, hint: str) -> None:
    """On the first run, naming the step, the place, the type and the annotation that would do."""
    with pytest.raises(NotStorable, match=what) as caught:
        codec.plan(annotation, owner="step 'charge'").round_trip(value)
    assert "step 'charge'" in caught.value.what
    assert hint in caught.value.hint
