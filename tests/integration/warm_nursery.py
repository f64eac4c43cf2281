"""Crash tests whose fork server begins warm: most of their time goes into its imports, and they are many.

Lives in another environment have a fork server with that environment, instead of an interpreter each. Those of the
command begin both as users do.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest

import warm
from perdure.crashtest import campaign, lives

SCRIPTS = ("asyncio", "json", "random", "sqlite3", "urllib.request", "uuid", *filter(find_spec, ("aiohttp", "httpx")))
"""What the scripts import, as far as it is installed."""


def start(words: list[str], **options: Any) -> subprocess.Popen[Any]:
    """As `subprocess.Popen` starts it; `-P` keeps the working directory off the path, and -B is a variable as well."""
    python, *given = [word for word in words[:4] if word != "-B"]
    if given[:2] != ["-P", "-c"]:  # this interpreter has other options
        return subprocess.Popen(words, **options)
    at = words.index("-c") + 1
    return warm.Popen([python, "-c", f"import sys; del sys.path[0]; {words[at]}", *words[at + 1 :]], **options)


class Laboratory(lives.Laboratory):
    """As it is, with a fork server for each environment."""

    _beside: dict[str, lives.Laboratory] | None = None
    """By the seed of hashes."""

    def live(
        self, world: lives.World, kill: Any = None, *, environment: Mapping[str, str] | None = None, shift: float = 0
    ) -> lives.Life:
        if environment is None:
            return super().live(world, kill, shift=shift)
        self._beside = self._beside or {}
        seed = environment["PYTHONHASHSEED"]
        if seed not in self._beside:
            self._beside[seed] = lives.Laboratory(self.target, self.patience)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(lives, "FIRST", environment)
            return self._beside[seed].live(world, kill, shift=shift)

    def __exit__(self, *error: Any) -> None:
        with ExitStack() as ended:
            for each in (self._beside or {}).values():
                ended.push(each)
            super().__exit__(*error)


@pytest.fixture(autouse=True)
def nursery_begins_warm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each fork server of this process is forked."""
    for each in (lives.FIRST, lives.OTHER):
        variables = {"PYTHONHASHSEED": each["PYTHONHASHSEED"], "PYTHONDONTWRITEBYTECODE": "1"}
        warm.begins_with(variables, lives.Nursery.__module__, *lives.OF_EVERY_LIFE, *SCRIPTS)
    with monkeypatch.context() as patched:
        patched.setattr(lives, "subprocess", SimpleNamespace(**{**vars(subprocess), "Popen": start}))
        patched.setattr(campaign, "Laboratory", Laboratory)
        yield
