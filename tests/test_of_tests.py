"""No test sleeps or asserts on a clock: what depends on how fast a machine is fails for no fault of the code.

Wait for what is to happen (`waiting.until`, events, barriers, pipes), inject the clock (`conftest.FakeWorld`), or count
steps. Sleeping for a minute and longer is allowed: it stands for what never comes back, and is not waited for.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent
CLOCKS = ("time", "monotonic", "perf_counter", "process_time", "thread_time", "monotonic_ns", "perf_counter_ns")
WORDS = ("sleep", "Event().wait", *(f"time.{clock}" for clock in CLOCKS))
"""A file without any of these neither sleeps nor reads a clock."""
LIBRARY = "|".join(sorted(sys.stdlib_module_names - {"sys"}))  # what hangs on `sys` are values
REPLACES = re.compile(rf"\w*patch\.setattr\((?:[\"']?(?:{LIBRARY})\.|(?:[\w.]+\.)?(?:{LIBRARY}),)")
"""A function or a class of Python's library is replaced, for the whole process."""
HANGS = 60
"""Seconds: who sleeps that long is meant to be stopped."""

NAMED = re.compile(
    r"^\s*(?:from|import) (perdure(?:\.\w+)+)|(?:setattr|patch)\(\s*\"(perdure[.\w]+)\.\w+\"", re.MULTILINE
)
"""A module that is imported, by a test or a script of one, or patched."""

ALLOWED = {
    "waiting.py": "the one place that looks, sleeps and looks again",
    "crash/": "the campaign draws the moments of its kills, and measures itself; it asserts on no clock",
    "proof/figures/r15_alerts.py::killed_run": "the moments of its kills are drawn, and it asserts on no clock",
    "proof/figures/w1_queue_limits.py::run": "the moments of its kills are drawn, and it asserts on no clock",
    "proof/figures/w4_signals.py::run": "the moments of its kills are drawn, and it asserts on no clock",
    "proof/figures/w5_ticks.py::run": "the moments of what it does are drawn, and it asserts on no clock",
    "proof/figures/w5_ticks.py::_disturb": "for how long all are stopped is drawn, and it asserts on no clock",
    "proof/figures/w8_moments.py::_beside": "it measures for how long the machine holds a process up",
    "proof/figures/w8_moments.py::_hold_up": "for how long a process stands still is drawn, and it asserts on no clock",
    "proof/figures/w10_leaving.py::_left": "the moments at which its steps end are drawn, and it asserts on no clock",
    "proof/figures/w9_races.py::_kill": "for how long nobody serves is drawn, and it asserts on no clock",
    "proof/mutant_trials.py::ended": "looks again and again at what processes do, and asserts on no clock",
    "integration/test_races_of_threads.py::by_looking_again": "a thread that looks again and again is what is tried",
    "conformance/victim.py": "is to be killed meanwhile, at any moment",
    "conformance/racer.py": "likewise",
    "conformance/shapes/races.py::a_timer_is_first_again": "a durable timer; what it races with waits for it",
    "conformance/test_cluster_races.py::test_a_race_before_the_record_is_full": "likewise",
    "conformance/test_kills.py": "the moments of the kills are drawn",
    "conformance/test_cluster_refused.py::test_computing_for_too_long_between_steps": "it blocks its worker",
    "proof/figures/t3_code_between_steps.py::pausing": "it blocks its worker",
    "conformance/test_cluster_full_cache.py::test_a_full_cache": "durable timers, which nothing is compared with",
    "conformance/shapes/branches.py::timers_of_an_async_workflow": "durable timers, in either order",
    "conformance/shapes/batches.py::items_that_run_out_of_time": "outlasts its own timeout three times, in any case",
    "conformance/shapes/retries.py::a_timeout_of_a_sync_step": "outlasts its own timeout four times, in any case",
    "conformance/shapes/deadlines.py::a_step_that_outlasts_the_run": "outlasts the deadline three times, in any case",
    "conformance/shapes/deadlines.py::items_are_no_dead_letters_because_of_a_deadline": "as the one before",
    "conformance/shapes/deadlines.py::time_enough": "a durable timer, an hour before the deadline",
    "integration/deaths.py::remove": "looks whether the kernel has let go of a cgroup, again and again",
    "integration/watched.py::hoard": "takes memory by and by until it is killed",
    "integration/test_retry_storm.py": "in a loop whose time is virtual",
    "integration/race_programs.py": "likewise",
}
"""Files, folders and functions that may, and why."""


def offences(source: str) -> list[tuple[str, int, str]]:
    """Where a file sleeps or asserts on a clock: the function at the top level, the line, and what it does."""
    found: list[tuple[str, int, str]] = []
    if not (any(word in source for word in WORDS) or REPLACES.search(source)):
        return found
    tree = ast.parse(source)
    constants = {name: node.value for name, node in _assigned(tree.body) if isinstance(node, ast.Constant)}
    for top in tree.body:
        function = getattr(top, "name", "")
        read = {name for name, node in _assigned(ast.walk(top)) if _reads_clock(node)}
        for node in ast.walk(top):
            if isinstance(node, ast.Call) and _sleeps(node, constants):
                found.append((function, node.lineno, f"sleeps: {ast.unparse(node)}"))
            elif isinstance(node, ast.Call) and _replaces_for_all(node):
                found.append((function, node.lineno, f"replaces it for all threads: {ast.unparse(node)}"))
            elif isinstance(node, ast.Assert) and (_reads_clock(node.test) or read & _names(node.test)):
                found.append((function, node.lineno, f"asserts on a clock: {ast.unparse(node)}"))
    return found


def _assigned(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, ast.expr]]:
    """Every name that is assigned to there, and what it is given."""
    for node in nodes:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                yield from ((name, node.value) for name in _names(target))


def _names(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def _called(node: ast.AST) -> str:
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


def _sleeps(call: ast.Call, constants: dict[str, Any]) -> bool:
    """Whether it sleeps for more than nothing and less than a hang, or may."""
    sleeping = ("time.sleep", "asyncio.sleep", "anyio.sleep", "sleep")
    if not call.args or not (_called(call) in sleeping or _called(call).endswith("Event().wait")):
        return False
    seconds = call.args[0]
    value = constants.get(seconds.id) if isinstance(seconds, ast.Name) else getattr(seconds, "value", None)
    return not isinstance(value, int | float) or 0 < value < HANGS


def _replaces_for_all(call: ast.Call) -> bool:
    """Whether a function of Python's library is replaced for all threads, also those that an earlier test has left
    behind. conftest has `replace` for it.
    """
    return REPLACES.match(ast.unparse(call)) is not None


def _reads_clock(node: ast.AST) -> bool:
    return any(_called(each) in {f"time.{clock}" for clock in CLOCKS} for each in ast.walk(node))


def allowed(path: str, function: str) -> bool:
    """Is there a reason?"""
    return any(path.startswith(each) or f"{path}::{function}" == each for each in ALLOWED)


def test_no_test_depends_on_how_fast_a_machine_is() -> None:
    """Nothing sleeps, and no assertion reads a clock, but for what is listed with its reason."""
    paths = sorted(str(path.relative_to(TESTS)) for path in TESTS.rglob("*.py"))
    assert "test_of_tests.py" in paths
    assert [
        f"{path}:{line}: {what}"
        for path in paths
        for function, line, what in offences((TESTS / path).read_text(encoding="utf-8"))
        if not allowed(path, function)
    ] == []


def test_what_is_allowed_is_there() -> None:
    """A reason goes when what it is given for goes."""
    for each in ALLOWED:
        path, _, function = each.partition("::")
        source = (TESTS / path).read_text(encoding="utf-8") if path.endswith(".py") else ""
        assert (TESTS / path).exists(), each
        assert not function or function in {name for name, _, _ in offences(source)}, each


@pytest.mark.parametrize(
    "line",
    [
        "time.sleep(0.1)",
        "await asyncio.sleep(delay)",
        "threading.Event().wait(0.05)",
        "assert time.monotonic() - began < 2",
        "took = time.perf_counter() - began\n    assert took < 1",
        "until = time.time() + 10\n    while True:\n        assert time.time() < until",
        'monkeypatch.setattr(time, "sleep", slept.append)',
        'monkeypatch.setattr("time.sleep", slept.append)',
        'monkeypatch.setattr(threading.Thread, "start", refuse)',
        'patch.setattr(module.os, "open", refuse)',
    ],
)
def test_the_guard_sees_it(line: str) -> None:
    """Each of what it is to find, put into a test, is found."""
    assert [name for name, _, _ in offences(f"async def test_it():\n    {line}\n")] == ["test_it"]


@pytest.mark.parametrize(
    "line",
    [
        "await asyncio.sleep(0)",
        "time.sleep(3600)",
        "event.wait(60)",
        "world.sleep(5)",
        'monkeypatch.setattr(sys, "stderr", None)',
    ],
)
def test_the_guard_lets_be(line: str) -> None:
    """Turns of a loop, hangs, nets, and clocks that are injected."""
    assert offences(f"async def test_it():\n    {line}\n") == []


def test_no_test_misses_what_an_id_could_hold() -> None:
    """Run ids, ports and signatures are chance: once in a while, one holds any text of three characters."""
    by_chance = re.compile(r"[\"']([0-9abcdefghjkmnpqrstvwxyz_-]{1,3})[\"'] not in ")
    assert by_chance.search('assert "7-" not in said')
    paths = [path for path in TESTS.rglob("*.py") if path != Path(__file__)]
    assert [
        f"{path.relative_to(TESTS)}: {found[0]}"
        for path in paths
        for found in by_chance.finditer(path.read_text("utf-8"))
    ] == []


def test_connections_of_tests_are_closed() -> None:
    """Where one of sqlite3 is made it is closed: since Python 3.13 one that is left open fails a later test, and `with`
    on the connection itself only ends its transaction.
    """
    left = []
    for path in sorted(TESTS.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        for function in ast.walk(ast.parse(source)) if "sqlite3.connect(" in source else ():
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                called = {_called(each) for each in ast.walk(function)}
                closes = any(each.rpartition(".")[2] in ("close", "closing") for each in called)
                if "sqlite3.connect" in called and not closes:
                    left.append(f"{path.relative_to(TESTS)}:{function.lineno}: {function.name}")
    assert left == []


def test_modules_that_tests_name_are_there() -> None:
    """Also in the tests that take minutes: one that is renamed is found at once."""
    named: dict[str, Path] = {}
    for path in TESTS.rglob("*.py"):
        for imported, patched in NAMED.findall(path.read_text(encoding="utf-8")):
            named[imported or patched] = path
    assert "perdure.testing" in named
    assert {name: str(path) for name, path in named.items() if not _is_there(name)} == {}
    assert not _is_there("perdure.operations.none")
    assert not _is_there("perdure.none.none")


IMPORTED = re.compile(r"^\s*from (?:tests\.)?([\w.]+) import (\([^)]*\)|[^\n(#]+)", re.MULTILINE)


def test_what_tests_take_from_each_other_is_there() -> None:
    """Also what only the proofs take, and programs that are killed: no suite imports those."""
    found = 0
    missing = []
    sources = {path: path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py")}
    for path, source in sources.items():
        for module, names in IMPORTED.findall(source):
            other = sources.get(TESTS / f"{module.replace('.', '/')}.py", "")
            for name in re.findall(r"(\w+)(?: as \w+)?\s*(?:,|\)|$)", names) if other else ():
                found += 1
                if not re.search(
                    rf"^(?:(?:async )?def |class )?{name}\b|^ .*\b{name},|import .*\b{name}\b", other, re.M
                ):
                    missing.append(f"{path.relative_to(TESTS)}: {name} of {module}")
    assert found > 100
    assert missing == []


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
