"""With a key, the cluster stores nothing that can be read; without it nothing is lost, and the error names the key."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from tests.conformance.bench import Bench, ledger, steps
from tests.conformance.conftest import Server
from tests.conformance.secret_steps import CANARY, Refused, billing_of, broken, charge, keys, readable, stored

from perdure.core.execution.identity import identify
from perdure.engines.selection import cluster_at
from perdure.engines.temporal import encryption, schedules
from perdure.engines.temporal.commands import queue_of
from perdure.engines.temporal.workflow import DynamicWorkflow
from perdure.errors import DecryptionError
from waiting import until


@pytest.fixture(autouse=True)
def _broken() -> None:
    broken[0] = True


def encrypted(server: Server, folder: Path, *entries: str) -> str:
    """The address with these keys."""
    return server.url(dead_after="2s", encryption_keys_file=keys(folder, *entries))


def digest_of(card: str) -> str:
    """What an id has of the inputs of `charge`, if nothing is encrypted."""
    return identify(charge._spec, (card,), {}).key.hex()[:16]


def test_nothing_can_be_read(server: Server, tmp_path: Path) -> None:
    """Inputs, results, errors with their attributes, memos, heartbeats: all is encrypted, and no digest tells."""
    for kind, url in (("plain", server.url()), ("sealed", encrypted(server, tmp_path, "a"))):
        billing, card = billing_of(kind), f"{CANARY}-{kind}"
        with Bench(url, tmp_path).in_force() as bench:
            assert isinstance(bench.run(billing, card), Refused)
            broken[0] = False
            assert bench.run(billing, card) == [f"charged {card}", f"{card} is refused", card]
            assert steps() == ["charge", "refuse", "refuse", "fragile", "fragile"], "resumed, nothing is done again"
            broken[0] = True
    data = stored(server.url())
    sought = [(f"{CANARY}-{kind}", digest_of(f"{CANARY}-{kind}")) for kind in ("plain", "sealed")]
    assert readable(data, *sought[0]) == list(sought[0]), "the control: without a key all of it is there"
    assert readable(data, *sought[1]) == []


def test_without_the_key(server: Server, tmp_path: Path) -> None:
    """Another key, or none: an error that names the key, before anything is done; and later the run goes on."""
    billing = billing_of("b")
    with Bench(encrypted(server, tmp_path, "b"), tmp_path).in_force() as bench:
        assert isinstance(bench.run(billing, "b"), Refused)
        assert isinstance(bench.run(billing, "named", id="b"), Refused)
    done = len(ledger)
    for url, would in ((encrypted(server, tmp_path, "c"), "with another key"), (server.url(events=99), "in clear")):
        with Bench(url, tmp_path).in_force() as other:
            assert f"would be {would}" in str(other.run(billing, "b")), "no run is begun apart from those of others"
            error = other.run(billing, "named", id="b")
            assert isinstance(error, DecryptionError)
            assert "key 'b'" in str(error)
            with pytest.raises(DecryptionError):
                cluster_at(url).list_runs(f"b-{tmp_path.name}")
            assert ledger == []
    broken[0] = False
    with Bench(encrypted(server, tmp_path, "b"), tmp_path).in_force() as bench:
        assert bench.run(billing, "b") == ["charged b", "b is refused", "b"]
        assert steps() == ["fragile"]
    assert done == 8


def test_a_schedule_that_cannot_be_read_hides_no_run(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What can be read is listed, and a line says that runs which wait in schedules are not."""

    async def sealed(cluster: object) -> list[object]:
        raise DecryptionError("it is encrypted with key 's'", "add that key")

    monkeypatch.setattr(schedules, "states", sealed)
    broken[0] = False
    with Bench(server.url(), tmp_path).in_force() as bench:
        assert isinstance(bench.run(billing_of("beside"), "beside", id="beside a sealed schedule"), list)
        with caplog.at_level(logging.WARNING, "perdure"):
            engine = cluster_at(server.url())
            until(lambda: any(run.workflow == "billing-beside" for run in engine.list_runs("beside a sealed")))
    assert "runs that wait in schedules cannot be listed: it is encrypted with key 's'" in caplog.text


def test_keys_are_rotated(server: Server, tmp_path: Path) -> None:
    """A new first key encrypts, and the old one still reads: a failed run is found, and goes on."""
    billing = billing_of("d")
    with Bench(encrypted(server, tmp_path, "d"), tmp_path).in_force() as bench:
        assert isinstance(bench.run(billing, "d"), Refused)
    with Bench(encrypted(server, tmp_path, "e", "d"), tmp_path).in_force() as bench:
        assert isinstance(bench.run(billing, "d"), Refused)
        assert steps() == ["fragile"]
    broken[0] = False
    with Bench(encrypted(server, tmp_path, "plain", "e", "d"), tmp_path).in_force() as bench:
        assert bench.run(billing, "d") == ["charged d", "d is refused", "d"]
        assert steps() == ["fragile"]
        assert bench.run(billing, f"{CANARY}-again")[-1] == f"{CANARY}-again"
    assert readable(stored(server.url()), f"{CANARY}-again"), "the word plain: new runs are in clear"


def test_a_worker_without_the_key(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Steps that it cannot read wait for another worker, however often it has taken them; none of that is a death."""
    billing = billing_of("f")
    monkeypatch.setattr(encryption, "AGAIN", 0.001)
    broken[0] = False
    keyed, keyless = cluster_at(encrypted(server, tmp_path, "f")), cluster_at(server.url(dead_after="3s"))
    call = identify(billing._spec, ("f",), {})
    ledger.clear()

    async def left_by_the_keyless() -> None:
        found, _ = await keyed._starter.take(call, __file__, None, None)
        client = await keyed.cluster.client()
        queue = queue_of(billing._spec.module)
        workflows = Worker(
            client, task_queue=queue, workflows=[DynamicWorkflow], workflow_runner=UnsandboxedWorkflowRunner()
        )
        others = await keyless.workers.step_activities()
        async with workflows, Worker(await keyless.cluster.client(), task_queue=queue, activities=others.activities):
            handle = client.get_workflow_handle(found.workflow_id)
            while True:
                pending = (await handle.describe()).raw_description.pending_activities
                if pending and pending[0].attempt > 11:
                    return

    with caplog.at_level(logging.ERROR, "perdure"):
        keyed.cluster.wait(left_by_the_keyless())
    assert [record for record in caplog.messages if "leaves steps to others" in record and "key 'f'" in record]
    assert ledger == []
    assert keyed.run(call, script=__file__) == ["charged f", "f is refused", "f"]
    assert steps() == ["charge", "refuse", "refuse", "fragile"]


def test_a_worker_without_the_key_for_workflows(server: Server, tmp_path: Path) -> None:
    """A run that it cannot read waits, too."""
    billing = billing_of("g")
    broken[0] = False
    keyed, keyless = cluster_at(encrypted(server, tmp_path, "g")), cluster_at(server.url(dead_after="4s"))
    call = identify(billing._spec, ("g",), {})
    found, _ = keyed.cluster.wait(keyed._starter.take(call, __file__, None, None))
    stop = threading.Event()
    thread = threading.Thread(target=keyless.serve, args=([billing._spec.module], stop, 0.0))
    thread.start()

    async def failed() -> bool:
        handle = (await keyed.cluster.client()).get_workflow_handle(found.workflow_id)
        return "workflow_task_failed" in str([event async for event in handle.fetch_history_events()])

    try:
        until(lambda: keyed.cluster.wait(failed()))
    finally:
        stop.set()
        thread.join()
    assert keyed.status(found.memo.id) == "running"
    assert keyed.run(call, script=__file__) == ["charged g", "g is refused", "g"]
