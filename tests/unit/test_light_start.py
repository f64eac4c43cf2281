"""A script of some steps that all succeed loads and asks little: programs are started by the thousand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from perdure.engines.local.unfinished import MOST_FOLDERS

PROGRAM = """
import os
import sys

sys.modules["typing_extensions"] = None  # not part of a plain installation; it would load inspect
import apsw
before = set(sys.modules)
from perdure import step, workflow

@step
def add(n: int, by: int = 1) -> int:
    return n + by

@workflow
def main(n: int) -> int:
    return add(add(add(n), by=1), 1)

def count(connection):
    connection.trace_v2(apsw.SQLITE_TRACE_STMT, lambda event: print("statement", event["sql"]), id="count")

if os.environ.get("COUNT"):
    apsw.connection_hooks.append(count)
main(0)
for name in set(sys.modules) - before:
    print("module", name)
"""

UNUSED = {
    *("ast", "asyncio", "copy", "dataclasses", "importlib.util", "inspect", "json", "logging", "random", "shutil"),
    *("msgspec.inspect", "signal", "socket", "subprocess", "textwrap"),
    *("perdure.catalogue.rules", "perdure.config.secrets", "perdure.core.execution.drift", "perdure.store.forks"),
    *("perdure.core.policies.breaker", "perdure.core.execution.map_items", "perdure.engines.local.handoff"),
}
"""Modules that only other programs need, or those in which something fails."""

MOST_MODULES, MOST_STATEMENTS = 180, 50
"""Of perdure's own, and on a state file that is there: a few more than there are. Who needs more says so here."""


def test_a_plain_program_loads_and_asks_little(tmp_path: Path) -> None:
    """Three steps that succeed: no module that they do not use, and few statements, when the state file is there.

    The program is a project of its own, so far down that what lies in the folders above says nothing to it.
    """
    folder = tmp_path.joinpath(*["below"] * MOST_FOLDERS)
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text('[project]\nname = "plain"\n')
    for count in ("", "1"):
        environment = {**os.environ, "COUNT": count}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], cwd=folder, capture_output=True, text=True, check=False, env=environment
        )
        assert (done.returncode, done.stderr) == (0, "")
    loaded = {line.removeprefix("module ") for line in done.stdout.splitlines() if line.startswith("module ")}
    assert loaded & UNUSED == set()
    assert len([name for name in loaded if name.startswith("perdure.")]) <= MOST_MODULES
    assert 10 < len([line for line in done.stdout.splitlines() if line.startswith("statement ")]) <= MOST_STATEMENTS
