"""A run that was killed is cleaned up when it is cancelled, from its journal."""

from __future__ import annotations

import subprocess
from pathlib import Path

from conftest import Scripts

FLOW = """
    import os, sys
    from pathlib import Path
    from perdure import defer, step, workflow

    @step
    def close(what: str) -> None:
        with open("ledger", "a") as ledger:
            ledger.write(f"close {what}\\n")

    @step(undo=close)
    def make(what: str) -> str:
        return what

    @workflow
    def flow() -> None:
        make("a")
        defer(close, "b")
        os.kill(os.getpid(), 9)

    if __name__ == "__main__":
        flow()
"""


def perdure(scripts: Scripts, *args: str) -> subprocess.CompletedProcess[str]:
    """Run the command with these arguments."""
    command = scripts.write("from perdure.cli import main\nimport sys\nsys.exit(main())\n", "command.py")
    return scripts.run(command, *args)


def test_a_crashed_run_that_is_cancelled_is_cleaned_up(scripts: Scripts) -> None:
    """`perdure cancel` makes the clean-ups itself, from what the journal holds, also if the script was edited since."""
    script = scripts.write(FLOW)
    assert scripts.run(script).returncode == -9
    script.write_text(script.read_text().replace('make("a")', 'make("another")'))
    done = perdure(scripts, "cancel", "last")
    assert (done.returncode, "is cancelled" in done.stderr) == (0, True), done.stderr
    assert (scripts.folder / "ledger").read_text().splitlines() == ["close b", "close a"]
    assert '"cancelled"' in perdure(scripts, "ps", "--json").stdout


def test_a_clean_up_whose_step_is_gone_is_a_dead_letter(scripts: Scripts, tmp_path: Path) -> None:
    """The run is cancelled all the same, and the command says what was not put away."""
    script = scripts.write(FLOW)
    assert scripts.run(script).returncode == -9
    script.unlink()
    done = perdure(scripts, "cancel", "last")
    assert done.returncode == 1
    assert "defer:close could not be made" in done.stderr
    assert "is cancelled" in done.stderr
    assert "defer:close" in perdure(scripts, "dlq", "ls").stdout
