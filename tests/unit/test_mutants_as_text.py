"""A mutant that no test notices is shown to the type checker as a programmer would write it."""

from __future__ import annotations

import ast

from proof.mutant_types import written
from proof.mutants import _places

TEXT = """\
def f(x: int, y: list[int]) -> str | None:
    if x and y:  # "é" before a place
        g(x, check=False)
    while not y:
        y = y[:-1]
    return f"{x + 1}" if x > 2 else None
"""
CHANGED = [
    "    if (not (x and y)):",
    "    if (x or y):",
    "        None",
    "        g(x, check=True)",
    "    while (not not y):",
    "    while (bool(y)):",
    "        y = y[:-2]",
    "    return None",
    '    return f"{x + 1}" if (x >= 2) else None',
    '    return f"{x + 1}" if x > 3 else None',
    "    return (f'{x - 1}') if x > 2 else None",
    "    return (f'{x + 2}') if x > 2 else None",
]


def test_each_place_is_changed_in_the_text() -> None:
    """What stands around it stays, comments included; to write a place anew without a change says the same."""
    places = range(len(list(_places(ast.parse(TEXT)))))
    before = TEXT.splitlines()
    lines = []
    for place in places:
        after = written(TEXT, place).splitlines()
        (changed,) = [line for line, old in zip(after, before, strict=True) if line != old]
        lines.append(changed.partition("  #")[0])
        assert ast.dump(ast.parse(written(TEXT, place, unchanged=True))) == ast.dump(ast.parse(TEXT))
    assert sorted(lines) == sorted(CHANGED)
