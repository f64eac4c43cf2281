"""`perdure crashtest` of scripts that ask, hang, die, fork and hide: each is named, and nothing of it is left."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.crash_victims import target
from tests.integration.warm_nursery import nursery_begins_warm

from conftest import Scripts
from perdure.cli.view.crashtest_page import UNFINISHED, exit_code, show_report
from perdure.crashtest.answers import Given
from perdure.crashtest.campaign import crashtest
from perdure.errors import UsageError
from waiting import until

__all__ = ["nursery_begins_warm"]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="lives are forked")

WORKFLOW = "from perdure import step, workflow\n"
COMMAND = "import sys; from perdure.cli import main; sys.argv[0] = 'perdure'; sys.exit(main())"
ONE_STEP = """
@step
def work(n: int) -> int:
    {body}
    return n
@workflow
def main() -> int:
    return work(1)
"""


def script(body: str) -> str:
    """A script with a step that does this."""
    return WORKFLOW + ONE_STEP.format(body=body)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\n", "has no workflow"),
        ("def broken(:\n", "cannot be started"),
        (WORKFLOW + "@workflow\ndef main(how: str) -> None: ...\n", "how"),  # an argument is missing
        (WORKFLOW + "name = input('your name? ')\n", "refuses to ask 'your name[?]'"),
        (script("import os; os._exit(3)"), "ends before the workflow does: exit code 3, it printed nothing"),
        (script("import os, signal; print('so'); os.kill(os.getpid(), signal.SIGTERM)"), "does: SIGTERM"),
    ],
)
def test_what_cannot_be_tested_is_named(tmp_path: Path, text: str, said: str) -> None:
    """Nothing is killed then."""
    with pytest.raises(UsageError, match=said):
        crashtest(target(tmp_path, text), patience=60)


def test_a_run_that_fails_by_its_dead_letters_is_tested_whole(tmp_path: Path) -> None:
    """With `fail_on_dead=` all is done when it fails; an error in the middle leaves what comes later untested."""
    text = WORKFLOW + (
        "@step(retry=None)\ndef parse(n: int) -> int:\n    return 6 // n\n"
        "@workflow(fail_on_dead=True)\ndef main() -> int:\n    batch = parse.map([0, 1])\n{}    return 1\n"
    )
    report = crashtest(target(tmp_path, text.format("")), kills=3, patience=60)
    assert (report.ending, report.findings) == ("", [])
    assert "fail_on_dead is 1" in report.at_the_end
    report = crashtest(target(tmp_path, text.format("    batch.raise_if_dead()\n")), kills=1, patience=60)
    assert report.ending.startswith("HasDeadLetters")
    assert not report.finished


def test_of_several_workflows_one_is_to_be_named(tmp_path: Path) -> None:
    """The hint is the command, with the user's own file and not the copy's."""
    text = WORKFLOW + "".join(f"@workflow\ndef {name}() -> None: ...\n" for name in ("one", "two", "three"))
    with pytest.raises(UsageError, match="several workflows") as raised:
        crashtest(target(tmp_path, text), patience=60)
    assert f"perdure crashtest {tmp_path}/job.py:two" in raised.value.hint
    assert crashtest(target(tmp_path, text, workflow="two"), kills=2, patience=60).kills == 2


def test_what_is_refused_in_a_map_is_not_tested(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The items are dead letters and the run ends well, and yet nothing is known of what comes behind the program."""
    text = WORKFLOW + (
        "import subprocess\n@step\ndef back_up(n: int) -> int:\n    subprocess.run(['pg_dump'], check=True)\n"
        "    return n\n@workflow\ndef main() -> int:\n    return len(back_up.map([1, 2], key=str).results)\n"
    )
    report = crashtest(target(tmp_path, text), kills=2, patience=60)
    assert (report.ending, report.findings, report.not_killed) == ("", [], [])
    assert exit_code(report) == UNFINISHED
    show_report(report, "")
    printed = capsys.readouterr().out
    assert "not tested, since it was refused, nor what comes behind it: pg_dump (program) in back_up\n" in printed
    assert "ok " not in printed


def test_a_script_that_asks_is_answered_by_nobody(tmp_path: Path) -> None:
    """The undisturbed run fails, and the report says so."""
    text = "from perdure import workflow\n@workflow\ndef main() -> str:\n    return input('name?')\n"
    report = crashtest(target(tmp_path, text), kills=1, patience=60)
    assert report.ending.startswith("Refused: perdure crashtest refuses to ask 'name?'")
    assert [each.kind for each in report.refused] == ["input"]
    assert not report.finished


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (WORKFLOW + "import time\ntime.sleep(1_000_000)\n", "is not loaded within"),
        (script("import time; time.sleep(1_000_000)"), "does not end within"),
    ],
)
def test_what_never_ends_is_stuck(tmp_path: Path, text: str, said: str) -> None:
    """One life is enough to say so."""
    report = crashtest(target(tmp_path, text), patience=8)
    assert [(each.kind, said in each.text) for each in report.findings] == [("stuck", True)]


def test_a_run_that_fails_is_not_called_non_deterministic(tmp_path: Path) -> None:
    """That a failed step is executed again when its run is resumed is what resuming is."""
    report = crashtest(target(tmp_path, script("raise LookupError('no such order')")), kills=2, patience=60)
    assert (report.ending, report.findings) == ("LookupError: no such order", [])


def test_arguments_reach_the_workflow_and_the_command_line_of_the_script(tmp_path: Path) -> None:
    """With spaces; what the script itself takes from sys.argv is the same in each life."""
    text = "import sys\n" + script("n = sys.argv[1:]").replace("main() -> int:", "main(name: str, town: str) -> str:")
    report = crashtest(target(tmp_path, text, arguments=["Ada Lovelace", "--town", "New York"]), kills=2, patience=60)
    assert (report.ending, report.findings, report.kills) == ("", [], 2)


def test_a_script_of_a_package_is_copied_with_its_package(scripts: Scripts) -> None:
    """Relative imports work as they do for `perdure run`."""
    scripts.write("", "shop/__init__.py")
    scripts.write("from perdure import step\n@step\ndef price(n: int) -> int:\n    return n\n", "shop/prices.py")
    job = scripts.write(
        "from perdure import workflow\nfrom .prices import price\n@workflow\ndef main() -> int:\n    return price(1)\n",
        "shop/job.py",
    )
    done = scripts.run(scripts.write(COMMAND, "command.py"), "crashtest", str(job), "--kills", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 step, 1 name; 2 kills" in done.stdout


SPAWNING = """
    import multiprocessing
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.map(abs, [n])
"""


def test_a_program_of_perdure_sh_is_started_by_its_step(tmp_path: Path) -> None:
    """On the main thread, too: what its comment accepts is accepted."""
    text = script("perdure.sh(['/bin/sh', '-c', 'true'])  # perdure: repeatable it does nothing")
    report = crashtest(target(tmp_path, "import perdure\n" + text, programs=["true"]), kills=2, patience=60)
    assert report.findings == []
    assert {(each.how, each.effect.step) for each in report.repeated} == {("accepted", "work")}


def test_a_python_that_is_spawned_is_a_program(tmp_path: Path) -> None:
    """What it does cannot be seen: it is refused unless it is allowed, and what is forked is seen as its parent is."""
    report = crashtest(target(tmp_path, script(SPAWNING.strip())), kills=1, patience=60)
    assert [each.kind for each in report.refused] == ["program"]
    assert "--allow-program" in report.ending
    forked = script(SPAWNING.strip().replace("spawn", "fork").replace("abs", "open"))
    report = crashtest(target(tmp_path, forked.replace("[n]", "['/outside', 'w'][:1]")), kills=1, patience=60)
    assert report.ending.startswith("FileNotFoundError")


@pytest.fixture
def door() -> Iterator[socket.socket]:
    """Where what a script leaves running knocks: the line is cut when it ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        yield server


LEFT = """
from perdure import step, workflow
import os, socket, time
@step
def work(n: int) -> int:
    here, there = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            line = socket.create_connection(("127.0.0.1", PORT), timeout=60)
            os.write(there, b".")
            time.sleep(1_000_000)
        os._exit(0)
    os.read(here, 1)
    os.wait()
    return n
@workflow
def main() -> int:
    return work(1)
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux tells who has left its group")
def test_what_a_step_leaves_running_is_ended(tmp_path: Path, door: socket.socket) -> None:
    """Also a daemon in a session of its own: each is gone before the next life begins."""
    text = LEFT.replace("PORT", str(door.getsockname()[1]))
    report = crashtest(target(tmp_path, text), kills=2, patience=60)
    assert report.ending == ""
    door.settimeout(0)
    lines = []
    while True:
        try:
            lines.append(door.accept()[0])
        except BlockingIOError:
            break
    assert len(lines) >= 3
    for line in lines:
        with line:
            line.settimeout(60)
            assert _received(line) == b""


def _received(line: socket.socket) -> bytes:
    try:
        return line.recv(100)
    except ConnectionResetError:
        return b""


def test_when_the_command_is_killed_nothing_is_left(scripts: Scripts, door: socket.socket) -> None:
    """Neither the life under way nor the copies: the fork server ends both when its input ends."""
    job = scripts.write(
        script(
            f"import socket, time; line = socket.create_connection(('127.0.0.1', {door.getsockname()[1]}));"
            " time.sleep(1_000_000)"
        ),
        "job.py",
    )
    copies = scripts.folder / "copies"
    copies.mkdir()
    ours = scripts.write(COMMAND, "command.py")
    process = scripts.start(ours, "crashtest", str(job), "--time", "1000s", TMPDIR=str(copies))
    line = door.accept()[0]
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    with line:
        line.settimeout(60)
        assert _received(line) == b""
    until(lambda: not list(copies.iterdir()), "the copies to be removed")


def test_what_is_written_beside_the_script_meanwhile_is_no_finding(tmp_path: Path) -> None:
    """Such as the output of the command itself: the folder is copied once, as it was in the beginning."""
    (folder := tmp_path / "job").mkdir()
    # Not before the two undisturbed runs, since what differs between these is not compared.
    later = f"echo x >> {tmp_path}/ends; test $(wc -l < {tmp_path}/ends) -lt 3 || echo x >> {folder}/output.log"
    report = crashtest(target(folder, script("pass")), kills=3, oracle=later, patience=60)
    assert report.findings == []
    assert (folder / "output.log").exists()


def test_what_a_workflow_enqueues_is_said_not_to_be_tested(tmp_path: Path) -> None:
    """Nobody executes it here: it is another workflow's run."""
    text = WORKFLOW + (
        "@workflow\ndef send(n: int) -> int:\n    return n\n"
        "@workflow\ndef main() -> None:\n    for n in range(3):\n        send.enqueue(n)\n"
    )
    report = crashtest(target(tmp_path, text, workflow="main"), kills=2, patience=60)
    assert report.enqueued == {"send": 3}


def test_a_budget_that_a_killed_attempt_uses_up_is_named(tmp_path: Path) -> None:
    """What was spent is spent: the run ends earlier than undisturbed, and that is no fault of what its steps return."""
    text = WORKFLOW + (
        "import perdure\n@step\ndef ask(n: int) -> int:\n    perdure.spend(tokens=6)\n    return n\n"
        "@workflow\ndef main() -> int:\n    done = 0\n    with perdure.budget(tokens=20):\n        try:\n"
        "            while True:\n                done += ask(1)\n"
        "        except perdure.errors.BudgetExceeded:\n            return done\n"
    )
    report = crashtest(target(tmp_path, text), kills=8, patience=60)
    assert {(each.kind, "its budget counts" in each.fix) for each in report.findings} == {("other-end", True)}
    assert all(each.text.startswith("step 'ask' is not called: ") for each in report.findings), report.findings


def test_a_method_is_no_workflow_that_a_command_line_can_start(tmp_path: Path) -> None:
    """It says so, rather than that an argument is missing."""
    text = WORKFLOW + "class Shop:\n    @workflow\n    def total(self) -> int:\n        return 1\n"
    with pytest.raises(UsageError, match=r"'Shop\.total' is a method"):
        crashtest(target(tmp_path, text), patience=60)


WAITING = """
import perdure
from perdure import step, workflow
@step
def pay(how: str) -> str:
    return how
@workflow
def main() -> str:
    paid = perdure.wait_for("paid", key="a")["by"]
    if perdure.approval("refund?", timeout="2d").approved:
        return pay(paid)
    return "no"
"""


def test_what_is_waited_for_is_given(tmp_path: Path) -> None:
    """Signals and answers, once each, also if the run is killed as they arrive; what is behind them is tested."""
    given = Given({"paid": {"by": "card"}}, approval=True)
    report = crashtest(target(tmp_path, WAITING, given=given), kills=6, patience=60)
    assert (report.ending, report.findings, report.names, report.missing) == ("", [], ["pay"], [])
    report = crashtest(target(tmp_path, WAITING, given=Given(given.signals)), kills=1, patience=60)
    assert (report.names, report.missing) == ([], ["approval 'refund?'"])


def test_arguments_that_do_not_fit_are_named_with_those_that_do(tmp_path: Path) -> None:
    """They are the workflow's, which are often others than the script's."""
    text = WORKFLOW + "@workflow\ndef main(day: str, count: int) -> None: ...\n"
    with pytest.raises(UsageError, match="do not fit: Parameter --count requires") as raised:
        crashtest(target(tmp_path, text, arguments=["monday"]), patience=60)
    assert raised.value.hint.endswith("-- DAY COUNT")
    text = WORKFLOW + (
        "from dataclasses import dataclass\n@dataclass\nclass Line:\n    sku: str\n    count: int\n"
        "@workflow\ndef main(number: int, lines: list[Line]) -> None: ...\n"
    )
    with pytest.raises(UsageError, match="do not fit: Parameter --lines requires 2") as raised:
        crashtest(target(tmp_path, text, arguments=["7", '[{"sku": "cup", "count": 2}]']), patience=60)
    assert raised.value.hint == """give it as JSON, by its option: --lines '[{"sku": VALUE, "count": VALUE}]'"""
