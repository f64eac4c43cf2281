"""Every I/O operation fails once: success or a named error, an intact file, and the next run goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from . import broken, ledger, trial
from .cases import Ground
from .kill import Kill, no_strace
from .shape import SHAPES, Shape
from .trial import Outcome
from .victim import INSIDE, Home

STRIDE = 97  # the long run takes all of them
STRIDES = {"pwrite64": 131, "pread64": 83, "fdatasync": 17, "flock": 13, "ftruncate": 2}


def each(ground: Ground, shape: Shape, fault: str, numbers: Iterable[int]) -> Outcome:
    """Fail operation N of the run for each N, until there are no more."""
    total = Outcome()
    for number in numbers:
        outcome = ground.case(shape, f"{fault}@{number}:0")
        total.add(outcome)
        if not outcome.kills:
            break
    return total


@pytest.mark.parametrize(("fault", "first"), [("error", 1), ("full", 19), ("short", 37)])
def test_each_operation_of_sqlite_failing_once(ground: Ground, fault: str, first: int, tmp_path: Path) -> None:
    """An I/O error, no space, half a write: each at other operations of a run; the long run takes all of them."""
    shape = SHAPES["brief"]
    assert broken.undisturbed(ground.nursery, shape, Home(tmp_path)) > 60
    total = each(ground, shape, fault, range(first, 10_000, STRIDE))
    assert not total.violations, total.report()
    assert total.refused, "no failure was ever noticed: nothing was tested"


@pytest.mark.parametrize("name", ["gather", "map_threads", "retrying", "handled"])
def test_operations_of_concurrent_runs_failing_once(ground: Ground, name: str) -> None:
    """The leader of a group commit meets the failure; whoever waited hears of it too, and nobody waits for ever."""
    total = each(ground, SHAPES[name], "error", range(1 + len(name) % 5, 10_000, 151))
    assert not total.violations, total.report()
    assert total.refused


@pytest.mark.skipif(bool(no_strace()), reason=no_strace() or "strace works")
@pytest.mark.parametrize("fault", broken.CALL_FAULTS)
def test_system_calls_failing_once(ground: Ground, fault: str) -> None:
    """The same as the kernel would say it, beneath SQLite's own code for files and shared memory."""
    total = each(ground, SHAPES["brief"], fault, range(1, 10_000, STRIDES.get(fault.partition("=")[0], 1)))
    assert not total.violations, total.report()
    assert total.kills["fault"] > 0


@pytest.mark.parametrize(("fault", "first"), [*zip(broken.OWN_FAULTS, (7, 28, 49, 70), strict=True)])
def test_operations_on_other_files_failing_once(ground: Ground, fault: str, first: int) -> None:
    """Locks, artifacts, the flight recorder: what SQLite does not see; the long run takes all of them."""
    total = each(ground, SHAPES["artifacts"], fault, range(first, 10_000, 113))
    assert not total.violations, total.report()
    assert total.kills["fault"] > 1


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
