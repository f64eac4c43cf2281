"""What has been done of each figure: a file of JSON lines, one for each part and each control."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import apsw

from .form import Figures

ROOT = Path(__file__).parents[2]


@dataclass
class Done:
    """Everything that was done of one figure with one seed.

    Args:
        parts: the numbers of the parts.
        figures: what they found, together.
        control: what the control found; None if it has not run.
        where: on what the parts were measured, each different answer once (see `surroundings`).
        cases: how many cases were measured on each of these.
        seconds: of all parts.
    """

    parts: set[int] = field(default_factory=set)
    figures: Figures = field(default_factory=Figures)
    control: Figures | None = None
    where: list[dict[str, str]] = field(default_factory=list)
    cases: list[int] = field(default_factory=list)
    seconds: float = 0.0


class Progress:
    """The files in a folder.

    Args:
        folder: is made if it is missing.
        seed: lines of other seeds are left alone.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._seed = seed

    def of(self, name: str) -> Done:
        """What has been done of the figure with that name."""
        done = Done()
        for line in self._lines(name):
            if line["seed"] != self._seed:
                continue
            found = Figures.read(line["found"])
            if line["part"] is None:
                done.control = found
                continue
            if line["part"] in done.parts:
                continue
            done.parts.add(line["part"])
            done.figures.add(found)
            done.seconds += line["seconds"]
            if line["where"] not in done.where:
                done.where.append(line["where"])
                done.cases.append(0)
            done.cases[done.where.index(line["where"])] += found.cases
        return done

    def write(self, name: str, part: int | None, found: Figures, seconds: float) -> None:
        """Write down a part; None stands for the control."""
        self._folder.mkdir(parents=True, exist_ok=True)
        line = {
            "part": part,
            "seed": self._seed,
            "seconds": round(seconds, 3),
            "where": surroundings(),
            "found": found.written(),
        }
        with self._file(name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, separators=(",", ":")) + "\n")

    def forget(self, name: str) -> None:
        """Begin that figure anew."""
        self._file(name).unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.jsonl"

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        file = self._file(name)
        for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
            try:
                yield json.loads(line)
            except ValueError:
                continue  # the runner was killed while it wrote: the part is done anew


@cache
def surroundings() -> dict[str, str]:
    """What a reader has to know: the day, the versions, the machine."""
    from benchmarks import machine  # the command runs at the root of the repository

    # The tree of the sources says which code it was, also after a rebase.
    tree = subprocess.run(
        ["git", "rev-parse", "--short=10", "HEAD:src/perdure"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    facts = machine.facts(Path.cwd())
    return {
        "day": datetime.now(UTC).date().isoformat(),
        "perdure": version("perdure"),
        "source": tree.stdout.strip() or "not from git",
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "machine": f"{facts['system']}, {facts['cores']} cores",
        "file system": facts["file system"],
    }
