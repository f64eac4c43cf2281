"""What stands in for an object that hung on an exception, once the exception is read back.

Handlers decide by such objects: `exc.diag.constraint_name`, `exc.meta.status`, `exc.info == Info(1)`.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterator, Mapping
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any

from perdure.core.values.classes import record_of


class NotRecorded(AttributeError):
    """What stands in for an object lacks an attribute that the object may have had."""


class RecordedObject:
    """Stands in for an object on an exception that was read back: it has the plain attributes that the object had.

    It is equal to whatever has them too: another one, or an instance of a class of that name that compares by fields.
    """

    __perdure_stand_in__ = True

    def __init__(self, content: Mapping[str, Any], kind: str) -> None:
        self.__dict__.update(content)
        self.__dict__["_perdure_kind"] = kind

    def __eq__(self, other: object) -> bool:
        if isinstance(other, RecordedObject):
            return vars(self) == vars(other)
        kind: Any = type(other)
        if kind.__name__ != self._perdure_kind or kind.__eq__ is object.__eq__ or (record := record_of(kind)) is None:
            return NotImplemented
        return _content(self) == record.take(other)[0]

    def __hash__(self) -> int:
        return hash(tuple(_content(self).values()))  # as a frozen dataclass has it

    def __repr__(self) -> str:
        return f"<recorded {self._perdure_kind} {reprlib.repr(_content(self))}>"

    def __getattr__(self, name: str) -> Any:
        raise _lost(self.__dict__.get("_perdure_kind"), name)


class RecordedTuple(tuple[Any, ...]):
    """The same for a named tuple: a tuple whose items have names."""

    __perdure_stand_in__ = True
    _perdure_names: tuple[str, ...]
    _perdure_kind: str

    def __new__(cls, content: Mapping[str, Any], kind: str) -> RecordedTuple:
        """A tuple of the values of `content`."""
        made = super().__new__(cls, content.values())
        made._perdure_names = tuple(content)
        made._perdure_kind = kind
        return made

    def __repr__(self) -> str:
        return f"<recorded {self._perdure_kind} {tuple.__repr__(self)}>"

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_perdure_") and name in self._perdure_names:
            return self[self._perdure_names.index(name)]
        raise _lost(self.__dict__.get("_perdure_kind"), name)


def _content(value: RecordedObject) -> dict[str, Any]:
    return {name: item for name, item in vars(value).items() if name != "_perdure_kind"}


def _lost(kind: Any, name: str) -> NotRecorded:
    return NotRecorded(f"the {kind} was read back from a record without {name!r}", name=name)


def restore(content: Mapping[str, Any], unpack: Callable[[bytes], Any]) -> RecordedObject:
    """The stand-in for an object that was kept before instances were kept as values (state files up to 0.1)."""
    kept = content.get("attributes")
    pairs = kept.items() if type(kept) is dict else ()
    attributes = {name: unpack(data) for name, data in pairs if type(name) is str and type(data) is bytes}
    return RecordedObject(attributes, str(content.get("kind", "object")))


def attributes(value: Any) -> Iterator[tuple[str, Any]]:
    """The attributes of any object, read without running a property that is written in Python."""
    try:
        contents = object.__getattribute__(value, "__dict__")
    except AttributeError:
        contents = None
    if type(contents) is dict:
        yield from ((name, item) for name, item in contents.items() if type(name) is str)
    for base in type(value).__mro__:
        for name, member in vars(base).items():
            if isinstance(member, GetSetDescriptorType | MemberDescriptorType) and not name.startswith("__"):
                try:
                    yield name, member.__get__(value)
                except Exception:  # noqa: BLE001, S112  a slot that is not filled, or a field that cannot be read now
                    continue
