"""A workflow's arguments on a command line: what was typed is what it gets, or an error says what does not fit."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from cyclopts import CycloptsError

from perdure import workflow
from perdure.cli.workflow_arguments import parse_arguments
from perdure.core.execution.spec import spec_of
from perdure.errors import UsageError


class Line(msgspec.Struct):
    sku: str
    count: int


@dataclass
class Box:
    width: int
    name: str = ""


@workflow(name="arguments that nest")
def nests(
    number: int = 0,
    *,
    pairs: list[tuple[str, int]] | None = None,
    rows: list[list[int]] = [],  # noqa: B006
    lines: list[Line] = [],  # noqa: B006
    maps: list[dict[str, int]] = [],  # noqa: B006
    named: dict[str, list[int]] = {},  # noqa: B006
    boxes: list[Box] = [],  # noqa: B006
    words: list[str] = [],  # noqa: B006
    price: Decimal = Decimal(0),
) -> None: ...


@workflow(name="arguments that are None")
def leaves_out(number: int, text: str = None, other=None, rows: list[list[int]] = None) -> None: ...  # type: ignore[assignment,no-untyped-def]  # noqa: RUF013


def parsed(*tokens: str) -> Any:
    found = parse_arguments(spec_of(nests), "perdure run flow.py", tokens)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("option", "typed", "given"),
    [
        ("pairs", '[["a", 1], ["b", 2]]', [("a", 1), ("b", 2)]),
        ("rows", "[[1, 2], [3]]", [[1, 2], [3]]),
        ("lines", '[{"sku": "cup", "count": 2}]', [Line("cup", 2)]),
        ("maps", '[{"a": 1}]', [{"a": 1}]),
        ("named", '{"a": [1]}', {"a": [1]}),
        ("boxes", '[{"width": 2}]', [Box(2)]),
        ("words", "a", ["a"]),
        ("words", '["a", "b"]', ["a", "b"]),
        ("words", "[a", ["[a"]),
        ("words", "[]", []),
        ("price", "2.50", Decimal("2.50")),
    ],
)
def test_a_value_that_nests_is_given_as_json(option: str, typed: str, given: object) -> None:
    """By the option of its parameter; lists of tuples and of lists came out empty, one of texts as one text."""
    assert parsed("7", f"--{option}", typed)[option] == given


@pytest.mark.parametrize("typed", ['[["a", "x"]]', "a", "[[1"])
def test_json_that_does_not_fit_is_refused(typed: str) -> None:
    """Nothing is left out without a word."""
    with pytest.raises(CycloptsError, match="pairs"):
        parsed("--pairs", typed)


def test_a_number_that_is_none_is_refused() -> None:
    """Decimal raises what is neither a ValueError nor Cyclopts' own."""
    with pytest.raises(UsageError, match="one of them is not a number"):
        parsed("--price", "x")


def test_what_is_left_out_may_be_none_whatever_its_annotation_says() -> None:
    """Also where pydantic is loaded, with which Cyclopts checks the defaults."""
    pytest.importorskip("pydantic")
    found = parse_arguments(spec_of(leaves_out), "perdure run flow.py", ["1"])
    assert found is not None
    assert (found[0], {name: value for name, value in found[1].items() if value is not None}) == ((1,), {})
    assert parse_arguments(spec_of(leaves_out), "perdure run flow.py", ["1", "a", "b", "[[2]]"]) == (
        (1, "a", "b", [[2]]),
        {},
        {},
    )
