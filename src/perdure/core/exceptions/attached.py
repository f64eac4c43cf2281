"""The values that hang on an exception, its arguments and attributes: written, and read back.

Builtins come back as they were, and so do requests and responses of HTTP clients (`http_objects`). A member of an
enumeration comes back as that member, if this process has loaded the enumeration, and else as its value. An instance
comes back as one of its class where the annotations of the exception's own class name that, and else as a
`RecordedObject`. So data choose only among members of enumerations that are there, and among classes that the
exception's source names (docs/decisions/0003-exceptions-as-data.md).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from perdure import errors
from perdure.core.exceptions import http_objects, http_parts, http_responses, rebuild, recorded_objects
from perdure.core.exceptions.fault import VALUES
from perdure.core.exceptions.recorded_objects import RecordedObject, RecordedTuple
from perdure.core.values.annotations import Closed
from perdure.core.values.builtin_types import READING
from perdure.core.values.classes import Members, Record, Subclass, record_of
from perdure.core.values.extensions import INSTANCE, MEMBER, Ext, Unfit, beside, encode, items_of, lower_fields
from perdure.core.values.hints import hints_of, own_annotations, resolve
from perdure.core.values.reading import are_fields, reason
from perdure.core.values.writer import Writer

Hide = Callable[[str], str]

_MOST = 40
"""Attributes kept of an object whose class has no fields."""
LONGEST = 100_000
"""Bytes kept of such an object, and of any value for people."""
_DEEPEST = 20


class NotKept(Exception):
    """The value cannot be kept."""


class TooLong(NotKept):
    """It is too long."""


class _Member(msgspec.Struct, eq=False):
    """A member of an enumeration, as it is written: by its name; the value is for where there is no such member."""

    label: str
    name: str | int
    value: Any


class _Instance(msgspec.Struct, eq=False):
    """An instance of a class, as it is written; `rest` is what it carries beside its fields."""

    label: str
    fields: dict[str, Any]
    rest: dict[str, Any]
    named_tuple: bool = False


def pack(value: Any, hide: Hide, name: str = "", *, objects: bool = False, longest: int = LONGEST) -> bytes:
    """The bytes of a value, without the credentials in it.

    Args:
        value: what is to be kept.
        hide: takes the credentials out of a text.
        name: of the value; the text under a name such as "password" is hidden whatever it is.
        objects: of an object that is no data, keep the attributes that are.
        longest: bytes that are kept.

    Raises:
        TooLong: it has more bytes.
        Exception: of whatever kind: it cannot be kept.
    """
    try:
        return pack_builtins(value, hide, name, longest)
    except errors.NotStorable:
        kept = _kept(value, hide, name, 0, objects)
        data = _write(kept)
    of_http = type(kept) is _Instance and http_objects.is_label(kept.label)
    if len(data) > (max(http_objects.LONGEST, longest) if of_http else longest):
        raise TooLong
    return data


def pack_builtins(value: Any, hide: Hide, name: str = "", longest: int = LONGEST) -> bytes:
    """The same for builtins alone."""
    from perdure.core.redaction.nested import redact_nested

    data = VALUES.pack(value)
    if type(value) is not str and len(data) > longest:  # a text is shortened by `hide`
        raise TooLong  # looking through all of it for credentials would take too long
    safe = redact_nested(value, hide, name)
    return data if safe is value else VALUES.pack(safe)


def _kept(value: Any, hide: Hide, name: str, depth: int, objects: bool, within: int = 0) -> Any:
    """The value with stand-ins for what is no builtin, and without credentials; `within` as for `redact_nested`."""
    from perdure.core.redaction.nested import redact_nested, within_of

    if depth > _DEEPEST:
        raise NotKept
    kind: Any = type(value)
    inner = within_of(name, within)
    if kind is dict:
        return {
            _kept(key, hide, "", depth + 1, objects): _kept(
                each, hide, key if type(key) is str else "", depth + 1, objects, inner
            )
            for key, each in value.items()
        }
    if kind in (list, tuple, set, frozenset):
        return kind([_kept(each, hide, "", depth + 1, objects, inner) for each in value])
    if kind is RecordedTuple:
        fields = dict(zip(value._perdure_names, value, strict=True))
        return _Instance(f":{value._perdure_kind}", _fields(fields, hide, depth, objects, inner), {}, named_tuple=True)
    if (answer := _of_http(value, hide, answers=objects and depth == 0)) is not None:
        return _Instance(answer[0], _fields(answer[1], hide, depth, objects=False, within=inner), {})
    record = record_of(kind)
    if isinstance(record, Members):
        return _Member(_label(kind), record.name_of(value), _value_of(value, hide))
    if isinstance(record, Subclass):
        return _kept(record.take(value)[0]["value"], hide, name, depth + 1, objects, within)
    if record is not None:
        fields, rest = (_fields(each, hide, depth, objects, inner) for each in record.take(value))
        return _Instance(_label(kind), fields, rest, named_tuple=isinstance(value, tuple))
    safe = redact_nested(value, hide, name, within=within)
    try:
        VALUES.pack(safe)
    except errors.NotStorable:
        if not objects:
            raise
        return _object(value, hide, depth, inner)
    return safe


def _of_http(value: Any, hide: Hide, answers: bool) -> tuple[str, dict[str, Any]] | None:
    """The label and the parts of an object of an HTTP client; with `answers`, of what looks like a response, too."""
    label = http_objects.label_of(type(value))
    if label is not None:
        try:
            return label, http_objects.taken(label, value, hide)
        except Exception:  # noqa: BLE001  of a version that has other parts, or it is not of HTTP
            return None
    content = http_responses.content_of(value) if answers else None
    return None if content is None else (http_parts.RECORDED, content)


def _fields(fields: dict[str, Any], hide: Hide, depth: int, objects: bool, within: int) -> dict[str, Any]:
    return {name: _kept(item, hide, name, depth + 1, objects, within) for name, item in fields.items()}


def _value_of(member: enum.Enum, hide: Hide) -> Any:
    try:
        return _kept(member._value_, hide, "", _DEEPEST, objects=False)
    except Exception:  # noqa: BLE001  whatever it is, it is no data
        return None


def _object(value: Any, hide: Hide, depth: int, within: int) -> _Instance:
    """An object of a class without fields: the attributes that can be kept."""
    kept: dict[str, Any] = {}
    room = LONGEST
    known = value._perdure_kind if type(value) is RecordedObject else None
    for name, item in recorded_objects.attributes(value):
        if len(kept) >= _MOST:
            break
        if known is not None and name == "_perdure_kind":
            continue
        try:
            one = _kept(item, hide, name, depth + 1, objects=False, within=within)
            size = len(_write(one))
        except Exception:  # noqa: BLE001, S112  whatever the reason, it cannot be kept
            continue
        if size <= room:
            kept[name] = one
            room -= size
    if not kept:
        raise NotKept
    return _Instance(_label(type(value)) if known is None else f":{known}", kept, {})


def _label(cls: type) -> str:
    return ":".join(rebuild.label(cls))


class _Writer(Writer):
    __slots__ = ()

    def lower(self, value: Any, depth: int) -> Any:
        if type(value) is _Member:
            return Ext(MEMBER, encode([value.label, value.name, self.lower(value.value, depth + 1)]))
        if type(value) is _Instance:
            fields, rest = (lower_fields(self, each, depth, ".{}") for each in (value.fields, value.rest))
            return Ext(INSTANCE, encode([value.label, fields, rest, value.named_tuple]))
        return super().lower(value, depth)


def _write(kept: Any) -> bytes:
    return _Writer(lambda cls: None).write(kept)


class Reader:
    """Reads the values of one exception.

    Args:
        classes: of the exception, as far as they are loaded: their annotations name classes of attributes.
        main: as in `capture.restore`.
    """

    def __init__(self, classes: Sequence[type], main: str) -> None:
        self._classes = classes
        self._main = main
        self._named: Closed | None = None
        self._decode = msgspec.msgpack.Decoder(ext_hook=self._hook).decode

    def unpack(self, data: bytes) -> Any:
        """The value that `pack` wrote.

        Raises:
            errors.NotDecodable: the bytes are damaged.
        """
        try:
            return self._decode(data)
        except MemoryError:
            raise
        except Exception as failed:
            raise errors.NotDecodable(
                f"a saved exception cannot be read back ({reason(failed)})",
                "check the state file with `perdure doctor`: it holds damaged data",
            ) from failed

    def _hook(self, code: int, data: memoryview) -> Any:
        read = READING.get(code)
        if read is not None:
            return read(data, self._decode)
        label, content, third, *more = items_of(data, self._decode)
        if type(label) is str and code == MEMBER:
            return self._member(label, content, third)
        if type(label) is str and code == INSTANCE and are_fields(content) and are_fields(third):
            return self._instance(label, content, third, more == [True])
        raise Unfit("what hung on the exception is damaged")

    def _member(self, label: str, name: Any, value: Any) -> Any:
        for cls in reversed(list(_enumerations())):  # of several, the newest counts
            if rebuild.is_labelled(cls, _parted(label), self._main):
                try:
                    return Members(cls).member(name)
                except Unfit:  # there is no such member any more
                    break
        return RecordedObject({"name": name}, _parted(label)[1]) if value is None else value

    def _instance(self, label: str, fields: dict[str, Any], rest: dict[str, Any], named_tuple: bool) -> Any:
        if http_objects.is_label(label):
            return http_objects.made(label, fields)
        record = self._record(label)
        if record is not None:
            try:
                record.refuse_renamed(fields)
                return record.build(fields, rest)
            except Exception:  # noqa: BLE001, S110  its class has changed: what it had is worth more than its class
                pass
        kind = _parted(label)[1].rpartition(".")[2]
        return RecordedTuple(fields, kind) if named_tuple else RecordedObject(beside(fields, rest) | fields, kind)

    def _record(self, label: str) -> Record | None:
        """The class of that label, if the annotations of the exception's classes name it."""
        if self._named is None:
            self._named = Closed(*_annotations(self._classes))
        found = (each for each in self._named.records.values() if not isinstance(each, Members | Subclass))
        return next((each for each in found if rebuild.is_labelled(each.cls, _parted(label), self._main)), None)


def _annotations(classes: Sequence[type]) -> Iterator[Any]:
    for cls in dict.fromkeys(base for each in classes for base in each.__mro__ if base.__module__ != "builtins"):
        yield from (resolve(each, cls) for each in own_annotations(cls).values())
        for method in ("__init__", "__new__"):
            if callable(vars(cls).get(method)):
                yield from hints_of(vars(cls)[method]).values()


def _enumerations() -> Iterator[type[enum.Enum]]:
    """Every enumeration that is loaded, the older before the newer."""
    todo: list[type[enum.Enum]] = [enum.Enum]
    for cls in todo:
        yield cls
        todo += type.__subclasses__(cls)


def _parted(label: str) -> rebuild.Label:
    module, _, name = label.partition(":")
    return module, name
