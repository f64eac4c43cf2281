"""The builtin kinds of values, and their relatives: what each one looks like in stored bytes, and back."""

from __future__ import annotations

import collections
import decimal
import uuid
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from perdure.core.redaction.secret import Secret
from perdure.core.values import datetime_types
from perdure.core.values.extensions import (
    ALIKE,
    BIG_INT,
    BYTEARRAY,
    COMPLEX,
    CONSTANT,
    COUNTER,
    DECIMAL,
    DEQUE,
    DICT,
    FROZENSET,
    GOES_BY,
    ODD_STR,
    ORDERED_DICT,
    RANGE,
    SCALARS,
    SECRET,
    SET,
    STAND_IN,
    TUPLE,
    UNLIKE,
    UUID,
    Decode,
    Ext,
    GoesBy,
    Lower,
    Lowering,
    Read,
    Refused,
    StandIn,
    Unfit,
    Unlike,
    Withheld,
    alike,
    encode,
    items_of,
    keys_of,
    lower_each,
    lower_fields,
    lower_parts,
    pair_up,
    read_pairs,
)


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


def _ordered(keys: Iterable[Any]) -> list[Any]:
    """Plain keys in an order that does not depend on insertion, hash seed or process."""
    kinds = set(map(type, keys))
    return sorted(keys) if kinds <= {str} or kinds <= {int} else sorted(keys, key=encode)


def _lower_set(code: int) -> Lower:
    def lower(w: Lowering, value: set[Any] | frozenset[Any], depth: int) -> Any:
        if alike(value):
            raise Refused(f"cannot be read back in time: {ALIKE}", value)
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


def _lower_secret(w: Lowering, value: Secret[Any], depth: int) -> Any:
    # A secret among the arguments of a call is stood in for. A result has to come back.
    if w.inputs:
        return Ext(SECRET, b"")
    raise Refused(
        "is never stored", value, "return what the workflow needs of it, and read the secret where it is used"
    )


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
    **datetime_types.LOWERING,
    decimal.Decimal: lambda w, v, d: Ext(DECIMAL, str(v).encode()),
    uuid.UUID: lambda w, v, d: Ext(UUID, v.bytes),
    StandIn: lambda w, v, d: Ext(STAND_IN, _stand_in(w, v) or v.text.encode("utf-8", "replace")),
    GoesBy: lambda w, v, d: Ext(GOES_BY, data) if (data := _stand_in(w, v)) else w.lower(v.text, d),
    type(...): lambda w, v, d: Ext(CONSTANT, b"..."),
    Secret: _lower_secret,
    msgspec.UnsetType: lambda w, v, d: Ext(CONSTANT, b"UNSET"),
}


def store_as_list(kind: type) -> None:
    """Values of this kind are stored as lists, and read back as lists."""
    LOWERING[kind] = lambda w, v, d: w.lower(list(v), d)


# --- reading -----------------------------------------------------------------------------------------------------


def _read_counter(data: Any, decode: Decode) -> collections.Counter[Any]:
    counter: collections.Counter[Any] = collections.Counter()
    # Not Counter(pairs): that would count the pairs.
    dict.update(counter, read_pairs(data, decode))
    return counter


def _read_deque(data: Any, decode: Decode) -> collections.deque[Any]:
    maxlen, *items = items_of(data, decode)
    return collections.deque(items, maxlen)


def _read_decimal(data: Any, decode: Decode) -> decimal.Decimal:
    return decimal.Decimal(str(data, "ascii"))


def _read_constant(data: Any, decode: Decode) -> Any:
    return {b"...": ..., b"UNSET": msgspec.UNSET}[bytes(data)]


def _read_secret(data: Any, decode: Decode) -> Any:
    raise Withheld("a Secret among them was never stored")


def _read_unlike(data: Any, decode: Decode) -> Unlike:
    declared, value = items_of(data, decode)
    return Unlike(str(declared), value)


def _stand_in(w: Lowering, value: StandIn) -> bytes:
    """The parts of what stands for an instance, where these are kept: in what is stored, not in what it is known by."""
    if not value.packed:
        return b""
    if w.canonical:
        w.reordered = True
        return b""
    return encode([value.kind, value.goes_by, value.packed])


def stand_in_of(data: Any, kind: type[StandIn] = StandIn) -> StandIn:
    """What was written to stand for an instance."""
    if bytes(data[:1]) == _PARTS:
        return kind(*msgspec.msgpack.decode(data, type=tuple[str, str, bytes]))
    return kind(str(data, "utf-8"))


_PARTS: Final = b"\x93"  # the header of three; no text begins with it


def _read_stand_in(data: Any, decode: Decode) -> Any:
    raise Unfit(f"of an argument that could not be stored only the type is known, {stand_in_of(data).text}")


READING: Final[dict[int, Read]] = {
    SECRET: _read_secret,
    STAND_IN: _read_stand_in,
    GOES_BY: lambda data, decode: stand_in_of(data).text,
    UNLIKE: _read_unlike,
    BIG_INT: lambda data, decode: int.from_bytes(data, "big", signed=True),
    ODD_STR: lambda data, decode: str(data, "utf-8", "surrogatepass"),
    TUPLE: lambda data, decode: tuple(items_of(data, decode)),
    SET: lambda data, decode: set(keys_of(data, decode)),
    FROZENSET: lambda data, decode: frozenset(keys_of(data, decode)),
    DICT: lambda data, decode: dict(read_pairs(data, decode)),
    BYTEARRAY: lambda data, decode: bytearray(data),
    COMPLEX: lambda data, decode: complex(*items_of(data, decode)),
    **datetime_types.READING,
    DECIMAL: _read_decimal,
    UUID: lambda data, decode: uuid.UUID(bytes=bytes(data)),
    RANGE: lambda data, decode: range(*items_of(data, decode)),
    ORDERED_DICT: lambda data, decode: collections.OrderedDict(read_pairs(data, decode)),
    DEQUE: _read_deque,
    COUNTER: _read_counter,
    CONSTANT: _read_constant,
}
