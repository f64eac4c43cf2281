"""Commands that only look, in the process of the tests: one of their own would spend most of its time on its start."""

from __future__ import annotations

import io
import os
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from conftest import OURS
from perdure.cli import main
from perdure.engines.local.engine import close_all

LOOKS = (("ps",), ("show",), ("why",), ("diagnose",), ("doctor",), ("dlq", "ls"), ("dlq", "show"))
"""Commands that execute nothing and change nothing."""


def only_looks(words: tuple[str, ...]) -> bool:
    """Is it one of those?"""
    return words[:1] in LOOKS or words[:2] in LOOKS


def looked(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """What such a command says if it is typed in that folder; with these variables, and no others of perdure's."""
    assert only_looks(words), words
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name in os.environ:
            if name.startswith(OURS):
                patch.delenv(name)
        for name, value in env.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        try:
            code = main(list(words))
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            close_all()
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())
