"""Tries mutants: everything is loaded and collected once, and each mutant is tried in a copy of that process.

What runs are the tests that execute the changed line, which `measured` knows, the shortest first. The process is
copied (fork), its functions get the changed code, and the tests run until one fails. Processes that a test starts load
the changed module from the copy of the sources.
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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.proof import measured
from tests.proof.mutant_types import Types
from tests.proof.mutants import ROOT, Functions, Mutant, Tree, changed, sample

TESTS_SECONDS = 6.0
"""So much of a processor the tests of a mutant took, together, when they were measured; what takes more is not run."""
CPU_SECONDS = 45
"""A mutant that computes for longer hangs, which is noticed."""
SECONDS, TIMES = 60, 15
"""So does one whose tests take longer than so many seconds and so many times what they computed when measured, if they
take less than a third of that without the mutant: the machine may have much else to do.
"""
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
        tests = self._tests.of(mutant.path, mutant.line, TESTS_SECONDS)
        tests = tests or self._tests.of(mutant.path, mutant.statement, TESTS_SECONDS)
        if not tests:
            return Outcome("not reached")
        while tests:
            with self._tree.changed(None if unchanged else mutant) as code:
                how, test = self._run(tests, code)
            if how == "waits":
                return self._waited(tests, test)
            if how != "killed" or not test or self._passes(test):
                return Outcome(how, test)
            tests = tests[tests.index(test) + 1 :]
        return Outcome("survived")

    def _waited(self, tests: Sequence[str], test: str) -> Outcome:
        """A mutant with which a test took too long hangs, if it is not the machine that is slow."""
        begin = time.monotonic()
        how, _ = self._run(tests[: tests.index(test) + 1] if test else tests, None)
        swift = how != "waits" and time.monotonic() - begin < self._most(tests) / 3
        return Outcome("hangs", test) if swift else Outcome("survived", f"too slow a machine for {test}")

    def _most(self, tests: Sequence[str]) -> int:
        """After so many seconds these tests wait for something that does not come."""
        return SECONDS + math.ceil(TIMES * self._tests.seconds(tests))

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
            status = _ended(pid, self._most(tests))
            test = Path(told.name).read_text(encoding="utf-8")
        if status is None:
            return "waits", test
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
            return "hangs", test
        return ("survived", "") if status == 0 else ("killed", test)

    def _noticed(self, tests: Sequence[str], code: Any, told: str, files: str) -> int:
        """Run tests until one fails: 1, or 0 if none does. Which one is under way is written down."""
        os.setpgid(0, 0)
        for descriptor in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
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
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if failed:
                return 1
        return 0


def _ended(pid: int, seconds: int) -> int | None:
    """The status of a process that has ended; None if it takes longer than that."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.setpgid(pid, pid)
    done, status = 0, 0

    def give_up(number: int, frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        done, status = os.waitpid(pid, 0)
    except TimeoutError:
        pass
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    if not done:
        os.waitpid(pid, 0)
        return None
    return status


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
    tests = measured.Tests.read()
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
