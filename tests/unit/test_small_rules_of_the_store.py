"""Rules of the store that fit on a line: keyed requests, notes of why a run was left, copies of schedules, changes."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from schedule_world import DAY, HOUR, World, at, world
from test_claims import RUN

import perdure
from conftest import Died, Machine, Trouble
from perdure import step, workflow
from perdure.core.dead_letters import describe
from perdure.core.execution.spending import Bounds
from perdure.errors import StateCorrupt
from perdure.store import (
    bell,
    dead_letter_file,
    dead_letters,
    keyed_requests,
    listing,
    lives,
    metrics,
    parking,
    schedule_clock,
    schedule_copies,
    schedule_runs,
    schedules,
    sessions,
    spending,
    sqlite_dump,
    stop_notes,
    timeline,
    waits,
)
from perdure.store.changes import Changes
from perdure.store.dead_letter_file import LetterFile, letter_details
from perdure.store.keyed_requests import KEPT, KeyedRequest
from perdure.store.liveness import Liveness, is_held, locks_of, users
from perdure.store.rows import sealed
from perdure.store.runs import Store
from perdure.store.services import Services
from perdure.store.spend_file import Spent
from perdure.store.statements import load
from perdure.store.unknown_calls import unknown_calls


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "state.db")
    yield made
    made.close()


@step(name="small rule", retry=None)
def small(x: int) -> int:
    if x == 3:
        raise Trouble("three")
    return x


@workflow(name="small_rules")
def small_rules(items: list[int]) -> int:
    return len(small.map(items).results)


def test_a_request_is_carried_out_once_by_its_key(store: Store) -> None:
    """Whoever sends it again finds it under way, and later its answer; one that was given back is taken anew."""
    asked = KeyedRequest(b"k" * 16, b"a" * 16, 1000.0, "token")
    again = asked._replace(at=1001.0, token="other")
    write = store.journal.write
    assert write((), keyed_requests.claim(asked, store.path)) is None
    assert write((), keyed_requests.claim(again, store.path)) == asked
    answer = asked._replace(status=201, media="text/plain", body=b"done")
    write((), keyed_requests.answered(answer))
    assert write((), keyed_requests.claim(again, store.path)) == answer
    write((), keyed_requests.forget(asked.key))
    assert write((), keyed_requests.claim(again, store.path)) is None
    late = asked._replace(at=again.at + KEPT)
    assert write((), keyed_requests.claim(late, store.path)) == again, "it is known for as long as is said"
    assert write((), keyed_requests.claim(late._replace(at=late.at + 1), store.path)) is None


def test_a_request_that_was_changed_from_outside_is_named(store: Store) -> None:
    """An answer that is not the one that was given is not repeated."""
    asked = KeyedRequest(b"k" * 16, b"a" * 16, 1000.0, "token", 200, "text/plain", b"done")
    store.journal.write((), keyed_requests.answered(asked))
    store.journal.write((), lambda connection: connection.execute("UPDATE keyed_request SET status = 201") and None)
    with pytest.raises(StateCorrupt):
        store.journal.write((), keyed_requests.claim(asked, store.path))


def test_why_a_run_was_left_is_kept_beside_the_file(tmp_path: Path) -> None:
    """The last note counts; a damaged or an empty one is none, and nothing is left when the run is taken again."""
    state = tmp_path / "state.db"
    stop_notes.remove(state, "r-1")
    assert stop_notes.get(state, "r-1") is None
    for text in (b"first", b"second"):
        assert stop_notes.put(state, "r-1", text)
    assert stop_notes.put(state, "r-2", b"")
    assert stop_notes.get(state, "r-1") == b"second"
    assert stop_notes.get(state, "r-2") is None
    assert (stop_notes.folder_of(state) / "7d99a80e76bbad0e").exists(), "where an older program has put it"
    note = next(path for path in stop_notes.folder_of(state).iterdir() if path.read_bytes().endswith(b"second"))
    note.write_bytes(note.read_bytes()[:-1] + b"D")
    assert stop_notes.get(state, "r-1") is None
    stop_notes.remove(state, "r-1")
    assert not note.exists()
    stop_notes.remove(state, "r-2")
    assert list(tmp_path.iterdir()) == []
    assert stop_notes.put(state, "r-3", b"w")
    assert stop_notes.get(state, "r-3") == b"w"


def test_a_note_that_cannot_be_written_is_said_to_be_none(tmp_path: Path) -> None:
    """The run is left as it would be without; the caller knows."""
    state = tmp_path / "state.db"
    stop_notes.folder_of(state).write_bytes(b"a file where the folder should be")
    assert not stop_notes.put(state, "r-1", b"why")


def told(made: World) -> list[tuple[float, str, str | None, str]]:
    ids = {run.rid: run.id for run in made.store.runs()}
    return [(row.due, row.outcome, row.reason, ids.get(row.run or 0, "")) for row in made.ticks()]


def test_a_schedule_is_the_same_in_another_file(tmp_path: Path) -> None:
    """With its latest ticks and their runs, and it goes on there as it would have here."""
    (tmp_path / "here").mkdir()
    with world(tmp_path / "here", "2026-11-20T12:00") as made:
        made.declare(missed="all", overlap="queue")
        made.go_on(at("2026-11-24T12:00"))
        made.advance(at("2026-11-25T03:00"))
        assert schedule_copies.copy_of(made.store, "other") is None
        copy = schedule_copies.copy_of(made.store, "nightly")
        assert copy is not None
        again = schedule_copies.unpack(schedule_copies.pack(copy))
        assert schedule_copies.unpack(schedule_copies.pack(None)) is None
        before = told(made)
        with schedule_copies.scratch([None, again]) as store:
            there = World(store, made.now)
            assert told(there) == before
            assert msgspec.structs.asdict(schedules.one(store, "nightly")) == made.row()
            run = store.runs(status="queued")[0]
            schedule_copies.set_status(store, run, "done", ended=made.now)
            assert store.run(run.id).ended == made.now
            for one in (made, there):
                one.end_all()
                one.advance(at("2026-11-26T03:00") + HOUR)
            assert told(there) == told(made)
            assert len(told(there)) == len(before) + 1
        assert not store.path.exists()


def test_of_many_ticks_the_latest_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And each whose run has not ended."""
    monkeypatch.setattr(schedule_copies, "KEPT", 2)
    with world(tmp_path, "2026-11-20T12:00") as made:
        made.declare(overlap="allow")
        made.advance()
        made.advance(at("2026-11-21T03:00"))
        made.go_on(made.now + 5 * DAY, done=False)
        for run in made.store.runs()[:-1]:
            made.end(run.id)
        made.advance(made.now + HOUR)
        copy = schedule_copies.copy_of(made.store, "nightly")
        assert copy is not None
        rows = made.ticks()
        assert [tick.due for tick in copy.ticks] == [rows[-1].due, rows[-2].due, rows[0].due]
        assert len(copy.runs) == 3


def test_what_another_process_does_is_a_change(machine: Machine) -> None:
    """A commit is one of records; looking is none."""
    small_rules([1])
    changes = Changes(machine.state)
    try:
        first, around = changes.records(), changes.around()
        assert (changes.records(), changes.around()) == (first, around)
        small_rules([1, 2])
        assert changes.records() != first
        services = Services(machine.state, lambda: 1.0)
        services.update("pause", "bank", lambda state, now: (msgspec.structs.replace(state, until=now), None))
        services.close()
        assert changes.around() != around
    finally:
        changes.close()


def test_runs_are_counted_for_monitoring(machine: Machine) -> None:
    """By workflow and status; letters by step and class."""
    assert listing.totals(machine.engine.store) == {}
    small_rules([1, 3])
    ended = machine.world.time
    store = machine.engine.store
    assert metrics.runs(store) == {("small_rules", "done"): 1}
    assert metrics.oldest(store) == {}
    assert listing.totals(store) == {"done": 1}
    assert metrics.last_success(store, "small_rules") == ended
    assert metrics.last_success(store, "another") is None
    assert metrics.letters(store) == [("small_rules", "small rule", "Trouble", 1)]


def test_calls_are_counted_in_time(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """By span and status, however many slices that takes."""
    store = machine.engine.store
    begun = machine.world.time
    small_rules([1, 2, 3, 4])
    (run,) = store.runs()
    last, count = timeline.total(store, run.rid)
    assert last == count == 4
    assert timeline.not_done(store, run.rid) == (("dead", 1),)
    assert timeline.extent(store, run.rid) == (begun, machine.world.time)
    assert timeline.extent(store, run.rid + 1) is None
    for size, slices in ((20_000, 1), (3, 2)):
        monkeypatch.setattr(timeline, "SLICE", size)
        found = list(timeline.bins(store, run.rid, begun, 1.0))
        assert len(found) == slices
        assert {(place, status) for rows in found for place, status, *_ in rows} == {(0, "done"), (0, "dead")}
        assert sum(many for rows in found for *_, many, _ in rows) == 4


def test_a_file_of_another_program_is_compared_by_what_is_in_it(tmp_path: Path) -> None:
    """In whatever order its rows were written; a file that is no database is named."""
    found = []
    for name, values in (("a", (1, 2)), ("b", (2, 1))):
        with sqlite3.connect(tmp_path / name) as connection:
            connection.execute("CREATE TABLE t (x)")
            connection.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])
        connection.close()
        found.append(sqlite_dump.statements(tmp_path / name))
    assert found[0] == found[1]
    assert 'INSERT INTO "t" VALUES(1);' in found[0]
    (tmp_path / "c").write_bytes(b"no database" * 100)
    with pytest.raises(OSError, match="c cannot be read"):
        sqlite_dump.statements(tmp_path / "c")


def test_spending_is_counted_for_a_run_and_its_children(machine: Machine) -> None:
    """By call, by child run and by block; a bound that was raised stays so."""

    @step(name="spends", retry=None)
    def spends(tokens: int) -> int:
        perdure.spend(tokens=tokens)
        return tokens

    @workflow(name="spending_child")
    def child() -> int:
        return spends(5)

    @workflow(name="spending_parent")
    def parent() -> int:
        with perdure.budget(tokens=100):
            return spends(3) + child()

    parent()
    store = machine.engine.store
    (run,) = store.runs()
    path = store.path

    def read(function: object, *values: object) -> object:
        return store.journal.read(lambda connection: function(connection, run.rid, *values, path))  # type: ignore[operator]

    assert [amounts.tokens for amounts in read(spending.of_calls).values()] == [3]  # type: ignore[attr-defined]
    assert [amounts.tokens for amounts in read(spending.of_children).values()] == [5]  # type: ignore[attr-defined]
    assert read(spending.of_family).tokens == 8  # type: ignore[attr-defined]
    assert read(spending.raised_bounds) == Bounds()
    for bounds in (Bounds(tokens=9), Bounds(usd=7)):
        store.journal.write((), lambda connection, it=bounds: spending.raise_bounds(connection, run.rid, it, path))  # type: ignore[misc]
    assert read(spending.raised_bounds) == Bounds(tokens=9, usd=7)
    store.journal.write((), lambda connection: connection.execute("UPDATE budget SET tokens = 10") and None)
    with pytest.raises(StateCorrupt):
        read(spending.raised_bounds)


def test_a_statement_waits_for_the_next_transaction(store: Store) -> None:
    """It is carried out with what comes next, and said to be then."""
    done: list[str] = []
    put = spending.put("token", Spent(1, 7, "ask", b"k" * 16, 0, 0, 5, 1, 0, ""))
    store.journal.ahead(*put, then=lambda: done.append("done"))
    assert done == []
    store.journal.write((), lambda connection: None)
    assert done == ["done"]
    found = store.journal.read(lambda connection: spending.of_family(connection, 7, store.path))
    assert found.tokens == 5


def test_calls_whose_outcome_is_not_known_are_named_when_a_run_ends(machine: Machine) -> None:
    """How the last life in their middle ended, alike ones together; not what has a record."""
    small_rules([1])
    store = machine.engine.store
    (run,) = store.runs()
    (record,) = store.records(run.rid)
    assert unknown_calls(store, run, "cancelled") is None
    began = [lives.Cut("mail", bytes([n]) * 16, 0, 2, 1.0) for n in range(6)]
    done = lives.Cut(record.name, record.key, record.n, 1, 1.0)
    inner = lives.Cut("perdure.undo", bytes(16), 0, 1, 1.0)
    for cut, ended, cause in (
        ([*began[:2], done, inner], 60.0, lives.INTERRUPTED),
        (began[2:4], 120.0, "signal 9"),
        ([lives.Cut("mail", bytes(16), 0, 3, 2.0)], 180.0, ""),
    ):
        store.journal.write((), lambda at, it=(cut, ended, cause): lives.add(at, run.rid, "token", *it))  # type: ignore[misc]
    assert unknown_calls(store, run, "cancelled", children=False) == (
        "whether it was done is not known, and it is not undone: "
        "mail (attempt 3 was under way when its process died; it had begun at 1970-01-01 00:00:02 UTC), "
        "mail (attempt 2 was left under way at 1970-01-01 00:01:00 UTC), "
        "2 calls of mail (attempt 2 was under way when its process died at 1970-01-01 00:02:00 UTC (signal 9))"
    )
    assert unknown_calls(store, run, "done") is unknown_calls(store, run, "failed") is None


def test_a_letter_is_described_by_how_its_call_has_failed(machine: Machine) -> None:
    """Its class and message are those of the record, and each attempt has its own; a broken one is named as such."""
    small_rules([3])
    store = machine.engine.store
    (letter,) = dead_letters.find(store, dead_letters.Filter())
    found = letter_details(store, letter)
    (attempt,) = found.attempts
    assert (found.error, found.message, found.inputs, found.edited) == ("Trouble", "three", [3], None)
    assert (attempt.number, attempt.error, attempt.message, attempt.redrive) == (1, "Trouble", "three", False)
    assert "failed at its first attempt" in found.notes[0]
    assert attempt.traceback.endswith("Trouble: three\n")
    (run,) = store.runs()
    record = store.last_attempt(run.rid)
    assert record is not None
    again = [msgspec.structs.replace(record, started=letter.created + 1, error=error) for error in (None, b"broken")]
    details = describe(letter, run, None, again, str)
    assert [(one.error, one.message, one.redrive) for one in details.attempts] == [
        ("", "", True), ("unreadable", details.attempts[1].message, True),
    ]  # fmt: skip
    assert details.error == "unreadable"
    assert found.first == found.last == attempt.time
    assert details.first == details.last == details.attempts[0].time != found.last


def test_letters_that_are_exported_already_are_not_exported_again(machine: Machine) -> None:
    """Only those of this state file that are whole in the file count: not another's, not a torn one."""
    small_rules([3, 3])
    store = machine.engine.store
    first, second = dead_letters.find(store, dead_letters.Filter())
    assert [(letter.redriven, letter.holder, letter.input, letter.exported) for letter in (first, second)] == [
        (0, None, None, None)
    ] * 2
    out = machine.folder / "out"
    letters = LetterFile(out, store)
    lines = [msgspec.json.encode(letter_details(store, letter)) for letter in (first, second)]
    store.journal.write(
        (), lambda connection: [parking.put(connection, one, exported=0) for one in (first, second)] and None
    )
    other = lines[0].replace(b'{"id":"', b'{"id":"x', 1)
    out.write_bytes(other + b"\n" + lines[0] + b"\n" + lines[1][:-1])
    out.chmod(0o600)
    assert letters.catch_up() == 1
    assert out.read_bytes() == other + b"\n" + lines[0] + b"\n" + lines[1][:-1] + b"\n" + lines[1] + b"\n"
    assert letters.catch_up() == 0


def test_a_file_of_exports_is_waited_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process writes for milliseconds; a stopped one keeps its lock."""
    clock = iter(range(0, 100, 4))
    monkeypatch.setattr(dead_letter_file, "steady", lambda: next(clock))
    answers = iter([False, False, True])
    dead_letter_file._patiently(lambda: next(answers))
    assert next(clock) == 12, "it was looked at twice in vain"
    with pytest.raises(OSError, match="has kept it locked for 10 s"):
        dead_letter_file._patiently(lambda: False)
    assert next(clock) == 32, "12 s after it was asked for"


def test_a_link_is_not_appended_to(tmp_path: Path) -> None:
    """Nor is a folder: where it leads may be another user's choice."""
    store = Store(tmp_path / "state.db")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "folder").mkdir()
    try:
        with pytest.raises(OSError, match="it is a link, to"):
            LetterFile(tmp_path / "link", store).catch_up()
        with pytest.raises(IsADirectoryError):
            LetterFile(tmp_path / "folder", store).catch_up()
    finally:
        store.close()
    assert not (tmp_path / "elsewhere").exists()


def test_a_tick_that_waited_for_a_removed_schedule_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Declared again, the schedule does not wait for it; its worker is woken for the run of each tick."""
    rung: list[Path] = []
    monkeypatch.setattr(schedule_clock, "ring", rung.append)
    with world(tmp_path, "2026-11-27T12:30") as made:
        made.declare(spec="0 * * * *", missed="all")
        made.advance(at("2026-11-27T13:30"))
        assert rung == [made.store.path], "a run was made"
        made.advance(at("2026-11-27T13:31"))
        assert rung == [made.store.path]
        made.advance(at("2026-11-27T14:30"))
        assert [tick.outcome for tick in made.ticks()] == ["started", "waiting"]
        schedules.remove(made.store, "nightly", made.now)
        made.declare(spec="0 * * * *", missed="all")
        assert [tick.outcome for tick in made.ticks()] == ["started", "ended"]


def test_the_lock_file_of_a_dead_process_is_removed_by_who_looks(tmp_path: Path) -> None:
    """Unless it only looks; that of a living one stays."""
    state = tmp_path / "state.db"
    other = Liveness(state)
    path = locks_of(state) / f"{other.show()}.lock"
    assert other.is_seen()
    assert is_held(path)
    assert users(state) == [os.getpid()]
    seen = other.nudges()
    os.utime(path, (1.0, 1.0))
    Liveness(state).nudge(other.token)
    assert other.nudges() not in (seen, 1_000_000_000)
    other.forget()  # as when its process dies: the lock is free, its file stays
    assert (other.is_seen(), other.nudges()) == (False, 0)
    assert not is_held(path, clear=False)
    assert users(state) == []
    assert path.exists()
    assert not is_held(path)
    assert not path.exists()
    assert not is_held(path)
    last = Liveness(state)
    path = locks_of(state) / f"{last.show()}.lock"
    last.close()
    assert not path.exists(), "a process that ends removes its own"


def test_a_new_run_does_not_look_whether_its_end_was_asked_for(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has just been made; one that is gone on with looks once."""
    asked: list[int] = []
    real = Store.stopping
    monkeypatch.setattr(Store, "stopping", lambda self, rid: asked.append(rid) or real(self, rid))
    ends: list[BaseException] = [Died()]

    @step(name="ends", retry=None)
    def ends_once() -> None:
        while ends:
            raise ends.pop()

    @workflow(name="asks_seldom")
    def asks_seldom() -> None:
        small(1)
        ends_once()

    with pytest.raises(Died):
        asks_seldom()
    assert asked == []
    machine.boot()
    asks_seldom()
    assert len(asked) == 1
    (run,) = machine.engine.store.runs()
    lives_of = machine.engine.store.journal.read(lambda connection: sessions.list_of(connection, run.rid, run.path))
    assert len(lives_of) == 2, "each life is written down"


def test_a_run_that_is_over_is_not_asked_to_stop(machine: Machine) -> None:
    """One that can be gone on with keeps from when on it was asked, whoever executes it next."""

    @step(name="unstopped", retry=None)
    def unstopped() -> None:
        raise Trouble

    @workflow(name="to_be_stopped")
    def fails() -> None:
        unstopped()

    small_rules([1])
    with pytest.raises(Trouble):
        fails()
    store = machine.engine.store
    done, failed = store.runs(status="done")[0].id, store.runs(status="failed")[0].id
    for id, stop in ((done, None), (failed, 5.0), (failed, 5.0)):
        run, by = store.ask_to_stop(id, 5.0 if store.run(id).stop is None else 9.0)
        assert (run.id, by, store.run(id).stop) == (id, None, stop)


def test_what_another_connection_commits_is_another_version(store: Store) -> None:
    """Nothing else is."""
    before = store.version()
    assert store.version() == before
    other = Store(store.path)
    other.journal.write((), lambda connection: other.insert_run(connection, RUN) and None)
    other.close()
    assert store.version() != before


def test_which_runs_of_a_schedule_come_before_another(tmp_path: Path) -> None:
    """Those that have begun and not ended, the oldest first; a run of no schedule has none before it."""
    with world(tmp_path, "2026-11-27T12:30") as made:
        made.declare(spec="0 * * * *", overlap="allow")
        for hour in (13, 14, 15):
            made.advance(at(f"2026-11-27T{hour}:30"))
        first, second, third = sorted(made.store.runs(), key=lambda run: run.rid)
        before = schedule_runs.runs_before
        assert before(made.store, third.rid) == [first.id, second.id]
        made.end(second.id)
        assert before(made.store, third.rid) == [first.id]
        assert before(made.store, third.rid + 1) == []


@pytest.mark.parametrize(("began", "due"), [(1e300, None), (1.0, 1e300)])
def test_a_wait_since_or_until_a_time_that_is_none_is_damage(machine: Machine, began: float, due: float | None) -> None:
    """Whoever has written it has sealed it; it is named, and shown as nothing."""
    small_rules([])
    store = machine.engine.store
    (run,) = store.runs()
    add = load("waits.sql")["add"]
    for place, times in enumerate([(1.0, 2.0), (began, due)]):
        values = sealed(run.rid, "wait", bytes(16), 0, place, None, None, None, *times)
        store.journal.write((), lambda connection, it=values: connection.execute(add, it) and None)  # type: ignore[misc]
        if place:
            with pytest.raises(StateCorrupt):
                waits.standing_of(store, run.rid)
        else:
            assert len(waits.standing_of(store, run.rid)) == 1


def test_a_worker_is_woken_for_a_run_that_is_ready_once_it_is_saved(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For nothing else."""
    rung: list[tuple[str, ...]] = []
    monkeypatch.setattr(bell, "ring", lambda path, *which: rung.append(which))
    small_rules([])
    assert () not in rung
    small_rules.enqueue([1])
    assert rung.count(()) == 1
