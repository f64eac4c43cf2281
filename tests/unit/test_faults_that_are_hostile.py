"""Exceptions as data, and back: data never runs code, and damage is noticed or harmless."""

from __future__ import annotations

import builtins
import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from raised_errors import Declined, again, raised

from conftest import replace
from perdure import errors
from perdure.core.exceptions import capture
from perdure.core.exceptions.capture import Fault, restore, to_fault
from perdure.core.exceptions.from_fault import restored


class Nasty(Exception):
    """Every hook that a class has would be noticed."""

    ran: list[str] = []  # noqa: RUF012

    def __new__(cls, *args):
        cls.ran.append("__new__")
        return super().__new__(cls, *args)

    def __init__(self, *args):
        self.ran.append("__init__")

    def __init_subclass__(cls):
        cls.ran.append("__init_subclass__")

    def __setattr__(self, name, value):
        self.ran.append("__setattr__")

    def __setstate__(self, state):
        self.ran.append("__setstate__")

    @property
    def amount(self):
        self.ran.append("amount")

    @amount.setter
    def amount(self, value):
        self.ran.append("amount")


def test_nothing_of_the_class_runs():
    """No constructor, setter or class hook runs for what data asks for."""
    exc = Nasty("x")
    exc.__dict__.update(amount=5, lost=object())
    fault = to_fault(exc)  # which reads what a handler can read
    Nasty.ran.clear()
    back = restore(fault)
    assert isinstance(back, Nasty)
    assert Nasty.ran == []


def test_no_metaclass_runs():
    """A registry of classes does not see the class made for one exception."""
    seen = []

    class Meta(type):
        def __new__(cls, name, bases, namespace):
            seen.append(name)
            return super().__new__(cls, name, bases, namespace)

    class Registered(Exception, metaclass=Meta):
        pass

    exc = Registered("x")
    exc.lost = object()
    assert isinstance(again(exc), Registered)
    assert seen == ["Registered"]


HOSTILE = [
    ("os", "system"),
    ("subprocess", "Popen"),
    ("builtins", "eval"),
    ("builtins", "object"),
    ("builtins", "KeyboardInterrupt"),
    ("builtins", "SystemExit"),
    ("perdure.errors", "StopRun"),
    ("antigravity", "Anything"),
    ("", ""),
    ("builtins", "ValueError.__init__"),
    ("\0", "\0"),
]


@pytest.mark.parametrize("label", HOSTILE, ids=lambda label: ".".join(label))
def test_a_name_in_the_data_never_reaches_code(label, monkeypatch):
    """A label that names no loaded Exception becomes a plain exception of that name: no import, no look-up, no call."""

    def forbidden(*args, **kwargs):
        raise AssertionError(f"imported {args[0]}")

    fault = Fault(module=label[0], qualname=label[1], bases=[label], message="text", attributes={"a": b"\x01"})
    before = set(sys.modules)
    replace(monkeypatch, builtins, "__import__", forbidden)
    back = restored(fault, "__main__")
    monkeypatch.undo()
    assert set(sys.modules) == before
    assert type(back).__mro__[2] is Exception
    assert str(back) == "text"


def test_damaged_fields_of_python_classes_are_not_trusted():
    """UnicodeError reads its own fields unchecked: a start beyond the text must not reach it."""
    fault = to_fault(raised(lambda: b"\xff".decode()))
    packed = [msgspec.msgpack.encode(each) for each in ("utf-8", b"\xff", 10**9, 10**9 + 1, "x")]
    back = restore(msgspec.structs.replace(fault, args=packed))
    assert isinstance(back, UnicodeDecodeError)
    assert str(back) == fault.message
    assert back.object is None
    wrong = {"errno": msgspec.msgpack.encode([1]), "filename": msgspec.msgpack.encode(None)}
    back = restore(msgspec.structs.replace(to_fault(OSError(2, "x")), slots=wrong))
    assert str(back) == "[Errno 2] x"


@given(st.binary(max_size=200))
def test_no_bytes_break_the_decoder(data):
    """Any bytes are a fault or NotDecodable."""
    try:
        fault = capture.decode(data)
    except errors.NotDecodable:
        return
    assert isinstance(fault, Fault)


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_flipped_byte_is_noticed_or_harmless(place, value):
    """A damaged record is NotDecodable or an exception, never anything else."""
    data = bytearray(SAMPLE)
    data[place % len(data)] = value
    try:
        back = restore(capture.decode(bytes(data)))
    except errors.NotDecodable:
        return
    assert isinstance(back, Exception)
    assert isinstance(str(back), str)


SAMPLE = capture.encode(
    to_fault(
        ExceptionGroup("g", [Declined(1, reason="x"), OSError(2, "x", "f"), UnicodeDecodeError("a", b"b", 0, 1, "c")])
    )
)
