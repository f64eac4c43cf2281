"""The arguments of calls to bytes and back, and values that no annotation speaks of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Protocol

import msgspec

from perdure.core.values.annotations import Closed
from perdure.core.values.builtin_types import READING
from perdure.core.values.describe import describe_inputs
from perdure.core.values.extensions import (
    INSTANCE,
    SCALARS,
    SECRET,
    STAND_IN,
    TUPLE,
    NoDefault,
    NoMember,
    Read,
    Refused,
    Unfit,
    Withheld,
    encode,
)
from perdure.core.values.reading import admit_any, decoder, full_name, reason
from perdure.core.values.writer import Writer
from perdure.errors import NotDecodable, NotStorable


class Declared(Protocol):
    """The annotation of a parameter, as a `codec.Plan` has it."""

    annotation: Any
    names: Mapping[str, Any] | None


def pack_inputs(positional: list[Any], keyword: dict[str, Any], *, owner: str) -> bytes:
    """The canonical bytes of a call's arguments: equal arguments give equal bytes, in every process and hash seed.

    One list of the positional values, or, with keyword arguments, the tuple (positional, keyword sorted by name). Dicts
    are written in the order of their keys, since equal dicts may differ in theirs. Classes need no annotation here.

    Raises:
        NotStorable: an argument cannot be stored.
    """
    return pack_call(positional, keyword, owner=owner)[1]


def pack_call(positional: list[Any], keyword: dict[str, Any], *, owner: str) -> tuple[bytes, bytes]:
    """The bytes of a call's arguments in the order that their dicts have, and in canonical form, as `pack_inputs`.

    The first are what is stored, the second what the call is known by. They are one object where they are the same.

    Raises:
        NotStorable: an argument cannot be stored.
    """
    if not keyword and SCALARS.issuperset(map(type, positional)):
        try:
            data = encode(positional)
        except (OverflowError, UnicodeEncodeError):
            pass
        else:
            return data, data
    whole = (positional, keyword) if keyword else positional
    writer = Writer(admit_any, canonical=True, inputs=True)
    try:
        canonical = writer.write(whole)
        return Writer(admit_any, inputs=True).write(whole) if writer.reordered else canonical, canonical
    except Refused as refused:
        path = refused.path[::-1]
        root = f"args{''.join(path)}"
        if keyword:
            root = f"kwargs{''.join(path[1:])}" if path[:1] == ["[1]"] else f"args{''.join(path[1:])}"
        what = f"{owner} is called with a value that cannot be saved: `{root}`, of type {full_name(refused.value)}"
        raise NotStorable(f"{what}, {refused.why}", refused.hint.replace("return ", "pass ")) from None


def with_keyword(data: bytes, name: str, value: str) -> bytes:
    """The arguments that `pack_inputs` stored, and a text as one more, by that name or one like it."""
    whole: Any = msgspec.msgpack.decode(data)
    positional, keyword = msgspec.msgpack.decode(whole.data) if isinstance(whole, msgspec.msgpack.Ext) else (whole, {})
    while name in keyword:
        name += "_"
    return encode(msgspec.msgpack.Ext(TUPLE, encode([positional, {**keyword, name: value}])))


def withholds(data: bytes) -> bool:
    """Was a Secret among the arguments that `pack_inputs` stored? Then no call can be made of them alone."""
    return _holds(data, SECRET)


def names_only(data: bytes) -> bool:
    """Is an argument stored by its class's name, or by what it goes by? Then no call can be made of them alone."""
    return _holds(data, STAND_IN)


def holds_classes(data: bytes) -> bool:
    """Is an instance of a class among them?"""
    return _holds(data, INSTANCE)


def _holds(data: bytes, wanted: int) -> bool:
    if wanted not in data:
        return False
    found = False

    def hook(code: int, inner: memoryview) -> None:
        nonlocal found
        found = found or code == wanted
        with suppress(msgspec.DecodeError, ValueError):  # the content of some is no msgpack
            decode(inner)

    decode = msgspec.msgpack.Decoder(ext_hook=hook).decode
    with suppress(msgspec.DecodeError, ValueError, TypeError):  # what is damaged is told where it is read
        decode(data)
    return found


def pack_value(value: Any, *, owner: str) -> bytes:
    """The bytes of a value that no annotation speaks of: `Plan.unpack` of one that names its classes reads them.

    Raises:
        NotStorable: it cannot be stored losslessly.
    """
    try:
        return Writer(admit_any, inputs=True).write(value)
    except Refused as refused:
        place = f"value{''.join(refused.path[::-1])}"
        what = f"{owner} has a value that cannot be saved: `{place}`, of type {full_name(refused.value)}"
        raise NotStorable(f"{what}, {refused.why}", refused.hint.replace("return ", "pass ")) from None


def unpack_inputs(data: bytes, plans: Iterable[Declared], *, owner: str) -> tuple[list[Any], dict[str, Any]]:
    """The arguments that `pack_inputs` stored.

    Args:
        data: what `pack_inputs` gave.
        plans: the plans of the parameters' annotations; the classes that they name may be restored.
        owner: as errors name it.

    Raises:
        NotDecodable: the bytes are damaged, or hold an instance of a class that no parameter's annotation names.
    """
    return InputReader(plans, owner=owner).read(data)


class InputReader:
    """Reads the arguments of many calls of one function, whose annotations are looked at once.

    Args:
        plans: the plans of the parameters' annotations; the classes that they name may be restored.
        owner: as errors name it.
        known: reads what is no instance of a class, by its code.
    """

    def __init__(self, plans: Iterable[Declared], *, owner: str, known: Mapping[int, Read] = READING) -> None:
        plans = list(plans)
        names = {name: value for each in plans for name, value in (each.names or {}).items()}
        self._owner = owner
        self._decode = decoder(Closed(*(each.annotation for each in plans), names=names).find, known)

    def read(self, data: bytes) -> tuple[list[Any], dict[str, Any]]:
        """The arguments that `pack_inputs` stored.

        Raises:
            NotDecodable: the bytes are damaged, or hold an instance of a class that no parameter's annotation names.
        """
        owner = self._owner
        try:
            whole = self._decode(data)
            positional, keyword = whole if type(whole) is tuple else (whole, {})
            fits = type(positional) is list and type(keyword) is dict
            if not fits or not all(type(name) is str for name in keyword):
                raise Unfit("these are not the arguments of a call")
        except Withheld as error:
            shown = describe_inputs(data)
            what = f"the arguments of {owner} were {shown}; a Secret is never stored and cannot be given again"
            hint = (
                "run the script itself again, which gives it again; or let the step read the secret where it needs it"
            )
            raise NotDecodable(what, hint) from error
        except MemoryError:
            raise
        except Exception as error:
            what = (
                f"the saved arguments of {owner} are {describe_inputs(data)}, which cannot be loaded: {reason(error)}"
            )
            hint = f"annotate the parameters of {owner} with the classes that it takes"
            if isinstance(error, NoMember):
                hint = "give one of the members, by its name; or let the class have that member"
            elif isinstance(error, NoDefault):
                hint = "give the field a default"
            raise NotDecodable(what, hint) from error
        return positional, keyword
