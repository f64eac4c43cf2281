"""Runs that another engine describes are looked at like those of a state file: their calls, waits, signals, letters."""

from __future__ import annotations

from pathlib import Path

from perdure.core.records import AttemptRecord, StepRecord
from perdure.operations.diagnose_facts import RunFacts
from perdure.store import dead_letters, published, signals
from perdure.store.cluster_snapshot import ListedLetter, ListedRun, ListedWait, Snapshot
from perdure.store.dead_letters import Filter

NOW = 1_800_000_000.0


def listed(id: str, **more: object) -> ListedRun:
    about = {"path": "/srv/job.py", "workflow": "job", "key": bytes(16), "parent": None, "status": "running"}
    times = {"input": b"in", "output": None, "created": NOW, "started": NOW, "ended": None}
    return ListedRun(id, **{**about, **times, **more})  # type: ignore[arg-type]


def test_a_run_has_what_is_said_of_it(tmp_path: Path) -> None:
    """Each run its own, in the order of the calls; one that waits for another finds it, wherever it stands."""
    steps = [
        StepRecord(1, "work", bytes(16), 0, "done", b"in", b"out", NOW, 0, 1, 0, "step"),
        StepRecord(2, "fails", bytes(16), 0, "dead", b"in", b"out", NOW, 2500, 1, 0, "step"),
    ]
    attempt = AttemptRecord(0, "fails", bytes(16), 0, 1, True, b"in", b"error", NOW, 2500, 0)
    letters = [
        ListedLetter("paid", "", "id-1", b"yes", NOW + 1, "taken", None),
        ListedLetter("sent", "", None, b"no", NOW + 2, "stored", None),
    ]
    waits = [
        ListedWait("wait", bytes(16), 0, 0, None, None, NOW, None, run="later"),
        ListedWait("wait", bytes(16), 0, 1, "sent", "", NOW, NOW + 9),
    ]
    runs = [
        listed("parent", steps=steps, attempts=[attempt], letters=letters, waits=waits, published=[("at", b"7", NOW)]),
        listed("child", parent="parent", status="done", output=b"out", ended=NOW + 5, steps=steps[:1]),
        listed("later", status="queued", queue="mail", wake=NOW + 60, hold="held", letters=letters[:1]),
    ]
    store = Snapshot(tmp_path / "state.db", runs, "cluster x")
    try:
        parent, child, later = (store.run(run.id) for run in runs)
        assert (parent.script, parent.path, parent.parent, child.parent) == ("job.py", "/srv/job.py", None, parent.rid)
        assert (child.status, child.output, child.ended) == ("done", b"out", NOW + 5)
        assert (later.queue, later.wake, later.hold) == ("mail", NOW + 60, "held")
        assert [record.name for record in store.all_records(parent.rid)] == ["work", "fails"]
        assert [record.name for record in store.all_records(child.rid)] == ["work"]
        assert [one.number for one in store.attempts_of(parent.rid, "fails", bytes(16), 0)] == [1]
        (letter,) = dead_letters.find(store, Filter())
        assert (letter.run, letter.seq, letter.status, letter.created) == (parent.rid, 2, "parked", NOW + 2.5)
        assert [(one.event, one.value) for one in signals.not_taken(store, parent.rid)] == [("sent", b"no")]
        assert signals.not_taken(store, later.rid) == []
        rows = store.journal.read(
            lambda connection: connection.execute(
                "SELECT position, awaited, event, due FROM wait ORDER BY position"
            ).fetchall()
        )
        assert rows == [(0, later.rid, None, None), (1, None, "sent", NOW + 9)]
        assert [(one.name, one.value) for one in published.of_run(store, parent.rid)] == [("at", b"7")]
        assert (store.place, store.counts_queues) == ("on cluster x", False)
        held = store.holding(parent)
        assert held is not None
        assert (held.host, held.started) == ("cluster x", NOW)
        assert store.holding(child) is None
    finally:
        store.close()


def test_workers_have_clocks_of_their_own(tmp_path: Path) -> None:
    """That one record ends before the one that came before it says nothing of a clock, but on one machine."""
    steps = [
        StepRecord(seq, "work", bytes([seq] * 16), 0, "done", b"in", b"out", NOW - 10 * seq, 0, 1, 0, "step")
        for seq in (1, 2)
    ]
    store = Snapshot(tmp_path / "state.db", [listed("run", steps=steps)], "cluster x")
    try:
        run = store.run("run")
        assert [seq for seq, *_ in RunFacts(store, run, NOW).backward] == [2]
        assert RunFacts(store, run, NOW, one_clock=False).backward == []
    finally:
        store.close()
