"""Counts of long runs that have ended are kept by the page's server, and not shown when they are no longer true."""

from __future__ import annotations

from pathlib import Path

from listed_runs import Listed

from perdure.core.records import RunRecord
from perdure.operations.kept_counts import LONG, counted
from perdure.operations.step_groups import groups_of


def times_counted(listed: Listed, run: RunRecord) -> int:
    """How often two questions about a run made it be counted."""
    counts: list[int] = []
    for _ in range(2):
        counted(listed.store, run, "times", lambda: counts.append(1))
    return len(counts)


def test_only_what_stays_is_kept(tmp_path: Path):
    """A long run that has ended is counted once; a short one, and one that goes on, each time."""
    listed = Listed(tmp_path / "state.db")
    long, short, open_ = listed.run("long"), listed.run("short"), listed.run("open", "suspended")
    listed.steps(long, *["step"] * LONG)
    listed.steps(short, "step")
    listed.steps(open_, *["step"] * LONG)
    assert [times_counted(listed, run) for run in (long, short, open_)] == [1, 2, 2]
    listed.store.close()


def test_what_has_changed_is_counted_anew(tmp_path: Path):
    """A call whose letter was resolved after the end of its run is no dead one any more, also for who looked before."""
    listed = Listed(tmp_path / "state.db")
    run = listed.run("long")
    listed.steps(run, *["step"] * LONG)
    listed.steps(run, "step", status="dead")
    assert [(one.done, one.dead) for one in groups_of(listed.store, run)] == [(LONG, 1)]
    listed.store.journal.write((), lambda at: at.execute("UPDATE step SET status = 'done' WHERE status = 'dead'"))
    assert [(one.done, one.dead) for one in groups_of(listed.store, run)] == [(LONG + 1, 0)]
    listed.store.close()
