"""What can be read of an exception that lies in its classes: their attributes, properties, and what a few methods give.

`except Exception as error: if getattr(error, "sqlstate", None) == "23505": ...` has to take the same branch in a later
life. Where that life has not imported the library, there is no class to read it from, so it is kept with the exception
(docs/decisions/0114-what-lies-in-the-classes-of-an-exception.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from types import FunctionType
from typing import Any, Final

import msgspec

from perdure.core.exceptions import rebuild
from perdure.core.exceptions.recorded_objects import NotRecorded, RecordedObject, attributes
from perdure.core.values.classes import record_of

_CALLED: Final = {
    ("grpc", "Call"): ("code", "details", "initial_metadata", "trailing_metadata"),
    ("grpc.aio._call", "AioRpcError"): ("code", "details"),
    ("pydantic_core._pydantic_core", "ValidationError"): ("errors", "error_count"),
}
"""Methods without arguments by which a handler reads what an error is, of the classes that have no attribute for it."""
_HOOKS: Final = frozenset({"add_note", "with_traceback", "split", "subgroup", "derive"})
"""Methods of Python's own classes, which Python calls."""


class Contents(msgspec.Struct):
    """What was read, by name: attributes of classes, properties, and what methods gave."""

    attributes: dict[str, Any]
    properties: dict[str, Any]
    answers: dict[str, Any]


class Answer:
    """Stands in for a method whose answer was kept."""

    def __init__(self, name: str, value: Any) -> None:
        self._name = name
        self.value = value

    def __get__(self, holder: Any, owner: Any = None) -> Any:
        return self if holder is None else self._called

    def _called(self, *args: Any, **options: Any) -> Any:
        if args or options:
            raise NotRecorded(f"of {self._name}() its answer is kept, and it takes no arguments", name=self._name)
        return self.value


def read(exc: Exception, held: Mapping[str, Any]) -> Contents:
    """What of `exc` lies in its classes.

    Properties are read, as a handler reads them; one that fails gives nothing.

    Args:
        exc: the exception.
        held: what its instance holds.
    """
    found = Contents({}, {}, {})
    modules = {rebuild.label(each)[0] for each in rebuild.own_classes(type(exc))}
    for name, member, made in _members(type(exc)):
        if isinstance(member, Answer):
            found.answers[name] = member.value
        elif isinstance(member, property | cached_property):
            for value in _tried(_getter(member, exc)):
                found.properties[name] = _opened(value, modules)
        elif name not in held and not (hasattr(type(member), "__get__") or callable(member)):
            (found.properties if made else found.attributes)[name] = member
    for name in _called(type(exc)):
        for value in _tried(getattr(exc, name, None)):
            found.answers[name] = value
    return found


def is_name(name: str) -> bool:
    """Whether what is kept under that name may stand in a class."""
    return name.isidentifier() and not name.startswith("_") and name not in _HOOKS


def _members(cls: type) -> Iterator[tuple[str, Any, bool]]:
    """What the classes of an exception define, but for Python's own; whether the class was made for this exception."""
    found: dict[str, tuple[Any, bool]] = {}
    for each in rebuild.own_classes(cls):
        made = rebuild.Restored in each.__bases__
        found |= {name: (member, made) for name, member in vars(each).items() if type(name) is str and is_name(name)}
    return ((name, *each) for name, each in found.items())


def _getter(member: Any, exc: Exception) -> Callable[[], Any]:
    if isinstance(member, cached_property):
        return partial(member.func, exc)  # read, and not kept on the exception
    getter = member.fget
    if type(getter) is FunctionType and "warnings" in getter.__code__.co_names:
        # A deprecated one: nobody is to be warned of what perdure reads.
        quiet = {**getter.__globals__, "warnings": _Quiet}
        getter = FunctionType(getter.__code__, quiet, getter.__name__, getter.__defaults__, getter.__closure__)
    return partial(getter, exc) if type(getter) is FunctionType else partial(member.__get__, exc, type(exc))


class _Quiet:
    """Stands in for the module `warnings`."""

    @staticmethod
    def warn(*args: Any, **options: Any) -> None:
        """Does nothing."""


def _tried(read: Callable[[], Any] | None) -> Iterator[Any]:
    """What it gives, or nothing if it fails."""
    try:
        if read is not None:
            yield read()
    except Exception:  # noqa: BLE001, S110  whatever the reason, a handler cannot read it either
        pass


def _opened(value: Any, modules: set[str]) -> Any:
    """The value; of an object that the library has for its errors alone, what can be read of it."""
    kind: Any = type(value)
    if not _are_near(rebuild.label(kind)[0], modules) or record_of(kind) is not None:
        return value
    content = dict(attributes(value))
    for each in rebuild.own_classes(type(value)):
        for name, member in vars(each).items():
            if isinstance(member, property) and is_name(name):
                for one in _tried(partial(member.__get__, value, type(value))):
                    content[name] = one
    return RecordedObject(content, rebuild.label(type(value))[1])


def _are_near(module: str, modules: set[str]) -> bool:
    """Is it one of the modules, or below one, or above? A library shows its errors under another module's name."""
    return any(f"{one}.".startswith(f"{module}.") or f"{module}.".startswith(f"{one}.") for one in modules)


def _called(cls: type) -> Iterator[str]:
    for each in cls.__mro__:
        yield from _CALLED.get(rebuild.label(each), ())
