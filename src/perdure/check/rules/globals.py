"""Variables of a module that functions change."""

from __future__ import annotations

import ast

from perdure.check.names import Instance, Value
from perdure.check.project import Class, Function, Module, is_name
from perdure.check.reach import Place
from perdure.check.scan import targets
from perdure.core.redaction.names import words

MUTATORS = words(
    "append extend insert pop remove clear sort reverse update setdefault add discard popitem appendleft popleft"
    " difference_update intersection_update symmetric_difference_update subtract extendleft rotate"
)
_DATA = words(
    "builtins.list builtins.dict builtins.set builtins.bytearray collections.defaultdict collections.Counter"
    " collections.deque collections.OrderedDict itertools.count"
)


def changed_globals(place: Place) -> dict[str, ast.AST]:
    """The variables of modules that a function changes, each with the first place; caches of clients do not count."""
    found: dict[str, ast.AST] = {}
    facts = place.facts
    for kind in (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Delete):
        for node in facts.of(kind):
            for target in _written(node):
                name = _global_written(place, target, node)
                if name:
                    found.setdefault(name, node)
    for call in facts.of(ast.Call):
        if isinstance(call.func, ast.Attribute) and call.func.attr in MUTATORS:
            base = call.func.value
            while isinstance(base, ast.Subscript):
                base = base.value
            if isinstance(base, ast.Name) and is_global(place, base.id) and _is_data(place.module, base.id, place):
                found.setdefault(base.id, call)
    return found


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
        base = target.value
        while isinstance(base, ast.Subscript):
            base = base.value
        if isinstance(base, ast.Name) and is_global(place, base.id) and _is_data(place.module, base.id, place):
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


def _is_data(module: Module, name: str, place: Place) -> bool:
    """Whether a variable of a module holds data, rather than a client or a cache with methods of these names."""
    for binding in module.facts.names.get(name, ()):
        node = binding.node
        if isinstance(node, ast.ImportFrom):
            there = place.names.imported_from(node, module)
            original = next(one.name for one in node.names if (one.asname or one.name) == name)
            return isinstance(there, Module) and there is not module and _is_data(there, original, place)
        if isinstance(node, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp | ast.Constant):
            return True
        if isinstance(node, ast.Call):
            return place.names.value(node.func, module, None) in _DATA
    return False


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


def _remembers(place: Place, name: str, node: ast.AST) -> bool:
    """`CACHE[key] = ...` beside a look into it: what is lost is made again."""
    if not isinstance(node, ast.Assign) or not all(isinstance(target, ast.Subscript) for target in node.targets):
        return False
    for one in place.facts.of(ast.Name):
        above = place.facts.parents.get(one) if one.id == name else None
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
