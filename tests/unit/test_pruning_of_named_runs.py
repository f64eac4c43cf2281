"""Runs that are removed though an unfinished run may still ask for their results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from listed_runs import BEGAN, Listed, given

from perdure.core.records import RunRecord, StepRecord
from perdure.core.values import codec
from perdure.operations.location import Location
from perdure.operations.prune import Removed, prune
from perdure.store import pruning, signals
from perdure.store.named_runs import NamedRuns
from perdure.store.runs import Store


@pytest.fixture
def listed(tmp_path: Path) -> Iterator[Listed]:
    made = Listed(tmp_path / "state.db")
    yield made
    made.store.close()


def pruned(listed: Listed, **options: Any) -> Removed:
    return prune(Location(listed.store.path, "--state"), "30d", clock=lambda: BEGAN + 40 * 86400, **options)


def packed(value: Any) -> bytes:
    return codec.pack_value(value, owner="a test")


def record(listed: Listed, run: RunRecord, name: str, inputs: bytes, output: bytes) -> None:
    """A record of that run."""
    made = StepRecord(1, name, bytes(16), 0, "done", inputs, output, BEGAN, 5, 1, 0, "builtin").sealed(run.rid)
    row = (run.rid, *msgspec.structs.astuple(made))
    listed.store.journal.write((), lambda connection: listed.store.insert_rows(connection, [row]))


WAIT_ANY = msgspec.msgpack.encode(["run part", 0, BEGAN, "done", packed({"next": "part-2"})])


@pytest.mark.parametrize(
    ("inputs", "output", "kept"),
    [
        (given(1), packed("part"), {"part"}),  # as a run is enqueued
        (given(1), packed([{"handle": ("part", 1)}, {"part-2"}]), {"part", "part-2"}),  # as a step returns them
        (codec.pack_inputs(["part", None], {}, owner="a test"), packed(5), {"part"}),  # the result was taken
        (codec.pack_inputs(["run part", "timer"], {}, owner="a test"), packed(None), {"part"}),
        (given(1), WAIT_ANY, {"part", "part-2"}),
        (given(1), packed(["x" * 200_000, "part"]), {"part"}),  # set apart
        (given("apart"), packed("a part"), set()),
    ],
)
def test_what_an_unfinished_run_has_in_its_records_stays(
    listed: Listed, inputs: bytes, output: bytes, kept: set[str]
) -> None:
    """Its id stands there, as a text of its own: the run is gone on with, and asks for the result again."""
    for id in ("part", "part-2"):
        listed.run(id)
    owner = listed.run("owner", "suspended")
    record(listed, owner, "perdure.enqueue:part", inputs, output)
    listed.run("newest")
    dry = pruned(listed, dry=True)
    found = pruned(listed)
    assert set(found.runs) == set(dry.runs) == {"part", "part-2"} - kept
    assert found.kept.get("named", 0) == len(kept)


def test_ids_that_it_was_given_or_sent_count_too_and_a_child_run_is_part_of_it(listed: Listed) -> None:
    """What is named by a run that is done, or that a fork stands for, goes."""
    for id in ("as-input", "sent", "of-child", "of-done"):
        listed.run(id)
    other = listed.run("other", "suspended")
    owner = msgspec.structs.replace(other, rid=0, id="owner", input=given("as-input"))
    owner = listed.store.journal.write((), lambda at: listed.store.insert_run(at, owner))
    sent = signals.send(listed.store, "owner", "go", "", packed("sent"), None, clock=lambda: BEGAN)
    listed.store.journal.write((), sent)
    record(listed, listed.run("child", "done", parent=owner.rid), "perdure.enqueue:x", given(1), packed("of-child"))
    record(listed, listed.run("done"), "perdure.enqueue:x", given(1), packed("of-done"))
    listed.run("newest")
    assert set(pruned(listed).runs) == {"of-done", "done"}


def test_what_is_named_after_the_first_look_stays(listed: Listed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process enqueues under an old id while runs are removed: that one is not removed any more."""
    listed.run("part")
    owner = listed.run("owner", "suspended")
    listed.run("newest")
    look = NamedRuns.look

    def late(self: NamedRuns, connection: Any) -> None:
        look(self, connection)
        if not listed.store.records(owner.rid, 0):
            record(listed, owner, "perdure.enqueue:part", given(1), packed("part"))

    monkeypatch.setattr(NamedRuns, "look", late)
    store = Store(listed.store.path)
    try:
        found = pruning.prune(store, BEGAN + 1e6, workflow=None, letters=False, dry=False)
    finally:
        store.close()
    assert (found.runs, found.kept) == ([], {"named": 1, "newest": 1})
