"""Mutants of our own sources: one operator, constant, branch or call is changed, and tests have to notice.

A copy of the sources holds the mutant as compiled code, with the lines of the source, for the processes that a test
starts. In a process that has loaded everything already, functions are given the changed code.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import gc
import importlib.util
import marshal
import random
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import NamedTuple

from tests.proof import measured

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
AREAS = (*(f"perdure/{each}" for each in measured.COUNTED), *measured.OTHERS)
"""Folders and files."""

COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip


class Mutant(NamedTuple):
    """A module, which of its places is changed, the line, the line of its statement, and how that reads."""

    path: str
    place: int
    line: int
    statement: int
    about: str


def _places(tree: ast.AST) -> Iterator[ast.AST]:
    """What can be changed, each once, inside of functions.

    What changes nothing that they do is left as it is: annotations, which are not evaluated, and `strict=True` of zip,
    which states that lengths are equal.
    """
    seen = {part for node in ast.walk(tree) for idle in _idle(node) for part in ast.walk(idle)}
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for statement in function.body:
                for node in ast.walk(statement):
                    if node not in seen and change(copy.copy(node)) is not None:
                        seen.add(node)
                        yield node


def _idle(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.AnnAssign(annotation=annotation) | ast.arg(annotation=ast.AST() as annotation):
            yield annotation
        case ast.FunctionDef(returns=ast.AST() as returns) | ast.AsyncFunctionDef(returns=ast.AST() as returns):
            yield returns
        case ast.Call(func=ast.Name("zip"), keywords=keywords):
            for keyword in keywords:
                if isinstance(keyword.value, ast.Constant) and keyword.value.value is True:
                    yield keyword


def change(node: ast.AST) -> str | None:
    """Change a node in its place; says how, or None if it is none that is changed."""
    match node:
        case ast.Compare(ops=[one]) if type(one) in COMPARED:
            node.ops = [COMPARED[type(one)]()]
            return f"{type(one).__name__} becomes {type(node.ops[0]).__name__}"
        case ast.BinOp(op=op) if type(op) in COMPUTED and not isinstance(node.left, ast.Constant | ast.JoinedStr):
            node.op = COMPUTED[type(op)]()
            return f"{type(op).__name__} becomes {type(node.op).__name__}"
        case ast.BoolOp(op=op):
            node.op = ast.And() if isinstance(op, ast.Or) else ast.Or()
            return f"{type(op).__name__} becomes {type(node.op).__name__}"
        case ast.UnaryOp(op=ast.Not()):
            node.op = ast.UAdd()
            node.operand = ast.Call(ast.Name("bool", ast.Load()), [node.operand], [])
            return "not is left out"
        case ast.Constant(value=bool() as value):
            node.value = not value
            return f"{value} becomes {node.value}"
        case ast.Constant(value=int() as value):
            node.value = value + 1
            return f"{value} becomes {node.value}"
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test) if not isinstance(test, ast.Compare):
            node.test = ast.UnaryOp(ast.Not(), test)
            return f"{type(node).__name__} is turned round"
        case ast.Return(value=value) if value is not None and not isinstance(value, ast.Constant):
            node.value = _never(value)
            return "None is returned"
        case ast.Expr(value=ast.Call() as value):
            node.value = _never(value)
            return "a call is left out"
    return None


def _never(value: ast.expr) -> ast.expr:
    """Not evaluated, and still there: a function is given changed code only if that has the same free variables."""
    return ast.IfExp(ast.Constant(True), ast.Constant(None), value)


def mutants() -> list[Mutant]:
    """All of them, in the order of the sources."""
    found = []
    for area in AREAS:
        top = SOURCE / area
        for path in [top] if top.is_file() else sorted(top.rglob("*.py")):
            name = str(path.relative_to(SOURCE))
            tree = ast.parse(path.read_text(encoding="utf-8"))
            begin = {
                part: node.lineno
                for node in ast.walk(tree)
                if isinstance(node, ast.stmt)
                for part in ast.walk(node)  # from outer statements to inner ones
            }
            for number, node in enumerate(_places(tree)):
                about, line = change(copy.copy(node)), getattr(node, "lineno", 0)
                found.append(Mutant(name, number, line, begin[node], f"{name}:{line}: {about}"))
    return found


def sample(seed: int) -> list[Mutant]:
    """All of them, each once, so that the first hundred are spread over all modules by their size, like the first ten.

    The golden ratio's multiples fall into the largest gap; where the first one lies follows from the seed.
    """
    found = mutants()
    begin = random.Random(seed).random()
    ranked = sorted(range(len(found)), key=lambda number: (number * 0.6180339887498949 + begin) % 1)
    place = {number: rank for rank, number in enumerate(ranked)}
    return [found[place[number]] for number in range(len(found))]


class Tree:
    """A copy of the sources, compiled, in which one module at a time is changed.

    Args:
        folder: where it is; what is there is replaced.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(SOURCE / "perdure", folder / "perdure", ignore=shutil.ignore_patterns("__pycache__"))
        for path in folder.rglob("*.py"):
            self._write(path, ast.parse(path.read_text(encoding="utf-8")))

    @contextlib.contextmanager
    def changed(self, mutant: Mutant | None) -> Iterator[CodeType | None]:
        """Meanwhile a module is changed; none, if there is no mutant. Gives the code of that module."""
        if mutant is None:
            yield None
            return
        path = self.folder / mutant.path
        text = path.read_text(encoding="utf-8")
        try:
            yield self._write(path, changed(text, mutant.place)[1])
        finally:
            self._write(path, ast.parse(text))

    def _write(self, path: Path, tree: ast.Module) -> CodeType:
        """Compiled code that Python executes without a look at the source (PEP 552, unchecked)."""
        code = compile(tree, str(path), "exec")
        place = Path(importlib.util.cache_from_source(str(path)))
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + marshal.dumps(code))
        return code


def changed(text: str, place: int) -> tuple[str, ast.Module]:
    """A module with one place changed, and how its line reads then, as a diff."""
    tree = ast.parse(text)
    node = place_of(tree, place)
    before = ast.unparse(node)
    about = change(node)
    after = ast.unparse(ast.fix_missing_locations(node))
    line = text.splitlines()[getattr(node, "lineno", 1) - 1].strip()
    return f"{about}\n      {line}\n    - {_short(before)}\n    + {_short(after)}", ast.fix_missing_locations(tree)


def place_of(tree: ast.AST, place: int) -> ast.AST:
    """The node that a mutant changes."""
    return next(node for number, node in enumerate(_places(tree)) if number == place)


def _short(text: str) -> str:
    return text.partition("\n")[0]


class Functions:
    """Every function of a tree that is loaded, by where it is written.

    Args:
        tree: what was loaded.
    """

    def __init__(self, tree: Tree) -> None:
        self._found: dict[tuple[str, str, int], list[FunctionType]] = defaultdict(list)
        gc.unfreeze()
        inside = str(tree.folder)
        for each in gc.get_objects():
            if isinstance(each, FunctionType) and each.__code__.co_filename.startswith(inside):
                self._found[_place(each.__code__)].append(each)
        gc.freeze()

    def change(self, module: CodeType) -> None:
        """Give all functions of a module the code that they have there."""
        for code in _inside(module):
            for function in self._found.get(_place(code), ()):
                if function.__code__ != code:
                    function.__code__ = code


def _place(code: CodeType) -> tuple[str, str, int]:
    return code.co_filename, code.co_qualname, code.co_firstlineno


def _inside(code: CodeType) -> Iterator[CodeType]:
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield each
            yield from _inside(each)
