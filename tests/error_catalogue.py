"""The texts of all errors, read from the source: followed to where each is written, what is filled in in braces."""

from __future__ import annotations

import ast
import gc
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

from perdure import errors
from syntax import module

PACKAGE = Path(errors.__file__).parent
KINDS = {
    name: kind.code
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.PerdureError)
}
Known = Mapping[str, ast.expr]
Function = ast.FunctionDef | ast.AsyncFunctionDef
unparse = cache(ast.unparse)


class Source:
    """The package, as far as texts of errors come from it."""

    def __init__(self) -> None:
        self.trees = {path: module(path) for path in sorted(PACKAGE.rglob("*.py"))}
        self.constants: dict[str, ast.expr] = {}
        self.functions: dict[str, list[Function]] = {}
        self.calls: dict[str, list[tuple[ast.Call, Function | None]]] = {}
        for tree in self.trees.values():
            self.constants |= {name: value for statement in tree.body for name, value in assignments(statement)}
            self._collect(tree, None)

    def _collect(self, node: ast.AST, around: Function | None) -> None:
        for inner in ast.iter_child_nodes(node):
            if isinstance(inner, Function):
                self.functions.setdefault(inner.name, []).append(inner)
            if isinstance(inner, ast.Call):
                self.calls.setdefault(callee(inner), []).append((inner, around))
            self._collect(inner, inner if isinstance(inner, Function) else around)


class Place(NamedTuple):
    """Where a text is: what the names there stand for."""

    known: Known
    function: Function | None
    depth: int = 0

    def deeper(self, known: Known, function: Function | None) -> Place:
        return Place(known, function, self.depth + 1)


def callee(call: ast.Call) -> str:
    """The name of what is called, without what it is an attribute of."""
    return str(getattr(call.func, "id", getattr(call.func, "attr", "")))


def assignments(statement: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    """Names and what is assigned to them."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            yield name, value
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            yield name, value
        case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
            yield from (
                (name.id, value) for name, value in zip(names, values, strict=True) if isinstance(name, ast.Name)
            )


@cache
def blocks_of(function: Function) -> list[dict[str, ast.expr]]:
    """The blocks of a whole function."""
    return list(blocks(function, {}))


@cache
def names_in(node: ast.AST) -> frozenset[str]:
    """The names that are used there."""
    return frozenset(each.id for each in ast.walk(node) if isinstance(each, ast.Name))


@cache
def returned(function: Function) -> list[ast.expr]:
    """What a function returns, if that is a text."""
    if function.returns is None or unparse(function.returns) not in ("str", "str | None"):
        return []
    return [node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value is not None]


def blocks(node: ast.AST, before: Known) -> Iterator[dict[str, ast.expr]]:
    """What names stand for, once for each block of statements that gives them a meaning."""
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        statements = [each for each in getattr(node, field, []) if not isinstance(each, Function | ast.ClassDef)]
        here = dict(before)
        for statement in statements:
            if isinstance(statement, ast.stmt):
                here |= dict(assignments(statement))
        if here != before:
            yield here
        for statement in statements:
            yield from blocks(statement, here)


def places(call: ast.Call, function: Function | None, source: Source) -> list[Place]:
    """What the names of a call may stand for: one for each way that they got it."""
    if function is None:
        return [Place({}, None)]
    used = names_in(call)
    found: list[dict[str, ast.expr]] = []
    everywhere: dict[str, ast.expr] = {}
    for known in blocks_of(function):
        everywhere = {**known, **everywhere}
        mine = {name: value for name, value in known.items() if name in used and value.lineno <= call.lineno}
        if mine and mine not in found:
            found.append(mine)
    whole = [mine for mine in found if not any(mine.items() < other.items() for other in found)]
    return [Place({**everywhere, **mine}, function) for mine in whole] or [Place(everywhere, function)]


def parameters(function: Function) -> list[str]:
    """The names of a function's parameters, without that of the instance."""
    arguments = function.args
    names = [each.arg for each in (*arguments.posonlyargs, *arguments.args)]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def given(call: ast.Call, function: Function) -> dict[str, ast.expr]:
    """What a call gives to the parameters, by their defaults where it gives nothing."""
    defaults = function.args.defaults
    found = dict(zip(parameters(function)[-len(defaults) :], defaults, strict=False)) if defaults else {}
    found |= dict(zip(parameters(function), call.args, strict=False))
    return found | {each.arg: each.value for each in call.keywords if each.arg}


def is_text(text: str) -> bool:
    """Whether something is said in words, rather than filled in."""
    return bool(re.search(r"[a-z]+ [a-z]", re.sub(r"\{[^}]*\}", "", text)))


def templates(node: ast.expr | None, place: Place, source: Source) -> list[str]:
    """A text with its gaps, as the program would fill it; all of them, if there are several."""
    unknown = ["{" + unparse(node) + "}"] if node is not None else [""]
    if place.depth > 6:
        return unknown
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=parts):
            return ["".join(each) for each in product(*(templates(part, place, source) for part in parts))]
        case ast.FormattedValue(value=ast.Name() as value):
            found = templates(value, place, source)
            return found if all(text == "" or is_text(text) for text in found) else unknown_of(value)
        case ast.FormattedValue(value=ast.Call() as value) if callee(value) in TEXTS:
            return templates(value, place, source)
        case ast.FormattedValue(value=value):
            return unknown_of(value)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return [a + b for a, b in product(templates(left, place, source), templates(right, place, source))]
        case ast.IfExp(body=body, orelse=other):
            return [*templates(body, place, source), *templates(other, place, source)]
        case ast.Name(id=name) if name in place.known:
            rest = {key: value for key, value in place.known.items() if key != name}
            return templates(place.known[name], place.deeper(rest, place.function), source)
        case ast.Name(id=name) if place.function is not None and name in all_parameters(place.function):
            return unknown
        case ast.Name(id=name) if name in source.constants:
            return templates(source.constants[name], place.deeper({}, None), source)
        case ast.Call(func=ast.Attribute(value=ast.Name(id=table), attr="get")) if table in source.constants:
            values = getattr(source.constants[table], "values", [])
            return [text for each in (*values, *node.args[1:]) for text in templates(each, place, source)]
        case ast.Subscript(value=ast.Name(id=table)) if isinstance(source.constants.get(table), ast.Dict):
            values = getattr(source.constants[table], "values", [])
            return [text for each in values for text in templates(each, place, source)]
        case ast.Call(func=ast.Attribute(value=ast.Constant() | ast.JoinedStr() as text, attr="format")):
            return templates(text, place, source)
        case ast.Call() if callee(node) not in SHORTENED and (ways := list(returns(node, place, source))):
            found = [text for value, inside in ways for text in templates(value, place.deeper(*inside), source)]
            return found if any(is_text(text) for text in found) else unknown
        case _:
            return unknown


TEXTS = {"explain", "_suggest", "describe_locked", "fork", "accept"}
"""Functions whose texts are a part of an error's."""

SHORTENED = {"cut", "one_line", "clean", "redact"}
"""Functions that return the text that they are given, shorter or redacted."""


def unknown_of(node: ast.expr) -> list[str]:
    return ["{" + unparse(node) + "}"]


def all_parameters(function: Function) -> list[str]:
    return [*parameters(function), *(each.arg for each in function.args.kwonlyargs)]


def returns(call: ast.Call, place: Place, source: Source) -> Iterator[tuple[ast.expr, tuple[Known, Function]]]:
    """What a function of the package that is called returns, if that is a text."""
    for function in source.functions.get(callee(call), []):
        if not returned(function):
            continue
        texts: dict[str, ast.expr] = {
            name: ast.Constant(templates(value, place, source)[0]) for name, value in given(call, function).items()
        }
        for known in blocks_of(function) or [{}]:
            for value in returned(function):
                yield value, ({**texts, **known}, function)


def callers(place: Place, call: ast.Call, source: Source) -> list[Place]:
    """The places again, with what the callers of the function around give to its parameters."""
    function = place.function
    used = names_in(call)
    used = used.union(*(names_in(place.known[name]) for name in used & set(place.known)))
    if function is None or not used & set(all_parameters(function)) & {"what", "hint", "why", "ways", "then", "reason"}:
        return [place]
    found = []
    for outer, around in source.calls.get(function.name, []):
        for there in places(outer, around, source):
            texts = {
                name: [text for text in templates(value, there, source) if is_text(text)]
                for name, value in given(outer, function).items()
                if name in used
            }
            for number in range(max(1, *(len(each) for each in texts.values()), 1)):
                chosen = {name: ast.Constant(each[min(number, len(each) - 1)]) for name, each in texts.items() if each}
                found += [Place({**place.known, **chosen}, function)] if chosen else []
    return found or [place]


def kinds(call: ast.Call, place: Place, source: Source) -> list[str]:
    """The codes of the errors that a call makes; none, if it makes something else."""
    name = callee(call)
    if name in KINDS:
        return [KINDS[name]]
    if name == "Missing":  # a row of the table of what an engine lacks
        return [KINDS[unparse(call.args[2])] if len(call.args) > 2 else KINDS["UsageError"]]
    if name == "Refused":  # a part of an error's text: why a value is not stored, the value, what to do
        return [KINDS["NotStorable"]] if len(call.args) != 1 else []
    kind = place.known.get(name)
    return [KINDS[kind.id]] if isinstance(kind, ast.Name) and kind.id in KINDS else []


def may_be_error(name: str, function: Function | None) -> bool:
    """Whether a call of that name can make an error: by its name, or by what the function around gives the name."""
    return (
        name in KINDS
        or name in ("Missing", "Refused")
        or (function is not None and any(name in known for known in blocks_of(function)))
    )


def hint_of(call: ast.Call, source: Source) -> ast.expr | None:
    """What a call gives as the hint; what it need not give may have a default."""
    place = 2 if callee(call) == "Refused" else 1
    hint = call.args[place] if len(call.args) > place else {each.arg: each.value for each in call.keywords}.get("hint")
    if hint is not None or callee(call) != "Refused":
        return hint
    return ast.Constant(next(default_hint(source)))


def default_hint(source: Source) -> Iterator[str]:
    for function in source.functions["__init__"]:
        if parameters(function)[:3] == ["why", "value", "hint"]:
            yield str(ast.literal_eval(function.args.defaults[-1]))


@cache
def catalogue() -> list[str]:
    """Every text, sorted by code: a line for what happened, one for what to do."""
    collecting = gc.isenabled()
    gc.disable()  # syntax trees are no garbage, and to look through them again and again takes as long as the rest
    try:
        return texts()
    finally:
        if collecting:
            gc.enable()


def texts() -> list[str]:
    """The same, found anew."""
    source = Source()
    found = set()
    for call, function in (each for calls in source.calls.values() for each in calls):
        if not call.args or not may_be_error(callee(call), function):
            continue
        for place in places(call, function, source):
            for code in kinds(call, place, source):
                for there in callers(place, call, source):
                    hint = hint_of(call, source)
                    for what, way in product(templates(call.args[0], there, source), templates(hint, there, source)):
                        found.add((code, what, way))
    return [line for code, what, hint in sorted(found) for line in (f"[{code}] {what}", f"    {hint}")]
