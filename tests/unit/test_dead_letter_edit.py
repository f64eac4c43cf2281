"""The input of a dead letter, edited: every leaf stays of its kind, and what does not fit is refused."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any, Literal
from uuid import UUID, uuid4

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.core.execution.argument_paths import Arguments
from perdure.core.execution.edited_arguments import made_again
from perdure.core.execution.spec import Spec
from perdure.core.values.codec import pack_inputs, unpack_inputs
from perdure.core.values.extensions import StandIn
from perdure.errors import OptionError


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclass
class Line:
    name: str
    price: Decimal


@dataclass
class Order:
    id: int
    lines: list[Line]
    colour: Colour = Colour.RED
    labels: dict[str, int] = field(default_factory=dict)


class Patch(pydantic.BaseModel):
    email: str
    tag: str | None = None


class Sized(pydantic.BaseModel):
    set: int = 3
    other: str = "x"
    v: str = "x"


def send(patch: Patch) -> None: ...


def size(s: Sized) -> None: ...


def charge(order: Order, note: str = "", *, tries: int = 1) -> None: ...


SPEC = Spec("step", charge, "charge")
ORDER = Order(7, [Line("pen", Decimal("3.10")), Line("ink", Decimal("8"))], labels={"a": 1})
PACKED = pack_inputs([ORDER], {"tries": 2}, owner="")


def changed(path: str, value: Any, packed: bytes = PACKED) -> tuple[list[Any], dict[str, Any]]:
    arguments = Arguments(packed, ["order", "note"])
    arguments.set(path, value)
    return unpack_inputs(arguments.packed(), SPEC.parameter_plans(), owner="")


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("order.id", 8, Order(8, ORDER.lines, labels={"a": 1})),
        ("0.id", 8, Order(8, ORDER.lines, labels={"a": 1})),
        ("order.lines[1].price", "9.99", Order(7, [ORDER.lines[0], Line("ink", Decimal("9.99"))], labels={"a": 1})),
        ("order.lines[1].price", 5, Order(7, [ORDER.lines[0], Line("ink", Decimal("5"))], labels={"a": 1})),
        ("order.colour", "BLUE", Order(7, ORDER.lines, Colour.BLUE, {"a": 1})),
        ("order.colour", "Colour.BLUE", Order(7, ORDER.lines, Colour.BLUE, {"a": 1})),
        ("order.labels.b", 2, Order(7, ORDER.lines, labels={"a": 1, "b": 2})),
        ('order.labels["a"]', 3, Order(7, ORDER.lines, labels={"a": 3})),
        ("order.lines", [{"name": "pen"}], Order(7, [ORDER.lines[0]], labels={"a": 1})),
        ("order", {"id": 1}, Order(1, ORDER.lines, labels={"a": 1})),
    ],
)
def test_a_place_is_changed_and_keeps_its_class(path: str, value: Any, expected: Order) -> None:
    """A class stays a class, a Decimal a Decimal, a member a member; all else is as it was."""
    if path.startswith("0"):
        arguments = Arguments(PACKED)
        arguments.set(path, value)
        assert unpack_inputs(arguments.packed(), SPEC.parameter_plans(), owner="") == ([expected], {"tries": 2})
    else:
        assert changed(path, value) == ([expected], {"tries": 2})


def test_arguments_by_name() -> None:
    """One given by name is changed; one that had its default is given."""
    assert changed("tries", 5)[1] == {"tries": 5}
    assert changed("note", "hello")[1] == {"tries": 2, "note": "hello"}


@pytest.mark.parametrize(
    ("before", "given", "after"),
    [
        (1.5, 2, 2.0),
        ((1, 2), [3, 4, 5], (3, 4, 5)),
        ({1, 2}, [2, 3], {2, 3}),
        (deque([1], 3), [2, 3], deque([2, 3], 3)),
        (1 << 80, 5, 5),
        (1 << 80, str((1 << 80) + 1), (1 << 80) + 1),
        (1 << 60, str((1 << 60) + 1), (1 << 60) + 1),
        (1 << 60, "many", "many"),
        (float("inf"), "-inf", float("-inf")),
        (datetime(2026, 1, 1, tzinfo=UTC), "2027-02-03T04:05:06+00:00", datetime(2027, 2, 3, 4, 5, 6, tzinfo=UTC)),
        (date(2026, 1, 1), "2027-02-03", date(2027, 2, 3)),
        (timedelta(seconds=5), 90, timedelta(seconds=90)),
        (Fraction(1, 3), "2/3", Fraction(2, 3)),
        (UUID(int=1), str(UUID(int=2)), UUID(int=2)),
        (PurePosixPath("a"), "b/c", PurePosixPath("b/c")),
        ({(1, 2): "x"}, {"(1, 2)": "y"}, {(1, 2): "y"}),
        ({3: "x"}, {"3": "y"}, {3: "y"}),
        ("text", None, None),
        (None, {"a": 1}, {"a": 1}),
        (StandIn(dict), [1], [1]),
        (["x", Decimal("1")], ["x", "1", "2.5"], ["x", Decimal("1"), Decimal("2.5")]),
    ],
)
def test_every_kind_is_made_of_json(before: Any, given: Any, after: Any) -> None:
    """What JSON cannot say is made of what it can, of the kind that stood there."""
    arguments = Arguments(pack_inputs([before], {}, owner=""))
    arguments.set("0", given)
    ((found,), _) = unpack_inputs(arguments.packed(), (), owner="")
    assert (found, type(found)) == (after, type(after))
    assert getattr(found, "maxlen", None) == getattr(after, "maxlen", None)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("ordr.id", 1, "it has: order, tries, note"),
        ("order.idd", 1, "there is no 'idd'"),
        ("order.lines[5]", 1, "it has: 0, 1"),
        ("order.id.x", 1, "has no parts"),
        ("order", 5, "give an object"),
        ("order.lines[0].price", "many", "and not"),
        ("order.colour", [1], "give its name"),
        ("", 1, "names no place"),
        ("order..id", 1, "names no place"),
    ],
)
def test_what_cannot_be_is_refused(path: str, value: Any, says: str) -> None:
    """The error says what is there."""
    with pytest.raises(OptionError) as caught:
        changed(path, value)
    assert says in str(caught.value)


def test_bytes_and_secrets_are_left_alone() -> None:
    """JSON cannot say them."""
    for value in (b"abc", 1j, ...):
        arguments = Arguments(pack_inputs([value], {}, owner=""))
        with pytest.raises(OptionError):
            arguments.set("0", "other")


def test_the_annotations_are_held() -> None:
    """Also where only builtins are declared, in fields too."""
    for path, value, says in [
        ("order.id", "seven", "order.id is 'seven', and int is declared there"),
        ("order.labels.a", "x", "order.labels.a is 'x', and int"),
        ("tries", "x", "tries is 'x', and int"),
        ("order.lines[0].name", 5, "order.lines[0].name is 5, and str"),
    ]:
        assert says in str(refused(SPEC, PACKED, path, value))
    arguments = Arguments(PACKED, ["order", "note"])
    assert made_again(arguments, PACKED, SPEC) == []
    assert arguments.packed() == PACKED


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(max_size=5)
        | st.decimals(allow_nan=False, allow_infinity=False)
        | st.dates()
        | st.uuids(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(max_size=3), inner, max_size=3)
            | st.tuples(inner, inner)
            | st.dictionaries(st.integers(), inner, max_size=2)
        ),
        max_leaves=8,
    )
)
def test_what_is_written_back_as_it_was_stays_as_it_was(value: Any) -> None:
    """Somebody opens the editor and changes nothing: not a byte differs in what it means."""
    packed = pack_inputs([value, "x"], {}, owner="")
    arguments = Arguments(packed, ["value", "other"])
    arguments.replace(arguments.as_json())
    assert unpack_inputs(arguments.packed(), (), owner="") == unpack_inputs(packed, (), owner="")


def test_one_of_many_entries_is_edited() -> None:
    """Also under keys that are no text: the others stay under theirs."""
    arguments = Arguments(pack_inputs([{1: "a", 2: "b", 3: "c", 4: "d"}], {}, owner=""), ["rows"])
    arguments.set("rows.3", "z")
    assert unpack_inputs(arguments.packed(), (), owner="")[0] == [{1: "a", 2: "b", 3: "z", 4: "d"}]


def test_an_edited_field_of_a_model_counts_as_given() -> None:
    """`model_dump(exclude_unset=True)`, which is how a PATCH is sent, has it; those that were not given stay so."""
    spec = Spec("step", send, "send")
    for path, value, expected in (("patch.tag", "vip", {"email", "tag"}), ("patch.email", "b@x", {"email"})):
        arguments = Arguments(pack_inputs([Patch(email="a@x")], {}, owner=""), ["patch"])
        arguments.set(path, value)
        ((patch,), _) = unpack_inputs(arguments.packed(), spec.parameter_plans(), owner="")
        assert patch.model_fields_set == expected


@dataclass
class Range:
    low: int
    high: int
    width: int = field(init=False)

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")
        self.width = self.high - self.low


class Cat(pydantic.BaseModel):
    kind: Literal["cat"] = "cat"
    name: str
    lives: int = 9


class Dog(pydantic.BaseModel):
    kind: Literal["dog"] = "dog"
    name: str
    tail: float = 1.0


class Owner(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)

    email: str = pydantic.Field(alias="e-mail")
    token: str = pydantic.Field(default_factory=lambda: uuid4().hex)
    digest: str = ""
    pet: Cat | Dog | None = None
    since: date | None = None
    _seen: list[str] = pydantic.PrivateAttr(default_factory=list)

    @pydantic.field_validator("email")
    @classmethod
    def lowered(cls, email: str) -> str:
        if "@" not in email:
            raise ValueError("it has no @")
        return email.lower()

    @pydantic.field_validator("digest")
    @classmethod
    def digested(cls, digest: str) -> str:
        return f"<{digest}>"


def visit(owner: Owner, span: Range, price: Decimal | None = None, pets: list[Cat | Dog] | None = None) -> None: ...


VISIT = Spec("step", visit, "visit")
OWNER = Owner.model_validate({"e-mail": "a@x", "digest": "d", "pet": {"kind": "cat", "name": "Tom"}})
OWNER._seen.append("once")
GIVEN = pack_inputs([OWNER, Range(1, 3), None, []], {}, owner="")


def edited(spec: Spec, packed: bytes, *places: tuple[str, Any]) -> list[Any]:
    arguments = Arguments(packed, spec.signature.names(9), judged=True)
    for path, value in places:
        arguments.set(path, value)
    assert made_again(arguments, packed, spec) == []
    return spec.arguments(arguments.packed())[0]


def refused(spec: Spec, packed: bytes, path: str, value: Any) -> OptionError:
    arguments = Arguments(packed, spec.signature.names(9), judged=True)

    def edit() -> None:
        arguments.set(path, value)
        made_again(arguments, packed, spec)

    with pytest.raises(OptionError) as caught:
        edit()
    return caught.value


def test_an_edited_value_is_one_that_its_class_makes() -> None:
    """Validators change it, what is computed follows; what no edit touched stays, though validation would change it."""
    owner, span, *_ = edited(VISIT, GIVEN, ("owner.email", "B@X"), ("span.low", 5), ("span.high", 9))
    assert (owner.email, span.low, span.high, span.width) == ("b@x", 5, 9, 4)
    assert (owner.token, owner.digest, owner._seen, owner.pet) == (OWNER.token, "<d>", ["once"], OWNER.pet)
    assert owner.model_fields_set == OWNER.model_fields_set
    assert edited(VISIT, GIVEN, ("owner.digest", "e"))[0].digest == "<e>"


def test_what_the_class_refuses_is_refused_in_its_words() -> None:
    """Nothing that could not exist is put into a call."""
    assert "owner: Owner refuses it: email: Value error, it has no @" in str(refused(VISIT, GIVEN, "owner.email", "b"))
    assert "span: Range refuses it: low is above high" in str(refused(VISIT, GIVEN, "span.low", 5))
    assert "tail" in str(refused(VISIT, GIVEN, "owner.pet", {"kind": "dog", "name": "Rex", "tail": "long"}))
    assert "Cat has no field 'fur'" in str(refused(VISIT, GIVEN, "owner.pet", {"kind": "cat", "name": "Tom", "fur": 1}))


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("owner.pet", {"kind": "dog", "name": "Rex", "tail": 2}, lambda args: args[0].pet),
        ("owner.pet", {"kind": "dog", "name": "Rex", "tail": 2.0}, lambda args: args[0].pet),
        ("pets", [{"kind": "dog", "name": "Rex", "tail": 2.0}], lambda args: args[3][0]),
    ],
)
def test_another_member_of_a_union_takes_the_place(path: str, value: Any, found: Callable[[list[Any]], Any]) -> None:
    """By the fields that only it has, or by what tells the members apart; also where nothing stood."""
    assert found(edited(VISIT, GIVEN, (path, value))) == Dog(name="Rex", tail=2.0)


def test_a_place_that_held_none_takes_what_is_declared() -> None:
    """Also what JSON cannot say by itself."""
    args = edited(VISIT, GIVEN, ("price", "1.50"), ("owner.since", "2026-01-02"), ("owner.pet.kind", "dog"))
    assert (args[2], args[0].since) == (Decimal("1.50"), date(2026, 1, 2))
    assert args[0].pet == Dog(name="Tom")


def test_a_field_of_a_model_is_edited_whatever_its_name() -> None:
    """What is stored beside the fields is not offered, and none of it takes the place of a field."""
    spec = Spec("step", size, "size")
    packed = pack_inputs([Sized(set=4)], {}, owner="")
    for path, value, expected in (
        ("s.set", 8, Sized(set=8)),
        ("s.v", "no", Sized(set=4, v="no")),
        ("s.other", "y", Sized(set=4, other="y")),
        ("s", {"set": 8, "v": "no"}, Sized(set=8, v="no")),
    ):
        arguments = Arguments(packed, ["s"])
        arguments.set(path, value)
        [made], _ = unpack_inputs(arguments.packed(), spec.parameter_plans(), owner="")
        assert (made, made.model_fields_set) == (expected, expected.model_fields_set)
    with pytest.raises(OptionError, match=r"name what it has: email, tag$"):
        Arguments(pack_inputs([Patch(email="a")], {}, owner=""), ["patch"]).set("patch.set", 1)
