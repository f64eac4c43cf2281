"""Deterministic ids: the same parts, the same id, for ever; other parts, another id."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.api.ids import NAMESPACE, deterministic_id
from perdure.errors import NotStorable, UsageError

SOURCE = Path(__file__).parents[2] / "src"
DOCS = Path(__file__).parents[2] / "docs"


@dataclass(frozen=True)
class Order:
    id: str
    amount: Decimal


PINNED = [
    (("order", "4711"), "0134770d-7b30-5d07-a573-233702638eaa"),
    ((1,), "b154f09b-533d-5ce8-94ab-5873a7e3218f"),
    (("1",), "a801a9fa-671e-5883-b44a-44f71755535e"),
    ((1.0,), "86631db9-1839-50f8-9160-897ba3e9abd4"),
    ((True,), "17bbc98a-00fa-5df0-8bac-a89527664f6b"),
    (("ab", "c"), "dac2ff8b-549a-5c1b-82e1-149dc632b3d8"),
    (("a", "bc"), "1383bfb2-19ec-58c2-8d35-83f2a194f3c6"),
    ((None,), "d2368b09-c109-5ad0-bb68-7443a147610c"),
    ((b"a",), "46a04d01-1386-5e8e-8834-6e745d2b05cb"),
    (([1, 2],), "514b11f0-7c75-584c-832a-a6c5d28f962a"),
    (((1, 2),), "367f9373-12b8-555d-90b1-a7bf89af4912"),
    (({"b": 1, "a": 2},), "71056e5d-ddcb-5191-9844-74b66762cab8"),
    (({3, 1, 2},), "354e2cc0-d2fe-56fc-b087-54db34876ac0"),
    ((Decimal("1.50"),), "5348b0e3-1ca6-5c55-914f-8610dd12ccea"),
    ((datetime(2026, 11, 23, tzinfo=UTC),), "d0aa8ebd-6666-57c9-82a6-7151fb16a667"),
    ((date(2026, 11, 23),), "23270b3f-959c-58f6-8bb6-0efb56176e07"),
    ((10**30,), "e9c54d7a-d319-537f-b58e-f81cab45b0f6"),
    ((uuid.UUID(int=5),), "5cd0574c-4cae-552f-b1c4-360e16109c95"),
    (("é",), "474e1914-e2c8-5546-9e17-45d7bbe0a1ea"),
]


@pytest.mark.parametrize(("parts", "expected"), PINNED, ids=repr)
def test_the_same_for_ever(parts, expected):
    """These were made by the first version of perdure. If one changes, its users get duplicates."""
    assert str(deterministic_id(*parts)) == expected


def test_a_uuid_of_version_5_that_others_can_make_too():
    """RFC 9562, section 5.5: SHA-1 of namespace and name, the name being msgpack's array of the parts."""
    made = deterministic_id("order", 4711)
    name = b"\x92" + b"\xa5order" + b"\xcd\x12\x67"
    assert made == uuid.UUID(bytes=hashlib.sha1(NAMESPACE.bytes + name).digest()[:16], version=5)
    assert (made.version, made.variant) == (5, uuid.RFC_4122)


def test_other_parts_give_other_ids():
    """Types count, and so does where one part ends and the next begins."""
    alike = [
        (1,), ("1",), (1.0,), (True,), (b"1",), (Decimal(1),), ([1],), ((1,),), (1, None), (None, 1), ({1},), ({1: 1},),
        ("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("", "abc"), (["ab", "c"],), (("ab", "c"),), ("ab", ["c"]),
        (0.0,), (-0.0,), (0,), (False,), (None,), ("",), (b"",), ([],), ((),), ({},),
    ]  # fmt: skip
    for one, other in combinations(alike, 2):
        assert deterministic_id(*one) != deterministic_id(*other), (one, other)


def test_equal_values_give_equal_ids():
    """The order in which a dict or a set was filled is no part of it."""
    assert deterministic_id({"a": 1, "b": 2}) == deterministic_id({"b": 2, "a": 1})
    assert deterministic_id(Order("1", Decimal(2))) == deterministic_id(Order(amount=Decimal(2), id="1"))
    assert deterministic_id(Order("1", Decimal(2))) != deterministic_id(Order("1", Decimal(3)))


@given(st.lists(st.none() | st.booleans() | st.integers() | st.text() | st.binary(), min_size=1), st.data())
def test_no_two_lists_of_parts_share_an_id(parts, data):
    """Splitting, joining or swapping parts makes another id."""
    other = data.draw(st.permutations(parts) | st.lists(st.integers() | st.text(), min_size=1))
    same = list(map(type, parts)) == list(map(type, other)) and parts == other
    assert (deterministic_id(*parts) == deterministic_id(*other)) is same


def test_another_process_makes_the_same_id():
    """Under any hash seed."""
    program = "from perdure import deterministic_id as d; print(d({'x', 'y', 'z'}, {'k': {'q', 'r'}}))"
    seen = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONPATH": str(SOURCE), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("0", "1", "2")
    }
    assert seen == {str(deterministic_id({"x", "y", "z"}, {"k": {"q", "r"}}))}


def test_what_is_no_data_is_refused():
    """By name, and with a way out; an object's address must not get into an id."""
    with pytest.raises(NotStorable, match=r"deterministic_id is called with .* `args\[1\]`, of type object"):
        deterministic_id("order", object())


def test_no_parts_are_refused():
    """Every such id would be the same."""
    with pytest.raises(UsageError, match="without parts"):
        deterministic_id()


def test_the_namespace_is_written_down():
    """Whoever makes the same ids elsewhere finds it in the docs."""
    assert str(NAMESPACE) == "d80f6b1b-8b94-4674-b939-2d1f014cb04e"
    assert str(NAMESPACE) in (DOCS / "idempotency.md").read_text(encoding="utf-8")
