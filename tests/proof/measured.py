"""The suite under coverage.py: which branches of the core and of the store it takes, and which test executes what.

Processes that a test starts are measured too. What is killed with SIGKILL leaves nothing behind: what it alone has
executed counts as not taken.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from tests.proof.contexts import CONTEXT

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
KEPT = ROOT / ".proof" / "measured"
PARTS = ("unit", "integration", "crash", "acceptance", "docs", "conformance")
COUNTED = ("core", "store")
"""Folders whose branches are counted."""
OTHERS = ("perdure/api/lock.py", "perdure/api/retry.py")
"""Modules of which it is looked only at which test executes what."""
STARTS = re.compile(
    r"subprocess|Popen|fork\(|multiprocessing|temporal|cluster|processes=|Worker|Scripts|script_run|chromium|strace"
)
"""What a test file says if its tests start processes."""
SETTINGS = """\
[run]
branch = True
parallel = True
patch = _exit,fork
source = {source}
context = ${{{context}-}}
disable_warnings = no-data-collected,module-not-imported
"""


_COUNTED = tuple(f"perdure/{each}/" for each in COUNTED)


class Measured(NamedTuple):
    """What some test files have executed, by module ("perdure/core/cron.py").

    Args:
        files: those test files.
        taken: the branches, as (from line, to line).
        tests: the test functions that executed a line.
        seconds: how much of a processor each test function took.
        failed: does a test fail?
    """

    files: list[str]
    taken: dict[str, set[tuple[int, int]]]
    tests: dict[str, dict[int, set[str]]]
    seconds: dict[str, float]
    failed: bool = False

    def written(self) -> dict[str, Any]:
        """As JSON can hold it."""
        names = sorted({name for lines in self.tests.values() for tests in lines.values() for name in tests})
        numbers = {name: number for number, name in enumerate(names)}
        return {
            "files": self.files,
            "names": names,
            "taken": {module: sorted(branches) for module, branches in self.taken.items()},
            "tests": {
                module: {line: sorted(map(numbers.__getitem__, tests)) for line, tests in lines.items()}
                for module, lines in self.tests.items()
            },
            "seconds": self.seconds,
            "failed": self.failed,
        }

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Measured:
        """From what `written` gave."""
        names = data["names"]
        tests = {
            module: {int(line): {names[number] for number in numbers} for line, numbers in lines.items()}
            for module, lines in data["tests"].items()
        }
        taken = {module: set(map(tuple, branches)) for module, branches in data["taken"].items()}
        return cls(data["files"], taken, tests, data["seconds"], data["failed"])


@cache
def files() -> list[str]:
    """All test files: unit tests, then those that start no processes, then the rest."""
    found = [path for part in PARTS for path in sorted((ROOT / "tests" / part).glob("test_*.py"))]
    unit = ROOT / "tests" / "unit"
    found.sort(key=lambda path: 0 if path.parent == unit else 1 + bool(STARTS.search(path.read_text("utf-8"))))
    return [str(path.relative_to(ROOT)) for path in found]


def measure(tests: Sequence[str]) -> Measured:
    """Run these test files and those processes that they start.

    Raises:
        RuntimeError: coverage.py is not installed.
    """
    if find_spec("coverage") is None:
        raise RuntimeError("coverage is not installed: .venv/bin/python -m pip install coverage")
    with tempfile.TemporaryDirectory(prefix="perdure-proof-") as name:
        folder = Path(name)
        source = "".join(f"\n    {SOURCE / 'perdure' / each}" for each in (*COUNTED, "api"))
        (folder / "settings").write_text(SETTINGS.format(source=source, context=CONTEXT), encoding="utf-8")
        settings = str(folder / "settings")
        env = {
            **{name: value for name, value in os.environ.items() if name != CONTEXT},
            "COVERAGE_RCFILE": settings,
            "COVERAGE_PROCESS_START": settings,
            "COVERAGE_FILE": str(folder / "data"),
            f"{CONTEXT}_SECONDS": str(folder / "seconds"),
        }
        command = [sys.executable, "-m", "coverage", "run", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, "-p", "tests.proof.contexts", *tests], cwd=ROOT, env=env, capture_output=True, check=False
        )
        return gathered(tests, folder, failed=done.returncode != 0)


def gathered(tests: Sequence[str], folder: Path, *, failed: bool) -> Measured:
    """What a run has left in a folder: `data.*`, `seconds` and the `settings` it ran with."""
    import coverage

    report, seconds = folder / "report.json", folder / "seconds"
    whole = coverage.Coverage(str(folder / "data"), config_file=str(folder / "settings"))
    whole.combine([str(folder)])
    whole.json_report(outfile=str(report), ignore_errors=True)
    found = Measured([*tests], {}, {}, json.loads(seconds.read_text()) if seconds.exists() else {}, failed)
    for file, said in json.loads(report.read_text(encoding="utf-8"))["files"].items():
        if (module := _module(file)).startswith(_COUNTED):
            found.taken[module] = {(first, last) for first, last in said.get("executed_branches", ())}
    data = whole.get_data()
    for file in data.measured_files():
        if (module := _module(file)).startswith((*_COUNTED, *OTHERS)):
            found.tests[module] = {
                line: named for line, names in data.contexts_by_lineno(file).items() if (named := set(names) - {""})
            }
    return found


def _module(file: str) -> str:
    return f"perdure/{file.rpartition('perdure/')[2]}"


@cache
def branches() -> dict[str, int]:
    """How many branches each module has, as coverage.py counts them."""
    from coverage.config import DEFAULT_EXCLUDE
    from coverage.parser import PythonParser

    found = {}
    for path in sorted((SOURCE / "perdure").rglob("*.py")):
        module = _module(str(path))
        if module.startswith(_COUNTED):
            parser = PythonParser(filename=str(path), exclude="|".join(map("(?:{})".format, DEFAULT_EXCLUDE)))
            parser.parse_source()
            found[module] = sum(number for number in parser.exit_counts().values() if number > 1)
    return found


class Tests:
    """Which tests execute a line, and how much of a processor they take."""

    def __init__(self, parts: Sequence[Measured]) -> None:
        self._by_line: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        self._seconds: dict[str, float] = {}
        self.files = {file for part in parts for file in part.files}
        """Those that were measured."""
        for part in parts:
            self._seconds |= part.seconds
            for module, lines in part.tests.items():
                for line, tests in lines.items():
                    self._by_line[module][line] |= tests
        self._lines = {module: _counted(lines) for module, lines in self._by_line.items()}
        self._all: Counter[str] = Counter()
        for counts in self._lines.values():
            self._all.update(counts)

    @classmethod
    def read(cls, folder: Path = KEPT) -> Tests:
        """What was measured so far."""
        parts = sorted(folder.glob("*.json"))
        return cls([Measured.read(json.loads(path.read_text(encoding="utf-8"))) for path in parts])

    def executing(self, module: str, line: int) -> set[str]:
        """Test functions that execute a line of a module."""
        return self._by_line.get(module, {}).get(line, set())

    def seconds(self, names: Sequence[str]) -> float:
        """How much test functions took, together; one that was not timed counts as a second."""
        return sum(self._seconds.get(name, 1.0) for name in names)

    def of(self, module: str, line: int, seconds: float) -> list[str]:
        """Test functions that execute a line, the shortest first.

        Half of the time goes to those that are most about the module: of the lines that they execute, the most are in
        it. Hundreds of tests pass through some lines, and few look at what comes of it. The rest goes to the shortest.

        Args:
            module: its path, as in "perdure/core/cron.py".
            line: from 1.
            seconds: of all together; one is given whatever it takes.
        """
        ordered = sorted(self.executing(module, line), key=lambda name: (self._seconds.get(name, 1.0), name))
        chosen: set[str] = set()
        for order in (sorted(ordered, key=lambda name: -self._lines[module][name] / self._all[name]), ordered):
            left = seconds / 2
            for name in order:
                if name not in chosen and (self.seconds([name]) <= left or not chosen):
                    left -= self.seconds([name])
                    chosen.add(name)
        return [name for name in ordered if name in chosen]


def _counted(lines: Mapping[int, set[str]]) -> Counter[str]:
    """How many of these lines each test executes."""
    found: Counter[str] = Counter()
    for tests in lines.values():
        found.update(tests)
    return found
