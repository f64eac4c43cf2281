"""What still works on a run is known by itself: an interrupt between its beginning and its end loses nothing."""

from __future__ import annotations

from perdure.engines.runtime.work_under_way import WorkUnderWay


def test_what_never_began_may_end() -> None:
    """Ctrl-C comes before or behind the beginning, and who is interrupted cannot know: the run is let go either way."""
    work, interrupted, other = WorkUnderWay(), object(), object()
    over: list[str] = []
    work.take(other)
    work.drop(interrupted)
    work.then(lambda: over.append("over"))
    assert over == []
    work.take(interrupted)
    work.drop(interrupted)
    work.drop(interrupted)
    assert over == []
    work.drop(other)
    assert over == ["over"]
    work.wait()
