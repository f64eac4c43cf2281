"""A step's name is a name: whatever it looks like, the step is executed once, and is never taken for a clean-up.

The witness is a ledger that the steps append to, in processes that are killed.
"""

from __future__ import annotations

import json
import sys

import pytest

import perdure
import warm
from conftest import SOURCE, Machine, Scripts, Trouble, _clean
from perdure.errors import OptionError
from perdure.store import dead_letters

NAMES = (
    *(
        "undo:payment",
        "undo:",
        "undo:take",
        "defer:payment",
        "defer:",
        "defer:close",
        "perdure",
        "perdure:defer",
        "undo",
    ),
    *(
        "defer",
        "step",
        "builtin",
        "undone",
        "deferred",
        "Perdure.defer",
        "undo:undo:x",
        "-- name: add_step",
        "x\0done\0undo",
    ),
)

SCRIPT = f"""
import os, signal, sys
import perdure
from perdure import defer_every_end, step, workflow

NAMES = {NAMES!r}

def note(line):
    descriptor = os.open("ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, repr(line).encode() + b"\\n")
    os.close(descriptor)

def named(name):
    @step(name=name, retry=None)
    def look_alike(what: str) -> str:
        note(name)
        return what
    return look_alike

STEPS = [named(name) for name in NAMES]

@step(name="close", retry=None)
def close(what: str) -> None:
    note(f"close really {{what}}")

@step(name="take back", retry=None)
def payment(what: str) -> None:
    note(f"take back really {{what}}")

@step(name="payment", undo=payment)
def pay(what: str) -> str:
    note("pay")
    return what

@step(retry=None)
def last(how: str) -> str:
    note("last")
    if os.path.exists("kill"):
        os.remove("kill")
        os.kill(os.getpid(), signal.SIGKILL)
    if os.path.exists("fail"):
        raise ConnectionError("down")
    return how

@workflow
def look_alikes() -> str:
    defer_every_end(close, "a")
    pay("p")
    for each in STEPS:
        each("a")
        each("a")
    return last("well")

if __name__ == "__main__":
    print(look_alikes())
"""

TWICE = [name for name in NAMES for _ in range(2)]


def ledger(scripts: Scripts) -> list[str]:
    """What the steps have done since the last time."""
    path = scripts.folder / "ledger"
    lines = path.read_text().splitlines()
    path.unlink()
    return [eval(line) for line in lines]


def test_killed_and_resumed(scripts: Scripts) -> None:
    """Each completed step is not executed again, and what was deferred is done at the end, once."""
    script = scripts.write(SCRIPT)
    (scripts.folder / "kill").touch()
    assert scripts.run(script).returncode == -9
    assert ledger(scripts) == ["pay", *TWICE, "last"]
    assert scripts.run(script).stdout == "well\n"
    assert ledger(scripts) == ["last", "close really a"]


def test_failed_and_resumed(scripts: Scripts) -> None:
    """Only what can be undone is undone, and done again; look-alikes of clean-ups stand."""
    script = scripts.write(SCRIPT)
    (scripts.folder / "fail").touch()
    for _ in range(2):
        assert scripts.run(script).returncode == 1
    (scripts.folder / "fail").unlink()
    assert scripts.run(script).stdout == "well\n"
    ended = ["last", "take back really p", "close really a"]
    assert ledger(scripts) == ["pay", *TWICE, *ended, "pay", *ended, "pay", "last", "close really a"]


def test_killed_while_it_cleans_up(scripts: Scripts) -> None:
    """What was cleaned up is known by its kind, not by a look-alike. An end that was begun is ended first."""
    text = SCRIPT.replace('note(f"close really', 'os.kill(os.getpid(), 9) if kill() else note(f"close really')
    script = scripts.write(
        text.replace(
            "def named(name):",
            "def kill():\n    there = os.path.exists('kill late')\n    if there:\n        os.remove('kill late')\n"
            "    return there\n\ndef named(name):",
        )
    )
    (scripts.folder / "kill late").touch()
    (scripts.folder / "fail").touch()
    assert scripts.run(script).returncode == -9
    assert ledger(scripts) == ["pay", *TWICE, "last", "take back really p"]
    (scripts.folder / "fail").unlink()
    assert scripts.run(script).stdout == "well\n"
    assert ledger(scripts) == ["close really a", "pay", "last", "close really a"]


def test_forked_shown_and_redriven(scripts: Scripts) -> None:
    """A dead letter of a look-alike is its own: re-driving it calls it, and not the step that is undone or deferred."""
    script = scripts.write(
        """
        import os
        from perdure import step, workflow

        def note(line):
            with open("ledger", "a") as file:
                file.write(repr(line) + "\\n")

        @step(name="pay", retry=None)
        def pay(what: str) -> str:
            note("pay")
            return what

        @step(name="undo:pay", retry=None)
        def look_alike(what: str) -> str:
            note(f"look-alike {what}")
            if not os.path.exists("mended"):
                raise ValueError("no")
            return what

        @workflow
        def flow() -> str:
            pay("p")
            look_alike.map("abc")
            return "done"

        if __name__ == "__main__":
            print(flow())
        """
    )

    def command(*args: str) -> str:
        done = warm.run(
            [sys.executable, "-m", "perdure", *args],
            env={**_clean(), "PYTHONPATH": str(SOURCE)},
            cwd=scripts.folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        return done.stdout

    assert scripts.run(script).stdout == "done\n"
    assert ledger(scripts) == ["pay", "look-alike a", "look-alike b", "look-alike c"]
    shown = json.loads(command("show", "last", "--json", "--file", str(script)))
    assert [step["name"] for step in shown["steps"]] == ["pay", *["undo:pay"] * 3]
    (scripts.folder / "mended").touch()
    command("dlq", "redrive", "--all", "--file", str(script))
    assert sorted(ledger(scripts)) == ["look-alike a", "look-alike b", "look-alike c"]


def test_a_redriven_look_alike_shows_that_its_run_has_moved_past(machine: Machine) -> None:
    """A letter behind which the workflow has made a call of a look-alike is not put into the run's history any more."""

    @perdure.step(name="item", retry=None)
    def item(n: int) -> int:
        raise Trouble("no")

    @perdure.step(name="undo:item", retry=None)
    def look_alike() -> None:
        pass

    @perdure.step(name="last", retry=None)
    def last() -> None:
        raise Trouble("down")

    @perdure.workflow
    def flow() -> None:
        item.map([1])
        look_alike()
        last()

    with pytest.raises(Trouble):
        flow()
    store = machine.engine.store
    (letter,) = dead_letters.find(store, dead_letters.Filter())
    past = dead_letters._SQL["moved_past"]
    record = store.record(letter.run, letter.seq)
    question = (letter.run, letter.seq, record.name, record.kind)
    assert store.journal.read(lambda connection: connection.execute(past, question).fetchone()) == (1,)


@pytest.mark.parametrize("name", ["perdure.defer", "perdure.undo", "perdure.now", "perdure.recall", "perdure."])
def test_the_names_of_perdures_own_steps_are_refused(name: str) -> None:
    """They are kept for its own, whatever a later version calls its steps."""
    with pytest.raises(OptionError, match="are perdure's own"):
        perdure.step(name=name)(print)
    with pytest.raises(OptionError, match="are perdure's own"):
        perdure.workflow(name=name)(lambda: None)


def test_a_name_that_comes_from_the_function_is_refused_too() -> None:
    """A class of that name gives its methods such names."""

    class perdure_:
        def now(self) -> None: ...

    perdure_.now.__qualname__ = "perdure.now"
    with pytest.raises(OptionError, match=r"give it another one: @step\(name='now'\)"):
        perdure.step(perdure_.now)


def test_own_steps_keep_their_kinds(machine: Machine) -> None:
    """They say nothing about how far a workflow has come, and are what they were when the run is resumed."""

    @perdure.workflow
    def flow() -> list[object]:
        return [perdure.now(), perdure.uuid(), perdure.random()]

    flow()
    (run,) = machine.engine.store.runs()
    assert [kind for *_, kind in machine.engine.store.index(run.rid)] == ["builtin"] * 3
