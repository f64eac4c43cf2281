"""Exceptions as data, and back: classes that moved, came later, cannot be made again or behave oddly."""

from __future__ import annotations

import gc
import types

import msgspec
import pytest
from raised_errors import Connection, Declined, OwnText, again, raised

from perdure.core.exceptions.capture import Fault, restore, to_fault


def module_with(name: str, **classes: type) -> types.ModuleType:
    module = types.ModuleType(name)
    for label, cls in classes.items():
        cls.__module__, cls.__qualname__ = name, label
        setattr(module, label, cls)
    return module


def test_a_script_may_be_run_or_imported():
    """A class of `__main__` and the same class of the imported script are one."""

    class Local(Exception):
        pass

    module_with("nightly_job", OnlyHere=Local)
    fault = Fault(module="__main__", qualname="OnlyHere", bases=[("builtins", "Exception")], message="")
    assert type(restore(fault, main="nightly_job")) is Local
    assert type(restore(fault, main="other_job")) is not Local
    Local.__module__ = "__main__"
    fault = msgspec.structs.replace(fault, module="nightly_job")
    assert type(restore(fault, main="nightly_job")) is Local
    assert type(restore(fault, main="other_job")) is not Local


def test_a_class_that_is_not_loaded_is_stood_in_for_by_its_nearest_base():
    """`except` of a base still catches, and the name in the traceback is the original's."""
    bases = [("gone.package", "Middle"), (Declined.__module__, "Declined"), ("builtins", "Exception")]
    back = restore(Fault(module="gone.package", qualname="Outer.Gone", bases=bases, message="text"))
    assert isinstance(back, Declined)
    assert (type(back).__module__, type(back).__qualname__, type(back).__name__) == (
        "gone.package",
        "Outer.Gone",
        "Gone",
    )
    assert str(back) == "text"
    assert to_fault(back).module == "gone.package"


def test_classes_are_found_when_they_come_and_the_newest_counts():
    """A class defined after a first look is found; one defined again replaces the older, as `except` clauses do."""
    fault = Fault(module="late", qualname="Late", bases=[("builtins", "Exception")], message="")
    assert type(type(restore(fault)).__mro__[2]) is type
    assert type(restore(fault)).__mro__[2] is Exception

    class First(Exception):
        pass

    module_with("late", Late=First)
    assert type(restore(fault)) is First

    class Second(Exception):
        pass

    module_with("late", Late=Second)
    assert type(restore(fault)) is Second


def test_classes_made_for_one_exception_do_not_pile_up():
    """They go with the exception, and are never taken for the real class."""
    gc.freeze()  # no need to look through what is there already
    exc = OwnText(1, Connection())
    for _ in range(20):
        again(exc)
    gc.collect()
    assert len(OwnText.__subclasses__()) == 0
    kept = again(exc)
    restore(Fault(module="nowhere", qualname="Unknown", bases=[], message=""))
    assert type(again(OwnText(2, "plain"))) is not type(kept)
    assert type(again(exc)).__mro__[2] is OwnText


def test_a_class_that_cannot_be_made_again_is_stood_in_for():
    """Pydantic's ValidationError has its own way of making instances: its base is used, with its name and text."""
    pydantic = pytest.importorskip("pydantic")
    exc = raised(lambda: pydantic.TypeAdapter(int).validate_python("x"))
    back = again(exc)
    assert isinstance(back, ValueError)
    assert (type(back).__name__, str(back)) == ("ValidationError", str(exc))


class Speechless(Exception):
    def __str__(self):
        raise RuntimeError

    __repr__ = __str__


class Liar(Exception):
    @property
    def __class__(self):
        raise ZeroDivisionError

    @property
    def __dict__(self):
        raise ZeroDivisionError


def test_odd_exceptions_are_kept_all_the_same():
    """No exception is so odd that the failure is lost."""
    assert "str() of this Speechless failed" in to_fault(Speechless()).message
    assert type(again(Speechless())) is Speechless
    assert to_fault(Liar("x")).qualname == "Liar"
    assert to_fault(ValueError(Speechless())).reprs[0]
