"""The layers of ARCHITECTURE.md: imports go down only, the core is pure, `import perdure` is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
PACKAGE = SOURCE / "perdure"

LAYERS: list[set[str]] = [
    {"errors"},
    {"core"},
    {"settings", "loading", "secrets"},
    {"store", "alerts"},
    {"engines", "logs"},
    {"step", "workflow", "batch", "context", "ids", "retrying", "guarding", "breaker", "rate", "handle", "alerting"}
    | {"locking", "perdure"},
    {"operations"},
    {"cli", "demo", "__main__"},
]
"""From the lowest; "perdure" is the package's own __init__, which shows what users touch."""

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


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every import anywhere in a file, as the dotted name of a module, and its line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (full if is_module(full) else str(node.module)), node.lineno


def is_module(name: str) -> bool:
    place = SOURCE.joinpath(*name.split("."))
    return place.is_dir() or place.with_suffix(".py").is_file()


def test_every_module_has_a_layer():
    """A new part of the package has to be given its place."""
    unplaced = {unit(dotted(path)) for path in MODULES} - set().union(*LAYERS)
    assert not unplaced


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_imports_go_down_only(path: Path):
    """No module imports from a layer above its own; tests of types count too."""
    mine = level(dotted(path))
    upward = [
        f"line {line}: {name}" for name, line in imports(path) if name.split(".")[0] == "perdure" and level(name) > mine
    ]
    assert not upward


@pytest.mark.parametrize("path", [path for path in MODULES if unit(dotted(path)) in ("core", "errors")], ids=dotted)
def test_the_core_is_pure(path: Path):
    """No I/O, clock, threads or randomness: nothing is imported that has them, and nobody asks what time it is."""
    impure = [f"line {line}: {name}" for name, line in imports(path) if name.split(".")[0] in IMPURE]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            if called in ("now", "utcnow", "today", "uuid1", "uuid4", "open", "print", "input"):
                impure.append(f"line {node.lineno}: {called}()")
    assert not impure


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_only_the_store_knows_sqlite(path: Path):
    """SQLite is named in the store and nowhere else."""
    if unit(dotted(path)) != "store":
        assert not [name for name, _ in imports(path) if name.split(".")[0] in ("apsw", "sqlite3")]


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_only_its_engine_knows_temporal(path: Path):
    """temporalio is named in the engine of the cluster and nowhere else."""
    if not dotted(path).startswith("perdure.engines.temporal"):
        assert not [name for name, _ in imports(path) if name.split(".")[0] == "temporalio"]


def test_import_is_light():
    """`import perdure` loads nothing that only a run or a command needs."""
    heavy = [
        "asyncio",
        "apsw",
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
