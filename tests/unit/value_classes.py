"""Classes of all kinds that values can be of, for the tests of stored instances."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import functools
import typing
from typing import Generic, NamedTuple, NewType, TypedDict, TypeVar, Union

import msgspec
import pydantic

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
