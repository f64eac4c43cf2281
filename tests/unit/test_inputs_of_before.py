"""Recorded inputs are those of a call that would be recorded so, but for fields that its classes had not then."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from perdure.core.execution.inputs import pack
from perdure.core.execution.recorded_inputs import InputsOfBefore, are_inputs_of
from perdure.core.execution.spec import Call, Spec
from perdure.core.values import codec


@dataclass
class Order:
    id: int
    note: str = ""


@dataclass
class Before:
    id: int


Before.__qualname__ = Before.__name__ = "Order"


def take(*orders: Any, **more: Any) -> None: ...


TAKE = Spec("step", take, "take")


def called(*args: Any, **kwargs: Any) -> Call:
    packed, canonical = pack(TAKE.signature, args, kwargs)
    return Call(TAKE, args, kwargs, packed, codec.digest(canonical))


def recorded(*args: Any, **kwargs: Any) -> bytes:
    return called(*args, **kwargs).input


@pytest.mark.parametrize(
    ("before", "now", "same"),
    [
        ([Before(1)], [Order(1)], True),
        ([Order(1)], [Order(1)], True),
        ([Before(1)], [Order(2)], False),
        ([Before(1)], [Order(1, "new")], False),
        ([Before(1)], [1], False),
        ([1], [1], True),
        ([1], [2], False),
        ([[Before(1), Before(2)]], [[Order(1), Order(2)]], True),
        ([{"a": Before(1)}], [{"a": Order(1)}], True),
        ([{"a": [Before(1)]}], [{"a": [Order(2)]}], False),
        ([Before(1), 2], [Order(1)], False),
    ],
    ids=str,
)
def test_a_field_that_a_class_has_gained_is_no_other_input(before: list[Any], now: list[Any], same: bool) -> None:
    """If the call has the field's default; also inside of containers, by name, and behind the id of a run."""
    assert are_inputs_of(recorded(*before), called(*now)) is same
    assert are_inputs_of(recorded(order=before[0]), called(order=now[0])) is (same or len(before) > 1)
    named = codec.with_keyword(recorded(*before), "id", "run-1")
    assert are_inputs_of(named, called(*now), "run-1") is same
    assert not are_inputs_of(named, called(*now), "run-2")
    assert not are_inputs_of(named, called(*now))


def test_records_of_before_are_found_by_what_they_would_be_now() -> None:
    """In the order of their runs and occurrences; what looks the same today is found by its key, and not here."""
    kept = {
        (2, 1): SimpleNamespace(n=0, input=recorded(Before(1))),
        (1, 1): SimpleNamespace(n=1, input=recorded(Before(1))),
        (1, 2): SimpleNamespace(n=0, input=recorded(Before(1))),
        (1, 3): SimpleNamespace(n=0, input=recorded(Before(2))),
        (1, 4): SimpleNamespace(n=0, input=recorded(Order(1))),
        (1, 5): SimpleNamespace(n=0, input=recorded("text")),
        (1, 6): SimpleNamespace(n=0, input=recorded(Order(1), more=2)),
    }
    looks: list[str] = []

    def records(name: str = "here") -> list[tuple[int, int]]:
        looks.append(name)
        return list(kept)

    index = InputsOfBefore(lambda rid, seq: kept[rid, seq])  # type: ignore[arg-type, return-value]
    assert index.find(called(Order(1)), "here", records) == [(1, kept[1, 2]), (1, kept[1, 1]), (2, kept[2, 1])]
    assert index.find(called(Order(2)), "here", records) == [(1, kept[1, 3])]
    assert index.find(called(Order(3)), "here", records) == []
    assert index.find(called(5, "text"), "here", records) == []
    assert looks == ["here"], "once for all calls with arguments of the same types, and for none without classes"
    assert index.find(called([Order(1)]), "here", records) == []
    assert index.find(called(Order(1)), "there", lambda: []) == []
    assert looks == ["here"] * 2
