"""Class instances come back as what they were, if the annotation names their class."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Optional

import msgspec
import pydantic
import pytest
from value_classes import (
    NOW,
    Box,
    Checked,
    Child,
    Color,
    Generic1,
    Level,
    Loose,
    Model,
    Numbers,
    Order,
    OrderBox,
    Pair,
    Plain,
    Point,
    Priced,
    Refund,
    Rights,
    Row,
    Shadow,
    Tree,
    Trimmed,
    UserId,
    Valid,
    Word,
    cached,
    secret,
    tagged,
)

from perdure.core.values import codec
from perdure.errors import NotDecodable

KEPT: list[tuple[Any, Any]] = [
    (Order(1, decimal.Decimal("3.10"), ["a"]), Order),
    ([Order(1), Order(2)], list[Order]),
    (Refund(order=Order(1), at=NOW), Refund),
    (cached(), Checked),
    (Point(1, 2.5), Point),
    (tagged(), Trimmed),
    (Row(1, Order(3)), Row),
    (Plain(1, [2]), Plain),
    ({"order": Order(1), "price": 1}, Priced),
    (Color.RED, Color),
    (Color.CRIMSON, Color),
    ([Color.BLUE, Level.LOW, Word.A], list[Color | Level | Word]),
    (Rights.READ, Rights),
    (Rights.READ | Rights.WRITE, Rights),
    (Rights(0), Rights),
    (secret(), Model),
    (Loose(a=1, b=[2]), Loose),
    (Generic1[int](item=1), Generic1[int]),
    (Generic1[Order](item=Order(1)), Generic1[Order]),
    (Numbers([1, 2]), Numbers),
    (Valid(a=1), Valid),
    (Box(Order(1)), Box[Order]),
    (Box[Order](Order(1)), Box[Order]),
    (Box(Box([Order(1)])), Box[Box[list[Order]]]),
    (Pair([Order(1)], Point(1)), Pair[Order, Point]),
    (OrderBox(Order(1)), OrderBox),
    (Tree(1, [Tree(2, [Tree(3)])], Tree(0)), Tree),
    (Shadow(datetime.date(2026, 1, 1), Order(1)), Shadow),
    (Child(1, note="x"), Order | Child),
    *[(value, Order | Point | Refund | Row | Model | int | str | None)
      for value in (Order(1), Point(1), Refund(order=Order(1)), Row(1), Model(name="x"), 3, "s", None)],
    (None, Optional[Order]),  # noqa: UP045
    (Order(1), Annotated[Order, {"unhashable": []}]),
    (Order(1), UserId),
    ([Order(1)], Sequence[Order]),
    ((Order(1), 2), tuple[Order, int]),
    ((Order(1), Order(2)), tuple[Order, ...]),
    ((1, Order(2)), tuple[int, *tuple[Order, ...]]),
    ({"a": Order(1)}, Mapping[str, Order]),
    ({Point(1): Order(1)}, dict[Point, Order]),
    ({Point(1), Point(2)}, set[Point]),
    (frozenset({Row(1)}), frozenset[Row]),
    (Order(1), Awaitable[Order]),
    (Color.RED, Literal[Color.RED, "x"]),
    ("x", Literal[Color.RED, "x"]),
    ({"any": [Order(1)]}, dict[str, Any] | Order),
    (Box(3), Box[float] | Order),
    ([Order(1)], Iterable[Order | Point]),
]  # fmt: skip


def state(value: Any) -> Any:
    """Everything an instance holds, with types."""
    kind = type(value)
    if isinstance(value, enum.Enum):
        return kind, value.name, id(value)
    if isinstance(value, dict):
        return kind, [(state(key), state(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return kind, [state(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return kind, sorted(repr(state(item)) for item in value)
    parts = {}
    for base in kind.__mro__:
        for slot in base.__dict__.get("__slots__", ()):
            if slot not in ("__dict__", "__weakref__", "__pydantic_fields_set__") and hasattr(value, slot):
                parts[slot] = state(getattr(value, slot))
    if hasattr(value, "__dict__"):
        parts |= {k: state(v) for k, v in vars(value).items() if k not in ("__orig_class__", "slow")}
    if isinstance(value, pydantic.BaseModel):
        parts["set"] = sorted(value.model_fields_set)
    return kind, parts or repr(value)


@pytest.mark.parametrize(("value", "annotation"), KEPT, ids=[str(i) for i in range(len(KEPT))])
def test_an_annotated_instance_comes_back_whole(value: Any, annotation: Any) -> None:
    """Same class, same fields in depth, also what lies beside the fields; on the first run and on resume."""
    plan = codec.plan(annotation, owner="step 'charge'")
    data, first = plan.round_trip(value)
    again = codec.plan(annotation, owner="step 'charge'").unpack(data)
    assert state(first) == state(value)
    assert state(again) == state(value)
    assert "unreadable" not in codec.describe(data)
    msgspec.json.encode(codec.to_builtins(data))


def test_restoring_runs_no_validation() -> None:
    """A value that today's validation would refuse or change still comes back as it was."""
    value = Checked(1)
    value.amount = 1000
    again = codec.plan(Checked, owner="s").round_trip(value)[1]
    assert (again.amount, again.double) == (1000, 2)
    model = Model.model_construct(name=5, size="odd")
    assert codec.plan(Model, owner="s").round_trip(model)[1].__dict__ == {"name": 5, "size": "odd", "inner": None}


def test_two_classes_of_one_name_are_kept_apart() -> None:
    """A union of two classes that are called the same restores each as itself."""
    other = dataclasses.make_dataclass("Order", ["id"])
    other.__module__ = "elsewhere"
    plan = codec.plan(list[Order | other], owner="s")
    value = [Order(1), other(1)]
    assert [type(item) for item in plan.round_trip(value)[1]] == [Order, other]


def test_arguments_need_annotations_only_to_be_loaded_again() -> None:
    """Any known class may be passed; a re-drive restores the classes that the parameters name."""
    data = codec.pack_inputs([Order(1)], {"to": Point(2), "how": Color.RED}, owner="s")
    plans = [codec.plan(annotation, owner="s") for annotation in (Order, Point | None, Color)]
    assert codec.unpack_inputs(data, plans, owner="s") == ([Order(1)], {"how": Color.RED, "to": Point(2)})
    with pytest.raises(NotDecodable, match="Color, which the annotation does not name"):
        codec.unpack_inputs(data, plans[:1], owner="s")
