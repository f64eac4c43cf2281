"""Values to bytes and back: lossless, or refused by name.

One wire format (msgpack with extensions, see `builtins`) that describes itself. Builtins come back
whatever the annotation; a class instance comes back only as a class that the declared annotation names (see `shapes`),
so stored bytes can never name code. The first run sees the value as it was read back, so that it is the same on resume.
"""

from __future__ import annotations

import collections.abc
import re
import reprlib
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from perdure.core.callables import EMPTY
from perdure.core.digests import blake2b
from perdure.core.values.annotations import Closed, Misfit, Position, type_name
from perdure.core.values.arguments import (
    InputReader,
    holds_classes,
    names_only,
    pack_call,
    pack_inputs,
    pack_value,
    unpack_inputs,
    with_keyword,
    withholds,
)
from perdure.core.values.describe import describe, describe_inputs, to_builtins
from perdure.core.values.digested import same_inputs
from perdure.core.values.extensions import (
    SAFE_SCALARS,
    SCALARS,
    UNLIKE,
    Ext,
    NoDefault,
    Refused,
    Unfit,
    Unlike,
    encode,
)
from perdure.core.values.reading import PLAIN_DECODE, decoder, full_name, reason
from perdure.core.values.unstorable import unstorable
from perdure.core.values.writer import NotAdmitted, Writer, locate
from perdure.errors import NotDecodable, NotStorable, UnstorableType

__all__ = [
    "InputReader",
    "Plan",
    "describe",
    "describe_inputs",
    "digest",
    "holds_classes",
    "names_only",
    "pack_call",
    "pack_inputs",
    "pack_value",
    "plan",
    "same_inputs",
    "to_builtins",
    "unpack_inputs",
    "with_keyword",
    "withholds",
]

# The kinds that an annotation is compared with once, and not with each value of theirs.
_PLAIN: Final = SCALARS | {list, tuple, dict, set, frozenset}
_FRESH: Final = blake2b(digest_size=16)


def digest(data: bytes) -> bytes:
    """16 bytes of BLAKE2b (RFC 7693) over `data`."""
    state = _FRESH.copy()  # to read the options anew takes as long as to hash the inputs of a step
    state.update(data)
    return state.digest()


def plan(annotation: Any, *, owner: str, names: Mapping[str, Any] | None = None) -> Plan:
    """How the values of one annotation are stored.

    Args:
        annotation: the return annotation, strings resolved; EMPTY or Any for none.
        owner: whose values these are, as errors name it: "step 'charge'".
        names: what strings left in the annotation may name; `annotations.scope_of` gives those of a function.
    """
    return Plan(annotation, owner, names)


class Plan:
    """Packs and unpacks the values of one annotation; may be used from several threads."""

    __slots__ = ("_closed", "_decode", "_fits", "_position", "_scalars", "annotation", "names", "on_unlike", "owner")

    def __init__(self, annotation: Any, owner: str, names: Mapping[str, Any] | None = None) -> None:
        self.annotation = annotation
        self.owner = owner
        self.names = names
        # Is told of each value that is stored though it is not what is declared.
        self.on_unlike: Callable[[str], None] | None = None
        # Forward references may not exist yet when a decorator runs: the annotation is read at first use.
        self._closed: Closed | None = None
        self._position: Position | None = None
        self._decode: Callable[[Any], Any] = PLAIN_DECODE
        # The kinds of which every value fits the annotation, and those of them that need no taking apart.
        self._fits: frozenset[type] = frozenset()
        self._scalars: frozenset[type] = frozenset()

    def pack(self, value: Any) -> bytes:
        """The bytes of `value`.

        Raises:
            NotStorable: it cannot be stored losslessly, or does not fit the annotation; names step, place and type.
        """
        if type(value) in SAFE_SCALARS and type(value) in self._scalars:
            return encode(value)
        return self._declared(value, self._write(value)[0])

    def unpack(self, data: bytes) -> Any:
        """The value that `data` holds.

        Raises:
            NotDecodable: the bytes are damaged, or hold something that the annotation does not admit.
        """
        if self._closed is None:
            self._read_annotation()
        try:
            value = self._decode(data)
            if type(value) in self._fits:
                return value
            declared = None
            if type(value) is Unlike:
                declared, value = value.declared, value.value
            bad = None if self._position is None else self._position.misfit(value)
            if bad is not None and declared == self._declaration():
                # It did not fit when it was saved either, and nothing has changed since.
                bad = None if self._position is None else self._position.misfit(value, strict=True)
        except MemoryError:
            raise
        except Exception as error:
            raise self._not_decodable(data, error) from error
        if bad is not None:
            where, found, position = bad
            what = f"`result{where}` is {_of_type(found)}, the annotation says {type_name(position.annotation)}"
            raise self._not_decodable(data, Unfit(what))
        return value

    def round_trip(self, value: Any) -> tuple[bytes, Any]:
        """The bytes of `value`, and the value as it will be read back from them: equal, and of equal type, in depth.

        Raises:
            NotStorable: as `pack`, and when what is read back would not be the same.
        """
        if type(value) in self._scalars:
            try:
                return encode(value), value
            except (OverflowError, UnicodeEncodeError):
                return self.pack(value), value
        data, writer = self._write(value)
        try:
            again = self._decode(data)
            # Builtins come back the same by construction. Classes run code of the user's own.
            same = not writer.foreign or self._writer().write(again) == data
        except MemoryError:
            raise
        except Exception as error:
            raise self._changed(value, f"cannot be loaded again ({reason(error)})") from error
        if not same:
            raise self._changed(value, "comes back from storage changed")
        return self._declared(value, data), again

    def refuse_unstorable(self) -> None:
        """Make sure that there are values of this annotation that can be stored, before any work is done for one.

        Raises:
            UnstorableType: there are none.
        """
        if self._closed is None:
            self._read_annotation()
        assert self._closed is not None
        bad = unstorable(self._closed, self.annotation)
        if bad is not None:
            raise self._never(bad)

    def _read_annotation(self) -> None:
        """Work out the closed set. Two threads may do so at once: both find the same, and `_closed` is set last."""
        closed = Closed(self.annotation, names=self.names)
        position = self._position = closed.position(self.annotation)
        self._fits = frozenset(kind for kind in _PLAIN if position is None or position.fits(kind))
        self._scalars = self._fits & SCALARS
        if closed.records or closed.bases:
            self._decode = decoder(closed.find)
        self._closed = closed

    def _writer(self) -> Writer:
        if self._closed is None:
            self._read_annotation()
        assert self._closed is not None
        return Writer(self._closed.admit)

    def _write(self, value: Any) -> tuple[bytes, Writer]:
        writer = self._writer()
        try:
            return writer.write(value), writer
        except Refused as refused:
            raise self._not_storable(refused, value) from None

    def _declared(self, value: Any, data: bytes) -> bytes:
        """The bytes of a value with a note in them if it does not fit what is declared, where that is allowed.

        So a value that does not fit when it is loaded, and has no such note, tells of an annotation that has changed.
        """
        position = self._position
        if position is None or type(value) in self._fits or (unlike := position.misfit(value)) is None:
            return data
        if (bad := position.misfit(value, strict=True)) is not None:
            raise self._unlike_declared(bad)
        if self.on_unlike is not None:
            where, found, _ = unlike  # without the value itself, which may be a secret, and another one each time
            what = f"what it returns {'holds something' if where else 'is'} of type {full_name(found)}"
            self.on_unlike(f"{self.owner} is declared -> {type_name(self.annotation)}, and {what}")
        return encode(Ext(UNLIKE, encode([self._declaration(), msgspec.Raw(data)])))

    def _declaration(self) -> str:
        """The annotation as text, the same in every process."""
        return re.sub(r" at 0x[0-9a-fA-F]+", "", type_name(self.annotation))

    def _not_storable(self, refused: Refused, value: Any) -> NotStorable:
        path = _path(refused)
        hint = refused.hint
        kind = type_name(type(refused.value))
        what = f"{self.owner} returns a value that cannot be saved: `result{path}`, of type {full_name(refused.value)}"
        if not isinstance(refused, NotAdmitted):
            return NotStorable(f"{what}, {refused.why}", hint)
        unread = self._closed.unread if self._closed else []
        admitted = self._closed.records if self._closed else {}
        if isinstance(self.annotation, str) or unread:
            name = self.annotation if isinstance(self.annotation, str) else unread[0]
            why = f"and the name {name!r} in the annotation is not defined"
            hint = f"define {kind} at the top level of its module, not only under TYPE_CHECKING"
        elif admitted:
            why = f"which the declared type {type_name(self.annotation)} does not name"
            wider = f"{type_name(self.annotation)} | {kind}"
            hint = f"name {kind} in the return annotation of {self.owner}, such as -> {wider}"
        else:
            nested = _holding(value) or kind
            why = "and nothing says which class to make of it when it is loaded again"
            hint = f"annotate the return type of {self.owner} as -> {nested}"
            if path and nested == kind:
                hint = f"annotate the return type of {self.owner} so that it names {kind}"
        return NotStorable(f"{what}, {why}", hint)

    def _unlike_declared(self, bad: Misfit) -> NotStorable:
        where, found, position = bad
        what = (
            f"{self.owner} is declared to return {type_name(self.annotation)}, but `result{where}` is {_of_type(found)}"
        )
        declared = type_name(position.annotation)
        return NotStorable(what, f"return {declared}, or declare {declared} | {type_name(type(found))} there")

    def _never(self, bad: Any) -> UnstorableType:
        name = type_name(bad)
        whole = "" if bad is self.annotation else f", and {name} in it"
        kind = typing.get_origin(bad) or bad
        hint = f"return builtins or a dataclass, or register a codec: perdure.register_codec({name}, encode, decode)"
        if isinstance(kind, type) and issubclass(kind, (collections.abc.Iterator, collections.abc.AsyncIterator)):
            hint = "return a list of its items"
        elif isinstance(kind, type) and "Secret" in kind.__name__:
            hint = "read the secret in the step that uses it: it is never stored"
        return UnstorableType(
            f"{self.owner} is declared to return {type_name(self.annotation)}{whole}, which can never be saved; "
            "it was not called",
            hint,
        )

    def _changed(self, value: Any, how: str) -> NotStorable:
        where, found = locate(value, self._does_not_return)
        what = f"{self.owner} returns a value that {how}: `result{where}`, of type {full_name(found)}"
        return NotStorable(what, "make it a plain dataclass, or return builtins")

    def _does_not_return(self, value: Any) -> bool:
        """Whether the value fails to come back unchanged."""
        data = self._writer().write(value)
        try:
            return self._writer().write(self._decode(data)) != data
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - whatever a user's class raises, it does not come back
            return True

    def _not_decodable(self, data: bytes, error: BaseException) -> NotDecodable:
        empty = self.annotation is EMPTY
        declared = "has no annotation" if empty else f"is declared -> {type_name(self.annotation)}"
        hint = "declare the type that was saved, or let the step run again"
        if isinstance(error, NoDefault):
            hint = "give the field a default, or let the step run again"
        return NotDecodable(
            f"the saved result of {self.owner} is {describe(data)}, but {self.owner} {declared}: {reason(error)}",
            hint,
        )


def _holding(value: Any) -> str:
    """The annotation of a list or tuple by what it holds; empty if it holds several kinds, or is another thing."""
    kinds = [type_name(type(one)) for one in value] if type(value) in (list, tuple) else []
    if type(value) is tuple and len(kinds) <= 4:
        return f"tuple[{', '.join(kinds)}]" if kinds else ""
    if len(set(kinds)) != 1:
        return ""
    return f"list[{kinds[0]}]" if type(value) is list else f"tuple[{kinds[0]}, ...]"


def _path(refused: Refused) -> str:
    path = "".join(reversed(refused.path))
    return path if len(path) <= 120 else f"{path[:60]}...{path[-40:]}"


def _of_type(value: Any) -> str:
    return f"{reprlib.repr(value)} of type {full_name(value)}"
