"""What a stored value looks like to a person, and in a listing in JSON: each kind, and where it is cut."""

from __future__ import annotations

import datetime
import enum
from collections import deque
from dataclasses import dataclass
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pydantic
import pytest

from perdure import Secret
from perdure.core.values import codec
from perdure.core.values.describe import (
    describe,
    describe_inputs,
    describe_inputs_against,
    may_show,
    part_of,
    to_builtins,
    word_of,
)


class Level(enum.Enum):
    LOW = 1


@dataclass
class Order:
    id: int
    total: Decimal


ID = UUID("0f8fad5b-d9cb-469f-a165-70867728950e")


@pytest.mark.parametrize(
    ("value", "text", "plain"),
    [
        (None, "None", None),
        (True, "True", True),
        (7, "7", 7),
        (2**53 - 1, "9007199254740991", 2**53 - 1),
        (2**53 + 1, "9007199254740993", "9007199254740993"),
        (-(2**53) - 1, "-9007199254740993", "-9007199254740993"),
        (0.5, "0.5", 0.5),
        (float("inf"), "inf", "inf"),
        (float("nan"), "nan", "nan"),
        ("a'b", '"a\'b"', "a'b"),
        ("\ud800", "'\\ud800'", "?"),
        (b"ab", "b'ab'", "b'ab'"),
        (bytearray(b"ab"), "bytearray(b'ab')", "bytearray(b'ab')"),
        ([], "[]", []),
        ([1, "b"], "[1, 'b']", [1, "b"]),
        ((), "()", []),
        ((1,), "(1,)", [1]),
        ((1, 2), "(1, 2)", [1, 2]),
        (set(), "set()", []),
        ({1}, "{1}", [1]),
        (frozenset(), "frozenset()", []),
        (frozenset({1}), "frozenset(1)", [1]),
        (deque([1, 2]), "deque([1, 2])", [1, 2]),
        ({}, "{}", {}),
        ({"a": 1, 2: [3]}, "{'a': 1, 2: [3]}", {"a": 1, "2": [3]}),
        ({("k", 1): None}, "{('k', 1): None}", {"('k', 1)": None}),
        (datetime.date(2026, 1, 2), "date(2026, 1, 2)", "2026-01-02"),
        (datetime.timedelta(seconds=3), "timedelta(seconds=3)", "timedelta(seconds=3)"),
        (datetime.time(1, 2), "time(1, 2)", "01:02:00"),
        (Decimal("3.10"), "Decimal('3.10')", "3.10"),
        (ID, f"UUID('{ID}')", str(ID)),
        (PurePosixPath("/a"), "PurePosixPath('/a')", "/a"),
        (range(3), "range(0, 3)", "range(0, 3)"),
        (1 + 2j, "(1+2j)", "(1+2j)"),
    ],
)
def test_values_of_each_kind(value: Any, text: str, plain: Any) -> None:
    """As Python writes them, without modules; in JSON what JSON cannot carry is a text."""
    data = codec.pack_value(value, owner="it")
    assert describe(data) == text
    assert to_builtins(data) == plain
    assert describe(codec.pack_value([value], owner="it")) == f"[{text}]"


def test_instances_of_classes() -> None:
    """By their fields; members of enumerations by their names, secrets not at all."""
    given = codec.pack_inputs([Order(7, Decimal(3)), Level.LOW, Secret("tulip-garden")], {"note": None}, owner="it")
    assert describe_inputs(given) == "(Order(id=7, total=Decimal('3')), Level.LOW, Secret('***'), note=None)"
    assert to_builtins(given)[0][0] == {"id": 7, "total": "3"}
    assert to_builtins(given)[0][1] == "Level.LOW"
    assert "tulip" not in str(to_builtins(given))


class Model(pydantic.BaseModel, extra="allow"):
    set: int = 3
    v: str = "x"
    _seen: int = 1


class Plain(pydantic.BaseModel):
    id: int = 1
    at: int = 2


def test_models_are_shown_by_their_fields() -> None:
    """The names of the fields that were given are not among them, and a field of that name keeps its value."""
    assert to_builtins(codec.pack_value(Plain(id=4), owner="it")) == {"id": 4, "at": 2}
    assert describe(codec.pack_value(Plain(id=4), owner="it")) == "Plain(at=2, id=4)"
    shown = {"set": 9, "v": "q", "extra": {"more": 1}, "private": {"_seen": 1}}
    assert to_builtins(codec.pack_value(Model(set=9, v="q", more=1), owner="it")) == shown


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ((), {}, "()"),
        ((1,), {}, "(1)"),
        ((1, "a"), {}, "(1, 'a')"),
        ((), {"a": 1}, "(a=1)"),
        ((1,), {"a": 1, "b": 2}, "(1, a=1, b=2)"),
        (((1, 2),), {}, "((1, 2))"),
    ],
)
def test_arguments_as_in_a_call(args: Any, kwargs: Any, text: str) -> None:
    """By place and by name."""
    assert describe_inputs(codec.pack_inputs(list(args), kwargs, owner="it")) == text


@pytest.mark.parametrize("length", [7, 8, 9, 10, 11, 30])
def test_a_text_is_cut_where_it_is_said(length: int) -> None:
    """It is as long as it may be, and ends with three dots; what fits is whole."""
    text = "'" + "x" * 8 + "'"
    shown = describe(codec.pack_value("x" * 8, owner="it"), limit=length)
    assert shown == (text if length >= 10 else text[: length - 3] + "...")
    assert len(describe(codec.pack_value("x" * 100_000, owner="it"), limit=length)) == length
    assert len(describe(codec.pack_value([b"x" * 100_000], owner="it"), limit=length)) == length


@pytest.mark.parametrize(("limit", "text"), [(0, ""), (1, "."), (2, ".."), (3, "..."), (4, "[...")])
def test_hardly_anything_may_be_shown(limit: int, text: str) -> None:
    """Not more than that."""
    assert describe(codec.pack_value(["long enough"], owner="it"), limit) == text


def test_damaged_bytes_are_described_as_such() -> None:
    """With their number, within the limit."""
    assert describe(b"\xc1ab") == describe_inputs(b"\xc1ab") == "<unreadable: 3 bytes>"
    assert describe(b"\xc1ab", 5) == "<unre"
    assert to_builtins(b"\xc1ab") == {"unreadable": 3}
    assert describe(b"\xc7\x01\x7f\xc1") == "<unreadable: 4 bytes>"


def test_inputs_that_differ_far_behind_are_shown_from_there_on() -> None:
    """What both begin with is left out; short ones, and those that differ in the beginning, are shown from there."""
    words = " ".join(f"word{n}" for n in range(60))

    def packed(*args: Any) -> bytes:
        return codec.pack_inputs(list(args), {}, owner="it")

    assert describe_inputs_against(packed(1), packed(2)) == "(1)"
    assert describe_inputs_against(packed(1, words), packed(2, words)) == describe_inputs(packed(1, words))
    shown = describe_inputs_against(packed(words, 7, words), packed(words, 8, words))
    assert shown.startswith("(...")
    assert "7, 'word0 word1" in shown
    assert shown.endswith("...")
    assert len(shown) == 200 - len("(......") + len("(...") + len("...")
    last = describe_inputs_against(packed(words, 7), packed(words, 8))
    assert last.endswith(" word59', 7)")
    whole = describe_inputs(packed(words, 7), 10_000)
    assert last.removeprefix("(...") == whole[whole.index(", 7)") + 2 - (len(last) - 4 - 2) :]


def test_words_by_which_bytes_are_looked_for() -> None:
    """A word that is long enough and that no description adds; the longest part of what is looked for."""
    assert (word_of("see what was ordered: it") or "nothing") in "ordered"
    assert word_of("a b") is None
    assert part_of("ab-cdef.g") == "cdef"
    assert part_of("--") == ""
    packed = [codec.pack_value(one, owner="it") for one in ("alpha", ["beta"], {"alphabet": 1})]
    assert list(may_show("alpha", packed)) == [0, 2]
    assert list(may_show("beta", packed)) == [1]
    assert list(may_show("gamma", packed)) == []
    assert list(may_show("gamma", [*packed, b"\xc1"])) == [0, 1, 2, 3], "what cannot be decoded is looked at"


def test_a_number_that_takes_long_to_print_is_shown_by_its_size() -> None:
    """From so many digits on."""
    assert describe(codec.pack_value(-(1 << 20_000), owner="it")) == "<int of 20001 bits>"
    assert to_builtins(codec.pack_value(1 << 20_000, owner="it")) == "<int of 20001 bits>"
