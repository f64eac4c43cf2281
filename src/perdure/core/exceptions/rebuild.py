"""Exceptions taken apart and put together again, past whatever code their classes bring along.

Classes are found only among the exception classes that this process has loaded (`loaded`), and instances are made by
the `__new__` of the Python class below them (`build`): no constructor, property or metaclass of the user's runs.
"""

from __future__ import annotations

import builtins
import sys
import weakref
from collections.abc import Iterator
from itertools import islice
from types import BuiltinFunctionType, GetSetDescriptorType, MemberDescriptorType
from typing import Any, ClassVar, cast

import msgspec

from perdure.core.exceptions.recorded_objects import NotRecorded
from perdure.core.module_aliases import MAIN, known_as, scripts

Label = tuple[str, str]
"""Module and qualified name of a class: something to compare with, never to look up."""

FAILURES = "__perdure_failures__"
"""Where an exception in this process says which failures of steps it is (core/execution/failures.py)."""
_NOT_ITS_OWN = frozenset(("__notes__", FAILURES))

_BUILTIN = frozenset(
    each for each in vars(builtins).values() if isinstance(each, type) and issubclass(each, BaseException)
)
# What Python's own classes keep outside `args` and `__dict__`. AttributeError.obj is left out: it may be any object.
_SLOTS: dict[type[BaseException], tuple[str, ...]] = {
    SystemExit: ("code",),
    OSError: ("errno", "strerror", "filename", "filename2"),
    ImportError: ("msg", "name", "path"),
    NameError: ("name",),
    AttributeError: ("name",),
    StopIteration: ("value",),
    SyntaxError: ("msg", "filename", "lineno", "offset", "text", "end_lineno", "end_offset"),
}
_SUBJECTS: dict[type[Exception], type] = {UnicodeDecodeError: bytes, UnicodeEncodeError: str}


class Parts(msgspec.Struct):
    """What an exception consists of, as plain values."""

    message: str
    args: tuple[Any, ...]
    attributes: dict[str, Any]
    slots: dict[str, Any]
    members: list[Exception]
    notes: list[str]
    of_classes: dict[str, Any] = {}
    """What a class that is made for this exception holds, of what lay in its own."""


class Restored:
    """First base of a class made for one restored exception, which its own class cannot represent alone."""

    _perdure_message: ClassVar[str | None]
    _perdure_lost: ClassVar[tuple[str, ...]]
    _perdure_absent: ClassVar[bool]

    def __init_subclass__(cls) -> None:
        """Does nothing, and so keeps the __init_subclass__ of the exception's own class from running."""

    def __str__(self) -> str:
        message = type(self)._perdure_message
        return super().__str__() if message is None else message

    def __getattr__(self, name: str) -> Any:
        lost, label = type(self)._perdure_lost, type(self).__name__
        if name in lost:
            raise NotRecorded(
                f"{name!r} of this {label} is not available: it held a value that could not be stored, or of "
                "more than 1,000,000 characters, and the exception is as its record gives it. Keep what you need of it "
                "in a short attribute of a plain type.",
                name=name,
                obj=self,
            )
        inherited = getattr(super(), "__getattr__", None)
        if inherited is not None:
            try:
                return inherited(name)
            except Exception as failed:
                # Written for an object that has all of its attributes; what it stumbles over is one that was lost.
                if not lost:
                    raise
                raise self._absent(label, name, lost) from failed
        raise self._absent(label, name, lost)

    def _absent(self, label: str, name: str, lost: tuple[str, ...]) -> AttributeError:
        absent = type(self)._perdure_absent
        because = f" (read back from its record, without {', '.join(lost)})" if lost else ""
        if absent:
            because += f"; this process has not imported its class: import {type(self).__module__} in the script"
        kind = NotRecorded if lost or absent else AttributeError
        return kind(f"{label!r} object has no attribute {name!r}{because}", name=name, obj=self)


def label(cls: type) -> tuple[str, str]:
    """Module and qualified name of a class, read past any metaclass of the user's.

    The module is named as `import` names it, however it was started.
    """
    return known_as(text(get(type, "__module__", cls))), text(get(type, "__qualname__", cls))


def labels(cls: type, root: type[BaseException] = Exception) -> list[Label]:
    """What a class of exceptions is recorded by: its label, and of a script, which may be renamed, `__main__` too.

    Nothing for a class that is not `root` or below it.
    """
    if root not in cls.__mro__:
        return []
    name = label(cls)
    return [name, (MAIN[0], name[1])] if text(get(type, "__module__", cls)) in scripts else [name]


def get(owner: type, name: str, holder: Any) -> Any:
    """An attribute as `owner` defines it, past what a subclass may have put in its place."""
    return vars(owner)[name].__get__(holder)


def put(owner: type, name: str, holder: Any, value: Any) -> None:
    """Set an attribute as `owner` defines it."""
    vars(owner)[name].__set__(holder, value)


def attributes(exc: Exception, contents: dict[Any, Any]) -> dict[str, Any]:
    """What the instance itself holds: its `__dict__`, given as `contents`, and its `__slots__`."""
    found = {name: value for name, value in contents.items() if type(name) is str and name not in _NOT_ITS_OWN}
    for name, member in declared(type(exc)).items():
        try:
            value = member.__get__(exc)
        except Exception:  # noqa: BLE001, S112  a slot that is not filled; a field that cannot be read now
            continue
        if value is not None or not isinstance(member, GetSetDescriptorType):
            found[name] = value
    return found


def declared(cls: type) -> dict[str, Any]:
    """The `__slots__` of the user's classes, and the fields of those that are written in C."""
    return {
        name: member
        for each in own_classes(cls)
        for name, member in vars(each).items()
        if isinstance(member, MemberDescriptorType | GetSetDescriptorType) and not name.startswith("__")
    }


def own_classes(cls: type) -> Iterator[type]:
    """A class and its bases that are not Python's own, a class after its bases."""
    return (each for each in reversed(cls.__mro__) if each not in _BUILTIN and each is not object)


def slots(exc: Exception) -> dict[str, Any]:
    """What Python's own classes keep beside `args` and `__dict__`, where it is not None."""
    values = {name: get(owner, name, exc) for owner in _SLOTS if isinstance(exc, owner) for name in _SLOTS[owner]}
    return {name: value for name, value in values.items() if value is not None}


def notes(contents: dict[Any, Any]) -> list[str]:
    """What add_note() left in the instance's `__dict__`."""
    given = contents.get("__notes__")
    return [text(each) for each in given if isinstance(each, str)] if isinstance(given, list) else []


def message(exc: Exception) -> str:
    """What str() gives, or a word about it where str() fails."""
    try:
        return text(str(exc))
    except Exception:  # noqa: BLE001  a __str__ that fails must not hide the failure
        return f"<str() of this {label(type(exc))[1]} failed>"


def text(value: object) -> str:
    """As a plain str that UTF-8 can hold."""
    return str.encode(str(value), "utf-8", "backslashreplace").decode()


def loaded(wanted: Label, main: str) -> type[Exception] | None:
    """The exception class of that label that this process has loaded, the newest of several, or None.

    A class of `__main__` and one of the module `main` are the same class: a script may be run or be imported.
    """
    cls = _remembered(wanted, main)
    if cls is not None and _newest(cls):
        return cls
    # Classes come into being at any time, so what is not known is looked for again.
    _known.clear()
    _known.update((label(each), weakref.ref(each)) for each in _walk())
    return _remembered(wanted, main)


_known: dict[Label, weakref.ref[type[Exception]]] = {}


def _remembered(wanted: Label, main: str) -> type[Exception] | None:
    for alias in _aliases(wanted, main):
        known = _known.get(alias)
        cls = known() if known is not None else None
        if cls is not None:
            return cls
    return None


def is_labelled(cls: type, wanted: Label, main: str) -> bool:
    """Whether `cls` is the class that the label stands for."""
    return label(cls) in _aliases(wanted, main)


def _aliases(wanted: Label, main: str) -> list[Label]:
    module, qualname = wanted
    # A package without __init__.py does not show in a file alone: `app.job` may be executed as `job`.
    same = module == main or f".{module}".endswith(f".{main}") or f".{main}".endswith(f".{module}")
    if not same and module not in MAIN:
        return [wanted]
    return [wanted, *((known_as(other), qualname) for other in (*MAIN, main) if other != module)]


def _walk() -> Iterator[type[Exception]]:
    """Every loaded exception class, a class after its bases and the older before the newer."""
    todo: list[type[Exception]] = [cast("type[Exception]", BaseException)]
    for cls in todo:
        yield cls
        todo += (each for each in type.__subclasses__(cls) if Restored not in each.__bases__)


def _newest(cls: type[Exception]) -> bool:
    """Whether no class of the same label was made after `cls`, as by a reload or a notebook's cell."""
    return next(_alike(cls), cls) is cls


def _alike(cls: type[Exception]) -> Iterator[type[Exception]]:
    siblings: list[type] = type.__subclasses__(cls.__base__ or Exception)
    wanted, qualname = label(cls), get(type, "__qualname__", cls)
    named = (each for each in reversed(siblings) if get(type, "__qualname__", each) == qualname)
    return (each for each in named if label(each) == wanted and Restored not in each.__bases__)


def twins(cls: type[Exception]) -> list[type[Exception]]:
    """The other classes of the label of `cls`, where none of them is the one that its module has under that name.

    Such are made by each client for itself (botocore's), and `except client.exceptions.NoSuchKey` may name any of them.
    """
    module, qualname = label(cls)
    if "." in qualname or module not in sys.modules or qualname in vars(sys.modules[module]):
        return []
    return [each for each in islice(_alike(cls), _MOST_TWINS) if each is not cls]


_MOST_TWINS = 16


def build(cls: type[Exception], parts: Parts) -> tuple[Exception, dict[str, Any]]:
    """An instance of `cls`, made without running a `__new__` or `__init__` that is written in Python.

    Returns:
        The instance, and the attributes that it did not take, since they are read-only fields of a class in C.

    Raises:
        TypeError, ValueError: instances of this class cannot be made so, or not of these parts.
    """
    if issubclass(cls, ExceptionGroup):
        if not parts.members:
            raise ValueError("a group needs members")
        new: Any = ExceptionGroup.__new__
        exc: Exception = new(cls, *parts.args[:1], parts.members)
    else:
        exc = _new(cls, parts.args)
        put(BaseException, "args", exc, parts.args)
        _fill_unicode(exc, parts.args)
    for owner, names in _SLOTS.items():
        if isinstance(exc, owner):
            for name in names:
                if name in parts.slots:
                    put(owner, name, exc, parts.slots[name])
    declared_slots = declared(cls)
    contents = object.__getattribute__(exc, "__dict__")
    refused: dict[str, Any] = {}
    for name, value in parts.attributes.items():
        if name not in declared_slots:
            contents[name] = value
        elif not _set(declared_slots[name], exc, value):
            refused[name] = value
    if parts.notes:
        contents["__notes__"] = list(parts.notes)
    return exc, refused


def _new(cls: type[Exception], args: tuple[Any, ...]) -> Exception:
    """An empty instance, made by the nearest `__new__` in C that can make one, without arguments if possible."""
    for owner in cls.__mro__:
        new = vars(owner).get("__new__")
        if not isinstance(new, BuiltinFunctionType):
            continue
        for given in ((), args):
            try:
                exc = new(cls, *given)
            except Exception:  # noqa: BLE001, S112  of another layout, or with a constructor that needs more
                continue
            if type(exc) is cls:
                made: Exception = exc
                return made
    raise TypeError(f"no instance of {label(cls)[1]} can be made")


def _set(member: Any, exc: Exception, value: Any) -> bool:
    """Whether the attribute has that value now."""
    try:
        member.__set__(exc, value)
    except Exception:  # noqa: BLE001  a read-only field
        try:
            return bool(type(now := member.__get__(exc)) is type(value) and now == value)
        except Exception:  # noqa: BLE001
            return False
    return True


def _fill_unicode(exc: Exception, args: tuple[Any, ...]) -> None:
    """Fill a UnicodeError's fields, which Python reads without checking, from args that make sense."""
    solid: Any = next((each for each in type(exc).__mro__ if each in _BUILTIN), None)
    if solid in _SUBJECTS:
        args_types: tuple[type, ...] = (str, _SUBJECTS[solid], int, int, str)
    elif solid is UnicodeTranslateError:
        args_types = (str, int, int, str)
    else:
        return
    if tuple(map(type, args)) == args_types:
        subject, start, end, _ = args[-4:]
        if 0 <= start < end <= len(subject):
            solid.__init__(exc, *args)


def derive(
    classes: list[type[Exception]],
    wanted: Label,
    message: str | None,
    lost: list[str],
    fixed: dict[str, Any] | None = None,
) -> type[Exception]:
    """A class of that name below `classes`, for one exception that they cannot represent as they are.

    Args:
        classes: the exception's class, or the nearest of its bases that are loaded.
        wanted: what the new class is called.
        message: what str() gives, or None for what the classes make of it.
        lost: the attributes that could not be stored.
        fixed: attributes that an instance cannot be given.

    Raises:
        TypeError: there can be no class below these.
    """
    # Python refuses a NUL in the name of a class, which only damaged data can ask for.
    module, qualname = wanted[0], wanted[1].replace("\0", "")
    namespace = {
        **(fixed or {}),
        "__module__": module,
        "__qualname__": qualname,
        "_perdure_message": message,
        "_perdure_lost": tuple(lost),
        "_perdure_absent": qualname not in (label(each)[1] for each in classes),
    }
    meta: Any = type
    for each in map(type, classes):
        meta = each if issubclass(each, meta) else meta
    # type.__new__ itself: a metaclass of the user's is not run.
    made: type[Exception] = type.__new__(meta, qualname.rpartition(".")[2], (Restored, *classes), namespace)
    return made
