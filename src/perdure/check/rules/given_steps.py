"""Plain functions where perdure takes a step: what undoes a call, and what is called at the end of a run."""

from __future__ import annotations

import ast
import sys

from perdure.check.names import Names, Value
from perdure.check.project import Function, Module, decorators
from perdure.check.reach import Report
from perdure.check.rules.shapes import keyword

_DECORATORS = frozenset({"perdure.step", "perdure.step()"})
_DEFERS = frozenset({"perdure.defer", "perdure.defer_every_end"})
_WORDS = ("undo", "defer")
"""Without one of them a file has no such place."""

LONGEST = 40
"""Characters of an expression that are shown."""


def not_a_step(module: Module, names: Names, report: Report) -> None:
    """`undo=` and `perdure.defer` with something that is known to be no step."""
    if not any(word in module.text for word in _WORDS):
        return
    for function in (None, *module.functions.values()):
        for call in (function.facts if function else module.facts).of(ast.Call):
            called = names.value(call.func, module, function)
            if called in _DECORATORS:
                given, then = keyword(call, "undo"), "the script stops where it is loaded"
            elif called in _DEFERS and call.args:
                given, then = call.args[0], "the call fails"
            else:
                continue
            what = _what_else(given, names.value(given, module, function))
            if given is not None and what:
                shown = ast.unparse(given)
                shown = shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 3]}..."
                where = "undo" if called in _DECORATORS else str(called)
                report("not-a-step", given, module, f"{where} is given {shown}, {what} and not a step: {then}")


def _what_else(node: ast.expr | None, value: Value) -> str:
    """What it is, if that is known to be no step."""
    if isinstance(node, ast.Lambda):
        return "a lambda"
    if isinstance(value, Function):
        if value.kind == "workflow":
            return "a workflow"
        # What a decorator of another kind gives is not seen: it may make a step.
        return "" if value.kind or decorators(value) else "a plain function"
    if value == "functools.partial()":
        return "a partial call"
    if isinstance(value, str) and not value.endswith(("()", "[]")):
        return "a plain function" if value.partition(".")[0] in sys.stdlib_module_names else ""
    return ""
