"""Traces the clock, chance and the environment through workflow code, into the inputs of steps and into branches.

Statements are gone through in their order, loops twice; a helper of the project is gone through where it is called.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator

from perdure.check import members, origins
from perdure.check.names import Instance, Member, Names, Value
from perdure.check.origins import EMPTY, Control, Origin, Taint
from perdure.check.project import Class, Function, Module, all_parameters
from perdure.check.scan import dotted, leaves

DEEPEST = 5
"""Helpers that call helpers ..."""
MOST = 1_000
"""Times that helpers are gone through, for one workflow; what is called behind that passes on what it is given."""
TWICE = 3
"""Loops inside of loops that are gone through twice; those deeper in, once."""

Report = Callable[[str, ast.AST, Module, Taint, "Function | None"], None]
"""Gets "input", "branch", "order" or "identity", the place, its module, what comes there, and the step or workflow."""


class Flow:
    """Goes through one workflow, or through a function that calls one.

    Args:
        names: resolves expressions.
        report: is told what arrives where.
        identities: it is no workflow; only the arguments of the workflows that it calls count.
    """

    def __init__(self, names: Names, report: Report, identities: bool = False) -> None:
        self.names = names
        self.report = report
        self.identities = identities
        self.controls: list[Control] = []
        self.sticky: list[Control] = []
        self.stack: list[Function] = []
        self.entered = 0
        self.loops = 0
        self.globals: dict[tuple[Module, str], Taint] = {}
        self.returned: Taint = EMPTY
        self.env: dict[str, Taint] = {}
        self.module: Module
        self.function: Function | None = None

    def run(self, function: Function) -> None:
        """Go through a function whose arguments are plain."""
        self._enter(function, {arg.arg: self._declared(arg.annotation, function) for arg in all_parameters(function)})

    def run_module(self, module: Module) -> None:
        """Go through the top level of a module."""
        self.module, self.function = module, None
        self._block(module.tree.body)

    def default(self, module: Module, node: ast.expr) -> Taint:
        """What a default of a parameter comes from."""
        self.module, self.function = module, None
        return self._eval(node)

    def enter_plainly(self, function: Function) -> Taint:
        """What a helper gives that is called with plain arguments."""
        return self._enter(function, {arg.arg: EMPTY for arg in all_parameters(function)})

    def elsewhere(self, nodes: Iterable[ast.expr], module: Module, function: Function | None) -> Taint:
        """What expressions of another place give."""
        kept = (self.env, self.function, self.module)
        self.env, self.function, self.module = {}, function, module
        taint = self._union(nodes)
        self.env, self.function, self.module = kept
        return taint

    # -- functions ----------------------------------------------------------------------------------------------------

    def _enter(self, function: Function, given: dict[str, Taint]) -> Taint:
        if function.node is None or function in self.stack or len(self.stack) >= DEEPEST:
            return EMPTY
        kept = (self.env, self.function, getattr(self, "module", function.module), self.returned)
        closure = dict(self.env) if function.parent is not None and function.parent in self.stack else {}
        self.env, self.function, self.module, self.returned = closure | given, function, function.module, EMPTY
        self.stack.append(function)
        marks = len(self.sticky)
        self.entered += 1
        try:
            if isinstance(function.node, ast.Lambda):
                self.returned = self._eval(function.node.body)
            else:
                self._block(function.node.body)
            return self.returned
        finally:
            del self.sticky[marks:]
            self.stack.pop()
            self.env, self.function, self.module, self.returned = kept

    def _declared(self, annotation: ast.expr | None, function: Function) -> Taint:
        """A set that is declared is iterated in another order in each process."""
        base = annotation.value if isinstance(annotation, ast.Subscript) else annotation
        if not isinstance(base, ast.Name | ast.Attribute) or origins.of_numbers(annotation):
            return EMPTY
        if self.names.value(base, function.module, function.parent) not in origins.SETS:
            return EMPTY
        return frozenset({Origin("set", base.lineno, ast.unparse(annotation or base))})

    # -- statements ---------------------------------------------------------------------------------------------------

    def _block(self, body: Iterable[ast.stmt]) -> None:
        for node in body:
            self._statement(node)

    def _statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Assign):
            taint = self._eval(node.value)
            for target in node.targets:
                self._store(target, taint)
        elif isinstance(node, ast.AnnAssign):
            if node.value is not None:
                taint = self._eval(node.value)
                self._store(node.target, origins.plain(taint) if origins.of_numbers(node.annotation) else taint)
        elif isinstance(node, ast.AugAssign):
            self._store(node.target, self._eval(node.value) | self._eval(node.target))
        elif isinstance(node, ast.Expr):
            self._eval(node.value)
        elif isinstance(node, ast.Return):
            self.returned |= self._eval(node.value)
        elif isinstance(node, ast.If):
            self._if(node)
        elif isinstance(node, ast.While):
            taint = self._eval(node.test)
            marks = len(self.sticky)
            for _ in self._rounds():
                self._under(Control(node.test, self.module, origins.deciding(taint), "branch"), node.body)
                taint = self._eval(node.test)
            self._forget_loop(marks)
            self._block(node.orelse)
        elif isinstance(node, ast.For | ast.AsyncFor):
            self._for(node)
        elif isinstance(node, ast.With | ast.AsyncWith):
            for item in node.items:
                taint = self._eval(item.context_expr) | members.entered(self, self._value(item.context_expr))
                if item.optional_vars is not None:
                    self._store(item.optional_vars, taint)
            self._block(node.body)
        elif isinstance(node, ast.Try | ast.TryStar):
            self._block(node.body)
            for handler in node.handlers:
                self._block(handler.body)
            self._block(node.orelse)
            self._block(node.finalbody)
        elif isinstance(node, ast.Match):
            control = Control(node.subject, self.module, origins.deciding(self._eval(node.subject)), "branch")
            for case in node.cases:
                self._under(control, case.body)
        elif isinstance(node, ast.Raise | ast.Assert | ast.Delete):
            for child in ast.iter_child_nodes(node):
                self._eval(child)

    def _if(self, node: ast.If) -> None:
        control = Control(node.test, self.module, origins.deciding(self._eval(node.test)), "branch")
        before = dict(self.env)
        self._under(control, node.body)
        after, self.env = self.env, before
        self._under(control, node.orelse)
        for name, taint in after.items():
            self.env[name] = self.env.get(name, EMPTY) | taint
        if control.taint:
            left = leaves((*node.body, *node.orelse))
            if left:
                self.sticky.append(Control(node.test, self.module, control.taint, left))

    def _for(self, node: ast.For | ast.AsyncFor) -> None:
        taint = self._eval(node.iter)
        controls = [Control(node.iter, self.module, origins.ordering(taint), "order")]
        controls.append(Control(node.iter, self.module, origins.counting(taint, node.iter), "branch"))
        marks = len(self.sticky)
        for _ in self._rounds():
            self._store(node.target, origins.plain(taint))
            self.controls += controls
            self._block(node.body)
            del self.controls[-2:]
        self._forget_loop(marks)
        self._block(node.orelse)

    def _rounds(self) -> Iterator[int]:
        """Twice, so that what one round leaves reaches the next."""
        self.loops += 1
        yield from range(2 if self.loops <= TWICE else 1)
        self.loops -= 1

    def _under(self, control: Control, body: list[ast.stmt]) -> None:
        self.controls.append(control)
        self._block(body)
        self.controls.pop()

    def _forget_loop(self, marks: int) -> None:
        self.sticky[marks:] = [one for one in self.sticky[marks:] if one.kind == "leaves"]

    def _store(self, target: ast.expr, taint: Taint) -> None:
        if isinstance(target, ast.Tuple | ast.List):
            for one in target.elts:
                self._store(one, taint)
        elif isinstance(target, ast.Starred):
            self._store(target.value, taint)
        elif isinstance(target, ast.Subscript):
            name = dotted(target.value)
            if name:
                self.env[name] = self.env.get(name, EMPTY) | taint
        else:
            name = dotted(target)
            if name:
                self.env[name] = taint

    # -- expressions --------------------------------------------------------------------------------------------------

    def _eval(self, node: ast.AST | None) -> Taint:
        if node is None or isinstance(node, ast.Constant):
            return EMPTY
        if isinstance(node, ast.Name):
            return self._name(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.Compare):
            return origins.plain(self._union([node.left, *node.comparators]))
        if isinstance(node, ast.Set):
            taint = self._union(node.elts)
            if all(isinstance(one, ast.Constant) and not isinstance(one.value, str | bytes) for one in node.elts):
                return taint
            return taint | {Origin("set", node.lineno, "a set")}
        if isinstance(node, ast.IfExp):
            test = origins.deciding(self._eval(node.test))
            self.controls.append(Control(node.test, self.module, test, "branch"))
            taint = self._union([node.body, node.orelse])
            self.controls.pop()
            return taint | test
        if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
            return self._comprehension(node)
        if isinstance(node, ast.Lambda):  # what it gives, whoever calls it
            return self.enter_plainly(Function(self.module, "<lambda>", node, self.function))
        if isinstance(node, ast.Yield | ast.YieldFrom):
            self.returned |= self._eval(node.value)
            return EMPTY
        if isinstance(node, ast.NamedExpr):
            taint = self._eval(node.value)
            self._store(node.target, taint)
            return taint
        if isinstance(node, ast.FormattedValue):
            shown = node.format_spec.values[0] if isinstance(node.format_spec, ast.JoinedStr) else None
            taint = origins.listed(self._eval(node.value))
            return origins.coarse(taint) if shown is not None and origins.only_date(shown) else taint
        if isinstance(node, ast.Subscript) and self._value(node.value) == "os.environ":
            return frozenset({Origin("environment", node.lineno, ast.unparse(node))})
        return self._union(ast.iter_child_nodes(node))

    def _union(self, nodes: Iterable[ast.AST]) -> Taint:
        taint = EMPTY
        for node in nodes:
            taint |= self._eval(node)
        return taint

    def _value(self, node: ast.AST) -> Value:
        return self.names.value(node, self.module, self.function)

    def _name(self, node: ast.Name) -> Taint:
        found = self.env.get(node.id)
        if found is not None:
            return found
        if self.function is not None and node.id in self.function.facts.names:
            return EMPTY
        key = (self.module, node.id)
        if key not in self.globals:
            self.globals[key] = EMPTY
            kept, self.function, self.env = (self.function, self.env), None, {}
            for binding in self.module.facts.names.get(node.id, ()):
                if binding.how == "value":
                    taint = frozenset(one for one in self._eval(binding.node) if one.label != "environment")
                    self.globals[key] |= taint
            self.function, self.env = kept
        return self.globals[key]

    def _attribute(self, node: ast.Attribute) -> Taint:
        name = dotted(node)
        if name and name in self.env:
            return self.env[name]
        value = self._value(node)
        if isinstance(value, str) and value in origins.READ:
            return frozenset({Origin(origins.READ[value], node.lineno, value)})
        taint = self._eval(node.value) | members.read(self, self._value(node.value), node.attr)
        return origins.coarse(taint) if taint and node.attr in origins.DAY_PARTS else taint

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> Taint:
        marks = len(self.controls)
        whole = EMPTY
        for each in node.generators:
            taint = self._eval(each.iter)
            whole |= taint
            self._store(each.target, origins.plain(taint))
            self.controls.append(Control(each.iter, self.module, origins.ordering(taint), "order"))
            for test in each.ifs:
                decided = origins.deciding(self._eval(test))
                whole |= decided
                self.controls.append(Control(test, self.module, decided, "branch"))
        parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        taint = origins.plain(self._union(parts)) | origins.listed(whole)
        del self.controls[marks:]
        if isinstance(node, ast.SetComp):
            return origins.plain(taint) | {Origin("set", node.lineno, "a set")}
        return taint

    def _call(self, node: ast.Call) -> Taint:
        value = self._value(node.func)
        if isinstance(value, Function):
            if value.kind:
                self._eval(node.func)
                self._durable(node, value, node.args, node.keywords)
                return self._declared_result(value)
            return self._helper(node, value)
        if isinstance(value, Member):
            self._eval(node.func)
            if value.name == "map":
                self._durable(node, value.function, node.args[:1], [], ordered=False)
            elif value.name == "start" or (value.name == "enqueue" and not self.identities):  # each is a run of its own
                self._durable(node, value.function, node.args, node.keywords)
            elif value.name == "with_options":
                self._durable(node, value.function, [], [one for one in node.keywords if one.arg == "id"])
            return EMPTY
        if isinstance(value, str) and value.startswith("perdure."):
            if value in ("perdure.defer", "perdure.defer_every_end") and node.args:
                target = self._value(node.args[0])
                self._durable(node, target if isinstance(target, Function) else None, node.args[1:], node.keywords)
            else:
                self._union((*node.args, *node.keywords))
            return EMPTY
        step = next((one for arg in node.args if isinstance(one := self._value(arg), Function) and one.kind), None)
        if step is not None:  # pool.submit(step, x), asyncio.to_thread(step, x), map(step, xs)
            given = [arg for arg in node.args if self._value(arg) is not step]
            mapped = value == "builtins.map" or (isinstance(node.func, ast.Attribute) and node.func.attr == "map")
            self._durable(node, step, given, node.keywords, iterated=mapped)
            return EMPTY
        if value == "functools.partial" and node.args:
            return self._call(ast.copy_location(ast.Call(node.args[0], node.args[1:], node.keywords), node))
        taint = self._union((*node.args, *node.keywords))
        if isinstance(value, str):
            found = origins.called(value, node, taint)
            if found is not None:
                if value == "random.shuffle" and node.args and (name := dotted(node.args[0])):  # in place
                    self.env[name] = self.env.get(name, EMPTY) | found
                return found
        elif isinstance(value, Class | Instance):
            return taint | members.defaults(self, value, node) if isinstance(value, Class) else taint
        receiver = self._eval(node.func)
        if isinstance(node.func, ast.Attribute):
            if node.func.attr in origins.DAY_METHODS:
                return taint | origins.coarse(receiver)
            if node.func.attr in origins.ADDING:
                name = dotted(node.func.value)
                if name and taint:
                    self.env[name] = self.env.get(name, EMPTY) | taint
            if node.func.attr in ("strftime", "replace", "format", "isoformat"):
                return taint | origins.formatted(receiver, node)
            if node.func.attr in ("pop", "join"):
                return origins.listed(receiver | taint)
        return taint | receiver

    def _declared_result(self, step: Function) -> Taint:
        if step.node is None or isinstance(step.node, ast.Lambda):
            return EMPTY
        return self._declared(step.node.returns, step)

    def _helper(self, node: ast.Call, helper: Function) -> Taint:
        given: dict[str, Taint] = {}
        names = [arg.arg for arg in all_parameters(helper)]
        rest = EMPTY
        for place, arg in enumerate(node.args):
            taint = self._eval(arg)
            if place < len(names) and not isinstance(arg, ast.Starred):
                given[names[place]] = taint
            rest |= taint
        for keyword in node.keywords:
            taint = self._eval(keyword.value)
            if keyword.arg in names:
                given[str(keyword.arg)] = taint
            rest |= taint
        for name in names:
            given.setdefault(name, EMPTY)
        if len(self.stack) >= DEEPEST or helper in self.stack or self.entered >= MOST:
            return rest
        return self._enter(helper, given)

    # -- where it matters ---------------------------------------------------------------------------------------------

    def _durable(
        self,
        node: ast.Call,
        callee: Function | None,
        args: list[ast.expr],
        keywords: list[ast.keyword],
        ordered: bool = True,
        iterated: bool = False,
    ) -> None:
        taint = self._union((*args, *(keyword.value for keyword in keywords)))
        if self.identities:
            if callee is not None and callee.kind == "workflow" and origins.identifying(taint):
                self.report("identity", node, self.module, origins.identifying(taint), callee)
            return
        if origins.deciding(taint):
            self.report("input", node, self.module, origins.deciding(taint), callee)
        mixed = origins.ordering(taint) if iterated else frozenset(o for o in taint if o.label == "order")
        if mixed and (ordered or iterated):
            self.report("order", node, self.module, mixed, callee)
        for control in (*self.controls, *self.sticky):
            if control.taint:
                kind = "order" if control.kind == "order" else "branch"
                self.report(kind, control.node, control.module, control.taint, callee)
