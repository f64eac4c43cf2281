"""Changes what stands at a path of the recorded arguments of a call (`dlq edit --set PATH=JSON`), without its classes.

Packed bytes say by themselves what they hold (see `builtins`), so a leaf is changed where it stands: what was a
Decimal, a date or a member of an enumeration stays one, made of the JSON that was given; an instance stays one of
its class. `edited_arguments` judges whether the step takes the result, with its annotations and classes.
"""

from __future__ import annotations

import datetime
import decimal
import json
import re
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from perdure.core.redaction.names import HIDDEN, is_secret
from perdure.core.values import extensions
from perdure.core.values.codec import pack_call, to_builtins
from perdure.core.values.extensions import Ext, encode
from perdure.errors import OptionError

_decode: Final = msgspec.msgpack.Decoder().decode
_SEGMENT: Final = re.compile(r'\.?([^.\[\]"]+)|\[(\d+)\]|\["([^"]*)"\]')
_PAIRS: Final = (extensions.DICT, extensions.ORDERED_DICT, extensions.COUNTER)
_ITEMS: Final = (extensions.TUPLE, extensions.SET, extensions.FROZENSET)

Items = dict[str, Any] | list[Any]
Doubts = dict[tuple[str, ...], OptionError] | None


class Arguments:
    """The arguments of a call, to be changed.

    Args:
        data: what `pack_inputs` gave.
        names: the names of the step's parameters, in order, as far as they are known.
        judged: `edited_arguments.made_again` follows: what cannot be of the kind that stood there is put in as plain
            data, and `doubts` says why, for each place.
    """

    def __init__(self, data: bytes, names: Sequence[str] = (), *, judged: bool = False) -> None:
        self.doubts: dict[tuple[str, ...], OptionError] = {}
        self._doubts = self.doubts if judged else None
        whole = _decode(data)
        self._names = list(names)
        self._keyword: dict[str, Any] = {}
        if isinstance(whole, Ext):
            whole, self._keyword = _decode(whole.data)
        self._positional: list[Any] = whole

    def packed(self) -> bytes:
        """The bytes of the arguments as they are now."""
        if self._keyword:
            return encode(Ext(extensions.TUPLE, encode([self._positional, self._keyword])))
        return encode(self._positional)

    def as_json(self) -> dict[str, Any]:
        """Every argument by its name (or by its place, if it has none), as plain data."""
        return {name: _plain(node) for name, node in self._all().items()}

    def set(self, path: str, value: Any) -> None:
        """Change one place: `order.total`, `items[2].name`, `0.total`.

        Args:
            path: an argument's name or place, and the way from there.
            value: what JSON gave.

        Raises:
            OptionError: there is no such place, or it cannot hold that.
        """
        segments = ["".join(match) for match in _SEGMENT.findall(path)]
        if not segments or "".join(match.group() for match in _SEGMENT.finditer(path)) != path:
            raise OptionError(f"{path!r} names no place in the input", "write it like order.total or items[2].name")
        first, *rest = segments
        known = self._all()
        if first not in known and first.isdecimal() and int(first) < len(self._positional):
            first = list(known)[int(first)]  # by its place
        if first in known:
            self._put(first, _at(known[first], rest, value, first, self._doubts))
        elif not rest and first in self._names:
            self._keyword[first] = _generic(value)  # it had its default
        else:
            raise _no_place(path, first, [*known, *(name for name in self._names if name not in known)])

    def replace(self, arguments: dict[str, Any]) -> None:
        """Make the arguments what this JSON says, each place of the kind that it was of.

        Raises:
            OptionError: an argument is not there, or a place cannot hold what is said.
        """
        known = self._all()
        for name, value in arguments.items():
            if name in known:
                self._put(name, _refit(known[name], value, name, self._doubts))
            else:
                self.set(name, value)
        missing = [name for name in known if name not in arguments]
        if missing:
            raise OptionError(f"the input lacks {', '.join(missing)}", "give every argument; change its value")

    def put(self, name: str, value: Any) -> None:
        """Give an argument that is there another value."""
        self._put(name, _generic(value))

    def _all(self) -> dict[str, Any]:
        names = self._names[: len(self._positional)]
        names += [str(place) for place in range(len(names), len(self._positional))]
        return dict(zip(names, self._positional, strict=True)) | self._keyword

    def _put(self, name: str, node: Any) -> None:
        if name in self._keyword:
            self._keyword[name] = node
        else:
            self._positional[list(self._all()).index(name)] = node


# -- places -----------------------------------------------------------------------------------------------------------


def _at(node: Any, path: Sequence[str], value: Any, where: str, doubts: Doubts) -> Any:
    """The node with another value at the end of a path."""
    if not path:
        return _refit(node, value, where, doubts)
    opened = _open(node)
    if opened is None:
        raise OptionError(f"{where} has no parts; it is {_shown(node, where)}", f"set it as a whole: {where}=JSON")
    items, close = opened
    first, rest = path[0], path[1:]
    here = f"{where}.{first}"
    if isinstance(items, list):
        if not first.isdecimal() or int(first) >= len(items):
            raise _no_place(here, first, [str(place) for place in range(len(items))])
        items[int(first)] = _at(items[int(first)], rest, value, here, doubts)
    elif first in items:
        items[first] = _at(items[first], rest, value, here, doubts)
    elif not rest and not _is_instance(node):
        items[first] = _generic(value)
    else:
        raise _no_place(here, first, list(items))
    return close(items)


def _no_place(path: str, name: str, known: Sequence[str]) -> OptionError:
    some = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return OptionError(f"there is no {name!r} in the input ({path})", f"name what it has: {some or 'nothing'}")


def _open(node: Any) -> tuple[Items, Callable[[Any], Any]] | None:
    """The parts of a node, and what makes a node of them again; None if it has none."""
    if isinstance(node, list):
        return list(node), lambda items: items
    if isinstance(node, dict):
        keys = {str(key): key for key in node}
        return {str(key): item for key, item in node.items()}, lambda items: {
            keys.get(name, name): item for name, item in items.items()
        }
    if not isinstance(node, Ext):
        return None
    code, parts = (
        node.code,
        _decode(node.data) if node.code in (*_ITEMS, *_PAIRS, extensions.DEQUE, extensions.INSTANCE) else [],
    )
    if code in _ITEMS:
        return parts, lambda items: Ext(code, encode(items))
    if code == extensions.DEQUE:
        return parts[1:], lambda items: Ext(code, encode([parts[0], *items]))
    if code in _PAIRS:
        named = {_key(key): key for key in parts[::2]}
        return dict(zip(named, parts[1::2], strict=True)), lambda items: Ext(
            code, encode([part for name, item in items.items() for part in (named.get(name, name), item)])
        )
    if code == extensions.INSTANCE:
        label, fields, *more = parts
        rest = more[0] if more else {}
        shown = extensions.beside(fields, rest)

        def close(items: Items) -> Ext:
            assert isinstance(items, dict)
            kept = rest | {name: items[name] for name in shown}
            if "set" in kept and rest.keys() <= extensions.BESIDE_FIELDS:
                kept["set"] = _also_set(kept["set"], [name for name in fields if items[name] != fields[name]])
            return Ext(code, encode([label, {name: items[name] for name in fields}, *([kept] * len(more))]))

        return shown | fields, close
    return None


def _also_set(given: Any, changed: Sequence[str]) -> Any:
    """The names of the fields that were given, with those that are given now."""
    if not isinstance(given, Ext) or given.code != extensions.SET:
        return given
    names = _decode(given.data)
    return Ext(extensions.SET, encode([*names, *(name for name in changed if name not in names)]))


def _key(node: Any) -> str:
    """What a key of any kind is called in JSON."""
    (name,) = _plain(Ext(extensions.DICT, encode([node, None])))
    return str(name)


def _is_instance(node: Any) -> bool:
    return isinstance(node, Ext) and node.code == extensions.INSTANCE


def _plain(node: Any) -> Any:
    return to_builtins(encode(node))


def _generic(value: Any) -> Any:
    """What JSON gave, as it is packed."""
    return _decode(pack_call([value], {}, owner="the input")[0])[0]


def _shown(node: Any, where: str) -> str:
    text = _said(_plain(node), where)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _said(value: Any, where: str) -> str:
    """What stands at a place, in JSON; one whose name says that it is secret is not shown."""
    return HIDDEN if any(map(is_secret, re.split(r"[.\[\]]", where))) else json.dumps(value)


# -- values -----------------------------------------------------------------------------------------------------------


def _refit(node: Any, value: Any, where: str, doubts: Doubts) -> Any:
    """A node of the same kind that holds what JSON gave; or what it gave, and a doubt, if there can be none."""
    try:
        return _of_its_kind(node, value, where, doubts)
    except OptionError as error:
        if doubts is None or (isinstance(node, Ext) and node.code == extensions.SECRET):
            raise
        doubts[tuple(filter(None, re.split(r"[.\[\]]", where)))] = error
        return _generic(value)


def _of_its_kind(node: Any, value: Any, where: str, doubts: Doubts) -> Any:
    if json.dumps(_plain(node), sort_keys=True) == json.dumps(value, sort_keys=True):
        return node
    if value is None or node is None:
        return _generic(value)
    if isinstance(value, str) and (number := _number_like(node, value)) is not None:
        return _generic(number)
    opened = _open(node)
    if opened is not None:
        return _refit_parts(node, opened, value, where, doubts)
    if isinstance(node, Ext):
        return _refit_leaf(node, value, where)
    if type(node) is float and type(value) is int:
        return float(value)
    if isinstance(node, bytes):
        raise _refused(where, "bytes, which JSON cannot say", "let the step read them from a file")
    return _generic(value)


def _number_like(node: Any, text: str) -> int | float | None:
    """The number that a text says, in the place of one for which JSON has a text: of many digits, infinite, or none."""
    shown = _plain(node) if isinstance(node, int | float) or _is_big(node) else None
    if not isinstance(shown, str):
        return None
    try:
        return float(text) if isinstance(node, float) else int(text)
    except ValueError:
        return None


def _is_big(node: Any) -> bool:
    return isinstance(node, Ext) and node.code == extensions.BIG_INT


def _refit_parts(node: Any, opened: tuple[Items, Callable[[Any], Any]], value: Any, where: str, doubts: Doubts) -> Any:
    items, close = opened
    if isinstance(items, list) and isinstance(value, list):
        # What is added is modelled on the last one.
        models = [items[min(place, len(items) - 1)] if items else None for place in range(len(value))]
        return close(
            [
                _refit(model, one, f"{where}[{at}]", doubts)
                for at, (model, one) in enumerate(zip(models, value, strict=True))
            ]
        )
    if isinstance(items, dict) and isinstance(value, dict):
        unknown = [name for name in value if name not in items]
        if _is_instance(node):
            if unknown:
                raise _no_place(f"{where}.{unknown[0]}", unknown[0], list(items))
            value = {name: value.get(name, _KEPT) for name in items}
        return close(
            {
                name: items[name] if one is _KEPT else _refit(items.get(name), one, f"{where}.{name}", doubts)
                for name, one in value.items()
            }
        )
    if isinstance(node, Ext):
        form = "a list" if isinstance(items, list) else "an object"
        raise _refused(
            where, f"something else than {json.dumps(value)[:60]} can say", f"give {form}: {_shown(node, where)}"
        )
    return _generic(value)


_KEPT: Final = object()


def _refit_leaf(node: Ext, value: Any, where: str) -> Any:
    if node.code == extensions.STAND_IN:
        return _generic(value)
    if node.code == extensions.SECRET:
        raise _refused(where, "a secret, which is never stored", "let the step read it where it needs it")
    if node.code == extensions.MEMBER:
        label, _ = _decode(node.data)
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise _refused(where, f"a member of {label}", 'give its name: "NAME"')
        name = value.removeprefix(f"{label.rpartition('.')[2]}.") if isinstance(value, str) else value
        return Ext(extensions.MEMBER, encode([label, name]))
    if node.code == extensions.PATH and isinstance(value, str):
        return Ext(extensions.PATH, encode([_decode(node.data)[0], value]))
    make = _MAKING.get(node.code)
    if make is None:
        raise _refused(where, f"{_shown(node, where)}, of a kind that JSON cannot say", "set the argument as a whole")
    try:
        made = make(value)
    except (ValueError, TypeError, ArithmeticError, AttributeError) as error:
        raise _refused(
            where, f"{_shown(node, where)}, and not {_said(value, where)}", f"give a value of that kind ({error})"
        ) from None
    return _generic(made)


def _refused(where: str, what: str, hint: str) -> OptionError:
    return OptionError(f"{where} holds {what}", hint)


def _seconds(value: Any) -> datetime.timedelta:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("a number of seconds")
    return datetime.timedelta(seconds=value)


def _zone(value: Any) -> Any:
    import zoneinfo

    return zoneinfo.ZoneInfo(value)


def _fraction(value: Any) -> Any:
    import fractions

    return fractions.Fraction(str(value))


def _same(value: Any) -> Any:
    return value


_MAKING: Final[dict[int, Callable[[Any], Any]]] = {
    extensions.BIG_INT: _same,
    extensions.ODD_STR: _same,
    extensions.DATETIME: datetime.datetime.fromisoformat,
    extensions.DATE: datetime.date.fromisoformat,
    extensions.TIME: datetime.time.fromisoformat,
    extensions.TIMEDELTA: _seconds,
    extensions.ZONEINFO: _zone,
    extensions.DECIMAL: lambda value: decimal.Decimal(str(value)),
    extensions.FRACTION: _fraction,
    extensions.UUID: uuid.UUID,
}
"""What JSON gave, as a value of the kind with that code."""
