"""`perdure cancel` on one machine: an unfinished run that nobody executes is ended for good."""

from __future__ import annotations

import subprocess

from conftest import Scripts

FLOW = """
    import sys
    from perdure import step, workflow

    @step(retry=None)
    def stuck() -> None:
        print("in", flush=True)
        if sys.stdin.readline() == "fail\\n":
            raise RuntimeError("as told")

    @workflow
    def flow() -> None:
        stuck()

    if __name__ == "__main__":
        flow()
"""


def perdure(scripts: Scripts, *args: str) -> subprocess.CompletedProcess[str]:
    starter = scripts.write("from perdure.cli import main\nimport sys\nsys.exit(main())\n", "command.py")
    return scripts.run(starter, *args)


def test_a_failed_run_is_cancelled_and_never_resumed(scripts: Scripts) -> None:
    """It is shown as cancelled, the next call starts a new run, and cancelling again does nothing."""
    script = scripts.write(FLOW)
    process = scripts.start(script)
    process.communicate("fail\n")
    first = perdure(scripts, "ps", "--json").stdout
    assert '"failed"' in first
    done = perdure(scripts, "cancel", "last")
    assert (done.returncode, "is cancelled" in done.stderr) == (0, True), done.stderr
    assert '"cancelled"' in perdure(scripts, "ps", "--json").stdout
    assert perdure(scripts, "cancel", "last").returncode == 1
    scripts.start(script).communicate("fail\n")
    assert perdure(scripts, "ps", "--json").stdout.count('"workflow"') == 2
