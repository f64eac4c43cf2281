"""`perdure run`: arguments from the signature, exit codes, the user's own error first, and going on after a failure."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"

FLOW = '''
import enum, os, sys
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Literal
import msgspec
from perdure import Retry, step, workflow

class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"

@dataclass
class Customer:
    name: str
    age: int = 30

class Point(msgspec.Struct):
    x: int

@step
def first(day: str) -> str:
    with open("ledger", "a") as ledger:
        ledger.write(f"first {day}\\n")
    return day

@step(retry=None)
def second(day: str) -> str:
    if not os.path.exists("mended"):
        raise RuntimeError("the bank said no")
    return f"{day} done"

@workflow
def fragile(day: str) -> str:
    """Two steps, of which the second fails until it is mended."""
    return second(first(day))

@workflow
async def typed(
    day: date, amount: Decimal, files: list[Path], /, *, colour: Colour = Colour.RED, dry: bool = False,
    mode: Literal["fast", "slow"] = "slow", customer: Customer | None = None, at: Point | None = None, id: int = 0,
) -> str:
    """Take everything.

    Args:
        day: the day to be charged.
    """
    return repr((day, amount, files, colour, dry, mode, customer, at, id))

@step(retry=None)
def picky(n: int) -> int:
    print("looking at", n)
    if n == 2:
        raise ValueError("two is bad")
    return n

@workflow
def batch() -> int:
    return len(picky.map(range(4)).results)

@workflow
def refused() -> object:
    return bad()

@step
def bad() -> object:
    return object()

if __name__ == "__main__":
    fragile("today")
'''


def perdure(folder: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PERDURE_", "WORKFLOW_"))}
    return subprocess.run(
        [sys.executable, "-m", "perdure", *args],
        cwd=folder,
        env={**clean, "PYTHONPATH": str(SOURCE), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "flow.py").write_text(FLOW)
    return tmp_path


def test_a_failed_run_shows_the_users_error_first_and_goes_on_after_the_fix(folder: Path) -> None:
    """The traceback is the script's own, without a frame of perdure's; what was saved and what to do come after it; the
    same command (or the script itself) goes on without doing the first step again."""
    failed = perdure(folder, "run", "flow.py:fragile", "monday")
    assert failed.returncode == 1
    assert failed.stdout == ""
    trace = failed.stderr[failed.stderr.index("Traceback") :]
    assert "RuntimeError: the bank said no" in trace
    assert trace.index("flow.py") < trace.index("RuntimeError")
    assert str(SOURCE) not in trace
    assert "asyncio" not in trace
    assert "1 step saved" in trace
    run_id = next(line.split()[1] for line in failed.stderr.splitlines() if line.startswith("run "))
    assert f"perdure show {run_id}" in trace
    assert f"perdure resume {run_id}" in trace

    (folder / "mended").touch()
    again = perdure(folder, "run", "--json", "flow.py:fragile", "monday")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == {
        "run": run_id, "workflow": "fragile", "status": "done", "result": "monday done", "dead_letters": 0
    }  # fmt: skip
    assert "resumed, with 1 step saved before" in again.stderr
    assert (folder / "ledger").read_text() == "first monday\n"


def test_the_command_and_the_script_itself_go_on_with_each_others_runs(folder: Path) -> None:
    """`python flow.py` fails, `perdure run flow.py:fragile` with the same arguments resumes that run."""
    script = subprocess.run(
        [sys.executable, "flow.py"], cwd=folder, env={**os.environ, "PYTHONPATH": str(SOURCE)}, capture_output=True
    )
    assert script.returncode == 1
    (folder / "mended").touch()
    done = perdure(folder, "run", "flow.py:fragile", "today")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "'today done'\n"
    assert (folder / "ledger").read_text() == "first today\n"


def test_arguments_are_typed_by_the_signature(folder: Path) -> None:
    """Each parameter gets a value of its annotated type; a parameter of the workflow goes before an option of perdure's
    with the same name, which is still there before the file's name."""
    done = perdure(
        folder, "run", "--id", "named", "flow.py:typed", "2026-11-23", "3.10", "a.txt", "b.txt", "--colour", "blue",
        "--dry", "--mode", "fast", "--customer.name", "Ada", "--at", '{"x": 3}', "--id", "7",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert eval(done.stdout) == (
        "(datetime.date(2026, 11, 23), Decimal('3.10'), [PosixPath('a.txt'), PosixPath('b.txt')], "
        "<Colour.BLUE: 'blue'>, True, 'fast', Customer(name='Ada', age=30), Point(x=3), 7)"
    )
    listed = json.loads(perdure(folder, "ps", "--json").stdout)
    assert [run["id"] for run in listed] == ["named"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["flow.py:typed", "yesterday", "1", "a"], "unable to convert"),
        (["flow.py:fragile"], "requires an argument"),
        (["flow.py:fragile", "monday", "--nope"], "--nope"),
        (["flow.py"], "perdure run flow.py:fragile    Two steps"),
        (["flow.py:fragil", "x"], "did you mean 'fragile'?"),
        (["gone.py"], "gone.py"),
        (["--nope", "flow.py"], "--nope"),
        ([], "Usage: perdure run"),
    ],
)
def test_a_wrong_command_runs_nothing_and_says_what_is_wrong(folder: Path, args: list[str], said: str) -> None:
    """Exit code 2, no traceback, no state file."""
    wrong = perdure(folder, "run", *args)
    assert wrong.returncode == (2 if args else 0)
    assert said in wrong.stderr + wrong.stdout
    assert "Traceback" not in wrong.stderr
    assert not (folder / ".perdure").exists()


def test_help_shows_the_workflows_own_page(folder: Path) -> None:
    """Docstring, parameters with their descriptions and choices, and perdure's options; nothing runs."""
    shown = perdure(folder, "run", "flow.py:typed", "--help")
    assert shown.returncode == 0
    for text in ("Take everything.", "the day to be charged.", "--colour", "red, blue", "--json", "--state"):
        assert text in shown.stdout
    assert not (folder / ".perdure").exists()


def test_dead_letters_are_an_exit_code_of_their_own(folder: Path) -> None:
    """3, also when the result is asked for again; with --json standard output is one line, whatever is printed."""
    done = perdure(folder, "run", "flow.py:batch", "--id", "b", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["dead_letters"] == 1
    assert "looking at 3" in done.stderr
    assert "1 dead letter, see: perdure dlq ls --run b" in done.stderr
    again = perdure(folder, "run", "flow.py:batch", "--id", "b")
    assert (again.returncode, again.stdout) == (3, "3\n")
    assert "done before" in again.stderr


def test_an_error_of_perdures_own_has_no_traceback(folder: Path) -> None:
    """What happened and what to do; a run that it ends has failed (1), it was no wrong command (2)."""
    failed = perdure(folder, "run", "flow.py:refused", "--state", "elsewhere.db")
    assert failed.returncode == 1
    assert "error [not-storable]: step 'bad' returns a value that cannot be saved" in failed.stderr
    assert "what to do: " in failed.stderr
    assert "Traceback" not in failed.stderr
    assert f"--state {folder / 'elsewhere.db'}" in failed.stderr
    assert not (folder / ".perdure").exists()


def test_a_script_that_cannot_be_loaded_shows_its_own_error(folder: Path) -> None:
    """Python's message about the script, without the machinery that loads it."""
    (folder / "broken.py").write_text("import json\njson.loads('{')\n")
    failed = perdure(folder, "run", "broken.py")
    assert failed.returncode == 1
    assert failed.stderr.startswith("Traceback")
    assert 'broken.py", line 2' in failed.stderr
    assert "frozen" not in failed.stderr
    assert str(SOURCE) not in failed.stderr
    assert "nothing was run" in failed.stderr


def test_a_script_that_exits_keeps_its_exit_code(folder: Path) -> None:
    """sys.exit in a workflow is no end of the run: the code is the script's, the run can be resumed."""
    (folder / "leaving.py").write_text(
        "import sys\nfrom perdure import workflow\n@workflow\ndef leave() -> None:\n    sys.exit(7)\n"
    )
    left = perdure(folder, "run", "leaving.py")
    assert left.returncode == 7
    assert "stopped by sys.exit; 0 steps saved; run again to resume" in left.stderr
    assert "Traceback" not in left.stderr
    (listed,) = json.loads(perdure(folder, "ps", "--json").stdout)
    assert listed["status"] == "interrupted"


SLOW = """
import sys, time
from perdure import step, workflow

@step
def quick() -> int:
    return 1

@step
def endless() -> int:
    print("here", flush=True)
    sys.stdin.read()
    return 2

@workflow
def slow() -> int:
    return quick() + endless()
"""


def test_interrupting_and_overlapping(tmp_path: Path) -> None:
    """A second start while one runs is skipped: exit code 0, and one line that says who has it. Ctrl-C gives one line
    and exit code 130, and the run can be resumed."""
    (tmp_path / "slow.py").write_text(SLOW)
    command = [sys.executable, "-m", "perdure", "run", "slow.py"]
    env = {**os.environ, "PYTHONPATH": str(SOURCE)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, env=env, text=True, **pipes) as first:  # type: ignore[call-overload]
        assert first.stdout.readline() == "here\n"
        second = perdure(tmp_path, "run", "slow.py")
        assert (second.returncode, second.stdout) == (0, "")
        assert f"pid {first.pid}" in second.stderr
        assert len(second.stderr.splitlines()) == 1
        (listed,) = json.loads(perdure(tmp_path, "ps", "--json").stdout)
        assert (listed["status"], listed["pid"]) == ("running", first.pid)

        first.send_signal(signal.SIGINT)
        _, err = first.communicate(timeout=60)
    assert first.returncode == 130
    assert "Traceback" not in err
    assert "interrupted; 1 step saved; run again to resume" in err.splitlines()[-1]
    (listed,) = json.loads(perdure(tmp_path, "ps", "--json").stdout)
    assert listed["status"] == "interrupted"
    resumed = subprocess.run(
        [*command[:3], "resume", "last"], cwd=tmp_path, env=env, input="", text=True, capture_output=True
    )
    assert (resumed.returncode, resumed.stdout) == (0, "here\n3\n"), resumed.stderr


def test_importing_perdure_does_not_import_the_command_line() -> None:
    """Scripts that run by themselves do not pay for Cyclopts and Rich."""
    code = "import sys, perdure; print({'cyclopts', 'rich', 'perdure.cli', 'perdure.operations'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(SOURCE)}, capture_output=True, text=True
    )
    assert done.stdout == "set()\n"


def test_no_result_prints_nothing(tmp_path: Path) -> None:
    """A workflow that returns None says nothing on standard output; with --json it says null."""
    script = """
    from perdure import workflow

    @workflow
    def nothing(*words: str) -> None:
        pass
    """
    (tmp_path / "nothing.py").write_text(textwrap.dedent(script))
    assert perdure(tmp_path, "run", "nothing.py", "a", "b").stdout == ""
    assert json.loads(perdure(tmp_path, "run", "nothing.py", "--json").stdout)["result"] is None
