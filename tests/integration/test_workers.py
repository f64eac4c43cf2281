"""What a worker does when it is asked to end, when its script is edited or does not fit, and when cron starts it."""

from __future__ import annotations

import configparser
import json
import os
import signal
import socket
import sys
import textwrap
from pathlib import Path

from worker_world import SCRIPT, World, in_order, world

import warm
from conftest import SOURCE, _clean
from perdure.store import crashes, workers
from perdure.store.runs import Store
from waiting import until

__all__ = ["world"]

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "worker.md"


def test_told_to_end(world: World) -> None:
    """Runs are given back at their next safe point; what is cut off when the grace is over speaks against nothing."""
    world.open(0)
    worker = world.worker()
    world.add("a")
    world.begun(1, 1)
    worker.send(signal.SIGTERM)
    worker.says("1 run is given back")
    world.open(1)
    assert worker.end() == 0
    run = world.runs()["a"]
    assert (run.status, run.holder, run.hold, run.epoch) == ("suspended", None, None, 0)
    assert [each.n for each in world.ledger()] == [0, 1]

    worker = world.worker("--grace", "0s")
    world.begun(2, 1)
    worker.send(signal.SIGINT)
    assert worker.end() == 0
    world.open(2)
    assert world.worker("--once").end() == 0
    store = Store(world.state)
    assert crashes.list_of(store, store.run("a").rid) == []
    assert store.run("a").status == "done"
    store.close()
    assert in_order(world.ledger()) == {"a": True}


def test_an_edited_script(world: World) -> None:
    """Runs that begin after an edit are of the new code, those under way of the old; what is broken changes nothing."""
    worker = world.worker()
    world.add("old")
    world.begun(0, 1)
    world.write(SCRIPT.replace('"v1"', '"v2"'))
    worker.says("loaded anew: app.py")
    world.add("new")
    world.begun(0, 2)
    world.write("this is no Python\n")
    worker.says("the worker goes on with the code of before")
    world.add("newer")
    world.begun(0, 3)
    world.open(0, 1, 2)
    world.becomes("done", "old", "new", "newer")
    versions = {each.run: set() for each in world.ledger()}
    for each in world.ledger():
        versions[each.run].add(each.version)
    assert versions == {"old": {"v1"}, "new": {"v2"}, "newer": {"v2"}}
    world.write(SCRIPT.replace('"v1"', '"v3"'))
    until(lambda: len([line for line in worker.lines if "loaded anew" in line]) == 2, "the third version")
    worker.send(signal.SIGTERM)
    assert worker.end() == 0


def test_a_script_that_is_broken_at_the_start(world: World) -> None:
    """Nothing of it is served, not what it defines above its error either; that is said once, with one traceback, and
    it is loaded when it, or what its error comes from, is edited."""
    half, helper = world.folder / "half.py", world.folder / "half_helper.py"
    half.write_text("import perdure\n@perdure.workflow\ndef half_of_it() -> int: return 1\nimport half_helper\n")
    helper.write_text("raise RuntimeError('two\\nlines')\n")
    worker = world.worker(str(half))
    worker.says("1 script cannot be loaded; ready")
    (living,) = workers.living(world.state)
    assert "half_of_it" not in {name for _, name in living.workflows}
    world.write(SCRIPT.replace('"v1"', '"v2"'))
    worker.says("loaded anew: app.py")
    said = [line for line in worker.lines if "half.py cannot be loaded" in line or line.startswith("Traceback")]
    assert len(said) == 2, worker.lines
    helper.write_text("\n")
    worker.says("loaded anew: app.py, half.py")
    until(lambda: "half_of_it" in {name for _, name in workers.living(world.state)[0].workflows}, "it is served")


def test_a_run_that_does_not_fit_its_script(world: World) -> None:
    """It is on hold, with one line that says so, until the script is edited; then it goes on, and repeats nothing."""
    world.open(0)
    worker = world.worker()
    world.add("a")
    world.begun(1, 1)
    worker.send(signal.SIGTERM)
    worker.says("1 run is given back")
    world.open(1)
    worker.end()
    fitting = world.script.read_text(encoding="utf-8")
    world.write(fitting.replace("work(run, n)", "work(run, n + 10)"))
    worker = world.worker()
    worker.says("run a is on hold: ")
    assert "--accept-changes, or perdure fork a --from work" in worker.says("run a is on hold: ")
    assert "code-drift" in (world.runs()["a"].hold or "")
    worker.send(signal.SIGTERM)
    worker.end()
    for command in ("why", "resume", "why"):  # gone on with, it stops there again, and is on hold as before
        told = world.told(command, "a")
        assert "recorded: work('a', 0)" in told
        assert "perdure resume a --accept-changes" in told
        assert "perdure fork a --from work" in told

    again = world.worker("--once")  # the same version does not try again
    assert again.end() == 0
    assert not [line for line in again.lines if "on hold" in line]

    world.open(2)
    world.write(fitting)
    assert world.worker("--once").end() == 0
    assert world.runs()["a"].status == "done"
    assert in_order(world.ledger()) == {"a": True}


def test_a_workflow_that_was_renamed(world: World) -> None:
    """What it has left does not stand for ever without a word: it is on hold until the script has the name again."""
    world.open(0, 1, 2)
    world.add("a")
    script = world.script.read_text(encoding="utf-8")
    world.write(script.replace("def job(", "def task("))
    worker = world.worker("--once")
    assert worker.end() == 1
    worker.says("neither defines nor imports a workflow 'job' when it is loaded, and its run a is on hold")
    world.write(script)
    assert world.worker("--once").end() == 0
    assert world.runs()["a"].status == "done"


def test_a_workflow_that_was_moved_into_a_module(world: World) -> None:
    """What it has left is executed, wherever the script has imported it from; also what was on hold meanwhile."""
    world.open(0, 1, 2)
    world.add("a", "b")
    script = world.script.read_text(encoding="utf-8")
    (world.folder / "kept_jobs.py").write_text(script, encoding="utf-8")
    world.write("import json\n")
    worker = world.worker("--once")
    assert worker.end() == 1
    worker.says("or import it in the script")
    world.write("import kept_jobs\n")
    assert world.worker("--once").end() == 0
    assert {run.status for run in world.runs().values()} == {"done"}
    assert in_order(world.ledger()) == {"a": True, "b": True}


DECORATED = """    @perdure.workflow
    @functools.partial(lambda function: functools.wraps(function)(lambda *given: function(*given)))
    def job("""


def test_a_workflow_below_a_decorator(world: World) -> None:
    """It is what the script's name leads to, though another function has made it."""
    world.open(0, 1, 2)
    world.add("a")
    world.write(
        "import functools\n" + textwrap.dedent(SCRIPT.replace("    @perdure.workflow\n    def job(", DECORATED))
    )
    assert world.worker("--once").end() == 0
    assert world.runs()["a"].status == "done"


MADE = """
import functools
from pathlib import Path
import perdure


def durable(function):
    @perdure.workflow(name=named(function))
    @functools.wraps(function)
    def body(*given):
        return function(*given)
    return body


def named(function):
    return function.__name__


def job(run: str) -> str:
    if run == "fails" and not Path(__file__).with_name("gate-0").exists():
        raise ValueError(run)
    return run


def other(run: str) -> str:
    return "the other one"


FLOWS = {function.__name__: durable(function) for function in (job, other)}

if __name__ == "__main__":
    FLOWS["job"].with_options(id="b").enqueue("b")
    FLOWS["job"].with_options(id="fails")("fails")
"""


def test_workflows_of_a_factory(world: World) -> None:
    """What a factory makes is queued, served and resumed, though no name of the script leads to it: there is one of
    its name. Of several, what is queued is put on hold, with the way out."""
    world.add("a")
    world.write(MADE)
    environment = {**_clean(), "PYTHONPATH": str(SOURCE)}

    args = [sys.executable, str(world.script)]
    begun = warm.run(args, env=environment, capture_output=True, text=True, timeout=120)
    assert "ValueError: fails" in begun.stderr
    world.open(0)
    assert "run fails done" in world.told("resume", "fails")
    assert world.worker("--once").end() == 0
    assert {run.status for run in world.runs().values()} == {"done"}

    world.add("c")
    world.write(MADE.replace("return function.__name__", "return 'job'"))
    worker = world.worker("--once")
    assert worker.end() == 1
    worker.says("makes several workflows 'job' when it is loaded, and its run c is on hold")
    assert "makes 2 workflows 'job' when it is loaded" in world.told("resume", "c")
    world.write(MADE)
    assert world.worker("--once").end() == 0
    assert world.runs()["c"].status == "done"


def test_for_cron(world: World) -> None:
    """--once does all that is due, and ends with 0; with 1 if a run fails or no script can be loaded."""
    world.open(0, 1, 2)
    assert world.worker("--once").end() == 0
    world.add("a", "b", "c", "d", "e")
    assert world.worker("--once", "--slots", "2").end() == 0
    assert {run.status for run in world.runs().values()} == {"done"}
    world.add("f", workflow="fails", given=False)
    failing = world.worker("--once", "--slots", "1")
    assert failing.end() == 1
    assert failing.says("run f failed: ValueError: the moon is full")
    world.write("import nothing_of_that_name\n")
    broken = world.worker("--once", ready=False)
    assert broken.end() == 1
    broken.says("app.py cannot be loaded")
    broken.says("nothing that it was given can be loaded: the worker ends")


def test_the_list_of_workers(world: World) -> None:
    """It says who lives, what they serve and how busy they are; one that was killed is not in it."""

    def listed() -> list[dict[str, object]]:
        command = [sys.executable, "-m", "perdure", "workers", "--json", "--state", str(world.state)]
        found: list[dict[str, object]] = json.loads(warm.run(command, capture_output=True, check=True).stdout)[
            "workers"
        ]
        return found

    worker = world.worker("--slots", "3", "--processes", "2")
    world.add("a", "b")
    world.begun(0, 2)
    (found,) = listed()
    assert (found["pid"], found["processes"], found["slots"], found["busy"]) == (worker.process.pid, 2, 6, 2)
    assert found["workflows"] == ["ajob", "dies", "fails", "job"]
    worker.send(signal.SIGKILL)
    worker.process.wait(60)
    assert listed() == []
    world.open(0, 1, 2)


def service() -> list[str]:
    """The options that the unit of the documentation gives the worker."""
    unit = PAGE.read_text(encoding="utf-8").partition("```ini\n")[2].partition("```")[0]
    settings = configparser.ConfigParser(interpolation=None)
    settings.optionxform = str  # type: ignore[assignment,method-assign]
    settings.read_string(unit)
    assert settings["Service"]["Type"] == "notify"
    perdure, worker, *options, script = settings["Service"]["ExecStart"].split()
    assert (Path(perdure).name, worker, Path(script).name) == ("perdure", "worker", "app.py")
    return options


def test_a_service_manager(world: World) -> None:
    """It hears that the worker is ready, lives, and ends; the code of the user has none of its variables."""
    address = world.folder / "notify"
    world.write(SCRIPT + textwrap.indent('\nassert "NOTIFY_SOCKET" not in os.environ\n', "    "))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(os.path.relpath(address))
        manager.settimeout(120)
        worker = world.worker(*service(), NOTIFY_SOCKET=str(address), WATCHDOG_USEC="200000")
        while (heard := manager.recv(1000)) == b"WATCHDOG=1":
            pass
        assert heard.startswith(b"READY=1\nSTATUS=serving app.py: 4 workflows")
        assert manager.recv(1000) == b"WATCHDOG=1"
        worker.send(signal.SIGTERM)
        while (heard := manager.recv(1000)) == b"WATCHDOG=1":
            pass
        assert heard == b"STOPPING=1"
        assert worker.end() == 0
