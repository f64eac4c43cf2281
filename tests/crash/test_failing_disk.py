"""Every I/O operation fails once: success or a named error, an intact file, and the next run goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from . import broken, ledger, trial
from .cases import Ground
from .kill import Kill, no_strace
from .shape import SHAPES
from .victim import INSIDE, Home


@pytest.mark.parametrize("kind", ["error", "full", "short"])
def test_each_operation_of_sqlite_failing_once(ground: Ground, kind: str, tmp_path: Path) -> None:
    """An I/O error, no space, half a write: each at every operation of a run."""
    shape = SHAPES["brief"]
    count = broken.operations(ground.nursery, shape, kind, tmp_path / "count")
    assert count > 20
    failures = broken.each_operation(
        ground.nursery, shape, ground.reference(shape), tmp_path, kind, range(1, count + 1)
    )
    assert not failures.outcome.violations, failures.outcome.report()
    assert failures.refused, "no failure was ever noticed: nothing was tested"


@pytest.mark.parametrize("name", ["gather", "map_threads", "retrying", "handled"])
def test_operations_of_concurrent_runs_failing_once(ground: Ground, name: str, tmp_path: Path) -> None:
    """The leader of a group commit meets the failure; whoever waited hears of it too, and nobody waits for ever."""
    shape = SHAPES[name]
    count = broken.operations(ground.nursery, shape, "error", tmp_path / "count")
    numbers = range(1 + len(name) % 5, count + 1, 5)
    failures = broken.each_operation(ground.nursery, shape, ground.reference(shape), tmp_path, "error", numbers)
    assert not failures.outcome.violations, failures.outcome.report()
    assert failures.refused


@pytest.mark.skipif(bool(no_strace()), reason=no_strace() or "strace works")
@pytest.mark.parametrize(
    ("call", "error", "numbers"),
    [
        # The first preads are those of the interpreter's own start.
        ("pwrite64", "EIO", range(1, 60, 4)),
        ("pwrite64", "ENOSPC", range(3, 60, 4)),
        ("fdatasync", "EIO", range(1, 20, 2)),
        ("fsync", "EIO", range(1, 4)),
        ("pread64", "EIO", range(6, 40, 4)),
        ("ftruncate", "EIO", range(1, 6)),
    ],
)
def test_system_calls_failing_once(ground: Ground, call: str, error: str, numbers: range, tmp_path: Path) -> None:
    """The same as the kernel would say it, beneath SQLite's own code for files and shared memory."""
    shape = SHAPES["brief"]
    failures = broken.each_call(ground.nursery, shape, ground.reference(shape), tmp_path, call, error, numbers)
    assert not failures.outcome.violations, failures.outcome.report()


def test_control_a_victim_with_raw_errors_is_found_out(ground: Ground, tmp_path: Path) -> None:
    """A workload that lets SQLite's own error through is not taken for one that names it."""
    script = tmp_path / "raw.py"
    script.write_text(
        "import os, apsw, witness\n"
        "connection = apsw.Connection(os.environ['PERDURE_STATE'])\n"
        "connection.execute('CREATE TABLE t (x)')\n"
    )
    home = Home(tmp_path / "home")
    home.install(script)
    argv = [str(INSIDE / "faulty.py"), str(home.script)]
    death = ground.nursery.live(home, 0, Kill(), argv=argv, env={"CRASH_FAULT": "error:3"})
    assert death.status not in (0, broken.REFUSED)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of that size at the folder; skips the test where mounting is not permitted."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a small file system")
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    made = subprocess.run(mount, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"mounting is not permitted here: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_full_disk_is_named_and_a_run_goes_on_once_there_is_space(ground: Ground, tmp_path: Path) -> None:
    """A real file system of 2 MB and a workload of 6: disk-full with a hint, nothing saved is lost, then it is done."""
    shape = SHAPES["large"]
    expected = ground.reference(shape)
    disk = tmp_path / "disk"
    home = Home(tmp_path / "home")
    home.state = disk / "state.db"
    home.install(shape.files[0])
    with small_disk(disk, "2m"):
        argv = [str(INSIDE / "faulty.py"), str(home.script)]
        death = ground.nursery.live(home, 0, Kill(), argv=argv)
        assert death.status == broken.REFUSED, home.said()
        (refusal,) = [line for line in ledger.read(home.ledger) if line.what == "refused"]
        assert (refusal.code, refusal.value) == ("disk-full", True)
        assert trial.unreadable(home.state, tmp_path / "copy") == []
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        outcome = trial.chain(ground.nursery, shape, expected, home, [], first_life=1)
    assert not outcome.violations, outcome.report()
