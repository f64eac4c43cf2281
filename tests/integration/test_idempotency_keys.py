"""A key for every call: the same over attempts and deaths, and no other call has it."""

from __future__ import annotations

import json
from typing import Any

import letter_steps
import pytest
from letter_steps import redrive, send

import perdure
from conftest import Machine, Trouble
from perdure import Retry, step, workflow
from perdure.cli import main
from perdure.operations.call_facts import call_facts


def test_idempotency_keys(machine: Machine) -> None:
    """The same for all attempts and after a resume; different for every other call and in every other run."""
    broken = [True]

    @step(retry=Retry(attempts=2, jitter=0))
    def work(n: int) -> None:
        machine.ran.append((n, perdure.idempotency_key()))
        if n == 2 and broken[0]:
            raise Trouble

    @workflow
    def wf() -> None:
        work(1)
        work(1)
        work(2)

    with pytest.raises(Trouble):
        wf()
    machine.boot()
    broken[0] = False
    wf()
    keys = [key for _, key in machine.ran]  # type: ignore[misc]
    assert len(keys) == 5
    assert keys[2] == keys[3] == keys[4]
    assert len(set(keys)) == 3
    assert all(len(key) == 32 and int(key, 16) for key in keys)
    wf()
    assert not set(keys) & {key for _, key in machine.ran[5:]}  # type: ignore[misc]


def test_a_dead_letter_is_shown_with_the_keys_that_its_call_sends(machine: Machine, capsys: Any) -> None:
    """Those that a service knows: that of the attempts so far, and the one with the input that it was edited into."""
    letter_steps.reset()
    letter_steps.broken.add("a")

    @workflow
    def posting() -> None:
        send.map(["a"])

    def shown() -> str:
        capsys.readouterr()
        assert main(["dlq", "show", "1"]) == 0
        (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("key ")]
        assert main(["dlq", "show", "1", "--json"]) == 0
        for key in json.loads(capsys.readouterr().out)["idempotency_keys"]:
            assert key in line
        return str(line.removeprefix("key").strip())

    posting()
    sent = {key for _, key, _ in letter_steps.keys}
    assert shown() == f"{''.join(sent)} (idempotency key)"
    assert main(["dlq", "edit", "1", "--set", 'item="b"']) == 0
    redrive(machine, 1)
    ((_, edited, _),) = [each for each in letter_steps.keys if each[0] == "b"]
    assert shown() == f"{''.join(sent)}, edited: {edited} (idempotency key)"


def keys_shown(machine: Machine, run: int = -1) -> list[str]:
    """The keys that the page has of the calls of a run, in the order of their records."""
    store = machine.engine.store
    found = list(reversed(store.runs(children=True)))[run]
    return [
        call_facts(store, found, record).idempotency_key
        for record in store.all_records(found.rid)
        if record.name in ("send", "book", "pay")
    ]


def test_the_page_has_the_key_that_an_edited_call_was_made_with(machine: Machine) -> None:
    """A service is looked up by it: by the one of the last attempt; in a fork, too, that has taken the call over."""
    letter_steps.reset()
    letter_steps.broken.add("a")

    @workflow
    def posting() -> None:
        send.map(["a", "c"])
        raise Trouble

    with pytest.raises(Trouble):
        posting()
    sent = {what: key for what, key, _ in letter_steps.keys}
    assert sorted(keys_shown(machine)) == sorted(sent.values())
    assert main(["dlq", "edit", "1", "--set", 'item="b"']) == 0
    assert sorted(keys_shown(machine)) == sorted(sent.values())
    redrive(machine, 1)
    now = {what: key for what, key, _ in letter_steps.keys if what != "a"}
    assert len(now) == 2
    assert sorted(keys_shown(machine)) == sorted(now.values())
    (source,) = machine.engine.store.runs()
    assert main(["fork", source.id, "--from", "#3"]) == 2  # a copy is made; this file is not loaded to go on with it
    machine.boot()
    assert len(machine.engine.store.runs()) == 2
    assert sorted(keys_shown(machine)) == sorted(now.values())


def test_a_letter_of_a_call_that_was_undone_before_is_shown_with_the_key_of_then(machine: Machine, capsys: Any) -> None:
    """The call is made again under another key than the one that was taken back."""
    sent: list[str] = []
    bad = [False]

    @step(retry=None)
    def unbook(_: object) -> None:
        pass

    @step(retry=None, undo=unbook, on_failure="dead_letter")
    def book() -> str:
        sent.append(perdure.idempotency_key())
        if bad[0]:
            raise Trouble
        return "booked"

    @step(retry=None)
    def pay() -> None:
        if len(sent) == 1:
            raise Trouble

    @workflow
    def trip() -> None:
        book()
        pay()

    with pytest.raises(Trouble):
        trip()
    bad[0] = True
    trip()
    assert len(set(sent)) == 2
    assert main(["dlq", "show", "1"]) == 0
    assert f"{sent[1]} (idempotency key)" in capsys.readouterr().out
    assert sent[1] in keys_shown(machine)
    assert sent[0] not in keys_shown(machine)
