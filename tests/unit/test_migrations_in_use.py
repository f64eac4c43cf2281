"""Older state files are not migrated under other processes that use them."""

from __future__ import annotations

import threading
from pathlib import Path

import apsw
import pytest
from old_state_files import beside, old_file, rows, version

from perdure.errors import StateBusy, StateReadOnly
from perdure.store import database, listing, migration
from perdure.store.database import SCHEMA_VERSION, connect
from perdure.store.liveness import Liveness
from perdure.store.migration import apply
from perdure.store.runs import Store
from waiting import PATIENCE


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return old_file(tmp_path)


def test_a_process_of_the_older_version_is_waited_for(old: Path) -> None:
    """It would go on to write rows without kinds: the file stays as it is until it has ended."""
    liveness = Liveness(old)
    connection = apsw.Connection(str(old))
    connection.execute("INSERT INTO holder (token, pid, host, started) VALUES (?, 4711, 'here', 0)", (liveness.show(),))
    connection.close()
    with pytest.raises(StateBusy, match="pid 4711 on here"):
        connect(old)
    assert (version(old), beside(old)) == (1, set())
    connect(old, read_only=True).close()
    liveness.close()
    connect(old).close()
    assert version(old) == SCHEMA_VERSION


def test_a_process_that_still_writes_as_version_1_did_is_refused(old: Path) -> None:
    """One that had opened the file before, and had nothing to do then: a row without a kind is not taken."""
    insert = "INSERT INTO step (run, seq, name, key, n, status, input, output, started, ms, attempts, crc) VALUES "
    early = apsw.Connection(str(old))
    early.execute(insert + "(9, 1, 'x', zeroblob(16), 0, 'done', x'', x'', 0, 0, 0, 0)")
    connect(old).close()
    with pytest.raises(apsw.ConstraintError):
        early.execute(insert + "(9, 2, 'x', zeroblob(16), 0, 'done', x'', x'', 0, 0, 0, 0)")
    early.close()


def test_two_that_come_at_once(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One brings the file up to date, the other waits for it and finds nothing to do."""
    applied: list[int] = []
    real, both = apply, threading.Barrier(2)

    def counted(connection: apsw.Connection, version: int) -> None:
        applied.append(version)
        real(connection, version)

    verify = database._verify
    monkeypatch.setattr(migration, "apply", counted)
    monkeypatch.setattr(database, "_verify", lambda *given: (verify(*given), both.wait(PATIENCE))[0])
    threads = [threading.Thread(target=lambda: connect(old).close()) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (applied, version(old), beside(old)) == ([SCHEMA_VERSION], SCHEMA_VERSION, set())


def test_a_viewer_sees_the_older_file_migrated_and_leaves_it_as_it_is(old: Path) -> None:
    """Looking is possible at any time, also without the right to write, and while an older process executes runs."""
    before = rows(old)
    old.chmod(0o400)
    store = Store(old, read_only=True)
    (run,) = store.runs(workflow="killed")
    kinds = [record.kind for record in store.all_records(run.rid)]
    assert kinds == ["builtin", "defer", "step", "undo", "step", "step"]
    assert all(row.intact for row in listing.rows(store))
    assert store.check() == []
    with pytest.raises(StateReadOnly):
        store.journal.read(lambda connection: connection.execute("DELETE FROM step"))
    store.close()
    assert (version(old), rows(old), beside(old)) == (1, before, set())
