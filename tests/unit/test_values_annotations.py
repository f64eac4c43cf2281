"""Annotations that are strings, local, recursive, missing, or of newer syntax."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import pytest
from value_classes import Json, Order

from perdure.core.values import codec, hints
from perdure.errors import NotStorable


def test_string_annotations_and_local_classes() -> None:
    """Under `from __future__ import annotations` every annotation is a string, also of classes inside functions."""

    @dataclasses.dataclass
    class Leaf:
        up: Node | None = None

    @dataclasses.dataclass
    class Node:
        leaf: Leaf
        more: list[Node] = dataclasses.field(default_factory=list)

    def step() -> list[Node]:
        return [Node(Leaf(), [Node(Leaf(Node(Leaf())))])]

    found = hints.hints_of(step, locals())["return"]
    assert codec.plan(found, owner="s", names=locals()).round_trip(step())[1] == step()


def test_recursive_aliases_of_strings() -> None:
    """An alias that refers to itself by name is followed as deep as the value goes."""

    def step() -> Json:
        return [[Order(1)], {"x": [1, None, Order(2)]}]

    plan = codec.plan(hints.hints_of(step)["return"], owner="s", names=hints.scope_of(step))
    assert plan.round_trip(step())[1] == step()
    with pytest.raises(NotStorable, match=r"`result\[0\]\['a'\]` is 'text'"):
        plan.round_trip([{"a": "text"}])


def test_each_annotation_is_resolved_by_itself() -> None:
    """A name that exists only under TYPE_CHECKING does not spoil the other annotations."""

    def step(a: Missing, b: Order) -> Order:  # type: ignore[name-defined]  # noqa: F821
        return b

    found = hints.hints_of(step)
    assert found["return"] is Order
    assert found["b"] is Order
    with pytest.raises(NotStorable, match=r"'Missing'.*is not defined"):
        codec.plan(found["a"], owner="s").round_trip(Order(1))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the type statement is of Python 3.12")
def test_type_statements() -> None:
    """Aliases and generics in the syntax of PEP 695 work, recursive ones too."""
    scope: dict[str, Any] = {"Order": Order, "dataclass": dataclasses.dataclass, "__name__": __name__}
    source = """
type Nested = Order | list[Nested] | None
type Many[T] = list[T] | T
@dataclass
class Crate[T]:
    item: T
    more: "list[Crate[T]] | None" = None
"""
    exec(source, scope)
    crate = scope["Crate"]
    for value, annotation in [
        ([[Order(1), None]], scope["Nested"]),
        ([Order(1)], scope["Many"][Order]),
        (crate(Order(1), [crate(Order(2))]), crate[Order]),
    ]:
        assert codec.plan(annotation, owner="s").round_trip(value)[1] == value
