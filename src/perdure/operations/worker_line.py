"""The first line of a worker: what it serves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from perdure.store import claims
from perdure.store.runs import Store

if TYPE_CHECKING:
    from perdure.engines.local.worker.messages import Loaded


def first_line(names: Sequence[str], loaded: Sequence[Loaded], store: Store) -> str:
    """What a worker serves, and that it is ready.

    Args:
        names: of the scripts and modules.
        loaded: what its processes have loaded.
        store: the state file.

    Raises:
        StateError: the state file cannot be read.
    """
    workflows = {(found.script, found.name) for one in loaded for found in one.workflows}
    parts = [_count(len(workflows), "workflow")]
    asleep = claims.sleeping(store)
    broken = {one.path for each in loaded for one in each.broken}
    text = f"serving {', '.join(names)}: {', '.join(parts)}"
    if asleep:
        text += f"; {asleep:,} {'run sleeps' if asleep == 1 else 'runs sleep'}"
    if broken:
        text += f"; {_count(len(broken), 'script')} cannot be loaded"
    return f"{text}; ready"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
