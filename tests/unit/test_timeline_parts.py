"""A part of a run in time: its calls one by one where they are few, however many the run has."""

from __future__ import annotations

from pathlib import Path

import pytest
from listed_runs import Listed

from perdure.operations import timeline


def test_a_part_of_a_long_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that were executed in it, also those that began before; where they are many, spans of that part alone."""
    monkeypatch.setattr(timeline, "MOST", 5)
    listed = Listed(tmp_path / "state.db")
    run = listed.run("long")
    listed.steps(run, *["pay"] * 20, ms=500)  # one a second, from second 1
    try:
        whole = timeline.timeline_of(listed.store, run, 10)
        assert (whole.calls, whole.since, whole.until, whole.total) == (None, 0.0, 20_500.0, 20)
        part = timeline.timeline_of(listed.store, run, 10, 3_300, 5_700)
        assert [one.seq for one in part.calls or ()] == [3, 4, 5]
        assert (part.bins, part.since, part.until, part.total, part.length) == (None, 3_300, 5_700, 20, 20_500.0)
        many = timeline.timeline_of(listed.store, run, 10, 4_500, 14_500)
        assert many.calls is None
        assert many.bins is not None
        assert many.bins.done == [1] * 10
        assert (many.since, many.until) == (4_500, 14_500)
        beyond = timeline.timeline_of(listed.store, run, 10, 90_000, 95_000)
        assert ([one.seq for one in beyond.calls or ()], beyond.since) == ([20], 20_500.0)
    finally:
        listed.store.close()
