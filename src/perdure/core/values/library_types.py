"""Kinds of values of the standard library and of well-known libraries, each learnt when the first of it is met.

So nothing is imported before it is used: the module of a value that is written is loaded anyway, and what a library's
codec is called is in the table here.
"""

from __future__ import annotations

import collections
import types
from collections.abc import Callable
from typing import Any, Final

import msgspec

from perdure.core.values import registry
from perdure.core.values.builtin_types import LOWERING, READING
from perdure.core.values.extensions import (
    ARRAY,
    CODEC,
    DEFAULT_DICT,
    FRACTION,
    IP,
    NAMESPACE,
    PATH,
    PATTERN,
    SLICE,
    ZONEINFO,
    Decode,
    Lower,
    Lowering,
    Refused,
    Unfit,
    encode,
    items_of,
    lower_each,
    lower_fields,
    lower_parts,
    pair_up,
    pairs_of,
)

Ext = msgspec.msgpack.Ext

_FACTORIES: Final[dict[str, Any]] = {
    "None": None,
    **{kind.__name__: kind for kind in (bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset)},
    "Counter": collections.Counter,
    "OrderedDict": collections.OrderedDict,
    "deque": collections.deque,
}
"""The default factories that a defaultdict may have: classes whose names always mean the same."""


# --- writing ---------------------------------------------------------------------------------------------------------


def lowering_of(kind: type) -> Lower | None:
    """How to lower a kind whose module may not have been imported when this one was."""
    learn = _LEARN.get(kind.__module__.partition(".")[0].lstrip("_"))
    if learn is not None:
        learn()
    return LOWERING.get(kind)


def _learn_fractions() -> None:
    import fractions

    LOWERING[fractions.Fraction] = lower_parts(FRACTION, lambda v: [v.numerator, v.denominator])


def _learn_pathlib() -> None:
    for path in _path_kinds().values():
        LOWERING[path] = lower_parts(PATH, lambda v: [type(v).__name__, str(v)])


def _learn_ipaddress() -> None:
    for kind in _ip_kinds().values():
        LOWERING[kind] = lambda w, v, d: Ext(IP, encode([type(v).__name__, str(v)]))


def _learn_re() -> None:
    import re

    LOWERING[re.Pattern] = lower_parts(PATTERN, lambda v: [v.pattern, v.flags])


def _learn_array() -> None:
    import array

    LOWERING[array.array] = lambda w, v, d: Ext(ARRAY, encode([v.typecode, w.lower(v.tolist(), d + 1)]))


def _learn_numpy() -> None:
    from perdure.core.values import numpy_types

    numpy_types.learn()


def _learn_pandas() -> None:
    from perdure.core.values import pandas_types

    _learn_numpy()
    pandas_types.learn()


def _learn_zones() -> None:
    from perdure.core.values import zone_types

    zone_types.learn()


def _learn_urls() -> None:
    from perdure.core.values import pydantic_types

    pydantic_types.learn()


_LEARN: Final[dict[str, Callable[[], None]]] = {
    "fractions": _learn_fractions,
    "zoneinfo": _learn_zones,
    "pathlib": _learn_pathlib,
    "ipaddress": _learn_ipaddress,
    "re": _learn_re,
    "array": _learn_array,
    "numpy": _learn_numpy,
    "pandas": _learn_pandas,
    "dateutil": _learn_zones,
    "pytz": _learn_zones,
    "pydantic": _learn_urls,
    "pydantic_core": _learn_urls,
}


def _lower_default_dict(w: Lowering, value: collections.defaultdict[Any, Any], depth: int) -> Any:
    factory = value.default_factory
    name = next((name for name, one in _FACTORIES.items() if one is factory), None)
    if name is None:
        hint = "use a factory such as int or list, or return dict(...) of it"
        raise Refused("has a default_factory that cannot be saved", value, hint)
    return Ext(DEFAULT_DICT, encode([name, *pair_up(w, value, depth, w.canonical)]))


def _lower_namespace(w: Lowering, value: types.SimpleNamespace, depth: int) -> Any:
    fields = vars(value)
    if w.inputs:
        fields = dict(sorted(fields.items()))
    return Ext(NAMESPACE, encode(lower_fields(w, fields, depth, ".{}")))


LOWERING[collections.defaultdict] = _lower_default_dict
LOWERING[types.SimpleNamespace] = _lower_namespace
LOWERING[slice] = lambda w, v, d: Ext(SLICE, encode(lower_each(w, [v.start, v.stop, v.step], d)))


# --- reading ---------------------------------------------------------------------------------------------------------


def _path_kinds() -> dict[str, type]:
    import pathlib

    kinds = (pathlib.PosixPath, pathlib.WindowsPath, pathlib.PurePosixPath, pathlib.PureWindowsPath)
    return {kind.__name__: kind for kind in kinds}


def _ip_kinds() -> dict[str, type]:
    import ipaddress

    kinds = (
        *(ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network, ipaddress.IPv6Network),
        *(ipaddress.IPv4Interface, ipaddress.IPv6Interface),
    )
    return {kind.__name__: kind for kind in kinds}


def _read_fraction(data: Any, decode: Decode) -> Any:
    import fractions

    numerator, denominator = items_of(data, decode)
    return fractions.Fraction(numerator, denominator)


def _read_zone(data: Any, decode: Decode) -> Any:
    from perdure.core.values import zone_types

    return zone_types.read_zone_info(data)


def _read_text(what: str, kinds: Callable[[], dict[str, type]]) -> Callable[[Any, Decode], Any]:
    def read(data: Any, decode: Decode) -> Any:
        kind, text = items_of(data, decode)
        if type(text) is not str:
            raise Unfit(f"{what} is not text")
        made: Any = kinds()[kind]
        return made(text)

    return read


def _read_pattern(data: Any, decode: Decode) -> Any:
    import re

    pattern, flags = items_of(data, decode)
    if type(pattern) not in (str, bytes) or type(flags) is not int:
        raise Unfit("a pattern is not text")
    return re.compile(pattern, flags & ~re.DEBUG)


def _read_array(data: Any, decode: Decode) -> Any:
    import array

    code, items = items_of(data, decode)
    return array.array(code, items)


def _read_default_dict(data: Any, decode: Decode) -> Any:
    name, *items = items_of(data, decode)
    return collections.defaultdict(_FACTORIES[name], pairs_of(items))


def _read_namespace(data: Any, decode: Decode) -> Any:
    fields = decode(data)
    if type(fields) is not dict:
        raise Unfit("the fields of a SimpleNamespace are damaged")
    return types.SimpleNamespace(**fields)


def _load(name: str) -> None:
    """Learn the codec of a library, if it is one of those in the table."""
    learn = (
        _LEARN.get(name.partition(".")[0])
        if name.startswith(("numpy.", "pandas.", "dateutil.", "pytz.", "pydantic."))
        else None
    )
    if learn is not None:
        try:
            learn()
        except ImportError as error:
            raise Unfit(f"it holds a {name}, and the library is not installed ({error})") from error


READING.update(
    {
        FRACTION: _read_fraction,
        ZONEINFO: _read_zone,
        PATH: _read_text("a path", _path_kinds),
        IP: _read_text("an address", _ip_kinds),
        PATTERN: _read_pattern,
        ARRAY: _read_array,
        DEFAULT_DICT: _read_default_dict,
        NAMESPACE: _read_namespace,
        SLICE: lambda data, decode: slice(*items_of(data, decode)),
        CODEC: lambda data, decode: registry.read(data, decode, _load),
    }
)
