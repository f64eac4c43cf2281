"""Commands that only look at runs load no engine: they answer at once, also where an engine cannot be loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from perdure.core.program_version import VERSION

SCRIPT = """
from perdure import step, workflow

@step(retry=None, on_failure="dead_letter")
def charge(n: int) -> int:
    raise ValueError(n)

@workflow
def main() -> None:
    charge(1)

if __name__ == "__main__":
    main()
"""

LOOK = """
import sys
from perdure.cli import main
code = main(sys.argv[1:])
heavy = ("perdure.engines.local", "perdure.engines.temporal", "perdure.alerts", "asyncio", "temporalio", "rich")
print(code, sorted(name for name in heavy if name in sys.modules), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a run with a dead letter has ended."""
    folder = tmp_path_factory.mktemp("light")
    (folder / "script.py").write_text(SCRIPT)
    subprocess.run([sys.executable, "script.py"], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(
    "command",
    ["ps", "show last", "why last", "dlq ls", "dlq show 1", "dlq edit 1 --reset", "dlq export", "doctor"],
)
def test_looking_loads_no_engine(folder: Path, command: str) -> None:
    """Neither an engine nor alerts, asyncio or a library for the screen is imported."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK, *command.split()], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.stderr.splitlines()[-1:] == ["0 []"], done.stderr


def test_the_version_is_one_line() -> None:
    """`perdure --version` prints it without loading the command line."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "perdure", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{VERSION}\n"
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "perdure.core.program_version" in loaded
    assert not loaded & {"cyclopts", "msgspec", "perdure.cli.app"}


def test_a_server_for_agents_without_options_parses_none(folder: Path) -> None:
    """`perdure mcp` loads neither what parses options nor the tools that change something."""
    pytest.importorskip("mcp")
    loud = LOOK.replace("heavy = (", 'heavy = ("cyclopts", "perdure.mcp.writing") or (')
    command = [sys.executable, "-c", loud, "mcp"]
    done = subprocess.run(command, cwd=folder, input="", capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1:] == ["0 []"], done.stderr


def test_a_listing_without_options_parses_none(folder: Path) -> None:
    """`perdure ps` loads neither what parses options nor what cleans inputs, which it does not show."""
    loud = LOOK.replace("heavy = (", 'heavy = ("cyclopts", "perdure.core.redaction.text", ')
    done = subprocess.run([sys.executable, "-c", loud, "ps"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1:] == ["0 []"], done.stderr
    same = subprocess.run(
        [sys.executable, "-c", LOOK, "ps", "--limit", "20"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert "main" in done.stdout
    assert done.stdout == same.stdout
