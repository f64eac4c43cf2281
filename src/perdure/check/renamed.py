"""Recorded steps that a script no longer defines: its unfinished runs would execute them again under another name."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from perdure.check.names import Names
from perdure.check.project import Function, Module
from perdure.check.reach import Report
from perdure.check.sources import Unreadable

OF_AGENTS = "_unit"
"""The function of all steps of agents (`ext/agent_steps`), which are named while they are called, not in the source."""


@dataclass(frozen=True, order=True, slots=True)
class RecordedStep:
    """A step of which an unfinished run has results.

    Attributes:
        run: the id of the run.
        workflow: the name of its workflow.
        step: the name of the step.
        results: how many there are.
        file: the file that its function was in; "" if that was not recorded.
    """

    run: str
    workflow: str
    step: str
    results: int
    file: str


def judge(module: Module, recorded: Iterable[RecordedStep], names: Names, report: Report) -> None:
    """Report the recorded steps that are gone.

    Args:
        module: the script of the runs.
        recorded: what they have.
        names: resolves expressions.
        report: takes the findings.
    """
    own = [*names.durable(module), *names.made(module)]
    workflows = {one.name: one for one in own if one.kind == "workflow"}
    for one in sorted(recorded):
        workflow = workflows.get(one.workflow)
        if workflow is None or workflow.node is None:
            continue
        known = _names(module, one, names, own)
        if known is None or one.step in known:
            continue
        close = difflib.get_close_matches(one.step, sorted(known), n=1, cutoff=0.4)
        count = f"{one.results} result" if one.results == 1 else f"{one.results} results"
        text = f"run {one.run} has {count} of step '{one.step}', which is not defined any more"
        text += f" (is it '{close[0]}' now?), so it would be done again" if close else ", so they would not be found"
        report("renamed", workflow.node, module, text)


def _names(module: Module, one: RecordedStep, names: Names, own: list[Function]) -> set[str] | None:
    """What stands where the step stood; None if some have names that the source does not show."""
    functions = own
    if one.file and os.path.realpath(one.file) != os.path.realpath(module.file):
        functions = []
        if os.path.isfile(one.file):
            try:
                other = module.project.load(Path(one.file))
            except Unreadable:
                return None
            functions = [*names.durable(other), *names.made(other)]
    if any(function.opaque or ("name" in function.options and not function.is_named) for function in functions):
        return None
    return {function.name for function in functions}
