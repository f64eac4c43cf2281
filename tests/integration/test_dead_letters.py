"""Dead letters: nothing is lost, nothing is resolved that did not succeed, and the run sees what it may see."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

import perdure
from conftest import Died, Machine, Trouble
from perdure import Retry, step, workflow
from perdure.core.execution.spec import Spec
from perdure.engines.local.redrive import Redriver, Result
from perdure.errors import AlreadyRunning, HasDeadLetters, NotDecodable, RunError
from perdure.store import dead_letters
from perdure.store.dead_letters import Filter

keys: list[tuple[Any, str, int]] = []
broken: set[Any] = set()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    keys.clear()
    broken.clear()


def effect(what: Any) -> None:
    keys.append((what, perdure.idempotency_key(), perdure.attempt()))
    if what in broken:
        raise Trouble(f"{what} is broken")


@step(name="send", retry=Retry(attempts=2, delay=0.01, jitter=0))
def send(item: Any) -> str:
    effect(item)
    return f"sent {item}"


@step(name="asend", retry=None)
async def asend(item: Any) -> str:
    effect(item)
    return f"sent {item}"


@step(name="mail", retry=None, on_failure="dead_letter")
def mail(to: str) -> str:
    effect(to)
    return f"mailed {to}"


@step(name="after")
def after() -> str:
    return "after"


SPECS = {each._spec.name: each._spec for each in (send, asend, mail)}


def redrive(machine: Machine, *lids: int, specs: dict[str, Spec] = SPECS, concurrency: int = 1) -> list[Result]:
    told: list[Result] = []
    redriver = Redriver(machine.engine, lambda run, record: specs[record.name], told.append, concurrency=concurrency)
    redriver.run(lids)
    return sorted(told, key=lambda result: result.letter)


def letter_of(machine: Machine, lid: int = 1) -> Any:
    return dead_letters.get(machine.engine.store, lid)


@workflow(name="strict")
def strict() -> list[str]:
    batch = send.map([1, 2, 3])
    batch.raise_if_dead()
    return list(batch.results)


def test_a_redrive_lets_a_failed_run_go_on(machine: Machine) -> None:
    """It failed on a dead letter; the letter is resolved; resumed, it sees a result where the dead letter was."""
    broken.add(2)
    with pytest.raises(HasDeadLetters, match="1 of 3") as caught:
        strict()
    assert "perdure dlq" in caught.value.hint
    machine.boot()
    assert [result.status for result in redrive(machine, 1)] == ["failed"]
    assert letter_of(machine).status == "parked"
    broken.clear()
    (result,) = redrive(machine, 1)
    assert (result.status, result.seen) == ("resolved", True)
    assert letter_of(machine).redriven == 2
    assert machine.engine.store.check() == []
    machine.boot()
    assert strict() == ["sent 1", "sent 2", "sent 3"]
    mine = [(attempt, key) for item, key, attempt in keys if item == 2]
    assert [attempt for attempt, _ in mine] == [1, 2, 3, 4, 5]
    assert len({key for _, key in mine}) == 1
    assert machine.steps() == [("send", "done")] * 3


def test_a_run_that_has_moved_past_keeps_what_it_saw(machine: Machine) -> None:
    """A step behind the map has a record: the resumed run sees the dead letter again, though it is resolved."""
    stops = [True]

    @workflow(name="loose")
    def loose() -> list[Any]:
        batch = send.map([1, 2])
        after()
        if stops:
            raise Trouble("later")
        return [*batch.results, len(batch.dead)]

    broken.add(2)
    with pytest.raises(Trouble):
        loose()
    broken.clear()
    (result,) = redrive(machine, 1)
    assert (result.status, result.seen) == ("resolved", False)
    stops.clear()
    machine.boot()
    assert loose() == ["sent 1", 1]


def test_a_finished_run_keeps_its_result(machine: Machine) -> None:
    """The letter is resolved with its result; what the run returned stays recorded as it was."""

    @workflow(name="finished")
    def finished() -> int:
        return len(send.map([1, 2]).dead)

    broken.add(1)
    assert finished.with_options(id="f")() == 1
    broken.clear()
    assert [(one.status, one.seen) for one in redrive(machine, 1)] == [("resolved", False)]
    assert letter_of(machine).result is not None
    machine.boot()
    assert finished.with_options(id="f")() == 1
    assert sorted(machine.steps()) == [("send", "dead"), ("send", "done")]


def test_a_running_run_keeps_its_view(machine: Machine) -> None:
    """Somebody executes the run while its letter is resolved: its record stays as it is."""
    results: list[Result] = []

    @workflow(name="busy")
    def busy() -> int:
        batch = send.map([1])
        broken.clear()
        worker = threading.Thread(target=lambda: results.extend(redrive(machine, 1)))
        worker.start()
        worker.join()
        return len(batch.dead)

    broken.add(1)
    assert busy() == 1
    assert [(one.status, one.seen) for one in results] == [("resolved", False)]
    assert machine.steps() == [("send", "dead")]


def test_a_single_step_parks_and_gives_none(machine: Machine) -> None:
    """The call returns None, on the first run and on resume; re-driven, it returns the result on resume."""
    stops = [True]

    @workflow(name="single")
    def single() -> list[Any]:
        got = [mail("a"), mail("b")]
        if stops:
            raise Trouble("later")
        return got

    broken.add("a")
    with pytest.raises(Trouble):
        single()
    machine.boot()
    with pytest.raises(Trouble):
        single()
    assert [item for item, _, _ in keys] == ["a", "b"]
    broken.clear()
    assert redrive(machine, 1)[0].seen
    stops.clear()
    machine.boot()
    assert single() == ["mailed a", "mailed b"]


def test_a_single_step_on_an_event_loop(machine: Machine) -> None:
    """The same for async code; the redrive of an async step awaits it."""

    @step(name="amail", retry=None, on_failure="dead_letter")
    async def amail(to: str) -> str:
        effect(to)
        return f"mailed {to}"

    @workflow(name="asingle")
    async def asingle() -> str | None:
        return await amail("a")

    broken.add("a")
    assert asyncio.run(asingle()) is None
    broken.clear()
    (result,) = redrive(machine, 1, specs={"amail": amail._spec})
    assert result.status == "resolved"


def test_where_nothing_is_parked_any_more_the_call_is_made_again(machine: Machine) -> None:
    """The option was taken away between two runs: the failure would end the run, so the step gets its chance."""
    stops = [True]

    @workflow(name="retired")
    def retired(step_: str) -> Any:
        got = mail("a") if stops else plain("a")
        if stops:
            raise ZeroDivisionError
        return got

    @step(name="mail", retry=None)
    def plain(to: str) -> str:
        return "plain"

    broken.add("a")
    with pytest.raises(ZeroDivisionError):
        retired("x")
    stops.clear()
    machine.boot()
    assert retired("x") == "plain"
    assert dead_letters.totals(machine.engine.store) == {}


def test_many_at_a_time(machine: Machine) -> None:
    """Sync and async letters, four at a time; one that fails does not stop the others."""

    @workflow(name="many")
    async def many() -> list[int]:
        return [len((await asend.map(range(8))).dead), len(await asyncio.to_thread(lambda: []))]

    @workflow(name="manysync")
    def manysync() -> int:
        return len(send.map(range(100, 108)).dead)

    broken.update([*range(8), *range(100, 108)])
    asyncio.run(many())
    manysync()
    broken.clear()
    broken.update([3, 105])
    results = redrive(machine, *range(1, 17), concurrency=4)
    assert [one.letter for one in results if one.status != "resolved"] == [4, 14]
    assert {one.status for one in results} == {"resolved", "failed"}
    assert dead_letters.totals(machine.engine.store) == {"parked": 2, "resolved": 14}


def test_one_letter_is_redriven_by_one_at_a_time(machine: Machine) -> None:
    """Two threads of a process, one letter: the second is refused while the first is at it."""
    inside, go_on = threading.Event(), threading.Event()

    @step(name="send", retry=None)
    def slow(item: int) -> str:
        inside.set()
        assert go_on.wait(60)
        return "slow"

    broken.add(2)
    with pytest.raises(HasDeadLetters):
        strict()
    results: list[Result] = []
    worker = threading.Thread(target=lambda: results.extend(redrive(machine, 1, specs={"send": slow._spec})))
    worker.start()
    assert inside.wait(60)
    (second,) = redrive(machine, 1)
    go_on.set()
    worker.join()
    assert isinstance(second.error, AlreadyRunning)
    assert (second.status, results[0].status) == ("refused", "resolved")
    (third,) = redrive(machine, 1)
    assert third.status == "refused"
    assert isinstance(third.error, RunError)


def test_an_edited_input_has_a_key_of_its_own(machine: Machine) -> None:
    """Edited, the call is another one for the callee; with the recorded input again, it is the same as before."""
    broken.add(2)
    with pytest.raises(HasDeadLetters):
        strict()
    store = machine.engine.store
    from perdure.core.values.codec import pack_inputs

    broken.update([20])
    for given in (pack_inputs([20], {}, owner=""), pack_inputs([20], {}, owner=""), None):
        store.journal.write((), dead_letters.edit(store, 1, given, 0.0))
        redrive(machine, 1)
    of = {item: {key for what, key, _ in keys if what == item} for item in (2, 20)}
    assert len(of[2]) == len(of[20]) == 1
    assert of[2] != of[20]
    assert store.record(1, 2).input == pack_inputs([2], {}, owner="")
    assert [one.number for one in store.attempts_of(1, "send", store.record(1, 2).key, 0)] == list(range(1, 9))


def test_an_input_of_which_only_the_type_is_known(machine: Machine) -> None:
    """It was matched by a key, and could not be stored: it is not re-driven with a text in its place."""

    @workflow(name="connected")
    def connected() -> int:
        return len(send.map([open_], key=lambda item: "k").dead)

    open_ = threading.Lock()
    broken.add(open_)
    assert connected() == 1
    (result,) = redrive(machine, 1)
    assert isinstance(result.error, NotDecodable)
    assert "only the type is known" in result.error.what
    assert "perdure dlq edit 1" in result.error.hint
    assert letter_of(machine).redriven == 0


def test_a_process_that_dies_leaves_the_letter_parked(machine: Machine) -> None:
    """Between the success and its commit: the next process re-drives it, under the same key."""
    broken.add(2)
    with pytest.raises(HasDeadLetters):
        strict()
    broken.clear()

    @step(name="send", retry=None)
    def deadly(item: int) -> str:
        effect(item)
        raise Died

    with pytest.raises(Died):
        redrive(machine, 1, specs={"send": deadly._spec})
    machine.boot()
    assert letter_of(machine).status == "parked"
    assert redrive(machine, 1)[0].status == "resolved"
    assert len({key for item, key, _ in keys if item == 2}) == 1


# -- the bound --------------------------------------------------------------------------------------------------------


def test_the_oldest_make_room_and_somebody_is_told(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Beyond the bound the oldest are evicted, with their attempts, and never silently; what runs see stays."""
    monkeypatch.setenv("PERDURE_DEAD_LETTERS", "3")
    broken.update(range(5))

    @workflow(name="full")
    def full() -> int:
        return len(send.map(range(5)).dead)

    with caplog.at_level(logging.WARNING, "perdure"):
        assert full.with_options(id="full")() == 5
    store = machine.engine.store
    assert dead_letters.totals(store) == {"parked": 3, "evicted": 2}
    assert [one.lid for one in dead_letters.find(store, Filter(status="evicted"))] == [1, 2]
    assert sorted({one.number for one in store.attempt_records(1)}) == [1, 2]
    assert len(store.attempt_records(1)) == 6
    said = [record.getMessage() for record in caplog.records if "make room" in record.getMessage()]
    assert len(said) == 2
    assert redrive(machine, 1)[0].status == "refused"


# -- the file ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def export(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = machine.folder / "dead.jsonl"
    monkeypatch.setenv("WORKFLOW_DLQ_PATH", str(path))
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines, as any reader has to take them."""
    found = []
    for line in path.read_text().splitlines():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


@workflow(name="parts")
def parts(first: int, count: int) -> int:
    return len(send.map(range(first, first + count)).dead)


def test_each_letter_is_appended_once(machine: Machine, export: Path) -> None:
    """With everything that is known of it, for nobody else to read."""
    broken.update(range(3))
    parts(0, 3)
    told = lines(export)
    assert [one["inputs"] for one in told] == [[0], [1], [2]]
    assert [attempt["error"] for attempt in told[0]["attempts"]] == ["Trouble", "Trouble"]
    assert "Traceback" in told[0]["attempts"][0]["traceback"]
    assert stat.S_IMODE(export.stat().st_mode) == 0o600


def test_a_file_that_cannot_be_written_is_caught_up(
    machine: Machine, export: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The run goes on with a warning; the next start of any run appends what is missing."""
    export.mkdir()
    broken.update(range(2))
    with caplog.at_level(logging.WARNING, "perdure"):
        assert parts(0, 2) == 2
    assert any("are appended later" in record.getMessage() for record in caplog.records)
    export.rmdir()
    machine.boot()
    assert parts(5, 0) == 0
    assert [one["inputs"] for one in lines(export)] == [[0], [1]]


@pytest.mark.parametrize("torn", [b"", b'{"id":"00', b'{"id":"0011223344556677","x":"}'])
def test_a_line_that_was_torn_is_closed(machine: Machine, export: Path, torn: bytes) -> None:
    """A dead writer's last line costs no letter of ours."""
    export.write_bytes(b'{"id":"a"}\n' + torn)
    broken.add(0)
    parts(0, 1)
    assert [one["inputs"] for one in lines(export)[1:]] == [[0]]


@pytest.mark.parametrize("cut", [0, 1])
def test_dead_between_append_and_mark(machine: Machine, export: Path, cut: int) -> None:
    """The line is there (with or without its end), the state file does not know: it is not appended again."""
    broken.update(range(2))
    parts(0, 2)
    machine.engine.store.journal.write(
        (), lambda connection: connection.execute("UPDATE dead_letter SET exported = 0") and None
    )
    export.write_bytes(export.read_bytes()[: -cut or None])
    machine.boot()
    broken.add(9)
    parts(9, 1)
    assert [one["inputs"] for one in lines(export)] == [[0], [1], [9]]


def test_letters_from_before_the_setting_are_not_appended(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is parked while the variable is set is asked for."""
    broken.update(range(2))
    parts(0, 1)
    path = machine.folder / "dead.jsonl"
    monkeypatch.setenv("WORKFLOW_DLQ_PATH", str(path))
    parts(1, 1)
    assert [one["inputs"] for one in lines(path)] == [[1]]


def test_both_drivers_append(machine: Machine, export: Path) -> None:
    """Letters of async code too."""

    @workflow(name="aparts")
    async def aparts() -> int:
        return len((await asend.map(range(6), concurrency=3)).dead)

    broken.update(range(6))
    assert asyncio.run(aparts()) == 6
    assert sorted(one["inputs"][0] for one in lines(export)) == list(range(6))
