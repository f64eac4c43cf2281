"""Stored bytes as text and as JSON, for listings and errors: needs no classes, and no bytes can make it fail."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from perdure.core.patterns import later
from perdure.core.redaction.secret import SHOWN
from perdure.core.values.builtin_types import READING, stand_in_of
from perdure.core.values.extensions import (
    APART,
    CODEC,
    DIGESTED,
    INSTANCE,
    MEMBER,
    SECRET,
    STAND_IN,
    UNLIKE,
    Unfit,
    beside,
    items_of,
)

# Printing an int takes quadratic time, and Python refuses beyond 4,300 digits.
_LONG_INT = 1 << 400
_JSON_INT = 1 << 53


TRANSLATED = bytes((0xC7, 0xC8, 0xC9, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8))
"""How an extension begins in MessagePack: what is shown of one may hold words that the bytes do not."""

_SHORTEST = 3
_SAID = "True False None nan inf <unreadable bytes>"
"""The words that are shown of values without extensions, and that no bytes hold."""
_WORDS = later(r"[A-Za-z]+")
_PARTS = later(r"\w+")
_ESCAPED = later(r"(?:^|\\)(?:[ntr]|[xuU]?[0-9a-fA-F]{0,8})")

LONGEST = 100_000
"""Characters of a text that are compared."""

AROUND = 40
"""Characters that are shown of what is the same, before the first difference."""


class _Shown:
    """An instance or an enumeration's member whose class is not needed to show it."""

    __slots__ = ("fields", "label")

    def __init__(self, label: str, fields: dict[Any, Any] | None) -> None:
        self.label = label
        self.fields = fields

    def __repr__(self) -> str:
        return _text(self)


class _LongInt(int):
    """One that takes long to print."""

    def __repr__(self) -> str:
        return f"<int of {self.bit_length()} bits>"


def describe(data: bytes, limit: int = 200) -> str:
    """What `data` holds, for a person, in at most `limit` characters: "Order(id=7, total=Decimal('3.10'))".

    Never raises: damaged bytes are described as such.
    """
    return _guarded(data, limit, _show)


def describe_inputs(data: bytes, limit: int = 200) -> str:
    """The arguments that `data` holds, as in a call: "(7, 'eur', note=None)"."""

    def call(out: _Text, whole: Any) -> None:
        if type(whole) is _Shown:  # no more than a text of them is kept
            out.add(whole.label)
            return
        positional, keyword = whole if type(whole) is tuple and len(whole) == 2 else (whole, {})
        out.add("(")
        for index, item in enumerate(positional):
            out.add(", " if index else "")
            _show(out, item)
        for index, (name, item) in enumerate(keyword.items()):
            out.add(f"{', ' if index or positional else ''}{_name(name)}=")
            _show(out, item)
        out.add(")")

    return _guarded(data, limit, call)


def word_of(text: str) -> str | None:
    """A word that bytes hold, or have one of `TRANSLATED`, if `text` is in what `describe` says of them.

    None if there is no such word: what is shown may then come of other bytes.
    """
    # What may belong to an escape is left out, also one that begins before the text.
    words = _WORDS.findall(_ESCAPED.sub(" ", text))
    word: str = max(words, key=len, default="")
    return word if len(word) >= _SHORTEST and word not in _SAID else None


def part_of(text: str) -> str:
    """The most letters and digits that stand together in `text`: what has it in it has them too."""
    part: str = max(_PARTS.findall(text), key=len, default="")
    return part


def may_show(part: str, packed: Sequence[bytes]) -> Iterable[int]:
    """The places of those of many packed inputs or values of which a description may have `part` in it.

    They are decoded and printed in one go, which differs from a description by no letter and no digit.
    """
    try:
        values = _decode(b"\xdd" + len(packed).to_bytes(4, "big") + b"".join(packed))
        if part not in repr(values):
            return ()
        return [place for place, value in enumerate(values) if part in repr(value)]
    except Exception:  # noqa: BLE001 - one of them cannot be shown
        return range(len(packed))


def describe_inputs_against(data: bytes, other: bytes) -> str:
    """The arguments that `data` holds; if they are long, those of `other` lead to the part that is shown.

    What both begin with is left out as far as it takes to show the first difference: "(...'id': 7, 'note': 'x')".
    """
    limit = 200
    whole = describe_inputs(data, limit)
    if len(whole) < limit and not whole.endswith("..."):
        return whole
    mine, theirs = describe_inputs(data, LONGEST), describe_inputs(other, LONGEST)
    same = next((at for at, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), 0)
    if same < limit - 3 - AROUND:
        return whole
    first = same - AROUND
    last = first + limit - len("(......")
    return f"(...{mine[first:last]}" + ("..." if last < len(mine) else "")


def to_builtins(data: bytes) -> Any:
    """What `data` holds as a tree that JSON can write. Not reversible: for output only.

    Never raises: damaged bytes give {"unreadable": number of bytes}.
    """
    try:
        return _plain(_decode(data))
    except Exception:  # noqa: BLE001 - a listing shows what it can
        return {"unreadable": len(data)}


def _guarded(data: bytes, limit: int, show: Callable[[_Text, Any], None]) -> str:
    out = _Text(limit)
    try:
        show(out, _decode(data))
    except _Full:
        return out.cut()
    except Exception:  # noqa: BLE001 - a listing shows what it can
        return f"<unreadable: {len(data)} bytes>"[:limit]
    return out.text()


def _hook(code: int, data: memoryview) -> Any:
    if code == STAND_IN:
        return _Shown(f"<{_name(stand_in_of(data).text)}>", None)
    if code == SECRET:
        return _Shown(SHOWN, None)
    if code == APART:
        return _Shown("<a large value>", None)
    if code == DIGESTED:
        return _Shown(str(items_of(data, _decode)[0]), None)
    if code == UNLIKE:
        return items_of(data, _decode)[1]
    read = READING.get(code)
    if read is not None and code != CODEC:
        value = read(data, _decode)
        return _LongInt(value) if type(value) is int and abs(value) >= _LONG_INT else value
    label, content, *more = items_of(data, _decode)
    if code == MEMBER:
        return _Shown(f"{_short(label)}.{content}" if type(content) is str else f"{_short(label)}({content!r})", None)
    if code == CODEC:
        return _Shown(_name(label), {"": content})
    if code != INSTANCE or type(content) is not dict:
        raise Unfit("not known")
    return _Shown(_short(label), content | beside(content, more[0] if more else {}))


_decode = msgspec.msgpack.Decoder(ext_hook=_hook).decode


def _short(label: Any) -> str:
    return _name(label).rpartition("<locals>.")[2]


def _name(name: Any) -> str:
    """A name that may be shown bare: what a terminal would act on, or cannot show, is escaped."""
    text = str(name)
    return text if text.isprintable() else repr(text)


class _Full(Exception):
    pass


class _Text:
    """Text that grows up to a limit, so that describing a large value costs no more than what is shown of it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.parts: list[str] = []
        self.length = 0

    def add(self, part: str) -> None:
        self.parts.append(part)
        self.length += len(part)
        if self.length > self.limit:
            raise _Full

    def text(self) -> str:
        return "".join(self.parts)

    def cut(self) -> str:
        return self.text()[: max(self.limit - 3, 0)] + "..."[: self.limit]


def _show(out: _Text, value: Any) -> None:
    kind = type(value)
    if kind is _Shown:
        out.add(value.label)
        if value.fields is not None:
            _show_all(out, "(", value.fields.items(), ")", _show_field)
    elif kind is dict:
        _show_all(out, "{", value.items(), "}", _show_item)
    elif kind is list:
        _show_all(out, "[", value, "]", _show)
    elif kind is tuple:
        _show_all(out, "(", value, ",)" if len(value) == 1 else ")", _show)
    elif kind in (set, frozenset):
        opening, closing = ("{", "}") if kind is set and value else (f"{kind.__name__}(", ")")
        _show_all(out, opening, value, closing, _show)
    elif kind in (str, bytes, bytearray) and len(value) > out.limit:
        out.add(repr(value[: out.limit]))
    elif kind.__module__ == "datetime":
        out.add(repr(value).removeprefix("datetime."))
    else:
        out.add(repr(value))


def _show_all(out: _Text, opening: str, items: Iterable[Any], closing: str, show: Callable[[_Text, Any], None]) -> None:
    out.add(opening)
    for index, item in enumerate(items):
        if index:
            out.add(", ")
        show(out, item)
    out.add(closing)


def _show_field(out: _Text, pair: tuple[Any, Any]) -> None:
    if pair[0]:
        out.add(f"{_name(pair[0])}=")
    _show(out, pair[1])


def _show_item(out: _Text, pair: tuple[Any, Any]) -> None:
    _show(out, pair[0])
    out.add(": ")
    _show(out, pair[1])


def _plain(value: Any) -> Any:
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        return _writable(value)
    if kind is int:
        return value if -_JSON_INT <= value <= _JSON_INT else _text(value)
    if kind is float:
        return value if math.isfinite(value) else repr(value)
    if kind is _Shown:
        return value.label if value.fields is None else {_writable(str(k)): _plain(v) for k, v in value.fields.items()}
    if isinstance(value, dict):
        return {_writable(k) if type(k) is str else _text(k): _plain(v) for k, v in value.items()}
    if kind in (list, tuple, set, frozenset) or kind.__name__ == "deque":
        return [_plain(item) for item in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if kind.__name__ in ("Decimal", "UUID", "Fraction") or hasattr(value, "__fspath__"):
        return _writable(str(value))
    return _text(value)


def _writable(text: str) -> str:
    """Text without lone surrogates, which JSON cannot carry."""
    return text.encode("utf-8", "replace").decode()


def _text(value: Any) -> str:
    out = _Text(10_000)
    try:
        _show(out, value)
    except _Full:
        return out.cut()
    return out.text()
