"""What the machine is like, without saying which one it is."""

from __future__ import annotations

import compileall
import os
import platform
from importlib.util import find_spec
from pathlib import Path

MEMORY_FILE_SYSTEMS = frozenset({"tmpfs", "ramfs", "overlay", "unknown"})


def file_system_of(folder: Path) -> str:
    """The type of the file system that a folder lies on, such as "ext4"; "unknown" where the system does not tell."""
    folder = folder.resolve()
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    found = ("", "unknown")
    for line in lines:
        left, _, right = line.partition(" - ")
        mounted = left.split()[4]
        if folder.is_relative_to(mounted) and len(mounted) >= len(found[0]):
            found = (mounted, right.split()[0])
    return found[1]


def as_installed() -> None:
    """Have bytecode of perdure, as pip leaves it: a checkout may have none, and compiling takes five times a start."""
    found = find_spec("perdure")
    assert found is not None
    assert found.origin is not None
    compileall.compile_dir(Path(found.origin).parent, quiet=1)


def facts(folder: Path) -> dict[str, str]:
    """What a reader has to know to compare the figures with others."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "file system": file_system_of(folder),
    }
