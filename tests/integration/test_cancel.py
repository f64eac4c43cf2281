"""`perdure cancel`: a run that is being executed stops at its next safe point, cleans up, and is over."""

from __future__ import annotations

import subprocess

import pytest

from conftest import Scripts

FLOW = """
    import asyncio, sys
    from perdure import Retry, defer, step, workflow
    from perdure.engines.local import limits

    limits.LOOK = 0  # seconds: a step that begins sooner than a run looks again would not be kept from it

    @step
    def close(what: str) -> None:
        print("close", what, flush=True)

    @step(undo=close)
    def make(what: str) -> str:
        return what

    @step
    def wait_for_word() -> None:
        print("ready", flush=True)
        sys.stdin.readline()

    @step(retry=Retry(delay="1h", cap="1h", total="5h"))
    def flaky() -> None:
        print("ready", flush=True)
        raise RuntimeError("later")

    @step(retry=Retry(delay="1h", cap="1h", total="5h"))
    async def aflaky() -> None:
        print("ready", flush=True)
        raise RuntimeError("later")

    @workflow
    def between() -> None:
        defer(close, "a")
        make("b")
        wait_for_word()
        make("c")
        print("not stopped", flush=True)

    @workflow
    def last() -> None:
        make("b")
        wait_for_word()

    @workflow
    def waiting() -> None:
        defer(close, "a")
        flaky()

    @workflow
    async def concurrently() -> None:
        defer(close, "a")
        await asyncio.gather(aflaky(), aflaky())

    @workflow
    def child() -> None:
        waiting()

    if __name__ == "__main__":
        name = sys.argv[1]
        if name == "concurrently":
            asyncio.run(concurrently())
        else:
            globals()[name]()
"""


def perdure(scripts: Scripts, *args: str) -> subprocess.CompletedProcess[str]:
    starter = scripts.write("from perdure.cli import main\nimport sys\nsys.exit(main())\n", "command.py")
    return scripts.run(starter, *args)


@pytest.mark.parametrize(
    ("name", "closed"),
    [
        ("between", ["close b", "close a"]),
        ("waiting", ["close a"]),
        ("concurrently", ["close a"]),
        ("child", ["close a"]),
    ],
)
def test_a_run_under_way_stops_at_its_next_safe_point(scripts: Scripts, name: str, closed: list[str]) -> None:
    """Between two steps or in a wait; its clean-ups are made by the process itself, which ends with the error."""
    process = scripts.start(scripts.write(FLOW), name)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    parent = next(line.split()[0] for line in perdure(scripts, "ps").stdout.splitlines() if name in line)
    told = perdure(scripts, "cancel", parent)
    assert (told.returncode, f"pid {process.pid}" in told.stderr) == (0, True), told.stderr
    if name == "between":
        assert '"stopping"' in perdure(scripts, "ps", "--json").stdout
    out, err = process.communicate("go on\n", timeout=60)
    said = [line for line in out.splitlines() if line != "ready"]
    assert said == closed, err
    assert process.returncode == 1
    assert "was cancelled" in err
    assert perdure(scripts, "ps", "--status", "cancelled").stdout.count(parent) == 1
    assert perdure(scripts, "cancel", parent).returncode == 1


def test_a_run_that_is_done_before_a_safe_point_says_that_it_was_asked_to_end(scripts: Scripts) -> None:
    """Asked within its last step: what it has done stands, and whoever asked is told, by `why` too."""
    process = scripts.start(scripts.write(FLOW), "last")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert perdure(scripts, "cancel", "last").returncode == 0
    out, err = process.communicate("go on\n", timeout=60)
    assert (out, process.returncode) == ("", 0)
    told = "was asked to end, and was done before its next safe point: nothing of it is undone"
    assert told in err
    why = perdure(scripts, "why", "last").stdout
    assert "it was done" in why
    assert told in why


def test_a_cancelled_process_that_dies_first_does_not_go_on(scripts: Scripts) -> None:
    """The request is in the file: whoever resumes the run ends it."""
    script = scripts.write(FLOW)
    process = scripts.start(script, "between")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert perdure(scripts, "cancel", "last").returncode == 0
    process.kill()
    process.communicate()
    again = scripts.run(script, "between")
    assert again.returncode == 1
    assert again.stdout.splitlines() == ["close b", "close a"]
    assert '"cancelled"' in perdure(scripts, "ps", "--json").stdout


def test_a_failed_run_is_cleaned_up_when_it_is_cancelled(scripts: Scripts) -> None:
    """What was deferred waits for the end of the run, which that is; undone was what can be when it failed."""
    script = scripts.write(
        """
        from perdure import defer, step, workflow

        @step
        def close() -> None:
            print("close", flush=True)

        @step
        def refund(what: str) -> None:
            print("refund", flush=True)

        @step(undo=refund)
        def charge() -> str:
            return "receipt"

        @workflow
        def flow() -> None:
            defer(close)
            charge()
            raise ValueError("no")

        if __name__ == "__main__":
            flow()
        """
    )
    failed = scripts.run(script)
    assert (failed.stdout, "1 deferred call waits until the run is done or cancelled" in failed.stderr) == (
        "refund\n",
        True,
    )
    done = perdure(scripts, "cancel", "last")
    assert (done.returncode, done.stdout) == (0, "close\n")


def test_a_child_is_cancelled_with_its_parent_only(scripts: Scripts) -> None:
    """The error names whom to cancel."""
    process = scripts.start(scripts.write(FLOW), "child")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    child = next(line.split()[0] for line in perdure(scripts, "ps", "--all").stdout.splitlines() if ".waiting" in line)
    refused = perdure(scripts, "cancel", child)
    assert refused.returncode != 0
    assert "child run" in refused.stderr
    process.kill()
    process.communicate()
