"""A script whose path no record can hold is refused before anything is executed, with an error that has a code."""

from __future__ import annotations

import os

import pytest

from conftest import Scripts
from perdure.cli import main

SCRIPT = """
from perdure import workflow

@workflow
def latin_named() -> int:
    print("executed")
    return 1

if __name__ == "__main__":
    latin_named()
"""


def test_a_script_with_a_latin_name(scripts: Scripts, capsys: pytest.CaptureFixture[str]) -> None:
    """`python` raises a UsageError that names it; `run` and `worker` end with the code `usage`."""
    try:
        script = scripts.write(SCRIPT, os.fsdecode(b"n\xe4chtlich.py"))
    except OSError:
        pytest.skip("the file system takes no such name")
    done = scripts.run(script)
    assert done.returncode == 1
    assert r"perdure.errors.UsageError: the path of the script is not UTF-8" in done.stderr
    assert r"n\xe4chtlich.py" in done.stderr
    assert "executed" not in done.stdout
    for command in (["run"], ["worker", "--once"]):
        assert main([*command, str(script)]) == 2
        said = capsys.readouterr()
        assert "error [usage]: the path of the script is not UTF-8" in said.err
        assert "what to do: rename the file" in said.err
        assert "executed" not in said.out
