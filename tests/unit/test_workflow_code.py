"""What tells two versions of a workflow's function apart, so that an edit is known by the workflow that it changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from conftest import Machine
from perdure import step, workflow
from perdure.config.script_identity import source_digest
from perdure.core.execution.spec import spec_of
from perdure.engines.workflow_code import body_of
from perdure.operations.functions import functions_of
from perdure.store import code_versions


@step(name="bodies.followed")
def followed(n: int) -> int:
    return n + 1


@workflow(name="bodies.follows")
def follows(x: int) -> int:
    return followed(x)


SCRIPT = """
from perdure import step, workflow


@step(name="bodies.charge")
def charge(n):
    return n + 1


def helper(n):
    return [charge(each) for each in range(n)]


@workflow(name="bodies.pay")
def pay(n):
    return helper(n)
"""


def body(folder: Path, text: str, name: str = "script.py") -> Any:
    """Of the workflow of a script."""
    found: dict[str, Any] = {}
    exec(compile(text, str(folder / name), "exec"), found)
    return body_of(spec_of(found["pay"]).fn)


@pytest.mark.parametrize(
    ("old", "new", "differs"),
    [
        ("\n\n\n", "\n\n\n\n\n# a comment\n", False),
        ("n + 1", "n + 2", False),
        ("range(n)", "range(n, 7)", True),
        ("return helper(n)", "return helper(n) + [charge(9)]", True),
        ("    return helper(n)", "    n += 1\n    return helper(n)", True),
    ],
    ids=["comments", "a step", "a plain function that it calls", "a call more", "an assignment"],
)
def test_it_differs_with_what_the_workflow_executes_itself(tmp_path: Path, old: str, new: str, differs: bool) -> None:
    """Its own code and that of plain functions counts; steps, comments and the places of lines do not."""
    before, after = body(tmp_path, SCRIPT), body(tmp_path, SCRIPT.replace(old, new, 1))
    assert (before["body"] != after["body"]) is differs


def test_functions_of_other_folders_are_no_part_of_it(tmp_path: Path) -> None:
    """A library that is updated is no edit of the script; the names that are used are known."""
    text = "from textwrap import dedent\n" + SCRIPT.replace("return helper(n)", "return dedent(str(helper(n)))")
    found = body(tmp_path, text)
    assert {"helper", "charge", "dedent"} <= set(found["names"])
    assert found == body(tmp_path, text, "moved.py")


def test_the_functions_of_a_run_are_its_workflow_and_the_steps_that_it_has_called(machine: Machine) -> None:
    """As they are written; nothing is known of a run of another workflow."""
    assert follows(1) == 2
    store = machine.engine.store
    (run,) = store.runs()
    found = functions_of(store, run)
    assert [(one.kind, one.name, one.parameters, one.qualname) for one in found] == [
        ("workflow", "bodies.follows", ["x"], "follows"),
        ("step", "bodies.followed", ["n"], "followed"),
    ]
    assert {one.file for one in found} == {__file__}
    assert [one.name for one in functions_of(store, structs.replace(run, workflow="other"))] == ["bodies.followed"]


def test_what_a_workflow_was_in_the_versions_that_have_executed_a_run(machine: Machine) -> None:
    """Each version that had it; a version or a workflow that is not known has none. What a run has called is a step."""
    assert follows(1) == 2
    store = machine.engine.store
    (run,) = store.runs()
    known, called = code_versions.earlier(store, run.rid)
    assert (known, called) == ({source_digest(__file__)}, {})
    (found,) = code_versions.of_workflow(store, [*known, bytes(16)], "bodies.follows")
    assert (found.file, found.qualname) == (__file__, "follows")
    assert code_versions.of_workflow(store, known, "other") == []
    assert code_versions.kind_of_call(store, run.rid, "bodies.followed") == "step"
    assert code_versions.kind_of_call(store, run.rid, "bodies.follows") is None
