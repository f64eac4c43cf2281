"""A workflow in a class: as a static method it is found by its name, as a method it is refused in words."""

from __future__ import annotations

import textwrap
from pathlib import Path

from run_flow import perdure, python

JOB = textwrap.dedent("""
    import os, sys
    from perdure import step, workflow

    @step(retry=None)
    def bill(day: str) -> str:
        if not os.path.exists("repaired"):
            raise RuntimeError("the bank said no")
        return f"billed {day}"

    class Job:
        @staticmethod
        @workflow
        def nightly(day: str) -> str:
            return bill(day)

        @workflow
        def method(self, day: str) -> str:
            return bill(day)

    if __name__ == "__main__":
        Job.nightly("monday") if len(sys.argv) > 1 else Job().method("monday")
""")


def test_a_workflow_in_a_class(tmp_path: Path) -> None:
    """What `why` prints resumes it; a method says that it cannot be resumed, and what to write instead."""
    script = tmp_path / "job.py"
    script.write_text(JOB)
    failed = python(tmp_path, "job.py", "static")
    assert failed.returncode == 1
    assert "perdure resume Job.nightly-" in perdure(tmp_path, "why", "last").stdout
    (tmp_path / "repaired").touch()
    resumed = perdure(tmp_path, "resume", "last")
    assert (resumed.returncode, resumed.stdout) == (0, "'billed monday'\n")
    named = perdure(tmp_path, "run", "job.py:Job.nightly", "tuesday")
    assert (named.returncode, named.stdout) == (0, "'billed tuesday'\n")
    method = python(tmp_path, "job.py")
    assert method.returncode == 1
    assert "workflow 'Job.method' is a method" in method.stderr
