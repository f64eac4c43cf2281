"""Runs as any process sees them that finds their state file: `perdure.run`, `perdure.runs`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from perdure.api.builtin import builtin
from perdure.api.handle import Handle
from perdure.api.recorded_answers import answer, asked, find
from perdure.core.records import RunRecord, RunStatus
from perdure.errors import NotFound, OptionError

if TYPE_CHECKING:
    from perdure.store.run_pages import DamagedRun


@dataclass(frozen=True)
class RunInfo:
    """A run, as it was when `perdure.runs` was called.

    Attributes:
        id: the id of the run; `perdure.run(id)` is its handle.
        workflow: the name of its workflow.
        status: "queued", "running", "suspended", "failed", "parked", "done" or "cancelled"; "damaged" if its row in the
            state file is not as it was written: nothing but its id and its workflow's name is known then.
        script: where its script was last seen; empty if that is not known.
        created: when the run was made, in UTC; None if that is not known.
        started: when it was last begun or resumed, in UTC; None if that is not known.
        ended: when it ended, in UTC; None if it has not, or that is not known.
    """

    id: str
    workflow: str
    status: RunStatus | Literal["damaged"]
    script: str
    created: datetime | None
    started: datetime | None
    ended: datetime | None


def run(id: str) -> Handle[Any]:
    """The handle of a run, by its id: from any process that finds the state file, with or without the run's script.

    In a workflow it is recorded whether there is such a run, as `Handle.status` is.

    Its `result()` is of the workflow's own types if this process has defined the workflow, else plain data: dicts,
    lists, texts and numbers. In a workflow it is of those types if the script of the workflow that asks defines or
    imports the other one, at its top level, whatever else is loaded; that is recorded, too.

    Args:
        id: the whole id, as `Handle.id` and `perdure ps` have it.

    Raises:
        NotFound: there is no such run, or no state file. In a workflow on a cluster, `result()` raises it.
        StateError: the state file cannot be read.
        EngineError: the cluster cannot be reached.
    """
    if not isinstance(id, str):
        raise OptionError(f"the id of a run is {id!r}", "give the text that Handle.id has")
    from perdure.api.result_in_workflow import workflow_around
    from perdure.config import settings
    from perdure.engines.selection import runs_at

    url, state = _place()
    at = runs_at(url, state)
    around = workflow_around(at.state_file)
    of_types = None
    if around is None or url == settings.LOCAL:
        of_types = answer(find, (at, around), id)
    return Handle(id, at, of_types=of_types)


def runs(*, status: RunStatus | None = None, workflow: str | None = None, most: int = 100) -> list[RunInfo]:
    """The newest runs, the newest first; child runs are not among them. In a workflow it is recorded.

    Args:
        status: only runs of that status. None: all, those that are damaged too.
        workflow: only runs of the workflow of that name. None: all.
        most: so many at most, from 1.

    Raises:
        OptionError: an option is not valid.
        StateError: the state file cannot be read. Without a state file there are no runs.
        EngineError: the cluster cannot be reached.
    """
    if status is not None and status not in get_args(RunStatus):
        raise OptionError(f"status is {status!r}", f"give one of: {', '.join(get_args(RunStatus))}")
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise OptionError(f"most is {most!r}", "give a whole number from 1")
    try:
        url, state = _place()
    except NotFound:
        return []
    found: list[RunInfo] = answer(_runs, (url, state), status, workflow, most)
    return found


@builtin("perdure.runs", in_place=True)
def _runs(status: RunStatus | None, workflow: str | None, most: int) -> list[RunInfo]:
    from perdure.engines.selection import records_at
    from perdure.store import run_pages

    url, state = asked()
    found: list[RunInfo] = []
    with records_at(url, state, most=most) as store:
        before = run_pages.last_number(store) + 1
        wanted = run_pages.Wanted(status, workflow=workflow)
        while before > 0 and len(found) < most:
            some, before = run_pages.chunk(store, wanted, before, most - len(found))
            found += map(_info, some)
    return found


def _place() -> tuple[str, Path]:
    """The engine and the state file that the settings in force name.

    Raises:
        NotFound: there is no state file.
    """
    from perdure.api.caller import scope_of_caller, script_of_caller
    from perdure.config import settings
    from perdure.engines.features import Feature
    from perdure.engines.selection import capabilities_at

    scope = scope_of_caller()
    if scope is not None:
        return settings.LOCAL, scope.resources.store.path
    script = script_of_caller()
    url, state = settings.engine_url(script), settings.state_path(script)
    if capabilities_at(url).supports(Feature.STATE_FILE) and not state.exists():
        raise NotFound(
            f"there is no state file: {state}", "start a run first, or set PERDURE_STATE to the file of those runs"
        )
    return url, state


def _info(run: RunRecord | DamagedRun) -> RunInfo:
    if not isinstance(run, RunRecord):
        return RunInfo(run.id, run.workflow, "damaged", "", None, None, None)
    ended = None if run.ended is None else _time(run.ended)
    return RunInfo(run.id, run.workflow, run.status, run.path, _time(run.created), _time(run.started), ended)


def _time(stamp: float) -> datetime:
    return datetime.fromtimestamp(stamp, UTC)
