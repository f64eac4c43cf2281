"""`perdure crashtest` of workflows that are meant to fail and to be undone, and of what differs without any kill."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.integration.crash_victims import target
from tests.integration.warm_nursery import nursery_begins_warm

from conftest import Scripts
from perdure.cli.view.crashtest_page import exit_code
from perdure.crashtest.campaign import Report, crashtest
from perdure.errors import UsageError

__all__ = ["nursery_begins_warm"]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="lives are forked")

HEAD = """
import os, uuid
from perdure import defer_every_end, step, workflow
class Declined(Exception): ...
@step
def leave(seat: str) -> None:
    if os.path.exists(seat):
        os.remove(seat)
@step
def tidy(name: str) -> None:
    with open(name, "w") as file:
        file.write("tidy")
@step(retry=None)
def pay() -> None:
    raise Declined(f"no money, says {uuid.uuid4()}")
"""
UNDONE = """
@step(undo=leave)
def take(seat: str) -> str:
    with open(seat, "w") as file:
        file.write("taken")
    return seat
@workflow
def main() -> None:
    defer_every_end(tidy, "end.txt")
    take("a"), take("b")
    pay()
"""
FORGETFUL = """
taken = []
@step
def take(seat: str) -> None:
    with open(seat, "w") as file:
        file.write("taken")
    taken.append(seat)
@workflow
def main() -> None:
    take("a")
    try:
        pay()
    except Declined:
        for seat in taken:
            leave(seat)
        raise
"""
OTHERWISE = """
taken = []
@step
def take(seat: str) -> None:
    taken.append(seat)
@workflow
def main() -> None:
    take("a")
    raise Declined if taken else LookupError("nothing to pay")
"""


def tried(folder: Path, text: str, kills: int = 9, expect: str = "Declined", **more: object) -> Report:
    tested = target(folder, HEAD + text, **more)
    return crashtest(tested, kills=kills, seconds=600, expect_error=expect, patience=60)


def test_a_failure_that_is_undone_survives_every_kill(tmp_path: Path) -> None:
    """Also kills between two undoings, and behind the end, which is not begun anew; clean-ups are killed as steps are.

    The text of the error differs in each run by itself: that is said, and its class is compared.
    """
    report = tried(tmp_path, UNDONE)
    assert (report.findings, report.ending, report.finished) == ([], "", True)
    assert report.expected.startswith("Declined: no money, says ")
    assert report.names == ["take", "pay", "undo:leave", "defer:tidy"]
    assert report.kills == 9
    assert report.unstable == ["the error"]


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        (FORGETFUL, "other-files", "a differs"),
        (OTHERWISE, "other-end", "the class of the error is LookupError, undisturbed job.Declined"),
    ],
)
def test_a_failure_that_a_kill_changes_is_found(tmp_path: Path, text: str, kind: str, said: str) -> None:
    """What is left of it, and with which error it ends."""
    report = tried(tmp_path, text, kills=4)
    assert kind in [each.kind for each in report.findings if said in each.text], report.findings


def test_an_expected_error_that_does_not_come_is_an_error(tmp_path: Path) -> None:
    """Nothing is killed then. A class may be named with its module, and one that it is derived from will do."""
    with pytest.raises(UsageError, match="does not raise KeyError, but Declined: no money"):
        tried(tmp_path, UNDONE, expect="KeyError")
    with pytest.raises(UsageError, match="does not raise Declined: it ends well"):
        tried(tmp_path, "@workflow\ndef main() -> None: ...\n")
    assert tried(tmp_path, OTHERWISE, kills=1, expect="job.Declined").expected == "Declined"
    assert tried(tmp_path, OTHERWISE, kills=1, expect="Exception").expected == "Declined"


def test_the_command_says_that_a_run_fails_as_it_is_meant_to(scripts: Scripts) -> None:
    """Exit code 0; without the option it says which one there is."""
    ours = scripts.write(
        "import sys; from perdure.cli import main; sys.argv[0] = 'perdure'; sys.exit(main())", "command.py"
    )
    job = scripts.write(HEAD + UNDONE, "job.py")
    done = scripts.run(ours, "crashtest", str(job), "--kills", "2", "--expect-error", "Declined")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "undisturbed, the run fails as it is meant to: Declined: no money" in done.stdout
    assert "resumed from every kill; same error and files" in done.stdout
    done = scripts.run(ours, "crashtest", str(job), "--kills", "1")
    assert done.returncode == 3
    assert "if it is meant to, name the class of the error: --expect-error CLASS" in done.stdout


NAMED_BY_THE_HOUR = """
@step
def report() -> str:
    with open(os.environ["HOUR"]) as file:
        hour = file.read().strip()
    with open(f"report-{hour}.txt", "w") as file:
        file.write("3 rows")
    return hour
@workflow
def main() -> str:
    return report()
"""


def test_what_has_changed_without_a_kill_is_no_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour that is over while the kills go on changes names and results; another undisturbed run shows that."""
    hour, folder = tmp_path / "hour", tmp_path / "job"
    folder.mkdir()
    hour.write_text("22")
    monkeypatch.setenv("HOUR", str(hour))
    ends = tmp_path / "ends"  # a line at each end: the third is that of the first run that was killed
    later = f"echo x >> {ends}; test $(wc -l < {ends}) -lt 2 || echo 23 > {hour}"
    tested = target(folder, HEAD + NAMED_BY_THE_HOUR)
    report = crashtest(tested, kills=4, seconds=600, oracle=later, patience=60)
    assert report.findings == []
    assert report.unstable == ["the names of report-*.txt", "the result"]


NOT_UNDONE = """
@step(retry=None)
def refuse(seat: str) -> None:
    raise PermissionError("it stays")
@step(undo=refuse)
def take() -> str:
    return "7"
@workflow
def main() -> None:
    take()
    pay()
"""


def test_a_clean_up_that_fails_in_every_life_is_named(tmp_path: Path) -> None:
    """It is no doing of a kill, and nothing is undone all the same: the test is not passed."""
    report = tried(tmp_path, NOT_UNDONE, kills=2, expect="Declined")
    assert report.findings == []
    assert report.clean_ups == ["undo:refuse: PermissionError: it stays"]
    assert exit_code(report) == 3
