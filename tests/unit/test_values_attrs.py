"""Instances of attrs classes, when the program uses attrs, are stored like dataclasses."""

from typing import Any

import pytest

from perdure.core.values import codec

attr = pytest.importorskip("attr")


@attr.define
class Slotted:
    a: int
    b: list[int] = attr.Factory(list)
    c: Any = attr.field(default=attr.Factory(lambda self: self.a + 1, takes_self=True))


@attr.frozen(slots=False, cache_hash=True)
class Hashed:
    a: str = attr.field()

    @a.validator
    def _never(self, attribute: Any, value: str) -> None:
        if value == "odd":
            raise ValueError(value)


def test_attrs_instances_come_back_whole() -> None:
    """Slots, factories and frozen classes; validators do not run again; a cached hash is computed anew."""
    one = Slotted(1, [2])
    assert codec.plan(list[Slotted], owner="s").round_trip([one])[1] == [one]
    two = Hashed("x")
    hash(two)
    object.__setattr__(two, "a", "odd")
    again = codec.plan(Hashed, owner="s").round_trip(two)[1]
    assert again.a == "odd"
    assert again.__dict__["_attrs_cached_hash"] is None
    assert hash(again) != hash(two)  # two still has the hash of "x"


def test_a_new_attrs_field_gets_its_default() -> None:
    """As with dataclasses, factories that look at the instance included."""
    before = attr.make_class("Slotted", ["a"])
    data = codec.plan(before, owner="s").pack(before(4))
    assert codec.plan(Slotted, owner="s").unpack(data) == Slotted(4, [], 5)
