"""An own alert goes where the workflow's alerts go, and the record of one holds nothing that moves with a folder."""

from __future__ import annotations

import shutil

from conftest import Machine, Scripts
from perdure import step, workflow
from perdure.api.alert import alert
from sinks import Sink, serving

MOVED = """
    import os, perdure
    from perdure import step, workflow

    @step(retry=None)
    def act() -> int:
        if not os.path.exists(os.path.join(os.path.dirname(__file__), "up")):
            raise OSError("not yet")
        return 1

    @workflow
    def moved_with_its_alert() -> int:
        perdure.alert("three invoices have no address")
        return act()

    if __name__ == "__main__":
        print(moved_with_its_alert())
"""


def test_the_targets_of_the_workflow_get_it(machine: Machine) -> None:
    """From the workflow, a step, and a child run, whose own targets come first."""
    with serving(Sink()) as mine, serving(Sink()) as other:

        @step(name="alerts-in-a-step")
        def act() -> bool:
            return alert("from a step")

        @workflow(name="alerts-in-a-child")
        def child() -> bool:
            return alert("from a child")

        @workflow(name="alerts-elsewhere", alert=f"http://{other.address}/x")
        def elsewhere() -> bool:
            return alert("from another child")

        @workflow(name="names-its-alerts", alert=f"http://{mine.address}/x")
        def main() -> list[bool]:
            return [alert("from the workflow"), act(), child(), elsewhere()]

        assert main() == [True] * 4
        assert [each["error"] for each in mine.alerts] == ["from the workflow", "from a step", "from a child"]
        assert [each["error"] for each in other.alerts] == ["from another child"]


def test_a_folder_that_is_moved_as_a_whole_goes_on_past_it(scripts: Scripts) -> None:
    """Neither the script nor the call was edited."""
    script = scripts.write(MOVED, "before/job.py")
    assert scripts.run(script).returncode == 1
    shutil.move(script.parent, scripts.folder / "after")
    (scripts.folder / "after" / "up").touch()
    done = scripts.run(scripts.folder / "after" / "job.py")
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert "goes on, with 1 step saved before" in done.stderr
