"""Values to bytes: the walk over a value, and what is said when something in it cannot be stored."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any, Final

from perdure.core.values.builtin_types import LOWERING
from perdure.core.values.classes import Members, Record, Subclass, record_of
from perdure.core.values.extensions import INSTANCE, MEMBER, SAFE_SCALARS, SCALARS, Ext, Refused, encode, lower_fields
from perdure.core.values.library_types import lowering_of

Admit = Callable[[type], "tuple[str, Record] | None"]
"""Which classes may be written: gives the name to write and the record, or None for a class that is not admitted."""


class NotAdmitted(Refused):
    """An instance of a class that could be stored, had the annotation named it."""


class Writer:
    """Takes values apart into what msgpack knows.

    Args:
        admit: which classes may be written.
        canonical: equal values give equal bytes whatever the order of their dicts.
        inputs: this is for the arguments of a call, in which a Secret is stood in for.

    Written with one and the same writer is one value. Afterwards `reordered` says that the canonical form differs from
    the order that the value itself has, and `foreign` that code of the user's own is involved in reading it.
    """

    __slots__ = ("admit", "canonical", "careful", "direct", "foreign", "inputs", "reordered")

    def __init__(self, admit: Admit, *, canonical: bool = False, inputs: bool = False) -> None:
        self.admit = admit
        self.canonical = canonical
        self.inputs = inputs
        self.reordered = False
        self.foreign = False
        # Some ints and strs do not fit msgpack's own kinds; all of them are looked at once one of them has turned up.
        self.careful = False
        self.direct: frozenset[type] = SCALARS

    def write(self, value: Any) -> bytes:
        """The bytes of `value`.

        Raises:
            Refused: it cannot be stored.
        """
        try:
            return encode(self.lower(value, 0))
        except (OverflowError, UnicodeEncodeError):
            if self.careful:
                raise Refused("has a name that is not text", value) from None
            self.careful, self.direct = True, SAFE_SCALARS
            return self.write(value)
        except RecursionError:
            raise Refused("is nested too deeply, or contains itself", value) from None
        except RuntimeError as error:  # another thread is changing it
            raise Refused(f"cannot be read through: {error}", value) from error

    def lower(self, value: Any, depth: int) -> Any:
        """The value as msgpack's own kinds and extensions."""
        kind = type(value)
        if kind in self.direct:
            return value
        lowering = LOWERING.get(kind) or lowering_of(kind)
        if lowering is not None:
            return lowering(self, value, depth)
        admitted = self.admit(kind)
        if admitted is None:
            raise _refusal(value)
        label, record = admitted
        self.foreign = True
        if isinstance(record, Members):
            return Ext(MEMBER, encode([label, self.lower(record.name_of(value), depth)]))
        fields, rest = record.take(value)
        if self.inputs:  # the order of fields is the class's, not the value's
            fields = dict(sorted(fields.items()))
        parts: list[Any] = [label, lower_fields(self, fields, depth, ".{}")]
        if rest:
            parts.append(lower_fields(self, rest, depth, ".{}"))
        return Ext(INSTANCE, encode(parts))


def locate(value: Any, broken: Callable[[Any], bool]) -> tuple[str, Any]:
    """The innermost part of `value` that is broken, and the path to it; `value` itself is taken to be."""
    for label, part in _parts(value):
        if broken(part):
            path, found = locate(part, broken)
            return f"{label}{path}", found
    return "", value


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    kind: Any = type(value)
    record = record_of(kind)
    if record is not None and not isinstance(record, Members):
        yield from ((f".{name}", item) for name, item in record.take(value)[0].items())
    elif isinstance(value, dict):
        yield from ((f"<key {key!r}>", key) for key in value)
        yield from ((f"[{key!r}]", item) for key, item in value.items())
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from ((f"[{index}]", item) for index, item in enumerate(value))


# What to say of values that are not data, the most specific first: type, what it is, what to do.
_WORDS: Final[tuple[tuple[Any, str, str], ...]] = (
    (types.CoroutineType, "is a coroutine that is never awaited", "put `await` in front of the call"),
    (types.GeneratorType, "is a generator", "return list(...) of it"),
    (types.AsyncGeneratorType, "is an async generator", "return a list of its items"),
    ((types.FunctionType, types.BuiltinFunctionType, types.MethodType), "is a function", "return data instead"),
    (types.ModuleType, "is a module", "return data instead"),
    (type, "is a class", "return data instead"),
    (memoryview, "is a view of memory", "return bytes(...) of it"),
    *((kind, f"is a subclass of {kind.__name__}", f"return {kind.__name__}(...) of it")
      for kind in (dict, list, tuple, set, frozenset, str, bytes, int, float)),
)  # fmt: skip


def _refusal(value: Any) -> Refused:
    kind: Any = type(value)
    if hasattr(kind, "__perdure_stand_in__"):
        hint = (
            "return what you need of it as builtins; or annotate it in `__init__` of the exception's class, which then "
            "gives it back as it was"
        )
        return Refused("stands in for an object of an exception that was read back from its record", value, hint)
    record = record_of(kind)
    if isinstance(record, Subclass):
        base = record.base.__name__
        hint = f"return {base}(...) of it, or name {kind.__qualname__} in the annotation"
        return Refused(f"is a subclass of {base}", value, hint)
    if record is not None:
        return NotAdmitted("is an instance of a class that the annotation does not name", value)
    if hasattr(kind, "__perdure_handle__"):
        hint = "return its `.id`, for `perdure.run(id)`, or the result: `handle.result()`, in async code `await handle`"
        return Refused("is the handle of a run, and no data", value, hint)
    for known, what, hint in _WORDS:
        if isinstance(value, known):
            return Refused(what, value, hint)
    if hasattr(value, "__await__"):
        return Refused("is never awaited", value, "put `await` in front of the call")
    if hasattr(value, "tolist") and hasattr(value, "dtype"):
        hint = "return .tolist() of it, or write it to a file (to_parquet, numpy.save) and return the path"
        named = f"{kind.__module__}.{kind.__qualname__}"
        if hasattr(value, "__array_finalize__") and named != "numpy.ndarray":
            # numpy.save keeps neither the mask of one nor what else it has beside its numbers.
            return Refused(
                "is a subclass of numpy.ndarray", value, "return numpy.asarray(...) of it, and what else it has"
            )
        return Refused(f"has the dtype {value.dtype}, which is not stored exactly", value, hint)
    if hasattr(value, "read") or hasattr(value, "write"):
        return Refused("is an open file or connection", value, "return its content or its path")
    hint = "return what you need of it as builtins, or make it a dataclass and name it in the annotation"
    return Refused("is not data that can be saved and loaded again unchanged", value, hint)
