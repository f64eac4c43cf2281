"""The builtin kinds of values: what each one looks like in stored bytes, and back.

The bytes are msgpack. What msgpack knows (None, bool, int within 64 bits, float, str, bytes, list, dict with plain
keys) is written as such; every other kind is an extension with a code of its own, so that the bytes say by themselves
what they hold. Kinds are distinguished by exact type: a subclass of a builtin is never narrowed to it.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

import msgspec

from perdure.core.redaction.secret import Secret

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

LEAVES: Final = frozenset({BIG_INT, ODD_STR, BYTEARRAY, ZONEINFO, DECIMAL, UUID, CONSTANT, SECRET, STAND_IN})
"""The extensions that hold no values of their own."""

MAX_DEPTH: Final = 100
"""How deep values may nest. A level costs about four interpreter frames when it is read; Python allows 1,000."""

SCALARS: Final = frozenset({type(None), bool, int, float, str, bytes})
# An int may be too big for msgpack and a str may hold lone surrogates; the others are always written as they are.
SAFE_SCALARS: Final = frozenset({type(None), bool, float, bytes})

encode: Final = msgspec.msgpack.Encoder().encode
Ext = msgspec.msgpack.Ext


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


class Withheld(Unfit):
    """What the bytes stand for was never stored."""


class StandIn:
    """Stands for an argument that is not stored: the name of its type is kept, and what the instance goes by."""

    __slots__ = ("kind",)

    def __init__(self, kind: type, goes_by: str = "") -> None:
        self.kind = kind.__qualname__ + goes_by


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


def _lower_list(w: Lowering, value: list[Any], depth: int) -> Any:
    return value if w.direct.issuperset(map(type, value)) else lower_each(w, value, depth)


def _lower_tuple(w: Lowering, value: tuple[Any, ...], depth: int) -> Any:
    plain = w.direct.issuperset(map(type, value))
    return Ext(TUPLE, encode(value if plain else lower_each(w, value, depth)))


def _lower_dict(w: Lowering, value: dict[Any, Any], depth: int) -> Any:
    if not w.direct.issuperset(map(type, value)):
        keys = lower_each(w, value, depth, "<key {}>")
        if not SCALARS.issuperset(map(type, keys)):
            return Ext(DICT, encode(pair_up(w, value, depth, w.canonical)))
    if w.canonical and len(value) > 1:
        given = list(value)
        if (keys := _ordered(given)) != given:
            w.reordered = True
            value = {key: value[key] for key in keys}
    return value if w.direct.issuperset(map(type, value.values())) else lower_fields(w, value, depth)


def pair_up(w: Lowering, value: dict[Any, Any], depth: int, canonical: bool) -> list[Any]:
    """Keys and values in turn: keys may be of any kind, which a msgpack map does not allow."""
    keys = lower_each(w, list(value), depth, "<key {}>")
    values = lower_each(w, list(value.values()), depth, "<value {}>")
    pairs = list(zip(keys, values, strict=True))
    if canonical:
        given = pairs.copy()
        pairs.sort(key=lambda pair: encode(pair[0]))
        w.reordered = w.reordered or any(one is not other for one, other in zip(given, pairs, strict=True))
    return [part for pair in pairs for part in pair]


def _ordered(keys: Iterable[Any]) -> list[Any]:
    """Plain keys in an order that does not depend on insertion, hash seed or process."""
    kinds = set(map(type, keys))
    return sorted(keys) if kinds <= {str} or kinds <= {int} else sorted(keys, key=encode)


def _lower_set(code: int) -> Lower:
    def lower(w: Lowering, value: set[Any] | frozenset[Any], depth: int) -> Any:
        # Sets are always sorted: their own order changes with the hash seed, and equal values should be equal bytes.
        if w.direct.issuperset(map(type, value)):
            return Ext(code, encode(_ordered(value)))
        parts = sorted(map(encode, lower_each(w, value, depth, "<element {}>")))
        return Ext(code, encode([msgspec.Raw(part) for part in parts]))

    return lower


def _lower_int(w: Lowering, value: int, depth: int) -> Any:
    if -(1 << 63) <= value < 1 << 64:
        return value
    return Ext(BIG_INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def _lower_str(w: Lowering, value: str, depth: int) -> Any:
    try:
        value.encode()
    except UnicodeEncodeError:
        return Ext(ODD_STR, value.encode("utf-8", "surrogatepass"))
    return value


def lower_parts(code: int, parts: Callable[[Any], list[Any]]) -> Lower:
    """For kinds that are a few parts, each storable by itself."""

    def lower(w: Lowering, value: Any, depth: int) -> Any:
        return Ext(code, encode(lower_each(w, parts(value), depth, "<part {}>")))

    return lower


def _lower_secret(w: Lowering, value: Secret[Any], depth: int) -> Any:
    # A secret among the arguments of a call is stood in for. A result has to come back.
    if w.inputs:
        return Ext(SECRET, b"")
    raise Refused(
        "is never stored", value, "return what the workflow needs of it, and read the secret where it is used"
    )


def _offset_parts(zone: datetime.timezone) -> list[Any]:
    # The pickle protocol of timezone is the one public way to learn whether it was given a name.
    return list(zone.__getinitargs__())  # type: ignore[attr-defined]


LOWERING: Final[dict[type, Lower]] = {
    int: _lower_int,
    str: _lower_str,
    list: _lower_list,
    tuple: _lower_tuple,
    dict: _lower_dict,
    set: _lower_set(SET),
    frozenset: _lower_set(FROZENSET),
    bytearray: lambda w, v, d: Ext(BYTEARRAY, bytes(v)),
    complex: lambda w, v, d: Ext(COMPLEX, encode([v.real, v.imag])),
    range: lower_parts(RANGE, lambda v: [v.start, v.stop, v.step]),
    collections.OrderedDict: lambda w, v, d: Ext(ORDERED_DICT, encode(pair_up(w, v, d, False))),
    collections.Counter: lambda w, v, d: Ext(COUNTER, encode(pair_up(w, v, d, w.canonical))),
    collections.deque: lambda w, v, d: Ext(DEQUE, encode([v.maxlen, *lower_each(w, v, d)])),
    datetime.datetime: lower_parts(
        DATETIME,
        lambda v: [v.year, v.month, v.day, v.hour, v.minute, v.second, v.microsecond, v.fold, v.tzinfo],
    ),
    datetime.date: lambda w, v, d: Ext(DATE, encode([v.year, v.month, v.day])),
    datetime.time: lower_parts(TIME, lambda v: [v.hour, v.minute, v.second, v.microsecond, v.fold, v.tzinfo]),
    datetime.timedelta: lambda w, v, d: Ext(TIMEDELTA, encode([v.days, v.seconds, v.microseconds])),
    datetime.timezone: lower_parts(TIMEZONE, _offset_parts),
    decimal.Decimal: lambda w, v, d: Ext(DECIMAL, str(v).encode()),
    uuid.UUID: lambda w, v, d: Ext(UUID, v.bytes),
    StandIn: lambda w, v, d: Ext(STAND_IN, v.kind.encode("utf-8", "replace")),
    type(...): lambda w, v, d: Ext(CONSTANT, b"..."),
    Secret: _lower_secret,
    msgspec.UnsetType: lambda w, v, d: Ext(CONSTANT, b"UNSET"),
}


def store_as_list(kind: type) -> None:
    """Values of this kind are stored as lists, and read back as lists."""
    LOWERING[kind] = lambda w, v, d: w.lower(list(v), d)


# --- reading -----------------------------------------------------------------------------------------------------


def items_of(data: Any, decode: Decode) -> list[Any]:
    """The list that an extension's bytes hold."""
    items = decode(data)
    if type(items) is not list:
        raise Unfit("an extension does not hold a list")
    return items


def read_pairs(data: Any, decode: Decode) -> list[tuple[Any, Any]]:
    """The keys and values that an extension's bytes hold."""
    items = items_of(data, decode)
    return list(zip(items[::2], items[1::2], strict=True))


def _read_counter(data: Any, decode: Decode) -> collections.Counter[Any]:
    counter: collections.Counter[Any] = collections.Counter()
    # Not Counter(pairs): that would count the pairs.
    dict.update(counter, read_pairs(data, decode))
    return counter


def _read_deque(data: Any, decode: Decode) -> collections.deque[Any]:
    maxlen, *items = items_of(data, decode)
    return collections.deque(items, maxlen)


def _read_datetime(data: Any, decode: Decode) -> datetime.datetime:
    year, month, day, hour, minute, second, microsecond, fold, zone = items_of(data, decode)
    return datetime.datetime(year, month, day, hour, minute, second, microsecond, zone, fold=fold)


def _read_time(data: Any, decode: Decode) -> datetime.time:
    hour, minute, second, microsecond, fold, zone = items_of(data, decode)
    return datetime.time(hour, minute, second, microsecond, zone, fold=fold)


def _read_decimal(data: Any, decode: Decode) -> decimal.Decimal:
    return decimal.Decimal(str(data, "ascii"))


def _read_constant(data: Any, decode: Decode) -> Any:
    return {b"...": ..., b"UNSET": msgspec.UNSET}[bytes(data)]


def _read_secret(data: Any, decode: Decode) -> Any:
    raise Withheld("a Secret among them was never stored")


def _read_unlike(data: Any, decode: Decode) -> Unlike:
    declared, value = items_of(data, decode)
    return Unlike(str(declared), value)


def _read_stand_in(data: Any, decode: Decode) -> Any:
    raise Unfit(f"of an argument that could not be stored only the type is known, {str(data, 'utf-8')}")


READING: Final[dict[int, Read]] = {
    SECRET: _read_secret,
    STAND_IN: _read_stand_in,
    UNLIKE: _read_unlike,
    BIG_INT: lambda data, decode: int.from_bytes(data, "big", signed=True),
    ODD_STR: lambda data, decode: str(data, "utf-8", "surrogatepass"),
    TUPLE: lambda data, decode: tuple(items_of(data, decode)),
    SET: lambda data, decode: set(items_of(data, decode)),
    FROZENSET: lambda data, decode: frozenset(items_of(data, decode)),
    DICT: lambda data, decode: dict(read_pairs(data, decode)),
    BYTEARRAY: lambda data, decode: bytearray(data),
    COMPLEX: lambda data, decode: complex(*items_of(data, decode)),
    DATETIME: _read_datetime,
    DATE: lambda data, decode: datetime.date(*items_of(data, decode)),
    TIME: _read_time,
    TIMEDELTA: lambda data, decode: datetime.timedelta(*items_of(data, decode)),
    TIMEZONE: lambda data, decode: datetime.timezone(*items_of(data, decode)),
    DECIMAL: _read_decimal,
    UUID: lambda data, decode: uuid.UUID(bytes=bytes(data)),
    RANGE: lambda data, decode: range(*items_of(data, decode)),
    ORDERED_DICT: lambda data, decode: collections.OrderedDict(read_pairs(data, decode)),
    DEQUE: _read_deque,
    COUNTER: _read_counter,
    CONSTANT: _read_constant,
}
