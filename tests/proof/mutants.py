"""Mutants of our own sources: one operator, constant, branch or call is changed, and tests have to notice.

A copy of the sources holds the mutant as compiled code, with the lines of the source, so that processes that a test
starts execute it too. What runs are the tests that execute the changed line, which `measured` knows: unit tests first.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import importlib
import importlib.util
import json
import marshal
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.proof import measured

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
SECONDS = 300
"""A mutant that takes longer hangs, which is noticed."""
AREAS = ("perdure/core", "perdure/store", "perdure/api/lock.py", "perdure/api/retry.py")
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
    """A module, which of its places is changed, the line, and how that reads."""

    path: str
    place: int
    line: int
    about: str


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
    """All of them, in the order of the sources."""
    found = []
    for area in AREAS:
        top = SOURCE / area
        for path in [top] if top.is_file() else sorted(top.rglob("*.py")):
            name = str(path.relative_to(SOURCE))
            for number, node in enumerate(_places(ast.parse(path.read_text(encoding="utf-8")))):
                about, line = _change(copy.copy(node)), getattr(node, "lineno", 0)
                found.append(Mutant(name, number, line, f"{name}:{line}: {about}"))
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
    def changed(self, mutant: Mutant | None) -> Iterator[None]:
        """Meanwhile a module is changed; none, if there is no mutant."""
        if mutant is None:
            yield
            return
        path = self.folder / mutant.path
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        for number, node in enumerate(_places(tree)):
            if number == mutant.place:
                _change(node)
                break
        self._write(path, ast.fix_missing_locations(tree))
        try:
            yield
        finally:
            self._write(path, ast.parse(text))

    def _write(self, path: Path, tree: ast.Module) -> None:
        """Compiled code that Python executes without a look at the source (PEP 552, unchecked)."""
        code = marshal.dumps(compile(tree, str(path), "exec"))
        place = Path(importlib.util.cache_from_source(str(path)))
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + code)


class Outcome(NamedTuple):
    """What became of a mutant: "killed", "hangs", "survived" or "not reached"; the test that noticed it."""

    how: str
    test: str = ""


class Trial:
    """Tries mutants with the tests that execute their lines.

    Args:
        tree: the copy of the sources.
        tests: which tests execute which lines.
    """

    def __init__(self, tree: Tree, tests: measured.Tests) -> None:
        self._tree = tree
        self._tests = tests
        self._pass: set[str] = set()
        """Tests that were seen to pass without a mutant."""

    def tried(self, mutant: Mutant, *, unchanged: bool = False) -> Outcome:
        """What becomes of a mutant. A test that fails without it too notices nothing, and is left out.

        Args:
            mutant: what is changed.
            unchanged: run the same tests, and do not change it.
        """
        rounds = self._tests.of(mutant.path, mutant.line, seed=mutant.about)
        if not any(rounds):
            return Outcome("not reached")
        for tests in rounds:
            while tests:
                with self._tree.changed(None if unchanged else mutant):
                    how, test = self._run(tests)
                if how == "survived":
                    break
                if how == "hangs" or not test or self._passes(test):
                    return Outcome(how, test)
                tests = [each for each in tests if each != test]
        return Outcome("survived")

    def _passes(self, test: str) -> bool:
        if test not in self._pass and self._run([test])[0] == "survived":
            self._pass.add(test)
        return test in self._pass

    def _run(self, tests: Sequence[str]) -> tuple[str, str]:
        """In a process that has everything loaded but perdure."""
        if loaded := [name for name in sys.modules if name.partition(".")[0] == "perdure"]:
            raise RuntimeError(f"already imported: {loaded}")
        with tempfile.NamedTemporaryFile() as told, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as files:
            pid = os.fork()
            if pid == 0:
                status = 1
                with contextlib.suppress(BaseException):
                    status = self._noticed(tests, told.name, files)
                os._exit(status)
            status = _ended(pid)
            test = Path(told.name).read_text(encoding="utf-8")
        if status is None:
            return "hangs", ""
        return ("survived", "") if status == 0 else ("killed", test)

    def _noticed(self, tests: Sequence[str], told: str, files: str) -> int:
        os.setpgid(0, 0)
        for descriptor in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        os.chdir(ROOT)
        place = str(self._tree.folder)
        sys.path.insert(0, place)
        os.environ["PYTHONPATH"] = place
        tempfile.tempdir = os.environ["TMPDIR"] = files
        import pytest

        class First:
            def pytest_runtest_logreport(self, report: Any) -> None:
                if report.failed:
                    Path(told).write_text(report.nodeid.partition("[")[0], encoding="utf-8")

            def pytest_collectreport(self, report: Any) -> None:
                if report.failed:
                    Path(told).write_text(report.nodeid, encoding="utf-8")

        return int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *tests], [First()]))


def _ended(pid: int) -> int | None:
    """The exit status of a process; None if it takes too long. What it has started is ended with it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.setpgid(pid, pid)
    done, status = 0, 0

    def give_up(number: int, frame: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(SECONDS)
    try:
        done, status = os.waitpid(pid, 0)
    except TimeoutError:
        pass
    finally:
        signal.alarm(0)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    if not done:
        os.waitpid(pid, 0)
        return None
    return status


def in_a_fresh_process(seed: int, first: int, last: int, *options: str) -> Iterator[tuple[str, str, str]]:
    """What becomes of so many of the sample, what each is about, and the test that noticed it."""
    command = [sys.executable, "-m", "tests.proof.mutants", str(seed), str(first), str(last), *options]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    for line in done.stdout.splitlines():
        how, about, test = json.loads(line)
        yield how, about, test


def main() -> None:
    """Try those of a seed, from one number up to another; say what becomes of each, as a line of JSON.

    What follows the numbers are parts of names: only mutants count that have one of them.
    """
    (seed, first, last), options = map(int, sys.argv[1:4]), sys.argv[4:]
    chosen, unchanged = sample(seed), "--unchanged" in options
    if names := [name for name in options if name != "--unchanged"]:
        chosen = [mutant for mutant in chosen if any(name in mutant.about for name in names)]
    tests = measured.Tests.read()
    for name in ("hypothesis", "pytest", "apsw", "msgspec", "rich", "cyclopts", "asyncio", "pydantic", "httpx"):
        importlib.import_module(name)
    with tempfile.TemporaryDirectory(prefix="perdure-mutants-", ignore_cleanup_errors=True) as folder:
        trial = Trial(Tree(Path(folder) / "src"), tests)
        for mutant in chosen[first:last]:
            outcome = trial.tried(mutant, unchanged=unchanged)
            print(json.dumps([outcome.how, mutant.about, outcome.test]), flush=True)


if __name__ == "__main__":
    main()
