"""A script that is moved away from its state: the unfinished run is left behind, and all is done again."""

from __future__ import annotations

import re
import shlex
import shutil
import sqlite3
import sys
import zipapp
from contextlib import closing
from typing import Any

import pytest

import warm
from conftest import SOURCE, Scripts, _clean

SCRIPT = """
    import os
    from perdure import step, workflow

    @step
    def charge(order: int) -> int:
        print("charging", order)
        return order

    @step(retry=None)
    def send(order: int) -> int:
        if not os.path.exists("up"):
            raise OSError("not yet")
        return order

    @workflow
    def moved_away() -> int:
        return send(charge(1))

    if __name__ == "__main__":
        moved_away()
"""


@pytest.mark.parametrize(
    ("where", "name"), [("jobs", "job.py"), ("a/b", "job.py"), ("../beside", "job.py"), ("pkg", "work.py")]
)
def test_the_run_that_is_left_behind_is_named(scripts: Scripts, where: str, name: str) -> None:
    """Moved into a folder below that of its state, or started from there, also renamed: one line with a command that,
    as it stands, goes on with the run and executes no completed step. A script of another name without the steps that
    the run has called, and the same one once more, say nothing."""
    script = scripts.write(SCRIPT, "job.py")
    assert scripts.run(script).returncode == 1
    (scripts.folder / "up").touch()
    target = scripts.folder / where
    target.mkdir(parents=True)
    (target / "other.py").write_text(
        script.read_text().replace("def charge", "def bill").replace("charge(1)", "bill(1)")
    )
    script.rename(target / name)
    assert "is unfinished in" not in scripts.run(target / "other.py").stderr
    shutil.rmtree(target / ".perdure")
    said = scripts.run(target / name).stderr
    (command,) = re.findall("go on with it: perdure (.*)", said)
    assert "is unfinished in" in said
    starter = scripts.write("from perdure.cli import main\nimport sys\nsys.exit(main())\n", "command.py")
    done = scripts.run(starter, *shlex.split(command))
    assert done.returncode == 0, done.stderr
    assert "charging" not in done.stdout
    assert "is unfinished in" not in scripts.run(target / name).stderr


def test_a_process_that_uses_the_original_has_not_died_for_who_looks_at_a_copy(scripts: Scripts) -> None:
    """Its lock is not beside the copy; that the process lives is seen, and that it is another file that it uses."""
    script = scripts.write(
        "import sys\nfrom perdure import step, workflow\n"
        "@step(timeout=None)\ndef waits():\n    print('in', flush=True); return sys.stdin.readline()\n"
        "@workflow\ndef copied():\n    waits()\n"
        "if __name__ == '__main__': copied()\n"
    )
    running = scripts.start(script)
    assert running.stdout is not None
    assert running.stdout.readline() == "in\n"
    shutil.copytree(scripts.folder / ".perdure", scripts.folder / "copy")
    starter = scripts.write("from perdure.cli import main\nimport sys\nsys.exit(main())\n", "command.py")
    said = scripts.run(starter, "why", "last", "--state", str(scripts.folder / "copy" / "state.db")).stdout
    running.communicate("\n")
    assert f"its process was pid {running.pid}: it lives" in " ".join(said.split())
    assert "died" not in said


BOOKING = """
    import os
    import perdure
    from perdure import step, workflow

    @step
    def cancel_seat(seat: str) -> None:
        print("cancelled", seat)

    @step(retry=None)
    def pay() -> None:
        if not os.path.exists("up"):
            raise OSError("not yet")

    @workflow
    def booking() -> str:
        perdure.defer(cancel_seat, "IC1")
        pay()
        return "paid"

    if __name__ == "__main__":
        booking()
"""


@pytest.mark.parametrize(
    ("bring", "name", "command"),
    [
        (shutil.move, "job.py", ["cancel", "last"]),
        (shutil.move, "other.py", ["cancel", "last", "other.py"]),
        (shutil.copytree, "job.py", ["resume", "last"]),
    ],
)
def test_a_folder_is_moved_as_a_whole(scripts: Scripts, bring: Any, name: str, command: list[str]) -> None:
    """Or copied: commands load the script that lies there now, or the one that is named, and find its steps."""
    script = scripts.write(BOOKING, "a/job.py")
    assert scripts.run(script).returncode == 1
    bring(scripts.folder / "a", scripts.folder / "b")
    there = scripts.folder / "b"
    (there / "job.py").rename(there / name)
    (there / "up").touch()
    starter = scripts.write("from perdure.cli import main\nimport sys\nsys.exit(main())\n", "command.py")
    done = scripts.run(starter, *command, cwd=there)
    assert done.returncode == 0, done.stderr
    assert "cancelled IC1" in done.stdout


ZIPPED = """
import sys
from perdure import step, workflow


@step(retry=None)
def work(n: int) -> int:
    if n == 2 and "fail" in sys.argv:
        raise ValueError("not yet")
    return n


@workflow
def zipped() -> int:
    return work(1) + work(2)
"""


def test_a_run_of_a_zipapp(scripts: Scripts) -> None:
    """No command loads a script out of an archive: each says so, and what to run. The archive that is run again goes
    on with its run."""
    scripts.write(ZIPPED, "app/flows.py")
    scripts.write("from flows import zipped\nif __name__ == '__main__':\n    print(zipped())\n", "app/__main__.py")
    archive = scripts.folder / "app.pyz"
    zipapp.create_archive(scripts.folder / "app", archive)
    assert "ValueError: not yet" in scripts.run(archive, "fail", fresh=True).stderr
    with closing(sqlite3.connect(scripts.folder / ".perdure" / "state.db")) as connection:
        (run,) = connection.execute("SELECT id FROM run").fetchone()
    for command in ("ps",), ("why", run), ("resume", run):
        args = [sys.executable, "-m", "perdure", *command]
        environment = {**_clean(), "PYTHONPATH": str(SOURCE)}
        said = warm.run(args, cwd=scripts.folder, env=environment, capture_output=True, text=True, timeout=120)
        assert "lies in an archive, of which no command loads it" in said.stdout + said.stderr, command
        assert f"python {archive}" in said.stdout + said.stderr, command
    done = scripts.run(archive, fresh=True)
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr
    assert "with 1 step saved before" in done.stderr
