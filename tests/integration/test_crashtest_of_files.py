"""`perdure crashtest` kills between changes of files and databases, and knows logs, threads and values in parts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.integration.crash_victims import target
from tests.integration.warm_nursery import nursery_begins_warm

from perdure.crashtest.campaign import crashtest

__all__ = ["nursery_begins_warm"]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="lives are forked")

LEAVES = """
import os, sqlite3
from perdure import step, workflow

@step(retry=None)
def locked() -> None:
    with open("job.lock", "x") as file:
        file.write("1")
    os.remove("job.lock")

@step
def move() -> None:
    with sqlite3.connect("bank.db") as db:
        db.execute("create table if not exists paid (who text)")
    if not db.execute("select * from paid").fetchall():
        db.execute("insert into paid values ('a')"); db.commit()
        db.execute("insert into paid values ('b')"); db.commit()
    db.close()

@step(retry=None)
def position() -> None:
    done = int(open("position").read()) if os.path.exists("position") else 0
    for item in range(done, 2):
        with open("position.new", "w") as file:
            file.write(str(item + 1))
        os.replace("position.new", "position")
        with open(f"item-{item}", "w") as file:
            file.write("x")

@step(retry=None)
def settings() -> None:
    if os.path.exists("settings") and not open("settings").read():
        raise ValueError("nothing is in it")
    with open("settings", "w") as file:
        file.write("x")

@workflow
def job() -> None:
    locked(); move(); position(); settings()
"""


def test_what_a_death_leaves_half_done_is_found(tmp_path: Path) -> None:
    """A lock, one of two commits, a position ahead of its item, an emptied file: each is named with its step."""
    report = crashtest(target(tmp_path, LEAVES), kills=60, seconds=600)
    found = {(finding.kind, finding.step) for finding in report.findings}
    assert {("other-end", "locked"), ("other-files", "move"), ("other-files", "position")} <= found
    (settings,) = (each for each in report.findings if (each.kind, each.step) == ("other-end", "settings"))
    assert settings.text.startswith("'settings' fails when it is made again: ValueError: nothing is in it; the end is")
    assert report.finished


SOUND = """
import json, logging, threading, time, uuid
from concurrent.futures import ThreadPoolExecutor
from logging.handlers import RotatingFileHandler
from perdure import step, workflow

logging.basicConfig(handlers=[RotatingFileHandler("app.log", maxBytes=100, backupCount=2)], level="INFO")
open("nothing.txt", "a").close()

def line(name):  # perdure: repeatable whoever reads it takes a line once
    with open(name, "a") as file:
        file.write("x\\n")

@step
def note() -> str:
    logging.info("%s %s", uuid.uuid4(), "-" * 90)
    thread = threading.Thread(target=line, args=("thread.txt",))
    thread.start(); thread.join()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(line, "pool.txt").result()
    return str(uuid.uuid4())

@step
def write(number: str) -> None:
    with open("report.json", "w") as file:
        json.dump({"id": number, "lines": 2}, file)

@workflow
def job() -> dict:
    logging.info("begins")
    number = note()
    write(number)
    return {"number": number, "parts": [number, 2] MORE}
"""


def test_logs_and_threads_of_steps_are_known_and_values_compared_in_parts(tmp_path: Path) -> None:
    """A logger's file is no effect, nor one that nothing is appended to; what threads of a step append is its own."""
    report = crashtest(target(tmp_path, SOUND.replace("MORE", "")), kills=12, seconds=600)
    assert report.findings == []
    assert {each.effect.step for each in report.repeated if each.how == "accepted"} == {"note"}
    assert report.unstable == [
        "app.log, a log", "app.log.1, a log", "app.log.2, a log",
        ".id of report.json", ".number of the result", ".parts[0] of the result",
    ]  # fmt: skip


def test_a_part_of_a_result_that_differs_hides_no_other(tmp_path: Path) -> None:
    """A global that a step sets is gone after a kill: seen, although another part of the result is made of chance."""
    broken = SOUND.replace("MORE", ', "steps": LIVED')
    broken = broken.replace(
        "@step\ndef note() -> str:\n", "LIVED = 0\n\n@step\ndef note() -> str:\n    global LIVED\n    LIVED = 1\n"
    )
    report = crashtest(target(tmp_path, broken), kills=4, seconds=600)
    assert {finding.kind for finding in report.findings} == {"other-end"}
