"""Variables of a module, and of the function around a step, that functions change."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from perdure.check.names import Instance, Names, Value
from perdure.check.project import Class, Function, Module, is_name
from perdure.check.reach import Place
from perdure.check.scan import Facts, dotted, targets
from perdure.core.redaction.names import words

MUTATORS = words(
    "append extend insert pop remove clear sort reverse update setdefault add discard popitem appendleft popleft"
    " difference_update intersection_update symmetric_difference_update subtract extendleft rotate"
)
_DATA = words(
    "builtins.list builtins.dict builtins.set builtins.bytearray collections.defaultdict collections.Counter"
    " collections.deque collections.OrderedDict itertools.count"
)

_LITERALS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp, ast.Constant)


def changed_globals(place: Place) -> dict[str, ast.AST]:
    """The variables of modules that a function changes, each with the first place; caches of clients do not count."""
    found: dict[str, ast.AST] = {}
    for kind in (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Delete):
        for node in place.facts.of(kind):
            for target in _written(node):
                name = _global_written(place, target, node)
                if name:
                    found.setdefault(name, node)
    for call in place.facts.of(ast.Call):
        name = _mutated(call)
        if name and is_global(place, name) and _is_data(place, place.module.facts, name):
            found.setdefault(name, call)
    return found


def changed_closures(place: Place) -> dict[str, tuple[ast.AST, Function]]:
    """The variables of functions around a step that it changes, each with the first place, and with the function."""
    around = set(_around(place.owner))
    found: dict[str, tuple[ast.AST, Function]] = {}

    def changed(name: str, node: ast.AST, rebound: bool) -> None:
        one: Function | None = place.function
        while one is not None and (name not in one.facts.names or name in one.facts.outer):
            one = one.parent
        if one is not None and one in around and (rebound or _is_data(place, one.facts, name)):
            found.setdefault(name, (node, one))

    for kind in (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Delete) if around else ():
        for node in place.facts.of(kind):
            for target in _written(node):
                if isinstance(target, ast.Name) and target.id in place.facts.outer:
                    changed(target.id, node, rebound=not _is_lazy(place, target.id, node))
                elif isinstance(target, ast.Subscript) and isinstance(base := base_of(target), ast.Name):
                    changed(base.id, node, rebound=False)
    for call in place.facts.of(ast.Call) if around else ():
        changed(_mutated(call), call, rebound=False)
    return found


def _around(function: Function) -> Iterator[Function]:
    while function.parent is not None:
        function = function.parent
        yield function


def _mutated(call: ast.Call) -> str:
    """The variable that a call of a method changes in place; "" if it does not."""
    if isinstance(call.func, ast.Attribute) and call.func.attr in MUTATORS:
        base = base_of(call.func.value)
        return base.id if isinstance(base, ast.Name) else ""
    return ""


def base_of(node: ast.expr) -> ast.expr:
    """What items are taken of: `a` of `a[1][2]`."""
    while isinstance(node, ast.Subscript):
        node = node.value
    return node


def _written(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return [place for target in node.targets for place, _ in targets(target)]
    if isinstance(node, ast.Delete):
        return node.targets
    assert isinstance(node, ast.AugAssign | ast.AnnAssign)
    return [node.target]


def _global_written(place: Place, target: ast.expr, node: ast.AST) -> str:
    if isinstance(target, ast.Name):
        if target.id in place.facts.outer and target.id in place.module.facts.names:
            return "" if _is_lazy(place, target.id, node) else target.id
        return ""
    if isinstance(target, ast.Subscript):
        base = base_of(target)
        if isinstance(base, ast.Name) and is_global(place, base.id) and _is_data(place, place.module.facts, base.id):
            return "" if _is_lazy(place, base.id, node) else base.id
    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and is_global(place, target.value.id):
        value: Value = place.value(target.value)
        if isinstance(value, Class | Module):
            return f"{target.value.id}.{target.attr}"
        if isinstance(value, Instance):
            return target.value.id
    return ""


def is_global(place: Place, name: str) -> bool:
    """Whether a name in a function is a variable of its module."""
    function: Function | None = place.function
    while function is not None:
        if name in function.facts.names and name not in function.facts.outer:
            return False
        function = function.parent
    return name in place.module.facts.names


def _is_data(place: Place, facts: Facts, name: str, module: Module | None = None) -> bool:
    """Whether a variable holds data, rather than a client or a cache with methods of these names."""
    module = module or place.module
    for binding in facts.names.get(name, ()):
        node = binding.node
        if isinstance(node, ast.ImportFrom):
            there = place.names.imported_from(node, module)
            original = next(one.name for one in node.names if (one.asname or one.name) == name)
            return isinstance(there, Module) and there is not module and _is_data(place, there.facts, original, there)
        if isinstance(node, _LITERALS):
            return True
        if isinstance(node, ast.Call):
            return is_data(place.names, node, module)
    return False


def is_data(names: Names, node: ast.expr, module: Module) -> bool:
    """Whether an expression makes data that is changed in place."""
    if isinstance(node, ast.Call):
        return names.value(node.func, module, None) in _DATA
    return isinstance(node, _LITERALS)


def _is_lazy(place: Place, name: str, node: ast.AST) -> bool:
    """`if client is None: client = Client()`: made once in each process, and no data is lost."""
    if isinstance(node, ast.AugAssign) or not isinstance(getattr(node, "value", None), ast.Call | ast.Await):
        return False
    for above in place.facts.above(node):
        if isinstance(above, ast.If):
            test = above.test
            if isinstance(test, ast.UnaryOp) and is_name(test.operand, name):
                return True
            if isinstance(test, ast.Compare) and (is_name(test.left, name) or is_name(test.comparators[0], name)):
                return True
    return False


def lost_globals(places: list[Place], read_by_workflows: dict[tuple[Module, str], str]) -> None:
    """A step, or a helper of one, changes a variable of a module: an error if a workflow reads it."""
    for place in places:
        for name, node in changed_globals(place).items():
            reader = read_by_workflows.get((place.module, name.partition(".")[0]))
            if reader is None and _remembers(place, name, node):
                continue
            what = f"{name}', which workflow '{reader}' reads" if reader else f"{name}'"
            text = f"{place.who} changes the module's variable '{what}; a resumed run does not see it"
            place.report("lost-global", node, place.module, text, None if reader else "warning")
        for name, (node, around) in changed_closures(place).items():
            read = around.kind == "workflow" and name in around.facts.reads
            if read or not _remembers(place, name, node):
                who = f"{around.kind or 'function'} '{around.name}'"
                text = f"{place.who} changes the variable '{name}' of {who}; a resumed run does not see it"
                place.report("lost-global", node, place.module, text, None if read else "warning")


def _remembers(place: Place, name: str, node: ast.AST) -> bool:
    """`CACHE[key] = ...` beside a look into it: what is lost is made again."""
    if not isinstance(node, ast.Assign) or not all(isinstance(target, ast.Subscript) for target in node.targets):
        return False
    return looked_into(place.facts, name)


def looked_into(facts: Facts, name: str) -> bool:
    """Whether an item or an attribute of a variable, or of `self.name`, is read, or whether something is in it."""
    for one in facts.of_any(ast.Name, ast.Attribute):
        if dotted(one) == name:
            above = facts.parents.get(one)
            if isinstance(above, ast.Subscript | ast.Attribute) and isinstance(above.ctx, ast.Load):
                return True
    return False


def read_globals(places: list[Place]) -> dict[tuple[Module, str], str]:
    """The variables of modules that workflows read, each with the name of one that does."""
    found: dict[tuple[Module, str], str] = {}
    for place in places:
        for node in place.facts.of(ast.Name):
            if isinstance(node.ctx, ast.Load) and is_global(place, node.id):
                found.setdefault((place.module, node.id), place.owner.name)
    return found
