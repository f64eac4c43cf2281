"""The version that state files record is that of the package."""

from __future__ import annotations

import tomllib
from pathlib import Path

from perdure.core.program_version import VERSION


def test_it_is_that_of_the_package() -> None:
    """It is written a second time, since asking for the package's takes longer than a start may."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION
