"""An edited input is made again by the classes that the step declares: of every kind of class, in their words."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any, NotRequired, TypedDict

import attrs
import msgspec
import pydantic
import pytest
from test_dead_letter_edit import Colour, Range

from perdure.core.execution.argument_paths import Arguments
from perdure.core.execution.edited_arguments import made_again
from perdure.core.execution.spec import Spec
from perdure.core.values.codec import pack_inputs
from perdure.errors import OptionError


class Tags(pydantic.RootModel[list[str]]):
    pass


class Upper(str):
    def __new__(cls, text: str) -> Upper:
        return str.__new__(cls, text.upper())


class Plain(str):
    pass


class Point(msgspec.Struct):
    x: int
    y: int = 0
    sum: int = 0

    def __post_init__(self) -> None:
        self.sum = self.x + self.y


class Bare(msgspec.Struct):
    x: int


@attrs.define
class Amount:
    _cents: int = attrs.field(validator=attrs.validators.ge(0))
    unit: str = "EUR"


@attrs.define
class Free:
    cents: int


@dataclass
class Signed:
    text: str
    key: InitVar[str]
    length: int = field(init=False, default=0)

    def __post_init__(self, key: str) -> None:
        self.length = len(self.text)


@dataclass
class Labelled:
    labels: dict[str, int]
    size: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.size = len(self.labels)


class Row(TypedDict):
    id: int
    note: NotRequired[str]


def take(
    tags: Tags,
    upper: Upper | None,
    plain: Plain | None,
    point: Point | None,
    bare: Bare | None,
    amount: Amount | None,
    free: Free | None,
    signed: Signed | None,
    row: Row,
    colour: Colour | None,
    ids: set[int] | None,
    where: PurePosixPath | None,
    span: Range | None,
    share: Fraction | None,
    spans: list[Range],
    labelled: Labelled | None,
) -> None: ...


TAKE = Spec("step", take, "take")
NAMES = TAKE.signature.names(16)
HELD = pack_inputs(
    [
        Tags(["a"]), Upper("a"), Plain("a"), Point(1), Bare(1), Amount(1), Free(1), Signed("abc", "k"), {"id": 1},
        None, None, None, None, None, [Range(1, 2)], Labelled({"a": 1, "b": 2}),
    ], {}, owner="",
)  # fmt: skip
NONE = pack_inputs([Tags(["a"]), *[None] * 7, {"id": 1}, *[None] * 5, [], None], {}, owner="")


@pytest.mark.parametrize(
    ("path", "value", "made"),
    [
        ("tags.root", ["b"], Tags(["b"])),
        ("upper", "b", Upper("B")),
        ("plain", "b", Plain("b")),
        ("bare", {"x": 3}, Bare(3)),
        ("amount", {"_cents": 3}, Amount(3)),
        ("free", {"cents": 3}, Free(3)),
        ("row.id", 5, {"id": 5}),
        ("row", {"id": 3, "note": "a"}, {"id": 3, "note": "a"}),
        ("colour", "BLUE", Colour.BLUE),
        ("colour", 2, Colour.BLUE),
        ("ids", [1, 2, 2], {1, 2}),
        ("where", "a/b", PurePosixPath("a/b")),
        ("share", "1/3", Fraction(1, 3)),
        ("span", {"low": 1, "high": 3}, Range(1, 3)),
        ("spans", [{"low": 1, "high": 3}, {"low": 3, "high": 4}], [Range(1, 3), Range(3, 4)]),
    ],
)
@pytest.mark.parametrize("packed", [HELD, NONE], ids=["held", "none"])
def test_a_value_is_made_by_the_class_that_is_declared(packed: bytes, path: str, value: Any, made: Any) -> None:
    """Of what JSON can say, whether one of the class stood there or nothing."""
    found, unasked = edit(packed, path, value)
    assert (found, type(found), unasked) == (made, type(made), [])


@pytest.mark.parametrize(
    ("path", "value", "made"),
    [
        ("point.x", 2, Point(2)),
        ("point", {"y": 1}, Point(1, 1)),
        ("bare.x", 2, Bare(2)),
        ("amount.unit", "USD", Amount(1, "USD")),
        ("free.cents", 5, Free(5)),
        ("spans[0].low", 0, [Range(0, 2)]),
        ("labelled.labels", {"a": 1}, Labelled({"a": 1})),
        ("labelled.labels", {"b": 2, "a": 1}, Labelled({"a": 1, "b": 2})),
        ("labelled.labels.c", 3, Labelled({"a": 1, "b": 2, "c": 3})),
    ],
)
def test_a_field_is_edited_in_what_stands_there(path: str, value: Any, made: Any) -> None:
    """The rest of it stays, and what the class computes of it follows."""
    assert edit(HELD, path, value) == (made, [])


def test_what_a_class_cannot_be_asked_to_make_is_said() -> None:
    """Its constructor takes more than its fields: the value is made of its fields, unjudged."""
    made, (said,) = edit(HELD, "signed.text", "abcd")
    assert (made.text, made.length) == ("abcd", 3)
    assert said.startswith("signed: Signed does not take the values that it holds (Signed cannot be made of its fields")


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("tags", 5, "tags is no object"),
        ("point", {"y": 1}, "point: Point refuses it: the field 'x' of Point is not given and has no default"),
        ("span", {"low": 1}, "span: Range refuses it: the field 'high' of Range is not given and has no default"),
        ("span", {"low": "1", "high": 3}, "span.low is '1', and int is declared there"),
        ("span", 5, "span is no object"),
        ("spans", [{"low": 5, "high": 3}], "spans[0]: Range refuses it: low is above high"),
        ("bare", {"x": "a"}, "bare.x is 'a', and int is declared there"),
        ("amount", {"cents": 3}, "amount: Amount has no field 'cents'"),
        ("amount", {"_cents": -3}, "amount: Amount refuses it: '_cents' must be >= 0: -3"),
        (
            "signed",
            {"text": "a"},
            "signed: Signed refuses it: Signed cannot be made of its fields alone (missing a required argument: 'key')",
        ),
        ("row.id", "x", "row.id is 'x', and int is declared there"),
        ("row", {"id": 3, "note": 4}, "row.note is 4, and NotRequired[str] is declared there"),
        ("colour", 9, "colour: Colour refuses it: 9 is not a valid Colour"),
        ("ids", ["a"], "ids[0] is 'a', and int is declared there"),
        ("share", "x", "share: Fraction refuses it: Invalid literal for Fraction: 'x'"),
    ],
)
def test_what_a_class_refuses_is_named_with_its_place(path: str, value: Any, says: str) -> None:
    """Where nothing stood that could tell."""
    with pytest.raises(OptionError) as caught:
        edit(NONE, path, value)
    assert caught.value.what == f"the new input does not fit step 'take': {says}"


def edit(packed: bytes, path: str, value: Any) -> tuple[Any, list[str]]:
    """What is where the edit was made, and what no class was asked for."""
    arguments = Arguments(packed, NAMES, judged=True)
    arguments.set(path, value)
    unasked = made_again(arguments, packed, TAKE)
    found = dict(zip(NAMES, TAKE.arguments(arguments.packed())[0], strict=True))
    return found[path.partition(".")[0].partition("[")[0]], unasked
