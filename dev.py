"""Everything a fresh checkout needs, with Python 3.11 or newer and nothing else.

    python3 dev.py demo         the demo: 200 orders, a misbehaving API, a kill -9 in the middle
    python3 dev.py test         style, types, layers, and every test (what CI runs)
    python3 dev.py unit         the fast tests alone
    python3 dev.py page         what browsers get, made of the page's modules anew (npm is needed)
    python3 dev.py crash ...    the long crash campaign: thousands of kills (options are passed on)
    python3 dev.py proof ...    the figures of docs/reliability.md, hours of them, resumable (options are passed on)
    python3 dev.py bench ...    the benchmarks against the raw floor and DBOS (options are passed on)
    python3 dev.py time ...     the figures of waits, schedules and queues (options are passed on)

Each makes the virtual environment `.venv` first, if it is missing or pyproject.toml has changed.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "installed"
MEMORY = "/dev/shm"  # noqa: S108  a file system, in which each run makes a folder of its own
ROOM = 2 << 30
"""Bytes: the tests use less than half of that."""

NO_TESTS = 5
"""What pytest ends with if none is selected: the others may all be of the half that runs beside it."""
PYTEST = ("-m", "pytest", "-p", "no:cacheprovider")
TEMPLATE = "src/perdure/skill/perdure/assets/template.py"
"""What `perdure new` writes."""
OF_SOURCE = ("layers", "public_surface", "of_tests", "error_texts")


def units(first: str, last: str) -> list[str]:
    """The files of fast tests whose names begin with these letters, or one between them."""
    files = (ROOT / "tests" / "unit").glob("test_*.py")
    return sorted(str(file.relative_to(ROOT)) for file in files if first <= file.stem[len("test_")] <= last)


PARTS = ("conformance", "crash", "docs", "acceptance", "integration")
CHECKS = (
    # Two rows of about the same length, one processor each, and the browser, which waits more than it computes.
    # Each half of the fast tests collects its own, and nobody passes thousands of reports on; what looks at the whole
    # source is in one of them, as far as possible.
    (
        (
            ("-m", "mypy"),
            ("-m", "mypy", "tests/typing", TEMPLATE),
            (*PYTEST, *units("m", "z")),
        ),
        (
            ("-m", "ruff", "format", "--check", "."),
            ("-m", "ruff", "check", "."),
            # Where PYTHONDONTWRITEBYTECODE is set, each process that tests start would compile all modules anew.
            ("-m", "compileall", "-q", "src", "tests"),
            ("-m", "pyright", "tests/typing", TEMPLATE),
            (*PYTEST, *units("a", "l"), *(f"tests/test_{name}.py" for name in OF_SOURCE)),
        ),
        (
            ("tests/chromium.py",),
            ("-m", "pytest", "-rs", "-m", "browser", "tests/integration/test_ui_in_a_browser.py"),
        ),
    ),
    # Six at a time, a file on one side: much of their time is spent waiting for processes. What needs a cluster is
    # on two sides and comes first (tests/conftest.py), and the last files are small ones.
    (
        *("-m", "pytest", "-n", "6", "--dist", "loadfile", "--no-loadscope-reorder"),
        *(f"tests/{each}" for each in PARTS),
    ),
)
COMMANDS: dict[str, tuple[Any, ...]] = {
    "demo": (("-m", "perdure", "demo"),),
    "test": CHECKS,
    # Two processes that collect half of the tests each, as in `test`: to pass reports on costs more than it gives.
    "unit": ((((*PYTEST, *units("a", "l")),), ((*PYTEST, *units("m", "z")),)),),
    "page": (("tests/page_tools.py",),),
    "crash": (("-m", "tests.crash"),),
    "proof": (("-m", "tests.proof"),),
    "bench": (("benchmarks/run.py",),),
    "time": (("benchmarks/time_figures.py",),),
}


def prepare() -> None:
    """Make the virtual environment and install the checkout in it, with what its tests need."""
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + sys.version.encode()).hexdigest()
    if STAMP.exists() and STAMP.read_text() == wanted:
        return
    print("preparing .venv ...", file=sys.stderr, flush=True)
    venv.create(VENV, with_pip=True, clear=True)
    run("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--editable", ".[dev]")
    STAMP.write_text(wanted)


def run(*args: str) -> None:
    """Run the environment's Python; end with its exit status if it fails."""
    if status := status_of(args):
        sys.exit(status)


def status_of(args: Sequence[str]) -> int:
    """Run the environment's Python; its exit status."""
    with place_for_files(args) as folder:
        environment = os.environ if folder is None else {**os.environ, "TMPDIR": folder}
        return subprocess.run([str(PYTHON), *args], cwd=ROOT, check=False, env=environment).returncode


def place_for_files(args: Sequence[str]) -> AbstractContextManager[str | None]:
    """A folder in memory for the files of tests, where there is room: they sync thousands of small ones."""
    if "pytest" not in args or "TMPDIR" in os.environ or not has_room(MEMORY):
        return nullcontext()
    return tempfile.TemporaryDirectory(prefix="perdure-", dir=MEMORY, ignore_cleanup_errors=True)


def has_room(folder: str) -> bool:
    """Is there room for what the tests write, and can programs among that be executed?"""
    try:
        found = os.statvfs(folder)
    except (AttributeError, OSError):  # Windows; or there is no such folder
        return False
    executes = not found.f_flag & getattr(os, "ST_NOEXEC", 0)
    return executes and os.access(folder, os.W_OK) and found.f_bavail * found.f_frsize >= ROOM


def carry_out(command: Any, options: Sequence[str] = ()) -> None:
    """Run a command, or rows of commands at the same time, the last of each with these options."""
    if isinstance(command[0], str):
        run(*command, *options)
    else:
        run_beside(*((*row[:-1], (*row[-1], *options)) for row in command))


def run_beside(*rows: Sequence[Sequence[str]]) -> None:
    """Run rows of commands at the same time, each up to its first failure; end with the status of one that fails."""
    with ThreadPoolExecutor(len(rows)) as pool:
        statuses = list(pool.map(lambda row: next(filter(None, map(status_of, row)), 0), rows))
    failed = [status for status in statuses if status not in (0, NO_TESTS)]
    if failed or set(statuses) == {NO_TESTS}:
        sys.exit((*failed, NO_TESTS)[0])


def main() -> None:
    """Do what the command line says."""
    if sys.version_info < (3, 11):  # noqa: UP036  this file is what an older Python is most likely to be given
        sys.exit("perdure needs Python 3.11 or newer")
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        sys.exit(__doc__)
    prepare()
    *before, last = COMMANDS[sys.argv[1]]
    for command in before:
        carry_out(command)
    carry_out(last, sys.argv[2:])


if __name__ == "__main__":
    main()
