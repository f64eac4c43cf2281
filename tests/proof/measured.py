"""The suite under coverage.py: which branches of the core and of the store it takes, and which test executes what.

Processes that a test starts are measured too. What is killed with SIGKILL leaves nothing behind: what it alone has
executed counts as not taken. What test files execute of the sources as they are is kept, a file of JSON each.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

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
TOGETHER = 20
"""Test files that are measured by one process."""
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
        failed: does a test fail?
    """

    files: list[str]
    taken: dict[str, set[tuple[int, int]]]
    tests: dict[str, dict[int, set[str]]]
    failed: bool = False

    def keep(self) -> None:
        """Write down which lines each test function of these files has executed: a file of JSON for each."""
        by_file: dict[str, dict[str, dict[str, list[int]]]] = {file: {} for file in self.files}
        for module, lines in self.tests.items():
            for line, names in sorted(lines.items()):
                for name in names:
                    tests = by_file.setdefault(name.partition("::")[0], {})
                    tests.setdefault(name, {}).setdefault(module, []).append(line)
        kept().mkdir(parents=True, exist_ok=True)
        for file, tests in by_file.items():
            draft = place_of(file).with_suffix(f".{os.getpid()}")
            draft.write_text(json.dumps(tests, sort_keys=True), encoding="utf-8")
            draft.replace(place_of(file))


@cache
def files(*, unit: bool = False) -> list[str]:
    """All test files: unit tests, then those that start no processes, then the rest; or unit tests alone."""
    found = [path for part in PARTS for path in sorted((ROOT / "tests" / part).glob("test_*.py"))]
    ours = ROOT / "tests" / "unit"
    found.sort(key=lambda path: 0 if path.parent == ours else 1 + bool(STARTS.search(path.read_text("utf-8"))))
    return [str(path.relative_to(ROOT)) for path in found if path.parent == ours or not unit]


@cache
def kept() -> Path:
    """Where it is kept what tests execute of the sources as they are."""
    digest = hashlib.sha256()
    for path in sorted((SOURCE / "perdure").rglob("*.py")):
        digest.update(f"{path.relative_to(SOURCE)}\0{path.read_text('utf-8')}\0".encode())
    return KEPT / digest.hexdigest()[:12]


def place_of(file: str) -> Path:
    """Where it is kept what a test file executes, as the file is now."""
    text = (ROOT / file).read_bytes()
    return kept() / f"{file.replace('/', '.')}-{hashlib.sha256(text).hexdigest()[:12]}.json"


def ready(wanted: Sequence[str]) -> Tests:
    """What these test files execute; what is not known yet is measured, by as many processes at a time as call this."""
    kept().mkdir(parents=True, exist_ok=True)
    for other in KEPT.iterdir():
        if other != kept():
            shutil.rmtree(other, ignore_errors=True)
    groups = [wanted[first : first + TOGETHER] for first in range(0, len(wanted), TOGETHER)]
    for wait in (False, True):
        for group in groups:
            with suppress(BlockingIOError), _alone(group[0], wait=wait):
                if missing := [file for file in group if not place_of(file).exists()]:
                    measure(missing).keep()
    return Tests(wanted)


@contextmanager
def _alone(name: str, *, wait: bool) -> Iterator[None]:
    with (kept() / f"{name.replace('/', '.')}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


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
        }
        command = [sys.executable, "-m", "coverage", "run", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, "-p", "tests.proof.contexts", *tests], cwd=ROOT, env=env, capture_output=True, check=False
        )
        return gathered(tests, folder, failed=done.returncode != 0)


def gathered(tests: Sequence[str], folder: Path, *, failed: bool) -> Measured:
    """What a run has left in a folder: `data.*` and the `settings` it ran with."""
    import coverage

    report = folder / "report.json"
    whole = coverage.Coverage(str(folder / "data"), config_file=str(folder / "settings"))
    whole.combine([str(folder)])
    whole.json_report(outfile=str(report), ignore_errors=True)
    found = Measured([*tests], {}, {}, failed)
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
    """Which test functions execute a line, and which are tried first.

    How many lines a test executes says how much it does: not how long it takes, which is different each time.

    Args:
        files: the test files; what they execute is kept.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self._by_line: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        self._lines: dict[str, Counter[str]] = defaultdict(Counter)
        self._all: Counter[str] = Counter()
        self.files = files
        for file in files:
            for name, modules in json.loads(place_of(file).read_text(encoding="utf-8")).items():
                for module, lines in modules.items():
                    self._lines[module][name] = len(lines)
                    self._all[name] += len(lines)
                    for line in lines:
                        self._by_line[module][line].add(name)

    def of(self, module: str, line: int, number: int) -> list[str]:
        """Test functions that execute a line: those that execute the fewest lines first.

        Half of them are those that are most about the module: of the lines that they execute, the most are in it.
        Hundreds of tests pass through some lines, and few look at what comes of it. The others execute the fewest.

        Args:
            module: its path, as in "perdure/core/cron.py".
            line: from 1.
            number: of all together, at most.
        """
        found = self._by_line.get(module, {}).get(line, ())
        ordered = sorted(found, key=lambda name: (self._all[name], name))
        closest = sorted(ordered, key=lambda name: -self._lines[module][name] / self._all[name])[: number // 2]
        chosen = {*closest, *[name for name in ordered if name not in closest][: number - len(closest)]}
        return [name for name in ordered if name in chosen]
