"""What programs of npm say of the page's modules; skipped, with the reason, where they are not to be had."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from page_tools import LAYOUT, TYPES, Missing, commands, npm
from perdure.web import packing


def told(program: str, *args: str) -> subprocess.CompletedProcess[str]:
    try:
        return npm(program, *args)
    except Missing as missing:
        pytest.skip(str(missing))


def test_types_of_the_modules_fit(tmp_path: Path) -> None:
    """tsc finds nothing: neither a name that there is not, nor a call with other arguments than are taken.

    But for a control beside them, which gives a text where a number is taken.
    """
    wrong = tmp_path / "wrong.js"
    wrong.write_text("/** @param {number} x */\nconst twice = x => 2 * x;\ntwice('2');\n")
    found = told("tsc", *TYPES, packing.FIRST, str(wrong))
    (fault,) = (line for line in found.stdout.splitlines() if "error TS" in line)
    assert "wrong.js" in fault
    assert "TS2345" in fault


def test_the_modules_are_laid_out() -> None:
    """As `python3 dev.py page` does it."""
    found = told("prettier", *LAYOUT, "--check", *packing.sources())
    assert found.returncode == 0, found.stdout + found.stderr


def test_what_is_served_is_what_is_made_of_the_modules(tmp_path: Path) -> None:
    """Nobody has changed the script or the stylesheet by hand."""
    for command in commands(tmp_path):
        done = told(*command)
        assert done.returncode == 0, done.stderr
    for made in tmp_path.iterdir():
        assert made.read_bytes() == packing.assets()[made.name]
