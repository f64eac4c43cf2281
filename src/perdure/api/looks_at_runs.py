"""What a workflow sees of other runs: recorded, so that it decides the same when it is resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perdure.api.caller import scope_of_caller
from perdure.api.step import builtin
from perdure.core.records import RunStatus
from perdure.engines.interface import StepContext, here
from perdure.store.runs import Store


def is_recorded(state: Path | None) -> bool:
    """Is the caller in a workflow, outside of its steps, whose records and what it looks at are in that state file?"""
    context = here.get()
    scope = None if context is None or isinstance(context, StepContext) else scope_of_caller()
    return scope is not None and scope.resources.store.path == state


def _store() -> Store:
    scope = scope_of_caller()
    assert scope is not None  # these are called in workflows only
    return scope.resources.store


@builtin("perdure.status", in_place=True)
def status(id: str) -> RunStatus:
    """How a run stands, or its newest fork, which answers for it."""
    store = _store()
    return store.newest(store.run(id)).status


@builtin("perdure.published", in_place=True)
def published_by(id: str, name: str) -> Any:
    """What a run has published last under a name, as plain data."""
    from perdure.api.run_outcome import published_in

    return published_in(_store(), id, name)
