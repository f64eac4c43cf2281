"""A process is made before an attempt that needs one begins: loading a script takes none of its time or its turn."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import step
from perdure.core.execution.call import perform
from perdure.core.execution.effects import Admit, Execute, MakeReady
from perdure.core.execution.history import History
from perdure.core.execution.identity import identify
from perdure.core.execution.spec import spec_of


@step(isolate=True, retry=None, rate="5/s", name="ready-rated")
def rated(n: int) -> int:
    return n


@step(isolate=True, retry=None, timeout="1s", name="ready-bounded")
def bounded(n: int) -> int:
    return n


@pytest.mark.parametrize(("fn", "then"), [(rated, Admit), (bounded, Execute)], ids=["turn", "time"])
def test_neither_its_turn_nor_its_time_passes_while_a_process_is_made(fn: Any, then: type) -> None:
    """What comes after is the turn at the service, or the attempt."""
    spec = spec_of(fn)
    assert spec is not None
    program = perform(identify(spec, (1,), {}), History(1, "run"))
    assert type(next(program)) is MakeReady
    assert type(program.send(None)) is then
