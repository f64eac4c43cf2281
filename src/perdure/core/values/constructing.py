"""Instances made again by the constructors of their classes, after their fields were changed from outside.

`classes.Record.build` runs no code of a class: what was saved was valid when it was made. What a person edits was not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from typing import Any, Final, cast

import msgspec

from perdure.core.redaction.names import is_secret
from perdure.core.values.classes import Fields, Record, Subclass
from perdure.core.values.extensions import Unfit

ABSENT: Final[Any] = object()


class NotAsked(Exception):
    """The constructor of a class cannot be called with what its instances hold."""


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of one type; False when they cannot tell."""
    with contextlib.suppress(Exception):
        return one is other or (type(one) is type(other) and bool(one == other))
    return False


def construct(record: Record, fields: Fields, rest: Fields) -> Any:
    """An instance with these fields, as the class itself makes it; without code of its own, as `build` does.

    Args:
        record: the class.
        fields: values of fields; those that are left out get their defaults.
        rest: what is carried beside them, as `take` gives it.

    Raises:
        NotAsked: its constructor takes something else.
        Unfit: a field has no value and no default.
        Exception: what the class raises when it refuses them.
    """
    cls: Any = record.cls
    if is_model(cls):
        extra = rest.get("extra") or {}
        if getattr(cls, "__pydantic_root_model__", False):
            return cls.model_validate(fields["root"])
        return _validated(cls, {**fields, **extra})
    if isinstance(record, Subclass):
        own = any("__new__" in vars(base) or "__init__" in vars(base) for base in record.own)
        return cls(fields["value"]) if own else record.build(fields, rest)
    names = _taken(cls)
    if names is None:
        return record.build(fields, rest)
    given = {names[name]: item for name, item in fields.items() if name in names}
    try:
        inspect.signature(cls).bind(**given)
    except (TypeError, ValueError) as error:
        if missing := [name for name in names if name not in fields and record.defaults[name] is None]:
            raise Unfit(f"the field {missing[0]!r} of {record.label} is not given and has no default") from None
        raise NotAsked(f"{record.label} cannot be made of its fields alone ({error})") from None
    return cls(**given)


def construct_changed(
    record: Record, now: tuple[Fields, Fields], before: tuple[Fields, Fields], changed: set[str]
) -> Any:
    """The instance that the class makes of changed fields.

    What the constructor did not make of the old fields either, it makes of nothing that was edited: a default that is
    another one each time, a password that it hashes, what was set later. That stays as it was.

    Args:
        record: the class.
        now: the fields, and what is carried beside them.
        before: the same before the change.
        changed: the names of the fields that differ.

    Raises:
        NotAsked: the class does not take what its instances hold.
        Exception: what the class raises when it refuses them.
    """
    given = _given(now, changed)
    try:
        control: Any = construct(record, _given(before, set()), before[1])
    except Exception as refused:  # noqa: BLE001 - the recorded value may be what has to be mended
        control, why = None, refused
    try:
        made = construct(record, given, now[1])
    except Exception as error:
        if control is None and not _is_about(error, why, changed):
            raise NotAsked(f"{record.label} does not take the values that it holds ({said(error)})") from None
        raise
    if type(made) is not record.cls:
        return made
    fields, rest = record.take(made)
    of_old = ({}, {}) if control is None or type(control) is not record.cls else record.take(control)
    kept = {
        name: item
        for name, item in now[0].items()
        if name not in changed
        and not (same(of_old[0].get(name, ABSENT), before[0][name]) if of_old[0] else name in given)
    }
    held = _kept_beside(now[1], rest, of_old[1], model=is_model(record.cls))
    if all(same(fields[name], item) for name, item in kept.items()) and held is None:
        return made
    return record.build(fields | kept, rest if held is None else held)


def is_model(cls: Any) -> bool:
    """Whether it is a model of pydantic 2."""
    return hasattr(cls, "__pydantic_fields_set__") and hasattr(cls, "model_validate")


def names_of(record: Record) -> dict[str, str]:
    """What a person may call its fields, and their names."""
    fields: Any = getattr(record.cls, "model_fields") if is_model(record.cls) else {}  # noqa: B009
    return {each.alias: name for name, each in fields.items() if each.alias} | {name: name for name in record.names}


def said(error: BaseException) -> str:
    """What a class says of values that it refuses, in one line, without the values."""
    errors = _errors(error)
    if errors is None:
        return " ".join(str(error).split()) or type(error).__name__
    return "; ".join(f"{'.'.join(map(str, where))}: {text}" if where else text for where, text in errors)


def _errors(error: BaseException) -> list[tuple[tuple[Any, ...], str]] | None:
    """The places and texts of a ValidationError; None if it is something else."""
    listed = getattr(error, "errors", None)
    if not callable(listed):
        return None
    try:
        return [
            (each["loc"], each["type"] if any(is_secret(str(part)) for part in each["loc"]) else each["msg"])
            for each in listed(include_url=False, include_input=False, include_context=False)
        ]
    except (TypeError, KeyError):
        return None


def _is_about(error: BaseException, before: BaseException, changed: set[str]) -> bool:
    """Whether a refusal is more than what the class says of its own unchanged values."""
    errors, old = _errors(error), _errors(before)
    if errors is None or old is None:
        return not (isinstance(error, NotAsked | TypeError) and str(error) == str(before))
    return any(not where or where[0] in changed or (where, text) not in old for where, text in errors)


def _given(value: tuple[Fields, Fields], changed: set[str]) -> Fields:
    """The fields that its maker gave, of a pydantic model; else all of them."""
    fields, rest = value
    given = rest.get("set")
    if not isinstance(given, set):
        return dict(fields)
    return {name: item for name, item in fields.items() if name in given or name in changed}


def _kept_beside(now: Fields, made: Fields, of_old: Fields, *, model: bool) -> Fields | None:
    """What is carried beside the fields with what no constructor makes; None if it makes all of it."""
    if model:
        private, fresh = now.get("private") or {}, made.get("private") or {}
        old = of_old.get("private") or {}
        kept = {name: item for name, item in private.items() if not same(old.get(name, ABSENT), item)}
        return {**made, "private": fresh | kept} if kept else None
    kept = {name: item for name, item in now.items() if not same(of_old.get(name, ABSENT), item)}
    return made | kept if kept else None


def _validated(cls: Any, data: Fields) -> Any:
    if "by_name" in inspect.signature(cls.model_validate).parameters:
        return cls.model_validate(data, by_name=True, by_alias=False)
    config = cls.model_config
    named = {} if config.get("populate_by_name") or config.get("validate_by_name") else cls.model_fields
    aliases = {name: field.alias for name, field in named.items() if field.alias}
    return cls.model_validate({aliases.get(name, name): item for name, item in data.items()})


def _taken(cls: Any) -> dict[str, str] | None:
    """The parameters of the constructor of a class that has code of its own for it, by the fields; else None."""
    if issubclass(cls, msgspec.Struct):
        return {name: name for name in cls.__struct_fields__} if hasattr(cls, "__post_init__") else None
    if dataclasses.is_dataclass(cls):
        own = hasattr(cls, "__post_init__") or hasattr(cls, "__pydantic_validator__")
        own = own and bool(cast(Any, cls).__dataclass_params__.init)
        return {field.name: field.name for field in dataclasses.fields(cls) if field.init} if own else None
    attributes = getattr(cls, "__attrs_attrs__", ())
    own = hasattr(cls, "__attrs_post_init__") or any(each.validator or each.converter for each in attributes)
    if not own:
        return None
    return {each.name: getattr(each, "alias", None) or each.name.lstrip("_") for each in attributes if each.init}
