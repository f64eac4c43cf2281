"""Promise P13: a recorded call is only made again with the function, instance and script that it was made with."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.integration.script_places import JOB, Place

from perdure.config.script_definitions import may_define

WAYS = {
    "python -m": ["-m", "app.job"],
    "python": ["app/job.py"],
    "import": ["-c", "from app.job import main; main()"],
    "run": ["-m", "perdure", "run", "app/job.py"],
    "resume": ["-m", "perdure", "resume", "last", "--state", "app/.perdure/state.db"],
}

TASKS = """
import os, perdure
from perdure import step
@step(retry=None)
def back(order): print("SHOP back", order, flush=True)
@step(retry=None, undo=back)
def handle(order):
    if order == 2 and not os.path.exists("fixed"): raise ValueError("declined")
    print("SHOP", order, flush=True)
    return order
"""

CRASH = """
@step(retry=None)
def crash_once():
    if not os.path.exists("crashed"):
        open("crashed", "w").close(); os.kill(os.getpid(), 9)
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A folder of its own."""
    return Place(tmp_path)


FIRST = [way for way in WAYS if way != "resume"]
# Each goes on as it began and as the next one does: all are connected, so that one name that differs is found.
CONNECTED = [*zip(FIRST, WAYS, strict=False), *zip(FIRST, [*WAYS][1:], strict=True)]


@pytest.mark.parametrize(
    ("first", "second", "package"),
    [(first, second, package) for package in (True, False) for first, second in CONNECTED],
)
def test_a_handled_failure_stays_handled_however_the_run_goes_on(
    place: Place, first: str, second: str, package: bool
) -> None:
    """The script's module has one name, whether it is executed, imported or loaded; what was deferred is found."""
    place.write(JOB, "app/job.py")
    if package:
        place.write("", "app/__init__.py")
    place.python(*WAYS[first], status=-9)
    out = place.python(*WAYS[second], status=0)
    said = out.replace(str(place.folder), "")  # the script that is loaded is named, and the folder after this test
    assert (said.count("CHARGE"), said.count("handled"), said.count("CLEAN")) == (0, 1, 1)


@pytest.mark.parametrize("package", [True, False], ids=["package", "no __init__"])
def test_two_modules_of_one_file_name_are_two(place: Place, package: bool) -> None:
    """A redrive, and an undoing in another process, call the step of the module that was called before."""
    for name in ("shop", "refunds"):
        place.write(TASKS.replace("SHOP", name.upper()), f"{name}/tasks.py")
        if package:
            place.write("", f"{name}/__init__.py")
    place.write(
        f"""
import os
from perdure import step, workflow
import shop.tasks, refunds.tasks
{CRASH}
@workflow
def nightly():
    shop.tasks.handle.map([1, 2])
    crash_once()
    raise SystemError("the end")
if __name__ == "__main__":
    nightly()
""",
        "main.py",
    )
    place.python("main.py", status=-9)
    place.write("", "fixed")
    out = place.perdure("dlq", "redrive", "1", status=0)
    assert "SHOP 2" in out
    assert "REFUNDS" not in out
    out = place.perdure("cancel", "last", status=0)
    assert "SHOP back 1" in out
    assert "REFUNDS" not in out


def test_a_step_that_was_moved_is_called_when_its_file_is_named(place: Place) -> None:
    """Not found in its module, it is refused with where it is; the file says that it is meant."""
    for name in ("shop", "refunds"):
        place.write(TASKS.replace("SHOP", name.upper()), f"{name}.py")
    main = "from perdure import workflow\nimport refunds, shop\n@workflow\ndef nightly(): shop.handle.map([2])\n"
    place.write(f"{main}if __name__ == '__main__': nightly()\n", "main.py")
    place.python("main.py", status=0)
    place.write("", "fixed")
    (place.folder / "shop.py").rename(place.folder / "store.py")
    place.write(main.replace("shop", "store"), "main.py")
    out = place.perdure("dlq", "redrive", "1")
    assert "module shop, which has none now" in out
    assert "refunds.py" in out
    assert "REFUNDS 2" not in out
    assert "SHOP 2" in place.perdure("dlq", "redrive", "1", "--script", "store.py", status=0)


def test_a_script_that_was_renamed_keeps_its_steps(place: Place) -> None:
    """What the run noted of its own script is found in the file that the user names."""
    place.write(JOB, "job.py")
    place.python("job.py", status=-9)
    (place.folder / "job.py").rename(place.folder / "nightly.py")
    out = place.python("nightly.py", "--version", status=0)
    (line,) = [line for line in out.splitlines() if "unfinished" in line]
    assert line.endswith("nightly.py")
    command = line.rpartition("perdure ")[2].split()
    out = place.perdure(*command, status=0)
    assert (out.count("CHARGE"), out.count("CLEAN 1")) == (0, 1)
    assert "unfinished" not in out


MOVED = """
import os
from perdure import step, workflow
@step(retry=None)
def act(what):
    print("ACT", what, flush=True)
    if not os.path.exists("fixed"): raise ValueError(what)
@workflow
def nightly(): act("nightly")
@workflow(once=True)
def setup():
    if os.path.exists("queued"): act("setup")
"""
CALLS = """
if __name__ == "__main__":
    setup()
    nightly.with_options(dedup="day").enqueue()
    nightly()
"""


@pytest.mark.parametrize("kept", [True, False], ids=["both have it", "moved"])
def test_a_workflow_that_was_moved_to_another_module_is_pointed_out(place: Place, kept: bool) -> None:
    """Its unfinished run, the one that is done once and the one that is queued are named, with what goes on; where
    the script has a workflow of that name still, nothing is said."""
    place.write(MOVED + CALLS, "app.py")
    place.python("app.py")
    place.write(MOVED, "jobs.py")
    other = "other.py" if kept else "app.py"
    place.write("from jobs import nightly, setup\n" + CALLS, other)
    out = place.python(other)
    said = [line for line in out.splitlines() if "which defines no" in line]
    assert bool(said) is not kept
    if kept:
        return
    done, queued, unfinished = said
    assert ("'setup' is done" in done, "'nightly' is queued" in queued, "is unfinished" in unfinished) == (True,) * 3
    place.write("", "fixed")
    assert "ACT nightly" in place.perdure(*unfinished.rpartition("perdure ")[2].split(), status=0)
    place.write("", "queued")
    place.write(f"from jobs import setup\nsetup{done.rpartition('take that run: ')[2]}()\n", "app.py")
    assert "ACT" not in place.python("app.py", status=0)


@pytest.mark.parametrize(
    ("text", "may"),
    [
        ("class Box:\n    @workflow\n    def run(self): ...", True),
        ("class Box:\n    @workflow(name='Box.run')\n    def go(self): ...", True),
        ("NAME = 'Box.run'\ngo = workflow(go, name=NAME)", True),
        ("go = workflow(go, name=f'Box.{go}')", True),
        ("from boxes import Box\nworkflow(Box.run)", True),
        ("def run(: not Python", True),
        ("# def run\nfrom boxes import Box\nBox().run()", False),
        ("'''def run was moved to boxes; name=\"Box.run\"'''\ndef other(): ...", False),
    ],
)
def test_a_script_may_define_a_workflow_still(tmp_path: Path, text: str, may: bool) -> None:
    """What a comment or a docstring says of it does not count; nor is it denied where only running it would tell."""
    script = tmp_path / "boxes_of_before.py"
    script.write_text(text)
    assert may_define(str(script), "Box.run") is may


def test_other_arguments_beside_an_unfinished_run(place: Place) -> None:
    """One line, once for the workflow; none where it is gone on with, or with PERDURE_QUIET."""
    place.write(
        """
import sys
from perdure import step, workflow
@step(retry=None)
def work(day):
    if day == "bad": raise ValueError(day)
@workflow
def nightly(day): work(day)
for day in sys.argv[1:]:
    try: nightly(day)
    except ValueError: pass
""",
        "job.py",
    )
    assert "unfinished" not in place.python("job.py", "good", "bad")
    assert "unfinished" not in place.python("job.py", "bad")
    assert place.python("job.py", "fine", "finer").count("unfinished") == 1
    assert "unfinished" not in place.python("job.py", "fine", PERDURE_QUIET="1")


def test_two_scripts_of_one_name_share_a_state_file(place: Place) -> None:
    """Neither goes on with the other's run, nor waits for its lock; a redrive calls each one's own step."""
    script = """
import os, sys
from helpers import told
from perdure import step, workflow
@step(retry=None)
def act(n):
    if not os.path.exists("fixed"): raise ValueError(n)
    print(told(), n, flush=True)
@workflow(lock=True)
def main():
    act.map([1])
    if len(sys.argv) > 1: os.system(sys.argv[1])
if __name__ == "__main__": main()
"""
    for name in "ab":
        place.write(script, f"{name}/sync.py")
        place.write(f"def told(): return 'I AM {name}'", f"{name}/helpers.py")
    env = {"PERDURE_STATE": str(place.folder / "state.db")}
    inner = f"{sys.executable} b/sync.py"
    assert "skipped" not in place.python("a/sync.py", inner, status=0, **env)
    place.write("", "fixed")
    out = place.perdure("ps", **env)
    assert out.count(" done ") + out.count(" dead") >= 2
    assert "I AM a 1" in place.perdure("dlq", "redrive", "1", **env)
    assert "I AM b 1" in place.perdure("dlq", "redrive", "2", **env)


def test_a_module_of_another_script_is_not_called(place: Place) -> None:
    """Two scripts with a module of one name, in one command: the second one's step is refused."""
    for name in "ab":
        place.write(TASKS.replace("SHOP", name), f"{name}/tasks.py")
        place.write(
            "import tasks\nfrom perdure import workflow\n@workflow\ndef main(): tasks.handle.map([2])\n"
            "if __name__ == '__main__': main()\n",
            f"{name}/{name}.py",
        )
    env = {"PERDURE_STATE": str(place.folder / "state.db")}
    for name in "ab":
        place.python(f"{name}/{name}.py", status=0, **env)
    place.write("", "fixed")
    out = place.perdure("dlq", "redrive", "--all", **env)
    assert out.count("\na 2") + out.startswith("a 2") == 1
    assert "one command for the runs of each script" in out
    assert "b 2" in place.perdure("dlq", "redrive", "2", status=0, **env)


def test_a_link_to_a_script_is_that_script(place: Place) -> None:
    """Its state lies beside the file, and its run goes on."""
    place.write(JOB, "job.py")
    place.python("job.py", status=-9)
    (place.folder / "bin").mkdir()
    (place.folder / "bin" / "nightly").symlink_to(place.folder / "job.py")
    out = place.python("bin/nightly", status=0)
    assert (out.count("CHARGE"), out.count("CLEAN 1")) == (0, 1)
    assert not (place.folder / "bin" / ".perdure").exists()
