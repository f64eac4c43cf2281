"""The modules, functions and classes of a project, as their source has them, and the imports between its files."""

from __future__ import annotations

import ast
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from perdure.check import sources
from perdure.check.scan import FUNCTIONS, Body, Facts, parameters, scan
from perdure.check.sources import Unreadable
from perdure.config.module_names import dotted_name

Kind = str
"""Of a function: "step", "workflow", or "" for a plain one."""


@dataclass(eq=False)
class Function:
    """A function of the project, or a step made of a function that is not: then `node` is None, `external` its name.

    Attributes:
        options: the options of its decorator, as expressions.
        opaque: there are options that the source does not show (`**options`, a decorator of the project's own).
        made: the call `step(fn)` that made it.
    """

    module: Module
    qualname: str
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | None
    parent: Function | None = None
    owner: Class | None = None
    kind: Kind = ""
    options: dict[str, ast.expr] = field(default_factory=dict)
    opaque: bool = False
    external: str = ""
    made: ast.Call | None = None

    @property
    def is_named(self) -> bool:
        """Whether its decorator gives it a name that the source shows."""
        named = self.options.get("name")
        return isinstance(named, ast.Constant) and isinstance(named.value, str)

    @property
    def name(self) -> str:
        """What it goes by in a state file; the qualified name unless the decorator names it."""
        return str(getattr(self.options["name"], "value", "")) if self.is_named else self.qualname

    @property
    def is_async(self) -> bool:
        """Whether a call gives something to await."""
        return isinstance(self.node, ast.AsyncFunctionDef)

    @cached_property
    def facts(self) -> Facts:
        """What it consists of."""
        return self.module.facts_of(self.node) if self.node is not None else Facts(ast.Module([], []))


@dataclass(eq=False)
class Class:
    """A class of the project; `attributes` are what its body and its methods assign to `self`."""

    module: Module
    node: ast.ClassDef
    qualname: str
    parent: Function | None = None
    methods: dict[str, Function] = field(default_factory=dict)

    @cached_property
    def factories(self) -> list[tuple[str, ast.expr | None]]:
        """Its fields in their order, each with the expression of its default, if that is made for each instance."""
        found: list[tuple[str, ast.expr | None]] = []
        for line in self.node.body:
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                given = line.value.keywords if isinstance(line.value, ast.Call) else []
                factory = next((one.value for one in given if one.arg in ("default_factory", "factory")), None)
                if isinstance(factory, ast.Lambda):
                    factory = factory.body
                elif factory is not None:
                    factory = ast.copy_location(ast.Call(factory, [], []), factory)
                found.append((line.target.id, factory))
        return found

    @cached_property
    def attributes(self) -> dict[str, list[tuple[ast.expr, Function | None]]]:
        """Each with the expressions that it is given, and the method where."""
        found: dict[str, list[tuple[ast.expr, Function | None]]] = {}
        for line in self.node.body:
            if isinstance(line, ast.Assign):
                for target in line.targets:
                    if isinstance(target, ast.Name):
                        found.setdefault(target.id, []).append((line.value, None))
            elif isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.value is not None:
                found.setdefault(line.target.id, []).append((line.value, None))
        for method in self.methods.values():
            for node in method.facts.of_any(ast.Assign, ast.AnnAssign):
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    if isinstance(target, ast.Attribute) and is_name(target.value, "self") and node.value is not None:
                        found.setdefault(target.attr, []).append((node.value, method))
        return found

    @cached_property
    def annotations(self) -> dict[str, ast.expr]:
        """Of its fields."""
        return {
            line.target.id: line.annotation
            for line in self.node.body
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
        }


def is_name(node: ast.AST | None, name: str) -> bool:
    """Whether an expression is that name."""
    return isinstance(node, ast.Name) and node.id == name


def decorators(function: Function) -> list[ast.expr]:
    """What stands above a function."""
    return function.node.decorator_list if isinstance(function.node, FUNCTIONS) else []


def is_static(function: Function) -> bool:
    """Whether a method gets no instance."""
    return any(is_name(one, "staticmethod") for one in decorators(function))


def default_of(arguments: ast.arguments, wanted: ast.arg) -> ast.expr | None:
    """The default of a parameter."""
    plain = arguments.posonlyargs + arguments.args
    pairs = list(zip(reversed(plain), reversed(arguments.defaults), strict=False))
    pairs += [(arg, value) for arg, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value]
    return next((value for arg, value in pairs if arg is wanted), None)


def all_parameters(function: Function) -> list[ast.arg]:
    """The parameters of a function, without that for the instance."""
    if function.node is None:
        return []
    found = parameters(function.node.args)
    return found[1:] if function.owner is not None and not is_static(function) else found


class Module:
    """A file of the project.

    Args:
        path: as it is shown.
        text: its source.
        project: whose.
    """

    def __init__(self, path: Path, text: str, project: Project) -> None:
        self.path = str(path)
        self.text = text
        self.project = project
        self.tree = sources.parse(text)
        self.file = os.path.abspath(path)
        self.name, self.root = dotted_name(self.file)
        self.is_package = os.path.basename(self.file) == "__init__.py"
        self.functions: dict[ast.AST, Function] = {}
        self.classes: dict[ast.AST, Class] = {}
        self._facts: dict[ast.AST, Facts] = {}
        self._index(self.tree.body, "", None, None)

    @cached_property
    def facts(self) -> Facts:
        """Of its top level."""
        return self.facts_of(self.tree)

    @cached_property
    def lines(self) -> list[str]:
        """Its source, split as the parser counts lines."""
        return self.text.replace("\r\n", "\n").replace("\r", "\n").split("\n")

    def facts_of(self, body: Body) -> Facts:
        """Of a body in it; the walk is made once."""
        found = self._facts.get(body)
        if found is None:
            found = self._facts[body] = scan(body)
        return found

    @property
    def stars(self) -> list[ast.ImportFrom]:
        """Its imports of everything that a module has."""
        return [node for node in self.facts.of(ast.ImportFrom) if node.names[0].name == "*"]

    def _index(self, body: list[ast.stmt], prefix: str, parent: Function | None, owner: Class | None) -> None:
        rest: list[ast.stmt] = list(reversed(body))
        while rest:
            node = rest.pop()
            if isinstance(node, FUNCTIONS):
                function = Function(self, prefix + node.name, node, parent, owner)
                self.functions[node] = function
                if owner is not None:
                    owner.methods[node.name] = function
                self._index(node.body, f"{prefix}{node.name}.<locals>.", function, None)
            elif isinstance(node, ast.ClassDef):
                cls = Class(self, node, prefix + node.name, parent)
                self.classes[node] = cls
                self._index(node.body, f"{prefix}{node.name}.", parent, cls)
            elif isinstance(node, ast.Match):
                rest += [line for case in reversed(node.cases) for line in reversed(case.body)]
            else:
                for name in ("finalbody", "orelse", "handlers", "body"):
                    for inner in reversed(getattr(node, name, ())):
                        rest += reversed(inner.body) if isinstance(inner, ast.ExceptHandler) else [inner]


class Project:
    """The files that were read, each once."""

    def __init__(self) -> None:
        self._modules: dict[str, Module | None] = {}
        self.unreadable: dict[str, str] = {}

    def load(self, path: Path) -> Module:
        """The module of a file.

        Raises:
            Unreadable: it cannot be read or parsed.
        """
        key = os.path.realpath(path)
        if key in self.unreadable:
            raise Unreadable(self.unreadable[key])
        found = self._modules.get(key)
        if found is None:
            try:
                found = self._modules[key] = Module(path, sources.read(path), self)
            except Unreadable as error:
                self.unreadable[key] = str(error)
                raise
            except RecursionError:
                self.unreadable[key] = sources.TOO_DEEP
                raise Unreadable(sources.TOO_DEEP) from None
        return found

    def modules(self) -> list[Module]:
        """All that were read."""
        return list(dict.fromkeys(one for one in self._modules.values() if one is not None))

    def find(self, name: str, importer: Module, level: int = 0) -> Module | None:
        """The file of the project that a module's name stands for in another; None if it is none, or unreadable.

        Args:
            name: as the import has it.
            importer: whose import it is.
            level: how many dots stand before it.
        """
        for base in _bases(importer, level):
            for file in _candidates(base, name):
                found = self._file(file, importer)
                if found is not None:
                    return found
        return None

    def _file(self, file: str, importer: Module) -> Module | None:
        known = self._modules.get(file, self)
        if not isinstance(known, Project):
            return known
        found: Module | None = None
        if os.path.isfile(file) and "site-packages" not in file:
            try:
                found = self.load(_near(importer, file))
            except Unreadable:
                found = None
        self._modules[file] = found
        return found


def _bases(importer: Module, level: int) -> list[str]:
    folder = os.path.dirname(importer.file)
    if level:
        for _ in range(level - 1):
            folder = os.path.dirname(folder)
        return [folder]
    return list(dict.fromkeys([folder, importer.root, os.path.join(importer.root, "src")]))


def _candidates(base: str, name: str) -> list[str]:
    place = os.path.join(base, *name.split(".")) if name else base
    return [f"{place}.py", os.path.join(place, "__init__.py")] if name else [os.path.join(place, "__init__.py")]


def _near(importer: Module, file: str) -> Path:
    """A path that looks like that of the importer: relative if that is."""
    return Path(file) if os.path.isabs(importer.path) else Path(os.path.relpath(file))
