"""`perdure check`: what is wrong with scripts, and do unfinished runs fit them as they are now?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from perdure.check.checker import check as check_sources
from perdure.check.findings import Finding, Problem, Unseen
from perdure.check.renamed import OF_AGENTS, RecordedStep
from perdure.check.sources import Unreadable
from perdure.config import settings
from perdure.engines.features import Feature
from perdure.engines.interface import ReplayCheck
from perdure.errors import NotFound, PerdureError
from perdure.operations.location import Location, locate, locate_state_file

__all__ = ["Checked", "check"]

UNFINISHED = ("running", "failed")


class Checked(msgspec.Struct, frozen=True):
    """All that a check says. `runs` are those under way on a cluster; empty without one."""

    files: int
    findings: list[Finding]
    problems: list[Problem]
    not_seen: list[Unseen]
    runs: list[ReplayCheck] = []


def check(
    paths: Sequence[Path], *, hints: bool = False, state: Path | None = None, engine: str | None = None
) -> Checked:
    """Check scripts by their source, without importing or running them, and against the runs that are unfinished.

    Args:
        paths: files and folders.
        hints: hints too.
        state: the state file; by default that of each script, if there is one.
        engine: the address of a cluster: its runs under way are replayed, for which the scripts *are* imported.

    Raises:
        OptionError: the address names no engine that has workers, or both a state file and a cluster were named.
        NotFound: there is no such state file.
        StateError: the state file that was named cannot be used.
        EngineError: the cluster cannot be reached.
        Exception: with an engine, whatever a script raises when it is loaded.
    """
    if state is not None:
        where = locate(state, engine=engine)
        if not where.is_there():
            raise NotFound(f"there is no state file: {state}", "name another: --state PATH")
        recorded = [_recorded(where)]
    found = check_sources(
        paths, hints, lambda script: _of(script, recorded[0] if state is not None else _beside(script))
    )
    runs: list[ReplayCheck] = []
    if engine is not None and not found.problems:
        from perdure.operations import replay_check

        url = settings.engine_url(str(paths[0]), engine)
        runs = list(replay_check.check(url, [path for path in paths if path.is_file()]))
    return Checked(found.files, found.findings, found.problems, found.not_seen, runs)


_Recorded = list[tuple[str, RecordedStep]]


def _of(script: Path, recorded: _Recorded) -> list[RecordedStep]:
    """What unfinished runs of that script have."""
    real = os.path.realpath(script)
    return [step for path, step in recorded if os.path.realpath(path) == real]


def _beside(script: Path) -> _Recorded:
    """What the state file of a script has, if there is one; one that cannot be read is a line, and no more."""
    location = locate_state_file(None, script)
    try:
        return _recorded(location) if location.is_there() else []
    except (PerdureError, OSError) as error:
        what = error.what if isinstance(error, PerdureError) else str(error)
        raise Unreadable(f"whether steps were renamed: {what}") from None


def _recorded(location: Location) -> _Recorded:
    from perdure.operations.location import opened

    location.require(Feature.STATE_FILE)
    found: _Recorded = []
    with opened(location) as store:
        for status in UNFINISHED:
            for run in store.runs(status=status, children=True, most=-1):
                if run.superseded:
                    continue
                counts: dict[str, int] = {}
                for _, name, _, _, outcome, kind in store.index(run.rid):
                    if kind == "step" and outcome == "done":
                        counts[name] = counts.get(name, 0) + 1
                for name, count in counts.items():
                    function = store.function(run.rid, "step", name)
                    if function is not None and function.qualname == OF_AGENTS:
                        continue
                    file = "" if function is None or function.file.startswith("<") else function.file
                    file = os.path.join(os.path.dirname(run.path), file) if file else ""
                    found.append((run.path, RecordedStep(run.id, run.workflow, name, count, file)))
    return found
