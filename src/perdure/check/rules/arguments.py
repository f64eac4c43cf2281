"""Arguments that a step changes in place."""

from __future__ import annotations

import ast
import re

from perdure.check.names import Instance, Names
from perdure.check.project import Function, all_parameters, is_name
from perdure.check.reach import Place
from perdure.check.rules.globals import MUTATORS, base_of, is_data, looked_into

_SERVICES = re.compile(
    r"(?i)(session|db|conn|connection|cursor|client|queue|pipe|pipeline|bar|progress|hasher|digest|writer|registry|bus|pool"
    r"|store|repo|collection|table|bucket|cache|service|api|log|logger)s?$"
)
_DATA = re.compile(r"^(builtins|typing|collections|pandas|numpy|dataclasses)\b")
_CONTENT = frozenset({"get", "values", "items", "setdefault", "__getitem__", "iterrows", "itertuples"})
_THROUGH = frozenset({"builtins.enumerate", "builtins.zip", "builtins.reversed", "builtins.iter", "builtins.sorted"})
_LISTS = frozenset({"list", "dict", "set", "List", "Dict", "Set", "deque", "Counter", "bytearray", "MutableMapping"})


def changed_argument(place: Place) -> None:
    """A step that changes what it was given."""
    if place.function.node is not place.owner.node:
        return
    for name, node in _Changes(place.function, place.names, 0).found.items():
        what = f"its own {name}" if name.startswith("self.") else f"its argument '{name}' in place"
        place.found("changed-argument", node, f"{place.who} changes {what}, which a resumed run does not see")


class _Changes:
    """Goes through a function and notes which parameters it changes, each with the first place.

    Args:
        function: which.
        names: resolves expressions.
        depth: of helpers that are given a parameter.
        known: what was found of those already.
    """

    def __init__(
        self, function: Function, names: Names, depth: int, known: dict[Function, dict[str, ast.AST]] | None = None
    ) -> None:
        self.function, self.names, self.depth = function, names, depth
        self.known = {} if known is None else known
        self.found: dict[str, ast.AST] = {}
        self.alias: dict[str, str] = {}
        self.foreign: set[str] = set()
        node = function.node
        if node is None or isinstance(node, ast.Lambda):
            return
        self.parameters = {arg.arg: arg for arg in all_parameters(function)}
        for rest in (node.args.vararg, node.args.kwarg):
            if rest is not None:
                self.parameters.pop(rest.arg, None)
        for name, arg in self.parameters.items():
            self.alias[name] = name
            if self._is_foreign(arg):
                self.foreign.add(name)
        self._block(node.body)

    def _is_foreign(self, arg: ast.arg) -> bool:
        if arg.annotation is None:
            return _SERVICES.search(arg.arg) is not None
        value = self.names.annotated(arg.annotation, self.function.module, self.function.parent)
        return isinstance(value, str) and not _DATA.match(value)

    def _value(self, node: ast.AST) -> object:
        return self.names.value(node, self.function.module, self.function)

    def _block(self, body: list[ast.stmt]) -> None:
        for node in body:
            self._statement(node)

    def _statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            if node.value is not None:
                self._calls(node.value)
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                self._assign(target, node.value, node)
        elif isinstance(node, ast.AugAssign):
            self._augmented(node)
        elif isinstance(node, ast.Delete):
            for target in node.targets:
                if isinstance(target, ast.Subscript):
                    self._note(target.value, node)
        elif isinstance(node, ast.For | ast.AsyncFor):
            self._calls(node.iter)
            root = self._root(node.iter)
            for name in _names(node.target):
                self._set(name, root)
            self._block(node.body)
            self._block(node.orelse)
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            return
        else:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr):
                    self._calls(child)
                elif isinstance(child, ast.withitem):
                    self._calls(child.context_expr)
            if isinstance(node, ast.If):
                self._if(node)
                return
            for name in ("body", "handlers", "orelse", "finalbody", "cases"):
                for inner in getattr(node, name, ()):
                    self._block(inner.body) if isinstance(
                        inner, ast.ExceptHandler | ast.match_case
                    ) else self._statement(inner)

    def _if(self, node: ast.If) -> None:
        before = dict(self.alias)
        self._block(node.body)
        after, self.alias = self.alias, before
        self._block(node.orelse)
        for name, root in after.items():
            self.alias.setdefault(name, root)

    def _assign(self, target: ast.expr, value: ast.expr | None, node: ast.stmt) -> None:
        if isinstance(target, ast.Tuple | ast.List):
            root = self._root(value) if value is not None else ""
            for name in _names(target):
                self._set(name, root)
        elif isinstance(target, ast.Name):
            self._set(target.id, self._root(value) if value is not None else "")
        elif isinstance(target, ast.Subscript):
            self._note(target.value, node)
            self._of_self(target.value, node, remembered=True)
        elif isinstance(target, ast.Attribute):
            if is_name(target.value, "self") and self.function.owner is not None:
                if not self._lazy(node, target.attr):
                    self.found.setdefault(f"self.{target.attr}", node)
            else:
                self._note(target.value, node)

    def _of_self(self, base: ast.expr, node: ast.AST, remembered: bool = False) -> None:
        """Data of the instance that is changed in place; `remembered`: not if it is looked into here, as a cache is."""
        base = base_of(base)
        if self.function.owner is None or not isinstance(base, ast.Attribute) or not is_name(base.value, "self"):
            return
        attributes, attribute = self.function.owner.attributes, base.attr
        if not any(is_data(self.names, value, self.function.module) for value, _ in attributes.get(attribute, ())):
            return
        if not remembered or not looked_into(self.function.facts, f"self.{attribute}"):
            self.found.setdefault(f"self.{attribute}", node)

    def _lazy(self, node: ast.stmt, attribute: str) -> bool:
        """`if self.client is None: self.client = ...` makes it once in each process; nothing is lost."""
        for above in self.function.facts.above(node):
            if isinstance(above, ast.If) and f"self.{attribute}" in ast.unparse(above.test):
                return True
        return False

    def _augmented(self, node: ast.AugAssign) -> None:
        self._calls(node.value)
        target = node.target
        if isinstance(target, ast.Subscript | ast.Attribute):
            if isinstance(target, ast.Attribute) and is_name(target.value, "self") and self.function.owner is not None:
                self.found.setdefault(f"self.{target.attr}", node)
            else:
                self._note(target.value, node)
                self._of_self(target.value, node)
        elif self.alias.get(target.id) == target.id:
            arg = self.parameters[target.id]
            base = arg.annotation.value if isinstance(arg.annotation, ast.Subscript) else arg.annotation
            declared = getattr(base, "id", getattr(base, "attr", "")) in _LISTS
            literal = isinstance(node.value, ast.List | ast.ListComp | ast.Dict | ast.Set)
            if declared or literal:
                self.found.setdefault(target.id, node)
            else:
                self.alias.pop(target.id)

    def _set(self, name: str, root: str) -> None:
        if root:
            self.alias[name] = root
        else:
            self.alias.pop(name, None)

    def _root(self, node: ast.AST | None) -> str:
        """The parameter that an expression is, or is a part of; "" if it is something new."""
        if isinstance(node, ast.Name):
            return self.alias.get(node.id, "")
        if isinstance(node, ast.Subscript):
            return "" if isinstance(node.slice, ast.Slice) else self._root(node.value)
        if isinstance(node, ast.Attribute | ast.Starred | ast.NamedExpr):
            return self._root(node.value)
        if isinstance(node, ast.BoolOp):
            return next((root for one in node.values if (root := self._root(one))), "")
        if isinstance(node, ast.IfExp):
            return self._root(node.body) or self._root(node.orelse)
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and node.func.attr in _CONTENT:
                return self._root(node.func.value)
            if self._value(node.func) in _THROUGH:
                return next((root for one in node.args if (root := self._root(one))), "")
        return ""

    def _note(self, base: ast.expr, node: ast.AST) -> None:
        root = self._root(base)
        if root and root in self.parameters:
            self.found.setdefault(root, node)

    def _calls(self, node: ast.AST) -> None:
        for one in ast.walk(node):
            if not isinstance(one, ast.Call):
                continue
            if isinstance(one.func, ast.Attribute):
                inplace = any(k.arg == "inplace" and getattr(k.value, "value", False) is True for k in one.keywords)
                if one.func.attr in MUTATORS or inplace:
                    self._of_self(one.func.value, one)
                    root = self._root(one.func.value)
                    if root and root not in self.foreign and not self._is_method(one.func):
                        self._note(one.func.value, one)
            if (
                self._value(one.func) in ("random.shuffle", "heapq.heapify", "heapq.heappush", "heapq.heappop")
                and one.args
            ):
                self._note(one.args[0], one)
            self._helper(one)

    def _is_method(self, node: ast.Attribute) -> bool:
        """Whether it is a method of a class of the project, rather than that of a list, a dict or a set."""
        return isinstance(self._value(node), Function) or isinstance(self._value(node.value), Instance)

    def _helper(self, node: ast.Call) -> None:
        helper = self._value(node.func)
        if self.depth > 2 or not isinstance(helper, Function) or helper.kind or helper is self.function:
            return
        roots = {place: self._root(arg) for place, arg in enumerate(node.args)}
        if not any(roots.values()):
            return
        if helper not in self.known:
            self.known[helper] = {}  # of one that calls itself
            self.known[helper] = _Changes(helper, self.names, self.depth + 1, self.known).found
        for place, arg in enumerate(all_parameters(helper)):
            if roots.get(place) and arg.arg in self.known[helper]:
                self.found.setdefault(roots[place], node)


def _names(target: ast.expr) -> list[str]:
    return [node.id for node in ast.walk(target) if isinstance(node, ast.Name)]
