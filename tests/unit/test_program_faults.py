"""Which errors are the program's fault, and which are an item's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perdure.core.exceptions.program_faults import suspicion
from perdure.errors import ArgumentChanged, NotStorable, TooLarge, UnstorableType, UsageError


def raised(function: Callable[[], Any]) -> Exception:
    """What it raises, with its traceback."""
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("it raises nothing")


def test_a_name_that_does_not_exist_is_the_programs_fault() -> None:
    """No item can succeed where the code itself cannot run."""
    assert suspicion(raised(lambda: undefined)) == "certain"  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    "error", [NotStorable("x"), UnstorableType("x"), ArgumentChanged("x"), UsageError("x")], ids=repr
)
def test_what_can_not_be_saved_is_the_programs_fault(error: Exception) -> None:
    """The step works, and its kind of result cannot be kept."""
    assert suspicion(error) == "certain"


def test_what_is_too_large_is_the_items() -> None:
    """Another item may be smaller."""
    assert suspicion(TooLarge("x")) == "none"


@pytest.mark.parametrize(
    "function",
    [lambda: 1 + "1", lambda: None.name, lambda: int(None), lambda: __import__("no_such_module")],
    ids=["operand", "attribute", "argument", "import"],
)
def test_an_error_of_the_own_code_may_be_either(function: Callable[[], Any]) -> None:
    """`price + None` is an odd item or a mistake: the next items show which."""
    assert suspicion(raised(function)) == "possible"


@pytest.mark.parametrize(
    "function",
    [
        lambda: json.loads(None),
        lambda: int("x"),
        lambda: {}["x"],
        lambda: 1 / 0,
        lambda: Path("/no/such/file").read_text(),
    ],
    ids=["json", "value", "key", "zero", "file"],
)
def test_what_a_library_says_about_its_arguments_is_the_items(function: Callable[[], Any]) -> None:
    """Values that do not fit, files that are missing, and what is raised below the own code."""
    assert suspicion(raised(function)) == "none"


def test_an_error_without_a_traceback_is_the_items() -> None:
    """It was made elsewhere, on another machine: nothing says where."""
    assert suspicion(TypeError("x")) == "none"
