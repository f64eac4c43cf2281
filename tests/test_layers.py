"""The layers of ARCHITECTURE.md: imports go down only, the core is pure, `import perdure` is light."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from syntax import nodes

SOURCE = Path(__file__).parents[1] / "src"
PACKAGE = SOURCE / "perdure"

LAYERS: list[set[str]] = [
    {"errors"},
    {"core"},
    {"config"},
    {"catalogue"},
    {"store", "alerts", "check"},
    {"engines"},
    {"api", "aio", "failures", "perdure"},
    {"operations", "skill", "ext", "http"},
    {"mcp", "web"},
    {"cli", "demo", "testing", "crashtest", "__main__"},
]
"""From the lowest; "perdure" is the package's own __init__, which shows what users touch."""

CORE: list[set[str]] = [
    {"redaction", "values"},
    {"exceptions"},
    {"policies"},
    {"execution"},
]
"""The folders inside of core, from the lowest. Files that lie in `core/` itself may be used by all of them."""

IMPURE = {
    "apsw", "asyncio", "concurrent", "filelock", "http", "io", "multiprocessing", "os", "queue", "random", "secrets",
    "select", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time", "urllib",
}  # fmt: skip

MODULES = sorted(path for path in PACKAGE.rglob("*.py"))


def unit(name: str) -> str:
    """Which part of the package a dotted name belongs to."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "perdure"


def level(name: str) -> int:
    return next(place for place, units in enumerate(LAYERS) if unit(name) in units)


def dotted(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports(path: Path) -> list[tuple[str, int]]:
    """Every import anywhere in a file, as the dotted name of a module, and its line."""
    found = []
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.append(((full if is_module(full) else str(node.module)), node.lineno))
    return found


@cache
def is_module(name: str) -> bool:
    place = SOURCE.joinpath(*name.split("."))
    return place.is_dir() or place.with_suffix(".py").is_file()


def test_every_module_has_a_layer():
    """A new part of the package has to be given its place."""
    unplaced = {unit(dotted(path)) for path in MODULES} - set().union(*LAYERS)
    assert not unplaced


def test_imports_go_down_only():
    """No module imports from a layer above its own; tests of types count too."""
    upward = [
        f"{path}:{line}: {name}"
        for path in MODULES
        for name, line in imports(path)
        if name.split(".")[0] == "perdure" and level(name) > level(dotted(path))
    ]
    assert upward == []


def test_the_core_is_pure():
    """No I/O, clock, threads or randomness: nothing is imported that has them, and nobody asks what time it is."""
    impure = []
    for path in MODULES:
        if unit(dotted(path)) not in ("core", "errors"):
            continue
        impure += [f"{path}:{line}: {name}" for name, line in imports(path) if name.split(".")[0] in IMPURE]
        for node in nodes(path):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
                if called in ("now", "utcnow", "today", "uuid1", "uuid4", "open", "print", "input"):
                    impure.append(f"{path}:{node.lineno}: {called}()")
    assert impure == []


@pytest.mark.parametrize(
    ("place", "named"),
    [
        pytest.param("perdure.store", ("apsw", "sqlite3"), id="the store, SQLite"),
        pytest.param("perdure.engines.temporal", ("temporalio",), id="its engine, Temporal"),
    ],
)
def test_only_one_place_knows(place: str, named: tuple[str, ...]):
    """Nothing else imports it: SQLite is the store's, and temporalio that of the engine of the cluster."""
    assert [
        f"{path}:{line}: {name}"
        for path in MODULES
        if not f"{dotted(path)}.".startswith(f"{place}.")
        for name, line in imports(path)
        if name.split(".")[0] in named
    ] == []


@cache
def graph() -> dict[str, set[str]]:
    """Which files import which, wherever in the file that stands."""
    return {
        dotted(path): {name for name, _ in imports(path) if name != dotted(path) and name.split(".")[0] == "perdure"}
        for path in MODULES
    }


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The sets of files that can reach each other (Tarjan, SIAM J. Comput. 1(2), 1972)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        number[name] = low[name] = len(number)
        stack.append(name)
        for other in sorted(graph.get(name, ())):
            if other not in number:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], number[other])
        if low[name] == number[name]:
            circle = [stack.pop()]
            while circle[-1] != name:
                circle.append(stack.pop())
            if len(circle) > 1:
                found.append(sorted(circle))

    for name in graph:
        if name not in number:
            visit(name)
    return found


def test_no_circle_of_files():
    """No file reaches itself by imports, also not by those inside of functions or for types."""
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c"]], "the check can fail"
    assert circles(graph()) == []


def test_engines_do_not_know_each_other():
    """Nothing in `engines/local` imports from `engines/temporal`, or the other way round."""
    sides = ("perdure.engines.local", "perdure.engines.temporal")
    crossing = [
        f"{name}: {other}"
        for mine, theirs in (sides, sides[::-1])
        for name, others in graph().items()
        if f"{name}.".startswith(f"{mine}.")
        for other in sorted(others)
        if f"{other}.".startswith(f"{theirs}.")
    ]
    assert crossing == []


def test_what_every_engine_needs_knows_none():
    """`engines/runtime` imports from neither engine."""
    assert [
        f"{name}: {other}"
        for name, others in graph().items()
        if name.startswith("perdure.engines.runtime.")
        for other in sorted(others)
        if other.startswith(("perdure.engines.local", "perdure.engines.temporal"))
    ] == []


def test_order_inside_core():
    """Inside of core, imports go down as well: redaction and values, exceptions, policies, execution."""

    def floor(name: str) -> int | None:
        parts = name.split(".")
        folder = parts[2] if len(parts) > 3 and parts[1] == "core" else ""
        return next((place for place, folders in enumerate(CORE) if folder in folders), None)

    upward = []
    for name, others in graph().items():
        mine = floor(name)
        for other in sorted(others):
            theirs = floor(other)
            if mine is not None and theirs is not None and theirs > mine:
                upward.append(f"{name}: {other}")
    assert upward == []


def test_import_is_light():
    """`import perdure` loads nothing that only a run or a command needs."""
    heavy = [
        "asyncio",
        "apsw",
        "msgspec",
        "perdure.core",
        "rich",
        "cyclopts",
        "pydantic",
        "filelock",
        "sqlite3",
        "socket",
        "subprocess",
        "tomllib",
        "temporalio",
    ]
    program = f"import sys, perdure; print(*[name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []


def test_a_run_is_light(tmp_path: Path):
    """A plain run, with arguments or without, loads nothing that only schedules, queues, alerts, async code, failures
    or other systems need, no more modules than is written down here, and compiles hardly any expression.
    """
    heavy = [
        "asyncio",
        "concurrent.futures",
        "filelock",
        "hashlib",
        "inspect",
        "json",
        "logging",
        "perdure.api.context",
        "perdure.api.lock",
        "perdure.core.exceptions.fingerprint",
        "perdure.core.dead_letters",
        "perdure.core.policies.verdicts",
        "perdure.engines.features",
        "perdure.store.listing",
        "rich",
        "socket",
        "subprocess",
        "perdure.core.cron",
        "perdure.store.queue_listing",
        "perdure.store.schedules",
        "tomllib",
        "typing_extensions",
    ]
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "lighthouse"\n')
    (tmp_path / "jobs").mkdir()
    (tmp_path / "state").mkdir()
    script = tmp_path / "jobs" / "script.py"
    script.write_text(
        "import re._compiler, sys\n"
        "expressions, compiled = [], re._compiler.compile\n"
        "def compile(text, flags):\n"
        "    expressions.append(sys._getframe(3).f_globals['__name__'])\n"
        "    return compiled(text, flags)\n"
        "re._compiler.compile = compile\n"
        "def loaded(): return sum(name.startswith('perdure') for name in sys.modules)\n"
        "from perdure import step, workflow\n"
        "decorators = loaded()\n"
        "@step\n"
        "def add(n: int) -> int: return n + 1\n"
        "@workflow\n"
        "def adding() -> int: return add(add(1))\n"
        "assert adding() == 3\n"
        f"heavy = [name for name in {heavy!r} if name in sys.modules]\n"
        "ours = [name for name in expressions if name.startswith('perdure')]\n"
        "import json; print(json.dumps([heavy, decorators, loaded(), len(ours)]))\n"
    )
    env = {"PYTHONPATH": str(SOURCE), "PERDURE_STATE": str(tmp_path / "state" / "state.db"), "PERDURE_QUIET": "1"}
    found = []
    for arguments in ([], ["--day", "2026-11-28"]):
        command = [sys.executable, str(script), *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout))
    # Each module of perdure's costs a start a hundredth of what a bare interpreter does: write a higher number down
    # if it is worth that.
    for (heavy, decorators, whole, compiled), most in zip(found, (180, 188), strict=True):
        assert heavy == []
        assert decorators <= 75
        assert whole <= most
        assert compiled <= 2
