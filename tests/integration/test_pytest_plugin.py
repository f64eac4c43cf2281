"""The plugin of pytest: the tests of a user's suite do not go on with each other's runs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from conftest import SOURCE, Scripts

SHOP = """
    from perdure import step, workflow

    calls = []

    @step(retry=None)
    def fetch(n: int) -> int:
        calls.append("fetch")
        return n

    @step(retry=None)
    def pay(n: int) -> str:
        if "down" in calls:
            raise ValueError("declined")
        return "paid"

    @workflow
    def flow(n: int) -> str:
        return pay(fetch(n))
"""

TESTS = """
    import os, pytest, shop

    def test_declined(perdure_state):
        shop.calls[:] = ["down"]
        with pytest.raises(ValueError):
            shop.flow(1)
        assert perdure_state.exists() and os.environ["PERDURE_STATE"] == str(perdure_state)
        shop.calls[:] = []
        assert shop.flow(1) == "paid" and shop.calls == []  # within a test a run is resumed

    def test_declined_and_left():
        shop.calls[:] = ["down"]
        with pytest.raises(ValueError):
            shop.flow(1)

    def test_paid():
        shop.calls[:] = []
        assert shop.flow(1) == "paid" and shop.calls == ["fetch"]

    def test_nothing(perdure_state):
        assert not perdure_state.parent.exists()  # no file is made for a test that needs none
"""


@pytest.mark.parametrize("off", [False, True])
def test_each_test_has_a_state_of_its_own(scripts: Scripts, off: bool) -> None:
    """The control: turned off, the last of these tests fails."""
    scripts.write(SHOP, "shop.py")
    scripts.write(TESTS, "test_shop.py")
    scripts.write("[pytest]\nperdure_state = false" if off else "[pytest]", "pytest.ini")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:perdure"]
    command += ["-p", "perdure.testing.fixtures"]  # also where perdure was installed before it had the plugin
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PERDURE_", "WORKFLOW_"))}
    done = subprocess.run(
        [*command, "-k", "left or paid" if off else ""],
        cwd=scripts.folder,
        env={**env, "PYTHONPATH": str(SOURCE), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ("1 failed, 1 passed" if off else "4 passed") in done.stdout, done.stdout
