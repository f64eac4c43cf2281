"""What is installed with perdure is what it was tried with: no new major version comes by itself."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {name: needed for name, needed in PROJECT["optional-dependencies"].items() if name != "dev"}
WANTED = [*PROJECT["dependencies"], *(each for many in EXTRAS.values() for each in many)]
NEEDED = [Requirement(text) for text in WANTED]
TRIED = {
    canonicalize_name(name): version
    for name, version in (
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")
    )
}


@pytest.mark.parametrize("needed", NEEDED, ids=str)
def test_each_dependency_has_bounds(needed: Requirement) -> None:
    """From the first version that works to the major version that was tried, which constraints.txt names."""
    assert {each.operator for each in needed.specifier} == {">=", "<"}
    assert needed.specifier.contains(TRIED[canonicalize_name(needed.name)])


def test_there_are_few() -> None:
    """Each one more is one more to trust."""
    assert len(PROJECT["dependencies"]) <= 6
