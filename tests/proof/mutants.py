"""Mutants of our own sources: one operator, constant or branch is changed, and the quick tests have to notice.

A child process puts the mutant in the place of its module before anything is imported, and runs the tests in itself.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import importlib
import importlib.abc
import importlib.util
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
UNIT = ROOT / "tests" / "unit"
SECONDS = 240
"""A mutant that takes longer hangs, which is noticed."""

CORE = ("test_core_properties", "test_claims", "test_records_of_other_calls", "test_pieces", "test_waits_judged")
POLICIES = ("test_retry", "test_breaker", "test_rate", "test_failure_rules", "test_ticks", "test_adaptive_concurrency")
STORE = (
    "test_every_column_under_a_checksum",
    "test_group_commit",
    "test_state_files",
    "test_pruning",
    "test_run_pages",
)
MORE_OF_THE_STORE = (
    "test_letter_pages",
    "test_flight",
    "test_logs",
    "test_bell",
    "test_write_turns",
    "test_hostile_schema",
)
LOCKS = ("test_named_locks", "test_file_locks", "test_claims")
AREAS: dict[str, tuple[str, ...]] = {
    "perdure/core/policies": POLICIES,
    "perdure/core/execution": CORE,
    "perdure/store/locks.py": LOCKS,
    "perdure/store/liveness.py": (*LOCKS, "test_hostile_tokens"),
    "perdure/store": (*STORE, *MORE_OF_THE_STORE),
}
"""Folders and files, and the unit tests that speak of them; the first that fits counts."""

COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip


class Mutant(NamedTuple):
    """A module, which of its places is changed, and how that reads."""

    path: str
    place: int
    about: str

    @property
    def module(self) -> str:
        """Its name."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def tests(self) -> tuple[str, ...]:
        """The unit tests that have to notice: those of its area, and those that name the module."""
        name = re.compile(rf"\b{self.module.rpartition('.')[2]}\b")
        naming = [path.stem for path in sorted(UNIT.glob("test_*.py")) if name.search(path.read_text(encoding="utf-8"))]
        return tuple(
            dict.fromkeys((*naming, *next(tests for area, tests in AREAS.items() if self.path.startswith(area))))
        )


def _places(tree: ast.AST) -> Iterator[ast.AST]:
    """What can be changed: inside of functions only, and no type is."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for statement in function.body:
                for node in ast.walk(statement):
                    if _change(copy.copy(node)) is not None:
                        yield node


def _change(node: ast.AST) -> str | None:
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
            node.value = ast.Constant(None)
            return "None is returned"
        case ast.Expr(value=ast.Call()):
            node.value = ast.Constant(None)
            return "a call is left out"
    return None


def mutants() -> list[Mutant]:
    """All of them."""
    found = []
    for area in AREAS:
        top = SOURCE / area
        for path in [top] if top.is_file() else sorted(top.rglob("*.py")):
            name = str(path.relative_to(SOURCE))
            for number, node in enumerate(_places(ast.parse(path.read_text(encoding="utf-8")))):
                about = _change(copy.copy(node))
                found.append(Mutant(name, number, f"{name}:{getattr(node, 'lineno', 0)}: {about}"))
    return list(dict.fromkeys(found))


def sample(seed: int) -> list[Mutant]:
    """All of them in an order that follows from the seed."""
    found = mutants()
    random.Random(seed).shuffle(found)
    return found


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds one module changed."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        self._path = SOURCE / mutant.path

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The changed module, when it is asked for."""
        if name != self._mutant.module:
            return None
        inside = [str(self._path.parent)] if self._path.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(name, self._path, loader=self, submodule_search_locations=inside)

    def create_module(self, spec: ModuleSpec) -> None:
        """As others are made."""

    def exec_module(self, module: ModuleType) -> None:
        """Execute the changed source."""
        tree = ast.parse(self._path.read_text(encoding="utf-8"))
        for number, node in enumerate(_places(tree)):
            if number == self._mutant.place:
                _change(node)
                break
        exec(compile(ast.fix_missing_locations(tree), str(self._path), "exec"), module.__dict__)


def tried(mutant: Mutant | None, tests: Sequence[str], simulations: int = 100) -> str:
    """What becomes of a mutant (of the sources as they are, if None): "killed", "hangs" or "survived".

    Raises:
        RuntimeError: this process has loaded what is to be changed.
    """
    if loaded := [name for name in sys.modules if name.partition(".")[0] == "perdure"]:
        raise RuntimeError(f"already imported: {loaded}")
    pid = os.fork()
    if pid == 0:
        status = 1
        with contextlib.suppress(BaseException):
            signal.alarm(SECONDS)
            status = _noticed(mutant, tests, simulations)
        os._exit(status)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
        return "hangs"
    return "survived" if status == 0 else "killed"


def _noticed(mutant: Mutant | None, tests: Sequence[str], simulations: int) -> int:
    for descriptor in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    os.chdir(ROOT)
    if mutant is not None:
        sys.meta_path.insert(0, Finder(mutant))
        # Now: pytest puts a finder of its own before this one, for the assertions of plugins, of which perdure is one.
        importlib.import_module(mutant.module)
    from tests.proof import simulation

    if mutant is None or "core/" in mutant.path:
        _, _, failures = simulation.campaign("mutant", simulations)
        if failures:
            return 1
    import pytest

    files = [f"tests/unit/{name}.py" for name in tests if Path(f"tests/unit/{name}.py").exists()]
    quietly = ("-q", "-x", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")
    return int(pytest.main([*quietly, *files]))


def in_a_fresh_process(seed: int, first: int, last: int) -> Iterator[tuple[str, str]]:
    """What becomes of so many of the sample, and what each is about; of the sources as they are, if there is none."""
    command = [sys.executable, "-m", "tests.proof.mutants", str(seed), str(first), str(last)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    for line in done.stdout.splitlines():
        how, about = json.loads(line)
        yield how, about


def main() -> None:
    """Try those of a seed, from one number up to another; say what becomes of each, as a line of JSON."""
    seed, first, last = map(int, sys.argv[1:])
    if first == last:
        print(json.dumps([tried(None, sorted({name for tests in AREAS.values() for name in tests})), "as it is"]))
    for mutant in sample(seed)[first:last]:
        print(json.dumps([tried(mutant, mutant.tests), mutant.about]), flush=True)


if __name__ == "__main__":
    main()
