"""T15: nobody waits unseen. What is overdue, waits for long, or is served by no worker is alerted, once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from schedule_world import World

from perdure.alerts.alert import Alert
from perdure.core.records import RunRecord
from perdure.engines.local.worker.overdue import Lookout
from perdure.operations.unserved import unserved
from perdure.store import workers
from perdure.store.liveness import Liveness
from perdure.store.rows import sealed
from perdure.store.runs import Store

NOW = 1.7e9  # years ago
SOON = 9e9
RUN = RunRecord(
    0, "", "a.py", "/srv/a.py", "job", bytes(16), True, None, "queued", None, 0, b"", None, NOW, NOW, None, 0
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "state.db")
    yield store
    store.close()


def add(store: Store, id: str, **changed: Any) -> RunRecord:
    run = msgspec.structs.replace(RUN, **{"id": id, **changed})
    added: RunRecord = store.journal.write((), lambda connection: store.insert_run(connection, run))
    return added


def waits(store: Store, run: RunRecord, event: str | None, began: float) -> None:
    row = sealed(run.rid, f"perdure.wait:{event}", bytes(16), 0, 0, event, "", None, began, None)
    columns = "run, name, key, n, position, event, topic, awaited, began, due, crc"
    sql = f"INSERT INTO wait ({columns}) VALUES ({', '.join('?' * 11)})"
    store.journal.write((), lambda connection: connection.execute(sql, row) and None)


def look(store: Store, **options: Any) -> list[Alert]:
    """What a process of its own alerts that looks now."""
    sent: list[Alert] = []
    lookout = Lookout(store.path, lambda line: None, send=lambda alert, to: sent.append(alert), **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERDURE_ALERTS", "command:true")
        lookout.look(store)
    return sent


def texts(alerts: list[Alert]) -> list[str]:
    return sorted(f"{one.what}: {one.run or ''} {one.error}" for one in alerts)


def test_each_is_alerted_once(store: Store) -> None:
    """By whichever process looks first; again only when it was seen to and is so anew."""
    late = add(store, "late", status="suspended", wake=NOW)
    asks = add(store, "asks", status="suspended", wake=SOON)
    waits(store, asks, "paid", NOW)
    add(store, "stands", turn=1, queue="mail", priority=5)
    found = texts(look(store))
    assert [each.partition(" for ")[0].partition(" was due")[0] for each in found] == [
        "overdue: late it",
        "suspended: asks it has waited",
        "unserved:  1 run waits in queue mail, the first",
    ]
    assert any("it has waited for paid for" in each for each in found)
    assert look(store) == []
    store.journal.write(
        (), lambda connection: store.put_run(connection, store.run_in(connection, late.rid), wake=SOON) and None
    )
    assert look(store) == []
    store.journal.write(
        (), lambda connection: store.put_run(connection, store.run_in(connection, late.rid), wake=NOW) and None
    )
    assert [alert.what for alert in look(store)] == ["overdue"]


def test_what_is_in_order_is_not_alerted(store: Store) -> None:
    """A sleep of any length, what is held, delayed, or the script's own that goes on with it now, what a worker serves,
    and for a worker that cron starts, all that waits for its next start."""
    add(store, "sleeps", status="suspended", wake=SOON)
    waits(store, store.run("sleeps"), None, NOW)
    add(store, "held", status="suspended", wake=NOW, hold="1 the script")
    add(store, "later", wake=SOON)
    add(store, "after", hold="the runs before it have not ended")
    add(store, "mine", status="suspended", wake=NOW, script="mine.py")
    assert look(store, mine="mine.py") == []
    add(store, "stands", turn=1, queue="mail", priority=5)
    assert look(store, mine="mine.py", expects_workers=False) == []
    liveness = Liveness(store.path)
    workers.announce(store.path, liveness.show(), workers.Worker(1, NOW, workflows=[("a.py", "job")], ready=True))
    assert look(store, mine="mine.py") == []
    liveness.close()
    assert [alert.what for alert in look(store, mine="mine.py")] == ["unserved"]


def test_a_schedule_that_no_worker_counts(store: Store) -> None:
    """Its tick was due and is not decided."""
    World(store, NOW).declare()
    (alert,) = look(store)
    assert alert.error is not None
    assert alert.error.startswith("schedule nightly was due ")
    assert look(store) == []


def test_doctor_names_what_no_worker_serves(store: Store) -> None:
    """What is due, queued or scheduled, at once, with the command that serves it; nothing that a worker serves."""
    add(store, "late", status="suspended", wake=NOW)
    add(store, "sleeps", status="suspended", wake=SOON)
    add(store, "stands", turn=1, queue="mail", priority=5)
    World(store, NOW).declare()
    found = {one.name: (one.finding, one.hint) for one in unserved(store, NOW + 1e6)}
    ends = ("no worker goes on", "no worker serves it", "no worker counts it")
    assert [found[name][0].rpartition("; ")[2] for name in ("due", "queue", "schedule")] == list(ends)
    assert found["due"][0].startswith("1 run is due, the first (late) since ")
    assert found["queue"][0].startswith("1 run of job in queue mail, the first for ")
    assert all(hint.startswith("start a worker: perdure worker ") for _, hint in found.values())
    liveness = Liveness(store.path)
    workers.announce(store.path, liveness.show(), workers.Worker(1, NOW, workflows=[("a.py", "job")], ready=True))
    assert [one.name for one in unserved(store, NOW + 1e6)] == ["schedule"]
    liveness.close()


def test_processes_take_turns_to_look(store: Store) -> None:
    """A script does not look again when another process has just done so."""
    add(store, "late", status="suspended", wake=NOW)
    said: list[str] = []
    for _ in range(2):
        Lookout(store.path, said.append, send=lambda alert, to: None).look_once(store)
    add(store, "later", status="suspended", wake=NOW)
    Lookout(store.path, said.append, send=lambda alert, to: None).look_once(store)
    assert len(said) == 1
    assert said[0].startswith("job, run late: it was due ")
