"""The command line on a cluster: run, ps, show, resume, cancel, check and worker, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.conftest import Server

import warm
from looking import looked, only_looks
from waiting import until

SOURCE = Path(__file__).parents[2] / "src"


class Desk:
    """A folder with a script in it, and commands that are typed there."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.processes: list[subprocess.Popen[str]] = []
        # Each script has a name of its own: the name is what its workers go by on the cluster.
        self.script = folder / f"script_{folder.name}.py".replace("-", "_")
        ours = ("PERDURE_", "WORKFLOW_", "STEP_TIMEOUT")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self._env = {**clean, "PYTHONPATH": str(SOURCE), "FOLDER": str(folder)}

    def write(self, text: str) -> None:
        """The script, or its next edition."""
        head = "import os, time\nfrom pathlib import Path\nimport perdure\nfrom perdure import step, workflow\n"
        head += "FOLDER = Path(os.environ['FOLDER'])\n"
        self.script.write_text(head + textwrap.dedent(text))

    def start(self, command: str, *args: str) -> subprocess.Popen[str]:
        """Type a command, and do not wait for it."""
        process = warm.Popen(
            [sys.executable, "-m", "perdure", command, *(["--engine", self.url] if command == "run" else []), *args]
            + ([] if command == "run" else ["--engine", self.url]),
            cwd=self.folder,
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def close(self) -> None:
        """Leave nothing running."""
        for process in self.processes:
            process.kill()
            process.communicate()

    def type(self, command: str, *args: str) -> tuple[int, str, str]:
        """Type a command: its exit code, and what it said on both channels."""
        if only_looks((command, *args)):
            done = looked(self.folder, command, *args, "--engine", self.url, FOLDER=str(self.folder))
            return done.returncode, done.stdout, done.stderr
        process = self.start(command, *args)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def told(self, command: str, *args: str) -> Any:
        """What a command says to programs."""
        _, out, err = self.type(command, *args, "--json")
        assert out, err
        return json.loads(out)


@pytest.fixture
def desk(server: Server, tmp_path: Path) -> Iterator[Desk]:
    """A desk beside a cluster."""
    desk = Desk(tmp_path, server.url(dead_after="2s"))
    yield desk
    desk.close()


FRAGILE = """
    @step(retry=None)
    def first(n: int) -> int:
        return n + 1

    @step(retry=perdure.Retry(attempts=2, delay="10ms", jitter=0))
    def fragile(n: int) -> int:
        if not (FOLDER / "mended").exists():
            raise ConnectionError(f"attempt {perdure.attempt()}")
        return n * 2

    @workflow
    def nightly(n: int) -> int:
        return fragile(first(n))
"""


def test_run_show_resume(desk: Desk) -> None:
    """A run that fails is shown with its steps and attempts, and goes on when it is resumed."""
    desk.write(FRAGILE)
    code, out, err = desk.type("run", str(desk.script), "20")
    assert (code, out) == (1, "")
    assert "ConnectionError: attempt 2" in err
    assert "raised on a worker:" in err
    assert ", in fragile\n" in err
    (view,) = (run for run in desk.told("ps")["runs"] if run["script"] == str(desk.script))
    assert (view["status"], view["steps"], view["workflow"]) == ("failed", 1, "nightly")
    shown = desk.told("show", view["id"])
    assert [(each["name"], each["result"]) for each in shown["steps"]] == [("first", 21)]
    assert [each["error"]["message"] for each in shown["open"][0]["failures"]] == ["attempt 1", "attempt 2"]
    assert shown["error"]["type"] == "ConnectionError"
    why = desk.told("why", view["id"])
    assert (why["status"], "fragile(" in why["reasons"][0]) == ("failed", True), why
    assert "failed at attempt 2, " in why["reasons"][0]
    assert "ConnectionError: attempt 2" in why["reasons"][0]

    (desk.folder / "mended").touch()
    code, out, err = desk.type("resume", view["id"])
    assert (code, out) == (0, "42\n"), err
    assert "resumed, with 1 step saved before" in err
    shown = desk.told("show", view["id"])
    assert shown["run"]["status"] == "done"
    assert [(each["name"], each["result"]) for each in shown["steps"]] == [("first", 21), ("fragile", 42)]


def test_ids_and_dead_letters(desk: Desk) -> None:
    """An id stands for one run; dead letters are counted, shown, and told by the exit code."""
    desk.write("""
        @step(retry=None)
        def half(n: int) -> int:
            if n % 2:
                raise ValueError(f"{n} is odd")
            return n // 2

        @workflow
        def halves() -> int:
            return sum(half.map(range(4)).results)
    """)
    for _ in range(2):
        code, out, err = desk.type("run", "--id", f"halves-{desk.folder.name}", str(desk.script))
        assert (code, out) == (3, "1\n"), err
    shown = desk.told("show", f"halves-{desk.folder.name}")
    assert (shown["run"]["status"], shown["run"]["dead_letters"]) == ("dead", 2)
    assert [each["status"] for each in shown["steps"]] == ["done", "dead", "done", "dead"]


WAITING = """
    @step(retry=None)
    def first(n: int) -> int:
        return n

    @step(retry=None, timeout="60s")
    def wait(n: int) -> int:
        (FOLDER / "waiting").touch()
        while not (FOLDER / "go").exists():
            time.sleep(0.02)
        return n

    @step(retry=None)
    def other(n: int) -> int:
        with open(FOLDER / "others", "a") as others:
            print(n, file=others)
        return n

    @workflow
    def long(n: int) -> int:
        BODY
"""


def edition(body: str) -> str:
    """The waiting workflow, as it was edited."""
    return WAITING.replace("BODY", body)


def test_a_worker_serves_and_ends(desk: Desk) -> None:
    """A worker of another process takes the work; told to end, it lets a step under way end first."""
    desk.write(edition("return first(n) + wait(n)"))
    worker = desk.start("worker", str(desk.script))
    assert worker.stderr is not None
    assert "Ctrl-C ends it" in worker.stderr.readline()
    run = desk.start("run", str(desk.script), "4")
    until(lambda: (desk.folder / "waiting").exists())
    (view,) = (each for each in desk.told("ps")["runs"] if each["script"] == str(desk.script))
    why = desk.told("why", view["id"])
    assert why["reasons"][0] == f"it is under way at {desk.url}"
    assert why["reasons"][1].startswith("in flight: wait(4), attempt 1, for ")
    assert any(way["command"].startswith(f"perdure worker {desk.script}") for way in why["ways"])
    worker.terminate()
    (desk.folder / "go").touch()
    out, err = run.communicate(timeout=60)
    assert (out, "2 steps executed" in err) == ("8\n", True), "whichever process has executed them"
    assert worker.wait(60) == 0
    assert "worker ended" in worker.communicate()[1]


def test_cancel(desk: Desk) -> None:
    """A run that is told to end does so when its step has ended, and whoever waits for it is told."""
    desk.write(edition("return first(n) + wait(n)"))
    run = desk.start("run", str(desk.script), "5")
    until(lambda: (desk.folder / "waiting").exists())
    (view,) = (each for each in desk.told("ps")["runs"] if each["script"] == str(desk.script))
    assert view["status"] == "running"
    code, _, err = desk.type("cancel", view["id"])
    assert code == 0, err
    (desk.folder / "go").touch()
    assert "was cancelled" in run.communicate(timeout=60)[1]
    assert run.returncode == 1
    assert desk.told("show", view["id"])["run"]["status"] == "cancelled"
    assert desk.type("cancel", view["id"])[0] == 1


def test_an_edited_script_and_a_run_under_way(desk: Desk) -> None:
    """check says which run would not fit, and where; run nevertheless, it ends as drift; run again, it goes on."""
    desk.write(edition("return first(n) + wait(n)"))
    run = desk.start("run", str(desk.script), "6")
    until(lambda: (desk.folder / "waiting").exists())
    code, out, _ = desk.type("check", str(desk.script))
    assert code == 0
    assert out.endswith("\n1 run under way fits\n")
    run.kill()
    run.communicate()

    desk.write(edition("return other(n) + first(n) + wait(n)"))
    code, out, err = desk.type("check", str(desk.script))
    assert code == 1, err
    assert "does not fit: the run calls first(6); the script calls step 'other' there" in out

    (desk.folder / "go").touch()
    code, _, err = desk.type("run", str(desk.script), "6")
    assert code == 1
    assert "[code-drift]" in err
    assert "the run calls step 'first'; the script calls step 'other' there" in err
    assert "Traceback" not in err
    assert not (desk.folder / "others").exists(), "nothing was executed"

    code, out, err = desk.type("run", str(desk.script), "6")
    assert (code, out) == (0, "18\n"), err
    assert (desk.folder / "others").read_text() == "6\n"


def test_other_inputs_of_a_run_under_way(desk: Desk) -> None:
    """Completed steps that are called with other inputs now are drift, also where Temporal looks at types only."""
    desk.write(edition("return first(n) + wait(n)"))
    run = desk.start("run", str(desk.script), "7")
    until(lambda: (desk.folder / "waiting").exists())
    run.kill()
    run.communicate()
    desk.write(edition("return first(n + 1) + wait(n)"))
    assert "the script calls step 'first' with other inputs there" in desk.type("check", str(desk.script))[1]
    (desk.folder / "go").touch()
    assert "[code-drift]" in desk.type("run", str(desk.script), "7")[2]
    code, _, err = desk.type("run", str(desk.script), "7")
    assert code == 1
    assert "recorded: first(7)" in err
    assert "now:      first(8)" in err


def test_resume_with_accepted_changes(desk: Desk) -> None:
    """Who accepts the changes of a script gets what it calls anew, and keeps the rest."""
    desk.write(FRAGILE)
    assert desk.type("run", str(desk.script), "1")[0] == 1
    desk.write(FRAGILE.replace("fragile(first(n))", "fragile(first(n + 10))"))
    (desk.folder / "mended").touch()
    (view,) = (run for run in desk.told("ps")["runs"] if run["script"] == str(desk.script))
    assert "[code-drift]" in desk.type("resume", view["id"])[2]
    code, out, err = desk.type("resume", view["id"], "--accept-changes")
    assert (code, out) == (0, "24\n"), err


GROWING = """
    import dataclasses

    @dataclasses.dataclass
    class Order:
        n: int

    @step(retry=None)
    def refused(order: Order) -> None:
        with (FOLDER / "ledger").open("a") as ledger:
            ledger.write("refused ")
        raise ValueError("no")

    @workflow
    def nightly(n: int) -> int:
        try:
            refused(Order(n))
        except ValueError:
            pass
        return last(n)

    @step(retry=None)
    def last(n: int) -> int:
        if not (FOLDER / "mended").exists():
            raise ConnectionError("no line")
        return n
"""


def test_a_handled_failure_and_a_class_with_one_more_field(desk: Desk) -> None:
    """It stays history: its inputs are those of the call as it is now."""
    desk.write(GROWING)
    assert desk.type("run", str(desk.script), "1")[0] == 1
    desk.write(GROWING.replace("n: int\n\n", "n: int\n        express: bool = False\n\n", 1))
    (desk.folder / "mended").touch()
    code, out, err = desk.type("run", str(desk.script), "1")
    assert (code, out) == (0, "1\n"), err
    assert (desk.folder / "ledger").read_text() == "refused "


def test_commands_that_need_a_cluster(desk: Desk) -> None:
    """They say so, and how to name one."""
    desk.write(FRAGILE)
    desk.url = "local"
    code, _, err = desk.type("check", str(desk.script))
    assert code == 2
    assert "--engine temporal://HOST:7233/NAMESPACE" in err


def test_two_scripts_of_one_name(desk: Desk) -> None:
    """A cluster knows a script by its file's name, so a worker takes no two of the same."""
    desk.write(FRAGILE)
    (desk.folder / "other").mkdir()
    twin = desk.folder / "other" / desk.script.name
    twin.write_text(desk.script.read_text())
    code, _, err = desk.type("worker", str(desk.script), str(twin))
    assert (code, "two scripts are called" in err) == (2, True)
