"""What an open page is told of changes: in which runs something was recorded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from listed_runs import Listed, Questions

from perdure.store.changes import STILL, Changes


@pytest.fixture
def listed(tmp_path: Path) -> Iterator[Listed]:
    made = Listed(tmp_path / "state.db")
    yield made
    made.store.close()


def test_runs_that_have_changed_are_named(listed: Listed) -> None:
    """One that is at work, with the run that it is a child of; one that was begun; none that is as it was."""
    parent, other = listed.run("parent"), listed.run("other", "running")
    child = listed.run("child", "running", parent=parent.rid)
    changes = Changes(listed.store.path)
    try:
        changes.runs()
        assert changes.runs() == []
        listed.steps(child, "pay")
        assert changes.runs() == ["child", "parent"]
        listed.steps(other, "pay")
        listed.run("new")
        assert changes.runs() == ["other", "new"]
        assert changes.runs() == []
        with apsw.Connection(str(listed.store.path)) as another:
            another.execute("UPDATE run SET status = 'cancelled', crc = crc + 1 WHERE rid = ?", (other.rid,))
        assert changes.runs() == ["other"]
        assert changes.runs() == []
    finally:
        changes.close()


def test_a_run_that_is_asked_about_is_looked_at_whole(listed: Listed) -> None:
    """What is recorded of one that nothing executes is told too, a failed attempt and a dead letter for instance."""
    done, quiet = listed.run("done"), listed.run("quiet")
    changes = Changes(listed.store.path)
    asked = ("done", "quiet", "nothing")
    try:
        assert changes.runs(asked) == ["done", "quiet"]
        assert changes.runs(asked) == []
        listed.tried(done, "pay", 7, 1)
        assert changes.runs(asked) == ["done"]
        listed.steps(done, "pay", status="dead")
        assert changes.runs(asked) == ["done"]
        listed.run("child", parent=quiet.rid)
        assert changes.runs(asked) == ["child", "quiet"]
        assert changes.runs(asked) == []
    finally:
        changes.close()


def test_each_commit_is_noticed_and_a_file_at_rest_is_not_asked(
    listed: Listed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At rest the time of the log says so. Commits that follow each other may have one time: it is whole seconds on
    some file systems."""
    log = f"{listed.store.path}-wal"
    changes = Changes(listed.store.path)
    try:
        for _ in range(STILL + 1):
            version = changes.records()
        questions = Questions(changes._store, monkeypatch)
        assert (changes.records(), questions.asked) == (version, 0)
        for number in range(3):
            listed.run(f"r{number}")
            if number == 0:
                os.utime(log, ns=(0, 0))
                stamp = os.stat(log).st_mtime_ns
            os.utime(log, ns=(stamp, stamp))
            known, version = version, changes.records()
            assert version != known
    finally:
        changes.close()
