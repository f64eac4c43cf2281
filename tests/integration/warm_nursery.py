"""Crash tests whose fork server begins warm: most of their time goes into its imports, and they are many.

Those of the command begin it as users do.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest

import warm
from perdure.crashtest import lives

VARIABLES = {"PYTHONHASHSEED": lives.FIRST["PYTHONHASHSEED"], "PYTHONDONTWRITEBYTECODE": "1"}
SCRIPTS = ("asyncio", "json", "random", "sqlite3", "urllib.request", "uuid", *filter(find_spec, ("aiohttp", "httpx")))
"""What the scripts import, as far as it is installed."""


def start(words: list[str], **options: Any) -> subprocess.Popen[Any]:
    """As `subprocess.Popen` starts it; `-P` keeps the working directory off the path, and -B is a variable as well."""
    python, *given = [word for word in words[:4] if word != "-B"]
    if given[:2] != ["-P", "-c"]:  # this interpreter has other options
        return subprocess.Popen(words, **options)
    at = words.index("-c") + 1
    return warm.Popen([python, "-c", f"import sys; del sys.path[0]; {words[at]}", *words[at + 1 :]], **options)


@pytest.fixture(autouse=True)
def nursery_begins_warm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each fork server of this process is forked."""
    warm.begins_with(VARIABLES, lives.Nursery.__module__, *lives.OF_EVERY_LIFE, *SCRIPTS)
    with monkeypatch.context() as patched:
        patched.setattr(lives, "subprocess", SimpleNamespace(**{**vars(subprocess), "Popen": start}))
        yield
