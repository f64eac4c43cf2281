"""How a process died: what proves that the system killed it for want of memory, and what an exit status says."""

from __future__ import annotations

import importlib.util
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from perdure.alerts.watchdog import client

PLACE = Path(client.__file__).with_name("exit_cause.py")


ALIVE, ENDING = "7 (a ) b) R 1 7 7 0 -1 4194304 0", "7 (a ) b) R 1 7 7 0 -1 4194308 0"
"""The beginning of /proc/PID/stat: of a process that works, and of one that is ending."""


@pytest.fixture
def exit_cause() -> Any:
    """The module as the watchdog process has it: by itself."""
    spec = importlib.util.spec_from_file_location("exit_cause", PLACE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def kernel(exit_cause: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The files of a kernel with cgroups of version 2, whose log may not be read."""
    files = {
        "/proc/7/stat": ALIVE,
        "/proc/7/cgroup": "0::/jobs/nightly\n",
        "/sys/fs/cgroup/jobs/nightly/memory.events": "low 0\nhigh 0\nmax 3\noom 0\noom_kill 0\n",
        "/sys/fs/cgroup/jobs/nightly/memory.max": "1048576\n",
        "/proc/vmstat": "nr_free_pages 1\noom_kill 4\n",
    }
    monkeypatch.setattr(exit_cause, "read_text", lambda path: files.get(path, ""))
    monkeypatch.setattr(exit_cause.OomDetector, "in_log", lambda self: False)
    return files


JOBS = "/sys/fs/cgroup/memory/jobs"


def in_version_1(files: dict[str, str]) -> None:
    """As where the memory controller has a hierarchy of its own."""
    files["/proc/7/cgroup"] = "5:cpu:/\n4:memory:/jobs\n0::/\n"
    files[f"{JOBS}/memory.oom_control"] = "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n"
    files[f"{JOBS}/memory.limit_in_bytes"] = "9223372036854771712\n"


def kills(files: dict[str, str], here: int, anywhere: int) -> None:
    files["/sys/fs/cgroup/jobs/nightly/memory.events"] = f"oom 9\noom_kill {here}\n"
    files["/proc/vmstat"] = f"oom_kill {anywhere}\n"


def test_its_cgroup_is_proof(exit_cause: Any, kernel: dict[str, str]) -> None:
    """The kernel has killed a process in the cgroup since the last looks."""
    oom = exit_cause.OomDetector(7)
    assert (oom.evidence(), oom.limit()) == ("", 1 << 20)
    kills(kernel, 1, 5)
    del kernel["/proc/7/cgroup"]  # it is dead
    assert oom.evidence() == "cgroup"


def test_version_1_counts_as_well(exit_cause: Any, kernel: dict[str, str]) -> None:
    """Where the memory controller has a hierarchy of its own."""
    in_version_1(kernel)
    oom = exit_cause.OomDetector(7)
    assert oom.limit() == 0
    kernel[f"{JOBS}/memory.oom_control"] = "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"
    assert oom.evidence() == "cgroup"


@pytest.mark.parametrize("stat", [ENDING, ENDING.replace("R 1", "Z 1").replace("308", "304")])
def test_a_dead_process_is_where_it_lived(exit_cause: Any, kernel: dict[str, str], stat: str) -> None:
    """The kernel says of dead processes that they are in the root of a hierarchy of version 1."""
    in_version_1(kernel)
    kernel[f"{JOBS}/memory.limit_in_bytes"] = "1048576\n"
    oom = exit_cause.OomDetector(7)
    kernel[f"{JOBS}/memory.oom_control"] = "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"
    kernel["/proc/7/cgroup"] = "4:memory:/\n0::/\n"
    kernel["/proc/7/stat"] = stat
    oom.look()
    assert (oom.evidence(), oom.limit()) == ("cgroup", 1 << 20)


def test_a_cgroup_that_is_removed_with_its_process(exit_cause: Any, kernel: dict[str, str]) -> None:
    """Its limit is known still; counters of those above it are not taken for its own."""
    kernel["/sys/fs/cgroup/jobs/memory.events"] = "oom 9\noom_kill 9\n"
    oom = exit_cause.OomDetector(7)
    for path in [path for path in kernel if path.startswith("/sys/fs/cgroup/jobs/nightly")]:
        del kernel[path]
    assert (oom.evidence(), oom.limit()) == ("", 1 << 20)


def test_a_limit_may_be_that_of_a_slice(exit_cause: Any, kernel: dict[str, str]) -> None:
    """The least of the cgroup's and of those above it holds."""
    kernel["/sys/fs/cgroup/jobs/nightly/memory.max"] = "max\n"
    kernel["/sys/fs/cgroup/jobs/memory.max"] = "4194304\n"
    assert exit_cause.OomDetector(7).limit() == 1 << 22


def test_the_machine_is_a_suspicion(exit_cause: Any, kernel: dict[str, str]) -> None:
    """Some process was killed somewhere: that may have been it."""
    oom = exit_cause.OomDetector(7)
    kills(kernel, 0, 5)
    assert oom.evidence() == "vmstat"


def test_who_died_earlier_was_another(exit_cause: Any, kernel: dict[str, str]) -> None:
    """A kill that the process has survived for two looks is none of its own; after one it may still be dying."""
    oom = exit_cause.OomDetector(7)
    kills(kernel, 1, 5)
    oom.look(alive=True)
    assert oom.evidence() == "cgroup"
    oom.look(alive=True)
    assert oom.evidence() == ""


def test_who_is_killed_is_dying_until_it_has_ended(exit_cause: Any, kernel: dict[str, str]) -> None:
    """On a busy machine that takes a while, in which the kill must not be taken for one that it has survived."""
    for pending, killed in (("0000000000000100", True), ("0000000000004000", False)):
        kernel["/proc/7/status"] = f"Name:\tpython\nSigPnd:\t0000000000000000\nShdPnd:\t{pending}\n"
        assert exit_cause.is_dying(7) is killed
    assert exit_cause.is_dying(os.getpid()) is False


def test_a_process_that_moves(exit_cause: Any, kernel: dict[str, str]) -> None:
    """In another cgroup the count begins anew."""
    oom = exit_cause.OomDetector(7)
    kernel["/proc/7/cgroup"] = "0::/other\n"
    kernel["/sys/fs/cgroup/other/memory.events"] = "oom_kill 12\n"
    oom.look()
    assert oom.evidence() == ""
    kernel["/sys/fs/cgroup/other/memory.events"] = "oom_kill 13\n"
    assert oom.evidence() == "cgroup"


def test_an_unreadable_kernel_proves_nothing(exit_cause: Any, kernel: dict[str, str]) -> None:
    """Nothing is known, and nothing raises."""
    kernel.clear()
    oom = exit_cause.OomDetector(7)
    oom.look(alive=True)
    assert (oom.evidence(), oom.limit()) == ("", 0)


def test_a_status_has_a_name(exit_cause: Any) -> None:
    """Exit codes, signals, signals with a core dump, and nothing at all."""
    statuses = [3 << 8, 0, signal.SIGKILL, signal.SIGSEGV | 0x80, signal.SIGABRT, signal.SIGCHLD, 40, None]
    assert [exit_cause.name_of(status) for status in statuses] == [
        *("exit 3", "exit 0", "SIGKILL", "SIGSEGV", "SIGABRT", "SIGCHLD", "signal 40", "unknown"),
    ]


def test_a_number_that_was_given_again(exit_cause: Any) -> None:
    """Another process under the dead one's number is not taken for it."""
    assert exit_cause.exit_status(os.getpid(), "1", -1) is None
