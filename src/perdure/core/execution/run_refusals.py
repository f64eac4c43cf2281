"""Why a run is not begun, or not gone on with, in words: it has ended, waits, is another, or has handled failures."""

from __future__ import annotations

import shlex

from perdure.core import commands
from perdure.core.execution.history import History
from perdure.core.records import RunRecord
from perdure.core.values import codec
from perdure.errors import Cancelled, OtherInputs, RunError, StateCorrupt, Suspended


def cancelled(id: str) -> Cancelled:
    """The error for a run that was cancelled."""
    return Cancelled(
        f"run {id} was cancelled", "call it again: that is a new run; one that has an id of its own needs another id"
    )


STAYS = ("code-drift", "schema-change", "state-drift")
"""Codes of errors that stop a run again at the same place, if it is only gone on with."""

ANEW = "a run of the same inputs starts anew"
ITS_ID = "its id stands for it, or for a fork of it; a new run needs another id"


def way_on(run: RunRecord, status: str, error: Exception) -> str:
    """What follows on the end of a run that has not come to a good one.

    Args:
        run: which.
        status: how it has ended.
        error: what ended it; a RunError says what has to be done before it is gone on with.
    """
    anew = ITS_ID if run.named else ANEW
    match status:
        case "cancelled":
            return anew
        case "parked":
            return f"`perdure resume {shlex.quote(run.id)}` tries it again, and {anew}"
        case _:
            first = "do that first, then " if isinstance(error, RunError) else ""
            return f"{first}run the script again to go on from here"


def with_way_out(error: StateCorrupt, id: str) -> StateCorrupt:
    """That something of the run of that id is damaged, with the command that ends it all the same.

    Of damage to the file as a whole the error says itself how to begin without it.
    """
    if "--set-aside" not in error.hint and "--skip-damaged" not in error.hint:
        error.hint += f"; or give up what is damaged, and end run {id}: `{commands.cancel_damaged(id)}`"
    return error


def ended(run: RunRecord) -> RunError:
    """The run cannot be gone on with, nor begun again under its id."""
    if run.status == "parked":
        return RunError(
            f"run {run.id} has failed too often and is parked",
            f"run it once more: `perdure resume {shlex.quote(run.id)}`; then go on with the run that calls it",
        )
    fork = f"perdure fork {shlex.quote(run.id)} --from"
    return RunError(
        f"run {run.id} was {run.status}",
        f"make a fork, for which its id stands then: `{fork} STEP` has what it did before that step, `{fork} '#1'` "
        "nothing; a new run needs another id",
    )


def other_inputs(id: str, workflow: str, given: bytes, now_workflow: str, now: bytes) -> OtherInputs:
    """The id stands for a run with other inputs, or of another workflow."""
    if workflow != now_workflow:
        return OtherInputs(
            f"run {id} is one of workflow {workflow!r}, and its id is given to one of {now_workflow!r} now\n"
            f"    recorded: {workflow}{codec.describe_inputs(given)}\n"
            f"    now:      {now_workflow}{codec.describe_inputs(now)}",
            f"let the workflow keep its name in the state if it was renamed, @workflow(name={workflow!r}); if it is "
            "another one, give its run another id: an id stands for exactly one run",
        )
    return OtherInputs(
        f"run {id} was started with other inputs\n"
        f"    recorded: {workflow}{codec.describe_inputs(given)}\n"
        f"    now:      {now_workflow}{codec.describe_inputs(now)}",
        "give these inputs another id: an id stands for exactly one run",
    )


def suspended(run: RunRecord) -> Suspended:
    """All branches of the run wait: it is left, or not begun again."""
    return Suspended(
        f"run {run.id} is suspended",
        f"run the script again when it is due; `perdure resume --wait {shlex.quote(run.id)}` and "
        "`perdure worker` stay and go on with it",
        run=run.id,
        wake=run.wake,
    )


def after_others(id: str) -> RunError:
    """The run cannot be gone on with: others of its schedule come before it."""
    return RunError(
        f"run {id} begins when the runs of its schedule before it have ended, and not now",
        f"see those with `perdure why {shlex.quote(id)}`, and wait, or cancel them",
    )


def superseded(run: RunRecord, by: RunRecord) -> RunError:
    """The run cannot be gone on with: its fork stands on what it has done."""
    fork = shlex.quote(by.id)
    return RunError(
        f"run {run.id} is superseded by its fork {by.id}, which stands on what it has done",
        f"name the fork: `perdure resume {fork}`, `perdure fork {fork} --from STEP` or `perdure cancel {fork}`",
    )


def handled(history: History) -> str:
    """That failures which the workflow has handled are not tried again, and what tries them."""
    from perdure.core import commands

    count = len(history.handled)
    are = "1 failure that it has handled is" if count == 1 else f"{count} failures that it has handled are"
    top, above = history.top()
    way = commands.fork(top, above or f"#{min(history.handled)}")
    return f"{are} history, which no run of the script tries again; to try from there: {way}"
