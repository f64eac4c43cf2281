"""Tries mutants: everything is loaded and collected once, and each mutant is tried in a copy of that process.

What runs are tests that execute the changed line, which `measured` knows. The process is copied (fork), its functions
get the changed code, and the tests run until one fails. Processes that a test starts load the changed module from the
copy of the sources. Which mutants and which tests these are follows from the seed and from the sources.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.proof import measured
from tests.proof.mutant_types import Types
from tests.proof.mutants import ROOT, Functions, Mutant, Tree, changed, sample

TESTS = 80
"""So many test functions try a mutant, at most."""
CPU_SECONDS = 45
"""A test that computes for longer than that with a mutant has noticed it, if it does not without."""
IDLE_SECONDS = 30
"""So has a test that waits for so long in all, while none of its processes computes or waits for a processor."""
LOOK = 0.5
"""Seconds between two looks at what the processes of a test do."""
UNNOTICED = ("survived", "not reached")
MEMORY = 4 << 30
"""Bytes of a process with a mutant."""


class Outcome(NamedTuple):
    """What became of a mutant: "killed", "hangs", "types", "survived" or "not reached"; what noticed it.

    Those that no test notices are shown to the type checker: "types".
    """

    how: str
    test: str = ""


class Trial:
    """Tries mutants with the tests that execute their lines.

    Args:
        session: has collected the tests.
        tree: the copy of the sources, which is loaded.
        tests: which tests execute which lines.
        types: the type checker, which is asked about what no test notices.
    """

    def __init__(self, session: pytest.Session, tree: Tree, tests: measured.Tests, types: Types) -> None:
        self._session = session
        self._tree = tree
        self._types = types
        self._tests = tests
        self._functions = Functions(tree)
        self._items: dict[str, list[pytest.Item]] = defaultdict(list)
        for item in session.items:
            self._items[item.nodeid.partition("[")[0]].append(item)
        self._passed: dict[str, bool] = {}
        """Does a test pass without a mutant?"""

    def tried(self, mutant: Mutant, *, unchanged: bool = False) -> Outcome:
        """What becomes of a mutant.

        Args:
            mutant: what is changed.
            unchanged: run the same tests, and do not change it.
        """
        found = self._tested(mutant, unchanged)
        if found.how in UNNOTICED and (error := self._types.notices(mutant, unchanged=unchanged)):
            return Outcome("types", error)
        return found

    def _tested(self, mutant: Mutant, unchanged: bool) -> Outcome:
        """A test that fails without the mutant too notices nothing, and is left out."""
        tests = self._tests.of(mutant.path, mutant.line, TESTS)
        tests = tests or self._tests.of(mutant.path, mutant.statement, TESTS)
        if not tests:
            return Outcome("not reached")
        while tests:
            with self._tree.changed(None if unchanged else mutant) as code:
                how, test = self._run(tests, code)
            if how == "survived" or not test or self._passes(test):
                return Outcome(how, test)
            tests = tests[tests.index(test) + 1 :]
        return Outcome("survived")

    def _passes(self, test: str) -> bool:
        if test not in self._passed:
            self._passed[test] = self._run([test], None)[0] == "survived"
        return self._passed[test]

    def _run(self, tests: Sequence[str], code: Any) -> tuple[str, str]:
        """In a copy of this process. What is left of it and of what it has started is ended."""
        with tempfile.NamedTemporaryFile() as told, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as files:
            pid = os.fork()
            if pid == 0:
                status = 1
                with contextlib.suppress(BaseException):
                    status = self._noticed(tests, code, told.name, files)
                os._exit(status)
            status = ended(pid, lambda: Path(told.name).read_text(encoding="utf-8"))
            test = Path(told.name).read_text(encoding="utf-8")
        if status is None or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU):
            return "hangs", test
        return ("survived", "") if status == 0 else ("killed", test)

    def _noticed(self, tests: Sequence[str], code: Any, told: str, files: str) -> int:
        """Run tests until one fails: 1, or 0 if none does. Which one is under way is written down."""
        os.setpgid(0, 0)
        for descriptor in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        tempfile.tempdir = os.environ["TMPDIR"] = files
        if code is not None:
            self._functions.change(code)
        failed = []

        class Noticing:
            def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
                if report.failed:
                    failed.append(report)

        self._session.config.pluginmanager.register(Noticing())
        items = [item for test in tests for item in self._items.get(test, ())]
        for item, following in zip(items, [*items[1:], None], strict=True):
            Path(told).write_text(item.nodeid.partition("[")[0], encoding="utf-8")
            most = math.ceil(time.process_time()) + CPU_SECONDS
            resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if failed:
                return 1
        return 0


def ended(pid: int, about: Callable[[], str], idle: float = IDLE_SECONDS) -> int | None:
    """The status of a process that has ended; None if it waits for something that does not come. Its group is ended.

    How long it takes says little on a machine that has much else to do: what counts are the looks at which each process
    of the group sleeps. One that computes, or that waits for a processor or a disk, goes on.

    Args:
        pid: of the process, which leads its group.
        about: what it is about; when that changes, it is counted from the beginning.
        idle: so many seconds asleep are too many.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.setpgid(pid, pid)
    asleep, before, pauses = 0.0, "", 0
    try:
        while asleep < idle:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return status
            time.sleep(LOOK / 25)
            pauses += 1
            if pauses % 25 == 0:
                if (now := about()) != before:
                    asleep, before = 0.0, now
                asleep += LOOK * _asleep(pid)
        return None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _asleep(group: int) -> bool:
    """Does each thread of these processes wait for something else than a processor or a disk?"""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, of = stat.read_text().rpartition(")")[2].split()[:3]
            if int(of) == group and (state in "RD" or _computes(stat.parent)):
                return False
    return True


def _computes(process: Path) -> bool:
    with contextlib.suppress(OSError):
        for stat in process.glob("task/*/stat"):
            if stat.read_text().rpartition(")")[2].split()[0] in "RD":
                return True
    return False


class Loop:
    """A plugin of pytest: instead of running what was collected, try mutants with it.

    Args:
        tree: the copy of the sources.
        tests: which tests execute which lines.
        types: the type checker.
        mutants: those that are tried.
        answers: where a line of JSON goes for each.
        unchanged: do not change them.
    """

    def __init__(
        self,
        tree: Tree,
        tests: measured.Tests,
        types: Types,
        mutants: Sequence[Mutant],
        answers: Path,
        *,
        unchanged: bool,
    ) -> None:
        self._tree, self._tests, self._types, self._mutants, self._answers = tree, tests, types, mutants, answers
        self._unchanged = unchanged

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Once, with everything that was collected."""
        if session.testsfailed:
            raise session.Interrupted(f"{session.testsfailed} errors during collection")
        if (threads := threading.active_count()) != 1:
            raise RuntimeError(f"a copy of this process would miss {threads - 1} threads")
        trial = Trial(session, self._tree, self._tests, self._types)
        for mutant in self._mutants:
            outcome = trial.tried(mutant, unchanged=self._unchanged)
            text = (self._tree.folder / mutant.path).read_text(encoding="utf-8")
            about = f"{mutant.path}:{mutant.line}: {changed(text, mutant.place)[0]}"
            with self._answers.open("a", encoding="utf-8") as file:
                file.write(json.dumps([outcome.how, about, outcome.test]) + "\n")
        return True


def in_a_fresh_process(seed: int, first: int, last: int, *options: str) -> Iterator[tuple[str, str, str]]:
    """What becomes of so many of the sample, what each is about with its diff, and the test that noticed it."""
    with tempfile.NamedTemporaryFile() as answers:
        command = [sys.executable, "-m", "tests.proof.mutant_trials", answers.name, str(seed), str(first), str(last)]
        done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"mutants {first} to {last}: {done.stdout[-3000:]}{done.stderr[-3000:]}")
        for line in Path(answers.name).read_text(encoding="utf-8").splitlines():
            how, about, test = json.loads(line)
            yield how, about, test


def main() -> int:
    """Try those of a seed, from one number up to another; write what becomes of each into a file, as a line of JSON.

    What follows the file and the numbers are parts of names: only mutants count that have one of them.
    """
    answers, (seed, first, last), options = Path(sys.argv[1]), map(int, sys.argv[2:5]), sys.argv[5:]
    chosen, unchanged = sample(seed), "--unchanged" in options
    if names := [name for name in options if name != "--unchanged"]:
        chosen = [mutant for mutant in chosen if any(name in mutant.about for name in names)]
    tests = measured.ready(measured.files(unit=True))
    place = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(prefix="perdure-mutants-", dir=place, ignore_cleanup_errors=True) as folder:
        tempfile.tempdir = folder
        tree = Tree(Path(folder) / "src")
        sys.path.insert(0, str(tree.folder))
        os.environ["PYTHONPATH"] = str(tree.folder)
        loop = Loop(tree, tests, Types(Path(folder) / "types"), chosen[first:last], answers, unchanged=unchanged)
        return int(pytest.main(["-q", "-p", "no:cacheprovider", *sorted(tests.files)], [loop]))


if __name__ == "__main__":
    sys.exit(main())
