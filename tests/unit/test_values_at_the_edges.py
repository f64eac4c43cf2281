"""What instances carry beside their fields, and stored bytes that say what no version of perdure writes."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import re
import sys
import types
import zoneinfo
from typing import Any, NamedTuple

import msgspec
import pydantic
import pytest

from perdure.core.values import codec, plain_json
from perdure.core.values.digested import digested, is_digested, same_inputs
from perdure.core.values.extensions import NAMESPACE, PATH, PATTERN, Ext, encode
from perdure.errors import NotDecodable, NotStorable

ANY = codec.plan(Any, owner="step 'f'")


class Slotted:
    __slots__ = ("__hidden", "unset")

    def hide(self, value: int) -> None:
        self.__hidden = value

    def hidden(self) -> int:
        return self.__hidden


@dataclasses.dataclass
class Beside(Slotted):
    a: int


@dataclasses.dataclass(slots=True)
class Tight(Slotted):
    a: int


class Word(str):
    __slots__ = ("language", "unset")
    language: str


class Number(int):
    unit: str


class Place(NamedTuple):
    x: int
    y: int = 0


class Noted(Place):
    note: str


class Made(msgspec.Struct):
    a: int
    b: list[int] = msgspec.field(default_factory=lambda: [7])


class Model(pydantic.BaseModel):
    a: int
    _seen: int = 0


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


def there_and_back(kind: Any, value: Any) -> Any:
    found = codec.plan(kind, owner="step 'f'")
    return found.unpack(found.pack(value))


def test_slots_of_a_base_class_come_back() -> None:
    """Private ones too, which Python keeps under another name; a slot without a value stays without one."""
    for kind in (Beside, Tight):
        value = kind(1)
        value.hide(5)
        back = there_and_back(kind, value)
        assert (back.a, back.hidden(), hasattr(back, "unset")) == (1, 5, False)


def test_attributes_of_texts_numbers_and_named_tuples_come_back() -> None:
    """In slots and without."""
    word, number, noted = Word("hi"), Number(3), Noted(1)
    word.language, number.unit, noted.note = "en", "kg", "home"
    back = there_and_back(Word, word)
    assert (type(back), back, back.language, hasattr(back, "unset")) == (Word, "hi", "en", False)
    assert there_and_back(Number, number).unit == "kg"
    assert there_and_back(Noted, noted).note == "home"


def test_a_field_that_is_new_gets_its_default_anew() -> None:
    """That of a factory, for each value of its own."""
    old = msgspec.defstruct("Made", [("a", int)])
    old.__module__, old.__qualname__ = Made.__module__, Made.__qualname__
    stored = codec.plan(old, owner="step 'f'").pack(old(1))
    one, two = (codec.plan(Made, owner="step 'f'").unpack(stored) for _ in range(2))
    assert one == two == Made(1, [7])
    assert one.b is not two.b


def test_a_model_without_all_its_fields_is_refused() -> None:
    """As `model_construct` makes one; what else is among its attributes comes back."""
    with pytest.raises(NotStorable, match="lacks a field"):
        there_and_back(Model, Model.model_construct())
    value = Model(a=1)
    value.__dict__["more"] = 2
    assert there_and_back(Model, value).__dict__ == {"a": 1, "more": 2}


def test_a_combination_of_flags_without_a_name_comes_back() -> None:
    """By its number; a member of the same class that it does not know is refused."""
    assert there_and_back(Rights, Rights.READ | Rights.WRITE) is Rights.READ | Rights.WRITE
    assert there_and_back(Rights, Rights(0)) is Rights(0)
    forged = object.__new__(Rights)
    forged._name_, forged._value_ = "READ", "1"  # type: ignore[assignment]
    with pytest.raises(NotStorable, match="not a member of its own enumeration"):
        there_and_back(Rights, forged)


@pytest.mark.parametrize(
    ("code", "content"),
    [
        (PATTERN, [3, 0]),
        (PATTERN, ["a", "0"]),
        (NAMESPACE, 5),
        (PATH, ["PurePosixPath", 3]),
        (PATH, ["Nonsense", "a"]),
    ],
)
def test_stored_bytes_that_fit_no_value_are_named_as_damage(code: int, content: Any) -> None:
    """No TypeError of a library comes through."""
    stored = ANY.pack("x")
    assert ANY.unpack(stored) == "x"
    with pytest.raises(NotDecodable):
        ANY.unpack(encode(Ext(code, encode(content))))


def test_patterns_and_namespaces_come_back() -> None:
    """A pattern of bytes, flags; a pattern that prints when it is compiled does not print when it is read."""
    for pattern in (re.compile("a", re.I), re.compile(b"a")):
        assert there_and_back(Any, pattern) == pattern
    assert there_and_back(Any, types.SimpleNamespace(b=1, a=2)) == types.SimpleNamespace(b=1, a=2)


def test_inputs_do_not_depend_on_the_order_of_a_namespace() -> None:
    """As with dicts: two calls with equal arguments are one."""
    one, two = (
        codec.pack_inputs([types.SimpleNamespace(**given)], {}, owner="")
        for given in ({"a": 1, "b": 2}, {"b": 2, "a": 1})
    )
    assert codec.same_inputs(one, two)


def test_a_zone_without_a_name_is_refused() -> None:
    """From a file: there is nothing by which another machine finds it."""
    import io

    data = b"TZif" + bytes(40)
    with pytest.raises(NotStorable, match="without a key"):
        ANY.pack(zoneinfo.ZoneInfo.from_file(io.BytesIO(_a_zone() or data)))


def _a_zone() -> bytes:
    """The smallest file of a zone: one kind of time, UTC."""
    head = b"TZif" + b"1" + bytes(15) + b"".join(number.to_bytes(4, "big") for number in (0, 0, 0, 0, 1, 4))
    return head + bytes(4) + bytes(2) + b"UTC\0"


def test_zones_of_libraries_that_are_loaded_later_are_known_too() -> None:
    """dateutil and pytz are imported by others, at any time."""
    tz = pytest.importorskip("dateutil.tz")
    moment = datetime.datetime(2026, 1, 1, tzinfo=tz.tzoffset("here", 3600))
    assert there_and_back(Any, moment) == moment
    if "pytz" in sys.modules:
        assert there_and_back(
            Any, datetime.datetime(2026, 1, 1, tzinfo=sys.modules["pytz"].utc)
        ).utcoffset() == datetime.timedelta(0)


@pytest.mark.parametrize("text", ["1e999", "-1e999", "NaN", "Infinity"])
def test_numbers_that_json_does_not_have_are_refused(text: str) -> None:
    """What others send is taken as JSON says, and not as Python's reader does."""
    with pytest.raises(ValueError, match="number"):
        plain_json.loads(f"[{text}]")
    assert plain_json.loads("[1.5, 1e3]") == [1.5, 1000.0]


def test_inputs_of_which_a_digest_is_kept_are_compared_by_it() -> None:
    """With whole ones, and with one another; the order of dicts does not matter; damage equals only itself."""
    one, same, other = (
        codec.pack_inputs([given], {}, owner="")
        for given in ({"a": 1, "b": "x" * 3000}, {"b": "x" * 3000, "a": 1}, {"a": 2})
    )
    assert is_digested(digested(one))
    assert not is_digested(one)
    assert not is_digested(b"")
    assert not is_digested(b"\xc7")
    assert same_inputs(digested(one), digested(same))
    assert same_inputs(digested(one), same)
    assert same_inputs(same, digested(one))
    assert not same_inputs(digested(one), other)
    assert not same_inputs(digested(one), digested(other))
    damaged = digested(one)[:-1]
    assert not same_inputs(damaged, digested(one))
    assert same_inputs(damaged, damaged)


@dataclasses.dataclass
class Outer:
    item: Any


def test_a_value_of_a_class_that_nothing_names_is_named_with_its_place() -> None:
    """And with the annotation that would name it."""
    with pytest.raises(NotStorable, match=r"`result\.item\['k'\]\[0\]`, of type .*Made") as caught:
        codec.plan(Outer, owner="step 'f'").pack(Outer({"k": [Made(1)]}))
    assert "Outer | Made" in caught.value.hint
