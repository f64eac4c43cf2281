"""Checks files: finds the steps and workflows in them, and asks every rule about each place where one runs."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from perdure.check import ignores, renamed, sources
from perdure.check.catalogue import RULES
from perdure.check.findings import Finding, Problem, Report, Severity, Unseen
from perdure.check.names import Names
from perdure.check.project import Function, Module, Project
from perdure.check.reach import Place, places
from perdure.check.renamed import RecordedStep
from perdure.check.rules import (
    arguments,
    command_line,
    determinism,
    effects,
    failures,
    files,
    given_steps,
    globals,
    hints,
    results,
    retries,
)
from perdure.check.sources import Unreadable

EVERYWHERE = (
    results.not_awaited,
    results.secret_argument,
    failures.swallowed,
    results.unstorable,
    command_line.command_line_in_global,
)
IN_STEPS = (
    effects.no_timeout,
    effects.status_unchecked,
    effects.unprotected_effect,
    files.moved_input,
    retries.double_retry,
    arguments.changed_argument,
    failures.error_as_result,
    failures.nested_step,
)
IN_WORKFLOWS = (
    effects.outside_step,
    determinism.files,
    determinism.changed_variables,
    results.unread_letters,
    results.batch_as_list,
    failures.clean_up_in_finally,
    failures.thread,
)
HINTS_IN_WORKFLOWS = (
    hints.item_by_item,
    hints.unbounded_loop,
    hints.sleep_in_workflow,
    hints.growing_input,
    hints.no_alert,
    hints.no_time_zone,
)
HIDDEN = frozenset({"builtins.eval", "builtins.exec", "importlib.import_module", "builtins.__import__"})


Recorded = Callable[[Path], Iterable[RecordedStep]]


def check(paths: Iterable[Path], with_hints: bool = False, recorded: Recorded | None = None) -> Report:
    """Check files, and those in folders, without importing or running them.

    Args:
        paths: files and folders.
        with_hints: hints too.
        recorded: gives what the unfinished runs of a script have; raises Unreadable if that cannot be read.

    Returns:
        What was found; a file that cannot be checked is a problem, and the others are checked all the same.
    """
    return Checker(with_hints, recorded).check(paths)


class Checker:
    """One check; its project knows each file that was read."""

    def __init__(self, with_hints: bool = False, recorded: Recorded | None = None) -> None:
        self.with_hints = with_hints
        self.recorded = recorded
        self.project = Project()
        self.names = Names()
        self.problems: list[Problem] = []
        self.unseen: set[Unseen] = set()
        self.found: dict[tuple[str, int, int, str], Finding] = {}
        self.places: dict[Function, list[Place]] = {}
        self.modules: list[Module] = []

    def check(self, paths: Iterable[Path]) -> Report:
        """Check them; called once."""
        files: set[str] = set()
        for path in sources.python_files(paths, self.problems):
            files.add(str(path))
            try:
                self.modules.append(self.project.load(path))
            except Unreadable as error:
                self.problems.append(Problem(str(path), str(error)))
        for module in list(self.modules):
            if any(word in module.text for word in ("perdure", "step", "workflow")):
                self._guarded(module, self._collect)
        self._judge_all()
        self._look_for_unread()
        files -= {one.file for one in self.problems}
        return Report(len(files), self._findings(), sorted(set(self.problems)), sorted(self.unseen))

    def _guarded(self, module: Module, work: object, *args: object) -> None:
        """Do something with a module; if that needs more of Python's stack than there is, say so."""
        try:
            work(module, *args)  # type: ignore[operator]
        except RecursionError:
            self.problems.append(Problem(module.path, sources.TOO_DEEP))

    def _collect(self, module: Module) -> None:
        """The steps and workflows of a module, and those that its workflows call elsewhere."""
        rest = [*self.names.durable(module), *self.names.made(module)]
        while rest:
            owner = rest.pop(0)
            if owner in self.places:
                continue
            self.places[owner] = places(owner, self.names, self._report)
            if owner.external:
                self.places[owner] = []
            for place in self.places[owner]:
                rest += [called for _, called in place.durable_calls()]

    def _judge_all(self) -> None:
        in_workflows = [place for owner, found in self.places.items() if owner.kind == "workflow" for place in found]
        reached = {place.function.node for found in self.places.values() for place in found}
        read = globals.read_globals(in_workflows)
        changed: dict[tuple[Module, str], str] = {}
        for module in self.modules:
            if self.names.durable(module):
                for function in module.functions.values():
                    if function.node not in reached:
                        plain = Place(function, function, self.names, self._report)
                        for name in globals.changed_globals(plain):
                            changed.setdefault((module, name), function.qualname)
        for owner, found in self.places.items():
            self._guarded(owner.module, self._judge, owner, found, read)
        determinism.read_variables(in_workflows, changed)
        for module in self.modules:
            if any(owner.kind == "workflow" for owner in self.places):
                self._guarded(module, self._identities, reached)
            self._look_for_stars(module)
            self._guarded(module, self._given_steps)
            if self.recorded is not None and any(one.kind == "workflow" for one in self.names.durable(module)):
                try:
                    renamed.judge(module, self.recorded(Path(module.file)), self.names, self._report)
                except Unreadable as error:
                    self.unseen.add(Unseen(module.path, 1, str(error)))

    def _judge(self, module: Module, owner: Function, found: list[Place], read: dict[tuple[Module, str], str]) -> None:
        if owner.external:
            place = Place(owner, owner, self.names, self._report)
            effects.external_timeout(place)
            effects.made_of_library(place)
        for place in found:
            for rule in (*EVERYWHERE, *(IN_STEPS if place.in_step else IN_WORKFLOWS)):
                rule(place)
            self._look_for_hidden(place)
        if owner.kind == "step":
            globals.lost_globals(found, read)
        else:
            determinism.trace(owner, self.names, self._report)
            determinism.changing_defaults(owner, self.names, self._report)
        if self.with_hints:
            for place in found:
                for hint in () if place.in_step else HINTS_IN_WORKFLOWS:
                    hint(place)
                if place.in_step:
                    hints.slow_default(place)
                else:
                    hints.no_breaker(place, self.places)

    def _given_steps(self, module: Module) -> None:
        given_steps.not_a_step(module, self.names, self._report)

    def _identities(self, module: Module, reached: set[ast.AST | None]) -> None:
        functions = [
            function
            for function in module.functions.values()
            if function.node not in reached and function.parent is None and self._starts_a_run(module, function)
        ]
        determinism.identities(module, functions, self.names, self._report)

    def _starts_a_run(self, module: Module, function: Function) -> bool:
        place = Place(function, function, self.names, self._report)
        return any(called.kind == "workflow" for _, called in place.durable_calls())

    # -- what is said -------------------------------------------------------------------------------------------------

    def _report(self, code: str, node: ast.AST, module: Module, text: str, severity: Severity | None = None) -> None:
        rule = RULES[code]
        line = getattr(node, "lineno", 1)
        shown = module.lines[line - 1] if line <= len(module.lines) else ""
        col = len(shown.encode()[: getattr(node, "col_offset", 0)].decode(errors="replace")) + 1
        until = line if hasattr(node, "body") else getattr(node, "end_lineno", line) or line
        finding = Finding(module.path, line, col, code, severity or rule.severity, text, rule.fix, until)
        self.found.setdefault((module.path, line, col, code), finding)

    def _findings(self) -> list[Finding]:
        by_file: dict[str, list[Finding]] = {module.path: [] for module in self.modules}
        for finding in self.found.values():
            by_file.setdefault(finding.file, []).append(finding)
        texts = {module.path: module.text for module in self.project.modules()}
        kept = [one for file, found in by_file.items() for one in ignores.apply(texts[file], file, found)]
        return sorted(kept)

    def _look_for_hidden(self, place: Place) -> None:
        for call, value in place.calls:
            what = ""
            if value in HIDDEN:
                what = f"what {str(value).removeprefix('builtins.')}() executes"
            elif isinstance(call.func, ast.Subscript) and value is None:
                what = "which function a table holds"
            elif isinstance(call.func, ast.Call) and place.text(call.func.func) == "builtins.getattr":
                what = "which function getattr() gives"
            if what:
                self.unseen.add(
                    Unseen(place.module.path, call.lineno, f"{place.who} calls here, and {what} is not seen")
                )

    def _look_for_stars(self, module: Module) -> None:
        for star in module.stars:
            base = self.names.imported_from(star, module)
            if not isinstance(base, Module) and base != "perdure":
                text = f"the names of `from {'.' * star.level}{star.module or ''} import *` are not seen"
                self.unseen.add(Unseen(module.path, star.lineno, text))

    def _look_for_unread(self) -> None:
        """Files of the project that are imported, and cannot be read."""
        named = {os.path.realpath(problem.file) for problem in self.problems}
        for path, why in self.project.unreadable.items():
            if path not in named:
                self.unseen.add(Unseen(path, 1, f"a file that is imported cannot be checked: {why}"))
