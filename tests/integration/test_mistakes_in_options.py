"""Wrong options and settings are refused at once, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from plain_functions import add

from conftest import Machine
from perdure import step, workflow
from perdure.errors import OptionError, StopRun

MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "near miss": (lambda: step(timout="3s")(add), "did you mean 'timeout'"),
    "far miss": (lambda: step(colour="red")(add), "give one of its options: name, retry"),
    "workflow option": (lambda: workflow(nmae="x")(add), "did you mean 'name'"),
    "no function": (lambda: step("charge"), "not a function"),
    "twice": (lambda: step(step(add)), "is already a step"),
    "generator": (lambda: step(lambda: (yield)), "generator"),
    "empty name": (lambda: step(name="")(add), "name"),
    "zero timeout": (lambda: step(timeout=0)(add), "timeout is 0"),
    "bad timeout": (lambda: step(timeout="soon")(add), "timeout"),
    "bad retry": (lambda: step(retry=3)(add), "retry"),
    "local and isolated": (lambda: step(isolate=True)(lambda: 1), "top level"),
    "ensure of two arguments": (lambda: step(ensure=lambda a, b: True)(add), "with the result alone"),
    "ensure without arguments": (lambda: step(ensure=lambda: True)(add), "with the result alone"),
    "ensure with a keyword": (lambda: step(ensure=lambda r, *, limit: True)(add), "with the result alone"),
    "workflow of a step": (lambda: workflow(step(add)), "only decorator"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_refused_when_the_decorator_runs(mistake: str) -> None:
    """What is wrong, and what was probably meant."""
    make, text = MISTAKES[mistake]
    with pytest.raises(OptionError, match=text):
        make()


@pytest.mark.parametrize(
    ("name", "value"), [("STEP_TIMEOUT_MS", "soon"), ("STEP_TIMEOUT_MS", "-1"), ("PERDURE_ENGINE", "cloud://x")]
)
def test_wrong_settings_are_named(machine: Machine, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """The setting, its value, and what it could be."""
    monkeypatch.setenv(name, value)

    @workflow
    def wf() -> None:
        step(add)(1)

    with pytest.raises(OptionError, match=rf"{name}[\s\S]*'{value}'|'{value}'[\s\S]*{name}"):
        wf()


def test_stopping_a_run_is_no_exception() -> None:
    """`except Exception` does not catch it."""
    assert not issubclass(StopRun, Exception)
