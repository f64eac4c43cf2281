"""`worker --once` stays for what becomes due by its own runs: the next tick of a schedule, what a rate lets begin."""

from __future__ import annotations

import json

from conftest import Scripts

COMMAND = "from perdure.cli import main\nraise SystemExit(main())\n"

JOBS = """
from perdure import Queue, step, workflow

fast, slow = Queue("fast", rate="4/s"), Queue("slow", rate="1/h")

@workflow(schedule="0 0 29 2 *", tz="UTC")
def leap_days() -> None:
    pass

@workflow
def send(n: int) -> int:
    return n

if __name__ == "__main__":
    send.with_options(queue="slow").enqueue(-1)
    send.with_options(queue="slow").enqueue(-2)
    for n in range(3):
        send.with_options(queue="fast").enqueue(n)
"""


def test_all_of_it_is_done_by_one_call(scripts: Scripts) -> None:
    """Ticks that wait for each other, and runs that wait for the rate of their queue, end in one call; a rate that lets
    nothing begin for long is not waited for, and that is said."""
    command, script = scripts.write(COMMAND, "command.py"), scripts.write(JOBS, "jobs.py")
    assert scripts.run(command, "worker", "--once", str(script)).returncode == 0  # it declares the schedule
    assert scripts.run(script).returncode == 0
    assert scripts.run(command, "schedule", "backfill", "leap_days", "2012-01-01", "2024-12-31").returncode == 0
    once = scripts.run(command, "worker", "--once", str(script))
    assert once.returncode == 0
    runs = json.loads(scripts.run(command, "ps", "--json", "--workflow", "leap_days").stdout)["runs"]
    assert [each["status"] for each in runs] == ["done"] * 4
    listed = json.loads(scripts.run(command, "ps", "--json", "--workflow", "send").stdout)["runs"]
    assert sorted(each["status"] for each in listed) == ["done"] * 4 + ["queued"]
    assert "queue 'slow' begins its next run in" in once.stderr
    assert "left to the next worker" in once.stderr
