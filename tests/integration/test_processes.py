"""Several processes, one state file: one at a time for a run, side by side for different ones; where the file lies."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path
from typing import Any

import pytest

from conftest import Machine, Scripts
from perdure import step, workflow

WAITING = """
    import sys
    import perdure

    @perdure.step
    def first() -> int:
        return 1

    @perdure.step(timeout=None)
    def wait(name: str) -> str:
        print("waiting", flush=True)
        sys.stdin.readline()
        return name

    @perdure.workflow
    def nightly(name: str) -> str:
        first()
        return wait(name)

    if __name__ == "__main__":
        print("result", nightly(sys.argv[1]))
"""


def said(process: Any) -> str:
    return str(process.stdout.readline().strip())


def test_a_second_process_is_skipped(scripts: Scripts) -> None:
    """It ends at once with exit code 0, having said who has the run; the first goes on undisturbed."""
    script = scripts.write(WAITING)
    holder = scripts.start(script, "monday")
    assert said(holder) == "waiting"
    second = scripts.run(script, "monday")
    assert second.returncode == 0, second.stderr
    assert "result" not in second.stdout
    for part in ("already running", f"pid {holder.pid}", f"on {os.uname().nodename}", "since 20", "#1 first"):
        assert part in second.stderr
    out, _ = holder.communicate("go\n", timeout=60)
    assert out == "result monday\n"


def test_a_killed_holder_is_free_at_once(scripts: Scripts) -> None:
    """No stale lock, no waiting: the next process goes on."""
    script = scripts.write(WAITING)
    holder = scripts.start(script, "monday")
    assert said(holder) == "waiting"
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    heir = scripts.start(script, "monday")
    assert heir.communicate("go\n", timeout=60)[0] == "waiting\nresult monday\n"


def test_a_forked_child_does_not_keep_the_lock(scripts: Scripts) -> None:
    """A child that outlives the run's process does not hold its runs."""
    script = scripts.write(
        """
        import os, signal, sys
        import perdure

        @perdure.step
        def spawn() -> None:
            if os.path.exists("spawned"):
                return
            reading, writing = os.pipe()
            if os.fork() == 0:
                os.close(1); os.close(2)
                signal.pause()
            open("spawned", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)

        @perdure.workflow
        def nightly() -> str:
            spawn()
            return "done"

        os.setpgid(0, 0)
        print(os.getpgid(0), flush=True)
        print(nightly())
        """
    )
    first = scripts.start(script)
    group = int(said(first))
    try:
        first.wait(60)
        assert first.returncode == -signal.SIGKILL
        second = scripts.run(script)
        assert second.stdout.splitlines()[1:] == ["done"], second.stderr
    finally:
        os.killpg(group, signal.SIGKILL)
        first.communicate()


def test_two_processes_write_to_one_file(scripts: Scripts) -> None:
    """Different runs go on side by side; both end well, and each finds its own results."""
    script = scripts.write(
        """
        import sys
        import perdure

        @perdure.step
        def work(name: str, n: int) -> str:
            return f"{name} {n}"

        @perdure.workflow
        def many(name: str) -> list[str]:
            print("begun", flush=True)
            sys.stdin.readline()
            return [work(name, n) for n in range(300)]

        name = sys.argv[1]
        assert many(name) == [f"{name} {n}" for n in range(300)]
        """
    )
    both = [scripts.start(script, name) for name in "ab"]
    for process in both:
        assert said(process) == "begun"
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err


SHOWING = """
    import perdure
    from perdure.config import settings

    @perdure.workflow
    def nightly() -> None: ...

    nightly()
    print(settings.state_path(__file__))
"""


@pytest.mark.parametrize("how", ["beside", "PERDURE_STATE", "WORKFLOW_STATE_PATH", "pyproject", "relative"])
def test_where_the_state_lies(scripts: Scripts, tmp_path: Path, how: str) -> None:
    """Beside the script, whatever the working directory; or where the environment or pyproject.toml says."""
    script = scripts.write(SHOWING, "deep/script.py")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    expected, env = elsewhere / "my.db", {}
    match how:
        case "beside":
            expected = script.parent / ".perdure" / "state.db"
        case "relative":
            env["PERDURE_STATE"] = "my.db"
        case "pyproject":
            scripts.write('[tool.perdure]\nstate = "../elsewhere/my.db"\n', "pyproject.toml")
        case name:
            env[name] = str(expected)
    done = scripts.run(script, cwd=elsewhere, **env)
    assert done.returncode == 0, done.stderr
    assert os.path.samefile(done.stdout.strip(), expected)
    assert expected.stat().st_size > 0


def test_nobody_else_can_read_the_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are 0600 and folders 0700, whatever the umask."""
    from perdure.engines.local import engine

    monkeypatch.setenv("PERDURE_STATE", str(tmp_path / "made" / "state.db"))
    modes: dict[str, str] = {}

    @step
    def look() -> None:
        for path in [tmp_path / "made", *(tmp_path / "made").rglob("*")]:
            modes[path.name] = f"{stat.S_IMODE(path.stat().st_mode):o}"

    @workflow
    def wf() -> None:
        look()
        look()

    before = os.umask(0)
    try:
        wf()
    finally:
        os.umask(before)
        engine.close_all()
    assert {"made", "state.db", "state.db-wal", "state.db-shm", "state.db-locks"} <= modes.keys()
    for name, mode in modes.items():
        assert mode == ("700" if name in ("made", "state.db-locks", "state.db-flight") else "600"), name


def test_many_tasks_share_a_commit(machine: Machine) -> None:
    """Group commit: what many tasks save in one turn of the loop is one transaction."""
    import asyncio

    @step
    async def work(n: int) -> int:
        return n

    @workflow
    async def wf() -> None:
        await asyncio.gather(*(work(n) for n in range(500)))

    commits = count_commits(machine)
    asyncio.run(wf())
    assert len(commits) <= 6  # the run's start and end, and very few for the steps
    assert len(machine.steps()) == 500


def count_commits(machine: Machine) -> list[int]:
    """A list that grows by one with every transaction that is committed."""
    commits: list[int] = []

    def hook() -> bool:
        commits.append(1)
        return False

    machine.engine.store.journal._connection.set_commit_hook(hook)
    return commits
