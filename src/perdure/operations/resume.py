"""`perdure resume`: goes back to a run: what it came to, and what it needs to go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from shlex import quote
from typing import Any

from perdure.api.budget import bounds_of
from perdure.core.execution.spending import Bounds
from perdure.core.records import RunRecord
from perdure.core.values import codec
from perdure.engines.features import Feature
from perdure.errors import OptionError, RunError, UsageError
from perdure.operations.location import Location, opened
from perdure.operations.run import LONGEST, Finish
from perdure.store import listing
from perdure.store.unseen_results import unseen


def finished(location: Location, run: RunRecord) -> Finish:
    """How a run that was done before has ended; its script is not needed for that."""
    output = run.output or b""
    result = codec.to_builtins(output)
    shown = None if result is None else codec.describe(output, limit=LONGEST)
    with opened(location, run.id) as store:
        now = store.run(run.id)
        dead, missed = listing.dead_letters(store, now.rid), unseen(store, now) if now.parent is None else None
    return Finish(run.id, run.workflow, result, shown, dead, missed)


def refuse_cancelled(run: RunRecord, location: Location) -> None:
    """A cancelled run is not gone on with.

    Raises:
        RunError: it was cancelled.
    """
    if run.status == "cancelled" and location.supports(Feature.STATE_FILE):
        raise RunError(
            f"run {run.id} was cancelled",
            f"make a fork, which has what it did: `perdure fork{location.option} {quote(run.id)} --from STEP`"
            f"; `perdure show{location.option} {quote(run.id)}` lists its steps",
        )


def raise_budget(location: Location, run: RunRecord, bounds: Bounds) -> None:
    """Let the budgets of a run spend so much from now on, where that is more than they say.

    Raises:
        UsageError: the run is on a cluster, which has no budgets, or has ended, so that it spends nothing more.
    """
    location.require(Feature.BUDGET, option="--budget")
    if run.status in ("done", "cancelled"):
        raise UsageError(
            f"run {run.id} is {run.status} and spends nothing more: --budget has no effect",
            f"make steps again in a fork, with --budget there: `perdure fork {quote(run.id)} --from STEP`",
        )
    location.load_engine().raise_bounds(run, bounds)


def without_effect(location: Location, run: RunRecord) -> str:
    """What to say if the bounds that were given when the run was gone on with allow nothing more; else empty."""
    if location.load_engine().raised_any(run) is not False:
        return ""
    return f"--budget has no effect: no budget that run {run.id} has come to allows less"


def read_budget(given: Sequence[str]) -> Bounds:
    """The bounds as they were typed.

    Raises:
        OptionError: one is not written as usd=5, tokens=1000000, calls=100 or seconds=900.
    """
    found: dict[str, Any] = {}
    for text in given:
        name, _, amount = text.partition("=")
        if name not in _BOUNDS or not amount:
            raise OptionError(f"--budget is {text!r}", "write it as usd=5, tokens=1000000, calls=100 or seconds=900")
        try:
            found[name] = _BOUNDS[name](amount)
        except ValueError:
            raise OptionError(f"--budget is {text!r}", f"give a number: --budget {name}=100") from None
    return bounds_of(**found)


_BOUNDS: dict[str, Callable[[str], Any]] = {"usd": float, "tokens": int, "calls": int, "seconds": float}


def accept_changes(location: Location, run: RunRecord) -> None:
    """Do not hold what the run has done against the edited script; nothing if a process executes it at this moment."""
    location.load_engine().accept_changes(run)
