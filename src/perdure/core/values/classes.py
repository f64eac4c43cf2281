"""Class instances taken apart into their exact fields, and put together again without running their validation.

A record knows one class. It never finds a class by a stored name: it is made from a class that the program's own
annotations (or, when arguments are packed, the value itself) hand over.
"""

from __future__ import annotations

import collections
import enum
import functools
import sys
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from perdure.core.values.builtin_bases import BASES
from perdure.core.values.extensions import NoDefault, NoMember, Refused, Unfit

_MISSING: Any = object()

# Set on instances by typing, attrs and Python itself; they hold nothing of the value's own.
_CACHED_HASH = "_attrs_cached_hash"
_NOT_DATA = frozenset({"__orig_class__", "__dict__", "__weakref__", _CACHED_HASH})

Fields = dict[str, Any]


class Record:
    """One class: its fields, and how to take instances apart and put them together.

    Args:
        cls: the class.
        defaults: for each field, in order, a function that gives the default for a half-built instance, or None.
    """

    def __init__(self, cls: type, defaults: dict[str, Callable[[Any], Any] | None]) -> None:
        self.cls = cls
        self.label = cls.__qualname__
        self.defaults = defaults
        self.names = tuple(defaults)
        self.slots = tuple(slot for slot in _slots(cls) if slot not in defaults and slot not in _NOT_DATA)
        self.cached = _cached_properties(cls)

    def take(self, value: Any) -> tuple[Fields, Fields]:
        """The fields, and whatever else the instance carries."""
        state = getattr(value, "__dict__", None)
        if state is not None and len(state) == len(self.names) and not self.slots:
            try:
                return {name: state[name] for name in self.names}, {}
            except KeyError:
                pass
        fields = {name: getattr(value, name, _MISSING) for name in self.names}
        for name, item in fields.items():
            if item is _MISSING:
                raise Refused(f"has no value in its field {name!r}", value, "give every field a value")
        rest = {name: item for name, item in (state or {}).items() if name not in fields and self.is_data(name)}
        for slot in self.slots:
            if (item := getattr(value, slot, _MISSING)) is not _MISSING:
                rest[slot] = item
        if hasattr(value, _CACHED_HASH):
            # attrs wants the attribute to be there; the hash itself would be wrong in another process.
            rest[_CACHED_HASH] = None
        return fields, rest

    def is_data(self, name: str) -> bool:
        """Whether an attribute outside of the fields is the value's own (a cached property is computed again)."""
        return name not in _NOT_DATA and name not in self.cached

    def build(self, fields: Fields, rest: Fields) -> Any:
        """A new instance with these fields, made without calling the class."""
        value: Any = object.__new__(self.cls)
        self.fill(value, fields, rest, object.__setattr__)
        return value

    def fill(self, value: Any, fields: Fields, rest: Fields, put: Callable[[Any, str, Any], None]) -> None:
        """Set the fields (a field that is not stored gets its default, a stored one that is gone is left out)."""
        for name in self.names:
            item = fields.get(name, _MISSING)
            put(value, name, self.default(name, value) if item is _MISSING else item)
        state = getattr(value, "__dict__", None)
        for name, item in rest.items():
            if name in self.defaults or not (self.is_data(name) or name == _CACHED_HASH):
                continue
            if state is None or name in self.slots:
                object.__setattr__(value, name, item)
            else:
                state[name] = item

    def refuse_renamed(self, fields: Fields) -> None:
        """A field that is gone beside one that is new may be one field that was renamed, whose value would be lost.

        Raises:
            Unfit: there are both.
        """
        gone = [name for name in fields if name not in self.defaults]
        new = [name for name in self.names if name not in fields]
        if gone and new:
            raise Unfit(
                f"{self.label} has no field {gone[0]!r} any more, whose value is stored, and has a new one, "
                f"{new[0]!r}; if it was renamed, its value would be lost"
            )

    def default(self, name: str, value: Any) -> Any:
        """The default of a field that the stored value does not have."""
        make = self.defaults[name]
        if make is None:
            raise NoDefault(f"the field {name!r} of {self.label} is not stored and has no default")
        return make(value)

    def annotations(self) -> Fields | None:
        """The annotations of the fields where the class itself resolved them, else None."""
        return None


class _NamedTuple(Record):
    def take(self, value: Any) -> tuple[Fields, Fields]:
        state = getattr(value, "__dict__", None) or {}
        return dict(zip(self.names, tuple.__iter__(value), strict=True)), dict(state)

    def build(self, fields: Fields, rest: Fields) -> Any:
        items = [fields[name] if name in fields else self.default(name, None) for name in self.names]
        value: Any = tuple.__new__(self.cls, items)
        for name, item in rest.items():
            object.__setattr__(value, name, item)
        return value


class _Struct(Record):
    def build(self, fields: Fields, rest: Fields) -> Any:
        from msgspec.structs import force_setattr

        full = {name: fields[name] if name in fields else self.default(name, None) for name in self.names}
        # A Struct cannot be made without its constructor, and __post_init__ may change fields: set them once more.
        value = self.cls(**full)
        self.fill(value, full, rest, force_setattr)
        return value


class _Pydantic(Record):
    def take(self, value: Any) -> tuple[Fields, Fields]:
        state = value.__dict__
        fields = {name: state[name] for name in self.names if name in state}
        if len(fields) != len(self.names):
            raise Refused("lacks a field (made with model_construct?)", value, "give every field a value")
        rest: Fields = {}
        if other := {k: v for k, v in state.items() if k not in fields and self.is_data(k)}:
            rest["other"] = other
        if (extra := value.__pydantic_extra__) is not None:
            rest["extra"] = extra
        if (private := value.__pydantic_private__) is not None:
            rest["private"] = private
        if value.__pydantic_fields_set__ != fields.keys():
            rest["set"] = set(value.__pydantic_fields_set__)
        return fields, rest

    def build(self, fields: Fields, rest: Fields) -> Any:
        model: Any = self.cls
        value = model.__new__(model)
        put = object.__setattr__
        full = {name: fields[name] if name in fields else self.default(name, fields) for name in self.names}
        for name in ("other", "extra", "private"):
            if type(rest.get(name, {})) is not dict:
                raise Unfit(f"what {self.label} carries beside its fields is damaged")
        put(value, "__dict__", full | rest.get("other", {}))
        if not getattr(model, "__pydantic_root_model__", False):  # those have no places for these two
            put(value, "__pydantic_extra__", rest.get("extra"))
            put(value, "__pydantic_private__", rest.get("private"))
        put(value, "__pydantic_fields_set__", set(rest.get("set", fields)))
        return value

    def annotations(self) -> Fields:
        model: Any = self.cls
        return {name: field.annotation for name, field in model.model_fields.items()}


class Members(Record):
    """An enumeration: its members are stored by name; a flag's unnamed combination by its number."""

    def __init__(self, cls: type[enum.Enum]) -> None:
        super().__init__(cls, {})
        self.members = cls.__members__

    def name_of(self, value: Any) -> str | int:
        """What stands for the member in stored bytes."""
        name: Any = value._name_
        if self.members.get(name) is value:
            return str(name)
        if isinstance(value, enum.Flag) and type(value._value_) is int:
            return value._value_
        raise Refused("is not a member of its own enumeration", value)

    def member(self, name: Any) -> Any:
        """The member that was stored as `name`."""
        if type(name) is str and name in self.members:
            return self.members[name]
        if type(name) is int and issubclass(self.cls, enum.Flag) and type(value := self.cls(name)) is self.cls:
            return value
        raise NoMember(f"{self.label} has no member {name!r}; it has {', '.join(self.members)}")


class Subclass(Record):
    """A subclass of a builtin class: the builtin value, and what the instance carries beside it."""

    def __init__(self, cls: type, base: type) -> None:
        super().__init__(cls, {"value": None})
        self.base: Any = base
        self.own = cls.__mro__[: cls.__mro__.index(base)]
        self.slots = tuple(slot for slot in _slots_of(self.own) if slot not in _NOT_DATA)

    def take(self, value: Any) -> tuple[Fields, Fields]:
        """The builtin value as the only field, and the attributes."""
        state = getattr(value, "__dict__", None) or {}
        rest = {name: item for name, item in state.items() if self.is_data(name)}
        for slot in self.slots:
            if (item := getattr(value, slot, _MISSING)) is not _MISSING:
                rest[slot] = item
        return {"value": BASES[self.base][0](value)}, rest

    def build(self, fields: Fields, rest: Fields) -> Any:
        """A new instance, made by the builtin class below it."""
        plain = fields.get("value", _MISSING)
        if type(plain) is not self.base:
            raise Unfit(f"the value of {self.label} is no {self.base.__name__}")
        value = BASES[self.base][1](self.cls, plain)
        state = getattr(value, "__dict__", None)
        for name, item in rest.items():
            if state is None or name in self.slots:
                object.__setattr__(value, name, item)
            else:
                state[name] = item
        return value

    def annotations(self) -> Fields:
        """None: there are no fields of its own."""
        return {}


def is_typed_dict(cls: Any) -> bool:
    """Whether it is a TypedDict, of typing or of typing_extensions: a dict at run time."""
    return isinstance(cls, type) and hasattr(cls, "__required_keys__") and hasattr(cls, "__total__")


def _subclass(cls: type) -> Record | None:
    if cls in BASES or cls is bool or is_typed_dict(cls) or collections.defaultdict in cls.__mro__:
        return None
    return next((Subclass(cls, base) for base in BASES if issubclass(cls, base)), None)


@functools.lru_cache(maxsize=4096)
def record_of(cls: Any) -> Record | None:
    """How instances of `cls` are stored; None when it is not a class whose fields are known."""
    if not isinstance(cls, type):
        return None
    if issubclass(cls, enum.Enum):
        return Members(cls)
    if issubclass(cls, tuple) and (named := _named_tuple(cls)) is not None:
        return named
    if issubclass(cls, msgspec.Struct):
        return _struct(cls)
    if (pydantic := sys.modules.get("pydantic")) and issubclass(cls, getattr(pydantic, "BaseModel", ())):
        return _pydantic(cls)
    if hasattr(cls, "__dataclass_fields__"):
        return _dataclass(cls)
    if hasattr(cls, "__attrs_attrs__"):
        return _attrs(cls)
    return _subclass(cls)


def _constant(value: Any) -> Callable[[Any], Any]:
    return lambda _: value


def _called(factory: Callable[[], Any]) -> Callable[[Any], Any]:
    return lambda _: factory()


def _named_tuple(cls: Any) -> Record | None:
    names = getattr(cls, "_fields", None)
    if type(names) is not tuple:
        return None
    given = getattr(cls, "_field_defaults", {})
    return _NamedTuple(cls, {name: _constant(given[name]) if name in given else None for name in names})


def _struct(cls: Any) -> Record:
    from msgspec.structs import fields

    defaults: dict[str, Callable[[Any], Any] | None] = {}
    for field in fields(cls):
        if field.default_factory is not msgspec.NODEFAULT:
            defaults[field.name] = _called(field.default_factory)
        else:
            defaults[field.name] = None if field.default is msgspec.NODEFAULT else _constant(field.default)
    return _Struct(cls, defaults)


def _dataclass(cls: Any) -> Record:
    import dataclasses

    defaults: dict[str, Callable[[Any], Any] | None] = {}
    for field in dataclasses.fields(cls):
        if field.default_factory is not dataclasses.MISSING:
            defaults[field.name] = _called(field.default_factory)
        else:
            defaults[field.name] = None if field.default is dataclasses.MISSING else _constant(field.default)
    return Record(cls, defaults)


def _attrs(cls: Any) -> Record:
    attr: Any = sys.modules["attr"]
    defaults: dict[str, Callable[[Any], Any] | None] = {}
    for field in cls.__attrs_attrs__:
        if isinstance(field.default, attr.Factory):
            factory = field.default.factory
            defaults[field.name] = factory if field.default.takes_self else _called(factory)
        else:
            defaults[field.name] = None if field.default is attr.NOTHING else _constant(field.default)
    return Record(cls, defaults)


def _pydantic(cls: Any) -> Record | None:
    fields = getattr(cls, "model_fields", None)
    if type(fields) is not dict:
        return None  # Pydantic 1 keeps its state elsewhere
    defaults: dict[str, Callable[[Any], Any] | None] = {}
    for name, field in fields.items():
        defaults[name] = None if field.is_required() else _pydantic_default(field)
    return _Pydantic(cls, defaults)


def _pydantic_default(field: Any) -> Callable[[Any], Any]:
    return lambda _: field.get_default(call_default_factory=True)


def _slots(cls: type) -> Iterable[str]:
    return _slots_of(cls.__mro__)


def _slots_of(classes: Iterable[type]) -> Iterable[str]:
    for base in classes:
        slots = base.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            private = slot.startswith("__") and not slot.endswith("__")
            yield f"_{base.__name__.lstrip('_')}{slot}" if private else slot


def _cached_properties(cls: type) -> frozenset[str]:
    kept = functools.cached_property
    return frozenset(name for base in cls.__mro__ for name, item in base.__dict__.items() if isinstance(item, kept))
