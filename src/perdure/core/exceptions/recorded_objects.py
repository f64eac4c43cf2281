"""What is kept of an object that hangs on an exception and is no data: the attributes of it that are.

Handlers decide by them: `exc.diag.constraint_name`, `exc.meta.status`, `exc.details.code`.
"""

from __future__ import annotations

import enum
import reprlib
from collections.abc import Callable, Iterator, Mapping
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any

_MOST = 40
_LONGEST = 100_000

Pack = Callable[[str, Any], "bytes | None"]


class RecordedObject:
    """Stands in for an object on an exception that was read back: it has the plain attributes that the object had."""

    def __init__(self, content: Mapping[str, Any], kind: str) -> None:
        self.__dict__.update(content)
        self.__dict__["_perdure_kind"] = kind

    def __repr__(self) -> str:
        kept = {name: value for name, value in vars(self).items() if name != "_perdure_kind"}
        return f"<recorded {self._perdure_kind} {reprlib.repr(kept)}>"

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"the {self.__dict__.get('_perdure_kind')} was read back from the saved run without {name!r}"
        )


def content_of(value: Any, pack: Pack) -> dict[str, Any] | None:
    """What is kept of an object: its kind, and its attributes, each packed; None if it has none that can be kept.

    Args:
        value: the object.
        pack: gives the bytes of an attribute, without credentials, or None if it cannot be stored.
    """
    kept: dict[str, bytes] = {}
    room = _LONGEST
    for name, item in _attributes(value):
        data = pack(name, _number_of(item))
        if data is not None and len(data) <= room:
            kept[name] = data
            room -= len(data)
        if len(kept) >= _MOST:
            break
    return {"kind": str(type(value).__name__), "attributes": kept} if kept else None


def restore(content: Mapping[str, Any], unpack: Callable[[bytes], Any]) -> RecordedObject:
    """The stand-in for an object."""
    kept = content.get("attributes")
    pairs = kept.items() if type(kept) is dict else ()
    attributes = {name: unpack(data) for name, data in pairs if type(name) is str and type(data) is bytes}
    return RecordedObject(attributes, str(content.get("kind", "object")))


def _number_of(item: Any) -> Any:
    return item.value if isinstance(item, enum.Enum) else item


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    """The attributes, read without running a property that is written in Python."""
    try:
        contents = object.__getattribute__(value, "__dict__")
    except AttributeError:
        contents = None
    if type(contents) is dict:
        yield from ((name, item) for name, item in contents.items() if type(name) is str)
    fields: Any = getattr(type(value), "_fields", None)
    if isinstance(value, tuple) and type(fields) is tuple:
        yield from zip(fields, tuple.__iter__(value), strict=False)
    for base in type(value).__mro__:
        for name, member in vars(base).items():
            if isinstance(member, GetSetDescriptorType | MemberDescriptorType) and not name.startswith("__"):
                try:
                    yield name, member.__get__(value)
                except Exception:  # noqa: BLE001, S112  a slot that is not filled, or a field that cannot be read now
                    continue
