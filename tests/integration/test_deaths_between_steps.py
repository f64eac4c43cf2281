"""A process that dies between two steps again and again is a crash loop, too."""

from __future__ import annotations

import signal

import msgspec

from conftest import Scripts

SCRIPT = """
    import os, signal, sys
    from perdure import step, workflow
    @step
    def work(n: int) -> int:
        print("work", n, flush=True)
        worked.append(n)
        return n
    worked = []
    @workflow
    def wf() -> int:
        for n in range(9):
            work(n)
            if worked if os.environ.get("DIES") == "each" else os.environ.get("DIES") and n == 1:
                os.kill(os.getpid(), getattr(signal, os.environ.get("WITH", "SIGKILL")))
        return 9
    if __name__ == "__main__": print(wf())
"""


def test_three_in_a_row_stop_the_run(scripts: Scripts) -> None:
    """The fourth run fails at once with a crash loop, a note of each death and an alert; then it is tried again."""
    script = scripts.write(SCRIPT)
    for _ in range(3):
        process = scripts.start(script, DIES="1")
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
    process = scripts.start(script, DIES="1", PERDURE_ALERTS="exec:/bin/true")
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert "died 3 times in a row, and no step was saved between [crash-loop]" in errors
    assert errors.count("its process died at") == 3
    alerts = [msgspec.json.decode(path.read_bytes())["alert"] for path in script.parent.rglob("windows/*.json")]
    assert ("failed", "crash-loop") in [(alert["what"], alert["code"]) for alert in alerts]
    process = scripts.start(script)
    assert process.communicate(timeout=60)[0].splitlines() == [*[f"work {n}" for n in range(2, 9)], "9"]


def test_with_a_new_record_between_it_goes_on(scripts: Scripts) -> None:
    """A process that dies after each step comes further each time: that is no loop."""
    script = scripts.write(SCRIPT)
    for _ in range(5):
        process = scripts.start(script, DIES="each")
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL


def test_an_end_that_was_asked_for_does_not_count(scripts: Scripts) -> None:
    """SIGTERM, at a deploy say, speaks against no run; Python ends by it as by a kill."""
    script = scripts.write(SCRIPT)
    for _ in range(5):
        process = scripts.start(script, DIES="1", WITH="SIGTERM", PERDURE_ALERTS="exec:/bin/true")
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGTERM
