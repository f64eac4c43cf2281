"""What runs in a workflow and what runs in a step: their own functions, and the helpers that they call."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from perdure.check.findings import Severity
from perdure.check.names import Instance, Member, Names, Value
from perdure.check.project import Class, Function, Module, decorators
from perdure.check.scan import FUNCTIONS, Facts

MOST = 2_000
"""Helpers of one step or workflow."""


class Report(Protocol):
    """Takes a finding: its code, where it is, whose file, one sentence; a severity if it is not that of the rule."""

    def __call__(self, code: str, node: ast.AST, module: Module, text: str, severity: Severity | None = None) -> None:
        """Take it."""


@dataclass(eq=False)
class Place:
    """A function as it runs: in which step or workflow. `helpers` are called from here.

    Attributes:
        owner: the step or workflow.
        function: the function itself, or a helper.
        names: resolves expressions.
        report: takes a finding: code, where, whose file, one sentence.
        bounded: which clients have a timeout for all their calls, as far as it was looked for.
    """

    owner: Function
    function: Function
    names: Names
    report: Report = field(repr=False)
    bounded: dict[str, bool] = field(default_factory=dict, repr=False)

    @property
    def module(self) -> Module:
        """The file that the function is in."""
        return self.function.module

    @property
    def facts(self) -> Facts:
        """What the function consists of."""
        return self.function.facts

    @property
    def in_step(self) -> bool:
        """Whether it runs in a step; otherwise in a workflow."""
        return self.owner.kind == "step"

    @property
    def who(self) -> str:
        """How a text names the place."""
        owner = f"{self.owner.kind} '{self.owner.name}'"
        if self.function.node is self.owner.node:
            return owner
        return f"'{self.function.qualname}', which {owner} calls,"

    def value(self, node: ast.AST | None) -> Value:
        """What an expression here stands for."""
        return self.names.value(node, self.module, self.function)

    def text(self, node: ast.AST | None) -> str:
        """The name of a library's function; "" if it is something else."""
        found = self.value(node)
        return found if isinstance(found, str) else ""

    def found(self, code: str, node: ast.AST, text: str) -> None:
        """Report a finding here."""
        self.report(code, node, self.module, text)

    @cached_property
    def calls(self) -> list[tuple[ast.Call, Value]]:
        """Its calls, each with what is called."""
        return [(node, self.value(node.func)) for node in self.facts.of(ast.Call)]

    def durable_calls(self) -> list[tuple[ast.Call, Function]]:
        """Calls of steps and workflows, also by `map` and `start`, and those handed to a pool or a thread."""
        return [(node, step) for node, value in self.calls if (step := self.durable(node, value)) is not None]

    def durable(self, node: ast.Call, value: Value) -> Function | None:
        """The step or workflow that a call executes."""
        if isinstance(value, Function) and value.kind:
            return value
        if isinstance(value, Member) and value.name in ("map", "start"):
            return value.function
        if isinstance(value, str) and (
            value.startswith("perdure.") or value in ("builtins.print", "builtins.isinstance")
        ):
            return None
        for arg in node.args:
            if isinstance(arg, ast.Name | ast.Attribute):
                given = self.value(arg)
                if isinstance(given, Function) and given.kind:
                    return given
        return None

    @cached_property
    def makes_calls(self) -> bool:
        """Whether a step or workflow is called here."""
        return bool(self.durable_calls())


def places(owner: Function, names: Names, report: Report) -> list[Place]:
    """A step or workflow with its helpers, the function itself first."""
    if owner.node is None:
        return []
    found = [Place(owner, owner, names, report)]
    seen: set[ast.AST] = {owner.node}
    for place in found:
        for helper in _helpers(place):
            if helper.node is not None and helper.node not in seen and not helper.kind and len(found) < MOST:
                seen.add(helper.node)
                found.append(Place(owner, helper, names, report))
    return found


def _helpers(place: Place) -> list[Function]:
    found: list[Function] = []
    for node, value in place.calls:
        if isinstance(value, Function):
            found.append(value)
        elif isinstance(value, Class):
            found += [value.methods[name] for name in ("__init__", "__post_init__") if name in value.methods]
        if isinstance(value, Function) and value.kind:
            continue
        for given in (*node.args, *(keyword.value for keyword in node.keywords)):
            if isinstance(given, ast.Name | ast.Attribute):
                helper = place.value(given)
                if isinstance(helper, Function):
                    found.append(helper)
    for node in place.facts.of_any(ast.With, ast.AsyncWith):
        for item in node.items:
            entered = place.value(item.context_expr)
            if isinstance(entered, Instance):
                names = ("__enter__", "__exit__", "__aenter__", "__aexit__")
                found += [entered.cls.methods[name] for name in names if name in entered.cls.methods]
    return found


def decorated_with(function: Function, names: Names) -> list[tuple[ast.expr, str]]:
    """The decorators of a function that come from libraries, each with its name."""
    found = []
    if isinstance(function.node, FUNCTIONS):
        for one in decorators(function):
            value = names.value(one, function.module, function.parent)
            if isinstance(value, str):
                found.append((one, value.removesuffix("()")))
    return found
