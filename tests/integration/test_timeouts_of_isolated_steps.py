"""A step in a process of its own ends with its timeout, and what it ended with is reported."""

from __future__ import annotations

import os
import signal

import pytest

from conftest import Machine
from perdure import step, workflow
from perdure.core.execution.spec import spec_of
from perdure.engines.processes import template
from perdure.errors import ProcessDied, StepTimeout


@step(isolate=True, retry=None, timeout="1500ms")
def endless() -> None:
    while True:
        pass


@step(isolate=True, retry=None)
def isolated(n: int, how: str = "") -> int:
    if how == "raise":
        raise LookupError("no such thing", n)
    if how == "exit":
        os._exit(7)
    if how == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    return n + os.getppid() * 0


@workflow
def wf_isolated(n: int, how: str) -> int:
    return isolated(n, how)


@workflow
def wf_endless() -> None:
    endless()


def test_an_endless_loop_in_a_process_of_its_own_is_killed(machine: Machine) -> None:
    """Nothing of it is left."""
    with pytest.raises(StepTimeout, match="did not finish within"):
        wf_endless()


@pytest.mark.parametrize(
    ("how", "error", "text"),
    [
        ("raise", LookupError, "no such thing"),
        ("exit", ProcessDied, "exit code 7"),
        ("segfault", ProcessDied, "SIGSEGV"),
    ],
)
def test_what_a_process_of_its_own_ends_with_is_reported(
    machine: Machine, how: str, error: type[Exception], text: str
) -> None:
    """Its exception as if it were raised here; its death as such."""
    with pytest.raises(error, match=text):
        wf_isolated(1, how)


def test_a_process_is_made_at_once_when_it_is_ready() -> None:
    """The script has been loaded by then."""
    spec = spec_of(isolated)
    assert spec is not None
    template.make_ready(spec)
    assert template.is_ready(spec)


def test_a_process_of_its_own_returns_its_result(machine: Machine) -> None:
    """Arguments go there and the result comes back."""
    assert wf_isolated(41, "") == 41
