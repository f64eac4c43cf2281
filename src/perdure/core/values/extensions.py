"""Stored bytes: the code of each kind of value that msgpack does not know, and what readers and writers share.

The bytes are msgpack. What msgpack knows (None, bool, int within 64 bits, float, str, bytes, list, dict with plain
keys) is written as such; every other kind is an extension with a code of its own, so that the bytes say by themselves
what they hold. Kinds are distinguished by exact type: a subclass of a builtin is never narrowed to it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, Protocol

import msgspec

# The codes are on disk: never renumber, never use one again for something else.
BIG_INT: Final = 1
ODD_STR: Final = 2
TUPLE: Final = 3
SET: Final = 4
FROZENSET: Final = 5
DICT: Final = 6
BYTEARRAY: Final = 7
COMPLEX: Final = 8
DATETIME: Final = 9
DATE: Final = 10
TIME: Final = 11
TIMEDELTA: Final = 12
TIMEZONE: Final = 13
ZONEINFO: Final = 14
DECIMAL: Final = 15
FRACTION: Final = 16
UUID: Final = 17
PATH: Final = 18
RANGE: Final = 19
ORDERED_DICT: Final = 20
DEQUE: Final = 21
COUNTER: Final = 22
CONSTANT: Final = 23
SECRET: Final = 24
STAND_IN: Final = 25
UNLIKE: Final = 26
CODEC: Final = 27
DEFAULT_DICT: Final = 28
IP: Final = 29
PATTERN: Final = 30
ARRAY: Final = 31
INSTANCE: Final = 32
MEMBER: Final = 33
NAMESPACE: Final = 34
SLICE: Final = 35
APART: Final = 36
DIGESTED: Final = 37
GOES_BY: Final = 38

LEAVES: Final = frozenset({BIG_INT, ODD_STR, BYTEARRAY, ZONEINFO, DECIMAL, UUID, CONSTANT, SECRET, STAND_IN, GOES_BY})
"""The extensions that hold no values of their own."""

MAX_DEPTH: Final = 100
"""How deep values may nest. A level costs about four interpreter frames when it is read; Python allows 1,000."""

SCALARS: Final = frozenset({type(None), bool, int, float, str, bytes})
# An int may be too big for msgpack and a str may hold lone surrogates; the others are always written as they are.
SAFE_SCALARS: Final = frozenset({type(None), bool, float, bytes})

encode: Final = msgspec.msgpack.Encoder().encode
Ext = msgspec.msgpack.Ext


MOST_ALIKE: Final = 1_000
ALIKE: Final = f"more than {MOST_ALIKE:,} keys have the hash of another one"


class Refused(Exception):
    """A value cannot be stored. Collects the path to it on the way up."""

    def __init__(self, why: str, value: Any, hint: str = "return plain data instead") -> None:
        super().__init__(why)
        self.why = why
        self.value = value
        self.hint = hint
        self.path: list[str] = []


class Unfit(Exception):
    """Stored bytes cannot become a value."""


class NoMember(Unfit):
    """They name a member that its enumeration has not."""


class NoDefault(Unfit):
    """They lack a field that has no default."""


class Withheld(Unfit):
    """What the bytes stand for was never stored."""


class StandIn:
    """Stands for an argument that is not stored: the name of its type is kept, and what the instance goes by.

    Args:
        kind: its type, or the name of that.
        goes_by: a text of that which tells it apart.
        packed: the same as packed, if that changes with the classes in it. No call is known by it.
    """

    __slots__ = ("goes_by", "kind", "packed")

    def __init__(self, kind: type | str, goes_by: str = "", packed: bytes = b"") -> None:
        self.kind = kind if isinstance(kind, str) else kind.__qualname__
        self.goes_by = goes_by
        self.packed = packed

    @property
    def text(self) -> str:
        """What a call is known by."""
        return self.kind + self.goes_by


class GoesBy(StandIn):
    """What a function is bound to: a text of it."""

    __slots__ = ()


class Unlike:
    """A result that did not fit what its step was declared to return, as in `declared`, when it was saved."""

    __slots__ = ("declared", "value")

    def __init__(self, declared: str, value: Any) -> None:
        self.declared = declared
        self.value = value


class Lowering(Protocol):
    """What takes a value apart into what msgpack knows; see `writer.Writer`."""

    direct: frozenset[type]
    canonical: bool
    inputs: bool
    reordered: bool
    foreign: bool

    def lower(self, value: Any, depth: int) -> Any:
        """The value as msgpack's own kinds and extensions."""


Decode = Callable[[Any], Any]
Read = Callable[[Any, Decode], Any]
Lower = Callable[[Any, Any, int], Any]


# --- writing -----------------------------------------------------------------------------------------------------


def lower_each(w: Lowering, items: Iterable[Any], depth: int, label: str = "[{}]") -> list[Any]:
    """The items lowered one by one; a refusal carries the place it came from."""
    if depth >= MAX_DEPTH:
        raise Refused(f"is nested more than {MAX_DEPTH} levels deep, or contains itself", items)
    direct = w.direct
    out: list[Any] = []
    for item in items:
        if type(item) in direct:
            out.append(item)
            continue
        try:
            out.append(w.lower(item, depth + 1))
        except Refused as refused:
            refused.path.append(label.format(len(out)))
            raise
    return out


def lower_fields(w: Lowering, fields: Mapping[Any, Any], depth: int, label: str = "[{!r}]") -> dict[Any, Any]:
    """A mapping with plain keys, its values lowered."""
    if depth >= MAX_DEPTH:
        raise Refused(f"is nested more than {MAX_DEPTH} levels deep, or contains itself", fields)
    direct = w.direct
    out: dict[Any, Any] = {}
    for key, item in fields.items():
        if type(item) in direct:
            out[key] = item
            continue
        try:
            out[key] = w.lower(item, depth + 1)
        except Refused as refused:
            refused.path.append(label.format(key))
            raise
    return out


def pair_up(w: Lowering, value: dict[Any, Any], depth: int, canonical: bool) -> list[Any]:
    """Keys and values in turn: keys may be of any kind, which a msgpack map does not allow."""
    if alike(value):
        raise Refused(f"cannot be read back in time: {ALIKE}", value)
    keys = lower_each(w, list(value), depth, "<key {}>")
    values = lower_each(w, list(value.values()), depth, "<value {}>")
    pairs = list(zip(keys, values, strict=True))
    if canonical:
        given = pairs.copy()
        pairs.sort(key=lambda pair: encode(pair[0]))
        w.reordered = w.reordered or any(one is not other for one, other in zip(given, pairs, strict=True))
    return [part for pair in pairs for part in pair]


def lower_parts(code: int, parts: Callable[[Any], list[Any]]) -> Lower:
    """For kinds that are a few parts, each storable by itself."""

    def lower(w: Lowering, value: Any, depth: int) -> Any:
        return Ext(code, encode(lower_each(w, parts(value), depth, "<part {}>")))

    return lower


# --- reading -----------------------------------------------------------------------------------------------------


BESIDE_FIELDS: Final = frozenset({"other", "extra", "private", "set"})
"""What is stored of a pydantic model beside its fields; `set`: the names of the fields that were given."""


def beside(fields: Mapping[str, Any], rest: Mapping[str, Any]) -> dict[str, Any]:
    """What an instance carries beside its fields, as far as it can be shown with them: none hides a field.

    The names of the fields that a model was given are no part of what it says.
    """
    names = rest.get("set") if rest.keys() <= BESIDE_FIELDS else None
    given = isinstance(names, set) or (isinstance(names, Ext) and names.code == SET)
    return {name: part for name, part in rest.items() if name not in fields and not (given and name == "set")}


def items_of(data: Any, decode: Decode) -> list[Any]:
    """The list that an extension's bytes hold."""
    items = decode(data)
    if type(items) is not list:
        raise Unfit("an extension does not hold a list")
    return items


def keys_of(data: Any, decode: Decode) -> list[Any]:
    """The elements of a set that an extension's bytes hold."""
    keys = items_of(data, decode)
    if alike(keys):
        raise Unfit(ALIKE)
    return keys


def read_pairs(data: Any, decode: Decode) -> list[tuple[Any, Any]]:
    """The keys and values that an extension's bytes hold."""
    return pairs_of(items_of(data, decode))


def pairs_of(items: list[Any]) -> list[tuple[Any, Any]]:
    """The same of a list in which keys and values take turns."""
    if alike(items[::2]):
        raise Unfit(ALIKE)
    return list(zip(items[::2], items[1::2], strict=True))


def alike(keys: Collection[Any]) -> bool:
    """Whether very many keys share their hash: each of them is compared with all others, which takes hours.

    Numbers that are made for it do; those of any other origin do not.
    """
    return len(keys) > MOST_ALIKE and len(keys) - len(set(map(hash, keys))) > MOST_ALIKE
