"""Class instances come back as what they were, if the annotation names their class; else they are refused."""

from __future__ import annotations

import abc
import collections
import dataclasses
import datetime
import decimal
import enum
import functools
import sys
import typing
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar, Union

import msgspec
import pydantic
import pytest

from perdure.core.values import annotations as shapes
from perdure.core.values import codec
from perdure.errors import NotDecodable, NotStorable

T = TypeVar("T")
K = TypeVar("K")


@dataclasses.dataclass
class Order:
    id: int
    total: decimal.Decimal = decimal.Decimal(0)
    tags: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    order: Order
    at: datetime.datetime | None = None


@dataclasses.dataclass
class Checked:
    amount: int
    double: int = dataclasses.field(init=False)
    note: dataclasses.InitVar[str] = ""

    def __post_init__(self, note: str) -> None:
        if self.amount > 100:
            raise ValueError("too much")
        self.double = self.amount * 2
        self.seen = [note]

    @functools.cached_property
    def slow(self) -> int:
        return self.amount + 1


@dataclasses.dataclass(eq=False)
class Child(Order):
    note: str | None = None


@dataclasses.dataclass
class Box(Generic[T]):
    item: T


@dataclasses.dataclass
class Pair(Box[list[K]], Generic[K, T]):
    second: T


class OrderBox(Box[Order]):
    pass


@dataclasses.dataclass
class Tree:
    value: int
    children: list[Tree] = dataclasses.field(default_factory=list)
    parent: Tree | None = None


@dataclasses.dataclass
class Shadow:
    date: datetime.date | None = None
    Order: Order | None = None


class Point(msgspec.Struct, frozen=True):
    x: int
    y: float = 0.0


class Trimmed(msgspec.Struct, tag=True, kw_only=True, dict=True):
    name: str
    order: Order | None = None

    def __post_init__(self) -> None:
        self.name = self.name + "!"


class Row(NamedTuple):
    id: int
    order: Order | None = None


class Priced(TypedDict, total=False):
    order: typing.Required[Order]
    price: float


class Color(enum.Enum):
    RED = "red"
    CRIMSON = "red"
    BLUE = object()


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    A = "a"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Model(pydantic.BaseModel):
    name: str
    size: int = 3
    inner: list[Model] | None = None
    _secret: int = pydantic.PrivateAttr(default=0)

    @pydantic.field_validator("name")
    @classmethod
    def _shout(cls, value: str) -> str:
        return value + "!"


class Loose(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    a: int


class Generic1(pydantic.BaseModel, Generic[T]):
    item: T


class Numbers(pydantic.RootModel[list[int]]):
    pass


@pydantic.dataclasses.dataclass
class Valid:
    a: int


Plain = collections.namedtuple("Plain", "a b")
UserId = NewType("UserId", Order)
Json = Union[None, int, "Order", list["Json"], dict[str, "Json"]]
NOW = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)


def tagged() -> Trimmed:
    value = Trimmed(name="a", order=Order(2))
    value.__dict__["extra"] = [1]
    return value


def secret() -> Model:
    value = Model(name="a", inner=[Model(name="b", size=1)])
    value._secret = 42
    return value


def cached() -> Checked:
    value = Checked(4, note="n")
    assert value.slow == 5
    return value


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

    found = shapes.hints_of(step, locals())["return"]
    assert codec.plan(found, owner="s", names=locals()).round_trip(step())[1] == step()


def test_recursive_aliases_of_strings() -> None:
    """An alias that refers to itself by name is followed as deep as the value goes."""

    def step() -> Json:
        return [[Order(1)], {"x": [1, None, Order(2)]}]

    plan = codec.plan(shapes.hints_of(step)["return"], owner="s", names=shapes.scope_of(step))
    assert plan.round_trip(step())[1] == step()
    with pytest.raises(NotStorable, match=r"`result\[0\]\['a'\]` is 'text'"):
        plan.round_trip([{"a": "text"}])


def test_each_annotation_is_resolved_by_itself() -> None:
    """A name that exists only under TYPE_CHECKING does not spoil the other annotations."""

    def step(a: Missing, b: Order) -> Order:  # type: ignore[name-defined]  # noqa: F821
        return b

    hints = shapes.hints_of(step)
    assert hints["return"] is Order
    assert hints["b"] is Order
    with pytest.raises(NotStorable, match=r"'Missing'.*is not defined"):
        codec.plan(hints["a"], owner="s").round_trip(Order(1))


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
