"""What becomes of the schedules of a script that is edited while workers use it."""

from __future__ import annotations

import json

from conftest import Scripts

COMMAND = "from perdure.cli import main\nraise SystemExit(main())\n"

WHOLE = """
from perdure import workflow

@workflow(schedule="0 0 1 1 *", tz="UTC")
def first() -> None:
    pass

@workflow(schedule="0 0 2 1 *", tz="UTC")
def second() -> None:
    pass
"""

HALF = WHOLE.replace("0 0 1 1", "0 0 3 1").replace(
    '@workflow(schedule="0 0 2', 'raise RuntimeError\n@workflow(schedule="0 0 2'
)


def test_a_script_that_fails_half_way_changes_no_schedule(scripts: Scripts) -> None:
    """What it defines above the error is not taken for what it declares; mended, it is."""
    command, script = scripts.write(COMMAND, "command.py"), scripts.write(WHOLE, "jobs.py")

    def declared(code: str) -> list[tuple[str, str, str]]:
        script.write_text(code)
        scripts.run(command, "worker", "--once", str(script))
        found = json.loads(scripts.run(command, "schedule", "ls", "--json").stdout)["schedules"]
        return [(each["name"], each["spec"], each["status"]) for each in found]

    whole = [("first", "0 0 1 1 *", "active"), ("second", "0 0 2 1 *", "active")]
    assert declared(WHOLE) == whole
    assert declared(HALF) == whole
    assert declared(HALF.replace("raise RuntimeError\n", ""))[0] == ("first", "0 0 3 1 *", "active")
    assert declared(WHOLE[: WHOLE.index('@workflow(schedule="0 0 2')])[1] == ("second", "0 0 2 1 *", "undeclared")
