"""Stored values meet edited scripts: what still fits is loaded, what does not is an error that names both sides."""

import dataclasses
import enum
from typing import Any, NamedTuple

import msgspec
import pydantic
import pytest

from perdure.core.execution.spec import Spec
from perdure.core.values import codec
from perdure.errors import NotDecodable


def stored(cls: Any, *args: Any, **kwargs: Any) -> bytes:
    return codec.plan(cls, owner="step 'charge'").pack(cls(*args, **kwargs))


def dataclass_with(**fields: Any) -> Any:
    return dataclasses.make_dataclass("Order", [(name, Any, default) for name, default in fields.items()])


def struct_with(**fields: Any) -> Any:
    return msgspec.defstruct("Order", [(name, Any, default) for name, default in fields.items()])


def model_with(**fields: Any) -> Any:
    return pydantic.create_model("Order", **{name: (Any, default) for name, default in fields.items()})


def tuple_with(**fields: Any) -> Any:
    cls = NamedTuple("Order", [(name, Any) for name in fields])
    cls._field_defaults = fields
    return cls


@pytest.mark.parametrize("make", [dataclass_with, struct_with, model_with, tuple_with])
def test_a_new_field_gets_its_default_and_an_old_one_is_left_out(make: Any) -> None:
    """Between a failure and the re-run the script's classes may gain and lose fields, and change their order."""
    data = stored(make(id=0, total=0), id=7, total=3)
    after = make(added="new", total=0, id=0)
    value = codec.plan(after, owner="step 'charge'").unpack(data)
    assert type(value) is after
    assert (value.id, value.total, value.added) == (7, 3, "new")
    value = codec.plan(make(id=0), owner="step 'charge'").unpack(data)
    assert value.id == 7
    assert not hasattr(value, "total")


@pytest.mark.parametrize("make", [dataclass_with, struct_with, model_with, tuple_with])
def test_a_field_that_may_have_been_renamed_is_an_error(make: Any) -> None:
    """One is gone and one is new: the saved value is not given up for a default. The error names both."""
    data = stored(make(id=0, total=0), id=7, total=3)
    with pytest.raises(NotDecodable, match=r"has no field 'total' any more.* has a new one, 'amount'"):
        codec.plan(make(id=0, amount=0), owner="step 'charge'").unpack(data)


def test_a_default_factory_is_called_anew() -> None:
    """Two loaded values do not share one default list."""
    after = dataclasses.make_dataclass("Order", [("id", int), ("tags", list, dataclasses.field(default_factory=list))])
    plan = codec.plan(after, owner="s")
    data = stored(dataclasses.make_dataclass("Order", ["id"]), 1)
    one, two = plan.unpack(data), plan.unpack(data)
    assert one.tags == []
    assert one.tags is not two.tags


def test_a_new_field_without_default_is_an_error() -> None:
    """Nothing is made up: the error names the field, the saved value and the step."""
    data = stored(dataclasses.make_dataclass("Order", ["id"]), 7)
    after = dataclasses.make_dataclass("Order", ["id", "total"])
    with pytest.raises(NotDecodable) as caught:
        codec.plan(after, owner="step 'charge'").unpack(data)
    assert caught.value.code == "schema-change"
    assert "result of step 'charge' is Order(id=7)" in caught.value.what
    assert "'total' of Order is not stored and has no default" in caught.value.what


Order = dataclasses.make_dataclass("Order", ["id"])
Line = dataclasses.make_dataclass("Line", [("order", Order)])
Colour = enum.Enum("Colour", ["RED"])


@pytest.mark.parametrize(
    ("value", "before", "now", "why"),
    [
        ("text", str, Order, "`result` is 'text' of type str, the annotation says Order"),
        (None, None, Order, "is None"),
        ([1], list, list[Order], r"`result\[0\]` is 1"),
        ({"a": 1}, dict, dict[str, Order], r"`result\['a'\]` is 1"),
        (
            Order(7),
            Order,
            str,
            r"Order\(id=7\), but .* declared -> str: it holds an instance of Order",
        ),
        (Order(7), Order, Any, "holds an instance of Order"),
        (Order(7), Order, Line, "holds an instance of Order|annotation says Line"),
        (None, dataclasses.make_dataclass("Line", ["order"]), Line, r"`result\.order` is 'x'"),
        (Colour.RED, Colour, enum.Enum("Colour", ["BLUE"]), "Colour has no member 'RED'"),
        (Colour.RED, Colour, dataclasses.make_dataclass("Colour", ["RED"]), "was an enumeration"),
    ],
)
def test_an_annotation_that_no_longer_fits_is_an_error(value: Any, before: Any, now: Any, why: str) -> None:
    """Never a value of another type than the script declares: the error shows what is saved and what is declared."""
    if dataclasses.is_dataclass(before) and type(value) is not before:
        value = before("x")
    data = codec.plan(before, owner="step 'charge'").pack(value)
    with pytest.raises(NotDecodable, match=why) as caught:
        codec.plan(now, owner="step 'charge'").unpack(data)
    assert "step 'charge'" in caught.value.what
    assert caught.value.hint


def test_a_wider_annotation_still_loads_what_was_saved() -> None:
    """-> Order may become -> Order | None, or a list of unions: what is saved still fits."""
    data = codec.plan(Order, owner="s").pack(Order(7))
    for wider in (Order | None, Line | Order | int):
        assert codec.plan(wider, owner="s").unpack(data) == Order(7)
    assert codec.plan(float, owner="s").unpack(codec.plan(int, owner="s").pack(3)) == 3


def test_reordering_a_class_does_not_change_its_inputs() -> None:
    """Fields are written by name in arguments, so that tidying a class is not drift."""
    before, after = (dataclasses.make_dataclass("Order", names) for names in (["id", "total"], ["total", "id"]))
    packed = [codec.pack_inputs([cls(id=1, total=2)], {}, owner="s") for cls in (before, after)]
    assert packed[0] == packed[1]


def test_arguments_with_a_member_that_is_gone_say_which_there_are() -> None:
    """The parameters are annotated already: it is the name of a member that is wrong."""

    def paint(colour: Colour) -> None:
        """What is called."""

    data = codec.pack_inputs([Colour.RED], {}, owner="step 'paint'")
    paint.__annotations__["colour"] = enum.Enum("Colour", ["BLUE", "GREEN"])
    with pytest.raises(NotDecodable, match="it has BLUE, GREEN") as refused:
        Spec("step", paint, "paint").arguments(data)
    assert "member" in refused.value.hint
