"""An edit moves a completed call between a workflow and one that it calls: it is not executed again without a word."""

from __future__ import annotations

import os
import signal
import sys

import pytest

import warm
from conftest import Scripts

HEAD = """
import asyncio, os, signal, sys
from perdure import step, workflow


def note(what):
    with open(os.environ["LEDGER"], "a") as ledger:
        ledger.write(what + "\\n")
    if what == os.environ.get("DIES_IN"):
        os.kill(os.getpid(), signal.SIGKILL)


@step
def charge(n):
    note(f"charge {n}")
    return n


@step
def read_config():
    note("config")
    return 1


@step
def slow(n=0):
    note(f"slow {n}")
    return n


@step
async def acharge(n):
    note(f"charge {n}")
    return n


@step
async def aslow(n=0):
    note(f"slow {n}")
    return n

"""
TAIL = """

if __name__ == "__main__":
    print("RESULT", WAY)
"""
SYNC = "top()"
ASYNC = "asyncio.run(top())"


class Lives:
    """A script that is killed, edited and run again."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._ledger = scripts.folder / "ledger"

    def live(self, body: str, way: str = SYNC, dies_in: str = "") -> tuple[int, str]:
        """One life; the exit code and what it said."""
        script = self._scripts.write(HEAD + body + TAIL.replace("WAY", way))
        done = self._scripts.run(script, LEDGER=str(self._ledger), DIES_IN=dies_in)
        return done.returncode, done.stdout + done.stderr

    def dies(self, body: str, way: str = SYNC, *, dies_in: str) -> None:
        """A life that is killed in that step."""
        assert self.live(body, way, dies_in)[0] == -signal.SIGKILL

    def ledger(self) -> list[str]:
        """What was executed, in order."""
        return self._ledger.read_text().split("\n")[:-1]


@pytest.fixture
def lives(scripts: Scripts) -> Lives:
    """A folder for one script."""
    return Lives(scripts)


PARENT = "\n\n@workflow\ndef pay(n):\n    return slow(n)\n\n\n@workflow\ndef top():\n    charge(1)\n    return pay(1)\n"
CHILD = "\n\n@workflow\ndef pay(n):\n    charge(n)\n    return slow(n)\n\n\n@workflow\ndef top():\n    return pay(1)\n"
KEPT = "\n\n@workflow\ndef pay(n):\n    return charge(n)\n\n\n@workflow\ndef top():\n    pay(1)\n    return slow(1)\n"
KEPT_MOVED = KEPT.replace("return charge(n)", "return n").replace("return slow(1)", "slow(1)\n    return charge(1)")
GONE = "\n\n@workflow\ndef top():\n    charge(1)\n    return slow(1)\n"
RENAMED = CHILD.replace("pay", "payment")
MORE_INPUT = CHILD.replace("def pay(n)", "def pay(n, k=0)").replace("pay(1)", "pay(1, 2)")
SIBLINGS = (
    "\n\n@workflow\ndef pay(n):\n    return charge(n)\n\n\n@workflow\ndef send(n):\n    return slow(n)\n\n\n"
    "@workflow\ndef top():\n    pay(1)\n    return send(1)\n"
)
SIBLINGS_MOVED = SIBLINGS.replace("    return charge(n)", "    return n").replace("    return slow(n)", "    charge(1)")
APARENT, ACHILD = (
    text.replace("\ndef", "\nasync def").replace("charge(", "await acharge(").replace("= pay(", "= await pay(")
    .replace("return pay(", "return await pay(").replace("slow(", "await aslow(")
    for text in (PARENT, CHILD)
)  # fmt: skip
GATHERED = (
    "\n\n@workflow\nasync def pay(n):\n    await acharge(9)\n    return await aslow(n)\n\n\n"
    "@workflow\nasync def other(n):\n    return await aslow(n)\n\n\n"
    "@workflow\nasync def top():\n    return await asyncio.gather(pay(1), other(2))\n"
)
GATHERED_MOVED = GATHERED.replace("    await acharge(9)\n", "").replace(
    "def other(n):\n", "def other(n):\n    await acharge(9)\n"
)


@pytest.mark.parametrize(
    ("before", "after", "way", "call"),
    [
        (PARENT, CHILD, SYNC, "charge 1"),
        (CHILD, PARENT, SYNC, "charge 1"),
        (CHILD, GONE, SYNC, "charge 1"),
        (KEPT, KEPT_MOVED, SYNC, "charge 1"),
        (CHILD, RENAMED, SYNC, "charge 1"),
        (CHILD, MORE_INPUT, SYNC, "charge 1"),
        (SIBLINGS, SIBLINGS_MOVED, SYNC, "charge 1"),
        (APARENT, ACHILD, ASYNC, "charge 1"),
        (ACHILD, APARENT, ASYNC, "charge 1"),
        (GATHERED, GATHERED_MOVED, ASYNC, "charge 9"),
    ],
    ids=[
        "into a child",
        "out of a child",
        "child gone",
        "out of a done child",
        "child renamed",
        "child's inputs",
        "to another child",
        "into an async child",
        "out of an async child",
        "between branches",
    ],
)
def test_a_moved_call_stops_the_run(lives: Lives, before: str, after: str, way: str, call: str) -> None:
    """Killed in the step after it, edited, run again: an error that names both runs, and no second execution; also at
    the third try. The script as it was goes on."""
    lives.dies(before, way, dies_in="slow 1")
    for _ in range(2):
        code, said = lives.live(after, way)
        assert code == 1, said
        assert "[code-drift]" in said
        assert "was completed in run top-" in said
        assert lives.ledger().count(call) == 1
    assert lives.live(before, way)[0] == 0
    assert lives.ledger().count(call) == 1


GROWN = """
import dataclasses
Order = dataclasses.make_dataclass("Order", [("n", int), *([("vip", bool, False)] if GAINED else [])])


@step(name="charge")
def charged(order: Order):
    return charge._spec.fn(order.n)


"""


@pytest.mark.parametrize(
    ("before", "after"),
    [(PARENT, CHILD), (CHILD, PARENT), (KEPT, KEPT_MOVED)],
    ids=["into a child", "out of a child", "out of a done child"],
)
def test_a_moved_call_stops_the_run_also_if_its_class_has_gained_a_field(lives: Lives, before: str, after: str) -> None:
    """Two edits at once: the call is recognised by what was recorded of its inputs."""
    old, new = (
        text.replace("charge(n)", "charged(Order(n))").replace("charge(1)", "charged(Order(1))")
        for text in (before, after)
    )
    lives.dies(GROWN.replace("GAINED", "0") + old, dies_in="slow 1")
    code, said = lives.live(GROWN.replace("GAINED", "1") + new)
    assert (code, "was completed in run top-" in said) == (1, True), said
    assert lives.ledger().count("charge 1") == 1


def test_what_the_error_says_goes_on(lives: Lives, scripts: Scripts) -> None:
    """It names the command for the run that is no child, and that has the call made as new work."""
    lives.dies(PARENT, dies_in="slow 1")
    said = lives.live(CHILD)[1]
    (line,) = [line for line in said.splitlines() if "--accept-changes" in line]
    command = line.split("stand:  perdure ", 1)[1].split()
    assert command[0] == "resume"
    env = {**os.environ, "LEDGER": str(scripts.folder / "ledger"), "PERDURE_ALERTS": ""}
    done = warm.run(
        [sys.executable, "-m", "perdure", *command], cwd=scripts.folder, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert lives.ledger() == ["charge 1", "slow 1", "charge 1", "slow 1"]


BY_ID = CHILD.replace("return pay(1)", 'return pay.with_options(id="x")(1)')
OTHER_ID = BY_ID.replace('"x"', '"y"')


@pytest.mark.parametrize(("before", "after"), [(CHILD, BY_ID), (BY_ID, OTHER_ID), (BY_ID, CHILD)])
def test_a_run_in_its_middle_keeps_its_id(lives: Lives, before: str, after: str) -> None:
    """Killed in the run that is called, which an edit gives an id, another one or none: what it had done is its own."""
    lives.dies(before, dies_in="slow 1")
    for _ in range(2):
        code, said = lives.live(after)
        assert (code, "[code-drift]" in said) == (1, True), said
    assert lives.live(before)[0] == 0
    assert lives.ledger() == ["charge 1", "slow 1", "slow 1"]


def test_drift_in_a_child_names_the_run_that_is_no_child(lives: Lives) -> None:
    """The commands that its error names are those of the run that users go on with."""
    lives.dies(CHILD, dies_in="slow 1")
    said = lives.live(CHILD.replace("charge(n)", "charge(n + 1)"))[1]
    assert "step #1 of run top-" in said
    (accept,) = [line for line in said.splitlines() if "--accept-changes" in line]
    (fork,) = [line for line in said.splitlines() if "perdure fork" in line]
    assert ".pay-" not in accept + fork
    assert fork.endswith(" --from pay")


BOTH = (
    "\n\n@workflow\ndef pay(n):\n    read_config()\n    return charge(n)\n\n\n"
    "@workflow\ndef send(n):\n    read_config()\n    return slow(n)\n\n\n"
    "@workflow\ndef top():\n    pay(1)\n    slow(7)\n    pay(2)\n    send(3)\n    return read_config()\n"
)


@pytest.mark.parametrize(
    ("dies_in", "old", "new"),
    [
        ("slow 7", "\n\n\n", "\n\n\n\n"),
        ("slow 7", "    return charge(n)", "    return charge(n + 0)"),
        ("slow 7", "    slow(7)\n", "    slow(7)\n    slow(8)\n"),
        ("charge 2", "    return charge(n)", "    n += 0\n    return charge(n)"),
        ("slow 3", "    return slow(n)", "    return slow(n + 0)"),
    ],
    ids=["nothing", "the child", "the parent", "the child under way", "another child"],
)
def test_calls_that_several_workflows_make_are_no_drift(lives: Lives, dies_in: str, old: str, new: str) -> None:
    """A parent and its children all read the same configuration: after a repair of one of them, the run goes on."""
    lives.dies(BOTH, dies_in=dies_in)
    code, said = lives.live(BOTH.replace(old, new))
    assert code == 0, said
    assert "Drift" not in said
