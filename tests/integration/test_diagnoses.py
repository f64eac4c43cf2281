"""`perdure diagnose` names what is in the records of a run first, cites them, and names nothing that is not in them."""

from __future__ import annotations

import json
import re
import shlex

import pytest
from provoked import PROVOKED
from provoked_otherwise import OTHERWISE
from provoking import attempt, runs

import perdure
from conftest import Machine
from perdure import step, workflow
from perdure.cli import main
from perdure.core.policies.classify import Assessment
from perdure.core.records import AttemptRecord, StepRecord
from perdure.engines.local.redrive import Redriver
from perdure.operations.diagnose import Diagnosis, diagnose
from perdure.operations.diagnose_facts import Failure
from perdure.operations.diagnose_run import together
from perdure.operations.location import Location
from perdure.store import dead_letters
from perdure.store.runs import Store

WAYS = PROVOKED | OTHERWISE

LOOKS = ("perdure show", "perdure why", "perdure ps", "perdure dlq ls", "perdure dlq show", "perdure breaker ls")
"""Commands that change nothing."""


def code_of(way: str) -> str:
    return way.partition(" ")[0].rstrip(",")


def diagnosed(machine: Machine) -> Diagnosis:
    store = machine.engine.store
    return diagnose(store, store.runs()[0], Location(store.path, "a test"))


@pytest.mark.parametrize("way", WAYS)
def test_what_is_provoked_is_named_first(machine: Machine, way: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With records that show it, and what to do; `perdure why` says the same."""
    WAYS[way][0](machine)
    found = diagnosed(machine).findings
    assert found, "nothing is found"
    first = found[0]
    assert first.code == code_of(way)
    assert first.confidence in ("certain", "likely")
    assert first.evidence
    assert all(one.text for one in first.evidence)
    assert min(map(len, (first.text, first.fix, first.prevent))) > 10
    capsys.readouterr()
    assert main(["why", "last", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["code"] == first.code


@pytest.mark.parametrize("way", WAYS)
def test_what_looks_alike_is_not_named_so(machine: Machine, way: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Not even as possible, and not by `perdure why`."""
    WAYS[way][1](machine)
    assert code_of(way) not in [one.code for one in diagnosed(machine).findings]
    capsys.readouterr()
    assert main(["why", "last", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["code"] != code_of(way)


@pytest.mark.parametrize("way", WAYS)
def test_its_commands_can_be_pasted(machine: Machine, way: str, capsys: pytest.CaptureFixture[str]) -> None:
    """No word stands for another, and what only looks finds what it is about."""
    WAYS[way][0](machine)
    named = {
        command
        for one in diagnosed(machine).findings
        for command in (*one.commands, *re.findall("`(perdure [a-z][^`]*)`", one.fix))
    }
    assert not [command for command in named if re.search(r"\b(RUN|STEP|N|FILE)\b", command)]
    run = machine.engine.store.runs()[0].id
    for command in sorted(named):
        if command.startswith(LOOKS):
            assert main(shlex.split(command)[1:]) == 0, command
        elif command == "perdure doctor":
            assert main(["doctor"]) in (0, 1)  # whether it finds something
        else:
            assert run in command or command.startswith(
                ("perdure dlq redrive 1", "perdure dlq edit 1", "perdure dlq drop 1")
            ), command


def test_a_clean_up_is_named_with_all_that_it_was_given(machine: Machine) -> None:
    """A colon in it ends nothing."""

    @step(name="remove", retry=None)
    def remove(name: str) -> None:
        raise PermissionError("busy")

    @workflow(name="flow")
    def flow() -> None:
        perdure.defer(remove, "s3://tmp:a")

    attempt(flow)
    assert "the clean-up remove('s3://tmp:a') has failed" in diagnosed(machine).findings[0].text


def test_attempts_beside_each_other_take_their_time_once() -> None:
    """Two of 4 s that begin a second after each other take 5 s together, and one later its own."""

    def failure(started: float, ms: int) -> Failure:
        record = AttemptRecord(0, "call", b"", 0, 1, False, b"", b"", started, ms, 0)
        return Failure(record, Assessment(kind="transient"))

    assert together([failure(12.0, 500), failure(1.0, 4_000), failure(2.0, 4_000), failure(2.5, 100)]) == 5.5


def test_a_step_that_kills_its_process_is_a_crash_loop(machine: Machine) -> None:
    """The call that was in flight at so many crashes in a row."""
    from perdure.store.rows import sealed

    runs(OSError("not yet"))(machine)
    store = machine.engine.store
    (run,) = store.runs()
    (record,) = {one.key: one for one in store.attempt_records(run.rid)}.values()
    rows = [
        sealed(run.rid, "call", record.key, 0, f"{n}-0123456789abcdef", 1, 5.0 + n, 6.0 + n, "SIGSEGV")
        for n in range(3)
    ]
    statement = "INSERT INTO crash VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    store.journal.write((), lambda connection: connection.executemany(statement, rows) and None)
    found = diagnosed(machine).findings
    assert (found[0].code, found[0].confidence) == ("crash-loop", "certain")


def test_what_is_not_found_is_said(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """Evidence or silence: a run that went well has no finding, and what cannot be seen is named."""
    runs("fine")(machine)
    assert diagnosed(machine).findings == []
    assert main(["diagnose", "last"]) == 0
    said = capsys.readouterr().out
    assert "nothing is found in its records" in said
    assert "not seen: what a step did besides what it returned" in said


def test_a_failure_that_the_workflow_caught_is_possible(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """It is in the records of a run that is done, though not as a finding that is shown without being asked for."""

    @step(retry=None)
    def look() -> None:
        raise LookupError("no such item")

    @workflow
    def wf() -> str:
        try:
            look()
        except LookupError:
            return "without"
        return "with"

    assert wf() == "without"
    (found,) = diagnosed(machine).findings
    assert (found.code, found.confidence, found.evidence[0].step) == ("silent-failure", "possible", "look")
    assert main(["diagnose", "last"]) == 0
    assert "1 more is possible: --all shows it" in capsys.readouterr().out


def test_a_run_that_is_not_done_has_a_reason(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the catalogue has no entry for what ended it, the command that says why is named."""

    @workflow
    def wf() -> None:
        raise LookupError("no such item")

    with pytest.raises(LookupError):
        wf()
    run = diagnosed(machine).run
    assert main(["diagnose", "last"]) == 0
    assert f"why it stands:\n  perdure why {run}" in capsys.readouterr().out


def test_on_paper_and_as_json(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """The command shows code, confidence, record, way on; programs get the same."""
    PROVOKED["credential-expired"][0](machine)
    assert main(["diagnose", "last"]) == 0
    said = capsys.readouterr().out
    assert "credential-expired (certain)" in said
    assert "failed at attempt 1" in said
    assert "perdure resume flow-" in said
    assert main(["diagnose", "last", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["findings"][0]["code"], found["findings"][0]["evidence"][0]["step"]) == ("credential-expired", "call")


def test_thousands_of_steps_are_looked_through_once(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """In chunks, and no record is read twice."""

    @step(name="work", retry=None)
    def work(number: int) -> dict[str, str]:
        return {"status": "fine"}

    @workflow(name="flow")
    def flow() -> None:
        for number in range(3_000):
            work(number)

    attempt(flow)
    read: list[int] = []
    records = Store.records

    def counted(store: Store, rid: int, first: int = 0) -> list[StepRecord]:
        found = records(store, rid, first)
        read.append(len(found))
        return found

    monkeypatch.setattr(Store, "records", counted)
    assert diagnosed(machine).findings == []
    assert (sum(read), max(read) < 1_000) == (3_000, True)


def test_a_clean_up_that_was_redriven_is_made(machine: Machine) -> None:
    """Its record says that it has failed, its letter that it was made since."""
    gone: list[str] = []

    @step(name="diagnosed removal", retry=None)
    def remove(name: str) -> None:
        if not gone:
            raise OSError("busy")

    @workflow
    def leaves() -> None:
        perdure.defer(remove, "folder")

    leaves()
    machine.boot()
    assert [one.code for one in diagnosed(machine).findings] == ["incomplete-cleanup"]
    gone.append("folder")
    lids = [letter.lid for letter in dead_letters.find(machine.engine.store, dead_letters.Filter())]
    Redriver(machine.engine, lambda run, record: remove._spec, lambda result: None).run(lids)
    machine.boot()
    assert diagnosed(machine).findings == []


def test_a_run_that_was_done_long_before_is_no_clock_that_went_back(machine: Machine) -> None:
    """What came of a run that is called by an id is as old as that run; a clock that is set behind it still shows."""
    moves = [0.0]

    @workflow(name="named")
    def named() -> None: ...

    @step(name="work")
    def work(number: int) -> None:
        machine.world.time += moves[0]

    @workflow(name="flow")
    def flow(day: str) -> None:
        work(1)
        named.with_options(id="one")()
        work(2)

    flow("Monday")
    for move, found in ((0.0, []), (-1_000.0, ["clock-jump"])):
        machine.world.time += 3_600.0
        moves[0] = move
        flow(f"moved by {move}")
        assert [one.code for one in diagnosed(machine).findings] == found
