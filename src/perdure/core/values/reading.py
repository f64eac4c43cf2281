"""Stored bytes to values: instances of declared classes, and of no others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from perdure.core.values.builtin_types import READING
from perdure.core.values.classes import Members, Record, record_of
from perdure.core.values.extensions import (
    INSTANCE,
    MEMBER,
    Read,
    Unfit,
    items_of,
)


def decoder(find: Callable[[str], Record | None], known: Mapping[int, Read] = READING) -> Callable[[Any], Any]:
    """A decoder that makes instances of the classes that `find` gives for their names, and of no others.

    Args:
        find: how instances of the class of a name are made, if it may be.
        known: reads the other kinds, by their codes.
    """

    def hook(code: int, data: memoryview) -> Any:
        read = known.get(code)
        if read is not None:
            return read(data, decode)
        if code not in (INSTANCE, MEMBER):
            raise Unfit(f"the extension {code} is not known to this version of perdure")
        label, content, *more = items_of(data, decode)
        record = find(label) if type(label) is str else None
        if record is None:
            raise Unfit(f"it holds an instance of {label}, which the annotation does not name")
        if isinstance(record, Members) is not (code == MEMBER):
            raise Unfit(f"{label} was an enumeration and is none any more, or the other way round")
        if isinstance(record, Members):
            return record.member(content)
        rest = more[0] if more else {}
        if not are_fields(content) or not are_fields(rest):
            raise Unfit(f"the fields of {label} are damaged")
        if content.keys() != record.defaults.keys():
            record.refuse_renamed(content)
        return record.build(content, rest)

    decode = msgspec.msgpack.Decoder(ext_hook=hook).decode
    return decode


def are_fields(fields: Any) -> bool:
    """Can that be the fields of an instance, by name?"""
    return type(fields) is dict and all(type(name) is str for name in fields)


def admit_any(cls: type) -> tuple[str, Record] | None:
    """The name and the record of any class that can be stored."""
    record = record_of(cls)
    return None if record is None else (record.label, record)


def reason(error: BaseException) -> str:
    """Why bytes cannot be read, in a line."""
    return str(error) if isinstance(error, Unfit) else f"{type(error).__name__}: {error}"


def full_name(value: Any) -> str:
    """The name of the type of a value, with its module."""
    kind = type(value)
    return (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )


PLAIN_DECODE: Final = decoder(lambda label: None)
