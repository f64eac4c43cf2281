"""Says what an expression stands for: a name of a library, a function, class or module of the project.

The names of libraries are dotted texts. What a call returns is the name with `()`: after `client = openai.OpenAI()`,
`client.chat.completions.create` is "openai.OpenAI().chat.completions.create".
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass

from perdure.check.project import Class, Function, Module, decorators, default_of, is_name, is_static
from perdure.check.scan import Binding

DEEPEST = 12
"""Names that stand for names that stand for names ..."""

STEP = "perdure.step"
WORKFLOW = "perdure.workflow"
DECORATORS = {STEP: "step", WORKFLOW: "workflow"}
BUILTINS = frozenset(dir(builtins))
ENTERED = frozenset({"contextlib.closing", "contextlib.aclosing", "contextlib.nullcontext"})
"""Calls that `with` enters as what they are given."""

TASKS = frozenset({"asyncio.create_task()", "asyncio.ensure_future()", "asyncio.TaskGroup().create_task()"})
"""What these are is not what they give when they are awaited."""

SAME = frozenset({"with_options", "__enter__", "__aenter__"})


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance of a class of the project."""

    cls: Class


@dataclass(frozen=True, slots=True)
class Member:
    """What is reached through a step or a workflow: `charge.map`, `nightly.start`."""

    function: Function
    name: str


Value = str | Function | Class | Instance | Member | Module | None


class Names:
    """Resolves expressions, each once."""

    def __init__(self) -> None:
        self._known: dict[ast.AST, Value] = {}
        self._made: dict[ast.AST, Function | None] = {}
        self._depth = 0
        self._exports: dict[tuple[Module, str], Value] = {}
        self._decorated_functions: dict[Module, list[Function]] = {}

    def value(self, node: ast.AST | None, module: Module, function: Function | None) -> Value:
        """What an expression in that function (None: at the top level) stands for; None if it cannot be told."""
        if node is None or self._depth > DEEPEST:
            return None
        if node in self._known:
            return self._known[node]
        self._depth += 1
        try:
            self._known[node] = None  # a circle ends here
            found = self._known[node] = self._value(node, module, function)
        finally:
            self._depth -= 1
        return found

    def _value(self, node: ast.AST, module: Module, function: Function | None) -> Value:
        if isinstance(node, ast.Name):
            return self.name(node.id, module, function, (node.lineno, node.col_offset))
        if isinstance(node, ast.Attribute):
            return self.attribute(self.value(node.value, module, function), node.attr)
        if isinstance(node, ast.Call):
            return self._call(node, module, function)
        if isinstance(node, ast.Await | ast.NamedExpr | ast.Starred):
            found = self.value(node.value, module, function)
            return None if isinstance(node, ast.Await) and found in TASKS else found
        if isinstance(node, ast.Subscript):
            base = self.value(node.value, module, function)
            return f"{base}[]" if isinstance(base, str) and not base.startswith("builtins.") else None
        if isinstance(node, ast.BoolOp):
            return next((v for one in node.values if (v := self.value(one, module, function)) is not None), None)
        if isinstance(node, ast.IfExp):
            return self.value(node.body, module, function) or self.value(node.orelse, module, function)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return "builtins.str()"
        return None

    def name(self, name: str, module: Module, function: Function | None, at: tuple[int, int] | None = None) -> Value:
        """What a name stands for at a place in a function, or at its end."""
        if at is not None and (method := _of_class_body(name, module, function, at)) is not None:
            return method
        scope = function
        while scope is not None:
            facts = scope.facts
            if name not in facts.outer:
                bindings = facts.names.get(name)
                if bindings:
                    return self._bound(name, bindings, scope.module, scope, at)
            at = None
            scope = scope.parent
        return self.exported(module, name, at)

    def exported(self, module: Module, name: str, at: tuple[int, int] | None = None) -> Value:
        """What a name stands for at the top level of a module."""
        key = (module, name)
        if at is None and key in self._exports:
            return self._exports[key]
        if at is None:
            self._exports[key] = None
        found = self._exported(module, name, at)
        if at is None:
            self._exports[key] = found
        return found

    def _exported(self, module: Module, name: str, at: tuple[int, int] | None) -> Value:
        bindings = module.facts.names.get(name)
        if bindings:
            return self._bound(name, bindings, module, None, at)
        for star in module.stars:
            base = self.imported_from(star, module)
            if isinstance(base, Module):
                found = self.exported(base, name)
                if found is not None and not (isinstance(found, str) and found.startswith("builtins.")):
                    return found
            elif base == "perdure" and name.islower() and name not in BUILTINS:
                return f"perdure.{name}"
        return f"builtins.{name}" if name in BUILTINS else None

    def _bound(
        self, name: str, bindings: list[Binding], module: Module, function: Function | None, at: tuple[int, int] | None
    ) -> Value:
        seen = False
        for binding in reversed(bindings):
            if at is None or binding.at <= at:
                seen = True
                found = self._binding(name, binding, module, function)
                if found is not None or binding.how in ("value", "element", "other"):
                    return found  # or it stands for something that cannot be told
        for binding in () if seen else bindings:
            found = self._binding(name, binding, module, function)
            if found is not None:
                return found
        return None

    def _binding(self, name: str, binding: Binding, module: Module, function: Function | None) -> Value:
        node = binding.node
        if binding.how == "import":
            return self._imported(name, node, module)
        if binding.how == "define":
            return self._defined(node, module)
        if binding.how == "value":
            return self.value(node, module, function)
        if binding.how == "element":
            base = self.value(node, module, function)
            return f"{base}[]" if isinstance(base, str) and not base.startswith("builtins.") else None
        if binding.how == "enter":
            passed_on = isinstance(node, ast.Call) and self.value(node.func, module, function) in ENTERED
            if isinstance(node, ast.Call) and node.args and passed_on:
                return self.value(node.args[0], module, function)
            return self.value(node, module, function)
        if isinstance(node, ast.arg):
            return self._parameter(node, module, function)
        return None

    def _parameter(self, node: ast.arg, module: Module, function: Function | None) -> Value:
        if function is None or function.node is None:
            return None
        arguments = function.node.args
        first = (arguments.posonlyargs + arguments.args)[:1]
        if function.owner is not None and first == [node] and not is_static(function):
            return Instance(function.owner)
        annotation = node.annotation
        if annotation is not None:
            found = self.annotated(annotation, module, function)
            if found is not None:
                return found
        default = default_of(arguments, node)
        return self.value(default, module, None) if default is not None else None

    def annotated(self, annotation: ast.expr, module: Module, function: Function | None) -> Value:
        """What a value that is annotated so is."""
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            try:
                annotation = ast.parse(annotation.value, mode="eval").body
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                return None
        if isinstance(annotation, ast.BinOp):
            return self.annotated(annotation.left, module, function)
        if isinstance(annotation, ast.Subscript):
            outer = self.value(annotation.value, module, function)
            if outer in ("typing.Optional", "typing.Annotated"):
                inner = annotation.slice.elts[0] if isinstance(annotation.slice, ast.Tuple) else annotation.slice
                return self.annotated(inner, module, function)
            annotation = annotation.value
        cls = self.value(annotation, module, function)
        if isinstance(cls, Class):
            return Instance(cls)
        return f"{cls}()" if isinstance(cls, str) else None

    def _imported(self, name: str, node: ast.AST, module: Module) -> Value:
        if isinstance(node, ast.Import):
            alias = next(one for one in node.names if name in (one.asname, one.name, one.name.partition(".")[0]))
            wanted = alias.name if alias.asname else name
            return module.project.find(wanted, module) or wanted
        assert isinstance(node, ast.ImportFrom)
        alias = next(one for one in node.names if (one.asname or one.name) == name)
        base = self.imported_from(node, module)
        if isinstance(base, Module):
            found = self.exported(base, alias.name)
            if found is None or (isinstance(found, str) and found.startswith("builtins.")):
                below = module.project.find(alias.name, base, 1) if base.is_package else None
                return below or found
            return found
        if isinstance(base, str):
            return f"{base}.{alias.name}" if base else None
        return None

    def imported_from(self, node: ast.ImportFrom, module: Module) -> Value:
        """The module of the project, or the name of the library, that an import takes names from."""
        found = module.project.find(node.module or "", module, node.level)
        if found is not None or node.level:
            return found
        name = node.module or ""
        return "perdure" if name.startswith("perdure.api") else name

    def _defined(self, node: ast.AST, module: Module) -> Value:
        self.durable(module)
        return module.functions.get(node) or module.classes.get(node)

    def attribute(self, base: Value, name: str) -> Value:
        """What an attribute of a value stands for."""
        if isinstance(base, str):
            return f"{base}.{name}" if len(base) < 200 else None
        if isinstance(base, Module):
            found = self.exported(base, name)
            if found is None or (isinstance(found, str) and found.startswith("builtins.")):
                return base.project.find(name, base, 1) if base.is_package else None
            return found
        if isinstance(base, Function):
            return Member(base, name) if base.kind else None
        if isinstance(base, Class):
            return self.member(base, name)
        if isinstance(base, Instance):
            return self.member(base.cls, name)
        return None

    def member(self, cls: Class, name: str, depth: int = 0) -> Value:
        """A method or an attribute of a class of the project, or of what it is derived from."""
        method = cls.methods.get(name)
        if method is not None:
            if method.node is not None and any(is_name(one, "property") for one in decorators(method)):
                return self._returned(method)
            return method
        for value, where in cls.attributes.get(name, ()):
            found = self.value(value, cls.module, where or cls.parent)
            if found is not None:
                return found
        if name in cls.annotations:
            return self.annotated(cls.annotations[name], cls.module, cls.parent)
        for base in cls.node.bases:
            above = self.value(base, cls.module, cls.parent)
            if isinstance(above, Class) and depth < DEEPEST:
                found = self.member(above, name, depth + 1)
                if found is not None:
                    return found
            elif isinstance(above, str) and not above.startswith("builtins."):
                return f"{above}().{name}"
        return None

    def _call(self, node: ast.Call, module: Module, function: Function | None) -> Value:
        called = self.value(node.func, module, function)
        if isinstance(called, str):
            if called in DECORATORS or called.removesuffix("()") in DECORATORS:
                return self._decorated(node, called, module, function)
            if called == "builtins.open":
                return "builtins.open()"
            if called == "functools.partial" and node.args:
                target = self.value(node.args[0], module, function)
                return target if isinstance(target, Function) and target.kind else None
            if called in ("builtins.getattr", "builtins.super"):
                return None
            return f"{called}()" if not called.startswith("builtins.") or called.count(".") == 1 else None
        if isinstance(called, Class):
            return Instance(called)
        if isinstance(called, Member):
            return called.function if called.name in SAME else None
        if isinstance(called, Function):
            return None if called.kind else self._returned(called)
        return None

    def _returned(self, function: Function) -> Value:
        if isinstance(function.node, ast.Lambda):
            return self.value(function.node.body, function.module, function)
        for node in function.facts.of_any(ast.Return, ast.Yield):
            found = self.value(node.value, function.module, function)
            if found is not None:
                return found
        if function.node is not None and function.node.returns is not None:
            return self.annotated(function.node.returns, function.module, function.parent)
        return None

    def _decorated(self, node: ast.Call, called: str, module: Module, function: Function | None) -> Value:
        if not node.args:
            return f"{called.removesuffix('()')}()"
        if node not in self._made:
            self._made[node] = self._make(node, DECORATORS[called.removesuffix("()")], module, function)
        return self._made[node]

    def _make(self, node: ast.Call, kind: str, module: Module, function: Function | None) -> Function | None:
        target = self.value(node.args[0], module, function)
        options, opaque = self.options(node, module, function)
        if isinstance(node.args[0], ast.Lambda):
            inner = Function(module, "<lambda>", node.args[0], function)
            target = inner
        if isinstance(target, Function):
            return Function(
                target.module,
                target.qualname,
                target.node,
                target.parent,
                target.owner,
                kind,
                options,
                opaque,
                made=node,
            )
        if isinstance(target, str):
            name = target.rpartition(".")[2]
            return Function(module, name, None, function, None, kind, options, opaque, target, node)
        return None

    def options(self, node: ast.expr, module: Module, function: Function | None) -> tuple[dict[str, ast.expr], bool]:
        """The options that a decorator gives, and whether there are others that the source does not show."""
        if isinstance(node, ast.Call):
            called = self.value(node.func, module, function)
            inner: dict[str, ast.expr] = {}
            opaque = any(keyword.arg is None for keyword in node.keywords)
            if isinstance(called, Function):
                opaque = True
                for returned in called.facts.of(ast.Return):
                    if returned.value is not None:
                        inner, _ = self.options(returned.value, called.module, called)
            elif called in ("perdure.step()", "perdure.workflow()"):
                inner, more = self.options(node.func, module, function)
                opaque = opaque or more
            own = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg is not None}
            return inner | own, opaque
        if isinstance(node, ast.Name):
            for binding in reversed(module.facts.names.get(node.id, ())):
                if binding.how == "value" and isinstance(binding.node, ast.Call):
                    return self.options(binding.node, module, function)
        return {}, not isinstance(node, ast.Name | ast.Attribute)

    def durable(self, module: Module) -> list[Function]:
        """The steps and workflows that decorators make in a module; after this, its functions have their kinds."""
        found = self._decorated_functions.get(module)
        if found is not None:
            return found
        found = self._decorated_functions[module] = []
        for function in module.functions.values():
            for decorator in decorators(function):
                value = self.value(decorator, module, function.parent)
                if isinstance(value, str) and value.removesuffix("()") in DECORATORS:
                    function.kind = DECORATORS[value.removesuffix("()")]
                    if value.endswith("()"):
                        function.options, function.opaque = self.options(decorator, module, function.parent)
                    found.append(function)
        return found

    def made(self, module: Module) -> Iterator[Function]:
        """The steps and workflows that calls make in a module: `get = step(fetch, name="get")`."""
        for function in (None, *module.functions.values()):
            for call in (function.facts if function else module.facts).of(ast.Call):
                if call.args and self._makes(call, module, function):
                    found = self.value(call, module, function)
                    if isinstance(found, Function) and found.kind:
                        yield found
        for cls in module.classes.values():
            for value, where in (each for values in cls.attributes.values() for each in values):
                if where is not None or not isinstance(value, ast.Call) or not value.args:
                    continue
                if self._makes(value, module, cls.parent):
                    found = self.value(value, module, cls.parent)
                    if isinstance(found, Function) and found.kind:
                        yield found

    def _makes(self, call: ast.Call, module: Module, function: Function | None) -> bool:
        called = self.value(call.func, module, function)
        return isinstance(called, str) and called.removesuffix("()") in DECORATORS


def _of_class_body(name: str, module: Module, function: Function | None, at: tuple[int, int]) -> Function | None:
    """The method that a name stands for in the body of its class, outside of methods: `sell = workflow(_sell)`."""
    for cls in module.classes.values():
        method = cls.methods.get(name) if cls.parent is function else None
        if method is not None and method.node is not None and method.node.lineno < at[0] <= (cls.node.end_lineno or 0):
            return method
    return None
