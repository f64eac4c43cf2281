"""Re-drives dead letters: their calls, or the runs that they stand for, are tried again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from perdure.core.execution.spec import Spec
from perdure.core.letter_record import LetterRecord
from perdure.core.records import RunRecord, StepRecord
from perdure.engines.events import Observer
from perdure.engines.features import Feature
from perdure.engines.local import LocalEngine, engine_at
from perdure.engines.local.redrive import Redriver, Result
from perdure.engines.observers.attach import attached
from perdure.errors import PerdureError, Skipped, StateError
from perdure.operations.after_redrive import follow
from perdure.operations.location import Location, pin
from perdure.operations.run import Execution
from perdure.operations.scripts import step_of, workflow_of
from perdure.store import dead_letters
from perdure.store.runs import Store

__all__ = ["Result", "redrive"]


def redrive(
    location: Location,
    chosen: Sequence[LetterRecord],
    report: Callable[[Result], None],
    *,
    watch: Observer,
    script: Path | None = None,
    rate: tuple[int, float] | None = None,
    concurrency: int = 1,
) -> dict[int, str]:
    """Re-drive letters, each by itself: a failure of one does not stop the others.

    Returns what has to follow, a line for each letter of which something has to; one for all letters of a run.

    Args:
        location: the state file.
        chosen: which; those that stand for whole runs come last, one after the other.
        report: is given what came of each.
        watch: observes the runs that are gone on with.
        script: where the script is now, if not where it was.
        rate: how many may begin in how many seconds.
        concurrency: how many at a time.

    Raises:
        UsageError: the location is a cluster.
        StateError: the state file cannot be used.
    """
    location.require(Feature.CHANGE_DEAD_LETTERS, command="redrive")
    pin(location)  # also for what the scripts look up while they are loaded
    engine = engine_at(location.path)
    engine.observer = attached(engine.observer, str(script) if script else "")
    interval = rate[1] / rate[0] if rate else 0.0
    find = _Finder(engine.store, location, script)
    calls: dict[bytes, list[int]] = {}  # those of one command line together: their script is loaded once for each
    for letter in chosen:
        if letter.seq:
            line = engine.store.command_line(engine.store.run_by_number(letter.run))
            calls.setdefault(b"" if line is None else line.packed(), []).append(letter.lid)

    seen: list[tuple[int, bool]] = []

    def resolved(result: Result) -> None:
        if result.status == "resolved":
            seen.append((result.letter, result.seen))
        report(result)

    for letters in calls.values():
        Redriver(engine, find, resolved, concurrency=concurrency, interval=interval).run(letters)
    for letter in chosen:
        if not letter.seq:
            report(_whole_run(engine, location, letter, script, watch))
    return follow(engine.store, seen)


class _Finder:
    """Finds the steps of records, and loads each script once, also one that cannot be loaded."""

    def __init__(self, store: Store, location: Location, script: Path | None) -> None:
        self._store = store
        self._location = location
        self._script = script
        self._failed: dict[str, Exception] = {}

    def __call__(self, run: RunRecord, record: StepRecord) -> Spec:
        failed = self._failed.get(run.path)
        if failed is not None:
            raise failed
        try:
            function = self._store.function(run.rid, record.kind, record.name)
            return step_of(run, record, self._location, function, self._script)
        except PerdureError:
            raise
        except Exception as error:
            self._failed[run.path] = error
            raise


def _whole_run(
    engine: LocalEngine, location: Location, letter: LetterRecord, script: Path | None, watch: Observer
) -> Result:
    """Go on with a run that was set aside; when it comes to a good end, that resolves its letter."""
    result = partial(Result, letter.lid)
    try:
        run = engine.store.run_by_number(letter.run)
        workflow = workflow_of(run, location, script)
        engine.store.journal.write((), dead_letters.count(engine.store, letter.lid, time.time()))
        execution = Execution(workflow, location, watch)
    except StateError:
        raise
    except Exception as refusal:  # noqa: BLE001  also what a script raises when it is loaded
        return result("refused", refusal)
    try:
        execution.resume(run)
    except Skipped as skipped:
        return result("refused", skipped)
    except StateError:
        raise
    except Exception as error:  # noqa: BLE001  the workflow's own
        return result("failed" if execution.run_id else "refused", error)
    return result("resolved", seen=True)
