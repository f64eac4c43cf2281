"""What a resume comes to, where the run is another's, is cancelled, or only waits: no outcome is taken for another."""

from __future__ import annotations

import re
import shlex
import subprocess

from conftest import Scripts
from perdure.operations.deeds import VIA
from perdure.operations.started_commands import OUTCOMES

FLOW = """
    import sys
    import perdure
    from perdure import step, workflow

    @step(retry=None)
    def stuck() -> None:
        print("in", flush=True)
        sys.stdin.readline()
        raise RuntimeError("as told")

    @workflow
    def rco_flow() -> None:
        stuck()

    @workflow
    def rco_wait(day: str) -> str:
        return day + perdure.wait_for("rco-paid", timeout="2d")

    if __name__ == "__main__":
        print(rco_wait(sys.argv[1]) if sys.argv[1:] else rco_flow())
"""


def perdure(scripts: Scripts, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    starter = scripts.write("from perdure.cli import main\nimport sys\nsys.exit(main())\n", "command.py")
    return scripts.run(starter, *args, **env)


def test_a_run_of_another_process_is_skipped_and_a_cancelled_one_named(scripts: Scripts) -> None:
    """In a terminal a skipped run is no failure (0); who has the command given, as the page does, is told that it was
    skipped. A cancelled run is refused with a command that goes on from it, which works."""
    process = scripts.start(scripts.write(FLOW))
    assert process.stdout is not None
    process.stdout.readline()
    plain, asked = perdure(scripts, "resume", "last"), perdure(scripts, "resume", "last", **{VIA: "page"})
    assert (plain.returncode, OUTCOMES[asked.returncode]) == (0, "skipped")
    assert "skipped: " in plain.stderr
    process.communicate("\n")
    assert perdure(scripts, "cancel", "last").returncode == 0
    refused = perdure(scripts, "resume", "last")
    assert refused.returncode == 1
    assert "was cancelled" in refused.stderr
    fork, show = (shlex.split(each)[1:] for each in re.findall("`([^`]*)`", refused.stderr))
    assert fork[0] == "fork"
    assert perdure(scripts, *show).returncode == 0


def test_the_command_that_a_suspended_run_names_goes_on_with_it(scripts: Scripts) -> None:
    """Followed as it stands: with a workflow that has arguments, several in the file, and a state file that was named
    for one command only. A resume that leaves the run to its wait says so by its exit code."""
    script, state = scripts.write(FLOW, "my job.py"), str(scripts.folder / "other state.db")
    left = scripts.run(script, "monday", PERDURE_STATE=state, PERDURE_SUSPEND_AFTER="0s")
    assert left.returncode == 75
    named = re.search("or: (perdure .*), perdure worker", left.stderr)
    assert named is not None
    command = shlex.split(named[1])[1:]
    assert command[:2] == ["resume", "--wait"]
    sent = perdure(scripts, "signal", command[-1], "rco-paid", '" and paid"', "--state", state)
    assert sent.returncode == 0, sent.stderr
    done = perdure(scripts, *command)
    assert (done.returncode, done.stdout) == (0, "'monday and paid'\n"), done.stderr
    assert OUTCOMES[left.returncode] == "suspended"
